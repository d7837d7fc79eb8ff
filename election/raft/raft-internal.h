/*
 * What the files of the consensus core share. A step has two halves: the handler of the event
 * changes the state and marks what is due; then finish() in raft.c lists the effects, so that
 * several reasons to send the same thing end in one message, and nothing leaves before what it
 * rests on is durable.
 */
#pragma once

#include "election/base/random.h"
#include "election/raft/log.h"
#include "election/raft/raft.h"

enum {
        RAFT_IN_FLIGHT_BYTES_MAX = 4
                                   << 20, /* bytes of the entries sent to a member, not answered */
        RAFT_TAIL_BYTES_MAX = 64 << 20, /* bytes of the entries that are kept behind a snapshot */
        RAFT_ROUNDS_MAX = 256, /* rounds whose send time is remembered */
        RAFT_ROUNDS_PER_HEARTBEAT = 8, /* send times are remembered no finer than that */
};

/* The state that survives a crash as one record. */
struct raft_hard_state {
        uint64_t term;
        node_id vote;
};

/* A generation that was handed out and is not known to be durable; see persist.c. */
struct raft_generation {
        uint64_t generation;
        struct raft_hard_state hard;
        uint64_t last; /* the log is durable up to here with it, as far as not truncated since */
        uint64_t last_term;
};

struct raft_persistence {
        /* What is known to be durable; the log only as far as it still is our log. */
        struct raft_hard_state hard;
        uint64_t last;

        uint64_t generation; /* the newest one handed out */
        struct raft_generation *outstanding; /* a ring, oldest first */
        size_t outstanding_first;
        size_t outstanding_n;
        size_t outstanding_max;

        /* Changed by this step. */
        bool hard_changed;
        uint64_t truncate_from;
        uint64_t append_from;
        bool snapshot_changed;
        bool snapshot_resets;
};

/* The configurations that the log has, oldest first; before them the one in force at its base. */
struct raft_memberships {
        struct raft_membership *list; /* never empty; the contexts are ours */
        size_t n;
        size_t n_max;
        bool changed; /* not told yet */
};

/* What a follower owes to the leader of its term. */
struct raft_acknowledgement {
        uint64_t verified; /* our log is the leader's up to here */
        uint64_t claimed; /* what we said last to have on disk */
        uint64_t round; /* newest that we received */
        bool now; /* an append wants an answer by the end of this step */
        bool held; /* an answer waits for our disk */
};

struct raft_in_flight {
        uint64_t last;
        size_t n_bytes;
};

enum raft_mode {
        RAFT_PROBE, /* where our logs meet is not known: one append at a time */
        RAFT_REPLICATE, /* appends are sent without waiting for answers */
        RAFT_SNAPSHOT, /* our log does not reach back to its log: heartbeats only */
};

/* Whether a member keeps up: it must reach our end of now within an election timeout. */
struct raft_pace {
        uint64_t goal;
        struct instant set;
        bool kept; /* the last goal was reached in time */
};

/* A leader's view of another member. */
struct raft_peer {
        enum raft_mode mode;
        uint64_t match; /* its log is ours up to here, durably */
        uint64_t match_round; /* the newest that was sent when it said so */
        uint64_t next; /* the next entry to send */
        bool paused; /* probe: an append is on its way */
        bool may_resend; /* since the last heartbeat nothing was sent again */
        bool append_due; /* an append must go out in this step, with entries or without */
        uint64_t round_min; /* answers to earlier rounds are not its own: its id was another's */
        struct instant since; /* for check-quorum, as if it had answered then */
        struct raft_pace pace;
        uint64_t leaving; /* the change that removed it, whose commit it shall learn; 0: a member */
        struct instant leave_by;
        uint64_t hint; /* snapshot: how far its log may be ours, when it last said so */
        bool snapshot_told;
        uint64_t commit_sent; /* what the last append allowed it to commit */
        uint64_t round; /* newest that it answered */
        struct instant answered; /* send time of that round; NEVER before the first answer */
        struct raft_latency latency;
        uint64_t timed_round; /* whose answer is waited for, to take the time; 0: none */
        struct instant timed_at; /* when that append was sent */
        struct raft_in_flight in_flight[RAFT_IN_FLIGHT_MAX]; /* a ring, oldest first */
        unsigned in_flight_first;
        unsigned in_flight_n;
        size_t in_flight_bytes;
};

struct raft_round_time {
        uint64_t round;
        struct instant sent;
};

struct raft_read {
        uint64_t context;
        uint64_t index;
        uint64_t round; /* an answer to this round or a later one confirms it */
};

