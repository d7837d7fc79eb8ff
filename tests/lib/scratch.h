/* Directories for tests, removed with all that is in them. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

enum {
        SCRATCH_PATH_SIZE = 4096,
};

/*
 * A new, empty directory whose path is put into @ret of SCRATCH_PATH_SIZE bytes; in memory where
 * the machine has /dev/shm, so that a test which syncs thousands of times does not wait for a disk.
 * Returns 0 or a negative errno.
 */
int scratch_new(char *ret);

/* Removes a directory and everything in it. */
void scratch_remove(const char *path);

/* Copies the regular files of one directory into another. Returns 0 or a negative errno. */
int scratch_copy(const char *from, const char *to);
