/*
 * The changes of keys, with the checks in the order of etcd 3.4: which of two errors is answered
 * is part of the protocol. All checks of an operation come before its first effect.
 */
#include "election/store/key.h"

#include <string.h>

#include "election/store/path.h"

/* One change while it is made. */
struct change {
        struct store *store;
        const struct store_key_command *command;
        struct store_entry entry;
        const char *path;
        size_t n_path;
        struct store_node *node; /* what is at the path, if anything */
        struct event *event;
};

static void put_decimal(struct buffer *b, uint64_t value, size_t n_digits_min)
{
        char digits[20];
        size_t n = 0;

        do {
                digits[sizeof(digits) - ++n] = (char)('0' + value % 10);
                value /= 10;
        } while (value > 0 || n < n_digits_min);
        buffer_put(b, digits + sizeof(digits) - n, n);
}

static enum store_error fail(struct change *c, enum store_error error, const char *cause, size_t n)
{
        buffer_clear(&c->store->cause);
        buffer_put(&c->store->cause, cause, n);
        return error;
}

static enum store_error fail_path(struct change *c, enum store_error error)
{
        return fail(c, error, c->path, c->n_path);
}

/* Finds what is at the path; it is no error if that is missing. */
static enum store_error look(struct change *c)
{
        size_t n_cause;
        enum store_error error = tree_lookup(&c->store->tree, c->path, c->n_path, &c->node,
                                             &n_cause);

        if (error == STORE_NOT_DIRECTORY)
                return fail(c, error, c->path, n_cause);
        if (c->node == c->store->tree.root)
                return fail_path(c, STORE_ROOT_READ_ONLY);
        return STORE_OK;
}

/* Finds what must be at the path. */
static enum store_error find(struct change *c)
{
        enum store_error error = look(c);
        size_t n_cause;

        if (error || c->node)
                return error;
        error = tree_lookup(&c->store->tree, c->path, c->n_path, &c->node, &n_cause);
        return fail(c, error, c->path, n_cause);
}

/* Opens the event of a change that will happen. */
static void begin(struct change *c, enum store_action action)
{
        c->event = event_make(action, c->store->index + 1, c->path, c->n_path);
        c->event->shown.refresh = c->command->refresh && action != STORE_DID_CREATE;
        if (c->node)
                event_set_previous(c->event, c->node);
}

static void set_ttl(struct change *c)
{
        if (c->command->has_ttl)
                tree_grant(&c->store->tree, c->node, c->command->ttl, c->entry);
        else
                tree_drop_ttl(&c->store->tree, c->node);
}

/* The change is made: counts it, and shows it to whom it concerns. */
static enum store_error finish(struct change *c)
{
        c->store->index++;
        watch_publish(&c->store->watch, c->event);
        return STORE_OK;
}

static struct store_value *new_value(const struct change *c)
{
        const struct store_key_command *k = c->command;

        if (k->directory)
                return NULL;
        return value_new(k->value, k->n_value);
}

static enum store_error set(struct change *c)
{
        enum store_error error = c->command->refresh ? find(c) : look(c);
        uint64_t index = c->store->index + 1;

        if (error)
                return error;
        if (c->node && node_is_directory(c->node))
                return fail_path(c, STORE_NOT_FILE);

        begin(c, STORE_DID_SET);
        if (!c->node)
                c->node = tree_add(&c->store->tree, c->path, c->n_path, new_value(c), index);
        else if (!c->command->refresh)
                tree_set_value(c->node, new_value(c));
        c->node->created = index;
        c->node->modified = index;
        set_ttl(c);
        event_set_node(c->event, c->node);
        return finish(c);
}

static enum store_error create(struct change *c)
{
        enum store_error error = look(c);

        if (error)
                return error;
        if (c->node)
                return fail_path(c, STORE_NODE_EXIST);

