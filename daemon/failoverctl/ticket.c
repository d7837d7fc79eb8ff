/* Tickets, as requests to the key store. */
#include "daemon/failoverctl/ticket.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

enum { TOKEN_BYTES = 16 };

#define REFUSED_PAUSE (50 * USEC_PER_MSEC)

/* No two tickets ever have the same name: a request that arrives late harms only its own sender. */
static bool make_token(char ret[static 2 * TOKEN_BYTES + 1])
{
        unsigned char bytes[TOKEN_BYTES];

        if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
                fprintf(stderr, "failoverctl: no random numbers: %s\n", strerror(errno));
                return false;
        }
        for (size_t i = 0; i < sizeof(bytes); i++)
                (void)snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
        return true;
}

bool ticket_init(struct ticket *t, struct ctl *c, const char *kind, const char *name,
                 const char *value, usec_t ttl)
{
        char token[2 * TOKEN_BYTES + 1];
        size_t n;

        *t = (struct ticket){ .c = c, .value = value, .ttl = ttl, .limit = INSTANT_FOREVER };
        if (!*name || strlen(kind) + strlen(name) + sizeof(token) + 2 > sizeof(t->key)) {
                fprintf(stderr, "failoverctl: a name has 1 to %d bytes\n",
                        CTL_KEY_MAX - (int)sizeof(token) - 64);
                return false;
        }
        if (name[0] == '/')
                (void)snprintf(t->directory, sizeof(t->directory), "%s", name);
        else
                (void)snprintf(t->directory, sizeof(t->directory), "%s/%s", kind, name);
        n = strlen(t->directory);
        while (n > 1 && t->directory[n - 1] == '/')
                t->directory[--n] = '\0';
        if (!make_token(token))
                return false;
        (void)snprintf(t->key, sizeof(t->key), "%.*s/%s", (int)n, t->directory, token);
        return true;
}

static bool is_unknown(const struct ctl_answer *a)
{
        return a->status == 0 || a->status >= 500;
}

static bool is_error(const struct ctl_answer *a, int64_t code)
{
        return ctl_number(a->body, "errorCode") == code;
}

/*
 * Asks one member after the other until one knows, each time with a stamp of its own that is read
 * before the request can have been sent. Returns whether one knows; @stamp is that of its answer.
 */
static bool ask(struct ticket *t, struct ctl_question *q, struct ctl_answer *ret,
                struct instant *stamp)
{
        struct ctl *c = t->c;

        *ret = (struct ctl_answer){ 0 };
        for (size_t n = 0; n < c->n_endpoints; n++) {
                usec_t left;

                *stamp = ctl_lease_now();
                left = instant_until(t->limit, *stamp);
                if (left == 0)
                        return false;
                q->timeout = left < t->timeout ? left : t->timeout;
                ctl_answer_done(ret);
                ctl_ask_one(c, c->preferred, q, ret);
                if (!is_unknown(ret))
                        return true;
                if (ret->is_woken)
                        return false;
                c->preferred = (c->preferred + 1) % c->n_endpoints;
        }
        return false;
}

static enum ticket_outcome unknown_of(const struct ctl_answer *a)
{
        return a->is_woken ? TICKET_WOKEN : TICKET_UNKNOWN;
}

static void put_ttl(const struct ticket *t, struct buffer *form)
{
        ctl_form_put_number(form, "ttl", t->ttl / USEC_PER_SEC);
}

static enum ticket_outcome refused(struct ticket *t, const struct ctl_answer *a)
{
        (void)ctl_complain_key(t->c, a);
        return TICKET_REFUSED;
}

/* What an accepted request says about the key: whether it is the one that we mean. */
static enum ticket_outcome take(struct ticket *t, const struct ctl_answer *a, struct instant stamp)
{
        uint64_t made = (uint64_t)ctl_number(json_object_get(a->body, "node"), "createdIndex");

        if (t->epoch == 0)
                t->epoch = made;
        if (made == 0 || made != t->epoch)
                return TICKET_GONE;
        t->stamp = stamp;
        return TICKET_OURS;
}

enum ticket_outcome ticket_renew(struct ticket *t)
{
        _cleanup_(buffer_done)
        struct buffer form = { 0 };
        struct ctl_question q = { .method = CTL_PUT };
        enum ticket_outcome outcome;
        char url[CTL_URL_SIZE];
        struct ctl_answer a;
        struct instant stamp;

        if (!ctl_key_url(url, t->key))
                return TICKET_REFUSED;
        /* A compare-and-swap that wakes nobody who waits for the key. */
        ctl_form_put_string(&form, "prevValue", t->value);
        ctl_form_put_string(&form, "refresh", "true");
        put_ttl(t, &form);
        q.path = url;
        q.form = (const char *)form.bytes;
        if (!ask(t, &q, &a, &stamp))
                outcome = unknown_of(&a);
        else if (ctl_is_good(&a))
                outcome = take(t, &a, stamp);
        else
                outcome = TICKET_GONE;
        ctl_answer_done(&a);
        return outcome;
}

