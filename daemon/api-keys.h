/* The parameters and the JSON of /v2/keys, apart from requests and engine. Private to the API. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/api-form.h"
#include "election/base/buffer.h"
#include "election/store/store.h"

#define KEYS_TTL_MAX_SEC UINT64_C(3153600000) /* a century; longer ones are cut to it */

enum {
        KEYS_CAUSE_SIZE = 96,
};

enum keys_method {
        KEYS_GET,
        KEYS_HEAD,
        KEYS_PUT,
        KEYS_POST,
        KEYS_DELETE,
};

/* How a directory is shown. */
struct keys_listing {
        bool recursive;
        bool sorted;
};

/* What a request asks for. Pointers of @command point into the form. */
struct keys_request {
        struct store_key_command command; /* of a write; its path is set by others */
        struct keys_listing listing;
        bool wait;
        bool stream;
        bool quorum;
        bool no_value; /* a successful write is answered without the node */
        uint64_t wait_index;
};

/* What etcd answers: 0 and the like are not sent. */
struct keys_error {
        unsigned code;
        const char *cause;
        size_t n_cause;
        uint64_t index;
};

/*
 * Reads the parameters in @form, in etcd's order of checks. Returns true and the request, or false
 * and the error, whose cause is written into @cause.
 */
bool keys_parse(enum keys_method method, const struct form *form, struct keys_request *ret,
                struct keys_error *ret_error, char cause[static KEYS_CAUSE_SIZE]);

/*
 * The key that the path @path behind /v2/keys names, with its parts "." and ".." resolved, into @ret
 * of @size bytes. Returns its length, or -EINVAL if it leads above the root or is beyond the limits.
 */
int keys_clean_path(const char *path, char *ret, size_t size);

/* Two clocks read at one moment: what was noted by the one is shown by the other. */
struct keys_clock {
        struct instant now;
        uint64_t wall; /* microseconds since 1970 */
};

/* Appends the answer to a read, with the line end. */
void keys_put_node(struct buffer *b, const struct store_node *node,
                   const struct keys_listing *listing, const struct keys_clock *clock);
/* Appends an event: the answer to a write or a watch. */
void keys_put_event(struct buffer *b, const struct store_event *e, bool no_value,
                    const struct keys_clock *clock);
void keys_put_error(struct buffer *b, const struct keys_error *e);

int keys_error_status(unsigned code);
/* 201 if the event made something new. */
int keys_event_status(const struct store_event *e);

/* A JSON string with the escapes of etcd; what is not UTF-8 becomes U+FFFD. */
void keys_put_string(struct buffer *b, const char *s, size_t n);
