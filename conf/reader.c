/* libconfuse as a source of events: a block was opened, an option was set, something is wrong. */
#include "conf/reader.h"

#include <assert.h>
#include <confuse.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "conf/complaint.h"
#include "conf/source.h"
#include "conf/suggest.h"
#include "election/base/memory.h"

enum { MESSAGE_SIZE = 256 }; /* bytes for a message of libconfuse */

/*
 * The callbacks of libconfuse carry no pointer of ours, but each block has a copy of its array of
 * options: one of them, which no file can set, points to the reader.
 */
#define READER_OPTION "@reader"

static struct file_reader *reader_of_block(const cfg_t *cfg)
{
        for (const cfg_opt_t *o = cfg->opts; o->name; o++) {
                if (strcmp(o->name, READER_OPTION) == 0)
                        return (struct file_reader *)(void *)o->simple_value.ptr;
        }
        return NULL;
}

static bool is_ours(const char *name)
{
        return name[0] == '@';
}

/* The block as it is written: service "orders", or postgres. */
static const char *describe_block(const cfg_t *cfg, char ret[static MESSAGE_SIZE])
{
        char title[QUOTED_SIZE];

        if (cfg->title)
                (void)snprintf(ret, MESSAGE_SIZE, "%s %s", cfg->name, quoted(cfg->title, title));
        else
                (void)snprintf(ret, MESSAGE_SIZE, "%s", cfg->name);
        return ret;
}

static void list_accepted(const cfg_t *cfg, char *ret, size_t size)
{
        size_t n = 0;

        ret[0] = '\0';
        for (const cfg_opt_t *o = cfg->opts; o->name && n < size; o++) {
                if (!is_ours(o->name))
                        n += (size_t)snprintf(ret + n, size - n, n ? ", %s" : "%s", o->name);
        }
}

/* The blocks that know an option of this name: "node, member or vip"; false if none does. */
static bool find_homes(const char *key, char ret[static MESSAGE_SIZE])
{
        const char *homes[SECTIONS];
        size_t n = 0, at = 0;

        for (unsigned i = 0; i < SECTIONS; i++) {
                if (conf_option_find((enum conf_section_id)i, key))
                        homes[n++] = conf_sections[i].name;
        }
        for (size_t i = 0; i < n; i++) {
                const char *separator = i == 0 ? "" : i + 1 < n ? ", " : " or ";

                at += (size_t)snprintf(ret + at, MESSAGE_SIZE - at, "%s%s", separator, homes[i]);
        }
        return n > 0;
}

/* What would be accepted in the place of @name. */
static void advise(const cfg_t *cfg, const char *name, char ret[static CONF_TEXT_SIZE])
{
        static const char accepted[] = "accepted are ";
        struct suggestion near = { 0 };
        char homes[MESSAGE_SIZE];

        if (find_homes(name, homes)) {
                (void)snprintf(ret, CONF_TEXT_SIZE, "it belongs into a %s block", homes);
                return;
        }
        for (const cfg_opt_t *o = cfg->opts; o->name; o++) {
                if (!is_ours(o->name))
                        suggestion_offer(&near, name, o->name);
        }
        if (near.word) {
                (void)snprintf(ret, CONF_TEXT_SIZE, "did you mean \"%s\"?", near.word);
                return;
        }
        memcpy(ret, accepted, sizeof(accepted));
        list_accepted(cfg, ret + strlen(accepted), CONF_TEXT_SIZE - strlen(accepted));
}

static void complain_unknown(struct file_reader *reader, const cfg_t *cfg, const char *name)
{
        bool is_root = conf_section_find(cfg->name) == SECTION_ROOT;
        char block[MESSAGE_SIZE], found[QUOTED_SIZE], advice[CONF_TEXT_SIZE];

        advise(cfg, name, advice);
        (void)complain(reader->complaint, reader->file, (unsigned)cfg->line,
                       "unknown option %s%s%s; %s", quoted(name, found), is_root ? "" : " in ",
                       is_root ? "" : describe_block(cfg, block), advice);
}

/* The first complaint is the one to show: the others follow from it. */
__attribute__((format(printf, 2, 0))) static void on_error(cfg_t *cfg, const char *format,
                                                           va_list ap)
{
        struct file_reader *reader = reader_of_block(cfg);
        char message[MESSAGE_SIZE];

        if (!reader || reader->has_complained)
                return;
        reader->has_complained = true;
        if (strncmp(format, "no such option", strlen("no such option")) == 0) {
                complain_unknown(reader, cfg, va_arg(ap, const char *));
                return;
        }
        (void)vsnprintf(message, sizeof(message), format, ap);
        (void)complain(reader->complaint, reader->file, (unsigned)cfg->line,
                       "%s; write an option as NAME = VALUE, a block as NAME { } or "
                       "NAME \"TITLE\" { }",
                       message);
}

