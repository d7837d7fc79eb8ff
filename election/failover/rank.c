/* Who should be the next master, and why the others should not: one comparison, reasons kept. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "election/failover/failover-internal.h"

/* A report older than this many intervals says nothing about now. */
enum { REPORTS_MISSED_MAX = 4 };

__attribute__((format(printf, 2, 3))) static bool reject(struct failover_verdict *v,
                                                         const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(v->reason, sizeof(v->reason), format, ap);
        va_end(ap);
        return false;
}

bool rank_is_fresh(const struct failover_config *c, const struct failover_view *v, node_id node)
{
        const struct failover_report *r = &v->reports[node];
        usec_t age_max = c->report_interval * REPORTS_MISSED_MAX;

        if (node == c->self)
                return true;
        return r->known && !instant_reached(instant_after(r->heard, age_max), v->now);
}

/* The data of @node against the last master's: one system, a timeline not behind, a bounded loss. */
static bool data_fit(const struct failover_config *c, const struct failover_view *v,
                     const struct failover_report *r, struct failover_verdict *ret)
{
        const struct failover_position *last = &v->recorded;
        bool forced = order_is_current(v, FAILOVER_ORDER_FAILOVER) && v->order.target == ret->node;
        uint64_t loss;

        if (!v->has_recorded || last->system_id == 0)
                return true;
        if (r->position.system_id != last->system_id)
                return reject(ret,
                              "another database: system %" PRIu64 ", the service's is %" PRIu64,
                              r->position.system_id, last->system_id);
        if (r->position.timeline > last->timeline)
                return true;
        if (r->position.timeline < last->timeline)
                return forced ||
                       reject(ret, "timeline %" PRIu64 " is older than the last master's, %" PRIu64,
                              r->position.timeline, last->timeline);
        loss = last->lsn > r->position.lsn ? last->lsn - r->position.lsn : 0;
        if (loss > c->max_loss && !forced)
                return reject(ret, "%" PRIu64 " bytes behind the last master, max_loss is %" PRIu64,
                              loss, c->max_loss);
        return true;
}

static bool database_fit(const struct failover_report *r, struct failover_verdict *ret)
{
        if (r->database != FAILOVER_DATABASE_RUNNING)
                return reject(ret, "its database is %s%s%s",
                              failover_database_state_name(r->database), r->reason[0] ? ": " : "",
                              r->reason);
        if (r->role != FAILOVER_ROLE_STANDBY)
                return reject(ret, "its database is a %s, not a standby",
                              failover_database_role_name(r->role));
        if (!r->healthy)
                return reject(ret, "its database is not healthy%s%s", r->reason[0] ? ": " : "",
                              r->reason);
        return true;
}

static bool fit(const struct failover_config *c, const struct failover_view *v,
                struct failover_verdict *ret)
{
        const struct failover_report *r = &v->reports[ret->node];

        if (!r->known && ret->node != c->self)
                return reject(ret, "never heard of");
        if (!rank_is_fresh(c, v, ret->node))
                return reject(ret, "silent for %" PRIu64 " ms",
                              (v->now.usec - r->heard.usec) / USEC_PER_MSEC);
        if (r->state == FAILOVER_FENCED)
                return reject(ret, "fenced: it could not prove that it has let go");
        if (!c->has_database)
                return true;
        return database_fit(r, ret) && data_fit(c, v, r, ret);
}

/* Whether @a goes before @b among the eligible: the data first, then what people prefer. */
static bool goes_before(const struct failover_view *v, const struct failover_verdict *a,
                        const struct failover_verdict *b)
{
        const struct failover_report *ra = &v->reports[a->node], *rb = &v->reports[b->node];

        if (a->eligible != b->eligible)
                return a->eligible;
        if (order_is_current(v, FAILOVER_ORDER_FAILOVER) &&
            (a->node == v->order.target) != (b->node == v->order.target))
                return a->node == v->order.target;
        if (ra->position.timeline != rb->position.timeline)
                return ra->position.timeline > rb->position.timeline;
        if (ra->position.lsn != rb->position.lsn)
                return ra->position.lsn > rb->position.lsn;
        if (ra->priority != rb->priority)
                return ra->priority > rb->priority;
        return a->node < b->node;
}

static void describe_place(const struct failover_view *v, const struct failover_verdict *best,
                           struct failover_verdict *ret)
{
        const struct failover_report *r = &v->reports[ret->node], *rb = &v->reports[best->node];

        if (ret == best)
                (void)reject(ret, "the best candidate");
        else if (r->position.timeline != rb->position.timeline)
                (void)reject(ret, "fit, but on an older timeline than the best");
        else if (r->position.lsn != rb->position.lsn)
                (void)reject(ret, "fit, but %" PRIu64 " bytes behind the best",
                             rb->position.lsn - r->position.lsn);
        else
                (void)reject(ret, "fit, but the best is preferred by priority or name");
}

unsigned failover_rank(const struct failover_config *c, const struct failover_view *view,
                       struct failover_verdict *ret)
{
        unsigned n = 0;

        for (unsigned i = 0; i < c->n_members; i++) {
                struct failover_verdict verdict = { .node = c->members[i] };
                unsigned at = n;

                verdict.eligible = fit(c, view, &verdict);
                for (; at > 0 && goes_before(view, &verdict, &ret[at - 1]); at--)
                        ret[at] = ret[at - 1];
                ret[at] = verdict;
                n++;
        }
        for (unsigned i = 0; i < n && ret[i].eligible; i++) {
                ret[i].rank = i;
                describe_place(view, &ret[0], &ret[i]);
        }
        return n;
}

bool rank_finds_other(const struct failover *f, const struct failover_view *v, node_id *ret)
{
        struct failover_verdict verdicts[MEMBERS_MAX];
        unsigned n = failover_rank(&f->config, v, verdicts);

        for (unsigned i = 0; i < n && verdicts[i].eligible; i++) {
                if (verdicts[i].node == f->config.self)
                        continue;
                *ret = verdicts[i].node;
                return true;
        }
        return false;
}

bool rank_is_eligible(const struct failover_config *c, const struct failover_view *v, node_id node)
{
        struct failover_verdict verdict = { .node = node };

        return fit(c, v, &verdict);
}
