/* Announcements as neighbours get them: over a pair of interfaces into a second namespace. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "netlink/netlink.h"
#include "netlink/packet.h"
#include "tests/lib/deadline.h"
#include "tests/lib/namespace.h"

enum {
        FRAME_SIZE = 256,
        WAIT_MSEC = 3000, /* an upper limit; frames come at once */
};

/* The announcing host, and its neighbour behind the cable. */
struct lab {
        int here, there; /* namespaces */
        int ear; /* packet socket of the neighbour */
        struct netlink *nl;
        struct announcer *announcer;
};

static struct vip make_vip(const char *address)
{
        struct vip vip = { .interface = "d0" };

        assert_int_equal(address_parse(address, &vip.address), 0);
        vip.prefix_len = vip_prefix_len_host(&vip);
        return vip;
}

static bool is_running(void *userdata)
{
        struct link_state link;

        return netlink_link_get(userdata, "d0", &link) == 0 && link.running && link.carrier;
}

/* A socket that hears all that arrives at p0 from now on. */
static int open_ear(void)
{
        struct sockaddr_ll address = {
                .sll_family = AF_PACKET,
                .sll_protocol = htons(ETH_P_ALL),
                .sll_ifindex = (int)if_nametoindex("p0"),
        };
        int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));

        if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
                (void)close(fd);
                return -1;
        }
        return fd;
}

static int setup(void **state)
{
        struct lab *lab = *state;

        if (namespace_return(lab->here) < 0 ||
            namespace_run("ip link add d0 address 02:00:00:00:00:0a type veth peer name p0 &&"
                          "ip link set p0 netns /proc/%d/fd/%d && ip link set d0 up",
                          (int)getpid(), lab->there) != 0)
                return -1;
        if (netlink_new(&lab->nl) < 0 || announcer_new(lab->nl, &lab->announcer) < 0)
                return -1;

        if (namespace_return(lab->there) < 0 || namespace_run("ip link set p0 up") != 0)
                return -1;
        lab->ear = open_ear();
        if (lab->ear < 0 || namespace_return(lab->here) < 0)
                return -1;
        return deadline_wait(is_running, lab->nl, WAIT_MSEC) ? 0 : -1;
}

static int teardown(void **state)
{
        struct lab *lab = *state;

        (void)close(lab->ear);
        announcer_free(lab->announcer);
        netlink_free(lab->nl);
        (void)namespace_return(lab->here);
        (void)namespace_run("ip link del d0 2>/dev/null"); /* and its peer with it */
        return 0;
}

/* The next frame of @protocol at the neighbour, other chatter left out; its length, 0 if none. */
static size_t hear(const struct lab *lab, uint16_t protocol, uint8_t ret[FRAME_SIZE])
{
        uint64_t end = deadline_now_msec() + WAIT_MSEC;
        struct pollfd p = { .fd = lab->ear, .events = POLLIN };

        while (deadline_now_msec() < end) {
                ssize_t n = recv(lab->ear, ret, FRAME_SIZE, 0);

                if (n < 0) {
                        (void)poll(&p, 1, 100);
                        continue;
                }
                if (n >= ETH_HLEN && ret[12] == protocol >> 8 && ret[13] == (protocol & 0xff))
                        return (size_t)n;
        }
        return 0;
}

static void ipv4_is_announced_by_request_and_reply(void **state)
{
        static const uint8_t request[] = {
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, /* to everybody */
                0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, /* from d0 */
                0x08, 0x06, /* ARP */
                0x00, 0x01, 0x08, 0x00, 0x06, 0x04, /* Ethernet and IPv4 */
                0x00, 0x01, /* request */
                0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, /* sender */
                0x0a, 0x01, 0x00, 0x64, /* 10.1.0.100 */
                0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* target: unknown */
                0x0a, 0x01, 0x00, 0x64,
        };
        struct lab *lab = *state;
        struct vip vip = make_vip("10.1.0.100");
        uint8_t frame[FRAME_SIZE], reply[sizeof(request)];

        memcpy(reply, request, sizeof(request));
        reply[21] = 0x02; /* reply */
        memcpy(&reply[32], &reply[6], 6); /* target: the sender itself */

        assert_int_equal(announcer_send(lab->announcer, &vip), 0);
        assert_int_equal(hear(lab, ETH_P_ARP, frame), sizeof(request));
        assert_memory_equal(frame, request, sizeof(request));
        assert_int_equal(hear(lab, ETH_P_ARP, frame), sizeof(reply));
        assert_memory_equal(frame, reply, sizeof(reply));
}

