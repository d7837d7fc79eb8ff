/* Snapshots: the log that forgets, the one that begins anew, and members that need one. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/raft-rig.h"

#define TERMS(...) ((const uint64_t[]){ __VA_ARGS__, 0 })

static void compact(struct rig *rig, uint64_t index, uint64_t keep)
{
        rig_feed(rig,
                 (struct raft_event){ .type = RAFT_EVENT_COMPACT, .index = index, .keep = keep });
}

/* Voters 1 to 3 and 9 since entry @since. */
static struct raft_membership membership(uint64_t since)
{
        return (struct raft_membership){ .index = since,
                                         .members = { .voters = { 1, 2, 3, 9 }, .n_voters = 4 },
                                         .context = (const uint8_t *)"snap",
                                         .n_context = 4 };
}

static void install(struct rig *rig, uint64_t index, uint64_t term)
{
        const struct raft_membership m = membership(index);

        rig_feed(rig, (struct raft_event){ .type = RAFT_EVENT_INSTALL,
                                           .index = index,
                                           .term = term,
                                           .membership = &m,
                                           .context = 3 });
}

static void sent(struct rig *rig, node_id to, bool ok)
{
        rig_feed(rig,
                 (struct raft_event){ .type = RAFT_EVENT_SNAPSHOT_SENT, .target = to, .ok = ok });
}

static struct raft_message append(uint64_t term, uint64_t index, uint64_t log_term, uint64_t commit)
{
        return (struct raft_message){ .from = 2,
                                      .term = term,
                                      .log_index = index,
                                      .log_term = log_term,
                                      .commit = commit,
                                      .round = 1 };
}

static void reject(struct rig *rig, node_id from, uint64_t index, uint64_t hint, uint64_t hint_term)
{
        rig_receive(rig, (struct raft_message){ .type = RAFT_APPEND_REPLY,
                                                .from = from,
                                                .term = raft_term(rig->raft),
                                                .log_index = index,
                                                .round = rig->round,
                                                .hint_index = hint,
                                                .hint_term = hint_term });
}

/* A leader with @n commands behind its no-op; member 3 has answered nothing yet. */
static void lead(struct rig *rig, unsigned n)
{
        rig_start(rig, &(struct rig_setup){ .n_voters = 3 });
        rig_elect(rig);
        for (unsigned i = 0; i < n; i++)
                rig_propose(rig, 1);
        rig_persist(rig);
        rig_acknowledge(rig, 2, 1);
        rig_acknowledge(rig, 2, raft_index_last(rig->raft));
        assert_int_equal(raft_index_committed(rig->raft), n + 1);
}

static void log_forgets_what_is_covered_but_for_a_tail(void **state)
{
        struct rig rig;
        const struct raft_effect *e;

        (void)state;
        lead(&rig, 9);
        compact(&rig, 8, 3);
        e = rig_effect(&rig, RAFT_PERSIST);
        assert_int_equal(e->persist.snapshot_index, 8);
        assert_int_equal(e->persist.snapshot_term, 1);
        assert_false(e->persist.snapshot_resets);
        assert_int_equal(e->persist.first, 0);
        assert_int_equal(e->persist.truncate_from, 0);
        assert_null(raft_entry_at(rig.raft, 5));
        assert_non_null(raft_entry_at(rig.raft, 6));
        assert_int_equal(raft_entry_at(rig.raft, 10)->index, 10);
        assert_int_equal(raft_index_snapshot(rig.raft), 8);
        assert_int_equal(raft_index_last(rig.raft), 10);
        rig_propose(&rig, 1);
        assert_int_equal(rig_effect(&rig, RAFT_PERSIST)->persist.first, 11);
        assert_int_equal(rig_effect(&rig, RAFT_PERSIST)->persist.snapshot_index, 0);
        rig_done(&rig);
}

static void older_snapshot_of_ones_own_changes_nothing(void **state)
{
        struct rig rig;

        (void)state;
        lead(&rig, 9);
        compact(&rig, 8, 0);
        compact(&rig, 8, 0);
        assert_int_equal(rig.effects.n, 0);
        compact(&rig, 5, 0);
        assert_int_equal(rig.effects.n, 0);
        assert_int_equal(raft_index_snapshot(rig.raft), 8);
        compact(&rig, 9, 100); /* the tail does not come back */
        assert_null(raft_entry_at(rig.raft, 8));
        assert_non_null(raft_entry_at(rig.raft, 9));
        rig_done(&rig);
}

