/*
 * The tree of keys. All nodes are in one hash table by their whole path, so that a key is found
 * in one step; a directory links its children. What may be changed, and what that counts as, is
 * the business of key.c.
 */
#pragma once

#include "election/store/entry.h"
#include "election/store/hash.h"
#include "election/store/store.h"
#include "election/store/value.h"

struct store_node {
        UT_hash_handle hh;
        struct store_node *parent; /* NULL for the root */
        struct store_node *first, *last; /* children */
        struct store_node *next, *previous; /* siblings */

        struct store_value *value; /* NULL for a directory */
        uint64_t created;
        uint64_t modified;

        /* The lease of a key or directory with a TTL; see due.h for the rest. */
        bool has_ttl;
        usec_t ttl;
        uint64_t granted; /* log index of what set the TTL last */
        struct instant noted; /* when this replica received that */
        struct instant deadline;
        struct store_node *due_left, *due_right;
        uint64_t due_weight;

        size_t n_path;
        char path[];
};

struct tree {
        struct store_node *nodes; /* by path */
        struct store_node *root;
        struct store_node *due; /* those with a TTL */
};

static inline bool node_is_directory(const struct store_node *n)
{
        return !n->value;
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

/* Takes over @value; a directory has none. */
void tree_set_value(struct store_node *n, struct store_value *value);

/* Sets the TTL as the command says that is entry @e, or takes it away. */
void tree_set_ttl(struct tree *t, struct store_node *n, const struct store_key_command *c,
                  struct store_entry e);

/* Sets the TTL of a node that has none. */
void tree_grant(struct tree *t, struct store_node *n, usec_t ttl, struct store_entry e);

/* Removes a node with all below it. @removed is called with each that goes, children first. */
void tree_remove(struct tree *t, struct store_node *n,
                 void (*removed)(const struct store_node *n, void *userdata), void *userdata);

void tree_reset_notes(struct tree *t, struct instant now);
