/* The guard of "lock": it ends a command, and all that the command has started, by itself. */
#include <errno.h>
#include <poll.h>
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

#include "daemon/failoverctl/ctl.h"
#include "daemon/failoverctl/guard.h"

#define LONG (30 * USEC_PER_SEC)
#define SHORT (100 * USEC_PER_MSEC)
/* A deadline that does not come before a guard is started on such a machine. */
#define SOON (800 * USEC_PER_MSEC)
/* What a busy machine may take to run a few shells. */
#define PATIENCE (10 * USEC_PER_SEC)

static struct guard_times in(usec_t term, usec_t kill)
{
        struct instant now = ctl_lease_now();

        return (struct guard_times){ instant_after(now, term), instant_after(now, kill), SHORT };
}

static void start(struct guard *g, const char *script, struct guard_times times)
{
        char *program[] = { (char *)"sh", (char *)"-c", (char *)script, NULL };

        assert_int_equal(guard_start(g, program, times), 0);
}

/* Waits for news; the time that it took is returned. */
static usec_t wait_for_news(struct guard *g, enum guard_news *news, int *status)
{
        usec_t began = ctl_now();

        while ((*news = guard_read(g, status)) == GUARD_NOTHING) {
                struct pollfd p = { .fd = g->socket, .events = POLLIN };

                assert_true(ctl_now() - began < PATIENCE);
                (void)poll(&p, 1, 1000);
        }
        return ctl_now() - began;
}

static int end_of(struct guard *g)
{
        enum guard_news news;
        int status = 0;

        (void)wait_for_news(g, &news, &status);
        assert_int_equal(news, GUARD_ENDED);
        guard_done(g);
        return status;
}

/* A pipe that all processes of a command hold open: its end is that of the last one. */
static int hold_pipe(void)
{
        int ends[2];

        assert_int_equal(pipe(ends), 0);
        assert_int_equal(dup2(ends[1], 9), 9); /* a number that a shell can name */
        close(ends[1]);
        return ends[0];
}

/* Reads until all who hold it are gone; returns the first byte. */
static char wait_for_the_last(int fd)
{
        struct pollfd p = { .fd = fd, .events = POLLIN };
        char byte = 0, rest[64];

        close(9);
        assert_int_equal(poll(&p, 1, (int)(PATIENCE / USEC_PER_MSEC)), 1);
        (void)!read(fd, &byte, 1);
        do
                assert_int_equal(poll(&p, 1, (int)(PATIENCE / USEC_PER_MSEC)), 1);
        while (read(fd, rest, sizeof(rest)) > 0);
        close(fd);
        return byte;
}

static void wait_for_byte(int fd)
{
        char byte;

        assert_int_equal(read(fd, &byte, 1), 1);
}

static void the_status_of_the_command_is_reported(void **state)
{
        struct guard g;

        (void)state;
        start(&g, "exit 7", in(LONG, LONG));
        assert_int_equal(WEXITSTATUS(end_of(&g)), 7);
        start(&g, "kill -USR1 $$", in(LONG, LONG));
        assert_int_equal(WTERMSIG(end_of(&g)), SIGUSR1);
}

static void a_command_that_cannot_be_run_is_127(void **state)
{
        char *program[] = { (char *)"/nonexistent", NULL };
        struct guard g;

        (void)state;
        assert_int_equal(guard_start(&g, program, in(LONG, LONG)), 0);
        assert_int_equal(WEXITSTATUS(end_of(&g)), 127);
}

static void no_command_is_started_when_its_time_is_over(void **state)
{
        int fd = hold_pipe();
        struct guard g;

        (void)state;
        start(&g, "echo x >&9", in(0, LONG));
        assert_int_not_equal(end_of(&g), 0);
        assert_int_equal(wait_for_the_last(fd), 0);
}

static void the_deadline_ends_the_command_with_term(void **state)
{
        struct guard g;
        usec_t began = ctl_now();

        (void)state;
        start(&g, "sleep 60", in(SOON, LONG));
        assert_int_equal(WTERMSIG(end_of(&g)), SIGTERM);
        assert_true(ctl_now() - began >= SOON);
}

static void who_does_not_listen_is_killed(void **state)
{
        int fd = hold_pipe();
        struct guard g;

        (void)state;
        start(&g, "trap '' TERM; echo x >&9; while :; do sleep 1; done", in(LONG, LONG));
        wait_for_byte(fd);
        guard_end(&g, false);
        assert_int_equal(WTERMSIG(end_of(&g)), SIGKILL);
        (void)wait_for_the_last(fd);
}

static void a_stopped_command_is_ended(void **state)
{
        struct guard g;

        (void)state;
        start(&g, "kill -STOP $$", in(SOON, LONG));
        assert_true(WIFSIGNALED(end_of(&g)));
}

