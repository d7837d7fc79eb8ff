/* Writing snapshots; see snapshot.h for the format. */
#include "election/store/snapshot.h"

#include <string.h>

#include "election/base/crc32c.h"

enum {
        CHUNK = 64 * 1024, /* bytes that are collected for the sink */
};

struct writer {
        struct buffer bytes;
        size_t record; /* where the last one begins */
        uint64_t n_records;
        store_sink *sink;
        void *userdata;
        int error;
};

static void begin(struct writer *w, enum snapshot_kind kind)
{
        w->record = w->bytes.n;
        buffer_put_u8(&w->bytes, (uint8_t)kind);
        buffer_put_u32(&w->bytes, 0);
}

static void flush(struct writer *w)
{
        if (w->error == 0 && w->bytes.n > 0)
                w->error = w->sink(w->userdata, w->bytes.bytes, w->bytes.n);
        buffer_clear(&w->bytes);
}

/* The record is whole: its length is known. */
static void end(struct writer *w)
{
        size_t n = w->bytes.n - w->record - SNAPSHOT_HEAD;

        for (size_t i = 0; i < 4; i++)
                w->bytes.bytes[w->record + 1 + i] = (uint8_t)(n >> (8 * i));
        w->n_records++;
        if (w->bytes.n >= CHUNK)
                flush(w);
}

static void put_begin(struct writer *w, const struct store *s, uint64_t applied)
{
        begin(w, SNAPSHOT_BEGIN);
        buffer_put(&w->bytes, SNAPSHOT_MAGIC, strlen(SNAPSHOT_MAGIC));
        buffer_put_u8(&w->bytes, SNAPSHOT_FORMAT);
        buffer_put_u64(&w->bytes, s->index);
        buffer_put_u64(&w->bytes, applied);
        end(w);
}

static void put_lease(struct writer *w, const struct store_lease *l)
{
        struct buffer *b = &w->bytes;

        begin(w, SNAPSHOT_LEASE);
        buffer_put_string(b, l->service);
        buffer_put_u8(b, (uint8_t)l->state);
        buffer_put_u8(b, l->holder);
        buffer_put_u64(b, l->incarnation);
        buffer_put_u64(b, l->epoch);
        buffer_put_u64(b, l->renewed);
        buffer_put_u64(b, l->ttl);
        buffer_put_u8(b, l->reserved_for);
        buffer_put_u64(b, l->freed);
        buffer_put_u8(b, l->expired);
        buffer_put_blob(b, l->position, l->n_position);
        end(w);
}

static void put_view(struct buffer *b, const struct store_view *v)
{
        unsigned flags = 0;

        flags |= v->directory ? SNAPSHOT_DIRECTORY : 0u;
        flags |= v->value ? SNAPSHOT_VALUE : 0u;
        flags |= v->has_ttl ? SNAPSHOT_TTL : 0u;
        buffer_put_u8(b, (uint8_t)flags);
        buffer_put_u64(b, v->created);
        buffer_put_u64(b, v->modified);
        if (v->has_ttl)
                buffer_put_u64(b, v->ttl);
        if (v->value)
                buffer_put_blob(b, v->value, v->n_value);
}

static void put_node(struct writer *w, const struct store_node *n)
{
        struct store_view v = store_node_view(n);

        begin(w, SNAPSHOT_NODE);
        buffer_put_blob(&w->bytes, n->path, n->n_path);
        put_view(&w->bytes, &v);
        if (v.has_ttl)
                buffer_put_u64(&w->bytes, n->lease->granted);
        end(w);
}

static void put_event(struct buffer *b, const struct event *e)
{
        unsigned flags = 0;

        flags |= e->shown.refresh ? SNAPSHOT_REFRESH : 0u;
        flags |= e->shown.has_previous ? SNAPSHOT_PREVIOUS : 0u;
        flags |= e->removed_too_much ? SNAPSHOT_REMOVED_TOO_MUCH : 0u;
        buffer_put_u8(b, (uint8_t)flags);
        buffer_put_u8(b, (uint8_t)e->shown.action);
        buffer_put_u64(b, e->shown.index);
        buffer_put_blob(b, e->path, e->n_path);
        put_view(b, &e->shown.node);
        if (e->shown.has_previous)
                put_view(b, &e->shown.previous);
        buffer_put_blob(b, e->removed.bytes, e->removed.n);
}

