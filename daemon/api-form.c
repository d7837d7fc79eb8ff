/* Parameters of a request, as application/x-www-form-urlencoded writes them. */
#include "daemon/api-form.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/cleanup.h"

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

int form_decode(const char *s, size_t n, bool plus, struct buffer *ret)
{
        for (size_t i = 0; i < n; i++) {
                int high, low;

                if (s[i] != '%') {
                        buffer_put_u8(ret, plus && s[i] == '+' ? ' ' : (uint8_t)s[i]);
                        continue;
                }
                if (n - i < 3)
                        return -EINVAL;
                high = hex_digit(s[i + 1]);
                low = hex_digit(s[i + 2]);
                if (high < 0 || low < 0)
                        return -EINVAL;
                buffer_put_u8(ret, (uint8_t)(high << 4 | low));
                i += 2;
        }
        return 0;
}

static void broken_escape(const char *s, size_t n, char cause[static FORM_CAUSE_SIZE])
{
        size_t i = 0;

        while (i < n && (s[i] != '%' ||
                         (n - i >= 3 && hex_digit(s[i + 1]) >= 0 && hex_digit(s[i + 2]) >= 0)))
                i++;
        (void)snprintf(cause, FORM_CAUSE_SIZE, "invalid URL escape \"%.*s\"",
                       n - i < 3 ? (int)(n - i) : 3, s + i);
}

/* One "name=value"; its place in @b as offsets, because @b still moves. */
struct span {
        size_t name;
        size_t value;
        size_t n_value;
};

static int parse_field(const char *s, size_t n, struct buffer *b, struct span *ret)
{
        const char *equals = memchr(s, '=', n);
        size_t n_name = equals ? (size_t)(equals - s) : n;

        ret->name = b->n;
        if (form_decode(s, n_name, true, b) < 0)
                return -EINVAL;
        buffer_put_u8(b, '\0');
        ret->value = b->n;
        if (equals && form_decode(equals + 1, n - n_name - 1, true, b) < 0)
                return -EINVAL;
        ret->n_value = b->n - ret->value;
        buffer_put_u8(b, '\0');
        return 0;
}

static void take_fields(struct form *f, char *memory, const struct span *spans, size_t n)
{
        for (size_t i = 0; i < n; i++)
                f->fields[f->n++] = (struct form_field){ .name = memory + spans[i].name,
                                                         .value = memory + spans[i].value,
                                                         .n_value = spans[i].n_value };
}

static int parse_part(struct form *f, size_t part, const char *s, size_t n,
                      char cause[static FORM_CAUSE_SIZE])
{
        struct span spans[FORM_FIELDS_MAX];
        size_t n_spans = 0;
        _cleanup_(buffer_done)
        struct buffer b = { 0 };

        if (memchr(s, ';', n)) {
                (void)snprintf(cause, FORM_CAUSE_SIZE, "invalid semicolon separator in query");
                return -EINVAL;
        }
        for (const char *end = s + n; s < end;) {
                const char *amp = memchr(s, '&', (size_t)(end - s));
                size_t n_field = (size_t)((amp ? amp : end) - s);

                if (n_field > 0 && f->n + n_spans == FORM_FIELDS_MAX) {
                        (void)snprintf(cause, FORM_CAUSE_SIZE, "too many parameters");
                        return -EINVAL;
                }
                if (n_field > 0 && parse_field(s, n_field, &b, &spans[n_spans++]) < 0) {
                        broken_escape(s, n_field, cause);
                        return -EINVAL;
                }
                s += n_field + (amp != NULL);
        }
        f->memory[part] = (char *)TAKE_PTR(b.bytes);
        take_fields(f, f->memory[part], spans, n_spans);
        return 0;
}

int form_parse(const char *body, size_t n_body, const char *query, struct form *ret,
               char cause[static FORM_CAUSE_SIZE])
{
        struct form f = { 0 };
        int r = 0;

        if (body)
                r = parse_part(&f, 0, body, n_body, cause);
        if (r == 0)
                r = parse_part(&f, 1, query, strlen(query), cause);
        if (r < 0) {
                form_done(&f);
                return r;
        }
        *ret = f;
        return 0;
}

void form_done(struct form *f)
{
        free(f->memory[0]);
        free(f->memory[1]);
        *f = (struct form){ 0 };
}

const struct form_field *form_find(const struct form *f, const char *name)
{
        for (size_t i = 0; i < f->n; i++) {
                if (strcmp(f->fields[i].name, name) == 0)
                        return &f->fields[i];
        }
        return NULL;
}

const char *form_value(const struct form *f, const char *name)
{
        const struct form_field *field = form_find(f, name);

        return field ? field->value : NULL;
}
