/* The tree of keys: each operation with its indices, its event, and its errors with their causes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "election/base/memory.h"
#include "election/base/random.h"
#include "election/store/store.h"

struct fixture {
        struct store *store;
        uint64_t log_index; /* kept apart from the etcd index on purpose */
        struct instant now;
        struct store_result result;
};

static int setup(void **state)
{
        struct fixture *f = must_alloc(1, sizeof(*f));

        *f = (struct fixture){ .store = store_new(),
                               .log_index = 1000,
                               .now = { 500 * USEC_PER_SEC } };
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        store_free(f->store);
        free(f);
        return 0;
}

static void apply(struct fixture *f, const struct store_command *c)
{
        struct buffer b = { 0 };

        assert_int_equal(store_command_check(c), 0);
        store_command_encode(c, &b);
        store_apply(f->store, ++f->log_index, b.bytes, b.n, f->now, &f->result);
        assert_true(f->result.valid);
        buffer_done(&b);
}

static enum store_error change(struct fixture *f, struct store_key_command k)
{
        struct store_command c = { .type = STORE_KEY, .origin = { .node = 1 }, .key = k };
        uint64_t before = store_index(f->store);

        apply(f, &c);
        assert_true(f->result.index == store_index(f->store));
        assert_true(store_index(f->store) == before + (f->result.error == STORE_OK));
        assert_true((f->result.event == NULL) == (f->result.error != STORE_OK));
        if (f->result.event)
                assert_true(f->result.event->index == f->result.index);
        return f->result.error;
}

#define CHANGE(f, ...) change((f), (struct store_key_command){ __VA_ARGS__ })
#define SET(f, ...) CHANGE(f, .action = STORE_SET, __VA_ARGS__)
#define ASSERT_OK(call) assert_int_equal((call), STORE_OK)
#define ASSERT_FAILS(f, call, code, why)                                                           \
        do {                                                                                       \
                assert_int_equal((call), (code));                                                  \
                assert_string_equal((f)->result.cause, (why));                                     \
                assert_int_equal((f)->result.n_cause, strlen(why));                                \
        } while (0)

/* What the answer shows as the node. */
static void shows(const struct fixture *f, enum store_action action, const char *path,
                  const char *value, uint64_t created, uint64_t modified)
{
        const struct store_event *e = f->result.event;

        assert_non_null(e);
        assert_string_equal(store_action_name(e->action), store_action_name(action));
        assert_string_equal(e->node.path, path);
        if (value)
                assert_string_equal(e->node.value, value);
        else
                assert_null(e->node.value);
        assert_true(e->node.created == created);
        assert_true(e->node.modified == modified);
}

/* What the answer shows as the node before the change. */
static void showed(const struct fixture *f, const char *value, uint64_t created, uint64_t modified)
{
        const struct store_event *e = f->result.event;

        assert_true(e->has_previous);
        assert_string_equal(e->previous.path, e->node.path);
        if (value)
                assert_string_equal(e->previous.value, value);
        else
                assert_null(e->previous.value);
        assert_true(e->previous.created == created);
        assert_true(e->previous.modified == modified);
}

static struct store_view view(const struct fixture *f, const char *path)
{
        const struct store_node *n = NULL;

        assert_int_equal(store_get(f->store, path, &n), STORE_OK);
        return store_node_view(n);
}

static void holds(const struct fixture *f, const char *path, const char *value, uint64_t created,
                  uint64_t modified)
{
        struct store_view v = view(f, path);

        assert_string_equal(v.path, path);
        assert_string_equal(v.value, value);
        assert_int_equal(v.n_value, strlen(value));
        assert_false(v.directory);
        assert_true(v.created == created);
        assert_true(v.modified == modified);
}

static void is_missing(const struct fixture *f, const char *path, const char *cause)
{
        const struct store_node *n = NULL;
        char buffer[STORE_KEY_BYTES_MAX + 1];

        assert_int_equal(store_get(f->store, path, &n), STORE_KEY_NOT_FOUND);
        assert_null(n);
        assert_int_equal(store_get_cause(f->store, path, buffer, sizeof(buffer)), strlen(cause));
        assert_string_equal(buffer, cause);
}

/* set */

static void set_makes_a_key_and_counts_one(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(store_index(f->store), 0);
        ASSERT_OK(SET(f, .path = "/a", .value = "1"));
        shows(f, STORE_DID_SET, "/a", "1", 1, 1);
        assert_false(f->result.event->has_previous);
        holds(f, "/a", "1", 1, 1);
}

static void set_over_a_file_restarts_its_created_index(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/a", .value = "1"));
        ASSERT_OK(SET(f, .path = "/a", .value = ""));
        shows(f, STORE_DID_SET, "/a", "", 2, 2);
        showed(f, "1", 1, 1);
        holds(f, "/a", "", 2, 2);
}

