/* Packet sockets: open before they are needed, bound to no interface, told each time where to. */
#include "netlink/packet-socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>

int packet_socket_open(void)
{
        int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        return fd < 0 ? -errno : fd;
}

int packet_socket_send(int fd, unsigned ifindex, uint16_t protocol, const uint8_t mac_to[ETH_ALEN],
                       const void *bytes, size_t n)
{
        struct sockaddr_ll to = {
                .sll_family = AF_PACKET,
                .sll_protocol = htons(protocol),
                .sll_ifindex = (int)ifindex,
                .sll_halen = ETH_ALEN,
        };

        memcpy(to.sll_addr, mac_to, ETH_ALEN);
        if (sendto(fd, bytes, n, 0, (const struct sockaddr *)&to, sizeof(to)) < 0)
                return errno == ENXIO ? -ENODEV : -errno;
        return 0;
}
