/*
 * What one node does about one service: whether it may be master, which steps make it master or
 * end that, and why not. Pure: each call gets the world as one view and answers with effects. It
 * decides; others know how. It may include election/base only.
 *
 * A node is master of a service while it holds the service's lease. The room never looks at the
 * lease's clock arithmetic: the view says whether the lease is ours and until when we may act.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "election/base/names.h"
#include "election/base/time.h"

enum {
        FAILOVER_REASON_SIZE = 160, /* bytes of a reason as text, with the final NUL */
};

/* What the node does about the service; the table in master.c has the moves. */
enum failover_state {
        FAILOVER_STANDBY, /* somebody else is master, or nobody may be */
        FAILOVER_CANDIDATE, /* the lease is free: positions are frozen and compared */
        FAILOVER_CAMPAIGNING, /* asked for the lease */
        FAILOVER_PROMOTING, /* has the lease, the steps run */
        FAILOVER_MASTER, /* has the lease, all is in place */
        FAILOVER_SWITCHING, /* planned hand-over: closing with the lease still held */
        FAILOVER_RESTARTING, /* the database crashed and is started again under the lease */
        FAILOVER_DEMOTING, /* closing because it must */
        FAILOVER_RELEASING, /* all is closed, the lease is being given back */
        FAILOVER_FENCED, /* closing could not be proved: hands off until it can */
        FAILOVER_STATES,
};

/* What the hands can do; the agent or the executor knows how. */
enum failover_step {
        FAILOVER_STEP_NONE,
        FAILOVER_STEP_PROMOTE,
        FAILOVER_STEP_DEMOTE, /* detail: FAILOVER_MODE_… */
        FAILOVER_STEP_RESTART, /* the crashed or closed primary in place, under the lease */
        FAILOVER_STEP_START, /* as a standby, whatever it was */
        FAILOVER_STEP_FREEZE, /* stop receiving, report the final position */
        FAILOVER_STEP_REJOIN, /* become a healthy standby of @peer by what it takes */
        FAILOVER_STEP_CLONE, /* from nothing, a copy of @peer */
        FAILOVER_STEP_BOOTSTRAP, /* detail: FAILOVER_BOOTSTRAP_… */
        FAILOVER_STEP_CHECKPOINT,
        FAILOVER_STEP_POSITION, /* report the position now */
        FAILOVER_STEP_ADDRESS_ADD,
        FAILOVER_STEP_ADDRESS_REMOVE,
        FAILOVER_STEPS,
};

enum failover_mode {
        FAILOVER_MODE_FAST,
        FAILOVER_MODE_IMMEDIATE,
        FAILOVER_MODE_KILL,
};

enum failover_bootstrap {
        FAILOVER_BOOTSTRAP_INITDB,
        FAILOVER_BOOTSTRAP_ADOPT,
};

enum failover_database_state {
        FAILOVER_DATABASE_UNKNOWN, /* nothing heard of it */
        FAILOVER_DATABASE_ABSENT, /* no data directory */
        FAILOVER_DATABASE_DOWN,
        FAILOVER_DATABASE_CRASHED,
        FAILOVER_DATABASE_STARTING,
        FAILOVER_DATABASE_STOPPING,
        FAILOVER_DATABASE_RUNNING,
        FAILOVER_DATABASE_HUNG,
        FAILOVER_DATABASE_FOREIGN, /* something else runs there */
};

enum failover_database_role {
        FAILOVER_ROLE_NONE,
        FAILOVER_ROLE_PRIMARY,
        FAILOVER_ROLE_STANDBY,
};

/* How far data are: comparable only for one system, along one line of timelines. */
struct failover_position {
        uint64_t system_id; /* 0: unknown */
        uint64_t timeline;
        uint64_t lsn; /* flushed, in bytes */
};

/* What a node tells the others about its side of a service. */
struct failover_report {
        bool known; /* ever heard */
        struct instant heard; /* by this node's clock */
        enum failover_state state;
        enum failover_database_state database;
        enum failover_database_role role;
        bool healthy;
        bool writable;
        bool streaming;
        bool frozen; /* receives nothing any more, for the free lease of @round */
        bool clean; /* when down: shut down cleanly */
        bool closed; /* nothing of ours serves: no address, no writable database */
        uint64_t round; /* log index that freed the lease for which it froze */
        uint64_t epoch; /* of the mastership that it acts for, or knows */
        struct failover_position position;
        node_id upstream; /* from whom it streams, or nobody */
        uint32_t priority; /* higher is preferred among equals */
        char reason[FAILOVER_REASON_SIZE]; /* why it is not healthy */
};

enum failover_lease_state {
        FAILOVER_LEASE_UNUSED, /* never granted: the service was not set up yet */
        FAILOVER_LEASE_FREE,
        FAILOVER_LEASE_OURS, /* held by this process, and valid */
        FAILOVER_LEASE_EARLIER, /* held by an earlier process of this node, or by us and void */
        FAILOVER_LEASE_THEIRS,
};

enum failover_order_type {
        FAILOVER_ORDER_NONE,
        FAILOVER_ORDER_SWITCHOVER, /* planned, only without loss */
        FAILOVER_ORDER_FAILOVER, /* the operator takes @target whatever may be lost */
};

struct failover_order {
        enum failover_order_type type;
        uint64_t epoch; /* of the mastership that shall end */
        node_id target;
        uint64_t id; /* tells it from an order of the same words before */
};

