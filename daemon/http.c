/* The HTTP server under the API; see http.h. */
#include "daemon/http.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <utlist.h>

#include "daemon/clock.h"
#include "daemon/journal.h"
#include "election/base/memory.h"
#include "election/base/time.h"

#define FORM_TYPE "application/x-www-form-urlencoded"
#define TEXT_TYPE "text/plain; charset=utf-8"
#define SWEEP_INTERVAL_SEC 1

enum {
        ACCEPT_MAX = 64, /* connections that are accepted before others get their turn */
        KEEP_MAX = 4096, /* bytes of an empty buffer that are worth keeping */
        KEEP_ANSWER_MAX = 256 * 1024, /* the same, of the one buffer that answers are made in */
        KEEPALIVE_IDLE_SEC = 30, /* silence after which the kernel asks whether a client lives */
        KEEPALIVE_INTERVAL_SEC = 10,
        KEEPALIVE_COUNT = 3,
        DATE_SIZE = 64,
};

/* A connection. What it waits for with a time limit is said by waits_since(). */
struct connection {
        struct http_request request; /* valid while is_busy */
        struct http *http;
        struct connection *prev, *next;
        struct connection *prev_due, *next_due;
        struct event *readable;
        struct event *writable;
        int fd;
        struct http_parser parser;
        struct buffer in; /* read, and not yet used */
        struct buffer out; /* to be sent */
        size_t n_out; /* bytes of it that were sent */
        struct instant since; /* of what it does now: silence, a request, an answer */
        bool is_local;
        bool is_busy; /* a request waits for its answer */
        bool is_processing; /* in the loop over what was read */
        bool is_due; /* it is looked at before the loop goes on */
        bool is_throttled; /* not read before the answer */
        bool has_ended; /* the client has closed its side */
        bool is_closing; /* once everything is sent */
        bool is_lingering; /* all is sent, what still comes is thrown away */
        bool is_dead;
        bool was_continued; /* 100 was sent for the request that comes in */
};

struct http {
        struct event_base *base;
        struct event *listeners[HTTP_LISTENERS_MAX];
        size_t n_listeners;
        struct event *sweep;
        struct event *due_event;
        struct connection *connections;
        struct connection *due; /* see look_at_due() */
        size_t n_connections;
        size_t connections_max;
        size_t n_input;
        size_t n_output;
        bool is_sweeping;
        bool is_deaf; /* the listeners are off */
        struct buffer answer; /* in which each one is made */
        uint64_t date_second;
        char date[DATE_SIZE];
        char *scratch; /* HTTP_READ_MAX bytes and one */
        http_handler *handler;
        void *userdata;
};

static void close_now(struct connection *c);
static void process(struct connection *c);

static struct connection *connection_of(struct http_request *r)
{
        return (struct connection *)r; /* it is its first member */
}

size_t http_connections(const struct http *h)
{
        return h->n_connections;
}

/* Times. */

static bool is_sending(const struct connection *c)
{
        return c->out.n > c->n_out;
}

static bool is_receiving(const struct connection *c)
{
        return !c->is_busy && c->in.n > 0;
}

/* Seconds that the connection may stay as it is; 0: for ever. */
static unsigned limit_of(const struct connection *c)
{
        if (c->is_lingering)
                return HTTP_LINGER_MAX_SEC;
        if (is_sending(c))
                return HTTP_SEND_MAX_SEC;
        if (is_receiving(c))
                return HTTP_RECEIVE_MAX_SEC;
        if (!c->is_busy && c->http->n_connections >= c->http->connections_max)
                return HTTP_IDLE_MIN_SEC;
        return 0;
}

static void begin_sweeping(struct http *h)
{
        const struct timeval tv = { .tv_sec = SWEEP_INTERVAL_SEC };

        if (!h->is_sweeping && evtimer_add(h->sweep, &tv) == 0)
                h->is_sweeping = true;
}

/* The connection begins something that may take only so long. */
static void begin_waiting(struct connection *c)
{
        c->since = clock_now();
        begin_sweeping(c->http);
}

