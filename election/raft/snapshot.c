/*
 * Snapshots: the log forgets what one of ours covers, begins behind one that was received, and
 * says who needs one (Raft dissertation, 5.1 and 5.2). The snapshot itself is never in here; who
 * feeds these events has made it durable before.
 */
#include <assert.h>

#include "election/raft/raft-internal.h"

/* Members that need entries from before the new base get a snapshot instead. */
static void give_up_on_laggards(struct raft *r)
{
        for (unsigned i = 0; r->role == RAFT_LEADER && i < r->n_targets; i++) {
                const struct raft_peer *p = &r->peers[r->targets[i]];

                if (p->mode != RAFT_SNAPSHOT && p->next <= r->log.base_index)
                        raft_enter_snapshot(r, r->targets[i], p->match);
        }
}

/* Where the log shall begin when @index is covered: a tail is kept, within limits. */
static uint64_t base_for(const struct raft *r, uint64_t index, uint64_t keep)
{
        uint64_t behind = raft_log_bytes_behind(&r->log, index);
        uint64_t base = r->log.base_index;

        if (keep < index - base)
                base = index - keep;
        while (raft_log_bytes_behind(&r->log, base) - behind > RAFT_TAIL_BYTES_MAX)
                base += (index - base + 1) / 2;
        return base;
}

void raft_on_compact(struct raft *r, const struct raft_event *event)
{
        if (event->index <= r->snapshot_index)
                return; /* a later one was installed meanwhile */
        assert(event->index <= r->commit);
        r->snapshot_index = event->index;
        raft_log_compact(&r->log, base_for(r, event->index, event->keep));
        raft_memberships_compact(r);
        raft_persist_snapshot(r, false);
        give_up_on_laggards(r);
}

/* What the snapshot says is of a term in which we may not lead, or not know who does. */
static void make_way(struct raft *r, uint64_t term)
{
        if (term > r->term)
                raft_become_follower(r, term, NODE_NOBODY);
        else if (r->role != RAFT_FOLLOWER)
                raft_become_follower(r, r->term, NODE_NOBODY);
        raft_reset_election_timer(r);
}

void raft_on_install(struct raft *r, const struct raft_event *event)
{
        uint64_t term;
        bool known = raft_log_term_at(&r->log, event->index, &term);
        bool keeps = known && term == event->term;

        if (!raft_members_are_valid(&event->membership->members) ||
            event->membership->index > event->index) {
                raft_refuse(r, event->type, RAFT_BAD_CHANGE, event->context);
                return;
        }
        if (event->index <= r->commit) {
                if (known && !keeps)
                        raft_history_forked();
                raft_refuse(r, event->type, RAFT_OLD_SNAPSHOT, event->context);
                return;
        }
        if (!keeps || r->role != RAFT_LEADER)
                make_way(r, event->term);
        if (keeps) { /* what stands behind it may have been acknowledged */
                raft_log_compact(&r->log, event->index);
        } else {
                raft_log_reset(&r->log, event->index, event->term);
                r->ack.verified = 0;
                r->ack.claimed = 0;
        }
        raft_memberships_install(r, event->membership);
        r->snapshot_index = event->index;
        r->commit = event->index;
        r->commit_told = event->index;
        raft_persist_snapshot(r, !keeps);
        raft_effect_add(r, RAFT_INSTALLED)->index = event->index;
        give_up_on_laggards(r);
}

void raft_on_snapshot_sent(struct raft *r, const struct raft_event *event)
{
        struct raft_peer *p;

        assert(event->target >= 1 && event->target <= MEMBERS_MAX);
        p = &r->peers[event->target];
        if (r->role != RAFT_LEADER || p->mode != RAFT_SNAPSHOT)
                return;
        p->may_resend = false;
        if (!event->ok) {
                p->snapshot_told = false; /* and again when it answers the next heartbeat */
                return;
        }
        /* It rejected our heartbeats until now: those answers may still be on their way. */
        p->round_min = r->round + 1;
        raft_probe_from(p, r->snapshot_index + 1);
        p->may_resend = true;
        raft_broadcast(r);
}
