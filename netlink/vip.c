/* Service addresses: set with a lifetime, renewed, removed, read back, listed. */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "netlink/address.h"
#include "netlink/link.h"
#include "netlink/socket.h"

enum {
        COPIES_MAX = 32, /* of one address on a host: by interfaces and prefixes */
};

/* Asks for all addresses of @family (AF_UNSPEC: of all) and hands them to @answer. */
static int dump_addresses(struct netlink *nl, int family, netlink_answer_fn *answer, void *userdata)
{
        struct ifaddrmsg *info;
        struct netlink_message m;

        netlink_message_init(&m, RTM_GETADDR, NLM_F_DUMP);
        info = netlink_message_put_body(&m, sizeof(*info));
        info->ifa_family = (uint8_t)family;
        return netlink_request(nl, &m, answer, userdata);
}

/* All copies of one service address on this host. */
struct copies {
        const struct vip *vip;
        unsigned ifindex;
        bool kernel_keeps_tags;
        size_t n;
        struct {
                enum vip_match match;
                struct host_address have;
        } of[COPIES_MAX];
};

static int on_copy(const struct nlmsghdr *header, void *userdata)
{
        struct copies *c = userdata;
        struct host_address have;
        enum vip_match match;
        int r;

        if (header->nlmsg_type != RTM_NEWADDR)
                return 0;
        r = netlink_address_parse(header, &have);
        if (r < 0)
                return r == -EAFNOSUPPORT ? 0 : r;
        match = vip_match(c->vip, c->ifindex, &have, c->kernel_keeps_tags);
        if (match == VIP_OTHER)
                return 0;
        if (c->n == COPIES_MAX)
                return -E2BIG;
        c->of[c->n].match = match;
        c->of[c->n].have = have;
        c->n++;
        return 0;
}

static int find_copies(struct netlink *nl, const struct vip *vip, unsigned ifindex,
                       struct copies *ret)
{
        int r = -EAGAIN;

        for (unsigned i = 0; i < DUMP_TRIES_MAX && r == -EAGAIN; i++) {
                *ret = (struct copies){
                        .vip = vip,
                        .ifindex = ifindex,
                        .kernel_keeps_tags = nl->kernel_keeps_tags,
                };
                r = dump_addresses(nl, vip->address.family, on_copy, ret);
        }
        return r;
}

static struct vip_state summarise(const struct copies *copies)
{
        struct vip_state state = { 0 };

        for (size_t i = 0; i < copies->n; i++) {
                switch (copies->of[i].match) {
                case VIP_HELD:
                        state.present = true;
                        state.found = copies->of[i].have;
                        break;
                case VIP_STRAY:
                        state.stray = true;
                        break;
                case VIP_FOREIGN:
                        state.foreign = true;
                        break;
                case VIP_OTHER:
                        break;
                }
        }
        return state;
}

/* Whether @vip can be meant. The kernel answers nonsense in ways of its own. */
static int vip_check(const struct vip *vip)
{
        if (vip->address.family != AF_INET && vip->address.family != AF_INET6)
                return -EINVAL;
        if (vip->prefix_len == 0 || vip->prefix_len > vip_prefix_len_host(vip))
                return -EINVAL;
        if (vip->interface[0] == '\0' || !memchr(vip->interface, '\0', sizeof(vip->interface)))
                return -EINVAL;
        if (!memchr(vip->label, '\0', sizeof(vip->label)))
                return -EINVAL;
        return 0;
}

int netlink_vip_get(struct netlink *nl, const struct vip *vip, struct vip_state *ret)
{
        struct copies copies;
        unsigned ifindex = 0;
        int r;

        r = vip_check(vip);
        if (r < 0)
                return r;
        r = netlink_link_index(nl, vip->interface, &ifindex);
        if (r < 0 && r != -ENODEV)
                return r;
        r = find_copies(nl, vip, ifindex, &copies);
        if (r < 0)
                return r;
        *ret = summarise(&copies);
        return 0;
}

/* Changing. */

