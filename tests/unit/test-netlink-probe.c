/* Probes and claims, over a pair of interfaces into a second namespace. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "netlink/link.h"
#include "netlink/netlink.h"
#include "netlink/packet.h"
#include "tests/lib/deadline.h"
#include "tests/lib/namespace.h"

enum {
        WAIT_MSEC = 3000, /* an upper limit; packets come at once */
        QUIET_MSEC = 100, /* an answer over this cable takes a thousandth of it */
};

/* This host with d0, and the neighbour behind the cable with p0. */
struct lab {
        int here, there; /* namespaces */
        struct netlink *nl, *neighbour;
        struct announcer *announcer_there;
};

static const uint8_t mac_here[] = { 2, 0, 0, 0, 0, 0x0a };
static const uint8_t mac_there[] = { 2, 0, 0, 0, 0, 0x0b };

static struct vip make_vip(const char *address, const char *interface)
{
        struct vip vip = { 0 };

        assert_int_equal(address_parse(address, &vip.address), 0);
        vip.prefix_len = vip_prefix_len_host(&vip);
        strcpy(vip.interface, interface);
        return vip;
}

static bool is_running(void *userdata)
{
        struct lab *lab = userdata;
        struct link_state a, b;

        return netlink_link_get(lab->nl, "d0", &a) == 0 && a.running &&
               netlink_link_get(lab->neighbour, "p0", &b) == 0 && b.running;
}

static int setup(void **state)
{
        struct lab *lab = *state;

        if (namespace_return(lab->here) < 0 ||
            namespace_run("ip link add d0 address 02:00:00:00:00:0a type veth"
                          " peer name p0 address 02:00:00:00:00:0b &&"
                          "ip link set p0 netns /proc/%d/fd/%d && ip link set d0 up",
                          (int)getpid(), lab->there) != 0 ||
            netlink_new(&lab->nl) < 0)
                return -1;
        if (namespace_return(lab->there) < 0 || netlink_new(&lab->neighbour) < 0 ||
            announcer_new(lab->neighbour, &lab->announcer_there) < 0 ||
            namespace_run("ip link set p0 up") != 0 || namespace_return(lab->here) < 0)
                return -1;
        return deadline_wait(is_running, lab, WAIT_MSEC) ? 0 : -1;
}

static int teardown(void **state)
{
        struct lab *lab = *state;

        announcer_free(lab->announcer_there);
        netlink_free(lab->neighbour);
        netlink_free(lab->nl);
        (void)namespace_return(lab->here);
        /* And its peer with it. */
        (void)namespace_run("ip link del d0 2>/dev/null || ip link del later0");
        return 0;
}

static struct prober *listen_for(const struct lab *lab, const char *address)
{
        struct vip vip = make_vip(address, "d0");
        struct prober *p;

        assert_int_equal(prober_new(lab->nl, &vip, &p), 0);
        return p;
}

static bool is_quiet(const struct prober *p)
{
        struct pollfd f = { .fd = prober_fd(p), .events = POLLIN };

        return poll(&f, 1, QUIET_MSEC) == 0;
}

static bool hears(struct prober *p, const uint8_t mac[6])
{
        struct pollfd f = { .fd = prober_fd(p), .events = POLLIN };
        uint8_t claimant[6];

        return poll(&f, 1, WAIT_MSEC) == 1 && prober_read(p, claimant) == 1 &&
               memcmp(claimant, mac, 6) == 0;
}

/* Asks until somebody answers: packets are lost while a carrier or a new address settles. */
static bool answers(struct prober *p, const uint8_t mac[6])
{
        for (unsigned i = 0; i < WAIT_MSEC / QUIET_MSEC && is_quiet(p); i++)
                assert_int_equal(prober_send(p), 0);
        return hears(p, mac);
}

