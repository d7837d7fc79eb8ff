/*
 * The engine: the unprivileged process that all of the network can reach. It runs the node's core
 * over sockets, disk and clock, answers HTTP, and tells the executor what to hold and to do.
 */
#pragma once

#include <stdint.h>

#include "conf/conf.h"
#include "election/node.h"

enum {
        ENGINE_REQUESTS_MAX = NODE_REQUESTS_MAX, /* requests that wait for the core's answer */
};

/*
 * Runs the engine until the executor goes away or ends it; the conversation with the executor is
 * the descriptor that LINK_FD_ENVIRONMENT names. The member list in @conf follows that of the
 * cluster. Returns an exit status.
 */
int engine_main(struct conf *conf);

struct engine;
struct event_base;

/* For the API. All calls belong to the loop; answers come from the loop, never within the call. */

const struct conf *engine_conf(const struct engine *e);
struct event_base *engine_base(const struct engine *e);
/* NULL until the executor has said hello. For looking only; changes go through the calls below. */
struct node *engine_node(const struct engine *e);
/* Of this process, as node_config. */
uint64_t engine_incarnation(const struct engine *e);

/* The same on all members, however each of them is configured. */
uint64_t engine_cluster_id(const struct engine *e);

/* Whether this member can send to @id; always true for ourselves. */
bool engine_is_connected(const struct engine *e, node_id id);

/*
 * Called with the core's answer, which is valid only meanwhile; @answer->result is set for a write
 * that was applied, @answer->text for a refusal.
 */
typedef void engine_answer(void *userdata, const struct node_effect *answer);

/* Each returns the number of the request, for engine_forget(), or 0 if there are too many. */
uint64_t engine_write(struct engine *e, const struct store_key_command *key, engine_answer *answer,
                      void *userdata);
uint64_t engine_read(struct engine *e, engine_answer *answer, void *userdata);

struct engine_order {
        enum node_order order;
        size_t service;
        node_id target;
        enum failover_bootstrap bootstrap;
};
uint64_t engine_order(struct engine *e, const struct engine_order *order, engine_answer *answer,
                      void *userdata);

/* A change of the member list; the answer has a text when it is refused. */
uint64_t engine_change(struct engine *e, const struct node_change *change, engine_answer *answer,
                       void *userdata);

/*
 * Takes a snapshot of all that is applied here. @done is called from the loop with the path of its
 * file, which stays at least until two more have been taken; or with why there is none, and NULL.
 * -EBUSY: somebody waits for one already.
 */
typedef void engine_backed_up(void *userdata, const char *path, int r);
int engine_backup(struct engine *e, engine_backed_up *done, void *userdata);
/* It is not wanted any more. */
void engine_backup_forget(struct engine *e, void *userdata);

/* The client has gone: the answer is not wanted any more. */
void engine_forget(struct engine *e, uint64_t request);