static void missing_parents_are_made_with_the_index_of_the_child(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/x", .value = "1"));
        ASSERT_OK(SET(f, .path = "/a/b/c", .value = "1"));
        assert_true(view(f, "/a").directory);
        assert_true(view(f, "/a").created == 2 && view(f, "/a/b").modified == 2);
        ASSERT_OK(SET(f, .path = "/a/b/d", .value = "1"));
        assert_true(view(f, "/a/b").modified == 2);
        assert_int_equal(store_index(f->store), 3);
}

static void set_below_a_file_is_refused_with_the_file_as_cause(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/a/b", .value = "1"));
        ASSERT_FAILS(f, SET(f, .path = "/a/b/c/d", .value = "1"), STORE_NOT_DIRECTORY, "/a/b");
        is_missing(f, "/a/c", "/a/c");
}

static void root_cannot_be_written_or_removed(void **state)
{
        struct fixture *f = *state;

        ASSERT_FAILS(f, SET(f, .path = "/", .value = "1"), STORE_ROOT_READ_ONLY, "/");
        ASSERT_FAILS(f, SET(f, .path = "/", .condition = STORE_MUST_NOT_EXIST),
                     STORE_ROOT_READ_ONLY, "/");
        ASSERT_FAILS(f, SET(f, .path = "/", .condition = STORE_MUST_EXIST), STORE_ROOT_READ_ONLY,
                     "/");
        ASSERT_FAILS(f, SET(f, .path = "/", .previous_index = 1), STORE_ROOT_READ_ONLY, "/");
        ASSERT_FAILS(f, CHANGE(f, .action = STORE_DELETE, .path = "/", .recursive = true),
                     STORE_ROOT_READ_ONLY, "/");
}

static void set_of_a_directory_is_refused_as_file_and_as_directory(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/d", .directory = true));
        shows(f, STORE_DID_SET, "/d", NULL, 1, 1);
        assert_true(f->result.event->node.directory);
        ASSERT_FAILS(f, SET(f, .path = "/d", .value = "1"), STORE_NOT_FILE, "/d");
        ASSERT_FAILS(f, SET(f, .path = "/d", .directory = true), STORE_NOT_FILE, "/d");
}

static void directory_takes_the_place_of_a_file(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/a", .value = "1"));
        ASSERT_OK(SET(f, .path = "/a", .value = "dropped", .directory = true));
        shows(f, STORE_DID_SET, "/a", NULL, 2, 2);
        showed(f, "1", 1, 1);
        assert_true(view(f, "/a").directory);
        ASSERT_OK(SET(f, .path = "/a/b", .value = "1"));
}

static void value_may_hold_any_bytes(void **state)
{
        struct fixture *f = *state;
        struct store_view v;

        ASSERT_OK(SET(f, .path = "/a", .value = "x\0y\n", .n_value = 4));
        v = view(f, "/a");
        assert_int_equal(v.n_value, 4);
        assert_memory_equal(v.value, "x\0y\n", 5);
        assert_int_equal(SET(f, .path = "/a", .value = "z", .previous_value = "x"),
                         STORE_TEST_FAILED);
        assert_int_equal(f->result.n_cause, strlen("[x != x_y_]"));
        assert_memory_equal(f->result.cause, "[x != x\0y\n]", 12);
        ASSERT_OK(SET(f, .path = "/a", .value = "z", .previous_value = "x\0y\n",
                      .n_previous_value = 4));
}

/* create */

static void create_refuses_what_exists_as_file_or_directory(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/d/a", .value = "1", .condition = STORE_MUST_NOT_EXIST));
        shows(f, STORE_DID_CREATE, "/d/a", "1", 1, 1);
        assert_false(f->result.event->has_previous);
        ASSERT_FAILS(f, SET(f, .path = "/d/a", .condition = STORE_MUST_NOT_EXIST), STORE_NODE_EXIST,
                     "/d/a");
        ASSERT_FAILS(f, SET(f, .path = "/d", .condition = STORE_MUST_NOT_EXIST), STORE_NODE_EXIST,
                     "/d");
        ASSERT_FAILS(f, SET(f, .path = "/d/a/b", .condition = STORE_MUST_NOT_EXIST),
                     STORE_NOT_DIRECTORY, "/d/a");
        ASSERT_OK(SET(f, .path = "/e", .directory = true, .condition = STORE_MUST_NOT_EXIST));
        assert_true(view(f, "/e").directory);
}

static void create_wins_over_comparisons(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/a", .value = "1", .condition = STORE_MUST_NOT_EXIST,
                      .previous_value = "other", .previous_index = 7));
        shows(f, STORE_DID_CREATE, "/a", "1", 1, 1);
}

/* update */

static void update_keeps_the_created_index(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/a", .value = "1"));
        ASSERT_OK(SET(f, .path = "/a", .value = "2", .condition = STORE_MUST_EXIST));
        shows(f, STORE_DID_UPDATE, "/a", "2", 1, 2);
        showed(f, "1", 1, 1);
        ASSERT_OK(SET(f, .path = "/a", .condition = STORE_MUST_EXIST, .directory = true));
        holds(f, "/a", "", 1, 3);
}

