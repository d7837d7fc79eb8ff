/*
 * kv-load: clients with one request under way each, on keep-alive connections spread over the
 * members of a store that speaks etcd's v2 API. Prints one line of JSON: operations a second,
 * latencies, errors.
 *
 *     kv-load OPERATION CONNECTIONS SECONDS KEYS TARGET...
 *
 * OPERATION: put, cas (each connection swaps a key of its own), get, qget (quorum=true), mixed
 * (four reads to one write), or fill (each key once, however long it takes). KEYS: how many, or how
 * many and the bytes of a value, as in 1000x64.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "tests/bench/connection.h"

enum {
        VALUE_BYTES = 64, /* unless another number is named */
        VALUE_BYTES_MAX = 1000,
        KEY_DIGITS = 8,
        EVENTS_MAX = 256,
        CONNECTIONS_MAX = 4096,
        LATENCIES_MAX = 32 << 20, /* beyond it, they are no longer noted */
        FILL_SECONDS_MAX = 600,
        RECONNECT_MAX = 1000, /* lost connections, until the run is given up */
};

enum operation {
        OPERATION_PUT,
        OPERATION_CAS,
        OPERATION_GET,
        OPERATION_QUORUM_GET,
        OPERATION_MIXED,
        OPERATION_FILL,
        OPERATIONS,
};

static const char *const operation_names[OPERATIONS] = { "put",  "cas",   "get",
                                                         "qget", "mixed", "fill" };

/* A request in which only some digits change from one time to the next. */
struct request {
        char bytes[CONNECTION_REQUEST_MAX];
        size_t n;
        size_t key_at; /* KEY_DIGITS digits */
        size_t value_at; /* likewise */
        size_t previous_at; /* likewise; 0: none */
};

struct client {
        struct connection connection;
        const struct target *target;
        struct request read, write;
        uint64_t sent_at;
        uint32_t version; /* of the value in our own key, for cas */
        bool is_open;
        bool is_write;
        bool is_waiting; /* for an answer */
};

struct load {
        enum operation operation;
        unsigned n_clients;
        uint64_t seconds;
        unsigned n_keys;
        unsigned n_value;
        struct target targets[TARGETS_MAX];
        unsigned n_targets;
        struct client *clients;
        int epoll_fd;
        uint64_t random;
        unsigned n_filled;
        unsigned n_waiting;
        uint32_t *latencies;
        size_t n_latencies, n_latencies_max;
        uint64_t n_done, n_errors, n_lost;
        uint64_t began_at, ended_at;
        bool is_over;
};

static uint64_t draw(struct load *l)
{
        l->random ^= l->random << 13;
        l->random ^= l->random >> 7;
        l->random ^= l->random << 17;
        return l->random;
}

static void put_digits(char *at, uint32_t number)
{
        for (unsigned i = KEY_DIGITS; i-- > 0; number /= 10)
                at[i] = (char)('0' + number % 10);
}

static void make_read(struct request *q, const struct target *to, bool is_quorum)
{
        q->n = (size_t)snprintf(q->bytes, sizeof(q->bytes),
                                "GET /v2/keys/bench/%08d%s HTTP/1.1\r\nHost: %s\r\n\r\n", 0,
                                is_quorum ? "?quorum=true" : "", to->host);
        q->key_at = strlen("GET /v2/keys/bench/");
}

static void make_write(struct request *q, const struct target *to, unsigned n_value, bool is_swap)
{
        char body[2 * VALUE_BYTES_MAX + 64];
        int n_body;
        size_t at;

        n_body = snprintf(body, sizeof(body), "value=%0*d", (int)n_value, 0);
        if (is_swap)
                n_body += snprintf(body + n_body, sizeof(body) - (size_t)n_body, "&prevValue=%0*d",
                                   (int)n_value, 0);
        at = (size_t)snprintf(q->bytes, sizeof(q->bytes),
                              "PUT /v2/keys/bench/%08d HTTP/1.1\r\nHost: %s\r\n"
                              "Content-Type: application/x-www-form-urlencoded\r\n"
                              "Content-Length: %d\r\n\r\n",
                              0, to->host, n_body);
        memcpy(q->bytes + at, body, (size_t)n_body);
        q->n = at + (size_t)n_body;
        q->key_at = strlen("PUT /v2/keys/bench/");
        q->value_at = at + strlen("value=") + n_value - KEY_DIGITS;
        q->previous_at = is_swap ? q->n - KEY_DIGITS : 0;
}

