/* Timeline history files and the ancestry they tell. */
#include "actions/postgres/history.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actions/postgres/lsn.h"
#include "election/base/cleanup.h"
#include "election/base/memory.h"

enum {
        LINE_SIZE = 256, /* more of a line is only its reason */
};

void history_done(struct history *h)
{
        free(h->entries);
        *h = (struct history){ 0 };
}

/* Returns 1 for an entry, 0 for a line without one, or -EINVAL. */
static int parse_line(const char *line, struct history_entry *ret)
{
        char position[LSN_SIZE];
        unsigned timeline;

        line += strspn(line, " \t\r");
        if (*line == '\0' || *line == '#')
                return 0;
        if (sscanf(line, "%10u %17s", &timeline, position) != 2 || timeline == 0)
                return -EINVAL;
        ret->timeline = timeline;
        if (lsn_parse(position, &ret->end) < 0)
                return -EINVAL;
        return 1;
}

static int add(struct history *h, size_t *n_max, const struct history_entry *entry)
{
        if (h->n > 0 && h->entries[h->n - 1].timeline >= entry->timeline)
                return -EINVAL;
        if (h->n >= HISTORY_MAX)
                return -E2BIG;
        MUST_GROW(h->entries, h->n, *n_max);
        h->entries[h->n++] = *entry;
        return 0;
}

int history_parse(const char *text, struct history *ret)
{
        _cleanup_(history_done)
        struct history h = { 0 };
        struct history_entry entry;
        char line[LINE_SIZE];
        size_t n_max = 0;
        int r;

        while (*text) {
                size_t n = strcspn(text, "\n");

                snprintf(line, sizeof(line), "%.*s", (int)(n < LINE_SIZE ? n : LINE_SIZE), text);
                r = parse_line(line, &entry);
                if (r > 0)
                        r = add(&h, &n_max, &entry);
                if (r < 0)
                        return r;
                text += n;
                text += *text == '\n';
        }
        *ret = h;
        h = (struct history){ 0 };
        return 0;
}

const struct history_entry *history_find(const struct history *h, uint32_t timeline)
{
        for (size_t i = 0; i < h->n; i++)
                if (h->entries[i].timeline == timeline)
                        return &h->entries[i];
        return NULL;
}

bool history_same_start(const struct history *a, const struct history *b, uint32_t timeline)
{
        size_t i;

        for (i = 0; i < a->n && a->entries[i].timeline < timeline; i++) {
                if (i >= b->n || a->entries[i].timeline != b->entries[i].timeline)
                        return false;
                if (a->entries[i].end != b->entries[i].end)
                        return false;
        }
        return i >= b->n || b->entries[i].timeline >= timeline;
}

enum ancestry history_compare(const struct history *h, uint32_t primary_timeline, uint32_t timeline,
                              uint64_t lsn)
{
        const struct history_entry *left;

        if (timeline == primary_timeline)
                return ANCESTRY_SAME;
        left = history_find(h, timeline);
        if (!left || timeline > primary_timeline)
                return ANCESTRY_FOREIGN;
        return lsn > left->end ? ANCESTRY_DIVERGED : ANCESTRY_CHILD_FOLLOWS;
}
