/* The member list: its bytes, and how it changes through whoever is asked, whatever happens meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "election/base/memory.h"
#include "tests/lib/node-rig.h"

/* The list as bytes. */

static struct members full_list(void)
{
        struct members m = { .id_last = 4 };

        for (unsigned i = 1; i <= MEMBERS_MAX; i++) {
                struct member one = { .id = (node_id)i,
                                      .kind = i % 3,
                                      .is_learning = i == 4,
                                      .incarnation = 1000 * i,
                                      .peer = bench_endpoint(i),
                                      .api = bench_endpoint(100 + i) };

                (void)snprintf(one.name, sizeof(one.name), "member-%u", i);
                assert_true(members_add(&m, &one));
        }
        m.list[2].peer.address.family = AF_INET6;
        memset(&m.list[2].peer.address.v6, 0xab, sizeof(m.list[2].peer.address.v6));
        return m;
}

static void assert_same_list(const struct members *a, const struct members *b)
{
        assert_int_equal(a->n, b->n);
        assert_int_equal(a->id_last, b->id_last);
        for (unsigned i = 0; i < a->n; i++) {
                const struct member *x = &a->list[i], *y = &b->list[i];

                assert_int_equal(x->id, y->id);
                assert_string_equal(x->name, y->name);
                assert_int_equal(x->kind, y->kind);
                assert_int_equal(x->is_learning, y->is_learning);
                assert_int_equal(x->incarnation, y->incarnation);
                assert_int_equal(x->peer.port, y->peer.port);
                assert_true(address_equal(&x->peer.address, &y->peer.address));
                assert_true(address_equal(&x->api.address, &y->api.address));
        }
}

static void list_survives_its_bytes(void **state)
{
        struct members m = full_list(), again;
        struct buffer b = { 0 };

        (void)state;
        members_encode(&m, &b);
        assert_true(members_decode(b.bytes, b.n, &again));
        assert_same_list(&m, &again);
        buffer_done(&b);
}

static void cut_or_prolonged_list_is_refused(void **state)
{
        struct members m = full_list(), again = { .id_last = 9 };
        struct buffer b = { 0 };

        (void)state;
        members_encode(&m, &b);
        for (size_t n = 0; n < b.n; n++)
                assert_false(members_decode(b.bytes, n, &again));
        buffer_put_u8(&b, 0);
        assert_false(members_decode(b.bytes, b.n, &again));
        assert_int_equal(again.id_last, 9); /* nothing of it was taken */
        buffer_done(&b);
}

static bool decodes(const struct members *m)
{
        struct members again;
        struct buffer b = { 0 };
        bool good;

        members_encode(m, &b);
        good = members_decode(b.bytes, b.n, &again);
        buffer_done(&b);
        return good;
}

static void list_out_of_order_is_refused(void **state)
{
        struct members m = full_list();
        struct member first = m.list[0];

        (void)state;
        m.list[0] = m.list[1];
        m.list[1] = first;
        assert_false(decodes(&m));
}

static void list_with_a_name_or_an_id_twice_is_refused(void **state)
{
        struct members m = full_list();

        (void)state;
        assert_true(decodes(&m));
        memcpy(m.list[3].name, m.list[4].name, NAME_SIZE);
        assert_false(decodes(&m));
        m = full_list();
        m.list[3].id = 9;
        assert_false(decodes(&m));
        m.list[3].id = MEMBERS_MAX + 1;
        assert_false(decodes(&m));
        m = full_list();
        m.list[0].name[0] = '\0';
        assert_false(decodes(&m));
        m = full_list();
        m.list[0].kind = MEMBER_OBSERVER + 1;
        assert_false(decodes(&m));
}

static void free_ids_are_given_away_in_turn(void **state)
{
        struct members m = full_list();

        (void)state;
        assert_int_equal(members_free_id(&m), NODE_NOBODY);
        members_remove(&m, 2);
        assert_int_equal(members_free_id(&m), 2);
        members_remove(&m, 6);
        members_remove(&m, 4);
        assert_int_equal(members_free_id(&m), 6); /* the first one behind the 4 that went last */
        members_remove(&m, 77);
        assert_int_equal(m.n, MEMBERS_MAX - 3);
}

