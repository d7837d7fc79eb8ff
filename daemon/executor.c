/* The executor's life: setting up, the engine, the loop, the end. */
#include "daemon/executor.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/executor-private.h"
#include "daemon/journal.h"
#include "election/base/memory.h"

#define ENGINE_END_WAIT (80 * USEC_PER_MSEC) /* for the engine to end in good order */
#define LETTING_GO_LOOK (20 * USEC_PER_MSEC) /* how often a stop asks whether all is let go of */

static struct timeval timeval_of(usec_t length)
{
        return (struct timeval){
                .tv_sec = (time_t)(length / USEC_PER_SEC),
                .tv_usec = (suseconds_t)(length % USEC_PER_SEC),
        };
}

struct service *executor_service(struct executor *x, const char *name)
{
        for (size_t i = 0; name && i < x->n_services; i++)
                if (strcmp(x->services[i].conf->name, name) == 0)
                        return &x->services[i];
        return NULL;
}

/* The engine. */

static void engine_kill(struct executor *x, const char *why)
{
        if (!child_is_running(&x->engine.child))
                return;
        (void)log_error(0, "replacing the engine: %s", why);
        child_signal(&x->engine.child, SIGKILL);
}

void executor_tell_engine(struct executor *x, json_t *message)
{
        int r;

        if (!x->engine.link) {
                json_decref(message);
                return;
        }
        r = link_send(x->engine.link, message);
        if (r == -EMSGSIZE) {
                (void)log_error(r, "an agent has said more than fits into a line");
        } else if (r < 0) {
                (void)log_error(r, "cannot tell the engine");
                engine_kill(x, "it does not listen");
        }
}

static json_t *holds_of(const struct executor *x)
{
        json_t *holds = json_array();

        for (size_t i = 0; i < x->n_services; i++) {
                const struct service *s = &x->services[i];

                if (s->grip != GRIP_HELD)
                        continue;
                if (json_array_append_new(
                            holds, json_pack("{s:s, s:I, s:I, s:I, s:I}", "service", s->conf->name,
                                             "epoch", (json_int_t)s->hold.epoch, "incarnation",
                                             (json_int_t)s->hold.incarnation, "demote_at",
                                             (json_int_t)s->hold.demote_at.usec, "close_by",
                                             (json_int_t)s->hold.close_by.usec)) < 0)
                        break;
        }
        return holds;
}

/* All that a new engine must know. */
static void engine_greet(struct executor *x)
{
        executor_tell_engine(x, json_pack("{s:s, s:s, s:o}", "type", "hello", "boot_id", x->boot_id,
                                          "holds", holds_of(x)));
        for (size_t i = 0; i < x->n_services; i++) {
                struct service *s = &x->services[i];

                if (s->n_addresses > 0)
                        executor_tell_engine(x, json_pack("{s:s, s:s, s:b}", "type", "addresses",
                                                          "service", s->conf->name, "present",
                                                          (int)s->addresses_present));
                if (s->agent && s->agent->status)
                        executor_tell_engine(x, json_incref(s->agent->status));
                grip_tell_closed(s);
        }
}

static void on_hold(struct executor *x, struct service *s, json_t *message)
{
        (void)x;
        grip_hold(s, message);
}

static void on_run(struct executor *x, struct service *s, json_t *message)
{
        (void)x;
        step_run(s, message);
}

static void on_release(struct executor *x, struct service *s, json_t *message)
{
        uint64_t epoch;

        (void)x;
        if (message_get_u64(message, "epoch", &epoch))
                grip_release(s, epoch);
}

static void on_cancel(struct executor *x, struct service *s, json_t *message)
{
        uint64_t id;

        (void)x;
        if (message_get_u64(message, "id", &id))
                step_cancel(s, id);
}

/* A line of its own would be another assignment to the service manager. */
static void copy_printable(const char *from, char *ret, size_t size)
{
        size_t n = 0;

        for (; from && *from && n + 1 < size; from++)
                ret[n++] = (unsigned char)*from < ' ' ? ' ' : *from;
        ret[n] = '\0';
}

