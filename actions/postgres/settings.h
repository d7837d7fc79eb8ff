/* What the executor's hello says: where the database is, and how it is to be handled. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actions/postgres/version.h"
#include "election/base/names.h"
#include "election/base/time.h"

enum {
        PATH_SIZE = 1024, /* bytes of a path, with the final NUL */
        PATH_MAX_GIVEN = 896, /* bytes of a path that the executor gives; ours are in it */
        TEXT_SIZE = 256, /* bytes of an error or reason, with the final NUL */
        COMMAND_ARGS_MAX = 32, /* arguments of a configured command */
};

/* A node that has this database. */
struct member {
        char name[NAME_SIZE];
        char address[ADDRESS_SIZE]; /* numeric */
        uint16_t port;
};

/* A command as a list of arguments; n is 0 for none. */
struct command {
        char *args[COMMAND_ARGS_MAX + 1];
        size_t n;
};

struct settings {
        char service[NAME_SIZE];
        char node[NAME_SIZE];
        char state_dir[PATH_SIZE];
        char data_dir[PATH_SIZE];
        char bin_dir[PATH_SIZE];
        char config_file[PATH_SIZE]; /* empty: in the data directory */
        char socket_dir[PATH_SIZE];
        char listen[TEXT_SIZE]; /* empty: as configured in the server */
        char user[NAME_SIZE];
        char replication_user[NAME_SIZE];
        char passfile[PATH_SIZE]; /* empty: no password */
        uint16_t port;
        const struct version_facts *facts;
        struct command start_command;
        struct command stop_command;
        usec_t health_interval;
        usec_t health_timeout;
        unsigned rise;
        unsigned fall;
        bool may_rewind; /* what rejoin may do by itself */
        bool may_clone;
        bool keep_diverged;
        struct member members[MEMBERS_MAX];
        size_t n_members;
};

/*
 * Reads a hello. On failure returns -EINVAL, with what is wrong in @why of TEXT_SIZE bytes.
 * Release with settings_done().
 */
int settings_parse(const json_t *hello, struct settings *ret, char *why);

/* Takes the list of members out of a later hello. Returns 0, or -EINVAL with @why as above. */
int settings_parse_members(const json_t *hello, struct settings *s, char *why);

void settings_done(struct settings *s);

/* Reads {"name","address","port"}. Returns 0, or -EINVAL. */
int settings_parse_member(const json_t *object, struct member *ret);