static void note_latency(struct load *l, uint64_t usec)
{
        if (l->n_latencies == l->n_latencies_max) {
                size_t n = l->n_latencies_max ? 2 * l->n_latencies_max : 1 << 16;
                uint32_t *more;

                if (n > LATENCIES_MAX)
                        return;
                more = reallocarray(l->latencies, n, sizeof(*more));
                if (!more)
                        die("latencies", -ENOMEM);
                l->latencies = more;
                l->n_latencies_max = n;
        }
        l->latencies[l->n_latencies++] = usec < UINT32_MAX ? (uint32_t)usec : UINT32_MAX;
}

static void open_client(struct load *l, struct client *c)
{
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
        int r = connection_open(&c->connection, c->target);

        if (r < 0)
                die("cannot connect", r);
        if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, c->connection.fd, &event) < 0)
                die("epoll_ctl", -errno);
        c->is_open = true;
}

static void lose_client(struct load *l, struct client *c)
{
        if (c->is_waiting)
                l->n_waiting--;
        c->is_waiting = false;
        c->is_open = false;
        l->n_errors++;
        connection_close(&c->connection);
        if (++l->n_lost > RECONNECT_MAX)
                die("too many connections were lost", -ECONNRESET);
}

/* Which request is next; NULL if there is none any more. */
static struct request *choose(struct load *l, struct client *c)
{
        uint32_t key = (uint32_t)(draw(l) % l->n_keys);
        struct request *chosen;

        switch (l->operation) {
        case OPERATION_GET:
        case OPERATION_QUORUM_GET:
                c->is_write = false;
                break;
        case OPERATION_MIXED:
                c->is_write = draw(l) % 5 == 0;
                break;
        case OPERATION_CAS:
                key = (uint32_t)(c - l->clients);
                put_digits(c->write.bytes + c->write.previous_at, c->version);
                c->is_write = true;
                break;
        case OPERATION_FILL:
                if (l->n_filled == l->n_keys)
                        return NULL;
                key = l->n_filled++;
                c->is_write = true;
                break;
        case OPERATION_PUT:
        case OPERATIONS:
                c->is_write = true;
                break;
        }
        if (c->is_write) {
                uint32_t value = l->operation == OPERATION_CAS ? c->version + 1 : (uint32_t)draw(l);

                put_digits(c->write.bytes + c->write.value_at, value);
        }
        chosen = c->is_write ? &c->write : &c->read;
        put_digits(chosen->bytes + chosen->key_at, key);
        return chosen;
}

static void begin_request(struct load *l, struct client *c)
{
        struct request *q = l->is_over ? NULL : choose(l, c);

        if (!q)
                return;
        if (!c->is_open)
                open_client(l, c);
        c->sent_at = now_usec();
        c->is_waiting = true;
        l->n_waiting++;
        if (connection_send(&c->connection, q->bytes, q->n) < 0)
                lose_client(l, c);
}

static bool is_good(const struct load *l, const struct answer *a)
{
        if (a->status == 200 || a->status == 201)
                return true;
        /* A key that nobody has written yet is a good answer to a read. */
        return a->status == 404 && l->operation != OPERATION_CAS;
}

static void take_answer(struct load *l, struct client *c, const struct answer *a)
{
        uint64_t now = now_usec();

        c->is_waiting = false;
        l->n_waiting--;
        if (is_good(l, a)) {
                l->n_done++;
                note_latency(l, now - c->sent_at);
                c->version++;
        } else {
                l->n_errors++;
        }
        if (l->operation != OPERATION_FILL && now - l->began_at >= l->seconds * 1000000)
                l->is_over = true;
        if (!l->is_over || l->ended_at == 0)
                l->ended_at = now;
        connection_consume(&c->connection, a);
}

static void on_readable(struct load *l, struct client *c)
{
        struct answer a;

        if (!c->is_open)
                return;
        if (connection_receive(&c->connection) < 0) {
                lose_client(l, c);
                begin_request(l, c);
                return;
        }
        if (!connection_answer(&c->connection, &a) || !a.is_whole)
                return;
        if (!c->is_waiting)
                die("an answer that nobody asked for", -EBADMSG);
        take_answer(l, c, &a);
        begin_request(l, c);
}