static void set_deaf(struct http *h, bool deaf)
{
        for (size_t i = 0; i < h->n_listeners; i++) {
                /* Adding fails only without memory; the next connection that ends tries again. */
                if (deaf)
                        (void)event_del(h->listeners[i]);
                else
                        (void)event_add(h->listeners[i], NULL);
        }
        h->is_deaf = deaf;
        if (deaf)
                begin_sweeping(h);
}

static void on_sweep(evutil_socket_t fd, short what, void *userdata)
{
        struct http *h = userdata;
        struct instant now = clock_now();
        struct connection *c, *next;
        bool again = h->is_deaf;

        (void)fd;
        (void)what;
        h->is_sweeping = false;
        DL_FOREACH_SAFE(h->connections, c, next) {
                unsigned limit = limit_of(c);

                if (limit > 0 &&
                    instant_reached(instant_after(c->since, limit * USEC_PER_SEC), now))
                        close_now(c);
                else
                        again |= limit > 0;
        }
        if (h->is_deaf && h->n_connections < h->connections_max)
                set_deaf(h, false);
        if (again)
                begin_sweeping(h);
}

/* Output. */

static void put_text(struct buffer *b, const char *s)
{
        buffer_put(b, s, strlen(s));
}

static void put_number(struct buffer *b, uint64_t n, unsigned base)
{
        char digits[24];
        size_t i = sizeof(digits);

        do
                digits[--i] = "0123456789abcdef"[n % base];
        while ((n /= base) > 0);
        buffer_put(b, digits + i, sizeof(digits) - i);
}

/* It is looked at again before the loop waits: what is on the stack may still use it. */
static void look_later(struct connection *c)
{
        if (c->is_due)
                return;
        c->is_due = true;
        DL_APPEND2(c->http->due, c, prev_due, next_due);
        event_active(c->http->due_event, EV_TIMEOUT, 0);
}

static void die(struct connection *c)
{
        c->is_dead = true;
        look_later(c);
}

static void release_if_empty(struct buffer *b, size_t keep)
{
        if (b->n == 0 && b->n_max > keep)
                buffer_done(b);
}

static void keep_unsent(struct connection *c, const uint8_t *bytes, size_t n)
{
        struct http *h = c->http;

        if (h->n_output + n > HTTP_OUTPUT_MAX) {
                die(c);
                return;
        }
        if (!is_sending(c)) {
                begin_waiting(c);
                if (event_add(c->writable, NULL) < 0)
                        die(c);
        }
        buffer_put(&c->out, bytes, n);
        h->n_output += n;
}

static void send_bytes(struct connection *c, const uint8_t *bytes, size_t n)
{
        ssize_t sent = 0;

        if (c->is_dead)
                return;
        if (!is_sending(c)) {
                sent = send(c->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (sent < 0 && errno != EAGAIN && errno != EINTR) {
                        die(c);
                        return;
                }
                if (sent < 0)
                        sent = 0;
        }
        if ((size_t)sent < n)
                keep_unsent(c, bytes + sent, n - (size_t)sent);
}

static void drop_output(struct connection *c)
{
        c->http->n_output -= c->out.n - c->n_out;
        c->n_out = 0;
        buffer_clear(&c->out);
        release_if_empty(&c->out, KEEP_MAX);
}

static void on_writable(evutil_socket_t fd, short what, void *userdata)
{
        struct connection *c = userdata;
        ssize_t n = send(c->fd, c->out.bytes + c->n_out, c->out.n - c->n_out,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        (void)fd;
        (void)what;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n < 0) {
                close_now(c);
                return;
        }
        c->n_out += (size_t)n;
        c->http->n_output -= (size_t)n;
        c->since = clock_now();
        if (is_sending(c))
                return;
        (void)event_del(c->writable); /* fails only for an event that was never set up */
        drop_output(c);
        process(c);
}

/* Answers. */

static const char *phrase_of(int status)
{
        /* clang-format off */
        static const struct {
                int status;
                const char *phrase;
        } phrases[] = {
                { 200, "OK" },                   { 201, "Created" },
                { 202, "Accepted" },             { 204, "No Content" },
                { 301, "Moved Permanently" },    { 400, "Bad Request" },
                { 401, "Unauthorized" },         { 403, "Forbidden" },
                { 404, "Not Found" },            { 405, "Method Not Allowed" },
                { 409, "Conflict" },             { 410, "Gone" },
                { 412, "Precondition Failed" },  { 413, "Request Entity Too Large" },
                { 414, "Request URI Too Long" }, { 415, "Unsupported Media Type" },
                { 431, "Request Header Fields Too Large" },
                { 500, "Internal Server Error" },
                { 501, "Not Implemented" },      { 503, "Service Unavailable" },
                { 505, "HTTP Version Not Supported" },
        };
        /* clang-format on */

        for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++) {
                if (phrases[i].status == status)
                        return phrases[i].phrase;
        }
        return "Unknown";
}

