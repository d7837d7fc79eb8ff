/*
 * Elections: pre-vote, vote and stickiness (Raft dissertation, 3.4, 3.6.1 and 9.6). A member asks
 * first whether it would be elected, which changes nobody; only then does it raise its term.
 */
#include <assert.h>

#include "election/raft/raft-internal.h"

static unsigned bit_of(node_id id)
{
        return 1u << id;
}

static void set_ask_deadline(struct raft *r)
{
        r->ask_deadline = instant_after(r->now, r->config.heartbeat);
}

/*
 * A leader that appended its own removal may be the only one to have it: without it nobody could
 * be elected, because its log is the longest (Raft dissertation, 4.2.2). It does not count itself.
 */
bool raft_may_campaign(const struct raft *r)
{
        const struct raft_memberships *c = &r->memberships;

        return raft_votes(r) || (c->n > 1 && c->list[c->n - 1].index > r->commit &&
                                 raft_is_voter(&c->list[c->n - 2].members, r->config.self));
}

void raft_start_pre_vote(struct raft *r)
{
        assert(r->role != RAFT_LEADER && raft_may_campaign(r));
        r->role = RAFT_PRE_CANDIDATE;
        /* Who asks for pre-votes must grant them, too; so it no longer follows anybody. */
        r->leader = NODE_NOBODY;
        r->granted = bit_of(r->config.self);
        r->pre_votes_due = true;
        r->votes_due = false;
        set_ask_deadline(r);
        raft_reset_election_timer(r);
        raft_note_peer(r, RAFT_NOTE_PRE_VOTE_STARTED, NODE_NOBODY);
        if (raft_is_quorum(raft_members(r), r->granted))
                raft_campaign(r, false);
}

void raft_campaign(struct raft *r, bool by_order)
{
        assert(r->role != RAFT_LEADER && raft_may_campaign(r));
        r->role = RAFT_CANDIDATE;
        raft_set_term(r, r->term + 1);
        r->vote = r->config.self;
        r->granted = 0; /* our own vote counts when it is on disk */
        r->pre_votes_due = false;
        r->votes_due = true;
        r->by_order = by_order;
        set_ask_deadline(r);
        raft_reset_election_timer(r);
        raft_note_peer(r, RAFT_NOTE_ELECTION_STARTED, NODE_NOBODY);
}

void raft_election_timeout(struct raft *r)
{
        if (!raft_may_campaign(r)) { /* nothing to do until somebody leads us again */
                raft_become_follower(r, r->term, NODE_NOBODY);
                r->election_deadline = INSTANT_FOREVER;
                return;
        }
        if (r->config.pre_vote)
                raft_start_pre_vote(r);
        else
                raft_campaign(r, false);
}

void raft_ask_again(struct raft *r)
{
        set_ask_deadline(r);
        if (r->role == RAFT_PRE_CANDIDATE)
                r->pre_votes_due = true;
        else
                r->votes_due = true;
}

void raft_count_own_vote(struct raft *r)
{
        if (r->role != RAFT_CANDIDATE || !raft_persist_has_vote(r))
                return;
        r->granted |= bit_of(r->config.self);
        if (raft_is_quorum(raft_members(r), r->granted))
                raft_become_leader(r);
}

/*
 * Whether a live leader speaks against an election. A leader is alive to itself as long as its
 * quorum answers. One that asks for votes itself leads no more, whatever we heard of it before.
 */
static bool leader_is_alive(const struct raft *r, node_id candidate)
{
        if (r->role == RAFT_LEADER)
                return true;
        return r->leader != NODE_NOBODY && r->leader != candidate &&
               !instant_reached(instant_after(r->contact, r->config.election_timeout), r->now);
}

/*
 * Whose vote counts, the candidate's configuration decides: ours may be older, and a learner that
 * was promoted and does not know it yet may be needed. Who has nothing at all is asked by mistake.
 */
static bool may_take_part(const struct raft *r)
{
        return raft_votes(r) || raft_log_last(&r->log) > 0;
}

/* The later term wins, whatever the length; then the longer log. */
static bool log_is_up_to_date(const struct raft *r, const struct raft_message *m)
{
        uint64_t term = raft_log_last_term(&r->log);

        if (m->log_term != term)
                return m->log_term > term;
        return m->log_index >= raft_log_last(&r->log);
}

/*
 * Whether we leave the attempt to @m's sender, whose log is up to date: members that lose their
 * leader in the same moment else grant one another, and split the votes that follow. Giving up an
 * attempt is always safe; our timer goes on, in case that the other one fails.
 */
