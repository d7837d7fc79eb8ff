/* The table of rules: complete by choice, safe by shape, and what it does in the moments that count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "election/failover/master.h"

#define MISSING_RULES "tests/unit/failover-pairs-without-a-rule.txt"

static bool may_serve_writes(enum failover_state s)
{
        return s == FAILOVER_PROMOTING || s == FAILOVER_MASTER || s == FAILOVER_SWITCHING ||
               s == FAILOVER_RESTARTING;
}

static void no_pair_has_two_rules(void **state)
{
        const struct master_rule *a, *b;

        (void)state;
        for (size_t i = 0; (a = master_rule_at(i)); i++) {
                for (size_t j = i + 1; (b = master_rule_at(j)); j++)
                        assert_false(a->state == b->state && a->event == b->event);
        }
}

/* Leaving a pair out is a choice that somebody has to make visible in the file. */
static void pairs_without_a_rule_are_listed(void **state)
{
        char expected[64], line[64];
        FILE *file = fopen(MISSING_RULES, "re");

        (void)state;
        assert_non_null(file);
        for (unsigned s = 0; s < FAILOVER_STATES; s++) {
                for (unsigned e = 0; e < MASTER_EVENTS; e++) {
                        if (master_rule_for(s, e))
                                continue;
                        (void)snprintf(expected, sizeof(expected), "%s %s\n",
                                       failover_state_name(s), master_event_name(e));
                        assert_non_null(fgets(line, sizeof(line), file));
                        assert_string_equal(line, expected);
                }
        }
        assert_null(fgets(line, sizeof(line), file));
        (void)fclose(file);
}

static void every_state_is_reached(void **state)
{
        bool reached[FAILOVER_STATES] = { [FAILOVER_STANDBY] = true };
        const struct master_rule *rule;

        (void)state;
        for (unsigned round = 0; round < FAILOVER_STATES; round++) {
                for (size_t i = 0; (rule = master_rule_at(i)); i++)
                        reached[rule->next] |= reached[rule->state];
        }
        for (unsigned s = 0; s < FAILOVER_STATES; s++)
                assert_true(reached[s]);
}

static void states_that_may_write_obey_a_lost_lease_and_the_hands(void **state)
{
        (void)state;
        for (unsigned s = 0; s < FAILOVER_STATES; s++) {
                if (!may_serve_writes(s))
                        continue;
                assert_non_null(master_rule_for(s, MASTER_LEASE_ENDED));
                assert_int_equal(master_rule_for(s, MASTER_LEASE_ENDED)->next, FAILOVER_DEMOTING);
                assert_int_equal(master_rule_for(s, MASTER_CLOSED)->next, FAILOVER_RELEASING);
                assert_int_equal(master_rule_for(s, MASTER_UNPROVED)->next, FAILOVER_FENCED);
        }
}

static void lease_is_given_back_only_from_what_is_closed(void **state)
{
        const struct master_rule *rule;

        (void)state;
        for (size_t i = 0; (rule = master_rule_at(i)); i++) {
                if (rule->next != FAILOVER_RELEASING)
                        continue;
                assert_true(rule->event == MASTER_CLOSED || rule->event == MASTER_STEPS_DONE ||
                            rule->event == MASTER_TARGET_READY ||
                            rule->state == FAILOVER_RELEASING);
        }
}

static void no_state_is_without_an_exit(void **state)
{
        (void)state;
        for (unsigned s = 0; s < FAILOVER_STATES; s++) {
                const struct master_rule *rule;
                bool left = false;

                for (size_t i = 0; (rule = master_rule_at(i)); i++)
                        left |= rule->state == s && rule->next != s;
                assert_true(left);
        }
}

/* A service of two databases, seen from node 1. */
struct world {
        struct failover *f;
        struct failover_view view;
        struct failover_effects effects;
};

