/*
 * The life of a member: start, the dispatch of events, roles and terms, and the list of effects
 * that ends each step.
 */
#include "election/raft/raft.h"

#include <assert.h>
#include <stdlib.h>

#include "election/base/memory.h"
#include "election/raft/raft-internal.h"

_Noreturn void raft_history_forked(void)
{
        const bool all_members_kept_their_logs = false;

        assert(all_members_kept_their_logs);
        abort();
}

struct raft_effect *raft_effect_add(struct raft *r, enum raft_effect_type type)
{
        struct raft_effect *e;

        MUST_GROW(r->effects, r->effects_n, r->effects_max);
        e = &r->effects[r->effects_n++];
        e->type = type;
        e->peer = NODE_NOBODY;
        e->index = 0;
        e->first = 0;
        e->last = 0;
        e->context = 0;
        return e;
}

void raft_note_peer(struct raft *r, enum raft_note note, node_id peer)
{
        struct raft_effect *e = raft_effect_add(r, RAFT_NOTE);

        e->note = note;
        e->peer = peer;
}

void raft_send(struct raft *r, const struct raft_message *m)
{
        struct raft_effect *e = raft_effect_add(r, RAFT_SEND);

        e->message = *m;
        e->message.from = r->config.self;
}

void raft_reply(struct raft *r, const struct raft_message *m)
{
        assert(!r->reply_due);
        r->reply = *m;
        r->reply_due = true;
}

void raft_refuse(struct raft *r, enum raft_event_type refused, enum raft_refusal refusal,
                 uint64_t context)
{
        struct raft_effect *e = raft_effect_add(r, RAFT_REFUSED);

        e->refused = refused;
        e->refusal = refusal;
        e->context = context;
}

void raft_reset_election_timer(struct raft *r)
{
        usec_t wait = r->config.election_timeout;

        wait += random_below(&r->random, wait + 1);
        r->election_deadline = instant_after(r->now, wait);
}

void raft_set_term(struct raft *r, uint64_t term)
{
        assert(term > r->term && r->role != RAFT_LEADER);
        r->term = term;
        r->vote = NODE_NOBODY;
        r->leader = NODE_NOBODY;
        r->vote_reply_due = false;
        r->ack = (struct raft_acknowledgement){ 0 };
        r->disk.hard_changed = true;
}

void raft_become_follower(struct raft *r, uint64_t term, node_id leader)
{
        bool led = r->role == RAFT_LEADER;

        r->role = RAFT_FOLLOWER;
        if (led) {
                r->transfer.target = NODE_NOBODY;
                r->n_targets = 0;
                raft_drop_reads(r);
                raft_reset_election_timer(r);
        }
        if (term != r->term)
                raft_set_term(r, term);
        r->leader = leader;
}

void raft_set_commit(struct raft *r, uint64_t index)
{
        if (index <= r->commit)
                return;
        assert(index <= raft_log_last(&r->log));
        r->commit = index;
}

struct raft *raft_new(const struct raft_config *config, const struct raft_durable *durable,
                      struct instant now)
{
        struct raft *r = must_alloc(1, sizeof(*r));

        assert(config->self >= 1 && config->self <= MEMBERS_MAX);
        assert(config->heartbeat > 0 && config->heartbeat <= config->election_timeout);
        r->config = *config;
        r->random.state = config->seed;
        r->now = now;
        r->term = durable->term;
        r->vote = durable->vote;
        raft_log_init(&r->log, durable->snapshot_index, durable->snapshot_term);
        raft_memberships_init(r, &durable->membership);
        for (size_t i = 0; i < durable->n_entries; i++) {
                raft_log_append(&r->log, &durable->entries[i]);
                raft_memberships_append(r, &durable->entries[i]);
        }
        r->snapshot_index = durable->snapshot_index;
        assert(raft_log_last_term(&r->log) <= r->term);
        r->commit = r->commit_told = durable->snapshot_index;
        raft_persist_init(r);
        raft_reset_election_timer(r);
        return r;
}

void raft_free(struct raft *r)
{
        if (!r)
                return;
        raft_log_done(&r->log);
        raft_memberships_done(r);
        raft_persist_done(r);
        free(r->reads);
        free(r->effects);
        free(r);
}

/* Whether @m brings its term with it; the requests of an election decide that for themselves. */
static bool term_is_to_be_adopted(const struct raft *r, const struct raft_message *m)
{
        if (m->term <= r->term || m->type == RAFT_PRE_VOTE || m->type == RAFT_VOTE)
                return false;
        return m->type != RAFT_PRE_VOTE_REPLY || !m->granted;
}

static bool is_answer(const struct raft_message *m)
{
        switch (m->type) {
        case RAFT_PRE_VOTE_REPLY:
        case RAFT_VOTE_REPLY:
        case RAFT_APPEND_REPLY:
                return true;
        case RAFT_PRE_VOTE:
        case RAFT_VOTE:
        case RAFT_APPEND:
        case RAFT_TIMEOUT_NOW:
                return false;
        }
        return false;
}

