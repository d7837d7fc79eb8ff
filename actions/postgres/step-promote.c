/* Making the server writable, under the hold; and checkpoints. */
#include <stdio.h>

#include "actions/postgres/step.h"

/* Between asking for the promotion and knowing that it is over; half a second is never needed. */
#define PROMOTE_BUDGET (50 * USEC_PER_MSEC)
#define CHECKPOINT_LIMIT (3600 * USEC_PER_SEC)

static bool is_writable(const struct agent *a)
{
        return a->view.known && !a->view.in_recovery;
}

static enum progress promote_check(struct agent *a, struct step *s)
{
        (void)a;
        if (!hold_covers(a, s->epoch, PROMOTE_BUDGET))
                return step_fail(s, "there is no time left in the hold of this epoch");
        return STEP_NEXT;
}

static void on_command(const struct process_result *result, void *userdata)
{
        struct agent *a = userdata;

        a->step->command = NULL;
        a->step->command_over = true;
        if (result->exit_code != 0)
                (void)step_fail(a->step, "pg_ctl promote: %s", result->output);
        step_poll(a);
}

/* The server's own function was refused, or its connection lost: the program does it by signal. */
static enum progress promote_by_program(struct agent *a, struct step *s)
{
        char program[PATH_SIZE + 16];
        const char *const argv[] = { program, "promote", "-W", "-D", a->settings.data_dir, NULL };
        const struct process_options options = {
                .argv = argv,
                .timeout = instant_until(s->deadline, agent_clock_now()),
                .on_done = on_command,
                .userdata = a,
        };

        snprintf(program, sizeof(program), "%s/pg_ctl", a->settings.bin_dir);
        agent_log(a, "warning", "pg_promote() failed (%s), trying pg_ctl", s->error);
        if (process_start(a->base, &options, &s->command) < 0)
                return step_fail(s, "cannot start %s", program);
        return STEP_NEXT;
}

static enum progress promote_ask(struct agent *a, struct step *s)
{
        enum progress progress;

        if (s->fresh && is_writable(a))
                return STEP_NEXT;
        if (s->fresh) {
                if (!session_is_free(a->acting)) {
                        session_ensure(a->acting);
                        return STEP_AGAIN;
                }
                /* The irreversible step: a fresh reading of the clock decides directly before it. */
                if (!hold_covers(a, s->epoch, PROMOTE_BUDGET))
                        return step_fail(s, "there is no time left in the hold of this epoch");
                a->promoting = true;
                a->may_write = true;
        }
        progress = step_ask(a, s, a->acting, "SELECT pg_promote(false)");
        return progress == STEP_FAILED ? promote_by_program(a, s) : progress;
}

/* Looks again and again; a stage of its own for each look would say the same with more words. */
static enum progress promote_wait(struct agent *a, struct step *s)
{
        if (is_writable(a))
                return STEP_NEXT;
        if (a->watch.state != WATCH_ALIVE)
                return step_fail(s, "the server ended while it was promoted");
        if (step_look(a, s) == STEP_NEXT)
                s->answers = a->view.answers;
        return STEP_WAIT;
}

static enum progress promote_verify(struct agent *a, struct step *s)
{
        struct instant now = agent_clock_now();

        a->promoting = false;
        a->may_write = true;
        if (!hold_covers(a, s->epoch, 0)) {
                (void)step_fail(s, "the hold ended before the promotion did");
                closing_begin(a, CLOSE_IMMEDIATE, now, instant_earlier(a->hold.close_by, now),
                              s->error);
                return STEP_FAILED;
        }
        step_checkpoint_in_background(a);
        return STEP_DONE;
}

static step_stage *const promote_stages[] = {
        promote_check, stage_start, stage_known, promote_ask, promote_wait, promote_verify, NULL,
};

const struct step_kind step_promote = {
        .name = "promote",
        .stages = promote_stages,
        .limit = 60 * USEC_PER_SEC,
        .needs_hold = true,
};

/* --- Checkpoints */

static void on_background(const PGresult *result, int error, const char *why, void *userdata)
{
        struct agent *a = userdata;

        (void)result;
        if (error < 0)
                agent_log(a, "warning", "the checkpoint after the promotion failed: %s", why);
        session_reset(a->background);
}

static void on_background_wanted(struct agent *a)
{
        if (session_query(a->background, "CHECKPOINT", CHECKPOINT_LIMIT, on_background, a) == 0)
                a->checkpoint_wanted = false;
}

void step_checkpoint_in_background(struct agent *a)
{
        a->checkpoint_wanted = true;
        session_ensure(a->background);
        if (session_is_free(a->background))
                on_background_wanted(a);
}

void step_background_ready(struct agent *a)
{
        if (a->checkpoint_wanted)
                on_background_wanted(a);
        step_poll(a);
}

static enum progress checkpoint_ask(struct agent *a, struct step *s)
{
        if (a->watch.state != WATCH_ALIVE)
                return step_fail(s, "the server does not run");
        return step_ask(a, s, a->background, "CHECKPOINT");
}

static step_stage *const checkpoint_stages[] = { checkpoint_ask, NULL };

const struct step_kind step_checkpoint = {
        .name = "checkpoint",
        .stages = checkpoint_stages,
        .limit = CHECKPOINT_LIMIT,
};
