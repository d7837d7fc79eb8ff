/*
 * A disk that fails, for processes that are started with this library preloaded. What is written
 * to files under $SHIM_DISK_DATA goes through, until the file $SHIM_DISK_FAULT names the call that
 * fails with EIO from then on: pwrite, fdatasync or fsync. $SHIM_DISK_TRACE gets a line for each
 * call since the first that failed in a process: process number, call, file, and how it ended.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { FAULT_SIZE = 64, LINE_SIZE = PATH_MAX + 128 };

static __thread bool is_inside; /* our own calls are not looked at */

static bool path_of(int fd, char *ret, size_t size)
{
        char link[64];
        ssize_t n;

        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd); /* always fits */
        n = readlink(link, ret, size - 1);
        if (n < 0)
                return false;
        ret[n] = '\0';
        return true;
}

/* Whether the fault file names @call. */
static bool is_named(const char *call)
{
        const char *file = getenv("SHIM_DISK_FAULT");
        char words[FAULT_SIZE];
        ssize_t n;
        int fd;

        fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0)
                return false;
        n = read(fd, words, sizeof(words) - 1);
        (void)close(fd);
        if (n < 0)
                return false;
        words[n] = '\0';
        return strcmp(words, call) == 0;
}

static void trace(const char *call, const char *path, bool fails)
{
        const char *file = getenv("SHIM_DISK_TRACE");
        char line[LINE_SIZE];
        int fd, n;

        n = snprintf(line, sizeof(line), "%d %s %s %s\n", (int)getpid(), call, path,
                     fails ? "failed" : "passed");
        fd = file ? open(file, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
        if (fd < 0)
                return;
        if (write(fd, line, (size_t)n) != n)
                abort(); /* a trace with gaps would prove the wrong thing */
        (void)close(fd);
}

/* Whether @call on @fd is to fail now. */
static bool fails(const char *call, int fd)
{
        static bool has_failed; /* in this process: only ever set */
        const char *data = getenv("SHIM_DISK_DATA");
        char path[PATH_MAX];
        int error = errno;
        bool yes = false;

        if (is_inside || !data)
                return false;
        is_inside = true;
        if (path_of(fd, path, sizeof(path)) && strncmp(path, data, strlen(data)) == 0) {
                yes = is_named(call);
                if (yes)
                        has_failed = true;
                if (has_failed)
                        trace(call, path, yes);
        }
        is_inside = false;
        errno = error;
        return yes;
}

static void *next(const char *name)
{
        void *function = dlsym(RTLD_NEXT, name);

        if (!function)
                abort();
        return function;
}

static int failed(void)
{
        errno = EIO;
        return -1;
}

static ssize_t write_at(const char *name, int fd, const void *bytes, size_t n, off_t offset)
{
        ssize_t (*function)(int, const void *, size_t, off_t);
        void *found = next(name);

        memcpy(&function, &found, sizeof(function)); /* what POSIX means by a cast of dlsym() */
        return function(fd, bytes, n, offset);
}

static int sync_of(const char *name, int fd)
{
        int (*function)(int);
        void *found = next(name);

        memcpy(&function, &found, sizeof(function));
        return function(fd);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
        return fails("pwrite", fd) ? failed() : write_at("pwrite", fd, bytes, n, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t offset)
{
        return fails("pwrite", fd) ? failed() : write_at("pwrite64", fd, bytes, n, offset);
}

/* What a failed sync leaves behind may be on disk or not: here it is not even asked for. */
int fdatasync(int fd)
{
        return fails("fdatasync", fd) ? failed() : sync_of("fdatasync", fd);
}

int fsync(int fd)
{
        return fails("fsync", fd) ? failed() : sync_of("fsync", fd);
}
