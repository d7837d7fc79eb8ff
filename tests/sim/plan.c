/* What a seed draws: the cluster, its speeds, and which faults with which intensity. */
#include <string.h>

#include "election/base/random.h"
#include "tests/sim/sim.h"

/* Bound of the clocks' error that the formulas of the lease assume. */
#define PPM_MAX 1000
#define PPM_LIE_MAX 500000

static uint64_t between(struct random *r, uint64_t low, uint64_t high)
{
        return low + random_below(r, high - low + 1);
}

static bool chance(struct random *r, unsigned permille)
{
        return random_below(r, 1000) < permille;
}

static void draw_cluster(struct sim_plan *p, struct random *r)
{
        static const struct {
                unsigned permille, nodes, candidates;
        } shapes[] = {
                { 680, 3, 2 }, { 80, 3, 3 }, { 80, 5, 2 }, { 40, 5, 3 },
                { 40, 4, 3 },  { 40, 2, 2 }, { 20, 1, 1 }, { 20, 3, 1 },
        };
        uint64_t drawn = random_below(r, 1000);
        size_t i = 0;

        while (i + 1 < sizeof(shapes) / sizeof(shapes[0]) && drawn >= shapes[i].permille)
                drawn -= shapes[i++].permille;
        p->n_nodes = shapes[i].nodes;
        p->n_candidates = shapes[i].candidates;
        p->n_services = chance(r, 150) ? 2 : 1;
        p->has_database = !chance(r, 150);
        p->has_address = !p->has_database || !chance(r, 250);
        p->crash_restart = chance(r, 300);
        p->priorities = chance(r, 300);
        p->max_loss = UINT64_MAX;
}

/* The profiles of the design; a floating address needs whole seconds for its lifetime. */
static void draw_times(struct sim_plan *p, struct random *r)
{
        static const usec_t ttls[] = { 1 * USEC_PER_SEC, 2 * USEC_PER_SEC, 3 * USEC_PER_SEC,
                                       3 * USEC_PER_SEC, 3 * USEC_PER_SEC, 10 * USEC_PER_SEC };

        do {
                p->ttl = ttls[random_below(r, sizeof(ttls) / sizeof(ttls[0]))];
        } while (p->has_address && p->ttl < 2 * USEC_PER_SEC);
        p->renew = p->ttl / (chance(r, 500) ? 5 : 10);
        p->demote_soft = p->ttl / 6;
        p->demote_hard = p->ttl / 15;
        p->election_timeout = p->ttl < 2 * USEC_PER_SEC    ? 80 * USEC_PER_MSEC
                              : p->ttl < 10 * USEC_PER_SEC ? 150 * USEC_PER_MSEC
                                                           : 500 * USEC_PER_MSEC;
        p->heartbeat = p->election_timeout / 3;
        p->request_timeout = between(r, 1, 5) * USEC_PER_SEC;
        p->pre_vote = !chance(r, 250);
}

static void draw_network(struct sim_plan *p, struct random *r)
{
        p->delay_min = between(r, 20, 300);
        p->delay_max = p->delay_min + between(r, 100, 5 * USEC_PER_MSEC);
        p->delay_tail = p->election_timeout * 10;
        p->tail_permille = chance(r, 500) ? 0 : (unsigned)between(r, 1, 30);
        p->loss_permille = chance(r, 400) ? 0 : (unsigned)between(r, 1, chance(r, 200) ? 300 : 50);
        p->duplicate_permille = chance(r, 500) ? 0 : (unsigned)between(r, 1, 300);
}

static void draw_disks(struct sim_plan *p, struct random *r)
{
        p->sync_min = between(r, 30, 1000);
        p->sync_max = p->sync_min + between(r, 100, 10 * USEC_PER_MSEC);
        p->stall_permille = chance(r, 600) ? 0 : (unsigned)between(r, 1, 20);
        p->stall_max = between(r, 20 * USEC_PER_MSEC, 5 * USEC_PER_SEC);
}

/* Half of the seeds run at the very bound, in the directions that hurt: opposite ones. */
static void draw_clocks(struct sim_plan *p, struct random *r)
{
        bool drift = chance(r, 700), at_the_bound = chance(r, 700);

        for (unsigned i = 1; drift && i <= MEMBERS_MAX; i++)
                p->ppm[i] = at_the_bound ? (chance(r, 500) ? PPM_MAX : -PPM_MAX)
                                         : (int)between(r, 0, 2 * PPM_MAX) - PPM_MAX;
        /*
         * One clock may lie as fast as it likes: an expiry needs a quorum of clocks, and a holder
         * whose clock is fast lets go too early.
         */
        if (p->n_nodes >= 3 && chance(r, 120))
                p->ppm[between(r, 1, p->n_nodes)] = (int)between(r, PPM_MAX, PPM_LIE_MAX);
        p->wake_late_max = chance(r, 700) ? between(r, 50, 2000) : between(r, 50, 20000);
}

static void draw_hands(struct sim_plan *p, struct random *r)
{
        p->step_failure_permille = chance(r, 500) ? 0 : (unsigned)between(r, 5, 150);
        p->step_max = between(r, 20 * USEC_PER_MSEC, chance(r, 300) ? p->ttl : USEC_PER_SEC);
}

