/* Jobs' connections to the primary: who it is, its history, our slot on it. */
#pragma once

#include <libpq-fe.h>

#include "actions/postgres/history.h"
#include "actions/postgres/work.h"

/* What a primary says of itself. */
struct source {
        PGconn *replication;
        char system_id[24];
        uint32_t timeline;
        struct history history;
};

/*
 * Connects to order.primary for replication and asks for all of it; refuses another cluster than
 * the one of w->result.control, if that is known. Release with source_done().
 */
int source_open(struct work *w, struct source *ret);

void source_done(struct source *s);

/* Creates this node's slot on the primary if it is not there. */
int source_make_slot(struct work *w, struct source *s);

/*
 * Waits until the primary has completed a checkpoint on its timeline: pg_rewind before 16 reads
 * the timeline from the control file, and would find the old one.
 */
int source_wait_for_checkpoint(struct work *w, const struct source *s);

/*
 * Makes the primary write something. A rewound server is consistent only from the primary's insert
 * position on, and when that stands behind a page header nothing reaches it before the next record,
 * which an idle primary writes every 15 s. Without success it only takes longer.
 */
void source_nudge(struct work *w);

/* How a server in @dir at @timeline and @lsn relates to the primary; its own history counts. */
enum ancestry source_compare(const struct source *s, const char *dir, uint32_t timeline,
                             uint64_t lsn);
