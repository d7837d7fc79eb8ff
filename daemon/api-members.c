/*
 * /v2/members and /v2/machines: who belongs to the cluster, as etcd tells it, and changes of that.
 * What is asked for is checked here; whether it may be done is decided by the core.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/api-members.h"
#include "election/base/memory.h"

#define MEMBERS_METHODS "GET,POST,DELETE,PUT"
#define JSON_TYPE "application/json"
#define API_PORT_DEFAULT 4001

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

/* A member that joins has no list yet: then the configuration is all there is. */
static void list_of_conf(const struct conf *conf, struct members *ret)
{
        *ret = (struct members){ 0 };
        for (size_t i = 0; i < conf->cluster.n_members; i++) {
                const struct conf_member *m = conf->cluster.members[i];
                struct member member = { .id = m->id,
                                         .incarnation = 1,
                                         .peer = { m->address, m->raft_port },
                                         .api = { m->address, m->api_port } };

                (void)snprintf(member.name, sizeof(member.name), "%s", m->name);
                (void)members_add(ret, &member); /* a configuration has no more than fit */
        }
}

size_t api_members(const struct api *a, struct api_member ret[static MEMBERS_MAX])
{
        const struct members *list = node_members(engine_node(a->engine));
        uint64_t cluster_id = engine_cluster_id(a->engine);
        struct members of_conf;

        if (list->n == 0) {
                list_of_conf(a->conf, &of_conf);
                list = &of_conf;
        }
        for (unsigned i = 0; i < list->n; i++) {
                const struct member *m = &list->list[i];

                ret[i] = (struct api_member){
                        .etcd_id = api_member_etcd_id(cluster_id, m->id, m->name),
                        .member = *m,
                        /* Founders that vote are listed from the beginning, before they were seen. */
                        .has_started = m->incarnation != 0 || list->index == 0 ||
                                       (!m->is_learning && m->kind != MEMBER_OBSERVER),
                };
        }
        qsort(ret, list->n, sizeof(*ret), compare_ids);
        return list->n;
}

static bool has_id(const uint64_t *ids, size_t n, uint64_t id)
{
        for (size_t i = 0; i < n; i++) {
                if (ids[i] == id)
                        return true;
        }
        return false;
}

