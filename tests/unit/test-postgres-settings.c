/* The executor's hello. */
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "actions/postgres/settings.h"

static int parse(const char *text, struct settings *ret, char *why)
{
        json_t *object = json_loads(text, 0, NULL);
        int r;

        assert_non_null(object);
        r = settings_parse(object, ret, why);
        json_decref(object);
        return r;
}

static void least_hello_gets_defaults(void **state)
{
        char why[TEXT_SIZE] = "";
        struct settings s;

        (void)state;
        assert_int_equal(parse("{\"node\":\"db1\",\"state_dir\":\"/s\",\"config\":{\"version\":15,"
                               "\"data_dir\":\"/d/\",\"user\":\"postgres\"},\"members\":[]}",
                               &s, why),
                         0);
        assert_string_equal(s.data_dir, "/d");
        assert_string_equal(s.bin_dir, "/usr/lib/postgresql/15/bin");
        assert_string_equal(s.socket_dir, "/var/run/postgresql");
        assert_string_equal(s.replication_user, "replicator");
        assert_int_equal(s.port, 5432);
        assert_int_equal(s.rise, 1);
        assert_int_equal(s.fall, 3);
        assert_true(s.may_rewind && s.may_clone && s.keep_diverged);
        settings_done(&s);
}

static void whole_hello_is_taken(void **state)
{
        char why[TEXT_SIZE] = "";
        struct settings s;

        (void)state;
        assert_int_equal(
                parse("{\"service\":\"orders\",\"node\":\"db1\",\"state_dir\":\"/s\",\"config\":{"
                      "\"version\":17,\"data_dir\":\"/d\",\"user\":\"pg\",\"port\":5433,"
                      "\"rejoin\":\"clone\",\"keep_diverged\":false,\"passfile\":null,"
                      "\"start_command\":[\"/bin/systemctl\",\"start\",\"x\"],"
                      "\"health_interval_usec\":500000,\"rise\":2,\"fall\":4},"
                      "\"members\":[{\"name\":\"db1\",\"address\":\"10.0.0.1\",\"port\":5433},"
                      "{\"name\":\"db2\",\"address\":\"fd00::2\"}]}",
                      &s, why),
                0);
        assert_false(s.may_rewind || s.keep_diverged);
        assert_int_equal(s.start_command.n, 3);
        assert_string_equal(s.start_command.args[2], "x");
        assert_null(s.start_command.args[3]);
        assert_int_equal(s.stop_command.n, 0);
        assert_int_equal(s.n_members, 2);
        assert_string_equal(s.members[1].address, "fd00::2");
        assert_int_equal(s.members[1].port, 5432);
        assert_int_equal(s.health_interval, 500000);
        settings_done(&s);
}

static void mistakes_are_named(void **state)
{
        static const struct {
                const char *config;
                const char *members;
                const char *word;
        } table[] = {
                { "\"data_dir\":\"d\",\"version\":15", "[]", "data_dir" },
                { "\"data_dir\":\"/d\",\"version\":11", "[]", "version" },
                { "\"data_dir\":\"/nowhere\",\"bin_dir\":\"/nowhere\"", "[]", "version" },
                { "\"version\":15", "[]", "data_dir" },
                { "\"data_dir\":\"/d\",\"version\":15,\"port\":0", "[]", "port" },
                { "\"data_dir\":\"/d\",\"version\":15,\"port\":\"x\"", "[]", "port" },
                { "\"data_dir\":\"/d\",\"version\":15,\"rejoin\":\"x\"", "[]", "rejoin" },
                { "\"data_dir\":\"/d\",\"version\":15,\"fall\":0", "[]", "fall" },
                { "\"data_dir\":\"/d\",\"version\":15,\"listen\":\"a\\nb\"", "[]", "listen" },
                { "\"data_dir\":\"/d\",\"version\":15,\"start_command\":[\"x\"]", "[]",
                  "start_command" },
                { "\"data_dir\":\"/d\",\"version\":15", "{}", "members" },
                { "\"data_dir\":\"/d\",\"version\":15", "[{\"name\":\"a b\",\"address\":\"::1\"}]",
                  "member 1" },
                { "\"data_dir\":\"/d\",\"version\":15", "[{\"name\":\"a\",\"address\":\"host\"}]",
                  "member 1" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                char why[TEXT_SIZE] = "", text[1024];
                struct settings s;

                snprintf(text, sizeof(text),
                         "{\"node\":\"db1\",\"state_dir\":\"/s\",\"config\":{\"user\":\"pg\",%s},"
                         "\"members\":%s}",
                         table[i].config, table[i].members);
                assert_int_equal(parse(text, &s, why), -EINVAL);
                assert_non_null(strstr(why, table[i].word));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(least_hello_gets_defaults),
                cmocka_unit_test(whole_hello_is_taken),
                cmocka_unit_test(mistakes_are_named),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
