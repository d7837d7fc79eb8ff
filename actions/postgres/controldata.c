/* Reading the output of pg_controldata. */
#include "actions/postgres/controldata.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actions/postgres/lsn.h"

static enum control_state parse_state(const char *s)
{
        static const struct {
                const char *words;
                enum control_state state;
        } states[] = {
                { "shut down", CONTROL_SHUT_DOWN },
                { "shut down in recovery", CONTROL_SHUT_DOWN_IN_RECOVERY },
                { "in production", CONTROL_IN_PRODUCTION },
                { "shutting down", CONTROL_IN_PRODUCTION },
                { "in crash recovery", CONTROL_IN_PRODUCTION },
                { "starting up", CONTROL_UNKNOWN },
                { "in archive recovery", CONTROL_IN_RECOVERY },
        };

        for (unsigned i = 0; i < sizeof(states) / sizeof(states[0]); i++)
                if (strcmp(s, states[i].words) == 0)
                        return states[i].state;
        return CONTROL_UNKNOWN;
}

/* Returns whether the line is one that must be there. */
static bool take(struct controldata *c, const char *name, const char *value)
{
        if (strcmp(name, "Database cluster state") == 0)
                c->state = parse_state(value);
        else if (strcmp(name, "Database system identifier") == 0)
                snprintf(c->system_id, sizeof(c->system_id), "%s", value);
        else if (strcmp(name, "Latest checkpoint location") == 0)
                return lsn_parse(value, &c->checkpoint) == 0;
        else if (strcmp(name, "Latest checkpoint's TimeLineID") == 0)
                c->timeline = (uint32_t)strtoul(value, NULL, 10);
        else {
                if (strcmp(name, "Minimum recovery ending location") == 0)
                        (void)lsn_parse(value, &c->recovery_end); /* 0 if not known */
                else if (strcmp(name, "Min recovery ending loc's timeline") == 0)
                        c->recovery_end_timeline = (uint32_t)strtoul(value, NULL, 10);
                else if (strcmp(name, "Bytes per WAL segment") == 0)
                        c->segment_size = (uint32_t)strtoul(value, NULL, 10);
                else if (strcmp(name, "wal_log_hints setting") == 0)
                        c->wal_log_hints = strcmp(value, "on") == 0;
                else if (strcmp(name, "Data page checksum version") == 0)
                        c->checksums = strcmp(value, "0") != 0;
                return false;
        }
        return true;
}

int controldata_parse(const char *text, struct controldata *ret)
{
        struct controldata c = { 0 };
        unsigned n_found = 0;
        char line[256];

        while (*text) {
                size_t n = strcspn(text, "\n");
                char *value;

                snprintf(line, sizeof(line), "%.*s", (int)(n < sizeof(line) ? n : sizeof(line)),
                         text);
                text += n;
                text += *text == '\n';
                value = strchr(line, ':');
                if (!value)
                        continue;
                *value++ = '\0';
                n_found += take(&c, line, value + strspn(value, " \t"));
        }
        if (n_found != 4 || c.timeline == 0)
                return -EINVAL;
        *ret = c;
        return 0;
}

bool controldata_is_clean(const struct controldata *c)
{
        return c->state == CONTROL_SHUT_DOWN || c->state == CONTROL_SHUT_DOWN_IN_RECOVERY;
}

bool controldata_was_primary(const struct controldata *c)
{
        return c->state == CONTROL_SHUT_DOWN || c->state == CONTROL_IN_PRODUCTION;
}
