/* One keep-alive HTTP connection of a load generator. */
#include "tests/bench/connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

_Noreturn void die(const char *what, int r)
{
        (void)fprintf(stderr, "%s: %s\n", what, strerror(-r));
        exit(1);
}

uint64_t now_usec(void)
{
        struct timespec t;

        (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with this clock */
        return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

bool target_parse(const char *text, struct target *ret)
{
        const char *colon = strrchr(text, ':');
        long port = colon ? strtol(colon + 1, NULL, 10) : 0;
        struct in_addr address;

        if (!colon || (size_t)(colon - text) >= sizeof(ret->host) || port < 1 || port > UINT16_MAX)
                return false;
        memcpy(ret->host, text, (size_t)(colon - text));
        ret->host[colon - text] = '\0';
        ret->port = (uint16_t)port;
        return inet_pton(AF_INET, ret->host, &address) == 1;
}

int connection_open(struct connection *c, const struct target *to)
{
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(to->port) };
        int on = 1, r;

        c->n_in = 0;
        if (inet_pton(AF_INET, to->host, &a.sin_addr) != 1)
                return -EINVAL;
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd < 0)
                return -errno;
        if (connect(c->fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
            setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
            fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0) {
                r = -errno;
                connection_close(c);
                return r;
        }
        return 0;
}

void connection_close(struct connection *c)
{
        if (c->fd >= 0)
                (void)close(c->fd); /* what was not answered is given up */
        c->fd = -1;
        c->n_in = 0;
}

int connection_send(struct connection *c, const char *bytes, size_t n)
{
        ssize_t k = send(c->fd, bytes, n, MSG_NOSIGNAL);

        if (k < 0)
                return -errno;
        return (size_t)k == n ? 0 : -EPIPE;
}

int connection_receive(struct connection *c)
{
        ssize_t k;

        if (c->n_in == sizeof(c->in))
                return -EBADMSG;
        k = recv(c->fd, c->in + c->n_in, sizeof(c->in) - c->n_in, 0);
        if (k == 0)
                return -EPIPE;
        if (k < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        c->n_in += (size_t)k;
        return 0;
}

/* Bytes of all chunks with the empty one at the end; 0 if they are not all there. */
static size_t chunks_size(const char *bytes, size_t n)
{
        size_t at = 0;

        for (;;) {
                const char *line_end = memmem(bytes + at, n - at, "\r\n", 2);
                size_t size;

                if (!line_end)
                        return 0;
                size = strtoul(bytes + at, NULL, 16); /* ends at the line's end at the latest */
                at = (size_t)(line_end - bytes) + 2 + size + 2;
                if (at > n)
                        return 0;
                if (size == 0)
                        return at;
        }
}

/* Reads the lines of a head that say how long the body is. */
static void read_head(const char *head, size_t n, size_t *ret_length, bool *ret_is_chunked)
{
        static const char length[] = "content-length:", encoding[] = "transfer-encoding: chunked";
        const char *end = head + n;

        *ret_length = 0;
        *ret_is_chunked = false;
        for (const char *line = head; line < end;) {
                const char *next = memchr(line, '\n', (size_t)(end - line));

                if (strncasecmp(line, length, sizeof(length) - 1) == 0)
                        *ret_length = strtoul(line + sizeof(length) - 1, NULL, 10);
                else if (strncasecmp(line, encoding, sizeof(encoding) - 1) == 0)
                        *ret_is_chunked = true;
                line = next ? next + 1 : end;
        }
}

bool connection_answer(const struct connection *c, struct answer *ret)
{
        const char *head_end = memmem(c->in, c->n_in, "\r\n\r\n", 4);
        size_t n_head, length;
        bool is_chunked;

        if (!head_end || c->n_in < 12)
                return false;
        n_head = (size_t)(head_end - c->in) + 4;
        read_head(c->in, n_head, &length, &is_chunked);
        if (is_chunked)
                length = chunks_size(c->in + n_head, c->n_in - n_head);
        *ret = (struct answer){ .status = atoi(c->in + 9),
                                .body = c->in + n_head,
                                .n_body = length,
                                .n = n_head + length };
        ret->is_whole = ret->n <= c->n_in && !(is_chunked && length == 0);
        return true;
}

void connection_consume(struct connection *c, const struct answer *a)
{
        c->n_in -= a->n;
        memmove(c->in, c->in + a->n, c->n_in);
}
