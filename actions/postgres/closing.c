/*
 * Closing the database by a time: a fast shutdown, then an immediate one, then SIGKILL for every
 * process of the cluster. It is done only when /proc shows none of them. A fast shutdown by itself
 * terminates all clients first and refuses new ones, so nothing else is needed before it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "actions/postgres/agent.h"
#include "actions/postgres/cluster.h"

enum {
        ARCHIVER_ROUNDS = 20, /* in which nobody but the archiver is left, before it is cut short */
};

#define ROUND_USEC (10 * USEC_PER_MSEC)
#define COMMAND_TIMEOUT (3600 * USEC_PER_SEC)
#define AFTER_TIMEOUT (30 * USEC_PER_SEC)

static const char *mode_name(enum close_mode mode)
{
        static const char *const names[] = {
                [CLOSE_FAST] = "a fast shutdown",
                [CLOSE_IMMEDIATE] = "an immediate shutdown",
                [CLOSE_KILL] = "killing all its processes",
        };

        return names[mode];
}

static void on_command(const struct process_result *result, void *userdata)
{
        struct agent *a = userdata;

        a->closing.command = NULL;
        if (result->exit_code == 0)
                return;
        agent_log(a, "warning", "stop_command failed: %s", result->output);
        watch_signal(a, SIGINT);
}

/* A service manager wants to hear of a planned stop; if it cannot help, the signal does it. */
static bool run_stop_command(struct agent *a)
{
        const struct process_options options = {
                .argv = (const char *const *)a->settings.stop_command.args,
                .timeout = COMMAND_TIMEOUT,
                .on_done = on_command,
                .userdata = a,
        };

        return a->settings.stop_command.n > 0 && !a->closing.command &&
               process_start(a->base, &options, &a->closing.command) == 0;
}

static void carry_out(struct agent *a, enum close_mode mode)
{
        struct closing *c = &a->closing;

        c->mode = mode;
        agent_log(a, mode == CLOSE_FAST ? "info" : "warning", "closing the database by %s: %s",
                  mode_name(mode), c->reason);
        switch (mode) {
        case CLOSE_FAST:
                if (!run_stop_command(a))
                        watch_signal(a, SIGINT);
                break;
        case CLOSE_IMMEDIATE:
                watch_signal(a, SIGQUIT);
                break;
        case CLOSE_KILL:
                watch_kill(a);
                break;
        }
}

/*
 * Once the shutdown checkpoint is written and the standbys have it, only the archiver may be left,
 * and its command may take for ever. The data are final then (and an immediate shutdown loses
 * nothing), so that it is not waited for.
 */
static bool only_archiver_is_left(struct agent *a)
{
        pid_t pids[CLUSTER_PROCESSES_MAX];
        bool archiver = false;
        int n = cluster_processes(a->watch.data_dir, pids);

        for (int i = 0; i < n; i++) {
                if (pids[i] == a->watch.pid)
                        continue;
                if (!cluster_process_is_archiver(pids[i]))
                        return false;
                archiver = true;
        }
        return archiver;
}

static void go_further(struct agent *a)
{
        struct closing *c = &a->closing;
        struct instant now = agent_clock_now();

        if (c->mode < CLOSE_KILL && (a->watch.stopped || instant_reached(c->kill_at, now))) {
                carry_out(a, CLOSE_KILL);
                return;
        }
        if (c->mode == CLOSE_KILL) {
                watch_kill(a);
                return;
        }
        if (c->mode == CLOSE_FAST && instant_reached(c->immediate_at, now)) {
                carry_out(a, CLOSE_IMMEDIATE);
                return;
        }
        if (c->mode != CLOSE_FAST || a->watch.phase != PIDFILE_STOPPING)
                return;
        c->archiver_alone = only_archiver_is_left(a) ? c->archiver_alone + 1 : 0;
        if (c->archiver_alone == ARCHIVER_ROUNDS)
                carry_out(a, CLOSE_IMMEDIATE);
}

static void on_round(evutil_socket_t fd, short what, void *userdata)
{
        const struct timeval tv = { .tv_usec = ROUND_USEC };
        struct agent *a = userdata;

        (void)fd;
        (void)what;
        if (!a->closing.active || a->watch.state == WATCH_NONE)
                return;
        watch_look(a);
        if (a->watch.state == WATCH_ALIVE)
                go_further(a);
        if (a->watch.state != WATCH_NONE)
                (void)event_add(a->closing.timer, &tv);
        step_poll(a);
}

int closing_init(struct agent *a)
{
        a->closing.timer = event_new(a->base, -1, 0, on_round, a);
        return a->closing.timer ? 0 : -ENOMEM;
}

/* A close under way is only ever made more urgent. */
static void hurry_up(struct agent *a, enum close_mode mode)
{
        if (a->watch.state == WATCH_ALIVE && mode > a->closing.mode)
                carry_out(a, mode);
}

void closing_begin(struct agent *a, enum close_mode mode, struct instant immediate_at,
                   struct instant kill_at, const char *reason)
{
        struct closing *c = &a->closing;
        const struct timeval at_once = { 0 };

        if (c->active) {
                c->immediate_at = instant_earlier(c->immediate_at, immediate_at);
                c->kill_at = instant_earlier(c->kill_at, kill_at);
                hurry_up(a, mode);
                return;
        }
        c->active = true;
        c->archiver_alone = 0;
        c->begun = agent_clock_now();
        c->immediate_at = immediate_at;
        c->kill_at = kill_at;
        snprintf(c->reason, sizeof(c->reason), "%s", reason);
        watch_look(a);
        c->was_alive = a->watch.state != WATCH_NONE;
        if (!c->was_alive) {
                /* Nothing is known to run, but a server may be about to: that is made sure. */
                watch_reap(a);
                return;
        }
        carry_out(a, a->watch.stopped ? CLOSE_KILL : mode);
        (void)event_add(c->timer, &at_once);
        status_send(a, false);
}

static void on_settled(struct agent *a, const struct work_result *result)
{
        struct closing *c = &a->closing;

        c->worker = NULL;
        c->active = false;
        if (!result->ok)
                agent_log(a, "error", "%s", result->error);
        if (a->watch.state == WATCH_NONE) {
                a->watch.disk = *result;
                a->watch.inspected = true;
        }
        status_send(a, false);
        step_poll(a);
        agent_maybe_exit(a);
}

void closing_gone(struct agent *a)
{
        const struct work_order order = { .epoch = a->epoch.highest };
        struct closing *c = &a->closing;
        const struct work_result failed = { .error = "cannot start a child after the close" };
        usec_t took = instant_until(agent_clock_now(), c->begun);

        event_del(c->timer);
        process_cancel(c->command);
        c->command = NULL;
        if (c->was_alive)
                agent_log(a, "info", "the database is closed, after %llu ms",
                          (unsigned long long)(took / USEC_PER_MSEC));
        if (agent_work(a, work_after_close, &order, AFTER_TIMEOUT, on_settled, &c->worker) < 0)
                on_settled(a, &failed);
}
