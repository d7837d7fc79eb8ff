/*
 * A whole member, and a story that the bytes tell it: messages of others, well formed by what the
 * member knows or any bytes at all, with clients, hands, disk and time between them. Whatever the
 * others send, no assertion fails, and what the member sends to them can be read. For libFuzzer.
 */
#include <assert.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/chain.h"
#include "election/base/memory.h"
#include "election/describe.h"
#include "election/node-internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum {
        SELF = 1,
        SERVICES = 2,
        FOLLOW_MAX = 64, /* events that a step leads to */
        STEPS_MAX = 400, /* of one story */
        TAKEN_SNAPSHOT_BYTES = 400, /* of the log; so that some are taken */
};

struct story {
        struct node *node;
        struct node_service_config services[SERVICES];
        struct reader in;
        struct instant now;
        unsigned n_steps;
        uint64_t round; /* of the appends that it sent last */
        uint64_t durable_index, durable_term; /* of what it began with */
        uint64_t n_requests;
        struct node_event follow[FOLLOW_MAX];
        size_t n_follow;
        struct buffer snapshot; /* that was taken last */
        struct buffer built; /* what a message has, where a jump back must find it */
        uint8_t *received; /* message that a step reads */
        struct node_database_status status;
        char words[512];
};

static void require(bool truth)
{
        if (!truth)
                abort();
}

/*
 * Members that contradict what was committed end the process by design: by this assertion, and by
 * no other. Here the story is over then.
 */
static jmp_buf history_forked;

void __assert_fail(const char *assertion, const char *file, unsigned int line, const char *function)
{
        (void)file;
        (void)line;
        (void)function;
        if (strcmp(assertion, "all_members_kept_their_logs") == 0)
                longjmp(history_forked, 1);
        abort();
}

/* What comes of a step. */

static void follow(struct story *s, const struct node_event *event)
{
        if (s->n_follow < FOLLOW_MAX)
                s->follow[s->n_follow++] = *event;
}

static int into_buffer(void *userdata, const uint8_t *bytes, size_t n)
{
        buffer_put(userdata, bytes, n);
        return 0;
}

static void check_persist(const struct story *s, const struct raft_persist *p)
{
        for (uint64_t i = p->first; p->first && i <= p->last; i++)
                require(node_entry_at(s->node, i) != NULL);
}

/* Another member reads what is sent to it. */
static void check_message(struct story *s, const struct node_effect *e)
{
        struct raft_entry entries[RAFT_APPEND_ENTRIES_MAX];
        struct raft_message m;
        struct reader r = reader_of(e->bytes, e->n);

        require(e->to >= 1 && e->to <= MEMBERS_MAX && e->to != SELF);
        require(e->n >= 1 && e->n <= NODE_MESSAGE_BYTES_MAX && e->bytes[0] < NODE_MESSAGES);
        if (reader_get_u8(&r) != NODE_MESSAGE_RAFT)
                return;
        require(raft_message_decode(&r, entries, &m) && reader_done(&r) && m.to == e->to);
        if (m.type == RAFT_APPEND)
                s->round = m.round;
}

static void take_snapshot(struct story *s, const struct node_effect *e)
{
        struct node_event event = { .type = NODE_SNAPSHOT_TAKEN,
                                    .ok = true,
                                    .snapshot = e->snapshot };
        struct snapshot_reader *r = snapshot_reader_new(true);

        buffer_clear(&s->snapshot);
        require(node_snapshot_write(s->node, into_buffer, &s->snapshot) == 0);
        require(snapshot_reader_feed(r, s->snapshot.bytes, s->snapshot.n) == 0);
        require(snapshot_reader_is_whole(r));
        snapshot_reader_free(r);
        event.snapshot.bytes = s->snapshot.n;
        follow(s, &event);
}

static void read_part(struct story *s, const struct node_effect *e)
{
        struct node_event event = { .type = NODE_SNAPSHOT_PART_READ,
                                    .from = e->to,
                                    .snapshot = e->snapshot };

        event.ok = e->snapshot.offset <= s->snapshot.n;
        if (event.ok) {
                event.bytes = s->snapshot.bytes + e->snapshot.offset;
                event.n = s->snapshot.n - e->snapshot.offset;
                event.snapshot.is_last = true;
        }
        follow(s, &event);
}

