/*
 * The deterministic simulator: whole clusters of real node_step() members in one process, with
 * modelled machines, clocks, disks, network, hands and databases. A seed decides everything, and
 * replays exactly. What may never happen is checked in true time after each step; then the faults
 * stop and the cluster must come to rest.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "election/base/random.h"
#include "election/node.h"
#include "election/snapshot.h"
#include "tests/sim/clock.h"
#include "tests/sim/history.h"
#include "tests/sim/queue.h"

enum {
        SIM_SERVICES_MAX = 2,
        SIM_FILES_MAX = 4, /* snapshots that a disk keeps */
        SIM_WATCHERS = 3, /* clients that wait for changes */
        SIM_STEPS_MAX = 16, /* steps that hands carry out at a time, for one service */
        SIM_STORY_LINES = 200, /* what is shown before a violation */
        SIM_LINE_SIZE = 400,
        SIM_FAILURE_SIZE = 512,
};

/* Faults that come at random times, and that may follow a step of the protocol. */
enum sim_fault {
        FAULT_ENGINE_CRASH,
        FAULT_EXECUTOR_CRASH, /* and its engine; the agent goes on until its deadline */
        FAULT_AGENT_CRASH,
        FAULT_DAEMONS_CRASH, /* all three */
        FAULT_MACHINE_CRASH,
        FAULT_ENGINE_PAUSE,
        FAULT_EXECUTOR_PAUSE,
        FAULT_AGENT_PAUSE,
        FAULT_MACHINE_SUSPEND,
        FAULT_ISOLATE,
        FAULT_CUT_ONE_WAY,
        FAULT_CUT_PAIR,
        FAULT_SPLIT,
        FAULT_BRIDGE,
        FAULT_SURPRISE, /* a restart forgets the leader in the moment when it is cut off */
        FAULT_CLOG,
        FAULT_SWIZZLE, /* links stop one by one and come back in another order */
        FAULT_DISK_STALL,
        FAULT_DISK_SYNC, /* fails, which ends the engine */
        FAULT_DISK_FULL,
        FAULT_DISK_ROT, /* in what was acknowledged: the log is refused from then on */
        FAULT_DATABASE_CRASH,
        FAULT_DATABASE_HANG,
        FAULT_SWITCHOVER, /* an operator's orders disturb as well as any fault */
        FAULT_FAILOVER,
        FAULT_PAUSE,
        FAULT_POWER, /* every machine at once */
        FAULTS,
};

/* Steps of the protocol behind which a fault may be aimed. */
enum sim_aim {
        AIM_VOTED,
        AIM_ELECTED,
        AIM_COMMITTED, /* on a leader */
        AIM_RECEIVED,
        AIM_PERSISTED,
        AIM_GRANTED,
        AIM_HELD, /* a renewal was confirmed */
        AIM_EXPIRED,
        AIM_RELEASED,
        AIM_STEP_STARTED,
        AIM_STEP_ENDED,
        AIM_MOVED,
        AIM_SENT,
        AIM_SNAPSHOT, /* taken, sent or installed */
        AIM_MEMBERS, /* another member list is in force */
        AIMS,
};

/* What a seed draws before anything happens. */
struct sim_plan {
        uint64_t seed;
        unsigned n_nodes; /* that found the cluster, and that are its members in the end */
        unsigned n_machines; /* those behind the members are no members at first */
        unsigned n_candidates; /* nodes 1 to this one can be master; the others are witnesses */
        size_t n_services;
        usec_t length; /* faults go on for so long */
        usec_t heal_bound; /* then it must be at rest within this */
        bool heal_all; /* otherwise a minority stays dead */
        usec_t setup_max; /* faults begin when all is set up, or after this */
        usec_t ttl;
        usec_t renew;
        usec_t demote_soft;
        usec_t demote_hard;
        usec_t heartbeat;
        usec_t election_timeout;
        usec_t request_timeout;
        bool pre_vote;
        bool has_database;
        bool has_address;
        bool crash_restart;
        bool priorities; /* later nodes are preferred */
        uint64_t max_loss;
        unsigned loss_permille;
        unsigned duplicate_permille;
        usec_t delay_min;
        usec_t delay_max;
        unsigned tail_permille; /* messages that take up to delay_tail */
        usec_t delay_tail;
        usec_t sync_min;
        usec_t sync_max;
        unsigned stall_permille; /* syncs that take up to stall_max */
        usec_t stall_max;
        usec_t wake_late_max; /* processes wake so late at most; hands within the guard */
        unsigned step_failure_permille;
        usec_t step_max; /* what a step of the hands takes, mostly */
        usec_t fault_every; /* mean; 0: none */
        unsigned fault_weight[FAULTS];
        unsigned aim_permyriad[AIMS];
        unsigned large_permille; /* writes too large to share an append with another */
        usec_t request_every; /* mean time between requests of clients */
        usec_t change_every; /* mean time between changes of the member list; 0: none */
        uint64_t snapshot_bytes; /* of the log that call for a snapshot; 0: none are taken */
        usec_t snapshot_age;
        usec_t snapshot_max; /* what taking one lasts, at most */
        unsigned snapshot_failure_permille;
        int ppm[MEMBERS_MAX + 1];
};