static struct failover_config config(void)
{
        return (struct failover_config){ .self = 1,
                                         .members = { 1, 2 },
                                         .n_members = 2,
                                         .names = { NULL, "db1", "db2" },
                                         .has_database = true,
                                         .has_address = true,
                                         .automatic = true,
                                         .max_loss = 1000,
                                         .ttl = 3 * USEC_PER_SEC,
                                         .report_interval = 300 * USEC_PER_MSEC };
}

static struct failover_report standby(node_id upstream, uint64_t lsn)
{
        return (struct failover_report){ .known = true,
                                         .heard = { USEC_PER_SEC },
                                         .database = FAILOVER_DATABASE_RUNNING,
                                         .role = FAILOVER_ROLE_STANDBY,
                                         .healthy = true,
                                         .streaming = upstream != NODE_NOBODY,
                                         .upstream = upstream,
                                         .position = {
                                                 .system_id = 7, .timeline = 1, .lsn = lsn } };
}

static struct failover_report primary(uint64_t epoch, uint64_t lsn)
{
        struct failover_report r = standby(NODE_NOBODY, lsn);

        r.role = FAILOVER_ROLE_PRIMARY;
        r.writable = true;
        r.epoch = epoch;
        r.state = FAILOVER_MASTER;
        return r;
}

static void setup(struct world *w)
{
        struct failover_config c = config();

        *w = (struct world){ 0 };
        w->view.now = (struct instant){ USEC_PER_SEC };
        w->view.epoch = 10;
        w->view.has_recorded = true;
        w->view.recorded = (struct failover_position){ .system_id = 7, .timeline = 1, .lsn = 5000 };
        w->f = failover_new(&c, w->view.now);
}

static void look(struct world *w)
{
        failover_step(w->f, &(struct failover_event){ .type = FAILOVER_EVENT_VIEW }, &w->view,
                      &w->effects);
}

static const struct failover_effect *find(const struct world *w, enum failover_effect_type type)
{
        for (size_t i = 0; i < w->effects.n; i++) {
                if (w->effects.list[i].type == type)
                        return &w->effects.list[i];
        }
        return NULL;
}

static const struct failover_effect *find_step(const struct world *w, enum failover_step step)
{
        for (size_t i = 0; i < w->effects.n; i++) {
                if (w->effects.list[i].type == FAILOVER_RUN && w->effects.list[i].step == step)
                        return &w->effects.list[i];
        }
        return NULL;
}

static void end_step(struct world *w, enum failover_step step, bool ok, uint64_t lsn)
{
        const struct failover_effect *run = find_step(w, step);

        assert_non_null(run);
        failover_step(w->f,
                      &(struct failover_event){ .type = ok ? FAILOVER_EVENT_STEP_DONE
                                                           : FAILOVER_EVENT_STEP_FAILED,
                                                .id = run->id,
                                                .position.lsn = lsn },
                      &w->view, &w->effects);
}

static void have_lease(struct world *w)
{
        w->view.lease = FAILOVER_LEASE_OURS;
        w->view.holder = 1;
        w->view.epoch = 20;
        w->view.demote_at = (struct instant){ w->view.now.usec + 2 * USEC_PER_SEC };
        w->view.valid_until = (struct instant){ w->view.now.usec + 3 * USEC_PER_SEC };
}

static void make_master(struct world *w)
{
        setup(w);
        w->view.reports[1] = standby(2, 5000);
        w->view.reports[2] = standby(1, 5000);
        have_lease(w);
        look(w);
        end_step(w, FAILOVER_STEP_PROMOTE, true, 0);
        w->view.reports[1] = primary(20, 5000);
        end_step(w, FAILOVER_STEP_ADDRESS_ADD, true, 0);
        assert_int_equal(failover_state(w->f), FAILOVER_MASTER);
}

static void address_comes_after_the_database(void **state)
{
        struct world w;

        (void)state;
        setup(&w);
        w.view.reports[1] = standby(2, 5000);
        have_lease(&w);
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_PROMOTING);
        assert_non_null(find_step(&w, FAILOVER_STEP_PROMOTE));
        assert_null(find_step(&w, FAILOVER_STEP_ADDRESS_ADD));
        end_step(&w, FAILOVER_STEP_PROMOTE, true, 0);
        assert_non_null(find_step(&w, FAILOVER_STEP_ADDRESS_ADD));
        failover_free(w.f);
}

