/* A network address with a port, and an address with a prefix length: parsing and printing. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An IPv4 or IPv6 address; family is AF_INET or AF_INET6. */
struct address {
        int family;
        union {
                struct in_addr v4;
                struct in6_addr v6;
        };
};

struct endpoint {
        struct address address;
        uint16_t port; /* host byte order */
};

/* Parses "10.0.0.1" or "fd00::1". Returns 0, or -EINVAL. */
int address_parse(const char *s, struct address *ret);

/* Prints @a into @ret; ADDRESS_SIZE bytes are always enough. */
void address_print(const struct address *a, char *ret, size_t size);

bool address_equal(const struct address *a, const struct address *b);

/* Bytes of the address: 4 or 16. */
size_t address_size(const struct address *a);

/*
 * Parses "10.0.0.1:4001", "[fd00::1]:4001" or an address alone, which gets @port_default.
 * Returns 0, or -EINVAL.
 */
int endpoint_parse(const char *s, uint16_t port_default, struct endpoint *ret);

/* Prints "10.0.0.1:4001" or "[fd00::1]:4001"; ADDRESS_SIZE bytes are always enough. */
void endpoint_print(const struct endpoint *e, char *ret, size_t size);
