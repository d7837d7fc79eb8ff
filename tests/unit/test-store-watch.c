/* Watchers and the history: who is told what, once, without a gap. */
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

static void refresh(struct fixture *f, const char *path)
{
        change(f, (struct store_key_command){ .path = path,
                                              .condition = STORE_MUST_EXIST,
                                              .refresh = true,
                                              .has_ttl = true,
                                              .ttl = 5 });
}

/* A watcher that waits. */
static uint64_t watch(struct fixture *f, const char *path, bool recursive, uint64_t since)
{
        const struct store_event *e = NULL;
        uint64_t watcher = 0;

        assert_int_equal(store_watch_add(f->store, path, recursive, since, &e, &watcher), STORE_OK);
        assert_null(e);
        assert_true(watcher != 0);
        return watcher;
}

/* The index of what the history answers at once; 0 if it has nothing. */
static uint64_t search(struct fixture *f, const char *path, bool recursive, uint64_t since)
{
        const struct store_event *e = NULL;
        uint64_t watcher = 0;

        assert_int_equal(store_watch_add(f->store, path, recursive, since, &e, &watcher), STORE_OK);
        store_watch_remove(f->store, watcher);
        return e ? e->index : 0;
}

/* The last command woke exactly this one, with its own event. */
static void wakes(struct fixture *f, uint64_t watcher, const char *path)
{
        const struct store_event *e;

        assert_int_equal(f->result.n_woken, 1);
        assert_true(f->result.woken[0] == watcher);
        e = store_watch_take(f->store, watcher);
        assert_non_null(e);
        assert_true(e->index == f->result.index);
        assert_string_equal(e->node.path, path);
        assert_null(store_watch_take(f->store, watcher));
}

static void wakes_nobody(struct fixture *f)
{
        assert_int_equal(f->result.n_woken, 0);
}

static void plain_watcher_hears_only_its_own_key(void **state)
{
        struct fixture *f = *state;
        uint64_t watcher = watch(f, "/foo", false, 0);

        set(f, "/foobar");
        wakes_nobody(f);
        set(f, "/fo");
        wakes_nobody(f);
        assert_null(store_watch_take(f->store, watcher));
        set(f, "/foo");
        wakes(f, watcher, "/foo");
}

static void plain_watcher_of_a_directory_does_not_hear_what_is_below(void **state)
{
        struct fixture *f = *state;
        uint64_t watcher = watch(f, "/d", false, 0);

        set(f, "/d/a");
        wakes_nobody(f);
        delete_tree(f, "/d");
        wakes(f, watcher, "/d");
}

static void recursive_watcher_hears_all_below_but_not_names_that_begin_alike(void **state)
{
        struct fixture *f = *state;
        uint64_t watcher = watch(f, "/foo", true, 0);

        set(f, "/foobar/a");
        wakes_nobody(f);
        set(f, "/foo/a/b");
        wakes(f, watcher, "/foo/a/b");
        watcher = watch(f, "/foo/a/b", true, 0);
        set(f, "/foo/a/b");
        wakes(f, watcher, "/foo/a/b");
        watcher = watch(f, "/", true, 0);
        set(f, "/x");
        wakes(f, watcher, "/x");
}

static void one_event_ends_a_watcher(void **state)
{
        struct fixture *f = *state;
        uint64_t watcher = watch(f, "/a", false, 0);

        set(f, "/a");
        assert_int_equal(f->result.n_woken, 1);
        set(f, "/a");
        wakes_nobody(f);
        /* It keeps the first event until it is asked for. */
        assert_int_equal(store_watch_take(f->store, watcher)->index, 1);
        set(f, "/a");
        wakes_nobody(f);
}

static void removed_watcher_hears_nothing(void **state)
{
        struct fixture *f = *state;
        uint64_t gone = watch(f, "/a", false, 0), other = watch(f, "/a", false, 0);

        store_watch_remove(f->store, gone);
        store_watch_remove(f->store, gone);
        store_watch_remove(f->store, 12345);
        set(f, "/a");
        wakes(f, other, "/a");
}

static void several_watchers_hear_one_event(void **state)
{
        struct fixture *f = *state;

        (void)watch(f, "/d/a", false, 0);
        (void)watch(f, "/d/a", true, 0);
        (void)watch(f, "/d", true, 0);
        (void)watch(f, "/", true, 0);
        (void)watch(f, "/d", false, 0);
        set(f, "/d/a");
        assert_int_equal(f->result.n_woken, 4);
        for (size_t i = 0; i < 4; i++)
                assert_int_equal(store_watch_take(f->store, f->result.woken[i])->index, 1);
}

