/* Connections between members: greeting, reconnecting, queues with a limit. */
#include "daemon/peers.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/peers-wire.h"
#include "daemon/tcp.h"
#include "election/base/memory.h"
#include "election/base/random.h"

enum {
        CONNECT_TIMEOUT_USEC = 500000, /* the defaults of struct peers_config */
        SILENCE_MAX_USEC = 1000000,

        BACKOFF_MIN_USEC = 50000,
        BACKOFF_MAX_USEC = 1000000,
        GREETING_USEC = 1000000, /* for a stranger to introduce himself, or to read our refusal */
        STRANGER_USEC = 10000000, /* between two complaints about strangers */
        ACCEPT_PAUSE_USEC = 100000, /* when there is no descriptor left for a connection */
        CORKED_KEPT = 256 << 10, /* bytes of memory kept for what is corked next */
        ACCEPTS_MAX = 16, /* in one turn of the loop */
};

enum conn_state {
        CONN_GREETING, /* waits for the other side's greeting */
        CONN_OPEN,
        CONN_CLOSING, /* has been refused; ends when the refusal is written */
};

/* One TCP connection. */
struct conn {
        struct peers *p;
        struct peer *peer; /* NULL: it has not introduced itself */
        bool is_ours; /* we connected */
        enum conn_state state;
        struct address from; /* of one that was accepted */
        struct bufferevent *bev;
        struct buffer corked; /* frames that go out with the next peers_flush() */
        struct event *deadline;
        struct conn *next; /* of those without a peer, newest first */
};

/* Another member. */
struct peer {
        struct peers *p;
        struct peers_member member;
        struct conn *out; /* what we send goes here */
        struct conn *in; /* what it sends comes here */
        struct event *retry;
        usec_t backoff;
        uint64_t incarnation; /* as it named it first; 0: never heard */
        char refusal[PEERS_REASON_SIZE]; /* told already */
        struct peers_status status;
};

struct peers {
        struct event_base *base;
        struct peers_config config;
        struct peers_callbacks callbacks;
        struct random random;
        struct address own; /* we listen here and connect from here */
        int listen_fd;
        struct event *acceptor;
        struct event *accept_again;
        struct peer peers[MEMBERS_MAX]; /* without a node: free */
        struct conn *pending;
        unsigned n_pending;
        struct instant stranger_next; /* not before then is the next one told */
        struct buffer scratch;
};

static void start_connecting(struct peer *peer);

static struct timeval to_timeval(usec_t usec)
{
        return (struct timeval){ .tv_sec = (time_t)(usec / USEC_PER_SEC),
                                 .tv_usec = (suseconds_t)(usec % USEC_PER_SEC) };
}

static void arm(struct event *timer, usec_t wait)
{
        struct timeval tv = to_timeval(wait);
        int r = event_add(timer, &tv);

        assert(r == 0); /* fails only without memory */
}

static struct peer *find_peer(const struct peers *p, node_id node)
{
        for (unsigned i = 0; node != NODE_NOBODY && i < MEMBERS_MAX; i++)
                if (p->peers[i].member.node == node)
                        return (struct peer *)&p->peers[i];
        return NULL;
}

static bool is_known_address(const struct peers *p, const struct address *from)
{
        for (unsigned i = 0; i < MEMBERS_MAX; i++)
                if (p->peers[i].member.node != NODE_NOBODY &&
                    address_equal(&p->peers[i].member.endpoint.address, from))
                        return true;
        return false;
}

static void tell(struct peers *p, enum peers_event_type type, node_id node, const char *reason)
{
        struct peers_event event = { .type = type, .node = node, .reason = reason };

        p->callbacks.event(p->callbacks.userdata, &event);
}

/* The same refusal at every attempt to connect is told once. */
static void tell_refusal(struct peer *peer, const char *reason)
{
        if (strcmp(peer->refusal, reason) == 0)
                return;
        (void)snprintf(peer->refusal, sizeof(peer->refusal), "%s", reason);
        tell(peer->p, PEERS_REFUSED, peer->member.node, peer->refusal);
}

