/* The byte buffer and its checked reader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "election/base/buffer.h"

static void what_was_written_is_read(void **state)
{
        struct buffer b = { 0 };
        struct reader r;
        char s[8];

        (void)state;
        buffer_put_u8(&b, 200);
        buffer_put_u16(&b, 65000);
        buffer_put_u32(&b, 4000000000);
        buffer_put_u64(&b, UINT64_MAX - 1);
        buffer_put_string(&b, "orders");
        r = reader_of(b.bytes, b.n);
        assert_int_equal(reader_get_u8(&r), 200);
        assert_int_equal(reader_get_u16(&r), 65000);
        assert_int_equal(reader_get_u32(&r), 4000000000);
        assert_true(reader_get_u64(&r) == UINT64_MAX - 1);
        reader_get_string(&r, s, sizeof(s));
        assert_string_equal(s, "orders");
        assert_true(reader_done(&r));
        buffer_done(&b);
}

static void reading_beyond_the_end_fails_for_good(void **state)
{
        struct reader r = reader_of("\x01\x02", 2);

        (void)state;
        assert_int_equal(reader_get_u32(&r), 0);
        assert_true(r.failed);
        assert_int_equal(reader_get_u8(&r), 0);
        assert_false(reader_done(&r));
}

static void string_that_does_not_fit_is_refused(void **state)
{
        struct buffer b = { 0 };
        struct reader r;
        char s[4];

        (void)state;
        buffer_put_string(&b, "four");
        r = reader_of(b.bytes, b.n);
        reader_get_string(&r, s, sizeof(s));
        assert_true(r.failed);
        assert_string_equal(s, "");
        buffer_done(&b);
}

static void string_with_a_nul_inside_is_refused(void **state)
{
        struct reader r = reader_of("\x03\0\0\0a\0b", 7);
        char s[8];

        (void)state;
        reader_get_string(&r, s, sizeof(s));
        assert_true(r.failed);
}

static void blob_longer_than_what_is_there_is_refused(void **state)
{
        struct reader r = reader_of("\xff\xff\xff\xff"
                                    "abc",
                                    7);
        size_t n;

        (void)state;
        (void)reader_get_blob(&r, &n);
        assert_true(r.failed);
        assert_int_equal(n, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_was_written_is_read),
                cmocka_unit_test(reading_beyond_the_end_fails_for_good),
                cmocka_unit_test(string_that_does_not_fit_is_refused),
                cmocka_unit_test(string_with_a_nul_inside_is_refused),
                cmocka_unit_test(blob_longer_than_what_is_there_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
