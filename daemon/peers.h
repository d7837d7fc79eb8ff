/*
 * Framed TCP between the members of the group. Each member keeps one connection to each other one
 * for what it sends; what it receives comes on the connections that the others keep. Messages
 * arrive whole, unchanged and in order, or not at all: what waits for a member that cannot be
 * reached is dropped, because Raft sends anew and stale messages are of no use.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "election/base/cleanup.h"
#include "election/base/endpoint.h"
#include "election/base/names.h"
#include "election/base/time.h"

enum {
        PEERS_FRAME_MAX = 2 << 20, /* bytes of one message */
        PEERS_QUEUE_MAX =
                8 << 20, /* bytes that wait for one member; beyond it the newest is dropped */
        PEERS_PENDING_MAX = 32, /* connections that have not introduced themselves yet */
        PEERS_REASON_SIZE = 160, /* bytes of a reason, with the final NUL */
};

struct event_base;
struct peers;

struct peers_member {
        node_id node;
        struct endpoint endpoint; /* where it listens, and the address that it connects from */
        uint64_t incarnation; /* of its disk; 0: that of the first one that introduces itself */
};

struct peers_config {
        uint64_t cluster_id;
        node_id self;
        uint64_t incarnation; /* of our disk, from the log */
        struct peers_member members[MEMBERS_MAX]; /* all, with ourselves */
        unsigned n_members;
        usec_t connect_timeout; /* until a connection stands, greetings included; 0: 500 ms */
        usec_t silence_max; /* until a connection with unanswered bytes is given up; 0: 1 s */
        uint64_t seed; /* of the back-off's jitter */
};

enum peers_event_type {
        PEERS_UP, /* we can send to @node */
        PEERS_DOWN, /* we no longer can: @reason */
        PEERS_HEARD, /* @node has a connection to us */
        PEERS_LOST, /* it has none any more: @reason */
        PEERS_REFUSED, /* @node and we do not fit together: @reason; told once until it changes */
        PEERS_STRANGER, /* somebody else came to our port: @reason; told at most every 10 s */
};

struct peers_event {
        enum peers_event_type type;
        node_id node; /* NODE_NOBODY with PEERS_STRANGER */
        const char *reason; /* words for the journal; never NULL */
};

/* The loop calls these; they may call peers_send() and peers_status(), not peers_free(). */
struct peers_callbacks {
        void (*receive)(void *userdata, node_id from, const uint8_t *bytes, size_t n);
        void (*event)(void *userdata, const struct peers_event *event);
        void *userdata;
};

/*
 * Listens at our own member's endpoint and begins to connect to all others, for as long as @base
 * runs. Returns 0; -EINVAL if the configuration does not name ourselves, or names a member twice; or
 * an error of the socket calls (-EADDRINUSE, -EADDRNOTAVAIL).
 */
int peers_new(struct event_base *base, const struct peers_config *config,
              const struct peers_callbacks *callbacks, struct peers **ret);
void peers_free(struct peers *p);

/*
 * From now on these @n are the members, ourselves among them or not. Connections with those that
 * stay as they are stay, too. Not to be called from a callback, which may stand on a connection that
 * ends by this.
 */
void peers_set_members(struct peers *p, const struct peers_member *members, unsigned n);
DEFINE_CLEANUP(struct peers *, peers_free)

/*
 * Sends one message with the next peers_flush(). Returns 0 when it will, which does not say that it
 * arrives; -ENOTCONN or -ENOBUFS if it was dropped and counted; -EMSGSIZE above PEERS_FRAME_MAX;
 * -ENOENT if @to is no member or ourselves.
 */
int peers_send(struct peers *p, node_id to, const void *bytes, size_t n);

/* Lets what was sent since the last flush go, without waiting: once a turn of the loop. */
void peers_flush(struct peers *p);

struct peers_status {
        bool is_up; /* we can send */
        bool is_heard; /* it can send to us */
        uint64_t incarnation; /* of its disk, as it said; 0: it has not introduced itself yet */
        struct instant since; /* when is_up changed last */
        uint64_t n_sent; /* messages */
        uint64_t n_received;
        uint64_t n_dropped;
        size_t bytes_queued;
        char reason[PEERS_REASON_SIZE]; /* why it is not up, or empty */
};

/* What is known about the connections with @node; false if it is no member or ourselves. */
bool peers_status(const struct peers *p, node_id node, struct peers_status *ret);
