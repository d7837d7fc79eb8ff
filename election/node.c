/*
 * One member as a whole: events go to the core that they concern, what was committed is applied,
 * and what the cores want done becomes effects. The order of these is the point of this file.
 */
#include "election/node.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "election/node-internal.h"

enum {
        APPLIED_AT_ONCE = 2048, /* entries that one step applies, */
        APPLIED_BYTES = 8 << 20, /* and hardly more bytes than that */
};

#define HAND_OVER_AGAIN_AFTER (5 * USEC_PER_SEC) /* if the disk is full and nobody took over */

struct node_effect *node_add(struct node *n, enum node_effect_type type)
{
        struct node_effect *e;

        MUST_GROW(n->offsets, n->n_effects, n->n_offsets_max);
        MUST_GROW(n->effects, n->n_effects, n->n_effects_max);
        n->offsets[n->n_effects] = SIZE_MAX;
        e = &n->effects[n->n_effects++];
        *e = (struct node_effect){ .type = type };
        return e;
}

struct node_note *node_note(struct node *n, enum node_note_type type)
{
        struct node_effect *e = node_add(n, NODE_NOTE);

        e->note.type = type;
        e->note.service = n->config.n_services;
        e->note.term = raft_term(n->raft);
        return &e->note;
}

struct buffer *node_send(struct node *n, node_id to, uint8_t type)
{
        node_add(n, NODE_SEND)->to = to;
        n->offsets[n->n_effects - 1] = n->out.n;
        buffer_put_u8(&n->out, type);
        return &n->out;
}

void node_send_end(struct node *n)
{
        n->effects[n->n_effects - 1].n = n->out.n - n->offsets[n->n_effects - 1];
}

bool node_is_leader(const struct node *n)
{
        return raft_role(n->raft) == RAFT_LEADER;
}

unsigned node_quorum(const struct node *n)
{
        return raft_members(n->raft)->n_voters / 2 + 1;
}

const char *node_name(const struct node *n, node_id id)
{
        return id <= MEMBERS_MAX && n->names[id][0] ? n->names[id] : "nobody";
}

size_t node_service_find(const struct node *n, const char *name)
{
        size_t i = 0;

        while (i < n->config.n_services && strcmp(n->services[i].config.name, name) != 0)
                i++;
        return i;
}

void node_propose_bytes(struct node *n, const uint8_t *bytes, size_t size, node_id origin,
                        uint64_t sequence)
{
        struct node_proposal *p;

        MUST_GROW(n->proposals, n->n_proposals, n->n_proposals_max);
        p = &n->proposals[n->n_proposals++];
        *p = (struct node_proposal){ n->proposals_bytes.n, size, origin, sequence };
        buffer_put(&n->proposals_bytes, bytes, size);
}

void node_propose(struct node *n, const struct store_command *c)
{
        struct node_proposal *p;

        MUST_GROW(n->proposals, n->n_proposals, n->n_proposals_max);
        p = &n->proposals[n->n_proposals++];
        *p = (struct node_proposal){ .offset = n->proposals_bytes.n,
                                     .origin = c->origin.node,
                                     .sequence = c->origin.sequence };
        store_command_encode(c, &n->proposals_bytes);
        p->n = n->proposals_bytes.n - p->offset;
}

void node_refuse_proposal(struct node *n, node_id origin, uint64_t sequence, bool is_full)
{
        struct buffer *b;

        if (origin == n->config.self) {
                node_request_refused(n, sequence, is_full);
                return;
        }
        b = node_send(n, origin, NODE_MESSAGE_PROPOSAL_REFUSED);
        buffer_put_u64(b, sequence);
        buffer_put_u8(b, is_full);
        node_send_end(n);
}

bool node_has_room_for(const struct node *n, const uint8_t *bytes, size_t size)
{
        return !n->is_full || !node_is_leader(n) || store_command_peek(bytes, size) != STORE_KEY;
}

