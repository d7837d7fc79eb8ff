/* Timelines: their history files, and who descends from whom. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "actions/postgres/history.h"
#include "election/base/buffer.h"

static const char sample[] = "1\t0/3000000\tno recovery target specified\n"
                             "\n"
                             "# a comment\n"
                             "2\t0/5000148\tno recovery target specified\n"
                             "4\t1/10\tbefore 2000-01-01 00:00:00+00";

static void history_is_read(void **state)
{
        struct history h;

        (void)state;
        assert_int_equal(history_parse(sample, &h), 0);
        assert_int_equal(h.n, 3);
        assert_int_equal(history_find(&h, 1)->end, 0x3000000);
        assert_int_equal(history_find(&h, 2)->end, 0x5000148);
        assert_int_equal(history_find(&h, 4)->end, 0x100000010);
        assert_null(history_find(&h, 3));
        history_done(&h);
        assert_int_equal(history_parse("", &h), 0);
        assert_int_equal(h.n, 0);
        history_done(&h);
}

static void broken_history_is_refused(void **state)
{
        static const char *const table[] = {
                "1\n",
                "1\tx\n",
                "x\t0/1\n",
                "0\t0/1\n",
                "2\t0/1\tx\n1\t0/2\tx\n",
                "1\t0/1\tx\n1\t0/2\tx\n",
        };
        struct history h;

        (void)state;
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
                assert_int_equal(history_parse(table[i], &h), -EINVAL);
}

static void endless_history_is_refused(void **state)
{
        struct buffer b = { 0 };
        struct history h;
        char line[32];

        (void)state;
        for (unsigned i = 1; i <= HISTORY_MAX + 1; i++) {
                snprintf(line, sizeof(line), "%u\t0/%X\tx\n", i, i);
                buffer_put(&b, line, strlen(line));
        }
        buffer_put_u8(&b, '\0');
        assert_int_equal(history_parse((const char *)b.bytes, &h), -E2BIG);
        buffer_done(&b);
}

static void ancestor_may_follow_up_to_the_switch_and_not_beyond(void **state)
{
        struct history h;

        (void)state;
        assert_int_equal(history_parse(sample, &h), 0);
        assert_int_equal(history_compare(&h, 5, 5, UINT64_MAX), ANCESTRY_SAME);
        assert_int_equal(history_compare(&h, 5, 2, 0x5000147), ANCESTRY_CHILD_FOLLOWS);
        assert_int_equal(history_compare(&h, 5, 2, 0x5000148), ANCESTRY_CHILD_FOLLOWS);
        assert_int_equal(history_compare(&h, 5, 2, 0x5000149), ANCESTRY_DIVERGED);
        assert_int_equal(history_compare(&h, 5, 1, 0x5000000), ANCESTRY_DIVERGED);
        history_done(&h);
}

static void unknown_timeline_is_foreign(void **state)
{
        struct history h;

        (void)state;
        assert_int_equal(history_parse(sample, &h), 0);
        assert_int_equal(history_compare(&h, 5, 3, 0), ANCESTRY_FOREIGN);
        assert_int_equal(history_compare(&h, 5, 6, 0), ANCESTRY_FOREIGN);
        history_done(&h);
}

static void same_number_does_not_mean_same_timeline(void **state)
{
        struct history a, b, c;

        (void)state;
        assert_int_equal(history_parse("1\t0/3000000\tx\n", &a), 0);
        assert_int_equal(history_parse("1\t0/3000000\tx\n2\t0/4000000\tx\n", &b), 0);
        assert_int_equal(history_parse("1\t0/3000060\tx\n2\t0/4000000\tx\n", &c), 0);
        assert_true(history_same_start(&a, &b, 2));
        assert_true(history_same_start(&b, &a, 2));
        assert_false(history_same_start(&a, &c, 2));
        assert_false(history_same_start(&a, &b, 3));
        assert_false(history_same_start(&b, &a, 3));
        history_done(&a);
        history_done(&b);
        history_done(&c);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(history_is_read),
                cmocka_unit_test(broken_history_is_refused),
                cmocka_unit_test(endless_history_is_refused),
                cmocka_unit_test(ancestor_may_follow_up_to_the_switch_and_not_beyond),
                cmocka_unit_test(unknown_timeline_is_foreign),
                cmocka_unit_test(same_number_does_not_mean_same_timeline),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
