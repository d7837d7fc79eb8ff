/* Making a new cluster, or preparing an existing one: settings, role, and who may connect. */
#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actions/postgres/files.h"
#include "actions/postgres/text.h"
#include "actions/postgres/work-files.h"
#include "election/base/cleanup.h"

enum {
        SENDERS_SPARE = 4, /* for clones and people, beside one for each member */
        SENDERS_MIN = 10,
};

static void put(struct buffer *b, const char *text)
{
        buffer_put(b, text, strlen(text));
}

static char *take(struct buffer *b)
{
        buffer_put_u8(b, '\0');
        return (char *)TAKE_PTR(b->bytes);
}

static void finishp(PGconn **c)
{
        PQfinish(*c);
}

static void clearp(PGresult **r)
{
        PQclear(*r);
}

/* --- SQL that makes the role; each statement is one line, as a single-user server wants it */

static int find_password(struct work *w, char **ret)
{
        const struct settings *s = w->settings;
        _cleanup_(freep)
        char *text = NULL;
        int r;

        if (s->passfile[0] == '\0')
                return 0;
        r = file_read(s->passfile, &text);
        if (r < 0)
                return work_fail_errno(w, r, "cannot read %s", s->passfile);
        *ret = text_password(text, s->replication_user);
        if (!*ret)
                return work_fail(w, "%s has no line for %s", s->passfile, s->replication_user);
        if (strstr(*ret, "$role$"))
                return work_fail(w, "the password must not contain $role$");
        return 0;
}

static int make_sql(struct work *w, char **ret)
{
        static const char *const functions[] = {
                "pg_ls_dir(text, boolean, boolean)",
                "pg_stat_file(text, boolean)",
                "pg_read_binary_file(text)",
                "pg_read_binary_file(text, bigint, bigint, boolean)",
        };
        _cleanup_(freep)
        char *name = text_sql_quote(w->settings->replication_user);
        _cleanup_(freep)
        char *role = text_sql_identifier(w->settings->replication_user);
        _cleanup_(freep)
        char *password = NULL;
        _cleanup_(freep)
        char *quoted = NULL;
        _cleanup_(buffer_done)
        struct buffer b = { 0 };
        int r;

        r = find_password(w, &password);
        if (r < 0)
                return r;
        quoted = text_sql_quote(password ? password : "");
        put(&b, "DO $role$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = ");
        put(&b, name);
        put(&b, ") THEN CREATE ROLE ");
        put(&b, role);
        put(&b, "; END IF; END $role$;\nALTER ROLE ");
        put(&b, role);
        put(&b, " LOGIN REPLICATION");
        if (password) {
                put(&b, " PASSWORD ");
                put(&b, quoted);
        }
        put(&b, ";\n");
        for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
                put(&b, "GRANT EXECUTE ON FUNCTION pg_catalog.");
                put(&b, functions[i]);
                put(&b, " TO ");
                put(&b, role);
                put(&b, ";\n");
        }
        *ret = take(&b);
        return 0;
}

/* A single-user server succeeds whatever its statements do, so its output is read. */
static int run_sql_stopped(struct work *w, const char *sql)
{
        const struct settings *s = w->settings;
        char config[PATH_SIZE + 32];
        const char *args[] = { "--single", "-D", s->data_dir, "postgres", NULL, NULL, NULL };
        _cleanup_(freep)
        char *output = NULL;
        char *complaint;
        int r;

        if (s->config_file[0] != '\0') {
                snprintf(config, sizeof(config), "config_file=%s", s->config_file);
                args[3] = "-c";
                args[4] = config;
                args[5] = "postgres";
        }
        r = work_run(w, "postgres", args, sql, &output);
        if (r < 0)
                return r;
        complaint = strstr(output, "ERROR:");
        if (!complaint)
                complaint = strstr(output, "FATAL:");
        if (complaint)
                return work_fail(w, "cannot make the role: %.*s", (int)strcspn(complaint, "\n"),
                                 complaint);
        return 0;
}

static int connect_locally(struct work *w, PGconn **ret)
{
        const struct settings *s = w->settings;
        _cleanup_(finishp)
        PGconn *conn = NULL;
        char port[8];
        const char *const keywords[] = { "host",   "port",    "user",
                                         "dbname", "options", "application_name",
                                         NULL };
        const char *const values[] = { s->socket_dir,
                                       port,
                                       s->user,
                                       "postgres",
                                       "-c search_path=pg_catalog -c synchronous_commit=local",
                                       "failoverd",
                                       NULL };

        snprintf(port, sizeof(port), "%u", s->port);
        conn = PQconnectdbParams(keywords, values, 0);
        if (!conn || PQstatus(conn) != CONNECTION_OK)
                return work_fail(w, "cannot connect to the server: %.180s",
                                 conn ? PQerrorMessage(conn) : "no memory");
        *ret = TAKE_PTR(conn);
        return 0;
}

