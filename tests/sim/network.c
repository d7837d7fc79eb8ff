/* The network between the members: loses, delays, repeats and reorders; links can be cut. */
#include <string.h>

#include "election/base/memory.h"
#include "tests/sim/sim.h"

/* What is under way at one time, beyond which the members only occupy one another. */
#define UNDER_WAY_MAX 20000

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

static void arrive(struct sim *s, struct occurrence *o)
{
        struct node_event event = {
                .type = NODE_RECEIVED, .from = o->from, .bytes = o->data, .n = o->n
        };

        if (!engine_is_listening(s, o->machine)) {
                s->tally.messages_lost++;
                return;
        }
        o->life = o->machine->engine.life;
        if (!engine_takes(s, o))
                return;
        engine_feed(s, o->machine, &event);
        fault_aim(s, o->machine, AIM_RECEIVED);
}

static usec_t delay_of(struct sim *s)
{
        const struct sim_plan *p = &s->plan;

        if (!s->faults_stopped && sim_chance(s, p->tail_permille))
                return sim_between(s, p->delay_min, p->delay_tail);
        return sim_between(s, p->delay_min, p->delay_max);
}

static void deliver(struct sim *s, node_id from, node_id to, const uint8_t *bytes, size_t n)
{
        usec_t at = s->now + delay_of(s);
        struct occurrence *o;

        if (s->links[from][to].clogged_until > at)
                at = s->links[from][to].clogged_until + sim_between(s, 0, USEC_PER_MSEC);
        o = sim_plan_at(s, at, arrive, sim_machine(s, to));
        o->from = from;
        o->data = must_copy(bytes, n);
        o->n = n;
}

void network_send(struct sim *s, struct machine *from, node_id to, const uint8_t *bytes, size_t n)
{
        s->tally.messages++;
        if (s->queue.n > UNDER_WAY_MAX) {
                sim_fail(s, "a storm of messages, now from %s to %s", sim_node_name(s, from->id),
                         sim_node_name(s, to));
                return;
        }
        if (network_is_cut(s, from->id, to) ||
            (!s->faults_stopped && sim_chance(s, s->plan.loss_permille))) {
                s->tally.messages_lost++;
                return;
        }
        deliver(s, from->id, to, bytes, n);
        if (!s->faults_stopped && sim_chance(s, s->plan.duplicate_permille))
                deliver(s, from->id, to, bytes, n);
}