struct disk_entry {
        uint64_t term;
        enum raft_entry_type type;
        uint8_t *bytes;
        size_t n;
};

enum disk_record_type {
        DISK_HARD_STATE,
        DISK_TRUNCATE,
        DISK_ENTRY,
        DISK_SNAPSHOT, /* the log goes on from one */
};

/* A snapshot under its name: durable and whole. */
struct disk_file {
        uint64_t index;
        uint64_t term;
        uint8_t *bytes;
        size_t n;
};

struct disk_record {
        enum disk_record_type type;
        uint64_t term; /* HARD_STATE, SNAPSHOT */
        node_id vote;
        uint64_t index; /* TRUNCATE, ENTRY, SNAPSHOT */
        bool resets; /* SNAPSHOT */
        struct disk_entry entry;
};

struct disk {
        uint64_t term;
        node_id vote;
        uint64_t incarnation; /* random for each new log */
        uint64_t base; /* index of the snapshot that the log goes on from; 0: none */
        uint64_t base_term;
        struct disk_file files[SIM_FILES_MAX]; /* oldest first */
        size_t n_files;
        struct disk_file arriving; /* what was received of a snapshot */
        struct disk_entry *entries; /* durable; the one behind the base first */
        size_t n_entries;
        size_t n_entries_max;
        struct disk_record *pending; /* in the order of writing, not durable yet */
        size_t n_pending;
        size_t n_pending_max;
        uint64_t generation; /* of the last of them */
        size_t n_syncing; /* those that the sync under way covers */
        uint64_t generation_syncing;
        bool syncing;
        uint64_t life;
        usec_t stalled_until;
        bool fails; /* the next sync does */
        usec_t full_until;
        bool rotten; /* nobody starts with it any more */
};

struct database {
        bool exists;
        bool running;
        bool hung; /* stopped: serves nothing, but is there */
        bool primary; /* by its files */
        bool open; /* accepts writes as soon as somebody reaches it */
        bool clean;
        bool frozen;
        bool streaming;
        bool crashed; /* it ended without being told to */
        bool noticed; /* the agent knows that it hangs */
        node_id upstream;
        uint64_t system_id;
        uint64_t timeline;
        uint64_t lsn;
        usec_t busy_until; /* steps of the agent follow one another */
};

struct hands_step {
        bool running;
        uint64_t id;
        uint64_t epoch;
        struct node_run run;
        uint64_t life;
        uint64_t engine_life; /* who ordered it, and is told of its end */
};

/* What executor and agent of one machine hold for one service. */
struct hands {
        bool armed;
        uint64_t epoch;
        struct node_hold hold;
        uint64_t epoch_seen; /* on the agent's disk: older steps are refused */
        uint64_t epoch_dead; /* what was let go of is never held again */
        bool letting_go;
        bool address;
        bool address_wanted; /* the executor puts it back when it vanishes */
        struct instant address_until; /* kernel lifetime */
        uint64_t deadline_life;
        struct hands_step steps[SIM_STEPS_MAX];
        struct database database;
};

