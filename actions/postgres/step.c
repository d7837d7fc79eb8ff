/* Running one step at a time: beginning, stages, deadline, end. */
#include "actions/postgres/step.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actions/postgres/text.h"

#define POLL_INTERVAL (10 * USEC_PER_MSEC)

static const struct step_kind *const kinds[] = {
        &step_start,  &step_promote,   &step_demote,   &step_follow,     &step_rejoin,
        &step_freeze, &step_unfreeze,  &step_position, &step_checkpoint, &step_restart,
        &step_clone,  &step_bootstrap, &step_slots,
};

enum progress step_fail(struct step *s, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(s->error, sizeof(s->error), format, args);
        va_end(args);
        return STEP_FAILED;
}

enum progress step_goto(struct step *s, step_stage *stage)
{
        for (unsigned i = 0; s->kind->stages[i]; i++)
                if (s->kind->stages[i] == stage)
                        s->stage = i;
        s->fresh = true;
        return STEP_WAIT;
}

/* --- What stages use */

static void on_work(struct agent *a, const struct work_result *result)
{
        struct step *s = a->step;

        s->worker = NULL;
        s->work_over = true;
        s->result = *result;
        watch_look(a);
        step_poll(a);
}

enum progress step_work(struct agent *a, struct step *s, work_job *job)
{
        usec_t left = instant_until(s->deadline, agent_clock_now());
        int r;

        if (s->fresh) {
                s->work_over = false;
                s->order.epoch = s->epoch;
                s->order.deadline = s->deadline;
                s->order.running = a->watch.state == WATCH_ALIVE;
                s->order.timeline = a->view.timeline;
                /* What is received and not replayed may be half a record, which is no history. */
                s->order.lsn = a->view.replayed;
                r = agent_work(a, job, &s->order, left, on_work, &s->worker);
                if (r < 0)
                        return step_fail(s, "cannot start a child: %s", strerror(-r));
        }
        if (!s->work_over)
                return STEP_WAIT;
        if (s->result.diverged)
                a->needs_rewind = true;
        if (!s->result.ok)
                return step_fail(s, "%s", s->result.error);
        return STEP_NEXT;
}

static void on_answer(const PGresult *result, int error, const char *why, void *userdata)
{
        struct agent *a = userdata;
        struct step *s = a->step;

        (void)result;
        if (!s || !s->asking)
                return;
        s->asking = false;
        s->answered = true;
        s->query_error = error;
        if (error < 0)
                (void)step_fail(s, "the server says: %s", why);
        step_poll(a);
}

enum progress step_ask(struct agent *a, struct step *s, struct session *session, const char *sql)
{
        if (s->fresh) {
                s->answered = s->asking = false;
                s->query_error = 0;
        }
        if (!s->answered && !s->asking) {
                session_ensure(session);
                s->asking = session_query(session, sql,
                                          instant_until(s->deadline, agent_clock_now()), on_answer,
                                          a) == 0;
        }
        if (!s->answered)
                return STEP_WAIT;
        return s->query_error < 0 ? STEP_FAILED : STEP_NEXT;
}

static void on_view(const PGresult *result, int error, const char *why, void *userdata)
{
        struct agent *a = userdata;

        (void)error;
        (void)why;
        if (health_take(a, result))
                status_send(a, false);
        if (a->step)
                a->step->asking = false;
        step_poll(a);
}

enum progress step_look(struct agent *a, struct step *s)
{
        if (s->fresh) {
                s->answers = a->view.answers;
                s->asking = false;
        }
        if (a->view.answers != s->answers && !s->asking)
                return STEP_NEXT;
        if (!s->asking && a->watch.state == WATCH_ALIVE) {
                session_ensure(a->acting);
                s->asking = session_query(a->acting, health_sql(a), a->settings.health_timeout,
                                          on_view, a) == 0;
        }
        return STEP_WAIT;
}

enum progress step_close(struct agent *a, struct step *s, enum close_mode mode)
{
        struct instant now = agent_clock_now(), immediate_at, kill_at;
        usec_t left = instant_until(s->deadline, now);

        if (!s->fresh)
                return a->closing.active ? STEP_WAIT : STEP_NEXT;
        /* The last fifth is for killing what does not end by itself. */
        kill_at = instant_after(now, mode == CLOSE_IMMEDIATE ? left / 2 : left - left / 5);
        immediate_at = instant_after(now, left / 2);
        closing_begin(a, mode, immediate_at, kill_at, s->kind->name);
        return STEP_WAIT;
}

