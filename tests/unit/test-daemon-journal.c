/* What the log writes to standard error when there is no journal. */
#include "daemon/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
        int saved_stderr;
        int file;
        char text[2 * LOG_LINE_MAX];
};

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
        f->saved_stderr = dup(STDERR_FILENO);
        f->file = memfd_create("log", MFD_CLOEXEC);
        assert_true(f->saved_stderr >= 0 && f->file >= 0);
        assert_true(dup2(f->file, STDERR_FILENO) >= 0);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        assert_true(dup2(f->saved_stderr, STDERR_FILENO) >= 0);
        assert_int_equal(close(f->saved_stderr), 0);
        assert_int_equal(close(f->file), 0);
        free(f);
        log_level_set(LOG_DEBUG);
        return 0;
}

static const char *written(struct fixture *f)
{
        ssize_t n = pread(f->file, f->text, sizeof(f->text) - 1, 0);

        assert_true(n >= 0);
        f->text[n] = '\0';
        return f->text;
}

static void an_error_tells_its_reason_and_is_returned(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(log_error(-ENOENT, "cannot open %s", "it"), -ENOENT);
        assert_non_null(strstr(written(f), "error: cannot open it: No such file or directory\n"));
}

static void a_line_begins_with_the_time_in_milliseconds(void **state)
{
        struct fixture *f = *state;
        unsigned year, month, day, hour, minute, second, msec;

        log_info("hello");
        assert_int_equal(sscanf(written(f), "%4u-%2u-%2u %2u:%2u:%2u.%3u ", &year, &month, &day,
                                &hour, &minute, &second, &msec),
                         7);
        assert_non_null(strstr(f->text, "hello\n"));
}

static void fields_that_are_set_are_shown(void **state)
{
        struct fixture *f = *state;

        log_event(&(struct log_fields){ .priority = LOG_ALERT,
                                        .service = "orders",
                                        .epoch = 7,
                                        .role = "master",
                                        .took = 1500 },
                  "let go");
        assert_non_null(
                strstr(written(f), "ALARM: service=orders epoch=7 role=master let go (1.5 ms)\n"));
}

static void what_is_less_important_than_the_level_is_dropped(void **state)
{
        struct fixture *f = *state;

        log_level_set(LOG_WARNING);
        log_info("not this");
        log_debug("nor that");
        (void)log_warning(0, "but this");
        assert_null(strstr(written(f), "not this"));
        assert_null(strstr(f->text, "nor that"));
        assert_non_null(strstr(f->text, "warning: but this\n"));
}

static void too_long_a_text_is_cut(void **state)
{
        struct fixture *f = *state;
        char text[2 * LOG_LINE_MAX];

        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        (void)log_error(-EIO, "%s", text);
        assert_true(strlen(written(f)) < LOG_LINE_MAX + 100);
        assert_int_equal(f->text[strlen(f->text) - 1], '\n');
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(an_error_tells_its_reason_and_is_returned),
                TEST(a_line_begins_with_the_time_in_milliseconds),
                TEST(fields_that_are_set_are_shown),
                TEST(what_is_less_important_than_the_level_is_dropped),
                TEST(too_long_a_text_is_cut),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
