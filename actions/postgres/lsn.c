/* Positions in the write-ahead log as text. */
#include "actions/postgres/lsn.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* One to eight hexadecimal digits, then @end. Returns what follows @end, or NULL. */
static const char *parse_half(const char *s, char end, uint32_t *ret)
{
        uint32_t value = 0;
        unsigned n;

        for (n = 0; n < 8; n++, s++) {
                if (*s >= '0' && *s <= '9')
                        value = value << 4 | (uint32_t)(*s - '0');
                else if (*s >= 'A' && *s <= 'F')
                        value = value << 4 | (uint32_t)(*s - 'A' + 10);
                else if (*s >= 'a' && *s <= 'f')
                        value = value << 4 | (uint32_t)(*s - 'a' + 10);
                else
                        break;
        }
        if (n == 0 || *s != end)
                return NULL;
        *ret = value;
        return s + 1;
}

int lsn_parse(const char *s, uint64_t *ret)
{
        uint32_t high, low;

        s = parse_half(s, '/', &high);
        if (!s || !parse_half(s, '\0', &low))
                return -EINVAL;
        *ret = (uint64_t)high << 32 | low;
        return 0;
}

void lsn_print(uint64_t lsn, char ret[static LSN_SIZE])
{
        snprintf(ret, LSN_SIZE, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn);
}
