/* Questions to the members over HTTP, with libcurl. */
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/failoverctl/ctl.h"

#define CONNECT_TIMEOUT USEC_PER_SEC
#define ANSWER_TIMEOUT (5 * USEC_PER_SEC)
/* The head of the answer to a wait comes at once from a member that lives. */
#define HEAD_TIMEOUT (2 * USEC_PER_SEC)
/* A wait is asked anew after that time: a member that hangs meanwhile is left. */
#define WAIT_MAX (30 * USEC_PER_SEC)

/* One question while it is under way. */
struct transfer {
        const struct ctl_question *question;
        usec_t began;
        usec_t timeout;
        struct buffer body;
        uint64_t index;
        bool has_head;
        bool is_woken;
};

void ctl_answer_done(struct ctl_answer *a)
{
        json_decref(a->body);
        *a = (struct ctl_answer){ 0 };
}

static size_t on_body(char *bytes, size_t size, size_t n, void *userdata)
{
        struct transfer *t = userdata;

        if (t->body.n + size * n > CTL_ANSWER_MAX)
                return 0; /* ends the transfer */
        buffer_put(&t->body, bytes, size * n);
        return size * n;
}

/* One line of the head; they end with CR LF, and the last is empty. */
static size_t on_head(char *bytes, size_t size, size_t n, void *userdata)
{
        static const char name[] = "X-Etcd-Index:";
        struct transfer *t = userdata;
        char line[64];

        if (size * n <= 2)
                t->has_head = true;
        if (size * n < sizeof(line) && size * n > sizeof(name)) {
                memcpy(line, bytes, size * n);
                line[size * n] = '\0';
                if (strncasecmp(line, name, sizeof(name) - 1) == 0)
                        t->index = strtoull(line + sizeof(name) - 1, NULL, 10);
        }
        return size * n;
}

static long msec(usec_t length)
{
        return (long)((length + USEC_PER_MSEC - 1) / USEC_PER_MSEC);
}

static void prepare_body(CURL *curl, const struct ctl_question *q, struct curl_slist **headers)
{
        const char *body = q->json ? q->json : q->form;

        if (q->method == CTL_PUT || q->method == CTL_POST || body) {
                (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body ? body : "");
                (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                                       (curl_off_t)(body ? strlen(body) : 0));
        }
        *headers = curl_slist_append(NULL,
                                     "Expect:"); /* a large value needs no second round trip */
        if (q->json)
                *headers = curl_slist_append(*headers, "Content-Type: application/json");
        (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, *headers);
}

