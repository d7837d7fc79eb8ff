/* The end of leases by the clocks of a quorum: who may propose it, who must refuse it. */
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
        bench_lead(b, 3);
        bench_master(b, 1);
        bench_wait(b, BENCH_TTL);
        assert_true(raft_is_ready(node_raft(b->machines[3].node)));
}

static const struct raft *raft_of(const struct bench *b, node_id node)
{
        return node_raft(b->machines[node].node);
}

static void silent_holder_is_replaced_after_the_ttl_and_not_before(void **state)
{
        struct instant renewed, valid_until;
        struct bench b;

        (void)state;
        start(&b);
        bench_isolate(&b, 1, true);
        renewed = bench_lease(&b, 3)->noted;
        valid_until = bench_view(&b, 1).valid_until;
        bench_wait(&b, instant_until(instant_after(renewed, BENCH_TTL), b.now) - 1);
        assert_int_equal(bench_lease(&b, 3)->holder, 1);
        assert_false(bench_view(&b, 1).holds);
        assert_true(valid_until.usec < b.now.usec);
        bench_wait(&b, 2 * BENCH_RENEW);
        assert_int_equal(bench_lease(&b, 3)->holder, 2);
        bench_done(&b);
}

static void one_fast_clock_ends_no_lease(void **state)
{
        struct bench b;
        uint64_t epoch;

        (void)state;
        start(&b);
        epoch = bench_lease(&b, 3)->epoch;
        bench_forget(&b);
        for (unsigned i = 0; i < 20; i++) {
                b.machines[3].skew += 2 * (int64_t)BENCH_TTL; /* its leases look long over */
                bench_wait(&b, BENCH_HEARTBEAT);
        }
        assert_int_equal(bench_lease(&b, 2)->epoch, epoch);
        assert_int_equal(bench_lease(&b, 2)->state, STORE_LEASE_HELD);
        assert_int_equal(bench_count_notes(&b, 1, NODE_NOTE_EXPIRY_EARLY), 0);
        bench_done(&b);
}

static void takeover_waits_a_ttl_after_a_restart_of_those_who_attest(void **state)
{
        struct bench b;

        (void)state;
        start(&b);
        bench_isolate(&b, 1, true);
        bench_wait(&b, BENCH_TTL * 2 / 3);
        bench_stop(&b, 2);
        bench_stop(&b, 3);
        bench_run(&b, 2, false);
        bench_run(&b, 3, false);
        bench_wait(&b, BENCH_TTL - 1);
        assert_int_equal(bench_lease(&b, 3)->holder, 1);
        bench_wait(&b, BENCH_TTL);
        assert_int_equal(bench_lease(&b, 3)->holder, 2);
        bench_done(&b);
}

static struct buffer key_command(void)
{
        struct buffer b = { 0 };

        store_command_encode(&(struct store_command){ .type = STORE_KEY, .key = { .path = "/k" } },
                             &b);
        return b;
}

static struct buffer expire_command(const struct store_lease *l, uint64_t renewed)
{
        struct store_expiry e = { .kind = STORE_LEASE_MASTER,
                                  .name = (char *)l->service,
                                  .epoch = l->epoch,
                                  .renewed = renewed };
        struct buffer b = { 0 };

        store_command_encode(
                &(struct store_command){ .type = STORE_EXPIRE, .expiries = &e, .n = 1 }, &b);
        return b;
}

/* Gives node 2 an append of @from in @term, of @n entries behind what is committed there. */
static void append(struct bench *b, node_id from, uint64_t term, const struct buffer *commands,
                   size_t n)
{
        const struct raft *raft = raft_of(b, 2);
        uint64_t before = raft_index_committed(raft);
        struct raft_entry entries[4];
        struct raft_message m = { .type = RAFT_APPEND,
                                  .from = from,
                                  .to = 2,
                                  .term = term,
                                  .log_index = before,
                                  .log_term = raft_entry_at(raft, before)->term,
                                  .commit = before,
                                  .entries = entries,
                                  .n_entries = n };
        struct buffer message = { 0 };

        for (size_t i = 0; i < n; i++)
                entries[i] = (struct raft_entry){ .index = before + 1 + i,
                                                  .term = term,
                                                  .type = RAFT_ENTRY_COMMAND,
                                                  .bytes = commands[i].bytes,
                                                  .n = commands[i].n };
        buffer_put_u8(&message, NODE_MESSAGE_RAFT);
        raft_message_encode(&m, &message);
        bench_message(b, from, 2, message.bytes, message.n);
        buffer_done(&message);
}

