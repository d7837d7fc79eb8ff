/*
 * A copy of the primary, made beside the data directory and put in its place by a rename. What was
 * there stays until the new server streams: people have lost data by deleting first.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actions/postgres/files.h"
#include "actions/postgres/work-files.h"
#include "actions/postgres/work-source.h"
#include "actions/postgres/work-timeline.h"
#include "election/base/cleanup.h"

/* Names beside the directory that really holds the data, on the same file system. */
struct places {
        char data[PATH_SIZE];
        char made[PATH_SIZE + 64]; /* the copy in the making */
        char replaced[PATH_SIZE + 64]; /* what it replaces, until the copy streams */
        char old[PATH_SIZE + 64]; /* and afterwards */
};

static int find_places(struct work *w, struct places *ret)
{
        _cleanup_(freep)
        char *real = realpath(w->settings->data_dir, NULL);
        const char *data = real ? real : w->settings->data_dir;

        if (strlen(data) >= sizeof(ret->data))
                return work_fail(w, "the path of the data directory is too long");
        memcpy(ret->data, data, strlen(data) + 1);
        snprintf(ret->made, sizeof(ret->made), "%s.new-%" PRIu64, data, w->order.epoch);
        snprintf(ret->replaced, sizeof(ret->replaced), "%s.replaced", data);
        snprintf(ret->old, sizeof(ret->old), "%s.old", data);
        return 0;
}

/* Copies that were never finished. */
static int remove_leftovers(struct work *w, const struct places *p)
{
        char pattern[PATH_SIZE + 64];
        glob_t found = { 0 };
        int r = 0;

        snprintf(pattern, sizeof(pattern), "%s.new-*", p->data);
        if (glob(pattern, 0, NULL, &found) != 0)
                return 0;
        for (size_t i = 0; i < found.gl_pathc && r == 0; i++) {
                r = dir_remove(found.gl_pathv[i]);
                if (r < 0)
                        r = work_fail_errno(w, r, "cannot remove %s", found.gl_pathv[i]);
        }
        globfree(&found);
        return r;
}

static int copy(struct work *w, const struct places *p)
{
        _cleanup_(freep)
        char *conninfo = work_conninfo(w, &w->order.primary, NULL);
        const char *const backup[] = { "-D",     p->made, "-d",   conninfo, "-X",
                                       "stream", "-c",    "fast", "-w",     NULL };
        const char *const verify[] = { "-q", p->made, NULL };
        int r;

        r = work_run(w, "pg_basebackup", backup, NULL, NULL);
        if (r == 0 && w->settings->facts->verify_backup)
                r = work_run(w, "pg_verifybackup", verify, NULL, NULL);
        return r;
}

static int make_standby(struct work *w, const struct places *p)
{
        int r;

        r = work_mark_standby(w, p->made);
        if (r == 0)
                r = work_include_conf(w, p->made);
        if (r == 0)
                r = work_write_replication_conf(w, p->made, &w->order.primary);
        return r;
}

/* Both names exist all the time, so that nobody finds no data directory. */
static int exchange(struct work *w, const struct places *p)
{
        if (renameat2(AT_FDCWD, p->made, AT_FDCWD, p->data, RENAME_EXCHANGE) < 0)
                return work_fail_errno(w, -errno,
                                       "cannot put the copy in the place of %s (a mount point "
                                       "cannot be replaced)",
                                       p->data);
        /* A replaced one that is still there is older, and this one a copy that never streamed. */
        if (file_exists(p->replaced))
                return dir_remove(p->made);
        return rename(p->made, p->replaced) < 0 ? -errno : 0;
}

static int put_in_place(struct work *w, const struct places *p)
{
        int r = dir_is_free(p->data);

        if (r < 0)
                return work_fail_errno(w, r, "cannot look into %s", p->data);
        if (r == 0)
                r = exchange(w, p);
        else if (rename(p->made, p->data) < 0)
                r = work_fail_errno(w, -errno, "cannot rename %s to %s", p->made, p->data);
        else
                r = 0;
        return r < 0 ? r : file_sync_parent(p->data);
}

int work_clone(struct work *w)
{
        _cleanup_(source_done)
        struct source s = { 0 };
        char mark[PATH_SIZE];
        struct places p;
        int r;

        /* A copy of another cluster over this one is not what anybody asks for. */
        r = work_look(w, w->settings->data_dir);
        if (r == 0)
                r = find_places(w, &p);
        if (r == 0)
                r = source_open(w, &s);
        if (r == 0)
                r = source_make_slot(w, &s);
        if (r == 0)
                r = remove_leftovers(w, &p);
        if (r < 0)
                return r;
        work_log("info", "copying %s into %s", w->order.primary.name, p.made);
        r = copy(w, &p);
        if (r == 0)
                r = make_standby(w, &p);
        if (r == 0)
                r = put_in_place(w, &p);
        if (r < 0) {
                (void)dir_remove(p.made); /* the first error is what matters */
                return r;
        }
        work_state_path(w, WORK_REWIND_MARK, mark);
        r = file_remove(mark);
        if (r < 0)
                return work_fail_errno(w, r, "cannot remove %s", mark);
        r = work_forget_own_timeline(w);
        if (r < 0)
                return r;
        w->result.cloned = true;
        w->result.absent = false;
        return 0;
}

int work_tidy(struct work *w)
{
        struct places p;
        int r;

        r = find_places(w, &p);
        if (r < 0 || !file_exists(p.replaced))
                return r;
        if (!w->settings->keep_diverged) {
                r = dir_remove(p.replaced);
        } else {
                r = dir_remove(p.old);
                if (r == 0 && rename(p.replaced, p.old) < 0)
                        r = -errno;
        }
        if (r < 0)
                work_log("warning", "cannot tidy up %s: %s", p.replaced, strerror(-r));
        return 0; /* the server streams, and that is what was asked for */
}
