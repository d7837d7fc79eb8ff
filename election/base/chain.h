/*
 * The chain of deadlines of one lease: until when its holder may act, and when it must begin to
 * let go so that it has let go before anybody else may take over. The cores, the executor and the
 * check of the configuration all count with this one.
 */
#pragma once

#include "election/base/time.h"

/* All lengths count from the stamp of the renewal: the reading of the lease clock before it was
 * sent, not after it was answered. */
struct lease_chain {
        usec_t holder_valid; /* the holder believes in its lease so long: TTL less twice the drift */
        usec_t guard; /* for wake-ups and rounding, at the end of the validity */
        usec_t end; /* all acting is over: holder_valid less guard */
        usec_t demote; /* the soft demotion begins; 0 if the TTL has no room for the demotion */
};

/*
 * The chain for a TTL. @demote_soft is what a clean release may take, @demote_hard what a forced
 * one may take after that; both must fit between `demote` and `end`. A hardware watchdog is not
 * counted: who uses one subtracts its timeout from `demote`.
 */
struct lease_chain lease_chain_of(usec_t ttl, usec_t demote_soft, usec_t demote_hard);
