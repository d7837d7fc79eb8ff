/* JSON objects over pipes. */
#include <errno.h>
#include <event2/event.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "actions/lines.h"

struct peer {
        struct event_base *base;
        struct lines *lines;
        int in[2];
        int out[2];
        unsigned n_objects, n_garbage, n_ends;
        int error;
        json_int_t sum;
        bool free_at_first;
        bool free_at_end;
};

static void on_object(const json_t *object, void *userdata)
{
        struct peer *p = userdata;

        p->n_objects++;
        p->sum += json_integer_value(json_object_get(object, "n"));
        if (p->free_at_first) {
                lines_free(p->lines);
                p->lines = NULL;
        }
}

static void on_garbage(const char *why, void *userdata)
{
        struct peer *p = userdata;

        assert_non_null(why);
        p->n_garbage++;
}

static void on_end(int error, void *userdata)
{
        struct peer *p = userdata;

        p->n_ends++;
        p->error = error;
        if (p->free_at_end) {
                lines_free(p->lines);
                p->lines = NULL;
        }
}

static int setup(void **state)
{
        static const struct lines_events events = { .on_object = on_object,
                                                    .on_garbage = on_garbage,
                                                    .on_end = on_end };
        struct peer *p = calloc(1, sizeof(*p));

        *state = p;
        p->base = event_base_new();
        if (pipe(p->in) < 0 || pipe(p->out) < 0)
                return -1;
        return lines_new(p->base, p->in[0], p->out[1], &events, p, &p->lines);
}

static int teardown(void **state)
{
        struct peer *p = *state;

        lines_free(p->lines);
        for (unsigned i = 0; i < 2; i++) {
                close(p->in[i]);
                close(p->out[i]);
        }
        event_base_free(p->base);
        free(p);
        return 0;
}

static void give(struct peer *p, const char *text)
{
        assert_int_equal(write(p->in[1], text, strlen(text)), strlen(text));
        event_base_loop(p->base, EVLOOP_NONBLOCK);
}

static void objects_come_one_by_one_however_they_are_cut(void **state)
{
        struct peer *p = *state;

        give(p, "{\"n\":1}\n{\"n\":2}\n{\"n\"");
        assert_int_equal(p->n_objects, 2);
        give(p, ":3}");
        assert_int_equal(p->n_objects, 2);
        give(p, "\n\n");
        assert_int_equal(p->n_objects, 3);
        assert_int_equal(p->sum, 6);
        assert_int_equal(p->n_garbage, 0);
}

static void garbage_is_skipped(void **state)
{
        struct peer *p = *state;

        give(p, "{\n[1]\n\"x\"\n{\"n\":1}{\"n\":1}\n{\"n\":5}\n");
        assert_int_equal(p->n_garbage, 4);
        assert_int_equal(p->sum, 5);
}

static void endless_line_ends_the_reading(void **state)
{
        char *line = malloc(8192 + 1);
        struct peer *p = *state;

        memset(line, 'x', 8192);
        line[8192] = '\0';
        for (unsigned i = 0; i < LINES_LINE_MAX / 8192 + 1; i++)
                give(p, line);
        free(line);
        assert_int_equal(p->n_ends, 1);
        assert_int_equal(p->error, -EMSGSIZE);
}

/* An object of @n bytes, most of them blanks, and its newline, as one piece of what comes. */
static void give_object_of(struct peer *p, size_t n)
{
        char *line = malloc(n + 2);

        assert_non_null(line);
        memset(line, ' ', n);
        memcpy(line, "{\"n\":1", 6);
        memcpy(line + n - 1, "}\n", 3);
        for (size_t at = 0; at < n + 1; at += 4096) {
                char piece[4097] = "";

                memcpy(piece, line + at, n + 1 - at < 4096 ? n + 1 - at : 4096);
                give(p, piece);
        }
        free(line);
}

