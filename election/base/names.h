/*
 * Names of nodes and services, and the limits that hold everywhere. A node is known inside the
 * cores by its id, which the member list of the cluster fixes; names are for people.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
        NAME_SIZE = 64, /* bytes for the name of a node or a service, with the final NUL */
        MEMBERS_MAX = 9, /* members of one Raft group */
        SERVICES_MAX = 64, /* services of one cluster */
        ADDRESS_SIZE = 64, /* bytes for a printed network address, with the final NUL */
};

/* A member of the Raft group: 1 to MEMBERS_MAX; 0 is nobody. */
typedef uint8_t node_id;

#define NODE_NOBODY ((node_id)0)

/*
 * Whether @s may name a node or a service: 1 to NAME_SIZE - 1 of A-Z, a-z, 0-9, '.', '_' and '-',
 * beginning with a letter or digit.
 */
bool name_is_valid(const char *s);
