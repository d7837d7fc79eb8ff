/* Non-blocking TCP sockets for the members' connections: listening, connecting, accepting. */
#pragma once

#include "election/base/endpoint.h"
#include "election/base/time.h"

/* A listening socket at @at, close-on-exec, or a negative errno. */
int tcp_listen(const struct endpoint *at);

/*
 * A socket from @from (any port) that connects or is connected to @to, or a negative errno. Bytes
 * that @to does not acknowledge within @silence_max end the connection.
 */
int tcp_connect(const struct address *from, const struct endpoint *to, usec_t silence_max);

/* The next connection of @listen_fd with the address of who made it, or a negative errno. */
int tcp_accept(int listen_fd, usec_t silence_max, struct address *ret_from);
