/* /v2/keys: etcd's v2 API for the store; reads, writes and simple waits. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "daemon/api-keys.h"
#include "daemon/api-private.h"
#include "daemon/clock.h"

#define KEYS_METHODS "HEAD,GET,PUT,POST,DELETE"
#define JSON_TYPE "application/json"
#define CAUSE_TIMEOUT "etcdserver: request timed out"
#define CAUSE_OVERLOADED "etcdserver: too many requests"

enum {
        INVALID_FIELD = 209,
        INVALID_FORM = 210,
        RAFT_INTERNAL = 300,
};

/* A request with the path that it is about. */
struct job {
        struct keys_request request;
        char path[STORE_KEY_BYTES_MAX + 1];
};

/* A client that waits for a change. */
struct watching {
        uint64_t watcher; /* the key of the table */
        struct api *api;
        struct http_request *request;
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

/* Answers. */

static void put_cluster_id(struct api *a, struct http_request *r)
{
        char id[24];

        (void)snprintf(id, sizeof(id), "%" PRIx64, a->conf->cluster_id);
        http_header(r, "X-Etcd-Cluster-Id", id);
}

static void put_headers(struct api *a, struct http_request *r, uint64_t index)
{
        const struct raft *raft = node_raft(engine_node(a->engine));

        put_cluster_id(a, r);
        http_header_u64(r, "X-Etcd-Index", index);
        http_header_u64(r, "X-Raft-Index", raft_index_committed(raft));
        http_header_u64(r, "X-Raft-Term", raft_term(raft));
}

static void reply_error(struct api *a, struct http_request *r, const struct keys_error *e)
{
        _cleanup_(buffer_done)
        struct buffer b = { 0 };

        keys_put_error(&b, e);
        put_cluster_id(a, r);
        http_header_u64(r, "X-Etcd-Index", e->index);
        http_reply(r, keys_error_status(e->code), JSON_TYPE, b.bytes, b.n);
}

static void reply_cause(struct api *a, struct http_request *r, unsigned code, uint64_t index,
                        const char *cause)
{
        const struct keys_error e = {
                .code = code, .cause = cause, .n_cause = strlen(cause), .index = index
        };

        reply_error(a, r, &e);
}

static void reply_no_answer(struct api *a, struct http_request *r, enum node_outcome outcome)
{
        reply_cause(a, r, RAFT_INTERNAL, 0,
                    outcome == NODE_OVERLOADED ? CAUSE_OVERLOADED : CAUSE_TIMEOUT);
}

static void reply_event(struct api *a, struct http_request *r, const struct store_event *e,
                        bool no_value)
{
        const struct keys_clock clock = clock_of();
        _cleanup_(buffer_done)
        struct buffer b = { 0 };

        keys_put_event(&b, e, no_value, &clock);
        put_headers(a, r, e->index);
        http_reply(r, keys_event_status(e), JSON_TYPE, b.bytes, b.n);
}

/* Reads. */

static void read_now(struct api *a, struct http_request *r, const struct job *job)
{
        const struct keys_clock clock = clock_of();
        const struct store_node *node;
        const struct store *s = store_of(a);
        enum store_error error = store_get(s, job->path, &node);
        _cleanup_(buffer_done)
        struct buffer b = { 0 };
        char cause[STORE_KEY_BYTES_MAX + 1];

        if (error != STORE_OK) {
                (void)store_get_cause(s, job->path, cause, sizeof(cause));
                reply_cause(a, r, error, store_index(s), cause);
                return;
        }
        keys_put_node(&b, node, &job->request, &clock);
        put_headers(a, r, store_index(s));
        http_reply(r, HTTP_OK, JSON_TYPE, b.bytes, b.n);
}

static void on_read_confirmed(struct call *c, const struct node_effect *answer)
{
        if (answer->outcome == NODE_OK)
                read_now(c->api, c->request, c->data);
        else
                reply_no_answer(c->api, c->request, answer->outcome);
        call_end(c);
}

/* Writes. */

static void on_written(struct call *c, const struct node_effect *answer)
{
        const struct job *job = c->data;
        const struct store_result *result = answer->result;

        if (answer->outcome != NODE_OK || !result) {
                reply_no_answer(c->api, c->request, answer->outcome);
        } else if (result->error != STORE_OK) {
                const struct keys_error e = { .code = result->error,
                                              .cause = result->cause,
                                              .n_cause = result->n_cause,
                                              .index = result->index };

                reply_error(c->api, c->request, &e);
        } else {
                reply_event(c->api, c->request, result->event, job->request.no_value);
        }
        call_end(c);
}

/* Waits. */

static void watch_gone(struct http_request *r)
{
        struct watching *w = r->userdata;

        store_watch_remove(store_of(w->api), w->watcher);
        HASH_DEL(w->api->watching, w);
        free(w);
}

static void end_watch(struct http_request *r, const struct store_event *e)
{
        /* Times are shown as they were when it happened. */
        struct keys_clock clock = clock_of();
        _cleanup_(buffer_done)
        struct buffer b = { 0 };

        if (e->node.has_ttl) {
                clock.wall -= clock.now.usec - e->node.renewed.usec;
                clock.now = e->node.renewed;
        }
        keys_put_event(&b, e, false, &clock);
        http_stream_end(r, b.bytes, b.n);
}

static void keep_watching(struct api *a, struct http_request *r, uint64_t watcher)
{
        struct watching *w = calloc(1, sizeof(*w));

        if (!w) {
                store_watch_remove(store_of(a), watcher);
                reply_cause(a, r, STORE_WATCHER_CLEARED, 0, "out of memory");
                return;
        }
        *w = (struct watching){ .watcher = watcher, .api = a, .request = r };
        HASH_ADD(hh, a->watching, watcher, sizeof(w->watcher), w);
        http_on_gone(r, watch_gone, w, true);
        put_headers(a, r, store_index(store_of(a)));
        http_stream_begin(r, JSON_TYPE);
}

static void refuse_watch(struct api *a, struct http_request *r, const struct job *job,
                         enum store_error error)
{
        const struct store *s = store_of(a);
        char cause[128] = "";

