/* What this node knows about the cluster and its services, as JSON: status, cluster, why-not. */
#include <inttypes.h>
#include <string.h>

#include "daemon/api-private.h"
#include "daemon/clock.h"

static json_t *order_of(const struct api *a, const struct failover_order *order)
{
        if (order->type == FAILOVER_ORDER_NONE)
                return json_null();
        return json_pack("{s:s, s:o, s:o}", "type",
                         order->type == FAILOVER_ORDER_SWITCHOVER ? "switchover" : "failover", "to",
                         api_json_string(api_member_name(a, order->target)), "epoch",
                         api_json_u64(order->epoch));
}

static const char *lease_name(const struct store_lease *l)
{
        if (!l || l->epoch == 0)
                return "unused";
        switch (l->state) {
        case STORE_LEASE_FREE:
                return "free";
        case STORE_LEASE_HELD:
                return "held";
        case STORE_LEASE_CLOSING:
                return "closing";
        }
        return "unknown";
}

/* The holder counts from the moment it asked, everybody else from the moment they heard of it. */
static usec_t lease_left(const struct node_service_view *v, const struct store_lease *l,
                         struct instant now)
{
        if (v->holds)
                return instant_until(v->valid_until, now);
        if (!l || l->state == STORE_LEASE_FREE)
                return 0;
        return instant_until(instant_after(l->noted, l->ttl), now);
}

static json_t *lag_of(const struct node_service_view *v, node_id node)
{
        uint64_t lag;

        return api_lag(v, node, &lag) ? api_json_u64(lag) : json_null();
}

static json_t *node_json(const struct api *a, const struct api_target *t,
                         const struct node_service_view *v, node_id id, struct instant now)
{
        const struct failover_report *r = &v->reports[id];
        json_t *o = json_pack("{s:s, s:b}", "node", api_member_name(a, id), "known", r->known);

        if (!r->known)
                return o;
        (void)json_object_update_new(
                o, json_pack("{s:o, s:s, s:b, s:o, s:o, s:o}", "age_ms",
                             api_json_msec(instant_until(now, r->heard)), "state",
                             failover_state_name(r->state), "closed", r->closed, "epoch",
                             api_json_u64(r->epoch), "priority", api_json_u64(r->priority),
                             "reason", r->reason[0] ? api_json_string(r->reason) : json_null()));
        if (t->conf->postgres)
                (void)json_object_update_new(
                        o, json_pack("{s:s, s:s, s:b, s:b, s:b, s:b, s:o, s:o, s:o, s:o}",
                                     "database", failover_database_state_name(r->database), "role",
                                     failover_database_role_name(r->role), "healthy", r->healthy,
                                     "writable", r->writable, "streaming", r->streaming, "frozen",
                                     r->frozen, "timeline", api_json_u64(r->position.timeline),
                                     "lsn", api_json_lsn(&r->position), "lag", lag_of(v, id),
                                     "upstream", api_json_string(api_member_name(a, r->upstream))));
        return o;
}

static json_t *nodes_json(const struct api *a, const struct api_target *t,
                          const struct node_service_view *v, struct instant now)
{
        json_t *list = json_array();

        for (size_t i = 0; i < t->conf->n_members; i++)
                (void)json_array_append_new(list, node_json(a, t, v, t->conf->members[i], now));
        return list;
}

static json_t *vips_json(const struct conf_service *s)
{
        json_t *list = json_array();

        for (size_t i = 0; i < s->n_vips; i++)
                (void)json_array_append_new(list, api_json_address(&s->vips[i]->address));
        return list;
}

/* The end of a bootstrap or clone that was ordered here. */
static json_t *step_json(const struct api_step *s)
{
        if (s->n_ended == 0)
                return json_null();
        return json_pack("{s:o, s:s, s:b, s:o, s:o}", "number", api_json_u64(s->n_ended), "name",
                         failover_step_name(s->step), "ok", s->ok, "took_ms",
                         api_json_msec(s->took), "text", api_json_string(s->text));
}

static json_t *service_json(const struct api *a, const struct api_target *t, struct instant now)
{
        struct node *n = engine_node(a->engine);
        const struct store_lease *l = store_lease(node_store(n), t->conf->name);
        const char *holder = l && l->state != STORE_LEASE_FREE ? api_member_name(a, l->holder)
                                                               : NULL;
        struct node_service_view v;
        json_t *o;

        node_service_view(n, t->service, now, &v);
        o = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:b, s:b, s:b}", "name", t->conf->name,
                      "mode", t->conf->mode == CONF_AUTOMATIC ? "automatic" : "manual", "lease",
                      lease_name(l), "holder", api_json_string(holder), "epoch",
                      api_json_u64(l ? l->epoch : 0), "ttl_ms", api_json_msec(t->conf->ttl),
                      "lease_left_ms", api_json_msec(lease_left(&v, l, now)), "paused", v.paused,
                      "database", t->conf->postgres != NULL, "addresses_here", v.addresses);
        if (!o)
                return NULL;
        (void)json_object_set_new(o, "vips", vips_json(t->conf));
        (void)json_object_set_new(o, "order", order_of(a, &v.order));
        (void)json_object_set_new(o, "step_here", step_json(&a->steps[t->service]));
        (void)json_object_set_new(o, "nodes", nodes_json(a, t, &v, now));
        return o;
}

