/* The rules of the health checks: who is primary, replica, up and ready. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "daemon/api-health.h"

static bool no(char reason[static HEALTH_REASON_SIZE], const char *text)
{
        (void)snprintf(reason, HEALTH_REASON_SIZE, "%s", text);
        return false;
}

static const struct failover_report *own_report(const struct health_question *q)
{
        return &q->view->reports[q->conf->self];
}

static bool is_member(const struct health_question *q, char reason[static HEALTH_REASON_SIZE])
{
        return conf_service_has_member(q->service, q->conf->self) ||
               no(reason, "this node does not take part in the service");
}

static bool say_who_leads(const struct health_question *q, char reason[static HEALTH_REASON_SIZE])
{
        const struct conf_member *m = conf_member_by_id(q->conf, q->view->holder);

        if (q->view->lease == FAILOVER_LEASE_THEIRS && m)
                (void)snprintf(reason, HEALTH_REASON_SIZE, "%s holds the lease", m->name);
        else if (q->view->lease == FAILOVER_LEASE_UNUSED)
                (void)no(reason, "the service never had a master: bootstrap it first");
        else if (q->view->lease == FAILOVER_LEASE_FREE)
                (void)no(reason, "the lease is free: there is no master");
        else
                (void)no(reason, "the lease of this node has run out");
        return false;
}

bool health_is_primary(const struct health_question *q, char reason[static HEALTH_REASON_SIZE])
{
        if (!is_member(q, reason))
                return false;
        if (!q->view->holds)
                return say_who_leads(q, reason);
        if (q->view->state != FAILOVER_MASTER) {
                (void)snprintf(reason, HEALTH_REASON_SIZE, "this node %s",
                               failover_state_phrase(q->view->state));
                return false;
        }
        if (q->service->postgres && !own_report(q)->writable)
                return no(reason, "the database is not writable");
        return true;
}

bool health_is_up(const struct health_question *q, char reason[static HEALTH_REASON_SIZE])
{
        const struct failover_report *own = own_report(q);

        if (!q->service->postgres || !conf_service_has_member(q->service, q->conf->self))
                return q->has_leader || no(reason, "the cluster has no leader");
        if (own->database == FAILOVER_DATABASE_RUNNING)
                return true;
        (void)snprintf(reason, HEALTH_REASON_SIZE, "the database is %s",
                       failover_database_state_name(own->database));
        return false;
}

static bool is_within_lag(const struct health_question *q, uint64_t max,
                          char reason[static HEALTH_REASON_SIZE])
{
        if (!q->has_lag)
                return no(reason, "how far this node is behind the master is not known");
        if (q->lag <= max)
                return true;
        (void)snprintf(reason, HEALTH_REASON_SIZE, "%llu bytes behind the master, allowed are %llu",
                       (unsigned long long)q->lag, (unsigned long long)max);
        return false;
}

bool health_is_replica(const struct health_question *q, char reason[static HEALTH_REASON_SIZE])
{
        const struct failover_report *own = own_report(q);

        if (!is_member(q, reason))
                return false;
        if (!q->service->postgres)
                return no(reason, "the service has no database");
        if (!health_is_up(q, reason))
                return false;
        if (own->role != FAILOVER_ROLE_STANDBY)
                return no(reason, "the database is not a standby");
        if (!own->healthy) {
                (void)snprintf(reason, HEALTH_REASON_SIZE, "the database is not healthy%s%s",
                               own->reason[0] ? ": " : "", own->reason);
                return false;
        }
        if (q->wants_streaming && !own->streaming)
                return no(reason, "the standby does not stream");
        return !q->limits_lag || is_within_lag(q, q->lag_max, reason);
}

bool health_is_read_only(const struct health_question *q, char reason[static HEALTH_REASON_SIZE])
{
        return health_is_primary(q, reason) || health_is_replica(q, reason);
}

bool health_is_alive(const struct health_question *q, char reason[static HEALTH_REASON_SIZE])
{
        (void)q;
        (void)reason;
        return true; /* that this is answered shows that the loop turns */
}

bool health_is_ready(const struct health_question *q, char reason[static HEALTH_REASON_SIZE])
{
        struct health_question strict = *q;

        if (!q->service->postgres || !conf_service_has_member(q->service, q->conf->self))
                return q->is_current || no(reason, "has not caught up with the cluster yet");
        if (health_is_primary(q, reason))
                return true;
        strict.wants_streaming = true;
        if (!q->limits_lag) {
                strict.limits_lag = true;
                strict.lag_max = q->service->max_loss;
        }
        return health_is_replica(&strict, reason);
}

bool health_parse_size(const char *s, uint64_t *ret)
{
        static const struct {
                const char *unit;
                uint64_t factor;
        } units[] = {
                { "", 1 },
                { "b", 1 },
                { "kb", 1000 },
                { "mb", 1000000 },
                { "gb", 1000000000 },
                { "tb", 1000000000000 },
                { "kib", 1024 },
                { "mib", 1024 * 1024 },
                { "gib", 1024 * 1024 * 1024 },
                { "tib", 1024ull * 1024 * 1024 * 1024 },
        };
        uint64_t n = 0;

        if (*s < '0' || *s > '9')
                return false;
        for (; *s >= '0' && *s <= '9'; s++) {
                if (__builtin_mul_overflow(n, 10, &n) ||
                    __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
                        return false;
        }
        while (*s == ' ')
                s++;
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
                if (strcasecmp(s, units[i].unit) == 0)
                        return !__builtin_mul_overflow(n, units[i].factor, ret);
        }
        return false;
}

bool health_parse(const struct form *f, struct health_question *q,
                  char reason[static HEALTH_REASON_SIZE])
{
        const char *lag = form_value(f, "lag"), *state = form_value(f, "replication_state");

        if (lag && !health_parse_size(lag, &q->lag_max))
                return no(reason, "lag is a number of bytes, or with kB, MB, GB, KiB, MiB or GiB");
        q->limits_lag = lag != NULL;
        if (state && strcmp(state, "streaming") != 0)
                return no(reason, "replication_state can only be \"streaming\"");
        q->wants_streaming = state != NULL;
        return true;
}