struct engine {
        bool running;
        struct node *node;
        uint64_t life;
        usec_t paused_until;
        usec_t timer_at; /* when the earliest planned timer comes */
        uint64_t timer_number;
        bool stepping;
        usec_t stepped_at;
        usec_t slept_at; /* a pause or sleep ended then */
        unsigned steps_at_once;
        struct instant fed; /* the last reading that it was given */
        bool condemned; /* ends after the effect that is carried out now */
        enum sim_fault verdict;
        bool was_leader;
        uint64_t term_led;
        uint64_t index_checked; /* committed, and compared with what others committed */
        bool members_checked; /* since the start or the last snapshot */
        uint64_t met[MEMBERS_MAX + 1]; /* lives of the engines of other machines */
        uint64_t change_next; /* of the store: not compared with what others show */
        uint64_t index_read; /* of the store: what a plain read has shown */
};

struct machine {
        node_id id; /* the machine's number; its name and its port say it, too */
        node_id node; /* the member that it is, or was; nobody: it has no log */
        struct members joined; /* whom it was told to join */
        bool wants_to_join;
        struct members known; /* whom its engine would talk to, when it last said so */
        bool up;
        uint64_t boot; /* counts */
        usec_t suspended_until;
        struct sim_clock clock;
        struct engine engine;
        struct disk disk;
        bool executor_up;
        uint64_t executor_life;
        usec_t executor_paused_until;
        bool agent_up;
        uint64_t agent_life;
        usec_t agent_paused_until;
        usec_t to_hands_last; /* both directions keep their order */
        usec_t to_engine_last;
        struct hands hands[SIM_SERVICES_MAX];
};

struct link_state {
        unsigned cuts; /* how many faults cut it; 0: it works */
        usec_t clogged_until;
};

enum request_kind {
        REQUEST_WRITE,
        REQUEST_READ,
        REQUEST_ORDER,
        REQUEST_CHANGE, /* of the member list */
};

struct request {
        enum request_kind kind;
        bool open;
        bool answered_ok;
        node_id node;
        uint64_t life;
        usec_t sent;
        unsigned key;
        uint64_t index; /* WRITE: where it was committed, or 0 */
        enum node_order order;
};

/* A client that waits for the next change of a key, of whichever member it reaches. */
struct watcher {
        unsigned key; /* or HISTORY_ALL */
        uint64_t next; /* it was told of all before this index */
        uint64_t number; /* of the store of @node; 0: it does not wait */
        node_id node;
        uint64_t life;
};

struct committed {
        uint64_t term; /* of the entry */
        uint64_t term_seen; /* of the member that committed it first */
        uint64_t digest;
};

/* A planned hand-over: nothing of what the old master had may be missing at the new one. */
struct handover {
        node_id to;
        uint64_t lsn;
};

struct tally {
        uint64_t seeds;
        uint64_t events;
        uint64_t violations;
        uint64_t simulated_usec;
        uint64_t messages;
        uint64_t messages_lost;
        uint64_t elections;
        uint64_t grants;
        uint64_t moves; /* the master changed */
        uint64_t expiries;
        uint64_t releases;
        uint64_t expiries_refused;
        uint64_t renewals_refused;
        uint64_t leases_ran_out;
        uint64_t let_go; /* the hands let go by themselves */
        uint64_t adopted; /* leases that outlived a restart */
        uint64_t promotions;
        uint64_t restarts;
        uint64_t rejoins;
        uint64_t switchovers; /* orders that were accepted */
        uint64_t handovers; /* leases given to whom they were meant for, without loss */
        uint64_t crashes;
        uint64_t machine_crashes;
        uint64_t torn_writes;
        uint64_t pauses;
        uint64_t cuts;
        uint64_t stalls;
        uint64_t syncs_failed;
        uint64_t disks_lost;
        uint64_t disks_full;
        uint64_t writes_full; /* refused for want of room */
        uint64_t snapshots_taken;
        uint64_t snapshots_installed;
        uint64_t snapshots_failed;
        uint64_t starts_from_snapshot;
        uint64_t member_changes; /* that were carried out */
        uint64_t member_refusals;
        uint64_t member_lists; /* in force, each counted once */
        uint64_t joins;
        uint64_t machines_lost; /* with their disks */
        uint64_t messages_foreign; /* of or for a member that is another machine now */
        uint64_t aimed;
        uint64_t writes_acknowledged;
        uint64_t writes_unknown;
        uint64_t writes_failed; /* by a condition of theirs */
        uint64_t writes_repeated; /* whose answer is that of the first time */
        uint64_t reads;
        uint64_t reads_locally;
        uint64_t watched;
        uint64_t watches_cleared;
        uint64_t committed;
        uint64_t database_writes;
        usec_t heal_usec;
        usec_t heal_max_usec;
};

