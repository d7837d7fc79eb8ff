/*
 * Watching the server's processes. The postmaster is found by its pid file, confirmed by /proc, and
 * held by a pidfd, so that its end is seen at once. Behind it nothing may be left that could still
 * write: backends of a crashed postmaster go on with what they are doing, so they are killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "actions/postgres/agent.h"
#include "actions/postgres/cluster.h"

enum {
        PIDFILE_SIZE = 4096,
};

#define REAP_INTERVAL (5 * USEC_PER_MSEC)
#define INSPECT_TIMEOUT (30 * USEC_PER_SEC)

/* A pid file is a few lines in the page cache; reading it is the one file access of the loop. */
static int read_pidfile(const struct agent *a, struct pidfile *ret)
{
        char path[PATH_SIZE + 20], text[PIDFILE_SIZE];
        ssize_t n;
        int fd;

        snprintf(path, sizeof(path), "%s/postmaster.pid", a->settings.data_dir);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        n = read(fd, text, sizeof(text) - 1);
        if (n < 0)
                n = -errno;
        close(fd);
        if (n < 0)
                return (int)n;
        text[n] = '\0';
        return pidfile_parse(text, ret);
}

static void resolve_data_dir(struct agent *a)
{
        _cleanup_(freep)
        char *real = realpath(a->settings.data_dir, NULL);

        if (real && strlen(real) < sizeof(a->watch.data_dir))
                snprintf(a->watch.data_dir, sizeof(a->watch.data_dir), "%s", real);
        else
                snprintf(a->watch.data_dir, sizeof(a->watch.data_dir), "%s", a->settings.data_dir);
}

static void let_go(struct watch *w)
{
        if (w->ended)
                event_free(w->ended);
        w->ended = NULL;
        if (w->pidfd >= 0)
                close(w->pidfd);
        w->pidfd = -1;
        w->pid = 0;
        w->start = 0;
        w->foreign = false;
        w->stopped = false;
}

static void gone(struct agent *a)
{
        struct watch *w = &a->watch;

        w->state = WATCH_NONE;
        event_del(w->reaper);
        agent_server_gone(a, w->crashed);
}

/* A round of making sure; again in a moment as long as somebody is there. */
static void reap(struct agent *a)
{
        const struct timeval tv = { .tv_usec = REAP_INTERVAL };
        pid_t pids[CLUSTER_PROCESSES_MAX];
        int n = cluster_processes(a->watch.data_dir, pids);

        if (n == 0) {
                gone(a);
                return;
        }
        for (int i = 0; i < n; i++)
                (void)kill(pids[i], SIGKILL); /* may have ended meanwhile */
        (void)event_add(a->watch.reaper, &tv);
}

static void on_reaper(evutil_socket_t fd, short what, void *userdata)
{
        (void)fd;
        (void)what;
        reap(userdata);
}

void watch_reap(struct agent *a)
{
        struct pidfile p;

        if (a->watch.state == WATCH_REAPING)
                return;
        let_go(&a->watch);
        /* A server that closes properly removes its pid file before it ends. */
        a->watch.crashed = read_pidfile(a, &p) == 0;
        a->watch.state = WATCH_REAPING;
        reap(a);
}

static void on_ended(evutil_socket_t fd, short what, void *userdata)
{
        (void)fd;
        (void)what;
        watch_reap(userdata);
}

static int adopt(struct agent *a, const struct pidfile *p, bool foreign)
{
        struct watch *w = &a->watch;

        w->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
        if (w->pidfd < 0)
                return -errno;
        w->start = cluster_process_start(p->pid);
        w->ended = event_new(a->base, w->pidfd, EV_READ, on_ended, a);
        if (w->start == 0 || !w->ended || event_add(w->ended, NULL) < 0) {
                let_go(w);
                return -ESRCH;
        }
        w->pid = p->pid;
        w->foreign = foreign;
        w->phase = p->state;
        w->state = WATCH_ALIVE;
        w->crashed = false;
        w->inspected = false;
        /* Unless we know better it may write until it says that it is in recovery. */
        a->may_write = !a->starts_standby;
        a->promoting = false;
        health_forget(a);
        if (!foreign)
                health_hurry(a);
        return 0;
}

