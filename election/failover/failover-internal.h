/* What the files of this room share: the state of one service on this node. */
#pragma once

#include "election/failover/failover.h"

enum {
        FAILOVER_PLAN_MAX = 4, /* steps of one role change */
        FAILOVER_EFFECTS_MAX = 32, /* effects of one call; asserted */
};

#define FAILOVER_STEP_LIMIT (60 * USEC_PER_SEC) /* of a promotion, restart, start, clean stop */
#define FAILOVER_ADDRESS_LIMIT (2 * USEC_PER_SEC) /* of one change of addresses */
#define FAILOVER_FREEZE_LIMIT (2 * USEC_PER_SEC)
#define FAILOVER_REJOIN_LIMIT (600 * USEC_PER_SEC) /* a rewind, or a copy of a small database */
#define FAILOVER_CLONE_LIMIT (24 * 3600 * USEC_PER_SEC)
#define FAILOVER_SWITCH_LIMIT (10 * USEC_PER_SEC) /* until the target has everything */
#define FAILOVER_TARGET_GRACE (500 * USEC_PER_MSEC) /* for what the target still has on its way */
#define FAILOVER_COLD_PAUSE                                                                        \
        (2 * USEC_PER_SEC) /* until a stopped database is started though another is fit */
#define FAILOVER_COLD_WAIT (20 * USEC_PER_SEC) /* for databases that start, when ours had to, too */
#define FAILOVER_FENCE_RETRY (1 * USEC_PER_SEC)
#define FAILOVER_RELEASE_RETRY (200 * USEC_PER_MSEC)
#define FAILOVER_LAG_MAX ((uint64_t)16 << 20) /* bytes behind, for a switchover to begin */

/* What may happen to a master, as far as the table of rules is concerned. */
enum master_event {
        MASTER_LEASE_FREE, /* and this node may be the next master */
        MASTER_LEASE_OURS,
        MASTER_LEASE_EARLIER, /* held in our name, but not by this process, or not any more */
        MASTER_LEASE_THEIRS,
        MASTER_LEASE_ENDED, /* not ours any more, or too close to its end */
        MASTER_CHOSEN, /* this node should take the lease */
        MASTER_STEPS_DONE,
        MASTER_STEPS_FAILED,
        MASTER_DATABASE_LOST, /* and another node can take over */
        MASTER_DATABASE_RESTARTABLE, /* lost, and this node is the best place for it */
        MASTER_ORDERED, /* a switchover whose target is fit */
        MASTER_TARGET_LOST, /* before anything was closed */
        MASTER_TARGET_READY, /* it has everything */
        MASTER_CLOSED, /* the hands let go by themselves, and proved it */
        MASTER_UNPROVED, /* nobody can say whether something still serves */
        MASTER_TIMED_OUT,
        MASTER_EVENTS,
};

struct failover_plan {
        enum failover_step steps[FAILOVER_PLAN_MAX];
        unsigned n;
        unsigned current;
};

struct failover {
        struct failover_config config;
        enum failover_state state;
        struct instant since;
        struct instant deadline; /* MASTER_TIMED_OUT comes then; FOREVER if never */
        struct instant wake; /* when a view should be looked at again */
        struct failover_plan plan;
        enum failover_mode demote_mode;
        bool plan_done;
        uint64_t plan_step; /* id of the running step of the plan, or 0 */
        uint64_t next_id;
        node_id target; /* of the switchover */
        uint64_t closed_lsn; /* where the clean stop of a switchover ended */
        struct instant closed_at; /* when that was known */
        uint64_t order_answered; /* id of the order that was answered last */
        bool release_reserved;
        struct instant began; /* of the role change that is under way */
        char why[FAILOVER_REASON_SIZE]; /* it is in its state */
        char cause[FAILOVER_REASON_SIZE]; /* of the role change that is under way */

        /* The database while the service is not ours; see care.c. */
        uint64_t care_step; /* id of the running step, or 0 */
        enum failover_step care_kind;
        struct instant care_again; /* not before */
        unsigned care_failures;
        node_id care_peer;
        uint64_t frozen_round;
        uint64_t started_round; /* the free lease for which the database had to be started */
        bool bootstrapped; /* the operator made this node the first master */
        struct instant waited_since; /* the free lease was seen */
        uint64_t waited_round;

        struct failover_effect effects[FAILOVER_EFFECTS_MAX];
        size_t n_effects;
};

/* Adds an effect; the caller fills in the rest. */
struct failover_effect *failover_add(struct failover *f, enum failover_effect_type type);
__attribute__((format(printf, 2, 3))) void failover_note(struct failover *f, const char *format,
                                                         ...);
/* Words an effect. */
__attribute__((format(printf, 2, 3))) void failover_text(struct failover_effect *e,
                                                         const char *format, ...);
/* What to call @node in a text. */
const char *failover_member(const struct failover_config *c, node_id node);
/* Starts a step and returns its id. */
uint64_t failover_run(struct failover *f, enum failover_step step, struct instant deadline,
                      node_id peer);

/* plan.c: the steps of a role change, one after the other. */
void plan_start(struct failover *f, const struct failover_view *v, const enum failover_step *steps,
                unsigned n);
void plan_next(struct failover *f, const struct failover_view *v);
void plan_drop(struct failover *f);
void plan_promotion(struct failover *f, const struct failover_view *v);
void plan_restart(struct failover *f, const struct failover_view *v);
void plan_undo(struct failover *f, const struct failover_view *v);
void plan_handover(struct failover *f, const struct failover_view *v);
void plan_demotion(struct failover *f, const struct failover_view *v, enum failover_mode mode);

/* care.c: keeps the database of a node that is not master fit to become one. */
void care_look(struct failover *f, const struct failover_view *v);
void care_step_ended(struct failover *f, const struct failover_view *v, bool ok);
void care_drop(struct failover *f);
void care_clone(struct failover *f, const struct failover_view *v);
void care_bootstrap(struct failover *f, const struct failover_view *v, enum failover_bootstrap how);

/* candidate.c: the wait for the others' positions, and the choice. */
bool candidate_may_run(const struct failover *f, const struct failover_view *v);
bool candidate_is_chosen(struct failover *f, const struct failover_view *v);

/* rank.c */
bool rank_finds_other(const struct failover *f, const struct failover_view *v, node_id *ret);
bool rank_is_fresh(const struct failover_config *c, const struct failover_view *v, node_id node);
bool rank_is_eligible(const struct failover_config *c, const struct failover_view *v, node_id node);

/* An order counts for the mastership that it names, and the time until the next one. */
static inline bool order_is_current(const struct failover_view *v, enum failover_order_type type)
{
        return v->order.type == type && v->order.epoch == v->epoch;
}

/* What the hands have done that is not yet in the newest report of ourselves is not guessed. */
static inline const struct failover_report *own_report(const struct failover *f,
                                                       const struct failover_view *v)
{
        return &v->reports[f->config.self];
}
