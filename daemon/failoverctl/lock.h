/* What locks and elections have in common: a turn that is waited for, kept, and given back. */
#pragma once

#include <stdbool.h>

#include "daemon/failoverctl/ctl.h"

struct lock_kind {
        const char *folder; /* of names that do not begin with a slash */
        const char *variable; /* of the name, in the command's environment */
        bool shows_value; /* beside the key, when there is no command */
};

/* Runs the command of the command line during a turn of the name that stands there. */
enum ctl_exit lock_run(struct ctl *c, const struct lock_kind *kind, const char *value);