struct raft_transfer {
        node_id target; /* NODE_NOBODY: no transfer */
        struct instant deadline;
        bool told; /* since the last heartbeat */
};

struct raft {
        struct raft_config config;
        struct random random;
        struct instant now;

        uint64_t term;
        node_id vote;
        struct raft_log log;
        struct raft_memberships memberships;
        uint64_t snapshot_index; /* of the newest snapshot; the log may reach further back */
        struct raft_persistence disk;

        enum raft_role role;
        node_id leader;
        uint64_t commit;
        uint64_t commit_told; /* by RAFT_COMMITTED */

        /* Not a leader. */
        struct instant election_deadline;
        struct instant contact; /* last valid append of the leader */
        struct raft_acknowledgement ack;
        struct instant ask_deadline; /* candidates: ask again who has not granted */
        unsigned granted; /* bit of each member that granted its vote or pre-vote to us */
        bool pre_votes_due;
        bool votes_due; /* they wait for our disk */
        bool by_order; /* our campaign was ordered by the leader */
        bool vote_reply_due; /* the vote waits for our disk */

        /* Leader. */
        struct raft_peer peers[MEMBERS_MAX + 1]; /* by node_id */
        node_id targets[MEMBERS_MAX]; /* who gets appends: the other members, and who leaves */
        unsigned n_targets;
        uint64_t first_of_term; /* our no-op */
        uint64_t round; /* newest sent */
        struct raft_round_time rounds[RAFT_ROUNDS_MAX]; /* a ring */
        size_t rounds_n; /* all ever put in; the ring keeps the newest */
        struct instant heartbeat_deadline;
        struct instant quorum_until; /* without further answers the quorum is lost then */
        struct raft_read *reads; /* oldest first */
        size_t reads_n;
        size_t reads_max;
        struct raft_transfer transfer;
        struct raft_traffic traffic;

        /* This step. */
        struct raft_message reply;
        bool reply_due;
        enum raft_role role_before;
        uint64_t term_before;
        node_id leader_before;
        node_id vote_before;
        struct raft_effect *effects; /* the first is kept for RAFT_ROLE_CHANGED */
        size_t effects_n;
        size_t effects_max;
};

/* raft.c */
struct raft_effect *raft_effect_add(struct raft *r, enum raft_effect_type type);
void raft_note_peer(struct raft *r, enum raft_note note, node_id peer);
/* Lists @m, with us as sender. Only for finish(): until then the log may still move. */
void raft_send(struct raft *r, const struct raft_message *m);
/* Marks the answer to the received message, to be sent by this step. */
void raft_reply(struct raft *r, const struct raft_message *m);
void raft_refuse(struct raft *r, enum raft_event_type refused, enum raft_refusal refusal,
                 uint64_t context);
/* Follower of @leader, who may be NODE_NOBODY, in @term, which is not below ours. */
void raft_become_follower(struct raft *r, uint64_t term, node_id leader);
/* A new term with an empty vote; the role must fit before. */
void raft_set_term(struct raft *r, uint64_t term);
void raft_set_commit(struct raft *r, uint64_t index);
void raft_reset_election_timer(struct raft *r);
/* The cluster's history is not one: ends the process, because every answer would be wrong. */
_Noreturn void raft_history_forked(void);

/* persist.c */
void raft_persist_init(struct raft *r);
void raft_persist_done(struct raft *r);
void raft_persist_append(struct raft *r, const struct raft_entry *entry);
void raft_persist_truncate(struct raft *r, uint64_t from);
/* The log follows a snapshot: it begins there anew, or goes on with what it has behind it. */
void raft_persist_snapshot(struct raft *r, bool resets);
/* Lists RAFT_PERSIST if this step changed anything. */
void raft_persist_flush(struct raft *r);
void raft_persist_completed(struct raft *r, uint64_t generation);
/* Whether our term and vote are on disk. */
bool raft_persist_has_vote(const struct raft *r);
/* Whether our term is on disk: nothing is promised in it before. */
bool raft_persist_has_term(const struct raft *r);

/* vote.c */
void raft_election_timeout(struct raft *r);
/* Asks those again who have not granted; their answer may be lost, or another one by now. */
void raft_ask_again(struct raft *r);
void raft_start_pre_vote(struct raft *r);
void raft_campaign(struct raft *r, bool by_order);
/* Our own vote may have become durable. */
void raft_count_own_vote(struct raft *r);
void raft_on_pre_vote(struct raft *r, const struct raft_message *m);
void raft_on_pre_vote_reply(struct raft *r, const struct raft_message *m);
void raft_on_vote(struct raft *r, const struct raft_message *m);
void raft_on_vote_reply(struct raft *r, const struct raft_message *m);
void raft_flush_votes(struct raft *r);

