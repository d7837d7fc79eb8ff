/*
 * The connections between members, over the loopback device: several members in one loop, and raw
 * sockets for whoever does not keep to the protocol. Members live at 127.0.0.11 and so on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/peers-wire.h"
#include "daemon/peers.h"
#include "election/base/memory.h"
#include "election/base/random.h"
#include "tests/lib/deadline.h"

enum {
        N = 3,
        STRANGER = 88, /* lives at 127.0.0.98 */
        CLUSTER = 0x1234,
        WAIT_MSEC = 10000,
        RAW_MAX = 64, /* raw sockets of one test */
        KINDS = PEERS_STRANGER + 1,
};

/* One member, and what it was told. */
struct member {
        struct fixture *f;
        node_id node;
        struct peers *p;
        unsigned n_events[KINDS][N + 1]; /* by kind and member */
        char reason[KINDS][256]; /* the last one of a kind */
        uint64_t n_received[N + 1];
        size_t bytes_received;
        bool is_out_of_order;
};

struct fixture {
        struct event_base *base;
        struct member members[N + 1];
        struct peers_config config;
        int raw[RAW_MAX];
        unsigned n_raw;
};

static struct endpoint endpoint_of(unsigned node, uint16_t port)
{
        char text[32];
        struct endpoint e;

        (void)snprintf(text, sizeof(text), "127.0.0.%u", 10 + node);
        assert_int_equal(endpoint_parse(text, port, &e), 0);
        return e;
}

static struct sockaddr_in sockaddr_of(const struct endpoint *e)
{
        return (struct sockaddr_in){ .sin_family = AF_INET,
                                     .sin_port = htons(e->port),
                                     .sin_addr = e->address.v4 };
}

static int raw_socket(struct fixture *f)
{
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0);
        assert_true(f->n_raw < RAW_MAX);
        f->raw[f->n_raw++] = fd;
        return fd;
}

static void raw_bind(int fd, const struct endpoint *at)
{
        struct sockaddr_in address = sockaddr_of(at);
        int yes = 1;

        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)), 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

static void raw_connect(int fd, const struct endpoint *to)
{
        struct sockaddr_in address = sockaddr_of(to);

        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

/* A socket that listens where @node should, in its place. */
static int raw_listen(struct fixture *f, unsigned node)
{
        struct endpoint at = f->config.members[node - 1].endpoint;
        int fd = raw_socket(f);

        raw_bind(fd, &at);
        assert_int_equal(listen(fd, 16), 0);
        assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
        return fd;
}

/* A connection to member 1 from the address of @node. */
static int raw_visit(struct fixture *f, unsigned node)
{
        struct endpoint from = endpoint_of(node, 0);
        int fd = raw_socket(f);

        raw_bind(fd, &from);
        raw_connect(fd, &f->config.members[0].endpoint);
        return fd;
}

static void raw_frame(int fd, const void *bytes, size_t n)
{
        struct peers_frame frame = peers_frame_of(bytes, n);
        uint8_t header[PEERS_FRAME_HEADER];

        peers_frame_put(header, &frame);
        assert_int_equal(send(fd, header, sizeof(header), MSG_NOSIGNAL), sizeof(header));
        assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
}

static void raw_greet(int fd, const struct peers_greeting *greeting)
{
        struct buffer b = { 0 };

        peers_greeting_put(&b, greeting);
        raw_frame(fd, b.bytes, b.n);
        buffer_done(&b);
}

static struct peers_greeting greeting_from(unsigned node)
{
        return (struct peers_greeting){
                .cluster_id = CLUSTER, .incarnation = node, .from = (node_id)node, .to = 1
        };
}

static void on_receive(void *userdata, node_id from, const uint8_t *bytes, size_t n)
{
        struct member *m = userdata;
        uint64_t number;

        m->bytes_received += n;
        if (n < sizeof(number))
                return;
        memcpy(&number, bytes, sizeof(number));
        if (number != m->n_received[from])
                m->is_out_of_order = true;
        for (size_t i = sizeof(number); i < n; i++)
                if (bytes[i] != (uint8_t)number)
                        m->is_out_of_order = true;
        m->n_received[from]++;
}

static void on_event(void *userdata, const struct peers_event *event)
{
        struct member *m = userdata;

        assert_true((unsigned)event->type < KINDS && event->node <= N);
        m->n_events[event->type][event->node]++;
        (void)snprintf(m->reason[event->type], sizeof(m->reason[0]), "%s", event->reason);
}

static int start_with(struct fixture *f, node_id node, const struct peers_config *config)
{
        struct peers_callbacks callbacks = { .receive = on_receive,
                                             .event = on_event,
                                             .userdata = &f->members[node] };

        f->members[node].f = f;
        f->members[node].node = node;
        return peers_new(f->base, config, &callbacks, &f->members[node].p);
}

static void start(struct fixture *f, node_id node)
{
        struct peers_config config = f->config;

        config.self = node;
        config.incarnation = node;
        config.seed = node;
        assert_int_equal(start_with(f, node, &config), 0);
}

static void stop(struct fixture *f, node_id node)
{
        peers_free(f->members[node].p);
        f->members[node].p = NULL;
}

/* A port that is free at the addresses of all members. */
static uint16_t free_port(struct fixture *f)
{
        struct sockaddr_in address;
        socklen_t n = sizeof(address);
        struct endpoint any = endpoint_of(1, 0);
        int fd = raw_socket(f);

        raw_bind(fd, &any);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &n), 0);
        (void)close(fd);
        f->n_raw--;
        return ntohs(address.sin_port);
}

