/* The command line: options in any place, the command, its arguments. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/failoverctl/ctl.h"

#define CONFIG_DEFAULT "/etc/failoverd/failoverd.conf"

enum {
        LONG_ENDPOINT = 256,
        LONG_TIMEOUT,
        LONG_NO_COLOR,
        LONG_TO,
        LONG_YES,
        LONG_INITDB,
        LONG_ADOPT,
        LONG_TTL,
        LONG_RECURSIVE,
};

/* clang-format off */
static const struct option long_options[] = {
        { "config",    required_argument, NULL, 'c' },
        { "output",    required_argument, NULL, 'o' },
        { "help",      no_argument,       NULL, 'h' },
        { "endpoint",  required_argument, NULL, LONG_ENDPOINT },
        { "timeout",   required_argument, NULL, LONG_TIMEOUT },
        { "no-color",  no_argument,       NULL, LONG_NO_COLOR },
        { "to",        required_argument, NULL, LONG_TO },
        { "yes",       no_argument,       NULL, LONG_YES },
        { "initdb",    no_argument,       NULL, LONG_INITDB },
        { "adopt",     no_argument,       NULL, LONG_ADOPT },
        { "ttl",       required_argument, NULL, LONG_TTL },
        { "recursive", no_argument,       NULL, LONG_RECURSIVE },
        { 0 },
};
/* clang-format on */

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

static int take_output(struct ctl_options *o, const char *format)
{
        if (strcmp(format, "json") != 0 && strcmp(format, "table") != 0)
                return complain("-o is \"json\" or \"table\", not \"%s\"", format);
        o->json = strcmp(format, "json") == 0;
        return 0;
}

static int take_timeout(struct ctl_options *o, const char *s)
{
        if (!ctl_parse_duration(s, &o->timeout) || o->timeout == 0)
                return complain("--timeout is a duration such as 500ms, 10s or 2min, not \"%s\"",
                                s);
        return 0;
}

static int take_option(struct ctl_options *o, int option, const char *value)
{
        switch (option) {
        case 'c':
                o->config = value;
                return 0;
        case 'o':
                return take_output(o, value);
        case 'h':
                o->help = true;
                return 0;
        case LONG_ENDPOINT:
                o->endpoint = value;
                return 0;
        case LONG_TIMEOUT:
                return take_timeout(o, value);
        case LONG_NO_COLOR:
                o->no_color = true;
                return 0;
        case LONG_TO:
                o->to = value;
                return 0;
        case LONG_YES:
                o->yes = true;
                return 0;
        case LONG_INITDB:
                o->initdb = true;
                return 0;
        case LONG_ADOPT:
                o->adopt = true;
                return 0;
        case LONG_TTL:
                o->ttl = value;
                return 0;
        case LONG_RECURSIVE:
                o->recursive = true;
                return 0;
        default:
                return -EINVAL; /* getopt has complained */
        }
}

static int check_options(const struct ctl_options *o, const struct ctl_command *command)
{
        const struct {
                unsigned option;
                bool given;
                const char *name;
        } given[] = {
                { CTL_OPTION_TO, o->to != NULL, "--to" },
                { CTL_OPTION_YES, o->yes, "--yes" },
                { CTL_OPTION_BOOTSTRAP, o->initdb, "--initdb" },
                { CTL_OPTION_BOOTSTRAP, o->adopt, "--adopt" },
                { CTL_OPTION_TTL, o->ttl != NULL, "--ttl" },
                { CTL_OPTION_RECURSIVE, o->recursive, "--recursive" },
        };

        for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
                if (given[i].given && !(command->options & given[i].option))
                        return complain("this command has no option %s", given[i].name);
        }
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

int ctl_parse(int argc, char **argv, struct ctl_options *ret,
              const struct ctl_command **ret_command)
{
        struct ctl_options o = { .config = CONFIG_DEFAULT };
        const struct ctl_command *command = NULL;
        int option, r;

        while ((option = getopt_long(argc, argv, "c:o:h", long_options, NULL)) >= 0) {
                r = take_option(&o, option, optarg);
                if (r < 0)
                        return r;
        }
        if (optind < argc) {
                r = take_command(argv[optind++], &command);
                if (r < 0)
                        return r;
        }
        if (argc - optind > CTL_ARGUMENTS_MAX)
                return complain("too many arguments%s", "");
        while (optind < argc)
                o.arguments[o.n_arguments++] = argv[optind++];
        if (command && !o.help) {
                r = check_options(&o, command);
                if (r == 0)
                        r = check_arguments(&o, command);
                if (r < 0)
                        return r;
        }
        *ret = o;
        *ret_command = command;
        return 0;
}
