/*
 * failoverctl: the operator's command line. It asks the members of the cluster over HTTP; it knows
 * the configuration only for their addresses, and reads it itself for "config". This header is
 * what its files share.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "conf/conf.h"
#include "election/base/buffer.h"
#include "election/base/cleanup.h"
#include "election/base/names.h"
#include "election/base/time.h"

enum ctl_exit {
        CTL_YES = 0,
        CTL_NO = 1,
        CTL_USAGE = 2,
        CTL_UNKNOWN = 3, /* or no quorum */
        CTL_REFUSED = 4, /* for safety */
        CTL_TIMED_OUT = 5,
};

enum {
        CTL_URL_SIZE = 16 * 1024,
        CTL_KEY_MAX = 4096, /* bytes of a key; three times as long when it is escaped */
        CTL_VALUE_MAX = 1000 * 1000, /* bytes of a value, as of the store */
        CTL_ANSWER_MAX = 64 * 1024 * 1024, /* bytes of one answer */
        CTL_ARGUMENTS_MAX = 8,
        CTL_ENDPOINTS_MAX = 16,
        CTL_WAKES_MAX = 2,
};

/* Error codes of etcd's v2 API that mean something to a command. */
enum {
        CTL_ERROR_KEY_NOT_FOUND = 100,
        CTL_ERROR_KEY_EXISTS = 105,
        CTL_ERROR_PARAMETER_FIRST = 201, /* from here to the last: the question is wrong */
        CTL_ERROR_PARAMETER_LAST = 212,
        CTL_ERROR_RAFT = 300,
        CTL_ERROR_ELECTION = 301,
        CTL_ERROR_CLEARED = 400,
        CTL_ERROR_HISTORY = 401,
};

/* Options that only some commands have, as bits. */
enum ctl_option {
        CTL_OPTION_TO = 1 << 0,
        CTL_OPTION_YES = 1 << 1,
        CTL_OPTION_BOOTSTRAP = 1 << 2,
        CTL_OPTION_TTL = 1 << 3,
        CTL_OPTION_RECURSIVE = 1 << 4,
        CTL_OPTION_DIR = 1 << 5,
        CTL_OPTION_SORT = 1 << 6,
        CTL_OPTION_READ = 1 << 7,
        CTL_OPTION_SLASH = 1 << 8,
        CTL_OPTION_IN_ORDER = 1 << 9,
        CTL_OPTION_SWAP = 1 << 10,
        CTL_OPTION_WITH = 1 << 11,
        CTL_OPTION_AFTER = 1 << 12,
        CTL_OPTION_FOREVER = 1 << 13,
        CTL_OPTION_GRACE = 1 << 14,
        CTL_OPTION_LISTEN = 1 << 15,
};

/* What the command line says; strings are borrowed from it. */
struct ctl_options {
        unsigned given; /* bits of enum ctl_option */
        const char *config;
        const char *endpoint; /* NULL: those of the configuration */
        bool json;
        bool extended; /* keys with their indices */
        bool no_color;
        bool help;
        bool yes;
        bool initdb;
        bool adopt;
        bool recursive;
        bool dir;
        bool sort;
        bool quorum;
        bool local;
        bool slash;
        bool in_order;
        bool forever;
        bool listen;
        const char *to;
        const char *value_before; /* --swap-with-value, --with-value */
        uint64_t index_before; /* --swap-with-index, --with-index; 0: none */
        uint64_t after_index;
        usec_t ttl; /* whole seconds; 0: none */
        usec_t grace; /* 0: that of the command */
        usec_t timeout; /* 0: that of the command */
        const char *arguments[CTL_ARGUMENTS_MAX];
        size_t n_arguments;
        char **program; /* what lock, elect and exec-watch run, NULL at its end; or NULL */
};

/* A member as it is asked: the local one first. */
struct ctl_endpoint {
        char name[NAME_SIZE]; /* "" if it was only given by its address */
        char host_port[ADDRESS_SIZE];
};

struct ctl {
        struct ctl_options options;
        struct conf *conf; /* NULL with --endpoint */
        struct ctl_endpoint endpoints[CTL_ENDPOINTS_MAX];
        size_t n_endpoints;
        size_t preferred; /* the endpoint that answered last */
        void *transfers; /* libcurl's; made by the first question */
        int wakes[CTL_WAKES_MAX]; /* descriptors: one that is readable ends a question at once */
        size_t n_wakes;
        bool color;
};

