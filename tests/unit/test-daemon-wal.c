/*
 * The write-ahead log: what wal_write() returned for is found again, whatever happens afterwards,
 * and damage to it is never taken for an unfinished write. The system calls that write are replaced
 * here by ones that can fail, and that know what a crash would leave of what is not synced.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/wal-format.h"
#include "daemon/wal.h"
#include "election/base/crc32c.h"
#include "election/base/memory.h"
#include "election/base/random.h"
#include "tests/lib/deadline.h"
#include "tests/lib/scratch.h"

static const uint64_t CLUSTER = 0x5678deadbeef;

enum {
        SMALL = 256 << 10, /* a segment of some sixty short batches */
        SMALLER = 48 << 10,
        SECTOR = 512,
        PENDING_MAX = 256,
};

/* A write that no sync has covered: a crash may take any sector of it back. */
struct pending {
        int fd;
        size_t offset, n, n_before;
        uint8_t *before, *after;
};

/* A segment that is written to. */
struct active {
        dev_t dev;
        ino_t ino;
        off_t end; /* of what was synced */
        off_t end_written;
};

/* The machine under the log. */
static struct {
        bool is_recording;
        long n_calls_left; /* 0: never; the call that counts it down to 0 meets the crash */
        bool is_crashed; /* every call fails from now on */
        struct random random;
        struct pending pending[PENDING_MAX];
        size_t n_pending;
        char rename_from[64], rename_to[64]; /* not synced yet */
        int rename_dir;
        struct active active; /* all that the last commit of a segment has made of it */
        off_t end_spare; /* of the last write to the next one */
        bool refuses_direct; /* as some file systems do */
        unsigned n_direct, n_cached; /* writes to the active one */
} machine;

static ssize_t real_pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
        return syscall(SYS_pwrite64, fd, bytes, n, offset);
}

/* The same file through the page cache: a descriptor for direct I/O takes whole blocks only. */
static int cached(int fd)
{
        char path[64];
        int r;

        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        r = open(path, O_RDWR | O_CLOEXEC);
        assert_true(r >= 0);
        return r;
}

static size_t read_before(int fd, void *ret, size_t n, off_t offset)
{
        int through = cached(fd);
        ssize_t got = syscall(SYS_pread64, through, ret, n, offset);

        (void)close(through);
        return got > 0 ? (size_t)got : 0;
}

static void forget_pending(int fd)
{
        size_t kept = 0;

        for (size_t i = 0; i < machine.n_pending; i++) {
                if (machine.pending[i].fd != fd) {
                        machine.pending[kept++] = machine.pending[i];
                        continue;
                }
                free(machine.pending[i].before);
                free(machine.pending[i].after);
        }
        machine.n_pending = kept;
}

/* The power fails: each sector that is not synced is there or not, and so is a rename. */
static void crash(void)
{
        for (size_t i = machine.n_pending; i-- > 0;) {
                struct pending *p = &machine.pending[i];
                int fd = cached(p->fd);

                for (size_t at = 0; at < p->n; at++) {
                        size_t end = (p->offset + at) / SECTOR * SECTOR + SECTOR - p->offset;

                        if (end > p->n)
                                end = p->n;
                        if (random_below(&machine.random, 2))
                                (void)real_pwrite(fd, p->before + at, end - at,
                                                  (off_t)(p->offset + at));
                        at = end - 1;
                }
                (void)close(fd);
                free(p->before);
                free(p->after);
        }
        machine.n_pending = 0;
        if (machine.rename_from[0] && random_below(&machine.random, 2))
                (void)renameat(machine.rename_dir, machine.rename_to, machine.rename_dir,
                               machine.rename_from);
        machine.rename_from[0] = '\0';
        machine.is_crashed = true;
}

/* Whether the call that is made now is lost to a crash. */
static bool is_lost(void)
{
        if (machine.is_crashed) {
                errno = EIO;
                return true;
        }
        return false;
}

static bool crashes_now(void)
{
        if (machine.n_calls_left == 0 || --machine.n_calls_left > 0)
                return false;
        crash();
        errno = EIO;
        return true;
}

static bool is_active(int fd)
{
        char path[64], name[SCRATCH_PATH_SIZE + 64] = "";
        struct stat st;

        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (readlink(path, name, sizeof(name) - 1) < 0 || strstr(name, "/wal-spare"))
                return false;
        return fstat(fd, &st) == 0 && st.st_dev == machine.active.dev &&
               st.st_ino == machine.active.ino;
}

static bool is_direct(int fd)
{
        return fcntl(fd, F_GETFL) & O_DIRECT;
}

/* No block that holds what was synced is ever written again. */
static void check_block_is_new(int fd, size_t n, off_t offset)
{
        struct active *active = &machine.active;

        if (!is_active(fd)) {
                machine.end_spare = offset + (off_t)n;
                return;
        }
        assert_int_equal(offset % WAL_BLOCK_BYTES, 0);
        assert_true(offset >= active->end);
        active->end_written = offset + (off_t)n;
        if (is_direct(fd))
                machine.n_direct++;
        else
                machine.n_cached++;
}

/* The next segment has got its name. */
static void note_active(int dir_fd, const char *name)
{
        struct stat st;

        if (strcmp(name, "wal-spare") == 0 || fstatat(dir_fd, name, &st, 0) < 0)
                return;
        assert_int_equal(machine.end_spare % WAL_BLOCK_BYTES, 0);
        machine.active = (struct active){ .dev = st.st_dev,
                                          .ino = st.st_ino,
                                          .end = machine.end_spare,
                                          .end_written = machine.end_spare };
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
        struct pending *p;
        ssize_t got;

        if (is_lost())
                return -1;
        if (machine.refuses_direct && is_direct(fd)) {
                errno = EINVAL;
                return -1;
        }
        check_block_is_new(fd, n, offset);
        if (machine.is_recording) {
                assert_true(machine.n_pending < PENDING_MAX);
                p = &machine.pending[machine.n_pending++];
                *p = (struct pending){ .fd = fd, .offset = (size_t)offset, .n = n };
                p->before = must_alloc(n, 1);
                p->after = must_copy(bytes, n);
                p->n_before = read_before(fd, p->before, n, offset);
        }
        got = real_pwrite(fd, bytes, n, offset);
        return crashes_now() ? -1 : got;
}

static int synced(int fd, long call)
{
        struct stat st;

        if (is_lost() || crashes_now())
                return -1;
        forget_pending(fd);
        if (is_active(fd))
                machine.active.end = machine.active.end_written;
        if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
                machine.rename_from[0] = '\0';
        return (int)syscall(call, fd);
}

int fsync(int fd)
{
        return synced(fd, SYS_fsync);
}

