/*
 * The history of the last events, and those who wait for the next one. A watcher waits at a path,
 * its point; a change looks only at the points of its own path and of the directories above.
 */
#pragma once

#include "election/store/event.h"

struct watcher;
struct watch_point;

struct watch {
        struct event *history[STORE_HISTORY_MAX]; /* a ring; indexes are consecutive */
        size_t first;
        size_t n;
        size_t n_bytes;

        struct watch_point *points; /* by path */
        struct watcher *watchers; /* by number */
        uint64_t last_watcher;
        uint64_t command; /* counts them, so that each wakes a watcher once */

        /* Lent to the caller until the next command. */
        uint64_t *woken;
        size_t n_woken, n_woken_max;
        struct event **taken;
        size_t n_taken, n_taken_max;
};

void watch_done(struct watch *w);

/* A command begins: what was lent after the one before is taken back. */
void watch_begin(struct watch *w);

/* Puts an event into the history and wakes whom it concerns. Takes over @e. */
void watch_publish(struct watch *w, struct event *e);
/*
 * Puts an event into the history and wakes nobody. Takes over @e. Both limits of the history count what
 * is the same everywhere, so that all replicas keep the same events.
 */
void watch_remember(struct watch *w, struct event *e);
/* Wakes those who wait at a path that goes with the directory that @e is about. */
void watch_wake_removed(struct watch *w, struct event *e, const char *path, size_t n);

/* The index of the oldest event, or one above @index if there is none. */
uint64_t watch_oldest(const struct watch *w, uint64_t index);
/* The event of @index, or NULL if the history does not have it. */
struct event *watch_at(const struct watch *w, uint64_t index);
/* The first event from @since on that matches, or NULL. @since is in the history or behind it. */
struct event *watch_search(const struct watch *w, const char *path, size_t n, bool recursive,
                           uint64_t since);

/* A new watcher for events from @since on; its number, or 0 if there are too many. */
uint64_t watch_add(struct watch *w, const char *path, size_t n, bool recursive, uint64_t since);
/* The same, one that stays; what the history has of it waits at once. */
uint64_t watch_stream(struct watch *w, const char *path, size_t n, bool recursive, uint64_t since);
const struct store_event *watch_take(struct watch *w, uint64_t number);
bool watch_is_over(const struct watch *w, uint64_t number);
void watch_remove(struct watch *w, uint64_t number);
size_t watch_count(const struct watch *w);

/*
 * Moves all watchers from @from, whose last change has index @from_index, to @to, which has
 * none and whose last change has @to_index.
 */
void watch_move(struct watch *to, uint64_t to_index, struct watch *from, uint64_t from_index);
