/* Defaults first, then what can be said only when all blocks are known. */
#include "conf/complete.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "conf/complaint.h"
#include "conf/options.h"
#include "conf/reader.h"
#include "election/base/memory.h"

/* The renewal that fits every TTL; renew may be longer, up to a fifth. */
enum { RENEW_PART_OF_TTL = 10 };

struct completion {
        struct conf *conf;
        const struct places *places;
        struct conf_complaint *complaint;
};

static int complete_option(const struct completion *c, const struct conf_option *option,
                           void *object)
{
        const char *value = conf_option_default(option, c->conf->cluster.profile);
        const struct place *block = places_find(c->places, object, NULL);
        int r;

        if (places_find(c->places, object, option->key))
                return 0;
        if (value) {
                r = option_parse(option, object, value, block->file, block->line, c->complaint);
                assert(r == 0); /* the table accepts its own defaults */
                return 0;
        }
        if (option->computed)
                return 0;
        return complain(c->complaint, block->file, block->line,
                        "%s is missing in this %s block; write %s", option->key,
                        conf_sections[option->section].name, option->type->accepted);
}

/* The profile stands before all that depends on it, in the table and in the order of blocks. */
static int complete_block(enum conf_section_id section, void *object, void *userdata)
{
        const struct completion *c = userdata;
        int r = 0;

        for (size_t i = 0; r == 0 && i < conf_n_options; i++) {
                if (conf_options[i].section == section)
                        r = complete_option(c, &conf_options[i], object);
        }
        return r;
}

static int compare_members(const void *a, const void *b)
{
        const struct conf_member *const *x = a, *const *y = b;

        return strcmp((*x)->name, (*y)->name);
}

static int compare_services(const void *a, const void *b)
{
        const struct conf_service *const *x = a, *const *y = b;

        return strcmp((*x)->name, (*y)->name);
}

/* Each node counts the members alike, whatever the order in its files. */
static void number_members(struct conf_cluster *cluster)
{
        qsort(cluster->members, cluster->n_members, sizeof(cluster->members[0]), compare_members);
        for (size_t i = 0; i < cluster->n_members; i++)
                cluster->members[i]->id = (node_id)(i + 1);
}

#define FNV_OFFSET UINT64_C(0xcbf29ce484222325)

/* FNV-1a (Fowler, Noll, Vo), 64 bits, with the final NUL as a separator. */
static uint64_t hash_string(uint64_t hash, const char *s)
{
        do {
                hash ^= (unsigned char)*s;
                hash *= UINT64_C(0x100000001b3);
        } while (*s++);
        return hash;
}

static uint64_t hash_cluster(const struct conf_cluster *cluster)
{
        uint64_t name = hash_string(FNV_OFFSET, cluster->name), founding = FNV_OFFSET;

        for (size_t i = 0; i < cluster->n_members; i++)
                founding = hash_string(founding, cluster->members[i]->name);
        return (name ^ name >> 32) << 32 | ((founding ^ founding >> 32) & UINT32_MAX);
}

enum { MEMBER_LIST_SIZE = MEMBERS_MAX * (NAME_SIZE + 4) };

/* The names of all members, or of those that may hold a service, for a complaint. */
static const char *list_members(const struct conf_cluster *cluster, bool holders_only,
                                char ret[static MEMBER_LIST_SIZE])
{
        size_t n = 0;

        ret[0] = '\0';
        for (size_t i = 0; i < cluster->n_members; i++) {
                const struct conf_member *m = cluster->members[i];

                if (!holders_only || m->role == CONF_MEMBER)
                        n += (size_t)snprintf(ret + n, MEMBER_LIST_SIZE - n, "%s\"%s\"",
                                              n ? ", " : "", m->name);
        }
        return ret;
}

