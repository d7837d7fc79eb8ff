/*
 * Whole groups of the consensus core under loss, duplication, reordering, cuts, pauses and crashes
 * that lose what was not yet on disk, with snapshots, and members that come and go under ids that
 * are used again. A seed decides everything; checkers from outside look at each effect. Then the
 * faults stop, and the group must converge and fall quiet.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "election/base/memory.h"
#include "election/base/random.h"
#include "election/raft/raft.h"

enum {
        HEARTBEAT = 50 * 1000,
        ELECTION = 200 * 1000,
        SEEDS_DEFAULT = 2000,
        TERMS_MAX = 100000,
        ENTRY_SIZE = 40,
        BACKLOG_MAX = 20000, /* messages on their way: more is a storm */
};

/* An entry as the checkers see it. */
struct copy {
        uint64_t term;
        uint64_t commit_term; /* of the member that committed it first */
        uint8_t type;
        uint8_t n;
        uint8_t bytes[ENTRY_SIZE];
};

struct copies {
        struct copy *at; /* at[i] is index base + i + 1 */
        size_t n, n_max;
        uint64_t base;
};

/* A snapshot as a file: it is durable as soon as it is here. */
struct file {
        uint64_t index, term;
        struct raft_membership membership;
        uint8_t incarnations[MEMBERS_MAX + 1];
};

/* A snapshot on its way, and then the word that it came or did not. */
struct transfer {
        uint64_t at;
        node_id from, to;
        uint64_t run; /* of the sender */
        struct file file;
        bool back, ok;
};

struct write {
        struct raft_persist persist;
        struct copies entries;
        uint64_t done_at;
};

struct packet {
        uint64_t at;
        node_id from, to;
        uint8_t from_incarnation, to_incarnation;
        struct buffer bytes;
};

struct member {
        struct raft *raft;
        uint64_t term;
        node_id vote;
        struct copies disk;
        uint64_t snapshot_index; /* on disk */
        struct file *files;
        size_t n_files, files_max;
        uint64_t run; /* of the process */
        uint8_t incarnation; /* of the disk */
        struct write *writes; /* handed out, not yet durable */
        size_t n_writes, writes_max;
        uint64_t restart_at;
        uint64_t paused_until;
        uint64_t applied;
        uint64_t asked; /* what was committed anywhere when the newest read was asked */
        uint64_t context;
};

struct group {
        struct random random;
        uint64_t seed;
        uint64_t now;
        struct raft_members members; /* of the start */
        uint8_t founders[MEMBERS_MAX + 1];
        unsigned n; /* machines */
        struct member of[MEMBERS_MAX + 1];
        struct packet *packets;
        size_t n_packets, packets_max;
        struct transfer *transfers;
        size_t n_transfers, transfers_max;
        bool churns; /* members come and go */
        unsigned snapshots; /* per cent of the work */
        uint64_t n_installed, n_wiped;
        bool cut[MEMBERS_MAX + 1][MEMBERS_MAX + 1];
        node_id *leader_of; /* by term */
        struct copies committed;
        bool faults;
        bool pre_vote;
        bool attests; /* members drop entries that they do not attest, as the layer above may */
        unsigned loss, duplication, violence; /* per cent */
        uint64_t delay_max, sync_max;
        uint64_t n_sent, n_reads, n_elected;
};

static uint64_t below(struct group *g, uint64_t limit)
{
        return random_below(&g->random, limit);
}

static bool chance(struct group *g, unsigned percent)
{
        return below(g, 100) < percent;
}

