/* Time, machines, network and disks of a story, and the real nodes on them. */
#include "tests/scenarios/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"

#define TALK_DELAY 100 /* between engine and hands */
#define SETUP_MAX (30 * USEC_PER_SEC)
#define LOOK_EVERY (10 * USEC_PER_MSEC)
/* Every clock reads something else: only lengths can be compared. */
#define FIRST_READING(id) ((uint64_t)(id)*1000 * USEC_PER_SEC)

enum { SEEDS_MAX = 200 };

static const char *const database_names[] = {
        NULL, "db1", "db2", "db3", "db4", "db5", "db6", "db7", "db8", "db9",
};

const struct world_setup world_defaults = { .max_loss = 16 << 20,
                                            .ttl = 3 * USEC_PER_SEC,
                                            .heartbeat = 50 * USEC_PER_MSEC,
                                            .election_timeout = 150 * USEC_PER_MSEC };

struct machine *world_machine(struct world *w, node_id id)
{
        return &w->machines[id];
}

unsigned world_candidates(const struct world *w)
{
        return w->setup.n_nodes - (w->setup.witness ? 1 : 0);
}

struct instant world_clock(const struct world *w, const struct machine *m)
{
        return sim_clock_read(&m->clock, w->now);
}

bool world_is_awake(const struct world *w, const struct machine *m)
{
        return m->up && w->now >= m->suspended_until;
}

static bool is_paused(const struct world *w, const struct machine *m)
{
        return w->now < m->paused_until || w->now < m->suspended_until;
}

static void release(struct happening *h)
{
        free(h->bytes);
        free(h);
}

struct happening *world_plan(struct world *w, usec_t delay, struct machine *m, happening_fn *happen)
{
        struct happening *h = must_alloc(1, sizeof(*h));

        if (w->n_under_way == WORLD_UNDER_WAY_MAX) {
                tell_violation(w, m, "too much is under way");
                release(w->under_way[--w->n_under_way]);
        }
        h->at = w->now + delay;
        h->order = ++w->orders;
        h->happen = happen;
        h->node = m->id;
        h->life = m->boot;
        w->under_way[w->n_under_way++] = h;
        return h;
}

/* The engine. */

static void engine_hears(struct world *w, struct machine *m, struct happening *h)
{
        if (!m->node || h->life != m->life)
                return;
        h->event.status = &h->status;
        h->event.text = h->text;
        world_feed(w, m, &h->event);
}

void world_tell_engine(struct world *w, struct machine *m, const struct node_event *event)
{
        struct happening *h;

        if (!m->node)
                return;
        h = world_plan(w, TALK_DELAY, m, engine_hears);
        h->life = m->life;
        h->event = *event;
        if (event->text)
                (void)snprintf(h->text, sizeof(h->text), "%s", event->text);
        if (event->status)
                h->status = *event->status;
        else
                database_status(w, m, &h->status);
}

static void message_arrives(struct world *w, struct machine *m, struct happening *h)
{
        if (!m->node)
                return;
        h->event.bytes = h->bytes;
        world_feed(w, m, &h->event);
}

static void send_message(struct world *w, struct machine *m, const struct node_effect *e)
{
        struct happening *h;

        if (w->cut[m->id][e->to] || !w->machines[e->to].up)
                return;
        h = world_plan(w, WORLD_MESSAGE_DELAY, world_machine(w, e->to), message_arrives);
        h->bytes = must_copy(e->bytes, e->n);
        h->event = (struct node_event){ .type = NODE_RECEIVED, .from = m->id, .n = e->n };
}

static void drop_entries(struct machine *m, size_t n_kept)
{
        while (m->n_entries > n_kept)
                free((void *)m->entries[--m->n_entries].bytes);
}

static void disk_is_durable(struct world *w, struct machine *m, struct happening *h)
{
        if (m->node && h->life == m->life)
                world_feed(w, m, &h->event);
}

