/* Netlink messages without a kernel: what is too long, too short or damaged. */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "netlink/address.h"
#include "netlink/link.h"
#include "netlink/message.h"

/* A message about 10.1.0.100/32 with what the caller puts behind it. */
static struct ifaddrmsg *begin_address(struct netlink_message *m)
{
        struct ifaddrmsg *info;

        netlink_message_init(m, RTM_NEWADDR, 0);
        info = netlink_message_put_body(m, sizeof(*info));
        info->ifa_family = AF_INET;
        info->ifa_prefixlen = 32;
        info->ifa_index = 7;
        return info;
}

static const uint8_t ten[] = { 10, 1, 0, 100 };

static void request_that_grows_too_long_is_marked(void **state)
{
        static const uint8_t bytes[MESSAGE_SIZE] = { 0 };
        struct netlink_message m;
        uint32_t length;

        (void)state;
        (void)begin_address(&m);
        netlink_message_put(&m, IFA_LOCAL, ten, sizeof(ten));
        length = netlink_message_header(&m)->nlmsg_len;
        assert_false(m.failed);
        netlink_message_put(&m, IFA_LABEL, bytes, sizeof(bytes));
        assert_true(m.failed);
        assert_int_equal(netlink_message_header(&m)->nlmsg_len, length);

        /* Up to the very end there is room, and no further. */
        (void)begin_address(&m);
        while (!m.failed)
                netlink_message_put_u8(&m, IFA_PROTO, 1);
        assert_in_range(netlink_message_header(&m)->nlmsg_len, MESSAGE_SIZE - 16, MESSAGE_SIZE);
        assert_null(netlink_message_nest(&m, IFLA_AF_SPEC));
        netlink_message_nest_end(&m, NULL);
}

static void address_is_read(void **state)
{
        struct ifa_cacheinfo times = { .ifa_valid = 3, .ifa_prefered = 2 };
        struct host_address have;
        struct netlink_message m;

        (void)state;
        (void)begin_address(&m);
        netlink_message_put(&m, IFA_LOCAL, ten, sizeof(ten));
        netlink_message_put(&m, IFA_CACHEINFO, &times, sizeof(times));
        netlink_message_put_u32(&m, IFA_FLAGS,
                                IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_NOPREFIXROUTE);
        netlink_message_put_u8(&m, IFA_PROTO, VIP_TAG);
        assert_int_equal(netlink_address_parse(netlink_message_header(&m), &have), 0);
        assert_memory_equal(&have.address.v4, ten, sizeof(ten));
        assert_int_equal(have.prefix_len, 32);
        assert_int_equal(have.ifindex, 7);
        assert_int_equal(have.valid_sec, 3);
        assert_int_equal(have.preferred_sec, 2);
        assert_int_equal(have.tag, VIP_TAG);
        assert_true(have.tentative);
        assert_true(have.duplicate);
}

static void with_a_peer_the_local_address_counts(void **state)
{
        static const uint8_t peer[] = { 10, 1, 0, 200 };
        struct host_address have;
        struct netlink_message m;

        (void)state;
        (void)begin_address(&m);
        netlink_message_put(&m, IFA_ADDRESS, peer, sizeof(peer));
        netlink_message_put(&m, IFA_LOCAL, ten, sizeof(ten));
        assert_int_equal(netlink_address_parse(netlink_message_header(&m), &have), 0);
        assert_memory_equal(&have.address.v4, ten, sizeof(ten));
        assert_int_equal(have.valid_sec, VIP_FOREVER);
}

