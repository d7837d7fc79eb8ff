/* Parameters of a request: percent-decoding, and the names and values of query and form. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "election/base/buffer.h"

enum {
        FORM_FIELDS_MAX = 64, /* parameters of one request; more are refused */
        FORM_CAUSE_SIZE = 64, /* bytes for why it was refused, with the final NUL */
};

/* Strings end with a NUL that is not counted; values may have more of them inside. */
struct form_field {
        const char *name;
        const char *value;
        size_t n_value;
};

struct form {
        struct form_field fields[FORM_FIELDS_MAX];
        size_t n;
        char *memory[2]; /* what the fields point into */
};

void form_done(struct form *f);

/*
 * Appends @n bytes at @s to @ret with each %XX as one byte, and '+' as a blank if @plus. Returns 0,
 * or -EINVAL for a broken escape.
 */
int form_decode(const char *s, size_t n, bool plus, struct buffer *ret);

/*
 * Parses the body of a form, which may be NULL, and a query; fields of the body stand first.
 * Returns 0 and a form for form_done(), or -EINVAL and the cause, in the words of etcd.
 */
int form_parse(const char *body, size_t n_body, const char *query, struct form *ret,
               char cause[static FORM_CAUSE_SIZE]);

/* The first field of that name, or NULL. */
const struct form_field *form_find(const struct form *f, const char *name);
/* Its value, or NULL. */
const char *form_value(const struct form *f, const char *name);
