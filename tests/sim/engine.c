/* The engine of one machine: the real node, what it is fed, and what its effects do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

/* Steps at one instant of true time, beyond which a node turns in circles. */
#define STEPS_AT_ONCE_MAX 10000

bool engine_is_listening(const struct sim *s, const struct machine *m)
{
        (void)s;
        return m->up && m->engine.running;
}

bool engine_takes(struct sim *s, struct occurrence *o)
{
        struct machine *m = o->machine;
        usec_t until = m->suspended_until;

        if (!m->up || !m->engine.running || o->life != m->engine.life)
                return false;
        if (m->engine.paused_until > until)
                until = m->engine.paused_until;
        if (s->now >= until)
                return true;
        m->engine.slept_at = until;
        queue_plan_again(&s->queue, o, until);
        return false;
}

static void timer_comes(struct sim *s, struct occurrence *o);

/* One planned timer is enough: when it comes early, it is planned anew. */
static void arm(struct sim *s, struct machine *m)
{
        usec_t at = sim_clock_when(&m->clock, node_deadline(m->engine.node), s->now);
        struct occurrence *o;

        if (at == USEC_INFINITY)
                return;
        at += sim_between(s, 1, 1 + s->plan.wake_late_max);
        if (at >= m->engine.timer_at)
                return;
        m->engine.timer_at = at;
        o = sim_plan_at(s, at, timer_comes, m);
        o->life = m->engine.life;
        o->number = ++m->engine.timer_number;
}

static void timer_comes(struct sim *s, struct occurrence *o)
{
        struct node_event event = { .type = NODE_TIMEOUT };
        struct machine *m = o->machine;

        if (o->number != m->engine.timer_number || !engine_takes(s, o))
                return;
        m->engine.timer_at = USEC_INFINITY;
        if (instant_reached(node_deadline(m->engine.node), machine_clock(s, m)))
                engine_feed(s, m, &event);
        else
                arm(s, m);
}

/* The founders know one another from their configuration; who joins waits to be told. */
static struct members members_of(const struct sim *s, const struct machine *m)
{
        return m->id == m->node && m->joined.index == 0 && m->joined.n == s->plan.n_nodes
                       ? m->joined
                       : (struct members){ 0 };
}

static void configure_services(const struct sim *s, const struct machine *m,
                               struct node_service_config *ret)
{
        for (size_t i = 0; i < s->plan.n_services; i++) {
                ret[i] = s->services[i];
                ret[i].failover.self = m->node;
                ret[i].failover.priority = s->plan.priorities ? m->node : 0;
        }
}

static struct node *node_of(struct sim *s, struct machine *m, struct snapshot_reader *snapshot)
{
        struct node_service_config services[SIM_SERVICES_MAX];
        struct node_adopted adopted[SIM_SERVICES_MAX];
        struct raft_entry *entries;
        struct raft_durable durable = disk_durable(&m->disk, &entries);
        struct node_config config = {
                .self = m->node,
                .cluster_id = s->plan.seed,
                .disk_incarnation = m->disk.incarnation,
                .members = members_of(s, m),
                .heartbeat = s->plan.heartbeat,
                .election_timeout = s->plan.election_timeout,
                .request_timeout = s->plan.request_timeout,
                .snapshot_bytes = s->plan.snapshot_bytes,
                .snapshot_age = s->plan.snapshot_age,
                .pre_vote = s->plan.pre_vote,
                .services = services,
                .n_services = s->plan.n_services,
        };
        size_t n_adopted = hands_adopted(s, m, adopted);
        struct store *store = NULL;
        struct node *ret;

        /* One after the other: the order within an initializer is the compiler's choice. */
        config.incarnation = sim_between(s, 1, INT64_MAX);
        config.seed = random_next(&s->random);
        configure_services(s, m, services);
        if (snapshot && snapshot_membership(snapshot_reader_head(snapshot), &durable.membership)) {
                store = snapshot_reader_take(snapshot, machine_clock(s, m));
                s->tally.starts_from_snapshot++;
        }
        s->tally.adopted += n_adopted;
        ret = node_new(&config, &durable, store, adopted, n_adopted, machine_clock(s, m));
        free(entries);
        return ret;
}

