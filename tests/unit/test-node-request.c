/* Clients' requests: answered once, each with its own answer, whatever else the step brings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "election/base/memory.h"
#include "tests/lib/node-rig.h"

static struct store_key_command set(const char *path, const char *value)
{
        return (struct store_key_command){ .action = STORE_SET, .path = path, .value = value };
}

static struct store_key_command swap(const char *path, const char *value, const char *previous)
{
        struct store_key_command key = set(path, value);

        key.previous_value = previous;
        return key;
}

static uint64_t write_swap(struct bench *b, node_id node, const char *value, const char *previous)
{
        const struct store_key_command key = swap("/a", value, previous);

        return bench_write(b, node, &key);
}

static uint64_t write_set(struct bench *b, node_id node, const char *value)
{
        const struct store_key_command key = set("/a", value);

        return bench_write(b, node, &key);
}

static void answers_of_one_step_are_told_apart(void **state)
{
        struct bench b;
        uint64_t failed[2], done;

        (void)state;
        bench_start(&b, &(struct bench_setup){ 0 });
        bench_lead(&b, 1);
        (void)write_set(&b, 1, "old");
        bench_isolate(&b, 1, true); /* all three are committed together, later */
        failed[0] = write_swap(&b, 1, "x", "p");
        done = write_set(&b, 1, "new");
        failed[1] = write_swap(&b, 1, "x", "qqq");
        assert_null(bench_answer(&b, failed[0]));
        bench_isolate(&b, 1, false);
        bench_wait(&b, 2 * BENCH_HEARTBEAT);
        assert_int_equal(bench_answer(&b, failed[0])->error, STORE_TEST_FAILED);
        assert_string_equal(bench_answer(&b, failed[0])->text, "[p != old]");
        assert_int_equal(bench_answer(&b, done)->error, STORE_OK);
        assert_string_equal(bench_answer(&b, done)->value, "new");
        assert_string_equal(bench_answer(&b, failed[1])->text, "[qqq != new]");
        bench_done(&b);
}

static void command_beyond_what_the_log_takes_is_refused_at_once(void **state)
{
        char *large = must_alloc(STORE_VALUE_BYTES_MAX + 1, 1);
        struct bench b;
        uint64_t request;

        (void)state;
        bench_start(&b, &(struct bench_setup){ 0 });
        bench_lead(&b, 1);
        memset(large, 'x', STORE_VALUE_BYTES_MAX);
        request = write_swap(&b, 2, large, large);
        assert_non_null(bench_answer(&b, request));
        assert_int_equal(bench_answer(&b, request)->effect.outcome, NODE_REFUSED);
        free(large);
        bench_done(&b);
}

/* A batch is refused as a whole: one bad command of a member must not take others with it. */
static void oversized_proposal_of_a_member_is_refused_alone(void **state)
{
        uint8_t *large = must_alloc(RAFT_ENTRY_BYTES_MAX + 1, 1);
        struct buffer message = { 0 };
        struct bench b;

        (void)state;
        bench_start(&b, &(struct bench_setup){ 0 });
        bench_lead(&b, 1);
        buffer_put_u8(&message, NODE_MESSAGE_PROPOSE);
        buffer_put_u64(&message, 77);
        buffer_put_blob(&message, large, RAFT_ENTRY_BYTES_MAX + 1);
        bench_forget(&b);
        bench_message(&b, 2, 1, message.bytes, message.n);
        assert_int_equal(bench_count_notes(&b, 1, NODE_NOTE_BAD_MESSAGE), 1);
        assert_int_equal(bench_count(&b, 1, NODE_SEND), 0);
        buffer_done(&message);
        free(large);
        bench_done(&b);
}

static bool is_of_type(const struct bench_seen *s, node_id node, uint8_t type)
{
        return s->node == node && s->effect.type == NODE_SEND && s->bytes[0] == type;
}

