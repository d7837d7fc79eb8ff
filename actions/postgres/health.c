/*
 * Whether the server is well, in layers: its process (watch.c), a new connection (probe.c), and a
 * query on a kept connection. What fails while the process lives makes the server "hung" after
 * `fall` times in a row, and `rise` good answers make it well again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actions/postgres/agent.h"
#include "actions/postgres/lsn.h"

enum {
        PROBE_TICKS = 5, /* a new connection costs the server a process, so not every time */
};

#define CONNECT_RETRY (20 * USEC_PER_MSEC)

/* The columns of the query, in order. */
enum column {
        COLUMN_IN_RECOVERY,
        COLUMN_FLUSHED,
        COLUMN_RECEIVED,
        COLUMN_REPLAYED,
        COLUMN_WRITE_TIMELINE,
        COLUMN_CHECKPOINT_TIMELINE,
        COLUMN_RECOVERY_TIMELINE,
        COLUMN_FILES_TIMELINE,
        COLUMN_SYSTEM_ID,
        COLUMN_RECEIVER,
        COLUMN_RECEIVER_STATUS,
        COLUMN_RECEIVED_TIMELINE,
        COLUMN_SENDER_HOST,
        COLUMN_SENDER_PORT,
        COLUMN_FROZEN,
        COLUMN_VERSION,
        COLUMN_COUNT,
};

/*
 * One look at everything. What cannot be called in recovery stands behind CASE; the function behind
 * pg_stat_wal_receiver is asked by itself, since the view hides a receiver that only connects.
 */
#define HEALTH_QUERY(frozen)                                                                       \
        "SELECT pg_is_in_recovery(),"                                                              \
        " CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END,"                  \
        " pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(),"                                    \
        " CASE WHEN NOT pg_is_in_recovery() THEN"                                                  \
        "  ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int8"     \
        " END,"                                                                                    \
        " (SELECT timeline_id FROM pg_control_checkpoint()),"                                      \
        " (SELECT min_recovery_end_timeline FROM pg_control_recovery()),"                          \
        " CASE WHEN pg_is_in_recovery() AND w.received_tli IS NULL THEN"                           \
        "  (SELECT max(('x' || substr(name, 1, 8))::bit(32)::int8) FROM pg_ls_waldir()"            \
        "   WHERE name ~ '^[0-9A-F]{24}$')"                                                        \
        " END,"                                                                                    \
        " (SELECT system_identifier FROM pg_control_system()),"                                    \
        " w.pid, w.status, w.received_tli, w.sender_host, w.sender_port, " frozen ","              \
        " current_setting('server_version_num') FROM pg_stat_get_wal_receiver() w"

static const char health_query[] = HEALTH_QUERY("current_setting('primary_conninfo') = ''");

/* The receiver of 12 is kept away by a retry interval (work-conf.c), not by its address. */
static const char health_query_12[] = HEALTH_QUERY(
        "current_setting('primary_conninfo') = '' OR"
        " (SELECT setting::int8 > 3600000 FROM pg_settings"
        "  WHERE name = 'wal_retrieve_retry_interval')");

const char *health_sql(const struct agent *a)
{
        return a->settings.facts->conninfo_by_reload ? health_query : health_query_12;
}

static const char *text_of(const PGresult *result, enum column column)
{
        return PQgetisnull(result, 0, (int)column) ? "" : PQgetvalue(result, 0, (int)column);
}

static bool is_true(const PGresult *result, enum column column)
{
        return strcmp(text_of(result, column), "t") == 0;
}

static uint64_t lsn_of(const PGresult *result, enum column column)
{
        uint64_t lsn = 0;

        (void)lsn_parse(text_of(result, column), &lsn); /* null stays 0 */
        return lsn;
}

static uint32_t number_of(const PGresult *result, enum column column)
{
        return (uint32_t)strtoul(text_of(result, column), NULL, 10);
}

static uint32_t later(uint32_t a, uint32_t b)
{
        return a > b ? a : b;
}

