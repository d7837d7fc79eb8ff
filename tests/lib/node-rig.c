/* The bench of node-rig.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "election/base/chain.h"
#include "election/base/memory.h"
#include "tests/lib/node-rig.h"

struct bench_event {
        node_id node;
        struct node_event event;
        uint8_t *bytes; /* owned */
        struct node_database_status status;
};

struct instant bench_clock(const struct bench *b, node_id node)
{
        return (struct instant){ b->now.usec + (uint64_t)b->machines[node].skew };
}

static void configure_service(struct bench *b, unsigned i, const struct bench_setup *setup)
{
        struct node_service_config *c = &b->services[i];
        unsigned n = setup->n_candidates ? setup->n_candidates : 2;

        (void)snprintf(c->name, sizeof(c->name), "service%u", i);
        c->ttl = BENCH_TTL;
        c->renew = BENCH_RENEW;
        c->chain = lease_chain_of(BENCH_TTL, BENCH_TTL / 6, BENCH_TTL / 15);
        c->failover = (struct failover_config){ .has_database = setup->has_database,
                                                .has_address = !setup->no_resources,
                                                .automatic = !setup->manual,
                                                .max_loss = UINT64_MAX,
                                                .ttl = BENCH_TTL,
                                                .report_interval = BENCH_RENEW,
                                                .demote_soft = BENCH_TTL / 6,
                                                .demote_hard = BENCH_TTL / 15 };
        c->is_for_all = setup->follows;
        for (node_id id = 1; id <= n; id++)
                c->failover.members[c->failover.n_members++] = id;
}

void bench_stop(struct bench *b, node_id node)
{
        struct bench_machine *m = &b->machines[node];
        size_t kept = 0;

        node_free(m->node);
        m->node = NULL;
        for (size_t i = 0; i < b->n_queue; i++) {
                if (b->queue[i].node == node)
                        free(b->queue[i].bytes);
                else
                        b->queue[kept++] = b->queue[i];
        }
        b->n_queue = kept;
}

void bench_done(struct bench *b)
{
        for (node_id id = 1; id <= BENCH_NODES_MAX; id++) {
                struct bench_machine *m = &b->machines[id];

                bench_stop(b, id);
                bench_wipe(b, id);
                free(m->entries);
        }
        for (size_t i = 0; i < BENCH_SEEN_MAX; i++)
                free(b->seen[i].bytes);
        free(b->queue);
        free(b->seen);
}

void bench_wipe(struct bench *b, node_id node)
{
        struct bench_machine *m = &b->machines[node];

        assert_null(m->node);
        while (m->n_entries > 0)
                free((void *)m->entries[--m->n_entries].bytes);
        for (size_t i = 0; i < BENCH_SNAPSHOTS_MAX; i++) {
                buffer_done(&m->snapshots[i].bytes);
                m->snapshots[i] = (struct bench_snapshot){ 0 };
        }
        buffer_done(&m->incoming);
        m->snapshot_index = m->snapshot_term = m->term = 0;
        m->vote = NODE_NOBODY;
        m->disk += m->disk ? 1000 : 0;
}

static struct bench_snapshot *find_snapshot(struct bench_machine *m, uint64_t index, uint64_t term)
{
        for (size_t i = 0; i < BENCH_SNAPSHOTS_MAX; i++) {
                if (m->snapshots[i].index == index && m->snapshots[i].term == term)
                        return &m->snapshots[i];
        }
        return NULL;
}

/* A file under its name; takes over @bytes. */
static void keep_snapshot(struct bench_machine *m, uint64_t index, uint64_t term,
                          struct buffer *bytes)
{
        struct bench_snapshot *s = m->snapshots;

        buffer_done(&s[0].bytes);
        memmove(s, s + 1, (BENCH_SNAPSHOTS_MAX - 1) * sizeof(*s));
        s[BENCH_SNAPSHOTS_MAX - 1] = (struct bench_snapshot){ index, term, *bytes };
        *bytes = (struct buffer){ 0 };
}

/* What the log goes on from. The reader lives as long as the membership is needed. */
static struct snapshot_reader *load_snapshot(struct bench_machine *m, struct raft_durable *durable)
{
        struct snapshot_reader *r = snapshot_reader_new(true);
        struct bench_snapshot *s = find_snapshot(m, m->snapshot_index, m->snapshot_term);

