/*
 * One agent acts at a time: the one that holds the lock in the state directory. A successor first
 * knows the deadline, and only then ends the one before, so that no moment is without a hand.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "actions/postgres/agent.h"
#include "actions/postgres/cluster.h"

#define RETRY_INTERVAL (5 * USEC_PER_MSEC)
#define HOLD_WAIT (500 * USEC_PER_MSEC) /* for the executor to tell the deadline */
#define TERM_WAIT (200 * USEC_PER_MSEC) /* for the old one to go by itself */

static void write_owner(struct agent *a)
{
        char text[64];
        int n = snprintf(text, sizeof(text), "%d %" PRIu64 "\n", (int)getpid(),
                         cluster_process_start(getpid()));

        /* Not synced: the lock itself ends with the machine. */
        if (ftruncate(a->lock.fd, 0) < 0 || pwrite(a->lock.fd, text, (size_t)n, 0) != n)
                agent_log(a, "warning", "cannot write the lock file: %s", strerror(errno));
}

static void read_owner(struct agent *a)
{
        char text[64];
        ssize_t n = pread(a->lock.fd, text, sizeof(text) - 1, 0);

        text[n > 0 ? n : 0] = '\0';
        if (sscanf(text, "%" SCNd64 " %" SCNu64, &a->lock.pid_old, &a->lock.start_old) != 2)
                a->lock.pid_old = 0; /* it has just taken the lock; it is read again */
}

/* The process id may be another one's by now; the pidfd pins it before its start is compared. */
static void signal_owner(struct agent *a, int signal)
{
        int pidfd;

        read_owner(a);
        if (a->lock.pid_old <= 1 || a->lock.pid_old == getpid())
                return;
        pidfd = (int)syscall(SYS_pidfd_open, (pid_t)a->lock.pid_old, 0);
        if (pidfd < 0)
                return;
        if (cluster_process_start((pid_t)a->lock.pid_old) == a->lock.start_old)
                (void)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
        close(pidfd);
}

static void try(struct agent *a)
{
        const struct timeval tv = { .tv_usec = RETRY_INTERVAL };
        struct instant now = agent_clock_now();
        struct lock *l = &a->lock;

        if (flock(l->fd, LOCK_EX | LOCK_NB) == 0) {
                write_owner(a);
                l->held = true;
                agent_locked(a);
                return;
        }
        if (!a->hold.armed && !instant_reached(instant_after(l->began, HOLD_WAIT), now)) {
                /* not yet */
        } else if (l->asked.usec == INSTANT_NEVER.usec) {
                l->asked = now;
                signal_owner(a, SIGTERM);
        } else if (instant_reached(instant_after(l->asked, TERM_WAIT), now)) {
                signal_owner(a, SIGKILL);
        }
        (void)event_add(l->timer, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *userdata)
{
        (void)fd;
        (void)what;
        try(userdata);
}

int lock_begin(struct agent *a)
{
        char path[PATH_SIZE + 16];

        snprintf(path, sizeof(path), "%s/lock", a->settings.state_dir);
        a->lock.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (a->lock.fd < 0)
                return -errno;
        a->lock.timer = event_new(a->base, -1, 0, on_timer, a);
        if (!a->lock.timer)
                return -ENOMEM;
        a->lock.began = agent_clock_now();
        try(a);
        return 0;
}
