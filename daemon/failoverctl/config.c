/* config: the files as the daemon reads them, also when no daemon runs. */
#include <string.h>

#include "daemon/failoverctl/ctl.h"

static json_t *complaint_json(const struct conf_complaint *c)
{
        return json_pack("{s:s, s:i, s:s}", "file", c->file, "line", (int)c->line, "text", c->text);
}

static void print_complaint(const struct ctl *c, const struct conf_complaint *complaint,
                            const char *kind, enum ctl_color color)
{
        if (complaint->line)
                fprintf(stderr, "%s:%u: ", complaint->file, complaint->line);
        else
                fprintf(stderr, "%s: ", complaint->file);
        ctl_print_colored(c, stderr, color, "%s", kind);
        fprintf(stderr, ": %s\n", complaint->text);
}

static void print_result_json(const struct conf *conf, const struct conf_complaint *error)
{
        json_t *warnings = json_array();
        json_t *o;

        for (size_t i = 0; conf && i < conf->n_warnings; i++)
                (void)json_array_append_new(warnings, complaint_json(&conf->warnings[i]));
        o = json_pack("{s:b, s:o, s:o}", "ok", conf != NULL, "error",
                      conf ? json_null() : complaint_json(error), "warnings", warnings);
        ctl_print_json(o);
        json_decref(o);
}

static void print_result(const struct ctl *c, const char *path, const struct conf *conf,
                         const struct conf_complaint *error)
{
        for (size_t i = 0; conf && i < conf->n_warnings; i++)
                print_complaint(c, &conf->warnings[i], "warning", CTL_YELLOW);
        if (!conf)
                print_complaint(c, error, "error", CTL_RED);
        else
                printf("%s is good: node %s of cluster %s, %zu members, %zu services\n", path,
                       conf->node.name, conf->cluster.name, conf->cluster.n_members,
                       conf->n_services);
}

static enum ctl_exit check(struct ctl *c, const char *path)
{
        struct conf_complaint error = { 0 };
        struct conf *conf = NULL;
        int r = conf_load(path, &conf, &error);

        if (c->options.json)
                print_result_json(r < 0 ? NULL : conf, &error);
        else
                print_result(c, path, r < 0 ? NULL : conf, &error);
        conf_free(conf);
        return r < 0 ? CTL_NO : CTL_YES;
}

static enum ctl_exit dump(struct ctl *c, const char *path)
{
        struct conf_complaint error = { 0 };
        struct conf *conf = NULL;
        int r = conf_load(path, &conf, &error);

        if (r < 0) {
                print_complaint(c, &error, "error", CTL_RED);
                return CTL_NO;
        }
        r = conf_dump(conf, stdout);
        conf_free(conf);
        if (r < 0 || fflush(stdout) != 0) {
                fputs("failoverctl: cannot write\n", stderr);
                return CTL_UNKNOWN;
        }
        return CTL_YES;
}

enum ctl_exit ctl_config(struct ctl *c)
{
        const char *what = c->options.arguments[0];
        const char *path = c->options.n_arguments > 1 ? c->options.arguments[1] : c->options.config;

        if (strcmp(what, "check") == 0)
                return check(c, path);
        if (strcmp(what, "dump") == 0)
                return dump(c, path);
        fprintf(stderr, "failoverctl: config check or config dump, not \"%s\"\n", what);
        return CTL_USAGE;
}
