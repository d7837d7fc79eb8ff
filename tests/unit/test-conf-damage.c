/* Files that are cut, damaged, huge or no text at all are refused or read, and nothing worse. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "election/base/buffer.h"
#include "election/base/cleanup.h"
#include "election/base/random.h"
#include "tests/lib/tempdir.h"

#define SAMPLE "conf/failoverd.conf"

static int make_tempdir(void **state)
{
        struct tempdir *t = malloc(sizeof(*t));

        if (!t)
                return -1;
        tempdir_make(t);
        *state = t;
        return 0;
}

static int remove_tempdir(void **state)
{
        tempdir_remove(*state);
        free(*state);
        return 0;
}

/*
 * Loads @n bytes; whatever the answer is, it is one of those that the header allows, and a
 * complaint has a file and a text.
 */
static int load(void **state, const void *bytes, size_t n)
{
        struct conf_complaint complaint = { 0 };
        struct conf *conf = NULL;
        char path[TEMPDIR_PATH_SIZE];
        int r;

        tempdir_write(*state, "failoverd.conf", bytes, n);
        r = conf_load(tempdir_path(*state, "failoverd.conf", path), &conf, &complaint);
        if (r == 0) {
                assert_non_null(conf);
                conf_free(conf);
                return 0;
        }
        assert_true(r == -EINVAL || r == -E2BIG);
        assert_null(conf);
        assert_string_equal(complaint.file, path);
        assert_string_not_equal(complaint.text, "");
        return r;
}

/* Something dense, so that each byte counts. */
static const char dense[] =
        "node \"a\"{user=u}cluster 'c'{profile=fast member \"a\"{address=::1 role=member}"
        "member \"b\"{address=\"::2\"}/*x*/member \"w\"{address=::3 role=witness}}#y\n"
        "service \"s\"{ttl=3s members={a,'b'}postgres{data_dir=\"/p\\\"g\"port=1 rejoin="
        "\"rewind,clone\"}vip{address=10.0.0.1/24 interface=e//z\n}vip{address=::9 "
        "interface=e}}\n";

static void a_file_may_end_anywhere(void **state)
{
        unsigned accepted = 0;

        for (size_t n = 0; n < sizeof(dense); n++)
                accepted += load(state, dense, n) == 0;
        /* Before the service, behind its comment, and behind the whole. */
        assert_in_range(accepted, 2, 6);
}

static void any_byte_may_be_any_other(void **state)
{
        struct random random = { .state = 1 };

        for (unsigned i = 0; i < 4000; i++) {
                char text[sizeof(dense)];
                uint64_t changes = 1 + random_below(&random, 3);

                memcpy(text, dense, sizeof(text));
                while (changes-- > 0)
                        text[random_below(&random, sizeof(text) - 1)] = (char)random_below(&random,
                                                                                           256);
                (void)load(state, text, sizeof(text) - 1);
        }
}

static void any_stretch_may_be_missing_or_repeated(void **state)
{
        struct random random = { .state = 2 };

        for (unsigned i = 0; i < 2000; i++) {
                struct buffer text = { 0 };
                size_t from = random_below(&random, sizeof(dense));
                size_t to = random_below(&random, sizeof(dense));

                buffer_put(&text, dense, from);
                buffer_put(&text, dense + to, sizeof(dense) - 1 - to);
                (void)load(state, text.bytes, text.n);
                buffer_done(&text);
        }
}

static void noise_is_refused(void **state)
{
        struct random random = { .state = 3 };
        uint8_t bytes[4096];

        for (unsigned i = 0; i < 200; i++) {
                for (size_t j = 0; j < sizeof(bytes); j++)
                        bytes[j] = (uint8_t)random_next(&random);
                assert_int_equal(load(state, bytes, sizeof(bytes)), -EINVAL);
        }
}

static void characters_of_the_syntax_in_any_order_are_survived(void **state)
{
        static const char *const words[] = { "{",        "}",        "=",    "+=",     ",",
                                             "\"",       "'",        "#",    "\n",     "/*",
                                             "*/",       "//",       "node", "vip",    "\"a\"",
                                             "\\",       "members",  "ttl",  "$",      "${",
                                             "service ", "@line",    "3s",   " ",      "(",
                                             "\r\n",     "postgres", "|",    "member", "cluster" };
        struct random random = { .state = 4 };

        for (unsigned i = 0; i < 4000; i++) {
                struct buffer text = { 0 };
                uint64_t n = 1 + random_below(&random, 24);

                while (n-- > 0) {
                        const char *word =
                                words[random_below(&random, sizeof(words) / sizeof(words[0]))];

                        buffer_put(&text, word, strlen(word));
                }
                (void)load(state, text.bytes, text.n);
                buffer_done(&text);
        }
}

/* @n times @word between @before and @after. */
static int load_repeated(void **state, const char *before, const char *word, size_t n,
                         const char *after)
{
        struct buffer text = { 0 };
        int r;

        buffer_put(&text, before, strlen(before));
        for (size_t i = 0; i < n; i++)
                buffer_put(&text, word, strlen(word));
        buffer_put(&text, after, strlen(after));
        r = load(state, text.bytes, text.n);
        buffer_done(&text);
        return r;
}