static int setup(void **state)
{
        struct fixture *f = must_alloc(1, sizeof(*f));
        uint16_t port;

        *state = f;
        f->base = event_base_new();
        if (!f->base)
                return -1;
        port = free_port(f);
        f->config = (struct peers_config){ .cluster_id = CLUSTER, .n_members = N };
        for (unsigned i = 1; i <= N; i++)
                f->config.members[i - 1] = (struct peers_member){
                        .node = (node_id)i, .endpoint = endpoint_of(i, port)
                };
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        for (unsigned i = 0; i < f->n_raw; i++)
                (void)close(f->raw[i]);
        for (node_id i = 1; i <= N; i++)
                stop(f, i);
        event_base_free(f->base);
        free(f);
        return 0;
}

/* Something to wait for while the loop runs. */
struct wait {
        struct fixture *f;
        bool (*condition)(struct fixture *f, const struct wait *w);
        unsigned a, b;
        int fd;
};

static bool turn(void *userdata)
{
        const struct wait *w = userdata;

        for (int i = 0; i < 20; i++) {
                assert_true(event_base_loop(w->f->base, EVLOOP_NONBLOCK) >= 0);
                if (w->condition(w->f, w))
                        return true;
        }
        return false;
}

static bool wait_until(struct fixture *f, bool (*condition)(struct fixture *, const struct wait *),
                       unsigned a, unsigned b)
{
        struct wait w = { .f = f, .condition = condition, .a = a, .b = b };

        return deadline_wait(turn, &w, WAIT_MSEC);
}

/* Whether member @a can send to @b. */
static bool is_up(struct fixture *f, const struct wait *w)
{
        struct peers_status status;

        return peers_status(f->members[w->a].p, (node_id)w->b, &status) && status.is_up;
}

static bool is_down(struct fixture *f, const struct wait *w)
{
        return !is_up(f, w);
}

static bool all_are_up(struct fixture *f, const struct wait *w)
{
        for (unsigned a = 1; a <= N; a++)
                for (unsigned b = 1; b <= N; b++)
                        if (a != b && !is_up(f, &(struct wait){ .a = a, .b = b }))
                                return false;
        return w != NULL;
}

/* Whether member 1 was told @a about @b. */
static bool was_told(struct fixture *f, const struct wait *w)
{
        return f->members[1].n_events[w->a][w->b] > 0;
}

