/*
 * The end of leases whose holders fell silent. The leader asks the others which leases their own
 * notes show as over, and proposes the expiry of those on which a quorum of clocks agrees; a
 * member that receives such an entry and does not agree takes the message as cut off before it.
 */
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "election/node-internal.h"

void node_receipt_add(struct node *n, uint64_t index, uint64_t term)
{
        n->receipts[index % NODE_NOTES_MAX] = (struct node_receipt){ index, term, n->now };
        if (index <= n->index_recovered)
                n->index_recovered = index - 1; /* what was there at the start is replaced */
}

/* Rule L6: what was received before the start, or forgotten, counts as received late, never early. */
struct instant node_receipt_of(const struct node *n, uint64_t index, uint64_t term)
{
        const struct node_receipt *r = &n->receipts[index % NODE_NOTES_MAX];

        if (r->index == index && r->term == term)
                return r->at;
        return index <= n->index_recovered ? n->started : n->now;
}

/* The TTL that the command of log entry @index grants; USEC_INFINITY if it grants none. */
static usec_t granted_by(const struct node *n, uint64_t index)
{
        const struct raft_entry *entry = raft_entry_at(n->raft, index);
        struct store_command c;
        usec_t ttl = USEC_INFINITY;

        if (!entry || entry->type != RAFT_ENTRY_COMMAND ||
            store_command_decode(entry->bytes, entry->n, &c) < 0)
                return ttl;
        if (c.type == STORE_ACQUIRE)
                ttl = c.ttl;
        else if (c.type == STORE_KEY && c.key.has_ttl)
                ttl = c.key.ttl;
        store_command_done(&c);
        return ttl;
}

/*
 * A renewal that this member has, but has not applied: judged by the log alone. It may never be
 * applied before the expiry is appended, because what commits both is this very answer.
 */
static bool attests_unapplied(const struct node *n, const struct store_expiry *e)
{
        const struct raft_entry *entry = raft_entry_at(n->raft, e->renewed);
        const struct store_lease *l = store_lease(n->store, e->name);
        struct instant received;
        usec_t ttl;

        if (!entry)
                return false;
        if (e->kind == STORE_LEASE_KEY)
                ttl = granted_by(n, e->renewed);
        else if (e->epoch > n->index_applied)
                ttl = granted_by(n, e->epoch);
        else if (l && l->epoch == e->epoch)
                ttl = l->ttl;
        else
                return true; /* of another epoch than the lease's: it will do nothing */
        received = node_receipt_of(n, e->renewed, entry->term);
        return instant_reached(instant_after(received, ttl), n->now);
}

bool node_expiry_attests(const struct node *n, const struct store_expiry *e)
{
        if (e->renewed > n->index_applied)
                return attests_unapplied(n, e);
        return store_attests(n->store, e, n->now);
}

/* Whether @m brings the entry at @index: then we have it since this moment, whatever stood there. */
static bool is_brought_by(const struct node *n, const struct raft_message *m, uint64_t index)
{
        const struct raft_entry *ours = raft_entry_at(n->raft, index);

        if (index <= m->log_index || index - m->log_index > m->n_entries)
                return false;
        return !ours || ours->term != m->entries[index - m->log_index - 1].term;
}

static bool attests_entry(const struct node *n, const struct raft_message *m,
                          const struct raft_entry *entry)
{
        struct store_command c;
        bool agreed = true;

        if (entry->type != RAFT_ENTRY_COMMAND ||
            store_command_peek(entry->bytes, entry->n) != STORE_EXPIRE ||
            store_command_decode(entry->bytes, entry->n, &c) < 0)
                return true; /* what is no command does nothing when it is applied */
        for (size_t i = 0; agreed && i < c.n; i++)
                agreed = !is_brought_by(n, m, c.expiries[i].renewed) &&
                         node_expiry_attests(n, &c.expiries[i]);
        store_command_done(&c);
        return agreed;
}

/* What the leader knows to be committed was attested by a quorum before; the rest is ours to judge. */
size_t node_expiry_filter(struct node *n, const struct raft_message *m)
{
        for (size_t i = 0; i < m->n_entries; i++) {
                const struct raft_entry *entry = &m->entries[i];
                const struct raft_entry *ours = raft_entry_at(n->raft, entry->index);

                if (entry->index <= m->commit || (ours && ours->term == entry->term))
                        continue;
                if (!attests_entry(n, m, entry)) {
                        node_note(n, NODE_NOTE_EXPIRY_REFUSED)->member = m->from;
                        return i;
                }
        }
        return m->n_entries;
}

static void forget(struct node_inquiry *q)
{
        for (size_t i = 0; i < q->n; i++)
                free(q->expiries[i].name);
        memset(q->agreed, 0, sizeof(q->agreed));
        memset(q->proposed, 0, sizeof(q->proposed));
        q->answered = 0;
        q->n = 0;
        q->open = false;
}

void node_expiry_done(struct node *n)
{
        forget(&n->inquiry);
}

