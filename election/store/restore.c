/*
 * Reading snapshots; see snapshot.h for the format. The bytes come from a disk or another member:
 * what the rest of the room takes for granted is checked here, record by record.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "election/store/path.h"
#include "election/store/snapshot.h"

struct store_restore {
        struct store *store;
        struct buffer part; /* the beginning of a record whose rest is to come */
        enum snapshot_kind last; /* kind of the last record; 0 before the first */
        uint64_t n_records;
        struct store_node *node; /* the last one */
        node_id session_node;
        struct session *session; /* the last one */
};

struct store_restore *store_restore_new(void)
{
        struct store_restore *r = must_alloc(1, sizeof(*r));

        r->store = store_new();
        r->node = r->store->tree.root;
        return r;
}

void store_restore_free(struct store_restore *r)
{
        if (!r)
                return;
        store_free(r->store);
        buffer_done(&r->part);
        free(r);
}

static bool require(struct reader *r, bool truth)
{
        if (!truth)
                r->failed = true;
        return !r->failed;
}

static void get_begin(struct store_restore *restore, struct reader *r)
{
        struct store *s = restore->store;

        for (size_t i = 0; i < strlen(SNAPSHOT_MAGIC); i++)
                require(r, reader_get_u8(r) == (uint8_t)SNAPSHOT_MAGIC[i]);
        require(r, reader_get_u8(r) == SNAPSHOT_FORMAT);
        s->index = reader_get_u64(r);
        s->applied = reader_get_u64(r);
}

static bool get_bool(struct reader *r)
{
        uint8_t value = reader_get_u8(r);

        require(r, value <= 1);
        return value == 1;
}

static bool lease_is_sound(const struct store *s, const struct store_lease *l)
{
        return name_is_valid(l->service) && !lease_find(&s->leases, l->service) &&
               l->state <= STORE_LEASE_CLOSING && l->holder >= 1 && l->holder <= MEMBERS_MAX &&
               l->reserved_for <= MEMBERS_MAX && l->ttl > 0 && l->epoch <= l->renewed &&
               l->renewed <= s->applied && l->freed <= s->applied;
}

static void get_lease(struct store_restore *restore, struct reader *r)
{
        struct lease_table *t = &restore->store->leases;
        struct store_lease l = { 0 };
        const uint8_t *position;

        reader_get_string(r, l.service, sizeof(l.service));
        l.state = reader_get_u8(r);
        l.holder = reader_get_u8(r);
        l.incarnation = reader_get_u64(r);
        l.epoch = reader_get_u64(r);
        l.renewed = reader_get_u64(r);
        l.ttl = reader_get_u64(r);
        l.reserved_for = reader_get_u8(r);
        l.freed = reader_get_u64(r);
        l.expired = get_bool(r);
        position = reader_get_blob(r, &l.n_position);
        if (!require(r, l.n_position <= STORE_POSITION_MAX && t->n < SERVICES_MAX &&
                                lease_is_sound(restore->store, &l)))
                return;
        memcpy(l.position, position, l.n_position);
        t->leases[t->n++] = l;
}

/* A path as the tree has them; NULL if it is none. */
static const char *get_path(struct reader *r, size_t *ret_n)
{
        const char *path = (const char *)reader_get_blob(r, ret_n);

        require(r, path_is_clean(path, *ret_n) && !memchr(path, 0, *ret_n));
        return r->failed ? NULL : path;
}

/* A view but for its path; its value, if it has one, is still among the bytes that are read. */
static void get_view(struct reader *r, struct store_view *ret)
{
        unsigned flags = reader_get_u8(r);

        require(r, (flags & ~(unsigned)SNAPSHOT_VIEW_FLAGS) == 0);
        ret->directory = flags & SNAPSHOT_DIRECTORY;
        ret->has_ttl = flags & SNAPSHOT_TTL;
        ret->created = reader_get_u64(r);
        ret->modified = reader_get_u64(r);
        if (ret->has_ttl)
                ret->ttl = reader_get_u64(r);
        if (flags & SNAPSHOT_VALUE)
                ret->value = (const char *)reader_get_blob(r, &ret->n_value);
        require(r, ret->n_value <= STORE_VALUE_BYTES_MAX && !(ret->value && ret->directory));
}

/* The directory of a node that comes behind @last: @last itself or one that it is in. */
static struct store_node *find_parent(struct store_node *last, const char *path, size_t n)
{
        size_t n_parent = path_parent(path, n);

