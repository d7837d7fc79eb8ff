/*
 * What the replicas show: each change of each replica goes to the history, plain reads are compared
 * with it, and watchers that move from member to member must miss and repeat nothing.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define LOOK_EVERY (150 * USEC_PER_MSEC)

static const char *const keys[HISTORY_KEYS] = { "/k/0", "/k/1", "/k/2", "/k/3", "/k/4", "/k/5" };

const char *observe_path(unsigned key)
{
        return key < HISTORY_KEYS ? keys[key] : "/k";
}

static unsigned key_of(const char *path)
{
        unsigned i = 0;

        while (i < HISTORY_KEYS && strcmp(keys[i], path) != 0)
                i++;
        return i; /* HISTORY_OTHER is the next */
}

/* A value is "w" and the number of the call that wrote it. */
static uint64_t number_of(const char *value)
{
        return value && value[0] == 'w' ? strtoull(value + 1, NULL, 10) : 0;
}

static uint64_t view_digest(const struct store_view *v, uint64_t digest)
{
        digest = check_digest((const uint8_t *)v->path, strlen(v->path), digest);
        if (v->value)
                digest = check_digest((const uint8_t *)v->value, v->n_value, digest ^ 1);
        digest = (digest ^ v->created * 31 ^ v->modified * 37 ^ v->directory) * 0x9e3779b97f4a7c15u;
        return digest ^ (v->has_ttl ? v->ttl : 0) * 41;
}

static struct history_change change_of(const struct store_event *e)
{
        struct history_change c = { .index = e->index,
                                    .action = e->action,
                                    .key = key_of(e->node.path),
                                    .number = number_of(e->node.value),
                                    .created = e->node.created,
                                    .has_ttl = e->node.has_ttl,
                                    .has_previous = e->has_previous };

        c.digest = view_digest(&e->node, (uint64_t)e->action + 1);
        if (!e->has_previous)
                return c;
        c.previous_number = number_of(e->previous.value);
        c.previous_modified = e->previous.modified;
        c.digest = view_digest(&e->previous, c.digest);
        return c;
}

void observe_verdict(struct sim *s)
{
        const char *failure = history_failure(s->history);

        if (failure)
                sim_fail(s, "%s", failure);
}

/* Nothing of the history may be missing but what is older than it ever is. */
static void skip_forgotten(struct sim *s, struct machine *m, const struct store *store)
{
        uint64_t oldest = store_history_oldest(store);

        if (m->engine.change_next >= oldest)
                return;
        if (store_index(store) < oldest + STORE_HISTORY_MAX - 1 && s->plan.large_permille == 0)
                sim_fail(s, "%s forgot the changes before %" PRIu64 " at %" PRIu64,
                         sim_node_name(s, m->id), oldest, store_index(store));
        m->engine.change_next = oldest;
}

void observe_engine(struct sim *s, struct machine *m)
{
        struct store *store = node_store(m->engine.node);
        const struct store_event *e;
        uint64_t watcher;

        if (m->engine.change_next > store_index(store))
                return;
        skip_forgotten(s, m, store);
        while (m->engine.change_next <= store_index(store)) {
                struct history_change c;

                if (store_watch_add(store, "/", true, m->engine.change_next, &e, &watcher) !=
                    STORE_OK)
                        break;
                if (!e) {
                        store_watch_remove(store, watcher);
                        break;
                }
                c = change_of(e);
                history_changed(s->history, &c);
                m->engine.change_next = e->index + 1;
        }
        m->engine.change_next = store_index(store) + 1;
        observe_verdict(s);
}

struct history_found observe_key(const struct machine *m, unsigned key)
{
        const struct store *store = node_store(m->engine.node);
        struct history_found found = { .index = store_index(store) };
        const struct store_node *node;
        struct store_view v;

        if (store_get(store, observe_path(key), &node) != STORE_OK)
                return found;
        v = store_node_view(node);
        found.exists = true;
        found.number = number_of(v.value);
        found.modified = v.modified;
        return found;
}

