/* From the command line to a command: configuration, endpoints, colours. */
#include "daemon/failoverctl/ctl.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "election/base/endpoint.h"
#include "election/base/memory.h"

#define API_PORT_DEFAULT 4001

static void add_endpoint(struct ctl *c, const char *name, const struct endpoint *at)
{
        struct ctl_endpoint *e = &c->endpoints[c->n_endpoints++];

        (void)snprintf(e->name, sizeof(e->name), "%s", name);
        endpoint_print(at, e->host_port, sizeof(e->host_port));
}

/* "10.0.0.1:4001", or as etcdctl has it "http://10.0.0.1:4001". */
static bool take_one(struct ctl *c, char *text)
{
        static const char scheme[] = "http://";
        struct endpoint at;
        size_t n;

        if (strncmp(text, scheme, sizeof(scheme) - 1) == 0)
                text += sizeof(scheme) - 1;
        n = strlen(text);
        if (n > 0 && text[n - 1] == '/')
                text[n - 1] = '\0';
        if (c->n_endpoints == CTL_ENDPOINTS_MAX || endpoint_parse(text, API_PORT_DEFAULT, &at) < 0)
                return false;
        add_endpoint(c, "", &at);
        return true;
}

static enum ctl_exit take_endpoints(struct ctl *c)
{
        _cleanup_(freep)
        char *list = must_copy(c->options.endpoint, strlen(c->options.endpoint));
        char *rest = list;

        for (char *one; (one = strsep(&rest, ","));) {
                if (!take_one(c, one)) {
                        fprintf(stderr, "failoverctl: --endpoint is ADDRESS:PORT, not \"%s\"\n",
                                c->options.endpoint);
                        return CTL_USAGE;
                }
        }
        return CTL_YES;
}

/* This machine first, by loopback: there orders are accepted. */
static enum ctl_exit take_configuration(struct ctl *c)
{
        struct conf_complaint complaint;
        const struct conf_member *self;
        struct endpoint here;

        if (conf_load(c->options.config, &c->conf, &complaint) < 0) {
                fprintf(stderr, "failoverctl: %s:%u: %s\n", complaint.file, complaint.line,
                        complaint.text);
                return CTL_USAGE;
        }
        self = conf_member_by_id(c->conf, c->conf->self);
        (void)address_parse("127.0.0.1", &here.address); /* is one */
        here.port = self->api_port;
        add_endpoint(c, self->name, &here);
        for (size_t i = 0; i < c->conf->cluster.n_members; i++) {
                const struct conf_member *m = c->conf->cluster.members[i];
                const struct endpoint at = { m->address, m->api_port };

                if (m != self)
                        add_endpoint(c, m->name, &at);
        }
        return CTL_YES;
}

static bool wants_color(const struct ctl_options *o)
{
        const char *none = getenv("NO_COLOR");

        return !o->no_color && !o->json && !(none && none[0]) && isatty(STDOUT_FILENO);
}

static enum ctl_exit run(struct ctl *c, const struct ctl_command *command)
{
        enum ctl_exit exit_status = CTL_YES;

        c->color = wants_color(&c->options);
        if (command->needs_cluster)
                exit_status = c->options.endpoint ? take_endpoints(c) : take_configuration(c);
        if (exit_status == CTL_YES)
                exit_status = command->run(c);
        ctl_client_done(c);
        conf_free(c->conf);
        return exit_status;
}

enum ctl_exit ctl_main(int argc, char **argv)
{
        const struct ctl_command *command;
        struct ctl c = { 0 };
        enum ctl_exit exit_status;

        if (ctl_parse(argc, argv, &c.options, &command) < 0)
                return CTL_USAGE;
        if (c.options.help && command) {
                ctl_print_command_help(stdout, command);
                return CTL_YES;
        }
        if (!command) {
                ctl_print_help(c.options.help ? stdout : stderr);
                return c.options.help ? CTL_YES : CTL_USAGE;
        }
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
                fputs("failoverctl: cannot prepare libcurl\n", stderr);
                return CTL_UNKNOWN;
        }
        exit_status = run(&c, command);
        curl_global_cleanup();
        return exit_status;
}
