/*
 * A member's transport between two others that are played by the bytes: whoever visits it, and
 * whoever answers where it connects to, says frames with right sums, greetings that are nearly right,
 * or any bytes at all. No assertion fails, and no message is taken from who did not introduce himself.
 * For libFuzzer.
 */
#include <arpa/inet.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/peers-wire.h"
#include "election/base/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum {
        SELF = 1,
        OTHER = 2,
        CLUSTER = 7,
        PORT = 17001,
        TURNS_MAX = 64, /* of one story */
};

enum side {
        VISITOR, /* connects to us */
        HOST, /* is connected to */
        SIDES,
};

struct story {
        struct event_base *base;
        struct peers *peers;
        int listener; /* of the other member */
        int fds[SIDES];
        struct buffer said; /* by the visitor, since he came */
        bool is_introduced; /* he, or one before him, began with a greeting that is right */
        struct reader in;
};

static void require(bool truth)
{
        if (!truth)
                abort();
}

/* Runs beside each other do not meet: each process has its own part of the loopback network. */
static struct endpoint endpoint_of(node_id node, uint16_t port)
{
        uint32_t net = (uint32_t)getpid() & 0xffff;
        struct endpoint e = { .address.family = AF_INET, .port = port };

        e.address.v4.s_addr = htonl(0x7f000000 | net << 8 | 100u + node);
        return e;
}

static int bound_socket(node_id node, uint16_t port)
{
        struct endpoint e = endpoint_of(node, port);
        struct sockaddr_in at = { .sin_family = AF_INET,
                                  .sin_port = htons(e.port),
                                  .sin_addr = e.address.v4 };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
        const struct linger at_once = { .l_onoff = 1 };

        require(fd >= 0);
        require(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0);
        /* Reset, so that thousands of runs leave nothing behind. */
        require(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) == 0);
        require(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
        return fd;
}

static void turn(struct story *s)
{
        for (unsigned i = 0; i < 4; i++)
                require(event_base_loop(s->base, EVLOOP_NONBLOCK) >= 0);
}

static void leave(struct story *s, enum side side)
{
        if (s->fds[side] >= 0)
                (void)close(s->fds[side]); /* a socket */
        s->fds[side] = -1;
}

static void open_visit(struct story *s)
{
        struct endpoint e = endpoint_of(SELF, PORT);
        struct sockaddr_in to = { .sin_family = AF_INET,
                                  .sin_port = htons(e.port),
                                  .sin_addr = e.address.v4 };

        s->fds[VISITOR] = bound_socket(OTHER, 0);
        buffer_clear(&s->said);
        if (connect(s->fds[VISITOR], (struct sockaddr *)&to, sizeof(to)) < 0)
                leave(s, VISITOR); /* a signal of the fuzzer's own timer came between */
        turn(s);
}