        while (last && last->n_path > n_parent)
                last = last->parent;
        if (!last || last->n_path != n_parent || memcmp(last->path, path, n_parent) != 0)
                return NULL;
        return node_is_directory(last) ? last : NULL;
}

static void get_node(struct store_restore *restore, struct reader *r)
{
        struct store *s = restore->store;
        struct store_view v = { 0 };
        struct store_node *parent = NULL;
        uint64_t granted = 0;
        size_t n = 0;
        const char *path = get_path(r, &n);

        get_view(r, &v);
        if (v.has_ttl)
                granted = reader_get_u64(r);
        require(r, v.directory == !v.value && v.created <= v.modified && v.modified <= s->index &&
                           granted <= s->applied);
        if (!require(r, path && n > 1 && !tree_find(&s->tree, path, n)))
                return;
        parent = find_parent(restore->node, path, n);
        if (!require(r, parent))
                return;
        restore->node = tree_insert(&s->tree, parent, path, n,
                                    v.value ? value_new(v.value, v.n_value) : NULL);
        restore->node->created = v.created;
        restore->node->modified = v.modified;
        if (v.has_ttl)
                tree_grant(&s->tree, restore->node, v.ttl,
                           (struct store_entry){ .index = granted });
}

/* The value of a view: that of the key itself, if it is the same, and a copy otherwise. */
static struct store_value *make_value(const struct store *s, const struct event *e,
                                      const struct store_view *v)
{
        const struct store_node *n;

        if (!v->value)
                return NULL;
        n = tree_find(&s->tree, e->path, e->n_path);
        if (n && !n->directory && n->value->n == v->n_value &&
            memcmp(n->value->bytes, v->value, v->n_value) == 0)
                return value_ref(n->value);
        return value_new(v->value, v->n_value);
}

/* Gives a view of the event what it shows: the bytes that were read do not stay. */
static struct store_value *settle_view(const struct store *s, const struct event *e,
                                       struct store_view *v)
{
        struct store_value *value = make_value(s, e, v);

        v->path = e->path;
        v->value = value ? value->bytes : NULL;
        return value;
}

/* Paths, each with its NUL. */
static bool removed_is_sound(const uint8_t *bytes, size_t n, bool too_much)
{
        if (too_much)
                return n == 0;
        return n <= EVENT_REMOVED_BYTES_MAX && (n == 0 || bytes[n - 1] == 0);
}

static struct event *get_event(const struct store *s, struct reader *r)
{
        struct store_event shown = { 0 };
        unsigned flags = reader_get_u8(r);
        const uint8_t *removed;
        const char *path;
        struct event *e;
        size_t n, n_removed;

        shown.refresh = flags & SNAPSHOT_REFRESH;
        shown.has_previous = flags & SNAPSHOT_PREVIOUS;
        shown.action = reader_get_u8(r);
        shown.index = reader_get_u64(r);
        path = get_path(r, &n);
        get_view(r, &shown.node);
        if (shown.has_previous)
                get_view(r, &shown.previous);
        removed = reader_get_blob(r, &n_removed);
        if (!require(r, path && (flags & ~(unsigned)SNAPSHOT_EVENT_FLAGS) == 0 &&
                                shown.action >= STORE_DID_SET && shown.action <= STORE_DID_EXPIRE &&
                                shown.index > 0 && shown.index <= s->index &&
                                removed_is_sound(removed, n_removed,
                                                 flags & SNAPSHOT_REMOVED_TOO_MUCH)))
                return NULL;
        e = event_make(shown.action, shown.index, path, n);
        e->shown = shown;
        e->value = settle_view(s, e, &e->shown.node);
        if (shown.has_previous)
                e->previous_value = settle_view(s, e, &e->shown.previous);
        e->removed_too_much = flags & SNAPSHOT_REMOVED_TOO_MUCH;
        buffer_put(&e->removed, removed, n_removed);
        return e;
}

/* Indexes are consecutive; that the last one is the store's is checked at the end. */
static void get_history(struct store_restore *restore, struct reader *r)
{
        struct store *s = restore->store;
        struct event *e = get_event(s, r);
        size_t n = s->watch.n;
        uint64_t next = watch_oldest(&s->watch, 0) + n;

        if (!e)
                return;
        if (!require(r, (n == 0 || e->shown.index == next) && n < STORE_HISTORY_MAX &&
                                reader_done(r))) {
                event_unref(e);
                return;
        }
        watch_remember(&s->watch, e);
        require(r, s->watch.n == n + 1); /* the bytes of all are within the limit */
}

