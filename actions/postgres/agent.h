/*
 * The agent of one PostgreSQL server: one loop that never blocks. It keeps the deadline of the
 * hold, watches the server's processes and health, closes the database when it must, and carries
 * out one step at a time. All parts share struct agent; each part's functions carry its name.
 */
#pragma once

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "actions/agent-clock.h"
#include "actions/lines.h"
#include "actions/postgres/pidfile.h"
#include "actions/postgres/probe.h"
#include "actions/postgres/session.h"
#include "actions/postgres/settings.h"
#include "actions/postgres/work.h"
#include "actions/process.h"
#include "election/base/buffer.h"

struct agent;
struct step;

enum {
        AGENT_PROTOCOL = 1,
};

/* --- The hold: until when the database may be writable. hold.c */

struct hold {
        bool armed;
        uint64_t epoch;
        struct instant demote_at;
        struct instant close_by;
        struct agent_timer *timer;
};

int hold_init(struct agent *a);
void hold_take(struct agent *a, const json_t *message);
void hold_release(struct agent *a, const json_t *message);
/* Whether an act of @epoch that takes @budget may begin now; reads the clock. */
bool hold_covers(const struct agent *a, uint64_t epoch, usec_t budget);

/* --- The highest epoch, on disk before a step of it begins. epoch.c */

struct epoch {
        uint64_t highest;
        uint64_t durable;
        struct process *writer;
};

/*
 * Reads the file; a missing one is epoch 0. May block: called once, before anything is guarded
 * by us alone.
 */
int epoch_load(struct agent *a);
/* Returns false if @epoch is older than the highest; else notes it and begins to write it. */
bool epoch_accept(struct agent *a, uint64_t epoch);
/* Begins to write the highest epoch if the disk has an older one. */
void epoch_keep(struct agent *a);
bool epoch_is_durable(const struct agent *a);

/* --- One agent at a time. lock.c */

struct lock {
        int fd;
        bool held;
        struct event *timer;
        struct instant began;
        struct instant asked; /* when the other one was sent SIGTERM; NEVER before */
        int64_t pid_old;
        uint64_t start_old;
};

/* Takes the lock, or begins to wait for it; agent_locked() is called when it is ours. */
int lock_begin(struct agent *a);

/* --- The processes of the server. watch.c */

enum watch_state {
        WATCH_NONE, /* no process of the cluster is left */
        WATCH_ALIVE, /* a postmaster is known */
        WATCH_REAPING, /* the postmaster is gone, others are being killed */
};

struct watch {
        enum watch_state state;
        char data_dir[PATH_SIZE]; /* real path */
        pid_t pid;
        uint64_t start;
        int pidfd;
        struct event *ended;
        struct event *reaper;
        enum pidfile_state phase;
        bool foreign;
        bool stopped; /* by a signal */
        bool crashed; /* the last server ended without removing its pid file */
        bool inspecting; /* the data directory is being looked at */
        bool inspected; /* what is known of it is in `disk` */
        struct process *inspector;
        struct work_result disk;
};

int watch_init(struct agent *a);
/* Looks at the pid file and the process; finds a new server, and notices what has changed. */
void watch_look(struct agent *a);
/* Looks at the data directory of a stopped server again. */
void watch_inspect(struct agent *a);
/* Sends @signal to the postmaster, if there is one. */
void watch_signal(struct agent *a, int signal);
/* One round of SIGKILL for everything of the cluster; stops the postmaster first. */
void watch_kill(struct agent *a);
/* Begins to make sure that nothing is left, if that is not so already. */
void watch_reap(struct agent *a);

/* --- Closing the database in time. closing.c */

enum close_mode {
        CLOSE_FAST,
        CLOSE_IMMEDIATE,
        CLOSE_KILL,
};

struct closing {
        bool active;
        bool was_alive; /* there was something to close */
        enum close_mode mode; /* what was sent last */
        struct instant immediate_at;
        struct instant kill_at;
        struct instant begun;
        unsigned archiver_alone; /* rounds in which only the archiver was left */
        struct event *timer;
        struct process *command;
        struct process *worker;
        char reason[TEXT_SIZE];
};

int closing_init(struct agent *a);
/* Begins, or makes a close under way more urgent. The instants are when to go further. */
void closing_begin(struct agent *a, enum close_mode mode, struct instant immediate_at,
                   struct instant kill_at, const char *reason);
/* No process of the cluster is left (from watch). */
void closing_gone(struct agent *a);

/* --- What the server says of itself, and whether it is well. health.c */

