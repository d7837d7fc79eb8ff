/* The disk thread: what it says is done is on disk, in order, and an error is final. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/disk.h"
#include "daemon/wal-format.h"
#include "election/base/memory.h"
#include "tests/lib/deadline.h"
#include "tests/lib/scratch.h"

enum {
        WAIT_MSEC = 10000,
        SEGMENT_BYTES = 128 << 10, /* some thirty short batches */
};

/* The disk under the log. */
static struct {
        atomic_bool is_broken;
        atomic_bool is_stuck;
        atomic_uint n_syncs;
} machine;

static bool is_free(void *userdata)
{
        (void)userdata;
        return !machine.is_stuck;
}

int fdatasync(int fd)
{
        (void)deadline_wait(is_free, NULL, WAIT_MSEC);
        machine.n_syncs++;
        if (machine.is_broken) {
                errno = EIO;
                return -1;
        }
        return (int)syscall(SYS_fdatasync, fd);
}

struct fixture {
        char dir[SCRATCH_PATH_SIZE];
        struct disk *d;
        struct disk_progress progress; /* what it said last */
        uint64_t generation; /* which one is waited for */
};

static int start(struct fixture *f, struct wal_recovered *ret)
{
        struct wal_options options = { .identity = { .cluster_id = 1, .node = 1 },
                                       .segment_bytes = SEGMENT_BYTES };
        struct wal_complaint complaint;
        struct wal *w;
        int r;

        r = wal_open(f->dir, &options, &w, ret, &complaint);
        return r < 0 ? r : disk_start(w, &f->d);
}

static int setup(void **state)
{
        struct fixture *f = must_alloc(1, sizeof(*f));
        struct wal_recovered recovered;

        machine.is_broken = false;
        machine.is_stuck = false;
        machine.n_syncs = 0;
        *state = f;
        if (scratch_new(f->dir) < 0 || start(f, &recovered) < 0)
                return -1;
        wal_recovered_done(&recovered);
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        machine.is_stuck = false;
        disk_stop(f->d);
        scratch_remove(f->dir);
        free(f);
        return 0;
}

/* As the loop does it: sleeps on the descriptor, then asks. */
static bool has_come(void *userdata)
{
        struct pollfd done = { .events = POLLIN };
        struct fixture *f = userdata;

        done.fd = disk_fd(f->d);
        if (poll(&done, 1, 0) == 1)
                f->progress = disk_completed(f->d);
        return f->progress.generation >= f->generation || f->progress.error < 0;
}

static bool wait_for(struct fixture *f, uint64_t generation)
{
        f->generation = generation;
        return deadline_wait(has_come, f, WAIT_MSEC) && f->progress.generation >= generation;
}

static int submit(struct fixture *f, uint64_t index, const void *bytes, size_t n)
{
        struct wal_entry e = { .index = index, .term = 1, .bytes = bytes, .n = n };
        struct wal_batch batch = { .entries = &e, .n_entries = 1 };

        return disk_submit(f->d, index, &batch);
}

/* Stops, starts again, and finds @n_entries of which each says @text. */
static void assert_on_disk(struct fixture *f, size_t n_entries, const char *text)
{
        struct wal_recovered recovered;

        disk_stop(TAKE_PTR(f->d));
        assert_int_equal(start(f, &recovered), 0);
        assert_int_equal(recovered.n_entries, n_entries);
        for (size_t i = 0; i < n_entries; i++) {
                assert_int_equal(recovered.entries[i].n, strlen(text));
                assert_memory_equal(recovered.entries[i].bytes, text, strlen(text));
        }
        wal_recovered_done(&recovered);
}

