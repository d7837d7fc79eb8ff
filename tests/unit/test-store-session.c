/* Changes that are in the log more than once: they take effect once, and are answered alike. */
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

enum { PROCESS = 77 };

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

static const struct store_result *apply(struct fixture *f, const struct store_command *c)
{
        struct buffer b = { 0 };

        assert_int_equal(store_command_check(c), 0);
        store_command_encode(c, &b);
        store_apply(f->store, ++f->log_index, b.bytes, b.n, (struct instant){ f->log_index },
                    &f->result);
        assert_true(f->result.valid);
        buffer_done(&b);
        return &f->result;
}

static const struct store_result *append_as(struct fixture *f, struct store_origin origin,
                                            uint64_t settled)
{
        return apply(f, &(struct store_command){
                                .type = STORE_KEY,
                                .origin = origin,
                                .settled = settled,
                                .key = { .action = STORE_CREATE, .path = "/queue", .value = "v" },
                        });
}

/* An in-order key: applied twice it would show. */
static const struct store_result *append(struct fixture *f, uint64_t sequence)
{
        return append_as(f, (struct store_origin){ 1, PROCESS, sequence }, 0);
}

static const struct store_result *swap(struct fixture *f, uint64_t sequence, const char *from,
                                       const char *to)
{
        return apply(f, &(struct store_command){
                                .type = STORE_KEY,
                                .origin = { 1, PROCESS, sequence },
                                .key = { .path = "/lock", .value = to, .previous_value = from },
                        });
}

static void applied(const struct fixture *f)
{
        assert_false(f->result.repeated);
        assert_int_equal(f->result.error, STORE_OK);
        assert_true(f->result.index == store_index(f->store));
}

static void repeated(const struct fixture *f, uint64_t index)
{
        assert_true(f->result.repeated);
        assert_int_equal(f->result.error, STORE_OK);
        assert_true(f->result.index == index);
        assert_true(f->result.event->index == index);
        assert_int_equal(f->result.n_woken, 0);
}

static void lost(const struct fixture *f)
{
        assert_false(f->result.repeated);
        assert_int_equal(f->result.error, STORE_ANSWER_LOST);
        assert_int_equal(f->result.n_cause, strlen(f->result.cause));
        assert_null(f->result.event);
        assert_true(f->result.index == store_index(f->store));
}

static void repeated_change_is_applied_once(void **state)
{
        struct fixture *f = *state;

        append(f, 5);
        applied(f);
        append(f, 6);
        append(f, 5);
        repeated(f, 1);
        assert_string_equal(f->result.event->node.path, "/queue/00000000000000000001");
        assert_string_equal(f->result.event->node.value, "v");
        assert_int_equal(f->result.event->action, STORE_DID_CREATE);
        assert_true(store_index(f->store) == 2);
}

static void repeated_swap_answers_that_it_was_done(void **state)
{
        struct fixture *f = *state;

        apply(f, &(struct store_command){ .type = STORE_KEY,
                                          .key = { .path = "/lock", .value = "a" } });
        assert_int_equal(swap(f, 1, "a", "b")->error, STORE_OK);
        assert_int_equal(swap(f, 2, "b", "c")->error, STORE_OK);
        swap(f, 1, "a", "b");
        repeated(f, 2);
        assert_string_equal(f->result.event->node.value, "b");
        assert_string_equal(f->result.event->previous.value, "a");
}

static void repeated_refusal_is_refused_alike(void **state)
{
        struct fixture *f = *state;

        apply(f, &(struct store_command){ .type = STORE_KEY,
                                          .key = { .path = "/lock", .value = "a" } });
        assert_int_equal(swap(f, 1, "x", "b")->error, STORE_TEST_FAILED);
        assert_int_equal(swap(f, 2, "a", "x")->error, STORE_OK);
        swap(f, 1, "x", "b"); /* by now it would succeed */
        assert_true(f->result.repeated);
        assert_int_equal(f->result.error, STORE_TEST_FAILED);
        assert_string_equal(f->result.cause, "[x != a]");
        assert_int_equal(f->result.n_cause, 8);
        assert_true(f->result.index == 1);
        assert_true(store_index(f->store) == 2);
}