static void holder_answers_a_probe(void **state)
{
        static const char *const addresses[] = { "10.1.0.100", "fd01::100" };
        struct lab *lab = *state;

        for (size_t i = 0; i < 2; i++) {
                struct vip held = make_vip(addresses[i], "p0");
                struct prober *p = listen_for(lab, addresses[i]);
                uint8_t mac[6];

                assert_int_equal(prober_send(p), 0);
                assert_true(is_quiet(p)); /* nobody has it yet */

                assert_int_equal(netlink_vip_set(lab->neighbour, &held, 30), 0);
                assert_true(answers(p, mac_there));
                while (prober_read(p, mac) > 0)
                        assert_memory_equal(mac, mac_there, 6);
                prober_free(p);
        }
}

static void announcement_of_another_host_is_a_claim(void **state)
{
        static const char *const addresses[] = { "10.1.0.100", "fd01::100" };
        struct lab *lab = *state;

        for (size_t i = 0; i < 2; i++) {
                struct vip theirs = make_vip(addresses[i], "p0");
                struct prober *p = listen_for(lab, addresses[i]);

                assert_int_equal(announcer_send(lab->announcer_there, &theirs), 0);
                assert_true(hears(p, mac_there));
                prober_free(p);
        }
}

static void other_addresses_do_not_wake_the_listener(void **state)
{
        struct lab *lab = *state;
        struct vip other4 = make_vip("10.1.0.101", "p0"), other6 = make_vip("fd01::101", "p0");
        struct prober *p4 = listen_for(lab, "10.1.0.100"), *p6 = listen_for(lab, "fd01::100");

        assert_int_equal(announcer_send(lab->announcer_there, &other4), 0);
        assert_int_equal(announcer_send(lab->announcer_there, &other6), 0);
        assert_true(is_quiet(p4));
        assert_true(is_quiet(p6));
        prober_free(p4);
        prober_free(p6);
}

static void own_packets_are_no_claims(void **state)
{
        struct lab *lab = *state;
        struct vip ours = make_vip("10.1.0.100", "d0"), theirs = make_vip("10.1.0.100", "p0");
        struct prober *p = listen_for(lab, "10.1.0.100");
        struct announcer *announcer;
        uint8_t mac[6];

        assert_int_equal(announcer_new(lab->nl, &announcer), 0);
        assert_int_equal(announcer_send(announcer, &ours), 0);
        announcer_free(announcer);
        assert_true(is_quiet(p));

        /* As when a switch sends our own packet back to us. */
        assert_int_equal(namespace_return(lab->there), 0);
        assert_int_equal(namespace_run("ip link set p0 address 02:00:00:00:00:0a"), 0);
        assert_int_equal(namespace_return(lab->here), 0);
        assert_int_equal(announcer_send(lab->announcer_there, &theirs), 0);
        assert_false(is_quiet(p));
        assert_int_equal(prober_read(p, mac), 0);
        prober_free(p);
}

static void probe_changes_nobodys_tables(void **state)
{
        struct lab *lab = *state;
        struct prober *p = listen_for(lab, "10.1.0.100");

        assert_int_equal(namespace_return(lab->there), 0);
        assert_int_equal(namespace_run("ip addr add 10.1.0.2/24 dev p0 && ip neigh replace"
                                       " 10.1.0.100 lladdr 02:00:00:00:00:66 dev p0 nud reachable"),
                         0);
        assert_int_equal(prober_send(p), 0);
        assert_true(is_quiet(p));
        assert_int_equal(namespace_run("ip neigh show 10.1.0.100 | grep -q 02:00:00:00:00:66"), 0);
        assert_int_equal(namespace_return(lab->here), 0);
        prober_free(p);
}

static void interface_that_is_missing_is_told_and_found_later(void **state)
{
        struct lab *lab = *state;
        struct vip theirs = make_vip("10.1.0.100", "later0");
        struct prober *p;
        uint8_t mac[6];

        assert_int_equal(prober_new(lab->nl, &theirs, &p), 0);
        assert_int_equal(prober_send(p), -ENODEV);
        assert_int_equal(prober_read(p, mac), 0);
        assert_int_equal(namespace_run("ip link set d0 down && ip link set d0 name later0 &&"
                                       "ip link set later0 up"),
                         0);
        strcpy(theirs.interface, "p0");
        assert_int_equal(netlink_vip_set(lab->neighbour, &theirs, 30), 0);
        assert_true(answers(p, mac_there));
        prober_free(p);
}

