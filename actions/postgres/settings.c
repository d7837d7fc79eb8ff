/* Reading the executor's hello. */
#include "actions/postgres/settings.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "election/base/endpoint.h"
#include "election/base/memory.h"

enum {
        PORT_DEFAULT = 5432,
        RISE_DEFAULT = 1,
        FALL_DEFAULT = 3,
        COUNT_MAX = 1000, /* of rise and fall */
        VERSION_NEWEST = 17,
};

#define INTERVAL_DEFAULT USEC_PER_SEC
#define TIMEOUT_DEFAULT (2 * USEC_PER_SEC)
#define INTERVAL_MIN (50 * USEC_PER_MSEC)
#define INTERVAL_MAX (600 * USEC_PER_SEC)

static int take_text(const json_t *object, const char *name, char *ret, size_t size, char *why)
{
        const json_t *value = json_object_get(object, name);

        if (!value || json_is_null(value))
                return 0;
        if (!json_is_string(value) || json_string_length(value) >= size) {
                snprintf(why, TEXT_SIZE, "%s is not a text of less than %zu bytes", name, size);
                return -EINVAL;
        }
        if (strpbrk(json_string_value(value), "\n\r")) {
                snprintf(why, TEXT_SIZE, "%s has a line break inside", name);
                return -EINVAL;
        }
        snprintf(ret, size, "%s", json_string_value(value));
        return 0;
}

static int take_path(const json_t *object, const char *name, char *ret, char *why)
{
        int r;

        r = take_text(object, name, ret, PATH_MAX_GIVEN, why);
        if (r == 0 && *ret != '\0' && *ret != '/') {
                snprintf(why, TEXT_SIZE, "%s must be an absolute path", name);
                return -EINVAL;
        }
        return r;
}

static int take_number(const json_t *object, const char *name, uint64_t min, uint64_t max,
                       uint64_t *ret, char *why)
{
        const json_t *value = json_object_get(object, name);

        if (!value || json_is_null(value))
                return 0;
        if (!json_is_integer(value) || json_integer_value(value) < 0 ||
            (uint64_t)json_integer_value(value) < min ||
            (uint64_t)json_integer_value(value) > max) {
                snprintf(why, TEXT_SIZE, "%s must be a number from %llu to %llu", name,
                         (unsigned long long)min, (unsigned long long)max);
                return -EINVAL;
        }
        *ret = (uint64_t)json_integer_value(value);
        return 0;
}

static int take_command(const json_t *object, const char *name, struct command *ret, char *why)
{
        const json_t *list = json_object_get(object, name), *value;
        size_t i;

        if (!list || json_is_null(list))
                return 0;
        if (!json_is_array(list) || json_array_size(list) > COMMAND_ARGS_MAX)
                goto refuse;
        json_array_foreach(list, i, value) {
                if (!json_is_string(value) || (i == 0 && *json_string_value(value) != '/'))
                        goto refuse;
                ret->args[ret->n++] = must_copy(json_string_value(value),
                                                json_string_length(value));
        }
        return 0;
refuse:
        snprintf(why, TEXT_SIZE, "%s must be a list of texts that begins with an absolute path",
                 name);
        return -EINVAL;
}

int settings_parse_member(const json_t *object, struct member *ret)
{
        uint64_t port = PORT_DEFAULT;
        struct member m = { 0 };
        struct address a;
        char why[TEXT_SIZE];

        if (!json_is_object(object))
                return -EINVAL;
        if (take_text(object, "name", m.name, sizeof(m.name), why) < 0 ||
            take_text(object, "address", m.address, sizeof(m.address), why) < 0 ||
            take_number(object, "port", 1, UINT16_MAX, &port, why) < 0)
                return -EINVAL;
        if (!name_is_valid(m.name) || address_parse(m.address, &a) < 0)
                return -EINVAL;
        m.port = (uint16_t)port;
        *ret = m;
        return 0;
}

