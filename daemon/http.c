/* The HTTP server under the API, on libevent's evhttp. */
#include "daemon/http.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include "daemon/api-form.h"
#include "daemon/journal.h"

#define FORM_TYPE "application/x-www-form-urlencoded"
#define RECOUNT_INTERVAL_USEC 100000

struct http {
        struct event_base *base;
        struct evhttp *evhttp;
        struct evconnlistener *listeners[HTTP_LISTENERS_MAX];
        struct endpoint at[HTTP_LISTENERS_MAX];
        size_t n_listeners;
        struct event *recount;
        size_t connections_max;
        size_t n_left; /* connections that may be accepted before they are counted again */
        http_handler *handler;
        void *userdata;
};

/* The number of connections. */

static bool is_connection(const struct http *h, int fd)
{
        union {
                struct sockaddr any;
                struct sockaddr_in v4;
                struct sockaddr_in6 v6;
        } a;
        socklen_t n = sizeof(a), n_peer = sizeof(a);
        uint16_t port;

        if (getsockname(fd, &a.any, &n) < 0)
                return false; /* not a socket, or just closed */
        if (a.any.sa_family == AF_INET)
                port = ntohs(a.v4.sin_port);
        else if (a.any.sa_family == AF_INET6)
                port = ntohs(a.v6.sin6_port);
        else
                return false;
        return port == h->at[0].port && getpeername(fd, &a.any, &n_peer) == 0;
}

/*
 * evhttp does not say when it closes a connection, so they are counted by looking at the
 * descriptors; only after as many were accepted as could have been open at the last count.
 */
static size_t count_connections(const struct http *h)
{
        DIR *dir = opendir("/proc/self/fd");
        struct dirent *entry;
        size_t n = 0;

        if (!dir)
                return h->connections_max - 1; /* unknown: one at a time */
        while ((entry = readdir(dir)))
                n += entry->d_name[0] != '.' && is_connection(h, atoi(entry->d_name));
        (void)closedir(dir); /* was only read */
        return n;
}

/* Raises the limit of descriptors if it can; log and members must never run short of them. */
static size_t allowed_connections(void)
{
        const rlim_t wanted = HTTP_CONNECTIONS_MAX + HTTP_DESCRIPTORS_LEFT;
        struct rlimit l;

        if (getrlimit(RLIMIT_NOFILE, &l) < 0)
                return 1; /* cannot fail, but for a kernel that we do not know */
        if (l.rlim_cur < wanted) {
                l.rlim_cur = l.rlim_max < wanted ? l.rlim_max : wanted;
                (void)setrlimit(RLIMIT_NOFILE, &l); /* what is allowed is read again */
                if (getrlimit(RLIMIT_NOFILE, &l) < 0)
                        return 1;
        }
        if (l.rlim_cur >= wanted)
                return HTTP_CONNECTIONS_MAX;
        return l.rlim_cur > HTTP_DESCRIPTORS_LEFT ? l.rlim_cur - HTTP_DESCRIPTORS_LEFT : 1;
}

static void set_accepting(struct http *h, bool accept)
{
        for (size_t i = 0; i < h->n_listeners; i++) {
                if (accept)
                        (void)evconnlistener_enable(
                                h->listeners[i]); /* the next count repeats it */
                else
                        (void)evconnlistener_disable(h->listeners[i]);
        }
}

static void recount(struct http *h)
{
        size_t n = count_connections(h);
        struct timeval tv = { .tv_usec = RECOUNT_INTERVAL_USEC };

        h->n_left = n < h->connections_max ? h->connections_max - n : 0;
        set_accepting(h, h->n_left > 0);
        if (h->n_left == 0 && evtimer_add(h->recount, &tv) < 0)
                set_accepting(h, true); /* a limit passed is better than a server that is deaf */
}

static void on_recount(evutil_socket_t fd, short what, void *userdata)
{
        (void)fd;
        (void)what;
        recount(userdata);
}

/* evhttp asks for a buffer for each connection that was accepted. */
static struct bufferevent *on_accepted(struct event_base *base, void *userdata)
{
        struct http *h = userdata;