        begin(c, STORE_DID_CREATE);
        c->node = tree_add(&c->store->tree, c->path, c->n_path, new_value(c), c->store->index + 1);
        set_ttl(c);
        event_set_node(c->event, c->node);
        return finish(c);
}

/* The child of a directory that is named after the index that it gets. */
static enum store_error create_in_order(struct change *c)
{
        struct buffer path = { 0 };
        enum store_error error;

        if (c->n_path > 1)
                buffer_put(&path, c->path, c->n_path);
        buffer_put_u8(&path, '/');
        put_decimal(&path, c->store->index + 1, 20);
        if (path.n > STORE_KEY_BYTES_MAX ||
            path_depth(c->path, c->n_path) + 1 > STORE_KEY_DEPTH_MAX) {
                buffer_done(&path);
                return fail_path(c, STORE_INVALID_FIELD);
        }
        c->path = (const char *)path.bytes;
        c->n_path = path.n;
        error = create(c);
        buffer_done(&path);
        return error;
}

/* What update and compare-and-swap do once they may: the node stays, its value and TTL change. */
static enum store_error replace(struct change *c, enum store_action action)
{
        const struct store_key_command *k = c->command;

        begin(c, action);
        if (!node_is_directory(c->node) && !k->refresh)
                tree_set_value(c->node, value_new(k->value, k->n_value));
        c->node->modified = c->store->index + 1;
        set_ttl(c);
        event_set_node(c->event, c->node);
        return finish(c);
}

static enum store_error update(struct change *c)
{
        enum store_error error = find(c);

        if (error)
                return error;
        if (node_is_directory(c->node) && c->command->n_value > 0)
                return fail_path(c, STORE_NOT_FILE);
        return replace(c, STORE_DID_UPDATE);
}

static bool has_comparison(const struct store_key_command *k)
{
        return k->previous_value || k->previous_index > 0;
}

static enum store_error fail_comparison(struct change *c, bool value_fits, bool index_fits)
{
        const struct store_key_command *k = c->command;
        const struct store_value *value = c->node->value;
        struct buffer *b = &c->store->cause;

        buffer_clear(b);
        if (!value_fits) {
                buffer_put(b, "[", 1);
                buffer_put(b, k->previous_value, k->n_previous_value);
                buffer_put(b, " != ", 4);
                buffer_put(b, value->bytes, value->n);
                buffer_put(b, "]", 1);
        }
        if (!value_fits && !index_fits)
                buffer_put(b, " ", 1);
        if (!index_fits) {
                buffer_put(b, "[", 1);
                put_decimal(b, k->previous_index, 1);
                buffer_put(b, " != ", 4);
                put_decimal(b, c->node->modified, 1);
                buffer_put(b, "]", 1);
        }
        return STORE_TEST_FAILED;
}

/* Finds a file and holds what the command expects against it. */
static enum store_error compare(struct change *c)
{
        const struct store_key_command *k = c->command;
        enum store_error error = find(c);
        bool value_fits, index_fits;

        if (error)
                return error;
        if (node_is_directory(c->node))
                return fail_path(c, STORE_NOT_FILE);
        value_fits = !k->previous_value ||
                     (k->n_previous_value == c->node->value->n &&
                      memcmp(k->previous_value, c->node->value->bytes, k->n_previous_value) == 0);
        index_fits = k->previous_index == 0 || k->previous_index == c->node->modified;
        if (!value_fits || !index_fits)
                return fail_comparison(c, value_fits, index_fits);
        return STORE_OK;
}

static enum store_error compare_and_swap(struct change *c)
{
        enum store_error error = compare(c);

        return error ? error : replace(c, STORE_DID_COMPARE_AND_SWAP);
}

/* Each node that goes tells those who wait for it, and is remembered for those who ask later. */
static void on_removed(const struct store_node *n, void *userdata)
{
        struct change *c = userdata;

        if (n == c->node)
                return;
        event_add_removed(c->event, n);
        watch_wake_removed(&c->store->watch, c->event, n->path, n->n_path);
}