static void tell_stranger(struct peers *p, const struct address *from, const char *what)
{
        char address[ADDRESS_SIZE], reason[ADDRESS_SIZE + PEERS_REASON_SIZE];
        struct instant now = clock_now();

        if (!instant_reached(p->stranger_next, now))
                return;
        p->stranger_next = instant_after(now, STRANGER_USEC);
        address_print(from, address, sizeof(address));
        (void)snprintf(reason, sizeof(reason), "%s: %s", address, what);
        tell(p, PEERS_STRANGER, NODE_NOBODY, reason);
}

static void forget_pending(struct conn *conn)
{
        for (struct conn **link = &conn->p->pending; *link; link = &(*link)->next)
                if (*link == conn) {
                        *link = conn->next;
                        conn->p->n_pending--;
                        return;
                }
}

static void conn_free(struct conn *conn)
{
        if (!conn->peer)
                forget_pending(conn);
        bufferevent_free(conn->bev);
        buffer_done(&conn->corked);
        event_free(conn->deadline);
        free(conn);
}

/* Ends the connection that we send on, and plans the next. */
static void lose_out(struct peer *peer, const char *reason)
{
        usec_t half;

        if (peer->out)
                conn_free(TAKE_PTR(peer->out));
        half = peer->backoff / 2;
        arm(peer->retry, half + random_below(&peer->p->random, half + 1));
        peer->backoff = peer->backoff * 2 < BACKOFF_MAX_USEC ? peer->backoff * 2 : BACKOFF_MAX_USEC;
        (void)snprintf(peer->status.reason, sizeof(peer->status.reason), "%s", reason);
        if (!peer->status.is_up)
                return;
        peer->status.is_up = false;
        peer->status.since = clock_now();
        tell(peer->p, PEERS_DOWN, peer->member.node, peer->status.reason);
}

static void lose_in(struct peer *peer, const char *reason)
{
        conn_free(TAKE_PTR(peer->in));
        peer->status.is_heard = false;
        tell(peer->p, PEERS_LOST, peer->member.node, reason);
}

/* Ends @conn, whatever it is. It is gone afterwards. */
static void conn_lose(struct conn *conn, const char *reason)
{
        struct peers *p = conn->p;
        struct address from = conn->from;

        if (conn->is_ours) {
                lose_out(conn->peer, reason);
        } else if (conn->peer) {
                lose_in(conn->peer, reason);
        } else {
                bool was_refused = conn->state == CONN_CLOSING;

                conn_free(conn);
                if (!was_refused)
                        tell_stranger(p, &from, reason);
        }
}

static void conn_write(struct conn *conn, const void *bytes, size_t n)
{
        struct peers_frame frame = peers_frame_of(bytes, n);
        uint8_t header[PEERS_FRAME_HEADER];
        int r;

        peers_frame_put(header, &frame);
        r = bufferevent_write(conn->bev, header, sizeof(header));
        if (r == 0 && n > 0)
                r = bufferevent_write(conn->bev, bytes, n);
        assert(r == 0); /* fails only without memory */
}

static size_t bytes_queued(const struct conn *conn)
{
        return conn->corked.n + evbuffer_get_length(bufferevent_get_output(conn->bev));
}

static void conn_send(struct conn *conn, const void *bytes, size_t n)
{
        struct peers_frame frame = peers_frame_of(bytes, n);
        uint8_t header[PEERS_FRAME_HEADER];

        peers_frame_put(header, &frame);
        buffer_put(&conn->corked, header, sizeof(header));
        buffer_put(&conn->corked, bytes, n);
}

/*
 * Writes what is corked, as far as the socket takes it: the messages of one turn of the loop then
 * cost one system call, and no further turn. The rest, and errors, are left to the loop.
 */
