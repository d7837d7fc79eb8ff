/* The masterships: the table of entries, and the notes that allow to propose an expiry. */
#include "election/store/lease.h"

#include <string.h>

static struct store_lease *find(struct lease_table *t, const char *service)
{
        for (size_t i = 0; i < t->n; i++)
                if (strcmp(t->leases[i].service, service) == 0)
                        return &t->leases[i];
        return NULL;
}

const struct store_lease *lease_find(const struct lease_table *t, const char *service)
{
        for (size_t i = 0; i < t->n; i++)
                if (strcmp(t->leases[i].service, service) == 0)
                        return &t->leases[i];
        return NULL;
}

/* The lease that has been free for longest, or NULL if all are held. */
static struct store_lease *find_abandoned(struct lease_table *t)
{
        struct store_lease *oldest = NULL;

        for (size_t i = 0; i < t->n; i++) {
                struct store_lease *l = &t->leases[i];

                if (l->state == STORE_LEASE_FREE && (!oldest || l->freed < oldest->freed))
                        oldest = l;
        }
        return oldest;
}

/*
 * A free lease for a service that was never acquired. A full table gives up what a service left
 * behind that is free for longest: epochs are log indexes and rise without its help.
 */
static struct store_lease *make(struct lease_table *t, const char *service)
{
        struct store_lease *l;

        l = t->n < SERVICES_MAX ? &t->leases[t->n++] : find_abandoned(t);
        if (!l)
                return NULL;
        *l = (struct store_lease){ .state = STORE_LEASE_FREE };
        memcpy(l->service, service, strlen(service) + 1);
        return l;
}

bool lease_acquire(struct lease_table *t, const struct store_command *c, struct store_entry e)
{
        struct store_lease *l = find(t, c->service);

        if (!l)
                l = make(t, c->service);
        if (!l || l->state != STORE_LEASE_FREE)
                return false;

        /* The position stays: until the first renewal it is the best that is known. */
        l->state = STORE_LEASE_HELD;
        l->holder = c->origin.node;
        l->incarnation = c->origin.incarnation;
        l->epoch = e.index;
        l->renewed = e.index;
        l->ttl = c->ttl;
        l->reserved_for = NODE_NOBODY;
        l->freed = 0;
        l->expired = false;
        l->noted = e.noted;
        return true;
}

/* The lease named by service and epoch, if that epoch has not ended. */
static struct store_lease *find_epoch(struct lease_table *t, const char *service, uint64_t epoch)
{
        struct store_lease *l = find(t, service);

        return l && l->state != STORE_LEASE_FREE && l->epoch == epoch ? l : NULL;
}

static bool is_holder(const struct store_lease *l, const struct store_origin *origin)
{
        return l->holder == origin->node && l->incarnation == origin->incarnation;
}

/* A restarted process goes on where the one before it on the same node left off (rule L10). */
static bool is_successor(const struct store_lease *l, const struct store_command *c)
{
        return c->old_incarnation != 0 && l->holder == c->origin.node &&
               l->incarnation == c->old_incarnation;
}

bool lease_renew(struct lease_table *t, const struct store_command *c,
                 const struct store_renewal *renewal, struct store_entry e)
{
        struct store_lease *l = find_epoch(t, renewal->service, renewal->epoch);

        if (!l || l->state != STORE_LEASE_HELD)
                return false;
        if (!is_holder(l, &c->origin) && !is_successor(l, c))
                return false;

        l->incarnation = c->origin.incarnation;
        l->renewed = e.index;
        l->noted = e.noted;
        if (renewal->n_position > 0) {
                memcpy(l->position, renewal->position, renewal->n_position);
                l->n_position = renewal->n_position;
        }
        return true;
}

/* The epoch is over; what its holder left stays to be read. */
static void set_free(struct store_lease *l, struct store_entry e)
{
        l->state = STORE_LEASE_FREE;
        l->freed = e.index;
        l->noted = e.noted;
}

bool lease_release(struct lease_table *t, const struct store_command *c, struct store_entry e)
{
        struct store_lease *l = find_epoch(t, c->service, c->epoch);

        if (!l || !is_holder(l, &c->origin))
                return false;
        set_free(l, e);
        l->reserved_for = c->reserved_for;
        return true;
}

bool lease_close(struct lease_table *t, const struct store_command *c)
{
        struct store_lease *l = find_epoch(t, c->service, c->epoch);

        if (!l || l->state != STORE_LEASE_HELD)
                return false;
        l->state = STORE_LEASE_CLOSING;
        return true;
}

/* Rule L5: a renewal that is ahead in the log wins over the expiry that did not know it. */
bool lease_expire(struct lease_table *t, const struct store_expiry *expiry, struct store_entry e)
{
        struct store_lease *l = find_epoch(t, expiry->name, expiry->epoch);

        if (!l || l->renewed != expiry->renewed)
                return false;
        set_free(l, e);
        l->expired = true;
        return true;
}

bool lease_fenced(struct lease_table *t, const struct store_command *c, struct store_entry e)
{
        struct store_lease *l = find_epoch(t, c->service, c->epoch);

        if (!l)
                return false;
        set_free(l, e);
        return true;
}

bool lease_is_due(const struct store_lease *l, struct instant now)
{
        return l->state != STORE_LEASE_FREE &&
               instant_reached(instant_after(l->noted, l->ttl), now);
}

size_t lease_list_due(const struct lease_table *t, struct instant now, struct store_expiry *ret,
                      size_t max)
{
        size_t n = 0;

        for (size_t i = 0; i < t->n && n < max; i++) {
                const struct store_lease *l = &t->leases[i];

                if (!lease_is_due(l, now))
                        continue;
                ret[n++] = (struct store_expiry){
                        .kind = STORE_LEASE_MASTER,
                        .name = (char *)l->service, /* lent: the caller only reads it */
                        .epoch = l->epoch,
                        .renewed = l->renewed,
                };
        }
        return n;
}

struct instant lease_next_due(const struct lease_table *t, struct instant now)
{
        struct instant next = INSTANT_FOREVER;

        for (size_t i = 0; i < t->n; i++) {
                const struct store_lease *l = &t->leases[i];

                if (l->state != STORE_LEASE_FREE && !lease_is_due(l, now))
                        next = instant_earlier(next, instant_after(l->noted, l->ttl));
        }
        return next;
}

bool lease_attests(const struct lease_table *t, const struct store_expiry *expiry,
                   struct instant now)
{
        const struct store_lease *l = lease_find(t, expiry->name);

        /* Epochs and renewals only rise: what no longer fits never fits again. */
        if (!l || l->state == STORE_LEASE_FREE || l->epoch != expiry->epoch ||
            l->renewed != expiry->renewed)
                return true;
        return lease_is_due(l, now);
}

void lease_reset_notes(struct lease_table *t, struct instant now)
{
        for (size_t i = 0; i < t->n; i++)
                t->leases[i].noted = now;
}
