/* HTTP/1 requests: what is understood, in whatever pieces it comes, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/http-parse.h"
#include "election/base/cleanup.h"

/* A request as it came, and what became of it. */
struct input {
        struct http_parser p;
        char *bytes;
        size_t n;
};

static void done(struct input *in)
{
        free(in->bytes);
}

/* Gives @text to a new parser, @step bytes at a time. */
static enum http_progress feed(struct input *in, const char *text, size_t n, size_t step)
{
        enum http_progress progress = HTTP_MORE;

        *in = (struct input){ .bytes = malloc(n + 1) };
        assert_non_null(in->bytes);
        for (size_t i = 0; i < n && progress == HTTP_MORE; i += step) {
                size_t part = n - i < step ? n - i : step;

                memcpy(in->bytes + in->n, text + i, part);
                in->n += part;
                progress = http_parse(&in->p, in->bytes, &in->n);
        }
        return progress;
}

static enum http_progress parse(struct input *in, const char *text)
{
        return feed(in, text, strlen(text), strlen(text));
}

static int status_of(const char *text)
{
        _cleanup_(done)
        struct input in;

        return parse(&in, text) == HTTP_BAD ? in.p.status : 0;
}

static void assert_body(const struct input *in, const char *wanted)
{
        assert_int_equal(in->p.n_body, strlen(wanted));
        assert_memory_equal(in->bytes + in->p.body, wanted, strlen(wanted));
}

static void a_request_is_the_same_in_any_pieces(void **state)
{
        static const char text[] = "\r\nPUT /a%20b/%C3%A4+?x=%41&y HTTP/1.1\r\nHost: h\r\n"
                                   "Content-Type:  text/x; y=1 \r\nContent-Length: 5\r\n\r\n"
                                   "valueGET / HTTP/1.1\r\n";

        (void)state;
        for (size_t step = 1; step <= strlen(text); step++) {
                _cleanup_(done)
                struct input in;

                assert_int_equal(feed(&in, text, strlen(text), step), HTTP_WHOLE);
                assert_int_equal(in.p.method, HTTP_PUT);
                assert_string_equal(in.bytes + in.p.path, "/a b/\xC3\xA4+");
                assert_string_equal(in.bytes + in.p.query, "x=%41&y");
                assert_string_equal(in.bytes + in.p.content_type, "text/x; y=1");
                assert_body(&in, "value");
                assert_int_equal(in.p.at, strstr(text, "GET") - text);
                assert_false(in.p.wants_close);
        }
}

static void chunks_are_put_together_in_any_pieces(void **state)
{
        static const char text[] =
                "POST / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n"
                "3;name=value\r\nabc\r\n0004\r\ndefg\r\n0\r\nTrailer: x\r\n\r\nNEXT";

        (void)state;
        for (size_t step = 1; step <= strlen(text); step++) {
                _cleanup_(done)
                struct input in;

                assert_int_equal(feed(&in, text, strlen(text), step), HTTP_WHOLE);
                assert_body(&in, "abcdefg");
                assert_true(step == 1 || in.n >= in.p.at);
        }
}

/* However long it is, it costs no memory. */
static void a_body_without_meaning_is_dropped(void **state)
{
        char text[200000];
        _cleanup_(done)
        struct input in;
        size_t n;

        (void)state;
        memset(text, 'x', sizeof(text));
        n = (size_t)snprintf(text, sizeof(text),
                             "DELETE /k HTTP/1.1\r\nHost: h\r\nContent-Length: 150000\r\n\r\n");
        text[n] = 'x';
        assert_int_equal(feed(&in, text, n + 149999, 1000), HTTP_MORE);
        assert_int_equal(in.n, n);
        in.bytes[in.n++] = 'x';
        assert_int_equal(http_parse(&in.p, in.bytes, &in.n), HTTP_WHOLE);
        assert_int_equal(in.p.n_body, 0);
        assert_int_equal(in.p.method, HTTP_DELETE);
}

static void targets_may_be_absolute(void **state)
{
        static const struct {
                const char *target;
                const char *path;
        } cases[] = {
                { "http://h:1/a/b?x", "/a/b" },
                { "HTTP://h", "/" },
                { "http://h?x=1", "/" },
                { "//a", "//a" },
                { "/a?b?c", "/a" },
                { "/%2F", "//" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                char text[128];
                _cleanup_(done)
                struct input in;

                (void)snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n",
                               cases[i].target);
                assert_int_equal(parse(&in, text), HTTP_WHOLE);
                assert_string_equal(in.bytes + in.p.path, cases[i].path);
        }
}

static void connections_end_as_the_client_and_its_version_want(void **state)
{
        static const struct {
                const char *text;
                bool wants_close;
        } cases[] = {
                { "GET / HTTP/1.1\r\nHost: h\r\n\r\n", false },
                { "GET / HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n", true },
                { "GET / HTTP/1.1\r\nHost: h\r\nConnection: TE, close\r\n\r\n", true },
                { "GET / HTTP/1.0\r\n\r\n", true },
                { "GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n", false },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                _cleanup_(done)
                struct input in;

                assert_int_equal(parse(&in, cases[i].text), HTTP_WHOLE);
                assert_int_equal(in.p.wants_close, cases[i].wants_close);
        }
}

