/*
 * Faults: at random times, and aimed, that is right behind a step of the protocol, where most
 * mistakes are found.
 */
#include "tests/sim/sim.h"

usec_t fault_length(struct sim *s, usec_t length)
{
        usec_t left = s->heal_at > s->now ? s->heal_at - s->now : 0;

        if (s->faults_stopped && length > USEC_PER_SEC)
                return USEC_PER_SEC;
        return s->faults_stopped || length < left ? length : left;
}

/* From an instant to several leases, small and large alike. */
static usec_t some_length(struct sim *s)
{
        usec_t most = 3 * s->plan.ttl;

        switch (sim_between(s, 0, 3)) {
        case 0:
                most = s->plan.election_timeout * 2;
                break;
        case 1:
                most = s->plan.ttl;
                break;
        case 2:
                most = s->plan.ttl * 3 / 2;
                break;
        default:
                break;
        }
        return fault_length(s, sim_between(s, USEC_PER_MSEC, most));
}

static void cut_both(struct sim *s, node_id a, node_id b, usec_t length)
{
        network_cut(s, a, b, length);
        network_cut(s, b, a, length);
}

/* Another member, or nobody if there is none. */
static node_id some_other(struct sim *s, node_id id)
{
        node_id other;

        if (s->plan.n_machines < 2)
                return NODE_NOBODY;
        other = (node_id)sim_between(s, 1, s->plan.n_machines - 1);
        return other >= id ? (node_id)(other + 1) : other;
}

static size_t some_service(struct sim *s)
{
        return (size_t)sim_between(s, 0, s->plan.n_services - 1);
}

static node_id some_target(struct sim *s)
{
        return (node_id)sim_between(s, 0, s->plan.n_candidates);
}

/* Processes and machines. */

static void crash_engine(struct sim *s, struct machine *m)
{
        engine_crash(s, m);
}

static void executor_returns(struct sim *s, struct occurrence *o)
{
        if (!o->machine->up || o->machine->executor_up || o->life != o->machine->executor_life)
                return;
        if (!machine_is_awake(s, o->machine)) {
                queue_plan_again(&s->queue, o, o->machine->suspended_until);
                return;
        }
        STORY(s, o->machine, "the executor is started again");
        hands_start(s, o->machine);
}

static void crash_executor(struct sim *s, struct machine *m)
{
        struct occurrence *o;
        usec_t delay = sim_chance(s, 700) ? sim_between(s, 20 * USEC_PER_MSEC, USEC_PER_SEC)
                                          : some_length(s);

        if (!m->up || !m->executor_up)
                return;
        hands_executor_crash(s, m);
        o = sim_plan_at(s, s->now + fault_length(s, delay), executor_returns, m);
        o->life = m->executor_life;
}

static void crash_agent(struct sim *s, struct machine *m)
{
        hands_agent_crash(s, m);
}

static void crash_daemons(struct sim *s, struct machine *m)
{
        if (m->up && m->agent_up) {
                m->agent_up = false;
                m->agent_life++;
        }
        crash_executor(s, m);
}

static void crash_machine(struct sim *s, struct machine *m)
{
        machine_crash(s, m, some_length(s));
}

static void crash_all_machines(struct sim *s, struct machine *m)
{
        (void)m;
        for (unsigned i = 1; i <= s->plan.n_machines; i++)
                machine_crash(s, sim_machine(s, (node_id)i), some_length(s));
}

static void pause_engine(struct sim *s, struct machine *m)
{
        engine_pause(s, m, some_length(s));
}

static void pause_executor(struct sim *s, struct machine *m)
{
        if (!m->executor_up || m->executor_paused_until > s->now)
                return;
        m->executor_paused_until = s->now + some_length(s);
        s->tally.pauses++;
        STORY(s, m, "the executor stands still");
}

