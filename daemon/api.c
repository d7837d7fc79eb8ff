/* The HTTP interface of the engine: routes, health endpoints, keys, services. */
#include "daemon/api.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/engine.h"

struct api {
        struct engine *engine;
};

int api_new(struct engine *e, struct api **ret)
{
        struct api *a = calloc(1, sizeof(*a));

        if (!a)
                return -ENOMEM;
        a->engine = e;
        *ret = a;
        return 0;
}

void api_free(struct api *a)
{
        free(a);
}

void api_woken(struct api *a, const uint64_t *watchers, size_t n)
{
        (void)a;
        (void)watchers;
        (void)n;
}
