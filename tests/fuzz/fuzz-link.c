/*
 * Any bytes as what the executor and the engine say to each other: the conversation goes on or ends,
 * the same whether they come at once or in pieces; what the engine takes for an event is one that its
 * core may get, and what it would tell can be read by the other end. For libFuzzer.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/engine-hands.h"
#include "daemon/journal.h"
#include "election/base/buffer.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum {
        HOLDS_MAX = 3,
        BYTES_MAX = 128 * 1024, /* that the sockets take without a reader */
};

static const char configuration[] =
        "node \"n1\" { address = \"10.0.0.1\" data_dir = \"/var/lib/failoverd\" }\n"
        "cluster \"c\" {\n"
        "        member \"n1\" { address = \"10.0.0.1\" }\n"
        "        member \"n2\" { address = \"10.0.0.2\" }\n"
        "        member \"n3\" { address = \"10.0.0.3\" role = witness }\n"
        "}\n"
        "service \"a\" {\n"
        "        postgres { data_dir = \"/srv/a\" user = \"postgres\" }\n"
        "        vip { address = \"10.0.0.100/24\" interface = \"lo\" }\n"
        "}\n"
        "service \"b\" { vip { address = \"10.0.0.101/24\" interface = \"lo\" } }\n";

/* What was heard, and how it ended. */
struct conversation {
        const struct conf *conf;
        struct event_base *base;
        struct link *link;
        struct buffer heard;
        unsigned n_messages;
        bool is_over;
        int result;
};

static struct conf *conf;

static void require(bool truth)
{
        if (!truth)
                abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        struct conf_complaint complaint = { 0 };
        char path[64];
        int fd = memfd_create("conf", MFD_CLOEXEC);

        (void)argc;
        (void)argv;
        require(fd >= 0 && write(fd, configuration, strlen(configuration)) > 0);
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (conf_load(path, &conf, &complaint) < 0)
                (void)fprintf(stderr, "%s\n", complaint.text);
        require(conf && conf->n_services == 2);
        (void)close(fd); /* memory */
        log_level_set(LOG_EMERG);
        return 0;
}

static void put_effect(struct conversation *c, const struct node_effect *e)
{
        hands_tell(c->link, c->conf, e);
        hands_tell_state(c->link, c->conf->services[e->service]->name, "master", "as it says");
}

/* What the core would answer with, about the same service, by the numbers of the event. */
static void tell(struct conversation *c, const struct node_event *event)
{
        struct node_effect e = {
                .type = NODE_HOLD, .service = event->service, .epoch = event->epoch, .id = event->id
        };

        e.hold.demote_at.usec = event->epoch;
        put_effect(c, &e);
        e.type = event->ok ? NODE_LET_GO : NODE_CANCEL;
        put_effect(c, &e);
        e.type = NODE_RUN;
        e.run.id = event->id;
        e.run.step = event->id % FAILOVER_STEPS;
        e.run.peer = (node_id)(event->epoch % (MEMBERS_MAX + 1));
        put_effect(c, &e);
}

static void check_status(const struct node_database_status *s)
{
        require(s->state <= FAILOVER_DATABASE_FOREIGN && s->role <= FAILOVER_ROLE_STANDBY);
        require(memchr(s->reason, '\0', sizeof(s->reason)) != NULL);
        require(s->upstream <= MEMBERS_MAX);
}

static void take_event(struct conversation *c, const char *type, json_t *message)
{
        struct hands_event h;

        if (!hands_read_event(c->conf, type, message, &h))
                return;
        require(h.event.service < c->conf->n_services);
        check_status(&h.status);
        if (h.event.text)
                buffer_put_string(&c->heard, h.event.text);
        tell(c, &h.event);
}

static void take_holds(struct conversation *c, const json_t *message)
{
        struct node_adopted holds[HOLDS_MAX];
        size_t n = hands_read_holds(c->conf, message, holds, HOLDS_MAX);

        require(n <= HOLDS_MAX);
        for (size_t i = 0; i < n; i++)
                require(holds[i].service < c->conf->n_services);
}

static void on_message(struct link *l, const char *type, json_t *message, void *userdata)
{
        struct conversation *c = userdata;

        require(l == c->link && !c->is_over);
        c->n_messages++;
        buffer_put_string(&c->heard, type);
        take_event(c, type, message);
        take_holds(c, message);
        if (strcmp(type, "end") == 0) { /* an owner may give up at any time */
                c->is_over = true;
                c->link = NULL;
                link_free(l);
        }
}

static void on_closed(struct link *l, int r, void *userdata)
{
        struct conversation *c = userdata;

        require(l == c->link && !c->is_over);
        c->is_over = true;
        c->result = r;
        c->link = NULL;
        link_free(l);
}

static const struct link_events events = { .message = on_message, .closed = on_closed };

static void write_all(int fd, const uint8_t *bytes, size_t n)
{
        while (n > 0) {
                ssize_t k = send(fd, bytes, n, MSG_NOSIGNAL);

                if (k < 0)
                        return; /* the other side has ended it */
                bytes += k;
                n -= (size_t)k;
        }
}

static void turn(struct event_base *base)
{
        require(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
}

/* What the other end is told must be lines of JSON, each of a type. */
static void check_told(int fd)
{
        static char told[2 * LINK_QUEUE_MAX];
        ssize_t n = recv(fd, told, sizeof(told), MSG_DONTWAIT);
        char *line = told, *end = told + (n > 0 ? n : 0), *next;

        for (; (next = memchr(line, '\n', (size_t)(end - line))); line = next + 1) {
                json_t *message = json_loadb(line, (size_t)(next - line), 0, NULL);

                require(message_get_string(message, "type") != NULL);
                json_decref(message);
        }
}

static void hold_conversation(struct event_base *base, const uint8_t *bytes, size_t n, size_t step,
                              struct conversation *ret)
{
        int fds[2];

        *ret = (struct conversation){ .conf = conf, .base = base };
        require(link_pair(fds) == 0);
        require(link_new(base, fds[0], 0, &events, ret, &ret->link) == 0);
        for (size_t at = 0; at < n && !ret->is_over; at += step) {
                write_all(fds[1], bytes + at, n - at < step ? n - at : step);
                turn(base);
                check_told(fds[1]);
        }
        require(shutdown(fds[1], SHUT_WR) == 0 || ret->is_over);
        for (unsigned i = 0; i < 8 && !ret->is_over; i++)
                turn(base);
        require(ret->is_over);
        (void)close(fds[1]); /* a socket, all was read */
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        struct event_base *base;
        struct conversation whole, pieces;

        if (n < 1 || n > BYTES_MAX)
                return 0;
        base = event_base_new();
        require(base != NULL);
        hold_conversation(base, bytes + 1, n - 1, n, &whole);
        hold_conversation(base, bytes + 1, n - 1, 1 + bytes[0], &pieces);
        require(whole.n_messages == pieces.n_messages && whole.result == pieces.result);
        require(whole.heard.n == pieces.heard.n);
        require(whole.heard.n == 0 ||
                memcmp(whole.heard.bytes, pieces.heard.bytes, whole.heard.n) == 0);
        buffer_done(&whole.heard);
        buffer_done(&pieces.heard);
        event_base_free(base);
        return 0;
}
