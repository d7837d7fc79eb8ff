/* The configuration as a file that says everything, defaults, too. */
#include <errno.h>
#include <stdio.h>

#include "conf/conf.h"
#include "conf/options.h"

static const char indentation[] = "        ";

struct dump {
        const struct conf *conf;
        FILE *file;
        unsigned depth;
};

static void indent(const struct dump *d)
{
        for (unsigned i = 0; i < d->depth; i++)
                fputs(indentation, d->file);
}

static void begin(struct dump *d, enum conf_section_id section, const char *title)
{
        indent(d);
        fputs(conf_sections[section].name, d->file);
        if (title)
                fprintf(d->file, " \"%s\"", title);
        fputs(" {\n", d->file);
        d->depth++;
}

static void end(struct dump *d)
{
        d->depth--;
        indent(d);
        fputs("}\n", d->file);
}

static void dump_holders(struct dump *d, const struct conf_service *s)
{
        fputs("{", d->file);
        for (size_t i = 0; i < s->n_members; i++)
                fprintf(d->file, "%s \"%s\"", i ? "," : "",
                        conf_member_by_id(d->conf, s->members[i])->name);
        fputs(" }", d->file);
}

static void dump_value(struct dump *d, const struct conf_option *option, const void *object)
{
        const char *quote = option->type->is_bare ? "" : "\"";

        if (option->type->is_list) {
                dump_holders(d, object);
                return;
        }
        fputs(quote, d->file);
        option->type->print(option, (const char *)object + option->offset, d->file);
        fputs(quote, d->file);
}

static void dump_options(struct dump *d, enum conf_section_id section, const void *object)
{
        for (size_t i = 0; i < conf_n_options; i++) {
                const struct conf_option *o = &conf_options[i];

                if (o->section != section)
                        continue;
                indent(d);
                fprintf(d->file, "%s = ", o->key);
                dump_value(d, o, object);
                fputc('\n', d->file);
        }
}

static void dump_cluster(struct dump *d)
{
        const struct conf_cluster *cluster = &d->conf->cluster;

        begin(d, SECTION_CLUSTER, cluster->name);
        dump_options(d, SECTION_CLUSTER, cluster);
        for (size_t i = 0; i < cluster->n_members; i++) {
                begin(d, SECTION_MEMBER, cluster->members[i]->name);
                dump_options(d, SECTION_MEMBER, cluster->members[i]);
                end(d);
        }
        end(d);
}

static void dump_service(struct dump *d, const struct conf_service *s)
{
        begin(d, SECTION_SERVICE, s->name);
        dump_options(d, SECTION_SERVICE, s);
        if (s->postgres) {
                begin(d, SECTION_POSTGRES, NULL);
                dump_options(d, SECTION_POSTGRES, s->postgres);
                end(d);
        }
        for (size_t i = 0; i < s->n_vips; i++) {
                begin(d, SECTION_VIP, NULL);
                dump_options(d, SECTION_VIP, s->vips[i]);
                end(d);
        }
        end(d);
}

int conf_dump(const struct conf *conf, FILE *file)
{
        struct dump d = { .conf = conf, .file = file };

        begin(&d, SECTION_NODE, conf->node.name);
        dump_options(&d, SECTION_NODE, &conf->node);
        end(&d);
        dump_cluster(&d);
        for (size_t i = 0; i < conf->n_services; i++)
                dump_service(&d, conf->services[i]);
        return fflush(file) != 0 || ferror(file) ? -EIO : 0;
}