#define REQUIRE(g, condition)                                                                      \
        do {                                                                                       \
                if (!(condition))                                                                  \
                        fail_msg("seed %llu at %llu us: %s", (unsigned long long)(g)->seed,        \
                                 (unsigned long long)(g)->now, #condition);                        \
        } while (0)

static void copies_add(struct copies *c, const struct raft_entry *e)
{
        struct copy *copy;

        MUST_GROW(c->at, c->n, c->n_max);
        copy = &c->at[c->n++];
        *copy = (struct copy){ .term = e->term, .type = (uint8_t)e->type, .n = (uint8_t)e->n };
        assert_true(e->n <= ENTRY_SIZE);
        if (e->n > 0)
                memcpy(copy->bytes, e->bytes, e->n);
}

static bool copy_is(const struct copy *c, const struct raft_entry *e)
{
        return c->term == e->term && c->type == (uint8_t)e->type && c->n == e->n &&
               (e->n == 0 || memcmp(c->bytes, e->bytes, e->n) == 0);
}

static const struct file *file_of(const struct member *m, uint64_t index)
{
        for (size_t i = 0; i < m->n_files; i++)
                if (m->files[i].index == index)
                        return &m->files[i];
        return NULL;
}

static void keep_file(struct member *m, const struct file *f)
{
        if (file_of(m, f->index))
                return;
        MUST_GROW(m->files, m->n_files, m->files_max);
        m->files[m->n_files++] = *f;
}

/* A file is copied with the context inside, so that its pointer is set where it is used. */
static struct raft_membership membership_of(const struct file *f)
{
        struct raft_membership ret = f->membership;

        ret.context = f->incarnations;
        ret.n_context = sizeof(f->incarnations);
        return ret;
}

static void start(struct group *g, node_id id)
{
        struct member *m = &g->of[id];
        struct raft_entry *entries = must_alloc(m->disk.n, sizeof(*entries));
        const struct file *snapshot = m->snapshot_index ? file_of(m, m->snapshot_index) : NULL;
        struct raft_durable durable = {
                .term = m->term, .vote = m->vote, .entries = entries, .n_entries = m->disk.n
        };
        bool founds = raft_is_voter(&g->members, id) && m->incarnation == 1;
        const struct raft_config config = {
                .self = id,
                .members = founds ? g->members : (struct raft_members){ .n_voters = 0 },
                .context = g->founders,
                .n_context = founds ? sizeof(g->founders) : 0,
                .heartbeat = HEARTBEAT,
                .election_timeout = ELECTION,
                .seed = random_next(&g->random),
                .pre_vote = g->pre_vote,
        };

        for (size_t i = 0; i < m->disk.n; i++)
                entries[i] = (struct raft_entry){ .index = m->disk.base + i + 1,
                                                  .term = m->disk.at[i].term,
                                                  .type = (enum raft_entry_type)m->disk.at[i].type,
                                                  .bytes = m->disk.at[i].bytes,
                                                  .n = m->disk.at[i].n };
        if (snapshot) {
                durable.snapshot_index = snapshot->index;
                durable.snapshot_term = snapshot->term;
                durable.membership = membership_of(snapshot);
        }
        m->raft = raft_new(&config, &durable, (struct instant){ g->now });
        m->run++;
        m->applied = m->snapshot_index;
        free(entries);
}

/* The snapshot is the base of the log on disk now. */
static void cover(struct copies *disk, uint64_t index, bool resets)
{
        uint64_t n = index > disk->base ? index - disk->base : 0;

        if (resets || n > disk->n)
                n = disk->n;
        disk->n -= (size_t)n;
        if (n > 0)
                memmove(disk->at, disk->at + n, disk->n * sizeof(*disk->at));
        disk->base = index;
}

/* The oldest write reaches the disk. */
static uint64_t complete_write(struct member *m)
{
        struct write w = m->writes[0];

        if (w.persist.has_hard_state) {
                m->term = w.persist.term;
                m->vote = w.persist.vote;
        }
        if (w.persist.truncate_from)
                m->disk.n = (size_t)(w.persist.truncate_from - m->disk.base) - 1;
        if (w.persist.snapshot_index) {
                m->snapshot_index = w.persist.snapshot_index;
                cover(&m->disk, m->snapshot_index, w.persist.snapshot_resets);
        }
        for (size_t i = 0; i < w.entries.n; i++) {
                MUST_GROW(m->disk.at, m->disk.n, m->disk.n_max);
                m->disk.at[m->disk.n++] = w.entries.at[i];
        }
        free(w.entries.at);
        memmove(m->writes, m->writes + 1, --m->n_writes * sizeof(w));
        return w.persist.generation;
}

static void crash(struct group *g, node_id id)
{
        struct member *m = &g->of[id];

        while (m->n_writes > 0 && chance(g, 50)) /* some got there without our knowing */
                (void)complete_write(m);
        while (m->n_writes > 0)
                free(m->writes[--m->n_writes].entries.at);
        raft_free(m->raft);
        m->raft = NULL;
        m->paused_until = 0;
        m->restart_at = g->now + below(g, 4 * ELECTION);
}

static void put_packet(struct group *g, const struct raft_message *message)
{
        struct packet *p;

        REQUIRE(g, g->n_packets < BACKLOG_MAX);
        MUST_GROW(g->packets, g->n_packets, g->packets_max);
        p = &g->packets[g->n_packets++];
        *p = (struct packet){ .from = message->from,
                              .to = message->to,
                              .from_incarnation = g->of[message->from].incarnation,
                              .to_incarnation = g->of[message->to].incarnation };
        p->at = g->now + 100 + below(g, g->delay_max);
        if (g->faults && chance(g, 2))
                p->at += below(g, 10 * ELECTION);
        raft_message_encode(message, &p->bytes);
}

/* Nothing may be promised that the disk does not hold. */
static void check_promise(struct group *g, const struct raft_message *message)
{
        const struct member *m = &g->of[message->from];

        if (message->type == RAFT_VOTE) {
                REQUIRE(g, m->term == message->term && m->vote == message->from);
        } else if (message->type == RAFT_VOTE_REPLY && message->granted) {
                REQUIRE(g, m->term == message->term && m->vote == message->to);
        } else if (message->type == RAFT_APPEND_REPLY && message->granted && message->log_index) {
                const struct raft_entry *e = raft_entry_at(m->raft, message->log_index);

                REQUIRE(g,
                        m->term == message->term && m->disk.base + m->disk.n >= message->log_index);
                if (e && message->log_index > m->disk.base)
                        REQUIRE(g,
                                m->disk.at[message->log_index - m->disk.base - 1].term == e->term);
        }
}

static void on_send(struct group *g, const struct raft_message *message)
{
        check_promise(g, message);
        g->n_sent++;
        if (g->cut[message->from][message->to] || (g->faults && chance(g, g->loss)))
                return;
        put_packet(g, message);
        if (g->faults && chance(g, g->duplication))
                put_packet(g, message);
}

static void on_persist(struct group *g, struct member *m, const struct raft_persist *p)
{
        struct write *w;

        MUST_GROW(m->writes, m->n_writes, m->writes_max);
        w = &m->writes[m->n_writes++];
        *w = (struct write){ .persist = *p };
        w->done_at = g->now + below(g, g->sync_max);
        if (g->faults && chance(g, 3))
                w->done_at += below(g, 3 * ELECTION);
        if (m->n_writes > 1 && w->done_at < w[-1].done_at)
                w->done_at = w[-1].done_at;
        for (uint64_t i = p->first; p->first && i <= p->last; i++)
                copies_add(&w->entries, raft_entry_at(m->raft, i));
}

static void on_committed(struct group *g, struct member *m, uint64_t index)
{
        REQUIRE(g, index > m->applied);
        for (uint64_t i = m->applied + 1; i <= index; i++) {
                const struct raft_entry *e = raft_entry_at(m->raft, i);

                REQUIRE(g, e != NULL);
                if (i <= g->committed.n) {
                        REQUIRE(g, copy_is(&g->committed.at[i - 1], e));
                        continue;
                }
                copies_add(&g->committed, e);
                g->committed.at[i - 1].commit_term = raft_term(m->raft);
        }
        m->applied = index;
}

/* One leader a term, and it has all that earlier terms have committed. */
static void on_leader(struct group *g, node_id id)
{
        struct raft *r = g->of[id].raft;
        uint64_t term = raft_term(r);

        REQUIRE(g, term < TERMS_MAX);
        REQUIRE(g, g->leader_of[term] == NODE_NOBODY || g->leader_of[term] == id);
        if (g->leader_of[term] == NODE_NOBODY)
                g->n_elected++;
        g->leader_of[term] = id;
        for (size_t i = 0; i < g->committed.n; i++) {
                const struct raft_entry *e = raft_entry_at(r, i + 1);

                if (e && g->committed.at[i].commit_term < term)
                        REQUIRE(g, copy_is(&g->committed.at[i], e));
                if (!e && g->committed.at[i].commit_term < term)
                        REQUIRE(g, i < raft_index_snapshot(r));
        }
}

static void send_snapshot(struct group *g, node_id from, node_id to)
{
        const struct member *m = &g->of[from];
        const struct file *f = file_of(m, raft_index_snapshot(m->raft));
        struct transfer *t;

        REQUIRE(g, f != NULL);
        MUST_GROW(g->transfers, g->n_transfers, g->transfers_max);
        t = &g->transfers[g->n_transfers++];
        *t = (struct transfer){ .from = from, .to = to, .run = m->run, .file = *f };
        t->at = g->now + 1000 + below(g, g->faults ? 3 * ELECTION : 2000);
}

static void on_effect(struct group *g, node_id id, const struct raft_effect *e)
{
        struct member *m = &g->of[id];

        switch (e->type) {
        case RAFT_PERSIST:
                on_persist(g, m, &e->persist);
                return;
        case RAFT_SEND:
                REQUIRE(g, e->message.from == id);
                on_send(g, &e->message);
                return;
        case RAFT_COMMITTED:
                on_committed(g, m, e->index);
                return;
        case RAFT_READ_READY:
                g->n_reads++;
                if (e->context == m->context)
                        REQUIRE(g, e->index >= m->asked);
                return;
        case RAFT_ROLE_CHANGED:
                if (raft_role(m->raft) == RAFT_LEADER)
                        on_leader(g, id);
                return;
        case RAFT_INSTALLED:
                REQUIRE(g, e->index > m->applied);
                m->applied = e->index;
                g->n_installed++;
                return;
        case RAFT_SNAPSHOT_WANTED:
                REQUIRE(g, raft_role(m->raft) == RAFT_LEADER);
                send_snapshot(g, id, e->peer);
                return;
        case RAFT_APPENDED:
        case RAFT_PROPOSED:
        case RAFT_REFUSED:
        case RAFT_MEMBERS_CHANGED:
        case RAFT_NOTE:
                return;
        }
}

static void feed(struct group *g, node_id id, struct raft_event *event)
{
        struct raft_effects effects;
        uint64_t n_sent = g->n_sent;
        bool aimed = false;

        event->now = (struct instant){ g->now };
        raft_step(g->of[id].raft, event, &effects);
        for (size_t i = 0; i < effects.n; i++) {
                on_effect(g, id, &effects.list[i]);
                aimed |= effects.list[i].type != RAFT_SEND && below(g, 1000) < g->violence;
        }
        REQUIRE(g, g->n_sent - n_sent < 1000);
        if (g->faults && aimed) /* right after something has happened */
                crash(g, id);
}

/* The incarnation of the disk that @id believes to be behind @other; 0: it does not know. */
static uint8_t believed(const struct group *g, node_id id, node_id other)
{
        const struct raft_membership *m = raft_membership(g->of[id].raft);

        return m->n_context > other ? m->context[other] : 0;
}

/*
 * What the transport refuses: answers of another disk than the configuration counts, and whatever
 * comes from a disk that the receiver knows to be replaced. It may not know the newest one yet.
 */
static bool refuses(const struct group *g, const struct packet *p, bool is_answer)
{
        uint8_t known = believed(g, p->to, p->from);

        if (g->of[p->to].incarnation != p->to_incarnation)
                return true;
        return known && (is_answer ? p->from_incarnation != known : p->from_incarnation < known);
}

static bool is_answer(const struct raft_message *m)
{
        return m->type == RAFT_APPEND_REPLY || m->type == RAFT_VOTE_REPLY ||
               m->type == RAFT_PRE_VOTE_REPLY;
}

/* The snapshot, or what became of it, arrives. */
static void end_transfer(struct group *g, size_t i)
{
        struct transfer t = g->transfers[i];
        const struct member *sender = &g->of[t.from];
        struct member *m = &g->of[t.to];
        bool lost = !m->raft || m->paused_until > g->now || g->cut[t.from][t.to] ||
                    (g->faults && chance(g, g->loss)) ||
                    sender->incarnation < believed(g, t.to, t.from);
        struct raft_membership membership = membership_of(&t.file);

        g->transfers[i] = g->transfers[--g->n_transfers];
        if (t.back) {
                if (sender->raft && sender->run == t.run)
                        feed(g, t.from,
                             &(struct raft_event){ .type = RAFT_EVENT_SNAPSHOT_SENT,
                                                   .target = t.to,
                                                   .ok = t.ok });
                return;
        }
        if (!lost) {
                REQUIRE(g, g->committed.n >= t.file.index &&
                                   g->committed.at[t.file.index - 1].term == t.file.term);
                keep_file(m, &t.file);
                feed(g, t.to,
                     &(struct raft_event){ .type = RAFT_EVENT_INSTALL,
                                           .index = t.file.index,
                                           .term = t.file.term,
                                           .membership = &membership });
        }
        t.back = true;
        t.ok = !lost;
        t.at = g->now + 200 + below(g, lost ? ELECTION : 2000);
        MUST_GROW(g->transfers, g->n_transfers, g->transfers_max);
        g->transfers[g->n_transfers++] = t;
}

static bool runs(const struct group *g, node_id id)
{
        return g->of[id].raft && g->of[id].paused_until <= g->now;
}

static void deliver(struct group *g, size_t i)
{
        struct packet p = g->packets[i];
        struct raft_entry entries[RAFT_APPEND_ENTRIES_MAX];
        struct raft_message message;
        struct reader reader = reader_of(p.bytes.bytes, p.bytes.n);

        g->packets[i] = g->packets[--g->n_packets];
        REQUIRE(g, raft_message_decode(&reader, entries, &message) && reader_done(&reader));
        if (g->attests && message.n_entries > 0 && g->now / ELECTION % 3 != p.to % 3)
                message.n_entries = below(g, message.n_entries + 1);
        if (g->of[p.to].raft && !g->cut[p.from][p.to] && !refuses(g, &p, is_answer(&message)))
                feed(g, p.to,
                     &(struct raft_event){ .type = RAFT_EVENT_RECEIVED, .message = &message });
        buffer_done(&p.bytes);
}

static void propose(struct group *g, node_id id)
{
        uint8_t bytes[3][ENTRY_SIZE];
        struct raft_entry commands[3];
        size_t n = 1 + below(g, 3);

        for (size_t i = 0; i < n; i++) {
                uint64_t value = random_next(&g->random);

                memcpy(bytes[i], &value, sizeof(value));
                commands[i] = (struct raft_entry){ .type = RAFT_ENTRY_COMMAND,
                                                   .bytes = bytes[i],
                                                   .n = 4 + below(g, 5) };
        }
        feed(g, id,
             &(struct raft_event){
                     .type = RAFT_EVENT_PROPOSE, .commands = commands, .n_commands = n });
}

/* A snapshot of what is applied; the log keeps few entries, or many. */
static void compact(struct group *g, node_id id)
{
        struct member *m = &g->of[id];
        const struct raft_membership *membership;
        struct file f = { .index = m->applied };

        if (m->applied <= raft_index_snapshot(m->raft))
                return;
        f.term = g->committed.at[f.index - 1].term;
        membership = raft_membership_at(m->raft, f.index);
        f.membership = *membership;
        if (membership->n_context == sizeof(f.incarnations))
                memcpy(f.incarnations, membership->context, sizeof(f.incarnations));
        keep_file(m, &f);
        feed(g, id,
             &(struct raft_event){
                     .type = RAFT_EVENT_COMPACT, .index = f.index, .keep = below(g, 20) });
}

static void drop(node_id *list, unsigned *n, unsigned i)
{
        memmove(list + i, list + i + 1, (--*n - i) * sizeof(*list));
}

/* Another configuration than @members, not always a good one. */
static void redraw(struct group *g, struct raft_members *members, uint8_t *incarnations)
{
        unsigned what = (unsigned)below(g, 100);
        node_id id = (node_id)(1 + below(g, g->n));
        bool known = raft_is_voter(members, id) || raft_is_learner(members, id);

        if (what < 45 && !known) {
                members->learners[members->n_learners++] = id;
                incarnations[id] = g->of[id].incarnation;
        } else if (what < 75 && members->n_learners > 0) {
                unsigned i = (unsigned)below(g, members->n_learners);

                members->voters[members->n_voters++] = members->learners[i];
                drop(members->learners, &members->n_learners, i);
        } else if (what < 90 && members->n_voters > 0) {
                unsigned i = (unsigned)below(g, members->n_voters);

                if (chance(g, 20))
                        members->learners[members->n_learners++] = members->voters[i];
                else
                        incarnations[members->voters[i]] = 0;
                drop(members->voters, &members->n_voters, i);
        } else if (what < 97 && members->n_learners > 0) {
                unsigned i = (unsigned)below(g, members->n_learners);

                incarnations[members->learners[i]] = 0;
                drop(members->learners, &members->n_learners, i);
        }
}

static void change(struct group *g, node_id id)
{
        const struct raft_membership *now = raft_membership(g->of[id].raft);
        uint8_t incarnations[MEMBERS_MAX + 1] = { 0 };
        struct raft_membership next = { .members = now->members,
                                        .context = incarnations,
                                        .n_context = sizeof(incarnations) };

        if (now->n_context == sizeof(incarnations))
                memcpy(incarnations, now->context, sizeof(incarnations));
        redraw(g, &next.members, incarnations);
        if (chance(g, 10)) /* two at once: mostly refused */
                redraw(g, &next.members, incarnations);
        feed(g, id,
             &(struct raft_event){ .type = RAFT_EVENT_CHANGE,
                                   .membership = &next,
                                   .forced = next.members.n_voters < now->members.n_voters &&
                                             chance(g, 20) });
}

static bool is_known_to_anybody(const struct group *g, node_id id)
{
        for (node_id other = 1; other <= g->n; other++) {
                const struct raft *r = g->of[other].raft;

                if (!r || raft_is_voter(raft_members(r), id) ||
                    raft_is_learner(raft_members(r), id))
                        return true;
        }
        return false;
}

/* A machine that nobody counts any more loses its disk; its id comes back with another one. */
static void wipe(struct group *g, node_id id)
{
        struct member *m = &g->of[id];

        if (is_known_to_anybody(g, id))
                return;
        crash(g, id);
        m->term = 0;
        m->vote = NODE_NOBODY;
        m->disk.n = 0;
        m->disk.base = 0;
        m->snapshot_index = 0;
        m->n_files = 0;
        m->incarnation++;
        g->n_wiped++;
}

static void do_harm(struct group *g, node_id id, node_id other)
{
        uint64_t what = below(g, 100);

        if (what < 30)
                crash(g, id);
        else if (what < 55)
                g->cut[id][other] = !g->cut[id][other];
        else if (what < 80)
                g->of[id].paused_until = g->now + below(g, 3 * ELECTION);
        else
                memset(g->cut, 0, sizeof(g->cut));
}

static void do_something(struct group *g)
{
        node_id id = (node_id)(1 + below(g, g->n));
        node_id other = (node_id)(1 + below(g, g->n));
        uint64_t what = below(g, 100);

        for (node_id i = 1; i <= g->n; i++) /* mostly ask somebody who leads, or believes so */
                if (runs(g, i) && raft_role(g->of[i].raft) == RAFT_LEADER && chance(g, 50))
                        id = i;
        if (!runs(g, id))
                return;
        if (what < 55) {
                propose(g, id);
        } else if (what < 75) {
                g->of[id].asked = g->committed.n;
                g->of[id].context = random_next(&g->random);
                feed(g, id,
                     &(struct raft_event){ .type = RAFT_EVENT_READ, .context = g->of[id].context });
        } else if (what < 78) {
                feed(g, id, &(struct raft_event){ .type = RAFT_EVENT_TRANSFER, .target = other });
        } else if (what < 82) {
                feed(g, id, &(struct raft_event){ .type = RAFT_EVENT_SUSPECT, .target = other });
        }
        if (g->churns && runs(g, id) && chance(g, 20))
                change(g, id);
        if (g->churns && chance(g, 5))
                wipe(g, other);
        if (runs(g, other) && chance(g, g->snapshots))
                compact(g, other);
        if (g->faults && chance(g, g->violence))
                do_harm(g, id, other);
}

/* When anything happens next: a packet, a completed write, a timer or a restart. */
static uint64_t next_time(const struct group *g)
{
        uint64_t at = UINT64_MAX;

        for (size_t i = 0; i < g->n_packets; i++) {
                uint64_t held = g->of[g->packets[i].to].paused_until;
                uint64_t t = g->packets[i].at > held ? g->packets[i].at : held;

                at = t < at ? t : at;
        }
        for (size_t i = 0; i < g->n_transfers; i++)
                at = g->transfers[i].at < at ? g->transfers[i].at : at;
        for (node_id id = 1; id <= g->n; id++) {
                const struct member *m = &g->of[id];
                uint64_t t = m->restart_at;

                if (m->raft) {
                        t = raft_deadline(m->raft).usec;
                        if (m->n_writes > 0 && m->writes[0].done_at < t)
                                t = m->writes[0].done_at;
                        t = t > m->paused_until ? t : m->paused_until;
                }
                at = t < at ? t : at;
        }
        return at > g->now ? at : g->now;
}

static void run_member(struct group *g, node_id id)
{
        struct member *m = &g->of[id];

        if (!m->raft && m->restart_at <= g->now)
                start(g, id);
        if (!runs(g, id))
                return;
        while (m->raft && m->n_writes > 0 && m->writes[0].done_at <= g->now) {
                uint64_t generation = complete_write(m);

                while (m->n_writes > 0 && m->writes[0].done_at <= g->now && chance(g, 50))
                        generation = complete_write(m); /* one completion for several */
                feed(g, id,
                     &(struct raft_event){ .type = RAFT_EVENT_PERSISTED,
                                           .generation = generation });
        }
        if (m->raft && raft_deadline(m->raft).usec <= g->now)
                feed(g, id, &(struct raft_event){ .type = RAFT_EVENT_TIMEOUT });
}

/* Two logs that agree at an index agree below it. */
static void check_logs(struct group *g)
{
        for (node_id a = 1; a <= g->n; a++)
                for (node_id b = (node_id)(a + 1); b <= g->n; b++) {
                        bool agreed = false;

                        if (!g->of[a].raft || !g->of[b].raft)
                                continue;
                        for (uint64_t i = raft_index_last(g->of[a].raft); i > 0; i--) {
                                const struct raft_entry *x = raft_entry_at(g->of[a].raft, i);
                                const struct raft_entry *y = raft_entry_at(g->of[b].raft, i);

                                if (!x)
                                        break;
                                if (!y)
                                        continue;
                                if (x->term == y->term)
                                        agreed = true;
                                if (agreed)
                                        REQUIRE(g, x->term == y->term && x->n == y->n &&
                                                           (x->n == 0 ||
                                                            !memcmp(x->bytes, y->bytes, x->n)));
                        }
                }
}

static void run(struct group *g, uint64_t until, unsigned every)
{
        uint64_t act_at = g->now;

        while (g->now < until) {
                uint64_t at = next_time(g);

                if (every > 0 && act_at <= at) {
                        g->now = act_at > g->now ? act_at : g->now;
                        act_at = g->now + 1 + below(g, 2 * every);
                        do_something(g);
                        continue;
                }
                if (at > until) {
                        g->now = until;
                        break;
                }
                g->now = at;
                for (size_t i = 0; i < g->n_packets;)
                        if (g->packets[i].at <= g->now &&
                            g->of[g->packets[i].to].paused_until <= g->now)
                                deliver(g, i);
                        else
                                i++;
                for (size_t i = g->n_transfers; i-- > 0;)
                        if (i < g->n_transfers && g->transfers[i].at <= g->now)
                                end_transfer(g, i);
                for (node_id id = 1; id <= g->n; id++)
                        run_member(g, id);
        }
        check_logs(g);
}

static struct raft *find_leader(struct group *g)
{
        struct raft *found = NULL;

        for (node_id id = 1; id <= g->n; id++)
                if (g->of[id].raft && raft_is_ready(g->of[id].raft) &&
                    (!found || raft_term(g->of[id].raft) > raft_term(found)))
                        found = g->of[id].raft;
        return found;
}

static void heal(struct group *g)
{
        g->faults = false;
        g->attests = false;
        g->delay_max = 1000;
        g->sync_max = 3000;
        memset(g->cut, 0, sizeof(g->cut));
        for (node_id id = 1; id <= g->n; id++) {
                g->of[id].paused_until = 0;
                g->of[id].restart_at = g->now;
        }
        for (size_t i = 0; i < g->n_packets; i++)
                if (g->packets[i].at > g->now + ELECTION)
                        g->packets[i].at = g->now + below(g, ELECTION);
}

/* Whether the leader counts @id among its members, and as the machine that it is. */
static bool belongs(const struct group *g, const struct raft *leader, node_id id)
{
        const struct raft_membership *m = raft_membership(leader);

        return (raft_is_voter(&m->members, id) || raft_is_learner(&m->members, id)) &&
               believed(g, raft_leader(leader), id) == g->of[id].incarnation;
}

static void check_convergence(struct group *g)
{
        struct raft *leader;
        uint64_t n_sent, last, n_others;

        run(g, g->now + 20 * ELECTION, 0);
        leader = find_leader(g);
        REQUIRE(g, leader != NULL);
        propose(g, raft_leader(leader));
        last = raft_index_last(leader);
        run(g, g->now + 4 * HEARTBEAT, 0);
        REQUIRE(g, raft_role(leader) == RAFT_LEADER && raft_index_last(leader) == last);
        for (node_id id = 1; id <= g->n; id++) {
                if (!belongs(g, leader, id))
                        continue;
                REQUIRE(g, raft_index_committed(g->of[id].raft) == last);
                REQUIRE(g, raft_index_last(g->of[id].raft) == last);
                REQUIRE(g, g->of[id].applied == last);
        }
        /* Quiet: an append and an answer for each peer and heartbeat. */
        n_sent = g->n_sent;
        run(g, g->now + 20 * HEARTBEAT, 0);
        n_others = raft_members(leader)->n_voters + raft_members(leader)->n_learners - 1;
        for (node_id id = 1; id <= g->n; id++) /* who was removed and has not heard of it */
                if (!belongs(g, leader, id))
                        n_others += raft_members(g->of[id].raft)->n_voters + 1;
        REQUIRE(g, g->n_sent - n_sent <= 2 * n_others * 21);
        REQUIRE(g, raft_role(leader) == RAFT_LEADER);
}

static void group_done(struct group *g)
{
        for (node_id id = 1; id <= g->n; id++) {
                struct member *m = &g->of[id];

                while (m->n_writes > 0)
                        free(m->writes[--m->n_writes].entries.at);
                free(m->writes);
                free(m->files);
                free(m->disk.at);
                raft_free(m->raft);
        }
        while (g->n_packets > 0)
                buffer_done(&g->packets[--g->n_packets].bytes);
        free(g->packets);
        free(g->transfers);
        free(g->committed.at);
        free(g->leader_of);
        free(g);
}

static struct group *group_new(uint64_t seed, unsigned n, bool churns)
{
        struct group *g = must_alloc(1, sizeof(*g));

        g->seed = seed;
        g->random.state = seed * 7919 + n;
        g->n = churns ? 7 : n;
        g->churns = churns;
        g->now = 1000000;
        g->leader_of = must_alloc(TERMS_MAX, sizeof(*g->leader_of));
        g->members.n_voters = n;
        for (node_id id = 1; id <= n; id++)
                g->members.voters[id - 1] = id;
        for (node_id id = 1; id <= g->n; id++)
                g->of[id].incarnation = 1;
        for (node_id id = 1; id <= n; id++)
                g->founders[id] = 1;
        g->faults = true;
        g->pre_vote = !chance(g, 25);
        g->attests = chance(g, 20);
        g->loss = chance(g, 60) ? (unsigned)below(g, 30) : 0;
        g->violence = 1 + (unsigned)below(g, 12);
        g->duplication = chance(g, 50) ? (unsigned)below(g, 50) : 0;
        g->delay_max = 1 + below(g, chance(g, 30) ? ELECTION / 2 : 5000);
        g->sync_max = 1 + below(g, chance(g, 30) ? ELECTION / 2 : 5000);
        g->snapshots = chance(g, 60) ? (unsigned)below(g, 25) : 0;
        for (node_id id = 1; id <= g->n; id++)
                start(g, id);
        return g;
}

/* Faults and work, with no more messages than the work and the heartbeats explain. */
static void run_faults(struct group *g)
{
        uint64_t from = g->now;
        uint64_t length = 10 * ELECTION + below(g, 20 * ELECTION);

        run(g, from + length, ELECTION / 20);
        REQUIRE(g, g->n_sent * ELECTION <= 100 * (g->n - 1) * length);
}

static void run_seeds(unsigned n, uint64_t share, bool churns)
{
        const char *wanted = getenv("RAFT_SEEDS");
        uint64_t n_seeds = (wanted ? strtoull(wanted, NULL, 10) : SEEDS_DEFAULT) * share / 100;
        uint64_t n_committed = 0, n_reads = 0, n_elected = 0;
        uint64_t n_installed = 0, n_changed = 0, n_wiped = 0;

        for (uint64_t seed = 1; seed <= n_seeds; seed++) {
                struct group *g = group_new(seed, n, churns);

                run_faults(g);
                heal(g);
                check_convergence(g);
                n_committed += g->committed.n;
                n_reads += g->n_reads;
                n_elected += g->n_elected;
                n_installed += g->n_installed;
                n_wiped += g->n_wiped;
                for (size_t i = 0; i < g->committed.n; i++)
                        n_changed += g->committed.at[i].type == RAFT_ENTRY_MEMBERS;
                group_done(g);
        }
        /* Faults that stop all work would make the checks above say nothing. */
        assert_true(n_committed > 10 * n_seeds);
        assert_true(n_reads > n_seeds);
        assert_true(n_elected > n_seeds);
        assert_true(!churns || (n_changed > 2 * n_seeds && n_installed > 0 && n_wiped > 0));
        print_message("%u members: %llu entries, %llu reads, %llu elections, %llu changes, %llu "
                      "snapshots installed, %llu ids used again\n",
                      n, (unsigned long long)n_committed, (unsigned long long)n_reads,
                      (unsigned long long)n_elected, (unsigned long long)n_changed,
                      (unsigned long long)n_installed, (unsigned long long)n_wiped);
}

static void three_members_stay_one_history(void **state)
{
        (void)state;
        run_seeds(3, 40, false);
}

static void five_members_stay_one_history(void **state)
{
        (void)state;
        run_seeds(5, 15, false);
}

static void two_and_four_members_stay_one_history(void **state)
{
        (void)state;
        run_seeds(2, 5, false);
        run_seeds(4, 5, false);
}

static void one_member_is_its_own_quorum(void **state)
{
        (void)state;
        run_seeds(1, 10, false);
}

static void members_come_and_go_in_one_history(void **state)
{
        (void)state;
        run_seeds(3, 40, true);
        run_seeds(1, 5, true);
        run_seeds(5, 10, true);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(three_members_stay_one_history),
                cmocka_unit_test(five_members_stay_one_history),
                cmocka_unit_test(two_and_four_members_stay_one_history),
                cmocka_unit_test(one_member_is_its_own_quorum),
                cmocka_unit_test(members_come_and_go_in_one_history),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
