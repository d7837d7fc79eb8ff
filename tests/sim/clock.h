/*
 * The lease clock of one machine: an offset and a rate against true time. The rate error stays
 * within the bound that the formulas of the lease assume, and is often exactly at it.
 */
#pragma once

#include "election/base/time.h"

struct sim_clock {
        usec_t started; /* true time of the boot */
        uint64_t reading; /* what it read then */
        int ppm; /* how much too fast it runs */
};

/* What it reads at the true time @t. */
struct instant sim_clock_read(const struct sim_clock *c, usec_t t);

/* The earliest true time at which it reads @reading or more, but not before @t. */
usec_t sim_clock_when(const struct sim_clock *c, struct instant reading, usec_t t);
