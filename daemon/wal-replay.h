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

/* What the log says about snapshots, and where it goes on. */
struct wal_base {
        uint64_t index; /* of the newest snapshot; 0: none */
        uint64_t term;
        uint64_t spare_index; /* of the one before, or 0 */
        uint64_t spare_term;
        uint64_t index_next; /* of the next entry */
};

/* A segment, and how much of it is still needed. */
struct wal_extent {
        uint64_t number;
        uint64_t index_max; /* the highest entry in it that is still valid; 0: none */
};

/* Ascending and without a gap; the last one is the active segment. */
struct wal_extents {
        struct wal_extent *list;
        size_t n;
        size_t n_max;
};

struct wal_replay {
        uint64_t term;
        node_id vote;
        struct wal_base base;
        struct wal_extents extents;
        struct wal_entry *entries; /* up to base.index_next, each with bytes of its own */
        size_t n_entries;
        size_t n_entries_max;

        uint64_t seq_next; /* of the record that comes next, from 1 */
        uint16_t batch; /* of the last whole batch */
        bool is_begun; /* there was one */
        size_t end; /* in the last segment: behind the last whole batch */
        size_t batch_begin; /* in the last segment: where that batch begins, */
        uint64_t batch_seq; /* its first record, */
        struct wal_base batch_base; /* and what was true before it */
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

/* Entries from @index on are void. */
void wal_extents_cut(struct wal_extents *extents, uint64_t index);

/*
 * How many segments from the first on nobody needs any more. What is behind the spare snapshot is
 * kept, so that this one can be used if the newest is damaged.
 */
size_t wal_extents_unneeded(const struct wal_extents *extents, const struct wal_base *base);

/* What is wrong with the log as a whole, when all segments are replayed; NULL if it is complete. */
const char *wal_replay_check(const struct wal_replay *replay);

/*
 * Replays one segment whose @header has been checked. @end is where it ends, from the header of
 * the segment that follows, or 0 for the last one, whose last batch may be unfinished. The first
 * one may have any number: what was before it is known from its start. Returns 0,
 * or -EBADMSG with @ret_damage.
 */
int wal_replay_segment(struct wal_replay *replay, const struct wal_segment_header *header,
                       const uint8_t *bytes, size_t n, size_t end, struct wal_damage *ret_damage);
