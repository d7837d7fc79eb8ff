/*
 * Any bytes as a log of commands, each with two bytes of length in front: what decodes is within
 * the limits and codes back to the same bytes, and two stores with different notes that apply
 * the log agree. For libFuzzer.
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

static void decode(const uint8_t *bytes, size_t n)
{
        struct buffer b = { 0 };
        struct store_command c;

        if (store_command_decode(bytes, n, &c) < 0)
                return;
        require(store_command_check(&c) == 0);
        require(store_command_peek(bytes, n) == c.type);
        store_command_encode(&c, &b);
        require(b.n == n && memcmp(b.bytes, bytes, n) == 0);
        store_command_done(&c);
        buffer_done(&b);
}

/* Everything that can be asked for between two commands. */
static void look(struct store *s, uint64_t index)
{
        const struct instant now = { index * 1000 };
        struct store_expiry due[STORE_BATCH_MAX];
        const struct store_event *e;
        uint64_t watcher;
        size_t n = store_leases_due(s, now, due, STORE_BATCH_MAX);

        for (size_t i = 0; i < n; i++)
                require(store_attests(s, &due[i], now));
        require(store_next_due(s, now).usec > now.usec);
        (void)store_watch_add(s, "/", true, index % 4, &e, &watcher); /* full is an answer */
}

static void apply_both(struct store *a, struct store *b, uint64_t index, const uint8_t *bytes,
                       size_t n)
{
        struct store_result first, second;

        store_apply(a, index, bytes, n, (struct instant){ index * 1000 }, &first);
        store_apply(b, index, bytes, n, (struct instant){ UINT64_MAX / index }, &second);
        require(first.valid == second.valid && first.error == second.error);
        require(first.index == second.index && first.n_outcomes == second.n_outcomes);
        for (size_t i = 0; i < first.n_woken; i++)
                require(store_watch_take(a, first.woken[i]));
        look(a, index);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        struct reader r = reader_of(bytes, n);
        struct store *a = store_new(), *b = store_new();

        for (uint64_t index = 1; r.n >= 2; index++) {
                size_t n_command = reader_get_u16(&r);

                if (n_command > r.n)
                        n_command = r.n;
                decode(r.bytes, n_command);
                apply_both(a, b, index, r.bytes, n_command);
                r.bytes += n_command;
                r.n -= n_command;
        }
        require(store_checksum(a) == store_checksum(b));
        store_free(a);
        store_free(b);
        return 0;
}
