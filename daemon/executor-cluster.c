/*
 * Killing a database without its agent: the postmaster that the agent has named, and whatever
 * works in the data directory. Looking into other users' processes needs a power that the executor
 * has given up, so a child does it as the database's own user.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/executor-private.h"
#include "daemon/journal.h"

#define KILL_ROUND_NSEC (2 * 1000 * 1000) /* between two looks at the processes */
#define KILL_ROUNDS_MAX 200

enum {
        PROC_PATH_SIZE = 320, /* "/proc/", a name of a directory, and a file in it */
        STAT_SIZE = 1024,
        STAT_START_FIELD = 22, /* proc(5): starttime */
};

/* Clock ticks between boot and the start of a process; 0 if there is none (or a zombie). */
static uint64_t process_start(pid_t pid)
{
        char path[PROC_PATH_SIZE], text[STAT_SIZE], *p;
        ssize_t n;
        int fd;

        (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid); /* fits */
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return 0;
        n = read(fd, text, sizeof(text) - 1);
        (void)close(fd); /* only read from */
        if (n <= 0)
                return 0;
        text[n] = '\0';
        p = strrchr(text, ')'); /* the name in front may contain anything */
        if (!p || p[1] != ' ' || p[2] == 'Z' || p[2] == 'X')
                return 0;
        for (int field = 2; p && field < STAT_START_FIELD; field++)
                p = strchr(p + 1, ' ');
        return p ? strtoull(p + 1, NULL, 10) : 0;
}

bool cluster_is_alive(const struct service *s)
{
        const struct database *d = &s->database;

        return d->postmaster > 0 && process_start(d->postmaster) == d->postmaster_start;
}

/* By a pidfd, so that nobody else who has got the number meanwhile is hit. */
static void kill_postmaster(const struct database *d)
{
        long fd;

        if (d->postmaster <= 0)
                return;
        fd = syscall(SYS_pidfd_open, d->postmaster, 0);
        if (fd < 0)
                return;
        if (process_start(d->postmaster) == d->postmaster_start)
                /* If it fails the child tries as well, and the proof fails. */
                (void)syscall(SYS_pidfd_send_signal, (int)fd, SIGKILL, NULL, 0);
        (void)close((int)fd);
}

/* Whether the working directory of the process @name is @directory (or was, under its name). */
static bool works_in(const char *name, const char *directory, const struct stat *st)
{
        char path[PROC_PATH_SIZE], target[CONF_VALUE_MAX + 16];
        struct stat cwd;
        size_t n_dir = strlen(directory);
        ssize_t n;

        (void)snprintf(path, sizeof(path), "/proc/%s/cwd", name); /* fits */
        if (st && stat(path, &cwd) == 0 && cwd.st_dev == st->st_dev && cwd.st_ino == st->st_ino)
                return true;
        n = readlink(path, target, sizeof(target) - 1);
        if (n < 0 || (size_t)n < n_dir)
                return false;
        target[n] = '\0';
        return strncmp(target, directory, n_dir) == 0 &&
               (target[n_dir] == '\0' || strcmp(target + n_dir, " (deleted)") == 0);
}

static pid_t pid_of(const char *name)
{
        char *end;
        long pid = strtol(name, &end, 10);

        return *end || end == name || pid <= 0 || pid > INT32_MAX ? 0 : (pid_t)pid;
}

/* Kills all that work in @directory. Returns how many there were, or a negative errno. */
static int kill_all_in(const char *directory)
{
        const struct dirent *entry;
        struct stat st, *known = stat(directory, &st) == 0 ? &st : NULL;
        DIR *proc = opendir("/proc");
        int n = 0;

        if (!proc)
                return -errno;
        while ((entry = readdir(proc))) {
                pid_t pid = pid_of(entry->d_name);

                if (pid == 0 || pid == getpid() || !works_in(entry->d_name, directory, known))
                        continue;
                (void)kill(pid, SIGKILL); /* that it works shows in the next round */
                n++;
        }
        (void)closedir(proc); /* only read from */
        return n;
}

/* In the child: 0 when it is proved that nothing is left, else 1. */
static int kill_cluster(const void *arg)
{
        const struct service *s = arg;
        const struct timespec wait = { .tv_nsec = KILL_ROUND_NSEC };

        for (int round = 0; round < KILL_ROUNDS_MAX; round++) {
                if (kill_all_in(s->conf->postgres->data_dir) == 0 && !cluster_is_alive(s))
                        return 0;
                kill_postmaster(&s->database);
                (void)nanosleep(&wait, NULL); /* shorter is as good */
        }
        return 1;
}

static void on_killer_ended(struct child *c, int status, void *userdata)
{
        struct service *s = userdata;
        char words[REASON_SIZE];

        (void)c;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
                database_closed(s);
                return;
        }
        child_describe_end(status, words, sizeof(words));
        (void)log_error(0, "cannot prove that all processes of the database of %s are killed (%s)",
                        s->conf->name, words);
}

void cluster_kill(struct service *s)
{
        int r;

        kill_postmaster(&s->database);
        if (child_is_running(&s->killer))
                return;
        s->killer.on_ended = on_killer_ended;
        s->killer.userdata = s;
        r = child_run(s->executor->base, &s->agent->user, kill_cluster, s, &s->killer);
        if (r < 0)
                (void)log_error(r, "cannot start killing the database of %s", s->conf->name);
}

void cluster_kill_cancel(struct service *s)
{
        /* Stopped before anybody can start a new database in the same directory. */
        child_signal(&s->killer, SIGKILL);
}
