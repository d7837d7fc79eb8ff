/* Service addresses in a real kernel, in a network namespace of this test's own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "netlink/netlink.h"
#include "tests/lib/deadline.h"
#include "tests/lib/namespace.h"

static struct vip make_vip(const char *address, unsigned prefix_len)
{
        struct vip vip = { .prefix_len = prefix_len, .interface = "d0" };

        assert_int_equal(address_parse(address, &vip.address), 0);
        return vip;
}

static struct vip_state look(struct netlink *nl, const struct vip *vip)
{
        struct vip_state state;

        assert_int_equal(netlink_vip_get(nl, vip, &state), 0);
        return state;
}

static size_t count_ours(struct netlink *nl)
{
        struct vip *vips = NULL;
        size_t n = 0;

        assert_int_equal(netlink_vip_list_ours(nl, &vips, &n), 0);
        free(vips);
        return n;
}

/* Each test begins with a fresh pair of interfaces: d0, which has 10.1.0.1/24 and fd01::1/64, and d1. */
static int setup(void **state)
{
        if (namespace_run("ip link add d0 type veth peer name d1 &&"
                          "ip link set d0 up && ip link set d1 up &&"
                          "ip addr add 10.1.0.1/24 dev d0 &&"
                          "ip addr add fd01::1/64 dev d0 nodad") != 0)
                return -1;
        return netlink_new((struct netlink **)state);
}

static int teardown(void **state)
{
        netlink_free(*state);
        (void)namespace_run("ip link del d1 2>/dev/null"); /* and its peer with it */
        return 0;
}

static void address_that_is_set_is_there_until_removed(void **state)
{
        struct vip vip = make_vip("10.1.0.100", 32);
        struct vip_state s;

        assert_false(look(*state, &vip).present);
        assert_int_equal(netlink_vip_set(*state, &vip, 30), 0);
        s = look(*state, &vip);
        assert_true(s.present);
        assert_false(s.foreign);
        assert_int_equal(s.found.prefix_len, 32);
        assert_in_range(s.found.valid_sec, 29, 30);
        assert_int_equal(s.found.tag, VIP_TAG);
        assert_int_equal(namespace_run("ip -4 addr show dev d0 | grep -q 'inet 10.1.0.100/32 '"),
                         0);

        assert_int_equal(netlink_vip_remove(*state, &vip), 0);
        assert_false(look(*state, &vip).present);
        assert_int_equal(namespace_run("ip -4 addr show | grep -q 10.1.0.100"), 1);
}

static void setting_and_removing_again_changes_nothing(void **state)
{
        struct vip vip = make_vip("10.1.0.100", 32);

        assert_int_equal(netlink_vip_set(*state, &vip, 5), 0);
        assert_int_equal(netlink_vip_set(*state, &vip, 60), 0);
        assert_in_range(look(*state, &vip).found.valid_sec, 59, 60);
        assert_int_equal(netlink_vip_set(*state, &vip, 7), 0);
        assert_in_range(look(*state, &vip).found.valid_sec, 6, 7);
        assert_int_equal(count_ours(*state), 1);
        assert_int_equal(netlink_vip_remove(*state, &vip), 0);
        assert_int_equal(netlink_vip_remove(*state, &vip), 0);
}

static void forever_is_a_lifetime_too(void **state)
{
        struct vip vip = make_vip("10.1.0.100", 32);

        assert_int_equal(netlink_vip_set(*state, &vip, VIP_FOREVER), 0);
        assert_int_equal(look(*state, &vip).found.valid_sec, VIP_FOREVER);
        assert_int_equal(netlink_vip_set(*state, &vip, 9), 0);
        assert_in_range(look(*state, &vip).found.valid_sec, 8, 9);
}

/* For deadline_wait(): an address that is looked at, and renewed from time to time. */
struct watched {
        struct netlink *nl;
        struct vip vip;
        unsigned renew_msec; /* 0: never */
        uint64_t renewed_msec;
        uint64_t gap_msec; /* the longest time between two renewals */
        unsigned n_renewed;
};

