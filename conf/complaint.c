/* Complaints and warnings: file, line and a sentence. */
#include "conf/complaint.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "election/base/memory.h"

/* Cutting is meant: both texts are for people. */
static void fill(struct conf_complaint *c, const char *file, unsigned line, const char *format,
                 va_list ap)
{
        (void)snprintf(c->file, sizeof(c->file), "%s", file);
        c->line = line;
        (void)vsnprintf(c->text, sizeof(c->text), format, ap);
}

int complain(struct conf_complaint *ret, const char *file, unsigned line, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        fill(ret, file, line, format, ap);
        va_end(ap);
        return -EINVAL;
}

void conf_warn(struct conf *conf, const char *file, unsigned line, const char *format, ...)
{
        va_list ap;

        if (conf->n_warnings == CONF_WARNINGS_MAX)
                return;
        conf->warnings = must_resize(conf->warnings, conf->n_warnings + 1, sizeof(*conf->warnings));
        va_start(ap, format);
        fill(&conf->warnings[conf->n_warnings++], file, line, format, ap);
        va_end(ap);
}

const char *quoted(const char *value, char ret[static QUOTED_SIZE])
{
        char *to = ret;
        size_t n = 0;

        *to++ = '"';
        for (; *value && n < QUOTED_MAX; value++, n++) {
                unsigned char c = (unsigned char)*value;

                if (c < ' ' || c == 0x7f)
                        to += sprintf(to, "\\x%02x", c);
                else
                        *to++ = (char)c;
        }
        if (*value) {
                memcpy(to, "...", 3);
                to += 3;
        }
        *to++ = '"';
        *to = '\0';
        return ret;
}
