/* A leader's side of replication: appends, probes, windows, commit, check-quorum, proposals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/raft-rig.h"

static void reject(struct rig *rig, node_id from, uint64_t index, uint64_t hint, uint64_t hint_term)
{
        rig_receive(rig, (struct raft_message){ .type = RAFT_APPEND_REPLY,
                                                .from = from,
                                                .term = raft_term(rig->raft),
                                                .log_index = index,
                                                .round = rig->round,
                                                .hint_index = hint,
                                                .hint_term = hint_term });
}

static const struct raft_message *sent(const struct rig *rig, node_id to)
{
        return rig_sent(rig, RAFT_APPEND, to);
}

/* An append of @n entries behind @index to @to. */
static void assert_sent(const struct rig *rig, node_id to, uint64_t index, size_t n)
{
        assert_non_null(sent(rig, to));
        assert_int_equal(sent(rig, to)->log_index, index);
        assert_int_equal(sent(rig, to)->n_entries, n);
        for (size_t i = 0; i < n; i++)
                assert_int_equal(sent(rig, to)->entries[i].index, index + 1 + i);
}

static void new_leader_appends_and_sends_a_no_op(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 2, .terms = { 1, 2 } });
        rig_elect(&rig);
        assert_int_equal(raft_role(rig.raft), RAFT_LEADER);
        assert_int_equal(raft_leader(rig.raft), RIG_SELF);
        assert_int_equal(rig.effects.list[0].type, RAFT_ROLE_CHANGED);
        assert_int_equal(rig_effect(&rig, RAFT_PERSIST)->persist.first, 3);
        assert_sent(&rig, 2, 2, 1);
        assert_sent(&rig, 3, 2, 1);
        assert_int_equal(sent(&rig, 2)->entries[0].type, RAFT_ENTRY_NOOP);
        assert_int_equal(sent(&rig, 2)->entries[0].term, 3);
        assert_int_equal(sent(&rig, 2)->log_term, 2);
        assert_false(raft_is_ready(rig.raft));
        rig_done(&rig);
}

static void proposal_is_sent_and_persisted_in_one_step(void **state)
{
        static const enum raft_effect_type order[] = { RAFT_APPENDED, RAFT_PROPOSED, RAFT_PERSIST,
                                                       RAFT_SEND, RAFT_SEND };
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        rig_propose(&rig, 10);
        assert_int_equal(rig.effects.n, 5);
        for (size_t i = 0; i < 5; i++)
                assert_int_equal(rig.effects.list[i].type, order[i]);
        assert_int_equal(rig_effect(&rig, RAFT_PROPOSED)->first, 2);
        assert_int_equal(rig_effect(&rig, RAFT_PROPOSED)->last, 2);
        assert_sent(&rig, 2, 1, 1);
        assert_sent(&rig, 3, 1, 1);
        rig_done(&rig);
}

static void commit_needs_a_quorum_of_disks_and_the_own_is_one_of_them(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        rig_propose(&rig, 10);
        rig_acknowledge(&rig, 2, 2); /* our own copy is not on disk */
        assert_int_equal(raft_index_committed(rig.raft), 1);
        rig_persist(&rig);
        assert_int_equal(rig_effect(&rig, RAFT_COMMITTED)->index, 2);
        rig_propose(&rig, 10);
        rig_persist(&rig);
        assert_int_equal(raft_index_committed(rig.raft), 2);
        rig_acknowledge(&rig, 3, 3);
        assert_int_equal(raft_index_committed(rig.raft), 3);
        rig_done(&rig);
}

static void slow_disk_of_the_leader_does_not_stop_a_commit(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        rig_propose(&rig, 10);
        rig_acknowledge(&rig, 2, 2);
        rig_acknowledge(&rig, 3, 2);
        assert_int_equal(raft_index_committed(rig.raft), 2);
        rig_done(&rig);
}

static void quorum_of_an_even_group_is_more_than_half(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 4 });
        rig_elect(&rig);
        rig_persist(&rig);
        rig_acknowledge(&rig, 2, 1);
        assert_int_equal(raft_index_committed(rig.raft), 0);
        rig_acknowledge(&rig, 4, 1);
        assert_int_equal(raft_index_committed(rig.raft), 1);
        rig_done(&rig);
}

