/* What the files of node.* share. */
#pragma once

#include "election/base/buffer.h"
#include "election/node.h"
#include "election/snapshot.h"

enum {
        NODE_NOTES_MAX = 8192, /* receipts of entries that are not applied yet */
        NODE_STAMPS_MAX = 64, /* renewals of one service that are not answered */
        NODE_ATTEST_MAX = 64, /* leases in one question about expiry */
        NODE_HISTORY_TTL_SEC = 30 * 24 * 3600,
        NODE_ORDER_TTL_SEC = 60,
        NODE_HOLD_USEC = 1000, /* that something waits at most for more to go out with */
        NODE_ENTRY_COST = 64, /* bytes that an entry of the log counts beside its command */
        NODE_BLOCK_BYTES = 4096, /* in which the log is written */
        NODE_ROUNDS_MAX = 16, /* of proposals within one step */
        NODE_REQUESTS_KEPT = 16, /* of NODE_REQUESTS_MAX, for the node's own */
        NODE_SEQUENCE_BITS = 56, /* of the number of a read at the leader; who asked stands above */
};

/* When this replica received an entry (rule L4); the term tells a replaced entry apart. */
struct node_receipt {
        uint64_t index;
        uint64_t term;
        struct instant at;
};

/* The lease clock when a request for the lease was made (rule L1). */
struct node_stamp {
        uint64_t sequence;
        struct instant at;
};

/* This process as the holder of one service's lease. */
struct node_holder {
        uint64_t epoch; /* of the lease that we hold or held; 0: none */
        bool over; /* rule L7 or L12: never act on this epoch again */
        uint64_t old_incarnation; /* adopted, and not renewed by this process yet; else 0 */
        struct instant valid_until;
        struct instant demote_at;
        struct instant close_by;
        struct instant renew_at;
        struct instant
                hands_asked; /* the oldest hold that the hands have not confirmed; or NEVER */
        struct node_stamp stamps[NODE_STAMPS_MAX]; /* ring by sequence */
};

struct node_service {
        struct node_service_config config;
        struct failover *failover; /* NULL where this node is no member of the service */
        struct failover_view view;
        struct node_holder holder;
        struct node_database_status status;
        bool addresses;
        bool looked_at; /* nothing has changed since the last look */
        struct instant report_at;
        uint64_t step_started_id;
        struct instant step_started;
        enum failover_step step_started_kind;
};

enum node_request_kind {
        NODE_REQUEST_NONE,
        NODE_REQUEST_WRITE,
        NODE_REQUEST_READ,
        NODE_REQUEST_CATCH_UP, /* our own read after a start */
        NODE_REQUEST_CHANGE, /* of the member list */
};

struct node_request;

/* Requests that wait for the same, the first one longest. */
struct node_queue {
        struct node_request *first, *last;
        size_t n_bytes; /* of the writes in it */
};

/* Something that waits for the leader; its slot is its sequence modulo NODE_REQUESTS_MAX. */
struct node_request {
        enum node_request_kind kind;
        uint64_t request;
        uint64_t sequence;
        struct instant deadline;
        struct instant again; /* it was refused: not sent before */
        struct node_queue *queue;
        struct node_request *next, *previous; /* in the queue */
        uint8_t *bytes; /* of a write that may have to be sent later */
        size_t n;
        uint64_t batch; /* of a read: the question to the leader that it is part of */
        uint64_t index; /* of a read that is confirmed: it is served once this is applied */
        bool forgotten;
        bool is_repeated; /* it was asked of another leader before, and may have been done */
};

/* The result of an answered write; what it points to is kept. */
struct node_result {
        struct store_result shown;
        struct store_event event;
};

/* The leader's question to the others about leases that ran out. */
struct node_inquiry {
        uint64_t number;
        bool open;
        struct instant again; /* not asked again before */
        struct store_expiry expiries[NODE_ATTEST_MAX]; /* names owned */
        uint8_t agreed[NODE_ATTEST_MAX]; /* how many members agree */
        bool proposed[NODE_ATTEST_MAX];
        uint16_t answered; /* bit by node */
        size_t n;
};

