/* Parameters of a request: percent-decoding, and the names and values of query and form. */
#pragma once

#include <stddef.h>

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
        size_t n;
        struct form_field fields[FORM_FIELDS_MAX];
};

/*
 * Parses the body of a form, which may be NULL, and a query; fields of the body stand first. Both
 * are decoded in place, and the fields point into them; the byte behind the body is overwritten.
 * Returns 0, or -EINVAL and the cause, in the words of etcd.
 */
int form_parse(char *body, size_t n_body, char *query, struct form *ret,
               char cause[static FORM_CAUSE_SIZE]);

/* The first field of that name, or NULL. */
const struct form_field *form_find(const struct form *f, const char *name);
/* Its value, or NULL. */
const char *form_value(const struct form *f, const char *name);
