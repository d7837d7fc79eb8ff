/*
 * The replicated state machine: a tree of keys with etcd v2 semantics, and the leases of keys and
 * of masterships. All changes are commands that arrive through the log; applying one is
 * deterministic and looks at no clock. It may include election/base only.
 *
 * Times enter only as notes: for each lease this replica keeps the instant at which it received
 * the last renewal. A note never influences what a command does, only whether this replica may
 * propose, or attest, that the lease has run out.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "election/base/buffer.h"
#include "election/base/names.h"
#include "election/base/time.h"

enum {
        STORE_KEY_BYTES_MAX = 4096, /* bytes of a path */
        STORE_KEY_DEPTH_MAX = 64, /* components of a path */
        STORE_VALUE_BYTES_MAX = 1000000, /* bytes of a value */
        STORE_HISTORY_MAX = 1000, /* events that a late watcher can still read */
        STORE_HISTORY_BYTES_MAX = 64 * 1024 * 1024, /* of them, but for the newest */
        STORE_WATCHERS_MAX = 10000,
        STORE_STREAM_MAX = 100, /* events that one who stays may leave waiting */
        STORE_BATCH_MAX = SERVICES_MAX, /* leases in one renewal or expiry */
        STORE_POSITION_MAX = 128, /* bytes of the position that a renewal carries */
        STORE_SESSIONS_MAX = 4, /* processes of one node that are remembered; see store_origin */
        STORE_SESSION_ANSWERS_MAX = 4096, /* of one process that are kept for a repetition */
        STORE_SESSION_BYTES_MAX = 4 * 1024 * 1024, /* of them, but for the newest */
};

/* The directory of our own records; ordinary writes below it are refused. */
#define STORE_SYSTEM_DIRECTORY "/_failoverd"

enum store_command_type {
        STORE_KEY = 1, /* any change of a key */
        STORE_ACQUIRE, /* take a free mastership */
        STORE_RENEW, /* renew all masterships of a node that are named */
        STORE_RELEASE, /* the holder has stopped acting */
        STORE_CLOSE, /* no more renewals are accepted */
        STORE_EXPIRE, /* leases that ran out, of masterships and of keys */
        STORE_FENCED, /* the holder was proved to be harmless */
};

/*
 * Who asked; the answer is found by it. The incarnation is random for each start of a process.
 *
 * A change of a key (STORE_KEY) that has a node and a sequence takes effect at most once, however
 * often it is in the log. The store keeps, for each process, the answers to its
 * STORE_SESSION_ANSWERS_MAX highest sequences that were applied (fewer if they are large, see
 * STORE_SESSION_BYTES_MAX). For a command of such a process:
 *   - a sequence whose answer is kept: nothing changes, the result is that of the first time
 *     (error, cause, index, event) and is marked by ret->repeated;
 *   - a sequence that is above all whose answers were given up is applied, in whatever order
 *     sequences come, and with any gaps;
 *   - any other: nothing changes, the error is STORE_ANSWER_LOST. It may have been applied before.
 * Answers are given up in the order of their sequences: when there are too many, and when a command
 * says by `settled` that the process waits for them no longer. So a process that says so never
 * finds the answer lost while it has fewer than STORE_SESSION_ANSWERS_MAX sequences open, and
 * what it gave up without an answer can take no effect behind its next command.
 *
 * Of each node the STORE_SESSIONS_MAX processes are remembered that wrote last; all but the newest
 * keep few answers. Commands of one that is no longer remembered answer STORE_ANSWER_LOST. All
 * this happens by commands alone, and so alike on all replicas.
 *
 * With node or sequence 0 a command is applied each time. Commands about leases compare epochs and
 * need no such care.
 */
struct store_origin {
        node_id node;
        uint64_t incarnation;
        uint64_t sequence;
};

enum store_key_action {
        STORE_SET,
        STORE_CREATE, /* POST: an in-order child of the path is made */
        STORE_DELETE,
};

enum store_condition {
        STORE_ANY,
        STORE_MUST_EXIST, /* prevExist=true: update */
        STORE_MUST_NOT_EXIST, /* prevExist=false: create */
};

/*
 * A change of a key, as section 4 of the etcd v2 API names its parameters. Strings are borrowed.
 * A value with a NUL byte inside needs its length; for others n_... = 0 means "until the NUL".
 */
struct store_key_command {
        enum store_key_action action;
        const char *path; /* as store_path_clean() leaves it */
        const char *value; /* NULL is the same as the empty string */
        size_t n_value;
        bool directory;
        bool recursive;
        bool refresh; /* renew the TTL only; watchers are not told */
        bool system; /* by failoverd itself: may write below STORE_SYSTEM_DIRECTORY */
        enum store_condition condition;
        const char *previous_value; /* NULL: not compared */
        size_t n_previous_value;
        uint64_t previous_index; /* 0: not compared */
        bool has_ttl;
        usec_t ttl; /* 0 is due at once; a change without has_ttl takes a TTL away */
};

