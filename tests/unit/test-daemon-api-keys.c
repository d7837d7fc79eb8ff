/* The parameters and the JSON of /v2/keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/api-keys.h"
#include "election/base/cleanup.h"

/* Parses @query into what is valid until the next call. */
static bool parse(enum keys_method method, const char *query, struct keys_request *r,
                  struct keys_error *error)
{
        static char cause[KEYS_CAUSE_SIZE], text[512];
        char form_cause[FORM_CAUSE_SIZE];
        static struct form form;

        (void)snprintf(text, sizeof(text), "%s", query);
        assert_int_equal(form_parse(NULL, 0, text, &form, form_cause), 0);
        return keys_parse(method, &form, r, error, cause);
}

static void a_put_takes_value_ttl_and_conditions(void **state)
{
        struct keys_request r;
        struct keys_error e;

        (void)state;
        assert_true(parse(KEYS_PUT, "value=v&ttl=5&prevExist=true&prevValue=old&prevIndex=7&dir=F",
                          &r, &e));
        assert_int_equal(r.command.action, STORE_SET);
        assert_string_equal(r.command.value, "v");
        assert_true(r.command.has_ttl);
        assert_int_equal(r.command.ttl, 5 * USEC_PER_SEC);
        assert_int_equal(r.command.condition, STORE_MUST_EXIST);
        assert_string_equal(r.command.previous_value, "old");
        assert_int_equal(r.command.previous_index, 7);
        assert_false(r.command.directory);
}

static void parameters_of_other_methods_mean_nothing(void **state)
{
        struct keys_request r;
        struct keys_error e;

        (void)state;
        assert_true(parse(KEYS_DELETE, "value=v&ttl=5&prevExist=true&recursive=true", &r, &e));
        assert_int_equal(r.command.action, STORE_DELETE);
        assert_int_equal(r.command.condition, STORE_ANY);
        assert_false(r.command.has_ttl);
        assert_null(r.command.value);
        assert_true(r.command.recursive);
        assert_true(parse(KEYS_POST, "value=v&prevValue=a&prevIndex=3", &r, &e));
        assert_int_equal(r.command.action, STORE_CREATE);
        assert_null(r.command.previous_value);
        assert_int_equal(r.command.previous_index, 0);
}

static void all_twelve_spellings_of_truth_are_known(void **state)
{
        static const char *const yes[] = { "1", "t", "T", "TRUE", "true", "True" };
        static const char *const no[] = { "0", "f", "F", "FALSE", "false", "False" };
        static const char *const neither[] = { "", "yes", "tRUE", "2", "true ", "on" };
        char query[64];
        struct keys_request r;
        struct keys_error e;

        (void)state;
        for (size_t i = 0; i < 6; i++) {
                (void)snprintf(query, sizeof(query), "wait=%s", yes[i]);
                assert_true(parse(KEYS_GET, query, &r, &e));
                assert_true(r.wait);
                (void)snprintf(query, sizeof(query), "wait=%s", no[i]);
                assert_true(parse(KEYS_GET, query, &r, &e));
                assert_false(r.wait);
                (void)snprintf(query, sizeof(query), "wait=%s", neither[i]);
                assert_false(parse(KEYS_GET, query, &r, &e));
                assert_int_equal(e.code, 209);
        }
}

