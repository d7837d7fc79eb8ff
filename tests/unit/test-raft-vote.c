/* Elections: pre-vote, vote, stickiness, and what must be on disk before a vote leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/raft-rig.h"

static struct raft_message pre_vote(node_id from, uint64_t term, uint64_t index, uint64_t log_term)
{
        return (struct raft_message){ .type = RAFT_PRE_VOTE,
                                      .from = from,
                                      .term = term,
                                      .log_index = index,
                                      .log_term = log_term };
}

static struct raft_message vote(node_id from, uint64_t term, uint64_t index, uint64_t log_term)
{
        struct raft_message m = pre_vote(from, term, index, log_term);

        m.type = RAFT_VOTE;
        return m;
}

static struct raft_message reply(enum raft_message_type type, node_id from, uint64_t term,
                                 bool granted)
{
        return (struct raft_message){
                .type = type, .from = from, .term = term, .granted = granted
        };
}

static struct raft_message heartbeat(node_id from, uint64_t term)
{
        return (struct raft_message){ .type = RAFT_APPEND, .from = from, .term = term, .round = 1 };
}

static void attempts_are_random_between_one_and_two_election_timeouts(void **state)
{
        struct rig rig;
        usec_t shortest = USEC_INFINITY, longest = 0;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        for (unsigned i = 0; i < 500; i++) {
                uint64_t from = rig.now;

                rig_attempt(&rig);
                shortest = rig.now - from < shortest ? rig.now - from : shortest;
                longest = rig.now - from > longest ? rig.now - from : longest;
        }
        assert_in_range(shortest, RIG_ELECTION, RIG_ELECTION + RIG_ELECTION / 20);
        assert_in_range(longest, 2 * RIG_ELECTION - RIG_ELECTION / 20, 2 * RIG_ELECTION);
        rig_done(&rig);
}

static void timeout_asks_for_pre_votes_and_changes_neither_term_nor_vote(void **state)
{
        struct rig rig;
        const struct raft_message *m;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 4, .terms = { 2, 3 } });
        rig_timeout(&rig);
        assert_int_equal(raft_role(rig.raft), RAFT_PRE_CANDIDATE);
        assert_int_equal(raft_term(rig.raft), 4);
        assert_null(rig_effect(&rig, RAFT_PERSIST));
        assert_int_equal(rig_n_sent(&rig), 2);
        m = rig_sent(&rig, RAFT_PRE_VOTE, 2);
        assert_non_null(m);
        assert_int_equal(m->term, 5);
        assert_int_equal(m->log_index, 2);
        assert_int_equal(m->log_term, 3);
        assert_non_null(rig_sent(&rig, RAFT_PRE_VOTE, 3));
        assert_non_null(rig_noted(&rig, RAFT_NOTE_PRE_VOTE_STARTED));
        rig_done(&rig);
}

static void majority_of_pre_votes_starts_an_election_and_is_none(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_timeout(&rig);
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 2, 1, true));
        assert_int_equal(raft_role(rig.raft), RAFT_CANDIDATE);
        assert_int_equal(raft_term(rig.raft), 1);
        rig_persist(&rig);
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 3, 1, true));
        assert_int_equal(raft_role(rig.raft), RAFT_CANDIDATE);
        rig_done(&rig);
}

static void pre_vote_reply_for_another_term_does_not_count(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 5 });
        rig_timeout(&rig);
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 2, 5, true));
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 2, 7, true));
        assert_int_equal(raft_role(rig.raft), RAFT_PRE_CANDIDATE);
        assert_int_equal(raft_term(rig.raft), 5);
        rig_done(&rig);
}

static void pre_vote_is_granted_without_changing_anything(void **state)
{
        struct rig rig;
        struct instant deadline;
        const struct raft_message *m;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 3, .terms = { 1, 3 } });
        deadline = raft_deadline(rig.raft);
        rig_wait(&rig, 1000);
        rig_receive(&rig, pre_vote(2, 4, 2, 3));
        m = rig_sent(&rig, RAFT_PRE_VOTE_REPLY, 2);
        assert_non_null(m);
        assert_true(m->granted);
        assert_int_equal(m->term, 4);
        assert_int_equal(rig.effects.n, 1);
        assert_int_equal(raft_term(rig.raft), 3);
        assert_true(raft_deadline(rig.raft).usec == deadline.usec);
        /* Nor does it count as contact with a leader. */
        rig_receive(&rig, pre_vote(3, 4, 2, 3));
        assert_true(rig_sent(&rig, RAFT_PRE_VOTE_REPLY, 3)->granted);
        rig_done(&rig);
}

