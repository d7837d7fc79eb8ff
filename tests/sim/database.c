/*
 * A modelled database: primary or standby, with a position along a line of timelines. It accepts
 * writes when it is an open primary that clients can reach, which is what must never be true of
 * two at a time.
 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

#define TICK (200 * USEC_PER_MSEC)
#define LSN_FIRST 1000
#define TIMELINES_MAX (sizeof(((struct sim *)0)->timeline_fork[0]) / sizeof(uint64_t))
/* How long a stopped server is asked in vain before the agent says that it hangs. */
#define HANG_NOTICED (2 * USEC_PER_SEC)

static struct database *database_of(struct machine *m, size_t service)
{
        return &m->hands[service].database;
}

static enum failover_database_state state_of(const struct sim *s, const struct machine *m,
                                             const struct database *d)
{
        if (!hands_agent_awake(s, m))
                return FAILOVER_DATABASE_UNKNOWN;
        if (!d->exists)
                return FAILOVER_DATABASE_ABSENT;
        if (d->running)
                return d->noticed ? FAILOVER_DATABASE_HUNG : FAILOVER_DATABASE_RUNNING;
        return d->crashed ? FAILOVER_DATABASE_CRASHED : FAILOVER_DATABASE_DOWN;
}

static enum failover_database_role role_of(const struct database *d)
{
        if (!d->exists)
                return FAILOVER_ROLE_NONE;
        return d->primary ? FAILOVER_ROLE_PRIMARY : FAILOVER_ROLE_STANDBY;
}

void database_status(const struct sim *s, const struct machine *m, size_t service,
                     struct node_database_status *ret)
{
        const struct database *d = &m->hands[service].database;

        *ret = (struct node_database_status){
                .state = state_of(s, m, d),
                .role = role_of(d),
                .healthy = d->running && !d->noticed,
                .writable = d->running && d->open && !d->noticed,
                .streaming = d->running && d->streaming,
                .frozen = d->frozen,
                .clean = !d->running && d->clean,
                .position = { .system_id = d->system_id, .timeline = d->timeline, .lsn = d->lsn },
                .upstream = d->streaming ? d->upstream : NODE_NOBODY,
        };
        if (!s->plan.has_database) {
                ret->state = FAILOVER_DATABASE_RUNNING;
                ret->healthy = true;
        }
        if (!ret->healthy)
                (void)snprintf(ret->reason, sizeof(ret->reason), "the database does not answer");
}

/* Whether what stands at (timeline, lsn) @a is a part of what stands at @b. */
static bool is_part_of(const struct sim *s, size_t service, const struct database *a,
                       const struct database *b)
{
        uint64_t timeline = b->timeline, lsn = b->lsn;

        if (a->system_id != b->system_id)
                return false;
        while (timeline != a->timeline) {
                if (timeline == 0)
                        return false;
                if (s->timeline_fork[service][timeline] < lsn)
                        lsn = s->timeline_fork[service][timeline];
                timeline = s->timeline_parent[service][timeline];
        }
        return a->lsn <= lsn;
}

static bool can_stream(struct sim *s, struct machine *m, size_t service, node_id from)
{
        struct machine *peer;
        struct database *d;

        if (from == NODE_NOBODY || from == m->id)
                return false;
        peer = sim_machine(s, from);
        d = database_of(peer, service);
        return machine_is_awake(s, peer) && d->running && !d->hung && d->primary && d->open &&
               !network_is_cut(s, from, m->id) && !network_is_cut(s, m->id, from);
}

static void catch_up(struct sim *s, struct machine *m, size_t service)
{
        struct database *d = database_of(m, service);
        const struct database *from = database_of(sim_machine(s, d->upstream), service);

        d->timeline = from->timeline;
        d->lsn = from->lsn;
}