static void get_ended(struct store_restore *restore, struct reader *r)
{
        node_id node = reader_get_u8(r);
        struct session_node *n = &restore->store->sessions.nodes[node <= MEMBERS_MAX ? node : 0];

        require(r, node > restore->session_node && node <= MEMBERS_MAX && r->n > 0);
        restore->session_node = node;
        while (!r->failed && r->n > 0)
                if (require(r, n->n_ended < SESSIONS_ENDED_MAX))
                        n->ended[n->n_ended++] = reader_get_u64(r);
}

static void get_session(struct store_restore *restore, struct reader *r)
{
        struct session s = { 0 };
        struct session_node *n;
        node_id node = reader_get_u8(r);

        s.incarnation = reader_get_u64(r);
        s.used = reader_get_u64(r);
        s.floor = reader_get_u64(r);
        if (restore->last < SNAPSHOT_SESSION)
                restore->session_node = 1;
        if (!require(r, node >= restore->session_node && node <= MEMBERS_MAX &&
                                s.used <= restore->store->applied))
                return;
        n = &restore->store->sessions.nodes[node];
        if (!require(r, n->n < STORE_SESSIONS_MAX && !session_of(n, s.incarnation)))
                return;
        restore->session_node = node;
        restore->session = &n->sessions[n->n];
        n->sessions[n->n++] = s;
}

static bool answer_is_sound(const struct session *s, const struct session_answer *a, uint64_t index)
{
        bool in_order = s->n == 0 || s->answers[s->n - 1].sequence < a->sequence;

        return in_order && a->sequence > s->floor && a->index <= index &&
               (a->error == STORE_OK) == (a->event != NULL) && s->n < STORE_SESSION_ANSWERS_MAX &&
               (s->n == 0 || s->n_bytes + session_answer_bytes(a) <= STORE_SESSION_BYTES_MAX);
}

static void get_answer_event(struct store *s, struct reader *r, unsigned flags,
                             struct session_answer *ret)
{
        uint64_t oldest = store_history_oldest(s);

        if (flags & SNAPSHOT_EVENT_NAMED) {
                uint64_t index = reader_get_u64(r);

                if (require(r, index >= oldest && index <= s->index))
                        ret->event = event_ref(watch_at(&s->watch, index));
                require(r, ret->event);
        }
        if (flags & SNAPSHOT_EVENT_WHOLE) {
                require(r, !ret->event);
                if (!r->failed)
                        ret->event = get_event(s, r);
                require(r, ret->event && ret->event->shown.index < oldest);
        }
}

static void get_answer(struct store_restore *restore, struct reader *r)
{
        struct session_answer a = { 0 };
        unsigned flags = reader_get_u8(r);
        size_t n_cause = 0;
        const uint8_t *cause = NULL;

        a.sequence = reader_get_u64(r);
        a.index = reader_get_u64(r);
        a.error = reader_get_u16(r);
        if (flags & SNAPSHOT_CAUSE)
                cause = reader_get_blob(r, &n_cause);
        get_answer_event(restore->store, r, flags, &a);
        require(r, (flags & ~(unsigned)SNAPSHOT_ANSWER_FLAGS) == 0 && reader_done(r));
        if (cause && !r->failed)
                a.cause = value_new((const char *)cause, n_cause);
        if (require(r, answer_is_sound(restore->session, &a, restore->store->index))) {
                session_keep(restore->session, a);
                return;
        }
        event_unref(a.event);
        value_unref(a.cause);
}

/* Whether a record of @kind may follow. */
static bool may_follow(const struct store_restore *r, unsigned kind)
{
        switch (kind) {
        case SNAPSHOT_BEGIN:
                return r->last == 0;
        case SNAPSHOT_LEASE:
        case SNAPSHOT_NODE:
        case SNAPSHOT_EVENT:
        case SNAPSHOT_ENDED:
                return r->last != 0 && r->last <= kind;
        case SNAPSHOT_SESSION:
                return r->last != 0 && r->last != SNAPSHOT_FINISH;
        case SNAPSHOT_ANSWER:
                return r->last == SNAPSHOT_SESSION || r->last == SNAPSHOT_ANSWER;
        case SNAPSHOT_FINISH:
                return r->last != 0 && r->last != SNAPSHOT_FINISH;
        }
        return false;
}

