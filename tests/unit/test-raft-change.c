/* Changes of the membership: what a leader takes and refuses, learners, who leaves, who may vote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/raft-rig.h"

#define IDS(...) ((const node_id[]){ __VA_ARGS__, 0 })
#define NONE ((const node_id[]){ 0 })

static struct raft_members members(const node_id *voters, const node_id *learners)
{
        struct raft_members ret = { .n_voters = 0 };

        for (; *voters; voters++)
                ret.voters[ret.n_voters++] = *voters;
        for (; *learners; learners++)
                ret.learners[ret.n_learners++] = *learners;
        return ret;
}

static void change_with(struct rig *rig, const node_id *voters, const node_id *learners, bool force)
{
        const struct raft_membership m = { .members = members(voters, learners),
                                           .context = (const uint8_t *)"ctx",
                                           .n_context = 3 };

        rig_feed(rig, (struct raft_event){ .type = RAFT_EVENT_CHANGE,
                                           .membership = &m,
                                           .context = 5,
                                           .forced = force });
}

/* 0, or 1 and more for the refusal. */
static int change(struct rig *rig, const node_id *voters, const node_id *learners)
{
        const struct raft_effect *e;

        change_with(rig, voters, learners, false);
        e = rig_effect(rig, RAFT_REFUSED);
        if (!e) {
                e = rig_effect(rig, RAFT_PROPOSED);
                assert_non_null(e);
                assert_int_equal(e->context, 5);
                assert_int_equal(e->first, e->last);
                assert_non_null(rig_effect(rig, RAFT_MEMBERS_CHANGED));
                return -1;
        }
        assert_int_equal(e->refused, RAFT_EVENT_CHANGE);
        assert_int_equal(e->context, 5);
        assert_null(rig_effect(rig, RAFT_PERSIST));
        return (int)e->refusal;
}

#define assert_taken(result) assert_int_equal(result, -1)
#define assert_refused(result, refusal) assert_int_equal(result, (int)(refusal))

/* All that was sent is on all disks, also of the learners. */
static void settle(struct rig *rig)
{
        const struct raft_members now = *raft_members(rig->raft);

        rig_persist(rig);
        for (unsigned i = 0; i < now.n_voters + now.n_learners; i++) {
                node_id id = i < now.n_voters ? now.voters[i] : now.learners[i - now.n_voters];

                if (id != RIG_SELF)
                        rig_acknowledge(rig, id, raft_index_last(rig->raft));
        }
}

static bool voter(const struct rig *rig, node_id id)
{
        return raft_is_voter(raft_members(rig->raft), id);
}

static void start_leading(struct rig *rig, unsigned n_voters)
{
        rig_start(rig, &(struct rig_setup){ .n_voters = n_voters });
        rig_lead(rig);
        assert_true(raft_is_ready(rig->raft));
}

/* Member 4 is a learner that has all. */
static void add_learner(struct rig *rig)
{
        struct raft_members now = *raft_members(rig->raft);
        node_id voters[MEMBERS_MAX + 1] = { 0 };

        memcpy(voters, now.voters, now.n_voters);
        assert_taken(change(rig, voters, IDS(4)));
        settle(rig);
        settle(rig);
        assert_true(raft_peer_view(rig->raft, 4).caught_up);
}

static void change_is_an_entry_that_counts_when_appended(void **state)
{
        struct rig rig;
        const struct raft_entry *entry;
        const struct raft_membership *m;

        (void)state;
        start_leading(&rig, 3);
        assert_int_equal(raft_membership(rig.raft)->index, 0);
        assert_taken(change(&rig, IDS(1, 2), NONE));
        entry = raft_entry_at(rig.raft, 2);
        assert_int_equal(entry->type, RAFT_ENTRY_MEMBERS);
        assert_int_equal(rig_effect(&rig, RAFT_MEMBERS_CHANGED)->index, 2);
        assert_int_equal(rig_effect(&rig, RAFT_PERSIST)->persist.last, 2);
        m = raft_membership(rig.raft);
        assert_int_equal(m->index, 2);
        assert_int_equal(m->members.n_voters, 2);
        assert_memory_equal(m->context, "ctx", 3);
        assert_int_equal(m->n_context, 3);
        assert_int_equal(raft_membership_at(rig.raft, 1)->members.n_voters, 3);
        assert_int_equal(raft_membership_at(rig.raft, 2)->members.n_voters, 2);
        assert_int_equal(raft_membership_at(rig.raft, 9)->index, 2);
        rig_done(&rig);
}

