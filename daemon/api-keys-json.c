/* What /v2/keys answers: the JSON of etcd's v2 API, field by field in its order. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/api-keys.h"
#include "election/base/memory.h"

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

enum {
        INVALID_FORM = 210,
        RAFT_INTERNAL = 300,
};

static void put_text(struct buffer *b, const char *s)
{
        buffer_put(b, s, strlen(s));
}

static void put_u64(struct buffer *b, const char *name, uint64_t n)
{
        char digits[24];
        size_t i = sizeof(digits);

        do
                digits[--i] = (char)('0' + n % 10);
        while ((n /= 10) > 0);
        put_text(b, name);
        buffer_put(b, digits + i, sizeof(digits) - i);
}

/* The bytes of the UTF-8 character at @s, or 0 if there is none (RFC 3629, section 4). */
static size_t character_length(const uint8_t *s, size_t n)
{
        uint8_t low = 0x80, high = 0xBF;
        size_t length;

        if (s[0] < 0x80)
                return 1;
        if (s[0] >= 0xC2 && s[0] <= 0xDF)
                length = 2;
        else if (s[0] >= 0xE0 && s[0] <= 0xEF)
                length = 3;
        else if (s[0] >= 0xF0 && s[0] <= 0xF4)
                length = 4;
        else
                return 0;
        if (s[0] == 0xE0)
                low = 0xA0;
        else if (s[0] == 0xED)
                high = 0x9F;
        else if (s[0] == 0xF0)
                low = 0x90;
        else if (s[0] == 0xF4)
                high = 0x8F;
        if (n < length || s[1] < low || s[1] > high)
                return 0;
        for (size_t i = 2; i < length; i++) {
                if ((s[i] & 0xC0) != 0x80)
                        return 0;
        }
        return length;
}

static void put_ascii(struct buffer *b, char c)
{
        static const char short_escapes[] = "\"\\\n\r\t";
        static const char letters[] = "\"\\nrt";
        const char *found = c ? strchr(short_escapes, c) : NULL;
        char text[8];

        if (found) {
                buffer_put_u8(b, '\\');
                buffer_put_u8(b, (uint8_t)letters[found - short_escapes]);
        } else if ((unsigned char)c < 0x20 || c == '<' || c == '>' || c == '&') {
                (void)snprintf(text, sizeof(text), "\\u%04x", (unsigned)c);
                put_text(b, text);
        } else {
                buffer_put_u8(b, (uint8_t)c);
        }
}

/* Bytes at the beginning of @s that are written as they are. */
static size_t plain_length(const char *s, size_t n)
{
        size_t i = 0;

        while (i < n && (unsigned char)s[i] >= 0x20 && (unsigned char)s[i] < 0x80 && s[i] != '"' &&
               s[i] != '\\' && s[i] != '<' && s[i] != '>' && s[i] != '&')
                i++;
        return i;
}

/* One character that is not plain. Returns how many bytes it has. */
static size_t put_character(struct buffer *b, const char *s, size_t n)
{
        size_t length = character_length((const uint8_t *)s, n);

        if (length == 1)
                put_ascii(b, s[0]);
        else if (length == 0)
                put_text(b, REPLACEMENT);
        else if (length == 3 && memcmp(s, "\xE2\x80\xA8", 3) == 0)
                put_text(b, "\\u2028");
        else if (length == 3 && memcmp(s, "\xE2\x80\xA9", 3) == 0)
                put_text(b, "\\u2029");
        else
                buffer_put(b, s, length);
        return length ? length : 1;
}

void keys_put_string(struct buffer *b, const char *s, size_t n)
{
        buffer_put(b, "\"", 1);
        for (size_t i = 0; i < n;) {
                size_t plain = plain_length(s + i, n - i);

                buffer_put(b, s + i, plain);
                i += plain;
                if (i < n)
                        i += put_character(b, s + i, n - i);
        }
        buffer_put(b, "\"", 1);
}

