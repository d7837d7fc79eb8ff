/* Children with a process group, a pidfd, a deadline and limited output. */
#include "actions/process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "election/base/buffer.h"

enum {
        EXIT_CANNOT_EXECUTE = 127,
        READ_SIZE = 4096,
};

const char *const process_environment[] = {
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL=C",
        NULL,
};

struct process {
        pid_t pid;
        int pidfd;
        int fd_output;
        struct event *ended;
        struct event *readable;
        struct event *timeout;
        struct buffer output;
        bool line_skipping;
        bool timed_out;
        struct process_options options;
};

static void process_free(struct process *p)
{
        if (!p)
                return;
        if (p->ended)
                event_free(p->ended);
        if (p->readable)
                event_free(p->readable);
        if (p->timeout)
                event_free(p->timeout);
        if (p->pidfd >= 0)
                close(p->pidfd);
        if (p->fd_output >= 0)
                close(p->fd_output);
        buffer_done(&p->output);
        if (p->options.on_free)
                p->options.on_free(p->options.userdata);
        free(p);
}
DEFINE_CLEANUP(struct process *, process_free)

void process_clean_child(int fd_output)
{
        sigset_t none;
        int fd_null;

        sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail */
        for (int i = 1; i < NSIG; i++)
                (void)signal(i, SIG_DFL); /* fails for SIGKILL and SIGSTOP only */
        fd_null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (fd_null < 0 || dup2(fd_null, STDIN_FILENO) < 0)
                _exit(EXIT_CANNOT_EXECUTE);
        if (fd_output < 0)
                fd_output = fd_null;
        if (dup2(fd_output, STDOUT_FILENO) < 0 || dup2(fd_output, STDERR_FILENO) < 0)
                _exit(EXIT_CANNOT_EXECUTE);
        if (close_range(STDERR_FILENO + 1, ~0u, 0) < 0)
                _exit(EXIT_CANNOT_EXECUTE);
}

/* environ and argv are not const for historical reasons; execve() does not write to them. */
static char *const *unconst(const char *const *list)
{
        return (char *const *)(uintptr_t)list;
}

static void on_orphaned(int signal)
{
        (void)signal;
        (void)kill(0, SIGKILL); /* our group, ourselves with it */
}

/*
 * Whatever a child has started must not go on behind the back of our successor. A program can only
 * be killed itself; a function of ours takes its whole group along.
 */
static void die_with(pid_t parent, bool is_function)
{
        const struct sigaction action = { .sa_handler = on_orphaned };

        if (is_function && sigaction(SIGTERM, &action, NULL) < 0)
                _exit(EXIT_CANNOT_EXECUTE);
        if (prctl(PR_SET_PDEATHSIG, is_function ? SIGTERM : SIGKILL) < 0 || getppid() != parent)
                _exit(EXIT_CANNOT_EXECUTE);
}

static _Noreturn void run_child(const struct process_options *o, int fd_output, pid_t parent)
{
        const char *const *environment = o->environment ? o->environment : process_environment;

        (void)setpgid(0, 0); /* the parent does it, too; one of the two is first */
        process_clean_child(fd_output);
        if (!o->outlives_us)
                die_with(parent, o->function != NULL);
        if (chdir("/") < 0)
                _exit(EXIT_CANNOT_EXECUTE);
        if (o->function)
                _exit(o->function(o->arg));
        execve(o->argv[0], unconst(o->argv), unconst(environment));
        dprintf(STDERR_FILENO, "cannot execute %s: %s\n", o->argv[0], strerror(errno));
        _exit(EXIT_CANNOT_EXECUTE);
}

static void keep_output(struct process *p, const char *bytes, size_t n)
{
        size_t room = PROCESS_OUTPUT_MAX - p->output.n;

        buffer_put(&p->output, bytes, n < room ? n : room);
}

static void end_line(struct process *p)
{
        buffer_put_u8(&p->output, '\0');
        if (!p->line_skipping)
                p->options.on_line((const char *)p->output.bytes, p->options.userdata);
        p->line_skipping = false;
        buffer_clear(&p->output);
}

static void split_output(struct process *p, const char *bytes, size_t n)
{
        for (size_t i = 0; i < n && p->options.on_line; i++) {
                if (bytes[i] == '\n')
                        end_line(p);
                else if (p->output.n >= PROCESS_LINE_MAX)
                        p->line_skipping = true;
                else
                        buffer_put_u8(&p->output, (uint8_t)bytes[i]);
        }
}

/* Returns whether more may be there. */
static bool read_output(struct process *p)
{
        char bytes[READ_SIZE];
        ssize_t n;

        n = read(p->fd_output, bytes, sizeof(bytes));
        if (n < 0 && errno == EINTR)
                return true;
        if (n < 0 && errno == EAGAIN)
                return false;
        if (n <= 0) {
                event_del(p->readable);
                return false;
        }
        if (p->options.on_line)
                split_output(p, bytes, (size_t)n);
        else
                keep_output(p, bytes, (size_t)n);
        return true;
}

