/* Addresses, inside the room: reading one message about an address, and whose it is. */
#pragma once

#include <libmnl/libmnl.h>

#include "netlink/netlink.h"

/* Reads RTM_NEWADDR or RTM_DELADDR. -EBADMSG; -EAFNOSUPPORT: neither IPv4 nor IPv6. */
int netlink_address_parse(const struct nlmsghdr *header, struct host_address *ret);

/* How an address of the host relates to a service address. */
enum vip_match {
        VIP_OTHER, /* another address */
        VIP_HELD, /* ours, at its place */
        VIP_STRAY, /* ours, but at another interface or with another prefix */
        VIP_FOREIGN, /* the same address, not from us */
};

/*
 * @ifindex is that of the interface of @vip, 0 if there is none. @kernel_keeps_tags: whether an
 * address without a tag can be told from ours by that alone.
 */
enum vip_match vip_match(const struct vip *vip, unsigned ifindex, const struct host_address *have,
                         bool kernel_keeps_tags);
