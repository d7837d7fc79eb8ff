/* JSON objects, one a line, over two descriptors of an event loop. */
#include "actions/lines.h"

#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

enum {
        READ_ROUNDS_MAX = 64, /* of lines_read() */
};

struct lines {
        struct lines_events events;
        void *userdata;
        int fd_out;
        struct event *readable;
        struct event *writable;
        struct evbuffer *in;
        struct evbuffer *out;
        bool out_broken;
        bool ended;
        bool *freed; /* set when a callback frees this object while it is being read */
};

static int make_nonblocking(int fd)
{
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return -errno;
        return 0;
}

static void end(struct lines *l, int error)
{
        if (l->ended)
                return;
        l->ended = true;
        event_del(l->readable);
        if (l->events.on_end)
                l->events.on_end(error, l->userdata);
}

static void take_line(struct lines *l, const char *text, size_t n)
{
        json_error_t error;
        json_t *object;

        object = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
        if (object && json_is_object(object))
                l->events.on_object(object, l->userdata);
        else if (l->events.on_garbage)
                l->events.on_garbage(object ? "not an object" : error.text, l->userdata);
        json_decref(object);
}

/* Returns false once nothing more is to be read; this object may be gone then. */
static bool take_lines(struct lines *l)
{
        bool freed = false;
        char *line;
        size_t n;

        l->freed = &freed;
        while ((line = evbuffer_readln(l->in, &n, EVBUFFER_EOL_LF))) {
                if (n > LINES_LINE_MAX)
                        end(l, -EMSGSIZE);
                else if (n > 0)
                        take_line(l, line, n);
                free(line);
                if (freed)
                        return false;
                if (l->ended)
                        break;
        }
        if (!l->ended && evbuffer_get_length(l->in) > LINES_LINE_MAX)
                end(l, -EMSGSIZE);
        if (freed)
                return false;
        l->freed = NULL;
        return !l->ended;
}

/* Returns whether more may be there; after that is false, this object may be gone. */
static bool read_some(struct lines *l)
{
        int n;

        n = evbuffer_read(l->in, event_get_fd(l->readable), LINES_LINE_MAX);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return false;
        if (n <= 0) {
                end(l, n < 0 ? -errno : 0);
                return false;
        }
        return take_lines(l);
}

static void on_readable(evutil_socket_t fd, short what, void *userdata)
{
        (void)fd;
        (void)what;
        (void)read_some(userdata); /* the event comes again if more is there */
}

void lines_read(struct lines *l)
{
        /* Within a callback the rest is already on its way; the limit keeps a flood from holding us. */
        if (!l->readable || l->ended || l->freed)
                return;
        for (unsigned i = 0; i < READ_ROUNDS_MAX && read_some(l); i++)
                ;
}

static void flush(struct lines *l)
{
        while (evbuffer_get_length(l->out) > 0) {
                if (evbuffer_write(l->out, l->fd_out) >= 0)
                        continue;
                if (errno == EINTR)
                        continue;
                if (errno == EAGAIN && event_add(l->writable, NULL) == 0)
                        return;
                l->out_broken = true;
                evbuffer_drain(l->out, evbuffer_get_length(l->out));
        }
}

static void on_writable(evutil_socket_t fd, short what, void *userdata)
{
        (void)fd;
        (void)what;
        flush(userdata);
}

static int add_reader(struct lines *l, struct event_base *base, int fd)
{
        int r;

        r = make_nonblocking(fd);
        if (r < 0)
                return r;
        l->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, l);
        if (!l->readable || event_add(l->readable, NULL) < 0)
                return -ENOMEM;
        return 0;
}

static int add_writer(struct lines *l, struct event_base *base, int fd)
{
        int r;

        r = make_nonblocking(fd);
        if (r < 0)
                return r;
        l->writable = event_new(base, fd, EV_WRITE, on_writable, l);
        return l->writable ? 0 : -ENOMEM;
}

int lines_new(struct event_base *base, int fd_in, int fd_out, const struct lines_events *events,
              void *userdata, struct lines **ret)
{
        _cleanup_(lines_freep)
        struct lines *l = NULL;
        int r = 0;

        l = malloc(sizeof(*l));
        if (!l)
                return -ENOMEM;
        *l = (struct lines){ .events = *events, .userdata = userdata, .fd_out = fd_out };
        l->in = evbuffer_new();
        l->out = evbuffer_new();
        if (!l->in || !l->out)
                return -ENOMEM;
        if (fd_in >= 0)
                r = add_reader(l, base, fd_in);
        if (r == 0 && fd_out >= 0)
                r = add_writer(l, base, fd_out);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(l);
        return 0;
}

void lines_free(struct lines *l)
{
        if (!l)
                return;
        if (l->freed)
                *l->freed = true;
        if (l->readable)
                event_free(l->readable);
        if (l->writable)
                event_free(l->writable);
        if (l->in)
                evbuffer_free(l->in);
        if (l->out)
                evbuffer_free(l->out);
        free(l);
}

int lines_send(struct lines *l, json_t *object)
{
        _cleanup_(freep)
        char *text = NULL;

        if (!object)
                return -ENOMEM;
        text = json_dumps(object, JSON_COMPACT);
        json_decref(object);
        if (!text)
                return -ENOMEM;
        if (!l->writable || l->out_broken)
                return -EPIPE;
        if (evbuffer_get_length(l->out) > LINES_UNSENT_MAX)
                return -ENOBUFS;
        if (evbuffer_add(l->out, text, strlen(text)) < 0 || evbuffer_add(l->out, "\n", 1) < 0)
                return -ENOMEM;
        flush(l);
        return 0;
}
