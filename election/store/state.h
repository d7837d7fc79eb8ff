/* What a store consists of, for the files of this room. */
#pragma once

#include "election/store/lease.h"
#include "election/store/session.h"
#include "election/store/tree.h"
#include "election/store/watch.h"

struct store {
        struct tree tree;
        struct lease_table leases;
        struct watch watch;
        struct session_table sessions;
        uint64_t index; /* of the last change of the tree */
        struct store_stats stats;
        uint64_t applied; /* log index of the last command */

        /* The last command and what it did: results point into them until the next. */
        struct store_command command;
        struct store_outcome outcomes[STORE_BATCH_MAX];
        struct buffer cause;
};
