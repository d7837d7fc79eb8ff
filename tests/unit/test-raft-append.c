/* A follower's side of replication: the append rules, the hints of rejections, and the answers. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/raft-rig.h"

#define TERMS(...) ((const uint64_t[]){ __VA_ARGS__, 0 })

static struct raft_message append(uint64_t term, uint64_t index, uint64_t log_term, uint64_t commit)
{
        return (struct raft_message){ .from = 2,
                                      .term = term,
                                      .log_index = index,
                                      .log_term = log_term,
                                      .commit = commit,
                                      .round = 1 };
}

static void assert_log(const struct rig *rig, const uint64_t *terms)
{
        uint64_t last = raft_index_last(rig->raft);
        uint64_t i = 0;

        for (; terms[i]; i++) {
                assert_non_null(raft_entry_at(rig->raft, i + 1));
                assert_int_equal(raft_entry_at(rig->raft, i + 1)->term, terms[i]);
        }
        assert_int_equal(last, i);
}

/* The answer to the leader, member 2, in the last step. */
static const struct raft_message *answer(const struct rig *rig)
{
        return rig_sent(rig, RAFT_APPEND_REPLY, 2);
}

static void assert_granted(const struct rig *rig, uint64_t match)
{
        assert_non_null(answer(rig));
        assert_true(answer(rig)->granted);
        assert_int_equal(answer(rig)->log_index, match);
}

static void assert_rejected(const struct rig *rig, uint64_t index, uint64_t hint, uint64_t term)
{
        assert_non_null(answer(rig));
        assert_false(answer(rig)->granted);
        assert_int_equal(answer(rig)->log_index, index);
        assert_int_equal(answer(rig)->hint_index, hint);
        assert_int_equal(answer(rig)->hint_term, term);
}

static void acknowledgement_waits_for_the_disk(void **state)
{
        struct rig rig;
        const struct raft_effect *e;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .vote = 2, .terms = { 1 } });
        rig_append(&rig, append(1, 1, 1, 0), TERMS(1, 1));
        assert_int_equal(rig_n_sent(&rig), 0);
        e = rig_effect(&rig, RAFT_PERSIST);
        assert_int_equal(e->persist.first, 2);
        assert_int_equal(e->persist.last, 3);
        assert_false(e->persist.has_hard_state);
        assert_int_equal(rig_effect(&rig, RAFT_APPENDED)->first, 2);
        assert_int_equal(rig_effect(&rig, RAFT_APPENDED)->last, 3);
        rig_persist(&rig);
        assert_granted(&rig, 3);
        rig_persist(&rig);
        assert_int_equal(rig_n_sent(&rig), 0);
        rig_done(&rig);
}

static void nothing_is_promised_in_a_term_that_is_not_on_disk(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1, 1 } });
        rig_append(&rig, append(2, 2, 1, 0), NULL);
        assert_granted(&rig, 0); /* the round is answered, for check-quorum and reads */
        assert_int_equal(answer(&rig)->round, 1);
        rig_append(&rig, append(2, 1, 1, 0), TERMS(1)); /* all present */
        assert_int_equal(rig_n_sent(&rig), 0);
        rig_persist(&rig);
        assert_granted(&rig, 2);
        rig_done(&rig);
}

static void completion_releases_only_what_it_made_durable(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1 });
        rig_append(&rig, append(1, 0, 0, 0), TERMS(1, 1));
        rig_append(&rig, append(1, 2, 1, 0), TERMS(1));
        rig_append(&rig, append(1, 3, 1, 0), TERMS(1, 1));
        rig_persist_up_to(&rig, 1);
        assert_granted(&rig, 2);
        rig_persist_up_to(&rig, 3);
        assert_granted(&rig, 5);
        rig_persist_up_to(&rig, 2); /* late and known */
        assert_int_equal(rig_n_sent(&rig), 0);
        rig_done(&rig);
}

