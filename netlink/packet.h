/* Packets that tell or ask who owns an address: their bytes, as pure functions. */
#pragma once

#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip6.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * An ARP packet that claims @address for @mac. @operation is ARPOP_REQUEST or ARPOP_REPLY. Neighbours
 * take the reply only if its target hardware address is the sender's own.
 */
struct ether_arp arp_claim(uint16_t operation, struct in_addr address, const uint8_t mac[ETH_ALEN]);

/* An ARP question for @address that teaches nobody anything: without sender address (RFC 5227). */
struct ether_arp arp_probe(struct in_addr address, const uint8_t mac[ETH_ALEN]);

/* An unsolicited neighbour advertisement (RFC 4861, 7.2.6) with all that stands before it. */
struct neighbour_advert {
        struct ip6_hdr ip;
        struct nd_neighbor_advert advert;
        struct nd_opt_hdr option;
        uint8_t mac[ETH_ALEN];
};

_Static_assert(sizeof(struct neighbour_advert) == 40 + 24 + 8, "no padding on the wire");

/*
 * To all nodes of the link: @address is at @mac. @is_router must be what the host is there, or
 * others drop it from their default routers.
 */
struct neighbour_advert neighbour_advert(const struct in6_addr *address,
                                         const uint8_t mac[ETH_ALEN], bool is_router);

/* A question who has an address, asked without an address of one's own (RFC 4862, 5.4.2). */
struct neighbour_probe {
        struct ip6_hdr ip;
        struct nd_neighbor_solicit solicit;
};

_Static_assert(sizeof(struct neighbour_probe) == 40 + 24, "no padding on the wire");

/* To all that could have @address, at the Ethernet address @ret_mac_to. */
struct neighbour_probe neighbour_probe(const struct in6_addr *address,
                                       uint8_t ret_mac_to[ETH_ALEN]);

/*
 * Whether the @n bytes behind an Ethernet header claim @address for somebody, whose hardware
 * address goes to @ret_mac. @mac_from is where the packet came from, for an advertisement that does
 * not say.
 */
bool arp_is_claim(const void *bytes, size_t n, struct in_addr address, uint8_t ret_mac[ETH_ALEN]);
bool advert_is_claim(const void *bytes, size_t n, const struct in6_addr *address,
                     const uint8_t mac_from[ETH_ALEN], uint8_t ret_mac[ETH_ALEN]);
