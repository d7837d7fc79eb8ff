/* Jobs that start the server: as a standby, or as the primary that it was. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actions/postgres/files.h"
#include "actions/postgres/pidfile.h"
#include "actions/postgres/work-files.h"
#include "actions/postgres/work-timeline.h"
#include "actions/process.h"
#include "election/base/cleanup.h"

enum {
        ENVIRONMENT_MAX = 128, /* variables that the server is given */
        LOG_SIZE_MAX = 16 * 1024 * 1024, /* then it becomes postmaster.log.old */
};

extern char **environ;

/* What a service manager meant for us, and what would change the server's language or connections. */
static bool is_for_the_server(const char *variable)
{
        static const char *const ours[] = {
                "NOTIFY_SOCKET=", "LISTEN_",  "WATCHDOG_",       "MAINPID=",      "PG", "LC_",
                "LANG",           "FDSTORE=", "JOURNAL_STREAM=", "INVOCATION_ID="
        };

        for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
                if (strncmp(variable, ours[i], strlen(ours[i])) == 0)
                        return false;
        return true;
}

static void make_environment(const char *ret[static ENVIRONMENT_MAX + 2])
{
        size_t n = 0;

        for (char **v = environ; *v && n < ENVIRONMENT_MAX; v++)
                if (is_for_the_server(*v))
                        ret[n++] = *v;
        ret[n++] = "LC_ALL=C";
        ret[n] = NULL;
}

/*
 * Enters the data directory before it leaves our process group: whoever closes the database then
 * finds it, either as one of our group or by its working directory.
 */
static _Noreturn void become_server(const struct settings *s, int fd_log)
{
        const char *environment[ENVIRONMENT_MAX + 2];
        char program[PATH_SIZE + 16], config[PATH_SIZE + 32];
        const char *argv[] = { program, "-D", s->data_dir, NULL, NULL, NULL };

        make_environment(environment);
        if (chdir(s->data_dir) < 0 || setsid() < 0)
                _exit(127);
        process_clean_child(fd_log);
        umask(0077);
        snprintf(program, sizeof(program), "%s/postgres", s->bin_dir);
        if (s->config_file[0] != '\0') {
                snprintf(config, sizeof(config), "config_file=%s", s->config_file);
                argv[3] = "-c";
                argv[4] = config;
        }
        execve(program, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)environment);
        dprintf(STDERR_FILENO, "cannot execute %s: %s\n", program, strerror(errno));
        _exit(127);
}