int fdatasync(int fd)
{
        return synced(fd, SYS_fdatasync);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
        int r;

        if (is_lost())
                return -1;
        r = (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
        if (r == 0)
                note_active(to_dir, to);
        if (r == 0 && machine.is_recording) {
                (void)snprintf(machine.rename_from, sizeof(machine.rename_from), "%s", from);
                (void)snprintf(machine.rename_to, sizeof(machine.rename_to), "%s", to);
                machine.rename_dir = to_dir;
        }
        return crashes_now() ? -1 : r;
}

int ftruncate(int fd, off_t n)
{
        if (is_lost())
                return -1;
        return (int)syscall(SYS_ftruncate, fd, n);
}

static void machine_starts(void)
{
        for (size_t i = 0; i < machine.n_pending; i++) {
                free(machine.pending[i].before);
                free(machine.pending[i].after);
        }
        machine.n_pending = 0;
        machine.is_recording = false;
        machine.is_crashed = false;
        machine.n_calls_left = 0;
        machine.rename_from[0] = '\0';
        machine.active = (struct active){ 0 };
        machine.refuses_direct = false;
        machine.n_direct = machine.n_cached = 0;
}

/* What each test has: a directory for a log, and one for a second copy of it. */
struct fixture {
        char dir[SCRATCH_PATH_SIZE];
        char copy[SCRATCH_PATH_SIZE];
        char on_disk[SCRATCH_PATH_SIZE]; /* empty: not made */
        struct wal *w;
        struct wal_recovered recovered;
        struct wal_complaint complaint;
};

static int setup(void **state)
{
        struct fixture *f = must_alloc(1, sizeof(*f));

        machine_starts();
        *state = f;
        return scratch_new(f->dir) < 0 || scratch_new(f->copy) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        machine_starts();
        wal_close(f->w);
        wal_recovered_done(&f->recovered);
        (void)umount2(f->dir, MNT_DETACH); /* what a test that failed has left */
        scratch_remove(f->dir);
        scratch_remove(f->copy);
        if (f->on_disk[0])
                scratch_remove(f->on_disk);
        free(f);
        return 0;
}

static int open_in(struct fixture *f, const char *dir, size_t segment_bytes)
{
        struct wal_options options = { .identity = { .cluster_id = CLUSTER, .node = 2 },
                                       .segment_bytes = segment_bytes };

        wal_close(TAKE_PTR(f->w));
        wal_recovered_done(&f->recovered);
        return wal_open(dir, &options, &f->w, &f->recovered, &f->complaint);
}

static int reopen(struct fixture *f)
{
        return open_in(f, f->dir, SMALL);
}

static int put_hard_state(struct fixture *f, uint64_t term, node_id vote)
{
        struct wal_batch batch = { .has_hard_state = true, .term = term, .vote = vote };

        return wal_write(f->w, &batch, 1);
}

static int put_entry(struct fixture *f, uint64_t index, uint64_t term, const char *text)
{
        struct wal_entry e = {
                .index = index, .term = term, .type = 7, .bytes = text, .n = strlen(text)
        };
        struct wal_batch batch = { .entries = &e, .n_entries = 1 };

        return wal_write(f->w, &batch, 1);
}

static int put_snapshot(struct fixture *f, uint64_t index, uint64_t term, bool resets)
{
        struct wal_batch batch = { .snapshot_index = index,
                                   .snapshot_term = term,
                                   .snapshot_resets = resets };

        return wal_write(f->w, &batch, 1);
}

static void assert_entry(const struct fixture *f, size_t i, uint64_t term, const char *text)
{
        const struct wal_entry *e = &f->recovered.entries[i];

        assert_true(i < f->recovered.n_entries);
        assert_int_equal(e->index, i + 1);
        assert_int_equal(e->term, term);
        assert_int_equal(e->type, 7);
        assert_int_equal(e->n, strlen(text));
        assert_memory_equal(e->bytes, text, e->n);
}

static void path_in(const char *dir, const char *name, char *ret)
{
        int n = snprintf(ret, SCRATCH_PATH_SIZE, "%s/%s", dir, name);

        assert_true(n > 0 && n < SCRATCH_PATH_SIZE);
}

static void path_of_segment(const char *dir, unsigned number, char *ret)
{
        char name[32];

        (void)snprintf(name, sizeof(name), "wal-%016x", number);
        path_in(dir, name, ret);
}

static void patch(const char *path, size_t offset, const void *bytes, size_t n)
{
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(real_pwrite(fd, bytes, n, (off_t)offset), n);
        (void)close(fd);
}

static size_t read_bytes(const char *path, uint8_t *ret, size_t n_max)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n;

        assert_true(fd >= 0);
        n = read(fd, ret, n_max);
        assert_true(n >= 0);
        (void)close(fd);
        return (size_t)n;
}

/* The end of what is written in a segment that zeros follow. */
static size_t used_bytes(const char *path)
{
        uint8_t *bytes = must_alloc(SMALL, 1);
        size_t n = read_bytes(path, bytes, SMALL);

        while (n > 0 && bytes[n - 1] == 0)
                n--;
        free(bytes);
        return (n + 7) & ~(size_t)7;
}

static void fresh_copy(struct fixture *f)
{
        scratch_remove(f->copy);
        assert_int_equal(mkdir(f->copy, 0700), 0);
        assert_int_equal(scratch_copy(f->dir, f->copy), 0);
}

static void new_log_has_promised_nothing(void **state)
{
        struct fixture *f = *state;
        uint64_t incarnation;

        assert_int_equal(reopen(f), 0);
        assert_true(f->recovered.is_new);
        assert_int_equal(f->recovered.term, 0);
        assert_int_equal(f->recovered.n_entries, 0);
        assert_true(f->recovered.incarnation != 0);
        incarnation = f->recovered.incarnation;
        assert_int_equal(reopen(f), 0);
        assert_false(f->recovered.is_new);
        assert_true(f->recovered.incarnation == incarnation);
}

static void what_was_written_is_recovered(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(reopen(f), 0);
        assert_int_equal(put_hard_state(f, 3, 1), 0);
        assert_int_equal(put_entry(f, 1, 2, "first"), 0);
        assert_int_equal(put_entry(f, 2, 3, ""), 0);
        assert_int_equal(put_entry(f, 3, 3, "the third entry"), 0);
        for (int i = 0; i < 3; i++) {
                assert_int_equal(reopen(f), 0);
                assert_int_equal(f->recovered.term, 3);
                assert_int_equal(f->recovered.vote, 1);
                assert_int_equal(f->recovered.n_entries, 3);
                assert_entry(f, 0, 2, "first");
                assert_entry(f, 1, 3, "");
                assert_entry(f, 2, 3, "the third entry");
                assert_int_equal(f->recovered.bytes_cut, 0);
        }
        assert_int_equal(put_entry(f, 4, 3, "fourth"), 0);
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->recovered.n_entries, 4);
        assert_entry(f, 3, 3, "fourth");
}

static void several_batches_of_one_write_come_in_order(void **state)
{
        struct fixture *f = *state;
        struct wal_entry a = { .index = 1, .term = 1, .type = 7, .bytes = "a", .n = 1 };
        struct wal_entry b = { .index = 1, .term = 2, .type = 7, .bytes = "b", .n = 1 };
        struct wal_batch batches[] = {
                { .has_hard_state = true, .term = 1, .vote = 3, .entries = &a, .n_entries = 1 },
                { .has_hard_state = true, .term = 2, .vote = 0 },
                { .truncate_from = 1, .entries = &b, .n_entries = 1 },
                { .has_hard_state = true, .term = 2, .vote = 1 },
        };

        assert_int_equal(reopen(f), 0);
        assert_int_equal(wal_write(f->w, batches, 4), 0);
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->recovered.term, 2);
        assert_int_equal(f->recovered.vote, 1);
        assert_int_equal(f->recovered.n_entries, 1);
        assert_entry(f, 0, 2, "b");
}

static void truncated_entries_stay_away(void **state)
{
        struct fixture *f = *state;
        struct wal_batch cut = { .truncate_from = 2 };

        assert_int_equal(reopen(f), 0);
        assert_int_equal(put_entry(f, 1, 1, "kept"), 0);
        assert_int_equal(put_entry(f, 2, 1, "dropped"), 0);
        assert_int_equal(put_entry(f, 3, 1, "dropped, too"), 0);
        assert_int_equal(wal_write(f->w, &cut, 1), 0);
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->recovered.n_entries, 1);
        assert_int_equal(put_entry(f, 2, 4, "instead"), 0);
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->recovered.n_entries, 2);
        assert_entry(f, 0, 1, "kept");
        assert_entry(f, 1, 4, "instead");
}

static void log_goes_on_over_many_segments(void **state)
{
        struct fixture *f = *state;
        char path[SCRATCH_PATH_SIZE], text[32];
        char *large = must_alloc(3 * SMALL, 1);

        memset(large, 'x', 3 * SMALL - 1);
        assert_int_equal(reopen(f), 0);
        assert_int_equal(put_hard_state(f, 9, 2), 0);
        for (unsigned i = 1; i <= 1000; i++) {
                (void)snprintf(text, sizeof(text), "entry %u", i);
                assert_int_equal(put_entry(f, i, 9, text), 0);
                /* A segment that is laid out in time, and one that is not. */
                while (i % 3 == 0 && wal_prepare(f->w) > 0)
                        ;
        }
        assert_int_equal(put_entry(f, 1001, 9, large), 0);
        assert_int_equal(put_entry(f, 1002, 9, "behind a large one"), 0);
        path_of_segment(f->dir, 10, path);
        assert_int_equal(access(path, F_OK), 0);

        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->recovered.n_entries, 1002);
        assert_int_equal(f->recovered.term, 9);
        assert_int_equal(f->recovered.vote, 2);
        assert_entry(f, 0, 9, "entry 1");
        assert_entry(f, 999, 9, "entry 1000");
        assert_entry(f, 1000, 9, large);
        assert_entry(f, 1001, 9, "behind a large one");
        free(large);
}