static void many_writes_may_be_on_their_way_to_the_disk(void **state)
{
        struct rig rig;
        uint64_t done = 0;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1 });
        for (uint64_t i = 0; i < 200; i++) {
                rig_append(&rig, append(1, i, i ? 1 : 0, 0), TERMS(1));
                assert_int_equal(rig_n_sent(&rig), 0);
                if (i % 3 == 2) { /* the disk falls behind, and the queue moves on meanwhile */
                        rig_persist_up_to(&rig, ++done);
                        assert_granted(&rig, done);
                }
        }
        while (done < 200) {
                done = done + 7 < 200 ? done + 7 : 200;
                rig_persist_up_to(&rig, done);
                assert_granted(&rig, done);
        }
        rig_done(&rig);
}

static void heartbeat_is_answered_at_once_but_claims_only_the_disk(void **state)
{
        struct rig rig;
        struct raft_message m = append(1, 3, 1, 0);

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1 } });
        rig_append(&rig, append(1, 1, 1, 0), TERMS(1, 1));
        m.round = 7;
        rig_append(&rig, m, NULL);
        assert_granted(&rig, 1);
        assert_int_equal(answer(&rig)->round, 7);
        rig_persist(&rig);
        assert_granted(&rig, 3);
        assert_int_equal(answer(&rig)->round, 7); /* the newest that came */
        rig_done(&rig);
}

static void acknowledgement_does_not_cover_an_old_tail(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 3, .terms = { 1, 1, 2, 2 } });
        rig_append(&rig, append(3, 1, 1, 4), NULL);
        assert_granted(&rig, 1);
        assert_int_equal(raft_index_committed(rig.raft), 1); /* nor does the commit */
        rig_append(&rig, append(3, 1, 1, 4), TERMS(1));
        assert_granted(&rig, 2);
        assert_int_equal(raft_index_committed(rig.raft), 2);
        assert_log(&rig, TERMS(1, 1, 2, 2));
        rig_done(&rig);
}

static void commit_follows_the_leader_up_to_the_end_of_the_message(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1, 1, 1 } });
        rig_append(&rig, append(1, 3, 1, 2), NULL);
        assert_int_equal(rig_effect(&rig, RAFT_COMMITTED)->index, 2);
        rig_append(&rig, append(1, 3, 1, 1), NULL); /* late */
        assert_null(rig_effect(&rig, RAFT_COMMITTED));
        assert_int_equal(raft_index_committed(rig.raft), 2);
        rig_append(&rig, append(1, 3, 1, 9), TERMS(1));
        assert_int_equal(rig_effect(&rig, RAFT_COMMITTED)->index, 4);
        rig_done(&rig);
}

static void quiet_append_tells_the_commit_and_is_not_answered(void **state)
{
        struct rig rig;
        struct raft_message m = append(1, 2, 1, 2);

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .vote = 2, .terms = { 1 } });
        rig_append(&rig, append(1, 1, 1, 0), TERMS(1));
        m.quiet = true;
        rig_append(&rig, m, NULL);
        assert_int_equal(rig_effect(&rig, RAFT_COMMITTED)->index, 2);
        assert_int_equal(rig_n_sent(&rig), 0);
        assert_true(raft_deadline(rig.raft).usec >= rig.now + RIG_ELECTION); /* it is a contact */
        rig_persist(&rig);
        assert_granted(&rig, 2); /* what is owed for the entries stays so */
        m.log_index = 5;
        rig_append(&rig, m, NULL);
        assert_rejected(&rig, 5, 2, 1); /* a gap is told all the same */
        rig_done(&rig);
}

static void conflict_truncates_and_only_from_there(void **state)
{
        struct rig rig;
        const struct raft_effect *e;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 4, .terms = { 1, 1, 2, 3 } });
        rig_append(&rig, append(4, 1, 1, 0), TERMS(1, 4));
        assert_log(&rig, TERMS(1, 1, 4));
        e = rig_effect(&rig, RAFT_PERSIST);
        assert_int_equal(e->persist.truncate_from, 3);
        assert_int_equal(e->persist.first, 3);
        assert_int_equal(e->persist.last, 3);
        e = rig_noted(&rig, RAFT_NOTE_TRUNCATED);
        assert_int_equal(e->first, 3);
        assert_int_equal(e->last, 4);
        assert_int_equal(rig_effect(&rig, RAFT_APPENDED)->first, 3);
        assert_int_equal(rig_n_sent(&rig), 0);
        rig_persist(&rig);
        assert_granted(&rig, 3);
        rig_done(&rig);
}

