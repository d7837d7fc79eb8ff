/* Links: index, state and hardware addresses of an interface. */
#include "netlink/link.h"

#include <errno.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <string.h>

#include "netlink/socket.h"

static const struct attribute_rule link_rules[] = {
        { .type = IFLA_IFNAME, .is_string = true, .size_min = 2 },
        { .type = IFLA_ADDRESS },
        { .type = IFLA_BROADCAST },
        { .type = IFLA_CARRIER, .size_min = sizeof(uint8_t) },
        { .type = IFLA_AF_SPEC },
};

static const struct attribute_rule family_rules[] = {
        { .type = AF_INET },
        { .type = AF_INET6 },
};

static const struct attribute_rule inet_rules[] = {
        { .type = IFLA_INET_CONF, .size_min = IPV4_DEVCONF_PROMOTE_SECONDARIES * sizeof(uint32_t) },
};

static const struct attribute_rule inet6_rules[] = {
        { .type = IFLA_INET6_CONF, .size_min = (DEVCONF_FORWARDING + 1) * sizeof(uint32_t) },
};

#define N(array) (sizeof(array) / sizeof((array)[0]))

/* The @i-th of the numbers in @attribute; zero if it is absent. Its rule has checked the size. */
static uint32_t number_at(const struct nlattr *attribute, size_t i)
{
        uint32_t value = 0;

        if (attribute)
                memcpy(&value, (const uint8_t *)mnl_attr_get_payload(attribute) + i * sizeof(value),
                       sizeof(value));
        return value;
}

/* What the two address families have set for the link. */
static int parse_families(const struct nlattr *nest, struct link_state *ret)
{
        struct netlink_attributes families, settings;
        int r;

        r = netlink_attributes_read_nested(nest, family_rules, N(family_rules), &families);
        if (r < 0)
                return r;
        if (families.of[AF_INET]) {
                r = netlink_attributes_read_nested(families.of[AF_INET], inet_rules, N(inet_rules),
                                                   &settings);
                if (r < 0)
                        return r;
                /* This family counts its settings from one. */
                ret->promotes_secondaries = number_at(settings.of[IFLA_INET_CONF],
                                                      IPV4_DEVCONF_PROMOTE_SECONDARIES - 1) != 0;
        }
        if (families.of[AF_INET6]) {
                r = netlink_attributes_read_nested(families.of[AF_INET6], inet6_rules,
                                                   N(inet6_rules), &settings);
                if (r < 0)
                        return r;
                ret->forwards_ipv6 = number_at(settings.of[IFLA_INET6_CONF], DEVCONF_FORWARDING) !=
                                     0;
        }
        return 0;
}

/* Copies a hardware address; answers its length. */
static int copy_hardware_address(const struct nlattr *attribute, uint8_t ret[LINK_ADDRESS_MAX])
{
        size_t n;

        if (!attribute)
                return 0;
        n = mnl_attr_get_payload_len(attribute);
        if (n > LINK_ADDRESS_MAX)
                return -EBADMSG;
        memcpy(ret, mnl_attr_get_payload(attribute), n);
        return (int)n;
}

static int parse_hardware_addresses(const struct netlink_attributes *a, struct link_state *ret)
{
        int n_mac, n_broadcast;

        n_mac = copy_hardware_address(a->of[IFLA_ADDRESS], ret->mac);
        n_broadcast = copy_hardware_address(a->of[IFLA_BROADCAST], ret->broadcast);
        if (n_mac < 0 || n_broadcast < 0)
                return -EBADMSG;
        ret->mac_len = n_mac == n_broadcast ? (size_t)n_mac : 0;
        return 0;
}

