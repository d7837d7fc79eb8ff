/*
 * Snapshots: when one is due; sending one to a member that needs what the log no longer has, part
 * by part, each asked for by its receiver; and receiving one, which builds the new store while the
 * parts come in, so that its arrival is no pause.
 */
#include <stdlib.h>
#include <string.h>

#include "election/base/cleanup.h"
#include "election/base/memory.h"
#include "election/node-internal.h"

enum {
        SNAPSHOT_TAIL_ENTRIES = 4096, /* kept in the log for members that are a little behind, */
        SNAPSHOT_TAIL_BYTES = 4 << 20, /* but no more bytes than that */
        SNAPSHOT_FREED_AT_ONCE = 2000, /* keys of a replaced store that one step releases */
        TRANSFER_TRIES = 5, /* parts that nobody answers, then the member is probed anew */
};

#define SNAPSHOT_AGAIN_AFTER (30 * USEC_PER_SEC) /* what could not be written is tried again then */
#define PART_AGAIN_AFTER (2 * USEC_PER_SEC) /* at least; see again_after() */

/* Taking. */

static bool is_due(const struct node *n)
{
        const struct node_snapshots *s = &n->snapshots;
        uint64_t size = n->config.snapshot_bytes > s->bytes ? n->config.snapshot_bytes : s->bytes;

        if (s->is_taking || n->index_applied <= s->index)
                return false;
        /* Who joins applies what came before the first list that it is told. */
        if (raft_membership_at(n->raft, n->index_applied)->members.n_voters == 0)
                return false;
        if (s->is_ordered)
                return true;
        if (n->config.snapshot_bytes == 0 || !instant_reached(s->not_before, n->now))
                return false;
        return s->bytes_since >= size ||
               instant_reached(instant_after(s->taken_at, n->config.snapshot_age), n->now);
}

int node_snapshot_write(const struct node *n, store_sink *sink, void *userdata)
{
        const struct raft_membership *m = raft_membership_at(n->raft, n->index_applied);
        struct snapshot_head head = { .cluster_id = n->config.cluster_id,
                                      .index = n->index_applied,
                                      .term = n->term_applied,
                                      .members_index = m->index };
        struct buffer b = { 0 };
        int r;

        raft_members_encode(&m->members, &b);
        buffer_put(&b, m->context, m->n_context);
        head.members = b.bytes;
        head.n_members = b.n;
        r = snapshot_write(&head, n->store, sink, userdata);
        buffer_done(&b);
        return r;
}

/* Entries behind which the log may be kept without being more than SNAPSHOT_TAIL_BYTES. */
static uint64_t tail_of(const struct node_snapshots *s)
{
        uint64_t each = s->entries_since ? s->bytes_taken / s->entries_since + 1 : 1;
        uint64_t n = SNAPSHOT_TAIL_BYTES / each;

        return n < SNAPSHOT_TAIL_ENTRIES ? n : SNAPSHOT_TAIL_ENTRIES;
}

void node_snapshot_order(struct node *n)
{
        n->snapshots.is_ordered = n->index_applied > n->snapshots.index;
}

void node_snapshot_taken(struct node *n, const struct node_event *event)
{
        struct node_snapshots *s = &n->snapshots;

        s->is_taking = false;
        if (!event->ok) {
                s->not_before = instant_after(n->now, SNAPSHOT_AGAIN_AFTER);
                return;
        }
        if (event->snapshot.index <= s->index)
                return; /* a newer one was received meanwhile */
        s->index = event->snapshot.index;
        s->term = event->snapshot.term;
        s->bytes = event->snapshot.bytes;
        s->bytes_since -= s->bytes_taken;
        s->taken_at = n->now;
        node_note(n, NODE_NOTE_SNAPSHOT_TAKEN)->index = s->index;
        node_feed_raft(n, &(struct raft_event){ .type = RAFT_EVENT_COMPACT,
                                                .now = n->now,
                                                .index = s->index,
                                                .keep = tail_of(s) });
}

/* Sending. */