static void first_step_tells_the_configuration_of_the_start(void **state)
{
        const struct raft_config config = { .self = 2,
                                            .members = { .voters = { 2 }, .n_voters = 1 },
                                            .context = (const uint8_t *)"start",
                                            .n_context = 5,
                                            .heartbeat = RIG_HEARTBEAT,
                                            .election_timeout = RIG_ELECTION };
        struct raft *r = raft_new(&config, &(struct raft_durable){ 0 }, INSTANT_NEVER);
        struct raft_effects effects;

        (void)state;
        raft_step(r, &(struct raft_event){ .type = RAFT_EVENT_PERSISTED }, &effects);
        assert_int_equal(effects.n, 1);
        assert_int_equal(effects.list[0].type, RAFT_MEMBERS_CHANGED);
        assert_memory_equal(raft_membership(r)->context, "start", 5);
        raft_step(r, &(struct raft_event){ .type = RAFT_EVENT_PERSISTED }, &effects);
        assert_int_equal(effects.n, 0);
        raft_free(r);
}

static void follower_does_not_change_the_members(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3 });
        assert_refused(change(&rig, IDS(1, 2), NONE), RAFT_NOT_LEADER);
        rig_done(&rig);
}

/*
 * The bug of the first publication (Ongaro, July 2015): with leaders of two terms that change
 * different members, each under a majority of its own list, nobody is common to both.
 */
static void no_change_before_an_entry_of_this_term_is_committed(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 4, .term = 1, .terms = { 1 } });
        rig_elect(&rig);
        rig_persist(&rig);
        assert_refused(change(&rig, IDS(1, 2, 3), NONE), RAFT_NOT_READY);
        rig_acknowledge(&rig, 2, 2);
        assert_refused(change(&rig, IDS(1, 2, 3), NONE), RAFT_NOT_READY);
        rig_acknowledge(&rig, 3, 2);
        assert_taken(change(&rig, IDS(1, 2, 3), NONE));
        rig_done(&rig);
}

static void only_one_change_at_a_time(void **state)
{
        struct rig rig;

        (void)state;
        start_leading(&rig, 5);
        assert_taken(change(&rig, IDS(1, 2, 3, 4), NONE));
        assert_refused(change(&rig, IDS(1, 2, 3), NONE), RAFT_CHANGE_PENDING);
        settle(&rig);
        assert_taken(change(&rig, IDS(1, 2, 3), NONE));
        rig_done(&rig);
}

static void only_one_voter_differs(void **state)
{
        struct rig rig;

        (void)state;
        start_leading(&rig, 3);
        assert_refused(change(&rig, IDS(1), NONE), RAFT_BAD_CHANGE);
        assert_refused(change(&rig, IDS(1, 2, 4), NONE), RAFT_BAD_CHANGE); /* a swap is two */
        assert_refused(change(&rig, IDS(1, 2, 3, 4, 5), NONE), RAFT_BAD_CHANGE);
        assert_refused(change(&rig, NONE, IDS(1, 2, 3)), RAFT_BAD_CHANGE);
        assert_refused(change(&rig, IDS(1, 2, 2), NONE), RAFT_BAD_CHANGE);
        assert_refused(change(&rig, IDS(1, 2, 3), IDS(3)), RAFT_BAD_CHANGE);
        assert_refused(change(&rig, IDS(1, 2, 3), IDS(10)), RAFT_BAD_CHANGE);
        change_with(&rig, IDS(1, 2, 4), NONE, true);
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->refusal, RAFT_BAD_CHANGE);
        assert_taken(change(&rig, IDS(3, 2, 1), IDS(7, 8, 9))); /* learners as one likes */
        rig_done(&rig);
}

static void last_voter_stays(void **state)
{
        struct rig rig;

        (void)state;
        start_leading(&rig, 1);
        assert_refused(change(&rig, NONE, NONE), RAFT_BAD_CHANGE);
        assert_refused(change(&rig, NONE, IDS(1)), RAFT_BAD_CHANGE);
        rig_done(&rig);
}