struct view {
        bool known;
        bool in_recovery;
        uint32_t timeline;
        uint64_t lsn;
        uint64_t replayed;
        bool receiver; /* a WAL receiver runs */
        bool streaming;
        bool frozen;
        char system_id[24];
        char upstream[ADDRESS_SIZE];
        uint16_t upstream_port;
        unsigned version;
        unsigned answers; /* how many views there have been since the server was found */
};

struct health {
        struct event *tick;
        struct event *retry; /* the next try to connect to a server that starts */
        unsigned ticks;
        unsigned good;
        unsigned bad;
        bool healthy;
        bool hung;
        bool probe_bad; /* the last new connection got no answer */
        bool probe_busy; /* it was told to come back later */
        bool late; /* the last question took too long */
        bool hurry; /* asks again as soon as the session is free */
        char reason[TEXT_SIZE];
};

int health_init(struct agent *a);
/* Reads the columns of health_sql() into the view. Returns whether the answer was one. */
bool health_take(struct agent *a, const PGresult *result);
/* The query whose columns health_take() reads. */
const char *health_sql(const struct agent *a);
/* Asks at once, not at the next tick. */
void health_hurry(struct agent *a);
/* The server is gone or a new one: forget what was known. */
void health_forget(struct agent *a);

/* --- What we tell. status.c */

struct status {
        const char *state;
        const char *role;
        bool writable, healthy, streaming, frozen, needs_rewind, clean;
        char reason[TEXT_SIZE];
        pid_t postmaster;
        uint64_t postmaster_start;
        char system_id[24];
        uint32_t timeline;
        uint64_t lsn, replayed, epoch;
        char upstream[ADDRESS_SIZE];
        unsigned version;
};

/* Sends the status if it differs from the last one, or if @always. */
void status_send(struct agent *a, bool always);

/* --- Slots of the members. slots.c */

/* Looks after them if it is time, on a standby that has nothing else to do. */
void slots_keep(struct agent *a);
/* The background connection is there. */
void slots_ready(struct agent *a);
/* Appends the array of the other members' slot names as an SQL expression in parentheses. */
void slots_put_names(struct buffer *b, const struct settings *settings);

/* --- Steps. step.c, step-*.c */

void step_run(struct agent *a, const json_t *message);
/* Something has happened: lets the running step look again. */
void step_poll(struct agent *a);
/* The connection for checkpoints is there. */
void step_background_ready(struct agent *a);
/* Ends the running step, if any, without success. */
void step_cancel(struct agent *a, const char *why);
/* The same, if the step may only run under a hold: there is none any more. */
void step_hold_lost(struct agent *a);
/* The same, unless the step is what closes the database. */
void step_interrupt(struct agent *a, const char *why);

/* --- All of it. agent.c */

struct agent {
        struct event_base *base;
        struct lines *lines;
        struct settings settings;
        bool greeted; /* the executor's hello has come */
        bool locked; /* ours is the agent that acts */
        bool input_ended;
        /*
         * The database may accept writes. True until proved otherwise: by the server's own word that
         * it is in recovery while no promotion is under way, or because it is closed.
         */
        bool may_write;
        bool starts_standby; /* a job of ours starts the server, with standby.signal in place */
        bool promoting; /* the irreversible part of a promotion has begun */
        bool needs_rewind;
        bool checkpoint_wanted; /* as soon as there is a connection for it */
        bool slots_wanted; /* likewise */
        struct instant slots_at; /* the slots are looked after again */
        struct lock lock;
        struct epoch epoch;
        struct hold hold;
        struct watch watch;
        struct closing closing;
        struct session *watching; /* of the health check */
        struct session *acting; /* of the steps */
        struct session *background; /* of checkpoints, which take their time */
        struct probe *probe;
        struct view view;
        struct health health;
        struct step *step;
        struct status sent;
};

int agent_new(struct event_base *base, int fd_in, int fd_out, struct agent **ret);
void agent_free(struct agent *a);
DEFINE_CLEANUP(struct agent *, agent_free)

/* Ends the loop; the database stays as it is. */
void agent_exit(struct agent *a);

/* The lock is ours: begin to act. */
void agent_locked(struct agent *a);

/* The server is gone, all of it. @crashed: without having been closed. */
void agent_server_gone(struct agent *a, bool crashed);

/* With the input at its end, exits when nothing is left to guard. */
void agent_maybe_exit(struct agent *a);

void agent_log(struct agent *a, const char *level, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/*
 * Starts @job with @order in a child. @on_done gets its result once; a child that ends without one
 * gives a failed one. Returns 0 or a negative errno.
 */
int agent_work(struct agent *a, work_job *job, const struct work_order *order, usec_t timeout,
               void (*on_done)(struct agent *a, const struct work_result *result),
               struct process **ret);