/* Whether the other side has closed the raw socket; what it said before is thrown away. */
static bool is_closed(struct fixture *f, const struct wait *w)
{
        uint8_t bytes[4096];
        ssize_t n = recv(w->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        (void)f;
        return n == 0 || (n < 0 && errno != EAGAIN);
}

static bool wait_until_closed(struct fixture *f, int fd)
{
        struct wait w = { .f = f, .condition = is_closed, .fd = fd };

        return deadline_wait(turn, &w, WAIT_MSEC);
}

static bool has_bytes(struct fixture *f, const struct wait *w)
{
        uint8_t byte;

        (void)f;
        return recv(w->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1;
}

/* What member 1 answers to a raw greeting. */
static struct peers_greeting raw_answer(struct fixture *f, int fd)
{
        struct wait w = { .f = f, .condition = has_bytes, .fd = fd };
        uint8_t bytes[PEERS_FRAME_HEADER + PEERS_GREETING_MAX];
        struct peers_greeting answer = { 0 };
        uint32_t version;
        ssize_t n;

        assert_true(deadline_wait(turn, &w, WAIT_MSEC));
        n = recv(fd, bytes, sizeof(bytes), 0);
        assert_true(n > PEERS_FRAME_HEADER);
        assert_int_equal(peers_greeting_parse(bytes + PEERS_FRAME_HEADER,
                                              (size_t)n - PEERS_FRAME_HEADER, &answer, &version),
                         0);
        return answer;
}

static bool has_visitor(struct fixture *f, const struct wait *w)
{
        int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0)
                return false;
        assert_true(f->n_raw < RAW_MAX);
        f->raw[f->n_raw++] = fd;
        return true;
}

/* The next connection that member 1 makes to a raw listener. */
static int raw_accept(struct fixture *f, int listen_fd)
{
        struct wait w = { .f = f, .condition = has_visitor, .fd = listen_fd };

        assert_true(deadline_wait(turn, &w, WAIT_MSEC));
        return f->raw[f->n_raw - 1];
}

static int send_number(struct fixture *f, node_id from, node_id to, uint64_t number, size_t n)
{
        uint8_t *bytes = must_alloc(n < 8 ? 8 : n, 1);
        int r;

        memset(bytes, (int)(number & 0xff), n);
        memcpy(bytes, &number, sizeof(number));
        r = peers_send(f->members[from].p, to, bytes, n < 8 ? 8 : n);
        peers_flush(f->members[from].p);
        free(bytes);
        return r;
}

/* Whether each member has heard @a messages from each other one. */
static bool have_all_heard(struct fixture *f, const struct wait *w)
{
        for (unsigned a = 1; a <= N; a++)
                for (unsigned b = 1; b <= N; b++)
                        if (a != b && f->members[a].n_received[b] < w->a)
                                return false;
        return true;
}

static bool has_heard(struct fixture *f, const struct wait *w)
{
        return f->members[w->a].n_received[1] >= w->b;
}

static void start_all(struct fixture *f)
{
        for (node_id i = 1; i <= N; i++)
                start(f, i);
        assert_true(wait_until(f, all_are_up, 0, 0));
}

static void messages_arrive_whole_and_in_order(void **state)
{
        struct fixture *f = *state;
        struct random random = { 1 };

        start_all(f);
        for (uint64_t i = 0; i < 500; i++)
                for (node_id a = 1; a <= N; a++)
                        for (node_id b = 1; b <= N; b++)
                                if (a != b)
                                        assert_int_equal(send_number(f, a, b, i,
                                                                     random_below(&random, 5000)),
                                                         0);
        for (node_id a = 1; a <= N; a++)
                assert_int_equal(send_number(f, a, (node_id)(a % N + 1), 500, PEERS_FRAME_MAX), 0);
        for (node_id a = 1; a <= N; a++)
                assert_int_equal(send_number(f, a, (node_id)((a + 1) % N + 1), 500, 8), 0);
        assert_true(wait_until(f, have_all_heard, 501, 0));
        for (node_id a = 1; a <= N; a++)
                assert_false(f->members[a].is_out_of_order);
}

static void what_cannot_be_sent_is_said(void **state)
{
        static const uint8_t bytes[PEERS_FRAME_MAX + 1];
        struct fixture *f = *state;
        struct peers_status status;

        start(f, 1);
        assert_int_equal(peers_send(f->members[1].p, 2, "x", 1), -ENOTCONN);
        assert_int_equal(peers_send(f->members[1].p, 1, "x", 1), -ENOENT);
        assert_int_equal(peers_send(f->members[1].p, 9, "x", 1), -ENOENT);
        assert_int_equal(peers_send(f->members[1].p, 2, bytes, sizeof(bytes)), -EMSGSIZE);
        assert_true(peers_status(f->members[1].p, 2, &status));
        assert_int_equal(status.n_dropped, 1);
        assert_int_equal(status.n_sent, 0);
        assert_false(peers_status(f->members[1].p, 1, &status));
}

static void member_that_comes_back_is_reached_again(void **state)
{
        struct fixture *f = *state;

        start_all(f);
        stop(f, 2);
        assert_true(wait_until(f, is_down, 1, 2));
        assert_true(wait_until(f, was_told, PEERS_LOST, 2));
        assert_int_equal(f->members[1].n_events[PEERS_DOWN][2], 1);
        assert_true(is_up(f, &(struct wait){ .a = 1, .b = 3 }));
        start(f, 2);
        assert_true(wait_until(f, all_are_up, 0, 0));
        assert_int_equal(f->members[1].n_events[PEERS_UP][2], 2);
        assert_int_equal(send_number(f, 1, 2, 0, 100), 0);
        assert_true(wait_until(f, has_heard, 2, 1));
        assert_false(f->members[2].is_out_of_order);
}

static void other_cluster_is_refused_with_a_reason(void **state)
{
        struct fixture *f = *state;
        struct peers_config config = f->config;

        config.self = 2;
        config.incarnation = 2;
        config.cluster_id = 0x9999;
        start(f, 1);
        assert_int_equal(start_with(f, 2, &config), 0);
        assert_true(wait_until(f, was_told, PEERS_REFUSED, 2));
        assert_non_null(strstr(f->members[1].reason[PEERS_REFUSED], "0000000000009999"));
        assert_non_null(strstr(f->members[1].reason[PEERS_REFUSED], "0000000000001234"));
        assert_int_equal(f->members[1].n_events[PEERS_UP][2], 0);
        assert_int_equal(f->members[1].n_events[PEERS_HEARD][2], 0);
        /* The right one is welcome at once. */
        stop(f, 2);
        start(f, 2);
        assert_true(wait_until(f, is_up, 1, 2));
        assert_true(wait_until(f, is_up, 2, 1));
}

static void refusal_is_told_once_not_per_attempt(void **state)
{
        struct peers_greeting answer = greeting_from(2);
        struct fixture *f = *state;
        int listen_fd = raw_listen(f, 2);

        answer.is_refusal = true;
        (void)snprintf(answer.reason, sizeof(answer.reason), "not \x1b[31mtoday");
        start(f, 1);
        for (int i = 0; i < 4; i++) {
                int fd = raw_accept(f, listen_fd);

                raw_greet(fd, &answer);
                assert_true(wait_until_closed(f, fd));
        }
        assert_int_equal(f->members[1].n_events[PEERS_REFUSED][2], 1);
        assert_non_null(strstr(f->members[1].reason[PEERS_REFUSED], "not ?[31mtoday"));
        (void)snprintf(answer.reason, sizeof(answer.reason), "nor tomorrow");
        for (int i = 0; i < 2; i++) {
                int fd = raw_accept(f, listen_fd);

                raw_greet(fd, &answer);
                assert_true(wait_until_closed(f, fd));
        }
        assert_int_equal(f->members[1].n_events[PEERS_REFUSED][2], 2);
}

static void other_member_at_the_address_is_refused(void **state)
{
        struct fixture *f = *state;
        struct peers_greeting answer = greeting_from(3);
        int fd;

        start(f, 1);
        fd = raw_accept(f, raw_listen(f, 2));
        raw_greet(fd, &answer);
        assert_true(wait_until(f, was_told, PEERS_REFUSED, 2));
        assert_non_null(strstr(f->members[1].reason[PEERS_REFUSED], "member 3 answers"));
        assert_true(wait_until_closed(f, fd));
}

static void member_with_another_disk_is_refused(void **state)
{
        struct fixture *f = *state;
        struct peers_config config = f->config;

        start(f, 1);
        start(f, 2);
        assert_true(wait_until(f, is_up, 1, 2));
        stop(f, 2);
        config.self = 2;
        config.incarnation = 77;
        assert_int_equal(start_with(f, 2, &config), 0);
        assert_true(wait_until(f, was_told, PEERS_REFUSED, 2));
        assert_non_null(strstr(f->members[1].reason[PEERS_REFUSED], "another data directory"));
        assert_true(wait_until(f, is_down, 1, 2));
}

static bool is_gone(struct fixture *f, const struct wait *w)
{
        struct peers_status status;

        return !peers_status(f->members[w->a].p, (node_id)w->b, &status);
}

static void members_come_and_go(void **state)
{
        struct fixture *f = *state;
        struct peers_member list[N];
        struct peers_status status;

        memcpy(list, f->config.members, sizeof(list));
        start_all(f);
        peers_set_members(f->members[1].p, list, N - 1);
        assert_true(is_gone(f, &(struct wait){ .a = 1, .b = N }));
        assert_int_equal(peers_send(f->members[1].p, N, "x", 1), -ENOENT);
        assert_true(is_up(f, &(struct wait){ .a = 1, .b = 2 }));
        assert_true(wait_until(f, is_down, N, 1)); /* it is shown out, */
        peers_set_members(f->members[1].p, list, N);
        assert_true(wait_until(f, all_are_up, 0, 0)); /* and let in again */
        assert_int_equal(f->members[1].n_events[PEERS_DOWN][2], 0);
        assert_true(peers_status(f->members[1].p, N, &status));
        assert_true(status.incarnation == N);
}

static void another_disk_is_welcome_once_the_list_names_it(void **state)
{
        struct fixture *f = *state;
        struct peers_member list[N];
        struct peers_config config = f->config;

        memcpy(list, f->config.members, sizeof(list));
        start(f, 1);
        list[1].incarnation = 77;
        peers_set_members(f->members[1].p, list, N);
        start(f, 2);
        assert_true(wait_until(f, was_told, PEERS_REFUSED, 2));
        stop(f, 2);
        config.self = 2;
        config.incarnation = 77;
        assert_int_equal(start_with(f, 2, &config), 0);
        assert_true(wait_until(f, is_up, 1, 2));
}

static void greetings_that_do_not_fit_are_answered_with_the_reason(void **state)
{
        static const struct {
                uint64_t cluster_id;
                node_id from, to;
                const char *reason;
        } cases[] = {
                { 0x9999, 2, 1, "cluster 0000000000009999" },
                { CLUSTER, 2, 3, "this is member 1, not 3" },
                { CLUSTER, 9, 1, "no other member 9" },
                { CLUSTER, 1, 1, "no other member 1" },
                { CLUSTER, 3, 1, "member 3 does not live at 127.0.0.12" },
        };
        struct fixture *f = *state;

        start(f, 1);
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                struct peers_greeting greeting = greeting_from(2), answer;
                int fd = raw_visit(f, 2);

                greeting.cluster_id = cases[i].cluster_id;
                greeting.from = cases[i].from;
                greeting.to = cases[i].to;
                raw_greet(fd, &greeting);
                answer = raw_answer(f, fd);
                assert_true(answer.is_refusal);
                assert_non_null(strstr(answer.reason, cases[i].reason));
                assert_true(wait_until_closed(f, fd));
        }
        assert_int_equal(f->members[1].n_events[PEERS_HEARD][2], 0);
        assert_int_equal(f->members[1].n_events[PEERS_HEARD][3], 0);
}