static void tail_has_a_limit_in_bytes(void **state)
{
        struct rig rig;
        uint64_t last;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 1 });
        rig_lead(&rig);
        for (unsigned i = 0; i < 80; i++) {
                rig_propose(&rig, RAFT_ENTRY_BYTES_MAX);
                rig_persist(&rig);
        }
        last = raft_index_last(rig.raft);
        compact(&rig, last, 1000);
        assert_null(raft_entry_at(rig.raft, last - 64)); /* of 1 MiB each */
        assert_non_null(raft_entry_at(rig.raft, last - 30));
        rig_done(&rig);
}

static void completions_of_what_was_covered_are_in_order(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .vote = 2 });
        rig_append(&rig, append(1, 0, 0, 0), TERMS(1, 1));
        rig_append(&rig, append(1, 2, 1, 4), TERMS(1, 1));
        assert_int_equal(raft_index_committed(rig.raft), 4);
        compact(&rig, 4, 0); /* applied, though our own disk is behind */
        rig_persist_up_to(&rig, 1);
        assert_int_equal(rig_sent(&rig, RAFT_APPEND_REPLY, 2)->log_index, 2);
        rig_persist(&rig);
        assert_int_equal(rig_sent(&rig, RAFT_APPEND_REPLY, 2)->log_index, 4);
        rig_done(&rig);
}

static void configuration_of_the_base_survives(void **state)
{
        const struct raft_membership added = { .members = { .voters = { 1, 2, 3 },
                                                            .n_voters = 3,
                                                            .learners = { 5 },
                                                            .n_learners = 1 } };
        struct rig rig;

        (void)state;
        lead(&rig, 3);
        rig_feed(&rig, (struct raft_event){ .type = RAFT_EVENT_CHANGE, .membership = &added });
        rig_propose(&rig, 1);
        rig_persist(&rig);
        rig_acknowledge(&rig, 2, 6);
        compact(&rig, 6, 0);
        assert_null(rig_effect(&rig, RAFT_MEMBERS_CHANGED));
        assert_int_equal(raft_membership(rig.raft)->index, 5);
        assert_int_equal(raft_membership_at(rig.raft, 6)->index, 5);
        assert_true(raft_is_learner(raft_members(rig.raft), 5));
        rig_done(&rig);
}

static void restart_begins_at_the_snapshot(void **state)
{
        const struct raft_config config = { .self = 1,
                                            .members = { .voters = { 1, 2, 3 }, .n_voters = 3 },
                                            .heartbeat = RIG_HEARTBEAT,
                                            .election_timeout = RIG_ELECTION };
        struct raft *r = raft_new(&config,
                                  &(struct raft_durable){ .term = 3,
                                                          .snapshot_index = 20,
                                                          .snapshot_term = 3,
                                                          .membership = membership(15) },
                                  INSTANT_NEVER);

        (void)state;
        assert_int_equal(raft_index_committed(r), 20);
        assert_int_equal(raft_index_last(r), 20);
        assert_int_equal(raft_index_snapshot(r), 20);
        assert_int_equal(raft_membership(r)->index, 15);
        assert_true(raft_is_voter(raft_members(r), 9)); /* not what the file says */
        raft_free(r);
}

static void snapshot_ahead_replaces_the_log(void **state)
{
        struct rig rig;
        const struct raft_effect *e;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 2, .terms = { 1, 1, 2 } });
        install(&rig, 30, 2);
        e = rig_effect(&rig, RAFT_INSTALLED);
        assert_int_equal(e->index, 30);
        e = rig_effect(&rig, RAFT_PERSIST);
        assert_int_equal(e->persist.snapshot_index, 30);
        assert_int_equal(e->persist.snapshot_term, 2);
        assert_true(e->persist.snapshot_resets);
        assert_null(rig_effect(&rig, RAFT_COMMITTED)); /* it is applied already */
        assert_int_equal(rig_effect(&rig, RAFT_MEMBERS_CHANGED)->index, 30);
        assert_int_equal(raft_index_committed(rig.raft), 30);
        assert_int_equal(raft_index_last(rig.raft), 30);
        assert_true(raft_is_voter(raft_members(rig.raft), 9));
        assert_memory_equal(raft_membership(rig.raft)->context, "snap", 4);
        /* Nothing is claimed before it is on disk, and then what it covers is. */
        rig_append(&rig, append(2, 30, 2, 30), NULL);
        assert_int_equal(rig_sent(&rig, RAFT_APPEND_REPLY, 2)->log_index, 0);
        rig_persist(&rig);
        assert_int_equal(rig_sent(&rig, RAFT_APPEND_REPLY, 2)->log_index, 30);
        rig_append(&rig, append(2, 30, 2, 31), TERMS(2));
        assert_int_equal(rig_effect(&rig, RAFT_COMMITTED)->index, 31);
        rig_done(&rig);
}

