/*
 * Executor and agent of one machine: they hold the lease's deadlines by their own clock and let go by
 * themselves, carry out steps in fixed times, and open nothing under a lease that ends too soon.
 * They survive the engine.
 */
#include <string.h>

#include "tests/scenarios/world.h"

#define REPORT_EVERY (1 * USEC_PER_SEC)
#define STOP_WAITS (60 * USEC_PER_SEC) /* as long as a primary waits for a silent standby */
#define LETTING_GO (20 * USEC_PER_MSEC) /* what it takes to close the database by force */

static bool is_candidate(const struct world *w, const struct machine *m)
{
        return m->id <= world_candidates(w);
}

void hands_report(struct world *w, struct machine *m)
{
        if (is_candidate(w, m))
                world_tell_engine(w, m, &(struct node_event){ .type = NODE_HANDS_STATUS });
}

static bool accepts(const struct world *w, const struct machine *m)
{
        return (w->setup.vip_only || database_takes_writes(w, m)) &&
               (w->setup.no_vip || (m->hands.address && world_is_awake(w, m)));
}

/*
 * What people start without a lease is beyond what can be promised; that clients do not get there,
 * because the address is elsewhere, is not.
 */
static void check_alone(struct world *w)
{
        unsigned n_writable = 0, n_addresses = 0;
        const struct machine *last = NULL;

        for (node_id id = 1; id <= world_candidates(w); id++) {
                const struct machine *m = world_machine(w, id);
                bool writable = database_takes_writes(w, m) && !m->hands.database.by_hand;
                bool address = world_is_awake(w, m) && m->hands.address;

                n_writable += writable;
                n_addresses += address;
                last = writable || address ? m : last;
        }
        if ((n_writable > 1 || n_addresses > 1) && !w->failed)
                tell_violation(w, last,
                               n_writable > 1 ? "two databases take writes at the same time"
                                              : "two nodes have the address at the same time");
}

void hands_check(struct world *w)
{
        check_alone(w);
        for (node_id id = 1; id <= world_candidates(w); id++) {
                struct machine *m = world_machine(w, id);
                bool now = accepts(w, m);

                if (now == m->accepting)
                        continue;
                m->accepting = now;
                tell(w, m, now ? "ACCEPTS WRITES" : "accepts no writes any more");
        }
}

static void tell_addresses(struct world *w, struct machine *m)
{
        world_tell_engine(
                w, m, &(struct node_event){ .type = NODE_HANDS_ADDRESSES, .ok = m->hands.address });
}

static void remove_address(struct world *w, struct machine *m)
{
        m->hands.address_wanted = false;
        if (!m->hands.address)
                return;
        m->hands.address = false;
        tell_addresses(w, m);
}

static void kernel_removes(struct world *w, struct machine *m)
{
        tell(w, m, "the kernel takes the address away: its lifetime is over");
        m->hands.address = false;
        tell_addresses(w, m);
}

/* The lifetime that the kernel keeps: whole seconds, rounded down. */
static void prolong_address(struct world *w, struct machine *m)
{
        struct instant now = world_clock(w, m);
        usec_t whole = instant_until(m->hands.hold.close_by, now) / USEC_PER_SEC * USEC_PER_SEC;

        if (whole == 0)
                return;
        m->hands.address_until = instant_after(now, whole);
        if (m->hands.address)
                return;
        m->hands.address = true;
        tell_addresses(w, m);
}

/* Letting go. */

static void end_step(struct world *w, struct machine *m, struct hands_step *s, const char *failure)
{
        struct node_database_status status;

        s->running = false;
        database_status(w, m, &status);
        world_tell_engine(w, m,
                          &(struct node_event){ .type = NODE_HANDS_DONE,
                                                .epoch = s->epoch,
                                                .id = s->run.id,
                                                .ok = !failure,
                                                .text = failure ? failure : "",
                                                .status = &status });
}

static void cancel_steps(struct world *w, struct machine *m, const char *why)
{
        for (size_t i = 0; i < WORLD_STEPS_MAX; i++)
                if (m->hands.steps[i].running)
                        end_step(w, m, &m->hands.steps[i], why);
}

