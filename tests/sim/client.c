/*
 * Clients of the store, through any member: what they ask and what they are told goes to the history,
 * which judges it. An engine that runs answers each of them in time.
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

/* What may be asked of other paths: anything that a client may do. */
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

/*
 * Who compares has mostly seen the newest value; who has not must be told so. Where values may be
 * large, only indexes are compared.
 */
static void compare(struct sim *s, struct history_call *c)
{
        struct history_found seen = history_newest(s->history, c->key);

        if (s->plan.large_permille != 0)
                c->previous_index = sim_between(s, seen.index > 0 ? seen.index : 1, seen.index + 1);
        else if (!seen.exists || sim_chance(s, 200))
                c->previous_number = sim_between(s, 1, s->n_requests);
        else if (sim_chance(s, 600))
                c->previous_number = seen.number;
        else
                c->previous_index = seen.modified;
}

/* What is asked of the files whose whole story is known. */
static void vary_call(struct sim *s, struct history_call *c)
{
        uint64_t drawn = sim_between(s, 0, 99);

        if (drawn < 45) {
                c->has_ttl = c->key == 0 && drawn < 15;
        } else if (drawn < 70) {
                compare(s, c);
        } else if (drawn < 80) {
                c->condition = STORE_MUST_NOT_EXIST;
        } else if (drawn < 88) {
                c->condition = STORE_MUST_EXIST;
        } else {
                c->action = STORE_DELETE;
                if (drawn < 95)
                        compare(s, c);
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

static void put_call(struct store_key_command *command, const struct history_call *c,
                     char *previous)
{
        command->action = c->action;
        command->condition = c->condition;
        command->previous_index = c->previous_index;
        if (c->previous_number != 0) {
                (void)snprintf(previous, KEY_SIZE, "w%" PRIu64, c->previous_number);
                command->previous_value = previous;
        }
}

/* @floor: what anybody had been shown when the client asked. */
static void write_key(struct sim *s, struct machine *m, uint64_t floor)
{
        char path[KEY_SIZE], value[KEY_SIZE], previous[KEY_SIZE];
        struct store_key_command command = { .path = path, .value = value };
        struct history_call call = { .key = (unsigned)sim_between(s, 0, HISTORY_KEYS),
                                     .floor = floor };
        char *large = NULL;
        struct node_event event = { .type = NODE_WRITE, .key = &command };

        (void)request_new(s, m, REQUEST_WRITE);
        event.request = s->n_requests;
        (void)snprintf(value, sizeof(value), "w%" PRIu64, event.request);
        if (call.key == HISTORY_OTHER) {
                (void)snprintf(path, sizeof(path), "/odd/%u", (unsigned)sim_between(s, 0, 3));
                vary(s, &command);
                call.action = command.action;
                call.condition = command.condition;
        } else {
                (void)snprintf(path, sizeof(path), "%s", observe_path(call.key));
                vary_call(s, &call);
                put_call(&command, &call, previous);
                command.has_ttl = call.has_ttl;
                command.ttl = sim_between(s, 100 * USEC_PER_MSEC, 5 * USEC_PER_SEC);
        }
        command.n_value = strlen(value);
        if (sim_chance(s, s->plan.large_permille))
                command.value = large = enlarge(value, &command.n_value);
        history_begin(s->history, event.request, &call);
        engine_feed(s, m, &event);
        free(large);
}

static void read_key(struct sim *s, struct machine *m, unsigned key, uint64_t floor)
{
        struct request *r = request_new(s, m, REQUEST_READ);
        struct node_event event = { .type = NODE_READ, .request = s->n_requests };

        r->key = key;
        history_begin(s->history, event.request,
                      &(struct history_call){ .is_read = true, .key = key, .floor = floor });
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

void client_change(struct sim *s, struct machine *m, const struct node_change *change)
{
        struct node_event event = { .type = NODE_CHANGE, .change = change };

        (void)request_new(s, m, REQUEST_CHANGE);
        event.request = s->n_requests;
        engine_feed(s, m, &event);
}

static void write_answered(struct sim *s, struct request *r, const struct node_effect *e)
{
        if (!e->result || r->index == 0) {
                sim_fail(s, "write %" PRIu64 " was acknowledged by %s, but is not committed",
                         e->request, sim_node_name(s, r->node));
                return;
        }
        s->tally.writes_acknowledged++;
        s->tally.writes_failed += e->result->error != STORE_OK;
        s->tally.writes_repeated += e->result->repeated;
        s->wrote_since |= (uint16_t)(1u << r->node);
        history_wrote(s->history, e->request, e->result->error, e->result->index);
}

static void read_answered(struct sim *s, struct machine *m, const struct request *r,
                          uint64_t number)
{
        struct history_found found = observe_key(m, r->key);

        s->tally.reads++;
        history_read(s->history, number, &found);
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
                s->tally.writes_full += e->outcome == NODE_FULL;
                s->tally.member_refusals += r->kind == REQUEST_CHANGE;
                if (r->kind == REQUEST_CHANGE)
                        STORY(s, m, "the change is not made: %s", e->text ? e->text : "");
                /* Of a message that the network repeats one may be refused and one not. */
                if (e->outcome != NODE_NO_QUORUM &&
                    (e->outcome != NODE_FULL || s->plan.duplicate_permille == 0))
                        history_refused(s->history, e->request);
        } else if (r->kind == REQUEST_CHANGE) {
                s->tally.member_changes++;
        } else if (r->kind == REQUEST_WRITE) {
                write_answered(s, r, e);
        } else if (r->kind == REQUEST_READ) {
                read_answered(s, m, r, e->request);
        } else {
                s->tally.switchovers += r->order == NODE_ORDER_SWITCHOVER;
        }
        observe_verdict(s);
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

enum ask {
        ASK_WRITE,
        ASK_READ, /* what is true now */
        ASK_READ_LOCALLY,
};

static unsigned some_key(struct sim *s)
{
        return (unsigned)sim_between(s, 0, HISTORY_KEYS - 1);
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
        switch ((enum ask)o->number) {
        case ASK_WRITE:
                write_key(s, o->machine, o->epoch);
                return;
        case ASK_READ:
                read_key(s, o->machine, some_key(s), o->epoch);
                return;
        case ASK_READ_LOCALLY:
                observe_read_locally(s, o->machine, some_key(s));
                return;
        }
}

static void ask_of(struct sim *s, struct machine *m, enum ask what)
{
        struct occurrence *o;

        if (!engine_is_listening(s, m))
                return;
        o = sim_plan_at(s, s->now, asked, m);
        o->life = m->engine.life;
        o->number = what;
        o->epoch = history_floor(s->history);
}

/* An engine that stands still finds what it was asked in the meantime when it goes on. */
static void ask(struct sim *s, struct occurrence *o)
{
        struct machine *m = sim_machine(s, (node_id)sim_between(s, 1, s->plan.n_machines));
        usec_t every = s->plan.request_every;

        look_for_unanswered(s);
        if (s->faults_stopped && every > HEALED_EVERY)
                every = HEALED_EVERY;
        ask_of(s, m,
               sim_chance(s, 600)   ? ASK_WRITE
               : sim_chance(s, 800) ? ASK_READ
                                    : ASK_READ_LOCALLY);
        queue_plan_again(&s->queue, o, s->now + 1 + sim_about(s, every));
}

static void insist(struct sim *s, struct occurrence *o)
{
        for (unsigned i = 1; i <= s->plan.n_machines; i++)
                ask_of(s, sim_machine(s, (node_id)i), i == o->from ? ASK_READ : ASK_WRITE);
        if (s->now + o->number < o->epoch)
                queue_plan_again(&s->queue, o, s->now + o->number);
}

void client_insist(struct sim *s, node_id reader, usec_t length)
{
        struct occurrence *o = sim_plan_at(s, s->now, insist, NULL);

        o->from = reader;
        o->number = length / 50 + 1;
        o->epoch = s->now + length;
}

void client_start(struct sim *s)
{
        (void)sim_plan_at(s, s->now, ask, NULL);
}
