/*
 * The role of this node for one service as a table of rules: what may happen in which state, what
 * is done about it, and what comes then. Who reads the table needs no C.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "election/failover/failover-internal.h"
#include "election/failover/master.h"

static void set_deadline(struct failover *f, const struct failover_view *v, usec_t limit)
{
        f->deadline = instant_after(v->now, limit);
}

static void candidate(struct failover *f, const struct failover_view *v)
{
        if (f->waited_round != v->freed) {
                f->waited_round = v->freed;
                f->waited_since = v->now;
        }
}

/* Remembers for the history why there will be a change of master. */
__attribute__((format(printf, 2, 3))) static void set_cause(struct failover *f, const char *format,
                                                            ...)
{
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(f->cause, sizeof(f->cause), format, ap);
        va_end(ap);
}

static void campaign(struct failover *f, const struct failover_view *v)
{
        const char *last = failover_member(&f->config, v->holder);

        if (v->lease == FAILOVER_LEASE_UNUSED)
                set_cause(f, "the first master");
        else if (v->reserved_for == f->config.self)
                set_cause(f, "handed over by %s", last);
        else if (v->expired)
                set_cause(f, "the lease of %s ran out", last);
        else
                set_cause(f, "%s gave the lease back", last);
        f->began = v->freed_at.usec ? v->freed_at : v->now;
        failover_add(f, FAILOVER_CAMPAIGN);
        set_deadline(f, v, f->config.ttl / 2);
}

static void promote(struct failover *f, const struct failover_view *v)
{
        const struct failover_report *own = own_report(f, v);

        /* Without a campaign, the process before this one had the lease: was it through with it? */
        if (!f->cause[0] && own->database != FAILOVER_DATABASE_UNKNOWN &&
            own->role != FAILOVER_ROLE_PRIMARY)
                set_cause(f, "completed after a restart");
        care_drop(f);
        f->bootstrapped = false;
        f->frozen_round = 0;
        if (f->began.usec == 0)
                f->began = v->now;
        plan_promotion(f, v);
}

/* Each order is answered once, though it stays in sight until its end is committed. */
static struct failover_effect *end_order(struct failover *f, const struct failover_view *v)
{
        f->order_answered = v->order.id;
        return failover_add(f, FAILOVER_END_ORDER);
}

/* The order for the mastership before this one; others may have been faster than its target. */
static void end_earlier_order(struct failover *f, const struct failover_view *v)
{
        const struct failover_order *order = &v->order;
        struct failover_effect *e;

        if (order->type == FAILOVER_ORDER_NONE || order->epoch >= v->epoch)
                return;
        e = end_order(f, v);
        e->ok = order->target == NODE_NOBODY || order->target == f->config.self;
        if (e->ok)
                failover_text(e, "done");
        else
                failover_text(e, "overtaken: %s is the master now",
                              failover_member(&f->config, f->config.self));
}

static void rule(struct failover *f, const struct failover_view *v)
{
        /* A master that was only taken up again is no change of master. */
        if (f->cause[0]) {
                struct failover_effect *e = failover_add(f, FAILOVER_HISTORY);

                e->took = v->now.usec - f->began.usec;
                e->ok = true;
                failover_text(e, "%s", f->cause);
        }
        f->cause[0] = '\0';
        end_earlier_order(f, v);
        f->began = INSTANT_NEVER;
}

static void hand_over(struct failover *f, const struct failover_view *v)
{
        f->began = v->now;
        f->closed_lsn = 0;
        plan_handover(f, v);
        set_deadline(f, v, FAILOVER_STEP_LIMIT); /* of the checkpoint; clients are still served */
}

static void give_to_target(struct failover *f, const struct failover_view *v)
{
        plan_drop(f);
        f->release_reserved = true;
        failover_add(f, FAILOVER_RELEASE)->peer = f->target;
        set_deadline(f, v, FAILOVER_RELEASE_RETRY);
}

static void restart(struct failover *f, const struct failover_view *v)
{
        set_cause(f, "the database was started again in place");
        f->began = v->now;
        plan_restart(f, v);
        set_deadline(f, v, FAILOVER_STEP_LIMIT);
}

static void undo_handover(struct failover *f, const struct failover_view *v)
{
        failover_text(end_order(f, v), "undone: %s", f->why);
        set_cause(f, "a hand-over was undone");
        f->began = v->now;
        plan_undo(f, v);
        set_deadline(f, v, FAILOVER_STEP_LIMIT);
}