void engine_start(struct sim *s, struct machine *m)
{
        struct engine *e = &m->engine;
        struct snapshot_reader *snapshot;

        if (!machine_is_awake(s, m) || !m->executor_up || e->running || m->node == NODE_NOBODY ||
            s->over)
                return;
        if (m->disk.rotten) {
                STORY(s, m, "the engine refuses its log");
                return;
        }
        snapshot = snapshot_load(s, m);
        if (s->over)
                return;
        e->life++;
        e->running = true;
        e->paused_until = 0;
        e->timer_at = USEC_INFINITY;
        e->condemned = false;
        e->was_leader = false;
        e->index_checked = m->disk.base;
        e->change_next = 1;
        e->index_read = 0;
        e->members_checked = false;
        memset(e->met, 0, sizeof(e->met));
        e->fed = machine_clock(s, m);
        STORY(s, m, "the engine starts with %zu entries of term %llu behind %llu",
              m->disk.n_entries, (unsigned long long)m->disk.term,
              (unsigned long long)m->disk.base);
        e->node = node_of(s, m, snapshot);
        snapshot_reader_free(snapshot);
        hands_greet(s, m);
        if (disk_is_full(s, m)) {
                disk_tell_space(s, m, sim_between(s, 0, 10 * USEC_PER_MSEC));
                disk_tell_space(s, m, m->disk.full_until + 1 - s->now);
        }
        arm(s, m);
}

/* Mostly at once; sometimes longer than any lease. */
static usec_t restart_delay(struct sim *s)
{
        if (sim_chance(s, 700))
                return sim_between(s, 100, 200 * USEC_PER_MSEC);
        return sim_between(s, 100, 10 * USEC_PER_SEC);
}

void engine_crash(struct sim *s, struct machine *m)
{
        struct engine *e = &m->engine;

        if (!e->running)
                return;
        STORY(s, m, "the engine dies");
        s->tally.crashes++;
        client_engine_gone(s, m);
        node_free(e->node);
        e->node = NULL;
        e->running = false;
        e->life++;
        disk_crash(s, m);
        if (m->executor_up)
                hands_start_engine(s, m, fault_length(s, restart_delay(s)));
}

void engine_pause(struct sim *s, struct machine *m, usec_t length)
{
        if (!m->engine.running || m->engine.paused_until > s->now)
                return;
        STORY(s, m, "the engine stands still for %llu ms",
              (unsigned long long)(length / USEC_PER_MSEC));
        m->engine.paused_until = s->now + length;
        s->tally.pauses++;
}

static void expiry_noted(struct sim *s, const struct node_note *note)
{
        uint64_t *seen = &s->epoch_expired[note->service];

        if (note->epoch > *seen) {
                *seen = note->epoch;
                s->tally.expiries++;
        }
}

static void step_noted(struct sim *s, struct machine *m, const struct node_note *note)
{
        if (note->ok && note->step == FAILOVER_STEP_RESTART)
                s->tally.restarts++;
        if (note->ok && note->step == FAILOVER_STEP_REJOIN)
                s->tally.rejoins++;
        fault_aim(s, m, AIM_STEP_ENDED);
}

static void note_taken(struct sim *s, struct machine *m, const struct node_note *note)
{
        switch (note->type) {
        case NODE_NOTE_RAFT:
                if (note->raft == RAFT_NOTE_VOTED)
                        fault_aim(s, m, AIM_VOTED);
                return;
        case NODE_NOTE_LEASE_GRANTED:
                s->tally.grants += note->member == m->node;
                fault_aim(s, m, AIM_GRANTED);
                return;
        case NODE_NOTE_LEASE_EXPIRED:
                expiry_noted(s, note);
                fault_aim(s, m, AIM_EXPIRED);
                return;
        case NODE_NOTE_LEASE_RELEASED:
                s->tally.releases += note->member == m->node;
                fault_aim(s, m, AIM_RELEASED);
                return;
        case NODE_NOTE_LEASE_REFUSED:
                s->tally.renewals_refused++;
                return;
        case NODE_NOTE_LEASE_RAN_OUT:
                s->tally.leases_ran_out++;
                return;
        case NODE_NOTE_EXPIRY_REFUSED:
                s->tally.expiries_refused++;
                return;
        case NODE_NOTE_STEP_STARTED:
                fault_aim(s, m, AIM_STEP_STARTED);
                return;
        case NODE_NOTE_STEP_ENDED:
                step_noted(s, m, note);
                return;
        case NODE_NOTE_MOVED:
                fault_aim(s, m, AIM_MOVED);
                return;
        case NODE_NOTE_BAD_MESSAGE:
                sim_fail(s, "%s cannot read a message of %s", sim_node_name(s, m->id),
                         sim_node_name(s, note->member));
                return;
        case NODE_NOTE_SNAPSHOT_INSTALLED:
                s->tally.snapshots_installed++;
                fault_aim(s, m, AIM_SNAPSHOT);
                return;
        case NODE_NOTE_MEMBERS:
        case NODE_NOTE_SNAPSHOT_TAKEN:
        case NODE_NOTE_SNAPSHOT_SENT:
        case NODE_NOTE_ROLE:
        case NODE_NOTE_CURRENT:
        case NODE_NOTE_EXPIRY_EARLY:
        case NODE_NOTE_FAILOVER:
                return;
        }
}

