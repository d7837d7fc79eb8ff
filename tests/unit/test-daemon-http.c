/* The HTTP server: requests that are kept, clients that go away or do not read, and its limits. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "daemon/http.h"
#include "tests/lib/deadline.h"
#include "tests/lib/namespace.h"

enum {
        KEPT_MAX = 8,
        CLIENTS_MAX = 8,
        PATIENCE_MSEC = 5000,
        SHORT_MSEC = 100, /* long enough for what must not happen to happen */
        ANSWER_SIZE = 1024 * 1024,
};

/* The server, what it has kept, and its clients. */
struct fixture {
        struct event_base *base;
        struct http *http;
        struct endpoint at;
        struct http_request *kept[KEPT_MAX];
        size_t n_kept;
        unsigned n_gone;
        unsigned n_served;
        bool ends_with_client;
        int clients[CLIENTS_MAX];
        size_t n_clients;
        char answer[ANSWER_SIZE];
        size_t n_answer;
};

static void on_gone(struct http_request *r)
{
        struct fixture *f = r->userdata;

        f->n_gone++;
        for (size_t i = 0; i < f->n_kept; i++) {
                if (f->kept[i] == r)
                        f->kept[i] = f->kept[--f->n_kept];
        }
}

/* /kept waits for the test; everything else is told its own path and form. */
static void handle(void *userdata, struct http_request *r)
{
        struct fixture *f = userdata;
        char text[256];

        f->n_served++;
        if (strcmp(r->path, "/kept") == 0) {
                assert_true(f->n_kept < KEPT_MAX);
                f->kept[f->n_kept++] = r;
                http_on_gone(r, on_gone, f, f->ends_with_client);
                return;
        }
        (void)snprintf(text, sizeof(text), "%s?%s %.*s", r->path, r->query, (int)r->n_form,
                       r->form ? r->form : "");
        http_header_u64(r, "X-Number", 7);
        http_reply(r, 200, "text/plain", text, strlen(text));
}

static int set_up(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        f->base = event_base_new();
        assert_non_null(f->base);
        f->at = (struct endpoint){
                .address = { .family = AF_INET, .v4 = { htonl(INADDR_LOOPBACK) } }, .port = 4001
        };
        assert_int_equal(http_new(f->base, &f->at, 1, handle, f, &f->http), 0);
        *state = f;
        return 0;
}

static int tear_down(void **state)
{
        struct fixture *f = *state;

        http_free(f->http);
        event_base_free(f->base);
        for (size_t i = 0; i < f->n_clients; i++) {
                if (f->clients[i] >= 0)
                        (void)close(f->clients[i]);
        }
        free(f);
        return 0;
}

static void turn(struct fixture *f)
{
        assert_true(event_base_loop(f->base, EVLOOP_NONBLOCK) >= 0);
}

static int connect_client(struct fixture *f)
{
        struct sockaddr_in a = { .sin_family = AF_INET,
                                 .sin_port = htons(f->at.port),
                                 .sin_addr = { htonl(INADDR_LOOPBACK) } };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0 && f->n_clients < CLIENTS_MAX);
        f->clients[f->n_clients++] = fd;
        assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
        return fd;
}