/* The part that adding and deleting have in common: which address, where. */
static void put_place(struct netlink_message *m, const struct address *address, unsigned prefix_len,
                      unsigned ifindex)
{
        struct ifaddrmsg *info = netlink_message_put_body(m, sizeof(*info));

        info->ifa_family = (uint8_t)address->family;
        info->ifa_prefixlen = (uint8_t)prefix_len;
        info->ifa_index = ifindex;
        netlink_message_put(m, IFA_LOCAL, &address->v4, address_size(address));
        netlink_message_put(m, IFA_ADDRESS, &address->v4, address_size(address));
}

static void put_lifetime(struct netlink_message *m, const struct vip *vip, uint32_t valid_sec)
{
        /*
         * Unless its preferred lifetime is zero, the newest IPv6 address becomes the source of
         * this node's own connections, whatever its prefix. IPv4 never chooses a /32.
         */
        struct ifa_cacheinfo times = {
                .ifa_valid = valid_sec,
                .ifa_prefered = vip->address.family == AF_INET6 ? 0 : valid_sec,
        };

        netlink_message_put(m, IFA_CACHEINFO, &times, sizeof(times));
}

/* What only IPv4 has: label and broadcast address. */
static void put_ipv4(struct netlink_message *m, const struct vip *vip)
{
        if (vip->label[0] != '\0')
                netlink_message_put_string(m, IFA_LABEL, vip->label);
        if (vip->prefix_len < 31) {
                uint32_t host_bits = UINT32_MAX >> vip->prefix_len;
                uint32_t broadcast = vip->address.v4.s_addr | htonl(host_bits);

                netlink_message_put(m, IFA_BROADCAST, &broadcast, sizeof(broadcast));
        }
}

