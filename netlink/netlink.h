/*
 * The room netlink/: service addresses on this host's interfaces, by the kernel's own interface.
 * It sets, renews, removes, reads and watches addresses and links, and tells the neighbours who
 * owns an address now (ARP, neighbour discovery). It may touch: netlink and packet sockets of the
 * network namespace it is called in. It knows no event loop, configuration, clock or log: whoever
 * calls it decides whether an address is to be held and until when, and says what errors mean.
 *
 * All functions answer 0 or a negative errno unless they say more. None waits longer than
 * NETLINK_WAIT_MSEC for an answer of the kernel; a call can take longer only while the kernel
 * itself holds its configuration lock, for example during the removal of an interface. Interfaces
 * are named; an index is looked up again in each call, because one that vanishes and comes back
 * has another. Needs CAP_NET_ADMIN for addresses, CAP_NET_RAW for announcements and probes.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "election/base/cleanup.h"
#include "election/base/endpoint.h"
#include "election/base/time.h"

enum {
        NETLINK_WAIT_MSEC = 200, /* for one answer of the kernel */
        VIP_TAG = 0xfa, /* protocol number that marks our addresses in the kernel (Linux 5.18) */
        VIP_LABEL_SIZE = IFNAMSIZ, /* the kernel keeps no longer label */
        VIPS_OURS_MAX = 1024, /* addresses with our tag on one host */
        LINK_ADDRESS_MAX = 32, /* bytes of a hardware address; Ethernet 6, InfiniBand 20 */
};

/* A lifetime without an end. */
#define VIP_FOREVER UINT32_MAX

/* One context: a socket for requests. Not to be shared by threads. */
struct netlink;

int netlink_new(struct netlink **ret);
void netlink_free(struct netlink *nl);
DEFINE_CLEANUP(struct netlink *, netlink_free)

/* Addresses. */

/* A service address as it is configured. */
struct vip {
        struct address address;
        unsigned prefix_len; /* vip_prefix_len_host() unless there is a reason, see there */
        char interface[IFNAMSIZ];
        char label[VIP_LABEL_SIZE]; /* IPv4 only; empty: the interface's name */
};

/* An address as the kernel reports it. */
struct host_address {
        struct address address;
        unsigned prefix_len;
        unsigned ifindex;
        uint32_t valid_sec; /* what is left, or VIP_FOREVER */
        uint32_t preferred_sec; /* 0: never chosen as source of new connections */
        uint32_t flags; /* IFA_F_... */
        uint8_t tag; /* VIP_TAG if it is ours; 0 if nobody said, or the kernel cannot tell */
        bool tentative; /* duplicate detection still runs: not usable yet */
        bool duplicate; /* duplicate detection failed: not usable */
};

/* What this host has of a service address. */
struct vip_state {
        bool present; /* at its interface, with its prefix, and ours: described by `found` */
        bool stray; /* ours, but at another interface or with another prefix */
        bool foreign; /* somebody else put it on this host, at whatever interface */
        struct host_address found;
};

/*
 * Puts @vip on its interface or renews it, for @valid_sec seconds (at least 1, or VIP_FOREVER);
 * after them the kernel takes it away by itself. Repeating it is harmless. No connected route
 * comes with it, IPv6 duplicate detection is left out, and an IPv6 address is never chosen as
 * source of new connections. When it returns 0, the kernel has acknowledged; packets to a new IPv6
 * address are accepted a moment later, when a worker of the kernel has made its route.
 *
 * -EEXIST: the host has this address from somebody else, or ours elsewhere, and not at its place;
 * netlink_vip_get() tells which, nothing was changed. -ENODEV: there is no such interface.
 * -EINVAL: prefix, label, interface or lifetime is impossible. -ETIMEDOUT: no answer, the address
 * may be there or not.
 */
int netlink_vip_set(struct netlink *nl, const struct vip *vip, uint32_t valid_sec);

/*
 * Takes @vip off this host, wherever one with our tag is, each with its exact prefix. 0 means that
 * the host does not have the address any more, or never had it (missing interface included).
 * -EEXIST: ours is gone, but the host still has the address from somebody else, which is left
 * alone. Kernels before 5.18 keep no tag: there, an address at exactly the place of @vip that looks
 * as we make it (limited lifetime, no connected route) is taken for ours.
 */
int netlink_vip_remove(struct netlink *nl, const struct vip *vip);

/* What the host has of @vip. A missing interface is not an error: it has nothing there. */
int netlink_vip_get(struct netlink *nl, const struct vip *vip, struct vip_state *ret);

/*
 * All addresses with our tag, as an array for free(). Finds what an earlier life has left behind;
 * on kernels before 5.18 nothing. -E2BIG: more than VIPS_OURS_MAX.
 */
int netlink_vip_list_ours(struct netlink *nl, struct vip **ret, size_t *ret_n);

/*
 * Whether @address lies inside the prefix of an address that others have put on @interface. There
 * the prefix of a service address must be that of a host: a longer one makes it the primary or
 * secondary of the interface's own address, and the kernel removes secondaries together with
 * their primary. -ENODEV.
 */
int netlink_address_is_connected(struct netlink *nl, const char *interface,
                                 const struct address *address, bool *ret);

