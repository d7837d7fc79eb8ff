/* Values of keys; see value.h. */
#include "election/store/value.h"

#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"

struct store_value *value_new(const char *bytes, size_t n)
{
        struct store_value *v = must_resize(NULL, sizeof(*v) + n + 1, 1);

        v->n_references = 1;
        v->n = (uint32_t)n;
        if (n > 0)
                memcpy(v->bytes, bytes, n);
        v->bytes[n] = '\0';
        return v;
}

struct store_value *value_ref(struct store_value *v)
{
        if (v)
                v->n_references++;
        return v;
}

void value_unref(struct store_value *v)
{
        if (v && --v->n_references == 0)
                free(v);
}
