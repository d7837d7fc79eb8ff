/* Who answers 200 for which role. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/api-health.h"

enum { SELF = 1, OTHER = 2 };

/* A node with a database, its service, and what it knows. */
struct fixture {
        struct conf conf;
        struct conf_service service;
        struct conf_postgres postgres;
        struct conf_member members[2];
        struct node_service_view view;
        struct health_question q;
        char reason[HEALTH_REASON_SIZE];
};

static void be_master(struct fixture *f)
{
        f->view.state = FAILOVER_MASTER;
        f->view.lease = FAILOVER_LEASE_OURS;
        f->view.holder = SELF;
        f->view.holds = true;
        f->view.reports[SELF].role = FAILOVER_ROLE_PRIMARY;
        f->view.reports[SELF].writable = true;
}

static void be_standby(struct fixture *f)
{
        f->view.state = FAILOVER_STANDBY;
        f->view.lease = FAILOVER_LEASE_THEIRS;
        f->view.holder = OTHER;
        f->view.reports[SELF].role = FAILOVER_ROLE_STANDBY;
        f->view.reports[SELF].streaming = true;
}

static int setup(void **state)
{
        static char here[] = "here", there[] = "there";
        static struct fixture f;

        f = (struct fixture){
                .conf = { .self = SELF, .cluster = { .n_members = 2 } },
                .service = { .members = { SELF, OTHER }, .n_members = 2, .max_loss = 1000 },
                .members = { { .id = SELF, .name = here }, { .id = OTHER, .name = there } },
                .q = { .has_leader = true, .is_current = true },
        };
        f.service.postgres = &f.postgres;
        f.conf.cluster.members[0] = &f.members[0];
        f.conf.cluster.members[1] = &f.members[1];
        f.view.reports[SELF] = (struct failover_report){ .known = true,
                                                         .database = FAILOVER_DATABASE_RUNNING,
                                                         .healthy = true };
        f.q.view = &f.view;
        f.q.conf = &f.conf;
        f.q.service = &f.service;
        *state = &f;
        return 0;
}

static void a_master_with_a_valid_lease_is_primary(void **state)
{
        struct fixture *f = *state;

        be_master(f);
        assert_true(health_is_primary(&f->q, f->reason));
        assert_true(health_is_read_only(&f->q, f->reason));
        assert_true(health_is_ready(&f->q, f->reason));
        assert_false(health_is_replica(&f->q, f->reason));
}

static void a_master_whose_lease_ran_out_is_not_primary(void **state)
{
        struct fixture *f = *state;

        be_master(f);
        f->view.holds = false;
        assert_false(health_is_primary(&f->q, f->reason));
        assert_string_equal(f->reason, "the lease of this node has run out");
        assert_false(health_is_read_only(&f->q, f->reason));
        assert_false(health_is_ready(&f->q, f->reason));
}

static void only_the_state_of_master_is_primary(void **state)
{
        struct fixture *f = *state;

        be_master(f);
        for (unsigned s = 0; s < FAILOVER_STATES; s++) {
                f->view.state = s;
                assert_int_equal(health_is_primary(&f->q, f->reason), s == FAILOVER_MASTER);
        }
}

static void a_database_that_cannot_write_is_not_primary(void **state)
{
        struct fixture *f = *state;

        be_master(f);
        f->view.reports[SELF].writable = false;
        assert_false(health_is_primary(&f->q, f->reason));
        assert_string_equal(f->reason, "the database is not writable");
        f->service.postgres = NULL;
        assert_true(health_is_primary(&f->q, f->reason));
}

static void a_standby_names_who_holds_the_lease(void **state)
{
        struct fixture *f = *state;

        be_standby(f);
        assert_false(health_is_primary(&f->q, f->reason));
        assert_string_equal(f->reason, "there holds the lease");
        assert_true(health_is_replica(&f->q, f->reason));
        assert_true(health_is_read_only(&f->q, f->reason));
}

static void a_replica_runs_is_healthy_and_a_standby(void **state)
{
        struct fixture *f = *state;

        be_standby(f);
        f->view.reports[SELF].database = FAILOVER_DATABASE_STARTING;
        assert_false(health_is_replica(&f->q, f->reason));
        f->view.reports[SELF].database = FAILOVER_DATABASE_RUNNING;
        f->view.reports[SELF].healthy = false;
        (void)snprintf(f->view.reports[SELF].reason, FAILOVER_REASON_SIZE, "slow");
        assert_false(health_is_replica(&f->q, f->reason));
        assert_string_equal(f->reason, "the database is not healthy: slow");
        f->view.reports[SELF].healthy = true;
        f->view.reports[SELF].role = FAILOVER_ROLE_PRIMARY;
        assert_false(health_is_replica(&f->q, f->reason));
}

