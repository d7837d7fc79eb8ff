/* The story of a seed, in words: a ring of the last lines, or everything at once. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "election/describe.h"
#include "tests/sim/sim.h"

static const char *const member_names[MEMBERS_MAX + 1] = {
        NULL, "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9",
};

static const char *const service_names[SIM_SERVICES_MAX] = { "orders", "stock" };

const char *sim_node_name(const struct sim *s, node_id id)
{
        (void)s;
        return id >= 1 && id <= MEMBERS_MAX ? member_names[id] : "-";
}

static struct describe_names names_of(const struct sim *s)
{
        struct describe_names names = { .services = service_names,
                                        .n_services = s->plan.n_services };

        for (unsigned i = 1; i <= s->plan.n_machines; i++)
                if (s->machines[i].node != NODE_NOBODY)
                        names.members[s->machines[i].node] = member_names[i];
        return names;
}

void story_tell(struct sim *s, const struct machine *m, const char *format, ...)
{
        char *line = s->story.lines[s->story.n++ % SIM_STORY_LINES];
        va_list args;
        int n;

        n = snprintf(line, SIM_LINE_SIZE,
                     "[%3" PRIu64 ".%06" PRIu64 "s] %s: ", s->now / USEC_PER_SEC,
                     s->now % USEC_PER_SEC, m ? sim_node_name(s, m->id) : "world");
        va_start(args, format);
        (void)vsnprintf(line + n, SIM_LINE_SIZE - (size_t)n, format, args);
        va_end(args);
        if (s->story.printing)
                puts(line);
}

void story_note(struct sim *s, const struct machine *m, const struct node_note *note)
{
        struct describe_names names = names_of(s);
        char text[SIM_LINE_SIZE];

        if (!s->story.recording)
                return;
        describe_note(note, &names, text, sizeof(text));
        story_tell(s, m, "%s", text);
}

void story_event(struct sim *s, const struct machine *m, const struct node_event *event)
{
        struct describe_names names = names_of(s);
        char text[SIM_LINE_SIZE];

        if (!s->story.recording)
                return;
        describe_event(event, &names, text, sizeof(text));
        story_tell(s, m, "<- %s", text);
}

void story_effect(struct sim *s, const struct machine *m, const struct node_effect *effect)
{
        struct describe_names names = names_of(s);
        char text[SIM_LINE_SIZE];

        if (!s->story.recording)
                return;
        describe_effect(effect, &names, text, sizeof(text));
        story_tell(s, m, "-> %s", text);
}

void story_print(const struct sim *s)
{
        size_t first = s->story.n > SIM_STORY_LINES ? s->story.n - SIM_STORY_LINES : 0;

        for (size_t i = first; i < s->story.n; i++)
                puts(s->story.lines[i % SIM_STORY_LINES]);
}