static void free_lease_is_campaigned_for_only_when_frozen(void **state)
{
        struct world w;

        (void)state;
        setup(&w);
        w.view.reports[1] = standby(2, 4900);
        w.view.lease = FAILOVER_LEASE_FREE;
        w.view.holder = 2;
        w.view.freed = 15;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_CANDIDATE);
        assert_null(find(&w, FAILOVER_CAMPAIGN));
        w.view.reports[1].frozen = true;
        w.view.reports[1].round = 15;
        end_step(&w, FAILOVER_STEP_FREEZE, true, 4900);
        assert_non_null(find(&w, FAILOVER_CAMPAIGN));
        assert_int_equal(failover_state(w.f), FAILOVER_CAMPAIGNING);
        failover_free(w.f);
}

static void candidate_that_would_lose_too_much_does_not_campaign(void **state)
{
        struct failover_verdict verdicts[MEMBERS_MAX];
        struct failover_config c = config();
        struct world w;

        (void)state;
        setup(&w);
        w.view.reports[1] = standby(2, 3000);
        w.view.reports[1].frozen = true;
        w.view.reports[1].round = 15;
        w.view.lease = FAILOVER_LEASE_FREE;
        w.view.freed = 15;
        look(&w);
        w.view.now.usec += 10 * USEC_PER_SEC;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_CANDIDATE);
        assert_int_equal(failover_rank(&c, &w.view, verdicts), 2);
        assert_false(verdicts[0].eligible);
        assert_string_equal(verdicts[0].reason,
                            "2000 bytes behind the last master, max_loss is 1000");
        failover_free(w.f);
}

static void operator_may_take_what_would_lose_too_much(void **state)
{
        struct world w;

        (void)state;
        setup(&w);
        w.view.reports[1] = standby(2, 3000);
        w.view.lease = FAILOVER_LEASE_FREE;
        w.view.freed = 15;
        w.view.order = (struct failover_order){ FAILOVER_ORDER_FAILOVER, 10, 1, 100 };
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_CAMPAIGNING);
        failover_free(w.f);
}

static void worse_candidate_leaves_the_better_one_a_turn(void **state)
{
        struct world w;

        (void)state;
        setup(&w);
        w.view.reports[1] = standby(NODE_NOBODY, 4900);
        w.view.reports[2] = standby(NODE_NOBODY, 5000);
        w.view.reports[1].frozen = w.view.reports[2].frozen = true;
        w.view.reports[1].round = w.view.reports[2].round = 15;
        w.view.lease = FAILOVER_LEASE_FREE;
        w.view.freed = 15;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_CANDIDATE);
        w.view.now.usec += 700 * USEC_PER_MSEC;
        w.view.reports[2].heard = w.view.now;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_CAMPAIGNING);
        failover_free(w.f);
}

static void lost_lease_closes_address_first(void **state)
{
        struct world w;

        (void)state;
        make_master(&w);
        w.view.lease = FAILOVER_LEASE_THEIRS;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_DEMOTING);
        assert_non_null(find_step(&w, FAILOVER_STEP_ADDRESS_REMOVE));
        end_step(&w, FAILOVER_STEP_ADDRESS_REMOVE, true, 0);
        assert_non_null(find_step(&w, FAILOVER_STEP_DEMOTE));
        assert_int_equal(find_step(&w, FAILOVER_STEP_DEMOTE)->mode, FAILOVER_MODE_IMMEDIATE);
        failover_free(w.f);
}

static void demotion_begins_at_its_deadline_though_the_lease_still_lives(void **state)
{
        struct world w;

        (void)state;
        make_master(&w);
        w.view.now = w.view.demote_at;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_DEMOTING);
        failover_free(w.f);
}

static void crashed_database_moves_when_another_can_take_over(void **state)
{
        struct world w;

        (void)state;
        make_master(&w);
        w.view.reports[1].database = FAILOVER_DATABASE_CRASHED;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_DEMOTING);
        failover_free(w.f);
}