static void repetition_wakes_nobody(void **state)
{
        struct fixture *f = *state;
        const struct store_event *e;
        uint64_t watcher;

        append(f, 1);
        assert_int_equal(store_watch_add(f->store, "/", true, 0, &e, &watcher), STORE_OK);
        append(f, 1);
        repeated(f, 1);
        assert_null(store_watch_take(f->store, watcher));
}

static void sequences_come_in_any_order_with_gaps(void **state)
{
        static const uint64_t order[] = { 1000, 10, 900, 20, 5000000, 11, 1 };
        struct fixture *f = *state;

        for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++) {
                append(f, order[i]);
                applied(f);
        }
        for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++) {
                append(f, order[i]);
                repeated(f, i + 1);
        }
}

static void without_node_or_sequence_every_time_counts(void **state)
{
        struct fixture *f = *state;

        for (int i = 0; i < 2; i++) {
                append(f, 0);
                applied(f);
                append_as(f, (struct store_origin){ 0, PROCESS, 4 }, 0);
                applied(f);
        }
        assert_true(store_index(f->store) == 4);
}

static void below_the_window_the_answer_is_lost(void **state)
{
        struct fixture *f = *state;
        const uint64_t last = STORE_SESSION_ANSWERS_MAX + 11;

        for (uint64_t i = 11; i <= last; i++)
                append(f, 2 * i);
        append(f, 24);
        repeated(f, 2);
        append(f, 22); /* it was applied, which is forgotten */
        lost(f);
        append(f, 21); /* it never was, but nobody can tell */
        lost(f);
        append(f, 23);
        applied(f);
        append(f, 24); /* there was room for one only, and it was lower than that */
        assert_true(f->result.repeated);
        append(f, 23);
        lost(f);
}

static void large_answers_are_given_up_earlier(void **state)
{
        struct fixture *f = *state;
        const size_t n = 1000000;
        char *value = must_alloc(1, n + 1);

        memset(value, 'v', n);
        for (uint64_t i = 1; i <= 10; i++)
                apply(f, &(struct store_command){ .type = STORE_KEY,
                                                  .origin = { 1, PROCESS, i },
                                                  .key = { .path = "/a", .value = value } });
        append(f, 10);
        repeated(f, 10);
        append(f, 1);
        lost(f);
        free(value);
}

static void settled_sequences_are_forgotten(void **state)
{
        struct fixture *f = *state;

        append(f, 1);
        append(f, 2);
        append(f, 9);
        append_as(f, (struct store_origin){ 1, PROCESS, 10 }, 5);
        applied(f);
        append(f, 2);
        lost(f);
        append(f, 3); /* given up without an answer: it comes too late */
        lost(f);
        append(f, 5);
        applied(f);
        append(f, 9);
        repeated(f, 3);
        append_as(f, (struct store_origin){ 1, PROCESS, 11 }, 9);
        append(f, 9); /* the lowest that is still asked for */
        repeated(f, 3);
}

static void old_word_about_what_is_settled_does_no_harm(void **state)
{
        struct fixture *f = *state;

        append_as(f, (struct store_origin){ 1, PROCESS, 10 }, 8);
        append_as(f, (struct store_origin){ 1, PROCESS, 9 }, 3);
        applied(f);
        append(f, 7);
        lost(f);
        append_as(f, (struct store_origin){ 1, PROCESS, 10 }, 8);
        repeated(f, 1);
}

static void processes_are_kept_apart(void **state)
{
        struct fixture *f = *state;

        append_as(f, (struct store_origin){ 1, 100, 1 }, 0);
        append_as(f, (struct store_origin){ 2, 100, 1 }, 0);
        applied(f);
        append_as(f, (struct store_origin){ 1, 101, 1 }, 0);
        applied(f);
        append_as(f, (struct store_origin){ 1, 100, 1 }, 0); /* the dead one's is still known */
        repeated(f, 1);
}

static void process_of_long_ago_is_refused(void **state)
{
        struct fixture *f = *state;

        for (uint64_t i = 0; i < STORE_SESSIONS_MAX + 1; i++) {
                append_as(f, (struct store_origin){ 1, 100 + i, 1 }, 0);
                applied(f);
        }
        append_as(f, (struct store_origin){ 1, 100, 1 }, 0);
        lost(f);
        append_as(f, (struct store_origin){ 1, 100, 2 }, 0);
        lost(f);
        append_as(f, (struct store_origin){ 1, 101, 1 }, 0);
        repeated(f, 2);
        append_as(f, (struct store_origin){ 2, 100, 1 }, 0);
        applied(f);
}

