/*
 * Scoped release: a variable marked _cleanup_(f) hands its address to f() when its scope ends,
 * and TAKE_PTR() gives the pointer away so that f() finds NULL.
 */
#pragma once

#include <stdlib.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

#define TAKE_PTR(ptr)                                                                              \
        __extension__({                                                                            \
                __typeof__(ptr) take_ptr_ = (ptr);                                                 \
                (ptr) = NULL;                                                                      \
                take_ptr_;                                                                         \
        })

/* Defines x_freep() for _cleanup_() out of x_free(), which must accept NULL. */
#define DEFINE_CLEANUP(type, function)                                                             \
        static inline void function##p(type *p)                                                    \
        {                                                                                          \
                if (*p)                                                                            \
                        function(*p);                                                              \
        }

/* For memory from malloc(): _cleanup_(freep) char *s = NULL; */
static inline void freep(void *p)
{
        free(*(void **)p);
}
