/*
 * The bytes of the write-ahead log: segment headers and records, encoded and checked in memory.
 *
 * A segment is a header of 4 KiB and then records, without a gap, up to where zeros begin. A record
 * is a header of 40 bytes and a payload, filled up with zeros to a multiple of 8; integers are
 * little-endian. Records come in batches, which count as a whole or not at all:
 *
 *      DURABLE_MARK  then HARD_STATE, SNAPSHOT, TRUNCATE and ENTRY in any number
 *      then PADDING, where it is needed  then BATCH_END
 *
 * A batch begins and ends where a block of 4 KiB does, with the zeros of a PADDING before its end. So
 * no block is written twice: torn, a second write would damage what the first one had promised. A
 * batch of nothing else is a mark: it says that the one before it is durable.
 *
 * The first batch of a segment opens with copies of the state: HARD_STATE and, once there is one,
 * SNAPSHOT. With these, and the index in the segment's header, a log can be read from any segment
 * on that holds all entries behind the newest snapshot: older ones are deleted.
 *
 * All checksums start from the segment's salt, so what an earlier use of the blocks left behind
 * never verifies. Each record carries its sequence number, which rises by one per record across
 * segments, and the number of its batch. A batch is written only after the sync of the one before
 * has returned. So whatever belongs to a later batch proves that all before it was durable once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "election/base/buffer.h"
#include "election/base/names.h"

enum {
        /* 1 had no snapshots and no generation, 2 no padding; they are read, too. */
        WAL_FORMAT_VERSION = 3,
        WAL_BLOCK_BYTES = 4096, /* what any device takes without reading before */
        WAL_HEADER_BYTES = 4096, /* of a segment */
        WAL_RECORD_BYTES = 40, /* of a record's header */
        WAL_PAYLOAD_MAX = 4 << 20, /* of a record */
        WAL_META_BYTES = 64,
        WAL_SNAPSHOT_BYTES = 16, /* payload of a SNAPSHOT */
};

enum wal_record_type {
        WAL_ENTRY = 1, /* index, term, flags = type of the entry, payload */
        WAL_HARD_STATE, /* term, index = vote */
        WAL_TRUNCATE, /* index = the first one to drop */
        WAL_SNAPSHOT, /* term, index, flags; payload: index and term of the one before, or zeros */
        WAL_BATCH_END, /* term = sequence number of the batch's first record, index = their count */
        WAL_DURABLE_MARK, /* index = the last sequence number known to be durable */
        WAL_PADDING, /* zeros, so that the batch ends where a block does */
};

/* Flags of a SNAPSHOT. */
enum {
        WAL_SNAPSHOT_RESETS =
                1, /* the whole log before it is void; it goes on behind the snapshot */
        WAL_SNAPSHOT_COPY = 2, /* only repeats what the log has said: at the start of a segment */
        WAL_SNAPSHOT_BACK = 4, /* the newest was damaged: its spare is the newest again */
};

struct wal_segment_header {
        uint64_t cluster_id;
        node_id node;
        uint64_t number; /* of the segment, from 1 */
        uint64_t seq_first; /* of the first record */
        uint64_t index_first; /* an entry that were the next one would have this index */
        uint64_t previous_end; /* where the segment before ends; what follows there is void */
        uint64_t salt;
        bool is_recycled; /* an earlier segment's bytes stand behind what is written, not zeros */
};

struct wal_record {
        uint8_t type; /* enum wal_record_type */
        uint8_t flags;
        uint16_t batch; /* the low bits of the batch's number */
        uint64_t seq;
        uint64_t term;
        uint64_t index;
        const uint8_t *bytes;
        size_t n;
};

/* Whose data directory it is. */
struct wal_meta {
        uint64_t cluster_id;
        node_id node;
        uint64_t incarnation;
        uint16_t generation; /* of the cluster: rises when it is restored from a backup */
};

/* Bytes of a record with a payload of @n. */
static inline size_t wal_record_size(size_t n)
{
        return WAL_RECORD_BYTES + ((n + 7) & ~(size_t)7);
}

void wal_segment_header_put(struct buffer *b, const struct wal_segment_header *header);

/* Returns 0, -EBADMSG (damaged) or -EPROTONOSUPPORT (of a newer version). */
int wal_segment_header_parse(const uint8_t *bytes, size_t n, struct wal_segment_header *ret);

void wal_record_put(struct buffer *b, uint64_t salt, const struct wal_record *record);

/* What the checksums of a segment start from, made of its salt once. */
uint32_t wal_salt_seed(uint64_t salt);

/* As wal_record_put(), with the seed at hand. */
void wal_record_put_seeded(struct buffer *b, uint32_t seed, const struct wal_record *record);

/*
 * The record at @bytes, of which @n are there. Returns true if header and payload verify; the
 * payload is borrowed.
 */
bool wal_record_parse(uint64_t salt, const uint8_t *bytes, size_t n, struct wal_record *ret);

/*
 * Only the header: a payload may be missing or damaged. What verifies has been written here with
 * this salt.
 */
bool wal_record_header_parse(uint64_t salt, const uint8_t *bytes, size_t n, struct wal_record *ret);

void wal_meta_put(struct buffer *b, const struct wal_meta *meta);

/* As wal_segment_header_parse(). */
int wal_meta_parse(const uint8_t *bytes, size_t n, struct wal_meta *ret);
