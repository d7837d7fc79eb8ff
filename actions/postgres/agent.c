/* The agent as a whole: messages in, parts put together, children with jobs. */
#include "actions/postgres/agent.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actions/postgres/text.h"

struct job {
        struct agent *agent;
        void (*on_done)(struct agent *a, const struct work_result *result);
        work_job *function;
        struct work work;
        bool has_result;
        struct work_result result;
};

void agent_log(struct agent *a, const char *level, const char *format, ...)
{
        char text[TEXT_SIZE * 2];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        text_make_plain(text);
        (void)lines_send(a->lines,
                         json_pack("{s:s, s:s, s:s}", "type", "log", "level", level, "text", text));
}

void agent_exit(struct agent *a)
{
        event_base_loopbreak(a->base);
}

void agent_maybe_exit(struct agent *a)
{
        if (a->input_ended && !a->hold.armed && !a->closing.active)
                agent_exit(a);
        /* Closed before its time: the deadline has nothing left to guard. */
        if (a->input_ended && !a->closing.active && a->watch.state == WATCH_NONE)
                agent_exit(a);
}

void agent_server_gone(struct agent *a, bool crashed)
{
        health_forget(a);
        a->may_write = false;
        a->promoting = false;
        if (a->closing.active) {
                closing_gone(a);
        } else {
                a->watch.inspected = false;
                agent_log(a, crashed ? "warning" : "info", "the server is gone%s",
                          crashed ? ", and was not closed" : "");
                watch_inspect(a);
                agent_maybe_exit(a);
        }
        status_send(a, false);
        step_poll(a);
}

/* --- Jobs */

static int run_job(void *arg)
{
        struct job *j = arg;
        int r;

        r = j->function(&j->work);
        j->work.result.ok = r >= 0;
        if (r < 0 && j->work.result.error[0] == '\0')
                snprintf(j->work.result.error, sizeof(j->work.result.error), "%s", strerror(-r));
        work_result_write(&j->work.result);
        return 0;
}

static void on_job_line(const char *line, void *userdata)
{
        struct job *j = userdata;
        json_t *object = json_loads(line, 0, NULL);
        const char *level, *text;

        if (json_unpack(object, "{s:s, s:s}", "level", &level, "text", &text) == 0)
                agent_log(j->agent, level, "%s", text);
        else if (object && work_result_read(object, &j->result) == 0)
                j->has_result = true;
        else
                agent_log(j->agent, "warning", "%s", line);
        json_decref(object);
}

static void on_job_done(const struct process_result *result, void *userdata)
{
        struct job *j = userdata;

        if (!j->has_result) {
                j->result = (struct work_result){ .ok = false };
                snprintf(j->result.error, sizeof(j->result.error),
                         result->timed_out ? "it took too long" : "its child died of signal %d",
                         result->signal);
        }
        j->on_done(j->agent, &j->result);
}

int agent_work(struct agent *a, work_job *job, const struct work_order *order, usec_t timeout,
               void (*on_done)(struct agent *a, const struct work_result *result),
               struct process **ret)
{
        _cleanup_(freep)
        struct job *j = malloc(sizeof(*j));
        struct process_options options = {
                .function = run_job,
                .arg = j,
                .timeout = timeout,
                .on_line = on_job_line,
                .on_done = on_job_done,
                .on_free = free,
                .userdata = j,
        };
        int r;

        if (!j)
                return -ENOMEM;
        *j = (struct job){ .agent = a,
                           .on_done = on_done,
                           .function = job,
                           .work = { .settings = &a->settings, .order = *order } };
        r = process_start(a->base, &options, ret);
        if (r == 0)
                TAKE_PTR(j);
        return r;
}

/* --- Messages */

void agent_locked(struct agent *a)
{
        int r;

        a->locked = true;
        /* The agent before us may have written a higher one since our start. */
        r = epoch_load(a);
        if (r < 0)
                agent_log(a, "error", "cannot read the epoch in %s: %s", a->settings.state_dir,
                          strerror(-r));
        epoch_keep(a);
        (void)lines_send(a->lines,
                         json_pack("{s:s, s:i, s:s, s:i}", "type", "hello", "protocol",
                                   AGENT_PROTOCOL, "agent", "postgres", "pid", (int)getpid()));
        watch_look(a);
        health_hurry(a);
        status_send(a, false);
}