static void accept_visit(struct story *s)
{
        const struct linger at_once = { .l_onoff = 1 };

        turn(s);
        s->fds[HOST] = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (s->fds[HOST] >= 0)
                (void)setsockopt(s->fds[HOST], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

static bool begins_with_a_greeting(const struct buffer *said)
{
        struct peers_greeting greeting = { 0 };
        struct peers_frame frame;
        uint32_t version;

        if (said->n < PEERS_FRAME_HEADER)
                return false;
        frame = peers_frame_parse(said->bytes);
        return frame.n <= said->n - PEERS_FRAME_HEADER &&
               peers_frame_of(said->bytes + PEERS_FRAME_HEADER, frame.n).crc == frame.crc &&
               peers_greeting_parse(said->bytes + PEERS_FRAME_HEADER, frame.n, &greeting,
                                    &version) == 0 &&
               greeting.cluster_id == CLUSTER && greeting.incarnation == OTHER &&
               greeting.from == OTHER && greeting.to == SELF;
}

static void say(struct story *s, enum side side, const void *bytes, size_t n)
{
        if (side == VISITOR && s->fds[VISITOR] < 0)
                open_visit(s);
        if (side == HOST && s->fds[HOST] < 0)
                accept_visit(s);
        if (side == VISITOR) {
                buffer_put(&s->said, bytes, n);
                s->is_introduced = s->is_introduced || begins_with_a_greeting(&s->said);
        }
        if (s->fds[side] >= 0) /* what does not get through is lost */
                (void)send(s->fds[side], bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void say_frame(struct story *s, enum side side, const void *bytes, size_t n)
{
        struct peers_frame frame = peers_frame_of(bytes, n);
        struct buffer b = { 0 };
        uint8_t header[PEERS_FRAME_HEADER];

        peers_frame_put(header, &frame);
        buffer_put(&b, header, sizeof(header));
        buffer_put(&b, bytes, n);
        say(s, side, b.bytes, b.n);
        buffer_done(&b);
}

static void greet(struct story *s, enum side side)
{
        uint8_t what = reader_get_u8(&s->in);
        struct peers_greeting greeting = { .cluster_id = CLUSTER + (what >> 7),
                                           .incarnation = OTHER + (what >> 6 & 1),
                                           .from = (node_id)(OTHER + (what >> 5 & 1)),
                                           .to = (node_id)(SELF + (what >> 4 & 1)),
                                           .is_refusal = what & 8 };
        struct buffer b = { 0 };

        if (what & 4)
                memcpy(greeting.reason, "no", sizeof("no"));
        peers_greeting_put(&b, &greeting);
        if (what & 1 && b.n > 0)
                b.bytes[reader_get_u8(&s->in) % b.n] ^= reader_get_u8(&s->in);
        say_frame(s, side, b.bytes, b.n);
        buffer_done(&b);
}

static struct reader get_part(struct story *s)
{
        size_t n = reader_get_u16(&s->in);
        struct reader part;

        n = n < s->in.n ? n : s->in.n;
        part = reader_of(s->in.bytes, n);
        s->in.bytes += n;
        s->in.n -= n;
        return part;
}

static void go_on(struct story *s)
{
        uint8_t what = reader_get_u8(&s->in);
        enum side side = what & 1 ? HOST : VISITOR;
        struct reader part;

        switch (what >> 1 & 3) {
        case 0:
                greet(s, side);
                break;
        case 1:
                part = get_part(s);
                say_frame(s, side, part.bytes, part.n);
                break;
        case 2:
                part = get_part(s);
                say(s, side, part.bytes, part.n);
                break;
        case 3:
                if (what & 8)
                        leave(s, side);
                if (what & 16) /* dropped while nobody is there */
                        (void)peers_send(s->peers, OTHER, "message", 7);
                peers_flush(s->peers);
                break;
        }
        if (what & 32)
                turn(s);
}

static void on_receive(void *userdata, node_id from, const uint8_t *bytes, size_t n)
{
        struct story *s = userdata;
        uint8_t *copy;

        require(s->is_introduced && from == OTHER && n <= PEERS_FRAME_MAX);
        copy = must_copy(bytes, n); /* all of it can be read */
        free(copy);
}

static void on_event(void *userdata, const struct peers_event *event)
{
        (void)userdata;
        require(event->reason && memchr(event->reason, '\0', PEERS_REASON_SIZE));
        for (const char *c = event->reason; *c; c++)
                require(*c >= ' ' && *c <= '~');
}

static void begin(struct story *s)
{
        const struct peers_callbacks callbacks = { on_receive, on_event, s };
        struct peers_config config = {
                .cluster_id = CLUSTER, .self = SELF, .incarnation = SELF, .n_members = 2, .seed = 1
        };

        for (node_id id = SELF; id <= OTHER; id++)
                config.members[id - 1] = (struct peers_member){ .node = id,
                                                                .endpoint = endpoint_of(id, PORT),
                                                                .incarnation = id };
        s->base = event_base_new();
        require(s->base != NULL);
        s->listener = bound_socket(OTHER, PORT);
        require(listen(s->listener, 16) == 0 && fcntl(s->listener, F_SETFL, O_NONBLOCK) == 0);
        require(peers_new(s->base, &config, &callbacks, &s->peers) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        struct story s = { .fds = { -1, -1 }, .in = reader_of(bytes, n) };

        (void)signal(SIGPIPE, SIG_IGN); /* as the daemon does */
        begin(&s);
        for (unsigned i = 0; i < TURNS_MAX && s.in.n > 0; i++)
                go_on(&s);
        turn(&s);
        leave(&s, VISITOR);
        leave(&s, HOST);
        turn(&s);
        peers_free(s.peers);
        (void)close(s.listener); /* a socket */
        event_base_free(s.base);
        buffer_done(&s.said);
        return 0;
}
