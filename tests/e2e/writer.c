/*
 * A client that writes all the time and keeps a record: one row with the next number, then the next,
 * through an address or a socket. Each acknowledged number is printed with the time of its answer on
 * CLOCK_MONOTONIC, which all processes of the test's machine share; so is each change between
 * success and failure. An attempt that takes too long is given up and begun anew.
 *
 *     writer [-i INTERVAL_MSEC] [-t ATTEMPT_MSEC] [-f FIRST] CONNINFO
 *
 * Ends on SIGTERM. Lines: "ack NUMBER USEC", "error USEC TEXT".
 */
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A first connection is given up so soon, each further one after twice the time. */
#define CONNECT_USEC 30000

struct writer {
        const char *conninfo;
        PGconn *connection;
        uint64_t next;
        uint64_t attempt_usec;
        uint64_t connect_usec;
        bool failing;
};

static volatile sig_atomic_t ended;

static void on_end(int number)
{
        (void)number;
        ended = 1;
}

static uint64_t now_usec(void)
{
        struct timespec t;

        (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with this clock */
        return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Waits until the connection's socket is ready for @events; false when @deadline has passed. */
static bool wait_socket(PGconn *c, short events, uint64_t deadline)
{
        struct pollfd p = { .fd = PQsocket(c), .events = events };
        uint64_t now = now_usec();

        if (ended || p.fd < 0 || now >= deadline)
                return false;
        return poll(&p, 1, (int)((deadline - now) / 1000 + 1)) > 0 || errno == EINTR;
}

static void failed(struct writer *w, const char *text)
{
        if (!w->failing)
                printf("error %llu %.*s\n", (unsigned long long)now_usec(),
                       (int)strcspn(text, "\n"), text);
        w->failing = true;
}

static void give_up(struct writer *w, const char *text)
{
        failed(w, text);
        PQfinish(w->connection);
        w->connection = NULL;
}

static bool connect_to(struct writer *w, uint64_t deadline)
{
        PostgresPollingStatusType status = PGRES_POLLING_WRITING;

        w->connection = PQconnectStart(w->conninfo);
        if (!w->connection)
                return false;
        while (PQstatus(w->connection) != CONNECTION_BAD) {
                if (!wait_socket(w->connection, status == PGRES_POLLING_READING ? POLLIN : POLLOUT,
                                 deadline))
                        break;
                status = PQconnectPoll(w->connection);
                if (status == PGRES_POLLING_OK)
                        return true;
                if (status == PGRES_POLLING_FAILED)
                        break;
        }
        give_up(w, PQstatus(w->connection) == CONNECTION_BAD ? PQerrorMessage(w->connection)
                                                             : "no connection in time");
        return false;
}

/* Runs one statement; false if it failed or was not answered before @deadline. */
static bool run(struct writer *w, const char *sql, uint64_t deadline)
{
        bool ok = true;
        PGresult *result;

        if (!PQsendQuery(w->connection, sql)) {
                give_up(w, PQerrorMessage(w->connection));
                return false;
        }
        for (;;) {
                while (PQisBusy(w->connection)) {
                        if (!wait_socket(w->connection, POLLIN, deadline)) {
                                give_up(w, "no answer in time");
                                return false;
                        }
                        if (!PQconsumeInput(w->connection)) {
                                give_up(w, PQerrorMessage(w->connection));
                                return false;
                        }
                }
                result = PQgetResult(w->connection);
                if (!result)
                        break;
                ok = ok && (PQresultStatus(result) == PGRES_COMMAND_OK ||
                            PQresultStatus(result) == PGRES_TUPLES_OK);
                PQclear(result);
        }
        /* A server that refuses to write keeps its connection: it may change its mind. */
        if (PQstatus(w->connection) == CONNECTION_BAD)
                give_up(w, PQerrorMessage(w->connection));
        else if (!ok)
                failed(w, PQerrorMessage(w->connection));
        return ok;
}

static void attempt(struct writer *w)
{
        uint64_t deadline = now_usec() + w->attempt_usec;
        char sql[128];

        if (!w->connection && !connect_to(w, now_usec() + w->connect_usec)) {
                w->connect_usec *= 2;
                if (w->connect_usec > w->attempt_usec)
                        w->connect_usec = w->attempt_usec;
                return;
        }
        w->connect_usec = CONNECT_USEC;
        (void)snprintf(sql, sizeof(sql), "INSERT INTO ledger (n) VALUES (%llu)",
                       (unsigned long long)w->next);
        if (run(w, sql, deadline)) {
                printf("ack %llu %llu\n", (unsigned long long)w->next,
                       (unsigned long long)now_usec());
                w->failing = false;
        }
        /* A number is tried once: what was not acknowledged may be there or not. */
        w->next++;
}

int main(int argc, char **argv)
{
        struct writer w = { .attempt_usec = 150000, .connect_usec = CONNECT_USEC, .next = 1 };
        unsigned long interval = 5;
        int option;

        while ((option = getopt(argc, argv, "i:t:f:")) != -1) {
                if (option == 'i')
                        interval = strtoul(optarg, NULL, 10);
                else if (option == 't')
                        w.attempt_usec = strtoull(optarg, NULL, 10) * 1000;
                else if (option == 'f')
                        w.next = strtoull(optarg, NULL, 10);
                else
                        return 2;
        }
        if (optind + 1 != argc)
                return 2;
        w.conninfo = argv[optind];
        (void)setvbuf(stdout, NULL, _IOLBF, 0); /* at worst the lines come later */
        (void)signal(SIGTERM, on_end);
        (void)signal(SIGPIPE, SIG_IGN);
        while (!ended) {
                attempt(&w);
                (void)poll(NULL, 0, (int)interval);
        }
        PQfinish(w.connection);
        return 0;
}
