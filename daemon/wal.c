/* Writing the log: batches into the active segment, one sync each, and new segments. */
#include "daemon/wal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "daemon/wal-direct.h"
#include "daemon/wal-private.h"
#include "election/base/memory.h"

enum {
        PREPARE_STEP_BYTES = 512 << 10, /* laid out between two batches: some milliseconds */
        /* DURABLE_MARK, BATCH_END, and at most so much padding */
        BATCH_FRAME_BYTES = 2 * WAL_RECORD_BYTES + WAL_BLOCK_BYTES + WAL_RECORD_BYTES,
        SNAPSHOT_BYTES = WAL_RECORD_BYTES + WAL_SNAPSHOT_BYTES,
        SEGMENT_FRAME_BYTES = WAL_HEADER_BYTES + BATCH_FRAME_BYTES + WAL_RECORD_BYTES +
                              SNAPSHOT_BYTES,
        SEGMENTS_KEPT_MAX = 2, /* that nobody needs: to be the next ones */
};

void wal_segment_name(uint64_t number, char *ret)
{
        (void)snprintf(ret, WAL_NAME_SIZE, "wal-%016" PRIx64, number); /* always fits */
}

/* @n_bytes, up to where a block ends. */
static size_t whole_blocks(size_t n_bytes)
{
        return (n_bytes + WAL_BLOCK_BYTES - 1) / WAL_BLOCK_BYTES * WAL_BLOCK_BYTES;
}

void wal_put_record(struct wal *w, const struct wal_record *record)
{
        struct wal_record numbered = *record;

        numbered.seq = w->seq++;
        numbered.batch = w->batch;
        wal_record_put_seeded(&w->out, w->seed, &numbered);
}

static void put_batch_begin(struct wal *w)
{
        w->batch++;
        w->batch_seq = w->seq;
        wal_put_record(w, &(struct wal_record){ .type = WAL_DURABLE_MARK, .index = w->seq - 1 });
}

/* What is promised stands in blocks of its own: see wal-format.h. */
static void put_padding(struct wal *w, size_t offset)
{
        static const uint8_t zeros[WAL_BLOCK_BYTES + WAL_RECORD_BYTES];
        size_t end = offset + w->out.n + WAL_RECORD_BYTES; /* with the BATCH_END that follows */
        size_t n = whole_blocks(end) - end;

        if (n == 0)
                return;
        if (n < WAL_RECORD_BYTES)
                n += WAL_BLOCK_BYTES;
        wal_put_record(w, &(struct wal_record){
                                  .type = WAL_PADDING, .bytes = zeros, .n = n - WAL_RECORD_BYTES });
}

/* The batch was begun for @offset of its segment. */
static void put_batch_end(struct wal *w, size_t offset)
{
        put_padding(w, offset);
        wal_put_record(w, &(struct wal_record){ .type = WAL_BATCH_END,
                                                .term = w->batch_seq,
                                                .index = w->seq - w->batch_seq });
}

static void put_hard_state(struct wal *w)
{
        wal_put_record(w, &(struct wal_record){
                                  .type = WAL_HARD_STATE, .term = w->term, .index = w->vote });
}

static void put_snapshot(struct wal *w, uint8_t flags)
{
        uint8_t payload[WAL_SNAPSHOT_BYTES];

        for (unsigned i = 0; i < 8; i++) {
                payload[i] = (uint8_t)(w->base.spare_index >> 8 * i);
                payload[i + 8] = (uint8_t)(w->base.spare_term >> 8 * i);
        }
        wal_put_record(w, &(struct wal_record){ .type = WAL_SNAPSHOT,
                                                .flags = flags,
                                                .term = w->base.term,
                                                .index = w->base.index,
                                                .bytes = payload,
                                                .n = sizeof(payload) });
}

static void put_new_snapshot(struct wal *w, const struct wal_batch *batch)
{
        struct wal_base *base = &w->base;

        assert(batch->snapshot_term > 0);
        /* One that the log has passed already says nothing new. */
        if (!batch->snapshot_resets && batch->snapshot_index <= base->index)
                return;
        assert(batch->snapshot_index > base->index);
        assert(batch->snapshot_resets || batch->snapshot_index < base->index_next);
        base->spare_index = batch->snapshot_resets ? 0 : base->index;
        base->spare_term = batch->snapshot_resets ? 0 : base->term;
        base->index = batch->snapshot_index;
        base->term = batch->snapshot_term;
        if (batch->snapshot_resets) {
                base->index_next = base->index + 1;
                wal_extents_cut(&w->extents, 1);
        }
        put_snapshot(w, batch->snapshot_resets ? WAL_SNAPSHOT_RESETS : 0);
}