        if (h->n_left > 0)
                h->n_left--;
        if (h->n_left == 0)
                recount(h);
        return bufferevent_socket_new(base, -1, 0);
}

static void on_accept_failed(struct evconnlistener *listener, void *userdata)
{
        struct http *h = userdata;
        struct timeval tv = { .tv_usec = RECOUNT_INTERVAL_USEC };

        (void)listener;
        (void)log_warning(-EVUTIL_SOCKET_ERROR(), "cannot accept an API connection");
        set_accepting(h, false); /* no busy loop while descriptors are short */
        if (evtimer_add(h->recount, &tv) < 0)
                set_accepting(h, true);
}

/* A request. */

static void request_free(struct http_request *r)
{
        struct evhttp_connection *c = evhttp_request_get_connection(r->evhttp);

        if (c)
                evhttp_connection_set_closecb(c, NULL, NULL);
        if (r->watch_close)
                event_free(r->watch_close);
        free(r->path);
        free(r);
}

static void on_closed(struct evhttp_connection *c, void *userdata)
{
        struct http_request *r = userdata;
        struct evhttp_request *req = r->evhttp;
        bool is_orphan = !evhttp_request_get_connection(req);

        (void)c;
        r->gone(r);
        request_free(r);
        if (is_orphan)
                evhttp_request_free(req); /* otherwise the connection does it */
}

/* The client has closed its side of a connection on which nothing is read. */
static void on_peer_closed(evutil_socket_t fd, short what, void *userdata)
{
        struct http_request *r = userdata;

        (void)fd;
        (void)what;
        evhttp_connection_free(evhttp_request_get_connection(r->evhttp));
}

void http_on_gone(struct http_request *r, void (*gone)(struct http_request *r), void *userdata,
                  bool watch)
{
        struct evhttp_connection *c = evhttp_request_get_connection(r->evhttp);
        struct bufferevent *b = evhttp_connection_get_bufferevent(c);

        r->gone = gone;
        r->userdata = userdata;
        evhttp_connection_set_closecb(c, on_closed, r);
        if (!watch)
                return;
        /* Without it a client that has gone is found when there is something to tell it. */
        r->watch_close = event_new(evhttp_connection_get_base(c), bufferevent_getfd(b), EV_CLOSED,
                                   on_peer_closed, r);
        if (r->watch_close && event_add(r->watch_close, NULL) < 0)
                (void)log_warning(0, "cannot watch for the end of an API connection");
}

static bool is_loopback(const struct sockaddr *a)
{
        const struct sockaddr_in *v4 = (const void *)a;
        const struct sockaddr_in6 *v6 = (const void *)a;

        if (a->sa_family == AF_INET)
                return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
        return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static bool is_same_address(const struct sockaddr *a, const struct sockaddr *b)
{
        const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
        const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;

        if (a->sa_family != b->sa_family)
                return false;
        if (a->sa_family == AF_INET)
                return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
        return a->sa_family == AF_INET6 && IN6_ARE_ADDR_EQUAL(&a6->sin6_addr, &b6->sin6_addr);
}

/* From loopback, or from the very address it talks to: the kernel routes neither from outside. */
static bool is_local(struct evhttp_connection *c)
{
        int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(c));
        struct sockaddr_storage peer, own;
        socklen_t n_peer = sizeof(peer), n_own = sizeof(own);

        if (getpeername(fd, (struct sockaddr *)&peer, &n_peer) < 0 ||
            getsockname(fd, (struct sockaddr *)&own, &n_own) < 0)
                return false;
        return is_loopback((struct sockaddr *)&peer) ||
               is_same_address((struct sockaddr *)&peer, (struct sockaddr *)&own);
}

static bool may_have_form(enum evhttp_cmd_type method)
{
        return method == EVHTTP_REQ_PUT || method == EVHTTP_REQ_POST;
}