/* --- Beginning and end */

static void send_done(struct agent *a, json_int_t id, uint64_t epoch, const struct step *s,
                      const char *error)
{
        usec_t took = s ? instant_until(agent_clock_now(), s->begun) : 0;
        uint32_t timeline = a->view.timeline;
        uint64_t lsn = a->view.lsn;

        if (a->watch.state != WATCH_ALIVE) {
                timeline = a->watch.inspected ? a->watch.disk.control.timeline : 0;
                lsn = a->watch.inspected ? a->watch.disk.control.checkpoint : 0;
        }
        (void)lines_send(a->lines,
                         json_pack("{s:s, s:I, s:I, s:b, s:s, s:I, s:I, s:I, s:b}", "type", "done",
                                   "id", id, "epoch", (json_int_t)epoch, "ok", error == NULL,
                                   "error", error ? error : "", "took_usec", (json_int_t)took,
                                   "timeline", (json_int_t)timeline, "lsn", (json_int_t)lsn,
                                   "diverged", s && s->result.diverged));
}

/* Takes the step away first, so that whatever is called from here finds none. */
static void end(struct agent *a, const char *error)
{
        struct step *s = a->step;
        char plain[TEXT_SIZE] = "";

        if (error)
                snprintf(plain, sizeof(plain), "%s", *error ? error : "failed");
        text_make_plain(plain);
        a->step = NULL;
        a->starts_standby = false;
        process_cancel(s->worker);
        process_cancel(s->command);
        /* A query under way would answer to the next step. */
        if (s->asking) {
                session_reset(a->background);
                session_reset(a->acting);
                session_ensure(a->acting);
        }
        status_send(a, false);
        send_done(a, s->id, s->epoch, s, error ? plain : NULL);
        event_free(s->timer);
        free(s);
}

void step_cancel(struct agent *a, const char *why)
{
        if (a->step)
                end(a, why);
}

void step_hold_lost(struct agent *a)
{
        if (a->step && a->step->kind->needs_hold)
                end(a, "the hold was not renewed in time");
}

void step_interrupt(struct agent *a, const char *why)
{
        if (a->step && a->step->kind != &step_demote)
                end(a, why);
}

static enum progress run_stage(struct agent *a, struct step *s)
{
        step_stage *stage = s->kind->stages[s->stage];
        unsigned before = s->stage;
        enum progress progress;

        if (!stage)
                return STEP_DONE;
        progress = stage(a, s);
        if (progress == STEP_NEXT) {
                s->stage++;
                s->fresh = true;
        } else if (progress == STEP_WAIT && s->stage == before) {
                s->fresh = false;
        }
        return progress;
}

static bool may_begin(struct agent *a, struct step *s)
{
        if (s->kind == &step_demote)
                return true;
        /*
         * A later process must not obey an older epoch, so the disk knows this one first. And what
         * is written behind a close (standby.signal) must not meet what a step writes.
         */
        return a->locked && epoch_is_durable(a) && !a->closing.active;
}

void step_poll(struct agent *a)
{
        struct step *s = a->step;
        enum progress progress;
        unsigned stage;

        if (!s || s->polling)
                return;
        s->polling = true;
        do {
                if (instant_reached(s->deadline, agent_clock_now())) {
                        progress = s->error[0] ? STEP_FAILED
                                               : step_fail(s, "it took longer than it may");
                        break;
                }
                stage = s->stage;
                progress = may_begin(a, s) ? run_stage(a, s) : STEP_WAIT;
                /* A stage may have closed the database, and with it ended this step. */
                if (a->step != s)
                        return;
        } while (progress == STEP_NEXT || (progress == STEP_WAIT && s->stage != stage));
        s->polling = false;
        if (progress == STEP_DONE)
                end(a, NULL);
        else if (progress == STEP_FAILED)
                end(a, s->error);
}

static void on_timer(evutil_socket_t fd, short what, void *userdata)
{
        (void)fd;
        (void)what;
        step_poll(userdata);
}

static const struct step_kind *find_kind(const char *name)
{
        for (size_t i = 0; name && i < sizeof(kinds) / sizeof(kinds[0]); i++)
                if (strcmp(kinds[i]->name, name) == 0)
                        return kinds[i];
        return NULL;
}

