/*
 * A connection to the local server that is kept open, by libpq's asynchronous interface: one query
 * at a time, each with a deadline on our side. A lost or late connection is dropped and made anew.
 */
#pragma once

#include <event2/event.h>
#include <libpq-fe.h>
#include <stdbool.h>

#include "actions/postgres/settings.h"
#include "election/base/cleanup.h"
#include "election/base/time.h"

struct session;

/*
 * The answer to a query: @result is valid until the callback returns, and NULL if the connection
 * was lost (-ECONNRESET), too slow (-ETIMEDOUT), or the server refused (-EPROTO); then @why says
 * what happened. The callback may start the next query.
 */
typedef void session_answer(const PGresult *result, int error, const char *why, void *userdata);

struct session_events {
        void (*on_ready)(void *userdata); /* connected */
        void (*on_lost)(void *userdata); /* was connected, and is no more */
};

/*
 * Does not connect yet. @s must outlive the session. The server itself ends a statement after
 * @statement_timeout, 0 for never. Returns 0 or -ENOMEM.
 */
int session_new(struct event_base *base, const struct settings *s, usec_t statement_timeout,
                const struct session_events *events, void *userdata, struct session **ret);

void session_free(struct session *s);
DEFINE_CLEANUP(struct session *, session_free)

/* Begins to connect if it is not connected or connecting. */
void session_ensure(struct session *s);

/* Connected, and no query under way. */
bool session_is_free(const struct session *s);

bool session_is_connected(const struct session *s);

/* Why there is no connection. */
const char *session_trouble(const struct session *s);

/* Sends one statement. Returns 0, -ENOTCONN, -EBUSY, or -EIO; only after 0 the callback comes. */
int session_query(struct session *s, const char *sql, usec_t timeout, session_answer *answer,
                  void *userdata);

/* Closes the connection; a query under way is forgotten without an answer. */
void session_reset(struct session *s);
