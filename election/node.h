/*
 * One member of the cluster as a whole, still pure: Raft, store, leases and the failover of each
 * service, wired together. The daemon feeds events and carries out effects; so does the simulator,
 * with the same code in between. Ring 2: it may include the rooms of election/ and nothing else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "election/base/chain.h"
#include "election/base/names.h"
#include "election/base/time.h"
#include "election/failover/failover.h"
#include "election/members.h"
#include "election/raft/raft.h"
#include "election/store/store.h"

enum {
        NODE_MESSAGE_BYTES_MAX = RAFT_ENTRY_BYTES_MAX + 64 * 1024,
        NODE_REQUESTS_MAX = 4096, /* client requests that wait for an answer */
        NODE_TEXT_SIZE = 256, /* bytes of a text from outside, with the final NUL */
        NODE_SNAPSHOT_PART_MAX = 256 * 1024, /* bytes of a snapshot in one message */
};

struct node_service_config {
        char name[NAME_SIZE];
        usec_t ttl;
        usec_t renew;
        struct lease_chain chain;
        struct failover_config failover;
        /* Who may hold it, if not failover.members for good: all that may hold any, or these. */
        bool is_for_all;
        char holders[MEMBERS_MAX][NAME_SIZE];
        unsigned n_holders;
};

struct node_config {
        node_id self;
        uint64_t cluster_id;
        uint64_t disk_incarnation; /* of our log; 0 if nobody needs to tell it from another */
        uint64_t incarnation; /* random for each start of the process, below 2^63 */
        uint64_t seed;
        struct members members; /* founding; none in a member that joins */
        usec_t heartbeat;
        usec_t election_timeout;
        usec_t request_timeout; /* a client's request is answered within it */
        uint64_t snapshot_bytes; /* of the log that call for a snapshot; 0: none are taken */
        usec_t snapshot_age; /* after which there is one for fewer */
        bool pre_vote;
        const struct node_service_config *services; /* the same names on each member, copied */
        size_t n_services;
};

/* A lease that the hands still hold for an earlier process of this node. */
struct node_adopted {
        size_t service;
        uint64_t epoch;
        uint64_t incarnation;
        struct instant demote_at;
        struct instant close_by;
};

/* A snapshot, or a part of one. */
struct node_snapshot {
        uint64_t index; /* of the last entry that it holds, */
        uint64_t term; /* and its term: these two name it */
        uint64_t bytes; /* of all of it */
        uint64_t offset; /* of a part */
        size_t n_wanted; /* bytes that a part should have, if there are so many */
        bool is_last; /* nothing follows the part */
};

enum node_change_type {
        NODE_CHANGE_ADD,
        NODE_CHANGE_PROMOTE, /* an observer begins to learn, a learner becomes a voter */
        NODE_CHANGE_REMOVE,
        NODE_CHANGE_UPDATE, /* where it is reached */
        NODE_CHANGES,
};

/* A change of the member list. */
struct node_change {
        enum node_change_type type;
        char name[NAME_SIZE]; /* of the member */
        enum member_kind kind; /* ADD */
        struct endpoint peer; /* ADD and UPDATE */
        struct endpoint api;
};

/* What the executor or an agent says of a service of this node. */
struct node_database_status {
        enum failover_database_state state;
        enum failover_database_role role;
        bool healthy;
        bool writable;
        bool streaming;
        bool frozen;
        bool clean;
        struct failover_position position;
        node_id upstream;
        char reason[FAILOVER_REASON_SIZE];
};

enum node_event_type {
        NODE_TIMEOUT, /* node_deadline() has come */
        NODE_RECEIVED, /* @bytes of one message from the member @from */
        NODE_PERSISTED, /* all NODE_PERSIST effects up to @generation are durable */
        NODE_WRITE, /* a client's @key change; NODE_ANSWERED with @request follows */
        NODE_READ, /* a client wants to read what is true now; NODE_ANSWERED follows */
        NODE_SUSPECT, /* a hint that the member @from is gone; never more than a reason to ask others */
        NODE_FORGET, /* the client of @request has gone */
        NODE_ORDER, /* switchover, failover, pause, …; NODE_ANSWERED follows */
        NODE_SPACE, /* our disk has room for more, if @ok; else it is full */
        NODE_CHANGE, /* of the member list: @change; NODE_ANSWERED follows */
        NODE_SEEN, /* the machine behind @from has the disk @incarnation */
        NODE_SNAPSHOT_ORDERED, /* for a backup: NODE_SNAPSHOT_TAKE follows if anything is newer */
        NODE_SNAPSHOT_TAKEN, /* @snapshot is durable, with its bytes, if @ok */
        NODE_SNAPSHOT_PART_READ, /* the part @snapshot for the member @from: @bytes, if @ok */
        NODE_SNAPSHOT_PART_WRITTEN, /* the part asked for last; the last one: all is durable, if @ok */
        NODE_HANDS_STATUS, /* @status of the database of @service */
        NODE_HANDS_ACK, /* the hold of @service and @epoch is armed */
        NODE_HANDS_DONE, /* step @id of @service ended: @ok, @text, @status->position */
        NODE_HANDS_CLOSED, /* the hands let go of @service by themselves: @ok if it is proved */
        NODE_HANDS_ADDRESSES, /* the addresses of @service are in place: @ok */
};

