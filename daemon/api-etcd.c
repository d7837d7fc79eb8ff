/* What etcd answers beside keys and members: its version, statistics, and that there are no users. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/api-etcd.h"
#include "daemon/api-members.h"
#include "daemon/clock.h"

#define VERSION_BODY "{\"etcdserver\":\"3.4.23\",\"etcdcluster\":\"3.4.0\"}"
#define ROOT_ROLE "{s:s, s:{s:{s:[s], s:[s]}}}"
#define ROOT_ROLE_VALUES "role", "root", "permissions", "kv", "read", "/*", "write", "/*"

enum {
        TIME_SIZE = 64,
};

/* The version. */

static void get_version(struct api *a, struct http_request *r)
{
        (void)a;
        http_reply(r, HTTP_OK, "application/json", VERSION_BODY, strlen(VERSION_BODY));
}

/* Statistics. */

static void print_time(uint64_t wall, char ret[static TIME_SIZE])
{
        time_t seconds = (time_t)(wall / USEC_PER_SEC);
        char date[40] = "";
        struct tm tm;

        if (gmtime_r(&seconds, &tm))
                (void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
        (void)snprintf(ret, TIME_SIZE, "%s.%06uZ", date, (unsigned)(wall % USEC_PER_SEC));
}

/* A length as Go prints it: 1h2m3.5s. */
static void print_length(usec_t length, char ret[static TIME_SIZE])
{
        uint64_t minutes = length / (60 * USEC_PER_SEC);
        double seconds = (double)(length % (60 * USEC_PER_SEC)) / (double)USEC_PER_SEC;

        if (minutes >= 60)
                (void)snprintf(ret, TIME_SIZE, "%" PRIu64 "h%" PRIu64 "m%.9gs", minutes / 60,
                               minutes % 60, seconds);
        else if (minutes > 0)
                (void)snprintf(ret, TIME_SIZE, "%" PRIu64 "m%.9gs", minutes, seconds);
        else
                (void)snprintf(ret, TIME_SIZE, "%.9gs", seconds);
}

/* The printed id of a member; "" of nobody. */
static void print_id_of(const struct api *a, node_id id, char ret[static API_MEMBER_ID_SIZE])
{
        struct api_member members[MEMBERS_MAX];
        size_t n = api_members(a, members);

        ret[0] = '\0';
        for (size_t i = 0; i < n; i++) {
                if (members[i].member.id == id)
                        api_member_id_print(members[i].etcd_id, ret);
        }
}

static void get_self(struct api *a, struct http_request *r)
{
        const struct raft *raft = node_raft(engine_node(a->engine));
        struct raft_traffic traffic = raft_traffic(raft);
        bool leads = raft_role(raft) == RAFT_LEADER;
        char id[API_MEMBER_ID_SIZE], leader[API_MEMBER_ID_SIZE];
        char started[TIME_SIZE], since[TIME_SIZE], uptime[TIME_SIZE];
        const char *name = api_member_name(a, a->conf->self);
        uint64_t now = clock_wall();

        print_id_of(a, a->conf->self, id);
        print_id_of(a, raft_leader(raft), leader);
        print_time(a->stats.started, started);
        print_time(a->stats.leader_since, since);
        print_length(now > a->stats.leader_since ? now - a->stats.leader_since : 0, uptime);
        api_reply_json(r, HTTP_OK,
                       json_pack("{s:s, s:s, s:s, s:s, s:{s:s, s:s, s:s}, s:o, s:o}", "name",
                                 name ? name : "", "id", id, "state",
                                 leads ? "StateLeader" : "StateFollower", "startTime", started,
                                 "leaderInfo", "leader", leader, "uptime", uptime, "startTime",
                                 since, "recvAppendRequestCnt", api_json_u64(traffic.n_received),
                                 "sendAppendRequestCnt", api_json_u64(traffic.n_sent)));
}

/* By halving towards it, as precise as milliseconds are printed: no library for one root. */
static double root(double square)
{
        double low = 0, high = square > 1 ? square : 1;

        while (high - low > 1e-6 * high) {
                double middle = (low + high) / 2;

                if (middle * middle > square)
                        high = middle;
                else
                        low = middle;
        }
        return high;
}

static double msec(double usec)
{
        return usec / (double)USEC_PER_MSEC;
}

static json_t *describe_follower(const struct raft_latency *l)
{
        double variance = l->n > 0 ? l->squares / (double)l->n : 0;

        return json_pack("{s:{s:f, s:f, s:f, s:f, s:f}, s:{s:o, s:o}}", "latency", "current",
                         msec((double)l->current), "average", msec(l->average), "standardDeviation",
                         msec(variance > 0 ? root(variance) : 0), "minimum",
                         msec((double)l->shortest), "maximum", msec((double)l->longest), "counts",
                         "fail", api_json_u64(l->n_failures), "success",
                         api_json_u64(l->n_answers));
}

static void get_leader(struct api *a, struct http_request *r)
{
        const struct raft *raft = node_raft(engine_node(a->engine));
        struct api_member members[MEMBERS_MAX];
        size_t n = api_members(a, members);
        char id[API_MEMBER_ID_SIZE];
        json_t *followers;

        if (raft_role(raft) != RAFT_LEADER) {
                api_reply_json(r, 403, json_pack("{s:s}", "message", "not current leader"));
                return;
        }
        followers = json_object();
        for (size_t i = 0; i < n; i++) {
                node_id member = members[i].member.id;
                struct raft_latency latency = raft_peer_latency(raft, member);

                api_member_id_print(members[i].etcd_id, id);
                if (member != a->conf->self)
                        (void)json_object_set_new(followers, id, describe_follower(&latency));
        }
        print_id_of(a, a->conf->self, id);
        api_reply_json(r, HTTP_OK, json_pack("{s:s, s:o}", "leader", id, "followers", followers));
}

static void get_store(struct api *a, struct http_request *r)
{
        const struct store_stats s = store_stats(node_store(engine_node(a->engine)));
        const struct store_counter gets = { .success = a->stats.gets[1], .fail = a->stats.gets[0] };
        const struct {
                const char *name;
                const struct store_counter *counter;
        } rows[] = {
                { "gets", &gets },
                { "sets", &s.sets },
                { "delete", &s.deletes },
                { "update", &s.updates },
                { "create", &s.creates },
                { "compareAndSwap", &s.compare_and_swaps },
                { "compareAndDelete", &s.compare_and_deletes },
        };
        json_t *o = json_object();
        char name[64];

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                (void)snprintf(name, sizeof(name), "%sSuccess", rows[i].name);
                (void)json_object_set_new(o, name, api_json_u64(rows[i].counter->success));
                (void)snprintf(name, sizeof(name), "%sFail", rows[i].name);
                (void)json_object_set_new(o, name, api_json_u64(rows[i].counter->fail));
        }
        (void)json_object_set_new(o, "expireCount", api_json_u64(s.expirations));
        (void)json_object_set_new(o, "watchers", api_json_u64(s.watchers));
        api_reply_json(r, HTTP_OK, o);
}

