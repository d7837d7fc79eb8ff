/*
 * This process as the holder of leases: stamps before it asks, validity that counts from the stamp
 * of an accepted request, and nothing after its end. The rules L1 to L12 are named where they are
 * kept; the argument for them is in docs/leases.md.
 */
#include <string.h>

#include "election/node-internal.h"

/* How long the executor may stay silent before its lease is no longer renewed. */
static usec_t hands_limit(const struct node_service_config *c)
{
        return c->ttl / 3 > 2 * c->renew ? c->ttl / 3 : 2 * c->renew;
}

/* Counted from a hold that is not confirmed: while there is none, there is nothing to confirm. */
static bool hands_alive(const struct node *n, const struct node_service *s)
{
        struct instant limit = instant_after(s->holder.hands_asked, hands_limit(&s->config));

        return s->holder.hands_asked.usec == 0 || !instant_reached(limit, n->now);
}

/* Rules L1 and L2: each attempt is a request of its own, stamped when it is made. */
static void stamp(struct node *n, struct node_holder *h, uint64_t sequence)
{
        h->stamps[sequence % NODE_STAMPS_MAX] = (struct node_stamp){ sequence, n->now };
}

static const struct node_stamp *stamp_of(const struct node_holder *h, uint64_t sequence)
{
        const struct node_stamp *s = &h->stamps[sequence % NODE_STAMPS_MAX];

        return s->sequence == sequence && sequence != 0 ? s : NULL;
}

/*
 * Whether the holder's view of itself fits the lease in the store, or the store is not current. An
 * adopted lease may be in the name of any process of this node: of several that started within one
 * hold, the hands need not have heard of each.
 */
static bool names_us(const struct node *n, const struct node_holder *h, const struct store_lease *l)
{
        if (!n->current)
                return h->old_incarnation != 0 || (l && l->epoch == h->epoch);
        return l && l->state == STORE_LEASE_HELD && l->holder == n->config.self &&
               l->epoch == h->epoch &&
               (l->incarnation == n->config.incarnation || h->old_incarnation != 0);
}

static bool is_valid(const struct node *n, const struct node_service *s)
{
        const struct node_holder *h = &s->holder;

        return h->epoch != 0 && !h->over && !instant_reached(h->valid_until, n->now) &&
               names_us(n, h, store_lease(n->store, s->config.name));
}

enum failover_lease_state node_lease_state(const struct node *n, size_t service)
{
        const struct node_service *s = &n->services[service];
        const struct store_lease *l = store_lease(n->store, s->config.name);

        if (is_valid(n, s))
                return FAILOVER_LEASE_OURS;
        if (!l || l->epoch == 0)
                return s->config.failover.has_database ? FAILOVER_LEASE_UNUSED
                                                       : FAILOVER_LEASE_FREE;
        if (l->state == STORE_LEASE_FREE)
                return FAILOVER_LEASE_FREE;
        return l->holder == n->config.self ? FAILOVER_LEASE_EARLIER : FAILOVER_LEASE_THEIRS;
}

bool node_lease_wanted(const struct node_service *s)
{
        const struct node_holder *h = &s->holder;

        if (h->epoch == 0 || h->over || !s->failover)
                return false;
        return h->old_incarnation != 0 || failover_wants_lease(s->failover);
}

/* The chain of deadlines counts from the stamp, whenever the answer came (rule L1). */
static void extend(struct node *n, size_t service, struct instant stamped)
{
        struct node_service *s = &n->services[service];
        struct node_holder *h = &s->holder;
        struct instant valid_until = instant_after(stamped, s->config.chain.holder_valid);
        struct node_effect *e;

        if (instant_reached(valid_until, h->valid_until))
                return;
        h->valid_until = valid_until;
        h->demote_at = instant_after(stamped, s->config.chain.demote);
        h->close_by = instant_after(stamped, s->config.chain.end);
        s->looked_at = false;
        if (h->hands_asked.usec == 0)
                h->hands_asked = n->now;
        e = node_add(n, NODE_HOLD);
        e->service = service;
        e->epoch = h->epoch;
        e->hold = (struct node_hold){ .incarnation = n->config.incarnation,
                                      .demote_at = h->demote_at,
                                      .close_by = h->close_by,
                                      .valid_until = h->valid_until };
}

static void note_lease(struct node *n, enum node_note_type type, size_t service, uint64_t epoch,
                       node_id member)
{
        struct node_note *note = node_note(n, type);

        note->service = service;
        note->epoch = epoch;
        note->member = member;
}

/* What is applied after a start, before this node is current, is history: nobody wants to hear it. */
static void note_news(struct node *n, enum node_note_type type, size_t service, uint64_t epoch,
                      node_id member)
{
        if (n->current)
                note_lease(n, type, service, epoch, member);
}

