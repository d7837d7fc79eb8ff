/* Asynchronous connections to the local server. */
#include "actions/postgres/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actions/postgres/text.h"

enum session_state {
        SESSION_CLOSED,
        SESSION_CONNECTING,
        SESSION_FREE,
        SESSION_BUSY,
};

struct session {
        struct event_base *base;
        const struct settings *settings;
        usec_t statement_timeout;
        struct session_events events;
        void *userdata;
        enum session_state state;
        PGconn *conn;
        struct event *socket;
        struct event *timeout;
        session_answer *answer;
        void *answer_userdata;
        char trouble[TEXT_SIZE];
};

/*
 * Ours see no function of a user by a search path, wait for no lock and no standby, and end by
 * themselves. The limit for a statement is added for each session.
 */
static const char session_options[] =
        "-c search_path=pg_catalog -c lock_timeout=2s -c synchronous_commit=local "
        "-c default_transaction_isolation=read\\ committed -c idle_in_transaction_session_timeout=10s "
        "-c datestyle=iso -c jit=off";

static void on_socket(evutil_socket_t fd, short what, void *userdata);

static void ignore_notice(void *userdata, const char *message)
{
        (void)userdata;
        (void)message;
}

static struct timeval timeval_of(usec_t usec)
{
        return (struct timeval){ .tv_sec = (time_t)(usec / USEC_PER_SEC),
                                 .tv_usec = (suseconds_t)(usec % USEC_PER_SEC) };
}

/* libpq's messages have several lines; the first one says what matters. */
static void note_trouble(struct session *s, const char *message)
{
        snprintf(s->trouble, sizeof(s->trouble), "%.*s", (int)strcspn(message, "\n"), message);
        text_make_plain(s->trouble);
}

static void drop(struct session *s)
{
        if (s->socket)
                event_free(s->socket);
        s->socket = NULL;
        event_del(s->timeout);
        if (s->conn)
                PQfinish(s->conn);
        s->conn = NULL;
        s->state = SESSION_CLOSED;
}

/* The connection is of no use any more; whoever waits is told. */
static void lose(struct session *s, int error)
{
        enum session_state before = s->state;
        session_answer *answer = s->answer;

        drop(s);
        s->answer = NULL;
        if (before == SESSION_BUSY && answer)
                answer(NULL, error, s->trouble, s->answer_userdata);
        if (before >= SESSION_FREE && s->events.on_lost)
                s->events.on_lost(s->userdata);
}

/* The socket may change while libpq connects, so the event is made anew each time. */
static int wait_for(struct session *s, short what)
{
        if (s->socket)
                event_free(s->socket);
        s->socket = event_new(s->base, PQsocket(s->conn), what, on_socket, s);
        if (!s->socket || event_add(s->socket, NULL) < 0)
                return -ENOMEM;
        return 0;
}

static void go_on_connecting(struct session *s)
{
        PostgresPollingStatusType status = PQconnectPoll(s->conn);

        if (status == PGRES_POLLING_OK && PQsetnonblocking(s->conn, 1) == 0 &&
            wait_for(s, EV_READ | EV_PERSIST) == 0) {
                event_del(s->timeout);
                s->state = SESSION_FREE;
                s->trouble[0] = '\0';
                if (s->events.on_ready)
                        s->events.on_ready(s->userdata);
                return;
        }
        if ((status == PGRES_POLLING_READING && wait_for(s, EV_READ) == 0) ||
            (status == PGRES_POLLING_WRITING && wait_for(s, EV_WRITE) == 0))
                return;
        note_trouble(s, PQerrorMessage(s->conn));
        lose(s, -ECONNRESET);
}

static void finish_query(struct session *s, PGresult *result)
{
        session_answer *answer = s->answer;
        bool ok = result && (PQresultStatus(result) == PGRES_TUPLES_OK ||
                             PQresultStatus(result) == PGRES_COMMAND_OK);

        event_del(s->timeout);
        s->answer = NULL;
        s->state = SESSION_FREE;
        if (!ok)
                note_trouble(s, result ? PQresultErrorMessage(result) : "no answer");
        if (answer)
                answer(ok ? result : NULL, ok ? 0 : -EPROTO, s->trouble, s->answer_userdata);
        PQclear(result);
}

static void read_result(struct session *s)
{
        PGresult *last = NULL, *next;

        /* A statement that sends a NULL ends; one answer is expected, the last one counts. */
        while (!PQisBusy(s->conn)) {
                next = PQgetResult(s->conn);
                if (!next) {
                        finish_query(s, last);
                        return;
                }
                PQclear(last);
                last = next;
        }
        PQclear(last);
}

