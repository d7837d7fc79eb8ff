/* The changes of keys: what each operation of the etcd v2 API demands, does and answers. */
#pragma once

#include "election/store/state.h"

/*
 * Makes the change or refuses it; sets the error, its cause and the event of the result. Returns
 * the event, which the history owns, or NULL.
 */
struct event *key_change(struct store *s, const struct store_key_command *c, struct store_entry e,
                         struct store_result *ret);

/* Removes a key whose TTL ran out, if it was not granted anew since. Says whether. */
bool key_expire(struct store *s, const struct store_expiry *expiry, struct store_entry e);
