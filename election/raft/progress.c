/*
 * A leader's side of replication: what it knows of each other member, what it sends to whom, and
 * what is committed by it. Rounds number the broadcasts; the answers echo them, which proves that
 * a member still knew us as the leader after the round was sent.
 */
#include <assert.h>
#include <string.h>

#include "election/raft/raft-internal.h"

static bool is_peer(const struct raft *r, node_id id)
{
        return id != r->config.self;
}

/* Remembers when rounds were sent, no finer than needed, so that the ring spans long enough. */
static void remember_round(struct raft *r)
{
        usec_t step = r->config.heartbeat / RAFT_ROUNDS_PER_HEARTBEAT;

        if (r->rounds_n > 0) {
                const struct raft_round_time *newest =
                        &r->rounds[(r->rounds_n - 1) % RAFT_ROUNDS_MAX];

                if (!instant_reached(instant_after(newest->sent, step), r->now))
                        return;
        }
        r->rounds[r->rounds_n++ % RAFT_ROUNDS_MAX] = (struct raft_round_time){ .round = r->round,
                                                                               .sent = r->now };
}

/* A time at which @round was not yet sent or just being sent; NEVER if it is forgotten. */
static struct instant round_sent(const struct raft *r, uint64_t round)
{
        for (size_t i = 0; i < r->rounds_n && i < RAFT_ROUNDS_MAX; i++) {
                const struct raft_round_time *t =
                        &r->rounds[(r->rounds_n - 1 - i) % RAFT_ROUNDS_MAX];

                if (t->round <= round)
                        return t->sent;
        }
        return INSTANT_NEVER;
}

/* Check-quorum counts from the send times of what was answered, or from when it became a voter of ours. */
static void update_quorum_until(struct raft *r)
{
        const struct raft_members *members = raft_members(r);
        uint64_t values[MEMBERS_MAX];

        for (unsigned i = 0; i < members->n_voters; i++) {
                const struct raft_peer *p = &r->peers[members->voters[i]];

                values[i] = is_peer(r, members->voters[i])
                                    ? instant_later(p->answered, p->since).usec
                                    : UINT64_MAX;
        }
        r->quorum_until = instant_after((struct instant){ raft_quorum_value(members, values) },
                                        r->config.election_timeout);
}

void raft_broadcast(struct raft *r)
{
        r->round++;
        remember_round(r);
        for (unsigned i = 0; i < r->n_targets; i++)
                r->peers[r->targets[i]].append_due = true;
        raft_confirm_reads(r); /* a single voter is its own quorum */
}

uint64_t raft_append_own(struct raft *r, enum raft_entry_type type, const uint8_t *bytes, size_t n)
{
        struct raft_entry entry = {
                .index = raft_log_last(&r->log) + 1,
                .term = r->term,
                .type = type,
                .bytes = bytes,
                .n = n,
        };

        raft_persist_append(r, &entry);
        return entry.index;
}

void raft_tell_appended(struct raft *r, uint64_t first)
{
        struct raft_effect *e = raft_effect_add(r, RAFT_APPENDED);

        e->first = first;
        e->last = raft_log_last(&r->log);
}

void raft_tell_proposed(struct raft *r, uint64_t first, uint64_t context)
{
        struct raft_effect *e = raft_effect_add(r, RAFT_PROPOSED);

        e->first = first;
        e->last = raft_log_last(&r->log);
        e->context = context;
}

/* A new one, or one that comes back: what an earlier owner of the id has said does not count. */
static void start_peer(struct raft *r, node_id id)
{
        r->peers[id] = (struct raft_peer){
                .next = raft_log_last(&r->log) + 1,
                .may_resend = true,
                .round_min = r->round + 1,
                .since = r->now,
                .pace = { .goal = raft_log_last(&r->log), .set = r->now },
        };
}

static bool is_target(const struct raft *r, node_id id)
{
        for (unsigned i = 0; i < r->n_targets; i++)
                if (r->targets[i] == id)
                        return true;
        return false;
}

