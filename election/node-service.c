/*
 * Between the failover core of each service and the rest of the node: the world as its view, its
 * effects as steps, commands and reports, the operator's orders as keys of the store.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "election/node-internal.h"

#define ORDER_DIRECTORY STORE_SYSTEM_DIRECTORY "/order/"
#define RESULT_DIRECTORY STORE_SYSTEM_DIRECTORY "/result/"
#define PAUSED_DIRECTORY STORE_SYSTEM_DIRECTORY "/paused/"
#define HISTORY_DIRECTORY STORE_SYSTEM_DIRECTORY "/history/"

enum { PATH_SIZE = 128 };

static void path_of(char ret[PATH_SIZE], const char *directory, const struct node_service *s)
{
        (void)snprintf(ret, PATH_SIZE, "%s%s", directory, s->config.name);
}

/* A system key of this service; its value is NULL if it is not there. */
static struct store_view system_key(const struct node *n, const char *directory,
                                    const struct node_service *s)
{
        const struct store_node *node;
        char path[PATH_SIZE];

        path_of(path, directory, s);
        if (store_get(n->store, path, &node) != STORE_OK)
                return (struct store_view){ 0 };
        return store_node_view(node);
}

/* Writes a system key; nobody waits for the answer. */
static void write_system(struct node *n, const char *path, enum store_key_action action,
                         const char *value, usec_t ttl)
{
        node_request_write(n, 0,
                           &(struct store_key_command){ .action = action,
                                                        .path = path,
                                                        .value = value,
                                                        .n_value = strlen(value),
                                                        .system = true,
                                                        .has_ttl = ttl != 0,
                                                        .ttl = ttl });
}

/* An order as a key holds it: "switchover EPOCH TARGET". */
static struct failover_order parse_order(const struct store_view *key)
{
        struct failover_order order = { 0 };
        char type[16];
        unsigned target;

        if (!key->value ||
            sscanf(key->value, "%15s %" SCNu64 " %u", type, &order.epoch, &target) != 3 ||
            target > MEMBERS_MAX)
                return order;
        order.target = (node_id)target;
        order.id = key->modified;
        if (strcmp(type, "switchover") == 0)
                order.type = FAILOVER_ORDER_SWITCHOVER;
        else if (strcmp(type, "failover") == 0)
                order.type = FAILOVER_ORDER_FAILOVER;
        return order;
}

static void read_orders(struct node *n)
{
        if (n->store_index_seen == store_index(n->store))
                return;
        n->store_index_seen = store_index(n->store);
        for (size_t i = 0; i < n->config.n_services; i++) {
                struct node_service *s = &n->services[i];
                struct store_view order = system_key(n, ORDER_DIRECTORY, s);

                s->view.order = parse_order(&order);
                s->view.paused = system_key(n, PAUSED_DIRECTORY, s).value != NULL;
                s->looked_at = false;
        }
}

static bool get_position(const struct store_lease *l, struct failover_position *ret)
{
        struct reader r = reader_of(l->position, l->n_position);
        struct failover_position p = { .system_id = reader_get_u64(&r) };

        p.timeline = reader_get_u64(&r);
        p.lsn = reader_get_u64(&r);
        if (!reader_done(&r))
                return false;
        *ret = p;
        return true;
}

static void own_report(struct node *n, struct node_service *s)
{
        struct failover_report *r = &s->view.reports[n->config.self];
        const struct node_database_status *d = &s->status;

        *r = (struct failover_report){ .known = true,
                                       .heard = n->now,
                                       .state = failover_state(s->failover),
                                       .database = d->state,
                                       .role = d->role,
                                       .healthy = d->healthy,
                                       .writable = d->writable,
                                       .streaming = d->streaming,
                                       .clean = d->clean,
                                       .closed = failover_is_closed(s->failover),
                                       .round = failover_frozen_round(s->failover),
                                       .epoch = s->view.epoch,
                                       .position = d->position,
                                       .upstream = d->upstream,
                                       .priority = s->config.failover.priority };
        r->frozen = r->round != 0 && r->round == s->view.freed;
        if (!s->config.failover.has_database)
                r->writable = r->state == FAILOVER_MASTER;
        memcpy(r->reason, d->reason, sizeof(r->reason));
}