static void granted(struct node *n, size_t service, const struct store_result *r)
{
        struct node_holder *h = &n->services[service].holder;
        const struct node_stamp *stamped;

        note_news(n, NODE_NOTE_LEASE_GRANTED, service, r->epoch, r->origin.node);
        if (r->origin.node != n->config.self || r->origin.incarnation != n->config.incarnation)
                return;
        stamped = stamp_of(h, r->origin.sequence);
        h->epoch = r->epoch;
        h->old_incarnation = 0;
        h->valid_until = h->demote_at = h->close_by = INSTANT_NEVER;
        h->hands_asked = INSTANT_NEVER;
        /* Without the stamp nothing is known about the validity: the lease is given back. */
        h->over = !stamped ||
                  instant_reached(
                          instant_after(stamped->at, n->services[service].config.chain.demote),
                          n->now);
        h->renew_at = n->now;
        if (!h->over)
                extend(n, service, stamped->at);
}

/* Notes once that a lease ended by the clock, and forgets it. */
static void look_at_end(struct node *n, size_t service)
{
        struct node_holder *h = &n->services[service].holder;

        if (h->epoch == 0 || h->over || !instant_reached(h->valid_until, n->now))
                return;
        h->over = true;
        n->services[service].looked_at = false;
        note_lease(n, NODE_NOTE_LEASE_RAN_OUT, service, h->epoch, n->config.self);
}

/*
 * A refused renewal ends the tenure (rule L3), but for an adopted lease that another process of this
 * node renewed before it died: that one is named next.
 */
static void refused(struct node *n, size_t service)
{
        struct node_holder *h = &n->services[service].holder;
        const struct store_lease *l = store_lease(n->store, n->services[service].config.name);

        if (h->old_incarnation != 0 && l && l->state == STORE_LEASE_HELD &&
            l->holder == n->config.self && l->epoch == h->epoch &&
            l->incarnation != h->old_incarnation) {
                h->old_incarnation = l->incarnation;
                h->renew_at = n->now;
                return;
        }
        h->over = true;
        note_lease(n, NODE_NOTE_LEASE_REFUSED, service, h->epoch, n->config.self);
}

static void renewed(struct node *n, const struct store_result *r, const struct store_outcome *o)
{
        size_t service = node_service_find(n, o->name);
        struct node_holder *h;
        const struct node_stamp *stamped;

        if (service == n->config.n_services || r->origin.node != n->config.self ||
            r->origin.incarnation != n->config.incarnation)
                return;
        h = &n->services[service].holder;
        stamped = stamp_of(h, o->sequence);
        if (o->epoch != h->epoch)
                return;
        look_at_end(n, service); /* rule L12: validity is contiguous */
        if (h->over)
                return;
        n->services[service].looked_at = false;
        if (!o->accepted) {
                refused(n, service);
                return;
        }
        if (!stamped)
                return;
        h->old_incarnation = 0;
        extend(n, service, stamped->at);
}

static void expired(struct node *n, const struct store_outcome *o)
{
        size_t service = node_service_find(n, o->name);
        const struct store_lease *l;
        struct node_holder *h;

        if (o->kind != STORE_LEASE_MASTER || !o->accepted || service == n->config.n_services)
                return;
        l = store_lease(n->store, o->name);
        h = &n->services[service].holder;
        if (o->epoch == h->epoch && !h->over && !instant_reached(h->valid_until, n->now)) {
                h->over = true;
                note_lease(n, NODE_NOTE_EXPIRY_EARLY, service, o->epoch, n->config.self);
        }
        note_news(n, NODE_NOTE_LEASE_EXPIRED, service, o->epoch, l ? l->holder : NODE_NOBODY);
}

void node_lease_applied(struct node *n, const struct store_result *result)
{
        size_t service = node_service_find(n, result->service);

        for (size_t i = 0; i < n->config.n_services; i++)
                n->services[i].looked_at = false;
        switch (result->type) {
        case STORE_ACQUIRE:
                if (result->accepted && service < n->config.n_services)
                        granted(n, service, result);
                break;
        case STORE_RENEW:
                for (size_t i = 0; i < result->n_outcomes; i++)
                        renewed(n, result, &result->outcomes[i]);
                break;
        case STORE_EXPIRE:
                for (size_t i = 0; i < result->n_outcomes; i++)
                        expired(n, &result->outcomes[i]);
                break;
        case STORE_RELEASE:
        case STORE_FENCED:
                if (result->accepted && service < n->config.n_services)
                        note_news(n, NODE_NOTE_LEASE_RELEASED, service, result->epoch,
                                  result->origin.node);
                break;
        case STORE_CLOSE:
        case STORE_KEY:
                break;
        }
}

