/* The HTTP interface of the engine: which path goes where, and requests that wait for the core. */
#include "daemon/api.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/api-etcd.h"
#include "daemon/api-members.h"
#include "daemon/api-private.h"
#include "daemon/clock.h"

/* Answers. */

void api_reply_json(struct http_request *r, int status, json_t *body)
{
        char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

        json_decref(body);
        if (text)
                http_reply(r, status, "application/json", text, strlen(text));
        else
                http_reply(r, HTTP_SERVUNAVAIL, "application/json", "{\"error\":\"out of memory\"}",
                           25);
        free(text);
}

void api_reply_error(struct http_request *r, int status, const char *format, ...)
{
        char text[512];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        api_reply_json(r, status, json_pack("{s:o}", "error", api_json_string(text)));
}

void api_reply_text(struct http_request *r, int status, const char *text)
{
        http_reply(r, status, "text/plain; charset=utf-8", text, strlen(text));
}

void api_reply_not_allowed(struct http_request *r, const char *allowed)
{
        http_header(r, "Allow", allowed);
        api_reply_text(r, HTTP_BADMETHOD, "Method Not Allowed\n");
}

void api_reply_outcome(struct http_request *r, const struct node_effect *answer)
{
        switch (answer->outcome) {
        case NODE_REFUSED:
                api_reply_json(r, 409,
                               json_pack("{s:o, s:b}", "error", api_json_string(answer->text),
                                         "refused", 1));
                return;
        case NODE_NO_QUORUM:
                api_reply_error(r, HTTP_SERVUNAVAIL, "unknown: no quorum");
                return;
        case NODE_OVERLOADED:
                api_reply_error(r, HTTP_SERVUNAVAIL, "too many requests wait for an answer");
                return;
        case NODE_FULL:
                api_reply_error(r, HTTP_SERVUNAVAIL, "%s", answer->text);
                return;
        case NODE_OK:
                break;
        }
        api_reply_error(r, HTTP_INTERNAL, "no answer");
}

/* Pieces of answers. */

json_t *api_json_string(const char *s)
{
        json_t *string = s ? json_string(s) : json_null();

        return string ? string : json_string("(not UTF-8)");
}

json_t *api_json_u64(uint64_t n)
{
        return json_integer((json_int_t)(n > INT64_MAX ? INT64_MAX : n));
}

json_t *api_json_msec(usec_t length)
{
        return api_json_u64(length / USEC_PER_MSEC);
}

json_t *api_json_lsn(const struct failover_position *p)
{
        char text[32];

        if (p->lsn == 0)
                return json_null();
        (void)snprintf(text, sizeof(text), "%" PRIX64 "/%" PRIX64, p->lsn >> 32,
                       p->lsn & UINT32_MAX);
        return json_string(text);
}

json_t *api_json_address(const struct address *a)
{
        char text[ADDRESS_SIZE];

        address_print(a, text, sizeof(text));
        return json_string(text);
}

const char *api_member_name(const struct api *a, node_id id)
{
        const struct conf_member *m = id == NODE_NOBODY ? NULL : conf_member_by_id(a->conf, id);

        return m ? m->name : NULL;
}

bool api_find_service(const struct api *a, const char *name, struct api_target *ret)
{
        for (size_t i = 0; i < a->conf->n_services; i++) {
                if (name && strcmp(a->conf->services[i]->name, name) != 0)
                        continue;
                *ret = (struct api_target){ .service = i, .conf = a->conf->services[i] };
                return true;
        }
        return false;
}

bool api_lag(const struct node_service_view *v, node_id node, uint64_t *ret)
{
        const struct failover_report *master = &v->reports[v->holder];
        const struct failover_report *own = &v->reports[node];

        if (v->holder == NODE_NOBODY || !master->known || !own->known ||
            master->position.lsn == 0 || own->position.lsn == 0 ||
            master->position.system_id != own->position.system_id)
                return false;
        *ret = own->position.lsn < master->position.lsn ? master->position.lsn - own->position.lsn
                                                        : 0;
        return true;
}

void api_put_cluster_id(const struct api *a, struct http_request *r)
{
        char id[24];

        (void)snprintf(id, sizeof(id), "%" PRIx64, engine_cluster_id(a->engine));
        http_header(r, "X-Etcd-Cluster-Id", id);
}

/* Calls. */

static void call_free(struct call *c)
{
        if (c->done)
                c->done(c->data);
        free(c);
}

void call_end(struct call *c)
{
        c->is_over = true;
        if (!c->is_starting)
                call_free(c);
}

static void call_gone(struct http_request *r)
{
        struct call *c = r->userdata;
        uint64_t number = c->number;
        struct engine *e = c->api->engine;

        call_end(c);
        engine_forget(e, number);
}

struct call *call_new(struct api *a, struct http_request *r,
                      void (*answered)(struct call *c, const struct node_effect *answer),
                      void *data, void (*done)(void *data))
{
        struct call *c = calloc(1, sizeof(*c));

        if (!c) {
                if (done)
                        done(data);
                api_reply_json(r, HTTP_SERVUNAVAIL, NULL);
                return NULL;
        }
        *c = (struct call){ .api = a,
                            .request = r,
                            .answered = answered,
                            .data = data,
                            .done = done,
                            .is_starting = true };
        http_on_gone(r, call_gone, c, false);
        return c;
}

