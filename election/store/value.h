/* Values of keys: counted bytes that a key and the events about it share. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct store_value {
        uint32_t n_references;
        uint32_t n;
        char bytes[]; /* and a NUL that is not counted */
};

/* A copy of @n bytes, fewer than 4 GiB, with one reference. */
struct store_value *value_new(const char *bytes, size_t n);
/* Another reference; NULL stays NULL. */
struct store_value *value_ref(struct store_value *v);
/* Gives a reference back; NULL is accepted. */
void value_unref(struct store_value *v);