static void update_of_what_is_missing_names_the_first_missing_part(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/a/f", .value = "1"));
        ASSERT_FAILS(f, SET(f, .path = "/a/b/c/d", .value = "1", .condition = STORE_MUST_EXIST),
                     STORE_KEY_NOT_FOUND, "/a/b");
        ASSERT_FAILS(f, SET(f, .path = "/a/f/c", .value = "1", .condition = STORE_MUST_EXIST),
                     STORE_NOT_DIRECTORY, "/a/f");
}

static void update_of_a_directory_changes_its_ttl_only(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/d/a", .value = "1"));
        ASSERT_FAILS(f, SET(f, .path = "/d", .value = "1", .condition = STORE_MUST_EXIST),
                     STORE_NOT_FILE, "/d");
        ASSERT_OK(SET(f, .path = "/d", .condition = STORE_MUST_EXIST, .has_ttl = true,
                      .ttl = 5 * USEC_PER_SEC));
        shows(f, STORE_DID_UPDATE, "/d", NULL, 1, 2);
        showed(f, NULL, 1, 1);
        assert_true(f->result.event->node.has_ttl && !f->result.event->previous.has_ttl);
        assert_true(view(f, "/d").has_ttl);
        holds(f, "/d/a", "1", 1, 1);
}

/* compareAndSwap */

static void swap_needs_every_condition_that_is_given(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/a", .value = "1"));
        ASSERT_FAILS(f, SET(f, .path = "/a", .value = "2", .previous_value = "x"),
                     STORE_TEST_FAILED, "[x != 1]");
        ASSERT_FAILS(f, SET(f, .path = "/a", .value = "2", .previous_index = 18), STORE_TEST_FAILED,
                     "[18 != 1]");
        ASSERT_FAILS(
                f, SET(f, .path = "/a", .value = "2", .previous_value = "x", .previous_index = 18),
                STORE_TEST_FAILED, "[x != 1] [18 != 1]");
        ASSERT_FAILS(
                f, SET(f, .path = "/a", .value = "2", .previous_value = "1", .previous_index = 18),
                STORE_TEST_FAILED, "[18 != 1]");
        ASSERT_FAILS(f,
                     SET(f, .path = "/a", .value = "2", .previous_value = "x", .previous_index = 1),
                     STORE_TEST_FAILED, "[x != 1]");
        holds(f, "/a", "1", 1, 1);
        ASSERT_OK(SET(f, .path = "/a", .value = "2", .previous_value = "1", .previous_index = 1));
        shows(f, STORE_DID_COMPARE_AND_SWAP, "/a", "2", 1, 2);
        showed(f, "1", 1, 1);
        ASSERT_OK(SET(f, .path = "/a", .value = "3", .previous_index = 2));
        ASSERT_OK(SET(f, .path = "/a", .value = "4", .previous_value = "3"));
        holds(f, "/a", "4", 1, 4);
}

static void must_exist_with_a_comparison_is_a_swap(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/a", .value = "1"));
        ASSERT_OK(SET(f, .path = "/a", .value = "2", .condition = STORE_MUST_EXIST,
                      .previous_value = "1"));
        shows(f, STORE_DID_COMPARE_AND_SWAP, "/a", "2", 1, 2);
        ASSERT_OK(SET(f, .path = "/a", .value = "3", .condition = STORE_MUST_EXIST,
                      .previous_index = 0));
        shows(f, STORE_DID_UPDATE, "/a", "3", 1, 3);
}

static void swap_of_what_is_missing_or_a_directory_is_no_failed_comparison(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/d/a", .value = "1"));
        ASSERT_FAILS(f, SET(f, .path = "/b", .previous_value = "1"), STORE_KEY_NOT_FOUND, "/b");
        ASSERT_FAILS(f, SET(f, .path = "/d", .previous_index = 1), STORE_NOT_FILE, "/d");
        ASSERT_FAILS(f, SET(f, .path = "/d/a/b", .previous_index = 1), STORE_NOT_DIRECTORY, "/d/a");
}

static void index_that_wraps_a_decimal_prints_whole(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/a", .value = "1"));
        ASSERT_FAILS(f, SET(f, .path = "/a", .previous_index = UINT64_MAX), STORE_TEST_FAILED,
                     "[18446744073709551615 != 1]");
}

/* POST */

static void in_order_keys_are_named_after_the_index_they_get(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/a", .value = "1"));
        ASSERT_OK(CHANGE(f, .action = STORE_CREATE, .path = "/q", .value = "job"));
        shows(f, STORE_DID_CREATE, "/q/00000000000000000002", "job", 2, 2);
        assert_true(view(f, "/q").created == 2);
        ASSERT_OK(CHANGE(f, .action = STORE_CREATE, .path = "/", .directory = true,
                         .previous_value = "means nothing"));
        shows(f, STORE_DID_CREATE, "/00000000000000000003", NULL, 3, 3);
        assert_true(view(f, "/00000000000000000003").directory);
        ASSERT_FAILS(f, CHANGE(f, .action = STORE_CREATE, .path = "/a", .value = "1"),
                     STORE_NOT_DIRECTORY, "/a");
        assert_int_equal(store_index(f->store), 3);
}

