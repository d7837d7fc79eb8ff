/* What a broken or hostile member sends is told and dropped: the node goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "election/base/random.h"
#include "tests/lib/node-rig.h"

/* One message of @type that is well formed, as far as it goes. */
static struct buffer message_of(uint8_t type)
{
        const struct failover_report report = { .state = FAILOVER_MASTER, .reason = "x" };
        struct buffer b = { 0 };

        buffer_put_u8(&b, type);
        switch (type) {
        case NODE_MESSAGE_PROPOSE:
                buffer_put_u64(&b, 5);
                buffer_put_blob(&b, "\1\1\2", 3);
                break;
        case NODE_MESSAGE_READ_INDEX:
                buffer_put_u64(&b, 5);
                buffer_put_u8(&b, 1);
                buffer_put_u64(&b, 9);
                break;
        case NODE_MESSAGE_ATTEST:
                buffer_put_u64(&b, 5);
                buffer_put_u32(&b, 1);
                buffer_put_u8(&b, STORE_LEASE_MASTER);
                buffer_put_string(&b, "service0");
                buffer_put_u64(&b, 5);
                buffer_put_u64(&b, 6);
                break;
        case NODE_MESSAGE_ATTESTED:
                buffer_put_u64(&b, 5);
                buffer_put_u64(&b, UINT64_MAX);
                buffer_put_u64(&b, UINT64_MAX);
                break;
        case NODE_MESSAGE_REPORT:
                buffer_put_string(&b, "service0");
                node_message_put_report(&b, &report);
                break;
        default:
                buffer_put_u64(&b, 5);
                break;
        }
        return b;
}

static void damaged_messages_stop_nobody(void **state)
{
        struct random random = { .state = 7 };
        struct bench b;

        (void)state;
        bench_start(&b, &(struct bench_setup){ 0 });
        bench_master(&b, 1);
        for (unsigned i = 0; i < 4000; i++) {
                uint8_t type = (uint8_t)(NODE_MESSAGE_PROPOSE +
                                         random_below(&random, NODE_MESSAGES));
                struct buffer message = message_of(type);
                unsigned n_flips = (unsigned)random_below(&random, 4);

                for (unsigned k = 0; k < n_flips; k++)
                        message.bytes[1 + random_below(&random, message.n - 1)] =
                                (uint8_t)random_next(&random);
                bench_message(&b, (node_id)(1 + random_below(&random, 3)),
                              (node_id)(1 + random_below(&random, 3)), message.bytes,
                              random_below(&random, 4) ? message.n
                                                       : random_below(&random, message.n + 1));
                buffer_done(&message);
                if (i % 100 == 0)
                        bench_wait(&b, BENCH_HEARTBEAT / 10);
        }
        bench_wait(&b, 2 * BENCH_TTL);
        assert_true(bench_view(&b, 1).state == FAILOVER_MASTER ||
                    bench_view(&b, 2).state == FAILOVER_MASTER);
        bench_done(&b);
}

static void proposal_without_a_command_is_refused(void **state)
{
        struct bench b;
        struct buffer message = { 0 };
        uint64_t last;

        (void)state;
        bench_start(&b, &(struct bench_setup){ 0 });
        bench_lead(&b, 1);
        bench_forget(&b);
        last = raft_index_last(node_raft(b.machines[1].node));
        buffer_put_u8(&message, NODE_MESSAGE_PROPOSE);
        buffer_put_u64(&message, 5);
        buffer_put_blob(&message, NULL, 0);
        bench_message(&b, 2, 1, message.bytes, message.n);
        assert_int_equal(bench_count_notes(&b, 1, NODE_NOTE_BAD_MESSAGE), 1);
        assert_int_equal(raft_index_last(node_raft(b.machines[1].node)), last);
        buffer_done(&message);
        bench_done(&b);
}

static void messages_of_strangers_are_not_read(void **state)
{
        struct bench b;
        struct buffer message = message_of(NODE_MESSAGE_READ);

        (void)state;
        bench_start(&b, &(struct bench_setup){ 0 });
        bench_lead(&b, 1);
        bench_forget(&b);
        bench_message(&b, 4, 1, message.bytes, message.n);
        bench_message(&b, 1, 1, message.bytes, message.n);
        bench_message(&b, NODE_NOBODY, 1, message.bytes, message.n);
        assert_int_equal(b.n_seen, 0);
        buffer_done(&message);
        bench_done(&b);
}

static void report_survives_the_wire(void **state)
{
        const struct failover_report report = {
                .known = true,
                .state = FAILOVER_SWITCHING,
                .database = FAILOVER_DATABASE_STOPPING,
                .role = FAILOVER_ROLE_PRIMARY,
                .healthy = true,
                .streaming = true,
                .closed = true,
                .round = 3,
                .epoch = UINT64_MAX,
                .position = { .system_id = 1, .timeline = 2, .lsn = 3 },
                .upstream = 2,
                .priority = 9,
                .reason = "the disk is full",
        };
        struct failover_report back;
        struct buffer b = { 0 }, again = { 0 };
        struct reader r;

        (void)state;
        node_message_put_report(&b, &report);
        r = reader_of(b.bytes, b.n);
        node_message_get_report(&r, &back);
        assert_true(reader_done(&r));
        assert_true(back.known && back.closed && back.healthy && !back.writable);
        assert_string_equal(back.reason, report.reason);
        node_message_put_report(&again, &back);
        assert_int_equal(again.n, b.n);
        assert_memory_equal(again.bytes, b.bytes, b.n);
        buffer_done(&again);
        buffer_done(&b);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(damaged_messages_stop_nobody),
                cmocka_unit_test(proposal_without_a_command_is_refused),
                cmocka_unit_test(messages_of_strangers_are_not_read),
                cmocka_unit_test(report_survives_the_wire),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