static void stay(struct failover *f, const struct failover_view *v)
{
        plan_drop(f);
        failover_text(end_order(f, v), "undone: %s", f->why);
}

/*
 * As long as the lease lives there is time for a clean stop, even when the demotion begins at its
 * deadline: the hands make it a hard one before the lease ends.
 */
static void demote(struct failover *f, const struct failover_view *v)
{
        bool in_a_hurry = v->lease != FAILOVER_LEASE_OURS;

        f->release_reserved = false;
        if (f->state == FAILOVER_SWITCHING)
                failover_text(end_order(f, v), "failed: %s", f->why);
        plan_demotion(f, v, in_a_hurry ? FAILOVER_MODE_IMMEDIATE : FAILOVER_MODE_FAST);
        set_deadline(f, v, FAILOVER_STEP_LIMIT);
}

static void close_by_force(struct failover *f, const struct failover_view *v)
{
        f->release_reserved = false;
        plan_demotion(f, v, FAILOVER_MODE_KILL);
        set_deadline(f, v, FAILOVER_STEP_LIMIT);
}

static void release(struct failover *f, const struct failover_view *v)
{
        plan_drop(f);
        failover_add(f, FAILOVER_RELEASE)->peer = f->release_reserved ? f->target : NODE_NOBODY;
        set_deadline(f, v, FAILOVER_RELEASE_RETRY);
}

static void rest(struct failover *f, const struct failover_view *v)
{
        plan_drop(f);
        f->release_reserved = false;
        f->began = INSTANT_NEVER;
        f->care_again = v->now;
}

static void fence(struct failover *f, const struct failover_view *v)
{
        plan_drop(f);
        set_deadline(f, v, FAILOVER_FENCE_RETRY);
}