static void obey(struct story *s, const struct node_effect *e)
{
        follow(s, &(struct node_event){
                          .type = NODE_HANDS_STATUS, .service = e->service, .status = &s->status });
        follow(s, &(struct node_event){ .type = NODE_HANDS_DONE,
                                        .service = e->service,
                                        .id = e->run.id,
                                        .epoch = e->epoch,
                                        .ok = true,
                                        .status = &s->status });
}

static void carry_out(struct story *s, const struct node_effect *e)
{
        static const struct describe_names names = { .n_services = 0 };

        describe_effect(e, &names, s->words, sizeof(s->words));
        switch (e->type) {
        case NODE_PERSIST:
                check_persist(s, &e->persist);
                follow(s, &(struct node_event){ .type = NODE_PERSISTED,
                                                .generation = e->persist.generation });
                break;
        case NODE_SEND:
                check_message(s, e);
                break;
        case NODE_HOLD:
                follow(s, &(struct node_event){ .type = NODE_HANDS_ACK,
                                                .service = e->service,
                                                .epoch = e->epoch });
                break;
        case NODE_RUN:
                obey(s, e);
                break;
        case NODE_SNAPSHOT_TAKE:
                take_snapshot(s, e);
                break;
        case NODE_SNAPSHOT_READ:
                read_part(s, e);
                break;
        case NODE_SNAPSHOT_WRITE:
                follow(s, &(struct node_event){ .type = NODE_SNAPSHOT_PART_WRITTEN, .ok = true });
                break;
        default:
                break;
        }
}

static void step(struct story *s, struct node_event *event)
{
        struct node_effects effects;

        event->now = s->now;
        event->wall = s->now.usec;
        s->n_steps++;
        node_step(s->node, event, &effects);
        for (size_t i = 0; i < effects.n; i++)
                carry_out(s, &effects.list[i]);
        require(node_members(s->node)->n <= MEMBERS_MAX);
        require(node_contacts(s->node)->n <= MEMBERS_MAX);
}

static void feed(struct story *s, struct node_event event)
{
        step(s, &event);
        for (size_t i = 0; i < s->n_follow && s->n_steps < STEPS_MAX; i++) {
                event = s->follow[i];
                step(s, &event);
        }
        s->n_follow = 0;
}

/* What a story is made of. */

static const struct raft *raft(const struct story *s)
{
        return node_raft(s->node);
}

/* A number near one that means something: mostly it, or a little less or more. */
static uint64_t near(struct story *s, uint64_t number)
{
        int8_t off = (int8_t)reader_get_u8(&s->in);

        return number + (uint64_t)(int64_t)(off / 16);
}

/* The next bytes of the story, with their length in front. */
static struct reader get_part(struct story *s)
{
        size_t n = reader_get_u16(&s->in);
        struct reader part;

        n = n < s->in.n ? n : s->in.n;
        part = reader_of(s->in.bytes, n);
        s->in.bytes += n;
        s->in.n -= n;
        return part;
}

static node_id get_member(struct story *s)
{
        return (node_id)(2 + reader_get_u8(&s->in) % 3);
}

/* In memory that ends where they end. Releases @b. */
static void receive(struct story *s, node_id from, struct buffer *b)
{
        size_t n = b->n;

        s->received = malloc(n > 0 ? n : 1);
        require(s->received != NULL);
        if (n > 0)
                memcpy(s->received, b->bytes, n);
        buffer_done(b);
        feed(s, (struct node_event){
                        .type = NODE_RECEIVED, .from = from, .bytes = s->received, .n = n });
        free(s->received);
        s->received = NULL;
}

static void any_message(struct story *s)
{
        node_id from = reader_get_u8(&s->in) % (MEMBERS_MAX + 2);
        struct reader part = get_part(s);
        struct buffer b = { 0 };

        buffer_put(&b, part.bytes, part.n);
        receive(s, from, &b);
}

