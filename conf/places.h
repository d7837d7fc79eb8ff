/*
 * Where each block and each option stood, and what was written there: for complaints that come
 * after reading, and to know what was not given. Private to the room.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct place {
        const void *object; /* the structure that the block or option is about */
        const char *key; /* of the option; NULL for the block itself */
        const char *file; /* lives as long as the places */
        unsigned line;
        char *value; /* as written; NULL for a block */
};

/* Zero-initialise; release with places_done(). */
struct places {
        struct place *entries;
        size_t n;
        size_t n_max;
        char **files;
        size_t n_files;
        size_t n_files_max;
};

void places_done(struct places *p);

/* Keeps a copy of the name of a file and returns it. */
const char *places_add_file(struct places *p, const char *file);

/* @file comes from places_add_file(), @key lives as long as the places; @value is copied. */
void places_add(struct places *p, const void *object, const char *key, const char *file,
                unsigned line, const char *value);

/* Where @key of @object was written, or NULL. Of a list: its first value. */
const struct place *places_find(const struct places *p, const void *object, const char *key);

/* As places_find(), but the block if the option was not written; the block must have been. */
const struct place *places_nearest(const struct places *p, const void *object, const char *key);
