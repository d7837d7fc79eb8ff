/*
 * Timelines and their ancestry. A promoted server begins a new timeline, and its history file says
 * at which position each earlier one was left. A server on an earlier timeline belongs to that
 * history only if it has nothing behind the point where its own timeline was left.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        HISTORY_MAX = 1024, /* timelines in one history; a server with more is refused */
};

/* Timeline @timeline was left at @end, for the next one in the list. */
struct history_entry {
        uint32_t timeline;
        uint64_t end;
};

/* The ancestors of one timeline, oldest first; without those of timeline 1, which has none. */
struct history {
        struct history_entry *entries;
        size_t n;
};

void history_done(struct history *h);

/*
 * Parses the text of a .history file: lines of timeline, position and reason, comments and empty
 * lines. Timelines must grow. Returns 0, -EINVAL, or -E2BIG.
 */
int history_parse(const char *text, struct history *ret);

/* Where @timeline was left; NULL if it is no ancestor. */
const struct history_entry *history_find(const struct history *h, uint32_t timeline);

/* Whether two histories say the same up to and including where @timeline begins. */
bool history_same_start(const struct history *a, const struct history *b, uint32_t timeline);

enum ancestry {
        ANCESTRY_SAME, /* on the same timeline */
        ANCESTRY_CHILD_FOLLOWS, /* on an ancestor and not beyond its end: may follow as it is */
        ANCESTRY_DIVERGED, /* beyond the end of a common timeline: needs a rewind */
        ANCESTRY_FOREIGN, /* on a timeline that the other one does not know: needs a rewind */
};

/* How a server at @timeline and @lsn relates to one on @primary_timeline with history @h. */
enum ancestry history_compare(const struct history *h, uint32_t primary_timeline, uint32_t timeline,
                              uint64_t lsn);
