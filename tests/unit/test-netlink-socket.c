/* The request socket: bounded waits, late answers, refusals. */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "netlink/netlink.h"
#include "netlink/socket.h"
#include "tests/lib/deadline.h"
#include "tests/lib/namespace.h"

static int setup(void **state)
{
        return netlink_new((struct netlink **)state);
}

static int teardown(void **state)
{
        netlink_free(*state);
        return 0;
}

static void ask_for_all(struct netlink_message *m, uint16_t type)
{
        netlink_message_init(m, type, NLM_F_DUMP);
        (void)netlink_message_put_body(m, sizeof(struct ifinfomsg));
}

static int count(const struct nlmsghdr *header, void *userdata)
{
        unsigned *n = userdata;

        (void)header;
        (*n)++;
        return 0;
}

static int refuse(const struct nlmsghdr *header, void *userdata)
{
        (void)header;
        (void)userdata;
        return -ECANCELED;
}

static void silent_kernel_is_waited_for_only_so_long(void **state)
{
        struct netlink_message m;
        uint64_t start = deadline_now_msec();

        /* The kernel answers nothing to what is shorter than a header. */
        ask_for_all(&m, RTM_GETLINK);
        netlink_message_header(&m)->nlmsg_len = 8;
        assert_int_equal(netlink_request(*state, &m, NULL, NULL), -ETIMEDOUT);
        assert_in_range(deadline_now_msec() - start, NETLINK_WAIT_MSEC - 5, NETLINK_WAIT_MSEC * 10);
}

static void late_answer_is_not_taken_for_the_next_one(void **state)
{
        struct netlink *nl = *state;
        struct link_state link;
        struct netlink_message m;

        /* As if it had been given up before it came. */
        ask_for_all(&m, RTM_GETLINK);
        netlink_message_header(&m)->nlmsg_seq = nl->sequence + 1;
        assert_true(mnl_socket_sendto(nl->socket, m.bytes, netlink_message_header(&m)->nlmsg_len) >
                    0);
        assert_int_equal(netlink_link_get(nl, "nowhere0", &link), -ENODEV);
        assert_int_equal(netlink_link_get(nl, "lo", &link), 0);
        assert_string_equal(link.interface, "lo");
}

static void dump_that_is_given_up_disturbs_nobody(void **state)
{
        struct netlink_message m;
        unsigned n = 0;

        /* More than fits into one datagram: the kernel waits with the rest until we read. */
        assert_int_equal(namespace_run("for i in 1 2 3 4; do for j in $(seq 250); do"
                                       " echo addr add 10.7.$i.$j/32 dev lo; done; done |"
                                       " ip -batch -"),
                         0);
        ask_for_all(&m, RTM_GETADDR);
        assert_int_equal(netlink_request(*state, &m, refuse, NULL), -ECANCELED);
        ask_for_all(&m, RTM_GETADDR);
        assert_int_equal(netlink_request(*state, &m, count, &n), 0);
        assert_int_equal(n, 1000 + 2); /* 127.0.0.1 and ::1 */
}

static void refusal_of_the_kernel_is_returned(void **state)
{
        struct netlink_message m;

        netlink_message_init(&m, RTM_NEWADDR, NLM_F_CREATE);
        (void)netlink_message_put_body(&m, sizeof(struct ifinfomsg));
        assert_in_range(-netlink_request(*state, &m, NULL, NULL), 1, 4095);
        netlink_message_init(&m, RTM_MAX + 1000, 0);
        (void)netlink_message_put_body(&m, sizeof(struct ifinfomsg));
        assert_int_equal(netlink_request(*state, &m, NULL, NULL), -EOPNOTSUPP);
}

static void message_that_did_not_fit_is_not_sent(void **state)
{
        static const uint8_t bytes[MESSAGE_SIZE] = { 0 };
        struct netlink_message m;

        ask_for_all(&m, RTM_GETLINK);
        netlink_message_put(&m, IFLA_IFNAME, bytes, sizeof(bytes));
        assert_int_equal(netlink_request(*state, &m, NULL, NULL), -EMSGSIZE);
}

static void freeing_nothing_is_harmless(void **state)
{
        (void)state;
        netlink_free(NULL);
        netlink_monitor_free(NULL);
        announcer_free(NULL);
        prober_free(NULL);
}

/* The process has not one descriptor left. */
static void objects_that_cannot_be_made_leave_nothing(void **state)
{
        struct netlink *nl = (struct netlink *)1;
        struct netlink_monitor *m = (struct netlink_monitor *)1;
        struct announcer *a = (struct announcer *)1;
        struct prober *p = (struct prober *)1;
        struct vip vip = { .interface = "lo" };
        int taken[256], n = 0, r[4];

        assert_int_equal(address_parse("10.1.0.100", &vip.address), 0);
        while (n < 256 && (taken[n] = dup(0)) >= 0)
                n++;
        assert_int_equal(errno, EMFILE);
        r[0] = netlink_new(&nl);
        r[1] = netlink_monitor_new(&m);
        r[2] = announcer_new(*state, &a);
        r[3] = prober_new(*state, &vip, &p);
        while (n > 0)
                (void)close(taken[--n]);

        for (unsigned i = 0; i < 4; i++)
                assert_int_equal(r[i], -EMFILE);
        assert_ptr_equal(nl, 1);
        assert_ptr_equal(m, 1);
        assert_ptr_equal(a, 1);
        assert_ptr_equal(p, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(silent_kernel_is_waited_for_only_so_long),
                TEST(late_answer_is_not_taken_for_the_next_one),
                TEST(dump_that_is_given_up_disturbs_nobody),
                TEST(refusal_of_the_kernel_is_returned),
                TEST(message_that_did_not_fit_is_not_sent),
                cmocka_unit_test(freeing_nothing_is_harmless),
                TEST(objects_that_cannot_be_made_leave_nothing),
        };
        struct rlimit descriptors;
        int namespace, r;

        namespace = namespace_enter();
        r = getrlimit(RLIMIT_NOFILE, &descriptors);
        descriptors.rlim_cur = 64;
        if (namespace < 0 || r < 0 || setrlimit(RLIMIT_NOFILE, &descriptors) < 0) {
                print_error("cannot make a network namespace with few descriptors\n");
                return EXIT_FAILURE;
        }
        r = cmocka_run_group_tests(tests, NULL, NULL);
        (void)close(namespace);
        return r;
}
