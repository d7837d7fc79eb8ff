/* Reading and printing of values. */
#include "conf/values.h"

#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "conf/options.h"
#include "election/base/memory.h"

/* PostgreSQL versions that the agent knows how to promote and rewind. */
enum { POSTGRES_VERSION_MIN = 12, POSTGRES_VERSION_MAX = 17 };

struct unit {
        const char *name;
        uint64_t factor;
};

/* Ascending, so that printing may look from the end. */
static const struct unit durations[] = {
        { "us", 1 },
        { "ms", USEC_PER_MSEC },
        { "s", USEC_PER_SEC },
        { "min", 60 * USEC_PER_SEC },
        { "h", 3600 * USEC_PER_SEC },
        { NULL, 0 },
};

static const struct unit sizes[] = {
        { "", 1 },
        { "B", 1 },
        { "kB", 1000 },
        { "KiB", 1024 },
        { "MB", 1000 * 1000 },
        { "MiB", 1024 * 1024 },
        { "GB", 1000 * 1000 * 1000 },
        { "GiB", 1024 * 1024 * 1024 },
        { "TB", UINT64_C(1000) * 1000 * 1000 * 1000 },
        { "TiB", UINT64_C(1024) * 1024 * 1024 * 1024 },
        { NULL, 0 },
};

/* Digits only; returns where they end, or NULL if there are none or too many. */
static const char *read_digits(const char *s, uint64_t *ret)
{
        uint64_t value = 0;

        if (*s < '0' || *s > '9')
                return NULL;
        for (; *s >= '0' && *s <= '9'; s++) {
                if (__builtin_mul_overflow(value, 10u, &value) ||
                    __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value))
                        return NULL;
        }
        *ret = value;
        return s;
}

/* What follows the point in "1.5s", as millionths. */
static const char *read_fraction(const char *s, uint64_t *ret)
{
        uint64_t part = 100000;

        *ret = 0;
        if (*s != '.')
                return s;
        for (s++; *s >= '0' && *s <= '9'; s++, part /= 10)
                *ret += (uint64_t)(*s - '0') * part;
        return part == 100000 ? NULL : s;
}

static int read_with_unit(const struct unit *units, const char *s, uint64_t *ret)
{
        uint64_t whole, millionths, value;

        s = read_digits(s, &whole);
        if (s)
                s = read_fraction(s, &millionths);
        if (!s)
                return -EINVAL;
        if (*s == ' ')
                s++;
        for (; units->name; units++) {
                if (strcmp(s, units->name) != 0)
                        continue;
                if (__builtin_mul_overflow(whole, units->factor, &value))
                        return -ERANGE;
                *ret = value + units->factor / 1000000 * millionths +
                       units->factor % 1000000 * millionths / 1000000;
                return *ret < value ? -ERANGE : 0;
        }
        return -EINVAL;
}

static int in_range(const struct conf_option *o, uint64_t value)
{
        return value < o->min || value > o->max ? -ERANGE : 0;
}

static int parse_duration(const struct conf_option *o, const char *value, void *field)
{
        usec_t length;
        int r;

        r = read_with_unit(durations, value, &length);
        if (r == 0)
                r = in_range(o, length);
        if (r == 0)
                *(usec_t *)field = length;
        return r;
}

static void print_with_unit(const struct unit *units, uint64_t value, char *ret, size_t size)
{
        const struct unit *best = units;

        for (const struct unit *u = units; u->name; u++) {
                if (value > 0 && value % u->factor == 0)
                        best = u;
        }
        (void)snprintf(ret, size, "%" PRIu64 "%s", value / best->factor, best->name);
}

void print_duration(usec_t length, char *ret, size_t size)
{
        print_with_unit(durations, length, ret, size);
}

