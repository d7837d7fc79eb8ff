/*
 * The entries of one member in memory: consecutive indexes behind a base, which is the last entry
 * of the snapshot (0 if there is none). Entries stand in one array, so that an append borrows them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "election/raft/raft.h"

enum {
        RAFT_LOG_ENTRY_COST = 64, /* bytes an entry counts beside its command */
};

struct raft_log {
        uint64_t base_index;
        uint64_t base_term;
        struct raft_entry *entries; /* entries[0] has index base_index + 1; their bytes are ours */
        uint64_t
                *sizes; /* bytes of all entries up to and with this one, RAFT_LOG_ENTRY_COST each */
        size_t n;
        size_t n_max;
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

/*
 * The largest index that is at most @index_max and whose term is at most @term_max; the base if
 * there is none, because what a snapshot covers is committed and the same everywhere.
 */
uint64_t raft_log_find(const struct raft_log *log, uint64_t index_max, uint64_t term_max);
