/* Steps that start and close the server. */
#include "actions/postgres/step.h"

#define START_LIMIT (60 * USEC_PER_SEC)

/* The server is gone; its log may say why. */
static enum progress step_explain(struct agent *a, struct step *s)
{
        if (!s->explaining) {
                s->explaining = true;
                return STEP_AGAIN;
        }
        return step_work(a, s, work_explain);
}

enum progress stage_known(struct agent *a, struct step *s)
{
        if (a->watch.state != WATCH_ALIVE)
                return step_explain(a, s);
        if (s->fresh)
                health_hurry(a);
        if (a->watch.foreign)
                return step_fail(s, "a server of another user runs here");
        session_ensure(a->watching);
        session_ensure(a->acting);
        return a->view.known ? STEP_NEXT : STEP_WAIT;
}

enum progress stage_start(struct agent *a, struct step *s)
{
        if (s->fresh && a->watch.state != WATCH_NONE) {
                if (a->watch.state == WATCH_ALIVE)
                        return STEP_NEXT;
                return STEP_AGAIN;
        }
        a->starts_standby = true;
        return step_work(a, s, work_start);
}

enum progress stage_inspect(struct agent *a, struct step *s)
{
        (void)s;
        if (a->watch.state != WATCH_NONE)
                return STEP_NEXT;
        if (s->fresh)
                watch_inspect(a);
        return a->watch.inspector ? STEP_WAIT : STEP_NEXT;
}

static enum progress start_verify(struct agent *a, struct step *s)
{
        if (!a->view.in_recovery)
                return step_fail(s, "the server runs as the primary, not as a standby");
        return STEP_DONE;
}

static step_stage *const start_stages[] = { stage_start, stage_known, start_verify, NULL };

const struct step_kind step_start = {
        .name = "start",
        .stages = start_stages,
        .limit = START_LIMIT,
};

/* --- Starting the crashed primary again, in place */

static enum progress restart_work(struct agent *a, struct step *s)
{
        if (s->fresh && a->watch.state == WATCH_ALIVE)
                return STEP_NEXT;
        if (s->fresh && !hold_covers(a, s->epoch, 0))
                return step_fail(s, "there is no valid hold of this epoch");
        return step_work(a, s, work_restart);
}

static enum progress restart_verify(struct agent *a, struct step *s)
{
        if (a->view.in_recovery)
                return step_fail(s, "the server runs as a standby, and is to be promoted");
        if (!hold_covers(a, s->epoch, 0))
                return step_fail(s, "the hold ended while the server started");
        return STEP_DONE;
}

static step_stage *const restart_stages[] = { restart_work, stage_known, restart_verify, NULL };

const struct step_kind step_restart = {
        .name = "restart",
        .stages = restart_stages,
        .limit = START_LIMIT,
        .needs_hold = true,
};

/* --- Closing */

static enum progress demote_close(struct agent *a, struct step *s)
{
        return step_close(a, s, s->mode);
}

static enum progress demote_verify(struct agent *a, struct step *s)
{
        if (a->watch.state != WATCH_NONE)
                return step_fail(s, "a server has appeared again");
        if (a->watch.inspected && !a->watch.disk.ok)
                return step_fail(s, "it is closed, but %s", a->watch.disk.error);
        return STEP_DONE;
}

static step_stage *const demote_stages[] = { demote_close, demote_verify, NULL };

const struct step_kind step_demote = {
        .name = "demote",
        .stages = demote_stages,
        .limit = 60 * USEC_PER_SEC,
};