static void damaged_addresses_are_refused(void **state)
{
        static const uint8_t sixteen[16] = { 0 };
        struct host_address have;
        struct netlink_message m;

        (void)state;
        (void)begin_address(&m); /* no address inside */
        assert_int_equal(netlink_address_parse(netlink_message_header(&m), &have), -EBADMSG);
        netlink_message_put(&m, IFA_LOCAL, ten, 2); /* too short */
        assert_int_equal(netlink_address_parse(netlink_message_header(&m), &have), -EBADMSG);

        (void)begin_address(&m); /* as long as one of the other family */
        netlink_message_put(&m, IFA_LOCAL, sixteen, sizeof(sixteen));
        assert_int_equal(netlink_address_parse(netlink_message_header(&m), &have), -EBADMSG);

        (void)begin_address(&m); /* half a lifetime */
        netlink_message_put(&m, IFA_LOCAL, ten, sizeof(ten));
        netlink_message_put(&m, IFA_CACHEINFO, sixteen, 8);
        assert_int_equal(netlink_address_parse(netlink_message_header(&m), &have), -EBADMSG);

        begin_address(&m)->ifa_family = AF_UNIX;
        netlink_message_put(&m, IFA_LOCAL, ten, sizeof(ten));
        assert_int_equal(netlink_address_parse(netlink_message_header(&m), &have), -EAFNOSUPPORT);

        netlink_message_init(&m, RTM_NEWADDR, 0); /* nothing behind the header */
        assert_int_equal(netlink_address_parse(netlink_message_header(&m), &have), -EBADMSG);
}

static void damaged_links_are_refused(void **state)
{
        static const uint8_t mac[LINK_ADDRESS_MAX + 1] = { 0 };
        struct link_state link;
        struct ifinfomsg *info;
        struct nlattr *families, *family;
        struct netlink_message m;

        (void)state;
        netlink_message_init(&m, RTM_NEWLINK, 0);
        assert_int_equal(netlink_link_parse(netlink_message_header(&m), &link), -EBADMSG);
        info = netlink_message_put_body(&m, sizeof(*info));
        info->ifi_index = 3;
        assert_int_equal(netlink_link_parse(netlink_message_header(&m), &link),
                         -EBADMSG); /* no name */

        netlink_message_put(&m, IFLA_IFNAME, "abc", 3); /* without its end */
        assert_int_equal(netlink_link_parse(netlink_message_header(&m), &link), -EBADMSG);

        netlink_message_init(&m, RTM_NEWLINK, 0);
        info = netlink_message_put_body(&m, sizeof(*info));
        info->ifi_index = 3;
        netlink_message_put_string(&m, IFLA_IFNAME, "a-name-without-end");
        assert_int_equal(netlink_link_parse(netlink_message_header(&m), &link), -EBADMSG);

        netlink_message_init(&m, RTM_NEWLINK, 0);
        info = netlink_message_put_body(&m, sizeof(*info));
        netlink_message_put_string(&m, IFLA_IFNAME, "d0");
        assert_int_equal(netlink_link_parse(netlink_message_header(&m), &link),
                         -EBADMSG); /* no index */
        info->ifi_index = 3;
        assert_int_equal(netlink_link_parse(netlink_message_header(&m), &link), 0);
        assert_int_equal(link.mac_len, 0);
        netlink_message_put(&m, IFLA_ADDRESS, mac, sizeof(mac));
        assert_int_equal(netlink_link_parse(netlink_message_header(&m), &link), -EBADMSG);

        netlink_message_init(&m, RTM_NEWLINK, 0);
        info = netlink_message_put_body(&m, sizeof(*info));
        info->ifi_index = 3;
        netlink_message_put_string(&m, IFLA_IFNAME, "d0");
        families = netlink_message_nest(&m, IFLA_AF_SPEC);
        family = netlink_message_nest(&m, AF_INET);
        netlink_message_put_u32(&m, IFLA_INET_CONF, 1); /* fewer settings than are read */
        netlink_message_nest_end(&m, family);
        netlink_message_nest_end(&m, families);
        assert_int_equal(netlink_link_parse(netlink_message_header(&m), &link), -EBADMSG);
}

static struct address parse(const char *s)
{
        struct address a;

        assert_int_equal(address_parse(s, &a), 0);
        return a;
}

static bool in_prefix(const char *a, const char *b, unsigned prefix_len)
{
        struct address x = parse(a), y = parse(b);

        return address_in_prefix(&x, &y, prefix_len);
}

