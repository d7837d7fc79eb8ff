/* The command line of failoverctl, and its page of documentation. Run from the root of the sources. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <getopt.h>

#include "daemon/failoverctl/ctl.h"

#define PAGE "docs/failoverctl.md"

enum { WORDS_MAX = 12, ROW_SIZE = 512 };

/*
 * Parses "who-is-master -o json x" with the program's name in front; complaints are dropped. What is
 * parsed points into the words until the next line.
 */
static int parse(const char *line, struct ctl_options *o, const struct ctl_command **command)
{
        static char copy[256], *argv[WORDS_MAX + 2];
        int argc = 1;

        memset(argv, 0, sizeof(argv));
        argv[0] = (char *)"failoverctl";
        (void)snprintf(copy, sizeof(copy), "%s", line);
        for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
                argv[argc++] = word;
        optind = 0; /* getopt begins anew */
        assert_non_null(freopen("/dev/null", "w", stderr));
        return ctl_parse(argc, argv, o, command);
}

static void options_stand_anywhere(void **state)
{
        const struct ctl_command *command;
        struct ctl_options o;

        (void)state;
        assert_int_equal(parse("-o json switchover db --to b --timeout 500ms", &o, &command), 0);
        assert_string_equal(command->name, "switchover");
        assert_true(o.json);
        assert_string_equal(o.to, "b");
        assert_int_equal(o.timeout, 500 * USEC_PER_MSEC);
        assert_int_equal(o.n_arguments, 1);
        assert_string_equal(o.arguments[0], "db");
        assert_int_equal(
                parse("switchover --to b db -c /x --endpoint 1.2.3.4:5 --no-color", &o, &command),
                0);
        assert_string_equal(o.config, "/x");
        assert_string_equal(o.endpoint, "1.2.3.4:5");
        assert_true(o.no_color);
        assert_string_equal(o.arguments[0], "db");
}

static void wrong_lines_are_refused(void **state)
{
        static const char *const lines[] = {
                "nonsense",
                "status x",
                "switchover",
                "switchover a b",
                "status --to b",
                "who-is-master --yes",
                "get a --ttl 5",
                "clone a --initdb",
                "status -o xml",
                "status --timeout soon",
                "status --timeout 0",
                "status --unknown",
                "switchover a --to",
                "config",
                "set k 1 2 3 4 5 6 7 8 9",
                "set k 1 2",
                "set k 1 --ttl 1500ms",
                "set k 1 --ttl -1",
                "set k 1 --in-order",
                "mk k 1 --swap-with-value x",
                "set k 1 --swap-with-index x",
                "set k 1 --swap-with-index -1",
                "set k 1 --swap-with-index 18446744073709551616",
                "get k --quorum --local",
                "rm k -f",
                "watch k --after-index",
                "lock",
                "lock --unknown n",
                "lock n --grace 0 true",
                "exec-watch",
                "get k -- --local",
                "member",
                "member add a b c d",
                "backup",
                "backup a b",
        };
        const struct ctl_command *command;
        struct ctl_options o;

        (void)state;
        for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
                assert_int_equal(parse(lines[i], &o, &command), -EINVAL);
}

static void a_command_to_run_keeps_its_own_options(void **state)
{
        static const struct {
                const char *line;
                size_t n_arguments;
                const char *program[4];
        } cases[] = {
                { "lock n", 1, { NULL } },
                { "lock n --ttl 5 ls -l /x", 1, { "ls", "-l", "/x" } },
                { "lock --ttl 5 n -- ls --ttl 7", 1, { "ls", "--ttl", "7" } },
                { "lock n --ttl 5 -- -odd", 1, { "-odd" } },
                { "elect n v", 2, { NULL } },
                { "elect n --ttl 5 v sh -c x", 2, { "sh", "-c", "x" } },
                { "exec-watch k --ttl", 0, { NULL } },
                { "exec-watch -r k -- env -i", 1, { "env", "-i" } },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                const struct ctl_command *command;
                struct ctl_options o;
                size_t n = 0;

                if (cases[i].n_arguments == 0) {
                        assert_int_equal(parse(cases[i].line, &o, &command), -EINVAL);
                        continue;
                }
                assert_int_equal(parse(cases[i].line, &o, &command), 0);
                assert_int_equal(o.n_arguments, cases[i].n_arguments);
                for (; cases[i].program[n]; n++)
                        assert_string_equal(o.program[n], cases[i].program[n]);
                assert_true(n > 0 ? !o.program[n] : !o.program);
        }
}