static void pause_agent(struct sim *s, struct machine *m)
{
        if (!m->agent_up || m->agent_paused_until > s->now)
                return;
        m->agent_paused_until = s->now + some_length(s);
        s->tally.pauses++;
        STORY(s, m, "the agent stands still");
}

static void suspend_machine(struct sim *s, struct machine *m)
{
        machine_suspend(s, m, some_length(s));
}

static void stall_disk(struct sim *s, struct machine *m)
{
        m->disk.stalled_until = s->now + some_length(s);
        s->tally.stalls++;
}

static void fail_sync(struct sim *s, struct machine *m)
{
        m->disk.fails = true;
        (void)s;
}

static void fill_disk(struct sim *s, struct machine *m)
{
        disk_fill(s, m, some_length(s));
}

/* A majority must stay that remembers what it acknowledged. */
static void rot_disk(struct sim *s, struct machine *m)
{
        if (heal_can_spare(s, m))
                disk_rot(s, m);
}

static void crash_database(struct sim *s, struct machine *m)
{
        database_crash(s, m, some_service(s));
}

static void hang_database(struct sim *s, struct machine *m)
{
        usec_t length = some_length(s);

        database_hang(s, m, some_service(s), length);
}

/* The network. */

static void isolate(struct sim *s, struct machine *m)
{
        usec_t length = some_length(s);
        uint64_t directions = sim_between(s, 0, 3); /* mostly both; else only in, or only out */

        for (unsigned i = 1; i <= s->plan.n_machines; i++) {
                if (i == m->id)
                        continue;
                if (directions != 0)
                        network_cut(s, (node_id)i, m->id, length);
                if (directions != 1)
                        network_cut(s, m->id, (node_id)i, length);
        }
}

static void cut_one_way(struct sim *s, struct machine *m)
{
        node_id other = some_other(s, m->id);

        if (other != NODE_NOBODY)
                network_cut(s, m->id, other, some_length(s));
}

static void cut_pair(struct sim *s, struct machine *m)
{
        node_id other = some_other(s, m->id);

        if (other != NODE_NOBODY)
                cut_both(s, m->id, other, some_length(s));
}

static void split(struct sim *s, struct machine *m)
{
        uint64_t sides = random_next(&s->random);
        usec_t length = some_length(s);

        (void)m;
        for (unsigned a = 1; a <= s->plan.n_machines; a++)
                for (unsigned b = a + 1; b <= s->plan.n_machines; b++)
                        if ((sides >> a & 1) != (sides >> b & 1))
                                cut_both(s, (node_id)a, (node_id)b, length);
}

/* All reach @m, but not one another. */
static void bridge(struct sim *s, struct machine *m)
{
        usec_t length = some_length(s);

        for (unsigned a = 1; a <= s->plan.n_machines; a++)
                for (unsigned b = a + 1; b <= s->plan.n_machines; b++)
                        if (a != m->id && b != m->id)
                                cut_both(s, (node_id)a, (node_id)b, length);
}

static void surprise_comes(struct sim *s, struct occurrence *o)
{
        usec_t length = 2 * s->plan.election_timeout;

        if (s->faults_stopped)
                return;
        engine_crash(s, o->machine);
        if (o->machine->executor_up)
                hands_start_engine(s, o->machine, USEC_PER_MSEC);
        client_insist(s, o->from, length);
        for (unsigned i = 1; i <= s->plan.n_machines; i++)
                if (i != o->from)
                        cut_both(s, o->from, (node_id)i, fault_length(s, length));
}

/*
 * A member that does not hear the leader would like to be elected, and a restart makes the other one
 * forget whom it followed: the two elect while the leader still believes that it leads. What the
 * leader is asked then shows whether reads are confirmed by answers from before.
 */