/* Whether @id gets appends from now on. */
static bool retarget(struct raft *r, node_id id)
{
        const struct raft_membership *m = raft_membership(r);
        struct raft_peer *p = &r->peers[id];
        bool before = is_target(r, id);

        if (!is_peer(r, id))
                return false;
        if (raft_is_voter(&m->members, id) || raft_is_learner(&m->members, id)) {
                if (!before || p->leaving)
                        start_peer(r, id);
                return true;
        }
        if (before && !p->leaving) {
                p->leaving = m->index;
                p->leave_by = instant_after(r->now, r->config.election_timeout);
        }
        return before;
}

static void set_heartbeat(struct raft *r)
{
        if (r->n_targets == 0)
                r->heartbeat_deadline = INSTANT_FOREVER;
        else if (r->heartbeat_deadline.usec == INSTANT_FOREVER.usec)
                r->heartbeat_deadline = instant_after(r->now, r->config.heartbeat);
}

void raft_retarget(struct raft *r, const struct raft_members *before)
{
        const struct raft_members *members = raft_members(r);
        node_id targets[MEMBERS_MAX];
        unsigned n = 0;

        for (node_id id = 1; id <= MEMBERS_MAX; id++)
                if (retarget(r, id))
                        targets[n++] = id;
        memcpy(r->targets, targets, n * sizeof(*targets));
        r->n_targets = n;
        for (unsigned i = 0; before && i < members->n_voters; i++)
                if (!raft_is_voter(before, members->voters[i]))
                        r->peers[members->voters[i]].since = r->now;
        set_heartbeat(r);
        update_quorum_until(r);
}

void raft_become_leader(struct raft *r)
{
        assert(r->role == RAFT_CANDIDATE && raft_persist_has_vote(r));
        r->role = RAFT_LEADER;
        r->leader = r->config.self;
        r->rounds_n = 0;
        r->n_targets = 0;
        r->heartbeat_deadline = INSTANT_FOREVER;
        raft_retarget(r, NULL);
        r->first_of_term = raft_append_own(r, RAFT_ENTRY_NOOP, NULL, 0);
        raft_tell_appended(r, r->first_of_term);
        raft_broadcast(r);
}

/* Why the proposal cannot be taken; true if it can. */
static bool proposal_is_good(const struct raft *r, const struct raft_event *event,
                             enum raft_refusal *ret)
{
        uint64_t n_bytes = raft_log_bytes_behind(&r->log, r->commit);

        *ret = RAFT_NOT_LEADER;
        if (r->role != RAFT_LEADER)
                return false;
        *ret = RAFT_TRANSFERRING;
        if (r->transfer.target)
                return false;
        *ret = RAFT_BAD_COMMAND;
        if (event->n_commands == 0)
                return false;
        for (size_t i = 0; i < event->n_commands; i++) {
                *ret = RAFT_BAD_COMMAND;
                if (event->commands[i].type != RAFT_ENTRY_COMMAND)
                        return false;
                *ret = RAFT_TOO_LARGE;
                if (event->commands[i].n > RAFT_ENTRY_BYTES_MAX)
                        return false;
                n_bytes += event->commands[i].n + RAFT_LOG_ENTRY_COST;
        }
        *ret = RAFT_LOG_FULL;
        return n_bytes <= RAFT_UNCOMMITTED_BYTES_MAX;
}

void raft_propose(struct raft *r, const struct raft_event *event)
{
        uint64_t first = raft_log_last(&r->log) + 1;
        enum raft_refusal refusal;

        if (!proposal_is_good(r, event, &refusal)) {
                raft_refuse(r, event->type, refusal, event->context);
                return;
        }
        for (size_t i = 0; i < event->n_commands; i++)
                (void)raft_append_own(r, RAFT_ENTRY_COMMAND, event->commands[i].bytes,
                                      event->commands[i].n);
        raft_tell_appended(r, first);
        raft_tell_proposed(r, first, event->context);
}

void raft_heartbeat(struct raft *r)
{
        do { /* from a fixed origin, so that the beat does not drift with our delays */
                r->heartbeat_deadline = instant_after(r->heartbeat_deadline, r->config.heartbeat);
        } while (instant_reached(r->heartbeat_deadline, r->now));
        for (unsigned i = 0; i < r->n_targets; i++)
                r->peers[r->targets[i]].may_resend = true;
        r->transfer.told = false;
        raft_broadcast(r);
}

/*
 * An entry is committed when a quorum has it on disk. Entries of earlier terms are committed only
 * through one of ours (Raft dissertation, 3.6.2): a majority for an old entry alone can still be
 * overwritten by the next leader.
 */
