/* Packets that tell or ask who owns an address: their bytes, as pure functions. */
#include "netlink/packet.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

enum {
        HOPS_OF_NEIGHBOURS = 255, /* proves that no router has forwarded it (RFC 4861, 7.1.2) */
};

static struct ether_arp arp_packet(uint16_t operation, const uint8_t mac[ETH_ALEN])
{
        struct ether_arp arp = {
                .ea_hdr = {
                        .ar_hrd = htons(ARPHRD_ETHER),
                        .ar_pro = htons(ETHERTYPE_IP),
                        .ar_hln = ETH_ALEN,
                        .ar_pln = sizeof(struct in_addr),
                        .ar_op = htons(operation),
                },
        };

        memcpy(arp.arp_sha, mac, ETH_ALEN);
        return arp;
}

struct ether_arp arp_claim(uint16_t operation, struct in_addr address, const uint8_t mac[ETH_ALEN])
{
        struct ether_arp arp = arp_packet(operation, mac);

        memcpy(arp.arp_spa, &address, sizeof(address));
        memcpy(arp.arp_tpa, &address, sizeof(address));
        if (operation == ARPOP_REPLY)
                memcpy(arp.arp_tha, mac, ETH_ALEN);
        return arp;
}

struct ether_arp arp_probe(struct in_addr address, const uint8_t mac[ETH_ALEN])
{
        struct ether_arp arp = arp_packet(ARPOP_REQUEST, mac);

        memcpy(arp.arp_tpa, &address, sizeof(address));
        return arp;
}

/* The sum of @n bytes as 16-bit numbers, continued from @sum (RFC 1071); @n is even. */
static uint32_t checksum_add(uint32_t sum, const void *bytes, size_t n)
{
        const uint8_t *b = bytes;

        for (size_t i = 0; i < n; i += 2)
                sum += (uint32_t)(b[i] << 8 | b[i + 1]);
        return sum;
}

static uint16_t checksum_end(uint32_t sum)
{
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return (uint16_t)~sum;
}

/* Over the pseudo header (RFC 8200, 8.1) and what follows the IPv6 header. */
static uint16_t advert_checksum(const struct neighbour_advert *a)
{
        const size_t length = sizeof(*a) - offsetof(struct neighbour_advert, advert);
        uint32_t sum;

        sum = checksum_add(0, &a->ip.ip6_src, sizeof(a->ip.ip6_src));
        sum = checksum_add(sum, &a->ip.ip6_dst, sizeof(a->ip.ip6_dst));
        sum += (uint32_t)length + IPPROTO_ICMPV6;
        sum = checksum_add(sum, &a->advert, length);
        return checksum_end(sum);
}

struct neighbour_advert neighbour_advert(const struct in6_addr *address,
                                         const uint8_t mac[ETH_ALEN], bool is_router)
{
        struct neighbour_advert a = {
                .ip = {
                        .ip6_flow = htonl(6u << 28),
                        .ip6_plen = htons(sizeof(a) - offsetof(struct neighbour_advert, advert)),
                        .ip6_nxt = IPPROTO_ICMPV6,
                        .ip6_hlim = HOPS_OF_NEIGHBOURS,
                        .ip6_src = *address,
                },
                .advert = {
                        .nd_na_type = ND_NEIGHBOR_ADVERT,
                        .nd_na_flags_reserved =
                                ND_NA_FLAG_OVERRIDE | (is_router ? ND_NA_FLAG_ROUTER : 0),
                        .nd_na_target = *address,
                },
                .option = {
                        .nd_opt_type = ND_OPT_TARGET_LINKADDR,
                        .nd_opt_len = 1, /* in units of 8 bytes */
                },
        };

        a.ip.ip6_dst.s6_addr[0] = 0xff; /* ff02::1 */
        a.ip.ip6_dst.s6_addr[1] = 0x02;
        a.ip.ip6_dst.s6_addr[15] = 0x01;
        memcpy(a.mac, mac, ETH_ALEN);
        a.advert.nd_na_cksum = htons(advert_checksum(&a));
        return a;
}