/* Follows its primary, as far as it reaches it. */
static void follow(struct sim *s, struct machine *m, size_t service)
{
        struct database *d = database_of(m, service);
        bool was_streaming = d->streaming;

        if (!d->running || d->hung || d->primary || d->frozen)
                return;
        d->streaming = can_stream(s, m, service, d->upstream) &&
                       is_part_of(s, service, d, database_of(sim_machine(s, d->upstream), service));
        if (d->streaming)
                catch_up(s, m, service);
        if (d->streaming != was_streaming) {
                STORY(s, m, "its standby %s", d->streaming ? "streams" : "does not stream");
                hands_report(s, m, service);
        }
}

static void take_writes(struct sim *s, struct machine *m, size_t service)
{
        if (s->accepting[service] != m->id)
                return;
        database_of(m, service)->lsn += sim_between(s, 1, 1000);
        s->tally.database_writes++;
}

void database_tick(struct sim *s, struct occurrence *o)
{
        for (unsigned i = 1; i <= s->plan.n_candidates; i++)
                if (machine_is_awake(s, sim_machine(s, (node_id)i)))
                        for (size_t k = 0; k < s->plan.n_services; k++) {
                                take_writes(s, sim_machine(s, (node_id)i), k);
                                follow(s, sim_machine(s, (node_id)i), k);
                        }
        queue_plan_again(&s->queue, o, s->now + TICK);
}

/* What the standbys still lack when a primary ends in good order, they get first. */
static void drain(struct sim *s, struct machine *m, size_t service)
{
        for (unsigned i = 1; i <= s->plan.n_candidates; i++) {
                struct machine *standby = sim_machine(s, (node_id)i);
                struct database *d = database_of(standby, service);

                if (d->streaming && d->upstream == m->id && machine_is_awake(s, standby))
                        follow(s, standby, service);
        }
}

void database_close(struct sim *s, struct machine *m, size_t service, bool clean)
{
        struct database *d = database_of(m, service);

        if (!d->running)
                return;
        if (clean && d->open)
                drain(s, m, service);
        STORY(s, m, "its database is closed%s", clean ? "" : " by force");
        d->running = false;
        d->hung = false;
        d->noticed = false;
        d->open = false;
        d->streaming = false;
        d->crashed = false;
        d->clean = clean;
        check_resources(s, m, service);
}

void database_crash(struct sim *s, struct machine *m, size_t service)
{
        struct database *d = database_of(m, service);

        if (!d->running || !machine_is_awake(s, m))
                return;
        STORY(s, m, "its database crashes");
        d->running = false;
        d->hung = false;
        d->noticed = false;
        d->open = false;
        d->streaming = false;
        d->crashed = true;
        d->clean = false;
        check_resources(s, m, service);
        hands_report(s, m, service);
}

static void hang_ends(struct sim *s, struct occurrence *o)
{
        struct database *d = database_of(o->machine, o->service);

        if (!d->hung || o->life != o->machine->boot)
                return;
        STORY(s, o->machine, "its database goes on");
        d->hung = false;
        d->noticed = false;
        check_resources(s, o->machine, o->service);
        hands_report(s, o->machine, o->service);
}

static void hang_noticed(struct sim *s, struct occurrence *o)
{
        struct database *d = database_of(o->machine, o->service);

        if (!d->hung || o->life != o->machine->boot)
                return;
        d->noticed = true;
        hands_report(s, o->machine, o->service);
}

void database_hang(struct sim *s, struct machine *m, size_t service, usec_t length)
{
        struct database *d = database_of(m, service);
        struct occurrence *o;

        if (!d->running || d->hung)
                return;
        STORY(s, m, "its database stands still for %llu ms",
              (unsigned long long)(length / USEC_PER_MSEC));
        d->hung = true;
        check_resources(s, m, service);
        o = sim_plan_at(s, s->now + length, hang_ends, m);
        o->service = service;
        o->life = m->boot;
        o = sim_plan_at(s, s->now + HANG_NOTICED, hang_noticed, m);
        o->service = service;
        o->life = m->boot;
}