static void completed_changes_are_on_disk(void **state)
{
        struct fixture *f = *state;
        char text[8];

        for (unsigned i = 1; i <= 500; i++) {
                memcpy(text, "borrowed", sizeof(text));
                assert_int_equal(submit(f, i, text, sizeof(text)), 0);
                memset(text, 'x', sizeof(text)); /* the caller's memory is the caller's again */
        }
        assert_true(wait_for(f, 500));
        assert_int_equal(f->progress.error, 0);
        assert_true(f->progress.n_syncs >= 1 && f->progress.n_syncs <= 500);
        assert_on_disk(f, 500, "borrowed");
}

static bool is_syncing(void *userdata)
{
        struct fixture *f = userdata;

        f->progress = disk_completed(f->d);
        return f->progress.n_syncs > 0;
}

static void changes_that_wait_share_one_sync(void **state)
{
        struct fixture *f = *state;
        uint64_t before;

        assert_int_equal(submit(f, 1, "x", 1), 0);
        assert_true(deadline_wait(is_syncing, f, WAIT_MSEC));
        machine.is_stuck = true;
        before = f->progress.n_syncs;
        for (unsigned i = 2; i <= 100; i++)
                assert_int_equal(submit(f, i, "x", 1), 0);
        machine.is_stuck = false;
        assert_true(wait_for(f, 100));
        /* The first of them may have gone alone, before the others were there. */
        assert_true(f->progress.n_syncs - before <= 2);
        assert_on_disk(f, 100, "x");
}

static void stop_writes_what_is_queued(void **state)
{
        struct fixture *f = *state;

        for (unsigned i = 1; i <= 50; i++)
                assert_int_equal(submit(f, i, "x", 1), 0);
        assert_on_disk(f, 50, "x");
}

static void queue_has_a_limit(void **state)
{
        static const uint8_t bytes[WAL_ENTRY_MAX];
        struct fixture *f = *state;
        unsigned i = 1;
        int r = 0;

        machine.is_stuck = true;
        while (r == 0 && i < 100)
                r = submit(f, i++, bytes, sizeof(bytes));
        machine.is_stuck = false;
        assert_int_equal(r, -ENOBUFS);
        assert_true(i >= DISK_QUEUE_BYTES_MAX / WAL_ENTRY_MAX);
}

static void change_that_no_write_can_hold_is_refused(void **state)
{
        static const uint8_t bytes[WAL_ENTRY_MAX];
        struct wal_entry entries[WAL_WRITE_MAX / WAL_ENTRY_MAX];
        struct wal_batch batch = { .entries = entries };
        struct fixture *f = *state;

        for (size_t i = 0; i < WAL_WRITE_MAX / WAL_ENTRY_MAX; i++)
                entries[batch.n_entries++] = (struct wal_entry){
                        .index = i + 1, .term = 1, .bytes = bytes, .n = sizeof(bytes)
                };
        assert_int_equal(disk_submit(f->d, 1, &batch), -EMSGSIZE);
        assert_int_equal(submit(f, 1, "x", 1), 0);
        assert_true(wait_for(f, 1));
}

static void failed_sync_is_told_and_is_final(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(submit(f, 1, "x", 1), 0);
        assert_true(wait_for(f, 1));
        machine.is_broken = true;
        assert_int_equal(submit(f, 2, "x", 1), 0);
        assert_false(wait_for(f, 2));
        assert_int_equal(f->progress.error, -EIO);
        assert_int_equal(f->progress.generation, 1);
        machine.is_broken = false;
        assert_int_equal(submit(f, 3, "x", 1), -EIO);
        assert_int_equal(disk_completed(f->d).generation, 1);
}

