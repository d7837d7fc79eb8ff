/*
 * Runs the real executor with an engine of the test's choice: executor-host CONFIG ENGINE [ARG]...
 * The engine is not what is guarded; it is replaced so that a test can say each word itself.
 */
#include <stdio.h>
#include <stdlib.h>

#include "conf/conf.h"
#include "daemon/executor.h"

int main(int argc, char **argv)
{
        struct conf_complaint complaint;
        struct conf *conf = NULL;
        int r;

        if (argc < 3) {
                fprintf(stderr, "usage: %s CONFIG ENGINE [ARGUMENT]...\n", argv[0]);
                return 2;
        }
        r = conf_load(argv[1], &conf, &complaint);
        if (r < 0) {
                fprintf(stderr, "%s:%u: %s\n", complaint.file, complaint.line, complaint.text);
                return 2;
        }
        r = executor_run(&(struct executor_config){
                .conf = conf,
                .engine_path = argv[2],
                .engine_argv = (const char *const *)&argv[2],
        });
        conf_free(conf);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
