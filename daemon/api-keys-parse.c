/* The parameters of /v2/keys: section 3 of etcd's v2 API, in its order of checks. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/api-keys.h"

enum {
        PREV_VALUE_REQUIRED = 201,
        TTL_NOT_A_NUMBER = 202,
        INDEX_NOT_A_NUMBER = 203,
        INVALID_FIELD = 209,
        INVALID_FORM = 210,
        REFRESH_WITH_VALUE = 211,
        REFRESH_WITHOUT_TTL = 212,
};

struct parser {
        enum keys_method method;
        const struct form *form;
        struct keys_error *error;
        char *cause;
};

static bool fail(struct parser *p, unsigned code, const char *cause)
{
        (void)snprintf(p->cause, KEYS_CAUSE_SIZE, "%s", cause);
        *p->error =
                (struct keys_error){ .code = code, .cause = p->cause, .n_cause = strlen(p->cause) };
        return false;
}

static bool fail_value(struct parser *p, unsigned code, const char *name)
{
        char cause[KEYS_CAUSE_SIZE];

        (void)snprintf(cause, sizeof(cause), "invalid value for \"%s\"", name);
        return fail(p, code, cause);
}

/* The words of Go's strconv.ParseBool, which etcd uses. */
static bool parse_bool(const char *s, bool *ret)
{
        static const char *const words[2][6] = {
                { "0", "f", "F", "FALSE", "false", "False" },
                { "1", "t", "T", "TRUE", "true", "True" },
        };

        for (unsigned truth = 0; truth < 2; truth++) {
                for (unsigned i = 0; i < 6; i++) {
                        if (strcmp(s, words[truth][i]) == 0) {
                                *ret = truth;
                                return true;
                        }
                }
        }
        return false;
}