/* A command that waits to be proposed at the end of the step. */
struct node_proposal {
        size_t offset;
        size_t n;
        node_id origin; /* whom to tell when it is refused */
        uint64_t sequence;
};

/* Our own snapshots. */
struct node_snapshots {
        uint64_t index; /* of the newest durable one; 0: none */
        uint64_t term;
        uint64_t bytes;
        struct instant taken_at;
        struct instant not_before;
        bool is_taking;
        bool is_ordered; /* the next one is due at once */
        uint64_t bytes_since; /* that the log has grown by since */
        uint64_t bytes_taken; /* what that was when the one that is being taken began, */
        uint64_t entries_since; /* and how many entries */
        struct store *replaced; /* is released bit by bit */
};

/* A snapshot on its way to another member. */
struct node_transfer {
        bool is_open;
        uint64_t term; /* in which we lead */
        struct node_snapshot snapshot;
        uint64_t offset; /* of the part that the other one needs next */
        uint64_t n_sent;
        uint64_t n_returns; /* how often the other one began anew, or went back */
        unsigned tries;
        struct instant again;
};

/* A snapshot on its way to us. */
struct node_arrival {
        node_id from;
        struct node_snapshot snapshot; /* its offset is that of the part that we need next */
        struct snapshot_reader *reader; /* NULL: none */
        struct store *store; /* built from all parts, to be installed */
        bool is_writing;
        bool is_last; /* what is being written completes it */
};

struct node {
        struct node_config config;
        struct members members;
        struct members told; /* by another member: whom to talk to, until the log says as much */
        char names[MEMBERS_MAX + 1][NAME_SIZE]; /* by id, until another one has it */
        uint64_t seen[MEMBERS_MAX + 1]; /* disks, by id; 0: not seen */
        struct instant members_look_at;
        uint64_t change_index; /* of the change that was proposed last; 0: refused, and why: */
        enum raft_refusal change_refusal;
        struct node_snapshots snapshots;
        struct node_transfer transfers[MEMBERS_MAX + 1];
        struct node_arrival arrival;
        struct node_service *services;
        struct raft *raft;
        struct store *store;
        struct instant now;
        uint64_t wall;
        struct instant started;
        struct instant leader_known; /* when there was a leader last */
        bool is_full; /* our disk: ordinary writes are refused, and leadership is handed on */
        struct instant hand_over_at;
        uint64_t index_recovered; /* last entry that was in the log at the start */
        uint64_t index_applied;
        uint64_t term_applied; /* of that entry */
        bool current;
        struct instant catch_up_at;
        uint64_t store_index_seen; /* orders were read at this state of the tree */
        uint64_t sequence;
        struct node_request *requests;
        size_t n_requests; /* that wait */
        uint64_t oldest; /* no request of a smaller sequence waits */
        uint64_t read_batch; /* the last question to the leader about reads */
        struct node_queue fresh; /* go out with the next batch */
        struct node_queue refused; /* become fresh again after a pause */
        struct node_queue written; /* writes on their way */
        struct node_queue asked; /* reads on their way, oldest batch first */
        struct node_queue deciding; /* changes of the member list on their way, within one step */
        struct node_queue changing; /* changes of the member list that wait for their index */
        struct node_queue confirmed; /* reads that wait for their index */
        bool holds_back; /* something waits for more to go out with */
        struct instant held_since;
        struct node_receipt *receipts;
        struct node_inquiry inquiry;

        struct buffer proposals_bytes;
        struct node_proposal *proposals;
        size_t n_proposals, n_proposals_max;
        size_t chunk_first, chunk_end; /* of them, that Raft is being given */
        struct raft_entry *commands; /* RAFT_APPEND_ENTRIES_MAX that are being proposed */