static void end_transfer(struct node *n, node_id to, bool ok)
{
        n->transfers[to].is_open = false;
        node_feed_raft(n, &(struct raft_event){ .type = RAFT_EVENT_SNAPSHOT_SENT,
                                                .now = n->now,
                                                .target = to,
                                                .ok = ok });
}

/* Long enough for a part to be written at the other end, whatever its disk. */
static struct instant again_after(const struct node *n)
{
        usec_t wait = 4 * n->config.election_timeout;

        return instant_after(n->now, wait > PART_AGAIN_AFTER ? wait : PART_AGAIN_AFTER);
}

static void read_part(struct node *n, node_id to)
{
        struct node_transfer *t = &n->transfers[to];
        struct node_effect *e = node_add(n, NODE_SNAPSHOT_READ);

        t->again = again_after(n);
        e->to = to;
        e->snapshot = t->snapshot;
        e->snapshot.offset = t->offset;
        e->snapshot.n_wanted = NODE_SNAPSHOT_PART_MAX;
}

void node_snapshot_seen(struct node *n, node_id id)
{
        if (n->transfers[id].is_open)
                n->transfers[id].again = n->now;
}

void node_snapshot_wanted(struct node *n, node_id to)
{
        if (!node_is_member(n, to))
                return; /* it is leaving, and needs no more of us */
        n->transfers[to] = (struct node_transfer){
                .is_open = true,
                .term = raft_term(n->raft),
                .snapshot = { .index = n->snapshots.index, .term = n->snapshots.term },
        };
        node_note(n, NODE_NOTE_SNAPSHOT_SENT)->member = to;
        read_part(n, to);
}

static bool is_same(const struct node_snapshot *a, const struct node_snapshot *b)
{
        return a->index == b->index && a->term == b->term;
}

/* A part came from the disk. */
void node_snapshot_read(struct node *n, const struct node_event *event)
{
        struct node_transfer *t = &n->transfers[event->from];
        struct buffer *b;

        if (!t->is_open || !is_same(&t->snapshot, &event->snapshot) ||
            t->offset != event->snapshot.offset)
                return;
        if (!event->ok || !node_is_leader(n) || t->term != raft_term(n->raft)) {
                end_transfer(n, event->from, false);
                return;
        }
        b = node_send(n, event->from, NODE_MESSAGE_SNAPSHOT);
        buffer_put_u64(b, t->term);
        buffer_put_u64(b, t->snapshot.index);
        buffer_put_u64(b, t->snapshot.term);
        buffer_put_u64(b, t->offset);
        buffer_put_u8(b, event->snapshot.is_last);
        buffer_put_blob(b, event->bytes, event->n);
        node_send_end(n);
}

enum reply {
        REPLY_NEXT, /* the part at an offset is wanted */
        REPLY_DONE, /* the log goes on from here, or was as far already */
        REPLIES,
};

void node_snapshot_replied(struct node *n, node_id from, struct reader *r)
{
        struct node_transfer *t = &n->transfers[from];
        struct node_snapshot snapshot = { .index = reader_get_u64(r), .term = reader_get_u64(r) };
        uint8_t reply = reader_get_u8(r);
        uint64_t offset = reader_get_u64(r);

        if (reply >= REPLIES)
                r->failed = true;
        if (r->failed || !t->is_open || !is_same(&t->snapshot, &snapshot))
                return;
        if (reply == REPLY_DONE || !node_is_leader(n) || t->term != raft_term(n->raft)) {
                end_transfer(n, from, reply == REPLY_DONE);
                return;
        }
        if (offset == t->offset && t->n_sent > 0)
                return; /* said twice; the part is on its way */
        t->n_sent++;
        t->tries = 0;
        /* Its disk may be full: what does not get on must not begin anew at the speed of the network. */
        if (offset < t->offset && t->n_returns++ > 0) {
                t->offset = offset;
                t->again = again_after(n);
                return;
        }
        t->offset = offset;
        read_part(n, from);
}

void node_snapshot_members_changed(struct node *n)
{
        for (node_id id = 1; id <= MEMBERS_MAX; id++) {
                if (!node_is_member(n, id))
                        n->transfers[id].is_open = false;
        }
}

