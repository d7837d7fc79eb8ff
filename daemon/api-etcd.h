/* etcd's other paths: /version, /v2/stats and /v2/auth. Private to daemon/api*.c. */
#pragma once

#include "daemon/api-private.h"

/* Answers @r and returns true if its path is one of them. */
bool api_etcd(struct api *a, struct http_request *r);
