/* A startup packet, and the first message of the answer. */
#include "actions/postgres/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
        PROTOCOL_VERSION_3 = 3 << 16,
        ANSWER_MAX = 1024, /* an error message is a few hundred bytes */
        HEADER_SIZE = 5, /* type and length */
};

struct probe {
        struct event_base *base;
        const struct settings *settings;
        void (*on_answer)(enum probe_answer answer, void *userdata);
        void *userdata;
        int fd;
        struct event *readable; /* a question is under way */
        struct event *failed; /* delivers an answer that is known at once */
        char answer[ANSWER_MAX];
        size_t n;
};

void probe_reset(struct probe *p)
{
        if (p->readable)
                event_free(p->readable);
        p->readable = NULL;
        if (p->fd >= 0)
                close(p->fd);
        p->fd = -1;
        p->n = 0;
        event_del(p->failed);
}

static void answer(struct probe *p, enum probe_answer a)
{
        probe_reset(p);
        p->on_answer(a, p->userdata);
}

/* The field 'C' of an error message is its SQLSTATE; fields are a letter and a string each. */
static enum probe_answer read_error(const char *fields, size_t n)
{
        while (n > 1 && *fields != '\0') {
                size_t n_field = strnlen(fields, n) + 1;

                if (n_field > n)
                        break;
                if (strcmp(fields, "C57P03") == 0)
                        return PROBE_BUSY;
                fields += n_field;
                n -= n_field;
        }
        return PROBE_ACCEPTS; /* whatever it complains about, it is alive */
}

static void on_readable(evutil_socket_t fd, short what, void *userdata)
{
        struct probe *p = userdata;
        uint32_t length;
        ssize_t n;

        if (what & EV_TIMEOUT) {
                answer(p, PROBE_SILENT);
                return;
        }
        n = recv(fd, p->answer + p->n, sizeof(p->answer) - p->n, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
                return;
        if (n <= 0) {
                answer(p, PROBE_REFUSED);
                return;
        }
        p->n += (size_t)n;
        if (p->answer[0] != 'E') {
                answer(p, PROBE_ACCEPTS);
                return;
        }
        if (p->n < HEADER_SIZE)
                return;
        memcpy(&length, p->answer + 1, sizeof(length));
        if (p->n > ntohl(length) || p->n == sizeof(p->answer))
                answer(p, read_error(p->answer + HEADER_SIZE, p->n - HEADER_SIZE));
}

static void on_failed(evutil_socket_t fd, short what, void *userdata)
{
        (void)fd;
        (void)what;
        answer(userdata, PROBE_REFUSED);
}

static int connect_socket(const struct settings *s)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int n, fd;

        n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.%u", s->socket_dir,
                     s->port);
        if (n < 0 || (size_t)n >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
                int error = errno;

                close(fd);
                return -error;
        }
        return fd;
}

/* The socket's buffer is empty, so the few bytes of a startup packet fit. */
static int send_startup(int fd, const char *user)
{
        char packet[8 + sizeof("user") + NAME_SIZE + sizeof("database\0postgres") + 1] = { 0 };
        uint32_t version = htonl(PROTOCOL_VERSION_3), length;
        size_t n = 8;

        memcpy(packet + 4, &version, sizeof(version));
        memcpy(packet + n, "user", sizeof("user"));
        n += sizeof("user");
        memcpy(packet + n, user, strlen(user) + 1);
        n += strlen(user) + 1;
        memcpy(packet + n, "database\0postgres", sizeof("database\0postgres"));
        n += sizeof("database\0postgres") + 1;
        length = htonl((uint32_t)n);
        memcpy(packet, &length, sizeof(length));
        return send(fd, packet, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n ? 0 : -EIO;
}

void probe_ask(struct probe *p)
{
        usec_t timeout = p->settings->health_timeout;
        struct timeval tv = { .tv_sec = (time_t)(timeout / USEC_PER_SEC),
                              .tv_usec = (suseconds_t)(timeout % USEC_PER_SEC) };
        struct timeval at_once = { 0 };

        if (p->readable)
                return;
        p->fd = connect_socket(p->settings);
        if (p->fd >= 0 && send_startup(p->fd, p->settings->user) == 0)
                p->readable = event_new(p->base, p->fd, EV_READ | EV_PERSIST, on_readable, p);
        if (!p->readable || event_add(p->readable, &tv) < 0) {
                probe_reset(p);
                (void)event_add(p->failed, &at_once); /* without memory no answer is one, too */
        }
}

int probe_new(struct event_base *base, const struct settings *s,
              void (*on_answer)(enum probe_answer answer, void *userdata), void *userdata,
              struct probe **ret)
{
        _cleanup_(probe_freep)
        struct probe *p = NULL;

        p = malloc(sizeof(*p));
        if (!p)
                return -ENOMEM;
        *p = (struct probe){
                .base = base, .settings = s, .on_answer = on_answer, .userdata = userdata, .fd = -1
        };
        p->failed = event_new(base, -1, 0, on_failed, p);
        if (!p->failed)
                return -ENOMEM;
        *ret = TAKE_PTR(p);
        return 0;
}

void probe_free(struct probe *p)
{
        if (!p)
                return;
        if (p->failed) {
                probe_reset(p);
                event_free(p->failed);
        }
        free(p);
}
