/*
 * Making a stopped server a standby of the primary again: as it is, by pg_rewind, or by a copy. The
 * WAL that a rewind throws away is kept first: it is the only trace of transactions that are lost.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "actions/postgres/files.h"
#include "actions/postgres/work-files.h"
#include "actions/postgres/work-source.h"
#include "actions/postgres/work-timeline.h"
#include "election/base/cleanup.h"

enum {
        SEGMENT_NAME = 24, /* characters of a WAL file's name, the first eight are the timeline */
        SEGMENTS_MAX = 64, /* that are kept as evidence, the oldest first */
        EVIDENCE_MAX = 3, /* rewinds whose evidence is kept */
        WORD_SIZE = 64,
};

enum need {
        NEED_NOTHING,
        NEED_REWIND,
        NEED_CLONE,
};

/* --- Evidence */

struct segments {
        char first[SEGMENT_NAME + 1];
        char last[SEGMENT_NAME + 1]; /* the one that was written last */
        struct timespec last_time;
};

/* The name of the file that holds @lsn; 4 GiB of WAL share the middle part. */
static void segment_name(uint32_t timeline, uint64_t lsn, uint32_t size,
                         char ret[static SEGMENT_NAME + 1])
{
        uint64_t number = lsn / size, per_id = (uint64_t)0x100000000 / size;

        snprintf(ret, SEGMENT_NAME + 1, "%08" PRIX32 "%08" PRIX32 "%08" PRIX32, timeline,
                 (uint32_t)(number / per_id), (uint32_t)(number % per_id));
}

static bool is_segment_from(const char *name, const char *first)
{
        return strlen(name) == SEGMENT_NAME && strspn(name, "0123456789ABCDEF") == SEGMENT_NAME &&
               strncmp(name, first, 8) == 0 && strcmp(name, first) >= 0;
}