/* clang-format off */
static const struct master_rule rules[] = {
        { FAILOVER_STANDBY,     MASTER_LEASE_FREE,     candidate,      FAILOVER_CANDIDATE,   "the lease is free" },
        { FAILOVER_STANDBY,     MASTER_CHOSEN,         campaign,       FAILOVER_CAMPAIGNING, "the operator makes this node the first master" },
        { FAILOVER_STANDBY,     MASTER_LEASE_OURS,     promote,        FAILOVER_PROMOTING,   "the lease is ours" },
        { FAILOVER_STANDBY,     MASTER_LEASE_EARLIER,  demote,         FAILOVER_DEMOTING,    "the lease is in our name, but no longer in our hands" },

        { FAILOVER_CANDIDATE,   MASTER_CHOSEN,         campaign,       FAILOVER_CAMPAIGNING, "the best candidate for a free lease" },
        { FAILOVER_CANDIDATE,   MASTER_LEASE_THEIRS,   rest,           FAILOVER_STANDBY,     "another node took the lease" },
        { FAILOVER_CANDIDATE,   MASTER_LEASE_OURS,     promote,        FAILOVER_PROMOTING,   "the lease is ours" },
        { FAILOVER_CANDIDATE,   MASTER_LEASE_EARLIER,  demote,         FAILOVER_DEMOTING,    "the lease came to us too late" },
        { FAILOVER_CANDIDATE,   MASTER_TIMED_OUT,      rest,           FAILOVER_STANDBY,     "the lease may not be taken now" },

        { FAILOVER_CAMPAIGNING, MASTER_LEASE_OURS,     promote,        FAILOVER_PROMOTING,   "the lease was granted" },
        { FAILOVER_CAMPAIGNING, MASTER_LEASE_THEIRS,   rest,           FAILOVER_STANDBY,     "another node was faster" },
        { FAILOVER_CAMPAIGNING, MASTER_LEASE_EARLIER,  demote,         FAILOVER_DEMOTING,    "the lease came to us too late" },
        { FAILOVER_CAMPAIGNING, MASTER_TIMED_OUT,      rest,           FAILOVER_STANDBY,     "no answer about the lease" },

        { FAILOVER_PROMOTING,   MASTER_STEPS_DONE,     rule,           FAILOVER_MASTER,      "all is in place" },
        { FAILOVER_PROMOTING,   MASTER_STEPS_FAILED,   demote,         FAILOVER_DEMOTING,    "the promotion failed" },

        { FAILOVER_MASTER,      MASTER_ORDERED,        hand_over,      FAILOVER_SWITCHING,   "the operator wants another master" },
        { FAILOVER_MASTER,      MASTER_DATABASE_LOST,  demote,         FAILOVER_DEMOTING,    "the database failed and another node can take over" },
        { FAILOVER_MASTER,      MASTER_DATABASE_RESTARTABLE, restart,  FAILOVER_RESTARTING,  "the database failed and is started again here" },

        { FAILOVER_RESTARTING,  MASTER_STEPS_DONE,     rule,           FAILOVER_MASTER,      "the database runs again" },
        { FAILOVER_RESTARTING,  MASTER_STEPS_FAILED,   demote,         FAILOVER_DEMOTING,    "the database could not be started again" },
        { FAILOVER_RESTARTING,  MASTER_TIMED_OUT,      demote,         FAILOVER_DEMOTING,    "the database did not start in time" },

        { FAILOVER_SWITCHING,   MASTER_TARGET_READY,   give_to_target, FAILOVER_RELEASING,   "closed, and the target has everything" },
        { FAILOVER_SWITCHING,   MASTER_TARGET_LOST,    stay,           FAILOVER_MASTER,      "the target was lost before anything was closed" },
        { FAILOVER_SWITCHING,   MASTER_STEPS_FAILED,   demote,         FAILOVER_DEMOTING,    "the hand-over failed while closing" },
        { FAILOVER_SWITCHING,   MASTER_TIMED_OUT,      undo_handover,  FAILOVER_RESTARTING,  "the target did not get everything in time" },

        /* A lost lease is obeyed in every state that could be serving writes. */
        { FAILOVER_PROMOTING,   MASTER_LEASE_ENDED,    demote,         FAILOVER_DEMOTING,    "lost the lease too early" },
        { FAILOVER_MASTER,      MASTER_LEASE_ENDED,    demote,         FAILOVER_DEMOTING,    "lost the lease" },
        { FAILOVER_SWITCHING,   MASTER_LEASE_ENDED,    demote,         FAILOVER_DEMOTING,    "lost the lease during the hand-over" },
        { FAILOVER_RESTARTING,  MASTER_LEASE_ENDED,    demote,         FAILOVER_DEMOTING,    "lost the lease during the restart" },

        /* The hands know best: what they closed is closed. */
        { FAILOVER_PROMOTING,   MASTER_CLOSED,         release,        FAILOVER_RELEASING,   "the hands let go" },
        { FAILOVER_MASTER,      MASTER_CLOSED,         release,        FAILOVER_RELEASING,   "the hands let go" },
        { FAILOVER_SWITCHING,   MASTER_CLOSED,         release,        FAILOVER_RELEASING,   "the hands let go" },
        { FAILOVER_RESTARTING,  MASTER_CLOSED,         release,        FAILOVER_RELEASING,   "the hands let go" },
        { FAILOVER_DEMOTING,    MASTER_CLOSED,         release,        FAILOVER_RELEASING,   "the hands let go" },
        { FAILOVER_FENCED,      MASTER_CLOSED,         release,        FAILOVER_RELEASING,   "the hands let go at last" },
        { FAILOVER_PROMOTING,   MASTER_UNPROVED,       fence,          FAILOVER_FENCED,      "writes may not have stopped" },
        { FAILOVER_MASTER,      MASTER_UNPROVED,       fence,          FAILOVER_FENCED,      "writes may not have stopped" },
        { FAILOVER_SWITCHING,   MASTER_UNPROVED,       fence,          FAILOVER_FENCED,      "writes may not have stopped" },
        { FAILOVER_RESTARTING,  MASTER_UNPROVED,       fence,          FAILOVER_FENCED,      "writes may not have stopped" },
        { FAILOVER_DEMOTING,    MASTER_UNPROVED,       fence,          FAILOVER_FENCED,      "writes may not have stopped" },

        { FAILOVER_DEMOTING,    MASTER_STEPS_DONE,     release,        FAILOVER_RELEASING,   "all is closed" },
        { FAILOVER_DEMOTING,    MASTER_STEPS_FAILED,   fence,          FAILOVER_FENCED,      "writes may not have stopped" },
        { FAILOVER_DEMOTING,    MASTER_TIMED_OUT,      fence,          FAILOVER_FENCED,      "writes may not have stopped" },
        { FAILOVER_FENCED,      MASTER_TIMED_OUT,      close_by_force, FAILOVER_DEMOTING,    "trying again to close" },

        { FAILOVER_RELEASING,   MASTER_LEASE_FREE,     rest,           FAILOVER_STANDBY,     "the lease is given back" },
        { FAILOVER_RELEASING,   MASTER_LEASE_THEIRS,   rest,           FAILOVER_STANDBY,     "another node has the lease" },
        { FAILOVER_RELEASING,   MASTER_TIMED_OUT,      release,        FAILOVER_RELEASING,   "asking again to give the lease back" },
};
/* clang-format on */

