/* Sets of members: counting voters, and the bytes of a configuration. */
#include "election/raft/raft-internal.h"

/* Adds @list to the bits in @seen; false if an id is none, or was there already. */
static bool add_all(const node_id *list, unsigned n, unsigned *seen)
{
        if (n > MEMBERS_MAX)
                return false;
        for (unsigned i = 0; i < n; i++) {
                node_id id = list[i];

                if (id < 1 || id > MEMBERS_MAX || (*seen & (1u << id)))
                        return false;
                *seen |= 1u << id;
        }
        return true;
}

bool raft_members_are_valid(const struct raft_members *members)
{
        unsigned seen = 0;

        return members->n_voters >= 1 && add_all(members->voters, members->n_voters, &seen) &&
               add_all(members->learners, members->n_learners, &seen);
}

unsigned raft_quorum(const struct raft_members *members)
{
        return members->n_voters / 2 + 1;
}

static bool is_in(const node_id *list, unsigned n, node_id id)
{
        for (unsigned i = 0; i < n; i++)
                if (list[i] == id)
                        return true;
        return false;
}

bool raft_is_voter(const struct raft_members *members, node_id id)
{
        return is_in(members->voters, members->n_voters, id);
}

bool raft_is_learner(const struct raft_members *members, node_id id)
{
        return is_in(members->learners, members->n_learners, id);
}

unsigned raft_voters_that_differ(const struct raft_members *a, const struct raft_members *b)
{
        unsigned n = 0;

        for (unsigned i = 0; i < a->n_voters; i++)
                n += !raft_is_voter(b, a->voters[i]);
        for (unsigned i = 0; i < b->n_voters; i++)
                n += !raft_is_voter(a, b->voters[i]);
        return n;
}

bool raft_is_quorum(const struct raft_members *members, unsigned granted)
{
        unsigned n = 0;

        for (unsigned i = 0; i < members->n_voters; i++)
                if (granted & (1u << members->voters[i]))
                        n++;
        return n >= raft_quorum(members);
}

uint64_t raft_quorum_value(const struct raft_members *members, uint64_t values[MEMBERS_MAX])
{
        for (unsigned i = 1; i < members->n_voters; i++) { /* descending */
                uint64_t value = values[i];
                unsigned j = i;

                for (; j > 0 && values[j - 1] < value; j--)
                        values[j] = values[j - 1];
                values[j] = value;
        }
        return values[raft_quorum(members) - 1];
}

static void put_list(struct buffer *b, const node_id *list, unsigned n)
{
        buffer_put_u8(b, (uint8_t)n);
        buffer_put(b, list, n);
}

void raft_members_encode(const struct raft_members *members, struct buffer *b)
{
        put_list(b, members->voters, members->n_voters);
        put_list(b, members->learners, members->n_learners);
}

static unsigned get_list(struct reader *r, node_id list[MEMBERS_MAX])
{
        unsigned n = reader_get_u8(r);

        for (unsigned i = 0; i < n && i < MEMBERS_MAX; i++)
                list[i] = reader_get_u8(r);
        return n; /* too many are no valid list */
}

bool raft_members_decode(struct reader *r, struct raft_members *ret)
{
        struct raft_members members = { 0 };

        members.n_voters = get_list(r, members.voters);
        if (members.n_voters > MEMBERS_MAX)
                return false;
        members.n_learners = get_list(r, members.learners);
        if (r->failed || !raft_members_are_valid(&members))
                return false;
        *ret = members;
        return true;
}
