/*
 * Commands as bytes. Format: version and type, a byte each, the origin, then what the type has.
 * Strings carry a NUL that is counted, so that a decoded command can point into one copy of all.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "election/store/path.h"
#include "election/store/store.h"

enum {
        COMMAND_FORMAT = 1,

        FLAG_DIRECTORY = 1 << 0,
        FLAG_RECURSIVE = 1 << 1,
        FLAG_REFRESH = 1 << 2,
        FLAG_SYSTEM = 1 << 3,
        FLAG_PREVIOUS_VALUE = 1 << 4,
        FLAG_TTL = 1 << 5,
        FLAG_SETTLED = 1 << 6,
        FLAGS_ALL = (1 << 7) - 1,
};

static size_t length_of(const char *value, size_t n)
{
        return n > 0 || !value ? n : strlen(value);
}

/* What is within the limits. */

static int check_key(const struct store_command *c)
{
        const struct store_key_command *k = &c->key;

        if (c->settled > c->origin.sequence)
                return -EINVAL;
        if (!k->path || !path_is_clean(k->path, strnlen(k->path, STORE_KEY_BYTES_MAX + 1)))
                return -EINVAL;
        if (k->action > STORE_DELETE || k->condition > STORE_MUST_NOT_EXIST)
                return -EINVAL;
        if (!k->value && k->n_value > 0)
                return -EINVAL;
        if (length_of(k->value, k->n_value) > STORE_VALUE_BYTES_MAX ||
            length_of(k->previous_value, k->n_previous_value) > STORE_VALUE_BYTES_MAX)
                return -EINVAL;
        return 0;
}

static int check_renewals(const struct store_command *c)
{
        if (c->n < 1 || c->n > STORE_BATCH_MAX)
                return -EINVAL;
        for (size_t i = 0; i < c->n; i++) {
                const struct store_renewal *r = &c->renewals[i];

                if (!name_is_valid(r->service) || r->n_position > STORE_POSITION_MAX)
                        return -EINVAL;
        }
        return 0;
}

static bool expiry_name_is_valid(const struct store_expiry *e)
{
        switch (e->kind) {
        case STORE_LEASE_MASTER:
                return name_is_valid(e->name);
        case STORE_LEASE_KEY:
                return path_is_clean(e->name, strnlen(e->name, STORE_KEY_BYTES_MAX + 1));
        }
        return false;
}

static int check_expiries(const struct store_command *c)
{
        if (c->n < 1 || c->n > STORE_BATCH_MAX)
                return -EINVAL;
        for (size_t i = 0; i < c->n; i++)
                if (!c->expiries[i].name || !expiry_name_is_valid(&c->expiries[i]))
                        return -EINVAL;
        return 0;
}

/* Only a node may hold a mastership, and a TTL of nothing would be no lease. */
static int check_acquire(const struct store_command *c)
{
        if (c->origin.node == NODE_NOBODY || c->ttl == 0)
                return -EINVAL;
        return name_is_valid(c->service) ? 0 : -EINVAL;
}

int store_command_check(const struct store_command *c)
{
        if (c->origin.node > MEMBERS_MAX)
                return -EINVAL;
        switch (c->type) {
        case STORE_KEY:
                return check_key(c);
        case STORE_ACQUIRE:
                return check_acquire(c);
        case STORE_RENEW:
                return check_renewals(c);
        case STORE_EXPIRE:
                return check_expiries(c);
        case STORE_RELEASE:
                if (c->reserved_for > MEMBERS_MAX)
                        return -EINVAL;
                return name_is_valid(c->service) ? 0 : -EINVAL;
        case STORE_CLOSE:
        case STORE_FENCED:
                return name_is_valid(c->service) ? 0 : -EINVAL;
        }
        return -EINVAL;
}

/* Writing. */

static void put_text(struct buffer *b, const char *s, size_t n)
{
        assert(n < UINT32_MAX);
        buffer_put_u32(b, (uint32_t)n + 1);
        buffer_put(b, s, n);
        buffer_put_u8(b, 0);
}

static void put_name(struct buffer *b, const char *s)
{
        put_text(b, s, strlen(s));
}

static uint8_t flags_of(const struct store_command *c)
{
        const struct store_key_command *k = &c->key;
        unsigned flags = 0;

        flags |= k->directory ? FLAG_DIRECTORY : 0u;
        flags |= k->recursive ? FLAG_RECURSIVE : 0u;
        flags |= k->refresh ? FLAG_REFRESH : 0u;
        flags |= k->system ? FLAG_SYSTEM : 0u;
        flags |= k->previous_value ? FLAG_PREVIOUS_VALUE : 0u;
        flags |= k->has_ttl ? FLAG_TTL : 0u;
        flags |= c->settled ? FLAG_SETTLED : 0u;
        return (uint8_t)flags;
}

