/* The key store by hand: one question, one answer, printed as etcdctl prints it. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "daemon/failoverctl/ctl.h"

bool ctl_key_url(char url[static CTL_URL_SIZE], const char *key)
{
        if (strlen(key) > CTL_KEY_MAX) {
                fprintf(stderr, "failoverctl: a key has at most %d bytes\n", CTL_KEY_MAX);
                return false;
        }
        (void)strcpy(url, "/v2/keys");
        if (key[0] != '/')
                (void)strcat(url, "/");
        ctl_url_append(url, key, true);
        return true;
}

/* There is room for a few parameters behind the longest key; a value is checked before. */
static void add_parameter(char url[static CTL_URL_SIZE], const char *name, const char *value)
{
        (void)strncat(url, strchr(url, '?') ? "&" : "?", CTL_URL_SIZE - strlen(url) - 1);
        ctl_url_append(url, name, false);
        (void)strncat(url, "=", CTL_URL_SIZE - strlen(url) - 1);
        ctl_url_append(url, value, false);
}

static enum ctl_exit exit_of(const struct ctl_answer *a, int64_t code)
{
        if (a->status == 500 || a->status == 503 || code == CTL_ERROR_RAFT ||
            code == CTL_ERROR_ELECTION)
                return CTL_UNKNOWN;
        if (code >= CTL_ERROR_PARAMETER_FIRST && code <= CTL_ERROR_PARAMETER_LAST)
                return CTL_USAGE;
        return CTL_NO;
}

enum ctl_exit ctl_complain_key(struct ctl *c, const struct ctl_answer *a)
{
        int64_t code = ctl_number(a->body, "errorCode");

        if (!ctl_has(a->body, "errorCode"))
                return ctl_complain(c, a);
        if (c->options.json)
                ctl_print_json(a->body);
        fprintf(stderr, "failoverctl: %" PRId64 ": %s (%s) [%" PRId64 "]\n", code,
                ctl_string(a->body, "message"), ctl_string(a->body, "cause"),
                ctl_number(a->body, "index"));
        if (a->is_open)
                fputs("failoverctl: it may have been carried out all the same\n", stderr);
        return exit_of(a, code);
}

bool ctl_is_good(const struct ctl_answer *a)
{
        return (a->status == 200 || a->status == 201) && a->body;
}

/* A value may hold any bytes. */
static void print_text(const char *label, const json_t *node)
{
        const json_t *value = json_object_get(node, "value");

        fputs(label, stdout);
        (void)fwrite(json_string_value(value), 1, json_string_length(value), stdout);
        putchar('\n');
}

static bool is_removal(const json_t *body)
{
        const char *action = ctl_string(body, "action");

        return strcmp(action, "delete") == 0 || strcmp(action, "compareAndDelete") == 0 ||
               strcmp(action, "expire") == 0;
}

static void print_extended(const struct ctl_answer *a)
{
        const json_t *node = json_object_get(a->body, "node");
        const json_t *before = json_object_get(a->body, "prevNode");

        printf("Key: %s\nCreated-Index: %" PRId64 "\nModified-Index: %" PRId64 "\n",
               ctl_string(node, "key"), ctl_number(node, "createdIndex"),
               ctl_number(node, "modifiedIndex"));
        if (json_is_object(before))
                print_text("PrevNode.Value: ", before);
        printf("TTL: %" PRId64 "\nIndex: %" PRIu64 "\n", ctl_number(node, "ttl"), a->index);
        if (is_removal(a->body) || ctl_bool(node, "dir"))
                return;
        putchar('\n');
        print_text("", node);
}

void ctl_print_node(const struct ctl *c, const struct ctl_answer *a)
{
        if (c->options.json)
                ctl_print_json(a->body);
        else if (c->options.extended)
                print_extended(a);
        else if (is_removal(a->body))
                print_text("PrevNode.Value: ", json_object_get(a->body, "prevNode"));
        else
                print_text("", json_object_get(a->body, "node"));
}

