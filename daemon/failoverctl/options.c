/* The command line: options in any place, the command, its arguments, and what it shall run. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/failoverctl/ctl.h"

#define CONFIG_DEFAULT "/etc/failoverd/failoverd.conf"

enum {
        LONG_FIRST = 256, /* what getopt returns for row 0 of the table */
        TTL_SECONDS_MAX = 1000 * 1000 * 1000,
};

static int complain(const char *format, const char *what)
{
        fputs("failoverctl: ", stderr);
        fprintf(stderr, format, what); /* NOLINT: each caller's format takes one string */
        fputc('\n', stderr);
        return -EINVAL;
}

bool ctl_parse_duration(const char *s, usec_t *ret)
{
        static const struct {
                const char *unit;
                usec_t length;
        } units[] = {
                { "ms", USEC_PER_MSEC },      { "s", USEC_PER_SEC },
                { "", USEC_PER_SEC },         { "us", 1 },
                { "min", 60 * USEC_PER_SEC }, { "h", 3600 * USEC_PER_SEC },
        };
        usec_t n = 0;

        if (*s < '0' || *s > '9')
                return false;
        for (; *s >= '0' && *s <= '9'; s++) {
                if (__builtin_mul_overflow(n, (usec_t)10, &n) ||
                    __builtin_add_overflow(n, (usec_t)(*s - '0'), &n))
                        return false;
        }
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
                if (strcmp(s, units[i].unit) == 0)
                        return !__builtin_mul_overflow(n, units[i].length, ret);
        }
        return false;
}

static int take_config(struct ctl_options *o, const char *s)
{
        o->config = s;
        return 0;
}

static int take_output(struct ctl_options *o, const char *format)
{
        static const char *const formats[] = { "table", "simple", "extended", "json" };

        for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
                if (strcmp(format, formats[i]) == 0) {
                        o->extended = i == 2;
                        o->json = i == 3;
                        return 0;
                }
        }
        return complain("-o is \"json\", \"table\" or, for keys, \"extended\", not \"%s\"", format);
}

static int take_endpoint(struct ctl_options *o, const char *s)
{
        o->endpoint = s;
        return 0;
}

static int take_timeout(struct ctl_options *o, const char *s)
{
        if (!ctl_parse_duration(s, &o->timeout) || o->timeout == 0)
                return complain("--timeout is a duration such as 500ms, 10s or 2min, not \"%s\"",
                                s);
        return 0;
}

static int take_to(struct ctl_options *o, const char *s)
{
        o->to = s;
        return 0;
}

static int take_ttl(struct ctl_options *o, const char *s)
{
        if (!ctl_parse_duration(s, &o->ttl) || o->ttl % USEC_PER_SEC != 0 ||
            o->ttl / USEC_PER_SEC > TTL_SECONDS_MAX)
                return complain("--ttl is a whole number of seconds, not \"%s\"", s);
        return 0;
}

static int take_grace(struct ctl_options *o, const char *s)
{
        if (!ctl_parse_duration(s, &o->grace) || o->grace == 0)
                return complain("--grace is a duration such as 500ms or 2s, not \"%s\"", s);
        return 0;
}

static int take_value(struct ctl_options *o, const char *s)
{
        if (!*s)
                return complain("a value to compare with is not empty%s", s);
        o->value_before = s;
        return 0;
}

static int take_number(const char *s, uint64_t *ret)
{
        char *end;

        errno = 0;
        *ret = strtoull(s, &end, 10);
        if (*s < '0' || *s > '9' || *end || errno)
                return complain("an index is a number, not \"%s\"", s);
        return 0;
}

static int take_index(struct ctl_options *o, const char *s)
{
        return take_number(s, &o->index_before);
}

static int take_after(struct ctl_options *o, const char *s)
{
        return take_number(s, &o->after_index);
}

#define FLAG(member) offsetof(struct ctl_options, member), NULL
#define TAKE(function) 0, function

/* Either @flag is set or @take called. What has no @command_option is for all commands. */
/* clang-format off */
static const struct row {
        const char *name;
        char letter; /* 0: none */
        unsigned command_option;
        size_t flag;
        int (*take)(struct ctl_options *o, const char *value);
} rows[] = {
        { "config",          'c', 0,                    TAKE(take_config) },
        { "output",          'o', 0,                    TAKE(take_output) },
        { "help",            'h', 0,                    FLAG(help) },
        { "endpoint",        0,   0,                    TAKE(take_endpoint) },
        { "endpoints",       0,   0,                    TAKE(take_endpoint) },
        { "timeout",         0,   0,                    TAKE(take_timeout) },
        { "no-color",        0,   0,                    FLAG(no_color) },
        { "to",              0,   CTL_OPTION_TO,        TAKE(take_to) },
        { "yes",             0,   CTL_OPTION_YES,       FLAG(yes) },
        { "initdb",          0,   CTL_OPTION_BOOTSTRAP, FLAG(initdb) },
        { "adopt",           0,   CTL_OPTION_BOOTSTRAP, FLAG(adopt) },
        { "ttl",             0,   CTL_OPTION_TTL,       TAKE(take_ttl) },
        { "recursive",       'r', CTL_OPTION_RECURSIVE, FLAG(recursive) },
        { "dir",             0,   CTL_OPTION_DIR,       FLAG(dir) },
        { "sort",            0,   CTL_OPTION_SORT,      FLAG(sort) },
        { "quorum",          'q', CTL_OPTION_READ,      FLAG(quorum) },
        { "local",           0,   CTL_OPTION_READ,      FLAG(local) },
        { "slash",           'p', CTL_OPTION_SLASH,     FLAG(slash) },
        { "in-order",        0,   CTL_OPTION_IN_ORDER,  FLAG(in_order) },
        { "swap-with-value", 0,   CTL_OPTION_SWAP,      TAKE(take_value) },
        { "swap-with-index", 0,   CTL_OPTION_SWAP,      TAKE(take_index) },
        { "with-value",      0,   CTL_OPTION_WITH,      TAKE(take_value) },
        { "with-index",      0,   CTL_OPTION_WITH,      TAKE(take_index) },
        { "after-index",     0,   CTL_OPTION_AFTER,     TAKE(take_after) },
        { "forever",         'f', CTL_OPTION_FOREVER,   FLAG(forever) },
        { "grace",           0,   CTL_OPTION_GRACE,     TAKE(take_grace) },
        { "listen",          'l', CTL_OPTION_LISTEN,    FLAG(listen) },
};
/* clang-format on */

enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

/* The same table as getopt wants it. A '+' in front: it stops where no option stands. */
static void make_getopt(struct option ret_long[static N_ROWS + 1],
                        char ret_short[static 2 * N_ROWS])
{
        size_t n = 0;

        ret_short[n++] = '+';
        for (size_t i = 0; i < N_ROWS; i++) {
                int has = rows[i].take ? required_argument : no_argument;

                ret_long[i] = (struct option){ rows[i].name, has, NULL, LONG_FIRST + (int)i };
                if (rows[i].letter)
                        ret_short[n++] = rows[i].letter;
                if (rows[i].letter && rows[i].take)
                        ret_short[n++] = ':';
        }
        ret_long[N_ROWS] = (struct option){ 0 };
        ret_short[n] = '\0';
}

static const struct row *row_of(int option)
{
        for (size_t i = 0; i < N_ROWS; i++) {
                if (option == LONG_FIRST + (int)i || (option && option == rows[i].letter))
                        return &rows[i];
        }
        return NULL; /* getopt has complained */
}

static int take_option(struct ctl_options *o, int option, const char *value)
{
        const struct row *row = row_of(option);

        if (!row)
                return -EINVAL;
        o->given |= row->command_option;
        if (row->take)
                return row->take(o, value);
        *(bool *)((char *)o + row->flag) = true;
        return 0;
}

static int check_options(const struct ctl_options *o, const struct ctl_command *command)
{
        unsigned wrong = o->given & ~command->options;

        for (size_t i = 0; i < N_ROWS; i++) {
                if (rows[i].command_option & wrong)
                        return complain("this command has no option --%s", rows[i].name);
        }
        if (o->quorum && o->local)
                return complain("--quorum and --local exclude each other%s", "");
        return 0;
}

static int check_arguments(const struct ctl_options *o, const struct ctl_command *command)
{
        if (o->n_arguments >= command->arguments_min && o->n_arguments <= command->arguments_max)
                return 0;
        fprintf(stderr, "failoverctl: too %s arguments\nusage: failoverctl %s %s\n",
                o->n_arguments < command->arguments_min ? "few" : "many", command->name,
                command->arguments);
        return -EINVAL;
}

static int take_command(const char *name, const struct ctl_command **ret)
{
        const char *suggestion;

        *ret = ctl_command_by_name(name);
        if (*ret)
                return 0;
        suggestion = ctl_command_suggest(name);
        fprintf(stderr, "failoverctl: there is no command \"%s\"", name);
        if (suggestion)
                fprintf(stderr, "; did you mean \"%s\"?", suggestion);
        fputs("\n\"failoverctl --help\" lists all.\n", stderr);
        return -EINVAL;
}

/* One word that is no option. What a command shall run is left as it is, with its own options. */
static int take_word(int argc, char **argv, struct ctl_options *o,
                     const struct ctl_command **command)
{
        if (!*command)
                return take_command(argv[optind++], command);
        if ((*command)->takes_program && o->n_arguments == (*command)->arguments_max) {
                o->program = argv + optind;
                optind = argc;
                return 0;
        }
        if (o->n_arguments == CTL_ARGUMENTS_MAX)
                return complain("too many arguments%s", "");
        o->arguments[o->n_arguments++] = argv[optind++];
        return 0;
}

/* Options up to the next word; behind "--" there are none. */
static int take_options(int argc, char **argv, struct ctl_options *o, bool *ended)
{
        struct option long_options[N_ROWS + 1];
        char short_options[2 * N_ROWS];
        int option, begin = optind;

        make_getopt(long_options, short_options);
        while ((option = getopt_long(argc, argv, short_options, long_options, NULL)) >= 0) {
                int r = take_option(o, option, optarg);

                if (r < 0)
                        return r;
                begin = optind;
        }
        *ended = optind > begin && optind > 0 && strcmp(argv[optind - 1], "--") == 0;
        return 0;
}

int ctl_parse(int argc, char **argv, struct ctl_options *ret,
              const struct ctl_command **ret_command)
{
        struct ctl_options o = { .config = CONFIG_DEFAULT };
        const struct ctl_command *command = NULL;
        bool ended = false;
        int r = take_options(argc, argv, &o, &ended);

        while (r == 0 && optind < argc) {
                r = take_word(argc, argv, &o, &command);
                if (r == 0 && !ended && optind < argc)
                        r = take_options(argc, argv, &o, &ended);
        }
        if (r == 0 && command && !o.help) {
                r = check_options(&o, command);
                if (r == 0)
                        r = check_arguments(&o, command);
        }
        if (r < 0)
                return r;
        *ret = o;
        *ret_command = command;
        return 0;
}
