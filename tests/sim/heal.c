/*
 * The second half of each seed: the faults stop, and within a bound there must be a leader, a
 * master that accepts writes, standbys that follow it, and one state everywhere.
 */
#include <stdarg.h>
#include <stdio.h>

#include "tests/sim/sim.h"

#define LOOK_EVERY (100 * USEC_PER_MSEC)
#define SETTLED_FOR (1 * USEC_PER_SEC)

static bool is_alive(const struct sim *s, unsigned i)
{
        return !(s->dead >> i & 1);
}

__attribute__((format(printf, 2, 3))) static bool wait_for(struct sim *s, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        (void)vsnprintf(s->waiting_for, sizeof(s->waiting_for), format, args);
        va_end(args);
        return false;
}

static bool has_leader(struct sim *s)
{
        node_id leader = NODE_NOBODY;

        for (unsigned i = 1; i <= s->plan.n_nodes; i++) {
                const struct machine *m = sim_machine(s, (node_id)i);

                if (!is_alive(s, i))
                        continue;
                if (!engine_is_listening(s, m))
                        return wait_for(s, "the engine of %s does not run",
                                        sim_node_name(s, m->id));
                if (raft_leader(node_raft(m->engine.node)) == NODE_NOBODY)
                        return wait_for(s, "%s knows no leader", sim_node_name(s, m->id));
                if (leader != NODE_NOBODY && raft_leader(node_raft(m->engine.node)) != leader)
                        return wait_for(s, "the members do not agree about the leader");
                leader = raft_leader(node_raft(m->engine.node));
                if (!member_is_settled(s, m))
                        return wait_for(s, "%s does not have the members of the beginning",
                                        sim_node_name(s, m->id));
        }
        return true;
}

static bool store_takes_writes(struct sim *s)
{
        for (unsigned i = 1; i <= s->plan.n_nodes; i++)
                if (is_alive(s, i) && !(s->wrote_since >> i & 1))
                        return wait_for(s, "no write through %s was acknowledged",
                                        sim_node_name(s, (node_id)i));
        return true;
}

static bool service_is_whole(struct sim *s, size_t service)
{
        node_id master = s->accepting[service];

        if (master == NODE_NOBODY)
                return wait_for(s, "service %s has no master", s->services[service].name);
        if (s->now < s->accepting_since[service] + SETTLED_FOR)
                return wait_for(s, "the master of %s is new", s->services[service].name);
        for (unsigned i = 1; s->plan.has_database && i <= s->plan.n_candidates; i++) {
                const struct database *d = &s->machines[i].hands[service].database;

                if (i == master || !is_alive(s, i))
                        continue;
                if (!d->running || !d->streaming || d->upstream != master)
                        return wait_for(s, "the database of %s on %s is no standby of %s",
                                        s->services[service].name, sim_node_name(s, (node_id)i),
                                        sim_node_name(s, master));
        }
        return true;
}

static bool stores_are_equal(struct sim *s)
{
        uint64_t digest = 0;
        bool first = true;

        for (unsigned i = 1; i <= s->plan.n_nodes; i++) {
                const struct node *n = sim_machine(s, (node_id)i)->engine.node;
                uint64_t own;

                if (!is_alive(s, i))
                        continue;
                if (raft_index_committed(node_raft(n)) != s->n_committed)
                        return wait_for(s, "%s has committed up to %llu of %zu",
                                        sim_node_name(s, (node_id)i),
                                        (unsigned long long)raft_index_committed(node_raft(n)),
                                        s->n_committed);
                own = check_store_digest(n);
                if (!first && own != digest)
                        sim_fail(s, "the stores differ at entry %zu", s->n_committed);
                digest = own;
                first = false;
        }
        return true;
}

static bool is_at_rest(struct sim *s)
{
        if (!has_leader(s) || !store_takes_writes(s))
                return false;
        for (size_t i = 0; i < s->plan.n_services; i++)
                if (!service_is_whole(s, i))
                        return false;
        return stores_are_equal(s);
}

static void look(struct sim *s, struct occurrence *o)
{
        usec_t took = s->now - s->healed_at;

        if (is_at_rest(s)) {
                STORY(s, NULL, "all is well, %llu ms after the last fault",
                      (unsigned long long)(took / USEC_PER_MSEC));
                s->tally.heal_usec += took;
                s->tally.heal_max_usec = took;
                s->over = true;
                return;
        }
        if (took > s->plan.heal_bound) {
                sim_fail(s, "not at rest %llu s after the last fault: %s",
                         (unsigned long long)(took / USEC_PER_SEC), s->waiting_for);
                return;
        }
        queue_plan_again(&s->queue, o, s->now + LOOK_EVERY);
}

/* Whether @other could take over from @m: it follows, and is as far as the timeline of @m. */
static bool has_the_data(const struct machine *m, const struct machine *other, size_t service)
{
        const struct database *d = &other->hands[service].database;

        return d->running && d->streaming && !d->hung &&
               d->timeline == m->hands[service].database.timeline;
}

static unsigned count_dead(const struct sim *s)
{
        unsigned n = 0;

        for (unsigned i = 1; i <= s->plan.n_nodes; i++)
                n += !is_alive(s, i);
        return n;
}

bool heal_can_spare(const struct sim *s, const struct machine *m)
{
        if (!is_alive(s, m->id) || count_dead(s) >= (s->plan.n_nodes - 1) / 2)
                return false;
        for (size_t k = 0; m->id <= s->plan.n_candidates && k < s->plan.n_services; k++) {
                bool other = false;

                for (unsigned i = 1; i <= s->plan.n_candidates; i++)
                        if (i != m->id && is_alive(s, i) &&
                            (!s->plan.has_database || has_the_data(m, &s->machines[i], k)))
                                other = true;
                if (!other)
                        return false;
        }
        return true;
}

/* A minority never comes back. */
static void bury_some(struct sim *s)
{
        for (unsigned i = 0; i < 4; i++) {
                struct machine *m = sim_machine(s, (node_id)sim_between(s, 1, s->plan.n_nodes));

                if (!m->up || !heal_can_spare(s, m))
                        continue;
                STORY(s, m, "is gone for good");
                machine_crash(s, m, USEC_INFINITY / 2);
                s->dead |= (uint16_t)(1u << m->id);
        }
}

void heal_start(struct sim *s)
{
        STORY(s, NULL, "the faults stop");
        s->faults_stopped = true;
        s->healed_at = s->now;
        s->wrote_since = 0;
        if (!s->plan.heal_all)
                bury_some(s);
        (void)sim_plan_at(s, s->now + LOOK_EVERY, look, NULL);
}
