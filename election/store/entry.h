/* Where a command stands in the log, and when this replica received it. */
#pragma once

#include <stdint.h>

#include "election/base/time.h"

struct store_entry {
        uint64_t index;
        struct instant noted; /* never decides anything while a command is applied */
};