static void receive_raft(struct story *s, const struct raft_message *m)
{
        struct buffer b = { 0 };

        buffer_put_u8(&b, NODE_MESSAGE_RAFT);
        raft_message_encode(m, &b);
        receive(s, m->from, &b);
}

static uint64_t term_at(const struct story *s, uint64_t index)
{
        const struct raft_entry *e = raft_entry_at(raft(s), index);

        if (index == s->durable_index)
                return s->durable_term;
        return e ? e->term : 0;
}

static struct raft_message message(struct story *s, enum raft_message_type type)
{
        uint8_t flags = reader_get_u8(&s->in);

        return (struct raft_message){ .type = type,
                                      .from = get_member(s),
                                      .to = SELF,
                                      .term = raft_term(raft(s)) + (flags & 3),
                                      .granted = flags & 4,
                                      .transfer = flags & 8,
                                      .quiet = flags & 16 };
}

static void append(struct story *s)
{
        struct raft_message m = message(s, RAFT_APPEND);
        struct raft_entry entries[8];

        m.granted = m.transfer = false;
        m.log_index = near(s, raft_index_last(raft(s)));
        m.log_term = term_at(s, m.log_index);
        m.commit = near(s, raft_index_last(raft(s)));
        m.round = reader_get_u8(&s->in);
        m.n_entries = m.quiet ? 0 : reader_get_u8(&s->in) % 8;
        for (size_t i = 0; i < m.n_entries; i++) {
                uint8_t what = reader_get_u8(&s->in);
                struct reader part = get_part(s);

                entries[i] = (struct raft_entry){ .index = m.log_index + 1 + i,
                                                  .term = m.term - (what >> 6),
                                                  .type = what % 3,
                                                  .bytes = part.bytes,
                                                  .n = part.n };
        }
        m.entries = entries;
        receive_raft(s, &m);
}

static void append_reply(struct story *s)
{
        struct raft_message m = message(s, RAFT_APPEND_REPLY);

        m.quiet = false;
        m.log_index = near(s, raft_index_last(raft(s)));
        m.round = near(s, s->round);
        if (!m.granted && !m.transfer) {
                m.hint_index = near(s, m.log_index);
                m.hint_index = m.hint_index > m.log_index ? 0 : m.hint_index;
                m.hint_term = m.hint_index ? near(s, m.term) : 0;
        }
        receive_raft(s, &m);
}

static void vote(struct story *s)
{
        struct raft_message m = message(s, RAFT_PRE_VOTE + reader_get_u8(&s->in) % 4);

        m.quiet = false;
        if (m.type == RAFT_PRE_VOTE || m.type == RAFT_VOTE) {
                m.granted = false;
                m.log_index = near(s, raft_index_last(raft(s)));
                m.log_term = m.log_index ? near(s, m.term) : 0;
        } else {
                m.transfer = false;
        }
        receive_raft(s, &m);
}

static void timeout_now(struct story *s)
{
        struct raft_message m = message(s, RAFT_TIMEOUT_NOW);

        m.granted = m.transfer = m.quiet = false;
        m.log_index = near(s, raft_index_last(raft(s)));
        m.log_term = term_at(s, m.log_index);
        receive_raft(s, &m);
}

/* Behind the number that the member gave the last of its questions, what is told comes as it is. */
static void answer(struct story *s)
{
        static const uint8_t types[] = { NODE_MESSAGE_PROPOSAL_REFUSED, NODE_MESSAGE_READ_INDEX,
                                         NODE_MESSAGE_CHANGE_DECIDED, NODE_MESSAGE_ATTESTED,
                                         NODE_MESSAGE_SNAPSHOT_REPLY };
        uint8_t type = types[reader_get_u8(&s->in) % sizeof(types)];
        node_id from = get_member(s);
        uint64_t number = s->node->sequence;
        struct buffer b = { 0 };
        struct reader part;

        if (type == NODE_MESSAGE_READ_INDEX)
                number = s->node->read_batch;
        if (type == NODE_MESSAGE_ATTESTED)
                number = s->node->inquiry.number;
        if (type == NODE_MESSAGE_SNAPSHOT_REPLY)
                number = s->node->snapshots.index;
        buffer_put_u8(&b, type);
        buffer_put_u64(&b, near(s, number));
        if (type == NODE_MESSAGE_SNAPSHOT_REPLY)
                buffer_put_u64(&b, near(s, s->node->snapshots.term));
        if (type == NODE_MESSAGE_CHANGE_DECIDED)
                buffer_put_u64(&b, near(s, raft_term(raft(s))));
        part = get_part(s);
        buffer_put(&b, part.bytes, part.n);
        receive(s, from, &b);
}

