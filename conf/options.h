/* The table of all options, and the blocks that they stand in. Private to the room. */
#pragma once

#include "conf/conf.h"
#include "conf/values.h"

enum conf_section_id {
        SECTION_NODE,
        SECTION_CLUSTER,
        SECTION_MEMBER,
        SECTION_SERVICE,
        SECTION_POSTGRES,
        SECTION_VIP,
        SECTIONS,
        SECTION_ROOT = SECTIONS, /* the file itself, which holds no options */
};

struct conf_section {
        const char *name;
        enum conf_section_id parent;
        bool is_titled; /* NAME "TITLE" { } */
        const char *meaning;
};

extern const struct conf_section conf_sections[SECTIONS];

struct conf_option {
        enum conf_section_id section;
        const char *key;
        const struct conf_type *type;
        size_t offset; /* of the field in the structure of the section */
        uint64_t min; /* for durations, sizes and numbers: what is accepted, both included */
        uint64_t max;

        /*
         * As written in a file: one for all, or one for each profile. None at all: the option must
         * be given, or, with `computed`, conf.c finds the value when everything else is known.
         */
        const char *defaults[CONF_PROFILES];
        const char *computed; /* the phrase for the reference */
        const char *meaning;
};

extern const struct conf_option conf_options[];
extern const size_t conf_n_options;

/* The option @key of a block @section, or NULL. */
const struct conf_option *conf_option_find(enum conf_section_id section, const char *key);

/* The default in @profile, or NULL if there is none in the table. */
const char *conf_option_default(const struct conf_option *option, enum conf_profile profile);

/* The block called @name, or SECTION_ROOT. */
enum conf_section_id conf_section_find(const char *name);

/* The field of @option in the structure @object of its section. */
static inline void *conf_option_field(const struct conf_option *option, void *object)
{
        return (char *)object + option->offset;
}

/* Calls @function for each block of @conf with its structure; stops at the first that is not 0. */
typedef int (*conf_block_function)(enum conf_section_id section, void *object, void *userdata);
int conf_each_block(struct conf *conf, conf_block_function function, void *userdata);