static void delayed_or_duplicated_append_does_not_truncate(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1 } });
        rig_append(&rig, append(1, 1, 1, 0), TERMS(1, 1, 1));
        rig_persist(&rig);
        rig_append(&rig, append(1, 1, 1, 0), TERMS(1)); /* an earlier, shorter one */
        assert_null(rig_effect(&rig, RAFT_PERSIST));
        assert_null(rig_effect(&rig, RAFT_APPENDED));
        assert_log(&rig, TERMS(1, 1, 1, 1));
        assert_granted(&rig, 4); /* what was granted before stays true */
        rig_append(&rig, append(1, 0, 0, 0), TERMS(1));
        assert_log(&rig, TERMS(1, 1, 1, 1));
        rig_done(&rig);
}

static void overlapping_append_adds_what_is_new(void **state)
{
        struct rig rig;
        const struct raft_effect *e;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1, 1 } });
        rig_append(&rig, append(1, 0, 0, 0), TERMS(1, 1, 1));
        e = rig_effect(&rig, RAFT_PERSIST);
        assert_int_equal(e->persist.truncate_from, 0);
        assert_int_equal(e->persist.first, 3);
        assert_int_equal(e->persist.last, 3);
        rig_done(&rig);
}

static void append_behind_the_end_is_rejected_with_the_end_as_hint(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 2, .terms = { 1, 1, 2 } });
        rig_append(&rig, append(2, 7, 2, 9), TERMS(2));
        assert_rejected(&rig, 7, 3, 2);
        assert_int_equal(answer(&rig)->round, 1);
        assert_log(&rig, TERMS(1, 1, 2));
        assert_int_equal(raft_index_committed(rig.raft), 0);
        rig_done(&rig);
}

static void rejection_hints_at_the_last_entry_of_a_term_that_may_match(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig,
                  &(struct rig_setup){ .n_voters = 3, .term = 9, .terms = { 1, 2, 4, 4, 6, 6 } });
        rig_append(&rig, append(9, 5, 5, 0), TERMS(9));
        assert_rejected(&rig, 5, 4, 4);
        rig_append(&rig, append(9, 6, 3, 0), NULL);
        assert_rejected(&rig, 6, 2, 2);
        rig_append(&rig, append(9, 3, 5, 0), NULL); /* ours is of an earlier term: not beyond it */
        assert_rejected(&rig, 3, 3, 4);
        rig_done(&rig);
}

static void rejection_of_an_empty_log_hints_at_its_beginning(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_append(&rig, append(2, 7, 2, 9), NULL);
        assert_rejected(&rig, 7, 0, 0);
        rig_done(&rig);
}

static void append_of_a_lower_term_is_answered_with_ours_and_does_nothing(void **state)
{
        struct rig rig;
        struct instant deadline;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 5, .terms = { 1 } });
        deadline = raft_deadline(rig.raft);
        rig_wait(&rig, 1000);
        rig_append(&rig, append(4, 1, 1, 1), TERMS(4));
        assert_non_null(answer(&rig));
        assert_false(answer(&rig)->granted);
        assert_int_equal(answer(&rig)->term, 5);
        assert_log(&rig, TERMS(1));
        assert_int_equal(raft_leader(rig.raft), NODE_NOBODY);
        assert_int_equal(raft_index_committed(rig.raft), 0);
        assert_true(raft_deadline(rig.raft).usec == deadline.usec);
        rig_done(&rig);
}

static void append_of_a_higher_term_is_followed(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .vote = 1 });
        rig_append(&rig, append(6, 0, 0, 0), TERMS(6));
        assert_int_equal(rig.effects.list[0].type, RAFT_ROLE_CHANGED);
        assert_int_equal(raft_term(rig.raft), 6);
        assert_int_equal(raft_leader(rig.raft), 2);
        assert_int_equal(rig_effect(&rig, RAFT_PERSIST)->persist.term, 6);
        assert_int_equal(rig_effect(&rig, RAFT_PERSIST)->persist.vote, 2);
        assert_true(raft_deadline(rig.raft).usec >= rig.now + RIG_ELECTION);
        rig_done(&rig);
}

