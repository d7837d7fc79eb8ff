/* Probes: asking whether somebody else has an address, and hearing when somebody claims it. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netlink/link.h"
#include "netlink/packet-socket.h"
#include "netlink/packet.h"

enum {
        CLAIMS_SKIPPED_MAX = 64, /* packets looked at in one call that turn out to be no claims */
};

struct prober {
        struct netlink *nl; /* borrowed */
        struct vip vip;
        int fd;
};

/* The kernel's filter lets only packets through that name the address as a claimant does. */
static int attach_arp_filter(int fd, struct in_addr address)
{
        struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct ether_arp, arp_spa)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohl(address.s_addr), 0, 1),
                BPF_STMT(BPF_RET | BPF_K, UINT16_MAX),
                BPF_STMT(BPF_RET | BPF_K, 0),
        };
        struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

        return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno
                                                                                           : 0;
}

static int attach_advert_filter(int fd, const struct in6_addr *address)
{
        const uint32_t *part = address->s6_addr32;
        const uint32_t at = offsetof(struct neighbour_advert, advert.nd_na_target);
        struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_B | BPF_ABS, offsetof(struct ip6_hdr, ip6_nxt)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 0, 11),
                BPF_STMT(BPF_LD | BPF_B | BPF_ABS, sizeof(struct ip6_hdr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ND_NEIGHBOR_ADVERT, 0, 9),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohl(part[0]), 0, 7),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at + 4),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohl(part[1]), 0, 5),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at + 8),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohl(part[2]), 0, 3),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at + 12),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohl(part[3]), 0, 1),
                BPF_STMT(BPF_RET | BPF_K, UINT16_MAX),
                BPF_STMT(BPF_RET | BPF_K, 0),
        };
        struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

        return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno
                                                                                           : 0;
}

/* Hears on all interfaces, so that one that comes back with another index is heard as well. */
static int start_hearing(int fd, uint16_t protocol)
{
        struct sockaddr_ll all = { .sll_family = AF_PACKET, .sll_protocol = htons(protocol) };

        return bind(fd, (const struct sockaddr *)&all, sizeof(all)) < 0 ? -errno : 0;
}

int prober_new(struct netlink *nl, const struct vip *vip, struct prober **ret)
{
        _cleanup_(prober_freep)
        struct prober *p = NULL;
        bool is_ipv6 = vip->address.family == AF_INET6;
        int r;

        p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        *p = (struct prober){ .nl = nl, .vip = *vip, .fd = -1 };
        p->fd = packet_socket_open();
        if (p->fd < 0)
                return p->fd;

        /* In this order nothing is heard that the filter has not seen. */
        if (is_ipv6)
                r = attach_advert_filter(p->fd, &vip->address.v6);
        else
                r = attach_arp_filter(p->fd, vip->address.v4);
        if (r < 0)
                return r;
        r = start_hearing(p->fd, is_ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_ARP);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return 0;
}

void prober_free(struct prober *p)
{
        if (!p)
                return;
        if (p->fd >= 0)
                (void)close(p->fd); /* a packet socket keeps nothing back */
        free(p);
}

int prober_fd(const struct prober *p)
{
        return p->fd;
}

static int probe_ipv4(const struct prober *p, const struct link_state *link)
{
        struct ether_arp probe = arp_probe(p->vip.address.v4, link->mac);

        return packet_socket_send(p->fd, link->ifindex, ETHERTYPE_ARP, link->broadcast, &probe,
                                  sizeof(probe));
}

static int probe_ipv6(const struct prober *p, const struct link_state *link)
{
        uint8_t mac_to[ETH_ALEN];
        struct neighbour_probe probe = neighbour_probe(&p->vip.address.v6, mac_to);

        return packet_socket_send(p->fd, link->ifindex, ETHERTYPE_IPV6, mac_to, &probe,
                                  sizeof(probe));
}

int prober_send(struct prober *p)
{
        struct link_state link;
        int r;

        r = netlink_link_get(p->nl, p->vip.interface, &link);
        if (r < 0)
                return r;
        r = netlink_link_has_neighbours(&link);
        if (r <= 0)
                return r;
        return p->vip.address.family == AF_INET6 ? probe_ipv6(p, &link) : probe_ipv4(p, &link);
}

/* Whether a packet that came @from somewhere is a claim of somebody else at our interface. */
static bool is_claim(const struct prober *p, const struct link_state *link,
                     const struct sockaddr_ll *from, const void *bytes, size_t n,
                     uint8_t ret_mac[ETH_ALEN])
{
        bool claims;

        if (from->sll_ifindex != (int)link->ifindex || from->sll_pkttype == PACKET_OUTGOING)
                return false;
        if (p->vip.address.family == AF_INET6)
                claims = advert_is_claim(bytes, n, &p->vip.address.v6, from->sll_addr, ret_mac);
        else
                claims = arp_is_claim(bytes, n, p->vip.address.v4, ret_mac);
        return claims && memcmp(ret_mac, link->mac, ETH_ALEN) != 0;
}

int prober_read(struct prober *p, uint8_t ret_mac[ETH_ALEN])
{
        struct link_state link;
        uint8_t bytes[128], mac[ETH_ALEN];
        int r;

        r = netlink_link_get(p->nl, p->vip.interface, &link);
        if (r == -ENODEV)
                link = (struct link_state){ 0 }; /* what is there is drained all the same */
        else if (r < 0)
                return r;

        for (unsigned i = 0; i < CLAIMS_SKIPPED_MAX; i++) {
                struct sockaddr_ll from = { 0 };
                socklen_t size = sizeof(from);
                ssize_t n;

                n = recvfrom(p->fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &size);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return errno == EAGAIN ? 0 : -errno;
                if (is_claim(p, &link, &from, bytes, (size_t)n, mac)) {
                        memcpy(ret_mac, mac, ETH_ALEN);
                        return 1;
                }
        }
        return 0;
}
