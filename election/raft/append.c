/*
 * A follower's side of replication: the append rules (Raft dissertation, figure 3.1) and their
 * answers. An answer never claims more than our disk holds; what it holds back is sent when the
 * disk has followed. Several answers may become one, with the newest round that we received.
 */
#include <assert.h>

#include "election/raft/raft-internal.h"

static void reject(struct raft *r, const struct raft_message *m)
{
        uint64_t hint = raft_log_find(&r->log, m->log_index, m->log_term);
        uint64_t hint_term = 0;

        (void)raft_log_term_at(&r->log, hint, &hint_term); /* known: found in the log */
        raft_reply(r, &(struct raft_message){
                              .type = RAFT_APPEND_REPLY,
                              .to = m->from,
                              .term = r->term,
                              .log_index = m->log_index,
                              .round = r->ack.round,
                              .hint_index = hint,
                              .hint_term = hint_term,
                      });
}

/* A leader of the past learns our term; it must, or we stay cut off from it for ever. */
static void answer_old_leader(struct raft *r, const struct raft_message *m)
{
        raft_reply(r, &(struct raft_message){
                              .type = RAFT_APPEND_REPLY,
                              .to = m->from,
                              .term = r->term,
                              .log_index = m->log_index,
                      });
}

static void follow(struct raft *r, const struct raft_message *m)
{
        if (r->role == RAFT_LEADER || (r->leader != NODE_NOBODY && r->leader != m->from))
                raft_history_forked(); /* two leaders of one term */
        if (r->leader != m->from || r->role != RAFT_FOLLOWER) {
                raft_become_follower(r, m->term, m->from);
                r->ack = (struct raft_acknowledgement){ 0 };
        }
        r->contact = r->now;
        raft_reset_election_timer(r);
        if (r->vote == NODE_NOBODY) {
                /* Who leads the term has our vote in it: a disk that is lost and comes back as a
                 * new member, under an id that has voted, does not vote for anybody else. */
                r->vote = m->from;
                r->disk.hard_changed = true;
        }
        if (m->round > r->ack.round)
                r->ack.round = m->round;
}

/* Whether the log holds what @m builds on; what a snapshot covers is the same everywhere. */
static bool log_reaches(const struct raft *r, const struct raft_message *m)
{
        uint64_t term;

        if (m->log_index < r->log.base_index)
                return true;
        if (raft_log_term_at(&r->log, m->log_index, &term) && term == m->log_term)
                return true;
        if (m->log_index <= r->commit)
                raft_history_forked();
        return false;
}

/*
 * Appends what is new. Only a conflict truncates: an append that was late or came twice must not
 * remove what later ones have added and we have acknowledged.
 */
static void take_entries(struct raft *r, const struct raft_message *m)
{
        uint64_t last_before = raft_log_last(&r->log);
        uint64_t truncated = 0;
        uint64_t first = 0;

        for (size_t i = 0; i < m->n_entries; i++) {
                const struct raft_entry *entry = &m->entries[i];
                uint64_t term;

                assert(entry->index == m->log_index + 1 + i);
                if (entry->index < r->log.base_index)
                        continue;
                if (raft_log_term_at(&r->log, entry->index, &term)) {
                        if (term == entry->term)
                                continue;
                        if (entry->index <= r->commit)
                                raft_history_forked();
                        raft_persist_truncate(r, entry->index);
                        truncated = entry->index;
                }
                raft_persist_append(r, entry);
                if (first == 0)
                        first = entry->index;
        }
        if (truncated) {
                struct raft_effect *e = raft_effect_add(r, RAFT_NOTE);

                e->note = RAFT_NOTE_TRUNCATED;
                e->first = truncated;
                e->last = last_before;
                e->peer = m->from;
        }
        if (first) {
                struct raft_effect *e = raft_effect_add(r, RAFT_APPENDED);

                e->first = first;
                e->last = raft_log_last(&r->log);
        }
}

/* How far we may say that our log is the leader's: on disk, and so is the term we say it in. */
static uint64_t claimable(const struct raft *r)
{
        if (!raft_persist_has_term(r))
                return 0;
        return r->disk.last < r->ack.verified ? r->disk.last : r->ack.verified;
}

void raft_on_append(struct raft *r, const struct raft_message *m)
{
        uint64_t reached = m->log_index + m->n_entries;

        if (m->term < r->term) {
                answer_old_leader(r, m);
                return;
        }
        follow(r, m);
        r->traffic.n_received++;
        if (!log_reaches(r, m)) {
                reject(r, m);
                return;
        }
        take_entries(r, m);
        if (reached > r->ack.verified)
                r->ack.verified = reached;
        /* Not up to our last entry: what stands behind this message may be an old tail. */
        raft_set_commit(r, m->commit < reached ? m->commit : reached);
        if (m->quiet)
                return;
        r->ack.held = true;
        if (m->n_entries == 0)
                r->ack.now = true;
        else
                r->ack.claimed = claimable(r); /* answered when the disk has come further */
}

void raft_flush_acknowledgement(struct raft *r)
{
        uint64_t claim;

        if (r->role != RAFT_FOLLOWER || r->leader == NODE_NOBODY)
                return;
        if (!r->ack.now && !r->ack.held)
                return;
        claim = claimable(r);
        if (!r->ack.now && claim < r->ack.verified && claim <= r->ack.claimed)
                return;
        r->ack.now = false;
        r->ack.held = claim < r->ack.verified;
        r->ack.claimed = claim;
        raft_send(r, &(struct raft_message){
                             .type = RAFT_APPEND_REPLY,
                             .to = r->leader,
                             .term = r->term,
                             .log_index = claim,
                             .round = r->ack.round,
                             .granted = true,
                     });
}