static void other_version_is_answered_with_the_reason(void **state)
{
        struct fixture *f = *state;
        struct peers_greeting greeting = greeting_from(2), answer;
        struct buffer b = { 0 };
        int fd;

        start(f, 1);
        fd = raw_visit(f, 2);
        peers_greeting_put(&b, &greeting);
        b.bytes[8] = 200;
        raw_frame(fd, b.bytes, b.n);
        buffer_done(&b);
        answer = raw_answer(f, fd);
        assert_true(answer.is_refusal);
        assert_non_null(strstr(answer.reason, "protocol version 200"));
        assert_true(wait_until_closed(f, fd));
}

static void stranger_is_turned_away_and_told_once(void **state)
{
        struct fixture *f = *state;

        start(f, 1);
        for (int i = 0; i < 5; i++)
                assert_true(wait_until_closed(f, raw_visit(f, STRANGER)));
        assert_int_equal(f->members[1].n_events[PEERS_STRANGER][0], 1);
        assert_string_equal(f->members[1].reason[PEERS_STRANGER],
                            "127.0.0.98: no member lives at this address");
}

static void garbage_harms_nobody(void **state)
{
        struct fixture *f = *state;
        struct random random = { 42 };
        uint8_t bytes[3000];

        start(f, 1);
        start(f, 3);
        for (int i = 0; i < 200; i++) {
                size_t n = 1 + random_below(&random, sizeof(bytes));
                int fd = raw_visit(f, 2);

                for (size_t k = 0; k < n; k++)
                        bytes[k] = (uint8_t)random_next(&random);
                /* Some begin as a frame of a possible length. */
                if (i % 2) {
                        memset(bytes, 0, 4);
                        bytes[0] = (uint8_t)random_next(&random);
                }
                assert_true(send(fd, bytes, n, MSG_NOSIGNAL) > 0);
                (void)shutdown(fd, SHUT_WR);
                assert_true(wait_until_closed(f, fd));
                (void)close(fd);
                f->n_raw--;
        }
        assert_int_equal(f->members[1].n_events[PEERS_HEARD][2], 0);
        start(f, 2);
        assert_true(wait_until(f, all_are_up, 0, 0));
}