void raft_advance_commit(struct raft *r)
{
        const struct raft_members *members = raft_members(r);
        uint64_t values[MEMBERS_MAX];
        uint64_t index, term;

        for (unsigned i = 0; i < members->n_voters; i++) {
                node_id id = members->voters[i];

                values[i] = is_peer(r, id) ? r->peers[id].match : r->disk.last;
        }
        index = raft_quorum_value(members, values);
        if (index > r->commit && raft_log_term_at(&r->log, index, &term) && term == r->term)
                raft_set_commit(r, index);
}

static void forget_in_flight(struct raft_peer *p)
{
        p->in_flight_first = 0;
        p->in_flight_n = 0;
        p->in_flight_bytes = 0;
}

static void release_in_flight(struct raft_peer *p)
{
        while (p->in_flight_n > 0 && p->in_flight[p->in_flight_first].last <= p->match) {
                p->in_flight_bytes -= p->in_flight[p->in_flight_first].n_bytes;
                p->in_flight_first = (p->in_flight_first + 1) % RAFT_IN_FLIGHT_MAX;
                p->in_flight_n--;
        }
}

static bool may_send_more(const struct raft_peer *p)
{
        return p->in_flight_n < RAFT_IN_FLIGHT_MAX && p->in_flight_bytes < RAFT_IN_FLIGHT_BYTES_MAX;
}

/*
 * Probes from @next: at once, or with the next heartbeat if entries were already sent again since
 * the last one. A peer that drops what it is sent is else sent the same at network speed.
 */
void raft_probe_from(struct raft_peer *p, uint64_t next)
{
        p->mode = RAFT_PROBE;
        p->next = next;
        p->paused = false;
        forget_in_flight(p);
}

/* Its pace is measured from goal to goal: our end of the log when it reached the last one. */
static void measure_pace(const struct raft *r, struct raft_peer *p)
{
        struct instant late = instant_after(p->pace.set, r->config.election_timeout);

        if (p->match < p->pace.goal)
                return;
        p->pace = (struct raft_pace){
                .goal = raft_log_last(&r->log),
                .set = r->now,
                .kept = !instant_reached(late, r->now),
        };
}

bool raft_answers(const struct raft *r, node_id id)
{
        const struct raft_peer *p = &r->peers[id];

        return !is_peer(r, id) ||
               (is_target(r, id) && p->round > 0 &&
                !instant_reached(instant_after(p->answered, r->config.election_timeout), r->now));
}

bool raft_is_caught_up(const struct raft *r, node_id id)
{
        const struct raft_pace *pace = &r->peers[id].pace;
        struct instant late = instant_after(pace->set, r->config.election_timeout);

        return raft_answers(r, id) && r->peers[id].mode == RAFT_REPLICATE && pace->kept &&
               (r->peers[id].match >= pace->goal || !instant_reached(late, r->now));
}

static void tell_snapshot_wanted(struct raft *r, node_id id)
{
        r->peers[id].snapshot_told = true;
        r->peers[id].may_resend = false;
        raft_effect_add(r, RAFT_SNAPSHOT_WANTED)->peer = id;
}

void raft_enter_snapshot(struct raft *r, node_id peer, uint64_t hint)
{
        struct raft_peer *p = &r->peers[peer];

        raft_probe_from(p, raft_log_last(&r->log) + 1);
        p->mode = RAFT_SNAPSHOT;
        p->hint = hint;
        tell_snapshot_wanted(r, peer);
}

static void on_granted(struct raft *r, struct raft_peer *p, uint64_t match)
{
        bool progress = match > p->match;

        if (progress) {
                p->match = match;
                p->match_round = r->round;
                p->may_resend = true;
                release_in_flight(p);
                raft_advance_commit(r);
        }
        measure_pace(r, p);
        p->paused = false;
        if (p->mode == RAFT_SNAPSHOT) {
                if (match < r->log.base_index)
                        return;
                raft_probe_from(p, match + 1); /* the log reaches it again */
        }
        if (match + 1 > p->next)
                p->next = match + 1;
        /* A probe that changed nothing is repeated, but not at once: see may_resend. */
        if (match + 1 == p->next && (progress || match == raft_log_last(&r->log)))
                p->mode = RAFT_REPLICATE;
}

