/*
 * Writing to the active segment past the page cache: a log is written once and not read again while
 * we live, and a synced write is a third faster without the cache's bookkeeping. Only whole blocks
 * can be written so, and a batch is nothing else.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "election/base/cleanup.h"

struct wal_direct;

/*
 * For writes that go on at @offset of the file @name, where a block begins. NULL where the file
 * system cannot do it: not an error.
 */
struct wal_direct *wal_direct_new(int dir_fd, const char *name, size_t offset);
void wal_direct_free(struct wal_direct *d);
DEFINE_CLEANUP(struct wal_direct *, wal_direct_free)

/*
 * Writes and syncs @n bytes, whole blocks, behind those before. Returns 0; -EINVAL when nothing was
 * written because it cannot be done this way; or another error, after which nothing is known.
 */
int wal_direct_write(struct wal_direct *d, const uint8_t *bytes, size_t n);