/* Whom we may have asked something: the members that we know, and who is on the way out. */
static bool is_asked(const struct raft *r, node_id id)
{
        const struct raft_members *members = raft_members(r);

        for (unsigned i = 0; i < r->n_targets; i++)
                if (r->targets[i] == id)
                        return true;
        return raft_is_voter(members, id) || raft_is_learner(members, id);
}

static void on_received(struct raft *r, const struct raft_message *m)
{
        /* Anybody may lead or stand for election: our configuration may be older than theirs. */
        if (m->to != r->config.self || m->from == r->config.self ||
            (is_answer(m) && !is_asked(r, m->from)))
                return;
        if (term_is_to_be_adopted(r, m))
                raft_become_follower(r, m->term, NODE_NOBODY);

        switch (m->type) {
        case RAFT_PRE_VOTE:
                raft_on_pre_vote(r, m);
                return;
        case RAFT_PRE_VOTE_REPLY:
                raft_on_pre_vote_reply(r, m);
                return;
        case RAFT_VOTE:
                raft_on_vote(r, m);
                return;
        case RAFT_VOTE_REPLY:
                raft_on_vote_reply(r, m);
                return;
        case RAFT_APPEND:
                raft_on_append(r, m);
                return;
        case RAFT_APPEND_REPLY:
                raft_on_append_reply(r, m);
                return;
        case RAFT_TIMEOUT_NOW:
                raft_on_timeout_now(r, m);
                return;
        }
}

static void on_timeout(struct raft *r)
{
        if (r->role == RAFT_LEADER) {
                if (r->transfer.target && instant_reached(r->transfer.deadline, r->now))
                        raft_fail_transfer(r);
                if (instant_reached(r->heartbeat_deadline, r->now))
                        raft_heartbeat(r);
        } else if (instant_reached(r->election_deadline, r->now)) {
                raft_election_timeout(r);
        } else if (r->role != RAFT_FOLLOWER && instant_reached(r->ask_deadline, r->now)) {
                raft_ask_again(r);
        }
}

static void on_persisted(struct raft *r, uint64_t generation)
{
        raft_persist_completed(r, generation);
        raft_count_own_vote(r);
        if (r->role == RAFT_LEADER)
                raft_advance_commit(r);
}

static void on_suspect(struct raft *r, node_id target)
{
        if (r->role == RAFT_FOLLOWER && target != NODE_NOBODY && r->leader == target &&
            raft_may_campaign(r))
                raft_start_pre_vote(r);
}

static void dispatch(struct raft *r, const struct raft_event *event)
{
        switch (event->type) {
        case RAFT_EVENT_TIMEOUT:
                on_timeout(r);
                return;
        case RAFT_EVENT_RECEIVED:
                on_received(r, event->message);
                return;
        case RAFT_EVENT_PERSISTED:
                on_persisted(r, event->generation);
                return;
        case RAFT_EVENT_PROPOSE:
                raft_propose(r, event);
                return;
        case RAFT_EVENT_READ:
                raft_on_read(r, event->context);
                return;
        case RAFT_EVENT_TRANSFER:
                raft_on_transfer(r, event);
                return;
        case RAFT_EVENT_SUSPECT:
                on_suspect(r, event->target);
                return;
        case RAFT_EVENT_CHANGE:
                raft_on_change(r, event);
                return;
        case RAFT_EVENT_COMPACT:
                raft_on_compact(r, event);
                return;
        case RAFT_EVENT_INSTALL:
                raft_on_install(r, event);
                return;
        case RAFT_EVENT_SNAPSHOT_SENT:
                raft_on_snapshot_sent(r, event);
                return;
        }
}

/*
 * A leader that its quorum has not answered for an election timeout steps down and falls silent:
 * its heartbeats would only keep the few it reaches from electing another (check-quorum, Raft
 * dissertation, 6.2).
 */
static void check_quorum(struct raft *r)
{
        if (r->role != RAFT_LEADER || !instant_reached(r->quorum_until, r->now))
                return;
        raft_note_peer(r, RAFT_NOTE_QUORUM_LOST, NODE_NOBODY);
        raft_become_follower(r, r->term, NODE_NOBODY);
}

static void begin(struct raft *r, const struct raft_event *event)
{
        assert(event->now.usec >= r->now.usec);
        r->now = event->now;
        r->role_before = r->role;
        r->term_before = r->term;
        r->leader_before = r->leader;
        r->vote_before = r->vote;
        r->reply_due = false;
        r->effects_n = 0;
        (void)raft_effect_add(r, RAFT_ROLE_CHANGED);
}

