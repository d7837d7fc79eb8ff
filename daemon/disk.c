/* The disk thread: a queue in, one write and one sync for all of it, an eventfd out. */
#include "daemon/disk.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "election/base/memory.h"

enum {
        WRITE_BYTES_MAX = WAL_WRITE_MAX - (64 << 10), /* of one write, without its frame */
        MARK_IDLE_MSEC = 1000, /* without a write, until the last one is marked as durable */
        ROOM_AGAIN_MSEC = 250, /* until a write that found no room is tried again */
};

/* Until a segment that could not be laid out is tried again. */
#define PREPARE_AGAIN (2 * USEC_PER_SEC)

struct job {
        struct job *next;
        uint64_t generation;
        size_t n_bytes;
        struct wal_batch batch; /* its entries stand behind the job, in the same allocation */
};

struct disk {
        pthread_t thread;
        int wake_fd; /* to the thread */
        int done_fd; /* from the thread */
        pthread_mutex_t lock; /* over all from here on, down to the thread's own part */
        struct job *first;
        struct job **last;
        size_t n_bytes; /* in the queue */
        uint64_t generation_queued;
        bool is_stopping;
        bool is_asleep; /* the thread: who queues something must wake it */
        bool is_told; /* done_fd is readable */
        struct disk_progress progress;

        /* Only the thread. */
        struct wal *w;
        bool wants_prepare;
        struct instant prepare_at; /* not earlier */
        struct wal_batch *batches;
        size_t n_batches;
        size_t n_batches_max;
};

/* Nothing can be said about a lock that fails; it does not, unless memory is overwritten. */
static void lock(struct disk *d)
{
        int r = pthread_mutex_lock(&d->lock);

        assert(r == 0);
}

static void unlock(struct disk *d)
{
        int r = pthread_mutex_unlock(&d->lock);

        assert(r == 0);
}

/* Adding to an eventfd fails only when its counter is full: then it is readable anyhow. */
static void ring(int fd)
{
        (void)eventfd_write(fd, 1);
}

static void unring(int fd)
{
        eventfd_t value;

        (void)eventfd_read(fd, &value); /* empty is what it should be */
}

static struct job *job_new(uint64_t generation, const struct wal_batch *batch)
{
        size_t n = sizeof(struct job) + batch->n_entries * sizeof(struct wal_entry);
        struct wal_entry *entries;
        struct job *job;
        uint8_t *bytes;

        for (size_t i = 0; i < batch->n_entries; i++)
                n += batch->entries[i].n;
        job = must_alloc(1, n);
        entries = (struct wal_entry *)(job + 1);
        bytes = (uint8_t *)(entries + batch->n_entries);
        for (size_t i = 0; i < batch->n_entries; i++) {
                entries[i] = batch->entries[i];
                if (entries[i].n > 0)
                        memcpy(bytes, entries[i].bytes, entries[i].n);
                entries[i].bytes = bytes;
                bytes += entries[i].n;
        }
        job->generation = generation;
        job->n_bytes = n;
        job->batch = *batch;
        job->batch.entries = entries;
        return job;
}

static void jobs_free(struct job *job)
{
        while (job) {
                struct job *next = job->next;

                free(job);
                job = next;
        }
}

int disk_submit(struct disk *d, uint64_t generation, const struct wal_batch *batch)
{
        size_t n_bytes = wal_batch_bytes(batch);
        struct job *job;
        bool is_asleep;
        int r;

        if (n_bytes > WRITE_BYTES_MAX)
                return -EMSGSIZE;
        job = job_new(generation, batch);
        lock(d);
        assert(generation > d->generation_queued);
        r = d->progress.error;
        if (r == 0 && d->n_bytes + job->n_bytes > DISK_QUEUE_BYTES_MAX)
                r = -ENOBUFS;
        if (r == 0) {
                *d->last = job;
                d->last = &job->next;
                d->n_bytes += job->n_bytes;
                d->generation_queued = generation;
        }
        is_asleep = d->is_asleep;
        d->is_asleep = false;
        unlock(d);
        if (r < 0)
                free(job);
        if (is_asleep)
                ring(d->wake_fd);
        return r;
}

/* Takes as many jobs as one write may hold off the queue. */
static struct job *take_jobs(struct disk *d)
{
        struct job *first, **end;
        size_t n_bytes = 0;

        d->n_batches = 0;
        lock(d);
        first = d->first;
        for (end = &d->first; *end; end = &(*end)->next) {
                n_bytes += wal_batch_bytes(&(*end)->batch);
                if (n_bytes > WRITE_BYTES_MAX)
                        break;
                d->n_bytes -= (*end)->n_bytes;
                MUST_GROW(d->batches, d->n_batches, d->n_batches_max);
                d->batches[d->n_batches++] = (*end)->batch;
        }
        if (end != &d->first) {
                struct job *rest = *end;

                *end = NULL;
                d->first = rest;
                if (!rest)
                        d->last = &d->first;
        }
        unlock(d);
        return d->n_batches > 0 ? first : NULL;
}

/* Lets the loop ask; with the lock held. */
static void tell_loop(struct disk *d)
{
        if (!d->is_told)
                ring(d->done_fd);
        d->is_told = true;
}

static void tell(struct disk *d, uint64_t generation, int r, usec_t took)
{
        lock(d);
        if (r == 0)
                d->progress.generation = generation;
        d->progress.error = r;
        d->progress.n_syncs++;
        d->progress.sync_last = took;
        if (took > d->progress.sync_max)
                d->progress.sync_max = took;
        tell_loop(d);
        unlock(d);
}

static void tell_space(struct disk *d, int r)
{
        lock(d);
        if (d->progress.space_error != r)
                tell_loop(d);
        d->progress.space_error = r;
        unlock(d);
}