static void prepare(CURL *curl, const char *url, struct transfer *t, struct curl_slist **headers)
{
        static const char *const methods[] = {
                [CTL_GET] = "GET",
                [CTL_PUT] = "PUT",
                [CTL_POST] = "POST",
                [CTL_DELETE] = "DELETE",
        };
        const struct ctl_question *q = t->question;

        /* None of these fails but for want of memory, which the transfer then reports. */
        (void)curl_easy_setopt(curl, CURLOPT_URL, url);
        (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
        (void)curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* whatever the environment says */
        (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                               msec(t->timeout < CONNECT_TIMEOUT ? t->timeout : CONNECT_TIMEOUT));
        (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, msec(t->timeout));
        (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
        (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
        (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_head);
        (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
        /*
         * libcurl sends a request again by itself when a kept connection turns out to be closed, and
         * cannot know whether the first one was carried out.
         */
        if (q->method != CTL_GET)
                (void)curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
        prepare_body(curl, q, headers);
        (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, methods[q->method]);
}

static size_t wakes_of(const struct ctl *c, struct curl_waitfd fds[static CTL_WAKES_MAX])
{
        for (size_t i = 0; i < c->n_wakes; i++)
                fds[i] = (struct curl_waitfd){ .fd = c->wakes[i], .events = CURL_WAIT_POLLIN };
        return c->n_wakes;
}

bool ctl_is_woken(const struct ctl *c)
{
        struct pollfd fds[CTL_WAKES_MAX];

        for (size_t i = 0; i < c->n_wakes; i++)
                fds[i] = (struct pollfd){ .fd = c->wakes[i], .events = POLLIN };
        return poll(fds, (nfds_t)c->n_wakes, 0) > 0;
}

static bool is_over(const struct ctl *c, struct transfer *t)
{
        t->is_woken = ctl_is_woken(c);
        return t->is_woken ||
               (t->question->is_wait && !t->has_head && ctl_now() - t->began > HEAD_TIMEOUT);
}

static CURLcode result_of(CURLM *multi, CURLcode otherwise)
{
        int left;

        for (CURLMsg *m; (m = curl_multi_info_read(multi, &left));) {
                if (m->msg == CURLMSG_DONE)
                        return m->data.result;
        }
        return otherwise;
}

/* Until the answer is there, its time is over, or somebody wakes us. */
static CURLcode perform(struct ctl *c, CURL *curl, struct transfer *t)
{
        struct curl_waitfd fds[CTL_WAKES_MAX];
        size_t n_fds = wakes_of(c, fds);
        CURLM *multi = c->transfers;
        int running = 1;
        CURLcode code;

        if (curl_multi_add_handle(multi, curl) != CURLM_OK)
                return CURLE_OUT_OF_MEMORY;
        while (curl_multi_perform(multi, &running) == CURLM_OK && running > 0 && !is_over(c, t)) {
                if (curl_multi_poll(multi, fds, (unsigned)n_fds, 1000, NULL) != CURLM_OK)
                        break;
        }
        code = result_of(multi, CURLE_OPERATION_TIMEDOUT);
        (void)curl_multi_remove_handle(multi, curl); /* fails only for one that is not there */
        return code;
}

static usec_t time_of(const struct ctl_question *q)
{
        usec_t usual = q->is_wait ? WAIT_MAX : ANSWER_TIMEOUT;

        return q->timeout && (q->timeout < usual || !q->is_wait) ? q->timeout : usual;
}

/* Nothing of the request has left this machine. */
static bool is_unsent(CURL *curl)
{
        long sent = 0;

        (void)curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &sent);
        return sent == 0;
}

static bool is_change(const struct ctl_question *q)
{
        return q->method != CTL_GET;
}

static void take_answer(CURL *curl, struct transfer *t, struct ctl_answer *ret)
{
        long status = 0;

        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        ret->status = (int)status;
        ret->index = t->index;
        ret->body = json_loadb((char *)t->body.bytes, t->body.n, JSON_ALLOW_NUL, NULL);
        /* A member that did not hear of a commit in time cannot say that there will be none. */
        ret->is_open = is_change(t->question) && (status == 500 || status == 503);
}

void ctl_ask_one(struct ctl *c, size_t i, const struct ctl_question *q, struct ctl_answer *ret)
{
        const struct ctl_endpoint *e = &c->endpoints[i];
        struct transfer t = { .question = q, .timeout = time_of(q), .began = ctl_now() };
        CURL *curl = curl_easy_init();
        struct curl_slist *headers = NULL;
        char url[CTL_URL_SIZE + ADDRESS_SIZE + 16];
        CURLcode code = CURLE_OUT_OF_MEMORY;

        if (!c->transfers)
                c->transfers = curl_multi_init();
        *ret = (struct ctl_answer){ .endpoint = i };
        (void)snprintf(url, sizeof(url), "http://%s%s", e->host_port, q->path);
        if (curl && c->transfers) {
                prepare(curl, url, &t, &headers);
                code = perform(c, curl, &t);
        }
        if (code == CURLE_OK) {
                take_answer(curl, &t, ret);
        } else {
                ret->is_woken = t.is_woken;
                ret->is_late = code == CURLE_OPERATION_TIMEDOUT;
                ret->is_open = is_change(q) && curl && !is_unsent(curl);
                ret->index = t.index; /* a wait that nothing ended tells where it began */
                (void)snprintf(ret->problem, sizeof(ret->problem), "%s%s%s: %s", e->name,
                               e->name[0] ? " at " : "", e->host_port, curl_easy_strerror(code));
        }
        curl_slist_free_all(headers);
        curl_easy_cleanup(curl);
        buffer_done(&t.body);
}

/* Whether the next member may be asked after @a. */
static bool may_go_on(const struct ctl_question *q, const struct ctl_answer *a)
{
        if (a->is_woken || (a->status != 0 && a->status != 500 && a->status != 503))
                return false;
        return !a->is_open || q->is_repeatable;
}

/* Somebody who says that it is not known is worth more than silence. */
static void keep_better(struct ctl_answer *best, struct ctl_answer *a, bool is_first)
{
        bool was_open = best->is_open;

        if (is_first || a->is_woken || (best->status == 0 && a->status != 0)) {
                ctl_answer_done(best);
                *best = *a;
        } else {
                ctl_answer_done(a);
        }
        best->is_open |= was_open;
}

void ctl_ask(struct ctl *c, const struct ctl_question *q, struct ctl_answer *ret)
{
        usec_t began = ctl_now();
        struct ctl_answer best = { 0 };

        for (size_t n = 0; n < c->n_endpoints; n++) {
                size_t i = (c->preferred + n) % c->n_endpoints;
                struct ctl_question one = *q;
                struct ctl_answer a;
                bool goes_on;

                if (q->timeout_each)
                        one.timeout = q->timeout_each;
                if (q->timeout) {
                        usec_t spent = ctl_now() - began;
                        usec_t left = spent < q->timeout ? q->timeout - spent : 0;

                        if (left == 0 && n > 0)
                                break;
                        if (!one.timeout || left < one.timeout)
                                one.timeout = left;
                }
                ctl_ask_one(c, i, &one, &a);
                goes_on = may_go_on(q, &a);
                if (!goes_on && a.status != 0 && !a.is_open)
                        c->preferred = i;
                keep_better(&best, &a, n == 0 || !goes_on);
                if (!goes_on)
                        break;
        }
        *ret = best;
}

void ctl_client_done(struct ctl *c)
{
        if (c->transfers)
                (void)curl_multi_cleanup(
                        c->transfers); /* has no transfers left that it could miss */
        c->transfers = NULL;
}

/* Three bytes at @ret at most; returns how many. */
static size_t escape(unsigned char ch, bool path, char ret[static 3])
{
        static const char hex[] = "0123456789ABCDEF";

        if ((ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') ||
            (ch && strchr("-._~", ch)) || (path && ch == '/')) {
                ret[0] = (char)ch;
                return 1;
        }
        ret[0] = '%';
        ret[1] = hex[ch >> 4];
        ret[2] = hex[ch & 15];
        return 3;
}

void ctl_url_append(char *url, const char *s, bool path)
{
        size_t n = strlen(url);

        for (; *s && n + 4 < CTL_URL_SIZE; s++)
                n += escape((unsigned char)*s, path, url + n);
        url[n] = '\0';
}

void ctl_form_put(struct buffer *form, const char *name, const void *value, size_t n)
{
        const unsigned char *bytes = value;
        char escaped[3];

        if (form->n > 0)
                form->bytes[form->n - 1] = '&'; /* in place of the final NUL */
        buffer_put(form, name, strlen(name));
        buffer_put(form, "=", 1);
        for (size_t i = 0; i < n; i++)
                buffer_put(form, escaped, escape(bytes[i], false, escaped));
        buffer_put(form, "", 1);
}

void ctl_form_put_string(struct buffer *form, const char *name, const char *value)
{
        ctl_form_put(form, name, value, strlen(value));
}

void ctl_form_put_number(struct buffer *form, const char *name, uint64_t value)
{
        char text[32];

        (void)snprintf(text, sizeof(text), "%" PRIu64, value);
        ctl_form_put_string(form, name, text);
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

/* The words of our own answers, and of etcd's other paths. */
static const char *words_of(const json_t *body)
{
        const char *error = ctl_string(body, "error");

        return error[0] ? error : ctl_string(body, "message");
}

enum ctl_exit ctl_complain(struct ctl *c, const struct ctl_answer *a)
{
        const char *error = words_of(a->body);

        if (c->options.json)
                print_problem_json(a);
        if (a->status == 0)
                fprintf(stderr, "failoverctl: nobody answers: %s\n", a->problem);
        else if (error[0])
                fprintf(stderr, "failoverctl: %s\n", error);
        else
                fprintf(stderr, "failoverctl: %s answers %d\n", c->endpoints[a->endpoint].host_port,
                        a->status);
        if (a->is_open)
                fputs("failoverctl: it may have been carried out all the same\n", stderr);
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