        if (error == STORE_INDEX_CLEARED)
                (void)snprintf(cause, sizeof(cause),
                               "the requested history has been cleared [%" PRIu64 "/%" PRIu64 "]",
                               store_history_oldest(s), job->request.wait_index);
        reply_cause(a, r, error, store_index(s), cause);
}

static void watch(struct api *a, struct http_request *r, const struct job *job)
{
        const struct store_event *e = NULL;
        uint64_t watcher = 0;
        enum store_error error = store_watch_add(store_of(a), job->path, job->request.recursive,
                                                 job->request.wait_index, &e, &watcher);

        if (error != STORE_OK) {
                refuse_watch(a, r, job, error);
        } else if (!e) {
                keep_watching(a, r, watcher);
        } else {
                put_headers(a, r, store_index(store_of(a)));
                http_stream_begin(r, JSON_TYPE);
                end_watch(r, e);
        }
}

void api_keys_woken(struct api *a, const uint64_t *watchers, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                const struct store_event *e;
                struct watching *w;

                HASH_FIND(hh, a->watching, &watchers[i], sizeof(watchers[i]), w);
                e = w ? store_watch_take(store_of(a), w->watcher) : NULL;
                if (!e)
                        continue;
                end_watch(w->request, e);
                HASH_DEL(a->watching, w);
                free(w);
        }
}

/* Requests. */

static void job_free(void *data)
{
        struct job *job = data;

        form_done(&job->request.form);
        free(job);
}

static void begin_write(struct api *a, struct http_request *r, struct job *job)
{
        struct call *c;

        job->request.command.path = job->path;
        c = call_new(a, r, on_written, job, job_free);
        if (c && !call_started(c, engine_write(a->engine, &job->request.command, call_answered, c)))
                on_written(c, &(struct node_effect){ .outcome = NODE_OVERLOADED });
}

static void begin_quorum_read(struct api *a, struct http_request *r, struct job *job)
{
        struct call *c = call_new(a, r, on_read_confirmed, job, job_free);

        if (c && !call_started(c, engine_read(a->engine, call_answered, c)))
                on_read_confirmed(c, &(struct node_effect){ .outcome = NODE_OVERLOADED });
}

static void serve(struct api *a, struct http_request *r, enum keys_method method, struct job *job)
{
        if (method != KEYS_GET) {
                begin_write(a, r, job);
                return;
        }
        if (job->request.quorum) {
                begin_quorum_read(a, r, job);
                return;
        }
        if (job->request.wait && r->method != EVHTTP_REQ_HEAD)
                watch(a, r, job);
        else
                read_now(a, r, job);
        job_free(job);
}

static bool method_of(const struct http_request *r, enum keys_method *ret)
{
        switch (r->method) {
        case EVHTTP_REQ_GET:
        case EVHTTP_REQ_HEAD:
                *ret = KEYS_GET;
                return true;
        case EVHTTP_REQ_PUT:
                *ret = KEYS_PUT;
                return true;
        case EVHTTP_REQ_POST:
                *ret = KEYS_POST;
                return true;
        case EVHTTP_REQ_DELETE:
                *ret = KEYS_DELETE;
                return true;
        default:
                return false;
        }
}

/* Fills @job; answers the request and returns false if it cannot be understood. */
static bool understand(struct api *a, struct http_request *r, enum keys_method method,
                       const char *path, struct job *job)
{
        char form_cause[FORM_CAUSE_SIZE], cause[KEYS_CAUSE_SIZE];
        struct keys_error error;

        if (r->is_form_malformed) {
                reply_cause(a, r, INVALID_FORM, 0, "mime: no media type");
                return false;
        }
        if (form_parse(r->form, r->n_form, r->query, &job->request.form, form_cause) < 0) {
                reply_cause(a, r, INVALID_FORM, 0, form_cause);
                return false;
        }
        if (!keys_parse(method, &job->request, &error, cause)) {
                reply_error(a, r, &error);
                return false;
        }
        if (store_path_clean(path, job->path, sizeof(job->path)) < 0) {
                reply_cause(a, r, INVALID_FIELD, 0,
                            "the key is too long or too deep, or has a part \".\" or \"..\"");
                return false;
        }
        return true;
}

void api_keys(struct api *a, struct http_request *r, const char *path)
{
        enum keys_method method;
        struct job *job;

        if (r->method == EVHTTP_REQ_OPTIONS) {
                api_reply_text(r, HTTP_OK, "");
                return;
        }
        if (!method_of(r, &method)) {
                api_reply_not_allowed(r, KEYS_METHODS);
                return;
        }
        job = calloc(1, sizeof(*job));
        if (!job) {
                api_reply_json(r, HTTP_SERVUNAVAIL, NULL);
                return;
        }
        if (understand(a, r, method, path, job))
                serve(a, r, method, job);
        else
                job_free(job);
}
