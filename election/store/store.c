/* The state machine as a whole: one function for each kind of command, and the ways to read. */
#include "election/store/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "election/store/due.h"
#include "election/store/key.h"

struct store *store_new(void)
{
        struct store *s = must_alloc(1, sizeof(*s));

        tree_init(&s->tree);
        return s;
}

bool store_free_some(struct store *s, size_t n)
{
        if (tree_free_some(&s->tree, n))
                return true;
        store_command_done(&s->command);
        watch_done(&s->watch);
        session_done(&s->sessions);
        buffer_done(&s->cause);
        free(s);
        return false;
}

void store_free(struct store *s)
{
        if (s)
                (void)store_free_some(s, SIZE_MAX); /* in one go, so nothing is left */
}

static void apply_renew(struct store *s, const struct store_command *c, struct store_entry e,
                        struct store_result *ret)
{
        for (size_t i = 0; i < c->n; i++)
                s->outcomes[i] = (struct store_outcome){
                        .name = c->renewals[i].service,
                        .kind = STORE_LEASE_MASTER,
                        .epoch = c->renewals[i].epoch,
                        .sequence = c->renewals[i].sequence,
                        .accepted = lease_renew(&s->leases, c, &c->renewals[i], e),
                };
        ret->outcomes = s->outcomes;
        ret->n_outcomes = c->n;
}

static bool expire(struct store *s, const struct store_expiry *expiry, struct store_entry e)
{
        switch (expiry->kind) {
        case STORE_LEASE_MASTER:
                return lease_expire(&s->leases, expiry, e);
        case STORE_LEASE_KEY:
                return key_expire(s, expiry, e);
        }
        return false;
}

static void apply_expire(struct store *s, const struct store_command *c, struct store_entry e,
                         struct store_result *ret)
{
        for (size_t i = 0; i < c->n; i++)
                s->outcomes[i] = (struct store_outcome){
                        .name = c->expiries[i].name,
                        .kind = c->expiries[i].kind,
                        .epoch = c->expiries[i].epoch,
                        .accepted = expire(s, &c->expiries[i], e),
                };
        ret->outcomes = s->outcomes;
        ret->n_outcomes = c->n;
}

static void refuse_lost(struct store_result *ret)
{
        ret->error = STORE_ANSWER_LOST;
        ret->cause = "the answer to this request is no longer known";
        ret->n_cause = strlen(ret->cause);
}

static void repeat(const struct session_answer *a, struct store_result *ret)
{
        ret->repeated = true;
        ret->error = a->error;
        ret->index = a->index;
        ret->event = a->event ? &a->event->shown : NULL;
        ret->cause = a->cause ? a->cause->bytes : NULL;
        ret->n_cause = a->cause ? a->cause->n : 0;
}

static void change_once(struct store *s, const struct store_command *c, struct store_entry e,
                        struct store_result *ret)
{
        struct session_answer answer = { .sequence = c->origin.sequence };
        struct session *session = session_open(&s->sessions, c, e.index);
        const struct session_answer *given;

        given = session ? session_find(session, c->origin.sequence) : NULL;
        if (given) {
                repeat(given, ret);
                return;
        }
        if (!session || !session_is_new(session, c->origin.sequence)) {
                refuse_lost(ret);
                return;
        }
        answer.event = event_ref(key_change(s, &c->key, e, ret));
        answer.cause = ret->cause ? value_new(ret->cause, ret->n_cause) : NULL;
        answer.error = ret->error;
        answer.index = s->index;
        session_keep(session, answer);
}

static void apply_key(struct store *s, const struct store_command *c, struct store_entry e,
                      struct store_result *ret)
{
        if (c->origin.node == NODE_NOBODY || c->origin.sequence == 0)
                (void)key_change(s, &c->key, e, ret); /* the event is lent in @ret */
        else
                change_once(s, c, e, ret);
        if (!ret->repeated)
                ret->index = s->index;
}