static json_t *services_json(const struct api *a, struct instant now)
{
        json_t *list = json_array();

        for (size_t i = 0; i < a->conf->n_services; i++) {
                const struct api_target t = { .service = i, .conf = a->conf->services[i] };

                (void)json_array_append_new(list, service_json(a, &t, now));
        }
        return list;
}

static json_t *members_json(const struct api *a)
{
        json_t *list = json_array();

        for (size_t i = 0; i < a->conf->cluster.n_members; i++) {
                const struct conf_member *m = a->conf->cluster.members[i];

                (void)json_array_append_new(
                        list, json_pack("{s:s, s:i, s:o, s:i, s:i, s:s, s:b}", "name", m->name,
                                        "id", m->id, "address", api_json_address(&m->address),
                                        "api_port", m->api_port, "raft_port", m->raft_port, "role",
                                        m->role == CONF_WITNESS ? "witness" : "member", "connected",
                                        engine_is_connected(a->engine, m->id)));
        }
        return list;
}

static json_t *raft_json(const struct api *a)
{
        struct node *n = engine_node(a->engine);
        const struct raft *raft = node_raft(n);

        return json_pack("{s:s, s:o, s:o, s:o, s:b}", "role", raft_role_name(raft_role(raft)),
                         "term", api_json_u64(raft_term(raft)), "leader",
                         api_json_string(api_member_name(a, raft_leader(raft))), "commit",
                         api_json_u64(raft_index_committed(raft)), "current", node_is_current(n));
}

void api_status(struct api *a, struct http_request *r)
{
        struct instant now = clock_now();

        api_reply_json(r, HTTP_OK,
                       json_pack("{s:s, s:s, s:o, s:o, s:o}", "cluster", a->conf->cluster.name,
                                 "node", api_member_name(a, a->conf->self), "raft", raft_json(a),
                                 "members", members_json(a), "services", services_json(a, now)));
}

/* As Patroni's /cluster lists members. */
static json_t *cluster_member_json(const struct api *a, const struct api_target *t,
                                   const struct node_service_view *v, node_id id)
{
        const struct conf_member *m = conf_member_by_id(a->conf, id);
        const struct failover_report *r = &v->reports[id];
        bool leads = v->holder == id && r->state == FAILOVER_MASTER;
        const char *state = "running";
        json_t *o;

        if (t->conf->postgres)
                state = r->streaming ? "streaming" : failover_database_state_name(r->database);
        if (!r->known)
                state = "unknown";
        o = json_pack("{s:s, s:s, s:s, s:o, s:i, s:o}", "name", m->name, "role",
                      leads ? "leader" : "replica", "state", state, "host",
                      api_json_address(&m->address), "port",
                      t->conf->postgres ? t->conf->postgres->port : 0, "timeline",
                      api_json_u64(r->position.timeline));
        if (o && !leads && t->conf->postgres)
                (void)json_object_set_new(o, "lag", lag_of(v, id));
        return o;
}

void api_cluster(struct api *a, struct http_request *r, const struct api_target *t)
{
        struct node_service_view v;
        json_t *list = json_array();

        node_service_view(engine_node(a->engine), t->service, clock_now(), &v);
        for (size_t i = 0; i < t->conf->n_members; i++)
                (void)json_array_append_new(list,
                                            cluster_member_json(a, t, &v, t->conf->members[i]));
        api_reply_json(r, HTTP_OK,
                       json_pack("{s:o, s:s, s:b}", "members", list, "scope", t->conf->name,
                                 "pause", v.paused));
}

json_t *api_why_not(struct api *a, const struct api_target *t)
{
        struct failover_verdict verdicts[MEMBERS_MAX];
        unsigned n = node_why_not(engine_node(a->engine), t->service, clock_now(), verdicts);
        json_t *list = json_array();

        for (unsigned i = 0; i < n; i++) {
                const struct failover_verdict *v = &verdicts[i];

                (void)json_array_append_new(
                        list, json_pack("{s:o, s:b, s:o, s:o}", "node",
                                        api_json_string(api_member_name(a, v->node)), "eligible",
                                        v->eligible, "rank",
                                        v->eligible ? api_json_u64(v->rank) : json_null(), "reason",
                                        api_json_string(v->reason)));
        }
        return json_pack("{s:s, s:o}", "service", t->conf->name, "verdicts", list);
}
