/*
 * Text that PostgreSQL reads: quoting for connection strings and configuration files, names of
 * slots, and edits of files that belong to the administrator. All of it is pure; results are
 * allocated (election/base/memory.h) and released with free().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "election/base/buffer.h"

enum {
        SLOT_NAME_SIZE = 64, /* NAMEDATALEN, with the final NUL */
};

/* Appends keyword='value' to a connection string, with a blank before it if it is not the first. */
void text_conninfo_put(struct buffer *b, const char *keyword, const char *value);

/* Appends name = 'value' and a newline, as postgresql.conf wants it. */
void text_setting_put(struct buffer *b, const char *name, const char *value);

/* @value quoted as an SQL string, whatever standard_conforming_strings says. */
char *text_sql_quote(const char *value);

/* @name quoted as an SQL identifier. */
char *text_sql_identifier(const char *name);

/*
 * The slot of the member called @member. A slot's name has only a-z, 0-9 and underscores, so other
 * characters become underscores, and a checksum keeps "a-b" and "a_b" apart.
 */
void text_slot_name(const char *member, char ret[static SLOT_NAME_SIZE]);

/* @text without the lines that set one of @names (NULL at the end). */
char *text_without_settings(const char *text, const char *const *names);

/*
 * @text with @block, which begins and ends with the lines @begin and @end, at its top; an earlier
 * block between these lines is replaced.
 */
char *text_with_block(const char *text, const char *begin, const char *end, const char *block);

/*
 * The password of @user for replication in a libpq password file (host:port:database:user:
 * password, with '*' and backslashes), the first line that may apply; NULL if there is none.
 */
char *text_password(const char *passfile, const char *user);

/* Replaces what is not printable ASCII by '?', so that @s can go into JSON and a journal. */
void text_make_plain(char *s);
