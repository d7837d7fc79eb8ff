/*
 * A disk: what is written becomes durable by a sync that takes its time and covers all that was
 * written before it began. At a crash a prefix of the records behind the last sync survives.
 */
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "tests/sim/sim.h"

static uint64_t last_of(const struct disk *d)
{
        return d->base + d->n_entries;
}

static void drop_entries(struct disk *d, size_t n_kept)
{
        while (d->n_entries > n_kept)
                free(d->entries[--d->n_entries].bytes);
}

/* The log goes on from a snapshot: what that covers is forgotten, or all. */
static void follow_snapshot(struct sim *s, struct machine *m, const struct disk_record *r)
{
        struct disk *d = &m->disk;
        size_t n = r->resets || r->index >= last_of(d) ? d->n_entries
                                                       : (size_t)(r->index - d->base);

        if (r->index < d->base) {
                sim_fail(s, "the log of %s goes back from snapshot %llu to %llu",
                         sim_node_name(s, m->id), (unsigned long long)d->base,
                         (unsigned long long)r->index);
                return;
        }
        for (size_t i = 0; i < n; i++)
                free(d->entries[i].bytes);
        if (n > 0)
                memmove(d->entries, d->entries + n, (d->n_entries - n) * sizeof(*d->entries));
        d->n_entries -= n;
        d->base = r->index;
        d->base_term = r->term;
}

static void truncate_log(struct sim *s, struct machine *m, uint64_t from)
{
        struct disk *d = &m->disk;

        if (from > last_of(d))
                return;
        if (from <= d->base)
                sim_fail(s, "%s truncates its log at %llu, within its snapshot",
                         sim_node_name(s, m->id), (unsigned long long)from);
        else
                drop_entries(d, (size_t)(from - 1 - d->base));
}

/* Takes over the bytes of the record. */
static void make_durable(struct sim *s, struct machine *m, struct disk_record *r)
{
        struct disk *d = &m->disk;

        switch (r->type) {
        case DISK_HARD_STATE:
                d->term = r->term;
                d->vote = r->vote;
                return;
        case DISK_TRUNCATE:
                truncate_log(s, m, r->index);
                return;
        case DISK_SNAPSHOT:
                follow_snapshot(s, m, r);
                return;
        case DISK_ENTRY:
                truncate_log(s, m, r->index);
                if (r->index != last_of(d) + 1) {
                        sim_fail(s, "%s persists entry %llu behind %llu", sim_node_name(s, m->id),
                                 (unsigned long long)r->index, (unsigned long long)last_of(d));
                        free(r->entry.bytes);
                        return;
                }
                MUST_GROW(d->entries, d->n_entries, d->n_entries_max);
                d->entries[d->n_entries++] = r->entry;
                return;
        }
}

static void flush(struct sim *s, struct machine *m, size_t n)
{
        struct disk *d = &m->disk;

        for (size_t i = 0; i < n; i++)
                make_durable(s, m, &d->pending[i]);
        for (size_t i = n; i < d->n_pending; i++)
                d->pending[i - n] = d->pending[i];
        d->n_pending -= n;
}

static void sync_ended(struct sim *s, struct occurrence *o);

static usec_t sync_length(struct sim *s, const struct disk *d)
{
        usec_t length = sim_between(s, s->plan.sync_min, s->plan.sync_max);

        if (!s->faults_stopped && sim_chance(s, s->plan.stall_permille)) {
                length = sim_between(s, s->plan.sync_max, s->plan.stall_max);
                s->tally.stalls++;
        }
        if (d->stalled_until > s->now + length)
                length = d->stalled_until - s->now;
        return length;
}

static void sync_begin(struct sim *s, struct machine *m)
{
        struct disk *d = &m->disk;
        struct occurrence *o;

        d->syncing = true;
        d->n_syncing = d->n_pending;
        d->generation_syncing = d->generation;
        o = sim_plan_at(s, s->now + sync_length(s, d), sync_ended, m);
        o->life = d->life;
}

static void tell_persisted(struct sim *s, struct occurrence *o)
{
        struct node_event event = { .type = NODE_PERSISTED, .generation = o->number };

        if (!engine_takes(s, o))
                return;
        engine_feed(s, o->machine, &event);
        fault_aim(s, o->machine, AIM_PERSISTED);
}

/* What was to be made durable may be there or not, and is never asked again: the process ends. */
static void fail_sync(struct sim *s, struct machine *m)
{
        STORY(s, m, "a sync fails");
        m->disk.fails = false;
        s->tally.syncs_failed++;
        engine_crash(s, m);
}

static void sync_ended(struct sim *s, struct occurrence *o)
{
        struct machine *m = o->machine;
        struct disk *d = &m->disk;
        struct occurrence *told;

        if (o->life != d->life)
                return;
        if (!machine_is_awake(s, m)) {
                queue_plan_again(&s->queue, o, m->suspended_until);
                return;
        }
        if (d->fails) {
                fail_sync(s, m);
                return;
        }
        flush(s, m, d->n_syncing);
        d->syncing = false;
        told = sim_plan_at(s, s->now, tell_persisted, m);
        told->number = d->generation_syncing;
        told->life = m->engine.life;
        if (d->n_pending > 0 || d->generation > d->generation_syncing)
                sync_begin(s, m);
}

static struct disk_record *record_new(struct disk *d)
{
        MUST_GROW(d->pending, d->n_pending, d->n_pending_max);
        d->pending[d->n_pending] = (struct disk_record){ 0 };
        return &d->pending[d->n_pending++];
}

