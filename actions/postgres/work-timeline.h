/*
 * The timeline that this server wrote as a primary. Two nodes that are promoted one after the other
 * from the same byte give their timelines the same number and the same history file; only memory
 * tells them apart: nobody but this node can rightly be primary on the timeline that it wrote,
 * because all who followed it get a higher number.
 */
#pragma once

#include <stdint.h>

#include "actions/postgres/work.h"

/*
 * The newest timeline of which there are files: a server that ended soon after its promotion has
 * written one that its control file does not know yet. work_look() must have been called.
 */
uint32_t work_newest_timeline(const struct work *w);

/* Remembers it, if this is the directory of a primary that is about to be started as a standby. */
int work_keep_own_timeline(struct work *w);

/* Whether a source on @timeline is another primary of the timeline that this server wrote. */
bool work_wrote_timeline(const struct work *w, uint32_t timeline);

/* The directory is a copy now: it holds nothing that this server wrote. */
int work_forget_own_timeline(struct work *w);
