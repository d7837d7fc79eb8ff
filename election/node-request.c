/*
 * Requests of clients, and the node's own read after a start: passed to the leader once it is
 * known, answered when what they caused is applied here, or when their time is over.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "election/node-internal.h"

enum { LEADERLESS_ELECTIONS = 4 }; /* of the shortest wait for an election: two would be bad luck */

static void keep_view(struct node *n, struct store_view *v)
{
        if (v->path)
                v->path = node_keep(n, v->path, strlen(v->path));
        if (v->value)
                v->value = node_keep(n, v->value, v->n_value);
}

/* What a result points to is gone with the next command, and a step may apply many. */
static void keep_result(struct node *n, struct node_result *r, const struct store_result *result)
{
        *r = (struct node_result){ .shown = *result };
        r->shown.woken = NULL;
        r->shown.n_woken = 0;
        if (result->cause)
                r->shown.cause = node_keep(n, result->cause, result->n_cause);
        if (!result->event)
                return;
        r->event = *result->event;
        keep_view(n, &r->event.node);
        keep_view(n, &r->event.previous);
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
        keep_result(n, &n->results[n->n_results++], result);
}

void node_request_clear_results(struct node *n)
{
        n->n_results = 0;
        node_keep_clear(n);
}

static struct node_request *slot_of(struct node *n, uint64_t sequence)
{
        struct node_request *q = &n->requests[sequence % NODE_REQUESTS_MAX];

        return q->kind != NODE_REQUEST_NONE && q->sequence == sequence ? q : NULL;
}

static void leave_queue(struct node_request *q)
{
        struct node_queue *queue = q->queue;

        *(q->previous ? &q->previous->next : &queue->first) = q->next;
        *(q->next ? &q->next->previous : &queue->last) = q->previous;
        queue->n_bytes -= q->n;
}

static void join_queue(struct node_request *q, struct node_queue *queue)
{
        q->queue = queue;
        q->previous = queue->last;
        q->next = NULL;
        *(queue->last ? &queue->last->next : &queue->first) = q;
        queue->last = q;
        queue->n_bytes += q->n;
}

static void move(struct node_request *q, struct node_queue *to)
{
        leave_queue(q);
        join_queue(q, to);
}

static void end(struct node *n, struct node_request *q)
{
        leave_queue(q);
        n->n_requests--;
        free(q->bytes);
        *q = (struct node_request){ 0 };
}

/* Some room is kept for what the node itself wants. */
static struct node_request *add(struct node *n, uint64_t request, enum node_request_kind kind)
{
        size_t max = request != 0 ? NODE_REQUESTS_MAX - NODE_REQUESTS_KEPT : NODE_REQUESTS_MAX;
        struct node_request *q;

        if (n->n_requests >= max) {
                node_answer(n, request, NODE_OVERLOADED, NULL,
                            "too many requests wait for an answer");
                return NULL;
        }
        do
                q = &n->requests[++n->sequence % NODE_REQUESTS_MAX];
        while (q->kind != NODE_REQUEST_NONE);
        if (n->n_requests++ == 0)
                n->oldest = n->sequence;
        *q = (struct node_request){ .kind = kind,
                                    .request = request,
                                    .sequence = n->sequence,
                                    .deadline = instant_after(n->now, n->config.request_timeout) };
        join_queue(q, &n->fresh);
        return q;
}

uint64_t node_request_context(node_id node, uint64_t batch)
{
        return (uint64_t)node << NODE_SEQUENCE_BITS | batch;
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
        c.settled = n->oldest; /* what is older is not proposed again */
        store_command_encode(&c, &b);
        if (b.n > RAFT_ENTRY_BYTES_MAX) {
                buffer_done(&b);
                node_answer(n, request, NODE_REFUSED, NULL,
                            "the value and the one to compare with are too large together");
                end(n, q);
                return;
        }
        q->bytes = b.bytes;
        q->n = b.n;
        q->queue->n_bytes += q->n;
}

void node_request_change(struct node *n, uint64_t request, uint8_t *bytes, size_t size)
{
        struct node_request *q = add(n, request, NODE_REQUEST_CHANGE);

        if (!q) {
                free(bytes);
                return;
        }
        q->bytes = bytes;
        q->n = size;
        q->queue->n_bytes += q->n;
}

void node_request_read(struct node *n, uint64_t request, enum node_request_kind kind)
{
        (void)add(n, request, kind);
}

