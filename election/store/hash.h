/* uthash with our memory: running out of it ends the process, as everywhere in the cores. */
#pragma once

#include <stdlib.h>

#include "election/base/memory.h"

#define uthash_malloc(size) must_alloc(1, (size))
#define uthash_free(pointer, size) free(pointer)
#define uthash_fatal(message) abort()
#include <uthash.h>