const struct master_rule *master_rule_at(size_t i)
{
        return i < sizeof(rules) / sizeof(rules[0]) ? &rules[i] : NULL;
}

const struct master_rule *master_rule_for(enum failover_state state, enum master_event event)
{
        for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
                if (rules[i].state == state && rules[i].event == event)
                        return &rules[i];
        }
        return NULL;
}

struct failover_effect *failover_add(struct failover *f, enum failover_effect_type type)
{
        struct failover_effect *e;

        assert(f->n_effects < FAILOVER_EFFECTS_MAX);
        e = &f->effects[f->n_effects++];
        *e = (struct failover_effect){ .type = type };
        return e;
}

void failover_text(struct failover_effect *e, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(e->text, sizeof(e->text), format, ap);
        va_end(ap);
}

const char *failover_member(const struct failover_config *c, node_id node)
{
        return node <= MEMBERS_MAX && c->names[node] ? c->names[node] : "nobody";
}

void failover_note(struct failover *f, const char *format, ...)
{
        struct failover_effect *e = failover_add(f, FAILOVER_NOTE);
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(e->text, sizeof(e->text), format, ap);
        va_end(ap);
}

uint64_t failover_run(struct failover *f, enum failover_step step, struct instant deadline,
                      node_id peer)
{
        struct failover_effect *e = failover_add(f, FAILOVER_RUN);

        e->step = step;
        e->id = ++f->next_id;
        e->deadline = deadline;
        e->peer = peer;
        return e->id;
}

/* The one place that changes the state. */
static void move(struct failover *f, const struct failover_view *v, const struct master_rule *rule,
                 const char *detail)
{
        struct failover_effect moved = { .type = FAILOVER_MOVED,
                                         .from = f->state,
                                         .to = rule->next };

        failover_text(&moved, "%s%s%s", rule->text, detail[0] ? ": " : "", detail);
        memcpy(f->why, moved.text, sizeof(f->why));
        f->deadline = INSTANT_FOREVER;
        if (rule->next == f->state) { /* once more the same is no news */
                rule->action(f, v);
                return;
        }
        *failover_add(f, FAILOVER_MOVED) = moved;
        if (rule->action)
                rule->action(f, v);
        f->state = rule->next;
        f->since = v->now;
        failover_add(f, FAILOVER_REPORT);
}

/* Applies the rule for @event if the state has one. */
static bool happen(struct failover *f, const struct failover_view *v, enum master_event event,
                   const char *detail)
{
        const struct master_rule *rule = master_rule_for(f->state, event);

        if (!rule)
                return false;
        move(f, v, rule, detail);
        return true;
}

static bool is_acting(const struct failover *f)
{
        return f->state == FAILOVER_PROMOTING || f->state == FAILOVER_MASTER ||
               f->state == FAILOVER_SWITCHING || f->state == FAILOVER_RESTARTING;
}

bool failover_wants_lease(const struct failover *f)
{
        return is_acting(f) || f->state == FAILOVER_CAMPAIGNING;
}

bool failover_is_closed(const struct failover *f)
{
        if (f->state == FAILOVER_SWITCHING)
                return f->plan_done;
        return f->state == FAILOVER_STANDBY || f->state == FAILOVER_CANDIDATE ||
               f->state == FAILOVER_CAMPAIGNING || f->state == FAILOVER_RELEASING;
}