/* Changes. */

static struct node_change change_of(enum node_change_type type, unsigned machine, const char *name)
{
        struct node_change c = { .type = type,
                                 .kind = MEMBER_FULL,
                                 .peer = bench_endpoint(machine),
                                 .api = bench_endpoint(machine) };

        (void)snprintf(c.name, sizeof(c.name), "%s", name);
        return c;
}

static uint64_t ask(struct bench *b, node_id node, enum node_change_type type, unsigned machine,
                    const char *name)
{
        const struct node_change c = change_of(type, machine, name);

        return bench_change(b, node, &c);
}

static const struct members *list_at(struct bench *b, node_id node)
{
        return node_members(b->machines[node].node);
}

static const struct member *member_at(struct bench *b, node_id node, const char *name)
{
        return members_by_name(list_at(b, node), name);
}

static void assert_done(const struct bench *b, uint64_t request)
{
        const struct bench_seen *s = bench_answer(b, request);

        assert_non_null(s);
        if (s->effect.outcome != NODE_OK)
                fail_msg("%s: %s", node_outcome_name(s->effect.outcome), s->text);
}

static void assert_refused(const struct bench *b, uint64_t request, const char *text)
{
        const struct bench_seen *s = bench_answer(b, request);

        assert_non_null(s);
        assert_int_equal(s->effect.outcome, NODE_REFUSED);
        assert_string_equal(s->text, text);
}

static void start(struct bench *b, struct bench_setup setup)
{
        setup.has_disks = true;
        bench_start(b, &setup);
        bench_lead(b, 1);
        bench_meet(b);
        bench_wait(b, 10 * BENCH_HEARTBEAT);
        bench_forget(b);
}

/* @name is added at @node, runs as machine @id and becomes a voter by itself. */
static void add_voter(struct bench *b, node_id node, node_id id, const char *name)
{
        const struct member *m;

        assert_done(b, ask(b, node, NODE_CHANGE_ADD, id, name));
        m = member_at(b, node, name);
        assert_non_null(m);
        assert_int_equal(m->id, id);
        bench_join(b, id);
        bench_meet(b);
        for (unsigned i = 0; i < 100 && member_at(b, node, name)->is_learning; i++)
                bench_wait(b, BENCH_HEARTBEAT);
        assert_true(member_votes(member_at(b, node, name)));
}

static void disks_are_recorded_once_they_are_seen(void **state)
{
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        for (node_id id = 1; id <= 3; id++) {
                assert_int_equal(list_at(&b, id)->n, 3);
                for (node_id of = 1; of <= 3; of++)
                        assert_int_equal(members_by_id(list_at(&b, id), of)->incarnation, 100 + of);
        }
        bench_done(&b);
}

static void add_through_leader_or_follower(node_id asked)
{
        struct bench b;

        start(&b, (struct bench_setup){ 0 });
        add_voter(&b, asked, 4, "n4");
        for (node_id id = 1; id <= 4; id++) {
                assert_int_equal(list_at(&b, id)->n, 4);
                assert_int_equal(members_by_id(list_at(&b, id), 4)->incarnation, 104);
                assert_true(member_votes(members_by_id(list_at(&b, id), 4)));
        }
        /* It counts: of four, two are no quorum. */
        bench_stop(&b, 3);
        bench_stop(&b, 4);
        bench_wait(&b, 4 * BENCH_ELECTION);
        assert_false(raft_is_ready(node_raft(b.machines[1].node)));
        bench_done(&b);
}

static void member_added_at_the_leader_becomes_a_voter(void **state)
{
        (void)state;
        add_through_leader_or_follower(1);
}

static void member_added_at_a_follower_becomes_a_voter(void **state)
{
        (void)state;
        add_through_leader_or_follower(2);
}