static void write_entry(struct machine *m, uint64_t index)
{
        const struct raft_entry *e = node_entry_at(m->engine.node, index);
        struct disk_record *r = record_new(&m->disk);

        r->type = DISK_ENTRY;
        r->index = index;
        r->entry = (struct disk_entry){
                .term = e->term, .type = e->type, .bytes = must_copy(e->bytes, e->n), .n = e->n
        };
}

void disk_write(struct sim *s, struct machine *m, const struct raft_persist *p)
{
        struct disk *d = &m->disk;
        struct disk_record *r;

        if (p->has_hard_state) {
                r = record_new(d);
                r->type = DISK_HARD_STATE;
                r->term = p->term;
                r->vote = p->vote;
        }
        if (p->truncate_from) {
                r = record_new(d);
                r->type = DISK_TRUNCATE;
                r->index = p->truncate_from;
        }
        if (p->snapshot_index) {
                r = record_new(d);
                r->type = DISK_SNAPSHOT;
                r->index = p->snapshot_index;
                r->term = p->snapshot_term;
                r->resets = p->snapshot_resets;
        }
        for (uint64_t i = p->first; p->first && i <= p->last; i++)
                write_entry(m, i);
        d->generation = p->generation;
        if (!d->syncing)
                sync_begin(s, m);
}

void disk_crash(struct sim *s, struct machine *m)
{
        struct disk *d = &m->disk;
        size_t n_kept = d->n_pending;

        if (d->n_pending > 0 && sim_chance(s, 700)) {
                n_kept = sim_chance(s, 500) ? 0 : (size_t)sim_between(s, 0, d->n_pending);
                s->tally.torn_writes++;
                STORY(s, m, "of %zu records written and not synced, %zu survive", d->n_pending,
                      n_kept);
        }
        flush(s, m, n_kept);
        for (size_t i = 0; i < d->n_pending; i++)
                free(d->pending[i].entry.bytes);
        d->n_pending = 0;
        d->syncing = false;
        d->life++;
        d->generation = 0;
}

void disk_rot(struct sim *s, struct machine *m)
{
        if (m->disk.rotten)
                return;
        STORY(s, m, "its log is damaged");
        m->disk.rotten = true;
        s->tally.disks_lost++;
        s->dead |= (uint16_t)(1u << m->id);
        engine_crash(s, m);
}

bool disk_is_full(const struct sim *s, const struct machine *m)
{
        return s->now < m->disk.full_until;
}

static void tell_space(struct sim *s, struct occurrence *o)
{
        struct node_event event = { .type = NODE_SPACE, .ok = !disk_is_full(s, o->machine) };

        if (engine_takes(s, o))
                engine_feed(s, o->machine, &event);
}

void disk_tell_space(struct sim *s, struct machine *m, usec_t delay)
{
        sim_plan_at(s, s->now + delay, tell_space, m)->life = m->engine.life;
}

/* What is written already has its room, and so have leases and what Raft itself needs. */
void disk_fill(struct sim *s, struct machine *m, usec_t length)
{
        if (disk_is_full(s, m))
                return;
        STORY(s, m, "its disk is full for %llu ms", (unsigned long long)(length / USEC_PER_MSEC));
        s->tally.disks_full++;
        m->disk.full_until = s->now + length;
        disk_tell_space(s, m, sim_between(s, 0, 10 * USEC_PER_MSEC));
        disk_tell_space(s, m, length + 1);
}

const struct disk_file *disk_find_file(const struct disk *d, uint64_t index, uint64_t term)
{
        for (size_t i = 0; i < d->n_files; i++)
                if (d->files[i].index == index && d->files[i].term == term)
                        return &d->files[i];
        return NULL;
}

/* The oldest makes room, but for the one that the log goes on from. */
void disk_add_file(struct disk *d, struct disk_file file)
{
        size_t i = d->n_files > 0 && d->files[0].index == d->base ? 1 : 0;

        if (d->n_files == SIM_FILES_MAX) {
                free(d->files[i].bytes);
                d->n_files--;
                memmove(d->files + i, d->files + i + 1, (d->n_files - i) * sizeof(*d->files));
        }
        d->files[d->n_files++] = file;
}

void disk_done(struct disk *d)
{
        drop_entries(d, 0);
        for (size_t i = 0; i < d->n_pending; i++)
                free(d->pending[i].entry.bytes);
        for (size_t i = 0; i < d->n_files; i++)
                free(d->files[i].bytes);
        free(d->arriving.bytes);
        free(d->pending);
        free(d->entries);
}

void disk_wipe(struct sim *s, struct machine *m)
{
        struct disk fresh = { .life = m->disk.life + 1,
                              .incarnation = sim_between(s, 1, INT64_MAX),
                              .stalled_until = m->disk.stalled_until };

        disk_done(&m->disk);
        m->disk = fresh;
}

struct raft_durable disk_durable(const struct disk *d, struct raft_entry **ret_entries)
{
        struct raft_entry *entries = must_alloc(d->n_entries + 1, sizeof(*entries));

        for (size_t i = 0; i < d->n_entries; i++)
                entries[i] = (struct raft_entry){ .index = d->base + 1 + i,
                                                  .term = d->entries[i].term,
                                                  .type = d->entries[i].type,
                                                  .bytes = d->entries[i].bytes,
                                                  .n = d->entries[i].n };
        *ret_entries = entries;
        return (struct raft_durable){ .term = d->term,
                                      .vote = d->vote,
                                      .entries = entries,
                                      .n_entries = d->n_entries,
                                      .snapshot_index = d->base,
                                      .snapshot_term = d->base_term };
}