static void hidden_names_are_not_heard_from_above(void **state)
{
        struct fixture *f = *state;
        uint64_t above = watch(f, "/", true, 0), at;

        set(f, "/_x");
        wakes_nobody(f);
        set(f, "/a/_x/b");
        wakes_nobody(f);
        at = watch(f, "/a/_x", true, 0);
        set(f, "/a/_x/b");
        wakes(f, at, "/a/_x/b");
        at = watch(f, "/a/_x/b", false, 0);
        set(f, "/a/_x/b");
        wakes(f, at, "/a/_x/b");
        set(f, "/a/x_y");
        wakes(f, above, "/a/x_y");
}

static void refresh_is_heard_by_nobody(void **state)
{
        struct fixture *f = *state;
        uint64_t watcher;

        set(f, "/a");
        watcher = watch(f, "/a", false, 2);
        refresh(f, "/a");
        wakes_nobody(f);
        assert_int_equal(store_index(f->store), 2);
        assert_int_equal(search(f, "/a", false, 2), 0);
        set(f, "/a");
        wakes(f, watcher, "/a");
        assert_int_equal(search(f, "/a", false, 2), 3);
}

static void creation_and_removal_are_heard_whatever_refresh_says(void **state)
{
        struct fixture *f = *state;
        uint64_t watcher = watch(f, "/a", false, 0);

        change(f, (struct store_key_command){
                          .path = "/a", .condition = STORE_MUST_NOT_EXIST, .refresh = true });
        assert_false(f->result.event->refresh);
        wakes(f, watcher, "/a");
        watcher = watch(f, "/a", false, 0);
        change(f,
               (struct store_key_command){ .action = STORE_DELETE, .path = "/a", .refresh = true });
        assert_false(f->result.event->refresh);
        wakes(f, watcher, "/a");
}

static void removal_of_a_tree_wakes_who_waits_for_a_key_in_it(void **state)
{
        struct fixture *f = *state;
        uint64_t plain, recursive, absent, hidden, above;

        set(f, "/d/e/a");
        set(f, "/d/_h");
        plain = watch(f, "/d/e/a", false, 0);
        recursive = watch(f, "/d/e", true, 0);
        hidden = watch(f, "/d/_h", false, 0);
        above = watch(f, "/", true, 0);
        absent = watch(f, "/d/e/b", false, 0);
        delete_tree(f, "/d");
        assert_int_equal(f->result.n_woken, 4);
        assert_string_equal(store_watch_take(f->store, plain)->node.path, "/d");
        assert_string_equal(store_watch_take(f->store, recursive)->node.path, "/d");
        assert_string_equal(store_watch_take(f->store, hidden)->node.path, "/d");
        assert_string_equal(store_watch_take(f->store, above)->node.path, "/d");
        assert_null(store_watch_take(f->store, absent));
        set(f, "/d/e/b");
        wakes(f, absent, "/d/e/b");
}

static void history_knows_which_keys_went_with_a_tree(void **state)
{
        struct fixture *f = *state;

        set(f, "/d/e/a");
        delete_tree(f, "/d");
        assert_int_equal(search(f, "/d/e/a", false, 2), 2);
        assert_int_equal(search(f, "/d/e", true, 2), 2);
        assert_int_equal(search(f, "/d", false, 2), 2);
        assert_int_equal(search(f, "/", true, 2), 2);
        assert_int_equal(search(f, "/d/e/b", false, 2), 0);
        assert_int_equal(search(f, "/dx", false, 2), 0);
}

static void tree_too_big_to_be_remembered_counts_as_holding_everything(void **state)
{
        struct fixture *f = *state;
        char path[2100];
        int n;

        memset(path, 'x', sizeof(path));
        for (int i = 0; i < 600; i++) {
                n = snprintf(path, sizeof(path), "/d/%d", i);
                path[n] = 'x';
                path[2000] = '\0';
                set(f, path);
                path[2000] = 'x';
        }
        delete_tree(f, "/d");
        assert_int_equal(search(f, "/d/e/b", false, 601), 601);
        assert_int_equal(search(f, "/e", false, 601), 0);
}