static void observer_votes_only_when_it_is_promoted(void **state)
{
        struct node_change c = change_of(NODE_CHANGE_ADD, 4, "watcher");
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        c.kind = MEMBER_OBSERVER;
        assert_done(&b, bench_change(&b, 2, &c));
        bench_join(&b, 4);
        bench_meet(&b);
        bench_wait(&b, 20 * BENCH_ELECTION);
        assert_false(member_votes(member_at(&b, 1, "watcher")));
        assert_int_equal(member_at(&b, 4, "watcher")->incarnation, 104);
        assert_done(&b, ask(&b, 3, NODE_CHANGE_PROMOTE, 0, "watcher"));
        assert_int_equal(member_at(&b, 1, "watcher")->kind, MEMBER_FULL);
        bench_wait(&b, 20 * BENCH_ELECTION);
        assert_true(member_votes(member_at(&b, 1, "watcher")));
        bench_done(&b);
}

static void learner_that_never_came_is_not_promoted(void **state)
{
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        assert_done(&b, ask(&b, 1, NODE_CHANGE_ADD, 4, "n4"));
        bench_wait(&b, 20 * BENCH_ELECTION);
        assert_true(member_at(&b, 1, "n4")->is_learning);
        assert_refused(&b, ask(&b, 2, NODE_CHANGE_PROMOTE, 0, "n4"),
                       "it has not caught up with the others yet");
        bench_done(&b);
}

static void changes_that_make_no_sense_are_refused_with_a_reason(void **state)
{
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        for (node_id at = 1; at <= 2; at++) {
                assert_refused(&b, ask(&b, at, NODE_CHANGE_ADD, 7, "n2"),
                               "there is a member \"n2\" already; remove it first");
                assert_refused(&b, ask(&b, at, NODE_CHANGE_ADD, 2, "n4"),
                               "member \"n2\" has this address and port already");
                assert_refused(&b, ask(&b, at, NODE_CHANGE_REMOVE, 0, "n9"),
                               "there is no member \"n9\"");
                assert_refused(&b, ask(&b, at, NODE_CHANGE_PROMOTE, 0, "n9"),
                               "there is no member \"n9\"");
                assert_refused(&b, ask(&b, at, NODE_CHANGE_UPDATE, 9, "n9"),
                               "there is no member \"n9\"");
                assert_refused(&b, ask(&b, at, NODE_CHANGE_UPDATE, 2, "n3"),
                               "member \"n2\" has this address and port already");
                assert_refused(&b, ask(&b, at, NODE_CHANGE_ADD, 4, ""),
                               "the name of the member is not valid");
        }
        assert_int_equal(list_at(&b, 1)->n, 3);
        bench_done(&b);
}

static void tenth_member_is_refused(void **state)
{
        struct bench b;
        char name[NAME_SIZE];

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        for (unsigned i = 4; i <= MEMBERS_MAX; i++) {
                (void)snprintf(name, sizeof(name), "n%u", i);
                assert_done(&b, ask(&b, 1, NODE_CHANGE_ADD, i, name));
        }
        assert_refused(&b, ask(&b, 1, NODE_CHANGE_ADD, 10, "n10"),
                       "the cluster has 9 members, which is the most");
        bench_done(&b);
}

static void voter_that_would_leave_no_quorum_is_not_removed(void **state)
{
        struct bench b;
        uint64_t request;

        (void)state;
        start(&b, (struct bench_setup){ .n_candidates = 1 });
        bench_stop(&b, 3);
        bench_wait(&b, 4 * BENCH_ELECTION);
        request = ask(&b, 2, NODE_CHANGE_REMOVE, 0, "n2");
        assert_refused(&b, request, "the voters that can be reached would be no quorum then");
        assert_non_null(member_at(&b, 1, "n2"));
        bench_done(&b);
}

static void last_voter_is_not_removed(void **state)
{
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ .n_nodes = 1, .n_candidates = 1, .manual = true });
        assert_refused(&b, ask(&b, 1, NODE_CHANGE_REMOVE, 0, "n1"),
                       "\"n1\" is the last one that votes");
        bench_done(&b);
}

