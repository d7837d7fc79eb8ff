/* What differs between PostgreSQL 12 and 17, as a table. */
#pragma once

#include <stdbool.h>

struct version_facts {
        unsigned major;
        bool conninfo_by_reload; /* primary_conninfo and primary_slot_name need no restart */
        bool receiver_flushed_lsn; /* pg_stat_wal_receiver.flushed_lsn (before: received_lsn) */
        bool rewind_recovers; /* pg_rewind itself runs crash recovery */
        bool rewind_config_file; /* pg_rewind --config-file */
        bool rewind_without_checkpoint; /* it sees the source's timeline before its checkpoint */
        bool verify_backup; /* pg_verifybackup and backup manifests */
        const char *crash_sync; /* a setting by which a crashed server starts faster, or "" */
        const char
                *wal_keep; /* the setting that keeps WAL, in which pg_rewind finds its way back */
        const char *wal_keep_value; /* 256 MB of it */
};

/* NULL for a version that is not supported. */
const struct version_facts *version_facts(unsigned major);