static void surprise(struct sim *s, struct machine *m)
{
        usec_t wait = sim_between(s, 1, 4) * s->plan.election_timeout;
        node_id leader = s->n_leaders > 0 ? s->leaders[s->n_leaders - 1] : NODE_NOBODY;
        struct occurrence *o;
        node_id other;

        if (leader == NODE_NOBODY || leader == m->id || s->plan.n_nodes < 3)
                return;
        for (unsigned i = 1; i <= s->plan.n_machines; i++) {
                other = (node_id)i;
                if (other != leader && other != m->id)
                        cut_both(s, leader, other, fault_length(s, 2 * wait));
        }
        o = sim_plan_at(s, s->now + wait, surprise_comes, m);
        o->from = leader;
}

static void clog_link(struct sim *s, struct machine *m)
{
        node_id other = some_other(s, m->id);

        if (other != NODE_NOBODY)
                network_clog(s, m->id, other, some_length(s));
}

static void swizzle(struct sim *s, struct machine *m)
{
        (void)m;
        for (unsigned a = 1; a <= s->plan.n_machines; a++)
                for (unsigned b = 1; b <= s->plan.n_machines; b++)
                        if (a != b && sim_chance(s, 600))
                                network_clog(s, (node_id)a, (node_id)b, some_length(s));
}

/* People. Random numbers are drawn one after the other: arguments have no order of their own. */

static void order_switchover(struct sim *s, struct machine *m)
{
        size_t service = some_service(s);

        client_order(s, m, NODE_ORDER_SWITCHOVER, service, some_target(s));
}

static void order_failover(struct sim *s, struct machine *m)
{
        size_t service = some_service(s);

        client_order(s, m, NODE_ORDER_FAILOVER, service, some_target(s));
}

static void order_pause(struct sim *s, struct machine *m)
{
        enum node_order order = sim_chance(s, 400) ? NODE_ORDER_PAUSE : NODE_ORDER_RESUME;

        client_order(s, m, order, some_service(s), NODE_NOBODY);
}

/* clang-format off */
static const struct {
        const char *name;
        void (*strike)(struct sim *s, struct machine *m);
} faults[FAULTS] = {
        [FAULT_ENGINE_CRASH]    = { "engine crash",      crash_engine },
        [FAULT_EXECUTOR_CRASH]  = { "executor crash",    crash_executor },
        [FAULT_AGENT_CRASH]     = { "agent crash",       crash_agent },
        [FAULT_DAEMONS_CRASH]   = { "all daemons crash", crash_daemons },
        [FAULT_MACHINE_CRASH]   = { "machine crash",     crash_machine },
        [FAULT_ENGINE_PAUSE]    = { "engine pause",      pause_engine },
        [FAULT_EXECUTOR_PAUSE]  = { "executor pause",    pause_executor },
        [FAULT_AGENT_PAUSE]     = { "agent pause",       pause_agent },
        [FAULT_MACHINE_SUSPEND] = { "machine suspend",   suspend_machine },
        [FAULT_ISOLATE]         = { "isolation",         isolate },
        [FAULT_CUT_ONE_WAY]     = { "one-way cut",       cut_one_way },
        [FAULT_CUT_PAIR]        = { "cut between two",   cut_pair },
        [FAULT_SPLIT]           = { "split",             split },
        [FAULT_BRIDGE]          = { "bridge",            bridge },
        [FAULT_SURPRISE]        = { "surprise",          surprise },
        [FAULT_CLOG]            = { "clogged link",      clog_link },
        [FAULT_SWIZZLE]         = { "swizzle",           swizzle },
        [FAULT_DISK_STALL]      = { "disk stall",        stall_disk },
        [FAULT_DISK_SYNC]       = { "sync failure",      fail_sync },
        [FAULT_DISK_FULL]       = { "full disk",         fill_disk },
        [FAULT_DISK_ROT]        = { "bit rot",           rot_disk },
        [FAULT_DATABASE_CRASH]  = { "database crash",    crash_database },
        [FAULT_DATABASE_HANG]   = { "database hang",     hang_database },
        [FAULT_SWITCHOVER]      = { "order: switchover", order_switchover },
        [FAULT_FAILOVER]        = { "order: failover",   order_failover },
        [FAULT_PAUSE]           = { "order: pause",      order_pause },
        [FAULT_POWER]           = { "power failure",     crash_all_machines },
};
/* clang-format on */

