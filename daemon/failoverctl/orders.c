/* switchover, failover, pause, resume, bootstrap, clone: orders, and waiting for their end. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "daemon/failoverctl/ctl.h"

#define MOVE_TIMEOUT (90 * USEC_PER_SEC) /* longer than the order itself lives */
#define SETUP_TIMEOUT (24 * 3600 * USEC_PER_SEC)
#define POLL_INTERVAL (50 * USEC_PER_MSEC)
#define RESULT_GRACE (2 * USEC_PER_SEC)

/* An order that is being carried out, as this program follows it. */
struct waiting {
        struct ctl *c;
        const char *service;
        usec_t began;
        usec_t timeout;
        int64_t epoch; /* of the mastership when it was ordered */
        int64_t before; /* number of the last result, or of the last step, before the order */
        char seen[512]; /* states as they were last shown */
};

static void service_url(char url[static CTL_URL_SIZE], const char *service, const char *verb)
{
        (void)strcpy(url, "/v1/services/");
        ctl_url_append(url, service, false);
        ctl_url_append(url, "/", true);
        ctl_url_append(url, verb, false);
}

static void add_parameter(char url[static CTL_URL_SIZE], const char *name, const char *value)
{
        (void)strncat(url, strchr(url, '?') ? "&" : "?", CTL_URL_SIZE - strlen(url) - 1);
        ctl_url_append(url, name, false);
        (void)strncat(url, "=", CTL_URL_SIZE - strlen(url) - 1);
        ctl_url_append(url, value, false);
}

/* Orders go to the member here (or to the one that --endpoint names): others refuse them. */
static void ask_here(struct ctl *c, enum ctl_method method, const char *url, struct ctl_answer *ret)
{
        ctl_ask_one(c, 0, &(struct ctl_question){ .method = method, .path = url }, ret);
}

static bool was_accepted(const struct ctl_answer *a)
{
        return a->status == 202 || a->status == 200;
}

/* Sends an order that is done at once. */
static enum ctl_exit send_order(struct ctl *c, const char *verb, const char *done)
{
        char url[CTL_URL_SIZE];
        enum ctl_exit exit_status = CTL_YES;
        struct ctl_answer a;

        service_url(url, c->options.arguments[0], verb);
        ask_here(c, CTL_POST, url, &a);
        if (!was_accepted(&a))
                exit_status = ctl_complain(c, &a);
        else if (c->options.json)
                ctl_print_json(a.body);
        else
                printf("%s %s%s%s\n", c->options.arguments[0], done,
                       ctl_has(a.body, "text") ? ": " : "", ctl_string(a.body, "text"));
        ctl_answer_done(&a);
        return exit_status;
}

enum ctl_exit ctl_cancel(struct ctl *c)
{
        return send_order(c, "cancel", "has no order any more");
}

enum ctl_exit ctl_pause_service(struct ctl *c)
{
        return send_order(c, "pause", "is paused");
}

enum ctl_exit ctl_resume_service(struct ctl *c)
{
        return send_order(c, "resume", "is not paused");
}

/* Following. */

static const json_t *service_of(const json_t *status, const char *name)
{
        const json_t *service;
        size_t i;

        json_array_foreach(json_object_get(status, "services"), i, service) {
                if (strcmp(ctl_string(service, "name"), name) == 0)
                        return service;
        }
        return NULL;
}

static const json_t *node_of(const json_t *service, const char *name)
{
        const json_t *node;
        size_t i;

        json_array_foreach(json_object_get(service, "nodes"), i, node) {
                if (strcmp(ctl_string(node, "node"), name) == 0)
                        return node;
        }
        return NULL;
}

static usec_t elapsed(const struct waiting *w)
{
        return ctl_now() - w->began;
}

static bool is_late(const struct waiting *w)
{
        return elapsed(w) >= w->timeout;
}

/* A line whenever the states of the nodes have changed. */
static void show_progress(struct waiting *w, const json_t *service)
{
        char states[sizeof(w->seen)] = "";
        const json_t *node;
        size_t i;

        json_array_foreach(json_object_get(service, "nodes"), i, node) {
                size_t n = strlen(states);

                (void)snprintf(states + n, sizeof(states) - n, "%s%s %s", n > 0 ? ", " : "",
                               ctl_string(node, "node"),
                               ctl_bool(node, "known") ? ctl_string(node, "state") : "unknown");
        }
        if (!states[0] || strcmp(states, w->seen) == 0)
                return; /* nothing new, or nobody answered */
        memcpy(w->seen, states, sizeof(states));
        if (!w->c->options.json)
                printf("%8.3f s  %s\n", (double)elapsed(w) / USEC_PER_SEC, states);
        (void)fflush(stdout); /* for people who watch; the end is checked by the exit status */
}

