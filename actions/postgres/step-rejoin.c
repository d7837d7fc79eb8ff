/* Making a streaming standby of whatever is there, and making a cluster in the first place. */
#include <signal.h>

#include "actions/postgres/step.h"

enum {
        ATTEMPTS_MAX = 2, /* after the first one: a rewind, then a clone */
};

#define REJOIN_LIMIT (3600 * USEC_PER_SEC)
#define CHECK_INTERVAL USEC_PER_SEC
#define PATIENCE (30 * USEC_PER_SEC) /* for a rejoined server to stream, before it is cloned */

static enum progress refuse_primary(struct agent *a, struct step *s)
{
        if (a->watch.state == WATCH_ALIVE && (a->watch.foreign || a->may_write) &&
            (a->view.known || a->watch.foreign))
                return step_fail(s, "a server runs here that may be the primary; demote it first");
        return STEP_NEXT;
}

enum progress stage_close(struct agent *a, struct step *s)
{
        if (s->fresh && refuse_primary(a, s) == STEP_FAILED)
                return STEP_FAILED;
        return step_close(a, s, CLOSE_FAST);
}

/* --- rejoin */

static step_stage rejoin_close, rejoin_start, rejoin_wait;

static enum progress rejoin_known(struct agent *a, struct step *s)
{
        if (a->watch.state == WATCH_ALIVE && !a->watch.foreign && !a->view.known) {
                if (s->fresh)
                        health_hurry(a);
                return STEP_WAIT;
        }
        return refuse_primary(a, s);
}

/* A standby that runs may only need to be told whom to follow. */
static enum progress rejoin_follow(struct agent *a, struct step *s)
{
        enum progress progress;

        if (a->watch.state != WATCH_ALIVE || s->order.copy)
                return step_goto(s, rejoin_close);
        progress = step_work(a, s, work_follow);
        if (progress == STEP_NEXT) {
                watch_signal(a, SIGHUP);
                return step_goto(s, rejoin_wait);
        }
        return progress == STEP_FAILED && s->result.diverged ? STEP_NEXT : progress;
}

static enum progress rejoin_close(struct agent *a, struct step *s)
{
        return stage_close(a, s);
}

static enum progress rejoin_work(struct agent *a, struct step *s)
{
        enum progress progress;

        if (s->fresh)
                s->order.clone_now = s->attempts >= ATTEMPTS_MAX;
        progress = step_work(a, s, work_rejoin);
        if (progress == STEP_NEXT)
                s->cloned = s->result.cloned;
        return progress;
}

/* The next attempt, which goes further, if it is allowed. */
static enum progress try_harder(struct agent *a, struct step *s, unsigned attempts)
{
        if (attempts <= s->attempts || attempts > ATTEMPTS_MAX || s->cloned ||
            (attempts == ATTEMPTS_MAX && !s->order.clone))
                return STEP_FAILED;
        agent_log(a, "warning", "%s: %s", s->error, attempts == 1 ? "rewinding" : "cloning");
        s->attempts = attempts;
        s->explaining = false;
        s->order.force = true;
        return step_goto(s, rejoin_close);
}

/* Somebody may have killed the server: a copy of everything is for one that ends again. */
static enum progress start_again(struct agent *a, struct step *s)
{
        if (s->started_again || a->watch.state == WATCH_ALIVE)
                return try_harder(a, s, ATTEMPTS_MAX);
        agent_log(a, "warning", "%s: starting it once more", s->error);
        s->started_again = true;
        s->explaining = false;
        return step_goto(s, rejoin_start);
}

static enum progress rejoin_start(struct agent *a, struct step *s)
{
        enum progress progress = stage_start(a, s);

        return progress == STEP_FAILED ? start_again(a, s) : progress;
}

static enum progress rejoin_answers(struct agent *a, struct step *s)
{
        enum progress progress = stage_known(a, s);

        return progress == STEP_FAILED ? start_again(a, s) : progress;
}

/* Once a second the histories are compared again, since replay may have caught up meanwhile. */
static enum progress rejoin_compare(struct agent *a, struct step *s)
{
        enum progress progress = step_work(a, s, work_follow);

        if (progress == STEP_NEXT)
                watch_signal(a, SIGHUP);
        if (progress == STEP_FAILED && s->result.diverged)
                return try_harder(a, s, s->attempts + 1);
        return progress;
}

/* Replay that goes on is a good sign, however long it takes until the server streams. */
static bool patience_is_over(const struct agent *a, struct step *s, struct instant now)
{
        if (s->replayed != a->view.replayed || s->moved.usec == INSTANT_NEVER.usec) {
                s->replayed = a->view.replayed;
                s->moved = now;
        }
        return instant_reached(instant_after(s->moved, PATIENCE), now);
}

static enum progress rejoin_wait(struct agent *a, struct step *s)
{
        struct instant now = agent_clock_now();
        enum progress progress = stage_streaming(a, s);

        if (progress == STEP_NEXT)
                return STEP_NEXT;
        if (progress == STEP_FAILED || patience_is_over(a, s, now)) {
                s->moved = now;
                return start_again(a, s) == STEP_WAIT ? STEP_WAIT : progress;
        }
        if (!s->asking && instant_reached(instant_after(s->checked, CHECK_INTERVAL), now))
                return step_goto(s, rejoin_compare);
        return STEP_WAIT;
}

static enum progress rejoin_tidy(struct agent *a, struct step *s)
{
        return step_work(a, s, work_tidy);
}

static step_stage *const rejoin_stages[] = {
        rejoin_known,   rejoin_follow,  rejoin_close, rejoin_work, rejoin_start,
        rejoin_answers, rejoin_compare, rejoin_wait,  rejoin_tidy, NULL,
};

const struct step_kind step_rejoin = {
        .name = "rejoin",
        .stages = rejoin_stages,
        .limit = REJOIN_LIMIT,
        .needs_primary = true,
};

/* --- clone */

static enum progress clone_work(struct agent *a, struct step *s)
{
        enum progress progress = step_work(a, s, work_clone);

        if (progress == STEP_NEXT)
                s->cloned = true;
        return progress;
}

static step_stage *const clone_stages[] = {
        rejoin_known, stage_close,     clone_work,  stage_start,
        stage_known,  stage_streaming, rejoin_tidy, NULL,
};

const struct step_kind step_clone = {
        .name = "clone",
        .stages = clone_stages,
        .limit = REJOIN_LIMIT,
        .needs_primary = true,
};

/* --- bootstrap */

static enum progress bootstrap_work(struct agent *a, struct step *s)
{
        enum progress progress;

        if (s->fresh && a->watch.state == WATCH_ALIVE && !s->order.adopt)
                return step_fail(s, "a server runs here already");
        progress = step_work(a, s, work_bootstrap);
        if (progress == STEP_NEXT)
                watch_signal(a, SIGHUP);
        return progress;
}

static step_stage *const bootstrap_stages[] = { bootstrap_work, stage_inspect, NULL };

const struct step_kind step_bootstrap = {
        .name = "bootstrap",
        .stages = bootstrap_stages,
        .limit = 600 * USEC_PER_SEC,
};
