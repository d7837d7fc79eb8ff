/*
 * The format of a snapshot of the store. Integers are little-endian. A snapshot is a sequence of
 * records, each with its kind in a byte and its length in 32 bits in front, in the order of kinds:
 *
 *   BEGIN    "FOST", format, etcd index, log index of the last command
 *   LEASE    a mastership; in the order of the table
 *   NODE     a key or directory but the root: parents first, then children in their order
 *   EVENT    of the history, oldest first
 *   ENDED    a node id and the incarnations that are over
 *   SESSION  a process, followed by its
 *   ANSWER   in order of sequence; its event is named by index if the history has it
 *   FINISH   how many records stand before it
 */
#pragma once

#include "election/store/state.h"

enum {
        SNAPSHOT_FORMAT = 1,
        SNAPSHOT_RECORD_MAX = 8 * 1024 * 1024, /* bytes: two values and the paths of an event */
        SNAPSHOT_HEAD = 5, /* bytes of kind and length */
};

#define SNAPSHOT_MAGIC "FOST"

enum snapshot_kind {
        SNAPSHOT_BEGIN = 1,
        SNAPSHOT_LEASE,
        SNAPSHOT_NODE,
        SNAPSHOT_EVENT,
        SNAPSHOT_ENDED,
        SNAPSHOT_SESSION,
        SNAPSHOT_ANSWER,
        SNAPSHOT_FINISH,
};

enum snapshot_flag {
        SNAPSHOT_DIRECTORY = 1 << 0,
        SNAPSHOT_VALUE = 1 << 1,
        SNAPSHOT_TTL = 1 << 2,
        SNAPSHOT_VIEW_FLAGS = (1 << 3) - 1, /* those above, of a node or a view */

        SNAPSHOT_REFRESH = 1 << 0,
        SNAPSHOT_PREVIOUS = 1 << 1,
        SNAPSHOT_REMOVED_TOO_MUCH = 1 << 2,
        SNAPSHOT_EVENT_FLAGS = (1 << 3) - 1,

        SNAPSHOT_CAUSE = 1 << 0,
        SNAPSHOT_EVENT_NAMED = 1 << 1,
        SNAPSHOT_EVENT_WHOLE = 1 << 2,
        SNAPSHOT_ANSWER_FLAGS = (1 << 3) - 1,
};

/* The next node behind @n in the order of a snapshot; NULL behind the last. */
const struct store_node *snapshot_next(const struct store_node *n);
