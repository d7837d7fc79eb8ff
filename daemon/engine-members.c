/* The member list of the cluster, as the engine needs it: found at the start, followed from then on. */
#include <errno.h>
#include <string.h>

#include "daemon/engine-internal.h"
#include "daemon/joining.h"
#include "daemon/journal.h"
#include "daemon/peers.h"

static enum member_kind kind_of(enum conf_role role)
{
        switch (role) {
        case CONF_MEMBER:
                return MEMBER_FULL;
        case CONF_WITNESS:
                return MEMBER_WITNESS;
        case CONF_OBSERVER:
                return MEMBER_OBSERVER;
        }
        return MEMBER_OBSERVER;
}

/* A learner holds nothing yet, so that services count on it no more than on an observer. */
static enum conf_role role_of(const struct member *m)
{
        if (m->kind == MEMBER_WITNESS)
                return CONF_WITNESS;
        return m->kind == MEMBER_FULL && !m->is_learning ? CONF_MEMBER : CONF_OBSERVER;
}

static void list_of_conf(const struct conf *conf, struct members *ret)
{
        *ret = (struct members){ 0 };
        for (size_t i = 0; i < conf->cluster.n_members; i++) {
                const struct conf_member *m = conf->cluster.members[i];
                struct member member = {
                        .id = m->id,
                        .kind = kind_of(m->role),
                        .peer = { .address = m->address, .port = m->raft_port },
                        .api = { .address = m->address, .port = m->api_port },
                };

                (void)strncpy(member.name, m->name, NAME_SIZE - 1);
                (void)members_add(ret, &member); /* a configuration has no more than fit */
                ret->id_last = m->id;
        }
}

/*
 * Who joins has no list but the one that the log brings, also when the log has begun to come and the
 * list has not: with what the configuration says, it could elect itself.
 */
int engine_members_found(struct engine *e, struct members *ret)
{
        bool is_empty = e->recovered.n_entries == 0 && e->recovered.snapshot_index == 0;
        struct joining j;
        int r = joining_read(e->dir, &j);

        *ret = (struct members){ 0 };
        if (r == 0 && (j.node != e->recovered.identity.node ||
                       j.cluster_id != e->recovered.identity.cluster_id))
                r = -EBADMSG;
        if (r == -ENOENT)
                list_of_conf(e->conf, ret);
        else if (r < 0 && is_empty)
                return log_error(r, "cannot read whom to join from %s", e->dir);
        else if (r < 0)
                (void)log_warning(r, "cannot read whom this node has joined from %s", e->dir);
        else
                e->joined = j.members;
        return 0;
}

/* The list in force, or before there is one, whom we were told to join. */
static const struct members *list_of(const struct engine *e)
{
        const struct members *list = node_members(e->node);

        return list->n > 0 ? list : &e->joined;
}

unsigned engine_members_peers(const struct engine *e, struct peers_member ret[MEMBERS_MAX])
{
        const struct members *list = node_contacts(e->node);

        if (list->n == 0)
                list = &e->joined;
        for (unsigned i = 0; i < list->n; i++)
                ret[i] = (struct peers_member){ .node = list->list[i].id,
                                                .endpoint = list->list[i].peer,
                                                .incarnation = list->list[i].incarnation };
        return list->n;
}

void engine_members_follow(struct engine *e)
{
        const struct members *list = list_of(e);
        struct peers_member peers[MEMBERS_MAX];
        struct conf_member members[MEMBERS_MAX];

        for (unsigned i = 0; i < list->n; i++) {
                const struct member *m = &list->list[i];

                members[i] = (struct conf_member){ .id = m->id,
                                                   .name = (char *)m->name,
                                                   .address = m->api.address,
                                                   .role = role_of(m),
                                                   .api_port = m->api.port,
                                                   .raft_port = m->peer.port };
        }
        conf_adopt(e->conf, members, list->n);
        memset(e->names.members, 0, sizeof(e->names.members));
        for (size_t i = 0; i < e->conf->cluster.n_members; i++)
                e->names.members[e->conf->cluster.members[i]->id] =
                        e->conf->cluster.members[i]->name;
        if (e->peers)
                peers_set_members(e->peers, peers, engine_members_peers(e, peers));
}