static size_t count_messages(const struct bench *b, node_id node, uint8_t type)
{
        size_t n = 0;

        for (size_t i = 0; i < b->n_seen; i++)
                n += is_of_type(&b->seen[i], node, type);
        return n;
}

static void feed_some_at_once(struct bench *b, node_id node, unsigned n)
{
        const struct store_key_command key = set("/a", "x");

        for (unsigned i = 0; i < n; i++) {
                bench_feed(b, node,
                           (struct node_event){ .type = NODE_WRITE,
                                                .more = true,
                                                .request = ++b->request,
                                                .key = &key });
                bench_feed(b, node,
                           (struct node_event){
                                   .type = NODE_READ, .more = true, .request = ++b->request });
        }
}

static void requests_that_come_at_once_travel_together(void **state)
{
        struct bench b;

        (void)state;
        bench_start(&b, &(struct bench_setup){ .no_resources = true });
        bench_lead(&b, 1);
        bench_forget(&b);
        feed_some_at_once(&b, 2, 20);
        assert_int_equal(bench_count(&b, 2, NODE_SEND), 0);
        assert_true(instant_reached(node_deadline(b.machines[2].node), bench_clock(&b, 2)));
        bench_feed(&b, 2, (struct node_event){ .type = NODE_TIMEOUT });
        assert_int_equal(b.n_answered, 40);
        assert_int_equal(count_messages(&b, 2, NODE_MESSAGE_PROPOSE), 1);
        assert_int_equal(count_messages(&b, 2, NODE_MESSAGE_READ), 1);
        assert_int_equal(bench_count(&b, 1, NODE_PERSIST), 1);
        bench_done(&b);
}

static void batch_does_not_wait_for_an_end_of_the_stream(void **state)
{
        struct bench b;

        (void)state;
        bench_start(&b, &(struct bench_setup){ .no_resources = true });
        bench_lead(&b, 1);
        bench_forget(&b);
        feed_some_at_once(&b, 1, 1);
        assert_int_equal(b.n_answered, 0);
        b.now = instant_after(b.now, NODE_HOLD_USEC);
        feed_some_at_once(&b, 1, 1);
        assert_int_equal(b.n_answered, 3); /* the last read waits anew */
        bench_done(&b);
}

static void large_requests_do_not_wait_for_others(void **state)
{
        char *large = must_alloc(RAFT_APPEND_BYTES_MAX + 1, 1);
        struct store_key_command key = set("/a", large);
        struct bench b;

        (void)state;
        bench_start(&b, &(struct bench_setup){ .no_resources = true });
        bench_lead(&b, 1);
        bench_forget(&b);
        memset(large, 'x', RAFT_APPEND_BYTES_MAX);
        for (unsigned i = 0; i < 3; i++)
                bench_feed(&b, 2,
                           (struct node_event){ .type = NODE_WRITE,
                                                .more = true,
                                                .request = ++b.request,
                                                .key = &key });
        assert_int_equal(b.n_answered, 3);
        free(large);
        bench_done(&b);
}

/* The bench fails when something is sent to a node that does not exist. */
static void answer_to_a_read_that_names_another_node_is_malformed(void **state)
{
        struct buffer message = { 0 };
        struct bench b;

        (void)state;
        bench_start(&b, &(struct bench_setup){ 0 });
        bench_lead(&b, 1);
        buffer_put_u8(&message, NODE_MESSAGE_READ_INDEX);
        buffer_put_u64(&message, (uint64_t)200 << 56 | 1);
        buffer_put_u8(&message, 1);
        buffer_put_u64(&message, 1);
        bench_forget(&b);
        bench_message(&b, 1, 2, message.bytes, message.n);
        assert_int_equal(bench_count_notes(&b, 2, NODE_NOTE_BAD_MESSAGE), 1);
        assert_int_equal(bench_count(&b, 2, NODE_SEND), 0);
        buffer_done(&message);
        bench_done(&b);
}

