/* The entries of one member in memory. */
#include "election/raft/log.h"

#include <assert.h>
#include <stdlib.h>

#include "election/base/memory.h"

void raft_log_init(struct raft_log *log, uint64_t base_index, uint64_t base_term)
{
        *log = (struct raft_log){ .base_index = base_index, .base_term = base_term };
}

void raft_log_done(struct raft_log *log)
{
        for (size_t i = 0; i < log->n; i++)
                free((void *)log->entries[i].bytes);
        free(log->entries);
        free(log->sizes);
        *log = (struct raft_log){ 0 };
}

uint64_t raft_log_last_term(const struct raft_log *log)
{
        return log->n > 0 ? log->entries[log->n - 1].term : log->base_term;
}

bool raft_log_term_at(const struct raft_log *log, uint64_t index, uint64_t *ret)
{
        if (index < log->base_index || index > raft_log_last(log))
                return false;
        *ret = index == log->base_index ? log->base_term
                                        : log->entries[index - log->base_index - 1].term;
        return true;
}

const struct raft_entry *raft_log_entry(const struct raft_log *log, uint64_t index)
{
        if (index <= log->base_index || index > raft_log_last(log))
                return NULL;
        return &log->entries[index - log->base_index - 1];
}

/* Bytes of the first @n entries. */
static uint64_t size_of_first(const struct raft_log *log, uint64_t n)
{
        return n > 0 ? log->sizes[n - 1] : 0;
}

uint64_t raft_log_bytes_behind(const struct raft_log *log, uint64_t index)
{
        assert(index >= log->base_index && index <= raft_log_last(log));
        return size_of_first(log, log->n) - size_of_first(log, index - log->base_index);
}

static void grow(struct raft_log *log)
{
        if (log->n < log->n_max)
                return;
        log->n_max = log->n_max ? 2 * log->n_max : 64;
        log->entries = must_resize(log->entries, log->n_max, sizeof(*log->entries));
        log->sizes = must_resize(log->sizes, log->n_max, sizeof(*log->sizes));
}

void raft_log_append(struct raft_log *log, const struct raft_entry *entry)
{
        struct raft_entry *copy;

        assert(entry->index == raft_log_last(log) + 1);
        assert(entry->term >= raft_log_last_term(log));
        grow(log);
        copy = &log->entries[log->n];
        *copy = *entry;
        copy->bytes = entry->n > 0 ? must_copy(entry->bytes, entry->n) : NULL;
        log->sizes[log->n] = size_of_first(log, log->n) + entry->n + RAFT_LOG_ENTRY_COST;
        log->n++;
}

void raft_log_truncate(struct raft_log *log, uint64_t from)
{
        size_t keep;

        assert(from > log->base_index && from <= raft_log_last(log));
        keep = (size_t)(from - log->base_index - 1);
        for (size_t i = keep; i < log->n; i++)
                free((void *)log->entries[i].bytes);
        log->n = keep;
}

uint64_t raft_log_find(const struct raft_log *log, uint64_t index_max, uint64_t term_max)
{
        uint64_t last = raft_log_last(log);
        size_t low = 0, high;

        if (index_max <= log->base_index)
                return log->base_index;
        high = (size_t)((index_max < last ? index_max : last) - log->base_index);
        while (low < high) { /* terms never fall: entries before @low are small, from @high large */
                size_t middle = low + (high - low) / 2;

                if (log->entries[middle].term <= term_max)
                        low = middle + 1;
                else
                        high = middle;
        }
        return log->base_index + low;
}