void node_request_forget(struct node *n, uint64_t request)
{
        for (size_t i = 0; i < NODE_REQUESTS_MAX; i++)
                if (n->requests[i].request == request)
                        n->requests[i].forgotten = true;
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
        if (!q->forgotten && result->error == STORE_ANSWER_LOST)
                node_answer(n, q->request, NODE_NO_QUORUM, NULL,
                            "it was proposed again too late to know what became of it");
        else if (!q->forgotten)
                node_answer(n, q->request, NODE_OK, result, NULL);
        end(n, q);
}

/*
 * Who refused may be believed to lead for a while yet: without a pause the two would exchange request
 * and refusal at the speed of the network.
 */
static void try_later(struct node *n, struct node_request *q)
{
        q->again = instant_after(n->now, n->config.heartbeat);
        move(q, &n->refused);
}

/*
 * It is certain that nobody appended it, this time: it may be sent again. Only of a write that was not sent
 * before is it known that nothing was done.
 */
void node_request_refused(struct node *n, uint64_t sequence, bool is_full)
{
        struct node_request *q = slot_of(n, sequence);

        if (!q || q->queue != &n->written)
                return;
        if (!is_full || q->kind != NODE_REQUEST_WRITE || q->is_repeated) {
                try_later(n, q);
                return;
        }
        if (!q->forgotten)
                node_answer(n, q->request, NODE_FULL, NULL, "the disk of the leader is full");
        end(n, q);
}

static void ask_again(struct node *n, struct node_queue *queue)
{
        while (queue->first) {
                queue->first->is_repeated = true;
                move(queue->first, &n->fresh);
        }
}

/*
 * The old leader may never answer, and what it has put into the log may be gone: all is asked again.
 * A write that is in the log twice takes effect once, see store_origin.
 */
void node_request_leader_changed(struct node *n)
{
        ask_again(n, &n->asked);
        ask_again(n, &n->written);
        ask_again(n, &n->deciding);
        ask_again(n, &n->changing);
}

/* What was applied unseen is answered when it is proposed again. */
void node_request_installed(struct node *n)
{
        struct node_request *next;

        for (struct node_request *q = n->written.first; q; q = next) {
                next = q->next;
                if (q->kind != NODE_REQUEST_WRITE)
                        continue;
                q->is_repeated = true;
                move(q, &n->fresh);
        }
}