static int open_log(struct work *w, char path[static PATH_SIZE])
{
        char old[PATH_SIZE];
        struct stat st;

        work_state_path(w, "postmaster.log", path);
        work_state_path(w, "postmaster.log.old", old);
        if (stat(path, &st) == 0 && st.st_size > LOG_SIZE_MAX)
                (void)rename(path, old); /* else it grows on */
        return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* The last complaint behind @from in the log; the server's own log directory may have more. */
static void find_reason(const char *path, off_t from, char ret[static TEXT_SIZE])
{
        _cleanup_(freep)
        char *text = NULL;
        char *line, *rest;

        snprintf(ret, TEXT_SIZE, "see %.180s and the server's own log", path);
        if (file_read(path, &text) < 0 || (size_t)from > strlen(text))
                return;
        rest = text + from;
        while ((line = strsep(&rest, "\n"))) {
                const char *words = strstr(line, "FATAL:");

                if (!words)
                        words = strstr(line, "PANIC:");
                if (words)
                        snprintf(ret, TEXT_SIZE, "%.200s", words);
        }
}

int work_explain(struct work *w)
{
        char log[PATH_SIZE], reason[TEXT_SIZE];

        work_state_path(w, "postmaster.log", log);
        find_reason(log, 0, reason);
        return work_fail(w, "the server ended again while it started: %.200s", reason);
}

static bool server_is_up(struct work *w, pid_t pid)
{
        _cleanup_(freep)
        char *text = NULL;
        char path[PATH_SIZE];
        struct pidfile p;

        work_path(w, "postmaster.pid", path);
        if (file_read(path, &text) < 0 || pidfile_parse(text, &p) < 0)
                return false;
        return (pid == 0 || p.pid == pid) && p.state != PIDFILE_UNKNOWN;
}

/* Until the pid file tells a state; what comes then is seen by the agent. */
static int wait_for_server(struct work *w, pid_t pid, const char *log, off_t log_size)
{
        char reason[TEXT_SIZE];

        while (!server_is_up(w, pid)) {
                if (waitpid(pid, NULL, WNOHANG) == pid) {
                        find_reason(log, log_size, reason);
                        return work_fail(w, "the server did not start: %s", reason);
                }
                if (!work_wait(w))
                        return work_fail(w, "the server did not start in time");
        }
        return 0;
}

static int start_directly(struct work *w)
{
        char log[PATH_SIZE];
        struct stat st = { 0 };
        int fd_log;
        pid_t pid;

        fd_log = open_log(w, log);
        if (fd_log < 0 || fstat(fd_log, &st) < 0)
                return work_fail_errno(w, -errno, "cannot open %s", log);
        pid = fork();
        if (pid == 0)
                become_server(w->settings, fd_log);
        close(fd_log);
        if (pid < 0)
                return work_fail_errno(w, -errno, "cannot start the server");
        return wait_for_server(w, pid, log, st.st_size);
}

static int start_by_command(struct work *w)
{
        char *const *args = w->settings->start_command.args;
        int r;

        r = work_run_path(w, args[0], (const char *const *)args + 1, NULL, NULL);
        while (r == 0 && !server_is_up(w, 0))
                if (!work_wait(w))
                        return work_fail(w, "start_command did not start the server in time");
        return r;
}

static int start(struct work *w)
{
        work_remove_stale_locks(w);
        return w->settings->start_command.n > 0 ? start_by_command(w) : start_directly(w);
}

static int check_directory(struct work *w)
{
        char mark[PATH_SIZE];
        int r;

        r = work_look(w, w->settings->data_dir);
        if (r < 0)
                return r;
        if (w->result.absent)
                return work_fail(w, "there is no database in %s", w->settings->data_dir);
        if (w->result.version != w->settings->facts->major)
                return work_fail(w, "%s is of version %u, not %u", w->settings->data_dir,
                                 w->result.version, w->settings->facts->major);
        work_state_path(w, WORK_REWIND_MARK, mark);
        if (file_exists(mark))
                return work_fail(w, "a rewind of %.180s was cut off, so it must be cloned",
                                 w->settings->data_dir);
        return work_include_conf(w, w->settings->data_dir);
}

int work_start(struct work *w)
{
        const char *dir = w->settings->data_dir;
        int r;

        /* First of all, so that whatever starts it from now on gets a read-only server. */
        r = check_directory(w);
        if (r == 0)
                r = work_keep_own_timeline(w);
        if (r == 0)
                r = work_mark_standby(w, dir);
        if (r == 0)
                r = work_write_replication_conf(w, dir,
                                                w->order.has_primary ? &w->order.primary : NULL);
        return r < 0 ? r : start(w);
}

int work_restart(struct work *w)
{
        char path[PATH_SIZE];
        int r;

        r = check_directory(w);
        if (r < 0)
                return r;
        if (!controldata_was_primary(&w->result.control))
                return work_fail(w, "the last server here was a standby, and is to be promoted");
        work_path(w, "standby.signal", path);
        r = file_remove(path);
        if (r < 0)
                return work_fail_errno(w, r, "cannot remove %s", path);
        work_path(w, "recovery.signal", path);
        r = file_remove(path);
        if (r < 0)
                return work_fail_errno(w, r, "cannot remove %s", path);
        r = work_write_replication_conf(w, w->settings->data_dir, NULL);
        return r < 0 ? r : start(w);
}