static void ipv6_is_announced_by_an_unsolicited_advertisement(void **state)
{
        static const uint8_t want[] = {
                0x33, 0x33, 0x00, 0x00, 0x00, 0x01, /* to all nodes */
                0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, /* from d0 */
                0x86, 0xdd, /* IPv6 */
                0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff, /* 32 bytes of ICMPv6, hops 255 */
                0xfd, 0x01, 0,    0,    0,    0,    0,    0,
                0,    0,    0,    0,    0,    0,    0x01, 0x00, /* fd01::100 */
                0xff, 0x02, 0,    0,    0,    0,    0,    0,
                0,    0,    0,    0,    0,    0,    0x00, 0x01, /* ff02::1 */
                136,  0,    0,    0, /* neighbour advertisement, checksum put in below */
                0x20, 0,    0,    0, /* override; neither router nor solicited */
                0xfd, 0x01, 0,    0,    0,    0,    0,    0,
                0,    0,    0,    0,    0,    0,    0x01, 0x00, /* the target */
                0x02, 0x01, /* its link-layer address */
                0x02, 0x00, 0x00, 0x00, 0x00, 0x0a,
        };
        struct lab *lab = *state;
        struct vip vip = make_vip("fd01::100");
        uint8_t frame[FRAME_SIZE];
        uint32_t sum = 0;
        size_t n;

        assert_int_equal(announcer_send(lab->announcer, &vip), 0);
        do { /* the kernel itself says something, too */
                n = hear(lab, ETH_P_IPV6, frame);
                assert_int_not_equal(n, 0);
        } while (n <= 54 || frame[54] != 136);
        assert_int_equal(n, sizeof(want));

        /* With its checksum, the sum of pseudo header and message is all ones. */
        for (size_t i = 22; i < n; i += 2)
                sum += (uint32_t)frame[i] * 256 + frame[i + 1];
        sum += 32 + 58;
        assert_int_equal(sum % 0xffff, 0);
        assert_true(frame[56] != 0 || frame[57] != 0);
        frame[56] = frame[57] = 0;
        assert_memory_equal(frame, want, sizeof(want));
}

static void router_says_that_it_is_one(void **state)
{
        struct lab *lab = *state;
        struct vip vip = make_vip("fd01::100");
        uint8_t frame[FRAME_SIZE];
        size_t n;

        assert_int_equal(namespace_run("echo 1 >/proc/sys/net/ipv6/conf/d0/forwarding"), 0);
        assert_int_equal(announcer_send(lab->announcer, &vip), 0);
        do {
                n = hear(lab, ETH_P_IPV6, frame);
                assert_int_not_equal(n, 0);
        } while (n <= 58 || frame[54] != 136);
        assert_int_equal(frame[58], 0xa0);
}

/* For deadline_wait(): whether the neighbour has the address at the MAC of d0. */
static bool neighbour_knows(void *userdata)
{
        return namespace_run("ip neigh show | grep -q '^%s .*02:00:00:00:00:0a'",
                             (const char *)userdata) == 0;
}

static void neighbours_move_their_entry(void **state)
{
        static const char *const addresses[] = { "10.1.0.100", "fd01::100" };
        struct lab *lab = *state;

        assert_int_equal(namespace_return(lab->there), 0);
        assert_int_equal(namespace_run("ip addr add 10.1.0.2/24 dev p0 &&"
                                       "ip addr add fd01::2/64 dev p0 nodad"),
                         0);
        for (size_t i = 0; i < 2; i++) {
                struct vip vip = make_vip(addresses[i]);

                assert_int_equal(namespace_run("ip neigh replace %s lladdr 02:00:00:00:00:66"
                                               " dev p0 nud reachable",
                                               addresses[i]),
                                 0);
                assert_false(neighbour_knows((void *)addresses[i]));
                assert_int_equal(namespace_return(lab->here), 0);
                assert_int_equal(announcer_send(lab->announcer, &vip), 0);
                assert_int_equal(namespace_return(lab->there), 0);
                assert_true(deadline_wait(neighbour_knows, (void *)addresses[i], WAIT_MSEC));
        }
        assert_int_equal(namespace_return(lab->here), 0);
}

