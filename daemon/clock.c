/* The lease clock: one reading out of three clocks of the kernel, and timers for it. */
#include "daemon/clock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
        NSEC_PER_SEC = 1000000000,
        NSEC_PER_MSEC = 1000000,
        NSEC_PER_USEC = 1000,

        BRACKET_NSEC_MAX = 2 * NSEC_PER_USEC, /* reads closer together than this are good enough */
        BRACKETS_MAX = 16, /* after that many attempts the narrowest must do */

        ARM_EXACT_USEC = 1000, /* a timer this short is armed for the instant itself */
        ARM_EARLY_PART = 8, /* a longer one comes early by this part of its length */
};

static int64_t read_nsec(clockid_t id)
{
        struct timespec ts;
        int r = clock_gettime(id, &ts);

        assert(r == 0); /* these clocks exist on every kernel that we run on */
        return (int64_t)ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/*
 * The time slept since boot. BOOTTIME - MONOTONIC is constant between two suspends, but they are
 * read one after the other. MONOTONIC is read on both sides, and the attempt with the least time
 * in between counts, with the later reading, so that a preemption cannot make the clock run
 * ahead. Rounding to milliseconds takes away what jitter is left.
 */
static int64_t slept_nsec(void)
{
        int64_t width_best = INT64_MAX, slept = 0;

        for (int i = 0; i < BRACKETS_MAX && width_best > BRACKET_NSEC_MAX; i++) {
                int64_t before = read_nsec(CLOCK_MONOTONIC);
                int64_t boot = read_nsec(CLOCK_BOOTTIME);
                int64_t after = read_nsec(CLOCK_MONOTONIC);

                if (after - before < width_best) {
                        width_best = after - before;
                        slept = boot - after;
                }
        }
        slept += slept >= 0 ? NSEC_PER_MSEC / 2 : -NSEC_PER_MSEC / 2;
        return slept / NSEC_PER_MSEC * NSEC_PER_MSEC;
}

struct instant clock_now(void)
{
        /* RAW first: a sleep between the two is then counted, not lost. */
        int64_t raw = read_nsec(CLOCK_MONOTONIC_RAW);

        return (struct instant){ (uint64_t)(raw + slept_nsec()) / NSEC_PER_USEC };
}

int clock_boot_id(char *ret)
{
        char text[BOOT_ID_SIZE];
        ssize_t n;
        int fd, r;

        fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = read(fd, text, BOOT_ID_SIZE - 1);
        r = n < 0 ? -errno : 0;
        (void)close(fd); /* only read from */
        if (r < 0)
                return r;
        if (n != BOOT_ID_SIZE - 1)
                return -EBADMSG;
        text[n] = '\0';
        memcpy(ret, text, sizeof(text));
        return 0;
}

int clock_timer_new(void)
{
        int fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

int clock_arm(int timer_fd, struct instant then)
{
        struct itimerspec spec = { 0 };
        int64_t at;
        usec_t wait;

        if (then.usec != INSTANT_FOREVER.usec) {
                wait = instant_until(then, clock_now());
                /*
                 * chrony slews BOOTTIME by up to a tenth; a timer that is an eighth early and
                 * armed again by its owner comes late by at most a tenth of ARM_EXACT_USEC.
                 */
                if (wait > ARM_EXACT_USEC)
                        wait -= wait / ARM_EARLY_PART;
                if (wait > INT32_MAX * USEC_PER_SEC)
                        wait = INT32_MAX * USEC_PER_SEC;
                at = read_nsec(CLOCK_BOOTTIME) + (int64_t)wait * NSEC_PER_USEC;
                spec.it_value.tv_sec = at / NSEC_PER_SEC;
                spec.it_value.tv_nsec = at % NSEC_PER_SEC;
        }
        if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
                return -errno;
        return 0;
}

uint64_t clock_wall(void)
{
        struct timespec t;

        (void)clock_gettime(CLOCK_REALTIME, &t); /* cannot fail with this clock */
        return (uint64_t)t.tv_sec * USEC_PER_SEC + (uint64_t)t.tv_nsec / 1000;
}

void clock_print_time_of_day(char *ret)
{
        int64_t nsec = read_nsec(CLOCK_REALTIME);
        time_t seconds = nsec / NSEC_PER_SEC;
        struct tm tm;
        size_t n;

        ret[0] = '\0';
        if (!localtime_r(&seconds, &tm))
                return;
        n = strftime(ret, TIME_OF_DAY_SIZE, "%F %T", &tm);
        (void)snprintf(ret + n, TIME_OF_DAY_SIZE - n, ".%03d",
                       (int)(nsec % NSEC_PER_SEC / NSEC_PER_MSEC)); /* fits */
}
