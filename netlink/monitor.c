/* The monitor: what happens to links and addresses, as the kernel tells everybody who listens. */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "netlink/address.h"
#include "netlink/link.h"
#include "netlink/socket.h"

enum {
        MONITOR_BUFFER = 1024 * 1024, /* bytes of events that may wait for us */
        MONITOR_DATAGRAMS_MAX = 128, /* read in one call, so that others get their turn */
};

struct netlink_monitor {
        struct mnl_socket *socket;
        _Alignas(struct nlmsghdr) uint8_t bytes[REPLY_SIZE];
};

int netlink_monitor_new(struct netlink_monitor **ret)
{
        _cleanup_(netlink_monitor_freep)
        struct netlink_monitor *m = NULL;
        int size = MONITOR_BUFFER;

        m = calloc(1, sizeof(*m));
        if (!m)
                return -ENOMEM;
        m->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (!m->socket)
                return -errno;

        /* Not granted to everybody; a smaller buffer only makes an overrun likelier. */
        (void)setsockopt(mnl_socket_get_fd(m->socket), SOL_SOCKET, SO_RCVBUFFORCE, &size,
                         sizeof(size));
        if (mnl_socket_bind(m->socket, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR,
                            MNL_SOCKET_AUTOPID) < 0)
                return -errno;
        *ret = TAKE_PTR(m);
        return 0;
}

void netlink_monitor_free(struct netlink_monitor *m)
{
        if (!m)
                return;
        if (m->socket)
                (void)mnl_socket_close(m->socket); /* nothing is buffered that could be lost */
        free(m);
}

int netlink_monitor_fd(const struct netlink_monitor *m)
{
        return mnl_socket_get_fd(m->socket);
}

static int address_event(const struct nlmsghdr *header, struct netlink_event *ret)
{
        int r;

        r = netlink_address_parse(header, &ret->address);
        if (r < 0)
                return r;
        ret->type = header->nlmsg_type == RTM_NEWADDR ? NETLINK_ADDRESS_ADDED
                                                      : NETLINK_ADDRESS_REMOVED;
        if (!if_indextoname(ret->address.ifindex, ret->interface))
                ret->interface[0] = '\0';
        return 1;
}

static int link_event(const struct nlmsghdr *header, struct netlink_event *ret)
{
        const struct ifinfomsg *info = mnl_nlmsg_get_payload(header);
        int r;

        if (mnl_nlmsg_get_payload_len(header) < sizeof(*info))
                return -EBADMSG;
        /*
         * A bridge tells of its ports with a family of its own, and with other attributes: removal
         * means that a port leaves the bridge, not that the link is gone.
         */
        if (info->ifi_family != AF_UNSPEC)
                return 0;
        r = netlink_link_parse(header, &ret->link);
        if (r < 0)
                return r;
        ret->type = header->nlmsg_type == RTM_NEWLINK ? NETLINK_LINK_CHANGED : NETLINK_LINK_REMOVED;
        memcpy(ret->interface, ret->link.interface, sizeof(ret->interface));
        return 1;
}

/* Returns 1 if @header is an event, 0 if it says nothing to us. */
static int event_of(const struct nlmsghdr *header, struct netlink_event *ret)
{
        switch (header->nlmsg_type) {
        case RTM_NEWADDR:
        case RTM_DELADDR:
                return address_event(header, ret);
        case RTM_NEWLINK:
        case RTM_DELLINK:
                return link_event(header, ret);
        default:
                return 0;
        }
}

/* Says that something was missed. */
static void tell_overrun(netlink_event_fn *callback, void *userdata)
{
        callback(&(struct netlink_event){ .type = NETLINK_OVERRUN }, userdata);
}

/* Tells the events of one datagram of @n bytes; returns their number. */
static int tell_datagram(const struct netlink_monitor *m, int n, netlink_event_fn *callback,
                         void *userdata)
{
        const struct nlmsghdr *header = (const struct nlmsghdr *)m->bytes;
        int n_events = 0;

        for (; mnl_nlmsg_ok(header, n); header = mnl_nlmsg_next(header, &n)) {
                struct netlink_event event = { 0 };
                int r;

                r = event_of(header, &event);
                if (r == 0 || r == -EAFNOSUPPORT)
                        continue;
                /* What cannot be understood is as good as lost. */
                if (r < 0)
                        tell_overrun(callback, userdata);
                else
                        callback(&event, userdata);
                n_events++;
        }
        return n_events;
}

int netlink_monitor_read(struct netlink_monitor *m, netlink_event_fn *callback, void *userdata)
{
        int r, n_events = 0;

        for (unsigned i = 0; i < MONITOR_DATAGRAMS_MAX; i++) {
                r = netlink_receive(m->socket, m->bytes, sizeof(m->bytes));
                if (r == -EAGAIN)
                        break;
                /* A datagram that is too large is as lost as one that found no room. */
                if (r == -ENOBUFS || r == -EMSGSIZE) {
                        tell_overrun(callback, userdata);
                        n_events++;
                        continue;
                }
                if (r < 0)
                        return r;
                n_events += tell_datagram(m, r, callback, userdata);
        }
        return n_events;
}