static void on_socket(evutil_socket_t fd, short what, void *userdata)
{
        struct session *s = userdata;

        (void)fd;
        (void)what;
        if (s->state == SESSION_CONNECTING) {
                go_on_connecting(s);
                return;
        }
        if (!PQconsumeInput(s->conn) || PQstatus(s->conn) == CONNECTION_BAD) {
                note_trouble(s, PQerrorMessage(s->conn));
                lose(s, -ECONNRESET);
                return;
        }
        if (s->state == SESSION_BUSY)
                read_result(s);
}

static void on_timeout(evutil_socket_t fd, short what, void *userdata)
{
        struct session *s = userdata;

        (void)fd;
        (void)what;
        snprintf(s->trouble, sizeof(s->trouble), "%s",
                 s->state == SESSION_CONNECTING ? "connecting took too long"
                                                : "a query took too long");
        lose(s, -ETIMEDOUT);
}

int session_new(struct event_base *base, const struct settings *settings, usec_t statement_timeout,
                const struct session_events *events, void *userdata, struct session **ret)
{
        _cleanup_(session_freep)
        struct session *s = NULL;

        s = malloc(sizeof(*s));
        if (!s)
                return -ENOMEM;
        *s = (struct session){ .base = base,
                               .settings = settings,
                               .statement_timeout = statement_timeout,
                               .events = *events,
                               .userdata = userdata };
        s->timeout = event_new(base, -1, 0, on_timeout, s);
        if (!s->timeout)
                return -ENOMEM;
        *ret = TAKE_PTR(s);
        return 0;
}

void session_free(struct session *s)
{
        if (!s)
                return;
        if (s->timeout) {
                drop(s);
                event_free(s->timeout);
        }
        free(s);
}

void session_ensure(struct session *s)
{
        const struct settings *settings = s->settings;
        struct timeval tv = timeval_of(settings->health_timeout);
        char port[8], options[sizeof(session_options) + 64];
        const char *const keywords[] = { "host",       "port",    "user",
                                         "dbname",     "options", "application_name",
                                         "gssencmode", "sslmode", "client_encoding",
                                         NULL };
        const char *const values[] = {
                settings->socket_dir, port,      settings->user, "postgres", options,
                "failoverd",          "disable", "disable",      "UTF8",     NULL
        };

        if (s->state != SESSION_CLOSED)
                return;
        snprintf(port, sizeof(port), "%u", settings->port);
        snprintf(options, sizeof(options), "%s -c statement_timeout=%llu", session_options,
                 (unsigned long long)(s->statement_timeout / USEC_PER_MSEC));
        s->conn = PQconnectStartParams(keywords, values, 0);
        s->state = SESSION_CONNECTING;
        if (!s->conn || PQstatus(s->conn) == CONNECTION_BAD) {
                note_trouble(s, s->conn ? PQerrorMessage(s->conn) : "no memory");
                drop(s);
                return;
        }
        PQsetNoticeProcessor(s->conn, ignore_notice, NULL);
        /* Before its first PQconnectPoll() libpq wants to be treated as if it were to write. */
        if (wait_for(s, EV_WRITE) < 0 || event_add(s->timeout, &tv) < 0)
                drop(s);
}

bool session_is_free(const struct session *s)
{
        return s->state == SESSION_FREE;
}

bool session_is_connected(const struct session *s)
{
        return s->state >= SESSION_FREE;
}

const char *session_trouble(const struct session *s)
{
        return s->trouble;
}

int session_query(struct session *s, const char *sql, usec_t timeout, session_answer *answer,
                  void *userdata)
{
        struct timeval tv = timeval_of(timeout);

        if (s->state < SESSION_FREE)
                return -ENOTCONN;
        if (s->state == SESSION_BUSY)
                return -EBUSY;
        /* Our statements are far smaller than a socket's buffer; one that does not fit is lost. */
        if (!PQsendQuery(s->conn, sql) || PQflush(s->conn) != 0 || event_add(s->timeout, &tv) < 0) {
                note_trouble(s, PQerrorMessage(s->conn));
                lose(s, -ECONNRESET);
                return -EIO;
        }
        s->state = SESSION_BUSY;
        s->answer = answer;
        s->answer_userdata = userdata;
        return 0;
}

void session_reset(struct session *s)
{
        drop(s);
        s->answer = NULL;
}
