/*
 * Texts that live until the next step: copied one behind the other into blocks that do not move, of
 * which one is kept from step to step.
 */
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "election/node-internal.h"

enum { KEPT_BYTES = 64 << 10 }; /* of a block that is used again */

struct node_kept {
        struct node_kept *next; /* filled before this one */
        size_t n, n_max;
        char bytes[];
};

static void add_block(struct node *n, size_t size)
{
        struct node_kept *block = must_alloc(1, sizeof(*block) + size);

        block->n_max = size;
        block->next = n->kept;
        n->kept = block;
}

char *node_keep(struct node *n, const char *bytes, size_t size)
{
        char *copy;

        if (!n->kept || n->kept->n_max - n->kept->n <= size)
                add_block(n, size < KEPT_BYTES ? KEPT_BYTES : size + 1);
        copy = n->kept->bytes + n->kept->n;
        memcpy(copy, bytes, size);
        copy[size] = '\0';
        n->kept->n += size + 1;
        return copy;
}

void node_keep_free(struct node *n)
{
        while (n->kept) {
                struct node_kept *next = n->kept->next;

                free(n->kept);
                n->kept = next;
        }
}

void node_keep_clear(struct node *n)
{
        if (!n->kept)
                return;
        if (n->kept->next || n->kept->n_max > KEPT_BYTES)
                node_keep_free(n);
        else
                n->kept->n = 0;
}
