/* /v1: who is master, what happened to a service and why, and the operator's orders. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/api-private.h"
#include "daemon/clock.h"
#include "election/base/memory.h"

#define HISTORY_DIRECTORY STORE_SYSTEM_DIRECTORY "/history/"
#define RESULT_DIRECTORY STORE_SYSTEM_DIRECTORY "/result/"

enum { PATH_SIZE = 128 };

/* The name of a service, or false after an answer of 404. */
static bool find_or_reply(struct api *a, struct http_request *r, const char *name,
                          struct api_target *ret)
{
        if (api_find_service(a, name, ret))
                return true;
        api_reply_error(r, HTTP_NOTFOUND, "there is no service \"%s\"", name ? name : "");
        return false;
}

/* Who is master. */

static json_t *master_json(struct api *a, const struct api_target *t, const struct store_lease *l)
{
        const struct conf_member *m = conf_member_by_id(a->conf, l->holder);
        struct node_service_view v;
        json_t *vips = json_array();

        node_service_view(engine_node(a->engine), t->service, clock_now(), &v);
        for (size_t i = 0; i < t->conf->n_vips; i++)
                (void)json_array_append_new(vips, api_json_address(&t->conf->vips[i]->address));
        return json_pack(
                "{s:s, s:s, s:o, s:o, s:s, s:o}", "service", t->conf->name, "master", m->name,
                "address", api_json_address(&m->address), "epoch", api_json_u64(l->epoch), "state",
                v.reports[l->holder].known ? failover_state_name(v.reports[l->holder].state)
                                           : "unknown",
                "vips", vips);
}

/*
 * The lease that is held when a majority confirms the read. A lease that is closing is given up:
 * its holder stops, or has died, and nobody should be sent there.
 */
static void on_master_confirmed(struct call *c, const struct node_effect *answer)
{
        struct api *a = c->api;
        const struct store_lease *l;

        if (answer->outcome != NODE_OK) {
                api_reply_outcome(c->request, answer);
                call_end(c);
                return;
        }
        l = store_lease(node_store(engine_node(a->engine)), c->target.conf->name);
        if (l && l->state == STORE_LEASE_HELD && conf_member_by_id(a->conf, l->holder))
                api_reply_json(c->request, HTTP_OK, master_json(a, &c->target, l));
        else
                api_reply_json(c->request, HTTP_OK,
                               json_pack("{s:s, s:n, s:n, s:o}", "service", c->target.conf->name,
                                         "master", "address", "epoch",
                                         api_json_u64(l ? l->epoch : 0)));
        call_end(c);
}

static void ask_majority(struct api *a, struct http_request *r, const struct api_target *t)
{
        struct call *c = call_new(a, r, on_master_confirmed, NULL, NULL);

        if (!c)
                return;
        c->target = *t;
        if (!call_started(c, engine_read(a->engine, call_answered, c)))
                on_master_confirmed(c, &(struct node_effect){ .outcome = NODE_OVERLOADED });
}

static void who_is_master(struct api *a, struct http_request *r, const struct form *form)
{
        const char *name = form_value(form, "service");
        struct api_target t;

        if (!name && a->conf->n_services != 1)
                api_reply_error(r, HTTP_BADREQUEST, "which service? there are %zu",
                                a->conf->n_services);
        else if (find_or_reply(a, r, name, &t))
                ask_majority(a, r, &t);
}

static void status(struct api *a, struct http_request *r, const struct form *form)
{
        (void)form;
        api_status(a, r);
}

/* What happened. */

