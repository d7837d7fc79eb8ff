/* The request socket: one question to the kernel at a time, and its answer within a bounded wait. */
#pragma once

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

#include "netlink/message.h"

enum {
        REPLY_SIZE = 32768, /* the largest datagram of a dump */
        DATAGRAMS_MAX = 16384, /* of one answer; a dump of a million addresses has fewer */
        DUMP_TRIES_MAX = 8, /* a dump is repeated when the table changed while it was read */
};

struct netlink {
        struct mnl_socket *socket;
        uint32_t sequence;
        bool kernel_keeps_tags; /* Linux 5.18 or later */
        _Alignas(struct nlmsghdr) uint8_t reply[REPLY_SIZE];
};

/* Called with each message of an answer; a negative value ends the request with it. */
typedef int netlink_answer_fn(const struct nlmsghdr *header, void *userdata);

/*
 * Sends @m and waits for its end: the acknowledgement, which is always asked for, or the end of a
 * dump. @answer may be NULL. Returns what the kernel said. -EAGAIN: a dump was disturbed by a
 * change, what was answered so far is incomplete. -ETIMEDOUT, -EMSGSIZE.
 */
int netlink_request(struct netlink *nl, struct netlink_message *m, netlink_answer_fn *answer,
                    void *userdata);

/*
 * Receives one datagram that the kernel itself has sent into @bytes, without waiting. Returns its
 * length, 0 if it came from somebody else, -EAGAIN if there is none, -EMSGSIZE if it did not fit.
 */
int netlink_receive(const struct mnl_socket *socket, void *bytes, size_t size);
