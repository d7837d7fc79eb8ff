/* The request socket: one question to the kernel at a time, and its answer within a bounded wait. */
#include "netlink/socket.h"

#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include "netlink/netlink.h"

/* The kernel stores IFA_PROTO since 5.18 and ignores it silently before. */
static bool kernel_keeps_tags(void)
{
        struct utsname name;
        unsigned major, minor;

        if (uname(&name) < 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2)
                return false;
        return major > 5 || (major == 5 && minor >= 18);
}

int netlink_new(struct netlink **ret)
{
        _cleanup_(netlink_freep)
        struct netlink *nl = NULL;
        int on = 1;

        nl = calloc(1, sizeof(*nl));
        if (!nl)
                return -ENOMEM;
        nl->kernel_keeps_tags = kernel_keeps_tags();

        nl->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (!nl->socket)
                return -errno;
        if (mnl_socket_bind(nl->socket, 0, MNL_SOCKET_AUTOPID) < 0)
                return -errno;

        /* Spares us our own request in each refusal; kernels before 4.3 send it, which is fine. */
        (void)mnl_socket_setsockopt(nl->socket, NETLINK_CAP_ACK, &on, sizeof(on));

        *ret = TAKE_PTR(nl);
        return 0;
}

void netlink_free(struct netlink *nl)
{
        if (!nl)
                return;
        if (nl->socket)
                (void)mnl_socket_close(nl->socket); /* nothing is buffered that could be lost */
        free(nl);
}

int netlink_receive(const struct mnl_socket *socket, void *bytes, size_t size)
{
        struct sockaddr_nl from = { 0 };
        struct iovec part = { .iov_base = bytes, .iov_len = size };
        struct msghdr message = {
                .msg_name = &from,
                .msg_namelen = sizeof(from),
                .msg_iov = &part,
                .msg_iovlen = 1,
        };
        ssize_t n;

        do
                n = recvmsg(mnl_socket_get_fd(socket), &message, MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        if (message.msg_namelen != sizeof(from) || from.nl_pid != 0)
                return 0;
        if (message.msg_flags & MSG_TRUNC)
                return -EMSGSIZE;
        return (int)n;
}

/* Waits until the kernel has something for us. */
static int wait_readable(const struct netlink *nl)
{
        struct pollfd p = { .fd = mnl_socket_get_fd(nl->socket), .events = POLLIN };
        int n;

        n = poll(&p, 1, NETLINK_WAIT_MSEC);
        if (n < 0)
                return errno == EINTR ? 0 : -errno;
        return n == 0 ? -ETIMEDOUT : 0;
}

/* Throws away what an earlier request, given up after its wait, has left in the socket. */
static void discard_late_answers(struct netlink *nl)
{
        for (unsigned i = 0; i < DATAGRAMS_MAX; i++)
                if (netlink_receive(nl->socket, nl->reply, sizeof(nl->reply)) == -EAGAIN)
                        return;
}

static int send_message(struct netlink *nl, struct netlink_message *m)
{
        struct nlmsghdr *header = netlink_message_header(m);
        ssize_t n;

        if (m->failed)
                return -EMSGSIZE;
        header->nlmsg_seq = ++nl->sequence;
        header->nlmsg_flags |= NLM_F_ACK;
        n = mnl_socket_sendto(nl->socket, header, header->nlmsg_len);
        return n < 0 ? -errno : 0;
}

/* The result inside the last message of an answer: a plain int, zero or a negative errno. */
static int final_result(const struct nlmsghdr *header)
{
        int result;

        if (mnl_nlmsg_get_payload_len(header) < sizeof(result))
                return -EBADMSG;
        result = *(const int *)mnl_nlmsg_get_payload(header);
        return result > 0 ? -EBADMSG : result;
}

/* Goes through one datagram. @ret_end is true when the answer ends in it, with the value returned. */
static int read_datagram(const struct netlink *nl, int n, netlink_answer_fn *answer, void *userdata,
                         bool *ret_end)
{
        const struct nlmsghdr *header = (const struct nlmsghdr *)nl->reply;

        for (; mnl_nlmsg_ok(header, n); header = mnl_nlmsg_next(header, &n)) {
                int r = 0;

                if (header->nlmsg_seq != nl->sequence)
                        continue;
                if (header->nlmsg_flags & NLM_F_DUMP_INTR)
                        return -EAGAIN;
                if (header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE) {
                        *ret_end = true;
                        return final_result(header);
                }
                if (header->nlmsg_type >= NLMSG_MIN_TYPE && answer)
                        r = answer(header, userdata);
                if (r < 0)
                        return r;
        }
        return 0;
}

int netlink_request(struct netlink *nl, struct netlink_message *m, netlink_answer_fn *answer,
                    void *userdata)
{
        bool end = false;
        int r;

        discard_late_answers(nl);
        r = send_message(nl, m);
        if (r < 0)
                return r;

        for (unsigned i = 0; i < DATAGRAMS_MAX; i++) {
                r = netlink_receive(nl->socket, nl->reply, sizeof(nl->reply));
                if (r == -EAGAIN) {
                        r = wait_readable(nl);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (r < 0)
                        return r;
                r = read_datagram(nl, r, answer, userdata, &end);
                if (r < 0 || end)
                        return r;
        }
        return -E2BIG;
}
