/*
 * Memory for the pure cores. A core that has begun to change its state must not fail in the
 * middle, so what it needs while it steps is allocated here: when the machine has no memory left
 * the process ends at once, which costs a lease and a failover, never two masters. All that grows
 * by messages or requests is bounded by limits of its owner before it comes here.
 */
#pragma once

#include <stddef.h>

/* @n zeroed objects of @size bytes; never NULL, released by free(). */
void *must_alloc(size_t n, size_t size);

/* Resizes @p to @n objects of @size bytes; new memory is not zeroed; never NULL. */
void *must_resize(void *p, size_t n, size_t size);

/* A copy of @n bytes, with a NUL byte behind them that is not counted. */
void *must_copy(const void *bytes, size_t n);

/* Makes room for at least one more element in an array that grows by doubling. */
#define MUST_GROW(array, n, n_max)                                                                 \
        do {                                                                                       \
                if ((n) == (n_max)) {                                                              \
                        (n_max) = (n_max) ? (n_max)*2 : 8;                                         \
                        (array) = must_resize((array), (n_max), sizeof(*(array)));                 \
                }                                                                                  \
        } while (0)
