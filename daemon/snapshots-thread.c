/* Reading and writing snapshots in a thread of their own. */
#include "daemon/snapshots-thread.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "election/base/memory.h"

struct queue {
        struct snapshots_job *first;
        struct snapshots_job **last;
};

struct snapshots_thread {
        pthread_t thread;
        int done_fd;
        size_t n_pending; /* only the loop */
        pthread_mutex_t lock; /* over the queues and the order to stop */
        pthread_cond_t has_work;
        struct queue todo;
        struct queue done;
        bool is_stopping;

        /* Only the thread. */
        int dir_fd;
        int read_fd;
        struct snapshot_id read_id;
        int received_fd;
        int received_error; /* nothing more is written until the next one begins */
};

static void queue_put(struct queue *q, struct snapshots_job *job)
{
        job->next = NULL;
        *q->last = job;
        q->last = &job->next;
}

static struct snapshots_job *queue_take(struct queue *q)
{
        struct snapshots_job *job = q->first;

        if (!job)
                return NULL;
        q->first = job->next;
        if (!q->first)
                q->last = &q->first;
        job->next = NULL;
        return job;
}

void snapshots_job_free(struct snapshots_job *job)
{
        if (!job)
                return;
        free(job->bytes);
        free(job);
}

static void queue_done(struct queue *q)
{
        struct snapshots_job *job;

        while ((job = queue_take(q)))
                snapshots_job_free(job);
}

/* These fail only if memory was overwritten. */
static void lock(struct snapshots_thread *t)
{
        int r = pthread_mutex_lock(&t->lock);

        assert(r == 0);
}

static void unlock(struct snapshots_thread *t)
{
        int r = pthread_mutex_unlock(&t->lock);

        assert(r == 0);
}

static void close_fd(int *fd)
{
        if (*fd >= 0)
                (void)close(*fd); /* what had to be synced was */
        *fd = -1;
}

