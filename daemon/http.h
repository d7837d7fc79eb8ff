/*
 * The HTTP/1 server under the API: connections with limits, requests that are answered at once or
 * kept and answered later, and answers that stay open. It knows no paths and no meaning. An answer
 * leaves in one system call, and a plain request costs no memory of its own.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/http-parse.h"
#include "election/base/buffer.h"
#include "election/base/cleanup.h"
#include "election/base/endpoint.h"

struct event_base;

enum {
        HTTP_CONNECTIONS_MAX = 4096, /* at a time; further ones wait in the kernel's queue */
        HTTP_DESCRIPTORS_LEFT = 128, /* that the process may open beside those connections */
        HTTP_LISTENERS_MAX = 2,
        HTTP_READ_MAX = 64 * 1024, /* bytes that are read at a time */
        HTTP_AHEAD_MAX = 64 * 1024, /* bytes that are read while a request waits for its answer */
        HTTP_INPUT_MAX = 128 * 1024 * 1024, /* of all requests that are not whole; then 503 */
        HTTP_OUTPUT_MAX = 256 * 1024 * 1024, /* of all answers that wait for their clients */
        HTTP_STREAM_MAX = 4 * 1024 * 1024, /* bytes that the reader of a stream may be behind */
        HTTP_RECEIVE_MAX_SEC = 30, /* from the first byte of a request to its last */
        HTTP_SEND_MAX_SEC = 30, /* without progress while an answer is sent */
        HTTP_LINGER_MAX_SEC = 2, /* for a client to read why it is cut off */
        HTTP_IDLE_MIN_SEC = 10, /* silence after which a connection must make room for another */
};

/* Statuses that have names. */
enum {
        HTTP_OK = 200,
        HTTP_NOCONTENT = 204,
        HTTP_BADREQUEST = 400,
        HTTP_NOTFOUND = 404,
        HTTP_BADMETHOD = 405,
        HTTP_INTERNAL = 500,
        HTTP_SERVUNAVAIL = 503,
};

struct http;

/*
 * One request, from the call of the handler until it is answered or the client has gone. Strings
 * are valid during the call only; the form may be changed, and a NUL stands behind it.
 */
struct http_request {
        enum http_method method;
        char *path; /* percent-decoded once; no NUL bytes inside */
        char *query; /* as it came, "" if there is none */
        char *form; /* the body of a form, or NULL */
        size_t n_form;
        const char *body; /* of PUT and POST, whatever its type */
        size_t n_body;
        const char *content_type; /* NULL if it does not say */
        bool is_form_malformed; /* the type of the body cannot be understood */
        bool is_local; /* the client is on this machine */
        bool is_from_page; /* a browser says that a web page made it */
        void (*gone)(struct http_request *r); /* see http_on_gone() */
        void *userdata;

        /* Of the server. */
        struct buffer headers; /* of the answer */
        unsigned minor; /* of HTTP/1.minor */
        bool wants_close;
        bool ends_with_client;
        bool is_streaming;
};

/* Answers @r now, or keeps it and answers from the loop later. */
typedef void http_handler(void *userdata, struct http_request *r);

/*
 * Listens at the endpoints. Returns 0, or a negative errno. A request that cannot be understood is
 * answered without asking the handler.
 */
int http_new(struct event_base *base, const struct endpoint *at, size_t n, http_handler *handler,
             void *userdata, struct http **ret);
/* Requests that were kept end without an answer: each one's gone() is called. */
void http_free(struct http *h);
DEFINE_CLEANUP(struct http *, http_free)

size_t http_connections(const struct http *h);

/* For the answer of @r, before it is sent. */
void http_header(struct http_request *r, const char *name, const char *value);
void http_header_u64(struct http_request *r, const char *name, uint64_t value);

/*
 * Sends the whole answer, which ends @r. For HEAD the body is left out and its length is kept; 204
 * has no body.
 */
void http_reply(struct http_request *r, int status, const char *content_type, const void *body,
                size_t n);

/*
 * Sends the head of an answer at once, then parts of its body; http_stream_end() sends the last
 * part, which may be empty, and ends @r. Without a beginning the last part is the whole answer. A
 * client that does not read is cut off: gone() is called for it from the loop.
 */
void http_stream_begin(struct http_request *r, const char *content_type);
void http_stream_send(struct http_request *r, const void *part, size_t n);
void http_stream_end(struct http_request *r, const char *content_type, const void *part, size_t n);

/*
 * For a request that is kept: @gone is called if the client goes away before the answer; with
 * @ends_with_client also when it closes only its own side. It ends @r: after it @r must not be used.
 */
void http_on_gone(struct http_request *r, void (*gone)(struct http_request *r), void *userdata,
                  bool ends_with_client);
