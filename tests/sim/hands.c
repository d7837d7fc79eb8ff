/*
 * The hands of a machine, by the contract of executor and agent: they hold each lease's deadlines
 * by their own clock and let go by themselves, whatever the engine does; they carry out steps, but
 * nothing that opens a service unless the lease lasts; they survive the engine.
 */
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "tests/sim/sim.h"

#define TALK_MIN 20
#define TALK_MAX (2 * USEC_PER_MSEC)
#define TALK_SLOW (30 * USEC_PER_MSEC)
/* What must be left of a lease when something is opened under it (rule L11). */
#define ACTION_BUDGET (2 * USEC_PER_MSEC)
#define KERNEL_LATE_MAX (80 * USEC_PER_MSEC)
#define ADDRESS_STEP_MAX (20 * USEC_PER_MSEC)
#define AGENT_RESTART_MAX (1 * USEC_PER_SEC)
#define REPORT_EVERY (1 * USEC_PER_SEC)

/* An event for the engine with what it points to. */
struct told {
        struct node_event event;
        struct node_database_status status;
};

bool hands_executor_awake(const struct sim *s, const struct machine *m)
{
        return machine_is_awake(s, m) && m->executor_up && s->now >= m->executor_paused_until;
}

bool hands_agent_awake(const struct sim *s, const struct machine *m)
{
        return machine_is_awake(s, m) && m->agent_up && s->now >= m->agent_paused_until;
}

static usec_t later(usec_t a, usec_t b)
{
        return a > b ? a : b;
}

/* Whether the executor that @o is meant for takes it now. If it sleeps, @o is planned again. */
static bool executor_takes(struct sim *s, struct occurrence *o)
{
        struct machine *m = o->machine;

        if (!m->up || !m->executor_up || o->life != m->executor_life)
                return false;
        if (hands_executor_awake(s, m))
                return true;
        queue_plan_again(&s->queue, o, later(m->suspended_until, m->executor_paused_until));
        return false;
}

static usec_t talk_delay(struct sim *s)
{
        return sim_chance(s, 20) ? sim_between(s, TALK_MIN, TALK_SLOW)
                                 : sim_between(s, TALK_MIN, TALK_MAX);
}

/* To the engine. */

static void engine_hears(struct sim *s, struct occurrence *o)
{
        struct told *t = o->data;

        if (!engine_takes(s, o))
                return;
        t->event.status = &t->status;
        engine_feed(s, o->machine, &t->event);
}

void hands_tell(struct sim *s, struct machine *m, const struct node_event *event)
{
        struct occurrence *o;
        struct told *t;

        if (!m->engine.running)
                return;
        m->to_engine_last = later(m->to_engine_last, s->now + talk_delay(s));
        o = sim_plan_at(s, m->to_engine_last, engine_hears, m);
        o->life = m->engine.life;
        o->data = t = must_alloc(1, sizeof(*t));
        t->event = *event;
        if (event->status)
                t->status = *event->status;
        else
                database_status(s, m, event->service, &t->status);
}

void hands_report(struct sim *s, struct machine *m, size_t service)
{
        if (hands_executor_awake(s, m) && m->id <= s->plan.n_candidates)
                hands_tell(s, m,
                           &(struct node_event){ .type = NODE_HANDS_STATUS, .service = service });
}

static void report_regularly(struct sim *s, struct occurrence *o)
{
        if (!executor_takes(s, o))
                return;
        for (size_t i = 0; i < s->plan.n_services; i++)
                hands_report(s, o->machine, i);
        queue_plan_again(&s->queue, o, s->now + REPORT_EVERY);
}

static void tell_addresses(struct sim *s, struct machine *m, size_t service)
{
        hands_tell(s, m,
                   &(struct node_event){ .type = NODE_HANDS_ADDRESSES,
                                         .service = service,
                                         .ok = m->hands[service].address });
}

void hands_greet(struct sim *s, struct machine *m)
{
        for (size_t i = 0; i < s->plan.n_services && m->id <= s->plan.n_candidates; i++) {
                hands_report(s, m, i);
                if (s->plan.has_address)
                        tell_addresses(s, m, i);
        }
}

/* The address, with a lifetime that the kernel keeps. */

