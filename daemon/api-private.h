/* What the files of the API share. Private to daemon/api*.c. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/api-form.h"
#include "daemon/engine.h"
#include "daemon/http.h"

struct watching;

enum {
        API_BODY_KEEP_MAX = 256 * 1024, /* bytes of the buffer for bodies that are worth keeping */
        API_REMOVED_MAX = 32, /* members that are remembered after they were removed */
};

/* What this member has answered; for /v2/stats. */
struct api_stats {
        uint64_t gets[2]; /* failed, succeeded */
        uint64_t started; /* microseconds since 1970 */
        uint64_t leader_since; /* the same; of the leader as it is now */
};

/* How the last bootstrap or clone on this node ended; kept for whoever ordered it. */
struct api_step {
        uint64_t n_ended; /* of this process, so that two with the same end differ */
        enum failover_step step;
        bool ok;
        usec_t took;
        char text[FAILOVER_REASON_SIZE];
};

/* Members as they were last seen, and those who were removed since this process began. */
struct api_past_members {
        uint64_t listed[MEMBERS_MAX]; /* their ids, as etcd's clients see them */
        size_t n_listed;
        uint64_t removed[API_REMOVED_MAX]; /* a ring */
        size_t n_removed;
};

struct api {
        struct engine *engine;
        const struct conf *conf;
        struct http *http;
        struct watching *watching; /* clients that wait for a change of a key */
        struct buffer body; /* in which each body of /v2/keys is made */
        node_id leader; /* the last one that was noted */
        struct api_stats stats;
        struct api_past_members past;
        struct api_step steps[SERVICES_MAX];
};

/* A service as a request names it. */
struct api_target {
        size_t service; /* its number, the same as in the configuration */
        const struct conf_service *conf;
};

/* A request that waits for the core's answer. It ends with the answer, or when its client goes. */
struct call {
        struct api *api;
        struct http_request *request;
        void (*answered)(struct call *c, const struct node_effect *answer);
        void (*done)(void *data); /* releases @data; may be NULL */
        void *data;
        struct api_target target;
        bool no_value; /* see struct keys_request */
        uint64_t number; /* of the engine; 0 until it is known */
        bool is_starting; /* within the call of the engine */
        bool is_over;
};

/*
 * Makes @r wait for the core; what is asked is begun by call_started() with the number that the
 * engine gave. NULL without memory: @r has been answered then, and @data released.
 */
struct call *call_new(struct api *a, struct http_request *r,
                      void (*answered)(struct call *c, const struct node_effect *answer),
                      void *data, void (*done)(void *data));
/* The engine_answer of all calls; its userdata is the call. */
void call_answered(void *call, const struct node_effect *answer);
/* Returns false if there was no place: the caller answers and ends it by call_end(). */
bool call_started(struct call *c, uint64_t number);
void call_end(struct call *c);

/* Takes @body, which may be NULL without memory. */
void api_reply_json(struct http_request *r, int status, json_t *body);
/* {"error": …} */
void api_reply_error(struct http_request *r, int status, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
void api_reply_text(struct http_request *r, int status, const char *text);
/* 405 with the methods that are allowed, as "GET,HEAD". */
void api_reply_not_allowed(struct http_request *r, const char *allowed);
/* The answer of the core was not "ok". */
void api_reply_outcome(struct http_request *r, const struct node_effect *answer);

void api_put_cluster_id(const struct api *a, struct http_request *r);

/*
 * Whoever may order is on this machine. There are no passwords; a web page in a browser of this
 * machine, which could be made to ask the same, is turned away by the header that browsers add.
 */
bool api_may_order(const struct http_request *r);

void api_join_token(struct api *a, struct http_request *r, const struct member *m);
void api_backup(struct api *a, struct http_request *r);
#define API_ORDERS_ARE_LOCAL                                                                       \
        "orders are taken only from this machine itself: use failoverctl on a member of the "      \
        "cluster"

/* The service of that name; the only one, or the first by name, if @name is NULL. */
bool api_find_service(const struct api *a, const char *name, struct api_target *ret);
const char *api_member_name(const struct api *a, node_id id); /* NULL for nobody */
/* A string, or null if it is NULL. */
json_t *api_json_string(const char *s);
json_t *api_json_u64(uint64_t n);
json_t *api_json_msec(usec_t length);
/* As PostgreSQL writes a position, "1/2A000060"; null if it is unknown. */
json_t *api_json_lsn(const struct failover_position *p);
/* The address of a member as a string. */
json_t *api_json_address(const struct address *a);

/* How far @node is behind the last known master in bytes; false if it cannot be said. */
bool api_lag(const struct node_service_view *v, node_id node, uint64_t *ret);

/* Below /v2/keys. @path is what follows, "" or beginning with a slash. */
void api_keys(struct api *a, struct http_request *r, const char *path);
void api_keys_woken(struct api *a, const uint64_t *watchers, size_t n);

/* What a check of health may ask, by the last part of its path; NULL if there is none. */
struct health_check;
const struct health_check *health_check_by_name(const char *name);
void api_health(struct api *a, struct http_request *r, const struct health_check *check,
                const struct api_target *t); /* @t is NULL if no service is configured */

/* Below /v1, without it. */
void api_v1(struct api *a, struct http_request *r, const char *path);

void api_status(struct api *a, struct http_request *r);
void api_cluster(struct api *a, struct http_request *r, const struct api_target *t);
void api_history(struct api *a, struct http_request *r, const struct api_target *t);
json_t *api_why_not(struct api *a, const struct api_target *t);
