/* The failover core in worlds that nobody thought of: what must hold in each, drawn at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "election/base/random.h"
#include "election/failover/failover.h"

enum { WORLDS = 300, MOMENTS = 400 };

struct world {
        struct random random;
        struct failover_config config;
        struct failover_view view;
        struct failover *f;
        uint64_t ids[64]; /* of steps that were run, the newest last */
        unsigned n_ids;
        uint64_t opening; /* the step under way that opens the service, or 0 */
};

static uint64_t draw(struct world *w, uint64_t below)
{
        return random_below(&w->random, below);
}

static bool toss(struct world *w)
{
        return draw(w, 2) == 1;
}

static void draw_report(struct world *w, struct failover_report *r)
{
        *r = (struct failover_report){ .known = draw(w, 8) > 0,
                                       .state = (enum failover_state)draw(w, FAILOVER_STATES),
                                       .database = (enum failover_database_state)draw(
                                               w, FAILOVER_DATABASE_FOREIGN + 1),
                                       .role = (enum failover_database_role)draw(w, 3),
                                       .healthy = toss(w),
                                       .writable = toss(w),
                                       .streaming = toss(w),
                                       .frozen = toss(w),
                                       .closed = toss(w),
                                       .round = draw(w, 4),
                                       .epoch = draw(w, 4),
                                       .position = { draw(w, 3), draw(w, 3), draw(w, 3) },
                                       .upstream = (node_id)draw(w, 256) };
        r->heard.usec = w->view.now.usec - draw(w, 2 * USEC_PER_SEC);
        memset(r->reason, 'x', draw(w, sizeof(r->reason)));
}

static void draw_view(struct world *w)
{
        struct failover_view *v = &w->view;

        v->now.usec += draw(w, 3) ? draw(w, 300 * USEC_PER_MSEC) : draw(w, 70 * USEC_PER_SEC);
        v->lease = (enum failover_lease_state)draw(w, FAILOVER_LEASE_THEIRS + 1);
        v->holder = (node_id)draw(w, 4);
        v->epoch = draw(w, 4);
        v->freed = draw(w, 4);
        v->expired = toss(w);
        v->freed_at.usec = toss(w) ? v->now.usec : 0;
        v->reserved_for = (node_id)draw(w, 4);
        v->has_recorded = toss(w);
        v->recorded = (struct failover_position){ draw(w, 3), draw(w, 3), draw(w, 3) };
        v->demote_at.usec = v->now.usec + draw(w, USEC_PER_SEC) - draw(w, USEC_PER_SEC / 5);
        v->valid_until.usec = v->demote_at.usec + draw(w, USEC_PER_SEC);
        v->paused = draw(w, 8) == 0;
        v->order = (struct failover_order){ (enum failover_order_type)draw(w, 3), draw(w, 4),
                                            (node_id)draw(w, MEMBERS_MAX + 1), draw(w, 6) };
        for (unsigned i = 1; i <= 3; i++)
                draw_report(w, &v->reports[i]);
}

static struct failover_event draw_event(struct world *w)
{
        struct failover_event e = { .type = FAILOVER_EVENT_VIEW, .ok = toss(w), .text = "text" };

        if (toss(w))
                e.type = (enum failover_event_type)draw(w, FAILOVER_EVENT_CLONE + 1);
        if (w->n_ids > 0)
                e.id = w->ids[(w->n_ids - 1 - draw(w, w->n_ids < 4 ? w->n_ids : 4)) % 64];
        e.position.lsn = draw(w, 3);
        return e;
}

static bool is_acting(enum failover_state s)
{
        return s == FAILOVER_PROMOTING || s == FAILOVER_MASTER || s == FAILOVER_SWITCHING ||
               s == FAILOVER_RESTARTING;
}

static bool may_act(const struct failover_view *v)
{
        return v->lease == FAILOVER_LEASE_OURS && !instant_reached(v->demote_at, v->now);
}

static bool opens(enum failover_step step)
{
        return step == FAILOVER_STEP_PROMOTE || step == FAILOVER_STEP_RESTART ||
               step == FAILOVER_STEP_ADDRESS_ADD;
}

static void check_effects(struct world *w, const struct failover_effects *effects)
{
        for (size_t i = 0; i < effects->n; i++) {
                const struct failover_effect *e = &effects->list[i];

                switch (e->type) {
                case FAILOVER_RUN:
                        assert_true(e->id > w->config.steps_before);
                        w->ids[w->n_ids++ % 64] = e->id;
                        w->opening = opens(e->step) ? e->id : w->opening;
                        break;
                case FAILOVER_CANCEL:
                        w->opening = w->opening == e->id ? 0 : w->opening;
                        break;
                case FAILOVER_CAMPAIGN:
                        assert_true(w->view.lease == FAILOVER_LEASE_FREE ||
                                    w->view.lease == FAILOVER_LEASE_UNUSED);
                        break;
                default:
                        break;
                }
        }
        /* Nothing is left running that would open the service without its lease. */
        assert_true(w->opening == 0 || may_act(&w->view));
}

/* Looks again until it wants to rest: a deadline that has passed must not stay. */
static void come_to_rest(struct world *w)
{
        struct failover_effects effects;
        unsigned looks = 0;

        while (instant_reached(failover_deadline(w->f), w->view.now)) {
                assert_true(looks++ < FAILOVER_STATES);
                failover_step(w->f, &(struct failover_event){ .type = FAILOVER_EVENT_VIEW },
                              &w->view, &effects);
                check_effects(w, &effects);
        }
}

static void live(struct world *w)
{
        struct failover_effects effects;

        for (unsigned i = 0; i < MOMENTS; i++) {
                struct failover_event event;

                if (draw(w, 4))
                        draw_view(w);
                event = draw_event(w);
                if (event.id == w->opening && (event.type == FAILOVER_EVENT_STEP_DONE ||
                                               event.type == FAILOVER_EVENT_STEP_FAILED))
                        w->opening = 0;
                failover_step(w->f, &event, &w->view, &effects);
                check_effects(w, &effects);
                assert_true(!is_acting(failover_state(w->f)) || may_act(&w->view));
                come_to_rest(w);
                assert_true(!is_acting(failover_state(w->f)) || may_act(&w->view));
        }
}

static void nothing_acts_without_its_lease_in_any_world(void **state)
{
        (void)state;
        for (unsigned seed = 1; seed <= WORLDS; seed++) {
                struct world w = { .random = { .state = seed },
                                   .view.now = { 1000 * USEC_PER_SEC } };

                w.config = (struct failover_config){ .self = 1,
                                                     .steps_before = 1000,
                                                     .members = { 1, 2, 3 },
                                                     .n_members = 1 + (unsigned)draw(&w, 3),
                                                     .has_database = draw(&w, 4) > 0,
                                                     .has_address = draw(&w, 4) > 0,
                                                     .automatic = draw(&w, 4) > 0,
                                                     .crash_restart = toss(&w),
                                                     .max_loss = draw(&w, 3),
                                                     .ttl = 3 * USEC_PER_SEC,
                                                     .report_interval = 300 * USEC_PER_MSEC };
                w.f = failover_new(&w.config, w.view.now);
                live(&w);
                failover_free(w.f);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(nothing_acts_without_its_lease_in_any_world),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
