/* The lease clock and its timer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actions/agent-clock.h"

struct fired {
        struct event_base *base;
        struct instant at;
        unsigned n;
};

static void on_timer(void *userdata)
{
        struct fired *f = userdata;

        f->at = agent_clock_now();
        f->n++;
        event_base_loopbreak(f->base);
}

static void clock_goes_forward(void **state)
{
        struct instant before = agent_clock_now(), now;

        (void)state;
        for (unsigned i = 0; i < 10000; i++) {
                now = agent_clock_now();
                /* Three clocks are read one after the other, so a reading may be off by their distance. */
                assert_true(instant_reached(instant_before(before, 1000), now));
                before = now;
        }
}

static void timer_fires_at_its_instant_and_not_before(void **state)
{
        static const usec_t waits[] = { 0, 500, 3000, 50000, 200000 };
        struct fired f = { .base = event_base_new() };
        struct agent_timer *t;

        (void)state;
        assert_int_equal(agent_timer_new(f.base, on_timer, &f, &t), 0);
        for (unsigned i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
                struct instant at = instant_after(agent_clock_now(), waits[i]);

                agent_timer_arm(t, INSTANT_FOREVER); /* replaced by the next line */
                agent_timer_arm(t, at);
                event_base_dispatch(f.base);
                assert_int_equal(f.n, i + 1);
                assert_true(instant_reached(at, f.at));
                assert_true(instant_until(f.at, at) < USEC_PER_SEC);
        }
        agent_timer_free(t);
        event_base_free(f.base);
}

static void disarmed_timer_is_silent(void **state)
{
        const struct timeval wait = { .tv_usec = 50000 };
        struct fired f = { .base = event_base_new() };
        struct agent_timer *t;

        (void)state;
        assert_int_equal(agent_timer_new(f.base, on_timer, &f, &t), 0);
        agent_timer_arm(t, instant_after(agent_clock_now(), 10000));
        agent_timer_disarm(t);
        event_base_loopexit(f.base, &wait);
        event_base_dispatch(f.base);
        assert_int_equal(f.n, 0);
        agent_timer_free(t);
        event_base_free(f.base);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(clock_goes_forward),
                cmocka_unit_test(timer_fires_at_its_instant_and_not_before),
                cmocka_unit_test(disarmed_timer_is_silent),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
