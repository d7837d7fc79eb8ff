/*
 * The physical slots of the other members, kept on every standby: after its promotion the others
 * find the WAL that they miss. Nobody reads a standby's slots, so they are moved along with what is
 * replayed here, and keep no more WAL than that. On a primary the members make their own slots.
 */
#include <string.h>

#include "actions/postgres/agent.h"
#include "actions/postgres/text.h"
#include "election/base/buffer.h"

#define SLOTS_INTERVAL (10 * USEC_PER_SEC)
#define SLOTS_LIMIT (5 * USEC_PER_SEC)

static void put(struct buffer *b, const char *text)
{
        buffer_put(b, text, strlen(text));
}

/* ARRAY['failoverd_db2',…] of the other members; slot names need no quoting. */
void slots_put_names(struct buffer *b, const struct settings *settings)
{
        char slot[SLOT_NAME_SIZE];
        const char *separator = "ARRAY[";

        put(b, "(");
        for (size_t i = 0; i < settings->n_members; i++) {
                if (strcmp(settings->members[i].name, settings->node) == 0)
                        continue;
                text_slot_name(settings->members[i].name, slot);
                put(b, separator);
                put(b, "'");
                put(b, slot);
                put(b, "'");
                separator = ",";
        }
        put(b, *separator == ',' ? "]" : "ARRAY[]");
        put(b, "::text[])");
}

static void on_answer(const PGresult *result, int error, const char *why, void *userdata)
{
        struct agent *a = userdata;

        (void)result;
        if (error < 0)
                agent_log(a, "warning", "the slots of the members could not be kept: %s", why);
        session_reset(a->background);
}

void slots_ready(struct agent *a)
{
        struct buffer sql = { 0 };

        if (!a->slots_wanted || !a->view.known || !a->view.in_recovery)
                return;
        put(&sql, "SELECT CASE WHEN s.slot_name IS NULL"
                  " THEN (pg_create_physical_replication_slot(n, true)).slot_name"
                  " ELSE (pg_replication_slot_advance(n, pg_last_wal_replay_lsn())).slot_name END"
                  " FROM unnest");
        slots_put_names(&sql, &a->settings);
        put(&sql, " AS n LEFT JOIN pg_replication_slots s ON s.slot_name = n"
                  " WHERE s.slot_name IS NULL OR (NOT s.active AND s.slot_type = 'physical'"
                  " AND s.restart_lsn < pg_last_wal_replay_lsn())");
        buffer_put_u8(&sql, '\0');
        if (session_query(a->background, (const char *)sql.bytes, SLOTS_LIMIT, on_answer, a) == 0)
                a->slots_wanted = false;
        buffer_done(&sql);
}

void slots_keep(struct agent *a)
{
        struct instant now = agent_clock_now();

        if (!instant_reached(a->slots_at, now) || a->step || a->closing.active ||
            a->watch.state != WATCH_ALIVE || !a->view.known || !a->view.in_recovery)
                return;
        a->slots_at = instant_after(now, SLOTS_INTERVAL);
        a->slots_wanted = true;
        session_ensure(a->background);
        if (session_is_free(a->background))
                slots_ready(a);
}
