/* Reading a file and preparing its text. */
#include "conf/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/complaint.h"

enum { DEPTH_MAX = 4 }; /* a list in a block in a block, and one too many */

struct brace {
        unsigned line;
        bool is_list;
};

struct scanner {
        const char *path;
        const char *at;
        const char *end;
        unsigned line;
        char before; /* the last character that is neither space nor comment */
        struct brace open[DEPTH_MAX];
        unsigned depth;
        struct buffer *text;
        struct conf_complaint *complaint;
};

static void keep(struct scanner *s)
{
        if (*s->at == '\n')
                s->line++;
        buffer_put_u8(s->text, (uint8_t)*s->at++);
}

static bool sees(const struct scanner *s, const char *word)
{
        size_t n = strlen(word);

        return (size_t)(s->end - s->at) >= n && memcmp(s->at, word, n) == 0;
}

static void skip_line(struct scanner *s)
{
        while (s->at < s->end && *s->at != '\n')
                s->at++;
}

/* Newlines stay, so that libconfuse counts as we do. */
static int skip_comment(struct scanner *s)
{
        unsigned begin = s->line;

        for (s->at += 2; s->at < s->end; s->at++) {
                if (sees(s, "*/")) {
                        s->at += 2;
                        buffer_put_u8(s->text, ' ');
                        return 0;
                }
                if (*s->at == '\n') {
                        s->line++;
                        buffer_put_u8(s->text, '\n');
                }
        }
        return complain(s->complaint, s->path, begin, "the comment is never closed; write */");
}

static int refuse_environment(struct scanner *s)
{
        return complain(s->complaint, s->path, s->line,
                        "\"${\" would mean a variable of the environment, which is another one in "
                        "each process; write the value itself, or \"\\${\" for these characters");
}

/* Long strings end here: libconfuse lets them grow by 32 bytes at a time. */
static int copy_string(struct scanner *s)
{
        const char *from = s->at;
        unsigned begin = s->line;
        char quote = *s->at;

        for (keep(s); s->at < s->end && *s->at != quote; keep(s)) {
                if (s->at - from > CONF_VALUE_MAX)
                        return complain(s->complaint, s->path, begin,
                                        "the string has more than %d characters", CONF_VALUE_MAX);
                if (quote == '"' && sees(s, "${"))
                        return refuse_environment(s);
                if (*s->at == '\\' && s->at + 1 < s->end)
                        keep(s);
        }
        if (s->at == s->end)
                return complain(s->complaint, s->path, begin,
                                "the string is never closed; write %c", quote);
        keep(s);
        return 0;
}

static int open_brace(struct scanner *s)
{
        bool is_list = s->before == '=';
        char line[64];
        int n;

        if (s->depth == DEPTH_MAX)
                return complain(s->complaint, s->path, s->line,
                                "blocks are nested deeper than any block can be");
        s->open[s->depth++] = (struct brace){ .line = s->line, .is_list = is_list };
        keep(s);
        if (is_list)
                return 0;
        n = snprintf(line, sizeof(line), " %s = %u ", SOURCE_LINE, s->line);
        buffer_put(s->text, line, (size_t)n);
        return 0;
}

static int close_brace(struct scanner *s)
{
        if (s->depth == 0)
                return complain(s->complaint, s->path, s->line,
                                "\"}\" closes nothing; remove it, or open a block with {");
        s->depth--;
        if (s->open[s->depth].is_list && s->before == '{')
                return complain(s->complaint, s->path, s->line,
                                "the list is empty; write a value into it, or leave the option "
                                "out");
        keep(s);
        return 0;
}

/* What libconfuse would drop without a word, or take for a call of a function. */
static int refuse_character(struct scanner *s)
{
        return complain(s->complaint, s->path, s->line,
                        "unexpected \"%c\"; write a value that contains it in quotes", *s->at);
}

