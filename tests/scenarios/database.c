/* The modelled database of each machine: it runs, streams, and has a position. */
#include <stdio.h>

#include "tests/scenarios/world.h"

#define SYSTEM_ID 7
#define LSN_FIRST 1000
#define HANG_NOTICED (2 * USEC_PER_SEC)
#define SHUTDOWN_RECORD 100 /* bytes that a stop in good order writes last */

static const struct machine *machine_at(const struct world *w, node_id id)
{
        return &w->machines[id];
}

static enum failover_database_state state_of(const struct database *d)
{
        if (!d->exists)
                return FAILOVER_DATABASE_ABSENT;
        if (d->running)
                return d->noticed ? FAILOVER_DATABASE_HUNG : FAILOVER_DATABASE_RUNNING;
        return d->crashed ? FAILOVER_DATABASE_CRASHED : FAILOVER_DATABASE_DOWN;
}

void database_status(const struct world *w, const struct machine *m,
                     struct node_database_status *ret)
{
        const struct database *d = &m->hands.database;

        *ret = (struct node_database_status){
                .state = state_of(d),
                .role = !d->exists   ? FAILOVER_ROLE_NONE
                        : d->primary ? FAILOVER_ROLE_PRIMARY
                                     : FAILOVER_ROLE_STANDBY,
                .healthy = d->running && !d->noticed,
                .writable = d->running && d->open && !d->noticed,
                .streaming = d->running && d->streaming,
                .frozen = d->frozen,
                .clean = !d->running && d->clean,
                .upstream = d->streaming ? d->upstream : NODE_NOBODY,
        };
        if (d->exists)
                ret->position = (struct failover_position){ SYSTEM_ID, d->timeline, d->lsn };
        if (w->setup.vip_only) {
                ret->state = FAILOVER_DATABASE_RUNNING;
                ret->healthy = true;
        }
}

static bool is_writable(const struct world *w, const struct machine *m)
{
        const struct database *d = &m->hands.database;

        return world_is_awake(w, m) && d->running && d->open && !d->hung;
}

bool database_takes_writes(const struct world *w, const struct machine *m)
{
        return is_writable(w, m);
}

/* Whether what @d holds is a part of what @from holds: it left the common line behind no fork. */
static bool is_part_of(const struct world *w, const struct database *d, const struct database *from)
{
        uint64_t lsn = from->lsn;

        if (d->timeline > from->timeline)
                return false;
        for (uint64_t t = d->timeline + 1; t <= from->timeline; t++)
                lsn = w->forks[t] < lsn ? w->forks[t] : lsn;
        return d->lsn <= lsn;
}

static bool can_reach(const struct world *w, const struct machine *m, node_id from)
{
        return m->hands.database.replication != REPLICATION_BREAKS && from != NODE_NOBODY &&
               from != m->id && is_writable(w, machine_at(w, from)) && !w->cut[from][m->id] &&
               !w->cut[m->id][from];
}

static void follow(struct world *w, struct machine *m)
{
        struct database *d = &m->hands.database;
        bool was_streaming = d->streaming;
        const struct database *from = &machine_at(w, d->upstream)->hands.database;

        if (!world_is_awake(w, m) || !d->running || d->hung || d->primary || d->frozen)
                return;
        d->streaming = can_reach(w, m, d->upstream) && is_part_of(w, d, from);
        if (d->streaming && d->replication == REPLICATION_FLOWS) {
                d->timeline = from->timeline;
                d->lsn = from->lsn;
        }
        if (d->streaming != was_streaming)
                hands_report(w, m);
}

void database_replicate(struct world *w)
{
        for (node_id id = 1; id <= world_candidates(w); id++)
                follow(w, world_machine(w, id));
}

bool database_must_wait(struct world *w, const struct machine *m)
{
        for (node_id id = 1; id <= world_candidates(w); id++) {
                const struct database *d = &world_machine(w, id)->hands.database;

                if (d->streaming && d->upstream == m->id && d->replication == REPLICATION_STALLS)
                        return true;
        }
        return false;
}

bool database_write(struct world *w, uint64_t bytes)
{
        for (node_id id = 1; id <= world_candidates(w); id++) {
                struct machine *m = world_machine(w, id);

                if (!is_writable(w, m))
                        continue;
                m->hands.database.lsn += bytes;
                database_replicate(w);
                hands_report(w, m);
                return true;
        }
        return false;
}