/* The largest index at which the logs may meet, given what the peer said. */
static uint64_t next_after_rejection(const struct raft *r, const struct raft_peer *p,
                                     const struct raft_message *m)
{
        uint64_t next = raft_log_find(&r->log, m->hint_index, m->hint_term) + 1;

        if (next > m->log_index)
                next = m->log_index; /* strictly backwards, or we exchange the same probe for ever */
        if (next <= p->match)
                next = p->match + 1;
        if (next <= r->log.base_index)
                next = r->log.base_index + 1;
        return next;
}

/* Whether all that may be ours in the log of the peer is before the beginning of ours. */
static bool is_out_of_reach(const struct raft *r, const struct raft_peer *p,
                            const struct raft_message *m)
{
        return p->match < r->log.base_index &&
               (m->hint_index < r->log.base_index || m->log_index <= r->log.base_index);
}

/* A heartbeat meets the log of the peer only at the snapshot: it may be further than it was. */
static void on_rejected_heartbeat(struct raft *r, struct raft_peer *p, const struct raft_message *m)
{
        if (m->hint_index <= p->hint || is_out_of_reach(r, p, m))
                return;
        raft_probe_from(p, next_after_rejection(r, p, m));
        p->append_due = true;
}

/*
 * It rejects what it has acknowledged, and answers a round that we sent when we knew of that: so it
 * is no old answer, its disk has lost entries. What it has promised by them cannot be had back, but
 * it gets them again, and somebody is told.
 */
static void forgive_lost_log(struct raft *r, struct raft_peer *p, const struct raft_message *m)
{
        if (m->log_index > p->match || m->round <= p->match_round)
                return;
        p->match = 0;
        raft_note_peer(r, RAFT_NOTE_PEER_LOST_LOG, m->from);
        raft_probe_from(p, m->log_index + 1);
}

static void on_rejected(struct raft *r, struct raft_peer *p, const struct raft_message *m)
{
        uint64_t next;

        if (p->match > 0)
                forgive_lost_log(r, p, m);

        if (p->mode == RAFT_SNAPSHOT) {
                on_rejected_heartbeat(r, p, m);
                return;
        }
        if (m->log_index <= p->match || m->log_index >= p->next)
                return; /* an old answer */
        if (p->mode == RAFT_PROBE && m->log_index != p->next - 1)
                return; /* not the answer to our probe */
        if (is_out_of_reach(r, p, m)) {
                raft_enter_snapshot(r, m->from, m->hint_index);
                return;
        }
        next = next_after_rejection(r, p, m);
        if (p->mode == RAFT_PROBE) {
                if (next < p->next) {
                        raft_probe_from(p, next);
                        p->append_due = true; /* each answer brings us nearer */
                }
                return;
        }
        raft_probe_from(p, next);
        raft_note_peer(r, RAFT_NOTE_PEER_PROBED, m->from);
}

void raft_on_append_reply(struct raft *r, const struct raft_message *m)
{
        struct raft_peer *p = &r->peers[m->from];

        if (r->role != RAFT_LEADER || m->term != r->term || m->round > r->round ||
            m->round < p->round_min)
                return;
        raft_latency_answered(r, p, m->round);
        if (m->round > p->round) {
                p->round = m->round;
                p->answered = instant_later(p->answered, round_sent(r, m->round));
                update_quorum_until(r);
                raft_confirm_reads(r);
        }
        if (m->granted) {
                if (m->log_index <= raft_log_last(&r->log))
                        on_granted(r, p, m->log_index);
        } else if (m->transfer) {
                if (r->transfer.target == m->from)
                        raft_fail_transfer(r);
        } else {
                on_rejected(r, p, m);
        }
        if (p->mode == RAFT_SNAPSHOT && !p->snapshot_told && p->may_resend)
                tell_snapshot_wanted(r, m->from);
}

