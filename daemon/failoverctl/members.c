/* member: who belongs to the cluster, by etcd's /v2/members and, for a promotion, our own path. */
#include <inttypes.h>
#include <string.h>

#include "daemon/failoverctl/ctl.h"

static enum ctl_exit complain_about(const char *what)
{
        fprintf(stderr, "failoverctl: usage: failoverctl member %s\n", what);
        return CTL_USAGE;
}

static void ask_members(struct ctl *c, const char *path, struct ctl_answer *ret)
{
        ctl_ask(c, &(struct ctl_question){ .path = path, .timeout = c->options.timeout }, ret);
}

static void print_urls(const char *label, const json_t *urls)
{
        const json_t *url;
        size_t i;

        fputs(label, stdout);
        json_array_foreach(urls, i, url)
                printf("%s%s", i > 0 ? "," : "", json_string_value(url));
}

/* One line for each member, as etcdctl has it. */
static void print_members(const json_t *body, const char *leader)
{
        const json_t *m;
        size_t i;

        json_array_foreach(json_object_get(body, "members"), i, m) {
                const char *id = ctl_string(m, "id");
                bool started = ctl_string(m, "name")[0];

                printf("%s%s:", id, started ? "" : "[unstarted]");
                if (started)
                        printf(" name=%s", ctl_string(m, "name"));
                print_urls(" peerURLs=", json_object_get(m, "peerURLs"));
                if (started) {
                        print_urls(" clientURLs=", json_object_get(m, "clientURLs"));
                        printf(" isLeader=%s", strcmp(id, leader) == 0 ? "true" : "false");
                }
                putchar('\n');
        }
}

static enum ctl_exit list(struct ctl *c)
{
        enum ctl_exit exit_status = CTL_YES;
        struct ctl_answer all, leader;

        if (c->options.n_arguments != 1)
                return complain_about("list");
        ask_members(c, "/v2/members", &all);
        if (all.status != 200 || !all.body) {
                exit_status = ctl_complain(c, &all);
                ctl_answer_done(&all);
                return exit_status;
        }
        ask_members(c, "/v2/members/leader", &leader);
        if (c->options.json) {
                (void)json_object_set_new(all.body, "leader",
                                          leader.status == 200
                                                  ? json_string(ctl_string(leader.body, "id"))
                                                  : json_null());
                ctl_print_json(all.body);
        } else {
                print_members(all.body, leader.status == 200 ? ctl_string(leader.body, "id") : "");
        }
        ctl_answer_done(&leader);
        ctl_answer_done(&all);
        return exit_status;
}

/* The id of the member that is called @what, or has that id; "" after a complaint. */
static enum ctl_exit find(struct ctl *c, const char *what, char ret[static NAME_SIZE])
{
        enum ctl_exit exit_status = CTL_YES;
        struct ctl_answer a;
        const json_t *m;
        size_t i;

        ret[0] = '\0';
        ask_members(c, "/v1/members", &a);
        if (a.status != 200 || !a.body)
                exit_status = ctl_complain(c, &a);
        json_array_foreach(json_object_get(a.body, "members"), i, m) {
                if (strcmp(ctl_string(m, "name"), what) == 0 ||
                    (!ret[0] && strcmp(ctl_string(m, "id"), what) == 0))
                        (void)snprintf(ret, NAME_SIZE, "%s", ctl_string(m, "id"));
        }
        if (exit_status == CTL_YES && !ret[0]) {
                fprintf(stderr, "failoverctl: there is no member %s\n", what);
                exit_status = CTL_NO;
        }
        ctl_answer_done(&a);
        return exit_status;
}

/*
 * Sends a change of the members: once, because a second one could find the first one done. @done
 * is said when it is.
 */
static enum ctl_exit change(struct ctl *c, const struct ctl_question *q, const char *done,
                            const char *who)
{
        enum ctl_exit exit_status = CTL_YES;
        struct ctl_answer a;

        ctl_ask(c, q, &a);
        if (a.status / 100 != 2) {
                exit_status = ctl_complain(c, &a);
        } else if (c->options.json) {
                json_t *o = a.body ? json_incref(a.body) : json_pack("{s:s}", "id", who);

                ctl_print_json(o);
                json_decref(o);
        } else if (ctl_has(a.body, "id")) {
                printf("%s %s with ID %s\n", done, who, ctl_string(a.body, "id"));
        } else {
                printf("%s %s\n", done, who);
        }
        ctl_answer_done(&a);
        return exit_status;
}

#define RAFT_PORT_DEFAULT 7001

/* "10.0.0.4", with or without a port, is as good as a URL. */
static const char *url_of(const char *where, char ret[static CTL_URL_SIZE])
{
        char address[ADDRESS_SIZE];
        struct endpoint e;

        if (endpoint_parse(where, RAFT_PORT_DEFAULT, &e) < 0)
                return where;
        endpoint_print(&e, address, sizeof(address));
        (void)snprintf(ret, CTL_URL_SIZE, "http://%s", address);
        return ret;
}

