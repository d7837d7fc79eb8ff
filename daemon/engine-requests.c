/* Requests of the API to the core, and who waits for which answer. */
#include <stdlib.h>
#include <uthash.h>

#include "daemon/engine-internal.h"

/* Somebody who waits for an answer of the core. */
struct waiter {
        uint64_t request;
        engine_answer *answer;
        void *userdata;
        UT_hash_handle hh;
};

void engine_answered(struct engine *e, const struct node_effect *effect)
{
        struct waiter *w;

        HASH_FIND(hh, e->waiters, &effect->request, sizeof(effect->request), w);
        if (!w)
                return;
        HASH_DEL(e->waiters, w);
        w->answer(w->userdata, effect);
        free(w);
}

void engine_requests_done(struct engine *e)
{
        struct waiter *w, *next;

        HASH_ITER(hh, e->waiters, w, next) {
                HASH_DEL(e->waiters, w);
                free(w);
        }
}

static struct waiter *wait_for(struct engine *e, engine_answer *answer_cb, void *userdata)
{
        struct waiter *w;

        if (HASH_COUNT(e->waiters) >= ENGINE_REQUESTS_MAX)
                return NULL;
        w = calloc(1, sizeof(*w));
        if (!w)
                return NULL;
        w->request = ++e->n_requests;
        w->answer = answer_cb;
        w->userdata = userdata;
        HASH_ADD(hh, e->waiters, request, sizeof(w->request), w);
        return w;
}

uint64_t engine_write(struct engine *e, const struct store_key_command *key,
                      engine_answer *answer_cb, void *userdata)
{
        struct waiter *w = wait_for(e, answer_cb, userdata);
        uint64_t request = w ? w->request : 0;

        if (w)
                engine_feed(e, &(struct node_event){
                                       .type = NODE_WRITE, .request = request, .key = key });
        return request;
}

uint64_t engine_read(struct engine *e, engine_answer *answer_cb, void *userdata)
{
        struct waiter *w = wait_for(e, answer_cb, userdata);
        uint64_t request = w ? w->request : 0;

        if (w)
                engine_feed(e, &(struct node_event){ .type = NODE_READ, .request = request });
        return request;
}

uint64_t engine_change(struct engine *e, const struct node_change *change, engine_answer *answer_cb,
                       void *userdata)
{
        struct waiter *w = wait_for(e, answer_cb, userdata);
        uint64_t request = w ? w->request : 0;

        if (w)
                engine_feed(e, &(struct node_event){
                                       .type = NODE_CHANGE, .request = request, .change = change });
        return request;
}

uint64_t engine_order(struct engine *e, const struct engine_order *order, engine_answer *answer_cb,
                      void *userdata)
{
        struct waiter *w = wait_for(e, answer_cb, userdata);
        uint64_t request = w ? w->request : 0;

        if (w)
                engine_feed(e, &(struct node_event){ .type = NODE_ORDER,
                                                     .request = request,
                                                     .order = order->order,
                                                     .service = order->service,
                                                     .target = order->target,
                                                     .bootstrap = order->bootstrap });
        return request;
}

void engine_forget(struct engine *e, uint64_t request)
{
        struct waiter *w;

        HASH_FIND(hh, e->waiters, &request, sizeof(request), w);
        if (!w)
                return;
        HASH_DEL(e->waiters, w);
        free(w);
        engine_feed(e, &(struct node_event){ .type = NODE_FORGET, .request = request });
}

const struct conf *engine_conf(const struct engine *e)
{
        return e->conf;
}

struct event_base *engine_base(const struct engine *e)
{
        return e->base;
}

struct node *engine_node(const struct engine *e)
{
        return e->node;
}

uint64_t engine_incarnation(const struct engine *e)
{
        return e->incarnation;
}

uint64_t engine_cluster_id(const struct engine *e)
{
        return e->cluster_id;
}

bool engine_is_connected(const struct engine *e, node_id id)
{
        struct peers_status status;

        if (id == e->conf->self)
                return true;
        return e->peers && peers_status(e->peers, id, &status) && status.is_up;
}
