/*
 * The lease clock (RAW + BOOTTIME - MONOTONIC: counts sleep, is not slewed) as an agent reads it,
 * and a timer for its instants. An agent is a process of its own and keeps deadlines of its own,
 * so it reads the clock by itself; the executor's reading of the same clock agrees with it.
 */
#pragma once

#include <event2/event.h>

#include "election/base/cleanup.h"
#include "election/base/time.h"

/* Reads the lease clock now. */
struct instant agent_clock_now(void);

/*
 * A timer for an instant of the lease clock. It is a timerfd on CLOCK_BOOTTIME, so that it also
 * counts sleep, armed early and asked again on the lease clock, since BOOTTIME may be slewed by
 * up to a tenth: it never fires early, and late only by what the machine is late.
 */
struct agent_timer;

/* Returns 0, -ENOMEM, or the error of timerfd_create(). */
int agent_timer_new(struct event_base *base, void (*callback)(void *userdata), void *userdata,
                    struct agent_timer **ret);

void agent_timer_free(struct agent_timer *t);
DEFINE_CLEANUP(struct agent_timer *, agent_timer_free)

/* Fires once at @at, at once if it has passed; replaces what was armed before. */
void agent_timer_arm(struct agent_timer *t, struct instant at);

void agent_timer_disarm(struct agent_timer *t);