static void entries_follow_on_the_snapshot(void **state)
{
        struct fixture *f = *state;
        const struct wal_entry *entries;
        size_t n;

        assert_int_equal(reopen(f), 0);
        for (unsigned i = 1; i <= 9; i++)
                assert_int_equal(put_entry(f, i, 1 + i / 4, "some entry"), 0);
        assert_int_equal(put_snapshot(f, 3, 1, false), 0);
        assert_int_equal(put_snapshot(f, 5, 2, false), 0);
        for (unsigned i = 0; i < 3; i++) {
                assert_int_equal(reopen(f), 0);
                assert_int_equal(f->recovered.snapshot_index, 5);
                assert_int_equal(f->recovered.snapshot_term, 2);
                assert_int_equal(f->recovered.spare_index, 3);
                assert_int_equal(f->recovered.spare_term, 1);
                assert_int_equal(f->recovered.n_entries, 4);
                assert_int_equal(f->recovered.entries[0].index, 6);
                entries = wal_recovered_behind(&f->recovered, 3, &n);
                assert_non_null(entries);
                assert_int_equal(n, 6);
                assert_int_equal(entries[0].index, 4);
                assert_non_null(wal_recovered_behind(&f->recovered, 9, &n));
                assert_int_equal(n, 0);
                assert_null(wal_recovered_behind(&f->recovered, 10, &n));
        }
        /* One that the log has passed already changes nothing. */
        assert_int_equal(put_snapshot(f, 4, 2, false), 0);
        assert_int_equal(put_entry(f, 10, 3, "goes on"), 0);
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->recovered.snapshot_index, 5);
        assert_int_equal(f->recovered.n_entries, 5);
}

static void spare_snapshot_takes_the_place_of_a_damaged_one(void **state)
{
        const struct wal_batch back = { .snapshot_steps_back = true };
        struct fixture *f = *state;

        assert_int_equal(reopen(f), 0);
        for (unsigned i = 1; i <= 9; i++)
                assert_int_equal(put_entry(f, i, 1 + i / 4, "some entry"), 0);
        assert_int_equal(put_snapshot(f, 3, 1, false), 0);
        assert_int_equal(put_snapshot(f, 6, 2, false), 0);
        assert_int_equal(wal_write(f->w, &back, 1), 0);
        for (unsigned i = 0; i < 3; i++) {
                assert_int_equal(reopen(f), 0);
                assert_int_equal(f->recovered.snapshot_index, 3);
                assert_int_equal(f->recovered.snapshot_term, 1);
                assert_int_equal(f->recovered.spare_index, 0);
                assert_int_equal(f->recovered.n_entries, 6);
                assert_int_equal(f->recovered.entries[0].index, 4);
        }
        /* The next one may be older than the damaged one was; its spare is the one that was good. */
        assert_int_equal(put_snapshot(f, 5, 2, false), 0);
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->recovered.snapshot_index, 5);
        assert_int_equal(f->recovered.spare_index, 3);
        assert_int_equal(f->recovered.n_entries, 4);
}

static void snapshot_from_elsewhere_replaces_the_log(void **state)
{
        struct fixture *f = *state;
        struct wal_entry e = { .index = 21, .term = 4, .type = 7, .bytes = "new", .n = 3 };
        struct wal_batch batch = { .has_hard_state = true,
                                   .term = 4,
                                   .vote = 1,
                                   .snapshot_index = 20,
                                   .snapshot_term = 3,
                                   .snapshot_resets = true,
                                   .entries = &e,
                                   .n_entries = 1 };

        assert_int_equal(reopen(f), 0);
        for (unsigned i = 1; i <= 30; i++)
                assert_int_equal(put_entry(f, i, 1, "nobody wants this"), 0);
        assert_int_equal(put_snapshot(f, 10, 1, false), 0);
        assert_int_equal(wal_write(f->w, &batch, 1), 0);
        for (unsigned i = 0; i < 3; i++) {
                assert_int_equal(reopen(f), 0);
                assert_int_equal(f->recovered.term, 4);
                assert_int_equal(f->recovered.snapshot_index, 20);
                assert_int_equal(f->recovered.snapshot_term, 3);
                assert_int_equal(f->recovered.spare_index, 0);
                assert_int_equal(f->recovered.n_tail, 0);
                assert_int_equal(f->recovered.n_entries, 1);
                assert_int_equal(f->recovered.entries[0].index, 21);
        }
        while (wal_prepare(f->w) > 0)
                ;
        assert_int_equal(put_entry(f, 22, 4, "and on"), 0);
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->recovered.n_entries, 2);
}

/* How many segments there are, from @ret_first on, and how many of these were another one before. */
static unsigned count_segments(const char *dir, unsigned *ret_first, unsigned *ret_recycled)
{
        struct wal_segment_header header;
        uint8_t bytes[WAL_HEADER_BYTES];
        char path[SCRATCH_PATH_SIZE];
        unsigned n = 0;

        *ret_first = *ret_recycled = 0;
        for (unsigned number = 1; number < 1000; number++) {
                path_of_segment(dir, number, path);
                if (access(path, F_OK) < 0)
                        continue;
                *ret_first = n++ == 0 ? number : *ret_first;
                assert_int_equal(read_bytes(path, bytes, sizeof(bytes)), sizeof(bytes));
                assert_int_equal(wal_segment_header_parse(bytes, sizeof(bytes), &header), 0);
                *ret_recycled += header.is_recycled;
        }
        return n;
}

static void segments_that_no_snapshot_needs_are_used_again(void **state)
{
        struct fixture *f = *state;
        char path[SCRATCH_PATH_SIZE];
        unsigned first, n_recycled;

        assert_int_equal(reopen(f), 0);
        assert_int_equal(put_hard_state(f, 3, 1), 0);
        for (unsigned i = 1; i <= 3000; i++) {
                assert_int_equal(put_entry(f, i, 3, "an entry of forty bytes, or nearly so many"),
                                 0);
                if (i % 200 == 0)
                        assert_int_equal(put_snapshot(f, i - 7, 3, false), 0);
                while (i % 50 == 0 && wal_prepare(f->w) > 0)
                        ;
                if (i % 770 == 0)
                        assert_int_equal(reopen(f), 0);
        }
        assert_true(count_segments(f->dir, &first, &n_recycled) < 12);
        assert_true(first > 20);
        assert_true(n_recycled > 2);
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->recovered.term, 3);
        assert_int_equal(f->recovered.vote, 1);
        assert_int_equal(f->recovered.snapshot_index, 2993);
        assert_int_equal(f->recovered.n_entries, 7);
        assert_true(f->recovered.n_tail >= 200);
        wal_close(TAKE_PTR(f->w));

        /* But what the spare snapshot needs must be there. */
        for (unsigned gone = 0; gone < 4; gone++) {
                fresh_copy(f);
                for (unsigned i = 0; i <= gone; i++) {
                        path_of_segment(f->copy, first + i, path);
                        assert_int_equal(unlink(path), 0);
                }
                if (open_in(f, f->copy, SMALL) == 0) {
                        assert_int_equal(f->recovered.snapshot_index, 2993);
                        assert_int_equal(f->recovered.n_entries, 7);
                        continue;
                }
                assert_non_null(strstr(f->complaint.text, "missing"));
                return;
        }
        assert_true(f->recovered.n_tail < 200);
}