static void conn_flush(struct conn *conn)
{
        const struct buffer *b = &conn->corked;
        ssize_t done = 0;
        size_t sent;
        int r = 0;

        if (evbuffer_get_length(bufferevent_get_output(conn->bev)) == 0)
                done = send(bufferevent_getfd(conn->bev), b->bytes, b->n,
                            MSG_DONTWAIT | MSG_NOSIGNAL);
        sent = done > 0 ? (size_t)done : 0;
        if (sent < b->n)
                r = bufferevent_write(conn->bev, b->bytes + sent, b->n - sent);
        assert(r == 0); /* fails only without memory */
        if (b->n_max > CORKED_KEPT)
                buffer_done(&conn->corked);
        buffer_clear(&conn->corked);
}

static void write_greeting(struct conn *conn, node_id to, const char *refusal)
{
        struct peers *p = conn->p;
        struct peers_greeting greeting = {
                .cluster_id = p->config.cluster_id,
                .incarnation = p->config.incarnation,
                .from = p->config.self,
                .to = to,
                .is_refusal = refusal != NULL,
        };

        if (refusal)
                (void)snprintf(greeting.reason, sizeof(greeting.reason), "%s", refusal);
        buffer_clear(&p->scratch);
        peers_greeting_put(&p->scratch, &greeting);
        conn_write(conn, p->scratch.bytes, p->scratch.n);
}

static void on_refusal_written(struct bufferevent *bev, void *userdata)
{
        struct conn *conn = userdata;

        (void)bev;
        conn_lose(conn, "refused");
}

static void on_conn_event(struct bufferevent *bev, short what, void *userdata)
{
        struct conn *conn = userdata;
        int error = EVUTIL_SOCKET_ERROR();

        (void)bev;
        if (what & BEV_EVENT_EOF)
                conn_lose(conn, "the other side closed the connection");
        else
                conn_lose(conn, strerror(error));
}

/* Says why, and closes when that is written. The connection stays pending until then. */
static void conn_refuse(struct conn *conn, const struct peers_greeting *greeting,
                        const char *reason)
{
        struct peer *peer = greeting ? find_peer(conn->p, greeting->from) : NULL;

        conn->state = CONN_CLOSING;
        write_greeting(conn, greeting ? greeting->from : NODE_NOBODY, reason);
        bufferevent_setcb(conn->bev, NULL, on_refusal_written, on_conn_event, conn);
        (void)bufferevent_disable(conn->bev, EV_READ); /* what comes is of no interest */
        arm(conn->deadline, GREETING_USEC);
        if (peer && address_equal(&peer->member.endpoint.address, &conn->from))
                tell_refusal(peer, reason);
        else
                tell_stranger(conn->p, &conn->from, reason);
}

static void conn_open(struct conn *conn)
{
        conn->state = CONN_OPEN;
        bufferevent_setwatermark(conn->bev, EV_READ, 0, PEERS_FRAME_HEADER + PEERS_FRAME_MAX);
        (void)event_del(conn->deadline); /* fails for a timer that does not exist */
}

__attribute__((format(printf, 2, 3))) static bool refuse(char *ret, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(ret, PEERS_REASON_SIZE, format, ap); /* may cut */
        va_end(ap);
        return false;
}

/* Whether a greeting comes from @peer, on the disk that it had, and belongs to our cluster. */
static bool fits(const struct peer *peer, const struct peers_greeting *greeting, char *ret)
{
        const struct peers_config *c = &peer->p->config;

        if (greeting->cluster_id != c->cluster_id)
                return refuse(ret,
                              "member %u is of cluster %016" PRIx64 ", member %u of %016" PRIx64,
                              greeting->from, greeting->cluster_id, c->self, c->cluster_id);
        if (greeting->to != c->self)
                return refuse(ret, "this is member %u, not %u", c->self, greeting->to);
        if (peer->incarnation && greeting->incarnation != peer->incarnation)
                return refuse(ret,
                              "member %u has another data directory than before: what it had "
                              "promised is lost, so it must not vote",
                              greeting->from);
        return true;
}