/* A raw connection that member 1 takes for @node. */
static int raw_introduced(struct fixture *f, unsigned node)
{
        struct peers_greeting greeting = greeting_from(node);
        int fd = raw_visit(f, node);

        raw_greet(fd, &greeting);
        assert_false(raw_answer(f, fd).is_refusal);
        return fd;
}

static void frame_that_is_too_large_ends_the_connection(void **state)
{
        static const uint8_t header[PEERS_FRAME_HEADER] = { 0xff, 0xff, 0xff, 0xff };
        struct fixture *f = *state;
        int fd;

        start(f, 1);
        fd = raw_introduced(f, 2);
        assert_int_equal(send(fd, header, sizeof(header), 0), sizeof(header));
        assert_true(wait_until_closed(f, fd));
        assert_int_equal(f->members[1].n_events[PEERS_LOST][2], 1);
        assert_non_null(strstr(f->members[1].reason[PEERS_LOST], "too large"));
}

static void frame_that_changed_on_its_way_ends_the_connection(void **state)
{
        struct fixture *f = *state;
        struct peers_frame frame = peers_frame_of("vote no", 7);
        uint8_t header[PEERS_FRAME_HEADER];
        int fd;

        start(f, 1);
        fd = raw_introduced(f, 2);
        peers_frame_put(header, &frame);
        assert_int_equal(send(fd, header, sizeof(header), 0), sizeof(header));
        assert_int_equal(send(fd, "vote ye", 7, 0), 7);
        assert_true(wait_until_closed(f, fd));
        assert_non_null(strstr(f->members[1].reason[PEERS_LOST], "checksum"));
        assert_int_equal(f->members[1].bytes_received, 0);
}

