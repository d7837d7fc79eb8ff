/*
 * The agent of a service's database: started as the database's user, told the holds, watched for
 * answers, and replaced when it dies or falls silent. The database does not notice: the new agent
 * adopts it.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "daemon/executor-private.h"
#include "daemon/journal.h"
#include "election/base/memory.h"

enum {
        AGENT_PROTOCOL = 1,
};

#define AGENT_PROGRAM "failoverd-postgres"
#define AGENTS_DIRECTORY "agents"

static const char *service_name(const struct agent *a)
{
        return a->service->conf->name;
}

/* The words of a command, without any quoting; null for an empty one. */
static json_t *words_of(const char *command)
{
        _cleanup_(freep)
        char *copy = must_copy(command, strlen(command));
        json_t *words = json_array();
        char *rest = NULL;

        for (char *word = strtok_r(copy, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest))
                if (json_array_append_new(words, json_string(word)) < 0)
                        break;
        if (json_array_size(words) > 0)
                return words;
        json_decref(words);
        return json_null();
}

/* What is not set is null: the agent takes its default. */
static json_t *text_or_null(const char *text)
{
        return text[0] ? json_string(text) : json_null();
}

static json_t *number_or_null(uint64_t number)
{
        return number ? json_integer((json_int_t)number) : json_null();
}

static json_t *rejoin_methods(unsigned rejoin)
{
        switch (rejoin) {
        case CONF_REJOIN_REWIND | CONF_REJOIN_CLONE:
                return json_string("rewind,clone");
        case CONF_REJOIN_REWIND:
                return json_string("rewind");
        case CONF_REJOIN_CLONE:
                return json_string("clone");
        default:
                return json_string("manual");
        }
}

static json_t *config_of(const struct conf_postgres *p)
{
        return json_pack(
                "{s:s, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o,"
                " s:I, s:I, s:i, s:i, s:o, s:b}",
                "data_dir", p->data_dir, "version", number_or_null(p->version), "user",
                text_or_null(p->user), "port", (int)p->port, "bin_dir", text_or_null(p->bin_dir),
                "config_file", text_or_null(p->config_file), "socket_dir",
                text_or_null(p->socket_dir), "listen", text_or_null(p->listen), "replication_user",
                text_or_null(p->replication_user), "passfile", text_or_null(p->passfile),
                "start_command", words_of(p->start_command), "stop_command",
                words_of(p->stop_command), "health_interval_usec", (json_int_t)p->health_interval,
                "health_timeout_usec", (json_int_t)p->health_timeout, "rise", (int)p->rise, "fall",
                (int)p->fall, "rejoin", rejoin_methods(p->rejoin), "keep_diverged",
                (int)p->keep_diverged);
}

static json_t *members_of(const struct service *s)
{
        const struct conf *conf = s->executor->conf;
        json_t *members = json_array();
        char address[ADDRESS_SIZE];

        for (size_t i = 0; i < s->conf->n_members; i++) {
                const struct conf_member *m = conf_member_by_id(conf, s->conf->members[i]);

                if (!m)
                        continue;
                address_print(&m->address, address, sizeof(address));
                if (json_array_append_new(members, json_pack("{s:s, s:s, s:i}", "name", m->name,
                                                             "address", address, "port",
                                                             (int)s->conf->postgres->port)) < 0)
                        break;
        }
        return members;
}

static json_t *hello_of(const struct service *s)
{
        const struct conf *conf = s->executor->conf;
        char state_dir[2 * CONF_VALUE_MAX];

        (void)snprintf(state_dir, sizeof(state_dir), "%s/" AGENTS_DIRECTORY "/%s",
                       conf->node.data_dir, s->conf->name); /* fits */
        return json_pack("{s:s, s:i, s:s, s:s, s:s, s:o, s:o}", "type", "hello", "protocol",
                         AGENT_PROTOCOL, "service", s->conf->name, "node", conf->node.name,
                         "state_dir", state_dir, "config", config_of(s->conf->postgres), "members",
                         members_of(s));
}

static void tell(struct agent *a, json_t *message, const char *what)
{
        int r;

        if (!a->link) {
                json_decref(message);
                return;
        }
        r = link_send(a->link, message);
        if (r < 0) {
                (void)log_error(r, "cannot tell the agent of %s: %s", service_name(a), what);
                agent_kill(a, "it does not listen");
        }
}

void agent_hold(struct agent *a)
{
        const struct hold *hold = &a->service->hold;

        if (!a->link)
                return;
        if (a->hold_unanswered.usec == INSTANT_NEVER.usec)
                a->hold_unanswered = clock_now();
        tell(a,
             json_pack("{s:s, s:I, s:I, s:I}", "type", "hold", "epoch", (json_int_t)hold->epoch,
                       "demote_at", (json_int_t)hold->demote_at.usec, "close_by",
                       (json_int_t)hold->close_by.usec),
             "a hold");
}

