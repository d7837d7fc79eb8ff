/* Words: every note, event and effect has its own, whatever it holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "election/describe.h"

enum { TEXT_SIZE = 512, TEXTS_MAX = 64 };

struct texts {
        char list[TEXTS_MAX][TEXT_SIZE];
        size_t n;
};

static const char *const services[] = { "orders" };
static const struct describe_names names = { .members = { NULL, "db1", "db2" },
                                             .services = services,
                                             .n_services = 1 };

/* The newest text says something, and what no other says. */
static void check(struct texts *t)
{
        const char *text = t->list[t->n];

        assert_true(strlen(text) > 3);
        assert_null(strstr(text, "(null)"));
        for (size_t i = 0; i < t->n; i++)
                assert_string_not_equal(t->list[i], text);
        t->n++;
        assert_true(t->n < TEXTS_MAX);
}

static void every_note_has_words_of_its_own(void **state)
{
        struct texts t = { .n = 0 };

        (void)state;
        for (unsigned i = NODE_NOTE_RAFT; i <= NODE_NOTE_BAD_MESSAGE; i++) {
                struct node_note note = { .type = i, .member = 1, .text = "because" };

                describe_note(&note, &names, t.list[t.n], TEXT_SIZE);
                check(&t);
        }
}

static void every_note_of_raft_has_words_of_its_own(void **state)
{
        struct texts t = { .n = 0 };

        (void)state;
        for (unsigned i = RAFT_NOTE_PRE_VOTE_STARTED; i <= RAFT_NOTE_PEER_LOST_LOG; i++) {
                struct node_note note = { .type = NODE_NOTE_RAFT, .raft = i, .member = 2 };

                describe_note(&note, &names, t.list[t.n], TEXT_SIZE);
                check(&t);
        }
}

static void every_event_has_words_of_its_own(void **state)
{
        struct node_database_status status = { 0 };
        struct node_change change = { .name = "db4" };
        struct texts t = { .n = 0 };

        (void)state;
        for (unsigned i = NODE_TIMEOUT; i <= NODE_HANDS_ADDRESSES; i++) {
                struct node_event event = {
                        .type = i, .status = &status, .change = &change, .from = 2
                };

                describe_event(&event, &names, t.list[t.n], TEXT_SIZE);
                check(&t);
        }
}

static void every_effect_has_words_of_its_own(void **state)
{
        struct texts t = { .n = 0 };

        (void)state;
        for (unsigned i = NODE_PERSIST; i <= NODE_NOTE; i++) {
                struct node_effect effect = { .type = i,
                                              .to = 2,
                                              .run.step = FAILOVER_STEP_PROMOTE };

                describe_effect(&effect, &names, t.list[t.n], TEXT_SIZE);
                check(&t);
        }
}

static void every_state_step_and_outcome_has_a_name_of_its_own(void **state)
{
        (void)state;
        for (unsigned i = 0; i < FAILOVER_STATES; i++) {
                assert_string_not_equal(failover_state_name(i), "unknown");
                assert_string_not_equal(failover_state_phrase(i), "unknown");
        }
        for (unsigned i = 0; i < FAILOVER_STEPS; i++)
                assert_string_not_equal(failover_step_name(i), "unknown");
        for (unsigned i = FAILOVER_DATABASE_ABSENT; i <= FAILOVER_DATABASE_FOREIGN; i++)
                assert_string_not_equal(failover_database_state_name(i), "unknown");
        for (unsigned i = FAILOVER_ROLE_NONE; i <= FAILOVER_ROLE_STANDBY; i++)
                assert_string_not_equal(failover_database_role_name(i), "unknown");
        for (unsigned i = NODE_OK; i <= NODE_OVERLOADED; i++)
                assert_string_not_equal(node_outcome_name(i), "unknown");
        assert_string_equal(failover_state_name(FAILOVER_STATES), "unknown");
}

/* What is not known by name is told by number, and a text that does not fit is cut. */
static void unknown_names_and_short_buffers_do_no_harm(void **state)
{
        struct node_note note = { .type = NODE_NOTE_LEASE_GRANTED,
                                  .service = 7,
                                  .epoch = 12,
                                  .member = MEMBERS_MAX + 1 };
        char text[TEXT_SIZE];

        (void)state;
        describe_note(&note, &names, text, sizeof(text));
        assert_string_equal(text, "service ?: lease 12 granted to node 10");
        for (size_t size = 1; size < 40; size++) {
                char exact[40];

                memset(text, '#', sizeof(text));
                describe_note(&note, &names, text, size);
                assert_int_equal(text[size], '#');
                assert_non_null(memchr(text, '\0', size));
                memcpy(exact, "service ?: lease 12 granted to node 10", 39);
                exact[size - 1 < 38 ? size - 1 : 38] = '\0';
                assert_string_equal(text, exact);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_note_has_words_of_its_own),
                cmocka_unit_test(every_note_of_raft_has_words_of_its_own),
                cmocka_unit_test(every_event_has_words_of_its_own),
                cmocka_unit_test(every_effect_has_words_of_its_own),
                cmocka_unit_test(every_state_step_and_outcome_has_a_name_of_its_own),
                cmocka_unit_test(unknown_names_and_short_buffers_do_no_harm),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