int option_parse(const struct conf_option *option, void *object, const char *value,
                 const char *file, unsigned line, struct conf_complaint *ret_complaint)
{
        const struct conf_type *type = option->type;
        char found[QUOTED_SIZE], range[RANGE_SIZE];
        int r;

        r = type->parse(option, value, conf_option_field(option, object));
        if (r == 0)
                return 0;
        if (r == -ERANGE)
                return complain(ret_complaint, file, line, "%s: %s is out of range; write %s",
                                option->key, quoted(value, found),
                                print_range(option, range, sizeof(range)));
        return complain(ret_complaint, file, line, "%s: %s is not %s; write %s", option->key,
                        quoted(value, found), type->noun, type->accepted);
}

/* A block that cannot be there twice. */
static int refuse_second(struct file_reader *reader, const cfg_t *cfg, unsigned line,
                         const void *first, const char *rule)
{
        const struct place *place = places_find(reader->places, first, NULL);
        char block[MESSAGE_SIZE];

        return complain(reader->complaint, reader->file, line, "%s is already given in %s:%u; %s",
                        describe_block(cfg, block), place->file, place->line, rule);
}

static int refuse_too_many(struct file_reader *reader, unsigned line, const char *what, int max)
{
        return complain(reader->complaint, reader->file, line, "more than %d %s", max, what);
}

static int open_node(struct file_reader *reader, const cfg_t *cfg, unsigned line, void **ret)
{
        struct conf_node *node = &reader->conf->node;

        if (node->name)
                return refuse_second(reader, cfg, line, node, "there is one node block");
        node->name = must_copy(cfg->title, strlen(cfg->title));
        *ret = node;
        return 0;
}

static int open_cluster(struct file_reader *reader, const cfg_t *cfg, unsigned line, void **ret)
{
        struct conf_cluster *cluster = &reader->conf->cluster;

        if (cluster->name)
                return refuse_second(reader, cfg, line, cluster, "there is one cluster block");
        cluster->name = must_copy(cfg->title, strlen(cfg->title));
        *ret = cluster;
        return 0;
}

static int open_member(struct file_reader *reader, const cfg_t *cfg, unsigned line, void **ret)
{
        struct conf_cluster *cluster = &reader->conf->cluster;
        struct conf_member *m;

        for (size_t i = 0; i < cluster->n_members; i++) {
                if (strcmp(cluster->members[i]->name, cfg->title) == 0)
                        return refuse_second(reader, cfg, line, cluster->members[i],
                                             "a name is used once");
        }
        if (cluster->n_members == MEMBERS_MAX)
                return refuse_too_many(reader, line, "members in a cluster", MEMBERS_MAX);
        m = must_alloc(1, sizeof(*m));
        m->name = must_copy(cfg->title, strlen(cfg->title));
        cluster->members[cluster->n_members++] = m;
        *ret = m;
        return 0;
}

static int open_service(struct file_reader *reader, const cfg_t *cfg, unsigned line, void **ret)
{
        struct conf *conf = reader->conf;
        struct conf_service *s;

        for (size_t i = 0; i < conf->n_services; i++) {
                if (strcmp(conf->services[i]->name, cfg->title) == 0)
                        return refuse_second(reader, cfg, line, conf->services[i],
                                             "a name is used once");
        }
        if (conf->n_services == SERVICES_MAX)
                return refuse_too_many(reader, line, "services", SERVICES_MAX);
        s = must_alloc(1, sizeof(*s));
        s->name = must_copy(cfg->title, strlen(cfg->title));
        conf->services[conf->n_services++] = s;
        *ret = s;
        return 0;
}

static int open_postgres(struct file_reader *reader, const cfg_t *cfg, unsigned line, void **ret)
{
        struct conf_service *s = reader->open[SECTION_SERVICE];

        if (s->postgres)
                return refuse_second(reader, cfg, line, s->postgres,
                                     "a service has one database; write a second service");
        s->postgres = must_alloc(1, sizeof(*s->postgres));
        *ret = s->postgres;
        return 0;
}