static void newer_connection_of_a_member_replaces_the_older(void **state)
{
        struct fixture *f = *state;
        int first, second;

        start(f, 1);
        first = raw_introduced(f, 2);
        second = raw_introduced(f, 2);
        assert_true(wait_until_closed(f, first));
        raw_frame(second, "\0\0\0\0\0\0\0\0", 8);
        assert_true(wait_until(f, has_heard, 1, 0));
        assert_int_equal(f->members[1].n_events[PEERS_HEARD][2], 1);
        assert_int_equal(f->members[1].n_events[PEERS_LOST][2], 0);
}

static void silent_visitor_is_shown_out(void **state)
{
        struct fixture *f = *state;
        int fd;

        start(f, 1);
        fd = raw_visit(f, 2);
        assert_int_equal(send(fd, "\x20\0\0", 3, 0), 3);
        assert_true(wait_until_closed(f, fd));
        assert_non_null(strstr(f->members[1].reason[PEERS_STRANGER], "introduce"));
}

static void silent_visitors_do_not_keep_members_out(void **state)
{
        struct fixture *f = *state;
        int first;

        start(f, 1);
        first = raw_visit(f, 2);
        for (int i = 0; i < PEERS_PENDING_MAX; i++)
                (void)raw_visit(f, 2);
        assert_true(wait_until_closed(f, first));
        assert_non_null(strstr(f->members[1].reason[PEERS_STRANGER], "too many"));
        start(f, 3);
        assert_true(wait_until(f, is_up, 3, 1));
}

