/*
 * The wire format of messages. Decoding refuses whatever no correct member sends: the core behind
 * it takes what it gets for consistent.
 */
#include <assert.h>

#include "election/raft/raft-internal.h"

enum {
        FLAG_GRANTED = 1,
        FLAG_TRANSFER = 2,
        FLAG_QUIET = 4,
};

/* The fields that a type uses beside type, from, to and term; all others are zero. */
struct layout {
        unsigned flags; /* that may be set */
        bool log_index, log_term, commit, round, hint, entries;
        const char *name;
};

/* clang-format off */
static const struct layout layouts[] = {
        [RAFT_PRE_VOTE]       = { .log_index = true, .log_term = true, .name = "pre-vote" },
        [RAFT_PRE_VOTE_REPLY] = { .flags = FLAG_GRANTED, .name = "pre-vote reply" },
        [RAFT_VOTE]           = { .flags = FLAG_TRANSFER, .log_index = true, .log_term = true, .name = "vote" },
        [RAFT_VOTE_REPLY]     = { .flags = FLAG_GRANTED, .name = "vote reply" },
        [RAFT_APPEND]         = { .flags = FLAG_QUIET, .log_index = true, .log_term = true, .commit = true, .round = true, .entries = true, .name = "append" },
        [RAFT_APPEND_REPLY]   = { .flags = FLAG_GRANTED | FLAG_TRANSFER, .log_index = true, .round = true, .hint = true, .name = "append reply" },
        [RAFT_TIMEOUT_NOW]    = { .log_index = true, .log_term = true, .name = "timeout now" },
};
/* clang-format on */

enum {
        N_TYPES = sizeof(layouts) / sizeof(layouts[0]),
};

void raft_message_encode(const struct raft_message *m, struct buffer *b)
{
        assert(m->n_entries <= RAFT_APPEND_ENTRIES_MAX);
        buffer_put_u8(b, (uint8_t)m->type);
        buffer_put_u8(b, m->from);
        buffer_put_u8(b, m->to);
        buffer_put_u8(b,
                      (uint8_t)((m->granted ? FLAG_GRANTED : 0) |
                                (m->transfer ? FLAG_TRANSFER : 0) | (m->quiet ? FLAG_QUIET : 0)));
        buffer_put_u64(b, m->term);
        buffer_put_u64(b, m->log_index);
        buffer_put_u64(b, m->log_term);
        buffer_put_u64(b, m->commit);
        buffer_put_u64(b, m->round);
        buffer_put_u64(b, m->hint_index);
        buffer_put_u64(b, m->hint_term);
        buffer_put_u32(b, (uint32_t)m->n_entries);
        for (size_t i = 0; i < m->n_entries; i++) {
                const struct raft_entry *entry = &m->entries[i];

                assert(entry->index == m->log_index + 1 + i && entry->n <= RAFT_ENTRY_BYTES_MAX);
                buffer_put_u64(b, entry->index);
                buffer_put_u64(b, entry->term);
                buffer_put_u8(b, (uint8_t)entry->type);
                buffer_put_blob(b, entry->bytes, entry->n);
        }
}

/* The index and term of a log's position: both are zero before the first entry, or none is. */
static bool position_is_good(uint64_t index, uint64_t term)
{
        return index < RAFT_NUMBER_MAX && (index == 0) == (term == 0);
}

static bool header_is_good(const struct raft_message *m, unsigned flags)
{
        const struct layout *l = &layouts[m->type];

        if (m->from < 1 || m->from > MEMBERS_MAX || m->to < 1 || m->to > MEMBERS_MAX ||
            m->from == m->to)
                return false;
        if (m->term < 1 || m->term >= RAFT_NUMBER_MAX || (flags & ~l->flags) != 0)
                return false;
        if ((!l->log_index && m->log_index) || (!l->log_term && m->log_term) ||
            (!l->commit && m->commit) || (!l->round && m->round) ||
            (!l->hint && (m->hint_index || m->hint_term)) || (!l->entries && m->n_entries))
                return false;
        return m->log_index < RAFT_NUMBER_MAX && m->commit < RAFT_NUMBER_MAX &&
               m->round < RAFT_NUMBER_MAX;
}