        assert_non_null(s);
        assert_int_equal(snapshot_reader_feed(r, s->bytes.bytes, s->bytes.n), 0);
        assert_true(snapshot_reader_is_whole(r));
        assert_true(snapshot_membership(snapshot_reader_head(r), &durable->membership));
        durable->snapshot_index = s->index;
        durable->snapshot_term = s->term;
        return r;
}

static void boot(struct bench *b, node_id node, bool adopt)
{
        struct bench_machine *m = &b->machines[node];
        struct raft_durable durable = {
                .term = m->term, .vote = m->vote, .entries = m->entries, .n_entries = m->n_entries
        };
        struct node_config config = b->config;
        struct snapshot_reader *reader = NULL;
        struct store *store = NULL;
        struct node_adopted adopted[BENCH_SERVICES_MAX];
        size_t n_adopted = 0;

        assert_null(m->node);
        for (size_t i = 0; adopt && i < BENCH_SERVICES_MAX; i++) {
                if (m->held[i])
                        adopted[n_adopted++] = m->holds[i];
        }
        m->incarnation += 1000 * node;
        config.self = node;
        config.incarnation = m->incarnation;
        config.disk_incarnation = m->disk;
        config.seed = m->incarnation;
        if (m->joins)
                config.members = (struct members){ 0 };
        if (m->snapshot_index) {
                reader = load_snapshot(m, &durable);
                store = snapshot_reader_take(reader, bench_clock(b, node));
                assert_non_null(store);
        }
        m->node = node_new(&config, &durable, store, adopted, n_adopted, bench_clock(b, node));
        snapshot_reader_free(reader);
}

void bench_join(struct bench *b, node_id node)
{
        b->machines[node].joins = true;
        bench_run(b, node, false);
}

void bench_meet(struct bench *b)
{
        for (node_id from = 1; from <= BENCH_NODES_MAX; from++) {
                for (node_id to = 1; to <= BENCH_NODES_MAX; to++) {
                        if (from == to || !b->machines[from].node || !b->machines[to].node)
                                continue;
                        bench_feed(b, to,
                                   (struct node_event){ .type = NODE_SEEN,
                                                        .from = from,
                                                        .incarnation = b->machines[from].disk });
                }
        }
}

void bench_run(struct bench *b, node_id node, bool adopt)
{
        boot(b, node, adopt);
        bench_feed(b, node, (struct node_event){ .type = NODE_TIMEOUT });
}

struct endpoint bench_endpoint(unsigned machine)
{
        struct endpoint e = { .address.family = AF_INET, .port = 7001 };

        e.address.v4.s_addr = htonl(0x0a000000 | machine);
        return e;
}

void bench_start(struct bench *b, const struct bench_setup *setup)
{
        unsigned n = setup->n_nodes ? setup->n_nodes : 3;

        *b = (struct bench){ .now = { 1000 * USEC_PER_SEC } };
        b->queue = must_alloc(BENCH_QUEUE_MAX, sizeof(*b->queue));
        b->seen = must_alloc(BENCH_SEEN_MAX, sizeof(*b->seen));
        b->config = (struct node_config){ .heartbeat = BENCH_HEARTBEAT,
                                          .election_timeout = BENCH_ELECTION,
                                          .request_timeout = BENCH_REQUEST,
                                          .pre_vote = true,
                                          .snapshot_bytes = setup->snapshot_bytes,
                                          .snapshot_age = setup->snapshot_age ? setup->snapshot_age
                                                                              : BENCH_SNAPSHOT_AGE,
                                          .services = b->services,
                                          .n_services = setup->n_services ? setup->n_services : 1 };
        for (unsigned i = 0; i < b->config.n_services; i++)
                configure_service(b, i, setup);
        for (node_id id = 1; id <= n; id++) {
                struct member m = { .id = id,
                                    .peer = bench_endpoint(id),
                                    .api = bench_endpoint(id) };

                (void)snprintf(m.name, NAME_SIZE, "n%u", id);
                b->config.members.id_last = id;
                assert_true(members_add(&b->config.members, &m));
        }
        for (node_id id = 1; id <= BENCH_NODES_MAX; id++)
                b->machines[id].disk = setup->has_disks ? 100u + id : 0;
        for (node_id id = 1; id <= n; id++)
                boot(b, id, false);
        for (node_id id = 1; id <= n; id++)
                bench_feed(b, id, (struct node_event){ .type = NODE_TIMEOUT });
}

