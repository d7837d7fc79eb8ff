/*
 * The snapshots of a member: taken from the state of one moment and durable some time later, or
 * never; sent in parts, and received into a file that counts when it is whole.
 */
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "tests/sim/sim.h"

#define PART_DELAY_MAX (5 * USEC_PER_MSEC)

static int into_buffer(void *userdata, const uint8_t *bytes, size_t n)
{
        buffer_put(userdata, bytes, n);
        return 0;
}

static bool goes_wrong(struct sim *s, const struct machine *m)
{
        return disk_is_full(s, m) ||
               (!s->faults_stopped && sim_chance(s, s->plan.snapshot_failure_permille));
}

/* What was read back does not verify: a mistake of the one who wrote it. */
static void check_whole(struct sim *s, const struct machine *m, const uint8_t *bytes, size_t n)
{
        struct snapshot_reader *r = snapshot_reader_new(false);

        if (snapshot_reader_feed(r, bytes, n) < 0 || !snapshot_reader_is_whole(r))
                sim_fail(s, "%s took a snapshot that does not verify", sim_node_name(s, m->id));
        snapshot_reader_free(r);
}

static void taken(struct sim *s, struct occurrence *o)
{
        struct machine *m = o->machine;
        struct node_event event = { .type = NODE_SNAPSHOT_TAKEN,
                                    .snapshot = {
                                            .index = o->number, .term = o->epoch, .bytes = o->n } };

        if (!engine_takes(s, o))
                return;
        event.ok = !goes_wrong(s, m);
        if (event.ok) {
                check_whole(s, m, o->data, o->n);
                disk_add_file(&m->disk, (struct disk_file){ o->number, o->epoch, o->data, o->n });
                o->data = NULL;
                s->tally.snapshots_taken++;
        } else {
                s->tally.snapshots_failed++;
        }
        engine_feed(s, m, &event);
        fault_aim(s, m, AIM_SNAPSHOT);
}

void snapshot_take(struct sim *s, struct machine *m, const struct node_effect *e)
{
        struct buffer b = { 0 };
        struct occurrence *o = sim_plan_at(s, s->now + sim_between(s, 1, s->plan.snapshot_max),
                                           taken, m);

        (void)node_snapshot_write(m->engine.node, into_buffer, &b);
        o->life = m->engine.life;
        o->number = e->snapshot.index;
        o->epoch = e->snapshot.term;
        o->data = b.bytes;
        o->n = b.n;
}

/* A part may be shorter than was wished for, but the last one ends the file. */
static void part_read(struct sim *s, struct occurrence *o)
{
        struct machine *m = o->machine;
        struct node_event event = { .type = NODE_SNAPSHOT_PART_READ, .from = o->from };
        const struct node_snapshot *wanted = o->data;
        const struct disk_file *f;

        if (!engine_takes(s, o))
                return;
        event.snapshot = *wanted;
        f = disk_find_file(&m->disk, wanted->index, wanted->term);
        event.ok = f && wanted->offset <= f->n && !goes_wrong(s, m);
        if (event.ok) {
                size_t left = f->n - (size_t)wanted->offset;
                size_t most = left < wanted->n_wanted ? left : wanted->n_wanted;

                event.bytes = f->bytes + wanted->offset;
                event.n = (size_t)sim_between(s, most < 512 ? most : 512, most);
                event.snapshot.bytes = f->n;
                event.snapshot.is_last = event.n == left;
        }
        engine_feed(s, m, &event);
}

void snapshot_read(struct sim *s, struct machine *m, const struct node_effect *e)
{
        struct occurrence *o = sim_plan_at(s, s->now + sim_between(s, 1, PART_DELAY_MAX), part_read,
                                           m);

        o->life = m->engine.life;
        o->from = e->to;
        o->data = must_copy((const uint8_t *)&e->snapshot, sizeof(e->snapshot));
        fault_aim(s, m, AIM_SNAPSHOT);
}

static void part_written(struct sim *s, struct occurrence *o)
{
        struct machine *m = o->machine;
        struct disk_file *a = &m->disk.arriving;
        struct node_event event = { .type = NODE_SNAPSHOT_PART_WRITTEN };

        if (!engine_takes(s, o))
                return;
        event.ok = !goes_wrong(s, m);
        if (event.ok && o->number) {
                check_whole(s, m, a->bytes, a->n);
                disk_add_file(&m->disk, *a);
                *a = (struct disk_file){ 0 };
        }
        engine_feed(s, m, &event);
        if (o->number)
                fault_aim(s, m, AIM_SNAPSHOT);
}

void snapshot_receive(struct sim *s, struct machine *m, const struct node_effect *e)
{
        struct disk_file *a = &m->disk.arriving;
        struct occurrence *o = sim_plan_at(s, s->now + sim_between(s, 1, PART_DELAY_MAX),
                                           part_written, m);

        if (e->snapshot.offset == 0) {
                free(a->bytes);
                *a = (struct disk_file){ .index = e->snapshot.index, .term = e->snapshot.term };
        }
        if (a->index != e->snapshot.index || a->n != e->snapshot.offset)
                sim_fail(s, "%s writes a part of a snapshot at %llu, which ends at %zu",
                         sim_node_name(s, m->id), (unsigned long long)e->snapshot.offset, a->n);
        a->bytes = must_resize(a->bytes, a->n + e->n + 1, 1);
        memcpy(a->bytes + a->n, e->bytes, e->n);
        a->n += e->n;
        o->life = m->engine.life;
        o->number = e->snapshot.is_last;
}

struct snapshot_reader *snapshot_load(struct sim *s, const struct machine *m)
{
        const struct disk *d = &m->disk;
        const struct disk_file *f = disk_find_file(d, d->base, d->base_term);
        struct snapshot_reader *r;

        if (d->base == 0)
                return NULL;
        if (!f) {
                sim_fail(s, "the log of %s goes on from snapshot %llu, which is not there",
                         sim_node_name(s, m->id), (unsigned long long)d->base);
                return NULL;
        }
        r = snapshot_reader_new(true);
        if (snapshot_reader_feed(r, f->bytes, f->n) == 0 && snapshot_reader_is_whole(r))
                return r;
        sim_fail(s, "%s cannot read its snapshot", sim_node_name(s, m->id));
        snapshot_reader_free(r);
        return NULL;
}