static int complete_node(const struct completion *c)
{
        struct conf *conf = c->conf;
        struct conf_node *node = &conf->node;
        const struct conf_cluster *cluster = &conf->cluster;
        const struct conf_member *self = conf_member_by_name(conf, node->name);
        const struct place *place = places_find(c->places, node, NULL);
        char members[MEMBER_LIST_SIZE];

        if (!self)
                return complain(c->complaint, place->file, place->line,
                                "node \"%s\" is not a member of cluster \"%s\"; add member \"%s\" "
                                "there, or name this node as one of its members: %s",
                                node->name, cluster->name, node->name,
                                list_members(cluster, false, members));
        conf->self = self->id;
        if (!places_find(c->places, node, "address"))
                node->address = self->address;
        return 0;
}

static int add_holder(const struct completion *c, struct conf_service *s, const struct place *place)
{
        const struct conf_member *m = conf_member_by_name(c->conf, place->value);
        char found[QUOTED_SIZE], members[MEMBER_LIST_SIZE];

        if (!m)
                return complain(c->complaint, place->file, place->line,
                                "members: %s is not a member of cluster \"%s\"; write some of %s",
                                quoted(place->value, found), c->conf->cluster.name,
                                list_members(&c->conf->cluster, true, members));
        if (m->role != CONF_MEMBER)
                return complain(c->complaint, place->file, place->line,
                                "members: \"%s\" is %s, which holds no service; write some "
                                "of %s",
                                m->name, m->role == CONF_WITNESS ? "a witness" : "an observer",
                                list_members(&c->conf->cluster, true, members));
        if (conf_service_has_member(s, m->id))
                return complain(c->complaint, place->file, place->line,
                                "members: \"%s\" is given twice; write each name once", m->name);
        s->members[s->n_members++] = m->id;
        return 0;
}

static int compare_ids(const void *a, const void *b)
{
        return *(const node_id *)a - *(const node_id *)b;
}

void conf_let_all_hold(struct conf_service *s, const struct conf_cluster *cluster)
{
        s->n_members = 0;
        for (size_t i = 0; i < cluster->n_members; i++) {
                if (cluster->members[i]->role == CONF_MEMBER)
                        s->members[s->n_members++] = cluster->members[i]->id;
        }
}

static int complete_holders(const struct completion *c, struct conf_service *s)
{
        int r;

        s->has_member_list = places_find(c->places, s, "members") != NULL;
        if (!s->has_member_list) {
                conf_let_all_hold(s, &c->conf->cluster);
                return 0;
        }
        for (size_t i = 0; i < c->places->n; i++) {
                const struct place *place = &c->places->entries[i];

                if (place->object != s || !place->key || strcmp(place->key, "members") != 0)
                        continue;
                r = add_holder(c, s, place);
                if (r < 0)
                        return r;
        }
        qsort(s->members, s->n_members, sizeof(s->members[0]), compare_ids);
        return 0;
}

static void complete_bin_dir(struct conf_postgres *pg)
{
        char path[CONF_PATH_SIZE];
        int n;

        if (pg->bin_dir[0] != '\0' || pg->version == 0)
                return;
        n = snprintf(path, sizeof(path), "/usr/lib/postgresql/%u/bin", pg->version);
        free(pg->bin_dir);
        pg->bin_dir = must_copy(path, (size_t)n);
}

static int complete_service(const struct completion *c, struct conf_service *s)
{
        if (!places_find(c->places, s, "renew"))
                s->renew = s->ttl / RENEW_PART_OF_TTL;
        if (s->postgres)
                complete_bin_dir(s->postgres);
        return complete_holders(c, s);
}

int conf_complete(struct conf *conf, const struct places *places,
                  struct conf_complaint *ret_complaint)
{
        struct completion c = { .conf = conf, .places = places, .complaint = ret_complaint };
        int r;

        r = conf_each_block(conf, complete_block, &c);
        if (r < 0)
                return r;
        number_members(&conf->cluster);
        conf->cluster_id = hash_cluster(&conf->cluster);
        r = complete_node(&c);
        for (size_t i = 0; r == 0 && i < conf->n_services; i++)
                r = complete_service(&c, conf->services[i]);
        qsort(conf->services, conf->n_services, sizeof(conf->services[0]), compare_services);
        return r;
}
