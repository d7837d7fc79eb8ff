/* What wal.c (writing) and wal-open.c (recovery) share: nobody else includes this. */
#pragma once

#include "daemon/wal-format.h"
#include "daemon/wal-replay.h"
#include "daemon/wal.h"

#define WAL_SPARE_NAME "wal-spare"

enum {
        WAL_NAME_SIZE = 32, /* bytes of a file name in the directory, with the final NUL */
};

struct wal {
        struct wal_identity identity;
        size_t segment_bytes;
        int dir_fd;
        int lock_fd;
        int error; /* negative once a write or a sync failed: nothing may be promised any more */

        /* The active segment. */
        int fd;
        uint64_t number;
        uint32_t seed; /* of its checksums */
        size_t offset; /* the next record goes here */
        size_t n_bytes; /* laid out with zeros up to here */
        struct wal_direct *direct; /* NULL: not begun, or it goes through the page cache */
        uint64_t direct_number; /* the segment for which that was tried */

        uint64_t seq; /* of the next record */
        uint16_t batch; /* of the batch that is being put together, or was last */
        uint64_t batch_seq; /* its first record */
        bool is_marked; /* the log says itself that all before the last batch was durable */

        /* The state as it will be when the batch is durable. */
        uint64_t term;
        node_id vote;
        struct wal_base base;
        struct wal_extents extents; /* the segments that there are */

        /* The next segment, while it is laid out; -1: not begun. */
        int spare_fd;
        size_t spare_bytes;
        bool spare_is_recycled; /* it was a segment */

        struct buffer out; /* what the next write puts on disk */
};

/* The name of segment @number into @ret of WAL_NAME_SIZE bytes. */
void wal_segment_name(uint64_t number, char *ret);

/* Adds a record to what is written next: type, flags, term, index and payload are the caller's. */
void wal_put_record(struct wal *w, const struct wal_record *record);

/* Gives up what was laid out of the next segment. */
void wal_drop_spare(struct wal *w);

/*
 * Whether the disk may have room for @n_bytes of the next segment. A look before the leap: what is
 * laid out in vain wears the disk, again and again.
 */
bool wal_has_room(const struct wal *w, size_t n_bytes);

/* Lays out at least @n_bytes of the next segment. An error leaves the log as it was. */
int wal_lay_out_spare(struct wal *w, size_t n_bytes);

/* Gives back the room behind @end of a segment that is not written to any more. May fail unseen. */
void wal_cut_file(int fd, uint64_t end);

/*
 * Begins a new segment behind the active one, which ends at @previous_end: header, and a batch that
 * opens with the state. The caller may add records and then calls wal_segment_commit().
 */
int wal_segment_begin(struct wal *w, uint64_t previous_end);

/* Makes the new segment durable, under its name, and active; the one before is cut to its end. */
int wal_segment_commit(struct wal *w, uint64_t previous_end);
