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

/* Of the @n bytes of ICMPv6 behind @ip, with the pseudo header (RFC 8200, 8.1). */
static uint16_t icmpv6_checksum(const struct ip6_hdr *ip, const void *bytes, size_t n)
{
        uint32_t sum;

        sum = checksum_add(0, &ip->ip6_src, sizeof(ip->ip6_src));
        sum = checksum_add(sum, &ip->ip6_dst, sizeof(ip->ip6_dst));
        sum += (uint32_t)n + IPPROTO_ICMPV6;
        return checksum_end(checksum_add(sum, bytes, n));
}

/* The header before @n bytes of ICMPv6 that go to a multicast address ff02::@high:@low. */
static struct ip6_hdr neighbour_header(size_t n, uint32_t high, uint32_t low)
{
        struct ip6_hdr ip = {
                .ip6_flow = htonl(6u << 28),
                .ip6_plen = htons((uint16_t)n),
                .ip6_nxt = IPPROTO_ICMPV6,
                .ip6_hlim = HOPS_OF_NEIGHBOURS,
        };

        ip.ip6_dst.s6_addr32[0] = htonl(0xff020000);
        ip.ip6_dst.s6_addr32[2] = htonl(high);
        ip.ip6_dst.s6_addr32[3] = htonl(low);
        return ip;
}

struct neighbour_advert neighbour_advert(const struct in6_addr *address,
                                         const uint8_t mac[ETH_ALEN], bool is_router)
{
        const size_t n = sizeof(struct neighbour_advert) - sizeof(struct ip6_hdr);
        struct neighbour_advert a = {
                .ip = neighbour_header(n, 0, 1), /* all nodes */
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

        a.ip.ip6_src = *address;
        memcpy(a.mac, mac, ETH_ALEN);
        a.advert.nd_na_cksum = htons(icmpv6_checksum(&a.ip, &a.advert, n));
        return a;
}

struct neighbour_probe neighbour_probe(const struct in6_addr *address, uint8_t ret_mac_to[ETH_ALEN])
{
        /* Each address listens at a multicast address that ends in its own last three bytes. */
        const uint32_t low = 0xff000000 | (ntohl(address->s6_addr32[3]) & 0xffffff);
        struct neighbour_probe p = {
                .ip = neighbour_header(sizeof(p.solicit), 1, low),
                .solicit = {
                        .nd_ns_type = ND_NEIGHBOR_SOLICIT,
                        .nd_ns_target = *address,
                },
        };

        p.solicit.nd_ns_cksum = htons(icmpv6_checksum(&p.ip, &p.solicit, sizeof(p.solicit)));
        ret_mac_to[0] = ret_mac_to[1] = 0x33; /* RFC 2464, 7 */
        memcpy(&ret_mac_to[2], &p.ip.ip6_dst.s6_addr[12], 4);
        return p;
}

bool arp_is_claim(const void *bytes, size_t n, struct in_addr address, uint8_t ret_mac[ETH_ALEN])
{
        static const uint8_t nobody[ETH_ALEN] = { 0 };
        struct ether_arp arp, like = arp_probe(address, nobody);

        if (n < sizeof(arp))
                return false;
        memcpy(&arp, bytes, sizeof(arp));
        /* Requests claim as well as replies do. */
        if (memcmp(&arp.ea_hdr, &like.ea_hdr, offsetof(struct arphdr, ar_op)) != 0)
                return false;
        if (memcmp(arp.arp_spa, &address, sizeof(address)) != 0)
                return false;
        memcpy(ret_mac, arp.arp_sha, ETH_ALEN);
        return true;
}

bool advert_is_claim(const void *bytes, size_t n, const struct in6_addr *address,
                     const uint8_t mac_from[ETH_ALEN], uint8_t ret_mac[ETH_ALEN])
{
        const size_t n_least = offsetof(struct neighbour_advert, option);
        struct neighbour_advert a = { 0 };

        if (n < n_least)
                return false;
        memcpy(&a, bytes, n < sizeof(a) ? n : sizeof(a));
        if (a.ip.ip6_nxt != IPPROTO_ICMPV6 || a.ip.ip6_hlim != HOPS_OF_NEIGHBOURS)
                return false;
        if (a.advert.nd_na_type != ND_NEIGHBOR_ADVERT || a.advert.nd_na_code != 0)
                return false;
        if (!IN6_ARE_ADDR_EQUAL(&a.advert.nd_na_target, address))
                return false;
        if (n >= sizeof(a) && a.option.nd_opt_type == ND_OPT_TARGET_LINKADDR)
                mac_from = a.mac;
        memcpy(ret_mac, mac_from, ETH_ALEN);
        return true;
}