struct store_renewal {
        char service[NAME_SIZE];
        uint64_t epoch;
        uint64_t sequence; /* of the holder's stamp, see rule L2 */
        uint8_t position[STORE_POSITION_MAX]; /* opaque: how far the master's data are */
        size_t n_position; /* 0: unknown, the position known before is kept */
};

enum store_lease_kind {
        STORE_LEASE_MASTER,
        STORE_LEASE_KEY,
};

/* A lease that ran out: named with the renewal that was seen, which apply compares (rule L5). */
struct store_expiry {
        enum store_lease_kind kind;
        char *name; /* service or path; owned by whoever filled it, borrowed in a decoded command */
        uint64_t epoch; /* of a master lease; 0 for a key */
        uint64_t renewed; /* log index of the last accepted grant or renewal */
};

struct store_command {
        enum store_command_type type;
        struct store_origin origin;
        /* STORE_KEY: the process asks for no lower sequence again; 0 if it does not say. */
        uint64_t settled;
        struct store_key_command key; /* STORE_KEY */
        char service[NAME_SIZE]; /* ACQUIRE, RELEASE, CLOSE, FENCED */
        uint64_t epoch; /* RELEASE, CLOSE, FENCED */
        usec_t ttl; /* ACQUIRE */
        node_id reserved_for; /* RELEASE: whom a switchover means to follow, or nobody */
        uint64_t old_incarnation; /* RENEW: of the process whose lease is continued, or 0 */
        struct store_renewal *renewals; /* RENEW */
        struct store_expiry *expiries; /* EXPIRE */
        size_t n; /* of renewals or expiries: 1 to STORE_BATCH_MAX */
        void *memory; /* of a decoded command, see store_command_decode() */
};

enum store_lease_state {
        STORE_LEASE_FREE,
        STORE_LEASE_HELD,
        STORE_LEASE_CLOSING,
};

/* A mastership. Free ones keep what their last holder left. */
struct store_lease {
        char service[NAME_SIZE];
        enum store_lease_state state;
        node_id holder; /* also of a free one: who held it last */
        uint64_t incarnation; /* of the holder's process */
        uint64_t epoch; /* log index of the grant; 0: never granted */
        uint64_t renewed; /* log index of the last accepted grant or renewal */
        usec_t ttl;
        node_id reserved_for; /* free, and released in favour of this node */
        uint64_t freed; /* log index of what freed it */
        bool expired; /* it was freed by expiry, not by its holder */
        uint8_t position[STORE_POSITION_MAX];
        size_t n_position;
        struct instant noted; /* this replica received `renewed`; or `freed` when free */
};

/* etcd v2 error codes. */
enum store_error {
        STORE_OK = 0,
        STORE_KEY_NOT_FOUND = 100,
        STORE_TEST_FAILED = 101,
        STORE_NOT_FILE = 102,
        STORE_NOT_DIRECTORY = 104,
        STORE_NODE_EXIST = 105,
        STORE_ROOT_READ_ONLY = 107,
        STORE_DIRECTORY_NOT_EMPTY = 108,
        STORE_KEY_FORBIDDEN = 110, /* ours: below STORE_SYSTEM_DIRECTORY */
        STORE_INVALID_FIELD = 209, /* the path of an in-order key would be too long */
        STORE_ANSWER_LOST = 300, /* ours: it may have been applied already; see store_origin */
        STORE_WATCHER_CLEARED = 400, /* ours: there are STORE_WATCHERS_MAX already */
        STORE_INDEX_CLEARED = 401,
};

struct store_node; /* a key or directory in the tree; see the getters below */

enum store_action {
        STORE_DID_GET,
        STORE_DID_SET,
        STORE_DID_CREATE,
        STORE_DID_UPDATE,
        STORE_DID_COMPARE_AND_SWAP,
        STORE_DID_DELETE,
        STORE_DID_COMPARE_AND_DELETE,
        STORE_DID_EXPIRE,
};

/* A key as an answer or event shows it. Strings are owned by the event or the tree. */
struct store_view {
        const char *path;
        const char *value; /* NULL for a directory, and for a deleted key */
        size_t n_value; /* bytes of it; a NUL follows that is not counted */
        bool directory;
        uint64_t created;
        uint64_t modified;
        bool has_ttl;
        usec_t ttl; /* as it was set */
        struct instant renewed; /* when this replica received it */
};

