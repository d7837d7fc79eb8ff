/*
 * The disk thread: the event loop hands it changes of the durable state and goes on; the thread
 * writes all that is queued with one sync and says so through a descriptor. Nothing
 * but the queue is shared with it; the log belongs to it alone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/wal.h"
#include "election/base/time.h"

enum {
        DISK_QUEUE_BYTES_MAX = 64 << 20, /* changes that wait for the disk */
};

struct disk;

/*
 * Starts the thread over @w, which belongs to it from now on, on failure, too. Signals stay with
 * the other threads. Returns 0 or a negative errno.
 */
int disk_start(struct wal *w, struct disk **ret);

/*
 * Writes and syncs what is queued, ends the thread and closes the log. After an error there is
 * nothing left to write; what found no room on a full disk is dropped.
 */
void disk_stop(struct disk *d);
DEFINE_CLEANUP(struct disk *, disk_stop)

/*
 * Queues one change, which is copied; never waits for the disk. Generations rise. Errors, after
 * which the process must end because the core counts on what it has asked for: -ENOBUFS (more than
 * DISK_QUEUE_BYTES_MAX waits), -EMSGSIZE (larger than one write may be), or the error that
 * disk_completed() tells.
 */
int disk_submit(struct disk *d, uint64_t generation, const struct wal_batch *batch);

/* Readable when disk_completed() has something to tell. */
int disk_fd(const struct disk *d);

struct disk_progress {
        uint64_t generation; /* all up to this one survives a crash; 0: none yet */
        int error; /* negative: the log is lost to this process, see wal_write() */
        /*
         * Negative: the next segment cannot be laid out, the disk may be full. Ordinary writes should
         * be refused and leadership given away; there is room for what must go on, until the active
         * segment is full. Then nothing is durable any more until there is room again.
         */
        int space_error;
        uint64_t n_syncs; /* since the start */
        usec_t sync_last; /* how long the last write and sync took */
        usec_t sync_max; /* the longest since disk_completed() was called last */
};

/* How far the disk has come, and makes disk_fd() quiet until there is more. */
struct disk_progress disk_completed(struct disk *d);