int settings_parse_members(const json_t *hello, struct settings *s, char *why)
{
        const json_t *list = json_object_get(hello, "members"), *value;
        struct member members[MEMBERS_MAX];
        size_t i;

        if (!json_is_array(list) || json_array_size(list) > MEMBERS_MAX) {
                snprintf(why, TEXT_SIZE, "members must be a list of at most %d", MEMBERS_MAX);
                return -EINVAL;
        }
        json_array_foreach(list, i, value) {
                if (settings_parse_member(value, &members[i]) == 0)
                        continue;
                snprintf(why, TEXT_SIZE, "member %zu needs a name, a numeric address and a port",
                         i + 1);
                return -EINVAL;
        }
        memcpy(s->members, members, json_array_size(list) * sizeof(*members));
        s->n_members = json_array_size(list);
        return 0;
}

static int take_user(struct settings *s, char *why)
{
        struct passwd *pw;

        if (s->user[0] != '\0')
                return 0;
        pw = getpwuid(geteuid());
        if (!pw || strlen(pw->pw_name) >= sizeof(s->user)) {
                snprintf(why, TEXT_SIZE, "user is missing, and user id %u has no name",
                         (unsigned)geteuid());
                return -EINVAL;
        }
        snprintf(s->user, sizeof(s->user), "%s", pw->pw_name);
        return 0;
}

static int take_rejoin(const json_t *config, struct settings *s, char *why)
{
        static const struct {
                const char *word;
                bool rewind, clone;
        } ways[] = {
                { "rewind,clone", true, true }, { "auto", true, true },
                { "rewind", true, false },      { "clone", false, true },
                { "manual", false, false },
        };
        char rejoin[32] = "rewind,clone";
        int r;

        r = take_text(config, "rejoin", rejoin, sizeof(rejoin), why);
        if (r < 0)
                return r;
        for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
                if (strcmp(rejoin, ways[i].word) != 0)
                        continue;
                s->may_rewind = ways[i].rewind;
                s->may_clone = ways[i].clone;
                return 0;
        }
        snprintf(why, TEXT_SIZE, "rejoin must be rewind, clone, rewind,clone or manual");
        return -EINVAL;
}

static int take_texts(const json_t *hello, const json_t *config, struct settings *s, char *why)
{
        const struct {
                const char *name;
                char *to;
        } paths[] = {
                { "data_dir", s->data_dir },       { "bin_dir", s->bin_dir },
                { "config_file", s->config_file }, { "socket_dir", s->socket_dir },
                { "passfile", s->passfile },
        };
        const struct {
                const json_t *from;
                const char *name;
                char *to;
                size_t size;
        } texts[] = {
                { hello, "service", s->service, sizeof(s->service) },
                { hello, "node", s->node, sizeof(s->node) },
                { config, "listen", s->listen, sizeof(s->listen) },
                { config, "user", s->user, sizeof(s->user) },
                { config, "replication_user", s->replication_user, sizeof(s->replication_user) },
        };
        int r = take_path(hello, "state_dir", s->state_dir, why);

        for (size_t i = 0; r == 0 && i < sizeof(paths) / sizeof(paths[0]); i++)
                r = take_path(config, paths[i].name, paths[i].to, why);
        for (size_t i = 0; r == 0 && i < sizeof(texts) / sizeof(texts[0]); i++)
                r = take_text(texts[i].from, texts[i].name, texts[i].to, texts[i].size, why);
        return r;
}

/* The version of what is there, else of the newest programs that are installed; 0 if unknown. */
static uint64_t find_version(const struct settings *s)
{
        char path[PATH_SIZE + 32];
        unsigned version = 0;
        FILE *f;

        snprintf(path, sizeof(path), "%s/PG_VERSION", s->data_dir);
        f = fopen(path, "re");
        if (f) {
                if (fscanf(f, "%3u", &version) != 1)
                        version = 0;
                (void)fclose(f); /* read only */
                return version;
        }
        for (version = VERSION_NEWEST; version_facts(version); version--) {
                snprintf(path, sizeof(path), "/usr/lib/postgresql/%u/bin", version);
                if (s->bin_dir[0] == '\0' ? access(path, X_OK) == 0 : strcmp(path, s->bin_dir) == 0)
                        return version;
        }
        return 0;
}