static void a_confirmed_renewal_moves_the_deadline(void **state)
{
        int fd = hold_pipe();
        struct guard g;

        (void)state;
        start(&g, "sleep 1.2; echo x >&9", in(SOON, SOON));
        guard_hold(&g, in(LONG, LONG));
        assert_int_equal(end_of(&g), 0);
        assert_int_equal(wait_for_the_last(fd), 'x');
}

static void nothing_is_given_back_to_a_command_that_is_being_ended(void **state)
{
        int fd = hold_pipe();
        struct guard g;

        (void)state;
        start(&g, "trap '' TERM; echo x >&9; while :; do sleep 1; done", in(LONG, LONG));
        wait_for_byte(fd);
        guard_end(&g, false);
        guard_hold(&g, in(LONG, LONG));
        assert_int_equal(WTERMSIG(end_of(&g)), SIGKILL);
        (void)wait_for_the_last(fd);
}

static void what_the_command_leaves_behind_is_ended(void **state)
{
        int fd = hold_pipe();
        struct guard g;

        (void)state;
        start(&g,
              "sleep 60 & setsid -f sh -c 'trap \"\" TERM; echo x >&9; while :; do sleep 1; done'; "
              "exit 3",
              in(LONG, LONG));
        assert_int_equal(WEXITSTATUS(end_of(&g)), 3);
        (void)wait_for_the_last(fd);
}

static void a_hard_end_asks_nobody(void **state)
{
        int fd = hold_pipe();
        struct guard g;

        (void)state;
        start(&g, "trap 'exit 0' TERM; echo x >&9; while :; do sleep 0.01; done", in(LONG, LONG));
        wait_for_byte(fd);
        guard_end(&g, true);
        assert_int_equal(WTERMSIG(end_of(&g)), SIGKILL);
        (void)wait_for_the_last(fd);
}

static void when_the_guard_dies_its_command_is_killed(void **state)
{
        int fd = hold_pipe(), status;
        enum guard_news news;
        struct guard g;
        usec_t began;

        (void)state;
        start(&g, "setsid -f sleep 60; sleep 61 & echo x >&9; trap '' TERM; while :; do wait; done",
              in(LONG, LONG));
        wait_for_byte(fd);
        assert_int_equal(kill(g.pid, SIGKILL), 0);
        (void)wait_for_news(&g, &news, &status);
        assert_int_equal(news, GUARD_DIED);
        for (began = ctl_now(); !guard_kill(&g); ctl_pause(USEC_PER_MSEC))
                assert_true(ctl_now() - began < PATIENCE);
        (void)wait_for_the_last(fd);
        guard_done(&g);
}

static void a_stopped_guard_is_killed_with_its_command(void **state)
{
        int fd = hold_pipe();
        struct guard g;
        usec_t began;
        int status;

        (void)state;
        start(&g, "echo x >&9; sleep 60", in(LONG, LONG));
        wait_for_byte(fd);
        assert_int_equal(guard_read(&g, &status), GUARD_NOTHING);
        assert_int_equal(kill(g.pid, SIGSTOP), 0);
        for (began = ctl_now(); !guard_kill(&g); ctl_pause(USEC_PER_MSEC))
                assert_true(ctl_now() - began < PATIENCE);
        (void)wait_for_the_last(fd);
        guard_done(&g);
}

static void when_its_owner_dies_the_guard_ends_the_command(void **state)
{
        int fd = hold_pipe();
        pid_t owner = fork();
        int status;

        (void)state;
        assert_true(owner >= 0);
        if (owner == 0) {
                struct guard g;

                start(&g, "trap '' TERM; sleep 60 & echo x >&9; while :; do wait; done",
                      in(LONG, LONG));
                wait_for_byte(fd);
                (void)raise(SIGKILL);
        }
        assert_int_equal(waitpid(owner, &status, 0), owner);
        assert_int_equal(WTERMSIG(status), SIGKILL);
        (void)wait_for_the_last(fd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_status_of_the_command_is_reported),
                cmocka_unit_test(a_command_that_cannot_be_run_is_127),
                cmocka_unit_test(no_command_is_started_when_its_time_is_over),
                cmocka_unit_test(the_deadline_ends_the_command_with_term),
                cmocka_unit_test(who_does_not_listen_is_killed),
                cmocka_unit_test(a_stopped_command_is_ended),
                cmocka_unit_test(a_confirmed_renewal_moves_the_deadline),
                cmocka_unit_test(nothing_is_given_back_to_a_command_that_is_being_ended),
                cmocka_unit_test(what_the_command_leaves_behind_is_ended),
                cmocka_unit_test(a_hard_end_asks_nobody),
                cmocka_unit_test(when_the_guard_dies_its_command_is_killed),
                cmocka_unit_test(a_stopped_guard_is_killed_with_its_command),
                cmocka_unit_test(when_its_owner_dies_the_guard_ends_the_command),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
