/* The arithmetic of the chain of deadlines. */
#include "election/base/chain.h"

/* Two clocks may each be wrong by rho, 0.1 %, in opposite directions. */
#define DRIFT_PER_MILLE 1

#define GUARD_MIN (5 * USEC_PER_MSEC)
#define GUARD_MAX (20 * USEC_PER_MSEC)
/* Longer leases wake less often and less exactly: 10 ms for a TTL of 3 s. */
#define GUARD_PART_OF_TTL 300

static usec_t minus(usec_t a, usec_t b)
{
        return a > b ? a - b : 0;
}

static usec_t guard_of(usec_t ttl)
{
        usec_t guard = ttl / GUARD_PART_OF_TTL;

        if (guard < GUARD_MIN)
                return GUARD_MIN;
        return guard > GUARD_MAX ? GUARD_MAX : guard;
}

/* Rounded up, so that the holder never believes longer than it may. */
static usec_t drift_of(usec_t ttl)
{
        return ttl / 1000 * 2 * DRIFT_PER_MILLE + (ttl % 1000 * 2 * DRIFT_PER_MILLE + 999) / 1000;
}

struct lease_chain lease_chain_of(usec_t ttl, usec_t demote_soft, usec_t demote_hard)
{
        struct lease_chain c;

        c.guard = guard_of(ttl);
        c.holder_valid = minus(ttl, drift_of(ttl));
        c.end = minus(c.holder_valid, c.guard);
        c.demote = minus(minus(c.end, demote_soft), demote_hard);
        return c;
}