/* 32 or 128. */
unsigned vip_prefix_len_host(const struct vip *vip);

/* Whether the first @prefix_len bits of @a and @b agree; false if the families do not. */
bool address_in_prefix(const struct address *a, const struct address *b, unsigned prefix_len);

/* Links. */

struct link_state {
        unsigned ifindex;
        char interface[IFNAMSIZ];
        bool up; /* set so by the administrator */
        bool running; /* up, and operational */
        bool carrier; /* something is at the other end of the cable */
        bool no_arp; /* without neighbours to tell: loopback, tunnels */
        bool forwards_ipv6; /* this host is a router there */
        bool promotes_secondaries; /* IPv4, as set for this interface */
        uint8_t mac[LINK_ADDRESS_MAX];
        size_t mac_len; /* 0: none */
        uint8_t broadcast[LINK_ADDRESS_MAX]; /* as long as the MAC */
};

/* -ENODEV: there is no such interface. */
int netlink_link_get(struct netlink *nl, const char *interface, struct link_state *ret);

/*
 * Whether deleting a primary IPv4 address of @interface keeps its secondaries. To be switched on
 * where a service address has another prefix than that of a host; the caller puts the old value
 * (link_state.promotes_secondaries) back.
 */
int netlink_link_promote_secondaries(struct netlink *nl, const char *interface, bool on);

/* What happens to links and addresses. */

enum netlink_event_type {
        NETLINK_ADDRESS_ADDED, /* or renewed, or changed: also by ourselves */
        NETLINK_ADDRESS_REMOVED,
        NETLINK_LINK_CHANGED, /* or added */
        NETLINK_LINK_REMOVED,
        NETLINK_OVERRUN, /* events were lost: read again all that matters */
};

struct netlink_event {
        enum netlink_event_type type;
        char interface[IFNAMSIZ]; /* empty: the interface is gone meanwhile, or an overrun */
        union {
                struct host_address address; /* of ADDRESS events */
                struct link_state link; /* of LINK events */
        };
};

/* Called with each event; @event is valid only meanwhile. It must not free the monitor. */
typedef void netlink_event_fn(const struct netlink_event *event, void *userdata);

struct netlink_monitor;

/* Events are collected from here on: read the state after this call, and none is missed. */
int netlink_monitor_new(struct netlink_monitor **ret);
void netlink_monitor_free(struct netlink_monitor *m);
DEFINE_CLEANUP(struct netlink_monitor *, netlink_monitor_free)

/* Readable when there are events. Stays the monitor's. */
int netlink_monitor_fd(const struct netlink_monitor *m);

/*
 * Reads what is there without waiting and tells @callback. Stops after a bounded number of
 * datagrams; the descriptor then stays readable. Returns the number of events. After a negative
 * answer the monitor may still be used, but events may be lost.
 */
int netlink_monitor_read(struct netlink_monitor *m, netlink_event_fn *callback, void *userdata);

/* Telling the neighbours. */

/* A packet socket that is open before it is needed; one is enough for all addresses. */
struct announcer;

/* Borrows @nl, which must live longer. */
int announcer_new(struct netlink *nl, struct announcer **ret);
void announcer_free(struct announcer *a);
DEFINE_CLEANUP(struct announcer *, announcer_free)

/*
 * Tells all neighbours that @vip is at this host's interface now: for IPv4 a gratuitous ARP request
 * and a reply, for IPv6 an unsolicited neighbour advertisement. Only to be called after the kernel
 * has acknowledged the address. Returns 0 when sent, also where there is nobody to tell (interface
 * without ARP). -ENODEV: no such interface. -EOPNOTSUPP: its hardware addresses do not have six
 * bytes. -ENETDOWN, -ENOBUFS, -EAGAIN: not sent now, try again soon.
 */
int announcer_send(struct announcer *a, const struct vip *vip);

/*
 * How long to wait before the next announcement when @n_sent have been sent since the address came
 * to this host (or since there is a reason to start over). They fall 0, 10, 50, 200 ms, 1, 2 and
 * 5 s after the first, then every 60 s.
 */
usec_t announce_wait(unsigned n_sent);

/* Hearing whether somebody else has an address. */

/*
 * Listens for packets in which others claim one address at its interface: an answer to a probe
 * before we take it, an announcement while we hold it. Nothing else wakes its descriptor.
 */
struct prober;

/* Borrows @nl, which must live longer; copies @vip. The interface need not exist yet. */
int prober_new(struct netlink *nl, const struct vip *vip, struct prober **ret);
void prober_free(struct prober *p);
DEFINE_CLEANUP(struct prober *, prober_free)

/*
 * Asks who has the address, in a way that changes nobody's tables. Only of use while this host does
 * not have it. Whoever has it answers within a round trip. Errors as announcer_send().
 */
int prober_send(struct prober *p);

/* Readable when somebody claims the address. Stays the prober's. */
int prober_fd(const struct prober *p);

/*
 * Takes the next claim without waiting. Returns 1 with the claimant's hardware address in @ret_mac,
 * 0 when there is none. Packets that this interface has sent itself are no claims; with a second
 * interface in the same segment, `arp_ignore` of the kernel decides whether that one claims.
 */
int prober_read(struct prober *p, uint8_t ret_mac[6]);
