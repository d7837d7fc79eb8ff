/* The output of pg_controldata. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "actions/postgres/controldata.h"

/* As PostgreSQL 15 prints it, shortened. */
static const char format[] =
        "pg_control version number:            1300\n"
        "Database system identifier:           7301234567890123456\n"
        "Database cluster state:               %s\n"
        "pg_control last modified:             Thu 01 Jan 2026 10:11:12 AM UTC\n"
        "Latest checkpoint location:           0/5000028\n"
        "Latest checkpoint's REDO location:    0/5000028\n"
        "Latest checkpoint's TimeLineID:       3\n"
        "Latest checkpoint's PrevTimeLineID:   3\n"
        "Minimum recovery ending location:     0/6000000\n"
        "Min recovery ending loc's timeline:   4\n"
        "wal_log_hints setting:                on\n"
        "Bytes per WAL segment:                16777216\n"
        "Data page checksum version:           0\n";

static int parse(const char *state, struct controldata *ret)
{
        char text[2048];

        snprintf(text, sizeof(text), format, state);
        return controldata_parse(text, ret);
}

static void values_are_found(void **state)
{
        struct controldata c;

        (void)state;
        assert_int_equal(parse("shut down", &c), 0);
        assert_string_equal(c.system_id, "7301234567890123456");
        assert_int_equal(c.checkpoint, 0x5000028);
        assert_int_equal(c.timeline, 3);
        assert_int_equal(c.recovery_end, 0x6000000);
        assert_int_equal(c.recovery_end_timeline, 4);
        assert_int_equal(c.segment_size, 16 * 1024 * 1024);
        assert_true(c.wal_log_hints);
        assert_false(c.checksums);
}

static void state_tells_role_and_cleanliness(void **state)
{
        static const struct {
                const char *words;
                enum control_state state;
                bool clean, primary;
        } table[] = {
                { "shut down", CONTROL_SHUT_DOWN, true, true },
                { "shut down in recovery", CONTROL_SHUT_DOWN_IN_RECOVERY, true, false },
                { "in production", CONTROL_IN_PRODUCTION, false, true },
                { "shutting down", CONTROL_IN_PRODUCTION, false, true },
                { "in crash recovery", CONTROL_IN_PRODUCTION, false, true },
                { "in archive recovery", CONTROL_IN_RECOVERY, false, false },
                { "something new", CONTROL_UNKNOWN, false, false },
        };
        struct controldata c;

        (void)state;
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                assert_int_equal(parse(table[i].words, &c), 0);
                assert_int_equal(c.state, table[i].state);
                assert_int_equal(controldata_is_clean(&c), table[i].clean);
                assert_int_equal(controldata_was_primary(&c), table[i].primary);
        }
}

static void missing_line_is_refused(void **state)
{
        static const char *const needed[] = { "Database system identifier",
                                              "Database cluster state",
                                              "Latest checkpoint location",
                                              "Latest checkpoint's TimeLineID" };
        struct controldata c;
        char text[2048];

        (void)state;
        for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
                snprintf(text, sizeof(text), format, "shut down");
                *strstr(text, needed[i]) = 'x';
                assert_int_equal(controldata_parse(text, &c), -EINVAL);
        }
        assert_int_equal(controldata_parse("", &c), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(values_are_found),
                cmocka_unit_test(state_tells_role_and_cleanliness),
                cmocka_unit_test(missing_line_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
