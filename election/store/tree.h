/*
 * The tree of keys. All nodes are in one table by their whole path, so that a key is found in one
 * step; a directory links its children. There may be millions of them, so a node has no more than
 * what all need. What may be changed, and what that counts as, is the business of key.c.
 */
#pragma once

#include "election/base/memory.h"
#include "election/store/due.h"
#include "election/store/entry.h"
#include "election/store/store.h"
#include "election/store/table.h"
#include "election/store/value.h"

struct store_node {
        struct store_node *chain; /* of the table */
        struct store_node *parent; /* NULL for the root */
        struct store_node *next, *previous; /* siblings; the last one is previous to the first */
        union {
                struct store_value *value; /* of a file */
                struct store_node *first; /* child of a directory */
        };
        struct due *lease; /* of one with a TTL, or NULL */
        uint64_t created;
        uint64_t modified;
        uint32_t hash; /* of the path */
        uint16_t n_path;
        bool directory;
        char path[];
};

struct tree {
        struct table table;
        struct store_node *root;
        struct due *due; /* those with a TTL */
};

static inline bool node_is_directory(const struct store_node *n)
{
        return n->directory;
}

void tree_init(struct tree *t);
/* Releases up to @n nodes and nothing else about them; false when none is left. */
bool tree_free_some(struct tree *t, size_t n);

/* The node with exactly this clean path, or NULL. */
struct store_node *tree_find(const struct tree *t, const char *path, size_t n);

/*
 * Finds a clean path: STORE_OK and the node, or the error, the node NULL, and in @ret_n how much of
 * the path names the cause: the first missing part, or the file in the way.
 */
enum store_error tree_lookup(const struct tree *t, const char *path, size_t n,
                             struct store_node **ret, size_t *ret_n);

/*
 * Adds a node, and the directories above it that are missing, made at etcd index @index. There is
 * no such node and no file above it. Takes over @value; a directory has none.
 */
struct store_node *tree_add(struct tree *t, const char *path, size_t n, struct store_value *value,
                            uint64_t index);

/* The same below a directory that is known; the indexes are the caller's business. */
struct store_node *tree_insert(struct tree *t, struct store_node *parent, const char *path,
                               size_t n, struct store_value *value);

/* For a file. Takes over @value; without one it becomes a directory. */
void tree_set_value(struct store_node *n, struct store_value *value);

/* Sets the TTL as entry @e says. */
void tree_grant(struct tree *t, struct store_node *n, usec_t ttl, struct store_entry e);
/* Takes the TTL away, if there is one. */
void tree_drop_ttl(struct tree *t, struct store_node *n);

/* Removes a node with all below it. @removed is called with each that goes, children first. */
void tree_remove(struct tree *t, struct store_node *n,
                 void (*removed)(const struct store_node *n, void *userdata), void *userdata);