static bool is_stopping(struct disk *d)
{
        bool yes;

        lock(d);
        yes = d->is_stopping;
        unlock(d);
        return yes;
}

/*
 * Sleeps for at most @timeout milliseconds: until something is queued, or with @until_stop only until
 * the end. Returns false if the time is over.
 */
static bool sleep_until_woken(struct disk *d, int timeout, bool until_stop)
{
        struct pollfd wake = { .fd = d->wake_fd, .events = POLLIN };
        bool can_sleep;
        int n = 1;

        lock(d);
        can_sleep = !d->is_stopping && (until_stop || !d->first);
        d->is_asleep = can_sleep && !until_stop;
        unlock(d);
        if (can_sleep)
                n = poll(&wake, 1, timeout);
        lock(d);
        d->is_asleep = false;
        unlock(d);
        if (n > 0)
                unring(d->wake_fd);
        return n != 0;
}

/*
 * Writes what was taken off the queue. While the disk is full nothing of it has happened, and it is
 * tried again; the loop knows, and the members go on without us.
 */
static int write_jobs(struct disk *d, struct job *jobs)
{
        struct instant begin = clock_now();
        uint64_t generation = 0;
        int r;

        while ((r = wal_write(d->w, d->batches, d->n_batches)) == -ENOSPC || r == -EDQUOT) {
                tell_space(d, r);
                if (is_stopping(d))
                        return r;
                (void)sleep_until_woken(d, ROOM_AGAIN_MSEC, true);
        }
        for (struct job *job = jobs; job; job = job->next)
                generation = job->generation;
        tell(d, generation, r, instant_until(clock_now(), begin));
        d->wants_prepare = true;
        return r;
}

static bool may_prepare(const struct disk *d)
{
        return d->wants_prepare && instant_reached(d->prepare_at, clock_now());
}

/* A piece of the next segment. Returns a negative error of the log. */
static int prepare(struct disk *d)
{
        int r = wal_prepare(d->w);

        if (wal_is_poisoned(d->w)) {
                tell(d, 0, r, 0);
                return r;
        }
        tell_space(d, r < 0 ? r : 0);
        d->wants_prepare = r != 0;
        if (r < 0)
                d->prepare_at = instant_after(clock_now(), PREPARE_AGAIN);
        return 0;
}

/*
 * What to do while nothing is queued: the next segment, then a mark, then sleep. Each is short, so
 * that a job which comes meanwhile waits for milliseconds. Returns a negative error of the log.
 */
static int idle(struct disk *d)
{
        int timeout = -1, r = 0;

        if (may_prepare(d))
                return prepare(d);
        if (d->wants_prepare || wal_wants_mark(d->w))
                timeout = MARK_IDLE_MSEC;
        if (!sleep_until_woken(d, timeout, false) && wal_wants_mark(d->w))
                r = wal_mark(d->w);
        if (r == -ENOSPC || r == -EDQUOT)
                return 0; /* the next write says so */
        if (r < 0)
                tell(d, 0, r, 0);
        return r;
}

/* Under load the next segment must be ready, too, when the active one is full. */
static int keep_up(struct disk *d)
{
        return wal_is_behind(d->w) && may_prepare(d) ? prepare(d) : 0;
}

static void *run(void *userdata)
{
        struct disk *d = userdata;
        int r = 0;

        while (r == 0) {
                /* Asked before the queue is looked at: what was queued before the stop is written. */
                bool is_last = is_stopping(d);
                struct job *jobs = take_jobs(d);

                if (jobs)
                        r = write_jobs(d, jobs);
                else if (is_last)
                        break;
                else
                        r = idle(d);
                jobs_free(jobs);
                if (jobs && r == 0)
                        r = keep_up(d);
        }
        return NULL;
}

static void disk_free(struct disk *d)
{
        jobs_free(d->first);
        wal_close(d->w);
        if (d->wake_fd >= 0)
                (void)close(d->wake_fd);
        if (d->done_fd >= 0)
                (void)close(d->done_fd);
        (void)pthread_mutex_destroy(&d->lock); /* nobody holds it any more */
        free(d->batches);
        free(d);
}

static int start_thread(struct disk *d)
{
        sigset_t all, before;
        int r, back;

        if (sigfillset(&all) < 0)
                return -errno;
        r = pthread_sigmask(SIG_SETMASK, &all, &before);
        if (r != 0)
                return -r;
        r = pthread_create(&d->thread, NULL, run, d);
        back = pthread_sigmask(SIG_SETMASK, &before, NULL);
        assert(back == 0);
        return -r;
}

int disk_start(struct wal *w, struct disk **ret)
{
        struct disk *d = must_alloc(1, sizeof(*d));
        int r;

        *d = (struct disk){ .w = w, .wants_prepare = true };
        d->last = &d->first;
        d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        d->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = d->wake_fd < 0 || d->done_fd < 0 ? -errno : 0;
        if (r == 0)
                r = -pthread_mutex_init(&d->lock, NULL);
        if (r == 0)
                r = start_thread(d);
        if (r < 0) {
                disk_free(d);
                return r;
        }
        *ret = d;
        return 0;
}

void disk_stop(struct disk *d)
{
        int r;

        if (!d)
                return;
        lock(d);
        d->is_stopping = true;
        unlock(d);
        ring(d->wake_fd);
        r = pthread_join(d->thread, NULL);
        assert(r == 0);
        disk_free(d);
}

int disk_fd(const struct disk *d)
{
        return d->done_fd;
}

struct disk_progress disk_completed(struct disk *d)
{
        struct disk_progress progress;

        lock(d);
        if (d->is_told)
                unring(d->done_fd);
        d->is_told = false;
        progress = d->progress;
        d->progress.sync_max = 0;
        unlock(d);
        return progress;
}