static void suffix_that_follows_a_snapshot_is_kept(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 2, .terms = { 1, 1, 2, 2 } });
        install(&rig, 2, 1);
        assert_false(rig_effect(&rig, RAFT_PERSIST)->persist.snapshot_resets);
        assert_int_equal(rig_effect(&rig, RAFT_INSTALLED)->index, 2);
        assert_int_equal(raft_index_last(rig.raft), 4); /* it may be acknowledged */
        assert_int_equal(raft_entry_at(rig.raft, 4)->term, 2);
        assert_null(raft_entry_at(rig.raft, 2));
        rig_append(&rig, append(2, 4, 2, 2), NULL);
        assert_int_equal(rig_sent(&rig, RAFT_APPEND_REPLY, 2)->log_index, 4);
        rig_done(&rig);
}

static void log_that_differs_at_the_snapshot_is_dropped_as_a_whole(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 3, .terms = { 1, 1, 1, 1 } });
        install(&rig, 2, 2);
        assert_true(rig_effect(&rig, RAFT_PERSIST)->persist.snapshot_resets);
        assert_int_equal(raft_index_last(rig.raft), 2);
        rig_done(&rig);
}

static void configurations_of_a_dropped_log_are_forgotten(void **state)
{
        static const uint8_t one[] = { 1, 1, 0 };
        const struct raft_entry entry = {
                .index = 3, .term = 1, .type = RAFT_ENTRY_MEMBERS, .bytes = one, .n = sizeof(one)
        };
        struct raft_message m = append(1, 2, 1, 0);
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1, 1 } });
        m.type = RAFT_APPEND;
        m.entries = &entry;
        m.n_entries = 1;
        rig_receive(&rig, m);
        assert_int_equal(raft_members(rig.raft)->n_voters, 1);
        install(&rig, 2, 2); /* another history, below the configuration */
        assert_int_equal(raft_membership(rig.raft)->index, 2);
        assert_int_equal(raft_members(rig.raft)->n_voters, 4);
        rig_done(&rig);
}

static void newer_configuration_in_a_kept_suffix_stays(void **state)
{
        static const uint8_t one[] = { 1, 1, 0 };
        const struct raft_entry entry = {
                .index = 3, .term = 1, .type = RAFT_ENTRY_MEMBERS, .bytes = one, .n = sizeof(one)
        };
        struct raft_message m = append(1, 2, 1, 0);
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1, 1 } });
        m.type = RAFT_APPEND;
        m.entries = &entry;
        m.n_entries = 1;
        rig_receive(&rig, m);
        install(&rig, 2, 1);
        assert_int_equal(raft_membership(rig.raft)->index, 3);
        assert_int_equal(raft_members(rig.raft)->n_voters, 1);
        assert_int_equal(raft_membership_at(rig.raft, 2)->members.n_voters, 4);
        rig_append(&rig, append(2, 2, 1, 0), TERMS(2)); /* and when it is undone: the snapshot's */
        assert_int_equal(raft_members(rig.raft)->n_voters, 4);
        rig_done(&rig);
}

static void two_snapshots_do_not_cross(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 2 });
        install(&rig, 30, 2);
        install(&rig, 20, 2);
        assert_null(rig_effect(&rig, RAFT_INSTALLED));
        assert_null(rig_effect(&rig, RAFT_PERSIST));
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->refused, RAFT_EVENT_INSTALL);
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->refusal, RAFT_OLD_SNAPSHOT);
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->context, 3);
        install(&rig, 30, 2);
        assert_null(rig_effect(&rig, RAFT_INSTALLED));
        compact(&rig, 25, 0); /* one of our own that took longer */
        assert_int_equal(rig.effects.n, 0);
        install(&rig, 40, 2);
        assert_int_equal(rig_effect(&rig, RAFT_INSTALLED)->index, 40);
        rig_persist(&rig);
        rig_append(&rig, append(2, 40, 2, 0), NULL);
        assert_int_equal(rig_sent(&rig, RAFT_APPEND_REPLY, 2)->log_index, 40);
        rig_done(&rig);
}