static void commit_is_the_largest_index_that_a_quorum_holds(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 5 });
        rig_elect(&rig);
        for (unsigned i = 0; i < 9; i++)
                rig_propose(&rig, 1);
        rig_persist(&rig);
        rig_acknowledge(&rig, 2, 3);
        rig_acknowledge(&rig, 3, 9);
        rig_acknowledge(&rig, 4, 5); /* own 10, 3, 9, 5, 0 */
        assert_int_equal(raft_index_committed(rig.raft), 5);
        rig_acknowledge(&rig, 5, 7);
        assert_int_equal(raft_index_committed(rig.raft), 7);
        rig_done(&rig);
}

/* Figure 8 of the paper: a majority holds an entry of an old term, and it may still be lost. */
static void entry_of_an_old_term_is_not_committed_by_counting(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 3, .terms = { 1, 2 } });
        rig_elect(&rig);
        rig_acknowledge(&rig, 2, 2);
        rig_acknowledge(&rig, 3, 2);
        assert_int_equal(raft_index_committed(rig.raft), 0);
        rig_acknowledge(&rig, 2, 3);
        rig_persist(&rig);
        assert_int_equal(raft_index_committed(rig.raft), 3); /* and with ours all before it */
        rig_done(&rig);
}

static void commit_is_told_at_once_and_only_once(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        rig_propose(&rig, 10);
        rig_persist(&rig);
        rig_acknowledge(&rig, 2, 2);
        assert_sent(&rig, 2, 2, 0);
        assert_int_equal(sent(&rig, 2)->commit, 2);
        assert_true(sent(&rig, 2)->quiet); /* nobody waits for an answer to it */
        assert_sent(&rig, 3, 2, 0);
        rig_acknowledge(&rig, 3, 2);
        assert_int_equal(rig_n_sent(&rig), 0);
        rig_done(&rig);
}

static void idle_leader_sends_one_append_a_heartbeat_to_each(void **state)
{
        struct rig rig;
        uint64_t from;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        rig_timeout(&rig);
        from = rig.now;
        for (unsigned i = 1; i <= 10; i++) {
                rig_wait(&rig, 7); /* late; the beat does not drift with it */
                rig_acknowledge(&rig, 2, 1);
                assert_int_equal(rig.effects.n, 0);
                rig_acknowledge(&rig, 3, 1);
                assert_int_equal(rig.effects.n, 0);
                rig_timeout(&rig);
                assert_int_equal(rig.effects.n, 2);
                assert_sent(&rig, 2, 1, 0);
                assert_sent(&rig, 3, 1, 0);
                assert_true(rig.now == from + i * RIG_HEARTBEAT);
        }
        rig_done(&rig);
}

static void rounds_rise_with_each_broadcast(void **state)
{
        struct rig rig;
        uint64_t round;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        for (unsigned i = 0; i < 3; i++) {
                round = rig.round;
                rig_timeout(&rig);
                assert_int_equal(sent(&rig, 2)->round, round + 1);
                assert_int_equal(sent(&rig, 3)->round, round + 1);
                rig_acknowledge(&rig, 2, 1);
        }
        rig_done(&rig);
}

static void probe_waits_for_its_answer(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_elect(&rig);
        rig_propose(&rig, 1);
        assert_int_equal(rig_n_sent(&rig), 0);
        rig_acknowledge(&rig, 2, 1);
        assert_sent(&rig, 2, 1, 1); /* now it is replicated to */
        rig_propose(&rig, 1);
        assert_sent(&rig, 2, 2, 1);
        assert_null(sent(&rig, 3));
        rig_done(&rig);
}

static void lost_probe_is_repeated_by_the_answer_to_a_heartbeat(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1 } });
        rig_elect(&rig);
        rig_timeout(&rig);
        assert_sent(&rig, 2, 1, 0);
        rig_acknowledge(&rig, 2, 1);
        assert_sent(&rig, 2, 1, 1);
        rig_acknowledge(&rig, 2, 2);
        rig_propose(&rig, 1);
        assert_sent(&rig, 2, 2, 1);
        rig_done(&rig);
}

