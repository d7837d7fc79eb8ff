/*
 * The executor: the privileged half of failoverd. It starts the engine and the database agents,
 * carries out the steps that the engine asks for, and lets go of a service by itself when its
 * deadline comes and nobody has renewed it. It knows how, and until when; never whether.
 */
#pragma once

#include "conf/conf.h"

struct executor_config {
        const struct conf *conf;
        const char *engine_path; /* program of the engine */
        const char *const *engine_argv; /* its arguments with its name in front, NULL at the end */
};

/*
 * Runs until SIGTERM or SIGINT, which leave databases and addresses in place with the deadlines
 * that they have, and returns 0; or a negative errno, logged, if it cannot start or cannot go on.
 * Everything in @config stays the caller's. For a process with one thread.
 */
int executor_run(const struct executor_config *config);
