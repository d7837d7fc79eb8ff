/* Children of the executor: start, end, descriptors, back-off. */
#include "daemon/executor-child.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/link.h"
#include "tests/lib/deadline.h"

enum {
        WAIT_MSEC = 5000,
};

struct fixture {
        struct event_base *base;
        struct child child;
        struct user self;
        unsigned n_ended;
        int status;
        int fds[2];
};

static void on_ended(struct child *c, int status, void *userdata)
{
        struct fixture *f = userdata;

        assert_false(child_is_running(c));
        f->n_ended++;
        f->status = status;
}

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        f->base = event_base_new();
        assert_non_null(f->base);
        assert_int_equal(event_base_priority_init(f->base, 2), 0);
        f->child = (struct child){ .pid_fd = -1, .on_ended = on_ended, .userdata = f };
        assert_int_equal(user_self(&f->self), 0);
        assert_int_equal(link_pair(f->fds), 0);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        if (child_is_running(&f->child)) {
                pid_t pid = f->child.pid;

                child_signal(&f->child, SIGKILL);
                child_abandon(&f->child);
                assert_int_equal(waitpid(pid, NULL, 0), pid);
        }
        assert_int_equal(close(f->fds[0]), 0);
        assert_int_equal(close(f->fds[1]), 0);
        event_base_free(f->base);
        free(f);
        return 0;
}

static bool has_ended(void *userdata)
{
        struct fixture *f = userdata;

        assert_true(event_base_loop(f->base, EVLOOP_NONBLOCK) >= 0);
        return f->n_ended > 0;
}

static void start_shell(struct fixture *f, const char *script, bool is_engine)
{
        const char *const argv[] = { "sh", "-c", script, NULL };
        const struct child_command command = {
                .path = "/bin/sh",
                .argv = argv,
                .user = &f->self,
                .fd = f->fds[1],
                .fd_is_stdio = !is_engine,
                .is_engine = is_engine,
        };

        f->n_ended = 0;
        assert_int_equal(child_start(f->base, &command, &f->child), 0);
        assert_true(child_is_running(&f->child));
}

/* Valgrind knows no pidfd; every kernel that we run on does. */
static bool under_valgrind(void)
{
        const char *preload = getenv("LD_PRELOAD");

        return preload && strstr(preload, "vgpreload");
}

static void the_end_of_a_child_is_seen(void **state)
{
        struct fixture *f = *state;

        start_shell(f, "exit 7", false);
        assert_true(deadline_wait(has_ended, f, WAIT_MSEC));
        assert_true(WIFEXITED(f->status));
        assert_int_equal(WEXITSTATUS(f->status), 7);
        assert_int_equal(f->n_ended, 1);
}

static void a_stopped_child_can_be_killed(void **state)
{
        struct fixture *f = *state;
        char words[128];

        start_shell(f, "kill -STOP $$", false);
        child_signal(&f->child, SIGKILL);
        assert_true(deadline_wait(has_ended, f, WAIT_MSEC));
        child_describe_end(f->status, words, sizeof(words));
        assert_non_null(strstr(words, "signal 9"));
}

static void a_missing_program_ends_with_127(void **state)
{
        struct fixture *f = *state;
        const char *const argv[] = { "nothing", NULL };
        const struct child_command command = {
                .path = "/nonexistent/nothing",
                .argv = argv,
                .user = &f->self,
                .fd = f->fds[1],
                .fd_is_stdio = true,
        };

        assert_int_equal(child_start(f->base, &command, &f->child), 0);
        assert_true(deadline_wait(has_ended, f, WAIT_MSEC));
        assert_int_equal(WEXITSTATUS(f->status), 127);
}

static size_t read_all(struct fixture *f, char *ret, size_t size)
{
        ssize_t n;

        assert_true(deadline_wait(has_ended, f, WAIT_MSEC));
        n = read(f->fds[0], ret, size - 1);
        assert_true(n >= 0);
        ret[n] = '\0';
        return (size_t)n;
}

