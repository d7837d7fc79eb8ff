/* failoverd: reads the configuration and becomes the executor, or with --engine the engine. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <syslog.h>

#include "conf/conf.h"
#include "daemon/engine.h"
#include "daemon/executor-privileges.h"
#include "daemon/executor.h"
#include "daemon/founding.h"
#include "daemon/journal.h"

#define CONFIG_DEFAULT "/etc/failoverd/failoverd.conf"
#define ENGINE_NAME "failoverd: engine"

struct arguments {
        const char *config;
        bool is_engine;
        const char *join; /* a token, or NULL */
        const char *restore; /* a backup, or NULL */
};

static void print_usage(FILE *file)
{
        fputs("usage: failoverd [-c FILE] [--join TOKEN | --restore BACKUP]\n"
              "\n"
              "Keeps this machine's part of a failover cluster, in the foreground.\n"
              "\n"
              "  -c, --config FILE  the configuration, instead of " CONFIG_DEFAULT "\n"
              "      --join TOKEN   make the data directory of a new member, and end; the token is\n"
              "                     what \"failoverctl member add\" printed\n"
              "      --restore BACKUP\n"
              "                     make the data directory of a restored cluster, and end; the\n"
              "                     file is what \"failoverctl backup\" wrote\n"
              "      --engine       only for failoverd itself: be its unprivileged half\n"
              "  -h, --help         this text\n"
              "\n"
              "SIGTERM stops it and leaves databases and addresses in place until their deadlines:\n"
              "started again within the TTL it moves nothing.\n",
              file);
}

/* Fills @ret, or answers an exit status with -1 for "go on". */
static int parse_arguments(int argc, char **argv, struct arguments *ret)
{
        static const struct option options[] = {
                { "config", required_argument, NULL, 'c' },
                { "engine", no_argument, NULL, 'e' },
                { "join", required_argument, NULL, 'j' },
                { "restore", required_argument, NULL, 'r' },
                { "help", no_argument, NULL, 'h' },
                { 0 },
        };
        int option;

        *ret = (struct arguments){ .config = CONFIG_DEFAULT };
        while ((option = getopt_long(argc, argv, "c:h", options, NULL)) >= 0) {
                switch (option) {
                case 'c':
                        ret->config = optarg;
                        break;
                case 'e':
                        ret->is_engine = true;
                        break;
                case 'j':
                        ret->join = optarg;
                        break;
                case 'r':
                        ret->restore = optarg;
                        break;
                case 'h':
                        print_usage(stdout);
                        return EXIT_SUCCESS;
                default:
                        print_usage(stderr);
                        return EX_USAGE;
                }
        }
        if (optind < argc) {
                print_usage(stderr);
                return EX_USAGE;
        }
        return -1;
}

static int syslog_priority(enum conf_log_level level)
{
        switch (level) {
        case CONF_LOG_ERROR:
                return LOG_ERR;
        case CONF_LOG_WARNING:
                return LOG_WARNING;
        case CONF_LOG_NOTICE:
                return LOG_NOTICE;
        case CONF_LOG_INFO:
                return LOG_INFO;
        case CONF_LOG_DEBUG:
                return LOG_DEBUG;
        }
        return LOG_INFO;
}

static void log_complaint(const struct conf_complaint *c, int priority)
{
        const struct log_fields fields = { .priority = priority };

        if (c->line)
                log_event(&fields, "%s:%u: %s", c->file, c->line, c->text);
        else
                log_event(&fields, "%s: %s", c->file, c->text);
}

static int run_engine(struct conf *conf)
{
        int r;

        /* Both are done before the start of this program as well; root gets all back by it. */
        r = privileges_drop_all();
        if (r < 0) {
                (void)log_error(r, "cannot give up privileges");
                return EXIT_FAILURE;
        }
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) {
                (void)log_error(-errno, "cannot tie the engine to the executor");
                return EXIT_FAILURE;
        }
        return engine_main(conf);
}

/* The same program even if another one has been installed under its name meanwhile. */
static int run_executor(const struct conf *conf, const char *config)
{
        const char *const argv[] = { ENGINE_NAME, "--engine", "--config", config, NULL };

        return executor_run(&(struct executor_config){
                       .conf = conf,
                       .engine_path = "/proc/self/exe",
                       .engine_argv = argv,
               }) < 0
                       ? EXIT_FAILURE
                       : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
        _cleanup_(conf_freep)
        struct conf *conf = NULL;
        struct conf_complaint complaint;
        _cleanup_(freep)
        char *path = NULL;
        struct arguments arguments;
        int status;

        status = parse_arguments(argc, argv, &arguments);
        if (status >= 0)
                return status;
        path = realpath(arguments.config, NULL); /* the engine starts in another directory */
        if (!path) {
                (void)log_error(-errno, "cannot open %s", arguments.config);
                return EX_NOINPUT;
        }
        if (conf_load(path, &conf, &complaint) < 0) {
                log_complaint(&complaint, LOG_ERR);
                return EX_CONFIG;
        }
        log_level_set(syslog_priority(conf->node.log_level));
        if (arguments.is_engine)
                return run_engine(conf);
        if (arguments.join)
                return founding_join(conf, arguments.join);
        if (arguments.restore)
                return founding_restore(conf, arguments.restore);
        for (size_t i = 0; i < conf->n_warnings; i++)
                log_complaint(&conf->warnings[i], LOG_WARNING);
        return run_executor(conf, path);
}