static bool look_at_lease(struct failover *f, const struct failover_view *v)
{
        bool ours = v->lease == FAILOVER_LEASE_OURS && !instant_reached(v->demote_at, v->now);

        if (is_acting(f)) {
                f->wake = instant_earlier(f->wake, v->demote_at);
                return !ours && happen(f, v, MASTER_LEASE_ENDED, "");
        }
        if (ours)
                return happen(f, v, MASTER_LEASE_OURS, "");
        switch (v->lease) {
        case FAILOVER_LEASE_FREE:
                if (f->state == FAILOVER_STANDBY && !candidate_may_run(f, v))
                        return false;
                return happen(f, v, MASTER_LEASE_FREE, "");
        case FAILOVER_LEASE_THEIRS:
                return happen(f, v, MASTER_LEASE_THEIRS, "");
        case FAILOVER_LEASE_OURS:
        case FAILOVER_LEASE_EARLIER:
                return happen(f, v, MASTER_LEASE_EARLIER, "");
        case FAILOVER_LEASE_UNUSED:
                return false;
        }
        return false;
}

static bool look_at_choice(struct failover *f, const struct failover_view *v)
{
        if (f->state == FAILOVER_STANDBY)
                return v->lease == FAILOVER_LEASE_UNUSED && f->bootstrapped &&
                       happen(f, v, MASTER_CHOSEN, "");
        if (f->state != FAILOVER_CANDIDATE)
                return false;
        if (!candidate_may_run(f, v))
                return happen(f, v, MASTER_TIMED_OUT, "");
        return candidate_is_chosen(f, v) && happen(f, v, MASTER_CHOSEN, "");
}

/* In what way the database of an acting master is not what it should be; NULL if it is. */
static const char *database_trouble(const struct failover_report *own)
{
        switch (own->database) {
        case FAILOVER_DATABASE_RUNNING:
                if (own->role == FAILOVER_ROLE_STANDBY)
                        return "it became a standby";
                return NULL;
        case FAILOVER_DATABASE_HUNG:
                return "it hangs";
        case FAILOVER_DATABASE_CRASHED:
                return "it crashed";
        case FAILOVER_DATABASE_DOWN:
        case FAILOVER_DATABASE_STOPPING:
                return "it was stopped";
        case FAILOVER_DATABASE_ABSENT:
                return "its data directory is gone";
        case FAILOVER_DATABASE_FOREIGN:
                return "another program is in its place";
        case FAILOVER_DATABASE_UNKNOWN:
        case FAILOVER_DATABASE_STARTING:
                return NULL;
        }
        return NULL;
}

static bool look_at_database(struct failover *f, const struct failover_view *v)
{
        const char *trouble;
        node_id other;

        if (f->state != FAILOVER_MASTER || !f->config.has_database || v->paused)
                return false;
        trouble = database_trouble(own_report(f, v));
        if (!trouble)
                return false;
        if (f->config.crash_restart || !f->config.automatic || !rank_finds_other(f, v, &other))
                return happen(f, v, MASTER_DATABASE_RESTARTABLE, trouble);
        return happen(f, v, MASTER_DATABASE_LOST, trouble);
}

__attribute__((format(printf, 3, 4))) static bool refuse_order(struct failover *f,
                                                               const struct failover_view *v,
                                                               const char *format, ...)
{
        struct failover_effect *e = end_order(f, v);
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(e->text, sizeof(e->text), format, ap);
        va_end(ap);
        return false;
}

static const struct failover_verdict *verdict_of(const struct failover_verdict *verdicts,
                                                 unsigned n, node_id node)
{
        for (unsigned i = 0; i < n; i++) {
                if (verdicts[i].node == node)
                        return &verdicts[i];
        }
        return NULL;
}

/* Whether @target can take over without loss; otherwise the order is refused and the reason told. */
static bool target_is_fit(struct failover *f, const struct failover_view *v, node_id target)
{
        const struct failover_report *own = own_report(f, v), *r = &v->reports[target];
        const char *name = failover_member(&f->config, target);
        struct failover_verdict verdicts[MEMBERS_MAX];
        unsigned n = failover_rank(&f->config, v, verdicts);
        const struct failover_verdict *verdict = verdict_of(verdicts, n, target);

        if (!verdict)
                return refuse_order(f, v, "refused: %s is no member of this service", name);
        if (target == f->config.self)
                return refuse_order(f, v, "refused: %s is the master already", name);
        if (!verdict->eligible)
                return refuse_order(f, v, "refused: %s is not fit: %s", name, verdict->reason);
        if (!f->config.has_database || v->order.type == FAILOVER_ORDER_FAILOVER)
                return true;
        if (!r->streaming || r->upstream != f->config.self)
                return refuse_order(f, v, "refused: %s does not stream from the master", name);
        if (own->position.lsn > r->position.lsn + FAILOVER_LAG_MAX)
                return refuse_order(f, v, "refused: %s is %" PRIu64 " bytes behind", name,
                                    own->position.lsn - r->position.lsn);
        return true;
}

