/* Exactly once; see session.h. */
#include "election/store/session.h"

#include <stdlib.h>
#include <string.h>

enum {
        /* Of a process that is probably gone; repetitions of its commands hardly ever come. */
        OLD_ANSWERS_MAX = 64,
        OLD_BYTES_MAX = 64 * 1024,
};

size_t session_answer_bytes(const struct session_answer *a)
{
        return (a->event ? event_bytes(a->event) : 0) + (a->cause ? a->cause->n : 0);
}

static void answer_done(struct session_answer *a)
{
        event_unref(a->event);
        value_unref(a->cause);
}

/* Forgets the answer to the lowest sequence. */
static void drop_lowest(struct session *s)
{
        struct session_answer *a = &s->answers[s->first];

        s->floor = a->sequence > s->floor ? a->sequence : s->floor;
        s->n_bytes -= session_answer_bytes(a);
        answer_done(a);
        s->first++;
        s->n--;
        if (s->n == 0)
                s->first = 0;
}

/* Cuts down to @n_max answers, and to @bytes_max of them but for the last one. */
static void trim(struct session *s, size_t n_max, size_t bytes_max)
{
        while (s->n > n_max || (s->n > 1 && s->n_bytes > bytes_max))
                drop_lowest(s);
}

static void end(struct session *s)
{
        trim(s, 0, 0);
        free(s->answers);
        *s = (struct session){ 0 };
}

void session_done(struct session_table *t)
{
        for (size_t i = 0; i <= MEMBERS_MAX; i++)
                for (size_t k = 0; k < t->nodes[i].n; k++)
                        end(&t->nodes[i].sessions[k]);
        *t = (struct session_table){ 0 };
}

static bool is_over(const struct session_node *n, uint64_t incarnation)
{
        for (size_t i = 0; i < n->n_ended; i++)
                if (n->ended[i] == incarnation)
                        return true;
        return false;
}

static void remember_ended(struct session_node *n, uint64_t incarnation)
{
        if (n->n_ended == SESSIONS_ENDED_MAX) {
                n->n_ended--;
                memmove(n->ended, n->ended + 1, n->n_ended * sizeof(*n->ended));
        }
        n->ended[n->n_ended++] = incarnation;
}

/* Makes room for a session: the one that was not used for longest is over. */
static void end_oldest(struct session_node *n)
{
        size_t oldest = 0;

        for (size_t i = 1; i < n->n; i++)
                if (n->sessions[i].used < n->sessions[oldest].used)
                        oldest = i;
        remember_ended(n, n->sessions[oldest].incarnation);
        end(&n->sessions[oldest]);
        n->n--;
        memmove(&n->sessions[oldest], &n->sessions[oldest + 1],
                (n->n - oldest) * sizeof(*n->sessions));
}

/* A process writes for the first time: those before it are probably gone. */
static struct session *make(struct session_node *n, uint64_t incarnation)
{
        struct session *s;

        if (n->n == STORE_SESSIONS_MAX)
                end_oldest(n);
        for (size_t i = 0; i < n->n; i++)
                trim(&n->sessions[i], OLD_ANSWERS_MAX, OLD_BYTES_MAX);
        s = &n->sessions[n->n++];
        *s = (struct session){ .incarnation = incarnation };
        return s;
}

struct session *session_of(struct session_node *n, uint64_t incarnation)
{
        for (size_t i = n->n; i > 0; i--)
                if (n->sessions[i - 1].incarnation == incarnation)
                        return &n->sessions[i - 1];
        return NULL;
}

static void settle(struct session *s, uint64_t settled)
{
        while (s->n > 0 && s->answers[s->first].sequence < settled)
                drop_lowest(s);
        if (settled > s->floor)
                s->floor = settled - 1;
}

struct session *session_open(struct session_table *t, const struct store_command *c, uint64_t index)
{
        struct session_node *n = &t->nodes[c->origin.node];
        struct session *s = session_of(n, c->origin.incarnation);

        if (!s && is_over(n, c->origin.incarnation))
                return NULL;
        if (!s)
                s = make(n, c->origin.incarnation);
        s->used = index;
        settle(s, c->settled);
        return s;
}

/* Where the answer to @sequence is, or would be, among those that are kept. */
static size_t place_of(const struct session *s, uint64_t sequence)
{
        size_t low = s->first, high = s->first + s->n;

        if (s->n == 0 || s->answers[high - 1].sequence < sequence)
                return high;
        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (s->answers[middle].sequence < sequence)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

const struct session_answer *session_find(const struct session *s, uint64_t sequence)
{
        size_t i = place_of(s, sequence);

        if (i == s->first + s->n || s->answers[i].sequence != sequence)
                return NULL;
        return &s->answers[i];
}

/* Room for one more behind the last. */
static void make_room(struct session *s)
{
        if (s->first + s->n < s->n_max)
                return;
        if (s->first > s->n_max / 2) {
                memmove(s->answers, s->answers + s->first, s->n * sizeof(*s->answers));
                s->first = 0;
                return;
        }
        s->n_max = s->n_max ? 2 * s->n_max : 8;
        s->answers = must_resize(s->answers, s->n_max, sizeof(*s->answers));
}

void session_keep(struct session *s, struct session_answer a)
{
        size_t place;

        make_room(s);
        place = place_of(s, a.sequence);
        memmove(&s->answers[place + 1], &s->answers[place],
                (s->first + s->n - place) * sizeof(*s->answers));
        s->answers[place] = a;
        s->n++;
        s->n_bytes += session_answer_bytes(&a);
        trim(s, STORE_SESSION_ANSWERS_MAX, STORE_SESSION_BYTES_MAX);
}