/*
 * A member that does not lead passes its own proposals on, many in one message, and refuses what
 * others passed to it.
 */
static void forward_proposals(struct node *n)
{
        node_id leader = raft_leader(n->raft);
        struct buffer *b = NULL;
        size_t n_before = 0;

        for (size_t i = 0; i < n->n_proposals; i++) {
                const struct node_proposal *p = &n->proposals[i];

                if (p->origin != n->config.self || leader == NODE_NOBODY ||
                    leader == n->config.self) {
                        if (b)
                                node_send_end(n);
                        b = NULL;
                        node_refuse_proposal(n, p->origin, p->sequence, false);
                        continue;
                }
                if (b && b->n - n_before + p->n > RAFT_APPEND_BYTES_MAX) {
                        node_send_end(n);
                        b = NULL;
                }
                if (!b) {
                        b = node_send(n, leader, NODE_MESSAGE_PROPOSE);
                        n_before = b->n;
                }
                buffer_put_u64(b, p->sequence);
                buffer_put_blob(b, n->proposals_bytes.bytes + p->offset, p->n);
        }
        if (b)
                node_send_end(n);
}

/* Gives Raft some proposals, from @first on, and returns where the next ones begin. */
static size_t append_chunk(struct node *n, size_t first)
{
        struct raft_event event = { .type = RAFT_EVENT_PROPOSE, .now = n->now };
        size_t i = first, n_bytes = 0;

        for (; i < n->n_proposals && i - first < RAFT_APPEND_ENTRIES_MAX; i++) {
                const struct node_proposal *p = &n->proposals[i];

                if (i > first && n_bytes + p->n > RAFT_APPEND_BYTES_MAX)
                        break;
                n_bytes += p->n;
                n->commands[i - first] = (struct raft_entry){ .type = RAFT_ENTRY_COMMAND,
                                                              .bytes = n->proposals_bytes.bytes +
                                                                       p->offset,
                                                              .n = p->n };
        }
        n->chunk_first = first;
        n->chunk_end = i;
        event.commands = n->commands;
        event.n_commands = i - first;
        node_feed_raft(n, &event);
        return i;
}

/* All that was proposed goes out as one batch. */
static void flush_proposals(struct node *n)
{
        if (n->n_proposals == 0)
                return;
        if (node_is_leader(n))
                for (size_t i = 0; i < n->n_proposals;)
                        i = append_chunk(n, i);
        else
                forward_proposals(n);
        n->n_proposals = 0;
        buffer_clear(&n->proposals_bytes);
}

void node_woken(struct node *n, const uint64_t *watchers, size_t n_watchers)
{
        struct node_effect *e = node_add(n, NODE_WOKEN);

        e->watchers = must_copy(watchers, n_watchers * sizeof(*watchers));
        e->n_watchers = n_watchers;
}

static void apply_entry(struct node *n, const struct raft_entry *entry)
{
        struct store_result result;

        n->index_applied = entry->index;
        n->term_applied = entry->term;
        if (entry->type != RAFT_ENTRY_COMMAND)
                return;
        store_apply(n->store, entry->index, entry->bytes, entry->n,
                    node_receipt_of(n, entry->index, entry->term), &result);
        if (!result.valid)
                return;
        if (result.n_woken > 0)
                node_woken(n, result.woken, result.n_woken);
        if (result.type == STORE_KEY)
                node_request_applied(n, &result);
        else
                node_lease_applied(n, &result);
}

static bool is_behind(const struct node *n)
{
        return n->index_applied < raft_index_committed(n->raft);
}

/*
 * After a start all that the log holds is found to be committed at once: it is applied bit by bit,
 * so that members and clients need not wait for the whole of it.
 */
static void apply_some(struct node *n)
{
        size_t n_bytes = 0;

        for (unsigned i = 0; is_behind(n) && i < APPLIED_AT_ONCE && n_bytes < APPLIED_BYTES; i++) {
                const struct raft_entry *entry = raft_entry_at(n->raft, n->index_applied + 1);

                assert(entry);
                n_bytes += entry->n;
                apply_entry(n, entry);
        }
}

