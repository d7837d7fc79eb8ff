/* Seeded pseudo-random numbers for timers and simulation: repeatable, not for secrets. */
#pragma once

#include <stdint.h>

struct random {
        uint64_t state;
};

/* The next number (splitmix64, Steele, Lea and Flood 2014). */
uint64_t random_next(struct random *r);

/* A number from 0 to @limit - 1; @limit is at least 1. */
uint64_t random_below(struct random *r, uint64_t limit);
