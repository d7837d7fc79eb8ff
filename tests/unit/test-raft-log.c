/* The entries of one member in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "election/base/random.h"
#include "election/raft/log.h"

static void fill(struct raft_log *log, const uint64_t *terms, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                uint8_t bytes[3] = { (uint8_t)i, 7, 9 };

                raft_log_append(log, &(struct raft_entry){ .index = raft_log_last(log) + 1,
                                                           .term = terms[i],
                                                           .type = RAFT_ENTRY_COMMAND,
                                                           .bytes = bytes,
                                                           .n = i % 4 });
        }
}

static void entries_are_copied_and_found_by_index(void **state)
{
        static const uint64_t terms[] = { 1, 1, 2, 5 };
        struct raft_log log;

        (void)state;
        raft_log_init(&log, 0, 0);
        assert_null(raft_log_entry(&log, 0));
        assert_null(raft_log_entry(&log, 1));
        fill(&log, terms, 4);
        assert_int_equal(raft_log_last(&log), 4);
        assert_int_equal(raft_log_last_term(&log), 5);
        for (uint64_t i = 1; i <= 4; i++) {
                assert_int_equal(raft_log_entry(&log, i)->index, i);
                assert_int_equal(raft_log_entry(&log, i)->term, terms[i - 1]);
                assert_int_equal(raft_log_entry(&log, i)->n, i - 1);
        }
        assert_int_equal(raft_log_entry(&log, 4)->bytes[0], 3);
        assert_null(raft_log_entry(&log, 5));
        raft_log_done(&log);
}

static void unknown_term_is_not_a_term(void **state)
{
        static const uint64_t terms[] = { 4, 5 };
        struct raft_log log;
        uint64_t term = 99;

        (void)state;
        raft_log_init(&log, 10, 3);
        fill(&log, terms, 2);
        assert_false(raft_log_term_at(&log, 9, &term));
        assert_false(raft_log_term_at(&log, 13, &term));
        assert_int_equal(term, 99);
        assert_true(raft_log_term_at(&log, 10, &term));
        assert_int_equal(term, 3);
        assert_true(raft_log_term_at(&log, 12, &term));
        assert_int_equal(term, 5);
        assert_null(raft_log_entry(&log, 10));
        raft_log_done(&log);
        raft_log_init(&log, 0, 0);
        assert_true(raft_log_term_at(&log, 0, &term));
        assert_int_equal(term, 0);
        assert_false(raft_log_term_at(&log, 1, &term));
        raft_log_done(&log);
}

static void truncation_drops_the_entry_and_all_behind_it(void **state)
{
        static const uint64_t terms[] = { 1, 1, 2, 5 };
        struct raft_log log;

        (void)state;
        raft_log_init(&log, 10, 1);
        fill(&log, terms, 4);
        raft_log_truncate(&log, 13);
        assert_int_equal(raft_log_last(&log), 12);
        assert_null(raft_log_entry(&log, 13));
        fill(&log, terms + 3, 1);
        assert_int_equal(raft_log_entry(&log, 13)->term, 5);
        raft_log_truncate(&log, 11);
        assert_int_equal(raft_log_last(&log), 10);
        assert_int_equal(raft_log_last_term(&log), 1);
        raft_log_done(&log);
}

static void bytes_are_counted_the_same_on_the_way_in_and_out(void **state)
{
        static const uint64_t terms[] = { 1, 1, 1, 1, 1 };
        struct raft_log log;

        (void)state;
        raft_log_init(&log, 3, 1);
        assert_int_equal(raft_log_bytes_behind(&log, 3), 0);
        for (unsigned i = 0; i < 3; i++) {
                fill(&log, terms, 4);
                assert_int_equal(raft_log_bytes_behind(&log, 3), 6 + 4 * RAFT_LOG_ENTRY_COST);
                assert_int_equal(raft_log_bytes_behind(&log, 5), 5 + 2 * RAFT_LOG_ENTRY_COST);
                assert_int_equal(raft_log_bytes_behind(&log, 7), 0);
                raft_log_truncate(&log, 4);
                assert_int_equal(raft_log_bytes_behind(&log, 3), 0);
        }
        raft_log_done(&log);
}

static void find_agrees_with_a_search_by_hand(void **state)
{
        static const uint64_t terms[] = { 2, 2, 3, 5, 5, 5, 8 };
        struct raft_log log;

        (void)state;
        raft_log_init(&log, 10, 2);
        fill(&log, terms, 7);
        for (uint64_t index = 8; index < 20; index++) {
                for (uint64_t term = 0; term < 10; term++) {
                        uint64_t want = index < 17 ? index : 17;

                        while (want > 10 && raft_log_entry(&log, want)->term > term)
                                want--;
                        if (want < 10)
                                want = 10;
                        assert_int_equal(raft_log_find(&log, index, term), want);
                }
        }
        raft_log_done(&log);
}

/* The bytes of the entry that was appended as the @nth one. */
static size_t draw(uint64_t nth, uint8_t *bytes)
{
        size_t n = nth % 7 == 0    ? 0
                   : nth % 97 == 0 ? RAFT_LOG_BLOCK_SIZE + nth % 3
                   : nth % 11 == 0 ? RAFT_LOG_BLOCK_SIZE / 3
                                   : nth % 300;

        memset(bytes, (int)(nth % 251), n);
        return n;
}

