/* The engine's side of the conversation with the executor: effects to JSON, JSON to events. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"
#include "daemon/link.h"
#include "election/node.h"

/* Tells the executor a hold, a step, its cancellation, or that a lease is over. */
void hands_tell(struct link *l, const struct conf *conf, const struct node_effect *effect);

/* Tells in words what the node does about a service. */
void hands_tell_state(struct link *l, const char *service, const char *role, const char *phrase);

/* The holds of the executor's hello into @ret of @max. Returns how many. */
size_t hands_read_holds(const struct conf *conf, const json_t *message, struct node_adopted *ret,
                        size_t max);

/* An event with what it points to. */
struct hands_event {
        struct node_event event;
        struct node_database_status status;
};

/*
 * Reads a message of the executor. The texts belong to @message. Returns false if it is none that
 * concerns the core.
 */
bool hands_read_event(const struct conf *conf, const char *type, json_t *message,
                      struct hands_event *ret);
