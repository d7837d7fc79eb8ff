/* History and watchers; see watch.h. */
#include "election/store/watch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "election/store/hash.h"
#include "election/store/path.h"

struct watcher {
        UT_hash_handle hh;
        uint64_t number;
        bool recursive;
        bool stays; /* it is shown more than one event */
        uint64_t since;
        uint64_t woken_by; /* the command that woke it last */
        struct watch_point *point; /* NULL once nothing more will come */

        struct event **events; /* that wait, from @first on */
        size_t first, n, n_max;
        size_t n_granted; /* of them do not count for STORE_STREAM_MAX: they were there before it */
        struct watcher *next, *previous;
};

struct watch_point {
        UT_hash_handle hh;
        struct watcher *first;
        size_t n_path;
        char path[];
};

static struct watch_point *find_point(const struct watch *w, const char *path, size_t n)
{
        struct watch_point *p;

        HASH_FIND(hh, w->points, path, n, p);
        return p;
}

static struct watch_point *make_point(struct watch *w, const char *path, size_t n)
{
        struct watch_point *p = must_alloc(1, sizeof(*p) + n + 1);

        p->n_path = n;
        memcpy(p->path, path, n);
        HASH_ADD_KEYPTR(hh, w->points, p->path, p->n_path, p);
        return p;
}

static struct watcher *find_watcher(const struct watch *w, uint64_t number)
{
        struct watcher *watcher;

        HASH_FIND(hh, w->watchers, &number, sizeof(number), watcher);
        return watcher;
}

/* The watcher waits no longer; a point goes with its last one. */
static void leave_point(struct watch *w, struct watcher *watcher)
{
        struct watch_point *p = watcher->point;

        if (watcher->previous)
                watcher->previous->next = watcher->next;
        else
                p->first = watcher->next;
        if (watcher->next)
                watcher->next->previous = watcher->previous;
        watcher->point = NULL;
        watcher->next = watcher->previous = NULL;
        if (!p->first) {
                HASH_DEL(w->points, p);
                free(p);
        }
}

static void forget(struct watch *w, struct watcher *watcher)
{
        if (watcher->point)
                leave_point(w, watcher);
        for (size_t i = 0; i < watcher->n; i++)
                event_unref(watcher->events[watcher->first + i]);
        free(watcher->events);
        HASH_DEL(w->watchers, watcher);
        free(watcher);
}

static void push_event(struct watcher *watcher, struct event *e)
{
        if (watcher->first > 0 && watcher->first + watcher->n == watcher->n_max) {
                memmove(watcher->events, watcher->events + watcher->first,
                        watcher->n * sizeof(struct event *));
                watcher->first = 0;
        }
        MUST_GROW(watcher->events, watcher->first + watcher->n, watcher->n_max);
        watcher->events[watcher->first + watcher->n++] = event_ref(e);
}

/* Takes the first event that waits; the reference goes to the caller. */
static struct event *pop_event(struct watcher *watcher)
{
        struct event *e = watcher->events[watcher->first++];

        if (--watcher->n == 0)
                watcher->first = 0;
        if (watcher->n_granted > 0)
                watcher->n_granted--;
        return e;
}

static void tell(struct watch *w, struct watcher *watcher)
{
        if (watcher->woken_by == w->command)
                return;
        watcher->woken_by = w->command;
        MUST_GROW(w->woken, w->n_woken, w->n_woken_max);
        w->woken[w->n_woken++] = watcher->number;
}

/* An event more, the last one if the watcher does not stay, or cannot keep up. */
static void wake(struct watch *w, struct watcher *watcher, struct event *e)
{
        push_event(watcher, e);
        if (!watcher->stays || watcher->n - watcher->n_granted >= STORE_STREAM_MAX)
                leave_point(w, watcher);
        tell(w, watcher);
}

/* Wakes those at one point; with @only_recursive those who look below it, too. */
static void wake_point(struct watch *w, struct event *e, const char *path, size_t n,
                       bool only_recursive)
{
        struct watch_point *p = find_point(w, path, n);
        struct watcher *next;

        for (struct watcher *i = p ? p->first : NULL; i; i = next) {
                next = i->next;
                if (i->since <= e->shown.index && (i->recursive || !only_recursive))
                        wake(w, i, e);
        }
}

/* Wakes those at the path of the event, and those who look below a directory above it. */
static void wake_matching(struct watch *w, struct event *e)
{
        size_t n = e->n_path;

        if (!w->points)
                return;
        wake_point(w, e, e->path, n, false);
        while (n > 1) {
                n = path_parent(e->path, n);
                if (!path_hides(e->path, e->n_path, n))
                        wake_point(w, e, e->path, n, true);
        }
}

void watch_wake_removed(struct watch *w, struct event *e, const char *path, size_t n)
{
        if (w->points)
                wake_point(w, e, path, n, false);
}

static void drop_oldest(struct watch *w)
{
        struct event *e = w->history[w->first];

        w->n_bytes -= event_bytes(e);
        w->history[w->first] = NULL;
        w->first = (w->first + 1) % STORE_HISTORY_MAX;
        w->n--;
        event_unref(e);
}

void watch_remember(struct watch *w, struct event *e)
{
        if (w->n == STORE_HISTORY_MAX)
                drop_oldest(w);
        w->history[(w->first + w->n) % STORE_HISTORY_MAX] = e;
        w->n++;
        w->n_bytes += event_bytes(e);
        while (w->n > 1 && w->n_bytes > STORE_HISTORY_BYTES_MAX)
                drop_oldest(w);
}

void watch_publish(struct watch *w, struct event *e)
{
        watch_remember(w, e);
        if (!e->shown.refresh)
                wake_matching(w, e);
}

