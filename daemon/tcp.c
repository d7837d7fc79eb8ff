/* Non-blocking TCP sockets with the options that a connection between members needs. */
#include "daemon/tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
        BACKLOG = 64,
        KEEPALIVE_SEC = 1, /* idle before a probe, and between probes */
        KEEPALIVE_PROBES = 3,
};

static socklen_t to_sockaddr(const struct endpoint *e, struct sockaddr_storage *ret)
{
        *ret = (struct sockaddr_storage){ 0 };
        if (e->address.family == AF_INET) {
                struct sockaddr_in v4 = { .sin_family = AF_INET,
                                          .sin_port = htons(e->port),
                                          .sin_addr = e->address.v4 };

                memcpy(ret, &v4, sizeof(v4));
                return sizeof(v4);
        }
        struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
                                   .sin6_port = htons(e->port),
                                   .sin6_addr = e->address.v6 };

        memcpy(ret, &v6, sizeof(v6));
        return sizeof(v6);
}

static struct address from_sockaddr(const struct sockaddr_storage *from)
{
        struct address a = { .family = from->ss_family };
        struct sockaddr_in6 v6;
        struct sockaddr_in v4;

        if (from->ss_family == AF_INET) {
                memcpy(&v4, from, sizeof(v4));
                a.v4 = v4.sin_addr;
        } else {
                memcpy(&v6, from, sizeof(v6));
                a.v6 = v6.sin6_addr;
        }
        return a;
}

static int set(int fd, int level, int option, int value)
{
        return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int set_options(int fd, usec_t silence_max)
{
        int msec = silence_max / USEC_PER_MSEC > INT32_MAX ? INT32_MAX
                                                           : (int)(silence_max / USEC_PER_MSEC);
        int r;

        r = set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
        if (r == 0)
                r = set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, msec);
        if (r == 0)
                r = set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        if (r == 0)
                r = set(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_SEC);
        if (r == 0)
                r = set(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_SEC);
        if (r == 0)
                r = set(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
        return r;
}

static int tcp_socket(const struct address *a)
{
        int fd = socket(a->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

        return fd < 0 ? -errno : fd;
}

static int bind_to(int fd, const struct endpoint *at)
{
        struct sockaddr_storage address;
        socklen_t n = to_sockaddr(at, &address);

        return bind(fd, (const struct sockaddr *)&address, n) < 0 ? -errno : 0;
}

int tcp_listen(const struct endpoint *at)
{
        int fd, r;

        fd = tcp_socket(&at->address);
        if (fd < 0)
                return fd;
        r = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        if (r == 0 && at->address.family == AF_INET6)
                r = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        if (r == 0)
                r = bind_to(fd, at);
        if (r == 0 && listen(fd, BACKLOG) < 0)
                r = -errno;
        if (r < 0) {
                (void)close(fd); /* never used */
                return r;
        }
        return fd;
}

static int start_connect(int fd, const struct address *from, const struct endpoint *to)
{
        struct endpoint own = { .address = *from };
        struct sockaddr_storage address;
        socklen_t n;
        int r;

        /* From our own member address: the others know us by it. The port is chosen late. */
        r = set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        if (r == 0)
                r = bind_to(fd, &own);
        if (r < 0)
                return r;
        n = to_sockaddr(to, &address);
        if (connect(fd, (const struct sockaddr *)&address, n) < 0 && errno != EINPROGRESS)
                return -errno;
        return 0;
}

int tcp_connect(const struct address *from, const struct endpoint *to, usec_t silence_max)
{
        int fd, r;

        fd = tcp_socket(&to->address);
        if (fd < 0)
                return fd;
        r = set_options(fd, silence_max);
        if (r == 0)
                r = start_connect(fd, from, to);
        if (r < 0) {
                (void)close(fd); /* never used */
                return r;
        }
        return fd;
}

int tcp_accept(int listen_fd, usec_t silence_max, struct address *ret_from)
{
        struct sockaddr_storage from = { 0 };
        socklen_t n = sizeof(from);
        int fd, r;

        fd = accept4(listen_fd, (struct sockaddr *)&from, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = set_options(fd, silence_max);
        if (r < 0) {
                (void)close(fd); /* never used */
                return r;
        }
        *ret_from = from_sockaddr(&from);
        return fd;
}
