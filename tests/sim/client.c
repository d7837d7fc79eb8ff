/*
 * Clients of the store, through any member: what was acknowledged is committed and stays, and what
 * is read is not older than what was acknowledged before.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "tests/sim/sim.h"

#define ANSWER_SLACK (500 * USEC_PER_MSEC)
#define KEY_SIZE 32
#define LARGE RAFT_APPEND_BYTES_MAX
/* When the faults have stopped, every member is asked soon. */
#define HEALED_EVERY (100 * USEC_PER_MSEC)

static struct request *request_new(struct sim *s, struct machine *m, enum request_kind kind)
{
        MUST_GROW(s->requests, s->n_requests, s->n_requests_max);
        s->requests[s->n_requests] = (struct request){
                .kind = kind, .open = true, .node = m->id, .life = m->engine.life, .sent = s->now
        };
        return &s->requests[s->n_requests++];
}

static void key_path(unsigned key, char *ret)
{
        (void)snprintf(ret, KEY_SIZE, "/k/%u", key);
}

/* Every other key command exercises what a client may do; the plain keys are only ever set. */
static void vary(struct sim *s, struct store_key_command *c)
{
        switch (sim_between(s, 0, 5)) {
        case 0:
                c->has_ttl = true;
                c->ttl = sim_between(s, 100 * USEC_PER_MSEC, 5 * USEC_PER_SEC);
                return;
        case 1:
                c->action = STORE_DELETE;
                return;
        case 2:
                c->condition = STORE_MUST_NOT_EXIST;
                return;
        case 3:
                c->condition = STORE_MUST_EXIST;
                return;
        case 4:
                c->action = STORE_CREATE;
                return;
        default:
                return;
        }
}

/* The same, but so long that an append has no room for a second one. */
static char *enlarge(const char *value, size_t *ret_n)
{
        char *large = must_alloc(LARGE + 1, 1);

        memset(large, ' ', LARGE);
        memcpy(large, value, strlen(value));
        *ret_n = LARGE;
        return large;
}

static void write_key(struct sim *s, struct machine *m)
{
        char path[KEY_SIZE], value[KEY_SIZE];
        struct store_key_command command = { .path = path, .value = value };
        char *large = NULL;
        struct node_event event = { .type = NODE_WRITE, .key = &command };
        struct request *r = request_new(s, m, REQUEST_WRITE);

        event.request = s->n_requests;
        r->key = (unsigned)sim_between(s, 0, SIM_KEYS);
        (void)snprintf(value, sizeof(value), "w%" PRIu64, event.request);
        key_path(r->key, path);
        if (r->key == SIM_KEYS) {
                (void)snprintf(path, sizeof(path), "/odd/%u", (unsigned)sim_between(s, 0, 3));
                vary(s, &command);
        }
        command.n_value = strlen(value);
        if (sim_chance(s, s->plan.large_permille))
                command.value = large = enlarge(value, &command.n_value);
        engine_feed(s, m, &event);
        free(large);
}

/* @index_before: what was acknowledged for the key when the client asked. */
static void read_key(struct sim *s, struct machine *m, unsigned key, uint64_t index_before)
{
        struct request *r = request_new(s, m, REQUEST_READ);
        struct node_event event = { .type = NODE_READ, .request = s->n_requests };

        r->key = key;
        r->index_before = index_before;
        engine_feed(s, m, &event);
}

void client_order(struct sim *s, struct machine *m, enum node_order order, size_t service,
                  node_id target)
{
        struct node_event event = { .type = NODE_ORDER,
                                    .order = order,
                                    .service = service,
                                    .target = target,
                                    .bootstrap = FAILOVER_BOOTSTRAP_INITDB };
        struct request *r;

        if (!engine_is_listening(s, m) || m->engine.paused_until > s->now ||
            !machine_is_awake(s, m))
                return;
        r = request_new(s, m, REQUEST_ORDER);
        r->order = order;
        event.request = s->n_requests;
        engine_feed(s, m, &event);
}

static void write_answered(struct sim *s, struct request *r, uint64_t number)
{
        if (r->index == 0) {
                sim_fail(s, "write %" PRIu64 " was acknowledged by %s, but is not committed",
                         number, sim_node_name(s, r->node));
                return;
        }
        s->tally.writes_acknowledged++;
        s->wrote_since |= (uint16_t)(1u << r->node);
        if (r->key < SIM_KEYS && r->index > s->key_acknowledged[r->key])
                s->key_acknowledged[r->key] = r->index;
}

