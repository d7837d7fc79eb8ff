/*
 * What a story tells: notes of the nodes and what clients would notice. What every member notes of
 * the same fact, what only the mechanics of an election say, and what repeats is left out.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "election/base/memory.h"
#include "election/describe.h"
#include "tests/scenarios/world.h"

static void add(struct world *w, const char *line)
{
        size_t n = strlen(line);

        while (w->n_text_max < w->n_text + n + 2) {
                w->n_text_max = w->n_text_max ? 2 * w->n_text_max : 1024;
                w->text = must_resize(w->text, w->n_text_max, 1);
        }
        memcpy(w->text + w->n_text, line, n);
        memcpy(w->text + w->n_text + n, "\n", 2);
        w->n_text += n + 1;
}

/* The same but for its figures: a step that fails again took another time to do so. */
static bool repeats(const struct machine *m, const char *text)
{
        const char *a = m->told, *b = text;

        for (; *a && *b; a++, b++) {
                while (isdigit((unsigned char)*a) || *a == '.')
                        a++;
                while (isdigit((unsigned char)*b) || *b == '.')
                        b++;
                if (*a != *b)
                        return false;
                if (!*a)
                        break;
        }
        return *a == *b;
}

static void add_timed(struct world *w, const struct machine *m, const char *text)
{
        usec_t t = (w->now - w->origin) / USEC_PER_MSEC;
        char line[WORLD_LINE_SIZE];

        (void)snprintf(line, sizeof(line), "[%" PRIu64 ".%03" PRIu64 "s] %s: %s", t / 1000,
                       t % 1000, m->name, text);
        add(w, line);
}

void tell(struct world *w, const struct machine *m, const char *format, ...)
{
        char text[WORLD_LINE_SIZE - NAME_SIZE];
        va_list args;

        if (w->silent)
                return;
        va_start(args, format);
        (void)vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        add_timed(w, m, text);
}

void tell_line(struct world *w, const char *format, ...)
{
        char line[WORLD_LINE_SIZE];
        va_list args;

        va_start(args, format);
        (void)vsnprintf(line, sizeof(line), format, args);
        va_end(args);
        add(w, line);
}

void tell_violation(struct world *w, const struct machine *m, const char *text)
{
        w->failed = true;
        w->silent = false;
        tell(w, m, "VIOLATION: %s", text);
}

/* Each member applies what became of a lease; the first to do so tells it. */
static bool is_news(struct world *w, const struct node_note *note)
{
        if (w->epoch_told[note->type] >= note->epoch)
                return false;
        w->epoch_told[note->type] = note->epoch;
        return true;
}

/* A member alone asks for votes again and again: that is told once, until it hears a leader. */
static bool is_alone_anew(struct machine *m)
{
        bool anew = !m->alone_told;

        m->alone_told = true;
        return anew;
}

static bool is_worth_telling(struct world *w, struct machine *m, const struct node_note *note)
{
        switch (note->type) {
        case NODE_NOTE_RAFT:
                if (note->raft == RAFT_NOTE_PRE_VOTE_STARTED)
                        return is_alone_anew(m);
                return note->raft == RAFT_NOTE_QUORUM_LOST || note->raft == RAFT_NOTE_TRUNCATED;
        case NODE_NOTE_ROLE:
                if (note->role == RAFT_LEADER || note->member != NODE_NOBODY)
                        m->alone_told = false;
                return note->role == RAFT_LEADER;
        case NODE_NOTE_MOVED:
                return note->state_from != note->state_to;
        case NODE_NOTE_LEASE_GRANTED:
        case NODE_NOTE_LEASE_EXPIRED:
        case NODE_NOTE_LEASE_RELEASED:
                return is_news(w, note);
        case NODE_NOTE_STEP_STARTED:
        case NODE_NOTE_CURRENT:
        case NODE_NOTE_MEMBERS:
        case NODE_NOTE_SNAPSHOT_TAKEN:
        case NODE_NOTE_SNAPSHOT_SENT:
        case NODE_NOTE_SNAPSHOT_INSTALLED:
                return false;
        case NODE_NOTE_LEASE_REFUSED:
        case NODE_NOTE_LEASE_RAN_OUT:
        case NODE_NOTE_EXPIRY_EARLY:
        case NODE_NOTE_EXPIRY_REFUSED:
        case NODE_NOTE_STEP_ENDED:
        case NODE_NOTE_FAILOVER:
        case NODE_NOTE_BAD_MESSAGE:
                return true;
        }
        return true;
}

void tell_note(struct world *w, const struct machine *m, const struct node_note *note)
{
        const char *service = w->service.name;
        struct describe_names names = { .services = &service, .n_services = 1 };
        struct machine *teller = world_machine(w, m->id);
        char text[WORLD_LINE_SIZE - NAME_SIZE];

        if (!is_worth_telling(w, teller, note) || w->silent)
                return;
        for (node_id id = 1; id <= w->setup.n_nodes; id++)
                names.members[id] = world_machine(w, id)->name;
        describe_note(note, &names, text, sizeof(text));
        if (repeats(teller, text))
                return;
        (void)snprintf(teller->told, sizeof(teller->told), "%s", text);
        add_timed(w, m, text);
}