void observe_read_locally(struct sim *s, struct machine *m, unsigned key)
{
        struct history_found found = observe_key(m, key);

        s->tally.reads_locally++;
        history_read_locally(s->history, key, m->engine.index_read, &found);
        m->engine.index_read = found.index;
        observe_verdict(s);
}

/* Watchers. */

static void told(struct sim *s, struct watcher *w, const struct store_event *e)
{
        history_watched(s->history, w->key, w->next, e->index, number_of(e->node.value));
        w->next = e->index + 1;
        w->number = 0;
        s->tally.watched++;
        observe_verdict(s);
}

/* As a client does that is told that it is too late: it reads, and goes on from there. */
static void begin_anew(struct sim *s, struct watcher *w, const struct store *store)
{
        if (w->next >= store_history_oldest(store))
                sim_fail(s, "a watcher since %" PRIu64 " is refused, but %" PRIu64 " is there",
                         w->next, store_history_oldest(store));
        w->next = store_index(store) + 1;
        s->tally.watches_cleared++;
}

static void watch(struct sim *s, struct watcher *w, struct machine *m)
{
        struct store *store = node_store(m->engine.node);
        const struct store_event *e;

        switch (store_watch_add(store, observe_path(w->key), w->key == HISTORY_ALL, w->next, &e,
                                &w->number)) {
        case STORE_OK:
                break;
        case STORE_INDEX_CLEARED:
                begin_anew(s, w, store);
                return;
        default:
                sim_fail(s, "%s refuses a watcher", sim_node_name(s, m->id));
                return;
        }
        w->node = m->id;
        w->life = m->engine.life;
        if (e)
                told(s, w, e);
}

/* It waits for what has happened already. */
static void check_awake(struct sim *s, const struct watcher *w, const struct machine *m)
{
        uint64_t next = history_next(s->history, w->key, w->next);

        if (next != 0 && next <= store_index(node_store(m->engine.node)))
                sim_fail(s, "%s never told a watcher of change %" PRIu64, sim_node_name(s, m->id),
                         next);
}

static bool is_served(const struct sim *s, const struct machine *m)
{
        return engine_is_listening(s, m) && machine_is_awake(s, m) &&
               s->now >= m->engine.paused_until;
}

static void look(struct sim *s, struct occurrence *o)
{
        struct watcher *w = &s->watchers[o->number];
        struct machine *m = sim_machine(s, w->node);

        if (w->number != 0 && (!m->engine.running || m->engine.life != w->life))
                w->number = 0; /* the connection is gone */
        if (w->number != 0) {
                check_awake(s, w, m);
                if (is_served(s, m) && sim_chance(s, 50)) {
                        store_watch_remove(node_store(m->engine.node), w->number);
                        w->number = 0;
                }
        }
        if (w->number == 0) {
                m = sim_machine(s, (node_id)sim_between(s, 1, s->plan.n_machines));
                if (is_served(s, m))
                        watch(s, w, m);
        }
        queue_plan_again(&s->queue, o, s->now + 1 + sim_about(s, LOOK_EVERY));
}

void observe_woken(struct sim *s, struct machine *m, const struct node_effect *e)
{
        for (size_t i = 0; i < SIM_WATCHERS; i++) {
                struct watcher *w = &s->watchers[i];
                const struct store_event *event = NULL;

                for (size_t k = 0; k < e->n_watchers && w->number != 0 && w->node == m->id &&
                                   w->life == m->engine.life;
                     k++)
                        if (e->watchers[k] == w->number)
                                event = store_watch_take(node_store(m->engine.node), w->number);
                if (event)
                        told(s, w, event);
        }
}

void observe_start(struct sim *s)
{
        for (size_t i = 0; i < SIM_WATCHERS; i++) {
                struct occurrence *o = sim_plan_at(s, s->now + LOOK_EVERY, look, NULL);

                o->number = i;
                s->watchers[i] = (struct watcher){ .key = i == 0 ? HISTORY_ALL : (unsigned)i - 1,
                                                   .next = 1 };
        }
}
