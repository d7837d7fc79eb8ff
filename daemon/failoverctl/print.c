/* Tables, colours, sizes and times for people; JSON for programs. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/failoverctl/ctl.h"
#include "election/base/memory.h"

static const char *escape_of(const struct ctl *c, enum ctl_color color)
{
        static const char *const escapes[] = {
                [CTL_PLAIN] = "",         [CTL_GREEN] = "\033[32m", [CTL_YELLOW] = "\033[33m",
                [CTL_RED] = "\033[31;1m", [CTL_BOLD] = "\033[1m",   [CTL_DIM] = "\033[2m",
        };

        return c->color ? escapes[color] : "";
}

static const char *reset_of(const struct ctl *c, enum ctl_color color)
{
        return c->color && color != CTL_PLAIN ? "\033[0m" : "";
}

void ctl_print_colored(const struct ctl *c, FILE *file, enum ctl_color color, const char *format,
                       ...)
{
        va_list ap;

        fputs(escape_of(c, color), file);
        va_start(ap, format);
        (void)vfprintf(file, format, ap);
        va_end(ap);
        fputs(reset_of(c, color), file);
}

void ctl_table_done(struct ctl_table *t)
{
        free(t->rows);
        *t = (struct ctl_table){ 0 };
}

struct ctl_cell *ctl_table_row(struct ctl_table *t)
{
        MUST_GROW(t->rows, t->n_rows, t->n_max);
        memset(t->rows[t->n_rows], 0, sizeof(t->rows[t->n_rows]));
        return t->rows[t->n_rows++];
}

void ctl_cell(struct ctl_cell *cell, enum ctl_color color, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(cell->text, sizeof(cell->text), format, ap);
        va_end(ap);
        cell->color = color;
}

/* Characters, not bytes: those of UTF-8 that continue one are not counted. */
static size_t width_of(const char *s)
{
        size_t n = 0;

        for (; *s; s++)
                n += ((unsigned char)*s & 0xC0) != 0x80;
        return n;
}

static size_t column_width(const struct ctl_table *t, size_t column)
{
        size_t width = 0;

        for (size_t i = 0; i < t->n_rows; i++) {
                size_t n = width_of(t->rows[i][column].text);

                width = n > width ? n : width;
        }
        return width;
}

static size_t last_column(const struct ctl_table *t, size_t row)
{
        size_t last = 0;

        for (size_t i = 0; i < t->n_columns; i++) {
                if (t->rows[row][i].text[0])
                        last = i;
        }
        return last;
}

void ctl_table_print(const struct ctl *c, const struct ctl_table *t, unsigned indent, FILE *file)
{
        size_t widths[CTL_COLUMNS_MAX];

        for (size_t i = 0; i < t->n_columns; i++)
                widths[i] = column_width(t, i);
        for (size_t row = 0; row < t->n_rows; row++) {
                size_t last = last_column(t, row);

                fprintf(file, "%*s", (int)indent, "");
                for (size_t i = 0; i <= last; i++) {
                        const struct ctl_cell *cell = &t->rows[row][i];
                        size_t pad = widths[i] - width_of(cell->text) + 2;

                        ctl_print_colored(c, file, cell->color, "%s", cell->text);
                        if (i < last)
                                fprintf(file, "%*s", (int)pad, "");
                }
                fputc('\n', file);
        }
}

const char *ctl_print_bytes(uint64_t n, char ret[static 32])
{
        static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
        double value = (double)n;
        size_t unit = 0;

        while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
                value /= 1024;
                unit++;
        }
        (void)snprintf(ret, 32, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
        return ret;
}

const char *ctl_print_msec(int64_t n, char ret[static 32])
{
        if (n < 1000)
                (void)snprintf(ret, 32, "%" PRId64 " ms", n);
        else
                (void)snprintf(ret, 32, "%.1f s", (double)n / 1000);
        return ret;
}

void ctl_print_json(const json_t *o)
{
        char *text = json_dumps(o, JSON_COMPACT);

        puts(text ? text : "null");
        free(text);
}
