/* Counting voters. The member list is fixed: RAFT_ENTRY_MEMBERS is kept free for changes to it. */
#include "election/raft/raft-internal.h"

bool raft_members_are_valid(const struct raft_members *members)
{
        unsigned seen = 0;

        if (members->n_voters < 1 || members->n_voters > MEMBERS_MAX)
                return false;
        for (unsigned i = 0; i < members->n_voters; i++) {
                node_id id = members->voters[i];

                if (id < 1 || id > MEMBERS_MAX || (seen & (1u << id)))
                        return false;
                seen |= 1u << id;
        }
        return true;
}

unsigned raft_quorum(const struct raft_members *members)
{
        return members->n_voters / 2 + 1;
}

bool raft_is_voter(const struct raft_members *members, node_id id)
{
        for (unsigned i = 0; i < members->n_voters; i++)
                if (members->voters[i] == id)
                        return true;
        return false;
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
