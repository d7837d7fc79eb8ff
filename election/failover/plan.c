/* The steps of a role change, in the order in which the world outside must see them. */
#include <assert.h>

#include "election/failover/failover-internal.h"

static bool is_needed(const struct failover *f, enum failover_step step)
{
        if (step == FAILOVER_STEP_ADDRESS_ADD || step == FAILOVER_STEP_ADDRESS_REMOVE)
                return f->config.has_address;
        return f->config.has_database;
}

static usec_t limit_of(enum failover_step step)
{
        if (step == FAILOVER_STEP_ADDRESS_ADD || step == FAILOVER_STEP_ADDRESS_REMOVE)
                return FAILOVER_ADDRESS_LIMIT;
        return FAILOVER_STEP_LIMIT;
}

static void run_current(struct failover *f, const struct failover_view *v)
{
        enum failover_step step = f->plan.steps[f->plan.current];

        f->plan_step = failover_run(f, step, instant_after(v->now, limit_of(step)), f->target);
        f->effects[f->n_effects - 1].mode = f->demote_mode;
}

void plan_start(struct failover *f, const struct failover_view *v, const enum failover_step *steps,
                unsigned n)
{
        plan_drop(f);
        f->plan = (struct failover_plan){ 0 };
        for (unsigned i = 0; i < n; i++) {
                if (!is_needed(f, steps[i]))
                        continue;
                assert(f->plan.n < FAILOVER_PLAN_MAX);
                f->plan.steps[f->plan.n++] = steps[i];
        }
        f->plan_done = f->plan.n == 0;
        if (!f->plan_done)
                run_current(f, v);
}

void plan_next(struct failover *f, const struct failover_view *v)
{
        f->plan_step = 0;
        f->plan.current++;
        f->plan_done = f->plan.current >= f->plan.n;
        if (!f->plan_done)
                run_current(f, v);
        else
                failover_add(f, FAILOVER_REPORT);
}

void plan_drop(struct failover *f)
{
        if (f->plan_step != 0)
                failover_add(f, FAILOVER_CANCEL)->id = f->plan_step;
        f->plan_step = 0;
        f->plan_done = false;
        f->plan.n = 0;
}

/* The address comes after the database is writable: clients that follow it must not be refused. */
void plan_promotion(struct failover *f, const struct failover_view *v)
{
        static const enum failover_step steps[] = { FAILOVER_STEP_PROMOTE,
                                                    FAILOVER_STEP_ADDRESS_ADD };

        plan_start(f, v, steps, 2);
}

void plan_restart(struct failover *f, const struct failover_view *v)
{
        static const enum failover_step steps[] = { FAILOVER_STEP_RESTART,
                                                    FAILOVER_STEP_ADDRESS_ADD };

        plan_start(f, v, steps, 2);
}

/* Half a stop may be under way, which only a harder one ends. */
void plan_undo(struct failover *f, const struct failover_view *v)
{
        static const enum failover_step steps[] = { FAILOVER_STEP_DEMOTE, FAILOVER_STEP_RESTART,
                                                    FAILOVER_STEP_ADDRESS_ADD };

        f->demote_mode = FAILOVER_MODE_IMMEDIATE;
        plan_start(f, v, steps, 3);
}

/* The checkpoint runs while clients are still served, so that the stop behind it is short. */
void plan_handover(struct failover *f, const struct failover_view *v)
{
        static const enum failover_step steps[] = { FAILOVER_STEP_CHECKPOINT,
                                                    FAILOVER_STEP_ADDRESS_REMOVE,
                                                    FAILOVER_STEP_DEMOTE };

        f->demote_mode = FAILOVER_MODE_FAST;
        plan_start(f, v, steps, 3);
}

void plan_demotion(struct failover *f, const struct failover_view *v, enum failover_mode mode)
{
        static const enum failover_step steps[] = { FAILOVER_STEP_ADDRESS_REMOVE,
                                                    FAILOVER_STEP_DEMOTE };

        f->demote_mode = mode;
        plan_start(f, v, steps, 2);
}
