/*
 * kv-watch: one write, heard by many waiting clients. Each waits for the next change of the same
 * key on a connection of its own; when all wait, the key is written, and the time from sending the
 * write to each event is noted. Prints one line of JSON.
 *
 *     kv-watch WATCHERS SECONDS TARGET...
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "tests/bench/connection.h"

enum {
        EVENTS_MAX = 256,
        WATCHERS_MAX = 16384,
        ROUND_USEC_MAX = 10000000, /* until what is missing counts as lost */
        LATENCIES_MAX = 8 << 20,
};

struct watcher {
        struct connection connection;
        const struct target *target;
        bool is_armed; /* the head of the answer has come: the server has set the watch */
};

struct fan_out {
        unsigned n_watchers;
        uint64_t seconds;
        struct target targets[TARGETS_MAX];
        unsigned n_targets;
        struct watcher *watchers;
        struct connection writer;
        int epoll_fd;
        unsigned n_armed, n_heard;
        uint64_t sent_at;
        uint32_t *latencies;
        size_t n_latencies;
        uint64_t n_rounds, n_errors;
};

static void arm(struct watcher *w)
{
        char request[256];
        int n = snprintf(request, sizeof(request),
                         "GET /v2/keys/watched?wait=true HTTP/1.1\r\nHost: %s\r\n\r\n",
                         w->target->host);
        int r = connection_send(&w->connection, request, (size_t)n);

        if (r < 0)
                die("cannot send a watch", r);
        w->is_armed = false;
}

static void on_readable(struct fan_out *f, struct watcher *w)
{
        struct answer a;
        int r = connection_receive(&w->connection);

        if (r < 0)
                die("a watch was cut off", r);
        if (!connection_answer(&w->connection, &a))
                return;
        if (a.status != 200)
                die("a watch was refused", -EPROTO);
        if (!w->is_armed) {
                w->is_armed = true;
                f->n_armed++;
        }
        if (!a.is_whole)
                return;
        f->latencies[f->n_latencies++] = (uint32_t)(now_usec() - f->sent_at);
        f->n_heard++;
        connection_consume(&w->connection, &a);
}

/* Lets things happen until @counter has reached the number of watchers, or the time is over. */
static bool wait_for_all(struct fan_out *f, const unsigned *counter)
{
        uint64_t until = now_usec() + ROUND_USEC_MAX;
        struct epoll_event events[EVENTS_MAX];

        while (*counter < f->n_watchers) {
                int n = epoll_wait(f->epoll_fd, events, EVENTS_MAX, 100);

                for (int i = 0; i < n; i++)
                        on_readable(f, events[i].data.ptr);
                if (now_usec() > until)
                        return false;
        }
        return true;
}

static void write_key(struct fan_out *f)
{
        char request[512], value[65];
        int n;

        memset(value, 'v', sizeof(value) - 1);
        value[sizeof(value) - 1] = '\0';
        n = snprintf(request, sizeof(request),
                     "PUT /v2/keys/watched HTTP/1.1\r\nHost: %s\r\n"
                     "Content-Type: application/x-www-form-urlencoded\r\n"
                     "Content-Length: %zu\r\n\r\nvalue=%s",
                     f->targets[0].host, strlen("value=") + strlen(value), value);
        f->sent_at = now_usec();
        if (connection_send(&f->writer, request, (size_t)n) < 0)
                die("cannot write", -EPIPE);
}

static void await_write(struct fan_out *f)
{
        struct answer a;

        while (!connection_answer(&f->writer, &a) || !a.is_whole) {
                int r = connection_receive(&f->writer);

                if (r < 0)
                        die("the writer was cut off", r);
        }
        f->n_errors += a.status != 200 && a.status != 201;
        connection_consume(&f->writer, &a);
}

static void prepare(struct fan_out *f)
{
        f->watchers = calloc(f->n_watchers, sizeof(*f->watchers));
        f->latencies = malloc(LATENCIES_MAX * sizeof(*f->latencies));
        f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (!f->watchers || !f->latencies || f->epoll_fd < 0)
                die("cannot begin", -ENOMEM);
        for (unsigned i = 0; i < f->n_watchers; i++) {
                struct watcher *w = &f->watchers[i];
                struct epoll_event event = { .events = EPOLLIN, .data.ptr = w };
                int r;

                w->target = &f->targets[i % f->n_targets];
                r = connection_open(&w->connection, w->target);
                if (r < 0)
                        die("cannot connect", r);
                if (epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, w->connection.fd, &event) < 0)
                        die("epoll_ctl", -errno);
        }
        if (connection_open(&f->writer, &f->targets[0]) < 0)
                die("cannot connect", -ECONNREFUSED);
}

/* Not before all have heard: arming anew is no part of what is measured. */
static void arm_all(struct fan_out *f)
{
        f->n_armed = 0;
        for (unsigned i = 0; i < f->n_watchers; i++)
                arm(&f->watchers[i]);
}

static void run(struct fan_out *f)
{
        uint64_t end = now_usec() + f->seconds * 1000000;

        while (now_usec() < end && f->n_latencies + f->n_watchers <= LATENCIES_MAX) {
                arm_all(f);
                if (!wait_for_all(f, &f->n_armed))
                        die("not all watches were set in time", -ETIMEDOUT);
                f->n_heard = 0;
                write_key(f);
                if (!wait_for_all(f, &f->n_heard))
                        die("not all watchers have heard in time", -ETIMEDOUT);
                await_write(f);
                f->n_rounds++;
        }
}

static int compare(const void *a, const void *b)
{
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

        return x < y ? -1 : x > y;
}

static double quantile(const struct fan_out *f, double q)
{
        return f->n_latencies ? f->latencies[(size_t)(q * (double)(f->n_latencies - 1))] / 1000.0
                              : 0;
}

int main(int argc, char **argv)
{
        struct fan_out f = { 0 };
        bool good = argc >= 4 && argc - 3 <= TARGETS_MAX;

        for (int i = 3; good && i < argc; i++)
                good = target_parse(argv[i], &f.targets[f.n_targets++]);
        f.n_watchers = good ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
        if (f.n_watchers == 0 || f.n_watchers > WATCHERS_MAX) {
                (void)fprintf(stderr, "kv-watch WATCHERS SECONDS ADDRESS:PORT...\n");
                return 2;
        }
        f.seconds = strtoul(argv[2], NULL, 10);
        prepare(&f);
        run(&f);
        qsort(f.latencies, f.n_latencies, sizeof(*f.latencies), compare);
        (void)printf("{\"rounds\": %llu, \"errors\": %llu, \"p50\": %.3f, \"p99\": %.3f, "
                     "\"max\": %.3f}\n",
                     (unsigned long long)f.n_rounds, (unsigned long long)f.n_errors,
                     quantile(&f, 0.5), quantile(&f, 0.99), quantile(&f, 1.0));
        return 0;
}
