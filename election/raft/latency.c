/* How soon the peers of a leader answer, for whoever looks at statistics; nothing is decided by it. */
#include "election/raft/raft-internal.h"

static bool is_lost(const struct raft *r, const struct raft_peer *p)
{
        return p->timed_round > 0 &&
               instant_reached(instant_after(p->timed_at, r->config.election_timeout), r->now);
}

/* The time of the first one of a round is taken, one at a time. */
void raft_latency_sent(struct raft *r, struct raft_peer *p, bool quiet)
{
        r->traffic.n_sent++;
        if (is_lost(r, p)) {
                p->latency.n_failures++;
                p->timed_round = 0;
        }
        if (quiet || p->timed_round > 0 || p->round >= r->round)
                return;
        p->timed_round = r->round;
        p->timed_at = r->now;
}

/* Average and spread without a list of all: Welford, Technometrics 4 (1962), page 419. */
static void take_time(struct raft_latency *l, usec_t took)
{
        double distance = (double)took - l->average;

        l->current = took;
        if (l->n == 0 || took < l->shortest)
                l->shortest = took;
        if (took > l->longest)
                l->longest = took;
        l->n++;
        l->average += distance / (double)l->n;
        l->squares += distance * ((double)took - l->average);
}

void raft_latency_answered(struct raft *r, struct raft_peer *p, uint64_t round)
{
        p->latency.n_answers++;
        if (p->timed_round == 0 || round < p->timed_round)
                return;
        if (is_lost(r, p))
                p->latency.n_failures++;
        else
                take_time(&p->latency, instant_until(r->now, p->timed_at));
        p->timed_round = 0;
}

struct raft_latency raft_peer_latency(const struct raft *r, node_id peer)
{
        for (unsigned i = 0; r->role == RAFT_LEADER && i < r->n_targets; i++)
                if (r->targets[i] == peer)
                        return r->peers[peer].latency;
        return (struct raft_latency){ 0 };
}

struct raft_traffic raft_traffic(const struct raft *r)
{
        return r->traffic;
}
