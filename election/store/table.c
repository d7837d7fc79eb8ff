/* Nodes by their paths; see table.h. */
#include "election/store/table.h"

#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "election/store/tree.h"

enum {
        BUCKETS_MIN = 64,
        MOVED_AT_ONCE = 4, /* more than one: all have moved before the table is full again */
};

uint32_t table_hash(const char *path, size_t n)
{
        const uint64_t factor = UINT64_C(0x9e3779b97f4a7c15); /* 2^64 over the golden ratio */
        uint64_t hash = n * factor;

        for (; n > 0;) {
                size_t n_word = n < 8 ? n : 8;
                uint64_t word = 0;

                memcpy(&word, path, n_word);
                hash = (hash ^ word) * factor;
                hash ^= hash >> 29;
                path += n_word;
                n -= n_word;
        }
        return (uint32_t)(hash ^ hash >> 32);
}

/* The bucket in which a node of that hash is, or belongs. */
static struct store_node **bucket_of(const struct table *t, uint32_t hash)
{
        size_t i = t->old ? hash & (t->n_old - 1) : 0;

        if (t->old && i >= t->n_moved)
                return &t->old[i];
        return &t->buckets[hash & (t->n_buckets - 1)];
}

struct store_node *table_find(const struct table *t, const char *path, size_t n)
{
        uint32_t hash = table_hash(path, n);
        struct store_node *i = t->n > 0 ? *bucket_of(t, hash) : NULL;

        while (i && (i->hash != hash || i->n_path != n || memcmp(i->path, path, n) != 0))
                i = i->chain;
        return i;
}

static void push(struct store_node **bucket, struct store_node *n)
{
        n->chain = *bucket;
        *bucket = n;
}

/* Moves the nodes of the next bucket to where they belong now. */
static void move_bucket(struct table *t)
{
        struct store_node *n = t->old[t->n_moved++], *next;

        for (; n; n = next) {
                next = n->chain;
                push(&t->buckets[n->hash & (t->n_buckets - 1)], n);
        }
        if (t->n_moved < t->n_old)
                return;
        free(t->old);
        t->old = NULL;
        t->n_old = 0;
}

static void grow(struct table *t)
{
        t->old = t->buckets;
        t->n_old = t->n_buckets;
        t->n_moved = 0;
        t->n_buckets = t->n_old ? 2 * t->n_old : BUCKETS_MIN;
        t->buckets = must_alloc(t->n_buckets, sizeof(struct store_node *));
}

void table_add(struct table *t, struct store_node *n)
{
        if (t->n == t->n_buckets)
                grow(t);
        for (int i = 0; i < MOVED_AT_ONCE && t->old; i++)
                move_bucket(t);
        push(bucket_of(t, n->hash), n);
        t->n++;
}

void table_remove(struct table *t, struct store_node *n)
{
        struct store_node **at = bucket_of(t, n->hash);

        while (*at != n)
                at = &(*at)->chain;
        *at = n->chain;
        t->n--;
}

void table_done(struct table *t)
{
        free(t->buckets);
        free(t->old);
        *t = (struct table){ 0 };
}
