/* The holder's side of a lease, and what the hands say of it, by the rules L1 to L12. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "election/base/memory.h"
#include "tests/lib/node-rig.h"

static void start(struct bench *b)
{
        bench_start(b, &(struct bench_setup){ 0 });
        bench_master(b, 1);
}

static void closing_of_an_earlier_tenure_does_not_end_this_one(void **state)
{
        struct bench b;

        (void)state;
        start(&b);
        bench_forget(&b);
        bench_feed(&b, 1,
                   (struct node_event){ .type = NODE_HANDS_CLOSED,
                                        .epoch = bench_view(&b, 1).epoch - 1,
                                        .ok = true });
        assert_int_equal(bench_view(&b, 1).state, FAILOVER_MASTER);
        assert_int_equal(bench_count(&b, 1, NODE_LET_GO), 0);
        assert_int_equal(bench_lease(&b, 3)->state, STORE_LEASE_HELD);
        bench_done(&b);
}

/* Silence is counted from a hold that is not confirmed: without holds there is nothing to confirm. */
static void renewals_go_on_after_an_outage_of_the_log(void **state)
{
        struct bench b;
        uint64_t epoch;

        (void)state;
        start(&b);
        bench_lead(&b, 3);
        epoch = bench_lease(&b, 3)->epoch;
        bench_isolate(&b, 3, true);
        b.cut[1][2] = b.cut[2][1] = true;
        bench_wait(&b, 1500 * USEC_PER_MSEC);
        b.cut[1][2] = b.cut[2][1] = false;
        bench_isolate(&b, 3, false);
        bench_wait(&b, 2 * BENCH_TTL);
        assert_int_equal(bench_lease(&b, 3)->epoch, epoch);
        assert_int_equal(bench_lease(&b, 3)->state, STORE_LEASE_HELD);
        bench_done(&b);
}

static void silent_hands_end_the_renewals(void **state)
{
        struct bench b;
        uint64_t epoch;

        (void)state;
        start(&b);
        epoch = bench_lease(&b, 3)->epoch;
        b.machines[1].no_acks = true;
        bench_wait(&b, 2 * BENCH_TTL);
        assert_int_not_equal(bench_lease(&b, 3)->epoch, epoch);
        bench_done(&b);
}

static void process_that_restarts_twice_within_a_hold_keeps_the_lease(void **state)
{
        struct bench b;
        uint64_t epoch;

        (void)state;
        start(&b);
        epoch = bench_view(&b, 1).epoch;
        bench_stop(&b, 1);
        /* The second process renews, but its hands never hear of it. */
        b.machines[1].mute_hands = true;
        bench_run(&b, 1, true);
        bench_wait(&b, 500 * USEC_PER_MSEC);
        assert_int_equal(bench_lease(&b, 3)->incarnation, b.machines[1].incarnation);
        bench_stop(&b, 1);
        b.machines[1].mute_hands = false;
        bench_run(&b, 1, true);
        bench_forget(&b);
        bench_wait(&b, 2 * BENCH_TTL);
        assert_int_equal(bench_view(&b, 1).state, FAILOVER_MASTER);
        assert_int_equal(bench_view(&b, 1).epoch, epoch);
        assert_int_equal(bench_count(&b, 1, NODE_LET_GO), 0);
        bench_done(&b);
}

/* The renewals that @node has asked its leader to propose. */
static size_t collect_renewals(struct bench *b, node_id node, struct store_command *ret, size_t max)
{
        size_t n = 0;

        for (size_t i = 0; i < b->n_seen; i++) {
                const struct bench_seen *s = &b->seen[i];
                struct reader r;
                const uint8_t *bytes;
                size_t size;

                if (s->node != node || s->effect.type != NODE_SEND || !s->bytes)
                        continue;
                r = reader_of(s->bytes, s->effect.n);
                if (reader_get_u8(&r) != NODE_MESSAGE_PROPOSE)
                        continue;
                (void)reader_get_u64(&r);
                bytes = reader_get_blob(&r, &size);
                if (store_command_peek(bytes, size) == STORE_RENEW) {
                        assert_true(n < max);
                        assert_int_equal(store_command_decode(bytes, size, &ret[n++]), 0);
                }
        }
        return n;
}

/* A renewal names one earlier process: leases of two of them cannot travel in one entry. */
static void adopted_leases_of_different_processes_are_renewed_apart(void **state)
{
        struct store_command commands[4];
        struct bench b;
        bool named[2] = { false };
        size_t n;

        (void)state;
        bench_start(&b, &(struct bench_setup){ .n_services = 2 });
        bench_lead(&b, 3);
        bench_stop(&b, 1);
        for (size_t i = 0; i < 2; i++) {
                b.machines[1].held[i] = true;
                b.machines[1].holds[i] = (struct node_adopted){
                        .service = i,
                        .epoch = 5 + i,
                        .incarnation = 70 + i,
                        .demote_at = instant_after(b.now, USEC_PER_SEC),
                        .close_by = instant_after(b.now, 2 * USEC_PER_SEC),
                };
        }
        bench_forget(&b);
        bench_run(&b, 1, true);
        bench_wait(&b, BENCH_HEARTBEAT);
        n = collect_renewals(&b, 1, commands, 4);
        for (size_t i = 0; i < n; i++) {
                for (size_t k = 0; k < commands[i].n; k++) {
                        uint64_t epoch = commands[i].renewals[k].epoch;

                        if (epoch > 6)
                                continue; /* granted afterwards, to this very process */
                        assert_int_equal(commands[i].old_incarnation, 70 + epoch - 5);
                        named[epoch - 5] = true;
                }
                store_command_done(&commands[i]);
        }
        assert_true(named[0] && named[1]);
        bench_done(&b);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(closing_of_an_earlier_tenure_does_not_end_this_one),
                cmocka_unit_test(renewals_go_on_after_an_outage_of_the_log),
                cmocka_unit_test(silent_hands_end_the_renewals),
                cmocka_unit_test(process_that_restarts_twice_within_a_hold_keeps_the_lease),
                cmocka_unit_test(adopted_leases_of_different_processes_are_renewed_apart),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
