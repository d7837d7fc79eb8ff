/*
 * Tells each story again and compares it with what its file expects.
 *
 *     scenarios [--rewrite] FILE...
 *
 * A file is a row of blocks: comments and commands, a line "----", and what is told up to the next
 * empty line. --rewrite writes down what is told now instead of comparing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "tests/scenarios/world.h"

#define SEPARATOR "----"
#define NOTHING "(nothing)\n"

enum { WHY_SIZE = 256 };

/* Text that grows. */
struct text {
        char *bytes;
        size_t n, n_max;
};

static void append(struct text *t, const char *bytes, size_t n)
{
        while (t->n_max < t->n + n + 1) {
                t->n_max = t->n_max ? 2 * t->n_max : 4096;
                t->bytes = must_resize(t->bytes, t->n_max, 1);
        }
        memcpy(t->bytes + t->n, bytes, n);
        t->n += n;
        t->bytes[t->n] = '\0';
}

struct story {
        const char *file;
        unsigned line; /* of the file */
        unsigned block; /* its first line */
        struct script script;
        unsigned n_blocks; /* that ended */
        size_t n_told; /* what earlier blocks were told */
        struct text expected; /* by the block */
        struct text written; /* the file as it should be */
        bool failed;
};

static int read_file(const char *path, struct text *ret)
{
        FILE *f = fopen(path, "r");
        char bytes[4096];
        size_t n;
        int r = 0;

        if (!f)
                return -errno;
        append(ret, "", 0);
        while ((n = fread(bytes, 1, sizeof(bytes), f)) > 0)
                append(ret, bytes, n);
        if (ferror(f))
                r = -EIO;
        (void)fclose(f); /* only read */
        return r;
}

static int write_file(const char *path, const struct text *t)
{
        FILE *f = fopen(path, "w");
        bool ok;

        if (!f)
                return -errno;
        ok = fwrite(t->bytes, 1, t->n, f) == t->n;
        return fclose(f) == 0 && ok ? 0 : -EIO;
}

/* What was told since the last block. */
static const char *told(const struct story *s)
{
        const struct world *w = s->script.world;

        return w && w->n_text > s->n_told ? w->text + s->n_told : NOTHING;
}

static void show_difference(const struct story *s, const char *got)
{
        const char *expected = s->expected.n ? s->expected.bytes : "";
        size_t same = 0, start = 0;

        while (expected[same] && expected[same] == got[same]) {
                same++;
                if (expected[same - 1] == '\n')
                        start = same;
        }
        printf("%s:%u: it went another way than expected. From the first difference on:\n"
               "-------- expected\n%s-------- told\n%s--------\n",
               s->file, s->block, expected + start, got + start);
}

static void block_ends(struct story *s, bool rewrite)
{
        const char *got = told(s);

        if (s->script.world && s->script.world->failed) {
                printf("%s:%u: what must never happen has happened:\n%s", s->file, s->block, got);
                s->failed = true;
        } else if (!rewrite && strcmp(got, s->expected.n ? s->expected.bytes : "") != 0) {
                show_difference(s, got);
                s->failed = true;
        }
        append(&s->written, got, strlen(got));
        s->expected.n = 0;
        s->n_told = s->script.world ? s->script.world->n_text : 0;
        s->block = 0;
        s->n_blocks++;
}

static void obey(struct story *s, const char *line)
{
        char why[WHY_SIZE];

        if (line[0] == '#' || line[0] == '\0' || strcmp(line, SEPARATOR) == 0)
                return;
        if (s->block == 0)
                s->block = s->line;
        if (command_run(&s->script, line, why, sizeof(why)) < 0) {
                printf("%s:%u: %s: %s\n", s->file, s->line, line, why);
                s->failed = true;
        }
}

/* Returns whether the next line is expected text, too. */
static bool take_line(struct story *s, const char *line, bool expecting, bool rewrite)
{
        if (expecting && line[0] != '\0') {
                append(&s->expected, line, strlen(line));
                append(&s->expected, "\n", 1);
                return true;
        }
        if (expecting)
                block_ends(s, rewrite);
        else
                obey(s, line);
        append(&s->written, line, strlen(line));
        append(&s->written, "\n", 1);
        return !expecting && strcmp(line, SEPARATOR) == 0;
}

static void go_through(struct story *s, char *bytes, bool rewrite)
{
        bool expecting = false;
        char *end;

        for (char *line = bytes; *line && !s->failed; line = end) {
                end = strchr(line, '\n');
                if (end)
                        *end++ = '\0';
                else
                        end = line + strlen(line);
                s->line++;
                expecting = take_line(s, line, expecting, rewrite);
        }
        if (expecting && !s->failed)
                block_ends(s, rewrite);
        else if ((s->block != 0 || s->n_blocks == 0) && !s->failed) {
                printf("%s:%u: nothing is expected of these commands\n", s->file, s->line);
                s->failed = true;
        }
}

static bool tell_story(const char *file, bool rewrite)
{
        struct story s = { .file = file, .script.setup = world_defaults };
        struct text content = { 0 };
        int r = read_file(file, &content);

        if (r < 0) {
                printf("%s: %s\n", file, strerror(-r));
                s.failed = true;
        } else {
                go_through(&s, content.bytes, rewrite);
        }
        if (rewrite && !s.failed) {
                r = write_file(file, &s.written);
                if (r < 0) {
                        printf("%s: %s\n", file, strerror(-r));
                        s.failed = true;
                }
        }
        world_free(s.script.world);
        free(content.bytes);
        free(s.expected.bytes);
        free(s.written.bytes);
        return !s.failed;
}

int main(int argc, char **argv)
{
        bool rewrite = argc > 1 && strcmp(argv[1], "--rewrite") == 0;
        unsigned passed = 0, failed = 0;

        for (int i = rewrite ? 2 : 1; i < argc; i++) {
                if (tell_story(argv[i], rewrite))
                        passed++;
                else
                        failed++;
        }
        printf("%u passed, %u failed\n", passed, failed);
        return failed > 0 || passed == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