/* Else the damaged one would be the spare of the next. */
static void put_step_back(struct wal *w)
{
        struct wal_base *base = &w->base;

        assert(base->spare_index > 0);
        base->index = base->spare_index;
        base->term = base->spare_term;
        base->spare_index = 0;
        base->spare_term = 0;
        put_snapshot(w, WAL_SNAPSHOT_BACK);
}

static void put_entry(struct wal *w, const struct wal_entry *e)
{
        assert(e->index == w->base.index_next);
        assert(e->n <= WAL_ENTRY_MAX);
        wal_put_record(w, &(struct wal_record){ .type = WAL_ENTRY,
                                                .flags = e->type,
                                                .term = e->term,
                                                .index = e->index,
                                                .bytes = e->bytes,
                                                .n = e->n });
        w->base.index_next++;
        w->extents.list[w->extents.n - 1].index_max = e->index;
}

static void put_batch(struct wal *w, const struct wal_batch *batch)
{
        if (batch->has_hard_state) {
                assert(batch->term >= w->term && batch->vote <= MEMBERS_MAX);
                w->term = batch->term;
                w->vote = batch->vote;
                put_hard_state(w);
        }
        if (batch->snapshot_steps_back)
                put_step_back(w);
        if (batch->snapshot_index)
                put_new_snapshot(w, batch);
        if (batch->truncate_from && batch->truncate_from < w->base.index_next) {
                assert(batch->truncate_from > w->base.index);
                w->base.index_next = batch->truncate_from;
                wal_extents_cut(&w->extents, batch->truncate_from);
                wal_put_record(w, &(struct wal_record){ .type = WAL_TRUNCATE,
                                                        .index = batch->truncate_from });
        }
        for (size_t i = 0; i < batch->n_entries; i++)
                put_entry(w, &batch->entries[i]);
}

static int write_all(int fd, const uint8_t *bytes, size_t n, size_t offset)
{
        while (n > 0) {
                ssize_t k = pwrite(fd, bytes, n, (off_t)offset);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        return -EIO;
                bytes += k;
                n -= (size_t)k;
                offset += (size_t)k;
        }
        return 0;
}

static int write_zeros(int fd, size_t from, size_t to)
{
        static const uint8_t zeros[64 << 10];
        int r = 0;

        while (r == 0 && from < to) {
                size_t n = to - from < sizeof(zeros) ? to - from : sizeof(zeros);

                r = write_all(fd, zeros, n, from);
                from += n;
        }
        return r;
}

static int draw_salt(uint64_t *ret)
{
        if (getrandom(ret, sizeof(*ret), 0) != (ssize_t)sizeof(*ret))
                return -errno;
        return 0;
}

int wal_segment_begin(struct wal *w, uint64_t previous_end)
{
        struct wal_segment_header header;
        uint64_t salt;
        int r;

        r = draw_salt(&salt);
        if (r < 0)
                return r;
        w->seed = wal_salt_seed(salt);
        w->number++;
        header = (struct wal_segment_header){
                .cluster_id = w->identity.cluster_id,
                .node = w->identity.node,
                .number = w->number,
                .seq_first = w->seq,
                .index_first = w->base.index_next,
                .previous_end = previous_end,
                .salt = salt,
                .is_recycled = w->spare_is_recycled,
        };
        MUST_GROW(w->extents.list, w->extents.n, w->extents.n_max);
        w->extents.list[w->extents.n++] = (struct wal_extent){ .number = w->number };
        buffer_clear(&w->out);
        wal_segment_header_put(&w->out, &header);
        put_batch_begin(w);
        /*
         * Term, vote and snapshot stand in every segment, so that old ones can be deleted.
         * Truncations need no copy: segments go oldest first, a truncation never before what it
         * drops.
         */
        put_hard_state(w);
        if (w->base.index > 0)
                put_snapshot(w, WAL_SNAPSHOT_COPY);
        return 0;
}

static int open_spare(struct wal *w)
{
        struct stat st;
        int fd;

        if (w->spare_fd >= 0)
                return 0;
        fd = openat(w->dir_fd, WAL_SPARE_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0) {
                int r = -errno;

                (void)close(fd); /* nothing was written to it */
                return r;
        }
        w->spare_fd = fd;
        w->spare_bytes = (size_t)st.st_size;
        w->spare_is_recycled = w->spare_bytes >
                               0; /* or zeros of the last process: it does no harm */
        return 0;
}

void wal_drop_spare(struct wal *w)
{
        if (w->spare_fd < 0)
                return;
        (void)unlinkat(w->dir_fd, WAL_SPARE_NAME, 0); /* nothing hangs on it */
        (void)close(w->spare_fd);
        w->spare_fd = -1;
        w->spare_bytes = 0;
        w->spare_is_recycled = false;
}

