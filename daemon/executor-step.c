/*
 * The steps of a role change: the engine asks for one, the executor sets addresses itself and
 * passes the rest on to the agent of the database; each is answered exactly once.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/executor-private.h"
#include "daemon/journal.h"

#define ANSWER_GRACE USEC_PER_SEC /* how long after its deadline an agent may still answer */

struct step_kind {
        const char *name;
        bool for_agent; /* otherwise done here */
        bool needs_hold;
        bool may_write; /* the database may accept writes from then on */
        bool ends_service; /* also while letting go */
};

// clang-format off
static const struct step_kind kinds[] = {
        /* name             agent  hold   writes ends */
        { "promote",        true,  true,  true,  false },
        { "restart",        true,  true,  true,  false },
        { "demote",         true,  false, false, true  },
        { "start",          true,  false, false, false },
        { "freeze",         true,  false, false, false },
        { "unfreeze",       true,  false, false, false },
        { "follow",         true,  false, false, false },
        { "rejoin",         true,  false, false, false },
        { "clone",          true,  false, false, false },
        { "bootstrap",      true,  false, false, false },
        { "checkpoint",     true,  false, false, false },
        { "position",       true,  false, false, true  },
        { "slots",          true,  false, false, false },
        { "address_add",    false, true,  false, false },
        { "address_remove", false, false, false, true  },
};
// clang-format on

static const struct step_kind *kind_by_name(const char *name)
{
        for (size_t i = 0; name && i < sizeof(kinds) / sizeof(kinds[0]); i++)
                if (strcmp(kinds[i].name, name) == 0)
                        return &kinds[i];
        return NULL;
}

/* What the engine asks for, read from its message. */
struct request {
        uint64_t id;
        uint64_t epoch;
        struct instant deadline;
        struct instant begun;
        const struct step_kind *kind;
};

static void answer(struct service *s, uint64_t id, uint64_t epoch, const char *error, usec_t took)
{
        executor_tell_engine(s->executor,
                             json_pack("{s:s, s:s, s:I, s:I, s:b, s:s, s:I, s:i, s:i}", "type",
                                       "done", "service", s->conf->name, "id", (json_int_t)id,
                                       "epoch", (json_int_t)epoch, "ok", (int)(error[0] == '\0'),
                                       "error", error, "took_usec", (json_int_t)took, "timeline", 0,
                                       "lsn", 0));
}

static void answer_request(struct service *s, const struct request *q, const char *error)
{
        answer(s, q->id, q->epoch, error, instant_until(clock_now(), q->begun));
}

static void refuse(struct service *s, const struct request *q, const char *why)
{
        (void)log_warning(0, "refused step %s of %s under epoch %" PRIu64 ": %s",
                          q->kind ? q->kind->name : "(unknown)", s->conf->name, q->epoch, why);
        answer_request(s, q, why);
}

/* Why @q is not even tried, or NULL. */
static const char *refusal(const struct service *s, const struct request *q)
{
        if (!q->kind)
                return "there is no such step";
        if (q->epoch < s->epoch_seen)
                return "its epoch is older than one known already";
        if (instant_reached(q->deadline, clock_now()))
                return "its deadline has passed";
        if (q->kind->for_agent && !s->agent)
                return "the service has no database here";
        if (q->kind->needs_hold && !grip_allows(s, q->epoch, ADDRESS_BUDGET))
                return "there is no valid hold under this epoch";
        if (!q->kind->ends_service && s->grip > GRIP_HELD)
                return "letting go is under way";
        if (q->kind->for_agent && s->n_steps == STEPS_MAX)
                return "too many steps wait";
        return NULL;
}

static void run_address_step(struct service *s, const struct request *q)
{
        bool is_add = strcmp(q->kind->name, "address_add") == 0;
        char error[REASON_SIZE] = "";
        int r;

        r = is_add ? addresses_add(s, error, sizeof(error))
                   : addresses_remove(s, error, sizeof(error));
        if (r < 0)
                (void)log_error(0, "%s: %s", s->conf->name, error);
        else
                log_event(&(struct log_fields){ .service = s->conf->name,
                                                .epoch = q->epoch,
                                                .took = instant_until(clock_now(), q->begun) },
                          is_add ? "addresses are in place" : "addresses are taken away");
        answer_request(s, q, error);
        grip_reconsider(s);
}

static struct step *step_add(struct service *s, uint64_t id, uint64_t epoch, const char *name,
                             struct instant deadline)
{
        struct step *step;

        assert(s->n_steps < STEPS_MAX);
        step = &s->steps[s->n_steps++];
        *step = (struct step){ .id = id, .epoch = epoch, .deadline = deadline };
        (void)snprintf(step->name, sizeof(step->name), "%s", name); /* fits: from our table */
        return step;
}

static void step_remove(struct service *s, struct step *step)
{
        size_t i = (size_t)(step - s->steps);

        json_decref(step->message);
        s->n_steps--;
        memmove(step, step + 1, (s->n_steps - i) * sizeof(*step));
}

static bool is_of_engine(const struct step *step)
{
        return step->id < STEP_ID_OURS && !step->is_orphan;
}

/* Ends it without the agent's answer. */
static void step_fail(struct service *s, struct step *step, const char *error)
{
        if (is_of_engine(step))
                answer(s, step->id, step->epoch, error, 0);
        step_remove(s, step);
}