/* One of three, one of three of which it alone votes, or one that joins. */
static struct members founders(uint8_t how)
{
        struct members members = { .id_last = 3 };

        for (node_id id = 1; how % 3 != 2 && id <= 3; id++) {
                struct member m = { .id = id, .name = { 'n', (char)('0' + id) } };

                m.kind = how % 3 == 1 && id > 1 ? MEMBER_OBSERVER : MEMBER_FULL;
                m.peer = m.api = (struct endpoint){ .address.family = AF_INET, .port = id };
                (void)members_add(&members, &m); /* there is room */
        }
        return members;
}

/* Who is in the cluster, as another member says. */
static void list_of_another(struct story *s)
{
        node_id from = get_member(s);
        const struct members list = founders(reader_get_u8(&s->in));
        struct buffer b = { 0 };

        buffer_put_u8(&b, NODE_MESSAGE_MEMBERS);
        buffer_put_u64(&b, near(s, node_contacts(s->node)->index));
        members_encode(&list, &b);
        receive(s, from, &b);
}

/* Commands that another member passes on. */
static void propose(struct story *s)
{
        node_id from = get_member(s);
        unsigned count = 1 + reader_get_u8(&s->in) % 8;
        struct buffer b = { 0 };

        buffer_put_u8(&b, NODE_MESSAGE_PROPOSE);
        for (unsigned i = 0; i < count; i++) {
                struct reader part = get_part(s);

                buffer_put_u64(&b, i);
                buffer_put_blob(&b, part.bytes, part.n);
        }
        receive(s, from, &b);
}

/* Leases that another member takes for over: asked about, or as an entry of the log. */
static void expiries(struct story *s)
{
        static char *const names[] = { "service0", "service1", "/a", "/x", "/b", "/t" };
        uint8_t what = reader_get_u8(&s->in);
        struct store_expiry list[4];
        struct store_command c = { .type = STORE_EXPIRE, .expiries = list, .n = 1 + what % 4 };
        struct raft_message m = { .type = RAFT_APPEND,
                                  .from = get_member(s),
                                  .to = SELF,
                                  .term = raft_term(raft(s)),
                                  .log_index = raft_index_last(raft(s)) };
        struct raft_entry entry = { .index = m.log_index + 1, .term = m.term };
        struct buffer b = { 0 };

        buffer_put_u8(&b, NODE_MESSAGE_ATTEST);
        buffer_put_u64(&b, what);
        buffer_put_u32(&b, (uint32_t)c.n);
        for (size_t i = 0; i < c.n; i++) {
                list[i].kind = reader_get_u8(&s->in) & 1;
                list[i].name = names[reader_get_u8(&s->in) % 6];
                list[i].epoch = list[i].kind == STORE_LEASE_MASTER ? near(s, m.log_index) : 0;
                list[i].renewed = near(s, m.log_index);
                buffer_put_u8(&b, (uint8_t)list[i].kind);
                buffer_put_string(&b, list[i].name);
                buffer_put_u64(&b, list[i].epoch);
                buffer_put_u64(&b, list[i].renewed);
        }
        if (what & 128) {
                receive(s, m.from, &b);
                return;
        }
        buffer_done(&b);
        buffer_clear(&s->built);
        store_command_encode(&c, &s->built);
        entry.type = RAFT_ENTRY_COMMAND;
        entry.bytes = s->built.bytes;
        entry.n = s->built.n;
        m.log_term = term_at(s, m.log_index);
        m.entries = &entry;
        m.n_entries = 1;
        if (m.term > 0)
                receive_raft(s, &m);
}