static void snapshot_of_what_is_committed_is_refused(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1, 1 } });
        rig_append(&rig, append(1, 2, 1, 2), NULL);
        install(&rig, 2, 1);
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->refusal, RAFT_OLD_SNAPSHOT);
        assert_int_equal(raft_members(rig.raft)->n_voters, 3); /* nor its configuration */
        rig_done(&rig);
}

static void snapshot_without_members_is_refused(void **state)
{
        const struct raft_membership empty = { .index = 4 };
        const struct raft_membership later = membership(6);
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1 });
        rig_feed(&rig,
                 (struct raft_event){
                         .type = RAFT_EVENT_INSTALL, .index = 5, .term = 1, .membership = &empty });
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->refusal, RAFT_BAD_CHANGE);
        rig_feed(&rig,
                 (struct raft_event){
                         .type = RAFT_EVENT_INSTALL, .index = 5, .term = 1, .membership = &later });
        assert_int_equal(rig_effect(&rig, RAFT_REFUSED)->refusal, RAFT_BAD_CHANGE);
        rig_done(&rig);
}

/* Runs @f in a child; true if it ended by abort(). */
static bool aborts(void (*f)(void))
{
        pid_t pid;
        int status = 0;

        fflush(stdout);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                (void)signal(SIGABRT, SIG_DFL); /* cmocka catches it */
                (void)fclose(stderr); /* the message is expected */
                f();
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void install_another_history(void)
{
        struct rig rig;

        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1, 1 } });
        rig_append(&rig, append(1, 2, 1, 2), NULL);
        install(&rig, 2, 2);
}

static void snapshot_of_another_history_ends_the_process(void **state)
{
        (void)state;
        assert_true(aborts(install_another_history));
}

static void completions_from_before_say_nothing_of_the_new_log(void **state)
{
        struct rig rig;
        uint64_t before;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 2, .vote = 2 });
        rig_append(&rig, append(2, 0, 0, 0), TERMS(1, 1, 1));
        before = rig.generation;
        install(&rig, 2, 2);
        rig_append(&rig, append(2, 2, 2, 0), TERMS(2)); /* 3 again, another one */
        rig_persist_up_to(&rig, before);
        assert_int_equal(rig_n_sent(&rig), 0);
        rig_append(&rig, append(2, 3, 2, 0), NULL);
        assert_int_equal(rig_sent(&rig, RAFT_APPEND_REPLY, 2)->log_index, 0);
        rig_persist_up_to(&rig, before + 1);
        rig_append(&rig, append(2, 3, 2, 0), NULL);
        assert_int_equal(rig_sent(&rig, RAFT_APPEND_REPLY, 2)->log_index, 2);
        rig_persist(&rig);
        assert_int_equal(rig_sent(&rig, RAFT_APPEND_REPLY, 2)->log_index, 3);
        rig_done(&rig);
}

static void leader_of_the_past_gives_way_to_a_snapshot(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1, 1, 1 } });
        rig_elect(&rig);
        rig_persist(&rig);
        assert_int_equal(raft_role(rig.raft), RAFT_LEADER);
        install(&rig, 3, 5);
        assert_int_equal(raft_role(rig.raft), RAFT_FOLLOWER);
        assert_int_equal(raft_term(rig.raft), 5);
        assert_int_equal(rig_effect(&rig, RAFT_PERSIST)->persist.term, 5);
        rig_done(&rig);
}

static void leader_keeps_leading_with_a_snapshot_of_its_own_history(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3, .term = 1, .terms = { 1, 1, 1 } });
        rig_elect(&rig);
        rig_persist(&rig);
        install(&rig, 3, 1);
        assert_int_equal(raft_role(rig.raft), RAFT_LEADER);
        assert_int_equal(raft_index_committed(rig.raft), 3);
        rig_acknowledge(&rig, 2, 4);
        rig_acknowledge(&rig, 3, 4);
        assert_int_equal(raft_index_committed(rig.raft), 4);
        rig_done(&rig);
}

/* A leader of entries 1 to 10 with the log from 6 on; member 3 has said nothing yet. */
static void lead_without_3(struct rig *rig)
{
        lead(rig, 9);
        rig_timeout(rig);
        compact(rig, 8, 3);
        assert_int_equal(rig_effect(rig, RAFT_SNAPSHOT_WANTED)->peer, 3);
        assert_true(raft_peer_view(rig->raft, 3).needs_snapshot);
}