static void take_standby(struct agent *a, const PGresult *result)
{
        struct view *v = &a->view;
        uint64_t received = lsn_of(result, COLUMN_RECEIVED);
        uint32_t timeline = later(number_of(result, COLUMN_CHECKPOINT_TIMELINE),
                                  number_of(result, COLUMN_RECOVERY_TIMELINE));

        /* The control file lags; segments of a timeline are there once it has been received. */
        timeline = later(timeline, number_of(result, COLUMN_FILES_TIMELINE));
        v->timeline = later(timeline, number_of(result, COLUMN_RECEIVED_TIMELINE));
        v->in_recovery = true;
        v->replayed = lsn_of(result, COLUMN_REPLAYED);
        /* Received is null or old until streaming begins; an archive may be ahead of it. */
        v->lsn = received > v->replayed ? received : v->replayed;
        v->receiver = *text_of(result, COLUMN_RECEIVER) != '\0';
        v->streaming = strcmp(text_of(result, COLUMN_RECEIVER_STATUS), "streaming") == 0;
        v->frozen = is_true(result, COLUMN_FROZEN) && !v->receiver;
        snprintf(v->upstream, sizeof(v->upstream), "%s", text_of(result, COLUMN_SENDER_HOST));
        v->upstream_port = (uint16_t)number_of(result, COLUMN_SENDER_PORT);
}

static void take_primary(struct agent *a, const PGresult *result)
{
        struct view *v = &a->view;

        v->in_recovery = false;
        v->timeline = number_of(result, COLUMN_WRITE_TIMELINE);
        v->lsn = lsn_of(result, COLUMN_FLUSHED);
        v->replayed = v->lsn;
        v->receiver = v->streaming = v->frozen = false;
        v->upstream[0] = '\0';
        a->needs_rewind = false;
}

bool health_take(struct agent *a, const PGresult *result)
{
        struct view *v = &a->view;

        if (!result || PQntuples(result) != 1 || PQnfields(result) != COLUMN_COUNT)
                return false;
        snprintf(v->system_id, sizeof(v->system_id), "%s", text_of(result, COLUMN_SYSTEM_ID));
        v->version = number_of(result, COLUMN_VERSION);
        if (is_true(result, COLUMN_IN_RECOVERY))
                take_standby(a, result);
        else
                take_primary(a, result);
        v->known = true;
        v->answers++;
        /* An answer from before the promotion was asked for may arrive behind it. */
        a->may_write = !v->in_recovery || a->promoting;
        return true;
}

static void judge(struct agent *a, bool good, const char *reason)
{
        struct health *h = &a->health;

        h->good = good ? h->good + 1 : 0;
        h->bad = good ? 0 : h->bad + 1;
        if (good && !h->healthy && h->good >= a->settings.rise)
                h->healthy = true;
        if (!good && h->healthy && h->bad >= a->settings.fall)
                h->healthy = false;
        h->hung = h->bad >= a->settings.fall && (h->probe_bad || h->late || a->watch.stopped);
        snprintf(h->reason, sizeof(h->reason), "%s", good ? "" : reason);
}

static void on_answer(const PGresult *result, int error, const char *why, void *userdata)
{
        struct agent *a = userdata;
        bool ok = health_take(a, result);

        a->health.late = error == -ETIMEDOUT;
        if (a->watch.state != WATCH_ALIVE)
                return;
        if (!ok)
                judge(a, false, why);
        else if (a->watch.stopped)
                judge(a, false, "the postmaster is stopped by a signal");
        else if (a->health.probe_bad)
                judge(a, false, "new connections get no answer");
        else
                judge(a, true, "");
        status_send(a, false);
        step_poll(a);
        if (ok && a->health.hurry)
                health_hurry(a);
}

static bool ask(struct agent *a)
{
        return session_query(a->watching, health_sql(a), a->settings.health_timeout, on_answer,
                             a) == 0;
}

void health_hurry(struct agent *a)
{
        const struct timeval tv = { .tv_usec = CONNECT_RETRY };

        a->health.hurry = false;
        if (a->watch.state != WATCH_ALIVE || a->watch.foreign)
                return;
        session_ensure(a->watching);
        session_ensure(a->acting);
        if (session_is_free(a->watching)) {
                (void)ask(a); /* failing, it has told so already */
                return;
        }
        a->health.hurry = true;
        if (!session_is_connected(a->watching))
                (void)event_add(a->health.retry, &tv);
}