static void a_child_speaks_through_its_standard_descriptors(void **state)
{
        struct fixture *f = *state;
        char text[64];

        assert_int_equal(write(f->fds[0], "hello\n", 6), 6);
        start_shell(f, "read x; echo $x back", false);
        (void)read_all(f, text, sizeof(text));
        assert_string_equal(text, "hello back\n");
}

static void an_agent_has_none_of_our_descriptors_and_environment(void **state)
{
        struct fixture *f = *state;
        char text[512];

        assert_int_equal(setenv("NOTIFY_SOCKET", "/secret", 1), 0);
        start_shell(f,
                    "i=3; while [ $i -lt 100 ]; do [ -e /proc/$$/fd/$i ] && echo fd $i; i=$((i+1));"
                    "done; echo $NOTIFY_SOCKET$FAILOVERD_LINK_FD; echo $HOME",
                    false);
        (void)read_all(f, text, sizeof(text));
        assert_null(strstr(text, "fd"));
        assert_non_null(strstr(text, f->self.home));
        assert_null(strstr(text, "secret"));
        assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
}

static void the_engine_finds_its_descriptor_by_number(void **state)
{
        struct fixture *f = *state;
        char text[64];

        start_shell(f, "eval \"echo found >&$FAILOVERD_LINK_FD\"", true);
        (void)read_all(f, text, sizeof(text));
        assert_string_equal(text, "found\n");
}

static void signals_are_as_after_a_fresh_start(void **state)
{
        struct fixture *f = *state;
        /* The C library keeps 32 and 33 to itself: they stay as whoever started the test left them. */
        const unsigned long long reserved = 3ULL << 31;
        unsigned long long blocked = 1, ignored = 1;
        char text[256];

        assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
        start_shell(f, "grep -E 'SigIgn|SigBlk' /proc/self/status", false);
        (void)read_all(f, text, sizeof(text));
        assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
        assert_int_equal(sscanf(text, "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
        assert_true((blocked & ~reserved) == 0);
        assert_true((ignored & ~reserved) == 0);
}

static int answer(const void *arg)
{
        return *(const int *)arg;
}

static void a_function_runs_in_a_copy(void **state)
{
        struct fixture *f = *state;
        int code = 23;

        assert_int_equal(child_run(f->base, &f->self, answer, &code, &f->child), 0);
        assert_true(deadline_wait(has_ended, f, WAIT_MSEC));
        assert_int_equal(WEXITSTATUS(f->status), 23);
}

static void only_repeated_quick_deaths_wait(void **state)
{
        struct fixture *f = *state;
        static const usec_t waits[] = { 0, 0, 50, 200, 1000, 1000, 1000 };

        for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
                assert_int_equal(f->child.n_quick_deaths, i);
                assert_int_equal(child_backoff(&f->child), waits[i] * USEC_PER_MSEC);
                start_shell(f, "exit 0", false);
                assert_true(deadline_wait(has_ended, f, WAIT_MSEC));
        }
        f->child.n_quick_deaths = 5;
        start_shell(f, "exit 0", false);
        f->child.started = INSTANT_NEVER; /* as if it had lived long */
        assert_true(deadline_wait(has_ended, f, WAIT_MSEC));
        assert_int_equal(child_backoff(&f->child), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(the_end_of_a_child_is_seen),
                TEST(a_stopped_child_can_be_killed),
                TEST(a_missing_program_ends_with_127),
                TEST(a_child_speaks_through_its_standard_descriptors),
                TEST(an_agent_has_none_of_our_descriptors_and_environment),
                TEST(the_engine_finds_its_descriptor_by_number),
                TEST(signals_are_as_after_a_fresh_start),
                TEST(a_function_runs_in_a_copy),
                TEST(only_repeated_quick_deaths_wait),
        };

        if (under_valgrind()) {
                print_message("left out: valgrind knows no pidfd\n");
                return 0;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