/* RFC 3339 in UTC, without trailing zeros of the fraction. */
static void put_time(struct buffer *b, uint64_t wall)
{
        time_t seconds = (time_t)(wall / USEC_PER_SEC);
        char text[48], fraction[16];
        struct tm tm;
        size_t n;

        if (!gmtime_r(&seconds, &tm))
                return;
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
        put_text(b, text);
        n = (size_t)snprintf(fraction, sizeof(fraction), ".%06u", (unsigned)(wall % USEC_PER_SEC));
        while (n > 0 && (fraction[n - 1] == '0' || fraction[n - 1] == '.'))
                n--;
        buffer_put(b, fraction, n);
        buffer_put_u8(b, 'Z');
}

/* Whole seconds, rounded up; below zero for what is overdue. */
static int64_t seconds_left(int64_t left)
{
        int64_t seconds = left / (int64_t)USEC_PER_SEC;

        return left % (int64_t)USEC_PER_SEC > 0 ? seconds + 1 : seconds;
}

static void put_expiry(struct buffer *b, const struct store_view *v, const struct keys_clock *clock)
{
        struct instant deadline = instant_after(v->renewed, v->ttl);
        int64_t left = (int64_t)(deadline.usec - clock->now.usec);
        char text[40];

        if (!v->has_ttl)
                return;
        put_text(b, ",\"expiration\":\"");
        put_time(b, clock->wall + (uint64_t)left);
        put_text(b, "\"");
        if (seconds_left(left) == 0)
                return;
        (void)snprintf(text, sizeof(text), ",\"ttl\":%" PRId64, seconds_left(left));
        put_text(b, text);
}

static void put_indices(struct buffer *b, const struct store_view *v)
{
        put_u64(b, ",\"modifiedIndex\":", v->modified);
        put_u64(b, ",\"createdIndex\":", v->created);
}

/* What stands before the children of a directory. */
static void put_head(struct buffer *b, const struct store_view *v, const struct keys_clock *clock)
{
        put_text(b, "{\"key\":");
        keys_put_string(b, v->path, strlen(v->path));
        if (v->directory) {
                put_text(b, ",\"dir\":true");
        } else if (v->value) {
                put_text(b, ",\"value\":");
                keys_put_string(b, v->value, v->n_value);
        }
        put_expiry(b, v, clock);
}

static void put_view(struct buffer *b, const struct store_view *v, const struct keys_clock *clock)
{
        put_head(b, v, clock);
        put_indices(b, v);
        buffer_put_u8(b, '}');
}

/* Reads. */

struct reading {
        struct buffer *b;
        const struct keys_listing *listing;
        const struct keys_clock *clock;
};

static int compare_paths(const void *a, const void *b)
{
        const struct store_node *const *x = a, *const *y = b;

        return strcmp(store_node_view(*x).path, store_node_view(*y).path);
}

/* The visible children, to be released by free(). */
static const struct store_node **children_of(const struct store_node *node, size_t *ret_n)
{
        const struct store_node **list = NULL;
        size_t n = 0, n_max = 0;

        for (const struct store_node *c = store_node_first(node); c; c = store_node_next(c)) {
                if (store_node_hidden(c))
                        continue;
                MUST_GROW(list, n, n_max);
                list[n++] = c;
        }
        *ret_n = n;
        return list;
}

static void put_children(const struct reading *r, const struct store_node *node);

static void put_child(const struct reading *r, const struct store_node *node)
{
        struct store_view v = store_node_view(node);

        put_head(r->b, &v, r->clock);
        if (v.directory && r->listing->recursive)
                put_children(r, node);
        put_indices(r->b, &v);
        buffer_put_u8(r->b, '}');
}

/* As deep as a path may be: the recursion is bounded by STORE_KEY_DEPTH_MAX. */
static void put_children(const struct reading *r, const struct store_node *node)
{
        size_t n;
        const struct store_node **children = children_of(node, &n);

        if (r->listing->sorted && n > 0)
                qsort(children, n, sizeof(*children), compare_paths);
        for (size_t i = 0; i < n; i++) {
                put_text(r->b, i == 0 ? ",\"nodes\":[" : ",");
                put_child(r, children[i]);
        }
        if (n > 0)
                put_text(r->b, "]");
        free(children);
}

