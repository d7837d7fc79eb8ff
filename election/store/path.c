/* Paths of keys: which are clean, and how to make them so. */
#include "election/store/path.h"

#include <errno.h>
#include <string.h>

#include "election/store/store.h"

/* Length of the part at @s, up to the next slash. */
static size_t part_length(const char *s, const char *end)
{
        const char *slash = memchr(s, '/', (size_t)(end - s));

        return (size_t)((slash ? slash : end) - s);
}

static bool is_dots(const char *part, size_t n)
{
        return (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.');
}

int store_path_clean(const char *path, char *ret, size_t size)
{
        const char *end = path + strlen(path);
        size_t n = 0, depth = 0;

        if (size < 2)
                return -EINVAL;
        for (const char *s = path; s < end;) {
                size_t n_part = part_length(s, end);

                if (n_part > 0) {
                        if (is_dots(s, n_part) || ++depth > STORE_KEY_DEPTH_MAX ||
                            n + 1 + n_part > STORE_KEY_BYTES_MAX || n + 1 + n_part >= size)
                                return -EINVAL;
                        ret[n++] = '/';
                        memcpy(ret + n, s, n_part);
                        n += n_part;
                }
                s += n_part < (size_t)(end - s) ? n_part + 1 : n_part;
        }
        if (n == 0)
                ret[n++] = '/';
        ret[n] = '\0';
        return (int)n;
}

bool path_is_clean(const char *path, size_t n)
{
        const char *end = path + n;
        size_t depth = 0;

        if (n == 0 || n > STORE_KEY_BYTES_MAX || path[0] != '/')
                return false;
        if (n == 1)
                return true;
        for (const char *s = path; s < end;) {
                size_t n_part = part_length(s + 1, end);

                if (n_part == 0 || is_dots(s + 1, n_part) || ++depth > STORE_KEY_DEPTH_MAX)
                        return false;
                s += 1 + n_part;
        }
        return true;
}

size_t path_depth(const char *path, size_t n)
{
        size_t depth = 0;

        if (n == 1)
                return 0;
        for (size_t i = 0; i < n; i++)
                depth += path[i] == '/';
        return depth;
}

size_t path_parent(const char *path, size_t n)
{
        while (n > 1 && path[n - 1] != '/')
                n--;
        return n > 1 ? n - 1 : 1;
}

bool path_is_below(const char *path, size_t n, const char *directory, size_t n_directory)
{
        if (n_directory == 1)
                return n > 1;
        return n > n_directory && path[n_directory] == '/' &&
               memcmp(path, directory, n_directory) == 0;
}

bool path_hides(const char *path, size_t n, size_t n_above)
{
        for (size_t i = n_above == 1 ? 0 : n_above; i + 1 < n; i++)
                if (path[i] == '/' && path[i + 1] == '_')
                        return true;
        return false;
}
