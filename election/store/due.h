/*
 * The keys with a TTL in the order of their deadlines: a treap (Seidel and Aragon 1996), linked
 * through the nodes themselves. Those that are due stay in it until the log removes them, so it
 * must be cheap to look behind them.
 */
#pragma once

#include "election/store/tree.h"

/* The node's `deadline` and `granted` must not change while it is in. */
void due_add(struct store_node **root, struct store_node *n);
void due_remove(struct store_node **root, struct store_node *n);
/* The first deadline behind @now; FOREVER if none. */
struct instant due_next(const struct store_node *root, struct instant now);
/* The first @max nodes whose deadline has come, in order; returns how many. */
size_t due_list(const struct store_node *root, struct instant now, const struct store_node **ret,
                size_t max);
