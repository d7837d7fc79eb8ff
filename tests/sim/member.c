/*
 * Which machine is which member, and who changes that: people who add, promote and remove members
 * while faults go on, machines that are lost with their disks, and in the end the way back to the
 * members of the beginning. Those that can be master stay; everybody else may come and go.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "tests/sim/sim.h"

#define PORT 7000 /* and the number of the machine */
#define LOOK_EVERY (200 * USEC_PER_MSEC)

static struct endpoint endpoint_of(const struct machine *m)
{
        struct endpoint ret = { .address = { .family = AF_INET },
                                .port = (uint16_t)(PORT + m->id) };

        ret.address.v4.s_addr = htonl(0x0a000000u | (uint32_t)m->id);
        return ret;
}

static struct machine *machine_at(struct sim *s, const struct endpoint *e)
{
        return sim_machine(s, (node_id)(e->port - PORT));
}

void member_found(struct sim *s, struct machine *m)
{
        disk_wipe(s, m);
        m->node = m->id;
        m->joined = (struct members){ .id_last = (node_id)s->plan.n_nodes };
        for (unsigned i = 1; i <= s->plan.n_nodes; i++) {
                struct machine other = { .id = (node_id)i };
                struct member member = { .id = (node_id)i,
                                         .kind = i <= s->plan.n_candidates ? MEMBER_FULL
                                                                           : MEMBER_WITNESS,
                                         .peer = endpoint_of(&other),
                                         .api = endpoint_of(&other) };

                (void)snprintf(member.name, NAME_SIZE, "%s", sim_node_name(s, member.id));
                (void)members_add(&m->joined, &member); /* a plan has no more than fit */
        }
}

const struct members *member_list(const struct machine *m)
{
        const struct members *list = node_contacts(m->engine.node);

        return list->n > 0 ? list : &m->joined;
}

struct machine *member_machine(struct sim *s, const struct machine *m, node_id id)
{
        const struct member *member = members_by_id(member_list(m), id);
        struct machine *ret = member ? machine_at(s, &member->peer) : NULL;

        if (!ret || ret->node != id ||
            (member->incarnation != 0 && member->incarnation != ret->disk.incarnation))
                return NULL;
        return ret;
}

bool member_accepts(const struct machine *m, const struct machine *from)
{
        const struct member *member = members_by_id(member_list(m), from->node);

        return member && member->peer.port == PORT + from->id &&
               (member->incarnation == 0 || member->incarnation == from->disk.incarnation);
}

static void tell_list(struct sim *s, const struct members *list)
{
        char text[SIM_LINE_SIZE] = "";
        size_t n = 0;

        for (unsigned i = 0; i < list->n && n < sizeof(text); i++)
                n += (size_t)snprintf(text + n, sizeof(text) - n, " %u=%s%s%s", list->list[i].id,
                                      list->list[i].name,
                                      member_votes(&list->list[i]) ? ""
                                      : list->list[i].is_learning  ? " (learns)"
                                                                   : " (observes)",
                                      list->list[i].incarnation ? "" : " (unseen)");
        STORY(s, NULL, "members of entry %llu:%s", (unsigned long long)list->index, text);
}

void member_committed(struct sim *s, const struct raft_entry *e)
{
        struct reader r = reader_of(e->bytes, e->n);
        struct raft_members voters;

        if (!raft_members_decode(&r, &voters) || !members_decode(r.bytes, r.n, &s->members))
                sim_fail(s, "entry %llu is no member list", (unsigned long long)e->index);
        s->members.index = e->index;
        s->tally.member_lists++;
        MUST_GROW(s->lists, s->n_lists, s->n_lists_max);
        s->lists[s->n_lists++] = e->index;
        if (s->story.recording)
                tell_list(s, &s->members);
}

void member_check(struct sim *s, const struct machine *m)
{
        const struct raft *r = node_raft(m->engine.node);
        uint64_t committed = raft_index_committed(r);
        uint64_t own = raft_membership_at(r, committed)->index;
        size_t i = s->n_lists;

        while (i > 0 && s->lists[i - 1] > committed)
                i--;
        if (own != (i > 0 ? s->lists[i - 1] : 0))
                sim_fail(s, "%s goes by the member list of entry %llu at %llu, but %llu changed it",
                         sim_node_name(s, m->id), (unsigned long long)own,
                         (unsigned long long)committed,
                         (unsigned long long)(i > 0 ? s->lists[i - 1] : 0));
}

void member_list_changed(struct sim *s, struct machine *m)
{
        m->known = *member_list(m);
        fault_aim(s, m, AIM_MEMBERS);
}

static bool is_served(const struct sim *s, const struct machine *m)
{
        return engine_is_listening(s, m) && machine_is_awake(s, m) &&
               s->now >= m->engine.paused_until;
}

