/* The network between the members: loses, delays, repeats and reorders; links can be cut. */
#include <string.h>

#include "election/base/memory.h"
#include "tests/sim/sim.h"

/* What is under way at one time, beyond which the members only occupy one another. */
#define UNDER_WAY_MAX 20000
#define CONNECT_EVERY (200 * USEC_PER_MSEC)

bool network_is_cut(const struct sim *s, node_id from, node_id to)
{
        return s->links[from][to].cuts > 0;
}

static void heal_cut(struct sim *s, struct occurrence *o)
{
        struct link_state *l = &s->links[o->from][o->number];

        l->cuts--;
        if (l->cuts == 0)
                STORY(s, NULL, "%s reaches %s again", sim_node_name(s, o->from),
                      sim_node_name(s, (node_id)o->number));
}

void network_cut(struct sim *s, node_id from, node_id to, usec_t length)
{
        struct occurrence *o = sim_plan_at(s, s->now + length, heal_cut, NULL);

        o->from = from;
        o->number = to;
        s->links[from][to].cuts++;
        s->tally.cuts++;
        STORY(s, NULL, "%s does not reach %s any more", sim_node_name(s, from),
              sim_node_name(s, to));
}

void network_clog(struct sim *s, node_id from, node_id to, usec_t length)
{
        s->links[from][to].clogged_until = s->now + length;
        STORY(s, NULL, "what %s sends to %s piles up", sim_node_name(s, from),
              sim_node_name(s, to));
}

/* Whose disk is behind a member is known as soon as there is a connection, and told each time. */
static void introduce(struct sim *s, struct machine *m, const struct machine *from)
{
        struct node_event event = { .type = NODE_SEEN,
                                    .from = from->node,
                                    .incarnation = from->disk.incarnation };

        if (m->engine.met[from->id] == from->engine.life)
                return;
        m->engine.met[from->id] = from->engine.life;
        engine_feed(s, m, &event);
}

/*
 * A connection stands between two machines that take each other for who they are: a member with
 * another disk is another machine.
 */
static void arrive(struct sim *s, struct occurrence *o)
{
        struct node_event event = {
                .type = NODE_RECEIVED, .from = o->from, .bytes = o->data, .n = o->n
        };
        struct machine *m = o->machine, *from = sim_machine(s, (node_id)o->service);

        if (!engine_is_listening(s, m)) {
                s->tally.messages_lost++;
                return;
        }
        o->life = m->engine.life;
        if (!engine_takes(s, o))
                return;
        if (m->disk.incarnation != o->epoch || from->disk.incarnation != o->number ||
            !member_accepts(m, from)) {
                s->tally.messages_foreign++;
                return;
        }
        if (from->engine.running)
                introduce(s, m, from);
        if (!m->engine.running || m->engine.life != o->life)
                return;
        engine_feed(s, m, &event);
        fault_aim(s, m, AIM_RECEIVED);
}

static bool is_up(const struct sim *s, const struct machine *m)
{
        return engine_is_listening(s, m) && machine_is_awake(s, m) &&
               s->now >= m->engine.paused_until;
}

/* The members connect to one another though they have nothing to say. */
static void connect_all(struct sim *s, struct occurrence *o)
{
        for (unsigned a = 1; a <= s->plan.n_machines; a++)
                for (unsigned b = 1; b <= s->plan.n_machines; b++) {
                        struct machine *m = sim_machine(s, (node_id)a);
                        struct machine *other = sim_machine(s, (node_id)b);

                        if (a == b || !is_up(s, m) || !is_up(s, other) ||
                            network_is_cut(s, m->id, other->id) ||
                            network_is_cut(s, other->id, m->id))
                                continue;
                        if (member_accepts(m, other) && member_accepts(other, m))
                                introduce(s, m, other);
                        else
                                m->engine.met[b] = 0;
                }
        queue_plan_again(&s->queue, o, s->now + CONNECT_EVERY);
}

void network_start(struct sim *s)
{
        if (s->plan.change_every != 0)
                (void)sim_plan_at(s, s->now, connect_all, NULL);
}

static usec_t delay_of(struct sim *s)
{
        const struct sim_plan *p = &s->plan;

        if (!s->faults_stopped && sim_chance(s, p->tail_permille))
                return sim_between(s, p->delay_min, p->delay_tail);
        return sim_between(s, p->delay_min, p->delay_max);
}

static void deliver(struct sim *s, const struct machine *from, struct machine *to,
                    const uint8_t *bytes, size_t n)
{
        const struct link_state *l = &s->links[from->id][to->id];
        usec_t at = s->now + delay_of(s);
        struct occurrence *o;

        if (l->clogged_until > at)
                at = l->clogged_until + sim_between(s, 0, USEC_PER_MSEC);
        o = sim_plan_at(s, at, arrive, to);
        o->from = from->node;
        o->service = from->id;
        o->number = from->disk.incarnation;
        o->epoch = to->disk.incarnation;
        o->data = must_copy(bytes, n);
        o->n = n;
}

void network_send(struct sim *s, struct machine *from, node_id id, const uint8_t *bytes, size_t n)
{
        struct machine *to = member_machine(s, from, id);

        s->tally.messages++;
        if (s->queue.n > UNDER_WAY_MAX) {
                sim_fail(s, "a storm of messages, now from %s to %s", sim_node_name(s, from->id),
                         to ? sim_node_name(s, to->id) : "nobody");
                return;
        }
        if (!to) {
                s->tally.messages_foreign++;
                return;
        }
        if (network_is_cut(s, from->id, to->id) ||
            (!s->faults_stopped && sim_chance(s, s->plan.loss_permille))) {
                s->tally.messages_lost++;
                return;
        }
        deliver(s, from, to, bytes, n);
        if (!s->faults_stopped && sim_chance(s, s->plan.duplicate_permille))
                deliver(s, from, to, bytes, n);
}
