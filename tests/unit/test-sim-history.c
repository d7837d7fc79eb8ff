/*
 * The judge of histories is judged: it accepts what is linearizable, and names each way in which a
 * store may lie.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/history.h"

static int setup(void **state)
{
        *state = history_new();
        return 0;
}

static int teardown(void **state)
{
        history_free(*state);
        return 0;
}

static void ask_to_set(struct history *h, uint64_t number, unsigned key)
{
        history_begin(h, number, &(struct history_call){ .key = key, .floor = history_floor(h) });
}

static void ask_to_swap(struct history *h, uint64_t number, unsigned key, uint64_t previous)
{
        history_begin(h, number,
                      &(struct history_call){
                              .key = key, .previous_number = previous, .floor = history_floor(h) });
}

static void ask_to_delete(struct history *h, uint64_t number, unsigned key)
{
        history_begin(h, number,
                      &(struct history_call){
                              .key = key, .action = STORE_DELETE, .floor = history_floor(h) });
}

static void ask_to_read(struct history *h, uint64_t number, unsigned key)
{
        history_begin(
                h, number,
                &(struct history_call){ .is_read = true, .key = key, .floor = history_floor(h) });
}

/* A replica shows that the state before was as the history has it. */
static void show(struct history *h, uint64_t index, enum store_action action, unsigned key,
                 uint64_t number)
{
        struct history_found before = history_newest(h, key);

        history_changed(h, &(struct history_change){ .index = index,
                                                     .action = action,
                                                     .key = key,
                                                     .number = number,
                                                     .has_previous = before.exists,
                                                     .previous_number = before.number,
                                                     .previous_modified = before.modified,
                                                     .digest = index * 1000 + number });
}

static void set(struct history *h, uint64_t number, unsigned key, uint64_t index)
{
        ask_to_set(h, number, key);
        show(h, index, STORE_DID_SET, key, number);
        history_wrote(h, number, STORE_OK, index);
}

static void read_found(struct history *h, uint64_t number, uint64_t state, uint64_t written,
                       uint64_t modified)
{
        history_read(h, number,
                     &(struct history_found){ .index = state,
                                              .exists = written != 0,
                                              .number = written,
                                              .modified = modified });
}

static void assert_fine(struct history *h)
{
        history_end(h);
        assert_null(history_failure(h));
}

/* Found, and for the reason that is meant. */
static void assert_wrong(struct history *h, const char *reason)
{
        history_end(h);
        assert_non_null(history_failure(h));
        if (!strstr(history_failure(h), reason))
                fail_msg("\"%s\" does not say \"%s\"", history_failure(h), reason);
}

static void writes_and_reads_one_after_the_other_are_fine(void **state)
{
        set(*state, 1, 0, 1);
        ask_to_read(*state, 2, 0);
        read_found(*state, 2, 1, 1, 1);
        set(*state, 3, 1, 3);
        set(*state, 4, 0, 4);
        ask_to_read(*state, 5, 0);
        read_found(*state, 5, 6, 4, 4);
        assert_fine(*state);
}

static void a_read_may_show_a_write_under_way_or_not(void **state)
{
        set(*state, 1, 0, 1);
        ask_to_set(*state, 2, 0);
        ask_to_read(*state, 3, 0);
        ask_to_read(*state, 4, 0);
        show(*state, 2, STORE_DID_SET, 0, 2);
        read_found(*state, 3, 2, 2, 2);
        read_found(*state, 4, 1, 1, 1);
        assert_fine(*state);
}

static void a_stale_read_is_found(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 0, 2);
        ask_to_read(*state, 3, 0);
        read_found(*state, 3, 1, 1, 1);
        assert_wrong(*state, "stale");
}

static void a_stale_read_of_another_key_than_the_last_write_is_found(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 1, 2);
        ask_to_read(*state, 3, 0);
        read_found(*state, 3, 1, 1, 1);
        assert_wrong(*state, "stale");
}

static void a_read_older_than_another_read_is_found(void **state)
{
        set(*state, 1, 0, 1);
        ask_to_set(*state, 2, 0);
        show(*state, 2, STORE_DID_SET, 0, 2);
        ask_to_read(*state, 3, 0);
        read_found(*state, 3, 2, 2, 2);
        ask_to_read(*state, 4, 0);
        read_found(*state, 4, 1, 1, 1);
        assert_wrong(*state, "stale");
}

static void a_read_of_a_value_that_is_not_of_its_state_is_found(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 0, 2);
        ask_to_read(*state, 3, 0);
        read_found(*state, 3, 2, 1, 1);
        assert_wrong(*state, "a read of key 0 at state 2 shows call 1");
}