/* The log against a list of what was appended when: at[i] is the entry at index i. */
static void log_keeps_what_was_not_dropped(void **state)
{
        static uint64_t at[20000];
        static uint8_t bytes[RAFT_LOG_BLOCK_SIZE + 3], expected[RAFT_LOG_BLOCK_SIZE + 3];
        struct random random = { .state = 3 };
        struct raft_log log;
        uint64_t nth = 0;

        (void)state;
        raft_log_init(&log, 0, 0);
        for (unsigned step = 0; step < 3000; step++) {
                uint64_t what = random_below(&random, 100), last = raft_log_last(&log);
                uint64_t sum = 0;

                if (what < 70) {
                        struct raft_entry e = { .index = last + 1,
                                                .term = 1,
                                                .type = RAFT_ENTRY_COMMAND,
                                                .bytes = bytes };

                        e.n = draw(++nth, bytes);
                        at[e.index] = nth;
                        raft_log_append(&log, &e);
                } else if (what < 90 && log.n > 0) {
                        raft_log_truncate(&log,
                                          last - random_below(&random, log.n < 30 ? log.n : 30));
                } else if (what < 99) {
                        raft_log_compact(&log,
                                         log.base_index + random_below(&random, log.n + 1) / 2);
                } else {
                        raft_log_reset(&log, last + random_below(&random, 3), 1);
                }
                for (uint64_t i = raft_log_last(&log); i > log.base_index; i--) {
                        const struct raft_entry *e = raft_log_entry(&log, i);

                        assert_int_equal(raft_log_bytes_behind(&log, i), sum);
                        assert_int_equal(e->index, i);
                        assert_int_equal(e->n, draw(at[i], expected));
                        if (e->n > 0)
                                assert_memory_equal(e->bytes, expected, e->n);
                        sum += e->n + RAFT_LOG_ENTRY_COST;
                }
                assert_null(raft_log_entry(&log, log.base_index));
        }
        assert_true(nth > 1000);
        raft_log_done(&log);
}

static void compaction_gives_the_room_back(void **state)
{
        static uint8_t bytes[1000];
        struct raft_log log;
        uint64_t term;

        (void)state;
        raft_log_init(&log, 0, 0);
        for (uint64_t i = 1; i <= 10000; i++)
                raft_log_append(&log, &(struct raft_entry){ .index = i,
                                                            .term = i / 100 + 1,
                                                            .type = RAFT_ENTRY_COMMAND,
                                                            .bytes = bytes,
                                                            .n = sizeof(bytes) });
        assert_true(log.n_blocks > 30);
        raft_log_compact(&log, 9990);
        assert_true(log.n_blocks <= 2);
        assert_true(log.n_max < RAFT_LOG_SHRINK);
        assert_true(raft_log_term_at(&log, 9990, &term));
        assert_int_equal(term, 100);
        assert_false(raft_log_term_at(&log, 9989, &term));
        assert_int_equal(raft_log_last(&log), 10000);
        raft_log_compact(&log, 10000);
        assert_int_equal(raft_log_last(&log), 10000);
        assert_int_equal(raft_log_last_term(&log), 101);
        assert_int_equal(raft_log_find(&log, 20000, 1), 10000);
        raft_log_done(&log);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(entries_are_copied_and_found_by_index),
                cmocka_unit_test(unknown_term_is_not_a_term),
                cmocka_unit_test(truncation_drops_the_entry_and_all_behind_it),
                cmocka_unit_test(bytes_are_counted_the_same_on_the_way_in_and_out),
                cmocka_unit_test(find_agrees_with_a_search_by_hand),
                cmocka_unit_test(log_keeps_what_was_not_dropped),
                cmocka_unit_test(compaction_gives_the_room_back),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