static int open_for_reading(struct snapshots_thread *t, struct snapshot_id id)
{
        char name[SNAPSHOT_NAME_SIZE];

        if (t->read_fd >= 0 && t->read_id.index == id.index && t->read_id.term == id.term)
                return 0;
        close_fd(&t->read_fd);
        snapshot_name(id, name);
        t->read_fd = openat(t->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (t->read_fd < 0)
                return -errno;
        t->read_id = id;
        return 0;
}

static int do_read(struct snapshots_thread *t, struct snapshots_job *job)
{
        size_t n_wanted = job->n;
        struct stat st;
        int r;

        job->n = 0;
        r = open_for_reading(t, job->id);
        if (r < 0)
                return r;
        if (fstat(t->read_fd, &st) < 0)
                return -errno;
        job->n_total = (uint64_t)st.st_size;
        job->bytes = must_alloc(n_wanted + 1, 1);
        while (job->n < n_wanted) {
                ssize_t k = pread(t->read_fd, job->bytes + job->n, n_wanted - job->n,
                                  (off_t)(job->offset + job->n));

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                job->n += (size_t)k;
        }
        if (job->offset + job->n >= job->n_total)
                close_fd(&t->read_fd); /* most likely nobody asks again */
        return 0;
}

static int write_received(struct snapshots_thread *t, const struct snapshots_job *job)
{
        size_t n = 0;

        while (n < job->n) {
                ssize_t k = pwrite(t->received_fd, job->bytes + n, job->n - n,
                                   (off_t)(job->offset + n));

                if (k < 0 && errno == EINTR)
                        continue;
                if (k <= 0)
                        return k < 0 ? -errno : -EIO;
                n += (size_t)k;
        }
        /* A hint: a sync of the log may have to wait for all that is dirty. */
        (void)sync_file_range(t->received_fd, 0, 0, SYNC_FILE_RANGE_WRITE);
        return 0;
}

static int do_write(struct snapshots_thread *t, struct snapshots_job *job)
{
        if (job->offset == 0) {
                close_fd(&t->received_fd);
                t->received_fd = openat(t->dir_fd, SNAPSHOT_RECEIVED_NAME,
                                        O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
                t->received_error = t->received_fd < 0 ? -errno : 0;
        }
        if (t->received_error == 0)
                t->received_error = write_received(t, job);
        return t->received_error;
}

static int do_finish(struct snapshots_thread *t, struct snapshots_job *job)
{
        int r = t->received_error;

        if (r == 0 && t->received_fd < 0)
                r = -EINVAL;
        if (r == 0 && fsync(t->received_fd) < 0)
                r = -errno;
        close_fd(&t->received_fd);
        t->received_error = -EINVAL;
        if (r == 0)
                r = snapshot_verify(t->dir_fd, SNAPSHOT_RECEIVED_NAME, job->id, &job->reader, NULL);
        if (r == 0)
                r = snapshot_publish(t->dir_fd, SNAPSHOT_RECEIVED_NAME, job->id);
        if (r < 0)
                (void)unlinkat(t->dir_fd, SNAPSHOT_RECEIVED_NAME,
                               0); /* the next one truncates it */
        return r;
}

static int do_drop(struct snapshots_thread *t, const struct snapshots_job *job)
{
        if (job->transfer) {
                close_fd(&t->received_fd);
                t->received_error = -ECANCELED;
        }
        return unlinkat(t->dir_fd, job->name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int carry_out(struct snapshots_thread *t, struct snapshots_job *job)
{
        switch (job->type) {
        case SNAPSHOTS_READ:
                return do_read(t, job);
        case SNAPSHOTS_WRITE:
                return do_write(t, job);
        case SNAPSHOTS_FINISH:
                return do_finish(t, job);
        case SNAPSHOTS_DROP:
                return do_drop(t, job);
        case SNAPSHOTS_PRUNE:
                return snapshot_prune(t->dir_fd, job->id, job->spare);
        }
        return -EINVAL;
}

static struct snapshots_job *next_job(struct snapshots_thread *t)
{
        struct snapshots_job *job = NULL;

        lock(t);
        while (!t->is_stopping && !(job = queue_take(&t->todo))) {
                int r = pthread_cond_wait(&t->has_work, &t->lock);

                assert(r == 0);
        }
        unlock(t);
        return job;
}

static void *run(void *userdata)
{
        struct snapshots_thread *t = userdata;
        struct snapshots_job *job;

        while ((job = next_job(t))) {
                job->r = carry_out(t, job);
                lock(t);
                queue_put(&t->done, job);
                unlock(t);
                (void)eventfd_write(t->done_fd, 1); /* fails only if it is readable anyhow */
        }
        return NULL;
}

static int start_thread(struct snapshots_thread *t)
{
        sigset_t all, before;
        int r, back;

        (void)sigfillset(&all); /* cannot fail */
        r = pthread_sigmask(SIG_SETMASK, &all, &before);
        if (r != 0)
                return -r;
        r = pthread_create(&t->thread, NULL, run, t);
        back = pthread_sigmask(SIG_SETMASK, &before, NULL);
        assert(back == 0);
        return -r;
}

static void thread_done(struct snapshots_thread *t)
{
        queue_done(&t->todo);
        queue_done(&t->done);
        close_fd(&t->read_fd);
        close_fd(&t->received_fd);
        close_fd(&t->done_fd);
        (void)pthread_cond_destroy(&t->has_work); /* nobody uses them any more */
        (void)pthread_mutex_destroy(&t->lock);
        free(t);
}

int snapshots_thread_new(int dir_fd, struct snapshots_thread **ret)
{
        struct snapshots_thread *t = must_alloc(1, sizeof(*t));
        int r;

        *t = (struct snapshots_thread){
                .dir_fd = dir_fd, .read_fd = -1, .received_fd = -1, .received_error = -EINVAL
        };
        t->todo.last = &t->todo.first;
        t->done.last = &t->done.first;
        t->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = t->done_fd < 0 ? -errno : 0;
        if (r == 0)
                r = -pthread_mutex_init(&t->lock, NULL);
        if (r == 0)
                r = -pthread_cond_init(&t->has_work, NULL);
        if (r == 0)
                r = start_thread(t);
        if (r < 0) {
                thread_done(t);
                return r;
        }
        *ret = t;
        return 0;
}

void snapshots_thread_free(struct snapshots_thread *t)
{
        int r;

        if (!t)
                return;
        lock(t);
        t->is_stopping = true;
        unlock(t);
        r = pthread_cond_signal(&t->has_work);
        assert(r == 0);
        r = pthread_join(t->thread, NULL);
        assert(r == 0);
        thread_done(t);
}

void snapshots_thread_submit(struct snapshots_thread *t, struct snapshots_job *job)
{
        int r;

        t->n_pending++;
        lock(t);
        queue_put(&t->todo, job);
        unlock(t);
        r = pthread_cond_signal(&t->has_work);
        assert(r == 0);
}

size_t snapshots_thread_pending(const struct snapshots_thread *t)
{
        return t->n_pending;
}

int snapshots_thread_fd(const struct snapshots_thread *t)
{
        return t->done_fd;
}

struct snapshots_job *snapshots_thread_done(struct snapshots_thread *t)
{
        struct snapshots_job *job;

        lock(t);
        job = queue_take(&t->done);
        if (!job) {
                eventfd_t value;

                (void)eventfd_read(t->done_fd, &value); /* empty is what it should be */
        }
        unlock(t);
        if (job)
                t->n_pending--;
        return job;
}
