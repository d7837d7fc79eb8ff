/* /v1/members/ID/token: what a machine needs to join as a member that was added. */
#include "daemon/api-private.h"
#include "daemon/joining.h"

void api_join_token(struct api *a, struct http_request *r, const struct member *m)
{
        struct joining j = { .cluster_id = engine_cluster_id(a->engine),
                             .node = m->id,
                             .members = *node_members(engine_node(a->engine)) };
        char token[JOINING_TOKEN_SIZE];

        if (m->incarnation != 0) {
                api_reply_error(r, 409,
                                "\"%s\" has joined already; if its data are lost, remove it and "
                                "add it again",
                                m->name);
                return;
        }
        joining_print(&j, token);
        api_reply_json(r, HTTP_OK, json_pack("{s:s, s:s}", "member", m->name, "token", token));
}