static void in_order_key_that_would_be_too_long_or_deep_is_refused(void **state)
{
        struct fixture *f = *state;
        char path[STORE_KEY_BYTES_MAX + 1];

        memset(path, 'x', sizeof(path));
        path[0] = '/';
        path[STORE_KEY_BYTES_MAX - 20] = '\0';
        assert_int_equal(CHANGE(f, .action = STORE_CREATE, .path = path, .value = "1"),
                         STORE_INVALID_FIELD);
        path[STORE_KEY_BYTES_MAX - 21] = '\0';
        ASSERT_OK(CHANGE(f, .action = STORE_CREATE, .path = path, .value = "1"));

        for (int i = 0; i < STORE_KEY_DEPTH_MAX; i++)
                memcpy(path + 2 * i, "/d", 3);
        assert_int_equal(CHANGE(f, .action = STORE_CREATE, .path = path, .value = "1"),
                         STORE_INVALID_FIELD);
        path[2 * STORE_KEY_DEPTH_MAX - 2] = '\0';
        ASSERT_OK(CHANGE(f, .action = STORE_CREATE, .path = path, .value = "1"));
}

/* DELETE */

static void delete_shows_what_was_there(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/a", .value = "1"));
        ASSERT_OK(CHANGE(f, .action = STORE_DELETE, .path = "/a", .recursive = true));
        shows(f, STORE_DID_DELETE, "/a", NULL, 1, 2);
        assert_false(f->result.event->node.directory);
        showed(f, "1", 1, 1);
        is_missing(f, "/a", "/a");
        ASSERT_FAILS(f, CHANGE(f, .action = STORE_DELETE, .path = "/a"), STORE_KEY_NOT_FOUND, "/a");
}

static void directory_is_deleted_only_when_asked_for_and_empty_or_recursive(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/d/_hidden", .value = "1"));
        ASSERT_FAILS(f, CHANGE(f, .action = STORE_DELETE, .path = "/d"), STORE_NOT_FILE, "/d");
        ASSERT_FAILS(f, CHANGE(f, .action = STORE_DELETE, .path = "/d", .directory = true),
                     STORE_DIRECTORY_NOT_EMPTY, "/d");
        ASSERT_OK(CHANGE(f, .action = STORE_DELETE, .path = "/d/_hidden"));
        assert_true(view(f, "/d").directory);
        ASSERT_OK(CHANGE(f, .action = STORE_DELETE, .path = "/d", .directory = true));
        is_missing(f, "/d", "/d");
}

static void removal_of_a_tree_is_one_change(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/d/e/a", .value = "1"));
        ASSERT_OK(SET(f, .path = "/d/e/b", .value = "1", .has_ttl = true, .ttl = 1));
        ASSERT_OK(SET(f, .path = "/d/f", .value = "1"));
        ASSERT_OK(CHANGE(f, .action = STORE_DELETE, .path = "/d", .recursive = true));
        shows(f, STORE_DID_DELETE, "/d", NULL, 1, 4);
        assert_true(f->result.event->node.directory);
        assert_true(f->result.event->previous.directory);
        is_missing(f, "/d/e/a", "/d");
        assert_true(store_next_due(f->store, INSTANT_NEVER).usec == UINT64_MAX);
        ASSERT_OK(SET(f, .path = "/d/e/a", .value = "2"));
        holds(f, "/d/e/a", "2", 5, 5);
}

static void compare_and_delete_is_for_files_that_fit(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/d/a", .value = "1"));
        ASSERT_FAILS(f, CHANGE(f, .action = STORE_DELETE, .path = "/b", .previous_index = 1),
                     STORE_KEY_NOT_FOUND, "/b");
        ASSERT_FAILS(f,
                     CHANGE(f, .action = STORE_DELETE, .path = "/d", .previous_index = 1,
                            .recursive = true),
                     STORE_NOT_FILE, "/d");
        ASSERT_FAILS(f, CHANGE(f, .action = STORE_DELETE, .path = "/d/a", .previous_value = "2"),
                     STORE_TEST_FAILED, "[2 != 1]");
        ASSERT_OK(CHANGE(f, .action = STORE_DELETE, .path = "/d/a", .previous_value = "1"));
        shows(f, STORE_DID_COMPARE_AND_DELETE, "/d/a", NULL, 1, 2);
        showed(f, "1", 1, 1);
}

/* Reading. */

static void get_of_what_is_missing_names_the_first_missing_part(void **state)
{
        struct fixture *f = *state;
        const struct store_node *n = NULL;
        char cause[STORE_KEY_BYTES_MAX + 1];

        ASSERT_OK(SET(f, .path = "/a/f", .value = "1"));
        is_missing(f, "/a/b/c", "/a/b");
        is_missing(f, "/x/y/z", "/x");
        assert_int_equal(store_get(f->store, "/a/f/g/h", &n), STORE_NOT_DIRECTORY);
        assert_null(n);
        (void)store_get_cause(f->store, "/a/f/g/h", cause, sizeof(cause));
        assert_string_equal(cause, "/a/f");
        assert_int_equal(store_get_cause(f->store, "/x", cause, 2), 1);
        assert_string_equal(cause, "/");
}

