/*
 * /v2/members and /v2/machines: who belongs to the cluster, as etcd tells it, and changes of that.
 * What is asked for is checked here; whether it may be done is decided by the core.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/api-members.h"

#define MEMBERS_METHODS "GET,POST,DELETE,PUT"
#define JSON_TYPE "application/json"

/*
 * FNV-1a of 64 bits (draft-eastlake-fnv, section 2) over the cluster's id and the member's id, little
 * end first, and the member's name. It is never 0.
 */
uint64_t api_member_etcd_id(uint64_t cluster_id, node_id id, const char *name)
{
        uint64_t hash = UINT64_C(0xcbf29ce484222325);
        const uint64_t prime = UINT64_C(0x100000001b3);

        for (unsigned i = 0; i < 8; i++)
                hash = (hash ^ (cluster_id >> (8 * i) & 0xFF)) * prime;
        hash = (hash ^ id) * prime;
        for (; *name; name++)
                hash = (hash ^ (unsigned char)*name) * prime;
        return hash ? hash : 1;
}

static int compare_ids(const void *a, const void *b)
{
        const struct api_member *x = a, *y = b;

        return (x->etcd_id > y->etcd_id) - (x->etcd_id < y->etcd_id);
}

size_t api_members(const struct api *a, struct api_member ret[static MEMBERS_MAX])
{
        size_t n = 0;

        for (size_t i = 0; i < a->conf->cluster.n_members && n < MEMBERS_MAX; i++) {
                const struct conf_member *m = a->conf->cluster.members[i];

                ret[n++] = (struct api_member){
                        .etcd_id = api_member_etcd_id(a->conf->cluster_id, m->id, m->name),
                        .id = m->id,
                        .name = m->name,
                        .has_started = true,
                        .peer = { m->address, m->raft_port },
                        .api = { m->address, m->api_port },
                };
        }
        qsort(ret, n, sizeof(*ret), compare_ids);
        return n;
}

/* JSON. */

void api_member_id_print(uint64_t etcd_id, char ret[static API_MEMBER_ID_SIZE])
{
        (void)snprintf(ret, API_MEMBER_ID_SIZE, "%" PRIx64, etcd_id);
}

static void print_url(const struct endpoint *e, char ret[static API_URL_SIZE])
{
        char text[ADDRESS_SIZE];

        endpoint_print(e, text, sizeof(text));
        (void)snprintf(ret, API_URL_SIZE, "http://%s", text);
}

static json_t *member_json(const struct api_member *m)
{
        char id[API_MEMBER_ID_SIZE], peer[API_URL_SIZE], client[API_URL_SIZE];
        json_t *clients = json_array();

        api_member_id_print(m->etcd_id, id);
        print_url(&m->peer, peer);
        print_url(&m->api, client);
        if (m->has_started)
                (void)json_array_append_new(clients, json_string(client));
        return json_pack("{s:s, s:s, s:[s], s:o}", "id", id, "name", m->has_started ? m->name : "",
                         "peerURLs", peer, "clientURLs", clients);
}

/* With the line end that etcd has here. Takes @body. */
static void reply_line(struct api *a, struct http_request *r, int status, json_t *body)
{
        char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
        struct buffer b = { 0 };

        json_decref(body);
        if (!text) {
                api_reply_json(r, HTTP_SERVUNAVAIL, NULL);
                return;
        }
        buffer_put(&b, text, strlen(text));
        buffer_put_u8(&b, '\n');
        api_put_cluster_id(a, r);
        http_reply(r, status, JSON_TYPE, b.bytes, b.n);
        buffer_done(&b);
        free(text);
}

static void reply_message(struct api *a, struct http_request *r, int status, const char *message)
{
        api_put_cluster_id(a, r);
        api_reply_json(r, status, json_pack("{s:o}", "message", api_json_string(message)));
}

static void reply_no_member(struct api *a, struct http_request *r, const char *id)
{
        char message[128];

        (void)snprintf(message, sizeof(message), "No such member: %.64s", id);
        reply_message(a, r, HTTP_NOTFOUND, message);
}

