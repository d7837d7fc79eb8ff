/* elect: a lock with a value that others can read, and --listen, which reads it. */
#include <inttypes.h>
#include <string.h>

#include "daemon/failoverctl/ctl.h"
#include "daemon/failoverctl/lock.h"
#include "daemon/failoverctl/ticket.h"

#define RETRY_PAUSE (200 * USEC_PER_MSEC)

static const struct lock_kind kind = { "/_elections", "FAILOVER_ELECTION", true };

static void print_elected(const struct ctl *c, const json_t *ticket)
{
        if (c->options.json)
                ctl_print_json(ticket);
        else
                printf("%s\n%s\n", ctl_string(ticket, "key"), ctl_string(ticket, "value"));
}

/* Reads who is elected, and prints it if it is news. @ret_index is where the store stands. */
static enum ctl_exit look_who(struct ctl *c, const char *directory, int64_t *epoch,
                              uint64_t *ret_index)
{
        char url[CTL_URL_SIZE];
        const json_t *oldest;
        struct ctl_answer a;
        enum ctl_exit exit_status = CTL_YES;

        if (!ctl_key_url(url, directory))
                return CTL_USAGE;
        (void)strncat(url, "?quorum=true", sizeof(url) - strlen(url) - 1);
        ctl_ask(c, &(struct ctl_question){ .path = url }, &a);
        oldest = ticket_oldest(json_object_get(a.body, "node"));
        if (oldest && ctl_number(oldest, "createdIndex") != *epoch) {
                *epoch = ctl_number(oldest, "createdIndex");
                print_elected(c, oldest);
        }
        *ret_index = a.index;
        if (a.status == 400)
                exit_status = ctl_complain_key(c, &a);
        ctl_answer_done(&a);
        return fflush(stdout) == 0 ? exit_status : CTL_UNKNOWN; /* nobody reads any more */
}

static void wait_for_change(struct ctl *c, const char *directory, uint64_t index)
{
        struct ctl_question q = { .is_wait = true };
        char url[CTL_URL_SIZE + 64];
        struct ctl_answer a;

        if (!ctl_key_url(url, directory))
                return;
        (void)snprintf(url + strlen(url), 64, "?wait=true&recursive=true&waitIndex=%" PRIu64,
                       index > 0 ? index + 1 : 0);
        q.path = url;
        ctl_ask_one(c, c->preferred, &q, &a);
        if (a.index == 0) {
                c->preferred = (c->preferred + 1) % c->n_endpoints;
                ctl_pause(RETRY_PAUSE);
        }
        ctl_answer_done(&a);
}

static enum ctl_exit listen_to(struct ctl *c)
{
        struct ticket t;
        int64_t epoch = 0;
        uint64_t index;

        if (!ticket_init(&t, c, kind.folder, c->options.arguments[0], "-", USEC_PER_SEC))
                return CTL_USAGE;
        for (;;) {
                enum ctl_exit exit_status = look_who(c, t.directory, &epoch, &index);

                if (exit_status != CTL_YES)
                        return exit_status;
                wait_for_change(c, t.directory, index);
        }
}

enum ctl_exit ctl_elect(struct ctl *c)
{
        if (c->options.listen)
                return listen_to(c);
        if (c->options.n_arguments < 2 || !c->options.arguments[1][0]) {
                fputs("failoverctl: elect NAME VALUE, and the value is not empty\n", stderr);
                return CTL_USAGE;
        }
        return lock_run(c, &kind, c->options.arguments[1]);
}
