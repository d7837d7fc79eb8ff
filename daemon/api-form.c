/* Parameters of a request, as application/x-www-form-urlencoded writes them. */
#include "daemon/api-form.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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

/* A parameter, or the name or the value of one. */
struct text {
        char *s;
        size_t n;
};

static int refuse(char cause[static FORM_CAUSE_SIZE], const char *why)
{
        (void)snprintf(cause, FORM_CAUSE_SIZE, "%s", why);
        return -EINVAL;
}

/* The value of the escape that begins @t, or a negative number. */
static int escaped(const struct text *t)
{
        int high = t->n < 3 ? -1 : hex_digit(t->s[1]);
        int low = high < 0 ? -1 : hex_digit(t->s[2]);

        return low < 0 ? -1 : high << 4 | low;
}

/* Decodes @t in place; a NUL follows, on what stood behind it if it has not become shorter. */
static int decode(struct text *t, char cause[static FORM_CAUSE_SIZE])
{
        size_t n = 0;

        for (size_t i = 0; i < t->n; i++) {
                const struct text rest = { t->s + i, t->n - i };
                char c = t->s[i];

                if (c == '+') {
                        c = ' ';
                } else if (c == '%') {
                        int byte = escaped(&rest);

                        if (byte < 0) {
                                (void)snprintf(cause, FORM_CAUSE_SIZE,
                                               "invalid URL escape \"%.*s\"",
                                               rest.n < 3 ? (int)rest.n : 3, rest.s);
                                return -EINVAL;
                        }
                        c = (char)byte;
                        i += 2;
                }
                t->s[n++] = c;
        }
        t->n = n;
        t->s[n] = '\0';
        return 0;
}

/* "name=value", behind which a byte may be written. */
static int parse_field(struct form *f, struct text t, char cause[static FORM_CAUSE_SIZE])
{
        char *equals = memchr(t.s, '=', t.n);
        struct text name = { t.s, equals ? (size_t)(equals - t.s) : t.n };
        struct text value = { t.s + t.n, 0 };

        if (f->n == FORM_FIELDS_MAX)
                return refuse(cause, "too many parameters");
        if (equals)
                value = (struct text){ equals + 1, t.n - name.n - 1 };
        if (decode(&name, cause) < 0 || decode(&value, cause) < 0)
                return -EINVAL;
        f->fields[f->n++] = (struct form_field){ name.s, value.s, value.n };
        return 0;
}

static int parse_part(struct form *f, struct text t, char cause[static FORM_CAUSE_SIZE])
{
        char *end = t.s + t.n;

        if (memchr(t.s, ';', t.n))
                return refuse(cause, "invalid semicolon separator in query");
        for (char *s = t.s; s < end;) {
                char *amp = memchr(s, '&', (size_t)(end - s));
                size_t n = (size_t)((amp ? amp : end) - s);

                if (n > 0 && parse_field(f, (struct text){ s, n }, cause) < 0)
                        return -EINVAL;
                s += n + 1;
        }
        return 0;
}

int form_parse(char *body, size_t n_body, char *query, struct form *ret,
               char cause[static FORM_CAUSE_SIZE])
{
        int r = 0;

        ret->n = 0;
        if (body)
                r = parse_part(ret, (struct text){ body, n_body }, cause);
        if (r == 0)
                r = parse_part(ret, (struct text){ query, strlen(query) }, cause);
        return r;
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
