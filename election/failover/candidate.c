/*
 * The lease is free: whether this node may take it, the wait for the frozen positions of the
 * others, and the choice. Two nodes that choose differently cost time, never safety: the store
 * grants one lease.
 */
#include "election/failover/failover-internal.h"

/* How long the node for which a lease was reserved is given before the others compare. */
static usec_t reservation(const struct failover *f)
{
        usec_t half = f->config.ttl / 2;

        return half > USEC_PER_SEC ? half : USEC_PER_SEC;
}

static bool is_ordered(const struct failover *f, const struct failover_view *v)
{
        return v->reserved_for == f->config.self ||
               (order_is_current(v, FAILOVER_ORDER_FAILOVER) && v->order.target == f->config.self);
}

bool candidate_may_run(const struct failover *f, const struct failover_view *v)
{
        if (v->lease != FAILOVER_LEASE_FREE)
                return false;
        return is_ordered(f, v) || (f->config.automatic && !v->paused);
}

/* Whether every member that could be eligible has said where it stands for this free lease. */
static bool all_have_reported(const struct failover *f, const struct failover_view *v)
{
        for (unsigned i = 0; i < f->config.n_members; i++) {
                node_id node = f->config.members[i];
                const struct failover_report *r = &v->reports[node];

                if (!rank_is_fresh(&f->config, v, node) || !rank_is_eligible(&f->config, v, node))
                        continue;
                if (!r->frozen || r->round != v->freed)
                        return false;
        }
        return true;
}

static unsigned own_rank(const struct failover *f, const struct failover_view *v,
                         bool *ret_eligible)
{
        struct failover_verdict verdicts[MEMBERS_MAX];
        unsigned n = failover_rank(&f->config, v, verdicts);

        *ret_eligible = false;
        for (unsigned i = 0; i < n; i++) {
                if (verdicts[i].node != f->config.self)
                        continue;
                *ret_eligible = verdicts[i].eligible;
                return verdicts[i].rank;
        }
        return 0;
}

/*
 * After a power failure of all, the first database that runs is not the best one: whoever had to start
 * its own for this lease gives the others that are there the time to start theirs.
 */
static bool others_may_still_start(struct failover *f, const struct failover_view *v)
{
        struct instant limit = instant_after(f->waited_since, FAILOVER_COLD_WAIT);

        if (f->started_round != v->freed || instant_reached(limit, v->now))
                return false;
        for (unsigned i = 0; i < f->config.n_members; i++) {
                node_id node = f->config.members[i];
                enum failover_database_state d = v->reports[node].database;

                if (node == f->config.self || !rank_is_fresh(&f->config, v, node))
                        continue;
                if (d == FAILOVER_DATABASE_DOWN || d == FAILOVER_DATABASE_CRASHED ||
                    d == FAILOVER_DATABASE_STARTING || d == FAILOVER_DATABASE_UNKNOWN) {
                        f->wake = instant_earlier(f->wake, limit);
                        return true;
                }
        }
        return false;
}

bool candidate_is_chosen(struct failover *f, const struct failover_view *v)
{
        struct instant start, turn;
        bool eligible;
        unsigned rank;

        if (f->waited_round != v->freed) {
                f->waited_round = v->freed;
                f->waited_since = v->now;
        }
        rank = own_rank(f, v, &eligible);
        if (!eligible)
                return false;
        if (is_ordered(f, v))
                return true;
        if (f->config.has_database && others_may_still_start(f, v))
                return false;

        start = f->waited_since;
        if (v->reserved_for != NODE_NOBODY)
                start = instant_after(start, reservation(f));
        /* Whoever is behind a better one leaves it a turn, and takes over when that is not used. */
        turn = instant_after(start, f->config.report_interval * (rank + 1));
        if (v->reserved_for == NODE_NOBODY && rank == 0 &&
            (!f->config.has_database || all_have_reported(f, v)))
                return true;
        f->wake = instant_earlier(f->wake, turn);
        return instant_reached(turn, v->now);
}
