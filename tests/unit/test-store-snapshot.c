/* Snapshots: a store that is written and read again is the same, and damaged bytes are refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "election/base/memory.h"
#include "election/base/random.h"
#include "election/store/store.h"

struct fixture {
        struct store *store;
        uint64_t log_index;
        struct buffer bytes;
        struct store_result result;
};

static const struct instant noted = { 9000 * USEC_PER_SEC };

static int setup(void **state)
{
        struct fixture *f = must_alloc(1, sizeof(*f));

        f->store = store_new();
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        store_free(f->store);
        buffer_done(&f->bytes);
        free(f);
        return 0;
}

static void apply_to(struct store *s, uint64_t index, const struct store_command *c,
                     struct store_result *ret)
{
        struct buffer b = { 0 };

        assert_int_equal(store_command_check(c), 0);
        store_command_encode(c, &b);
        store_apply(s, index, b.bytes, b.n, (struct instant){ index }, ret);
        assert_true(ret->valid);
        buffer_done(&b);
}

static void apply(struct fixture *f, struct store_command c)
{
        apply_to(f->store, ++f->log_index, &c, &f->result);
}

#define KEY(f, ...) apply((f), (struct store_command){ .type = STORE_KEY, .key = { __VA_ARGS__ } })

static int collect(void *userdata, const uint8_t *bytes, size_t n)
{
        buffer_put(userdata, bytes, n);
        return 0;
}

static void write_down(struct fixture *f)
{
        buffer_clear(&f->bytes);
        assert_int_equal(store_snapshot_write(f->store, collect, &f->bytes), 0);
}

/* Reads @n bytes in pieces of at most @piece; NULL if they are refused at some point. */
static struct store *read_back(const uint8_t *bytes, size_t n, size_t piece)
{
        struct store_restore *r = store_restore_new();

        for (size_t at = 0; at < n; at += piece) {
                int error = store_restore_feed(r, bytes + at, piece < n - at ? piece : n - at);

                if (error < 0) {
                        assert_int_equal(error, -EBADMSG);
                        store_restore_free(r);
                        return NULL;
                }
        }
        return store_restore_finish(r, noted);
}

/* What is read back writes the same bytes, and sums up alike. */
static struct store *copy(struct fixture *f)
{
        struct buffer again = { 0 };
        struct store *s;

        write_down(f);
        s = read_back(f->bytes.bytes, f->bytes.n, 4096);
        assert_non_null(s);
        assert_int_equal(store_snapshot_write(s, collect, &again), 0);
        assert_int_equal(again.n, f->bytes.n);
        assert_memory_equal(again.bytes, f->bytes.bytes, again.n);
        assert_int_equal(store_checksum(s), store_checksum(f->store));
        buffer_done(&again);
        return s;
}

/* A little of everything. */
static void fill(struct fixture *f)
{
        struct store_renewal renewal = { .service = "orders", .epoch = 1, .n_position = 3 };

        apply(f, (struct store_command){ .type = STORE_ACQUIRE,
                                         .origin = { 2, 5, 1 },
                                         .service = "orders",
                                         .ttl = 3 * USEC_PER_SEC });
        apply(f,
              (struct store_command){
                      .type = STORE_RENEW, .origin = { 2, 5, 2 }, .renewals = &renewal, .n = 1 });
        apply(f, (struct store_command){ .type = STORE_ACQUIRE,
                                         .origin = { 3, 6, 1 },
                                         .service = "mail",
                                         .ttl = USEC_PER_SEC });
        apply(f, (struct store_command){ .type = STORE_RELEASE,
                                         .origin = { 3, 6, 2 },
                                         .service = "mail",
                                         .epoch = 3 });
        KEY(f, .path = "/a/b/c", .value = "deep");
        KEY(f, .path = "/a/b/d", .value = "x\0y", .n_value = 3);
        KEY(f, .path = "/a", .directory = true, .condition = STORE_MUST_EXIST, .has_ttl = true,
            .ttl = 70 * USEC_PER_SEC);
        KEY(f, .path = "/empty", .directory = true);
        KEY(f, .path = "/ttl", .value = "", .has_ttl = true, .ttl = 5 * USEC_PER_SEC);
        KEY(f, .path = "/gone/1", .value = "1");
        KEY(f, .path = "/gone/2", .value = "2");
        KEY(f, .path = "/gone", .action = STORE_DELETE, .recursive = true);
        KEY(f, .path = "/ttl", .refresh = true, .has_ttl = true, .ttl = 6 * USEC_PER_SEC);
        for (uint64_t i = 1; i < 8; i++)
                apply(f, (struct store_command){ .type = STORE_KEY,
                                                 .origin = { 1, 100 + i, 1 },
                                                 .key = { .path = "/s", .value = "v" } });
        apply(f, (struct store_command){
                         .type = STORE_KEY,
                         .origin = { 1, 107, 9 },
                         .settled = 1,
                         .key = { .path = "/s", .value = "w", .previous_value = "no" } });
}