static void torn_write_into_a_recycled_segment_is_cut(void **state)
{
        static const uint8_t zeros[8];
        struct fixture *f = *state;
        struct wal_segment_header header;
        char path[SCRATCH_PATH_SIZE];
        uint8_t *bytes = must_alloc(SMALL, 1);
        struct wal_record record;
        size_t at = WAL_HEADER_BYTES, last = 0;
        unsigned first, n_recycled, n, i;

        assert_int_equal(reopen(f), 0);
        for (i = 1; i <= 590; i++) {
                assert_int_equal(put_entry(f, i, 3, "an entry of forty bytes, or nearly so many"),
                                 0);
                if (i % 50 == 0)
                        assert_int_equal(put_snapshot(f, i, 3, false), 0);
                while (wal_prepare(f->w) > 0)
                        ;
        }
        n = count_segments(f->dir, &first, &n_recycled);
        path_of_segment(f->dir, first + n - 1, path);
        (void)read_bytes(path, bytes, SMALL);
        assert_int_equal(wal_segment_header_parse(bytes, SMALL, &header), 0);
        assert_true(header.is_recycled);
        for (; wal_record_parse(header.salt, bytes + at, SMALL - at, &record);
             at += wal_record_size(record.n))
                last = record.type == WAL_DURABLE_MARK ? at : last;
        assert_true(last > WAL_HEADER_BYTES && at < SMALL - 1000);
        wal_close(TAKE_PTR(f->w));
        patch(path, last + 48, zeros, sizeof(zeros)); /* in the entry of the last batch */
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->recovered.snapshot_index + f->recovered.n_entries, 589);
        assert_int_equal(f->recovered.bytes_cut, at - last);
        free(bytes);
}

static void log_of_a_joining_member_is_made(void **state)
{
        struct fixture *f = *state;
        struct wal_founding founding = { .identity = { .cluster_id = CLUSTER, .node = 5 },
                                         .generation = 3,
                                         .segment_bytes = SMALL };
        struct wal_options options = { .identity = { .cluster_id = CLUSTER & ~0xffffffffULL },
                                       .segment_bytes = SMALL };
        uint64_t incarnation;

        assert_int_equal(wal_open(f->dir, &options, &f->w, &f->recovered, &f->complaint), -ENOENT);
        assert_non_null(strstr(f->complaint.text, "must join"));
        assert_int_equal(wal_create(f->dir, &founding, &f->complaint), 0);
        assert_int_equal(wal_create(f->dir, &founding, &f->complaint), -EEXIST);
        assert_int_equal(wal_open(f->dir, &options, &f->w, &f->recovered, &f->complaint), 0);
        assert_false(f->recovered.is_new);
        assert_true(f->recovered.identity.cluster_id == CLUSTER);
        assert_int_equal(f->recovered.identity.node, 5);
        assert_int_equal(f->recovered.generation, 3);
        assert_true(f->recovered.incarnation != 0);
        incarnation = f->recovered.incarnation;
        assert_int_equal(put_entry(f, 1, 1, "first"), 0);

        /* Whoever knows another founding of the cluster is told the right one. */
        wal_close(TAKE_PTR(f->w));
        wal_recovered_done(&f->recovered);
        options.identity = (struct wal_identity){ .cluster_id = CLUSTER ^ 0x1234, .node = 5 };
        assert_int_equal(wal_open(f->dir, &options, &f->w, &f->recovered, &f->complaint), 0);
        assert_true(f->recovered.identity.cluster_id == CLUSTER);
        assert_true(f->recovered.incarnation == incarnation);
        assert_int_equal(f->recovered.n_entries, 1);
        wal_close(TAKE_PTR(f->w));
        wal_recovered_done(&f->recovered);
        options.identity.node = 4;
        assert_int_equal(wal_open(f->dir, &options, &f->w, &f->recovered, &f->complaint), -EINVAL);
}

/* Rewrites the version in a header of @size bytes, with its checksum. */
static void set_version(const char *path, size_t size, uint32_t version)
{
        uint8_t *bytes = must_alloc(size, 1);
        uint32_t crc;

        assert_int_equal(read_bytes(path, bytes, size), size);
        memcpy(bytes + 8, &version, sizeof(version));
        crc = crc32c(0, bytes, size - sizeof(crc));
        memcpy(bytes + size - sizeof(crc), &crc, sizeof(crc));
        patch(path, 0, bytes, size);
        free(bytes);
}

static void log_of_the_first_version_is_continued(void **state)
{
        struct fixture *f = *state;
        char path[SCRATCH_PATH_SIZE];

        assert_int_equal(reopen(f), 0);
        assert_int_equal(put_hard_state(f, 4, 1), 0);
        assert_int_equal(put_entry(f, 1, 4, "old"), 0);
        wal_close(TAKE_PTR(f->w));
        path_in(f->dir, "meta", path);
        set_version(path, WAL_META_BYTES, 1);
        path_of_segment(f->dir, 1, path);
        set_version(path, WAL_HEADER_BYTES, 1);
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->recovered.generation, 0);
        assert_int_equal(f->recovered.snapshot_index, 0);
        assert_entry(f, 0, 4, "old");
        assert_int_equal(put_entry(f, 2, 4, "new"), 0);
        assert_int_equal(put_snapshot(f, 1, 4, false), 0);
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->recovered.n_entries, 1);
        assert_int_equal(f->recovered.entries[0].index, 2);
}

/* Adds a batch as versions before padding wrote it. */
static void put_old_batch(struct buffer *b, const struct wal_segment_header *header, uint64_t *seq,
                          uint16_t batch, struct wal_record record)
{
        struct wal_record records[] = {
                { .type = WAL_DURABLE_MARK, .index = *seq - 1 },
                record,
                { .type = WAL_BATCH_END, .term = *seq, .index = 2 },
        };

        for (size_t i = 0; i < 3; i++) {
                records[i].seq = (*seq)++;
                records[i].batch = batch;
                wal_record_put(b, header->salt, &records[i]);
        }
}

/* Whose last batch ends within a block. */
static void log_of_the_second_version_is_continued(void **state)
{
        struct fixture *f = *state;
        struct wal_segment_header header;
        uint8_t bytes[WAL_HEADER_BYTES];
        struct buffer b = { 0 };
        char path[SCRATCH_PATH_SIZE];
        uint64_t seq;

        assert_int_equal(reopen(f), 0);
        wal_close(TAKE_PTR(f->w));
        path_of_segment(f->dir, 1, path);
        assert_int_equal(read_bytes(path, bytes, sizeof(bytes)), sizeof(bytes));
        assert_int_equal(wal_segment_header_parse(bytes, sizeof(bytes), &header), 0);
        seq = header.seq_first;
        put_old_batch(&b, &header, &seq, 1,
                      (struct wal_record){ .type = WAL_HARD_STATE, .term = 4, .index = 1 });
        put_old_batch(&b, &header, &seq, 2,
                      (struct wal_record){ .type = WAL_ENTRY,
                                           .flags = 7,
                                           .term = 4,
                                           .index = 1,
                                           .bytes = (const uint8_t *)"old",
                                           .n = 3 });
        assert_int_equal(truncate(path, WAL_HEADER_BYTES), 0);
        assert_int_equal(truncate(path, SMALL), 0);
        patch(path, WAL_HEADER_BYTES, b.bytes, b.n);
        buffer_done(&b);
        set_version(path, WAL_HEADER_BYTES, 2);
        path_in(f->dir, "meta", path);
        set_version(path, WAL_META_BYTES, 2);
        for (unsigned i = 1; i < 4; i++) {
                assert_int_equal(reopen(f), 0);
                assert_int_equal(f->recovered.term, 4);
                assert_int_equal(f->recovered.n_entries, i);
                assert_entry(f, 0, 4, "old");
                assert_int_equal(put_entry(f, i + 1, 4, "new"), 0);
        }
        assert_int_equal(reopen(f), 0);
        assert_entry(f, 3, 4, "new");
}

static void write_that_is_too_large_changes_nothing(void **state)
{
        static const uint8_t bytes[WAL_ENTRY_MAX];
        struct fixture *f = *state;
        struct wal_entry entries[8];
        struct wal_batch batch = { .entries = entries, .n_entries = 8 };

        for (unsigned i = 0; i < 8; i++)
                entries[i] = (struct wal_entry){
                        .index = i + 1, .term = 1, .bytes = bytes, .n = sizeof(bytes)
                };
        assert_int_equal(reopen(f), 0);
        assert_int_equal(wal_write(f->w, &batch, 1), -EMSGSIZE);
        assert_int_equal(put_entry(f, 1, 1, "still works"), 0);
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->recovered.n_entries, 1);
}