static void ends(struct world *w, struct machine *m, bool clean, bool crashed)
{
        struct database *d = &m->hands.database;

        if (!d->running)
                return;
        /* In good order, the standbys have everything first, the record of the stop included. */
        if (clean && d->open)
                d->lsn += SHUTDOWN_RECORD;
        database_replicate(w);
        d->running = d->hung = d->noticed = d->open = d->streaming = false;
        d->clean = clean;
        d->crashed = crashed;
}

void database_close(struct world *w, struct machine *m, bool clean)
{
        ends(w, m, clean, false);
}

void database_crash(struct world *w, struct machine *m)
{
        ends(w, m, false, true);
        hands_report(w, m);
}

void database_down(struct world *w, struct machine *m)
{
        ends(w, m, true, false);
        hands_report(w, m);
}

static void hang_is_noticed(struct world *w, struct machine *m, struct happening *h)
{
        struct database *d = &m->hands.database;

        if (h->life != m->boot || !d->hung)
                return;
        d->noticed = true;
        hands_report(w, m);
}

void database_hang(struct world *w, struct machine *m)
{
        struct database *d = &m->hands.database;

        if (!d->running || d->hung)
                return;
        d->hung = true;
        (void)world_plan(w, HANG_NOTICED, m, hang_is_noticed);
}

void database_continue(struct world *w, struct machine *m)
{
        m->hands.database.hung = m->hands.database.noticed = false;
        hands_report(w, m);
}

static void run_as(struct database *d, bool primary)
{
        d->exists = d->running = true;
        d->hung = d->noticed = d->crashed = d->frozen = d->streaming = d->by_hand = false;
        d->primary = d->open = primary;
}

void database_up(struct world *w, struct machine *m)
{
        if (m->hands.database.exists && !m->hands.database.running)
                run_as(&m->hands.database, m->hands.database.primary);
        m->hands.database.by_hand = !m->hands.armed;
        hands_report(w, m);
}

static const char *promote(struct world *w, struct database *d)
{
        if (!d->running || d->hung)
                return "the database does not run";
        if (!d->primary && w->timelines + 1 < WORLD_TIMELINES_MAX) {
                d->timeline = ++w->timelines;
                w->forks[d->timeline] = d->lsn;
        }
        run_as(d, true);
        return NULL;
}

static const char *rejoin(struct world *w, struct machine *m, node_id peer)
{
        struct database *d = &m->hands.database;

        if (!can_reach(w, m, peer))
                return "the master cannot be reached";
        run_as(d, false);
        d->upstream = peer;
        d->timeline = machine_at(w, peer)->hands.database.timeline;
        d->lsn = machine_at(w, peer)->hands.database.lsn;
        follow(w, m);
        return NULL;
}

/* It opens with the promotion, under a lease. */
static const char *bootstrap(struct database *d)
{
        if (!d->exists)
                d->lsn = LSN_FIRST;
        run_as(d, false);
        return NULL;
}

static const char *freeze(struct database *d)
{
        if (!d->running || d->hung)
                return "the database does not run";
        d->frozen = true;
        d->streaming = false;
        return NULL;
}

static const char *demote(struct world *w, struct machine *m, enum failover_mode mode)
{
        if (m->hands.database.hung && mode == FAILOVER_MODE_FAST)
                return "the database does not end";
        database_close(w, m, mode == FAILOVER_MODE_FAST);
        m->hands.database.crashed = false;
        return NULL;
}

const char *database_step(struct world *w, struct machine *m, const struct node_run *run)
{
        struct database *d = &m->hands.database;

        switch (run->step) {
        case FAILOVER_STEP_PROMOTE:
                return promote(w, d);
        case FAILOVER_STEP_DEMOTE:
                return demote(w, m, run->mode);
        case FAILOVER_STEP_RESTART:
                if (!d->exists || !d->primary)
                        return "there is no primary to start";
                run_as(d, true);
                return NULL;
        case FAILOVER_STEP_START:
                if (!d->exists)
                        return "there is no data directory";
                run_as(d, false);
                return NULL;
        case FAILOVER_STEP_FREEZE:
                return freeze(d);
        case FAILOVER_STEP_REJOIN:
        case FAILOVER_STEP_CLONE:
                return rejoin(w, m, run->peer);
        case FAILOVER_STEP_BOOTSTRAP:
                return bootstrap(d);
        case FAILOVER_STEP_CHECKPOINT:
        case FAILOVER_STEP_POSITION:
                return d->running && !d->hung ? NULL : "the database does not run";
        case FAILOVER_STEP_NONE:
        case FAILOVER_STEP_ADDRESS_ADD:
        case FAILOVER_STEP_ADDRESS_REMOVE:
        case FAILOVER_STEPS:
                break;
        }
        return "no step for a database";
}
