/* The wire format of messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "election/base/memory.h"
#include "election/base/random.h"
#include "election/raft/raft.h"

enum {
        OFFSET_TYPE = 0,
        OFFSET_FROM = 1,
        OFFSET_TO = 2,
        OFFSET_FLAGS = 3,
        OFFSET_N_ENTRIES = 4 + 7 * 8,
        OFFSET_ENTRY_TYPE = OFFSET_N_ENTRIES + 4 + 16,
};

static const uint8_t bytes[RAFT_ENTRY_BYTES_MAX + 1] = "some command";

/* clang-format off */
static const struct raft_entry entries[] = {
        { .index = 8, .term = 3, .type = RAFT_ENTRY_NOOP },
        { .index = 9, .term = 3, .type = RAFT_ENTRY_COMMAND, .bytes = bytes, .n = 12 },
        { .index = 10, .term = 5, .type = RAFT_ENTRY_COMMAND, .bytes = bytes, .n = 0 },
};

/* Voters 1, 2 and 9, learner 4, and what others put behind it. */
static const uint8_t configuration[] = { 3, 1, 2, 9, 1, 4, 'x', 'y' };
static const struct raft_entry change = { .index = 8, .term = 3, .type = RAFT_ENTRY_MEMBERS, .bytes = configuration, .n = sizeof(configuration) };

static const struct raft_message messages[] = {
        { .type = RAFT_PRE_VOTE, .from = 1, .to = 2, .term = 6, .log_index = 7, .log_term = 5 },
        { .type = RAFT_PRE_VOTE, .from = 1, .to = 2, .term = 1 },
        { .type = RAFT_PRE_VOTE_REPLY, .from = 9, .to = 1, .term = 6, .granted = true },
        { .type = RAFT_PRE_VOTE_REPLY, .from = 9, .to = 1, .term = 6 },
        { .type = RAFT_VOTE, .from = 3, .to = 2, .term = 6, .log_index = 7, .log_term = 5, .transfer = true },
        { .type = RAFT_VOTE_REPLY, .from = 3, .to = 2, .term = 6, .granted = true },
        { .type = RAFT_APPEND, .from = 3, .to = 2, .term = 6, .log_index = 7, .log_term = 2, .commit = 90, .round = 4, .entries = entries, .n_entries = 3 },
        { .type = RAFT_APPEND, .from = 3, .to = 2, .term = 6, .round = 4 },
        { .type = RAFT_APPEND_REPLY, .from = 3, .to = 2, .term = 6, .log_index = 7, .round = 4, .granted = true },
        { .type = RAFT_APPEND_REPLY, .from = 3, .to = 2, .term = 6, .log_index = 7, .round = 4, .hint_index = 6, .hint_term = 2 },
        { .type = RAFT_APPEND_REPLY, .from = 3, .to = 2, .term = 6, .log_index = 7, .round = 4, .transfer = true },
        { .type = RAFT_TIMEOUT_NOW, .from = 3, .to = 2, .term = 6, .log_index = 7, .log_term = 6 },
        { .type = RAFT_APPEND, .from = 3, .to = 2, .term = 6, .log_index = 7, .log_term = 2, .commit = 7, .round = 4, .quiet = true },
        { .type = RAFT_APPEND, .from = 3, .to = 2, .term = 6, .log_index = 7, .log_term = 2, .round = 4, .entries = &change, .n_entries = 1 },
};
/* clang-format on */

enum {
        N_MESSAGES = sizeof(messages) / sizeof(messages[0]),
};

static bool decodes(const struct buffer *b)
{
        struct raft_entry got[RAFT_APPEND_ENTRIES_MAX];
        struct raft_message m;
        struct reader r = reader_of(b->bytes, b->n);

        return raft_message_decode(&r, got, &m) && reader_done(&r);
}

static bool decodes_message(const struct raft_message *m)
{
        struct buffer b = { 0 };
        bool ok;

        raft_message_encode(m, &b);
        ok = decodes(&b);
        buffer_done(&b);
        return ok;
}