const char *print_range(const struct conf_option *option, char *ret, size_t size)
{
        static const struct unit none[] = { { "", 1 }, { NULL, 0 } };
        const struct unit *units = none;
        char min[DURATION_SIZE], max[DURATION_SIZE];

        if (option->type == &type_duration)
                units = durations;
        else if (option->type == &type_size)
                units = sizes;
        print_with_unit(units, option->min, min, sizeof(min));
        print_with_unit(units, option->max, max, sizeof(max));
        (void)snprintf(ret, size, "from %s to %s", min, max);
        return ret;
}

static void show_duration(const struct conf_option *o, const void *field, FILE *file)
{
        char text[DURATION_SIZE];

        (void)o;
        print_duration(*(const usec_t *)field, text, sizeof(text));
        fputs(text, file);
}

static int parse_size(const struct conf_option *o, const char *value, void *field)
{
        uint64_t size;
        int r;

        r = read_with_unit(sizes, value, &size);
        if (r == 0)
                r = in_range(o, size);
        if (r == 0)
                *(uint64_t *)field = size;
        return r;
}

static void show_size(const struct conf_option *o, const void *field, FILE *file)
{
        char text[DURATION_SIZE];

        (void)o;
        print_with_unit(sizes, *(const uint64_t *)field, text, sizeof(text));
        fputs(text, file);
}

static int read_number(const char *value, uint64_t *ret)
{
        const char *end = read_digits(value, ret);

        return end && *end == '\0' ? 0 : -EINVAL;
}

static int parse_number(const struct conf_option *o, const char *value, void *field)
{
        uint64_t number;
        int r;

        r = read_number(value, &number);
        if (r == 0)
                r = in_range(o, number);
        if (r == 0)
                *(unsigned *)field = (unsigned)number;
        return r;
}

static void show_number(const struct conf_option *o, const void *field, FILE *file)
{
        (void)o;
        fprintf(file, "%u", *(const unsigned *)field);
}

static int parse_version(const struct conf_option *o, const char *value, void *field)
{
        uint64_t number;

        (void)o;
        if (read_number(value, &number) < 0)
                return -EINVAL;
        if (number != 0 && (number < POSTGRES_VERSION_MIN || number > POSTGRES_VERSION_MAX))
                return -EINVAL;
        *(unsigned *)field = (unsigned)number;
        return 0;
}

static int parse_port(const struct conf_option *o, const char *value, void *field)
{
        uint64_t number;

        (void)o;
        if (read_number(value, &number) < 0 || number == 0 || number > UINT16_MAX)
                return -EINVAL;
        *(uint16_t *)field = (uint16_t)number;
        return 0;
}

static void show_port(const struct conf_option *o, const void *field, FILE *file)
{
        (void)o;
        fprintf(file, "%u", *(const uint16_t *)field);
}

static int parse_bool(const struct conf_option *o, const char *value, void *field)
{
        static const char *const yes[] = { "true", "yes", "on" };
        static const char *const no[] = { "false", "no", "off" };

        (void)o;
        for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
                if (strcmp(value, yes[i]) != 0 && strcmp(value, no[i]) != 0)
                        continue;
                *(bool *)field = strcmp(value, yes[i]) == 0;
                return 0;
        }
        return -EINVAL;
}

static void show_bool(const struct conf_option *o, const void *field, FILE *file)
{
        (void)o;
        fputs(*(const bool *)field ? "true" : "false", file);
}

static int set_text(const char *value, void *field)
{
        char **text = field;

        free(*text);
        *text = must_copy(value, strlen(value));
        return 0;
}

static int parse_text(const struct conf_option *o, const char *value, void *field)
{
        (void)o;
        return set_text(value, field);
}

/* Inside quotes of libconfuse, where ${ would be looked up in the environment. */
static void show_text(const struct conf_option *o, const void *field, FILE *file)
{
        const char *text = *(char *const *)field;

        (void)o;
        for (; *text; text++) {
                if (strchr("\"\\$", *text))
                        fputc('\\', file);
                fputc(*text, file);
        }
}

static void release_text(void *field)
{
        free(*(char **)field);
}

