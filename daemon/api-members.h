/* The members of the cluster as etcd's v2 API names them. Private to daemon/api*.c. */
#pragma once

#include "daemon/api-private.h"

enum {
        API_MEMBER_ID_SIZE = 24, /* bytes of a printed id, with the final NUL */
        API_URL_SIZE = ADDRESS_SIZE + 16, /* the same of a URL */
        API_MESSAGE_SIZE = 256, /* the same of a message */
};

struct api_member {
        uint64_t etcd_id;
        struct member member;
        bool has_started; /* else its name and its client URL are not known to etcd's clients */
};

/* All members, ordered by the ids that etcd's clients see. Returns how many. */
size_t api_members(const struct api *a, struct api_member ret[static MEMBERS_MAX]);

/* The 64-bit id by which etcd's clients know a member: the same on all members, and for good. */
uint64_t api_member_etcd_id(uint64_t cluster_id, node_id id, const char *name);
void api_member_id_print(uint64_t etcd_id, char ret[static API_MEMBER_ID_SIZE]);

/* /v2/machines */
void api_machines(struct api *a, struct http_request *r);
/* Below /v2/members, without it. */
void api_members_route(struct api *a, struct http_request *r, const char *path);
/* Below /v1/members, without it: ID/promote. */
void api_members_v1(struct api *a, struct http_request *r, const char *path);

/* The member list has changed: those who are gone are remembered, as far as there is room. */
void api_members_changed(struct api *a);