static void remove_address(struct sim *s, struct machine *m, size_t service)
{
        struct hands *h = &m->hands[service];

        h->address_wanted = false;
        if (!h->address)
                return;
        h->address = false;
        STORY(s, m, "its address is taken away");
        check_resources(s, m, service);
}

static void kernel_removes(struct sim *s, struct occurrence *o)
{
        struct machine *m = o->machine;
        struct hands *h = &m->hands[o->service];

        if (o->life != m->boot || !h->address || !m->up)
                return;
        if (!machine_is_awake(s, m)) {
                queue_plan_again(&s->queue, o, m->suspended_until);
                return;
        }
        if (!instant_reached(h->address_until, machine_clock(s, m)))
                return;
        h->address = false;
        STORY(s, m, "the kernel takes its address away");
        check_resources(s, m, o->service);
        if (hands_executor_awake(s, m))
                tell_addresses(s, m, o->service);
}

/* Whole seconds, rounded down; a lease that has no whole second left is not prolonged. */
static void prolong_address(struct sim *s, struct machine *m, size_t service)
{
        struct hands *h = &m->hands[service];
        struct instant now = machine_clock(s, m);
        usec_t whole = instant_until(h->hold.close_by, now) / USEC_PER_SEC * USEC_PER_SEC;
        struct occurrence *o;

        if (whole == 0)
                return;
        h->address_until = instant_after(now, whole);
        o = sim_plan_at(s,
                        sim_clock_when(&m->clock, h->address_until, s->now) +
                                sim_between(s, 0, KERNEL_LATE_MAX),
                        kernel_removes, m);
        o->service = service;
        o->life = m->boot;
        if (!h->address && h->address_wanted) {
                h->address = true;
                STORY(s, m, "its address is put back");
                check_resources(s, m, service);
                tell_addresses(s, m, service);
        }
}

/* Letting go. */

static void end_step(struct sim *s, struct machine *m, size_t service, struct hands_step *step,
                     const char *failure)
{
        step->running = false;
        STORY(s, m, "step %llu, %s, ended%s%s", (unsigned long long)step->id,
              failover_step_name(step->run.step), failure ? ": " : "", failure ? failure : "");
        if (step->engine_life != m->engine.life)
                return; /* a later engine counts its own steps */
        hands_tell(s, m,
                   &(struct node_event){ .type = NODE_HANDS_DONE,
                                         .service = service,
                                         .epoch = step->epoch,
                                         .id = step->id,
                                         .ok = !failure,
                                         .text = failure ? failure : "" });
}

static void cancel_steps(struct sim *s, struct machine *m, size_t service, const char *why)
{
        for (size_t i = 0; i < SIM_STEPS_MAX; i++)
                if (m->hands[service].steps[i].running)
                        end_step(s, m, service, &m->hands[service].steps[i], why);
        m->hands[service].database.busy_until = s->now;
}

/* Both ends of the hands have a part: the agent the database, the executor all. */
static void let_go_now(struct sim *s, struct machine *m, size_t service)
{
        struct hands *h = &m->hands[service];

        database_close(s, m, service, false);
        remove_address(s, m, service);
        h->armed = false;
        h->epoch_dead = h->epoch;
        h->letting_go = false;
        h->deadline_life++;
        s->tally.let_go++;
        STORY(s, m, "the hands have let go of epoch %llu", (unsigned long long)h->epoch);
        hands_report(s, m, service);
        if (s->plan.has_address)
                tell_addresses(s, m, service);
        hands_tell(s, m,
                   &(struct node_event){ .type = NODE_HANDS_CLOSED,
                                         .service = service,
                                         .epoch = h->epoch,
                                         .ok = true,
                                         .text = "the deadline came" });
}

static usec_t when_somebody_wakes(const struct sim *s, const struct machine *m)
{
        usec_t until = USEC_INFINITY;

        if (m->executor_up)
                until = later(m->executor_paused_until, m->suspended_until);
        if (m->agent_up && later(m->agent_paused_until, m->suspended_until) < until)
                until = later(m->agent_paused_until, m->suspended_until);
        return later(until, s->now);
}