static void let_go(struct world *w, struct machine *m)
{
        struct hands *h = &m->hands;

        database_close(w, m, false);
        remove_address(w, m);
        h->armed = h->letting_go = false;
        h->epoch_dead = h->epoch;
        tell(w, m, "the hands have let go by themselves of lease %llu",
             (unsigned long long)h->epoch);
        hands_report(w, m);
        world_tell_engine(w, m,
                          &(struct node_event){ .type = NODE_HANDS_CLOSED,
                                                .epoch = h->epoch,
                                                .ok = true,
                                                .text = "the deadline came" });
}

static void last_moment(struct world *w, struct machine *m, struct happening *h)
{
        if (h->life == m->boot && m->hands.armed && m->hands.letting_go &&
            h->serial == m->hands.epoch)
                let_go(w, m);
}

/* The address at once; the database takes its time. */
static void begin_to_let_go(struct world *w, struct machine *m)
{
        m->hands.letting_go = true;
        cancel_steps(w, m, "the deadline came");
        remove_address(w, m);
        world_plan(w, LETTING_GO, m, last_moment)->serial = m->hands.epoch;
}

usec_t hands_deadline(const struct world *w, const struct machine *m)
{
        const struct hands *h = &m->hands;
        struct instant at = INSTANT_FOREVER;
        usec_t ret;

        if (!m->up || !is_candidate(w, m))
                return USEC_INFINITY;
        if (h->armed && !h->letting_go)
                at = h->hold.demote_at;
        if (h->address)
                at = instant_earlier(at, h->address_until);
        at = instant_earlier(at, h->report_at);
        ret = sim_clock_when(&m->clock, at, w->now);
        return ret < m->suspended_until ? m->suspended_until : ret;
}

void hands_act(struct world *w, struct machine *m)
{
        struct hands *h = &m->hands;
        struct instant now = world_clock(w, m);

        if (h->address && instant_reached(h->address_until, now))
                kernel_removes(w, m);
        if (h->armed && instant_reached(h->hold.close_by, now))
                let_go(w, m);
        else if (h->armed && !h->letting_go && instant_reached(h->hold.demote_at, now))
                begin_to_let_go(w, m);
        if (instant_reached(h->report_at, now)) {
                h->report_at = instant_after(now, REPORT_EVERY);
                hands_report(w, m);
        }
}

/* From the engine. */

static void take_hold(struct world *w, struct machine *m, const struct node_effect *e)
{
        struct hands *h = &m->hands;

        if (h->letting_go || e->epoch <= h->epoch_dead || (h->armed && e->epoch < h->epoch))
                return;
        h->armed = true;
        h->epoch = e->epoch;
        h->hold = e->hold;
        if (h->address_wanted)
                prolong_address(w, m);
        world_tell_engine(w, m, &(struct node_event){ .type = NODE_HANDS_ACK, .epoch = e->epoch });
}

static void take_let_go(struct world *w, struct machine *m, const struct node_effect *e)
{
        struct hands *h = &m->hands;

        if (!h->armed || h->epoch != e->epoch)
                return;
        h->armed = h->letting_go = false;
        h->epoch_dead = h->epoch;
        if (h->database.open || h->address)
                tell_violation(w, m, "told that all is closed, but it is not");
}

static bool opens(enum failover_step step)
{
        return step == FAILOVER_STEP_PROMOTE || step == FAILOVER_STEP_RESTART ||
               step == FAILOVER_STEP_ADDRESS_ADD;
}

static const char *address_step(struct world *w, struct machine *m, enum failover_step step)
{
        if (step == FAILOVER_STEP_ADDRESS_REMOVE) {
                remove_address(w, m);
                return NULL;
        }
        m->hands.address_wanted = true;
        prolong_address(w, m);
        return m->hands.address ? NULL : "the lease ends too soon";
}

static const char *perform(struct world *w, struct machine *m, const struct hands_step *s)
{
        const struct hands *h = &m->hands;
        const char *failure;

        if (opens(s->run.step) && (!h->armed || h->epoch != s->epoch))
                return "no lease is held";
        if (opens(s->run.step) &&
            (h->letting_go || instant_reached(h->hold.demote_at, world_clock(w, m))))
                return "the lease ends too soon";
        if (s->run.step == FAILOVER_STEP_ADDRESS_ADD || s->run.step == FAILOVER_STEP_ADDRESS_REMOVE)
                return address_step(w, m, s->run.step);
        failure = database_step(w, m, &s->run);
        hands_report(w, m);
        return failure;
}