static void member_without_entries_gets_heartbeats_and_is_told_of_once(void **state)
{
        struct rig rig;
        const struct raft_message *m;

        (void)state;
        lead_without_3(&rig);
        for (unsigned i = 0; i < 5; i++) {
                rig_propose(&rig, 1);
                assert_null(rig_sent(&rig, RAFT_APPEND, 3));
                rig_timeout(&rig);
                m = rig_sent(&rig, RAFT_APPEND, 3);
                assert_int_equal(m->log_index, 8); /* where it would go on */
                assert_int_equal(m->n_entries, 0);
                reject(&rig, 3, 8, 0, 0);
                assert_null(rig_effect(&rig, RAFT_SNAPSHOT_WANTED));
                rig_acknowledge(&rig, 2, raft_index_last(rig.raft));
        }
        rig_done(&rig);
}

static void member_that_has_less_than_the_log_needs_a_snapshot(void **state)
{
        struct rig rig;

        (void)state;
        rig_start(&rig, &(struct rig_setup){ .n_voters = 3,
                                             .term = 2,
                                             .terms = { 2, 2, 2 },
                                             .snapshot_index = 10,
                                             .snapshot_term = 1 });
        rig_elect(&rig);
        rig_persist(&rig);
        reject(&rig, 2, 13, 10, 1); /* it reaches to our base: that is known */
        assert_null(rig_effect(&rig, RAFT_SNAPSHOT_WANTED));
        assert_int_equal(rig_sent(&rig, RAFT_APPEND, 2)->log_index, 10);
        reject(&rig, 3, 13, 9, 1);
        assert_int_equal(rig_effect(&rig, RAFT_SNAPSHOT_WANTED)->peer, 3);
        reject(&rig, 2, 10, 10, 1); /* it did not: something else stands there */
        assert_int_equal(rig_effect(&rig, RAFT_SNAPSHOT_WANTED)->peer, 2);
        rig_done(&rig);
}

static void failed_transfer_is_told_again_when_the_member_answers(void **state)
{
        struct rig rig;

        (void)state;
        lead_without_3(&rig);
        sent(&rig, 3, false);
        assert_int_equal(rig.effects.n, 0);
        reject(&rig, 3, 8, 0, 0); /* an answer from before */
        assert_null(rig_effect(&rig, RAFT_SNAPSHOT_WANTED));
        rig_timeout(&rig);
        assert_null(rig_effect(&rig, RAFT_SNAPSHOT_WANTED)); /* it may be dead */
        reject(&rig, 3, 8, 0, 0);
        assert_int_equal(rig_effect(&rig, RAFT_SNAPSHOT_WANTED)->peer, 3);
        rig_done(&rig);
}

static void installed_snapshot_resumes_probing(void **state)
{
        struct rig rig;
        const struct raft_message *m;
        uint64_t old_round;

        (void)state;
        lead_without_3(&rig);
        old_round = rig.round;
        sent(&rig, 3, true);
        m = rig_sent(&rig, RAFT_APPEND, 3);
        assert_int_equal(m->log_index, 8);
        assert_int_equal(m->n_entries, 2);
        /* What it answered before it had installed it comes late, and says nothing. */
        rig_receive(&rig, (struct raft_message){ .type = RAFT_APPEND_REPLY,
                                                 .from = 3,
                                                 .term = 1,
                                                 .log_index = 8,
                                                 .round = old_round });
        assert_null(rig_effect(&rig, RAFT_SNAPSHOT_WANTED));
        assert_false(raft_peer_view(rig.raft, 3).needs_snapshot);
        rig_acknowledge(&rig, 3, 10);
        assert_int_equal(raft_peer_view(rig.raft, 3).match, 10);
        rig_propose(&rig, 1);
        assert_int_equal(rig_sent(&rig, RAFT_APPEND, 3)->log_index, 10);
        sent(&rig, 3, true); /* nobody asked */
        assert_int_equal(rig.effects.n, 0);
        rig_done(&rig);
}

static void answer_at_the_snapshot_resumes_by_itself(void **state)
{
        struct rig rig;

        (void)state;
        lead_without_3(&rig);
        rig_timeout(&rig);
        rig_acknowledge(&rig, 3, 8);
        assert_false(raft_peer_view(rig.raft, 3).needs_snapshot);
        assert_int_equal(rig_sent(&rig, RAFT_APPEND, 3)->n_entries, 2);
        rig_done(&rig);
}

