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

/*
 * A fork of history ends the process by design, and a leader of the same term is one. So the
 * member under test hears appends of one peer only, never leads, and commits nothing.
 */
static void receive(struct raft *r, struct raft_message *m)
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
        for (size_t i = 0; i < effects.n; i++) {
                struct raft_event persisted = { .type = RAFT_EVENT_PERSISTED };
                struct raft_effects ignored;

                if (effects.list[i].type != RAFT_PERSIST)
                        continue;
                persisted.generation = effects.list[i].persist.generation;
                raft_step(r, &persisted, &ignored);
                break;
        }
        require(raft_role(r) != RAFT_LEADER);
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
                receive(r, &m);
        }
        raft_free(r);
        return 0;
}