static void an_acknowledged_write_that_no_replica_shows_is_found(void **state)
{
        set(*state, 1, 0, 1);
        ask_to_set(*state, 2, 0);
        history_wrote(*state, 2, STORE_OK, 2);
        assert_wrong(*state, "which is another's");
}

/* A replica that lost a write shows the next one under its index. */
static void a_lost_write_is_found(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 0, 2);
        ask_to_set(*state, 3, 0);
        show(*state, 2, STORE_DID_SET, 0, 3);
        assert_wrong(*state, "different changes under index 2");
}

static void a_chain_with_a_missing_link_is_found(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 0, 2);
        ask_to_set(*state, 3, 0);
        history_changed(*state, &(struct history_change){ .index = 3,
                                                          .action = STORE_DID_SET,
                                                          .number = 3,
                                                          .has_previous = true,
                                                          .previous_number = 1,
                                                          .previous_modified = 1 });
        assert_wrong(*state, "replaces call 1");
}

static void a_write_that_is_carried_out_twice_is_found(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 0, 2);
        show(*state, 3, STORE_DID_SET, 0, 1);
        assert_wrong(*state, "carried out twice");
}

static void a_deletion_that_is_carried_out_twice_is_found(void **state)
{
        set(*state, 1, 0, 1);
        ask_to_delete(*state, 2, 0);
        show(*state, 2, STORE_DID_DELETE, 0, 0);
        history_wrote(*state, 2, STORE_OK, 2);
        set(*state, 3, 0, 3);
        show(*state, 4, STORE_DID_DELETE, 0, 0);
        assert_wrong(*state, "deleted 2 times");
}

static void one_change_cannot_answer_two_requests(void **state)
{
        set(*state, 1, 0, 1);
        ask_to_delete(*state, 2, 0);
        ask_to_delete(*state, 3, 0);
        show(*state, 2, STORE_DID_DELETE, 0, 0);
        history_wrote(*state, 2, STORE_OK, 2);
        history_wrote(*state, 3, STORE_OK, 2);
        assert_wrong(*state, "which is another's");
}

static void a_write_without_an_answer_may_come_late_or_never(void **state)
{
        ask_to_set(*state, 1, 0);
        ask_to_set(*state, 2, 0);
        set(*state, 3, 0, 1);
        ask_to_read(*state, 4, 0);
        read_found(*state, 4, 1, 3, 1);
        show(*state, 2, STORE_DID_SET, 0, 1);
        ask_to_read(*state, 5, 0);
        read_found(*state, 5, 2, 1, 2);
        assert_fine(*state);
}

static void a_write_whose_answer_is_lost_may_come_late_or_never(void **state)
{
        ask_to_set(*state, 1, 0);
        history_wrote(*state, 1, STORE_ANSWER_LOST, 7);
        set(*state, 2, 0, 1);
        show(*state, 2, STORE_DID_SET, 0, 1);
        assert_fine(*state);
}

static void a_refused_write_that_comes_after_all_is_found(void **state)
{
        ask_to_set(*state, 1, 0);
        history_refused(*state, 1);
        show(*state, 1, STORE_DID_SET, 0, 1);
        assert_wrong(*state, "refused, and then carried out");
}

static void a_write_before_it_was_asked_for_is_found(void **state)
{
        ask_to_read(*state, 1, 0);
        read_found(*state, 1, 5, 0, 0);
        ask_to_set(*state, 2, 0);
        show(*state, 4, STORE_DID_SET, 0, 2);
        assert_wrong(*state, "there before it was made");
}

static void a_swap_that_met_another_value_is_found(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 0, 2);
        ask_to_swap(*state, 3, 0, 1);
        show(*state, 3, STORE_DID_COMPARE_AND_SWAP, 0, 3);
        assert_wrong(*state, "compares with call 1");
}

static void a_swap_that_fails_for_a_reason_is_fine(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 0, 2);
        ask_to_swap(*state, 3, 0, 1);
        history_wrote(*state, 3, STORE_TEST_FAILED, 2);
        assert_fine(*state);
}

static void a_swap_that_fails_without_a_reason_is_found(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 0, 2);
        ask_to_swap(*state, 3, 0, 2);
        history_wrote(*state, 3, STORE_TEST_FAILED, 2);
        assert_wrong(*state, "failed by error 101");
}

/* The answer to a request that was carried out twice: the second time it fails. */
static void a_failed_swap_that_was_carried_out_is_found(void **state)
{
        set(*state, 1, 0, 1);
        ask_to_swap(*state, 2, 0, 1);
        show(*state, 2, STORE_DID_COMPARE_AND_SWAP, 0, 2);
        history_wrote(*state, 2, STORE_TEST_FAILED, 2);
        assert_wrong(*state, "was carried out as change 2, and failed");
}

