/*
 * Snapshots: as bytes that are read in any pieces and refused when they are damaged, and between
 * members, of which one needs what the log of the others no longer has.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "election/base/cleanup.h"
#include "election/base/crc32c.h"
#include "election/base/memory.h"
#include "election/base/random.h"
#include "tests/lib/node-rig.h"

enum {
        LARGE = 500 * 1000, /* bytes of a value: few of them make the log forget */
        MANY = 24, /* such values make it forget surely */
};

static int into_buffer(void *userdata, const uint8_t *bytes, size_t n)
{
        buffer_put(userdata, bytes, n);
        return 0;
}

static void set_in(struct store *s, uint64_t index, const char *path, const char *value)
{
        struct store_command c = { .type = STORE_KEY,
                                   .key = { .action = STORE_SET, .path = path, .value = value } };
        struct store_result result;
        struct buffer b = { 0 };

        store_command_encode(&c, &b);
        store_apply(s, index, b.bytes, b.n, (struct instant){ 1 }, &result);
        assert_true(result.valid);
        buffer_done(&b);
}

/* A snapshot of entry 70 with @n_keys keys, fewer than that, of @size bytes each. */
static struct buffer snapshot_of(unsigned n_keys, size_t size)
{
        static const struct raft_members members = { .voters = { 1, 2 }, .n_voters = 2 };
        char *value = must_alloc(size + 1, 1), path[16];
        struct snapshot_head head = { .cluster_id = 5, .index = 70, .term = 3, .members_index = 2 };
        struct buffer bytes = { 0 }, list = { 0 };
        struct store *s = store_new();

        memset(value, 'v', size);
        for (unsigned i = 0; i < n_keys; i++) {
                (void)snprintf(path, sizeof(path), "/k%u", i);
                set_in(s, i + 1, path, value);
        }
        raft_members_encode(&members, &list);
        buffer_put(&list, (const uint8_t *)"context", 7);
        head.members = list.bytes;
        head.n_members = list.n;
        assert_int_equal(snapshot_write(&head, s, into_buffer, &bytes), 0);
        store_free(s);
        buffer_done(&list);
        free(value);
        return bytes;
}

/* Feeds all in pieces of @piece bytes; 0, or what the first piece that is refused gets. */
static int feed(struct snapshot_reader *r, const uint8_t *bytes, size_t n, size_t piece)
{
        int result = 0;

        for (size_t at = 0; result == 0 && at < n; at += piece)
                result = snapshot_reader_feed(r, bytes + at, n - at < piece ? n - at : piece);
        return result;
}

static void snapshot_is_read_in_any_pieces(void **state)
{
        static const size_t pieces[] = { 1, 7, 1000, 65536, 65544, SIZE_MAX / 2 };
        struct buffer bytes = snapshot_of(40, 5000); /* several blocks */
        struct raft_membership m;

        (void)state;
        for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
                struct snapshot_reader *r = snapshot_reader_new(true);
                struct store *s;
                struct buffer again = { 0 };

                assert_int_equal(feed(r, bytes.bytes, bytes.n, pieces[i]), 0);
                assert_true(snapshot_reader_is_whole(r));
                assert_int_equal(snapshot_reader_offset(r), bytes.n);
                assert_int_equal(snapshot_reader_head(r)->cluster_id, 5);
                assert_int_equal(snapshot_reader_head(r)->index, 70);
                assert_int_equal(snapshot_reader_head(r)->term, 3);
                assert_true(snapshot_membership(snapshot_reader_head(r), &m));
                assert_int_equal(m.index, 2);
                assert_int_equal(m.members.n_voters, 2);
                assert_memory_equal(m.context, "context", 7);
                s = snapshot_reader_take(r, (struct instant){ 9 });
                assert_non_null(s);
                assert_null(snapshot_reader_take(r, (struct instant){ 9 }));
                assert_int_equal(snapshot_write(snapshot_reader_head(r), s, into_buffer, &again),
                                 0);
                assert_int_equal(again.n, bytes.n);
                assert_memory_equal(again.bytes, bytes.bytes, bytes.n);
                store_free(s);
                snapshot_reader_free(r);
                buffer_done(&again);
        }
        buffer_done(&bytes);
}

static void every_flipped_bit_is_found_where_it_is(void **state)
{
        struct buffer bytes = snapshot_of(3, 50);

        (void)state;
        for (size_t bit = 0; bit < 8 * bytes.n; bit++) {
                struct snapshot_reader *r = snapshot_reader_new(bit % 2);

                bytes.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
                (void)feed(r, bytes.bytes, bytes.n, 1000);
                assert_false(snapshot_reader_is_whole(r));
                assert_null(snapshot_reader_take(r, (struct instant){ 9 }));
                assert_true(snapshot_reader_offset(r) <= bit / 8);
                bytes.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
                snapshot_reader_free(r);
        }
        buffer_done(&bytes);
}

static void damage_in_a_late_block_is_told_by_its_offset(void **state)
{
        struct buffer bytes = snapshot_of(40, 5000);
        struct snapshot_reader *r = snapshot_reader_new(false);

        (void)state;
        bytes.bytes[150 * 1000] ^= 1;
        assert_int_equal(feed(r, bytes.bytes, bytes.n, 4096), -EBADMSG);
        assert_in_range(snapshot_reader_offset(r), 150 * 1000 - SNAPSHOT_BLOCK_MAX - 100,
                        150 * 1000);
        assert_int_equal(snapshot_reader_feed(r, bytes.bytes, 1), -EBADMSG); /* and stays so */
        snapshot_reader_free(r);
        buffer_done(&bytes);
}

