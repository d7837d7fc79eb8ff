/* status: members and services in a table, and in plain words what is wrong. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "daemon/failoverctl/ctl.h"

/* What is wrong, as a list of strings. */
__attribute__((format(printf, 2, 3))) static void problem(json_t *problems, const char *format, ...)
{
        char text[512];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        (void)json_array_append_new(problems, json_string(text));
}

static bool has_quorum(const json_t *status)
{
        return ctl_has(json_object_get(status, "raft"), "leader");
}

static void find_member_problems(const json_t *status, json_t *problems)
{
        const json_t *member;
        size_t i;

        if (!has_quorum(status))
                problem(problems, "no quorum: %s reaches no majority, nothing can be decided",
                        ctl_string(status, "node"));
        json_array_foreach(json_object_get(status, "members"), i, member) {
                if (!ctl_bool(member, "connected"))
                        problem(problems, "%s does not reach member %s", ctl_string(status, "node"),
                                ctl_string(member, "name"));
        }
}

/* Reports come several times within a TTL. */
static bool is_silent(const json_t *service, const json_t *node)
{
        return !ctl_bool(node, "known") ||
               ctl_number(node, "age_ms") > ctl_number(service, "ttl_ms");
}

static bool is_holder(const json_t *service, const json_t *node)
{
        return ctl_has(service, "holder") &&
               strcmp(ctl_string(service, "holder"), ctl_string(node, "node")) == 0;
}

static void find_database_problems(const json_t *service, const json_t *node, json_t *problems)
{
        const char *name = ctl_string(node, "node"), *reason = ctl_string(node, "reason");
        const char *database = ctl_string(node, "database");

        if (strcmp(database, "absent") == 0)
                problem(problems, "%s has no database yet: failoverctl clone %s, on %s", name,
                        ctl_string(service, "name"), name);
        else if (strcmp(database, "running") != 0)
                problem(problems, "the database of %s is %s%s%s", name, database,
                        reason[0] ? ": " : "", reason);
        else if (!ctl_bool(node, "healthy"))
                problem(problems, "the database of %s is not healthy%s%s", name,
                        reason[0] ? ": " : "", reason);
        else if (is_holder(service, node) && !ctl_bool(node, "writable"))
                problem(problems, "the database of %s is not writable", name);
        else if (!is_holder(service, node) && !ctl_bool(node, "streaming"))
                problem(problems, "%s does not stream from the master", name);
}

static void find_node_problems(const json_t *service, const json_t *node, json_t *problems)
{
        char age[32];

        if (is_silent(service, node)) {
                if (ctl_bool(node, "known"))
                        problem(problems, "%s has said nothing of service %s for %s",
                                ctl_string(node, "node"), ctl_string(service, "name"),
                                ctl_print_msec(ctl_number(node, "age_ms"), age));
                else
                        problem(problems, "%s was never heard of service %s",
                                ctl_string(node, "node"), ctl_string(service, "name"));
                return;
        }
        if (strcmp(ctl_string(node, "state"), "fenced") == 0)
                problem(problems, "%s is fenced: it cannot prove that it has let go of service %s",
                        ctl_string(node, "node"), ctl_string(service, "name"));
        if (ctl_bool(service, "database") && strcmp(ctl_string(service, "lease"), "unused") != 0)
                find_database_problems(service, node, problems);
}

static void find_service_problems(const json_t *service, json_t *problems)
{
        const char *name = ctl_string(service, "name"), *lease = ctl_string(service, "lease");
        const json_t *node;
        size_t i;

        if (strcmp(lease, "unused") == 0)
                problem(problems, "service %s never had a master: failoverctl bootstrap %s", name,
                        name);
        else if (!ctl_has(service, "holder"))
                problem(problems, "service %s has no master: failoverctl why-not %s", name, name);
        if (ctl_bool(service, "paused"))
                problem(problems, "service %s is paused: there is no failover until it is resumed",
                        name);
        json_array_foreach(json_object_get(service, "nodes"), i, node)
                find_node_problems(service, node, problems);
}

static json_t *find_problems(const json_t *status)
{
        json_t *problems = json_array();
        const json_t *service;
        size_t i;

        find_member_problems(status, problems);
        json_array_foreach(json_object_get(status, "services"), i, service)
                find_service_problems(service, problems);
        return problems;
}