static bool look_at_order(struct failover *f, const struct failover_view *v)
{
        node_id target = v->order.target;

        if (f->state != FAILOVER_MASTER || v->order.type == FAILOVER_ORDER_NONE ||
            v->order.epoch != v->epoch || f->order_answered == v->order.id)
                return false;
        if (target == NODE_NOBODY && !rank_finds_other(f, v, &target))
                return refuse_order(f, v, "refused: no other node is fit");
        if (!target_is_fit(f, v, target))
                return false;
        f->target = target;
        return happen(f, v, MASTER_ORDERED, "");
}

/* An order to take a free lease, here, where the database does not become fit for it. */
static bool look_at_forced_order(struct failover *f, const struct failover_view *v)
{
        struct instant limit = instant_after(f->since, FAILOVER_SWITCH_LIMIT);
        struct failover_verdict verdicts[MEMBERS_MAX];
        const struct failover_verdict *own;
        unsigned n;

        if (f->state != FAILOVER_CANDIDATE || !order_is_current(v, FAILOVER_ORDER_FAILOVER) ||
            v->order.target != f->config.self || f->order_answered == v->order.id)
                return false;
        n = failover_rank(&f->config, v, verdicts);
        own = verdict_of(verdicts, n, f->config.self);
        if (!own || own->eligible)
                return false;
        if (instant_reached(limit, v->now))
                return refuse_order(f, v, "refused: %s is not fit: %s",
                                    failover_member(&f->config, f->config.self), own->reason);
        f->wake = instant_earlier(f->wake, limit);
        return false;
}

/* In what way the target of a hand-over cannot be the next master any more; NULL if it can. */
static const char *target_trouble(const struct failover *f, const struct failover_view *v)
{
        const struct failover_report *r = &v->reports[f->target];
        struct instant grace = instant_after(f->closed_at, FAILOVER_TARGET_GRACE);

        if (!rank_is_fresh(&f->config, v, f->target))
                return "it fell silent";
        if (!f->config.has_database || !instant_reached(f->began, r->heard))
                return NULL;
        if (r->database != FAILOVER_DATABASE_RUNNING)
                return "its database does not run";
        /* We have closed: what it does not receive now, it never will. */
        if (f->plan_done && !r->streaming && r->position.lsn < f->closed_lsn &&
            instant_reached(grace, r->heard))
                return "it does not stream";
        return NULL;
}

/*
 * Without knowing where the stop ended, nobody can say that the target has everything; and what it
 * said before the stop does not show that it still lives.
 */
static bool target_has_everything(const struct failover *f, const struct failover_view *v)
{
        const struct failover_report *r = &v->reports[f->target];

        if (!f->config.has_database || v->order.type == FAILOVER_ORDER_FAILOVER)
                return true;
        return f->closed_lsn != 0 && r->position.lsn >= f->closed_lsn &&
               instant_reached(f->closed_at, r->heard);
}

static bool look_at_target(struct failover *f, const struct failover_view *v)
{
        bool serving = f->plan.n > 0 && f->plan.current < f->plan.n &&
                       f->plan.steps[f->plan.current] == FAILOVER_STEP_CHECKPOINT;
        const char *trouble;

        if (f->state != FAILOVER_SWITCHING)
                return false;
        trouble = target_trouble(f, v);
        if (trouble)
                return happen(f, v, serving ? MASTER_TARGET_LOST : MASTER_TIMED_OUT, trouble);
        return f->plan_done && target_has_everything(f, v) && happen(f, v, MASTER_TARGET_READY, "");
}

static bool look_at_steps(struct failover *f, const struct failover_view *v)
{
        return f->plan_done && f->state != FAILOVER_SWITCHING &&
               happen(f, v, MASTER_STEPS_DONE, "");
}

static bool look_at_clock(struct failover *f, const struct failover_view *v)
{
        return instant_reached(f->deadline, v->now) && happen(f, v, MASTER_TIMED_OUT, "");
}

