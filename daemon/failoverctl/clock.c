/*
 * Two clocks: how long things take, for progress and time-outs of the command line; and the lease
 * clock, by which alone "lock" and "elect" decide whether they still hold.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>

#include "daemon/failoverctl/ctl.h"

enum {
        NSEC_PER_USEC = 1000,
        NSEC_PER_MSEC = 1000 * 1000,
        READ_TRIES = 16,
        READ_TIGHT_NSEC = 2000, /* between the readings of two clocks, when nothing interrupts */
        ARM_EXACT_USEC = 1000, /* a timer this short is armed for the instant itself */
        ARM_EARLY_PART = 8, /* a longer one comes early by this part of its length */
};

static int64_t read_nsec(clockid_t id)
{
        struct timespec ts;

        if (clock_gettime(id, &ts) < 0)
                abort(); /* these clocks exist on every Linux */
        return (int64_t)ts.tv_sec * 1000 * NSEC_PER_MSEC + ts.tv_nsec;
}

usec_t ctl_now(void)
{
        return (usec_t)read_nsec(CLOCK_MONOTONIC) / NSEC_PER_USEC;
}

void ctl_pause(usec_t length)
{
        const struct timespec ts = { .tv_sec = (time_t)(length / USEC_PER_SEC),
                                     .tv_nsec = (long)(length % USEC_PER_SEC) * 1000 };

        (void)nanosleep(&ts, NULL); /* a signal makes it shorter, which does no harm */
}

/*
 * How long the machine has slept: the difference of two clocks, which cannot be read at once. The
 * tightest try counts, with the later reading, so that an interruption does not make the clock run
 * ahead. It changes only by a sleep, so that rounding takes away what jitter is left.
 */
static int64_t slept_nsec(void)
{
        int64_t tightest = INT64_MAX, slept = 0;

        for (int i = 0; i < READ_TRIES && tightest > READ_TIGHT_NSEC; i++) {
                int64_t before = read_nsec(CLOCK_MONOTONIC);
                int64_t boot = read_nsec(CLOCK_BOOTTIME);
                int64_t after = read_nsec(CLOCK_MONOTONIC);

                if (after - before < tightest) {
                        tightest = after - before;
                        slept = boot - after;
                }
        }
        slept += slept >= 0 ? NSEC_PER_MSEC / 2 : -NSEC_PER_MSEC / 2;
        return slept / NSEC_PER_MSEC * NSEC_PER_MSEC;
}

struct instant ctl_lease_now(void)
{
        /* RAW first: a sleep between the two is then counted, not lost. */
        int64_t raw = read_nsec(CLOCK_MONOTONIC_RAW);

        return (struct instant){ (uint64_t)(raw + slept_nsec()) / NSEC_PER_USEC };
}

int ctl_lease_timer(void)
{
        int fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

int ctl_lease_arm(int timer_fd, struct instant then)
{
        struct itimerspec spec = { 0 };
        int64_t at;
        usec_t wait;

        if (then.usec != INSTANT_FOREVER.usec) {
                wait = instant_until(then, ctl_lease_now());
                /* A time server slews BOOTTIME by up to a tenth: the owner arms it again. */
                if (wait > ARM_EXACT_USEC)
                        wait -= wait / ARM_EARLY_PART;
                if (wait > INT32_MAX * USEC_PER_SEC)
                        wait = INT32_MAX * USEC_PER_SEC;
                at = read_nsec(CLOCK_BOOTTIME) + (int64_t)wait * NSEC_PER_USEC;
                spec.it_value.tv_sec = at / (1000 * NSEC_PER_MSEC);
                spec.it_value.tv_nsec = at % (1000 * NSEC_PER_MSEC);
        }
        if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
                return -errno;
        return 0;
}
