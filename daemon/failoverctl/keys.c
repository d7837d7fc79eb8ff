/* get, set, rm and ls: the key store, simply. */
#include <string.h>

#include "daemon/failoverctl/ctl.h"

enum { VALUE_MAX = 4096 }; /* bytes of a key or value; three times as long when it is escaped */

/* Returns false after a complaint. */
static bool key_url(char url[static CTL_URL_SIZE], const char *key)
{
        if (strlen(key) > VALUE_MAX) {
                fprintf(stderr, "failoverctl: a key has at most %d bytes\n", VALUE_MAX);
                return false;
        }
        (void)strcpy(url, "/v2/keys");
        if (key[0] != '/')
                (void)strcat(url, "/");
        ctl_url_append(url, key, true);
        return true;
}

/* What the store says, with its number: 100 is "no such key". */
static enum ctl_exit complain(struct ctl *c, const struct ctl_answer *a)
{
        if (!ctl_has(a->body, "errorCode"))
                return ctl_complain(c, a);
        if (c->options.json)
                ctl_print_json(a->body);
        fprintf(stderr, "failoverctl: %s (%s)\n", ctl_string(a->body, "message"),
                ctl_string(a->body, "cause"));
        return a->status == 503 ? CTL_UNKNOWN : CTL_NO;
}

static bool is_good(const struct ctl_answer *a)
{
        return (a->status == 200 || a->status == 201) && a->body;
}

/* Asks, and prints the answer for programs; @print prints it for people. */
static enum ctl_exit run(struct ctl *c, const struct ctl_question *q,
                         enum ctl_exit (*print)(const json_t *node))
{
        enum ctl_exit exit_status = CTL_YES;
        struct ctl_answer a;

        ctl_ask(c, q, &a);
        if (!is_good(&a))
                exit_status = complain(c, &a);
        else if (c->options.json)
                ctl_print_json(a.body);
        else if (print)
                exit_status = print(json_object_get(a.body, "node"));
        ctl_answer_done(&a);
        return exit_status;
}

static enum ctl_exit print_value(const json_t *node)
{
        const json_t *value = json_object_get(node, "value");

        if (ctl_bool(node, "dir")) {
                fprintf(stderr, "failoverctl: %s is a directory\n", ctl_string(node, "key"));
                return CTL_NO;
        }
        (void)fwrite(json_string_value(value), 1, json_string_length(value), stdout);
        putchar('\n');
        return CTL_YES;
}

static void print_children(const json_t *node)
{
        const json_t *child;
        size_t i;

        json_array_foreach(json_object_get(node, "nodes"), i, child) {
                printf("%s%s\n", ctl_string(child, "key"), ctl_bool(child, "dir") ? "/" : "");
                print_children(child);
        }
}

static enum ctl_exit print_list(const json_t *node)
{
        if (!ctl_bool(node, "dir"))
                printf("%s\n", ctl_string(node, "key"));
        print_children(node);
        return CTL_YES;
}

enum ctl_exit ctl_get(struct ctl *c)
{
        char url[CTL_URL_SIZE];

        if (!key_url(url, c->options.arguments[0]))
                return CTL_USAGE;
        (void)strncat(url, "?quorum=true", sizeof(url) - strlen(url) - 1);
        return run(c, &(struct ctl_question){ .path = url, .timeout = c->options.timeout },
                   print_value);
}

enum ctl_exit ctl_set(struct ctl *c)
{
        const char *value = c->options.arguments[1];
        char url[CTL_URL_SIZE], form[CTL_URL_SIZE] = "value=";

        if (strlen(value) > VALUE_MAX || (c->options.ttl && strlen(c->options.ttl) > NAME_SIZE)) {
                fprintf(stderr, "failoverctl: a value given here has at most %d bytes\n",
                        VALUE_MAX);
                return CTL_USAGE;
        }
        ctl_url_append(form, value, false);
        if (c->options.ttl) {
                (void)strcat(form, "&ttl="); /* there is room: see VALUE_MAX */
                ctl_url_append(form, c->options.ttl, false);
        }
        if (!key_url(url, c->options.arguments[0]))
                return CTL_USAGE;
        return run(c,
                   &(struct ctl_question){ .method = CTL_PUT,
                                           .path = url,
                                           .form = form,
                                           .timeout = c->options.timeout },
                   NULL);
}

enum ctl_exit ctl_rm(struct ctl *c)
{
        char url[CTL_URL_SIZE];

        if (!key_url(url, c->options.arguments[0]))
                return CTL_USAGE;
        (void)strncat(url, c->options.recursive ? "?recursive=true" : "?dir=true",
                      sizeof(url) - strlen(url) - 1);
        return run(c,
                   &(struct ctl_question){
                           .method = CTL_DELETE, .path = url, .timeout = c->options.timeout },
                   NULL);
}

enum ctl_exit ctl_ls(struct ctl *c)
{
        char url[CTL_URL_SIZE];

        if (!key_url(url, c->options.n_arguments > 0 ? c->options.arguments[0] : "/"))
                return CTL_USAGE;
        (void)strncat(url,
                      c->options.recursive ? "?quorum=true&sorted=true&recursive=true"
                                           : "?quorum=true&sorted=true",
                      sizeof(url) - strlen(url) - 1);
        return run(c, &(struct ctl_question){ .path = url, .timeout = c->options.timeout },
                   print_list);
}