/* Reading. */

static void list_members(struct api *a, struct http_request *r)
{
        struct api_member members[MEMBERS_MAX];
        size_t n = api_members(a, members);
        json_t *list = json_array();

        for (size_t i = 0; i < n; i++)
                (void)json_array_append_new(list, member_json(&members[i]));
        reply_line(a, r, HTTP_OK, json_pack("{s:o}", "members", list));
}

static void show_leader(struct api *a, struct http_request *r)
{
        node_id leader = raft_leader(node_raft(engine_node(a->engine)));
        struct api_member members[MEMBERS_MAX];
        size_t n = api_members(a, members);

        for (size_t i = 0; i < n; i++) {
                if (members[i].id == leader) {
                        reply_line(a, r, HTTP_OK, member_json(&members[i]));
                        return;
                }
        }
        reply_message(a, r, HTTP_SERVUNAVAIL, "During election");
}

static int compare_urls(const void *a, const void *b)
{
        return strcmp(a, b);
}

void api_machines(struct api *a, struct http_request *r)
{
        struct api_member members[MEMBERS_MAX];
        char urls[MEMBERS_MAX][API_URL_SIZE];
        size_t n = api_members(a, members), n_urls = 0;
        struct buffer b = { 0 };

        if (r->method != HTTP_GET && r->method != HTTP_HEAD) {
                api_reply_not_allowed(r, "GET,HEAD");
                return;
        }
        for (size_t i = 0; i < n; i++) {
                if (members[i].has_started)
                        print_url(&members[i].api, urls[n_urls++]);
        }
        qsort(urls, n_urls, sizeof(urls[0]), compare_urls);
        for (size_t i = 0; i < n_urls; i++) {
                buffer_put(&b, ", ", i > 0 ? 2 : 0);
                buffer_put(&b, urls[i], strlen(urls[i]));
        }
        http_reply(r, HTTP_OK, "text/plain; charset=utf-8", b.bytes, b.n);
        buffer_done(&b);
}

/* Changing. */

/* A URL of a member, in the words of etcd for what is wrong with it. */
static bool parse_url(const char *url, struct endpoint *ret, char message[static API_MESSAGE_SIZE])
{
        static const char scheme[] = "http://";
        const char *rest = url + strlen(scheme), *slash;

        if (strncmp(url, scheme, strlen(scheme)) != 0) {
                (void)snprintf(message, API_MESSAGE_SIZE, "URL scheme must be http: %.128s", url);
                return false;
        }
        slash = strchr(rest, '/');
        if (slash) {
                (void)snprintf(message, API_MESSAGE_SIZE, "URL must not contain a path: %.128s",
                               url);
                return false;
        }
        if (endpoint_parse(rest, 0, ret) < 0 || ret->port == 0) {
                (void)snprintf(message, API_MESSAGE_SIZE,
                               "URL address does not have the form \"host:port\" with an address "
                               "as host: %.128s",
                               url);
                return false;
        }
        return true;
}

/* {"peerURLs":["http://10.0.0.4:7001"]}; with a "name", which etcd does not look at. */
static bool parse_body(const json_t *body, struct api_member_change *c,
                       char message[static API_MESSAGE_SIZE])
{
        const json_t *urls = json_object_get(body, "peerURLs");
        const char *url = json_string_value(json_array_get(urls, 0));
        const char *name = json_string_value(json_object_get(body, "name"));

        if (!url) {
                (void)snprintf(message, API_MESSAGE_SIZE, "no valid URLs given");
                return false;
        }
        if (json_array_size(urls) > 1) {
                (void)snprintf(message, API_MESSAGE_SIZE, "a member has one peer URL");
                return false;
        }
        if (name && *name && !name_is_valid(name)) {
                (void)snprintf(message, API_MESSAGE_SIZE, "\"%.64s\" is no name for a member",
                               name);
                return false;
        }
        (void)snprintf(c->name, sizeof(c->name), "%s", name ? name : "");
        return parse_url(url, &c->peer, message);
}

