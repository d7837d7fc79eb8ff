/*
 * Handing leadership over (Raft dissertation, 3.10): no new proposals, the target is brought up to
 * the last entry and told to campaign at once. If that does not end our term within an election
 * timeout, or the target says that it is not ready, we go on.
 */
#include "election/raft/raft-internal.h"

node_id raft_best_target(const struct raft *r)
{
        const struct raft_members *members = raft_members(r);
        node_id best = NODE_NOBODY;

        for (unsigned i = 0; i < members->n_voters; i++) {
                node_id id = members->voters[i];
                const struct raft_peer *p = &r->peers[id];

                if (id == r->config.self || p->mode != RAFT_REPLICATE || p->round == 0)
                        continue;
                if (best == NODE_NOBODY || p->match > r->peers[best].match)
                        best = id;
        }
        return best;
}

void raft_start_transfer(struct raft *r, node_id target)
{
        r->transfer = (struct raft_transfer){
                .target = target,
                .deadline = instant_after(r->now, r->config.election_timeout),
        };
        raft_note_peer(r, RAFT_NOTE_TRANSFER_STARTED, target);
}

void raft_on_transfer(struct raft *r, const struct raft_event *event)
{
        node_id target = event->target;

        if (r->role != RAFT_LEADER) {
                raft_refuse(r, event->type, RAFT_NOT_LEADER, event->context);
                return;
        }
        if (r->transfer.target != NODE_NOBODY) {
                raft_refuse(r, event->type, RAFT_TRANSFERRING, event->context);
                return;
        }
        if (target == NODE_NOBODY)
                target = raft_best_target(r);
        if (target == r->config.self || !raft_is_voter(raft_members(r), target)) {
                raft_refuse(r, event->type, RAFT_BAD_TARGET, event->context);
                return;
        }
        raft_start_transfer(r, target);
}

void raft_fail_transfer(struct raft *r)
{
        raft_note_peer(r, RAFT_NOTE_TRANSFER_FAILED, r->transfer.target);
        r->transfer.target = NODE_NOBODY;
        raft_leave_at_last(r);
}

/* Tells the target when it has all on its disk, and again with each heartbeat. */
void raft_flush_transfer(struct raft *r)
{
        uint64_t last = raft_log_last(&r->log);

        if (r->transfer.target == NODE_NOBODY || r->transfer.told ||
            r->peers[r->transfer.target].match < last)
                return;
        r->transfer.told = true;
        raft_send(r, &(struct raft_message){
                             .type = RAFT_TIMEOUT_NOW,
                             .to = r->transfer.target,
                             .term = r->term,
                             .log_index = last,
                             .log_term = raft_log_last_term(&r->log),
                     });
}

/* Whether our disk holds all that the leader has: otherwise we would lose the election we start. */
static bool is_ready(const struct raft *r, const struct raft_message *m)
{
        uint64_t term;

        return raft_may_campaign(r) && raft_persist_has_term(r) && r->disk.last >= m->log_index &&
               raft_log_term_at(&r->log, m->log_index, &term) && term == m->log_term;
}

void raft_on_timeout_now(struct raft *r, const struct raft_message *m)
{
        if (m->term != r->term || r->role != RAFT_FOLLOWER || r->leader != m->from)
                return;
        if (is_ready(r, m)) {
                raft_campaign(r, true);
                return;
        }
        raft_reply(r, &(struct raft_message){
                              .type = RAFT_APPEND_REPLY,
                              .to = m->from,
                              .term = r->term,
                              .log_index = r->disk.last,
                              .round = r->ack.round,
                              .transfer = true,
                      });
}