static void last_moment(struct sim *s, struct occurrence *o)
{
        struct machine *m = o->machine;
        struct hands *h = &m->hands[o->service];

        if (!m->up || !h->armed || o->life != h->deadline_life)
                return;
        if (hands_executor_awake(s, m)) {
                let_go_now(s, m, o->service);
                return;
        }
        if (hands_agent_awake(s, m)) {
                /* The executor does its part when it can; the kernel looks after the address. */
                database_close(s, m, o->service, false);
                if (m->executor_up)
                        queue_plan_again(&s->queue, o,
                                         later(m->executor_paused_until, m->suspended_until));
                return;
        }
        if (when_somebody_wakes(s, m) != USEC_INFINITY)
                queue_plan_again(&s->queue, o, when_somebody_wakes(s, m));
}

/* The guard is for those who wake late: all of it is used sometimes. */
static struct instant latest(struct sim *s, const struct node_hold *h)
{
        usec_t guard = instant_until(h->valid_until, h->close_by);

        if (guard == 0 || guard == USEC_INFINITY)
                return h->close_by;
        return instant_after(h->close_by,
                             sim_chance(s, 500) ? guard - 1 : sim_between(s, 0, guard - 1));
}

static void begin_to_let_go(struct sim *s, struct machine *m, size_t service)
{
        struct hands *h = &m->hands[service];
        struct instant now = machine_clock(s, m), by = latest(s, &h->hold);
        struct occurrence *o;
        usec_t at;

        h->letting_go = true;
        STORY(s, m, "the hands begin to let go of epoch %llu", (unsigned long long)h->epoch);
        if (hands_executor_awake(s, m)) {
                cancel_steps(s, m, service, "the deadline came");
                remove_address(s, m, service);
        }
        if (instant_reached(h->hold.close_by, now))
                at = s->now;
        else
                at = sim_clock_when(&m->clock, by, s->now);
        if (at > s->now && sim_chance(s, 500))
                at = sim_between(s, s->now, at);
        o = sim_plan_at(s, at, last_moment, m);
        o->service = service;
        o->life = ++h->deadline_life;
}

static void deadline_comes(struct sim *s, struct occurrence *o)
{
        struct machine *m = o->machine;
        struct hands *h = &m->hands[o->service];

        if (!m->up || !h->armed || h->letting_go || o->life != h->deadline_life)
                return;
        if (!hands_executor_awake(s, m) && !hands_agent_awake(s, m)) {
                usec_t at = when_somebody_wakes(s, m);

                if (at != USEC_INFINITY && at > s->now)
                        queue_plan_again(&s->queue, o, at);
                return;
        }
        begin_to_let_go(s, m, o->service);
}

static void arm_deadline(struct sim *s, struct machine *m, size_t service)
{
        struct hands *h = &m->hands[service];
        struct occurrence *o = sim_plan_at(s, sim_clock_when(&m->clock, h->hold.demote_at, s->now),
                                           deadline_comes, m);

        o->service = service;
        o->life = ++h->deadline_life;
}

void hands_catch_up(struct sim *s, struct machine *m)
{
        struct instant now = machine_clock(s, m);

        for (size_t i = 0; i < s->plan.n_services; i++) {
                struct hands *h = &m->hands[i];

                if (h->address && instant_reached(h->address_until, now))
                        h->address = false;
                if (!h->armed || !instant_reached(h->hold.close_by, now))
                        continue;
                if (hands_executor_awake(s, m))
                        let_go_now(s, m, i);
                else if (hands_agent_awake(s, m))
                        database_close(s, m, i, false);
        }
}

/* From the engine. */

static void take_hold(struct sim *s, struct machine *m, const struct node_effect *e)
{
        struct hands *h = &m->hands[e->service];

        if (h->letting_go || e->epoch < h->epoch_seen || e->epoch <= h->epoch_dead)
                return;
        if (!h->armed || e->epoch > h->epoch) {
                h->hold = e->hold;
                h->epoch = e->epoch;
                h->armed = true;
        } else {
                h->hold.incarnation = e->hold.incarnation;
                h->hold.demote_at = instant_later(h->hold.demote_at, e->hold.demote_at);
                h->hold.close_by = instant_later(h->hold.close_by, e->hold.close_by);
                h->hold.valid_until = instant_later(h->hold.valid_until, e->hold.valid_until);
        }
        h->epoch_seen = e->epoch;
        arm_deadline(s, m, e->service);
        if (h->address || h->address_wanted)
                prolong_address(s, m, e->service);
        hands_tell(s, m,
                   &(struct node_event){
                           .type = NODE_HANDS_ACK, .service = e->service, .epoch = e->epoch });
}

