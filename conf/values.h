/* The kinds of values an option can have: how they are read, printed and explained. Private. */
#pragma once

#include "conf/conf.h"

struct conf_option;

struct conf_type {
        const char
                *noun; /* "a duration": what a bad value is not, and the reference's word for it */
        const char *accepted; /* "a number with us, ms, s, min or h": after "write" */

        /*
         * Reads @value into @field, which is zero or holds a value of this type. Returns 0, -EINVAL
         * if it is no such value, -ERANGE if it is not between min and max of @option.
         */
        int (*parse)(const struct conf_option *option, const char *value, void *field);

        /* Writes the text that parse() reads to the same, without quotes. */
        void (*print)(const struct conf_option *option, const void *field, FILE *file);

        void (*release)(void *field); /* NULL: owns nothing */
        bool is_bare; /* needs no quotes in a file */
        const char *const *words; /* of a choice, in the order of the enum; ends with NULL */
        bool is_list; /* values are kept in the places and resolved by conf.c; no parse, no print */
};

extern const struct conf_type type_duration; /* usec_t */
extern const struct conf_type type_size; /* uint64_t */
extern const struct conf_type type_number; /* unsigned */
extern const struct conf_type type_version; /* unsigned; 0 or a major version of PostgreSQL */
extern const struct conf_type type_port; /* uint16_t, not 0 */
extern const struct conf_type type_bool; /* bool */
extern const struct conf_type type_text; /* char *; may be empty */
extern const struct conf_type type_path; /* char *; absolute; empty where that is the default */
extern const struct conf_type type_name; /* char *; as name_is_valid() */
extern const struct conf_type type_interface; /* char *; of the network */
extern const struct conf_type type_label; /* char *; of an address; may be empty */
extern const struct conf_type type_address; /* struct address */
extern const struct conf_type type_prefix; /* struct conf_vip: address and prefix */
extern const struct conf_type type_members; /* a list of names */
extern const struct conf_type type_log_level; /* choices: an enum each */
extern const struct conf_type type_profile;
extern const struct conf_type type_role;
extern const struct conf_type type_mode;
extern const struct conf_type type_on_crash;
extern const struct conf_type type_rejoin; /* unsigned: bits of enum conf_rejoin */

/* Writes @length in the largest unit that shows it exactly. */
void print_duration(usec_t length, char *ret, size_t size);

enum {
        DURATION_SIZE = 32, /* bytes for a printed duration */
        RANGE_SIZE = 2 * DURATION_SIZE + 16, /* bytes for a printed range */
};

/* What @option accepts, "from 500ms to 1h", in @ret. */
const char *print_range(const struct conf_option *option, char *ret, size_t size);