static void empty_store_comes_back(void **state)
{
        struct fixture *f = *state;
        struct store *s = copy(f);

        assert_true(store_index(s) == 0);
        store_free(s);
}

static void everything_comes_back(void **state)
{
        struct fixture *f = *state;
        const struct store_node *n;
        const struct store_event *e;
        const struct store_lease *l;
        struct store *s;

        fill(f);
        s = copy(f);
        assert_true(store_index(s) == store_index(f->store));
        assert_true(store_applied(s) == f->log_index);
        assert_int_equal(store_get(s, "/a/b/d", &n), STORE_OK);
        assert_int_equal(store_node_view(n).n_value, 3);
        assert_memory_equal(store_node_view(n).value, "x\0y", 4);
        assert_int_equal(store_get(s, "/empty", &n), STORE_OK);
        assert_true(store_node_view(n).directory);
        l = store_lease(s, "orders");
        assert_int_equal(l->state, STORE_LEASE_HELD);
        assert_int_equal(l->holder, 2);
        assert_int_equal(l->n_position, 3);
        assert_int_equal(store_lease(s, "mail")->state, STORE_LEASE_FREE);
        assert_int_equal(store_watch_add(s, "/gone/2", false, 8, &e, &(uint64_t){ 0 }), STORE_OK);
        assert_int_equal(e->action, STORE_DID_DELETE);
        assert_string_equal(e->node.path, "/gone");
        assert_true(e->node.renewed.usec == noted.usec);
        store_free(s);
}

/* Rule L6: no clock of the one that wrote it; all counts as received when it is read. */
static void leases_count_from_the_reading(void **state)
{
        struct fixture *f = *state;
        struct store_expiry due[8];
        struct store *s;

        fill(f);
        s = copy(f);
        assert_true(store_lease(s, "orders")->noted.usec == noted.usec);
        assert_true(store_next_due(s, noted).usec == noted.usec + 3 * USEC_PER_SEC);
        assert_int_equal(store_leases_due(s, instant_after(noted, 6 * USEC_PER_SEC), due, 8), 2);
        assert_string_equal(due[0].name, "orders");
        assert_string_equal(due[1].name, "/ttl");
        store_free(s);
}

/* Deadlines beyond all time are equal whenever they are counted from. */
static void endless_leases_can_be_taken_away_after_the_reading(void **state)
{
        static const char *const paths[] = { "/a", "/b", "/c" };
        struct fixture *f = *state;
        struct store *s;

        for (usec_t i = 0; i < 3; i++)
                KEY(f, .path = paths[i], .has_ttl = true, .ttl = USEC_INFINITY - 10 * i);
        s = copy(f);
        assert_true(store_next_due(s, noted).usec == INSTANT_FOREVER.usec);
        for (usec_t i = 0; i < 3; i++)
                apply_to(s, 100 + i,
                         &(struct store_command){
                                 .type = STORE_KEY,
                                 .key = { .action = STORE_DELETE, .path = paths[i] } },
                         &f->result);
        assert_int_equal(f->result.error, STORE_OK);
        store_free(s);
}