static void expiry_is_heard_as_an_event_of_its_own(void **state)
{
        struct fixture *f = *state;
        char a[] = "/a", b[] = "/b", gone[] = "/gone";
        struct store_expiry e[3] = { { .kind = STORE_LEASE_KEY, .name = b, .renewed = 2 },
                                     { .kind = STORE_LEASE_KEY, .name = gone, .renewed = 2 },
                                     { .kind = STORE_LEASE_KEY, .name = a, .renewed = 1 } };
        struct store_command c = { .type = STORE_EXPIRE, .expiries = e, .n = 3 };
        const struct store_event *event;
        uint64_t watcher;

        change(f, (struct store_key_command){ .path = a, .has_ttl = true, .ttl = 1 });
        change(f, (struct store_key_command){ .path = b, .has_ttl = true, .ttl = 2 });
        watcher = watch(f, "/a", false, 0);
        apply(f, &c);
        assert_int_equal(f->result.n_outcomes, 3);
        assert_true(f->result.outcomes[0].accepted);
        assert_false(f->result.outcomes[1].accepted);
        assert_true(f->result.outcomes[2].accepted);
        assert_int_equal(f->result.index, 4);
        event = store_watch_take(f->store, watcher);
        assert_int_equal(event->action, STORE_DID_EXPIRE);
        assert_int_equal(event->index, 4);
        assert_int_equal(event->node.modified, 4);
        assert_int_equal(event->node.created, 1);
        assert_false(event->node.has_ttl);
        assert_null(event->node.value);
        assert_true(event->previous.has_ttl);
        assert_string_equal(event->previous.value, "");
        assert_int_equal(search(f, "/b", false, 3), 3);
}

/* History. */

static void history_answers_from_since_on_inclusive(void **state)
{
        struct fixture *f = *state;

        set(f, "/a");
        set(f, "/b");
        set(f, "/a");
        assert_int_equal(search(f, "/a", false, 1), 1);
        assert_int_equal(search(f, "/a", false, 2), 3);
        assert_int_equal(search(f, "/b", false, 2), 2);
        assert_int_equal(search(f, "/b", false, 3), 0);
        assert_int_equal(search(f, "/", true, 2), 2);
        assert_int_equal(search(f, "/a", false, 0), 0);
}

static void watcher_from_a_later_index_passes_over_earlier_events(void **state)
{
        struct fixture *f = *state;
        uint64_t watcher = watch(f, "/a", false, 3);

        set(f, "/a");
        wakes_nobody(f);
        set(f, "/a");
        wakes_nobody(f);
        set(f, "/a");
        wakes(f, watcher, "/a");
}

static void history_holds_the_last_thousand(void **state)
{
        struct fixture *f = *state;
        const struct store_event *e = NULL;
        uint64_t watcher = 0;

        assert_int_equal(store_history_oldest(f->store), 1);
        for (int i = 0; i < 2500; i++)
                set(f, i % 2 ? "/odd" : "/even");
        assert_int_equal(store_history_oldest(f->store), 1501);
        assert_int_equal(search(f, "/", true, 1501), 1501);
        assert_int_equal(search(f, "/odd", false, 1501), 1502);
        assert_int_equal(search(f, "/even", false, 2500), 0);
        assert_int_equal(store_watch_add(f->store, "/odd", false, 1500, &e, &watcher),
                         STORE_INDEX_CLEARED);
        assert_int_equal(store_watch_add(f->store, "/never", false, 1, &e, &watcher),
                         STORE_INDEX_CLEARED);
        assert_null(e);
        assert_true(watcher == 0);
}

static void first_index_is_served_until_the_history_is_full(void **state)
{
        struct fixture *f = *state;

        for (int i = 0; i < STORE_HISTORY_MAX; i++)
                set(f, "/a");
        assert_int_equal(search(f, "/a", false, 1), 1);
        set(f, "/a");
        assert_int_equal(store_history_oldest(f->store), 2);
}

static void history_of_big_values_is_shorter(void **state)
{
        struct fixture *f = *state;
        char *value = must_alloc(STORE_VALUE_BYTES_MAX + 1, 1);

        memset(value, 'x', STORE_VALUE_BYTES_MAX);
        for (int i = 0; i < 80; i++) {
                change(f, (struct store_key_command){ .path = "/a", .value = value });
                delete_tree(f, "/a");
        }
        free(value);
        /* Each value is shown by the event that set it and by the one that removed it. */
        assert_int_equal(store_history_oldest(f->store), 160 - 66);
        assert_int_equal(search(f, "/a", false, 160 - 66), 160 - 66);
}