static void take_let_go(struct sim *s, struct machine *m, const struct node_effect *e)
{
        struct hands *h = &m->hands[e->service];

        if (!h->armed || h->epoch != e->epoch)
                return;
        h->armed = false;
        h->epoch_dead = h->epoch;
        h->letting_go = false;
        h->deadline_life++;
        h->address_wanted = false;
        if (h->database.open || h->address)
                sim_fail(s, "%s is told that all of epoch %llu is closed, but it is not",
                         sim_node_name(s, m->id), (unsigned long long)e->epoch);
}

static bool opens(enum failover_step step)
{
        return step == FAILOVER_STEP_PROMOTE || step == FAILOVER_STEP_RESTART ||
               step == FAILOVER_STEP_ADDRESS_ADD;
}

static bool is_for_address(enum failover_step step)
{
        return step == FAILOVER_STEP_ADDRESS_ADD || step == FAILOVER_STEP_ADDRESS_REMOVE;
}

/* Why nothing may be opened now, with a fresh look at the clock; NULL if it may. */
static const char *why_not_open(const struct sim *s, const struct machine *m, size_t service,
                                const struct hands_step *step)
{
        const struct hands *h = &m->hands[service];

        if (!h->armed || h->epoch != step->epoch)
                return "no lease is held";
        if (h->letting_go ||
            instant_reached(h->hold.demote_at, instant_after(machine_clock(s, m), ACTION_BUDGET)))
                return "the lease ends too soon";
        return NULL;
}

static const char *address_step(struct sim *s, struct machine *m, size_t service,
                                const struct hands_step *step)
{
        struct hands *h = &m->hands[service];

        if (step->run.step == FAILOVER_STEP_ADDRESS_REMOVE) {
                remove_address(s, m, service);
        } else {
                h->address_wanted = true;
                prolong_address(s, m, service);
                if (!h->address)
                        return "the lease ends too soon";
        }
        tell_addresses(s, m, service);
        return NULL;
}

static const char *perform(struct sim *s, struct machine *m, size_t service,
                           const struct hands_step *step)
{
        const char *failure;

        if (opens(step->run.step)) {
                failure = why_not_open(s, m, service, step);
                if (failure)
                        return failure;
        }
        if (is_for_address(step->run.step))
                return address_step(s, m, service, step);
        if (!hands_agent_awake(s, m))
                return "the agent does not answer";
        failure = database_step(s, m, service, step);
        check_resources(s, m, service);
        hands_report(s, m, service);
        return failure;
}

static void step_ends(struct sim *s, struct occurrence *o)
{
        struct machine *m = o->machine;
        struct hands_step *step = &m->hands[o->service].steps[o->number];
        const char *failure = NULL;

        if (o->epoch != step->life || !step->running || !executor_takes(s, o))
                return;
        if (!s->faults_stopped && sim_chance(s, s->plan.step_failure_permille))
                failure = "it failed";
        /* A step may fail with or without what it was for. */
        if (!failure || sim_chance(s, 300)) {
                const char *other = perform(s, m, o->service, step);

                failure = failure ? failure : other;
        }
        end_step(s, m, o->service, step, failure);
}

static usec_t step_length(struct sim *s, const struct hands_step *step)
{
        if (is_for_address(step->run.step))
                return sim_between(s, 100, ADDRESS_STEP_MAX);
        if (s->faults_stopped || sim_chance(s, 800))
                return sim_between(s, USEC_PER_MSEC, s->plan.step_max / 10);
        return sim_between(s, USEC_PER_MSEC, s->plan.step_max);
}

static struct hands_step *free_step(struct hands *h)
{
        for (size_t i = 0; i < SIM_STEPS_MAX; i++)
                if (!h->steps[i].running)
                        return &h->steps[i];
        return NULL;
}

