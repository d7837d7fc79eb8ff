/*
 * The consensus core: Raft (Ongaro and Ousterhout 2014) with pre-vote, check-quorum, leadership
 * transfer, read index, snapshots and one-at-a-time changes of the membership, as a pure state
 * machine. This room keeps one member's term, vote and log in memory and answers each event with a
 * list of effects; it knows no clock, file or socket. It may include election/base only.
 *
 * What must be durable before a message leaves, the core itself holds back until
 * RAFT_EVENT_PERSISTED says that it is: whoever carries out the effects may send at once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "election/base/buffer.h"
#include "election/base/names.h"
#include "election/base/time.h"

enum {
        RAFT_ENTRY_BYTES_MAX = 1 << 20, /* bytes of one command */
        RAFT_APPEND_BYTES_MAX =
                256 * 1024, /* bytes of the entries in one append, unless it is one entry */
        RAFT_APPEND_ENTRIES_MAX = 256, /* entries in one append */
        RAFT_IN_FLIGHT_MAX = 16, /* appends sent to a member and not answered; what comes then waits
                                  * and goes out together, which costs less */
        RAFT_UNCOMMITTED_BYTES_MAX = 16 << 20, /* beyond it, a leader refuses proposals */
        RAFT_READS_MAX = 1024, /* reads that wait for a quorum */
        RAFT_CONTEXT_BYTES_MAX = 32 * 1024, /* what others attach to a configuration */
};

/* Terms and indexes of others are below it: there is room for adding without a thought of overflow. */
#define RAFT_NUMBER_MAX (UINT64_C(1) << 62)

enum raft_entry_type {
        RAFT_ENTRY_NOOP, /* the first entry of a leader's term */
        RAFT_ENTRY_COMMAND, /* for the state machine */
        RAFT_ENTRY_MEMBERS, /* a configuration: raft_members_encode(), then its context */
};

struct raft_entry {
        uint64_t index;
        uint64_t term;
        enum raft_entry_type type;
        const uint8_t *bytes;
        size_t n;
};

enum raft_role {
        RAFT_FOLLOWER,
        RAFT_PRE_CANDIDATE,
        RAFT_CANDIDATE,
        RAFT_LEADER,
};

/* Nobody is both. Learners get the log and never count; whether they shall vote is not said here. */
struct raft_members {
        node_id voters[MEMBERS_MAX];
        unsigned n_voters;
        node_id learners[MEMBERS_MAX];
        unsigned n_learners;
};

/* A configuration, and what others attached to it: names and addresses, opaque to this room. */
struct raft_membership {
        uint64_t index; /* of its entry in the log; 0: that of the start */
        struct raft_members members;
        const uint8_t *context;
        size_t n_context;
};

enum raft_message_type {
        RAFT_PRE_VOTE, /* would you vote for me in @term? */
        RAFT_PRE_VOTE_REPLY, /* granted: @term as asked; rejected: the responder's own */
        RAFT_VOTE,
        RAFT_VOTE_REPLY,
        RAFT_APPEND, /* entries, or none: a heartbeat */
        RAFT_APPEND_REPLY,
        RAFT_TIMEOUT_NOW, /* leadership transfer: campaign at once */
};

/* Entries are borrowed: they belong to the log, or to the buffer that was decoded. */
struct raft_message {
        enum raft_message_type type;
        node_id from;
        node_id to;
        uint64_t term;
        uint64_t log_index; /* APPEND: before the entries; VOTE, PRE_VOTE, TIMEOUT_NOW: the last;
                             * APPEND_REPLY: match when granted (0 while the term is not on
                             * disk), what was rejected otherwise */
        uint64_t log_term; /* of log_index; not in APPEND_REPLY */
        uint64_t commit; /* APPEND */
        uint64_t round; /* APPEND: number of the leader's heartbeat round; echoed by the reply */
        uint64_t hint_index; /* APPEND_REPLY when rejected: the largest index that may match, */
        uint64_t hint_term; /* and its term */
        bool granted; /* the replies */
        bool quiet; /* APPEND without entries: it only tells the commit, no answer is needed */
        bool transfer; /* VOTE: by order of the leader, stickiness does not count;
                        * APPEND_REPLY, not granted: TIMEOUT_NOW is refused, the log on disk ends
                        * at log_index */
        const struct raft_entry *entries;
        size_t n_entries;
};