static bool parse_u64(const char *s, uint64_t *ret)
{
        uint64_t n = 0;

        if (*s == '\0')
                return false;
        for (; *s; s++) {
                if (*s < '0' || *s > '9' || __builtin_mul_overflow(n, 10, &n) ||
                    __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
                        return false;
        }
        *ret = n;
        return true;
}

/* A parameter that is not given leaves @ret as it is. */
static bool get_bool(struct parser *p, const char *name, bool *ret)
{
        const char *value = form_value(p->form, name);

        return !value || parse_bool(value, ret) || fail_value(p, INVALID_FIELD, name);
}

static bool get_index(struct parser *p, const char *name, uint64_t *ret)
{
        const char *value = form_value(p->form, name);

        return !value || parse_u64(value, ret) || fail_value(p, INDEX_NOT_A_NUMBER, name);
}

static bool get_previous_value(struct parser *p, struct store_key_command *c)
{
        const struct form_field *f = form_find(p->form, "prevValue");

        if (!f)
                return true;
        if (f->n_value == 0)
                return fail(p, PREV_VALUE_REQUIRED, "\"prevValue\" cannot be empty");
        c->previous_value = f->value;
        c->n_previous_value = f->n_value;
        return true;
}

static bool get_ttl(struct parser *p, struct store_key_command *c)
{
        const char *value = form_value(p->form, "ttl");
        uint64_t seconds;

        if (!value || *value == '\0')
                return true;
        if (!parse_u64(value, &seconds))
                return fail_value(p, TTL_NOT_A_NUMBER, "ttl");
        c->has_ttl = true;
        c->ttl = (seconds > KEYS_TTL_MAX_SEC ? KEYS_TTL_MAX_SEC : seconds) * USEC_PER_SEC;
        return true;
}

static bool get_exist(struct parser *p, struct store_key_command *c)
{
        const char *value = form_value(p->form, "prevExist");
        bool exist;

        if (!value)
                return true;
        if (!parse_bool(value, &exist))
                return fail(p, INVALID_FIELD, "invalid value for prevExist");
        c->condition = exist ? STORE_MUST_EXIST : STORE_MUST_NOT_EXIST;
        return true;
}

static bool get_refresh(struct parser *p, struct store_key_command *c)
{
        const char *value = form_value(p->form, "refresh");

        if (!value)
                return true;
        if (!parse_bool(value, &c->refresh))
                return fail(p, INVALID_FIELD, "invalid value for refresh");
        if (c->refresh && c->n_value > 0)
                return fail(p, REFRESH_WITH_VALUE, "A value was provided on a refresh");
        if (c->refresh && !c->has_ttl)
                return fail(p, REFRESH_WITHOUT_TTL, "No TTL value set");
        return true;
}

static bool get_value(struct parser *p, struct store_key_command *c)
{
        const struct form_field *f = form_find(p->form, "value");

        if (!f)
                return true;
        c->value = f->value;
        c->n_value = f->n_value;
        if (f->n_value > STORE_VALUE_BYTES_MAX)
                return fail(p, INVALID_FORM, "the value is larger than 1000000 bytes");
        return true;
}

static bool get_wait(struct parser *p, struct keys_request *r)
{
        if (!get_bool(p, "wait", &r->wait) || !get_bool(p, "dir", &r->command.directory) ||
            !get_bool(p, "quorum", &r->quorum) || !get_bool(p, "stream", &r->stream))
                return false;
        if (r->wait && p->method != KEYS_GET)
                return fail(p, INVALID_FIELD, "\"wait\" can only be used with GET requests");
        return true;
}

/* Parameters of other methods were checked and mean nothing. */
static void keep_what_counts(enum keys_method method, struct store_key_command *c)
{
        static const enum store_key_action actions[] = {
                [KEYS_GET] = STORE_SET,     [KEYS_HEAD] = STORE_SET,      [KEYS_PUT] = STORE_SET,
                [KEYS_POST] = STORE_CREATE, [KEYS_DELETE] = STORE_DELETE,
        };

        c->action = actions[method];
        if (method != KEYS_PUT) {
                c->condition = STORE_ANY;
                c->refresh = false;
        }
        if (method == KEYS_POST) {
                c->previous_value = NULL;
                c->n_previous_value = 0;
                c->previous_index = 0;
        }
        if (method == KEYS_DELETE) {
                c->value = NULL;
                c->n_value = 0;
                c->has_ttl = false;
        } else {
                c->recursive = false;
        }
}

static bool get_all(struct parser *p, struct keys_request *r)
{
        struct store_key_command *c = &r->command;

        return get_index(p, "prevIndex", &c->previous_index) &&
               get_index(p, "waitIndex", &r->wait_index) &&
               get_bool(p, "recursive", &r->listing.recursive) &&
               get_bool(p, "sorted", &r->listing.sorted) && get_wait(p, r) &&
               get_previous_value(p, c) && get_bool(p, "noValueOnSuccess", &r->no_value) &&
               get_ttl(p, c) && get_exist(p, c) && get_value(p, c) && get_refresh(p, c);
}

bool keys_parse(enum keys_method method, const struct form *form, struct keys_request *ret,
                struct keys_error *ret_error, char cause[static KEYS_CAUSE_SIZE])
{
        struct parser p = { .method = method, .form = form, .error = ret_error, .cause = cause };

        *ret = (struct keys_request){ 0 };
        if (!get_all(&p, ret))
                return false;
        ret->command.recursive = ret->listing.recursive;
        keep_what_counts(method, &ret->command);
        return true;
}

/* Paths. */

/* One part of a path: "." is none, ".." takes the last one off @ret. */
static int put_part(const char *part, size_t n, char *ret, size_t *n_ret, size_t size)
{
        if (n == 0 || (n == 1 && part[0] == '.'))
                return 0;
        if (n == 2 && part[0] == '.' && part[1] == '.') {
                if (*n_ret == 0)
                        return -EINVAL;
                while (ret[--*n_ret] != '/')
                        ;
                return 0;
        }
        if (*n_ret + n + 2 > size)
                return -EINVAL;
        ret[*n_ret] = '/';
        memcpy(ret + *n_ret + 1, part, n);
        *n_ret += n + 1;
        return 0;
}

int keys_clean_path(const char *path, char *ret, size_t size)
{
        char clean[STORE_KEY_BYTES_MAX + 2];
        size_t n_clean = 0;

        while (*path) {
                size_t n = strcspn(path, "/");

                if (put_part(path, n, clean, &n_clean, sizeof(clean)) < 0)
                        return -EINVAL;
                path += n + (path[n] == '/');
        }
        clean[n_clean] = '\0';
        return store_path_clean(n_clean > 0 ? clean : "/", ret, size);
}
