/* Events: what they show and whom they concern; see event.h. */
#include "election/store/event.h"

#include <stdlib.h>
#include <string.h>

#include "election/store/path.h"

struct event *event_make(enum store_action action, uint64_t index, const char *path, size_t n_path)
{
        struct event *e = must_alloc(1, sizeof(*e) + n_path + 1);

        e->n_references = 1;
        e->n_path = n_path;
        memcpy(e->path, path, n_path);
        e->shown.action = action;
        e->shown.index = index;
        e->shown.node.path = e->path;
        return e;
}

struct event *event_ref(struct event *e)
{
        if (e)
                e->n_references++;
        return e;
}

void event_unref(struct event *e)
{
        if (!e || --e->n_references > 0)
                return;
        value_unref(e->value);
        value_unref(e->previous_value);
        buffer_done(&e->removed);
        free(e);
}

void event_set_previous(struct event *e, const struct store_node *n)
{
        e->previous_value = value_ref(n->directory ? NULL : n->value);
        e->shown.has_previous = true;
        e->shown.previous = store_node_view(n);
        e->shown.previous.path = e->path;
}

void event_set_node(struct event *e, const struct store_node *n)
{
        e->value = value_ref(n->directory ? NULL : n->value);
        e->shown.node = store_node_view(n);
        e->shown.node.path = e->path;
}

void event_set_removed(struct event *e, const struct store_node *n)
{
        e->shown.node.directory = node_is_directory(n);
        e->shown.node.created = n->created;
        e->shown.node.modified = e->shown.index;
}

void event_add_removed(struct event *e, const struct store_node *n)
{
        if (e->removed_too_much)
                return;
        if (e->removed.n + n->n_path + 1 > EVENT_REMOVED_BYTES_MAX) {
                e->removed_too_much = true;
                buffer_done(&e->removed);
                return;
        }
        buffer_put(&e->removed, n->path, n->n_path + 1);
}

/* Whether @path, which is below the event's directory, went with it. */
static bool is_removed(const struct event *e, const char *path, size_t n)
{
        const char *s = (const char *)e->removed.bytes;
        const char *end = s + e->removed.n;

        if (e->removed_too_much)
                return true;
        while (s < end) {
                size_t n_s = strlen(s);

                if (n_s == n && memcmp(s, path, n) == 0)
                        return true;
                s += n_s + 1;
        }
        return false;
}

bool event_matches(const struct event *e, const char *path, size_t n, bool recursive)
{
        if (e->shown.refresh)
                return false;
        if (e->n_path == n && memcmp(e->path, path, n) == 0)
                return true;
        if (recursive && path_is_below(e->path, e->n_path, path, n))
                return !path_hides(e->path, e->n_path, n);
        return path_is_below(path, n, e->path, e->n_path) && is_removed(e, path, n);
}

size_t event_bytes(const struct event *e)
{
        return e->n_path + e->shown.node.n_value + e->shown.previous.n_value + e->removed.n;
}
