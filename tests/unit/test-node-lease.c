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
                while (r.n > 0) {
                        (void)reader_get_u64(&r);
                        bytes = reader_get_blob(&r, &size);
                        assert_false(r.failed);
                        if (store_command_peek(bytes, size) != STORE_RENEW)
                                continue;
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

/* Rule L1: what delays the answer does not lengthen the lease. */
static void validity_counts_from_the_stamp_and_not_from_the_answer(void **state)
{
        const struct bench_seen *hold;
        struct instant stamped;
        struct bench b;

        (void)state;
        start(&b);
        bench_lead(&b, 3);
        stamped = b.machines[1].node->services[0].holder.renew_at;
        bench_wait(&b, instant_until(stamped, b.now) - USEC_PER_MSEC);
        /* The leader hears the renewal, and is not heard for a while. */
        b.cut[3][1] = b.cut[3][2] = true;
        bench_forget(&b);
        bench_wait(&b, BENCH_HEARTBEAT);
        assert_null(bench_last(&b, 1, NODE_HOLD));
        b.cut[3][1] = b.cut[3][2] = false;
        bench_wait(&b, BENCH_HEARTBEAT);
        hold = bench_last(&b, 1, NODE_HOLD);
        assert_non_null(hold);
        assert_true(hold->at.usec >= stamped.usec + BENCH_HEARTBEAT - USEC_PER_MSEC);
        assert_int_equal(hold->effect.hold.valid_until.usec,
                         stamped.usec + b.services[0].chain.holder_valid);
        bench_done(&b);
}

/* A renewal of node 1 that is stamped now is accepted or refused, and it learns that @late. */
static void renewal_is_answered(struct bench *b, usec_t late, bool accepted)
{
        struct node_holder *h = &b->machines[1].node->services[0].holder;
        const struct store_outcome outcome = { .name = b->services[0].name,
                                               .epoch = h->epoch,
                                               .sequence = b->machines[1].node->sequence,
                                               .accepted = accepted };
        const struct store_result result = { .valid = true,
                                             .type = STORE_RENEW,
                                             .origin = { 1, b->machines[1].incarnation, 0 },
                                             .outcomes = &outcome,
                                             .n_outcomes = 1 };

        h->stamps[outcome.sequence % NODE_STAMPS_MAX] =
                (struct node_stamp){ outcome.sequence, b->machines[1].node->now };
        b->machines[1].node->now = instant_after(b->machines[1].node->now, late);
        node_lease_applied(b->machines[1].node, &result);
}

static void answer_within_the_validity_extends_from_the_stamp(void **state)
{
        struct instant stamped;
        struct bench b;

        (void)state;
        start(&b);
        bench_wait(&b, BENCH_RENEW / 2);
        bench_feed(&b, 1, (struct node_event){ .type = NODE_TIMEOUT });
        stamped = b.now;
        renewal_is_answered(&b, USEC_PER_SEC, true);
        assert_int_equal(b.machines[1].node->services[0].holder.valid_until.usec,
                         stamped.usec + b.services[0].chain.holder_valid);
        assert_int_equal(b.machines[1].node->services[0].holder.demote_at.usec,
                         stamped.usec + b.services[0].chain.demote);
        assert_int_equal(b.machines[1].node->services[0].holder.close_by.usec,
                         stamped.usec + b.services[0].chain.end);
        bench_done(&b);
}

/* Rule L12. */
static void answer_behind_the_validity_revives_nothing(void **state)
{
        struct instant valid_until;
        struct bench b;

        (void)state;
        start(&b);
        bench_wait(&b, BENCH_RENEW / 2);
        bench_feed(&b, 1, (struct node_event){ .type = NODE_TIMEOUT });
        valid_until = b.machines[1].node->services[0].holder.valid_until;
        bench_forget(&b);
        renewal_is_answered(&b, instant_until(valid_until, b.now), true);
        assert_true(b.machines[1].node->services[0].holder.over);
        assert_int_equal(b.machines[1].node->services[0].holder.valid_until.usec, valid_until.usec);
        b.now = valid_until;
        bench_feed(&b, 1, (struct node_event){ .type = NODE_TIMEOUT });
        assert_false(bench_view(&b, 1).holds);
        assert_int_equal(bench_count(&b, 1, NODE_HOLD), 0);
        bench_done(&b);
}

static void propose_for_the_operator(struct bench *b, enum store_command_type type)
{
        struct store_command c = { .type = type, .epoch = bench_lease(b, 3)->epoch };
        struct buffer command = { 0 }, message = { 0 };

        memcpy(c.service, b->services[0].name, sizeof(c.service));
        store_command_encode(&c, &command);
        buffer_put_u8(&message, NODE_MESSAGE_PROPOSE);
        buffer_put_u64(&message, 0);
        buffer_put_blob(&message, command.bytes, command.n);
        bench_message(b, 2, 3, message.bytes, message.n);
        buffer_done(&command);
        buffer_done(&message);
}

/* Rule L3. */
static void refused_renewal_ends_the_tenure(void **state)
{
        struct bench b;

        (void)state;
        start(&b);
        bench_feed(&b, 1, (struct node_event){ .type = NODE_TIMEOUT });
        assert_true(bench_view(&b, 1).holds);
        renewal_is_answered(&b, 0, false);
        assert_false(bench_view(&b, 1).holds);
        bench_forget(&b);
        bench_feed(&b, 1, (struct node_event){ .type = NODE_TIMEOUT });
        assert_true(bench_count(&b, 1, NODE_LET_GO) > 0); /* it closed, and gave the lease back */
        bench_done(&b);
}

/* Rule L8: the holder closes, and only its release frees the lease. */
static void closed_lease_is_given_back_by_its_holder(void **state)
{
        struct bench b;
        uint64_t epoch;

        (void)state;
        start(&b);
        bench_lead(&b, 3);
        epoch = bench_lease(&b, 3)->epoch;
        b.machines[1].mute_hands = true;
        bench_forget(&b);
        propose_for_the_operator(&b, STORE_CLOSE);
        assert_int_equal(bench_lease(&b, 3)->state, STORE_LEASE_CLOSING);
        assert_false(bench_view(&b, 1).holds);
        assert_int_equal(bench_last(&b, 1, NODE_RUN)->effect.run.step,
                         FAILOVER_STEP_ADDRESS_REMOVE);
        bench_wait(&b, BENCH_RENEW);
        assert_int_equal(bench_lease(&b, 3)->state, STORE_LEASE_CLOSING);
        bench_feed(&b, 1,
                   (struct node_event){ .type = NODE_HANDS_DONE,
                                        .id = bench_last(&b, 1, NODE_RUN)->effect.run.id,
                                        .ok = true });
        bench_wait(&b, BENCH_TTL);
        assert_true(bench_lease(&b, 3)->epoch > epoch);
        bench_done(&b);
}

/* Rule L7: the release leaves behind the last step of the closing, and that epoch stays dead. */
static void lease_is_released_when_all_is_closed_and_never_acted_on_again(void **state)
{
        const struct bench_seen *run;
        struct bench b;
        uint64_t epoch;

        (void)state;
        start(&b);
        bench_lead(&b, 3);
        epoch = bench_lease(&b, 3)->epoch;
        b.machines[1].mute_hands = true;
        bench_forget(&b);
        bench_order(&b, 1, NODE_ORDER_SWITCHOVER, 2);
        run = bench_last(&b, 1, NODE_RUN);
        assert_non_null(run);
        assert_int_equal(run->effect.run.step, FAILOVER_STEP_ADDRESS_REMOVE);
        bench_wait(&b, BENCH_RENEW);
        assert_int_equal(bench_count(&b, 1, NODE_LET_GO), 0);
        assert_int_equal(bench_lease(&b, 3)->state, STORE_LEASE_HELD);
        /* The release is lost, but the epoch is over all the same. */
        b.drop_proposals = true;
        bench_feed(&b, 1,
                   (struct node_event){
                           .type = NODE_HANDS_DONE, .id = run->effect.run.id, .ok = true });
        assert_int_equal(bench_count(&b, 1, NODE_LET_GO), 1);
        assert_int_equal(bench_last(&b, 1, NODE_LET_GO)->effect.epoch, epoch);
        assert_int_equal(bench_lease(&b, 3)->state, STORE_LEASE_HELD);
        bench_forget(&b);
        bench_wait(&b, 150 * USEC_PER_MSEC);
        assert_false(bench_view(&b, 1).holds);
        assert_int_equal(bench_count(&b, 1, NODE_HOLD), 0);
        b.drop_proposals = false;
        bench_wait(&b, BENCH_RENEW);
        assert_int_equal(bench_lease(&b, 3)->holder, 2);
        assert_int_equal(bench_view(&b, 2).state, FAILOVER_MASTER);
        bench_done(&b);
}

/* Rule L10. */
static void restart_without_a_hold_has_no_validity(void **state)
{
        struct bench b;

        (void)state;
        start(&b);
        bench_lead(&b, 3);
        bench_stop(&b, 1);
        b.machines[1].held[0] = false;
        bench_forget(&b);
        bench_run(&b, 1, true);
        for (unsigned i = 0; i < 20; i++) {
                struct node_service_view view = bench_view(&b, 1);

                assert_false(view.holds && view.epoch == bench_lease(&b, 3)->epoch &&
                             bench_lease(&b, 3)->incarnation != b.machines[1].incarnation);
                bench_wait(&b, BENCH_HEARTBEAT / 2);
        }
        for (size_t i = 0; i < b.n_seen; i++) {
                const struct bench_seen *s = &b.seen[i];

                if (s->node == 1 && s->effect.type == NODE_RUN) {
                        assert_int_equal(s->effect.run.step, FAILOVER_STEP_ADDRESS_REMOVE);
                        break;
                }
        }
        bench_done(&b);
}

static void adoption_keeps_the_deadlines_until_this_process_is_confirmed(void **state)
{
        struct instant close_by, demote_at;
        struct bench b;
        uint64_t epoch;

        (void)state;
        start(&b);
        bench_lead(&b, 3);
        epoch = bench_view(&b, 1).epoch;
        bench_stop(&b, 1);
        close_by = b.machines[1].holds[0].close_by;
        demote_at = b.machines[1].holds[0].demote_at;
        bench_isolate(&b, 1, true);
        bench_forget(&b);
        bench_run(&b, 1, true);
        bench_wait(&b, USEC_PER_SEC);
        assert_true(bench_view(&b, 1).holds);
        assert_int_equal(bench_view(&b, 1).valid_until.usec, close_by.usec);
        assert_int_equal(b.machines[1].node->services[0].holder.demote_at.usec, demote_at.usec);
        assert_int_equal(bench_count(&b, 1, NODE_HOLD), 0);
        bench_isolate(&b, 1, false);
        bench_wait(&b, USEC_PER_SEC);
        assert_true(bench_count(&b, 1, NODE_HOLD) > 0);
        assert_int_equal(bench_last(&b, 1, NODE_HOLD)->effect.hold.incarnation,
                         b.machines[1].incarnation);
        assert_int_equal(bench_last(&b, 1, NODE_HOLD)->effect.epoch, epoch);
        assert_int_equal(bench_view(&b, 1).state, FAILOVER_MASTER);
        bench_done(&b);
}

static void adopted_lease_that_nobody_confirms_ends_with_its_deadline(void **state)
{
        struct bench b;

        (void)state;
        start(&b);
        bench_stop(&b, 1);
        bench_isolate(&b, 1, true);
        bench_forget(&b);
        bench_run(&b, 1, true);
        bench_wait(&b, instant_until(b.machines[1].holds[0].close_by, b.now));
        assert_false(bench_view(&b, 1).holds);
        assert_int_equal(bench_count(&b, 1, NODE_HOLD), 0);
        assert_int_equal(bench_count_notes(&b, 1, NODE_NOTE_LEASE_RAN_OUT), 1);
        bench_done(&b);
}

/* The log of the past says that this node is master, or that the lease is free: neither is now. */
static void node_that_has_not_caught_up_decides_nothing(void **state)
{
        struct bench b;

        (void)state;
        start(&b);
        bench_lead(&b, 3);
        bench_stop(&b, 2);
        bench_isolate(&b, 2, true);
        bench_forget(&b);
        bench_run(&b, 2, false);
        bench_wait(&b, 2 * BENCH_TTL);
        assert_false(node_is_current(b.machines[2].node));
        assert_int_equal(bench_view(&b, 2).state, FAILOVER_STANDBY);
        assert_int_equal(bench_count(&b, 2, NODE_RUN), 0);
        assert_int_equal(bench_count_notes(&b, 2, NODE_NOTE_LEASE_GRANTED), 0);
        assert_string_equal(bench_answer(&b, bench_order(&b, 2, NODE_ORDER_SWITCHOVER, 1))->text,
                            "this node has not caught up with the cluster yet");
        bench_isolate(&b, 2, false);
        bench_wait(&b, USEC_PER_SEC);
        assert_true(node_is_current(b.machines[2].node));
        bench_done(&b);
}

static void steps_of_two_processes_never_have_one_id(void **state)
{
        struct bench b;
        uint64_t before;

        (void)state;
        start(&b);
        before = bench_last(&b, 1, NODE_RUN)->effect.run.id;
        bench_stop(&b, 1);
        bench_forget(&b);
        bench_run(&b, 1, true);
        bench_wait(&b, USEC_PER_SEC);
        assert_true(bench_last(&b, 1, NODE_RUN)->effect.run.id > before + 1000);
        bench_done(&b);
}

static void lone_voter_without_resources_is_master_at_once_and_rests(void **state)
{
        struct bench b;

        (void)state;
        bench_start(&b,
                    &(struct bench_setup){ .n_nodes = 1, .n_candidates = 1, .no_resources = true });
        bench_master(&b, 1);
        bench_forget(&b);
        bench_wait(&b, 2 * BENCH_TTL);
        assert_int_equal(bench_view(&b, 1).state, FAILOVER_MASTER);
        bench_done(&b);
}

/* With no time to hold it, a lease would be taken and given back for ever within one step. */
static void lease_without_room_for_a_demotion_does_not_hang_the_node(void **state)
{
        struct node_effects effects;
        uint64_t generation = 0;
        struct bench b;

        (void)state;
        bench_start(&b,
                    &(struct bench_setup){ .n_nodes = 1, .n_candidates = 1, .no_resources = true });
        b.services[0].chain.demote = 0;
        bench_stop(&b, 1);
        bench_run(&b, 1, false);
        for (unsigned i = 0; i < 200; i++) {
                struct node_event event = { .type = NODE_TIMEOUT, .now = b.now };

                if (generation > 0) {
                        event.type = NODE_PERSISTED;
                        event.generation = generation;
                        generation = 0;
                }
                node_step(b.machines[1].node, &event, &effects);
                assert_true(effects.n < 1000);
                for (size_t k = 0; k < effects.n; k++) {
                        if (effects.list[k].type == NODE_PERSIST)
                                generation = effects.list[k].persist.generation;
                }
                b.now = instant_after(b.now, BENCH_HEARTBEAT);
        }
        assert_true(bench_lease(&b, 1)->epoch > 0);
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
                cmocka_unit_test(validity_counts_from_the_stamp_and_not_from_the_answer),
                cmocka_unit_test(answer_within_the_validity_extends_from_the_stamp),
                cmocka_unit_test(answer_behind_the_validity_revives_nothing),
                cmocka_unit_test(refused_renewal_ends_the_tenure),
                cmocka_unit_test(closed_lease_is_given_back_by_its_holder),
                cmocka_unit_test(lease_is_released_when_all_is_closed_and_never_acted_on_again),
                cmocka_unit_test(restart_without_a_hold_has_no_validity),
                cmocka_unit_test(adoption_keeps_the_deadlines_until_this_process_is_confirmed),
                cmocka_unit_test(adopted_lease_that_nobody_confirms_ends_with_its_deadline),
                cmocka_unit_test(node_that_has_not_caught_up_decides_nothing),
                cmocka_unit_test(steps_of_two_processes_never_have_one_id),
                cmocka_unit_test(lone_voter_without_resources_is_master_at_once_and_rests),
                cmocka_unit_test(lease_without_room_for_a_demotion_does_not_hang_the_node),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
