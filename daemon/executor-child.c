/* Children of the executor. */
#include "daemon/executor-child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/link.h"

#define QUICK_DEATH (2 * USEC_PER_SEC) /* who dies earlier than this would die again */

static int pidfd_open_child(pid_t pid)
{
        long fd = syscall(SYS_pidfd_open, pid, 0);

        return fd < 0 ? -errno : (int)fd;
}

static void child_forget(struct child *c)
{
        if (c->ended)
                event_free(c->ended);
        if (c->pid_fd >= 0)
                (void)close(c->pid_fd); /* refers to a process: nothing can be lost */
        c->ended = NULL;
        c->pid_fd = -1;
        c->pid = 0;
}

static void on_pidfd_readable(evutil_socket_t fd, short what, void *userdata)
{
        struct child *c = userdata;
        int status = 0;

        (void)fd;
        (void)what;
        if (waitpid(c->pid, &status, WNOHANG) == 0)
                return;
        c->n_quick_deaths = instant_reached(instant_after(c->started, QUICK_DEATH), clock_now())
                                    ? 0
                                    : c->n_quick_deaths + 1;
        child_forget(c);
        c->on_ended(c, status, c->userdata);
}

/* In the parent: follows the child @pid. If that is impossible the child is ended again. */
static int child_watch(struct event_base *base, pid_t pid, struct child *c)
{
        int r;

        c->pid = pid;
        c->started = clock_now();
        c->pid_fd = pidfd_open_child(pid);
        r = c->pid_fd < 0 ? c->pid_fd : -ENOMEM;
        if (c->pid_fd >= 0)
                c->ended = event_new(base, c->pid_fd, EV_READ | EV_PERSIST, on_pidfd_readable, c);
        if (c->ended && event_priority_set(c->ended, 0) == 0 && event_add(c->ended, NULL) == 0)
                return 0;
        (void)kill(pid, SIGKILL); /* it is our child and not waited for: the number is its own */
        (void)waitpid(pid, NULL, 0);
        child_forget(c);
        return r;
}

static void reset_signals(void)
{
        sigset_t none;

        for (int signo = 1; signo < NSIG; signo++)
                (void)signal(signo, SIG_DFL); /* refused for SIGKILL and SIGSTOP */
        (void)sigemptyset(&none); /* cannot fail */
        (void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail with these arguments */
}

/* A database must not inherit that the executor is spared when memory or time is short. */
static void reset_favours(void)
{
        int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

        if (fd >= 0) {
                /* Without it the child is favoured, and works all the same. */
                if (write(fd, "0", 1) < 0)
                        errno = 0;
                (void)close(fd);
        }
        if (getpriority(PRIO_PROCESS, 0) < 0)
                (void)setpriority(PRIO_PROCESS, 0, 0); /* lowering is always allowed */
}

/* Ends the child when its parent ends; the parent may have ended before this was set. */
static int die_with_parent(pid_t parent)
{
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                return -errno;
        return getppid() == parent ? 0 : -ESRCH;
}

static int set_environment(const struct child_command *command)
{
        const char *journal = getenv("JOURNAL_STREAM");
        char number[16];

        if (command->is_engine) {
                (void)snprintf(number, sizeof(number), "%d", command->fd); /* long enough */
                if (unsetenv("NOTIFY_SOCKET") < 0 || unsetenv("WATCHDOG_USEC") < 0 ||
                    unsetenv("WATCHDOG_PID") < 0)
                        return -errno;
                return setenv(LINK_FD_ENVIRONMENT, number, 1) < 0 ? -errno : 0;
        }
        journal = journal ? strdup(journal) : NULL;
        if (clearenv() != 0)
                return -ENOMEM;
        if (setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1) < 0 ||
            setenv("LC_ALL", "C", 1) < 0 || setenv("HOME", command->user->home, 1) < 0 ||
            setenv("USER", command->user->name, 1) < 0 ||
            setenv("LOGNAME", command->user->name, 1) < 0)
                return -errno;
        if (journal && setenv("JOURNAL_STREAM", journal, 1) < 0)
                return -errno;
        return 0;
}

static int set_descriptors(const struct child_command *command)
{
        /* Ours close by themselves, but not those that were left open to us. */
        if (close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
                return -errno;
        if (command->fd_is_stdio) {
                if (dup2(command->fd, STDIN_FILENO) < 0 || dup2(command->fd, STDOUT_FILENO) < 0)
                        return -errno;
                return 0;
        }
        return fcntl(command->fd, F_SETFD, 0) < 0 ? -errno : 0;
}

/* In the child. Comes back only on failure. */
static int child_execute(const struct child_command *command, pid_t parent)
{
        int r;

        reset_signals();
        if (!command->is_engine)
                reset_favours();
        if (setsid() < 0)
                return -errno;
        r = set_descriptors(command);
        if (r == 0)
                r = set_environment(command);
        if (r == 0)
                r = user_become(command->user);
        /* An agent's start command may be a program that gains privileges; the engine has none. */
        if (r == 0 && command->is_engine)
                r = privileges_drop_all();
        /* After the change of user, which would undo it. */
        if (r == 0 && command->is_engine)
                r = die_with_parent(parent);
        if (r < 0)
                return r;
        (void)chdir("/"); /* not needed, only in nobody's way */
        (void)execv(command->path, (char *const *)command->argv);
        return -errno;
}

int child_start(struct event_base *base, const struct child_command *command, struct child *c)
{
        pid_t parent = getpid(), pid;
        int r;

        assert(!child_is_running(c));
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                r = child_execute(command, parent);
                (void)dprintf(STDERR_FILENO, "cannot run %s: %s\n", command->path, strerror(-r));
                _exit(127);
        }
        return child_watch(base, pid, c);
}

int child_run(struct event_base *base, const struct user *user, int (*function)(const void *arg),
              const void *arg, struct child *c)
{
        pid_t pid;

        assert(!child_is_running(c));
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                reset_signals();
                if (close_range(STDERR_FILENO + 1, ~0U, 0) < 0 || user_become(user) < 0)
                        _exit(126);
                if (user->uid != 0 && privileges_drop_all() < 0)
                        _exit(126);
                _exit(function(arg));
        }
        return child_watch(base, pid, c);
}

bool child_is_running(const struct child *c)
{
        return c->pid > 0;
}

void child_signal(struct child *c, int signo)
{
        /* Fails only if it has ended, of which we hear by its pidfd. */
        if (child_is_running(c))
                (void)syscall(SYS_pidfd_send_signal, c->pid_fd, signo, NULL, 0);
}

void child_abandon(struct child *c)
{
        child_forget(c);
}

usec_t child_backoff(const struct child *c)
{
        static const unsigned msec[] = { 0, 0, 50, 200, 1000 };
        unsigned n = c->n_quick_deaths, last = sizeof(msec) / sizeof(msec[0]) - 1;

        return msec[n < last ? n : last] * USEC_PER_MSEC;
}

void child_describe_end(int status, char *ret, size_t size)
{
        /* A cut is harmless. */
        if (WIFSIGNALED(status))
                (void)snprintf(ret, size, "killed by signal %d (%s)", WTERMSIG(status),
                               strsignal(WTERMSIG(status)));
        else
                (void)snprintf(ret, size, "exit status %d", WEXITSTATUS(status));
}
