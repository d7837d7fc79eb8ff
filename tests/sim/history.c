/* Histories of clients, replicas and watchers; see history.h. */
#include "tests/sim/history.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "election/base/memory.h"

#define FAILURE_SIZE 400

enum fate {
        FATE_OPEN, /* unknown as long as nothing is heard */
        FATE_DONE,
        FATE_FAILED, /* by the store's own rules, at some state */
        FATE_REFUSED,
};

struct call {
        struct history_call asked;
        enum fate fate;
        uint64_t index; /* of the change that it made; 0: none */
};

struct change {
        struct history_change shown;
        uint64_t claimed; /* by a call that was told so; 0: none */
};

/* What a key is from an index on. */
struct version {
        uint64_t index;
        bool exists;
        bool has_ttl;
        uint64_t number;
        uint64_t created;
        uint64_t modified;
};

struct key {
        struct version *versions;
        size_t n, n_max;
        uint64_t deletions; /* that were shown */
        uint64_t deletions_asked; /* calls that may have made one of them */
};

struct history {
        bool failed;
        char failure[FAILURE_SIZE];
        uint64_t floor;
        struct call *calls; /* call 1 first */
        size_t n_calls, n_calls_max;
        struct change *changes; /* by index */
        size_t n_changes, n_changes_max;
        struct key keys[HISTORY_KEYS];
};

struct history *history_new(void)
{
        return must_alloc(1, sizeof(struct history));
}

void history_free(struct history *h)
{
        if (!h)
                return;
        for (unsigned i = 0; i < HISTORY_KEYS; i++)
                free(h->keys[i].versions);
        free(h->calls);
        free(h->changes);
        free(h);
}

__attribute__((format(printf, 2, 3))) static void fail(struct history *h, const char *format, ...)
{
        va_list args;

        if (h->failed)
                return;
        h->failed = true;
        va_start(args, format);
        (void)vsnprintf(h->failure, sizeof(h->failure), format, args);
        va_end(args);
}

const char *history_failure(const struct history *h)
{
        return h->failed ? h->failure : NULL;
}

uint64_t history_floor(const struct history *h)
{
        return h->floor;
}

static void shown(struct history *h, uint64_t index)
{
        if (index > h->floor)
                h->floor = index;
}

static struct call *call_of(struct history *h, uint64_t number)
{
        return number >= 1 && number <= h->n_calls ? &h->calls[number - 1] : NULL;
}

void history_begin(struct history *h, uint64_t number, const struct history_call *c)
{
        while (h->n_calls < number) {
                MUST_GROW(h->calls, h->n_calls, h->n_calls_max);
                h->calls[h->n_calls++] = (struct call){ .asked = { .is_read = true } };
        }
        h->calls[number - 1] = (struct call){ .asked = *c };
        if (!c->is_read && c->action == STORE_DELETE && c->key < HISTORY_KEYS)
                h->keys[c->key].deletions_asked++;
}

/* What the key was when the store's index was @index. */
static struct version version_at(const struct history *h, unsigned key, uint64_t index)
{
        const struct key *k = &h->keys[key];
        size_t low = 0, high = k->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (k->versions[middle].index <= index)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low > 0 ? k->versions[low - 1] : (struct version){ 0 };
}

/* What a request that asks like this would do to an existing or a missing file. */
static enum store_action action_of(const struct history_call *c)
{
        bool compares = c->previous_number != 0 || c->previous_index != 0;

        if (c->action == STORE_DELETE)
                return compares ? STORE_DID_COMPARE_AND_DELETE : STORE_DID_DELETE;
        if (c->condition == STORE_MUST_NOT_EXIST || c->action == STORE_CREATE)
                return STORE_DID_CREATE;
        if (compares)
                return STORE_DID_COMPARE_AND_SWAP;
        return c->condition == STORE_MUST_EXIST ? STORE_DID_UPDATE : STORE_DID_SET;
}

