/*
 * The world of a story: a calm one, in which every message, write and step takes its fixed time and
 * only what the story says goes wrong. The nodes in it are real node_step() members; machines,
 * network, disks, hands and database are models. Of the lease's deadlines nothing is modelled: the
 * hands keep them as the executor does. There is one service.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "election/node.h"
#include "tests/sim/clock.h"

enum {
        WORLD_ENTRIES_MAX = 8192, /* log entries of one story */
        WORLD_UNDER_WAY_MAX = 4096, /* happenings that wait for their time */
        WORLD_STEPS_MAX = 8, /* steps of one machine's hands at a time */
        WORLD_TIMELINES_MAX = 64,
        WORLD_LINE_SIZE = 512,
        WORLD_AT_ONCE_MAX = 10000, /* steps without time passing: more are a circle */
};

#define WORLD_MESSAGE_DELAY (1 * USEC_PER_MSEC)
#define WORLD_DISK_DELAY (1 * USEC_PER_MSEC)
#define WORLD_ENGINE_RESTART (100 * USEC_PER_MSEC)

/* What a story chooses before it begins. */
struct world_setup {
        unsigned n_nodes;
        bool witness; /* the last node only votes */
        node_id leader; /* whom the members elect first; nobody: whoever it is */
        node_id master; /* set up before the story begins; nobody: the story does it */
        char service[NAME_SIZE];
        bool vip_only;
        bool no_vip;
        bool manual;
        bool crash_restart;
        uint64_t max_loss;
        usec_t ttl;
        usec_t heartbeat;
        usec_t election_timeout;
};

enum replication {
        REPLICATION_FLOWS,
        REPLICATION_STALLS, /* it is there, but nothing arrives */
        REPLICATION_BREAKS, /* although members reach one another */
};

/* A modelled database: a position on a line of timelines, and who may write to it. */
struct database {
        bool exists;
        bool running;
        bool hung; /* it is there, and answers nobody */
        bool noticed; /* the agent knows that it hangs */
        bool crashed;
        bool primary; /* by its files */
        bool open; /* takes writes */
        bool by_hand; /* somebody started it without a lease */
        bool clean;
        bool frozen;
        enum replication replication; /* to this one */
        bool streaming;
        node_id upstream;
        uint64_t timeline;
        uint64_t lsn;
};

struct hands_step {
        bool running;
        uint64_t serial;
        uint64_t epoch;
        struct node_run run;
};

/* What executor and agent of one machine hold. */
struct hands {
        bool armed;
        bool letting_go;
        uint64_t epoch;
        uint64_t epoch_dead; /* what was let go of is never held again */
        struct node_hold hold;
        bool address;
        bool address_wanted; /* it is put back when it vanishes */
        struct instant address_until; /* the kernel removes it then */
        struct hands_step steps[WORLD_STEPS_MAX];
        uint64_t serial;
        struct instant report_at;
        struct database database;
};

struct machine {
        node_id id;
        const char *name;
        bool up;
        usec_t suspended_until;
        struct sim_clock clock;
        uint64_t boot;

        struct node *node; /* NULL: the engine does not run */
        uint64_t life; /* of the engine; counts */
        usec_t paused_until;
        struct instant fed; /* the last reading that the engine was given */

        uint64_t term; /* on its disk */
        node_id vote;
        struct raft_entry *entries; /* index 1 first; bytes owned */
        size_t n_entries;

        struct hands hands;
        bool accepting; /* clients can write here, as it was when last looked at */
        bool alone_told; /* it was told that no leader is heard */
        char told[WORLD_LINE_SIZE]; /* the last line about it, without figures */
};

struct world;
struct happening;
typedef void happening_fn(struct world *w, struct machine *m, struct happening *h);

/* Something that is under way. */
struct happening {
        usec_t at;
        uint64_t order; /* of those of one moment, the one that was planned first */
        happening_fn *happen;
        node_id node;
        uint64_t life; /* of the engine or boot that it is meant for */
        struct node_event event; /* for the engine */
        struct node_database_status status;
        char text[64];
        uint8_t *bytes; /* owned */
        struct node_effect effect; /* for the hands */
        uint64_t serial; /* of a step */
};