static void directory_lists_its_children(void **state)
{
        struct fixture *f = *state;
        const struct store_node *d = NULL;
        unsigned seen = 0;

        ASSERT_OK(SET(f, .path = "/d/a", .value = "1"));
        ASSERT_OK(SET(f, .path = "/d/_b", .value = "1"));
        ASSERT_OK(SET(f, .path = "/d/c/e", .value = "1"));
        ASSERT_OK(SET(f, .path = "/_x/y", .value = "1"));
        assert_int_equal(store_get(f->store, "/d", &d), STORE_OK);
        for (const struct store_node *n = store_node_first(d); n; n = store_node_next(n)) {
                struct store_view v = store_node_view(n);

                seen |= strcmp(v.path, "/d/a") == 0 ? 1u : 0u;
                seen |= strcmp(v.path, "/d/_b") == 0 ? 2u : 0u;
                seen |= strcmp(v.path, "/d/c") == 0 ? 4u : 0u;
                assert_int_equal(store_node_hidden(n), strcmp(v.path, "/d/_b") == 0);
        }
        assert_int_equal(seen, 7);
        assert_int_equal(store_get(f->store, "/_x/y", &d), STORE_OK);
        assert_false(store_node_hidden(d));
        assert_int_equal(store_get(f->store, "/_x", &d), STORE_OK);
        assert_true(store_node_hidden(d));
        assert_int_equal(store_get(f->store, "/", &d), STORE_OK);
        assert_false(store_node_hidden(d));
        assert_string_equal(store_node_view(d).path, "/");
}

static void system_directory_is_written_only_by_ourselves(void **state)
{
        struct fixture *f = *state;

        ASSERT_FAILS(f, SET(f, .path = "/_failoverd", .directory = true), STORE_KEY_FORBIDDEN,
                     "/_failoverd");
        ASSERT_FAILS(f, SET(f, .path = "/_failoverd/a", .value = "1"), STORE_KEY_FORBIDDEN,
                     "/_failoverd/a");
        ASSERT_OK(SET(f, .path = "/_failoverd/a", .value = "1", .system = true));
        holds(f, "/_failoverd/a", "1", 1, 1);
        ASSERT_FAILS(f, CHANGE(f, .action = STORE_CREATE, .path = "/_failoverd"),
                     STORE_KEY_FORBIDDEN, "/_failoverd");
        ASSERT_FAILS(f, CHANGE(f, .action = STORE_DELETE, .path = "/_failoverd", .recursive = true),
                     STORE_KEY_FORBIDDEN, "/_failoverd");
        ASSERT_OK(SET(f, .path = "/_failoverdx", .value = "1"));
        ASSERT_OK(CHANGE(f, .action = STORE_DELETE, .path = "/_failoverd/a", .system = true));
}

/* TTL */

static bool expire_key(struct fixture *f, const char *path, uint64_t renewed)
{
        char name[STORE_KEY_BYTES_MAX + 1];
        struct store_expiry e = { .kind = STORE_LEASE_KEY, .name = name, .renewed = renewed };
        struct store_command c = {
                .type = STORE_EXPIRE, .origin = { .node = 1 }, .expiries = &e, .n = 1
        };

        (void)snprintf(name, sizeof(name), "%s", path);
        apply(f, &c);
        assert_int_equal(f->result.n_outcomes, 1);
        assert_string_equal(f->result.outcomes[0].name, path);
        assert_int_equal(f->result.outcomes[0].kind, STORE_LEASE_KEY);
        return f->result.outcomes[0].accepted;
}

static void key_expires_by_an_entry_that_names_its_last_grant(void **state)
{
        struct fixture *f = *state;
        uint64_t granted;

        ASSERT_OK(SET(f, .path = "/a", .value = "1", .has_ttl = true, .ttl = USEC_PER_SEC));
        granted = f->log_index;
        assert_true(f->result.event->node.has_ttl);
        assert_true(f->result.event->node.ttl == USEC_PER_SEC);
        assert_true(view(f, "/a").renewed.usec == f->now.usec);
        assert_false(expire_key(f, "/a", granted + 1));
        assert_false(expire_key(f, "/b", granted));
        assert_int_equal(store_index(f->store), 1);
        assert_true(expire_key(f, "/a", granted));
        assert_int_equal(store_index(f->store), 2);
        assert_int_equal(f->result.index, 2);
        is_missing(f, "/a", "/a");
        assert_false(expire_key(f, "/a", granted));
}

static void renewed_key_survives_the_expiry_that_did_not_know_it(void **state)
{
        struct fixture *f = *state;
        uint64_t granted;

        ASSERT_OK(SET(f, .path = "/a", .value = "1", .has_ttl = true, .ttl = USEC_PER_SEC));
        granted = f->log_index;
        ASSERT_OK(SET(f, .path = "/a", .value = "1", .previous_value = "1", .has_ttl = true,
                      .ttl = USEC_PER_SEC));
        assert_false(expire_key(f, "/a", granted));
        holds(f, "/a", "1", 1, 2);
        assert_true(expire_key(f, "/a", granted + 1));
}