static bool compares_equal(const struct history_call *c, const struct version *v)
{
        return (c->previous_number == 0 || c->previous_number == v->number) &&
               (c->previous_index == 0 || c->previous_index == v->modified);
}

/* The request's own conditions, in the state that it met. */
static void check_conditions(struct history *h, const struct history_change *c,
                             const struct history_call *asked, const struct version *before)
{
        if (c->action != action_of(asked) || c->key != asked->key)
                fail(h, "change %" PRIu64 " (%s of key %u) is not what call %" PRIu64 " asked for",
                     c->index, store_action_name(c->action), c->key, c->number);
        else if (!compares_equal(asked, before))
                fail(h,
                     "call %" PRIu64 " compares with call %" PRIu64 " or index %" PRIu64
                     ", but change %" PRIu64 " met call %" PRIu64 " of index %" PRIu64,
                     c->number, asked->previous_number, asked->previous_index, c->index,
                     before->number, before->modified);
}

/* Once, and not before it was asked for. */
static void check_origin(struct history *h, const struct history_change *c)
{
        struct call *call = call_of(h, c->number);

        if (!call || call->asked.is_read) {
                fail(h, "change %" PRIu64 " writes for call %" PRIu64 ", which nobody made",
                     c->index, c->number);
                return;
        }
        if (call->index != 0)
                fail(h,
                     "call %" PRIu64 " was carried out twice, as change %" PRIu64 " and %" PRIu64,
                     c->number, call->index, c->index);
        if (call->fate == FATE_FAILED || call->fate == FATE_REFUSED)
                fail(h, "call %" PRIu64 " was %s, and then carried out as change %" PRIu64,
                     c->number, call->fate == FATE_FAILED ? "answered with an error" : "refused",
                     c->index);
        if (c->index <= call->asked.floor)
                fail(h,
                     "call %" PRIu64 " was carried out as change %" PRIu64 ", but %" PRIu64
                     " was there before it was made",
                     c->number, c->index, call->asked.floor);
        if (call->index == 0)
                call->index = c->index;
}

/* What may happen to a file in this state. */
static bool is_possible(const struct history_change *c, const struct version *before)
{
        switch (c->action) {
        case STORE_DID_SET:
                return true;
        case STORE_DID_CREATE:
                return !before->exists;
        case STORE_DID_UPDATE:
        case STORE_DID_COMPARE_AND_SWAP:
        case STORE_DID_DELETE:
        case STORE_DID_COMPARE_AND_DELETE:
                return before->exists;
        case STORE_DID_EXPIRE:
                return before->exists && before->has_ttl;
        case STORE_DID_GET:
                break;
        }
        return false;
}

static bool removes(enum store_action action)
{
        return action == STORE_DID_DELETE || action == STORE_DID_COMPARE_AND_DELETE ||
               action == STORE_DID_EXPIRE;
}

/* One more link of the chain of a key. */
static void add_version(struct history *h, const struct history_change *c)
{
        struct key *k = &h->keys[c->key];
        struct version before = k->n > 0 ? k->versions[k->n - 1] : (struct version){ 0 };

        if (!is_possible(c, &before))
                fail(h, "change %" PRIu64 ", %s of key %u, which %s", c->index,
                     store_action_name(c->action), c->key,
                     before.exists ? "exists" : "is not there");
        if (c->has_previous != before.exists ||
            (before.exists &&
             (c->previous_number != before.number || c->previous_modified != before.modified)))
                fail(h,
                     "change %" PRIu64 " of key %u replaces call %" PRIu64 " of index %" PRIu64
                     ", but the change before it was call %" PRIu64 ", index %" PRIu64,
                     c->index, c->key, c->previous_number, c->previous_modified, before.number,
                     before.modified);
        if (c->number != 0 && call_of(h, c->number))
                check_conditions(h, c, &call_of(h, c->number)->asked, &before);
        k->deletions += removes(c->action) && c->action != STORE_DID_EXPIRE;
        MUST_GROW(k->versions, k->n, k->n_max);
        k->versions[k->n++] = (struct version){ .index = c->index,
                                                .exists = !removes(c->action),
                                                .has_ttl = c->has_ttl,
                                                .number = c->number,
                                                .created = c->created,
                                                .modified = c->index };
}

