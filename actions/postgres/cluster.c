/* Finding the processes of a database cluster in /proc. */
#include "actions/postgres/cluster.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "election/base/cleanup.h"

enum {
        TITLE_SIZE = 512, /* bytes of a command line that are looked at */
};

struct proc_stat {
        char state;
        uint64_t start;
};

static void closedirp(DIR **d)
{
        if (*d)
                (void)closedir(*d); /* read only */
}

/* Reads a small file of /proc/PID. Returns its length, or a negative errno. */
static ssize_t read_proc(pid_t pid, const char *name, char *ret, size_t size)
{
        char path[64];
        ssize_t n;
        int fd;

        snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = read(fd, ret, size - 1);
        if (n < 0)
                n = -errno;
        close(fd);
        if (n >= 0)
                ret[n] = '\0';
        return n;
}

static int read_stat(pid_t pid, struct proc_stat *ret)
{
        char text[1024], *rest;
        unsigned long long start;
        ssize_t n;

        n = read_proc(pid, "stat", text, sizeof(text));
        if (n < 0)
                return (int)n;
        /* The name in parentheses may itself contain any of these characters. */
        rest = strrchr(text, ')');
        if (!rest || sscanf(rest,
                            ") %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                            "%*s %*s %llu",
                            &ret->state, &start) != 2)
                return -EINVAL;
        ret->start = start;
        return 0;
}

static bool is_dead(char state)
{
        return state == 'Z' || state == 'X' || state == 'x';
}

uint64_t cluster_process_start(pid_t pid)
{
        struct proc_stat stat;

        if (read_stat(pid, &stat) < 0 || is_dead(stat.state))
                return 0;
        return stat.start;
}

bool cluster_process_is_stopped(pid_t pid)
{
        struct proc_stat stat;

        return read_stat(pid, &stat) == 0 && (stat.state == 'T' || stat.state == 't');
}

/* The target of a link of /proc/PID, with an empty result if it cannot be read. */
static void read_link(pid_t pid, const char *name, char *ret, size_t size)
{
        char path[64];
        ssize_t n;

        snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
        n = readlink(path, ret, size - 1);
        ret[n < 0 ? 0 : n] = '\0';
}

/* Whether @path, as /proc/PID/exe shows it, is the server's program, replaced since or not. */
static bool is_server_program(const char *path)
{
        const char *base = strrchr(path, '/');
        size_t n;

        base = base ? base + 1 : path;
        n = strcspn(base, " ");
        return (n == 8 && strncmp(base, "postgres", n) == 0) ||
               (n == 10 && strncmp(base, "postmaster", n) == 0);
}

/*
 * An agent's child that has entered the data directory is about to execute the server. The agent
 * itself and its other children stay in the root directory.
 */
static bool is_agent_program(const char *path)
{
        char own[PATH_MAX];

        read_link(getpid(), "exe", own, sizeof(own));
        return own[0] != '\0' && strcmp(path, own) == 0;
}

static bool owner_is_us(pid_t pid)
{
        struct stat st;
        char path[64];

        snprintf(path, sizeof(path), "/proc/%d", (int)pid);
        return stat(path, &st) == 0 && st.st_uid == geteuid();
}

enum cluster_owner cluster_process_owner(const char *data_dir, pid_t pid)
{
        char path[PATH_MAX];
        struct proc_stat stat;

        if (pid == getpid() || read_stat(pid, &stat) < 0 || is_dead(stat.state))
                return CLUSTER_NOBODY;
        if (!owner_is_us(pid)) {
                char name[32];

                if (read_proc(pid, "comm", name, sizeof(name)) < 0)
                        return CLUSTER_NOBODY;
                name[strcspn(name, "\n")] = '\0';
                return is_server_program(name) ? CLUSTER_FOREIGN : CLUSTER_NOBODY;
        }
        read_link(pid, "cwd", path, sizeof(path));
        if (strcmp(path, data_dir) != 0)
                return CLUSTER_NOBODY;
        read_link(pid, "exe", path, sizeof(path));
        return is_server_program(path) || is_agent_program(path) ? CLUSTER_OURS : CLUSTER_NOBODY;
}

/* The command line, with its blanks at the end cut; servers write what they do there. */
static void read_title(pid_t pid, char *ret, size_t size)
{
        ssize_t n = read_proc(pid, "cmdline", ret, size);

        while (n > 0 && (ret[n - 1] == '\0' || isspace((unsigned char)ret[n - 1])))
                n--;
        ret[n > 0 ? n : 0] = '\0';
}

static bool title_ends_with(pid_t pid, const char *word)
{
        char title[TITLE_SIZE];
        size_t n, n_word = strlen(word);

        read_title(pid, title, sizeof(title));
        n = strlen(title);
        return strncmp(title, "postgres: ", 10) == 0 && n > n_word &&
               strcmp(title + n - n_word, word) == 0;
}

bool cluster_process_is_child(pid_t pid)
{
        char title[TITLE_SIZE];

        read_title(pid, title, sizeof(title));
        return strncmp(title, "postgres: ", 10) == 0;
}

bool cluster_process_is_archiver(pid_t pid)
{
        char title[TITLE_SIZE];

        read_title(pid, title, sizeof(title));
        return strncmp(title, "postgres: ", 10) == 0 && strstr(title, "archiver");
}

int cluster_processes(const char *data_dir, pid_t *ret)
{
        _cleanup_(closedirp)
        DIR *proc = NULL;
        struct dirent *entry;
        int n = 0;

        proc = opendir("/proc");
        if (!proc)
                return -errno;
        while ((entry = readdir(proc)) && n < CLUSTER_PROCESSES_MAX) {
                pid_t pid = (pid_t)atoi(entry->d_name);

                if (pid <= 0 || !owner_is_us(pid))
                        continue;
                if (cluster_process_owner(data_dir, pid) != CLUSTER_OURS)
                        continue;
                if (!title_ends_with(pid, " logger"))
                        ret[n++] = pid;
        }
        return n;
}
