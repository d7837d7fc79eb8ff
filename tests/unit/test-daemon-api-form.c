/* Percent-decoding, queries and forms. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/api-form.h"
#include "election/base/cleanup.h"

/* What the form "v=CODED" has as its value; NULL if it is refused. Released by free(). */
static char *decode(const char *coded)
{
        char cause[FORM_CAUSE_SIZE], *text = malloc(strlen(coded) + 3), *value = NULL;
        struct form f;

        assert_non_null(text);
        (void)sprintf(text, "v=%s", coded);
        if (form_parse(NULL, 0, text, &f, cause) == 0)
                value = strdup(form_value(&f, "v"));
        free(text);
        return value;
}

static void bytes_are_decoded_once(void **state)
{
        static const struct {
                const char *coded;
                const char *form;
        } cases[] = {
                { "", "" },       { "abc", "abc" },         { "a+b", "a b" },
                { "a=b", "a=b" }, { "%41%2f%2F", "A//" },   { "%2525", "%25" },
                { "%2B+", "+ " }, { "%c3%A4", "\xC3\xA4" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                _cleanup_(freep)
                char *form = decode(cases[i].coded);

                assert_non_null(form);
                assert_string_equal(form, cases[i].form);
        }
}

static void broken_escapes_are_refused(void **state)
{
        static const char *const cases[] = { "%", "a%4", "%zz", "%4g", "%%41", "ok%" };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                assert_null(decode(cases[i]));
}

static void the_first_of_a_name_counts_and_the_body_comes_first(void **state)
{
        char body[] = "value=from+body&value=second&dir=true", query[] = "value=query&wait=1&&x";
        char cause[FORM_CAUSE_SIZE];
        struct form f;

        (void)state;
        assert_int_equal(form_parse(body, strlen(body), query, &f, cause), 0);
        assert_string_equal(form_value(&f, "value"), "from body");
        assert_string_equal(form_value(&f, "wait"), "1");
        assert_string_equal(form_value(&f, "x"), "");
        assert_null(form_value(&f, "Value"));
        assert_int_equal(f.n, 6);
}

/* In the server the next request may stand there. */
static void only_one_byte_behind_the_body_is_written(void **state)
{
        char cause[FORM_CAUSE_SIZE], query[] = "";
        char *body = malloc(8);
        struct form f;

        (void)state;
        assert_non_null(body);
        memcpy(body, "value=x?", 8);
        assert_int_equal(form_parse(body, 7, query, &f, cause), 0);
        assert_int_equal(form_find(&f, "value")->n_value, 1);
        assert_string_equal(form_value(&f, "value"), "x");
        memcpy(body, "value=%", 7);
        assert_int_equal(form_parse(body, 7, query, &f, cause), -EINVAL);
        assert_string_equal(cause, "invalid URL escape \"%\"");
        free(body);
}

static void a_nul_is_part_of_a_value(void **state)
{
        const struct form_field *field;
        char cause[FORM_CAUSE_SIZE];
        char query[] = "v=a%00b";
        struct form f;

        (void)state;
        assert_int_equal(form_parse(NULL, 0, query, &f, cause), 0);
        field = form_find(&f, "v");
        assert_int_equal(field->n_value, 3);
        assert_memory_equal(field->value, "a\0b", 4);
}

static void causes_are_in_the_words_of_etcd(void **state)
{
        char semicolon[] = "a=b;c=d", escape[] = "a=%41&b=x%zz";
        char cause[FORM_CAUSE_SIZE];
        struct form f;

        (void)state;
        assert_int_equal(form_parse(NULL, 0, semicolon, &f, cause), -EINVAL);
        assert_string_equal(cause, "invalid semicolon separator in query");
        assert_int_equal(form_parse(NULL, 0, escape, &f, cause), -EINVAL);
        assert_string_equal(cause, "invalid URL escape \"%zz\"");
}

static void too_many_parameters_are_refused(void **state)
{
        char query[FORM_FIELDS_MAX * 2 + 8] = "";
        char cause[FORM_CAUSE_SIZE];
        struct form f;

        (void)state;
        for (size_t i = 0; i < FORM_FIELDS_MAX; i++)
                strcat(query, "a&");
        assert_int_equal(form_parse(NULL, 0, query, &f, cause), 0);
        assert_int_equal(f.n, FORM_FIELDS_MAX);
        memset(query, 0, sizeof(query));
        for (size_t i = 0; i <= FORM_FIELDS_MAX; i++)
                strcat(query, "a&");
        assert_int_equal(form_parse(NULL, 0, query, &f, cause), -EINVAL);
        assert_string_equal(cause, "too many parameters");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(bytes_are_decoded_once),
                cmocka_unit_test(broken_escapes_are_refused),
                cmocka_unit_test(the_first_of_a_name_counts_and_the_body_comes_first),
                cmocka_unit_test(only_one_byte_behind_the_body_is_written),
                cmocka_unit_test(a_nul_is_part_of_a_value),
                cmocka_unit_test(causes_are_in_the_words_of_etcd),
                cmocka_unit_test(too_many_parameters_are_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