static void crashed_database_restarts_when_nobody_else_can_take_over(void **state)
{
        struct world w;

        (void)state;
        make_master(&w);
        w.view.reports[1].database = FAILOVER_DATABASE_CRASHED;
        w.view.reports[2].database = FAILOVER_DATABASE_DOWN;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_RESTARTING);
        assert_non_null(find_step(&w, FAILOVER_STEP_RESTART));
        failover_free(w.f);
}

static void paused_master_is_left_alone_but_for_its_lease(void **state)
{
        struct world w;

        (void)state;
        make_master(&w);
        w.view.paused = true;
        w.view.reports[1].database = FAILOVER_DATABASE_DOWN;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_MASTER);
        w.view.lease = FAILOVER_LEASE_EARLIER;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_DEMOTING);
        failover_free(w.f);
}

static void switchover_gives_the_lease_only_when_the_target_has_everything(void **state)
{
        struct world w;

        (void)state;
        make_master(&w);
        w.view.order = (struct failover_order){ FAILOVER_ORDER_SWITCHOVER, 20, 2, 100 };
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_SWITCHING);
        end_step(&w, FAILOVER_STEP_CHECKPOINT, true, 0);
        end_step(&w, FAILOVER_STEP_ADDRESS_REMOVE, true, 0);
        end_step(&w, FAILOVER_STEP_DEMOTE, true, 6000);
        assert_int_equal(failover_state(w.f), FAILOVER_SWITCHING);
        w.view.reports[2].position.lsn = 6000;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_RELEASING);
        assert_int_equal(find(&w, FAILOVER_RELEASE)->peer, 2);
        failover_free(w.f);
}

static void switchover_is_undone_when_the_target_stays_behind(void **state)
{
        struct world w;

        (void)state;
        make_master(&w);
        w.view.order = (struct failover_order){ FAILOVER_ORDER_SWITCHOVER, 20, 2, 100 };
        look(&w);
        end_step(&w, FAILOVER_STEP_CHECKPOINT, true, 0);
        end_step(&w, FAILOVER_STEP_ADDRESS_REMOVE, true, 0);
        end_step(&w, FAILOVER_STEP_DEMOTE, true, 6000);
        w.view.now.usec += 11 * USEC_PER_SEC;
        w.view.demote_at.usec += 11 * USEC_PER_SEC;
        w.view.reports[2].heard = w.view.now;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_RESTARTING);
        assert_false(find(&w, FAILOVER_END_ORDER)->ok);
        end_step(&w, FAILOVER_STEP_DEMOTE, true, 0);
        assert_non_null(find_step(&w, FAILOVER_STEP_RESTART));
        failover_free(w.f);
}

static void switchover_whose_target_is_lost_early_closes_nothing(void **state)
{
        struct world w;

        (void)state;
        make_master(&w);
        w.view.order = (struct failover_order){ FAILOVER_ORDER_SWITCHOVER, 20, 2, 100 };
        look(&w);
        w.view.now.usec += 100 * USEC_PER_MSEC;
        w.view.reports[2].heard = w.view.now;
        w.view.reports[2].database = FAILOVER_DATABASE_CRASHED;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_MASTER);
        assert_string_equal(find(&w, FAILOVER_END_ORDER)->text,
                            "undone: the target was lost before anything was closed: its database "
                            "does not run");
        failover_free(w.f);
}

/* A clean stop waits for a standby that will never answer: it must be cut short. */
static void switchover_whose_target_is_lost_while_closing_is_undone_at_once(void **state)
{
        struct world w;

        (void)state;
        make_master(&w);
        w.view.order = (struct failover_order){ FAILOVER_ORDER_SWITCHOVER, 20, 2, 100 };
        look(&w);
        end_step(&w, FAILOVER_STEP_CHECKPOINT, true, 0);
        end_step(&w, FAILOVER_STEP_ADDRESS_REMOVE, true, 0);
        w.view.now.usec += 2 * USEC_PER_SEC;
        w.view.demote_at.usec += 2 * USEC_PER_SEC;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_RESTARTING);
        assert_int_equal(find_step(&w, FAILOVER_STEP_DEMOTE)->mode, FAILOVER_MODE_IMMEDIATE);
        failover_free(w.f);
}