/* Makes a segment that nobody needs the next one, if it is of the right size. */
static int recycle(struct wal *w, const char *name)
{
        struct stat st;

        if (w->spare_fd >= 0 || fstatat(w->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            (size_t)st.st_size != w->segment_bytes)
                return -EINVAL;
        if (renameat2(w->dir_fd, name, w->dir_fd, WAL_SPARE_NAME, RENAME_NOREPLACE) < 0)
                return -errno;
        return 0;
}

/*
 * Takes away the oldest segment. The directory is synced each time: never may a newer one be gone
 * and an older one be there, nor what is written to a recycled one be found under its old name.
 */
static int drop_oldest(struct wal *w)
{
        struct wal_extents *extents = &w->extents;
        char name[WAL_NAME_SIZE];
        bool is_recycled;

        wal_segment_name(extents->list[0].number, name);
        is_recycled = recycle(w, name) == 0;
        if (!is_recycled && unlinkat(w->dir_fd, name, 0) < 0 && errno != ENOENT)
                return -errno;
        if (fsync(w->dir_fd) < 0) {
                w->error = -errno;
                return w->error;
        }
        extents->n--;
        memmove(extents->list, extents->list + 1, extents->n * sizeof(*extents->list));
        return is_recycled ? open_spare(w) : 0;
}

bool wal_has_room(const struct wal *w, size_t n_bytes)
{
        struct statvfs st;

        if (fstatvfs(w->dir_fd, &st) < 0)
                return true; /* then the attempt will tell */
        return (uint64_t)st.f_bavail * st.f_frsize + w->spare_bytes >= n_bytes;
}

int wal_lay_out_spare(struct wal *w, size_t n_bytes)
{
        int r;

        n_bytes = whole_blocks(n_bytes);
        if (w->spare_fd < 0 && wal_extents_unneeded(&w->extents, &w->base) > 0) {
                r = drop_oldest(w);
                if (r < 0)
                        return r;
        }
        r = open_spare(w);
        if (r < 0 || w->spare_bytes >= n_bytes)
                return r;
        r = write_zeros(w->spare_fd, w->spare_bytes, n_bytes);
        if (r < 0) {
                wal_drop_spare(w); /* give its blocks back and begin anew later */
                return r;
        }
        w->spare_bytes = n_bytes;
        return 0;
}

void wal_cut_file(int fd, uint64_t end)
{
        /* An older version's last batch may end within a block, which is not written again. */
        if (ftruncate(fd, (off_t)whole_blocks(end)) < 0)
                return;
}

static void drop_direct(struct wal *w)
{
        wal_direct_free(TAKE_PTR(w->direct));
}

int wal_segment_commit(struct wal *w, uint64_t previous_end)
{
        char name[WAL_NAME_SIZE];
        int r;

        put_batch_end(w, 0);
        assert(w->spare_fd >= 0 && w->out.n <= w->spare_bytes);
        r = write_all(w->spare_fd, w->out.bytes, w->out.n, 0);
        if (r < 0)
                return r;
        if (fsync(w->spare_fd) < 0)
                return -errno;
        wal_segment_name(w->number, name);
        if (renameat2(w->dir_fd, WAL_SPARE_NAME, w->dir_fd, name, RENAME_NOREPLACE) < 0)
                return -errno;
        if (fsync(w->dir_fd) < 0)
                return -errno;

        drop_direct(w);
        if (w->fd >= 0) {
                /* A full one is left as it is: it becomes the next segment some day. */
                if (previous_end < w->segment_bytes / 2)
                        wal_cut_file(w->fd, previous_end);
                (void)close(w->fd); /* all in it was synced */
        }
        w->fd = w->spare_fd;
        w->n_bytes = w->spare_bytes;
        w->offset = w->out.n;
        w->spare_fd = -1;
        w->spare_bytes = 0;
        w->spare_is_recycled = false;
        w->is_marked = false;
        return 0;
}

/* What stands in w->out, at the end of the active segment. */
static int write_synced(struct wal *w)
{
        char name[WAL_NAME_SIZE];
        int r = -EINVAL;

        if (w->direct_number != w->number) {
                wal_segment_name(w->number, name);
                w->direct = wal_direct_new(w->dir_fd, name, w->offset);
                w->direct_number = w->number;
        }
        if (w->direct)
                r = wal_direct_write(w->direct, w->out.bytes, w->out.n);
        if (r != -EINVAL)
                return r;
        drop_direct(w);
        r = write_all(w->fd, w->out.bytes, w->out.n, w->offset);
        if (r < 0)
                return r;
        return fdatasync(w->fd) < 0 ? -errno : 0;
}

static int write_in_place(struct wal *w, const struct wal_batch *batches, size_t n)
{
        int r;

        buffer_clear(&w->out);
        put_batch_begin(w);
        for (size_t i = 0; i < n; i++)
                put_batch(w, &batches[i]);
        put_batch_end(w, w->offset);
        r = write_synced(w);
        if (r == 0)
                w->offset += w->out.n;
        return r;
}

static int write_in_next_segment(struct wal *w, const struct wal_batch *batches, size_t n)
{
        size_t previous_end = w->offset;
        int r;

        r = wal_segment_begin(w, previous_end);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++)
                put_batch(w, &batches[i]);
        return wal_segment_commit(w, previous_end);
}