/* A pid file is there: is it of a living server? */
static void find(struct agent *a, const struct pidfile *p)
{
        enum cluster_owner owner = cluster_process_owner(a->watch.data_dir, p->pid);

        /* Our own jobs run single-user servers, too, and wait for their end. */
        if (p->single_user && a->step)
                return;
        if (owner == CLUSTER_NOBODY) {
                if (!a->watch.crashed) {
                        a->watch.crashed = true;
                        a->watch.inspected = false;
                }
                return;
        }
        if (adopt(a, p, owner == CLUSTER_FOREIGN || p->single_user) == 0)
                agent_log(a, "info", "found the server, process %d", (int)p->pid);
}

void watch_look(struct agent *a)
{
        struct watch *w = &a->watch;
        struct pidfile p;
        int r;

        if (w->state == WATCH_REAPING)
                return;
        r = read_pidfile(a, &p);
        if (w->state == WATCH_NONE) {
                resolve_data_dir(a);
                if (r == 0)
                        find(a, &p);
                if (w->state == WATCH_NONE && !w->inspected)
                        watch_inspect(a);
                return;
        }
        if (r == 0 && p.pid == w->pid)
                w->phase = p.state;
        w->stopped = cluster_process_is_stopped(w->pid);
        if (cluster_process_start(w->pid) != w->start)
                watch_reap(a);
}

static void on_inspected(struct agent *a, const struct work_result *result)
{
        struct watch *w = &a->watch;

        w->inspector = NULL;
        if (w->state != WATCH_NONE)
                return;
        w->inspected = true;
        w->disk = *result;
        if (!result->ok)
                agent_log(a, "warning", "%s", result->error);
        if (w->disk.has_control && controldata_is_clean(&w->disk.control))
                w->crashed = false;
        status_send(a, false);
        step_poll(a);
}

void watch_inspect(struct agent *a)
{
        const struct work_order order = { .epoch = a->epoch.highest };
        int r;

        if (a->watch.inspector)
                return;
        r = agent_work(a, work_inspect, &order, INSPECT_TIMEOUT, on_inspected, &a->watch.inspector);
        if (r < 0)
                agent_log(a, "error", "cannot start a child: %s", strerror(-r));
}

void watch_signal(struct agent *a, int signal)
{
        if (a->watch.state == WATCH_ALIVE && a->watch.pidfd >= 0)
                (void)syscall(SYS_pidfd_send_signal, a->watch.pidfd, signal, NULL, 0);
}

void watch_kill(struct agent *a)
{
        pid_t pids[CLUSTER_PROCESSES_MAX];
        int n;

        /* A stopped postmaster starts no new children while its old ones are killed. */
        watch_signal(a, SIGSTOP);
        n = cluster_processes(a->watch.data_dir, pids);
        for (int i = 0; i < n; i++)
                if (pids[i] != a->watch.pid)
                        (void)kill(pids[i], SIGKILL); /* may have ended meanwhile */
        watch_signal(a, SIGKILL);
}

static void reap_orphans(struct agent *a)
{
        pid_t pids[CLUSTER_PROCESSES_MAX];
        int n = cluster_processes(a->watch.data_dir, pids);

        for (int i = 0; i < n; i++)
                if (!cluster_process_is_child(pids[i]))
                        return;
        if (n > 0)
                watch_reap(a);
}

int watch_init(struct agent *a)
{
        struct watch *w = &a->watch;

        w->pidfd = -1;
        w->reaper = event_new(a->base, -1, 0, on_reaper, a);
        if (!w->reaper)
                return -ENOMEM;
        resolve_data_dir(a);
        watch_look(a);
        /* Children without a postmaster are what a crash left while no agent was looking. */
        if (w->state == WATCH_NONE)
                reap_orphans(a);
        return 0;
}