static void large_context_is_refused(void **state)
{
        static uint8_t context[RAFT_CONTEXT_BYTES_MAX + 1];
        struct raft_membership m = { .members = members(IDS(1, 2, 3), NONE),
                                     .context = context,
                                     .n_context = sizeof(context) };
        struct rig rig;

        (void)state;
        start_leading(&rig, 3);
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_CHANGE, .membership = &m });
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->refusal, RAFT_TOO_LARGE);
        m.n_context--;
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_CHANGE, .membership = &m });
        assert_null(rig_effect(&rig, RAFT_REFUSED));
        rig_done(&rig);
}

static void no_change_while_leadership_is_handed_over(void **state)
{
        struct rig rig;

        (void)state;
        start_leading(&rig, 3);
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_TRANSFER, .target = 2 });
        assert_refused(change(&rig, IDS(1, 2), NONE), RAFT_TRANSFERRING);
        rig_done(&rig);
}

static void full_log_takes_a_change(void **state)
{
        struct rig rig;

        (void)state;
        start_leading(&rig, 3);
        do {
                rig_propose(&rig, RAFT_ENTRY_BYTES_MAX);
        } while (!rig_effect(&rig, RAFT_REFUSED));
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->refusal, RAFT_LOG_FULL);
        assert_taken(change(&rig, IDS(1, 2), NONE));
        rig_done(&rig);
}

static void learner_gets_the_log_and_does_not_count(void **state)
{
        struct rig rig;
        const struct raft_message *m;

        (void)state;
        start_leading(&rig, 3);
        assert_taken(change(&rig, IDS(1, 2, 3), IDS(4)));
        m = rig_sent(&rig, RAFT_APPEND, 4);
        assert_non_null(m);
        rig_persist(&rig);
        rig_acknowledge(&rig, 4, 2);
        assert_int_equal(raft_index_committed(rig.raft), 1);
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_READ, .context = 9 });
        assert_non_null(rig_sent(&rig, RAFT_APPEND, 4)); /* its heartbeat */
        rig_acknowledge(&rig, 4, 2);
        assert_null(rig_effect(&rig, RAFT_READ_READY));
        rig_acknowledge(&rig, 2, 2);
        assert_non_null(rig_effect(&rig, RAFT_READ_READY));
        assert_int_equal(raft_index_committed(rig.raft), 2);
        rig_done(&rig);
}

static void learners_do_not_keep_a_leader_alive(void **state)
{
        struct rig rig;

        (void)state;
        start_leading(&rig, 3);
        add_learner(&rig);
        for (unsigned i = 0; i < 20 && raft_role(rig.raft) == RAFT_LEADER; i++) {
                rig_acknowledge(&rig, 4, raft_index_last(rig.raft));
                rig_timeout(&rig);
        }
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        rig_done(&rig);
}

static void learner_is_promoted_when_it_has_caught_up(void **state)
{
        struct rig rig;

        (void)state;
        start_leading(&rig, 3);
        assert_refused(change(&rig, IDS(1, 2, 3, 4), NONE), RAFT_NOT_CAUGHT_UP); /* no learner */
        assert_taken(change(&rig, IDS(1, 2, 3), IDS(4)));
        rig_persist(&rig);
        rig_acknowledge(&rig, 2, 2);
        assert_refused(change(&rig, IDS(1, 2, 3, 4), NONE), RAFT_NOT_CAUGHT_UP); /* silent */
        rig_acknowledge(&rig, 4, 1);
        assert_false(raft_peer_view(rig.raft, 4).caught_up); /* behind */
        rig_acknowledge(&rig, 4, 2);
        assert_true(raft_peer_view(rig.raft, 4).caught_up);
        assert_taken(change(&rig, IDS(1, 2, 3, 4), NONE));
        assert_true(voter(&rig, 4));
        /* From now on three of four. */
        rig_persist(&rig);
        rig_acknowledge(&rig, 2, 3);
        assert_int_equal(raft_index_committed(rig.raft), 2);
        rig_acknowledge(&rig, 4, 3);
        assert_int_equal(raft_index_committed(rig.raft), 3);
        rig_done(&rig);
}