static void append_is_cut_exactly_before_an_expiry_that_is_not_due(void **state)
{
        struct buffer commands[3];
        struct bench b;
        uint64_t last;

        (void)state;
        start(&b);
        bench_isolate(&b, 2, true);
        last = raft_index_committed(raft_of(&b, 2));
        commands[0] = key_command();
        commands[1] = expire_command(bench_lease(&b, 2), bench_lease(&b, 2)->renewed);
        commands[2] = key_command();
        bench_forget(&b);
        append(&b, 3, raft_term(raft_of(&b, 2)), commands, 3);
        assert_int_equal(raft_index_last(raft_of(&b, 2)), last + 1);
        assert_int_equal(bench_count_notes(&b, 2, NODE_NOTE_EXPIRY_REFUSED), 1);
        /* The same once its own clock says so, too. */
        bench_wait(&b, BENCH_TTL);
        append(&b, 3, raft_term(raft_of(&b, 2)), commands, 3);
        assert_int_equal(raft_index_last(raft_of(&b, 2)), last + 3);
        for (size_t i = 0; i < 3; i++)
                buffer_done(&commands[i]);
        bench_done(&b);
}

/* What stands at the index of the renewal in our log is not the renewal that comes with the expiry. */
static void renewal_of_the_same_message_was_received_just_now(void **state)
{
        struct buffer commands[2];
        struct bench b;
        uint64_t last, term;

        (void)state;
        start(&b);
        bench_isolate(&b, 2, true);
        last = raft_index_committed(raft_of(&b, 2));
        term = raft_term(raft_of(&b, 2));
        commands[0] = key_command(); /* stands for a renewal: what it is does not matter here */
        commands[1] = expire_command(bench_lease(&b, 2), last + 1);
        append(&b, 3, term, commands, 1);
        assert_int_equal(raft_index_last(raft_of(&b, 2)), last + 1);
        bench_wait(&b, 2 * BENCH_TTL);
        append(&b, 3, term + 1, commands, 2);
        assert_int_equal(raft_entry_at(raft_of(&b, 2), last + 1)->term, term + 1);
        assert_int_equal(raft_index_last(raft_of(&b, 2)), last + 1);
        for (size_t i = 0; i < 2; i++)
                buffer_done(&commands[i]);
        bench_done(&b);
}

/* A leader proposes by its own notes: the expiry of another member could rest on one clock only. */
static void expiry_that_a_member_proposes_is_refused(void **state)
{
        struct buffer message = { 0 }, command;
        struct bench b;
        uint64_t last;

        (void)state;
        start(&b);
        last = raft_index_last(raft_of(&b, 3));
        command = expire_command(bench_lease(&b, 3), bench_lease(&b, 3)->renewed);
        buffer_put_u8(&message, NODE_MESSAGE_PROPOSE);
        buffer_put_u64(&message, 7);
        buffer_put_blob(&message, command.bytes, command.n);
        bench_message(&b, 2, 3, message.bytes, message.n);
        assert_int_equal(raft_index_last(raft_of(&b, 3)), last);
        buffer_done(&message);
        buffer_done(&command);
        bench_done(&b);
}

/* Rule L6: a note that is lost never makes an entry older than it is. */
static void entry_that_replaced_a_recovered_one_is_not_older_than_the_start(void **state)
{
        struct instant started, received;
        struct bench b;
        struct node *n;

        (void)state;
        start(&b);
        bench_stop(&b, 2);
        bench_run(&b, 2, false);
        n = b.machines[2].node;
        started = n->started;
        assert_int_equal(node_receipt_of(n, 3, 1).usec, started.usec);
        bench_wait(&b, BENCH_TTL);
        received = n->now;
        node_receipt_add(n, 3, 99);
        assert_int_equal(node_receipt_of(n, 3, 99).usec, received.usec);
        bench_wait(&b, BENCH_TTL);
        node_receipt_add(n, 3 + NODE_NOTES_MAX, 99);
        assert_true(node_receipt_of(n, 3, 99).usec >= received.usec);
        assert_int_equal(node_receipt_of(n, 2, 1).usec, started.usec);
        bench_done(&b);
}

/* Names, kinds and numbers of a question come from outside. */
static void malformed_question_is_told(void **state)
{
        struct buffer message = { 0 };
        struct bench b;

        (void)state;
        start(&b);
        buffer_put_u8(&message, NODE_MESSAGE_ATTEST);
        buffer_put_u64(&message, 1);
        buffer_put_u32(&message, 1);
        buffer_put_u8(&message, STORE_LEASE_KEY + 1);
        buffer_put_string(&message, "service0");
        buffer_put_u64(&message, 1);
        buffer_put_u64(&message, 1);
        for (size_t n = 1; n <= message.n; n++) {
                bench_forget(&b);
                bench_message(&b, 3, 2, message.bytes, n);
                assert_int_equal(bench_count_notes(&b, 2, NODE_NOTE_BAD_MESSAGE), 1);
        }
        buffer_done(&message);
        bench_done(&b);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(silent_holder_is_replaced_after_the_ttl_and_not_before),
                cmocka_unit_test(one_fast_clock_ends_no_lease),
                cmocka_unit_test(takeover_waits_a_ttl_after_a_restart_of_those_who_attest),
                cmocka_unit_test(append_is_cut_exactly_before_an_expiry_that_is_not_due),
                cmocka_unit_test(renewal_of_the_same_message_was_received_just_now),
                cmocka_unit_test(expiry_that_a_member_proposes_is_refused),
                cmocka_unit_test(entry_that_replaced_a_recovered_one_is_not_older_than_the_start),
                cmocka_unit_test(malformed_question_is_told),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
