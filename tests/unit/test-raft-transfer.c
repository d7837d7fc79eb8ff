/* Handing leadership over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/raft-rig.h"

static void transfer_to(struct rig *rig, node_id target)
{
        rig_feed(rig, (struct raft_event){
                              .type = RAFT_EVENT_TRANSFER, .target = target, .context = 5 });
}

static const struct raft_message *order(const struct rig *rig, node_id to)
{
        return rig_sent(rig, RAFT_TIMEOUT_NOW, to);
}

static void target_that_has_everything_is_told_at_once(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1 } });
        rig_lead(&rig);
        transfer_to(&rig, 3);
        assert_non_null(order(&rig, 3));
        assert_int_equal(order(&rig, 3)->log_index, 2);
        assert_int_equal(order(&rig, 3)->log_term, 2);
        assert_int_equal(order(&rig, 3)->term, 2);
        assert_int_equal(rig_noted(&rig, RAFT_NOTE_TRANSFER_STARTED)->peer, 3);
        rig_timeout(&rig); /* the order may have been lost */
        assert_non_null(order(&rig, 3));
        rig_done(&rig);
}

static void target_is_brought_up_to_the_end_first(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        rig_propose(&rig, 1);
        transfer_to(&rig, 2);
        assert_null(order(&rig, 2));
        rig_acknowledge(&rig, 3, 2);
        assert_null(order(&rig, 2));
        rig_acknowledge(&rig, 2, 2);
        assert_non_null(order(&rig, 2));
        rig_done(&rig);
}

static void proposals_are_refused_until_the_transfer_has_failed(void **state)
{
        struct rig rig;
        uint64_t from;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        transfer_to(&rig, 2);
        from = rig.now;
        rig_propose(&rig, 1);
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->refusal, RAFT_TRANSFERRING);
        while (!rig_noted(&rig, RAFT_NOTE_TRANSFER_FAILED)) {
                rig_timeout(&rig);
                rig_acknowledge(&rig, 3, 1);
                assert_true(rig.now <= from + RIG_ELECTION);
                if (rig.now == from + RIG_ELECTION)
                        break;
        }
        assert_true(rig.now == from + RIG_ELECTION);
        rig_propose(&rig, 1);
        assert_non_null(rig_effect(&rig, RAFT_PROPOSED));
        rig_done(&rig);
}

static void target_that_is_not_ready_ends_the_transfer(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        transfer_to(&rig, 2);
        rig_receive(&rig, (struct raft_message){ .type = RAFT_APPEND_REPLY,
                                                 .from = 3,
                                                 .term = 1,
                                                 .round = rig.round,
                                                 .transfer = true });
        assert_null(rig_noted(&rig, RAFT_NOTE_TRANSFER_FAILED)); /* it was not asked */
        rig_receive(&rig, (struct raft_message){ .type = RAFT_APPEND_REPLY,
                                                 .from = 2,
                                                 .term = 1,
                                                 .round = rig.round,
                                                 .transfer = true });
        assert_int_equal(rig_noted(&rig, RAFT_NOTE_TRANSFER_FAILED)->peer, 2);
        rig_propose(&rig, 1);
        assert_non_null(rig_effect(&rig, RAFT_PROPOSED));
        rig_done(&rig);
}

static void transfer_is_over_with_the_leadership(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        transfer_to(&rig, 2);
        rig_receive(&rig, (struct raft_message){ .type = RAFT_VOTE,
                                                 .from = 2,
                                                 .term = 2,
                                                 .log_index = 1,
                                                 .log_term = 1,
                                                 .transfer = true });
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        rig_persist(&rig);
        assert_true(rig_sent(&rig, RAFT_VOTE_REPLY, 2)->granted);
        rig_lead(&rig);
        rig_propose(&rig, 1);
        assert_non_null(rig_effect(&rig, RAFT_PROPOSED));
        rig_done(&rig);
}

static enum raft_refusal refusal_of(struct rig *rig, node_id target)
{
        transfer_to(rig, target);
        assert_non_null(rig_effect(rig, RAFT_REFUSED));
        assert_int_equal(rig_effect(rig, RAFT_REFUSED)->refused, RAFT_EVENT_TRANSFER);
        assert_int_equal(rig_effect(rig, RAFT_REFUSED)->context, 5);
        return rig_effect(rig, RAFT_REFUSED)->refusal;
}