static void step_send(struct service *s, struct step *step)
{
        const struct step_kind *kind = kind_by_name(step->name);
        json_t *message = step->message;
        int r;

        step->message = NULL;
        step->is_sent = true;
        if (kind && kind->may_write)
                database_promoted(s);
        r = link_send(s->agent->link, message);
        if (r < 0) {
                (void)log_error(r, "cannot pass step %s on to the agent of %s", step->name,
                                s->conf->name);
                agent_kill(s->agent, "it does not take a step");
        }
}

void steps_flush(struct service *s)
{
        for (size_t i = 0; i < s->n_steps && s->agent->is_ready; i++)
                if (!s->steps[i].is_sent)
                        step_send(s, &s->steps[i]);
}

static json_t *agent_message(const struct step *step, json_t *args)
{
        return json_pack("{s:s, s:I, s:I, s:s, s:I, s:o}", "type", "run", "id",
                         (json_int_t)step->id, "epoch", (json_int_t)step->epoch, "step", step->name,
                         "deadline", (json_int_t)step->deadline.usec, "args",
                         args ? args : json_object());
}

static void run_agent_step(struct service *s, const struct request *q, json_t *message)
{
        struct step *step = step_add(s, q->id, q->epoch, q->kind->name, q->deadline);
        json_t *args = json_object_get(message, "args");

        step->message = agent_message(step, json_is_object(args) ? json_incref(args) : NULL);
        steps_flush(s);
}

void step_run_own(struct service *s, const char *name, uint64_t epoch, struct instant deadline,
                  json_t *args)
{
        struct step *step;

        if (s->n_steps == STEPS_MAX)
                step_fail(s, &s->steps[0], "given up for letting go");
        step = step_add(s, STEP_ID_OURS + s->n_steps_ours++, epoch, name, deadline);
        step->message = agent_message(step, args);
        steps_flush(s);
}

void step_run(struct service *s, json_t *message)
{
        struct request q = {
                .kind = kind_by_name(message_get_string(message, "step")),
                .begun = clock_now(),
        };
        const char *why;

        if (!message_get_u64(message, "id", &q.id) || q.id >= STEP_ID_OURS ||
            !message_get_u64(message, "epoch", &q.epoch) ||
            !message_get_u64(message, "deadline", &q.deadline.usec)) {
                (void)log_warning(0, "ignored a step of %s: it is not complete", s->conf->name);
                return;
        }
        why = refusal(s, &q);
        if (why) {
                refuse(s, &q, why);
                return;
        }
        s->epoch_seen = q.epoch;
        if (q.kind->for_agent)
                run_agent_step(s, &q, message);
        else
                run_address_step(s, &q);
}

static struct step *step_by_id(struct service *s, uint64_t id)
{
        for (size_t i = 0; i < s->n_steps; i++)
                if (s->steps[i].id == id)
                        return &s->steps[i];
        return NULL;
}

void step_cancel(struct service *s, uint64_t id)
{
        struct step *step = id < STEP_ID_OURS ? step_by_id(s, id) : NULL;

        if (!step)
                return;
        if (!step->is_sent) {
                step_fail(s, step, "cancelled");
                return;
        }
        /* The agent ends it at its deadline at the latest, or for a demotion, and answers then. */
        log_debug("step %s of %s is no longer wanted, and ends by itself", step->name,
                  s->conf->name);
}

bool step_is_pending(const struct service *s, const char *name)
{
        for (size_t i = 0; i < s->n_steps; i++)
                if (strcmp(s->steps[i].name, name) == 0)
                        return true;
        return false;
}

void step_done(struct service *s, json_t *message)
{
        bool ok = message_is_true(message, "ok");
        struct step *step = NULL, copy;
        uint64_t id;

        if (message_get_u64(message, "id", &id))
                step = step_by_id(s, id);
        if (!step || !step->is_sent) {
                log_debug("the agent of %s answers what nobody asked", s->conf->name);
                return;
        }
        copy = *step;
        copy.message = NULL;
        step_remove(s, step);
        if (is_of_engine(&copy) &&
            json_object_set_new(message, "service", json_string(s->conf->name)) == 0)
                executor_tell_engine(s->executor, json_incref(message));
        if (ok && strcmp(copy.name, "demote") == 0)
                database_closed(s);
        grip_reconsider(s);
}

void steps_agent_ended(struct service *s)
{
        size_t i = 0;

        while (i < s->n_steps)
                if (s->steps[i].is_sent)
                        step_fail(s, &s->steps[i], "the agent ended before it answered");
                else
                        i++;
}

void steps_engine_ended(struct service *s)
{
        size_t i = 0;

        while (i < s->n_steps) {
                struct step *step = &s->steps[i];

                if (step->id < STEP_ID_OURS && !step->is_sent) {
                        step_remove(s, step);
                        continue;
                }
                step->is_orphan = true;
                i++;
        }
}

void steps_check(struct service *s, struct instant now)
{
        size_t i = 0;

        while (i < s->n_steps) {
                struct step *step = &s->steps[i];
                usec_t grace = step->is_sent ? ANSWER_GRACE : 0;

                if (instant_reached(instant_after(step->deadline, grace), now))
                        step_fail(s, step,
                                  step->is_sent ? "the agent did not answer in time"
                                                : "the agent is not running");
                else
                        i++;
        }
}

void steps_clear(struct service *s)
{
        while (s->n_steps > 0)
                step_remove(s, &s->steps[s->n_steps - 1]);
}