/* For people. */

static void put_headings(struct ctl_table *t, const char *const *headings, size_t n)
{
        struct ctl_cell *row = ctl_table_row(t);

        t->n_columns = n;
        for (size_t i = 0; i < n; i++)
                ctl_cell(&row[i], CTL_DIM, "%s", headings[i]);
}

static void put_member(struct ctl_table *t, const json_t *status, const json_t *member)
{
        const char *name = ctl_string(member, "name");
        const json_t *raft = json_object_get(status, "raft");
        bool leads = strcmp(ctl_string(raft, "leader"), name) == 0;
        bool is_here = strcmp(ctl_string(status, "node"), name) == 0;
        bool connected = ctl_bool(member, "connected");
        struct ctl_cell *row = ctl_table_row(t);

        ctl_cell(&row[0], leads ? CTL_BOLD : CTL_PLAIN, "%s", name);
        ctl_cell(&row[1], CTL_PLAIN, "%s", ctl_string(member, "address"));
        ctl_cell(&row[2], CTL_PLAIN, "%s", ctl_string(member, "role"));
        ctl_cell(&row[3], leads ? CTL_GREEN : CTL_PLAIN, "%s", leads ? "leader" : "-");
        if (is_here)
                ctl_cell(&row[4], CTL_PLAIN, "answers");
        else
                ctl_cell(&row[4], connected ? CTL_GREEN : CTL_RED, "%s",
                         connected ? "connected" : "not connected");
}

static void print_members(const struct ctl *c, const json_t *status)
{
        static const char *const headings[] = { "MEMBER", "ADDRESS", "ROLE", "RAFT", "" };
        struct ctl_table t = { 0 };
        const json_t *member;
        size_t i;

        put_headings(&t, headings, 5);
        json_array_foreach(json_object_get(status, "members"), i, member)
                put_member(&t, status, member);
        ctl_table_print(c, &t, 2, stdout);
        ctl_table_done(&t);
}

static enum ctl_color color_of_state(const char *state)
{
        if (strcmp(state, "master") == 0)
                return CTL_GREEN;
        if (strcmp(state, "fenced") == 0)
                return CTL_RED;
        return strcmp(state, "standby") == 0 ? CTL_PLAIN : CTL_YELLOW;
}

static void put_database(struct ctl_cell *row, const json_t *service, const json_t *node)
{
        char lag[32];
        bool healthy = ctl_bool(node, "healthy");

        ctl_cell(&row[2], healthy ? CTL_PLAIN : CTL_RED, "%s", ctl_string(node, "database"));
        ctl_cell(&row[3], CTL_PLAIN, "%s", ctl_string(node, "role"));
        if (ctl_number(node, "timeline") > 0)
                ctl_cell(&row[4], CTL_PLAIN, "%" PRId64, ctl_number(node, "timeline"));
        ctl_cell(&row[5], CTL_PLAIN, "%s", ctl_string(node, "lsn"));
        if (ctl_has(node, "lag") && !is_holder(service, node))
                ctl_cell(&row[6], CTL_PLAIN, "%s",
                         ctl_print_bytes((uint64_t)ctl_number(node, "lag"), lag));
        if (ctl_bool(node, "streaming"))
                ctl_cell(&row[7], CTL_PLAIN, "streams from %s",
                         ctl_has(node, "upstream") ? ctl_string(node, "upstream") : "somewhere");
        else if (is_holder(service, node))
                ctl_cell(&row[7], CTL_PLAIN, "%s",
                         ctl_bool(node, "writable") ? "writable" : "not writable");
}

static void put_node(struct ctl_table *t, const json_t *service, const json_t *node)
{
        const char *state = ctl_string(node, "state");
        struct ctl_cell *row = ctl_table_row(t);

        ctl_cell(&row[0], is_holder(service, node) ? CTL_BOLD : CTL_PLAIN, "%s",
                 ctl_string(node, "node"));
        if (!ctl_bool(node, "known")) {
                ctl_cell(&row[1], CTL_RED, "unknown");
                return;
        }
        if (is_silent(service, node))
                ctl_cell(&row[1], CTL_RED, "silent, was %s", state);
        else if (strcmp(state, "master") == 0 && !is_holder(service, node))
                ctl_cell(&row[1], CTL_YELLOW, "was master");
        else
                ctl_cell(&row[1], color_of_state(state), "%s", state);
        if (ctl_bool(service, "database"))
                put_database(row, service, node);
}

