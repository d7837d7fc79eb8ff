/* HTTP/1 requests; see http-parse.h. */
#include "daemon/http-parse.h"

#include <string.h>
#include <strings.h>

enum {
        BAD_REQUEST = 400,
        TOO_LARGE = 413,
        TARGET_TOO_LONG = 414,
        HEAD_TOO_LARGE = 431,
        NOT_IMPLEMENTED = 501,
        BAD_VERSION = 505,
};

/* A part of the bytes. */
struct text {
        char *s;
        size_t n;
};

static bool fail(struct http_parser *p, int status)
{
        p->status = status;
        return false;
}

static bool is_text(const struct text *t, const char *wanted)
{
        return t->n == strlen(wanted) && strncasecmp(t->s, wanted, t->n) == 0;
}

/* A character of a name (RFC 9110, section 5.6.2). */
static bool is_token_char(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(const struct text *t)
{
        for (size_t i = 0; i < t->n; i++) {
                if (!is_token_char(t->s[i]))
                        return false;
        }
        return t->n > 0;
}

/* The text before @c, which is taken off @t with it; all of it if there is no @c. */
static struct text take_until(struct text *t, char c)
{
        char *end = memchr(t->s, c, t->n);
        struct text before = { t->s, end ? (size_t)(end - t->s) : t->n };
        size_t used = before.n + (end != NULL);

        t->s += used;
        t->n -= used;
        return before;
}

static struct text trim(struct text t)
{
        while (t.n > 0 && (t.s[0] == ' ' || t.s[0] == '\t')) {
                t.s++;
                t.n--;
        }
        while (t.n > 0 && (t.s[t.n - 1] == ' ' || t.s[t.n - 1] == '\t'))
                t.n--;
        return t;
}

/* The request line. */

static enum http_method method_of(const struct text *name)
{
        static const char *const names[] = {
                [HTTP_GET] = "GET",   [HTTP_HEAD] = "HEAD",     [HTTP_PUT] = "PUT",
                [HTTP_POST] = "POST", [HTTP_DELETE] = "DELETE", [HTTP_OPTIONS] = "OPTIONS",
        };

        for (unsigned i = 0; i < HTTP_OTHER; i++) {
                if (name->n == strlen(names[i]) && memcmp(name->s, names[i], name->n) == 0)
                        return (enum http_method)i;
        }
        return HTTP_OTHER;
}

static bool parse_version(struct http_parser *p, const struct text *t)
{
        if (t->n != strlen("HTTP/1.1") || memcmp(t->s, "HTTP/", 5) != 0 || t->s[5] < '0' ||
            t->s[5] > '9' || t->s[6] != '.' || t->s[7] < '0' || t->s[7] > '9')
                return fail(p, BAD_REQUEST);
        if (t->s[5] != '1')
                return fail(p, BAD_VERSION);
        p->minor = (unsigned)(t->s[7] - '0');
        return true;
}

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

/* Decodes in place, and ends it with a NUL: what stood behind @t is used up. */
static bool decode_path(struct http_parser *p, struct text *t)
{
        size_t n = 0;

        for (size_t i = 0; i < t->n; i++) {
                char c = t->s[i];

                if (c == '%') {
                        int high = t->n - i < 3 ? -1 : hex_digit(t->s[i + 1]);
                        int low = high < 0 ? -1 : hex_digit(t->s[i + 2]);

                        if (low < 0 || (high == 0 && low == 0))
                                return fail(p, BAD_REQUEST);
                        c = (char)(high << 4 | low);
                        i += 2;
                }
                t->s[n++] = c;
        }
        t->s[n] = '\0';
        return true;
}

/* http://host/path is the same as /path (RFC 9112, section 3.2.2). */
static void skip_authority(struct text *t)
{
        static const char scheme[] = "http://";

        if (t->n < strlen(scheme) || strncasecmp(t->s, scheme, strlen(scheme)) != 0)
                return;
        t->s += strlen(scheme);
        t->n -= strlen(scheme);
        while (t->n > 0 && t->s[0] != '/' && t->s[0] != '?') {
                t->s++;
                t->n--;
        }
        if (t->n == 0 || t->s[0] == '?') { /* there is room: the authority stood here */
                t->s--;
                t->n++;
                t->s[0] = '/';
        }
}

static bool parse_target(struct http_parser *p, const char *bytes, struct text t)
{
        struct text path;
        bool has_query;

        for (size_t i = 0; i < t.n; i++) {
                if ((unsigned char)t.s[i] <= ' ' || t.s[i] == 0x7F)
                        return fail(p, BAD_REQUEST);
        }
        skip_authority(&t);
        if (t.n == 0 || (t.s[0] != '/' && !(p->method == HTTP_OPTIONS && is_text(&t, "*"))))
                return fail(p, BAD_REQUEST);
        t.s[t.n] = '\0'; /* the blank before the version */
        has_query = memchr(t.s, '?', t.n) != NULL;
        path = take_until(&t, '?');
        if (!decode_path(p, &path))
                return false;
        p->path = (size_t)(path.s - bytes);
        p->query = has_query ? (size_t)(t.s - bytes) : 0;
        return true;
}

static bool parse_request_line(struct http_parser *p, char *bytes, struct text line)
{
        struct text method = take_until(&line, ' ');
        struct text target = take_until(&line, ' ');

        if (!is_token(&method))
                return fail(p, BAD_REQUEST);
        p->method = method_of(&method);
        return parse_version(p, &line) && parse_target(p, bytes, target);
}

/* Headers. */

static bool parse_length(struct http_parser *p, const struct text *value)
{
        uint64_t n = 0;

        for (size_t i = 0; i < value->n; i++) {
                if (value->s[i] < '0' || value->s[i] > '9')
                        return fail(p, BAD_REQUEST);
                if (__builtin_mul_overflow(n, 10, &n) ||
                    __builtin_add_overflow(n, (uint64_t)(value->s[i] - '0'), &n))
                        return fail(p, TOO_LARGE);
        }
        if (value->n == 0 || (p->has_length && p->length != n))
                return fail(p, BAD_REQUEST);
        p->has_length = true;
        p->length = n;
        return true;
}

static bool parse_encoding(struct http_parser *p, const struct text *value)
{
        if (!is_text(value, "chunked"))
                return fail(p, NOT_IMPLEMENTED);
        if (p->is_chunked) /* twice */
                return fail(p, BAD_REQUEST);
        p->is_chunked = true;
        return true;
}

static void parse_connection(struct http_parser *p, struct text value)
{
        while (value.n > 0) {
                struct text option = trim(take_until(&value, ','));

                p->wants_close |= is_text(&option, "close");
                p->wants_keep_alive |= is_text(&option, "keep-alive");
        }
}

static bool parse_known(struct http_parser *p, const char *bytes, const struct text *name,
                        struct text value)
{
        if (is_text(name, "Host")) {
                if (p->has_host)
                        return fail(p, BAD_REQUEST);
                p->has_host = true;
        } else if (is_text(name, "Content-Length")) {
                return parse_length(p, &value);
        } else if (is_text(name, "Transfer-Encoding")) {
                return parse_encoding(p, &value);
        } else if (is_text(name, "Connection")) {
                parse_connection(p, value);
        } else if (is_text(name, "Origin")) {
                p->is_from_page = true;
        } else if (is_text(name, "Expect")) {
                p->wants_continue |= is_text(&value, "100-continue");
        } else if (is_text(name, "Content-Type") && !p->has_content_type) {
                value.s[value.n] = '\0'; /* its line has been read */
                p->has_content_type = true;
                p->content_type = (size_t)(value.s - bytes);
        }
        return true;
}

/* A name that only begins with a known letter need not be compared with all known names. */
static bool may_be_known(const struct text *name)
{
        return strchr("HhCcTtOoEe", name->s[0]) != NULL;
}

static bool parse_header(struct http_parser *p, const char *bytes, struct text line)
{
        struct text name;

        if (!memchr(line.s, ':', line.n))
                return fail(p, BAD_REQUEST);
        for (size_t i = 0; i < line.n; i++) {
                if ((unsigned char)line.s[i] < ' ' && line.s[i] != '\t')
                        return fail(p, BAD_REQUEST);
        }
        name = take_until(&line, ':');
        if (!is_token(
                    &name)) /* also a line that continues the one before: it begins with a blank */
                return fail(p, BAD_REQUEST);
        return !may_be_known(&name) || parse_known(p, bytes, &name, trim(line));
}

/* Bodies. */

static bool has_meaning(enum http_method m)
{
        return m == HTTP_PUT || m == HTTP_POST;
}

/* The head is whole: what follows? Two lengths are how requests are smuggled past a proxy. */
static bool begin_body(struct http_parser *p)
{
        p->body = p->at;
        p->wants_close |= p->minor == 0 && !p->wants_keep_alive;
        if ((p->minor > 0 && !p->has_host) || (p->is_chunked && (p->has_length || p->minor == 0)))
                return fail(p, BAD_REQUEST);
        if (p->length > HTTP_BODY_MAX)
                return fail(p, TOO_LARGE);
        p->left = p->length;
        p->part = p->is_chunked ? HTTP_PART_CHUNK_SIZE
                  : p->left > 0 ? HTTP_PART_BODY
                                : HTTP_PART_END;
        return true;
}

/* The next line without its end, or false if it is not whole. */
static bool next_line(struct http_parser *p, char *bytes, size_t n, struct text *ret)
{
        size_t from = p->scanned > p->at ? p->scanned : p->at;
        char *end = memchr(bytes + from, '\n', n - from);
        size_t begin = p->at;

        if (!end) {
                p->scanned = n;
                return false;
        }
        p->at = (size_t)(end - bytes) + 1;
        *ret = (struct text){ bytes + begin, (size_t)(end - bytes) - begin };
        if (ret->n > 0 && ret->s[ret->n - 1] == '\r')
                ret->n--;
        return true;
}

/* Each returns whether it got on; @p->status is set if it never will. */
static bool read_head(struct http_parser *p, char *bytes, size_t n)
{
        struct text line;
        bool has_line = next_line(p, bytes, n, &line);

        if ((has_line ? p->at : n) > HTTP_HEAD_MAX)
                return fail(p, p->path ? HEAD_TOO_LARGE : TARGET_TOO_LONG);
        if (!has_line)
                return false;
        if (!p->path) /* empty lines before a request are ignored (RFC 9112, section 2.2) */
                return line.n == 0 || parse_request_line(p, bytes, line);
        return line.n == 0 ? begin_body(p) : parse_header(p, bytes, line);
}

/* Bytes of the body that are there, moved to those before, or dropped. */
static bool read_body(struct http_parser *p, char *bytes, size_t n)
{
        size_t take = n - p->at < p->left ? n - p->at : (size_t)p->left;

        if (has_meaning(p->method)) {
                if (p->body + p->n_body != p->at)
                        memmove(bytes + p->body + p->n_body, bytes + p->at, take);
                p->n_body += take;
        }
        p->at += take;
        p->left -= take;
        if (p->left > 0)
                return false;
        p->part = p->part == HTTP_PART_BODY ? HTTP_PART_END : HTTP_PART_CHUNK_END;
        return true;
}

static bool parse_chunk_size(struct http_parser *p, struct text line)
{
        struct text digits = trim(take_until(&line, ';'));
        uint64_t n = 0;

        for (size_t i = 0; i < digits.n; i++) {
                int digit = hex_digit(digits.s[i]);

                if (digit < 0)
                        return fail(p, BAD_REQUEST);
                n = n << 4 | (unsigned)digit;
                if (n > HTTP_BODY_MAX)
                        return fail(p, TOO_LARGE);
        }
        if (digits.n == 0)
                return fail(p, BAD_REQUEST);
        p->length += n; /* of all chunks so far */
        if (p->length > HTTP_BODY_MAX)
                return fail(p, TOO_LARGE);
        p->left = n;
        p->part = n > 0 ? HTTP_PART_CHUNK : HTTP_PART_TRAILER;
        return true;
}

static bool read_chunk_size(struct http_parser *p, char *bytes, size_t n)
{
        size_t begin = p->at;
        struct text line;
        bool has_line = next_line(p, bytes, n, &line);

        if ((has_line ? p->at : n) - begin > HTTP_CHUNK_LINE_MAX)
                return fail(p, BAD_REQUEST);
        return has_line && parse_chunk_size(p, line);
}

static bool read_chunk_end(struct http_parser *p, char *bytes, size_t n)
{
        struct text line;

        if (n - p->at > 2 && !memchr(bytes + p->at, '\n', 2))
                return fail(p, BAD_REQUEST);
        if (!next_line(p, bytes, n, &line))
                return false;
        p->part = HTTP_PART_CHUNK_SIZE;
        return line.n == 0 || fail(p, BAD_REQUEST);
}

/* Headers behind the body are read and mean nothing. */
static bool read_trailer(struct http_parser *p, char *bytes, size_t n)
{
        size_t begin = p->at;
        struct text line;
        bool has_line = next_line(p, bytes, n, &line);

        if (p->n_trailer + (has_line ? p->at : n) - begin > HTTP_TRAILER_MAX)
                return fail(p, HEAD_TOO_LARGE);
        if (!has_line)
                return false;
        p->n_trailer += p->at - begin;
        if (line.n == 0)
                p->part = HTTP_PART_END;
        return true;
}

static bool read_part(struct http_parser *p, char *bytes, size_t n)
{
        switch (p->part) {
        case HTTP_PART_HEAD:
                return read_head(p, bytes, n);
        case HTTP_PART_BODY:
        case HTTP_PART_CHUNK:
                return read_body(p, bytes, n);
        case HTTP_PART_CHUNK_SIZE:
                return read_chunk_size(p, bytes, n);
        case HTTP_PART_CHUNK_END:
                return read_chunk_end(p, bytes, n);
        case HTTP_PART_TRAILER:
                return read_trailer(p, bytes, n);
        case HTTP_PART_END:
                break;
        }
        return false;
}

/* What was understood and is not kept makes room: a body that is dropped needs no memory. */
static void forget(struct http_parser *p, char *bytes, size_t *n)
{
        size_t end = p->body + p->n_body;

        if (p->part == HTTP_PART_HEAD || end == p->at)
                return;
        memmove(bytes + end, bytes + p->at, *n - p->at);
        *n -= p->at - end;
        p->scanned = p->scanned > p->at ? p->scanned - (p->at - end) : 0;
        p->at = end;
}

enum http_progress http_parse(struct http_parser *p, char *bytes, size_t *n)
{
        while (p->status == 0 && p->part != HTTP_PART_END && read_part(p, bytes, *n))
                ;
        if (p->status != 0)
                return HTTP_BAD;
        if (p->part == HTTP_PART_END)
                return HTTP_WHOLE;
        forget(p, bytes, n);
        return HTTP_MORE;
}

bool http_parser_waits(const struct http_parser *p, size_t n)
{
        return p->wants_continue && p->minor > 0 && p->part != HTTP_PART_HEAD &&
               p->part != HTTP_PART_END && n == p->body;
}
