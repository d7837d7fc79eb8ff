/* Lines of JSON over a socket. */
#include "daemon/link.h"

#include <errno.h>
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

/* What one end has heard. */
struct ear {
        unsigned n_messages;
        uint64_t number; /* "n" of the last message */
        char type[32];
        bool closed;
        int closed_r;
        bool free_on_message;
        struct link *link;
};

struct fixture {
        struct event_base *base;
        int peer; /* the other side, by hand */
        struct ear ear;
};

static void on_message(struct link *l, const char *type, json_t *message, void *userdata)
{
        struct ear *ear = userdata;

        ear->n_messages++;
        (void)message_get_u64(message, "n", &ear->number);
        (void)snprintf(ear->type, sizeof(ear->type), "%s", type);
        if (ear->free_on_message) {
                link_free(l);
                ear->link = NULL;
        }
}

static void on_closed(struct link *l, int r, void *userdata)
{
        struct ear *ear = userdata;

        ear->closed = true;
        ear->closed_r = r;
        link_free(l);
        ear->link = NULL;
}

static const struct link_events events = { .message = on_message, .closed = on_closed };

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));
        int fds[2];

        assert_non_null(f);
        f->base = event_base_new();
        assert_non_null(f->base);
        assert_int_equal(link_pair(fds), 0);
        assert_int_equal(link_new(f->base, fds[0], 0, &events, &f->ear, &f->ear.link), 0);
        f->peer = fds[1];
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        link_free(f->ear.link);
        event_base_free(f->base);
        if (f->peer >= 0)
                assert_int_equal(close(f->peer), 0);
        free(f);
        return 0;
}

/* Lets the loop do all that can be done now. */
static void run(struct fixture *f)
{
        assert_true(event_base_loop(f->base, EVLOOP_NONBLOCK) >= 0);
}

static void say(struct fixture *f, const char *text)
{
        assert_int_equal(write(f->peer, text, strlen(text)), strlen(text));
        run(f);
}

static void hang_up(struct fixture *f)
{
        assert_int_equal(close(f->peer), 0);
        f->peer = -1;
        run(f);
}

static void whole_lines_arrive_in_order(void **state)
{
        struct fixture *f = *state;

        say(f, "{\"type\":\"one\",\"n\":1}\n{\"type\":\"two\",\"n\":2}\n{\"type\":\"th");
        assert_int_equal(f->ear.n_messages, 2);
        assert_string_equal(f->ear.type, "two");
        say(f, "ree\",\"n\":3}\n");
        assert_int_equal(f->ear.n_messages, 3);
        assert_int_equal(f->ear.number, 3);
        assert_string_equal(f->ear.type, "three");
        assert_false(f->ear.closed);
}

static void what_is_no_message_ends_the_conversation(void **state)
{
        static const char *const bad[] = {
                "no json\n",
                "[]\n",
                "{}\n",
                "{\"type\":1}\n",
                "{\"type\":\"a\",\"type\":\"b\"}\n",
                "\"text\"\n",
                "\n",
                "\xff\xfe\n",
                "{\"type\":\"a\\u0000b\"}\n",
        };

        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                struct fixture *f;

                assert_int_equal(setup(state), 0);
                f = *state;
                say(f, bad[i]);
                assert_true(f->ear.closed);
                assert_int_equal(f->ear.closed_r, -EBADMSG);
                assert_int_equal(f->ear.n_messages, 0);
                assert_int_equal(teardown(state), 0);
        }
}

/* A message of @n bytes with its newline, as a string for free(). */
static char *message_of(size_t n)
{
        static const char head[] = "{\"type\":\"big\",\"x\":\"";
        char *text = malloc(n + 1);

        assert_non_null(text);
        memset(text, 'x', n);
        memcpy(text, head, sizeof(head) - 1);
        memcpy(text + n - 3, "\"}\n", 4);
        return text;
}

static void say_long(struct fixture *f, const char *text)
{
        size_t n = strlen(text);

        while (n > 0 && !f->ear.closed) {
                ssize_t w = write(f->peer, text, n < 4096 ? n : 4096);

                assert_true(w > 0);
                text += w;
                n -= (size_t)w;
                run(f);
        }
        run(f);
}

static void the_longest_line_passes_and_one_byte_more_does_not(void **state)
{
        struct fixture *f = *state;
        char *good = message_of(LINK_LINE_MAX), *bad = message_of(LINK_LINE_MAX + 1);

        say_long(f, good);
        assert_int_equal(f->ear.n_messages, 1);
        assert_false(f->ear.closed);
        say_long(f, bad);
        assert_int_equal(f->ear.n_messages, 1);
        assert_true(f->ear.closed);
        assert_int_equal(f->ear.closed_r, -EBADMSG);
        free(good);
        free(bad);
}

static void a_line_without_end_is_not_collected_for_ever(void **state)
{
        struct fixture *f = *state;
        char *text = message_of(4 * LINK_LINE_MAX);

        say_long(f, text);
        assert_true(f->ear.closed);
        assert_int_equal(f->ear.closed_r, -EBADMSG);
        free(text);
}

static void hanging_up_is_heard_after_the_last_message(void **state)
{
        struct fixture *f = *state;

        assert_true(write(f->peer, "{\"type\":\"last\"}\n", 16) == 16);
        hang_up(f);
        run(f);
        assert_int_equal(f->ear.n_messages, 1);
        assert_true(f->ear.closed);
        assert_int_equal(f->ear.closed_r, 0);
}