static void event_outlives_the_history_until_it_is_taken(void **state)
{
        struct fixture *f = *state;
        const struct store_event *e;
        uint64_t watcher = watch(f, "/a", false, 0);

        change(f, (struct store_key_command){ .path = "/a", .value = "first" });
        for (int i = 0; i < 1200; i++)
                set(f, "/a");
        e = store_watch_take(f->store, watcher);
        assert_non_null(e);
        assert_int_equal(e->index, 1);
        assert_string_equal(e->node.value, "first");
}

static void too_many_watchers_are_refused_until_one_goes(void **state)
{
        struct fixture *f = *state;
        const struct store_event *e = NULL;
        uint64_t watcher = 0, one = watch(f, "/a", false, 0);

        for (int i = 1; i < STORE_WATCHERS_MAX; i++)
                (void)watch(f, "/b", false, 0);
        assert_int_equal(store_watch_add(f->store, "/c", false, 0, &e, &watcher),
                         STORE_WATCHER_CLEARED);
        assert_true(watcher == 0);
        set(f, "/a");
        assert_non_null(store_watch_take(f->store, one));
        (void)watch(f, "/c", false, 0);
        set(f, "/b");
        assert_int_equal(f->result.n_woken, STORE_WATCHERS_MAX - 1);
}

/* A path of up to three names out of few, some hidden. */
static void random_path(struct random *random, char *ret, size_t size)
{
        static const char *const names[] = { "a", "b", "_c" };
        size_t n = 0, depth = 1 + random_below(random, 3);

        for (size_t i = 0; i < depth; i++)
                n += (size_t)snprintf(ret + n, size - n, "/%s", names[random_below(random, 3)]);
}

/* One step of random changes; errors are part of it. */
static void random_change(struct fixture *f, struct random *random)
{
        char path[32];
        struct store_command c = {
                .type = STORE_KEY,
                .key = { .action = random_below(random, 4) == 0 ? STORE_DELETE : STORE_SET,
                         .path = path,
                         .value = "v",
                         .directory = random_below(random, 3) == 0,
                         .recursive = random_below(random, 2),
                         .refresh = random_below(random, 6) == 0 },
        };

        random_path(random, path, sizeof(path));
        apply(f, &c);
}

static void history_and_live_watch_find_the_same(void **state)
{
        struct fixture *f = *state;
        struct random random = { .state = 4 };
        int n_found = 0;

        for (int round = 0; round < 2000; round++) {
                char path[32];
                bool recursive = random_below(&random, 2);
                uint64_t since = store_index(f->store) + 1, watcher, live;
                const struct store_event *e;

                random_path(&random, path, sizeof(path));
                watcher = watch(f, path, recursive, since);
                for (int i = 0; i < 4; i++)
                        random_change(f, &random);
                e = store_watch_take(f->store, watcher);
                live = e ? e->index : 0;
                store_watch_remove(f->store, watcher);
                assert_int_equal(search(f, path, recursive, since), live);
                n_found += e != NULL;
        }
        assert_in_range(n_found, 200, 1800);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(plain_watcher_hears_only_its_own_key),
                TEST(plain_watcher_of_a_directory_does_not_hear_what_is_below),
                TEST(recursive_watcher_hears_all_below_but_not_names_that_begin_alike),
                TEST(one_event_ends_a_watcher),
                TEST(removed_watcher_hears_nothing),
                TEST(several_watchers_hear_one_event),
                TEST(hidden_names_are_not_heard_from_above),
                TEST(refresh_is_heard_by_nobody),
                TEST(creation_and_removal_are_heard_whatever_refresh_says),
                TEST(removal_of_a_tree_wakes_who_waits_for_a_key_in_it),
                TEST(history_knows_which_keys_went_with_a_tree),
                TEST(tree_too_big_to_be_remembered_counts_as_holding_everything),
                TEST(expiry_is_heard_as_an_event_of_its_own),
                TEST(history_answers_from_since_on_inclusive),
                TEST(watcher_from_a_later_index_passes_over_earlier_events),
                TEST(history_holds_the_last_thousand),
                TEST(first_index_is_served_until_the_history_is_full),
                TEST(history_of_big_values_is_shorter),
                TEST(event_outlives_the_history_until_it_is_taken),
                TEST(too_many_watchers_are_refused_until_one_goes),
                TEST(history_and_live_watch_find_the_same),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