static void put_key(struct buffer *b, const struct store_command *c)
{
        const struct store_key_command *k = &c->key;

        buffer_put_u8(b, (uint8_t)k->action);
        buffer_put_u8(b, (uint8_t)k->condition);
        buffer_put_u8(b, flags_of(c));
        buffer_put_u64(b, k->previous_index);
        if (k->has_ttl)
                buffer_put_u64(b, k->ttl);
        if (c->settled)
                buffer_put_u64(b, c->settled);
        put_name(b, k->path);
        put_text(b, k->value, length_of(k->value, k->n_value));
        if (k->previous_value)
                put_text(b, k->previous_value, length_of(k->previous_value, k->n_previous_value));
}

static void put_renewals(struct buffer *b, const struct store_command *c)
{
        buffer_put_u64(b, c->old_incarnation);
        buffer_put_u16(b, (uint16_t)c->n);
        for (size_t i = 0; i < c->n; i++) {
                const struct store_renewal *r = &c->renewals[i];

                put_name(b, r->service);
                buffer_put_u64(b, r->epoch);
                buffer_put_u64(b, r->sequence);
                buffer_put_blob(b, r->position, r->n_position);
        }
}

static void put_expiries(struct buffer *b, const struct store_command *c)
{
        buffer_put_u16(b, (uint16_t)c->n);
        for (size_t i = 0; i < c->n; i++) {
                const struct store_expiry *e = &c->expiries[i];

                buffer_put_u8(b, (uint8_t)e->kind);
                put_name(b, e->name);
                buffer_put_u64(b, e->epoch);
                buffer_put_u64(b, e->renewed);
        }
}

static void put_body(struct buffer *b, const struct store_command *c)
{
        switch (c->type) {
        case STORE_KEY:
                put_key(b, c);
                return;
        case STORE_RENEW:
                put_renewals(b, c);
                return;
        case STORE_EXPIRE:
                put_expiries(b, c);
                return;
        case STORE_ACQUIRE:
                put_name(b, c->service);
                buffer_put_u64(b, c->ttl);
                return;
        case STORE_RELEASE:
                put_name(b, c->service);
                buffer_put_u64(b, c->epoch);
                buffer_put_u8(b, c->reserved_for);
                return;
        case STORE_CLOSE:
        case STORE_FENCED:
                put_name(b, c->service);
                buffer_put_u64(b, c->epoch);
                return;
        }
}

void store_command_encode(const struct store_command *c, struct buffer *b)
{
        buffer_put_u8(b, COMMAND_FORMAT);
        buffer_put_u8(b, (uint8_t)c->type);
        buffer_put_u8(b, c->origin.node);
        buffer_put_u64(b, c->origin.incarnation);
        buffer_put_u64(b, c->origin.sequence);
        put_body(b, c);
}

/* Reading. */

/* Bytes that end with a NUL, which is not counted in @ret_n. */
static char *get_text(struct reader *r, size_t *ret_n)
{
        size_t n;
        const uint8_t *bytes = reader_get_blob(r, &n);

        *ret_n = 0;
        if (n == 0 || bytes[n - 1] != 0) {
                r->failed = true;
                return NULL;
        }
        *ret_n = n - 1;
        return (char *)bytes; /* the copy that is being decoded is ours */
}

/* A text without a NUL inside. */
static char *get_name(struct reader *r)
{
        size_t n;
        char *s = get_text(r, &n);

        if (s && strlen(s) != n)
                r->failed = true;
        return r->failed ? NULL : s;
}

static void get_service(struct reader *r, char ret[NAME_SIZE])
{
        const char *s = get_name(r);
        size_t n = s ? strlen(s) : NAME_SIZE;

        if (n >= NAME_SIZE) {
                r->failed = true;
                return;
        }
        memcpy(ret, s, n + 1);
}