static void an_expiry_without_a_time_to_live_is_found(void **state)
{
        set(*state, 1, 0, 1);
        show(*state, 2, STORE_DID_EXPIRE, 0, 0);
        assert_wrong(*state, "expire of key 0");
}

static void replicas_that_show_the_same_are_fine(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 0, 2);
        show(*state, 1, STORE_DID_SET, 0, 1);
        show(*state, 2, STORE_DID_SET, 0, 2);
        assert_fine(*state);
}

static void a_change_between_two_that_others_know_is_found(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 0, 3);
        ask_to_set(*state, 3, 1);
        show(*state, 2, STORE_DID_SET, 1, 3);
        assert_wrong(*state, "is new to those who are at 3");
}

static void a_plain_read_may_be_old(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 0, 2);
        history_read_locally(
                *state, 0, 1,
                &(struct history_found){ .index = 1, .exists = true, .number = 1, .modified = 1 });
        assert_fine(*state);
}

static void a_plain_read_of_a_state_that_never_was_is_found(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 0, 2);
        history_read_locally(
                *state, 0, 0,
                &(struct history_found){ .index = 1, .exists = true, .number = 2, .modified = 2 });
        assert_wrong(*state, "a plain read of key 0");
}

static void a_replica_that_goes_back_is_found(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 0, 2);
        history_read_locally(
                *state, 0, 2,
                &(struct history_found){ .index = 1, .exists = true, .number = 1, .modified = 1 });
        assert_wrong(*state, "goes back");
}

static void a_watcher_that_is_told_of_each_change_is_fine(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 1, 2);
        set(*state, 3, 0, 4);
        history_watched(*state, 0, 1, 1, 1);
        history_watched(*state, 0, 2, 4, 3);
        history_watched(*state, HISTORY_ALL, 2, 2, 2);
        assert_fine(*state);
}

static void a_gap_in_a_watch_is_found(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 0, 2);
        history_watched(*state, 0, 1, 2, 2);
        assert_wrong(*state, "the next one is 1");
}

static void a_repetition_in_a_watch_is_found(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 0, 2);
        history_watched(*state, 0, 2, 1, 1);
        assert_wrong(*state, "the next one is 2");
}

static void a_watch_that_shows_another_value_is_found(void **state)
{
        set(*state, 1, 0, 1);
        set(*state, 2, 0, 2);
        history_watched(*state, 0, 2, 2, 1);
        assert_wrong(*state, "is told of call 1");
}

#define JUDGED(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                JUDGED(writes_and_reads_one_after_the_other_are_fine),
                JUDGED(a_read_may_show_a_write_under_way_or_not),
                JUDGED(a_stale_read_is_found),
                JUDGED(a_stale_read_of_another_key_than_the_last_write_is_found),
                JUDGED(a_read_older_than_another_read_is_found),
                JUDGED(a_read_of_a_value_that_is_not_of_its_state_is_found),
                JUDGED(an_acknowledged_write_that_no_replica_shows_is_found),
                JUDGED(a_lost_write_is_found),
                JUDGED(a_chain_with_a_missing_link_is_found),
                JUDGED(a_write_that_is_carried_out_twice_is_found),
                JUDGED(a_deletion_that_is_carried_out_twice_is_found),
                JUDGED(one_change_cannot_answer_two_requests),
                JUDGED(a_write_without_an_answer_may_come_late_or_never),
                JUDGED(a_write_whose_answer_is_lost_may_come_late_or_never),
                JUDGED(a_refused_write_that_comes_after_all_is_found),
                JUDGED(a_write_before_it_was_asked_for_is_found),
                JUDGED(a_swap_that_met_another_value_is_found),
                JUDGED(a_swap_that_fails_for_a_reason_is_fine),
                JUDGED(a_swap_that_fails_without_a_reason_is_found),
                JUDGED(a_failed_swap_that_was_carried_out_is_found),
                JUDGED(an_expiry_without_a_time_to_live_is_found),
                JUDGED(replicas_that_show_the_same_are_fine),
                JUDGED(a_change_between_two_that_others_know_is_found),
                JUDGED(a_plain_read_may_be_old),
                JUDGED(a_plain_read_of_a_state_that_never_was_is_found),
                JUDGED(a_replica_that_goes_back_is_found),
                JUDGED(a_watcher_that_is_told_of_each_change_is_fine),
                JUDGED(a_gap_in_a_watch_is_found),
                JUDGED(a_repetition_in_a_watch_is_found),
                JUDGED(a_watch_that_shows_another_value_is_found),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