/* The root has neither key nor indices. */
static void put_root(const struct reading *r, const struct store_node *node)
{
        put_text(r->b, "{\"dir\":true");
        put_children(r, node);
        put_text(r->b, "}");
}

void keys_put_node(struct buffer *b, const struct store_node *node,
                   const struct keys_listing *listing, const struct keys_clock *clock)
{
        const struct reading reading = { b, listing, clock };
        struct store_view v = store_node_view(node);

        put_text(b, "{\"action\":\"get\",\"node\":");
        if (strcmp(v.path, "/") == 0) {
                put_root(&reading, node);
        } else {
                put_head(b, &v, clock);
                if (v.directory)
                        put_children(&reading, node);
                put_indices(b, &v);
                buffer_put_u8(b, '}');
        }
        put_text(b, "}\n");
}

/* Events. */

static bool is_write_of_a_value(const struct store_event *e)
{
        return e->action == STORE_DID_SET || e->action == STORE_DID_CREATE ||
               e->action == STORE_DID_UPDATE || e->action == STORE_DID_COMPARE_AND_SWAP;
}

void keys_put_event(struct buffer *b, const struct store_event *e, bool no_value,
                    const struct keys_clock *clock)
{
        put_text(b, "{\"action\":\"");
        put_text(b, store_action_name(e->action));
        put_text(b, "\"");
        if (!no_value || !is_write_of_a_value(e)) {
                put_text(b, ",\"node\":");
                put_view(b, &e->node, clock);
                if (e->has_previous) {
                        put_text(b, ",\"prevNode\":");
                        put_view(b, &e->previous, clock);
                }
        }
        put_text(b, "}\n");
}

int keys_event_status(const struct store_event *e)
{
        bool is_new = e->action == STORE_DID_CREATE ||
                      (e->action == STORE_DID_SET && !e->has_previous);

        return is_new ? 201 : 200;
}

/* Errors. */

/* clang-format off */
static const struct {
        unsigned code;
        int status;
        const char *message;
} errors[] = {
        { STORE_KEY_NOT_FOUND,       404, "Key not found" },
        { STORE_TEST_FAILED,         412, "Compare failed" },
        { STORE_NOT_FILE,            403, "Not a file" },
        { STORE_NOT_DIRECTORY,       400, "Not a directory" },
        { STORE_NODE_EXIST,          412, "Key already exists" },
        { STORE_ROOT_READ_ONLY,      400, "Root is read only" },
        { STORE_DIRECTORY_NOT_EMPTY, 403, "Directory not empty" },
        { STORE_KEY_FORBIDDEN,       401, "The request requires user authentication" },
        { 201,                       400, "PrevValue is Required in POST form" },
        { 202,                       400, "The given TTL in POST form is not a number" },
        { 203,                       400, "The given index in POST form is not a number" },
        { STORE_INVALID_FIELD,       400, "Invalid field" },
        { INVALID_FORM,              400, "Invalid POST form" },
        { 211,                       400, "Value provided on refresh" },
        { 212,                       400, "A TTL must be provided on refresh" },
        { RAFT_INTERNAL,             500, "Raft Internal Error" },
        { STORE_WATCHER_CLEARED,     400, "watcher is cleared due to etcd recovery" },
        { STORE_INDEX_CLEARED,       400, "The event in requested index is outdated and cleared" },
};
/* clang-format on */

int keys_error_status(unsigned code)
{
        for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
                if (errors[i].code == code)
                        return errors[i].status;
        }
        return 500;
}

static const char *message_of(unsigned code)
{
        for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
                if (errors[i].code == code)
                        return errors[i].message;
        }
        return "Internal error";
}

void keys_put_error(struct buffer *b, const struct keys_error *e)
{
        const char *message = message_of(e->code);

        put_u64(b, "{\"errorCode\":", e->code);
        put_text(b, ",\"message\":");
        keys_put_string(b, message, strlen(message));
        if (e->n_cause > 0) {
                put_text(b, ",\"cause\":");
                keys_put_string(b, e->cause, e->n_cause);
        }
        put_u64(b, ",\"index\":", e->index);
        put_text(b, "}\n");
}
