/* The member list that the cluster has agreed on, in place of the one in the files. */
#include <stdlib.h>
#include <string.h>

#include "conf/complete.h"
#include "election/base/memory.h"

static struct conf_member *copy_member(const struct conf_member *m)
{
        struct conf_member *copy = must_copy(m, sizeof(*m));

        copy->name = must_copy(m->name, strlen(m->name));
        return copy;
}

/* The holders of @s by their new ids; those who are gone are left out. */
static void renumber_holders(struct conf_service *s, const struct conf_cluster *old,
                             const struct conf *conf)
{
        node_id holders[MEMBERS_MAX];
        size_t n = 0;

        for (size_t i = 0; i < old->n_members; i++) {
                const struct conf_member *m = old->members[i];
                const struct conf_member *now = conf_member_by_name(conf, m->name);

                if (conf_service_has_member(s, m->id) && now && now->role == CONF_MEMBER)
                        holders[n++] = now->id;
        }
        memcpy(s->members, holders, n * sizeof(holders[0]));
        s->n_members = n;
}

static int compare_ids(const void *a, const void *b)
{
        const struct conf_member *const *x = a, *const *y = b;

        return (*x)->id - (*y)->id;
}

/* Who is no member any more has nothing but itself to go by. */
static void keep_own(struct conf *conf, const struct conf_cluster *old)
{
        struct conf_cluster *cluster = &conf->cluster;

        for (size_t i = 0; i < old->n_members && cluster->n_members < MEMBERS_MAX; i++) {
                struct conf_member *m;

                if (strcmp(old->members[i]->name, conf->node.name) != 0)
                        continue;
                m = copy_member(old->members[i]);
                if (conf_member_by_id(conf, m->id))
                        m->id = conf->self = NODE_NOBODY;
                m->role = CONF_OBSERVER;
                cluster->members[cluster->n_members++] = m;
        }
}

void conf_adopt(struct conf *conf, const struct conf_member *members, size_t n)
{
        struct conf_cluster old = conf->cluster;
        struct conf_cluster *cluster = &conf->cluster;
        node_id self;

        for (size_t i = 0; i < n; i++)
                cluster->members[i] = copy_member(&members[i]);
        cluster->n_members = n;
        self = conf_member_id(conf, conf->node.name);
        if (self != NODE_NOBODY)
                conf->self = self;
        else
                keep_own(conf, &old);
        qsort(cluster->members, cluster->n_members, sizeof(cluster->members[0]), compare_ids);
        for (size_t i = 0; i < conf->n_services; i++) {
                if (conf->services[i]->has_member_list)
                        renumber_holders(conf->services[i], &old, conf);
                else
                        conf_let_all_hold(conf->services[i], cluster);
        }
        for (size_t i = 0; i < old.n_members; i++) {
                free(old.members[i]->name);
                free(old.members[i]);
        }
}