/* A command of a dead process that comes late must not end the session of the one that lives. */
static void late_commands_of_the_dead_do_not_end_the_living(void **state)
{
        struct fixture *f = *state;

        append_as(f, (struct store_origin){ 1, PROCESS, 1 }, 0);
        for (uint64_t i = 0; i < 3 * STORE_SESSIONS_MAX; i++) {
                append_as(f, (struct store_origin){ 1, 1000 + i, 1 }, 0);
                append_as(f, (struct store_origin){ 1, PROCESS, 2 + i }, 0);
                applied(f);
        }
        append_as(f, (struct store_origin){ 1, PROCESS, 1 }, 0);
        repeated(f, 1);
}

/*
 * Any order of first times and repetitions against a list of what was applied: nothing twice,
 * and no answer but the first.
 */
static void no_order_applies_twice(void **state)
{
        struct fixture *f = *state;
        struct random random = { .state = 4711 };
        uint64_t answered[400] = { 0 };

        for (int i = 0; i < 4000; i++) {
                uint64_t sequence = 1 + random_next(&random) % 399;
                uint64_t before = store_index(f->store);

                append(f, sequence);
                if (answered[sequence]) {
                        repeated(f, answered[sequence]);
                        assert_true(store_index(f->store) == before);
                } else {
                        applied(f);
                        answered[sequence] = before + 1;
                }
        }
}

static void counted(const struct store_counter *c, uint64_t success, uint64_t fail)
{
        assert_true(c->success == success && c->fail == fail);
}

static void every_operation_is_counted_once(void **state)
{
        static const struct store_key_command commands[] = {
                { .path = "/a", .value = "1" },
                { .path = "/a", .value = "1", .condition = STORE_MUST_NOT_EXIST },
                { .path = "/a/b", .value = "1" },
                { .path = "/q", .value = "1", .action = STORE_CREATE },
                { .path = "/a", .value = "2", .condition = STORE_MUST_EXIST },
                { .path = "/b", .value = "2", .condition = STORE_MUST_EXIST },
                { .path = "/a", .value = "3", .previous_value = "2", .n_previous_value = 1 },
                { .path = "/a", .value = "3", .previous_value = "2", .n_previous_value = 1 },
                { .path = "/a", .previous_index = 1, .action = STORE_DELETE },
                { .path = "/q", .action = STORE_DELETE },
        };
        struct fixture *f = *state;
        struct store_stats stats;

        for (int round = 0; round < 2; round++)
                for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
                        apply(f, &(struct store_command){ .type = STORE_KEY,
                                                          .origin = { 1, PROCESS, i + 1 },
                                                          .key = commands[i] });
        stats = store_stats(f->store);
        counted(&stats.sets, 1, 1);
        counted(&stats.creates, 1, 1);
        counted(&stats.updates, 1, 1);
        counted(&stats.compare_and_swaps, 1, 1);
        counted(&stats.compare_and_deletes, 0, 1);
        counted(&stats.deletes, 0, 1);
        assert_true(stats.expirations == 0 && stats.watchers == 0);
}

static void settled_beyond_the_sequence_is_no_command(void **state)
{
        const struct store_command c = { .type = STORE_KEY,
                                         .origin = { 1, PROCESS, 4 },
                                         .settled = 5,
                                         .key = { .path = "/a" } };

        (void)state;
        assert_int_not_equal(store_command_check(&c), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                TEST(repeated_change_is_applied_once),
                TEST(repeated_swap_answers_that_it_was_done),
                TEST(repeated_refusal_is_refused_alike),
                TEST(repetition_wakes_nobody),
                TEST(sequences_come_in_any_order_with_gaps),
                TEST(without_node_or_sequence_every_time_counts),
                TEST(below_the_window_the_answer_is_lost),
                TEST(large_answers_are_given_up_earlier),
                TEST(settled_sequences_are_forgotten),
                TEST(old_word_about_what_is_settled_does_no_harm),
                TEST(processes_are_kept_apart),
                TEST(process_of_long_ago_is_refused),
                TEST(late_commands_of_the_dead_do_not_end_the_living),
                TEST(no_order_applies_twice),
                TEST(every_operation_is_counted_once),
                TEST(settled_beyond_the_sequence_is_no_command),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