static void cut_or_prolonged_snapshot_is_not_whole(void **state)
{
        struct buffer bytes = snapshot_of(3, 50);

        (void)state;
        for (size_t n = 0; n < bytes.n; n++) {
                struct snapshot_reader *r = snapshot_reader_new(true);

                assert_int_equal(feed(r, bytes.bytes, n, 64), 0);
                assert_false(snapshot_reader_is_whole(r));
                assert_true(snapshot_reader_offset(r) <= n);
                snapshot_reader_free(r);
        }
        buffer_put_u8(&bytes, 0);
        {
                struct snapshot_reader *r = snapshot_reader_new(true);

                assert_int_equal(feed(r, bytes.bytes, bytes.n, bytes.n), -EBADMSG);
                assert_false(snapshot_reader_is_whole(r));
                snapshot_reader_free(r);
        }
        buffer_done(&bytes);
}

static void newer_version_is_told_from_damage(void **state)
{
        struct buffer bytes = snapshot_of(1, 5);
        struct snapshot_reader *r = snapshot_reader_new(true);

        (void)state;
        bytes.bytes[8]++;
        assert_int_equal(feed(r, bytes.bytes, bytes.n, bytes.n), -EPROTONOSUPPORT);
        assert_null(snapshot_reader_head(r));
        snapshot_reader_free(r);
        buffer_done(&bytes);
}

static int refuse_second(void *userdata, const uint8_t *bytes, size_t n)
{
        unsigned *calls = userdata;

        (void)bytes;
        (void)n;
        return ++*calls == 2 ? -ENOSPC : 0;
}

static void failure_to_write_is_passed_on(void **state)
{
        static const struct raft_members members = { .voters = { 1 }, .n_voters = 1 };
        struct store *s = store_new();
        struct buffer list = { 0 };
        struct snapshot_head head = { .index = 1 };
        unsigned calls = 0;

        (void)state;
        raft_members_encode(&members, &list);
        head.members = list.bytes;
        head.n_members = list.n;
        assert_int_equal(snapshot_write(&head, s, refuse_second, &calls), -ENOSPC);
        assert_int_equal(calls, 2);
        store_free(s);
        buffer_done(&list);
}

/* Between members. */

static uint64_t set(struct bench *b, node_id node, const char *path, const char *value)
{
        const struct store_key_command key = { .action = STORE_SET, .path = path, .value = value };

        return bench_write(b, node, &key);
}

/* Large values through @node, in no time. */
static void fill(struct bench *b, node_id node, unsigned n)
{
        char *value = must_alloc(LARGE + 1, 1), path[16];

        for (unsigned i = 0; i < n; i++) {
                memset(value, 'a' + (int)(i % 26), LARGE);
                (void)snprintf(path, sizeof(path), "/large%u", i % 4);
                assert_int_equal(bench_answer(b, set(b, node, path, value))->effect.outcome,
                                 NODE_OK);
        }
        free(value);
}

static struct store *store_at(struct bench *b, node_id node)
{
        return node_store(b->machines[node].node);
}

static struct node *at(struct bench *b, node_id node)
{
        return b->machines[node].node;
}

static const char *value_at(struct bench *b, node_id node, const char *path)
{
        const struct store_node *n;

        return store_get(store_at(b, node), path, &n) == STORE_OK ? store_node_view(n).value : NULL;
}

static void assert_same_stores(struct bench *b, node_id x, node_id y)
{
        struct buffer first = { 0 }, second = { 0 };

        assert_int_equal(at(b, x)->index_applied, at(b, y)->index_applied);
        assert_int_equal(store_snapshot_write(store_at(b, x), into_buffer, &first), 0);
        assert_int_equal(store_snapshot_write(store_at(b, y), into_buffer, &second), 0);
        assert_int_equal(first.n, second.n);
        assert_memory_equal(first.bytes, second.bytes, first.n);
        buffer_done(&first);
        buffer_done(&second);
}

/* Three members without a master, so that nothing happens but what the test does. */
static void start(struct bench *b, struct bench_setup setup)
{
        setup.manual = true;
        setup.has_database = true;
        setup.has_disks = true;
        setup.snapshot_bytes = setup.snapshot_bytes ? setup.snapshot_bytes : 1 << 20;
        bench_start(b, &setup);
        bench_lead(b, 1);
        bench_meet(b);
        bench_wait(b, 10 * BENCH_HEARTBEAT);
        bench_forget(b);
}

static bool log_reaches(struct bench *b, node_id node, uint64_t index)
{
        return raft_entry_at(node_raft(at(b, node)), index) != NULL;
}

static void wait_until_same(struct bench *b, node_id x, node_id y, usec_t limit)
{
        struct instant end = instant_after(b->now, limit);

        while (at(b, x)->index_applied != at(b, y)->index_applied && !instant_reached(end, b->now))
                bench_wait(b, BENCH_HEARTBEAT / 5);
        assert_same_stores(b, x, y);
}

/* Member 3 sleeps until the log of the others no longer has what it needs. */
static void leave_behind(struct bench *b)
{
        uint64_t last = at(b, 3)->index_applied;

        bench_isolate(b, 3, true);
        do {
                fill(b, 1, MANY);
                bench_wait(b, BENCH_HEARTBEAT);
        } while (log_reaches(b, 1, last + 1));
}

static void snapshot_is_due_by_size(void **state)
{
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        (void)set(&b, 1, "/a", "x");
        bench_wait(&b, BENCH_HEARTBEAT);
        assert_int_equal(bench_count(&b, 1, NODE_SNAPSHOT_TAKE), 0);
        fill(&b, 1, 3);
        bench_wait(&b, BENCH_HEARTBEAT);
        for (node_id id = 1; id <= 3; id++) {
                assert_int_equal(bench_count(&b, id, NODE_SNAPSHOT_TAKE), 1);
                assert_int_equal(bench_count_notes(&b, id, NODE_NOTE_SNAPSHOT_TAKEN), 1);
                assert_int_equal(raft_index_snapshot(node_raft(at(&b, id))),
                                 b.machines[id].snapshot_index);
        }
        bench_done(&b);
}