static void read_answered(struct sim *s, struct machine *m, struct request *r, uint64_t number)
{
        const struct store_node *found;
        char path[KEY_SIZE];
        uint64_t written = 0;

        s->tally.reads++;
        key_path(r->key, path);
        if (r->index_before == 0)
                return;
        if (store_get(node_store(m->engine.node), path, &found) == STORE_OK)
                written = strtoull(store_node_view(found).value + 1, NULL, 10);
        if (written == 0 || written > s->n_requests ||
            s->requests[written - 1].index < r->index_before)
                sim_fail(s,
                         "read %" PRIu64 " of %s at %s is stale: it shows write %" PRIu64
                         ", but entry %" PRIu64 " was acknowledged before",
                         number, path, sim_node_name(s, m->id), written, r->index_before);
}

void client_answered(struct sim *s, struct machine *m, const struct node_effect *e)
{
        struct request *r;

        if (e->request == 0 || e->request > s->n_requests) {
                sim_fail(s, "%s answers request %" PRIu64 ", which nobody made",
                         sim_node_name(s, m->id), e->request);
                return;
        }
        r = &s->requests[e->request - 1];
        if (!r->open || r->node != m->id || r->life != m->engine.life) {
                sim_fail(s, "%s answers request %" PRIu64 " twice, or another's",
                         sim_node_name(s, m->id), e->request);
                return;
        }
        r->open = false;
        if (e->outcome != NODE_OK) {
                s->tally.writes_unknown += r->kind == REQUEST_WRITE;
                return;
        }
        if (r->kind == REQUEST_WRITE)
                write_answered(s, r, e->request);
        else if (r->kind == REQUEST_READ)
                read_answered(s, m, r, e->request);
        else
                s->tally.switchovers += r->order == NODE_ORDER_SWITCHOVER;
}

void client_engine_gone(struct sim *s, struct machine *m)
{
        for (size_t i = s->first_open; i < s->n_requests; i++)
                if (s->requests[i].node == m->id)
                        s->requests[i].open = false;
}

/* An engine that runs answers every request, be it that it does not know. */
static void look_for_unanswered(struct sim *s)
{
        usec_t limit = s->plan.request_timeout + s->plan.wake_late_max * 2 + ANSWER_SLACK;

        while (s->first_open < s->n_requests && !s->requests[s->first_open].open)
                s->first_open++;
        for (size_t i = s->first_open; i < s->n_requests; i++) {
                const struct request *r = &s->requests[i];
                const struct machine *m = sim_machine(s, r->node);

                if (!r->open || s->now < r->sent + limit)
                        continue;
                if (m->engine.slept_at + limit > s->now || m->engine.paused_until > s->now ||
                    !machine_is_awake(s, m))
                        continue;
                sim_fail(s, "%s never answers request %zu", sim_node_name(s, r->node), i + 1);
                return;
        }
}

static void asked(struct sim *s, struct occurrence *o)
{
        const struct machine *m = o->machine;

        /* Who wakes up may look at its clients before it looks at the other members. */
        if (machine_is_awake(s, m) && s->now < m->engine.paused_until && sim_chance(s, 500)) {
                queue_plan_first(&s->queue, o, m->engine.paused_until);
                return;
        }
        if (!engine_takes(s, o))
                return;
        if (o->number < SIM_KEYS)
                read_key(s, o->machine, (unsigned)o->number, o->epoch);
        else
                write_key(s, o->machine);
}

/* An engine that stands still finds what it was asked in the meantime when it goes on. */
static void ask(struct sim *s, struct occurrence *o)
{
        struct machine *m = sim_machine(s, (node_id)sim_between(s, 1, s->plan.n_nodes));
        usec_t every = s->plan.request_every;

        look_for_unanswered(s);
        if (s->faults_stopped && every > HEALED_EVERY)
                every = HEALED_EVERY;
        if (engine_is_listening(s, m)) {
                struct occurrence *a = sim_plan_at(s, s->now, asked, m);

                a->life = m->engine.life;
                a->number = sim_chance(s, 650) ? SIM_KEYS : sim_between(s, 0, SIM_KEYS - 1);
                a->epoch = a->number < SIM_KEYS ? s->key_acknowledged[a->number] : 0;
        }
        queue_plan_again(&s->queue, o, s->now + 1 + sim_about(s, every));
}

void client_start(struct sim *s)
{
        (void)sim_plan_at(s, s->now, ask, NULL);
}