static void learner_that_is_too_slow_is_not_promoted(void **state)
{
        struct rig rig;

        (void)state;
        start_leading(&rig, 3);
        add_learner(&rig);
        rig_propose(&rig, 1);
        settle(&rig);
        /* The others go on; it answers, but does not get further, for more than a time-out. */
        for (unsigned i = 0; i < 6; i++) {
                rig_propose(&rig, 1);
                rig_timeout(&rig);
                rig_persist(&rig);
                rig_acknowledge(&rig, 2, raft_index_last(rig.raft));
                rig_acknowledge(&rig, 3, raft_index_last(rig.raft));
                rig_acknowledge(&rig, 4, 3);
        }
        assert_false(raft_peer_view(rig.raft, 4).caught_up);
        assert_refused(change(&rig, IDS(1, 2, 3, 4), NONE), RAFT_NOT_CAUGHT_UP);
        change_with(&rig, IDS(1, 2, 3, 4), NONE, true);
        assert_null(rig_effect(&rig, RAFT_REFUSED));
        rig_done(&rig);
}

/* Voters 2 and 3 of four fall silent, or of three; the leader and 4, or 2, are left. */
static void change_that_would_lose_the_quorum_is_refused(void **state)
{
        struct rig rig;

        (void)state;
        start_leading(&rig, 3);
        add_learner(&rig);
        for (unsigned i = 0; i < 8; i++) {
                rig_timeout(&rig);
                rig_acknowledge(&rig, 2, raft_index_last(rig.raft)); /* 3 is silent, 4 as well */
        }
        assert_int_equal(raft_role(rig.raft), RAFT_LEADER);
        assert_refused(change(&rig, IDS(1, 3), NONE), RAFT_NO_QUORUM);
        assert_refused(change(&rig, IDS(2, 3), NONE), RAFT_NO_QUORUM);
        assert_refused(change(&rig, IDS(1, 2, 3, 4), NONE), RAFT_NOT_CAUGHT_UP);
        assert_taken(change(&rig, IDS(1, 2), IDS(4))); /* who does not answer may go */
        rig_done(&rig);
}

static void promoted_voter_has_time_to_answer(void **state)
{
        struct rig rig;

        (void)state;
        start_leading(&rig, 1);
        rig_wait(&rig, 100 * RIG_ELECTION);
        assert_taken(change(&rig, IDS(1), IDS(2)));
        rig_persist(&rig);
        assert_int_equal(raft_index_committed(rig.raft), 2);
        rig_wait(&rig, 10 * RIG_ELECTION);
        change_with(&rig, IDS(1, 2), NONE, true); /* though it never answered */
        assert_null(rig_effect(&rig, RAFT_REFUSED));
        rig_persist(&rig);
        assert_int_equal(raft_role(rig.raft), RAFT_LEADER);
        rig_wait(&rig, RIG_ELECTION - 1);
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_TIMEOUT });
        assert_int_equal(raft_role(rig.raft), RAFT_LEADER);
        rig_wait(&rig, 1);
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_TIMEOUT });
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        rig_done(&rig);
}

static void lone_leader_begins_to_send_heartbeats(void **state)
{
        struct rig rig;

        (void)state;
        start_leading(&rig, 1);
        assert_true(raft_deadline(rig.raft).usec == INSTANT_FOREVER.usec);
        assert_taken(change(&rig, IDS(1), IDS(2)));
        assert_int_equal(raft_deadline(rig.raft).usec, rig.now + RIG_HEARTBEAT);
        rig_persist(&rig);
        rig_acknowledge(&rig, 2, 2);
        assert_taken(change(&rig, IDS(1), NONE));
        rig_persist(&rig);
        rig_acknowledge(&rig, 2, 3);
        assert_true(raft_deadline(rig.raft).usec == INSTANT_FOREVER.usec);
        rig_done(&rig);
}

static void removed_member_is_told_the_commit_and_then_no_more(void **state)
{
        struct rig rig;
        const struct raft_message *m;

        (void)state;
        start_leading(&rig, 3);
        assert_taken(change(&rig, IDS(1, 2), NONE));
        m = rig_sent(&rig, RAFT_APPEND, 3);
        assert_non_null(m);
        assert_int_equal(m->n_entries, 1);
        rig_persist(&rig);
        rig_acknowledge(&rig, 3, 2);
        assert_int_equal(raft_index_committed(rig.raft), 1); /* it does not count any more */
        rig_acknowledge(&rig, 2, 2);
        m = rig_sent(&rig, RAFT_APPEND, 3);
        assert_non_null(m);
        assert_int_equal(m->commit, 2);
        rig_timeout(&rig);
        assert_non_null(rig_sent(&rig, RAFT_APPEND, 2));
        assert_null(rig_sent(&rig, RAFT_APPEND, 3));
        rig_receive(&rig, (struct raft_message){
                                  .type = RAFT_APPEND_REPLY, .from = 3, .term = 9, .round = 1 });
        assert_int_equal(raft_role(rig.raft), RAFT_LEADER); /* nor is it heard */
        assert_int_equal(raft_peer_view(rig.raft, 3).match, 0);
        rig_done(&rig);
}

