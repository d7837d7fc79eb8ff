/* Jobs that tell a running standby whom to follow, or nobody. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "actions/postgres/lsn.h"
#include "actions/postgres/work-files.h"
#include "actions/postgres/work-source.h"
#include "actions/postgres/work-timeline.h"
#include "election/base/cleanup.h"

/* A standby that diverged would try for ever, or worse, so it is not even pointed there. */
static int compare(struct work *w, const struct source *s)
{
        enum ancestry a = source_compare(s, w->settings->data_dir, w->order.timeline, w->order.lsn);
        char lsn[LSN_SIZE];

        bool twin = work_wrote_timeline(w, s->timeline);

        if (!twin && (w->order.timeline == 0 || a == ANCESTRY_SAME || a == ANCESTRY_CHILD_FOLLOWS))
                return 0;
        w->result.diverged = true;
        if (twin)
                return work_fail(w, "both this server and %s have written timeline %" PRIu32,
                                 w->order.primary.name, s->timeline);
        lsn_print(w->order.lsn, lsn);
        return work_fail(w,
                         "this server (timeline %" PRIu32 ", %s) is not part of the history of %s "
                         "(timeline %" PRIu32 ")",
                         w->order.timeline, lsn, w->order.primary.name, s->timeline);
}

int work_follow(struct work *w)
{
        _cleanup_(source_done)
        struct source s = { 0 };
        int r;

        if (!w->order.has_primary && work_read_upstream(w, &w->order.primary) < 0)
                return work_fail(w, "it is not known whom this server followed before");
        r = work_look(w, w->settings->data_dir);
        if (r < 0)
                return r;
        r = source_open(w, &s);
        if (r == 0)
                r = compare(w, &s);
        if (r == 0)
                r = source_make_slot(w, &s);
        if (r < 0)
                return r;
        r = work_include_conf(w, w->settings->data_dir);
        if (r < 0)
                return r;
        return work_write_replication_conf(w, w->settings->data_dir, &w->order.primary);
}

int work_freeze(struct work *w)
{
        return work_write_replication_conf(w, w->settings->data_dir, NULL);
}
