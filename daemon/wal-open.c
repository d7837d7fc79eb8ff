/*
 * Taking a log: lock, identity, recovery, and a fresh segment to go on with. A log is never continued
 * in the segment where the last process left it: after a failed sync the page cache may show what
 * is not on disk, so the last batch is written and synced anew unless the log proves it durable.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/wal-private.h"
#include "daemon/wal-replay.h"
#include "election/base/memory.h"

#define LOCK_NAME "lock"
#define META_NAME WAL_META_NAME
#define META_NEW_NAME "meta.new"
#define SEGMENT_PREFIX "wal-"

enum {
        SEGMENT_DIGITS = 16,
        ROOM_MIN = 1 << 20, /* for votes, leases and their end, for a while: a block each */
        FILE_BYTES_MAX = 256 << 20, /* larger than any segment: not one of ours */
};

static const char advice_damage[] =
        "It may hold what this member has promised to others, so nothing is cut off and the member "
        "does not start. Check the disk, keep a copy of the directory, and either restore the very "
        "same file or replace this member by a new one with an empty directory";

/* Everything that recovery needs and wal_open() returns or releases. */
struct recovery {
        const char *dir;
        struct wal *w;
        struct wal_replay replay;
        struct wal_meta meta;
        bool has_meta;
        bool is_creation; /* there must be no log yet */
        struct wal_base founding; /* where a new log begins */
        uint64_t *numbers; /* of the segments, ascending */
        size_t n_numbers;
        size_t n_numbers_max;
        uint8_t *bytes; /* the segment at hand; at the end the last one */
        size_t n;
        struct wal_segment_header header; /* of it */
        struct wal_complaint *complaint;
};

__attribute__((format(printf, 3, 4))) static int complain(struct recovery *rec, int error,
                                                          const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(rec->complaint->text, sizeof(rec->complaint->text), format,
                        ap); /* may cut */
        va_end(ap);
        return error;
}

static int complain_errno(struct recovery *rec, int error, const char *what, const char *file)
{
        (void)snprintf(rec->complaint->file, sizeof(rec->complaint->file), "%s", file);
        return complain(rec, error, "cannot %s %s/%s: %s", what, rec->dir, file, strerror(-error));
}

static int complain_damage(struct recovery *rec, const char *file, size_t offset, const char *what)
{
        (void)snprintf(rec->complaint->file, sizeof(rec->complaint->file), "%s", file);
        rec->complaint->offset = offset;
        return complain(rec, -EBADMSG, "the log is damaged: %s/%s, byte %zu: %s. %s", rec->dir,
                        file, offset, what, advice_damage);
}

static int complain_header(struct recovery *rec, int error, const char *file)
{
        if (error != -EPROTONOSUPPORT)
                return complain_damage(rec, file, 0, "its header does not verify");
        (void)snprintf(rec->complaint->file, sizeof(rec->complaint->file), "%s", file);
        return complain(rec, error,
                        "%s/%s was written by a newer version of failoverd; this one reads format "
                        "%d. Start the newer version",
                        rec->dir, file, WAL_FORMAT_VERSION);
}

