/* Links in a real kernel, in a network namespace of this test's own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "netlink/netlink.h"
#include "tests/lib/deadline.h"
#include "tests/lib/namespace.h"

enum { WAIT_MSEC = 3000 };

static int setup(void **state)
{
        if (namespace_run("ip link add d0 address 02:00:00:00:00:0a type veth peer name d1 &&"
                          "ip link set d0 up") != 0)
                return -1;
        return netlink_new((struct netlink **)state);
}

static int teardown(void **state)
{
        netlink_free(*state);
        (void)namespace_run("ip link del d1 2>/dev/null"); /* and its peer with it */
        return 0;
}

static struct link_state look(struct netlink *nl, const char *interface)
{
        struct link_state link;

        assert_int_equal(netlink_link_get(nl, interface, &link), 0);
        return link;
}

static bool is_running(void *userdata)
{
        return look(userdata, "d0").running;
}

static void state_of_the_link_is_read(void **state)
{
        static const uint8_t mac[] = { 2, 0, 0, 0, 0, 10 };
        static const uint8_t broadcast[] = { 255, 255, 255, 255, 255, 255 };
        struct link_state d0 = look(*state, "d0");

        assert_int_equal(d0.ifindex, if_nametoindex("d0"));
        assert_string_equal(d0.interface, "d0");
        assert_true(d0.up);
        assert_false(d0.running); /* its peer is down */
        assert_false(d0.carrier);
        assert_false(d0.no_arp);
        assert_int_equal(d0.mac_len, 6);
        assert_memory_equal(d0.mac, mac, 6);
        assert_memory_equal(d0.broadcast, broadcast, 6);
        assert_false(look(*state, "d1").up);

        assert_int_equal(namespace_run("ip link set d1 up"), 0);
        assert_true(deadline_wait(is_running, *state, WAIT_MSEC));
        assert_true(look(*state, "d0").carrier);
}

static void loopback_has_no_neighbours(void **state)
{
        assert_true(look(*state, "lo").no_arp);
}

static void missing_and_impossible_names_are_told_apart(void **state)
{
        struct link_state link;

        assert_int_equal(netlink_link_get(*state, "nowhere0", &link), -ENODEV);
        assert_int_equal(netlink_link_get(*state, "", &link), -EINVAL);
        assert_int_equal(netlink_link_get(*state, "a-name-without-end", &link), -EINVAL);
}

static void forwarding_is_read(void **state)
{
        assert_false(look(*state, "d0").forwards_ipv6);
        assert_int_equal(namespace_run("echo 1 >/proc/sys/net/ipv6/conf/d0/forwarding"), 0);
        assert_true(look(*state, "d0").forwards_ipv6);
}

static void link_without_ipv6_is_read(void **state)
{
        /* Too small for IPv6, which the kernel then takes off the link altogether. */
        assert_int_equal(namespace_run("ip link set d0 mtu 1000"), 0);
        assert_false(look(*state, "d0").forwards_ipv6);
}

static void promoted_secondaries_outlive_their_primary(void **state)
{
        /* Ours is the primary here: it was there before the interface's own address. */
        struct vip vip = { .prefix_len = 24, .interface = "d0" };
        bool before = look(*state, "d0").promotes_secondaries;

        assert_int_equal(address_parse("10.1.0.100", &vip.address), 0);
        for (int on = 0; on <= 1; on++) {
                assert_int_equal(netlink_link_promote_secondaries(*state, "d0", on), 0);
                assert_int_equal(look(*state, "d0").promotes_secondaries, on);
                assert_int_equal(netlink_vip_set(*state, &vip, 30), 0);
                assert_int_equal(namespace_run("ip addr add 10.1.0.1/24 dev d0"), 0);
                assert_int_equal(netlink_vip_remove(*state, &vip), 0);
                assert_int_equal(namespace_run("ip -4 addr show dev d0 | grep -q 10.1.0.1/24"),
                                 on ? 0 : 1);
        }
        assert_int_equal(netlink_link_promote_secondaries(*state, "d0", before), 0);
        assert_int_equal(netlink_link_promote_secondaries(*state, "nowhere0", true), -ENODEV);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(state_of_the_link_is_read),
                TEST(loopback_has_no_neighbours),
                TEST(missing_and_impossible_names_are_told_apart),
                TEST(forwarding_is_read),
                TEST(link_without_ipv6_is_read),
                TEST(promoted_secondaries_outlive_their_primary),
        };
        int namespace, r;

        namespace = namespace_enter();
        if (namespace < 0) {
                print_error("cannot make a network namespace: %s\n", strerror(-namespace));
                return EXIT_FAILURE;
        }
        r = cmocka_run_group_tests(tests, NULL, NULL);
        (void)close(namespace);
        return r;
}