/* evhttp leaves the body of such a request where it would be taken for the next request. */
static void end_connection_if_body_is_left(struct http_request *r)
{
        struct evkeyvalq *in = evhttp_request_get_input_headers(r->evhttp);
        const char *length = evhttp_find_header(in, "Content-Length");

        if (may_have_form(r->method) || r->method == EVHTTP_REQ_PATCH)
                return;
        if ((length && strcmp(length, "0") != 0) || evhttp_find_header(in, "Transfer-Encoding"))
                http_header(r, "Connection", "close");
}

static void take_form(struct http_request *r)
{
        struct evbuffer *body = evhttp_request_get_input_buffer(r->evhttp);
        struct evkeyvalq *in = evhttp_request_get_input_headers(r->evhttp);
        const char *type = evhttp_find_header(in, "Content-Type");
        size_t n = type ? strcspn(type, "; \t") : 0;

        if (!may_have_form(r->method) || !type)
                return;
        if (n == 0) {
                r->is_form_malformed = true;
                return;
        }
        if (n != strlen(FORM_TYPE) || strncasecmp(type, FORM_TYPE, n) != 0)
                return;
        r->n_form = evbuffer_get_length(body);
        r->form = (const char *)evbuffer_pullup(body, -1);
        if (!r->form)
                r->n_form = 0;
}

static int take_path(struct http_request *r)
{
        const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(r->evhttp);
        const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
        const char *query = uri ? evhttp_uri_get_query(uri) : NULL;
        _cleanup_(buffer_done)
        struct buffer b = { 0 };

        if (!path || form_decode(path, strlen(path), false, &b) < 0)
                return -EINVAL;
        buffer_put_u8(&b, '\0');
        if (strlen((char *)b.bytes) != b.n - 1)
                return -EINVAL;
        r->path = (char *)TAKE_PTR(b.bytes);
        r->query = query ? query : "";
        return 0;
}

static void on_request(struct evhttp_request *evhttp, void *userdata)
{
        struct http *h = userdata;
        struct http_request *r = calloc(1, sizeof(*r));

        if (!r) {
                evhttp_send_error(evhttp, HTTP_SERVUNAVAIL, NULL);
                return;
        }
        r->evhttp = evhttp;
        r->method = evhttp_request_get_command(evhttp);
        if (take_path(r) < 0) {
                http_header(r, "Connection", "close");
                http_reply(r, HTTP_BADREQUEST, "text/plain; charset=utf-8", "bad request\n", 12);
                return;
        }
        r->is_local = is_local(evhttp_request_get_connection(evhttp));
        r->is_from_page = evhttp_find_header(evhttp_request_get_input_headers(evhttp), "Origin");
        end_connection_if_body_is_left(r);
        take_form(r);
        h->handler(h->userdata, r);
}

/* An answer. */

void http_header(struct http_request *r, const char *name, const char *value)
{
        /* Fails without memory only, or for what is no header; nothing more can be done here. */
        (void)evhttp_add_header(evhttp_request_get_output_headers(r->evhttp), name, value);
}

void http_header_u64(struct http_request *r, const char *name, uint64_t value)
{
        char text[24];

        (void)snprintf(text, sizeof(text), "%" PRIu64, value);
        http_header(r, name, text);
}

static struct evbuffer *buffer_of(const void *body, size_t n)
{
        struct evbuffer *b = evbuffer_new();

        if (b && n > 0 && evbuffer_add(b, body, n) < 0) {
                evbuffer_free(b);
                return NULL;
        }
        return b;
}

void http_reply(struct http_request *r, int status, const char *content_type, const void *body,
                size_t n)
{
        struct evhttp_request *evhttp = r->evhttp;
        bool is_head = r->method == EVHTTP_REQ_HEAD;
        struct evbuffer *b = buffer_of(body, is_head ? 0 : n);

        http_header(r, "Content-Type", content_type);
        if (is_head)
                http_header_u64(r, "Content-Length", n);
        request_free(r);
        if (!b) {
                evhttp_send_error(evhttp, HTTP_SERVUNAVAIL, NULL);
                return;
        }
        evhttp_send_reply(evhttp, status, NULL, b);
        evbuffer_free(b);
}