void history_changed(struct history *h, const struct history_change *c)
{
        if (c->index < h->n_changes) {
                const struct history_change *known = &h->changes[c->index].shown;

                if (known->index == 0)
                        fail(h, "change %" PRIu64 " is new to those who are at %zu", c->index,
                             h->n_changes - 1);
                else if (known->digest != c->digest)
                        fail(h, "two replicas show different changes under index %" PRIu64,
                             c->index);
                return;
        }
        while (h->n_changes < c->index) {
                MUST_GROW(h->changes, h->n_changes, h->n_changes_max);
                h->changes[h->n_changes++] = (struct change){ 0 };
        }
        MUST_GROW(h->changes, h->n_changes, h->n_changes_max);
        h->changes[h->n_changes++] = (struct change){ .shown = *c };
        if (c->number != 0)
                check_origin(h, c);
        if (c->key < HISTORY_KEYS)
                add_version(h, c);
}

static void check_written(struct history *h, uint64_t number, struct call *call, uint64_t index)
{
        struct change *change = index < h->n_changes ? &h->changes[index] : NULL;
        const struct history_change *c = change ? &change->shown : NULL;

        if (!c || c->index == 0 || change->claimed != 0 || c->key != call->asked.key ||
            (call->asked.key < HISTORY_KEYS && c->action != action_of(&call->asked)) ||
            (!removes(c->action) && c->number != number)) {
                fail(h, "call %" PRIu64 " is said to be change %" PRIu64 ", which is another's",
                     number, index);
                return;
        }
        change->claimed = number;
        if (removes(action_of(&call->asked)) && call->index == 0)
                call->index = index;
        if (index <= call->asked.floor)
                fail(h,
                     "call %" PRIu64 " is said to be change %" PRIu64 ", but %" PRIu64
                     " was there before it was made",
                     number, index, call->asked.floor);
}

/* Whether the state gives reason for the error. Other paths may be directories: not looked into. */
static bool is_justified(const struct history_call *c, enum store_error error,
                         const struct version *v)
{
        switch (error) {
        case STORE_KEY_NOT_FOUND:
                return !v->exists;
        case STORE_NODE_EXIST:
                return v->exists && action_of(c) == STORE_DID_CREATE;
        case STORE_TEST_FAILED:
                return v->exists && !compares_equal(c, v);
        default:
                return false;
        }
}

static void check_failed(struct history *h, uint64_t number, const struct call *call,
                         enum store_error error, uint64_t index)
{
        struct version v;

        if (index < call->asked.floor)
                fail(h,
                     "call %" PRIu64 " failed at state %" PRIu64 ", but %" PRIu64
                     " was there before it was made",
                     number, index, call->asked.floor);
        if (call->index != 0)
                fail(h, "call %" PRIu64 " was carried out as change %" PRIu64 ", and failed",
                     number, call->index);
        if (call->asked.key >= HISTORY_KEYS)
                return;
        v = version_at(h, call->asked.key, index);
        if (!is_justified(&call->asked, error, &v))
                fail(h,
                     "call %" PRIu64 " failed by error %d at state %" PRIu64
                     ", where key %u %s%" PRIu64,
                     number, (int)error, index, call->asked.key,
                     v.exists ? "is of call " : "is not there; call ", v.number);
}