static void assert_same(const struct raft_message *a, const struct raft_message *b)
{
        assert_int_equal(a->type, b->type);
        assert_int_equal(a->from, b->from);
        assert_int_equal(a->to, b->to);
        assert_int_equal(a->term, b->term);
        assert_int_equal(a->log_index, b->log_index);
        assert_int_equal(a->log_term, b->log_term);
        assert_int_equal(a->commit, b->commit);
        assert_int_equal(a->round, b->round);
        assert_int_equal(a->hint_index, b->hint_index);
        assert_int_equal(a->hint_term, b->hint_term);
        assert_int_equal(a->granted, b->granted);
        assert_int_equal(a->transfer, b->transfer);
        assert_int_equal(a->quiet, b->quiet);
        assert_int_equal(a->n_entries, b->n_entries);
        for (size_t i = 0; i < a->n_entries; i++) {
                assert_int_equal(a->entries[i].index, b->entries[i].index);
                assert_int_equal(a->entries[i].term, b->entries[i].term);
                assert_int_equal(a->entries[i].type, b->entries[i].type);
                assert_int_equal(a->entries[i].n, b->entries[i].n);
                if (a->entries[i].n > 0)
                        assert_memory_equal(a->entries[i].bytes, b->entries[i].bytes,
                                            a->entries[i].n);
        }
}

static void what_was_encoded_is_decoded(void **state)
{
        (void)state;
        for (size_t i = 0; i < N_MESSAGES; i++) {
                struct raft_entry got[RAFT_APPEND_ENTRIES_MAX];
                struct raft_message m;
                struct buffer b = { 0 };
                struct reader r;

                raft_message_encode(&messages[i], &b);
                buffer_put_u8(&b, 77);
                r = reader_of(b.bytes, b.n);
                assert_true(raft_message_decode(&r, got, &m));
                assert_same(&messages[i], &m);
                assert_int_equal(reader_get_u8(&r), 77); /* what follows is left */
                buffer_done(&b);
        }
}

static void message_cut_anywhere_is_refused(void **state)
{
        (void)state;
        for (size_t i = 0; i < N_MESSAGES; i++) {
                struct buffer b = { 0 };

                raft_message_encode(&messages[i], &b);
                for (size_t n = 0; n < b.n; n++) {
                        uint8_t *copy = must_copy(b.bytes,
                                                  n); /* so that a sanitizer sees its end */
                        struct buffer cut = { .bytes = copy, .n = n };

                        assert_false(decodes(&cut));
                        free(copy);
                }
                buffer_done(&b);
        }
}

/* Message @i with one byte of its encoding changed. */
static bool decodes_with(size_t i, size_t offset, uint8_t value)
{
        struct buffer b = { 0 };
        bool ok;

        raft_message_encode(&messages[i], &b);
        b.bytes[offset] = value;
        ok = decodes(&b);
        buffer_done(&b);
        return ok;
}

static void unknown_types_members_and_flags_are_refused(void **state)
{
        (void)state;
        assert_true(decodes_with(0, OFFSET_TYPE, RAFT_PRE_VOTE));
        assert_false(decodes_with(0, OFFSET_TYPE, RAFT_TIMEOUT_NOW + 1));
        assert_false(decodes_with(0, OFFSET_TYPE, 255));
        for (size_t i = 0; i < N_MESSAGES; i++) {
                assert_false(decodes_with(i, OFFSET_FROM, 0));
                assert_false(decodes_with(i, OFFSET_FROM, MEMBERS_MAX + 1));
                assert_false(decodes_with(i, OFFSET_TO, 0));
                assert_false(decodes_with(i, OFFSET_TO, MEMBERS_MAX + 1));
                assert_false(decodes_with(i, OFFSET_TO, messages[i].from));
                assert_false(decodes_with(i, OFFSET_FLAGS, 8));
                assert_false(decodes_with(i, OFFSET_FLAGS, 3));
        }
        assert_false(decodes_with(0, OFFSET_FLAGS, 1)); /* a pre-vote grants nothing, */
        assert_false(decodes_with(0, OFFSET_FLAGS, 2)); /* and no leader orders it */
        assert_false(decodes_with(6, OFFSET_FLAGS, 1));
}

static void number_of_entries_must_be_true_and_bounded(void **state)
{
        (void)state;
        assert_false(decodes_with(6, OFFSET_N_ENTRIES, 2)); /* bytes are left over */
        assert_false(decodes_with(6, OFFSET_N_ENTRIES, 4));
        assert_false(decodes_with(6, OFFSET_N_ENTRIES + 1, 2)); /* 515 */
        assert_false(decodes_with(6, OFFSET_N_ENTRIES + 3, 255));
        assert_false(decodes_with(8, OFFSET_N_ENTRIES, 1)); /* not an append */
}