enum raft_event_type {
        RAFT_EVENT_TIMEOUT, /* raft_deadline() has come; also when none other happened */
        RAFT_EVENT_RECEIVED, /* @message */
        RAFT_EVENT_PERSISTED, /* all up to @generation survives a crash */
        RAFT_EVENT_PROPOSE, /* append @commands, leader only */
        RAFT_EVENT_READ, /* when is a read of now served? @context names it, leader only */
        RAFT_EVENT_TRANSFER, /* hand leadership to @target, leader only */
        RAFT_EVENT_SUSPECT, /* a hint that @target, the leader, is gone: pre-vote at once */
        RAFT_EVENT_CHANGE, /* append the configuration @membership (its index is not read), leader
                            * only; at most one voter may differ. RAFT_PROPOSED or RAFT_REFUSED
                            * follows, with @context */
        RAFT_EVENT_COMPACT, /* our snapshot of what is applied at @index is durable: the log forgets
                             * what it covers, but for @keep entries for members that lag */
        RAFT_EVENT_INSTALL, /* a snapshot that we received is durable: @index, @term of the last
                             * entry that it covers, @membership in force there (and its index).
                             * RAFT_INSTALLED or RAFT_REFUSED follows */
        RAFT_EVENT_SNAPSHOT_SENT, /* @target has installed a snapshot, or not: @ok. Once for each
                                   * RAFT_SNAPSHOT_WANTED */
};

/* Something that happened to a raft member. The caller owns what pointers point to. */
struct raft_event {
        enum raft_event_type type;
        struct instant now; /* read after the event happened; never earlier than the event before */
        const struct raft_message *message;
        uint64_t generation;
        const struct raft_entry *commands; /* only bytes, n and type are read */
        size_t n_commands;
        uint64_t context;
        node_id target; /* TRANSFER: or NODE_NOBODY for whom the leader finds best */
        const struct raft_membership *membership;
        bool forced; /* CHANGE: also if new voters lag or too few answer; the other rules stand */
        bool ok;
        uint64_t index;
        uint64_t term;
        uint64_t keep;
};

enum raft_refusal {
        RAFT_NOT_LEADER,
        RAFT_TRANSFERRING,
        RAFT_LOG_FULL, /* RAFT_UNCOMMITTED_BYTES_MAX or RAFT_READS_MAX */
        RAFT_NOT_READY, /* no entry of this term is committed yet */
        RAFT_TOO_LARGE, /* RAFT_ENTRY_BYTES_MAX */
        RAFT_BAD_TARGET, /* no other voter */
        RAFT_BAD_COMMAND, /* not a RAFT_ENTRY_COMMAND, or none at all */
        RAFT_CHANGE_PENDING, /* the last change is not committed yet */
        RAFT_BAD_CHANGE, /* more than one voter differs, no voter is left, or not a member list */
        RAFT_NOT_CAUGHT_UP, /* the new voter is no learner that keeps up */
        RAFT_NO_QUORUM, /* too few of the voters that would be left answer */
        RAFT_OLD_SNAPSHOT, /* we have committed all that it covers */
};

