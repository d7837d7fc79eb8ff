/* Positions as text. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actions/postgres/lsn.h"

static void position_is_read_and_printed_alike(void **state)
{
        static const struct {
                const char *text;
                uint64_t lsn;
        } table[] = {
                { "0/0", 0 },
                { "0/3000060", 0x3000060 },
                { "1/0", 0x100000000 },
                { "16/B374D848", 0x16B374D848 },
                { "FFFFFFFF/FFFFFFFF", UINT64_MAX },
        };
        char printed[LSN_SIZE];
        uint64_t lsn;

        (void)state;
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                assert_int_equal(lsn_parse(table[i].text, &lsn), 0);
                assert_int_equal(lsn, table[i].lsn);
                lsn_print(lsn, printed);
                assert_string_equal(printed, table[i].text);
        }
        assert_int_equal(lsn_parse("a/ff", &lsn), 0);
        assert_int_equal(lsn, 0xa000000ff);
}

static void what_is_no_position_is_refused(void **state)
{
        static const char *const table[] = { "",     "/",     "0",   "0/",          "/0",  "0/0 ",
                                             " 0/0", "0/0/0", "g/0", "0/123456789", "-1/0" };
        uint64_t lsn = 7;

        (void)state;
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
                assert_int_equal(lsn_parse(table[i], &lsn), -EINVAL);
        assert_int_equal(lsn, 7);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(position_is_read_and_printed_alike),
                cmocka_unit_test(what_is_no_position_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
