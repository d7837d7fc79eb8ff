/* The versions of PostgreSQL that are supported, and how they differ. */
#include "actions/postgres/version.h"

#include <stddef.h>

/* clang-format off */
static const struct version_facts table[] = {
        /*      conninfo  flushed  rewind    config  no          verify
                reload    lsn      recovers  file    checkpoint  backup */
        { 12,   false,    false,   false,    false,  false,      false },
        { 13,   true,     true,    true,     false,  false,      true },
        { 14,   true,     true,    true,     false,  false,      true },
        { 15,   true,     true,    true,     true,   false,      true },
        { 16,   true,     true,    true,     true,   true,       true },
        { 17,   true,     true,    true,     true,   true,       true },
};
/* clang-format on */

const struct version_facts *version_facts(unsigned major)
{
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
                if (table[i].major == major)
                        return &table[i];
        return NULL;
}
