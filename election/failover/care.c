/*
 * The database of a node that is not master: closed if it writes without right, started, frozen
 * for a free lease, made a standby of the master. One step at a time, repeated with a growing
 * pause when it fails.
 */
#include <string.h>

#include "election/failover/failover-internal.h"

enum { CARE_PAUSE_DOUBLINGS_MAX = 5 };

#define CARE_PAUSE (500 * USEC_PER_MSEC)
#define CARE_POLL (20 * USEC_PER_MSEC)

static void start_step(struct failover *f, const struct failover_view *v, enum failover_step step,
                       usec_t limit, node_id peer)
{
        f->care_kind = step;
        f->care_peer = peer;
        f->care_step = failover_run(f, step, instant_after(v->now, limit), peer);
}

void care_drop(struct failover *f)
{
        if (f->care_step != 0)
                failover_add(f, FAILOVER_CANCEL)->id = f->care_step;
        f->care_step = 0;
        f->care_kind = FAILOVER_STEP_NONE;
        f->care_again = INSTANT_NEVER;
        f->care_failures = 0;
}

void care_step_ended(struct failover *f, const struct failover_view *v, bool ok)
{
        enum failover_step kind = f->care_kind;

        f->care_step = 0;
        f->care_kind = FAILOVER_STEP_NONE;
        if (!ok) {
                unsigned doublings = f->care_failures < CARE_PAUSE_DOUBLINGS_MAX
                                             ? f->care_failures
                                             : CARE_PAUSE_DOUBLINGS_MAX;

                f->care_failures++;
                f->care_again = instant_after(v->now, CARE_PAUSE << doublings);
                return;
        }
        f->care_failures = 0;
        /* The status that shows what a rejoin achieved arrives behind the end of the step. */
        f->care_again = kind == FAILOVER_STEP_REJOIN ? instant_after(v->now, CARE_PAUSE)
                                                     : INSTANT_NEVER;
        if (kind == FAILOVER_STEP_BOOTSTRAP)
                f->bootstrapped = true;
        if (kind == FAILOVER_STEP_FREEZE && v->lease == FAILOVER_LEASE_FREE) {
                f->frozen_round = v->freed;
                failover_add(f, FAILOVER_REPORT);
        }
}

/* Nobody may write without the lease, whoever started the database. */
static bool close_intruder(struct failover *f, const struct failover_view *v)
{
        const struct failover_report *own = own_report(f, v);

        if (own->database != FAILOVER_DATABASE_RUNNING || own->role != FAILOVER_ROLE_PRIMARY)
                return false;
        failover_note(f, "the database runs as a primary without the lease: closing it");
        f->demote_mode = FAILOVER_MODE_IMMEDIATE;
        start_step(f, v, FAILOVER_STEP_DEMOTE, FAILOVER_STEP_LIMIT, NODE_NOBODY);
        f->effects[f->n_effects - 1].mode = FAILOVER_MODE_IMMEDIATE;
        return true;
}

static bool is_stopped(const struct failover_report *own)
{
        return own->database == FAILOVER_DATABASE_DOWN ||
               own->database == FAILOVER_DATABASE_CRASHED;
}

/*
 * For a free lease: stop receiving, so that the position is final. A database that is down is
 * started when nobody else can take over, or has not done so for a while; not before, because
 * recovery of a crash writes what a rejoin would have to undo.
 */
static void prepare_candidate(struct failover *f, const struct failover_view *v)
{
        const struct failover_report *own = own_report(f, v);
        node_id other;

        if (is_stopped(own)) {
                struct instant late = instant_after(f->waited_since, FAILOVER_COLD_PAUSE);

                if (rank_finds_other(f, v, &other) && !instant_reached(late, v->now)) {
                        f->wake = instant_earlier(f->wake, late);
                        return;
                }
                f->started_round = v->freed;
                start_step(f, v, FAILOVER_STEP_START, FAILOVER_STEP_LIMIT, NODE_NOBODY);
                return;
        }
        if (own->database == FAILOVER_DATABASE_RUNNING && f->frozen_round != v->freed)
                start_step(f, v, FAILOVER_STEP_FREEZE, FAILOVER_FREEZE_LIMIT, NODE_NOBODY);
}

/* Whether the master is far enough for others to follow it. */
static bool master_serves(const struct failover *f, const struct failover_view *v)
{
        const struct failover_report *r = &v->reports[v->holder];

        return rank_is_fresh(&f->config, v, v->holder) && r->state == FAILOVER_MASTER &&
               r->writable && r->epoch == v->epoch;
}

/* The master has closed for a hand-over and waits to hear that we have everything. */
static bool tell_position(struct failover *f, const struct failover_view *v)
{
        const struct failover_report *master = &v->reports[v->holder];

        if (master->state != FAILOVER_SWITCHING || !master->closed || master->epoch != v->epoch ||
            own_report(f, v)->database != FAILOVER_DATABASE_RUNNING)
                return false;
        start_step(f, v, FAILOVER_STEP_POSITION, FAILOVER_FREEZE_LIMIT, NODE_NOBODY);
        return true;
}

static void follow_master(struct failover *f, const struct failover_view *v)
{
        const struct failover_report *own = own_report(f, v);
        bool running = own->database == FAILOVER_DATABASE_RUNNING;

        if (v->holder == f->config.self || !master_serves(f, v))
                return;
        if (running && own->streaming && own->upstream == v->holder)
                return;
        if (!running && !is_stopped(own))
                return;
        start_step(f, v, FAILOVER_STEP_REJOIN, FAILOVER_REJOIN_LIMIT, v->holder);
}

/* A step for a state of the world that has passed is in the way of the one that is needed now. */
static void drop_outdated(struct failover *f, const struct failover_view *v)
{
        bool free_lease = v->lease == FAILOVER_LEASE_FREE;

        if (f->care_step == 0)
                return;
        if ((f->care_kind == FAILOVER_STEP_REJOIN && (free_lease || f->care_peer != v->holder)) ||
            (f->care_kind == FAILOVER_STEP_FREEZE && !free_lease))
                care_drop(f);
}

void care_look(struct failover *f, const struct failover_view *v)
{
        const struct failover_report *own = own_report(f, v);

        if (!f->config.has_database || v->lease == FAILOVER_LEASE_UNUSED)
                return;
        drop_outdated(f, v);
        if (f->care_step != 0)
                return;
        if (!instant_reached(f->care_again, v->now)) {
                f->wake = instant_earlier(f->wake, f->care_again);
                return;
        }
        if (own->database == FAILOVER_DATABASE_UNKNOWN || own->database == FAILOVER_DATABASE_ABSENT)
                return;
        if (v->lease != FAILOVER_LEASE_OURS && close_intruder(f, v))
                return;
        if (v->paused)
                return;
        if (v->lease == FAILOVER_LEASE_FREE)
                prepare_candidate(f, v);
        else if (v->lease == FAILOVER_LEASE_THEIRS && !tell_position(f, v))
                follow_master(f, v);
}

void care_clone(struct failover *f, const struct failover_view *v)
{
        care_drop(f);
        start_step(f, v, FAILOVER_STEP_CLONE, FAILOVER_CLONE_LIMIT, v->holder);
}

void care_bootstrap(struct failover *f, const struct failover_view *v, enum failover_bootstrap how)
{
        care_drop(f);
        start_step(f, v, FAILOVER_STEP_BOOTSTRAP, FAILOVER_REJOIN_LIMIT, NODE_NOBODY);
        f->effects[f->n_effects - 1].bootstrap = how;
}
