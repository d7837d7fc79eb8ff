/* The tree of keys; see tree.h. */
#include "election/store/tree.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "election/store/due.h"
#include "election/store/path.h"

static struct store_node *node_new(const char *path, size_t n, struct store_value *value)
{
        struct store_node *node = must_resize(NULL, offsetof(struct store_node, path) + n + 1, 1);

        *node = (struct store_node){
                .hash = table_hash(path, n),
                .n_path = (uint16_t)n,
                .directory = !value,
        };
        if (value)
                node->value = value;
        memcpy(node->path, path, n);
        node->path[n] = '\0';
        return node;
}

static void node_free(struct store_node *n)
{
        if (!n->directory)
                value_unref(n->value);
        free(n->lease);
        free(n);
}

void tree_init(struct tree *t)
{
        *t = (struct tree){ .root = node_new("/", 1, NULL) };
        table_add(&t->table, t->root);
}

/* From the leaves up; the table is not kept in step, as nobody will look again. */
bool tree_free_some(struct tree *t, size_t n)
{
        struct store_node *node = t->root;

        table_done(&t->table);
        for (; node; n--) {
                struct store_node *parent;

                while (node->directory && node->first)
                        node = node->first;
                parent = node->parent;
                if (n == 0)
                        return true;
                if (parent)
                        parent->first = node->next;
                node_free(node);
                node = parent;
        }
        *t = (struct tree){ 0 };
        return false;
}

struct store_node *tree_find(const struct tree *t, const char *path, size_t n)
{
        return table_find(&t->table, path, n);
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
        const struct store_node *parent;
        size_t n_part = 0;

        *ret = tree_find(t, path, n);
        *ret_n = n;
        if (*ret)
                return STORE_OK;

        /* Mostly it is only the key itself. */
        parent = tree_find(t, path, path_parent(path, n));
        if (parent && node_is_directory(parent))
                return STORE_KEY_NOT_FOUND;

        /* Otherwise walk down from the root until it shows what is missing, or in the way. */
        parent = t->root;
        while (parent && node_is_directory(parent)) {
                n_part = next_part(path, n, n_part);
                parent = tree_find(t, path, n_part);
        }
        *ret_n = n_part;
        return parent ? STORE_NOT_DIRECTORY : STORE_KEY_NOT_FOUND;
}

/* Behind the last child; a replica that reads a snapshot has to find the same order. */
static void link_child(struct store_node *parent, struct store_node *n)
{
        n->parent = parent;
        if (!parent->first) {
                parent->first = n->previous = n;
                return;
        }
        n->previous = parent->first->previous;
        n->previous->next = n;
        parent->first->previous = n;
}

static void unlink_child(struct store_node *n)
{
        struct store_node *parent = n->parent;

        if (parent->first == n)
                parent->first = n->next;
        else
                n->previous->next = n->next;
        if (n->next)
                n->next->previous = n->previous;
        else if (parent->first)
                parent->first->previous = n->previous;
}

struct store_node *tree_insert(struct tree *t, struct store_node *parent, const char *path,
                               size_t n, struct store_value *value)
{
        struct store_node *node = node_new(path, n, value);

        assert(node_is_directory(parent));
        link_child(parent, node);
        table_add(&t->table, node);
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
        n->directory = !value;
        if (value)
                n->value = value;
        else
                n->first = NULL;
}

void tree_drop_ttl(struct tree *t, struct store_node *n)
{
        if (!n->lease)
                return;
        due_remove(&t->due, n->lease);
        free(n->lease);
        n->lease = NULL;
}

void tree_grant(struct tree *t, struct store_node *n, usec_t ttl, struct store_entry e)
{
        if (n->lease)
                due_remove(&t->due, n->lease);
        else
                n->lease = must_alloc(1, sizeof(*n->lease));
        n->lease->node = n;
        due_add(&t->due, n->lease, ttl, e);
}

void tree_remove(struct tree *t, struct store_node *n,
                 void (*removed)(const struct store_node *n, void *userdata), void *userdata)
{
        while (n->directory && n->first)
                tree_remove(t, n->first, removed, userdata);
        removed(n, userdata);
        tree_drop_ttl(t, n);
        unlink_child(n);
        table_remove(&t->table, n);
        node_free(n);
}

struct store_view store_node_view(const struct store_node *n)
{
        struct store_view v = {
                .path = n->path,
                .directory = n->directory,
                .created = n->created,
                .modified = n->modified,
        };

        if (!n->directory) {
                v.value = n->value->bytes;
                v.n_value = n->value->n;
        }
        if (n->lease) {
                v.has_ttl = true;
                v.ttl = n->lease->ttl;
                v.renewed = n->lease->noted;
        }
        return v;
}

const struct store_node *store_node_first(const struct store_node *n)
{
        return n->directory ? n->first : NULL;
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