static void note_raft(struct node *n, const struct raft_effect *e)
{
        struct node_note *note = node_note(n, NODE_NOTE_RAFT);

        note->raft = e->note;
        note->member = e->peer;
        note->index = e->first;
        note->role = raft_role(n->raft);
}

static void role_changed(struct node *n)
{
        struct node_note *note = node_note(n, NODE_NOTE_ROLE);

        note->role = raft_role(n->raft);
        note->member = raft_leader(n->raft);
        n->inquiry.open = false;
        node_request_leader_changed(n);
        for (size_t i = 0; i < n->config.n_services; i++)
                n->services[i].holder.renew_at = n->now; /* not to lose a lease by an election */
}

/* What a change of the log takes there, whoever writes it: whole blocks. */
static uint64_t bytes_on_disk(const struct node *n, const struct raft_persist *p)
{
        uint64_t bytes = 0;

        for (uint64_t i = p->first; p->first != 0 && i <= p->last; i++)
                bytes += raft_entry_at(n->raft, i)->n + NODE_ENTRY_COST;
        return (bytes / NODE_BLOCK_BYTES + 1) * NODE_BLOCK_BYTES;
}

static void carry_out(struct node *n, const struct raft_effect *e)
{
        switch (e->type) {
        case RAFT_PERSIST:
                node_add(n, NODE_PERSIST)->persist = e->persist;
                n->snapshots.bytes_since += bytes_on_disk(n, &e->persist);
                break;
        case RAFT_SEND:
                raft_message_encode(&e->message, node_send(n, e->message.to, NODE_MESSAGE_RAFT));
                node_send_end(n);
                break;
        case RAFT_APPENDED:
                for (uint64_t i = e->first; i <= e->last; i++)
                        node_receipt_add(n, i, raft_entry_at(n->raft, i)->term);
                break;
        case RAFT_COMMITTED:
                break; /* applied when the list is through: what it names must not change before */
        case RAFT_PROPOSED:
                n->change_index = e->first;
                break;
        case RAFT_MEMBERS_CHANGED:
                node_members_changed(n);
                break;
        case RAFT_SNAPSHOT_WANTED:
                node_snapshot_wanted(n, e->peer);
                break;
        case RAFT_INSTALLED:
                node_snapshot_installed(n, e->index);
                break;
        case RAFT_REFUSED:
                if (e->refused == RAFT_EVENT_READ)
                        node_request_read_ready(n, e->context, false, 0);
                if (e->refused == RAFT_EVENT_CHANGE)
                        n->change_refusal = e->refusal;
                for (size_t i = n->chunk_first;
                     e->refused == RAFT_EVENT_PROPOSE && i < n->chunk_end; i++)
                        node_refuse_proposal(n, n->proposals[i].origin, n->proposals[i].sequence,
                                             false);
                break;
        case RAFT_READ_READY:
                node_request_read_ready(n, e->context, true, e->index);
                break;
        case RAFT_ROLE_CHANGED:
                role_changed(n);
                break;
        case RAFT_NOTE:
                note_raft(n, e);
                break;
        }
}

void node_feed_raft(struct node *n, const struct raft_event *event)
{
        struct raft_effects effects;

        raft_step(n->raft, event, &effects);
        for (size_t i = 0; i < effects.n; i++)
                carry_out(n, &effects.list[i]);
        if (raft_index_committed(n->raft) - n->index_applied <= APPLIED_AT_ONCE)
                apply_some(n);
}

static void look_at_raft(struct node *n)
{
        if (instant_reached(raft_deadline(n->raft), n->now))
                node_feed_raft(n,
                               &(struct raft_event){ .type = RAFT_EVENT_TIMEOUT, .now = n->now });
}

/*
 * Nobody knows whose disk has room. Leadership goes round, not back and forth between two that have
 * none; and the next time in other steps, because one that it came by may be gone.
 */