/* One change of the tree; kept in the history, counted by its index. */
struct store_event {
        enum store_action action;
        uint64_t index; /* etcd index */
        bool refresh;
        struct store_view node;
        bool has_previous;
        struct store_view previous;
};

/* What a command did. Pointers are valid until the next apply. */
struct store_result {
        bool valid; /* the bytes were a command */
        enum store_command_type type;
        struct store_origin origin;
        bool repeated; /* STORE_KEY: it was applied before; this is the answer of that time */
        enum store_error error; /* STORE_KEY */
        const char *cause; /* of an error; may quote a value, NUL bytes included */
        size_t n_cause;
        uint64_t index; /* etcd index after it; of a repeated one: after the first time */
        const struct store_event *event; /* STORE_KEY that succeeded */
        char service[NAME_SIZE]; /* ACQUIRE, RELEASE, CLOSE, FENCED */
        uint64_t epoch; /* ACQUIRE that was accepted: the new one; others: as named */
        bool accepted; /* ACQUIRE, RELEASE, CLOSE, FENCED */
        /* RENEW and EXPIRE: what happened to each that was named, in order. */
        const struct store_outcome *outcomes;
        size_t n_outcomes;
        const uint64_t *woken; /* watchers that now have an event, or an error, waiting */
        size_t n_woken;
};

struct store_outcome {
        const char *name;
        enum store_lease_kind kind;
        uint64_t epoch;
        uint64_t sequence; /* of a renewal */
        bool accepted;
};

struct store;

struct store *store_new(void);
void store_free(struct store *s);

/*
 * Releases up to @n keys of a store that is no longer used, then the store itself: false when all
 * is gone. To be called until then, so that a million keys cost no pause.
 */
bool store_free_some(struct store *s, size_t n);

/*
 * Applies the command of log entry @index, which is above that of every entry before. @noted is
 * when this replica received the entry (rules L4 and L6), kept beside the leases that it grants
 * or renews. Bytes that are no command change nothing; ret->valid says so.
 */
void store_apply(struct store *s, uint64_t index, const uint8_t *bytes, size_t n,
                 struct instant noted, struct store_result *ret);

/* Equal on replicas that applied the same commands: over all that a snapshot has. */
uint32_t store_checksum(const struct store *s);

/*
 * Snapshots: all that decides what commands do and what readers and watchers are shown, and
 * nothing of this replica (notes, watchers, statistics). Replicas that applied the same
 * commands write the same bytes. They carry no checksum: that is the business of the container.
 */

/* Takes the next @n bytes; a negative errno ends the writing. */
typedef int store_sink(void *userdata, const uint8_t *bytes, size_t n);

/* Writes all of @s, in pieces. Returns 0, or what the sink returned. */
int store_snapshot_write(const struct store *s, store_sink *sink, void *userdata);

struct store_restore;

struct store_restore *store_restore_new(void);
/* Gives up. NULL is accepted. */
void store_restore_free(struct store_restore *r);
/*
 * Reads on, in pieces of any size; what it costs is bounded by @n. -EBADMSG if these are not the bytes
 * of a snapshot; then only store_restore_free() may follow.
 */
int store_restore_feed(struct store_restore *r, const uint8_t *bytes, size_t n);
/*
 * The store when all was fed; every lease counts as received at @noted (rule L6). NULL if the snapshot
 * is not whole. Frees @r in any case.
 */
struct store *store_restore_finish(struct store_restore *r, struct instant noted);

/*
 * Whether all of @c is within the limits and has the fields that its type needs: 0 or -EINVAL.
 * What does not pass is refused by store_command_decode(), on every replica.
 */
int store_command_check(const struct store_command *c);

/* Appends the coded @c to @b. */
void store_command_encode(const struct store_command *c, struct buffer *b);

/*
 * Decodes a whole command; lists and strings are allocated, release with store_command_done().
 * Returns 0, or -EBADMSG and nothing to release; @ret is only written on success.
 */
int store_command_decode(const uint8_t *bytes, size_t n, struct store_command *ret);
void store_command_done(struct store_command *c);

/* Which kind of command the bytes seem to hold, by their first ones; 0 if none. */
enum store_command_type store_command_peek(const uint8_t *bytes, size_t n);

/* The number of changes of the tree so far. */
uint64_t store_index(const struct store *s);

/*
 * The log index of the last command; the next one that is applied must have a higher one. What came
 * with a snapshot is to be compared with the index that the snapshot claims to stand for.
 */
uint64_t store_applied(const struct store *s);

/* A mastership, or NULL if the service never had a master. Valid until the next apply. */
const struct store_lease *store_lease(const struct store *s, const char *service);
/* All masterships, one after the other from @i = 0; NULL behind the last. */
const struct store_lease *store_lease_at(const struct store *s, size_t i);

