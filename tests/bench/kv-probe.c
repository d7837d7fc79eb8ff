/*
 * kv-probe: writes at fixed intervals, each on a connection that waits for nothing else, so that
 * one that is held up holds up no other. Prints "SENT ANSWERED STATUS" for each answer: when, on
 * the monotonic clock in microseconds.
 *
 *     kv-probe INTERVAL-MSEC SECONDS TARGET...
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "tests/bench/connection.h"

enum {
        EVENTS_MAX = 64,
        PROBES_MAX = 2048, /* under way */
};

struct probe {
        struct connection connection;
        const struct target *target;
        uint64_t sent_at;
        bool is_busy;
};

struct prober {
        struct target targets[TARGETS_MAX];
        unsigned n_targets;
        struct probe *probes;
        unsigned n_sent;
        int epoll_fd;
};

/* An idle probe for @target. */
static struct probe *find(struct prober *p, const struct target *target)
{
        for (unsigned i = 0; i < PROBES_MAX; i++) {
                struct probe *q = &p->probes[i];

                if (!q->is_busy && (!q->target || q->target == target))
                        return q;
        }
        return NULL;
}

static bool make_ready(struct prober *p, struct probe *q, const struct target *target)
{
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = q };

        if (q->target)
                return true;
        if (connection_open(&q->connection, target) < 0)
                return false; /* the next one may get through */
        if (epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, q->connection.fd, &event) < 0)
                die("epoll_ctl", -errno);
        q->target = target;
        return true;
}

static void drop(struct probe *q)
{
        connection_close(&q->connection);
        q->target = NULL;
        q->is_busy = false;
}

static void send_probe(struct prober *p)
{
        const struct target *target = &p->targets[p->n_sent % p->n_targets];
        struct probe *q = find(p, target);
        char request[256];
        int n;

        p->n_sent++;
        if (!q || !make_ready(p, q, target))
                return;
        n = snprintf(request, sizeof(request),
                     "PUT /v2/keys/probe HTTP/1.1\r\nHost: %s\r\n"
                     "Content-Type: application/x-www-form-urlencoded\r\n"
                     "Content-Length: 14\r\n\r\nvalue=%08u",
                     target->host, p->n_sent % 100000000);
        q->sent_at = now_usec();
        q->is_busy = true;
        if (connection_send(&q->connection, request, (size_t)n) < 0)
                drop(q);
}

static void on_readable(struct probe *q)
{
        struct answer a;

        if (connection_receive(&q->connection) < 0) {
                drop(q);
                return;
        }
        if (!connection_answer(&q->connection, &a) || !a.is_whole)
                return;
        (void)printf("%llu %llu %d\n", (unsigned long long)q->sent_at,
                     (unsigned long long)now_usec(), a.status);
        connection_consume(&q->connection, &a);
        q->is_busy = false;
}

static void run(struct prober *p, uint64_t interval, uint64_t end)
{
        uint64_t next = now_usec();
        struct epoll_event events[EVENTS_MAX];

        for (uint64_t now = next; now < end; now = now_usec()) {
                int n = epoll_wait(p->epoll_fd, events, EVENTS_MAX,
                                   next > now ? (int)((next - now + 999) / 1000) : 0);

                for (int i = 0; i < n; i++)
                        on_readable(events[i].data.ptr);
                if (now_usec() >= next) {
                        send_probe(p);
                        next += interval;
                }
        }
}

int main(int argc, char **argv)
{
        struct prober p = { 0 };
        bool good = argc >= 4 && argc - 3 <= TARGETS_MAX;
        uint64_t interval = good ? strtoul(argv[1], NULL, 10) * 1000 : 0;

        for (int i = 3; good && i < argc; i++)
                good = target_parse(argv[i], &p.targets[p.n_targets++]);
        if (!good || interval == 0) {
                (void)fprintf(stderr, "kv-probe INTERVAL-MSEC SECONDS ADDRESS:PORT...\n");
                return 2;
        }
        p.probes = calloc(PROBES_MAX, sizeof(*p.probes));
        p.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (!p.probes || p.epoll_fd < 0)
                die("cannot begin", -ENOMEM);
        (void)setvbuf(stdout, NULL, _IOLBF, 0); /* fails only for arguments that are wrong */
        run(&p, interval, now_usec() + strtoul(argv[2], NULL, 10) * 1000000);
        return 0;
}