static void master_is_not_removed(void **state)
{
        struct bench b;
        node_id master;
        char name[NAME_SIZE], text[BENCH_TEXT_SIZE];

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        bench_wait(&b, 4 * BENCH_TTL);
        master = bench_lease(&b, 1)->holder;
        assert_int_equal(bench_lease(&b, 1)->state, STORE_LEASE_HELD);
        (void)snprintf(name, sizeof(name), "n%u", master);
        (void)snprintf(text, sizeof(text), "\"%s\" is master of service0; switch over first", name);
        assert_refused(&b, ask(&b, 3, NODE_CHANGE_REMOVE, 0, name), text);
        bench_done(&b);
}

static void follower_is_removed_and_stays_quiet(void **state)
{
        struct bench b;
        uint64_t term;

        (void)state;
        start(&b, (struct bench_setup){ .no_resources = true });
        term = raft_term(node_raft(b.machines[1].node));
        assert_done(&b, ask(&b, 2, NODE_CHANGE_REMOVE, 0, "n3"));
        bench_wait(&b, 20 * BENCH_ELECTION);
        assert_null(member_at(&b, 1, "n3"));
        assert_null(member_at(&b, 3, "n3")); /* it has heard of it */
        assert_int_equal(raft_term(node_raft(b.machines[1].node)), term);
        assert_true(raft_is_ready(node_raft(b.machines[1].node)));
        bench_done(&b);
}

static void leader_can_be_removed(node_id asked)
{
        struct bench b;
        uint64_t request;

        start(&b, (struct bench_setup){ .no_resources = true });
        bench_lead(&b, 3); /* who is no master */
        bench_forget(&b);
        request = ask(&b, asked, NODE_CHANGE_REMOVE, 0, "n3");
        bench_wait(&b, BENCH_REQUEST);
        assert_done(&b, request);
        assert_null(member_at(&b, 2, "n3"));
        assert_null(member_at(&b, 1, "n3"));
        assert_int_not_equal(raft_role(node_raft(b.machines[3].node)), RAFT_LEADER);
        bench_stop(&b, 3);
        bench_wait(&b, 20 * BENCH_ELECTION);
        assert_true(raft_is_ready(node_raft(b.machines[2].node)) ||
                    raft_is_ready(node_raft(b.machines[1].node)));
        bench_done(&b);
}

static void leader_is_removed_at_its_own_wish(void **state)
{
        (void)state;
        leader_can_be_removed(3);
}

static void leader_is_removed_by_a_follower(void **state)
{
        (void)state;
        leader_can_be_removed(2);
}

static void address_is_updated_everywhere(void **state)
{
        struct endpoint e = bench_endpoint(77);
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        assert_done(&b, ask(&b, 3, NODE_CHANGE_UPDATE, 77, "n2"));
        bench_wait(&b, 2 * BENCH_HEARTBEAT);
        for (node_id id = 1; id <= 3; id++)
                assert_true(address_equal(&member_at(&b, id, "n2")->peer.address, &e.address));
        bench_done(&b);
}

/* A change that only the old leader has: what it said of an index is worth nothing. */
static void change_that_is_lost_with_its_leader_is_made_again(void **state)
{
        struct bench b;
        uint64_t request;

        (void)state;
        start(&b, (struct bench_setup){ .no_resources = true });
        /* Leader 1 answers 2, but none of its entries gets through. */
        b.cut[1][3] = b.cut[3][1] = true;
        bench_stop(&b, 3);
        request = ask(&b, 1, NODE_CHANGE_ADD, 4, "n4");
        bench_isolate(&b, 1, true);
        assert_done(&b, request); /* 2 had it: this one is committed */
        request = ask(&b, 1, NODE_CHANGE_ADD, 5, "n5");
        assert_null(bench_answer(&b, request));
        bench_run(&b, 3, false);
        b.cut[2][3] = b.cut[3][2] = false;
        for (unsigned i = 0; i < 50 && raft_leader(node_raft(b.machines[3].node)) != 2 &&
                             raft_leader(node_raft(b.machines[2].node)) != 3;
             i++)
                bench_wait(&b, BENCH_HEARTBEAT);
        assert_done(&b, ask(&b, 2, NODE_CHANGE_UPDATE, 88, "n4"));
        bench_isolate(&b, 1, false);
        bench_wait(&b, BENCH_REQUEST);
        if (bench_answer(&b, request)->effect.outcome == NODE_OK)
                assert_non_null(member_at(&b, 2, "n5"));
        else
                assert_int_equal(bench_answer(&b, request)->effect.outcome, NODE_NO_QUORUM);
        bench_done(&b);
}