/* A snapshot with a store that was made of commands, and any list of members. */
static void build_snapshot(struct story *s, struct snapshot_head *head, struct buffer *ret)
{
        struct store *store = store_new();
        uint64_t index = near(s, head->index);
        unsigned count = reader_get_u8(&s->in) % 4;

        for (unsigned i = 0; i < count; i++) {
                struct reader part = get_part(s);
                struct store_result result;

                if (index + i > store_applied(store))
                        store_apply(store, index + i, part.bytes, part.n, s->now, &result);
        }
        require(snapshot_write(head, store, into_buffer, ret) == 0);
        store_free(store);
}

static void snapshot(struct story *s)
{
        node_id from = get_member(s);
        struct snapshot_head head = { .index = near(s, raft_index_last(raft(s)) + 8),
                                      .term = near(s, raft_term(raft(s))) };
        struct reader members = get_part(s);
        struct buffer b = { 0 }, *bytes = &s->built;
        uint8_t cut = reader_get_u8(&s->in);

        head.members = members.bytes;
        head.n_members = members.n < SNAPSHOT_MEMBERS_MAX ? members.n : SNAPSHOT_MEMBERS_MAX;
        head.members_index = near(s, head.index - 7);
        buffer_clear(bytes);
        build_snapshot(s, &head, bytes);
        for (size_t at = 0, part; at < bytes->n; at += part) { /* in two */
                part = at > 0 || cut >= bytes->n || cut == 0 ? bytes->n - at : cut;
                buffer_put_u8(&b, NODE_MESSAGE_SNAPSHOT);
                buffer_put_u64(&b, raft_term(raft(s)));
                buffer_put_u64(&b, head.index);
                buffer_put_u64(&b, head.term);
                buffer_put_u64(&b, at);
                buffer_put_u8(&b, at + part == bytes->n);
                buffer_put_blob(&b, bytes->bytes + at, part);
                receive(s, from, &b);
        }
}

static void client(struct story *s)
{
        uint8_t what = reader_get_u8(&s->in);
        const char *const paths[] = { "/a", "/a/b", "/c", "/" };
        const struct store_key_command key = { .action = what % 3,
                                               .path = paths[what >> 2 & 3],
                                               .value = "v",
                                               .recursive = what & 16,
                                               .has_ttl = what & 32,
                                               .ttl = USEC_PER_SEC };
        struct node_change change = { .type = what >> 2 & 3,
                                      .kind = (what >> 4) % 3,
                                      .name = { 'n', (char)('1' + (what >> 6)) } };
        struct node_event event = { .request = ++s->n_requests, .key = &key, .change = &change };
        const enum node_event_type types[] = { NODE_WRITE, NODE_READ, NODE_CHANGE, NODE_ORDER };

        change.peer = change.api = (struct endpoint){ .address.family = AF_INET, .port = what };
        event.type = types[reader_get_u8(&s->in) % 4];
        event.order = what % (NODE_ORDER_CLONE + 1);
        event.target = what >> 4;
        event.service = what >> 3 & 1;
        feed(s, event);
}

/* What the disk, the transport and the hands of the member say. */
static void surroundings(struct story *s)
{
        uint8_t what = reader_get_u8(&s->in);
        const enum node_event_type types[] = {
                NODE_SUSPECT,          NODE_SPACE,        NODE_SEEN,
                NODE_SNAPSHOT_ORDERED, NODE_HANDS_STATUS, NODE_HANDS_CLOSED,
                NODE_HANDS_ADDRESSES,  NODE_FORGET
        };
        struct node_event event = { .type = types[what & 7],
                                    .from = get_member(s),
                                    .ok = what & 8,
                                    .incarnation = what,
                                    .service = what >> 4 & 1,
                                    .epoch = s->node->services[what >> 4 & 1].holder.epoch,
                                    .request = s->n_requests,
                                    .status = &s->status };

        s->status.role = (what >> 5) % 3;
        s->status.state = what % (FAILOVER_DATABASE_FOREIGN + 1);
        s->status.healthy = what & 8;
        s->status.writable = s->status.role == FAILOVER_ROLE_PRIMARY;
        feed(s, event);
}

