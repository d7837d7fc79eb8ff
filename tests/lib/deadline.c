/* Waiting for conditions. */
#include "tests/lib/deadline.h"

#include <time.h>

uint64_t deadline_now_msec(void)
{
        struct timespec t;

        (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with this clock */
        return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool deadline_wait(bool (*condition)(void *userdata), void *userdata, unsigned msec)
{
        uint64_t end = deadline_now_msec() + msec;

        for (;;) {
                if (condition(userdata))
                        return true;
                if (deadline_now_msec() >= end)
                        return condition(userdata);
                (void)nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
        }
}