static void every_request_is_answered_once_when_there_is_no_quorum(void **state)
{
        enum { REQUESTS = NODE_REQUESTS_MAX + 100 };
        unsigned n_overloaded = 0;
        struct bench b;

        (void)state;
        bench_start(&b, &(struct bench_setup){ 0 });
        bench_lead(&b, 1);
        bench_isolate(&b, 2, true);
        bench_wait(&b, 4 * BENCH_ELECTION);
        for (unsigned i = 0; i < REQUESTS; i++) {
                bench_forget(&b);
                (void)write_set(&b, 2, "b");
                if (bench_count(&b, 2, NODE_ANSWERED) == 0)
                        continue;
                assert_int_equal(bench_last(&b, 2, NODE_ANSWERED)->effect.outcome, NODE_OVERLOADED);
                n_overloaded++;
        }
        assert_in_range(n_overloaded, 100, 120);
        bench_forget(&b);
        bench_wait(&b, BENCH_REQUEST + BENCH_HEARTBEAT);
        assert_int_equal(b.n_answered, REQUESTS - n_overloaded);
        bench_done(&b);
}

/* What nobody waits for must reach the log all the same: the history, and the end of an order. */
static void history_is_written_though_the_leader_was_lost_for_a_moment(void **state)
{
        const struct store_node *node;
        const struct bench_seen *run;
        struct bench b;

        (void)state;
        bench_start(&b, &(struct bench_setup){ .n_candidates = 1 });
        b.machines[1].mute_hands = true;
        bench_lead(&b, 3);
        for (unsigned i = 0; i < 100 && bench_view(&b, 1).state != FAILOVER_PROMOTING; i++)
                bench_wait(&b, BENCH_HEARTBEAT);
        assert_int_equal(bench_view(&b, 1).state, FAILOVER_PROMOTING);
        run = bench_last(&b, 1, NODE_RUN);
        bench_isolate(&b, 1, true);
        bench_wait(&b, 4 * BENCH_ELECTION); /* it knows that it has no leader */
        bench_feed(&b, 1,
                   (struct node_event){
                           .type = NODE_HANDS_DONE, .id = run->effect.run.id, .ok = true });
        assert_int_equal(bench_view(&b, 1).state, FAILOVER_MASTER);
        assert_int_not_equal(
                store_get(node_store(b.machines[2].node), "/_failoverd/history/service0", &node),
                STORE_OK);
        bench_isolate(&b, 1, false);
        bench_wait(&b, 4 * BENCH_ELECTION);
        assert_int_equal(
                store_get(node_store(b.machines[2].node), "/_failoverd/history/service0", &node),
                STORE_OK);
        assert_non_null(store_node_first(node));
        assert_null(store_node_next(store_node_first(node)));
        bench_done(&b);
}

static void without_a_leader_clients_are_told_soon_and_for_good(void **state)
{
        const struct store_node *node;
        struct bench b;
        uint64_t request;

        (void)state;
        bench_start(&b, &(struct bench_setup){ 0 });
        bench_lead(&b, 1);
        bench_isolate(&b, 2, true);
        bench_wait(&b, 6 * BENCH_ELECTION);
        bench_forget(&b);
        request = write_set(&b, 2, "late");
        bench_wait(&b, BENCH_HEARTBEAT);
        assert_int_equal(b.n_answered, 1);
        assert_int_equal(bench_last(&b, 2, NODE_ANSWERED)->effect.request, request);
        assert_int_equal(bench_last(&b, 2, NODE_ANSWERED)->effect.outcome, NODE_NO_QUORUM);
        bench_isolate(&b, 2, false);
        bench_wait(&b, 6 * BENCH_ELECTION);
        assert_int_not_equal(store_get(node_store(b.machines[1].node), "/a", &node), STORE_OK);
        bench_done(&b);
}