struct world {
        struct world_setup setup;
        struct node_service_config service;
        struct node_config config;
        usec_t now; /* true time */
        usec_t origin; /* where the story begins to count */
        struct machine machines[MEMBERS_MAX + 1]; /* by id */
        bool cut[MEMBERS_MAX + 1][MEMBERS_MAX + 1]; /* from, to */
        struct happening *under_way[WORLD_UNDER_WAY_MAX];
        size_t n_under_way;
        uint64_t orders;
        uint64_t request;
        uint64_t seed;
        uint64_t forks[WORLD_TIMELINES_MAX]; /* where each timeline begins */
        uint64_t timelines;

        bool silent; /* nothing is told: the story has not begun */
        bool failed; /* what must never happen has happened */
        uint64_t epoch_told[NODE_NOTE_BAD_MESSAGE + 1]; /* news of leases are told once */
        char *text; /* what was told */
        size_t n_text, n_text_max;
};

/* world.c: time, machines, network, disks. */

extern const struct world_setup world_defaults; /* of the profile "lan" */

/* A world as @setup wants it, with its first leader and, if named, its first master and standbys.
 * NULL with a reason in @ret_why if it does not come to that. */
struct world *world_new(const struct world_setup *setup, const char **ret_why);
void world_free(struct world *w);
void world_advance(struct world *w, usec_t length);
struct machine *world_machine(struct world *w, node_id id);
/* Nodes that can be master: 1 to this one. */
unsigned world_candidates(const struct world *w);
struct instant world_clock(const struct world *w, const struct machine *m);
bool world_is_awake(const struct world *w, const struct machine *m);
struct happening *world_plan(struct world *w, usec_t delay, struct machine *m,
                             happening_fn *happen);
void world_feed(struct world *w, struct machine *m, struct node_event *event);
/* Tells the engine of @m @event, a moment later. */
void world_tell_engine(struct world *w, struct machine *m, const struct node_event *event);
void world_start_engine(struct world *w, struct machine *m);
/* The engine ends; the hands keep what they hold and start it again after @down. */
void world_kill_engine(struct world *w, struct machine *m, usec_t down);
/* The machine loses its power. */
void world_crash(struct machine *m);
void world_boot(struct world *w, struct machine *m);
void world_suspend(struct world *w, struct machine *m, usec_t length);
void world_order(struct world *w, struct machine *m, enum node_order order, node_id target);
/* From now on the clock of @m runs @ppm millionths too fast. */
void world_clock_rate(struct world *w, struct machine *m, int ppm);

/* hands.c: executor and agent. */
void hands_take(struct world *w, struct machine *m, const struct node_effect *e);
/* When the hands of @m have something to do by themselves, in true time. */
usec_t hands_deadline(const struct world *w, const struct machine *m);
void hands_act(struct world *w, struct machine *m);
void hands_start(struct world *w, struct machine *m);
void hands_crash(struct machine *m);
void hands_report(struct world *w, struct machine *m);
/* Never two take writes: looked at after all that happens. */
void hands_check(struct world *w);

/* database.c */
const char *database_step(struct world *w, struct machine *m, const struct node_run *run);
void database_status(const struct world *w, const struct machine *m,
                     struct node_database_status *ret);
void database_close(struct world *w, struct machine *m, bool clean);
void database_crash(struct world *w, struct machine *m);
void database_hang(struct world *w, struct machine *m);
void database_down(struct world *w, struct machine *m);
void database_continue(struct world *w, struct machine *m);
/* Somebody starts it by hand, as what it was. */
void database_up(struct world *w, struct machine *m);
bool database_takes_writes(const struct world *w, const struct machine *m);
/* Whether a stop in good order would wait, for a standby that streams and does not take what it lacks. */
bool database_must_wait(struct world *w, const struct machine *m);
/* Clients write so many bytes to whoever takes them; returns whether anybody did. */
bool database_write(struct world *w, uint64_t bytes);
/* Standbys get what their primaries have, as far as they reach them. */
void database_replicate(struct world *w);

/* tell.c: what is told. */
void tell(struct world *w, const struct machine *m, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
void tell_note(struct world *w, const struct machine *m, const struct node_note *note);
/* A line without time or name. */
void tell_line(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What must never happen has happened. */
void tell_violation(struct world *w, const struct machine *m, const char *text);

/* command.c: the language of the stories. */
struct script {
        struct world_setup setup;
        struct world *world; /* NULL: not begun */
};

/* Carries out one line. Returns 0, or -EINVAL with why in @ret_why. */
int command_run(struct script *s, const char *line, char *ret_why, size_t size);
