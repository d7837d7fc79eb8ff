/* Tokens of those who join: they say all that is needed, and nothing if they were damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/joining.h"
#include "daemon/wal.h"
#include "tests/lib/tempdir.h"

enum { SEGMENT_BYTES = 64 * 1024 };

static int setup(void **state)
{
        static struct tempdir t;

        tempdir_make(&t);
        *state = &t;
        return 0;
}

static int teardown(void **state)
{
        tempdir_remove(*state);
        return 0;
}

static struct joining joining_of(unsigned n_members, node_id node)
{
        struct joining j = { .cluster_id = UINT64_C(0xfedcba9876543210), .node = node };

        for (unsigned i = 1; i <= n_members; i++) {
                struct member m = { .id = (node_id)i,
                                    .kind = i % 3,
                                    .incarnation = i == node ? 0 : UINT64_MAX - i,
                                    .peer = { .address.family = AF_INET6, .port = 65535 },
                                    .api = { .address.family = AF_INET6, .port = 4001 } };

                memset(m.name, 'a' + (int)i, NAME_SIZE - 1);
                memset(&m.peer.address.v6, 0xfd, sizeof(m.peer.address.v6));
                assert_true(members_add(&j.members, &m));
        }
        j.members.id_last = (node_id)n_members;
        return j;
}

static void assert_same(const struct joining *a, const struct joining *b)
{
        assert_int_equal(a->cluster_id, b->cluster_id);
        assert_int_equal(a->node, b->node);
        assert_int_equal(a->members.n, b->members.n);
        for (unsigned i = 0; i < a->members.n; i++) {
                const struct member *x = &a->members.list[i], *y = &b->members.list[i];

                assert_int_equal(x->id, y->id);
                assert_string_equal(x->name, y->name);
                assert_int_equal(x->incarnation, y->incarnation);
                assert_true(address_equal(&x->peer.address, &y->peer.address));
                assert_int_equal(x->peer.port, y->peer.port);
        }
}

static void token_says_all_again(void **state)
{
        char token[JOINING_TOKEN_SIZE], complaint[JOINING_COMPLAINT_SIZE];

        (void)state;
        for (unsigned n = 1; n <= MEMBERS_MAX; n++) {
                struct joining j = joining_of(n, (node_id)n), again;

                joining_print(&j, token);
                assert_true(strlen(token) < JOINING_TOKEN_SIZE);
                assert_int_equal(strspn(token,
                                        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                        "0123456789-_"),
                                 strlen(token));
                assert_int_equal(joining_parse(token, &again, complaint), 0);
                assert_same(&j, &again);
        }
}

static void assert_no_token(const char *token)
{
        char complaint[JOINING_COMPLAINT_SIZE] = "";
        struct joining j;

        assert_int_equal(joining_parse(token, &j, complaint), -EINVAL);
        assert_int_not_equal(strlen(complaint), 0);
}

static void damaged_token_is_refused(void **state)
{
        struct joining j = joining_of(3, 2);
        char token[JOINING_TOKEN_SIZE], damaged[2 * JOINING_TOKEN_SIZE];
        size_t n;

        (void)state;
        joining_print(&j, token);
        n = strlen(token);
        for (size_t i = 0; i < n; i++) {
                (void)snprintf(damaged, sizeof(damaged), "%s", token);
                damaged[i] = token[i] == 'A' ? 'B' : 'A';
                assert_no_token(damaged);
                damaged[i] = '!';
                assert_no_token(damaged);
                damaged[i] = '\0';
                assert_no_token(damaged);
        }
        (void)snprintf(damaged, sizeof(damaged), "%sA", token);
        assert_no_token(damaged);
        (void)snprintf(damaged, sizeof(damaged), "%s ", token);
        assert_no_token(damaged);
        memset(damaged, 'A', sizeof(damaged) - 1); /* longer than any token */
        damaged[sizeof(damaged) - 1] = '\0';
        assert_no_token(damaged);
}

static void token_for_nobody_in_the_list_is_refused(void **state)
{
        struct joining j = joining_of(3, 4);
        char token[JOINING_TOKEN_SIZE];

        (void)state;
        joining_print(&j, token);
        assert_no_token(token);
}

static void directory_is_made_and_says_whom_to_join(void **state)
{
        char dir[TEMPDIR_PATH_SIZE], complaint[JOINING_COMPLAINT_SIZE] = "";
        struct wal_options options = { .identity = { .cluster_id = UINT64_C(0xfedcba9800000001) } };
        struct joining j = joining_of(4, 4), again;
        struct wal_recovered recovered;
        struct wal_complaint why;
        struct wal *w;

        tempdir_path(*state, "raft", dir);
        assert_int_equal(joining_read(dir, &again), -ENOENT);
        assert_int_equal(joining_prepare(dir, &j, complaint), 0);
        assert_int_equal(joining_read(dir, &again), 0);
        assert_same(&j, &again);
        assert_int_equal(wal_open(dir, &options, &w, &recovered, &why), 0);
        assert_int_equal(recovered.identity.node, 4);
        assert_int_equal(recovered.identity.cluster_id, j.cluster_id);
        assert_int_equal(recovered.n_entries, 0);
        assert_int_not_equal(recovered.incarnation, 0);
        wal_recovered_done(&recovered);
        wal_close(w);
}