/* Looks at the world until nothing in it moves the state any more. */
static void look(struct failover *f, const struct failover_view *v)
{
        static bool (*const looks[])(struct failover *, const struct failover_view *) = {
                look_at_lease, look_at_steps,        look_at_target, look_at_database,
                look_at_order, look_at_forced_order, look_at_clock,  look_at_choice,
        };
        /* A bound, not a rule: no chain of moves within one view is longer than the states. */
        unsigned left = FAILOVER_STATES;
        size_t i = 0;

        f->wake = INSTANT_FOREVER;
        while (i < sizeof(looks) / sizeof(looks[0])) {
                bool moved = looks[i](f, v);

                assert(!moved || left-- > 0);
                i = moved ? 0 : i + 1;
        }
        if (f->state == FAILOVER_STANDBY || f->state == FAILOVER_CANDIDATE)
                care_look(f, v);
}

/* A hand-over counts its time from the first thing that clients notice. */
static void handover_step_ended(struct failover *f, const struct failover_event *event,
                                const struct failover_view *v, enum failover_step step)
{
        if (step == FAILOVER_STEP_CHECKPOINT)
                set_deadline(f, v, FAILOVER_SWITCH_LIMIT);
        if (step == FAILOVER_STEP_DEMOTE) {
                f->closed_lsn = event->position.lsn;
                f->closed_at = v->now;
        }
}

static void step_ended(struct failover *f, const struct failover_event *event,
                       const struct failover_view *v)
{
        bool ok = event->type == FAILOVER_EVENT_STEP_DONE;
        enum failover_step step;

        if (event->id != 0 && event->id == f->care_step) {
                care_step_ended(f, v, ok);
                return;
        }
        if (event->id == 0 || event->id != f->plan_step)
                return; /* of a plan that was dropped */
        step = f->plan.steps[f->plan.current];
        /* Without the checkpoint before it, the stop of a hand-over is only slower. */
        if (!ok && step != FAILOVER_STEP_CHECKPOINT) {
                f->plan_step = 0;
                (void)happen(f, v, MASTER_STEPS_FAILED, event->text ? event->text : "");
                return;
        }
        if (f->state == FAILOVER_SWITCHING)
                handover_step_ended(f, event, v, step);
        plan_next(f, v);
}

void failover_step(struct failover *f, const struct failover_event *event,
                   const struct failover_view *view, struct failover_effects *ret)
{
        f->n_effects = 0;
        switch (event->type) {
        case FAILOVER_EVENT_VIEW:
                break;
        case FAILOVER_EVENT_STEP_DONE:
        case FAILOVER_EVENT_STEP_FAILED:
                step_ended(f, event, view);
                break;
        case FAILOVER_EVENT_CLOSED:
                (void)happen(f, view, event->ok ? MASTER_CLOSED : MASTER_UNPROVED,
                             event->text ? event->text : "");
                break;
        case FAILOVER_EVENT_BOOTSTRAP:
                care_bootstrap(f, view, event->bootstrap);
                break;
        case FAILOVER_EVENT_CLONE:
                care_clone(f, view);
                break;
        }
        look(f, view);
        *ret = (struct failover_effects){ .list = f->effects, .n = f->n_effects };
}

struct failover *failover_new(const struct failover_config *config, struct instant now)
{
        struct failover *f = must_alloc(1, sizeof(*f));

        f->config = *config;
        f->since = now;
        f->deadline = INSTANT_FOREVER;
        f->wake = now;
        f->next_id = config->steps_before;
        f->order_answered = UINT64_MAX; /* none */
        f->waited_round = UINT64_MAX; /* a lease that was never granted is free in round 0 */
        return f;
}

void failover_free(struct failover *f)
{
        free(f);
}

void failover_set_members(struct failover *f, const struct failover_config *config)
{
        memcpy(f->config.members, config->members, sizeof(f->config.members));
        f->config.n_members = config->n_members;
        memcpy(f->config.names, config->names, sizeof(f->config.names));
        f->wake = INSTANT_NEVER; /* what was compared may be gone: look again */
}

struct instant failover_deadline(const struct failover *f)
{
        return instant_earlier(f->deadline, f->wake);
}

enum failover_state failover_state(const struct failover *f)
{
        return f->state;
}

struct instant failover_since(const struct failover *f)
{
        return f->since;
}

uint64_t failover_frozen_round(const struct failover *f)
{
        return f->frozen_round;
}
