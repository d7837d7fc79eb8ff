/* Looking at a data directory, and writing what is ours in it. */
#include "actions/postgres/work-files.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actions/postgres/cluster.h"
#include "actions/postgres/files.h"
#include "actions/postgres/text.h"
#include "election/base/cleanup.h"
#include "election/base/endpoint.h"

#define CONF_REPLICATION "failoverd.replication.conf"
#define CONF_SHARED "failoverd.conf"
#define HBA_BEGIN "# failoverd begins here: members may replicate and rewind"
#define HBA_END "# failoverd ends here"

enum {
        PATH_IN_DIR_SIZE = PATH_SIZE + 64,
        ZOMBIE_ROUNDS = 5, /* of work_wait(), for a dead server's parent to take notice */
};

static void path_in(const char *dir, const char *name, char ret[static PATH_IN_DIR_SIZE])
{
        snprintf(ret, PATH_IN_DIR_SIZE, "%s/%s", dir, name);
}

static void put(struct buffer *b, const char *text)
{
        buffer_put(b, text, strlen(text));
}

/* --- Looking */

int work_look(struct work *w, const char *dir)
{
        const char *const args[] = { "-D", dir, NULL };
        _cleanup_(freep)
        char *version = NULL;
        _cleanup_(freep)
        char *output = NULL;
        char path[PATH_IN_DIR_SIZE];
        int r;

        path_in(dir, "PG_VERSION", path);
        r = file_read(path, &version);
        if (r == -ENOENT) {
                w->result.absent = true;
                return 0;
        }
        if (r < 0)
                return work_fail_errno(w, r, "cannot read %s", path);
        w->result.version = (unsigned)strtoul(version, NULL, 10);
        r = work_run(w, "pg_controldata", args, NULL, &output);
        if (r < 0)
                return r;
        r = controldata_parse(output, &w->result.control);
        if (r < 0)
                return work_fail(w, "pg_controldata says nothing that is understood");
        w->result.has_control = true;
        return 0;
}

int work_inspect(struct work *w)
{
        return work_look(w, w->settings->data_dir);
}

int work_mark_standby(struct work *w, const char *dir)
{
        char path[PATH_IN_DIR_SIZE];
        int r;

        path_in(dir, "standby.signal", path);
        r = file_touch(path);
        if (r < 0)
                return work_fail_errno(w, r, "cannot write %s", path);
        return 0;
}

int work_after_close(struct work *w)
{
        int r;

        r = work_look(w, w->settings->data_dir);
        if (r < 0 || w->result.absent)
                return r;
        return work_mark_standby(w, w->settings->data_dir);
}

/* --- Lock files that a dead server left */

static pid_t first_line_pid(const char *path)
{
        _cleanup_(freep)
        char *text = NULL;

        return file_read(path, &text) < 0 ? 0 : (pid_t)labs(strtol(text, NULL, 10));
}

/* Dead for /proc, and alive for kill(): nobody has asked for its exit status yet. */
static bool is_zombie(pid_t pid)
{
        return pid > 0 && cluster_process_start(pid) == 0 && kill(pid, 0) == 0;
}

static void remove_stale_lock(struct work *w, const char *path)
{
        pid_t pid = first_line_pid(path);

        for (unsigned i = 0; i < ZOMBIE_ROUNDS && is_zombie(pid); i++)
                if (!work_wait(w))
                        return;
        if (is_zombie(pid) && first_line_pid(path) == pid)
                (void)unlink(path); /* the server complains about it if that fails */
}

void work_remove_stale_locks(struct work *w)
{
        char path[PATH_SIZE + 64];

        work_path(w, "postmaster.pid", path);
        remove_stale_lock(w, path);
        snprintf(path, sizeof(path), "%s/.s.PGSQL.%u.lock", w->settings->socket_dir,
                 w->settings->port);
        remove_stale_lock(w, path);
}

/* --- Configuration */