struct story {
        bool recording;
        bool printing;
        char (*lines)[SIM_LINE_SIZE];
        size_t n; /* ever written */
};

struct sim {
        struct sim_plan plan;
        struct random random;
        usec_t now; /* true time */
        struct queue queue;
        struct machine machines[MEMBERS_MAX + 1];
        struct link_state links[MEMBERS_MAX + 1][MEMBERS_MAX + 1];
        struct node_service_config services[SIM_SERVICES_MAX];
        bool faults_stopped;
        bool over; /* at rest, or a violation */
        bool failed;
        uint16_t dead; /* engines that do not come back; bit by node */
        char failure[SIM_FAILURE_SIZE];
        char waiting_for[SIM_FAILURE_SIZE]; /* what is not at rest yet */
        uint64_t digest; /* of all that happened */
        struct members members; /* the newest list that was committed anywhere */
        uint64_t *lists; /* the entries that were committed and hold one, in order */
        size_t n_lists, n_lists_max;
        node_id doomed; /* a machine that will be lost, if nobody is missed by then */
        usec_t doomed_at; /* until then, the member list is left alone */

        /* What must hold for the whole cluster. */
        node_id *leaders; /* by term */
        size_t n_leaders;
        size_t n_leaders_max;
        struct committed *committed; /* index 1 first */
        size_t n_committed;
        size_t n_committed_max;
        node_id accepting[SIM_SERVICES_MAX]; /* whose database takes writes of clients */
        node_id writable[SIM_SERVICES_MAX]; /* whose database would take them */
        node_id addressed[SIM_SERVICES_MAX];
        node_id accepted_last[SIM_SERVICES_MAX];
        uint64_t epoch_accepted[SIM_SERVICES_MAX];
        usec_t accepting_since[SIM_SERVICES_MAX];
        uint64_t epoch_expired[SIM_SERVICES_MAX];
        struct handover handovers[SIM_SERVICES_MAX];
        uint64_t timelines[SIM_SERVICES_MAX];
        uint64_t timeline_fork[SIM_SERVICES_MAX][512]; /* where each one begins */
        uint64_t timeline_parent[SIM_SERVICES_MAX][512];

        struct request *requests; /* request 1 first */
        size_t n_requests;
        size_t n_requests_max;
        size_t first_open; /* no request before it waits */
        struct history *history;
        struct watcher watchers[SIM_WATCHERS];
        usec_t healed_at;
        usec_t heal_at; /* the faults stop */
        uint16_t wrote_since; /* members through which a write went since then; bit by node */
        usec_t ordered_at[MEMBERS_MAX + 1][SIM_SERVICES_MAX];

        struct story story;
        struct tally tally;
};

/* run.c: one seed from beginning to end. */
struct sim_options {
        uint64_t seed;
        usec_t length;
        bool members; /* come and go in each seed */
        bool record; /* keep the last lines of the story */
        bool print; /* the whole story to standard output */
};

struct sim *sim_run(const struct sim_options *options);
void sim_free(struct sim *s);
void tally_add(struct tally *sum, const struct tally *t);

