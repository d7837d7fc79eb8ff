/*
 * Whether the server answers a new connection at all, as the first layer of the health check sees
 * it: a startup packet on the unix socket and the first message that comes back. A kept
 * connection is served by its own process and says nothing about the postmaster.
 */
#pragma once

#include <event2/event.h>

#include "actions/postgres/settings.h"
#include "election/base/cleanup.h"

enum probe_answer {
        PROBE_ACCEPTS, /* asks for authentication, or is out of slots: alive */
        PROBE_BUSY, /* alive, but starting, closing or recovering (SQLSTATE 57P03) */
        PROBE_REFUSED, /* nobody listens */
        PROBE_SILENT, /* no answer in time */
};

struct probe;

/* @s must outlive the probe. Returns 0 or -ENOMEM. */
int probe_new(struct event_base *base, const struct settings *s,
              void (*on_answer)(enum probe_answer answer, void *userdata), void *userdata,
              struct probe **ret);

void probe_free(struct probe *p);
DEFINE_CLEANUP(struct probe *, probe_free)

/* Asks, unless a question is under way. The callback comes later, within health_timeout. */
void probe_ask(struct probe *p);

/* Forgets a question under way. */
void probe_reset(struct probe *p);
