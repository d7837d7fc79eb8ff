/* Leases of keys in the order of their deadlines; see due.h. */
#include "election/store/due.h"

#include <string.h>

#include "election/base/random.h"
#include "election/store/tree.h"

/* Whoever asks for more, about a hundred thousand years, means for ever. */
#define TTL_MAX ((usec_t)1 << 62)

/* The order is total: an entry grants one key a TTL, but a snapshot may say what it likes. */
static bool is_before(const struct due *a, const struct due *b)
{
        if (a->deadline.usec != b->deadline.usec)
                return a->deadline.usec < b->deadline.usec;
        if (a->granted != b->granted)
                return a->granted < b->granted;
        return strcmp(a->node->path, b->node->path) < 0;
}

/* Parts a treap into what is before @at and the rest. */
static void split(struct due *root, const struct due *at, struct due **ret_before,
                  struct due **ret_rest)
{
        if (!root) {
                *ret_before = *ret_rest = NULL;
        } else if (is_before(root, at)) {
                split(root->right, at, &root->right, ret_rest);
                *ret_before = root;
        } else {
                split(root->left, at, ret_before, &root->left);
                *ret_rest = root;
        }
}

static struct due *merge(struct due *before, struct due *rest)
{
        if (!before || !rest)
                return before ? before : rest;
        if (before->weight > rest->weight) {
                before->right = merge(before->right, rest);
                return before;
        }
        rest->left = merge(before, rest->left);
        return rest;
}

static void note(struct due *d, struct instant noted)
{
        d->noted = noted;
        d->deadline = d->ttl < TTL_MAX ? instant_after(noted, d->ttl) : INSTANT_FOREVER;
}

static void insert(struct due **root, struct due *d)
{
        while (*root && (*root)->weight > d->weight)
                root = is_before(*root, d) ? &(*root)->right : &(*root)->left;
        split(*root, d, &d->left, &d->right);
        *root = d;
}

void due_add(struct due **root, struct due *d, usec_t ttl, struct store_entry e)
{
        struct random random = { .state = e.index ^ (uint64_t)d->node->hash << 32 };

        d->ttl = ttl;
        d->granted = e.index;
        d->weight = random_next(&random);
        note(d, e.noted);
        insert(root, d);
}

void due_remove(struct due **root, struct due *d)
{
        while (*root != d)
                root = is_before(*root, d) ? &(*root)->right : &(*root)->left;
        *root = merge(d->left, d->right);
        d->left = d->right = NULL;
}

struct instant due_next(const struct due *root, struct instant now)
{
        struct instant next = INSTANT_FOREVER;

        while (root) {
                if (instant_reached(root->deadline, now)) {
                        root = root->right;
                } else {
                        next = root->deadline;
                        root = root->left;
                }
        }
        return next;
}

size_t due_list(const struct due *root, struct instant now, const struct due **ret, size_t max)
{
        size_t n;

        if (!root || max == 0)
                return 0;
        n = due_list(root->left, now, ret, max);
        if (n == max || !instant_reached(root->deadline, now))
                return n;
        ret[n++] = root;
        return n + due_list(root->right, now, ret + n, max - n);
}

/* One note for all of them was and is: the order of the deadlines stays. */
void due_shift(struct due *root, struct instant now)
{
        for (; root; root = root->right) {
                note(root, now);
                due_shift(root->left, now);
        }
}

static void move_all(struct due *from, struct instant now, struct due **to)
{
        struct due *left, *right;

        if (!from)
                return;
        left = from->left;
        right = from->right;
        note(from, now);
        insert(to, from);
        move_all(left, now, to);
        move_all(right, now, to);
}

struct due *due_reset(struct due *root, struct instant now)
{
        struct due *ret = NULL;

        move_all(root, now, &ret);
        return ret;
}