static void snapshot_is_due_by_age_if_there_is_news(void **state)
{
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ .snapshot_age = 60 * USEC_PER_SEC });
        (void)set(&b, 1, "/a", "x");
        bench_wait(&b, 61 * USEC_PER_SEC);
        assert_int_not_equal(b.machines[1].snapshot_index, 0);
        bench_forget(&b);
        bench_wait(&b, BENCH_ELECTION);
        assert_int_equal(bench_count(&b, 1, NODE_SNAPSHOT_TAKE), 0);
        bench_done(&b);
}

static void snapshot_that_failed_is_tried_again_later(void **state)
{
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        b.machines[1].fail_takes = true;
        fill(&b, 1, 3);
        bench_wait(&b, USEC_PER_SEC);
        assert_int_equal(bench_count(&b, 1, NODE_SNAPSHOT_TAKE), 1);
        assert_int_equal(b.machines[1].snapshot_index, 0);
        b.machines[1].fail_takes = false;
        bench_wait(&b, 31 * USEC_PER_SEC);
        assert_int_not_equal(b.machines[1].snapshot_index, 0);
        bench_done(&b);
}

static void log_forgets_what_is_covered_and_a_restart_goes_on(void **state)
{
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        (void)set(&b, 2, "/a", "x");
        fill(&b, 1, MANY);
        bench_wait(&b, BENCH_HEARTBEAT);
        assert_false(log_reaches(&b, 1, 1));
        assert_true(b.machines[2].n_entries < MANY);
        bench_stop(&b, 2);
        bench_run(&b, 2, false);
        assert_string_equal(value_at(&b, 2, "/a"), "x"); /* before anybody has told it anything */
        assert_int_equal(node_members(at(&b, 2))->n, 3);
        assert_int_equal(node_members(at(&b, 2))->list[2].incarnation, 103);
        bench_wait(&b, 10 * BENCH_HEARTBEAT);
        assert_true(node_is_current(at(&b, 2)));
        assert_same_stores(&b, 1, 2);
        bench_done(&b);
}

static void member_behind_the_log_is_sent_a_snapshot_part_by_part(void **state)
{
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        leave_behind(&b);
        bench_isolate(&b, 3, false);
        wait_until_same(&b, 1, 3, 5 * USEC_PER_SEC);
        assert_int_equal(bench_count_notes(&b, 3, NODE_NOTE_SNAPSHOT_INSTALLED), 1);
        assert_int_equal(bench_count_notes(&b, 1, NODE_NOTE_SNAPSHOT_SENT), 1);
        assert_true(b.machines[3].n_writes > 4);
        assert_true(b.machines[3].n_writes <= b.machines[1].n_reads); /* some while it was away */
        /* And it goes on with the log, also from its own disk. */
        (void)set(&b, 3, "/after", "x");
        bench_wait(&b, BENCH_HEARTBEAT);
        assert_same_stores(&b, 1, 3);
        bench_stop(&b, 3);
        bench_run(&b, 3, false);
        bench_wait(&b, 10 * BENCH_HEARTBEAT);
        assert_string_equal(value_at(&b, 3, "/after"), "x");
        assert_same_stores(&b, 1, 3);
        bench_done(&b);
}

/* What the network does to parts and their answers. */
struct trouble {
        struct random random;

        node_id from, to;
        uint8_t *held; /* a message that comes later */
        size_t n_held;
        unsigned n_lost, n_twice, n_late;
};

static bool is_about_snapshots(const uint8_t *bytes)
{
        return bytes[0] == NODE_MESSAGE_SNAPSHOT || bytes[0] == NODE_MESSAGE_SNAPSHOT_REPLY;
}

static bool makes_trouble(struct bench *b, node_id from, node_id to, const uint8_t *bytes, size_t n)
{
        struct trouble *t = b->catcher;

        if (!is_about_snapshots(bytes))
                return false;
        switch (random_next(&t->random) % 8) {
        case 0:
                t->n_lost++;
                return true;
        case 1:
        case 2: /* kept, and brought later */
                free(t->held);
                t->held = must_copy(bytes, n);
                t->n_held = n;
                t->from = from;
                t->to = to;
                t->n_late++;
                return random_next(&t->random) % 2; /* or twice */
        default:
                return false;
        }
}

static void parts_may_be_lost_repeated_and_out_of_order(void **state)
{
        (void)state;
        for (uint64_t seed = 1; seed <= 12; seed++) {
                struct trouble t = { .random = { seed } };
                struct bench b;

                start(&b, (struct bench_setup){ 0 });
                leave_behind(&b);
                b.catches = makes_trouble;
                b.catcher = &t;
                bench_isolate(&b, 3, false);
                for (unsigned i = 0;
                     i < 20000 && !bench_count_notes(&b, 3, NODE_NOTE_SNAPSHOT_INSTALLED); i++) {
                        bench_wait(&b, BENCH_HEARTBEAT / 2);
                        if (t.held && random_next(&t.random) % 4 == 0) {
                                bench_message(&b, t.from, t.to, t.held, t.n_held);
                                free(TAKE_PTR(t.held));
                        }
                        if (i % 100 == 0 && !bench_count_notes(&b, 3, NODE_NOTE_SNAPSHOT_INSTALLED))
                                bench_forget(&b);
                }
                b.catches = NULL;
                wait_until_same(&b, 1, 3, 10 * USEC_PER_SEC);
                assert_true(t.n_lost + t.n_late > 0);
                free(t.held);
                bench_done(&b);
        }
}

