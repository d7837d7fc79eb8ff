/* The tree of keys; see tree.h. */
#include "election/store/tree.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "election/store/due.h"
#include "election/store/path.h"

static struct store_node *node_new(const char *path, size_t n, struct store_value *value)
{
        struct store_node *node = must_alloc(1, sizeof(*node) + n + 1);

        node->value = value;
        node->n_path = n;
        memcpy(node->path, path, n);
        return node;
}

static void node_free(struct store_node *n)
{
        value_unref(n->value);
        free(n);
}

static void insert(struct tree *t, struct store_node *n)
{
        HASH_ADD_KEYPTR(hh, t->nodes, n->path, n->n_path, n);
}

void tree_init(struct tree *t)
{
        *t = (struct tree){ .root = node_new("/", 1, NULL) };
        insert(t, t->root);
}

bool tree_free_some(struct tree *t, size_t n)
{
        while (t->nodes) {
                struct store_node *node = t->nodes;

                if (n-- == 0)
                        return true;
                HASH_DEL(t->nodes, node);
                node_free(node);
        }
        *t = (struct tree){ 0 };
        return false;
}

struct store_node *tree_find(const struct tree *t, const char *path, size_t n)
{
        struct store_node *node;

        HASH_FIND(hh, t->nodes, path, n, node);
        return node;
}

/* The length of @path up to the end of the name that begins behind @from. */
static size_t next_part(const char *path, size_t n, size_t from)
{
        const char *slash = memchr(path + from + 1, '/', n - from - 1);

        return slash ? (size_t)(slash - path) : n;
}

enum store_error tree_lookup(const struct tree *t, const char *path, size_t n,
                             struct store_node **ret, size_t *ret_n)
{
        const struct store_node *parent = t->root;
        size_t n_part = 0;

        *ret = tree_find(t, path, n);
        *ret_n = n;
        if (*ret)
                return STORE_OK;

        /* Something is missing: walk down from the root until that shows. */
        while (parent && node_is_directory(parent)) {
                n_part = next_part(path, n, n_part);
                parent = tree_find(t, path, n_part);
        }
        *ret_n = n_part;
        return parent ? STORE_NOT_DIRECTORY : STORE_KEY_NOT_FOUND;
}

static void link_child(struct store_node *parent, struct store_node *n)
{
        n->parent = parent;
        n->previous = parent->last;
        if (parent->last)
                parent->last->next = n;
        else
                parent->first = n;
        parent->last = n;
}

static void unlink_child(struct store_node *n)
{
        struct store_node *parent = n->parent;

        if (n->previous)
                n->previous->next = n->next;
        else
                parent->first = n->next;
        if (n->next)
                n->next->previous = n->previous;
        else
                parent->last = n->previous;
}

struct store_node *tree_insert(struct tree *t, struct store_node *parent, const char *path,
                               size_t n, struct store_value *value)
{
        struct store_node *node = node_new(path, n, value);

        assert(node_is_directory(parent));
        link_child(parent, node);
        insert(t, node);
        return node;
}

struct store_node *tree_add(struct tree *t, const char *path, size_t n, struct store_value *value,
                            uint64_t index)
{
        size_t n_parent = path_parent(path, n);
        struct store_node *parent = tree_find(t, path, n_parent);
        struct store_node *node;

        if (!parent)
                parent = tree_add(t, path, n_parent, NULL, index);
        node = tree_insert(t, parent, path, n, value);
        node->created = index;
        node->modified = index;
        return node;
}

void tree_set_value(struct store_node *n, struct store_value *value)
{
        value_unref(n->value);
        n->value = value;
}

static void drop_ttl(struct tree *t, struct store_node *n)
{
        if (n->has_ttl)
                due_remove(&t->due, n);
        n->has_ttl = false;
        n->ttl = 0;
        n->granted = 0;
        n->noted = n->deadline = INSTANT_NEVER;
}

void tree_grant(struct tree *t, struct store_node *n, usec_t ttl, struct store_entry e)
{
        n->has_ttl = true;
        n->ttl = ttl;
        n->granted = e.index;
        n->noted = e.noted;
        n->deadline = instant_after(e.noted, ttl);
        due_add(&t->due, n);
}

void tree_set_ttl(struct tree *t, struct store_node *n, const struct store_key_command *c,
                  struct store_entry e)
{
        drop_ttl(t, n);
        if (c->has_ttl)
                tree_grant(t, n, c->ttl, e);
}

void tree_remove(struct tree *t, struct store_node *n,
                 void (*removed)(const struct store_node *n, void *userdata), void *userdata)
{
        while (n->first)
                tree_remove(t, n->first, removed, userdata);
        removed(n, userdata);
        drop_ttl(t, n);
        unlink_child(n);
        HASH_DEL(t->nodes, n);
        node_free(n);
}

void tree_reset_notes(struct tree *t, struct instant now)
{
        t->due = NULL;
        for (struct store_node *n = t->nodes; n; n = n->hh.next) {
                if (!n->has_ttl)
                        continue;
                n->noted = now;
                n->deadline = instant_after(now, n->ttl);
                due_add(&t->due, n);
        }
}

struct store_view store_node_view(const struct store_node *n)
{
        return (struct store_view){
                .path = n->path,
                .value = n->value ? n->value->bytes : NULL,
                .n_value = n->value ? n->value->n : 0,
                .directory = node_is_directory(n),
                .created = n->created,
                .modified = n->modified,
                .has_ttl = n->has_ttl,
                .ttl = n->ttl,
                .renewed = n->noted,
        };
}

const struct store_node *store_node_first(const struct store_node *n)
{
        return n->first;
}

const struct store_node *store_node_next(const struct store_node *n)
{
        return n->next;
}

bool store_node_hidden(const struct store_node *n)
{
        size_t n_parent = path_parent(n->path, n->n_path);

        return n->parent && path_hides(n->path, n->n_path, n_parent);
}
