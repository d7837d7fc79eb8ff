/*
 * Changes of the membership, one voter at a time, so that the majorities before and after share a
 * member (Raft dissertation, 4.1). A leader begins one only when an entry of its own term is
 * committed: else leaders of two terms can each commit one of theirs under majorities that do not
 * meet (Ongaro's correction of July 2015).
 */
#include "election/raft/raft-internal.h"

/* Voters of @new that are none of @old must keep up with the log already. */
static bool new_voters_keep_up(const struct raft *r, const struct raft_members *old,
                               const struct raft_members *new)
{
        for (unsigned i = 0; i < new->n_voters; i++) {
                node_id id = new->voters[i];

                if (id != r->config.self && !raft_is_voter(old, id) && !raft_is_caught_up(r, id))
                        return false;
        }
        return true;
}

static bool quorum_answers(const struct raft *r, const struct raft_members *members)
{
        unsigned n = 0;

        for (unsigned i = 0; i < members->n_voters; i++)
                n += raft_answers(r, members->voters[i]);
        return n >= raft_quorum(members);
}

/* Why the change cannot be made; true if it can. */
static bool change_is_good(const struct raft *r, const struct raft_event *event,
                           enum raft_refusal *ret)
{
        const struct raft_members *old = raft_members(r);
        const struct raft_members *new = &event->membership->members;

        *ret = RAFT_NOT_LEADER;
        if (r->role != RAFT_LEADER)
                return false;
        *ret = RAFT_NOT_READY;
        if (!raft_is_ready(r))
                return false;
        *ret = RAFT_TRANSFERRING;
        if (r->transfer.target)
                return false;
        *ret = RAFT_CHANGE_PENDING;
        if (raft_membership(r)->index > r->commit)
                return false;
        *ret = RAFT_TOO_LARGE;
        if (event->membership->n_context > RAFT_CONTEXT_BYTES_MAX)
                return false;
        *ret = RAFT_BAD_CHANGE;
        if (!raft_members_are_valid(new) || raft_voters_that_differ(old, new) > 1)
                return false;
        if (event->forced || raft_voters_that_differ(old, new) == 0)
                return true;
        *ret = RAFT_NOT_CAUGHT_UP;
        if (!new_voters_keep_up(r, old, new))
                return false;
        *ret = RAFT_NO_QUORUM;
        return quorum_answers(r, new);
}

/* It fits always: a full log must not keep the group from getting rid of who does not answer. */
static uint64_t append_membership(struct raft *r, const struct raft_membership *m)
{
        struct buffer b = { 0 };
        uint64_t index;

        raft_members_encode(&m->members, &b);
        buffer_put(&b, m->context, m->n_context);
        index = raft_append_own(r, RAFT_ENTRY_MEMBERS, b.bytes, b.n);
        buffer_done(&b);
        return index;
}

void raft_on_change(struct raft *r, const struct raft_event *event)
{
        const struct raft_members before = *raft_members(r);
        enum raft_refusal refusal;
        uint64_t index;

        if (!change_is_good(r, event, &refusal)) {
                raft_refuse(r, event->type, refusal, event->context);
                return;
        }
        index = append_membership(r, event->membership);
        raft_retarget(r, &before);
        raft_tell_appended(r, index);
        raft_tell_proposed(r, index, event->context);
        raft_advance_commit(r); /* a smaller quorum may have all of before */
        raft_broadcast(r);
}

static bool is_removed(const struct raft *r)
{
        return r->role == RAFT_LEADER && !raft_votes(r) && r->commit >= raft_membership(r)->index;
}

void raft_leave(struct raft *r)
{
        node_id target;

        if (!is_removed(r) || r->transfer.target != NODE_NOBODY)
                return;
        target = raft_best_target(r);
        if (target != NODE_NOBODY)
                raft_start_transfer(r, target);
        else
                raft_become_follower(r, r->term, NODE_NOBODY);
}

void raft_leave_at_last(struct raft *r)
{
        if (is_removed(r) && (r->transfer.told || r->transfer.target == NODE_NOBODY))
                raft_become_follower(r, r->term, NODE_NOBODY);
}