/* Lets this many parts through and no more. */
static bool catches_behind(struct bench *b, node_id from, node_id to, const uint8_t *bytes,
                           size_t n)
{
        unsigned *left = b->catcher;

        (void)from;
        (void)to;
        (void)n;
        if (bytes[0] != NODE_MESSAGE_SNAPSHOT)
                return false;
        if (*left == 0)
                return true;
        (*left)--;
        return false;
}

static void begin_transfer(struct bench *b, unsigned *left)
{
        leave_behind(b);
        *left = 3;
        b->catches = catches_behind;
        b->catcher = left;
        bench_isolate(b, 3, false);
        for (unsigned i = 0; i < 100 && *left > 0; i++)
                bench_wait(b, BENCH_HEARTBEAT);
        assert_int_equal(*left, 0);
        assert_int_equal(b->machines[3].n_writes, 3);
}

static void leader_change_in_the_middle_begins_anew(void **state)
{
        struct bench b;
        unsigned left;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        begin_transfer(&b, &left);
        bench_stop(&b, 1);
        b.catches = NULL;
        bench_wait(&b, 20 * BENCH_ELECTION); /* only 2 can lead: 3 lacks entries */
        assert_true(raft_is_ready(node_raft(at(&b, 2))));
        wait_until_same(&b, 2, 3, 20 * USEC_PER_SEC);
        bench_done(&b);
}

static void leader_that_steps_down_and_comes_back_sends_it_again(void **state)
{
        struct bench b;
        unsigned left;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        begin_transfer(&b, &left);
        bench_isolate(&b, 1, true);
        bench_stop(&b, 2);
        bench_wait(&b, 10 * BENCH_ELECTION);
        assert_int_not_equal(raft_role(node_raft(at(&b, 1))), RAFT_LEADER);
        bench_isolate(&b, 1, false);
        b.catches = NULL;
        wait_until_same(&b, 1, 3, 20 * USEC_PER_SEC);
        bench_done(&b);
}

static void restart_of_the_receiver_begins_anew(void **state)
{
        struct bench b;
        unsigned left;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        begin_transfer(&b, &left);
        bench_stop(&b, 3);
        bench_run(&b, 3, false);
        b.catches = NULL;
        wait_until_same(&b, 1, 3, 20 * USEC_PER_SEC);
        bench_done(&b);
}

static bool find_file(struct bench *b, node_id node, uint64_t index)
{
        for (unsigned i = 0; i < BENCH_SNAPSHOTS_MAX; i++) {
                if (b->machines[node].snapshots[i].index == index)
                        return true;
        }
        return false;
}

static void newer_snapshot_takes_the_place_of_one_on_its_way(void **state)
{
        struct bench b;
        unsigned left;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        begin_transfer(&b, &left);
        while (find_file(&b, 1, at(&b, 3)->arrival.snapshot.index))
                fill(&b, 1, MANY); /* until the file of what is being sent is gone */
        left = UINT32_MAX;
        bench_forget(&b);
        wait_until_same(&b, 1, 3, 20 * USEC_PER_SEC);
        assert_int_equal(bench_count_notes(&b, 3, NODE_NOTE_SNAPSHOT_INSTALLED), 1);
        bench_done(&b);
}

static void receiver_that_cannot_write_is_not_pressed(void **state)
{
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        leave_behind(&b);
        b.machines[3].fail_writes = true;
        bench_isolate(&b, 3, false);
        bench_wait(&b, 20 * USEC_PER_SEC);
        assert_in_range(b.machines[3].n_writes, 2, 40);
        b.machines[3].fail_writes = false;
        wait_until_same(&b, 1, 3, 20 * USEC_PER_SEC);
        bench_done(&b);
}

/* Only the first part can be written, as on a disk that is full: each time anew. */
static bool breaks_later_writes(struct bench *b, node_id from, node_id to, const uint8_t *bytes,
                                size_t n)
{
        struct reader r = reader_of(bytes, n);

        (void)from;
        (void)to;
        if (reader_get_u8(&r) != NODE_MESSAGE_SNAPSHOT)
                return false;
        for (unsigned i = 0; i < 3; i++)
                (void)reader_get_u64(&r); /* term, and what names the snapshot */
        b->machines[3].fail_writes = reader_get_u64(&r) > 0;
        return false;
}

static void receiver_whose_disk_is_full_is_not_pressed(void **state)
{
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        leave_behind(&b);
        b.catches = breaks_later_writes;
        bench_isolate(&b, 3, false);
        bench_wait(&b, 20 * USEC_PER_SEC);
        assert_in_range(b.machines[3].n_writes, 2, 60);
        b.catches = NULL;
        b.machines[3].fail_writes = false;
        wait_until_same(&b, 1, 3, 20 * USEC_PER_SEC);
        bench_done(&b);
}

static void sender_that_cannot_read_tries_again(void **state)
{
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        leave_behind(&b);
        b.machines[1].fail_reads = true;
        bench_isolate(&b, 3, false);
        bench_wait(&b, 5 * USEC_PER_SEC);
        assert_in_range(b.machines[1].n_reads, 1, 200); /* no faster than heartbeats */
        b.machines[1].fail_reads = false;
        wait_until_same(&b, 1, 3, 20 * USEC_PER_SEC);
        bench_done(&b);
}