static void on_state(struct executor *x, struct service *s, json_t *message)
{
        char role[REASON_SIZE], text[REASON_SIZE];

        (void)x;
        copy_printable(message_get_string(message, "role"), role, sizeof(role));
        copy_printable(message_get_string(message, "text"), text, sizeof(text));
        /* Only for people: nothing depends on its arrival. */
        (void)sd_notifyf(0, "STATUS=%s: %s%s%s", s->conf->name, role, text[0] ? ", " : "", text);
}

static void on_ready(struct executor *x, struct service *s, json_t *message)
{
        (void)s;
        (void)message;
        if (!x->engine.is_ready)
                log_info("the engine is ready");
        x->engine.is_ready = true;
        (void)sd_notify(0, "READY=1"); /* without a service manager there is nobody to tell */
}

static const struct {
        const char *type;
        bool of_service;
        void (*take)(struct executor *x, struct service *s, json_t *message);
} messages[] = {
        { "hold", true, on_hold },     { "run", true, on_run },     { "release", true, on_release },
        { "cancel", true, on_cancel }, { "state", true, on_state }, { "ready", false, on_ready },
};

static void on_engine_message(struct link *l, const char *type, json_t *message, void *userdata)
{
        struct executor *x = userdata;
        const char *name = message_get_string(message, "service");
        struct service *s = executor_service(x, name);

        (void)l;
        for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
                if (strcmp(messages[i].type, type) != 0)
                        continue;
                if (messages[i].of_service && !s)
                        (void)log_warning(0, "refused \"%s\" for the service \"%s\": there is none",
                                          type, name ? name : "");
                else
                        messages[i].take(x, s, message);
                return;
        }
        (void)log_warning(0, "refused \"%s\" from the engine: there is no such message", type);
}

static void on_engine_closed(struct link *l, int r, void *userdata)
{
        struct executor *x = userdata;

        link_free(l);
        x->engine.link = NULL;
        if (r < 0)
                (void)log_error(r, "the engine does not speak the protocol");
        child_signal(&x->engine.child, SIGKILL); /* deaf, it is worth nothing */
}

static const struct link_events engine_events = {
        .message = on_engine_message,
        .closed = on_engine_closed,
};

static int engine_start_child(struct executor *x)
{
        struct child_command command = {
                .path = x->config->engine_path,
                .argv = x->config->engine_argv,
                .user = &x->engine_user,
                .is_engine = true,
        };
        int fds[2], r;

        r = link_pair(fds);
        if (r < 0)
                return r;
        r = link_new(x->base, fds[0], PRIORITY_ORDINARY, &engine_events, x, &x->engine.link);
        if (r < 0) {
                (void)close(fds[0]); /* sockets that nobody has used */
                (void)close(fds[1]);
                return r;
        }
        command.fd = fds[1];
        r = child_start(x->base, &command, &x->engine.child);
        (void)close(fds[1]); /* the child has it, or nobody */
        if (r < 0) {
                link_free(x->engine.link);
                x->engine.link = NULL;
        }
        return r;
}

static void engine_restart_later(struct executor *x, usec_t wait)
{
        const struct timeval tv = timeval_of(wait);

        if (event_add(x->engine.restart, &tv) < 0)
                (void)log_error(0, "cannot arm the restart of the engine");
}

static void engine_start(struct executor *x)
{
        int r;

        if (x->is_stopping)
                return;
        r = engine_start_child(x);
        if (r < 0) {
                (void)log_error(r, "cannot start the engine");
                engine_restart_later(x, USEC_PER_SEC);
                return;
        }
        engine_greet(x);
}

static bool is_letting_go(const struct executor *x)
{
        for (size_t i = 0; i < x->n_services; i++)
                if (x->services[i].grip > GRIP_HELD && x->services[i].grip < GRIP_UNPROVED)
                        return true;
        return false;
}

/* While stopping: ends the loop when nobody is waited for any more. */
static void stop_if_done(struct executor *x)
{
        const struct timeval tv = timeval_of(LETTING_GO_LOOK);

        if (!is_letting_go(x))
                (void)event_base_loopbreak(x->base); /* fails only without a loop */
        else if (event_add(x->engine_end, &tv) < 0)
                (void)event_base_loopbreak(x->base);
}

