/* What a leader knows of how soon its peers answer, and how many appends came and went. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/raft-rig.h"

enum {
        MSEC = 1000,
};

static void lead(struct rig *rig)
{
        rig_start(rig, &(struct rig_setup){ .n_voters = 3, .term = 1 });
        rig_lead(rig);
}

/* A heartbeat that 2 answers after @took. */
static void beat(struct rig *rig, usec_t took)
{
        rig_timeout(rig);
        rig_wait(rig, took);
        rig_acknowledge(rig, 2, 1);
        rig_acknowledge(rig, 3, 1);
}

static void time_of_each_round_is_taken_once(void **state)
{
        struct raft_latency before, l;
        struct rig rig;

        (void)state;
        lead(&rig);
        before = raft_peer_latency(rig.raft, 2);
        beat(&rig, 3 * MSEC);
        rig_acknowledge(&rig, 2, 1); /* comes again, later */
        l = raft_peer_latency(rig.raft, 2);
        assert_int_equal(l.n, before.n + 1);
        assert_int_equal(l.n_answers, before.n_answers + 2);
        assert_int_equal(l.current, 3 * MSEC);
        assert_int_equal(l.longest, 3 * MSEC);
        rig_done(&rig);
}

static void average_and_spread_are_those_of_all_times(void **state)
{
        static const usec_t times[] = { 0,        2 * MSEC, 4 * MSEC, 4 * MSEC,
                                        5 * MSEC, 5 * MSEC, 7 * MSEC, 9 * MSEC };
        struct raft_latency l;
        struct rig rig;
        double sum = 0, squares = 0;
        unsigned n;

        (void)state;
        lead(&rig);
        l = raft_peer_latency(rig.raft, 2); /* of the election: all at once */
        assert_int_equal(l.longest, 0);
        n = (unsigned)l.n;
        for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++, n++) {
                beat(&rig, times[i]);
                sum += (double)times[i];
                squares += (double)times[i] * (double)times[i];
        }
        l = raft_peer_latency(rig.raft, 2);
        assert_int_equal(l.n, n);
        assert_int_equal(l.shortest, 0);
        assert_int_equal(l.longest, 9 * MSEC);
        assert_int_equal(l.current, 9 * MSEC);
        assert_float_equal((float)l.average, (float)(sum / n), 0.01F);
        assert_float_equal((float)l.squares, (float)(squares - sum * sum / n), 100);
        rig_done(&rig);
}

static void silence_is_counted_as_failure_and_not_as_a_time(void **state)
{
        struct raft_latency l;
        struct rig rig;

        (void)state;
        lead(&rig);
        for (unsigned i = 0; i < 2 * RIG_ELECTION / RIG_HEARTBEAT + 1; i++) {
                rig_timeout(&rig);
                rig_acknowledge(&rig, 2, 1);
        }
        l = raft_peer_latency(rig.raft, 3);
        assert_int_equal(l.n_failures, 2);
        assert_int_equal(l.longest, 0);
        assert_int_equal(raft_peer_latency(rig.raft, 2).n_failures, 0);
        rig_done(&rig);
}

static void only_a_leader_knows_latencies(void **state)
{
        struct rig rig;

        (void)state;
        lead(&rig);
        assert_true(raft_peer_latency(rig.raft, 2).n_answers > 0);
        assert_int_equal(raft_peer_latency(rig.raft, RIG_SELF).n_answers, 0);
        assert_int_equal(raft_peer_latency(rig.raft, 4).n_answers, 0);
        rig_append(&rig, (struct raft_message){ .from = 2, .term = raft_term(rig.raft) + 1 },
                   (uint64_t[]){ 0 });
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        assert_int_equal(raft_peer_latency(rig.raft, 2).n_answers, 0);
        rig_done(&rig);
}

static void appends_are_counted_in_both_directions(void **state)
{
        struct raft_traffic before, after;
        struct rig rig;

        (void)state;
        lead(&rig);
        before = raft_traffic(rig.raft);
        assert_int_equal(before.n_received, 0);
        rig_propose(&rig, 10);
        after = raft_traffic(rig.raft);
        assert_int_equal(after.n_sent, before.n_sent + 2);
        rig_append(&rig, (struct raft_message){ .from = 2, .term = raft_term(rig.raft) + 1 },
                   (uint64_t[]){ 0 });
        assert_int_equal(raft_traffic(rig.raft).n_received, 1);
        assert_int_equal(raft_traffic(rig.raft).n_sent, after.n_sent);
        rig_append(&rig, (struct raft_message){ .from = 3, .term = 1 }, (uint64_t[]){ 0 });
        assert_int_equal(raft_traffic(rig.raft).n_received, 1); /* of a leader of the past */
        rig_done(&rig);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(time_of_each_round_is_taken_once),
                cmocka_unit_test(average_and_spread_are_those_of_all_times),
                cmocka_unit_test(silence_is_counted_as_failure_and_not_as_a_time),
                cmocka_unit_test(only_a_leader_knows_latencies),
                cmocka_unit_test(appends_are_counted_in_both_directions),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