static void own_snapshot_that_is_overtaken_by_a_received_one_is_forgotten(void **state)
{
        struct node_event taken = { .type = NODE_SNAPSHOT_TAKEN, .ok = true };
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        b.machines[3].hold_takes = true;
        fill(&b, 1, 3);
        bench_wait(&b, BENCH_HEARTBEAT);
        assert_non_null(bench_last(&b, 3, NODE_SNAPSHOT_TAKE));
        taken.snapshot = bench_last(&b, 3, NODE_SNAPSHOT_TAKE)->effect.snapshot;
        leave_behind(&b);
        bench_isolate(&b, 3, false);
        wait_until_same(&b, 1, 3, 5 * USEC_PER_SEC);
        bench_feed(&b, 3, taken);
        assert_true(b.machines[3].snapshot_index > taken.snapshot.index);
        assert_true(at(&b, 3)->snapshots.bytes_since < 100 * (uint64_t)LARGE);
        b.machines[3].hold_takes = false;
        fill(&b, 1, 2 * MANY);
        bench_wait(&b, BENCH_HEARTBEAT);
        assert_true(bench_count_notes(&b, 3, NODE_NOTE_SNAPSHOT_TAKEN) > 0);
        bench_done(&b);
}

static void member_that_joins_behind_the_log_gets_the_list_with_the_snapshot(void **state)
{
        struct node_change c = { .type = NODE_CHANGE_ADD,
                                 .name = "n4",
                                 .kind = MEMBER_FULL,
                                 .peer = bench_endpoint(4),
                                 .api = bench_endpoint(4) };
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        fill(&b, 1, MANY);
        assert_int_equal(bench_answer(&b, bench_change(&b, 2, &c))->effect.outcome, NODE_OK);
        bench_join(&b, 4);
        bench_meet(&b);
        bench_wait(&b, 10 * BENCH_ELECTION);
        assert_int_equal(bench_count_notes(&b, 4, NODE_NOTE_SNAPSHOT_INSTALLED), 1);
        assert_same_stores(&b, 1, 4);
        assert_int_equal(node_members(at(&b, 4))->n, 4);
        assert_true(member_votes(members_by_name(node_members(at(&b, 4)), "n4")));
        bench_done(&b);
}

static void founding_list_travels_with_the_snapshot(void **state)
{
        struct bench b;
        struct buffer bytes = { 0 };
        struct snapshot_reader *r = snapshot_reader_new(false);
        struct raft_membership m;
        struct members list;

        (void)state;
        bench_start(&b, &(struct bench_setup){ .manual = true }); /* no disk is recorded */
        bench_lead(&b, 1);
        assert_int_equal(node_snapshot_write(at(&b, 1), into_buffer, &bytes), 0);
        assert_int_equal(feed(r, bytes.bytes, bytes.n, bytes.n), 0);
        assert_true(snapshot_membership(snapshot_reader_head(r), &m));
        assert_int_equal(m.index, 0);
        assert_true(members_decode(m.context, m.n_context, &list));
        assert_int_equal(list.n, 3);
        assert_string_equal(list.list[0].name, "n1");
        snapshot_reader_free(r);
        buffer_done(&bytes);
        bench_done(&b);
}

/* It applies entries from the time before the first list that it hears of. */
static void member_without_a_list_takes_no_snapshot(void **state)
{
        struct node_change c = { .type = NODE_CHANGE_ADD,
                                 .name = "n4",
                                 .kind = MEMBER_FULL,
                                 .peer = bench_endpoint(4),
                                 .api = bench_endpoint(4) };
        struct bench b;

        (void)state;
        bench_start(&b, &(struct bench_setup){ .manual = true }); /* no disk is recorded */
        bench_lead(&b, 1);
        fill(&b, 1, 6);
        b.config.snapshot_bytes = 1000; /* of member 4 only */
        (void)bench_change(&b, 1, &c);
        bench_join(&b, 4);
        bench_wait(&b, 10 * BENCH_ELECTION);
        assert_true(bench_count_notes(&b, 4, NODE_NOTE_SNAPSHOT_TAKEN) > 0);
        assert_same_stores(&b, 1, 4);
        bench_done(&b);
}

static void lease_counts_as_received_when_the_snapshot_came(void **state)
{
        const struct store_expiry *e;
        struct store_expiry expiry = { .kind = STORE_LEASE_MASTER };
        const struct store_lease *l;
        struct instant came;
        struct bench b;

        (void)state;
        bench_start(&b, &(struct bench_setup){ .snapshot_bytes = 1 << 20, .has_disks = true });
        bench_lead(&b, 1);
        bench_wait(&b, 4 * BENCH_TTL);
        assert_int_equal(bench_lease(&b, 1)->state, STORE_LEASE_HELD);
        bench_forget(&b);
        leave_behind(&b);
        /* The holder falls silent, long before the snapshot comes. */
        bench_stop(&b, bench_lease(&b, 1)->holder == 1 ? 2 : bench_lease(&b, 1)->holder);
        bench_isolate(&b, 3, false);
        wait_until_same(&b, 1, 3, 2 * USEC_PER_SEC);
        l = bench_lease(&b, 3);
        came = bench_last(&b, 3, NODE_SNAPSHOT_WRITE)->at;
        assert_true(instant_reached(l->noted, came));
        expiry.name = b.services[0].name;
        expiry.epoch = l->epoch;
        expiry.renewed = l->renewed;
        e = &expiry;
        assert_false(node_expiry_attests(at(&b, 3), e));
        bench_done(&b);
}

static bool catches_appends_to_3(struct bench *b, node_id from, node_id to, const uint8_t *bytes,
                                 size_t n)
{
        (void)b;
        (void)from;
        (void)n;
        return to == 3 && bytes[0] == NODE_MESSAGE_RAFT;
}

