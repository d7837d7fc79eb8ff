/* Children with a deadline, limited output, and no way to be left behind. */
#include <event2/event.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "actions/process.h"
#include "tests/lib/deadline.h"

struct run {
        struct event_base *base;
        bool over;
        bool freed;
        unsigned n_lines;
        char last[256];
        struct process_result result;
        char output[PROCESS_OUTPUT_MAX + 1];
};

static void on_done(const struct process_result *result, void *userdata)
{
        struct run *r = userdata;

        r->over = true;
        r->result = *result;
        snprintf(r->output, sizeof(r->output), "%s", result->output);
        event_base_loopbreak(r->base);
}

static void on_line(const char *line, void *userdata)
{
        struct run *r = userdata;

        r->n_lines++;
        snprintf(r->last, sizeof(r->last), "%s", line);
}

static void on_free(void *userdata)
{
        struct run *r = userdata;

        r->freed = true;
}

/* Some tools that programs are tested under do not know the system call. */
static bool have_pidfd(void)
{
        int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

        if (fd >= 0)
                close(fd);
        return fd >= 0;
}

static int setup(void **state)
{
        struct run *r = calloc(1, sizeof(*r));

        r->base = event_base_new();
        *state = r;
        return r->base ? 0 : -1;
}

static int teardown(void **state)
{
        struct run *r = *state;

        event_base_free(r->base);
        free(r);
        return 0;
}

static struct process_options shell(struct run *r, const char *const *argv, usec_t timeout)
{
        return (struct process_options){ .argv = argv,
                                         .timeout = timeout,
                                         .on_done = on_done,
                                         .on_free = on_free,
                                         .userdata = r };
}

static void run_to_end(struct run *r, const struct process_options *options)
{
        struct process *p;

        if (!have_pidfd())
                skip();

        assert_int_equal(process_start(r->base, options, &p), 0);
        event_base_dispatch(r->base);
        assert_true(r->over && r->freed);
}

static void output_and_exit_code_are_told(void **state)
{
        static const char *const argv[] = { "/bin/sh", "-c", "echo out; echo err >&2; exit 3",
                                            NULL };
        struct process_options options = shell(*state, argv, 10 * USEC_PER_SEC);
        struct run *r = *state;

        run_to_end(r, &options);
        assert_int_equal(r->result.exit_code, 3);
        assert_int_equal(r->result.signal, 0);
        assert_false(r->result.timed_out);
        assert_string_equal(r->output, "out\nerr");
}

static void missing_program_is_said(void **state)
{
        static const char *const argv[] = { "/nowhere/program", NULL };
        struct process_options options = shell(*state, argv, 10 * USEC_PER_SEC);
        struct run *r = *state;

        run_to_end(r, &options);
        assert_int_equal(r->result.exit_code, 127);
        assert_non_null(strstr(r->output, "/nowhere/program"));
}

static void flood_is_cut(void **state)
{
        static const char *const argv[] = { "/bin/sh", "-c",
                                            "head -c 1000000 /dev/zero | tr '\\0' x", NULL };
        struct process_options options = shell(*state, argv, 20 * USEC_PER_SEC);
        struct run *r = *state;

        run_to_end(r, &options);
        assert_int_equal(r->result.exit_code, 0);
        assert_int_equal(strlen(r->output), PROCESS_OUTPUT_MAX);
}

static void late_program_is_ended_with_its_children(void **state)
{
        static const char *const argv[] = { "/bin/sh", "-c",
                                            "trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000",
                                            NULL };
        struct process_options options = shell(*state, argv, 200 * USEC_PER_MSEC);
        struct run *r = *state;
        uint64_t began = deadline_now_msec();

        options.grace = 100 * USEC_PER_MSEC;
        run_to_end(r, &options);
        assert_true(r->result.timed_out);
        assert_int_equal(r->result.signal, SIGKILL);
        assert_in_range(deadline_now_msec() - began, 250, 5000);
        /* The grandchild is gone as well, or a zombie that its new parent has not seen yet. */
        char path[64], text[512] = "";
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/stat", atoi(r->output));
        for (uint64_t until = deadline_now_msec() + 5000; deadline_now_msec() < until;) {
                f = fopen(path, "r");
                if (!f)
                        return;
                if (!fgets(text, sizeof(text), f))
                        text[0] = '\0';
                fclose(f);
                if (strstr(text, ") Z"))
                        return;
        }
        fail_msg("the grandchild lives: %s", text);
}

static void cancelled_program_calls_nobody_back(void **state)
{
        static const char *const argv[] = { "/bin/sleep", "1000", NULL };
        struct process_options options = shell(*state, argv, USEC_INFINITY);
        struct run *r = *state;
        struct process *p;

        if (!have_pidfd())
                skip();
        assert_int_equal(process_start(r->base, &options, &p), 0);
        process_cancel(p);
        event_base_dispatch(r->base); /* ends when nothing is left to wait for */
        assert_false(r->over);
        assert_true(r->freed);
}

static int say_lines(void *arg)
{
        int n = *(int *)arg;

        for (int i = 0; i < n; i++)
                printf("line %d\n", i);
        for (int i = 0; i < 2 * PROCESS_LINE_MAX; i++)
                putchar('x'); /* too long, so it is left out */
        printf("\nlast\n");
        fflush(stdout);
        return 7;
}

static void function_runs_in_a_child_and_its_lines_come_one_by_one(void **state)
{
        struct run *r = *state;
        int n = 3000;
        struct process_options options = {
                .function = say_lines,
                .arg = &n,
                .timeout = 20 * USEC_PER_SEC,
                .on_line = on_line,
                .on_done = on_done,
                .on_free = on_free,
                .userdata = r,
        };

        run_to_end(r, &options);
        assert_int_equal(r->result.exit_code, 7);
        assert_int_equal(r->n_lines, n + 1);
        assert_string_equal(r->last, "last");
}

static void child_sees_only_a_small_environment(void **state)
{
        static const char *const argv[] = { "/usr/bin/env", NULL };
        struct process_options options = shell(*state, argv, 10 * USEC_PER_SEC);
        struct run *r = *state;

        setenv("NOTIFY_SOCKET", "/run/x", 1);
        run_to_end(r, &options);
        assert_null(strstr(r->output, "NOTIFY_SOCKET"));
        assert_non_null(strstr(r->output, "LC_ALL=C"));
        unsetenv("NOTIFY_SOCKET");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(output_and_exit_code_are_told, setup, teardown),
                cmocka_unit_test_setup_teardown(missing_program_is_said, setup, teardown),
                cmocka_unit_test_setup_teardown(flood_is_cut, setup, teardown),
                cmocka_unit_test_setup_teardown(late_program_is_ended_with_its_children, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(cancelled_program_calls_nobody_back, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(
                        function_runs_in_a_child_and_its_lines_come_one_by_one, setup, teardown),
                cmocka_unit_test_setup_teardown(child_sees_only_a_small_environment, setup,
                                                teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
