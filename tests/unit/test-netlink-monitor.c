/* The monitor against a real kernel, in a network namespace of this test's own. */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "netlink/message.h"
#include "netlink/netlink.h"
#include "tests/lib/deadline.h"
#include "tests/lib/namespace.h"

enum { WAIT_MSEC = 3000 };

/* What is waited for: an event of one type, at one interface or address. */
struct lab {
        struct netlink *nl;
        struct netlink_monitor *monitor;
        enum netlink_event_type type;
        const char *interface;
        struct address address;
        unsigned n_seen, n_all, n_d0_removed;
        struct netlink_event seen;
};

static void on_event(const struct netlink_event *event, void *userdata)
{
        struct lab *lab = userdata;
        bool is_address = event->type == NETLINK_ADDRESS_ADDED ||
                          event->type == NETLINK_ADDRESS_REMOVED;

        lab->n_all++;
        if (event->type == NETLINK_LINK_REMOVED && strcmp(event->interface, "d0") == 0)
                lab->n_d0_removed++;
        if (event->type != lab->type)
                return;
        if (lab->interface && strcmp(event->interface, lab->interface) != 0)
                return;
        if (is_address && !address_equal(&event->address.address, &lab->address))
                return;
        lab->seen = *event;
        lab->n_seen++;
}

static bool read_and_look(void *userdata)
{
        struct lab *lab = userdata;

        assert_true(netlink_monitor_read(lab->monitor, on_event, lab) >= 0);
        return lab->n_seen > 0;
}

/* Waits for an event of @type at @interface (NULL: any); address as set before. */
static bool sees(struct lab *lab, enum netlink_event_type type, const char *interface)
{
        lab->type = type;
        lab->interface = interface;
        lab->n_seen = 0;
        return deadline_wait(read_and_look, lab, WAIT_MSEC);
}

static bool is_quiet(void *userdata)
{
        struct lab *lab = userdata;

        return netlink_monitor_read(lab->monitor, on_event, lab) == 0;
}

static bool is_running(void *userdata)
{
        struct link_state link;

        return netlink_link_get(userdata, "d0", &link) == 0 && link.running;
}

/* IPv6 is off: its own addresses would come and go while the tests look. */
static int setup(void **state)
{
        struct lab *lab = calloc(1, sizeof(*lab));

        if (!lab)
                return -1;
        *state = lab;
        if (namespace_run("ip link add d0 type veth peer name d1 &&"
                          "echo 1 >/proc/sys/net/ipv6/conf/d0/disable_ipv6 &&"
                          "echo 1 >/proc/sys/net/ipv6/conf/d1/disable_ipv6 &&"
                          "ip link set d0 up && ip link set d1 up") != 0 ||
            address_parse("10.1.0.100", &lab->address) < 0 || netlink_new(&lab->nl) < 0)
                return -1;
        if (!deadline_wait(is_running, lab->nl, WAIT_MSEC))
                return -1;
        return netlink_monitor_new(&lab->monitor);
}

static int teardown(void **state)
{
        struct lab *lab = *state;

        netlink_monitor_free(lab->monitor);
        netlink_free(lab->nl);
        free(lab);
        (void)namespace_run("ip link del d1 2>/dev/null"); /* and its peer with it */
        return 0;
}

static struct vip make_vip(const struct lab *lab)
{
        struct vip vip = { .address = lab->address, .interface = "d0" };

        vip.prefix_len = vip_prefix_len_host(&vip);
        return vip;
}

static void removal_behind_our_back_is_seen(void **state)
{
        struct lab *lab = *state;
        struct vip vip = make_vip(lab);

        assert_int_equal(netlink_vip_set(lab->nl, &vip, 30), 0);
        assert_true(sees(lab, NETLINK_ADDRESS_ADDED, "d0"));
        assert_int_equal(lab->seen.address.prefix_len, 32);
        assert_int_equal(lab->seen.address.tag, VIP_TAG);
        assert_in_range(lab->seen.address.valid_sec, 29, 30);

        assert_int_equal(namespace_run("ip addr del 10.1.0.100/32 dev d0"), 0);
        assert_true(sees(lab, NETLINK_ADDRESS_REMOVED, "d0"));
        assert_int_equal(lab->seen.address.prefix_len, 32);
}

static void expiry_by_the_kernel_is_seen(void **state)
{
        struct lab *lab = *state;
        struct vip vip = make_vip(lab);

        assert_int_equal(netlink_vip_set(lab->nl, &vip, 1), 0);
        assert_true(sees(lab, NETLINK_ADDRESS_REMOVED, "d0"));
}

static void ipv6_addresses_are_seen_as_well(void **state)
{
        struct lab *lab = *state;

        assert_int_equal(namespace_run("echo 0 >/proc/sys/net/ipv6/conf/d0/disable_ipv6 &&"
                                       "ip addr add fd01::100/64 dev d0 nodad"),
                         0);
        assert_int_equal(address_parse("fd01::100", &lab->address), 0);
        assert_true(sees(lab, NETLINK_ADDRESS_ADDED, "d0"));
        assert_int_equal(lab->seen.address.prefix_len, 64);
        assert_int_equal(namespace_run("ip addr del fd01::100/64 dev d0"), 0);
        assert_true(sees(lab, NETLINK_ADDRESS_REMOVED, "d0"));
}

