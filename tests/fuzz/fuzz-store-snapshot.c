/*
 * Any bytes as a snapshot, behind a byte that says in which pieces they come: what is accepted
 * writes the same bytes again, and is a store that can be worked with. For libFuzzer.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "election/store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void require(bool truth)
{
        if (!truth)
                abort();
}

static int collect(void *userdata, const uint8_t *bytes, size_t n)
{
        buffer_put(userdata, bytes, n);
        return 0;
}

static struct store *read_back(const uint8_t *bytes, size_t n, size_t piece)
{
        struct store_restore *r = store_restore_new();

        while (n > 0) {
                size_t n_piece = piece < n ? piece : n;

                if (store_restore_feed(r, bytes, n_piece) < 0) {
                        store_restore_free(r);
                        return NULL;
                }
                bytes += n_piece;
                n -= n_piece;
        }
        return store_restore_finish(r, (struct instant){ 1000 });
}

static void apply(struct store *s, const struct store_command *c)
{
        struct buffer b = { 0 };
        struct store_result result;

        store_command_encode(c, &b);
        store_apply(s, UINT64_MAX - 1, b.bytes, b.n, (struct instant){ 2000 }, &result);
        require(result.valid);
        buffer_done(&b);
}

/* One command that touches what the snapshot has of its kind. */
static void work(struct store *s, unsigned which)
{
        const struct store_node *root, *n;
        struct store_expiry due[STORE_BATCH_MAX];
        struct store_command c = { .type = STORE_KEY, .key = { .path = "/a", .value = "v" } };

        require(store_get(s, "/", &root) == STORE_OK);
        n = store_node_first(root);
        if (n)
                c.key.path = store_node_view(n).path;
        c.key.action = which % 3;
        c.key.recursive = true;
        c.origin = (struct store_origin){ 1, 1, which };
        if (which % 4 == 3) {
                c.n = store_leases_due(s, INSTANT_FOREVER, due, STORE_BATCH_MAX);
                c.type = STORE_EXPIRE;
                c.expiries = due;
        }
        if (c.type != STORE_EXPIRE || c.n > 0)
                apply(s, &c);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        struct buffer again = { 0 };
        struct store *s;
        size_t piece;

        if (n == 0)
                return 0;
        piece = bytes[0] < 128 ? 1 + (size_t)bytes[0] : 1000 * (size_t)bytes[0];
        s = read_back(bytes + 1, n - 1, piece);
        if (!s)
                return 0;
        require(store_snapshot_write(s, collect, &again) == 0);
        require(again.n == n - 1 && memcmp(again.bytes, bytes + 1, again.n) == 0);
        (void)store_next_due(s, (struct instant){ 1500 }); /* that it ends is what is tried */
        work(s, bytes[0]);
        store_free(s);
        buffer_done(&again);
        return 0;
}