/* A member has connected to us. An older connection of the same one is dead or stale. */
static void adopt(struct conn *conn, struct peer *peer, const struct peers_greeting *greeting)
{
        forget_pending(conn);
        if (peer->in)
                conn_free(TAKE_PTR(peer->in));
        conn->peer = peer;
        peer->in = conn;
        peer->incarnation = greeting->incarnation;
        write_greeting(conn, peer->member.node, NULL);
        conn_open(conn);
        if (!peer->status.is_heard) {
                peer->status.is_heard = true;
                tell(peer->p, PEERS_HEARD, peer->member.node, "");
        }
        /* It lives: no need to wait until the next attempt is due. */
        if (!peer->out) {
                peer->backoff = BACKOFF_MIN_USEC;
                arm(peer->retry, 0);
        }
}

static void hear_greeting(struct conn *conn, const struct peers_greeting *greeting)
{
        struct peer *peer = find_peer(conn->p, greeting->from);
        char address[ADDRESS_SIZE], reason[PEERS_REASON_SIZE];

        if (!peer) {
                (void)refuse(reason, "there is no other member %u", greeting->from);
                conn_refuse(conn, greeting, reason);
        } else if (!address_equal(&peer->member.endpoint.address, &conn->from)) {
                address_print(&conn->from, address, sizeof(address));
                (void)refuse(reason, "member %u does not live at %s", greeting->from, address);
                conn_refuse(conn, greeting, reason);
        } else if (!fits(peer, greeting, reason)) {
                conn_refuse(conn, greeting, reason);
        } else {
                adopt(conn, peer, greeting);
        }
}

static void hear_answer(struct conn *conn, const struct peers_greeting *greeting)
{
        struct peer *peer = conn->peer;
        char reason[PEERS_REASON_SIZE];

        if (greeting->is_refusal)
                (void)refuse(reason, "refused by it: %.120s", greeting->reason);
        else if (greeting->from != peer->member.node)
                (void)refuse(reason, "member %u answers at the address of member %u",
                             greeting->from, peer->member.node);
        else if (fits(peer, greeting, reason))
                reason[0] = '\0';
        if (reason[0]) {
                tell_refusal(peer, reason);
                lose_out(peer, reason);
                return;
        }
        peer->incarnation = greeting->incarnation;
        peer->backoff = BACKOFF_MIN_USEC;
        peer->refusal[0] = '\0';
        peer->status.reason[0] = '\0';
        peer->status.is_up = true;
        peer->status.since = clock_now();
        conn_open(conn);
        tell(peer->p, PEERS_UP, peer->member.node, "");
}

static void on_greeting(struct conn *conn, const uint8_t *bytes, size_t n)
{
        struct peers_greeting greeting = { 0 };
        char reason[PEERS_REASON_SIZE];
        uint32_t version = 0;
        int r;

        r = peers_greeting_parse(bytes, n, &greeting, &version);
        if (r == -EPROTONOSUPPORT) {
                (void)refuse(reason, "protocol version %" PRIu32 " meets version %d", version,
                             PEERS_PROTOCOL_VERSION);
                if (!conn->is_ours) {
                        conn_refuse(conn, NULL, reason);
                        return;
                }
                tell_refusal(conn->peer, reason);
                conn_lose(conn, reason);
        } else if (r < 0) {
                conn_lose(conn, "what came is not a greeting of a member");
        } else if (conn->is_ours) {
                hear_answer(conn, &greeting);
        } else {
                hear_greeting(conn, &greeting);
        }
}