static void refresh_view(struct node *n, size_t service)
{
        struct node_service *s = &n->services[service];
        const struct store_lease *l = store_lease(n->store, s->config.name);
        struct failover_view *v = &s->view;

        v->now = n->now;
        v->lease = node_lease_state(n, service);
        v->valid_until = s->holder.valid_until;
        v->demote_at = s->holder.demote_at;
        if (l) {
                v->holder = l->holder;
                v->epoch = l->epoch;
                v->freed = l->freed;
                v->expired = l->expired;
                v->freed_at = l->state == STORE_LEASE_FREE ? l->noted : INSTANT_NEVER;
                v->reserved_for = l->reserved_for;
                v->has_recorded = get_position(l, &v->recorded);
        }
        if (s->failover)
                own_report(n, s);
}

static void send_report(struct node *n, size_t service)
{
        struct node_service *s = &n->services[service];
        const struct raft_members *m = raft_members(n->raft);

        own_report(n, s);
        s->report_at = instant_after(n->now, s->config.failover.report_interval);
        for (unsigned i = 0; i < m->n_voters; i++) {
                struct buffer *b;

                if (m->voters[i] == n->config.self)
                        continue;
                b = node_send(n, m->voters[i], NODE_MESSAGE_REPORT);
                buffer_put_string(b, s->config.name);
                node_message_put_report(b, &s->view.reports[n->config.self]);
                node_send_end(n);
        }
}

static void run_step(struct node *n, size_t service, const struct failover_effect *f)
{
        struct node_service *s = &n->services[service];
        struct node_effect *e = node_add(n, NODE_RUN);
        struct node_note *note;

        e->service = service;
        e->epoch = s->view.epoch;
        e->run = (struct node_run){ .id = f->id,
                                    .step = f->step,
                                    .deadline = f->deadline,
                                    .mode = f->mode,
                                    .bootstrap = f->bootstrap,
                                    .peer = f->peer };
        s->step_started = n->now;
        s->step_started_id = f->id;
        s->step_started_kind = f->step;
        if (f->step == FAILOVER_STEP_POSITION)
                return; /* asked many times a second during a hand-over */
        note = node_note(n, NODE_NOTE_STEP_STARTED);
        note->service = service;
        note->step = f->step;
        note->epoch = s->view.epoch;
}

static void write_result(struct node *n, const struct node_service *s,
                         const struct failover_effect *f)
{
        char path[PATH_SIZE], value[FAILOVER_REASON_SIZE + 64];

        path_of(path, ORDER_DIRECTORY, s);
        write_system(n, path, STORE_DELETE, "", 0);
        path_of(path, RESULT_DIRECTORY, s);
        (void)snprintf(value, sizeof(value), "%" PRIu64 " %s %s", s->view.order.epoch,
                       f->ok ? "ok" : "failed", f->text);
        write_system(n, path, STORE_SET, value, NODE_HISTORY_TTL_SEC * USEC_PER_SEC);
}

static void write_history(struct node *n, const struct node_service *s,
                          const struct failover_effect *f)
{
        char path[PATH_SIZE], value[FAILOVER_REASON_SIZE + 256];

        path_of(path, HISTORY_DIRECTORY, s);
        (void)snprintf(value, sizeof(value), "%" PRIu64 " %s %" PRIu64 " %" PRIu64 " %s",
                       s->view.epoch, node_name(n, n->config.self), n->wall, f->took, f->text);
        write_system(n, path, STORE_CREATE, value, NODE_HISTORY_TTL_SEC * USEC_PER_SEC);
}

static void note_text(struct node *n, size_t service, const struct failover_effect *f)
{
        struct node_note *note = node_note(n, NODE_NOTE_FAILOVER);

        note->service = service;
        note->epoch = n->services[service].view.epoch;
        note->took = f->took;
        memcpy(note->text, f->text, sizeof(note->text));
}