/* From when 1 asks for the lease on, nothing of the log reaches it. */
static bool catches_appends_behind_a_campaign(struct bench *b, node_id from, node_id to,
                                              const uint8_t *bytes, size_t n)
{
        bool *has_asked = b->catcher;

        (void)n;
        if (from == 1 && bytes[0] == NODE_MESSAGE_PROPOSE)
                *has_asked = true;
        return *has_asked && to == 1 && bytes[0] == NODE_MESSAGE_RAFT;
}

/* The stamp of the request is known, but not when it was granted: nothing may be built on it. */
static void lease_that_was_granted_unseen_is_given_back(void **state)
{
        bool has_asked = false;
        struct bench b;
        uint64_t unseen;

        (void)state;
        bench_start(&b, &(struct bench_setup){
                                .n_candidates = 1, .snapshot_bytes = 1 << 20, .has_disks = true });
        bench_lead(&b, 3);
        bench_master(&b, 1);
        bench_isolate(&b, 1, true);
        bench_wait(&b, 4 * BENCH_TTL);
        assert_int_equal(bench_lease(&b, 3)->state, STORE_LEASE_FREE);
        b.catches = catches_appends_behind_a_campaign;
        b.catcher = &has_asked;
        bench_isolate(&b, 1, false);
        for (unsigned i = 0; i < 200 && !has_asked; i++)
                bench_wait(&b, BENCH_HEARTBEAT / 5);
        assert_true(has_asked);
        assert_int_equal(bench_lease(&b, 3)->state, STORE_LEASE_HELD);
        unseen = bench_lease(&b, 3)->epoch;
        fill(&b, 3, MANY);
        bench_forget(&b);
        b.catches = NULL;
        for (unsigned i = 0; i < 200 && !bench_count_notes(&b, 1, NODE_NOTE_SNAPSHOT_INSTALLED);
             i++)
                bench_wait(&b, BENCH_HEARTBEAT / 5);
        bench_master(&b, 1);
        assert_true(bench_view(&b, 1).epoch > unseen);
        for (size_t i = 0; i < b.n_seen; i++)
                assert_false(b.seen[i].effect.type == NODE_HOLD &&
                             b.seen[i].effect.epoch == unseen);
        bench_done(&b);
}

static void write_that_was_applied_unseen_is_answered_once(void **state)
{
        struct bench b;
        uint64_t request, index;
        size_t n_answers = 0;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        b.catches = catches_appends_to_3;
        request = set(&b, 3, "/mine", "x"); /* the leader has it and commits it with 2 */
        assert_string_equal(value_at(&b, 1, "/mine"), "x");
        index = store_index(store_at(&b, 1));
        fill(&b, 1, MANY);
        assert_null(bench_answer(&b, request));
        b.catches = NULL;
        wait_until_same(&b, 1, 3, USEC_PER_SEC);
        bench_wait(&b, 10 * BENCH_HEARTBEAT);
        assert_int_equal(bench_count_notes(&b, 3, NODE_NOTE_SNAPSHOT_INSTALLED), 1);
        for (size_t i = 0; i < b.n_seen; i++)
                n_answers += b.seen[i].effect.type == NODE_ANSWERED &&
                             b.seen[i].effect.request == request;
        assert_int_equal(n_answers, 1);
        assert_int_equal(bench_answer(&b, request)->effect.outcome, NODE_OK);
        assert_string_equal(bench_answer(&b, request)->value, "x");
        assert_int_equal(store_index(store_at(&b, 1)), index + MANY); /* not applied twice */
        bench_done(&b);
}

static void change_that_was_applied_unseen_is_answered(void **state)
{
        struct node_change c = { .type = NODE_CHANGE_ADD,
                                 .name = "n4",
                                 .kind = MEMBER_OBSERVER,
                                 .peer = bench_endpoint(4),
                                 .api = bench_endpoint(4) };
        struct bench b;
        uint64_t request;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        b.catches = catches_appends_to_3;
        request = bench_change(&b, 3, &c);
        fill(&b, 1, MANY);
        assert_null(bench_answer(&b, request));
        b.catches = NULL;
        wait_until_same(&b, 1, 3, USEC_PER_SEC);
        assert_int_equal(bench_answer(&b, request)->effect.outcome, NODE_OK);
        assert_non_null(members_by_name(node_members(at(&b, 3)), "n4"));
        bench_done(&b);
}

static void watchers_outlive_the_store_that_they_watched(void **state)
{
        const struct store_event *event;
        struct bench b;
        uint64_t watcher, kept, other;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        assert_int_equal(store_watch_add(store_at(&b, 3), "/w", false, 0, &event, &watcher),
                         STORE_OK);
        assert_int_equal(store_watch_stream(store_at(&b, 3), "/later", false, 0, &kept), STORE_OK);
        assert_int_equal(store_watch_stream(store_at(&b, 3), "/none", false, 0, &other), STORE_OK);
        bench_isolate(&b, 3, true);
        (void)set(&b, 1, "/w", "seen in the history");
        bench_isolate(&b, 3, false);
        b.catches = catches_appends_to_3;
        fill(&b, 1, MANY);
        b.catches = NULL;
        wait_until_same(&b, 1, 3, USEC_PER_SEC);
        assert_true(bench_count(&b, 3, NODE_WOKEN) > 0);
        event = store_watch_take(store_at(&b, 3), watcher);
        assert_non_null(event);
        assert_string_equal(event->node.value, "seen in the history");
        bench_forget(&b);
        (void)set(&b, 2, "/later", "x");
        bench_wait(&b, BENCH_HEARTBEAT);
        assert_int_equal(bench_count(&b, 3, NODE_WOKEN), 1);
        assert_string_equal(store_watch_take(store_at(&b, 3), kept)->node.value, "x");
        assert_null(store_watch_take(store_at(&b, 3), other));
        assert_false(store_watch_is_over(store_at(&b, 3), other));
        bench_done(&b);
}