/* Lets the decision through, and the entry that was decided about nowhere. */
static bool catches_appends(struct bench *b, node_id from, node_id to, const uint8_t *bytes,
                            size_t n)
{
        (void)b;
        (void)to;
        (void)n;
        return from == 1 && bytes[0] == NODE_MESSAGE_RAFT;
}

static void decision_of_a_leader_that_is_gone_answers_nobody(void **state)
{
        struct bench b;
        uint64_t request;

        (void)state;
        start(&b, (struct bench_setup){ .no_resources = true });
        b.catches = catches_appends;
        request = ask(&b, 2, NODE_CHANGE_ADD, 4, "n4"); /* appended at 1, as 2 hears */
        assert_non_null(member_at(&b, 1, "n4"));
        assert_null(member_at(&b, 2, "n4"));
        bench_stop(&b, 1);
        bench_wait(&b, 10 * BENCH_ELECTION); /* 2 or 3 leads, and has an entry of its own there */
        assert_done(&b, request);
        assert_non_null(member_at(&b, 2, "n4"));
        assert_non_null(member_at(&b, 3, "n4"));
        bench_done(&b);
}

static void late_decision_of_an_earlier_term_is_not_believed(void **state)
{
        struct buffer late = { 0 };
        struct bench b;
        uint64_t request;

        (void)state;
        start(&b, (struct bench_setup){ .no_resources = true });
        bench_isolate(&b, 2, true);
        request = ask(&b, 2, NODE_CHANGE_ADD, 4, "n4");
        buffer_put_u8(&late, NODE_MESSAGE_CHANGE_DECIDED);
        buffer_put_u64(&late, b.machines[2].node->sequence);
        buffer_put_u64(&late, raft_term(node_raft(b.machines[2].node)) - 1);
        buffer_put_u8(&late, 0); /* appended */
        buffer_put_u64(&late, 1);
        buffer_put_string(&late, "");
        bench_message(&b, 1, 2, late.bytes, late.n);
        bench_wait(&b, BENCH_HEARTBEAT);
        assert_null(bench_answer(&b, request));
        buffer_done(&late);
        bench_done(&b);
}

static void typing_error_is_no_success_while_another_change_is_pending(void **state)
{
        struct bench b;
        uint64_t request;

        (void)state;
        start(&b, (struct bench_setup){ .no_resources = true });
        bench_isolate(&b, 2, true);
        bench_isolate(&b, 3, true);
        (void)ask(&b, 1, NODE_CHANGE_ADD, 4, "n4");
        request = ask(&b, 1, NODE_CHANGE_REMOVE, 0, "nobody-at-all"); /* not now */
        bench_isolate(&b, 2, false);
        bench_wait(&b, BENCH_REQUEST / 2);
        assert_refused(&b, request, "there is no member \"nobody-at-all\"");
        bench_done(&b);
}

/* A lagging write stands before the change, and is committed by the smaller quorum that it makes. */
static void change_that_commits_others_requests_leaves_the_queues_whole(void **state)
{
        const struct store_key_command key = { .action = STORE_SET, .path = "/a", .value = "x" };
        struct node_change c = change_of(NODE_CHANGE_REMOVE, 0, "n4");
        struct bench b;
        uint64_t write, change;

        (void)state;
        start(&b, (struct bench_setup){ .n_nodes = 4, .no_resources = true });
        bench_stop(&b, 4);
        bench_wait(&b, BENCH_HEARTBEAT);
        bench_isolate(&b, 3, true); /* for a moment: two of four have the write */
        write = bench_write(&b, 1, &key);
        assert_null(bench_answer(&b, write));
        /* As after a leader change: asked again, behind the change. */
        change = ++b.request;
        bench_feed(&b, 1,
                   (struct node_event){
                           .type = NODE_CHANGE, .request = change, .change = &c, .more = true });
        node_request_leader_changed(b.machines[1].node);
        bench_wait(&b, BENCH_HEARTBEAT);
        bench_isolate(&b, 3, false);
        bench_wait(&b, BENCH_REQUEST / 2);
        assert_int_equal(bench_answer(&b, write)->effect.outcome, NODE_OK);
        assert_done(&b, change);
        bench_done(&b);
}

