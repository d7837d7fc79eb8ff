/*
 * Exactly once: for each process that writes, which sequences were applied and what was answered;
 * store.h says what is promised. Kept are the answers to the highest sequences; below them stands a
 * floor, up to which nothing is applied any more.
 */
#pragma once

#include "election/store/event.h"

struct session_answer {
        uint64_t sequence;
        uint64_t index; /* etcd index after it */
        struct event *event; /* NULL if it was refused */
        struct store_value *cause; /* of an error, or NULL */
        enum store_error error;
};

struct session {
        uint64_t incarnation;
        uint64_t used; /* log index of its last command */
        uint64_t floor; /* no sequence up to this is applied */
        struct session_answer *answers; /* those from @first on, by sequence */
        size_t first, n, n_max;
        size_t n_bytes;
};

enum {
        SESSIONS_ENDED_MAX = 64, /* incarnations of one node that are known to be over */
};

/* The processes of one node, in the order in which they first wrote. */
struct session_node {
        struct session sessions[STORE_SESSIONS_MAX];
        size_t n;
        uint64_t ended[SESSIONS_ENDED_MAX]; /* oldest first */
        size_t n_ended;
};

struct session_table {
        struct session_node nodes[MEMBERS_MAX + 1];
};

void session_done(struct session_table *t);

/*
 * The session of the process that sent the command, which is log entry @index; a new one if it is
 * unknown. NULL if it is over. What the command says to be settled is forgotten. Valid until the next
 * call.
 */
struct session *session_open(struct session_table *t, const struct store_command *c,
                             uint64_t index);

/* The session of that process if it is kept, or NULL. */
struct session *session_of(struct session_node *n, uint64_t incarnation);

/* The answer that was given to @sequence, or NULL. */
const struct session_answer *session_find(const struct session *s, uint64_t sequence);

/* Whether @sequence, to which no answer is kept, was certainly never applied. */
static inline bool session_is_new(const struct session *s, uint64_t sequence)
{
        return sequence > s->floor;
}

/* Keeps an answer whose sequence is new; takes over what it points to. */
void session_keep(struct session *s, struct session_answer a);

/* The bytes of the strings of an answer: the same on every replica. */
size_t session_answer_bytes(const struct session_answer *a);