static void rejected_probe_goes_back_to_the_hint(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){
                                .n_voters = 3, .term = 5, .terms = { 1, 1, 2, 4, 4, 5, 5 } });
        rig_elect(&rig);
        assert_sent(&rig, 2, 7, 1);
        reject(&rig, 2, 7, 5, 3); /* it has entries of term 3 up to 5 */
        assert_sent(&rig, 2, 3, 0); /* ours of at most term 3 end at 3 */
        rig_acknowledge(&rig, 2, 3);
        assert_sent(&rig, 2, 3, 5);
        rig_done(&rig);
}

static void rejection_always_goes_strictly_back(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 5, .terms = { 1, 1, 2, 4 } });
        rig_elect(&rig);
        reject(&rig, 2, 4, 4, 9); /* a hint that leads nowhere */
        assert_sent(&rig, 2, 3, 0);
        reject(&rig, 2, 3, 3, 9);
        assert_sent(&rig, 2, 2, 0);
        reject(&rig, 2, 2, 2, 9);
        assert_sent(&rig, 2, 1, 0);
        reject(&rig, 2, 1, 1, 9);
        assert_sent(&rig, 2, 0, 0);
        rig_done(&rig);
}

static void rejection_that_does_not_answer_the_probe_is_ignored(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 5, .terms = { 1, 1, 2, 4 } });
        rig_elect(&rig);
        reject(&rig, 2, 2, 0, 0);
        assert_int_equal(rig.effects.n, 0);
        reject(&rig, 2, 400, 0, 0);
        assert_int_equal(rig.effects.n, 0);
        rig_timeout(&rig);
        assert_sent(&rig, 2, 4, 0);
        rig_done(&rig);
}

static void rejection_at_or_below_match_is_stale(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1, 1, 1 } });
        rig_lead(&rig);
        reject(&rig, 2, 4, 0, 0);
        reject(&rig, 2, 2, 0, 0);
        assert_int_equal(rig.effects.n, 0);
        assert_int_equal(raft_peer_view(rig.raft, 2).match, 4);
        rig_timeout(&rig);
        assert_sent(&rig, 2, 4, 0);
        rig_done(&rig);
}

static void peer_whose_disk_has_lost_entries_gets_them_again(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1, 1, 1 } });
        rig_lead(&rig);
        assert_int_equal(raft_peer_view(rig.raft, 2).match, 4);
        rig_timeout(&rig); /* a round that was sent when its log was known */
        reject(&rig, 2, 4, 2, 1);
        assert_non_null(rig_noted(&rig, RAFT_NOTE_PEER_LOST_LOG));
        assert_int_equal(raft_peer_view(rig.raft, 2).match, 0);
        assert_sent(&rig, 2, 2, 2);
        rig_acknowledge(&rig, 2, 4);
        assert_int_equal(raft_peer_view(rig.raft, 2).match, 4);
        reject(&rig, 2, 3, 2, 1); /* an old answer, as ever */
        assert_int_equal(raft_peer_view(rig.raft, 2).match, 4);
        rig_done(&rig);
}

static void hint_below_match_does_not_lead_below_it(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1, 1, 1 } });
        rig_lead(&rig);
        rig_propose(&rig, 1);
        rig_propose(&rig, 1);
        reject(&rig, 2, 5, 1, 1); /* 4 is acknowledged */
        assert_sent(&rig, 2, 4, 2);
        assert_non_null(rig_noted(&rig, RAFT_NOTE_PEER_PROBED));
        rig_done(&rig);
}

static void lost_append_heals_by_the_next_heartbeat(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        rig_propose(&rig, 1); /* lost on its way to 2 */
        rig_timeout(&rig);
        assert_sent(&rig, 2, 2, 0);
        reject(&rig, 2, 2, 1, 1);
        assert_sent(&rig, 2, 1, 1);
        rig_acknowledge(&rig, 2, 2);
        rig_propose(&rig, 1);
        assert_sent(&rig, 2, 2, 1);
        rig_done(&rig);
}

/* Member 2 drops what it is sent from entry @refused on, and says so with each answer. */
static unsigned answer_without(struct rig *rig, uint64_t refused)
{
        unsigned n = 0;

        while (sent(rig, 2)) {
                struct raft_message m = *sent(rig, 2);

                assert_true(n++ < 10);
                if (m.log_index >= refused)
                        reject(rig, 2, m.log_index, refused - 1, raft_term(rig->raft));
                else
                        rig_acknowledge(rig, 2, refused - 1);
        }
        return n;
}

