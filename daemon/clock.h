/*
 * The lease clock, the only clock of the daemon that decisions may use: CLOCK_MONOTONIC_RAW +
 * (CLOCK_BOOTTIME - CLOCK_MONOTONIC), that is the rate of the hardware, not slewed, with the time
 * that the machine slept added. All processes of one machine and one boot read the same clock.
 */
#pragma once

#include "election/base/time.h"

enum {
        BOOT_ID_SIZE = 37, /* bytes of a boot id, with the final NUL */
        TIME_OF_DAY_SIZE = 40, /* bytes of a printed time of day, with the final NUL */
};

/*
 * Reads the lease clock, at an instant between call and return. It does not run ahead of the true
 * reading when the reader is preempted. In rare cases after a suspend two readings may stand in
 * the wrong order by up to a millisecond; who promises an order to others keeps the later one.
 */
struct instant clock_now(void);

/*
 * Microseconds since 1970 by the wall clock, which people and time servers set: for what people
 * read, never for a decision.
 */
uint64_t clock_wall(void);

/*
 * Writes the id of this boot into @ret of BOOT_ID_SIZE bytes: readings of the lease clock may be
 * compared only within one boot. Returns 0 or a negative errno.
 */
int clock_boot_id(char *ret);

/* A timerfd for clock_arm(), non-blocking and close-on-exec, or a negative errno. */
int clock_timer_new(void);

/*
 * Arms a timer of clock_timer_new() for @then. It fires early when @then is far away, because its
 * own clock is slewed: the owner reads the descriptor, compares @then with clock_now(), and arms
 * again if it has not come. INSTANT_FOREVER disarms. Returns 0 or a negative errno.
 */
int clock_arm(int timer_fd, struct instant then);

/*
 * Prints the local time of day to the millisecond into @ret of TIME_OF_DAY_SIZE bytes, for people:
 * nothing is ever decided by it.
 */
void clock_print_time_of_day(char *ret);