static bool is_gone(void *userdata)
{
        struct watched *w = userdata;
        uint64_t now = deadline_now_msec();

        if (w->renew_msec && now >= w->renewed_msec + w->renew_msec) {
                assert_int_equal(netlink_vip_set(w->nl, &w->vip, 1), 0);
                if (now - w->renewed_msec > w->gap_msec)
                        w->gap_msec = now - w->renewed_msec;
                w->renewed_msec = now;
                w->n_renewed++;
        }
        return !look(w->nl, &w->vip).present;
}

static void kernel_removes_what_nobody_renews(void **state)
{
        struct watched v4 = { .nl = *state, .vip = make_vip("10.1.0.100", 32) };
        struct watched v6 = { .nl = *state, .vip = make_vip("fd01::100", 128) };
        uint64_t start = deadline_now_msec();

        assert_int_equal(netlink_vip_set(*state, &v4.vip, 1), 0);
        assert_int_equal(netlink_vip_set(*state, &v6.vip, 1), 0);
        assert_false(is_gone(&v4));
        assert_false(is_gone(&v6));
        assert_true(deadline_wait(is_gone, &v4, 3000));
        assert_true(deadline_wait(is_gone, &v6, 3000));
        assert_in_range(deadline_now_msec() - start, 800, 3000);
}

static void renewed_address_never_vanishes(void **state)
{
        struct watched w;
        bool gone;

        /* A machine so busy that a renewal comes too late proves nothing: try again. */
        for (unsigned i = 0; i < 5; i++) {
                w = (struct watched){ .nl = *state,
                                      .vip = make_vip("10.1.0.100", 32),
                                      .renew_msec = 300,
                                      .renewed_msec = deadline_now_msec() };
                assert_int_equal(netlink_vip_set(*state, &w.vip, 1), 0);
                gone = deadline_wait(is_gone, &w, 2500);
                if (!gone || w.gap_msec < 900)
                        break;
        }
        assert_false(gone);
        assert_in_range(w.n_renewed, 2, 9);
}

static void own_address_of_the_interface_survives_removal(void **state)
{
        struct vip vip = make_vip("10.1.0.100", 32), wide = make_vip("10.1.0.101", 24);

        assert_int_equal(netlink_vip_set(*state, &vip, 30), 0);
        assert_int_equal(netlink_vip_set(*state, &wide, 30), 0);
        assert_int_equal(netlink_vip_remove(*state, &wide), 0);
        assert_int_equal(netlink_vip_remove(*state, &vip), 0);
        assert_int_equal(namespace_run("ip -4 addr show dev d0 | grep -q 'inet 10.1.0.1/24 '"), 0);
        assert_int_equal(namespace_run("ip route show | grep -q '10.1.0.0/24 dev d0'"), 0);
}

static void removal_takes_the_exact_prefix_only(void **state)
{
        struct vip vip = make_vip("10.1.0.100", 32);
        struct vip_state s;

        assert_int_equal(netlink_vip_set(*state, &vip, 30), 0);
        /* Somebody adds the same address, with the network's prefix, next to ours. */
        assert_int_equal(namespace_run("ip addr add 10.1.0.100/24 dev d0"), 0);
        assert_int_equal(netlink_vip_set(*state, &vip, 30), 0);
        s = look(*state, &vip);
        assert_true(s.present);
        assert_true(s.foreign);

        assert_int_equal(netlink_vip_remove(*state, &vip), -EEXIST);
        s = look(*state, &vip);
        assert_false(s.present);
        assert_true(s.foreign);
        assert_int_equal(namespace_run("ip -4 addr show dev d0 | grep -q 'inet 10.1.0.100/24 '"),
                         0);
}