void call_answered(void *call, const struct node_effect *answer)
{
        struct call *c = call;

        c->answered(c, answer);
}

bool call_started(struct call *c, uint64_t number)
{
        c->is_starting = false;
        c->number = number;
        if (c->is_over) /* the answer came at once */
                call_free(c);
        else if (number == 0)
                return false;
        return true;
}

/* Paths. */

/* A path of which @prefix is the first part: what follows, or NULL. */
static const char *below(const char *path, const char *prefix)
{
        size_t n = strlen(prefix);

        if (strncmp(path, prefix, n) != 0 || (path[n] != '\0' && path[n] != '/'))
                return NULL;
        return path + n;
}

/* Of the service that comes first, or of one that is named: there OPTIONS is an answer like GET. */
static bool is_health_check(const char *path)
{
        return health_check_by_name(path[0] == '/' ? path + 1 : path) ||
               strncmp(path, "/v1/services/", 13) == 0;
}

/* The checks of health of the service that is meant when none is named. */
static bool route_default_health(struct api *a, struct http_request *r)
{
        const struct health_check *check = health_check_by_name(r->path + 1);
        struct api_target t;

        if (!check)
                return false;
        api_health(a, r, check, api_find_service(a, NULL, &t) ? &t : NULL);
        return true;
}

static void route(void *userdata, struct http_request *r)
{
        struct api *a = userdata;
        const char *rest;

        if (r->method == HTTP_OPTIONS && !is_health_check(r->path)) {
                api_reply_text(r, HTTP_OK, "");
                return;
        }
        rest = below(r->path, "/v2/keys");
        if (rest) {
                api_keys(a, r, rest);
                return;
        }
        rest = below(r->path, "/v1/members");
        if (rest) {
                api_members_v1(a, r, rest);
                return;
        }
        rest = below(r->path, "/v1");
        if (rest) {
                api_v1(a, r, rest);
                return;
        }
        rest = below(r->path, "/v2/members");
        if (rest) {
                api_members_route(a, r, rest);
                return;
        }
        if (strcmp(r->path, "/v2/machines") == 0) {
                api_machines(a, r);
                return;
        }
        if (!api_etcd(a, r) && !route_default_health(a, r))
                api_reply_text(r, HTTP_NOTFOUND, "404 page not found\n");
}

/* Start and end. */

/* Whether who listens at @a is reached by 127.0.0.1 already. */
static bool covers_loopback(const struct address *a)
{
        return a->family == AF_INET &&
               (a->v4.s_addr == htonl(INADDR_LOOPBACK) || a->v4.s_addr == htonl(INADDR_ANY));
}

int api_new(struct engine *e, struct api **ret)
{
        const struct conf *conf = engine_conf(e);
        const struct conf_member *self = conf_member_by_id(conf, conf->self);
        struct endpoint at[HTTP_LISTENERS_MAX] = {
                { .address = conf->node.address, .port = self->api_port },
                { .address = { .family = AF_INET, .v4 = { htonl(INADDR_LOOPBACK) } },
                  .port = self->api_port },
        };
        struct api *a = calloc(1, sizeof(*a));
        int r;

        if (!a)
                return -ENOMEM;
        a->engine = e;
        a->conf = conf;
        a->stats.started = clock_wall();
        r = http_new(engine_base(e), at, covers_loopback(&at[0].address) ? 1 : 2, route, a,
                     &a->http);
        if (r < 0) {
                free(a);
                return r;
        }
        api_members_changed(a);
        *ret = a;
        return 0;
}

void api_free(struct api *a)
{
        if (!a)
                return;
        http_free(a->http); /* whoever waits is told that the client has gone */
        buffer_done(&a->body);
        free(a);
}

void api_woken(struct api *a, const uint64_t *watchers, size_t n)
{
        if (a)
                api_keys_woken(a, watchers, n);
}

/* Raft's role, term or leader may have changed. */
static void note_leader(struct api *a)
{
        node_id leader = raft_leader(node_raft(engine_node(a->engine)));

        if (leader == a->leader)
                return;
        a->leader = leader;
        a->stats.leader_since = clock_wall();
}

static void note_step(struct api *a, const struct node_note *note)
{
        struct api_step *s;

        if (note->service >= SERVICES_MAX ||
            (note->step != FAILOVER_STEP_BOOTSTRAP && note->step != FAILOVER_STEP_CLONE))
                return;
        s = &a->steps[note->service];
        *s = (struct api_step){
                .n_ended = s->n_ended + 1, .step = note->step, .ok = note->ok, .took = note->took
        };
        (void)snprintf(s->text, sizeof(s->text), "%s", note->text);
}

void api_noted(struct api *a, const struct node_note *note)
{
        if (!a)
                return;
        if (note->type == NODE_NOTE_ROLE)
                note_leader(a);
        else if (note->type == NODE_NOTE_MEMBERS)
                api_members_changed(a);
        else if (note->type == NODE_NOTE_STEP_ENDED)
                note_step(a, note);
}
