/* Quoting, slot names, and edits of the administrator's files. */
#include <errno.h>
#include <libpq-fe.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actions/postgres/text.h"

static void connection_string_means_what_was_put_in(void **state)
{
        static const char nasty[] = "it's a \\ path";
        struct buffer b = { 0 };
        PQconninfoOption *options, *o;
        unsigned n_found = 0;

        (void)state;
        text_conninfo_put(&b, "host", "10.0.0.1");
        text_conninfo_put(&b, "passfile", nasty);
        text_conninfo_put(&b, "user", "");
        buffer_put_u8(&b, '\0');
        options = PQconninfoParse((const char *)b.bytes, NULL);
        assert_non_null(options);
        for (o = options; o->keyword; o++) {
                if (strcmp(o->keyword, "host") == 0 && o->val)
                        n_found += strcmp(o->val, "10.0.0.1") == 0;
                if (strcmp(o->keyword, "passfile") == 0 && o->val)
                        n_found += strcmp(o->val, nasty) == 0;
        }
        assert_int_equal(n_found, 2);
        PQconninfoFree(options);
        buffer_done(&b);
}

static void setting_is_quoted(void **state)
{
        struct buffer b = { 0 };

        (void)state;
        text_setting_put(&b, "primary_conninfo", "user='it\\'s'");
        buffer_put_u8(&b, '\0');
        assert_string_equal((const char *)b.bytes, "primary_conninfo = 'user=''it\\\\''s'''\n");
        buffer_done(&b);
}

static void sql_is_quoted(void **state)
{
        static const struct {
                const char *text;
                const char *quoted;
        } table[] = {
                { "plain", "'plain'" },
                { "it's", "'it''s'" },
                { "a\\b", "E'a\\\\b'" },
                { "", "''" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                char *quoted = text_sql_quote(table[i].text);

                assert_string_equal(quoted, table[i].quoted);
                free(quoted);
        }
        char *identifier = text_sql_identifier("od\"d");

        assert_string_equal(identifier, "\"od\"\"d\"");
        free(identifier);
}

static void slot_names_are_valid_and_distinct(void **state)
{
        static const char *const members[] = {
                "db1",
                "db-1",
                "db_1",
                "db.1",
                "DB1",
                "a-name-that-is-so-long-that-it-does-not-fit-into-a-slot-name-1",
                "a-name-that-is-so-long-that-it-does-not-fit-into-a-slot-name-2",
        };
        enum { N = sizeof(members) / sizeof(members[0]) };
        char slots[N][SLOT_NAME_SIZE];

        (void)state;
        for (size_t i = 0; i < N; i++) {
                text_slot_name(members[i], slots[i]);
                assert_true(strlen(slots[i]) < SLOT_NAME_SIZE);
                assert_int_equal(strspn(slots[i], "abcdefghijklmnopqrstuvwxyz0123456789_"),
                                 strlen(slots[i]));
                for (size_t j = 0; j < i; j++)
                        assert_string_not_equal(slots[i], slots[j]);
        }
        assert_string_equal(slots[0], "failoverd_db1");
        assert_string_equal(slots[2], "failoverd_db_1");
}

static void recovery_settings_are_taken_out(void **state)
{
        static const char *const names[] = { "primary_conninfo", "port", NULL };
        static const char text[] = "# Do not edit\n"
                                   "primary_conninfo = 'host=x'\n"
                                   "  Port 5433\n"
                                   "port=5433\n"
                                   "portal = 'x'\n"
                                   "#port = 1\n"
                                   "work_mem = '4MB'";
        char *clean = text_without_settings(text, names);

        (void)state;
        assert_string_equal(clean, "# Do not edit\nportal = 'x'\n#port = 1\nwork_mem = '4MB'");
        free(clean);
}

static void block_is_put_on_top_and_replaced(void **state)
{
        char *once = text_with_block("a\nb\n", "# begin", "# end", "x\n");
        char *twice = text_with_block(once, "# begin", "# end", "y\nz\n");
        char *moved = text_with_block("a\n# begin\nold\n# end\nb", "# begin", "# end", "");

        (void)state;
        assert_string_equal(once, "# begin\nx\n# end\na\nb\n");
        assert_string_equal(twice, "# begin\ny\nz\n# end\na\nb\n");
        assert_string_equal(moved, "# begin\n# end\na\nb");
        free(once);
        free(twice);
        free(moved);
}

static void password_of_the_right_line_is_found(void **state)
{
        static const char text[] = "# *:*:*:alice:wrong\n"
                                   "\n"
                                   "short:line\n"
                                   "db\\:1:5432:*:bob:b\n"
                                   "*:*:replication:alice:se\\:cr\\\\et\r\n"
                                   "*:*:*:alice:later";
        char *password = text_password(text, "alice");

        (void)state;
        assert_string_equal(password, "se:cr\\et");
        free(password);
        password = text_password(text, "bob");
        assert_string_equal(password, "b");
        free(password);
        assert_null(text_password(text, "carol"));
        password = text_password("*:*:*:*:all", "carol");
        assert_string_equal(password, "all");
        free(password);
}

static void foreign_bytes_are_made_plain(void **state)
{
        char text[] = "gr\xc3\xbc\xc3\x9f\n\t.";

        (void)state;
        text_make_plain(text);
        assert_string_equal(text, "gr??????.");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(connection_string_means_what_was_put_in),
                cmocka_unit_test(setting_is_quoted),
                cmocka_unit_test(sql_is_quoted),
                cmocka_unit_test(slot_names_are_valid_and_distinct),
                cmocka_unit_test(recovery_settings_are_taken_out),
                cmocka_unit_test(block_is_put_on_top_and_replaced),
                cmocka_unit_test(password_of_the_right_line_is_found),
                cmocka_unit_test(foreign_bytes_are_made_plain),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
