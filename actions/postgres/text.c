/* Quoting, names and edits of text files for PostgreSQL. */
#include "actions/postgres/text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "election/base/crc32c.h"
#include "election/base/memory.h"

enum {
        PASSFILE_FIELDS = 4, /* host, port, database, user; the password is the rest */
        PASSFILE_USER = 3,
};

static void put(struct buffer *b, const char *s)
{
        buffer_put(b, s, strlen(s));
}

/* Each character in @special gets @escape in front. */
static void put_escaped(struct buffer *b, const char *s, const char *special, char escape)
{
        for (; *s; s++) {
                if (strchr(special, *s))
                        buffer_put_u8(b, (uint8_t)(escape ? escape : *s));
                buffer_put_u8(b, (uint8_t)*s);
        }
}

static char *take(struct buffer *b)
{
        buffer_put_u8(b, '\0');
        return (char *)b->bytes;
}

void text_conninfo_put(struct buffer *b, const char *keyword, const char *value)
{
        if (b->n > 0)
                put(b, " ");
        put(b, keyword);
        put(b, "='");
        put_escaped(b, value, "'\\", '\\');
        put(b, "'");
}

void text_setting_put(struct buffer *b, const char *name, const char *value)
{
        put(b, name);
        put(b, " = '");
        /* Each is doubled: the file reads backslash sequences and doubled quotes. */
        put_escaped(b, value, "'\\", '\0');
        put(b, "'\n");
}

char *text_sql_quote(const char *value)
{
        struct buffer b = { 0 };

        put(&b, strchr(value, '\\') ? "E'" : "'");
        put_escaped(&b, value, "'\\", '\0');
        put(&b, "'");
        return take(&b);
}

char *text_sql_identifier(const char *name)
{
        struct buffer b = { 0 };

        put(&b, "\"");
        put_escaped(&b, name, "\"", '\0');
        put(&b, "\"");
        return take(&b);
}

void text_slot_name(const char *member, char ret[static SLOT_NAME_SIZE])
{
        static const char prefix[] = "failoverd_";
        enum { SUFFIX_SIZE = 10 }; /* an underscore, eight digits, NUL */
        size_t n = sizeof(prefix) - 1;
        bool changed = false;

        memcpy(ret, prefix, n);
        for (const char *s = member; *s; s++) {
                bool plain = (*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') || *s == '_';

                if (n >= SLOT_NAME_SIZE - SUFFIX_SIZE) {
                        changed = true;
                        break;
                }
                changed |= !plain;
                ret[n++] = (char)(plain ? *s : '_');
        }
        if (changed)
                snprintf(ret + n, SLOT_NAME_SIZE - n, "_%08" PRIx32,
                         crc32c(0, member, strlen(member)));
        else
                ret[n] = '\0';
}

/* Whether @line (of @n bytes) sets @name. */
static bool sets(const char *line, size_t n, const char *name)
{
        size_t n_name = strlen(name);

        while (n > 0 && isblank((unsigned char)*line)) {
                line++;
                n--;
        }
        if (n <= n_name || strncasecmp(line, name, n_name) != 0)
                return false;
        return !isalnum((unsigned char)line[n_name]) && line[n_name] != '_' && line[n_name] != '.';
}

char *text_without_settings(const char *text, const char *const *names)
{
        struct buffer b = { 0 };

        while (*text) {
                size_t n = strcspn(text, "\n");
                bool drop = false;

                for (const char *const *name = names; *name; name++)
                        drop |= sets(text, n, *name);
                n += text[n] == '\n';
                if (!drop)
                        buffer_put(&b, text, n);
                text += n;
        }
        return take(&b);
}

/* The beginning of the line @line in @text, or NULL. */
static const char *find_line(const char *text, const char *line)
{
        size_t n = strlen(line);

        while (*text) {
                size_t n_text = strcspn(text, "\n");

                if (n_text == n && memcmp(text, line, n) == 0)
                        return text;
                text += n_text;
                text += *text == '\n';
        }
        return NULL;
}

char *text_with_block(const char *text, const char *begin, const char *end, const char *block)
{
        const char *from = find_line(text, begin);
        const char *to = from ? find_line(from, end) : NULL;
        struct buffer b = { 0 };

        put(&b, begin);
        put(&b, "\n");
        put(&b, block);
        put(&b, end);
        put(&b, "\n");
        if (from && to) {
                buffer_put(&b, text, (size_t)(from - text));
                to += strlen(end);
                text = *to == '\n' ? to + 1 : to;
        }
        put(&b, text);
        return take(&b);
}

/* One field up to a colon, without its backslashes; returns what follows the colon, or NULL. */
static const char *password_field(const char *s, char *ret, size_t size)
{
        size_t n = 0;

        for (; *s && *s != ':' && *s != '\n'; s++) {
                if (*s == '\\' && s[1] && s[1] != '\n')
                        s++;
                if (n + 1 < size)
                        ret[n++] = *s;
        }
        ret[n] = '\0';
        return *s == ':' ? s + 1 : NULL;
}

static char *password_rest(const char *s)
{
        size_t n = strcspn(s, "\r\n");
        char *ret = must_copy(s, n);
        char *to = ret;

        for (const char *from = ret; *from; from++) {
                if (*from == '\\' && from[1])
                        from++;
                *to++ = *from;
        }
        *to = '\0';
        return ret;
}

char *text_password(const char *passfile, const char *user)
{
        for (const char *line = passfile; *line;) {
                const char *next = line + strcspn(line, "\n");
                const char *s = *line == '#' ? NULL : line;
                char field[256] = "";

                for (unsigned i = 0; s && i < PASSFILE_FIELDS; i++)
                        s = password_field(s, field, sizeof(field));
                if (s && (strcmp(field, user) == 0 || strcmp(field, "*") == 0))
                        return password_rest(s);
                line = *next ? next + 1 : next;
        }
        return NULL;
}

void text_make_plain(char *s)
{
        for (; *s; s++)
                if (*s < ' ' || *s > '~')
                        *s = '?';
}