static void refused_pre_vote_tells_the_real_term(void **state)
{
        struct rig rig;
        const struct raft_message *m;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 9, .terms = { 1 } });
        rig_receive(&rig, pre_vote(2, 5, 7, 4));
        m = rig_sent(&rig, RAFT_PRE_VOTE_REPLY, 2);
        assert_non_null(m);
        assert_false(m->granted);
        assert_int_equal(m->term, 9);
        rig_done(&rig);
}

static void pre_vote_for_the_own_term_is_refused(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 4, .terms = { 1 } });
        rig_receive(&rig, pre_vote(2, 4, 1, 1));
        assert_false(rig_sent(&rig, RAFT_PRE_VOTE_REPLY, 2)->granted);
        rig_done(&rig);
}

static void term_of_a_refused_pre_vote_is_adopted(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 4, .vote = 1 });
        rig_timeout(&rig);
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 2, 9, false));
        assert_int_equal(raft_term(rig.raft), 9);
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        assert_int_equal(rig_effect(&rig, RAFT_PERSIST)->persist.term, 9);
        assert_int_equal(rig_effect(&rig, RAFT_PERSIST)->persist.vote, NODE_NOBODY);
        rig_timeout(&rig);
        assert_int_equal(rig_sent(&rig, RAFT_PRE_VOTE, 2)->term, 10);
        rig_done(&rig);
}

static void granted_pre_vote_never_changes_the_term(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 4 });
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 2, 9, true));
        rig_receive(&rig, pre_vote(2, 12, 0, 0));
        assert_int_equal(raft_term(rig.raft), 4);
        rig_done(&rig);
}

static void who_hears_the_leader_grants_no_pre_vote_for_an_election_timeout(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1 });
        rig_receive(&rig, heartbeat(3, 1));
        rig_wait(&rig, RIG_ELECTION - 1);
        rig_receive(&rig, pre_vote(2, 2, 0, 0));
        assert_false(rig_sent(&rig, RAFT_PRE_VOTE_REPLY, 2)->granted);
        rig_wait(&rig, 1);
        rig_receive(&rig, pre_vote(2, 2, 0, 0));
        assert_true(rig_sent(&rig, RAFT_PRE_VOTE_REPLY, 2)->granted);
        rig_done(&rig);
}

static void who_hears_the_leader_drops_votes_without_adopting_their_term(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1 });
        rig_receive(&rig, heartbeat(3, 1));
        rig_wait(&rig, RIG_ELECTION - 1);
        rig_receive(&rig, vote(2, 8, 0, 0));
        assert_int_equal(raft_term(rig.raft), 1);
        assert_int_equal(rig.effects.n, 0);
        rig_wait(&rig, 1);
        rig_receive(&rig, vote(2, 8, 0, 0));
        assert_int_equal(raft_term(rig.raft), 8);
        rig_done(&rig);
}

static void leader_that_asks_for_votes_itself_is_not_protected_from_itself(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1 });
        rig_receive(&rig, heartbeat(3, 1));
        rig_receive(&rig, pre_vote(3, 2, 0, 0));
        assert_true(rig_sent(&rig, RAFT_PRE_VOTE_REPLY, 3)->granted);
        rig_done(&rig);
}

static void transfer_mark_skips_stickiness_and_nothing_else(void **state)
{
        struct rig rig;
        struct raft_message m = vote(2, 2, 0, 0);

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1 } });
        rig_receive(&rig, heartbeat(3, 1));
        m.transfer = true;
        rig_receive(&rig, m); /* its log is behind */
        assert_int_equal(raft_term(rig.raft), 2);
        assert_false(rig_sent(&rig, RAFT_VOTE_REPLY, 2)->granted);
        rig_receive(&rig, heartbeat(3, 2));
        m = vote(2, 3, 1, 1);
        m.transfer = true;
        rig_receive(&rig, m);
        rig_persist(&rig);
        assert_true(rig_sent(&rig, RAFT_VOTE_REPLY, 2)->granted);
        rig_done(&rig);
}