static int take_numbers(const json_t *config, struct settings *s, char *why)
{
        uint64_t version = 0, port = PORT_DEFAULT, rise = RISE_DEFAULT, fall = FALL_DEFAULT;
        const json_t *keep = json_object_get(config, "keep_diverged");

        s->health_interval = INTERVAL_DEFAULT;
        s->health_timeout = TIMEOUT_DEFAULT;
        if (take_number(config, "version", 0, 1000, &version, why) < 0 ||
            take_number(config, "port", 1, UINT16_MAX, &port, why) < 0 ||
            take_number(config, "rise", 1, COUNT_MAX, &rise, why) < 0 ||
            take_number(config, "fall", 1, COUNT_MAX, &fall, why) < 0 ||
            take_number(config, "health_interval_usec", INTERVAL_MIN, INTERVAL_MAX,
                        &s->health_interval, why) < 0 ||
            take_number(config, "health_timeout_usec", INTERVAL_MIN, INTERVAL_MAX,
                        &s->health_timeout, why) < 0)
                return -EINVAL;
        s->port = (uint16_t)port;
        s->rise = (unsigned)rise;
        s->fall = (unsigned)fall;
        s->keep_diverged = !json_is_false(keep);
        s->facts = version_facts((unsigned)(version > 0 ? version : find_version(s)));
        if (!s->facts) {
                snprintf(why, TEXT_SIZE,
                         version > 0 ? "version must be a major version from 12 to 17"
                                     : "version is not given, and nothing here tells it");
                return -EINVAL;
        }
        return 0;
}

static int check(struct settings *s, char *why)
{
        if (!name_is_valid(s->node) || s->state_dir[0] == '\0' || s->data_dir[0] == '\0') {
                snprintf(why, TEXT_SIZE, "node, state_dir and data_dir must be given");
                return -EINVAL;
        }
        /* Paths beside it are made by appending to its name. */
        for (size_t n = strlen(s->data_dir); n > 1 && s->data_dir[n - 1] == '/'; n--)
                s->data_dir[n - 1] = '\0';
        if (s->bin_dir[0] == '\0')
                snprintf(s->bin_dir, sizeof(s->bin_dir), "/usr/lib/postgresql/%u/bin",
                         s->facts->major);
        if (s->socket_dir[0] == '\0')
                snprintf(s->socket_dir, sizeof(s->socket_dir), "/var/run/postgresql");
        if (s->replication_user[0] == '\0')
                snprintf(s->replication_user, sizeof(s->replication_user), "replicator");
        return take_user(s, why);
}

int settings_parse(const json_t *hello, struct settings *ret, char *why)
{
        const json_t *config = json_object_get(hello, "config");
        struct settings s = { 0 };
        int r;

        r = take_texts(hello, config, &s, why);
        if (r == 0)
                r = take_numbers(config, &s, why);
        if (r == 0)
                r = take_rejoin(config, &s, why);
        if (r == 0)
                r = check(&s, why);
        if (r == 0)
                r = settings_parse_members(hello, &s, why);
        if (r == 0)
                r = take_command(config, "start_command", &s.start_command, why);
        if (r == 0)
                r = take_command(config, "stop_command", &s.stop_command, why);
        if (r < 0) {
                settings_done(&s);
                return r;
        }
        *ret = s;
        return 0;
}

void settings_done(struct settings *s)
{
        for (size_t i = 0; i < s->start_command.n; i++)
                free(s->start_command.args[i]);
        for (size_t i = 0; i < s->stop_command.n; i++)
                free(s->stop_command.args[i]);
        *s = (struct settings){ 0 };
}
