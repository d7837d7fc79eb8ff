/*
 * Changes of the member list. Whoever is asked passes the change to the leader, which puts it into
 * the log, if Raft's rules let it, and says at which index; the asker answers once it has applied
 * that. The leader by itself makes learners voters when they have caught up, and notes whose disk
 * is whose.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "election/node-internal.h"

enum {
        REASON_SIZE = 200,
        ASK_AFTER_ELECTIONS = 4, /* time-outs between two questions where all are */
};

/* What the leader says to a change. */
enum verdict {
        VERDICT_APPENDED, /* as the entry with an index */
        VERDICT_AGAIN, /* not now: ask again */
        VERDICT_REFUSED, /* and why */
        VERDICTS,
};

struct decision {
        enum verdict verdict;
        uint64_t index;
        char reason[REASON_SIZE];
};

__attribute__((format(printf, 1, 2))) static struct decision refuse(const char *format, ...)
{
        struct decision d = { .verdict = VERDICT_REFUSED };
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(d.reason, sizeof(d.reason), format, ap);
        va_end(ap);
        return d;
}

/* The list itself. */

/* Another machine has this id next: what was heard of the one that had it says nothing of it. */
static void forget(struct node *n, node_id id)
{
        for (size_t k = 0; k < n->config.n_services; k++)
                n->services[k].view.reports[id] = (struct failover_report){ 0 };
        n->seen[id] = 0;
}

/* Who has left keeps its name in what is said of it, until another one has its id. */
static void take_names(struct node *n)
{
        for (node_id id = 1; id <= MEMBERS_MAX; id++) {
                const struct member *m = members_by_id(&n->members, id);

                if (m ? n->names[id][0] && strcmp(n->names[id], m->name) != 0 : n->members.n > 0)
                        forget(n, id);
                if (m)
                        memcpy(n->names[id], m->name, NAME_SIZE);
        }
}

/* The list that Raft has; what is no list is none of ours, and the one before is kept. */
static void take_list(struct node *n)
{
        const struct raft_membership *m = raft_membership(n->raft);

        if (m->index == 0 && n->config.members.n > 0)
                n->members = n->config.members;
        else if (m->n_context == 0)
                n->members = (struct members){ 0 };
        else
                (void)members_decode(m->context, m->n_context, &n->members);
        n->members.index = m->index;
        take_names(n);
}

void node_members_start(struct node *n)
{
        take_list(n);
}

void node_members_changed(struct node *n)
{
        take_list(n);
        n->inquiry.open = false; /* its answers were counted by another list */
        node_snapshot_members_changed(n);
        node_service_members_changed(n);
        node_add(n, NODE_MEMBERS);
        if (n->members.index != 0)
                node_note(n, NODE_NOTE_MEMBERS)->index = n->members.index;
}

const struct members *node_members(const struct node *n)
{
        return &n->members;
}

bool node_is_member(const struct node *n, node_id id)
{
        return members_by_id(&n->members, id) != NULL;
}

static void send_list(struct node *n, node_id to, uint64_t index)
{
        struct buffer *b = node_send(n, to, NODE_MESSAGE_MEMBERS);

        buffer_put_u64(b, index);
        members_encode(&n->members, b);
        node_send_end(n);
}

/*
 * A member that was away while the list changed knows the addresses of those who may have left, and
 * the leader is perhaps none of them. Who is still there tells it where the others are; what counts
 * is only what the log says. A list that is not committed may be undone, and would be taken for the
 * newest one for ever.
 */
void node_members_tell(struct node *n, node_id to)
{
        if (n->members.index != 0 && n->members.index <= n->index_applied)
                send_list(n, to, n->members.index);
}

void node_members_told(struct node *n, node_id from, struct reader *r)
{
        struct members told;
        uint64_t index = reader_get_u64(r);

        if (r->failed || !members_decode(r->bytes, r->n, &told)) {
                r->failed = true;
                return;
        }
        if (index < n->members.index)
                node_members_tell(n, from); /* it asks, see ask_where_all_are() */
        if (index <= node_contacts(n)->index)
                return;
        n->told = told;
        n->told.index = index;
        node_add(n, NODE_MEMBERS);
}

const struct members *node_contacts(const struct node *n)
{
        return n->told.index > n->members.index ? &n->told : &n->members;
}