static void removed_member_that_is_dead_is_given_up(void **state)
{
        struct rig rig;

        (void)state;
        start_leading(&rig, 3);
        assert_taken(change(&rig, IDS(1, 2), NONE));
        settle(&rig);
        for (unsigned i = 0; i <= RIG_ELECTION / RIG_HEARTBEAT; i++) {
                rig_timeout(&rig);
                rig_acknowledge(&rig, 2, 2);
        }
        rig_timeout(&rig);
        assert_null(rig_sent(&rig, RAFT_APPEND, 3));
        rig_done(&rig);
}

static void removed_leader_hands_over_and_steps_down(void **state)
{
        struct rig rig;
        const struct raft_message *m;

        (void)state;
        start_leading(&rig, 3);
        assert_taken(change(&rig, IDS(2, 3), NONE));
        assert_int_equal(raft_role(rig.raft), RAFT_LEADER);
        rig_propose(&rig, 1); /* it goes on until then, */
        assert_non_null(rig_effect(&rig, RAFT_PROPOSED));
        rig_persist(&rig);
        rig_acknowledge(&rig, 2, 3);
        assert_int_equal(raft_index_committed(rig.raft), 1); /* and does not count itself */
        rig_acknowledge(&rig, 3, 2);
        assert_int_equal(raft_index_committed(rig.raft), 2);
        m = rig_sent(&rig, RAFT_TIMEOUT_NOW, 2); /* who has all */
        assert_non_null(m);
        assert_int_equal(m->log_index, 3);
        assert_int_equal(rig_sent(&rig, RAFT_APPEND, 2)->commit, 2); /* after the commit */
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        assert_int_equal(rig.effects.list[0].type, RAFT_ROLE_CHANGED);
        /* It does not come back. */
        rig_timeout(&rig);
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        assert_int_equal(rig_n_sent(&rig), 0);
        assert_true(raft_deadline(rig.raft).usec == INSTANT_FOREVER.usec);
        rig_done(&rig);
}

static void removed_leader_that_finds_no_heir_in_time_steps_down(void **state)
{
        struct rig rig;

        (void)state;
        start_leading(&rig, 3);
        assert_taken(change(&rig, IDS(2, 3), NONE));
        rig_propose(&rig, 1);
        rig_persist(&rig);
        rig_acknowledge(&rig, 2, 2);
        rig_acknowledge(&rig, 3, 2);
        assert_int_equal(raft_role(rig.raft), RAFT_LEADER); /* somebody shall have all first */
        rig_propose(&rig, 1);
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->refusal, RAFT_TRANSFERRING);
        rig_wait(&rig, RIG_ELECTION);
        rig_acknowledge(&rig, 2, 2);
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_TIMEOUT });
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        rig_done(&rig);
}

/* It alone may have its removal: the others would lose every election against its log. */
static void removed_leader_stands_again_while_its_removal_is_not_committed(void **state)
{
        struct rig rig;

        (void)state;
        start_leading(&rig, 2);
        assert_taken(change(&rig, IDS(2), NONE));
        rig_persist(&rig);
        rig_wait(&rig, 3 * RIG_ELECTION);
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_TIMEOUT }); /* nobody answered */
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        rig_attempt(&rig);
        assert_int_equal(raft_role(rig.raft), RAFT_PRE_CANDIDATE);
        assert_non_null(rig_sent(&rig, RAFT_PRE_VOTE, 2));
        rig_receive(&rig,
                    (struct raft_message){
                            .type = RAFT_PRE_VOTE_REPLY, .from = 2, .term = 2, .granted = true });
        rig_persist(&rig); /* its own vote is none */
        assert_int_equal(raft_role(rig.raft), RAFT_CANDIDATE);
        rig_receive(&rig, (struct raft_message){
                                  .type = RAFT_VOTE_REPLY, .from = 2, .term = 2, .granted = true });
        assert_int_equal(raft_role(rig.raft), RAFT_LEADER);
        rig_persist(&rig);
        assert_int_equal(raft_index_committed(rig.raft), 1);
        rig_acknowledge(&rig, 2, raft_index_last(rig.raft));
        assert_int_equal(raft_index_committed(rig.raft), 3);
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        rig_timeout(&rig);
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        rig_done(&rig);
}

