/* The HTTP interface of the engine: routes, health endpoints, keys, services. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "election/base/cleanup.h"

struct api;
struct engine;
struct node_note;

/* Listens at the node's address and at loopback, on the API port. Returns 0 or a negative errno. */
int api_new(struct engine *e, struct api **ret);
void api_free(struct api *a);
DEFINE_CLEANUP(struct api *, api_free)

/* These watchers of the store have something to take. */
void api_woken(struct api *a, const uint64_t *watchers, size_t n);
/* For those who wait for the end of what they ordered; @a may be NULL. */
void api_noted(struct api *a, const struct node_note *note);