/* Ends the run: what must never happen has happened. */
void sim_fail(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Random numbers of the seed. */
bool sim_chance(struct sim *s, unsigned permille);
uint64_t sim_between(struct sim *s, uint64_t low, uint64_t high); /* both included */
usec_t sim_about(struct sim *s, usec_t mean); /* exponentially distributed, up to ten means */
void sim_mix(struct sim *s, uint64_t value); /* into the digest */

/* Plans an occurrence for @m, which may be NULL. The caller fills what it needs. */
struct occurrence *sim_plan_at(struct sim *s, usec_t at, occurrence_fn *happen, struct machine *m);

/* plan.c: draws the plan of a seed. */
/* @members: in any case with members that come and go. */
void sim_plan_draw(struct sim_plan *p, uint64_t seed, usec_t length, bool members);

/* story.c: what happened, in words, for people. Costs nothing unless somebody reads it. */
void story_tell(struct sim *s, const struct machine *m, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
#define STORY(s, m, ...)                                                                           \
        do {                                                                                       \
                if ((s)->story.recording)                                                          \
                        story_tell((s), (m), __VA_ARGS__);                                         \
        } while (0)
void story_note(struct sim *s, const struct machine *m, const struct node_note *note);
void story_event(struct sim *s, const struct machine *m, const struct node_event *event);
void story_effect(struct sim *s, const struct machine *m, const struct node_effect *effect);
/* Prints the last lines. */
void story_print(const struct sim *s);
const char *sim_node_name(const struct sim *s, node_id id);

/* machine.c: power, sleep, processes. */
struct machine *sim_machine(struct sim *s, node_id id);
struct instant machine_clock(const struct sim *s, const struct machine *m);
bool machine_is_awake(const struct sim *s, const struct machine *m);
void machine_boot(struct sim *s, struct machine *m);
void machine_crash(struct sim *s, struct machine *m, usec_t down);
void machine_suspend(struct sim *s, struct machine *m, usec_t length);
void machine_free(struct machine *m);

/* engine.c: the real node, and what its effects do. */
void engine_start(struct sim *s, struct machine *m);
void engine_crash(struct sim *s, struct machine *m);
void engine_feed(struct sim *s, struct machine *m, struct node_event *event);
void engine_pause(struct sim *s, struct machine *m, usec_t length);
bool engine_is_listening(const struct sim *s, const struct machine *m);
/* Whether the engine that @o is meant for takes it now. If it sleeps, @o is planned again. */
bool engine_takes(struct sim *s, struct occurrence *o);

/* network.c */
void network_start(struct sim *s);
/* To the machine that @from takes for the member @id. */
void network_send(struct sim *s, struct machine *from, node_id id, const uint8_t *bytes, size_t n);
bool network_is_cut(const struct sim *s, node_id from, node_id to);
void network_cut(struct sim *s, node_id from, node_id to, usec_t length);
void network_clog(struct sim *s, node_id from, node_id to, usec_t length);

/* member.c: which machine is which member, and who changes that. */
void member_start(struct sim *s);
void member_found(struct sim *s, struct machine *m); /* makes it one of the first members */
/* The list that @m goes by: who may talk to it, and where the others are. */
const struct members *member_list(const struct machine *m);
/* The machine where @m looks for the member @id, or NULL. */
struct machine *member_machine(struct sim *s, const struct machine *m, node_id id);
/* Whether @m takes @from for the member that it says it is. */
bool member_accepts(const struct machine *m, const struct machine *from);
/* A configuration is committed for the first time. */
void member_committed(struct sim *s, const struct raft_entry *e);
/* The engine of @m has another list to go by. */
void member_list_changed(struct sim *s, struct machine *m);
/* Fails unless @m goes by the list that was committed last, of those up to what it has committed. */
void member_check(struct sim *s, const struct machine *m);
/* Whether @m sees the founders as the members, as it must in the end. */
bool member_is_settled(const struct sim *s, const struct machine *m);

/* snapshot.c: the files of a member beside its log. */
void snapshot_take(struct sim *s, struct machine *m, const struct node_effect *e);
void snapshot_read(struct sim *s, struct machine *m, const struct node_effect *e);
void snapshot_receive(struct sim *s, struct machine *m, const struct node_effect *e);
/* The store that the log of @m goes on from, and the configuration there; NULL without a snapshot. */
struct snapshot_reader *snapshot_load(struct sim *s, const struct machine *m);

/* disk.c */
/* A new, empty log. */
void disk_wipe(struct sim *s, struct machine *m);
bool disk_is_full(const struct sim *s, const struct machine *m);
void disk_fill(struct sim *s, struct machine *m, usec_t length);
/* The engine hears soon whether there is room. */
void disk_tell_space(struct sim *s, struct machine *m, usec_t delay);
/* What is written under a name once and for all; takes over the bytes. */
void disk_add_file(struct disk *d, struct disk_file file);
const struct disk_file *disk_find_file(const struct disk *d, uint64_t index, uint64_t term);
void disk_write(struct sim *s, struct machine *m, const struct raft_persist *p);
/* A prefix of what was written and not synced survives. */
void disk_crash(struct sim *s, struct machine *m);
/* What was acknowledged cannot be read any more. */
void disk_rot(struct sim *s, struct machine *m);
void disk_done(struct disk *d);
/* What survived; entries are borrowed from the disk, the array is the caller's. */
struct raft_durable disk_durable(const struct disk *d, struct raft_entry **ret_entries);

/* hands.c: executor and agent. */
void hands_hold(struct sim *s, struct machine *m, const struct node_effect *e);
void hands_let_go(struct sim *s, struct machine *m, const struct node_effect *e);
void hands_run(struct sim *s, struct machine *m, const struct node_effect *e);
void hands_cancel(struct sim *s, struct machine *m, const struct node_effect *e);
void hands_start(struct sim *s, struct machine *m);
/* The executor starts an engine if none runs. */
void hands_start_engine(struct sim *s, struct machine *m, usec_t delay);
void hands_executor_crash(struct sim *s, struct machine *m);
void hands_agent_crash(struct sim *s, struct machine *m);
void hands_machine_crash(struct sim *s, struct machine *m);
/* What is overdue is done, before anything else happens on a machine that has slept. */
void hands_catch_up(struct sim *s, struct machine *m);
/* What an engine is told first: the state of each database. */
void hands_greet(struct sim *s, struct machine *m);
size_t hands_adopted(const struct sim *s, const struct machine *m, struct node_adopted *ret);
bool hands_executor_awake(const struct sim *s, const struct machine *m);
bool hands_agent_awake(const struct sim *s, const struct machine *m);
/* Tells the engine how the database of @service is, a little later. */
void hands_report(struct sim *s, struct machine *m, size_t service);
/* Tells the engine @event, a little later and in order; text must be static. */
void hands_tell(struct sim *s, struct machine *m, const struct node_event *event);

/* database.c: the modelled database. */
void database_status(const struct sim *s, const struct machine *m, size_t service,
                     struct node_database_status *ret);
/* Carries out the step; returns NULL or why it failed. */
const char *database_step(struct sim *s, struct machine *m, size_t service,
                          const struct hands_step *step);
void database_crash(struct sim *s, struct machine *m, size_t service);
void database_hang(struct sim *s, struct machine *m, size_t service, usec_t length);
/* Ends the server; @clean: after its standbys have everything. */
void database_close(struct sim *s, struct machine *m, size_t service, bool clean);
void database_tick(struct sim *s, struct occurrence *o);

/* client.c: requests to the store, and what their answers must be. */
void client_start(struct sim *s);
void client_answered(struct sim *s, struct machine *m, const struct node_effect *e);
void client_order(struct sim *s, struct machine *m, enum node_order order, size_t service,
                  node_id target);
/* For a while @reader is asked for reads, and all others for writes, many times. */
void client_insist(struct sim *s, node_id reader, usec_t length);
void client_change(struct sim *s, struct machine *m, const struct node_change *change);
/* The engine is gone: its clients will never know. */
void client_engine_gone(struct sim *s, struct machine *m);

/* observe.c: what the replicas show, to plain readers and to watchers as well. */
void observe_start(struct sim *s);
const char *observe_path(unsigned key); /* of HISTORY_ALL: the directory */
void observe_engine(struct sim *s, struct machine *m);
void observe_woken(struct sim *s, struct machine *m, const struct node_effect *e);
struct history_found observe_key(const struct machine *m, unsigned key);
void observe_read_locally(struct sim *s, struct machine *m, unsigned key);
/* Fails if the history does. */
void observe_verdict(struct sim *s);

/* check.c: what must always hold. */
void check_engine(struct sim *s, struct machine *m);
void check_resources(struct sim *s, struct machine *m, size_t service);
uint64_t check_digest(const uint8_t *bytes, size_t n, uint64_t digest);
/* The database on @m becomes a primary with what it has. */
void check_promotion(struct sim *s, struct machine *m, size_t service);
/* A number for all that the store of @n holds, the same on every replica. */
uint64_t check_store_digest(const struct node *n);

/* fault.c */
/* Faults come until heal_at, which is set here. */
void fault_start(struct sim *s);
void fault_aim(struct sim *s, struct machine *m, enum sim_aim aim);
void fault_strike(struct sim *s, struct machine *m, enum sim_fault fault);

/* At most @length, but never beyond the end of the faults. */
usec_t fault_length(struct sim *s, usec_t length);

/* operator.c: who sets the services up, and repairs what only people repair. */
void operator_start(struct sim *s);

/* heal.c: the faults stop, and the cluster must come to rest. */
void heal_start(struct sim *s);
/* Whether there will be a majority, and a master for every service, without @m for ever. */
bool heal_can_spare(const struct sim *s, const struct machine *m);