static void time_out(struct story *s)
{
        usec_t wait = reader_get_u8(&s->in) * 20 * USEC_PER_MSEC;
        struct instant due = node_deadline(s->node);

        if (wait == 0 && due.usec < s->now.usec + 60 * USEC_PER_SEC)
                s->now = instant_later(s->now, due);
        s->now = instant_after(s->now, wait);
        feed(s, (struct node_event){ .type = NODE_TIMEOUT });
}

static void (*const turns[])(struct story *s) = {
        time_out, append,   append_reply, vote,   timeout_now,  answer,          propose,
        snapshot, expiries, any_message,  client, surroundings, list_of_another,
};

/* Its beginning. */

static void configure_service(struct story *s, size_t i)
{
        struct node_service_config *c = &s->services[i];

        memcpy(c->name, i ? "service1" : "service0", sizeof("service0"));
        c->ttl = 3 * USEC_PER_SEC;
        c->renew = 300 * USEC_PER_MSEC;
        c->chain = lease_chain_of(c->ttl, c->ttl / 6, c->ttl / 15);
        c->failover = (struct failover_config){ .has_database = i == 0,
                                                .has_address = true,
                                                .automatic = true,
                                                .max_loss = UINT64_MAX,
                                                .ttl = c->ttl,
                                                .report_interval = c->renew,
                                                .demote_soft = c->ttl / 6,
                                                .demote_hard = c->ttl / 15 };
        c->is_for_all = i == 1;
        for (node_id id = 1; i == 0 && id <= 2; id++)
                c->failover.members[c->failover.n_members++] = id;
}

/* What an earlier process left: a snapshot, and nothing behind it. */
static void begin_with_snapshot(struct story *s, const struct node_config *config)
{
        struct raft_durable durable = { .term = 2, .snapshot_index = 5, .snapshot_term = 1 };
        struct snapshot_head head = { .index = 5, .term = 1 };
        struct store *store = store_new();
        struct buffer b = { 0 };

        durable.membership.members = members_for_raft(&config->members);
        raft_members_encode(&durable.membership.members, &b);
        members_encode(&config->members, &b);
        head.members = b.bytes;
        head.n_members = b.n;
        require(snapshot_write(&head, store, into_buffer, &s->snapshot) == 0);
        require(snapshot_membership(&head, &durable.membership));
        s->durable_index = head.index;
        s->durable_term = head.term;
        s->node = node_new(config, &durable, store, NULL, 0, s->now);
        buffer_done(&b);
}

static void begin(struct story *s, uint8_t how)
{
        const struct node_config config = {
                .self = SELF,
                .disk_incarnation = 101,
                .incarnation = 1000,
                .seed = how,
                .members = founders(how),
                .heartbeat = 50 * USEC_PER_MSEC,
                .election_timeout = 150 * USEC_PER_MSEC,
                .request_timeout = 2 * USEC_PER_SEC,
                .snapshot_bytes = how & 128 ? TAKEN_SNAPSHOT_BYTES : 0,
                .snapshot_age = 3600 * USEC_PER_SEC,
                .pre_vote = !(how & 64),
                .services = s->services,
                .n_services = SERVICES,
        };

        for (size_t i = 0; i < SERVICES; i++)
                configure_service(s, i);
        s->now = (struct instant){ 1000 * USEC_PER_SEC };
        if (how & 32 && config.members.n > 0) {
                begin_with_snapshot(s, &config);
        } else {
                s->node = node_new(&config, &(struct raft_durable){ 0 }, NULL, NULL, 0, s->now);
        }
        feed(s, (struct node_event){ .type = NODE_TIMEOUT });
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        static struct story story; /* what a jump back must find again */
        struct story *s = &story;

        if (n == 0)
                return 0;
        *s = (struct story){ .in = reader_of(bytes + 1, n - 1) };
        begin(s, bytes[0]);
        if (setjmp(history_forked) == 0) {
                while (s->in.n > 0 && s->n_steps < STEPS_MAX)
                        turns[reader_get_u8(&s->in) % (sizeof(turns) / sizeof(turns[0]))](s);
        }
        node_free(s->node);
        free(s->received);
        buffer_done(&s->built);
        buffer_done(&s->snapshot);
        return 0;
}