struct ctl_command {
        const char *name;
        const char *arguments; /* as usage shows them */
        const char *meaning;
        size_t arguments_min;
        size_t arguments_max;
        unsigned options; /* bits of enum ctl_option */
        bool takes_program; /* all behind the last argument is a command to run */
        bool needs_cluster; /* endpoints must be known */
        enum ctl_exit (*run)(struct ctl *c);
        const char *details; /* more for its own --help, or NULL */
};

/* The table of commands, one after the other from @i = 0; NULL behind the last. */
const struct ctl_command *ctl_command_at(size_t i);
const struct ctl_command *ctl_command_by_name(const char *name);
/* A command that may have been meant, or NULL. */
const char *ctl_command_suggest(const char *word);
void ctl_print_help(FILE *file);
void ctl_print_command_help(FILE *file, const struct ctl_command *command);

/*
 * Reads the command line after the command's name was found; complains to standard error. Returns
 * 0, or -EINVAL.
 */
int ctl_parse(int argc, char **argv, struct ctl_options *ret,
              const struct ctl_command **ret_command);
/* A duration as "500ms", "10s", "2min" or a number of seconds; false if it is none. */
bool ctl_parse_duration(const char *s, usec_t *ret);

/* Runs the command line. */
enum ctl_exit ctl_main(int argc, char **argv);

/* Asking. */

struct ctl_answer {
        int status; /* of HTTP; 0: nobody answered */
        json_t *body; /* NULL if it is no JSON */
        uint64_t index; /* X-Etcd-Index; 0 if there is none */
        size_t endpoint; /* who answered */
        bool is_open; /* a change that was asked for may have been made, or may still be */
        bool is_late; /* the time was over */
        bool is_woken; /* one of the wakes ended it */
        char problem[256]; /* why nobody answered */
};
void ctl_answer_done(struct ctl_answer *a);

enum ctl_method {
        CTL_GET,
        CTL_PUT,
        CTL_POST,
        CTL_DELETE,
};

/* One question to one member. */
struct ctl_question {
        enum ctl_method method;
        const char *path; /* already escaped */
        const char *form; /* or NULL */
        const char *json; /* a body of that kind instead; or NULL */
        usec_t timeout; /* 0: the usual one; for all members together in ctl_ask() */
        usec_t timeout_each; /* 0: the usual one; for each member in ctl_ask() */
        bool is_repeatable; /* carrying it out twice is the same as once; reads always are */
        bool is_wait; /* the head comes at once, the body when something happens */
};

/* Asks the endpoint number @i. */
void ctl_ask_one(struct ctl *c, size_t i, const struct ctl_question *q, struct ctl_answer *ret);
/*
 * Asks one after the other until one answers with something else than "no majority" (500, 503). A
 * change goes to a second one only if the first has certainly not got it, or if it is repeatable.
 */
void ctl_ask(struct ctl *c, const struct ctl_question *q, struct ctl_answer *ret);
/* Whether one of the wakes is readable. */
bool ctl_is_woken(const struct ctl *c);
/* Ends all connections. */
void ctl_client_done(struct ctl *c);
/* Appends @s to @url of CTL_URL_SIZE bytes, escaped; slashes stay as they are if @path. */
void ctl_url_append(char *url, const char *s, bool path);
/* Appends "NAME=" and @n bytes of @value, escaped, to a form; an "&" between two. */
void ctl_form_put(struct buffer *form, const char *name, const void *value, size_t n);
void ctl_form_put_string(struct buffer *form, const char *name, const char *value);
void ctl_form_put_number(struct buffer *form, const char *name, uint64_t value);

/* Fields of an answer; what is missing or of another type is "", 0 or false. */
const char *ctl_string(const json_t *o, const char *key);
int64_t ctl_number(const json_t *o, const char *key);
bool ctl_bool(const json_t *o, const char *key);
bool ctl_has(const json_t *o, const char *key); /* and it is not null */

/* Says to standard error why @a is no good; returns the exit status for it. */
enum ctl_exit ctl_complain(struct ctl *c, const struct ctl_answer *a);
/* Prints JSON for -o json. */
void ctl_print_json(const json_t *o);

