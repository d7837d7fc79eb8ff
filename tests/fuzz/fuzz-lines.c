/*
 * Any bytes as what the executor says to an agent: lines that are objects are heard, and the same
 * ones whether they come at once or in pieces; what is taken for a hello is within the limits. A
 * byte of 255 stands for a lot of blanks, so that a few bytes make a long line. For libFuzzer.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actions/lines.h"
#include "actions/postgres/settings.h"
#include "election/base/buffer.h"
#include "election/base/endpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum {
        BLANKS = 16 * 1024, /* for a byte of 255 */
        BLANK = 255,
        BYTES_MAX = 256 * 1024,
};

/* What was heard, and how it ended. */
struct hearing {
        struct lines *lines;
        struct buffer heard;
        unsigned n_objects, n_garbage;
        bool is_over;
        bool frees_at_end;
        int error;
};

static void require(bool truth)
{
        if (!truth)
                abort();
}

static void check_settings(const struct settings *s)
{
        struct address a;

        require(name_is_valid(s->node));
        require(s->state_dir[0] == '/' && strlen(s->state_dir) < PATH_MAX_GIVEN);
        require(s->data_dir[0] == '/' && strlen(s->data_dir) < PATH_MAX_GIVEN);
        require(s->facts != NULL && s->port > 0 && s->rise > 0 && s->fall > 0);
        require(s->health_interval > 0 && s->health_timeout > 0);
        require(s->n_members <= MEMBERS_MAX);
        for (size_t i = 0; i < s->n_members; i++)
                require(name_is_valid(s->members[i].name) &&
                        address_parse(s->members[i].address, &a) == 0 && s->members[i].port > 0);
        for (size_t i = 0; i <= COMMAND_ARGS_MAX; i++)
                require((s->start_command.args[i] != NULL) == (i < s->start_command.n));
}

static void take_hello(const json_t *object)
{
        struct settings s;
        char why[TEXT_SIZE] = "";

        if (settings_parse(object, &s, why) < 0) {
                require(why[0] != '\0');
                return;
        }
        check_settings(&s);
        require(settings_parse_members(object, &s, why) == 0);
        settings_done(&s);
}

static void on_object(const json_t *object, void *userdata)
{
        struct hearing *h = userdata;
        char *text = json_dumps(object, JSON_COMPACT);
        bool ends = json_is_true(json_object_get(object, "end"));

        require(!h->is_over && text);
        h->n_objects++;
        buffer_put_string(&h->heard, text);
        free(text);
        take_hello(object);
        if (!ends)
                return;
        h->is_over = true; /* whoever is called back may free it */
        lines_free(h->lines);
        h->lines = NULL;
}

static void on_garbage(const char *why, void *userdata)
{
        struct hearing *h = userdata;

        require(!h->is_over && why[0] != '\0');
        h->n_garbage++;
        if (lines_send(h->lines, json_pack("{s:s%}", "why", why, strnlen(why, 100))) < 0)
                return; /* what is no UTF-8 cannot be said */
}

static void on_end(int error, void *userdata)
{
        struct hearing *h = userdata;

        require(!h->is_over);
        h->is_over = true;
        h->error = error;
        if (!h->frees_at_end)
                return;
        lines_free(h->lines);
        h->lines = NULL;
}

static void put(int fd, struct hearing *h, const uint8_t *bytes, size_t n)
{
        while (n > 0 && !h->is_over) {
                ssize_t k = send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (k > 0) {
                        bytes += k;
                        n -= (size_t)k;
                } else {
                        lines_read(h->lines); /* so that there is room */
                }
        }
}

static void hear(struct event_base *base, const struct buffer *b, size_t step, struct hearing *ret)
{
        static const struct lines_events events = { on_object, on_garbage, on_end };
        char ignored[256];
        int fds[2];

        *ret = (struct hearing){ .frees_at_end = step % 2 };
        require(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
        require(lines_new(base, fds[0], fds[0], &events, ret, &ret->lines) == 0);
        for (size_t at = 0; at < b->n && !ret->is_over; at += step) {
                put(fds[1], ret, b->bytes + at, b->n - at < step ? b->n - at : step);
                if (!ret->is_over)
                        lines_read(ret->lines);
                while (recv(fds[1], ignored, sizeof(ignored), MSG_DONTWAIT) > 0)
                        ;
        }
        require(shutdown(fds[1], SHUT_WR) == 0);
        for (unsigned i = 0; i < 8 && !ret->is_over; i++)
                require(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
        require(ret->is_over);
        lines_free(ret->lines);
        (void)close(fds[0]); /* sockets, nothing is in them */
        (void)close(fds[1]);
}

static void expand(const uint8_t *bytes, size_t n, struct buffer *ret)
{
        static const char blanks[BLANKS];

        for (size_t i = 0; i < n && ret->n < BYTES_MAX; i++) {
                if (bytes[i] != BLANK) {
                        buffer_put_u8(ret, bytes[i]);
                        continue;
                }
                buffer_put(ret, blanks, sizeof(blanks));
                memset(ret->bytes + ret->n - BLANKS, ' ', BLANKS);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        struct event_base *base;
        struct hearing whole, pieces;
        struct buffer b = { 0 };

        if (n < 1)
                return 0;
        base = event_base_new();
        require(base != NULL);
        expand(bytes + 1, n - 1, &b);
        hear(base, &b, BYTES_MAX, &whole);
        hear(base, &b, b.n < BLANKS ? 1u + bytes[0] : 500u + 100u * bytes[0], &pieces);
        require(whole.n_objects == pieces.n_objects && whole.n_garbage == pieces.n_garbage);
        require(whole.error == pieces.error && whole.heard.n == pieces.heard.n);
        require(whole.heard.n == 0 ||
                memcmp(whole.heard.bytes, pieces.heard.bytes, whole.heard.n) == 0);
        buffer_done(&whole.heard);
        buffer_done(&pieces.heard);
        buffer_done(&b);
        event_base_free(base);
        return 0;
}