static node_id next_to_lead(const struct node *n)
{
        const struct raft_members *members = &raft_membership(n->raft)->members;
        usec_t attempt = n->now.usec / HAND_OVER_AGAIN_AFTER;
        unsigned self = 0;

        if (members->n_voters < 2)
                return NODE_NOBODY;
        while (self < members->n_voters && members->voters[self] != n->config.self)
                self++;
        return members->voters[(self + 1 + attempt % (members->n_voters - 1)) % members->n_voters];
}

/* Whoever cannot write lets somebody else lead. */
static void look_at_space(struct node *n)
{
        if (!n->is_full || !raft_is_ready(n->raft) || !instant_reached(n->hand_over_at, n->now))
                return;
        n->hand_over_at = instant_after(n->now, HAND_OVER_AGAIN_AFTER);
        node_feed_raft(n, &(struct raft_event){ .type = RAFT_EVENT_TRANSFER,
                                                .now = n->now,
                                                .target = next_to_lead(n) });
}

/*
 * After a start the log is applied from the beginning, through leases that ended long ago. Until a
 * read of now was answered and applied, what the store says about masters is history.
 */
static void look_at_catch_up(struct node *n)
{
        if (n->current || raft_leader(n->raft) == NODE_NOBODY ||
            !instant_reached(n->catch_up_at, n->now))
                return;
        n->catch_up_at = instant_after(n->now, n->config.election_timeout);
        node_request_read(n, 0, NODE_REQUEST_CATCH_UP);
}

static void take_event(struct node *n, const struct node_event *event)
{
        switch (event->type) {
        case NODE_TIMEOUT:
                break;
        case NODE_RECEIVED:
                node_received(n, event->from, event->bytes, event->n);
                break;
        case NODE_PERSISTED:
                node_feed_raft(n, &(struct raft_event){ .type = RAFT_EVENT_PERSISTED,
                                                        .now = n->now,
                                                        .generation = event->generation });
                break;
        case NODE_WRITE:
                node_request_write(n, event->request, event->key);
                break;
        case NODE_READ:
                node_request_read(n, event->request, NODE_REQUEST_READ);
                break;
        case NODE_SUSPECT:
                node_feed_raft(n, &(struct raft_event){ .type = RAFT_EVENT_SUSPECT,
                                                        .now = n->now,
                                                        .target = event->from });
                break;
        case NODE_FORGET:
                node_request_forget(n, event->request);
                break;
        case NODE_ORDER:
                node_service_order(n, event);
                break;
        case NODE_SPACE:
                n->is_full = !event->ok;
                n->hand_over_at = n->now;
                break;
        case NODE_CHANGE:
                node_members_change(n, event->request, event->change);
                break;
        case NODE_SEEN:
                node_members_seen(n, event->from, event->incarnation);
                break;
        case NODE_SNAPSHOT_ORDERED:
                node_snapshot_order(n);
                break;
        case NODE_SNAPSHOT_TAKEN:
                node_snapshot_taken(n, event);
                break;
        case NODE_SNAPSHOT_PART_READ:
                node_snapshot_read(n, event);
                break;
        case NODE_SNAPSHOT_PART_WRITTEN:
                node_snapshot_written(n, event);
                break;
        case NODE_HANDS_STATUS:
        case NODE_HANDS_ACK:
        case NODE_HANDS_DONE:
        case NODE_HANDS_CLOSED:
        case NODE_HANDS_ADDRESSES:
                node_service_hands(n, event);
                break;
        }
}

static void begin(struct node *n, const struct node_event *event)
{
        for (size_t i = 0; i < n->n_effects; i++) {
                if (n->effects[i].type == NODE_WOKEN)
                        free((void *)n->effects[i].watchers);
        }
        n->n_effects = 0;
        node_request_clear_results(n);
        buffer_clear(&n->out);
        n->now = event->now;
        if (event->wall)
                n->wall = event->wall;
}