static void second_process_is_refused(void **state)
{
        struct fixture *f = *state;
        struct wal_options options = { .identity = { .cluster_id = CLUSTER, .node = 2 } };
        struct wal_complaint complaint;
        struct wal_recovered recovered;
        struct wal *w = NULL;

        assert_int_equal(reopen(f), 0);
        assert_int_equal(wal_open(f->dir, &options, &w, &recovered, &complaint), -EBUSY);
        assert_null(w);
        assert_non_null(strstr(complaint.text, f->dir));
        assert_int_equal(put_entry(f, 1, 1, "the first one is unharmed"), 0);
}

static void log_of_somebody_else_is_refused(void **state)
{
        struct fixture *f = *state;
        struct wal_options options = { .identity = { .cluster_id = CLUSTER ^ 1ULL << 40,
                                                     .node = 2 } };

        assert_int_equal(reopen(f), 0);
        wal_close(TAKE_PTR(f->w));
        assert_int_equal(wal_open(f->dir, &options, &f->w, &f->recovered, &f->complaint), -EINVAL);
        assert_non_null(strstr(f->complaint.text, "00005678deadbeef"));
        assert_non_null(strstr(f->complaint.text, "00005778deadbeef"));
        options.identity = (struct wal_identity){ .cluster_id = CLUSTER, .node = 3 };
        assert_int_equal(wal_open(f->dir, &options, &f->w, &f->recovered, &f->complaint), -EINVAL);
        assert_non_null(strstr(f->complaint.text, "belongs to member 2, this is member 3"));
        assert_int_equal(reopen(f), 0);
}

static void log_of_a_newer_version_is_refused(void **state)
{
        struct fixture *f = *state;
        uint32_t version = WAL_FORMAT_VERSION + 1;
        char path[SCRATCH_PATH_SIZE];

        assert_int_equal(reopen(f), 0);
        path_in(f->dir, "meta", path);
        patch(path, 8, &version, sizeof(version));
        assert_int_equal(reopen(f), -EPROTONOSUPPORT);
        assert_non_null(strstr(f->complaint.text, "newer version"));
}

static void missing_files_are_damage(void **state)
{
        static const unsigned numbers[] = { 1, 2 };
        struct fixture *f = *state;
        char path[SCRATCH_PATH_SIZE];

        for (int i = 0; i < 3; i++) {
                assert_int_equal(reopen(f), 0);
                assert_int_equal(put_entry(f, (uint64_t)i + 1, 1, "x"), 0);
        }
        wal_close(TAKE_PTR(f->w));
        for (size_t i = 0; i < 2; i++) {
                fresh_copy(f);
                path_of_segment(f->copy, numbers[i], path);
                assert_int_equal(unlink(path), 0);
                assert_int_equal(open_in(f, f->copy, SMALL), -EBADMSG);
                assert_non_null(strstr(f->complaint.text, "missing"));
        }
        fresh_copy(f);
        path_in(f->copy, "meta", path);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(open_in(f, f->copy, SMALL), -EBADMSG);
        assert_string_equal(f->complaint.file, "meta");
        fresh_copy(f);
        for (unsigned i = 1; i <= 3; i++) {
                path_of_segment(f->copy, i, path);
                assert_int_equal(unlink(path), 0);
        }
        assert_int_equal(open_in(f, f->copy, SMALL), -EBADMSG);
}

static void creation_that_was_interrupted_begins_anew(void **state)
{
        struct fixture *f = *state;
        char path[SCRATCH_PATH_SIZE];

        assert_int_equal(reopen(f), 0);
        path_in(f->dir, "meta", path);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(reopen(f), 0);
        assert_true(f->recovered.is_new);
        assert_int_equal(put_entry(f, 1, 1, "x"), 0);
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->recovered.n_entries, 1);
}

/* A log with two whole batches, and in @ret_from and @ret_to the place of a third. */
static void write_three_batches(struct fixture *f, char *ret_path, size_t *ret_from, size_t *ret_to)
{
        assert_int_equal(reopen(f), 0);
        path_of_segment(f->dir, 1, ret_path);
        assert_int_equal(put_hard_state(f, 5, 1), 0);
        assert_int_equal(put_entry(f, 1, 5, "one"), 0);
        *ret_from = used_bytes(ret_path);
        assert_int_equal(put_entry(f, 2, 5,
                                   "two, which is long enough to make sure that the last "
                                   "batch lies in two sectors of the disk, and in more "
                                   "than that if sectors are small, as they once were: "
                                   "a sector has 512 bytes on most disks, even on those "
                                   "that write 4096 at once and read before they do. "
                                   "It ends here, some 512 bytes later, with the point "
                                   "that closes this sentence, and one more, and another "
                                   "one; that should be enough for what we want to see."),
                         0);
        *ret_to = used_bytes(ret_path);
        wal_close(TAKE_PTR(f->w));
        path_of_segment(f->copy, 1, ret_path);
}

static void assert_torn_tail_was_cut(struct fixture *f)
{
        assert_int_equal(open_in(f, f->copy, SMALLER), 0);
        assert_int_equal(f->recovered.term, 5);
        assert_int_equal(f->recovered.vote, 1);
        assert_int_equal(f->recovered.n_entries, 1);
        assert_entry(f, 0, 5, "one");
        assert_int_equal(put_entry(f, 2, 6, "another second"), 0);
        assert_int_equal(open_in(f, f->copy, SMALLER), 0);
        assert_int_equal(f->recovered.n_entries, 2);
        assert_entry(f, 1, 6, "another second");
}

static void unfinished_write_is_cut_at_every_byte(void **state)
{
        struct fixture *f = *state;
        char path[SCRATCH_PATH_SIZE];
        size_t from, to;

        write_three_batches(f, path, &from, &to);
        for (size_t end = from; end < to; end++) {
                fresh_copy(f);
                assert_int_equal(truncate(path, (off_t)end), 0);
                assert_torn_tail_was_cut(f);
        }
}

static void sectors_that_did_not_arrive_are_a_torn_tail(void **state)
{
        static const uint8_t zeros[SECTOR];
        struct fixture *f = *state;
        uint8_t garbage[SECTOR], *bytes = must_alloc(SMALL, 1);
        char path[SCRATCH_PATH_SIZE];
        size_t from, to;

        memset(garbage, 0xa5, sizeof(garbage));
        write_three_batches(f, path, &from, &to);
        fresh_copy(f);
        (void)read_bytes(path, bytes, SMALL);
        for (size_t at = from; at < to; at = (at / SECTOR + 1) * SECTOR) {
                size_t n = (at / SECTOR + 1) * SECTOR - at;

                /* Where zeros belong, nothing is missing. */
                if (memcmp(bytes + at, zeros, n) != 0) {
                        fresh_copy(f);
                        patch(path, at, zeros, n);
                        assert_torn_tail_was_cut(f);
                }
                fresh_copy(f);
                patch(path, at, garbage, n);
                assert_torn_tail_was_cut(f);
        }
        free(bytes);
}

static void marked_write_is_never_cut(void **state)
{
        static const uint8_t zeros[SECTOR];
        struct fixture *f = *state;
        char path[SCRATCH_PATH_SIZE];
        size_t from, to;

        assert_int_equal(reopen(f), 0);
        assert_int_equal(put_entry(f, 1, 5, "one"), 0);
        path_of_segment(f->dir, 1, path);
        from = used_bytes(path);
        assert_int_equal(put_entry(f, 2, 5, "two"), 0);
        to = used_bytes(path);
        assert_true(wal_wants_mark(f->w));
        assert_int_equal(wal_mark(f->w), 0);
        assert_false(wal_wants_mark(f->w));
        wal_close(TAKE_PTR(f->w));
        path_of_segment(f->copy, 1, path);
        for (size_t end = from + 8; end < to; end += 8) {
                fresh_copy(f);
                patch(path, from, zeros, end - from);
                assert_int_equal(open_in(f, f->copy, SMALL), -EBADMSG);
                assert_int_equal(f->complaint.offset, from);
        }
}

