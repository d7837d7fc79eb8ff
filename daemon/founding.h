/*
 * Data directories that do not begin as that of a new cluster: of a member that joins one, and of the
 * first member of a cluster that is restored from a backup. Both run by hand, before the service.
 */
#pragma once

#include "conf/conf.h"

/* Each says on stdout what it has done, or in the journal why not, and returns an exit status. */
int founding_join(const struct conf *conf, const char *token);
int founding_restore(const struct conf *conf, const char *backup);