/* The buffers have stopped moving: offsets become pointers. */
static void finish(struct node *n, struct node_effects *ret)
{
        for (size_t i = 0; i < n->n_effects; i++) {
                struct node_effect *e = &n->effects[i];

                if (n->offsets[i] == SIZE_MAX)
                        continue;
                if (e->type == NODE_SEND || e->type == NODE_SNAPSHOT_WRITE)
                        e->bytes = n->out.bytes + n->offsets[i];
                if (e->type == NODE_ANSWERED) {
                        struct node_result *r = &n->results[n->offsets[i]];

                        if (r->shown.event)
                                r->shown.event = &r->event;
                        e->result = &r->shown;
                }
        }
        *ret = (struct node_effects){ .list = n->effects, .n = n->n_effects };
}

/* Whether what could go out now waits for what comes next: one batch of many is cheaper than many. */
static bool hold_back(struct node *n, const struct node_event *event)
{
        bool some = n->n_proposals > 0 || n->fresh.first;
        bool much = n->n_proposals >= RAFT_APPEND_ENTRIES_MAX ||
                    n->proposals_bytes.n + n->fresh.n_bytes >= RAFT_APPEND_BYTES_MAX;

        if (!n->holds_back)
                n->held_since = n->now;
        n->holds_back = event->more && some && !much &&
                        !instant_reached(instant_after(n->held_since, NODE_HOLD_USEC), n->now);
        return event->more && (n->holds_back || !some);
}

/*
 * A lone voter commits what it proposes at once, which may lead to the next proposal; what is left
 * after some rounds is for the next step.
 */
static void send_out(struct node *n)
{
        node_request_flush(n);
        for (unsigned i = 0; n->n_proposals > 0 && i < NODE_ROUNDS_MAX; i++) {
                flush_proposals(n);
                node_service_look(n);
                node_lease_renew(n);
                node_expiry_look(n);
        }
}

void node_step(struct node *n, const struct node_event *event, struct node_effects *ret)
{
        begin(n, event);
        take_event(n, event);
        look_at_raft(n);
        if (!event->more)
                apply_some(n);
        if (raft_leader(n->raft) != NODE_NOBODY)
                n->leader_known = n->now;
        look_at_catch_up(n);
        look_at_space(n);
        node_service_look(n);
        node_lease_renew(n);
        node_expiry_look(n);
        node_members_look(n);
        node_request_look(n);
        if (!hold_back(n, event))
                send_out(n);
        node_snapshot_look(n);
        finish(n, ret);
}

struct instant node_deadline(const struct node *n)
{
        struct instant deadline = raft_deadline(n->raft);

        if (n->n_proposals > 0 || n->holds_back || is_behind(n))
                return n->now;
        if (!n->current && raft_leader(n->raft) != NODE_NOBODY)
                deadline = instant_earlier(deadline, n->catch_up_at);
        deadline = instant_earlier(deadline, node_lease_deadline(n));
        deadline = instant_earlier(deadline, node_expiry_deadline(n));
        deadline = instant_earlier(deadline, node_request_deadline(n));
        deadline = instant_earlier(deadline, node_members_deadline(n));
        deadline = instant_earlier(deadline, node_snapshot_deadline(n));
        return instant_earlier(deadline, node_service_deadline(n));
}

static void adopt(struct node *n, const struct node_adopted *adopted, size_t n_adopted)
{
        for (size_t i = 0; i < n_adopted; i++) {
                struct node_holder *h;

                assert(adopted[i].service < n->config.n_services);
                h = &n->services[adopted[i].service].holder;
                h->epoch = adopted[i].epoch;
                h->old_incarnation = adopted[i].incarnation;
                h->demote_at = adopted[i].demote_at;
                h->close_by = adopted[i].close_by;
                h->valid_until = adopted[i].close_by;
                h->renew_at = n->now;
        }
}