static void full_disk_refuses_writes_and_hands_leadership_on(void **state)
{
        struct bench b;

        (void)state;
        bench_start(&b, &(struct bench_setup){ .n_nodes = 1 });
        bench_lead(&b, 1);
        bench_feed(&b, 1, (struct node_event){ .type = NODE_SPACE, .ok = false });
        (void)write_set(&b, 1, "x");
        assert_int_equal(bench_last(&b, 1, NODE_ANSWERED)->effect.outcome, NODE_FULL);
        bench_feed(&b, 1, (struct node_event){ .type = NODE_SPACE, .ok = true });
        (void)write_set(&b, 1, "x");
        bench_wait(&b, BENCH_HEARTBEAT);
        assert_int_equal(bench_last(&b, 1, NODE_ANSWERED)->effect.outcome, NODE_OK);
        bench_done(&b);

        bench_start(&b, &(struct bench_setup){ 0 });
        bench_lead(&b, 1);
        bench_feed(&b, 1, (struct node_event){ .type = NODE_SPACE, .ok = false });
        bench_wait(&b, 4 * BENCH_ELECTION);
        assert_int_not_equal(raft_role(node_raft(b.machines[1].node)), RAFT_LEADER);
        (void)write_set(&b, 1, "y"); /* it can still ask whoever leads */
        bench_wait(&b, 2 * BENCH_HEARTBEAT);
        assert_int_equal(bench_last(&b, 1, NODE_ANSWERED)->effect.outcome, NODE_OK);
        bench_done(&b);
}

/* The next thing that happens at a machine that is alone. */
static void go_on(struct bench *b)
{
        b->now = instant_later(b->now, node_deadline(b->machines[1].node));
        bench_feed(b, 1, (struct node_event){ .type = NODE_TIMEOUT });
}

static void log_of_a_start_is_applied_bit_by_bit(void **state)
{
        const struct raft *raft;
        uint64_t last, read;
        struct bench b;

        (void)state;
        bench_start(&b, &(struct bench_setup){ .n_nodes = 1, .no_resources = true });
        bench_lead(&b, 1);
        for (unsigned i = 0; i < 10000; i++)
                (void)write_set(&b, 1, "x");
        last = store_index(node_store(b.machines[1].node));
        bench_stop(&b, 1);
        bench_run(&b, 1, false);
        raft = node_raft(b.machines[1].node);
        while (raft_index_committed(raft) < last)
                go_on(&b);
        assert_true(store_index(node_store(b.machines[1].node)) < last / 2);
        read = ++b.request;
        bench_feed(&b, 1, (struct node_event){ .type = NODE_READ, .request = read });
        assert_null(bench_answer(&b, read)); /* what it waits for is not applied yet */
        while (!bench_answer(&b, read))
                go_on(&b);
        assert_int_equal(bench_answer(&b, read)->effect.outcome, NODE_OK);
        assert_true(store_index(node_store(b.machines[1].node)) >= last);
        bench_done(&b);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(answers_of_one_step_are_told_apart),
                cmocka_unit_test(command_beyond_what_the_log_takes_is_refused_at_once),
                cmocka_unit_test(oversized_proposal_of_a_member_is_refused_alone),
                cmocka_unit_test(requests_that_come_at_once_travel_together),
                cmocka_unit_test(batch_does_not_wait_for_an_end_of_the_stream),
                cmocka_unit_test(large_requests_do_not_wait_for_others),
                cmocka_unit_test(answer_to_a_read_that_names_another_node_is_malformed),
                cmocka_unit_test(every_request_is_answered_once_when_there_is_no_quorum),
                cmocka_unit_test(without_a_leader_clients_are_told_soon_and_for_good),
                cmocka_unit_test(full_disk_refuses_writes_and_hands_leadership_on),
                cmocka_unit_test(log_of_a_start_is_applied_bit_by_bit),
                cmocka_unit_test(history_is_written_though_the_leader_was_lost_for_a_moment),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
