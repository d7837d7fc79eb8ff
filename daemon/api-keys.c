/* /v2/keys: etcd's v2 API for the store; reads, writes and simple waits. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "daemon/api-keys.h"
#include "daemon/api-private.h"
#include "daemon/clock.h"
#include "election/base/memory.h"

#define KEYS_METHODS "HEAD,GET,PUT,POST,DELETE"
#define JSON_TYPE "application/json"
#define CAUSE_TIMEOUT "etcdserver: request timed out"
#define CAUSE_OVERLOADED "etcdserver: too many requests"

enum {
        INVALID_FIELD = 209,
        INVALID_FORM = 210,
        RAFT_INTERNAL = 300,
        CAUSE_SIZE = 128,
};

/* A read that waits for the majority. */
struct reading {
        struct keys_listing listing;
        char path[];
};

/* A client that waits for a change, or for one after the other. */
struct watching {
        uint64_t watcher; /* the key of the table */
        struct api *api;
        struct http_request *request;
        bool stream;
        UT_hash_handle hh;
};

static struct keys_clock clock_of(void)
{
        return (struct keys_clock){ .now = clock_now(), .wall = clock_wall() };
}

static struct store *store_of(struct api *a)
{
        return node_store(engine_node(a->engine));
}

/* The buffer for the next body; each is sent before the next one is made. */
static struct buffer *new_body(struct api *a)
{
        buffer_clear(&a->body);
        if (a->body.n_max > API_BODY_KEEP_MAX)
                buffer_done(&a->body);
        return &a->body;
}

/* Answers. */

static void put_headers(struct api *a, struct http_request *r, uint64_t index)
{
        const struct raft *raft = node_raft(engine_node(a->engine));

        api_put_cluster_id(a, r);
        http_header_u64(r, "X-Etcd-Index", index);
        http_header_u64(r, "X-Raft-Index", raft_index_committed(raft));
        http_header_u64(r, "X-Raft-Term", raft_term(raft));
}

static void reply_error(struct api *a, struct http_request *r, const struct keys_error *e)
{
        struct buffer *b = new_body(a);

        keys_put_error(b, e);
        api_put_cluster_id(a, r);
        http_header_u64(r, "X-Etcd-Index", e->index);
        http_reply(r, keys_error_status(e->code), JSON_TYPE, b->bytes, b->n);
}

static void reply_cause(struct api *a, struct http_request *r, unsigned code, uint64_t index,
                        const char *cause)
{
        const struct keys_error e = {
                .code = code, .cause = cause, .n_cause = strlen(cause), .index = index
        };

        reply_error(a, r, &e);
}

/* What is too large, or the like, is the client's fault; everything else is ours. */
static void reply_no_answer(struct api *a, struct http_request *r, const struct node_effect *answer)
{
        switch (answer->outcome) {
        case NODE_REFUSED:
                reply_cause(a, r, INVALID_FORM, 0, answer->text ? answer->text : "refused");
                return;
        case NODE_OVERLOADED:
                reply_cause(a, r, RAFT_INTERNAL, 0, CAUSE_OVERLOADED);
                return;
        case NODE_FULL:
                reply_cause(a, r, RAFT_INTERNAL, 0, answer->text);
                return;
        case NODE_NO_QUORUM:
                if (raft_leader(node_raft(engine_node(a->engine))) == NODE_NOBODY && answer->text) {
                        reply_cause(a, r, RAFT_INTERNAL, 0, answer->text);
                        return;
                }
                break;
        case NODE_OK:
                break;
        }
        reply_cause(a, r, RAFT_INTERNAL, 0, CAUSE_TIMEOUT);
}

static void reply_event(struct api *a, struct http_request *r, const struct store_event *e,
                        bool no_value)
{
        const struct keys_clock clock = clock_of();
        struct buffer *b = new_body(a);

        keys_put_event(b, e, no_value, &clock);
        put_headers(a, r, e->index);
        http_reply(r, keys_event_status(e), JSON_TYPE, b->bytes, b->n);
}

/* Reads. */

static void read_now(struct api *a, struct http_request *r, const char *path,
                     const struct keys_listing *listing)
{
        const struct keys_clock clock = clock_of();
        const struct store_node *node;
        const struct store *s = store_of(a);
        enum store_error error = store_get(s, path, &node);
        char cause[STORE_KEY_BYTES_MAX + 1];
        struct buffer *b = new_body(a);

        a->stats.gets[error == STORE_OK]++;
        if (error != STORE_OK) {
                (void)store_get_cause(s, path, cause, sizeof(cause));
                reply_cause(a, r, error, store_index(s), cause);
                return;
        }
        keys_put_node(b, node, listing, &clock);
        put_headers(a, r, store_index(s));
        http_reply(r, HTTP_OK, JSON_TYPE, b->bytes, b->n);
}