static bool is_later(const struct timespec *a, const struct timespec *b)
{
        return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* Files behind the one that was written last are empty ones in reserve. */
static void find_last(const struct dirent *const *entries, int n, const char *wal,
                      struct segments *s)
{
        char path[PATH_SIZE * 2];
        struct stat st;

        for (int i = 0; i < n; i++) {
                if (!is_segment_from(entries[i]->d_name, s->first))
                        continue;
                snprintf(path, sizeof(path), "%s/%s", wal, entries[i]->d_name);
                if (stat(path, &st) < 0 || !is_later(&st.st_mtim, &s->last_time))
                        continue;
                s->last_time = st.st_mtim;
                snprintf(s->last, sizeof(s->last), "%.24s", entries[i]->d_name);
        }
}

static unsigned copy_segments(struct dirent *const *entries, int n, const char *wal,
                              const struct segments *s, const char *to)
{
        char from_path[PATH_SIZE * 2], to_path[PATH_SIZE * 2];
        unsigned n_copied = 0;

        for (int i = 0; i < n && n_copied < SEGMENTS_MAX; i++) {
                const char *name = entries[i]->d_name;

                if (!is_segment_from(name, s->first) || strcmp(name, s->last) > 0)
                        continue;
                snprintf(from_path, sizeof(from_path), "%s/%s", wal, name);
                snprintf(to_path, sizeof(to_path), "%s/%s", to, name);
                if (file_copy(from_path, to_path) < 0)
                        break;
                n_copied++;
        }
        return n_copied;
}

/* Names begin with the epoch in a fixed width, so the first ones by name are the oldest. */
static void forget_old_evidence(const struct work *w)
{
        struct dirent **entries = NULL;
        char dir[PATH_SIZE], path[PATH_SIZE * 2];
        int n, n_left = 0;

        work_state_path(w, "evidence", dir);
        n = scandir(dir, &entries, NULL, alphasort);
        for (int i = 0; i < n; i++)
                n_left += entries[i]->d_name[0] != '.';
        for (int i = 0; i < n; i++) {
                if (entries[i]->d_name[0] != '.' && n_left > EVIDENCE_MAX) {
                        snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
                        (void)dir_remove(path); /* what is left is tried again next time */
                        n_left--;
                }
                free(entries[i]);
        }
        free(entries);
}

/* Returns whether something is in @to, of PATH_SIZE + WORD_SIZE bytes, now. */
static bool keep_evidence(struct work *w, const struct source *source, char *to)
{
        const struct controldata *c = &w->result.control;
        const struct history_entry *left = history_find(&source->history, c->timeline);
        char evidence[PATH_SIZE], wal[PATH_SIZE];
        struct dirent **entries = NULL;
        struct segments s = { 0 };
        unsigned n_copied;
        int n;

        if (!w->settings->keep_diverged || c->segment_size == 0)
                return false;
        segment_name(c->timeline, left ? left->end : c->checkpoint, c->segment_size, s.first);
        work_state_path(w, "evidence", evidence);
        work_path(w, "pg_wal", wal);
        snprintf(to, PATH_SIZE + WORD_SIZE, "%s/%020" PRIu64 "-%08" PRIX32, evidence,
                 w->order.epoch, c->timeline);
        (void)mkdir(evidence, 0700); /* copying tells if it is not there */
        (void)mkdir(to, 0700);
        n = scandir(wal, &entries, NULL, alphasort);
        find_last((const struct dirent *const *)entries, n, wal, &s);
        n_copied = copy_segments(entries, n, wal, &s, to);
        work_log(n_copied > 0 ? "info" : "warning",
                 "kept %u WAL files of timeline %" PRIu32 " from %s on in %s", n_copied,
                 c->timeline, s.first, to);
        for (int i = 0; i < n; i++)
                free(entries[i]);
        free(entries);
        return true;
}

/* --- Rewind */

/* Before 13 pg_rewind needs a server that was closed; a single-user one recovers and closes it. */
static int recover(struct work *w)
{
        const char *const args[] = { "--single",
                                     "-D",
                                     w->settings->data_dir,
                                     "-c",
                                     "archive_mode=on",
                                     "-c",
                                     "archive_command=false",
                                     "template1",
                                     NULL };

        if (w->settings->facts->rewind_recovers)
                return 0;
        return work_run(w, "postgres", args, "", NULL);
}

/* Tells in @ret whether there is something to rewind. -EBADMSG: the directory is of no use now. */
static int run_rewind(struct work *w, bool dry_run, bool *ret)
{
        const struct settings *s = w->settings;
        _cleanup_(freep)
        char *conninfo = work_conninfo(w, &w->order.primary, "postgres");
        char target[PATH_SIZE + 32], config[PATH_SIZE + 32];
        _cleanup_(freep)
        char *output = NULL;
        _cleanup_(freep)
        char *source = NULL;
        const char *args[] = { target, NULL, NULL, NULL, NULL };
        size_t n = strlen(conninfo) + 32, n_args = 1;
        int r;

        source = malloc(n);
        if (!source)
                return -ENOMEM;
        snprintf(source, n, "--source-server=%s", conninfo);
        snprintf(target, sizeof(target), "--target-pgdata=%s", s->data_dir);
        args[n_args++] = source;
        if (dry_run)
                args[n_args++] = "--dry-run";
        if (s->config_file[0] != '\0' && s->facts->rewind_config_file) {
                snprintf(config, sizeof(config), "--config-file=%s", s->config_file);
                args[n_args++] = config;
        }
        r = work_run(w, "pg_rewind", args, NULL, &output);
        if (r == 0)
                *ret = !strstr(output, "no rewind required");
        else if (output && strstr(output, "rewinding from last common checkpoint"))
                r = -EBADMSG;
        return r;
}

/*
 * A server that was not closed is recovered in single-user mode, which refuses standby.signal. The
 * mark comes back before anything else may start a server here.
 */
static int rewind_unmarked(struct work *w, bool *ret)
{
        bool clean = controldata_is_clean(&w->result.control);
        char signal[PATH_SIZE];
        int r = 0;

        work_path(w, "standby.signal", signal);
        if (!clean)
                r = file_remove(signal);
        work_remove_stale_locks(w);
        if (r == 0 && !clean)
                r = recover(w);
        if (r == 0)
                r = run_rewind(w, false, ret);
        if (r == 0)
                return work_mark_standby(w, w->settings->data_dir);
        (void)file_touch(signal); /* the first error is what matters */
        return r;
}

/*
 * A rewind that was cut off leaves old and new pages side by side, which no server may ever start
 * on. The mark is there from before the first change until the last one.
 */
static int rewind_marked(struct work *w, bool *ret)
{
        char mark[PATH_SIZE];
        int r;

        work_state_path(w, WORK_REWIND_MARK, mark);
        r = file_touch(mark);
        if (r < 0)
                return work_fail_errno(w, r, "cannot write %s", mark);
        r = rewind_unmarked(w, ret);
        if (r == -EBADMSG)
                return r;
        (void)file_remove(mark); /* what is left of it asks for a copy, which is safe */
        return r;
}

static int rewind_server(struct work *w, const struct source *source)
{
        char control[PATH_SIZE], copy[PATH_SIZE], evidence[PATH_SIZE + WORD_SIZE];
        bool rewound = true, kept;
        struct stat st;
        int r;

        if (!w->result.control.wal_log_hints && !w->result.control.checksums)
                return work_fail(w, "pg_rewind needs wal_log_hints or data checksums");
        r = source_wait_for_checkpoint(w, source);
        if (r < 0)
                return r;
        kept = keep_evidence(w, source, evidence);
        work_path(w, "global/pg_control", control);
        work_state_path(w, "pg_control.before-rewind", copy);
        r = file_copy(control, copy);
        if (r < 0)
                return work_fail_errno(w, r, "cannot copy %s", control);
        work_log("info", "rewinding to %s", w->order.primary.name);
        r = rewind_marked(w, &rewound);
        /* A server that was closed cleanly and had sent everything lost nothing. */
        if (r == 0 && !rewound && kept)
                (void)dir_remove(evidence); /* then it is more than needed */
        forget_old_evidence(w);
        if (r == 0 && rewound)
                source_nudge(w);
        /* A rewind that failed early can leave an empty control file behind. */
        if (r < 0 && (stat(control, &st) < 0 || st.st_size == 0))
                (void)file_copy(copy, control);
        return r;
}

/* --- Decision */

static enum need need_of_standby(const struct work *w, const struct source *s)
{
        const struct controldata *c = &w->result.control;
        uint32_t timeline = c->timeline;
        uint64_t lsn = c->checkpoint;
        enum ancestry a;

        if (c->recovery_end_timeline >= timeline && c->recovery_end > lsn) {
                timeline = c->recovery_end_timeline;
                lsn = c->recovery_end;
        }
        a = source_compare(s, w->settings->data_dir, timeline, lsn);
        if (work_wrote_timeline(w, s->timeline) ||
            (a == ANCESTRY_FOREIGN && timeline == s->timeline))
                return NEED_CLONE; /* the same number for another timeline */
        if (a == ANCESTRY_DIVERGED || a == ANCESTRY_FOREIGN || w->order.force)
                return NEED_REWIND;
        return NEED_NOTHING;
}

static enum need decide(const struct work *w, const struct source *s)
{
        char mark[PATH_SIZE];

        work_state_path(w, WORK_REWIND_MARK, mark);
        if (w->result.absent || w->order.clone_now || w->order.copy || file_exists(mark))
                return NEED_CLONE;
        if (!controldata_was_primary(&w->result.control))
                return need_of_standby(w, s);
        /*
         * Two primaries of one timeline have written it both, and pg_rewind, which looks at numbers of
         * timelines only, would see nothing to do.
         */
        return work_newest_timeline(w) == s->timeline ? NEED_CLONE : NEED_REWIND;
}

static int clone_if_allowed(struct work *w)
{
        if (!w->order.clone) {
                w->result.diverged = true;
                return w->result.error[0] ? -EIO
                                          : work_fail(w, "a new copy is needed, and not allowed");
        }
        if (w->result.error[0])
                work_log("warning", "%s; making a new copy", w->result.error);
        w->result.error[0] = '\0';
        return work_clone(w);
}

/* A server that was closed cleanly and had sent everything is no ancestor by numbers alone. */
static bool rewind_is_needed(struct work *w, const struct source *s)
{
        bool needed = true;

        if (!controldata_is_clean(&w->result.control) || source_wait_for_checkpoint(w, s) < 0 ||
            run_rewind(w, true, &needed) < 0)
                needed = true;
        w->result.error[0] = '\0';
        return needed;
}

int work_rejoin(struct work *w)
{
        _cleanup_(source_done)
        struct source s = { 0 };
        int r;

        r = work_look(w, w->settings->data_dir);
        if (r == 0)
                r = source_open(w, &s);
        if (r < 0)
                return r;
        switch (decide(w, &s)) {
        case NEED_NOTHING:
                return source_make_slot(w, &s);
        case NEED_CLONE:
                return clone_if_allowed(w);
        case NEED_REWIND:
                break;
        }
        if (!w->order.rewind && !w->order.force && !rewind_is_needed(w, &s))
                return source_make_slot(w, &s);
        if (!w->order.rewind) {
                (void)work_fail(w, "this server has diverged, and rejoin does not allow a rewind");
                return clone_if_allowed(w);
        }
        r = source_make_slot(w, &s);
        if (r == 0)
                r = rewind_server(w, &s);
        return r < 0 ? clone_if_allowed(w) : 0;
}
