/* postmaster.pid in all the states in which it is found. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actions/postgres/pidfile.h"

static void complete_file_is_read(void **state)
{
        static const char text[] = "1234\n/srv/data\n1700000000\n5433\n/run/postgresql\n*\n"
                                   "  5432001         5\nready   \n";
        struct pidfile p;

        (void)state;
        assert_int_equal(pidfile_parse(text, &p), 0);
        assert_int_equal(p.pid, 1234);
        assert_false(p.single_user);
        assert_string_equal(p.data_dir, "/srv/data");
        assert_int_equal(p.started, 1700000000);
        assert_int_equal(p.port, 5433);
        assert_int_equal(p.state, PIDFILE_READY);
}

static void file_of_a_starting_server_is_read(void **state)
{
        struct pidfile p;

        (void)state;
        assert_int_equal(pidfile_parse("1234\n/srv/data\n1700000000\n5432\n\n", &p), 0);
        assert_int_equal(p.port, 5432);
        assert_int_equal(p.state, PIDFILE_UNKNOWN);
        assert_int_equal(pidfile_parse("1\n/d\n1\n5432\n/s\n\n1 2\nstarting\n", &p), 0);
        assert_int_equal(p.state, PIDFILE_STARTING);
        assert_int_equal(pidfile_parse("1\n/d\n1\n5432\n/s\n\n1 2\nstopping\n", &p), 0);
        assert_int_equal(p.state, PIDFILE_STOPPING);
        assert_int_equal(pidfile_parse("1\n/d\n1\n5432\n/s\n\n1 2\nstandby \n", &p), 0);
        assert_int_equal(p.state, PIDFILE_STANDBY);
}

static void single_user_server_is_told_apart(void **state)
{
        struct pidfile p;

        (void)state;
        assert_int_equal(pidfile_parse("-77\n/srv/data\n1700000000\n\n", &p), 0);
        assert_int_equal(p.pid, 77);
        assert_true(p.single_user);
}

static void broken_file_is_refused(void **state)
{
        static const char *const table[] = {
                "",
                "1234",
                "1234\n",
                "1234\n/srv/data\n",
                "x\n/srv/data\n1\n",
                "0\n/srv/data\n1\n",
                "99999999999\n/srv/data\n1\n",
                "1\nsrv/data\n1\n",
                "1\n/srv/data\nx\n",
                "1\n/srv/data\n1\n99999\n",
        };
        struct pidfile p;

        (void)state;
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
                assert_int_equal(pidfile_parse(table[i], &p), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(complete_file_is_read),
                cmocka_unit_test(file_of_a_starting_server_is_read),
                cmocka_unit_test(single_user_server_is_told_apart),
                cmocka_unit_test(broken_file_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