enum raft_effect_type {
        RAFT_PERSIST, /* make durable, in order of generation, then feed PERSISTED; at most one a
                       * step, its entries are valid until the next step */
        RAFT_SEND, /* @message, now; its entries are valid until the next step */
        RAFT_COMMITTED, /* all up to @index may be applied */
        RAFT_MEMBERS_CHANGED, /* raft_membership() is another one, of @index: appended, undone by
                               * truncation, installed; once after the start as well */
        RAFT_SNAPSHOT_WANTED, /* @peer needs what the log no longer has: send it the newest snapshot,
                               * then feed SNAPSHOT_SENT. Told once, and again after a failure */
        RAFT_INSTALLED, /* the state is now the snapshot's, up to @index; COMMITTED goes on behind it */
        RAFT_APPENDED, /* entries @first to @last are new in the log */
        RAFT_PROPOSED, /* the commands became entries @first to @last */
        RAFT_REFUSED, /* @refused, that is a proposal, read, transfer, change or installation:
                       * @refusal, @context. Reads that were waiting are refused when the leader
                       * steps down */
        RAFT_READ_READY, /* read @context may be served once @index is applied */
        RAFT_ROLE_CHANGED, /* role, term or leader changed; the first effect of its step */
        RAFT_NOTE, /* for the journal: @note, @message or @peer */
};

enum raft_note {
        RAFT_NOTE_PRE_VOTE_STARTED,
        RAFT_NOTE_ELECTION_STARTED,
        RAFT_NOTE_VOTED, /* for @peer */
        RAFT_NOTE_QUORUM_LOST, /* a leader steps down */
        RAFT_NOTE_TRUNCATED, /* @first to @last were dropped, by order of the leader @peer */
        RAFT_NOTE_TRANSFER_STARTED, /* to @peer */
        RAFT_NOTE_TRANSFER_FAILED,
        RAFT_NOTE_PEER_PROBED, /* @peer rejected an append and is probed */
        RAFT_NOTE_PEER_LOST_LOG, /* @peer has no longer what it has acknowledged */
};

struct raft_persist {
        uint64_t generation;
        bool has_hard_state;
        uint64_t term;
        node_id vote;
        uint64_t truncate_from; /* 0: nothing to drop */
        uint64_t first; /* entries to append, by raft_entry_at(); 0: none */
        uint64_t last;
        uint64_t snapshot_index; /* a start begins from this snapshot; 0: no news */
        uint64_t snapshot_term;
        bool snapshot_resets; /* the whole log goes; else entries above the snapshot stay */
};

/*
 * Fields that the type does not name are zero, but for @note, @refused, @refusal, @persist and
 * @message: these are set for their type only, because clearing them would cost more than the step.
 */
struct raft_effect {
        enum raft_effect_type type;
        enum raft_note note;
        enum raft_event_type refused;
        enum raft_refusal refusal;
        struct raft_persist persist;
        struct raft_message message;
        uint64_t index;
        uint64_t first;
        uint64_t last;
        uint64_t context;
        node_id peer;
};

struct raft_effects {
        const struct raft_effect *list;
        size_t n;
};

struct raft_config {
        node_id self;
        struct raft_members
                members; /* of the start; empty for who joins and waits to be sent more */
        const uint8_t *context; /* attached to @members; copied */
        size_t n_context;
        usec_t heartbeat;
        usec_t election_timeout; /* attempts are random in one to two of it */
        uint64_t seed;
        bool pre_vote; /* off only in simulations that look for what pre-vote hides */
};

/* What survived the last run; all zero for a new member. Entries are copied. */
struct raft_durable {
        uint64_t term;
        node_id vote;
        const struct raft_entry *entries; /* consecutive from snapshot_index + 1 */
        size_t n_entries;
        uint64_t snapshot_index; /* 0: the log begins at 1 */
        uint64_t snapshot_term;
        struct raft_membership
                membership; /* in force at the snapshot; no voters: config's. Copied */
};

struct raft;

/* A member as it is after a start at @now: follower, nothing known to be committed. */
struct raft *raft_new(const struct raft_config *config, const struct raft_durable *durable,
                      struct instant now);
void raft_free(struct raft *r);

/*
 * Let one event happen. @ret lists what must now be done, in order; it stays valid until the next
 * call. Cannot fail. The order is: ROLE_CHANGED; notes, refusals, INSTALLED, APPENDED and PROPOSED,
 * reads that are ready (for what earlier steps have committed), SNAPSHOT_WANTED; MEMBERS_CHANGED;
 * PERSIST; the messages; COMMITTED. A leader that is no voter any more steps down behind its last
 * messages: what it refuses then comes last.
 */