static void look_at_transfers(struct node *n)
{
        for (node_id id = 1; id <= MEMBERS_MAX; id++) {
                struct node_transfer *t = &n->transfers[id];

                if (!t->is_open || !instant_reached(t->again, n->now))
                        continue;
                if (++t->tries > TRANSFER_TRIES || !node_is_leader(n))
                        end_transfer(n, id, false);
                else
                        read_part(n, id);
        }
}

static void end_arrival(struct node_arrival *a)
{
        snapshot_reader_free(a->reader);
        store_free(a->store);
        *a = (struct node_arrival){ 0 };
}

void node_snapshot_look(struct node *n)
{
        struct node_snapshots *s = &n->snapshots;
        struct node_effect *e;

        if (s->replaced && !store_free_some(s->replaced, SNAPSHOT_FREED_AT_ONCE))
                s->replaced = NULL;
        look_at_transfers(n);
        if (n->arrival.reader && !n->arrival.is_writing &&
            n->arrival.snapshot.index <= raft_index_committed(n->raft))
                end_arrival(&n->arrival); /* the log was quicker */
        if (!is_due(n))
                return;
        s->is_taking = true;
        s->is_ordered = false;
        s->entries_since = n->index_applied - s->index;
        s->bytes_taken = s->bytes_since;
        e = node_add(n, NODE_SNAPSHOT_TAKE);
        e->snapshot = (struct node_snapshot){ .index = n->index_applied, .term = n->term_applied };
}

/* Receiving. */

static void reply(struct node *n, node_id to, const struct node_snapshot *s, enum reply what,
                  uint64_t offset)
{
        struct buffer *b = node_send(n, to, NODE_MESSAGE_SNAPSHOT_REPLY);

        buffer_put_u64(b, s->index);
        buffer_put_u64(b, s->term);
        buffer_put_u8(b, (uint8_t)what);
        buffer_put_u64(b, offset);
        node_send_end(n);
}

static void begin_arrival(struct node_arrival *a, node_id from, const struct node_snapshot *s)
{
        snapshot_reader_free(a->reader);
        *a = (struct node_arrival){ .from = from,
                                    .snapshot = *s,
                                    .reader = snapshot_reader_new(true) };
}

/* Whether a leader of @term may have such a snapshot. */
static bool is_possible(const struct node_snapshot *s, uint64_t term)
{
        return s->index < RAFT_NUMBER_MAX && s->term >= 1 && s->term <= term;
}

/* Whether the snapshot is the one that was announced, of our cluster, and says who is in it. */
static bool is_expected(const struct node *n, const struct node_arrival *a,
                        const struct snapshot_head *head)
{
        struct raft_membership m;

        return head->index == a->snapshot.index && head->term == a->snapshot.term &&
               head->cluster_id == n->config.cluster_id && snapshot_membership(head, &m) &&
               m.index <= head->index;
}

/* Whether the part may be written; what does not verify is asked for from the beginning. */
static bool take_part(struct node *n, struct node_arrival *a, const uint8_t *bytes, size_t size,
                      bool is_last)
{
        const struct snapshot_head *head;

        if (snapshot_reader_feed(a->reader, bytes, size) < 0)
                return false;
        head = snapshot_reader_head(a->reader);
        if ((head && !is_expected(n, a, head)) || snapshot_reader_is_whole(a->reader) != is_last)
                return false;
        if (is_last) /* sums may be right where the store is not */
                a->store = snapshot_reader_take(a->reader, n->now);
        return !is_last || a->store;
}

