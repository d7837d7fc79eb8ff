/* What this server wrote as a primary, kept in the agent's state directory. */
#include "actions/postgres/work-timeline.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actions/postgres/files.h"
#include "actions/postgres/work-files.h"
#include "election/base/cleanup.h"

#define OWN_TIMELINE "own-timeline"

uint32_t work_newest_timeline(const struct work *w)
{
        uint32_t newest = w->result.control.timeline, timeline;
        struct dirent **entries = NULL;
        char wal[PATH_SIZE], digits[9];
        int n;

        work_path(w, "pg_wal", wal);
        n = scandir(wal, &entries, NULL, NULL);
        for (int i = 0; i < n; i++) {
                snprintf(digits, sizeof(digits), "%.8s", entries[i]->d_name);
                if (strspn(digits, "0123456789ABCDEF") == 8) {
                        timeline = (uint32_t)strtoul(digits, NULL, 16);
                        newest = timeline > newest ? timeline : newest;
                }
                free(entries[i]);
        }
        free(entries);
        return newest;
}

int work_keep_own_timeline(struct work *w)
{
        char path[PATH_SIZE], text[32];
        int r;

        /* A copy, or a rewound directory, has the control file of another primary and a label. */
        work_path(w, "backup_label", path);
        if (!controldata_was_primary(&w->result.control) || file_exists(path))
                return 0;
        work_state_path(w, OWN_TIMELINE, path);
        snprintf(text, sizeof(text), "%" PRIu32 "\n", work_newest_timeline(w));
        r = file_write(path, text, 0600);
        if (r < 0)
                return work_fail_errno(w, r, "cannot keep this server's timeline in %s", path);
        return 0;
}

bool work_wrote_timeline(const struct work *w, uint32_t timeline)
{
        _cleanup_(freep)
        char *text = NULL;
        char path[PATH_SIZE];
        uint32_t own;

        work_state_path(w, OWN_TIMELINE, path);
        return file_read(path, &text) == 0 && sscanf(text, "%" SCNu32, &own) == 1 &&
               own == timeline;
}

int work_forget_own_timeline(struct work *w)
{
        char path[PATH_SIZE];
        int r;

        work_state_path(w, OWN_TIMELINE, path);
        r = file_remove(path);
        if (r < 0)
                return work_fail_errno(w, r, "cannot remove %s", path);
        return 0;
}
