/* The heap of what is going to happen. */
#include "tests/sim/queue.h"

#include <stdlib.h>

#include "election/base/memory.h"

/* Places before this one belong to queue_plan_first(). */
#define ORDER_ORDINARY ((uint64_t)1 << 32)

void queue_done(struct queue *q)
{
        struct occurrence *o;

        for (size_t i = 0; i < q->n; i++) {
                free(q->heap[i]->data);
                free(q->heap[i]);
        }
        free(q->heap);
        while ((o = q->free_list)) {
                q->free_list = o->next_free;
                free(o);
        }
        *q = (struct queue){ 0 };
}

struct occurrence *queue_new(struct queue *q)
{
        struct occurrence *o = q->free_list;

        if (!o)
                return must_alloc(1, sizeof(*o));
        q->free_list = o->next_free;
        *o = (struct occurrence){ 0 };
        return o;
}

static bool comes_before(const struct occurrence *a, const struct occurrence *b)
{
        return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void insert(struct queue *q, struct occurrence *o, usec_t at)
{
        size_t i = q->n;

        o->at = at;
        o->planned = true;
        MUST_GROW(q->heap, q->n, q->n_max);
        q->n++;
        while (i > 0 && comes_before(o, q->heap[(i - 1) / 2])) {
                q->heap[i] = q->heap[(i - 1) / 2];
                i = (i - 1) / 2;
        }
        q->heap[i] = o;
}

void queue_plan(struct queue *q, struct occurrence *o, usec_t at)
{
        o->order = ORDER_ORDINARY + ++q->orders;
        insert(q, o, at);
}

void queue_plan_again(struct queue *q, struct occurrence *o, usec_t at)
{
        insert(q, o, at);
}

void queue_plan_first(struct queue *q, struct occurrence *o, usec_t at)
{
        o->order = ++q->orders;
        insert(q, o, at);
}

static void sift_down(struct queue *q, struct occurrence *o)
{
        size_t i = 0, child;

        while ((child = 2 * i + 1) < q->n) {
                if (child + 1 < q->n && comes_before(q->heap[child + 1], q->heap[child]))
                        child++;
                if (!comes_before(q->heap[child], o))
                        break;
                q->heap[i] = q->heap[child];
                i = child;
        }
        q->heap[i] = o;
}

struct occurrence *queue_take(struct queue *q)
{
        struct occurrence *o;

        if (q->n == 0)
                return NULL;
        o = q->heap[0];
        q->n--;
        if (q->n > 0)
                sift_down(q, q->heap[q->n]);
        o->planned = false;
        return o;
}

void queue_release(struct queue *q, struct occurrence *o)
{
        free(o->data);
        o->next_free = q->free_list;
        q->free_list = o;
}
