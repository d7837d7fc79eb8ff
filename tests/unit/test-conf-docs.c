/*
 * docs/configuration.md and conf/failoverd.conf say what the table of options says. Run from the
 * root of the sources; with --print this writes the tables that the document must contain.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "conf/options.h"
#include "election/base/cleanup.h"
#include "tests/lib/tempdir.h"

#define REFERENCE "docs/configuration.md"
#define SAMPLE "conf/failoverd.conf"

enum { LINE_SIZE = 1024 };

static void describe_value(const struct conf_option *o, char ret[static LINE_SIZE])
{
        const char *noun = strchr(o->type->noun, ' ') + 1; /* past the article */
        char range[RANGE_SIZE];

        if (o->type->words || o->type == &type_bool)
                (void)snprintf(ret, LINE_SIZE, "%s", o->type->accepted);
        else if (o->max > 0)
                (void)snprintf(ret, LINE_SIZE, "%s %s", noun, print_range(o, range, sizeof(range)));
        else
                (void)snprintf(ret, LINE_SIZE, "%s", noun);
}

static void describe_default(const struct conf_option *o, char ret[static LINE_SIZE])
{
        if (o->computed)
                (void)snprintf(ret, LINE_SIZE, "%s", o->computed);
        else if (!o->defaults[0])
                (void)snprintf(ret, LINE_SIZE, "must be given");
        else if (o->defaults[CONF_LAN])
                (void)snprintf(ret, LINE_SIZE, "by profile: %s, %s, %s", o->defaults[CONF_FAST],
                               o->defaults[CONF_LAN], o->defaults[CONF_CLOUD]);
        else if (o->defaults[0][0] == '\0')
                (void)snprintf(ret, LINE_SIZE, "empty");
        else
                (void)snprintf(ret, LINE_SIZE, "`%s`", o->defaults[0]);
}

/* The row of the reference for one option. */
static const char *row_of(const struct conf_option *o, char ret[static LINE_SIZE * 4])
{
        char value[LINE_SIZE], standard[LINE_SIZE];

        describe_value(o, value);
        describe_default(o, standard);
        (void)snprintf(ret, LINE_SIZE * 4, "| `%s` | %s | %s | %s |\n", o->key, value, standard,
                       o->meaning);
        return ret;
}

/* The heading, the meaning and the rows of one block. */
static char *chapter_of(enum conf_section_id id)
{
        const struct conf_section *section = &conf_sections[id];
        char row[LINE_SIZE * 4];
        char *text = NULL;
        size_t n = 0;
        FILE *file = open_memstream(&text, &n);

        assert_non_null(file);
        fprintf(file, "### %s%s\n\n", section->name, section->is_titled ? " \"NAME\"" : "");
        if (section->parent != SECTION_ROOT)
                fprintf(file, "Inside a %s block. ", conf_sections[section->parent].name);
        fprintf(file, "%s\n\n| option | value | default | meaning |\n|---|---|---|---|\n",
                section->meaning);
        for (size_t i = 0; i < conf_n_options; i++) {
                if (conf_options[i].section == id)
                        fputs(row_of(&conf_options[i], row), file);
        }
        assert_int_equal(fclose(file), 0);
        return text;
}

static void the_reference_has_each_block_and_option_as_in_the_table(void **state)
{
        _cleanup_(freep)
        char *text = read_whole_file(REFERENCE);

        (void)state;
        for (unsigned id = 0; id < SECTIONS; id++) {
                _cleanup_(freep)
                char *chapter = chapter_of((enum conf_section_id)id);

                if (!strstr(text, chapter))
                        fail_msg("%s should contain:\n%s", REFERENCE, chapter);
        }
}

static size_t count(const char *text, const char *word)
{
        size_t n = 0;

        for (text = strstr(text, word); text; text = strstr(text + 1, word))
                n++;
        return n;
}

static void the_reference_has_no_other_options(void **state)
{
        _cleanup_(freep)
        char *text = read_whole_file(REFERENCE);

        (void)state;
        assert_int_equal(count(text, "\n| `"), conf_n_options);
        assert_int_equal(count(text, "\n### "), SECTIONS);
}

/* An option of the sample: its block, its key, and whether it is commented out. */
struct line {
        enum conf_section_id section;
        char key[64];
        bool is_comment;
};

/* "# ttl = 3s" and "ttl = 3s", but no sentence. */
static bool read_option(const char *s, struct line *ret)
{
        char equals;

        ret->is_comment = *s == '#';
        if (ret->is_comment)
                s++;
        return sscanf(s, " %63[a-z_] %c", ret->key, &equals) == 2 && equals == '=';
}

/* Follows the blocks of the sample, each of which begins and ends in a line of its own. */
static bool follow_block(const char *s, enum conf_section_id *section)
{
        char name[64];

        s += strspn(s, " ");
        if (*s == '}') {
                *section = conf_sections[*section].parent;
                return true;
        }
        if (*s == '#' || !strchr(s, '{') || strchr(s, '='))
                return false;
        assert_int_equal(sscanf(s, "%63[a-z]", name), 1);
        *section = conf_section_find(name);
        assert_int_not_equal(*section, SECTION_ROOT);
        return true;
}

