/* Words for what the cores did: for journal, scenarios and simulator, so that all tell it alike. */
#pragma once

#include <stddef.h>

#include "election/node.h"

/* How the members and services of a cluster are called. */
struct describe_names {
        const char *members[MEMBERS_MAX + 1]; /* by id; NULL: "node 3" */
        const char *const *services;
        size_t n_services;
};

/* One sentence about @note into @ret, without a full stop. */
void describe_note(const struct node_note *note, const struct describe_names *names, char *ret,
                   size_t size);

/* One sentence about @event, and about @effect. */
void describe_event(const struct node_event *event, const struct describe_names *names, char *ret,
                    size_t size);
void describe_effect(const struct node_effect *effect, const struct describe_names *names,
                     char *ret, size_t size);
