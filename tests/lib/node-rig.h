/*
 * One to nine members of a cluster on the bench: real nodes, messages and disks without delay, a
 * clock that only the test moves. The hands obey at once unless the test plays them itself.
 */
#pragma once

#include "election/node-internal.h"

enum {
        BENCH_NODES_MAX = MEMBERS_MAX,
        BENCH_SEEN_MAX = 4096, /* effects that are kept */
        BENCH_SERVICES_MAX = 4,
        BENCH_QUEUE_MAX = 8192, /* events under way */
        BENCH_TEXT_SIZE = 512,
        BENCH_SNAPSHOTS_MAX = 2, /* files that a machine keeps */
};

#define BENCH_TTL (3 * USEC_PER_SEC)
#define BENCH_RENEW (300 * USEC_PER_MSEC)
#define BENCH_HEARTBEAT (50 * USEC_PER_MSEC)
#define BENCH_ELECTION (150 * USEC_PER_MSEC)
#define BENCH_REQUEST (2 * USEC_PER_SEC)
#define BENCH_SNAPSHOT_AGE (3600 * USEC_PER_SEC)

/* An effect of a node, with copies of what it points to. */
struct bench_seen {
        node_id node;
        struct instant at; /* by that node's clock */
        struct node_effect effect;
        uint8_t *bytes; /* NODE_SEND: a copy of them, or NULL */
        enum store_error error; /* NODE_ANSWERED with a result */
        char text[BENCH_TEXT_SIZE]; /* NODE_ANSWERED: its text, or the cause of the result */
        char value[BENCH_TEXT_SIZE]; /* NODE_ANSWERED: the value that was written */
};

/* A file. */
struct bench_snapshot {
        uint64_t index; /* 0: there is none */
        uint64_t term;
        struct buffer bytes;
};

struct bench_machine {
        struct node *node; /* NULL: not running */
        uint64_t incarnation;
        int64_t skew; /* of its clock, against that of the bench */
        bool mute_hands; /* the test plays the hands */
        bool no_acks; /* the hands obey, but do not confirm their holds */
        uint64_t term;
        node_id vote;
        struct raft_entry *entries; /* behind snapshot_index */
        size_t n_entries, n_entries_max;
        uint64_t disk; /* its incarnation; 0: nobody asks */
        bool joins; /* it has no founding list */
        uint64_t snapshot_index; /* what its log goes on from */
        uint64_t snapshot_term;
        struct bench_snapshot snapshots[BENCH_SNAPSHOTS_MAX]; /* oldest first */
        struct buffer incoming; /* what was written of a snapshot that is on its way */
        unsigned n_reads, n_writes; /* of parts, until now */
        bool hold_takes; /* the test says when a snapshot has been taken */
        bool fail_takes, fail_reads, fail_writes;
        struct node_database_status status; /* what its hands report after a step */
        bool held[BENCH_SERVICES_MAX];
        struct node_adopted holds[BENCH_SERVICES_MAX]; /* what its hands hold */
};

struct bench {
        struct node_config config;
        struct node_service_config services[BENCH_SERVICES_MAX];
        struct bench_machine machines[BENCH_NODES_MAX + 1]; /* by id */
        struct instant now;
        bool cut[BENCH_NODES_MAX + 1][BENCH_NODES_MAX + 1]; /* from, to */
        bool drop_proposals; /* messages that pass a proposal on are lost */
        /* If it says so, the message goes no further; the test may bring it later, or twice. */
        bool (*catches)(struct bench *b, node_id from, node_id to, const uint8_t *bytes, size_t n);
        void *catcher; /* what that function needs */
        struct bench_event *queue;
        size_t n_queue;
        struct bench_seen *seen;
        size_t n_seen;
        size_t n_answered; /* since bench_forget() */
        uint64_t request;
};

/* What a test chooses; zero is an address on nodes 1 and 2 of three, without a database. */
struct bench_setup {
        unsigned n_nodes;
        unsigned n_services;
        unsigned n_candidates;
        bool has_database;
        bool no_resources;
        bool manual;
        bool follows; /* whoever is a full member may hold the services */
        bool has_disks; /* each machine has an incarnation of its own */
        uint64_t snapshot_bytes;
        usec_t snapshot_age;
};

void bench_start(struct bench *b, const struct bench_setup *setup);
void bench_done(struct bench *b);

/* Lets @event happen to @node, and all that follows from it without time. */
void bench_feed(struct bench *b, node_id node, struct node_event event);
/* Bytes that @from sends to @to; what follows happens, too. */
void bench_message(struct bench *b, node_id from, node_id to, const void *bytes, size_t n);
/* Time passes: each node is fed its time-outs. */
void bench_wait(struct bench *b, usec_t length);
/* Waits until @node leads and is current, or fails the test. */
void bench_lead(struct bench *b, node_id node);
/* Waits until @node is master of service 0. */
void bench_master(struct bench *b, node_id node);
/* Cuts or mends all links of @node. */
void bench_isolate(struct bench *b, node_id node, bool cut);
/* The engine ends; bench_run() starts it again with what its disk and, if @adopt, its hands have. */
void bench_stop(struct bench *b, node_id node);
void bench_run(struct bench *b, node_id node, bool adopt);
/* Starts an empty machine that waits to be told by a leader who is in the cluster. */
void bench_join(struct bench *b, node_id node);
/* All data of a machine that does not run are gone. */
void bench_wipe(struct bench *b, node_id node);
/* Those that run hear whose disk is whose. */
void bench_meet(struct bench *b);
/* A client's change at @node; the answer is seen with the number that is returned. */
uint64_t bench_write(struct bench *b, node_id node, const struct store_key_command *key);
uint64_t bench_order(struct bench *b, node_id node, enum node_order order, node_id target);
/* A change of the member list, asked for at @node. */
struct endpoint bench_endpoint(unsigned machine);
uint64_t bench_change(struct bench *b, node_id node, const struct node_change *change);

struct node_service_view bench_view(struct bench *b, node_id node);
struct instant bench_clock(const struct bench *b, node_id node);
const struct store_lease *bench_lease(struct bench *b, node_id node);

/* Looking back; what is forgotten is not counted any more. */
void bench_forget(struct bench *b);
size_t bench_count(const struct bench *b, node_id node, enum node_effect_type type);
size_t bench_count_notes(const struct bench *b, node_id node, enum node_note_type type);
/* The newest of its kind, or NULL. */
const struct bench_seen *bench_last(const struct bench *b, node_id node,
                                    enum node_effect_type type);
const struct bench_seen *bench_answer(const struct bench *b, uint64_t request);
