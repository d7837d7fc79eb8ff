/* watch and exec-watch: changes of a key as they come, without gap and without repetition. */
#include <errno.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/failoverctl/ctl.h"
#include "election/base/memory.h"

#define RETRY_PAUSE (200 * USEC_PER_MSEC)

struct watch {
        struct ctl *c;
        char url[CTL_URL_SIZE]; /* without the index */
        uint64_t next; /* the first index that is wanted; 0: from now on */
        usec_t began;
        usec_t timeout; /* 0: none */
};

static bool init(struct watch *w, struct ctl *c)
{
        *w = (struct watch){ .c = c, .began = ctl_now(), .timeout = c->options.timeout };
        if (c->options.given & CTL_OPTION_AFTER)
                w->next = c->options.after_index + 1;
        if (!ctl_key_url(w->url, c->options.arguments[0]))
                return false;
        (void)strcat(w->url, "?wait=true"); /* there is room behind the longest key */
        if (c->options.recursive)
                (void)strcat(w->url, "&recursive=true");
        return true;
}

static bool is_late(const struct watch *w)
{
        return w->timeout && ctl_now() - w->began >= w->timeout;
}

/* One request to one member; the next one goes to another if this one does not answer. */
static void ask(struct watch *w, struct ctl_answer *ret)
{
        struct ctl_question q = { .is_wait = true };
        char url[CTL_URL_SIZE + 64];

        (void)snprintf(url, sizeof(url), "%s&waitIndex=%" PRIu64, w->url, w->next);
        q.path = url;
        if (w->timeout)
                q.timeout = w->timeout - (ctl_now() - w->began);
        ctl_ask_one(w->c, w->c->preferred, &q, ret);
        /*
         * The head says where the store stood. What came before was wanted only if an index was
         * given, and then it comes with the head: not when the wait itself has run out.
         */
        if (ret->status == 0 && ret->index >= w->next && (w->next == 0 || ret->is_late))
                w->next = ret->index + 1;
}

static bool is_worth_another(const struct ctl_answer *a)
{
        return a->status == 0 || a->status == 500 || a->status == 503 ||
               (a->status == 200 && !a->body); /* an empty answer is asked again */
}

/*
 * The next event into @ret. Returns CTL_YES; CTL_TIMED_OUT, silently; or another status after a
 * complaint.
 */
static enum ctl_exit next_event(struct watch *w, struct ctl_answer *ret)
{
        size_t silent = 0;

        while (!is_late(w)) {
                bool heard;

                ask(w, ret);
                if (!is_worth_another(ret)) {
                        if (!ctl_is_good(ret))
                                return ctl_complain_key(w->c, ret);
                        w->next = (uint64_t)ctl_number(json_object_get(ret->body, "node"),
                                                       "modifiedIndex") +
                                  1;
                        return CTL_YES;
                }
                heard = ret->index > 0;
                silent = heard ? 0 : silent + 1;
                if (!heard)
                        w->c->preferred = (w->c->preferred + 1) % w->c->n_endpoints;
                /* Who waits forever waits for the members, too; the others want to be told. */
                if (silent >= w->c->n_endpoints && !w->c->options.forever && !w->c->options.program)
                        return is_late(w) ? CTL_TIMED_OUT : ctl_complain(w->c, ret);
                if (silent > 0 && silent % w->c->n_endpoints == 0)
                        ctl_pause(RETRY_PAUSE);
                ctl_answer_done(ret);
        }
        return CTL_TIMED_OUT;
}

static enum ctl_exit end_late(void)
{
        fputs("failoverctl: nothing has happened\n", stderr);
        return CTL_TIMED_OUT;
}

static bool is_directory(const struct ctl_answer *a)
{
        return ctl_bool(json_object_get(a->body, "node"), "dir");
}

static void print_event(struct ctl *c, const struct ctl_answer *a)
{
        if (c->options.recursive && !c->options.json)
                printf("[%s] %s\n", ctl_string(a->body, "action"),
                       ctl_string(json_object_get(a->body, "node"), "key"));
        ctl_print_node(c, a);
}

enum ctl_exit ctl_watch(struct ctl *c)
{
        enum ctl_exit exit_status;
        struct ctl_answer a = { 0 };
        struct watch w;
        bool printed = false;

        if (!init(&w, c))
                return CTL_USAGE;
        do {
                exit_status = next_event(&w, &a);
                if (exit_status == CTL_YES && !is_directory(&a)) {
                        print_event(c, &a);
                        printed = true;
                        if (fflush(stdout) != 0)
                                exit_status = CTL_UNKNOWN; /* nobody reads any more */
                }
                ctl_answer_done(&a);
        } while (exit_status == CTL_YES && (c->options.forever || !printed));
        return exit_status == CTL_TIMED_OUT && !printed ? end_late() : exit_status;
}

static void set_variable(const char *name, const char *value)
{
        if (setenv(name, value, 1) < 0)
                fprintf(stderr, "failoverctl: cannot set %s\n", name);
}

static void set_environment(const struct ctl_answer *a)
{
        const json_t *node = json_object_get(a->body, "node");
        char index[32];

        (void)snprintf(index, sizeof(index), "%" PRId64, ctl_number(node, "modifiedIndex"));
        set_variable("ETCD_WATCH_ACTION", ctl_string(a->body, "action"));
        set_variable("ETCD_WATCH_KEY", ctl_string(node, "key"));
        set_variable("ETCD_WATCH_VALUE", ctl_string(node, "value"));
        set_variable("ETCD_WATCH_MODIFIED_INDEX", index);
}

/* Runs the command and waits for it; how it ends is its own affair. */
static enum ctl_exit run_program(struct ctl *c)
{
        pid_t pid;
        int r;

        r = posix_spawnp(&pid, c->options.program[0], NULL, NULL, c->options.program, environ);
        if (r != 0) {
                fprintf(stderr, "failoverctl: cannot run %s: %s\n", c->options.program[0],
                        strerror(r));
                return CTL_NO;
        }
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
        return CTL_YES;
}

enum ctl_exit ctl_exec_watch(struct ctl *c)
{
        enum ctl_exit exit_status;
        struct ctl_answer a = { 0 };
        struct watch w;

        if (!c->options.program) {
                fputs("failoverctl: name the command to run\n", stderr);
                return CTL_USAGE;
        }
        if (!init(&w, c))
                return CTL_USAGE;
        while ((exit_status = next_event(&w, &a)) == CTL_YES) {
                if (!is_directory(&a)) {
                        set_environment(&a);
                        exit_status = run_program(c);
                }
                ctl_answer_done(&a);
                if (exit_status != CTL_YES)
                        return exit_status;
        }
        ctl_answer_done(&a);
        return exit_status;
}