static void pre_candidate_forgets_its_leader_and_grants_to_others(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1 });
        rig_receive(&rig, heartbeat(3, 1));
        assert_int_equal(raft_leader(rig.raft), 3);
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_SUSPECT, .target = 3 });
        assert_int_equal(raft_role(rig.raft), RAFT_PRE_CANDIDATE);
        assert_int_equal(raft_leader(rig.raft), NODE_NOBODY);
        rig_receive(&rig, pre_vote(2, 2, 0, 0));
        assert_true(rig_sent(&rig, RAFT_PRE_VOTE_REPLY, 2)->granted);
        assert_int_equal(raft_role(rig.raft), RAFT_PRE_CANDIDATE);
        /* The leader was alive after all. */
        rig_receive(&rig, heartbeat(3, 1));
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        assert_int_equal(raft_leader(rig.raft), 3);
        rig_done(&rig);
}

static void suspicion_of_anybody_but_the_leader_does_nothing(void **state)
{
        struct rig rig;
        struct instant deadline;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1 });
        deadline = raft_deadline(rig.raft);
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_SUSPECT, .target = NODE_NOBODY });
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_SUSPECT, .target = 3 });
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        assert_true(raft_deadline(rig.raft).usec == deadline.usec);
        rig_receive(&rig, heartbeat(3, 1));
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_SUSPECT, .target = 2 });
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        assert_int_equal(rig.effects.n, 0);
        rig_lead(&rig);
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_SUSPECT, .target = RIG_SELF });
        assert_int_equal(raft_role(rig.raft), RAFT_LEADER);
        rig_done(&rig);
}

static void later_term_wins_over_a_longer_log(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 5, .terms = { 1, 2, 2 } });
        rig_receive(&rig, vote(2, 6, 9, 1)); /* longer, but older */
        assert_false(rig_sent(&rig, RAFT_VOTE_REPLY, 2)->granted);
        rig_receive(&rig, vote(2, 7, 2, 2)); /* as new, but shorter */
        assert_false(rig_sent(&rig, RAFT_VOTE_REPLY, 2)->granted);
        rig_receive(&rig, vote(2, 8, 1, 3)); /* shorter, but newer */
        rig_persist(&rig);
        assert_true(rig_sent(&rig, RAFT_VOTE_REPLY, 2)->granted);
        rig_receive(&rig, vote(3, 9, 3, 2)); /* the same as ours */
        rig_persist(&rig);
        assert_true(rig_sent(&rig, RAFT_VOTE_REPLY, 3)->granted);
        rig_done(&rig);
}

static void vote_leaves_only_when_it_is_on_disk(void **state)
{
        struct rig rig;
        const struct raft_effect *e;
        const struct raft_message *m;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1 });
        rig_receive(&rig, vote(2, 2, 0, 0));
        assert_int_equal(rig_n_sent(&rig), 0);
        e = rig_effect(&rig, RAFT_PERSIST);
        assert_non_null(e);
        assert_true(e->persist.has_hard_state);
        assert_int_equal(e->persist.term, 2);
        assert_int_equal(e->persist.vote, 2);
        rig_receive(&rig, vote(2, 2, 0, 0));
        assert_int_equal(rig_n_sent(&rig), 0);
        rig_persist(&rig);
        m = rig_sent(&rig, RAFT_VOTE_REPLY, 2);
        assert_non_null(m);
        assert_true(m->granted);
        assert_int_equal(m->term, 2);
        assert_int_equal(rig_n_sent(&rig), 1);
        rig_receive(&rig, vote(2, 2, 0, 0)); /* the answer was lost */
        assert_true(rig_sent(&rig, RAFT_VOTE_REPLY, 2)->granted);
        rig_done(&rig);
}

