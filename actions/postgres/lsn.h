/* Positions in the write-ahead log: "0/3000060" is 3000060 hexadecimal bytes from the beginning. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        LSN_SIZE = 18, /* bytes for a printed position, with the final NUL */
};

/* Parses the whole of @s. Returns 0, or -EINVAL. */
int lsn_parse(const char *s, uint64_t *ret);

/* Prints as PostgreSQL does. */
void lsn_print(uint64_t lsn, char ret[static LSN_SIZE]);