static void added_twice_because_the_answer_was_lost(void **state)
{
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        assert_done(&b, ask(&b, 1, NODE_CHANGE_ADD, 4, "n4"));
        assert_done(&b, ask(&b, 2, NODE_CHANGE_ADD, 4, "n4"));
        assert_int_equal(list_at(&b, 1)->n, 4);
        bench_done(&b);
}

static void name_is_used_again_by_another_machine(void **state)
{
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ .no_resources = true });
        assert_done(&b, ask(&b, 1, NODE_CHANGE_REMOVE, 0, "n3"));
        bench_stop(&b, 3);
        add_voter(&b, 1, 4, "n3");
        assert_int_equal(member_at(&b, 1, "n3")->incarnation, 104);
        bench_done(&b);
}

/* The same id and the same name, but another disk: what was seen of the first one says nothing. */
static void id_is_used_again_by_a_machine_of_the_same_name(void **state)
{
        struct bench b;
        char name[NAME_SIZE];

        (void)state;
        start(&b, (struct bench_setup){ .no_resources = true });
        for (unsigned i = 4; i <= MEMBERS_MAX; i++) {
                (void)snprintf(name, sizeof(name), "n%u", i);
                assert_done(&b, ask(&b, 1, NODE_CHANGE_ADD, i, name));
        }
        assert_done(&b, ask(&b, 1, NODE_CHANGE_REMOVE, 0, "n3"));
        bench_stop(&b, 3);
        bench_wipe(&b, 3);
        assert_done(&b, ask(&b, 1, NODE_CHANGE_ADD, 3, "n3"));
        assert_int_equal(member_at(&b, 1, "n3")->id, 3);
        bench_wait(&b, 10 * BENCH_HEARTBEAT);
        assert_int_equal(member_at(&b, 1, "n3")->incarnation, 0);
        bench_join(&b, 3);
        bench_meet(&b);
        bench_wait(&b, 40 * BENCH_HEARTBEAT);
        assert_int_equal(member_at(&b, 1, "n3")->incarnation, 1103);
        assert_true(member_votes(member_at(&b, 1, "n3")));
        bench_done(&b);
}

/* It slept through the change that brought the one who leads now. */
static void member_with_an_old_list_follows_a_leader_it_does_not_know(void **state)
{
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ .no_resources = true });
        bench_stop(&b, 3);
        add_voter(&b, 1, 4, "n4");
        bench_lead(&b, 4);
        bench_run(&b, 3, false);
        bench_wait(&b, 10 * BENCH_ELECTION);
        assert_int_equal(raft_leader(node_raft(b.machines[3].node)), 4);
        assert_non_null(member_at(&b, 3, "n4"));
        assert_true(node_is_current(b.machines[3].node));
        bench_done(&b);
}

static void stranger_is_not_heard(void **state)
{
        struct buffer report = { 0 };
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        buffer_put_u8(&report, NODE_MESSAGE_REPORT);
        buffer_put_string(&report, "service0");
        node_message_put_report(&report, &(struct failover_report){ .healthy = true });
        bench_message(&b, 7, 1, report.bytes, report.n);
        assert_false(bench_view(&b, 1).reports[7].known);
        bench_message(&b, 2, 1, report.bytes, report.n);
        assert_true(bench_view(&b, 1).reports[2].known);
        buffer_done(&report);
        bench_done(&b);
}

static void service_holders_follow_the_list(void **state)
{
        struct failover_verdict verdicts[MEMBERS_MAX];
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ .follows = true });
        add_voter(&b, 2, 4, "n4");
        bench_wait(&b, BENCH_TTL);
        for (node_id id = 1; id <= 4; id++)
                assert_int_equal(
                        node_why_not(b.machines[id].node, 0, bench_clock(&b, id), verdicts), 4);
        assert_true(bench_view(&b, 1).reports[4].known);
        bench_done(&b);
}

