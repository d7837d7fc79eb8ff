/* Steps of a running standby: whom it follows, where it is, and the slots of the members. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actions/postgres/step.h"
#include "actions/postgres/text.h"

enum {
        FROZEN_ANSWERS = 3, /* in a row, before the receiver is believed to be gone for good */
};

#define STANDBY_LIMIT (60 * USEC_PER_SEC)
#define CHECK_INTERVAL USEC_PER_SEC /* between two comparisons of the histories */

static enum progress standby_check(struct agent *a, struct step *s)
{
        if (a->watch.state == WATCH_ALIVE && !a->view.known)
                return stage_known(a, s) == STEP_FAILED ? STEP_FAILED : STEP_WAIT;
        if (a->watch.state != WATCH_ALIVE || !a->view.in_recovery)
                return step_fail(s, "no standby runs here");
        return STEP_NEXT;
}

/* --- follow */

static bool is_streaming_from(const struct agent *a, const struct step *s)
{
        const struct view *v = &a->view;

        if (!v->known || !v->in_recovery || !v->streaming)
                return false;
        return !s->named_primary || (strcmp(v->upstream, s->order.primary.address) == 0 &&
                                     v->upstream_port == s->order.primary.port);
}

static enum progress follow_work(struct agent *a, struct step *s)
{
        enum progress progress = step_work(a, s, work_follow);

        if (progress == STEP_NEXT) {
                a->needs_rewind = false;
                s->checked = agent_clock_now();
                watch_signal(a, SIGHUP);
        }
        return progress;
}

/* 12 reads whom to follow only when it starts. */
static enum progress follow_close(struct agent *a, struct step *s)
{
        if (a->settings.facts->conninfo_by_reload)
                return STEP_NEXT;
        return step_close(a, s, CLOSE_FAST);
}

enum progress stage_streaming(struct agent *a, struct step *s)
{
        if (s->fresh) {
                s->checked = agent_clock_now();
                s->quiet = 0;
        }
        if (s->quiet > 0 && is_streaming_from(a, s)) {
                a->needs_rewind = false;
                return STEP_NEXT;
        }
        if (a->watch.state != WATCH_ALIVE)
                return step_fail(s, "the server ended while it began to stream");
        (void)step_fail(s, "it does not stream from its primary yet");
        if (step_look(a, s) == STEP_NEXT) {
                s->answers = a->view.answers;
                s->quiet++; /* an answer from after the reload */
        }
        return STEP_WAIT;
}

/* What could not be told at first (replay was behind) may show now: is this still our history? */
static enum progress follow_wait(struct agent *a, struct step *s)
{
        struct instant now = agent_clock_now();
        enum progress progress = stage_streaming(a, s);

        if (progress == STEP_WAIT && !s->asking &&
            instant_reached(instant_after(s->checked, CHECK_INTERVAL), now))
                return step_goto(s, follow_work);
        return progress;
}

static step_stage *const follow_stages[] = {
        standby_check, follow_work, follow_close, stage_start, stage_known, follow_wait, NULL,
};

const struct step_kind step_follow = {
        .name = "follow",
        .stages = follow_stages,
        .limit = STANDBY_LIMIT,
        .needs_primary = true,
};

const struct step_kind step_unfreeze = {
        .name = "unfreeze",
        .stages = follow_stages,
        .limit = STANDBY_LIMIT,
};

/* --- freeze */

static enum progress freeze_work(struct agent *a, struct step *s)
{
        enum progress progress = step_work(a, s, work_freeze);

        if (progress == STEP_NEXT)
                watch_signal(a, SIGHUP);
        return progress;
}

/* The receiver of 12 is ended by hand; the reload keeps it from coming back. */
static enum progress freeze_terminate(struct agent *a, struct step *s)
{
        if (a->settings.facts->conninfo_by_reload)
                return STEP_NEXT;
        return step_ask(a, s, a->acting,
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_get_wal_receiver()"
                        " WHERE pid IS NOT NULL");
}

/*
 * A receiver flushes what it has when it ends, so the position is final once it is gone. The
 * startup process may not have read the reload yet when it is first seen missing.
 */
static enum progress freeze_wait(struct agent *a, struct step *s)
{
        if (s->fresh)
                s->quiet = 0;
        if (a->watch.state != WATCH_ALIVE)
                return step_fail(s, "the server ended");
        if (step_look(a, s) != STEP_NEXT)
                return STEP_WAIT;
        s->answers = a->view.answers;
        s->quiet = a->view.frozen ? s->quiet + 1 : 0;
        return s->quiet >= FROZEN_ANSWERS ? STEP_NEXT : STEP_WAIT;
}

static step_stage *const freeze_stages[] = {
        standby_check, freeze_work, freeze_terminate, freeze_wait, NULL,
};

const struct step_kind step_freeze = {
        .name = "freeze",
        .stages = freeze_stages,
        .limit = STANDBY_LIMIT,
};

/* --- position */

static enum progress position_look(struct agent *a, struct step *s)
{
        if (a->watch.state != WATCH_ALIVE)
                return step_fail(s, "the server does not run");
        return step_look(a, s);
}

static step_stage *const position_stages[] = { position_look, NULL };

const struct step_kind step_position = {
        .name = "position",
        .stages = position_stages,
        .limit = 10 * USEC_PER_SEC,
};

/* --- slots */

static void put(struct buffer *b, const char *text)
{
        buffer_put(b, text, strlen(text));
}

static enum progress ask_with_names(struct agent *a, struct step *s, const char *before,
                                    const char *after)
{
        _cleanup_(buffer_done)
        struct buffer sql = { 0 };

        if (a->watch.state != WATCH_ALIVE || !a->view.known)
                return step_fail(s, "the server does not run");
        put(&sql, before);
        slots_put_names(&sql, &a->settings);
        put(&sql, after);
        buffer_put_u8(&sql, '\0');
        return step_ask(a, s, a->acting, (const char *)sql.bytes);
}

static enum progress slots_create(struct agent *a, struct step *s)
{
        return ask_with_names(a, s,
                              "SELECT pg_create_physical_replication_slot(name, true) FROM unnest",
                              " AS name WHERE name NOT IN"
                              " (SELECT slot_name FROM pg_replication_slots)");
}

/*
 * Nobody reads a standby's slots, so they are moved to what is replayed here: after a promotion
 * the others find what they miss, and until then no more WAL is kept than that. A member that is
 * behind us then misses some of it only if the primary before us had let it go as well.
 */
static enum progress slots_advance(struct agent *a, struct step *s)
{
        if (!a->view.in_recovery)
                return STEP_NEXT;
        return ask_with_names(a, s,
                              "SELECT pg_replication_slot_advance(slot_name,"
                              " pg_last_wal_replay_lsn()) FROM pg_replication_slots"
                              " WHERE NOT active AND slot_type = 'physical'"
                              " AND restart_lsn < pg_last_wal_replay_lsn() AND slot_name = ANY",
                              "");
}

static step_stage *const slots_stages[] = { slots_create, slots_advance, NULL };

const struct step_kind step_slots = {
        .name = "slots",
        .stages = slots_stages,
        .limit = 10 * USEC_PER_SEC,
};