static int take_lock(struct recovery *rec)
{
        struct wal *w = rec->w;

        w->dir_fd = open(rec->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (w->dir_fd < 0)
                return complain_errno(rec, -errno, "open", "");
        w->lock_fd = openat(w->dir_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (w->lock_fd < 0)
                return complain_errno(rec, -errno, "open", LOCK_NAME);
        if (flock(w->lock_fd, LOCK_EX | LOCK_NB) == 0)
                return 0;
        if (errno != EWOULDBLOCK)
                return complain_errno(rec, -errno, "lock", LOCK_NAME);
        return complain(rec, -EBUSY,
                        "another failoverd runs on %s: it holds %s/%s. Two members must not share "
                        "a directory",
                        rec->dir, rec->dir, LOCK_NAME);
}

/*
 * Reads the first @n_max bytes of a file. Returns 0, -ENOENT without a complaint, or another error
 * with one.
 */
static int read_file(struct recovery *rec, const char *name, size_t n_max, uint8_t **ret,
                     size_t *ret_n)
{
        _cleanup_(freep)
        uint8_t *bytes = NULL;
        size_t n = 0, n_wanted = 0;
        struct stat st;
        int fd, r = 0;

        fd = openat(rec->w->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return errno == ENOENT ? -ENOENT : complain_errno(rec, -errno, "open", name);
        if (fstat(fd, &st) < 0)
                r = -errno;
        else if (!S_ISREG(st.st_mode) || st.st_size > FILE_BYTES_MAX)
                r = -EFBIG;
        else
                n_wanted = (size_t)st.st_size < n_max ? (size_t)st.st_size : n_max;
        if (r == 0)
                bytes = must_alloc(n_wanted + 1, 1);
        while (r == 0 && n < n_wanted) {
                ssize_t k = pread(fd, bytes + n, n_wanted - n, (off_t)n);

                if (k < 0 && errno != EINTR)
                        r = -errno;
                if (k == 0)
                        break;
                if (k > 0)
                        n += (size_t)k;
        }
        (void)close(fd); /* only read from */
        if (r < 0)
                return complain_errno(rec, r, "read", name);
        *ret = TAKE_PTR(bytes);
        *ret_n = n;
        return 0;
}

/*
 * The first file that says whose it is must agree with what was asked for; from then on the whole
 * identity is known, and all other files must have the same.
 */
static int check_identity(struct recovery *rec, const char *file, uint64_t cluster_id, node_id node)
{
        struct wal_identity *own = &rec->w->identity;

        if (!rec->has_meta && wal_cluster_name(cluster_id) == wal_cluster_name(own->cluster_id)) {
                own->cluster_id = cluster_id;
                own->node = own->node == NODE_NOBODY ? node : own->node;
        }
        if (cluster_id != own->cluster_id)
                return complain(rec, -EINVAL,
                                "%s/%s belongs to cluster %016" PRIx64
                                ", this is cluster %016" PRIx64
                                ". Set another data directory, or empty this one if nothing of "
                                "that cluster is needed",
                                rec->dir, file, cluster_id, own->cluster_id);
        if (node != own->node)
                return complain(rec, -EINVAL,
                                "%s/%s belongs to member %u, this is member %u. A member must not "
                                "take over the promises of another: set another data directory",
                                rec->dir, file, node, own->node);
        return 0;
}

static int read_meta(struct recovery *rec)
{
        _cleanup_(freep)
        uint8_t *bytes = NULL;
        size_t n;
        int r;

        r = read_file(rec, META_NAME, WAL_META_BYTES, &bytes, &n);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        r = wal_meta_parse(bytes, n, &rec->meta);
        if (r < 0)
                return complain_header(rec, r, META_NAME);
        r = check_identity(rec, META_NAME, rec->meta.cluster_id, rec->meta.node);
        rec->has_meta = r == 0;
        return r;
}

/* Whether @name is a segment's. */
static bool parse_name(const char *name, uint64_t *ret)
{
        char again[WAL_NAME_SIZE];

        if (strncmp(name, SEGMENT_PREFIX, strlen(SEGMENT_PREFIX)) != 0)
                return false;
        *ret = strtoull(name + strlen(SEGMENT_PREFIX), NULL, SEGMENT_DIGITS);
        wal_segment_name(*ret, again);
        return strcmp(name, again) == 0;
}

static int compare_numbers(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return x < y ? -1 : x > y;
}

static int list_segments(struct recovery *rec)
{
        struct dirent *entry;
        uint64_t number;
        DIR *dir;
        int fd, r;

        fd = openat(rec->w->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return complain_errno(rec, -errno, "open", "");
        dir = fdopendir(fd);
        if (!dir) {
                r = -errno;
                (void)close(fd); /* only read from */
                return complain_errno(rec, r, "read", "");
        }
        for (errno = 0; (entry = readdir(dir));) {
                if (!parse_name(entry->d_name, &number))
                        continue;
                MUST_GROW(rec->numbers, rec->n_numbers, rec->n_numbers_max);
                rec->numbers[rec->n_numbers++] = number;
        }
        r = -errno;
        (void)closedir(dir); /* only read from */
        if (r < 0)
                return complain_errno(rec, r, "read", "");
        if (rec->n_numbers > 0)
                qsort(rec->numbers, rec->n_numbers, sizeof(*rec->numbers), compare_numbers);
        for (size_t i = 1; i < rec->n_numbers; i++) {
                char name[WAL_NAME_SIZE];

                wal_segment_name(rec->numbers[0] + i, name);
                if (rec->numbers[i] != rec->numbers[0] + i)
                        return complain_damage(rec, name, 0, "the file is missing");
        }
        return 0;
}

/* The first @n_max bytes of segment @number into rec->bytes, and its header into rec->header. */
static int read_segment(struct recovery *rec, uint64_t number, size_t n_max)
{
        char name[WAL_NAME_SIZE];
        int r;

        free(TAKE_PTR(rec->bytes));
        wal_segment_name(number, name);
        r = read_file(rec, name, n_max, &rec->bytes, &rec->n);
        if (r == -ENOENT)
                return complain_damage(rec, name, 0, "the file vanished");
        if (r < 0)
                return r;
        r = wal_segment_header_parse(rec->bytes, rec->n, &rec->header);
        if (r < 0)
                return complain_header(rec, r, name);
        if (rec->header.number != number)
                return complain_damage(rec, name, 0, "it is another segment under this name");
        if ((number == 1) != (rec->header.previous_end == 0) ||
            (number > 1 && rec->header.previous_end < WAL_HEADER_BYTES))
                return complain_damage(rec, name, 0, "its header names an impossible place");
        return check_identity(rec, name, rec->header.cluster_id, rec->header.node);
}

/* Where segment @number ends, from the one that follows; 0 if it is the last. */
static int segment_end(struct recovery *rec, uint64_t number, size_t *ret)
{
        int r = 0;

        *ret = 0;
        if (number == rec->numbers[rec->n_numbers - 1])
                return 0;
        r = read_segment(rec, number + 1, WAL_HEADER_BYTES);
        if (r == 0)
                *ret = (size_t)rec->header.previous_end;
        return r;
}

static int replay_segments(struct recovery *rec)
{
        struct wal_damage damage;
        char name[WAL_NAME_SIZE];
        const char *what;
        size_t end;
        int r;

        wal_replay_init(&rec->replay);
        for (size_t i = 0; i < rec->n_numbers; i++) {
                uint64_t number = rec->numbers[i];

                r = segment_end(rec, number, &end);
                if (r == 0)
                        r = read_segment(rec, number, FILE_BYTES_MAX);
                if (r < 0)
                        return r;
                r = wal_replay_segment(&rec->replay, &rec->header, rec->bytes, rec->n, end,
                                       &damage);
                wal_segment_name(number, name);
                if (r < 0)
                        return complain_damage(rec, name, damage.offset, damage.what);
        }
        what = wal_replay_check(&rec->replay);
        if (what) {
                wal_segment_name(rec->numbers[0], name);
                return complain_damage(rec, name, 0, what);
        }
        return 0;
}

static int remove_file(struct recovery *rec, const char *name)
{
        if (unlinkat(rec->w->dir_fd, name, 0) < 0 && errno != ENOENT)
                return complain_errno(rec, -errno, "remove", name);
        return 0;
}

/*
 * A creation that did not come to its end leaves one segment and no meta file; no promise was made
 * in it. A segment that says more has lost its meta file.
 */
static int drop_unfinished_creation(struct recovery *rec)
{
        char name[WAL_NAME_SIZE];

        if (rec->n_numbers > 1 || rec->numbers[0] != 1 || rec->replay.n_batches > 1 ||
            rec->replay.bytes_cut > 0)
                return complain_damage(rec, META_NAME, 0, "the file is missing");
        wal_segment_name(1, name);
        rec->n_numbers = 0;
        wal_replay_done(&rec->replay);
        wal_replay_init(&rec->replay);
        return remove_file(rec, name);
}

/* Adds what the last batch did to the entries, unless the log proves that it is durable. */
static void put_last_batch(struct recovery *rec)
{
        const struct wal_replay *replay = &rec->replay;
        struct wal_record record;

        if (replay->is_marked)
                return;
        for (size_t at = replay->batch_begin; at < replay->end; at += wal_record_size(record.n)) {
                if (!wal_record_parse(rec->header.salt, rec->bytes + at, replay->end - at, &record))
                        return; /* it was whole when it was replayed from the same memory */
                if (record.type == WAL_ENTRY || record.type == WAL_TRUNCATE ||
                    (record.type == WAL_SNAPSHOT && !(record.flags & WAL_SNAPSHOT_COPY)))
                        wal_put_record(rec->w, &record);
        }
}

static int open_last_segment(struct recovery *rec)
{
        char name[WAL_NAME_SIZE];

        if (rec->n_numbers == 0)
                return 0;
        wal_segment_name(rec->numbers[rec->n_numbers - 1], name);
        rec->w->fd = openat(rec->w->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        return rec->w->fd < 0 ? complain_errno(rec, -errno, "open", name) : 0;
}

/* The state that the fresh segment begins with. */
static void continue_from(struct recovery *rec)
{
        struct wal_replay *replay = &rec->replay;
        struct wal *w = rec->w;

        w->number = rec->n_numbers > 0 ? rec->numbers[rec->n_numbers - 1] : 0;
        w->seq = replay->is_marked ? replay->seq_next : replay->batch_seq;
        w->batch = (uint16_t)(replay->batch - (replay->is_marked ? 0 : 1));
        w->term = replay->term;
        w->vote = replay->vote;
        w->base = replay->is_marked ? replay->base : replay->batch_base;
        w->extents = replay->extents;
        replay->extents = (struct wal_extents){ 0 };
        if (rec->n_numbers == 0 && rec->founding.index > 0) {
                w->base = rec->founding;
                w->term = w->base.term;
        }
}

static bool is_full(int r)
{
        return r == -ENOSPC || r == -EDQUOT;
}

/*
 * On a full disk the last segment gives back what it had laid out beyond its end, and a shorter one
 * does: this member can vote and follow on it, see wal_prepare().
 */
static int lay_out_fresh(struct recovery *rec, size_t n_bytes)
{
        struct wal *w = rec->w;
        size_t n_wanted = n_bytes > w->segment_bytes ? n_bytes : w->segment_bytes;
        int r = wal_has_room(w, n_wanted) ? wal_lay_out_spare(w, n_wanted) : -ENOSPC;

        if (is_full(r) && w->fd >= 0)
                wal_cut_file(w->fd, rec->replay.end);
        for (; is_full(r) && n_wanted >= n_bytes + ROOM_MIN; n_wanted -= n_wanted / 4)
                if (wal_has_room(w, n_wanted))
                        r = wal_lay_out_spare(w, n_wanted);
        return r;
}

static int complain_full(struct recovery *rec, int error)
{
        return complain(rec, error,
                        "there is no room for the log in %s (%s): free at least %zu MiB on its "
                        "file system. Nothing is lost, and the member starts by itself then",
                        rec->dir, strerror(-error), rec->w->segment_bytes >> 20);
}

/* The fresh segment: it begins where the log is proven durable, and repeats what is not. */
static int go_on(struct recovery *rec)
{
        const struct wal_replay *replay = &rec->replay;
        size_t previous_end = replay->is_marked ? replay->end : replay->batch_begin;
        size_t n_bytes = WAL_HEADER_BYTES + 8 * WAL_RECORD_BYTES + replay->end - previous_end;
        struct wal *w = rec->w;
        char name[WAL_NAME_SIZE];
        int r;

        r = open_last_segment(rec);
        if (r < 0)
                return r;
        continue_from(rec);
        wal_segment_name(w->number + 1, name);
        r = lay_out_fresh(rec, n_bytes);
        if (is_full(r))
                return complain_full(rec, r);
        if (r == 0)
                r = wal_segment_begin(w, previous_end);
        if (r == 0) {
                put_last_batch(rec);
                if (rec->n_numbers > 0)
                        w->base = replay->base;
                w->extents.list[w->extents.n - 1].index_max = w->base.index_next - 1;
                r = wal_segment_commit(w, previous_end);
        }
        return r < 0 ? complain_errno(rec, r, "write", name) : 0;
}

static int write_meta(struct recovery *rec)
{
        _cleanup_(buffer_done)
        struct buffer b = { 0 };
        int dir_fd = rec->w->dir_fd, fd, r = 0;

        wal_meta_put(&b, &rec->meta);
        fd = openat(dir_fd, META_NEW_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                    0600);
        if (fd < 0)
                return -errno;
        if (write(fd, b.bytes, b.n) != (ssize_t)b.n)
                r = errno ? -errno : -EIO;
        else if (fsync(fd) < 0)
                r = -errno;
        if (close(fd) < 0 && r == 0)
                r = -errno;
        if (r == 0 && renameat(dir_fd, META_NEW_NAME, dir_fd, META_NAME) < 0)
                r = -errno;
        if (r == 0 && fsync(dir_fd) < 0)
                r = -errno;
        return r;
}

/*
 * The directory itself must not vanish in a crash with all that was promised in it. If we may not
 * read the one above, somebody else has made ours, and long ago.
 */
static int sync_parent(struct recovery *rec)
{
        int fd, r;

        fd = openat(rec->w->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return errno == EACCES ? 0 : -errno;
        r = fsync(fd) < 0 ? -errno : 0;
        (void)close(fd); /* only synced */
        return r;
}

/* The first segment exists; the meta file makes it count. */
static int finish_creation(struct recovery *rec)
{
        int r;

        rec->meta.cluster_id = rec->w->identity.cluster_id;
        rec->meta.node = rec->w->identity.node;
        if (getrandom(&rec->meta.incarnation, sizeof(rec->meta.incarnation), 0) !=
            (ssize_t)sizeof(rec->meta.incarnation))
                return complain_errno(rec, -errno, "draw an incarnation for", META_NAME);
        r = sync_parent(rec);
        if (r < 0)
                return complain_errno(rec, r, "sync", "..");
        errno = 0;
        r = write_meta(rec);
        return r < 0 ? complain_errno(rec, r, "write", META_NAME) : 0;
}

/* Whether what is there and what is asked for go together. */
static int check_presence(struct recovery *rec)
{
        if (rec->has_meta && rec->is_creation)
                return complain(rec, -EEXIST,
                                "%s holds the log of member %u already. Set another data "
                                "directory, or move this one away if nothing of it is needed",
                                rec->dir, rec->meta.node);
        if (rec->has_meta && rec->n_numbers == 0)
                return complain_damage(rec, SEGMENT_PREFIX "*", 0, "all segments are missing");
        if (!rec->has_meta && rec->w->identity.node == NODE_NOBODY)
                return complain(rec, -ENOENT,
                                "%s holds no log, and this node is not a founding member of the "
                                "cluster: it must join first",
                                rec->dir);
        return 0;
}

static int recover(struct recovery *rec)
{
        int r;

        r = take_lock(rec);
        if (r == 0)
                r = read_meta(rec);
        if (r == 0)
                r = list_segments(rec);
        if (r == 0)
                r = check_presence(rec);
        if (r == 0)
                r = replay_segments(rec);
        if (r == 0 && !rec->has_meta && rec->n_numbers > 0)
                r = drop_unfinished_creation(rec);
        if (r == 0)
                r = go_on(rec);
        if (r == 0 && !rec->has_meta)
                r = finish_creation(rec);
        return r;
}

static void recovery_done(struct recovery *rec)
{
        wal_close(rec->w);
        wal_replay_done(&rec->replay);
        free(rec->numbers);
        free(rec->bytes);
}

static void give_recovered(struct recovery *rec, struct wal_recovered *ret)
{
        struct wal_replay *replay = &rec->replay;
        uint64_t n_behind = replay->base.index_next - 1 - replay->base.index;

        *ret = (struct wal_recovered){
                .is_new = !rec->has_meta,
                .identity = rec->w->identity,
                .incarnation = rec->meta.incarnation,
                .generation = rec->meta.generation,
                .term = replay->term,
                .vote = replay->vote,
                .snapshot_index = replay->base.index,
                .snapshot_term = replay->base.term,
                .spare_index = replay->base.spare_index,
                .spare_term = replay->base.spare_term,
                .tail = replay->entries,
                .n_tail = replay->n_entries - (size_t)n_behind,
                .n_entries = (size_t)n_behind,
                .bytes_cut = replay->bytes_cut,
        };
        if (ret->tail)
                ret->entries = ret->tail + ret->n_tail;
        replay->entries = NULL;
        replay->n_entries = 0;
}

static struct wal *new_wal(const struct wal_identity *identity, size_t segment_bytes)
{
        struct wal *w = must_alloc(1, sizeof(*w));

        *w = (struct wal){
                .identity = *identity,
                .segment_bytes = segment_bytes ? segment_bytes : WAL_SEGMENT_BYTES,
                .dir_fd = -1,
                .lock_fd = -1,
                .fd = -1,
                .spare_fd = -1,
        };
        return w;
}

int wal_open(const char *dir, const struct wal_options *options, struct wal **ret,
             struct wal_recovered *ret_recovered, struct wal_complaint *ret_complaint)
{
        _cleanup_(recovery_done)
        struct recovery rec = { .dir = dir, .complaint = ret_complaint };
        int r;

        *ret_complaint = (struct wal_complaint){ 0 };
        rec.w = new_wal(&options->identity, options->segment_bytes);
        if (options->identity.cluster_id == 0 || options->identity.node > MEMBERS_MAX ||
            rec.w->segment_bytes < WAL_SEGMENT_BYTES_MIN)
                return complain(&rec, -EINVAL, "the log in %s was asked for without an identity",
                                dir);
        r = recover(&rec);
        if (r < 0)
                return r;
        give_recovered(&rec, ret_recovered);
        *ret = TAKE_PTR(rec.w);
        return 0;
}

int wal_create(const char *dir, const struct wal_founding *founding,
               struct wal_complaint *ret_complaint)
{
        const struct wal_identity *identity = &founding->identity;
        _cleanup_(recovery_done)
        struct recovery rec = {
                .dir = dir,
                .complaint = ret_complaint,
                .is_creation = true,
                .meta = { .generation = founding->generation },
                .founding = { .index = founding->snapshot_index,
                              .term = founding->snapshot_term,
                              .index_next = founding->snapshot_index + 1 },
        };

        *ret_complaint = (struct wal_complaint){ 0 };
        rec.w = new_wal(identity, founding->segment_bytes);
        if (identity->cluster_id == 0 || identity->node == NODE_NOBODY ||
            identity->node > MEMBERS_MAX || rec.w->segment_bytes < WAL_SEGMENT_BYTES_MIN ||
            (founding->snapshot_index > 0) != (founding->snapshot_term > 0))
                return complain(&rec, -EINVAL, "a log in %s was asked for without an identity",
                                dir);
        return recover(&rec);
}

void wal_recovered_done(struct wal_recovered *recovered)
{
        for (size_t i = 0; i < recovered->n_tail + recovered->n_entries; i++)
                free((void *)(uintptr_t)recovered->tail[i].bytes);
        free(recovered->tail);
        *recovered = (struct wal_recovered){ 0 };
}

const struct wal_entry *wal_recovered_behind(const struct wal_recovered *recovered, uint64_t index,
                                             size_t *ret_n)
{
        static const struct wal_entry none;
        uint64_t before = recovered->snapshot_index -
                          recovered->n_tail; /* the tail begins behind */
        size_t n = recovered->n_tail + recovered->n_entries;

        if (index < before || index - before > n)
                return NULL;
        *ret_n = n - (size_t)(index - before);
        return *ret_n > 0 ? recovered->tail + (index - before) : &none;
}
