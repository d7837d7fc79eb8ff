/* Lines of JSON over a non-blocking socket. */
#include "daemon/link.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct link {
        int fd;
        struct event *readable;
        struct event *writable;
        struct evbuffer *in;
        struct evbuffer *out;
        const struct link_events *events;
        void *userdata;
        bool in_callback; /* its memory is still needed when the callback returns */
        bool freed; /* by the callback */
};

int link_pair(int ret_fds[2])
{
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_fds) < 0)
                return -errno;
        return 0;
}

static int fd_prepare(int fd)
{
        struct stat st;
        int flags;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISSOCK(st.st_mode))
                return -EBADF;
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
                return -errno;
        flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return -errno;
        return 0;
}

int link_fd_inherited(void)
{
        const char *text = getenv(LINK_FD_ENVIRONMENT);
        char *end;
        long fd;
        int r;

        if (!text)
                return -EBADF;
        errno = 0;
        fd = strtol(text, &end, 10);
        if (errno || end == text || *end || fd <= STDERR_FILENO || fd > INT16_MAX)
                return -EBADF;
        if (unsetenv(LINK_FD_ENVIRONMENT) < 0)
                return -errno;
        r = fd_prepare((int)fd);
        return r < 0 ? r : (int)fd;
}

static void link_destroy(struct link *l)
{
        if (l->readable)
                event_free(l->readable);
        if (l->writable)
                event_free(l->writable);
        if (l->in)
                evbuffer_free(l->in);
        if (l->out)
                evbuffer_free(l->out);
        if (l->fd >= 0)
                (void)close(l->fd); /* a socket: nothing is lost that was not lost before */
        free(l);
}

void link_free(struct link *l)
{
        if (!l)
                return;
        if (!l->in_callback) {
                link_destroy(l);
                return;
        }
        l->freed = true;
        (void)event_del(l->readable);
        (void)event_del(l->writable); /* both exist once there are callbacks */
}

/* Tells the owner and frees what the owner gave up meanwhile. Returns whether it is still there. */
static bool tell_closed(struct link *l, int r)
{
        (void)event_del(l->readable); /* it exists */
        l->in_callback = true;
        l->events->closed(l, r, l->userdata);
        l->in_callback = false;
        if (!l->freed)
                return true;
        link_destroy(l);
        return false;
}

/* One line without its newline. Returns whether the conversation goes on. */
static bool handle_line(struct link *l, const char *line, size_t n)
{
        json_t *message = json_loadb(line, n, JSON_REJECT_DUPLICATES, NULL);
        const char *type = message_get_string(message, "type");

        if (!type) {
                json_decref(message);
                (void)tell_closed(l, -EBADMSG);
                return false;
        }
        l->in_callback = true;
        l->events->message(l, type, message, l->userdata);
        l->in_callback = false;
        json_decref(message);
        if (!l->freed)
                return true;
        link_destroy(l);
        return false;
}

static void handle_lines(struct link *l)
{
        size_t n;
        char *line;
        bool ok;

        while ((line = evbuffer_readln(l->in, &n, EVBUFFER_EOL_LF))) {
                ok = n < LINK_LINE_MAX && handle_line(l, line, n);
                if (n >= LINK_LINE_MAX)
                        (void)tell_closed(l, -EBADMSG);
                free(line);
                if (!ok)
                        return;
        }
        if (evbuffer_get_length(l->in) >= LINK_LINE_MAX)
                (void)tell_closed(l, -EBADMSG);
}

static void on_readable(evutil_socket_t fd, short what, void *userdata)
{
        struct link *l = userdata;
        int n;

        (void)what;
        n = evbuffer_read(l->in, fd, LINK_READ_MAX);
        if (n > 0)
                handle_lines(l);
        else if (n == 0)
                (void)tell_closed(l, 0);
        else if (errno != EAGAIN && errno != EINTR)
                (void)tell_closed(l, errno == ECONNRESET ? 0 : -errno);
}

