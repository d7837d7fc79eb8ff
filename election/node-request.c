/*
 * Requests of clients, and the node's own read after a start: passed to the leader once it is
 * known, answered when what they caused is applied here, or when their time is over.
 */
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "election/node-internal.h"

void node_answer(struct node *n, uint64_t request, enum node_outcome outcome,
                 const struct store_result *result, const char *text)
{
        struct node_effect *e = node_add(n, NODE_ANSWERED);

        e->request = request;
        e->outcome = outcome;
        e->text = text;
        if (!result)
                return;
        MUST_GROW(n->results, n->n_results, n->n_results_max);
        n->offsets[n->n_effects - 1] = n->n_results;
        n->results[n->n_results++] = *result;
}

static struct node_request *slot_of(struct node *n, uint64_t sequence)
{
        struct node_request *q = &n->requests[sequence % NODE_REQUESTS_MAX];

        return q->kind != NODE_REQUEST_NONE && q->sequence == sequence ? q : NULL;
}

static void clear(struct node_request *q)
{
        free(q->bytes);
        *q = (struct node_request){ 0 };
}

static struct node_request *add(struct node *n, uint64_t request, enum node_request_kind kind)
{
        uint64_t sequence = ++n->sequence;
        struct node_request *q = &n->requests[sequence % NODE_REQUESTS_MAX];

        if (q->kind != NODE_REQUEST_NONE) {
                if (request != 0)
                        node_answer(n, request, NODE_OVERLOADED, NULL,
                                    "too many requests wait for an answer");
                return NULL;
        }
        *q = (struct node_request){ .kind = kind,
                                    .request = request,
                                    .sequence = sequence,
                                    .deadline = instant_after(n->now, n->config.request_timeout) };
        return q;
}

/* The number under which the leader's core knows a read: who asked, and its sequence there. */
static uint64_t read_context(node_id node, uint64_t sequence)
{
        return (uint64_t)node << 56 | (sequence & (((uint64_t)1 << 56) - 1));
}

static void send(struct node *n, struct node_request *q)
{
        node_id leader = raft_leader(n->raft);

        if (q->sent || leader == NODE_NOBODY || !instant_reached(q->again, n->now))
                return;
        if (q->kind == NODE_REQUEST_WRITE) {
                q->sent = true;
                node_propose_bytes(n, q->bytes, q->n, n->config.self, q->sequence);
                return;
        }
        if (!node_is_leader(n)) {
                q->sent = true;
                buffer_put_u64(node_send(n, leader, NODE_MESSAGE_READ), q->sequence);
                node_send_end(n);
                return;
        }
        if (!raft_is_ready(n->raft))
                return;
        q->sent = true;
        node_feed_raft(
                n, &(struct raft_event){ .type = RAFT_EVENT_READ,
                                         .now = n->now,
                                         .context = read_context(n->config.self, q->sequence) });
}

void node_request_write(struct node *n, uint64_t request, const struct store_key_command *key)
{
        struct store_command c = { .type = STORE_KEY, .key = *key };
        struct node_request *q;
        struct buffer b = { 0 };

        if (store_command_check(&c) < 0) {
                node_answer(n, request, NODE_REFUSED, NULL, "the key or its value is not valid");
                return;
        }
        q = add(n, request, NODE_REQUEST_WRITE);
        if (!q)
                return;
        c.origin = (struct store_origin){ n->config.self, n->config.incarnation, q->sequence };
        store_command_encode(&c, &b);
        q->bytes = b.bytes;
        q->n = b.n;
        send(n, q);
}

void node_request_read(struct node *n, uint64_t request, enum node_request_kind kind)
{
        struct node_request *q = add(n, request, kind);

        if (q)
                send(n, q);
}

void node_request_forget(struct node *n, uint64_t request)
{
        for (size_t i = 0; i < NODE_REQUESTS_MAX; i++) {
                if (n->requests[i].kind != NODE_REQUEST_NONE && n->requests[i].request == request)
                        n->requests[i].forgotten = true;
        }
}

