/* Packet sockets: open before they are needed, bound to no interface, told each time where to. */
#pragma once

#include <net/ethernet.h>
#include <stddef.h>
#include <stdint.h>

/* A descriptor that does not block and hears nothing until it is bound; or a negative errno. */
int packet_socket_open(void);

/*
 * Sends @n bytes of @protocol (ETHERTYPE_...) to @mac_to; the kernel writes the Ethernet header.
 * -ENODEV: the interface is gone. -ENETDOWN, -ENOBUFS, -EAGAIN: not now.
 */
int packet_socket_send(int fd, unsigned ifindex, uint16_t protocol, const uint8_t mac_to[ETH_ALEN],
                       const void *bytes, size_t n);
