/* Machines: power, sleep, and the processes on them. */
#include "tests/sim/sim.h"

struct machine *sim_machine(struct sim *s, node_id id)
{
        return &s->machines[id];
}

struct instant machine_clock(const struct sim *s, const struct machine *m)
{
        return sim_clock_read(&m->clock, s->now);
}

bool machine_is_awake(const struct sim *s, const struct machine *m)
{
        return m->up && s->now >= m->suspended_until;
}

/* A clock counts from its boot: a small reading just after it is as good as any other. */
static uint64_t first_reading(struct sim *s)
{
        if (sim_chance(s, 400))
                return sim_between(s, 1, 5 * USEC_PER_SEC);
        return sim_between(s, USEC_PER_SEC, 1000000 * USEC_PER_SEC);
}

void machine_boot(struct sim *s, struct machine *m)
{
        if (m->up)
                return;
        m->up = true;
        m->boot++;
        m->suspended_until = 0;
        m->clock = (struct sim_clock){ .started = s->now,
                                       .reading = first_reading(s),
                                       .ppm = s->plan.ppm[m->id] };
        STORY(s, m, "boots, its clock reads %llu us and runs %+d ppm off",
              (unsigned long long)m->clock.reading, m->clock.ppm);
        hands_start(s, m);
}

static void boot(struct sim *s, struct occurrence *o)
{
        if (o->life == o->machine->boot)
                machine_boot(s, o->machine);
}

void machine_crash(struct sim *s, struct machine *m, usec_t down)
{
        struct occurrence *o;

        if (!m->up)
                return;
        STORY(s, m, "loses its power");
        s->tally.machine_crashes++;
        engine_crash(s, m);
        hands_machine_crash(s, m);
        m->up = false;
        o = sim_plan_at(s, s->now + down, boot, m);
        o->life = m->boot;
}

static void resume(struct sim *s, struct occurrence *o)
{
        if (o->life != o->machine->boot || !machine_is_awake(s, o->machine))
                return;
        STORY(s, o->machine, "wakes up");
        hands_catch_up(s, o->machine);
        for (size_t i = 0; i < s->plan.n_services; i++)
                check_resources(s, o->machine, i);
}

void machine_suspend(struct sim *s, struct machine *m, usec_t length)
{
        struct occurrence *o;

        if (!machine_is_awake(s, m))
                return;
        STORY(s, m, "sleeps for %llu ms", (unsigned long long)(length / USEC_PER_MSEC));
        m->suspended_until = s->now + length;
        for (size_t i = 0; i < s->plan.n_services; i++)
                check_resources(s, m, i);
        o = queue_new(&s->queue);
        o->happen = resume;
        o->machine = m;
        o->life = m->boot;
        queue_plan_first(&s->queue, o, m->suspended_until);
}

void machine_free(struct machine *m)
{
        node_free(m->engine.node);
        disk_done(&m->disk);
}