/* The entry of a configuration behind @log_index, from member @from that leads @term. */
static void append_members(struct rig *rig, node_id from, uint64_t term, uint64_t log_index,
                           uint64_t log_term, const struct raft_members *m)
{
        struct buffer b = { 0 };
        struct raft_entry entry = { .index = log_index + 1,
                                    .term = term,
                                    .type = RAFT_ENTRY_MEMBERS };

        raft_members_encode(m, &b);
        entry.bytes = b.bytes;
        entry.n = b.n;
        rig_receive(rig, (struct raft_message){ .type = RAFT_APPEND,
                                                .from = from,
                                                .term = term,
                                                .log_index = log_index,
                                                .log_term = log_term,
                                                .round = 1,
                                                .entries = &entry,
                                                .n_entries = 1 });
        buffer_done(&b);
}

static void truncation_undoes_a_configuration(void **state)
{
        const struct raft_members five = members(IDS(1, 2, 3, 4, 5), NONE);
        const struct raft_members two = members(IDS(1, 2), IDS(7));
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 4, .term = 1, .terms = { 1 } });
        append_members(&rig, 2, 2, 1, 1, &five);
        assert_int_equal(rig_effect(&rig, RAFT_MEMBERS_CHANGED)->index, 2);
        assert_true(voter(&rig, 5));
        rig_append(&rig,
                   (struct raft_message){
                           .from = 3, .term = 3, .log_index = 1, .log_term = 1, .round = 1 },
                   (const uint64_t[]){ 3, 0 });
        assert_int_equal(rig_effect(&rig, RAFT_MEMBERS_CHANGED)->index, 0);
        assert_int_equal(raft_members(rig.raft)->n_voters, 4);
        append_members(&rig, 3, 3, 2, 3, &five);
        append_members(&rig, 4, 4, 2, 3, &two); /* another one in its place */
        assert_int_equal(raft_membership(rig.raft)->index, 3);
        assert_int_equal(raft_members(rig.raft)->n_voters, 2);
        assert_true(raft_is_learner(raft_members(rig.raft), 7));
        rig_done(&rig);
}

static void restart_takes_the_configuration_from_the_log(void **state)
{
        static const uint8_t bytes[] = { 2, 1, 5, 1, 6, 'z' };
        const struct raft_entry entries[] = {
                { .index = 1, .term = 1, .type = RAFT_ENTRY_NOOP },
                { .index = 2, .term = 1, .type = RAFT_ENTRY_MEMBERS, .bytes = bytes, .n = 6 },
                { .index = 3, .term = 1, .type = RAFT_ENTRY_COMMAND },
        };
        const struct raft_config config = { .self = 1,
                                            .members = members(IDS(1, 2, 3), NONE),
                                            .heartbeat = RIG_HEARTBEAT,
                                            .election_timeout = RIG_ELECTION };
        struct raft *r = raft_new(
                &config, &(struct raft_durable){ .term = 1, .entries = entries, .n_entries = 3 },
                INSTANT_NEVER);

        (void)state;
        assert_int_equal(raft_membership(r)->index, 2);
        assert_true(raft_is_voter(raft_members(r), 5));
        assert_true(raft_is_learner(raft_members(r), 6));
        assert_int_equal(raft_membership(r)->n_context, 1);
        assert_int_equal(raft_membership(r)->context[0], 'z');
        raft_free(r);
}