static void put_inquiry(const struct node_inquiry *q, struct buffer *b)
{
        buffer_put_u64(b, q->number);
        buffer_put_u32(b, (uint32_t)q->n);
        for (size_t i = 0; i < q->n; i++) {
                buffer_put_u8(b, (uint8_t)q->expiries[i].kind);
                buffer_put_string(b, q->expiries[i].name);
                buffer_put_u64(b, q->expiries[i].epoch);
                buffer_put_u64(b, q->expiries[i].renewed);
        }
}

/* Proposes what a quorum agrees on, the leader's own notes among it. */
static void propose_agreed(struct node *n)
{
        struct node_inquiry *q = &n->inquiry;
        struct store_expiry agreed[NODE_ATTEST_MAX];
        struct store_command c = { .type = STORE_EXPIRE, .expiries = agreed };

        for (size_t i = 0; i < q->n; i++) {
                if (q->proposed[i] || q->agreed[i] < node_quorum(n))
                        continue;
                q->proposed[i] = true;
                agreed[c.n++] = q->expiries[i];
        }
        if (c.n == 0)
                return;
        c.origin = (struct store_origin){ n->config.self, n->config.incarnation, ++n->sequence };
        node_propose(n, &c);
}

static void ask(struct node *n)
{
        struct store_expiry due[NODE_ATTEST_MAX];
        struct node_inquiry *q = &n->inquiry;
        const struct raft_members *members = raft_members(n->raft);
        size_t n_due = store_leases_due(n->store, n->now, due, NODE_ATTEST_MAX);

        forget(q);
        q->number++;
        q->again = instant_after(n->now, n->config.heartbeat);
        if (n_due == 0)
                return;
        q->open = true;
        q->n = n_due;
        for (size_t i = 0; i < n_due; i++) {
                q->expiries[i] = due[i];
                q->expiries[i].name = must_copy(due[i].name, strlen(due[i].name));
                q->agreed[i] = raft_is_voter(members, n->config.self);
        }
        for (unsigned i = 0; i < members->n_voters; i++) {
                if (members->voters[i] == n->config.self)
                        continue;
                put_inquiry(q, node_send(n, members->voters[i], NODE_MESSAGE_ATTEST));
                node_send_end(n);
        }
        propose_agreed(n);
}

void node_expiry_look(struct node *n)
{
        if (!raft_is_ready(n->raft) || !n->current ||
            !instant_reached(node_expiry_deadline(n), n->now))
                return;
        ask(n);
}

struct instant node_expiry_deadline(const struct node *n)
{
        if (!raft_is_ready(n->raft) || !n->current)
                return INSTANT_FOREVER;
        return instant_later(store_next_due(n->store, INSTANT_NEVER), n->inquiry.again);
}

/*
 * Answers for each lease whether it is over here, too, and when the first that is not will be, as
 * a length, because clocks of two machines have nothing in common but their rate.
 */
void node_expiry_asked(struct node *n, node_id from, struct reader *r)
{
        uint64_t number = reader_get_u64(r), agreed = 0;
        uint32_t count = reader_get_u32(r);
        usec_t wait = 0;
        struct buffer *b;

        if (count > NODE_ATTEST_MAX) {
                r->failed = true;
                return;
        }
        for (uint32_t i = 0; i < count && !r->failed; i++) {
                struct store_expiry e = { .kind = reader_get_u8(r) };
                char name[STORE_KEY_BYTES_MAX + 1];
                const struct store_lease *l;

                reader_get_string(r, name, sizeof(name));
                e.name = name;
                e.epoch = reader_get_u64(r);
                e.renewed = reader_get_u64(r);
                if (e.kind > STORE_LEASE_KEY)
                        r->failed = true;
                if (r->failed)
                        return;
                if (node_expiry_attests(n, &e)) {
                        agreed |= (uint64_t)1 << i;
                        continue;
                }
                l = e.kind == STORE_LEASE_MASTER ? store_lease(n->store, name) : NULL;
                if (l && l->renewed == e.renewed) {
                        usec_t left = instant_until(instant_after(l->noted, l->ttl), n->now);

                        wait = wait == 0 || left < wait ? left : wait;
                }
        }
        if (r->failed)
                return;
        b = node_send(n, from, NODE_MESSAGE_ATTESTED);
        buffer_put_u64(b, number);
        buffer_put_u64(b, agreed);
        buffer_put_u64(b, wait);
        node_send_end(n);
}

void node_expiry_answered(struct node *n, node_id from, struct reader *r)
{
        struct node_inquiry *q = &n->inquiry;
        uint64_t number = reader_get_u64(r), agreed = reader_get_u64(r);
        usec_t wait = reader_get_u64(r);

        if (r->failed || !q->open || number != q->number || !raft_is_ready(n->raft) ||
            !raft_is_voter(raft_members(n->raft), from) || (q->answered & (1u << from)))
                return;
        q->answered = (uint16_t)(q->answered | 1u << from);
        for (size_t i = 0; i < q->n; i++) {
                if (agreed & (uint64_t)1 << i)
                        q->agreed[i]++;
        }
        if (wait > 0)
                q->again = instant_earlier(q->again, instant_after(n->now, wait));
        propose_agreed(n);
}
