/*
 * A conversation in JSON over a socket: each message is one object on one line and has a string
 * "type". Executor and engine talk so, and the executor with its agents. Sending never waits; what
 * the other side does not read piles up to a limit.
 */
#pragma once

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "election/base/cleanup.h"

enum {
        LINK_LINE_MAX = 64 * 1024, /* bytes of one message with its newline */
        LINK_QUEUE_MAX = 1024 * 1024, /* bytes waiting for the other side to read them */
        LINK_READ_MAX = 64 * 1024, /* bytes taken in one turn of the loop */
};

/* The environment variable that tells a child the number of its descriptor. */
#define LINK_FD_ENVIRONMENT "FAILOVERD_LINK_FD"

struct link;

struct link_events {
        /*
         * A message came. @type is its "type". @message is valid only meanwhile: who keeps it or
         * a part of it calls json_incref().
         */
        void (*message)(struct link *l, const char *type, json_t *message, void *userdata);

        /*
         * Nothing more will come. @r is 0 at the end of the conversation, -EBADMSG when the other
         * side sent what is no message or too long a line, or why reading failed. Called once;
         * the owner then calls link_free(). Sending may fail earlier than this is called.
         */
        void (*closed)(struct link *l, int r, void *userdata);
};

/* Two connected sockets, close-on-exec, non-blocking. Returns 0 or a negative errno. */
int link_pair(int ret_fds[2]);

/*
 * The descriptor that LINK_FD_ENVIRONMENT names, made close-on-exec and non-blocking; the variable
 * is removed. -EBADF if there is none or it is no socket.
 */
int link_fd_inherited(void);

/*
 * A conversation over the socket @fd, which it takes over when it succeeds. @events must live as
 * long as it. Its event has @priority in @base (0 is served first). Returns 0 or a negative errno.
 */
int link_new(struct event_base *base, int fd, int priority, const struct link_events *events,
             void *userdata, struct link **ret);

/* Ends it; what is queued is lost. Accepts NULL, and may be called from its own callbacks. */
void link_free(struct link *l);
DEFINE_CLEANUP(struct link *, link_free)

/*
 * Sends @message, whose reference it takes over in every case; NULL counts as -ENOMEM. Written at
 * once as far as the socket accepts it. -EMSGSIZE: longer than LINK_LINE_MAX. -ENOBUFS: more than
 * LINK_QUEUE_MAX would wait. -EPIPE and others: the other side is gone.
 */
int link_send(struct link *l, json_t *message);

/* Whether all that was sent has left this process. */
bool link_is_flushed(const struct link *l);

/* Fields of a message from outside. */

/* Whether @key is an integer from 0 on; @ret is untouched otherwise. */
bool message_get_u64(const json_t *message, const char *key, uint64_t *ret);

/* The string, or NULL. Belongs to @message. */
const char *message_get_string(const json_t *message, const char *key);

/* Whether @key is there and true. */
bool message_is_true(const json_t *message, const char *key);