static void member_that_joins_waits_and_follows_whoever_leads(void **state)
{
        const struct raft_members joined = members(IDS(2, 3), IDS(1));
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 0 });
        assert_int_equal(raft_members(rig.raft)->n_voters, 0);
        rig_timeout(&rig);
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        assert_true(raft_deadline(rig.raft).usec == INSTANT_FOREVER.usec);
        /* Nobody gets a vote from it while it has nothing. */
        rig_receive(&rig, (struct raft_message){ .type = RAFT_PRE_VOTE, .from = 3, .term = 1 });
        assert_int_equal(rig_n_sent(&rig), 0);
        rig_receive(&rig, (struct raft_message){ .type = RAFT_VOTE, .from = 3, .term = 1 });
        assert_int_equal(rig.effects.n, 0);
        append_members(&rig, 2, 1, 0, 0, &joined);
        assert_int_equal(raft_leader(rig.raft), 2);
        rig_persist(&rig);
        assert_int_equal(rig_sent(&rig, RAFT_APPEND_REPLY, 2)->log_index, 1);
        /* A learner does not stand for election: it only forgets who led. */
        rig_timeout(&rig);
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        assert_int_equal(raft_leader(rig.raft), NODE_NOBODY);
        assert_int_equal(rig_n_sent(&rig), 0);
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_SUSPECT, .target = 2 });
        assert_int_equal(rig.effects.n, 0);
        rig_done(&rig);
}

static void learner_is_not_told_to_campaign(void **state)
{
        const struct raft_members joined = members(IDS(2, 3), IDS(1));
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 0 });
        append_members(&rig, 2, 1, 0, 0, &joined);
        rig_persist(&rig);
        rig_receive(&rig, (struct raft_message){ .type = RAFT_TIMEOUT_NOW,
                                                 .from = 2,
                                                 .term = 1,
                                                 .log_index = 1,
                                                 .log_term = 1 });
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        assert_true(rig_sent(&rig, RAFT_APPEND_REPLY, 2)->transfer);
        rig_done(&rig);
}

/* It was promoted, the leader that did it is gone, and the entry did not reach it. */
static void learner_votes_for_who_may_know_that_it_was_promoted(void **state)
{
        const struct raft_members joined = members(IDS(2, 3), IDS(1));
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 0 });
        append_members(&rig, 2, 1, 0, 0, &joined);
        rig_persist(&rig);
        rig_wait(&rig, RIG_ELECTION);
        rig_receive(
                &rig,
                (struct raft_message){
                        .type = RAFT_VOTE, .from = 3, .term = 2, .log_index = 2, .log_term = 1 });
        assert_int_equal(rig_effect(&rig, RAFT_PERSIST)->persist.vote, 3);
        rig_persist(&rig);
        assert_true(rig_sent(&rig, RAFT_VOTE_REPLY, 3)->granted);
        rig_done(&rig);
}

static void votes_of_learners_are_not_counted(void **state)
{
        const struct raft_members three = members(IDS(1, 2, 3), IDS(4));
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .no_pre_vote = true });
        append_members(&rig, 2, 1, 0, 0, &three);
        rig_persist(&rig);
        rig_attempt(&rig);
        rig_persist(&rig);
        assert_null(rig_sent(&rig, RAFT_VOTE, 4));
        rig_receive(&rig, (struct raft_message){
                                  .type = RAFT_VOTE_REPLY, .from = 4, .term = 2, .granted = true });
        assert_int_equal(raft_role(rig.raft), RAFT_CANDIDATE);
        rig_receive(&rig, (struct raft_message){
                                  .type = RAFT_VOTE_REPLY, .from = 2, .term = 2, .granted = true });
        assert_int_equal(raft_role(rig.raft), RAFT_LEADER);
        rig_done(&rig);
}

static void who_leads_has_the_vote_of_all_that_follow(void **state)
{
        struct rig rig;
        const struct raft_effect *e;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 4 });
        rig_append(&rig, (struct raft_message){ .from = 2, .term = 4, .round = 1 }, NULL);
        e = rig_effect(&rig, RAFT_PERSIST);
        assert_true(e->persist.has_hard_state);
        assert_int_equal(e->persist.vote, 2);
        rig_append(&rig, (struct raft_message){ .from = 2, .term = 4, .round = 2 }, NULL);
        assert_null(rig_effect(&rig, RAFT_PERSIST));
        rig_persist(&rig);
        rig_receive(&rig, (struct raft_message){
                                  .type = RAFT_VOTE, .from = 3, .term = 4, .transfer = true });
        assert_false(rig_sent(&rig, RAFT_VOTE_REPLY, 3)->granted);
        rig_done(&rig);
}

