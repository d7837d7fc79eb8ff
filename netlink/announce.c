/* Announcements: who owns an address now, told to all neighbours at once. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "netlink/link.h"
#include "netlink/packet-socket.h"
#include "netlink/packet.h"

struct announcer {
        struct netlink *nl; /* borrowed */
        int fd;
};

/* 33:33 and the last four bytes of ff02::1 (RFC 2464, 7). */
static const uint8_t all_nodes[ETH_ALEN] = { 0x33, 0x33, 0, 0, 0, 1 };

int announcer_new(struct netlink *nl, struct announcer **ret)
{
        _cleanup_(announcer_freep)
        struct announcer *a = NULL;

        a = calloc(1, sizeof(*a));
        if (!a)
                return -ENOMEM;
        *a = (struct announcer){ .nl = nl, .fd = -1 };

        /* Bound to no interface, so that one that comes back with another index is no matter. */
        a->fd = packet_socket_open();
        if (a->fd < 0)
                return a->fd;
        *ret = TAKE_PTR(a);
        return 0;
}

void announcer_free(struct announcer *a)
{
        if (!a)
                return;
        if (a->fd >= 0)
                (void)close(a->fd); /* a packet socket keeps nothing back */
        free(a);
}

/* Some neighbours believe only requests, some only replies. */
static int announce_ipv4(const struct announcer *a, const struct link_state *link,
                         const struct vip *vip)
{
        struct ether_arp request = arp_claim(ARPOP_REQUEST, vip->address.v4, link->mac);
        struct ether_arp reply = arp_claim(ARPOP_REPLY, vip->address.v4, link->mac);
        int r, q;

        r = packet_socket_send(a->fd, link->ifindex, ETHERTYPE_ARP, link->broadcast, &request,
                               sizeof(request));
        q = packet_socket_send(a->fd, link->ifindex, ETHERTYPE_ARP, link->broadcast, &reply,
                               sizeof(reply));
        return r < 0 ? r : q;
}

static int announce_ipv6(const struct announcer *a, const struct link_state *link,
                         const struct vip *vip)
{
        struct neighbour_advert advert = neighbour_advert(&vip->address.v6, link->mac,
                                                          link->forwards_ipv6);

        return packet_socket_send(a->fd, link->ifindex, ETHERTYPE_IPV6, all_nodes, &advert,
                                  sizeof(advert));
}

int announcer_send(struct announcer *a, const struct vip *vip)
{
        struct link_state link;
        int r;

        r = netlink_link_get(a->nl, vip->interface, &link);
        if (r < 0)
                return r;
        r = netlink_link_has_neighbours(&link);
        if (r <= 0)
                return r;
        return vip->address.family == AF_INET6 ? announce_ipv6(a, &link, vip)
                                               : announce_ipv4(a, &link, vip);
}

usec_t announce_wait(unsigned n_sent)
{
        /*
         * Spread, because a switch port or a bond that does not forward yet loses all that comes
         * within a moment; refreshed well within the 300 s after which switches forget.
         */
        static const usec_t offsets[] = {
                0,
                10 * USEC_PER_MSEC,
                50 * USEC_PER_MSEC,
                200 * USEC_PER_MSEC,
                1 * USEC_PER_SEC,
                2 * USEC_PER_SEC,
                5 * USEC_PER_SEC,
        };
        const unsigned n = sizeof(offsets) / sizeof(offsets[0]);

        if (n_sent == 0)
                return 0;
        return n_sent < n ? offsets[n_sent] - offsets[n_sent - 1] : 60 * USEC_PER_SEC;
}