static void foreign_address_is_neither_taken_nor_deleted(void **state)
{
        struct vip vip = make_vip("10.1.0.100", 32), v6 = make_vip("fd01::100", 128);

        /* The same prefix, another prefix, another interface. */
        const char *const places[] = { "10.1.0.100/32 dev d0", "10.1.0.100/24 dev d0",
                                       "10.1.0.100/32 dev d1" };

        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
                assert_int_equal(namespace_run("ip addr add %s", places[i]), 0);
                assert_int_equal(netlink_vip_set(*state, &vip, 30), -EEXIST);
                assert_int_equal(netlink_vip_remove(*state, &vip), -EEXIST);
                assert_true(look(*state, &vip).foreign);
                assert_false(look(*state, &vip).present);
                /* Still there, and still without an end. */
                assert_int_equal(namespace_run("ip -4 addr show to 10.1.0.100 |"
                                               "grep -q 'valid_lft forever'"),
                                 0);
                assert_int_equal(namespace_run("ip addr del %s", places[i]), 0);
        }
        assert_int_equal(namespace_run("ip addr add fd01::100/64 dev d0 nodad"), 0);
        assert_int_equal(netlink_vip_set(*state, &v6, 30), -EEXIST);
        assert_int_equal(netlink_vip_remove(*state, &v6), -EEXIST);
        assert_int_equal(namespace_run("ip -6 addr show dev d0 | grep -q fd01::100/64"), 0);
}

static void ours_at_another_place_is_told_and_removed(void **state)
{
        struct vip vip = make_vip("10.1.0.100", 32), elsewhere = make_vip("10.1.0.100", 32);

        strcpy(elsewhere.interface, "d1");
        assert_int_equal(netlink_vip_set(*state, &elsewhere, 30), 0);
        assert_int_equal(netlink_vip_set(*state, &vip, 30), -EEXIST);
        assert_true(look(*state, &vip).stray);
        assert_false(look(*state, &vip).foreign);
        assert_int_equal(netlink_vip_remove(*state, &vip), 0);
        assert_int_equal(count_ours(*state), 0);
        assert_int_equal(netlink_vip_set(*state, &vip, 30), 0);
}

static void left_over_addresses_are_found(void **state)
{
        struct vip a = make_vip("10.1.0.100", 32), b = make_vip("fd01::100", 128);
        struct netlink *later;
        struct vip *vips;
        size_t n;

        strcpy(b.interface, "d1");
        assert_int_equal(netlink_vip_set(*state, &a, 30), 0);
        assert_int_equal(netlink_vip_set(*state, &b, VIP_FOREVER), 0);

        /* Another life knows nothing of the one before. */
        assert_int_equal(netlink_new(&later), 0);
        assert_int_equal(netlink_vip_list_ours(later, &vips, &n), 0);
        assert_int_equal(n, 2);
        for (size_t i = 0; i < n; i++) {
                const struct vip *want = vips[i].address.family == AF_INET ? &a : &b;

                assert_true(address_equal(&vips[i].address, &want->address));
                assert_int_equal(vips[i].prefix_len, want->prefix_len);
                assert_string_equal(vips[i].interface, want->interface);
                assert_int_equal(netlink_vip_remove(later, &vips[i]), 0);
        }
        free(vips);
        assert_int_equal(count_ours(later), 0);
        netlink_free(later);
        assert_int_equal(namespace_run("ip -4 addr show dev d0 | grep -q 'inet 10.1.0.1/24 '"), 0);
}

static void missing_interface_holds_nothing(void **state)
{
        struct vip vip = make_vip("10.1.0.100", 32);
        struct vip_state s;

        strcpy(vip.interface, "nowhere0");
        assert_int_equal(netlink_vip_set(*state, &vip, 30), -ENODEV);
        assert_int_equal(netlink_vip_remove(*state, &vip), 0);
        s = look(*state, &vip);
        assert_false(s.present || s.stray || s.foreign);
}

