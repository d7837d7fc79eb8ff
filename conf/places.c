/* A list of places; short enough (SERVICES_MAX blocks of some options) to be searched in order. */
#include "conf/places.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"

void places_done(struct places *p)
{
        for (size_t i = 0; i < p->n; i++)
                free(p->entries[i].value);
        for (size_t i = 0; i < p->n_files; i++)
                free(p->files[i]);
        free(p->entries);
        free(p->files);
        *p = (struct places){ 0 };
}

const char *places_add_file(struct places *p, const char *file)
{
        MUST_GROW(p->files, p->n_files, p->n_files_max);
        p->files[p->n_files] = must_copy(file, strlen(file));
        return p->files[p->n_files++];
}

void places_add(struct places *p, const void *object, const char *key, const char *file,
                unsigned line, const char *value)
{
        MUST_GROW(p->entries, p->n, p->n_max);
        p->entries[p->n++] = (struct place){
                .object = object,
                .key = key,
                .file = file,
                .line = line,
                .value = value ? must_copy(value, strlen(value)) : NULL,
        };
}

static bool same_key(const char *a, const char *b)
{
        return a == b || (a && b && strcmp(a, b) == 0);
}

const struct place *places_find(const struct places *p, const void *object, const char *key)
{
        for (size_t i = 0; i < p->n; i++) {
                if (p->entries[i].object == object && same_key(p->entries[i].key, key))
                        return &p->entries[i];
        }
        return NULL;
}

const struct place *places_nearest(const struct places *p, const void *object, const char *key)
{
        const struct place *found = places_find(p, object, key);

        if (!found)
                found = places_find(p, object, NULL);
        assert(found);
        return found;
}
