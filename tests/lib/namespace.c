/* Network namespaces of a test's own. */
#include "tests/lib/namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int write_file(const char *path, const char *content)
{
        FILE *f = fopen(path, "we");
        int r;

        if (!f)
                return -errno;
        r = fputs(content, f) < 0 ? -EIO : 0;
        return fclose(f) < 0 ? -errno : r;
}

/* Becomes root of a user namespace that has the network namespace in it. */
static int unshare_without_root(void)
{
        unsigned uid = getuid(), gid = getgid();
        char map[64];
        int r;

        if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
                return -errno;
        (void)snprintf(map, sizeof(map), "0 %u 1\n", uid);
        r = write_file("/proc/self/uid_map", map);
        if (r < 0)
                return r;
        r = write_file("/proc/self/setgroups", "deny");
        if (r < 0)
                return r;
        (void)snprintf(map, sizeof(map), "0 %u 1\n", gid);
        return write_file("/proc/self/gid_map", map);
}

int namespace_enter(void)
{
        int fd, r;

        if (unshare(CLONE_NEWNET) < 0) {
                if (errno != EPERM)
                        return -errno;
                r = unshare_without_root();
                if (r < 0)
                        return r;
        }
        if (namespace_run("ip link set lo up") != 0)
                return -EIO;
        fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

int namespace_return(int fd)
{
        return setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

int namespace_run(const char *format, ...)
{
        char command[512];
        va_list arguments;
        pid_t child;
        int n, status;

        va_start(arguments, format);
        n = vsnprintf(command, sizeof(command), format, arguments);
        va_end(arguments);
        if (n < 0 || (size_t)n >= sizeof(command))
                return -EINVAL;

        child = fork();
        if (child < 0)
                return -errno;
        if (child == 0) {
                execl("/bin/sh", "sh", "-c", command, (char *)NULL);
                _exit(127);
        }
        while (waitpid(child, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}
