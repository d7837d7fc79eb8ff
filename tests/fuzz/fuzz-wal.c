/*
 * Any bytes as a segment of the log. Half of the time they are the segment as it is on disk; else
 * they describe records, which get valid checksums, so that what they say is looked at, too. What
 * replays must be a log, and must replay the same again. For libFuzzer.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/wal-replay.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum {
        SALT = 7,
};

static void require(bool truth)
{
        if (!truth)
                abort();
}

/* Two bytes for each field that can be wrong, small so that they are often right. */
static void put_records(struct buffer *b, struct reader *r)
{
        uint64_t seq = 1;
        uint16_t batch = 1;

        while (r->n > 0 && !r->failed) {
                uint8_t what = reader_get_u8(r), spare[WAL_SNAPSHOT_BYTES] = { 0 };
                struct wal_record record = { .type = what & 7,
                                             .flags = reader_get_u8(r),
                                             .batch = batch,
                                             .seq = seq,
                                             .term = reader_get_u8(r),
                                             .index = reader_get_u8(r) };

                record.bytes = r->bytes;
                record.n = what >> 6 < r->n ? what >> 6 : r->n;
                if (record.type == WAL_SNAPSHOT) {
                        spare[0] = reader_get_u8(r);
                        spare[8] = reader_get_u8(r);
                        record.bytes = spare;
                        record.n = sizeof(spare) - (what >> 7);
                }
                (void)reader_get_u8(r); /* so that it ends even without a payload */
                record.seq += what & 8 ? reader_get_u8(r) : 0;
                record.batch = (uint16_t)(record.batch + (what & 16 ? reader_get_u8(r) : 0));
                wal_record_put(b, SALT, &record);
                if (what & 32 && b->n > 0)
                        b->bytes[b->n - 1 - reader_get_u8(r) % 8] ^= 1;
                seq = record.seq + 1;
                if (record.type == WAL_BATCH_END)
                        batch++;
        }
}

static void check(const struct wal_replay *replay, size_t n)
{
        require(replay->end <= n && replay->batch_begin <= replay->end);
        require(replay->end + replay->bytes_cut <= n);
        require(replay->n_entries < replay->base.index_next);
        require(replay->base.index < replay->base.index_next);
        require(replay->base.index == 0 || replay->base.spare_index < replay->base.index);
        require(wal_extents_unneeded(&replay->extents, &replay->base) == 0); /* the active one */
        for (size_t i = 0; i < replay->n_entries; i++) {
                require(replay->entries[i].index ==
                        replay->base.index_next - replay->n_entries + i);
                require(i == 0 || replay->entries[i].term >= replay->entries[i - 1].term);
        }
}

static void replay_twice(const struct wal_segment_header *header, const uint8_t *bytes, size_t n)
{
        struct wal_replay first, second;
        struct wal_damage damage;
        int r;

        wal_replay_init(&first);
        wal_replay_init(&second);
        r = wal_replay_segment(&first, header, bytes, n, 0, &damage);
        require(r == 0 || damage.offset <= n);
        if (r == 0) {
                check(&first, n);
                /* As a segment that another one follows, cut where the log ends. */
                require(wal_replay_segment(&second, header, bytes, n, first.end, &damage) == 0);
                require(second.n_entries == first.n_entries && second.term == first.term);
                require(second.seq_next == first.seq_next && second.vote == first.vote);
                require(second.base.index == first.base.index &&
                        second.base.index_next == first.base.index_next);
                require(!wal_replay_check(&first) == !wal_replay_check(&second));
        }
        wal_replay_done(&first);
        wal_replay_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        struct wal_segment_header header = {
                .number = 1, .seq_first = 1, .index_first = 1, .salt = SALT
        };
        struct wal_segment_header parsed;
        struct buffer b = { 0 };
        struct wal_meta meta;
        struct reader r;

        if (n < 1)
                return 0;
        r = reader_of(bytes + 1, n - 1);
        (void)wal_meta_parse(r.bytes, r.n, &meta); /* an error is an answer */
        (void)wal_segment_header_parse(r.bytes, r.n, &parsed);
        if (bytes[0] & 2) {
                header.number = 5;
                header.index_first = 1 + (bytes[0] >> 4);
                header.is_recycled = bytes[0] & 4;
        }
        wal_segment_header_put(&b, &header);
        if (bytes[0] & 1)
                buffer_put(&b, r.bytes, r.n);
        else
                put_records(&b, &r);
        require(wal_segment_header_parse(b.bytes, b.n, &parsed) == 0 && parsed.salt == SALT);
        replay_twice(&parsed, b.bytes, b.n);
        buffer_done(&b);
        return 0;
}
