/* The member list: finding, changing, encoding. */
#include "election/members.h"

#include <string.h>

enum { MEMBERS_FORMAT = 1 };

bool member_votes(const struct member *m)
{
        return m->kind != MEMBER_OBSERVER && !m->is_learning;
}

const struct member *members_by_id(const struct members *m, node_id id)
{
        for (unsigned i = 0; i < m->n; i++) {
                if (m->list[i].id == id)
                        return &m->list[i];
        }
        return NULL;
}

const struct member *members_by_name(const struct members *m, const char *name)
{
        for (unsigned i = 0; i < m->n; i++) {
                if (strcmp(m->list[i].name, name) == 0)
                        return &m->list[i];
        }
        return NULL;
}

bool members_add(struct members *m, const struct member *member)
{
        unsigned at = m->n;

        if (m->n == MEMBERS_MAX)
                return false;
        for (; at > 0 && m->list[at - 1].id > member->id; at--)
                m->list[at] = m->list[at - 1];
        m->list[at] = *member;
        m->n++;
        return true;
}

void members_remove(struct members *m, node_id id)
{
        unsigned kept = 0;

        for (unsigned i = 0; i < m->n; i++) {
                if (m->list[i].id != id)
                        m->list[kept++] = m->list[i];
        }
        m->n = kept;
}

node_id members_free_id(const struct members *m)
{
        for (unsigned i = 1; i <= MEMBERS_MAX; i++) {
                node_id id = (node_id)((m->id_last + i - 1) % MEMBERS_MAX + 1);

                if (!members_by_id(m, id))
                        return id;
        }
        return NODE_NOBODY;
}

struct raft_members members_for_raft(const struct members *m)
{
        struct raft_members ret = { 0 };

        for (unsigned i = 0; i < m->n; i++) {
                if (member_votes(&m->list[i]))
                        ret.voters[ret.n_voters++] = m->list[i].id;
                else
                        ret.learners[ret.n_learners++] = m->list[i].id;
        }
        return ret;
}

static void put_endpoint(struct buffer *b, const struct endpoint *e)
{
        bool is_v6 = e->address.family == AF_INET6;

        buffer_put_u8(b, is_v6 ? 6 : 4);
        if (is_v6)
                buffer_put(b, &e->address.v6, sizeof(e->address.v6));
        else
                buffer_put(b, &e->address.v4, sizeof(e->address.v4));
        buffer_put_u16(b, e->port);
}

static void get_bytes(struct reader *r, uint8_t *ret, size_t n)
{
        for (size_t i = 0; i < n; i++)
                ret[i] = reader_get_u8(r);
}

static void get_endpoint(struct reader *r, struct endpoint *ret)
{
        uint8_t version = reader_get_u8(r);

        if (version == 6) {
                ret->address.family = AF_INET6;
                get_bytes(r, (uint8_t *)&ret->address.v6, sizeof(ret->address.v6));
        } else {
                ret->address.family = AF_INET;
                get_bytes(r, (uint8_t *)&ret->address.v4, sizeof(ret->address.v4));
        }
        ret->port = reader_get_u16(r);
        if (version != 4 && version != 6)
                r->failed = true;
}

void members_encode(const struct members *m, struct buffer *b)
{
        buffer_put_u8(b, MEMBERS_FORMAT);
        buffer_put_u8(b, m->id_last);
        buffer_put_u8(b, (uint8_t)m->n);
        for (unsigned i = 0; i < m->n; i++) {
                const struct member *member = &m->list[i];

                buffer_put_u8(b, member->id);
                buffer_put_string(b, member->name);
                buffer_put_u8(b, (uint8_t)member->kind);
                buffer_put_u8(b, member->is_learning);
                buffer_put_u64(b, member->incarnation);
                put_endpoint(b, &member->peer);
                put_endpoint(b, &member->api);
        }
}

static bool get_member(struct reader *r, struct member *ret)
{
        uint8_t kind, is_learning;

        *ret = (struct member){ .id = reader_get_u8(r) };
        reader_get_string(r, ret->name, sizeof(ret->name));
        kind = reader_get_u8(r);
        is_learning = reader_get_u8(r);
        ret->kind = kind;
        ret->is_learning = is_learning;
        ret->incarnation = reader_get_u64(r);
        get_endpoint(r, &ret->peer);
        get_endpoint(r, &ret->api);
        return !r->failed && ret->id >= 1 && ret->id <= MEMBERS_MAX && kind <= MEMBER_OBSERVER &&
               is_learning <= 1 && name_is_valid(ret->name);
}

bool members_decode(const uint8_t *bytes, size_t n, struct members *ret)
{
        struct reader r = reader_of(bytes, n);
        uint8_t format = reader_get_u8(&r), id_last = reader_get_u8(&r), count = reader_get_u8(&r);
        struct members m = { .id_last = id_last };

        if (format != MEMBERS_FORMAT || id_last > MEMBERS_MAX)
                return false;
        for (unsigned i = 0; i < count; i++) {
                struct member member;

                if (!get_member(&r, &member) || (i > 0 && member.id <= m.list[i - 1].id) ||
                    members_by_name(&m, member.name) || !members_add(&m, &member))
                        return false;
        }
        if (!reader_done(&r))
                return false;
        *ret = m;
        return true;
}

const char *member_kind_name(enum member_kind kind)
{
        switch (kind) {
        case MEMBER_FULL:
                return "member";
        case MEMBER_WITNESS:
                return "witness";
        case MEMBER_OBSERVER:
                return "observer";
        }
        return "unknown";
}
