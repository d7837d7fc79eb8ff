/* CRC-32C against the published test vectors (RFC 3720, appendix B.4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "election/base/crc32c.h"

static void published_vectors_are_met(void **state)
{
        uint8_t bytes[32];

        (void)state;
        memset(bytes, 0, sizeof(bytes));
        assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x8a9136aa);
        memset(bytes, 0xff, sizeof(bytes));
        assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43);
        for (unsigned i = 0; i < 32; i++)
                bytes[i] = (uint8_t)i;
        assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x46dd794e);
        assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
}

static void sum_can_be_continued(void **state)
{
        (void)state;
        assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}

static void instruction_and_tables_agree(void **state)
{
        uint8_t bytes[300];

        (void)state;
        for (unsigned i = 0; i < sizeof(bytes); i++)
                bytes[i] = (uint8_t)(i * i + i / 7);
        for (unsigned from = 0; from < 9; from++)
                for (unsigned n = 0; n + from <= sizeof(bytes); n++)
                        assert_int_equal(crc32c(n, bytes + from, n),
                                         crc32c_by_tables(n, bytes + from, n));
        assert_int_equal(crc32c_by_tables(0, "123456789", 9), 0xe3069283);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(published_vectors_are_met),
                cmocka_unit_test(sum_can_be_continued),
                cmocka_unit_test(instruction_and_tables_agree),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