/* The first value of each connection's own key. */
static void prepare_swaps(struct load *l)
{
        for (unsigned i = 0; i < l->n_clients; i++) {
                struct client *c = &l->clients[i];
                struct request first;
                struct answer a;

                make_write(&first, c->target, l->n_value, false);
                put_digits(first.bytes + first.key_at, i);
                put_digits(first.bytes + first.value_at, 0);
                if (connection_send(&c->connection, first.bytes, first.n) < 0)
                        die("cannot write the first values", -EPIPE);
                while (!connection_answer(&c->connection, &a) || !a.is_whole) {
                        int r = connection_receive(&c->connection);

                        if (r < 0)
                                die("cannot write the first values", r);
                }
                connection_consume(&c->connection, &a);
        }
}

static void prepare(struct load *l)
{
        l->clients = calloc(l->n_clients, sizeof(*l->clients));
        l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (!l->clients || l->epoll_fd < 0)
                die("cannot begin", -ENOMEM);
        l->random = now_usec() * 2 + 1;
        for (unsigned i = 0; i < l->n_clients; i++) {
                struct client *c = &l->clients[i];

                c->target = &l->targets[i % l->n_targets];
                make_read(&c->read, c->target, l->operation == OPERATION_QUORUM_GET);
                make_write(&c->write, c->target, l->n_value, l->operation == OPERATION_CAS);
                open_client(l, c);
        }
        if (l->operation == OPERATION_CAS)
                prepare_swaps(l);
}

static void run(struct load *l)
{
        uint64_t seconds = l->operation == OPERATION_FILL ? FILL_SECONDS_MAX : l->seconds + 10;
        struct epoll_event events[EVENTS_MAX];

        l->began_at = now_usec();
        for (unsigned i = 0; i < l->n_clients; i++)
                begin_request(l, &l->clients[i]);
        while (l->n_waiting > 0) {
                int n = epoll_wait(l->epoll_fd, events, EVENTS_MAX, 1000);

                for (int i = 0; i < n; i++)
                        on_readable(l, events[i].data.ptr);
                if (now_usec() - l->began_at > seconds * 1000000)
                        break; /* what is not answered by now counts as an error */
        }
        l->n_errors += l->n_waiting;
        if (l->ended_at == 0)
                l->ended_at = now_usec();
}

static int compare(const void *a, const void *b)
{
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

        return x < y ? -1 : x > y;
}

static double quantile(const struct load *l, double q)
{
        if (l->n_latencies == 0)
                return 0;
        return l->latencies[(size_t)(q * (double)(l->n_latencies - 1))] / 1000.0;
}

static void report(struct load *l)
{
        double seconds = (double)(l->ended_at - l->began_at) / 1e6;

        qsort(l->latencies, l->n_latencies, sizeof(*l->latencies), compare);
        (void)printf("{\"operations\": %llu, \"errors\": %llu, \"seconds\": %.3f, \"rate\": %.1f, "
                     "\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}\n",
                     (unsigned long long)l->n_done, (unsigned long long)l->n_errors, seconds,
                     (double)l->n_done / seconds, quantile(l, 0.5), quantile(l, 0.99),
                     quantile(l, 1.0));
}

static bool parse_keys(struct load *l, const char *text)
{
        char *end;

        l->n_keys = (unsigned)strtoul(text, &end, 10);
        l->n_value = *end == 'x' ? (unsigned)strtoul(end + 1, &end, 10) : VALUE_BYTES;
        return *end == '\0' && l->n_keys > 0 && l->n_value >= KEY_DIGITS &&
               l->n_value <= VALUE_BYTES_MAX;
}

static bool parse(struct load *l, int argc, char **argv)
{
        if (argc < 6 || argc - 5 > TARGETS_MAX)
                return false;
        while (l->operation < OPERATIONS && strcmp(operation_names[l->operation], argv[1]) != 0)
                l->operation++;
        l->n_clients = (unsigned)strtoul(argv[2], NULL, 10);
        l->seconds = strtoul(argv[3], NULL, 10);
        for (int i = 5; i < argc; i++)
                if (!target_parse(argv[i], &l->targets[l->n_targets++]))
                        return false;
        return l->operation < OPERATIONS && l->n_clients > 0 && l->n_clients <= CONNECTIONS_MAX &&
               parse_keys(l, argv[4]);
}

int main(int argc, char **argv)
{
        struct load l = { 0 };

        if (!parse(&l, argc, argv)) {
                (void)fprintf(stderr, "kv-load put|cas|get|qget|mixed|fill CONNECTIONS SECONDS "
                                      "KEYS[xBYTES] ADDRESS:PORT...\n");
                return 2;
        }
        prepare(&l);
        run(&l);
        report(&l);
        return 0;
}