/* What must hold unless we made a mistake; a process that is wrong about it must not go on. */
static void assert_sound(const struct raft *r)
{
        uint64_t last = raft_log_last(&r->log);

        assert(r->term >= r->term_before);
        assert(r->term > r->term_before || r->vote == r->vote_before ||
               r->vote_before == NODE_NOBODY);
        assert(r->log.base_index <= r->commit && r->commit <= last);
        assert(r->log.base_index <= r->snapshot_index && r->snapshot_index <= r->commit);
        assert(r->memberships.list[0].index <= r->log.base_index);
        assert(raft_membership(r)->index <= last);
        assert(r->disk.last <= last);
        assert(raft_log_last_term(&r->log) <= r->term);
        if (r->role != RAFT_LEADER)
                return;
        assert(r->leader == r->config.self && r->vote == r->config.self);
        for (unsigned i = 0; i < r->n_targets; i++) {
                const struct raft_peer *p = &r->peers[r->targets[i]];

                assert(p->match <= last && p->match < p->next && p->next <= last + 1);
        }
}

/* The second half of a step: nothing changes any more but what is sent and told. */
static void finish(struct raft *r, struct raft_effects *ret)
{
        bool changed;

        if (r->memberships.changed) {
                r->memberships.changed = false;
                raft_effect_add(r, RAFT_MEMBERS_CHANGED)->index = raft_membership(r)->index;
        }
        raft_persist_flush(r);
        if (r->reply_due)
                raft_send(r, &r->reply);
        raft_flush_votes(r);
        raft_flush_acknowledgement(r);
        if (r->role == RAFT_LEADER) {
                raft_flush_appends(r);
                raft_leave(r);
                raft_flush_transfer(r);
                raft_leave_at_last(r);
        }
        if (r->commit > r->commit_told) {
                r->commit_told = r->commit;
                raft_effect_add(r, RAFT_COMMITTED)->index = r->commit;
        }
        assert_sound(r);
        changed = r->role != r->role_before || r->term != r->term_before ||
                  r->leader != r->leader_before;
        ret->list = r->effects + (changed ? 0 : 1);
        ret->n = r->effects_n - (changed ? 0 : 1);
}

void raft_step(struct raft *r, const struct raft_event *event, struct raft_effects *ret)
{
        begin(r, event);
        check_quorum(r);
        dispatch(r, event);
        finish(r, ret);
}

struct instant raft_deadline(const struct raft *r)
{
        struct instant deadline;

        if (r->role == RAFT_FOLLOWER)
                return r->election_deadline;
        if (r->role != RAFT_LEADER)
                return instant_earlier(r->election_deadline, r->ask_deadline);
        deadline = instant_earlier(r->heartbeat_deadline, r->quorum_until);
        if (r->transfer.target)
                deadline = instant_earlier(deadline, r->transfer.deadline);
        return deadline;
}

enum raft_role raft_role(const struct raft *r)
{
        return r->role;
}

uint64_t raft_term(const struct raft *r)
{
        return r->term;
}

node_id raft_leader(const struct raft *r)
{
        return r->leader;
}

uint64_t raft_index_committed(const struct raft *r)
{
        return r->commit;
}

uint64_t raft_index_last(const struct raft *r)
{
        return raft_log_last(&r->log);
}

bool raft_is_ready(const struct raft *r)
{
        return r->role == RAFT_LEADER && r->commit >= r->first_of_term;
}

uint64_t raft_index_snapshot(const struct raft *r)
{
        return r->snapshot_index;
}

const struct raft_entry *raft_entry_at(const struct raft *r, uint64_t index)
{
        return raft_log_entry(&r->log, index);
}

const char *raft_role_name(enum raft_role role)
{
        switch (role) {
        case RAFT_FOLLOWER:
                return "follower";
        case RAFT_PRE_CANDIDATE:
                return "pre-candidate";
        case RAFT_CANDIDATE:
                return "candidate";
        case RAFT_LEADER:
                return "leader";
        }
        return "unknown";
}

const char *raft_refusal_name(enum raft_refusal refusal)
{
        switch (refusal) {
        case RAFT_NOT_LEADER:
                return "not the leader";
        case RAFT_TRANSFERRING:
                return "leadership is being handed over";
        case RAFT_LOG_FULL:
                return "too much waits to be committed";
        case RAFT_NOT_READY:
                return "nothing of this term is committed yet";
        case RAFT_TOO_LARGE:
                return "the command is too large";
        case RAFT_BAD_TARGET:
                return "no other voter";
        case RAFT_BAD_COMMAND:
                return "not a command";
        case RAFT_CHANGE_PENDING:
                return "the last change of the members is not committed yet";
        case RAFT_BAD_CHANGE:
                return "not a change of one voter that leaves one";
        case RAFT_NOT_CAUGHT_UP:
                return "the new voter does not keep up with the log yet";
        case RAFT_NO_QUORUM:
                return "too few of the voters that would be left answer";
        case RAFT_OLD_SNAPSHOT:
                return "the log is further than the snapshot";
        }
        return "unknown";
}
