/*
 * Snapshot files: what is under its final name is whole, the loop never waits, and a child that
 * takes one is gone when it must be.
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
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/snapshots-file.h"
#include "election/base/crc32c.h"
#include "election/base/memory.h"
#include "tests/lib/deadline.h"
#include "tests/lib/scratch.h"

static const uint64_t CLUSTER = 0x5678deadbeef;

enum {
        WAIT_MSEC = 10000,
        CONTENT_BYTES = 700001, /* several chunks and a bit */
};

/* What a snapshot of the tests holds: bytes and their checksum. */
struct content {
        uint8_t bytes[CONTENT_BYTES];
};

/* Shared with children. */
struct shared {
        atomic_int n_encoding;
        atomic_int pid; /* of who encodes */
        atomic_bool is_stuck; /* it must not come to its end */
        int error; /* encoding fails in the middle */
        atomic_int n_descriptors; /* open ones of who encodes */
};

struct fixture {
        char dir[SCRATCH_PATH_SIZE];
        struct event_base *base;
        struct snapshots *s;
        struct content *content;
        struct shared *shared;

        /* What a reader got. */
        uint8_t *got;
        size_t n_got;

        /* The last answer. */
        unsigned n_answers;
        int r;
        struct snapshot_id id;
        uint64_t n_total;
};

static void fill(struct content *c, uint8_t seed)
{
        uint32_t crc;

        for (size_t i = 0; i < CONTENT_BYTES; i++)
                c->bytes[i] = (uint8_t)(i * 31 + i / 251 + seed);
        crc = crc32c(0, c->bytes, CONTENT_BYTES - sizeof(crc));
        memcpy(c->bytes + CONTENT_BYTES - sizeof(crc), &crc, sizeof(crc));
}