static int parse_path(const struct conf_option *o, const char *value, void *field)
{
        bool may_be_empty = o->defaults[0] && o->defaults[0][0] == '\0';

        if (value[0] != '/' && !(may_be_empty && value[0] == '\0'))
                return -EINVAL;
        if (strlen(value) >= CONF_PATH_SIZE)
                return -EINVAL;
        return set_text(value, field);
}

static int parse_name(const struct conf_option *o, const char *value, void *field)
{
        (void)o;
        return name_is_valid(value) ? set_text(value, field) : -EINVAL;
}

/* As the kernel's dev_valid_name(). */
static int parse_interface(const struct conf_option *o, const char *value, void *field)
{
        size_t n = strlen(value);

        (void)o;
        if (n == 0 || n >= IFNAMSIZ || strcspn(value, "/: \t") != n)
                return -EINVAL;
        if (strcmp(value, ".") == 0 || strcmp(value, "..") == 0)
                return -EINVAL;
        return set_text(value, field);
}

static int parse_label(const struct conf_option *o, const char *value, void *field)
{
        size_t n = strlen(value);

        (void)o;
        if (n >= IFNAMSIZ || strcspn(value, " \t/") != n)
                return -EINVAL;
        return set_text(value, field);
}

static int parse_address(const struct conf_option *o, const char *value, void *field)
{
        (void)o;
        return address_parse(value, field);
}

static void show_address(const struct conf_option *o, const void *field, FILE *file)
{
        char text[ADDRESS_SIZE];

        (void)o;
        address_print(field, text, sizeof(text));
        fputs(text, file);
}

static int parse_prefix(const struct conf_option *o, const char *value, void *field)
{
        const char *slash = strchr(value, '/');
        struct conf_vip *vip = field;
        struct address address;
        char host[ADDRESS_SIZE];
        uint64_t prefix = 0;
        size_t n = slash ? (size_t)(slash - value) : strlen(value);

        (void)o;
        if (n >= sizeof(host))
                return -EINVAL;
        memcpy(host, value, n);
        host[n] = '\0';
        if (address_parse(host, &address) < 0)
                return -EINVAL;
        if (slash && (read_number(slash + 1, &prefix) < 0 || prefix == 0))
                return -EINVAL;
        if (prefix > address_size(&address) * 8)
                return -EINVAL;
        vip->address = address;
        vip->prefix = slash ? (unsigned)prefix : (unsigned)address_size(&address) * 8;
        return 0;
}

static void show_prefix(const struct conf_option *o, const void *field, FILE *file)
{
        const struct conf_vip *vip = field;

        show_address(o, &vip->address, file);
        fprintf(file, "/%u", vip->prefix);
}

static int parse_choice(const struct conf_option *o, const char *value, void *field)
{
        for (unsigned i = 0; o->type->words[i]; i++) {
                if (strcmp(value, o->type->words[i]) != 0)
                        continue;
                memcpy(field, &i, sizeof(i));
                return 0;
        }
        return -EINVAL;
}

static void show_choice(const struct conf_option *o, const void *field, FILE *file)
{
        unsigned i;

        memcpy(&i, field, sizeof(i));
        fputs(o->type->words[i], file);
}

/* An enum without negative values is stored as an unsigned int by gcc and clang. */
_Static_assert(sizeof(enum conf_mode) == sizeof(unsigned), "choices are stored as unsigned");

static const char *const log_levels[] = { "error", "warning", "notice", "info", "debug", NULL };
static const char *const profiles[] = { "fast", "lan", "cloud", NULL };
static const char *const roles[] = { "member", "witness", "observer", NULL };
static const char *const modes[] = { "automatic", "manual", NULL };
static const char *const on_crash[] = { "failover", "restart", NULL };
static const char *const rejoins[] = { "manual", "rewind", "clone", "rewind,clone", NULL };

