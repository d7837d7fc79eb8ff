/* Reads of now: confirmed by rounds that were sent after them, and by nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/raft-rig.h"

static void read_now(struct rig *rig, uint64_t context)
{
        rig_feed(rig, (struct raft_event){ .type = RAFT_EVENT_READ, .context = context });
}

static void answer(struct rig *rig, node_id from, uint64_t round)
{
        rig_receive(rig, (struct raft_message){ .type = RAFT_APPEND_REPLY,
                                                .from = from,
                                                .term = raft_term(rig->raft),
                                                .log_index = 1,
                                                .round = round,
                                                .granted = true });
}

static unsigned n_ready(const struct rig *rig)
{
        unsigned n = 0;

        for (size_t i = 0; i < rig->effects.n; i++)
                n += rig->effects.list[i].type == RAFT_READ_READY;
        return n;
}

static void read_is_ready_when_a_quorum_answered_its_round(void **state)
{
        struct rig rig;
        uint64_t before;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 5 });
        rig_lead(&rig);
        before = rig.round;
        read_now(&rig, 42);
        assert_int_equal(rig_n_sent(&rig), 4);
        assert_int_equal(rig.round, before + 1);
        answer(&rig, 2, rig.round);
        answer(&rig, 2, rig.round);
        assert_int_equal(n_ready(&rig), 0);
        answer(&rig, 3, rig.round);
        assert_int_equal(n_ready(&rig), 1);
        assert_int_equal(rig_effect(&rig, RAFT_READ_READY)->context, 42);
        assert_int_equal(rig_effect(&rig, RAFT_READ_READY)->index, 1);
        answer(&rig, 4, rig.round);
        assert_int_equal(n_ready(&rig), 0);
        rig_done(&rig);
}

static void answers_to_earlier_rounds_confirm_nothing(void **state)
{
        struct rig rig;
        uint64_t before;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        rig_timeout(&rig);
        before = rig.round;
        read_now(&rig, 1);
        answer(&rig, 2, before);
        answer(&rig, 3, before);
        assert_int_equal(n_ready(&rig), 0);
        answer(&rig, 3, before + 1);
        assert_int_equal(n_ready(&rig), 1);
        rig_done(&rig);
}

static void repeated_context_is_another_read(void **state)
{
        struct rig rig;
        uint64_t first;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        read_now(&rig, 5);
        first = rig.round;
        read_now(&rig, 5); /* the client tries again */
        answer(&rig, 2, first);
        assert_int_equal(n_ready(&rig), 1);
        answer(&rig, 3, first);
        assert_int_equal(n_ready(&rig), 0);
        answer(&rig, 3, first + 1);
        assert_int_equal(n_ready(&rig), 1);
        rig_done(&rig);
}

static void reads_during_a_round_share_the_next_one(void **state)
{
        struct rig rig;
        uint64_t first;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        read_now(&rig, 1);
        first = rig.round;
        for (uint64_t context = 2; context < 10; context++) {
                read_now(&rig, context);
                assert_int_equal(rig_n_sent(&rig), 0);
        }
        answer(&rig, 2, first);
        assert_int_equal(n_ready(&rig), 1);
        assert_int_equal(rig_n_sent(&rig), 2); /* the next round leaves with the answer */
        assert_int_equal(rig.round, first + 1);
        answer(&rig, 3, first + 1);
        assert_int_equal(n_ready(&rig), 8);
        rig_done(&rig);
}

static void lost_round_is_made_up_for_by_a_heartbeat(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        read_now(&rig, 1);
        read_now(&rig, 2);
        rig_timeout(&rig);
        answer(&rig, 2, rig.round);
        assert_int_equal(n_ready(&rig), 2);
        rig_done(&rig);
}

static void read_notes_what_was_committed_when_it_came(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        rig_propose(&rig, 1);
        rig_persist(&rig);
        rig_acknowledge(&rig, 2, 2);
        read_now(&rig, 1);
        rig_propose(&rig, 1);
        rig_persist(&rig);
        rig_acknowledge(&rig, 3, 3);
        assert_int_equal(raft_index_committed(rig.raft), 3);
        assert_int_equal(rig_effect(&rig, RAFT_READ_READY)->index, 2);
        rig_done(&rig);
}

static void rejection_confirms_as_well_as_a_grant(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        rig_propose(&rig, 1);
        read_now(&rig, 1);
        rig_receive(&rig, (struct raft_message){ .type = RAFT_APPEND_REPLY,
                                                 .from = 2,
                                                 .term = raft_term(rig.raft),
                                                 .log_index = 2,
                                                 .round = rig.round,
                                                 .hint_index = 1,
                                                 .hint_term = 1 });
        assert_int_equal(n_ready(&rig), 1);
        rig_done(&rig);
}

static void read_before_the_first_commit_of_the_term_is_refused(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1 } });
        rig_elect(&rig);
        rig_acknowledge(&rig, 2, 1);
        read_now(&rig, 3);
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->refusal, RAFT_NOT_READY);
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->context, 3);
        rig_persist(&rig);
        rig_acknowledge(&rig, 2, 2);
        read_now(&rig, 3);
        assert_null(rig_effect(&rig, RAFT_REFUSED));
        rig_done(&rig);
}

static void waiting_reads_are_refused_when_the_leader_steps_down(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        read_now(&rig, 1);
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->refusal, RAFT_NOT_LEADER);
        rig_lead(&rig);
        read_now(&rig, 7);
        read_now(&rig, 8);
        rig_receive(&rig, (struct raft_message){ .type = RAFT_APPEND_REPLY, .from = 3, .term = 9 });
        assert_int_equal(rig.effects.list[1].type, RAFT_REFUSED);
        assert_int_equal(rig.effects.list[1].refused, RAFT_EVENT_READ);
        assert_int_equal(rig.effects.list[1].context, 7);
        assert_int_equal(rig.effects.list[2].context, 8);
        rig_done(&rig);
}

static void too_many_reads_are_refused(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        for (unsigned i = 0; i < RAFT_READS_MAX; i++) {
                read_now(&rig, i);
                assert_null(rig_effect(&rig, RAFT_REFUSED));
        }
        read_now(&rig, 0);
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->refusal, RAFT_LOG_FULL);
        rig_done(&rig);
}

static void member_without_others_reads_at_once(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 1 });
        rig_lead(&rig);
        read_now(&rig, 1);
        assert_int_equal(n_ready(&rig), 1);
        rig_done(&rig);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(read_is_ready_when_a_quorum_answered_its_round),
                cmocka_unit_test(answers_to_earlier_rounds_confirm_nothing),
                cmocka_unit_test(repeated_context_is_another_read),
                cmocka_unit_test(reads_during_a_round_share_the_next_one),
                cmocka_unit_test(lost_round_is_made_up_for_by_a_heartbeat),
                cmocka_unit_test(read_notes_what_was_committed_when_it_came),
                cmocka_unit_test(rejection_confirms_as_well_as_a_grant),
                cmocka_unit_test(read_before_the_first_commit_of_the_term_is_refused),
                cmocka_unit_test(waiting_reads_are_refused_when_the_leader_steps_down),
                cmocka_unit_test(too_many_reads_are_refused),
                cmocka_unit_test(member_without_others_reads_at_once),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