void api_members_changed(struct api *a)
{
        struct api_past_members *past = &a->past;
        struct api_member members[MEMBERS_MAX];
        size_t n = api_members(a, members);
        uint64_t ids[MEMBERS_MAX];

        for (size_t i = 0; i < n; i++)
                ids[i] = members[i].etcd_id;
        for (size_t i = 0; i < past->n_listed; i++) {
                if (!has_id(ids, n, past->listed[i]))
                        past->removed[past->n_removed++ % API_REMOVED_MAX] = past->listed[i];
        }
        memcpy(past->listed, ids, n * sizeof(ids[0]));
        past->n_listed = n;
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
        print_url(&m->member.peer, peer);
        print_url(&m->member.api, client);
        if (m->has_started)
                (void)json_array_append_new(clients, json_string(client));
        return json_pack("{s:s, s:s, s:[s], s:o}", "id", id, "name",
                         m->has_started ? m->member.name : "", "peerURLs", peer, "clientURLs",
                         clients);
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
                if (members[i].member.id == leader) {
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
                        print_url(&members[i].member.api, urls[n_urls++]);
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

/* The first URL of @urls; others are refused, because a member listens at one. */
static bool parse_urls(const json_t *urls, struct endpoint *ret,
                       char message[static API_MESSAGE_SIZE])
{
        const char *url = json_string_value(json_array_get(urls, 0));

        if (!url) {
                (void)snprintf(message, API_MESSAGE_SIZE, "no valid URLs given");
                return false;
        }
        if (json_array_size(urls) > 1) {
                (void)snprintf(message, API_MESSAGE_SIZE, "a member has one URL of each kind");
                return false;
        }
        return parse_url(url, ret, message);
}

/* etcd's clients give no name: it is made of the address and the port, "10.0.0.4-7001". */
static void name_by_endpoint(const struct endpoint *e, char ret[static NAME_SIZE])
{
        char text[ADDRESS_SIZE];
        size_t n = 0;

        address_print(&e->address, text, sizeof(text));
        (void)snprintf(ret, NAME_SIZE, "%s%.48s-%u", text[0] == ':' ? "m" : "", text, e->port);
        for (; ret[n]; n++) {
                if (ret[n] == ':')
                        ret[n] = '-';
        }
}

static bool parse_name(const char *name, struct node_change *c,
                       char message[static API_MESSAGE_SIZE])
{
        if (!name || !*name) {
                name_by_endpoint(&c->peer, c->name);
                return true;
        }
        if (!name_is_valid(name)) {
                (void)snprintf(message, API_MESSAGE_SIZE, "\"%.64s\" is no name for a member",
                               name);
                return false;
        }
        (void)snprintf(c->name, sizeof(c->name), "%s", name);
        return true;
}

static bool parse_role(const char *role, struct node_change *c,
                       char message[static API_MESSAGE_SIZE])
{
        static const char *const roles[] = { [MEMBER_FULL] = "member",
                                             [MEMBER_WITNESS] = "witness",
                                             [MEMBER_OBSERVER] = "observer" };

        c->kind = MEMBER_FULL;
        for (unsigned i = 0; role && i < sizeof(roles) / sizeof(roles[0]); i++) {
                if (strcmp(role, roles[i]) == 0) {
                        c->kind = (enum member_kind)i;
                        return true;
                }
        }
        if (role)
                (void)snprintf(message, API_MESSAGE_SIZE,
                               "the role of a member is member, witness or observer");
        return !role;
}

/*
 * {"peerURLs":["http://10.0.0.4:7001"]}, and if it is wanted "name", "role" and "clientURLs", which
 * etcd does not look at. Clients find a member at its peer address, at the API port that is usual
 * here, unless they are told otherwise.
 */
static bool parse_body(const struct api *a, const json_t *body, struct node_change *c,
                       char message[static API_MESSAGE_SIZE])
{
        const json_t *clients = json_object_get(body, "clientURLs");
        const struct conf_member *self = conf_member_by_name(a->conf, a->conf->node.name);

        if (!parse_urls(json_object_get(body, "peerURLs"), &c->peer, message))
                return false;
        c->api = (struct endpoint){ c->peer.address, self ? self->api_port : API_PORT_DEFAULT };
        if (clients && !parse_urls(clients, &c->api, message))
                return false;
        return parse_name(json_string_value(json_object_get(body, "name")), c, message) &&
               parse_role(json_string_value(json_object_get(body, "role")), c, message);
}

static bool is_json(const struct http_request *r)
{
        size_t n = r->content_type ? strcspn(r->content_type, "; ") : 0;

        return n == strlen(JSON_TYPE) && strncmp(r->content_type, JSON_TYPE, n) == 0;
}

/* Answers the request and returns false if its body says nothing that can be done. */
static bool take_body(struct api *a, struct http_request *r, struct node_change *c)
{
        char message[API_MESSAGE_SIZE];
        json_error_t error;
        json_t *body;
        bool ok;

        if (!is_json(r)) {
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
        ok = parse_body(a, body, c, message);
        json_decref(body);
        if (!ok)
                reply_message(a, r, HTTP_BADREQUEST, message);
        return ok;
}

static const struct api_member *find(const struct api_member *members, size_t n, const char *id)
{
        char printed[API_MEMBER_ID_SIZE];

        for (size_t i = 0; i < n; i++) {
                api_member_id_print(members[i].etcd_id, printed);
                if (strcmp(printed, id) == 0)
                        return &members[i];
        }
        return NULL;
}

static bool was_removed(const struct api *a, const char *id)
{
        const struct api_past_members *past = &a->past;
        size_t n = past->n_removed < API_REMOVED_MAX ? past->n_removed : API_REMOVED_MAX;
        char printed[API_MEMBER_ID_SIZE];

        for (size_t i = 0; i < n; i++) {
                api_member_id_print(past->removed[i], printed);
                if (strcmp(printed, id) == 0)
                        return true;
        }
        return false;
}

/* Nobody has that id. */
static void reply_no_member(struct api *a, struct http_request *r, const char *id)
{
        bool removed = r->method == HTTP_DELETE && was_removed(a, id);
        char message[API_MESSAGE_SIZE];

        (void)snprintf(message, sizeof(message), "%s: %.64s",
                       removed ? "Member permanently removed" : "No such member", id);
        reply_message(a, r, removed ? 410 : HTTP_NOTFOUND, message);
}

static bool is_taken(const struct api_member *members, size_t n, const struct node_change *c)
{
        for (size_t i = 0; i < n; i++) {
                const struct member *m = &members[i].member;

                if (m->peer.port == c->peer.port &&
                    address_equal(&m->peer.address, &c->peer.address) &&
                    (c->type != NODE_CHANGE_UPDATE || strcmp(m->name, c->name) != 0))
                        return true;
        }
        return false;
}

/* The change that @r asks for, of the member with @id; false if it has been answered. */
static bool understand(struct api *a, struct http_request *r, const char *id, struct node_change *c)
{
        bool has_body = c->type == NODE_CHANGE_ADD || c->type == NODE_CHANGE_UPDATE;
        struct api_member members[MEMBERS_MAX];
        size_t n = api_members(a, members);
        const struct api_member *m = find(members, n, id);

        if (has_body && !take_body(a, r, c))
                return false;
        if (c->type != NODE_CHANGE_ADD && !m) {
                reply_no_member(a, r, id);
                return false;
        }
        if (m)
                memcpy(c->name, m->member.name, sizeof(c->name));
        if (has_body && is_taken(members, n, c)) {
                reply_message(a, r, 409, "membership: peerURL exists");
                return false;
        }
        return true;
}

/* The member that @c was about, as it is now. */
static void reply_member(struct api *a, struct http_request *r, int status,
                         const struct node_change *c)
{
        struct api_member members[MEMBERS_MAX];
        size_t n = api_members(a, members);

        for (size_t i = 0; i < n; i++) {
                if (strcmp(members[i].member.name, c->name) == 0) {
                        reply_line(a, r, status, member_json(&members[i]));
                        return;
                }
        }
        reply_line(a, r, status, json_object()); /* it has been removed again meanwhile */
}

static void on_changed(struct call *call, const struct node_effect *answer)
{
        const struct node_change *c = call->data;
        struct http_request *r = call->request;

        if (answer->outcome == NODE_REFUSED) {
                reply_message(call->api, r, 409, answer->text);
        } else if (answer->outcome != NODE_OK) {
                reply_message(call->api, r, HTTP_INTERNAL, "Internal Server Error");
        } else if (c->type == NODE_CHANGE_ADD || c->type == NODE_CHANGE_PROMOTE) {
                reply_member(call->api, r, c->type == NODE_CHANGE_ADD ? 201 : HTTP_OK, c);
        } else {
                api_put_cluster_id(call->api, r);
                http_reply(r, HTTP_NOCONTENT, NULL, NULL, 0);
        }
        call_end(call);
}

static void change(struct api *a, struct http_request *r, enum node_change_type type,
                   const char *id)
{
        struct node_change *c = must_alloc(1, sizeof(*c));
        struct call *call;

        c->type = type;
        if (!api_may_order(r)) {
                reply_message(a, r, 403, API_ORDERS_ARE_LOCAL);
        } else if (understand(a, r, id, c)) {
                call = call_new(a, r, on_changed, c, free);
                if (call && !call_started(call, engine_change(a->engine, c, call_answered, call)))
                        on_changed(call, &(struct node_effect){ .outcome = NODE_OVERLOADED });
                return;
        }
        free(c);
}

/* All that is known, also of those who have not started, which etcd's list leaves out. */
static json_t *member_json_v1(const struct api *a, const struct api_member *m)
{
        const struct member *member = &m->member;
        char id[API_MEMBER_ID_SIZE], peer[ADDRESS_SIZE], client[ADDRESS_SIZE];

        api_member_id_print(m->etcd_id, id);
        endpoint_print(&member->peer, peer, sizeof(peer));
        endpoint_print(&member->api, client, sizeof(client));
        return json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:s, s:s}", "id", id, "name", member->name,
                         "role", member_kind_name(member->kind), "votes", member_votes(member),
                         "joined", m->has_started, "leader",
                         raft_leader(node_raft(engine_node(a->engine))) == member->id, "peer", peer,
                         "client", client);
}

static void list_v1(struct api *a, struct http_request *r)
{
        struct api_member members[MEMBERS_MAX];
        size_t n = api_members(a, members);
        json_t *list = json_array();

        if (r->method != HTTP_GET) {
                json_decref(list);
                api_reply_not_allowed(r, "GET");
                return;
        }
        for (size_t i = 0; i < n; i++)
                (void)json_array_append_new(list, member_json_v1(a, &members[i]));
        api_reply_json(r, HTTP_OK, json_pack("{s:o}", "members", list));
}

static void reply_token(struct api *a, struct http_request *r, const char *id)
{
        struct api_member members[MEMBERS_MAX];
        size_t n = api_members(a, members);
        const struct api_member *m = find(members, n, id);

        if (r->method != HTTP_GET)
                api_reply_not_allowed(r, "GET");
        else if (!m)
                reply_no_member(a, r, id);
        else
                api_join_token(a, r, &m->member);
}

void api_members_v1(struct api *a, struct http_request *r, const char *path)
{
        const char *id = path[0] == '/' ? path + 1 : path, *verb = strchrnul(id, '/');
        char printed[API_MEMBER_ID_SIZE];

        (void)snprintf(printed, sizeof(printed), "%.*s",
                       verb - id < API_MEMBER_ID_SIZE ? (int)(verb - id) : 0, id);
        if (*id == '\0') {
                list_v1(a, r);
                return;
        }
        if (strcmp(verb, "/token") == 0) {
                reply_token(a, r, printed);
                return;
        }
        if (strcmp(verb, "/promote") != 0) {
                api_reply_error(r, HTTP_NOTFOUND, "there is no such path");
                return;
        }
        if (r->method != HTTP_POST) {
                api_reply_not_allowed(r, "POST");
                return;
        }
        change(a, r, NODE_CHANGE_PROMOTE, printed);
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
                change(a, r, NODE_CHANGE_ADD, "");
                return;
        case HTTP_PUT:
        case HTTP_DELETE:
                if (*id == '\0')
                        break;
                change(a, r, r->method == HTTP_PUT ? NODE_CHANGE_UPDATE : NODE_CHANGE_REMOVE, id);
                return;
        case HTTP_HEAD:
        case HTTP_OPTIONS:
        case HTTP_OTHER:
                break;
        }
        api_put_cluster_id(a, r);
        api_reply_not_allowed(r, MEMBERS_METHODS);
}