static void change_without_a_ttl_makes_a_key_permanent(void **state)
{
        struct fixture *f = *state;
        uint64_t granted;

        ASSERT_OK(SET(f, .path = "/a", .value = "1", .has_ttl = true, .ttl = 5));
        granted = f->log_index;
        ASSERT_OK(SET(f, .path = "/a", .value = "2", .previous_value = "1"));
        assert_false(f->result.event->node.has_ttl);
        assert_true(f->result.event->previous.has_ttl);
        assert_false(view(f, "/a").has_ttl);
        assert_false(expire_key(f, "/a", granted));
        assert_false(expire_key(f, "/a", 0));
        assert_true(store_next_due(f->store, INSTANT_NEVER).usec == UINT64_MAX);
}

static void ttl_of_nothing_is_due_at_once(void **state)
{
        struct fixture *f = *state;
        struct store_expiry e;

        ASSERT_OK(SET(f, .path = "/a", .value = "1", .has_ttl = true, .ttl = 0));
        holds(f, "/a", "1", 1, 1);
        assert_int_equal(store_leases_due(f->store, f->now, &e, 1), 1);
        assert_string_equal(e.name, "/a");
}

static void endless_ttl_is_never_due(void **state)
{
        struct fixture *f = *state;
        struct store_expiry e;

        ASSERT_OK(SET(f, .path = "/a", .value = "1", .has_ttl = true, .ttl = UINT64_MAX));
        assert_int_equal(store_leases_due(f->store, (struct instant){ UINT64_MAX - 1 }, &e, 1), 0);
}

static void expiry_of_a_directory_removes_the_tree_in_one_change(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/d", .directory = true, .has_ttl = true, .ttl = 9));
        ASSERT_OK(SET(f, .path = "/d/a", .value = "1"));
        assert_true(expire_key(f, "/d", f->log_index - 1));
        assert_int_equal(store_index(f->store), 3);
        is_missing(f, "/d/a", "/d");
}

static void refresh_keeps_the_value_and_takes_an_index(void **state)
{
        struct fixture *f = *state;

        ASSERT_OK(SET(f, .path = "/a", .value = "1", .has_ttl = true, .ttl = 5));
        f->now.usec += 3;
        ASSERT_OK(SET(f, .path = "/a", .condition = STORE_MUST_EXIST, .refresh = true,
                      .has_ttl = true, .ttl = 7));
        shows(f, STORE_DID_UPDATE, "/a", "1", 1, 2);
        assert_true(f->result.event->refresh);
        assert_true(view(f, "/a").ttl == 7);
        assert_true(view(f, "/a").renewed.usec == f->now.usec);
        ASSERT_OK(SET(f, .path = "/a", .previous_index = 2, .refresh = true, .has_ttl = true,
                      .ttl = 8));
        holds(f, "/a", "1", 1, 3);
        ASSERT_OK(SET(f, .path = "/a", .refresh = true, .has_ttl = true, .ttl = 9));
        holds(f, "/a", "1", 4, 4);
        assert_true(expire_key(f, "/a", f->log_index));
}

static void refresh_of_what_is_missing_is_refused(void **state)
{
        struct fixture *f = *state;

        ASSERT_FAILS(f, SET(f, .path = "/a/b", .refresh = true, .has_ttl = true, .ttl = 7),
                     STORE_KEY_NOT_FOUND, "/a");
        ASSERT_OK(SET(f, .path = "/d", .directory = true));
        ASSERT_FAILS(f, SET(f, .path = "/d", .refresh = true, .has_ttl = true, .ttl = 7),
                     STORE_NOT_FILE, "/d");
}

static void due_keys_come_in_the_order_of_their_deadlines(void **state)
{
        struct fixture *f = *state;
        struct store_expiry e[8];
        struct instant start = f->now;

        ASSERT_OK(SET(f, .path = "/c", .value = "1", .has_ttl = true, .ttl = 30));
        ASSERT_OK(SET(f, .path = "/a", .value = "1", .has_ttl = true, .ttl = 10));
        ASSERT_OK(SET(f, .path = "/d", .value = "1", .has_ttl = true, .ttl = 40));
        ASSERT_OK(SET(f, .path = "/b", .value = "1", .has_ttl = true, .ttl = 10));
        assert_int_equal(store_leases_due(f->store, instant_after(start, 9), e, 8), 0);
        assert_int_equal(store_leases_due(f->store, instant_after(start, 30), e, 8), 3);
        assert_string_equal(e[0].name, "/a");
        assert_string_equal(e[1].name, "/b");
        assert_string_equal(e[2].name, "/c");
        assert_int_equal(e[2].kind, STORE_LEASE_KEY);
        assert_true(e[2].renewed == 1001 && e[2].epoch == 0);
        assert_int_equal(store_leases_due(f->store, instant_after(start, 30), e, 2), 2);
        assert_true(store_next_due(f->store, start).usec == start.usec + 10);
        assert_true(store_next_due(f->store, instant_after(start, 10)).usec == start.usec + 30);
        assert_true(store_next_due(f->store, instant_after(start, 40)).usec == UINT64_MAX);
}