static void on_read_confirmed(struct call *c, const struct node_effect *answer)
{
        const struct reading *reading = c->data;

        if (answer->outcome == NODE_OK)
                read_now(c->api, c->request, reading->path, &reading->listing);
        else
                reply_no_answer(c->api, c->request, answer);
        call_end(c);
}

/* Writes. */

static void reply_refused(struct call *c, const struct store_result *result)
{
        const struct keys_error e = { .code = result->error,
                                      .cause = result->cause,
                                      .n_cause = result->n_cause,
                                      .index = result->index };

        reply_error(c->api, c->request, &e);
}

static void on_written(struct call *c, const struct node_effect *answer)
{
        const struct store_result *result = answer->result;

        if (answer->outcome != NODE_OK || !result)
                reply_no_answer(c->api, c->request, answer);
        else if (result->error == (enum store_error)RAFT_INTERNAL)
                reply_cause(c->api, c->request, RAFT_INTERNAL, 0, CAUSE_TIMEOUT);
        else if (result->error != STORE_OK)
                reply_refused(c, result);
        else
                reply_event(c->api, c->request, result->event, c->no_value);
        call_end(c);
}

/* Waits. */

static void forget_watch(struct watching *w)
{
        HASH_DEL(w->api->watching, w);
        free(w);
}

static void watch_gone(struct http_request *r)
{
        struct watching *w = r->userdata;

        store_watch_remove(store_of(w->api), w->watcher);
        forget_watch(w);
}

/* An event as it was when it happened: times are shown as they were then. */
static void put_event(struct buffer *b, const struct store_event *e)
{
        struct keys_clock clock = clock_of();

        if (e->node.has_ttl) {
                clock.wall -= clock.now.usec - e->node.renewed.usec;
                clock.now = e->node.renewed;
        }
        keys_put_event(b, e, false, &clock);
}

static struct watching *keep_watching(struct api *a, struct http_request *r, uint64_t watcher,
                                      bool stream)
{
        struct watching *w = must_alloc(1, sizeof(*w));

        *w = (struct watching){ .watcher = watcher, .api = a, .request = r, .stream = stream };
        HASH_ADD(hh, a->watching, watcher, sizeof(w->watcher), w);
        http_on_gone(r, watch_gone, w, true);
        put_headers(a, r, store_index(store_of(a)));
        http_stream_begin(r, JSON_TYPE);
        return w;
}

static void refuse_watch(struct api *a, struct http_request *r, uint64_t since,
                         enum store_error error)
{
        const struct store *s = store_of(a);
        char cause[CAUSE_SIZE];

        if (error == STORE_INDEX_CLEARED)
                (void)snprintf(cause, sizeof(cause),
                               "the requested history has been cleared [%" PRIu64 "/%" PRIu64 "]",
                               store_history_oldest(s), since);
        else
                (void)snprintf(cause, sizeof(cause), "%d clients wait for changes already",
                               (int)STORE_WATCHERS_MAX);
        reply_cause(a, r, error, store_index(s), cause);
}

/*
 * Sends all that waits for a stream. It ends when its reader has fallen behind, or wants what is no
 * longer kept.
 */
static void stream_events(struct watching *w)
{
        struct store *s = store_of(w->api);
        const struct store_event *e;

        while ((e = store_watch_take(s, w->watcher))) {
                struct buffer *b = new_body(w->api);

                put_event(b, e);
                http_stream_send(w->request, b->bytes, b->n);
        }
        if (!store_watch_is_over(s, w->watcher))
                return;
        store_watch_remove(s, w->watcher);
        http_stream_end(w->request, JSON_TYPE, NULL, 0);
        forget_watch(w);
}

static void watch_stream(struct api *a, struct http_request *r, const char *path,
                         const struct keys_request *request)
{
        uint64_t watcher;
        enum store_error error = store_watch_stream(store_of(a), path, request->listing.recursive,
                                                    request->wait_index, &watcher);

        if (error != STORE_OK)
                refuse_watch(a, r, request->wait_index, error);
        else
                stream_events(keep_watching(a, r, watcher, true));
}

static void watch(struct api *a, struct http_request *r, const char *path,
                  const struct keys_request *request)
{
        const struct store_event *e = NULL;
        struct buffer *b = new_body(a);
        uint64_t watcher = 0;
        enum store_error error = store_watch_add(store_of(a), path, request->listing.recursive,
                                                 request->wait_index, &e, &watcher);

        if (error != STORE_OK) {
                refuse_watch(a, r, request->wait_index, error);
        } else if (!e) {
                (void)keep_watching(a, r, watcher, false);
        } else {
                put_headers(a, r, store_index(store_of(a)));
                put_event(b, e);
                http_stream_end(r, JSON_TYPE, b->bytes, b->n);
        }
}

