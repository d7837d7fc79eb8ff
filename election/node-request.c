/*
 * Requests of clients, and the node's own read after a start: passed to the leader once it is
 * known, answered when what they caused is applied here, or when their time is over.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "election/node-internal.h"

/* A copy of @n bytes that lives until the next step. */
static char *keep(struct node_result *r, const char *bytes, size_t n)
{
        assert(r->n_texts < NODE_RESULT_TEXTS_MAX);
        return r->texts[r->n_texts++] = must_copy(bytes, n);
}

static void keep_view(struct node_result *r, struct store_view *v)
{
        if (v->path)
                v->path = keep(r, v->path, strlen(v->path));
        if (v->value)
                v->value = keep(r, v->value, v->n_value);
}

/* What a result points to is gone with the next command, and a step may apply many. */
static void keep_result(struct node_result *r, const struct store_result *result)
{
        *r = (struct node_result){ .shown = *result };
        r->shown.woken = NULL;
        r->shown.n_woken = 0;
        if (result->cause)
                r->shown.cause = keep(r, result->cause, result->n_cause);
        if (!result->event)
                return;
        r->event = *result->event;
        keep_view(r, &r->event.node);
        keep_view(r, &r->event.previous);
}

void node_answer(struct node *n, uint64_t request, enum node_outcome outcome,
                 const struct store_result *result, const char *text)
{
        struct node_effect *e;

        if (request == 0)
                return; /* nobody waits */
        e = node_add(n, NODE_ANSWERED);
        e->request = request;
        e->outcome = outcome;
        e->text = text;
        if (!result)
                return;
        MUST_GROW(n->results, n->n_results, n->n_results_max);
        n->offsets[n->n_effects - 1] = n->n_results;
        keep_result(&n->results[n->n_results++], result);
}

void node_request_clear_results(struct node *n)
{
        for (size_t i = 0; i < n->n_results; i++) {
                for (unsigned k = 0; k < n->results[i].n_texts; k++)
                        free(n->results[i].texts[k]);
        }
        n->n_results = 0;
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

/* Some room is kept for what the node itself wants. */
static struct node_request *add(struct node *n, uint64_t request, enum node_request_kind kind)
{
        size_t max = request != 0 ? NODE_REQUESTS_MAX - NODE_REQUESTS_KEPT : NODE_REQUESTS_MAX;
        struct node_request *q;

        if (n->n_waiting >= max) {
                node_answer(n, request, NODE_OVERLOADED, NULL,
                            "too many requests wait for an answer");
                return NULL;
        }
        do
                q = &n->requests[++n->sequence % NODE_REQUESTS_MAX];
        while (q->kind != NODE_REQUEST_NONE);
        n->waiting[n->n_waiting++] = n->sequence;
        *q = (struct node_request){ .kind = kind,
                                    .request = request,
                                    .sequence = n->sequence,
                                    .deadline = instant_after(n->now, n->config.request_timeout) };
        return q;
}

uint64_t node_request_context(node_id node, uint64_t sequence)
{
        return (uint64_t)node << NODE_SEQUENCE_BITS | sequence;
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
        node_feed_raft(n, &(struct raft_event){
                                  .type = RAFT_EVENT_READ,
                                  .now = n->now,
                                  .context = node_request_context(n->config.self, q->sequence) });
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
        if (b.n > RAFT_ENTRY_BYTES_MAX) {
                buffer_done(&b);
                node_answer(n, request, NODE_REFUSED, NULL,
                            "the value and the one to compare with are too large together");
                clear(q);
                return;
        }
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
        for (size_t i = 0; i < n->n_waiting; i++) {
                struct node_request *q = slot_of(n, n->waiting[i]);

                if (q && q->request == request)
                        q->forgotten = true;
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
        if (!q->forgotten)
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
        for (size_t i = 0; i < n->n_waiting; i++) {
                struct node_request *q = slot_of(n, n->waiting[i]);

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

/* @context: as made by node_request_context(); another member's answer is passed on to it. */
void node_request_read_ready(struct node *n, uint64_t context, bool ok, uint64_t index)
{
        node_id node = (node_id)(context >> NODE_SEQUENCE_BITS);
        uint64_t sequence = context & (((uint64_t)1 << NODE_SEQUENCE_BITS) - 1);
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

/* Sends, serves or ends a request; whether it still waits. */
static bool look(struct node *n, struct node_request *q)
{
        send(n, q);
        if (q->has_index && n->index_applied >= q->index) {
                serve_read(n, q);
                return false;
        }
        if (!instant_reached(q->deadline, n->now))
                return true;
        if (!q->forgotten)
                node_answer(n, q->request, NODE_NO_QUORUM, NULL, "no quorum answered in time");
        clear(q);
        return false;
}

void node_request_look(struct node *n)
{
        size_t kept = 0;

        for (size_t i = 0; i < n->n_waiting; i++) {
                struct node_request *q = slot_of(n, n->waiting[i]);

                if (q && look(n, q))
                        n->waiting[kept++] = q->sequence;
        }
        n->n_waiting = kept;
}

/* What waits to be sent again is looked at with each heartbeat; only the oldest deadline needs a timer. */
struct instant node_request_deadline(const struct node *n)
{
        const struct node_request *q;

        if (n->n_waiting == 0)
                return INSTANT_FOREVER;
        q = &n->requests[n->waiting[0] % NODE_REQUESTS_MAX];
        return q->sequence == n->waiting[0] ? q->deadline : n->now;
}
