/* Waiting for a condition with a deadline, for tests. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Milliseconds of a clock that only goes forward. */
uint64_t deadline_now_msec(void);

/* Calls @condition(@userdata) every 5 ms until it is true or @msec are over; returns what it said last. */
bool deadline_wait(bool (*condition)(void *userdata), void *userdata, unsigned msec);
