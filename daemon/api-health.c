/*
 * Checks of health with the names and meanings of Patroni, for load balancers. Each answer is made
 * from what the node knows at that moment, with a fresh look at the clock: a master whose lease has
 * run out stops being one in the next answer, whatever the rest of the node has noticed.
 */
#include "daemon/api-health.h"

#include <inttypes.h>
#include <string.h>

#include "daemon/api-private.h"
#include "daemon/clock.h"

struct health_check {
        const char *name; /* the last part of the path */
        health_answer *answer;
        void (*list)(struct api *a, struct http_request *r, const struct api_target *t);
};

/* clang-format off */
static const struct health_check checks[] = {
        { "",           health_is_primary,   NULL },
        { "primary",    health_is_primary,   NULL },
        { "read-write", health_is_primary,   NULL },
        { "leader",     health_is_primary,   NULL },
        { "master",     health_is_primary,   NULL },
        { "replica",    health_is_replica,   NULL },
        { "read-only",  health_is_read_only, NULL },
        { "health",     health_is_up,        NULL },
        { "liveness",   health_is_alive,     NULL },
        { "readiness",  health_is_ready,     NULL },
        { "cluster",    NULL,                api_cluster },
        { "history",    NULL,                api_history },
};
/* clang-format on */

const struct health_check *health_check_by_name(const char *name)
{
        for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
                if (strcmp(checks[i].name, name) == 0)
                        return &checks[i];
        }
        return NULL;
}

static const char *role_of(const struct health_question *q)
{
        char reason[HEALTH_REASON_SIZE];

        if (!conf_service_has_member(q->service, q->conf->self))
                return "none";
        if (health_is_primary(q, reason))
                return "primary";
        if (!q->service->postgres)
                return "standby";
        return q->view->reports[q->conf->self].role == FAILOVER_ROLE_STANDBY ? "replica" : "none";
}

static json_t *describe(const struct health_question *q, struct instant now, bool ok,
                        const char *reason)
{
        const struct node_service_view *v = q->view;
        const struct failover_report *own = &v->reports[q->conf->self];
        json_t *body;

        body = json_pack(
                "{s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "health", ok ? "true" : "false", "service",
                v->name, "node", conf_member_by_id(q->conf, q->conf->self)->name, "role",
                role_of(q), "state", failover_state_name(v->state), "epoch", api_json_u64(v->epoch),
                "valid_ms", api_json_msec(v->holds ? instant_until(v->valid_until, now) : 0));
        if (body && q->service->postgres)
                (void)json_object_update_new(
                        body, json_pack("{s:s, s:o, s:o, s:o}", "database",
                                        failover_database_state_name(own->database), "timeline",
                                        api_json_u64(own->position.timeline), "lsn",
                                        api_json_lsn(&own->position), "lag",
                                        q->has_lag ? api_json_u64(q->lag) : json_null()));
        if (body && !ok)
                (void)json_object_set_new(body, "reason", api_json_string(reason));
        return body;
}

/* Only "alive" and, with a leader, "healthy" can be said of a node without any service. */
static void reply_without_service(struct api *a, struct http_request *r,
                                  const struct health_check *check)
{
        bool has_leader = raft_leader(node_raft(engine_node(a->engine))) != NODE_NOBODY;
        bool ok = check->answer == health_is_alive ||
                  (check->answer == health_is_up && has_leader) ||
                  (check->answer == health_is_ready && node_is_current(engine_node(a->engine)));

        if (ok)
                api_reply_json(r, HTTP_OK, json_pack("{s:s}", "health", "true"));
        else
                api_reply_json(r, HTTP_SERVUNAVAIL,
                               json_pack("{s:s, s:s}", "health", "false", "reason",
                                         has_leader ? "no service is configured"
                                                    : "the cluster has no leader"));
}

static void answer_check(struct api *a, struct http_request *r, const struct health_check *check,
                         const struct api_target *t, const struct form *form)
{
        struct node *n = engine_node(a->engine);
        char reason[HEALTH_REASON_SIZE] = "";
        struct instant now = clock_now();
        struct node_service_view view;
        struct health_question q = { .view = &view,
                                     .conf = a->conf,
                                     .service = t->conf,
                                     .has_leader = raft_leader(node_raft(n)) != NODE_NOBODY,
                                     .is_current = node_is_current(n) };
        bool ok;

        if (!health_parse(form, &q, reason)) {
                api_reply_error(r, HTTP_BADREQUEST, "%s", reason);
                return;
        }
        node_service_view(n, t->service, now, &view);
        q.has_lag = api_lag(&view, a->conf->self, &q.lag);
        ok = check->answer(&q, reason);
        http_header_u64(r, "X-Failoverd-Epoch", view.epoch);
        api_reply_json(r, ok ? HTTP_OK : HTTP_SERVUNAVAIL, describe(&q, now, ok, reason));
}

void api_health(struct api *a, struct http_request *r, const struct health_check *check,
                const struct api_target *t)
{
        char cause[FORM_CAUSE_SIZE];
        struct form form;

        if (r->method != HTTP_GET && r->method != HTTP_HEAD && r->method != HTTP_OPTIONS) {
                api_reply_not_allowed(r, "GET,HEAD,OPTIONS");
                return;
        }
        if (!t) {
                reply_without_service(a, r, check);
                return;
        }
        if (check->list) {
                check->list(a, r, t);
                return;
        }
        if (form_parse(NULL, 0, r->query, &form, cause) < 0) {
                api_reply_error(r, HTTP_BADREQUEST, "%s", cause);
                return;
        }
        answer_check(a, r, check, t, &form);
}
