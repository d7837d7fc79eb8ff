/*
 * The snapshots of a member: files in its data directory beside the log, each written aside, synced,
 * read back and renamed. Bulk work never happens on the loop: a forked child takes a snapshot of its
 * own copy of the memory, and a thread reads and writes what is sent and received. What the bytes
 * mean is known to callbacks only.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/wal.h"
#include "election/base/cleanup.h"
#include "election/base/time.h"

enum {
        SNAPSHOTS_CHUNK_BYTES = 256 << 10, /* most that one call reads or writes */
        SNAPSHOTS_JOBS_MAX = 64, /* reads and writes that wait for the thread */
};

/* How long the taking of one snapshot may last. */
#define SNAPSHOTS_TAKE_MAX (10 * 60 * USEC_PER_SEC)

/* Which state a snapshot holds: that of the log up to @index. */
struct snapshot_id {
        uint64_t index; /* 0: no snapshot */
        uint64_t term;
};

/* Takes the next bytes of a snapshot. Returns 0, or a negative errno that ends the writing. */
typedef int snapshots_sink(void *userdata, const uint8_t *bytes, size_t n);

/* Gives all bytes of a snapshot to @sink, in pieces of any size. Returns 0 or a negative errno. */
typedef int snapshots_encode(void *userdata, snapshots_sink *sink, void *sink_userdata);

/*
 * Who reads a snapshot and says whether it is whole. It may be called in a child or in the thread:
 * it must touch nothing but what @userdata points to, which is its own until the work is done.
 */
struct snapshots_reader {
        /* A file begins; what was fed before belongs to another one that was no good. */
        int (*begin)(void *userdata, struct snapshot_id id);
        /* The next bytes, at most SNAPSHOTS_CHUNK_BYTES. -EBADMSG: they are damaged. */
        int (*feed)(void *userdata, const uint8_t *bytes, size_t n);
        /* All was fed. -EBADMSG: something is missing. */
        int (*end)(void *userdata);
        void *userdata;
};

/*
 * Reads the snapshot that the log in @dir goes on from, before there is a loop; blocks. Returns
 *   0         @ret is the snapshot that the reader has got; index 0: the log has none
 *   1         the newest is no good, said in @ret_complaint; @ret is the spare one, and the log
 *             behind it is whole: go on from wal_recovered_behind(), and tell the log that
 *             it steps back, see wal_batch
 *   -EBADMSG  no snapshot is any good
 * or another negative errno; always with @ret_complaint.
 */
int snapshots_load(const char *dir, const struct wal_recovered *recovered,
                   const struct snapshots_reader *reader, struct snapshot_id *ret,
                   struct wal_complaint *ret_complaint);

/*
 * Makes the data directory of a restored cluster's first member: the snapshot that @encode gives,
 * verified by @verify, and the log behind it. @dir must not exist, or be empty; it appears at once
 * and whole, or not at all. Blocks. Returns 0 or a negative errno with @ret_complaint.
 */
int snapshots_found(const char *dir, const struct wal_founding *founding, snapshots_encode *encode,
                    void *userdata, const struct snapshots_reader *verify,
                    struct wal_complaint *ret_complaint);

struct snapshots;

/*
 * The snapshots in @dir, where @loaded, from snapshots_load(), is the one in use. Removes what an
 * earlier process left unfinished. Returns 0 or a negative errno.
 */
int snapshots_new(struct event_base *base, const char *dir, struct snapshot_id loaded,
                  struct snapshots **ret);

/* Ends a child that takes a snapshot, and waits for a call of the thread; no callback follows. */
void snapshots_free(struct snapshots *s);
DEFINE_CLEANUP(struct snapshots *, snapshots_free)

/* @r: 0, or why it did not work. Called by the loop. */
typedef void snapshots_done(void *userdata, struct snapshot_id id, int r);

struct snapshots_take {
        struct snapshot_id id;
        snapshots_encode *encode; /* in the child */
        void *encode_userdata;
        struct snapshots_reader verify; /* in the child */
        snapshots_done *done; /* it is durable under its name; tell the log, then call recorded() */
        void *done_userdata;
        usec_t deadline; /* 0: SNAPSHOTS_TAKE_MAX */
};

/*
 * Takes a snapshot of the memory as it is now, in a child. Returns 0 or a negative errno; -EBUSY: one
 * is being taken.
 */
int snapshots_take(struct snapshots *s, const struct snapshots_take *take);
bool snapshots_is_taking(const struct snapshots *s);

/*
 * The log's record of snapshot @id is durable: older ones but one are not needed any more; with
 * @resets, none of the older ones.
 */
void snapshots_recorded(struct snapshots *s, struct snapshot_id id, bool resets);

/* The newest that the log has recorded and that can be sent; index 0: none. */
struct snapshot_id snapshots_newest(const struct snapshots *s);

/*
 * What was read at @offset of a snapshot of @n_total bytes; valid only meanwhile. @r < 0: -ENOENT
 * if that snapshot has gone: begin again with the newest.
 */
typedef void snapshots_chunk(void *userdata, struct snapshot_id id, uint64_t offset,
                             uint64_t n_total, const uint8_t *bytes, size_t n, int r);

/* Reads up to SNAPSHOTS_CHUNK_BYTES. Returns 0 or -EBUSY: too much waits, try later. */
int snapshots_read(struct snapshots *s, struct snapshot_id id, uint64_t offset, size_t n,
                   snapshots_chunk *done, void *userdata);

/*
 * Writes the next chunk of a snapshot that another member sends, which is copied. Offset 0 begins,
 * and drops what was received of another one; else @offset must be where the last chunk ended, see
 * snapshots_offset(). @done may be NULL. Returns 0, -EBUSY (try later) or -EINVAL.
 */
int snapshots_write(struct snapshots *s, struct snapshot_id id, uint64_t offset,
                    const uint8_t *bytes, size_t n, snapshots_done *done, void *userdata);

/* Where the next chunk of @id must begin. */
uint64_t snapshots_offset(const struct snapshots *s, struct snapshot_id id);

/*
 * All was written: syncs it, has it read by @reader in the thread, and puts it under its name, where
 * it is durable when @done is called. On failure it is dropped. Returns 0, -EBUSY or -EINVAL.
 */
int snapshots_finish(struct snapshots *s, struct snapshot_id id,
                     const struct snapshots_reader *reader, snapshots_done *done, void *userdata);

/* Forgets what was received; what is under way still calls back. */
void snapshots_drop_received(struct snapshots *s);
