/* A service from its first master to a hand-over, and what an operator may and may not order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/node-rig.h"

#define LSN 5000

static void say_status(struct bench *b, node_id node)
{
        bench_feed(b, node, (struct node_event){ .type = NODE_HANDS_STATUS });
}

/* Two databases, of which node 1 is made the first master. */
static void start_databases(struct bench *b)
{
        bench_start(b, &(struct bench_setup){ .has_database = true });
        bench_lead(b, 3);
        for (node_id id = 1; id <= 2; id++) {
                b->machines[id].status = (struct node_database_status){
                        .state = FAILOVER_DATABASE_RUNNING,
                        .role = FAILOVER_ROLE_STANDBY,
                        .healthy = true,
                        .position = { .system_id = 7, .timeline = 1, .lsn = LSN },
                };
                say_status(b, id);
        }
        (void)bench_order(b, 1, NODE_ORDER_BOOTSTRAP, NODE_NOBODY);
        bench_master(b, 1);
        bench_wait(b, 2 * USEC_PER_SEC);
        assert_true(b->machines[2].status.streaming);
}

static const char *refusal(struct bench *b, node_id node, enum node_order order, node_id target)
{
        const struct bench_seen *answer = bench_answer(b, bench_order(b, node, order, target));

        assert_non_null(answer);
        assert_int_equal(answer->effect.outcome, NODE_REFUSED);
        return answer->text;
}

/* The value of a system key of the service as node 3 has it. */
static const char *system_value(struct bench *b, const char *path)
{
        const struct store_node *node;

        if (store_get(node_store(b->machines[3].node), path, &node) != STORE_OK)
                return "";
        return store_node_view(node).value;
}

static void first_master_is_made_by_the_operator_and_followed(void **state)
{
        struct bench b;

        (void)state;
        bench_start(&b, &(struct bench_setup){ .has_database = true });
        bench_lead(&b, 3);
        bench_wait(&b, 2 * BENCH_TTL);
        assert_null(bench_lease(&b, 3));
        bench_done(&b);

        start_databases(&b);
        assert_int_equal(bench_lease(&b, 3)->holder, 1);
        assert_int_equal(b.machines[2].status.upstream, 1);
        bench_done(&b);
}

static void switchover_hands_the_lease_over_and_back(void **state)
{
        uint64_t epoch, request;
        struct bench b;

        (void)state;
        start_databases(&b);
        for (node_id target = 2; target > 0; target--) {
                epoch = bench_lease(&b, 3)->epoch;
                bench_forget(&b);
                request = bench_order(&b, 3, NODE_ORDER_SWITCHOVER, target);
                assert_int_equal(bench_answer(&b, request)->effect.outcome, NODE_OK);
                bench_wait(&b, USEC_PER_SEC);
                assert_int_equal(bench_lease(&b, 3)->holder, target);
                assert_true(bench_lease(&b, 3)->epoch > epoch);
                assert_int_equal(bench_view(&b, target).state, FAILOVER_MASTER);
                assert_int_equal(bench_view(&b, (node_id)(3 - target)).state, FAILOVER_STANDBY);
                assert_int_equal(bench_count_notes(&b, 3, NODE_NOTE_LEASE_EXPIRED), 0);
                assert_string_equal(system_value(&b, "/_failoverd/order/service0"), "");
                assert_non_null(
                        strstr(system_value(&b, "/_failoverd/result/service0"), " ok done"));
                bench_wait(&b, 2 * USEC_PER_SEC); /* the old master follows */
        }
        bench_done(&b);
}

/* Between the last write of the one and the promotion of the other, the closing is complete. */
static void old_master_has_closed_before_the_new_one_is_promoted(void **state)
{
        bool closed = false, released = false;
        struct bench b;

        (void)state;
        start_databases(&b);
        bench_forget(&b);
        (void)bench_order(&b, 1, NODE_ORDER_SWITCHOVER, 2);
        bench_wait(&b, USEC_PER_SEC);
        for (size_t i = 0; i < b.n_seen; i++) {
                const struct node_effect *e = &b.seen[i].effect;

                if (e->type == NODE_NOTE && e->note.type == NODE_NOTE_STEP_ENDED &&
                    b.seen[i].node == 1 && e->note.step == FAILOVER_STEP_DEMOTE)
                        closed = true;
                if (e->type == NODE_LET_GO && b.seen[i].node == 1) {
                        assert_true(closed);
                        released = true;
                }
                if (e->type == NODE_RUN && b.seen[i].node == 2 &&
                    e->run.step == FAILOVER_STEP_PROMOTE)
                        assert_true(released);
        }
        assert_true(released);
        bench_done(&b);
}