void node_request_applied(struct node *n, const struct store_result *result)
{
        struct node_request *q;

        if (result->origin.node != n->config.self ||
            result->origin.incarnation != n->config.incarnation)
                return;
        q = slot_of(n, result->origin.sequence);
        if (!q || q->kind != NODE_REQUEST_WRITE)
                return;
        if (!q->forgotten && q->request != 0)
                node_answer(n, q->request, NODE_OK, result, NULL);
        clear(q);
}

/*
 * Who refused may be believed to lead for a while yet: without a pause the two would exchange request
 * and refusal at the speed of the network.
 */
static void try_later(struct node *n, struct node_request *q)
{
        q->sent = false;
        q->again = instant_after(n->now, n->config.heartbeat);
}

/* It is certain that nobody appended it: it may be sent again. */
void node_request_refused(struct node *n, uint64_t sequence)
{
        struct node_request *q = slot_of(n, sequence);

        if (q && q->sent)
                try_later(n, q);
}

/* The old leader may never answer: what does no harm twice is asked again. */
void node_request_leader_changed(struct node *n)
{
        for (uint64_t s = n->sequence_oldest; s <= n->sequence; s++) {
                struct node_request *q = slot_of(n, s);

                if (q && q->kind != NODE_REQUEST_WRITE && !q->has_index)
                        q->sent = false;
        }
}

static void serve_read(struct node *n, struct node_request *q)
{
        if (q->kind == NODE_REQUEST_CATCH_UP) {
                if (!n->current) {
                        n->current = true;
                        node_note(n, NODE_NOTE_CURRENT)->index = n->index_applied;
                        for (size_t i = 0; i < n->config.n_services; i++)
                                n->services[i].looked_at = false;
                }
        } else if (!q->forgotten) {
                node_answer(n, q->request, NODE_OK, NULL, NULL);
        }
        clear(q);
}

/* @context: as made by read_context(); another member's answer is passed on to it. */
void node_request_read_ready(struct node *n, uint64_t context, bool ok, uint64_t index)
{
        node_id node = (node_id)(context >> 56);
        uint64_t sequence = context & (((uint64_t)1 << 56) - 1);
        struct node_request *q;

        if (node != n->config.self) {
                struct buffer *b = node_send(n, node, NODE_MESSAGE_READ_INDEX);

                buffer_put_u64(b, sequence);
                buffer_put_u8(b, ok);
                buffer_put_u64(b, index);
                node_send_end(n);
                return;
        }
        q = slot_of(n, sequence);
        if (!q || q->kind == NODE_REQUEST_WRITE)
                return;
        if (!ok) {
                if (!q->has_index)
                        try_later(n, q);
                return;
        }
        q->has_index = true;
        q->index = index;
}

/* Sends what could not be sent, serves the reads that can be, and ends what took too long. */
void node_request_look(struct node *n)
{
        uint64_t last = n->sequence;

        for (uint64_t s = n->sequence_oldest; s <= last; s++) {
                struct node_request *q = slot_of(n, s);

                if (q && q->has_index && n->index_applied >= q->index) {
                        serve_read(n, q);
                } else if (q && instant_reached(q->deadline, n->now)) {
                        if (!q->forgotten && q->request != 0)
                                node_answer(n, q->request, NODE_NO_QUORUM, NULL,
                                            "no quorum answered in time");
                        clear(q);
                } else if (q) {
                        send(n, q);
                        continue;
                }
                if (s == n->sequence_oldest)
                        n->sequence_oldest++;
        }
}

/* What waits to be sent again is looked at with each heartbeat; only the oldest deadline needs a timer. */
struct instant node_request_deadline(const struct node *n)
{
        for (uint64_t s = n->sequence_oldest; s <= n->sequence; s++) {
                const struct node_request *q = &n->requests[s % NODE_REQUESTS_MAX];

                if (q->kind != NODE_REQUEST_NONE && q->sequence == s)
                        return q->deadline;
        }
        return INSTANT_FOREVER;
}