int netlink_link_parse(const struct nlmsghdr *header, struct link_state *ret)
{
        struct link_state link = { 0 };
        const struct ifinfomsg *info;
        struct netlink_attributes a;
        const char *name;
        int r;

        r = netlink_attributes_read(header, sizeof(*info), link_rules, N(link_rules), &a);
        if (r < 0)
                return r;
        info = mnl_nlmsg_get_payload(header);
        if (info->ifi_index <= 0 || !a.of[IFLA_IFNAME])
                return -EBADMSG;
        name = mnl_attr_get_str(a.of[IFLA_IFNAME]);
        if (strlen(name) >= sizeof(link.interface))
                return -EBADMSG;
        memcpy(link.interface, name, strlen(name) + 1);

        link.ifindex = (unsigned)info->ifi_index;
        link.up = info->ifi_flags & IFF_UP;
        link.running = link.up && (info->ifi_flags & IFF_RUNNING);
        link.no_arp = info->ifi_flags & (IFF_NOARP | IFF_LOOPBACK);
        link.carrier = a.of[IFLA_CARRIER] && mnl_attr_get_u8(a.of[IFLA_CARRIER]) != 0;
        r = parse_hardware_addresses(&a, &link);
        if (r < 0)
                return r;
        if (a.of[IFLA_AF_SPEC]) {
                r = parse_families(a.of[IFLA_AF_SPEC], &link);
                if (r < 0)
                        return r;
        }
        *ret = link;
        return 0;
}

struct link_answer {
        bool found;
        struct link_state link;
};

static int on_link(const struct nlmsghdr *header, void *userdata)
{
        struct link_answer *answer = userdata;
        int r;

        if (header->nlmsg_type != RTM_NEWLINK)
                return 0;
        r = netlink_link_parse(header, &answer->link);
        if (r < 0)
                return r;
        answer->found = true;
        return 0;
}

/* By @interface, or if that is NULL by @ifindex. */
static int link_query(struct netlink *nl, const char *interface, unsigned ifindex,
                      struct link_state *ret)
{
        struct link_answer answer = { 0 };
        struct ifinfomsg *info;
        struct netlink_message m;
        int r;

        netlink_message_init(&m, RTM_GETLINK, 0);
        info = netlink_message_put_body(&m, sizeof(*info));
        info->ifi_index = (int)ifindex;
        if (interface)
                netlink_message_put_string(&m, IFLA_IFNAME, interface);
        netlink_message_put_u32(&m, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        r = netlink_request(nl, &m, on_link, &answer);
        if (r < 0)
                return r;
        if (!answer.found)
                return -ENODEV;
        *ret = answer.link;
        return 0;
}

int netlink_link_get(struct netlink *nl, const char *interface, struct link_state *ret)
{
        if (interface[0] == '\0' || strlen(interface) >= IFNAMSIZ)
                return -EINVAL;
        return link_query(nl, interface, 0, ret);
}

int netlink_link_get_by_index(struct netlink *nl, unsigned ifindex, struct link_state *ret)
{
        return link_query(nl, NULL, ifindex, ret);
}

int netlink_link_index(struct netlink *nl, const char *interface, unsigned *ret)
{
        struct link_state link;
        int r;

        r = netlink_link_get(nl, interface, &link);
        if (r < 0)
                return r;
        *ret = link.ifindex;
        return 0;
}

int netlink_link_has_neighbours(const struct link_state *link)
{
        if (link->no_arp)
                return 0;
        return link->mac_len == ETH_ALEN ? 1 : -EOPNOTSUPP;
}

int netlink_link_promote_secondaries(struct netlink *nl, const char *interface, bool on)
{
        struct nlattr *families, *inet, *settings;
        struct ifinfomsg *info;
        struct netlink_message m;
        unsigned ifindex;
        int r;

        r = netlink_link_index(nl, interface, &ifindex);
        if (r < 0)
                return r;
        netlink_message_init(&m, RTM_SETLINK, 0);
        info = netlink_message_put_body(&m, sizeof(*info));
        info->ifi_index = (int)ifindex;
        families = netlink_message_nest(&m, IFLA_AF_SPEC);
        inet = netlink_message_nest(&m, AF_INET);
        settings = netlink_message_nest(&m, IFLA_INET_CONF);
        netlink_message_put_u32(&m, IPV4_DEVCONF_PROMOTE_SECONDARIES, on);
        netlink_message_nest_end(&m, settings);
        netlink_message_nest_end(&m, inet);
        netlink_message_nest_end(&m, families);
        return netlink_request(nl, &m, NULL, NULL);
}