/* Writes what the socket takes. */
static int flush_queue(struct link *l)
{
        struct evbuffer_iovec part;
        ssize_t n;

        while (evbuffer_peek(l->out, -1, NULL, &part, 1) > 0) {
                n = send(l->fd, part.iov_base, part.iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0)
                        return errno == EINTR ? 0 : -errno;
                if (evbuffer_drain(l->out, (size_t)n) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static void on_writable(evutil_socket_t fd, short what, void *userdata)
{
        struct link *l = userdata;
        int r;

        (void)fd;
        (void)what;
        r = flush_queue(l);
        /* On a broken socket reading ends, too, and the owner hears of it there. */
        if (r < 0 && r != -EAGAIN)
                (void)evbuffer_drain(l->out, evbuffer_get_length(l->out));
        if (evbuffer_get_length(l->out) == 0)
                (void)event_del(l->writable); /* it exists */
}

static struct event *make_event(struct event_base *base, struct link *l, int priority, short what,
                                event_callback_fn callback)
{
        struct event *e = event_new(base, l->fd, (short)(what | EV_PERSIST), callback, l);

        if (e && event_priority_set(e, priority) < 0) {
                event_free(e);
                return NULL;
        }
        return e;
}

int link_new(struct event_base *base, int fd, int priority, const struct link_events *events,
             void *userdata, struct link **ret)
{
        _cleanup_(link_freep)
        struct link *l = NULL;
        int r;

        assert(events->message && events->closed);
        r = fd_prepare(fd);
        if (r < 0)
                return r;
        l = calloc(1, sizeof(*l));
        if (!l)
                return -ENOMEM;
        *l = (struct link){ .fd = fd, .events = events, .userdata = userdata };
        l->in = evbuffer_new();
        l->out = evbuffer_new();
        l->readable = make_event(base, l, priority, EV_READ, on_readable);
        l->writable = make_event(base, l, priority, EV_WRITE, on_writable);
        if (!l->in || !l->out || !l->readable || !l->writable || event_add(l->readable, NULL) < 0) {
                l->fd = -1; /* stays the caller's */
                return -ENOMEM;
        }
        *ret = TAKE_PTR(l);
        return 0;
}

static int queue_line(struct link *l, const char *line, size_t n)
{
        size_t n_queued = evbuffer_get_length(l->out);

        if (n + 1 > LINK_LINE_MAX)
                return -EMSGSIZE;
        if (n_queued + n + 1 > LINK_QUEUE_MAX)
                return -ENOBUFS;
        if (evbuffer_expand(l->out, n + 1) < 0)
                return -ENOMEM;
        if (evbuffer_add(l->out, line, n) < 0 || evbuffer_add(l->out, "\n", 1) < 0)
                return -ENOMEM;
        return 0;
}

int link_send(struct link *l, json_t *message)
{
        _cleanup_(freep)
        char *line = NULL;
        int r;

        line = message ? json_dumps(message, JSON_COMPACT) : NULL;
        json_decref(message);
        if (!line)
                return -ENOMEM;
        r = queue_line(l, line, strlen(line));
        if (r < 0)
                return r;
        r = flush_queue(l);
        if (r < 0 && r != -EAGAIN)
                return r;
        if (evbuffer_get_length(l->out) > 0 && event_add(l->writable, NULL) < 0)
                return -ENOMEM;
        return 0;
}

bool link_is_flushed(const struct link *l)
{
        return evbuffer_get_length(l->out) == 0;
}

bool message_get_u64(const json_t *message, const char *key, uint64_t *ret)
{
        const json_t *value = json_object_get(message, key);
        json_int_t number = json_integer_value(value);

        if (!json_is_integer(value) || number < 0)
                return false;
        *ret = (uint64_t)number;
        return true;
}

const char *message_get_string(const json_t *message, const char *key)
{
        return json_string_value(json_object_get(message, key));
}

bool message_is_true(const json_t *message, const char *key)
{
        return json_is_true(json_object_get(message, key));
}
