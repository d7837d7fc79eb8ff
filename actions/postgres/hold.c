/* The hold: the database may be writable until it ends, and is closed before that. */
#include <stdio.h>

#include "actions/postgres/agent.h"

/* The part of the time that the last resort gets, and its limits. */
#define KILL_PART 4
#define KILL_MIN (50 * USEC_PER_MSEC)
#define KILL_MAX (500 * USEC_PER_MSEC)

static struct instant take_instant(const json_t *message, const char *name)
{
        json_int_t value = json_integer_value(json_object_get(message, name));

        return (struct instant){ value > 0 ? (uint64_t)value : 0 };
}

static uint64_t take_epoch(const json_t *message)
{
        json_int_t value = json_integer_value(json_object_get(message, "epoch"));

        return value > 0 ? (uint64_t)value : 0;
}

/* From demote_at on: a fast shutdown, then an immediate one, then the end of all processes. */
static void close_now(struct agent *a)
{
        struct instant now = agent_clock_now();
        usec_t left = instant_until(a->hold.close_by, now);
        usec_t hard = left / KILL_PART;
        struct instant kill_at, immediate_at;

        hard = hard < KILL_MIN ? KILL_MIN : hard > KILL_MAX ? KILL_MAX : hard;
        kill_at = instant_before(a->hold.close_by, hard);
        immediate_at = instant_after(now, instant_until(kill_at, now) / 2);
        step_interrupt(a, "the hold was not renewed in time");
        closing_begin(a, CLOSE_FAST, immediate_at, kill_at, "the hold was not renewed in time");
}

static void on_demote_at(void *userdata)
{
        struct agent *a = userdata;

        /* Were we stopped for a while, newer holds may be waiting; they count by their instants. */
        lines_read(a->lines);
        if (!a->hold.armed || !instant_reached(a->hold.demote_at, agent_clock_now()))
                return;
        if (!a->may_write && !a->promoting) {
                a->hold.armed = false;
                step_hold_lost(a);
                agent_maybe_exit(a);
                return;
        }
        close_now(a);
}

int hold_init(struct agent *a)
{
        return agent_timer_new(a->base, on_demote_at, a, &a->hold.timer);
}

static void acknowledge(struct agent *a, uint64_t epoch, bool ok)
{
        (void)lines_send(a->lines, json_pack("{s:s, s:I, s:I, s:b}", "type", "ack", "epoch",
                                             (json_int_t)epoch, "close_by",
                                             (json_int_t)a->hold.close_by.usec, "ok", ok));
}

void hold_take(struct agent *a, const json_t *message)
{
        struct hold *h = &a->hold;
        uint64_t epoch = take_epoch(message);

        if (epoch < h->epoch || !epoch_accept(a, epoch)) {
                acknowledge(a, a->epoch.highest, false);
                return;
        }
        h->armed = true;
        h->epoch = epoch;
        h->demote_at = take_instant(message, "demote_at");
        h->close_by = take_instant(message, "close_by");
        h->demote_at = instant_earlier(h->demote_at, h->close_by);
        agent_timer_arm(h->timer, h->demote_at);
        acknowledge(a, epoch, true);
}

void hold_release(struct agent *a, const json_t *message)
{
        if (take_epoch(message) < a->hold.epoch)
                return;
        a->hold.armed = false;
        agent_timer_disarm(a->hold.timer);
}

bool hold_covers(const struct agent *a, uint64_t epoch, usec_t budget)
{
        bool closes = a->closing.active && a->watch.state != WATCH_NONE;
        const struct hold *h = &a->hold;

        /* A close has begun at demote_at at the latest, so nothing may begin behind it. */
        return h->armed && h->epoch == epoch && !closes &&
               !instant_reached(instant_before(h->demote_at, budget), agent_clock_now());
}