/* The offsets at which a record or a header begins in segment @number. */
static size_t list_records(const char *dir, unsigned number, size_t *ret, size_t n_max)
{
        struct wal_segment_header header;
        uint8_t *bytes = must_alloc(SMALL, 1);
        struct wal_record record;
        char path[SCRATCH_PATH_SIZE];
        size_t n_bytes, n = 0, at;

        path_of_segment(dir, number, path);
        n_bytes = read_bytes(path, bytes, SMALL);
        assert_int_equal(wal_segment_header_parse(bytes, n_bytes, &header), 0);
        ret[n++] = 0;
        for (at = WAL_HEADER_BYTES;
             wal_record_parse(header.salt, bytes + at, n_bytes - at, &record);
             at += wal_record_size(record.n)) {
                assert_true(n + 1 < n_max);
                ret[n++] = at;
        }
        ret[n] = at;
        free(bytes);
        return n;
}

static void assert_flip_is_found(struct fixture *f, unsigned number, size_t at, size_t begin)
{
        char path[SCRATCH_PATH_SIZE], name[32];
        uint8_t *bytes = must_alloc(SMALL, 1);
        uint8_t flipped;

        path_of_segment(f->copy, number, path);
        (void)read_bytes(path, bytes, SMALL);
        flipped = bytes[at] ^ (uint8_t)(1 << at % 8);
        patch(path, at, &flipped, 1);
        /* The version field may also be taken for one of a newer version. */
        if (open_in(f, f->copy, SMALL) != -EPROTONOSUPPORT) {
                (void)snprintf(name, sizeof(name), "wal-%016x", number);
                assert_string_equal(f->complaint.file, name);
                assert_int_equal(f->complaint.offset, begin);
                assert_non_null(strstr(f->complaint.text, f->copy));
        }
        assert_null(f->w);
        patch(path, at, &bytes[at], 1);
        free(bytes);
}

/* Every byte of a record, but not of all the zeros in a padding or in a segment's header. */
static size_t stride(size_t at)
{
        return at < 128 ? 1 : 61;
}

static void damage_in_the_middle_is_refused_with_its_place(void **state)
{
        struct fixture *f = *state;
        size_t records[64], n;

        assert_int_equal(reopen(f), 0);
        assert_int_equal(put_hard_state(f, 1, 1), 0);
        assert_int_equal(put_entry(f, 1, 1, "one"), 0);
        assert_int_equal(put_entry(f, 2, 1, "two"), 0);
        assert_int_equal(put_snapshot(f, 1, 1, false), 0);
        assert_int_equal(put_entry(f, 3, 1, "three"), 0);
        assert_int_equal(reopen(f), 0);
        assert_int_equal(put_snapshot(f, 2, 1, false), 0);
        assert_int_equal(put_entry(f, 4, 1, "four"), 0);
        assert_int_equal(wal_mark(f->w), 0);
        wal_close(TAKE_PTR(f->w));
        fresh_copy(f);

        /* In the first segment the last write is void: the second one repeats it. */
        n = list_records(f->dir, 1, records, 64);
        assert_true(n > 9);
        for (size_t i = 0; i < n - 4; i++)
                for (size_t at = records[i]; at < records[i + 1]; at += stride(at - records[i]))
                        assert_flip_is_found(f, 1, at, records[i]);
        /* In the last one the mark itself may be torn. */
        n = list_records(f->dir, 2, records, 64);
        assert_true(n > 9);
        for (size_t i = 0; i < n - 3; i++)
                for (size_t at = records[i]; at < records[i + 1]; at += stride(at - records[i]))
                        assert_flip_is_found(f, 2, at, records[i]);
        assert_int_equal(open_in(f, f->copy, SMALL), 0);
        assert_int_equal(f->recovered.n_entries, 2);
        assert_int_equal(f->recovered.n_tail, 2);
}

static void records_of_an_earlier_use_never_verify(void **state)
{
        struct fixture *f = *state;
        char path[SCRATCH_PATH_SIZE];
        uint8_t *old = must_alloc(SMALL, 1);
        size_t n_old, end;

        assert_int_equal(reopen(f), 0);
        for (unsigned i = 1; i < 20; i++)
                assert_int_equal(put_entry(f, i, 1, "old"), 0);
        path_of_segment(f->dir, 1, path);
        n_old = read_bytes(path, old, SMALL);

        /* Another log whose segment reuses the blocks: the next record would fit perfectly. */
        assert_int_equal(open_in(f, f->copy, SMALL), 0);
        for (unsigned i = 1; i < 4; i++)
                assert_int_equal(put_entry(f, i, 1, "new"), 0);
        wal_close(TAKE_PTR(f->w));
        path_of_segment(f->copy, 1, path);
        end = used_bytes(path);
        patch(path, end, old + end, n_old - end);
        assert_int_equal(open_in(f, f->copy, SMALL), 0);
        assert_int_equal(f->recovered.n_entries, 3);
        assert_entry(f, 2, 1, "new");
        free(old);
}

/* Batches of many lengths into the log in @dir, over several segments. */
static void write_all_lengths(struct fixture *f, const char *dir)
{
        char *text = must_alloc(300 << 10, 1);
        uint64_t index = 0;
        size_t n;

        memset(text, 'x', (300 << 10) - 1);
        assert_int_equal(open_in(f, dir, SMALL), 0);
        /* Around a block's end eight by eight, so that also no room is left for a padding. */
        for (n = 3700; n <= 4200; n += 8) {
                text[n] = '\0';
                assert_int_equal(put_entry(f, ++index, 1, text), 0);
                text[n] = 'x';
                if (index % 7 == 0)
                        assert_int_equal(wal_mark(f->w), 0);
                if (index % 5 == 0)
                        (void)wal_prepare(f->w);
        }
        assert_int_equal(put_entry(f, ++index, 1, text), 0);
        assert_int_equal(put_entry(f, ++index, 1, "behind a large one"), 0);
        assert_true(machine.n_direct + machine.n_cached > 60);
        assert_int_equal(open_in(f, dir, SMALL), 0);
        assert_int_equal(f->recovered.n_entries, index);
        free(text);
}

/* pwrite() looks after it, in all tests; here in both ways to write. */
static void block_of_what_was_acknowledged_is_never_written_again(void **state)
{
        struct fixture *f = *state;

        machine.refuses_direct = true;
        write_all_lengths(f, f->dir);
        assert_int_equal(machine.n_direct, 0);
        machine_starts();
        (void)snprintf(f->on_disk, sizeof(f->on_disk), "/var/tmp/failoverd-test-XXXXXX");
        assert_non_null(mkdtemp(f->on_disk)); /* f->dir may be where nothing is written directly */
        write_all_lengths(f, f->on_disk);
}

static void failed_sync_poisons_the_log(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(reopen(f), 0);
        assert_int_equal(put_entry(f, 1, 1, "one"), 0);
        machine.is_recording = true;
        machine.n_calls_left = 2; /* the write, and then its sync */
        assert_int_equal(put_entry(f, 2, 1, "two"), -EIO);
        machine.is_crashed = false;
        machine.is_recording = false;
        /* The disk works again, but nobody knows what it holds. */
        assert_int_equal(put_entry(f, 2, 1, "two"), -EIO);
        assert_int_equal(put_hard_state(f, 2, 2), -EIO);
        assert_int_equal(wal_mark(f->w), -EIO);
        assert_int_equal(wal_prepare(f->w), -EIO);
        assert_int_equal(reopen(f), 0);
        assert_true(f->recovered.n_entries >= 1);
        assert_entry(f, 0, 1, "one");
}

static void failed_preparation_poisons_the_log(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(open_in(f, f->dir, WAL_SEGMENT_BYTES_MIN), 0);
        assert_false(wal_is_poisoned(f->w));
        machine.is_recording = true;
        machine.n_calls_left = 2; /* zeros, and then their sync */
        assert_int_equal(wal_prepare(f->w), -EIO);
        machine.is_crashed = false;
        machine.is_recording = false;
        assert_true(wal_is_poisoned(f->w));
        assert_int_equal(put_entry(f, 1, 1, "one"), -EIO);
        assert_int_equal(wal_prepare(f->w), -EIO);
}