static void step_ends(struct world *w, struct machine *m, struct happening *h)
{
        for (size_t i = 0; i < WORLD_STEPS_MAX; i++) {
                struct hands_step *s = &m->hands.steps[i];

                if (s->running && s->serial == h->serial && h->life == m->boot)
                        end_step(w, m, s, perform(w, m, s));
        }
}

static usec_t length_of(struct world *w, const struct machine *m, const struct node_run *run)
{
        static const usec_t lengths[FAILOVER_STEPS] = {
                [FAILOVER_STEP_PROMOTE] = 100 * USEC_PER_MSEC,
                [FAILOVER_STEP_DEMOTE] = 20 * USEC_PER_MSEC,
                [FAILOVER_STEP_RESTART] = 300 * USEC_PER_MSEC,
                [FAILOVER_STEP_START] = 300 * USEC_PER_MSEC,
                [FAILOVER_STEP_FREEZE] = 10 * USEC_PER_MSEC,
                [FAILOVER_STEP_REJOIN] = 500 * USEC_PER_MSEC,
                [FAILOVER_STEP_CLONE] = 1 * USEC_PER_SEC,
                [FAILOVER_STEP_BOOTSTRAP] = 1 * USEC_PER_SEC,
                [FAILOVER_STEP_CHECKPOINT] = 50 * USEC_PER_MSEC,
                [FAILOVER_STEP_POSITION] = 1 * USEC_PER_MSEC,
                [FAILOVER_STEP_ADDRESS_ADD] = 1 * USEC_PER_MSEC,
                [FAILOVER_STEP_ADDRESS_REMOVE] = 1 * USEC_PER_MSEC,
        };

        if (run->step == FAILOVER_STEP_DEMOTE && run->mode == FAILOVER_MODE_FAST &&
            database_must_wait(w, m))
                return STOP_WAITS;
        return lengths[run->step];
}

static void take_run(struct world *w, struct machine *m, const struct node_effect *e)
{
        struct hands *h = &m->hands;
        size_t i = 0;

        if (e->run.step == FAILOVER_STEP_DEMOTE)
                cancel_steps(w, m, "a stop came between");
        while (i < WORLD_STEPS_MAX && h->steps[i].running)
                i++;
        if (i == WORLD_STEPS_MAX) {
                tell_violation(w, m, "more steps at a time than the hands can do");
                return;
        }
        h->steps[i] = (struct hands_step){
                .running = true, .serial = ++h->serial, .epoch = e->epoch, .run = e->run
        };
        world_plan(w, length_of(w, m, &e->run), m, step_ends)->serial = h->serial;
}

static void take_cancel(struct world *w, struct machine *m, const struct node_effect *e)
{
        for (size_t i = 0; i < WORLD_STEPS_MAX; i++)
                if (m->hands.steps[i].running && m->hands.steps[i].run.id == e->id)
                        end_step(w, m, &m->hands.steps[i], "it was cancelled");
}

void hands_take(struct world *w, struct machine *m, const struct node_effect *e)
{
        switch (e->type) {
        case NODE_HOLD:
                take_hold(w, m, e);
                return;
        case NODE_LET_GO:
                take_let_go(w, m, e);
                return;
        case NODE_RUN:
                take_run(w, m, e);
                return;
        case NODE_CANCEL:
                take_cancel(w, m, e);
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

void hands_start(struct world *w, struct machine *m)
{
        m->hands.report_at = instant_after(world_clock(w, m), REPORT_EVERY);
}

void hands_crash(struct machine *m)
{
        struct hands *h = &m->hands;
        struct database *d = &h->database;

        memset(h->steps, 0, sizeof(h->steps));
        h->armed = h->letting_go = h->address = h->address_wanted = false;
        d->clean = d->clean && !d->running;
        d->running = d->hung = d->noticed = d->open = d->streaming = d->crashed = false;
}