/* A second attempt, with another token: neither the log nor whom it joined may change. */
static void log_that_is_there_is_left_alone(void **state)
{
        char dir[TEMPDIR_PATH_SIZE], complaint[JOINING_COMPLAINT_SIZE] = "";
        struct joining j = joining_of(4, 4), other = joining_of(3, 2), again;

        tempdir_path(*state, "raft", dir);
        assert_int_equal(joining_prepare(dir, &j, complaint), 0);
        assert_int_equal(joining_prepare(dir, &other, complaint), -EEXIST);
        assert_non_null(strstr(complaint, "holds a log already"));
        assert_int_equal(joining_read(dir, &again), 0);
        assert_same(&j, &again);
}

/* The log of a founding member must not become that of one who joins. */
static void log_of_a_founding_member_is_left_alone(void **state)
{
        char dir[TEMPDIR_PATH_SIZE], complaint[JOINING_COMPLAINT_SIZE] = "";
        struct wal_options options = { .identity = { .cluster_id = 5, .node = 1 },
                                       .segment_bytes = SEGMENT_BYTES };
        struct joining j = joining_of(4, 4), again;
        struct wal_recovered recovered;
        struct wal_complaint why;
        struct wal *w;

        tempdir_path(*state, "raft", dir);
        assert_int_equal(mkdir(dir, 0700), 0);
        assert_int_equal(wal_open(dir, &options, &w, &recovered, &why), 0);
        wal_recovered_done(&recovered);
        wal_close(w);
        assert_int_equal(joining_prepare(dir, &j, complaint), -EEXIST);
        assert_int_equal(joining_read(dir, &again), -ENOENT);
}

/* It ended in the middle: what is there of it does not keep the next attempt from being made. */
static void unfinished_attempt_can_be_repeated(void **state)
{
        char dir[TEMPDIR_PATH_SIZE], complaint[JOINING_COMPLAINT_SIZE] = "";
        struct joining j = joining_of(4, 4), again;

        tempdir_path(*state, "raft", dir);
        tempdir_write_text(*state, "raft/joining", "half a tok");
        assert_int_equal(joining_read(dir, &again), -EBADMSG);
        assert_int_equal(joining_prepare(dir, &j, complaint), 0);
        assert_int_equal(joining_read(dir, &again), 0);
        assert_same(&j, &again);
}

static void damaged_file_is_told_from_a_missing_one(void **state)
{
        char dir[TEMPDIR_PATH_SIZE], path[TEMPDIR_PATH_SIZE],
                complaint[JOINING_COMPLAINT_SIZE] = "";
        struct joining j = joining_of(2, 2), again;
        struct stat st;

        tempdir_path(*state, "raft", dir);
        tempdir_path(*state, "raft/joining", path);
        assert_int_equal(joining_prepare(dir, &j, complaint), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(truncate(path, st.st_size - 1), 0);
        assert_int_equal(joining_read(dir, &again), -EBADMSG);
}

static void directory_that_cannot_be_made_is_a_complaint(void **state)
{
        char dir[TEMPDIR_PATH_SIZE], complaint[JOINING_COMPLAINT_SIZE] = "";
        struct joining j = joining_of(2, 2);

        tempdir_path(*state, "none/raft", dir);
        assert_int_equal(joining_prepare(dir, &j, complaint), -ENOENT);
        assert_non_null(strstr(complaint, "cannot create"));
        tempdir_write_text(*state, "file", "");
        tempdir_path(*state, "file", dir);
        assert_int_equal(joining_prepare(dir, &j, complaint), -ENOTDIR);
        assert_non_null(strstr(complaint, "cannot write into"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(token_says_all_again),
                cmocka_unit_test(damaged_token_is_refused),
                cmocka_unit_test(token_for_nobody_in_the_list_is_refused),
                cmocka_unit_test_setup_teardown(directory_is_made_and_says_whom_to_join, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(log_that_is_there_is_left_alone, setup, teardown),
                cmocka_unit_test_setup_teardown(log_of_a_founding_member_is_left_alone, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(unfinished_attempt_can_be_repeated, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(damaged_file_is_told_from_a_missing_one, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(directory_that_cannot_be_made_is_a_complaint, setup,
                                                teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
