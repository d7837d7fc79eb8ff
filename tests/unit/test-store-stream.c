/*
 * Watchers that stay: they get each event once and in order, until they fall behind; and how watchers
 * go on when a snapshot takes the place of the store.
 */
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
        struct store_result result;
};

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
        free(f);
        return 0;
}

static void apply(struct fixture *f, const struct store_command *c)
{
        struct buffer b = { 0 };

        store_command_encode(c, &b);
        store_apply(f->store, ++f->log_index, b.bytes, b.n, (struct instant){ 1 }, &f->result);
        assert_true(f->result.valid);
        buffer_done(&b);
}

static void change(struct fixture *f, struct store_key_command k)
{
        struct store_command c = { .type = STORE_KEY, .origin = { .node = 1 }, .key = k };

        apply(f, &c);
        assert_int_equal(f->result.error, STORE_OK);
}

static void set(struct fixture *f, const char *path)
{
        change(f, (struct store_key_command){ .path = path, .value = "v" });
}

static void delete_tree(struct fixture *f, const char *path)
{
        change(f, (struct store_key_command){
                          .action = STORE_DELETE, .path = path, .recursive = true });
}

static void wakes_nobody(struct fixture *f)
{
        assert_int_equal(f->result.n_woken, 0);
}

static uint64_t stream(struct fixture *f, const char *path, bool recursive, uint64_t since)
{
        uint64_t watcher = 0;

        assert_int_equal(store_watch_stream(f->store, path, recursive, since, &watcher), STORE_OK);
        assert_true(watcher != 0);
        return watcher;
}

static uint64_t watch(struct fixture *f, const char *path, bool recursive, uint64_t since)
{
        const struct store_event *e = NULL;
        uint64_t watcher = 0;

        assert_int_equal(store_watch_add(f->store, path, recursive, since, &e, &watcher), STORE_OK);
        assert_null(e);
        return watcher;
}

/* The index of the next event that waits, or 0. */
static uint64_t take(struct fixture *f, uint64_t watcher)
{
        const struct store_event *e = store_watch_take(f->store, watcher);

        return e ? e->index : 0;
}

static bool is_over(struct fixture *f, uint64_t watcher)
{
        return store_watch_is_over(f->store, watcher);
}

static void stream_hears_every_event_in_order(void **state)
{
        struct fixture *f = *state;
        uint64_t watcher = stream(f, "/a", true, 0);

        for (int i = 0; i < 5; i++) {
                set(f, "/a/b");
                assert_int_equal(f->result.n_woken, 1);
                assert_true(f->result.woken[0] == watcher);
                set(f, "/b");
                wakes_nobody(f);
        }
        for (uint64_t i = 0; i < 5; i++)
                assert_true(take(f, watcher) == 1 + 2 * i);
        assert_true(take(f, watcher) == 0);
        assert_false(is_over(f, watcher));
        set(f, "/a/c");
        assert_true(take(f, watcher) == 11);
}

static void stream_begins_in_the_history(void **state)
{
        struct fixture *f = *state;
        uint64_t watcher;

        for (int i = 0; i < 10; i++)
                set(f, i % 2 ? "/a" : "/b");
        watcher = stream(f, "/a", false, 3);
        set(f, "/a");
        for (uint64_t i = 4; i <= 10; i += 2)
                assert_true(take(f, watcher) == i);
        assert_true(take(f, watcher) == 11);
        assert_true(take(f, watcher) == 0);
}

static void stream_from_a_later_index_passes_over_earlier_events(void **state)
{
        struct fixture *f = *state;
        uint64_t watcher = stream(f, "/a", false, 3);

        set(f, "/a");
        set(f, "/a");
        wakes_nobody(f);
        set(f, "/a");
        assert_true(take(f, watcher) == 3);
}