struct node *node_new(const struct node_config *config, const struct raft_durable *durable,
                      struct store *store, const struct node_adopted *adopted, size_t n_adopted,
                      struct instant now)
{
        struct node *n = must_alloc(1, sizeof(*n));
        struct buffer founding = { 0 };
        struct raft_config raft = { .self = config->self,
                                    .members = members_for_raft(&config->members),
                                    .heartbeat = config->heartbeat,
                                    .election_timeout = config->election_timeout,
                                    .seed = config->seed,
                                    .pre_vote = config->pre_vote };

        assert(config->n_services <= SERVICES_MAX);
        n->config = *config;
        n->config.services = NULL;
        n->now = n->started = n->catch_up_at = n->leader_known = now;
        n->index_recovered = durable->snapshot_index + durable->n_entries;
        n->index_applied = durable->snapshot_index;
        n->term_applied = durable->snapshot_term;
        n->snapshots.index = durable->snapshot_index;
        n->snapshots.term = durable->snapshot_term;
        n->snapshots.taken_at = now;
        for (size_t i = 0; i < durable->n_entries; i++)
                n->snapshots.bytes_since += durable->entries[i].n + NODE_ENTRY_COST;
        n->store_index_seen = UINT64_MAX;
        /* A late answer to the process before this one must fit none of our requests. */
        n->sequence = n->inquiry.number = n->read_batch = (config->incarnation & UINT32_MAX) << 20;
        n->services = must_alloc(config->n_services, sizeof(*n->services));
        for (size_t i = 0; i < config->n_services; i++)
                n->services[i].config = config->services[i];
        n->requests = must_alloc(NODE_REQUESTS_MAX, sizeof(*n->requests));
        n->receipts = must_alloc(NODE_NOTES_MAX, sizeof(*n->receipts));
        n->entries = must_alloc(RAFT_APPEND_ENTRIES_MAX, sizeof(*n->entries));
        n->commands = must_alloc(RAFT_APPEND_ENTRIES_MAX, sizeof(*n->commands));
        if (config->members.n > 0)
                members_encode(&config->members, &founding); /* for who joins by a snapshot */
        raft.context = founding.bytes;
        raft.n_context = founding.n;
        n->raft = raft_new(&raft, durable, now);
        buffer_done(&founding);
        n->store = store ? store : store_new();
        if (store)
                store_notes_reset(store, now); /* rule L6 */
        node_members_start(n);
        node_service_start(n);
        adopt(n, adopted, n_adopted);
        return n;
}

void node_free(struct node *n)
{
        if (!n)
                return;
        for (size_t i = 0; i < n->n_effects; i++) {
                if (n->effects[i].type == NODE_WOKEN)
                        free((void *)n->effects[i].watchers);
        }
        for (size_t i = 0; i < NODE_REQUESTS_MAX; i++)
                free(n->requests[i].bytes);
        node_keep_free(n);
        node_service_done(n);
        node_expiry_done(n);
        node_snapshot_done(n);
        raft_free(n->raft);
        store_free(n->store);
        buffer_done(&n->proposals_bytes);
        buffer_done(&n->out);
        free(n->proposals);
        free(n->commands);
        free(n->entries);
        free(n->effects);
        free(n->offsets);
        free(n->results);
        free(n->requests);
        free(n->receipts);
        free(n->services);
        free(n);
}

const struct raft *node_raft(const struct node *n)
{
        return n->raft;
}

struct store *node_store(const struct node *n)
{
        return n->store;
}

const struct raft_entry *node_entry_at(const struct node *n, uint64_t index)
{
        return raft_entry_at(n->raft, index);
}

bool node_is_current(const struct node *n)
{
        return n->current;
}

const char *node_outcome_name(enum node_outcome o)
{
        switch (o) {
        case NODE_OK:
                return "ok";
        case NODE_REFUSED:
                return "refused";
        case NODE_NO_QUORUM:
                return "no quorum";
        case NODE_OVERLOADED:
                return "overloaded";
        case NODE_FULL:
                return "disk full";
        }
        return "unknown";
}
