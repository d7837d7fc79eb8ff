/*
 * Reads of now without a log entry (read index, Raft dissertation, 6.4): what was committed when
 * the read came may be served once a quorum has answered a round that was sent after it came.
 * Rounds are numbered by the leader itself; a number of the client's would come again with its
 * retry and be confirmed by answers from before.
 */
#include <string.h>

#include "election/base/memory.h"
#include "election/raft/raft-internal.h"

/* Whether a round that some read waits for is on its way; further reads share the next one. */
static bool is_asking(const struct raft *r)
{
        return r->reads_n > 0 && r->reads[0].round <= r->round;
}

void raft_on_read(struct raft *r, uint64_t context)
{
        if (r->role != RAFT_LEADER) {
                raft_refuse(r, RAFT_EVENT_READ, RAFT_NOT_LEADER, context);
                return;
        }
        /* Before that, commit may be behind what an earlier leader has acknowledged. */
        if (!raft_is_ready(r)) {
                raft_refuse(r, RAFT_EVENT_READ, RAFT_NOT_READY, context);
                return;
        }
        if (r->reads_n == RAFT_READS_MAX) {
                raft_refuse(r, RAFT_EVENT_READ, RAFT_LOG_FULL, context);
                return;
        }
        MUST_GROW(r->reads, r->reads_n, r->reads_max);
        r->reads[r->reads_n++] = (struct raft_read){
                .context = context,
                .index = r->commit,
                .round = r->round + 1,
        };
        if (!is_asking(r))
                raft_broadcast(r);
}

static uint64_t round_answered(const struct raft *r)
{
        const struct raft_members *members = raft_members(r);
        uint64_t values[MEMBERS_MAX];

        for (unsigned i = 0; i < members->n_voters; i++) {
                node_id id = members->voters[i];

                values[i] = id == r->config.self ? r->round : r->peers[id].round;
        }
        return raft_quorum_value(members, values);
}

void raft_confirm_reads(struct raft *r)
{
        uint64_t round;
        size_t n = 0;

        if (!is_asking(r))
                return;
        round = round_answered(r);
        for (; n < r->reads_n && r->reads[n].round <= round; n++) {
                struct raft_effect *e = raft_effect_add(r, RAFT_READ_READY);

                e->index = r->reads[n].index;
                e->context = r->reads[n].context;
        }
        if (n == 0)
                return;
        r->reads_n -= n;
        memmove(r->reads, r->reads + n, r->reads_n * sizeof(*r->reads));
        if (r->reads_n > 0 && !is_asking(r))
                raft_broadcast(r);
}

void raft_drop_reads(struct raft *r)
{
        for (size_t i = 0; i < r->reads_n; i++)
                raft_refuse(r, RAFT_EVENT_READ, RAFT_NOT_LEADER, r->reads[i].context);
        r->reads_n = 0;
}