void node_members_seen(struct node *n, node_id id, uint64_t incarnation)
{
        if (id < 1 || id > MEMBERS_MAX)
                return;
        node_members_tell(n, id);
        node_snapshot_seen(n, id);
        if (node_is_member(n, id) || n->members.n == 0)
                n->seen[id] = incarnation;
}

/* Encoding. */

static void put_change(struct buffer *b, const struct node_change *c)
{
        struct members one = { 0 };
        struct member m = { .id = 1, .kind = c->kind, .peer = c->peer, .api = c->api };

        memcpy(m.name, c->name, sizeof(m.name));
        (void)members_add(&one, &m);
        buffer_put_u8(b, (uint8_t)c->type);
        members_encode(&one, b);
}

static bool get_change(const uint8_t *bytes, size_t size, struct node_change *ret)
{
        struct members one;

        if (size < 1 || bytes[0] >= NODE_CHANGES || !members_decode(bytes + 1, size - 1, &one) ||
            one.n != 1)
                return false;
        *ret = (struct node_change){ .type = bytes[0],
                                     .kind = one.list[0].kind,
                                     .peer = one.list[0].peer,
                                     .api = one.list[0].api };
        memcpy(ret->name, one.list[0].name, sizeof(ret->name));
        return true;
}

/* The leader decides. */

static struct decision propose_list(struct node *n, const struct members *next)
{
        struct buffer b = { 0 };
        struct raft_membership m = { .members = members_for_raft(next) };

        members_encode(next, &b);
        m.context = b.bytes;
        m.n_context = b.n;
        n->change_index = 0;
        n->change_refusal = RAFT_NOT_LEADER;
        node_feed_raft(n, &(struct raft_event){
                                  .type = RAFT_EVENT_CHANGE, .now = n->now, .membership = &m });
        buffer_done(&b);
        if (n->change_index != 0)
                return (struct decision){ VERDICT_APPENDED, n->change_index, "" };
        switch (n->change_refusal) {
        case RAFT_NOT_CAUGHT_UP:
                return refuse("it has not caught up with the others yet");
        case RAFT_NO_QUORUM:
                return refuse("the voters that can be reached would be no quorum then");
        case RAFT_BAD_CHANGE:
                return refuse("one voter at a time may come or go, and one must be left");
        default:
                return (struct decision){ .verdict = VERDICT_AGAIN };
        }
}

static bool same_endpoint(const struct endpoint *a, const struct endpoint *b)
{
        return a->port == b->port && address_equal(&a->address, &b->address);
}

static const struct member *member_at(const struct members *m, const struct endpoint *peer)
{
        for (unsigned i = 0; i < m->n; i++) {
                if (same_endpoint(&m->list[i].peer, peer))
                        return &m->list[i];
        }
        return NULL;
}

/* A lease in the name of @id: who gets this id now would take it for its own. */
static const struct store_lease *lease_of(const struct node *n, node_id id)
{
        const struct store_lease *l;

        for (size_t i = 0; (l = store_lease_at(n->store, i)) != NULL; i++) {
                if (l->state != STORE_LEASE_FREE && l->holder == id)
                        return l;
        }
        return NULL;
}

static struct decision add(struct node *n, const struct node_change *c, bool is_repeated)
{
        const struct member *there = members_by_name(&n->members, c->name);
        const struct member *near = member_at(&n->members, &c->peer);
        struct members next = n->members;
        struct member m = { .kind = c->kind,
                            .is_learning = c->kind != MEMBER_OBSERVER,
                            .peer = c->peer,
                            .api = c->api };

        /* Asked twice, because the answer to the first time was lost. */
        if (there && there == near && there->kind == c->kind &&
            (is_repeated || there->incarnation == 0) && n->members.index != 0)
                return (struct decision){ VERDICT_APPENDED, n->members.index, "" };
        if (there)
                return refuse("there is a member \"%s\" already; remove it first", c->name);
        if (near)
                return refuse("member \"%s\" has this address and port already", near->name);
        m.id = members_free_id(&next);
        if (m.id == NODE_NOBODY)
                return refuse("the cluster has %d members, which is the most", MEMBERS_MAX);
        if (lease_of(n, m.id))
                return (struct decision){ .verdict = VERDICT_AGAIN };
        memcpy(m.name, c->name, sizeof(m.name));
        (void)members_add(&next, &m); /* there is a free id, so there is room */
        next.id_last = m.id;
        return propose_list(n, &next);
}