static void transfer_to_a_member_that_is_removed_ends(void **state)
{
        struct node_change c = { .type = NODE_CHANGE_REMOVE, .name = "n3" };
        struct bench b;
        unsigned left;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        begin_transfer(&b, &left);
        assert_true(at(&b, 1)->transfers[3].is_open);
        assert_int_equal(bench_answer(&b, bench_change(&b, 2, &c))->effect.outcome, NODE_OK);
        assert_false(at(&b, 1)->transfers[3].is_open);
        bench_wait(&b, BENCH_ELECTION);
        bench_forget(&b);
        bench_wait(&b, 20 * USEC_PER_SEC);
        assert_int_equal(bench_count(&b, 1, NODE_SNAPSHOT_READ), 0);
        bench_done(&b);
}

/* A snapshot whose sums are right, and whose store lacks its end. */
static struct buffer snapshot_of_half_a_store(const struct node *n, uint64_t index)
{
        enum { FINISH_BYTES = 5 + 8 };
        static const uint8_t zero[8];
        struct buffer all = { 0 }, half = { 0 }, half_block = { 0 };
        const struct raft_membership *m = raft_membership(n->raft);
        struct snapshot_head head = { .cluster_id = n->config.cluster_id,
                                      .index = index,
                                      .term = n->term_applied,
                                      .members_index = m->index };
        struct buffer list = { 0 };
        size_t at, size;

        raft_members_encode(&m->members, &list);
        buffer_put(&list, m->context, m->n_context);
        head.members = list.bytes;
        head.n_members = list.n;
        assert_int_equal(snapshot_write(&head, n->store, into_buffer, &all), 0);
        at = 8 + 4 + 4 + 8 + 8 + 8 + 4 + list.n + 8 + 4;
        size = all.n - at - 8 - 20 - FINISH_BYTES; /* of the one block, without its last record */
        buffer_put(&half_block, all.bytes + at + 8, size);
        buffer_put(&half, all.bytes, at);
        buffer_put_u32(&half, (uint32_t)size);
        buffer_put_u32(&half, crc32c(0, half_block.bytes, size));
        buffer_put(&half, half_block.bytes, size);
        at = half.n;
        buffer_put(&half, zero, 4);
        buffer_put_u64(&half, size);
        buffer_put_u32(&half, crc32c(0, half_block.bytes, size));
        buffer_put_u32(&half, crc32c(0, half.bytes + at, half.n - at));
        buffer_done(&all);
        buffer_done(&half_block);
        buffer_done(&list);
        return half;
}

static void snapshot_without_a_whole_store_is_not_installed(void **state)
{
        struct snapshot_reader *r = snapshot_reader_new(false);
        struct buffer half, message = { 0 };
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        half = snapshot_of_half_a_store(at(&b, 1), 1000);
        assert_int_equal(feed(r, half.bytes, half.n, half.n), 0);
        assert_true(snapshot_reader_is_whole(r)); /* the sums are right */
        buffer_put_u8(&message, NODE_MESSAGE_SNAPSHOT);
        buffer_put_u64(&message, raft_term(node_raft(at(&b, 3))));
        buffer_put_u64(&message, 1000);
        buffer_put_u64(&message, at(&b, 1)->term_applied);
        buffer_put_u64(&message, 0);
        buffer_put_u8(&message, true);
        buffer_put_blob(&message, half.bytes, half.n);
        bench_message(&b, 1, 3, message.bytes, message.n);
        assert_int_equal(bench_count_notes(&b, 3, NODE_NOTE_BAD_MESSAGE), 1);
        assert_int_equal(bench_count(&b, 3, NODE_SNAPSHOT_WRITE), 0);
        (void)set(&b, 3, "/a", "x");
        bench_wait(&b, BENCH_HEARTBEAT);
        assert_same_stores(&b, 1, 3);
        snapshot_reader_free(r);
        buffer_done(&half);
        buffer_done(&message);
        bench_done(&b);
}

/* As a whole snapshot in one message of 1, which leads, to 3. */
static void send_snapshot(struct bench *b, const struct snapshot_head *head, const struct store *s)
{
        struct buffer bytes = { 0 }, message = { 0 };

        assert_int_equal(snapshot_write(head, s, into_buffer, &bytes), 0);
        buffer_put_u8(&message, NODE_MESSAGE_SNAPSHOT);
        buffer_put_u64(&message, raft_term(node_raft(at(b, 3))));
        buffer_put_u64(&message, head->index);
        buffer_put_u64(&message, head->term);
        buffer_put_u64(&message, 0);
        buffer_put_u8(&message, true);
        buffer_put_blob(&message, bytes.bytes, bytes.n);
        bench_message(b, 1, 3, message.bytes, message.n);
        buffer_done(&bytes);
        buffer_done(&message);
}

/* A snapshot by which the log could not go on is refused; a possible one like it is taken. */
static void snapshot_beyond_its_index_or_the_term_is_not_taken(void **state)
{
        struct buffer list = { 0 };
        struct snapshot_head head = { 0 };
        struct store *s = store_new();
        const struct raft_membership *m;
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        m = raft_membership(node_raft(at(&b, 1)));
        raft_members_encode(&m->members, &list);
        buffer_put(&list, m->context, m->n_context);
        head = (struct snapshot_head){ .cluster_id = at(&b, 1)->config.cluster_id,
                                       .index = 1000,
                                       .term = raft_term(node_raft(at(&b, 3))),
                                       .members_index = m->index,
                                       .members = list.bytes,
                                       .n_members = list.n };
        set_in(s, 1001, "/a", "x");
        send_snapshot(&b, &head, s); /* the store has done more than it says */
        head.index = RAFT_NUMBER_MAX;
        send_snapshot(&b, &head, s);
        head.index = 1001;
        head.term++;
        send_snapshot(&b, &head, s);
        head.term = 0;
        send_snapshot(&b, &head, s);
        assert_int_equal(bench_count_notes(&b, 3, NODE_NOTE_BAD_MESSAGE), 4);
        assert_int_equal(bench_count(&b, 3, NODE_SNAPSHOT_WRITE), 0);
        head.term = raft_term(node_raft(at(&b, 3)));
        send_snapshot(&b, &head, s);
        assert_int_equal(bench_count_notes(&b, 3, NODE_NOTE_SNAPSHOT_INSTALLED), 1);
        store_free(s);
        buffer_done(&list);
        bench_done(&b);
}