static void put_history(struct writer *w, const struct watch *watch)
{
        for (size_t i = 0; i < watch->n; i++) {
                begin(w, SNAPSHOT_EVENT);
                put_event(&w->bytes, watch->history[(watch->first + i) % STORE_HISTORY_MAX]);
                end(w);
        }
}

static void put_ended(struct writer *w, node_id node, const struct session_node *n)
{
        if (n->n_ended == 0)
                return;
        begin(w, SNAPSHOT_ENDED);
        buffer_put_u8(&w->bytes, node);
        for (size_t i = 0; i < n->n_ended; i++)
                buffer_put_u64(&w->bytes, n->ended[i]);
        end(w);
}

static void put_answer(struct writer *w, const struct session_answer *a, uint64_t oldest)
{
        struct buffer *b = &w->bytes;
        bool named = a->event && a->event->shown.index >= oldest;
        unsigned flags = 0;

        flags |= a->cause ? SNAPSHOT_CAUSE : 0u;
        flags |= named ? SNAPSHOT_EVENT_NAMED : 0u;
        flags |= a->event && !named ? SNAPSHOT_EVENT_WHOLE : 0u;
        begin(w, SNAPSHOT_ANSWER);
        buffer_put_u8(b, (uint8_t)flags);
        buffer_put_u64(b, a->sequence);
        buffer_put_u64(b, a->index);
        buffer_put_u16(b, (uint16_t)a->error);
        if (a->cause)
                buffer_put_blob(b, a->cause->bytes, a->cause->n);
        if (named)
                buffer_put_u64(b, a->event->shown.index);
        else if (a->event)
                put_event(b, a->event);
        end(w);
}

static void put_session(struct writer *w, node_id node, const struct session *s, uint64_t oldest)
{
        begin(w, SNAPSHOT_SESSION);
        buffer_put_u8(&w->bytes, node);
        buffer_put_u64(&w->bytes, s->incarnation);
        buffer_put_u64(&w->bytes, s->used);
        buffer_put_u64(&w->bytes, s->floor);
        end(w);
        for (size_t i = 0; i < s->n; i++)
                put_answer(w, &s->answers[s->first + i], oldest);
}

static void put_sessions(struct writer *w, const struct store *s)
{
        uint64_t oldest = store_history_oldest(s);

        for (node_id i = 1; i <= MEMBERS_MAX; i++)
                put_ended(w, i, &s->sessions.nodes[i]);
        for (node_id i = 1; i <= MEMBERS_MAX; i++) {
                const struct session_node *n = &s->sessions.nodes[i];

                for (size_t k = 0; k < n->n; k++)
                        put_session(w, i, &n->sessions[k], oldest);
        }
}

static void put_finish(struct writer *w)
{
        begin(w, SNAPSHOT_FINISH);
        buffer_put_u64(&w->bytes, w->n_records);
        end(w);
}

const struct store_node *snapshot_next(const struct store_node *n)
{
        const struct store_node *next = store_node_first(n);

        while (!next && n) {
                next = store_node_next(n);
                n = n->parent;
        }
        return next;
}

static int write_all(const struct store *s, uint64_t applied, store_sink *sink, void *userdata)
{
        struct writer w = { .sink = sink, .userdata = userdata };
        const struct store_node *n = snapshot_next(s->tree.root);

        put_begin(&w, s, applied);
        for (size_t i = 0; i < s->leases.n; i++)
                put_lease(&w, &s->leases.leases[i]);
        for (; n && w.error == 0; n = snapshot_next(n))
                put_node(&w, n);
        put_history(&w, &s->watch);
        put_sessions(&w, s);
        put_finish(&w);
        flush(&w);
        buffer_done(&w.bytes);
        return w.error;
}

int store_snapshot_write(const struct store *s, store_sink *sink, void *userdata)
{
        return write_all(s, s->applied, sink, userdata);
}

static int add_to_checksum(void *userdata, const uint8_t *bytes, size_t n)
{
        uint32_t *crc = userdata;

        *crc = crc32c(*crc, bytes, n);
        return 0;
}

/* Log entries that are no commands of ours do not count. */
uint32_t store_checksum(const struct store *s)
{
        uint32_t crc = 0;

        (void)write_all(s, 0, add_to_checksum, &crc); /* its sink cannot fail */
        return crc;
}