/* All that was written survives; the node hears of it when the sync is over. */
static void write_disk(struct world *w, struct machine *m, const struct raft_persist *p)
{
        struct happening *h;

        if (p->has_hard_state) {
                m->term = p->term;
                m->vote = p->vote;
        }
        if (p->truncate_from)
                drop_entries(m, p->truncate_from - 1);
        for (uint64_t i = p->first; p->first && i <= p->last; i++) {
                const struct raft_entry *e = node_entry_at(m->node, i);

                drop_entries(m, i - 1);
                if (m->n_entries == WORLD_ENTRIES_MAX) {
                        tell_violation(w, m, "the log is longer than a story may be");
                        return;
                }
                m->entries[m->n_entries] = *e;
                m->entries[m->n_entries++].bytes = must_copy(e->bytes, e->n);
        }
        h = world_plan(w, WORLD_DISK_DELAY, m, disk_is_durable);
        h->life = m->life;
        h->event = (struct node_event){ .type = NODE_PERSISTED, .generation = p->generation };
}

static void hands_hear(struct world *w, struct machine *m, struct happening *h)
{
        if (m->up && h->life == m->boot)
                hands_take(w, m, &h->effect);
}

static void answered(struct world *w, struct machine *m, const struct node_effect *e)
{
        if (e->outcome != NODE_OK)
                tell(w, m, "the operator is answered: %s%s%s", node_outcome_name(e->outcome),
                     e->text ? ", " : "", e->text ? e->text : "");
        else if (e->result && e->result->error != STORE_OK)
                tell(w, m, "the operator is answered: refused, an earlier order is not done yet");
}

static void carry_out(struct world *w, struct machine *m, const struct node_effect *e)
{
        switch (e->type) {
        case NODE_PERSIST:
                write_disk(w, m, &e->persist);
                return;
        case NODE_SEND:
                send_message(w, m, e);
                return;
        case NODE_ANSWERED:
                answered(w, m, e);
                return;
        case NODE_HOLD:
        case NODE_LET_GO:
        case NODE_RUN:
        case NODE_CANCEL:
                world_plan(w, TALK_DELAY, m, hands_hear)->effect = *e;
                return;
        case NODE_NOTE:
                tell_note(w, m, &e->note);
                return;
        case NODE_WOKEN:
        case NODE_MEMBERS:
        case NODE_SNAPSHOT_TAKE:
        case NODE_SNAPSHOT_READ:
        case NODE_SNAPSHOT_WRITE:
                return;
        }
}

void world_feed(struct world *w, struct machine *m, struct node_event *event)
{
        struct node_effects effects;

        event->now = instant_later(world_clock(w, m), m->fed);
        m->fed = event->now;
        node_step(m->node, event, &effects);
        for (size_t i = 0; i < effects.n; i++)
                carry_out(w, m, &effects.list[i]);
}

static size_t adopted_by(const struct machine *m, struct node_adopted *ret)
{
        const struct hands *h = &m->hands;

        if (!h->armed || h->letting_go)
                return 0;
        *ret = (struct node_adopted){ .epoch = h->epoch,
                                      .incarnation = h->hold.incarnation,
                                      .demote_at = h->hold.demote_at,
                                      .close_by = h->hold.close_by };
        return 1;
}

void world_start_engine(struct world *w, struct machine *m)
{
        struct node_config config = w->config;
        struct raft_durable durable = {
                .term = m->term, .vote = m->vote, .entries = m->entries, .n_entries = m->n_entries
        };
        struct node_adopted adopted;
        size_t n_adopted = adopted_by(m, &adopted);

        if (m->node || !m->up)
                return;
        m->life++;
        config.self = m->id;
        config.incarnation = m->id * 1000u + m->life;
        config.seed = w->seed * 1000000 + config.incarnation;
        m->fed = world_clock(w, m);
        m->node = node_new(&config, &durable, NULL, &adopted, n_adopted, m->fed);
        if (m->id <= world_candidates(w)) {
                hands_report(w, m);
                world_tell_engine(w, m,
                                  &(struct node_event){ .type = NODE_HANDS_ADDRESSES,
                                                        .ok = m->hands.address });
        }
}

