/* Directories for tests. */
#include "tests/lib/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int scratch_new(char *ret)
{
        const char *root = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

        (void)snprintf(ret, SCRATCH_PATH_SIZE, "%s/failoverd-test-XXXXXX", root);
        return mkdtemp(ret) ? 0 : -errno;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
        (void)st;
        (void)type;
        (void)at;
        (void)remove(path); /* what stays is seen by who looks into the directory */
        return 0;
}

void scratch_remove(const char *path)
{
        (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int copy_file(int from_dir, int to_dir, const char *name)
{
        char bytes[64 << 10];
        int from, to, r = 0;
        ssize_t n;

        from = openat(from_dir, name, O_RDONLY | O_CLOEXEC);
        if (from < 0)
                return -errno;
        to = openat(to_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (to < 0)
                r = -errno;
        while (r == 0 && (n = read(from, bytes, sizeof(bytes))) != 0)
                if (n < 0 || write(to, bytes, (size_t)n) != n)
                        r = -EIO;
        (void)close(from);
        if (to >= 0)
                (void)close(to);
        return r;
}

int scratch_copy(const char *from, const char *to)
{
        struct dirent *entry;
        int to_fd, r = 0;
        DIR *dir;

        dir = opendir(from);
        if (!dir)
                return -errno;
        to_fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (to_fd < 0)
                r = -errno;
        while (r == 0 && (entry = readdir(dir)))
                if (entry->d_type == DT_REG)
                        r = copy_file(dirfd(dir), to_fd, entry->d_name);
        (void)closedir(dir);
        if (to_fd >= 0)
                (void)close(to_fd);
        return r;
}