void raft_step(struct raft *r, const struct raft_event *event, struct raft_effects *ret);

/* When to call raft_step() with RAFT_EVENT_TIMEOUT if nothing else happens first. */
struct instant raft_deadline(const struct raft *r);

enum raft_role raft_role(const struct raft *r);
uint64_t raft_term(const struct raft *r);
/* Whom this member believes to lead its term, or NODE_NOBODY. */
node_id raft_leader(const struct raft *r);
uint64_t raft_index_committed(const struct raft *r);
uint64_t raft_index_last(const struct raft *r);
/* A leader that has committed an entry of its own term: it may serve reads. */
bool raft_is_ready(const struct raft *r);
/* Everything up to here is in the newest snapshot; 0: there is none. */
uint64_t raft_index_snapshot(const struct raft *r);

/*
 * The latest configuration in the log, committed or not: it is the one that counts. Without voters
 * for a member that waits to be added. Valid until the next step.
 */
const struct raft_membership *raft_membership(const struct raft *r);
const struct raft_members *raft_members(const struct raft *r);
/* The configuration in force at @index, which is not below the log's base: for a snapshot. */
const struct raft_membership *raft_membership_at(const struct raft *r, uint64_t index);

/* Whether @members may be a configuration: known ids, each once, and a voter among them. */
bool raft_members_are_valid(const struct raft_members *members);
unsigned raft_quorum(const struct raft_members *members);
bool raft_is_voter(const struct raft_members *members, node_id id);
bool raft_is_learner(const struct raft_members *members, node_id id);

/* The bytes of a configuration in an entry or a snapshot, without its context. */
void raft_members_encode(const struct raft_members *members, struct buffer *b);
/* Reads one; false if it is malformed or not valid. What follows it is left in @r. */
bool raft_members_decode(struct reader *r, struct raft_members *ret);

/*
 * What a leader knows of @peer, voter or learner: the last index known to be on its disk, and its
 * last answer. All zero if this member does not lead, or @peer is no member.
 */
struct raft_peer_view {
        bool caught_up; /* it follows the log no later than an election timeout */
        bool needs_snapshot; /* it gets no entries until SNAPSHOT_SENT */
        uint64_t match;
        struct instant answered; /* not later than the newest message that it answered was sent;
                                  * INSTANT_NEVER before its first answer to this leader */
};
struct raft_peer_view raft_peer_view(const struct raft *r, node_id peer);

/*
 * How a peer answers the leader's appends. The time from an append to its answer is taken once a
 * heartbeat; it counts the peer's disk where the append brought entries.
 */
struct raft_latency {
        uint64_t n_answers; /* all, also those whose time was not taken */
        uint64_t n_failures; /* times that were not answered within an election timeout */
        uint64_t n; /* times that were taken */
        usec_t current;
        usec_t shortest;
        usec_t longest;
        double average; /* microseconds */
        double squares; /* sum of the squared distances from the average */
};

/* Of this leadership; all zero if this member does not lead, or @peer gets no appends. */
struct raft_latency raft_peer_latency(const struct raft *r, node_id peer);

/* Appends since the start, those without entries among them. */
struct raft_traffic {
        uint64_t n_sent;
        uint64_t n_received; /* of this term's leader */
};
struct raft_traffic raft_traffic(const struct raft *r);

/* The entry at @index, or NULL if the log has none there, any more. Valid until the next step. */
const struct raft_entry *raft_entry_at(const struct raft *r, uint64_t index);

/* Wire format of a message; entries included. */
void raft_message_encode(const struct raft_message *m, struct buffer *b);

/*
 * Decodes one message from @r; what follows it is left there. Entries are put into @entries, of
 * RAFT_APPEND_ENTRIES_MAX, and borrow their bytes from what is read. Returns false if it is
 * malformed: then nothing may be used.
 */
bool raft_message_decode(struct reader *r, struct raft_entry *entries, struct raft_message *ret);

const char *raft_role_name(enum raft_role role);
const char *raft_message_name(enum raft_message_type type);
const char *raft_refusal_name(enum raft_refusal refusal);