static enum ctl_exit send_urls(struct ctl *c, enum ctl_method method, const char *path,
                               const char *name, const char *role, const char *where,
                               const char *done)
{
        char printed[CTL_URL_SIZE];
        const char *url = url_of(where, printed);
        json_t *body = json_pack("{s:[s]}", "peerURLs", url);
        _cleanup_(freep)
        char *text = NULL;
        enum ctl_exit exit_status;

        if (name)
                (void)json_object_set_new(body, "name", json_string(name));
        if (role)
                (void)json_object_set_new(body, "role", json_string(role));
        text = json_dumps(body, JSON_COMPACT);
        json_decref(body);
        if (!text) {
                fprintf(stderr, "failoverctl: \"%s\" is no URL\n", url);
                return CTL_USAGE;
        }
        exit_status = change(c,
                             &(struct ctl_question){ .method = method,
                                                     .path = path,
                                                     .json = text,
                                                     .timeout = c->options.timeout },
                             done, name ? name : c->options.arguments[1]);
        return exit_status;
}

/* What the new machine is told, so that it finds the others. */
static enum ctl_exit show_token(struct ctl *c, const char *name)
{
        char path[CTL_URL_SIZE] = "/v1/members/", id[NAME_SIZE];
        enum ctl_exit exit_status;
        struct ctl_answer a;

        exit_status = find(c, name, id);
        if (exit_status != CTL_YES)
                return exit_status;
        ctl_url_append(path, id, false);
        ctl_url_append(path, "/token", true);
        ask_members(c, path, &a);
        if (a.status != 200)
                exit_status = ctl_complain(c, &a);
        else if (c->options.json)
                ctl_print_json(a.body);
        else
                printf("on that machine, with its configuration in place:\n"
                       "    failoverd --join %s\n"
                       "and then start the service\n",
                       ctl_string(a.body, "token"));
        ctl_answer_done(&a);
        return exit_status;
}

static enum ctl_exit token(struct ctl *c)
{
        if (c->options.n_arguments != 2)
                return complain_about("token NAME");
        return show_token(c, c->options.arguments[1]);
}

static enum ctl_exit add(struct ctl *c)
{
        const struct ctl_options *o = &c->options;
        enum ctl_exit exit_status;

        if (o->n_arguments < 3)
                return complain_about("add NAME ADDRESS [witness|observer]");
        exit_status = send_urls(c, CTL_POST, "/v2/members", o->arguments[1],
                                o->n_arguments > 3 ? o->arguments[3] : NULL, o->arguments[2],
                                "added member");
        return exit_status == CTL_YES && !o->json ? show_token(c, o->arguments[1]) : exit_status;
}

static enum ctl_exit update(struct ctl *c)
{
        char path[CTL_URL_SIZE] = "/v2/members/", id[NAME_SIZE];
        enum ctl_exit exit_status;

        if (c->options.n_arguments != 3)
                return complain_about("update ID ADDRESS");
        exit_status = find(c, c->options.arguments[1], id);
        if (exit_status != CTL_YES)
                return exit_status;
        ctl_url_append(path, id, false);
        return send_urls(c, CTL_PUT, path, NULL, NULL, c->options.arguments[2], "updated member");
}

static enum ctl_exit remove_member(struct ctl *c)
{
        char path[CTL_URL_SIZE] = "/v2/members/", id[NAME_SIZE];
        enum ctl_exit exit_status;

        if (c->options.n_arguments != 2)
                return complain_about("remove ID");
        exit_status = find(c, c->options.arguments[1], id);
        if (exit_status != CTL_YES)
                return exit_status;
        ctl_url_append(path, id, false);
        return change(c,
                      &(struct ctl_question){
                              .method = CTL_DELETE, .path = path, .timeout = c->options.timeout },
                      "removed member", c->options.arguments[1]);
}

static enum ctl_exit promote(struct ctl *c)
{
        char path[CTL_URL_SIZE] = "/v1/members/", id[NAME_SIZE];
        enum ctl_exit exit_status;

        if (c->options.n_arguments != 2)
                return complain_about("promote ID");
        exit_status = find(c, c->options.arguments[1], id);
        if (exit_status != CTL_YES)
                return exit_status;
        ctl_url_append(path, id, false);
        ctl_url_append(path, "/promote", true);
        return change(c,
                      &(struct ctl_question){
                              .method = CTL_POST, .path = path, .timeout = c->options.timeout },
                      "promoted member", c->options.arguments[1]);
}

enum ctl_exit ctl_member(struct ctl *c)
{
        static const struct {
                const char *verb;
                enum ctl_exit (*run)(struct ctl *c);
        } verbs[] = {
                { "list", list },       { "add", add },
                { "promote", promote }, { "remove", remove_member },
                { "update", update },   { "token", token },
        };

        for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
                if (strcmp(verbs[i].verb, c->options.arguments[0]) == 0)
                        return verbs[i].run(c);
        }
        return complain_about("list|add|token|promote|remove|update ...");
}