static json_t *time_json(uint64_t wall)
{
        time_t seconds = (time_t)(wall / USEC_PER_SEC);
        char date[40], text[64];
        struct tm tm;

        if (!gmtime_r(&seconds, &tm))
                return json_null();
        (void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
        (void)snprintf(text, sizeof(text), "%s.%03uZ", date,
                       (unsigned)(wall % USEC_PER_SEC / USEC_PER_MSEC));
        return json_string(text);
}

/* "EPOCH NODE WALL_USEC TOOK_USEC TEXT", as the node writes it; NULL if it is something else. */
static json_t *change_json(const char *value)
{
        uint64_t epoch, wall, took;
        char node[NAME_SIZE];
        int n = 0;

        if (!value || sscanf(value, "%" SCNu64 " %63s %" SCNu64 " %" SCNu64 " %n", &epoch, node,
                             &wall, &took, &n) != 4)
                return NULL;
        return json_pack("{s:o, s:o, s:o, s:o, s:o}", "epoch", api_json_u64(epoch), "node",
                         api_json_string(node), "at", time_json(wall), "took_ms",
                         api_json_msec(took), "text", api_json_string(value + n));
}

static int compare_created(const void *a, const void *b)
{
        const struct store_view *x = a, *y = b;

        return (x->created > y->created) - (x->created < y->created);
}

static json_t *changes_json(const struct store_node *directory)
{
        struct store_view *views = NULL;
        size_t n = 0, n_max = 0;
        json_t *list = json_array();

        for (const struct store_node *c = store_node_first(directory); c; c = store_node_next(c)) {
                MUST_GROW(views, n, n_max);
                views[n++] = store_node_view(c);
        }
        if (n > 0)
                qsort(views, n, sizeof(*views), compare_created);
        for (size_t i = 0; i < n; i++) {
                json_t *change = change_json(views[i].value);

                if (change)
                        (void)json_array_append_new(list, change);
        }
        free(views);
        return list;
}

void api_history(struct api *a, struct http_request *r, const struct api_target *t)
{
        const struct store_node *node;
        char path[PATH_SIZE];
        bool exists;

        (void)snprintf(path, sizeof(path), "%s%s", HISTORY_DIRECTORY, t->conf->name);
        exists = store_get(node_store(engine_node(a->engine)), path, &node) == STORE_OK;
        api_reply_json(r, HTTP_OK,
                       json_pack("{s:s, s:o}", "service", t->conf->name, "history",
                                 exists ? changes_json(node) : json_array()));
}

static void why_not(struct api *a, struct http_request *r, const struct api_target *t)
{
        api_reply_json(r, HTTP_OK, api_why_not(a, t));
}

/* How the last order ended: "EPOCH ok|failed TEXT". */
static void result(struct api *a, struct http_request *r, const struct api_target *t)
{
        const struct store_node *node;
        const char *value = NULL;
        char path[PATH_SIZE], outcome[16];
        uint64_t epoch;
        int n = 0;

        (void)snprintf(path, sizeof(path), "%s%s", RESULT_DIRECTORY, t->conf->name);
        if (store_get(node_store(engine_node(a->engine)), path, &node) == STORE_OK)
                value = store_node_view(node).value;
        if (!value || sscanf(value, "%" SCNu64 " %15s %n", &epoch, outcome, &n) != 2) {
                api_reply_json(r, HTTP_OK,
                               json_pack("{s:s, s:n}", "service", t->conf->name, "result"));
                return;
        }
        api_reply_json(r, HTTP_OK,
                       json_pack("{s:s, s:{s:o, s:o, s:b, s:o}}", "service", t->conf->name,
                                 "result", "index", api_json_u64(store_node_view(node).modified),
                                 "epoch", api_json_u64(epoch), "ok", strcmp(outcome, "ok") == 0,
                                 "text", api_json_string(value + n)));
}

/* Orders. */

struct order_verb {
        const char *name;
        enum node_order order;
        bool needs_target;
};

/* clang-format off */
static const struct order_verb order_verbs[] = {
        { "switchover", NODE_ORDER_SWITCHOVER, false },
        { "failover",   NODE_ORDER_FAILOVER,   true  },
        { "cancel",     NODE_ORDER_CANCEL,     false },
        { "pause",      NODE_ORDER_PAUSE,      false },
        { "resume",     NODE_ORDER_RESUME,     false },
        { "bootstrap",  NODE_ORDER_BOOTSTRAP,  false },
        { "clone",      NODE_ORDER_CLONE,      false },
};
/* clang-format on */

static void reply_ordered(struct call *c)
{
        struct node_service_view v;

        node_service_view(engine_node(c->api->engine), c->target.service, clock_now(), &v);
        api_reply_json(c->request, 202,
                       json_pack("{s:b, s:o}", "ok", 1, "epoch", api_json_u64(v.epoch)));
}

/* What the store says of an order that is a key: another one stands there, or there is none. */
static void reply_store_error(struct call *c, enum store_error error)
{
        if (error == STORE_NODE_EXIST)
                api_reply_json(c->request, 409,
                               json_pack("{s:s, s:b}", "error",
                                         "another order is being carried out: see status, cancel",
                                         "refused", 1));
        else if (error == STORE_KEY_NOT_FOUND)
                api_reply_json(
                        c->request, HTTP_OK,
                        json_pack("{s:b, s:s}", "ok", 1, "text", "there was nothing to end"));
        else
                api_reply_error(c->request, HTTP_INTERNAL, "%s", store_error_message(error));
}

static void on_ordered(struct call *c, const struct node_effect *answer)
{
        if (answer->outcome != NODE_OK)
                api_reply_outcome(c->request, answer);
        else if (answer->result && answer->result->error != STORE_OK)
                reply_store_error(c, answer->result->error);
        else
                reply_ordered(c);
        call_end(c);
}

static void begin_order(struct api *a, struct http_request *r, const struct api_target *t,
                        const struct engine_order *order)
{
        struct call *c = call_new(a, r, on_ordered, NULL, NULL);

        if (!c)
                return;
        c->target = *t;
        if (!call_started(c, engine_order(a->engine, order, call_answered, c)))
                on_ordered(c, &(struct node_effect){ .outcome = NODE_OVERLOADED });
}

static bool take_target(struct api *a, struct http_request *r, const struct order_verb *verb,
                        const struct api_target *t, const char *to, struct engine_order *order)
{
        if (!to && !verb->needs_target)
                return true;
        if (!to) {
                api_reply_error(r, HTTP_BADREQUEST, "name the new master: ?to=NODE");
                return false;
        }
        order->target = conf_member_id(a->conf, to);
        if (order->target == NODE_NOBODY || !conf_service_has_member(t->conf, order->target)) {
                api_reply_error(r, HTTP_BADREQUEST, "\"%s\" does not take part in service %s", to,
                                t->conf->name);
                return false;
        }
        return true;
}

static bool take_method(struct http_request *r, const char *method, struct engine_order *order)
{
        if (order->order != NODE_ORDER_BOOTSTRAP)
                return true;
        if (method && strcmp(method, "initdb") == 0)
                order->bootstrap = FAILOVER_BOOTSTRAP_INITDB;
        else if (method && strcmp(method, "adopt") == 0)
                order->bootstrap = FAILOVER_BOOTSTRAP_ADOPT;
        else {
                api_reply_error(r, HTTP_BADREQUEST, "say how: ?method=initdb or ?method=adopt");
                return false;
        }
        return true;
}

bool api_may_order(const struct http_request *r)
{
        return r->is_local && !r->is_from_page;
}

static void take_order(struct api *a, struct http_request *r, const struct order_verb *verb,
                       const struct api_target *t, const struct form *form)
{
        struct engine_order order = { .order = verb->order, .service = t->service };

        if (r->method != HTTP_POST)
                api_reply_not_allowed(r, "POST");
        else if (!api_may_order(r))
                api_reply_error(r, 403, "%s", API_ORDERS_ARE_LOCAL);
        else if (take_target(a, r, verb, t, form_value(form, "to"), &order) &&
                 take_method(r, form_value(form, "method"), &order))
                begin_order(a, r, t, &order);
}

/* Paths. */

static const struct {
        const char *path;
        void (*handle)(struct api *a, struct http_request *r, const struct form *form);
} routes[] = {
        { "/who-is-master", who_is_master },
        { "/status", status },
};

static const struct {
        const char *name;
        void (*handle)(struct api *a, struct http_request *r, const struct api_target *t);
} readings[] = {
        { "why-not", why_not },
        { "result", result },
};

static bool is_reading(struct http_request *r)
{
        if (r->method == HTTP_GET || r->method == HTTP_HEAD)
                return true;
        api_reply_not_allowed(r, "GET,HEAD");
        return false;
}

static void route_verb(struct api *a, struct http_request *r, const struct api_target *t,
                       const char *verb, const struct form *form)
{
        const struct health_check *check = health_check_by_name(verb);

        if (check) {
                api_health(a, r, check, t);
                return;
        }
        for (size_t i = 0; i < sizeof(readings) / sizeof(readings[0]); i++) {
                if (strcmp(verb, readings[i].name) != 0)
                        continue;
                if (is_reading(r))
                        readings[i].handle(a, r, t);
                return;
        }
        for (size_t i = 0; i < sizeof(order_verbs) / sizeof(order_verbs[0]); i++) {
                if (strcmp(verb, order_verbs[i].name) == 0) {
                        take_order(a, r, &order_verbs[i], t, form);
                        return;
                }
        }
        api_reply_error(r, HTTP_NOTFOUND, "there is no such path");
}

/* @path is "NAME" or "NAME/VERB". */
static void route_service(struct api *a, struct http_request *r, const char *path,
                          const struct form *form)
{
        const char *slash = strchrnul(path, '/');
        struct api_target t;
        char name[NAME_SIZE];

        (void)snprintf(name, sizeof(name), "%.*s",
                       slash - path < NAME_SIZE ? (int)(slash - path) : 0, path);
        if (find_or_reply(a, r, name, &t))
                route_verb(a, r, &t, *slash ? slash + 1 : "", form);
}

static void route(struct api *a, struct http_request *r, const char *path, const struct form *form)
{
        static const char services[] = "/services/";

        if (strncmp(path, services, strlen(services)) == 0) {
                route_service(a, r, path + strlen(services), form);
                return;
        }
        if (strcmp(path, "/backup") == 0) {
                if (r->method != HTTP_POST)
                        api_reply_not_allowed(r, "POST");
                else if (!api_may_order(r))
                        api_reply_error(r, 403, "%s", API_ORDERS_ARE_LOCAL);
                else
                        api_backup(a, r);
                return;
        }
        for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
                if (strcmp(path, routes[i].path) != 0)
                        continue;
                if (is_reading(r))
                        routes[i].handle(a, r, form);
                return;
        }
        api_reply_error(r, HTTP_NOTFOUND, "there is no such path");
}

void api_v1(struct api *a, struct http_request *r, const char *path)
{
        char cause[FORM_CAUSE_SIZE];
        struct form form;

        if (form_parse(r->form, r->n_form, r->query, &form, cause) < 0) {
                api_reply_error(r, HTTP_BADREQUEST, "%s", cause);
                return;
        }
        route(a, r, path, &form);
}