char *work_conninfo(const struct work *w, const struct member *primary, const char *dbname)
{
        const struct settings *s = w->settings;
        struct buffer b = { 0 };
        char port[8];

        snprintf(port, sizeof(port), "%u", primary->port);
        text_conninfo_put(&b, "host", primary->address);
        text_conninfo_put(&b, "port", port);
        text_conninfo_put(&b, "user", s->replication_user);
        if (dbname)
                text_conninfo_put(&b, "dbname", dbname);
        if (s->passfile[0] != '\0')
                text_conninfo_put(&b, "passfile", s->passfile);
        text_conninfo_put(&b, "application_name", s->node);
        text_conninfo_put(&b, "connect_timeout", "3");
        /* A primary that vanished is given up after a few seconds, not after hours. */
        text_conninfo_put(&b, "keepalives_idle", "5");
        text_conninfo_put(&b, "keepalives_interval", "2");
        text_conninfo_put(&b, "keepalives_count", "3");
        text_conninfo_put(&b, "tcp_user_timeout", "10000");
        buffer_put_u8(&b, '\0');
        return (char *)b.bytes;
}

static void put_place(struct buffer *b, const struct settings *s)
{
        char port[8];

        snprintf(port, sizeof(port), "%u", s->port);
        text_setting_put(b, "port", port);
        text_setting_put(b, "unix_socket_directories", s->socket_dir);
        if (s->listen[0] != '\0')
                text_setting_put(b, "listen_addresses", s->listen);
}

static void put_upstream(struct work *w, struct buffer *b, const struct member *primary)
{
        bool frozen_by_interval = !primary && !w->settings->facts->conninfo_by_reload;
        char slot[SLOT_NAME_SIZE] = "";
        char *conninfo;

        text_setting_put(b, "recovery_target_timeline", "latest");
        text_setting_put(b, "hot_standby", "on");
        /* With the default of 5 s one promotion in twenty waits that long. */
        text_setting_put(b, "wal_retrieve_retry_interval", frozen_by_interval ? "20d" : "100ms");
        conninfo = primary ? work_conninfo(w, primary, NULL) : NULL;
        if (primary)
                text_slot_name(w->settings->node, slot);
        text_setting_put(b, "primary_conninfo", conninfo ? conninfo : "");
        text_setting_put(b, "primary_slot_name", slot);
        free(conninfo);
}

/* pg_basebackup -R, pg_rewind -R and people leave settings here that are read after ours. */
static int clean_auto_conf(struct work *w, const char *dir)
{
        static const char *const names[] = { "primary_conninfo",
                                             "primary_slot_name",
                                             "wal_retrieve_retry_interval",
                                             "recovery_target",
                                             "recovery_target_name",
                                             "recovery_target_time",
                                             "recovery_target_xid",
                                             "recovery_target_lsn",
                                             "recovery_target_inclusive",
                                             "recovery_target_timeline",
                                             "recovery_target_action",
                                             "port",
                                             "unix_socket_directories",
                                             NULL };
        _cleanup_(freep)
        char *text = NULL;
        _cleanup_(freep)
        char *clean = NULL;
        char path[PATH_IN_DIR_SIZE];
        int r;

        path_in(dir, "postgresql.auto.conf", path);
        r = file_read(path, &text);
        if (r == -ENOENT)
                return 0;
        if (r == 0) {
                clean = text_without_settings(text, names);
                if (strcmp(clean, text) != 0)
                        r = file_write(path, clean, 0600);
        }
        if (r < 0)
                return work_fail_errno(w, r, "cannot clean %s", path);
        return 0;
}

static int write_upstream(struct work *w, const struct member *primary)
{
        char path[PATH_SIZE], text[NAME_SIZE + ADDRESS_SIZE + 16];
        int r;

        work_state_path(w, "upstream", path);
        snprintf(text, sizeof(text), "%s %s %u\n", primary->name, primary->address, primary->port);
        r = file_write(path, text, 0600);
        if (r < 0)
                return work_fail_errno(w, r, "cannot write %s", path);
        return 0;
}

int work_read_upstream(struct work *w, struct member *ret)
{
        _cleanup_(freep)
        char *text = NULL;
        char path[PATH_SIZE];
        struct member m = { 0 };
        unsigned port;

        work_state_path(w, "upstream", path);
        if (file_read(path, &text) < 0)
                return -ENOENT;
        if (sscanf(text, "%63s %63s %5u", m.name, m.address, &port) != 3)
                return -ENOENT;
        m.port = (uint16_t)port;
        *ret = m;
        return 0;
}