/*
 * Leases whose time is over at @now by this replica's own notes (TTL after receipt), at most
 * @max of them and STORE_BATCH_MAX into @ret: masterships, then keys by their deadlines. Names are
 * borrowed until the next apply. Returns how many.
 */
size_t store_leases_due(const struct store *s, struct instant now, struct store_expiry *ret,
                        size_t max);

/* When store_leases_due() would first name one that it did not name at @now; FOREVER if none. */
struct instant store_next_due(const struct store *s, struct instant now);

/*
 * Whether this replica's notes agree at @now that the lease has run out as named, or that the
 * name no longer fits the lease (then the expiry does nothing). Unknown renewals do not agree.
 */
bool store_attests(const struct store *s, const struct store_expiry *e, struct instant now);

/*
 * Every lease counts as received at @now: after a restart, and when notes were lost (rule L6). A
 * free mastership counts as freed at @now.
 */
void store_notes_reset(struct store *s, struct instant now);

/* Reading. A path is cleaned by store_path_clean() before. */
enum store_error store_get(const struct store *s, const char *path, const struct store_node **ret);
/*
 * The cause of the error that store_get() would give for @path: the first part of it that is missing,
 * or the file in the way. Returns its length; STORE_KEY_BYTES_MAX + 1 bytes are always enough.
 */
size_t store_get_cause(const struct store *s, const char *path, char *ret, size_t size);
struct store_view store_node_view(const struct store_node *n);
/* Children of a directory in no order that means anything, one after the other; NULL at the end. */
const struct store_node *store_node_first(const struct store_node *n);
const struct store_node *store_node_next(const struct store_node *n);
/* Its own name begins with '_': listings leave it out. */
bool store_node_hidden(const struct store_node *n);

/*
 * Cleans a path: leading slash, no trailing or double slashes. Returns the length, or -EINVAL if it
 * has components "." or "..", or is beyond the limits.
 */
int store_path_clean(const char *path, char *ret, size_t size);

/*
 * Waits for the next event at or after @since (0: from now on) on @path, or below it if
 * @recursive. If one is in the history it is returned in @ret_event, valid until the next apply,
 * and no watcher is made; otherwise that is NULL and @ret_watcher gets a number, never 0. One event
 * ends a watcher. Errors: STORE_INDEX_CLEARED when @since is older than the history (its cause
 * names store_history_oldest() and @since), STORE_WATCHER_CLEARED.
 */
enum store_error store_watch_add(struct store *s, const char *path, bool recursive, uint64_t since,
                                 const struct store_event **ret_event, uint64_t *ret_watcher);
/*
 * Watches like store_watch_add(), but the watcher stays until it is removed: every event that
 * matches waits for store_watch_take() in its turn, those that the history has from @since on at
 * once. It is woken by each command that adds one. One that leaves STORE_STREAM_MAX later events
 * waiting gets those, and then is over.
 */
enum store_error store_watch_stream(struct store *s, const char *path, bool recursive,
                                    uint64_t since, uint64_t *ret_watcher);
/*
 * The next event that waits for @watcher, valid until the next apply; one that does not stay is
 * forgotten by this. NULL if nothing waits, or it was never there.
 */
const struct store_event *store_watch_take(struct store *s, uint64_t watcher);
/* Nothing waits, and nothing will come: it fell behind, or the events it waited for were lost. */
bool store_watch_is_over(const struct store *s, uint64_t watcher);
void store_watch_remove(struct store *s, uint64_t watcher);

/*
 * The watchers of @from go on with @to, which takes its place and has none yet, under their
 * numbers: what changed in between they find in its history, or they are over if that does not
 * reach back so far. @ret_woken lends the numbers of those that now have an event waiting or
 * are over, until the next apply. Returns how many.
 */
size_t store_watch_move(struct store *to, struct store *from, const uint64_t **ret_woken);

/* The index of the oldest event that a watcher can still read; one above store_index() if none. */
uint64_t store_history_oldest(const struct store *s);

/* How often each operation was applied here, for /v2/stats/store; repetitions do not count. */
struct store_counter {
        uint64_t success;
        uint64_t fail;
};

struct store_stats {
        struct store_counter sets;
        struct store_counter deletes;
        struct store_counter updates;
        struct store_counter creates;
        struct store_counter compare_and_swaps;
        struct store_counter compare_and_deletes;
        uint64_t expirations; /* of keys */
        uint64_t watchers; /* now */
};

/* Since the store was made, or read; reads are counted by whoever serves them. */
struct store_stats store_stats(const struct store *s);

const char *store_error_message(enum store_error error);
const char *store_action_name(enum store_action action);
const char *store_command_name(enum store_command_type type);