void http_stream_begin(struct http_request *r, const char *content_type)
{
        http_header(r, "Content-Type", content_type);
        r->is_streaming = true;
        evhttp_send_reply_start(r->evhttp, HTTP_OK, NULL);
}

void http_stream_end(struct http_request *r, const void *body, size_t n)
{
        struct evhttp_request *evhttp = r->evhttp;
        struct evbuffer *b = buffer_of(body, n);

        request_free(r);
        if (b) {
                evhttp_send_reply_chunk(evhttp, b);
                evbuffer_free(b);
        }
        evhttp_send_reply_end(evhttp); /* without memory: an empty body, asked for again */
}

/* Start and end. */

static int listen_at(const struct endpoint *at)
{
        union {
                struct sockaddr any;
                struct sockaddr_in v4;
                struct sockaddr_in6 v6;
        } a = { 0 };
        bool is_v4 = at->address.family == AF_INET;
        int on = 1, fd, r;

        if (is_v4)
                a.v4 = (struct sockaddr_in){ .sin_family = AF_INET,
                                             .sin_port = htons(at->port),
                                             .sin_addr = at->address.v4 };
        else
                a.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
                                              .sin6_port = htons(at->port),
                                              .sin6_addr = at->address.v6 };
        fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* Connections inherit TCP_NODELAY from here: a small answer must not wait for more. */
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
            (!is_v4 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
            bind(fd, &a.any, is_v4 ? sizeof(a.v4) : sizeof(a.v6)) < 0) {
                r = -errno;
                (void)close(fd); /* nothing was written to it */
                return r;
        }
        return fd;
}

static int add_listener(struct http *h, const struct endpoint *at)
{
        struct evconnlistener *listener;
        int fd = listen_at(at);

        if (fd < 0)
                return fd;
        listener = evconnlistener_new(h->base, NULL, NULL,
                                      LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, SOMAXCONN, fd);
        if (!listener) {
                int r = -errno;

                (void)close(fd); /* as above */
                return r < 0 ? r : -ENOMEM;
        }
        if (!evhttp_bind_listener(h->evhttp, listener)) {
                evconnlistener_free(listener);
                return -ENOMEM;
        }
        evconnlistener_set_error_cb(listener, on_accept_failed);
        h->at[h->n_listeners] = *at;
        h->listeners[h->n_listeners++] = listener;
        return 0;
}

static int configure(struct http *h)
{
        h->recount = evtimer_new(h->base, on_recount, h);
        h->evhttp = evhttp_new(h->base);
        if (!h->recount || !h->evhttp)
                return -ENOMEM;
        h->connections_max = h->n_left = allowed_connections();
        evhttp_set_max_headers_size(h->evhttp, HTTP_HEADERS_MAX);
        evhttp_set_max_body_size(h->evhttp, HTTP_BODY_MAX);
        evhttp_set_timeout(h->evhttp, HTTP_IDLE_MAX_SEC);
        evhttp_set_default_content_type(h->evhttp, NULL);
        evhttp_set_allowed_methods(h->evhttp, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
                                                      EVHTTP_REQ_POST | EVHTTP_REQ_DELETE |
                                                      EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
        evhttp_set_bevcb(h->evhttp, on_accepted, h);
        evhttp_set_gencb(h->evhttp, on_request, h);
        return 0;
}

int http_new(struct event_base *base, const struct endpoint *at, size_t n, http_handler *handler,
             void *userdata, struct http **ret)
{
        _cleanup_(http_freep)
        struct http *h = calloc(1, sizeof(*h));
        int r;

        if (!h)
                return -ENOMEM;
        h->base = base;
        h->handler = handler;
        h->userdata = userdata;
        r = configure(h);
        for (size_t i = 0; r == 0 && i < n && i < HTTP_LISTENERS_MAX; i++)
                r = add_listener(h, &at[i]);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(h);
        return 0;
}

void http_free(struct http *h)
{
        if (!h)
                return;
        if (h->evhttp)
                evhttp_free(h->evhttp);
        if (h->recount)
                event_free(h->recount);
        free(h);
}
