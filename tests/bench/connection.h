/*
 * One keep-alive HTTP connection of a load generator: requests go out ready-made, answers are
 * measured and stepped over. It knows just enough HTTP for the two servers that are compared.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        CONNECTION_ANSWER_MAX = 64 << 10, /* bytes of one answer */
        CONNECTION_REQUEST_MAX = 4 << 10,
        TARGETS_MAX = 16,
};

struct target {
        char host[64]; /* an IPv4 address */
        uint16_t port;
};

/* "ADDRESS:PORT"; false if it is not. */
bool target_parse(const char *text, struct target *ret);

struct answer {
        int status;
        bool is_whole; /* else only its head is there */
        const char *body; /* of a whole one; chunk headers included */
        size_t n_body;
        size_t n; /* bytes of all of it */
};

struct connection {
        int fd; /* -1: closed */
        char in[CONNECTION_ANSWER_MAX];
        size_t n_in;
};

/* Connects, waiting for it; the socket does not block afterwards. Returns 0 or a negative errno. */
int connection_open(struct connection *c, const struct target *to);
void connection_close(struct connection *c);

/* Sends all of a request. Returns 0 or a negative errno: -EPIPE if not all of it fits. */
int connection_send(struct connection *c, const char *bytes, size_t n);

/* Reads what is there. Returns 0, or a negative errno: -EPIPE at the end, -EBADMSG if it is full. */
int connection_receive(struct connection *c);

/* What of an answer has come: false if not even its head. */
bool connection_answer(const struct connection *c, struct answer *ret);

/* Forgets a whole answer. */
void connection_consume(struct connection *c, const struct answer *a);

/* Microseconds on the clock that all processes of this machine share. */
uint64_t now_usec(void);

/* Ends the program with a message. */
_Noreturn void die(const char *what, int r);