static void options_of_keys_are_those_of_etcdctl(void **state)
{
        const struct ctl_command *command;
        struct ctl_options o;

        (void)state;
        assert_int_equal(
                parse("set k v --ttl 2min --swap-with-value a --swap-with-index 7", &o, &command),
                0);
        assert_int_equal(o.ttl, 120 * USEC_PER_SEC);
        assert_string_equal(o.value_before, "a");
        assert_int_equal(o.index_before, 7);
        assert_int_equal(parse("ls -r -p -q --sort d", &o, &command), 0);
        assert_true(o.recursive && o.slash && o.quorum && o.sort);
        assert_int_equal(parse("watch -rf k --after-index 18446744073709551615", &o, &command), 0);
        assert_true(o.recursive && o.forever);
        assert_true(o.after_index == UINT64_MAX);
        assert_int_equal(parse("-o extended get k", &o, &command), 0);
        assert_true(o.extended && !o.json);
        assert_int_equal(parse("set k -- --ttl", &o, &command), 0);
        assert_string_equal(o.arguments[1], "--ttl");
        assert_int_equal(o.ttl, 0);
}

static void forms_are_escaped_with_any_bytes(void **state)
{
        struct buffer form = { 0 };

        (void)state;
        ctl_form_put(&form, "value", "a\0&=+ %", 7);
        assert_string_equal((char *)form.bytes, "value=a%00%26%3D%2B%20%25");
        ctl_form_put_number(&form, "ttl", UINT64_MAX);
        ctl_form_put_string(&form, "dir", "");
        assert_string_equal((char *)form.bytes,
                            "value=a%00%26%3D%2B%20%25&ttl=18446744073709551615&dir=");
        buffer_done(&form);
}

static void the_lease_clock_goes_on_and_its_timer_is_armed(void **state)
{
        struct instant before = ctl_lease_now(), then = instant_after(before, 20 * USEC_PER_MSEC);
        uint64_t expirations;
        int fd = ctl_lease_timer();

        (void)state;
        assert_true(fd >= 0);
        while (!instant_reached(then, ctl_lease_now())) {
                struct pollfd p = { .fd = fd, .events = POLLIN };

                assert_int_equal(ctl_lease_arm(fd, then), 0);
                assert_int_equal(poll(&p, 1, 5000), 1);
                assert_int_equal(read(fd, &expirations, sizeof(expirations)), sizeof(expirations));
        }
        assert_int_equal(ctl_lease_arm(fd, INSTANT_FOREVER), 0);
        assert_int_equal(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 30), 0);
        close(fd);
}

static void help_needs_no_arguments(void **state)
{
        const struct ctl_command *command;
        struct ctl_options o;

        (void)state;
        assert_int_equal(parse("switchover --help", &o, &command), 0);
        assert_true(o.help);
        assert_string_equal(command->name, "switchover");
        assert_int_equal(parse("-h", &o, &command), 0);
        assert_null(command);
}

static void slips_get_a_suggestion(void **state)
{
        static const struct {
                const char *word;
                const char *command;
        } cases[] = {
                { "stats", "status" },
                { "who", "who-is-master" },
                { "swithcover", "switchover" },
                { "failove", "failover" },
                { "boot", "bootstrap" },
                { "why", "why-not" },
                { "histroy", "history" },
                { "zebra", NULL },
                { "s", NULL },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                const char *suggestion = ctl_command_suggest(cases[i].word);

                if (cases[i].command)
                        assert_string_equal(suggestion, cases[i].command);
                else
                        assert_null(suggestion);
        }
}

static void durations_have_units(void **state)
{
        usec_t t;

        (void)state;
        assert_true(ctl_parse_duration("250us", &t) && t == 250);
        assert_true(ctl_parse_duration("500ms", &t) && t == 500000);
        assert_true(ctl_parse_duration("10", &t) && t == 10000000);
        assert_true(ctl_parse_duration("2min", &t) && t == 120000000);
        assert_false(ctl_parse_duration("", &t));
        assert_false(ctl_parse_duration("s", &t));
        assert_false(ctl_parse_duration("1.5s", &t));
        assert_false(ctl_parse_duration("99999999999999999999", &t));
        assert_false(ctl_parse_duration("9999999999999999h", &t));
}

static void sizes_and_times_are_printed_for_people(void **state)
{
        char text[32];

        (void)state;
        assert_string_equal(ctl_print_bytes(0, text), "0 B");
        assert_string_equal(ctl_print_bytes(1023, text), "1023 B");
        assert_string_equal(ctl_print_bytes(16 << 20, text), "16.0 MiB");
        assert_string_equal(ctl_print_msec(999, text), "999 ms");
        assert_string_equal(ctl_print_msec(2500, text), "2.5 s");
}