static int open_vip(struct file_reader *reader, const cfg_t *cfg, unsigned line, void **ret)
{
        struct conf_service *s = reader->open[SECTION_SERVICE];

        (void)cfg;
        if (s->n_vips == CONF_VIPS_MAX)
                return refuse_too_many(reader, line, "vip blocks in a service", CONF_VIPS_MAX);
        s->vips[s->n_vips] = must_alloc(1, sizeof(*s->vips[0]));
        *ret = s->vips[s->n_vips++];
        return 0;
}

/* libconfuse finds blocks under names like "service|vip", too: in the first service, maybe. */
static bool is_inside(const cfg_t *outer, const cfg_t *inner)
{
        for (const cfg_opt_t *o = outer->opts; o->name; o++) {
                for (unsigned i = 0; o->type == CFGT_SEC && i < o->nvalues; i++) {
                        if (o->values[i]->section == inner)
                                return true;
                }
        }
        return false;
}

static int open_block(struct file_reader *reader, const cfg_t *cfg, unsigned line)
{
        static int (*const openers[SECTIONS])(struct file_reader *, const cfg_t *, unsigned,
                                              void **) = {
                [SECTION_NODE] = open_node,         [SECTION_CLUSTER] = open_cluster,
                [SECTION_MEMBER] = open_member,     [SECTION_SERVICE] = open_service,
                [SECTION_POSTGRES] = open_postgres, [SECTION_VIP] = open_vip,
        };
        enum conf_section_id section = conf_section_find(cfg->name);
        enum conf_section_id parent = conf_sections[section].parent;
        char found[QUOTED_SIZE];
        void *object;
        int r;

        if (parent != SECTION_ROOT && !is_inside(reader->parsed[parent], cfg))
                return complain(reader->complaint, reader->file, line,
                                "%s: a block is written inside its own %s block", cfg->name,
                                conf_sections[parent].name);
        if (cfg->title && !name_is_valid(cfg->title))
                return complain(reader->complaint, reader->file, line, "%s: %s is not %s; write %s",
                                cfg->name, quoted(cfg->title, found), type_name.noun,
                                type_name.accepted);
        r = openers[section](reader, cfg, line, &object);
        if (r < 0)
                return r;
        reader->open[section] = object;
        reader->parsed[section] = cfg;
        places_add(reader->places, object, NULL, reader->file, line, NULL);
        return 0;
}

static int check_value(struct file_reader *reader, const char *key, const char *value,
                       unsigned line)
{
        if (strlen(value) > CONF_VALUE_MAX)
                return complain(reader->complaint, reader->file, line,
                                "%s: the value has more than %d characters", key, CONF_VALUE_MAX);
        for (const char *c = value; *c; c++) {
                if ((unsigned char)*c < ' ' || *c == 0x7f)
                        return complain(reader->complaint, reader->file, line,
                                        "%s: the value contains the control character 0x%02x", key,
                                        (unsigned char)*c);
        }
        return 0;
}

/* A list is written once, too, but has a value for each of its elements. */
static bool is_repeated(const cfg_opt_t *opt, const struct place *first)
{
        return first && (!(opt->flags & CFGF_LIST) || opt->nvalues <= 1);
}

static int set_option(struct file_reader *reader, const cfg_t *cfg, const cfg_opt_t *opt,
                      const char *value)
{
        enum conf_section_id section = conf_section_find(cfg->name);
        const struct conf_option *option = conf_option_find(section, opt->name);
        void *object = reader->open[section];
        unsigned line = (unsigned)cfg->line;
        const struct place *first = places_find(reader->places, object, option->key);
        int r;

        if (opt->nvalues > MEMBERS_MAX)
                return complain(reader->complaint, reader->file, line,
                                "%s: the list has more than %d values", option->key, MEMBERS_MAX);
        if (is_repeated(opt, first))
                return complain(reader->complaint, reader->file, line,
                                "%s is already given in %s:%u; write it once", option->key,
                                first->file, first->line);
        r = check_value(reader, option->key, value, line);
        if (r == 0 && !option->type->is_list)
                r = option_parse(option, object, value, reader->file, line, reader->complaint);
        if (r == 0)
                places_add(reader->places, object, option->key, reader->file, line, value);
        return r;
}

/* libconfuse finds options of inner blocks under names like "postgres|port"; we do not. */
static bool is_option_of(const cfg_t *cfg, const cfg_opt_t *opt)
{
        for (const cfg_opt_t *o = cfg->opts; o->name; o++) {
                if (o == opt)
                        return true;
        }
        return false;
}

