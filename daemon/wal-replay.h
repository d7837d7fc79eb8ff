/*
 * Reading a log back: segments in memory, in order, become term, vote and entries. Here it is
 * decided what is a write that never finished, and may be cut, and what is damage to something that
 * may have been promised. No file is touched.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/wal-format.h"
#include "daemon/wal.h"

struct wal_replay {
        uint64_t term;
        node_id vote;
        struct wal_entry *entries; /* each with bytes of its own */
        size_t n_entries;
        size_t n_entries_max;

        uint64_t seq_next; /* of the record that comes next, from 1 */
        uint16_t batch; /* of the last whole batch */
        size_t end; /* in the last segment: behind the last whole batch */
        size_t batch_begin; /* in the last segment: where that batch begins, */
        uint64_t batch_seq; /* and its first record */
        bool is_marked; /* it is a mark alone: all before it was durable, and nothing hangs on it */
        size_t n_batches; /* whole batches of the last segment */
        size_t bytes_cut; /* of an unfinished write behind the end */
};

struct wal_damage {
        size_t offset;
        const char *what;
};

/* An empty log. */
void wal_replay_init(struct wal_replay *replay);
void wal_replay_done(struct wal_replay *replay);

/*
 * Replays one segment whose @header has been checked. @end is where it ends, from the header of
 * the segment that follows, or 0 for the last one, whose last batch may be unfinished. Returns 0,
 * or -EBADMSG with @ret_damage.
 */
int wal_replay_segment(struct wal_replay *replay, const struct wal_segment_header *header,
                       const uint8_t *bytes, size_t n, size_t end, struct wal_damage *ret_damage);