static void a_callback_may_free_its_link(void **state)
{
        struct fixture *f = *state;

        f->ear.free_on_message = true;
        say(f, "{\"type\":\"one\"}\n{\"type\":\"two\"}\n");
        assert_int_equal(f->ear.n_messages, 1);
        assert_null(f->ear.link);
}

static void a_message_sent_is_a_line_at_once(void **state)
{
        struct fixture *f = *state;
        char text[64] = "";

        assert_int_equal(link_send(f->ear.link, json_pack("{s:s, s:i}", "type", "hi", "n", 7)), 0);
        assert_true(read(f->peer, text, sizeof(text) - 1) > 0); /* without a turn of the loop */
        assert_string_equal(text, "{\"type\":\"hi\",\"n\":7}\n");
        assert_true(link_is_flushed(f->ear.link));
}

static void numbers_keep_all_their_bits(void **state)
{
        struct fixture *f = *state;

        say(f, "{\"type\":\"n\",\"n\":9223372036854775807}\n");
        assert_true(f->ear.number == INT64_MAX);
}

static void a_peer_that_does_not_read_fills_the_queue_to_its_limit(void **state)
{
        struct fixture *f = *state;
        size_t n = 0;
        int r;

        do {
                char *text = message_of(LINK_LINE_MAX);

                r = link_send(f->ear.link, json_loads(text, 0, NULL));
                free(text);
                n++;
        } while (r == 0 && n < 1000);
        assert_int_equal(r, -ENOBUFS);
        assert_true((n - 2) * LINK_LINE_MAX <= LINK_QUEUE_MAX + 512 * 1024); /* socket buffer */
        assert_false(link_is_flushed(f->ear.link));
}

static void what_was_queued_arrives_when_the_peer_reads(void **state)
{
        struct fixture *f = *state;
        size_t n_sent = 0, n_read = 0;
        char bytes[65536];
        ssize_t n;

        for (int i = 0; i < 12; i++) {
                char *text = message_of(LINK_LINE_MAX);

                assert_int_equal(link_send(f->ear.link, json_loads(text, 0, NULL)), 0);
                n_sent += LINK_LINE_MAX;
                free(text);
        }
        for (int i = 0; i < 10000 && n_read < n_sent; i++) {
                n = read(f->peer, bytes, sizeof(bytes));
                n_read += n > 0 ? (size_t)n : 0;
                run(f);
        }
        assert_int_equal(n_read, n_sent);
        assert_true(link_is_flushed(f->ear.link));
}

static void sending_to_nobody_fails_without_a_signal(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(close(f->peer), 0);
        f->peer = -1;
        assert_int_equal(link_send(f->ear.link, json_pack("{s:s}", "type", "hi")), -EPIPE);
        run(f);
        assert_true(f->ear.closed);
}

static void too_long_a_message_is_refused_at_the_sender(void **state)
{
        struct fixture *f = *state;
        char *text = message_of(LINK_LINE_MAX + 1);

        assert_int_equal(link_send(f->ear.link, json_loads(text, 0, NULL)), -EMSGSIZE);
        assert_int_equal(link_send(f->ear.link, NULL), -ENOMEM);
        free(text);
}

static void fields_of_the_wrong_kind_are_not_there(void **state)
{
        json_t *message = json_loads("{\"a\":-1,\"b\":\"1\",\"c\":1.5,\"d\":true,\"e\":0}", 0,
                                     NULL);
        uint64_t n = 42;

        (void)state;
        assert_false(message_get_u64(message, "a", &n));
        assert_false(message_get_u64(message, "b", &n));
        assert_false(message_get_u64(message, "c", &n));
        assert_false(message_get_u64(message, "x", &n));
        assert_int_equal(n, 42);
        assert_true(message_get_u64(message, "e", &n));
        assert_int_equal(n, 0);
        assert_null(message_get_string(message, "a"));
        assert_true(message_is_true(message, "d"));
        assert_false(message_is_true(message, "e"));
        json_decref(message);
}

static void only_a_socket_is_inherited(void **state)
{
        struct fixture *f = *state;
        char number[16];

        assert_int_equal(unsetenv(LINK_FD_ENVIRONMENT), 0);
        assert_int_equal(link_fd_inherited(), -EBADF);
        assert_int_equal(setenv(LINK_FD_ENVIRONMENT, "7x", 1), 0);
        assert_int_equal(link_fd_inherited(), -EBADF);
        assert_int_equal(setenv(LINK_FD_ENVIRONMENT, "2", 1), 0);
        assert_int_equal(link_fd_inherited(), -EBADF);
        (void)snprintf(number, sizeof(number), "%d", f->peer);
        assert_int_equal(setenv(LINK_FD_ENVIRONMENT, number, 1), 0);
        assert_int_equal(link_fd_inherited(), f->peer);
        assert_null(getenv(LINK_FD_ENVIRONMENT));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(whole_lines_arrive_in_order),
                cmocka_unit_test(what_is_no_message_ends_the_conversation),
                TEST(the_longest_line_passes_and_one_byte_more_does_not),
                TEST(a_line_without_end_is_not_collected_for_ever),
                TEST(hanging_up_is_heard_after_the_last_message),
                TEST(a_callback_may_free_its_link),
                TEST(a_message_sent_is_a_line_at_once),
                TEST(numbers_keep_all_their_bits),
                TEST(a_peer_that_does_not_read_fills_the_queue_to_its_limit),
                TEST(what_was_queued_arrives_when_the_peer_reads),
                TEST(sending_to_nobody_fails_without_a_signal),
                TEST(too_long_a_message_is_refused_at_the_sender),
                cmocka_unit_test(fields_of_the_wrong_kind_are_not_there),
                TEST(only_a_socket_is_inherited),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