static void engine_starts(struct world *w, struct machine *m, struct happening *h)
{
        if (h->life == m->boot)
                world_start_engine(w, m);
}

static void stop_engine(struct machine *m)
{
        node_free(m->node);
        m->node = NULL;
        m->life++;
        m->paused_until = 0;
}

void world_kill_engine(struct world *w, struct machine *m, usec_t down)
{
        if (!m->node)
                return;
        stop_engine(m);
        (void)world_plan(w, down, m, engine_starts);
}

/* Machines. */

void world_crash(struct machine *m)
{
        if (!m->up)
                return;
        stop_engine(m);
        hands_crash(m);
        m->up = false;
        m->boot++;
}

void world_boot(struct world *w, struct machine *m)
{
        if (m->up)
                return;
        m->up = true;
        m->boot++;
        m->suspended_until = 0;
        m->clock = (struct sim_clock){ .started = w->now,
                                       .reading = FIRST_READING(m->id) + m->boot * USEC_PER_SEC,
                                       .ppm = m->clock.ppm };
        hands_start(w, m);
        (void)world_plan(w, WORLD_ENGINE_RESTART, m, engine_starts);
}

void world_suspend(struct world *w, struct machine *m, usec_t length)
{
        if (!world_is_awake(w, m))
                return;
        m->suspended_until = w->now + length;
}

void world_clock_rate(struct world *w, struct machine *m, int ppm)
{
        m->clock = (struct sim_clock){ .started = w->now,
                                       .reading = world_clock(w, m).usec,
                                       .ppm = ppm };
}

void world_order(struct world *w, struct machine *m, enum node_order order, node_id target)
{
        struct node_event event = { .type = NODE_ORDER,
                                    .request = ++w->request,
                                    .order = order,
                                    .target = target,
                                    .bootstrap = FAILOVER_BOOTSTRAP_INITDB };

        if (m->node)
                world_feed(w, m, &event);
        else
                tell(w, m, "the operator is answered: nobody is there");
}

/* Time. */