static void on_engine_ended(struct child *c, int status, void *userdata)
{
        struct executor *x = userdata;
        char words[REASON_SIZE];
        usec_t wait = child_backoff(c);

        link_free(x->engine.link);
        x->engine.link = NULL;
        x->engine.is_ready = false;
        for (size_t i = 0; i < x->n_services; i++) {
                steps_engine_ended(&x->services[i]);
                if (x->services[i].grip == GRIP_UNPROVED)
                        x->services[i].closed_untold = true; /* to the next one */
        }
        if (x->is_stopping) {
                stop_if_done(x);
                return;
        }
        child_describe_end(status, words, sizeof(words));
        (void)log_warning(0, "the engine has ended (%s)", words);
        if (wait == 0)
                engine_start(x);
        else
                engine_restart_later(x, wait);
}

static void on_engine_restart(evutil_socket_t fd, short what, void *userdata)
{
        (void)fd;
        (void)what;
        engine_start(userdata);
}

/* Signals and time. */

static void on_engine_end_time(evutil_socket_t fd, short what, void *userdata)
{
        struct executor *x = userdata;

        (void)fd;
        (void)what;
        child_signal(&x->engine.child, SIGKILL);
        stop_if_done(x);
}

static void on_stop(evutil_socket_t signo, short what, void *userdata)
{
        const struct timeval tv = timeval_of(ENGINE_END_WAIT);
        struct executor *x = userdata;

        (void)what;
        if (x->is_stopping)
                return;
        x->is_stopping = true;
        log_info("stopping (%s): databases and addresses stay, each until its deadline",
                 strsignal((int)signo));
        (void)sd_notify(0, "STOPPING=1"); /* without a service manager there is nobody to tell */
        child_signal(&x->engine.child, SIGTERM);
        if (!child_is_running(&x->engine.child))
                stop_if_done(x);
        else if (event_add(x->engine_end, &tv) < 0)
                (void)event_base_loopbreak(x->base); /* fails only without a loop */
}

static void on_reload(evutil_socket_t signo, short what, void *userdata)
{
        (void)signo;
        (void)what;
        (void)userdata;
        (void)log_warning(0,
                          "the configuration is read at the start only: restart failoverd, which "
                          "moves nothing if it takes less than the TTL");
}

static void on_check(evutil_socket_t fd, short what, void *userdata)
{
        struct executor *x = userdata;
        struct instant now = clock_now();
        /* Then we have not run for a while, and the agents' answers may not be read yet. */
        bool is_late = instant_reached(instant_after(x->checked, 3 * AGENT_CHECK), now);

        (void)fd;
        (void)what;
        x->checked = now;
        for (size_t i = 0; i < x->n_services; i++) {
                steps_check(&x->services[i], now);
                if (x->services[i].agent && !is_late)
                        agent_check(x->services[i].agent, now);
        }
}

static struct event *add_event(struct executor *x, evutil_socket_t fd, short what,
                               event_callback_fn callback, const struct timeval *tv)
{
        struct event *e = event_new(x->base, fd, what, callback, x);

        if (!e)
                return NULL;
        if (what == 0 || event_add(e, tv) == 0)
                return e;
        event_free(e);
        return NULL;
}

static int make_events(struct executor *x)
{
        const struct timeval check = timeval_of(AGENT_CHECK);
        short on_signal = EV_SIGNAL | EV_PERSIST;

        x->on_sigterm = add_event(x, SIGTERM, on_signal, on_stop, NULL);
        x->on_sigint = add_event(x, SIGINT, on_signal, on_stop, NULL);
        x->on_sighup = add_event(x, SIGHUP, on_signal, on_reload, NULL);
        x->check = add_event(x, -1, EV_PERSIST, on_check, &check);
        x->engine_end = add_event(x, -1, 0, on_engine_end_time, NULL);
        x->engine.restart = add_event(x, -1, 0, on_engine_restart, NULL);
        if (!x->on_sigterm || !x->on_sigint || !x->on_sighup || !x->check || !x->engine_end ||
            !x->engine.restart)
                return log_error(-ENOMEM, "cannot make the events of the loop");
        return 0;
}

/* Setting up. */