static void get_status(struct waiting *w, struct ctl_answer *ret)
{
        ask_here(w->c, CTL_GET, "/v1/status", ret);
}

static enum ctl_exit print_end(const struct waiting *w, enum ctl_exit exit_status, const char *text)
{
        double seconds = (double)elapsed(w) / USEC_PER_SEC;

        if (w->c->options.json) {
                json_t *o = json_pack("{s:s, s:b, s:s, s:I, s:i}", "service", w->service, "ok",
                                      exit_status == CTL_YES, "text", text, "took_ms",
                                      (json_int_t)(elapsed(w) / USEC_PER_MSEC), "exit",
                                      (int)exit_status);

                ctl_print_json(o);
                json_decref(o);
        } else if (exit_status == CTL_YES) {
                printf("%8.3f s  ", seconds);
                ctl_print_colored(w->c, stdout, CTL_GREEN, "%s", text);
                putchar('\n');
        } else {
                fprintf(stderr, "failoverctl: %s (after %.3f s)\n", text, seconds);
        }
        return exit_status;
}

static enum ctl_exit end_late(const struct waiting *w)
{
        return print_end(w, CTL_TIMED_OUT, "it is not finished: see status");
}

/* Moves: the result of the order is a key with an index of its own. */

static void get_result(struct waiting *w, struct ctl_answer *ret)
{
        char url[CTL_URL_SIZE];

        service_url(url, w->service, "result");
        ask_here(w->c, CTL_GET, url, ret);
}

static int64_t result_number(struct waiting *w)
{
        struct ctl_answer a;
        int64_t number;

        get_result(w, &a);
        number = ctl_number(json_object_get(a.body, "result"), "index");
        ctl_answer_done(&a);
        return number;
}