void agent_release(struct agent *a, uint64_t epoch)
{
        tell(a, json_pack("{s:s, s:I}", "type", "release", "epoch", (json_int_t)epoch),
             "a release");
}

void agent_demote(struct agent *a, const char *mode)
{
        const struct hold *hold = &a->service->hold;
        struct instant soon = instant_after(clock_now(), USEC_PER_SEC);

        step_run_own(a->service, "demote", hold->epoch, instant_later(hold->close_by, soon),
                     json_pack("{s:s}", "mode", mode));
}

void agent_kill(struct agent *a, const char *why)
{
        if (!child_is_running(&a->child))
                return;
        (void)log_error(0, "replacing the agent of %s: %s", service_name(a), why);
        a->is_ready = false;
        a->hold_unanswered = INSTANT_NEVER;
        a->started = clock_now(); /* its limits count anew until its end is seen */
        a->last_status = a->started;
        child_signal(&a->child, SIGKILL);
}

/* What an agent says. */

static void on_hello(struct agent *a, json_t *message)
{
        uint64_t protocol;

        if (!message_get_u64(message, "protocol", &protocol) || protocol != AGENT_PROTOCOL) {
                agent_kill(a, "it speaks another version of the protocol");
                return;
        }
        a->is_ready = true;
        a->last_status = clock_now();
        log_debug("the agent of %s is ready", service_name(a));
        steps_flush(a->service);
}

static void on_ack(struct agent *a, json_t *message)
{
        uint64_t close_by;

        if (!message_is_true(message, "ok")) {
                (void)log_error(0, "the agent of %s refuses a hold: it knows a newer epoch",
                                service_name(a));
                a->hold_unanswered = INSTANT_NEVER;
                return;
        }
        if (!message_get_u64(message, "close_by", &close_by) ||
            a->hold_unanswered.usec == INSTANT_NEVER.usec)
                return;
        /* An answer to an older hold is a sign of life, too. */
        a->hold_unanswered = close_by >= a->service->hold.close_by.usec ? INSTANT_NEVER
                                                                        : clock_now();
}

static void on_status(struct agent *a, json_t *message)
{
        a->last_status = clock_now();
        database_status(a->service, message);
        if (json_object_set_new(message, "service", json_string(service_name(a))) < 0)
                return;
        json_decref(a->status);
        a->status = json_incref(message);
        executor_tell_engine(a->service->executor, json_incref(message));
}

static void on_done(struct agent *a, json_t *message)
{
        step_done(a->service, message);
}

static void on_log(struct agent *a, json_t *message)
{
        const char *level = message_get_string(message, "level");
        const char *text = message_get_string(message, "text");
        int priority = LOG_INFO;

        if (!text)
                return;
        if (level && strcmp(level, "error") == 0)
                priority = LOG_ERR;
        if (level && strcmp(level, "warning") == 0)
                priority = LOG_WARNING;
        log_event(&(struct log_fields){ .priority = priority, .service = service_name(a) },
                  "agent: %s", text);
}

static const struct {
        const char *type;
        void (*take)(struct agent *a, json_t *message);
} messages[] = {
        { "hello", on_hello }, { "ack", on_ack }, { "status", on_status },
        { "done", on_done },   { "log", on_log },
};

static void on_message(struct link *l, const char *type, json_t *message, void *userdata)
{
        struct agent *a = userdata;

        (void)l;
        for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
                if (strcmp(messages[i].type, type) == 0) {
                        messages[i].take(a, message);
                        return;
                }
        log_debug("the agent of %s says \"%s\", which nobody here knows", service_name(a), type);
}

static void on_closed(struct link *l, int r, void *userdata)
{
        struct agent *a = userdata;

        link_free(l);
        a->link = NULL;
        if (r < 0)
                (void)log_error(r, "the agent of %s does not speak the protocol", service_name(a));
        if (child_is_running(&a->child))
                child_signal(&a->child, SIGKILL); /* a deaf agent is worth nothing */
}

static const struct link_events link_events = { .message = on_message, .closed = on_closed };

/* Its life. */

static void restart_later(struct agent *a, usec_t wait)
{
        const struct timeval tv = {
                .tv_sec = (time_t)(wait / USEC_PER_SEC),
                .tv_usec = (suseconds_t)(wait % USEC_PER_SEC),
        };

        if (event_add(a->restart, &tv) < 0)
                (void)log_error(0, "cannot arm the restart of the agent of %s", service_name(a));
}