static void get_key(struct reader *r, struct store_command *c)
{
        struct store_key_command *k = &c->key;
        unsigned flags;

        k->action = reader_get_u8(r);
        k->condition = reader_get_u8(r);
        flags = reader_get_u8(r);
        if (flags & ~(unsigned)FLAGS_ALL)
                r->failed = true;
        k->directory = flags & FLAG_DIRECTORY;
        k->recursive = flags & FLAG_RECURSIVE;
        k->refresh = flags & FLAG_REFRESH;
        k->system = flags & FLAG_SYSTEM;
        k->has_ttl = flags & FLAG_TTL;
        k->previous_index = reader_get_u64(r);
        if (k->has_ttl)
                k->ttl = reader_get_u64(r);
        if (flags & FLAG_SETTLED) {
                c->settled = reader_get_u64(r);
                r->failed |= c->settled == 0;
        }
        k->path = get_name(r);
        k->value = get_text(r, &k->n_value);
        if (flags & FLAG_PREVIOUS_VALUE)
                k->previous_value = get_text(r, &k->n_previous_value);
}

/* The length of a list, before memory is taken for it. */
static size_t get_count(struct reader *r)
{
        size_t n = reader_get_u16(r);

        if (n > STORE_BATCH_MAX)
                r->failed = true;
        return r->failed ? 0 : n;
}

static void get_renewals(struct reader *r, struct store_command *c)
{
        c->old_incarnation = reader_get_u64(r);
        c->n = get_count(r);
        c->renewals = must_alloc(c->n, sizeof(*c->renewals));
        for (size_t i = 0; i < c->n; i++) {
                struct store_renewal *renewal = &c->renewals[i];
                const uint8_t *position;

                get_service(r, renewal->service);
                renewal->epoch = reader_get_u64(r);
                renewal->sequence = reader_get_u64(r);
                position = reader_get_blob(r, &renewal->n_position);
                if (renewal->n_position > STORE_POSITION_MAX) {
                        r->failed = true;
                        return;
                }
                memcpy(renewal->position, position, renewal->n_position);
        }
}

static void get_expiries(struct reader *r, struct store_command *c)
{
        c->n = get_count(r);
        c->expiries = must_alloc(c->n, sizeof(*c->expiries));
        for (size_t i = 0; i < c->n; i++) {
                struct store_expiry *e = &c->expiries[i];

                e->kind = reader_get_u8(r);
                e->name = get_name(r);
                e->epoch = reader_get_u64(r);
                e->renewed = reader_get_u64(r);
        }
}

static void get_body(struct reader *r, struct store_command *c)
{
        switch (c->type) {
        case STORE_KEY:
                get_key(r, c);
                return;
        case STORE_RENEW:
                get_renewals(r, c);
                return;
        case STORE_EXPIRE:
                get_expiries(r, c);
                return;
        case STORE_ACQUIRE:
                get_service(r, c->service);
                c->ttl = reader_get_u64(r);
                return;
        case STORE_RELEASE:
                get_service(r, c->service);
                c->epoch = reader_get_u64(r);
                c->reserved_for = reader_get_u8(r);
                return;
        case STORE_CLOSE:
        case STORE_FENCED:
                get_service(r, c->service);
                c->epoch = reader_get_u64(r);
                return;
        }
        r->failed = true;
}

int store_command_decode(const uint8_t *bytes, size_t n, struct store_command *ret)
{
        struct store_command c = { 0 };
        struct reader r;

        if (store_command_peek(bytes, n) == 0)
                return -EBADMSG;
        c.memory = must_copy(bytes, n);
        r = reader_of((uint8_t *)c.memory + 1, n - 1);
        c.type = reader_get_u8(&r);
        c.origin.node = reader_get_u8(&r);
        c.origin.incarnation = reader_get_u64(&r);
        c.origin.sequence = reader_get_u64(&r);
        get_body(&r, &c);
        if (!reader_done(&r) || store_command_check(&c) < 0) {
                store_command_done(&c);
                return -EBADMSG;
        }
        *ret = c;
        return 0;
}

void store_command_done(struct store_command *c)
{
        if (c->memory) {
                free(c->renewals);
                free(c->expiries);
                free(c->memory);
        }
        *c = (struct store_command){ 0 };
}

enum store_command_type store_command_peek(const uint8_t *bytes, size_t n)
{
        if (n < 2 || bytes[0] != COMMAND_FORMAT)
                return 0;
        return bytes[1] >= STORE_KEY && bytes[1] <= STORE_FENCED ? bytes[1] : 0;
}

const char *store_command_name(enum store_command_type type)
{
        switch (type) {
        case STORE_KEY:
                return "key";
        case STORE_ACQUIRE:
                return "acquire";
        case STORE_RENEW:
                return "renew";
        case STORE_RELEASE:
                return "release";
        case STORE_CLOSE:
                return "close";
        case STORE_EXPIRE:
                return "expire";
        case STORE_FENCED:
                return "fenced";
        }
        return "unknown";
}