static struct decision hand_over_first(struct node *n)
{
        node_feed_raft(n, &(struct raft_event){ .type = RAFT_EVENT_TRANSFER,
                                                .now = n->now,
                                                .target = NODE_NOBODY });
        return (struct decision){ .verdict = VERDICT_AGAIN };
}

static struct decision remove_member(struct node *n, const struct node_change *c, bool is_repeated)
{
        const struct member *m = members_by_name(&n->members, c->name);
        struct members next = n->members;
        const struct store_lease *l;

        if (!m && is_repeated)
                return (struct decision){ VERDICT_APPENDED, n->members.index, "" };
        if (!m)
                return refuse("there is no member \"%s\"", c->name);
        l = lease_of(n, m->id);
        if (l)
                return refuse("\"%s\" is master of %s; switch over first", c->name, l->service);
        if (member_votes(m) && raft_members(n->raft)->n_voters == 1)
                return refuse("\"%s\" is the last one that votes", c->name);
        members_remove(&next, m->id);
        if (m->id == n->config.self)
                return hand_over_first(n);
        return propose_list(n, &next);
}

static struct member *in_list(struct members *list, const char *name)
{
        for (unsigned i = 0; i < list->n; i++) {
                if (strcmp(list->list[i].name, name) == 0)
                        return &list->list[i];
        }
        return NULL;
}

/* An observer begins to learn; a learner becomes a voter, if it has caught up. */
static struct decision promote(struct node *n, const struct node_change *c, bool is_repeated)
{
        struct members next = n->members;
        struct member *m = in_list(&next, c->name);

        if (!m)
                return refuse("there is no member \"%s\"", c->name);
        if (member_votes(m) || (m->is_learning && is_repeated))
                return (struct decision){ VERDICT_APPENDED, n->members.index, "" };
        m->is_learning = m->kind == MEMBER_OBSERVER;
        if (m->kind == MEMBER_OBSERVER)
                m->kind = MEMBER_FULL;
        return propose_list(n, &next);
}

static struct decision update(struct node *n, const struct node_change *c)
{
        struct members next = n->members;
        struct member *m = in_list(&next, c->name);
        const struct member *near = member_at(&n->members, &c->peer);

        if (!m)
                return refuse("there is no member \"%s\"", c->name);
        if (near && near->id != m->id)
                return refuse("member \"%s\" has this address and port already", near->name);
        m->peer = c->peer;
        m->api = c->api;
        return propose_list(n, &next);
}

static struct decision decide(struct node *n, const struct node_change *c, bool is_repeated)
{
        if (!raft_is_ready(n->raft) || n->members.index > n->index_applied)
                return (struct decision){ .verdict = VERDICT_AGAIN };
        switch (c->type) {
        case NODE_CHANGE_ADD:
                return add(n, c, is_repeated);
        case NODE_CHANGE_REMOVE:
                return remove_member(n, c, is_repeated);
        case NODE_CHANGE_PROMOTE:
                return promote(n, c, is_repeated);
        case NODE_CHANGE_UPDATE:
                return update(n, c);
        case NODE_CHANGES:
                break;
        }
        return refuse("there is no such change");
}

/* Asking and answering. */

void node_members_ask(struct node *n, struct node_request *q)
{
        node_id leader = raft_leader(n->raft);
        struct node_change c;
        struct buffer *b;

        if (!node_is_leader(n)) {
                b = node_send(n, leader, NODE_MESSAGE_CHANGE);
                buffer_put_u64(b, q->sequence);
                buffer_put_u8(b, q->is_repeated);
                buffer_put_blob(b, q->bytes, q->n);
                node_send_end(n);
        } else if (get_change(q->bytes, q->n, &c)) {
                struct decision d = decide(n, &c, q->is_repeated);

                node_request_decided(n, q->sequence, d.verdict == VERDICT_APPENDED,
                                     d.verdict == VERDICT_AGAIN, d.index, d.reason);
        }
}