static bool is_plain(const struct ctl *c)
{
        return !c->options.json && !c->options.extended;
}

/* What is said of a directory is said only to programs and to who wants to know all. */
static enum ctl_exit print_change(struct ctl *c, const struct ctl_answer *a)
{
        if (!is_plain(c) || !ctl_bool(json_object_get(a->body, "node"), "dir"))
                ctl_print_node(c, a);
        return CTL_YES;
}

static enum ctl_exit print_value(struct ctl *c, const struct ctl_answer *a)
{
        const json_t *node = json_object_get(a->body, "node");

        if (is_plain(c) && ctl_bool(node, "dir")) {
                fprintf(stderr, "failoverctl: %s is a directory\n", ctl_string(node, "key"));
                return CTL_NO;
        }
        ctl_print_node(c, a);
        return CTL_YES;
}

static void print_children(const struct ctl *c, const json_t *node)
{
        const json_t *child;
        size_t i;

        json_array_foreach(json_object_get(node, "nodes"), i, child) {
                printf("%s%s\n", ctl_string(child, "key"),
                       c->options.slash && ctl_bool(child, "dir") ? "/" : "");
                print_children(c, child);
        }
}

static enum ctl_exit print_list(struct ctl *c, const struct ctl_answer *a)
{
        const json_t *node = json_object_get(a->body, "node");

        if (!is_plain(c)) {
                ctl_print_node(c, a);
                return CTL_YES;
        }
        if (!ctl_bool(node, "dir"))
                printf("%s\n", ctl_string(node, "key"));
        print_children(c, node);
        return CTL_YES;
}

/* Asks, and prints the answer by @print. */
static enum ctl_exit run(struct ctl *c, struct ctl_question *q,
                         enum ctl_exit (*print)(struct ctl *c, const struct ctl_answer *a))
{
        enum ctl_exit exit_status;
        struct ctl_answer a;

        q->timeout = c->options.timeout;
        ctl_ask(c, q, &a);
        exit_status = ctl_is_good(&a) ? print(c, &a) : ctl_complain_key(c, &a);
        ctl_answer_done(&a);
        return exit_status;
}

/* Reading. */

static enum ctl_exit read_key(struct ctl *c, const char *key, bool recursive,
                              enum ctl_exit (*print)(struct ctl *c, const struct ctl_answer *a))
{
        char url[CTL_URL_SIZE];

        if (!ctl_key_url(url, key))
                return CTL_USAGE;
        add_parameter(url, "quorum", c->options.local ? "false" : "true");
        add_parameter(url, "recursive", recursive ? "true" : "false");
        add_parameter(url, "sorted", "true");
        return run(c, &(struct ctl_question){ .path = url }, print);
}

enum ctl_exit ctl_get(struct ctl *c)
{
        return read_key(c, c->options.arguments[0], false, print_value);
}

enum ctl_exit ctl_ls(struct ctl *c)
{
        return read_key(c, c->options.n_arguments > 0 ? c->options.arguments[0] : "/",
                        c->options.recursive, print_list);
}

/* Changing. */

/* Returns false after a complaint. */
static bool read_input(struct buffer *value)
{
        char part[16 * 1024];
        ssize_t n;

        while ((n = read(STDIN_FILENO, part, sizeof(part))) > 0) {
                if (value->n + (size_t)n > CTL_VALUE_MAX) {
                        fprintf(stderr, "failoverctl: a value has at most %d bytes\n",
                                CTL_VALUE_MAX);
                        return false;
                }
                buffer_put(value, part, (size_t)n);
        }
        if (n < 0 || value->n == 0) {
                fprintf(stderr, "failoverctl: %s\n",
                        n < 0 ? "cannot read standard input"
                              : "there is no value, neither as argument nor on standard input");
                return false;
        }
        return true;
}