static void vote_of_a_term_that_has_passed_is_not_sent(void **state)
{
        struct rig rig;
        uint64_t first;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1 });
        rig_receive(&rig, vote(2, 2, 0, 0));
        first = rig.generation;
        rig_receive(&rig, vote(3, 3, 0, 0));
        rig_persist_up_to(&rig, first);
        assert_int_equal(rig_n_sent(&rig), 0);
        rig_persist(&rig);
        assert_int_equal(rig_n_sent(&rig), 1);
        assert_int_equal(rig_sent(&rig, RAFT_VOTE_REPLY, 3)->term, 3);
        rig_done(&rig);
}

static void vote_is_given_once_a_term(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 2, .vote = 3 });
        rig_receive(&rig, vote(2, 2, 0, 0));
        assert_false(rig_sent(&rig, RAFT_VOTE_REPLY, 2)->granted);
        assert_int_equal(rig_sent(&rig, RAFT_VOTE_REPLY, 2)->term, 2);
        rig_receive(&rig, vote(3, 2, 0, 0)); /* it survived the restart */
        assert_true(rig_sent(&rig, RAFT_VOTE_REPLY, 3)->granted);
        rig_done(&rig);
}

static void vote_survives_hearing_of_a_leader_and_stepping_down(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_timeout(&rig);
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 2, 1, true));
        rig_persist(&rig);
        rig_receive(&rig, heartbeat(3, 1)); /* it has won our term */
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        rig_wait(&rig, RIG_ELECTION);
        rig_receive(&rig, vote(2, 1, 0, 0));
        assert_false(rig_sent(&rig, RAFT_VOTE_REPLY, 2)->granted);
        rig_done(&rig);
}

static void vote_request_of_a_lower_term_is_told_ours(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 6 });
        rig_receive(&rig, vote(2, 5, 0, 0));
        assert_false(rig_sent(&rig, RAFT_VOTE_REPLY, 2)->granted);
        assert_int_equal(rig_sent(&rig, RAFT_VOTE_REPLY, 2)->term, 6);
        rig_done(&rig);
}

static void granting_a_vote_restarts_the_election_timer(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig.now = raft_deadline(rig.raft).usec - 1;
        rig_receive(&rig, vote(2, 1, 0, 0));
        assert_true(raft_deadline(rig.raft).usec >= rig.now + RIG_ELECTION);
        rig_done(&rig);
}

static void refusing_a_vote_does_not_restart_the_election_timer(void **state)
{
        struct rig rig;
        struct instant deadline;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1 } });
        deadline = raft_deadline(rig.raft);
        rig.now = deadline.usec - 1;
        rig_receive(&rig, vote(2, 4, 0, 0));
        assert_true(raft_deadline(rig.raft).usec == deadline.usec);
        rig_done(&rig);
}

static void votes_are_asked_for_when_the_own_is_on_disk(void **state)
{
        struct rig rig;
        const struct raft_message *m;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1 } });
        rig_timeout(&rig);
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 3, 2, true));
        assert_int_equal(rig_n_sent(&rig), 0);
        assert_int_equal(rig_effect(&rig, RAFT_PERSIST)->persist.vote, RIG_SELF);
        rig_persist(&rig);
        m = rig_sent(&rig, RAFT_VOTE, 2);
        assert_non_null(m);
        assert_int_equal(m->term, 2);
        assert_int_equal(m->log_index, 1);
        assert_int_equal(m->log_term, 1);
        assert_false(m->transfer);
        assert_non_null(rig_sent(&rig, RAFT_VOTE, 3));
        rig_done(&rig);
}

static void duplicated_vote_counts_once(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 5 });
        rig_timeout(&rig);
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 2, 1, true));
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 2, 1, true));
        assert_int_equal(raft_role(rig.raft), RAFT_PRE_CANDIDATE);
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 3, 1, true));
        rig_persist(&rig);
        rig_receive(&rig, reply(RAFT_VOTE_REPLY, 2, 1, true));
        rig_receive(&rig, reply(RAFT_VOTE_REPLY, 2, 1, true));
        assert_int_equal(raft_role(rig.raft), RAFT_CANDIDATE);
        rig_receive(&rig, reply(RAFT_VOTE_REPLY, 3, 1, true));
        assert_int_equal(raft_role(rig.raft), RAFT_LEADER);
        assert_int_equal(rig.effects.list[0].type, RAFT_ROLE_CHANGED);
        rig_done(&rig);
}