enum node_order {
        NODE_ORDER_SWITCHOVER, /* to @target, or the best if nobody is named */
        NODE_ORDER_FAILOVER, /* to @target, whatever may be lost */
        NODE_ORDER_CANCEL,
        NODE_ORDER_PAUSE,
        NODE_ORDER_RESUME,
        NODE_ORDER_BOOTSTRAP, /* here; @bootstrap */
        NODE_ORDER_CLONE, /* here */
};

struct node_event {
        enum node_event_type type;
        struct instant now; /* read after the event happened; never earlier than the event before */
        uint64_t wall; /* microseconds since 1970: for the history, never for a decision */
        bool more; /* another event follows at once: what may go out together waits for it; in
                    * node_deadline(), which is now if there is such */
        uint64_t request; /* the caller's number, not 0 */
        node_id from;
        const uint8_t *bytes;
        size_t n;
        uint64_t generation;
        const struct store_key_command *key;
        const struct node_change *change;
        uint64_t incarnation;
        struct node_snapshot snapshot;
        size_t service;
        enum node_order order;
        node_id target;
        enum failover_bootstrap bootstrap;
        uint64_t epoch;
        uint64_t id;
        bool ok;
        const char *text;
        const struct node_database_status *status;
};

enum node_outcome {
        NODE_OK, /* carried out, or what is read now is true */
        NODE_REFUSED, /* by the rules: @text says why */
        NODE_NO_QUORUM, /* nothing was done, or for a write: not known in time */
        NODE_OVERLOADED, /* too many requests, nothing was done */
        NODE_FULL, /* the disk of the leader is full, nothing was done */
};

enum node_effect_type {
        NODE_PERSIST, /* @persist; entries by node_entry_at() */
        NODE_SEND, /* @bytes to the member @to, now */
        NODE_ANSWERED, /* @request: @outcome, @result of a write */
        NODE_HOLD, /* the lease of @service, @epoch is ours: deadlines in @hold */
        NODE_LET_GO, /* the lease of @service, @epoch is over and all is closed: disarm */
        NODE_RUN, /* step @run of @service under @epoch */
        NODE_CANCEL, /* step @id of @service is no longer wanted */
        NODE_WOKEN, /* @watchers of the store have something to take */
        NODE_MEMBERS, /* node_members() or node_contacts() has changed; also in the first step */
        /*
         * Write a snapshot of what is now, by node_snapshot_write(), before the next step or from a
         * copy of this moment; NODE_SNAPSHOT_TAKEN follows.
         */
        NODE_SNAPSHOT_TAKE,
        NODE_SNAPSHOT_READ, /* @snapshot->n_wanted bytes of @snapshot for the member @to */
        /*
         * Write a part that was received; offset 0 begins anew, whatever was begun before. The last
         * one is confirmed when all of it is durable under its name.
         */
        NODE_SNAPSHOT_WRITE,
        NODE_NOTE, /* something worth a line in the journal; describe.h words it */
};

struct node_hold {
        uint64_t incarnation;
        struct instant demote_at;
        struct instant close_by;
        struct instant valid_until;
};

struct node_run {
        uint64_t id;
        enum failover_step step;
        struct instant deadline;
        enum failover_mode mode;
        enum failover_bootstrap bootstrap;
        node_id peer;
};

