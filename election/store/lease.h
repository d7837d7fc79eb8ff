/*
 * The masterships: who holds which service, in which epoch, and what may end that. The functions
 * are the rows of this table; the rules (L1 to L11) that comments cite are in docs/.
 *
 *   entry     accepted if                                             effect
 *   ACQUIRE   FREE                                                    HELD, epoch = renewed = its index
 *   RENEW     HELD, same epoch, from its holder or the holder's       renewed = its index
 *             successor on the same node
 *   RELEASE   not FREE, same epoch, from its holder                   FREE
 *   CLOSE     HELD, same epoch                                        CLOSING
 *   EXPIRE    not FREE, same epoch, same renewal                      FREE
 *   FENCED    not FREE, same epoch                                    FREE
 */
#pragma once

#include "election/store/entry.h"
#include "election/store/store.h"

/* In the order in which the services were first acquired. */
struct lease_table {
        struct store_lease leases[SERVICES_MAX];
        size_t n;
};

const struct store_lease *lease_find(const struct lease_table *t, const char *service);

/*
 * Each says whether the entry is accepted; one that is not changes nothing. What a function reads
 * of the command is what the command's type has.
 */
bool lease_acquire(struct lease_table *t, const struct store_command *c, struct store_entry e);
bool lease_renew(struct lease_table *t, const struct store_command *c,
                 const struct store_renewal *renewal, struct store_entry e);
bool lease_release(struct lease_table *t, const struct store_command *c, struct store_entry e);
bool lease_close(struct lease_table *t, const struct store_command *c);
bool lease_expire(struct lease_table *t, const struct store_expiry *expiry, struct store_entry e);
bool lease_fenced(struct lease_table *t, const struct store_command *c, struct store_entry e);

/* Whether the lease is held, and its TTL has passed since the note of its last renewal. */
bool lease_is_due(const struct store_lease *l, struct instant now);
/* At most @max leases that are due; returns how many. */
size_t lease_list_due(const struct lease_table *t, struct instant now, struct store_expiry *ret,
                      size_t max);
/* The first deadline behind @now. */
struct instant lease_next_due(const struct lease_table *t, struct instant now);
/* The half of store_attests() that is about masterships; the renewal is known to be applied. */
bool lease_attests(const struct lease_table *t, const struct store_expiry *expiry,
                   struct instant now);
void lease_reset_notes(struct lease_table *t, struct instant now);