/* The date as HTTP writes it, made once a second. */
static const char *date_of(struct http *h)
{
        uint64_t second = clock_wall() / USEC_PER_SEC;
        time_t t = (time_t)second;
        struct tm tm;

        if (second != h->date_second && gmtime_r(&t, &tm)) {
                (void)strftime(h->date, sizeof(h->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
                h->date_second = second;
        }
        return h->date;
}

static void put_header(struct buffer *b, const char *name, const char *value)
{
        put_text(b, name);
        buffer_put(b, ": ", 2);
        put_text(b, value);
        buffer_put(b, "\r\n", 2);
}

void http_header(struct http_request *r, const char *name, const char *value)
{
        put_header(&r->headers, name, value);
}

void http_header_u64(struct http_request *r, const char *name, uint64_t value)
{
        put_text(&r->headers, name);
        buffer_put(&r->headers, ": ", 2);
        put_number(&r->headers, value, 10);
        buffer_put(&r->headers, "\r\n", 2);
}

/* Everything but what says where the body ends, and the empty line. */
static void put_head(struct connection *c, struct buffer *b, int status, const char *content_type)
{
        struct http_request *r = &c->request;

        put_text(b, r->minor == 0 ? "HTTP/1.0 " : "HTTP/1.1 ");
        put_number(b, (uint64_t)status, 10);
        buffer_put(b, " ", 1);
        put_text(b, phrase_of(status));
        buffer_put(b, "\r\n", 2);
        buffer_put(b, r->headers.bytes, r->headers.n);
        if (content_type && status != HTTP_NOCONTENT)
                put_header(b, "Content-Type", content_type);
        put_header(b, "Date", date_of(c->http));
        if (r->wants_close)
                put_text(b, "Connection: close\r\n");
        else if (r->minor == 0)
                put_text(b, "Connection: keep-alive\r\n");
}

/* The buffer for the next answer. */
static struct buffer *new_answer(struct http *h)
{
        buffer_clear(&h->answer);
        release_if_empty(&h->answer, KEEP_ANSWER_MAX);
        return &h->answer;
}

/* The request has its answer: its connection is free for the next one. */
static void end_request(struct connection *c)
{
        struct http_request *r = &c->request;

        c->is_busy = false;
        c->is_closing |= r->wants_close;
        buffer_clear(&r->headers);
        r->gone = NULL;
        c->since = clock_now();
        if (!c->is_processing && (c->in.n > 0 || c->is_throttled || c->has_ended || c->is_closing))
                look_later(c);
}

void http_reply(struct http_request *r, int status, const char *content_type, const void *body,
                size_t n)
{
        struct connection *c = connection_of(r);
        struct buffer *b = new_answer(c->http);

        assert(c->is_busy && !r->is_streaming);
        put_head(c, b, status, content_type);
        if (status != HTTP_NOCONTENT) {
                put_text(b, "Content-Length: ");
                put_number(b, n, 10);
                buffer_put(b, "\r\n", 2);
        }
        buffer_put(b, "\r\n", 2);
        if (r->method != HTTP_HEAD && status != HTTP_NOCONTENT)
                buffer_put(b, body, n);
        send_bytes(c, b->bytes, b->n);
        end_request(c);
}

/* HTTP/1.0 knows no chunks: there the end of the connection is the end of the answer. */
static void put_stream_head(struct connection *c, struct buffer *b, const char *content_type)
{
        struct http_request *r = &c->request;

        r->wants_close |= r->minor == 0;
        r->is_streaming = true;
        put_head(c, b, HTTP_OK, content_type);
        if (r->minor > 0)
                put_text(b, "Transfer-Encoding: chunked\r\n");
        buffer_put(b, "\r\n", 2);
}

static void put_part(struct connection *c, struct buffer *b, const void *part, size_t n)
{
        bool is_chunk = c->request.minor > 0;

        if (n == 0)
                return;
        if (is_chunk) {
                put_number(b, n, 16);
                buffer_put(b, "\r\n", 2);
        }
        buffer_put(b, part, n);
        if (is_chunk)
                buffer_put(b, "\r\n", 2);
}

void http_stream_begin(struct http_request *r, const char *content_type)
{
        struct connection *c = connection_of(r);
        struct buffer *b = new_answer(c->http);

        put_stream_head(c, b, content_type);
        send_bytes(c, b->bytes, b->n);
}

void http_stream_send(struct http_request *r, const void *part, size_t n)
{
        struct connection *c = connection_of(r);
        struct buffer *b = new_answer(c->http);

        if (c->out.n - c->n_out > HTTP_STREAM_MAX) {
                die(c);
                return;
        }
        put_part(c, b, part, n);
        send_bytes(c, b->bytes, b->n);
}

void http_stream_end(struct http_request *r, const char *content_type, const void *part, size_t n)
{
        struct connection *c = connection_of(r);
        struct buffer *b = new_answer(c->http);

        if (!r->is_streaming)
                put_stream_head(c, b, content_type);
        put_part(c, b, part, n);
        if (r->minor > 0)
                put_text(b, "0\r\n\r\n");
        send_bytes(c, b->bytes, b->n);
        end_request(c);
}

void http_on_gone(struct http_request *r, void (*gone)(struct http_request *r), void *userdata,
                  bool ends_with_client)
{
        r->gone = gone;
        r->userdata = userdata;
        r->ends_with_client = ends_with_client;
        if (ends_with_client && connection_of(r)->has_ended)
                die(connection_of(r));
}

/* Requests. */

static void take_body(struct http_request *r, const struct http_parser *p, char *bytes)
{
        size_t n = r->content_type ? strcspn(r->content_type, "; \t") : 0;

        if (r->method != HTTP_PUT && r->method != HTTP_POST)
                return;
        r->body = bytes + p->body;
        r->n_body = p->n_body;
        if (r->content_type && n == 0)
                r->is_form_malformed = true;
        if (n != strlen(FORM_TYPE) || strncasecmp(r->content_type, FORM_TYPE, n) != 0)
                return;
        r->form = bytes + p->body;
        r->n_form = p->n_body;
}

/* The byte behind a body may belong to the next request: a NUL stands there during the call only. */
static void serve(struct connection *c, char *bytes)
{
        const struct http_parser *p = &c->parser;
        size_t end = p->body + p->n_body;
        char empty[] = "", saved = bytes[end];

        c->request = (struct http_request){
                .method = p->method,
                .path = bytes + p->path,
                .query = p->query ? bytes + p->query : empty,
                .content_type = p->content_type ? bytes + p->content_type : NULL,
                .is_local = c->is_local,
                .is_from_page = p->is_from_page,
                .headers = c->request.headers,
                .minor = p->minor,
                .wants_close = p->wants_close,
        };
        take_body(&c->request, p, bytes);
        c->parser = (struct http_parser){ 0 };
        c->was_continued = false;
        c->is_busy = true;
        bytes[end] = '\0';
        c->http->handler(c->http->userdata, &c->request);
        bytes[end] = saved;
}

/* Answers what cannot be understood, after which the rest means nothing. */
static void refuse(struct connection *c, int status)
{
        const char *phrase = phrase_of(status);
        char text[64];

        c->request.method = HTTP_GET;
        c->request.minor = 1;
        c->request.wants_close = true;
        c->request.is_streaming = false;
        c->is_busy = true;
        (void)snprintf(text, sizeof(text), "%d %s\n", status, phrase);
        http_reply(&c->request, status, TEXT_TYPE, text, strlen(text));
}

/*
 * Serves the requests that are whole in the @n bytes, until one has to wait for its answer. Returns
 * how many bytes were used; @n is smaller then by what was dropped from behind.
 */
static size_t serve_all(struct connection *c, char *bytes, size_t *n)
{
        size_t used = 0;

        while (*n > used && !c->is_busy && !c->is_dead && !c->is_closing && !is_sending(c)) {
                size_t left = *n - used, at;
                enum http_progress progress = http_parse(&c->parser, bytes + used, &left);

                *n = used + left;
                if (progress == HTTP_MORE)
                        break;
                if (progress == HTTP_BAD) {
                        refuse(c, c->parser.status);
                        return *n;
                }
                at = c->parser.at;
                serve(c, bytes + used);
                used += at;
        }
        return used;
}

static void send_continue(struct connection *c)
{
        static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

        if (c->was_continued || c->is_busy || c->in.n == 0 ||
            !http_parser_waits(&c->parser, c->in.n))
                return;
        c->was_continued = true;
        send_bytes(c, (const uint8_t *)text, strlen(text));
}

/* Keeps @n bytes of input, with one byte of room behind them. */
static void keep_input(struct connection *c, const char *bytes, size_t n)
{
        if (n == 0)
                return;
        if (c->in.n == 0 && !c->is_busy)
                begin_waiting(c);
        c->http->n_input += n;
        buffer_put(&c->in, bytes, n);
        buffer_put_u8(&c->in, '\0');
        c->in.n--;
}

static void drop_input(struct connection *c, size_t n)
{
        c->http->n_input -= n;
        c->in.n -= n;
        if (c->in.n > 0)
                memmove(c->in.bytes, c->in.bytes + n, c->in.n);
        release_if_empty(&c->in, KEEP_MAX);
}

static void limit_input(struct connection *c)
{
        if (c->http->n_input > HTTP_INPUT_MAX && is_receiving(c)) {
                drop_input(c, c->in.n);
                refuse(c, HTTP_SERVUNAVAIL);
        }
        if (is_receiving(c))
                begin_sweeping(c->http);
        if ((c->is_busy || is_sending(c)) && c->in.n >= HTTP_AHEAD_MAX && !c->is_throttled) {
                c->is_throttled = true;
                (void)event_del(c->readable); /* fails only for an event that was never set up */
        }
}

/* Goes through what is kept. */
static void serve_kept(struct connection *c)
{
        size_t n = c->in.n, used;

        used = serve_all(c, (char *)c->in.bytes, &n);
        c->http->n_input -= c->in.n - n;
        c->in.n = n;
        drop_input(c, used);
        if (used > 0 && c->in.n > 0)
                begin_waiting(c);
}

/* Ends the connection by itself if there is nothing left for it to do; whether it did. */
static bool close_if_over(struct connection *c)
{
        if (c->is_dead) {
                close_now(c);
                return true;
        }
        if (c->is_busy || is_sending(c) || c->is_lingering)
                return false;
        if (c->has_ended) { /* a request that is not whole is dropped with it */
                close_now(c);
                return true;
        }
        if (!c->is_closing)
                return false;
        /* Closed at once with input unread, the kernel would throw the answer away, too. */
        drop_input(c, c->in.n);
        c->is_lingering = true;
        begin_waiting(c);
        if (shutdown(c->fd, SHUT_WR) == 0)
                return false;
        close_now(c);
        return true;
}

static void read_again(struct connection *c)
{
        if (!c->is_throttled || c->is_busy || is_sending(c))
                return;
        c->is_throttled = false;
        if (!c->has_ended && event_add(c->readable, NULL) < 0)
                c->is_dead = true;
}

/* After anything that may let it get on: an answer, output that was sent, an end. May free @c. */
static void process(struct connection *c)
{
        if (!c->is_lingering) {
                c->is_processing = true;
                serve_kept(c);
                c->is_processing = false;
                read_again(c);
                send_continue(c);
                limit_input(c);
        }
        (void)close_if_over(c);
}

static void look_at_due(evutil_socket_t fd, short what, void *userdata)
{
        struct http *h = userdata;
        struct connection *last = h->due ? h->due->prev_due : NULL;
        bool is_last = false;

        (void)fd;
        (void)what;
        while (h->due && !is_last) {
                struct connection *c = h->due;

                is_last = c == last;
                DL_DELETE2(h->due, c, prev_due, next_due);
                c->is_due = false;
                process(c);
        }
        if (h->due)
                event_active(h->due_event, EV_TIMEOUT, 0);
}

/* Input. */

static void received(struct connection *c, char *bytes, size_t n)
{
        size_t used = 0;

        if (c->in.n > 0 || c->is_busy || is_sending(c)) {
                keep_input(c, bytes, n);
                process(c);
                return;
        }
        c->is_processing = true;
        used = serve_all(c, bytes, &n);
        c->is_processing = false;
        if (!c->is_dead && !c->is_closing)
                keep_input(c, bytes + used, n - used);
        send_continue(c);
        limit_input(c);
        (void)close_if_over(c);
}

static void input_ended(struct connection *c)
{
        (void)event_del(c->readable); /* as above */
        c->has_ended = true;
        if (c->is_lingering || (c->is_busy && c->request.ends_with_client))
                c->is_dead = true;
        process(c);
}

static void on_readable(evutil_socket_t fd, short what, void *userdata)
{
        struct connection *c = userdata;
        struct http *h = c->http;
        ssize_t n = recv(c->fd, h->scratch, HTTP_READ_MAX, MSG_DONTWAIT);

        (void)fd;
        (void)what;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n < 0)
                close_now(c);
        else if (n == 0)
                input_ended(c);
        else if (!c->is_lingering)
                received(c, h->scratch, (size_t)n);
}

/* Connections. */

static void close_now(struct connection *c)
{
        struct http *h = c->http;

        if (c->is_busy && c->request.gone)
                c->request.gone(&c->request);
        if (c->is_due)
                DL_DELETE2(h->due, c, prev_due, next_due);
        DL_DELETE(h->connections, c);
        h->n_connections--;
        drop_output(c);
        h->n_input -= c->in.n;
        event_free(c->readable);
        event_free(c->writable);
        (void)close(c->fd); /* what was not sent is lost on purpose */
        buffer_done(&c->in);
        buffer_done(&c->out);
        buffer_done(&c->request.headers);
        free(c);
        if (h->is_deaf)
                set_deaf(h, false);
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
static bool is_local(int fd)
{
        struct sockaddr_storage peer, own;
        socklen_t n_peer = sizeof(peer), n_own = sizeof(own);

        if (getpeername(fd, (struct sockaddr *)&peer, &n_peer) < 0 ||
            getsockname(fd, (struct sockaddr *)&own, &n_own) < 0)
                return false;
        return is_loopback((struct sockaddr *)&peer) ||
               is_same_address((struct sockaddr *)&peer, (struct sockaddr *)&own);
}

/* Takes @fd, on failure, too. */
static void begin_connection(struct http *h, int fd)
{
        struct connection *c = must_alloc(1, sizeof(*c));

        *c = (struct connection){ .http = h, .fd = fd, .is_local = is_local(fd) };
        c->since = clock_now();
        c->readable = event_new(h->base, fd, EV_READ | EV_PERSIST, on_readable, c);
        c->writable = event_new(h->base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
        if (!c->readable || !c->writable || event_add(c->readable, NULL) < 0) {
                if (c->readable)
                        event_free(c->readable);
                if (c->writable)
                        event_free(c->writable);
                (void)close(fd); /* nothing was sent */
                free(c);
                return;
        }
        DL_APPEND(h->connections, c);
        h->n_connections++;
}

static bool is_passing_error(int error)
{
        return error == EAGAIN || error == EINTR || error == ECONNABORTED;
}

static void on_connection(evutil_socket_t listen_fd, short what, void *userdata)
{
        struct http *h = userdata;

        (void)what;
        for (unsigned i = 0; i < ACCEPT_MAX; i++) {
                int fd;

                if (h->n_connections >= h->connections_max) {
                        set_deaf(h, true); /* until one ends, or has been silent for long */
                        return;
                }
                fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (fd < 0) {
                        if (is_passing_error(errno))
                                return;
                        (void)log_warning(-errno, "cannot accept an API connection");
                        set_deaf(h, true); /* no busy loop while descriptors are short */
                        return;
                }
                begin_connection(h, fd);
        }
}

/* Start and end. */

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

/* Connections inherit all of this: small answers do not wait, and dead clients are noticed. */
static int set_options(int fd, bool is_v4)
{
        /* clang-format off */
        static const struct { int level, name, value; } options[] = {
                { SOL_SOCKET,  SO_REUSEADDR,     1 },
                { SOL_SOCKET,  SO_KEEPALIVE,     1 },
                { IPPROTO_TCP, TCP_NODELAY,      1 },
                { IPPROTO_TCP, TCP_KEEPIDLE,     KEEPALIVE_IDLE_SEC },
                { IPPROTO_TCP, TCP_KEEPINTVL,    KEEPALIVE_INTERVAL_SEC },
                { IPPROTO_TCP, TCP_KEEPCNT,      KEEPALIVE_COUNT },
                { IPPROTO_TCP, TCP_USER_TIMEOUT, HTTP_SEND_MAX_SEC * 1000 },
        };
        /* clang-format on */
        const int on = 1;

        for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
                if (setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                               sizeof(options[i].value)) < 0)
                        return -errno;
        }
        if (!is_v4 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
                return -errno;
        return 0;
}

static int bind_to(int fd, const struct endpoint *at)
{
        const struct sockaddr_in v4 = { .sin_family = AF_INET,
                                        .sin_port = htons(at->port),
                                        .sin_addr = at->address.v4 };
        const struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
                                         .sin6_port = htons(at->port),
                                         .sin6_addr = at->address.v6 };
        bool is_v4 = at->address.family == AF_INET;
        int r = is_v4 ? bind(fd, (const void *)&v4, sizeof(v4))
                      : bind(fd, (const void *)&v6, sizeof(v6));

        return r < 0 || listen(fd, SOMAXCONN) < 0 ? -errno : 0;
}

static int listen_at(const struct endpoint *at)
{
        int fd = socket(at->address.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int r;

        if (fd < 0)
                return -errno;
        r = set_options(fd, at->address.family == AF_INET);
        if (r == 0)
                r = bind_to(fd, at);
        if (r < 0) {
                (void)close(fd); /* nothing was written to it */
                return r;
        }
        return fd;
}

static int add_listener(struct http *h, const struct endpoint *at)
{
        int fd = listen_at(at);
        struct event *e;

        if (fd < 0)
                return fd;
        e = event_new(h->base, fd, EV_READ | EV_PERSIST, on_connection, h);
        if (!e || event_add(e, NULL) < 0) {
                if (e)
                        event_free(e);
                (void)close(fd); /* as above */
                return -ENOMEM;
        }
        h->listeners[h->n_listeners++] = e;
        return 0;
}

int http_new(struct event_base *base, const struct endpoint *at, size_t n, http_handler *handler,
             void *userdata, struct http **ret)
{
        _cleanup_(http_freep)
        struct http *h = calloc(1, sizeof(*h));
        int r = 0;

        if (!h)
                return -ENOMEM;
        h->base = base;
        h->handler = handler;
        h->userdata = userdata;
        h->connections_max = allowed_connections();
        h->sweep = evtimer_new(base, on_sweep, h);
        h->due_event = event_new(base, -1, 0, look_at_due, h);
        h->scratch = malloc(HTTP_READ_MAX + 1);
        if (!h->sweep || !h->due_event || !h->scratch)
                return -ENOMEM;
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
        for (size_t i = 0; i < h->n_listeners; i++) {
                (void)close(event_get_fd(h->listeners[i])); /* as above */
                event_free(h->listeners[i]);
        }
        h->n_listeners = 0;
        while (h->connections)
                close_now(h->connections);
        if (h->sweep)
                event_free(h->sweep);
        if (h->due_event)
                event_free(h->due_event);
        buffer_done(&h->answer);
        free(h->scratch);
        free(h);
}
