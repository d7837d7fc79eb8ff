/* Allocation that succeeds or ends the process; see memory.h for why. */
#include "election/base/memory.h"

#include <stdlib.h>
#include <string.h>

void *must_alloc(size_t n, size_t size)
{
        void *p = calloc(n ? n : 1, size);

        if (!p)
                abort();
        return p;
}

void *must_resize(void *p, size_t n, size_t size)
{
        p = reallocarray(p, n ? n : 1, size);
        if (!p)
                abort();
        return p;
}

void *must_copy(const void *bytes, size_t n)
{
        char *p = must_alloc(n + 1, 1);

        if (n > 0)
                memcpy(p, bytes, n);
        return p;
}