static void prefixes_are_compared_by_bits(void **state)
{
        (void)state;
        assert_true(in_prefix("10.1.0.1", "10.1.0.200", 24));
        assert_false(in_prefix("10.1.0.1", "10.1.1.1", 24));
        assert_true(in_prefix("10.1.0.1", "10.1.1.1", 23));
        assert_false(in_prefix("10.1.0.1", "10.1.2.1", 23));
        assert_true(in_prefix("10.1.0.1", "192.0.2.1", 0));
        assert_true(in_prefix("10.1.0.1", "10.1.0.1", 32));
        assert_false(in_prefix("10.1.0.1", "10.1.0.0", 32));
        assert_true(in_prefix("10.1.0.1", "10.1.0.0", 31));
        assert_false(in_prefix("10.1.0.1", "10.1.0.1", 33));
        assert_true(in_prefix("fd01::1", "fd01::ffff", 64));
        assert_false(in_prefix("fd01::1", "fd01:0:0:1::1", 64));
        assert_true(in_prefix("fd01::1", "fd01::1", 128));
        assert_false(in_prefix("fd01::1", "10.1.0.1", 0));
}

static void ours_is_known_by_tag_place_and_looks(void **state)
{
        static const struct {
                const char *address;
                unsigned ifindex, prefix_len;
                uint8_t tag;
                uint32_t valid_sec, flags;
                enum vip_match with_tags, without_tags;
        } cases[] = {
                { "10.1.0.100", 7, 32, VIP_TAG, 3, 0, VIP_HELD, VIP_HELD },
                { "10.1.0.100", 7, 24, VIP_TAG, 3, 0, VIP_STRAY, VIP_STRAY },
                { "10.1.0.100", 8, 32, VIP_TAG, 3, 0, VIP_STRAY, VIP_STRAY },
                { "10.1.0.101", 7, 32, VIP_TAG, 3, 0, VIP_OTHER, VIP_OTHER },
                { "10.1.0.100", 7, 32, 18, 3, IFA_F_NOPREFIXROUTE, VIP_FOREIGN, VIP_FOREIGN },
                { "10.1.0.100", 7, 32, 0, 3, IFA_F_NOPREFIXROUTE, VIP_FOREIGN, VIP_HELD },
                { "10.1.0.100", 7, 32, 0, 3, 0, VIP_FOREIGN, VIP_FOREIGN },
                { "10.1.0.100", 7, 32, 0, VIP_FOREVER, IFA_F_NOPREFIXROUTE, VIP_FOREIGN,
                  VIP_FOREIGN },
                { "10.1.0.100", 8, 32, 0, 3, IFA_F_NOPREFIXROUTE, VIP_FOREIGN, VIP_FOREIGN },
                { "10.1.0.100", 7, 24, 0, 3, IFA_F_NOPREFIXROUTE, VIP_FOREIGN, VIP_FOREIGN },
        };
        struct vip vip = { .address = parse("10.1.0.100"), .prefix_len = 32 };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                struct host_address have = {
                        .address = parse(cases[i].address),
                        .ifindex = cases[i].ifindex,
                        .prefix_len = cases[i].prefix_len,
                        .tag = cases[i].tag,
                        .valid_sec = cases[i].valid_sec,
                        .flags = cases[i].flags,
                };

                assert_int_equal(vip_match(&vip, 7, &have, true), cases[i].with_tags);
                assert_int_equal(vip_match(&vip, 7, &have, false), cases[i].without_tags);
        }
}

static void link_local_addresses_of_other_links_are_not_the_same(void **state)
{
        struct vip vip = { .address = parse("fe80::1"), .prefix_len = 128 };
        struct host_address have = { .address = vip.address, .ifindex = 8, .prefix_len = 64 };

        (void)state;
        assert_int_equal(vip_match(&vip, 7, &have, true), VIP_OTHER);
        assert_int_equal(vip_match(&vip, 8, &have, true), VIP_FOREIGN);
        have.address = vip.address = parse("fd01::1");
        assert_int_equal(vip_match(&vip, 7, &have, true), VIP_FOREIGN);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(request_that_grows_too_long_is_marked),
                cmocka_unit_test(address_is_read),
                cmocka_unit_test(with_a_peer_the_local_address_counts),
                cmocka_unit_test(damaged_addresses_are_refused),
                cmocka_unit_test(damaged_links_are_refused),
                cmocka_unit_test(prefixes_are_compared_by_bits),
                cmocka_unit_test(ours_is_known_by_tag_place_and_looks),
                cmocka_unit_test(link_local_addresses_of_other_links_are_not_the_same),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