static const char *take_mode(struct step *s, const json_t *args)
{
        static const char *const names[] = {
                [CLOSE_FAST] = "fast",
                [CLOSE_IMMEDIATE] = "immediate",
                [CLOSE_KILL] = "kill",
        };
        const char *mode = json_string_value(json_object_get(args, "mode"));

        for (unsigned i = 0; mode && i < sizeof(names) / sizeof(names[0]); i++) {
                if (strcmp(mode, names[i]) != 0)
                        continue;
                s->mode = (enum close_mode)i;
                return NULL;
        }
        return mode ? "mode must be fast, immediate or kill" : NULL;
}

static const char *take_method(const struct agent *a, struct step *s, const json_t *args)
{
        const char *method = json_string_value(json_object_get(args, "method"));

        s->order.rewind = a->settings.may_rewind;
        s->order.clone = a->settings.may_clone;
        if (!method || strcmp(method, "auto") == 0)
                return NULL;
        s->order.adopt = strcmp(method, "adopt") == 0;
        s->order.rewind = strcmp(method, "rewind") == 0;
        s->order.clone = s->order.copy = strcmp(method, "clone") == 0;
        if (s->order.adopt || s->order.rewind || s->order.clone || strcmp(method, "initdb") == 0)
                return NULL;
        return "method is none that is known";
}

/* Returns what is wrong, or NULL. */
static const char *take_args(const struct agent *a, struct step *s, const json_t *args)
{
        const json_t *primary = json_object_get(args, "primary");
        const char *why;

        if (json_is_object(primary)) {
                if (settings_parse_member(primary, &s->order.primary) < 0)
                        return "primary needs a name, a numeric address and a port";
                if (strcmp(s->order.primary.name, a->settings.node) == 0)
                        return "primary is this node itself";
                s->order.has_primary = s->named_primary = true;
        }
        if (s->kind->needs_primary && !s->order.has_primary)
                return "primary is missing";
        why = take_mode(s, args);
        return why ? why : take_method(a, s, args);
}

/* Whether the step may run now; ends what it replaces. Returns why not, or NULL. */
static const char *make_room(struct agent *a, const struct step *s)
{
        if (s->epoch < a->epoch.highest)
                return "it is of an older epoch than another one seen before";
        if (s->kind->needs_hold && !hold_covers(a, s->epoch, 0))
                return "there is no valid hold of this epoch";
        if (a->closing.active && a->watch.state != WATCH_NONE && s->kind != &step_demote)
                return "the database is being closed";
        if (!a->step)
                return NULL;
        if (s->kind != &step_demote && s->epoch <= a->step->epoch)
                return "another step is running";
        step_cancel(a, s->kind == &step_demote ? "the database is to be closed"
                                               : "a newer epoch has begun");
        return NULL;
}

static void read_step(const json_t *message, struct step *s)
{
        json_int_t epoch = json_integer_value(json_object_get(message, "epoch"));
        json_int_t deadline = json_integer_value(json_object_get(message, "deadline"));

        s->id = json_integer_value(json_object_get(message, "id"));
        s->epoch = epoch > 0 ? (uint64_t)epoch : 0;
        s->begun = agent_clock_now();
        s->fresh = true;
        s->kind = find_kind(json_string_value(json_object_get(message, "step")));
        if (deadline > 0)
                s->deadline = (struct instant){ (uint64_t)deadline };
        else
                s->deadline = instant_after(s->begun, s->kind ? s->kind->limit : 0);
}

void step_run(struct agent *a, const json_t *message)
{
        const struct timeval tv = { .tv_usec = POLL_INTERVAL };
        _cleanup_(freep)
        struct step *s = calloc(1, sizeof(*s));
        const char *why = "no memory";

        if (s) {
                read_step(message, s);
                why = s->kind ? take_args(a, s, json_object_get(message, "args"))
                              : "the step is not known";
        }
        if (!why)
                why = make_room(a, s);
        if (!why) {
                s->timer = event_new(a->base, -1, EV_PERSIST, on_timer, a);
                if (!s->timer || event_add(s->timer, &tv) < 0)
                        why = "no memory";
        }
        if (why) {
                send_done(a, json_integer_value(json_object_get(message, "id")), s ? s->epoch : 0,
                          s, why);
                return;
        }
        (void)epoch_accept(a, s->epoch); /* compared above */
        a->step = TAKE_PTR(s);
        step_poll(a);
}