static void send_text(int fd, const char *text)
{
        assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void hang_up(struct fixture *f, int fd)
{
        for (size_t i = 0; i < f->n_clients; i++) {
                if (f->clients[i] == fd)
                        f->clients[i] = -1;
        }
        (void)close(fd);
}

/* Takes what has come; whether the server has closed. */
static bool take(struct fixture *f, int fd)
{
        ssize_t n = recv(fd, f->answer + f->n_answer, sizeof(f->answer) - f->n_answer - 1,
                         MSG_DONTWAIT);

        if (n > 0)
                f->n_answer += (size_t)n;
        f->answer[f->n_answer] = '\0';
        return n == 0 || (n < 0 && errno != EAGAIN);
}

#define WAIT_FOR(f, condition)                                                                     \
        do {                                                                                       \
                uint64_t deadline_ = deadline_now_msec() + PATIENCE_MSEC;                          \
                while (!(condition)) {                                                             \
                        assert_true(deadline_now_msec() < deadline_);                              \
                        turn(f);                                                                   \
                }                                                                                  \
        } while (0)

static bool has_answer(struct fixture *f, int fd, const char *text)
{
        (void)take(f, fd);
        return strstr(f->answer, text) != NULL;
}

static void an_answer_has_head_and_body(void **state)
{
        struct fixture *f = *state;
        int fd = connect_client(f);

        send_text(fd, "PUT /a%20b?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
                      "Content-Type: application/x-www-form-urlencoded\r\n\r\nv=1");
        WAIT_FOR(f, has_answer(f, fd, "/a b?x=1 v=1"));
        assert_memory_equal(f->answer, "HTTP/1.1 200 OK\r\n", 17);
        assert_non_null(strstr(f->answer, "\r\nX-Number: 7\r\n"));
        assert_non_null(strstr(f->answer, "\r\nContent-Length: 12\r\n"));
        assert_non_null(strstr(f->answer, "\r\nDate: "));
}

static void a_kept_request_holds_up_those_behind_it(void **state)
{
        struct fixture *f = *state;
        int fd = connect_client(f);

        send_text(fd, "GET /first HTTP/1.1\r\nHost: h\r\n\r\nGET /kept HTTP/1.1\r\nHost: h\r\n\r\n"
                      "GET /last HTTP/1.1\r\nHost: h\r\n\r\n");
        WAIT_FOR(f, f->n_kept == 1);
        WAIT_FOR(f, has_answer(f, fd, "/first"));
        assert_int_equal(f->n_served, 2);
        http_reply(f->kept[0], 201, "text/plain", "late", 4);
        WAIT_FOR(f, has_answer(f, fd, "/last"));
        assert_true(strstr(f->answer, "late") < strstr(f->answer, "/last"));
}

static void what_is_read_ahead_has_a_limit(void **state)
{
        struct fixture *f = *state;
        int fd = connect_client(f);
        static char much[256 * HTTP_AHEAD_MAX]; /* more than the kernel keeps for both */
        size_t n = 0;

        send_text(fd, "GET /kept HTTP/1.1\r\nHost: h\r\n\r\n");
        WAIT_FOR(f, f->n_kept == 1);
        for (unsigned i = 0; n + 9000 < sizeof(much); i++)
                n += (size_t)sprintf(much + n,
                                     "GET /%u HTTP/1.1\r\nHost: h\r\nPad: %08000u\r\n\r\n", i, 0);
        for (size_t sent = 0; sent < n;) {
                struct pollfd p = { .fd = fd, .events = POLLOUT };
                ssize_t r = send(fd, much + sent, n - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

                turn(f);
                if (r > 0)
                        sent += (size_t)r;
                else if (f->n_kept > 0 && poll(&p, 1, SHORT_MSEC) == 0) /* it no longer reads */
                        http_reply(f->kept[--f->n_kept], 200, "text/plain", "now", 3);
                f->n_answer = 0;
                (void)take(f, fd);
        }
        assert_int_equal(f->n_kept, 0); /* the kernel's buffers alone did not take it all */
        send_text(fd, "GET /end HTTP/1.1\r\nHost: h\r\n\r\n");
        WAIT_FOR(f, (f->n_answer = 0, has_answer(f, fd, "/end?")));
}

static void who_hangs_up_is_gone(void **state)
{
        struct fixture *f = *state;
        int fd = connect_client(f);

        send_text(fd, "GET /kept HTTP/1.1\r\nHost: h\r\n\r\n");
        WAIT_FOR(f, f->n_kept == 1);
        f->ends_with_client = true;
        send_text(connect_client(f), "GET /kept HTTP/1.1\r\nHost: h\r\n\r\n");
        WAIT_FOR(f, f->n_kept == 2);
        hang_up(f, f->clients[1]);
        WAIT_FOR(f, f->n_gone == 1);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER,
                                    &(struct linger){ .l_onoff = 1, .l_linger = 0 },
                                    sizeof(struct linger)),
                         0);
        hang_up(f, fd); /* a reset */
        WAIT_FOR(f, f->n_gone == 2);
        assert_int_equal(http_connections(f->http), 0);
}

static void who_closes_only_its_side_gets_its_answers(void **state)
{
        struct fixture *f = *state;
        int fd = connect_client(f);
        bool closed = false;

        send_text(fd, "GET /kept HTTP/1.1\r\nHost: h\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n"
                      "PUT /half HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc");
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        WAIT_FOR(f, f->n_kept == 1);
        for (unsigned i = 0; i < 10; i++)
                turn(f);
        assert_int_equal(f->n_gone, 0);
        http_reply(f->kept[0], 200, "text/plain", "done", 4);
        WAIT_FOR(f, (closed = take(f, fd)));
        assert_true(closed);
        assert_non_null(strstr(f->answer, "done"));
        assert_non_null(strstr(f->answer, "/next"));
        assert_int_equal(f->n_served, 2);
        assert_int_equal(http_connections(f->http), 0);
}