static void longest_line_is_heard(void **state)
{
        struct peer *p = *state;

        give_object_of(p, LINES_LINE_MAX);
        assert_int_equal(p->n_objects, 1);
        assert_int_equal(p->n_ends, 0);
}

/* Its newline comes with the bytes that are too many. */
static void line_a_little_too_long_ends_the_reading(void **state)
{
        struct peer *p = *state;

        give_object_of(p, LINES_LINE_MAX + 1);
        assert_int_equal(p->n_objects, 0);
        assert_int_equal(p->n_ends, 1);
        assert_int_equal(p->error, -EMSGSIZE);
}

static void reader_may_free_it_at_the_end_of_an_endless_line(void **state)
{
        struct peer *p = *state;

        p->free_at_end = true;
        give_object_of(p, LINES_LINE_MAX + 4096);
        assert_int_equal(p->n_ends, 1);
        assert_null(p->lines);
}

static void end_of_input_is_told_once(void **state)
{
        struct peer *p = *state;

        give(p, "{\"n\":1}\n{\"n\":2}");
        close(p->in[1]);
        event_base_loop(p->base, EVLOOP_NONBLOCK);
        event_base_loop(p->base, EVLOOP_NONBLOCK);
        assert_int_equal(p->n_ends, 1);
        assert_int_equal(p->error, 0);
        assert_int_equal(p->n_objects, 1);
        p->in[1] = dup(p->in[0]); /* for the teardown to close */
}

static void reader_may_free_it_in_a_callback(void **state)
{
        struct peer *p = *state;

        p->free_at_first = true;
        give(p, "{\"n\":1}\n{\"n\":2}\n");
        assert_int_equal(p->n_objects, 1);
}

static void slow_reader_gets_everything_up_to_a_limit(void **state)
{
        static char bytes[4 * LINES_UNSENT_MAX];
        struct peer *p = *state;
        unsigned n_sent = 0, n_read = 0;
        int r;

        do
                r = lines_send(p->lines, json_pack("{s:i}", "n", 123456789));
        while (r == 0 && ++n_sent < 1000000);
        assert_int_equal(r, -ENOBUFS);
        for (unsigned i = 0; i < 100000 && n_read < n_sent; i++) {
                ssize_t n = read(p->out[0], bytes, sizeof(bytes));

                for (ssize_t k = 0; k < n; k++)
                        n_read += bytes[k] == '\n';
                event_base_loop(p->base, EVLOOP_NONBLOCK);
        }
        assert_int_equal(n_read, n_sent);
        assert_int_equal(lines_send(p->lines, json_object()), 0);
        assert_int_equal(lines_send(p->lines, NULL), -ENOMEM);
}

static void reader_that_went_away_is_an_error(void **state)
{
        struct peer *p = *state;

        signal(SIGPIPE, SIG_IGN);
        close(p->out[0]);
        assert_int_equal(lines_send(p->lines, json_object()), 0);
        assert_int_equal(lines_send(p->lines, json_object()), -EPIPE);
        p->out[0] = dup(p->out[1]); /* for the teardown to close */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(objects_come_one_by_one_however_they_are_cut, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(garbage_is_skipped, setup, teardown),
                cmocka_unit_test_setup_teardown(endless_line_ends_the_reading, setup, teardown),
                cmocka_unit_test_setup_teardown(longest_line_is_heard, setup, teardown),
                cmocka_unit_test_setup_teardown(line_a_little_too_long_ends_the_reading, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(reader_may_free_it_at_the_end_of_an_endless_line,
                                                setup, teardown),
                cmocka_unit_test_setup_teardown(end_of_input_is_told_once, setup, teardown),
                cmocka_unit_test_setup_teardown(reader_may_free_it_in_a_callback, setup, teardown),
                cmocka_unit_test_setup_teardown(slow_reader_gets_everything_up_to_a_limit, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(reader_that_went_away_is_an_error, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
