/* Durations, sizes, addresses and names: read, printed, refused; and the guess of what was meant. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf/complaint.h"
#include "conf/options.h"
#include "conf/suggest.h"
#include "conf/values.h"

/* Accepts what the type can express. */
static const struct conf_option any_duration = { .type = &type_duration, .max = UINT64_MAX };
static const struct conf_option any_size = { .type = &type_size, .max = UINT64_MAX };

struct number_case {
        const char *text;
        int r;
        uint64_t value;
        const char *printed; /* NULL: as written */
};

static void check_numbers(const struct conf_option *o, const struct number_case *rows, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                const char *expected = rows[i].printed ? rows[i].printed : rows[i].text;
                uint64_t value = 42;
                char printed[64] = "";
                FILE *file;
                int r = o->type->parse(o, rows[i].text, &value);

                if (r != rows[i].r || value != (r == 0 ? rows[i].value : 42))
                        fail_msg("%s: %d, %llu", rows[i].text, r, (unsigned long long)value);
                if (r < 0)
                        continue;
                file = fmemopen(printed, sizeof(printed), "w");
                assert_non_null(file);
                o->type->print(o, &value, file);
                assert_int_equal(fclose(file), 0);
                assert_string_equal(printed, expected);
        }
}

static void durations_have_units_and_print_in_the_largest_exact_one(void **state)
{
        static const struct number_case rows[] = {
                { "3s", 0, 3000000, NULL },
                { "300ms", 0, 300000, NULL },
                { "1min", 0, 60000000, NULL },
                { "500us", 0, 500, NULL },
                { "2h", 0, UINT64_C(7200000000), NULL },
                { "120min", 0, UINT64_C(7200000000), "2h" },
                { "3 s", 0, 3000000, "3s" },
                { "1.5s", 0, 1500000, "1500ms" },
                { "0.0000019s", 0, 1, "1us" },
                { "0.5us", 0, 0, "0us" },
                { "1.25h", 0, UINT64_C(4500000000), "75min" },
                { "0s", 0, 0, "0us" },
                { "18446744073709551615us", 0, UINT64_MAX, NULL },
                { "18446744073709551616us", -EINVAL, 0, NULL },
                { "18446744073709551615s", -ERANGE, 0, NULL },
                { "18446744073709.551616s", -ERANGE, 0, NULL },
                { "3", -EINVAL, 0, NULL },
                { "", -EINVAL, 0, NULL },
                { "s", -EINVAL, 0, NULL },
                { "3.s", -EINVAL, 0, NULL },
                { ".5s", -EINVAL, 0, NULL },
                { "-3s", -EINVAL, 0, NULL },
                { "+3s", -EINVAL, 0, NULL },
                { " 3s", -EINVAL, 0, NULL },
                { "3s ", -EINVAL, 0, NULL },
                { "3  s", -EINVAL, 0, NULL },
                { "3S", -EINVAL, 0, NULL },
                { "3sec", -EINVAL, 0, NULL },
                { "0x3s", -EINVAL, 0, NULL },
                { "1e3s", -EINVAL, 0, NULL },
        };

        (void)state;
        check_numbers(&any_duration, rows, sizeof(rows) / sizeof(rows[0]));
}

static void sizes_know_powers_of_1000_and_of_1024(void **state)
{
        static const struct number_case rows[] = {
                { "16MiB", 0, 16 << 20, NULL },
                { "64kB", 0, 64000, NULL },
                { "64KiB", 0, 65536, NULL },
                { "0", 0, 0, NULL },
                { "17", 0, 17, "17B" },
                { "17B", 0, 17, NULL },
                { "1.5GiB", 0, UINT64_C(3) << 29, "1536MiB" },
                { "1000MB", 0, 1000000000, "1GB" },
                { "16777216TiB", -ERANGE, 0, NULL },
                { "16777215TiB", 0, UINT64_C(16777215) << 40, NULL },
                { "64KB", -EINVAL, 0, NULL },
                { "64mib", -EINVAL, 0, NULL },
                { "-1", -EINVAL, 0, NULL },
        };

        (void)state;
        check_numbers(&any_size, rows, sizeof(rows) / sizeof(rows[0]));
}

static void a_range_includes_both_ends(void **state)
{
        const struct conf_option *ttl = conf_option_find(SECTION_SERVICE, "ttl");
        usec_t value = 0;

        (void)state;
        assert_int_equal(type_duration.parse(ttl, "500ms", &value), 0);
        assert_int_equal(type_duration.parse(ttl, "1h", &value), 0);
        assert_int_equal(type_duration.parse(ttl, "499999us", &value), -ERANGE);
        assert_int_equal(type_duration.parse(ttl, "3600000001us", &value), -ERANGE);
        assert_int_equal(value, 3600 * USEC_PER_SEC);
}

static void addresses_of_services_have_a_prefix_or_stand_alone(void **state)
{
        static const struct {
                const char *text;
                int r;
                unsigned prefix;
        } rows[] = {
                { "10.0.0.1/24", 0, 24 },
                { "10.0.0.1", 0, 32 },
                { "10.0.0.1/32", 0, 32 },
                { "fd00::1", 0, 128 },
                { "fd00::1/64", 0, 64 },
                { "fd00::1/129", -EINVAL, 0 },
                { "10.0.0.1/33", -EINVAL, 0 },
                { "10.0.0.1/0", -EINVAL, 0 },
                { "10.0.0.1/", -EINVAL, 0 },
                { "10.0.0.1/24/", -EINVAL, 0 },
                { "10.0.0.1/-1", -EINVAL, 0 },
                { "/24", -EINVAL, 0 },
                { "10.0.0/24", -EINVAL, 0 },
                { "fd00::1%eth0/64", -EINVAL, 0 },
                { "", -EINVAL, 0 },
        };
        const struct conf_option *o = conf_option_find(SECTION_VIP, "address");

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                struct conf_vip vip = { 0 };

                if (o->type->parse(o, rows[i].text, &vip) != rows[i].r ||
                    vip.prefix != rows[i].prefix)
                        fail_msg("%s: /%u", rows[i].text, vip.prefix);
        }
}