static void begin_step(struct sim *s, struct machine *m, size_t service, struct hands_step *step)
{
        struct hands *h = &m->hands[service];
        usec_t begin = s->now, end;
        struct occurrence *o;

        if (!is_for_address(step->run.step))
                begin = later(begin, h->database.busy_until);
        end = begin + step_length(s, step);
        if (!is_for_address(step->run.step))
                h->database.busy_until = end;
        step->life = random_next(&s->random);
        o = sim_plan_at(s, end, step_ends, m);
        o->service = service;
        o->number = (uint64_t)(step - h->steps);
        o->life = m->executor_life;
        o->epoch = step->life;
}

static void take_run(struct sim *s, struct machine *m, const struct node_effect *e,
                     uint64_t engine_life)
{
        struct hands *h = &m->hands[e->service];
        struct hands_step *step;

        if (e->run.step == FAILOVER_STEP_DEMOTE)
                cancel_steps(s, m, e->service, "a stop came between");
        step = free_step(h);
        if (!step) {
                sim_fail(s, "%s has %d steps at a time", sim_node_name(s, m->id), SIM_STEPS_MAX);
                return;
        }
        *step = (struct hands_step){
                .running = true,
                .id = e->id ? e->id : e->run.id,
                .epoch = e->epoch,
                .run = e->run,
                .engine_life = engine_life,
        };
        if (e->epoch < h->epoch_seen) {
                end_step(s, m, e->service, step, "an older epoch");
                return;
        }
        h->epoch_seen = e->epoch;
        begin_step(s, m, e->service, step);
}

static void take_cancel(struct sim *s, struct machine *m, const struct node_effect *e,
                        uint64_t engine_life)
{
        struct hands *h = &m->hands[e->service];

        for (size_t i = 0; i < SIM_STEPS_MAX; i++)
                if (h->steps[i].running && h->steps[i].id == e->id &&
                    h->steps[i].engine_life == engine_life)
                        end_step(s, m, e->service, &h->steps[i], "it was cancelled");
}

static void executor_hears(struct sim *s, struct occurrence *o)
{
        const struct node_effect *e = o->data;
        struct machine *m = o->machine;

        if (!executor_takes(s, o))
                return;
        switch (e->type) {
        case NODE_HOLD:
                take_hold(s, m, e);
                return;
        case NODE_LET_GO:
                take_let_go(s, m, e);
                return;
        case NODE_RUN:
                take_run(s, m, e, o->number);
                return;
        case NODE_CANCEL:
                take_cancel(s, m, e, o->number);
                return;
        case NODE_PERSIST:
        case NODE_SEND:
        case NODE_ANSWERED:
        case NODE_WOKEN:
        case NODE_MEMBERS:
        case NODE_SNAPSHOT_TAKE:
        case NODE_SNAPSHOT_READ:
        case NODE_SNAPSHOT_WRITE:
        case NODE_NOTE:
                return;
        }
}

static void pass_on(struct sim *s, struct machine *m, const struct node_effect *e)
{
        struct occurrence *o;

        m->to_hands_last = later(m->to_hands_last, s->now + talk_delay(s));
        o = sim_plan_at(s, m->to_hands_last, executor_hears, m);
        o->life = m->executor_life;
        o->number = m->engine.life;
        o->data = must_copy(e, sizeof(*e));
}

void hands_hold(struct sim *s, struct machine *m, const struct node_effect *e)
{
        pass_on(s, m, e);
}

void hands_let_go(struct sim *s, struct machine *m, const struct node_effect *e)
{
        pass_on(s, m, e);
}

void hands_run(struct sim *s, struct machine *m, const struct node_effect *e)
{
        pass_on(s, m, e);
}

void hands_cancel(struct sim *s, struct machine *m, const struct node_effect *e)
{
        pass_on(s, m, e);
}

/* Start and end of the processes. */

static void start_engine(struct sim *s, struct occurrence *o)
{
        if (executor_takes(s, o))
                engine_start(s, o->machine);
}

void hands_start_engine(struct sim *s, struct machine *m, usec_t delay)
{
        struct occurrence *o = sim_plan_at(s, s->now + delay, start_engine, m);

        o->life = m->executor_life;
}

