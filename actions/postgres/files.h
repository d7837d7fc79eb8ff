/*
 * Files, for children that may block and for the start. What is written here is on the disk when
 * the call returns: it goes to a temporary file that is synced, renamed, and its directory synced.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
        FILE_SIZE_MAX = 16 * 1024 * 1024, /* of a configuration file */
};

/* The content with a NUL behind it; free() it. Returns 0, -EFBIG, or the error of a call. */
int file_read(const char *path, char **ret);

/* Replaces @path by @text with @mode, keeping the mode of a file that exists. */
int file_write(const char *path, const char *text, unsigned mode);

/* Creates an empty file if it is not there. */
int file_touch(const char *path);

/* Removes it if it is there, durably. */
int file_remove(const char *path);

bool file_exists(const char *path);

/* Copies a regular file; the copy is synced. */
int file_copy(const char *from, const char *to);

/* Syncs the directory that @path is in. */
int file_sync_parent(const char *path);

/* 1 if @path is missing or an empty directory, 0 if it holds something, or a negative errno. */
int dir_is_free(const char *path);

/* Removes a tree, without following links out of it. A missing one is fine. */
int dir_remove(const char *path);
