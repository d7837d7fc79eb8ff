/* The highest epoch this agent has seen, kept in a file. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "actions/postgres/agent.h"
#include "actions/postgres/files.h"

#define WRITE_TIMEOUT (60 * USEC_PER_SEC)

static void write_epoch(struct agent *a);

int epoch_load(struct agent *a)
{
        _cleanup_(freep)
        char *text = NULL;
        char path[PATH_SIZE + 16];
        uint64_t epoch;
        int r;

        snprintf(path, sizeof(path), "%s/epoch", a->settings.state_dir);
        r = file_read(path, &text);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        if (sscanf(text, "%" SCNu64, &epoch) != 1)
                return -EINVAL;
        a->epoch.durable = epoch;
        if (a->epoch.highest < epoch)
                a->epoch.highest = epoch;
        return 0;
}

int work_store_epoch(struct work *w)
{
        char path[PATH_SIZE], text[32];
        int r;

        work_state_path(w, "epoch", path);
        snprintf(text, sizeof(text), "%" PRIu64 "\n", w->order.epoch);
        r = file_write(path, text, 0600);
        if (r < 0)
                return work_fail_errno(w, r, "cannot keep the epoch in %s", path);
        w->result.epoch = w->order.epoch;
        return 0;
}

static void on_written(struct agent *a, const struct work_result *result)
{
        a->epoch.writer = NULL;
        if (!result->ok) {
                agent_log(a, "error", "%s", result->error);
                /* The next hold or step tries again; a step may have a day until its deadline. */
                step_interrupt(a, result->error);
                return;
        }
        a->epoch.durable = result->epoch;
        if (a->epoch.durable < a->epoch.highest)
                write_epoch(a);
        step_poll(a);
}

static void write_epoch(struct agent *a)
{
        struct work_order order = { .epoch = a->epoch.highest };
        int r;

        r = agent_work(a, work_store_epoch, &order, WRITE_TIMEOUT, on_written, &a->epoch.writer);
        if (r < 0)
                agent_log(a, "error", "cannot start a child to keep the epoch");
}

bool epoch_accept(struct agent *a, uint64_t epoch)
{
        if (epoch < a->epoch.highest)
                return false;
        a->epoch.highest = epoch;
        epoch_keep(a);
        return true;
}

void epoch_keep(struct agent *a)
{
        /* Until the lock is ours the file belongs to the agent before us. */
        if (a->locked && a->epoch.durable < a->epoch.highest && !a->epoch.writer)
                write_epoch(a);
}

bool epoch_is_durable(const struct agent *a)
{
        return a->epoch.durable == a->epoch.highest;
}
