/* Questions to the members over HTTP, with libcurl. */
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/failoverctl/ctl.h"
#include "election/base/buffer.h"

#define CONNECT_TIMEOUT USEC_PER_SEC
#define ANSWER_TIMEOUT (5 * USEC_PER_SEC)

void ctl_answer_done(struct ctl_answer *a)
{
        json_decref(a->body);
        *a = (struct ctl_answer){ 0 };
}

static size_t on_body(char *bytes, size_t size, size_t n, void *userdata)
{
        struct buffer *b = userdata;

        if (b->n + size * n > CTL_ANSWER_MAX)
                return 0; /* ends the transfer */
        buffer_put(b, bytes, size * n);
        return size * n;
}

static long msec(usec_t length)
{
        return length < USEC_PER_MSEC ? 1 : (long)(length / USEC_PER_MSEC);
}

static void prepare(CURL *curl, const char *url, const struct ctl_question *q, struct buffer *body)
{
        static const char *const methods[] = {
                [CTL_GET] = "GET",
                [CTL_PUT] = "PUT",
                [CTL_POST] = "POST",
                [CTL_DELETE] = "DELETE",
        };
        usec_t timeout = q->timeout ? q->timeout : ANSWER_TIMEOUT;

        /* None of these fails but for want of memory, which the transfer then reports. */
        (void)curl_easy_setopt(curl, CURLOPT_URL, url);
        (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
        (void)curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* whatever the environment says */
        (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                               msec(timeout < CONNECT_TIMEOUT ? timeout : CONNECT_TIMEOUT));
        (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, msec(timeout));
        (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
        (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
        if (q->method == CTL_PUT || q->method == CTL_POST)
                (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, q->form ? q->form : "");
        (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, methods[q->method]);
}

void ctl_ask_one(struct ctl *c, size_t i, const struct ctl_question *q, struct ctl_answer *ret)
{
        const struct ctl_endpoint *e = &c->endpoints[i];
        CURL *curl = curl_easy_init();
        char url[CTL_URL_SIZE + ADDRESS_SIZE + 16];
        _cleanup_(buffer_done)
        struct buffer body = { 0 };
        CURLcode code = CURLE_OUT_OF_MEMORY;
        long status = 0;

        *ret = (struct ctl_answer){ .endpoint = i };
        (void)snprintf(url, sizeof(url), "http://%s%s", e->host_port, q->path);
        if (curl) {
                prepare(curl, url, q, &body);
                code = curl_easy_perform(curl);
                (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
                curl_easy_cleanup(curl);
        }
        if (code != CURLE_OK) {
                (void)snprintf(ret->problem, sizeof(ret->problem), "%s%s%s: %s", e->name,
                               e->name[0] ? " at " : "", e->host_port, curl_easy_strerror(code));
                return;
        }
        ret->status = (int)status;
        ret->body = json_loadb((char *)body.bytes, body.n, JSON_ALLOW_NUL, NULL);
}

void ctl_ask(struct ctl *c, const struct ctl_question *q, struct ctl_answer *ret)
{
        struct ctl_answer best = { 0 };

        for (size_t i = 0; i < c->n_endpoints; i++) {
                struct ctl_answer a;

                ctl_ask_one(c, i, q, &a);
                if (a.status != 0 && a.status != 503) {
                        ctl_answer_done(&best);
                        *ret = a;
                        return;
                }
                /* Somebody who says that it is not known is worth more than silence. */
                if (i == 0 || (best.status == 0 && a.status != 0)) {
                        ctl_answer_done(&best);
                        best = a;
                } else {
                        ctl_answer_done(&a);
                }
        }
        *ret = best;
}

void ctl_url_append(char *url, const char *s, bool path)
{
        static const char hex[] = "0123456789ABCDEF";
        size_t n = strlen(url);

        for (; *s && n + 4 < CTL_URL_SIZE; s++) {
                unsigned char ch = (unsigned char)*s;

                if ((ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z') ||
                    (ch >= 'a' && ch <= 'z') || strchr("-._~", ch) || (path && ch == '/')) {
                        url[n++] = *s;
                        continue;
                }
                url[n++] = '%';
                url[n++] = hex[ch >> 4];
                url[n++] = hex[ch & 15];
        }
        url[n] = '\0';
}

const char *ctl_string(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));

        return s ? s : "";
}

int64_t ctl_number(const json_t *o, const char *key)
{
        return json_integer_value(json_object_get(o, key));
}

bool ctl_bool(const json_t *o, const char *key)
{
        return json_is_true(json_object_get(o, key));
}

bool ctl_has(const json_t *o, const char *key)
{
        const json_t *value = json_object_get(o, key);

        return value && !json_is_null(value);
}

/* What was answered, or the same form of it where nobody did. */
static void print_problem_json(const struct ctl_answer *a)
{
        json_t *o = a->body ? json_incref(a->body) : json_pack("{s:s}", "error", a->problem);

        ctl_print_json(o);
        json_decref(o);
}

enum ctl_exit ctl_complain(struct ctl *c, const struct ctl_answer *a)
{
        const char *error = ctl_string(a->body, "error");

        if (c->options.json)
                print_problem_json(a);
        if (a->status == 0)
                fprintf(stderr, "failoverctl: nobody answers: %s\n", a->problem);
        else if (error[0])
                fprintf(stderr, "failoverctl: %s\n", error);
        else
                fprintf(stderr, "failoverctl: %s answers %d\n", c->endpoints[a->endpoint].host_port,
                        a->status);
        switch (a->status) {
        case 400:
        case 404:
                return CTL_USAGE;
        case 403:
        case 409:
                return CTL_REFUSED;
        default:
                return CTL_UNKNOWN;
        }
}