void watch_begin(struct watch *w)
{
        for (size_t i = 0; i < w->n_taken; i++)
                event_unref(w->taken[i]);
        w->n_taken = 0;
        w->n_woken = 0;
        w->command++;
}

void watch_done(struct watch *w)
{
        struct watcher *watcher, *next;

        watch_begin(w);
        HASH_ITER(hh, w->watchers, watcher, next)
                forget(w, watcher);
        while (w->n > 0)
                drop_oldest(w);
        free(w->woken);
        free(w->taken);
}

uint64_t watch_oldest(const struct watch *w, uint64_t index)
{
        return w->n > 0 ? w->history[w->first]->shown.index : index + 1;
}

struct event *watch_at(const struct watch *w, uint64_t index)
{
        uint64_t i = index - watch_oldest(w, index);

        return i < w->n ? w->history[(w->first + (size_t)i) % STORE_HISTORY_MAX] : NULL;
}

struct event *watch_search(const struct watch *w, const char *path, size_t n, bool recursive,
                           uint64_t since)
{
        uint64_t oldest = watch_oldest(w, 0);

        for (size_t i = (size_t)(since - oldest); since >= oldest && i < w->n; i++) {
                struct event *e = w->history[(w->first + i) % STORE_HISTORY_MAX];

                if (event_matches(e, path, n, recursive))
                        return e;
        }
        return NULL;
}

static void join_point(struct watch *w, struct watcher *watcher, const char *path, size_t n)
{
        struct watch_point *p = find_point(w, path, n);

        if (!p)
                p = make_point(w, path, n);
        watcher->point = p;
        watcher->next = p->first;
        if (p->first)
                p->first->previous = watcher;
        p->first = watcher;
}

static struct watcher *make_watcher(struct watch *w, bool recursive, uint64_t since)
{
        struct watcher *watcher;

        if (HASH_COUNT(w->watchers) >= STORE_WATCHERS_MAX)
                return NULL;
        watcher = must_alloc(1, sizeof(*watcher));
        watcher->number = ++w->last_watcher;
        watcher->recursive = recursive;
        watcher->since = since;
        HASH_ADD(hh, w->watchers, number, sizeof(watcher->number), watcher);
        return watcher;
}

uint64_t watch_add(struct watch *w, const char *path, size_t n, bool recursive, uint64_t since)
{
        struct watcher *watcher = make_watcher(w, recursive, since);

        if (!watcher)
                return 0;
        join_point(w, watcher, path, n);
        return watcher->number;
}

/* Lets those events wait that the history has from @since on. */
static void catch_up(const struct watch *w, struct watcher *watcher, const char *path, size_t n,
                     uint64_t since)
{
        struct event *e = watch_search(w, path, n, watcher->recursive, since);

        while (e) {
                push_event(watcher, e);
                e = watcher->stays
                            ? watch_search(w, path, n, watcher->recursive, e->shown.index + 1)
                            : NULL;
        }
        watcher->n_granted = watcher->n;
}

uint64_t watch_stream(struct watch *w, const char *path, size_t n, bool recursive, uint64_t since)
{
        struct watcher *watcher = make_watcher(w, recursive, since);

        if (!watcher)
                return 0;
        watcher->stays = true;
        if (since > 0)
                catch_up(w, watcher, path, n, since);
        join_point(w, watcher, path, n);
        return watcher->number;
}

const struct store_event *watch_take(struct watch *w, uint64_t number)
{
        struct watcher *watcher = find_watcher(w, number);
        struct event *e;

        if (!watcher || watcher->n == 0)
                return NULL;
        e = pop_event(watcher);
        MUST_GROW(w->taken, w->n_taken, w->n_taken_max);
        w->taken[w->n_taken++] = e;
        if (!watcher->stays)
                forget(w, watcher);
        return &e->shown;
}

bool watch_is_over(const struct watch *w, uint64_t number)
{
        const struct watcher *watcher = find_watcher(w, number);

        return watcher && watcher->n == 0 && !watcher->point;
}

void watch_remove(struct watch *w, uint64_t number)
{
        struct watcher *watcher = find_watcher(w, number);

        if (watcher)
                forget(w, watcher);
}

size_t watch_count(const struct watch *w)
{
        return HASH_COUNT(w->watchers);
}

/*
 * One that waited at @path goes on behind index @seen: with what @w has of it, or not at all if @w begins
 * too late.
 */
static void go_on(struct watch *w, uint64_t index, struct watcher *watcher, const char *path,
                  size_t n, uint64_t seen)
{
        uint64_t since = watcher->since > seen ? watcher->since : seen + 1;

        if (since <= index && since < watch_oldest(w, index)) {
                tell(w, watcher);
                return;
        }
        catch_up(w, watcher, path, n, since);
        if (watcher->stays || watcher->n == 0)
                join_point(w, watcher, path, n);
        if (watcher->n > 0)
                tell(w, watcher);
}

void watch_move(struct watch *to, uint64_t to_index, struct watch *from, uint64_t from_index)
{
        struct watcher *watcher, *next;

        assert(!to->watchers);
        watch_begin(to);
        to->last_watcher = from->last_watcher;
        HASH_ITER(hh, from->watchers, watcher, next) {
                struct watch_point *p = watcher->point;
                struct buffer path = { 0 };

                HASH_DEL(from->watchers, watcher);
                watcher->woken_by = 0;
                HASH_ADD(hh, to->watchers, number, sizeof(watcher->number), watcher);
                if (!p) {
                        tell(to, watcher);
                        continue;
                }
                buffer_put(&path, p->path, p->n_path);
                leave_point(from, watcher);
                go_on(to, to_index, watcher, (const char *)path.bytes, path.n, from_index);
                buffer_done(&path);
        }
}