/* Takes the next whole frame. Returns 1, 0 if there is none yet, or -1 if the connection is gone. */
static int next_frame(struct conn *conn, struct evbuffer *input, struct peers_frame *ret)
{
        size_t n_max = conn->state == CONN_OPEN ? PEERS_FRAME_MAX : PEERS_GREETING_MAX;
        uint8_t header[PEERS_FRAME_HEADER];

        if (evbuffer_get_length(input) < sizeof(header))
                return 0;
        if (evbuffer_copyout(input, header, sizeof(header)) != (ssize_t)sizeof(header))
                return 0;
        *ret = peers_frame_parse(header);
        if (ret->n > n_max) {
                conn_lose(conn, "a frame is too large");
                return -1;
        }
        return evbuffer_get_length(input) >= sizeof(header) + ret->n;
}

/* Hands one frame on. Returns false if there can be no more of them now. */
static bool take_frame(struct conn *conn, struct evbuffer *input, const struct peers_frame *frame)
{
        const uint8_t *bytes = evbuffer_pullup(input, (ssize_t)(PEERS_FRAME_HEADER + frame->n));
        uint8_t greeting[PEERS_GREETING_MAX];
        struct peer *peer = conn->peer;

        assert(bytes); /* it is all there, and memory does not fail */
        bytes += PEERS_FRAME_HEADER;
        if (peers_frame_of(bytes, frame->n).crc != frame->crc) {
                conn_lose(conn, "the checksum of a frame is wrong");
                return false;
        }
        if (conn->state == CONN_OPEN) {
                peer->status.n_received++;
                peer->p->callbacks.receive(peer->p->callbacks.userdata, peer->member.node, bytes,
                                           frame->n);
                return evbuffer_drain(input, PEERS_FRAME_HEADER + frame->n) == 0;
        }
        /* The connection may end over it; and nobody sends more before he is answered. */
        memcpy(greeting, bytes, frame->n);
        if (evbuffer_drain(input, PEERS_FRAME_HEADER + frame->n) == 0)
                on_greeting(conn, greeting, frame->n);
        return false;
}

static void on_readable(struct bufferevent *bev, void *userdata)
{
        struct evbuffer *input = bufferevent_get_input(bev);
        struct conn *conn = userdata;
        struct peers_frame frame;

        if (conn->is_ours && conn->state == CONN_OPEN) {
                conn_lose(conn, "a message came on the wrong connection");
                return;
        }
        while (next_frame(conn, input, &frame) > 0)
                if (!take_frame(conn, input, &frame))
                        return;
}

static void on_conn_deadline(evutil_socket_t fd, short what, void *userdata)
{
        struct conn *conn = userdata;

        (void)fd;
        (void)what;
        conn_lose(conn, conn->is_ours ? "it does not answer" : "it does not introduce itself");
}

/* A connection over @fd, which it takes. */
static struct conn *conn_new(struct peers *p, int fd, usec_t timeout)
{
        struct conn *conn = must_alloc(1, sizeof(*conn));

        *conn = (struct conn){ .p = p };
        conn->bev = bufferevent_socket_new(p->base, fd, BEV_OPT_CLOSE_ON_FREE);
        conn->deadline = evtimer_new(p->base, on_conn_deadline, conn);
        assert(conn->bev && conn->deadline); /* fail only without memory */
        bufferevent_setcb(conn->bev, on_readable, NULL, on_conn_event, conn);
        bufferevent_setwatermark(conn->bev, EV_READ, 0, PEERS_FRAME_HEADER + PEERS_GREETING_MAX);
        (void)bufferevent_enable(conn->bev, EV_READ | EV_WRITE); /* fails for no socket */
        arm(conn->deadline, timeout);
        return conn;
}

static void start_connecting(struct peer *peer)
{
        struct peers *p = peer->p;
        int fd;

        fd = tcp_connect(&p->own, &peer->member.endpoint, p->config.silence_max);
        if (fd < 0) {
                lose_out(peer, strerror(-fd));
                return;
        }
        peer->out = conn_new(p, fd, p->config.connect_timeout);
        peer->out->is_ours = true;
        peer->out->peer = peer;
        write_greeting(peer->out, peer->member.node, NULL);
}

static void on_retry(evutil_socket_t fd, short what, void *userdata)
{
        struct peer *peer = userdata;

        (void)fd;
        (void)what;
        if (!peer->out)
                start_connecting(peer);
}