static void get_body(struct store_restore *restore, enum snapshot_kind kind, struct reader *r)
{
        switch (kind) {
        case SNAPSHOT_BEGIN:
                get_begin(restore, r);
                return;
        case SNAPSHOT_LEASE:
                get_lease(restore, r);
                return;
        case SNAPSHOT_NODE:
                get_node(restore, r);
                return;
        case SNAPSHOT_EVENT:
                get_history(restore, r);
                return;
        case SNAPSHOT_ENDED:
                get_ended(restore, r);
                return;
        case SNAPSHOT_SESSION:
                get_session(restore, r);
                return;
        case SNAPSHOT_ANSWER:
                get_answer(restore, r);
                return;
        case SNAPSHOT_FINISH:
                require(r, reader_get_u64(r) == restore->n_records);
                return;
        }
}

/* One whole record, with its head. */
static int read_record(struct store_restore *restore, const uint8_t *bytes, size_t n)
{
        struct reader r = reader_of(bytes + SNAPSHOT_HEAD, n - SNAPSHOT_HEAD);

        if (!may_follow(restore, bytes[0]))
                return -EBADMSG;
        get_body(restore, bytes[0], &r);
        if (!reader_done(&r))
                return -EBADMSG;
        restore->last = bytes[0];
        restore->n_records++;
        return 0;
}

/* The bytes of the record that @bytes begin with: 0 while that is not known, -EBADMSG if too many. */
static int record_size(const uint8_t *bytes, size_t n, size_t *ret)
{
        struct reader r = reader_of(bytes, n);
        size_t length;

        (void)reader_get_u8(&r);
        length = reader_get_u32(&r);
        if (length > SNAPSHOT_RECORD_MAX)
                return -EBADMSG;
        *ret = r.failed ? 0 : SNAPSHOT_HEAD + length;
        return 0;
}

/* Completes the record that was begun before; how many of @bytes it took, or -EBADMSG. */
static ssize_t feed_part(struct store_restore *r, const uint8_t *bytes, size_t n)
{
        size_t used = 0;

        while (used < n) {
                size_t size, take;
                int error = record_size(r->part.bytes, r->part.n, &size);

                if (error < 0)
                        return error;
                take = (size > 0 ? size : SNAPSHOT_HEAD) - r->part.n;
                take = take < n - used ? take : n - used;
                buffer_put(&r->part, bytes + used, take);
                used += take;
                error = record_size(r->part.bytes, r->part.n, &size);
                if (error < 0)
                        return error;
                if (size == 0 || r->part.n < size)
                        continue;
                error = read_record(r, r->part.bytes, size);
                buffer_clear(&r->part);
                return error < 0 ? error : (ssize_t)used;
        }
        return (ssize_t)used;
}

int store_restore_feed(struct store_restore *r, const uint8_t *bytes, size_t n)
{
        while (n > 0) {
                size_t size = 0;
                ssize_t used;

                if (r->part.n > 0) {
                        used = feed_part(r, bytes, n);
                        if (used < 0)
                                return (int)used;
                        bytes += used;
                        n -= (size_t)used;
                        continue;
                }
                if (record_size(bytes, n, &size) < 0)
                        return -EBADMSG;
                if (size == 0 || size > n) {
                        buffer_put(&r->part, bytes, n);
                        return 0;
                }
                if (read_record(r, bytes, size) < 0)
                        return -EBADMSG;
                bytes += size;
                n -= size;
        }
        return 0;
}

/* The history ends with the last change, and begins with the first if it has room for it. */
static bool history_is_sound(const struct store *s)
{
        const struct watch *w = &s->watch;

        return w->n > 0 ? watch_oldest(w, 0) + w->n == s->index + 1 : s->index == 0;
}

static void note_events(struct store *s, struct instant noted)
{
        for (size_t i = 0; i < s->watch.n; i++) {
                struct event *e = s->watch.history[(s->watch.first + i) % STORE_HISTORY_MAX];

                e->shown.node.renewed = e->shown.previous.renewed = noted;
        }
}

struct store *store_restore_finish(struct store_restore *r, struct instant noted)
{
        struct store *s = NULL;

        if (r->last == SNAPSHOT_FINISH && r->part.n == 0 && history_is_sound(r->store)) {
                s = r->store;
                r->store = NULL;
                lease_reset_notes(&s->leases, noted);
                due_shift(s->tree.due, noted);
                note_events(s, noted);
        }
        store_restore_free(r);
        return s;
}
