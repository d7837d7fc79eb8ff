/*
 * Steps: what the executor asks to be done to the server. A step is a list of stages; each stage is
 * called again and again, whenever something may have changed, until it says how to go on. None of
 * them blocks: files, programs and other servers are for jobs (work.h).
 */
#pragma once

#include "actions/postgres/agent.h"

enum progress {
        STEP_WAIT, /* call again */
        STEP_AGAIN, /* call again, as if for the first time */
        STEP_NEXT, /* on to the next stage */
        STEP_DONE, /* success, whatever stages are left */
        STEP_FAILED, /* why is in step.error */
};

typedef enum progress step_stage(struct agent *a, struct step *s);

struct step_kind {
        const char *name;
        step_stage *const *stages; /* NULL at the end, which is success */
        usec_t limit; /* for a step without a deadline */
        bool needs_hold;
        bool needs_primary;
};

struct step {
        const struct step_kind *kind;
        json_int_t id;
        uint64_t epoch;
        struct instant begun;
        struct instant deadline;
        unsigned stage;
        bool fresh; /* the stage is called for the first time */
        bool polling; /* a stage is running; it may call what calls us */
        struct event *timer;
        struct work_order order;
        enum close_mode mode;
        bool named_primary; /* the executor said whom to follow */
        /* A job of this step, and what became of it. */
        struct process *worker;
        bool work_over;
        struct work_result result;
        /* A query of this step. */
        bool asking;
        bool answered;
        int query_error;
        /* What stages remember. */
        struct process *command; /* pg_ctl promote */
        bool command_over;
        unsigned answers; /* of the server, to tell a new one */
        unsigned quiet; /* answers in a row that say the same */
        unsigned attempts; /* of rejoining */
        uint64_t replayed; /* where the rejoining server was when it last moved */
        struct instant moved;
        struct instant checked; /* when the ancestry was compared */
        bool cloned;
        bool started_again; /* a server that ended was started once more */
        bool explaining; /* the server has ended, and its log is being read */
        char error[TEXT_SIZE];
};

/* Notes why the step fails. Always STEP_FAILED. */
enum progress step_fail(struct step *s, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* Goes to another stage of the same step. Always STEP_WAIT. */
enum progress step_goto(struct step *s, step_stage *stage);

/* Runs @job with the step's order; STEP_NEXT when it has succeeded. */
enum progress step_work(struct agent *a, struct step *s, work_job *job);

/* Asks @sql on the acting session; STEP_NEXT when it has succeeded. Its columns are not looked at. */
enum progress step_ask(struct agent *a, struct step *s, struct session *session, const char *sql);

/* Asks for a new view; STEP_NEXT when one has come that was asked for after this stage began. */
enum progress step_look(struct agent *a, struct step *s);

/* Closes the database within the step's time, as @mode; STEP_NEXT when nothing of it is left. */
enum progress step_close(struct agent *a, struct step *s, enum close_mode mode);

/* Stages that several steps share. */
step_stage stage_start; /* starts a stopped server as a standby */
step_stage stage_known; /* waits until a running server has said what it is */
step_stage stage_close; /* closes a running standby; refuses a primary */
step_stage stage_streaming; /* waits until it streams from the primary */
step_stage stage_inspect; /* looks at the data directory */

/* The kinds, by file. */
extern const struct step_kind step_start, step_restart, step_demote; /* step-server.c */
extern const struct step_kind step_promote, step_checkpoint; /* step-promote.c */
extern const struct step_kind step_follow, step_freeze, step_unfreeze, step_position,
        step_slots; /* step-standby.c */
extern const struct step_kind step_rejoin, step_clone, step_bootstrap; /* step-rejoin.c */

/* Begins a checkpoint that nobody waits for. */
void step_checkpoint_in_background(struct agent *a);