void node_request_decided(struct node *n, uint64_t sequence, bool is_appended, bool is_for_later,
                          uint64_t index, const char *reason)
{
        struct node_request *q = slot_of(n, sequence);

        if (!q || q->queue != &n->written || q->kind != NODE_REQUEST_CHANGE)
                return;
        if (is_appended) {
                q->index = index;
                move(q, &n->changing);
        } else if (is_for_later) {
                try_later(n, q);
        } else {
                if (!q->forgotten)
                        node_answer(n, q->request, NODE_REFUSED, NULL,
                                    node_keep(n, reason, strlen(reason)));
                end(n, q);
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
        end(n, q);
}

/* The leader's answer about a batch of our reads; answers to older batches may never come. */
static void batch_answered(struct node *n, uint64_t batch, bool ok, uint64_t index)
{
        struct node_request *q = n->asked.first, *next;

        for (; q && q->batch <= batch; q = next) {
                next = q->next;
                if (q->batch < batch)
                        continue;
                q->index = index;
                if (ok)
                        move(q, &n->confirmed);
                else
                        try_later(n, q);
        }
}

/* @context: as made by node_request_context(); another member's answer is passed on to it. */
void node_request_read_ready(struct node *n, uint64_t context, bool ok, uint64_t index)
{
        node_id node = (node_id)(context >> NODE_SEQUENCE_BITS);
        uint64_t batch = context & (((uint64_t)1 << NODE_SEQUENCE_BITS) - 1);

        if (node != n->config.self) {
                struct buffer *b = node_send(n, node, NODE_MESSAGE_READ_INDEX);

                buffer_put_u64(b, batch);
                buffer_put_u8(b, ok);
                buffer_put_u64(b, index);
                node_send_end(n);
                return;
        }
        batch_answered(n, batch, ok, index);
}

static void serve_confirmed(struct node *n)
{
        while (n->changing.first && n->index_applied >= n->changing.first->index)
                serve_read(n, n->changing.first);
        while (n->confirmed.first && n->index_applied >= n->confirmed.first->index)
                serve_read(n, n->confirmed.first);
}

/* One question for all reads of a batch. */
static void ask(struct node *n)
{
        uint64_t batch = n->read_batch;

        if (node_is_leader(n)) {
                node_feed_raft(n, &(struct raft_event){
                                          .type = RAFT_EVENT_READ,
                                          .now = n->now,
                                          .context = node_request_context(n->config.self, batch) });
                return;
        }
        buffer_put_u64(node_send(n, raft_leader(n->raft), NODE_MESSAGE_READ), batch);
        node_send_end(n);
}

/*
 * What a change leads to may end any other request, and the leadership: then what is left waits in
 * another queue.
 */
static void ask_for_changes(struct node *n)
{
        while (n->deciding.first) {
                struct node_request *q = n->deciding.first;

                move(q, &n->written);
                node_members_ask(n, q);
        }
}

void node_request_flush(struct node *n)
{
        bool may_read = !node_is_leader(n) || raft_is_ready(n->raft);
        struct node_request *q = n->fresh.first, *next;
        bool reads = false;

        if (raft_leader(n->raft) == NODE_NOBODY)
                return;
        n->read_batch++;
        for (; q; q = next) {
                next = q->next;
                if (q->kind == NODE_REQUEST_WRITE) {
                        move(q, &n->written);
                        if (node_has_room_for(n, q->bytes, q->n))
                                node_propose_bytes(n, q->bytes, q->n, n->config.self, q->sequence);
                        else
                                node_request_refused(n, q->sequence, true);
                } else if (q->kind == NODE_REQUEST_CHANGE) {
                        move(q, &n->deciding);
                } else if (may_read) {
                        q->batch = n->read_batch;
                        move(q, &n->asked);
                        reads = true;
                }
        }
        if (reads)
                ask(n);
        ask_for_changes(n);
        serve_confirmed(n); /* a lone voter is its own quorum */
}

/* When it is clear that the loss of the leader is more than the time until the next one. */
static struct instant leaderless_from(const struct node *n)
{
        if (raft_leader(n->raft) != NODE_NOBODY)
                return INSTANT_FOREVER;
        return instant_after(n->leader_known, LEADERLESS_ELECTIONS * n->config.election_timeout);
}

static void end_unanswered(struct node *n, struct node_request *q, const char *why)
{
        if (!q->forgotten)
                node_answer(n, q->request, NODE_NO_QUORUM, NULL, why);
        end(n, q);
}

/* All have the same time limit: who came first ends first. */
static void end_overdue(struct node *n)
{
        for (; n->n_requests > 0; n->oldest++) {
                struct node_request *q = slot_of(n, n->oldest);

                if (!q)
                        continue;
                if (!instant_reached(q->deadline, n->now))
                        return;
                end_unanswered(n, q, "no quorum answered in time");
        }
}

/*
 * Without a leader no client waits for the limit. What the node itself wants, such as an entry of the
 * history, does: it can still reach the log.
 */
static void end_hopeless(struct node *n)
{
        if (n->n_requests == 0 || !instant_reached(leaderless_from(n), n->now))
                return;
        for (uint64_t sequence = n->oldest; sequence <= n->sequence; sequence++) {
                struct node_request *q = slot_of(n, sequence);

                if (q && q->request != 0)
                        end_unanswered(n, q, "no leader is known: too few members can be reached");
        }
}

void node_request_look(struct node *n)
{
        serve_confirmed(n);
        end_hopeless(n);
        end_overdue(n);
        while (n->refused.first && instant_reached(n->refused.first->again, n->now))
                move(n->refused.first, &n->fresh);
}

/* What waits to be sent again is looked at with each heartbeat; only the oldest deadline needs a timer. */
struct instant node_request_deadline(const struct node *n)
{
        struct instant leaderless = leaderless_from(n);
        const struct node_request *q;

        if (n->n_requests == 0)
                return INSTANT_FOREVER;
        if (instant_reached(leaderless, n->now))
                leaderless = INSTANT_FOREVER; /* those whom it concerns have been told */
        for (uint64_t sequence = n->oldest;; sequence++) {
                q = &n->requests[sequence % NODE_REQUESTS_MAX];
                if (q->kind != NODE_REQUEST_NONE && q->sequence == sequence)
                        return instant_earlier(q->deadline, leaderless);
        }
}