static void orders_that_cannot_be_are_refused_with_their_reason(void **state)
{
        struct bench b;

        (void)state;
        bench_start(&b, &(struct bench_setup){ .has_database = true });
        bench_lead(&b, 3);
        assert_string_equal(refusal(&b, 1, NODE_ORDER_SWITCHOVER, 2),
                            "the service never had a master: bootstrap it first");
        assert_string_equal(refusal(&b, 1, NODE_ORDER_CLONE, NODE_NOBODY),
                            "no other node is master: there is nothing to copy");
        assert_string_equal(refusal(&b, 3, NODE_ORDER_BOOTSTRAP, NODE_NOBODY),
                            "this node has no database of that service");
        bench_done(&b);

        start_databases(&b);
        assert_string_equal(refusal(&b, 2, NODE_ORDER_BOOTSTRAP, NODE_NOBODY),
                            "the service has had a master already");
        assert_string_equal(refusal(&b, 1, NODE_ORDER_CLONE, NODE_NOBODY),
                            "this node is busy with a change of master");
        assert_string_equal(refusal(&b, 1, NODE_ORDER_SWITCHOVER, 3),
                            "no member of this service has that name");
        assert_string_equal(refusal(&b, 1, NODE_ORDER_FAILOVER, 200),
                            "no member of this service has that name");
        bench_done(&b);
}

static void order_that_the_master_refuses_does_not_stand_in_the_way_of_the_next(void **state)
{
        struct bench b;

        (void)state;
        start_databases(&b);
        b.machines[2].status.healthy = false;
        say_status(&b, 2);
        (void)bench_order(&b, 1, NODE_ORDER_SWITCHOVER, 2);
        bench_wait(&b, BENCH_RENEW);
        assert_non_null(strstr(system_value(&b, "/_failoverd/result/service0"), "not healthy"));
        assert_string_equal(system_value(&b, "/_failoverd/order/service0"), "");
        b.machines[2].status.healthy = true;
        say_status(&b, 2);
        (void)bench_order(&b, 1, NODE_ORDER_SWITCHOVER, 2);
        bench_wait(&b, USEC_PER_SEC);
        assert_int_equal(bench_lease(&b, 3)->holder, 2);
        bench_done(&b);
}

static void dead_master_is_replaced_and_rejoins(void **state)
{
        struct bench b;

        (void)state;
        start_databases(&b);
        bench_isolate(&b, 1, true);
        bench_wait(&b, BENCH_TTL + USEC_PER_SEC);
        assert_int_equal(bench_view(&b, 2).state, FAILOVER_MASTER);
        assert_int_equal(bench_view(&b, 1).state, FAILOVER_RELEASING);
        assert_int_equal(b.machines[1].status.state, FAILOVER_DATABASE_DOWN);
        bench_isolate(&b, 1, false);
        bench_wait(&b, 3 * USEC_PER_SEC);
        assert_int_equal(bench_view(&b, 1).state, FAILOVER_STANDBY);
        assert_true(b.machines[1].status.streaming);
        assert_int_equal(b.machines[1].status.upstream, 2);
        bench_done(&b);
}

static void paused_service_is_not_taken_over(void **state)
{
        struct bench b;

        (void)state;
        start_databases(&b);
        (void)bench_order(&b, 3, NODE_ORDER_PAUSE, NODE_NOBODY);
        bench_isolate(&b, 1, true);
        bench_wait(&b, 2 * BENCH_TTL);
        assert_int_equal(bench_lease(&b, 3)->state, STORE_LEASE_FREE);
        (void)bench_order(&b, 3, NODE_ORDER_RESUME, NODE_NOBODY);
        bench_wait(&b, BENCH_TTL);
        assert_int_equal(bench_lease(&b, 3)->holder, 2);
        bench_done(&b);
}

static void manual_service_waits_for_the_operator(void **state)
{
        struct bench b;

        (void)state;
        bench_start(&b, &(struct bench_setup){ .manual = true });
        bench_lead(&b, 3);
        bench_wait(&b, BENCH_TTL);
        assert_null(bench_lease(&b, 3));
        bench_done(&b);
}

static void database_that_fails_moves_within_its_lease(void **state)
{
        struct bench b;

        (void)state;
        start_databases(&b);
        b.machines[1].status.state = FAILOVER_DATABASE_CRASHED;
        b.machines[1].status.writable = false;
        say_status(&b, 1);
        bench_wait(&b, BENCH_RENEW);
        assert_int_equal(bench_view(&b, 2).state, FAILOVER_MASTER);
        bench_done(&b);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(first_master_is_made_by_the_operator_and_followed),
                cmocka_unit_test(switchover_hands_the_lease_over_and_back),
                cmocka_unit_test(old_master_has_closed_before_the_new_one_is_promoted),
                cmocka_unit_test(orders_that_cannot_be_are_refused_with_their_reason),
                cmocka_unit_test(
                        order_that_the_master_refuses_does_not_stand_in_the_way_of_the_next),
                cmocka_unit_test(dead_master_is_replaced_and_rejoins),
                cmocka_unit_test(paused_service_is_not_taken_over),
                cmocka_unit_test(manual_service_waits_for_the_operator),
                cmocka_unit_test(database_that_fails_moves_within_its_lease),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