static void member_that_is_further_than_it_was_is_probed(void **state)
{
        struct rig rig;

        (void)state;
        lead_without_3(&rig);
        rig_timeout(&rig);
        reject(&rig, 3, 8, 7, 1); /* an older snapshot reached it */
        assert_false(raft_peer_view(rig.raft, 3).needs_snapshot);
        assert_int_equal(rig_sent(&rig, RAFT_APPEND, 3)->log_index, 7);
        rig_done(&rig);
}

static void installed_snapshot_that_is_too_old_asks_for_another(void **state)
{
        struct rig rig;

        (void)state;
        lead_without_3(&rig);
        for (unsigned i = 0; i < 9; i++)
                rig_propose(&rig, 1);
        rig_persist(&rig);
        rig_acknowledge(&rig, 2, 19);
        compact(&rig, 19, 2); /* the one on its way ends at 8 */
        assert_null(rig_effect(&rig, RAFT_SNAPSHOT_WANTED));
        sent(&rig, 3, true);
        assert_int_equal(rig_sent(&rig, RAFT_APPEND, 3)->log_index, 19);
        reject(&rig, 3, 19, 8, 1);
        assert_int_equal(rig_effect(&rig, RAFT_SNAPSHOT_WANTED)->peer, 3);
        rig_done(&rig);
}

static void member_that_lags_at_the_compaction_needs_a_snapshot(void **state)
{
        struct rig rig;

        (void)state;
        lead(&rig, 1);
        rig_acknowledge(&rig, 3, 2);
        for (unsigned i = 0; i < 2 * RAFT_IN_FLIGHT_MAX; i++) { /* the window of 3 is full */
                rig_propose(&rig, 1);
                rig_persist(&rig);
                rig_acknowledge(&rig, 2, raft_index_last(rig.raft));
        }
        compact(&rig, raft_index_last(rig.raft), RAFT_IN_FLIGHT_MAX + 2);
        assert_null(rig_effect(&rig, RAFT_SNAPSHOT_WANTED)); /* the log reaches back to it */
        rig_propose(&rig, 1);
        rig_persist(&rig);
        rig_acknowledge(&rig, 2, raft_index_last(rig.raft));
        compact(&rig, raft_index_last(rig.raft), 1);
        assert_int_equal(rig_effect(&rig, RAFT_SNAPSHOT_WANTED)->peer, 3);
        rig_done(&rig);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(log_forgets_what_is_covered_but_for_a_tail),
                cmocka_unit_test(older_snapshot_of_ones_own_changes_nothing),
                cmocka_unit_test(tail_has_a_limit_in_bytes),
                cmocka_unit_test(completions_of_what_was_covered_are_in_order),
                cmocka_unit_test(configuration_of_the_base_survives),
                cmocka_unit_test(restart_begins_at_the_snapshot),
                cmocka_unit_test(snapshot_ahead_replaces_the_log),
                cmocka_unit_test(suffix_that_follows_a_snapshot_is_kept),
                cmocka_unit_test(log_that_differs_at_the_snapshot_is_dropped_as_a_whole),
                cmocka_unit_test(configurations_of_a_dropped_log_are_forgotten),
                cmocka_unit_test(newer_configuration_in_a_kept_suffix_stays),
                cmocka_unit_test(two_snapshots_do_not_cross),
                cmocka_unit_test(snapshot_of_what_is_committed_is_refused),
                cmocka_unit_test(snapshot_without_members_is_refused),
                cmocka_unit_test(snapshot_of_another_history_ends_the_process),
                cmocka_unit_test(completions_from_before_say_nothing_of_the_new_log),
                cmocka_unit_test(leader_of_the_past_gives_way_to_a_snapshot),
                cmocka_unit_test(leader_keeps_leading_with_a_snapshot_of_its_own_history),
                cmocka_unit_test(member_without_entries_gets_heartbeats_and_is_told_of_once),
                cmocka_unit_test(member_that_has_less_than_the_log_needs_a_snapshot),
                cmocka_unit_test(failed_transfer_is_told_again_when_the_member_answers),
                cmocka_unit_test(installed_snapshot_resumes_probing),
                cmocka_unit_test(answer_at_the_snapshot_resumes_by_itself),
                cmocka_unit_test(member_that_is_further_than_it_was_is_probed),
                cmocka_unit_test(installed_snapshot_that_is_too_old_asks_for_another),
                cmocka_unit_test(member_that_lags_at_the_compaction_needs_a_snapshot),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