/* append.c */
void raft_on_append(struct raft *r, const struct raft_message *m);
void raft_flush_acknowledgement(struct raft *r);

/* progress.c */
void raft_become_leader(struct raft *r);
void raft_propose(struct raft *r, const struct raft_event *event);
void raft_on_append_reply(struct raft *r, const struct raft_message *m);
/* Begins a round: an append goes to every other member in this step. */
void raft_broadcast(struct raft *r);
void raft_heartbeat(struct raft *r);
void raft_advance_commit(struct raft *r);
void raft_flush_appends(struct raft *r);
/* The leader's latest configuration has followed @before, which is NULL when it begins to lead. */
void raft_retarget(struct raft *r, const struct raft_members *before);
/* Probes from @next: where the logs meet is to be found out. */
void raft_probe_from(struct raft_peer *p, uint64_t next);
bool raft_is_caught_up(const struct raft *r, node_id id);
/* Whether @id has answered a leader within the last election timeout; the leader itself has. */
bool raft_answers(const struct raft *r, node_id id);
/* Entries that @peer needs are gone: it is to be sent a snapshot. */
void raft_enter_snapshot(struct raft *r, node_id peer, uint64_t hint);
uint64_t raft_append_own(struct raft *r, enum raft_entry_type type, const uint8_t *bytes, size_t n);
void raft_tell_appended(struct raft *r, uint64_t first);
void raft_tell_proposed(struct raft *r, uint64_t first, uint64_t context);

/* latency.c */
/* An append goes out; @quiet: one that is not answered. */
void raft_latency_sent(struct raft *r, struct raft_peer *p, bool quiet);
void raft_latency_answered(struct raft *r, struct raft_peer *p, uint64_t round);

/* snapshot.c */
void raft_on_compact(struct raft *r, const struct raft_event *event);
void raft_on_install(struct raft *r, const struct raft_event *event);
void raft_on_snapshot_sent(struct raft *r, const struct raft_event *event);

/* change.c */
void raft_on_change(struct raft *r, const struct raft_event *event);
/*
 * A leader that a committed change has removed hands over and steps down: before the messages of
 * the step are through, and behind them.
 */
void raft_leave(struct raft *r);
void raft_leave_at_last(struct raft *r);

/* read.c */
void raft_on_read(struct raft *r, uint64_t context);
/* A newer round may have been answered by a quorum. */
void raft_confirm_reads(struct raft *r);
void raft_drop_reads(struct raft *r);

/* transfer.c */
void raft_on_transfer(struct raft *r, const struct raft_event *event);
void raft_on_timeout_now(struct raft *r, const struct raft_message *m);
void raft_fail_transfer(struct raft *r);
void raft_flush_transfer(struct raft *r);
void raft_start_transfer(struct raft *r, node_id target);
/* The voter with most on its disk among those that answer, or NODE_NOBODY. */
node_id raft_best_target(const struct raft *r);

/* membership.c */
void raft_memberships_init(struct raft *r, const struct raft_membership *at_base);
void raft_memberships_done(struct raft *r);
/* The log has @entry now, which may be a configuration. */
void raft_memberships_append(struct raft *r, const struct raft_entry *entry);
void raft_memberships_truncate(struct raft *r, uint64_t from);
/* The log's base has moved up, to where @at_base is in force if it is not our own doing. */
void raft_memberships_compact(struct raft *r);
void raft_memberships_install(struct raft *r, const struct raft_membership *at_base);

/* Whether this member is a voter of the latest configuration that it has. */
static inline bool raft_votes(const struct raft *r)
{
        return raft_is_voter(raft_members(r), r->config.self);
}

/* Whether it may stand for election: a voter, or one whose removal may not be committed yet. */
bool raft_may_campaign(const struct raft *r);

/* members.c */
unsigned raft_voters_that_differ(const struct raft_members *a, const struct raft_members *b);
/* Whether the members whose bits are set in @granted are a quorum. */
bool raft_is_quorum(const struct raft_members *members, unsigned granted);
/*
 * The largest value that a quorum reaches. @values holds one for each voter, in any order, and is
 * sorted by it.
 */
uint64_t raft_quorum_value(const struct raft_members *members, uint64_t values[MEMBERS_MAX]);