static void snapshot_of_another_cluster_is_not_taken(void **state)
{
        struct buffer message = { 0 }, bytes = snapshot_of(1, 5);
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        buffer_put_u8(&message, NODE_MESSAGE_SNAPSHOT);
        buffer_put_u64(&message, raft_term(node_raft(at(&b, 3))));
        buffer_put_u64(&message, 70);
        buffer_put_u64(&message, 3);
        buffer_put_u64(&message, 0);
        buffer_put_u8(&message, true);
        buffer_put_blob(&message, bytes.bytes, bytes.n);
        /* As if nothing were committed that it covers. */
        bench_stop(&b, 3);
        bench_wipe(&b, 3);
        bench_join(&b, 3);
        b.catches = NULL;
        assert_int_equal(raft_leader(node_raft(at(&b, 3))), NODE_NOBODY);
        bench_message(&b, 1, 3, message.bytes, message.n);
        assert_int_equal(bench_count(&b, 3, NODE_SNAPSHOT_WRITE), 0);
        buffer_done(&message);
        buffer_done(&bytes);
        bench_done(&b);
}

/* The log was quicker than the snapshot: what was built of it until then is released. */
static void arrival_that_nobody_needs_any_more_is_dropped(void **state)
{
        struct bench b;
        unsigned left;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        begin_transfer(&b, &left);
        assert_non_null(at(&b, 3)->arrival.reader);
        /* Another leader, whose log still reaches back so far, would do it: play one. */
        at(&b, 3)->arrival.snapshot.index = raft_index_committed(node_raft(at(&b, 3)));
        bench_feed(&b, 3, (struct node_event){ .type = NODE_TIMEOUT });
        assert_null(at(&b, 3)->arrival.reader);
        b.catches = NULL;
        wait_until_same(&b, 1, 3, 20 * USEC_PER_SEC);
        bench_done(&b);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(snapshot_is_read_in_any_pieces),
                cmocka_unit_test(every_flipped_bit_is_found_where_it_is),
                cmocka_unit_test(damage_in_a_late_block_is_told_by_its_offset),
                cmocka_unit_test(cut_or_prolonged_snapshot_is_not_whole),
                cmocka_unit_test(newer_version_is_told_from_damage),
                cmocka_unit_test(failure_to_write_is_passed_on),
                cmocka_unit_test(snapshot_is_due_by_size),
                cmocka_unit_test(snapshot_is_due_by_age_if_there_is_news),
                cmocka_unit_test(snapshot_that_failed_is_tried_again_later),
                cmocka_unit_test(log_forgets_what_is_covered_and_a_restart_goes_on),
                cmocka_unit_test(member_behind_the_log_is_sent_a_snapshot_part_by_part),
                cmocka_unit_test(parts_may_be_lost_repeated_and_out_of_order),
                cmocka_unit_test(leader_change_in_the_middle_begins_anew),
                cmocka_unit_test(leader_that_steps_down_and_comes_back_sends_it_again),
                cmocka_unit_test(restart_of_the_receiver_begins_anew),
                cmocka_unit_test(newer_snapshot_takes_the_place_of_one_on_its_way),
                cmocka_unit_test(receiver_that_cannot_write_is_not_pressed),
                cmocka_unit_test(receiver_whose_disk_is_full_is_not_pressed),
                cmocka_unit_test(sender_that_cannot_read_tries_again),
                cmocka_unit_test(own_snapshot_that_is_overtaken_by_a_received_one_is_forgotten),
                cmocka_unit_test(member_that_joins_behind_the_log_gets_the_list_with_the_snapshot),
                cmocka_unit_test(founding_list_travels_with_the_snapshot),
                cmocka_unit_test(member_without_a_list_takes_no_snapshot),
                cmocka_unit_test(lease_counts_as_received_when_the_snapshot_came),
                cmocka_unit_test(lease_that_was_granted_unseen_is_given_back),
                cmocka_unit_test(write_that_was_applied_unseen_is_answered_once),
                cmocka_unit_test(change_that_was_applied_unseen_is_answered),
                cmocka_unit_test(watchers_outlive_the_store_that_they_watched),
                cmocka_unit_test(transfer_to_a_member_that_is_removed_ends),
                cmocka_unit_test(snapshot_without_a_whole_store_is_not_installed),
                cmocka_unit_test(snapshot_beyond_its_index_or_the_term_is_not_taken),
                cmocka_unit_test(snapshot_of_another_cluster_is_not_taken),
                cmocka_unit_test(arrival_that_nobody_needs_any_more_is_dropped),
        };

        /* Under valgrind the first ones are enough: they pass each function once. */
        const char *wanted = getenv("NODE_SNAPSHOT_TESTS");
        size_t n = sizeof(tests) / sizeof(tests[0]),
               n_wanted = wanted ? strtoul(wanted, NULL, 10) : n;

        return _cmocka_run_group_tests("tests", tests, n_wanted < n ? n_wanted : n, NULL, NULL);
}