static void enqueue(struct bench *b, node_id node, const struct node_event *event)
{
        struct bench_event *e = &b->queue[b->n_queue];

        assert_true(b->n_queue < BENCH_QUEUE_MAX);
        b->n_queue++;
        *e = (struct bench_event){ .node = node, .event = *event };
        if (event->bytes)
                e->bytes = must_copy(event->bytes, event->n);
        if (event->status)
                e->status = *event->status;
        else
                e->status = b->machines[node].status;
}

static void drop_first(struct bench_machine *m, size_t n)
{
        for (size_t i = 0; i < n; i++)
                free((void *)m->entries[i].bytes);
        m->n_entries -= n;
        if (m->n_entries > 0)
                memmove(m->entries, m->entries + n, m->n_entries * sizeof(*m->entries));
}

/* The log goes on from a snapshot, of which there must be the file. */
static void follow_snapshot(struct bench_machine *m, const struct raft_persist *p)
{
        uint64_t n_covered = p->snapshot_index - m->snapshot_index;

        assert_non_null(find_snapshot(m, p->snapshot_index, p->snapshot_term));
        drop_first(m, p->snapshot_resets || n_covered > m->n_entries ? m->n_entries : n_covered);
        m->snapshot_index = p->snapshot_index;
        m->snapshot_term = p->snapshot_term;
}

static void persist(struct bench *b, node_id node, const struct raft_persist *p)
{
        struct bench_machine *m = &b->machines[node];

        if (p->has_hard_state) {
                m->term = p->term;
                m->vote = p->vote;
        }
        if (p->snapshot_index)
                follow_snapshot(m, p);
        while (p->truncate_from && m->snapshot_index + m->n_entries >= p->truncate_from)
                free((void *)m->entries[--m->n_entries].bytes);
        for (uint64_t i = p->first; p->first && i <= p->last; i++) {
                const struct raft_entry *entry = node_entry_at(m->node, i);

                if (i <= m->snapshot_index)
                        continue;
                MUST_GROW(m->entries, m->n_entries, m->n_entries_max);
                assert_int_equal(i, m->snapshot_index + m->n_entries + 1);
                m->entries[m->n_entries] = *entry;
                m->entries[m->n_entries++].bytes = must_copy(entry->bytes, entry->n);
        }
        enqueue(b, node,
                &(struct node_event){ .type = NODE_PERSISTED, .generation = p->generation });
}

static void hold(struct bench *b, node_id node, const struct node_effect *e)
{
        struct bench_machine *m = &b->machines[node];

        m->held[e->service] = true;
        m->holds[e->service] = (struct node_adopted){ .service = e->service,
                                                      .epoch = e->epoch,
                                                      .incarnation = e->hold.incarnation,
                                                      .demote_at = e->hold.demote_at,
                                                      .close_by = e->hold.close_by };
        if (!m->no_acks)
                enqueue(b, node,
                        &(struct node_event){
                                .type = NODE_HANDS_ACK, .service = e->service, .epoch = e->epoch });
}

/* What the steps do to the database: the barest one that the core can live with. */
static void obey(struct bench *b, node_id node, const struct node_effect *e)
{
        struct node_database_status *s = &b->machines[node].status;

        switch (e->run.step) {
        case FAILOVER_STEP_PROMOTE:
        case FAILOVER_STEP_RESTART:
                s->state = FAILOVER_DATABASE_RUNNING;
                s->role = FAILOVER_ROLE_PRIMARY;
                s->writable = true;
                s->streaming = false;
                break;
        case FAILOVER_STEP_DEMOTE:
                s->state = FAILOVER_DATABASE_DOWN;
                s->role = FAILOVER_ROLE_NONE;
                s->writable = false;
                break;
        case FAILOVER_STEP_REJOIN:
                s->state = FAILOVER_DATABASE_RUNNING;
                s->role = FAILOVER_ROLE_STANDBY;
                s->streaming = true;
                s->upstream = e->run.peer;
                break;
        default:
                break;
        }
        enqueue(b, node, &(struct node_event){ .type = NODE_HANDS_STATUS, .service = e->service });
        enqueue(b, node,
                &(struct node_event){ .type = NODE_HANDS_DONE,
                                      .service = e->service,
                                      .id = e->run.id,
                                      .epoch = e->epoch,
                                      .ok = true });
}