/* clang-format off */
const struct conf_type type_duration = {
        .noun = "a duration", .accepted = "a number with us, ms, s, min or h, for example 3s",
        .parse = parse_duration, .print = show_duration, .is_bare = true,
};
const struct conf_type type_size = {
        .noun = "a size", .accepted = "a number of bytes, or with kB, MB, GB, KiB, MiB or GiB, for example 16MiB",
        .parse = parse_size, .print = show_size, .is_bare = true,
};
const struct conf_type type_number = {
        .noun = "a number", .accepted = "a whole number",
        .parse = parse_number, .print = show_number, .is_bare = true,
};
const struct conf_type type_version = {
        .noun = "a version", .accepted = "a major version of PostgreSQL from 12 to 17, or 0 to read it from PG_VERSION",
        .parse = parse_version, .print = show_number, .is_bare = true,
};
const struct conf_type type_port = {
        .noun = "a port", .accepted = "a number from 1 to 65535",
        .parse = parse_port, .print = show_port, .is_bare = true,
};
const struct conf_type type_bool = {
        .noun = "a truth value", .accepted = "true or false",
        .parse = parse_bool, .print = show_bool, .is_bare = true,
};
const struct conf_type type_text = {
        .noun = "a text", .accepted = "a text in quotes",
        .parse = parse_text, .print = show_text, .release = release_text,
};
const struct conf_type type_path = {
        .noun = "a path", .accepted = "an absolute path, for example \"/var/lib/failoverd\"",
        .parse = parse_path, .print = show_text, .release = release_text,
};
const struct conf_type type_name = {
        .noun = "a name", .accepted = "1 to 63 letters, digits, \".\", \"_\" and \"-\", with a letter or digit first",
        .parse = parse_name, .print = show_text, .release = release_text,
};
const struct conf_type type_interface = {
        .noun = "an interface", .accepted = "the name of a network interface, for example \"eth0\"",
        .parse = parse_interface, .print = show_text, .release = release_text,
};
const struct conf_type type_label = {
        .noun = "a label", .accepted = "at most 15 characters without spaces, for example \"eth0:db\"",
        .parse = parse_label, .print = show_text, .release = release_text,
};
const struct conf_type type_address = {
        .noun = "an address", .accepted = "an IPv4 or IPv6 address, for example \"10.0.0.1\" or \"fd00::1\"",
        .parse = parse_address, .print = show_address,
};
const struct conf_type type_prefix = {
        .noun = "an address with a prefix", .accepted = "for example \"10.0.0.100/24\", or \"10.0.0.100\" for the address alone",
        .parse = parse_prefix, .print = show_prefix,
};
const struct conf_type type_members = {
        .noun = "a list of members", .accepted = "their names, for example { \"db1\", \"db2\" }", .is_list = true,
};
const struct conf_type type_log_level = {
        .noun = "a log level", .accepted = "error, warning, notice, info or debug",
        .parse = parse_choice, .print = show_choice, .words = log_levels, .is_bare = true,
};
const struct conf_type type_profile = {
        .noun = "a profile", .accepted = "fast, lan or cloud",
        .parse = parse_choice, .print = show_choice, .words = profiles, .is_bare = true,
};
const struct conf_type type_role = {
        .noun = "a role", .accepted = "member, witness or observer",
        .parse = parse_choice, .print = show_choice, .words = roles, .is_bare = true,
};
const struct conf_type type_mode = {
        .noun = "a mode", .accepted = "automatic or manual",
        .parse = parse_choice, .print = show_choice, .words = modes, .is_bare = true,
};
const struct conf_type type_on_crash = {
        .noun = "an answer to a crash", .accepted = "failover or restart",
        .parse = parse_choice, .print = show_choice, .words = on_crash, .is_bare = true,
};
const struct conf_type type_rejoin = {
        .noun = "a way to rejoin", .accepted = "manual, rewind, clone or \"rewind,clone\"",
        .parse = parse_choice, .print = show_choice, .words = rejoins,
};
/* clang-format on */