void node_snapshot_received(struct node *n, node_id from, struct reader *r)
{
        struct node_arrival *a = &n->arrival;
        uint64_t term = reader_get_u64(r);
        struct node_snapshot s = { .index = reader_get_u64(r), .term = reader_get_u64(r) };
        uint64_t offset = reader_get_u64(r);
        bool is_last = reader_get_u8(r);
        size_t size;
        const uint8_t *bytes = reader_get_blob(r, &size);
        struct node_effect *e;

        if (r->failed || term != raft_term(n->raft) || from != raft_leader(n->raft))
                return; /* its heartbeats tell the term, and the part comes again */
        if (s.index <= raft_index_committed(n->raft)) {
                reply(n, from, &s, REPLY_DONE, 0);
                return;
        }
        if (!is_possible(&s, term)) {
                r->failed = true;
                return;
        }
        if (!a->reader || a->from != from || !is_same(&a->snapshot, &s)) {
                if (a->is_writing)
                        return; /* the disk is still busy with another one */
                begin_arrival(a, from, &s);
        }
        if (a->is_writing)
                return;
        if (offset != a->snapshot.offset) {
                reply(n, from, &s, REPLY_NEXT, a->snapshot.offset);
                return;
        }
        if (!take_part(n, a, bytes, size, is_last)) {
                node_note(n, NODE_NOTE_BAD_MESSAGE)->member = from;
                end_arrival(a);
                reply(n, from, &s, REPLY_NEXT, 0);
                return;
        }
        a->is_writing = true;
        a->is_last = is_last;
        e = node_add(n, NODE_SNAPSHOT_WRITE);
        e->snapshot = a->snapshot;
        e->snapshot.is_last = is_last;
        e->n = size;
        n->offsets[n->n_effects - 1] = n->out.n;
        buffer_put(&n->out, bytes, size);
        a->snapshot.offset += size;
}

/* All parts are on disk, under their name: the log may follow it. */
static void install(struct node *n)
{
        struct node_arrival *a = &n->arrival;
        const struct snapshot_head *head = snapshot_reader_head(a->reader);
        struct raft_membership m;

        (void)snapshot_membership(head, &m); /* is_expected() has seen it */
        store_notes_reset(a->store, n->now); /* rule L6 */
        node_feed_raft(n, &(struct raft_event){ .type = RAFT_EVENT_INSTALL,
                                                .now = n->now,
                                                .index = head->index,
                                                .term = head->term,
                                                .membership = &m });
}

void node_snapshot_written(struct node *n, const struct node_event *event)
{
        struct node_arrival *a = &n->arrival;
        struct node_snapshot s = a->snapshot;
        node_id from = a->from;

        if (!a->is_writing)
                return;
        a->is_writing = false;
        if (!event->ok) {
                end_arrival(a);
                reply(n, from, &s, REPLY_NEXT, 0);
                return;
        }
        if (!a->is_last) {
                reply(n, from, &s, REPLY_NEXT, s.offset);
                return;
        }
        install(n);
        end_arrival(a);
        reply(n, from, &s, REPLY_DONE, 0);
}

/* The log follows the snapshot now: so must everything else. */
void node_snapshot_installed(struct node *n, uint64_t index)
{
        struct node_snapshots *s = &n->snapshots;
        struct store *restored = TAKE_PTR(n->arrival.store);
        const uint64_t *woken;
        size_t n_woken = store_watch_move(restored, n->store, &woken);

        while (s->replaced && store_free_some(s->replaced, SNAPSHOT_FREED_AT_ONCE))
                ;
        s->replaced = n->store;
        n->store = restored;
        if (n_woken > 0)
                node_woken(n, woken, n_woken);
        n->index_applied = index;
        n->term_applied = n->arrival.snapshot.term;
        n->store_index_seen = UINT64_MAX;
        s->index = index;
        s->term = n->arrival.snapshot.term;
        s->bytes = n->arrival.snapshot.offset;
        s->bytes_since = 0;
        s->taken_at = n->now;
        node_note(n, NODE_NOTE_SNAPSHOT_INSTALLED)->index = index;
        node_lease_restored(n);
        node_request_installed(n);
}

struct instant node_snapshot_deadline(const struct node *n)
{
        const struct node_snapshots *s = &n->snapshots;
        struct instant deadline = INSTANT_FOREVER;

        if (s->replaced)
                return n->now;
        for (node_id id = 1; id <= MEMBERS_MAX; id++) {
                if (n->transfers[id].is_open)
                        deadline = instant_earlier(deadline, n->transfers[id].again);
        }
        return deadline;
}

void node_snapshot_done(struct node *n)
{
        end_arrival(&n->arrival);
        store_free(n->snapshots.replaced);
}