static void on_ended(struct child *c, int status, void *userdata)
{
        struct agent *a = userdata;
        char words[REASON_SIZE];
        usec_t wait = child_backoff(c);

        child_describe_end(status, words, sizeof(words));
        (void)log_warning(0, "the agent of %s has ended (%s)", service_name(a), words);
        link_free(a->link);
        a->link = NULL;
        a->is_ready = false;
        json_decref(a->status);
        a->status = NULL;
        steps_agent_ended(a->service);
        if (wait == 0)
                agent_start(a);
        else
                restart_later(a, wait);
}

static void on_restart(evutil_socket_t fd, short what, void *userdata)
{
        (void)fd;
        (void)what;
        agent_start(userdata);
}

static int start_child(struct agent *a)
{
        struct executor *x = a->service->executor;
        char path[2 * CONF_VALUE_MAX];
        const char *const argv[] = { AGENT_PROGRAM, NULL };
        struct child_command command = {
                .path = path,
                .argv = argv,
                .user = &a->user,
                .fd_is_stdio = true,
        };
        int fds[2], r;

        (void)snprintf(path, sizeof(path), "%s/" AGENT_PROGRAM, x->conf->node.libexec_dir);
        r = link_pair(fds);
        if (r < 0)
                return r;
        r = link_new(x->base, fds[0], PRIORITY_ORDINARY, &link_events, a, &a->link);
        if (r < 0) {
                (void)close(fds[0]); /* sockets that nobody has used */
                (void)close(fds[1]);
                return r;
        }
        command.fd = fds[1];
        r = child_start(x->base, &command, &a->child);
        (void)close(fds[1]); /* the child has it, or nobody */
        if (r < 0) {
                link_free(a->link);
                a->link = NULL;
        }
        return r;
}

void agent_start(struct agent *a)
{
        struct service *s = a->service;
        int r;

        if (s->executor->is_stopping || child_is_running(&a->child))
                return;
        a->is_ready = false;
        a->hold_unanswered = INSTANT_NEVER;
        a->started = clock_now();
        a->last_status = a->started;
        r = start_child(a);
        if (r < 0) {
                (void)log_error(r, "cannot start the agent of %s", service_name(a));
                restart_later(a, USEC_PER_SEC);
                return;
        }
        tell(a, hello_of(s), "hello");
        /* Before everything else: an older agent goes only when this one knows the deadline. */
        if (s->grip != GRIP_NONE)
                agent_hold(a);
}

static usec_t answer_limit(const struct agent *a)
{
        const struct conf_service *c = a->service->conf;

        return c->ttl / 3 > 2 * c->renew ? c->ttl / 3 : 2 * c->renew;
}

static usec_t silence_limit(const struct agent *a)
{
        usec_t limit = AGENT_SILENCE_INTERVALS * a->service->conf->postgres->health_interval;

        return limit > AGENT_SILENCE_MIN ? limit : AGENT_SILENCE_MIN;
}

void agent_check(struct agent *a, struct instant now)
{
        if (!child_is_running(&a->child))
                return;
        if (a->hold_unanswered.usec != INSTANT_NEVER.usec &&
            instant_reached(instant_after(a->hold_unanswered, answer_limit(a)), now))
                agent_kill(a, "it does not answer a hold");
        else if (!a->is_ready && instant_reached(instant_after(a->started, AGENT_HELLO_LIMIT), now))
                agent_kill(a, "it does not get ready");
        else if (a->is_ready &&
                 instant_reached(instant_after(a->last_status, silence_limit(a)), now))
                agent_kill(a, "it has sent no status for too long");
}

int agent_new(struct service *s)
{
        struct agent *a = must_alloc(1, sizeof(*a));
        const char *user = s->conf->postgres->user;
        int r;

        s->agent = a;
        a->service = s;
        a->child.pid_fd = -1;
        a->child.on_ended = on_ended;
        a->child.userdata = a;
        a->restart = event_new(s->executor->base, -1, 0, on_restart, a);
        if (!a->restart)
                return -ENOMEM;
        r = geteuid() == 0 ? user_lookup(user, &a->user) : user_self(&a->user);
        return r < 0 ? log_error(r, "cannot look up the user \"%s\" of %s", user, s->conf->name)
                     : 0;
}

void agent_done(struct service *s)
{
        struct agent *a = s->agent;

        if (!a)
                return;
        /* It goes on alone as long as it has a deadline to keep. */
        child_abandon(&a->child);
        link_free(a->link);
        if (a->restart)
                event_free(a->restart);
        json_decref(a->status);
        free(a);
        s->agent = NULL;
}