/* Room for one more that has not introduced itself: the oldest has had its chance. */
static void drop_oldest_pending(struct peers *p)
{
        struct conn *oldest = p->pending;

        while (oldest->next)
                oldest = oldest->next;
        conn_lose(oldest, "too many connections do not introduce themselves");
}

static void welcome(struct peers *p, int fd, const struct address *from)
{
        struct conn *conn;

        if (!is_known_address(p, from)) {
                (void)close(fd); /* nothing was said */
                tell_stranger(p, from, "no member lives at this address");
                return;
        }
        if (p->n_pending == PEERS_PENDING_MAX)
                drop_oldest_pending(p);
        conn = conn_new(p, fd, GREETING_USEC);
        conn->from = *from;
        conn->next = p->pending;
        p->pending = conn;
        p->n_pending++;
}

static void on_acceptable(evutil_socket_t fd, short what, void *userdata)
{
        struct peers *p = userdata;
        struct address from;

        (void)what;
        for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
                int conn_fd = tcp_accept(fd, p->config.silence_max, &from);

                if (conn_fd == -EAGAIN)
                        return;
                if (conn_fd >= 0) {
                        welcome(p, conn_fd, &from);
                } else if (conn_fd == -EMFILE || conn_fd == -ENFILE || conn_fd == -ENOMEM ||
                           conn_fd == -ENOBUFS) {
                        /* The connection would wake us again and again: rest a little. */
                        (void)event_del(p->acceptor); /* fails for no event */
                        arm(p->accept_again, ACCEPT_PAUSE_USEC);
                        return;
                }
        }
}

static void on_accept_again(evutil_socket_t fd, short what, void *userdata)
{
        struct peers *p = userdata;
        int r = event_add(p->acceptor, NULL);

        (void)fd;
        (void)what;
        assert(r == 0); /* fails only without memory */
}

static int check_members(const struct peers_config *c, const struct peers_member **ret_self)
{
        *ret_self = NULL;
        if (c->n_members > MEMBERS_MAX || c->cluster_id == 0)
                return -EINVAL;
        for (unsigned i = 0; i < c->n_members; i++) {
                if (c->members[i].node == NODE_NOBODY)
                        return -EINVAL;
                for (unsigned k = 0; k < i; k++)
                        if (c->members[k].node == c->members[i].node)
                                return -EINVAL;
                if (c->members[i].node == c->self)
                        *ret_self = &c->members[i];
        }
        return *ret_self ? 0 : -EINVAL;
}

static void add_peer(struct peers *p, const struct peers_member *member)
{
        struct peer *peer = p->peers;

        while (peer->member.node != NODE_NOBODY)
                peer++; /* there are no more members than places */
        *peer = (struct peer){ .p = p,
                               .member = *member,
                               .incarnation = member->incarnation,
                               .backoff = BACKOFF_MIN_USEC };
        peer->status.since = clock_now();
        peer->retry = evtimer_new(p->base, on_retry, peer);
        assert(peer->retry); /* fails only without memory */
        arm(peer->retry, 0);
}

static void drop_peer(struct peer *peer)
{
        if (peer->out)
                conn_free(peer->out);
        if (peer->in)
                conn_free(peer->in);
        event_free(peer->retry);
        *peer = (struct peer){ 0 };
}

/* Whether a member can go on with the connections that it has. */
static bool is_still(const struct peer *peer, const struct peers_member *member)
{
        const struct endpoint *a = &peer->member.endpoint, *b = &member->endpoint;

        return peer->member.node == member->node && a->port == b->port &&
               address_equal(&a->address, &b->address) &&
               (member->incarnation == 0 || peer->incarnation == 0 ||
                member->incarnation == peer->incarnation);
}

static const struct peers_member *find_member(const struct peers_member *members, unsigned n,
                                              node_id node)
{
        for (unsigned i = 0; i < n; i++)
                if (members[i].node == node)
                        return &members[i];
        return NULL;
}

