/* The entries of one member in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

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

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(entries_are_copied_and_found_by_index),
                cmocka_unit_test(unknown_term_is_not_a_term),
                cmocka_unit_test(truncation_drops_the_entry_and_all_behind_it),
                cmocka_unit_test(bytes_are_counted_the_same_on_the_way_in_and_out),
                cmocka_unit_test(find_agrees_with_a_search_by_hand),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