static void the_sample_shows_each_option_once_in_its_block(void **state)
{
        _cleanup_(freep)
        char *text = read_whole_file(SAMPLE);
        enum conf_section_id section = SECTION_ROOT;
        unsigned seen[SECTIONS][64] = { 0 };
        char *rest = NULL;

        (void)state;
        for (char *s = strtok_r(text, "\n", &rest); s; s = strtok_r(NULL, "\n", &rest)) {
                const struct conf_option *o;
                struct line line;

                s += strspn(s, " ");
                if (follow_block(s, &section) || !read_option(s, &line))
                        continue;
                o = conf_option_find(section, line.key);
                if (!o)
                        fail_msg("%s is no option of this block", line.key);
                seen[section][o - conf_options]++;
        }
        assert_int_equal(section, SECTION_ROOT);
        for (size_t i = 0; i < conf_n_options; i++) {
                if (seen[conf_options[i].section][i] == 0)
                        fail_msg("%s lacks %s of %s", SAMPLE, conf_options[i].key,
                                 conf_sections[conf_options[i].section].name);
        }
}

static char *load_and_dump(const char *path)
{
        _cleanup_(conf_freep)
        struct conf *conf = NULL;
        struct conf_complaint complaint;
        char *text = NULL;
        size_t n = 0;
        FILE *file = open_memstream(&text, &n);

        assert_non_null(file);
        if (conf_load(path, &conf, &complaint) < 0)
                fail_msg("%s:%u: %s", complaint.file, complaint.line, complaint.text);
        if (conf->n_warnings > 0)
                fail_msg("%s:%u: %s", path, conf->warnings[0].line, conf->warnings[0].text);
        assert_int_equal(conf_dump(conf, file), 0);
        assert_int_equal(fclose(file), 0);
        return text;
}

/* The sample with all options written out. */
static char *uncomment(const char *text)
{
        char *all = calloc(strlen(text) + 1, 1), *to = all;

        assert_non_null(all);
        while (*text) {
                size_t n = strcspn(text, "\n") + 1, indentation = strspn(text, " ");
                struct line line;

                if (read_option(text + indentation, &line) && line.is_comment) {
                        text += indentation + 1;
                        n -= indentation + 1;
                }
                memcpy(to, text, n);
                to += n;
                text += n;
        }
        return all;
}

static void what_the_sample_leaves_out_is_the_default(void **state)
{
        _cleanup_(freep)
        char *text = read_whole_file(SAMPLE);
        _cleanup_(freep)
        char *all = uncomment(text);
        _cleanup_(freep)
        char *plain = load_and_dump(SAMPLE);
        _cleanup_(freep)
        char *full = NULL;
        char path[TEMPDIR_PATH_SIZE];
        struct tempdir dir;

        (void)state;
        assert_string_not_equal(text, all);
        tempdir_make(&dir);
        tempdir_write_text(&dir, "all.conf", all);
        full = load_and_dump(tempdir_path(&dir, "all.conf", path));
        tempdir_remove(&dir);
        assert_string_equal(plain, full);
}

static void the_table_accepts_its_own_defaults(void **state)
{
        (void)state;
        for (size_t i = 0; i < conf_n_options; i++) {
                const struct conf_option *o = &conf_options[i];

                for (unsigned profile = 0; profile < CONF_PROFILES; profile++) {
                        const char *value = conf_option_default(o, (enum conf_profile)profile);
                        union {
                                struct conf_postgres postgres;
                                struct conf_service service;
                                struct conf_node node;
                        } object = { 0 };
                        void *field = conf_option_field(o, &object);

                        if (!value)
                                continue;
                        assert_int_equal(o->type->parse(o, value, field), 0);
                        if (o->type->release)
                                o->type->release(field);
                }
        }
}

static void each_option_has_one_row_with_a_meaning(void **state)
{
        (void)state;
        for (size_t i = 0; i < conf_n_options; i++) {
                const struct conf_option *o = &conf_options[i];

                assert_ptr_equal(conf_option_find(o->section, o->key), o);
                assert_non_null(o->meaning);
                assert_int_equal(o->meaning[strlen(o->meaning) - 1], '.');
        }
}

static int print_reference(void)
{
        for (unsigned id = 0; id < SECTIONS; id++) {
                _cleanup_(freep)
                char *chapter = chapter_of((enum conf_section_id)id);

                printf("%s%s", id > 0 ? "\n" : "", chapter);
        }
        return 0;
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_reference_has_each_block_and_option_as_in_the_table),
                cmocka_unit_test(the_reference_has_no_other_options),
                cmocka_unit_test(the_sample_shows_each_option_once_in_its_block),
                cmocka_unit_test(what_the_sample_leaves_out_is_the_default),
                cmocka_unit_test(the_table_accepts_its_own_defaults),
                cmocka_unit_test(each_option_has_one_row_with_a_meaning),
        };

        if (argc == 2 && strcmp(argv[1], "--print") == 0)
                return print_reference();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
