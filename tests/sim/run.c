/* One seed from beginning to end. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "tests/sim/sim.h"

bool sim_chance(struct sim *s, unsigned permille)
{
        return permille != 0 && random_below(&s->random, 1000) < permille;
}

uint64_t sim_between(struct sim *s, uint64_t low, uint64_t high)
{
        return low >= high ? low : low + random_below(&s->random, high - low + 1);
}

/* A geometric choice of scale and an even one within it: near enough, and the same everywhere. */
usec_t sim_about(struct sim *s, usec_t mean)
{
        usec_t scale = mean / 2 + 1;

        while (scale < 5 * mean && sim_chance(s, 330))
                scale *= 2;
        return sim_between(s, 0, 2 * scale);
}

void sim_mix(struct sim *s, uint64_t value)
{
        s->digest = (s->digest ^ value) * 0x9e3779b97f4a7c15u;
        s->digest ^= s->digest >> 31;
}

void sim_fail(struct sim *s, const char *format, ...)
{
        va_list args;

        if (s->failed)
                return;
        va_start(args, format);
        (void)vsnprintf(s->failure, sizeof(s->failure), format, args);
        va_end(args);
        s->failed = true;
        s->over = true;
        s->tally.violations++;
        STORY(s, NULL, "VIOLATION: %s", s->failure);
}

struct occurrence *sim_plan_at(struct sim *s, usec_t at, occurrence_fn *happen, struct machine *m)
{
        struct occurrence *o = queue_new(&s->queue);

        o->happen = happen;
        o->machine = m;
        queue_plan(&s->queue, o, at);
        return o;
}

static void configure_service(struct sim *s, size_t i)
{
        static const char *const names[SIM_SERVICES_MAX] = { "orders", "stock" };
        const struct sim_plan *p = &s->plan;
        struct node_service_config *c = &s->services[i];

        (void)snprintf(c->name, sizeof(c->name), "%s", names[i]);
        c->ttl = p->ttl;
        c->renew = p->renew;
        c->chain = lease_chain_of(p->ttl, p->demote_soft, p->demote_hard);
        c->failover = (struct failover_config){ .n_members = p->n_candidates,
                                                .has_database = p->has_database,
                                                .has_address = p->has_address,
                                                .automatic = true,
                                                .crash_restart = p->crash_restart,
                                                .max_loss = p->max_loss,
                                                .ttl = p->ttl,
                                                .report_interval = p->renew,
                                                .demote_soft = p->demote_soft,
                                                .demote_hard = p->demote_hard };
        for (unsigned k = 1; k <= p->n_candidates; k++) {
                c->failover.members[k - 1] = (node_id)k;
                c->failover.names[k] = sim_node_name(s, (node_id)k);
        }
}

static struct sim *sim_new(const struct sim_options *options)
{
        struct sim *s = must_alloc(1, sizeof(*s));

        sim_plan_draw(&s->plan, options->seed, options->length, options->members);
        s->history = history_new();
        s->random.state = options->seed ^ 0x6a09e667f3bcc908u;
        s->story.recording = options->record || options->print;
        s->story.printing = options->print;
        if (s->story.recording)
                s->story.lines = must_alloc(SIM_STORY_LINES, sizeof(*s->story.lines));
        for (size_t i = 0; i < s->plan.n_services; i++)
                configure_service(s, i);
        return s;
}

static void describe_plan(struct sim *s)
{
        const struct sim_plan *p = &s->plan;

        STORY(s, NULL,
              "seed %llu: %u members, %u machines, %u can be master, %zu services, TTL %llu ms, pre-vote %s, "
              "database %s, address %s, loss %u, delays %llu to %llu us, syncs %llu to %llu us",
              (unsigned long long)p->seed, p->n_nodes, p->n_machines, p->n_candidates,
              p->n_services, (unsigned long long)(p->ttl / USEC_PER_MSEC),
              p->pre_vote ? "on" : "off", p->has_database ? "yes" : "no",
              p->has_address ? "yes" : "no", p->loss_permille, (unsigned long long)p->delay_min,
              (unsigned long long)p->delay_max, (unsigned long long)p->sync_min,
              (unsigned long long)p->sync_max);
}

static void begin(struct sim *s)
{
        describe_plan(s);
        for (unsigned i = 1; i <= s->plan.n_machines; i++) {
                s->machines[i].id = (node_id)i;
                if (i <= s->plan.n_nodes)
                        member_found(s, &s->machines[i]);
                machine_boot(s, &s->machines[i]);
        }
        client_start(s);
        observe_start(s);
        member_start(s);
        network_start(s);
        operator_start(s);
        if (s->plan.has_database)
                (void)sim_plan_at(s, s->now, database_tick, NULL);
}

struct sim *sim_run(const struct sim_options *options)
{
        struct sim *s = sim_new(options);
        struct occurrence *o;

        begin(s);
        while (!s->over && (o = queue_take(&s->queue))) {
                s->now = o->at;
                s->tally.events++;
                o->happen(s, o);
                if (!o->planned)
                        queue_release(&s->queue, o);
        }
        history_end(s->history);
        observe_verdict(s);
        s->tally.seeds = 1;
        s->tally.simulated_usec = s->now;
        sim_mix(s, s->tally.events);
        return s;
}

void sim_free(struct sim *s)
{
        if (!s)
                return;
        queue_done(&s->queue);
        for (unsigned i = 1; i <= MEMBERS_MAX; i++)
                machine_free(&s->machines[i]);
        history_free(s->history);
        free(s->lists);
        free(s->leaders);
        free(s->committed);
        free(s->requests);
        free(s->story.lines);
        free(s);
}

void tally_add(struct tally *sum, const struct tally *t)
{
        const usec_t heal_max = sum->heal_max_usec > t->heal_max_usec ? sum->heal_max_usec
                                                                      : t->heal_max_usec;
        const uint64_t *from = (const uint64_t *)t;
        uint64_t *to = (uint64_t *)sum;

        for (size_t i = 0; i < sizeof(*t) / sizeof(*to); i++)
                to[i] += from[i];
        sum->heal_max_usec = heal_max;
}