        struct raft_entry *entries; /* of the message that is being decoded */
        struct buffer out; /* bytes of NODE_SEND effects */
        struct node_effect *effects;
        size_t *offsets; /* into `out`, one for each effect */
        size_t n_effects, n_effects_max, n_offsets_max;
        struct node_result *results; /* of NODE_ANSWERED effects: index in `offsets` */
        size_t n_results, n_results_max;
        struct node_kept *kept; /* what they and other effects point to */
};

/* node.c */
struct node_effect *node_add(struct node *n, enum node_effect_type type);
struct node_note *node_note(struct node *n, enum node_note_type type);
bool node_is_leader(const struct node *n);
void node_woken(struct node *n, const uint64_t *watchers, size_t n_watchers);
/* Proposes a command at the end of the step, here or by the leader; @sequence is its origin's. */
void node_propose(struct node *n, const struct store_command *c);
void node_propose_bytes(struct node *n, const uint8_t *bytes, size_t size, node_id origin,
                        uint64_t sequence);
/* Tells the member that made it that a proposal did not get into the log. */
void node_refuse_proposal(struct node *n, node_id origin, uint64_t sequence, bool is_full);
/* Whether a leader takes what the bytes of a command want: a full disk has room for leases only. */
bool node_has_room_for(const struct node *n, const uint8_t *bytes, size_t size);
void node_feed_raft(struct node *n, const struct raft_event *event);
const char *node_name(const struct node *n, node_id id);
size_t node_service_find(const struct node *n, const char *name); /* n_services: none */
unsigned node_quorum(const struct node *n);
/* Begins a message to @to; its bytes are appended to the result until the next node_add(). */
struct buffer *node_send(struct node *n, node_id to, uint8_t type);
void node_send_end(struct node *n);

/* node-message.c */
enum node_message {
        NODE_MESSAGE_RAFT = 1,
        NODE_MESSAGE_PROPOSE,
        NODE_MESSAGE_PROPOSAL_REFUSED,
        NODE_MESSAGE_READ,
        NODE_MESSAGE_READ_INDEX,
        NODE_MESSAGE_ATTEST,
        NODE_MESSAGE_ATTESTED,
        NODE_MESSAGE_REPORT,
        NODE_MESSAGE_MEMBERS,
        NODE_MESSAGE_CHANGE,
        NODE_MESSAGE_CHANGE_DECIDED,
        NODE_MESSAGE_SNAPSHOT,
        NODE_MESSAGE_SNAPSHOT_REPLY,
        NODE_MESSAGES,
};
void node_received(struct node *n, node_id from, const uint8_t *bytes, size_t size);
void node_message_put_report(struct buffer *b, const struct failover_report *r);
void node_message_get_report(struct reader *r, struct failover_report *ret);

/* node-lease.c */
void node_lease_applied(struct node *n, const struct store_result *result);
/* The store is another one: each service is looked at anew. */
void node_lease_restored(struct node *n);
void node_lease_renew(struct node *n);
void node_lease_campaign(struct node *n, size_t service);
void node_lease_release(struct node *n, size_t service, node_id reserved_for);
enum failover_lease_state node_lease_state(const struct node *n, size_t service);
bool node_lease_wanted(const struct node_service *s);
struct instant node_lease_deadline(const struct node *n);

/* node-expiry.c */
void node_expiry_look(struct node *n);
struct instant node_expiry_deadline(const struct node *n);
void node_expiry_asked(struct node *n, node_id from, struct reader *r);
void node_expiry_answered(struct node *n, node_id from, struct reader *r);
bool node_expiry_attests(const struct node *n, const struct store_expiry *e);
/* How many of @entries this member may append: up to the first expiry that it does not attest. */
size_t node_expiry_filter(struct node *n, const struct raft_message *m);
void node_expiry_done(struct node *n);
void node_receipt_add(struct node *n, uint64_t index, uint64_t term);
struct instant node_receipt_of(const struct node *n, uint64_t index, uint64_t term);