static void changed_mac_and_index_are_noticed(void **state)
{
        struct lab *lab = *state;
        struct vip vip = make_vip("10.1.0.100");
        uint8_t frame[FRAME_SIZE];

        assert_int_equal(namespace_run("ip link set d0 address 02:00:00:00:00:0b"), 0);
        assert_int_equal(announcer_send(lab->announcer, &vip), 0);
        assert_int_not_equal(hear(lab, ETH_P_ARP, frame), 0);
        assert_int_equal(frame[11], 0x0b);

        /* The interface goes and comes back; the announcer is still the one from before. */
        assert_int_equal(namespace_run("ip link del d0"), 0);
        assert_int_equal(announcer_send(lab->announcer, &vip), -ENODEV);
        assert_int_equal(namespace_run("ip link add x0 type veth peer name x1 &&"
                                       "ip link add d0 address 02:00:00:00:00:0c type veth"
                                       " peer name p0 && ip link del x0 &&"
                                       "ip link set p0 up && ip link set d0 up"),
                         0);
        assert_true(deadline_wait(is_running, lab->nl, WAIT_MSEC));
        (void)close(lab->ear);
        lab->ear = open_ear();
        assert_int_equal(announcer_send(lab->announcer, &vip), 0);
        assert_int_not_equal(hear(lab, ETH_P_ARP, frame), 0);
        assert_int_equal(frame[11], 0x0c);
}

static void interface_that_is_down_is_an_error_to_repeat(void **state)
{
        struct lab *lab = *state;
        struct vip v4 = make_vip("10.1.0.100"), v6 = make_vip("fd01::100");

        assert_int_equal(namespace_run("ip link set d0 down"), 0);
        assert_int_equal(announcer_send(lab->announcer, &v4), -ENETDOWN);
        assert_int_equal(announcer_send(lab->announcer, &v6), -ENETDOWN);
}

static void nobody_is_told_where_there_are_no_neighbours(void **state)
{
        struct lab *lab = *state;
        struct vip vip = make_vip("10.1.0.100");

        strcpy(vip.interface, "lo");
        assert_int_equal(announcer_send(lab->announcer, &vip), 0);
        assert_int_equal(namespace_run("ip link set d0 arp off"), 0);
        strcpy(vip.interface, "d0");
        assert_int_equal(announcer_send(lab->announcer, &vip), 0);

        /* What is heard first is what was sent last. */
        assert_int_equal(namespace_run("ip link set d0 arp on"), 0);
        vip = make_vip("10.1.0.101");
        assert_int_equal(announcer_send(lab->announcer, &vip), 0);
        uint8_t frame[FRAME_SIZE];
        assert_int_not_equal(hear(lab, ETH_P_ARP, frame), 0);
        assert_int_equal(frame[31], 101);
}

static void announcements_are_spread_and_then_repeated(void **state)
{
        static const usec_t want[] = { 0, 10000, 50000, 200000, 1000000, 2000000, 5000000 };
        usec_t at = 0;

        (void)state;
        for (unsigned i = 0; i < 7; i++) {
                at += announce_wait(i);
                assert_int_equal(at, want[i]);
        }
        assert_int_equal(announce_wait(7), 60 * USEC_PER_SEC);
        assert_int_equal(announce_wait(8), 60 * USEC_PER_SEC);
        assert_int_equal(announce_wait(UINT32_MAX), 60 * USEC_PER_SEC);
}

static void probe_teaches_nobody_an_address(void **state)
{
        static const uint8_t mac[] = { 2, 0, 0, 0, 0, 10 };
        static const uint8_t want[] = { 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0,  0, 0, 10,
                                        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 1, 0, 100 };
        struct vip vip = make_vip("10.1.0.100");
        struct ether_arp probe = arp_probe(vip.address.v4, mac);

        (void)state;
        assert_int_equal(sizeof(probe), sizeof(want));
        assert_memory_equal(&probe, want, sizeof(want));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        struct lab lab = { 0 };
        struct CMUnitTest tests[] = {
                TEST(ipv4_is_announced_by_request_and_reply),
                TEST(ipv6_is_announced_by_an_unsolicited_advertisement),
                TEST(router_says_that_it_is_one),
                TEST(neighbours_move_their_entry),
                TEST(changed_mac_and_index_are_noticed),
                TEST(interface_that_is_down_is_an_error_to_repeat),
                TEST(nobody_is_told_where_there_are_no_neighbours),
                cmocka_unit_test(announcements_are_spread_and_then_repeated),
                cmocka_unit_test(probe_teaches_nobody_an_address),
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