static void stream_from_before_the_history_is_refused(void **state)
{
        struct fixture *f = *state;
        uint64_t watcher = 7;

        for (int i = 0; i < STORE_HISTORY_MAX + 5; i++)
                set(f, "/a");
        assert_int_equal(store_watch_stream(f->store, "/a", false, 5, &watcher),
                         STORE_INDEX_CLEARED);
        assert_int_equal(watcher, 7);
        watcher = stream(f, "/a", false, 6);
        for (uint64_t i = 6; i < STORE_HISTORY_MAX + 6; i++)
                assert_true(take(f, watcher) == i);
        assert_true(take(f, watcher) == 0);
}

static void stream_that_falls_behind_is_cut_off_after_what_waits(void **state)
{
        struct fixture *f = *state;
        uint64_t watcher = stream(f, "/a", false, 0);

        for (int i = 0; i < STORE_STREAM_MAX; i++) {
                assert_false(is_over(f, watcher));
                set(f, "/a");
        }
        set(f, "/a");
        wakes_nobody(f);
        for (uint64_t i = 1; i <= STORE_STREAM_MAX; i++) {
                assert_false(is_over(f, watcher));
                assert_true(take(f, watcher) == i);
        }
        assert_true(is_over(f, watcher));
        assert_true(take(f, watcher) == 0);
        store_watch_remove(f->store, watcher);
        assert_false(is_over(f, watcher));
}

static void stream_that_reads_now_and_then_goes_on(void **state)
{
        struct fixture *f = *state;
        uint64_t watcher = stream(f, "/a", false, 0), next = 1;

        for (int round = 0; round < 20; round++) {
                for (int i = 0; i < STORE_STREAM_MAX - 10; i++)
                        set(f, "/a");
                for (int i = 0; i < STORE_STREAM_MAX - 10; i++)
                        assert_true(take(f, watcher) == next++);
        }
        assert_false(is_over(f, watcher));
}

/* What was there before it came is no lag of its own. */
static void stream_with_a_long_history_is_not_behind(void **state)
{
        struct fixture *f = *state;
        uint64_t watcher;

        for (int i = 0; i < 500; i++)
                set(f, "/a");
        watcher = stream(f, "/a", false, 1);
        for (int i = 0; i < STORE_STREAM_MAX - 1; i++)
                set(f, "/a");
        for (uint64_t i = 1; i <= 500 + STORE_STREAM_MAX - 1; i++)
                assert_true(take(f, watcher) == i);
        set(f, "/a");
        assert_true(take(f, watcher) == 500 + STORE_STREAM_MAX);
        assert_true(take(f, watcher) == 0);
        assert_false(is_over(f, watcher));
}

static void removal_of_a_tree_is_heard_once(void **state)
{
        struct fixture *f = *state;
        uint64_t above, below;

        set(f, "/a/b/c");
        set(f, "/a/b/d");
        above = stream(f, "/", true, 0);
        below = stream(f, "/a/b", true, 0);
        delete_tree(f, "/a");
        assert_int_equal(f->result.n_woken, 2);
        assert_true(take(f, above) == 3);
        assert_true(take(f, above) == 0);
        assert_true(take(f, below) == 3);
        assert_true(take(f, below) == 0);
}

static void command_with_several_events_wakes_once(void **state)
{
        struct fixture *f = *state;
        struct store_expiry expiries[] = { { .kind = STORE_LEASE_KEY, .name = (char *)"/a" },
                                           { .kind = STORE_LEASE_KEY, .name = (char *)"/b" } };
        uint64_t watcher;

        for (size_t i = 0; i < 2; i++) {
                change(f, (struct store_key_command){ .path = expiries[i].name, .has_ttl = true });
                expiries[i].renewed = f->log_index;
        }
        watcher = stream(f, "/", true, 0);
        apply(f, &(struct store_command){ .type = STORE_EXPIRE, .expiries = expiries, .n = 2 });
        assert_int_equal(f->result.n_woken, 1);
        assert_true(take(f, watcher) == 3);
        assert_true(take(f, watcher) == 4);
}

