/*
 * What people do: make the first master and the copies, and in the end end the maintenance mode.
 * Faults begin when the services are set up.
 */
#include "tests/sim/sim.h"

#define LOOK_EVERY (200 * USEC_PER_MSEC)
#define ORDER_AGAIN (5 * USEC_PER_SEC)

static bool may_order(struct sim *s, node_id id, size_t service)
{
        if (s->ordered_at[id][service] != 0 && s->now < s->ordered_at[id][service] + ORDER_AGAIN)
                return false;
        s->ordered_at[id][service] = s->now;
        return true;
}

static bool can_be_asked(const struct sim *s, const struct machine *m)
{
        return engine_is_listening(s, m) && machine_is_awake(s, m) &&
               s->now >= m->engine.paused_until;
}

static struct node_service_view view_of(const struct sim *s, const struct machine *m,
                                        size_t service)
{
        struct node_service_view v;

        node_service_view(m->engine.node, service, machine_clock(s, m), &v);
        return v;
}

static void make_first_master(struct sim *s, size_t service)
{
        struct machine *m = sim_machine(s, 1);

        if (can_be_asked(s, m) && node_is_current(m->engine.node) &&
            view_of(s, m, service).lease == FAILOVER_LEASE_UNUSED && may_order(s, 1, service))
                client_order(s, m, NODE_ORDER_BOOTSTRAP, service, NODE_NOBODY);
}

static void make_copies(struct sim *s, size_t service)
{
        for (unsigned i = 1; s->plan.has_database && i <= s->plan.n_candidates; i++) {
                struct machine *m = sim_machine(s, (node_id)i);

                if (!m->hands[service].database.exists && s->accepting[service] != NODE_NOBODY &&
                    can_be_asked(s, m) && may_order(s, m->id, service))
                        client_order(s, m, NODE_ORDER_CLONE, service, NODE_NOBODY);
        }
}

static void end_maintenance(struct sim *s, size_t service)
{
        for (unsigned i = 1; i <= s->plan.n_candidates; i++) {
                struct machine *m = sim_machine(s, (node_id)i);

                if (can_be_asked(s, m) && view_of(s, m, service).paused &&
                    may_order(s, m->id, service)) {
                        client_order(s, m, NODE_ORDER_RESUME, service, NODE_NOBODY);
                        return;
                }
        }
}

static bool is_set_up(const struct sim *s)
{
        for (size_t k = 0; k < s->plan.n_services; k++) {
                if (s->accepting[k] == NODE_NOBODY)
                        return false;
                for (unsigned i = 1; s->plan.has_database && i <= s->plan.n_candidates; i++)
                        if (i != s->accepting[k] && !s->machines[i].hands[k].database.streaming)
                                return false;
        }
        return true;
}

static void look(struct sim *s, struct occurrence *o)
{
        for (size_t k = 0; k < s->plan.n_services; k++) {
                make_first_master(s, k);
                make_copies(s, k);
                if (s->faults_stopped)
                        end_maintenance(s, k);
        }
        if (s->heal_at == 0 && (is_set_up(s) || s->now >= s->plan.setup_max))
                fault_start(s);
        queue_plan_again(&s->queue, o, s->now + LOOK_EVERY);
}

void operator_start(struct sim *s)
{
        (void)sim_plan_at(s, s->now, look, NULL);
}