/* The world at one moment. */
struct failover_view {
        struct instant now;
        enum failover_lease_state lease;
        node_id holder; /* of the lease, or who held it last */
        uint64_t epoch; /* of the lease, or of the last mastership */
        uint64_t freed; /* log index that freed it */
        bool expired; /* it was freed because it ran out */
        struct instant freed_at; /* when this node learnt it */
        node_id reserved_for;
        bool has_recorded; /* the last master's position is known */
        struct failover_position recorded;
        struct instant valid_until; /* OURS: act only before */
        struct instant demote_at; /* OURS: closing begins here at the latest */
        bool paused;
        struct failover_order order;
        struct failover_report reports[MEMBERS_MAX + 1]; /* by node; own one included */
};

enum failover_event_type {
        FAILOVER_EVENT_VIEW, /* something in the view may have changed, or time passed */
        FAILOVER_EVENT_STEP_DONE, /* step @id ended well */
        FAILOVER_EVENT_STEP_FAILED,
        FAILOVER_EVENT_CLOSED, /* the hands have let go by themselves; @ok if it is proved */
        FAILOVER_EVENT_BOOTSTRAP, /* the operator makes this node the first master */
        FAILOVER_EVENT_CLONE, /* the operator wants a copy of the master here */
};

struct failover_event {
        enum failover_event_type type;
        uint64_t id;
        bool ok;
        const char *text; /* error of a failed step */
        struct failover_position position; /* what a step reported */
        enum failover_bootstrap bootstrap;
};

enum failover_effect_type {
        FAILOVER_CAMPAIGN, /* ask for the lease */
        FAILOVER_RELEASE, /* give it back, @peer is meant to follow or nobody */
        FAILOVER_RUN, /* a step: @step, @id, @deadline, @mode, @bootstrap, @peer */
        FAILOVER_CANCEL, /* step @id is no longer wanted */
        FAILOVER_REPORT, /* tell the others about us at once */
        FAILOVER_END_ORDER, /* the operator's order is done or refused: @text says which */
        FAILOVER_HISTORY, /* a change of master is complete: @text is why, @took how long */
        FAILOVER_MOVED, /* state changed from @from to @to because of @text */
        FAILOVER_NOTE, /* @text for the journal */
};

struct failover_effect {
        enum failover_effect_type type;
        enum failover_step step;
        uint64_t id;
        struct instant deadline;
        enum failover_mode mode;
        enum failover_bootstrap bootstrap;
        node_id peer;
        enum failover_state from;
        enum failover_state to;
        usec_t took;
        bool ok;
        char text[FAILOVER_REASON_SIZE];
};

struct failover_effects {
        const struct failover_effect *list;
        size_t n;
};

struct failover_config {
        node_id self;
        uint64_t steps_before; /* ids of steps count from here: no two processes share one */
        node_id members[MEMBERS_MAX]; /* who can be master of this service */
        unsigned n_members;
        const char *names[MEMBERS_MAX + 1]; /* by node; borrowed for as long as the service lives */
        bool has_database;
        bool has_address;
        bool automatic; /* otherwise only an operator makes a master */
        bool crash_restart; /* a crashed database is started again here, rather than moved */
        uint64_t max_loss; /* bytes */
        uint32_t priority;
        usec_t ttl;
        usec_t report_interval;
        usec_t demote_soft;
        usec_t demote_hard;
};

/* Why a node may not, or should not, be the next master. Kept until the next comparison. */
struct failover_verdict {
        node_id node;
        bool eligible;
        unsigned rank; /* 0 is the best; only if eligible */
        char reason[FAILOVER_REASON_SIZE];
};

struct failover;

struct failover *failover_new(const struct failover_config *config, struct instant now);
void failover_free(struct failover *f);

/* Members, and the names of nodes, are from now on those of @config. */
void failover_set_members(struct failover *f, const struct failover_config *config);

/* Lets one event happen in the world that @view shows. @ret is valid until the next call. */
void failover_step(struct failover *f, const struct failover_event *event,
                   const struct failover_view *view, struct failover_effects *ret);

/* When to come again with FAILOVER_EVENT_VIEW if nothing else happens first. */
struct instant failover_deadline(const struct failover *f);

enum failover_state failover_state(const struct failover *f);
/* Since when it is in its state. */
struct instant failover_since(const struct failover *f);
/* Whether the lease should be renewed: acting, or about to act. */
bool failover_wants_lease(const struct failover *f);
/* Whether nothing of the service may be serving here. */
bool failover_is_closed(const struct failover *f);
/* For which free lease (log index) this node has frozen, or 0. */
uint64_t failover_frozen_round(const struct failover *f);

/*
 * The verdict about each member by what is known at this moment, best first; @ret holds
 * MEMBERS_MAX. Returns how many. Pure: also used to answer "why not?" in advance.
 */
unsigned failover_rank(const struct failover_config *c, const struct failover_view *view,
                       struct failover_verdict *ret);

const char *failover_state_name(enum failover_state s);
const char *failover_state_phrase(enum failover_state s);
const char *failover_step_name(enum failover_step s);
const char *failover_database_state_name(enum failover_database_state s);
const char *failover_database_role_name(enum failover_database_role r);
const char *failover_mode_name(enum failover_mode m);
const char *failover_bootstrap_name(enum failover_bootstrap b);