static void see(struct bench *b, node_id node, const struct node_effect *e)
{
        struct bench_seen *s = &b->seen[b->n_seen % BENCH_SEEN_MAX];
        const struct store_event *event = e->result ? e->result->event : NULL;

        b->n_seen++;
        free(s->bytes);
        *s = (struct bench_seen){ .node = node, .at = bench_clock(b, node), .effect = *e };
        if (e->type == NODE_SEND)
                s->bytes = must_copy(e->bytes, e->n);
        if (e->type != NODE_ANSWERED)
                return;
        b->n_answered++;
        if (e->text)
                (void)snprintf(s->text, sizeof(s->text), "%s", e->text);
        if (e->result)
                s->error = e->result->error;
        if (e->result && e->result->cause)
                (void)snprintf(s->text, sizeof(s->text), "%.*s", (int)e->result->n_cause,
                               e->result->cause);
        if (event && event->node.value)
                (void)snprintf(s->value, sizeof(s->value), "%s", event->node.value);
}

static int into_buffer(void *userdata, const uint8_t *bytes, size_t n)
{
        buffer_put(userdata, bytes, n);
        return 0;
}

static void assert_can_be_read(const struct buffer *bytes)
{
        struct snapshot_reader *r = snapshot_reader_new(true);
        struct raft_membership m;

        assert_int_equal(snapshot_reader_feed(r, bytes->bytes, bytes->n), 0);
        assert_true(snapshot_reader_is_whole(r));
        assert_true(snapshot_membership(snapshot_reader_head(r), &m));
        snapshot_reader_free(r);
}

static void take_snapshot(struct bench *b, node_id node, const struct node_effect *e)
{
        struct bench_machine *m = &b->machines[node];
        struct node_event event = { .type = NODE_SNAPSHOT_TAKEN,
                                    .ok = !m->fail_takes,
                                    .snapshot = e->snapshot };
        struct buffer bytes = { 0 };

        assert_int_equal(node_snapshot_write(m->node, into_buffer, &bytes), 0);
        assert_can_be_read(&bytes);
        event.snapshot.bytes = bytes.n;
        if (event.ok)
                keep_snapshot(m, e->snapshot.index, e->snapshot.term, &bytes);
        buffer_done(&bytes);
        if (!m->hold_takes)
                enqueue(b, node, &event);
}

static void read_part(struct bench *b, node_id node, const struct node_effect *e)
{
        struct bench_machine *m = &b->machines[node];
        struct bench_snapshot *s = find_snapshot(m, e->snapshot.index, e->snapshot.term);
        struct node_event event = { .type = NODE_SNAPSHOT_PART_READ,
                                    .from = e->to,
                                    .snapshot = e->snapshot };

        m->n_reads++;
        event.ok = s && !m->fail_reads && e->snapshot.offset <= s->bytes.n;
        if (event.ok) {
                event.n = s->bytes.n - e->snapshot.offset;
                if (event.n > e->snapshot.n_wanted)
                        event.n = e->snapshot.n_wanted;
                event.bytes = s->bytes.bytes + e->snapshot.offset;
                event.snapshot.is_last = e->snapshot.offset + event.n == s->bytes.n;
        }
        enqueue(b, node, &event);
}

static void write_part(struct bench *b, node_id node, const struct node_effect *e)
{
        struct bench_machine *m = &b->machines[node];

        m->n_writes++;
        if (e->snapshot.offset == 0)
                buffer_clear(&m->incoming);
        if (!m->fail_writes) {
                assert_int_equal(e->snapshot.offset, m->incoming.n);
                buffer_put(&m->incoming, e->bytes, e->n);
        }
        if (!m->fail_writes && e->snapshot.is_last)
                keep_snapshot(m, e->snapshot.index, e->snapshot.term, &m->incoming);
        enqueue(b, node,
                &(struct node_event){ .type = NODE_SNAPSHOT_PART_WRITTEN, .ok = !m->fail_writes });
}