static void print_service_head(const struct ctl *c, const json_t *service)
{
        const json_t *order = json_object_get(service, "order"), *vip;
        char left[32];
        size_t i;

        printf("\nService ");
        ctl_print_colored(c, stdout, CTL_BOLD, "%s", ctl_string(service, "name"));
        if (ctl_has(service, "holder")) {
                printf(": master ");
                ctl_print_colored(c, stdout, CTL_GREEN, "%s", ctl_string(service, "holder"));
                printf(", lease %s %s, epoch %" PRId64, ctl_string(service, "lease"),
                       ctl_print_msec(ctl_number(service, "lease_left_ms"), left),
                       ctl_number(service, "epoch"));
        } else {
                printf(": ");
                ctl_print_colored(c, stdout, CTL_RED, "no master");
        }
        json_array_foreach(json_object_get(service, "vips"), i, vip)
                printf("%s%s", i == 0 ? ", address " : " ", json_string_value(vip));
        if (strcmp(ctl_string(service, "mode"), "manual") == 0)
                printf(", manual");
        if (ctl_bool(service, "paused"))
                ctl_print_colored(c, stdout, CTL_YELLOW, ", paused");
        if (json_is_object(order))
                ctl_print_colored(c, stdout, CTL_YELLOW, ", %s%s%s under way",
                                  ctl_string(order, "type"), ctl_has(order, "to") ? " to " : "",
                                  ctl_string(order, "to"));
        putchar('\n');
}

static void print_service(const struct ctl *c, const json_t *service)
{
        static const char *const headings[] = { "NODE",     "STATE", "DATABASE", "ROLE",
                                                "TIMELINE", "LSN",   "LAG",      "" };
        bool has_database = ctl_bool(service, "database");
        struct ctl_table t = { 0 };
        const json_t *node;
        size_t i;

        print_service_head(c, service);
        put_headings(&t, headings, has_database ? 8 : 2);
        json_array_foreach(json_object_get(service, "nodes"), i, node)
                put_node(&t, service, node);
        ctl_table_print(c, &t, 2, stdout);
        ctl_table_done(&t);
}

static void print_problems(const struct ctl *c, const json_t *problems)
{
        const json_t *p;
        size_t i;

        putchar('\n');
        if (json_array_size(problems) == 0) {
                ctl_print_colored(c, stdout, CTL_GREEN, "All is well.");
                putchar('\n');
                return;
        }
        json_array_foreach(problems, i, p) {
                ctl_print_colored(c, stdout, CTL_RED, "!");
                printf(" %s\n", json_string_value(p));
        }
}

static void print_status(const struct ctl *c, const json_t *status, const json_t *problems)
{
        const json_t *service;
        size_t i;

        printf("Cluster ");
        ctl_print_colored(c, stdout, CTL_BOLD, "%s", ctl_string(status, "cluster"));
        printf(", as %s sees it, term %" PRId64 "\n\n", ctl_string(status, "node"),
               ctl_number(json_object_get(status, "raft"), "term"));
        print_members(c, status);
        json_array_foreach(json_object_get(status, "services"), i, service)
                print_service(c, service);
        print_problems(c, problems);
}

static enum ctl_exit show(struct ctl *c, json_t *status)
{
        json_t *problems = find_problems(status);
        enum ctl_exit exit_status = json_array_size(problems) > 0 ? CTL_NO : CTL_YES;

        if (!has_quorum(status))
                exit_status = CTL_UNKNOWN;
        if (c->options.json) {
                (void)json_object_set(status, "problems", problems);
                ctl_print_json(status);
        } else {
                print_status(c, status, problems);
        }
        json_decref(problems);
        return exit_status;
}

enum ctl_exit ctl_status(struct ctl *c)
{
        struct ctl_answer a;
        enum ctl_exit exit_status;

        ctl_ask(c, &(struct ctl_question){ .path = "/v1/status", .timeout = c->options.timeout },
                &a);
        exit_status = a.status == 200 && a.body ? show(c, a.body) : ctl_complain(c, &a);
        ctl_answer_done(&a);
        return exit_status;
}