size_t wal_batch_bytes(const struct wal_batch *batch)
{
        size_t n = 2 * WAL_RECORD_BYTES + SNAPSHOT_BYTES; /* HARD_STATE, TRUNCATE, SNAPSHOT */

        for (size_t i = 0; i < batch->n_entries; i++)
                n += wal_record_size(batch->entries[i].n);
        return n;
}

int wal_write(struct wal *w, const struct wal_batch *batches, size_t n)
{
        size_t n_bytes = 0;
        int r;

        if (w->error < 0)
                return w->error;
        for (size_t i = 0; i < n; i++) {
                n_bytes += wal_batch_bytes(&batches[i]);
                if (n_bytes > WAL_WRITE_MAX - SEGMENT_FRAME_BYTES)
                        return -EMSGSIZE;
        }
        if (w->offset + BATCH_FRAME_BYTES + n_bytes <= w->n_bytes) {
                r = write_in_place(w, batches, n);
        } else {
                size_t n_next = SEGMENT_FRAME_BYTES + n_bytes;

                r = wal_lay_out_spare(w, n_next < w->segment_bytes ? w->segment_bytes : n_next);
                if (r == -ENOSPC || r == -EDQUOT)
                        return r;
                if (r == 0)
                        r = write_in_next_segment(w, batches, n);
        }
        w->is_marked = false;
        if (r < 0)
                w->error = r;
        return r;
}

int wal_mark(struct wal *w)
{
        int r;

        if (w->is_marked)
                return w->error;
        r = wal_write(w, NULL, 0);
        w->is_marked = r == 0;
        return r;
}

bool wal_wants_mark(const struct wal *w)
{
        return !w->is_marked;
}

bool wal_is_behind(const struct wal *w)
{
        size_t n_wanted = w->offset + w->segment_bytes / 8;

        return w->error == 0 && w->spare_bytes < w->segment_bytes && w->spare_bytes < n_wanted;
}

static int prepare_step(struct wal *w)
{
        size_t n_unneeded, to;
        int r;

        n_unneeded = wal_extents_unneeded(&w->extents, &w->base);
        if (n_unneeded > SEGMENTS_KEPT_MAX || (n_unneeded > 0 && w->spare_fd < 0)) {
                r = drop_oldest(w);
                return r < 0 ? r : 1;
        }
        r = open_spare(w);
        if (r < 0)
                return r;
        if (w->spare_bytes >= w->segment_bytes)
                return 0;
        if (w->spare_bytes == 0 && !wal_has_room(w, w->segment_bytes)) {
                wal_drop_spare(w);
                return -ENOSPC;
        }
        to = w->spare_bytes + PREPARE_STEP_BYTES;
        if (to > w->segment_bytes)
                to = w->segment_bytes;
        r = write_zeros(w->spare_fd, w->spare_bytes, to);
        if (r == 0 && fdatasync(w->spare_fd) < 0)
                r = -errno;
        if (r < 0) {
                wal_drop_spare(w); /* give its blocks back and begin anew later */
                return r;
        }
        w->spare_bytes = to;
        return w->spare_bytes < w->segment_bytes;
}

/* What says nothing about the disk: try again later. */
static bool is_passing(int r)
{
        return r == -ENOSPC || r == -EDQUOT || r == -ENOMEM || r == -EMFILE || r == -ENFILE;
}

int wal_prepare(struct wal *w)
{
        int r;

        if (w->error < 0)
                return w->error;
        r = prepare_step(w);
        if (r < 0 && !is_passing(r))
                w->error = r;
        return r;
}

bool wal_is_poisoned(const struct wal *w)
{
        return w->error < 0;
}

void wal_close(struct wal *w)
{
        if (!w)
                return;
        drop_direct(w);
        /* What was promised is synced, and closing the lock gives it back. */
        if (w->fd >= 0)
                (void)close(w->fd);
        if (w->spare_fd >= 0)
                (void)close(w->spare_fd);
        if (w->lock_fd >= 0)
                (void)close(w->lock_fd);
        if (w->dir_fd >= 0)
                (void)close(w->dir_fd);
        free(w->extents.list);
        buffer_done(&w->out);
        free(w);
}