void peers_set_members(struct peers *p, const struct peers_member *members, unsigned n)
{
        for (unsigned i = 0; i < MEMBERS_MAX; i++) {
                struct peer *peer = &p->peers[i];
                const struct peers_member *member = find_member(members, n, peer->member.node);

                if (peer->member.node != NODE_NOBODY && (!member || !is_still(peer, member)))
                        drop_peer(peer);
        }
        for (unsigned i = 0; i < n; i++) {
                struct peer *peer = find_peer(p, members[i].node);

                if (peer && members[i].incarnation != 0)
                        peer->incarnation = members[i].incarnation;
                else if (!peer && members[i].node != p->config.self)
                        add_peer(p, &members[i]);
        }
}

static void start_accepting(struct peers *p)
{
        int r;

        p->acceptor = event_new(p->base, p->listen_fd, EV_READ | EV_PERSIST, on_acceptable, p);
        p->accept_again = evtimer_new(p->base, on_accept_again, p);
        assert(p->acceptor && p->accept_again); /* fail only without memory */
        r = event_add(p->acceptor, NULL);
        assert(r == 0);
}

int peers_new(struct event_base *base, const struct peers_config *config,
              const struct peers_callbacks *callbacks, struct peers **ret)
{
        const struct peers_member *self;
        struct peers *p;
        int fd, r;

        r = check_members(config, &self);
        if (r < 0)
                return r;
        fd = tcp_listen(&self->endpoint);
        if (fd < 0)
                return fd;

        p = must_alloc(1, sizeof(*p));
        *p = (struct peers){ .base = base,
                             .config = *config,
                             .callbacks = *callbacks,
                             .random = { config->seed },
                             .own = self->endpoint.address,
                             .listen_fd = fd };
        if (!p->config.connect_timeout)
                p->config.connect_timeout = CONNECT_TIMEOUT_USEC;
        if (!p->config.silence_max)
                p->config.silence_max = SILENCE_MAX_USEC;
        start_accepting(p);
        for (unsigned i = 0; i < config->n_members; i++)
                if (config->members[i].node != config->self)
                        add_peer(p, &config->members[i]);
        *ret = p;
        return 0;
}

void peers_free(struct peers *p)
{
        if (!p)
                return;
        for (unsigned i = 0; i < MEMBERS_MAX; i++)
                if (p->peers[i].member.node != NODE_NOBODY)
                        drop_peer(&p->peers[i]);
        while (p->pending)
                conn_free(p->pending);
        event_free(p->acceptor);
        event_free(p->accept_again);
        (void)close(p->listen_fd); /* nothing is written to it */
        buffer_done(&p->scratch);
        free(p);
}

int peers_send(struct peers *p, node_id to, const void *bytes, size_t n)
{
        struct peer *peer = find_peer(p, to);
        int r = 0;

        if (!peer)
                return -ENOENT;
        if (n > PEERS_FRAME_MAX)
                return -EMSGSIZE;
        if (!peer->status.is_up)
                r = -ENOTCONN;
        else if (bytes_queued(peer->out) + n > PEERS_QUEUE_MAX)
                r = -ENOBUFS;
        if (r < 0) {
                peer->status.n_dropped++;
                return r;
        }
        conn_send(peer->out, bytes, n);
        peer->status.n_sent++;
        return 0;
}

void peers_flush(struct peers *p)
{
        for (unsigned i = 0; i < MEMBERS_MAX; i++) {
                struct conn *out = p->peers[i].out;

                if (out && out->corked.n > 0)
                        conn_flush(out);
        }
}

bool peers_status(const struct peers *p, node_id node, struct peers_status *ret)
{
        const struct peer *peer = find_peer(p, node);

        if (!peer)
                return false;
        *ret = peer->status;
        ret->incarnation = peer->incarnation;
        if (peer->out)
                ret->bytes_queued = bytes_queued(peer->out);
        return true;
}