static void peer_that_drops_entries_is_sent_them_once_a_heartbeat(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        for (unsigned i = 0; i < 300; i++) { /* more than one append takes */
                rig_propose(&rig, 1);
                (void)answer_without(&rig, 11);
        }
        assert_int_equal(raft_peer_view(rig.raft, 2).match, 10);
        for (unsigned i = 0; i < 10; i++) {
                rig_timeout(&rig);
                assert_true(answer_without(&rig, 11) <= 3);
                rig_acknowledge(&rig, 3, 301);
        }
        rig_timeout(&rig); /* it changes its mind */
        while (sent(&rig, 2)) {
                const struct raft_message *m = sent(&rig, 2);

                rig_acknowledge(&rig, 2, m->log_index + m->n_entries);
        }
        assert_int_equal(raft_peer_view(rig.raft, 2).match, 301);
        rig_done(&rig);
}

static void silent_peer_costs_one_empty_append_a_heartbeat(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_elect(&rig);
        for (unsigned i = 0; i < 10; i++) {
                rig_propose(&rig, 1);
                assert_null(sent(&rig, 3));
                rig_timeout(&rig);
                assert_sent(&rig, 3, 0, 0);
                rig_acknowledge(&rig, 2, 1);
        }
        rig_done(&rig);
}

static void window_bounds_what_is_in_flight(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        for (unsigned i = 0; i < RAFT_IN_FLIGHT_MAX; i++) {
                rig_propose(&rig, 1);
                assert_sent(&rig, 2, 1 + i, 1);
        }
        rig_propose(&rig, 1);
        assert_null(sent(&rig, 2));
        rig_timeout(&rig); /* loss is still found, and commits are still told */
        assert_sent(&rig, 2, 1 + RAFT_IN_FLIGHT_MAX, 0);
        rig_acknowledge(&rig, 2, 2);
        assert_sent(&rig, 2, 1 + RAFT_IN_FLIGHT_MAX, 1);
        rig_done(&rig);
}

static void bytes_bound_an_append_and_the_window(void **state)
{
        struct rig rig;
        size_t n = 0;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_elect(&rig);
        for (unsigned i = 0; i < 60; i++)
                rig_propose(&rig, RAFT_APPEND_BYTES_MAX / 2);
        rig_acknowledge(&rig, 2, 1);
        assert_sent(&rig, 2, 1, 2);
        for (size_t i = 0; i < rig.effects.n; i++)
                if (rig.effects.list[i].type == RAFT_SEND)
                        n += rig.effects.list[i].message.n_entries;
        assert_true(n <= (4 << 20) / (RAFT_APPEND_BYTES_MAX / 2) + 2);
        rig_done(&rig);
}

static void large_entry_travels_alone(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_elect(&rig);
        rig_propose(&rig, RAFT_ENTRY_BYTES_MAX);
        rig_propose(&rig, 1);
        rig_acknowledge(&rig, 2, 1);
        assert_sent(&rig, 2, 1, 1);
        rig_done(&rig);
}

static void acknowledgement_beyond_the_log_is_ignored(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        rig_acknowledge(&rig, 2, 7);
        assert_int_equal(raft_peer_view(rig.raft, 2).match, 1);
        rig.round += 5; /* a round that was not sent yet */
        rig_propose(&rig, 1);
        rig.round += 5;
        rig_acknowledge(&rig, 2, 2);
        assert_int_equal(raft_peer_view(rig.raft, 2).match, 1);
        rig_done(&rig);
}

static void acknowledgement_of_an_earlier_term_is_ignored(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 4, .terms = { 3 } });
        rig_elect(&rig);
        rig_receive(&rig, (struct raft_message){ .type = RAFT_APPEND_REPLY,
                                                 .from = 2,
                                                 .term = 4,
                                                 .log_index = 1,
                                                 .granted = true });
        assert_int_equal(raft_peer_view(rig.raft, 2).match, 0);
        rig_done(&rig);
}

static void match_never_falls(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1, 1 } });
        rig_lead(&rig);
        rig_acknowledge(&rig, 2, 1);
        assert_int_equal(raft_peer_view(rig.raft, 2).match, 3);
        rig_done(&rig);
}