static void run_as(struct database *d, bool primary)
{
        d->exists = true;
        d->running = true;
        d->hung = false;
        d->noticed = false;
        d->crashed = false;
        d->primary = primary;
        d->open = primary;
        d->frozen = false;
        d->streaming = false;
}

static void new_timeline(struct sim *s, size_t service, struct database *d)
{
        uint64_t timeline = s->timelines[service] + 1;

        if (timeline >= TIMELINES_MAX)
                return;
        s->timelines[service] = timeline;
        s->timeline_fork[service][timeline] = d->lsn;
        s->timeline_parent[service][timeline] = d->timeline;
        d->timeline = timeline;
}

static const char *promote(struct sim *s, struct machine *m, size_t service)
{
        struct database *d = database_of(m, service);

        if (!d->running || d->hung)
                return "the database does not run";
        check_promotion(s, m, service);
        if (!d->primary)
                new_timeline(s, service, d);
        run_as(d, true);
        s->tally.promotions++;
        return NULL;
}

static const char *restart(struct database *d)
{
        if (!d->exists || !d->primary)
                return "there is no primary to start";
        run_as(d, true);
        return NULL;
}

static const char *start_standby(struct sim *s, struct machine *m, size_t service)
{
        struct database *d = database_of(m, service);

        if (!d->exists)
                return "there is no data directory";
        run_as(d, false);
        follow(s, m, service);
        return NULL;
}

static const char *rejoin(struct sim *s, struct machine *m, size_t service, node_id peer)
{
        struct database *d = database_of(m, service);
        const struct database *from;

        if (!can_stream(s, m, service, peer))
                return "the master cannot be reached";
        from = database_of(sim_machine(s, peer), service);
        run_as(d, false);
        d->system_id = from->system_id;
        d->upstream = peer;
        catch_up(s, m, service);
        d->streaming = true;
        return NULL;
}

static const char *bootstrap(struct sim *s, struct machine *m, size_t service,
                             enum failover_bootstrap how)
{
        struct database *d = database_of(m, service);

        if (how == FAILOVER_BOOTSTRAP_ADOPT && !d->exists)
                return "there is no data directory";
        if (!d->exists) {
                d->system_id = random_next(&s->random) | 1;
                d->lsn = LSN_FIRST;
                d->timeline = 0;
                new_timeline(s, service, d);
        }
        /* It opens with the promotion, under a lease. */
        run_as(d, false);
        return NULL;
}

static const char *freeze(struct database *d)
{
        if (!d->running || d->hung)
                return "the database does not run";
        if (d->primary)
                return "it is no standby";
        d->frozen = true;
        d->streaming = false;
        return NULL;
}

static const char *demote(struct sim *s, struct machine *m, size_t service, enum failover_mode mode)
{
        struct database *d = database_of(m, service);

        if (d->hung && mode == FAILOVER_MODE_FAST)
                return "the database does not end";
        database_close(s, m, service, mode == FAILOVER_MODE_FAST);
        d->crashed = false;
        return NULL;
}

const char *database_step(struct sim *s, struct machine *m, size_t service,
                          const struct hands_step *step)
{
        struct database *d = database_of(m, service);

        switch (step->run.step) {
        case FAILOVER_STEP_PROMOTE:
                return promote(s, m, service);
        case FAILOVER_STEP_DEMOTE:
                return demote(s, m, service, step->run.mode);
        case FAILOVER_STEP_RESTART:
                return restart(d);
        case FAILOVER_STEP_START:
                return start_standby(s, m, service);
        case FAILOVER_STEP_FREEZE:
                return freeze(d);
        case FAILOVER_STEP_REJOIN:
        case FAILOVER_STEP_CLONE:
                return rejoin(s, m, service, step->run.peer);
        case FAILOVER_STEP_BOOTSTRAP:
                return bootstrap(s, m, service, step->run.bootstrap);
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