/* Users and roles: there are none, and whoever asks is told as etcd tells it. */

static void reply_message(struct api *a, struct http_request *r, int status, const char *message)
{
        api_put_cluster_id(a, r);
        api_reply_json(r, status, json_pack("{s:o}", "message", api_json_string(message)));
}

static void reply(struct api *a, struct http_request *r, json_t *body)
{
        api_put_cluster_id(a, r);
        api_reply_json(r, HTTP_OK, body);
}

static void auth_enable(struct api *a, struct http_request *r)
{
        if (r->method == HTTP_GET)
                reply(a, r, json_pack("{s:b}", "enabled", 0));
        else if (r->method == HTTP_PUT)
                reply_message(a, r, 409, "auth: No root user available, please create one");
        else
                reply_message(a, r, 409, "auth: already disabled");
}

static void auth_users(struct api *a, struct http_request *r)
{
        reply(a, r, json_pack("{s:n}", "users"));
}

static void auth_roles(struct api *a, struct http_request *r)
{
        reply(a, r, json_pack("{s:[" ROOT_ROLE "]}", "roles", ROOT_ROLE_VALUES));
}

/* One user, or one role: @kind with a capital. */
static void auth_one(struct api *a, struct http_request *r, const char *kind, const char *name)
{
        char message[128];

        if (r->method == HTTP_PUT) {
                reply_message(a, r, 501, "auth: users and roles are not supported");
                return;
        }
        (void)snprintf(message, sizeof(message), "auth: %s %.64s does not exist.", kind, name);
        reply_message(a, r, HTTP_NOTFOUND, message);
}

/* Paths. */

enum {
        ALLOW_GET = 1 << HTTP_GET,
        ALLOW_CHANGES = 1 << HTTP_GET | 1 << HTTP_PUT | 1 << HTTP_DELETE,
};

static bool is_allowed(struct http_request *r, unsigned methods)
{
        if (methods & 1u << r->method)
                return true;
        api_reply_not_allowed(r, methods == ALLOW_GET ? "GET" : "GET,PUT,DELETE");
        return false;
}

/* clang-format off */
static const struct {
        const char *path;
        unsigned methods;
        void (*handle)(struct api *a, struct http_request *r);
} routes[] = {
        { "/version",         ALLOW_GET,     get_version },
        { "/v2/stats/self",   ALLOW_GET,     get_self },
        { "/v2/stats/leader", ALLOW_GET,     get_leader },
        { "/v2/stats/store",  ALLOW_GET,     get_store },
        { "/v2/auth/enable",  ALLOW_CHANGES, auth_enable },
        { "/v2/auth/users",   ALLOW_GET,     auth_users },
        { "/v2/auth/roles",   ALLOW_GET,     auth_roles },
};
/* clang-format on */

static bool route_auth(struct api *a, struct http_request *r)
{
        static const char users[] = "/v2/auth/users/", roles[] = "/v2/auth/roles/";
        bool is_user = strncmp(r->path, users, strlen(users)) == 0;
        const char *name = r->path + strlen(users); /* both are as long */

        if ((!is_user && strncmp(r->path, roles, strlen(roles)) != 0) || *name == '\0')
                return false;
        if (!is_allowed(r, ALLOW_CHANGES))
                return true;
        if (!is_user && r->method == HTTP_GET && strcmp(name, "root") == 0)
                reply(a, r, json_pack(ROOT_ROLE, ROOT_ROLE_VALUES));
        else
                auth_one(a, r, is_user ? "User" : "Role", name);
        return true;
}

bool api_etcd(struct api *a, struct http_request *r)
{
        for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
                if (strcmp(r->path, routes[i].path) != 0)
                        continue;
                if (is_allowed(r, routes[i].methods))
                        routes[i].handle(a, r);
                return true;
        }
        return route_auth(a, r);
}