static void vote_of_another_term_or_refused_does_not_count(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 3 });
        rig_timeout(&rig);
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 2, 4, true));
        rig_persist(&rig);
        rig_receive(&rig, reply(RAFT_VOTE_REPLY, 2, 3, true));
        rig_receive(&rig, reply(RAFT_VOTE_REPLY, 2, 4, false));
        assert_int_equal(raft_role(rig.raft), RAFT_CANDIDATE);
        rig_receive(&rig, reply(RAFT_VOTE_REPLY, 2, 5, true)); /* its term is news */
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        assert_int_equal(raft_term(rig.raft), 5);
        rig_done(&rig);
}

static void even_groups_need_more_than_half(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 4, .no_pre_vote = true });
        rig_timeout(&rig);
        rig_persist(&rig);
        rig_receive(&rig, reply(RAFT_VOTE_REPLY, 2, 1, true));
        assert_int_equal(raft_role(rig.raft), RAFT_CANDIDATE);
        rig_receive(&rig, reply(RAFT_VOTE_REPLY, 3, 1, true));
        assert_int_equal(raft_role(rig.raft), RAFT_LEADER);
        rig_done(&rig);
}

static void answers_of_strangers_and_echoes_are_not_heard(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_timeout(&rig);
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 4, 1, true));
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, RIG_SELF, 1, true));
        rig_receive(&rig, reply(RAFT_VOTE_REPLY, 4, 9, false));
        assert_int_equal(raft_role(rig.raft), RAFT_PRE_CANDIDATE);
        assert_int_equal(raft_term(rig.raft), 0);
        assert_int_equal(rig.effects.n, 0);
        rig_done(&rig);
}

static void member_without_others_leads_when_its_vote_is_on_disk(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 1 });
        rig_timeout(&rig);
        assert_int_equal(raft_role(rig.raft), RAFT_CANDIDATE);
        rig_persist(&rig);
        assert_int_equal(raft_role(rig.raft), RAFT_LEADER);
        assert_int_equal(raft_index_committed(rig.raft), 0);
        rig_persist(&rig);
        assert_int_equal(raft_index_committed(rig.raft), 1);
        assert_true(raft_is_ready(rig.raft));
        rig_propose(&rig, 8);
        assert_null(rig_effect(&rig, RAFT_COMMITTED));
        rig_persist(&rig);
        assert_int_equal(rig_effect(&rig, RAFT_COMMITTED)->index, 2);
        assert_true(raft_deadline(rig.raft).usec == INSTANT_FOREVER.usec);
        rig_done(&rig);
}

static void candidate_that_times_out_asks_again_from_the_start(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_timeout(&rig);
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 2, 1, true));
        rig_attempt(&rig);
        assert_int_equal(raft_role(rig.raft), RAFT_PRE_CANDIDATE);
        assert_int_equal(rig_sent(&rig, RAFT_PRE_VOTE, 2)->term, 2);
        rig_persist(&rig); /* the vote of the attempt that is over asks nobody */
        assert_int_equal(rig_n_sent(&rig), 0);
        rig_done(&rig);
}

static void who_has_not_granted_is_asked_again_each_heartbeat(void **state)
{
        struct rig rig;
        uint64_t from;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 5 });
        rig_timeout(&rig);
        from = rig.now;
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 3, 1, true));
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 2, 0, false)); /* it still hears the leader */
        rig_timeout(&rig);
        assert_true(rig.now == from + RIG_HEARTBEAT);
        assert_int_equal(rig_n_sent(&rig), 3);
        assert_non_null(rig_sent(&rig, RAFT_PRE_VOTE, 2));
        assert_null(rig_sent(&rig, RAFT_PRE_VOTE, 3));
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 2, 1, true));
        rig_timeout(&rig);
        assert_int_equal(rig_n_sent(&rig), 0); /* not before our own vote is on disk */
        rig_persist(&rig);
        assert_int_equal(rig_n_sent(&rig), 4);
        rig_receive(&rig, reply(RAFT_VOTE_REPLY, 2, 1, true));
        rig_timeout(&rig);
        assert_int_equal(rig_n_sent(&rig), 3);
        assert_null(rig_sent(&rig, RAFT_VOTE, 2));
        rig_done(&rig);
}