static void leader_is_forgotten_with_its_term(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1 });
        rig_append(&rig, append(1, 0, 0, 0), NULL);
        rig_receive(&rig, (struct raft_message){ .type = RAFT_APPEND_REPLY, .from = 3, .term = 2 });
        assert_int_equal(raft_leader(rig.raft), NODE_NOBODY);
        assert_non_null(rig_effect(&rig, RAFT_ROLE_CHANGED));
        rig_done(&rig);
}

static void held_answer_dies_with_its_term(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1 });
        rig_append(&rig, append(1, 0, 0, 0), TERMS(1));
        rig_receive(&rig, (struct raft_message){ .type = RAFT_APPEND_REPLY, .from = 3, .term = 2 });
        rig_persist(&rig);
        assert_int_equal(rig_n_sent(&rig), 0);
        rig_done(&rig);
}

static void completion_says_nothing_of_entries_that_replaced_its_own(void **state)
{
        struct rig rig;
        uint64_t first;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 5, .term = 1, .terms = { 1 } });
        rig_append(&rig, append(1, 1, 1, 0), TERMS(1, 1));
        first = rig.generation;
        rig_append(&rig, append(2, 1, 1, 0), TERMS(2)); /* replaces both */
        rig_append(&rig, append(3, 1, 1, 0), TERMS(1, 1)); /* and these are the first again */
        assert_log(&rig, TERMS(1, 1, 1));
        rig_persist_up_to(&rig, first);
        assert_int_equal(rig_n_sent(&rig), 0); /* the term is not on disk */
        rig_append(&rig, append(3, 3, 1, 0), NULL);
        assert_granted(&rig, 0);
        rig_persist_up_to(&rig, first + 1);
        assert_int_equal(rig_n_sent(&rig), 0);
        rig_persist(&rig);
        assert_granted(&rig, 3);
        rig_done(&rig);
}

static void replaced_entries_are_not_durable_by_an_old_completion_of_the_same_term(void **state)
{
        struct rig rig;
        uint64_t first;

        (void)state;
        /* The term is on disk already, so that only the entries decide. */
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 5, .terms = { 1, 2, 2, 2 } });
        rig_append(&rig, append(5, 4, 2, 0), TERMS(3, 3));
        first = rig.generation;
        rig_append(&rig, append(6, 2, 2, 0), TERMS(6));
        rig_persist_up_to(&rig, first);
        assert_int_equal(rig_n_sent(&rig), 0);
        rig_append(&rig, append(6, 3, 6, 0), NULL);
        assert_granted(&rig, 0);
        rig_persist(&rig);
        assert_granted(&rig, 3);
        rig_done(&rig);
}

static void what_a_snapshot_covers_is_skipped(void **state)
{
        struct rig rig;
        const struct rig_setup setup = { .n_voters = 3,
                                         .term = 3,
                                         .terms = { 2, 3 },
                                         .snapshot_index = 10,
                                         .snapshot_term = 2 };

        (void)state;
        rig_start(&rig, &setup);
        assert_int_equal(raft_index_committed(rig.raft), 10);
        rig_append(&rig, append(3, 8, 1, 0), TERMS(2)); /* 9: covered as a whole */
        assert_granted(&rig, 9);
        rig_append(&rig, append(3, 8, 1, 0), TERMS(2, 2, 2, 3, 3)); /* 9 to 13 */
        assert_int_equal(raft_index_last(rig.raft), 13);
        assert_int_equal(rig_effect(&rig, RAFT_PERSIST)->persist.first, 13);
        rig_append(&rig, append(3, 10, 2, 0), NULL);
        assert_true(answer(&rig)->granted);
        rig_append(&rig, append(3, 20, 3, 0), NULL);
        assert_rejected(&rig, 20, 13, 3);
        rig_done(&rig);
}

