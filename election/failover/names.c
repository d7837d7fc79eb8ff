/* The names under which people and programs meet states, steps and events. */
#include "election/failover/failover.h"
#include "election/failover/master.h"

static const char *name_of(const char *const *names, size_t n, size_t i)
{
        return i < n && names[i] ? names[i] : "unknown";
}

#define NAME_OF(names, i) name_of((names), sizeof(names) / sizeof((names)[0]), (size_t)(i))

const char *failover_state_name(enum failover_state s)
{
        static const char *const names[] = {
                [FAILOVER_STANDBY] = "standby",         [FAILOVER_CANDIDATE] = "candidate",
                [FAILOVER_CAMPAIGNING] = "campaigning", [FAILOVER_PROMOTING] = "promoting",
                [FAILOVER_MASTER] = "master",           [FAILOVER_SWITCHING] = "switching",
                [FAILOVER_RESTARTING] = "restarting",   [FAILOVER_DEMOTING] = "demoting",
                [FAILOVER_RELEASING] = "releasing",     [FAILOVER_FENCED] = "fenced",
        };

        return NAME_OF(names, s);
}

const char *failover_state_phrase(enum failover_state s)
{
        static const char *const phrases[] = {
                [FAILOVER_STANDBY] = "is not the master",
                [FAILOVER_CANDIDATE] = "compares positions for a free lease",
                [FAILOVER_CAMPAIGNING] = "asks for the lease",
                [FAILOVER_PROMOTING] = "has the lease and takes over",
                [FAILOVER_MASTER] = "is the master",
                [FAILOVER_SWITCHING] = "hands over to another node",
                [FAILOVER_RESTARTING] = "starts its database again under the lease",
                [FAILOVER_DEMOTING] = "closes, because it must",
                [FAILOVER_RELEASING] = "has closed and gives the lease back",
                [FAILOVER_FENCED] = "cannot prove that it has closed",
        };

        return NAME_OF(phrases, s);
}

const char *failover_step_name(enum failover_step s)
{
        static const char *const names[] = {
                [FAILOVER_STEP_NONE] = "none",
                [FAILOVER_STEP_PROMOTE] = "promote",
                [FAILOVER_STEP_DEMOTE] = "demote",
                [FAILOVER_STEP_RESTART] = "restart",
                [FAILOVER_STEP_START] = "start",
                [FAILOVER_STEP_FREEZE] = "freeze",
                [FAILOVER_STEP_REJOIN] = "rejoin",
                [FAILOVER_STEP_CLONE] = "clone",
                [FAILOVER_STEP_BOOTSTRAP] = "bootstrap",
                [FAILOVER_STEP_CHECKPOINT] = "checkpoint",
                [FAILOVER_STEP_POSITION] = "position",
                [FAILOVER_STEP_ADDRESS_ADD] = "address_add",
                [FAILOVER_STEP_ADDRESS_REMOVE] = "address_remove",
        };

        return NAME_OF(names, s);
}

const char *failover_database_state_name(enum failover_database_state s)
{
        static const char *const names[] = {
                [FAILOVER_DATABASE_UNKNOWN] = "unknown",
                [FAILOVER_DATABASE_ABSENT] = "absent",
                [FAILOVER_DATABASE_DOWN] = "down",
                [FAILOVER_DATABASE_CRASHED] = "crashed",
                [FAILOVER_DATABASE_STARTING] = "starting",
                [FAILOVER_DATABASE_STOPPING] = "stopping",
                [FAILOVER_DATABASE_RUNNING] = "running",
                [FAILOVER_DATABASE_HUNG] = "hung",
                [FAILOVER_DATABASE_FOREIGN] = "foreign",
        };

        return NAME_OF(names, s);
}

const char *failover_database_role_name(enum failover_database_role r)
{
        static const char *const names[] = {
                [FAILOVER_ROLE_NONE] = "none",
                [FAILOVER_ROLE_PRIMARY] = "primary",
                [FAILOVER_ROLE_STANDBY] = "standby",
        };

        return NAME_OF(names, r);
}

const char *failover_mode_name(enum failover_mode m)
{
        static const char *const names[] = {
                [FAILOVER_MODE_FAST] = "fast",
                [FAILOVER_MODE_IMMEDIATE] = "immediate",
                [FAILOVER_MODE_KILL] = "kill",
        };

        return NAME_OF(names, m);
}

const char *failover_bootstrap_name(enum failover_bootstrap b)
{
        static const char *const names[] = {
                [FAILOVER_BOOTSTRAP_INITDB] = "initdb",
                [FAILOVER_BOOTSTRAP_ADOPT] = "adopt",
        };

        return NAME_OF(names, b);
}

const char *master_event_name(enum master_event e)
{
        static const char *const names[] = {
                [MASTER_LEASE_FREE] = "lease_free",
                [MASTER_LEASE_OURS] = "lease_ours",
                [MASTER_LEASE_EARLIER] = "lease_earlier",
                [MASTER_LEASE_THEIRS] = "lease_theirs",
                [MASTER_LEASE_ENDED] = "lease_ended",
                [MASTER_CHOSEN] = "chosen",
                [MASTER_STEPS_DONE] = "steps_done",
                [MASTER_STEPS_FAILED] = "steps_failed",
                [MASTER_DATABASE_LOST] = "database_lost",
                [MASTER_DATABASE_RESTARTABLE] = "database_restartable",
                [MASTER_ORDERED] = "ordered",
                [MASTER_TARGET_LOST] = "target_lost",
                [MASTER_TARGET_READY] = "target_ready",
                [MASTER_CLOSED] = "closed",
                [MASTER_UNPROVED] = "unproved",
                [MASTER_TIMED_OUT] = "timed_out",
        };

        return NAME_OF(names, e);
}