static void bad_transfers_are_refused(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        assert_int_equal(refusal_of(&rig, 2), RAFT_NOT_LEADER);
        rig_lead(&rig);
        assert_int_equal(refusal_of(&rig, RIG_SELF), RAFT_BAD_TARGET);
        assert_int_equal(refusal_of(&rig, 4), RAFT_BAD_TARGET);
        transfer_to(&rig, 2);
        assert_int_equal(refusal_of(&rig, 3), RAFT_TRANSFERRING);
        rig_done(&rig);
}

static void best_target_has_most_on_its_disk_and_answers(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 5 });
        rig_elect(&rig);
        assert_int_equal(refusal_of(&rig, NODE_NOBODY), RAFT_BAD_TARGET); /* nobody answers */
        rig_persist(&rig);
        rig_acknowledge(&rig, 2, 1);
        rig_acknowledge(&rig, 4, 1);
        rig_propose(&rig, 1);
        rig_acknowledge(&rig, 4, 2);
        transfer_to(&rig, NODE_NOBODY);
        assert_non_null(order(&rig, 4));
        rig_done(&rig);
}

static void follow(struct rig *rig)
{
        rig_start(rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1 } });
        rig_append(rig, (struct raft_message){ .from = 2, .term = 1, .round = 1 }, NULL);
}

static void order_to_campaign_is_obeyed_at_once_and_without_pre_vote(void **state)
{
        struct rig rig;

        (void)state;
        follow(&rig);
        rig_receive(&rig, (struct raft_message){ .type = RAFT_TIMEOUT_NOW,
                                                 .from = 2,
                                                 .term = 1,
                                                 .log_index = 1,
                                                 .log_term = 1 });
        assert_int_equal(raft_role(rig.raft), RAFT_CANDIDATE);
        assert_int_equal(raft_term(rig.raft), 2);
        rig_persist(&rig);
        assert_true(rig_sent(&rig, RAFT_VOTE, 2)->transfer);
        assert_true(rig_sent(&rig, RAFT_VOTE, 3)->transfer);
        /* The next attempt is its own. */
        rig_attempt(&rig);
        rig_receive(&rig,
                    (struct raft_message){
                            .type = RAFT_PRE_VOTE_REPLY, .from = 3, .term = 3, .granted = true });
        rig_persist(&rig);
        assert_false(rig_sent(&rig, RAFT_VOTE, 3)->transfer);
        rig_done(&rig);
}

static void order_to_campaign_is_refused_with_a_log_that_is_behind(void **state)
{
        struct rig rig;
        struct raft_message m = {
                .type = RAFT_TIMEOUT_NOW, .from = 2, .term = 1, .log_index = 2, .log_term = 1
        };

        (void)state;
        follow(&rig);
        rig_receive(&rig, m);
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        assert_true(rig_sent(&rig, RAFT_APPEND_REPLY, 2)->transfer);
        assert_false(rig_sent(&rig, RAFT_APPEND_REPLY, 2)->granted);
        rig_append(&rig,
                   (struct raft_message){ .from = 2, .term = 1, .log_index = 1, .log_term = 1 },
                   (const uint64_t[]){ 1, 0 });
        rig_receive(&rig, m); /* in memory is not on disk */
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        rig_persist(&rig);
        rig_receive(&rig, m);
        assert_int_equal(raft_role(rig.raft), RAFT_CANDIDATE);
        rig_done(&rig);
}

static void order_to_campaign_is_obeyed_from_the_leader_only(void **state)
{
        struct rig rig;
        struct raft_message m = {
                .type = RAFT_TIMEOUT_NOW, .from = 3, .term = 1, .log_index = 1, .log_term = 1
        };

        (void)state;
        follow(&rig);
        rig_receive(&rig, m);
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        assert_int_equal(rig.effects.n, 0);
        rig_done(&rig);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(target_that_has_everything_is_told_at_once),
                cmocka_unit_test(target_is_brought_up_to_the_end_first),
                cmocka_unit_test(proposals_are_refused_until_the_transfer_has_failed),
                cmocka_unit_test(target_that_is_not_ready_ends_the_transfer),
                cmocka_unit_test(transfer_is_over_with_the_leadership),
                cmocka_unit_test(bad_transfers_are_refused),
                cmocka_unit_test(best_target_has_most_on_its_disk_and_answers),
                cmocka_unit_test(order_to_campaign_is_obeyed_at_once_and_without_pre_vote),
                cmocka_unit_test(order_to_campaign_is_refused_with_a_log_that_is_behind),
                cmocka_unit_test(order_to_campaign_is_obeyed_from_the_leader_only),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