static void a_limit_of_lag_needs_a_known_lag(void **state)
{
        struct fixture *f = *state;

        be_standby(f);
        f->q.limits_lag = true;
        f->q.lag_max = 100;
        assert_false(health_is_replica(&f->q, f->reason));
        f->q.has_lag = true;
        f->q.lag = 100;
        assert_true(health_is_replica(&f->q, f->reason));
        f->q.lag = 101;
        assert_false(health_is_replica(&f->q, f->reason));
        assert_string_equal(f->reason, "101 bytes behind the master, allowed are 100");
}

static void a_ready_standby_streams_within_the_allowed_loss(void **state)
{
        struct fixture *f = *state;

        be_standby(f);
        f->q.has_lag = true;
        f->q.lag = 1000;
        assert_true(health_is_ready(&f->q, f->reason));
        f->q.lag = 1001;
        assert_false(health_is_ready(&f->q, f->reason));
        f->q.limits_lag = true;
        f->q.lag_max = 2000;
        assert_true(health_is_ready(&f->q, f->reason));
        f->view.reports[SELF].streaming = false;
        assert_false(health_is_ready(&f->q, f->reason));
}

static void a_witness_is_up_with_a_leader_and_never_a_role(void **state)
{
        struct fixture *f = *state;

        be_master(f);
        f->service.members[0] = OTHER;
        f->service.n_members = 1;
        assert_false(health_is_primary(&f->q, f->reason));
        assert_false(health_is_replica(&f->q, f->reason));
        assert_true(health_is_up(&f->q, f->reason));
        f->q.has_leader = false;
        assert_false(health_is_up(&f->q, f->reason));
        assert_true(health_is_alive(&f->q, f->reason));
}

static void sizes_have_the_units_of_people(void **state)
{
        static const struct {
                const char *s;
                uint64_t n;
        } good[] = {
                { "0", 0 },
                { "16777216", 16777216 },
                { "10kB", 10000 },
                { "10MB", 10000000 },
                { "10 mb", 10000000 },
                { "16MiB", 16 << 20 },
                { "1GiB", 1 << 30 },
                { "18446744073709551615", UINT64_MAX },
        };
        static const char *const bad[] = {
                "", "MB", "-1", "1.5MB", "1 MBit", "18446744073709551616", "99999999999999TiB"
        };
        uint64_t n;

        (void)state;
        for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
                assert_true(health_parse_size(good[i].s, &n));
                assert_int_equal(n, good[i].n);
        }
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
                assert_false(health_parse_size(bad[i], &n));
}

static void parameters_are_read_from_the_query(void **state)
{
        struct fixture *f = *state;
        char good[] = "lag=1kB&replication_state=streaming", bad[] = "replication_state=archive";
        char cause[FORM_CAUSE_SIZE];
        struct form form;

        assert_int_equal(form_parse(NULL, 0, good, &form, cause), 0);
        assert_true(health_parse(&form, &f->q, f->reason));
        assert_true(f->q.limits_lag && f->q.lag_max == 1000 && f->q.wants_streaming);
        assert_int_equal(form_parse(NULL, 0, bad, &form, cause), 0);
        assert_false(health_parse(&form, &f->q, f->reason));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(a_master_with_a_valid_lease_is_primary, setup),
                cmocka_unit_test_setup(a_master_whose_lease_ran_out_is_not_primary, setup),
                cmocka_unit_test_setup(only_the_state_of_master_is_primary, setup),
                cmocka_unit_test_setup(a_database_that_cannot_write_is_not_primary, setup),
                cmocka_unit_test_setup(a_standby_names_who_holds_the_lease, setup),
                cmocka_unit_test_setup(a_replica_runs_is_healthy_and_a_standby, setup),
                cmocka_unit_test_setup(a_limit_of_lag_needs_a_known_lag, setup),
                cmocka_unit_test_setup(a_ready_standby_streams_within_the_allowed_loss, setup),
                cmocka_unit_test_setup(a_witness_is_up_with_a_leader_and_never_a_role, setup),
                cmocka_unit_test(sizes_have_the_units_of_people),
                cmocka_unit_test_setup(parameters_are_read_from_the_query, setup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