static void leader_without_answers_steps_down_and_falls_silent(void **state)
{
        struct rig rig;
        uint64_t heard;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 5 });
        rig_lead(&rig);
        rig_timeout(&rig);
        heard = rig.now;
        rig_acknowledge(&rig, 2, 1);
        rig_acknowledge(&rig, 3, 1);
        while (raft_role(rig.raft) == RAFT_LEADER) {
                assert_true(rig.now < heard + RIG_ELECTION);
                rig_timeout(&rig);
                rig_acknowledge(&rig, 4, 1); /* one of five is not enough */
        }
        assert_true(rig.now == heard + RIG_ELECTION);
        assert_int_equal(raft_leader(rig.raft), NODE_NOBODY);
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        rig_propose(&rig, 1);
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->refusal, RAFT_NOT_LEADER);
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_TIMEOUT });
        assert_int_equal(rig_n_sent(&rig), 0);
        assert_true(raft_deadline(rig.raft).usec >= rig.now + RIG_ELECTION);
        rig_done(&rig);
}

static void quorum_is_counted_from_when_the_answered_message_was_sent(void **state)
{
        struct rig rig;
        uint64_t sent_at, round;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        rig_timeout(&rig);
        sent_at = rig.now;
        round = rig.round;
        rig_timeout(&rig);
        rig_timeout(&rig);
        rig.round = round;
        rig_acknowledge(&rig, 2, 1); /* a late answer to the first */
        assert_true(raft_peer_view(rig.raft, 2).answered.usec == sent_at);
        rig.now = sent_at + RIG_ELECTION;
        rig_propose(&rig, 1); /* whatever comes first finds out */
        assert_non_null(rig_noted(&rig, RAFT_NOTE_QUORUM_LOST));
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->refusal, RAFT_NOT_LEADER);
        rig_done(&rig);
}

static void rejection_is_an_answer_to_check_quorum(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1, 1, 1 } });
        rig_elect(&rig);
        for (unsigned i = 0; i < 20; i++) {
                rig_timeout(&rig);
                reject(&rig, 2, 3, 0, 0);
        }
        assert_int_equal(raft_role(rig.raft), RAFT_LEADER);
        rig_done(&rig);
}

static void higher_term_in_an_answer_ends_the_leadership(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        rig_receive(&rig, (struct raft_message){ .type = RAFT_APPEND_REPLY, .from = 3, .term = 7 });
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        assert_int_equal(raft_term(rig.raft), 7);
        assert_int_equal(rig_n_sent(&rig), 0);
        assert_int_equal(raft_peer_view(rig.raft, 2).match, 0);
        rig_done(&rig);
}

static void leader_drops_votes_as_long_as_its_quorum_answers(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_lead(&rig);
        rig_receive(
                &rig,
                (struct raft_message){
                        .type = RAFT_VOTE, .from = 3, .term = 9, .log_index = 9, .log_term = 8 });
        assert_int_equal(raft_role(rig.raft), RAFT_LEADER);
        assert_int_equal(rig.effects.n, 0);
        rig_done(&rig);
}

static enum raft_refusal refusal_of(struct rig *rig, const struct raft_entry *commands, size_t n)
{
        rig_feed(rig, (struct raft_event){ .type = RAFT_EVENT_PROPOSE,
                                           .commands = commands,
                                           .n_commands = n,
                                           .context = 77 });
        assert_non_null(rig_effect(rig, RAFT_REFUSED));
        assert_int_equal(rig_effect(rig, RAFT_REFUSED)->refused, RAFT_EVENT_PROPOSE);
        assert_int_equal(rig_effect(rig, RAFT_REFUSED)->context, 77);
        assert_int_equal(rig->effects.n, 1);
        return rig_effect(rig, RAFT_REFUSED)->refusal;
}

static void bad_proposals_are_refused_as_a_whole(void **state)
{
        static const uint8_t bytes[RAFT_ENTRY_BYTES_MAX + 1];
        const struct raft_entry good = { .type = RAFT_ENTRY_COMMAND, .bytes = bytes, .n = 1 };
        struct raft_entry two[] = { good, good };
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        assert_int_equal(refusal_of(&rig, two, 2), RAFT_NOT_LEADER);
        rig_lead(&rig);
        assert_int_equal(refusal_of(&rig, two, 0), RAFT_BAD_COMMAND);
        two[1].n = sizeof(bytes);
        assert_int_equal(refusal_of(&rig, two, 2), RAFT_TOO_LARGE);
        two[1] = good;
        two[1].type = RAFT_ENTRY_MEMBERS;
        assert_int_equal(refusal_of(&rig, two, 2), RAFT_BAD_COMMAND);
        assert_int_equal(raft_index_last(rig.raft), 1);
        rig_done(&rig);
}

