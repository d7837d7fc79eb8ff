/*
 * The inside of the executor: what its parts know of each other. One executor has services; a
 * service has a grip (whether and until when it is held), addresses, and an agent for its database.
 */
#pragma once

#include <event2/event.h>
#include <jansson.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/clock.h"
#include "daemon/executor-child.h"
#include "daemon/executor.h"
#include "daemon/link.h"
#include "netlink/netlink.h"

enum {
        STEPS_MAX = 16, /* steps of one service that wait or run */
        STEP_NAME_SIZE = 24,
        REASON_SIZE = 256,

        PRIORITY_DEADLINE = 0, /* of events: a deadline is served before everything else */
        PRIORITY_ORDINARY = 1,
        PRIORITIES,
};

/* Our own steps for an agent have numbers from here on; the engine's are below. */
#define STEP_ID_OURS (UINT64_C(1) << 62)

/* How an agent is watched. */
#define AGENT_CHECK (100 * USEC_PER_MSEC) /* how often its limits are compared with the clock */
#define AGENT_HELLO_LIMIT (3 * USEC_PER_SEC) /* a new agent says hello within */
#define AGENT_SILENCE_INTERVALS 5 /* health intervals without a status */
#define AGENT_SILENCE_MIN USEC_PER_SEC

/* L11: an address is added only if this much is left before it must be gone. */
#define ADDRESS_BUDGET (20 * USEC_PER_MSEC)

/* Somebody else removes our address: put back so often in so long, then reported. */
#define RESTORES_MAX 10
#define RESTORES_WINDOW (60 * USEC_PER_SEC)

/* What could not be proved closed is tried again that often. */
#define UNPROVED_RETRY (200 * USEC_PER_MSEC)

/* What the engine says of a lease. */
struct hold {
        uint64_t epoch;
        uint64_t incarnation;
        struct instant demote_at;
        struct instant close_by;
};

/* Whether a service is held, and how far letting go has come. */
enum grip {
        GRIP_NONE, /* not held; nothing to let go of */
        GRIP_HELD, /* until demote_at */
        GRIP_SOFT, /* addresses taken away, the agent closes the database in good order */
        GRIP_HARD, /* the agent kills it */
        GRIP_KILL, /* we kill it */
        GRIP_UNPROVED, /* the time is over, and something may still serve */
};

/* A service address. */
struct address_slot {
        struct service *service;
        const struct conf_vip *conf;
        struct vip vip;
        bool was_running; /* the link, as last seen */
        uint8_t mac[LINK_ADDRESS_MAX];
        size_t mac_len;
        unsigned n_announced; /* since there was a reason to begin anew */
        struct event *announce; /* the next announcement */
        struct instant restores[RESTORES_MAX]; /* when it was put back, a ring */
        unsigned n_restores;
        bool gave_up; /* it was put back too often */
};

/* A step that the engine waits for, or one of ours. */
struct step {
        uint64_t id;
        uint64_t epoch;
        char name[STEP_NAME_SIZE];
        struct instant deadline;
        json_t *message; /* until it is sent to the agent */
        bool is_sent;
        bool is_orphan; /* its engine has gone: nobody waits for the answer */
};

/* What an agent said of its database, as far as the executor itself must know it. */
struct database {
        bool known; /* by a status of this agent, or the file of an adopted hold */
        bool may_write; /* it is writable, or may become so by what we have asked for */
        bool was_promoted; /* under this hold, and not closed since: it may yet become writable */
        pid_t postmaster; /* 0: none */
        uint64_t postmaster_start; /* clock ticks since boot */
};

struct agent {
        struct service *service;
        struct child child;
        struct link *link;
        struct event *restart;
        struct user user;
        bool is_ready; /* it said hello: it has the lock of its state directory */
        struct instant started;
        struct instant hold_unanswered; /* when the oldest one without ack was sent; NEVER: none */
        struct instant last_status;
        json_t *status; /* the last one, for a new engine; NULL: none from this agent */
};

struct service {
        struct executor *executor;
        const struct conf_service *conf;

        enum grip grip;
        struct hold hold; /* the last one */
        uint64_t epoch_seen; /* the highest one */
        uint64_t epoch_dead; /* let go of by ourselves: never held again */
        bool has_hold_file;
        int timer_fd;
        struct event *timer;
        struct instant alarm; /* what the timer is armed for */
        struct instant letting_go_since;
        bool is_foreign_told; /* the log knows that an address cannot be removed */

        struct address_slot *addresses;
        size_t n_addresses;
        bool addresses_wanted;
        bool addresses_present; /* as the engine was told */

        struct agent *agent; /* NULL: no database */
        struct database database;
        struct child killer; /* ends the processes of the cluster, as its user */
        struct step steps[STEPS_MAX];
        size_t n_steps;
        uint64_t n_steps_ours;

        /* How letting go ended, until an engine knows. */
        bool closed_untold;
        bool closed_ok;
        char closed_reason[REASON_SIZE];
};

struct engine_child {
        struct child child;
        struct link *link;
        struct event *restart;
        bool is_ready;
};

