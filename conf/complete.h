/* What the files left out: defaults of the table, and values that follow from others. Private. */
#pragma once

#include "conf/conf.h"
#include "conf/places.h"

/*
 * Fills @conf, in which node and cluster exist, up: afterwards each field has its value, members
 * have their ids, and members and services are sorted. Returns 0, or -EINVAL with a complaint.
 */
int conf_complete(struct conf *conf, const struct places *places,
                  struct conf_complaint *ret_complaint);

/* All members of the cluster that may hold a service may hold this one. */
void conf_let_all_hold(struct conf_service *s, const struct conf_cluster *cluster);