static void replica_attests_only_keys_that_ran_out_by_its_own_notes(void **state)
{
        struct fixture *f = *state;
        char path[] = "/a";
        struct store_expiry e = { .kind = STORE_LEASE_KEY, .name = path };

        ASSERT_OK(SET(f, .path = "/a", .value = "1", .has_ttl = true, .ttl = 10));
        e.renewed = f->log_index;
        assert_false(store_attests(f->store, &e, instant_after(f->now, 9)));
        assert_true(store_attests(f->store, &e, instant_after(f->now, 10)));
        e.renewed = f->log_index + 1;
        assert_false(store_attests(f->store, &e, instant_after(f->now, 10)));
        store_notes_reset(f->store, instant_after(f->now, 5));
        e.renewed = f->log_index;
        assert_false(store_attests(f->store, &e, instant_after(f->now, 14)));
        assert_true(store_attests(f->store, &e, instant_after(f->now, 15)));
        ASSERT_OK(SET(f, .path = "/a", .value = "1"));
        assert_true(store_attests(f->store, &e, f->now));
}

/* What the store should say is due, by looking at every key. */
static struct instant next_due_by_hand(struct instant deadlines[], size_t n, struct instant now,
                                       size_t *ret_due)
{
        struct instant next = INSTANT_FOREVER;

        *ret_due = 0;
        for (size_t i = 0; i < n; i++) {
                if (deadlines[i].usec == 0)
                        continue;
                if (instant_reached(deadlines[i], now))
                        ++*ret_due;
                else
                        next = instant_earlier(next, deadlines[i]);
        }
        return next;
}

static void deadlines_agree_with_a_plain_list(void **state)
{
        struct fixture *f = *state;
        struct random random = { .state = 7 };
        struct instant deadlines[40] = { 0 }, granted = { 0 };
        struct store_expiry e[STORE_BATCH_MAX];
        size_t n_due;

        for (int round = 0; round < 3000; round++) {
                size_t i = random_below(&random, 40);
                usec_t ttl = random_below(&random, 300);
                char path[16];

                f->now.usec += random_below(&random, 5);
                (void)snprintf(path, sizeof(path), "/k%zu", i);
                if (ttl < 60) {
                        (void)CHANGE(f, .action = STORE_DELETE, .path = path);
                        deadlines[i] = INSTANT_NEVER;
                } else {
                        ASSERT_OK(SET(f, .path = path, .value = "", .has_ttl = true, .ttl = ttl));
                        deadlines[i] = instant_after(f->now, ttl);
                }
                granted = next_due_by_hand(deadlines, 40, f->now, &n_due);
                assert_true(store_next_due(f->store, f->now).usec == granted.usec);
                assert_int_equal(store_leases_due(f->store, f->now, e, STORE_BATCH_MAX), n_due);
        }
}

/* Paths. */

static void clean(const char *path, const char *expected)
{
        char s[STORE_KEY_BYTES_MAX + 1];

        assert_int_equal(store_path_clean(path, s, sizeof(s)), strlen(expected));
        assert_string_equal(s, expected);
}

static void path_is_cleaned_of_superfluous_slashes(void **state)
{
        (void)state;
        clean("", "/");
        clean("/", "/");
        clean("///", "/");
        clean("a", "/a");
        clean("/a/", "/a");
        clean("//a///b//", "/a/b");
        clean("/...", "/...");
        clean("/a b+%\n/.c", "/a b+%\n/.c");
}

static void path_with_dots_or_beyond_the_limits_is_refused(void **state)
{
        char path[STORE_KEY_BYTES_MAX + 2], s[STORE_KEY_BYTES_MAX + 1];

        (void)state;
        assert_int_equal(store_path_clean("/a/./b", s, sizeof(s)), -EINVAL);
        assert_int_equal(store_path_clean("/a/..", s, sizeof(s)), -EINVAL);
        assert_int_equal(store_path_clean("..", s, sizeof(s)), -EINVAL);
        memset(path, 'x', sizeof(path));
        path[0] = '/';
        path[STORE_KEY_BYTES_MAX + 1] = '\0';
        assert_int_equal(store_path_clean(path, s, sizeof(s)), -EINVAL);
        path[STORE_KEY_BYTES_MAX] = '\0';
        assert_int_equal(store_path_clean(path, s, sizeof(s)), STORE_KEY_BYTES_MAX);
        assert_int_equal(store_path_clean("/abc", s, 4), -EINVAL);
        assert_int_equal(store_path_clean("/abc", s, 5), 4);
        for (int i = 0; i <= STORE_KEY_DEPTH_MAX; i++)
                memcpy(path + 2 * i, "/d", 3);
        assert_int_equal(store_path_clean(path, s, sizeof(s)), -EINVAL);
        path[2 * STORE_KEY_DEPTH_MAX] = '\0';
        assert_int_equal(store_path_clean(path, s, sizeof(s)), 2 * STORE_KEY_DEPTH_MAX);
}