struct executor {
        const struct executor_config *config;
        const struct conf *conf;
        char boot_id[BOOT_ID_SIZE];
        struct event_base *base;
        struct event *on_sigterm;
        struct event *on_sigint;
        struct event *on_sighup;
        struct event *check; /* of the agents' limits */
        struct instant checked; /* when that was done last */
        struct event *engine_end; /* while stopping: how long the engine may take */
        struct netlink *netlink;
        struct netlink_monitor *monitor;
        struct event *monitor_readable;
        struct announcer *announcer;
        struct user engine_user;
        struct engine_child engine;
        struct service *services;
        size_t n_services;
        int run_fd; /* directory */
        int lock_fd;
        bool is_stopping;
        int result; /* of the loop: a negative errno ends the executor */
};

/* executor.c */

struct service *executor_service(struct executor *x, const char *name);

/* Sends @message to the engine if it runs; takes it over. What the engine cannot take ends it. */
void executor_tell_engine(struct executor *x, json_t *message);

/* executor-files.c */

/* The directories with their owners, and the lock against a second executor. */
int files_prepare(struct executor *x);

/* Writes the file that lets a successor adopt the hold. */
int files_write_hold(struct service *s);

void files_remove_hold(struct service *s);

enum files_hold {
        FILES_HOLD_NONE, /* no file, or one of another boot, or of no use */
        FILES_HOLD_LIVE, /* read into @s: its time is not over */
        FILES_HOLD_OVER, /* read into @s: its time is over */
};

/* Reads the file of an earlier executor into hold, addresses_wanted and database of @s. */
enum files_hold files_read_hold(struct service *s);

/* executor-grip.c */

int grip_new(struct service *s);
void grip_done(struct service *s);

/* Adopts what an earlier executor held, or continues its letting go. After the addresses exist. */
void grip_adopt(struct service *s);

/* Whether the service is held, under @epoch, and may still act for @budget. */
bool grip_allows(const struct service *s, uint64_t epoch, usec_t budget);

/* From the engine. */
void grip_hold(struct service *s, const json_t *message);
void grip_release(struct service *s, uint64_t epoch);

/* Something that letting go waits for may have happened. */
void grip_reconsider(struct service *s);

/* Tells a new engine how letting go ended. */
void grip_tell_closed(struct service *s);

/* executor-address.c */

/* Opens the sockets and reads what is there. Must precede the drop of privileges. */
int addresses_open(struct executor *x);
void addresses_close(struct executor *x);

int addresses_new(struct service *s);
void addresses_done(struct service *s);

/* Removes every address of ours but those of adopted holds. */
void addresses_clean(struct executor *x);

/* Puts them in place, read back and announced. Returns 0, or an error with words in @ret_error. */
int addresses_add(struct service *s, char *ret_error, size_t size);

/* Takes them away. 0: proved gone. Else words in @ret_error. */
int addresses_remove(struct service *s, char *ret_error, size_t size);

/* A newer hold: the kernel's lifetimes are renewed. */
void addresses_refresh(struct service *s);

/* Tells the engine whether they are in place, if that has changed. */
void addresses_tell(struct service *s, bool present);

/* executor-agent.c */

int agent_new(struct service *s);
void agent_done(struct service *s);
void agent_start(struct agent *a);
void agent_hold(struct agent *a);
void agent_release(struct agent *a, uint64_t epoch);
void agent_check(struct agent *a, struct instant now);
/* Replaces it; @why goes to the log. */
void agent_kill(struct agent *a, const char *why);

/* Has the agent close the database: "fast", "immediate" or "kill". */
void agent_demote(struct agent *a, const char *mode);

/* executor-cluster.c */

/* Whether the postmaster that we know is alive. */
bool cluster_is_alive(const struct service *s);

/*
 * Kills the postmaster and every process that works in the data directory, without the agent's
 * help. When it is proved that none is left, database_closed() is called.
 */
void cluster_kill(struct service *s);

/* Stops doing that. */
void cluster_kill_cancel(struct service *s);

/* executor-database.c */

/* What the executor must know from a status of the agent. */
void database_status(struct service *s, const json_t *status);

/* A step that may make it writable was given to the agent, or is done. */
void database_promoted(struct service *s);

/* It is proved that nothing of it runs. */
void database_closed(struct service *s);

/* Whether it may accept writes now or soon. */
bool database_may_serve(const struct service *s);

/* executor-step.c */

/* From the engine: "run", "cancel". */
void step_run(struct service *s, json_t *message);
void step_cancel(struct service *s, uint64_t id);

/* One of ours for the agent. */
void step_run_own(struct service *s, const char *name, uint64_t epoch, struct instant deadline,
                  json_t *args);

/* Whether one named @name is under way or waits. */
bool step_is_pending(const struct service *s, const char *name);

/* Sends what waits, if the agent is ready. */
void steps_flush(struct service *s);

/* The agent's answer; @message is relayed. */
void step_done(struct service *s, json_t *message);

/* The agent has ended: what it had been given fails. */
void steps_agent_ended(struct service *s);

/* The engine has ended: nobody waits for answers, and what was not begun is dropped. */
void steps_engine_ended(struct service *s);

/* Fails what waits for an agent beyond its deadline. */
void steps_check(struct service *s, struct instant now);

/* Ends all without a word. */
void steps_clear(struct service *s);