static void note_move(struct node *n, size_t service, const struct failover_effect *f)
{
        struct node_note *note = node_note(n, NODE_NOTE_MOVED);

        note->service = service;
        note->epoch = n->services[service].view.epoch;
        note->state_from = f->from;
        note->state_to = f->to;
        memcpy(note->text, f->text, sizeof(note->text));
}

/* Returns whether the others should hear of it. */
static bool carry_out(struct node *n, size_t service, const struct failover_effect *f)
{
        struct node_service *s = &n->services[service];

        switch (f->type) {
        case FAILOVER_CAMPAIGN:
                node_lease_campaign(n, service);
                return false;
        case FAILOVER_RELEASE:
                node_lease_release(n, service, f->peer);
                return false;
        case FAILOVER_RUN:
                run_step(n, service, f);
                return false;
        case FAILOVER_CANCEL: {
                struct node_effect *e = node_add(n, NODE_CANCEL);

                e->service = service;
                e->id = f->id;
                return false;
        }
        case FAILOVER_REPORT:
                return true;
        case FAILOVER_END_ORDER:
                write_result(n, s, f);
                note_text(n, service, f);
                return false;
        case FAILOVER_HISTORY:
                write_history(n, s, f);
                note_text(n, service, f);
                return false;
        case FAILOVER_MOVED:
                note_move(n, service, f);
                return true;
        case FAILOVER_NOTE:
                note_text(n, service, f);
                return false;
        }
        return false;
}

void node_service_event(struct node *n, size_t service, const struct failover_event *event)
{
        struct node_service *s = &n->services[service];
        struct failover_effects effects;
        bool report = false;

        refresh_view(n, service);
        failover_step(s->failover, event, &s->view, &effects);
        for (size_t i = 0; i < effects.n; i++)
                report |= carry_out(n, service, &effects.list[i]);
        s->looked_at = effects.n == 0;
        if (report)
                send_report(n, service);
}

/* A look may change what a look sees: again, until nothing happens. */
static void look(struct node *n, size_t service)
{
        struct node_service *s = &n->services[service];

        for (unsigned i = 0; i < FAILOVER_STATES; i++) {
                if (s->looked_at && !instant_reached(failover_deadline(s->failover), n->now))
                        return;
                node_service_event(n, service,
                                   &(struct failover_event){ .type = FAILOVER_EVENT_VIEW });
        }
        s->looked_at = true;
}

void node_service_look(struct node *n)
{
        read_orders(n);
        for (size_t i = 0; i < n->config.n_services; i++) {
                struct node_service *s = &n->services[i];

                if (!s->failover) {
                        if (!s->looked_at)
                                refresh_view(n, i);
                        s->looked_at = true;
                        continue;
                }
                if (n->current)
                        look(n, i);
                if (instant_reached(s->report_at, n->now))
                        send_report(n, i);
        }
}

void node_service_reported(struct node *n, node_id from, size_t service,
                           const struct failover_report *report)
{
        struct node_service *s = &n->services[service];

        s->view.reports[from] = *report;
        s->view.reports[from].heard = n->now;
        s->looked_at = false;
}

/* A change that others decide by is told at once; a mere advance waits for the next report. */
static bool differs(const struct node_database_status *a, const struct node_database_status *b)
{
        return a->state != b->state || a->role != b->role || a->healthy != b->healthy ||
               a->writable != b->writable || a->streaming != b->streaming ||
               a->frozen != b->frozen || a->clean != b->clean || a->upstream != b->upstream ||
               a->position.timeline != b->position.timeline;
}

static void got_status(struct node *n, size_t service, const struct node_database_status *status)
{
        struct node_service *s = &n->services[service];
        bool changed = differs(&s->status, status);

        s->status = *status;
        s->looked_at = false;
        if (changed && s->failover)
                send_report(n, service);
}