/* How many entries from @first one append takes; @ret_bytes are their bytes. */
static size_t pack(const struct raft *r, uint64_t first, size_t *ret_bytes)
{
        const struct raft_entry *entries = raft_log_entry(&r->log, first);
        uint64_t n_max = raft_log_last(&r->log) + 1 - first;
        size_t n = 0;

        *ret_bytes = 0;
        while (n < n_max && n < RAFT_APPEND_ENTRIES_MAX) {
                if (n > 0 && *ret_bytes + entries[n].n > RAFT_APPEND_BYTES_MAX)
                        break;
                assert(entries[n].index == first + n);
                *ret_bytes += entries[n].n;
                n++;
        }
        return n;
}

static void send_append(struct raft *r, node_id to, size_t n, bool quiet)
{
        struct raft_peer *p = &r->peers[to];
        struct raft_message m = {
                .type = RAFT_APPEND,
                .to = to,
                .term = r->term,
                .log_index = p->mode == RAFT_SNAPSHOT ? r->snapshot_index : p->next - 1,
                .commit = r->commit,
                .round = r->round,
                .entries = n > 0 ? raft_log_entry(&r->log, p->next) : NULL,
                .n_entries = n,
                .quiet = quiet,
        };
        uint64_t reached = m.log_index + n;
        bool known = raft_log_term_at(&r->log, m.log_index, &m.log_term);

        assert(known);
        raft_latency_sent(r, p, quiet);
        raft_send(r, &m);
        p->append_due = false;
        if (p->mode != RAFT_SNAPSHOT)
                p->commit_sent = r->commit < reached ? r->commit : reached;
}

static void send_probe(struct raft *r, node_id to)
{
        struct raft_peer *p = &r->peers[to];
        size_t n_bytes;

        p->paused = true;
        p->may_resend = false;
        send_append(r, to, pack(r, p->next, &n_bytes), false);
}

static void send_new_entries(struct raft *r, node_id to)
{
        struct raft_peer *p = &r->peers[to];

        while (p->next <= raft_log_last(&r->log) && may_send_more(p)) {
                struct raft_in_flight *f =
                        &p->in_flight[(p->in_flight_first + p->in_flight_n) % RAFT_IN_FLIGHT_MAX];
                size_t n = pack(r, p->next, &f->n_bytes);

                send_append(r, to, n, false);
                p->next += n;
                f->last = p->next - 1;
                p->in_flight_n++;
                p->in_flight_bytes += f->n_bytes;
        }
}

static void flush_peer(struct raft *r, node_id to)
{
        struct raft_peer *p = &r->peers[to];

        switch (p->mode) {
        case RAFT_PROBE:
                if (!p->paused && p->may_resend)
                        send_probe(r, to);
                break;
        case RAFT_REPLICATE:
                send_new_entries(r, to);
                /* Followers apply when they learn of the commit, masters wait for that. */
                if (!p->append_due && p->commit_sent < r->commit && p->commit_sent < p->next - 1)
                        send_append(r, to, 0, true);
                break;
        case RAFT_SNAPSHOT:
                break;
        }
        if (p->append_due)
                send_append(r, to, 0, false);
}

/* Whether a removed peer has heard that it is; or long enough was tried. */
static bool has_left(const struct raft *r, const struct raft_peer *p)
{
        if (!p->leaving || r->commit < p->leaving)
                return false;
        return (p->match >= p->leaving && p->commit_sent >= p->leaving) ||
               instant_reached(p->leave_by, r->now);
}

void raft_flush_appends(struct raft *r)
{
        unsigned n = 0;

        for (unsigned i = 0; i < r->n_targets; i++) {
                flush_peer(r, r->targets[i]);
                if (!has_left(r, &r->peers[r->targets[i]]))
                        r->targets[n++] = r->targets[i];
        }
        if (n < r->n_targets) {
                r->n_targets = n;
                set_heartbeat(r);
        }
}

struct raft_peer_view raft_peer_view(const struct raft *r, node_id peer)
{
        if (r->role != RAFT_LEADER || (is_peer(r, peer) && !is_target(r, peer)))
                return (struct raft_peer_view){ 0 };
        if (!is_peer(r, peer))
                return (struct raft_peer_view){
                        .caught_up = true,
                        .match = r->disk.last,
                        .answered = r->now,
                };
        return (struct raft_peer_view){
                .caught_up = raft_is_caught_up(r, peer),
                .needs_snapshot = r->peers[peer].mode == RAFT_SNAPSHOT,
                .match = r->peers[peer].match,
                .answered = r->peers[peer].answered,
        };
}