/* What only some types use, and must be consistent there. */
static bool details_are_good(const struct raft_message *m)
{
        switch (m->type) {
        case RAFT_PRE_VOTE:
        case RAFT_VOTE: /* for a term that comes after all in the log */
                return position_is_good(m->log_index, m->log_term) && m->log_term < m->term;
        case RAFT_APPEND:
                if (m->quiet && m->n_entries > 0)
                        return false;
                return position_is_good(m->log_index, m->log_term) && m->log_term <= m->term;
        case RAFT_TIMEOUT_NOW:
                return position_is_good(m->log_index, m->log_term) && m->log_term <= m->term;
        case RAFT_APPEND_REPLY:
                if (m->granted || m->transfer)
                        return m->granted != m->transfer && !m->hint_index && !m->hint_term;
                return position_is_good(m->hint_index, m->hint_term) &&
                       m->hint_index <= m->log_index && m->hint_term <= m->term;
        case RAFT_PRE_VOTE_REPLY:
        case RAFT_VOTE_REPLY:
                return true;
        }
        return false;
}

static bool members_are_good(const struct raft_entry *entry)
{
        struct reader r = reader_of(entry->bytes, entry->n);
        struct raft_members members;

        return raft_members_decode(&r, &members) && r.n <= RAFT_CONTEXT_BYTES_MAX;
}

static bool content_is_good(uint8_t type, struct raft_entry *entry)
{
        switch (type) {
        case RAFT_ENTRY_NOOP:
                entry->type = RAFT_ENTRY_NOOP;
                return entry->n == 0;
        case RAFT_ENTRY_COMMAND:
                entry->type = RAFT_ENTRY_COMMAND;
                return entry->n <= RAFT_ENTRY_BYTES_MAX;
        case RAFT_ENTRY_MEMBERS:
                entry->type = RAFT_ENTRY_MEMBERS;
                return members_are_good(entry);
        }
        return false;
}

/* One entry that must follow @index_before and @term_before, in an append of @term. */
static bool get_entry(struct reader *r, uint64_t index_before, uint64_t term_before, uint64_t term,
                      struct raft_entry *ret)
{
        uint8_t type;

        ret->index = reader_get_u64(r);
        ret->term = reader_get_u64(r);
        type = reader_get_u8(r);
        ret->bytes = reader_get_blob(r, &ret->n);
        if (r->failed || ret->index != index_before + 1 || ret->term < 1 ||
            ret->term < term_before || ret->term > term)
                return false;
        return content_is_good(type, ret);
}

static bool get_entries(struct reader *r, struct raft_entry *entries, const struct raft_message *m)
{
        uint64_t index = m->log_index, term = m->log_term;
        size_t n_bytes = 0;

        for (size_t i = 0; i < m->n_entries; i++) {
                if (!get_entry(r, index, term, m->term, &entries[i]))
                        return false;
                index = entries[i].index;
                term = entries[i].term;
                n_bytes += entries[i].n;
                if (i > 0 && n_bytes > RAFT_APPEND_BYTES_MAX)
                        return false;
        }
        return true;
}

bool raft_message_decode(struct reader *r, struct raft_entry *entries, struct raft_message *ret)
{
        struct raft_message m = { 0 };
        uint8_t type = reader_get_u8(r), flags;

        if (r->failed || type >= N_TYPES)
                return false;
        m.type = (enum raft_message_type)type;
        m.from = reader_get_u8(r);
        m.to = reader_get_u8(r);
        flags = reader_get_u8(r);
        m.granted = flags & FLAG_GRANTED;
        m.transfer = flags & FLAG_TRANSFER;
        m.quiet = flags & FLAG_QUIET;
        m.term = reader_get_u64(r);
        m.log_index = reader_get_u64(r);
        m.log_term = reader_get_u64(r);
        m.commit = reader_get_u64(r);
        m.round = reader_get_u64(r);
        m.hint_index = reader_get_u64(r);
        m.hint_term = reader_get_u64(r);
        m.n_entries = reader_get_u32(r);
        if (r->failed || m.n_entries > RAFT_APPEND_ENTRIES_MAX || !header_is_good(&m, flags) ||
            !details_are_good(&m) || !get_entries(r, entries, &m))
                return false;
        m.entries = m.n_entries > 0 ? entries : NULL;
        *ret = m;
        return true;
}

const char *raft_message_name(enum raft_message_type type)
{
        return (unsigned)type < N_TYPES ? layouts[type].name : "unknown";
}