/* What all removals do once they may. */
static enum store_error remove_node(struct change *c, enum store_action action)
{
        begin(c, action);
        c->event->shown.refresh = false;
        event_set_removed(c->event, c->node);
        tree_remove(&c->store->tree, c->node, on_removed, c);
        c->node = NULL;
        return finish(c);
}

static enum store_error remove_key(struct change *c)
{
        enum store_error error = find(c);

        if (error)
                return error;
        if (node_is_directory(c->node)) {
                if (!c->command->directory && !c->command->recursive)
                        return fail_path(c, STORE_NOT_FILE);
                if (c->node->first && !c->command->recursive)
                        return fail_path(c, STORE_DIRECTORY_NOT_EMPTY);
        }
        return remove_node(c, STORE_DID_DELETE);
}

static enum store_error compare_and_delete(struct change *c)
{
        enum store_error error = compare(c);

        return error ? error : remove_node(c, STORE_DID_COMPARE_AND_DELETE);
}

static enum store_error count(struct store_counter *counter, enum store_error error)
{
        if (error)
                counter->fail++;
        else
                counter->success++;
        return error;
}

/* Which operation a PUT means: section 4 of the API. */
static enum store_error put(struct change *c)
{
        struct store_stats *stats = &c->store->stats;

        if (c->command->condition == STORE_MUST_NOT_EXIST)
                return count(&stats->creates, create(c));
        if (has_comparison(c->command))
                return count(&stats->compare_and_swaps, compare_and_swap(c));
        if (c->command->condition == STORE_MUST_EXIST)
                return count(&stats->updates, update(c));
        return count(&stats->sets, set(c));
}

static enum store_error remove_something(struct change *c)
{
        struct store_stats *stats = &c->store->stats;

        if (has_comparison(c->command))
                return count(&stats->compare_and_deletes, compare_and_delete(c));
        return count(&stats->deletes, remove_key(c));
}

static bool is_forbidden(const struct change *c)
{
        const size_t n = sizeof(STORE_SYSTEM_DIRECTORY) - 1;

        if (c->command->system || c->n_path < n)
                return false;
        return memcmp(c->path, STORE_SYSTEM_DIRECTORY, n) == 0 &&
               (c->n_path == n || c->path[n] == '/');
}

static enum store_error perform(struct change *c)
{
        if (is_forbidden(c))
                return fail_path(c, STORE_KEY_FORBIDDEN);
        switch (c->command->action) {
        case STORE_SET:
                return put(c);
        case STORE_CREATE:
                return count(&c->store->stats.creates, create_in_order(c));
        case STORE_DELETE:
                return remove_something(c);
        }
        return STORE_INVALID_FIELD;
}

struct event *key_change(struct store *s, const struct store_key_command *k, struct store_entry e,
                         struct store_result *ret)
{
        struct change c = {
                .store = s,
                .command = k,
                .entry = e,
                .path = k->path,
                .n_path = strlen(k->path),
        };

        ret->error = perform(&c);
        if (ret->error == STORE_OK) {
                ret->event = &c.event->shown;
                return c.event;
        }
        ret->n_cause = s->cause.n;
        buffer_put_u8(&s->cause, 0);
        ret->cause = (const char *)s->cause.bytes;
        return NULL;
}

bool key_expire(struct store *s, const struct store_expiry *expiry, struct store_entry e)
{
        const struct store_key_command nothing = { 0 };
        struct change c = {
                .store = s,
                .command = &nothing,
                .entry = e,
                .path = expiry->name,
                .n_path = strlen(expiry->name),
        };

        c.node = tree_find(&s->tree, c.path, c.n_path);
        if (!c.node || !c.node->lease || c.node->lease->granted != expiry->renewed)
                return false;
        s->stats.expirations++;
        (void)remove_node(&c, STORE_DID_EXPIRE); /* nothing is left to refuse it */
        return true;
}