/* The value of the command line, or of standard input; false after a complaint. */
static bool put_value(struct ctl *c, struct buffer *form)
{
        _cleanup_(buffer_done)
        struct buffer input = { 0 };

        if (c->options.n_arguments > 1) {
                const char *value = c->options.arguments[1];

                ctl_form_put_string(form, "value", value);
                return true;
        }
        if (!read_input(&input))
                return false;
        ctl_form_put(form, "value", input.bytes, input.n);
        return true;
}

static void put_ttl(struct ctl *c, struct buffer *form)
{
        if (c->options.ttl)
                ctl_form_put_number(form, "ttl", c->options.ttl / USEC_PER_SEC);
}

static enum ctl_exit write_key(struct ctl *c, enum ctl_method method, struct buffer *form)
{
        char url[CTL_URL_SIZE];

        if (!ctl_key_url(url, c->options.arguments[0]))
                return CTL_USAGE;
        put_ttl(c, form);
        return run(c,
                   &(struct ctl_question){
                           .method = method, .path = url, .form = (const char *)form->bytes },
                   print_change);
}

/* @prev_exist is NULL if it does not matter. */
static enum ctl_exit write_value(struct ctl *c, enum ctl_method method, const char *prev_exist)
{
        _cleanup_(buffer_done)
        struct buffer form = { 0 };

        if (!put_value(c, &form))
                return CTL_USAGE;
        if (prev_exist)
                ctl_form_put_string(&form, "prevExist", prev_exist);
        if (c->options.value_before)
                ctl_form_put_string(&form, "prevValue", c->options.value_before);
        if (c->options.index_before)
                ctl_form_put_number(&form, "prevIndex", c->options.index_before);
        return write_key(c, method, &form);
}

static enum ctl_exit write_directory(struct ctl *c, const char *prev_exist)
{
        _cleanup_(buffer_done)
        struct buffer form = { 0 };

        ctl_form_put_string(&form, "dir", "true");
        if (prev_exist)
                ctl_form_put_string(&form, "prevExist", prev_exist);
        return write_key(c, CTL_PUT, &form);
}

enum ctl_exit ctl_set(struct ctl *c)
{
        return write_value(c, CTL_PUT, NULL);
}

enum ctl_exit ctl_mk(struct ctl *c)
{
        return c->options.in_order ? write_value(c, CTL_POST, NULL)
                                   : write_value(c, CTL_PUT, "false");
}

enum ctl_exit ctl_update(struct ctl *c)
{
        return write_value(c, CTL_PUT, "true");
}

enum ctl_exit ctl_mkdir(struct ctl *c)
{
        return write_directory(c, "false");
}

enum ctl_exit ctl_setdir(struct ctl *c)
{
        return write_directory(c, NULL);
}

enum ctl_exit ctl_updatedir(struct ctl *c)
{
        return write_directory(c, "true");
}

static enum ctl_exit remove_key(struct ctl *c, bool dir)
{
        const char *before = c->options.value_before;
        char url[CTL_URL_SIZE], index[32];

        if (before && strlen(before) > CTL_KEY_MAX / 4) {
                fprintf(stderr, "failoverctl: --with-value has at most %d bytes\n",
                        CTL_KEY_MAX / 4);
                return CTL_USAGE;
        }
        if (!ctl_key_url(url, c->options.arguments[0]))
                return CTL_USAGE;
        add_parameter(url, "dir", dir ? "true" : "false");
        add_parameter(url, "recursive", c->options.recursive ? "true" : "false");
        if (before)
                add_parameter(url, "prevValue", before);
        (void)snprintf(index, sizeof(index), "%" PRIu64, c->options.index_before);
        if (c->options.index_before)
                add_parameter(url, "prevIndex", index);
        return run(c, &(struct ctl_question){ .method = CTL_DELETE, .path = url }, print_change);
}

enum ctl_exit ctl_rm(struct ctl *c)
{
        return remove_key(c, c->options.dir);
}

enum ctl_exit ctl_rmdir(struct ctl *c)
{
        return remove_key(c, true);
}