static void carry_out_one(struct sim *s, struct machine *m, const struct node_effect *e)
{
        switch (e->type) {
        case NODE_PERSIST:
                disk_write(s, m, &e->persist);
                return;
        case NODE_SEND:
                network_send(s, m, e->to, e->bytes, e->n);
                fault_aim(s, m, AIM_SENT);
                return;
        case NODE_ANSWERED:
                client_answered(s, m, e);
                return;
        case NODE_HOLD:
                hands_hold(s, m, e);
                fault_aim(s, m, AIM_HELD);
                return;
        case NODE_LET_GO:
                hands_let_go(s, m, e);
                return;
        case NODE_RUN:
                hands_run(s, m, e);
                return;
        case NODE_CANCEL:
                hands_cancel(s, m, e);
                return;
        case NODE_WOKEN:
                observe_woken(s, m, e);
                return;
        case NODE_MEMBERS:
                member_list_changed(s, m);
                return;
        case NODE_SNAPSHOT_TAKE:
                snapshot_take(s, m, e);
                return;
        case NODE_SNAPSHOT_READ:
                snapshot_read(s, m, e);
                return;
        case NODE_SNAPSHOT_WRITE:
                snapshot_receive(s, m, e);
                return;
        case NODE_NOTE:
                note_taken(s, m, &e->note);
                return;
        }
}

static void tell_effect(struct sim *s, struct machine *m, const struct node_effect *e)
{
        if (!s->story.recording)
                return;
        if (e->type == NODE_NOTE)
                story_note(s, m, &e->note);
        else if (e->type != NODE_SEND && e->type != NODE_PERSIST && e->type != NODE_WOKEN)
                story_effect(s, m, e);
}

static void carry_out(struct sim *s, struct machine *m, const struct node_effects *effects)
{
        for (size_t i = 0; i < effects->n && !m->engine.condemned; i++) {
                sim_mix(s, effects->list[i].type);
                tell_effect(s, m, &effects->list[i]);
                carry_out_one(s, m, &effects->list[i]);
        }
}

/* A node that asks for a time-out again and again without time passing has a bug. */
static void watch_for_circles(struct sim *s, struct machine *m)
{
        if (m->engine.stepped_at != s->now) {
                m->engine.stepped_at = s->now;
                m->engine.steps_at_once = 0;
        }
        if (++m->engine.steps_at_once > STEPS_AT_ONCE_MAX)
                sim_fail(s, "%s turns in circles", sim_node_name(s, m->id));
}

static bool worth_telling(const struct node_event *event)
{
        return event->type != NODE_TIMEOUT && event->type != NODE_RECEIVED &&
               event->type != NODE_PERSISTED;
}

void engine_feed(struct sim *s, struct machine *m, struct node_event *event)
{
        struct node_effects effects;

        if (s->over)
                return;
        event->now = instant_later(machine_clock(s, m), m->engine.fed);
        m->engine.fed = event->now;
        sim_mix(s, (uint64_t)event->type << 56 ^ (uint64_t)m->id << 48 ^ event->now.usec);
        if (worth_telling(event))
                story_event(s, m, event);
        watch_for_circles(s, m);
        m->engine.stepping = true;
        node_step(m->engine.node, event, &effects);
        check_engine(s, m);
        carry_out(s, m, &effects);
        m->engine.stepping = false;
        if (m->engine.condemned) {
                m->engine.condemned = false;
                fault_strike(s, m, m->engine.verdict);
        }
        if (m->engine.running)
                arm(s, m);
}