static void interface_that_came_back_is_found_again(void **state)
{
        struct vip vip = make_vip("10.1.0.100", 32);

        assert_int_equal(netlink_vip_set(*state, &vip, 30), 0);
        assert_int_equal(namespace_run("ip link del d0"), 0);
        assert_false(look(*state, &vip).present);
        assert_int_equal(netlink_vip_set(*state, &vip, 30), -ENODEV);
        assert_int_equal(namespace_run("ip link add d2 type veth peer name d3 &&"
                                       "ip link add d0 type veth peer name d1 &&"
                                       "ip link del d2 && ip link set d0 up"),
                         0);
        assert_int_equal(netlink_vip_set(*state, &vip, 30), 0);
        assert_true(look(*state, &vip).present);
}

static void address_is_removed_from_a_renamed_interface(void **state)
{
        struct vip vip = make_vip("10.1.0.100", 32);

        assert_int_equal(netlink_vip_set(*state, &vip, 30), 0);
        assert_int_equal(namespace_run("ip link set d0 down && ip link set d0 name d9"), 0);
        assert_true(look(*state, &vip).stray);
        assert_int_equal(netlink_vip_remove(*state, &vip), 0);
        assert_int_equal(count_ours(*state), 0);
}

static void ipv6_address_is_usable_at_once_and_never_a_source(void **state)
{
        struct vip vip = make_vip("fd01::100", 128);
        struct vip_state s;

        assert_int_equal(netlink_vip_set(*state, &vip, 30), 0);
        s = look(*state, &vip);
        assert_true(s.present);
        assert_false(s.found.tentative);
        assert_false(s.found.duplicate);
        assert_int_equal(s.found.preferred_sec, 0);
        assert_in_range(s.found.valid_sec, 29, 30);
        assert_int_equal(netlink_vip_set(*state, &vip, 60), 0);
        s = look(*state, &vip);
        assert_int_equal(s.found.preferred_sec, 0);
        assert_in_range(s.found.valid_sec, 59, 60);
        assert_int_equal(namespace_run("ip -6 route get fd01::77 | grep -q 'src fd01::1 '"), 0);
        assert_int_equal(netlink_vip_remove(*state, &vip), 0);
        assert_int_equal(namespace_run("ip -6 addr show dev d0 | grep -q fd01::1/64"), 0);
}

static void no_connected_route_comes_with_the_address(void **state)
{
        struct vip v4 = make_vip("192.0.2.7", 24), v6 = make_vip("fd02::7", 64);

        assert_int_equal(netlink_vip_set(*state, &v4, 30), 0);
        assert_int_equal(netlink_vip_set(*state, &v6, 30), 0);
        assert_int_equal(namespace_run("ip route show | grep -q 192.0.2"), 1);
        assert_int_equal(namespace_run("ip -6 route show | grep -q fd02"), 1);
        assert_int_equal(namespace_run("ip addr show dev d0 | grep -q 'brd 192.0.2.255'"), 0);
}

static void label_is_kept_for_ipv4_and_ignored_for_ipv6(void **state)
{
        struct vip v4 = make_vip("10.1.0.100", 32), v6 = make_vip("fd01::100", 128);

        strcpy(v4.label, "d0:fo");
        strcpy(v6.label, "d0:fo");
        assert_int_equal(netlink_vip_set(*state, &v4, 30), 0);
        assert_int_equal(netlink_vip_set(*state, &v6, 30), 0);
        assert_int_equal(namespace_run("ip -4 addr show label d0:fo | grep -q 10.1.0.100"), 0);
}

static void impossible_addresses_are_refused(void **state)
{
        struct vip vip = make_vip("10.1.0.100", 32);

        assert_int_equal(netlink_vip_set(*state, &vip, 0), -EINVAL);
        vip.prefix_len = 33;
        assert_int_equal(netlink_vip_set(*state, &vip, 30), -EINVAL);
        vip.prefix_len = 0;
        assert_int_equal(netlink_vip_remove(*state, &vip), -EINVAL);
        vip = make_vip("10.1.0.100", 32);
        vip.interface[0] = '\0';
        assert_int_equal(netlink_vip_set(*state, &vip, 30), -EINVAL);
        memset(vip.interface, 'x', sizeof(vip.interface));
        assert_int_equal(netlink_vip_set(*state, &vip, 30), -EINVAL);
        vip = make_vip("10.1.0.100", 32);
        memset(vip.label, 'x', sizeof(vip.label));
        assert_int_equal(netlink_vip_set(*state, &vip, 30), -EINVAL);
        vip = make_vip("10.1.0.100", 32);
        vip.address.family = 99;
        assert_int_equal(netlink_vip_set(*state, &vip, 30), -EINVAL);
}

