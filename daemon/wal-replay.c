/* Reading a log back, and telling a torn write from damage. */
#include "daemon/wal-replay.h"

#include <errno.h>
#include <stdlib.h>

#include "election/base/memory.h"

enum {
        RECORDS_OF_MARK = 2, /* DURABLE_MARK and BATCH_END, and nothing between */
};

/* A segment that is being read. */
struct segment {
        const uint8_t *bytes;
        size_t n; /* up to here records may stand */
        uint64_t salt;
};

static int damaged(struct wal_damage *ret, size_t offset, const char *what)
{
        *ret = (struct wal_damage){ .offset = offset, .what = what };
        return -EBADMSG;
}

static void drop_entries(struct wal_replay *replay, size_t n_keep)
{
        while (replay->n_entries > n_keep)
                free((void *)(uintptr_t)replay->entries[--replay->n_entries].bytes);
}

void wal_replay_init(struct wal_replay *replay)
{
        *replay = (struct wal_replay){ .seq_next = 1, .batch_seq = 1, .is_marked = true };
}

void wal_replay_done(struct wal_replay *replay)
{
        drop_entries(replay, 0);
        free(replay->entries);
        *replay = (struct wal_replay){ 0 };
}

static bool record_at(const struct segment *s, size_t offset, struct wal_record *ret)
{
        return wal_record_parse(s->salt, s->bytes + offset, s->n - offset, ret);
}

/* What is wrong with the records from @replay->end on up to a BATCH_END; NULL if it is whole. */
static const char *find_batch(const struct wal_replay *replay, const struct segment *s,
                              size_t *ret_offset)
{
        uint16_t batch = (uint16_t)(replay->batch + 1);
        uint64_t seq = replay->seq_next;
        struct wal_record record;

        for (*ret_offset = replay->end; *ret_offset < s->n; seq++) {
                if (!record_at(s, *ret_offset, &record))
                        return "the checksum of a record is wrong";
                if (record.seq != seq || record.batch != batch)
                        return "a record is not the one that must follow";
                if (record.type == WAL_BATCH_END &&
                    (record.term != replay->seq_next || record.index != seq - replay->seq_next))
                        return "the end of a batch does not fit its records";
                *ret_offset += wal_record_size(record.n);
                if (record.type == WAL_BATCH_END)
                        return NULL;
        }
        return "a batch has no end";
}

static const char *apply_entry(struct wal_replay *replay, const struct wal_record *record)
{
        const struct wal_entry *last = NULL;

        if (replay->n_entries > 0)
                last = &replay->entries[replay->n_entries - 1];
        if (record->index != (last ? last->index + 1 : 1))
                return "an entry does not follow on the one before";
        if (record->term < (last ? last->term : 1))
                return "an entry is of an older term than the one before";
        MUST_GROW(replay->entries, replay->n_entries, replay->n_entries_max);
        replay->entries[replay->n_entries++] = (struct wal_entry){
                .index = record->index,
                .term = record->term,
                .type = record->flags,
                .bytes = must_copy(record->bytes, record->n),
                .n = record->n,
        };
        return NULL;
}

static const char *apply_hard_state(struct wal_replay *replay, const struct wal_record *record)
{
        if (record->index > MEMBERS_MAX)
                return "a vote is for nobody who exists";
        if (record->term < replay->term)
                return "the term falls";
        if (record->term == replay->term && replay->vote != NODE_NOBODY &&
            record->index != replay->vote)
                return "a vote changes within its term";
        replay->term = record->term;
        replay->vote = (node_id)record->index;
        return NULL;
}