/* node-keep.c */
/* A copy of @size bytes, with a NUL byte behind them, that lives until the next step. */
char *node_keep(struct node *n, const char *bytes, size_t size);
void node_keep_clear(struct node *n);
void node_keep_free(struct node *n);

/* node-request.c */
void node_request_write(struct node *n, uint64_t request, const struct store_key_command *key);
void node_request_read(struct node *n, uint64_t request, enum node_request_kind kind);
void node_request_forget(struct node *n, uint64_t request);
void node_request_applied(struct node *n, const struct store_result *result);
void node_request_refused(struct node *n, uint64_t sequence, bool is_full);
void node_request_leader_changed(struct node *n);
/* The store is another one, which may hold what was written here. */
void node_request_installed(struct node *n);
void node_request_read_ready(struct node *n, uint64_t context, bool ok, uint64_t index);
void node_request_clear_results(struct node *n);
void node_request_look(struct node *n);
/* Sends what is new, as one batch. */
void node_request_flush(struct node *n);
struct instant node_request_deadline(const struct node *n);
/* The number under which the leader's core knows a read: who asked, and its sequence there. */
uint64_t node_request_context(node_id node, uint64_t sequence);
/* @request 0: nobody is told. */
void node_answer(struct node *n, uint64_t request, enum node_outcome outcome,
                 const struct store_result *result, const char *text);

/* A change of the member list, encoded; takes over @bytes. */
void node_request_change(struct node *n, uint64_t request, uint8_t *bytes, size_t size);
/* The leader has decided about it: appended at @index, not now, or refused. */
void node_request_decided(struct node *n, uint64_t sequence, bool is_appended, bool is_for_later,
                          uint64_t index, const char *reason);

/* node-members.c */
void node_members_start(struct node *n);
void node_members_changed(struct node *n);
bool node_is_member(const struct node *n, node_id id);
void node_members_tell(struct node *n, node_id to);
void node_members_told(struct node *n, node_id from, struct reader *r);
void node_members_seen(struct node *n, node_id id, uint64_t incarnation);
void node_members_change(struct node *n, uint64_t request, const struct node_change *c);
void node_members_ask(struct node *n, struct node_request *q);
void node_members_asked(struct node *n, node_id from, struct reader *r);
void node_members_answered(struct node *n, node_id from, struct reader *r);
void node_members_look(struct node *n);
struct instant node_members_deadline(const struct node *n);

/* node-snapshot.c */
void node_snapshot_look(struct node *n);
struct instant node_snapshot_deadline(const struct node *n);
void node_snapshot_order(struct node *n);
void node_snapshot_taken(struct node *n, const struct node_event *event);
/* The member can be reached: what was on its way to it is lost. */
void node_snapshot_seen(struct node *n, node_id id);
void node_snapshot_wanted(struct node *n, node_id to);
void node_snapshot_read(struct node *n, const struct node_event *event);
void node_snapshot_replied(struct node *n, node_id from, struct reader *r);
void node_snapshot_received(struct node *n, node_id from, struct reader *r);
void node_snapshot_written(struct node *n, const struct node_event *event);
void node_snapshot_installed(struct node *n, uint64_t index);
void node_snapshot_members_changed(struct node *n);
void node_snapshot_done(struct node *n);

/* node-service.c */
void node_service_members_changed(struct node *n);
void node_service_start(struct node *n);
void node_service_done(struct node *n);
void node_service_look(struct node *n);
void node_service_event(struct node *n, size_t service, const struct failover_event *event);
void node_service_hands(struct node *n, const struct node_event *event);
void node_service_reported(struct node *n, node_id from, size_t service,
                           const struct failover_report *report);
void node_service_order(struct node *n, const struct node_event *event);
struct instant node_service_deadline(const struct node *n);