static int feed(void *userdata, const uint8_t *bytes, size_t n)
{
        return store_restore_feed(userdata, bytes, n);
}

/* What a replica looks like that went on while this one stood still. */
static struct fixture ahead_of(struct fixture *f)
{
        struct store_restore *r = store_restore_new();
        struct fixture ahead = { .log_index = f->log_index };

        assert_int_equal(store_snapshot_write(f->store, feed, r), 0);
        ahead.store = store_restore_finish(r, (struct instant){ 1 });
        assert_non_null(ahead.store);
        return ahead;
}

/* The store of @ahead takes the place of that of @f; returns how many were woken. */
static size_t replace(struct fixture *f, struct fixture *ahead)
{
        const uint64_t *woken;
        size_t n = store_watch_move(ahead->store, f->store, &woken);

        store_free(f->store);
        *f = *ahead;
        return n;
}

static void watchers_find_what_changed_while_the_store_was_replaced(void **state)
{
        struct fixture *f = *state, ahead;
        uint64_t plain, quiet, steady, taken;

        set(f, "/a");
        plain = watch(f, "/a", false, 0);
        quiet = watch(f, "/quiet", false, 0);
        steady = stream(f, "/", true, 0);
        taken = watch(f, "/b", false, 0);
        set(f, "/b");
        ahead = ahead_of(f);
        set(&ahead, "/a");
        set(&ahead, "/a");
        assert_int_equal(replace(f, &ahead), 3);
        assert_true(take(f, taken) == 2);
        assert_true(take(f, plain) == 3);
        assert_true(take(f, plain) == 0);
        assert_true(take(f, steady) == 2);
        assert_true(take(f, steady) == 3);
        assert_true(take(f, steady) == 4);
        assert_true(take(f, quiet) == 0);
        assert_false(is_over(f, quiet));
        set(f, "/quiet");
        assert_true(take(f, quiet) == 5);
        assert_true(take(f, steady) == 5);
}

static void watchers_that_missed_too_much_are_over(void **state)
{
        struct fixture *f = *state, ahead;
        uint64_t plain, steady, later;

        set(f, "/a");
        plain = watch(f, "/a", false, 0);
        steady = stream(f, "/b", false, 0);
        later = watch(f, "/a", false, STORE_HISTORY_MAX + 50);
        ahead = ahead_of(f);
        for (int i = 0; i < STORE_HISTORY_MAX + 1; i++)
                set(&ahead, "/a");
        assert_int_equal(replace(f, &ahead), 2);
        assert_true(take(f, plain) == 0);
        assert_true(is_over(f, plain));
        assert_true(is_over(f, steady));
        assert_false(is_over(f, later));
        assert_int_equal(store_stats(f->store).watchers, 3);
        store_watch_remove(f->store, plain);
        assert_int_equal(store_stats(f->store).watchers, 2);
}

/* Numbers of watchers are never used twice, also when the store was replaced. */
static void new_watchers_get_new_numbers_after_a_replacement(void **state)
{
        struct fixture *f = *state, ahead = ahead_of(f);
        uint64_t first = watch(f, "/a", false, 0);

        store_watch_remove(f->store, first);
        (void)replace(f, &ahead);
        assert_true(watch(f, "/a", false, 0) > first);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(stream_hears_every_event_in_order),
                TEST(stream_begins_in_the_history),
                TEST(stream_from_a_later_index_passes_over_earlier_events),
                TEST(stream_from_before_the_history_is_refused),
                TEST(stream_that_falls_behind_is_cut_off_after_what_waits),
                TEST(stream_that_reads_now_and_then_goes_on),
                TEST(stream_with_a_long_history_is_not_behind),
                TEST(removal_of_a_tree_is_heard_once),
                TEST(command_with_several_events_wakes_once),
                TEST(watchers_find_what_changed_while_the_store_was_replaced),
                TEST(watchers_that_missed_too_much_are_over),
                TEST(new_watchers_get_new_numbers_after_a_replacement),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
