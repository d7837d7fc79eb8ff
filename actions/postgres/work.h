/*
 * Jobs that may block: files, programs and connections to another server. Each runs in a child of
 * the agent, in one line of C after the other, and tells its result over a pipe; the agent's loop
 * goes on meanwhile and can kill it at any moment.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actions/postgres/controldata.h"
#include "actions/postgres/settings.h"
#include "election/base/time.h"

/* What a job is to do, fixed when it starts. */
struct work_order {
        uint64_t epoch;
        struct instant deadline;
        bool has_primary;
        struct member primary;
        uint32_t timeline; /* where this server is, if it runs */
        uint64_t lsn;
        bool rewind; /* which ways of rejoining are allowed, if it does not do without */
        bool clone;
        bool copy; /* a copy is asked for, needed or not */
        bool clone_now; /* a rewind did not help */
        bool force; /* as it is, the directory did not do: a rewind at least */
        bool adopt; /* bootstrap takes what is there */
        bool running; /* the server runs */
};

/* What has become of it. */
struct work_result {
        bool ok;
        char error[TEXT_SIZE];
        bool diverged; /* this server's history is not part of the primary's */
        bool cloned; /* the data directory is new, and the old one is kept beside it */
        bool absent; /* there is no data directory */
        bool has_control;
        struct controldata control;
        unsigned version; /* major version of the data directory */
        uint64_t epoch; /* that is now on disk */
};

/* The child's side. */
struct work {
        const struct settings *settings;
        struct work_order order;
        struct work_result result;
};

typedef int work_job(struct work *w);

/* Notes why the job fails. Returns -EIO, so that it can be returned. */
int work_fail(struct work *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same with the words of a negative errno behind it; returns @error. */
int work_fail_errno(struct work *w, int error, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Tells the operator. @level is info, warning or error. */
void work_log(const char *level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes @result to standard output, for work_result_read(). */
void work_result_write(const struct work_result *result);

/* Reads what work_result_write() wrote. Returns 0, or -EINVAL if @object is something else. */
int work_result_read(const json_t *object, struct work_result *ret);

/* Name and path of a file beside or in the data directory. */
void work_path(const struct work *w, const char *name, char ret[static PATH_SIZE]);
void work_state_path(const struct work *w, const char *name, char ret[static PATH_SIZE]);

/*
 * Runs @program of bin_dir with @args (NULL at the end), @input on its standard input if not NULL,
 * and waits. Returns 0 if it succeeded; else the job is failed with what it complained about. The
 * output (bounded) of a program that was started, failed or not, goes to @ret_output unless that
 * is NULL; free() it.
 */
int work_run(struct work *w, const char *program, const char *const *args, const char *input,
             char **ret_output);

/* As work_run(), with any program by its absolute path. */
int work_run_path(struct work *w, const char *path, const char *const *args, const char *input,
                  char **ret_output);

/* Sleeps until something may have changed. Returns false when the deadline has passed. */
bool work_wait(const struct work *w);

/* The jobs. */
work_job work_inspect; /* what is in the data directory */
work_job work_store_epoch; /* keeps order.epoch on disk */
work_job work_after_close; /* standby.signal, and what the server left */
work_job work_start; /* starts the server as a standby */
work_job work_explain; /* fails with the reason why the server ended */
work_job work_restart; /* starts the server as the primary that it was */
work_job work_follow; /* points a running standby to order.primary */
work_job work_freeze; /* points it to nobody */
work_job work_rejoin; /* makes a stopped server a startable standby of order.primary */
work_job work_clone; /* the same by a copy */
work_job work_tidy; /* what is left of a clone, once the new server streams */
work_job work_bootstrap;
