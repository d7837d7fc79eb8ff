/* The messages between nodes: one byte of type, then what the type says. */
#include <string.h>

#include "election/node-internal.h"

void node_message_put_report(struct buffer *b, const struct failover_report *r)
{
        uint8_t flags = (uint8_t)(r->healthy | r->writable << 1 | r->streaming << 2 |
                                  r->frozen << 3 | r->clean << 4 | r->closed << 5);

        buffer_put_u8(b, (uint8_t)r->state);
        buffer_put_u8(b, (uint8_t)r->database);
        buffer_put_u8(b, (uint8_t)r->role);
        buffer_put_u8(b, flags);
        buffer_put_u64(b, r->round);
        buffer_put_u64(b, r->epoch);
        buffer_put_u64(b, r->position.system_id);
        buffer_put_u64(b, r->position.timeline);
        buffer_put_u64(b, r->position.lsn);
        buffer_put_u8(b, r->upstream);
        buffer_put_u32(b, r->priority);
        buffer_put_string(b, r->reason);
}

void node_message_get_report(struct reader *r, struct failover_report *ret)
{
        uint8_t state = reader_get_u8(r), database = reader_get_u8(r), role = reader_get_u8(r);
        uint8_t flags = reader_get_u8(r);

        if (state >= FAILOVER_STATES || database > FAILOVER_DATABASE_FOREIGN ||
            role > FAILOVER_ROLE_STANDBY)
                r->failed = true;
        *ret = (struct failover_report){ .known = true,
                                         .state = state,
                                         .database = database,
                                         .role = role,
                                         .healthy = flags & 1,
                                         .writable = flags & 2,
                                         .streaming = flags & 4,
                                         .frozen = flags & 8,
                                         .clean = flags & 16,
                                         .closed = flags & 32 };
        ret->round = reader_get_u64(r);
        ret->epoch = reader_get_u64(r);
        ret->position.system_id = reader_get_u64(r);
        ret->position.timeline = reader_get_u64(r);
        ret->position.lsn = reader_get_u64(r);
        ret->upstream = reader_get_u8(r);
        ret->priority = reader_get_u32(r);
        reader_get_string(r, ret->reason, sizeof(ret->reason));
}

/* A message for Raft; an append loses the entries behind an expiry that we do not attest. */
static void got_raft(struct node *n, node_id from, struct reader *r)
{
        struct raft_message m;

        if (!raft_message_decode(r, n->entries, &m) || m.from != from || m.to != n->config.self) {
                r->failed = true;
                return;
        }
        if (m.type == RAFT_APPEND)
                m.n_entries = node_expiry_filter(n, &m);
        node_feed_raft(n, &(struct raft_event){
                                  .type = RAFT_EVENT_RECEIVED, .now = n->now, .message = &m });
        /* Who looks for a leader that we hear may not know where it is. */
        if ((m.type == RAFT_PRE_VOTE || m.type == RAFT_VOTE) && raft_leader(n->raft) != NODE_NOBODY)
                node_members_tell(n, from);
}

static void got_proposal(struct node *n, node_id from, struct reader *r)
{
        uint64_t sequence = reader_get_u64(r);
        size_t size;
        const uint8_t *bytes = reader_get_blob(r, &size);

        if (size == 0 || size > RAFT_ENTRY_BYTES_MAX)
                r->failed = true;
        if (r->failed)
                return;
        /* A leader proposes expiries by its own notes: those of others could rest on one clock. */
        if (store_command_peek(bytes, size) == STORE_EXPIRE)
                node_refuse_proposal(n, from, sequence, false);
        else if (!node_has_room_for(n, bytes, size))
                node_refuse_proposal(n, from, sequence, true);
        else
                node_propose_bytes(n, bytes, size, from, sequence);
}

static void got_proposals(struct node *n, node_id from, struct reader *r)
{
        do
                got_proposal(n, from, r);
        while (!r->failed && r->n > 0);
}

static void got_refusal(struct node *n, struct reader *r)
{
        uint64_t sequence = reader_get_u64(r);
        bool is_full = reader_get_u8(r);

        if (!r->failed)
                node_request_refused(n, sequence, is_full);
}

/* The number of a request; what is above its bits would name another node. */
static uint64_t get_sequence(struct reader *r)
{
        uint64_t sequence = reader_get_u64(r);

        if (sequence >> NODE_SEQUENCE_BITS)
                r->failed = true;
        return sequence;
}

static void got_read(struct node *n, node_id from, struct reader *r)
{
        uint64_t sequence = get_sequence(r);

        if (!r->failed)
                node_feed_raft(
                        n, &(struct raft_event){ .type = RAFT_EVENT_READ,
                                                 .now = n->now,
                                                 .context = node_request_context(from, sequence) });
}

static void got_read_index(struct node *n, struct reader *r)
{
        uint64_t sequence = get_sequence(r);
        bool ok = reader_get_u8(r);
        uint64_t index = reader_get_u64(r);

        if (!r->failed)
                node_request_read_ready(n, node_request_context(n->config.self, sequence), ok,
                                        index);
}

static void got_report(struct node *n, node_id from, struct reader *r)
{
        struct failover_report report;
        char name[NAME_SIZE];
        size_t service;

        reader_get_string(r, name, sizeof(name));
        node_message_get_report(r, &report);
        service = node_service_find(n, name);
        if (!r->failed && service < n->config.n_services)
                node_service_reported(n, from, service, &report);
}

/*
 * Who is not in our list may be, in a newer one that has not come here: it is heard as far as Raft
 * goes, which judges by itself, and as our leader. One that joins has no list yet.
 */
static bool is_heard(const struct node *n, node_id from, uint8_t type)
{
        return n->members.n == 0 || node_is_member(n, from) || type == NODE_MESSAGE_RAFT ||
               from == raft_leader(n->raft);
}

void node_received(struct node *n, node_id from, const uint8_t *bytes, size_t size)
{
        struct reader r = reader_of(bytes, size);
        uint8_t type = reader_get_u8(&r);

        if (from == n->config.self || from < 1 || from > MEMBERS_MAX || !is_heard(n, from, type))
                return;
        switch (type) {
        case NODE_MESSAGE_RAFT:
                got_raft(n, from, &r);
                break;
        case NODE_MESSAGE_PROPOSE:
                got_proposals(n, from, &r);
                break;
        case NODE_MESSAGE_PROPOSAL_REFUSED:
                got_refusal(n, &r);
                break;
        case NODE_MESSAGE_READ:
                got_read(n, from, &r);
                break;
        case NODE_MESSAGE_READ_INDEX:
                got_read_index(n, &r);
                break;
        case NODE_MESSAGE_ATTEST:
                node_expiry_asked(n, from, &r);
                break;
        case NODE_MESSAGE_ATTESTED:
                node_expiry_answered(n, from, &r);
                break;
        case NODE_MESSAGE_REPORT:
                got_report(n, from, &r);
                break;
        case NODE_MESSAGE_MEMBERS:
                node_members_told(n, from, &r);
                break;
        case NODE_MESSAGE_CHANGE:
                node_members_asked(n, from, &r);
                break;
        case NODE_MESSAGE_CHANGE_DECIDED:
                node_members_answered(n, from, &r);
                break;
        case NODE_MESSAGE_SNAPSHOT:
                node_snapshot_received(n, from, &r);
                break;
        case NODE_MESSAGE_SNAPSHOT_REPLY:
                node_snapshot_replied(n, from, &r);
                break;
        default:
                r.failed = true;
                break;
        }
        if (r.failed)
                node_note(n, NODE_NOTE_BAD_MESSAGE)->member = from;
}
