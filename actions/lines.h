/*
 * One JSON object a line, read from one descriptor and written to another, without ever blocking:
 * the carrier of the agent protocol (docs/agent-protocol.md), for the agent and its executor.
 */
#pragma once

#include <event2/event.h>
#include <jansson.h>

#include "election/base/cleanup.h"

enum {
        LINES_LINE_MAX = 64 * 1024, /* bytes of one line; a longer one ends the reading */
        LINES_UNSENT_MAX = 1024 * 1024, /* bytes that may wait for a reader that does not read */
};

struct lines;

struct lines_events {
        /* A line has come; @object stays the property of the reader. May call lines_free(). */
        void (*on_object)(const json_t *object, void *userdata);
        /* A line that is no JSON object has come, and is skipped. May be NULL. */
        void (*on_garbage)(const char *why, void *userdata);
        /* Nothing more comes: 0 for the end of the stream, else a negative errno. Called once. */
        void (*on_end)(int error, void *userdata);
};

/*
 * Makes both descriptors non-blocking; either may be -1. They must be pipes or sockets and stay
 * the caller's: they are not closed. Returns 0, -ENOMEM or the error of fcntl().
 */
int lines_new(struct event_base *base, int fd_in, int fd_out, const struct lines_events *events,
              void *userdata, struct lines **ret);

void lines_free(struct lines *l);
DEFINE_CLEANUP(struct lines *, lines_free)

/*
 * Reads what has come already, and calls back for it: before a deadline is acted on, what may
 * have moved it is heard. May end with @l freed, as any callback may.
 */
void lines_read(struct lines *l);

/*
 * Sends @object and takes it over, on failure, too; NULL is refused with -ENOMEM, so that the
 * result of json_pack() may be given. What cannot be written at once waits for the reader.
 * Returns 0, -EPIPE when nobody reads any more, or -ENOBUFS when too much waits already.
 */
int lines_send(struct lines *l, json_t *object);
