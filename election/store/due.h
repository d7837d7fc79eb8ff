/*
 * The leases of keys and directories with a TTL, in the order of their deadlines: a treap (Seidel and
 * Aragon 1996). Those that are due stay in it until the log removes them, so it must be cheap to look
 * behind them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "election/base/time.h"
#include "election/store/entry.h"

struct store_node;

/* The lease of one node. What is set once it is in the treap stays as it is. */
struct due {
        struct store_node *node;
        usec_t ttl;
        uint64_t granted; /* log index of what set the TTL last */
        struct instant noted; /* when this replica received that */
        struct instant deadline;
        struct due *left, *right;
        uint64_t weight;
};

/* Puts in the lease of @d->node, as the entry @e grants it. */
void due_add(struct due **root, struct due *d, usec_t ttl, struct store_entry e);
void due_remove(struct due **root, struct due *d);
/* The first deadline behind @now; FOREVER if none. */
struct instant due_next(const struct due *root, struct instant now);
/* The first @max leases whose deadline has come, in order; returns how many. */
size_t due_list(const struct due *root, struct instant now, const struct due **ret, size_t max);

/* All leases count as received at @now; to be used where all of them were received at once before. */
void due_shift(struct due *root, struct instant now);
/* The same whenever they were received; takes longer. Returns the new root. */
struct due *due_reset(struct due *root, struct instant now);
