/* Durable writing, copying and removing of files. */
#include "actions/postgres/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "election/base/buffer.h"
#include "election/base/cleanup.h"

enum {
        COPY_SIZE = 64 * 1024,
        TREE_DESCRIPTORS = 32, /* that nftw() may hold open */
};

static void closep(int *fd)
{
        if (*fd >= 0)
                close(*fd);
}

static void closedirp(DIR **d)
{
        if (*d)
                (void)closedir(*d); /* read only */
}

int file_read(const char *path, char **ret)
{
        _cleanup_(closep)
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        _cleanup_(buffer_done)
        struct buffer b = { 0 };
        char bytes[4096];
        ssize_t n;

        if (fd < 0)
                return -errno;
        while ((n = read(fd, bytes, sizeof(bytes))) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (b.n + (size_t)n > FILE_SIZE_MAX)
                        return -EFBIG;
                buffer_put(&b, bytes, (size_t)n);
        }
        buffer_put_u8(&b, '\0');
        *ret = (char *)TAKE_PTR(b.bytes);
        return 0;
}

static int write_all(int fd, const char *bytes, size_t n)
{
        while (n > 0) {
                ssize_t written = write(fd, bytes, n);

                if (written < 0 && errno == EINTR)
                        continue;
                if (written < 0)
                        return -errno;
                bytes += written;
                n -= (size_t)written;
        }
        return 0;
}

int file_sync_parent(const char *path)
{
        _cleanup_(closep)
        int fd = -1;
        char copy[PATH_MAX];

        snprintf(copy, sizeof(copy), "%s", path);
        fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
                return -errno;
        return 0;
}

static int write_synced(const char *path, const char *text, unsigned mode)
{
        _cleanup_(closep)
        int fd = -1;
        int r;

        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
        if (fd < 0)
                return -errno;
        r = write_all(fd, text, strlen(text));
        if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
                r = -errno;
        return r;
}

int file_write(const char *path, const char *text, unsigned mode)
{
        char aside[PATH_MAX];
        struct stat st;
        int n, r;

        n = snprintf(aside, sizeof(aside), "%s.failoverd-new", path);
        if (n < 0 || (size_t)n >= sizeof(aside))
                return -ENAMETOOLONG;
        if (stat(path, &st) == 0)
                mode = st.st_mode & 07777;
        r = write_synced(aside, text, mode);
        if (r == 0 && rename(aside, path) < 0)
                r = -errno;
        if (r < 0) {
                (void)unlink(aside); /* the first error is what matters */
                return r;
        }
        return file_sync_parent(path);
}

int file_touch(const char *path)
{
        _cleanup_(closep)
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd < 0 || fsync(fd) < 0)
                return -errno;
        return file_sync_parent(path);
}

int file_remove(const char *path)
{
        if (unlink(path) < 0)
                return errno == ENOENT ? 0 : -errno;
        return file_sync_parent(path);
}

bool file_exists(const char *path)
{
        return access(path, F_OK) == 0;
}

int file_copy(const char *from, const char *to)
{
        _cleanup_(closep)
        int in = open(from, O_RDONLY | O_CLOEXEC);
        _cleanup_(closep)
        int out = -1;
        _cleanup_(freep)
        char *bytes = NULL;
        ssize_t n;
        int r;

        if (in < 0)
                return -errno;
        out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (out < 0)
                return -errno;
        bytes = malloc(COPY_SIZE);
        if (!bytes)
                return -ENOMEM;
        while ((n = read(in, bytes, COPY_SIZE)) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                r = n < 0 ? -errno : write_all(out, bytes, (size_t)n);
                if (r < 0)
                        return r;
        }
        return fsync(out) < 0 ? -errno : 0;
}

int dir_is_free(const char *path)
{
        _cleanup_(closedirp)
        DIR *d = opendir(path);
        struct dirent *entry;

        if (!d)
                return errno == ENOENT ? 1 : -errno;
        while ((entry = readdir(d)))
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        return 0;
        return 1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        (void)st;
        (void)type;
        (void)ftw;
        return remove(path);
}

int dir_remove(const char *path)
{
        if (!file_exists(path))
                return 0;
        if (nftw(path, remove_one, TREE_DESCRIPTORS, FTW_DEPTH | FTW_PHYS) != 0)
                return -errno;
        return file_sync_parent(path);
}