static void what_only_the_page_cache_shows_is_written_anew(void **state)
{
        struct fixture *f = *state;
        uint8_t *bytes = must_alloc(SMALL, 1);
        char path[SCRATCH_PATH_SIZE];
        size_t n;

        assert_int_equal(reopen(f), 0);
        assert_int_equal(put_entry(f, 1, 1, "one"), 0);
        assert_int_equal(put_entry(f, 2, 1, "two"), 0);
        path_of_segment(f->dir, 1, path);
        n = read_bytes(path, bytes, used_bytes(path));
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->recovered.n_entries, 2);
        wal_close(TAKE_PTR(f->w));
        /* The place of the last batch in the first segment no longer counts, though it were there. */
        memcpy(bytes + n - 60, "rotten", 6);
        patch(path, 0, bytes, n);
        free(bytes);
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->recovered.n_entries, 2);
        assert_entry(f, 1, 1, "two");
}

static int fill_disk(struct fixture *f, uint64_t *index)
{
        int r = 0;

        while (r == 0 && *index < 10000) {
                r = put_entry(f, *index + 1, 1, "fill the disk, entry by entry");
                *index += r == 0;
        }
        return r;
}

static void full_disk_is_an_error_that_passes(void **state)
{
        struct fixture *f = *state;
        uint64_t index = 0, n_before;
        int r = 0, again = 0, later = -1;

        if (mount("tmpfs", f->dir, "tmpfs", 0, "size=2m") < 0)
                skip();
        r = reopen(f);
        if (r == 0)
                r = fill_disk(f, &index);
        n_before = index;
        again = put_entry(f, index + 1, 1, "still no room");
        (void)mount("tmpfs", f->dir, "tmpfs", MS_REMOUNT, "size=8m");
        if (again == -ENOSPC)
                later = put_entry(f, ++index, 1, "now there is");
        wal_close(TAKE_PTR(f->w));
        if (later == 0)
                later = reopen(f);
        wal_close(TAKE_PTR(f->w));
        (void)umount2(f->dir, MNT_DETACH);
        assert_int_equal(r, -ENOSPC);
        assert_true(n_before > 100);
        assert_int_equal(again, -ENOSPC);
        assert_int_equal(later, 0);
        assert_int_equal(f->recovered.n_entries, index);
}

/* Shared with the process that writes. */
struct witness {
        atomic_uint_least64_t n_acknowledged, n_written;
        atomic_uint_least64_t term; /* acknowledged */
};

/* Writes without an end; groups of entries, snapshots, and all the work of idle times. */
static void write_until_killed(struct fixture *f, struct witness *shared)
{
        struct wal_entry entries[5];
        char text[5][32];

        if (reopen(f) < 0)
                _exit(1);
        for (uint64_t round = 1;; round++) {
                struct wal_batch batch = { .entries = entries, .n_entries = 1 + round % 5 };
                uint64_t n = shared->n_acknowledged;

                shared->n_written = n + batch.n_entries;
                for (size_t i = 0; i < batch.n_entries; i++) {
                        int length = snprintf(text[i], sizeof(text[i]), "entry %llu",
                                              (unsigned long long)(n + i + 1));

                        entries[i] = (struct wal_entry){ .index = n + i + 1,
                                                         .term = 1,
                                                         .type = 7,
                                                         .bytes = text[i],
                                                         .n = (size_t)length };
                }
                batch.has_hard_state = round % 7 == 0;
                batch.term = shared->term + 1;
                if (round % 40 == 0 && n > 0) {
                        batch.snapshot_index = n;
                        batch.snapshot_term = 1;
                }
                if (wal_write(f->w, &batch, 1) < 0)
                        _exit(2);
                shared->n_acknowledged = n + batch.n_entries;
                if (batch.has_hard_state)
                        shared->term = batch.term;
                (void)wal_prepare(f->w);
                if (round % 11 == 0)
                        (void)wal_mark(f->w);
        }
}

static bool has_written(void *userdata)
{
        struct witness *shared = userdata;

        return shared->n_acknowledged >= shared->n_written && shared->n_acknowledged % 64 > 32;
}

static void killed_writer_loses_nothing_acknowledged(void **state)
{
        struct fixture *f = *state;
        struct witness *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        char text[32];

        assert_true(shared != MAP_FAILED);
        for (unsigned life = 0; life < 30; life++) {
                uint64_t n, target = shared->n_acknowledged + 100;
                int status;
                pid_t pid = fork();

                assert_true(pid >= 0);
                if (pid == 0)
                        write_until_killed(f, shared);
                while (shared->n_acknowledged < target && waitpid(pid, &status, WNOHANG) == 0)
                        (void)deadline_wait(has_written, shared, 1);
                assert_int_equal(kill(pid, SIGKILL), 0);
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_true(WIFSIGNALED(status));
                assert_int_equal(reopen(f), 0);
                n = f->recovered.snapshot_index + f->recovered.n_entries;
                assert_true(n >= shared->n_acknowledged && n <= shared->n_written);
                assert_true(f->recovered.term >= shared->term);
                for (size_t i = 0; i < f->recovered.n_entries; i++) {
                        const struct wal_entry *e = &f->recovered.entries[i];

                        (void)snprintf(text, sizeof(text), "entry %llu",
                                       (unsigned long long)e->index);
                        assert_int_equal(e->n, strlen(text));
                        assert_memory_equal(e->bytes, text, e->n);
                }
                shared->n_acknowledged = n;
                shared->term = f->recovered.term;
                wal_close(TAKE_PTR(f->w));
        }
        (void)munmap(shared, sizeof(*shared));
}

static void full_disk_is_noticed_while_there_is_still_room(void **state)
{
        struct fixture *f = *state;
        int r = 0, written = -1;

        if (mount("tmpfs", f->dir, "tmpfs", 0, "size=64k") < 0)
                skip();
        if (open_in(f, f->dir, 40 << 10) == 0) {
                while ((r = wal_prepare(f->w)) > 0)
                        ;
                written = put_entry(f, 1, 1, "goes on");
        }
        wal_close(TAKE_PTR(f->w));
        (void)umount2(f->dir, MNT_DETACH);
        assert_int_equal(r, -ENOSPC);
        assert_int_equal(written, 0);
}

/* Opens the log in f->dir, where all but @n_free bytes are taken. */
static int open_on_full_disk(struct fixture *f, size_t n_free)
{
        char path[SCRATCH_PATH_SIZE];
        static const uint8_t bytes[4096];
        int fd, r;

        path_in(f->dir, "filler", path);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        while (write(fd, bytes, sizeof(bytes)) > 0)
                ;
        r = ftruncate(fd, lseek(fd, 0, SEEK_END) - (off_t)n_free);
        assert_int_equal(close(fd), 0);
        assert_int_equal(r, 0);
        r = open_in(f, f->dir, 4 << 20);
        assert_int_equal(unlink(path), 0);
        return r;
}

/* Without the next segment: a crash came before it was laid out. */
static void full_disk_lets_a_member_start_on_a_shorter_segment(void **state)
{
        struct fixture *f = *state;
        int opened, written = -1, full = -1, again = -1;

        if (mount("tmpfs", f->dir, "tmpfs", 0, "size=16m") < 0)
                skip();
        opened = open_in(f, f->dir, 4 << 20);
        if (opened == 0)
                opened = put_entry(f, 1, 1, "before");
        wal_close(TAKE_PTR(f->w));
        if (opened == 0)
                opened = open_on_full_disk(f, 0);
        if (opened == 0)
                written = put_entry(f, 2, 1, "goes on");
        wal_close(TAKE_PTR(f->w));
        /* The short one gives less back: in the end there is nothing left. */
        for (int i = 0; i < 100 && (full = open_on_full_disk(f, 0)) == 0; i++)
                wal_close(TAKE_PTR(f->w));
        again = open_in(f, f->dir, 4 << 20);
        wal_close(TAKE_PTR(f->w));
        (void)umount2(f->dir, MNT_DETACH);
        assert_int_equal(opened, 0);
        assert_int_equal(written, 0);
        assert_int_equal(full, -ENOSPC);
        assert_int_equal(again, 0);
        assert_int_equal(f->recovered.n_entries, 2);
        assert_entry(f, 1, 1, "goes on");
}

/* What the log should hold. */
struct model {
        uint64_t term;
        node_id vote;
        size_t n; /* the last index */
        size_t snapshot, spare; /* their indexes */
        struct {
                uint64_t term;
                uint64_t seed;
        } entries[2048];
};

