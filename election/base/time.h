/*
 * Points in time and lengths of time as different types, so that the compiler refuses to mix them.
 * An instant is a reading of the lease clock (RAW + BOOTTIME - MONOTONIC: counts sleep, is not
 * slewed); who reads it is the daemon's business, never ours.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t usec_t; /* a length of time in microseconds */

#define USEC_PER_MSEC ((usec_t)1000)
#define USEC_PER_SEC ((usec_t)1000000)
#define USEC_INFINITY UINT64_MAX

struct instant {
        uint64_t usec;
};

/* Earlier than every reading of a clock. */
#define INSTANT_NEVER ((struct instant){ 0 })
/* Later than every reading of a clock. */
#define INSTANT_FOREVER ((struct instant){ UINT64_MAX })

/* @length after @from; FOREVER is not passed. */
static inline struct instant instant_after(struct instant from, usec_t length)
{
        return (struct instant){ from.usec > UINT64_MAX - length ? UINT64_MAX
                                                                 : from.usec + length };
}

/* @length before @from; NEVER is not passed. */
static inline struct instant instant_before(struct instant from, usec_t length)
{
        return (struct instant){ from.usec < length ? 0 : from.usec - length };
}

/* Whether @deadline has come at @now. */
static inline bool instant_reached(struct instant deadline, struct instant now)
{
        return now.usec >= deadline.usec;
}

/* How long it takes from @now until @then; 0 if @then has come. */
static inline usec_t instant_until(struct instant then, struct instant now)
{
        return then.usec > now.usec ? then.usec - now.usec : 0;
}

static inline struct instant instant_earlier(struct instant a, struct instant b)
{
        return a.usec < b.usec ? a : b;
}

static inline struct instant instant_later(struct instant a, struct instant b)
{
        return a.usec > b.usec ? a : b;
}
