/* The lease clock and its timer, for agents. */
#include "actions/agent-clock.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* Below this the timer is armed exactly: a slewed clock errs by a tenth of it at most. */
#define TIMER_EXACT_USEC (2 * USEC_PER_MSEC)
/* How much earlier a longer wait is armed, as a fraction of it; a clock is slewed by a tenth. */
#define TIMER_EARLY_PART 8

#define NSEC_PER_MSEC INT64_C(1000000)

enum {
        READ_TRIES = 5,
        READ_TIGHT_NSEC = 5000, /* between the readings of two clocks, when nothing interrupts */
};

struct agent_timer {
        int fd;
        struct event *event;
        struct instant at;
        void (*callback)(void *userdata);
        void *userdata;
};

static int64_t read_clock_nsec(clockid_t id)
{
        struct timespec ts;
        int r;

        r = clock_gettime(id, &ts);
        assert(r == 0);
        (void)r;
        return (int64_t)ts.tv_sec * 1000 * NSEC_PER_MSEC + ts.tv_nsec;
}

/*
 * How long the machine has slept: the difference of two clocks, which cannot be read at once. The
 * tightest try counts, with the later reading, so that an interruption does not make the clock run
 * ahead. It changes only by a sleep, so that rounding takes away what jitter is left.
 */
static int64_t read_slept_nsec(void)
{
        int64_t tightest = INT64_MAX, slept = 0;

        for (unsigned i = 0; i < READ_TRIES && tightest > READ_TIGHT_NSEC; i++) {
                int64_t before = read_clock_nsec(CLOCK_MONOTONIC);
                int64_t boottime = read_clock_nsec(CLOCK_BOOTTIME);
                int64_t after = read_clock_nsec(CLOCK_MONOTONIC);

                if (after - before >= tightest)
                        continue;
                tightest = after - before;
                slept = boottime - after;
        }
        slept += slept >= 0 ? NSEC_PER_MSEC / 2 : -NSEC_PER_MSEC / 2;
        return slept / NSEC_PER_MSEC * NSEC_PER_MSEC;
}

struct instant agent_clock_now(void)
{
        /* RAW first: a sleep between the two is then counted, not lost. */
        int64_t raw = read_clock_nsec(CLOCK_MONOTONIC_RAW);

        return (struct instant){ (uint64_t)(raw + read_slept_nsec()) / 1000 };
}

static void set_timer(struct agent_timer *t, usec_t wait)
{
        struct itimerspec its = { 0 };
        int r;

        if (wait > TIMER_EXACT_USEC)
                wait -= wait / TIMER_EARLY_PART;
        if (wait == 0)
                wait = 1;
        its.it_value.tv_sec = (time_t)(wait / USEC_PER_SEC);
        its.it_value.tv_nsec = (long)(wait % USEC_PER_SEC) * 1000;
        r = timerfd_settime(t->fd, 0, &its, NULL);
        assert(r == 0);
        (void)r;
}

static void on_timer(evutil_socket_t fd, short what, void *userdata)
{
        struct agent_timer *t = userdata;
        struct instant now = agent_clock_now();
        uint64_t n;

        (void)what;
        if (read((int)fd, &n, sizeof(n)) < 0)
                return; /* armed anew in the meantime */
        if (!instant_reached(t->at, now)) {
                set_timer(t, instant_until(t->at, now));
                return;
        }
        t->at = INSTANT_FOREVER;
        t->callback(t->userdata);
}

int agent_timer_new(struct event_base *base, void (*callback)(void *userdata), void *userdata,
                    struct agent_timer **ret)
{
        _cleanup_(agent_timer_freep)
        struct agent_timer *t = NULL;

        t = malloc(sizeof(*t));
        if (!t)
                return -ENOMEM;
        *t = (struct agent_timer){
                .fd = -1, .at = INSTANT_FOREVER, .callback = callback, .userdata = userdata
        };
        t->fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
        if (t->fd < 0)
                return -errno;
        t->event = event_new(base, t->fd, EV_READ | EV_PERSIST, on_timer, t);
        if (!t->event || event_add(t->event, NULL) < 0)
                return -ENOMEM;
        *ret = TAKE_PTR(t);
        return 0;
}

void agent_timer_free(struct agent_timer *t)
{
        if (!t)
                return;
        if (t->event)
                event_free(t->event);
        if (t->fd >= 0)
                close(t->fd);
        free(t);
}

void agent_timer_arm(struct agent_timer *t, struct instant at)
{
        struct instant now = agent_clock_now();

        t->at = at;
        set_timer(t, instant_until(at, now));
}

void agent_timer_disarm(struct agent_timer *t)
{
        struct itimerspec its = { 0 };

        t->at = INSTANT_FOREVER;
        (void)timerfd_settime(t->fd, 0, &its, NULL); /* cannot fail for a valid descriptor */
}
