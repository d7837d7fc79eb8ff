/* What the files of the engine share. Private to daemon/engine*.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "daemon/engine.h"
#include "daemon/peers.h"
#include "daemon/snapshots.h"
#include "daemon/wal.h"
#include "election/describe.h"
#include "election/snapshot.h"

struct event;
struct waiter;

/* A snapshot that the log was told to go on from, until that is durable. */
struct engine_recording {
        uint64_t generation; /* of the change that says so; 0: none */
        struct snapshot_id id;
        bool resets;
};

struct engine {
        struct conf *conf; /* its member list follows that of the cluster */
        char dir[CONF_PATH_SIZE + 8]; /* of the log and the snapshots */
        struct event_base *base;
        struct event *timer;
        struct instant timer_at; /* when it comes; INSTANT_FOREVER: it is not armed */
        struct event *turn_end; /* comes when all that the loop has found was fed */
        bool is_in_turn; /* something was fed since turn_end came last */
        struct instant turn_began;
        struct event *later; /* what must not be done while effects are carried out */
        struct event *disk_event;
        struct event *terminate;
        struct link *link;
        struct disk *disk;
        struct snapshots *snapshots;
        struct peers *peers;
        struct api *api;
        struct node *node;

        /* Of the start. */
        struct wal_recovered recovered;
        struct snapshot_reader *loaded; /* the snapshot that the log goes on from, or NULL */
        struct snapshot_id loaded_id;
        struct members joined; /* whom a member that joins can talk to; else none */

        struct describe_names names;
        const char **service_names;
        struct waiter *waiters;
        uint64_t n_requests;
        uint64_t incarnation;
        uint64_t cluster_id; /* as the log has it */
        struct instant now; /* of the last event: the core's time never goes back */
        uint64_t generation; /* the last one that the disk reported */
        struct engine_recording recording;
        bool is_list_new; /* later: the member list has changed */
        engine_backed_up *backed_up; /* somebody waits for a snapshot; or NULL */
        void *backed_up_userdata;
        bool is_backup_there; /* later: nothing is newer than the last snapshot */
        bool has_take_failed; /* later: tell the core that a snapshot was not taken, */
        bool has_write_failed; /* or that a part was not written */
        int space_error;
        int exit_status;
};

/* Lets one event happen at the time that it is now. Not while effects are carried out. */
void engine_feed(struct engine *e, struct node_event *event);
/* What waits until effects are carried out is done in the next turn of the loop. */
void engine_come_later(struct engine *e);

/* engine-requests.c */

/* Gives the answer to whoever waits for it. */
void engine_answered(struct engine *e, const struct node_effect *effect);
void engine_requests_done(struct engine *e);

/* engine-start.c */

/* A number below 2^63 that nobody can guess. */
uint64_t engine_random(void);
/* Takes the log, or makes one, and reads the snapshot that it goes on from. */
int engine_log_open(struct engine *e);
/* Makes the node from what was read, and from what the hands still hold. */
int engine_node_start(struct engine *e, const struct node_adopted *adopted, size_t n_adopted);
/* Releases what was read at the start. */
void engine_start_forget(struct engine *e);

/* engine-members.c */

/* The member list with which the node starts: that of the configuration, or none in one that joins. */
int engine_members_found(struct engine *e, struct members *ret);
/* Takes over the node's list: configuration, words, connections. */
void engine_members_follow(struct engine *e);
/* Who the members are for the connections; returns how many. */
unsigned engine_members_peers(const struct engine *e, struct peers_member ret[MEMBERS_MAX]);

/* engine-snapshots.c */

/*
 * Reads the snapshot from which log @w goes on, and tells the log if that had to be the spare one.
 * Returns 0 or a negative errno, said in the journal.
 */
int engine_snapshots_load(struct engine *e, struct wal *w);
int engine_snapshots_start(struct engine *e);
void engine_snapshot_take(struct engine *e, const struct node_effect *effect);
void engine_snapshot_read(struct engine *e, const struct node_effect *effect);
void engine_snapshot_write(struct engine *e, const struct node_effect *effect);
/* The log was told in @persist; engine_snapshot_persisted() says when that is durable. */
void engine_snapshot_recording(struct engine *e, const struct raft_persist *persist);
void engine_snapshot_persisted(struct engine *e);
void engine_snapshot_later(struct engine *e);
