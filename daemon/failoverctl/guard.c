/* The guard, as failoverctl sees it. */
#include "daemon/failoverctl/guard.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int guard_start(struct guard *g, char **program, struct guard_times times)
{
        int sockets[2];
        pid_t pid;

        /* If the guard is killed, what its command has left becomes ours. */
        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                return -errno;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
                return -errno;
        (void)signal(SIGCHLD, SIG_DFL); /* it may be ignored by inheritance, and is needed */
        (void)fflush(NULL); /* nothing may be printed twice */
        pid = fork();
        if (pid < 0) {
                int r = -errno;

                (void)close(sockets[0]);
                (void)close(sockets[1]);
                return r;
        }
        if (pid == 0) {
                (void)close(sockets[0]);
                guard_run(sockets[1], program, times);
        }
        (void)close(sockets[1]);
        *g = (struct guard){ .pid = pid, .socket = sockets[0] };
        return 0;
}

/* A guard that cannot be told has its deadline, or is gone, which guard_read() says. */
static void send_order(struct guard *g, const struct guard_order *order)
{
        (void)send(g->socket, order, sizeof(*order), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void guard_hold(struct guard *g, struct guard_times times)
{
        send_order(g, &(struct guard_order){ .times = times });
}

void guard_end(struct guard *g, bool hard)
{
        send_order(g, &(struct guard_order){ .end = true, .hard = hard });
}

enum guard_news guard_read(struct guard *g, int *ret_status)
{
        struct guard_report report;
        ssize_t n;

        while ((n = recv(g->socket, &report, sizeof(report), MSG_DONTWAIT)) == sizeof(report)) {
                g->command = report.command;
                if (report.ended) {
                        *ret_status = report.status;
                        return GUARD_ENDED;
                }
        }
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? GUARD_NOTHING : GUARD_DIED;
}

bool guard_kill(struct guard *g)
{
        pid_t pid;
        int n;

        if (g->command > 0)
                (void)kill(-g->command, SIGKILL);
        if (g->pid > 0)
                (void)kill(g->pid, SIGKILL);
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
                if (pid == g->pid)
                        g->pid = 0;
                if (pid == g->command)
                        g->command = 0; /* the number may come to belong to somebody else */
        }
        if (pid < 0 && errno == ECHILD)
                return true;
        n = guard_signal_children(SIGKILL, 0, true);
        return n == 0; /* a child that this program had before it was this program may live on */
}

void guard_done(struct guard *g)
{
        if (g->pid > 0 && waitpid(g->pid, NULL, 0) < 0 && errno != ECHILD)
                fprintf(stderr, "failoverctl: cannot wait for the guard: %s\n", strerror(errno));
        (void)close(g->socket); /* has nothing that could be lost */
}
