/* The table of rules of master.c, for its tests: the whole product of states and events is walked. */
#pragma once

#include <stddef.h>

#include "election/failover/failover-internal.h"

struct master_rule {
        enum failover_state state;
        enum master_event event;
        void (*action)(struct failover *f, const struct failover_view *v);
        enum failover_state next;
        const char *text;
};

/* The rules one after the other from @i = 0; NULL behind the last. */
const struct master_rule *master_rule_at(size_t i);

/* The rule for @event in @state, or NULL: then nothing happens. */
const struct master_rule *master_rule_for(enum failover_state state, enum master_event event);

const char *master_event_name(enum master_event e);
