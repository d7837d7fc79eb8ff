/* Addresses of the host: read from the kernel's messages, and compared with what is ours. */
#include "netlink/address.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "netlink/message.h"

static const struct attribute_rule address_rules[] = {
        { .type = IFA_ADDRESS, .size_min = sizeof(struct in_addr) },
        { .type = IFA_LOCAL, .size_min = sizeof(struct in_addr) },
        { .type = IFA_FLAGS, .size_min = sizeof(uint32_t) },
        { .type = IFA_CACHEINFO, .size_min = sizeof(struct ifa_cacheinfo) },
        { .type = IFA_PROTO, .size_min = sizeof(uint8_t) },
};

#define N(array) (sizeof(array) / sizeof((array)[0]))

unsigned vip_prefix_len_host(const struct vip *vip)
{
        return (unsigned)address_size(&vip->address) * 8;
}

bool address_in_prefix(const struct address *a, const struct address *b, unsigned prefix_len)
{
        const uint8_t *x = (const uint8_t *)&a->v4, *y = (const uint8_t *)&b->v4;
        size_t whole = prefix_len / 8;
        unsigned rest = prefix_len % 8;

        if (a->family != b->family || prefix_len > address_size(a) * 8)
                return false;
        if (memcmp(x, y, whole) != 0)
                return false;
        return rest == 0 || (x[whole] ^ y[whole]) >> (8 - rest) == 0;
}

int netlink_address_parse(const struct nlmsghdr *header, struct host_address *ret)
{
        struct host_address have = { .valid_sec = VIP_FOREVER, .preferred_sec = VIP_FOREVER };
        const struct ifaddrmsg *info;
        const struct nlattr *local;
        struct netlink_attributes a;
        int r;

        r = netlink_attributes_read(header, sizeof(*info), address_rules, N(address_rules), &a);
        if (r < 0)
                return r;
        info = mnl_nlmsg_get_payload(header);
        if (info->ifa_family != AF_INET && info->ifa_family != AF_INET6)
                return -EAFNOSUPPORT;

        /* With a peer, IFA_ADDRESS is the peer's. */
        local = a.of[IFA_LOCAL] ? a.of[IFA_LOCAL] : a.of[IFA_ADDRESS];
        have.address.family = info->ifa_family;
        if (!local || mnl_attr_get_payload_len(local) != address_size(&have.address))
                return -EBADMSG;
        memcpy(&have.address.v4, mnl_attr_get_payload(local), address_size(&have.address));

        have.prefix_len = info->ifa_prefixlen;
        have.ifindex = info->ifa_index;
        have.flags = a.of[IFA_FLAGS] ? mnl_attr_get_u32(a.of[IFA_FLAGS]) : info->ifa_flags;
        have.tag = a.of[IFA_PROTO] ? mnl_attr_get_u8(a.of[IFA_PROTO]) : 0;
        have.tentative = have.flags & IFA_F_TENTATIVE;
        have.duplicate = have.flags & IFA_F_DADFAILED;
        if (a.of[IFA_CACHEINFO]) {
                struct ifa_cacheinfo times;

                memcpy(&times, mnl_attr_get_payload(a.of[IFA_CACHEINFO]), sizeof(times));
                have.valid_sec = times.ifa_valid;
                have.preferred_sec = times.ifa_prefered;
        }
        *ret = have;
        return 0;
}

/* Whether an address without a tag looks as we make it. */
static bool looks_like_ours(const struct host_address *have)
{
        return have->tag == 0 && have->valid_sec != VIP_FOREVER &&
               (have->flags & IFA_F_NOPREFIXROUTE);
}

enum vip_match vip_match(const struct vip *vip, unsigned ifindex, const struct host_address *have,
                         bool kernel_keeps_tags)
{
        bool at_its_place = have->ifindex == ifindex && have->prefix_len == vip->prefix_len;

        if (!address_equal(&vip->address, &have->address))
                return VIP_OTHER;
        if (have->tag == VIP_TAG)
                return at_its_place ? VIP_HELD : VIP_STRAY;
        if (!kernel_keeps_tags && at_its_place && looks_like_ours(have))
                return VIP_HELD;
        /* Each link has link-local addresses of its own; only the same link's concern us. */
        if (vip->address.family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&vip->address.v6) &&
            have->ifindex != ifindex)
                return VIP_OTHER;
        return VIP_FOREIGN;
}
