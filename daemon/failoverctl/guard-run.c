/*
 * The guard's own process. It leads a session of its own, so that a terminal's Ctrl-Z stops neither
 * it nor the command, and adopts what the command leaves behind, so that it can be ended, too.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/failoverctl/ctl.h"
#include "daemon/failoverctl/guard.h"

/* Between two attempts to kill what does not die. */
#define KILL_AGAIN (10 * USEC_PER_MSEC)

enum { EXIT_NOT_FOUND = 127, EXIT_NOT_RUN = 126 };

enum phase {
        RUNNING,
        TERMINATED, /* it was told to end */
        KILLED, /* it is being killed */
};

struct self {
        int socket; /* to failoverctl */
        int signals;
        int timer;
        bool is_orphan; /* failoverctl is gone */
        pid_t command; /* 0: gone */
        int status; /* of the command */
        enum phase phase;
        struct guard_times times;
        struct instant next; /* when to go on to the next phase */
};

int guard_signal_children(int number, pid_t except, bool strangers)
{
        FILE *file = fopen("/proc/thread-self/children", "re");
        int pid, n = 0;

        if (!file)
                return -errno;
        while (fscanf(file, "%d", &pid) == 1) {
                if (pid == except || (strangers && getsid(pid) == getsid(0)))
                        continue;
                (void)kill(pid, number); /* it is our child: not even its number is used again */
                n++;
        }
        (void)fclose(file); /* only read from */
        return n;
}

/*
 * To the whole group as long as its leader is ours, and to all that were adopted. What these leave
 * when they die is adopted in turn, and reached the next time.
 */
static void signal_all(const struct self *g, int number)
{
        if (g->command > 0)
                (void)kill(-g->command, number);
        (void)guard_signal_children(number, g->command, false);
}

static void end_softly(struct self *g)
{
        if (g->phase != RUNNING)
                return;
        g->phase = TERMINATED;
        g->next = instant_earlier(g->times.kill_at, instant_after(ctl_lease_now(), g->times.grace));
        signal_all(g, SIGTERM);
        signal_all(g, SIGCONT); /* who is stopped could not obey */
}

static void end_hard(struct self *g)
{
        g->phase = KILLED;
        g->next = instant_after(ctl_lease_now(), KILL_AGAIN);
        signal_all(g, SIGKILL);
}

/* Returns whether nothing is left of the command and of what it has started. */
static bool reap(struct self *g)
{
        pid_t pid;
        int status;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
                if (pid == g->command) {
                        g->command = 0;
                        g->status = status;
                }
        }
        return pid < 0 && errno == ECHILD;
}

static void report(const struct self *g, bool ended)
{
        const struct guard_report r = { .command = g->command,
                                        .ended = ended,
                                        .status = g->status };

        (void)send(g->socket, &r, sizeof(r), MSG_NOSIGNAL); /* nobody may be there to hear it */
}

static void read_orders(struct self *g)
{
        struct guard_order order;
        ssize_t n;

        while ((n = recv(g->socket, &order, sizeof(order), MSG_DONTWAIT)) == sizeof(order)) {
                if (order.end && order.hard) {
                        end_hard(g);
                } else if (order.end) {
                        end_softly(g);
                } else if (g->phase == RUNNING) {
                        g->times = order.times;
                        g->next = g->times.term_at;
                }
        }
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        g->is_orphan = true;
        end_softly(g);
}

static void look_at_clock(struct self *g)
{
        if (!instant_reached(g->next, ctl_lease_now()))
                return;
        if (g->phase == RUNNING)
                end_softly(g);
        else
                end_hard(g);
}

static void drain(int fd)
{
        char bytes[1024];

        while (read(fd, bytes, sizeof(bytes)) > 0)
                ;
}

/* Until a child has ended, an order has come, or it is time for the next phase. */
static void wait_for_something(struct self *g)
{
        struct pollfd fds[] = { { .fd = g->signals, .events = POLLIN },
                                { .fd = g->timer, .events = POLLIN },
                                { .fd = g->is_orphan ? -1 : g->socket, .events = POLLIN } };

        if (ctl_lease_arm(g->timer, g->next) < 0)
                abort(); /* the command dies with us */
        (void)poll(fds, 3, -1);
        drain(g->signals);
        drain(g->timer);
        if (fds[2].revents)
                read_orders(g);
}

static void watch_over(struct self *g)
{
        while (!reap(g)) {
                /* What outlives its command would run on without the lock. */
                if (g->command == 0)
                        end_softly(g);
                look_at_clock(g);
                wait_for_something(g);
        }
}

/* In the child: whatever happens to the guard, this process does not outlive it. */
static _Noreturn void become_command(char **program, pid_t guard)
{
        sigset_t none;

        (void)sigemptyset(&none);
        (void)setpgid(0, 0);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != guard)
                _exit(EXIT_NOT_RUN);
        (void)signal(SIGPIPE, SIG_DFL);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)execvp(program[0], program);
        fprintf(stderr, "failoverctl: cannot run %s: %s\n", program[0], strerror(errno));
        _exit(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN);
}

static bool start(struct self *g, char **program)
{
        pid_t guard = getpid();

        g->command = fork();
        if (g->command == 0)
                become_command(program, guard);
        if (g->command < 0)
                return false;
        (void)setpgid(g->command, g->command); /* one of the two does it first */
        return true;
}

static bool init(struct self *g)
{
        sigset_t signals;

        (void)sigfillset(&signals);
        if (sigprocmask(SIG_SETMASK, &signals, NULL) < 0)
                return false;
        (void)sigemptyset(&signals);
        (void)sigaddset(&signals, SIGCHLD);
        g->signals = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
        g->timer = ctl_lease_timer();
        return g->signals >= 0 && g->timer >= 0 && prctl(PR_SET_CHILD_SUBREAPER, 1) == 0;
}

_Noreturn void guard_run(int socket, char **program, struct guard_times times)
{
        struct self g = {
                .socket = socket, .times = times, .next = times.term_at, .status = EXIT_NOT_RUN << 8
        };

        (void)setsid();
        if (!init(&g) || instant_reached(times.term_at, ctl_lease_now()) || !start(&g, program)) {
                fputs("failoverctl: cannot start the command\n", stderr);
                report(&g, true);
                _exit(EXIT_NOT_RUN);
        }
        report(&g, false);
        watch_over(&g);
        report(&g, true);
        _exit(0);
}