/* What a step achieved holds before the next status says it, too. */
static void step_achieved(struct node_service *s, enum failover_step step)
{
        struct node_database_status *d = &s->status;

        switch (step) {
        case FAILOVER_STEP_PROMOTE:
        case FAILOVER_STEP_RESTART:
                d->state = FAILOVER_DATABASE_RUNNING;
                d->role = FAILOVER_ROLE_PRIMARY;
                d->writable = true;
                d->streaming = false;
                break;
        case FAILOVER_STEP_DEMOTE:
                d->state = FAILOVER_DATABASE_DOWN;
                d->role = FAILOVER_ROLE_NONE;
                d->writable = d->streaming = false;
                break;
        default:
                break;
        }
}

static void note_step_ended(struct node *n, const struct node_event *event)
{
        struct node_service *s = &n->services[event->service];
        struct node_note *note;

        if (event->id != s->step_started_id || s->step_started_kind == FAILOVER_STEP_POSITION)
                return;
        note = node_note(n, NODE_NOTE_STEP_ENDED);
        note->service = event->service;
        note->step = s->step_started_kind;
        note->epoch = s->view.epoch;
        note->ok = event->ok;
        note->took = n->now.usec - s->step_started.usec;
        if (event->text)
                (void)snprintf(note->text, sizeof(note->text), "%s", event->text);
}

static void take_position(struct node_service *s, const struct node_event *event,
                          struct failover_event *f)
{
        if (!event->status || event->status->position.lsn == 0)
                return;
        f->position = event->status->position;
        s->status.position.lsn = f->position.lsn;
        if (f->position.timeline != 0)
                s->status.position.timeline = f->position.timeline;
}

static void got_done(struct node *n, const struct node_event *event)
{
        struct node_service *s = &n->services[event->service];
        bool ours = event->id == s->step_started_id;
        bool asked_position = ours && s->step_started_kind == FAILOVER_STEP_POSITION;
        struct failover_event f = { .type = event->ok ? FAILOVER_EVENT_STEP_DONE
                                                      : FAILOVER_EVENT_STEP_FAILED,
                                    .id = event->id,
                                    .text = event->text };

        take_position(s, event, &f);
        note_step_ended(n, event);
        if (ours && event->ok && s->config.failover.has_database)
                step_achieved(s, s->step_started_kind);
        s->looked_at = false;
        if (n->current)
                node_service_event(n, event->service, &f);
        if (asked_position)
                send_report(n, event->service);
}

static void got_closed(struct node *n, const struct node_event *event)
{
        struct node_service *s = &n->services[event->service];

        if (event->epoch == s->holder.epoch)
                s->holder.over = true;
        s->looked_at = false;
        /* Said of an earlier tenure it proves nothing about what acts under this one. */
        if (n->current && event->epoch >= s->holder.epoch)
                node_service_event(n, event->service,
                                   &(struct failover_event){ .type = FAILOVER_EVENT_CLOSED,
                                                             .ok = event->ok,
                                                             .text = event->text });
}

void node_service_hands(struct node *n, const struct node_event *event)
{
        struct node_service *s;

        assert(event->service < n->config.n_services);
        s = &n->services[event->service];
        if (!s->failover)
                return;
        switch (event->type) {
        case NODE_HANDS_STATUS:
                got_status(n, event->service, event->status);
                break;
        case NODE_HANDS_ACK:
                if (event->epoch == s->holder.epoch)
                        s->holder.hands_asked = INSTANT_NEVER;
                break;
        case NODE_HANDS_DONE:
                got_done(n, event);
                break;
        case NODE_HANDS_CLOSED:
                got_closed(n, event);
                break;
        case NODE_HANDS_ADDRESSES:
                s->addresses = event->ok;
                break;
        default:
                assert(false);
        }
}