static void expiry_counts_voters_only(void **state)
{
        struct buffer answer = { 0 };
        struct node_change c = change_of(NODE_CHANGE_ADD, 4, "watcher");
        struct node_inquiry *q;
        struct bench b;

        (void)state;
        start(&b, (struct bench_setup){ 0 });
        c.kind = MEMBER_OBSERVER;
        assert_done(&b, bench_change(&b, 1, &c));
        bench_lead(&b, 3); /* who holds nothing */
        bench_wait(&b, 4 * BENCH_TTL);
        bench_stop(&b, bench_lease(&b, 3)->holder);
        for (unsigned i = 0; i < 1000 && !b.machines[3].node->inquiry.open; i++) {
                b.cut[1][3] = b.cut[2][3] = b.machines[3].node->inquiry.open;
                bench_wait(&b, BENCH_HEARTBEAT / 10);
        }
        assert_true(b.machines[3].node->inquiry.open);
        q = &b.machines[3].node->inquiry;
        memset(q->agreed, 1, sizeof(q->agreed));
        q->answered = 0;
        buffer_put_u8(&answer, NODE_MESSAGE_ATTESTED);
        buffer_put_u64(&answer, q->number);
        buffer_put_u64(&answer, UINT64_MAX);
        buffer_put_u64(&answer, 0);
        bench_message(&b, 4, 3, answer.bytes, answer.n);
        assert_int_equal(q->agreed[0], 1);
        bench_message(&b, 1, 3, answer.bytes, answer.n);
        assert_int_equal(q->agreed[0], 2);
        buffer_done(&answer);
        bench_done(&b);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(list_survives_its_bytes),
                cmocka_unit_test(cut_or_prolonged_list_is_refused),
                cmocka_unit_test(list_out_of_order_is_refused),
                cmocka_unit_test(list_with_a_name_or_an_id_twice_is_refused),
                cmocka_unit_test(free_ids_are_given_away_in_turn),
                cmocka_unit_test(disks_are_recorded_once_they_are_seen),
                cmocka_unit_test(member_added_at_the_leader_becomes_a_voter),
                cmocka_unit_test(member_added_at_a_follower_becomes_a_voter),
                cmocka_unit_test(observer_votes_only_when_it_is_promoted),
                cmocka_unit_test(learner_that_never_came_is_not_promoted),
                cmocka_unit_test(changes_that_make_no_sense_are_refused_with_a_reason),
                cmocka_unit_test(tenth_member_is_refused),
                cmocka_unit_test(voter_that_would_leave_no_quorum_is_not_removed),
                cmocka_unit_test(last_voter_is_not_removed),
                cmocka_unit_test(master_is_not_removed),
                cmocka_unit_test(follower_is_removed_and_stays_quiet),
                cmocka_unit_test(leader_is_removed_at_its_own_wish),
                cmocka_unit_test(leader_is_removed_by_a_follower),
                cmocka_unit_test(address_is_updated_everywhere),
                cmocka_unit_test(change_that_is_lost_with_its_leader_is_made_again),
                cmocka_unit_test(decision_of_a_leader_that_is_gone_answers_nobody),
                cmocka_unit_test(late_decision_of_an_earlier_term_is_not_believed),
                cmocka_unit_test(typing_error_is_no_success_while_another_change_is_pending),
                cmocka_unit_test(change_that_commits_others_requests_leaves_the_queues_whole),
                cmocka_unit_test(added_twice_because_the_answer_was_lost),
                cmocka_unit_test(name_is_used_again_by_another_machine),
                cmocka_unit_test(id_is_used_again_by_a_machine_of_the_same_name),
                cmocka_unit_test(member_with_an_old_list_follows_a_leader_it_does_not_know),
                cmocka_unit_test(stranger_is_not_heard),
                cmocka_unit_test(service_holders_follow_the_list),
                cmocka_unit_test(expiry_counts_voters_only),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
