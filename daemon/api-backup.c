/*
 * /v1/backup: a snapshot of the store for whoever is on this machine, who copies its file. The bytes
 * do not come this way: there may be many, and they are a file already.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/api-private.h"

struct backup {
        struct api *api;
        struct http_request *request;
};

static void on_backed_up(void *userdata, const char *path, int r)
{
        struct backup *b = userdata;

        if (path)
                api_reply_json(b->request, HTTP_OK, json_pack("{s:s}", "file", path));
        else
                api_reply_error(b->request, HTTP_INTERNAL, "no snapshot could be taken: %s",
                                strerror(-r));
        free(b);
}

static void on_gone(struct http_request *r)
{
        struct backup *b = r->userdata;

        engine_backup_forget(b->api->engine, b);
        free(b);
}

void api_backup(struct api *a, struct http_request *r)
{
        struct backup *b = calloc(1, sizeof(*b));

        if (!b) {
                api_reply_json(r, HTTP_SERVUNAVAIL, NULL);
                return;
        }
        *b = (struct backup){ a, r };
        http_on_gone(r, on_gone, b, false);
        if (engine_backup(a->engine, on_backed_up, b) == 0)
                return;
        free(b);
        api_reply_error(r, HTTP_SERVUNAVAIL, "another backup is being made");
}
