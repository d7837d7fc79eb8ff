/* Whether a node answers 200 for a role, as a pure question about one view. Private to the API. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "daemon/api-form.h"
#include "election/node.h"

enum { HEALTH_REASON_SIZE = 256 };

/* What is known when a load balancer asks. */
struct health_question {
        const struct node_service_view *view; /* taken with the clock as it is now */
        const struct conf *conf;
        const struct conf_service *service;
        bool has_leader; /* of the cluster */
        bool is_current;
        bool has_lag; /* @lag bytes behind the master are known */
        uint64_t lag;
        /* Of the request. */
        bool limits_lag;
        uint64_t lag_max;
        bool wants_streaming;
};

/* Each returns true for 200, or false and why not. */
typedef bool health_answer(const struct health_question *q, char reason[static HEALTH_REASON_SIZE]);

health_answer health_is_primary;
health_answer health_is_replica;
health_answer health_is_read_only;
health_answer health_is_up;
health_answer health_is_alive;
health_answer health_is_ready;

/*
 * Reads ?lag= ("10MB", "16MiB", or bytes) and ?replication_state=. Returns false, and what is wrong
 * with them.
 */
bool health_parse(const struct form *f, struct health_question *q,
                  char reason[static HEALTH_REASON_SIZE]);

/* A size in bytes with PostgreSQL's or SI's unit: kB, MB, GB, TB, KiB, …; false if it is none. */
bool health_parse_size(const char *s, uint64_t *ret);