static struct failover_report stopped(void)
{
        struct failover_report r = standby(NODE_NOBODY, 5000);

        r.database = FAILOVER_DATABASE_DOWN;
        r.role = FAILOVER_ROLE_NONE;
        return r;
}

/* After a power failure of all, the first database that runs is not the best one. */
static void cold_start_waits_for_the_other_databases(void **state)
{
        struct world w;

        (void)state;
        setup(&w);
        w.view.lease = FAILOVER_LEASE_FREE;
        w.view.freed = 15;
        w.view.reports[1] = stopped();
        w.view.reports[2] = stopped();
        look(&w);
        w.view.reports[1] = standby(NODE_NOBODY, 4500);
        w.view.reports[1].frozen = true;
        w.view.reports[1].round = 15;
        end_step(&w, FAILOVER_STEP_START, true, 0);
        w.view.now.usec += 5 * USEC_PER_SEC;
        w.view.reports[2].heard = w.view.now;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_CANDIDATE);
        w.view.now.usec += 20 * USEC_PER_SEC;
        w.view.reports[2].heard = w.view.now;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_CAMPAIGNING);
        failover_free(w.f);
}

static void switchover_to_a_node_that_does_not_stream_is_refused_once(void **state)
{
        struct world w;

        (void)state;
        make_master(&w);
        w.view.reports[2].streaming = false;
        w.view.order = (struct failover_order){ FAILOVER_ORDER_SWITCHOVER, 20, 2, 100 };
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_MASTER);
        assert_string_equal(find(&w, FAILOVER_END_ORDER)->text,
                            "refused: db2 does not stream from the master");
        look(&w);
        assert_null(find(&w, FAILOVER_END_ORDER));
        failover_free(w.f);
}

static void second_order_in_the_same_mastership_is_answered_too(void **state)
{
        struct world w;

        (void)state;
        make_master(&w);
        w.view.reports[2].streaming = false;
        w.view.order = (struct failover_order){ FAILOVER_ORDER_SWITCHOVER, 20, 2, 100 };
        look(&w);
        assert_non_null(find(&w, FAILOVER_END_ORDER));
        look(&w);
        assert_null(find(&w, FAILOVER_END_ORDER));
        w.view.reports[2].streaming = true;
        w.view.order.id = 101;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_SWITCHING);
        failover_free(w.f);
}

/* The end of an order is in sight only when it is committed: until then the order still stands there. */
static void undone_switchover_is_not_begun_again(void **state)
{
        struct world w;

        (void)state;
        make_master(&w);
        w.view.order = (struct failover_order){ FAILOVER_ORDER_SWITCHOVER, 20, 2, 100 };
        look(&w);
        end_step(&w, FAILOVER_STEP_CHECKPOINT, true, 0);
        w.view.now.usec += 11 * USEC_PER_SEC;
        w.view.demote_at.usec += 11 * USEC_PER_SEC;
        w.view.reports[2].heard = w.view.now;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_RESTARTING);
        end_step(&w, FAILOVER_STEP_DEMOTE, true, 0);
        end_step(&w, FAILOVER_STEP_RESTART, true, 0);
        end_step(&w, FAILOVER_STEP_ADDRESS_ADD, true, 0);
        assert_int_equal(failover_state(w.f), FAILOVER_MASTER);
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_MASTER);
        failover_free(w.f);
}

static void order_is_done_only_if_its_target_became_master(void **state)
{
        const node_id targets[] = { NODE_NOBODY, 1, 2 };

        (void)state;
        for (size_t i = 0; i < 3; i++) {
                struct world w;

                setup(&w);
                w.view.reports[1] = standby(2, 5000);
                w.view.order = (struct failover_order){ FAILOVER_ORDER_SWITCHOVER, 10, targets[i],
                                                        100 };
                have_lease(&w);
                look(&w);
                end_step(&w, FAILOVER_STEP_PROMOTE, true, 0);
                w.view.reports[1] = primary(20, 5000);
                end_step(&w, FAILOVER_STEP_ADDRESS_ADD, true, 0);
                assert_int_equal(find(&w, FAILOVER_END_ORDER)->ok, targets[i] != 2);
                failover_free(w.f);
        }
}