static void queue_for_a_member_that_does_not_read_is_bounded(void **state)
{
        static const uint8_t bytes[1 << 20];
        struct peers_greeting answer = greeting_from(2);
        struct fixture *f = *state;
        struct peers_status status;
        int fd, r = 0;

        start(f, 1);
        start(f, 3);
        fd = raw_accept(f, raw_listen(f, 2));
        raw_greet(fd, &answer);
        assert_true(wait_until(f, is_up, 1, 2));
        assert_true(wait_until(f, is_up, 1, 3));
        for (int i = 0; i < 100 && r == 0; i++) {
                r = peers_send(f->members[1].p, 2, bytes, sizeof(bytes));
                peers_flush(f->members[1].p);
                assert_true(event_base_loop(f->base, EVLOOP_NONBLOCK) >= 0);
        }
        assert_int_equal(r, -ENOBUFS);
        assert_true(peers_status(f->members[1].p, 2, &status));
        assert_true(status.bytes_queued <= PEERS_QUEUE_MAX + PEERS_FRAME_HEADER);
        assert_int_equal(status.n_dropped, 1);
        /* Nobody else waits for it. */
        assert_int_equal(send_number(f, 1, 3, 0, 100), 0);
        assert_true(wait_until(f, has_heard, 3, 1));
        /* It is given up; what waited is gone with the connection. */
        assert_true(wait_until(f, is_down, 1, 2));
        assert_true(peers_status(f->members[1].p, 2, &status));
        assert_true(status.bytes_queued < sizeof(bytes));
}

static void member_that_does_not_answer_is_tried_again(void **state)
{
        struct fixture *f = *state;
        struct peers_status status;
        int listen_fd = raw_listen(f, 2), fd;

        f->config.connect_timeout = 50 * USEC_PER_MSEC;
        start(f, 1);
        fd = raw_accept(f, listen_fd);
        assert_true(wait_until_closed(f, fd));
        assert_true(peers_status(f->members[1].p, 2, &status));
        assert_string_equal(status.reason, "it does not answer");
        (void)raw_accept(f, listen_fd);
}

static bool has_ipv6(void)
{
        struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool yes = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

        if (fd >= 0)
                (void)close(fd);
        return yes;
}

static void members_talk_over_ipv6(void **state)
{
        struct fixture *f = *state;
        uint16_t port = f->config.members[0].endpoint.port;

        for (unsigned i = 0; i < N; i++)
                assert_int_equal(
                        endpoint_parse("::1", (uint16_t)(port + i), &f->config.members[i].endpoint),
                        0);
        if (!has_ipv6())
                skip();
        start_all(f);
        assert_int_equal(send_number(f, 1, 2, 0, 100), 0);
        assert_true(wait_until(f, has_heard, 2, 1));
}

static void wrong_configuration_is_refused(void **state)
{
        struct fixture *f = *state;
        struct peers_config config = f->config;

        config.self = 7;
        assert_int_equal(start_with(f, 1, &config), -EINVAL);
        config = f->config;
        config.self = 1;
        config.members[2].node = 2;
        assert_int_equal(start_with(f, 1, &config), -EINVAL);
        config = f->config;
        config.self = 1;
        config.cluster_id = 0;
        assert_int_equal(start_with(f, 1, &config), -EINVAL);
        (void)raw_listen(f, 1);
        config = f->config;
        config.self = 1;
        assert_int_equal(start_with(f, 1, &config), -EADDRINUSE);
        assert_null(f->members[1].p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(messages_arrive_whole_and_in_order),
                TEST(what_cannot_be_sent_is_said),
                TEST(member_that_comes_back_is_reached_again),
                TEST(other_cluster_is_refused_with_a_reason),
                TEST(refusal_is_told_once_not_per_attempt),
                TEST(other_member_at_the_address_is_refused),
                TEST(member_with_another_disk_is_refused),
                TEST(members_come_and_go),
                TEST(another_disk_is_welcome_once_the_list_names_it),
                TEST(greetings_that_do_not_fit_are_answered_with_the_reason),
                TEST(other_version_is_answered_with_the_reason),
                TEST(stranger_is_turned_away_and_told_once),
                TEST(garbage_harms_nobody),
                TEST(frame_that_is_too_large_ends_the_connection),
                TEST(frame_that_changed_on_its_way_ends_the_connection),
                TEST(newer_connection_of_a_member_replaces_the_older),
                TEST(silent_visitor_is_shown_out),
                TEST(silent_visitors_do_not_keep_members_out),
                TEST(queue_for_a_member_that_does_not_read_is_bounded),
                TEST(member_that_does_not_answer_is_tried_again),
                TEST(members_talk_over_ipv6),
                TEST(wrong_configuration_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