static void draw_faults(struct sim_plan *p, struct random *r)
{
        p->fault_every = between(r, 500 * USEC_PER_MSEC,
                                 chance(r, 500) ? 2 * USEC_PER_SEC : 8 * USEC_PER_SEC);
        for (unsigned i = 0; i < FAULTS; i++)
                p->fault_weight[i] = chance(r, 500) ? 0 : (unsigned)between(r, 1, 10);
        if (!chance(r, 150))
                p->fault_weight[FAULT_POWER] = 0;
        p->fault_weight[FAULT_POWER] /= 4;
        p->fault_weight[FAULT_DISK_ROT] /= 5;
        p->fault_weight[FAULT_FAILOVER] /= 3;
        p->fault_weight[FAULT_PAUSE] /= 4;
        for (unsigned i = 0; i < AIMS; i++)
                p->aim_permyriad[i] = chance(r, 700) ? 0 : (unsigned)between(r, 50, 1500);
        p->aim_permyriad[AIM_RECEIVED] /= 50;
        p->aim_permyriad[AIM_SENT] /= 50;
        p->aim_permyriad[AIM_PERSISTED] /= 10;
        p->aim_permyriad[AIM_COMMITTED] /= 10;
        p->aim_permyriad[AIM_HELD] /= 4;
        p->aim_permyriad[AIM_MEMBERS] /= 4;
        if (!p->has_database)
                p->fault_weight[FAULT_DATABASE_CRASH] = p->fault_weight[FAULT_DATABASE_HANG] = 0;
        /* Without an address nothing but the hands can stop a database. */
        if (!p->has_address)
                p->fault_weight[FAULT_DAEMONS_CRASH] = p->fault_weight[FAULT_AGENT_CRASH] =
                        p->fault_weight[FAULT_AGENT_PAUSE] = 0;
}

/*
 * Leaders that fall right after their election or their first commit, entries too large to travel
 * with the next one, and disks so slow that each is durable alone: what it takes to see an entry of
 * an old term committed by counting (Raft paper, figure 8).
 */
static void draw_short_reigns(struct sim_plan *p, struct random *r)
{
        for (unsigned i = 0; i < FAULTS; i++)
                p->fault_weight[i] = 0;
        p->fault_weight[FAULT_ENGINE_CRASH] = 3;
        p->fault_weight[FAULT_ISOLATE] = 4;
        p->fault_weight[FAULT_CUT_PAIR] = 2;
        for (unsigned i = 0; i < AIMS; i++)
                p->aim_permyriad[i] = 0;
        p->aim_permyriad[AIM_ELECTED] = (unsigned)between(r, 2000, 6000);
        p->aim_permyriad[AIM_COMMITTED] = (unsigned)between(r, 1000, 5000);
        p->sync_min = 3 * USEC_PER_MSEC;
        p->sync_max = between(r, 5, 30) * USEC_PER_MSEC;
        p->stall_permille = 0;
        p->request_every = between(r, 20, 60) * USEC_PER_MSEC;
        p->large_permille = 400;
}

static void draw_snapshots(struct sim_plan *p, struct random *r)
{
        p->snapshot_max = between(r, 2 * USEC_PER_MSEC, 2 * USEC_PER_SEC);
        p->snapshot_failure_permille = chance(r, 700) ? 0 : (unsigned)between(r, 10, 300);
        p->snapshot_age = between(r, 2, 60) * USEC_PER_SEC;
        if (chance(r, 700))
                p->snapshot_bytes = between(r, 50000, chance(r, 500) ? 250000 : 2500000);
}

/*
 * Members that come and go. Those that can be master stay, so there are few of them. Who may be lost
 * with its disk must not be needed by a disk that rots.
 */
static void draw_members(struct sim_plan *p, struct random *r)
{
        static const struct {
                unsigned nodes, candidates;
        } shapes[] = { { 1, 1 }, { 2, 1 }, { 3, 1 }, { 3, 1 },
                       { 3, 2 }, { 4, 1 }, { 5, 1 }, { 5, 2 } };
        size_t i = random_below(r, sizeof(shapes) / sizeof(shapes[0]));

        p->n_nodes = shapes[i].nodes;
        p->n_candidates = shapes[i].candidates;
        p->n_machines = p->n_nodes + (unsigned)between(r, 1, 3);
        p->change_every = between(r, 100, chance(r, 300) ? 500 : 4000) * USEC_PER_MSEC;
        p->fault_weight[FAULT_DISK_ROT] = 0;
        /* A clock that lies needs two others that do not, and there may be no three voters. */
        for (unsigned k = 1; k <= MEMBERS_MAX; k++)
                p->ppm[k] = p->ppm[k] > PPM_MAX ? PPM_MAX : p->ppm[k];
}

void sim_plan_draw(struct sim_plan *p, uint64_t seed, usec_t length, bool members)
{
        struct random r = { .state = seed * 0x9e3779b97f4a7c15u + 1 };

        *p = (struct sim_plan){ .seed = seed, .length = length };
        draw_cluster(p, &r);
        draw_times(p, &r);
        draw_network(p, &r);
        draw_disks(p, &r);
        draw_clocks(p, &r);
        draw_hands(p, &r);
        draw_faults(p, &r);
        p->request_every = (chance(&r, 150) ? between(&r, 10, 50) : between(&r, 100, 1000)) *
                           USEC_PER_MSEC;
        if (p->n_nodes >= 3 && chance(&r, 15))
                draw_short_reigns(p, &r);
        draw_snapshots(p, &r);
        p->n_machines = p->n_nodes;
        if (members || chance(&r, 300))
                draw_members(p, &r);
        p->heal_all = !chance(&r, 250) || p->change_every != 0;
        p->setup_max = 10 * USEC_PER_SEC;
        p->heal_bound = 30 * USEC_PER_SEC + 6 * p->ttl;
}