static void the_first_wrong_parameter_answers(void **state)
{
        static const struct {
                enum keys_method method;
                const char *query;
                unsigned code;
                const char *cause;
        } cases[] = {
                { KEYS_PUT, "prevIndex=&ttl=x", 203, "invalid value for \"prevIndex\"" },
                { KEYS_GET, "waitIndex=-1&wait=x", 203, "invalid value for \"waitIndex\"" },
                { KEYS_GET, "waitIndex=18446744073709551616", 203,
                  "invalid value for \"waitIndex\"" },
                { KEYS_GET, "sorted=x&recursive=x", 209, "invalid value for \"recursive\"" },
                { KEYS_PUT, "wait=true&prevValue=", 209,
                  "\"wait\" can only be used with GET requests" },
                { KEYS_PUT, "prevValue=&ttl=x", 201, "\"prevValue\" cannot be empty" },
                { KEYS_PUT, "noValueOnSuccess=x&ttl=x", 209,
                  "invalid value for \"noValueOnSuccess\"" },
                { KEYS_PUT, "ttl=1.5&prevExist=x", 202, "invalid value for \"ttl\"" },
                { KEYS_PUT, "prevExist=&refresh=x", 209, "invalid value for prevExist" },
                { KEYS_PUT, "refresh=2", 209, "invalid value for refresh" },
                { KEYS_PUT, "refresh=1&value=x", 211, "A value was provided on a refresh" },
                { KEYS_PUT, "refresh=1", 212, "No TTL value set" },
                { KEYS_DELETE, "prevExist=x", 209, "invalid value for prevExist" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                struct keys_request r;
                struct keys_error e;

                assert_false(parse(cases[i].method, cases[i].query, &r, &e));
                assert_int_equal(e.code, cases[i].code);
                assert_string_equal(e.cause, cases[i].cause);
                assert_int_equal(e.index, 0);
        }
}

static void an_empty_ttl_is_none_and_a_huge_one_is_cut(void **state)
{
        struct keys_request r;
        struct keys_error e;

        (void)state;
        assert_true(parse(KEYS_PUT, "ttl=", &r, &e));
        assert_false(r.command.has_ttl);
        assert_true(parse(KEYS_PUT, "ttl=18446744073709551615", &r, &e));
        assert_int_equal(r.command.ttl, KEYS_TTL_MAX_SEC * USEC_PER_SEC);
        assert_true(parse(KEYS_PUT, "ttl=0", &r, &e));
        assert_true(r.command.has_ttl);
        assert_int_equal(r.command.ttl, 0);
}

static void dots_are_resolved_within_the_keys(void **state)
{
        static const struct {
                const char *path;
                const char *key; /* NULL: refused */
        } cases[] = {
                { "", "/" },
                { "/", "/" },
                { "/a/", "/a" },
                { "//a///b", "/a/b" },
                { "/a/./b/.", "/a/b" },
                { "/a/../b", "/b" },
                { "/a/b/..", "/a" },
                { "/..a/.b.", "/..a/.b." },
                { "/a/..", "/" },
                { "/..", NULL },
                { "/a/../..", NULL },
        };
        char key[STORE_KEY_BYTES_MAX + 1];

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                int n = keys_clean_path(cases[i].path, key, sizeof(key));

                if (!cases[i].key) {
                        assert_true(n < 0);
                        continue;
                }
                assert_string_equal(key, cases[i].key);
                assert_int_equal(n, strlen(key));
        }
}

static void keys_have_a_longest_and_a_deepest(void **state)
{
        char path[STORE_KEY_BYTES_MAX + 3], key[STORE_KEY_BYTES_MAX + 1];

        (void)state;
        memset(path, 'k', sizeof(path));
        path[0] = '/';
        path[STORE_KEY_BYTES_MAX] = '\0';
        assert_int_equal(keys_clean_path(path, key, sizeof(key)), STORE_KEY_BYTES_MAX);
        path[STORE_KEY_BYTES_MAX] = 'k';
        path[STORE_KEY_BYTES_MAX + 1] = '\0';
        assert_true(keys_clean_path(path, key, sizeof(key)) < 0);
        for (size_t i = 0; i <= STORE_KEY_DEPTH_MAX; i++)
                memcpy(path + 2 * i, "/d", 3);
        assert_true(keys_clean_path(path, key, sizeof(key)) < 0);
        path[2 * STORE_KEY_DEPTH_MAX] = '\0';
        assert_true(keys_clean_path(path, key, sizeof(key)) > 0);
}

static void assert_text(const struct buffer *b, const char *wanted)
{
        assert_int_equal(b->n, strlen(wanted));
        assert_memory_equal(b->bytes, wanted, b->n);
}