static const char *apply(struct wal_replay *replay, const struct wal_record *record)
{
        switch (record->type) {
        case WAL_ENTRY:
                return apply_entry(replay, record);
        case WAL_HARD_STATE:
                return apply_hard_state(replay, record);
        case WAL_TRUNCATE:
                if (record->index == 0)
                        return "a truncation has no index";
                if (record->index - 1 < replay->n_entries)
                        drop_entries(replay, (size_t)(record->index - 1));
                return NULL;
        case WAL_DURABLE_MARK:
        case WAL_BATCH_END:
                return NULL;
        default:
                return "a record has an unknown type";
        }
}

/* Carries out the whole batch that find_batch() found to end at @end. */
static int apply_batch(struct wal_replay *replay, const struct segment *s, size_t end,
                       struct wal_damage *ret_damage)
{
        uint64_t seq_first = replay->seq_next;
        struct wal_record record;
        const char *what;

        for (size_t at = replay->end; at < end; at += wal_record_size(record.n)) {
                if (!record_at(s, at, &record))
                        return damaged(ret_damage, at, "a record changed while it was read");
                what = apply(replay, &record);
                if (what)
                        return damaged(ret_damage, at, what);
                replay->seq_next = record.seq + 1;
        }
        replay->is_marked = replay->seq_next - seq_first == RECORDS_OF_MARK;
        replay->batch_begin = replay->end;
        replay->batch_seq = seq_first;
        replay->batch++;
        replay->n_batches++;
        replay->end = end;
        return 0;
}

static size_t n_used(const struct segment *s, size_t from)
{
        size_t n = s->n;

        while (n > from && s->bytes[n - 1] == 0)
                n--;
        return n;
}

/*
 * Whether the batch that is broken at @offset was durable once: something of a later batch stands
 * behind it. Records of the batch itself prove nothing, a disk writes the blocks of one write in
 * any order.
 */
static bool was_durable(const struct wal_replay *replay, const struct segment *s, size_t offset,
                        size_t end)
{
        uint64_t seq_max = replay->seq_next + s->n / WAL_RECORD_BYTES;
        uint16_t batch = (uint16_t)(replay->batch + 1);
        struct wal_record record;

        for (; offset + WAL_RECORD_BYTES <= end; offset += 8)
                if (wal_record_header_parse(s->salt, s->bytes + offset, s->n - offset, &record) &&
                    record.seq > replay->seq_next && record.seq < seq_max && record.batch != batch)
                        return true;
        return false;
}

/* What to make of the end of the last segment, from @offset on, where no whole batch is found. */
static int end_of_log(struct wal_replay *replay, const struct segment *s, size_t offset,
                      const char *what, struct wal_damage *ret_damage)
{
        size_t end = n_used(s, replay->end);

        /* The first batch of a segment is synced before the segment gets its name. */
        if (replay->n_batches == 0)
                return damaged(ret_damage, offset, what);
        if (was_durable(replay, s, offset, end))
                return damaged(ret_damage, offset, what);
        replay->bytes_cut = end - replay->end;
        return 0;
}

int wal_replay_segment(struct wal_replay *replay, const struct wal_segment_header *header,
                       const uint8_t *bytes, size_t n, size_t end, struct wal_damage *ret_damage)
{
        struct segment s = { .bytes = bytes, .n = end ? end : n, .salt = header->salt };
        const char *what;
        size_t offset;
        int r;

        if (header->seq_first != replay->seq_next)
                return damaged(ret_damage, 0, "the segment does not follow on the one before");
        if (end > n)
                return damaged(ret_damage, n, "the end of the file is missing");

        replay->end = WAL_HEADER_BYTES;
        replay->batch_begin = WAL_HEADER_BYTES;
        replay->batch_seq = replay->seq_next;
        replay->is_marked = true;
        replay->n_batches = 0;
        while (replay->end < s.n) {
                what = find_batch(replay, &s, &offset);
                if (what && end)
                        return damaged(ret_damage, offset, what);
                if (what)
                        return end_of_log(replay, &s, offset, what, ret_damage);
                r = apply_batch(replay, &s, offset, ret_damage);
                if (r < 0)
                        return r;
        }
        return 0;
}