/* What a watcher that waited for one event has got; NULL if its event was lost. */
static void end_watch(struct watching *w, const struct buffer *body)
{
        if (!body)
                store_watch_remove(store_of(w->api), w->watcher);
        http_stream_end(w->request, JSON_TYPE, body ? body->bytes : NULL, body ? body->n : 0);
        forget_watch(w);
}

/* Many may wait for one event: its JSON is made once. */
void api_keys_woken(struct api *a, const uint64_t *watchers, size_t n)
{
        const struct store_event *e, *last = NULL;
        struct store *s = store_of(a);
        _cleanup_(buffer_done)
        struct buffer b = { 0 };

        for (size_t i = 0; i < n; i++) {
                struct watching *w;

                HASH_FIND(hh, a->watching, &watchers[i], sizeof(watchers[i]), w);
                if (!w)
                        continue;
                if (w->stream) {
                        stream_events(w);
                        continue;
                }
                e = store_watch_take(s, w->watcher);
                if (e && e != last) {
                        buffer_clear(&b);
                        put_event(&b, e);
                        last = e;
                }
                if (e || store_watch_is_over(s, w->watcher))
                        end_watch(w, e ? &b : NULL);
        }
}

/* Requests. */

static void begin_write(struct api *a, struct http_request *r, const struct keys_request *request)
{
        struct call *c = call_new(a, r, on_written, NULL, NULL);

        if (!c)
                return;
        c->no_value = request->no_value;
        if (!call_started(c, engine_write(a->engine, &request->command, call_answered, c)))
                on_written(c, &(struct node_effect){ .outcome = NODE_OVERLOADED });
}

static void begin_quorum_read(struct api *a, struct http_request *r, const char *path,
                              const struct keys_request *request)
{
        size_t n_path = strlen(path);
        struct reading *reading = must_alloc(1, sizeof(*reading) + n_path + 1);
        struct call *c;

        reading->listing = request->listing;
        memcpy(reading->path, path, n_path + 1);
        c = call_new(a, r, on_read_confirmed, reading, free);
        if (c && !call_started(c, engine_read(a->engine, call_answered, c)))
                on_read_confirmed(c, &(struct node_effect){ .outcome = NODE_OVERLOADED });
}

static void serve(struct api *a, struct http_request *r, enum keys_method method, const char *path,
                  struct keys_request *request)
{
        if (method != KEYS_GET && method != KEYS_HEAD) {
                request->command.path = path;
                begin_write(a, r, request);
        } else if (request->quorum) {
                begin_quorum_read(a, r, path, request);
        } else if (request->wait) {
                if (request->stream)
                        watch_stream(a, r, path, request);
                else
                        watch(a, r, path, request);
        } else {
                read_now(a, r, path, &request->listing);
        }
}

static bool method_of(const struct http_request *r, enum keys_method *ret)
{
        switch (r->method) {
        case HTTP_GET:
                *ret = KEYS_GET;
                return true;
        case HTTP_HEAD:
                *ret = KEYS_HEAD;
                return true;
        case HTTP_PUT:
                *ret = KEYS_PUT;
                return true;
        case HTTP_POST:
                *ret = KEYS_POST;
                return true;
        case HTTP_DELETE:
                *ret = KEYS_DELETE;
                return true;
        case HTTP_OPTIONS:
        case HTTP_OTHER:
                break;
        }
        return false;
}

/* Answers the request and returns false if it cannot be understood. */
static bool understand(struct api *a, struct http_request *r, enum keys_method method,
                       struct form *form, struct keys_request *ret)
{
        char form_cause[FORM_CAUSE_SIZE], cause[KEYS_CAUSE_SIZE];
        struct keys_error error;

        if (r->is_form_malformed) {
                reply_cause(a, r, INVALID_FORM, 0, "mime: no media type");
                return false;
        }
        if (form_parse(r->form, r->n_form, r->query, form, form_cause) < 0) {
                reply_cause(a, r, INVALID_FORM, 0, form_cause);
                return false;
        }
        if (!keys_parse(method, form, ret, &error, cause)) {
                reply_error(a, r, &error);
                return false;
        }
        return true;
}

void api_keys(struct api *a, struct http_request *r, const char *path)
{
        char clean[STORE_KEY_BYTES_MAX + 1];
        struct keys_request request;
        enum keys_method method;
        struct form form;

        if (!method_of(r, &method)) {
                api_reply_not_allowed(r, KEYS_METHODS);
                return;
        }
        if (!understand(a, r, method, &form, &request))
                return;
        if (keys_clean_path(path, clean, sizeof(clean)) < 0)
                reply_cause(a, r, INVALID_FIELD, 0,
                            "the key is too long or too deep, or leads above the root");
        else
                serve(a, r, method, clean, &request);
}
