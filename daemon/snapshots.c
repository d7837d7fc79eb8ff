/* The loop's side of snapshots: the child that takes one, and the jobs of the thread. */
#include "daemon/snapshots.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/snapshots-thread.h"
#include "election/base/memory.h"

enum {
        CHILD_NICE = 10,
        CHILD_DIR_FD = STDERR_FILENO + 1, /* the only descriptor of ours that the child keeps */
};

struct snapshots {
        struct event_base *base;
        int dir_fd;
        struct snapshots_thread *thread;
        struct event *thread_event;
        struct snapshot_id newest; /* recorded by the log */

        /* What is received. */
        struct snapshot_id received_id;
        uint64_t received_offset;
        uint64_t transfer; /* their number: rises with each that begins or is dropped */

        /* The child that takes one; pid 0: none. */
        pid_t pid;
        int pid_fd;
        struct event *ended;
        struct event *deadline;
        bool is_late;
        int result; /* of a child that failed, while the thread removes what it has left */
        struct snapshots_take take;
};

static bool is_same(struct snapshot_id a, struct snapshot_id b)
{
        return a.index == b.index && a.term == b.term;
}

static struct snapshots_job *new_job(enum snapshots_job_type type, struct snapshot_id id)
{
        struct snapshots_job *job = must_alloc(1, sizeof(*job));

        job->type = type;
        job->id = id;
        return job;
}

/* The child. */

static void lower_priority(void)
{
        struct sched_param param = { 0 };

        /* Who cannot be slowed down works all the same. */
        (void)sched_setscheduler(0, SCHED_BATCH, &param);
        (void)setpriority(PRIO_PROCESS, 0, CHILD_NICE);
        (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
                      IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, IOPRIO_BE_NR - 1));
}

