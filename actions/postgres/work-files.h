/* Jobs' common acts on a data directory: looking, marking as a standby, our configuration files. */
#pragma once

#include "actions/postgres/work.h"

/* In the state directory: a rewind of the data directory has begun and has not ended. */
#define WORK_REWIND_MARK "rewind-unfinished"

/* Reads version and control data of @dir into the result; a missing directory is marked absent. */
int work_look(struct work *w, const char *dir);

/*
 * Removes lock files of a server that is dead and not reaped: a new one takes a zombie for alive and
 * would not start. Those of processes that do not exist are left to the server, which knows them.
 */
void work_remove_stale_locks(struct work *w);

/* Makes the next start one of a standby. */
int work_mark_standby(struct work *w, const char *dir);

/*
 * Writes this node's settings into @dir, with @primary (NULL for nobody) as the one to follow, and
 * takes recovery settings out of postgresql.auto.conf, which is read later.
 */
int work_write_replication_conf(struct work *w, const char *dir, const struct member *primary);

/* Makes the server's configuration include ours at its end. */
int work_include_conf(struct work *w, const char *dir);

/* Puts the lines that let the members connect at the top of @path, a pg_hba.conf. */
int work_write_hba(struct work *w, const char *path);

/* Whom this server followed last. Returns 0, or -ENOENT. */
int work_read_upstream(struct work *w, struct member *ret);

/* A connection string to @primary as replication_user; @dbname is NULL for pg_basebackup. */
char *work_conninfo(const struct work *w, const struct member *primary, const char *dbname);