static void answers_come_back(void **state)
{
        struct fixture *f = *state;
        struct store_command c = { .type = STORE_KEY,
                                   .origin = { 1, 107, 9 },
                                   .key = { .path = "/s", .value = "other" } };
        struct store *s;

        fill(f);
        s = copy(f);
        apply_to(s, 1000, &c, &f->result);
        assert_true(f->result.repeated);
        assert_int_equal(f->result.error, STORE_TEST_FAILED);
        assert_string_equal(f->result.cause, "[no != v]");
        c.origin.sequence = 1;
        apply_to(s, 1001, &c, &f->result);
        assert_true(f->result.repeated);
        assert_string_equal(f->result.event->node.value, "v");
        c.origin.incarnation = 101;
        apply_to(s, 1002, &c, &f->result);
        assert_int_equal(f->result.error, STORE_ANSWER_LOST);
        store_free(s);
}

static void answers_outlive_the_history(void **state)
{
        struct fixture *f = *state;
        struct store *s;

        apply(f, (struct store_command){
                         .type = STORE_KEY,
                         .origin = { 1, 7, 1 },
                         .key = { .path = "/first", .value = "v", .action = STORE_CREATE } });
        for (int i = 0; i < STORE_HISTORY_MAX + 5; i++)
                KEY(f, .path = "/a", .value = "v");
        s = copy(f);
        apply_to(s, 5000,
                 &(struct store_command){ .type = STORE_KEY,
                                          .origin = { 1, 7, 1 },
                                          .key = { .path = "/first", .value = "w" } },
                 &f->result);
        assert_true(f->result.repeated);
        assert_string_equal(f->result.event->node.path, "/first/00000000000000000001");
        assert_true(store_history_oldest(s) == 7);
        store_free(s);
}

/* Of processes that come and go. */
static void any_change(struct random *random, uint64_t round, struct store_command *ret)
{
        static const char *const paths[] = { "/a", "/a/b", "/a/b/c", "/d", "/d/_e", "/f" };
        struct store_key_command *k = &ret->key;

        *ret = (struct store_command){ .type = STORE_KEY };
        ret->origin = (struct store_origin){ (node_id)(1 + random_next(random) % 3),
                                             1 + round + random_next(random) % 6,
                                             random_next(random) % 100 };
        ret->settled = random_next(random) % (ret->origin.sequence / 2 + 1);
        k->action = random_next(random) % 3;
        k->path = paths[random_next(random) % 6];
        k->value = random_next(random) % 2 ? "value" : "";
        k->directory = random_next(random) % 4 == 0;
        k->recursive = random_next(random) % 2;
        k->has_ttl = random_next(random) % 3 == 0;
        k->ttl = random_next(random) % 100;
        k->condition = random_next(random) % 3;
}

/* Both go on: one that applied all, and one that was read from a snapshot in between. */
static void reader_of_a_snapshot_goes_on_alike(void **state)
{
        struct fixture *f = *state;
        struct random random = { .state = 12 };

        for (int round = 0; round < 30; round++) {
                struct store *s = copy(f);

                for (int i = 0; i < 150; i++) {
                        struct store_command c;
                        struct store_result other;

                        any_change(&random, (uint64_t)round, &c);
                        apply(f, c);
                        apply_to(s, f->log_index, &c, &other);
                        assert_int_equal(other.error, f->result.error);
                        assert_int_equal(other.repeated, f->result.repeated);
                        assert_true(other.index == f->result.index);
                        assert_int_equal(other.n_cause, f->result.n_cause);
                }
                assert_int_equal(store_checksum(s), store_checksum(f->store));
                store_free(s);
        }
}

static void pieces_may_have_any_size(void **state)
{
        struct fixture *f = *state;

        fill(f);
        write_down(f);
        for (size_t piece = 1; piece < 40; piece++) {
                struct store *s = read_back(f->bytes.bytes, f->bytes.n, piece);

                assert_non_null(s);
                assert_int_equal(store_checksum(s), store_checksum(f->store));
                store_free(s);
        }
}