void node_members_asked(struct node *n, node_id from, struct reader *r)
{
        uint64_t sequence = reader_get_u64(r);
        bool is_repeated = reader_get_u8(r);
        size_t size;
        const uint8_t *bytes = reader_get_blob(r, &size);
        struct decision d = { .verdict = VERDICT_AGAIN };
        struct node_change c;
        struct buffer *b;

        if (r->failed || !get_change(bytes, size, &c)) {
                r->failed = true;
                return;
        }
        if (node_is_leader(n))
                d = decide(n, &c, is_repeated);
        b = node_send(n, from, NODE_MESSAGE_CHANGE_DECIDED);
        buffer_put_u64(b, sequence);
        buffer_put_u64(b, raft_term(n->raft));
        buffer_put_u8(b, (uint8_t)d.verdict);
        buffer_put_u64(b, d.index);
        buffer_put_string(b, d.reason);
        node_send_end(n);
}

/* An index is only worth something while the leader that named it leads: its entry may go with it. */
void node_members_answered(struct node *n, node_id from, struct reader *r)
{
        uint64_t sequence = reader_get_u64(r), term = reader_get_u64(r);
        uint8_t verdict = reader_get_u8(r);
        uint64_t index = reader_get_u64(r);
        char reason[REASON_SIZE];

        reader_get_string(r, reason, sizeof(reason));
        if (verdict >= VERDICTS)
                r->failed = true;
        if (!r->failed && from == raft_leader(n->raft) && term == raft_term(n->raft))
                node_request_decided(n, sequence, verdict == VERDICT_APPENDED,
                                     verdict == VERDICT_AGAIN, index, reason);
}

void node_members_change(struct node *n, uint64_t request, const struct node_change *c)
{
        struct buffer b = { 0 };

        if (!name_is_valid(c->name) || c->type >= NODE_CHANGES) {
                node_answer(n, request, NODE_REFUSED, NULL, "the name of the member is not valid");
                return;
        }
        put_change(&b, c);
        node_request_change(n, request, b.bytes, b.n);
}

/* By itself. */

/* The list with what is known by now; false if nothing is new. */
static bool improve(const struct node *n, struct members *next)
{
        bool improved = false;

        for (unsigned i = 0; i < next->n; i++) {
                struct member *m = &next->list[i];
                uint64_t seen = m->id == n->config.self ? n->config.disk_incarnation
                                                        : n->seen[m->id];

                if (m->incarnation == 0 && seen != 0) {
                        m->incarnation = seen;
                        improved = true;
                }
        }
        return improved;
}

/* One learner at a time. */
static bool teach(const struct node *n, struct members *next)
{
        for (unsigned i = 0; i < next->n; i++) {
                struct member *m = &next->list[i];

                if (m->is_learning && m->incarnation != 0 &&
                    raft_peer_view(n->raft, m->id).caught_up) {
                        m->is_learning = false;
                        return true;
                }
        }
        return false;
}

/*
 * Who does not vote never looks for a leader, but may hold a list in which the one of now is missing. It
 * sends that as if it were of no age to all, and who has one that is committed answers with it.
 */
static bool misses_leader(const struct node *n)
{
        return raft_leader(n->raft) == NODE_NOBODY && n->members.index != 0 &&
               !raft_is_voter(raft_members(n->raft), n->config.self);
}

static void ask_where_all_are(struct node *n)
{
        const struct members *list = node_contacts(n);

        if (!instant_reached(n->members_look_at, n->now))
                return;
        n->members_look_at = instant_after(n->now,
                                           ASK_AFTER_ELECTIONS * n->config.election_timeout);
        for (unsigned i = 0; i < list->n; i++)
                if (list->list[i].id != n->config.self)
                        send_list(n, list->list[i].id, 0);
}

void node_members_look(struct node *n)
{
        struct members next = n->members;

        if (misses_leader(n)) {
                ask_where_all_are(n);
                return;
        }
        if (!raft_is_ready(n->raft) || n->members.n == 0 || n->members.index > n->index_applied ||
            !instant_reached(n->members_look_at, n->now))
                return;
        n->members_look_at = instant_after(n->now, n->config.heartbeat);
        if (improve(n, &next) || teach(n, &next))
                (void)propose_list(n, &next); /* refused: the next look finds the same */
}

struct instant node_members_deadline(const struct node *n)
{
        if (misses_leader(n))
                return n->members_look_at;
        if (!raft_is_ready(n->raft) || n->members.index > n->index_applied)
                return INSTANT_FOREVER;
        for (unsigned i = 0; i < n->members.n; i++) {
                const struct member *m = &n->members.list[i];

                if (m->is_learning || (m->incarnation == 0 && n->seen[m->id] != 0))
                        return n->members_look_at;
        }
        return INSTANT_FOREVER;
}