/* What the disk before it had acknowledged under the same id is not on the new disk. */
static void answers_from_before_an_id_came_back_do_not_count(void **state)
{
        struct rig rig;
        uint64_t old_round;

        (void)state;
        start_leading(&rig, 3);
        add_learner(&rig);
        old_round = rig.round;
        assert_taken(change(&rig, IDS(1, 2, 3), NONE));
        settle(&rig);
        assert_taken(change(&rig, IDS(1, 2, 3), IDS(4)));
        assert_int_equal(raft_peer_view(rig.raft, 4).match, 0);
        rig_receive(&rig, (struct raft_message){ .type = RAFT_APPEND_REPLY,
                                                 .from = 4,
                                                 .term = 1,
                                                 .log_index = 2,
                                                 .round = old_round,
                                                 .granted = true });
        assert_int_equal(raft_peer_view(rig.raft, 4).match, 0);
        rig_acknowledge(&rig, 4, 1);
        assert_int_equal(raft_peer_view(rig.raft, 4).match, 1);
        rig_done(&rig);
}

static void smaller_quorum_commits_what_it_has(void **state)
{
        struct rig rig;

        (void)state;
        start_leading(&rig, 4);
        rig_propose(&rig, 1);
        rig_persist(&rig);
        rig_acknowledge(&rig, 2, 2);
        rig_acknowledge(&rig, 3, 1);
        assert_int_equal(raft_index_committed(rig.raft), 1);
        assert_taken(change(&rig, IDS(1, 2, 3), NONE));
        assert_int_equal(raft_index_committed(rig.raft), 2);
        rig_done(&rig);
}

static void handover_goes_to_voters_only(void **state)
{
        struct rig rig;

        (void)state;
        start_leading(&rig, 2);
        add_learner(&rig);
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_TRANSFER, .target = 4 });
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->refusal, RAFT_BAD_TARGET);
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_TRANSFER });
        assert_int_equal(rig_noted(&rig, RAFT_NOTE_TRANSFER_STARTED)->peer, 2);
        rig_done(&rig);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(change_is_an_entry_that_counts_when_appended),
                cmocka_unit_test(first_step_tells_the_configuration_of_the_start),
                cmocka_unit_test(follower_does_not_change_the_members),
                cmocka_unit_test(no_change_before_an_entry_of_this_term_is_committed),
                cmocka_unit_test(only_one_change_at_a_time),
                cmocka_unit_test(only_one_voter_differs),
                cmocka_unit_test(last_voter_stays),
                cmocka_unit_test(large_context_is_refused),
                cmocka_unit_test(no_change_while_leadership_is_handed_over),
                cmocka_unit_test(full_log_takes_a_change),
                cmocka_unit_test(learner_gets_the_log_and_does_not_count),
                cmocka_unit_test(learners_do_not_keep_a_leader_alive),
                cmocka_unit_test(learner_is_promoted_when_it_has_caught_up),
                cmocka_unit_test(learner_that_is_too_slow_is_not_promoted),
                cmocka_unit_test(change_that_would_lose_the_quorum_is_refused),
                cmocka_unit_test(promoted_voter_has_time_to_answer),
                cmocka_unit_test(lone_leader_begins_to_send_heartbeats),
                cmocka_unit_test(removed_member_is_told_the_commit_and_then_no_more),
                cmocka_unit_test(removed_member_that_is_dead_is_given_up),
                cmocka_unit_test(removed_leader_hands_over_and_steps_down),
                cmocka_unit_test(removed_leader_that_finds_no_heir_in_time_steps_down),
                cmocka_unit_test(removed_leader_stands_again_while_its_removal_is_not_committed),
                cmocka_unit_test(truncation_undoes_a_configuration),
                cmocka_unit_test(restart_takes_the_configuration_from_the_log),
                cmocka_unit_test(member_that_joins_waits_and_follows_whoever_leads),
                cmocka_unit_test(learner_is_not_told_to_campaign),
                cmocka_unit_test(learner_votes_for_who_may_know_that_it_was_promoted),
                cmocka_unit_test(votes_of_learners_are_not_counted),
                cmocka_unit_test(who_leads_has_the_vote_of_all_that_follow),
                cmocka_unit_test(answers_from_before_an_id_came_back_do_not_count),
                cmocka_unit_test(smaller_quorum_commits_what_it_has),
                cmocka_unit_test(handover_goes_to_voters_only),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