/* An order that is carried out by whoever is or becomes master goes into the store. */
static void store_order(struct node *n, const struct node_event *event, const char *type)
{
        struct node_service *s = &n->services[event->service];
        char path[PATH_SIZE], value[64];

        path_of(path, ORDER_DIRECTORY, s);
        (void)snprintf(value, sizeof(value), "%s %" PRIu64 " %u", type, s->view.epoch,
                       event->target);
        node_request_write(n, event->request,
                           &(struct store_key_command){ .action = STORE_SET,
                                                        .path = path,
                                                        .value = value,
                                                        .n_value = strlen(value),
                                                        .condition = STORE_MUST_NOT_EXIST,
                                                        .system = true,
                                                        .has_ttl = true,
                                                        .ttl = NODE_ORDER_TTL_SEC * USEC_PER_SEC });
}

static void set_key(struct node *n, const struct node_event *event, const char *directory,
                    enum store_key_action action)
{
        char path[PATH_SIZE];

        path_of(path, directory, &n->services[event->service]);
        node_request_write(n, event->request,
                           &(struct store_key_command){ .action = action,
                                                        .path = path,
                                                        .value = "1",
                                                        .n_value = 1,
                                                        .system = true });
}

/* An order for the database of this very node; NULL if it may be begun, or why not. */
static const char *local_objection(const struct node *n, const struct node_event *event)
{
        const struct node_service *s = &n->services[event->service];

        if (!s->failover || !s->config.failover.has_database)
                return "this node has no database of that service";
        if (!n->current)
                return "this node has not caught up with the cluster yet";
        if (failover_state(s->failover) != FAILOVER_STANDBY)
                return "this node is busy with a change of master";
        if (event->order == NODE_ORDER_BOOTSTRAP && s->view.lease != FAILOVER_LEASE_UNUSED)
                return "the service has had a master already";
        if (event->order == NODE_ORDER_CLONE && s->view.lease != FAILOVER_LEASE_THEIRS)
                return "no other node is master: there is nothing to copy";
        return NULL;
}

static void local_order(struct node *n, const struct node_event *event)
{
        const char *objection;

        refresh_view(n, event->service);
        objection = local_objection(n, event);
        node_answer(n, event->request, objection ? NODE_REFUSED : NODE_OK, NULL, objection);
        if (objection)
                return;
        node_service_event(n, event->service,
                           &(struct failover_event){ .type = event->order == NODE_ORDER_BOOTSTRAP
                                                                     ? FAILOVER_EVENT_BOOTSTRAP
                                                                     : FAILOVER_EVENT_CLONE,
                                                     .bootstrap = event->bootstrap });
}

static bool takes_part(const struct failover_config *c, node_id node)
{
        for (unsigned i = 0; i < c->n_members; i++) {
                if (c->members[i] == node)
                        return true;
        }
        return false;
}

/* NULL if the order may be written down, or why not. */
static const char *move_objection(const struct node *n, const struct node_event *event)
{
        const struct node_service *s = &n->services[event->service];

        if (event->target != NODE_NOBODY && !takes_part(&s->config.failover, event->target))
                return "no member of this service has that name";
        if (!n->current)
                return "this node has not caught up with the cluster yet";
        if (s->view.epoch == 0)
                return "the service never had a master: bootstrap it first";
        if (event->order == NODE_ORDER_SWITCHOVER && s->view.lease == FAILOVER_LEASE_FREE)
                return "the service has no master to switch from; see why-not and failover";
        return NULL;
}

static void ordered_move(struct node *n, const struct node_event *event)
{
        bool forced = event->order == NODE_ORDER_FAILOVER;
        const char *objection;

        refresh_view(n, event->service);
        objection = move_objection(n, event);
        if (objection) {
                node_answer(n, event->request, NODE_REFUSED, NULL, objection);
                return;
        }
        store_order(n, event, forced ? "failover" : "switchover");
}

void node_service_order(struct node *n, const struct node_event *event)
{
        assert(event->service < n->config.n_services);
        switch (event->order) {
        case NODE_ORDER_SWITCHOVER:
        case NODE_ORDER_FAILOVER:
                ordered_move(n, event);
                break;
        case NODE_ORDER_CANCEL:
                set_key(n, event, ORDER_DIRECTORY, STORE_DELETE);
                break;
        case NODE_ORDER_PAUSE:
                set_key(n, event, PAUSED_DIRECTORY, STORE_SET);
                break;
        case NODE_ORDER_RESUME:
                set_key(n, event, PAUSED_DIRECTORY, STORE_DELETE);
                break;
        case NODE_ORDER_BOOTSTRAP:
        case NODE_ORDER_CLONE:
                local_order(n, event);
                break;
        }
}

