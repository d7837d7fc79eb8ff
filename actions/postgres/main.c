/* failoverd-postgres: the agent of one PostgreSQL server (docs/agent-protocol.md). */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actions/postgres/agent.h"

static void on_terminate(evutil_socket_t signal, short what, void *userdata)
{
        (void)signal;
        (void)what;
        agent_exit(userdata);
}

static int run(struct event_base *base)
{
        _cleanup_(agent_freep)
        struct agent *a = NULL;
        struct event *terminate;
        int r;

        r = agent_new(base, STDIN_FILENO, STDOUT_FILENO, &a);
        if (r < 0)
                return r;
        terminate = evsignal_new(base, SIGTERM, on_terminate, a);
        if (!terminate)
                return -ENOMEM;
        r = event_add(terminate, NULL) < 0 || event_base_dispatch(base) < 0 ? -EIO : 0;
        event_free(terminate);
        return r;
}

/* Children that were cancelled at the end are gone in a moment, unless the disk hangs. */
static void reap_children(struct event_base *base)
{
        const struct timeval limit = { .tv_usec = 200 * 1000 };

        if (event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED) == 0)
                return;
        if (event_base_loopexit(base, &limit) == 0)
                (void)event_base_dispatch(base); /* the process ends anyway */
}

int main(int argc, char **argv)
{
        struct event_base *base;
        int r;

        if (argc > 1) {
                fprintf(stderr,
                        "%s takes no arguments: it is started by failoverd and speaks the "
                        "protocol of docs/agent-protocol.md\n",
                        argv[0]);
                return 2;
        }
        /* The working directory tells a server's processes from ours, see cluster.c. */
        if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || chdir("/") < 0)
                return 1;
        base = event_base_new();
        if (!base) {
                fprintf(stderr, "%s: no event loop\n", argv[0]);
                return 1;
        }
        r = run(base);
        if (r < 0)
                fprintf(stderr, "%s: %s\n", argv[0], strerror(-r));
        reap_children(base);
        event_base_free(base);
        return r < 0 ? 1 : 0;
}