enum {
        MODEL_BYTES = 700,
        MODEL_BATCHES = 4,
        MODEL_ENTRIES = 4,
};

static size_t model_bytes(uint64_t seed, uint8_t *ret)
{
        struct random r = { seed };
        size_t n = (size_t)random_below(&r, 3) ? random_below(&r, 40)
                                               : random_below(&r, MODEL_BYTES);

        for (size_t i = 0; i < n; i++)
                ret[i] = (uint8_t)random_next(&r);
        return n;
}

static bool model_equals(const struct model *m, const struct wal_recovered *found)
{
        uint8_t bytes[MODEL_BYTES];

        if (m->term != found->term || m->vote != found->vote ||
            m->snapshot != found->snapshot_index || m->spare != found->spare_index ||
            m->n - m->snapshot != found->n_entries ||
            (m->spare > 0 && found->n_tail < m->snapshot - m->spare))
                return false;
        if (m->snapshot > 0 && m->entries[m->snapshot - 1].term != found->snapshot_term)
                return false;
        for (size_t i = m->snapshot - found->n_tail; i < m->n; i++) {
                const struct wal_entry *e = &found->tail[i + found->n_tail - m->snapshot];
                size_t n = model_bytes(m->entries[i].seed, bytes);

                if (e->index != i + 1 || e->term != m->entries[i].term || e->n != n ||
                    memcmp(e->bytes, bytes, n) != 0)
                        return false;
        }
        return true;
}

/* The memory of a group of batches. */
struct group {
        struct wal_batch batches[MODEL_BATCHES];
        struct wal_entry entries[MODEL_BATCHES][MODEL_ENTRIES];
        uint8_t bytes[MODEL_BATCHES][MODEL_ENTRIES][MODEL_BYTES];
        size_t n;
};

/* Now and then a snapshot: of what is there, or one that came from elsewhere. */
static void model_snapshot(struct model *m, struct random *r, struct wal_batch *batch)
{
        batch->snapshot_resets = random_below(r, 8) == 0;
        if (batch->snapshot_resets) {
                m->spare = 0;
                m->snapshot = m->n + 1 + random_below(r, 3);
                m->n = m->snapshot;
                m->term++;
                batch->has_hard_state = true;
                batch->term = m->term;
                batch->vote = m->vote = 0;
                m->entries[m->n - 1].term = m->term;
        } else if (m->n > m->snapshot) {
                m->spare = m->snapshot;
                m->snapshot += 1 + random_below(r, (uint32_t)(m->n - m->snapshot));
        } else {
                return;
        }
        batch->snapshot_index = m->snapshot;
        batch->snapshot_term = m->entries[m->snapshot - 1].term;
}

static void model_step(struct model *m, struct random *r, struct group *g)
{
        g->n = 1 + random_below(r, MODEL_BATCHES);
        for (size_t b = 0; b < g->n; b++) {
                struct wal_batch *batch = &g->batches[b];

                *batch = (struct wal_batch){ .entries = g->entries[b] };
                if (random_below(r, 3) == 0) {
                        m->term += 1 + random_below(r, 2);
                        m->vote = (node_id)random_below(r, 4);
                        batch->has_hard_state = true;
                        batch->term = m->term;
                        batch->vote = m->vote;
                }
                if (random_below(r, 10) == 0)
                        model_snapshot(m, r, batch);
                if (m->n > m->snapshot && random_below(r, 8) == 0) {
                        size_t n = m->n - m->snapshot;

                        m->n -= random_below(r, n < 5 ? (uint32_t)n : 5);
                        batch->truncate_from = m->n + 1;
                }
                batch->n_entries = random_below(r, MODEL_ENTRIES + 1);
                for (size_t i = 0; i < batch->n_entries; i++) {
                        uint64_t seed = random_next(r);
                        struct wal_entry *e = &g->entries[b][i];

                        *e = (struct wal_entry){ .index = m->n + 1, .term = m->term + 1 };
                        e->bytes = g->bytes[b][i];
                        e->n = model_bytes(seed, g->bytes[b][i]);
                        m->entries[m->n].term = e->term;
                        m->entries[m->n].seed = seed;
                        m->n++;
                }
        }
}

/* Lives of one log: each ends with a crash at some call, and begins with what that left. */
static void live(struct fixture *f, uint64_t seed, unsigned n_lives)
{
        struct model *before = must_alloc(1, sizeof(*before)); /* acknowledged */
        struct model *after = must_alloc(1, sizeof(*after)); /* that, and one write in flight */
        struct group *group = must_alloc(1, sizeof(*group));
        struct random r = { seed };
        int error;

        for (unsigned life = 0; life < n_lives && after->n < 1500; life++) {
                machine_starts();
                machine.random = (struct random){ random_next(&r) };
                machine.is_recording = true;
                machine.n_calls_left = (long)random_below(&r, 40) + 1;
                error = open_in(f, f->dir, SMALLER);
                if (error < 0 && machine.is_crashed)
                        continue;
                if (error < 0)
                        print_error("seed %llu: %s\n", (unsigned long long)seed, f->complaint.text);
                assert_int_equal(error, 0);
                if (model_equals(after, &f->recovered))
                        *before = *after;
                assert_true(model_equals(before, &f->recovered));
                *after = *before;
                while (error == 0) {
                        model_step(after, &r, group);
                        error = wal_write(f->w, group->batches, group->n);
                        if (error == 0)
                                *before = *after;
                        if (error == 0 && random_below(&r, 4) == 0)
                                error = wal_mark(f->w);
                        if (error == 0 && random_below(&r, 4) == 0)
                                (void)wal_prepare(f->w);
                        if (after->n >= 1500)
                                break;
                }
        }
        free(before);
        free(after);
        free(group);
}

static void nothing_acknowledged_is_lost_in_a_crash(void **state)
{
        const char *wanted = getenv("WAL_SEEDS");
        uint64_t n_seeds = wanted ? strtoull(wanted, NULL, 10) : 320;
        struct fixture *f = *state;

        for (uint64_t seed = 1; seed <= n_seeds; seed++) {
                live(f, seed, 25);
                machine_starts();
                wal_close(TAKE_PTR(f->w));
                scratch_remove(f->dir);
                assert_int_equal(mkdir(f->dir, 0700), 0);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(new_log_has_promised_nothing),
                TEST(what_was_written_is_recovered),
                TEST(several_batches_of_one_write_come_in_order),
                TEST(truncated_entries_stay_away),
                TEST(log_goes_on_over_many_segments),
                TEST(entries_follow_on_the_snapshot),
                TEST(spare_snapshot_takes_the_place_of_a_damaged_one),
                TEST(snapshot_from_elsewhere_replaces_the_log),
                TEST(segments_that_no_snapshot_needs_are_used_again),
                TEST(torn_write_into_a_recycled_segment_is_cut),
                TEST(log_of_a_joining_member_is_made),
                TEST(log_of_the_first_version_is_continued),
                TEST(log_of_the_second_version_is_continued),
                TEST(write_that_is_too_large_changes_nothing),
                TEST(second_process_is_refused),
                TEST(log_of_somebody_else_is_refused),
                TEST(log_of_a_newer_version_is_refused),
                TEST(missing_files_are_damage),
                TEST(creation_that_was_interrupted_begins_anew),
                TEST(unfinished_write_is_cut_at_every_byte),
                TEST(sectors_that_did_not_arrive_are_a_torn_tail),
                TEST(marked_write_is_never_cut),
                TEST(damage_in_the_middle_is_refused_with_its_place),
                TEST(records_of_an_earlier_use_never_verify),
                TEST(block_of_what_was_acknowledged_is_never_written_again),
                TEST(failed_sync_poisons_the_log),
                TEST(failed_preparation_poisons_the_log),
                TEST(what_only_the_page_cache_shows_is_written_anew),
                TEST(full_disk_is_an_error_that_passes),
                TEST(killed_writer_loses_nothing_acknowledged),
                TEST(full_disk_is_noticed_while_there_is_still_room),
                TEST(full_disk_lets_a_member_start_on_a_shorter_segment),
                TEST(nothing_acknowledged_is_lost_in_a_crash),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