/* The time since an earlier call, for progress and time-outs: not the lease clock. */
usec_t ctl_now(void);
void ctl_pause(usec_t length);

/* The lease clock (RAW + BOOTTIME - MONOTONIC): all that "lock" promises is counted with it. */
struct instant ctl_lease_now(void);
/* A timerfd for ctl_lease_arm(), or a negative errno. */
int ctl_lease_timer(void);
/*
 * Arms it for @then; INSTANT_FOREVER disarms. It may fire early: the owner reads it, compares with
 * ctl_lease_now(), and arms it again. Returns 0 or a negative errno.
 */
int ctl_lease_arm(int timer_fd, struct instant then);

/* Keys. */

/* "/v2/keys" and the escaped key into @url; false after a complaint. */
bool ctl_key_url(char url[static CTL_URL_SIZE], const char *key);
/* What the store says about a key, with its number, to standard error; the exit status for it. */
enum ctl_exit ctl_complain_key(struct ctl *c, const struct ctl_answer *a);
/* 200 or 201, and JSON. */
bool ctl_is_good(const struct ctl_answer *a);
/* Prints what a change or an event says about its node, as etcdctl does. */
void ctl_print_node(const struct ctl *c, const struct ctl_answer *a);

/* Printing. */

enum ctl_color {
        CTL_PLAIN,
        CTL_GREEN,
        CTL_YELLOW,
        CTL_RED,
        CTL_BOLD,
        CTL_DIM,
};

enum {
        CTL_COLUMNS_MAX = 10,
        CTL_CELL_SIZE = 200,
};

struct ctl_cell {
        char text[CTL_CELL_SIZE];
        enum ctl_color color;
};

struct ctl_table {
        size_t n_columns;
        struct ctl_cell (*rows)[CTL_COLUMNS_MAX];
        size_t n_rows;
        size_t n_max;
};
void ctl_table_done(struct ctl_table *t);
/* The next row, all empty. */
struct ctl_cell *ctl_table_row(struct ctl_table *t);
void ctl_cell(struct ctl_cell *cell, enum ctl_color color, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* Prints with columns as wide as their widest cell, @indent blanks in front. */
void ctl_table_print(const struct ctl *c, const struct ctl_table *t, unsigned indent, FILE *file);
void ctl_print_colored(const struct ctl *c, FILE *file, enum ctl_color color, const char *format,
                       ...) __attribute__((format(printf, 4, 5)));
/* "1.5 MB", "300 ms"; into @ret of 32 bytes. */
const char *ctl_print_bytes(uint64_t n, char ret[static 32]);
const char *ctl_print_msec(int64_t n, char ret[static 32]);

/* Commands. */

enum ctl_exit ctl_who_is_master(struct ctl *c);
enum ctl_exit ctl_status(struct ctl *c);
enum ctl_exit ctl_switchover(struct ctl *c);
enum ctl_exit ctl_failover(struct ctl *c);
enum ctl_exit ctl_cancel(struct ctl *c);
enum ctl_exit ctl_pause_service(struct ctl *c);
enum ctl_exit ctl_resume_service(struct ctl *c);
enum ctl_exit ctl_bootstrap(struct ctl *c);
enum ctl_exit ctl_clone(struct ctl *c);
enum ctl_exit ctl_history(struct ctl *c);
enum ctl_exit ctl_why_not(struct ctl *c);
enum ctl_exit ctl_config(struct ctl *c);
enum ctl_exit ctl_get(struct ctl *c);
enum ctl_exit ctl_set(struct ctl *c);
enum ctl_exit ctl_mk(struct ctl *c);
enum ctl_exit ctl_mkdir(struct ctl *c);
enum ctl_exit ctl_rm(struct ctl *c);
enum ctl_exit ctl_rmdir(struct ctl *c);
enum ctl_exit ctl_setdir(struct ctl *c);
enum ctl_exit ctl_update(struct ctl *c);
enum ctl_exit ctl_updatedir(struct ctl *c);
enum ctl_exit ctl_ls(struct ctl *c);
enum ctl_exit ctl_watch(struct ctl *c);
enum ctl_exit ctl_exec_watch(struct ctl *c);
enum ctl_exit ctl_lock(struct ctl *c);
enum ctl_exit ctl_elect(struct ctl *c);
enum ctl_exit ctl_member(struct ctl *c);
enum ctl_exit ctl_backup(struct ctl *c);