static void apply(struct store *s, const struct store_command *c, struct store_entry e,
                  struct store_result *ret)
{
        memcpy(ret->service, c->service, sizeof(ret->service));
        ret->epoch = c->epoch;
        switch (c->type) {
        case STORE_KEY:
                apply_key(s, c, e, ret);
                return;
        case STORE_ACQUIRE:
                ret->accepted = lease_acquire(&s->leases, c, e);
                ret->epoch = ret->accepted ? e.index : 0;
                return;
        case STORE_RENEW:
                apply_renew(s, c, e, ret);
                return;
        case STORE_RELEASE:
                ret->accepted = lease_release(&s->leases, c, e);
                return;
        case STORE_CLOSE:
                ret->accepted = lease_close(&s->leases, c);
                return;
        case STORE_EXPIRE:
                apply_expire(s, c, e, ret);
                return;
        case STORE_FENCED:
                ret->accepted = lease_fenced(&s->leases, c, e);
                return;
        }
}

void store_apply(struct store *s, uint64_t index, const uint8_t *bytes, size_t n,
                 struct instant noted, struct store_result *ret)
{
        const struct store_entry e = { .index = index, .noted = noted };

        assert(index > s->applied);
        s->applied = index;
        watch_begin(&s->watch);
        store_command_done(&s->command);
        *ret = (struct store_result){ .index = s->index };
        if (store_command_decode(bytes, n, &s->command) == 0) {
                ret->valid = true;
                ret->type = s->command.type;
                ret->origin = s->command.origin;
                apply(s, &s->command, e, ret);
        }
        if (ret->type != STORE_KEY)
                ret->index = s->index;
        ret->woken = s->watch.woken;
        ret->n_woken = s->watch.n_woken;
}

uint64_t store_index(const struct store *s)
{
        return s->index;
}

uint64_t store_applied(const struct store *s)
{
        return s->applied;
}

const struct store_lease *store_lease(const struct store *s, const char *service)
{
        return lease_find(&s->leases, service);
}

const struct store_lease *store_lease_at(const struct store *s, size_t i)
{
        return i < s->leases.n ? &s->leases.leases[i] : NULL;
}

size_t store_leases_due(const struct store *s, struct instant now, struct store_expiry *ret,
                        size_t max)
{
        const struct due *keys[STORE_BATCH_MAX];
        size_t n, n_keys;

        max = max < STORE_BATCH_MAX ? max : STORE_BATCH_MAX;
        n = lease_list_due(&s->leases, now, ret, max);
        n_keys = due_list(s->tree.due, now, keys, max - n);
        for (size_t i = 0; i < n_keys; i++)
                ret[n++] = (struct store_expiry){
                        .kind = STORE_LEASE_KEY,
                        .name = (char *)keys[i]->node->path, /* lent: the caller only reads it */
                        .renewed = keys[i]->granted,
                };
        return n;
}

struct instant store_next_due(const struct store *s, struct instant now)
{
        return instant_earlier(lease_next_due(&s->leases, now), due_next(s->tree.due, now));
}

static bool key_attests(const struct tree *t, const struct store_expiry *e, struct instant now)
{
        const struct store_node *n = tree_find(t, e->name, strlen(e->name));

        /* Log indexes only rise: a grant that no longer fits never fits again. */
        if (!n || !n->lease || n->lease->granted != e->renewed)
                return true;
        return instant_reached(n->lease->deadline, now);
}

bool store_attests(const struct store *s, const struct store_expiry *e, struct instant now)
{
        if (e->renewed > s->applied || e->epoch > e->renewed)
                return false;
        switch (e->kind) {
        case STORE_LEASE_MASTER:
                return lease_attests(&s->leases, e, now);
        case STORE_LEASE_KEY:
                return key_attests(&s->tree, e, now);
        }
        return false;
}

void store_notes_reset(struct store *s, struct instant now)
{
        lease_reset_notes(&s->leases, now);
        s->tree.due = due_reset(s->tree.due, now);
}

enum store_error store_get(const struct store *s, const char *path, const struct store_node **ret)
{
        struct store_node *n;
        size_t n_cause;
        enum store_error error = tree_lookup(&s->tree, path, strlen(path), &n, &n_cause);

        if (error == STORE_OK)
                *ret = n;
        return error;
}

