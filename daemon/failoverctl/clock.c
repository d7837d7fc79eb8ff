/* How long things take, for progress and time-outs of the command line; no decision is made by it. */
#include <stdlib.h>
#include <time.h>

#include "daemon/failoverctl/ctl.h"

usec_t ctl_now(void)
{
        struct timespec ts;

        if (clock_gettime(CLOCK_MONOTONIC, &ts) < 0)
                abort(); /* the clock exists on every Linux */
        return (usec_t)ts.tv_sec * USEC_PER_SEC + (usec_t)ts.tv_nsec / 1000;
}

void ctl_pause(usec_t length)
{
        const struct timespec ts = { .tv_sec = (time_t)(length / USEC_PER_SEC),
                                     .tv_nsec = (long)(length % USEC_PER_SEC) * 1000 };

        (void)nanosleep(&ts, NULL); /* a signal makes it shorter, which does no harm */
}