static void only_ethernet_has_neighbours_that_can_be_asked(void **state)
{
        struct link_state link = { .mac_len = 20 };

        (void)state;
        assert_int_equal(netlink_link_has_neighbours(&link), -EOPNOTSUPP);
        link.mac_len = 6;
        assert_int_equal(netlink_link_has_neighbours(&link), 1);
        link.no_arp = true;
        assert_int_equal(netlink_link_has_neighbours(&link), 0);
}

static void arp_claims_are_told_from_other_packets(void **state)
{
        struct vip vip = make_vip("10.1.0.100", "d0");
        struct ether_arp claim = arp_claim(ARPOP_REQUEST, vip.address.v4, mac_there);
        uint8_t mac[6];

        (void)state;
        assert_true(arp_is_claim(&claim, sizeof(claim), vip.address.v4, mac));
        assert_memory_equal(mac, mac_there, 6);
        assert_false(arp_is_claim(&claim, sizeof(claim) - 1, vip.address.v4, mac));
        claim.ea_hdr.ar_hln = 8;
        assert_false(arp_is_claim(&claim, sizeof(claim), vip.address.v4, mac));
        claim = arp_probe(vip.address.v4, mac_there);
        assert_false(arp_is_claim(&claim, sizeof(claim), vip.address.v4, mac));
}

static void advertisements_are_told_from_other_packets(void **state)
{
        struct vip vip = make_vip("fd01::100", "d0");
        const struct in6_addr *address = &vip.address.v6;
        struct neighbour_advert good = neighbour_advert(address, mac_there, false), bad = good;
        uint8_t mac[6];

        (void)state;
        assert_true(advert_is_claim(&good, sizeof(good), address, mac_here, mac));
        assert_memory_equal(mac, mac_there, 6);
        /* Without the option it is the sender of the packet. */
        assert_true(advert_is_claim(&good, 64, address, mac_here, mac));
        assert_memory_equal(mac, mac_here, 6);
        assert_false(advert_is_claim(&good, 63, address, mac_here, mac));
        bad.ip.ip6_hlim = 254;
        assert_false(advert_is_claim(&bad, sizeof(bad), address, mac_here, mac));
        bad = good;
        bad.advert.nd_na_target.s6_addr[15] ^= 1;
        assert_false(advert_is_claim(&bad, sizeof(bad), address, mac_here, mac));
        bad = good;
        bad.advert.nd_na_type = ND_NEIGHBOR_SOLICIT;
        assert_false(advert_is_claim(&bad, sizeof(bad), address, mac_here, mac));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        struct lab lab = { 0 };
        struct CMUnitTest tests[] = {
                TEST(holder_answers_a_probe),
                TEST(announcement_of_another_host_is_a_claim),
                TEST(other_addresses_do_not_wake_the_listener),
                TEST(own_packets_are_no_claims),
                TEST(probe_changes_nobodys_tables),
                TEST(interface_that_is_missing_is_told_and_found_later),
                cmocka_unit_test(only_ethernet_has_neighbours_that_can_be_asked),
                cmocka_unit_test(arp_claims_are_told_from_other_packets),
                cmocka_unit_test(advertisements_are_told_from_other_packets),
        };
        int r;

        for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
                tests[i].initial_state = &lab;
        lab.there = namespace_enter();
        lab.here = namespace_enter();
        if (lab.there < 0 || lab.here < 0) {
                print_error("cannot make two network namespaces\n");
                return EXIT_FAILURE;
        }
        r = cmocka_run_group_tests(tests, NULL, NULL);
        (void)close(lab.there);
        (void)close(lab.here);
        return r;
}