static void on_readable(evutil_socket_t fd, short what, void *userdata)
{
        (void)fd;
        (void)what;
        (void)read_output(userdata); /* the event comes again if more is there */
}

static void finish_output(struct process *p)
{
        /* Bounded: what a descendant that is left goes on writing is nobody's business. */
        for (unsigned i = 0; i < PROCESS_LINE_MAX / READ_SIZE * 8 && read_output(p); i++)
                ;
        while (!p->options.on_line && p->output.n > 0 && p->output.bytes[p->output.n - 1] == '\n')
                p->output.n--;
        buffer_put_u8(&p->output, '\0');
}

static void on_ended(evutil_socket_t fd, short what, void *userdata)
{
        _cleanup_(process_freep)
        struct process *p = userdata;
        struct process_result result = { .exit_code = -1, .timed_out = p->timed_out };
        int status = 0;

        (void)fd;
        (void)what;
        /* It is a zombie still, so the group's number cannot belong to anybody else. */
        (void)kill(-p->pid, SIGKILL); /* fails if nobody is left, as it should be */
        while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (WIFEXITED(status))
                result.exit_code = WEXITSTATUS(status);
        else if (WIFSIGNALED(status))
                result.signal = WTERMSIG(status);
        if (p->options.on_done || p->options.on_line) {
                finish_output(p);
                result.output = p->options.on_line ? "" : (const char *)p->output.bytes;
        }
        if (p->options.on_done)
                p->options.on_done(&result, p->options.userdata);
}

static void on_timeout(evutil_socket_t fd, short what, void *userdata)
{
        struct process *p = userdata;
        usec_t grace = p->timed_out ? 0 : p->options.grace;
        struct timeval tv = { .tv_sec = (time_t)(grace / USEC_PER_SEC),
                              .tv_usec = (suseconds_t)(grace % USEC_PER_SEC) };

        (void)fd;
        (void)what;
        p->timed_out = true;
        if (grace == 0 || event_add(p->timeout, &tv) < 0)
                (void)kill(-p->pid, SIGKILL); /* not reaped yet, so the number is ours */
        else
                (void)kill(-p->pid, SIGTERM);
}

static int watch(struct event_base *base, struct process *p)
{
        usec_t t = p->options.timeout;
        struct timeval tv = { .tv_sec = (time_t)(t / USEC_PER_SEC),
                              .tv_usec = (suseconds_t)(t % USEC_PER_SEC) };

        p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
        if (p->pidfd < 0)
                return -errno;
        p->ended = event_new(base, p->pidfd, EV_READ, on_ended, p);
        p->readable = event_new(base, p->fd_output, EV_READ | EV_PERSIST, on_readable, p);
        p->timeout = event_new(base, -1, 0, on_timeout, p);
        if (!p->ended || !p->readable || !p->timeout)
                return -ENOMEM;
        if (event_add(p->ended, NULL) < 0 || event_add(p->readable, NULL) < 0)
                return -ENOMEM;
        if (t != USEC_INFINITY && event_add(p->timeout, &tv) < 0)
                return -ENOMEM;
        return 0;
}

static int spawn(struct process *p)
{
        pid_t parent = getpid();
        int fds[2], error;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        p->fd_output = fds[0];
        p->pid = fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 ? -1 : fork();
        error = errno;
        if (p->pid == 0)
                run_child(&p->options, fds[1], parent);
        close(fds[1]);
        if (p->pid < 0)
                return -error;
        (void)setpgid(p->pid, p->pid); /* fails if the child was first and has executed */
        return 0;
}

int process_start(struct event_base *base, const struct process_options *options,
                  struct process **ret)
{
        _cleanup_(process_freep)
        struct process *p = NULL;
        int r;

        assert(!options->argv != !options->function);
        p = malloc(sizeof(*p));
        if (!p)
                return -ENOMEM;
        *p = (struct process){ .pidfd = -1, .fd_output = -1, .options = *options };
        p->options.on_free = NULL; /* not before it has started */
        r = spawn(p);
        if (r < 0)
                return r;
        r = watch(base, p);
        if (r < 0) {
                (void)kill(-p->pid, SIGKILL); /* our child, not reaped yet */
                while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
                return r;
        }
        p->options.on_free = options->on_free;
        *ret = TAKE_PTR(p);
        return 0;
}

void process_cancel(struct process *p)
{
        if (!p)
                return;
        (void)kill(-p->pid, SIGKILL); /* not reaped yet, so the number is ours */
        p->options.on_done = NULL;
        p->options.on_line = NULL;
        event_del(p->readable);
        event_del(p->timeout);
}
