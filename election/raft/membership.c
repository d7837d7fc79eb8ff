/*
 * The configurations in the log, and the one in force before its first entry. A configuration
 * counts from when it is appended, and no more when it is truncated: both happen in here, right
 * where the log does it, and nobody else keeps what was derived from it.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "election/raft/raft-internal.h"

static struct raft_membership copy_of(const struct raft_membership *from)
{
        struct raft_membership ret = *from;

        ret.context = from->n_context > 0 ? must_copy(from->context, from->n_context) : NULL;
        return ret;
}

static void add(struct raft *r, const struct raft_membership *membership)
{
        struct raft_memberships *c = &r->memberships;

        assert(c->n == 0 || membership->index > c->list[c->n - 1].index);
        MUST_GROW(c->list, c->n, c->n_max);
        c->list[c->n++] = copy_of(membership);
        c->changed = true;
}

static void drop_last(struct raft_memberships *c)
{
        free((void *)c->list[--c->n].context);
        c->changed = true;
}

void raft_memberships_init(struct raft *r, const struct raft_membership *at_base)
{
        const struct raft_config *config = &r->config;

        if (at_base->members.n_voters > 0) {
                assert(raft_members_are_valid(&at_base->members));
                assert(at_base->index <= r->log.base_index);
                add(r, at_base);
        } else {
                assert(config->members.n_voters == 0 ? config->members.n_learners == 0
                                                     : raft_members_are_valid(&config->members));
                add(r, &(struct raft_membership){ .members = config->members,
                                                  .context = config->context,
                                                  .n_context = config->n_context });
        }
        r->config.context = NULL; /* it was the caller's */
        r->config.n_context = 0;
}

void raft_memberships_done(struct raft *r)
{
        while (r->memberships.n > 0)
                drop_last(&r->memberships);
        free(r->memberships.list);
}

void raft_memberships_append(struct raft *r, const struct raft_entry *entry)
{
        struct reader reader = reader_of(entry->bytes, entry->n);
        struct raft_membership membership = { .index = entry->index };
        bool good;

        if (entry->type != RAFT_ENTRY_MEMBERS)
                return;
        good = raft_members_decode(&reader, &membership.members);
        assert(good); /* checked where it came in */
        membership.context = reader.bytes;
        membership.n_context = reader.n;
        add(r, &membership);
}

void raft_memberships_truncate(struct raft *r, uint64_t from)
{
        struct raft_memberships *c = &r->memberships;

        while (c->list[c->n - 1].index >= from) {
                drop_last(c);
                assert(c->n > 0);
        }
}

/* Where in the list the configuration in force at @index stands; the first one at the least. */
static size_t place_of(const struct raft *r, uint64_t index)
{
        size_t i = r->memberships.n - 1;

        while (i > 0 && r->memberships.list[i].index > index)
                i--;
        return i;
}

/* Drops the first @n. */
static void drop_first(struct raft_memberships *c, size_t n)
{
        for (size_t i = 0; i < n; i++)
                free((void *)c->list[i].context);
        c->n -= n;
        for (size_t i = 0; i < c->n; i++)
                c->list[i] = c->list[i + n];
}

void raft_memberships_compact(struct raft *r)
{
        drop_first(&r->memberships, place_of(r, r->log.base_index));
}

void raft_memberships_install(struct raft *r, const struct raft_membership *at_base)
{
        struct raft_memberships *c = &r->memberships;
        size_t n_covered = 0;

        while (c->n > 0 && c->list[c->n - 1].index > raft_log_last(&r->log))
                drop_last(c); /* gone with the log */
        while (n_covered < c->n && c->list[n_covered].index <= r->log.base_index)
                n_covered++;
        drop_first(c, n_covered);
        /* In front of what the log still has behind the snapshot. */
        MUST_GROW(c->list, c->n, c->n_max);
        memmove(c->list + 1, c->list, c->n * sizeof(*c->list));
        c->list[0] = copy_of(at_base);
        c->n++;
        c->changed = true;
}

const struct raft_membership *raft_membership(const struct raft *r)
{
        return &r->memberships.list[r->memberships.n - 1];
}

const struct raft_members *raft_members(const struct raft *r)
{
        return &raft_membership(r)->members;
}

const struct raft_membership *raft_membership_at(const struct raft *r, uint64_t index)
{
        assert(index >= r->log.base_index);
        return &r->memberships.list[place_of(r, index)];
}
