/*
 * The lease clock, with the three clocks of the kernel played by the test: it counts sleep, is not
 * slewed, and a preemption between two readings does not make it run ahead.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "tests/lib/deadline.h"

enum {
        MSEC = 1000000, /* in nanoseconds */
        WAIT_MSEC = 10000,
};

/* The kernel's clocks, in nanoseconds. */
static struct {
        bool is_played;
        int64_t raw, monotonic, slept;
        int64_t read_nsec; /* what a reading takes */
        unsigned n_reads;
        unsigned preempted_at; /* the reading after which the reader loses the processor; 0: none */
        unsigned suspended_at; /* the reading after which the machine sleeps; 0: none */
} kernel;

static void pass(int64_t nsec)
{
        kernel.raw += nsec;
        kernel.monotonic += nsec;
}

int clock_gettime(clockid_t id, struct timespec *ret)
{
        int64_t now;

        if (!kernel.is_played)
                return (int)syscall(SYS_clock_gettime, id, ret);
        now = kernel.monotonic;
        if (id == CLOCK_MONOTONIC_RAW)
                now = kernel.raw;
        if (id == CLOCK_BOOTTIME)
                now += kernel.slept;
        *ret = (struct timespec){ .tv_sec = now / 1000000000, .tv_nsec = now % 1000000000 };
        kernel.n_reads++;
        pass(kernel.read_nsec);
        if (kernel.n_reads == kernel.preempted_at)
                pass(5000 * (int64_t)MSEC);
        if (kernel.n_reads == kernel.suspended_at)
                kernel.slept += 3600 * 1000 * (int64_t)MSEC;
        return 0;
}

static int setup(void **state)
{
        (void)state;
        kernel.is_played = true;
        kernel.raw = 1000 * (int64_t)MSEC;
        kernel.monotonic = 1003 * (int64_t)MSEC; /* slewed apart already */
        kernel.slept = 0;
        kernel.read_nsec = 50;
        kernel.n_reads = 0;
        kernel.preempted_at = 0;
        kernel.suspended_at = 0;
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        kernel.is_played = false;
        return 0;
}

/* What the clock should say, now. */
static uint64_t truth(void)
{
        return (uint64_t)(kernel.raw + kernel.slept) / 1000;
}

static void clock_is_not_slewed(void **state)
{
        (void)state;
        assert_int_equal(clock_now().usec, 1000000);
        kernel.monotonic += 83 * (int64_t)MSEC;
        assert_true(clock_now().usec <= truth() && clock_now().usec + 2 >= 1000000);
}

static void clock_counts_sleep(void **state)
{
        (void)state;
        kernel.slept = 3600 * 1000 * (int64_t)MSEC;
        assert_int_equal(clock_now().usec, 1000000 + 3600 * USEC_PER_SEC);
}

static void preemption_does_not_make_the_clock_run_ahead(void **state)
{
        (void)state;
        for (unsigned at = 1; at <= 4; at++) {
                uint64_t before;

                (void)setup(state);
                before = truth();
                kernel.preempted_at = at;
                assert_true(clock_now().usec >= before);
                assert_true(clock_now().usec <= truth());
        }
}

static void reader_that_is_always_interrupted_is_never_ahead(void **state)
{
        (void)state;
        kernel.read_nsec = 3 * (int64_t)MSEC;
        for (int i = 0; i < 20; i++)
                assert_true(clock_now().usec <= truth());
}

static void sleep_between_two_readings_is_not_lost(void **state)
{
        (void)state;
        for (unsigned at = 1; at <= 4; at++) {
                uint64_t before, after;

                (void)setup(state);
                before = clock_now().usec;
                kernel.suspended_at = kernel.n_reads + at;
                (void)clock_now();
                after = clock_now().usec;
                assert_true(after - before >= 3600 * USEC_PER_SEC);
                assert_true(after <= truth());
        }
}

static void readings_stand_in_order(void **state)
{
        uint64_t before = 0, now;

        (void)state;
        kernel.is_played = false;
        for (int i = 0; i < 100000; i++) {
                now = clock_now().usec;
                assert_true(now >= before);
                before = now;
        }
}

static bool has_fired(void *userdata)
{
        struct pollfd fd = { .fd = *(int *)userdata, .events = POLLIN };

        return poll(&fd, 1, 0) == 1;
}

static void timer_comes_early_and_then_in_time(void **state)
{
        struct instant then;
        unsigned n_rounds = 0;
        uint64_t n;
        int fd;

        (void)state;
        kernel.is_played = false;
        fd = clock_timer_new();
        assert_true(fd >= 0);
        then = instant_after(clock_now(), 100 * USEC_PER_MSEC);
        while (!instant_reached(then, clock_now())) {
                assert_int_equal(clock_arm(fd, then), 0);
                assert_true(deadline_wait(has_fired, &fd, WAIT_MSEC));
                assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
                n_rounds++;
        }
        assert_true(n_rounds >= 2 && n_rounds < 20);
        /* One that has passed fires at once, one that never comes does not. */
        assert_int_equal(clock_arm(fd, INSTANT_NEVER), 0);
        assert_true(deadline_wait(has_fired, &fd, WAIT_MSEC));
        assert_int_equal(clock_arm(fd, INSTANT_FOREVER), 0);
        assert_false(has_fired(&fd));
        (void)close(fd);
}

static void boot_has_an_id(void **state)
{
        char id[BOOT_ID_SIZE] = "", again[BOOT_ID_SIZE] = "";

        (void)state;
        assert_int_equal(clock_boot_id(id), 0);
        assert_int_equal(strlen(id), BOOT_ID_SIZE - 1);
        assert_int_equal(clock_boot_id(again), 0);
        assert_string_equal(id, again);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(clock_is_not_slewed),
                TEST(clock_counts_sleep),
                TEST(preemption_does_not_make_the_clock_run_ahead),
                TEST(reader_that_is_always_interrupted_is_never_ahead),
                TEST(sleep_between_two_readings_is_not_lost),
                TEST(readings_stand_in_order),
                TEST(timer_comes_early_and_then_in_time),
                TEST(boot_has_an_id),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