/* What a member that is asked says who the members are: only what it has applied. */
static const struct members *list_said_by(const struct machine *m)
{
        const struct members *list = node_members(m->engine.node);

        return list->n > 0 && list->index <= raft_index_committed(node_raft(m->engine.node)) ? list
                                                                                             : NULL;
}

static bool is_itself(const struct machine *m, const struct member *member)
{
        return m->node == member->id &&
               (member->incarnation == 0 || member->incarnation == m->disk.incarnation);
}

/* Somebody who can be asked, and still takes itself for a member. */
static struct machine *some_member(struct sim *s)
{
        struct machine *m = sim_machine(s, (node_id)sim_between(s, 1, s->plan.n_machines));
        const struct members *list = is_served(s, m) ? list_said_by(m) : NULL;
        const struct member *itself = list ? members_by_id(list, m->node) : NULL;

        return itself && itself->peer.port == PORT + m->id && is_itself(m, itself) ? m : NULL;
}

/* What people ask for. */

static void ask(struct sim *s, struct machine *at, enum node_change_type type,
                const struct machine *m, enum member_kind kind)
{
        struct node_change c = {
                .type = type, .kind = kind, .peer = endpoint_of(m), .api = endpoint_of(m)
        };

        (void)snprintf(c.name, sizeof(c.name), "%s", sim_node_name(s, m->id));
        client_change(s, at, &c);
}

/* The machine forgets everything; its id is never its again. */
static void wipe(struct sim *s, struct machine *m)
{
        STORY(s, m, "its disk is empty now");
        engine_crash(s, m);
        disk_wipe(s, m);
        m->node = NODE_NOBODY;
        m->wants_to_join = false;
}

/* Whether @m is one of the members, whatever those that can be asked know about it. */
static bool is_member(const struct sim *s, const struct machine *m)
{
        for (unsigned i = 0; i < s->members.n; i++)
                if (s->members.list[i].peer.port == PORT + m->id &&
                    is_itself(m, &s->members.list[i]))
                        return true;
        return false;
}

static void add(struct sim *s, struct machine *at, struct machine *m)
{
        enum member_kind kind = MEMBER_WITNESS;

        if (is_member(s, m))
                return;
        if (!m->wants_to_join)
                wipe(s, m);
        m->wants_to_join = true;
        if (!s->faults_stopped && sim_chance(s, 200))
                kind = MEMBER_OBSERVER;
        ask(s, at, NODE_CHANGE_ADD, m, kind);
}

/* With what a member said: the token. */
static void join(struct sim *s, struct machine *m, const struct members *list,
                 const struct member *member)
{
        if (!machine_is_awake(s, m) || member->incarnation != 0)
                return;
        STORY(s, m, "joins as member %u", member->id);
        s->tally.joins++;
        disk_wipe(s, m);
        m->wants_to_join = false;
        m->node = member->id;
        m->joined = *list;
        engine_start(s, m);
}

static void let_join(struct sim *s, const struct members *list)
{
        for (unsigned i = 0; i < list->n; i++) {
                struct machine *m = machine_at(s, &list->list[i].peer);

                if (m->wants_to_join && m->node == NODE_NOBODY)
                        join(s, m, list, &list->list[i]);
        }
}

/* Whether all members but @m are there, have their own disks and agree, and are a majority. */
static bool may_be_lost(struct sim *s, const struct machine *m)
{
        unsigned voters = 0;

        for (unsigned i = 0; i < s->members.n; i++) {
                const struct member *member = &s->members.list[i];
                const struct machine *at = machine_at(s, &member->peer);

                voters += member_votes(member);
                if (!engine_is_listening(s, at) || !is_itself(at, member) ||
                    member_list(at)->index != s->members.index)
                        return false;
        }
        return voters >= 3 && s->dead == 0 && is_member(s, m);
}

static bool knows(const struct machine *m, const struct member *other)
{
        const struct member *known = members_by_id(&m->known, other->id);

        return known && known->peer.port == other->peer.port &&
               (known->incarnation == 0 || known->incarnation == other->incarnation);
}

/*
 * Whether a member would know none of the others any more without @gone: nobody could tell it who they
 * are now, and it would have to come back as a new one.
 */
static bool orphans(struct sim *s, const struct machine *gone)
{
        for (unsigned i = 0; i < s->members.n; i++) {
                const struct machine *m = machine_at(s, &s->members.list[i].peer);
                unsigned n_others = 0, n_known = 0;

                for (unsigned k = 0; k < s->members.n; k++) {
                        if (k == i || machine_at(s, &s->members.list[k].peer) == gone)
                                continue;
                        n_others++;
                        n_known += knows(m, &s->members.list[k]);
                }
                if (m != gone && n_others > 0 && n_known < 2 && n_known < n_others)
                        return true;
        }
        return false;
}

