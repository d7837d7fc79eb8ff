/*
 * kv-pulse: whether a member's loop stands still. Asks for /version again and again on one
 * connection, each time as soon as the interval and the answer before are over, and prints "SENT
 * TOOK" for each: when, on the monotonic clock, and how long it took, in microseconds.
 *
 *     kv-pulse INTERVAL-MSEC TARGET
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "tests/bench/connection.h"

enum {
        REQUEST_SIZE = 128,
        SILENCE_MAX_MSEC = 30000, /* then the member is taken for dead */
        PRIORITY = -15, /* it is the member that is measured, not who asks */
};

static void wait_for_answer(struct connection *c, struct answer *ret)
{
        struct pollfd p = { .fd = c->fd, .events = POLLIN };

        while (!connection_answer(c, ret) || !ret->is_whole) {
                int r = poll(&p, 1, SILENCE_MAX_MSEC);

                if (r <= 0)
                        die("no answer", r == 0 ? -ETIMEDOUT : -errno);
                r = connection_receive(c);
                if (r < 0)
                        die("the connection", r);
        }
}

static void wait_until(uint64_t usec)
{
        struct timespec t = { .tv_sec = (time_t)(usec / 1000000),
                              .tv_nsec = (long)(usec % 1000000) * 1000 };

        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
                ;
}

_Noreturn static void run(struct connection *c, const char *request, uint64_t interval)
{
        for (;;) {
                uint64_t sent = now_usec();
                struct answer a;

                if (connection_send(c, request, strlen(request)) < 0)
                        die("cannot ask", -EPIPE);
                wait_for_answer(c, &a);
                (void)printf("%llu %llu\n", (unsigned long long)sent,
                             (unsigned long long)(now_usec() - sent));
                connection_consume(c, &a);
                wait_until(sent + interval);
        }
}

int main(int argc, char **argv)
{
        uint64_t interval = argc == 3 ? strtoul(argv[1], NULL, 10) * 1000 : 0;
        static struct connection c;
        char request[REQUEST_SIZE];
        struct target target;
        int r;

        if (interval == 0 || !target_parse(argv[2], &target)) {
                (void)fprintf(stderr, "kv-pulse INTERVAL-MSEC ADDRESS:PORT\n");
                return 2;
        }
        (void)setpriority(PRIO_PROCESS, 0, PRIORITY); /* without it, the figures are less exact */
        (void)setvbuf(stdout, NULL, _IOLBF, 0); /* fails only for arguments that are wrong */
        (void)snprintf(request, sizeof(request), "GET /version HTTP/1.1\r\nHost: %s\r\n\r\n",
                       target.host);
        r = connection_open(&c, &target);
        if (r < 0)
                die("cannot connect", r);
        run(&c, request, interval);
}