/* Whether the first segment ends with a batch that is a mark alone. */
static bool is_marked(void *userdata)
{
        struct fixture *f = userdata;
        char path[SCRATCH_PATH_SIZE + 32];
        uint8_t bytes[SEGMENT_BYTES];
        struct wal_segment_header header;
        struct wal_record record;
        unsigned type[3] = { 0 };
        FILE *file;
        size_t n;

        (void)snprintf(path, sizeof(path), "%s/wal-%016x", f->dir, 1);
        file = fopen(path, "re");
        assert_non_null(file);
        n = fread(bytes, 1, sizeof(bytes), file);
        (void)fclose(file);
        assert_int_equal(wal_segment_header_parse(bytes, n, &header), 0);
        for (size_t at = WAL_HEADER_BYTES;
             wal_record_parse(header.salt, bytes + at, n - at, &record);
             at += wal_record_size(record.n)) {
                type[0] = type[1];
                type[1] = type[2];
                type[2] = record.type;
        }
        return type[0] == WAL_DURABLE_MARK && type[1] == WAL_PADDING && type[2] == WAL_BATCH_END;
}

static void idle_disk_marks_its_last_write(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(submit(f, 1, "x", 1), 0);
        assert_true(wait_for(f, 1));
        assert_false(is_marked(f));
        assert_true(deadline_wait(is_marked, f, WAIT_MSEC));
        assert_on_disk(f, 1, "x");
}

static bool has_no_room(void *userdata)
{
        struct fixture *f = userdata;

        f->progress = disk_completed(f->d);
        return f->progress.space_error == -ENOSPC;
}

static bool has_room_again(void *userdata)
{
        struct fixture *f = userdata;

        f->progress = disk_completed(f->d);
        return f->progress.space_error == 0;
}

/* Submits until the disk is full and the thread can write no more; returns the last generation. */
static unsigned fill_disk(struct fixture *f)
{
        static const uint8_t bytes[1000];
        unsigned i = 0;

        do {
                i++;
                if (submit(f, i, bytes, sizeof(bytes)) < 0)
                        return 0;
                f->generation = i;
        } while (deadline_wait(has_come, f, 300) && i < 1000);
        return i;
}

static void full_disk_is_waited_out(void **state)
{
        struct fixture *f = *state;
        struct wal_recovered recovered;
        bool told = false, written = false, room = false;
        int error = -1, r = -1;
        unsigned n = 0;

        disk_stop(TAKE_PTR(f->d));
        if (mount("tmpfs", f->dir, "tmpfs", 0, "size=512k") < 0)
                skip();
        if (start(f, &recovered) == 0) {
                wal_recovered_done(&recovered);
                n = fill_disk(f);
                told = deadline_wait(has_no_room, f, WAIT_MSEC);
                error = f->progress.error;
                (void)mount("tmpfs", f->dir, "tmpfs", MS_REMOUNT, "size=4m");
                written = wait_for(f, n);
                room = deadline_wait(has_room_again, f, WAIT_MSEC);
                disk_stop(TAKE_PTR(f->d));
                r = start(f, &recovered);
        }
        disk_stop(TAKE_PTR(f->d));
        (void)umount2(f->dir, MNT_DETACH);
        assert_true(n > 10 && told && written && room);
        assert_int_equal(error, 0);
        assert_int_equal(r, 0);
        assert_int_equal(recovered.n_entries, n);
        wal_recovered_done(&recovered);
}

static void full_disk_does_not_hinder_the_end(void **state)
{
        struct fixture *f = *state;
        struct wal_recovered recovered;
        unsigned n = 0;

        disk_stop(TAKE_PTR(f->d));
        if (mount("tmpfs", f->dir, "tmpfs", 0, "size=512k") < 0)
                skip();
        if (start(f, &recovered) == 0) {
                wal_recovered_done(&recovered);
                n = fill_disk(f);
                disk_stop(TAKE_PTR(f->d));
        }
        (void)umount2(f->dir, MNT_DETACH);
        assert_true(n > 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(completed_changes_are_on_disk),
                TEST(changes_that_wait_share_one_sync),
                TEST(stop_writes_what_is_queued),
                TEST(queue_has_a_limit),
                TEST(change_that_no_write_can_hold_is_refused),
                TEST(failed_sync_is_told_and_is_final),
                TEST(idle_disk_marks_its_last_write),
                TEST(full_disk_is_waited_out),
                TEST(full_disk_does_not_hinder_the_end),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