/*
 * The key has a name that nobody else has, and is made only if it is not there. So the request may
 * be sent again: if it is there, an earlier attempt has arrived, and a renewal tells its index.
 */
enum ticket_outcome ticket_draw(struct ticket *t)
{
        _cleanup_(buffer_done)
        struct buffer form = { 0 };
        struct ctl_question q = { .method = CTL_PUT };
        enum ticket_outcome outcome;
        char url[CTL_URL_SIZE];
        struct ctl_answer a;
        struct instant stamp;

        t->epoch = 0;
        if (!ctl_key_url(url, t->key))
                return TICKET_REFUSED;
        ctl_form_put_string(&form, "value", t->value);
        ctl_form_put_string(&form, "prevExist", "false");
        put_ttl(t, &form);
        q.path = url;
        q.form = (const char *)form.bytes;
        if (!ask(t, &q, &a, &stamp))
                outcome = unknown_of(&a);
        else if (ctl_is_good(&a))
                outcome = take(t, &a, stamp);
        else if (is_error(&a, CTL_ERROR_KEY_EXISTS))
                outcome = ticket_renew(t);
        else
                outcome = refused(t, &a);
        ctl_answer_done(&a);
        return outcome;
}

const json_t *ticket_oldest(const json_t *directory)
{
        const json_t *oldest = NULL, *node;
        size_t i;

        json_array_foreach(json_object_get(directory, "nodes"), i, node) {
                if (!oldest ||
                    ctl_number(node, "createdIndex") < ctl_number(oldest, "createdIndex"))
                        oldest = node;
        }
        return oldest;
}

static enum ticket_outcome find(const struct ticket *t, const json_t *directory,
                                struct ticket_place *ret)
{
        const json_t *before = NULL, *node;
        bool found = false;
        size_t i;

        json_array_foreach(json_object_get(directory, "nodes"), i, node) {
                uint64_t made = (uint64_t)ctl_number(node, "createdIndex");

                if (made == t->epoch && strcmp(ctl_string(node, "key"), t->key) == 0)
                        found = true;
                else if (made < t->epoch &&
                         (!before || made > (uint64_t)ctl_number(before, "createdIndex")))
                        before = node;
        }
        if (!found)
                return TICKET_GONE;
        ret->is_first = !before;
        (void)snprintf(ret->before, sizeof(ret->before), "%s",
                       before ? ctl_string(before, "key") : "");
        return TICKET_OURS;
}

enum ticket_outcome ticket_look(struct ticket *t, struct ticket_place *ret)
{
        struct ctl_question q = { .method = CTL_GET };
        enum ticket_outcome outcome = TICKET_GONE;
        char url[CTL_URL_SIZE];
        struct ctl_answer a;
        struct instant stamp;

        *ret = (struct ticket_place){ 0 };
        if (!ctl_key_url(url, t->directory))
                return TICKET_REFUSED;
        (void)strncat(url, "?quorum=true", sizeof(url) - strlen(url) - 1);
        q.path = url;
        if (!ask(t, &q, &a, &stamp))
                outcome = unknown_of(&a);
        else if (ctl_is_good(&a))
                outcome = find(t, json_object_get(a.body, "node"), ret);
        ret->index = a.index;
        ctl_answer_done(&a);
        return outcome;
}

void ticket_wait(struct ticket *t, const struct ticket_place *place, struct instant then)
{
        struct ctl_question q = { .is_wait = true };
        char url[CTL_URL_SIZE + 64];
        struct ctl *c = t->c;
        struct ctl_answer a;

        if (!ctl_key_url(url, place->before))
                return;
        (void)snprintf(url + strlen(url), 64, "?wait=true&waitIndex=%" PRIu64, place->index + 1);
        q.path = url;
        q.timeout = instant_until(then, ctl_lease_now());
        if (q.timeout < USEC_PER_MSEC)
                return;
        ctl_ask_one(c, c->preferred, &q, &a);
        if (a.index == 0 && !a.is_woken)
                c->preferred = (c->preferred + 1) % c->n_endpoints; /* not even a head came */
        if (!ctl_is_good(&a) && !a.is_woken && !a.is_late)
                ctl_pause(REFUSED_PAUSE);
        ctl_answer_done(&a);
}

void ticket_leave(struct ticket *t)
{
        struct ctl_question q = { .method = CTL_DELETE };
        char url[CTL_URL_SIZE];
        struct ctl_answer a;
        struct instant stamp;

        t->c->n_wakes = 0; /* nothing is more urgent now */
        if (!ctl_key_url(url, t->key))
                return;
        q.path = url;
        (void)ask(t, &q, &a, &stamp); /* what is not removed goes by itself */
        ctl_answer_done(&a);
}