static void full_log_refuses_until_something_is_committed(void **state)
{
        struct rig rig;
        uint64_t n = 0;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 1 });
        rig_lead(&rig);
        for (unsigned round = 0; round < 3; round++) { /* the account does not drift */
                uint64_t n_round = 0;

                for (;; n_round++) {
                        rig_propose(&rig, 500 * 1024);
                        if (rig_effect(&rig, RAFT_REFUSED))
                                break;
                }
                assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->refusal, RAFT_LOG_FULL);
                assert_true(n == 0 || n == n_round);
                n = n_round;
                rig_persist(&rig);
        }
        assert_true(n >= 30);
        rig_done(&rig);
}

static void no_op_fits_into_a_full_log(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        rig_elect(&rig);
        do
                rig_propose(&rig, RAFT_ENTRY_BYTES_MAX);
        while (!rig_effect(&rig, RAFT_REFUSED));
        while (raft_role(rig.raft) == RAFT_LEADER)
                rig_timeout(&rig);
        rig_lead(&rig);
        assert_true(raft_is_ready(rig.raft));
        rig_propose(&rig, 1);
        assert_non_null(rig_effect(&rig, RAFT_PROPOSED));
        rig_done(&rig);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(new_leader_appends_and_sends_a_no_op),
                cmocka_unit_test(proposal_is_sent_and_persisted_in_one_step),
                cmocka_unit_test(commit_needs_a_quorum_of_disks_and_the_own_is_one_of_them),
                cmocka_unit_test(slow_disk_of_the_leader_does_not_stop_a_commit),
                cmocka_unit_test(quorum_of_an_even_group_is_more_than_half),
                cmocka_unit_test(commit_is_the_largest_index_that_a_quorum_holds),
                cmocka_unit_test(entry_of_an_old_term_is_not_committed_by_counting),
                cmocka_unit_test(commit_is_told_at_once_and_only_once),
                cmocka_unit_test(idle_leader_sends_one_append_a_heartbeat_to_each),
                cmocka_unit_test(rounds_rise_with_each_broadcast),
                cmocka_unit_test(probe_waits_for_its_answer),
                cmocka_unit_test(lost_probe_is_repeated_by_the_answer_to_a_heartbeat),
                cmocka_unit_test(rejected_probe_goes_back_to_the_hint),
                cmocka_unit_test(rejection_always_goes_strictly_back),
                cmocka_unit_test(rejection_that_does_not_answer_the_probe_is_ignored),
                cmocka_unit_test(rejection_at_or_below_match_is_stale),
                cmocka_unit_test(peer_whose_disk_has_lost_entries_gets_them_again),
                cmocka_unit_test(hint_below_match_does_not_lead_below_it),
                cmocka_unit_test(lost_append_heals_by_the_next_heartbeat),
                cmocka_unit_test(peer_that_drops_entries_is_sent_them_once_a_heartbeat),
                cmocka_unit_test(silent_peer_costs_one_empty_append_a_heartbeat),
                cmocka_unit_test(window_bounds_what_is_in_flight),
                cmocka_unit_test(bytes_bound_an_append_and_the_window),
                cmocka_unit_test(large_entry_travels_alone),
                cmocka_unit_test(acknowledgement_beyond_the_log_is_ignored),
                cmocka_unit_test(acknowledgement_of_an_earlier_term_is_ignored),
                cmocka_unit_test(match_never_falls),
                cmocka_unit_test(leader_without_answers_steps_down_and_falls_silent),
                cmocka_unit_test(quorum_is_counted_from_when_the_answered_message_was_sent),
                cmocka_unit_test(rejection_is_an_answer_to_check_quorum),
                cmocka_unit_test(higher_term_in_an_answer_ends_the_leadership),
                cmocka_unit_test(leader_drops_votes_as_long_as_its_quorum_answers),
                cmocka_unit_test(bad_proposals_are_refused_as_a_whole),
                cmocka_unit_test(full_log_refuses_until_something_is_committed),
                cmocka_unit_test(no_op_fits_into_a_full_log),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