static int add_or_renew(struct netlink *nl, const struct vip *vip, unsigned ifindex,
                        uint32_t valid_sec)
{
        uint32_t flags = IFA_F_NOPREFIXROUTE;
        struct netlink_message m;

        netlink_message_init(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
        put_place(&m, &vip->address, vip->prefix_len, ifindex);
        if (vip->address.family == AF_INET6)
                flags |= IFA_F_NODAD;
        else
                put_ipv4(&m, vip);
        netlink_message_put_u32(&m, IFA_FLAGS, flags);
        put_lifetime(&m, vip, valid_sec);
        netlink_message_put_u8(&m, IFA_PROTO, VIP_TAG);
        return netlink_request(nl, &m, NULL, NULL);
}

/* Deletes exactly @have: without the prefix the kernel takes the first that has the address. */
static int delete_exactly(struct netlink *nl, const struct host_address *have)
{
        struct netlink_message m;
        int r;

        netlink_message_init(&m, RTM_DELADDR, 0);
        put_place(&m, &have->address, have->prefix_len, have->ifindex);
        r = netlink_request(nl, &m, NULL, NULL);
        return r == -EADDRNOTAVAIL || r == -ENODEV ? 0 : r;
}

int netlink_vip_set(struct netlink *nl, const struct vip *vip, uint32_t valid_sec)
{
        struct copies copies;
        struct vip_state state;
        unsigned ifindex;
        int r;

        r = vip_check(vip);
        if (r < 0)
                return r;
        if (valid_sec == 0)
                return -EINVAL;
        r = netlink_link_index(nl, vip->interface, &ifindex);
        if (r < 0)
                return r;
        r = find_copies(nl, vip, ifindex, &copies);
        if (r < 0)
                return r;

        /*
         * Replacing would make a foreign address ours, lifetime and all. One that somebody has
         * put beside ours does no harm here, so that a renewal goes on.
         */
        state = summarise(&copies);
        if (!state.present && (state.stray || state.foreign))
                return -EEXIST;
        return add_or_renew(nl, vip, ifindex, valid_sec);
}

int netlink_vip_remove(struct netlink *nl, const struct vip *vip)
{
        struct copies copies;
        unsigned ifindex = 0;
        int r, result = 0;

        r = vip_check(vip);
        if (r < 0)
                return r;
        r = netlink_link_index(nl, vip->interface, &ifindex);
        if (r < 0 && r != -ENODEV)
                return r;
        r = find_copies(nl, vip, ifindex, &copies);
        if (r < 0)
                return r;

        for (size_t i = 0; i < copies.n; i++) {
                r = copies.of[i].match == VIP_FOREIGN ? -EEXIST
                                                      : delete_exactly(nl, &copies.of[i].have);
                /* That one of ours is still there weighs more than one of somebody else. */
                if (r < 0 && (result == 0 || result == -EEXIST))
                        result = r;
        }
        return result;
}

/* Listing. */

/* The addresses with our tag while they are collected. */
struct ours {
        size_t n;
        struct host_address of[VIPS_OURS_MAX];
};

static int on_ours(const struct nlmsghdr *header, void *userdata)
{
        struct ours *ours = userdata;
        struct host_address have;
        int r;

        if (header->nlmsg_type != RTM_NEWADDR)
                return 0;
        r = netlink_address_parse(header, &have);
        if (r < 0)
                return r == -EAFNOSUPPORT ? 0 : r;
        if (have.tag != VIP_TAG)
                return 0;
        if (ours->n == VIPS_OURS_MAX)
                return -E2BIG;
        ours->of[ours->n++] = have;
        return 0;
}

/* The address with the name of its interface; -ENODEV if that vanishes meanwhile. */
static int name_interface(struct netlink *nl, const struct host_address *have, struct vip *ret)
{
        struct link_state link;
        int r;

        r = netlink_link_get_by_index(nl, have->ifindex, &link);
        if (r < 0)
                return r;
        *ret = (struct vip){ .address = have->address, .prefix_len = have->prefix_len };
        memcpy(ret->interface, link.interface, sizeof(ret->interface));
        return 0;
}

int netlink_vip_list_ours(struct netlink *nl, struct vip **ret, size_t *ret_n)
{
        _cleanup_(freep)
        struct ours *ours = NULL;
        _cleanup_(freep)
        struct vip *vips = NULL;
        int r = -EAGAIN;
        size_t n = 0;

        ours = malloc(sizeof(*ours));
        if (!ours)
                return -ENOMEM;
        for (unsigned i = 0; i < DUMP_TRIES_MAX && r == -EAGAIN; i++) {
                ours->n = 0;
                r = dump_addresses(nl, AF_UNSPEC, on_ours, ours);
        }
        if (r < 0)
                return r;

        vips = calloc(ours->n + 1, sizeof(*vips));
        if (!vips)
                return -ENOMEM;
        for (size_t i = 0; i < ours->n; i++) {
                r = name_interface(nl, &ours->of[i], &vips[n]);
                if (r == -ENODEV)
                        continue;
                if (r < 0)
                        return r;
                n++;
        }
        *ret = TAKE_PTR(vips);
        *ret_n = n;
        return 0;
}

/* Whether an address that others have put on an interface has @address in its prefix. */
struct connection {
        const struct address *address;
        unsigned ifindex;
        bool connected;
};

static int on_connection(const struct nlmsghdr *header, void *userdata)
{
        struct connection *c = userdata;
        struct host_address have;
        int r;

        if (header->nlmsg_type != RTM_NEWADDR)
                return 0;
        r = netlink_address_parse(header, &have);
        if (r < 0)
                return r == -EAFNOSUPPORT ? 0 : r;
        if (have.ifindex == c->ifindex && have.tag != VIP_TAG &&
            address_in_prefix(c->address, &have.address, have.prefix_len))
                c->connected = true;
        return 0;
}

int netlink_address_is_connected(struct netlink *nl, const char *interface,
                                 const struct address *address, bool *ret)
{
        struct connection c = { .address = address };
        int r;

        r = netlink_link_index(nl, interface, &c.ifindex);
        if (r < 0)
                return r;
        r = -EAGAIN;
        for (unsigned i = 0; i < DUMP_TRIES_MAX && r == -EAGAIN; i++) {
                c.connected = false;
                r = dump_addresses(nl, address->family, on_connection, &c);
        }
        if (r < 0)
                return r;
        *ret = c.connected;
        return 0;
}