size_t hands_adopted(const struct sim *s, const struct machine *m, struct node_adopted *ret)
{
        size_t n = 0;

        for (size_t i = 0; i < s->plan.n_services; i++) {
                const struct hands *h = &m->hands[i];

                if (!h->armed || h->letting_go)
                        continue;
                ret[n++] = (struct node_adopted){ .service = i,
                                                  .epoch = h->epoch,
                                                  .incarnation = h->hold.incarnation,
                                                  .demote_at = h->hold.demote_at,
                                                  .close_by = h->hold.close_by };
        }
        return n;
}

/* A hold of an earlier executor is taken up if it lasts; what nobody holds is closed. */
static void take_up(struct sim *s, struct machine *m, size_t service)
{
        struct hands *h = &m->hands[service];

        h->letting_go = false;
        for (size_t i = 0; i < SIM_STEPS_MAX; i++)
                h->steps[i].running = false;
        h->database.busy_until = s->now;
        if (h->armed && !instant_reached(h->hold.demote_at, machine_clock(s, m))) {
                h->address_wanted = h->address;
                arm_deadline(s, m, service);
                return;
        }
        if (h->armed)
                h->epoch_dead = h->epoch;
        h->armed = false;
        h->deadline_life++;
        if (h->database.open)
                database_close(s, m, service, false);
        remove_address(s, m, service);
}

void hands_start(struct sim *s, struct machine *m)
{
        struct occurrence *o;

        m->executor_up = true;
        m->executor_life++;
        m->executor_paused_until = 0;
        m->agent_up = true;
        m->agent_life++;
        m->agent_paused_until = 0;
        m->to_hands_last = m->to_engine_last = s->now;
        for (size_t i = 0; i < s->plan.n_services; i++)
                take_up(s, m, i);
        hands_start_engine(s, m, sim_between(s, USEC_PER_MSEC, 30 * USEC_PER_MSEC));
        o = sim_plan_at(s, s->now + sim_between(s, 0, REPORT_EVERY), report_regularly, m);
        o->life = m->executor_life;
}

/* The engine never outlives its parent. */
void hands_executor_crash(struct sim *s, struct machine *m)
{
        if (!m->executor_up)
                return;
        STORY(s, m, "the executor dies");
        engine_crash(s, m);
        m->executor_up = false;
        m->executor_life++;
        for (size_t i = 0; i < s->plan.n_services; i++) {
                for (size_t k = 0; k < SIM_STEPS_MAX; k++)
                        m->hands[i].steps[k].running = false;
                m->hands[i].address_wanted = false;
        }
}

static void agent_returns(struct sim *s, struct occurrence *o)
{
        struct machine *m = o->machine;

        if (o->life != m->agent_life || !m->executor_up)
                return;
        if (!hands_executor_awake(s, m)) {
                queue_plan_again(&s->queue, o,
                                 later(s->now + USEC_PER_MSEC,
                                       later(m->suspended_until, m->executor_paused_until)));
                return;
        }
        m->agent_up = true;
        m->agent_paused_until = 0;
        STORY(s, m, "the agent is back");
        for (size_t i = 0; i < s->plan.n_services; i++)
                hands_report(s, m, i);
}

void hands_agent_crash(struct sim *s, struct machine *m)
{
        struct occurrence *o;

        if (!m->agent_up)
                return;
        STORY(s, m, "the agent dies");
        m->agent_up = false;
        m->agent_life++;
        for (size_t i = 0; i < s->plan.n_services; i++) {
                cancel_steps(s, m, i, "the agent died");
                hands_report(s, m, i);
        }
        o = sim_plan_at(s, s->now + sim_between(s, 10 * USEC_PER_MSEC, AGENT_RESTART_MAX),
                        agent_returns, m);
        o->life = m->agent_life;
}

void hands_machine_crash(struct sim *s, struct machine *m)
{
        m->executor_up = false;
        m->executor_life++;
        m->agent_up = false;
        m->agent_life++;
        for (size_t i = 0; i < s->plan.n_services; i++) {
                struct hands *h = &m->hands[i];
                struct database *d = &h->database;

                h->armed = false;
                h->letting_go = false;
                h->address = false;
                h->address_wanted = false;
                h->deadline_life++;
                for (size_t k = 0; k < SIM_STEPS_MAX; k++)
                        h->steps[k].running = false;
                d->clean = d->running ? false : d->clean;
                d->running = d->hung = d->open = d->streaming = d->noticed = false;
                d->crashed = false;
                check_resources(s, m, i);
        }
}