static void carry_out(struct bench *b, node_id node, const struct node_effect *e)
{
        struct bench_machine *m = &b->machines[node];

        see(b, node, e);
        switch (e->type) {
        case NODE_PERSIST:
                persist(b, node, &e->persist);
                break;
        case NODE_SEND:
                assert_in_range(e->to, 1, BENCH_NODES_MAX);
                if (b->cut[node][e->to] || !b->machines[e->to].node ||
                    (b->drop_proposals && e->bytes[0] == NODE_MESSAGE_PROPOSE))
                        break;
                if (b->catches && b->catches(b, node, e->to, e->bytes, e->n))
                        break;
                enqueue(b, e->to,
                        &(struct node_event){ .type = NODE_RECEIVED,
                                              .from = node,
                                              .bytes = e->bytes,
                                              .n = e->n });
                break;
        case NODE_HOLD:
                if (!m->mute_hands)
                        hold(b, node, e);
                break;
        case NODE_LET_GO:
                if (m->holds[e->service].epoch == e->epoch)
                        m->held[e->service] = false;
                break;
        case NODE_RUN:
                if (!m->mute_hands)
                        obey(b, node, e);
                break;
        case NODE_SNAPSHOT_TAKE:
                take_snapshot(b, node, e);
                break;
        case NODE_SNAPSHOT_READ:
                read_part(b, node, e);
                break;
        case NODE_SNAPSHOT_WRITE:
                write_part(b, node, e);
                break;
        default:
                break;
        }
}

static void step(struct bench *b, struct bench_event *e)
{
        struct bench_machine *m = &b->machines[e->node];
        struct node_effects effects;

        if (m->node) {
                e->event.now = bench_clock(b, e->node);
                e->event.wall = e->event.now.usec;
                if (e->bytes)
                        e->event.bytes = e->bytes;
                e->event.status = &e->status;
                node_step(m->node, &e->event, &effects);
                for (size_t i = 0; i < effects.n; i++)
                        carry_out(b, e->node, &effects.list[i]);
        }
        free(e->bytes);
}

static void settle(struct bench *b)
{
        size_t done = 0;

        while (done < b->n_queue) {
                struct bench_event e = b->queue[done++];

                step(b, &e);
        }
        b->n_queue = 0;
}

void bench_feed(struct bench *b, node_id node, struct node_event event)
{
        enqueue(b, node, &event);
        settle(b);
}

void bench_message(struct bench *b, node_id from, node_id to, const void *bytes, size_t n)
{
        bench_feed(
                b, to,
                (struct node_event){ .type = NODE_RECEIVED, .from = from, .bytes = bytes, .n = n });
}

/* When the next node wants to be called, by the clock of the bench. */
static struct instant next_deadline(const struct bench *b, node_id *ret)
{
        struct instant next = INSTANT_FOREVER;

        for (node_id id = 1; id <= BENCH_NODES_MAX; id++) {
                const struct bench_machine *m = &b->machines[id];
                struct instant deadline;

                if (!m->node)
                        continue;
                deadline = node_deadline(m->node);
                if (deadline.usec != UINT64_MAX)
                        deadline.usec -= (uint64_t)m->skew;
                if (deadline.usec < next.usec) {
                        next = deadline;
                        *ret = id;
                }
        }
        return next;
}

void bench_wait(struct bench *b, usec_t length)
{
        struct instant end = instant_after(b->now, length);
        unsigned at_once = 0;

        for (;;) {
                node_id id = NODE_NOBODY;
                struct instant next = next_deadline(b, &id);

                if (next.usec > end.usec)
                        break;
                at_once = instant_reached(next, b->now) ? at_once + 1 : 0;
                assert_true(at_once < 1000); /* a deadline that nothing moves */
                b->now = instant_later(b->now, next);
                bench_feed(b, id, (struct node_event){ .type = NODE_TIMEOUT });
        }
        b->now = end;
}