static void on_retry(evutil_socket_t fd, short what, void *userdata)
{
        struct agent *a = userdata;

        (void)fd;
        (void)what;
        if (a->health.hurry && !a->view.known)
                health_hurry(a);
}

static void on_ready(void *userdata)
{
        struct agent *a = userdata;

        if (session_is_free(a->watching))
                health_hurry(a);
        step_poll(a);
}

static void on_background_ready(void *userdata)
{
        step_background_ready(userdata);
        slots_ready(userdata);
}

/* A lost connection often is the first sign of a crash, but the pidfd is the proof. */
static void on_lost(void *userdata)
{
        struct agent *a = userdata;

        watch_look(a);
        step_poll(a);
}

static void on_probe(enum probe_answer answer, void *userdata)
{
        struct agent *a = userdata;
        bool starting = a->watch.phase != PIDFILE_READY;

        if (a->watch.state != WATCH_ALIVE)
                return;
        a->health.probe_busy = answer == PROBE_BUSY;
        a->health.probe_bad = answer == PROBE_SILENT || (answer == PROBE_REFUSED && !starting);
        if (!a->health.probe_bad || session_is_connected(a->watching))
                return;
        judge(a, false, "new connections get no answer");
        status_send(a, false);
}

/* No connection: a server that starts or stops is not well, but not ill either. */
static void judge_without_session(struct agent *a)
{
        struct health *h = &a->health;

        if (a->watch.stopped) {
                judge(a, false, "the postmaster is stopped by a signal");
        } else if (a->watch.phase != PIDFILE_READY || h->probe_busy) {
                h->good = h->bad = 0;
                h->healthy = false;
                snprintf(h->reason, sizeof(h->reason), "%s", session_trouble(a->watching));
        } else {
                judge(a, false, session_trouble(a->watching));
        }
}

static void look_at_server(struct agent *a)
{
        struct health *h = &a->health;

        if (a->watch.state != WATCH_ALIVE || a->watch.foreign)
                return;
        if (h->ticks++ % PROBE_TICKS == 0 || !h->healthy || h->bad > 0)
                probe_ask(a->probe);
        session_ensure(a->watching);
        session_ensure(a->acting);
        if (session_is_free(a->watching))
                (void)ask(a);
        else if (!session_is_connected(a->watching))
                judge_without_session(a);
        else if (a->watch.stopped)
                judge(a, false, "the postmaster is stopped by a signal");
}

static void on_tick(evutil_socket_t fd, short what, void *userdata)
{
        struct agent *a = userdata;

        (void)fd;
        (void)what;
        if (!a->locked)
                return;
        watch_look(a);
        look_at_server(a);
        status_send(a, true);
        step_poll(a);
        slots_keep(a);
}

void health_forget(struct agent *a)
{
        struct health *h = &a->health;

        session_reset(a->watching);
        session_reset(a->acting);
        session_reset(a->background);
        a->checkpoint_wanted = a->slots_wanted = false;
        probe_reset(a->probe);
        a->view = (struct view){ 0 };
        *h = (struct health){ .tick = h->tick, .retry = h->retry };
}

int health_init(struct agent *a)
{
        const struct session_events events = { .on_ready = on_ready, .on_lost = on_lost };
        const struct session_events background = { .on_ready = on_background_ready };
        const struct settings *s = &a->settings;
        const struct timeval tv = { .tv_sec = (time_t)(s->health_interval / USEC_PER_SEC),
                                    .tv_usec = (suseconds_t)(s->health_interval % USEC_PER_SEC) };
        int r;

        r = session_new(a->base, s, s->health_timeout, &events, a, &a->watching);
        if (r == 0)
                r = session_new(a->base, s, 0, &events, a, &a->acting);
        if (r == 0)
                r = session_new(a->base, s, 0, &background, a, &a->background);
        if (r == 0)
                r = probe_new(a->base, s, on_probe, a, &a->probe);
        if (r < 0)
                return r;
        a->health.tick = event_new(a->base, -1, EV_PERSIST, on_tick, a);
        a->health.retry = event_new(a->base, -1, 0, on_retry, a);
        if (!a->health.tick || !a->health.retry || event_add(a->health.tick, &tv) < 0)
                return -ENOMEM;
        return 0;
}
