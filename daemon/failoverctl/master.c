/* who-is-master: one line for scripts. */
#include <string.h>

#include "daemon/failoverctl/ctl.h"

static enum ctl_exit print_master(struct ctl *c, const struct ctl_answer *a)
{
        bool exists = ctl_has(a->body, "master");

        if (c->options.json)
                ctl_print_json(a->body);
        else if (exists)
                printf("%s %s\n", ctl_string(a->body, "master"), ctl_string(a->body, "address"));
        else
                fprintf(stderr, "failoverctl: service %s has no master\n",
                        ctl_string(a->body, "service"));
        return exists ? CTL_YES : CTL_NO;
}

enum ctl_exit ctl_who_is_master(struct ctl *c)
{
        char url[CTL_URL_SIZE] = "/v1/who-is-master";
        struct ctl_answer a;
        enum ctl_exit exit_status;

        if (c->options.n_arguments > 0) {
                (void)strcat(url, "?service=");
                ctl_url_append(url, c->options.arguments[0], false);
        }
        ctl_ask(c,
                &(struct ctl_question){
                        .method = CTL_GET, .path = url, .timeout = c->options.timeout },
                &a);
        exit_status = a.status == 200 && a.body ? print_master(c, &a) : ctl_complain(c, &a);
        ctl_answer_done(&a);
        return exit_status;
}
