/* history and why-not: what happened, and what would happen next. */
#include <inttypes.h>
#include <string.h>

#include "daemon/failoverctl/ctl.h"

/* The only service of the cluster, when none is named; "" after a complaint. */
static const char *only_service(struct ctl *c, char ret[static NAME_SIZE])
{
        const json_t *services;
        struct ctl_answer a;

        ret[0] = '\0';
        ctl_ask(c, &(struct ctl_question){ .path = "/v1/status", .timeout = c->options.timeout },
                &a);
        services = json_object_get(a.body, "services");
        if (a.status != 200)
                (void)ctl_complain(c, &a);
        else if (json_array_size(services) != 1)
                fprintf(stderr, "failoverctl: which service? there are %zu\n",
                        json_array_size(services));
        else
                (void)snprintf(ret, NAME_SIZE, "%s",
                               ctl_string(json_array_get(services, 0), "name"));
        ctl_answer_done(&a);
        return ret;
}

static void ask_service(struct ctl *c, const char *service, const char *verb,
                        struct ctl_answer *ret)
{
        char url[CTL_URL_SIZE] = "/v1/services/";

        ctl_url_append(url, service, false);
        ctl_url_append(url, verb, true);
        ctl_ask(c, &(struct ctl_question){ .path = url, .timeout = c->options.timeout }, ret);
}

static void print_history(const struct ctl *c, const json_t *body)
{
        struct ctl_table t = { .n_columns = 5 };
        const json_t *change;
        char took[32];
        size_t i;

        json_array_foreach(json_object_get(body, "history"), i, change) {
                struct ctl_cell *row = ctl_table_row(&t);

                ctl_cell(&row[0], CTL_DIM, "%s", ctl_string(change, "at"));
                ctl_cell(&row[1], CTL_PLAIN, "epoch %" PRId64, ctl_number(change, "epoch"));
                ctl_cell(&row[2], CTL_BOLD, "%s", ctl_string(change, "node"));
                ctl_cell(&row[3], CTL_PLAIN, "%s",
                         ctl_print_msec(ctl_number(change, "took_ms"), took));
                ctl_cell(&row[4], CTL_PLAIN, "%s", ctl_string(change, "text"));
        }
        if (t.n_rows == 0)
                puts("no change of master is known");
        ctl_table_print(c, &t, 0, stdout);
        ctl_table_done(&t);
}

enum ctl_exit ctl_history(struct ctl *c)
{
        char name[NAME_SIZE];
        const char *service = c->options.n_arguments > 0 ? c->options.arguments[0]
                                                         : only_service(c, name);
        enum ctl_exit exit_status = CTL_YES;
        struct ctl_answer a;

        if (!service[0])
                return CTL_USAGE;
        ask_service(c, service, "/history", &a);
        if (a.status != 200 || !a.body)
                exit_status = ctl_complain(c, &a);
        else if (c->options.json)
                ctl_print_json(a.body);
        else
                print_history(c, a.body);
        ctl_answer_done(&a);
        return exit_status;
}

static void print_verdict(struct ctl_table *t, const json_t *v)
{
        struct ctl_cell *row = ctl_table_row(t);
        bool eligible = ctl_bool(v, "eligible");

        ctl_cell(&row[0], CTL_BOLD, "%s", ctl_string(v, "node"));
        if (eligible)
                ctl_cell(&row[1], CTL_GREEN, "could, %s",
                         ctl_number(v, "rank") == 0 ? "as the first choice" : "as another choice");
        else
                ctl_cell(&row[1], CTL_RED, "could not");
        ctl_cell(&row[2], CTL_PLAIN, "%s", ctl_string(v, "reason"));
}

/* Prints those of @node, or all; returns the exit status. */
static enum ctl_exit print_verdicts(struct ctl *c, const json_t *body, const char *node)
{
        struct ctl_table t = { .n_columns = 3 };
        enum ctl_exit exit_status = CTL_YES;
        const json_t *v;
        size_t i;

        json_array_foreach(json_object_get(body, "verdicts"), i, v) {
                if (node && strcmp(node, ctl_string(v, "node")) != 0)
                        continue;
                print_verdict(&t, v);
                if (node && !ctl_bool(v, "eligible"))
                        exit_status = CTL_NO;
        }
        if (node && t.n_rows == 0) {
                fprintf(stderr, "failoverctl: %s does not take part in this service\n", node);
                exit_status = CTL_USAGE;
        }
        if (c->options.json)
                ctl_print_json(body);
        else
                ctl_table_print(c, &t, 0, stdout);
        ctl_table_done(&t);
        return exit_status;
}

enum ctl_exit ctl_why_not(struct ctl *c)
{
        const char *node = c->options.n_arguments > 1 ? c->options.arguments[1] : NULL;
        enum ctl_exit exit_status;
        struct ctl_answer a;

        ask_service(c, c->options.arguments[0], "/why-not", &a);
        if (a.status == 200 && a.body)
                exit_status = print_verdicts(c, a.body, node);
        else
                exit_status = ctl_complain(c, &a);
        ctl_answer_done(&a);
        return exit_status;
}