/* Many random changes: the checksum of a second replica agrees, whatever its notes are. */
static void replicas_that_apply_the_same_agree(void **state)
{
        struct fixture *f = *state;
        struct fixture g = { .store = store_new(), .log_index = f->log_index };
        struct random random = { .state = 42 };

        for (int round = 0; round < 4000; round++) {
                char path[32];
                struct store_key_command k = {
                        .action = random_below(&random, 4) % 3,
                        .path = path,
                        .value = random_below(&random, 2) ? "1" : "",
                        .condition = random_below(&random, 5) % 3,
                        .directory = random_below(&random, 5) == 0,
                        .recursive = random_below(&random, 2),
                        .refresh = random_below(&random, 8) == 0,
                        .has_ttl = random_below(&random, 3) == 0,
                        .ttl = random_below(&random, 100),
                        .previous_value = random_below(&random, 4) ? NULL : "1",
                        .previous_index = random_below(&random, 4) ? 0 : store_index(f->store),
                };

                (void)snprintf(path, sizeof(path), "/%d/%d/%d", (int)random_below(&random, 2),
                               (int)random_below(&random, 3), (int)random_below(&random, 3));
                path[2 * (1 + random_below(&random, 3))] = '\0';
                f->now.usec += 1;
                g.now.usec += random_below(&random, 10000);
                assert_int_equal(change(f, k), change(&g, k));
                if (round % 50 == 0)
                        assert_int_equal(store_checksum(f->store), store_checksum(g.store));
        }
        assert_true(store_index(f->store) > 1000);
        assert_int_equal(store_checksum(f->store), store_checksum(g.store));
        ASSERT_OK(SET(f, .path = "/last", .value = "1"));
        assert_int_not_equal(store_checksum(f->store), store_checksum(g.store));
        store_free(g.store);
}

static void big_directory_is_filled_and_removed(void **state)
{
        struct fixture *f = *state;
        char path[32];

        for (int i = 0; i < 20000; i++) {
                (void)snprintf(path, sizeof(path), "/d/%d", i);
                ASSERT_OK(SET(f, .path = path, .value = "1", .has_ttl = i % 2, .ttl = 5));
        }
        holds(f, "/d/19999", "1", 20000, 20000);
        ASSERT_OK(CHANGE(f, .action = STORE_DELETE, .path = "/d", .recursive = true));
        is_missing(f, "/d/19999", "/d");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(set_makes_a_key_and_counts_one),
                TEST(set_over_a_file_restarts_its_created_index),
                TEST(missing_parents_are_made_with_the_index_of_the_child),
                TEST(set_below_a_file_is_refused_with_the_file_as_cause),
                TEST(root_cannot_be_written_or_removed),
                TEST(set_of_a_directory_is_refused_as_file_and_as_directory),
                TEST(directory_takes_the_place_of_a_file),
                TEST(value_may_hold_any_bytes),
                TEST(create_refuses_what_exists_as_file_or_directory),
                TEST(create_wins_over_comparisons),
                TEST(update_keeps_the_created_index),
                TEST(update_of_what_is_missing_names_the_first_missing_part),
                TEST(update_of_a_directory_changes_its_ttl_only),
                TEST(swap_needs_every_condition_that_is_given),
                TEST(must_exist_with_a_comparison_is_a_swap),
                TEST(swap_of_what_is_missing_or_a_directory_is_no_failed_comparison),
                TEST(index_that_wraps_a_decimal_prints_whole),
                TEST(in_order_keys_are_named_after_the_index_they_get),
                TEST(in_order_key_that_would_be_too_long_or_deep_is_refused),
                TEST(delete_shows_what_was_there),
                TEST(directory_is_deleted_only_when_asked_for_and_empty_or_recursive),
                TEST(removal_of_a_tree_is_one_change),
                TEST(compare_and_delete_is_for_files_that_fit),
                TEST(get_of_what_is_missing_names_the_first_missing_part),
                TEST(directory_lists_its_children),
                TEST(system_directory_is_written_only_by_ourselves),
                TEST(key_expires_by_an_entry_that_names_its_last_grant),
                TEST(renewed_key_survives_the_expiry_that_did_not_know_it),
                TEST(change_without_a_ttl_makes_a_key_permanent),
                TEST(ttl_of_nothing_is_due_at_once),
                TEST(endless_ttl_is_never_due),
                TEST(expiry_of_a_directory_removes_the_tree_in_one_change),
                TEST(refresh_keeps_the_value_and_takes_an_index),
                TEST(refresh_of_what_is_missing_is_refused),
                TEST(due_keys_come_in_the_order_of_their_deadlines),
                TEST(replica_attests_only_keys_that_ran_out_by_its_own_notes),
                TEST(deadlines_agree_with_a_plain_list),
                TEST(path_is_cleaned_of_superfluous_slashes),
                TEST(path_with_dots_or_beyond_the_limits_is_refused),
                TEST(replicas_that_apply_the_same_agree),
                TEST(big_directory_is_filled_and_removed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
