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
