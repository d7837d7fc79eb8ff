/*
 * What clients asked, what they were told, and what each replica shows: checked for strict
 * linearizability as a whole, not key by key. Every change of the store has a number of its own, the
 * etcd index, which is the order that is claimed. So no order has to be searched for: it is enough
 * that the claimed one fits what each change may do, what each answer says, and true time.
 *
 *   - All replicas show the same change under the same index, and no index twice.
 *   - A change is what its request asked for, and was possible in the state before it.
 *   - A request changes the store once at most, at no index that was reached before it was made; one
 *     that was refused never does. One without an answer may do so at any later time, or never.
 *   - An answer names a state that is not older than any that was shown to anybody before the request
 *     was made, and says what that state holds.
 *   - A plain read shows a state that once was, and the same replica never goes back.
 *   - A watcher is told of each change, once and in order.
 *
 * It knows nothing of the simulator: it is fed, and says what is wrong.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "election/store/store.h"

enum {
        HISTORY_KEYS = 6, /* files whose whole story is checked */
        HISTORY_OTHER =
                HISTORY_KEYS, /* any other path: only once, in order, and the same everywhere */
        HISTORY_ALL, /* of a watcher: all of the HISTORY_KEYS */
};

/* What a client asks for. A write stores the number of its call. */
struct history_call {
        bool is_read;
        unsigned key;
        enum store_key_action action;
        enum store_condition condition;
        uint64_t previous_number; /* compare with what this call wrote; 0: with nothing */
        uint64_t previous_index;
        bool has_ttl;
        uint64_t floor; /* history_floor() when the client asked */
};

/* A change as a replica shows it. */
struct history_change {
        uint64_t index; /* etcd index; 0: nothing is known of it */
        enum store_action action;
        unsigned key;
        uint64_t number; /* of the call whose value it carries; 0: none */
        uint64_t created;
        bool has_ttl;
        bool has_previous;
        uint64_t previous_number;
        uint64_t previous_modified;
        uint64_t digest; /* of all that the replica shows of it */
};

/* What a read found. */
struct history_found {
        uint64_t index; /* etcd index of the state */
        bool exists;
        uint64_t number;
        uint64_t modified;
};

struct history;

struct history *history_new(void);
void history_free(struct history *h);

/* What is wrong, or NULL. The first finding stays. */
const char *history_failure(const struct history *h);

/* The newest state that anybody was shown. */
uint64_t history_floor(const struct history *h);

/* Call @number, from 1 and rising, is made. */
void history_begin(struct history *h, uint64_t number, const struct history_call *c);

/* A replica shows @c; one that others showed before is compared with theirs. */
void history_changed(struct history *h, const struct history_change *c);

/*
 * Answers. A call that gets none of these may still take effect, and so may one that is told
 * STORE_ANSWER_LOST.
 */
void history_wrote(struct history *h, uint64_t number, enum store_error error, uint64_t index);
void history_refused(struct history *h, uint64_t number); /* nothing was done, and never will be */
void history_read(struct history *h, uint64_t number, const struct history_found *f);

/* A plain read at a replica that showed the state @before last, or 0. */
void history_read_locally(struct history *h, unsigned key, uint64_t before,
                          const struct history_found *f);

/* A watcher of @key since @since is told of the change @index. */
void history_watched(struct history *h, unsigned key, uint64_t since, uint64_t index,
                     uint64_t number);

/* The first change of @key at or after @since, or 0. */
uint64_t history_next(const struct history *h, unsigned key, uint64_t since);

/* The newest state of @key, for clients that compare. */
struct history_found history_newest(const struct history *h, unsigned key);

/* All replicas have shown everything. */
void history_end(struct history *h);
