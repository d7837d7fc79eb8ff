/*
 * The HTTP server under the API: libevent's, with limits, and with the parts of a request that
 * the API looks at. It knows no paths and no meaning.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/http.h>

#include "election/base/buffer.h"
#include "election/base/cleanup.h"
#include "election/base/endpoint.h"

enum {
        HTTP_HEADERS_MAX = 16 * 1024, /* bytes of the request line and all headers */
        HTTP_BODY_MAX = 1536 * 1024, /* bytes of a body; more is answered with 413 */
        HTTP_CONNECTIONS_MAX = 4096, /* at a time; further ones wait in the kernel's queue */
        HTTP_DESCRIPTORS_LEFT = 128, /* that the process may open beside those connections */
        HTTP_IDLE_MAX_SEC = 60, /* a connection that is silent so long is cut off */
        HTTP_LISTENERS_MAX = 2,
};

struct http;

/* One request, from the call of the handler until it is answered or the client has gone. */
struct http_request {
        struct evhttp_request *evhttp;
        enum evhttp_cmd_type method;
        char *path; /* percent-decoded once; no NUL bytes inside */
        const char *query; /* as it came, "" if there is none */
        const char *form; /* the body of a form, in place of any other body; not terminated */
        size_t n_form;
        bool is_form_malformed; /* the type of the body cannot be understood */
        bool is_local; /* the client is on this machine */
        bool is_from_page; /* a browser says that a web page made it */
        void (*gone)(struct http_request *r); /* see http_on_gone() */
        void *userdata;
        struct event *watch_close;
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

/* For the answer of @r, before it is sent. */
void http_header(struct http_request *r, const char *name, const char *value);
void http_header_u64(struct http_request *r, const char *name, uint64_t value);

/* Sends the whole answer, which ends @r. For HEAD the body is left out and its length is kept. */
void http_reply(struct http_request *r, int status, const char *content_type, const void *body,
                size_t n);

/* Sends the head of an answer at once; http_stream_end() sends the body and ends @r. */
void http_stream_begin(struct http_request *r, const char *content_type);
void http_stream_end(struct http_request *r, const void *body, size_t n);

/*
 * For a request that is kept: @gone is called if the client goes away before the answer, which
 * is watched for only if @watch. It ends @r: after it @r must not be used.
 */
void http_on_gone(struct http_request *r, void (*gone)(struct http_request *r), void *userdata,
                  bool watch);