size_t store_get_cause(const struct store *s, const char *path, char *ret, size_t size)
{
        struct store_node *node;
        size_t n;

        if (size == 0)
                return 0;
        (void)tree_lookup(&s->tree, path, strlen(path), &node, &n); /* only @n is of interest */
        n = n < size ? n : size - 1;
        memcpy(ret, path, n);
        ret[n] = '\0';
        return n;
}

uint64_t store_history_oldest(const struct store *s)
{
        return watch_oldest(&s->watch, s->index);
}

enum store_error store_watch_add(struct store *s, const char *path, bool recursive, uint64_t since,
                                 const struct store_event **ret_event, uint64_t *ret_watcher)
{
        size_t n = strlen(path);
        struct event *e = NULL;
        uint64_t number;

        if (since > 0 && since <= s->index) {
                if (since < store_history_oldest(s))
                        return STORE_INDEX_CLEARED;
                e = watch_search(&s->watch, path, n, recursive, since);
        }
        if (e) {
                *ret_event = &e->shown;
                return STORE_OK;
        }
        number = watch_add(&s->watch, path, n, recursive, since);
        if (number == 0)
                return STORE_WATCHER_CLEARED;
        *ret_event = NULL;
        *ret_watcher = number;
        return STORE_OK;
}

enum store_error store_watch_stream(struct store *s, const char *path, bool recursive,
                                    uint64_t since, uint64_t *ret_watcher)
{
        uint64_t number;

        if (since > 0 && since <= s->index && since < store_history_oldest(s))
                return STORE_INDEX_CLEARED;
        number = watch_stream(&s->watch, path, strlen(path), recursive, since);
        if (number == 0)
                return STORE_WATCHER_CLEARED;
        *ret_watcher = number;
        return STORE_OK;
}

bool store_watch_is_over(const struct store *s, uint64_t watcher)
{
        return watch_is_over(&s->watch, watcher);
}

size_t store_watch_move(struct store *to, struct store *from, const uint64_t **ret_woken)
{
        watch_move(&to->watch, to->index, &from->watch, from->index);
        *ret_woken = to->watch.woken;
        return to->watch.n_woken;
}

struct store_stats store_stats(const struct store *s)
{
        struct store_stats stats = s->stats;

        stats.watchers = watch_count(&s->watch);
        return stats;
}

const struct store_event *store_watch_take(struct store *s, uint64_t watcher)
{
        return watch_take(&s->watch, watcher);
}

void store_watch_remove(struct store *s, uint64_t watcher)
{
        watch_remove(&s->watch, watcher);
}

const char *store_error_message(enum store_error error)
{
        switch (error) {
        case STORE_OK:
                return "";
        case STORE_KEY_NOT_FOUND:
                return "Key not found";
        case STORE_TEST_FAILED:
                return "Compare failed";
        case STORE_NOT_FILE:
                return "Not a file";
        case STORE_NOT_DIRECTORY:
                return "Not a directory";
        case STORE_NODE_EXIST:
                return "Key already exists";
        case STORE_ROOT_READ_ONLY:
                return "Root is read only";
        case STORE_DIRECTORY_NOT_EMPTY:
                return "Directory not empty";
        case STORE_KEY_FORBIDDEN:
                return "The request requires user authentication";
        case STORE_INVALID_FIELD:
                return "Invalid field";
        case STORE_ANSWER_LOST:
                return "Raft Internal Error";
        case STORE_WATCHER_CLEARED:
                return "watcher is cleared due to etcd recovery";
        case STORE_INDEX_CLEARED:
                return "The event in requested index is outdated and cleared";
        }
        return "Unknown error";
}

const char *store_action_name(enum store_action action)
{
        switch (action) {
        case STORE_DID_GET:
                return "get";
        case STORE_DID_SET:
                return "set";
        case STORE_DID_CREATE:
                return "create";
        case STORE_DID_UPDATE:
                return "update";
        case STORE_DID_COMPARE_AND_SWAP:
                return "compareAndSwap";
        case STORE_DID_DELETE:
                return "delete";
        case STORE_DID_COMPARE_AND_DELETE:
                return "compareAndDelete";
        case STORE_DID_EXPIRE:
                return "expire";
        }
        return "unknown";
}