void history_wrote(struct history *h, uint64_t number, enum store_error error, uint64_t index)
{
        struct call *call = call_of(h, number);

        if (!call || error == STORE_ANSWER_LOST)
                return;
        if (error == STORE_OK)
                check_written(h, number, call, index);
        else
                check_failed(h, number, call, error, index);
        call->fate = error == STORE_OK ? FATE_DONE : FATE_FAILED;
        if (error != STORE_OK && call->asked.action == STORE_DELETE &&
            call->asked.key < HISTORY_KEYS)
                h->keys[call->asked.key].deletions_asked--;
        shown(h, index);
}

void history_refused(struct history *h, uint64_t number)
{
        struct call *call = call_of(h, number);

        if (!call || call->asked.is_read)
                return;
        call->fate = FATE_REFUSED;
        if (call->asked.action == STORE_DELETE && call->asked.key < HISTORY_KEYS)
                h->keys[call->asked.key].deletions_asked--;
        if (call->index != 0)
                fail(h, "call %" PRIu64 " was refused, but is change %" PRIu64, number,
                     call->index);
}

static void check_found(struct history *h, unsigned key, const struct history_found *f,
                        const char *what)
{
        struct version v = version_at(h, key, f->index);

        if (f->exists != v.exists ||
            (v.exists && (f->number != v.number || f->modified != v.modified)))
                fail(h,
                     "%s of key %u at state %" PRIu64 " shows call %" PRIu64 " of index %" PRIu64
                     ", but it was call %" PRIu64 ", index %" PRIu64,
                     what, key, f->index, f->exists ? f->number : 0, f->exists ? f->modified : 0,
                     v.exists ? v.number : 0, v.exists ? v.modified : 0);
}

void history_read(struct history *h, uint64_t number, const struct history_found *f)
{
        const struct call *call = call_of(h, number);

        if (!call)
                return;
        if (f->index < call->asked.floor)
                fail(h,
                     "read %" PRIu64 " of key %u is stale: it shows state %" PRIu64 ", but %" PRIu64
                     " was there before it was asked",
                     number, call->asked.key, f->index, call->asked.floor);
        check_found(h, call->asked.key, f, "a read");
        shown(h, f->index);
}

void history_read_locally(struct history *h, unsigned key, uint64_t before,
                          const struct history_found *f)
{
        if (f->index < before)
                fail(h, "a replica goes back from state %" PRIu64 " to %" PRIu64, before, f->index);
        check_found(h, key, f, "a plain read");
}

static bool concerns(const struct history_change *c, unsigned key)
{
        return c->index != 0 && (key == HISTORY_ALL ? c->key < HISTORY_KEYS : c->key == key);
}

uint64_t history_next(const struct history *h, unsigned key, uint64_t since)
{
        for (uint64_t i = since; i < h->n_changes; i++)
                if (concerns(&h->changes[i].shown, key))
                        return i;
        return 0;
}

void history_watched(struct history *h, unsigned key, uint64_t since, uint64_t index,
                     uint64_t number)
{
        uint64_t next = history_next(h, key, since);

        if (next != index)
                fail(h,
                     "who watches since %" PRIu64 " is told of change %" PRIu64
                     ", but the next one is %" PRIu64,
                     since, index, next);
        else if (h->changes[index].shown.number != number)
                fail(h,
                     "who watches is told of call %" PRIu64 " under index %" PRIu64
                     ", but it was call %" PRIu64,
                     number, index, h->changes[index].shown.number);
}

struct history_found history_newest(const struct history *h, unsigned key)
{
        struct version v = version_at(h, key, UINT64_MAX);

        return (struct history_found){
                .index = v.index, .exists = v.exists, .number = v.number, .modified = v.modified
        };
}

void history_end(struct history *h)
{
        for (unsigned i = 0; i < HISTORY_KEYS; i++)
                if (h->keys[i].deletions > h->keys[i].deletions_asked)
                        fail(h,
                             "key %u was deleted %" PRIu64 " times, but only %" PRIu64
                             " calls can have done it",
                             i, h->keys[i].deletions, h->keys[i].deletions_asked);
}
