/* What the executor itself knows of a database: whether it may accept writes, and its postmaster. */
#include <string.h>

#include "daemon/executor-private.h"
#include "daemon/journal.h"

/* Only in the file of a hold can a successor find this again. */
static void remember(struct service *s, const struct database *before)
{
        int r;

        if (s->grip != GRIP_HELD || memcmp(before, &s->database, sizeof(*before)) == 0)
                return;
        r = files_write_hold(s);
        if (r < 0)
                (void)log_warning(r, "cannot write the file of the hold of %s", s->conf->name);
}

static bool state_is_closed(const char *state)
{
        static const char *const closed[] = { "absent", "down", "crashed" };

        for (size_t i = 0; state && i < sizeof(closed) / sizeof(closed[0]); i++)
                if (strcmp(state, closed[i]) == 0)
                        return true;
        return false;
}

static void set_closed(struct database *d)
{
        d->known = true;
        d->may_write = false;
        d->was_promoted = false;
        d->postmaster = 0;
        d->postmaster_start = 0;
}

void database_status(struct service *s, const json_t *status)
{
        struct database before, *d = &s->database;
        uint64_t postmaster = 0;

        memcpy(&before, d, sizeof(before));
        if (state_is_closed(message_get_string(status, "state"))) {
                set_closed(d);
        } else {
                d->known = true;
                /* Under a promotion it is a standby until it is not: that proves nothing. */
                d->may_write = message_is_true(status, "writable") || d->was_promoted;
                if (message_get_u64(status, "postmaster", &postmaster) && postmaster <= INT32_MAX)
                        d->postmaster = (pid_t)postmaster;
                (void)message_get_u64(status, "postmaster_start", &d->postmaster_start);
        }
        remember(s, &before);
        grip_reconsider(s);
}

void database_promoted(struct service *s)
{
        struct database before, *d = &s->database;

        memcpy(&before, d, sizeof(before));
        d->was_promoted = true;
        d->may_write = true;
        remember(s, &before);
}

void database_closed(struct service *s)
{
        struct database before;

        memcpy(&before, &s->database, sizeof(before));
        set_closed(&s->database);
        remember(s, &before);
        grip_reconsider(s);
}

bool database_may_serve(const struct service *s)
{
        if (!s->agent)
                return false;
        return !s->database.known || s->database.may_write || step_is_pending(s, "promote") ||
               step_is_pending(s, "restart");
}