static void switchover_waits_for_the_end_that_nobody_told(void **state)
{
        struct world w;

        (void)state;
        make_master(&w);
        w.view.order = (struct failover_order){ FAILOVER_ORDER_SWITCHOVER, 20, 2, 100 };
        look(&w);
        end_step(&w, FAILOVER_STEP_CHECKPOINT, true, 0);
        end_step(&w, FAILOVER_STEP_ADDRESS_REMOVE, true, 0);
        end_step(&w, FAILOVER_STEP_DEMOTE, true, 0);
        assert_int_equal(failover_state(w.f), FAILOVER_SWITCHING);
        failover_free(w.f);
}

static void master_that_is_taken_up_again_makes_no_history(void **state)
{
        struct world w;

        (void)state;
        setup(&w);
        w.view.reports[1] = primary(20, 5000);
        have_lease(&w);
        look(&w);
        end_step(&w, FAILOVER_STEP_PROMOTE, true, 0);
        end_step(&w, FAILOVER_STEP_ADDRESS_ADD, true, 0);
        assert_int_equal(failover_state(w.f), FAILOVER_MASTER);
        assert_null(find(&w, FAILOVER_HISTORY));
        failover_free(w.f);
}

static void promotion_that_a_restart_interrupted_is_completed_in_the_history(void **state)
{
        struct world w;

        (void)state;
        setup(&w);
        w.view.reports[1] = standby(2, 5000);
        have_lease(&w);
        look(&w);
        end_step(&w, FAILOVER_STEP_PROMOTE, true, 0);
        w.view.reports[1] = primary(20, 5000);
        end_step(&w, FAILOVER_STEP_ADDRESS_ADD, true, 0);
        assert_string_equal(find(&w, FAILOVER_HISTORY)->text, "completed after a restart");
        failover_free(w.f);
}

static void forced_takeover_by_what_stays_unfit_is_refused(void **state)
{
        struct world w;

        (void)state;
        setup(&w);
        w.view.reports[1] = standby(2, 5000);
        w.view.reports[1].database = FAILOVER_DATABASE_DOWN;
        w.view.lease = FAILOVER_LEASE_FREE;
        w.view.freed = 11;
        w.view.order = (struct failover_order){ FAILOVER_ORDER_FAILOVER, 10, 1, 100 };
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_CANDIDATE);
        assert_null(find(&w, FAILOVER_END_ORDER));
        w.view.now = failover_deadline(w.f);
        look(&w);
        assert_string_equal(find(&w, FAILOVER_END_ORDER)->text,
                            "refused: db1 is not fit: its database is down");
        look(&w);
        assert_null(find(&w, FAILOVER_END_ORDER));
        failover_free(w.f);
}

static void second_best_waits_its_turn_for_the_first_grant(void **state)
{
        struct failover_config c = config();
        struct world w = { .view.now = { USEC_PER_SEC } };

        (void)state;
        c.self = 2;
        c.has_database = false;
        w.f = failover_new(&c, w.view.now);
        w.view.lease = FAILOVER_LEASE_FREE;
        w.view.reports[1] = (struct failover_report){ .known = true, .heard = w.view.now };
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_CANDIDATE);
        w.view.now = failover_deadline(w.f);
        assert_true(w.view.now.usec > USEC_PER_SEC);
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_CAMPAIGNING);
        failover_free(w.f);
}

static void intruding_primary_is_closed(void **state)
{
        struct world w;

        (void)state;
        setup(&w);
        w.view.lease = FAILOVER_LEASE_THEIRS;
        w.view.holder = 2;
        w.view.reports[1] = primary(0, 5000);
        look(&w);
        assert_non_null(find_step(&w, FAILOVER_STEP_DEMOTE));
        failover_free(w.f);
}

