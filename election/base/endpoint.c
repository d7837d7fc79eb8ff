/* Addresses and endpoints as text. */
#include "election/base/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "election/base/names.h"

int address_parse(const char *s, struct address *ret)
{
        struct address a = { .family = AF_INET };

        if (inet_pton(AF_INET, s, &a.v4) != 1) {
                a.family = AF_INET6;
                if (inet_pton(AF_INET6, s, &a.v6) != 1)
                        return -EINVAL;
        }
        *ret = a;
        return 0;
}

void address_print(const struct address *a, char *ret, size_t size)
{
        if (!inet_ntop(a->family, &a->v4, ret, (socklen_t)size))
                ret[0] = '\0';
}

bool address_equal(const struct address *a, const struct address *b)
{
        return a->family == b->family && memcmp(&a->v4, &b->v4, address_size(a)) == 0;
}

size_t address_size(const struct address *a)
{
        return a->family == AF_INET ? sizeof(a->v4) : sizeof(a->v6);
}

static int parse_port(const char *s, uint16_t *ret)
{
        unsigned long port = 0;

        if (*s == '\0')
                return -EINVAL;
        for (; *s; s++) {
                if (*s < '0' || *s > '9')
                        return -EINVAL;
                port = port * 10 + (unsigned long)(*s - '0');
                if (port > UINT16_MAX)
                        return -EINVAL;
        }
        if (port == 0)
                return -EINVAL;
        *ret = (uint16_t)port;
        return 0;
}

int endpoint_parse(const char *s, uint16_t port_default, struct endpoint *ret)
{
        struct endpoint e = { .port = port_default };
        const char *port = NULL;
        char host[ADDRESS_SIZE];
        size_t n = strlen(s);
        int r;

        if (s[0] == '[') {
                const char *end = strchr(s, ']');

                if (!end || (end[1] != '\0' && end[1] != ':'))
                        return -EINVAL;
                port = end[1] == ':' ? end + 2 : NULL;
                n = (size_t)(end - ++s);
        } else if (strchr(s, ':') && strchr(s, ':') == strrchr(s, ':')) {
                port = strchr(s, ':') + 1;
                n = (size_t)(port - 1 - s);
        }
        if (n >= sizeof(host))
                return -EINVAL;
        memcpy(host, s, n);
        host[n] = '\0';

        r = address_parse(host, &e.address);
        if (r < 0)
                return r;
        if (port) {
                r = parse_port(port, &e.port);
                if (r < 0)
                        return r;
        }
        *ret = e;
        return 0;
}

void endpoint_print(const struct endpoint *e, char *ret, size_t size)
{
        char host[ADDRESS_SIZE];

        address_print(&e->address, host, sizeof(host));
        (void)snprintf(ret, size, e->address.family == AF_INET6 ? "[%s]:%u" : "%s:%u", host,
                       e->port);
}