static void texts_that_cannot_be_a_path_an_interface_or_a_label_are_refused(void **state)
{
        static const struct {
                enum conf_section_id section;
                const char *key, *text;
                int r;
        } rows[] = {
                { SECTION_NODE, "data_dir", "/a", 0 },
                { SECTION_NODE, "data_dir", "a", -EINVAL },
                { SECTION_NODE, "data_dir", "", -EINVAL },
                { SECTION_POSTGRES, "config_file", "", 0 },
                { SECTION_POSTGRES, "config_file", "a", -EINVAL },
                { SECTION_POSTGRES, "data_dir", "", -EINVAL },
                { SECTION_VIP, "interface", "eth0.100", 0 },
                { SECTION_VIP, "interface", "fifteen_letters", 0 },
                { SECTION_VIP, "interface", "sixteen__letters", -EINVAL },
                { SECTION_VIP, "interface", "", -EINVAL },
                { SECTION_VIP, "interface", "..", -EINVAL },
                { SECTION_VIP, "interface", "a/b", -EINVAL },
                { SECTION_VIP, "interface", "eth0:1", -EINVAL },
                { SECTION_VIP, "label", "eth0:1", 0 },
                { SECTION_VIP, "label", "", 0 },
                { SECTION_VIP, "label", "sixteen__letters", -EINVAL },
                { SECTION_NODE, "user", "_apt", -EINVAL },
                { SECTION_NODE, "user", "a b", -EINVAL },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                const struct conf_option *o = conf_option_find(rows[i].section, rows[i].key);
                char *text = NULL;

                if (o->type->parse(o, rows[i].text, &text) != rows[i].r)
                        fail_msg("%s = \"%s\"", rows[i].key, rows[i].text);
                free(text);
        }
}

static void a_path_is_shorter_than_its_limit(void **state)
{
        const struct conf_option *o = conf_option_find(SECTION_NODE, "data_dir");
        char path[CONF_PATH_SIZE + 1];
        char *text = NULL;

        (void)state;
        memset(path, '/', sizeof(path));
        path[CONF_PATH_SIZE] = '\0';
        assert_int_equal(o->type->parse(o, path, &text), -EINVAL);
        path[CONF_PATH_SIZE - 1] = '\0';
        assert_int_equal(o->type->parse(o, path, &text), 0);
        free(text);
}

static void the_distance_of_words_counts_their_changes(void **state)
{
        char longer[SUGGEST_WORD_MAX + 2] = "";

        (void)state;
        assert_int_equal(edit_distance("", ""), 0);
        assert_int_equal(edit_distance("ttl", "ttl"), 0);
        assert_int_equal(edit_distance("tll", "ttl"), 1);
        assert_int_equal(edit_distance("", "ttl"), 3);
        assert_int_equal(edit_distance("ttl", ""), 3);
        assert_int_equal(edit_distance("kitten", "sitting"), 3);
        assert_int_equal(edit_distance("sitting", "kitten"), 3);
        memset(longer, 'a', SUGGEST_WORD_MAX + 1);
        assert_int_equal(edit_distance(longer, "ttl"), UINT_MAX);
        assert_int_equal(edit_distance("ttl", longer), UINT_MAX);
}

static const char *guess(const char *word, const char *const *candidates)
{
        struct suggestion near = { 0 };

        for (; *candidates; candidates++)
                suggestion_offer(&near, word, *candidates);
        return near.word ? near.word : "nothing";
}

static void the_nearest_word_is_suggested_and_a_far_one_is_not(void **state)
{
        static const char *const words[] = { "ttl", "renew", "demote_hard", "demote_soft", NULL };

        (void)state;
        assert_string_equal(guess("tll", words), "ttl");
        assert_string_equal(guess("demote_sofft", words), "demote_soft");
        assert_string_equal(guess("demotesoft", words), "demote_soft");
        assert_string_equal(guess("renwe", words), "renew");
        assert_string_equal(guess("abc", words), "nothing");
        assert_string_equal(guess("x", words), "nothing");
        assert_string_equal(guess("", words), "nothing");
}

static void what_was_found_is_cut_and_escaped_in_complaints(void **state)
{
        char ret[QUOTED_SIZE], value[QUOTED_MAX + 2];

        (void)state;
        assert_string_equal(quoted("a\x01\x7f\n", ret), "\"a\\x01\\x7f\\x0a\"");
        memset(value, '\x01', sizeof(value));
        value[sizeof(value) - 1] = '\0';
        assert_true(strlen(quoted(value, ret)) < QUOTED_SIZE);
        assert_string_equal(ret + strlen(ret) - 4, "...\"");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(durations_have_units_and_print_in_the_largest_exact_one),
                cmocka_unit_test(sizes_know_powers_of_1000_and_of_1024),
                cmocka_unit_test(a_range_includes_both_ends),
                cmocka_unit_test(addresses_of_services_have_a_prefix_or_stand_alone),
                cmocka_unit_test(texts_that_cannot_be_a_path_an_interface_or_a_label_are_refused),
                cmocka_unit_test(a_path_is_shorter_than_its_limit),
                cmocka_unit_test(the_distance_of_words_counts_their_changes),
                cmocka_unit_test(the_nearest_word_is_suggested_and_a_far_one_is_not),
                cmocka_unit_test(what_was_found_is_cut_and_escaped_in_complaints),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
