/*
 * Any bytes as what a client sends: requests one after the other, in two kinds of pieces, which must
 * mean the same; then the form and the parameters of each. For libFuzzer.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/api-form.h"
#include "daemon/api-keys.h"
#include "daemon/http-parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum {
        REQUESTS_MAX = 16,
};

/* What a stream of requests means: the sum of what each one says. */
struct meaning {
        size_t n_requests;
        int status;
        struct buffer said;
};

static void require(bool truth)
{
        if (!truth)
                abort();
}

static void put_string(struct buffer *b, const char *s)
{
        buffer_put(b, s, strlen(s) + 1);
}

/* Parameters are decoded in place, and never say more than was there. */
static void look_at_parameters(const struct http_parser *p, char *bytes)
{
        char key[STORE_KEY_BYTES_MAX + 1], cause[FORM_CAUSE_SIZE], keys_cause[KEYS_CAUSE_SIZE];
        char empty[] = "", saved = bytes[p->body + p->n_body];
        struct keys_request request;
        struct keys_error error;
        struct form form;
        int n = keys_clean_path(bytes + p->path, key, sizeof(key));

        require(n < 0 || (n == (int)strlen(key) && key[0] == '/' && !strstr(key, "//")));
        if (form_parse(bytes + p->body, p->n_body, p->query ? bytes + p->query : empty, &form,
                       cause) == 0) {
                for (size_t i = 0; i < form.n; i++)
                        require(form.fields[i].value[form.fields[i].n_value] == '\0');
                for (enum keys_method m = KEYS_GET; m <= KEYS_DELETE; m++)
                        (void)keys_parse(m, &form, &request, &error, keys_cause);
        }
        bytes[p->body + p->n_body] = saved;
}

static void look_at(struct meaning *m, const struct http_parser *p, char *bytes)
{
        require(p->at >= p->body + p->n_body);
        require(p->n_body <= HTTP_BODY_MAX && p->body <= HTTP_HEAD_MAX);
        m->n_requests++;
        buffer_put_u8(&m->said, (uint8_t)p->method);
        put_string(&m->said, bytes + p->path);
        if (p->query)
                put_string(&m->said, bytes + p->query);
        buffer_put(&m->said, bytes + p->body, p->n_body);
        look_at_parameters(p, bytes);
}

/* As the server does it: pieces of @step bytes come, whole requests go. */
static void read_all(const uint8_t *bytes, size_t n, size_t step, struct meaning *ret)
{
        char *in = malloc(n + 1);
        struct http_parser p = { 0 };
        size_t n_in = 0;

        for (size_t i = 0; i < n && ret->status == 0; i += step) {
                size_t part = n - i < step ? n - i : step;
                enum http_progress progress;

                memcpy(in + n_in, bytes + i, part);
                n_in += part;
                while (n_in > 0 && (progress = http_parse(&p, in, &n_in)) != HTTP_MORE) {
                        if (progress == HTTP_BAD || ret->n_requests == REQUESTS_MAX) {
                                ret->status = progress == HTTP_BAD ? p.status : 1;
                                break;
                        }
                        require(p.at <= n_in);
                        look_at(ret, &p, in);
                        n_in -= p.at;
                        memmove(in, in + p.at, n_in);
                        p = (struct http_parser){ 0 };
                }
        }
        free(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        struct meaning whole = { 0 }, pieces = { 0 };

        if (n == 0)
                return 0;
        read_all(bytes + 1, n - 1, n, &whole);
        read_all(bytes + 1, n - 1, 1 + bytes[0] % 64, &pieces);
        require(whole.n_requests == pieces.n_requests && whole.status == pieces.status);
        require(whole.said.n == pieces.said.n);
        require(whole.said.n == 0 ||
                memcmp(whole.said.bytes, pieces.said.bytes, whole.said.n) == 0);
        buffer_done(&whole.said);
        buffer_done(&pieces.said);
        return 0;
}