static bool outranks_us(const struct raft *r, const struct raft_message *m)
{
        return m->log_term > raft_log_last_term(&r->log) || m->log_index > raft_log_last(&r->log) ||
               m->from < r->config.self;
}

void raft_on_pre_vote(struct raft *r, const struct raft_message *m)
{
        bool granted = m->term > r->term && log_is_up_to_date(r, m) && !leader_is_alive(r, m->from);

        if (!may_take_part(r))
                return;
        /* A refusal tells our real term: the asker must learn it, or it may ask for ever. */
        raft_reply(r, &(struct raft_message){
                              .type = RAFT_PRE_VOTE_REPLY,
                              .to = m->from,
                              .term = granted ? m->term : r->term,
                              .granted = granted,
                      });
        if (granted && r->role == RAFT_PRE_CANDIDATE && outranks_us(r, m))
                raft_become_follower(r, r->term, NODE_NOBODY);
}

/* Refusals of a higher term have been adopted before this is called. */
void raft_on_pre_vote_reply(struct raft *r, const struct raft_message *m)
{
        if (r->role != RAFT_PRE_CANDIDATE || !m->granted || m->term != r->term + 1)
                return;
        r->granted |= bit_of(m->from);
        if (raft_is_quorum(raft_members(r), r->granted))
                raft_campaign(r, false);
}

static bool may_vote_for(const struct raft *r, const struct raft_message *m)
{
        if (m->term != r->term || r->role == RAFT_LEADER || r->role == RAFT_CANDIDATE)
                return false;
        if (r->vote != NODE_NOBODY && r->vote != m->from)
                return false;
        return log_is_up_to_date(r, m);
}

void raft_on_vote(struct raft *r, const struct raft_message *m)
{
        if (!may_take_part(r))
                return;
        /* The mark of a transfer skips stickiness and nothing else. */
        if (m->term >= r->term && !m->transfer && leader_is_alive(r, m->from))
                return;
        if (m->term > r->term)
                raft_become_follower(r, m->term, NODE_NOBODY);
        if (!may_vote_for(r, m)) {
                raft_reply(r, &(struct raft_message){
                                      .type = RAFT_VOTE_REPLY, .to = m->from, .term = r->term });
                return;
        }
        if (r->vote == NODE_NOBODY) {
                r->vote = m->from;
                r->disk.hard_changed = true;
                raft_note_peer(r, RAFT_NOTE_VOTED, m->from);
        }
        if (r->role == RAFT_PRE_CANDIDATE)
                raft_become_follower(r, r->term, NODE_NOBODY);
        r->vote_reply_due = true;
        raft_reset_election_timer(r);
}

void raft_on_vote_reply(struct raft *r, const struct raft_message *m)
{
        if (r->role != RAFT_CANDIDATE || !m->granted || m->term != r->term)
                return;
        r->granted |= bit_of(m->from);
        if (raft_is_quorum(raft_members(r), r->granted))
                raft_become_leader(r);
}

/* Asks all who have not granted yet. */
static void ask(struct raft *r, enum raft_message_type type)
{
        const struct raft_members *members = raft_members(r);

        for (unsigned i = 0; i < members->n_voters; i++) {
                if (members->voters[i] == r->config.self ||
                    (r->granted & bit_of(members->voters[i])))
                        continue;
                raft_send(r, &(struct raft_message){
                                     .type = type,
                                     .to = members->voters[i],
                                     .term = type == RAFT_PRE_VOTE ? r->term + 1 : r->term,
                                     .log_index = raft_log_last(&r->log),
                                     .log_term = raft_log_last_term(&r->log),
                                     .transfer = type == RAFT_VOTE && r->by_order,
                             });
        }
}

void raft_flush_votes(struct raft *r)
{
        if (r->role == RAFT_PRE_CANDIDATE && r->pre_votes_due) {
                r->pre_votes_due = false;
                ask(r, RAFT_PRE_VOTE);
        }
        if (!raft_persist_has_vote(r))
                return;
        if (r->role == RAFT_CANDIDATE && r->votes_due) {
                r->votes_due = false;
                ask(r, RAFT_VOTE);
        }
        if (r->vote_reply_due) {
                r->vote_reply_due = false;
                raft_send(r, &(struct raft_message){ .type = RAFT_VOTE_REPLY,
                                                     .to = r->vote,
                                                     .term = r->term,
                                                     .granted = true });
        }
}