static int run_sql_running(struct work *w, PGconn *conn, const char *sql)
{
        _cleanup_(clearp)
        PGresult *result = PQexec(conn, sql);

        if (PQresultStatus(result) != PGRES_COMMAND_OK)
                return work_fail(w, "cannot make the role: %.180s", PQresultErrorMessage(result));
        return 0;
}

/* --- Settings that the members share */

static int write_shared_conf(struct work *w, const char *text)
{
        char path[PATH_SIZE];
        int r;

        work_path(w, "failoverd.conf", path);
        r = file_write(path, text, 0600);
        if (r < 0)
                return work_fail_errno(w, r, "cannot write %s", path);
        return 0;
}

static size_t senders_wanted(const struct work *w)
{
        size_t n = w->settings->n_members + SENDERS_SPARE;

        return n < SENDERS_MIN ? SENDERS_MIN : n;
}

#define SHARED_HEAD "# Written by failoverd when the service was made; the same on all members.\n"

static int write_new_conf(struct work *w)
{
        const struct version_facts *facts = w->settings->facts;
        char text[1024];

        snprintf(text, sizeof(text),
                 SHARED_HEAD "wal_level = replica\nhot_standby = on\nwal_log_hints = on\n"
                             "max_wal_senders = %zu\nmax_replication_slots = %zu\n"
                             "password_encryption = 'scram-sha-256'\n%s = %s\n%s\n"
                             /* A member that vanished holds up a shutdown no longer than that. */
                             "wal_sender_timeout = 10s\nwal_receiver_timeout = 10s\n",
                 senders_wanted(w), senders_wanted(w), facts->wal_keep, facts->wal_keep_value,
                 facts->crash_sync);
        return write_shared_conf(w, text);
}

/* What a setting is now: of the running server, or of the one that its files would make. */
static int get_setting(struct work *w, PGconn *conn, const char *name, char **ret)
{
        const struct settings *s = w->settings;
        char sql[64], config[PATH_SIZE + 32];
        const char *args[] = { "-C", name, "-D", s->data_dir, NULL, NULL, NULL };
        _cleanup_(clearp)
        PGresult *result = NULL;
        int r;

        if (conn) {
                snprintf(sql, sizeof(sql), "SHOW %s", name);
                result = PQexec(conn, sql);
                if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
                        return work_fail(w, "the server does not tell %s", name);
                *ret = strdup(PQgetvalue(result, 0, 0));
                return *ret ? 0 : -ENOMEM;
        }
        if (s->config_file[0] != '\0') {
                snprintf(config, sizeof(config), "config_file=%s", s->config_file);
                args[4] = "-c";
                args[5] = config;
        }
        r = work_run(w, "postgres", args, NULL, ret);
        if (r == 0)
                (*ret)[strcspn(*ret, "\n")] = '\0';
        return r;
}

/* What an existing cluster must have; `value` goes into our file where it has not. */
struct demand {
        const char *name;
        const char *value; /* NULL: the number of senders */
        bool (*is_met)(const struct work *w, const char *value);
};

static bool is_on(const struct work *w, const char *value)
{
        (void)w;
        return strcmp(value, "on") == 0;
}

static bool is_not_minimal(const struct work *w, const char *value)
{
        (void)w;
        return strcmp(value, "minimal") != 0;
}

static bool is_on_or_checksums(const struct work *w, const char *value)
{
        return w->result.control.checksums || is_on(w, value);
}

static bool is_enough(const struct work *w, const char *value)
{
        return strtoul(value, NULL, 10) >= w->settings->n_members + 1;
}

static const struct demand demands[] = {
        { "wal_level", "replica", is_not_minimal }, { "wal_log_hints", "on", is_on_or_checksums },
        { "full_page_writes", "on", is_on },        { "hot_standby", "on", is_on },
        { "max_wal_senders", NULL, is_enough },     { "max_replication_slots", NULL, is_enough },
};

static int put_missing(struct work *w, PGconn *conn, const struct demand *d, struct buffer *b,
                       char ret_missing[static TEXT_SIZE])
{
        size_t n = strlen(ret_missing);
        _cleanup_(freep)
        char *value = NULL;
        char number[24];
        int r;

        r = get_setting(w, conn, d->name, &value);
        if (r < 0 || d->is_met(w, value))
                return r;
        snprintf(number, sizeof(number), "%zu", senders_wanted(w));
        text_setting_put(b, d->name, d->value ? d->value : number);
        snprintf(ret_missing + n, TEXT_SIZE - n, "%s%s is %s", n > 0 ? ", " : "", d->name, value);
        return 0;
}

/* The one that a reload is enough for: pg_rewind must find a checkpoint from before the switch. */
static int put_wal_keep(struct work *w, PGconn *conn, struct buffer *b)
{
        const struct version_facts *facts = w->settings->facts;
        _cleanup_(freep)
        char *value = NULL;
        int r;

        r = get_setting(w, conn, facts->wal_keep, &value);
        if (r == 0 && strcmp(value, "0") == 0)
                text_setting_put(b, facts->wal_keep, facts->wal_keep_value);
        return r;
}