static void a_stream_goes_out_as_it_comes(void **state)
{
        struct fixture *f = *state;
        int fd = connect_client(f);

        send_text(fd, "GET /kept HTTP/1.1\r\nHost: h\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n");
        WAIT_FOR(f, f->n_kept == 1);
        http_stream_begin(f->kept[0], "text/plain");
        WAIT_FOR(f, has_answer(f, fd, "Transfer-Encoding: chunked\r\n\r\n"));
        http_stream_send(f->kept[0], "one", 3);
        WAIT_FOR(f, has_answer(f, fd, "3\r\none\r\n"));
        http_stream_end(f->kept[0], "text/plain", "twelve bytes", 12);
        WAIT_FOR(f, has_answer(f, fd, "c\r\ntwelve bytes\r\n0\r\n\r\nHTTP/1.1 200"));
}

static void a_reader_that_does_not_read_is_cut_off(void **state)
{
        struct fixture *f = *state;
        static const char part[64 * 1024];
        int fd = connect_client(f);

        send_text(fd, "GET /kept HTTP/1.1\r\nHost: h\r\n\r\n");
        WAIT_FOR(f, f->n_kept == 1);
        http_stream_begin(f->kept[0], "text/plain");
        /* More than both kernels' buffers and our own hold; sending to a dead stream does nothing. */
        for (unsigned i = 0; i < 1024 && f->n_gone == 0; i++) {
                http_stream_send(f->kept[0], part, sizeof(part));
                turn(f);
        }
        assert_int_equal(f->n_gone, 1);
        assert_int_equal(http_connections(f->http), 0);
}

static void large_answers_arrive_whole(void **state)
{
        struct fixture *f = *state;
        const size_t n = 900 * 1024;
        char *body = malloc(n);
        int fd = connect_client(f);

        assert_non_null(body);
        for (size_t i = 0; i < n; i++)
                body[i] = (char)('a' + i % 26);
        send_text(fd, "GET /kept HTTP/1.1\r\nHost: h\r\n\r\n");
        WAIT_FOR(f, f->n_kept == 1);
        http_reply(f->kept[0], 200, "text/plain", body, n);
        WAIT_FOR(f, (take(f, fd), f->n_answer > n));
        assert_memory_equal(strstr(f->answer, "\r\n\r\n") + 4, body, n);
        free(body);
}

static void what_is_refused_is_told_before_the_end(void **state)
{
        struct fixture *f = *state;
        int fd = connect_client(f);

        send_text(fd, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999\r\n\r\n");
        for (unsigned i = 0; i < 50; i++) /* it goes on sending all the same */
                send_text(fd, "a part of the body that nobody reads\n");
        WAIT_FOR(f, has_answer(f, fd, "413 Request Entity Too Large\n"));
        hang_up(f, fd);
        WAIT_FOR(f, http_connections(f->http) == 0);
        assert_int_equal(f->n_served, 0);
}

static void the_end_of_the_server_ends_all_requests(void **state)
{
        struct fixture *f = *state;

        send_text(connect_client(f), "GET /kept HTTP/1.1\r\nHost: h\r\n\r\n");
        send_text(connect_client(f), "GET /kept HTTP/1.1\r\nHost: h\r\n\r\n");
        WAIT_FOR(f, f->n_kept == 2);
        http_free(f->http);
        f->http = NULL;
        assert_int_equal(f->n_gone, 2);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(an_answer_has_head_and_body, set_up, tear_down),
                cmocka_unit_test_setup_teardown(a_kept_request_holds_up_those_behind_it, set_up,
                                                tear_down),
                cmocka_unit_test_setup_teardown(what_is_read_ahead_has_a_limit, set_up, tear_down),
                cmocka_unit_test_setup_teardown(who_hangs_up_is_gone, set_up, tear_down),
                cmocka_unit_test_setup_teardown(who_closes_only_its_side_gets_its_answers, set_up,
                                                tear_down),
                cmocka_unit_test_setup_teardown(a_stream_goes_out_as_it_comes, set_up, tear_down),
                cmocka_unit_test_setup_teardown(a_reader_that_does_not_read_is_cut_off, set_up,
                                                tear_down),
                cmocka_unit_test_setup_teardown(large_answers_arrive_whole, set_up, tear_down),
                cmocka_unit_test_setup_teardown(what_is_refused_is_told_before_the_end, set_up,
                                                tear_down),
                cmocka_unit_test_setup_teardown(the_end_of_the_server_ends_all_requests, set_up,
                                                tear_down),
        };

        if (namespace_enter() < 0)
                return EXIT_FAILURE;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