static void reset_signals(void)
{
        sigset_t none;

        for (int signo = 1; signo < NSIG; signo++)
                (void)signal(signo, SIG_DFL); /* refused for SIGKILL and SIGSTOP */
        (void)sigemptyset(&none); /* cannot fail */
        (void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail with these arguments */
}

/*
 * In the child: holds nothing of ours but its copy of the memory, so that the log's lock and the
 * ports are free when we are gone; and it ends with us. Returns what it exits with.
 */
static int child_main(int dir_fd, pid_t parent, const struct snapshots_take *take)
{
        int r = 0;

        reset_signals();
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                return ESRCH;
        if (dir_fd != CHILD_DIR_FD && dup2(dir_fd, CHILD_DIR_FD) < 0)
                r = -errno;
        if (r == 0 && close_range(CHILD_DIR_FD + 1, ~0U, 0) < 0)
                r = -errno;
        lower_priority();
        if (r == 0)
                r = snapshot_make(CHILD_DIR_FD, SNAPSHOT_TAKEN_NAME, take->id, take->encode,
                                  take->encode_userdata, &take->verify);
        return r < -UINT8_MAX ? EIO : -r;
}

static void forget_child(struct snapshots *s)
{
        if (s->ended)
                event_free(s->ended);
        if (s->deadline)
                event_free(s->deadline);
        if (s->pid_fd >= 0)
                (void)close(s->pid_fd); /* refers to a process: nothing can be lost */
        s->ended = NULL;
        s->deadline = NULL;
        s->pid_fd = -1;
        s->pid = 0;
}

static void kill_child(struct snapshots *s)
{
        (void)kill(s->pid, SIGKILL); /* our child and not waited for: the number is its own */
}

static int result_of(const struct snapshots *s, int status)
{
        if (WIFEXITED(status))
                return -WEXITSTATUS(status);
        return s->is_late ? -ETIMEDOUT : -ECHILD;
}

static void on_dropped(void *userdata, struct snapshot_id id, int r)
{
        struct snapshots *s = userdata;
        int result = s->result;

        (void)id;
        (void)r; /* if it is still there, the next one truncates it */
        s->result = 0;
        s->take.done(s->take.done_userdata, s->take.id, result);
}

/* Removes what a child has left, before the next one can begin to write to it. */
static void drop_taken(struct snapshots *s, int result)
{
        struct snapshots_job *job = new_job(SNAPSHOTS_DROP, (struct snapshot_id){ 0 });

        s->result = result;
        job->name = SNAPSHOT_TAKEN_NAME;
        job->on_done = on_dropped;
        job->userdata = s;
        snapshots_thread_submit(s->thread, job);
}

static void on_child_ended(evutil_socket_t fd, short what, void *userdata)
{
        struct snapshots *s = userdata;
        int status = 0, r;

        (void)fd;
        (void)what;
        if (waitpid(s->pid, &status, WNOHANG) == 0)
                return;
        r = result_of(s, status);
        forget_child(s);
        if (r < 0)
                drop_taken(s, r);
        else
                s->take.done(s->take.done_userdata, s->take.id, 0);
}

static void on_deadline(evutil_socket_t fd, short what, void *userdata)
{
        struct snapshots *s = userdata;

        (void)fd;
        (void)what;
        s->is_late = true;
        kill_child(s);
}

static int watch_child(struct snapshots *s, usec_t deadline)
{
        struct timeval tv = { .tv_sec = (time_t)(deadline / USEC_PER_SEC),
                              .tv_usec = (suseconds_t)(deadline % USEC_PER_SEC) };

        s->pid_fd = (int)syscall(SYS_pidfd_open, s->pid, 0);
        if (s->pid_fd < 0)
                return -errno;
        s->ended = event_new(s->base, s->pid_fd, EV_READ | EV_PERSIST, on_child_ended, s);
        s->deadline = evtimer_new(s->base, on_deadline, s);
        if (!s->ended || !s->deadline || event_add(s->ended, NULL) < 0 ||
            evtimer_add(s->deadline, &tv) < 0)
                return -ENOMEM;
        return 0;
}

int snapshots_take(struct snapshots *s, const struct snapshots_take *take)
{
        pid_t parent = getpid();
        int r;

        if (snapshots_is_taking(s))
                return -EBUSY;
        assert(take->id.index > 0 && take->id.term > 0);
        s->take = *take;
        s->is_late = false;
        s->pid = fork();
        if (s->pid < 0) {
                s->pid = 0;
                return -errno;
        }
        if (s->pid == 0)
                _exit(child_main(s->dir_fd, parent, take));
        r = watch_child(s, take->deadline ? take->deadline : SNAPSHOTS_TAKE_MAX);
        if (r < 0) {
                kill_child(s);
                (void)waitpid(s->pid, NULL, 0);
                forget_child(s);
        }
        return r;
}

bool snapshots_is_taking(const struct snapshots *s)
{
        return s->pid > 0 || s->result < 0;
}

/* The thread. */

static void answer(struct snapshots *s, struct snapshots_job *job)
{
        if (job->r < 0 && job->transfer == s->transfer &&
            (job->type == SNAPSHOTS_WRITE || job->type == SNAPSHOTS_FINISH)) {
                s->received_id = (struct snapshot_id){ 0 };
                s->received_offset = 0;
        }
        if (job->on_chunk)
                job->on_chunk(job->userdata, job->id, job->offset, job->n_total, job->bytes, job->n,
                              job->r);
        if (job->on_done)
                job->on_done(job->userdata, job->id, job->r);
        snapshots_job_free(job);
}

static void on_thread(evutil_socket_t fd, short what, void *userdata)
{
        struct snapshots *s = userdata;
        struct snapshots_job *job;

        (void)fd;
        (void)what;
        while ((job = snapshots_thread_done(s->thread)))
                answer(s, job);
}

static bool is_full(const struct snapshots *s)
{
        return snapshots_thread_pending(s->thread) >= SNAPSHOTS_JOBS_MAX;
}

int snapshots_read(struct snapshots *s, struct snapshot_id id, uint64_t offset, size_t n,
                   snapshots_chunk *done, void *userdata)
{
        struct snapshots_job *job;

        if (is_full(s))
                return -EBUSY;
        job = new_job(SNAPSHOTS_READ, id);
        job->offset = offset;
        job->n = n < SNAPSHOTS_CHUNK_BYTES ? n : SNAPSHOTS_CHUNK_BYTES;
        job->on_chunk = done;
        job->userdata = userdata;
        snapshots_thread_submit(s->thread, job);
        return 0;
}

uint64_t snapshots_offset(const struct snapshots *s, struct snapshot_id id)
{
        return is_same(s->received_id, id) ? s->received_offset : 0;
}

int snapshots_write(struct snapshots *s, struct snapshot_id id, uint64_t offset,
                    const uint8_t *bytes, size_t n, snapshots_done *done, void *userdata)
{
        struct snapshots_job *job;

        if (id.index == 0 || n == 0 || n > SNAPSHOTS_CHUNK_BYTES ||
            (offset > 0 && offset != snapshots_offset(s, id)))
                return -EINVAL;
        if (is_full(s))
                return -EBUSY;
        if (offset == 0) {
                s->transfer++;
                s->received_id = id;
        }
        s->received_offset = offset + n;
        job = new_job(SNAPSHOTS_WRITE, id);
        job->transfer = s->transfer;
        job->offset = offset;
        job->bytes = must_copy(bytes, n);
        job->n = n;
        job->on_done = done;
        job->userdata = userdata;
        snapshots_thread_submit(s->thread, job);
        return 0;
}

int snapshots_finish(struct snapshots *s, struct snapshot_id id,
                     const struct snapshots_reader *reader, snapshots_done *done, void *userdata)
{
        struct snapshots_job *job;

        if (snapshots_offset(s, id) == 0)
                return -EINVAL;
        if (is_full(s))
                return -EBUSY;
        job = new_job(SNAPSHOTS_FINISH, id);
        job->transfer = s->transfer;
        job->reader = *reader;
        job->on_done = done;
        job->userdata = userdata;
        snapshots_thread_submit(s->thread, job);
        s->received_id = (struct snapshot_id){ 0 };
        s->received_offset = 0;
        return 0;
}

void snapshots_drop_received(struct snapshots *s)
{
        struct snapshots_job *job;

        if (s->received_offset == 0)
                return;
        s->received_id = (struct snapshot_id){ 0 };
        s->received_offset = 0;
        job = new_job(SNAPSHOTS_DROP, s->received_id);
        job->name = SNAPSHOT_RECEIVED_NAME;
        job->transfer = s->transfer++;
        snapshots_thread_submit(s->thread, job);
}

void snapshots_recorded(struct snapshots *s, struct snapshot_id id, bool resets)
{
        struct snapshots_job *job;

        if (id.index <= s->newest.index)
                return;
        job = new_job(SNAPSHOTS_PRUNE, id);
        if (!resets)
                job->spare = s->newest;
        s->newest = id;
        snapshots_thread_submit(s->thread, job);
}

struct snapshot_id snapshots_newest(const struct snapshots *s)
{
        return s->newest;
}

/* Start and end. */

static int remove_unfinished(int dir_fd)
{
        static const char *const names[] = { SNAPSHOT_TAKEN_NAME, SNAPSHOT_RECEIVED_NAME };

        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
                if (unlinkat(dir_fd, names[i], 0) < 0 && errno != ENOENT)
                        return -errno;
        return 0;
}

int snapshots_new(struct event_base *base, const char *dir, struct snapshot_id loaded,
                  struct snapshots **ret)
{
        _cleanup_(snapshots_freep)
        struct snapshots *s = must_alloc(1, sizeof(*s));
        int r;

        *s = (struct snapshots){ .base = base, .pid_fd = -1, .newest = loaded };
        s->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->dir_fd < 0)
                return -errno;
        r = remove_unfinished(s->dir_fd);
        if (r == 0)
                r = snapshots_thread_new(s->dir_fd, &s->thread);
        if (r < 0)
                return r;
        s->thread_event = event_new(base, snapshots_thread_fd(s->thread), EV_READ | EV_PERSIST,
                                    on_thread, s);
        if (!s->thread_event || event_add(s->thread_event, NULL) < 0)
                return -ENOMEM;
        *ret = TAKE_PTR(s);
        return 0;
}

void snapshots_free(struct snapshots *s)
{
        if (!s)
                return;
        if (s->pid) {
                kill_child(s);
                /* It may hang on a broken disk; then it is whoever adopts it who waits. */
                (void)waitpid(s->pid, NULL, WNOHANG);
                forget_child(s);
        }
        if (s->thread_event)
                event_free(s->thread_event);
        snapshots_thread_free(s->thread);
        if (s->dir_fd >= 0)
                (void)close(s->dir_fd); /* only worked in */
        free(s);
}