static void entries_of_an_unknown_type_are_refused(void **state)
{
        (void)state;
        assert_true(decodes_with(6, OFFSET_ENTRY_TYPE, RAFT_ENTRY_NOOP));
        assert_false(decodes_with(6, OFFSET_ENTRY_TYPE, RAFT_ENTRY_MEMBERS)); /* without any */
        assert_false(decodes_with(6, OFFSET_ENTRY_TYPE, RAFT_ENTRY_MEMBERS + 1));
}

/* Whether an append of one configuration with these bytes is taken. */
static bool decodes_configuration(const uint8_t *configuration_bytes, size_t n)
{
        struct raft_entry entry = change;
        struct raft_message m = messages[13];

        entry.bytes = configuration_bytes;
        entry.n = n;
        m.entries = &entry;
        return decodes_message(&m);
}

#define DECODES(...)                                                                               \
        decodes_configuration((const uint8_t[]){ __VA_ARGS__ },                                    \
                              sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void configurations_that_are_none_are_refused(void **state)
{
        uint8_t *large = must_alloc(RAFT_CONTEXT_BYTES_MAX + 5, 1);

        (void)state;
        assert_true(DECODES(1, 1, 0));
        assert_true(DECODES(2, 1, 9, 2, 8, 3));
        assert_false(DECODES(0, 0)); /* no voter */
        assert_false(DECODES(0, 1, 1));
        assert_false(DECODES(1, 1)); /* cut */
        assert_false(DECODES(1, 1, 2, 2));
        assert_false(DECODES(1, 0, 0)); /* no ids */
        assert_false(DECODES(1, 10, 0));
        assert_false(DECODES(2, 3, 3, 0)); /* twice */
        assert_false(DECODES(2, 1, 2, 1, 2)); /* both */
        assert_false(DECODES(10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 0));
        assert_false(DECODES(255, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 0));
        large[0] = large[1] = 1;
        assert_true(decodes_configuration(large, RAFT_CONTEXT_BYTES_MAX + 3));
        assert_false(decodes_configuration(large, RAFT_CONTEXT_BYTES_MAX + 4));
        free(large);
}

static void inconsistent_messages_are_refused(void **state)
{
        struct raft_message m;

        (void)state;
        m = messages[0];
        m.term = 0;
        assert_false(decodes_message(&m));
        m.term = UINT64_MAX;
        assert_false(decodes_message(&m));
        m = messages[0];
        m.log_term = m.term; /* it asks for a term that its log has already */
        assert_false(decodes_message(&m));
        m = messages[0];
        m.log_index = 0; /* a term without an entry */
        assert_false(decodes_message(&m));
        m = messages[0];
        m.log_term = 0; /* an entry without a term */
        assert_false(decodes_message(&m));
        m = messages[0];
        m.round = 1; /* not its field */
        assert_false(decodes_message(&m));
        m = messages[6];
        m.log_term = 7; /* above the term of the message */
        assert_false(decodes_message(&m));
        m = messages[6];
        m.term = 4; /* below the term of an entry */
        assert_false(decodes_message(&m));
        m = messages[6];
        m.log_term = 4; /* above the term of the first entry */
        assert_false(decodes_message(&m));
        m = messages[6];
        m.commit = UINT64_MAX;
        assert_false(decodes_message(&m));
        m = messages[9];
        m.hint_index = 8; /* behind what was rejected */
        assert_false(decodes_message(&m));
        m = messages[6];
        m.quiet = true; /* with entries */
        assert_false(decodes_message(&m));
        m = messages[9];
        m.granted = true; /* a hint with a grant */
        assert_false(decodes_message(&m));
}

/* Entry 1 of message 6 with another index or term, put into its encoding at @offset. */
static bool decodes_with_entry(size_t field, uint64_t value)
{
        struct buffer b = { 0 };
        size_t offset = OFFSET_N_ENTRIES + 4 + (8 + 8 + 1 + 4) + field * 8;
        bool ok;

        raft_message_encode(&messages[6], &b);
        for (unsigned i = 0; i < 8; i++)
                b.bytes[offset + i] = (uint8_t)(value >> (8 * i));
        ok = decodes(&b);
        buffer_done(&b);
        return ok;
}

static void entries_must_be_consecutive_and_their_terms_must_not_fall(void **state)
{
        (void)state;
        assert_true(decodes_with_entry(0, 9));
        assert_false(decodes_with_entry(0, 8));
        assert_false(decodes_with_entry(0, 10));
        assert_true(decodes_with_entry(1, 5));
        assert_false(decodes_with_entry(1, 0));
        assert_false(decodes_with_entry(1, 2));
        assert_false(decodes_with_entry(1, 6)); /* the one behind it has 5 */
        assert_false(decodes_with_entry(1, 7)); /* above the message */
}

static void bytes_of_entries_are_bounded(void **state)
{
        struct raft_entry two[2] = {
                { .index = 1, .term = 1, .type = RAFT_ENTRY_COMMAND, .bytes = bytes },
                { .index = 2, .term = 1, .type = RAFT_ENTRY_COMMAND, .bytes = bytes },
        };
        struct raft_message m = {
                .type = RAFT_APPEND, .from = 1, .to = 2, .term = 1, .entries = two, .n_entries = 1
        };
        struct buffer b = { 0 };

        (void)state;
        two[0].n = RAFT_ENTRY_BYTES_MAX;
        assert_true(decodes_message(&m)); /* a large one travels alone */
        m.n_entries = 2;
        assert_false(decodes_message(&m));
        two[0].n = two[1].n = RAFT_APPEND_BYTES_MAX / 2;
        assert_true(decodes_message(&m));
        two[1].n++;
        assert_false(decodes_message(&m));
        m.n_entries = 1;
        two[0].n = 1;
        raft_message_encode(&m, &b);
        b.n -= 5;
        buffer_put_blob(&b, bytes, RAFT_ENTRY_BYTES_MAX + 1);
        assert_false(decodes(&b));
        buffer_done(&b);
}

/* Whatever decodes is encoded again to the same bytes: nothing is understood in two ways. */
static void random_bytes_are_refused_or_understood_exactly(void **state)
{
        struct random random = { .state = 7 };
        unsigned n_understood = 0;

        (void)state;
        for (unsigned round = 0; round < 200000; round++) {
                struct raft_entry got[RAFT_APPEND_ENTRIES_MAX];
                struct raft_message m;
                struct buffer b = { 0 }, again = { 0 };
                struct reader r;

                raft_message_encode(&messages[random_below(&random, N_MESSAGES)], &b);
                for (uint64_t n = random_below(&random, 4); n > 0; n--)
                        b.bytes[random_below(&random, b.n)] = (uint8_t)random_below(
                                &random, random_below(&random, 2) ? 12 : 256);
                r = reader_of(b.bytes, b.n);
                if (raft_message_decode(&r, got, &m) && reader_done(&r)) {
                        raft_message_encode(&m, &again);
                        assert_int_equal(again.n, b.n);
                        assert_memory_equal(again.bytes, b.bytes, b.n);
                        n_understood++;
                }
                buffer_done(&b);
                buffer_done(&again);
        }
        assert_in_range(n_understood, 20000, 180000);
}

static void everything_has_a_name_of_its_own(void **state)
{
        (void)state;
        for (int a = 0; a <= RAFT_TIMEOUT_NOW; a++)
                for (int b = 0; b < a; b++)
                        assert_string_not_equal(raft_message_name((enum raft_message_type)a),
                                                raft_message_name((enum raft_message_type)b));
        for (int a = 0; a <= RAFT_BAD_COMMAND; a++)
                for (int b = 0; b < a; b++)
                        assert_string_not_equal(raft_refusal_name((enum raft_refusal)a),
                                                raft_refusal_name((enum raft_refusal)b));
        for (int a = 0; a <= RAFT_LEADER; a++)
                for (int b = 0; b < a; b++)
                        assert_string_not_equal(raft_role_name((enum raft_role)a),
                                                raft_role_name((enum raft_role)b));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_was_encoded_is_decoded),
                cmocka_unit_test(message_cut_anywhere_is_refused),
                cmocka_unit_test(unknown_types_members_and_flags_are_refused),
                cmocka_unit_test(number_of_entries_must_be_true_and_bounded),
                cmocka_unit_test(entries_of_an_unknown_type_are_refused),
                cmocka_unit_test(configurations_that_are_none_are_refused),
                cmocka_unit_test(inconsistent_messages_are_refused),
                cmocka_unit_test(entries_must_be_consecutive_and_their_terms_must_not_fall),
                cmocka_unit_test(bytes_of_entries_are_bounded),
                cmocka_unit_test(random_bytes_are_refused_or_understood_exactly),
                cmocka_unit_test(everything_has_a_name_of_its_own),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