void fault_strike(struct sim *s, struct machine *m, enum sim_fault fault)
{
        STORY(s, m, "fault: %s", faults[fault].name);
        faults[fault].strike(s, m);
}

static enum sim_fault some_fault(struct sim *s)
{
        uint64_t total = 0, drawn;

        for (unsigned i = 0; i < FAULTS; i++)
                total += s->plan.fault_weight[i];
        drawn = random_below(&s->random, total ? total : 1);
        for (unsigned i = 0; i < FAULTS; i++) {
                if (drawn < s->plan.fault_weight[i])
                        return (enum sim_fault)i;
                drawn -= s->plan.fault_weight[i];
        }
        return FAULT_ENGINE_CRASH;
}

/* The master of a service and the leader of the group are hit more often than the others. */
static struct machine *some_victim(struct sim *s)
{
        uint64_t drawn = sim_between(s, 0, 9);
        size_t service = some_service(s);

        if (drawn < 3 && s->accepting[service] != NODE_NOBODY)
                return sim_machine(s, s->accepting[service]);
        if (drawn < 5 && s->n_leaders > 0 && s->leaders[s->n_leaders - 1] != NODE_NOBODY)
                return sim_machine(s, s->leaders[s->n_leaders - 1]);
        return sim_machine(s, (node_id)sim_between(s, 1, s->plan.n_machines));
}

static void strike_randomly(struct sim *s, struct occurrence *o)
{
        usec_t next = s->now + 1 + sim_about(s, s->plan.fault_every);
        struct machine *victim = some_victim(s);

        if (s->faults_stopped)
                return;
        fault_strike(s, victim, some_fault(s));
        if (next < s->heal_at)
                queue_plan_again(&s->queue, o, next);
}

static void strike_aimed(struct sim *s, struct occurrence *o)
{
        if (!s->faults_stopped)
                fault_strike(s, o->machine, (enum sim_fault)o->number);
}

/* What ends the engine can strike between two effects of one step: the others are never seen. */
static bool ends_engine(enum sim_fault fault)
{
        return fault == FAULT_ENGINE_CRASH || fault == FAULT_EXECUTOR_CRASH ||
               fault == FAULT_DAEMONS_CRASH || fault == FAULT_MACHINE_CRASH;
}

void fault_aim(struct sim *s, struct machine *m, enum sim_aim aim)
{
        enum sim_fault fault;
        struct occurrence *o;

        if (s->faults_stopped || s->heal_at == 0 || s->plan.aim_permyriad[aim] == 0 ||
            random_below(&s->random, 10000) >= s->plan.aim_permyriad[aim])
                return;
        s->tally.aimed++;
        fault = some_fault(s);
        if (m->engine.stepping && !m->engine.condemned && ends_engine(fault) &&
            sim_chance(s, 500)) {
                m->engine.condemned = true;
                m->engine.verdict = fault;
                return;
        }
        if (sim_chance(s, 300))
                m = some_victim(s);
        o = sim_plan_at(s, s->now + (sim_chance(s, 600) ? 0 : sim_about(s, USEC_PER_MSEC)),
                        strike_aimed, m);
        o->number = (uint64_t)fault;
}

static void stop(struct sim *s, struct occurrence *o)
{
        (void)o;
        heal_start(s);
}

void fault_start(struct sim *s)
{
        s->heal_at = s->now + s->plan.length;
        STORY(s, NULL, "the faults begin");
        (void)sim_plan_at(s, s->heal_at, stop, NULL);
        if (s->plan.fault_every != 0)
                (void)sim_plan_at(s, s->now + sim_about(s, s->plan.fault_every), strike_randomly,
                                  NULL);
}