static void changes_of_the_link_are_seen(void **state)
{
        struct lab *lab = *state;

        /* The other end goes down: d0 is up, but nothing is at the end of its cable. */
        assert_int_equal(namespace_run("ip link set d1 down"), 0);
        do
                assert_true(sees(lab, NETLINK_LINK_CHANGED, "d0"));
        while (lab->seen.link.carrier || lab->seen.link.running);
        assert_true(lab->seen.link.up);
        assert_int_equal(namespace_run("ip link set d1 up"), 0);
        do
                assert_true(sees(lab, NETLINK_LINK_CHANGED, "d0"));
        while (!lab->seen.link.carrier || !lab->seen.link.running);

        assert_int_equal(namespace_run("ip link set d0 down"), 0);
        do
                assert_true(sees(lab, NETLINK_LINK_CHANGED, "d0"));
        while (lab->seen.link.up);
        assert_int_equal(namespace_run("ip link del d0"), 0);
        assert_true(sees(lab, NETLINK_LINK_REMOVED, "d0"));
        assert_int_not_equal(lab->seen.link.ifindex, 0);
}

static void port_that_leaves_a_bridge_is_not_removed(void **state)
{
        struct lab *lab = *state;

        assert_int_equal(namespace_run("ip link add b0 type bridge && ip link set d0 master b0 &&"
                                       "ip link set d0 nomaster && ip link del b0"),
                         0);
        /* The last that happens; all of d0 has been read before it. */
        assert_true(sees(lab, NETLINK_LINK_REMOVED, "b0"));
        assert_int_equal(lab->n_d0_removed, 0);
        assert_int_equal(namespace_run("ip link del d0"), 0);
        assert_true(sees(lab, NETLINK_LINK_REMOVED, "d0"));
        assert_int_equal(lab->n_d0_removed, 1);
}

static void descriptor_is_readable_only_when_something_happened(void **state)
{
        struct lab *lab = *state;
        struct pollfd p = { .fd = netlink_monitor_fd(lab->monitor), .events = POLLIN };

        assert_true(deadline_wait(is_quiet, lab, WAIT_MSEC));
        assert_int_equal(poll(&p, 1, 0), 0);
        assert_int_equal(namespace_run("ip addr add 10.1.0.7/24 dev d0"), 0);
        assert_int_equal(poll(&p, 1, WAIT_MSEC), 1);
        assert_true(deadline_wait(is_quiet, lab, WAIT_MSEC));
        assert_int_equal(poll(&p, 1, 0), 0);
}

static void lost_events_are_told(void **state)
{
        struct lab *lab = *state;
        int size = 4096;

        assert_int_equal(setsockopt(netlink_monitor_fd(lab->monitor), SOL_SOCKET, SO_RCVBUF, &size,
                                    sizeof(size)),
                         0);
        assert_int_equal(namespace_run("for i in $(seq 200); do echo addr add 10.2.0.$i/32 dev d0;"
                                       "done | ip -batch -"),
                         0);
        assert_true(sees(lab, NETLINK_OVERRUN, NULL));
        assert_string_equal(lab->seen.interface, "");

        /* It goes on afterwards. */
        assert_true(deadline_wait(is_quiet, lab, WAIT_MSEC));
        assert_int_equal(namespace_run("ip addr add 10.1.0.100/32 dev d0"), 0);
        assert_true(sees(lab, NETLINK_ADDRESS_ADDED, "d0"));
}

/* Sends to the monitor what the kernel would say of the deletion of its address. */
static void forge_removal(const struct lab *lab)
{
        struct sockaddr_nl to;
        socklen_t size = sizeof(to);
        struct ifaddrmsg *info;
        struct netlink_message m;
        int fd;

        assert_int_equal(
                getsockname(netlink_monitor_fd(lab->monitor), (struct sockaddr *)&to, &size), 0);
        to.nl_groups = 0;
        netlink_message_init(&m, RTM_DELADDR, 0);
        info = netlink_message_put_body(&m, sizeof(*info));
        info->ifa_family = AF_INET;
        info->ifa_prefixlen = 32;
        info->ifa_index = if_nametoindex("d0");
        netlink_message_put(&m, IFA_LOCAL, &lab->address.v4, sizeof(lab->address.v4));

        fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
        assert_true(fd >= 0);
        assert_int_equal(sendto(fd, m.bytes, netlink_message_header(&m)->nlmsg_len, 0,
                                (struct sockaddr *)&to, sizeof(to)),
                         netlink_message_header(&m)->nlmsg_len);
        (void)close(fd);
}

static void only_the_kernel_is_believed(void **state)
{
        struct lab *lab = *state;
        struct pollfd p = { .fd = netlink_monitor_fd(lab->monitor), .events = POLLIN };

        assert_true(deadline_wait(is_quiet, lab, WAIT_MSEC));
        lab->n_all = 0;
        forge_removal(lab);
        assert_int_equal(poll(&p, 1, WAIT_MSEC), 1); /* it has arrived */
        assert_int_equal(netlink_monitor_read(lab->monitor, on_event, lab), 0);
        assert_int_equal(lab->n_all, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(removal_behind_our_back_is_seen),
                TEST(expiry_by_the_kernel_is_seen),
                TEST(ipv6_addresses_are_seen_as_well),
                TEST(changes_of_the_link_are_seen),
                TEST(port_that_leaves_a_bridge_is_not_removed),
                TEST(descriptor_is_readable_only_when_something_happened),
                TEST(lost_events_are_told),
                TEST(only_the_kernel_is_believed),
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