#define HEAD "node \"a\" { } cluster \"c\" { member \"a\" { address = ::1 } } "

static void what_is_too_large_is_refused_by_its_limit(void **state)
{
        assert_int_equal(load_repeated(state, HEAD "#", "x", CONF_FILE_MAX / 2, ""), 0);
        assert_int_equal(load_repeated(state, "", "\n", CONF_FILE_MAX + 1, ""), -E2BIG);
        assert_int_equal(load_repeated(state, "", "{", 100000, ""), -EINVAL);
        assert_int_equal(load_repeated(state, "", "}", 100000, ""), -EINVAL);
        assert_int_equal(load_repeated(state, "", "x", CONF_FILE_MAX, ""), -EINVAL);
        assert_int_equal(load_repeated(state, "node \"", "x", CONF_FILE_MAX / 2, "\" { }"),
                         -EINVAL);
        assert_int_equal(
                load_repeated(state, "node \"a\" { user = \"", "x", CONF_VALUE_MAX + 1, "\" }"),
                -EINVAL);
        assert_int_equal(
                load_repeated(state, HEAD "service \"s\" { members = { ", "a,", 100000, "a } }"),
                -EINVAL);
        assert_int_equal(load_repeated(state, HEAD "service \"s\" { ",
                                       "vip { address = ::9 interface = lo } ", CONF_VIPS_MAX + 1,
                                       "}"),
                         -EINVAL);
}

static void there_are_at_most_so_many_members_services_and_files(void **state)
{
        struct conf_complaint complaint;
        struct conf *conf = NULL;
        struct buffer text = { 0 };
        char path[TEMPDIR_PATH_SIZE];

        buffer_put(&text, "node \"m1\" { } cluster \"c\" { ",
                   strlen("node \"m1\" { } cluster \"c\" { "));
        for (unsigned i = 1; i <= MEMBERS_MAX + 1; i++) {
                char member[64];
                int n = snprintf(member, sizeof(member), "member \"m%u\" { address = ::%u } ", i,
                                 i);

                buffer_put(&text, member, (size_t)n);
        }
        buffer_put(&text, "}", 1);
        assert_int_equal(load(state, text.bytes, text.n), -EINVAL);
        buffer_clear(&text);

        buffer_put(&text, HEAD, strlen(HEAD));
        for (unsigned i = 1; i <= SERVICES_MAX + 1; i++) {
                char service[64];
                int n = snprintf(service, sizeof(service), "service \"s%u\" { } ", i);

                buffer_put(&text, service, (size_t)n);
                assert_int_equal(load(state, text.bytes, text.n), i <= SERVICES_MAX ? 0 : -EINVAL);
        }
        buffer_done(&text);

        tempdir_write_text(*state, "failoverd.conf", HEAD);
        for (unsigned i = 1; i < CONF_FILES_MAX + 1; i++) {
                char name[64];

                (void)snprintf(name, sizeof(name), "conf.d/%u.conf", i);
                tempdir_write_text(*state, name, "");
        }
        assert_int_equal(conf_load(tempdir_path(*state, "failoverd.conf", path), &conf, &complaint),
                         -E2BIG);
        assert_null(conf);
}

static void more_warnings_than_are_kept_are_dropped(void **state)
{
        struct conf_complaint complaint;
        struct buffer text = { 0 };
        struct conf *conf = NULL;
        char path[TEMPDIR_PATH_SIZE];

        buffer_put(&text, HEAD, strlen(HEAD));
        for (unsigned i = 1; i <= SERVICES_MAX; i++) {
                char service[64];
                int n = snprintf(service, sizeof(service), "service \"s%u\" { } ", i);

                buffer_put(&text, service, (size_t)n);
        }
        tempdir_write(*state, "failoverd.conf", text.bytes, text.n);
        assert_int_equal(conf_load(tempdir_path(*state, "failoverd.conf", path), &conf, &complaint),
                         0);
        assert_int_equal(conf->n_warnings, CONF_WARNINGS_MAX);
        conf_free(conf);
        buffer_done(&text);
}

static void the_sample_without_any_of_its_lines_is_survived(void **state)
{
        _cleanup_(freep)
        char *text = read_whole_file(SAMPLE);

        for (const char *line = text; *line;) {
                size_t n = strcspn(line, "\n") + 1;
                struct buffer rest = { 0 };

                buffer_put(&rest, text, (size_t)(line - text));
                buffer_put(&rest, line + n, strlen(line + n));
                (void)load(state, rest.bytes, rest.n);
                buffer_done(&rest);
                line += n;
        }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_tempdir, remove_tempdir)
        const struct CMUnitTest tests[] = {
                TEST(a_file_may_end_anywhere),
                TEST(any_byte_may_be_any_other),
                TEST(any_stretch_may_be_missing_or_repeated),
                TEST(noise_is_refused),
                TEST(characters_of_the_syntax_in_any_order_are_survived),
                TEST(what_is_too_large_is_refused_by_its_limit),
                TEST(there_are_at_most_so_many_members_services_and_files),
                TEST(more_warnings_than_are_kept_are_dropped),
                TEST(the_sample_without_any_of_its_lines_is_survived),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
