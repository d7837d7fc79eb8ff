/* Reading a log back, and telling a torn write from damage. */
#include "daemon/wal-replay.h"

#include <errno.h>
#include <stdlib.h>

#include "election/base/memory.h"

static const uint64_t INDEX_MAX = UINT64_MAX / 2; /* no log lives that long */

/* A segment that is being read. */
struct segment {
        const uint8_t *bytes;
        size_t n; /* up to here records may stand */
        uint64_t salt;
        bool is_recycled;
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
        *replay = (struct wal_replay){ .seq_next = 1,
                                       .base = { .index_next = 1 },
                                       .batch_seq = 1,
                                       .batch_base = { .index_next = 1 },
                                       .is_marked = true };
}

void wal_replay_done(struct wal_replay *replay)
{
        drop_entries(replay, 0);
        free(replay->entries);
        free(replay->extents.list);
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

void wal_extents_cut(struct wal_extents *extents, uint64_t index)
{
        for (size_t i = 0; i < extents->n; i++)
                if (extents->list[i].index_max >= index)
                        extents->list[i].index_max = index - 1;
}

size_t wal_extents_unneeded(const struct wal_extents *extents, const struct wal_base *base)
{
        size_t n = 0;

        if (base->index == 0)
                return 0;
        while (n + 1 < extents->n && extents->list[n].index_max <= base->spare_index)
                n++;
        return n;
}

/* The oldest term that the next entry may have. */
static uint64_t term_min(const struct wal_replay *replay)
{
        if (replay->n_entries > 0)
                return replay->entries[replay->n_entries - 1].term;
        return replay->base.index + 1 == replay->base.index_next && replay->base.index > 0
                       ? replay->base.term
                       : 1;
}

static const char *apply_entry(struct wal_replay *replay, const struct wal_record *record)
{
        if (record->index != replay->base.index_next)
                return "an entry does not follow on the one before";
        if (record->term < term_min(replay))
                return "an entry is of an older term than the one before";
        replay->base.index_next++;
        replay->extents.list[replay->extents.n - 1].index_max = record->index;
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

static const char *apply_truncate(struct wal_replay *replay, uint64_t index)
{
        uint64_t n_dropped;

        if (index <= replay->base.index)
                return "a truncation has no index behind the snapshot";
        if (index >= replay->base.index_next)
                return NULL;
        n_dropped = replay->base.index_next - index;
        drop_entries(replay,
                     n_dropped < replay->n_entries ? replay->n_entries - (size_t)n_dropped : 0);
        replay->base.index_next = index;
        wal_extents_cut(&replay->extents, index);
        return NULL;
}

/* The entry at @index, or NULL: there is none, or it was in a segment that is gone. */
static const struct wal_entry *entry_at(const struct wal_replay *replay, uint64_t index)
{
        uint64_t first = replay->base.index_next - replay->n_entries;

        if (index < first || index >= replay->base.index_next)
                return NULL;
        return &replay->entries[index - first];
}

static const char *apply_new_snapshot(struct wal_replay *replay, const struct wal_base *told,
                                      bool resets)
{
        const struct wal_entry *entry = entry_at(replay, told->index);

        if (told->index <= replay->base.index || told->term == 0)
                return "a snapshot is not newer than the one before";
        if (resets) {
                drop_entries(replay, 0);
                wal_extents_cut(&replay->extents, 1);
                replay->base = *told;
                replay->base.index_next = told->index + 1;
                return NULL;
        }
        if (told->index >= replay->base.index_next || (entry && entry->term != told->term))
                return "a snapshot does not fit the entries";
        if (told->spare_index != replay->base.index || told->spare_term != replay->base.term)
                return "a snapshot does not name the one before";
        replay->base.spare_index = told->spare_index;
        replay->base.spare_term = told->spare_term;
        replay->base.index = told->index;
        replay->base.term = told->term;
        return NULL;
}

static const char *apply_step_back(struct wal_replay *replay, const struct wal_base *told)
{
        struct wal_base *base = &replay->base;

        if (told->index != base->spare_index || told->term != base->spare_term ||
            told->spare_index > 0)
                return "a snapshot stands in that is not the spare one";
        base->index = told->index;
        base->term = told->term;
        base->spare_index = 0;
        base->spare_term = 0;
        return NULL;
}

/* At the start of a segment; of the first one that is left, it is all that is known. */
static const char *apply_copy(struct wal_replay *replay, const struct wal_base *told)
{
        struct wal_base *base = &replay->base;

        if (!replay->is_begun) {
                uint64_t index_next = base->index_next;

                *base = *told;
                base->index_next = index_next;
                return told->index < index_next ? NULL : "a snapshot is behind the end of the log";
        }
        if (told->index != base->index || told->term != base->term ||
            told->spare_index != base->spare_index || told->spare_term != base->spare_term)
                return "the segment begins with another snapshot than the log says";
        return NULL;
}

static const char *apply_snapshot(struct wal_replay *replay, const struct wal_record *record)
{
        struct wal_base told = { .index = record->index, .term = record->term };
        struct reader r = reader_of(record->bytes, record->n);

        told.spare_index = reader_get_u64(&r);
        told.spare_term = reader_get_u64(&r);
        if (!reader_done(&r))
                return "a snapshot has the wrong size";
        if (told.spare_index >= told.index || told.index > INDEX_MAX)
                return "a snapshot has an impossible index";
        if (record->flags & WAL_SNAPSHOT_COPY)
                return apply_copy(replay, &told);
        if (record->flags & WAL_SNAPSHOT_BACK)
                return apply_step_back(replay, &told);
        return apply_new_snapshot(replay, &told, record->flags & WAL_SNAPSHOT_RESETS);
}

const char *wal_replay_check(const struct wal_replay *replay)
{
        const struct wal_base *base = &replay->base;

        if (replay->extents.n > 0 && replay->extents.list[0].number > 1 && base->index == 0)
                return "what was before it is missing";
        if (base->index_next - replay->n_entries > base->index + 1)
                return "entries between the snapshot and this segment are missing";
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
                return apply_truncate(replay, record->index);
        case WAL_SNAPSHOT:
                return apply_snapshot(replay, record);
        case WAL_DURABLE_MARK:
        case WAL_PADDING:
        case WAL_BATCH_END:
                return NULL;
        default:
                return "a record has an unknown type";
        }
}

/* A batch of nothing else is a mark alone. */
static bool says_nothing_new(const struct wal_record *record)
{
        return record->type == WAL_DURABLE_MARK || record->type == WAL_PADDING ||
               record->type == WAL_BATCH_END;
}

/* Carries out the whole batch that find_batch() found to end at @end. */
static int apply_batch(struct wal_replay *replay, const struct segment *s, size_t end,
                       struct wal_damage *ret_damage)
{
        struct wal_base base = replay->base;
        uint64_t seq_first = replay->seq_next;
        struct wal_record record;
        bool is_mark = true;
        const char *what;

        for (size_t at = replay->end; at < end; at += wal_record_size(record.n)) {
                if (!record_at(s, at, &record))
                        return damaged(ret_damage, at, "a record changed while it was read");
                what = apply(replay, &record);
                if (what)
                        return damaged(ret_damage, at, what);
                is_mark &= says_nothing_new(&record);
                /* A copy was true before the batch, only it may not have been known here. */
                if (record.type == WAL_SNAPSHOT && (record.flags & WAL_SNAPSHOT_COPY))
                        base = replay->base;
                replay->seq_next = record.seq + 1;
        }
        replay->is_marked = is_mark;
        replay->batch_begin = replay->end;
        replay->batch_seq = seq_first;
        replay->batch_base = base;
        replay->batch++;
        replay->is_begun = true;
        replay->n_batches++;
        replay->end = end;
        return 0;
}

/* Where something may stand that was written here: up to the zeros, or up to the last record. */
static size_t n_used(const struct segment *s, size_t from)
{
        struct wal_record record;
        size_t n = s->n;

        if (s->is_recycled) {
                for (n = from; from + WAL_RECORD_BYTES <= s->n; from += 8)
                        if (wal_record_header_parse(s->salt, s->bytes + from, s->n - from, &record))
                                n = from + wal_record_size(record.n);
                return n < s->n ? n : s->n;
        }
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

/*
 * No batch was replayed yet: sequence, batch and index are what this segment says. The one before
 * it, if any, was left before its first batch was known to be durable.
 */
static void begin_with(struct wal_replay *replay, const struct wal_segment_header *header,
                       const struct segment *s)
{
        struct wal_record record;

        replay->base.index_next = header->index_first;
        if (s->n > WAL_HEADER_BYTES && record_at(s, WAL_HEADER_BYTES, &record))
                replay->batch = (uint16_t)(record.batch - 1);
}

int wal_replay_segment(struct wal_replay *replay, const struct wal_segment_header *header,
                       const uint8_t *bytes, size_t n, size_t end, struct wal_damage *ret_damage)
{
        struct segment s = { .bytes = bytes,
                             .n = end ? end : n,
                             .salt = header->salt,
                             .is_recycled = header->is_recycled };
        const char *what;
        size_t offset;
        int r;

        if (header->seq_first == 0 || header->index_first == 0 || header->index_first > INDEX_MAX)
                return damaged(ret_damage, 0, "its header names an impossible place");
        if (replay->extents.n == 0)
                replay->seq_next = header->seq_first;
        if (!replay->is_begun)
                begin_with(replay, header, &s);
        if (header->seq_first != replay->seq_next)
                return damaged(ret_damage, 0, "the segment does not follow on the one before");
        if (end > n)
                return damaged(ret_damage, n, "the end of the file is missing");

        MUST_GROW(replay->extents.list, replay->extents.n, replay->extents.n_max);
        replay->extents.list[replay->extents.n++] = (struct wal_extent){ .number = header->number };
        replay->batch_base = replay->base;
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