/* Answers the request and returns false if its body says nothing that can be done. */
static bool take_body(struct api *a, struct http_request *r, struct api_member_change *c)
{
        char message[API_MESSAGE_SIZE];
        size_t n = r->content_type ? strcspn(r->content_type, "; ") : 0;
        json_error_t error;
        json_t *body;
        bool ok;

        if (n != strlen(JSON_TYPE) || strncmp(r->content_type, JSON_TYPE, n) != 0) {
                (void)snprintf(message, sizeof(message),
                               "Bad Content-Type %.64s, accept application/json",
                               r->content_type ? r->content_type : "");
                reply_message(a, r, 415, message);
                return false;
        }
        body = json_loadb(r->body, r->n_body, 0, &error);
        if (!body) {
                reply_message(a, r, HTTP_BADREQUEST, error.text);
                return false;
        }
        ok = parse_body(body, c, message);
        json_decref(body);
        if (!ok)
                reply_message(a, r, HTTP_BADREQUEST, message);
        return ok;
}

static const struct api_member *find_by_id(const struct api_member *members, size_t n,
                                           const char *id)
{
        char printed[API_MEMBER_ID_SIZE];

        for (size_t i = 0; i < n; i++) {
                api_member_id_print(members[i].etcd_id, printed);
                if (strcmp(printed, id) == 0)
                        return &members[i];
        }
        return NULL;
}

static bool is_same_endpoint(const struct endpoint *a, const struct endpoint *b)
{
        return a->port == b->port && address_equal(&a->address, &b->address);
}

static bool is_taken(const struct api_member *members, size_t n, const struct api_member_change *c)
{
        for (size_t i = 0; i < n; i++) {
                if (members[i].id != c->id && is_same_endpoint(&members[i].peer, &c->peer))
                        return true;
        }
        return false;
}

/* The change that @r asks for, with the id from its path; false if it has been answered. */
static bool understand(struct api *a, struct http_request *r, const char *id,
                       struct api_member_change *c)
{
        struct api_member members[MEMBERS_MAX];
        size_t n = api_members(a, members);
        const struct api_member *m = find_by_id(members, n, id);

        if (c->type != API_MEMBER_REMOVE && !take_body(a, r, c))
                return false;
        if (c->type != API_MEMBER_ADD) {
                if (!m) {
                        reply_no_member(a, r, id);
                        return false;
                }
                c->id = m->id;
        }
        if (c->type != API_MEMBER_REMOVE && is_taken(members, n, c)) {
                reply_message(a, r, 409, "membership: peerURL exists");
                return false;
        }
        return true;
}

static void change(struct api *a, struct http_request *r, enum api_member_change_type type,
                   const char *id)
{
        struct api_member_change c = { .type = type };

        if (!api_may_order(r))
                reply_message(a, r, 403, API_ORDERS_ARE_LOCAL);
        else if (understand(a, r, id, &c))
                reply_message(a, r, HTTP_INTERNAL, "Internal Server Error");
}

void api_members_route(struct api *a, struct http_request *r, const char *path)
{
        const char *id = path[0] == '/' ? path + 1 : path;

        switch (r->method) {
        case HTTP_GET:
                if (*id == '\0')
                        list_members(a, r);
                else if (strcmp(id, "leader") == 0)
                        show_leader(a, r);
                else
                        reply_message(a, r, HTTP_NOTFOUND, "Not found");
                return;
        case HTTP_POST:
                change(a, r, API_MEMBER_ADD, "");
                return;
        case HTTP_PUT:
        case HTTP_DELETE:
                if (*id == '\0')
                        break;
                change(a, r, r->method == HTTP_PUT ? API_MEMBER_UPDATE : API_MEMBER_REMOVE, id);
                return;
        case HTTP_HEAD:
        case HTTP_OPTIONS:
        case HTTP_OTHER:
                break;
        }
        api_put_cluster_id(a, r);
        api_reply_not_allowed(r, MEMBERS_METHODS);
}
