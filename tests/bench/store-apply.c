/*
 * How fast the store applies commands, and what it needs: alone on one core, without log, network
 * or disk. Arguments: how many keys, how many changes of them, bytes of a value.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "election/store/store.h"

enum {
        COMMANDS_MAX = 4096, /* coded beforehand, then applied again and again */
        PIECE = 64 * 1024, /* bytes that a snapshot is read by */
};

struct bench {
        struct store *store;
        uint64_t log_index;
        uint64_t n_keys;
        uint64_t n_changes;
        char *value;
        struct buffer snapshot;
};

static double now_sec(void)
{
        struct timespec t;

        if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) < 0)
                abort();
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double report(const char *what, uint64_t n, double begin)
{
        double took = now_sec() - begin;

        printf("%-34s %9" PRIu64 " in %6.3f s  %10.0f/s\n", what, n, took, (double)n / took);
        return took;
}

static void require(bool truth, const char *what)
{
        if (truth)
                return;
        fprintf(stderr, "store-apply: %s\n", what);
        exit(1);
}

/* Command number @i of a kind. */
typedef void make_command(const struct bench *b, uint64_t i, char path[64],
                          struct store_command *ret);

static void make_set(const struct bench *b, uint64_t i, char path[64], struct store_command *ret)
{
        snprintf(path, 64, "/bench/keys/%08" PRIu64, i * 7919 % b->n_keys);
        *ret = (struct store_command){ .type = STORE_KEY,
                                       .origin = { 1, 1, i + 1 },
                                       .settled = i > 64 ? i - 64 : 0,
                                       .key = { .path = path, .value = b->value } };
}

static void make_swap(const struct bench *b, uint64_t i, char path[64], struct store_command *ret)
{
        make_set(b, i, path, ret);
        ret->key.previous_value = b->value;
}

static void make_renewal(const struct bench *b, uint64_t i, char path[64],
                         struct store_command *ret)
{
        make_set(b, i, path, ret);
        ret->key.has_ttl = true;
        ret->key.ttl = 30 * USEC_PER_SEC;
}

static void make_creation(const struct bench *b, uint64_t i, char path[64],
                          struct store_command *ret)
{
        (void)b;
        strcpy(path, "/bench/queue");
        *ret = (struct store_command){
                .type = STORE_KEY,
                .origin = { 1, 1, i + 1 },
                .settled = i > 64 ? i - 64 : 0,
                .key = { .action = STORE_CREATE, .path = path, .value = b->value }
        };
}

static void apply(struct bench *b, const uint8_t *bytes, size_t n)
{
        struct store_result result;

        b->log_index++;
        store_apply(b->store, b->log_index, bytes, n, (struct instant){ b->log_index }, &result);
        require(result.valid && result.error == STORE_OK && !result.repeated,
                "a change was refused");
}

/* Applies @n commands; coding them is not counted. Returns the seconds. */
static void measure(struct bench *b, const char *what, uint64_t first, uint64_t n,
                    make_command *make)
{
        struct buffer coded = { 0 };
        size_t ends[COMMANDS_MAX];
        double took = 0;

        for (uint64_t i = 0; i < n;) {
                size_t n_batch = n - i < COMMANDS_MAX ? (size_t)(n - i) : COMMANDS_MAX;
                double begin;

                buffer_clear(&coded);
                for (size_t k = 0; k < n_batch; k++) {
                        struct store_command c;
                        char path[64];

                        make(b, first + i + k, path, &c);
                        store_command_encode(&c, &coded);
                        ends[k] = coded.n;
                }
                begin = now_sec();
                for (size_t k = 0, at = 0; k < n_batch; at = ends[k++])
                        apply(b, coded.bytes + at, ends[k] - at);
                took += now_sec() - begin;
                i += n_batch;
        }
        (void)report(what, n, now_sec() - took);
        buffer_done(&coded);
}

static size_t memory(void)
{
        struct mallinfo2 m = mallinfo2();

        return m.uordblks + m.hblkhd;
}

static int collect(void *userdata, const uint8_t *bytes, size_t n)
{
        buffer_put(userdata, bytes, n);
        return 0;
}

/* Reads the snapshot in pieces; the longest of them is what an event loop would wait. */
static void measure_restore(struct bench *b)
{
        struct store_restore *r = store_restore_new();
        struct store *copy;
        double begin = now_sec(), longest = 0, last;

        for (size_t at = 0; at < b->snapshot.n; at += PIECE) {
                size_t n = b->snapshot.n - at < PIECE ? b->snapshot.n - at : PIECE;
                double piece = now_sec();

                require(store_restore_feed(r, b->snapshot.bytes + at, n) == 0, "bad snapshot");
                piece = now_sec() - piece;
                longest = piece > longest ? piece : longest;
        }
        last = now_sec();
        copy = store_restore_finish(r, (struct instant){ 1 });
        require(copy != NULL, "unfinished snapshot");
        last = now_sec() - last;
        (void)report("restore: keys", b->n_keys, begin);
        printf("  longest piece %.3f ms, finish %.3f ms\n", longest * 1e3, last * 1e3);
        require(store_checksum(copy) == store_checksum(b->store), "the copy differs");
        begin = now_sec();
        store_free(copy);
        (void)report("release: keys", b->n_keys, begin);
}

int main(int argc, char **argv)
{
        struct bench b = { .store = store_new() };
        size_t n_value, before = memory();
        double begin;

        b.n_keys = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
        b.n_changes = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
        n_value = argc > 3 ? strtoull(argv[3], NULL, 10) : 64;
        b.value = malloc(n_value + 1);
        require(b.value && b.n_keys > 0 && b.n_keys % 7919 != 0, "bad arguments");
        memset(b.value, 'v', n_value);
        b.value[n_value] = '\0';

        measure(&b, "set new keys", 0, b.n_keys, make_set);
        printf("  %.1f bytes a key\n", (double)(memory() - before) / (double)b.n_keys);
        measure(&b, "set", b.n_keys, b.n_changes, make_set);
        measure(&b, "compare and swap", b.n_keys + b.n_changes, b.n_changes, make_swap);
        begin = now_sec();
        require(store_snapshot_write(b.store, collect, &b.snapshot) == 0, "cannot write");
        (void)report("snapshot: keys", b.n_keys, begin);
        printf("  %.1f MB\n", (double)b.snapshot.n / 1e6);
        measure_restore(&b);
        measure(&b, "set with a TTL", b.n_keys + 2 * b.n_changes, b.n_changes, make_renewal);
        measure(&b, "in-order keys", b.n_keys + 3 * b.n_changes, b.n_changes, make_creation);

        store_free(b.store);
        buffer_done(&b.snapshot);
        free(b.value);
        return 0;
}