static bool begins_with(const char *s, const char *prefix)
{
        return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* What was begun and had to be undone is a failure; what was not begun was refused. */
static enum ctl_exit print_result(struct waiting *w, const json_t *result)
{
        const char *text = ctl_string(result, "text");
        char done[NAME_SIZE + 64];
        struct ctl_answer a;

        if (!ctl_bool(result, "ok"))
                return print_end(w,
                                 begins_with(text, "undone") || begins_with(text, "failed")
                                         ? CTL_NO
                                         : CTL_REFUSED,
                                 text);
        get_status(w, &a);
        (void)snprintf(done, sizeof(done), "done: %s is the master of %s",
                       ctl_string(service_of(a.body, w->service), "holder"), w->service);
        ctl_answer_done(&a);
        return print_end(w, CTL_YES, done);
}

/* Returns whether the order has ended, with the exit status. */
static bool look_for_result(struct waiting *w, enum ctl_exit *ret)
{
        struct ctl_answer a;
        const json_t *result;
        bool ended;

        get_result(w, &a);
        result = json_object_get(a.body, "result");
        ended = json_is_object(result) && ctl_number(result, "index") > w->before &&
                ctl_number(result, "epoch") == w->epoch;
        if (ended)
                *ret = print_result(w, result);
        ctl_answer_done(&a);
        return ended;
}

/* Shows how it goes on; returns whether the order is no longer there. */
static bool look_at_progress(struct waiting *w)
{
        const json_t *service;
        struct ctl_answer a;
        bool gone;

        get_status(w, &a);
        service = service_of(a.body, w->service);
        show_progress(w, service);
        gone = service && !ctl_has(service, "order");
        ctl_answer_done(&a);
        return gone;
}

static enum ctl_exit follow_move(struct waiting *w)
{
        enum ctl_exit exit_status;
        usec_t gone_since = 0;

        while (!is_late(w)) {
                bool gone = look_at_progress(w);

                if (look_for_result(w, &exit_status))
                        return exit_status;
                /* The result is written behind the end of the order: it may still be on its way. */
                if (!gone)
                        gone_since = 0;
                else if (gone_since == 0)
                        gone_since = ctl_now();
                else if (ctl_now() - gone_since > RESULT_GRACE)
                        return print_end(w, CTL_TIMED_OUT, "nobody carried it out: see status");
                ctl_pause(POLL_INTERVAL);
        }
        return end_late(w);
}

static enum ctl_exit move(struct ctl *c, const char *verb)
{
        struct waiting w = { .c = c, .service = c->options.arguments[0], .began = ctl_now() };
        char url[CTL_URL_SIZE];
        struct ctl_answer a;

        w.timeout = c->options.timeout ? c->options.timeout : MOVE_TIMEOUT;
        w.before = result_number(&w);
        service_url(url, w.service, verb);
        if (c->options.to)
                add_parameter(url, "to", c->options.to);
        ask_here(c, CTL_POST, url, &a);
        if (!was_accepted(&a)) {
                enum ctl_exit exit_status = ctl_complain(c, &a);

                ctl_answer_done(&a);
                return exit_status;
        }
        w.epoch = ctl_number(a.body, "epoch");
        ctl_answer_done(&a);
        return follow_move(&w);
}

enum ctl_exit ctl_switchover(struct ctl *c)
{
        return move(c, "switchover");
}

static bool is_confirmed(const struct ctl *c)
{
        char line[16];

        if (c->options.yes)
                return true;
        if (!isatty(STDIN_FILENO)) {
                fputs("failoverctl: say --yes: what the new master does not have is lost\n",
                      stderr);
                return false;
        }
        printf("Make %s the master of %s, and lose what it does not have? Type \"yes\": ",
               c->options.to, c->options.arguments[0]);
        (void)fflush(stdout); /* as above */
        return fgets(line, sizeof(line), stdin) && strcmp(line, "yes\n") == 0;
}

enum ctl_exit ctl_failover(struct ctl *c)
{
        if (!c->options.to) {
                fputs("failoverctl: name the new master: --to NODE\n", stderr);
                return CTL_USAGE;
        }
        return is_confirmed(c) ? move(c, "failover") : CTL_REFUSED;
}

/* Setting up: the end of the step shows in the status of this node. */

static int64_t step_number(const json_t *service)
{
        return ctl_number(json_object_get(service, "step_here"), "number");
}

/* Whether @service is as it was ordered; the text for people is written into @text. */
typedef bool is_set_up(const json_t *status, const json_t *service, char text[static 256]);

static bool is_master_here(const json_t *status, const json_t *service, char text[static 256])
{
        const char *here = ctl_string(status, "node");

        (void)snprintf(text, 256, "%s is the master of %s", here, ctl_string(service, "name"));
        return strcmp(ctl_string(service, "holder"), here) == 0 &&
               strcmp(ctl_string(node_of(service, here), "state"), "master") == 0;
}

static bool is_streaming_here(const json_t *status, const json_t *service, char text[static 256])
{
        const char *here = ctl_string(status, "node");
        const json_t *node = node_of(service, here);

        (void)snprintf(text, 256, "%s streams from %s", here, ctl_string(node, "upstream"));
        return ctl_bool(node, "streaming") && ctl_bool(node, "healthy");
}

/* The step itself has ended, and badly. */
static bool has_failed(const struct waiting *w, const json_t *service, char text[static 256])
{
        const json_t *step = json_object_get(service, "step_here");

        if (step_number(service) <= w->before || ctl_bool(step, "ok"))
                return false;
        (void)snprintf(text, 256, "%s failed: %s", ctl_string(step, "name"),
                       ctl_string(step, "text"));
        return true;
}

static enum ctl_exit follow_set_up(struct waiting *w, is_set_up *is_done)
{
        char text[256];

        while (!is_late(w)) {
                struct ctl_answer a;
                const json_t *service;
                bool done, failed;

                get_status(w, &a);
                service = service_of(a.body, w->service);
                show_progress(w, service);
                done = service && step_number(service) > w->before &&
                       is_done(a.body, service, text);
                failed = !done && service && has_failed(w, service, text);
                ctl_answer_done(&a);
                if (done || failed)
                        return print_end(w, done ? CTL_YES : CTL_NO, text);
                ctl_pause(POLL_INTERVAL);
        }
        return end_late(w);
}

static enum ctl_exit set_up(struct ctl *c, const char *verb, const char *method, is_set_up *is_done)
{
        struct waiting w = { .c = c, .service = c->options.arguments[0], .began = ctl_now() };
        enum ctl_exit exit_status;
        char url[CTL_URL_SIZE];
        struct ctl_answer a;

        w.timeout = c->options.timeout ? c->options.timeout : SETUP_TIMEOUT;
        get_status(&w, &a);
        w.before = step_number(service_of(a.body, w.service));
        ctl_answer_done(&a);
        service_url(url, w.service, verb);
        if (method)
                add_parameter(url, "method", method);
        ask_here(c, CTL_POST, url, &a);
        exit_status = was_accepted(&a) ? CTL_YES : ctl_complain(c, &a);
        ctl_answer_done(&a);
        return exit_status == CTL_YES ? follow_set_up(&w, is_done) : exit_status;
}

enum ctl_exit ctl_bootstrap(struct ctl *c)
{
        if (c->options.initdb == c->options.adopt) {
                fputs("failoverctl: say either --initdb or --adopt\n", stderr);
                return CTL_USAGE;
        }
        return set_up(c, "bootstrap", c->options.initdb ? "initdb" : "adopt", is_master_here);
}

enum ctl_exit ctl_clone(struct ctl *c)
{
        return set_up(c, "clone", NULL, is_streaming_here);
}