static void of_two_pre_candidates_one_gives_way(void **state)
{
        struct rig rig;
        struct instant deadline;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 2, .terms = { 1, 2 } });
        rig_timeout(&rig);
        rig_receive(&rig, pre_vote(2, 3, 2, 2)); /* as good, but behind us in the list */
        assert_true(rig_sent(&rig, RAFT_PRE_VOTE_REPLY, 2)->granted);
        assert_int_equal(raft_role(rig.raft), RAFT_PRE_CANDIDATE);
        rig_receive(&rig, pre_vote(2, 3, 1, 1));
        assert_false(rig_sent(&rig, RAFT_PRE_VOTE_REPLY, 2)->granted);
        assert_int_equal(raft_role(rig.raft), RAFT_PRE_CANDIDATE);
        rig_receive(&rig, pre_vote(2, 3, 3, 2)); /* better */
        assert_true(rig_sent(&rig, RAFT_PRE_VOTE_REPLY, 2)->granted);
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        deadline = raft_deadline(rig.raft);
        assert_true(deadline.usec <= rig.now + 2 * RIG_ELECTION);
        rig_receive(&rig, reply(RAFT_PRE_VOTE_REPLY, 3, 3, true)); /* too late for us */
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        rig_timeout(&rig);
        assert_true(rig.now == deadline.usec);
        assert_int_equal(raft_role(rig.raft), RAFT_PRE_CANDIDATE);
        rig_done(&rig);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(attempts_are_random_between_one_and_two_election_timeouts),
                cmocka_unit_test(timeout_asks_for_pre_votes_and_changes_neither_term_nor_vote),
                cmocka_unit_test(majority_of_pre_votes_starts_an_election_and_is_none),
                cmocka_unit_test(pre_vote_reply_for_another_term_does_not_count),
                cmocka_unit_test(pre_vote_is_granted_without_changing_anything),
                cmocka_unit_test(refused_pre_vote_tells_the_real_term),
                cmocka_unit_test(pre_vote_for_the_own_term_is_refused),
                cmocka_unit_test(term_of_a_refused_pre_vote_is_adopted),
                cmocka_unit_test(granted_pre_vote_never_changes_the_term),
                cmocka_unit_test(who_hears_the_leader_grants_no_pre_vote_for_an_election_timeout),
                cmocka_unit_test(who_hears_the_leader_drops_votes_without_adopting_their_term),
                cmocka_unit_test(leader_that_asks_for_votes_itself_is_not_protected_from_itself),
                cmocka_unit_test(transfer_mark_skips_stickiness_and_nothing_else),
                cmocka_unit_test(pre_candidate_forgets_its_leader_and_grants_to_others),
                cmocka_unit_test(suspicion_of_anybody_but_the_leader_does_nothing),
                cmocka_unit_test(later_term_wins_over_a_longer_log),
                cmocka_unit_test(vote_leaves_only_when_it_is_on_disk),
                cmocka_unit_test(vote_of_a_term_that_has_passed_is_not_sent),
                cmocka_unit_test(vote_is_given_once_a_term),
                cmocka_unit_test(vote_survives_hearing_of_a_leader_and_stepping_down),
                cmocka_unit_test(vote_request_of_a_lower_term_is_told_ours),
                cmocka_unit_test(granting_a_vote_restarts_the_election_timer),
                cmocka_unit_test(refusing_a_vote_does_not_restart_the_election_timer),
                cmocka_unit_test(votes_are_asked_for_when_the_own_is_on_disk),
                cmocka_unit_test(duplicated_vote_counts_once),
                cmocka_unit_test(vote_of_another_term_or_refused_does_not_count),
                cmocka_unit_test(even_groups_need_more_than_half),
                cmocka_unit_test(answers_of_strangers_and_echoes_are_not_heard),
                cmocka_unit_test(member_without_others_leads_when_its_vote_is_on_disk),
                cmocka_unit_test(candidate_that_times_out_asks_again_from_the_start),
                cmocka_unit_test(who_has_not_granted_is_asked_again_each_heartbeat),
                cmocka_unit_test(of_two_pre_candidates_one_gives_way),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
