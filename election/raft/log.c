/* The entries of one member in memory. */
#include "election/raft/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"

void raft_log_init(struct raft_log *log, uint64_t base_index, uint64_t base_term)
{
        *log = (struct raft_log){ .base_index = base_index, .base_term = base_term };
}

static void free_blocks_from(struct raft_log *log, size_t i)
{
        while (log->n_blocks > i)
                free(log->blocks[--log->n_blocks]);
}

void raft_log_done(struct raft_log *log)
{
        free_blocks_from(log, 0);
        free(log->blocks);
        free(log->entries);
        free(log->sizes);
        *log = (struct raft_log){ 0 };
}

void raft_log_reset(struct raft_log *log, uint64_t base_index, uint64_t base_term)
{
        raft_log_done(log);
        raft_log_init(log, base_index, base_term);
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

/* Bytes of all that ever was in the log, up to its first @n entries. */
static uint64_t size_of_first(const struct raft_log *log, uint64_t n)
{
        return n > 0 ? log->sizes[n - 1] : log->base_size;
}

uint64_t raft_log_bytes_behind(const struct raft_log *log, uint64_t index)
{
        assert(index >= log->base_index && index <= raft_log_last(log));
        return size_of_first(log, log->n) - size_of_first(log, index - log->base_index);
}

static void resize(struct raft_log *log, size_t n_max)
{
        log->n_max = n_max;
        log->entries = must_resize(log->entries, n_max, sizeof(*log->entries));
        log->sizes = must_resize(log->sizes, n_max, sizeof(*log->sizes));
}

/* Room for the @n bytes of the entry at @index. */
static uint8_t *take_room(struct raft_log *log, uint64_t index, size_t n)
{
        struct raft_block *block = log->n_blocks > 0 ? log->blocks[log->n_blocks - 1] : NULL;
        uint8_t *ret;

        if (!block || block->size - block->used < n) {
                size_t size = n > RAFT_LOG_BLOCK_SIZE ? n : RAFT_LOG_BLOCK_SIZE;

                MUST_GROW(log->blocks, log->n_blocks, log->n_blocks_max);
                block = must_resize(NULL, 1, sizeof(*block) + size);
                block->first = index;
                block->used = 0;
                block->size = size;
                log->blocks[log->n_blocks++] = block;
        }
        ret = block->bytes + block->used;
        block->used += n;
        return ret;
}

void raft_log_append(struct raft_log *log, const struct raft_entry *entry)
{
        struct raft_entry *copy;

        assert(entry->index == raft_log_last(log) + 1);
        assert(entry->term >= raft_log_last_term(log));
        if (log->n == log->n_max)
                resize(log, log->n_max ? 2 * log->n_max : 64);
        copy = &log->entries[log->n];
        *copy = *entry;
        copy->bytes = NULL;
        if (entry->n > 0) {
                uint8_t *bytes = take_room(log, entry->index, entry->n);

                memcpy(bytes, entry->bytes, entry->n);
                copy->bytes = bytes;
        }
        log->sizes[log->n] = size_of_first(log, log->n) + entry->n + RAFT_LOG_ENTRY_COST;
        log->n++;
}

/* Gives back the room of the entries behind the first @keep. */
static void give_back(struct raft_log *log, size_t keep)
{
        struct raft_block *block;
        size_t i = keep;

        while (i < log->n && log->entries[i].n == 0)
                i++;
        if (i == log->n)
                return;
        while (log->blocks[log->n_blocks - 1]->first > log->entries[i].index)
                free_blocks_from(log, log->n_blocks - 1);
        block = log->blocks[log->n_blocks - 1]; /* where that entry's bytes are */
        block->used = (size_t)(log->entries[i].bytes - block->bytes);
        if (block->used == 0)
                free_blocks_from(log, log->n_blocks - 1);
}

void raft_log_truncate(struct raft_log *log, uint64_t from)
{
        size_t keep;

        assert(from > log->base_index && from <= raft_log_last(log));
        keep = (size_t)(from - log->base_index - 1);
        give_back(log, keep);
        log->n = keep;
}

/* Frees the blocks whose entries all are at @index or before. */
static void free_blocks_up_to(struct raft_log *log, uint64_t index)
{
        size_t n = 0;

        while (n + 1 < log->n_blocks && log->blocks[n + 1]->first <= index + 1)
                free(log->blocks[n++]);
        if (n == 0)
                return;
        log->n_blocks -= n;
        memmove(log->blocks, log->blocks + n, log->n_blocks * sizeof(*log->blocks));
}

void raft_log_compact(struct raft_log *log, uint64_t index)
{
        size_t n = (size_t)(index - log->base_index);

        assert(index >= log->base_index && index <= raft_log_last(log));
        if (n == 0)
                return;
        log->base_size = log->sizes[n - 1];
        log->base_term = log->entries[n - 1].term;
        log->base_index = index;
        log->n -= n;
        memmove(log->entries, log->entries + n, log->n * sizeof(*log->entries));
        memmove(log->sizes, log->sizes + n, log->n * sizeof(*log->sizes));
        free_blocks_up_to(log, index);
        if (log->n_max > RAFT_LOG_SHRINK && log->n < log->n_max / 4)
                resize(log, log->n > 32 ? 2 * log->n : 64);
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