static int on_option(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *ret)
{
        struct file_reader *reader = reader_of_block(cfg);
        int r;

        if (!is_option_of(cfg, opt))
                r = complain(reader->complaint, reader->file, (unsigned)cfg->line,
                             "%s: an option is written inside its own block", opt->name);
        else if (!is_ours(opt->name))
                r = set_option(reader, cfg, opt, value);
        else
                r = open_block(reader, cfg, (unsigned)strtoul(value, NULL, 10));

        if (r < 0) {
                reader->has_complained = true;
                return -1;
        }
        *(const char **)ret = ""; /* libconfuse keeps a copy, which nobody asks for */
        return 0;
}

enum { OPTIONS_MAX = 32 }; /* of one block, with the blocks in it and with ours */

/* The options of a block as libconfuse wants them; @inner has the arrays of the blocks in it. */
static void fill_options(enum conf_section_id section, struct file_reader *reader,
                         cfg_opt_t inner[SECTIONS][OPTIONS_MAX], cfg_opt_t ret[OPTIONS_MAX])
{
        size_t n = 0;

        for (size_t i = 0; i < conf_n_options; i++) {
                const struct conf_option *o = &conf_options[i];

                if (o->section != section)
                        continue;
                assert(n < OPTIONS_MAX);
                ret[n++] = (cfg_opt_t){
                        .name = o->key,
                        .type = CFGT_STR,
                        .flags = CFGF_NODEFAULT | (o->type->is_list ? CFGF_LIST : CFGF_NONE),
                        .parsecb = on_option,
                };
        }
        for (unsigned i = 0; i < SECTIONS; i++) {
                const struct conf_section *s = &conf_sections[i];

                if (s->parent != section)
                        continue;
                assert(n < OPTIONS_MAX);
                ret[n++] = (cfg_opt_t){
                        .name = s->name,
                        .type = CFGT_SEC,
                        .flags = CFGF_MULTI | (s->is_titled ? CFGF_TITLE : CFGF_NONE),
                        .subopts = inner[i],
                };
        }
        assert(n + 3 <= OPTIONS_MAX);
        if (section != SECTION_ROOT)
                ret[n++] = (cfg_opt_t){ .name = SOURCE_LINE,
                                        .type = CFGT_STR,
                                        .flags = CFGF_NODEFAULT,
                                        .parsecb = on_option };
        ret[n++] = (cfg_opt_t){ .name = READER_OPTION,
                                .type = CFGT_PTR,
                                .flags = CFGF_NODEFAULT,
                                .simple_value.ptr = (void **)(void *)reader };
        ret[n] = (cfg_opt_t)CFG_END();
}

/* Inner blocks stand behind outer ones in the table, so that they are filled first from its end. */
static cfg_t *make_parser(struct file_reader *reader)
{
        cfg_opt_t options[SECTIONS + 1][OPTIONS_MAX];
        cfg_t *cfg;

        for (unsigned i = SECTIONS; i-- > 0;)
                fill_options((enum conf_section_id)i, reader, options, options[i]);
        fill_options(SECTION_ROOT, reader, options, options[SECTION_ROOT]);
        cfg = cfg_init(options[SECTION_ROOT], CFGF_NONE);
        if (cfg)
                (void)cfg_set_error_function(cfg, on_error); /* returns the one before: none */
        return cfg;
}

static void cfg_freep(cfg_t **cfg)
{
        if (*cfg)
                (void)cfg_free(*cfg); /* fails for NULL only */
}

static void fclosep(FILE **file)
{
        if (*file)
                (void)fclose(*file); /* memory that was only read */
}

int file_reader_read(struct file_reader *reader, const char *path, const struct buffer *text)
{
        _cleanup_(cfg_freep)
        cfg_t *cfg = NULL;
        _cleanup_(fclosep)
        FILE *file = NULL;

        if (text->n == 0)
                return 0;
        reader->file = places_add_file(reader->places, path);
        cfg = make_parser(reader);
        file = fmemopen(text->bytes, text->n, "r");
        if (!cfg || !file)
                return complain(reader->complaint, path, 0, "no memory to read the file");
        if (cfg_parse_fp(cfg, file) == CFG_SUCCESS)
                return 0;
        if (!reader->has_complained)
                (void)complain(reader->complaint, path, (unsigned)cfg->line,
                               "this cannot be read; write an option as NAME = VALUE, a block as "
                               "NAME { } or NAME \"TITLE\" { }");
        return -EINVAL;
}