static int count_descriptors(void)
{
        int n = 0;

        for (int fd = 0; fd < 256; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

static int encode(void *userdata, snapshots_sink *sink, void *sink_userdata)
{
        struct fixture *f = userdata;
        size_t half = CONTENT_BYTES / 2;
        int r;

        f->shared->n_descriptors = count_descriptors();
        f->shared->pid = getpid();
        f->shared->n_encoding++;
        r = sink(sink_userdata, f->content->bytes, half);
        while (f->shared->is_stuck)
                (void)pause();
        if (r == 0)
                r = f->shared->error;
        return r < 0 ? r : sink(sink_userdata, f->content->bytes + half, CONTENT_BYTES - half);
}

static int reader_begin(void *userdata, struct snapshot_id id)
{
        struct fixture *f = userdata;

        f->n_got = 0;
        return id.index > 0 ? 0 : -EINVAL;
}

static int reader_feed(void *userdata, const uint8_t *bytes, size_t n)
{
        struct fixture *f = userdata;

        if (f->n_got + n > CONTENT_BYTES || n > SNAPSHOTS_CHUNK_BYTES)
                return -EBADMSG;
        memcpy(f->got + f->n_got, bytes, n);
        f->n_got += n;
        return 0;
}

static int reader_end(void *userdata)
{
        struct fixture *f = userdata;
        uint32_t crc;

        if (f->n_got != CONTENT_BYTES)
                return -EBADMSG;
        memcpy(&crc, f->got + CONTENT_BYTES - sizeof(crc), sizeof(crc));
        return crc == crc32c(0, f->got, CONTENT_BYTES - sizeof(crc)) ? 0 : -EBADMSG;
}

static struct snapshots_reader reader_of_fixture(struct fixture *f)
{
        return (struct snapshots_reader){ reader_begin, reader_feed, reader_end, f };
}

static void on_done(void *userdata, struct snapshot_id id, int r)
{
        struct fixture *f = userdata;

        f->n_answers++;
        f->id = id;
        f->r = r;
}

static void on_chunk(void *userdata, struct snapshot_id id, uint64_t offset, uint64_t n_total,
                     const uint8_t *bytes, size_t n, int r)
{
        struct fixture *f = userdata;

        on_done(userdata, id, r);
        f->n_total = n_total;
        if (r == 0) {
                assert_true(offset + n <= CONTENT_BYTES);
                memcpy(f->got + offset, bytes, n);
                f->n_got = offset + n;
        }
}

static void start(struct fixture *f, struct snapshot_id loaded)
{
        snapshots_free(f->s);
        f->s = NULL;
        assert_int_equal(snapshots_new(f->base, f->dir, loaded, &f->s), 0);
}

static int setup(void **state)
{
        struct fixture *f = must_alloc(1, sizeof(*f));

        *state = f;
        f->content = must_alloc(1, sizeof(*f->content));
        f->got = must_alloc(CONTENT_BYTES, 1);
        fill(f->content, 1);
        f->shared = mmap(NULL, sizeof(*f->shared), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        f->base = event_base_new();
        if (f->shared == MAP_FAILED || !f->base || scratch_new(f->dir) < 0)
                return -1;
        start(f, (struct snapshot_id){ 0 });
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        snapshots_free(f->s);
        event_base_free(f->base);
        scratch_remove(f->dir);
        (void)munmap(f->shared, sizeof(*f->shared));
        free(f->content);
        free(f->got);
        free(f);
        return 0;
}

static bool was_answered(void *userdata)
{
        struct fixture *f = userdata;

        (void)event_base_loop(f->base, EVLOOP_NONBLOCK);
        return f->n_answers > 0;
}

static int wait_for_answer(struct fixture *f)
{
        assert_true(deadline_wait(was_answered, f, WAIT_MSEC));
        assert_int_equal(f->n_answers, 1);
        f->n_answers = 0;
        return f->r;
}

static bool have_pidfd(void)
{
        int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

        if (fd >= 0)
                (void)close(fd);
        return fd >= 0;
}

static int take_with(struct fixture *f, struct snapshot_id id, usec_t deadline)
{
        struct snapshots_take take = { .id = id,
                                       .encode = encode,
                                       .encode_userdata = f,
                                       .verify = reader_of_fixture(f),
                                       .done = on_done,
                                       .done_userdata = f,
                                       .deadline = deadline };

        return snapshots_take(f->s, &take);
}

static int take(struct fixture *f, struct snapshot_id id)
{
        assert_int_equal(take_with(f, id, 0), 0);
        return wait_for_answer(f);
}

static void path_in(const struct fixture *f, const char *name, char *ret)
{
        int n = snprintf(ret, SCRATCH_PATH_SIZE, "%s/%s", f->dir, name);

        assert_true(n > 0 && n < SCRATCH_PATH_SIZE);
}

static bool exists(const struct fixture *f, const char *name)
{
        char path[SCRATCH_PATH_SIZE];

        path_in(f, name, path);
        return access(path, F_OK) == 0;
}

static bool has(const struct fixture *f, struct snapshot_id id)
{
        char name[SNAPSHOT_NAME_SIZE];

        snapshot_name(id, name);
        return exists(f, name);
}

static void flip(const struct fixture *f, struct snapshot_id id, off_t offset)
{
        char name[SNAPSHOT_NAME_SIZE], path[SCRATCH_PATH_SIZE];
        uint8_t byte;
        int fd;

        snapshot_name(id, name);
        path_in(f, name, path);
        fd = open(path, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(pread(fd, &byte, 1, offset), 1);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
        (void)close(fd);
}

static int load(struct fixture *f, const struct wal_recovered *recovered, struct snapshot_id *ret,
                struct wal_complaint *ret_complaint)
{
        struct snapshots_reader reader = reader_of_fixture(f);

        memset(f->got, 0, CONTENT_BYTES);
        return snapshots_load(f->dir, recovered, &reader, ret, ret_complaint);
}

static const struct snapshot_id first = { 10, 2 }, second = { 20, 3 }, third = { 30, 3 };

static void snapshot_that_was_taken_is_loaded(void **state)
{
        struct wal_recovered recovered = { .snapshot_index = 10, .snapshot_term = 2 };
        struct wal_complaint complaint;
        struct fixture *f = *state;
        struct snapshot_id id;

        assert_int_equal(take(f, first), 0);
        assert_int_equal(f->id.index, 10);
        assert_false(snapshots_is_taking(f->s));
        assert_int_not_equal(f->shared->pid, getpid());
        assert_int_equal(load(f, &recovered, &id, &complaint), 0);
        assert_int_equal(id.index, 10);
        assert_memory_equal(f->got, f->content->bytes, CONTENT_BYTES);
        assert_false(exists(f, SNAPSHOT_TAKEN_NAME));
}

static void log_without_a_snapshot_needs_no_file(void **state)
{
        struct wal_recovered recovered = { 0 };
        struct wal_complaint complaint;
        struct fixture *f = *state;
        struct snapshot_id id;

        assert_int_equal(load(f, &recovered, &id, &complaint), 0);
        assert_int_equal(id.index, 0);
        assert_int_equal(f->n_got, 0);
}

static bool is_encoding(void *userdata)
{
        struct fixture *f = userdata;

        return f->shared->n_encoding > 0;
}

static void snapshot_shows_the_moment_of_the_fork(void **state)
{
        struct wal_recovered recovered = { .snapshot_index = 10, .snapshot_term = 2 };
        struct wal_complaint complaint;
        struct fixture *f = *state;
        struct snapshot_id id;
        static struct content now;

        now = *f->content;
        assert_int_equal(take_with(f, first, 0), 0);
        fill(f->content, 99);
        assert_int_equal(wait_for_answer(f), 0);
        assert_int_equal(load(f, &recovered, &id, &complaint), 0);
        assert_memory_equal(f->got, now.bytes, CONTENT_BYTES);
}

static void child_that_hangs_is_ended_and_leaves_nothing(void **state)
{
        struct fixture *f = *state;

        f->shared->is_stuck = true;
        assert_int_equal(take_with(f, first, 200 * USEC_PER_MSEC), 0);
        assert_true(snapshots_is_taking(f->s));
        assert_int_equal(take_with(f, second, 0), -EBUSY);
        assert_int_equal(wait_for_answer(f), -ETIMEDOUT);
        assert_false(has(f, first));
        assert_false(exists(f, SNAPSHOT_TAKEN_NAME));
        f->shared->is_stuck = false;
        assert_int_equal(take(f, second), 0);
        assert_true(has(f, second));
        assert_false(exists(f, SNAPSHOT_TAKEN_NAME));
}

static void failure_to_encode_is_told_and_leaves_nothing(void **state)
{
        struct fixture *f = *state;

        f->shared->error = -EOVERFLOW;
        assert_int_equal(take(f, first), -EOVERFLOW);
        assert_false(has(f, first));
        assert_false(exists(f, SNAPSHOT_TAKEN_NAME));
}

static void snapshot_that_does_not_verify_gets_no_name(void **state)
{
        struct fixture *f = *state;

        f->content->bytes[5]++;
        assert_int_equal(take(f, first), -EBADMSG);
        assert_false(has(f, first));
}

static void child_keeps_no_descriptor_of_ours(void **state)
{
        struct fixture *f = *state;

        assert_true(count_descriptors() > 6);
        assert_int_equal(take(f, first), 0);
        /* The standard ones, the directory, and the file that it writes. */
        assert_true(f->shared->n_descriptors <= 5);
}

/* A process of its own that opens the log, begins to take a snapshot that hangs, and is killed. */
static pid_t start_taker(struct fixture *f)
{
        struct wal_options options = { .identity = { .cluster_id = CLUSTER, .node = 1 } };
        struct wal_complaint complaint;
        struct wal_recovered recovered;
        struct snapshots *s;
        struct wal *w;
        pid_t pid = fork();

        if (pid != 0)
                return pid;
        if (wal_open(f->dir, &options, &w, &recovered, &complaint) < 0 ||
            snapshots_new(f->base, f->dir, (struct snapshot_id){ 0 }, &s) < 0)
                _exit(1);
        f->s = s;
        if (take_with(f, first, 0) < 0)
                _exit(1);
        for (;;)
                (void)pause();
}

static void child_dies_with_the_engine_and_frees_the_log(void **state)
{
        struct wal_options options = { .identity = { .cluster_id = CLUSTER, .node = 1 } };
        struct wal_complaint complaint;
        struct wal_recovered recovered;
        struct fixture *f = *state;
        struct wal *w;
        int status;
        pid_t pid;

        snapshots_free(TAKE_PTR(f->s));
        assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
        f->shared->is_stuck = true;
        pid = start_taker(f);
        assert_true(pid > 0);
        assert_true(deadline_wait(is_encoding, f, WAIT_MSEC));
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        /* The lock is free at once: the child does not hold it. */
        assert_int_equal(wal_open(f->dir, &options, &w, &recovered, &complaint), 0);
        wal_recovered_done(&recovered);
        wal_close(w);
        /* And the child ends: it becomes ours, and its end is seen. */
        assert_int_equal(waitpid(f->shared->pid, &status, 0), f->shared->pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_true(exists(f, SNAPSHOT_TAKEN_NAME));
        start(f, (struct snapshot_id){ 0 });
        assert_false(exists(f, SNAPSHOT_TAKEN_NAME));
}

static void damaged_snapshot_is_refused_with_its_place(void **state)
{
        struct wal_recovered recovered = { .snapshot_index = 10, .snapshot_term = 2 };
        struct wal_complaint complaint;
        char name[SNAPSHOT_NAME_SIZE], path[SCRATCH_PATH_SIZE];
        struct fixture *f = *state;
        struct snapshot_id id;

        snapshot_name(first, name);
        assert_int_equal(load(f, &recovered, &id, &complaint), -EBADMSG);
        assert_non_null(strstr(complaint.text, "is missing"));
        assert_int_equal(take(f, first), 0);
        for (off_t at = 0; at < CONTENT_BYTES; at += 99991) {
                flip(f, first, at);
                assert_int_equal(load(f, &recovered, &id, &complaint), -EBADMSG);
                assert_string_equal(complaint.file, name);
                assert_non_null(strstr(complaint.text, f->dir));
                assert_non_null(strstr(complaint.text, "join again"));
                flip(f, first, at);
        }
        path_in(f, name, path);
        for (off_t n = 0; n < CONTENT_BYTES; n += 99991) {
                assert_int_equal(take(f, first), 0);
                assert_int_equal(truncate(path, n), 0);
                assert_int_equal(load(f, &recovered, &id, &complaint), -EBADMSG);
        }
}

/* What a log remembers that reaches back to @n_tail entries before snapshot @second. */
static struct wal_recovered remember(size_t n_tail)
{
        struct wal_recovered r = { .snapshot_index = 20,
                                   .snapshot_term = 3,
                                   .spare_index = 10,
                                   .spare_term = 2,
                                   .n_tail = n_tail,
                                   .n_entries = 2 };

        r.tail = must_alloc(n_tail + 2, sizeof(*r.tail));
        for (size_t i = 0; i < n_tail + 2; i++) {
                r.tail[i].index = 20 - n_tail + 1 + i;
                r.tail[i].bytes = must_alloc(1, 1);
        }
        r.entries = r.tail + n_tail;
        return r;
}

static void spare_stands_in_if_the_log_reaches_back_to_it(void **state)
{
        struct wal_recovered recovered = remember(10), too_short = remember(9);
        const struct wal_entry *entries;
        struct wal_complaint complaint;
        struct fixture *f = *state;
        struct snapshot_id id;
        size_t n;

        assert_int_equal(take(f, first), 0);
        fill(f->content, 2);
        assert_int_equal(take(f, second), 0);
        assert_int_equal(load(f, &recovered, &id, &complaint), 0);
        assert_int_equal(id.index, 20);
        flip(f, second, 300000);
        assert_int_equal(load(f, &recovered, &id, &complaint), 1);
        assert_int_equal(id.index, 10);
        assert_non_null(strstr(complaint.text, "damaged"));
        fill(f->content, 1);
        assert_memory_equal(f->got, f->content->bytes, CONTENT_BYTES);
        entries = wal_recovered_behind(&recovered, 10, &n);
        assert_non_null(entries);
        assert_int_equal(n, 12);
        assert_int_equal(entries[0].index, 11);
        assert_int_equal(load(f, &too_short, &id, &complaint), -EBADMSG);
        flip(f, first, 0);
        assert_int_equal(load(f, &recovered, &id, &complaint), -EBADMSG);
        wal_recovered_done(&recovered);
        wal_recovered_done(&too_short);
}

static bool third_is_alone(void *userdata)
{
        struct fixture *f = userdata;

        (void)event_base_loop(f->base, EVLOOP_NONBLOCK);
        return has(f, third) && !has(f, second) && !has(f, first);
}

static bool first_is_gone(void *userdata)
{
        struct fixture *f = userdata;

        (void)event_base_loop(f->base, EVLOOP_NONBLOCK);
        return !has(f, first);
}

static void one_spare_is_kept(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(take(f, first), 0);
        assert_int_equal(snapshots_newest(f->s).index, 0);
        snapshots_recorded(f->s, first, false);
        assert_int_equal(snapshots_newest(f->s).index, 10);
        assert_int_equal(take(f, second), 0);
        assert_int_equal(take(f, third), 0);
        snapshots_recorded(f->s, second, false);
        assert_true(has(f, first) && has(f, second) && has(f, third));
        snapshots_recorded(f->s, third, false);
        assert_true(deadline_wait(first_is_gone, f, WAIT_MSEC));
        assert_true(has(f, second) && has(f, third));
}

static void nothing_older_is_kept_when_the_log_was_reset(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(take(f, first), 0);
        snapshots_recorded(f->s, first, false);
        assert_int_equal(take(f, second), 0);
        assert_int_equal(take(f, third), 0);
        snapshots_recorded(f->s, third, true);
        assert_true(deadline_wait(third_is_alone, f, WAIT_MSEC));
}

static void snapshot_is_read_in_chunks(void **state)
{
        struct fixture *f = *state;
        uint64_t offset = 0;

        assert_int_equal(take(f, first), 0);
        memset(f->got, 0, CONTENT_BYTES);
        do {
                assert_int_equal(snapshots_read(f->s, first, offset, SIZE_MAX, on_chunk, f), 0);
                assert_int_equal(wait_for_answer(f), 0);
                assert_int_equal(f->n_total, CONTENT_BYTES);
                assert_true(f->n_got > offset);
                offset = f->n_got;
        } while (offset < CONTENT_BYTES);
        assert_memory_equal(f->got, f->content->bytes, CONTENT_BYTES);
        assert_int_equal(snapshots_read(f->s, second, 0, 1, on_chunk, f), 0);
        assert_int_equal(wait_for_answer(f), -ENOENT);
}

static int send_chunk(struct fixture *f, struct snapshot_id id, size_t from, size_t n)
{
        if (from + n > CONTENT_BYTES)
                n = CONTENT_BYTES - from;
        return snapshots_write(f->s, id, from, f->content->bytes + from, n, NULL, NULL);
}

static int finish(struct fixture *f, struct snapshot_id id)
{
        struct snapshots_reader reader = reader_of_fixture(f);
        int r = snapshots_finish(f->s, id, &reader, on_done, f);

        return r < 0 ? r : wait_for_answer(f);
}

static void received_snapshot_is_verified_and_kept(void **state)
{
        struct fixture *f = *state;

        for (size_t at = 0; at < CONTENT_BYTES; at += 100000) {
                assert_int_equal(snapshots_offset(f->s, first), at);
                assert_int_equal(send_chunk(f, first, at, 100000), 0);
        }
        assert_int_equal(finish(f, first), 0);
        assert_true(has(f, first));
        assert_false(exists(f, SNAPSHOT_RECEIVED_NAME));
        assert_memory_equal(f->got, f->content->bytes, CONTENT_BYTES);
        assert_int_equal(snapshots_offset(f->s, first), 0);
}

static void chunk_in_the_wrong_place_is_refused(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(send_chunk(f, first, 1000, 10), -EINVAL);
        assert_int_equal(send_chunk(f, first, 0, 1000), 0);
        assert_int_equal(send_chunk(f, first, 1001, 10), -EINVAL);
        assert_int_equal(send_chunk(f, second, 1000, 10), -EINVAL);
        assert_int_equal(finish(f, second), -EINVAL);
        assert_int_equal(send_chunk(f, first, 1000, 10), 0);
        /* Another snapshot, or the same again, begins anew. */
        assert_int_equal(send_chunk(f, second, 0, 500), 0);
        assert_int_equal(snapshots_offset(f->s, first), 0);
        assert_int_equal(snapshots_offset(f->s, second), 500);
        snapshots_drop_received(f->s);
        assert_int_equal(snapshots_offset(f->s, second), 0);
}

static void damaged_transfer_is_dropped_and_can_begin_anew(void **state)
{
        struct fixture *f = *state;

        f->content->bytes[1000] ^= 1;
        for (size_t at = 0; at < CONTENT_BYTES; at += 200000)
                assert_int_equal(send_chunk(f, first, at, 200000), 0);
        assert_int_equal(finish(f, first), -EBADMSG);
        assert_false(has(f, first));
        assert_false(exists(f, SNAPSHOT_RECEIVED_NAME));
        f->content->bytes[1000] ^= 1;
        /* One that ends too early is no better. */
        assert_int_equal(send_chunk(f, first, 0, 200000), 0);
        assert_int_equal(finish(f, first), -EBADMSG);
        for (size_t at = 0; at < CONTENT_BYTES; at += 200000)
                assert_int_equal(send_chunk(f, first, at, 200000), 0);
        assert_int_equal(finish(f, first), 0);
}

static void too_many_chunks_have_to_wait(void **state)
{
        struct fixture *f = *state;
        int r = 0;

        /* Nothing is collected, because the loop does not run. */
        for (unsigned i = 0; i < SNAPSHOTS_JOBS_MAX; i++)
                assert_int_equal(send_chunk(f, first, i * 10, 10), 0);
        assert_int_equal(send_chunk(f, first, SNAPSHOTS_JOBS_MAX * 10, 10), -EBUSY);
        assert_int_equal(snapshots_read(f->s, first, 0, 1, on_chunk, f), -EBUSY);
        do {
                (void)event_base_loop(f->base, EVLOOP_ONCE);
                r = send_chunk(f, first, SNAPSHOTS_JOBS_MAX * 10, 10);
        } while (r == -EBUSY);
        assert_int_equal(r, 0);
}

static void full_disk_is_told_and_leaves_room(void **state)
{
        struct fixture *f = *state;
        bool left;
        int taken, received, again;

        snapshots_free(TAKE_PTR(f->s));
        if (mount("tmpfs", f->dir, "tmpfs", 0, "size=512k") < 0)
                skip();
        start(f, (struct snapshot_id){ 0 });
        taken = take(f, first);
        for (size_t at = 0; at < CONTENT_BYTES; at += 200000)
                (void)send_chunk(f, first, at, 200000);
        received = finish(f, first);
        left = exists(f, SNAPSHOT_TAKEN_NAME) || exists(f, SNAPSHOT_RECEIVED_NAME);
        (void)mount("tmpfs", f->dir, "tmpfs", MS_REMOUNT, "size=4m");
        again = take(f, first);
        snapshots_free(TAKE_PTR(f->s));
        (void)umount2(f->dir, MNT_DETACH);
        assert_int_equal(taken, -ENOSPC);
        assert_int_equal(received, -ENOSPC);
        assert_false(left);
        assert_int_equal(again, 0);
}

static void names_are_told_from_other_files(void **state)
{
        struct snapshot_id id = { 0x123, UINT64_MAX };
        char name[SNAPSHOT_NAME_SIZE];

        (void)state;
        snapshot_name(id, name);
        assert_string_equal(name, "snap-0000000000000123-ffffffffffffffff");
        assert_true(snapshot_name_parse(name, &id));
        assert_true(id.index == 0x123 && id.term == UINT64_MAX);
        assert_false(snapshot_name_parse("snap-taken.new", &id));
        assert_false(snapshot_name_parse("snap-0000000000000000-0000000000000001", &id));
        assert_false(snapshot_name_parse("snap-000000000000012G-0000000000000001", &id));
        assert_false(snapshot_name_parse("snap-00000000000001230000000000000000001", &id));
        assert_false(snapshot_name_parse("wal-0000000000000001", &id));
}

static void restored_directory_is_whole_or_not_there(void **state)
{
        struct wal_founding founding = { .identity = { .cluster_id = CLUSTER, .node = 3 },
                                         .generation = 7,
                                         .snapshot_index = 10,
                                         .snapshot_term = 2 };
        struct wal_options options = { .identity = { .cluster_id = CLUSTER & ~0xffffULL } };
        char dir[SCRATCH_PATH_SIZE + 8], made[SCRATCH_PATH_SIZE + 16];
        struct fixture *f = *state;
        struct snapshots_reader reader = reader_of_fixture(f);
        struct wal_recovered recovered;
        struct wal_complaint complaint;
        struct snapshot_id id;
        struct wal *w;

        (void)snprintf(dir, sizeof(dir), "%s/raft", f->dir);
        (void)snprintf(made, sizeof(made), "%s.new", dir);
        f->shared->error = -EIO;
        assert_int_equal(snapshots_found(dir, &founding, encode, f, &reader, &complaint), -EIO);
        assert_int_equal(access(dir, F_OK), -1);
        assert_int_equal(access(made, F_OK), -1);
        f->shared->error = 0;
        assert_int_equal(mkdir(dir, 0700), 0);
        assert_int_equal(snapshots_found(dir, &founding, encode, f, &reader, &complaint), 0);
        assert_int_equal(access(made, F_OK), -1);
        assert_int_equal(snapshots_found(dir, &founding, encode, f, &reader, &complaint),
                         -ENOTEMPTY);
        assert_non_null(strstr(complaint.text, "not an empty directory"));

        assert_int_equal(wal_open(dir, &options, &w, &recovered, &complaint), 0);
        assert_true(recovered.identity.cluster_id == CLUSTER);
        assert_int_equal(recovered.identity.node, 3);
        assert_int_equal(recovered.generation, 7);
        assert_false(recovered.is_new);
        assert_int_equal(recovered.snapshot_index, 10);
        assert_int_equal(recovered.snapshot_term, 2);
        assert_int_equal(recovered.term, 2);
        assert_int_equal(snapshots_load(dir, &recovered, &reader, &id, &complaint), 0);
        assert_int_equal(id.index, 10);
        wal_recovered_done(&recovered);
        wal_close(w);
        scratch_remove(dir);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(log_without_a_snapshot_needs_no_file),
                TEST(received_snapshot_is_verified_and_kept),
                TEST(chunk_in_the_wrong_place_is_refused),
                TEST(damaged_transfer_is_dropped_and_can_begin_anew),
                TEST(too_many_chunks_have_to_wait),
                TEST(names_are_told_from_other_files),
                TEST(restored_directory_is_whole_or_not_there),
        };
        const struct CMUnitTest with_a_child[] = {
                TEST(snapshot_that_was_taken_is_loaded),
                TEST(snapshot_shows_the_moment_of_the_fork),
                TEST(child_that_hangs_is_ended_and_leaves_nothing),
                TEST(failure_to_encode_is_told_and_leaves_nothing),
                TEST(snapshot_that_does_not_verify_gets_no_name),
                TEST(child_keeps_no_descriptor_of_ours),
                TEST(child_dies_with_the_engine_and_frees_the_log),
                TEST(damaged_snapshot_is_refused_with_its_place),
                TEST(spare_stands_in_if_the_log_reaches_back_to_it),
                TEST(one_spare_is_kept),
                TEST(nothing_older_is_kept_when_the_log_was_reset),
                TEST(snapshot_is_read_in_chunks),
                TEST(full_disk_is_told_and_leaves_room),
        };
        int n_failed = cmocka_run_group_tests(tests, NULL, NULL);

        /* Valgrind knows no pidfd; every kernel that we run on does. */
        if (have_pidfd())
                n_failed += cmocka_run_group_tests(with_a_child, NULL, NULL);
        return n_failed;
}