static void urls_are_escaped(void **state)
{
        char url[CTL_URL_SIZE] = "/x?";
        char *text = malloc(CTL_URL_SIZE);

        (void)state;
        ctl_url_append(url, "a b/ä&?", false);
        assert_string_equal(url, "/x?a%20b%2F%C3%A4%26%3F");
        ctl_url_append(url, "/c", true);
        assert_string_equal(url, "/x?a%20b%2F%C3%A4%26%3F/c");
        assert_non_null(text);
        memset(text, '?', CTL_URL_SIZE - 1);
        text[CTL_URL_SIZE - 1] = '\0';
        ctl_url_append(url, text, false);
        assert_true(strlen(url) < CTL_URL_SIZE);
        free(text);
}

static char *read_page(void)
{
        FILE *file = fopen(PAGE, "r");
        char *text = calloc(1, 64 * 1024);

        assert_non_null(file);
        assert_non_null(text);
        assert_true(fread(text, 1, 64 * 1024 - 1, file) > 0);
        assert_int_equal(fclose(file), 0);
        return text;
}

/* As the page must list a command; a bar inside a cell is escaped. */
static void print_row(const struct ctl_command *c, char ret[static ROW_SIZE])
{
        size_t n = (size_t)snprintf(ret, ROW_SIZE, "| `%s%s", c->name, c->arguments[0] ? " " : "");

        for (const char *s = c->arguments; *s; s++) {
                if (*s == '|')
                        ret[n++] = '\\';
                ret[n++] = *s;
        }
        (void)snprintf(ret + n, ROW_SIZE - n, "` | %s |\n", c->meaning);
}

static void the_page_lists_every_command(void **state)
{
        char *page = read_page();
        size_t rows = 0, commands = 0;

        (void)state;
        for (const struct ctl_command *c; (c = ctl_command_at(commands)); commands++) {
                char row[ROW_SIZE];

                print_row(c, row);
                if (!strstr(page, row))
                        fail_msg("%s lacks: %s", PAGE, row);
        }
        for (const char *s = page; (s = strstr(s, "\n| `")); s++)
                rows++;
        assert_true(commands > 0);
        assert_int_equal(rows, commands);
        free(page);
}

static void the_page_names_every_option_and_exit_status(void **state)
{
        static const char *const words[] = {
                "`--config FILE`",
                "`--endpoint HOST:PORT`",
                "`--output json`",
                "`--timeout DURATION`",
                "`--no-color`",
                "`NO_COLOR`",
                "`--help`",
                "`--to NODE`",
                "`--yes`",
                "`--initdb`",
                "`--adopt`",
                "`--ttl SECONDS`",
                "`--recursive`",
                "`--dir`",
                "`--sort`",
                "`--quorum`",
                "`--local`",
                "`--slash`",
                "`--in-order`",
                "`--swap-with-value OLD`",
                "`--forever`",
                "`--swap-with-index N`",
                "`--listen`",
                "`--with-value OLD`",
                "`--with-index N`",
                "`--after-index N`",
                "`--grace DURATION`",
                "- **0** ",
                "- **1** ",
                "- **2** ",
                "- **3** ",
                "- **4** ",
                "- **5** ",
        };
        char *page = read_page();

        (void)state;
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
                if (!strstr(page, words[i]))
                        fail_msg("%s lacks %s", PAGE, words[i]);
        }
        free(page);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(options_stand_anywhere),
                cmocka_unit_test(wrong_lines_are_refused),
                cmocka_unit_test(a_command_to_run_keeps_its_own_options),
                cmocka_unit_test(options_of_keys_are_those_of_etcdctl),
                cmocka_unit_test(forms_are_escaped_with_any_bytes),
                cmocka_unit_test(the_lease_clock_goes_on_and_its_timer_is_armed),
                cmocka_unit_test(help_needs_no_arguments),
                cmocka_unit_test(slips_get_a_suggestion),
                cmocka_unit_test(durations_have_units),
                cmocka_unit_test(sizes_and_times_are_printed_for_people),
                cmocka_unit_test(urls_are_escaped),
                cmocka_unit_test(the_page_lists_every_command),
                cmocka_unit_test(the_page_names_every_option_and_exit_status),
        };
        char row[ROW_SIZE];

        if (argc > 1 && strcmp(argv[1], "--print") == 0) {
                for (size_t i = 0; ctl_command_at(i); i++) {
                        print_row(ctl_command_at(i), row);
                        fputs(row, stdout);
                }
                return EXIT_SUCCESS;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
