/*
 * The entries of one member in memory: consecutive indexes behind a base, which a snapshot covers
 * (0 if there is none). Entries stand in one array, so that an append borrows them; their bytes
 * stand in blocks, so that neither an entry nor its end costs an allocation of its own.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "election/raft/raft.h"

enum {
        RAFT_LOG_ENTRY_COST = 64, /* bytes an entry counts beside its command */
        RAFT_LOG_BLOCK_SIZE = 256 * 1024, /* bytes of a block, unless one entry needs more */
        RAFT_LOG_SHRINK = 1024, /* room for more entries than that is given back */
};

/* The bytes of consecutive entries. */
struct raft_block {
        uint64_t first; /* no entry with a lower index has bytes in here */
        size_t used;
        size_t size;
        uint8_t bytes[];
};

struct raft_log {
        uint64_t base_index;
        uint64_t base_term;
        struct raft_entry *entries; /* entries[0] has index base_index + 1; their bytes are ours */
        uint64_t *sizes; /* bytes of all up to and with this one, RAFT_LOG_ENTRY_COST each */
        uint64_t base_size; /* bytes of what is forgotten: `sizes` count on from there */
        size_t n;
        size_t n_max;
        struct raft_block **blocks; /* oldest first; only the last one grows */
        size_t n_blocks;
        size_t n_blocks_max;
};

void raft_log_init(struct raft_log *log, uint64_t base_index, uint64_t base_term);
void raft_log_done(struct raft_log *log);

static inline uint64_t raft_log_last(const struct raft_log *log)
{
        return log->base_index + log->n;
}

/* The term of the last entry, or of the base. */
uint64_t raft_log_last_term(const struct raft_log *log);

/*
 * The term of the entry at @index, also of the base. False if the log does not know it, because
 * the entry is not there yet or not any more: two unknown terms must never compare as equal.
 */
bool raft_log_term_at(const struct raft_log *log, uint64_t index, uint64_t *ret);

/* The entry at @index, or NULL; those behind it follow in memory. */
const struct raft_entry *raft_log_entry(const struct raft_log *log, uint64_t index);

/* Bytes of all entries behind @index, which is not below the base. */
uint64_t raft_log_bytes_behind(const struct raft_log *log, uint64_t index);

/* Appends a copy of @entry, whose index must be the next one and whose term must not fall. */
void raft_log_append(struct raft_log *log, const struct raft_entry *entry);

/* Drops the entry at @from, which is behind the base, and all that follow. */
void raft_log_truncate(struct raft_log *log, uint64_t from);

/* Forgets all up to and with @index, which is in the log: it is the base now. */
void raft_log_compact(struct raft_log *log, uint64_t index);

/* Forgets everything; the log goes on behind another base. */
void raft_log_reset(struct raft_log *log, uint64_t base_index, uint64_t base_term);

/*
 * The largest index that is at most @index_max and whose term is at most @term_max; the base if
 * there is none, because what a snapshot covers is committed and the same everywhere.
 */
uint64_t raft_log_find(const struct raft_log *log, uint64_t index_max, uint64_t term_max);