void bench_lead(struct bench *b, node_id node)
{
        bool found = false;

        for (unsigned i = 0; i < 100 && !found; i++) {
                bench_wait(b, BENCH_ELECTION);
                found = raft_is_ready(node_raft(b->machines[node].node)) &&
                        node_is_current(b->machines[node].node);
                if (!found && raft_leader(node_raft(b->machines[node].node)) != NODE_NOBODY) {
                        node_id leader = raft_leader(node_raft(b->machines[node].node));

                        /* The others lose their leader until the right one is elected. */
                        bench_isolate(b, leader, true);
                        bench_wait(b, 4 * BENCH_ELECTION);
                        bench_isolate(b, leader, false);
                }
        }
        assert_true(found);
        bench_wait(b, 4 * BENCH_ELECTION);
        assert_true(raft_is_ready(node_raft(b->machines[node].node)));
}

void bench_master(struct bench *b, node_id node)
{
        for (unsigned i = 0; i < 100; i++) {
                if (bench_view(b, node).state == FAILOVER_MASTER)
                        return;
                bench_wait(b, BENCH_ELECTION);
        }
        fail_msg("node %u did not become master", node);
}

void bench_isolate(struct bench *b, node_id node, bool cut)
{
        for (node_id id = 1; id <= BENCH_NODES_MAX; id++)
                b->cut[node][id] = b->cut[id][node] = cut;
}

uint64_t bench_write(struct bench *b, node_id node, const struct store_key_command *key)
{
        b->request++;
        bench_feed(b, node,
                   (struct node_event){ .type = NODE_WRITE, .request = b->request, .key = key });
        return b->request;
}

uint64_t bench_order(struct bench *b, node_id node, enum node_order order, node_id target)
{
        b->request++;
        bench_feed(b, node,
                   (struct node_event){ .type = NODE_ORDER,
                                        .request = b->request,
                                        .order = order,
                                        .target = target });
        return b->request;
}

uint64_t bench_change(struct bench *b, node_id node, const struct node_change *change)
{
        b->request++;
        bench_feed(b, node,
                   (struct node_event){
                           .type = NODE_CHANGE, .request = b->request, .change = change });
        return b->request;
}

struct node_service_view bench_view(struct bench *b, node_id node)
{
        struct node_service_view view;

        node_service_view(b->machines[node].node, 0, bench_clock(b, node), &view);
        return view;
}

const struct store_lease *bench_lease(struct bench *b, node_id node)
{
        return store_lease(node_store(b->machines[node].node), b->services[0].name);
}

void bench_forget(struct bench *b)
{
        b->n_seen = 0;
        b->n_answered = 0;
}

static size_t n_kept(const struct bench *b)
{
        return b->n_seen < BENCH_SEEN_MAX ? b->n_seen : BENCH_SEEN_MAX;
}

size_t bench_count(const struct bench *b, node_id node, enum node_effect_type type)
{
        size_t n = 0;

        assert_true(b->n_seen < BENCH_SEEN_MAX); /* otherwise some are forgotten */
        for (size_t i = 0; i < n_kept(b); i++)
                n += b->seen[i].node == node && b->seen[i].effect.type == type;
        return n;
}

size_t bench_count_notes(const struct bench *b, node_id node, enum node_note_type type)
{
        size_t n = 0;

        for (size_t i = 0; i < n_kept(b); i++)
                n += b->seen[i].node == node && b->seen[i].effect.type == NODE_NOTE &&
                     b->seen[i].effect.note.type == type;
        return n;
}

const struct bench_seen *bench_last(const struct bench *b, node_id node, enum node_effect_type type)
{
        for (size_t i = 0; i < n_kept(b); i++) {
                const struct bench_seen *s = &b->seen[(b->n_seen - 1 - i) % BENCH_SEEN_MAX];

                if (s->node == node && s->effect.type == type)
                        return s;
        }
        return NULL;
}

const struct bench_seen *bench_answer(const struct bench *b, uint64_t request)
{
        for (size_t i = 0; i < n_kept(b); i++) {
                const struct bench_seen *s = &b->seen[(b->n_seen - 1 - i) % BENCH_SEEN_MAX];

                if (s->effect.type == NODE_ANSWERED && s->effect.request == request)
                        return s;
        }
        return NULL;
}
