/*
 * Any bytes as messages of a peer, one behind the other: what decodes keeps the limits and codes
 * back to the same bytes, and a member that receives it stays sound. For libFuzzer.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "election/raft/raft.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void require(bool truth)
{
        if (!truth)
                abort();
}

static void check_limits(const struct raft_message *m)
{
        size_t n_bytes = 0;

        require(m->n_entries <= RAFT_APPEND_ENTRIES_MAX);
        for (size_t i = 0; i < m->n_entries; i++) {
                require(m->entries[i].index == m->log_index + 1 + i);
                require(m->entries[i].n <= RAFT_ENTRY_BYTES_MAX);
                n_bytes += m->entries[i].n;
        }
        require(m->n_entries <= 1 || n_bytes <= RAFT_APPEND_BYTES_MAX);
}

static void check_encoding(const struct raft_message *m, const uint8_t *bytes, size_t n)
{
        struct buffer b = { 0 };

        raft_message_encode(m, &b);
        require(b.n == n && memcmp(b.bytes, bytes, n) == 0);
        buffer_done(&b);
}

static void persist(struct raft *r, const struct raft_effects *effects)
{
        for (size_t i = 0; i < effects->n; i++) {
                struct raft_event persisted = { .type = RAFT_EVENT_PERSISTED };
                struct raft_effects ignored;

                if (effects->list[i].type != RAFT_PERSIST)
                        continue;
                persisted.generation = effects->list[i].persist.generation;
                raft_step(r, &persisted, &ignored);
                return;
        }
}

/* Whatever was received, the configuration is one, and stands where the log says. */
static void check_membership(const struct raft *r)
{
        const struct raft_membership *m = raft_membership(r);
        const struct raft_entry *e = raft_entry_at(r, m->index);

        require(raft_members_are_valid(&m->members));
        require(m->index == 0 || (e && e->type == RAFT_ENTRY_MEMBERS));
        require(m->n_context <= RAFT_CONTEXT_BYTES_MAX);
}

/*
 * A fork of history ends the process by design, and a leader of the same term is one. So the
 * member under test hears appends of one peer only, gets no votes and commits nothing. False if
 * it leads all the same, which needs a configuration of it alone: then the story is over.
 */
static bool receive(struct raft *r, struct raft_message *m)
{
        struct raft_effects effects;
        struct raft_event event = { .type = RAFT_EVENT_RECEIVED, .message = m };

        m->commit = 0;
        if (m->type == RAFT_APPEND)
                m->from = 2;
        m->to = 1;
        if (m->type == RAFT_VOTE_REPLY)
                m->granted = false;
        raft_step(r, &event, &effects);
        persist(r, &effects);
        check_membership(r);
        if (raft_role(r) != RAFT_LEADER)
                return true;
        require(raft_members(r)->n_voters == 1 && raft_members(r)->voters[0] == 1);
        return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        static const struct raft_config config = {
                .self = 1,
                .members = { .voters = { 1, 2, 3 }, .n_voters = 3 },
                .heartbeat = 50000,
                .election_timeout = 200000,
                .pre_vote = true,
        };
        struct raft *r = raft_new(&config, &(struct raft_durable){ 0 }, INSTANT_NEVER);
        struct reader reader = reader_of(bytes, n);

        while (reader.n > 0) {
                struct raft_entry entries[RAFT_APPEND_ENTRIES_MAX];
                const uint8_t *from = reader.bytes;
                struct raft_message m;

                if (!raft_message_decode(&reader, entries, &m))
                        break;
                check_limits(&m);
                check_encoding(&m, from, (size_t)(reader.bytes - from));
                if (!receive(r, &m))
                        break;
        }
        raft_free(r);
        return 0;
}