static bool word_begins(const struct scanner *s)
{
        return s->text->n == 0 || strchr(" \t\r\n={},\"'", s->text->bytes[s->text->n - 1]);
}

static bool comment_begins(const struct scanner *s)
{
        return *s->at == '#' || (sees(s, "//") && word_begins(s));
}

static int scan_one(struct scanner *s)
{
        char c = *s->at;
        int r = 0;

        if (comment_begins(s)) {
                skip_line(s);
                return 0;
        }
        if (sees(s, "/*"))
                return skip_comment(s);
        if (sees(s, "${"))
                return refuse_environment(s);
        if (strchr("*()", c) || (c == '+' && !sees(s, "+=")) || (c == '@' && word_begins(s)))
                return refuse_character(s);

        if (c == '"' || c == '\'')
                r = copy_string(s);
        else if (c == '{')
                r = open_brace(s);
        else if (c == '}')
                r = close_brace(s);
        else
                keep(s);
        if (!strchr(" \t\r\n", c))
                s->before = c;
        return r;
}

static int refuse_binary(struct scanner *s)
{
        unsigned line = 1;

        for (const char *c = s->at; c < s->end; c++) {
                if (*c == '\n')
                        line++;
                else if (((unsigned char)*c < ' ' && *c != '\t' && *c != '\r') || *c == 0x7f)
                        return complain(s->complaint, s->path, line,
                                        "the byte 0x%02x is not text; write the file in UTF-8",
                                        (unsigned char)*c);
        }
        return 0;
}

int source_prepare(const char *path, const char *bytes, size_t n, struct buffer *ret,
                   struct conf_complaint *ret_complaint)
{
        struct scanner s = {
                .path = path,
                .at = bytes,
                .end = bytes + n,
                .line = 1,
                .text = ret,
                .complaint = ret_complaint,
        };
        int r;

        r = refuse_binary(&s);
        while (r == 0 && s.at < s.end)
                r = scan_one(&s);
        if (r < 0)
                return r;
        if (s.depth > 0)
                return complain(ret_complaint, path, s.open[s.depth - 1].line,
                                "the %s that is opened here is never closed; write }",
                                s.open[s.depth - 1].is_list ? "list" : "block");
        return 0;
}

static void closep(int *fd)
{
        if (*fd >= 0)
                (void)close(*fd); /* only read from */
}

static void buffer_donep(struct buffer *b)
{
        buffer_done(b);
}

static int read_all(int fd, struct buffer *ret)
{
        char bytes[16384];

        for (;;) {
                ssize_t n = read(fd, bytes, sizeof(bytes));

                if (n < 0)
                        return -errno;
                if (n == 0)
                        return 0;
                buffer_put(ret, bytes, (size_t)n);
                if (ret->n > CONF_FILE_MAX)
                        return -E2BIG;
        }
}

/* Not blocking, so that a pipe in the place of the file is refused instead of waited for. */
static int open_regular(const char *path, int *ret)
{
        _cleanup_(closep)
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EBADF;
        *ret = fd;
        fd = -1;
        return 0;
}

int source_read(const char *path, struct buffer *ret, struct conf_complaint *ret_complaint)
{
        _cleanup_(buffer_donep)
        struct buffer bytes = { 0 };
        _cleanup_(closep)
        int fd = -1;
        int r;

        r = open_regular(path, &fd);
        if (r == 0)
                r = read_all(fd, &bytes);
        if (r == -EBADF)
                (void)complain(ret_complaint, path, 0, "this is not a regular file");
        else if (r == -E2BIG)
                (void)complain(ret_complaint, path, 0, "the file has more than %d bytes",
                               CONF_FILE_MAX);
        else if (r < 0)
                (void)complain(ret_complaint, path, 0, "cannot read the file: %s", strerror(-r));
        if (r < 0)
                return r;
        if (bytes.n == 0)
                return 0;
        return source_prepare(path, (const char *)bytes.bytes, bytes.n, ret, ret_complaint);
}