static void strings_are_escaped_as_etcd_does(void **state)
{
        static const struct {
                const char *bytes;
                size_t n;
                const char *json;
        } cases[] = {
                { "", 0, "\"\"" },
                { "a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\"" },
                { "\n\r\t\0\x01\x1F\x7F", 7, "\"\\n\\r\\t\\u0000\\u0001\\u001f\x7F\"" },
                { "<>&'", 4, "\"\\u003c\\u003e\\u0026'\"" },
                { "\xC3\xA4\xE2\x82\xAC\xF0\x9D\x84\x9E", 9,
                  "\"\xC3\xA4\xE2\x82\xAC\xF0\x9D\x84\x9E\"" },
                { "\xE2\x80\xA8\xE2\x80\xA9", 6, "\"\\u2028\\u2029\"" },
                { "\xFFz", 2, "\"\xEF\xBF\xBDz\"" },
                { "\xC0\x80", 2, "\"\xEF\xBF\xBD\xEF\xBF\xBD\"" },
                { "\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"" },
                { "\xE2\x82", 2, "\"\xEF\xBF\xBD\xEF\xBF\xBD\"" },
                { "\xF4\x90\x80\x80", 1, "\"\xEF\xBF\xBD\"" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                _cleanup_(buffer_done)
                struct buffer b = { 0 };

                keys_put_string(&b, cases[i].bytes, cases[i].n);
                assert_text(&b, cases[i].json);
        }
}

static const struct keys_clock clock_0 = { .now = { 100 * USEC_PER_SEC },
                                           .wall = 1767323045678900ull };

static struct store_event swap(void)
{
        return (struct store_event){
                .action = STORE_DID_COMPARE_AND_SWAP,
                .index = 18,
                .node = { .path = "/db/leader",
                          .value = "b",
                          .n_value = 1,
                          .created = 11,
                          .modified = 18,
                          .has_ttl = true,
                          .ttl = 30 * USEC_PER_SEC,
                          .renewed = { 100 * USEC_PER_SEC } },
                .has_previous = true,
                .previous = { .path = "/db/leader", .value = "", .created = 11, .modified = 15 },
        };
}

static void an_event_has_the_fields_of_etcd_in_their_order(void **state)
{
        const struct store_event e = swap();
        _cleanup_(buffer_done)
        struct buffer b = { 0 };

        (void)state;
        keys_put_event(&b, &e, false, &clock_0);
        assert_text(
                &b,
                "{\"action\":\"compareAndSwap\",\"node\":{\"key\":\"/db/leader\",\"value\":\"b\","
                "\"expiration\":\"2026-01-02T03:04:35.6789Z\",\"ttl\":30,\"modifiedIndex\":18,"
                "\"createdIndex\":11},\"prevNode\":{\"key\":\"/db/leader\",\"value\":\"\","
                "\"modifiedIndex\":15,\"createdIndex\":11}}\n");
        assert_int_equal(keys_event_status(&e), 200);
}

static void no_value_on_success_leaves_only_the_action(void **state)
{
        struct store_event e = swap();
        _cleanup_(buffer_done)
        struct buffer b = { 0 };

        (void)state;
        keys_put_event(&b, &e, true, &clock_0);
        assert_text(&b, "{\"action\":\"compareAndSwap\"}\n");
        buffer_clear(&b);
        e.action = STORE_DID_DELETE;
        keys_put_event(&b, &e, true, &clock_0);
        assert_true(b.n > 40);
}

static void what_is_new_is_201(void **state)
{
        struct store_event e = { .action = STORE_DID_SET };

        (void)state;
        assert_int_equal(keys_event_status(&e), 201);
        e.has_previous = true;
        assert_int_equal(keys_event_status(&e), 200);
        e = (struct store_event){ .action = STORE_DID_CREATE };
        assert_int_equal(keys_event_status(&e), 201);
        e.action = STORE_DID_DELETE;
        assert_int_equal(keys_event_status(&e), 200);
}

/* The ttl that is shown @left microseconds before the end. */
static void assert_ttl(int64_t left, const char *shown)
{
        struct store_event e = swap();
        _cleanup_(buffer_done)
        struct buffer b = { 0 };
        const char *ttl;

        e.has_previous = false;
        e.node.ttl = (usec_t)(left + 50 * (int64_t)USEC_PER_SEC);
        e.node.renewed.usec = 50 * USEC_PER_SEC;
        keys_put_event(&b, &e, false, &clock_0);
        buffer_put_u8(&b, '\0');
        ttl = strstr((char *)b.bytes, "\"ttl\":");
        if (!shown) {
                assert_null(ttl);
                return;
        }
        assert_non_null(ttl);
        assert_memory_equal(ttl + 6, shown, strlen(shown));
}

static void seconds_left_are_rounded_up_and_nothing_is_left_out(void **state)
{
        (void)state;
        assert_ttl(1, "1,");
        assert_ttl(1000000, "1,");
        assert_ttl(1000001, "2,");
        assert_ttl(0, NULL);
        assert_ttl(-999999, NULL);
        assert_ttl(-1000000, "-1,");
        assert_ttl(-2500000, "-2,");
}

static void errors_carry_code_message_cause_and_index(void **state)
{
        const struct keys_error e = { .code = 100, .cause = "/a\0b", .n_cause = 4, .index = 17 };
        const struct keys_error bare = { .code = 301 };
        _cleanup_(buffer_done)
        struct buffer b = { 0 };

        (void)state;
        keys_put_error(&b, &e);
        assert_text(&b, "{\"errorCode\":100,\"message\":\"Key not found\",\"cause\":\"/a\\u0000b\","
                        "\"index\":17}\n");
        assert_int_equal(keys_error_status(100), 404);
        assert_int_equal(keys_error_status(101), 412);
        assert_int_equal(keys_error_status(300), 500);
        assert_int_equal(keys_error_status(401), 400);
        buffer_clear(&b);
        keys_put_error(&b, &bare);
        assert_text(&b, "{\"errorCode\":301,\"message\":\"Internal error\",\"index\":0}\n");
}

/* Every error that the store can give has the message that etcd gives it. */
static void messages_are_those_of_the_store(void **state)
{
        static const enum store_error errors[] = {
                STORE_KEY_NOT_FOUND,       STORE_TEST_FAILED,   STORE_NOT_FILE,
                STORE_NOT_DIRECTORY,       STORE_NODE_EXIST,    STORE_ROOT_READ_ONLY,
                STORE_DIRECTORY_NOT_EMPTY, STORE_KEY_FORBIDDEN, STORE_INVALID_FIELD,
                STORE_WATCHER_CLEARED,     STORE_INDEX_CLEARED,
        };

        (void)state;
        for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
                const struct keys_error e = { .code = errors[i] };
                _cleanup_(buffer_done)
                struct buffer b = { 0 };

                keys_put_error(&b, &e);
                buffer_put_u8(&b, '\0');
                assert_non_null(strstr((char *)b.bytes, store_error_message(errors[i])));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_put_takes_value_ttl_and_conditions),
                cmocka_unit_test(parameters_of_other_methods_mean_nothing),
                cmocka_unit_test(all_twelve_spellings_of_truth_are_known),
                cmocka_unit_test(the_first_wrong_parameter_answers),
                cmocka_unit_test(an_empty_ttl_is_none_and_a_huge_one_is_cut),
                cmocka_unit_test(dots_are_resolved_within_the_keys),
                cmocka_unit_test(keys_have_a_longest_and_a_deepest),
                cmocka_unit_test(strings_are_escaped_as_etcd_does),
                cmocka_unit_test(an_event_has_the_fields_of_etcd_in_their_order),
                cmocka_unit_test(no_value_on_success_leaves_only_the_action),
                cmocka_unit_test(what_is_new_is_201),
                cmocka_unit_test(seconds_left_are_rounded_up_and_nothing_is_left_out),
                cmocka_unit_test(errors_carry_code_message_cause_and_index),
                cmocka_unit_test(messages_are_those_of_the_store),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