static int service_init(struct service *s, struct executor *x, const struct conf_service *conf)
{
        int r;

        s->executor = x;
        s->conf = conf;
        s->timer_fd = -1;
        s->killer.pid_fd = -1;
        r = grip_new(s);
        if (r == 0)
                r = addresses_new(s);
        if (r < 0)
                return log_error(r, "cannot prepare the service %s", conf->name);
        return conf->postgres ? agent_new(s) : 0;
}

/* A witness has no services; a member has those that it may hold. */
static int make_services(struct executor *x)
{
        const struct conf *conf = x->conf;
        int r;

        x->services = must_alloc(conf->n_services, sizeof(*x->services));
        for (size_t i = 0; i < conf->n_services; i++) {
                if (!conf_service_has_member(conf->services[i], conf->self))
                        continue;
                r = service_init(&x->services[x->n_services++], x, conf->services[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* The configured user, where we may become one and there is one. */
static int find_engine_user(struct executor *x)
{
        const char *name = x->conf->node.user;
        int r;

        r = geteuid() == 0 ? user_lookup(name, &x->engine_user) : -ENOENT;
        if (r == -ENOENT) {
                if (geteuid() == 0)
                        (void)log_warning(0,
                                          "there is no user \"%s\": the engine runs as root, but "
                                          "without privileges",
                                          name);
                r = user_self(&x->engine_user);
        }
        return r < 0 ? log_error(r, "cannot look up the user \"%s\" of the engine", name) : 0;
}

static int make_base(struct executor *x)
{
        x->base = event_base_new();
        if (!x->base || event_base_priority_init(x->base, PRIORITIES) < 0)
                return log_error(-ENOMEM, "cannot make an event loop");
        return 0;
}

static int set_up(struct executor *x)
{
        int r;

        r = clock_boot_id(x->boot_id);
        if (r < 0)
                return log_error(r, "cannot read the id of this boot");
        r = find_engine_user(x);
        if (r == 0)
                r = make_base(x);
        if (r == 0)
                r = make_services(x);
        if (r == 0)
                r = files_prepare(x);
        if (r == 0)
                r = addresses_open(x);
        if (r == 0)
                r = make_events(x);
        if (r < 0)
                return r;
        if (!privileges_lock_memory())
                log_debug("cannot lock the memory of the executor");
        r = privileges_keep_executor();
        return r < 0 ? log_error(r, "cannot give up privileges") : 0;
}

static void begin(struct executor *x)
{
        for (size_t i = 0; i < x->n_services; i++)
                grip_adopt(&x->services[i]);
        addresses_clean(x);
        for (size_t i = 0; i < x->n_services; i++)
                if (x->services[i].agent)
                        agent_start(x->services[i].agent);
        engine_start(x);
}

static void free_event(struct event *e)
{
        if (e)
                event_free(e);
}

static void tear_down(struct executor *x)
{
        child_signal(&x->engine.child, SIGKILL);
        child_abandon(&x->engine.child);
        link_free(x->engine.link);
        for (size_t i = 0; i < x->n_services; i++) {
                struct service *s = &x->services[i];

                steps_clear(s);
                agent_done(s);
                child_abandon(&s->killer);
                addresses_done(s);
                grip_done(s);
        }
        free(x->services);
        free_event(x->on_sigterm);
        free_event(x->on_sigint);
        free_event(x->on_sighup);
        free_event(x->check);
        free_event(x->engine_end);
        free_event(x->engine.restart);
        addresses_close(x);
        if (x->base)
                event_base_free(x->base);
        if (x->lock_fd >= 0)
                (void)close(x->lock_fd); /* nothing was written through it */
        if (x->run_fd >= 0)
                (void)close(x->run_fd);
}

int executor_run(const struct executor_config *config)
{
        struct executor x = {
                .config = config,
                .conf = config->conf,
                .run_fd = -1,
                .lock_fd = -1,
                .engine = { .child = { .pid_fd = -1, .on_ended = on_engine_ended } },
        };
        int r;

        x.engine.child.userdata = &x;
        /* A reader of our log that has gone must not be able to end us. */
        if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
                return log_error(-errno, "cannot ignore SIGPIPE");
        r = set_up(&x);
        if (r == 0) {
                begin(&x);
                if (event_base_dispatch(x.base) < 0)
                        x.result = log_error(-EIO, "the event loop has failed");
                r = x.result;
        }
        tear_down(&x);
        return r;
}