static int begin(struct agent *a)
{
        int r;

        r = health_init(a);
        if (r == 0)
                r = closing_init(a);
        if (r == 0)
                r = hold_init(a);
        if (r == 0)
                r = epoch_load(a);
        if (r == 0)
                r = watch_init(a);
        if (r == 0)
                r = lock_begin(a);
        return r;
}

static void take_hello(struct agent *a, const json_t *message)
{
        json_int_t protocol = json_integer_value(json_object_get(message, "protocol"));
        char why[TEXT_SIZE];
        int r;

        if (a->greeted) {
                if (settings_parse_members(message, &a->settings, why) < 0)
                        agent_log(a, "error", "cannot take the new members: %s", why);
                return;
        }
        if (protocol != AGENT_PROTOCOL) {
                agent_log(a, "error", "this agent speaks protocol %d, not %lld", AGENT_PROTOCOL,
                          (long long)protocol);
                agent_exit(a);
                return;
        }
        r = settings_parse(message, &a->settings, why);
        if (r < 0) {
                agent_log(a, "error", "cannot use the hello: %s", why);
                agent_exit(a);
                return;
        }
        a->greeted = true;
        r = begin(a);
        if (r < 0) {
                agent_log(a, "error", "cannot begin with %s: %s", a->settings.state_dir,
                          strerror(-r));
                agent_exit(a);
        }
}

static void take_run(struct agent *a, const json_t *message)
{
        step_run(a, message);
        status_send(a, false);
}

static void take_retire(struct agent *a, const json_t *message)
{
        (void)message;
        agent_exit(a);
}

static const struct {
        const char *type;
        void (*take)(struct agent *a, const json_t *message);
        bool needs_greeting;
} messages[] = {
        { "hello", take_hello, false },    { "hold", hold_take, true },
        { "release", hold_release, true }, { "run", take_run, true },
        { "retire", take_retire, false },
};

static void on_object(const json_t *message, void *userdata)
{
        const char *type = json_string_value(json_object_get(message, "type"));
        struct agent *a = userdata;

        for (size_t i = 0; type && i < sizeof(messages) / sizeof(messages[0]); i++) {
                if (strcmp(type, messages[i].type) != 0)
                        continue;
                if (messages[i].needs_greeting && !a->greeted)
                        agent_log(a, "error", "%s came before hello", type);
                else
                        messages[i].take(a, message);
                return;
        }
        agent_log(a, "warning", "a message of an unknown type is ignored");
}

static void on_garbage(const char *why, void *userdata)
{
        agent_log(userdata, "error", "a line is not understood: %s", why);
}

static void on_end(int error, void *userdata)
{
        struct agent *a = userdata;

        (void)error; /* whatever it is, nobody speaks to us any more */
        a->input_ended = true;
        agent_maybe_exit(a);
}

int agent_new(struct event_base *base, int fd_in, int fd_out, struct agent **ret)
{
        const struct lines_events events = { .on_object = on_object,
                                             .on_garbage = on_garbage,
                                             .on_end = on_end };
        _cleanup_(agent_freep)
        struct agent *a = NULL;
        int r;

        a = malloc(sizeof(*a));
        if (!a)
                return -ENOMEM;
        *a = (struct agent){ .base = base, .lock = { .fd = -1 }, .watch = { .pidfd = -1 } };
        r = lines_new(base, fd_in, fd_out, &events, a, &a->lines);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(a);
        return 0;
}

static void event_freep(struct event *e)
{
        if (e)
                event_free(e);
}

void agent_free(struct agent *a)
{
        if (!a)
                return;
        if (a->greeted)
                step_cancel(a, "the agent ends");
        process_cancel(a->epoch.writer);
        process_cancel(a->watch.inspector);
        process_cancel(a->closing.worker);
        process_cancel(a->closing.command);
        session_free(a->watching);
        session_free(a->acting);
        session_free(a->background);
        probe_free(a->probe);
        event_freep(a->health.tick);
        event_freep(a->health.retry);
        event_freep(a->watch.ended);
        event_freep(a->watch.reaper);
        event_freep(a->closing.timer);
        event_freep(a->lock.timer);
        agent_timer_free(a->hold.timer);
        if (a->watch.pidfd >= 0)
                close(a->watch.pidfd);
        if (a->lock.fd >= 0)
                close(a->lock.fd);
        lines_free(a->lines);
        settings_done(&a->settings);
        free(a);
}
