/* What the agent tells of the server, when it changes and from time to time. */
#include <stdio.h>
#include <string.h>

#include "actions/postgres/agent.h"

static bool is_of_another_version(const struct agent *a)
{
        const struct work_result *disk = &a->watch.disk;

        if (a->view.known)
                return a->view.version / 10000 != a->settings.facts->major;
        return a->watch.state == WATCH_NONE && a->watch.inspected && disk->version != 0 &&
               disk->version != a->settings.facts->major;
}

static const char *state_stopped(const struct agent *a)
{
        if (is_of_another_version(a))
                return "foreign";
        if (a->watch.inspected && a->watch.disk.absent)
                return "absent";
        return a->watch.crashed ? "crashed" : "down";
}

static const char *state_alive(const struct agent *a)
{
        if (a->watch.foreign || is_of_another_version(a))
                return "foreign";
        if (a->closing.active || a->watch.phase == PIDFILE_STOPPING)
                return "stopping";
        if (a->health.hung)
                return "hung";
        return a->view.known ? "running" : "starting";
}

static const char *state_of(const struct agent *a)
{
        switch (a->watch.state) {
        case WATCH_NONE:
                return state_stopped(a);
        case WATCH_ALIVE:
                return state_alive(a);
        case WATCH_REAPING:
                break;
        }
        return "stopping";
}

/* The member at @address, or the address itself; two members may share one in a test. */
static const char *upstream_name(const struct agent *a)
{
        const struct settings *s = &a->settings;

        for (size_t i = 0; i < s->n_members; i++)
                if (strcmp(s->members[i].address, a->view.upstream) == 0 &&
                    s->members[i].port == a->view.upstream_port)
                        return s->members[i].name;
        return a->view.upstream;
}

static void fill_stopped(const struct agent *a, struct status *s)
{
        const struct work_result *disk = &a->watch.disk;

        if (!a->watch.inspected)
                return;
        s->version = disk->version * 10000;
        if (!disk->has_control)
                return;
        s->clean = controldata_is_clean(&disk->control);
        snprintf(s->system_id, sizeof(s->system_id), "%s", disk->control.system_id);
        s->timeline = disk->control.timeline;
        s->lsn = disk->control.checkpoint;
        if (disk->control.recovery_end_timeline >= s->timeline &&
            disk->control.recovery_end > s->lsn) {
                s->timeline = disk->control.recovery_end_timeline;
                s->lsn = disk->control.recovery_end;
        }
}

static void fill_alive(const struct agent *a, struct status *s)
{
        const struct view *v = &a->view;

        s->postmaster = a->watch.pid;
        s->postmaster_start = a->watch.start;
        s->healthy = a->health.healthy && !a->closing.active;
        snprintf(s->reason, sizeof(s->reason), "%s",
                 a->closing.active ? a->closing.reason : a->health.reason);
        s->writable = v->known || a->health.hung ? a->may_write : false;
        if (!v->known)
                return;
        s->role = v->in_recovery ? "standby" : "primary";
        s->streaming = v->streaming;
        s->frozen = v->frozen;
        snprintf(s->system_id, sizeof(s->system_id), "%s", v->system_id);
        s->timeline = v->timeline;
        s->lsn = v->lsn;
        s->replayed = v->replayed;
        s->version = v->version;
        snprintf(s->upstream, sizeof(s->upstream), "%s", upstream_name(a));
}

static struct status status_now(const struct agent *a)
{
        struct status s;

        memset(&s, 0, sizeof(s)); /* compared as bytes, so padding counts */
        s.state = state_of(a);
        s.role = "none";
        s.epoch = a->epoch.highest;
        s.needs_rewind = a->needs_rewind;
        if (a->watch.state == WATCH_NONE)
                fill_stopped(a, &s);
        else
                fill_alive(a, &s);
        return s;
}

/* Positions move all the time and are no news by themselves. */
static bool is_news(const struct status *a, const struct status *b)
{
        struct status x, y;

        memcpy(&x, a, sizeof(x));
        memcpy(&y, b, sizeof(y));
        x.lsn = x.replayed = y.lsn = y.replayed = 0;
        return memcmp(&x, &y, sizeof(x)) != 0;
}

static json_t *status_json(const struct status *s)
{
        return json_pack("{s:s, s:s, s:s, s:b, s:b, s:s, s:i, s:I, s:s, s:I, s:I, s:I, s:b, s:s, "
                         "s:b, s:b, s:i, s:I, s:b, s:I}",
                         "type", "status", "state", s->state, "role", s->role, "writable",
                         s->writable, "healthy", s->healthy, "reason", s->reason, "postmaster",
                         (int)s->postmaster, "postmaster_start", (json_int_t)s->postmaster_start,
                         "system_id", s->system_id, "timeline", (json_int_t)s->timeline, "lsn",
                         (json_int_t)s->lsn, "replayed", (json_int_t)s->replayed, "streaming",
                         s->streaming, "upstream", s->upstream, "frozen", s->frozen, "needs_rewind",
                         s->needs_rewind, "version", (int)s->version, "epoch", (json_int_t)s->epoch,
                         "clean", s->clean, "at", (json_int_t)agent_clock_now().usec);
}

void status_send(struct agent *a, bool always)
{
        struct status s;

        if (!a->locked)
                return;
        /* At the start nothing is said before the first look at the data directory. */
        if (a->watch.state == WATCH_NONE && !a->watch.inspected && !a->watch.crashed &&
            !a->sent.state)
                return;
        s = status_now(a);
        if (!always && is_news(&s, &a->sent) == false)
                return;
        memcpy(&a->sent, &s, sizeof(s));
        (void)lines_send(a->lines, status_json(&s)); /* whoever does not read will miss it */
}
