/*
 * What of this member survives a crash. Each step that changes term, vote or log hands out one
 * generation; its completion may come many steps later, when the log has been cut and has grown
 * again. Cutting therefore also shortens what the outstanding generations will prove: a later
 * entry with the same index and term is another write, which that completion says nothing about.
 */
#include "election/raft/raft-internal.h"

#include <assert.h>
#include <stdlib.h>

#include "election/base/memory.h"

void raft_persist_init(struct raft *r)
{
        r->disk = (struct raft_persistence){
                .hard = { .term = r->term, .vote = r->vote },
                .last = raft_log_last(&r->log),
        };
}

void raft_persist_done(struct raft *r)
{
        free(r->disk.outstanding);
}

static struct raft_generation *outstanding_at(const struct raft_persistence *d, size_t i)
{
        return &d->outstanding[(d->outstanding_first + i) % d->outstanding_max];
}

/* Makes room for one more; the ring is rolled out so that it begins at 0. */
static void grow(struct raft_persistence *d)
{
        size_t n_max = d->outstanding_max ? 2 * d->outstanding_max : 16;
        struct raft_generation *ring = must_alloc(n_max, sizeof(*ring));

        for (size_t i = 0; i < d->outstanding_n; i++)
                ring[i] = *outstanding_at(d, i);
        free(d->outstanding);
        d->outstanding = ring;
        d->outstanding_first = 0;
        d->outstanding_max = n_max;
}

void raft_persist_append(struct raft *r, const struct raft_entry *entry)
{
        raft_log_append(&r->log, entry);
        raft_memberships_append(r, entry);
        if (r->disk.append_from == 0)
                r->disk.append_from = entry->index;
}

void raft_persist_truncate(struct raft *r, uint64_t from)
{
        struct raft_persistence *d = &r->disk;
        uint64_t term = 0;

        assert(from > r->commit);
        assert(d->append_from == 0 && d->truncate_from == 0); /* one message a step: one conflict */
        raft_log_truncate(&r->log, from);
        raft_memberships_truncate(r, from);
        d->truncate_from = from;
        if (d->last >= from)
                d->last = from - 1;
        (void)raft_log_term_at(&r->log, from - 1, &term); /* the base at the least */
        for (size_t i = 0; i < d->outstanding_n; i++) {
                struct raft_generation *g = outstanding_at(d, i);

                if (g->last >= from) {
                        g->last = from - 1;
                        g->last_term = term;
                }
        }
}

void raft_persist_snapshot(struct raft *r, bool resets)
{
        struct raft_persistence *d = &r->disk;

        assert(d->append_from == 0 && d->truncate_from == 0);
        d->snapshot_changed = true;
        d->snapshot_resets = resets;
        if (!resets)
                return;
        /* What is on its way to the disk says nothing of the log that begins now. */
        d->last = 0;
        for (size_t i = 0; i < d->outstanding_n; i++)
                outstanding_at(d, i)->last = 0;
}

static void remember(struct raft *r)
{
        struct raft_persistence *d = &r->disk;

        if (d->outstanding_n == d->outstanding_max)
                grow(d);
        d->outstanding_n++;
        *outstanding_at(d, d->outstanding_n - 1) = (struct raft_generation){
                .generation = d->generation,
                .hard = { .term = r->term, .vote = r->vote },
                .last = raft_log_last(&r->log),
                .last_term = raft_log_last_term(&r->log),
        };
}

void raft_persist_flush(struct raft *r)
{
        struct raft_persistence *d = &r->disk;
        struct raft_effect *e;

        if (!d->hard_changed && d->truncate_from == 0 && d->append_from == 0 &&
            !d->snapshot_changed)
                return;
        d->generation++;
        remember(r);
        e = raft_effect_add(r, RAFT_PERSIST);
        e->persist = (struct raft_persist){
                .generation = d->generation,
                .has_hard_state = d->hard_changed,
                .term = r->term,
                .vote = r->vote,
                .truncate_from = d->truncate_from,
                .first = d->append_from,
                .last = d->append_from ? raft_log_last(&r->log) : 0,
                .snapshot_resets = d->snapshot_resets,
        };
        if (d->snapshot_changed) {
                bool known = raft_log_term_at(&r->log, r->snapshot_index,
                                              &e->persist.snapshot_term);

                assert(known);
                e->persist.snapshot_index = r->snapshot_index;
        }
        d->hard_changed = false;
        d->truncate_from = 0;
        d->append_from = 0;
        d->snapshot_changed = false;
        d->snapshot_resets = false;
}

void raft_persist_completed(struct raft *r, uint64_t generation)
{
        struct raft_persistence *d = &r->disk;

        assert(generation <= d->generation);
        while (d->outstanding_n > 0 && outstanding_at(d, 0)->generation <= generation) {
                const struct raft_generation *g = outstanding_at(d, 0);
                uint64_t term = 0;

                assert(g->last >= d->last);
                if (g->last >= r->log.base_index) { /* else a snapshot covers it, or replaced it */
                        bool known = raft_log_term_at(&r->log, g->last, &term);

                        assert(known && term == g->last_term);
                }
                d->hard = g->hard;
                d->last = g->last;
                d->outstanding_first = (d->outstanding_first + 1) % d->outstanding_max;
                d->outstanding_n--;
        }
}

bool raft_persist_has_vote(const struct raft *r)
{
        return r->disk.hard.term == r->term && r->disk.hard.vote == r->vote;
}

bool raft_persist_has_term(const struct raft *r)
{
        return r->disk.hard.term == r->term;
}
