/* Writing complaints and warnings. Private to the room. */
#pragma once

#include "conf/conf.h"

enum {
        QUOTED_MAX = 64, /* characters of a found value that a complaint repeats */
        QUOTED_SIZE = QUOTED_MAX * 4 + 8,
};

/* Fills @ret and returns -EINVAL; a text that is too long is cut. @line 0: the file as a whole. */
__attribute__((format(printf, 4, 5))) int complain(struct conf_complaint *ret, const char *file,
                                                   unsigned line, const char *format, ...);

/* Adds a warning to @conf; beyond CONF_WARNINGS_MAX it is dropped. */
__attribute__((format(printf, 4, 5))) void conf_warn(struct conf *conf, const char *file,
                                                     unsigned line, const char *format, ...);

/* @value in quotes for a complaint: cut to QUOTED_MAX characters, control characters escaped. */
const char *quoted(const char *value, char ret[static QUOTED_SIZE]);
