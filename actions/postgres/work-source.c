/* Asking the primary, by blocking libpq calls in a job's process. */
#include "actions/postgres/work-source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actions/postgres/files.h"
#include "actions/postgres/text.h"
#include "actions/postgres/work-files.h"
#include "election/base/cleanup.h"

static void clearp(PGresult **r)
{
        PQclear(*r);
}

static void finishp(PGconn **c)
{
        PQfinish(*c);
}

static void ignore_notice(void *userdata, const char *message)
{
        (void)userdata;
        (void)message;
}

/* The connection string alone says how; nothing of it is ever on a command line but a file name. */
static int connect_to(struct work *w, const char *extra, const char *dbname, PGconn **ret)
{
        _cleanup_(freep)
        char *conninfo = work_conninfo(w, &w->order.primary, dbname);
        _cleanup_(finishp)
        PGconn *conn = NULL;
        char whole[PATH_SIZE * 3];

        snprintf(whole, sizeof(whole), "%s %s", conninfo, extra);
        conn = PQconnectdb(whole);
        if (!conn || PQstatus(conn) != CONNECTION_OK)
                return work_fail(w, "cannot connect to %s: %.180s", w->order.primary.name,
                                 conn ? PQerrorMessage(conn) : "no memory");
        PQsetNoticeProcessor(conn, ignore_notice, NULL);
        *ret = TAKE_PTR(conn);
        return 0;
}

static int ask(struct work *w, PGconn *conn, const char *sql, int n_fields, PGresult **ret)
{
        _cleanup_(clearp)
        PGresult *result = PQexec(conn, sql);

        if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) < 1 ||
            PQnfields(result) < n_fields)
                return work_fail(w, "%s answers %.20s with: %.150s", w->order.primary.name, sql,
                                 PQresultErrorMessage(result));
        *ret = TAKE_PTR(result);
        return 0;
}

static int identify(struct work *w, struct source *s)
{
        _cleanup_(clearp)
        PGresult *result = NULL;
        const char *ours = w->result.control.system_id;
        int r;

        r = ask(w, s->replication, "IDENTIFY_SYSTEM", 2, &result);
        if (r < 0)
                return r;
        snprintf(s->system_id, sizeof(s->system_id), "%s", PQgetvalue(result, 0, 0));
        s->timeline = (uint32_t)strtoul(PQgetvalue(result, 0, 1), NULL, 10);
        if (w->result.has_control && strcmp(ours, s->system_id) != 0)
                return work_fail(w, "%s has another database (system id %s, here %s)",
                                 w->order.primary.name, s->system_id, ours);
        return 0;
}

static int fetch_history(struct work *w, struct source *s)
{
        _cleanup_(clearp)
        PGresult *result = NULL;
        char sql[64];
        int r;

        if (s->timeline <= 1)
                return 0;
        snprintf(sql, sizeof(sql), "TIMELINE_HISTORY %" PRIu32, s->timeline);
        r = ask(w, s->replication, sql, 2, &result);
        if (r < 0)
                return r;
        r = history_parse(PQgetvalue(result, 0, 1), &s->history);
        if (r < 0)
                return work_fail(w, "the history of timeline %" PRIu32 " is not understood",
                                 s->timeline);
        return 0;
}

int source_open(struct work *w, struct source *ret)
{
        struct source s = { 0 };
        int r;

        r = connect_to(w, "replication='true'", NULL, &s.replication);
        if (r == 0)
                r = identify(w, &s);
        if (r == 0)
                r = fetch_history(w, &s);
        if (r < 0) {
                source_done(&s);
                return r;
        }
        *ret = s;
        return 0;
}

void source_done(struct source *s)
{
        PQfinish(s->replication);
        history_done(&s->history);
        *s = (struct source){ 0 };
}

int source_make_slot(struct work *w, struct source *s)
{
        _cleanup_(clearp)
        PGresult *result = NULL;
        char slot[SLOT_NAME_SIZE], sql[SLOT_NAME_SIZE + 64];
        const char *state;

        text_slot_name(w->settings->node, slot);
        snprintf(sql, sizeof(sql), "CREATE_REPLICATION_SLOT \"%s\" PHYSICAL RESERVE_WAL", slot);
        result = PQexec(s->replication, sql);
        if (PQresultStatus(result) == PGRES_TUPLES_OK)
                return 0;
        state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        if (state && strcmp(state, "42710") == 0)
                return 0; /* duplicate_object: it is there */
        return work_fail(w, "cannot create slot %s on %s: %.150s", slot, w->order.primary.name,
                         PQresultErrorMessage(result));
}

int source_wait_for_checkpoint(struct work *w, const struct source *s)
{
        _cleanup_(finishp)
        PGconn *conn = NULL;
        int r;

        if (w->settings->facts->rewind_without_checkpoint)
                return 0;
        r = connect_to(w, "", "postgres", &conn);
        if (r < 0)
                return r;
        for (;;) {
                _cleanup_(clearp)
                PGresult *result = NULL;

                r = ask(w, conn, "SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()", 1,
                        &result);
                if (r < 0)
                        return r;
                if (strtoul(PQgetvalue(result, 0, 0), NULL, 10) >= s->timeline)
                        return 0;
                if (!work_wait(w))
                        return work_fail(w, "%s has made no checkpoint on timeline %" PRIu32,
                                         w->order.primary.name, s->timeline);
        }
}

void source_nudge(struct work *w)
{
        _cleanup_(finishp)
        PGconn *conn = NULL;
        _cleanup_(clearp)
        PGresult *result = NULL;

        if (connect_to(w, "", "postgres", &conn) < 0 ||
            ask(w, conn, "SELECT pg_catalog.txid_current()", 1, &result) < 0)
                work_log("warning", "%s", w->result.error);
        w->result.error[0] = '\0';
}

/* Whether both servers mean the same by @timeline, as far as our own files tell. */
static bool same_start(const struct source *s, const char *dir, uint32_t timeline)
{
        _cleanup_(history_done)
        struct history own = { 0 };
        _cleanup_(freep)
        char *text = NULL;
        char path[PATH_SIZE + 64];

        snprintf(path, sizeof(path), "%s/pg_wal/%08" PRIX32 ".history", dir, timeline);
        if (file_read(path, &text) < 0 || history_parse(text, &own) < 0)
                return true; /* no file: nothing that says otherwise */
        return history_same_start(&own, &s->history, timeline);
}

enum ancestry source_compare(const struct source *s, const char *dir, uint32_t timeline,
                             uint64_t lsn)
{
        /* Two servers that were promoted apart may have given their timelines the same number. */
        if (timeline > 1 && !same_start(s, dir, timeline))
                return ANCESTRY_FOREIGN;
        return history_compare(&s->history, s->timeline, timeline, lsn);
}