static void unfinished_snapshot_is_refused(void **state)
{
        struct fixture *f = *state;

        fill(f);
        write_down(f);
        for (size_t n = 0; n < f->bytes.n; n++)
                assert_null(read_back(f->bytes.bytes, n, 64));
}

static void bytes_behind_the_end_are_refused(void **state)
{
        struct fixture *f = *state;

        fill(f);
        write_down(f);
        buffer_put_u8(&f->bytes, 0);
        assert_null(read_back(f->bytes.bytes, f->bytes.n, 64));
        buffer_put(&f->bytes, "\0\0\0\0", 4);
        assert_null(read_back(f->bytes.bytes, f->bytes.n, 64));
}

/* The container finds damage by its sums; what slips through must at least do no harm here. */
static void damaged_bytes_do_no_harm(void **state)
{
        struct fixture *f = *state;

        fill(f);
        write_down(f);
        for (size_t i = 0; i < f->bytes.n; i++) {
                for (unsigned bit = 0; bit < 8; bit++) {
                        struct store *s;

                        f->bytes.bytes[i] ^= (uint8_t)(1u << bit);
                        s = read_back(f->bytes.bytes, f->bytes.n, 512);
                        if (s)
                                apply_to(s, UINT64_MAX,
                                         &(struct store_command){ .type = STORE_KEY,
                                                                  .key = { .action = STORE_DELETE,
                                                                           .path = "/a",
                                                                           .recursive = true } },
                                         &f->result);
                        store_free(s);
                        f->bytes.bytes[i] ^= (uint8_t)(1u << bit);
                }
        }
}

static int refuse_third(void *userdata, const uint8_t *bytes, size_t n)
{
        unsigned *calls = userdata;

        (void)bytes;
        assert_true(n > 0);
        return ++*calls == 3 ? -ENOSPC : 0;
}

static void failing_sink_ends_the_writing(void **state)
{
        struct fixture *f = *state;
        char *value = must_alloc(1, 100001);
        unsigned calls = 0;

        memset(value, 'v', 100000);
        for (int i = 0; i < 10; i++)
                KEY(f, .action = STORE_CREATE, .path = "/q", .value = value);
        assert_int_equal(store_snapshot_write(f->store, refuse_third, &calls), -ENOSPC);
        assert_int_equal(calls, 3);
        free(value);
}

static void large_store_is_released_in_steps(void **state)
{
        struct fixture *f = *state;
        struct store *s;
        int steps = 1;

        for (int i = 0; i < 1000; i++)
                KEY(f, .action = STORE_CREATE, .path = "/q", .value = "v", .has_ttl = i % 3 == 0,
                    .ttl = USEC_PER_SEC);
        s = copy(f);
        while (store_free_some(s, 100))
                steps++;
        assert_in_range(steps, 10, 12);
}

static void reading_may_be_given_up(void **state)
{
        struct fixture *f = *state;
        struct store_restore *r = store_restore_new();

        fill(f);
        write_down(f);
        assert_int_equal(store_restore_feed(r, f->bytes.bytes, f->bytes.n - 3), 0);
        store_restore_free(r);
        store_restore_free(NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                TEST(empty_store_comes_back),
                TEST(everything_comes_back),
                TEST(leases_count_from_the_reading),
                TEST(endless_leases_can_be_taken_away_after_the_reading),
                TEST(answers_come_back),
                TEST(answers_outlive_the_history),
                TEST(reader_of_a_snapshot_goes_on_alike),
                TEST(pieces_may_have_any_size),
                TEST(unfinished_snapshot_is_refused),
                TEST(bytes_behind_the_end_are_refused),
                TEST(damaged_bytes_do_no_harm),
                TEST(failing_sink_ends_the_writing),
                TEST(large_store_is_released_in_steps),
                TEST(reading_may_be_given_up),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
