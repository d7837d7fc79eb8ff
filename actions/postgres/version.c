/* The versions of PostgreSQL that are supported, and how they differ. */
#include "actions/postgres/version.h"

#include <stddef.h>

/* clang-format off */
static const struct version_facts table[] = {
        /*      conninfo  flushed  rewind    config  no          verify
                reload    lsn      recovers  file    checkpoint  backup  crash_sync, wal_keep */
        { 12,   false,    false,   false,    false,  false,      false, "", "wal_keep_segments", "16" },
        { 13,   true,     true,    true,     false,  false,      true,  "", "wal_keep_size", "256MB" },
        { 14,   true,     true,    true,     false,  false,      true,  "recovery_init_sync_method = syncfs", "wal_keep_size", "256MB" },
        { 15,   true,     true,    true,     true,   false,      true,  "recovery_init_sync_method = syncfs", "wal_keep_size", "256MB" },
        { 16,   true,     true,    true,     true,   true,       true,  "recovery_init_sync_method = syncfs", "wal_keep_size", "256MB" },
        { 17,   true,     true,    true,     true,   true,       true,  "recovery_init_sync_method = syncfs", "wal_keep_size", "256MB" },
};
/* clang-format on */

const struct version_facts *version_facts(unsigned major)
{
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
                if (table[i].major == major)
                        return &table[i];
        return NULL;
}