void node_lease_restored(struct node *n)
{
        for (size_t i = 0; i < n->config.n_services; i++)
                n->services[i].looked_at = false;
}

static size_t put_position(const struct failover_position *p, uint8_t *ret)
{
        const uint64_t values[] = { p->system_id, p->timeline, p->lsn };

        for (size_t i = 0; i < sizeof(values); i++)
                ret[i] = (uint8_t)(values[i / 8] >> (8 * (i % 8)));
        return sizeof(values);
}

static void renewal_of(struct node *n, struct node_service *s, uint64_t sequence,
                       struct store_renewal *ret)
{
        memcpy(ret->service, s->config.name, sizeof(ret->service));
        ret->epoch = s->holder.epoch;
        ret->sequence = sequence;
        ret->n_position = 0;
        if (s->status.role == FAILOVER_ROLE_PRIMARY && s->status.position.system_id != 0)
                ret->n_position = put_position(&s->status.position, ret->position);
        stamp(n, &s->holder, sequence);
}

/* Whether @h can travel with what is in @c: one entry names one earlier process. */
static bool fits_into(const struct store_command *c, const struct node_holder *h)
{
        return c->n == 0 || h->old_incarnation == 0 || c->old_incarnation == 0 ||
               h->old_incarnation == c->old_incarnation;
}

static void propose_renewals(struct node *n, struct store_command *c)
{
        if (c->n > 0)
                node_propose(n, c);
        c->n = 0;
        c->old_incarnation = 0;
}

/* All leases of this node that are due travel in one entry; an adopted one names its old process. */
void node_lease_renew(struct node *n)
{
        struct store_renewal renewals[STORE_BATCH_MAX];
        struct store_command c = { .type = STORE_RENEW, .renewals = renewals };
        bool reachable = raft_leader(n->raft) != NODE_NOBODY;

        for (size_t i = 0; i < n->config.n_services; i++) {
                struct node_service *s = &n->services[i];
                struct node_holder *h = &s->holder;

                look_at_end(n, i);
                if (!node_lease_wanted(s) || !instant_reached(h->renew_at, n->now))
                        continue;
                h->renew_at = instant_after(n->now,
                                            reachable ? s->config.renew : n->config.heartbeat);
                if (!reachable || !hands_alive(n, s))
                        continue;
                if (!fits_into(&c, h))
                        propose_renewals(n, &c);
                if (c.n == 0)
                        c.origin = (struct store_origin){ n->config.self, n->config.incarnation,
                                                          ++n->sequence };
                if (h->old_incarnation != 0)
                        c.old_incarnation = h->old_incarnation;
                renewal_of(n, s, c.origin.sequence, &renewals[c.n++]);
        }
        propose_renewals(n, &c);
}

void node_lease_campaign(struct node *n, size_t service)
{
        struct node_service *s = &n->services[service];
        struct store_command c = { .type = STORE_ACQUIRE,
                                   .origin = { n->config.self, n->config.incarnation,
                                               ++n->sequence },
                                   .ttl = s->config.ttl };

        memcpy(c.service, s->config.name, sizeof(c.service));
        stamp(n, &s->holder, c.origin.sequence);
        node_propose(n, &c);
}

/* Rule L7: from here on nothing is done under this epoch again, whatever becomes of the request. */
void node_lease_release(struct node *n, size_t service, node_id reserved_for)
{
        struct node_service *s = &n->services[service];
        const struct store_lease *l = store_lease(n->store, s->config.name);
        struct store_command c = { .type = STORE_RELEASE, .reserved_for = reserved_for };
        struct node_effect *e;

        s->holder.over = true;
        /* Also when the lease is gone: a hold that stays armed would close what comes after it. */
        if (s->holder.epoch != 0) {
                e = node_add(n, NODE_LET_GO);
                e->service = service;
                e->epoch = s->holder.epoch;
        }
        if (!l || l->state == STORE_LEASE_FREE || l->holder != n->config.self)
                return;
        c.origin = (struct store_origin){ n->config.self, l->incarnation, ++n->sequence };
        c.epoch = l->epoch;
        memcpy(c.service, s->config.name, sizeof(c.service));
        node_propose(n, &c);
}

struct instant node_lease_deadline(const struct node *n)
{
        struct instant deadline = INSTANT_FOREVER;

        for (size_t i = 0; i < n->config.n_services; i++) {
                const struct node_service *s = &n->services[i];

                if (s->holder.epoch != 0 && !s->holder.over)
                        deadline = instant_earlier(deadline, s->holder.valid_until);
                if (node_lease_wanted(s))
                        deadline = instant_earlier(deadline, s->holder.renew_at);
        }
        return deadline;
}