struct instant node_service_deadline(const struct node *n)
{
        struct instant deadline = INSTANT_FOREVER;

        for (size_t i = 0; i < n->config.n_services; i++) {
                const struct node_service *s = &n->services[i];

                if (!s->failover)
                        continue;
                deadline = instant_earlier(deadline, s->report_at);
                if (n->current)
                        deadline = instant_earlier(
                                deadline, s->looked_at ? failover_deadline(s->failover) : n->now);
        }
        return deadline;
}

static bool may_hold(const struct node_service_config *c, const struct member *m)
{
        if (m->kind != MEMBER_FULL || m->is_learning)
                return false;
        for (unsigned i = 0; i < c->n_holders; i++) {
                if (strcmp(c->holders[i], m->name) == 0)
                        return true;
        }
        return c->is_for_all;
}

/* Who has once taken part goes on, and finds itself not eligible. */
static void follow_members(struct node *n, struct node_service *s)
{
        struct failover_config *c = &s->config.failover;
        bool follows = s->config.is_for_all || s->config.n_holders > 0;

        if (follows)
                c->n_members = 0;
        for (unsigned i = 0; follows && i < n->members.n; i++) {
                if (may_hold(&s->config, &n->members.list[i]))
                        c->members[c->n_members++] = n->members.list[i].id;
        }
        for (node_id id = 0; id <= MEMBERS_MAX; id++)
                c->names[id] = n->names[id][0] ? n->names[id] : NULL;
        s->looked_at = false;
        if (s->failover)
                failover_set_members(s->failover, c);
        else if (takes_part(c, n->config.self))
                s->failover = failover_new(c, n->now);
}

void node_service_members_changed(struct node *n)
{
        for (size_t i = 0; i < n->config.n_services; i++)
                follow_members(n, &n->services[i]);
}

void node_service_start(struct node *n)
{
        for (size_t i = 0; i < n->config.n_services; i++) {
                struct node_service *s = &n->services[i];
                struct failover_config *c = &s->config.failover;

                c->self = n->config.self;
                /* Below 2^53, which is as far as all readers of JSON can count. */
                c->steps_before = (n->config.incarnation & UINT32_MAX) << 21;
                s->report_at = n->now;
                follow_members(n, s);
        }
}

void node_service_done(struct node *n)
{
        for (size_t i = 0; i < n->config.n_services; i++)
                failover_free(n->services[i].failover);
}

void node_service_view(const struct node *n, size_t service, struct instant now,
                       struct node_service_view *ret)
{
        const struct node_service *s = &n->services[service];

        assert(service < n->config.n_services);
        *ret = (struct node_service_view){
                .name = s->config.name,
                .state = s->failover ? failover_state(s->failover) : FAILOVER_STANDBY,
                .since = s->failover ? failover_since(s->failover) : n->started,
                .valid_until = s->holder.valid_until,
                .epoch = s->view.epoch,
                .lease = node_lease_state(n, service),
                .holder = s->view.holder,
                .paused = s->view.paused,
                .addresses = s->addresses,
                .order = s->view.order,
        };
        ret->holds = ret->lease == FAILOVER_LEASE_OURS && !instant_reached(ret->valid_until, now);
        memcpy(ret->reports, s->view.reports, sizeof(ret->reports));
}

unsigned node_why_not(const struct node *n, size_t service, struct instant now,
                      struct failover_verdict *ret)
{
        const struct node_service *s = &n->services[service];
        struct failover_view view = s->view;
        struct failover_config config = s->config.failover;

        view.now = now;
        /* A node outside of the service judges all by what it heard. */
        config.self = s->failover ? n->config.self : NODE_NOBODY;
        return failover_rank(&config, &view, ret);
}