static bool comes_before(const struct happening *a, const struct happening *b)
{
        return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static size_t first_under_way(const struct world *w)
{
        size_t first = 0;

        for (size_t i = 1; i < w->n_under_way; i++)
                if (comes_before(w->under_way[i], w->under_way[first]))
                        first = i;
        return first;
}

/* What comes to someone who stands still waits for them, in its order. */
static bool waits(const struct world *w, const struct machine *m, struct happening *h)
{
        bool for_engine = h->happen == engine_hears || h->happen == message_arrives ||
                          h->happen == disk_is_durable;
        usec_t until = m->suspended_until;

        if (for_engine && m->paused_until > until)
                until = m->paused_until;
        if (!m->up || w->now >= until)
                return false;
        h->at = until;
        return true;
}

static void let_happen(struct world *w, size_t i)
{
        struct happening *h = w->under_way[i];
        struct machine *m = world_machine(w, h->node);

        if (waits(w, m, h))
                return;
        w->under_way[i] = w->under_way[--w->n_under_way];
        h->happen(w, m, h);
        release(h);
}

static usec_t engine_deadline(const struct world *w, const struct machine *m)
{
        usec_t at;

        if (!m->up || !m->node)
                return USEC_INFINITY;
        at = sim_clock_when(&m->clock, node_deadline(m->node), w->now);
        if (at < m->paused_until)
                at = m->paused_until;
        return at < m->suspended_until ? m->suspended_until : at;
}

enum turn { TURN_NOBODY, TURN_HANDS, TURN_HAPPENING, TURN_ENGINE };

/* What is next: the hands keep their deadlines before anything else happens at the same moment. */
static enum turn next_turn(struct world *w, usec_t end, usec_t *ret_at,
                           struct machine **ret_machine, size_t *ret_first)
{
        enum turn turn = TURN_NOBODY;
        usec_t at = end;

        if (w->n_under_way > 0) {
                *ret_first = first_under_way(w);
                if (w->under_way[*ret_first]->at <= at) {
                        at = w->under_way[*ret_first]->at;
                        turn = TURN_HAPPENING;
                }
        }
        for (node_id id = 1; id <= w->setup.n_nodes; id++) {
                struct machine *m = world_machine(w, id);
                usec_t hands = hands_deadline(w, m), engine = engine_deadline(w, m);

                if (hands < at || (hands == at && turn != TURN_HANDS)) {
                        turn = TURN_HANDS;
                        at = hands;
                        *ret_machine = m;
                }
                if (engine < at || (engine == at && turn == TURN_NOBODY)) {
                        turn = TURN_ENGINE;
                        at = engine;
                        *ret_machine = m;
                }
        }
        *ret_at = at;
        return turn;
}

void world_advance(struct world *w, usec_t length)
{
        usec_t end = w->now + length, at;
        unsigned at_once = 0;
        struct machine *m = NULL;
        size_t first = 0;
        enum turn turn;

        while ((turn = next_turn(w, end, &at, &m, &first)) != TURN_NOBODY && !w->failed) {
                at_once = at > w->now ? 0 : at_once + 1;
                if (at_once > WORLD_AT_ONCE_MAX) {
                        tell_violation(w, m, "turns in circles");
                        return;
                }
                w->now = at > w->now ? at : w->now;
                if (turn == TURN_HANDS)
                        hands_act(w, m);
                else if (turn == TURN_HAPPENING)
                        let_happen(w, first);
                else if (!is_paused(w, m))
                        world_feed(w, m, &(struct node_event){ .type = NODE_TIMEOUT });
                database_replicate(w);
                hands_check(w);
        }
        w->now = end;
}

/* The beginning. */

static void configure_service(struct world *w)
{
        const struct world_setup *s = &w->setup;
        struct failover_config *f = &w->service.failover;

        memcpy(w->service.name, s->service, sizeof(w->service.name));
        w->service.ttl = s->ttl;
        w->service.renew = s->ttl / 10;
        *f = (struct failover_config){ .n_members = world_candidates(w),
                                       .has_database = !s->vip_only,
                                       .has_address = !s->no_vip,
                                       .automatic = !s->manual,
                                       .crash_restart = s->crash_restart,
                                       .max_loss = s->max_loss,
                                       .ttl = s->ttl,
                                       .report_interval = s->ttl / 10,
                                       .demote_soft = s->ttl / 6,
                                       .demote_hard = s->ttl / 15 };
        w->service.chain = lease_chain_of(s->ttl, f->demote_soft, f->demote_hard);
        for (node_id id = 1; id <= f->n_members; id++)
                f->members[id - 1] = id;
}

static void configure(struct world *w)
{
        const struct world_setup *s = &w->setup;
        struct node_config *c = &w->config;

        configure_service(w);
        *c = (struct node_config){ .members = { .id_last = (node_id)s->n_nodes },
                                   .heartbeat = s->heartbeat,
                                   .election_timeout = s->election_timeout,
                                   .request_timeout = 2 * USEC_PER_SEC,
                                   .pre_vote = true,
                                   .services = &w->service,
                                   .n_services = 1 };
        for (node_id id = 1; id <= s->n_nodes; id++) {
                struct machine *m = world_machine(w, id);
                struct member member = { .id = id };

                m->id = id;
                m->name = s->witness && id == s->n_nodes ? "witness" : database_names[id];
                m->entries = must_alloc(WORLD_ENTRIES_MAX, sizeof(*m->entries));
                (void)snprintf(member.name, NAME_SIZE, "%s", m->name);
                (void)members_add(&c->members, &member); /* a setup has no more than fit */
        }
}

static node_id leader_of(struct world *w)
{
        for (node_id id = 1; id <= w->setup.n_nodes; id++) {
                const struct machine *m = world_machine(w, id);

                if (m->node && raft_role(node_raft(m->node)) == RAFT_LEADER)
                        return id;
        }
        return NODE_NOBODY;
}

/* All machines start at once; who leads is chance, that is, the seed. */
static struct world *world_of_seed(const struct world_setup *setup, uint64_t seed)
{
        struct world *w = must_alloc(1, sizeof(*w));

        w->setup = *setup;
        w->seed = seed;
        configure(w);
        for (node_id id = 1; id <= setup->n_nodes; id++)
                world_boot(w, world_machine(w, id));
        return w;
}

static bool elects(struct world *w, node_id leader)
{
        for (usec_t t = 0; t < SETUP_MAX && leader_of(w) == NODE_NOBODY; t += LOOK_EVERY)
                world_advance(w, LOOK_EVERY);
        return leader_of(w) != NODE_NOBODY && (leader == NODE_NOBODY || leader_of(w) == leader);
}

static bool is_master(struct world *w, node_id id)
{
        struct machine *m = world_machine(w, id);
        struct node_service_view v;

        node_service_view(m->node, 0, world_clock(w, m), &v);
        return v.state == FAILOVER_MASTER;
}

static bool has_standbys(struct world *w)
{
        for (node_id id = 1; id <= world_candidates(w); id++)
                if (id != w->setup.master && !world_machine(w, id)->hands.database.streaming)
                        return false;
        return true;
}

/* First master and standbys, as the operator makes them. */
static bool sets_up(struct world *w)
{
        node_id master = w->setup.master;

        world_advance(w, 2 * USEC_PER_SEC);
        if (!w->setup.vip_only)
                world_order(w, world_machine(w, master), NODE_ORDER_BOOTSTRAP, NODE_NOBODY);
        for (usec_t t = 0; t < SETUP_MAX && !is_master(w, master); t += LOOK_EVERY)
                world_advance(w, LOOK_EVERY);
        if (!is_master(w, master) || w->setup.vip_only)
                return is_master(w, master);
        world_advance(w, USEC_PER_SEC);
        for (node_id id = 1; id <= world_candidates(w); id++)
                if (id != master)
                        world_order(w, world_machine(w, id), NODE_ORDER_CLONE, NODE_NOBODY);
        for (usec_t t = 0; t < SETUP_MAX && !has_standbys(w); t += LOOK_EVERY)
                world_advance(w, LOOK_EVERY);
        world_advance(w, 2 * USEC_PER_SEC);
        return has_standbys(w);
}

/* A story counts from a whole second on. */
static struct world *begin(struct world *w)
{
        world_advance(w, USEC_PER_SEC - w->now % USEC_PER_SEC);
        w->origin = w->now;
        w->silent = false;
        return w;
}

static struct world *world_led_by(const struct world_setup *setup)
{
        for (uint64_t seed = 1; seed <= SEEDS_MAX; seed++) {
                struct world *w = world_of_seed(setup, seed);

                w->silent = true;
                if (elects(w, setup->leader))
                        return w;
                world_free(w);
        }
        return NULL;
}

struct world *world_new(const struct world_setup *setup, const char **ret_why)
{
        struct world *w = world_led_by(setup);

        if (!w) {
                *ret_why = "with none of the seeds is that node elected first";
                return NULL;
        }
        if (setup->master != NODE_NOBODY && !sets_up(w)) {
                *ret_why = "the service does not get that master and its standbys";
                world_free(w);
                return NULL;
        }
        return begin(w);
}

void world_free(struct world *w)
{
        if (!w)
                return;
        for (size_t i = 0; i < w->n_under_way; i++)
                release(w->under_way[i]);
        for (node_id id = 1; id <= MEMBERS_MAX; id++) {
                struct machine *m = world_machine(w, id);

                node_free(m->node);
                drop_entries(m, 0);
                free(m->entries);
        }
        free(w->text);
        free(w);
}
