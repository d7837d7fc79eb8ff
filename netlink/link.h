/* Links, inside the room: reading one message about a link. */
#pragma once

#include <libmnl/libmnl.h>

#include "netlink/netlink.h"

/* Reads RTM_NEWLINK or RTM_DELLINK. -EBADMSG. */
int netlink_link_parse(const struct nlmsghdr *header, struct link_state *ret);

/* The index of the interface that is called @interface now. -ENODEV, -EINVAL (no such name). */
int netlink_link_index(struct netlink *nl, const char *interface, unsigned *ret);

/* As netlink_link_get(), by index. */
int netlink_link_get_by_index(struct netlink *nl, unsigned ifindex, struct link_state *ret);

/*
 * Whether there are neighbours on @link that can be told or asked: 1, or 0 (loopback, tunnel).
 * -EOPNOTSUPP: its hardware addresses are not those of Ethernet.
 */
int netlink_link_has_neighbours(const struct link_state *link);
