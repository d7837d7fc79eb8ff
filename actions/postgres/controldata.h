/* What pg_controldata prints about a data directory, as far as it matters to us. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum control_state {
        CONTROL_UNKNOWN,
        CONTROL_SHUT_DOWN, /* closed cleanly as a primary */
        CONTROL_SHUT_DOWN_IN_RECOVERY, /* closed cleanly as a standby */
        CONTROL_IN_PRODUCTION, /* runs as a primary, or did when it ended */
        CONTROL_IN_RECOVERY, /* runs as a standby, or did when it ended */
};

struct controldata {
        enum control_state state;
        char system_id[24];
        uint64_t checkpoint; /* position of the last checkpoint record */
        uint32_t timeline; /* of it */
        uint64_t recovery_end; /* a standby is not consistent before it; 0 for none */
        uint32_t recovery_end_timeline;
        bool wal_log_hints;
        bool checksums;
        uint32_t segment_size; /* bytes of a WAL file; 0 if not known */
};

/* Parses the output made with LC_ALL=C. Returns 0, or -EINVAL if what we need is not there. */
int controldata_parse(const char *text, struct controldata *ret);

/* Closed cleanly, as whatever. */
bool controldata_is_clean(const struct controldata *c);

/* The last server in this directory wrote, as a primary. */
bool controldata_was_primary(const struct controldata *c);
