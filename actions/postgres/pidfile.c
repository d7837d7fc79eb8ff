/* postmaster.pid: one value a line, of which the last ones come with time. */
#include "actions/postgres/pidfile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
        LINE_PID = 1,
        LINE_DATA_DIR = 2,
        LINE_STARTED = 3,
        LINE_PORT = 4,
        LINE_STATE = 8,
};

static int parse_number(const char *s, long min, long max, long *ret)
{
        char *end;
        long value;

        errno = 0;
        value = strtol(s, &end, 10);
        end += strspn(end, " \t\r");
        if (errno != 0 || end == s || *end != '\0' || value < min || value > max)
                return -EINVAL;
        *ret = value;
        return 0;
}

static enum pidfile_state parse_state(const char *s)
{
        static const char *const words[] = {
                [PIDFILE_STARTING] = "starting",
                [PIDFILE_STOPPING] = "stopping",
                [PIDFILE_READY] = "ready",
                [PIDFILE_STANDBY] = "standby",
        };

        /* The server pads the word with blanks, to overwrite a longer one. */
        for (unsigned i = PIDFILE_STARTING; i <= PIDFILE_STANDBY; i++)
                if (strncmp(s, words[i], strlen(words[i])) == 0)
                        return (enum pidfile_state)i;
        return PIDFILE_UNKNOWN;
}

static int parse_line(unsigned number, const char *line, struct pidfile *p)
{
        long value;
        int r;

        switch (number) {
        case LINE_PID:
                r = parse_number(line, -INT_MAX, INT_MAX, &value);
                if (r < 0 || value == 0)
                        return -EINVAL;
                p->single_user = value < 0;
                p->pid = (pid_t)labs(value);
                return 0;
        case LINE_DATA_DIR:
                if (*line != '/')
                        return -EINVAL;
                snprintf(p->data_dir, sizeof(p->data_dir), "%s", line);
                return 0;
        case LINE_STARTED:
                r = parse_number(line, 0, LONG_MAX, &value);
                p->started = value;
                return r;
        case LINE_PORT:
                r = *line ? parse_number(line, 0, UINT16_MAX, &value) : 0;
                if (r == 0 && *line)
                        p->port = (uint16_t)value;
                return r;
        case LINE_STATE:
                p->state = parse_state(line);
                return 0;
        default:
                return 0;
        }
}

int pidfile_parse(const char *text, struct pidfile *ret)
{
        struct pidfile p = { 0 };
        char line[PATH_MAX];
        unsigned number = 0;

        while (*text) {
                size_t n = strcspn(text, "\n");

                if (n >= sizeof(line))
                        return -EINVAL;
                memcpy(line, text, n);
                line[n] = '\0';
                if (parse_line(++number, line, &p) < 0)
                        return -EINVAL;
                text += n;
                text += *text == '\n';
        }
        if (number < LINE_STARTED)
                return -EINVAL;
        *ret = p;
        return 0;
}
