/* The chain of deadlines against the worked settings for TTLs of 10 s, 3 s and 1 s. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "election/base/chain.h"

#define MSEC(n) ((usec_t)(n)*USEC_PER_MSEC)

static void worked_settings_come_out_to_the_millisecond(void **state)
{
        static const struct {
                usec_t ttl, soft, hard, holder_valid, guard, end, demote;
        } rows[] = {
                { MSEC(10000), MSEC(1500), MSEC(500), MSEC(9980), MSEC(20), MSEC(9960),
                  MSEC(7960) },
                { MSEC(3000), MSEC(500), MSEC(200), MSEC(2994), MSEC(10), MSEC(2984), MSEC(2284) },
                { MSEC(1000), MSEC(200), MSEC(50), MSEC(998), MSEC(5), MSEC(993), MSEC(743) },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                struct lease_chain c = lease_chain_of(rows[i].ttl, rows[i].soft, rows[i].hard);

                assert_int_equal(c.holder_valid, rows[i].holder_valid);
                assert_int_equal(c.guard, rows[i].guard);
                assert_int_equal(c.end, rows[i].end);
                assert_int_equal(c.demote, rows[i].demote);
        }
}

static void a_watchdog_comes_off_the_start_of_the_demotion(void **state)
{
        struct lease_chain c = lease_chain_of(MSEC(10000), MSEC(1500), MSEC(500));

        (void)state;
        assert_int_equal(c.demote - MSEC(4200), MSEC(3760));
        c = lease_chain_of(MSEC(3000), MSEC(500), MSEC(200));
        assert_int_equal(c.demote - MSEC(1100), MSEC(1184));
}

static void drift_is_never_rounded_in_favour_of_the_holder(void **state)
{
        (void)state;
        for (usec_t ttl = MSEC(500); ttl < MSEC(500) + 2000; ttl++) {
                struct lease_chain c = lease_chain_of(ttl, 0, 0);

                assert_true((ttl - c.holder_valid) * 1000 >= ttl * 2);
                assert_true((ttl - c.holder_valid - 1) * 1000 < ttl * 2);
        }
}

static void no_room_for_the_demotion_is_zero_not_a_wrap(void **state)
{
        (void)state;
        assert_int_equal(lease_chain_of(MSEC(1000), MSEC(900), MSEC(200)).demote, 0);
        assert_int_equal(lease_chain_of(MSEC(1000), USEC_INFINITY, USEC_INFINITY).demote, 0);
        assert_int_equal(lease_chain_of(0, 0, 0).end, 0);
        assert_true(lease_chain_of(USEC_INFINITY, 0, 0).end < USEC_INFINITY);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(worked_settings_come_out_to_the_millisecond),
                cmocka_unit_test(a_watchdog_comes_off_the_start_of_the_demotion),
                cmocka_unit_test(drift_is_never_rounded_in_favour_of_the_holder),
                cmocka_unit_test(no_room_for_the_demotion_is_zero_not_a_wrap),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