/* Runs @f in a child; true if it ended by abort(). */
static bool aborts(void (*f)(void))
{
        pid_t pid;
        int status = 0;

        fflush(stdout);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                (void)signal(SIGABRT, SIG_DFL); /* cmocka catches it */
                (void)fclose(stderr); /* the message is expected */
                f();
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void replace_a_committed_entry(void)
{
        struct rig rig;

        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1, 1 } });
        rig_append(&rig, append(1, 2, 1, 2), NULL);
        rig_append(&rig, append(3, 1, 1, 2), TERMS(2));
}

static void build_on_another_committed_entry(void)
{
        struct rig rig;

        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1, 1 } });
        rig_append(&rig, append(1, 2, 1, 2), NULL);
        rig_append(&rig, append(3, 2, 2, 2), NULL);
}

static void replace_what_a_snapshot_covers(void)
{
        struct rig rig;

        rig_start(&rig,
                  &(struct rig_setup){
                          .n_voters = 3, .term = 4, .snapshot_index = 10, .snapshot_term = 3 });
        rig_append(&rig, append(4, 9, 1, 0), TERMS(2, 4)); /* 10 was of term 3 */
}

static void follow_two_leaders_of_one_term(void)
{
        struct rig rig;
        struct raft_message m = append(1, 0, 0, 0);

        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1 });
        rig_append(&rig, m, NULL);
        m.from = 3;
        rig_append(&rig, m, NULL);
}

static void forked_history_ends_the_process(void **state)
{
        (void)state;
        assert_true(aborts(replace_a_committed_entry));
        assert_true(aborts(build_on_another_committed_entry));
        assert_true(aborts(replace_what_a_snapshot_covers));
        assert_true(aborts(follow_two_leaders_of_one_term));
}

static void restart_takes_nothing_but_the_snapshot_for_committed(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 2, .terms = { 1, 2 } });
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        assert_int_equal(raft_index_committed(rig.raft), 0);
        assert_int_equal(raft_index_last(rig.raft), 2);
        assert_int_equal(raft_leader(rig.raft), NODE_NOBODY);
        rig_done(&rig);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(acknowledgement_waits_for_the_disk),
                cmocka_unit_test(nothing_is_promised_in_a_term_that_is_not_on_disk),
                cmocka_unit_test(completion_releases_only_what_it_made_durable),
                cmocka_unit_test(many_writes_may_be_on_their_way_to_the_disk),
                cmocka_unit_test(heartbeat_is_answered_at_once_but_claims_only_the_disk),
                cmocka_unit_test(acknowledgement_does_not_cover_an_old_tail),
                cmocka_unit_test(commit_follows_the_leader_up_to_the_end_of_the_message),
                cmocka_unit_test(quiet_append_tells_the_commit_and_is_not_answered),
                cmocka_unit_test(conflict_truncates_and_only_from_there),
                cmocka_unit_test(delayed_or_duplicated_append_does_not_truncate),
                cmocka_unit_test(overlapping_append_adds_what_is_new),
                cmocka_unit_test(append_behind_the_end_is_rejected_with_the_end_as_hint),
                cmocka_unit_test(rejection_hints_at_the_last_entry_of_a_term_that_may_match),
                cmocka_unit_test(rejection_of_an_empty_log_hints_at_its_beginning),
                cmocka_unit_test(append_of_a_lower_term_is_answered_with_ours_and_does_nothing),
                cmocka_unit_test(append_of_a_higher_term_is_followed),
                cmocka_unit_test(leader_is_forgotten_with_its_term),
                cmocka_unit_test(held_answer_dies_with_its_term),
                cmocka_unit_test(completion_says_nothing_of_entries_that_replaced_its_own),
                cmocka_unit_test(
                        replaced_entries_are_not_durable_by_an_old_completion_of_the_same_term),
                cmocka_unit_test(what_a_snapshot_covers_is_skipped),
                cmocka_unit_test(forked_history_ends_the_process),
                cmocka_unit_test(restart_takes_nothing_but_the_snapshot_for_committed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