static void standby_of_the_wrong_node_is_made_to_follow_the_master(void **state)
{
        struct world w;

        (void)state;
        setup(&w);
        w.view.lease = FAILOVER_LEASE_THEIRS;
        w.view.holder = 2;
        w.view.reports[1] = standby(NODE_NOBODY, 5000);
        w.view.reports[2] = primary(10, 5000);
        look(&w);
        assert_non_null(find_step(&w, FAILOVER_STEP_REJOIN));
        assert_int_equal(find_step(&w, FAILOVER_STEP_REJOIN)->peer, 2);
        failover_free(w.f);
}

static void what_cannot_be_closed_is_tried_again_by_force(void **state)
{
        struct world w;

        (void)state;
        make_master(&w);
        failover_step(w.f, &(struct failover_event){ .type = FAILOVER_EVENT_CLOSED, .ok = false },
                      &w.view, &w.effects);
        assert_int_equal(failover_state(w.f), FAILOVER_FENCED);
        assert_false(failover_is_closed(w.f));
        w.view.lease = FAILOVER_LEASE_EARLIER;
        w.view.now.usec += 2 * USEC_PER_SEC;
        look(&w);
        assert_int_equal(failover_state(w.f), FAILOVER_DEMOTING);
        failover_free(w.f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(no_pair_has_two_rules),
                cmocka_unit_test(pairs_without_a_rule_are_listed),
                cmocka_unit_test(every_state_is_reached),
                cmocka_unit_test(states_that_may_write_obey_a_lost_lease_and_the_hands),
                cmocka_unit_test(lease_is_given_back_only_from_what_is_closed),
                cmocka_unit_test(no_state_is_without_an_exit),
                cmocka_unit_test(address_comes_after_the_database),
                cmocka_unit_test(free_lease_is_campaigned_for_only_when_frozen),
                cmocka_unit_test(candidate_that_would_lose_too_much_does_not_campaign),
                cmocka_unit_test(operator_may_take_what_would_lose_too_much),
                cmocka_unit_test(worse_candidate_leaves_the_better_one_a_turn),
                cmocka_unit_test(lost_lease_closes_address_first),
                cmocka_unit_test(demotion_begins_at_its_deadline_though_the_lease_still_lives),
                cmocka_unit_test(crashed_database_moves_when_another_can_take_over),
                cmocka_unit_test(crashed_database_restarts_when_nobody_else_can_take_over),
                cmocka_unit_test(paused_master_is_left_alone_but_for_its_lease),
                cmocka_unit_test(switchover_gives_the_lease_only_when_the_target_has_everything),
                cmocka_unit_test(switchover_is_undone_when_the_target_stays_behind),
                cmocka_unit_test(switchover_whose_target_is_lost_early_closes_nothing),
                cmocka_unit_test(switchover_whose_target_is_lost_while_closing_is_undone_at_once),
                cmocka_unit_test(cold_start_waits_for_the_other_databases),
                cmocka_unit_test(switchover_to_a_node_that_does_not_stream_is_refused_once),
                cmocka_unit_test(second_order_in_the_same_mastership_is_answered_too),
                cmocka_unit_test(undone_switchover_is_not_begun_again),
                cmocka_unit_test(order_is_done_only_if_its_target_became_master),
                cmocka_unit_test(switchover_waits_for_the_end_that_nobody_told),
                cmocka_unit_test(master_that_is_taken_up_again_makes_no_history),
                cmocka_unit_test(promotion_that_a_restart_interrupted_is_completed_in_the_history),
                cmocka_unit_test(forced_takeover_by_what_stays_unfit_is_refused),
                cmocka_unit_test(second_best_waits_its_turn_for_the_first_grant),
                cmocka_unit_test(intruding_primary_is_closed),
                cmocka_unit_test(standby_of_the_wrong_node_is_made_to_follow_the_master),
                cmocka_unit_test(what_cannot_be_closed_is_tried_again_by_force),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
