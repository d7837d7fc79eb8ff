/* Keys in the order of their deadlines; see due.h. */
#include "election/store/due.h"

#include <string.h>

#include "election/base/random.h"

/* The order is total: an entry grants one key a TTL, but a snapshot may say what it likes. */
static bool is_before(const struct store_node *a, const struct store_node *b)
{
        if (a->deadline.usec != b->deadline.usec)
                return a->deadline.usec < b->deadline.usec;
        if (a->granted != b->granted)
                return a->granted < b->granted;
        return strcmp(a->path, b->path) < 0;
}

/* Parts a treap into what is before @at and the rest. */
static void split(struct store_node *root, const struct store_node *at,
                  struct store_node **ret_before, struct store_node **ret_rest)
{
        if (!root) {
                *ret_before = *ret_rest = NULL;
        } else if (is_before(root, at)) {
                split(root->due_right, at, &root->due_right, ret_rest);
                *ret_before = root;
        } else {
                split(root->due_left, at, ret_before, &root->due_left);
                *ret_rest = root;
        }
}

static struct store_node *merge(struct store_node *before, struct store_node *rest)
{
        if (!before || !rest)
                return before ? before : rest;
        if (before->due_weight > rest->due_weight) {
                before->due_right = merge(before->due_right, rest);
                return before;
        }
        rest->due_left = merge(before, rest->due_left);
        return rest;
}

void due_add(struct store_node **root, struct store_node *n)
{
        struct random random = { .state = n->granted };

        n->due_weight = random_next(&random);
        while (*root && (*root)->due_weight > n->due_weight)
                root = is_before(*root, n) ? &(*root)->due_right : &(*root)->due_left;
        split(*root, n, &n->due_left, &n->due_right);
        *root = n;
}

void due_remove(struct store_node **root, struct store_node *n)
{
        while (*root != n)
                root = is_before(*root, n) ? &(*root)->due_right : &(*root)->due_left;
        *root = merge(n->due_left, n->due_right);
        n->due_left = n->due_right = NULL;
}

struct instant due_next(const struct store_node *root, struct instant now)
{
        struct instant next = INSTANT_FOREVER;

        while (root) {
                if (instant_reached(root->deadline, now)) {
                        root = root->due_right;
                } else {
                        next = root->deadline;
                        root = root->due_left;
                }
        }
        return next;
}

size_t due_list(const struct store_node *root, struct instant now, const struct store_node **ret,
                size_t max)
{
        size_t n;

        if (!root || max == 0)
                return 0;
        n = due_list(root->due_left, now, ret, max);
        if (n == max || !instant_reached(root->deadline, now))
                return n;
        ret[n++] = root;
        return n + due_list(root->due_right, now, ret + n, max - n);
}
