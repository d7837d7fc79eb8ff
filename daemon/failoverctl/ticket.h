/*
 * A ticket: a key with a TTL in the directory of a lock or an election. Who has the oldest one, by
 * the index at which it was made, has the turn, until the ticket is gone.
 */
#pragma once

#include "daemon/failoverctl/ctl.h"

enum ticket_outcome {
        TICKET_OURS,
        TICKET_GONE, /* it is certainly not there any more, or not ours */
        TICKET_UNKNOWN, /* nobody could confirm it */
        TICKET_WOKEN, /* one of the wakes of @c ended the question */
        TICKET_REFUSED, /* there can be none; a complaint was made */
};

struct ticket {
        struct ctl *c;
        char directory[CTL_KEY_MAX + 1];
        char key[CTL_KEY_MAX + 1];
        const char *value; /* not empty; borrowed */
        usec_t ttl;
        usec_t timeout; /* of each question */
        struct instant limit; /* no question lasts longer than that */
        uint64_t epoch; /* the index at which it was made; 0: there is none */
        struct instant stamp; /* read before the last accepted request for it was sent */
};

/* Who is before us, as ticket_look() found it. */
struct ticket_place {
        bool is_first;
        char before[CTL_KEY_MAX + 1]; /* the key just before ours */
        uint64_t index; /* where the store stood */
};

/*
 * @kind is the directory of relative names; the ticket gets a name of its own, which nobody else
 * has. Returns false after a complaint.
 */
bool ticket_init(struct ticket *t, struct ctl *c, const char *kind, const char *name,
                 const char *value, usec_t ttl);
/* Makes the key, or finds that an earlier attempt of ours has made it. */
enum ticket_outcome ticket_draw(struct ticket *t);
/*
 * Gives it its whole TTL again, if it is still the one of @t->epoch. Only an answer that says so
 * moves @t->stamp; the stamp is that of the very request that was answered.
 */
enum ticket_outcome ticket_renew(struct ticket *t);
/* Reads the directory, confirmed by a majority. TICKET_OURS: @ret is valid. */
enum ticket_outcome ticket_look(struct ticket *t, struct ticket_place *ret);
/* Waits for the end of the ticket before ours, or until @then. */
void ticket_wait(struct ticket *t, const struct ticket_place *place, struct instant then);
/* Removes it, if anybody answers; otherwise its TTL does. */
void ticket_leave(struct ticket *t);

/* The oldest ticket among the children of a directory; NULL if there is none. */
const json_t *ticket_oldest(const json_t *directory);