int work_write_replication_conf(struct work *w, const char *dir, const struct member *primary)
{
        _cleanup_(buffer_done)
        struct buffer b = { 0 };
        _cleanup_(freep)
        char *old = NULL;
        char path[PATH_IN_DIR_SIZE];
        int r;

        put(&b, "# Written by failoverd for this node; changes here are lost.\n");
        put_place(&b, w->settings);
        put_upstream(w, &b, primary);
        buffer_put_u8(&b, '\0');
        path_in(dir, CONF_REPLICATION, path);
        if (file_read(path, &old) < 0 || strcmp(old, (const char *)b.bytes) != 0) {
                r = file_write(path, (const char *)b.bytes, 0600);
                if (r < 0)
                        return work_fail_errno(w, r, "cannot write %s", path);
        }
        r = clean_auto_conf(w, dir);
        if (r == 0 && primary)
                r = write_upstream(w, primary);
        return r;
}

int work_include_conf(struct work *w, const char *dir)
{
        const struct settings *s = w->settings;
        bool inside = s->config_file[0] == '\0' ||
                      strncmp(s->config_file, s->data_dir, strlen(s->data_dir)) == 0;
        _cleanup_(buffer_done)
        struct buffer b = { 0 };
        _cleanup_(freep)
        char *text = NULL;
        char path[PATH_IN_DIR_SIZE], line[PATH_IN_DIR_SIZE + 64];
        int r;

        if (inside)
                path_in(dir, "postgresql.conf", path);
        else
                snprintf(path, sizeof(path), "%s", s->config_file);
        r = file_read(path, &text);
        if (r < 0)
                return work_fail_errno(w, r, "cannot read %s", path);
        if (strstr(text, CONF_REPLICATION))
                return 0;
        put(&b, text);
        put(&b, "\n# Added by failoverd, and must stay last: later lines win.\n");
        for (unsigned i = 0; i < 2; i++) {
                snprintf(line, sizeof(line), "include_if_exists = '%s%s%s'\n",
                         inside ? "" : s->data_dir, inside ? "" : "/",
                         i == 0 ? CONF_SHARED : CONF_REPLICATION);
                put(&b, line);
        }
        buffer_put_u8(&b, '\0');
        r = file_write(path, (const char *)b.bytes, 0600);
        if (r < 0)
                return work_fail_errno(w, r, "cannot write %s", path);
        return 0;
}

/* --- Who may connect */

static void put_hba_line(struct buffer *b, const struct work *w, const struct member *m,
                         const char *database)
{
        _cleanup_(freep)
        char *user = text_sql_identifier(w->settings->replication_user);
        char line[TEXT_SIZE * 2];
        struct address a;

        if (address_parse(m->address, &a) < 0)
                return; /* checked when it was read */
        snprintf(line, sizeof(line), "host %s %s %s/%u %s\n", database, user, m->address,
                 a.family == AF_INET ? 32u : 128u,
                 w->settings->passfile[0] != '\0' ? "scram-sha-256" : "trust");
        put(b, line);
}

int work_write_hba(struct work *w, const char *path)
{
        _cleanup_(buffer_done)
        struct buffer block = { 0 };
        _cleanup_(freep)
        char *text = NULL;
        _cleanup_(freep)
        char *changed = NULL;
        int r;

        for (size_t i = 0; i < w->settings->n_members; i++) {
                put_hba_line(&block, w, &w->settings->members[i], "replication");
                put_hba_line(&block, w, &w->settings->members[i], "postgres");
        }
        buffer_put_u8(&block, '\0');
        r = file_read(path, &text);
        if (r < 0)
                return work_fail_errno(w, r, "cannot read %s", path);
        changed = text_with_block(text, HBA_BEGIN, HBA_END, (const char *)block.bytes);
        if (strcmp(changed, text) != 0)
                r = file_write(path, changed, 0600);
        if (r < 0)
                return work_fail_errno(w, r, "cannot write %s", path);
        return 0;
}