static void who_expects_a_hundred_waits_for_it_once(void **state)
{
        static const char text[] = "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\n"
                                   "Content-Length: 2\r\n\r\nab";
        size_t n_head = strlen(text) - 2;
        _cleanup_(done)
        struct input in;

        (void)state;
        assert_int_equal(feed(&in, text, n_head, n_head), HTTP_MORE);
        assert_true(http_parser_waits(&in.p, in.n));
        in.bytes[in.n++] = 'a';
        assert_int_equal(http_parse(&in.p, in.bytes, &in.n), HTTP_MORE);
        assert_false(http_parser_waits(&in.p, in.n));
}

static void what_could_be_understood_in_two_ways_is_refused(void **state)
{
#define GET "GET / HTTP/1.1\r\nHost: h\r\n"
        static const struct {
                const char *text;
                int status;
        } cases[] = {
                { "GET / HTTP/1.1\r\n\r\n", 400 }, /* no Host */
                { GET "Host: i\r\n\r\n", 400 },
                { GET "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400 },
                { GET "Content-Length: +1\r\n\r\n", 400 },
                { GET "Content-Length: 1,1\r\n\r\n", 400 },
                { GET "Content-Length:\r\n\r\n", 400 },
                { GET "Content-Length: 99999999999999999999\r\n\r\n", 413 },
                { GET "Content-Length: 4194305\r\n\r\n", 413 },
                { GET "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
                { GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
                { GET "Transfer-Encoding: gzip, chunked\r\n\r\n", 501 },
                { GET "Transfer-Encoding: chunked\r\n\r\nx\r\n", 400 },
                { GET "Transfer-Encoding: chunked\r\n\r\n\r\n", 400 },
                { GET "Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400 },
                { GET "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400 },
                { GET "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 413 },
                { GET " folded: x\r\n\r\n", 400 },
                { GET "Content-Length : 1\r\n\r\n", 400 },
                { GET "no colon\r\n\r\n", 400 },
                { GET ": x\r\n\r\n", 400 },
                { GET "X: a\rb\r\n\r\n", 400 },
                { "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
                { "GET  / HTTP/1.1\r\n\r\n", 400 },
                { "GET /a b HTTP/1.1\r\n\r\n", 400 },
                { "GET /\x01 HTTP/1.1\r\n\r\n", 400 },
                { "GET a HTTP/1.1\r\n\r\n", 400 },
                { "GET * HTTP/1.1\r\n\r\n", 400 },
                { "GET /%zz HTTP/1.1\r\n\r\n", 400 },
                { "GET /%4 HTTP/1.1\r\n\r\n", 400 },
                { "GET /%00 HTTP/1.1\r\n\r\n", 400 },
                { "GET /\r\n\r\n", 400 },
                { "GET / HTTP/11\r\n\r\n", 400 },
                { "GET / http/1.1\r\n\r\n", 400 },
                { "GET / HTTP/2.0\r\n\r\n", 505 },
                { "G\xC3T / HTTP/1.1\r\n\r\n", 400 },
                { "\x16\x03\x01\x02\n", 400 },
        };
#undef GET

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                int status = status_of(cases[i].text);

                if (status != cases[i].status)
                        print_error("%s", cases[i].text);
                assert_int_equal(status, cases[i].status);
        }
}

static void what_never_ends_is_refused(void **state)
{
        char *text = malloc(2 * HTTP_HEAD_MAX);
        _cleanup_(done)
        struct input target, header, trailer;
        int n;

        (void)state;
        assert_non_null(text);
        memset(text, 'x', 2 * HTTP_HEAD_MAX);
        memcpy(text, "GET /", 5);
        assert_int_equal(feed(&target, text, 2 * HTTP_HEAD_MAX, 1000), HTTP_BAD);
        assert_int_equal(target.p.status, 414);
        n = sprintf(text, "GET / HTTP/1.1\r\nX: ");
        text[n] = 'x';
        assert_int_equal(feed(&header, text, 2 * HTTP_HEAD_MAX, 1000), HTTP_BAD);
        assert_int_equal(header.p.status, 431);
        n = sprintf(text,
                    "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ");
        text[n] = 'x';
        assert_int_equal(feed(&trailer, text, 2 * HTTP_HEAD_MAX, 1000), HTTP_BAD);
        assert_int_equal(trailer.p.status, 431);
        free(text);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_request_is_the_same_in_any_pieces),
                cmocka_unit_test(chunks_are_put_together_in_any_pieces),
                cmocka_unit_test(a_body_without_meaning_is_dropped),
                cmocka_unit_test(targets_may_be_absolute),
                cmocka_unit_test(connections_end_as_the_client_and_its_version_want),
                cmocka_unit_test(who_expects_a_hundred_waits_for_it_once),
                cmocka_unit_test(what_could_be_understood_in_two_ways_is_refused),
                cmocka_unit_test(what_never_ends_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