enum node_note_type {
        NODE_NOTE_RAFT, /* @raft */
        NODE_NOTE_ROLE, /* Raft role, term or leader changed */
        NODE_NOTE_CURRENT, /* has caught up after the start */
        NODE_NOTE_LEASE_GRANTED, /* @service, @epoch to @member */
        NODE_NOTE_LEASE_EXPIRED, /* @service, @epoch, of @member */
        NODE_NOTE_LEASE_RELEASED,
        NODE_NOTE_LEASE_REFUSED, /* a renewal of ours was refused */
        NODE_NOTE_LEASE_RAN_OUT, /* no renewal was confirmed in time */
        NODE_NOTE_EXPIRY_EARLY, /* our lease was taken while it was valid by our clock: a clock lied */
        NODE_NOTE_EXPIRY_REFUSED, /* an expiry was not attested */
        NODE_NOTE_STEP_STARTED, /* @step */
        NODE_NOTE_STEP_ENDED, /* @step, @ok, @took, @text */
        NODE_NOTE_MOVED, /* failover state @state_from to @state_to, @text */
        NODE_NOTE_FAILOVER, /* @text */
        NODE_NOTE_BAD_MESSAGE, /* from @member */
        NODE_NOTE_MEMBERS, /* the member list is now that of entry @index */
        NODE_NOTE_SNAPSHOT_TAKEN, /* of all up to @index */
        NODE_NOTE_SNAPSHOT_SENT, /* to @member, begun */
        NODE_NOTE_SNAPSHOT_INSTALLED, /* of all up to @index */
};

struct node_note {
        enum node_note_type type;
        size_t service;
        uint64_t epoch;
        uint64_t term;
        node_id member;
        enum raft_role role;
        enum raft_note raft;
        uint64_t index;
        enum failover_step step;
        enum failover_state state_from;
        enum failover_state state_to;
        bool ok;
        usec_t took;
        char text[FAILOVER_REASON_SIZE];
};

struct node_effect {
        enum node_effect_type type;
        node_id to;
        const uint8_t *bytes; /* SEND, SNAPSHOT_WRITE; valid until the next step */
        size_t n;
        struct node_snapshot snapshot;
        struct raft_persist persist;
        uint64_t request;
        enum node_outcome outcome;
        const struct store_result
                *result; /* of a write that was applied; valid until the next step */
        const char *text; /* valid until the next step */
        size_t service;
        uint64_t epoch;
        uint64_t id;
        struct node_hold hold;
        struct node_run run;
        const uint64_t *watchers;
        size_t n_watchers;
        struct node_note note;
};

struct node_effects {
        const struct node_effect *list;
        size_t n;
};

struct node;

/*
 * A member as it is after a start at @now, with what was durable and what its hands still hold.
 * Takes over @store, which is what the snapshot of @durable holds, or NULL without one. Keeps
 * nothing else that the pointers point to.
 */
struct node *node_new(const struct node_config *config, const struct raft_durable *durable,
                      struct store *store, const struct node_adopted *adopted, size_t n_adopted,
                      struct instant now);
void node_free(struct node *n);

/*
 * Let one event happen. @ret lists what must now be done, in order; it stays valid until the next
 * call. Cannot fail.
 */
void node_step(struct node *n, const struct node_event *event, struct node_effects *ret);

/* When to call node_step() with NODE_TIMEOUT if nothing else happens first. */
struct instant node_deadline(const struct node *n);

const struct raft *node_raft(const struct node *n);
/* For reads, and to add, take and remove watchers. */
struct store *node_store(const struct node *n);
const struct raft_entry *node_entry_at(const struct node *n, uint64_t index);
/* The member list as it is in force. Valid until the next step. */
const struct members *node_members(const struct node *n);
/* Whom to talk to: the same, or a newer list that another member has told. */
const struct members *node_contacts(const struct node *n);

/* Writes a snapshot of what is now to @sink. Returns 0, or its negative result. */
int node_snapshot_write(const struct node *n, store_sink *sink, void *userdata);

/* Whether what was committed before the start has been applied. */
bool node_is_current(const struct node *n);

/* One service as this node sees it. */
struct node_service_view {
        const char *name;
        enum failover_state state;
        struct instant since;
        bool holds; /* the lease is ours until @valid_until */
        struct instant valid_until; /* compare with a fresh clock before saying "master" */
        uint64_t epoch;
        enum failover_lease_state lease;
        node_id holder;
        bool paused;
        bool addresses; /* in place here */
        struct failover_order order;
        struct failover_report reports[MEMBERS_MAX + 1];
};
void node_service_view(const struct node *n, size_t service, struct instant now,
                       struct node_service_view *ret);

/* The verdict about each member as the next master; @ret holds MEMBERS_MAX. Returns how many. */
unsigned node_why_not(const struct node *n, size_t service, struct instant now,
                      struct failover_verdict *ret);

const char *node_outcome_name(enum node_outcome o);