static void lose(struct sim *s, struct machine *m)
{
        STORY(s, m, "is lost with its disk");
        s->tally.machines_lost++;
        wipe(s, m);
}

/* A member of the list that is not what it was; or NULL. */
static struct machine *lost_member(struct sim *s)
{
        for (unsigned i = 0; i < s->members.n; i++) {
                struct machine *m = machine_at(s, &s->members.list[i].peer);

                if (!is_itself(m, &s->members.list[i]) && !m->wants_to_join)
                        return m;
        }
        return NULL;
}

/*
 * The group survives the loss of one voter, but not in the middle of the removal of another one. So the
 * list is left alone for as long as an earlier order can be under way.
 */
static void doom(struct sim *s, struct machine *m)
{
        s->doomed = m->id;
        s->doomed_at = s->now + 4 * s->plan.ttl + s->plan.request_timeout;
}

static void strike_doomed(struct sim *s)
{
        struct machine *m = sim_machine(s, s->doomed);

        if (s->now < s->doomed_at)
                return;
        s->doomed = NODE_NOBODY;
        if (may_be_lost(s, m))
                lose(s, m);
}

/* A change that is not meant well. Only those behind the candidates come and go. */
static void change_something(struct sim *s, struct machine *at)
{
        const struct members *list = list_said_by(at);
        struct machine *lost = lost_member(s);
        const struct member *member;
        struct machine *m;

        if (lost) {
                ask(s, at, NODE_CHANGE_REMOVE, lost, MEMBER_WITNESS);
                return;
        }
        m = sim_machine(s, (node_id)sim_between(s, s->plan.n_candidates + 1, s->plan.n_machines));
        member = members_by_name(list, sim_node_name(s, m->id));
        if (!member)
                add(s, at, m);
        else if (!is_itself(m, member) || (sim_chance(s, 600) && !orphans(s, m)))
                ask(s, at, NODE_CHANGE_REMOVE, m, MEMBER_WITNESS);
        else if (!member_votes(member))
                ask(s, at, NODE_CHANGE_PROMOTE, m, MEMBER_WITNESS);
        else if (sim_chance(s, 200) && !orphans(s, m))
                doom(s, m);
}

static bool is_founder(const struct sim *s, const struct machine *m)
{
        return m->id <= s->plan.n_nodes;
}

/* One step back to the members of the beginning. */
static void settle(struct sim *s, struct machine *at)
{
        const struct members *list = list_said_by(at);

        struct machine *lost = lost_member(s);

        if (lost) {
                ask(s, at, NODE_CHANGE_REMOVE, lost, MEMBER_WITNESS);
                return;
        }
        for (unsigned i = 0; i < list->n; i++) {
                const struct member *member = &list->list[i];
                struct machine *m = machine_at(s, &member->peer);

                if (!is_founder(s, m) || (!is_itself(m, member) && !m->wants_to_join)) {
                        ask(s, at, NODE_CHANGE_REMOVE, m, MEMBER_WITNESS);
                        return;
                }
                if (member->kind == MEMBER_OBSERVER) {
                        ask(s, at, NODE_CHANGE_PROMOTE, m, MEMBER_WITNESS);
                        return;
                }
        }
        for (unsigned i = 1; i <= s->plan.n_nodes; i++) {
                struct machine *m = sim_machine(s, (node_id)i);

                if (!members_by_name(list, sim_node_name(s, m->id)) && !(s->dead >> i & 1)) {
                        add(s, at, m);
                        return;
                }
        }
}

bool member_is_settled(const struct sim *s, const struct machine *m)
{
        const struct members *list = node_members(m->engine.node);

        for (unsigned i = 0; i < list->n; i++)
                if (!member_votes(&list->list[i]) ||
                    list->list[i].peer.port > PORT + s->plan.n_nodes)
                        return false;
        return list->n == s->plan.n_nodes;
}

static void look(struct sim *s, struct occurrence *o)
{
        struct machine *at = some_member(s);
        usec_t every = s->faults_stopped ? LOOK_EVERY : s->plan.change_every;

        if (at) {
                let_join(s, list_said_by(at));
                if (s->faults_stopped)
                        settle(s, at);
                else if (s->doomed != NODE_NOBODY)
                        strike_doomed(s);
                else if (s->heal_at != 0)
                        change_something(s, at);
        }
        queue_plan_again(&s->queue, o, s->now + 1 + sim_about(s, every));
}

void member_start(struct sim *s)
{
        s->members = sim_machine(s, 1)->joined;
        if (s->plan.change_every != 0)
                (void)sim_plan_at(s, s->now, look, NULL);
}