/*
 * Adds what is missing to our file, and its names to @ret_missing. What the file has from before
 * stays: it may be the reason why nothing is missing now.
 */
static int write_missing_conf(struct work *w, PGconn *conn, char ret_missing[static TEXT_SIZE])
{
        _cleanup_(buffer_done)
        struct buffer b = { 0 };
        _cleanup_(freep)
        char *before = NULL;
        char path[PATH_SIZE];
        int r = 0;

        work_path(w, "failoverd.conf", path);
        put(&b, file_read(path, &before) == 0 ? before : SHARED_HEAD);
        for (size_t i = 0; r == 0 && i < sizeof(demands) / sizeof(demands[0]); i++)
                r = put_missing(w, conn, &demands[i], &b, ret_missing);
        if (r == 0)
                r = put_wal_keep(w, conn, &b);
        if (r < 0)
                return r;
        buffer_put_u8(&b, '\0');
        return write_shared_conf(w, (const char *)b.bytes);
}

/* --- The two ways */

static int configure(struct work *w, PGconn *conn)
{
        _cleanup_(freep)
        char *hba = NULL;
        int r;

        r = work_include_conf(w, w->settings->data_dir);
        if (r == 0)
                r = work_write_replication_conf(w, w->settings->data_dir, NULL);
        if (r == 0)
                r = get_setting(w, conn, "hba_file", &hba);
        return r < 0 ? r : work_write_hba(w, hba);
}

static int make_new(struct work *w)
{
        const struct settings *s = w->settings;
        const char *const args[] = { "-D",
                                     s->data_dir,
                                     "-U",
                                     s->user,
                                     "-E",
                                     "UTF8",
                                     "--locale=C",
                                     "--data-checksums",
                                     "--auth-local=peer",
                                     "--auth-host=scram-sha-256",
                                     NULL };
        _cleanup_(freep)
        char *sql = NULL;
        int r = dir_is_free(s->data_dir);

        if (r < 0)
                return work_fail_errno(w, r, "cannot look into %s", s->data_dir);
        if (r == 0)
                return work_fail(w, "%s is not empty", s->data_dir);
        if (s->config_file[0] != '\0')
                return work_fail(w, "a new cluster has its configuration in the data directory, so "
                                    "config_file cannot be given");
        r = make_sql(w, &sql);
        if (r == 0)
                r = work_run(w, "initdb", args, NULL, NULL);
        if (r == 0)
                r = write_new_conf(w);
        if (r == 0)
                r = configure(w, NULL);
        if (r == 0)
                r = run_sql_stopped(w, sql);
        return r < 0 ? r : work_after_close(w);
}

static int check_adoptable(struct work *w)
{
        int r;

        r = work_look(w, w->settings->data_dir);
        if (r < 0)
                return r;
        if (w->result.absent)
                return work_fail(w, "there is no database in %s", w->settings->data_dir);
        if (w->result.version != w->settings->facts->major)
                return work_fail(w, "the database is of version %u, not %u", w->result.version,
                                 w->settings->facts->major);
        if (!controldata_was_primary(&w->result.control))
                return work_fail(w, "the database is a standby; only a primary can be adopted");
        return 0;
}

static int adopt_running(struct work *w, const char *sql)
{
        _cleanup_(finishp)
        PGconn *conn = NULL;
        char missing[TEXT_SIZE] = "";
        int r;

        r = connect_locally(w, &conn);
        if (r == 0)
                r = write_missing_conf(w, conn, missing);
        if (r == 0)
                r = configure(w, conn);
        if (r == 0)
                r = run_sql_running(w, conn, sql);
        if (r == 0 && missing[0] != '\0')
                return work_fail(w,
                                 "restart the server once, so that failoverd.conf counts: %.170s",
                                 missing);
        return r;
}

static int adopt_stopped(struct work *w, const char *sql)
{
        char missing[TEXT_SIZE] = "", signal[PATH_SIZE];
        int r;

        /* A single-user server refuses it; it comes back when the role is made. */
        work_path(w, "standby.signal", signal);
        r = file_remove(signal);
        if (r == 0)
                r = write_missing_conf(w, NULL, missing);
        if (r == 0)
                r = configure(w, NULL);
        if (r == 0)
                r = run_sql_stopped(w, sql);
        if (r < 0)
                return r;
        if (missing[0] != '\0')
                work_log("info", "changed in failoverd.conf: %s", missing);
        return work_after_close(w);
}

int work_bootstrap(struct work *w)
{
        _cleanup_(freep)
        char *sql = NULL;
        int r;

        if (!w->order.adopt)
                return make_new(w);
        r = check_adoptable(w);
        if (r == 0)
                r = make_sql(w, &sql);
        if (r < 0)
                return r;
        return w->order.running ? adopt_running(w, sql) : adopt_stopped(w, sql);
}