static void connected_address_is_told_from_others(void **state)
{
        struct vip inside = make_vip("10.1.0.100", 32), outside = make_vip("10.2.0.100", 24);
        bool connected = false;

        assert_int_equal(netlink_address_is_connected(*state, "d0", &inside.address, &connected),
                         0);
        assert_true(connected);
        assert_int_equal(netlink_address_is_connected(*state, "d1", &inside.address, &connected),
                         0);
        assert_false(connected);
        /* What we have put there does not count. */
        assert_int_equal(netlink_vip_set(*state, &outside, 30), 0);
        assert_int_equal(netlink_address_is_connected(*state, "d0", &outside.address, &connected),
                         0);
        assert_false(connected);
        assert_int_equal(
                netlink_address_is_connected(*state, "nowhere0", &inside.address, &connected),
                -ENODEV);
}

static void address_is_found_among_a_thousand(void **state)
{
        struct vip vip = make_vip("10.1.0.100", 32);

        assert_int_equal(
                namespace_run("for i in 0 1 2 3; do for j in $(seq 250); do"
                              " echo addr add 10.7.$i.$j/32 dev d1; done; done | ip -batch -"),
                0);
        assert_int_equal(netlink_vip_set(*state, &vip, 30), 0);
        assert_true(look(*state, &vip).present);
        assert_int_equal(netlink_vip_remove(*state, &vip), 0);
        vip = make_vip("10.7.3.250", 32);
        assert_int_equal(netlink_vip_set(*state, &vip, 30), -EEXIST);
}

static uint64_t now_nsec(void)
{
        struct timespec t;

        assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &t), 0);
        return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* A number for people; nothing is asserted about it, because machines differ. */
static void time_of_a_call_is_printed(void **state)
{
        enum { CALLS = 200 };
        struct vip vip = make_vip("10.1.0.100", 32);
        uint64_t start, first;

        start = now_nsec();
        assert_int_equal(netlink_vip_set(*state, &vip, 30), 0);
        first = now_nsec() - start;
        start = now_nsec();
        for (unsigned i = 0; i < CALLS; i++)
                assert_int_equal(netlink_vip_set(*state, &vip, 30), 0);
        print_message("netlink_vip_set: first call %.1f us, renewal %.1f us\n",
                      (double)first / 1000, (double)(now_nsec() - start) / 1000 / CALLS);
        assert_int_equal(count_ours(*state), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(address_that_is_set_is_there_until_removed),
                TEST(setting_and_removing_again_changes_nothing),
                TEST(forever_is_a_lifetime_too),
                TEST(kernel_removes_what_nobody_renews),
                TEST(renewed_address_never_vanishes),
                TEST(own_address_of_the_interface_survives_removal),
                TEST(removal_takes_the_exact_prefix_only),
                TEST(foreign_address_is_neither_taken_nor_deleted),
                TEST(ours_at_another_place_is_told_and_removed),
                TEST(left_over_addresses_are_found),
                TEST(missing_interface_holds_nothing),
                TEST(interface_that_came_back_is_found_again),
                TEST(address_is_removed_from_a_renamed_interface),
                TEST(ipv6_address_is_usable_at_once_and_never_a_source),
                TEST(no_connected_route_comes_with_the_address),
                TEST(label_is_kept_for_ipv4_and_ignored_for_ipv6),
                TEST(impossible_addresses_are_refused),
                TEST(connected_address_is_told_from_others),
                TEST(address_is_found_among_a_thousand),
                TEST(time_of_a_call_is_printed),
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
