/*
 * All nodes of the tree by their whole paths: chains in buckets, linked through the nodes. When
 * there are as many nodes as buckets the table doubles, but the nodes move over a few with each
 * insertion (as in Larson 1988 and redis), so that no single one of them takes long.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_node;

struct table {
        struct store_node **buckets;
        size_t n_buckets; /* a power of two */
        struct store_node **old; /* buckets that are moved one after the other, or NULL */
        size_t n_old;
        size_t n_moved;
        size_t n; /* nodes */
};

/* The hash by which a path is found; kept in the node. */
uint32_t table_hash(const char *path, size_t n);

struct store_node *table_find(const struct table *t, const char *path, size_t n);
/* Adds a node whose path and hash are set, and whose path is not in the table. */
void table_add(struct table *t, struct store_node *n);
void table_remove(struct table *t, struct store_node *n);
/* Releases the table, not the nodes. */
void table_done(struct table *t);
