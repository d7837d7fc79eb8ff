/* Clean paths with their lengths; the root is "/", all others have no slash at the end. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Whether store_path_clean() would leave it as it is. */
bool path_is_clean(const char *path, size_t n);
/* How many names it has; 0 for the root. */
size_t path_depth(const char *path, size_t n);
/* The length of the path of the directory it is in; the root is in itself. */
size_t path_parent(const char *path, size_t n);
bool path_is_below(const char *path, size_t n, const char *directory, size_t n_directory);
/* Whether a name in it, behind the first @n_above bytes (a clean path), begins with '_'. */
bool path_hides(const char *path, size_t n, size_t n_above);
