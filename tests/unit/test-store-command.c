/* Commands as bytes: each comes back as it was, and everything malformed is refused. */
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

static char orders[] = "orders", key[] = "/a/b";

static struct store_renewal renewals[] = {
        { .service = "orders", .epoch = 5, .sequence = 9, .position = "0/30", .n_position = 4 },
        { .service = "billing", .epoch = UINT64_MAX, .sequence = 1 },
};

static struct store_expiry expiries[] = {
        { .kind = STORE_LEASE_MASTER, .name = orders, .epoch = 5, .renewed = 8 },
        { .kind = STORE_LEASE_KEY, .name = key, .renewed = 12 },
};

#define ORIGIN                                                                                     \
        {                                                                                          \
                .node = 3, .incarnation = 0x1122334455667788, .sequence = 42                       \
        }

/* One of each kind, and two of those with many forms. */
static const struct store_command commands[] = {
        { .type = STORE_KEY,
          .origin = ORIGIN,
          .key = { .action = STORE_SET,
                   .path = "/a/b",
                   .value = "with\0nul",
                   .n_value = 8,
                   .directory = true,
                   .refresh = true,
                   .condition = STORE_MUST_EXIST,
                   .previous_value = "before",
                   .previous_index = 77,
                   .has_ttl = true,
                   .ttl = 3000000 } },
        { .type = STORE_KEY,
          .origin = ORIGIN,
          .key = { .action = STORE_DELETE, .path = "/", .recursive = true, .system = true } },
        { .type = STORE_ACQUIRE, .origin = ORIGIN, .service = "orders", .ttl = 3000000 },
        { .type = STORE_RENEW,
          .origin = ORIGIN,
          .old_incarnation = 6,
          .renewals = renewals,
          .n = 2 },
        { .type = STORE_RELEASE,
          .origin = ORIGIN,
          .service = "orders",
          .epoch = 5,
          .reserved_for = 9 },
        { .type = STORE_CLOSE, .origin = ORIGIN, .service = "orders", .epoch = 5 },
        { .type = STORE_EXPIRE, .expiries = expiries, .n = 2 },
        { .type = STORE_FENCED, .origin = ORIGIN, .service = "orders", .epoch = 5 },
};

enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void same_bytes(const char *a, size_t n_a, const char *b, size_t n_b)
{
        n_a = n_a > 0 || !a ? n_a : strlen(a);
        assert_int_equal(n_a, n_b);
        assert_memory_equal(a ? a : "", b, n_b);
        assert_int_equal(b[n_b], 0);
}

static void same_key(const struct store_key_command *a, const struct store_key_command *b)
{
        assert_int_equal(a->action, b->action);
        assert_string_equal(a->path, b->path);
        same_bytes(a->value, a->n_value, b->value, b->n_value);
        assert_int_equal(a->directory, b->directory);
        assert_int_equal(a->recursive, b->recursive);
        assert_int_equal(a->refresh, b->refresh);
        assert_int_equal(a->system, b->system);
        assert_int_equal(a->condition, b->condition);
        assert_int_equal(!a->previous_value, !b->previous_value);
        if (a->previous_value)
                same_bytes(a->previous_value, a->n_previous_value, b->previous_value,
                           b->n_previous_value);
        assert_true(a->previous_index == b->previous_index);
        assert_int_equal(a->has_ttl, b->has_ttl);
        assert_true(a->ttl == b->ttl);
}

static void same(const struct store_command *a, const struct store_command *b)
{
        assert_int_equal(a->type, b->type);
        assert_int_equal(a->origin.node, b->origin.node);
        assert_true(a->origin.incarnation == b->origin.incarnation);
        assert_true(a->origin.sequence == b->origin.sequence);
        assert_string_equal(a->service, b->service);
        assert_true(a->epoch == b->epoch);
        assert_true(a->ttl == b->ttl);
        assert_int_equal(a->reserved_for, b->reserved_for);
        assert_true(a->old_incarnation == b->old_incarnation);
        assert_int_equal(a->n, b->n);
        if (a->type == STORE_KEY)
                same_key(&a->key, &b->key);
        for (size_t i = 0; a->renewals && i < a->n; i++) {
                assert_string_equal(a->renewals[i].service, b->renewals[i].service);
                assert_true(a->renewals[i].epoch == b->renewals[i].epoch);
                assert_true(a->renewals[i].sequence == b->renewals[i].sequence);
                assert_int_equal(a->renewals[i].n_position, b->renewals[i].n_position);
                assert_memory_equal(a->renewals[i].position, b->renewals[i].position,
                                    a->renewals[i].n_position);
        }
        for (size_t i = 0; a->expiries && i < a->n; i++) {
                assert_int_equal(a->expiries[i].kind, b->expiries[i].kind);
                assert_string_equal(a->expiries[i].name, b->expiries[i].name);
                assert_true(a->expiries[i].epoch == b->expiries[i].epoch);
                assert_true(a->expiries[i].renewed == b->expiries[i].renewed);
        }
}

/* Decodes a copy that is exactly as long as the bytes, so that reading past it is found. */
static int decode(const uint8_t *bytes, size_t n, struct store_command *ret)
{
        uint8_t *copy = must_resize(NULL, n ? n : 1, 1);
        int r;

        if (n > 0)
                memcpy(copy, bytes, n);
        r = store_command_decode(copy, n, ret);
        free(copy);
        return r;
}

static void every_command_comes_back_as_it_was(void **state)
{
        (void)state;
        for (size_t i = 0; i < N_COMMANDS; i++) {
                struct buffer b = { 0 };
                struct store_command c;

                assert_int_equal(store_command_check(&commands[i]), 0);
                store_command_encode(&commands[i], &b);
                assert_int_equal(store_command_peek(b.bytes, b.n), commands[i].type);
                assert_int_equal(decode(b.bytes, b.n, &c), 0);
                same(&commands[i], &c);
                store_command_done(&c);
                buffer_done(&b);
        }
}

static void command_that_is_cut_anywhere_is_refused(void **state)
{
        (void)state;
        for (size_t i = 0; i < N_COMMANDS; i++) {
                struct buffer b = { 0 };
                struct store_command c;

                store_command_encode(&commands[i], &b);
                for (size_t n = 0; n < b.n; n++)
                        assert_int_equal(decode(b.bytes, n, &c), -EBADMSG);
                buffer_put_u8(&b, 0);
                assert_int_equal(decode(b.bytes, b.n, &c), -EBADMSG);
                buffer_done(&b);
        }
}

/* Whatever decodes is within the limits, and codes back to the same bytes. */
static void decodes_soundly(const uint8_t *bytes, size_t n)
{
        struct buffer b = { 0 };
        struct store_command c;

        if (decode(bytes, n, &c) < 0)
                return;
        assert_int_equal(store_command_check(&c), 0);
        store_command_encode(&c, &b);
        assert_int_equal(b.n, n);
        assert_memory_equal(b.bytes, bytes, n);
        store_command_done(&c);
        buffer_done(&b);
}

static void changed_bytes_are_refused_or_mean_something_valid(void **state)
{
        (void)state;
        for (size_t i = 0; i < N_COMMANDS; i++) {
                struct buffer b = { 0 };

                store_command_encode(&commands[i], &b);
                for (size_t at = 0; at < b.n; at++)
                        for (unsigned value = 0; value < 256; value++) {
                                uint8_t kept = b.bytes[at];

                                b.bytes[at] = (uint8_t)value;
                                decodes_soundly(b.bytes, b.n);
                                b.bytes[at] = kept;
                        }
                buffer_done(&b);
        }
}

static void random_bytes_do_no_harm(void **state)
{
        struct random random = { .state = 3 };
        struct store *s = store_new();

        (void)state;
        for (uint64_t round = 1; round <= 50000; round++) {
                uint8_t bytes[96];
                size_t n = random_below(&random, sizeof(bytes));
                struct store_result result;

                for (size_t i = 0; i < n; i++)
                        bytes[i] = (uint8_t)(random_below(&random, 3) ? random_below(&random, 8)
                                                                      : random_next(&random));
                if (n > 1) {
                        bytes[0] = 1;
                        bytes[1] = (uint8_t)(1 + random_below(&random, 7));
                }
                decodes_soundly(bytes, n);
                store_apply(s, round, bytes, n, INSTANT_NEVER, &result);
        }
        store_free(s);
}

static void bytes_that_are_no_command_change_nothing(void **state)
{
        struct store *s = store_new();
        struct store_result result;
        uint32_t before = store_checksum(s);

        (void)state;
        store_apply(s, 1, (const uint8_t *)"", 0, INSTANT_NEVER, &result);
        assert_false(result.valid);
        store_apply(s, 2, (const uint8_t *)"\x01\x01nonsense", 10, INSTANT_NEVER, &result);
        assert_false(result.valid);
        assert_int_equal(result.n_woken, 0);
        assert_int_equal(result.index, 0);
        assert_int_equal(store_checksum(s), before);
        assert_int_equal(store_command_peek((const uint8_t *)"\x01\x08", 2), 0);
        assert_int_equal(store_command_peek((const uint8_t *)"\x01", 1), 0);
        assert_int_equal(store_command_peek((const uint8_t *)"\x02\x01", 2), 0);
        store_free(s);
}

/* The checker and the decoder agree that @c is beyond what is allowed. */
static void refused(const struct store_command *c)
{
        struct buffer b = { 0 };
        struct store_command ret;

        assert_int_equal(store_command_check(c), -EINVAL);
        store_command_encode(c, &b);
        assert_int_equal(decode(b.bytes, b.n, &ret), -EBADMSG);
        buffer_done(&b);
}

static void accepted(const struct store_command *c)
{
        struct buffer b = { 0 };
        struct store_command ret;

        assert_int_equal(store_command_check(c), 0);
        store_command_encode(c, &b);
        assert_int_equal(decode(b.bytes, b.n, &ret), 0);
        same(c, &ret);
        store_command_done(&ret);
        buffer_done(&b);
}

static void paths_that_are_not_clean_are_refused(void **state)
{
        static const char *const paths[] = { "",   "a",       "/a/",    "//",   "/a//b",
                                             "/.", "/a/../b", "/a/./b", "/a/.." };
        struct store_command c = { .type = STORE_KEY, .key.value = "" };

        (void)state;
        for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
                c.key.path = paths[i];
                refused(&c);
        }
        c.key.path = "/a/.b/..c";
        accepted(&c);
}

static void path_with_a_nul_inside_is_refused(void **state)
{
        struct store_command c = { .type = STORE_KEY, .key = { .path = "/abcd" } }, ret;
        struct buffer b = { 0 };
        uint8_t *at;

        (void)state;
        store_command_encode(&c, &b);
        at = memchr(b.bytes, '/', b.n);
        assert_non_null(at);
        at[2] = 0;
        assert_int_equal(decode(b.bytes, b.n, &ret), -EBADMSG);
        buffer_done(&b);
}

static void limits_of_keys_are_kept_to_the_byte(void **state)
{
        char *path = must_alloc(STORE_KEY_BYTES_MAX + 2, 1);
        char *value = must_alloc(STORE_VALUE_BYTES_MAX + 2, 1);
        struct store_command c = { .type = STORE_KEY, .key = { .path = path, .value = value } };

        (void)state;
        memset(value, 'x', STORE_VALUE_BYTES_MAX);
        memset(path, 'x', STORE_KEY_BYTES_MAX);
        path[0] = '/';
        accepted(&c);
        path[STORE_KEY_BYTES_MAX] = 'x';
        refused(&c);
        c.key.path = "/a";
        value[STORE_VALUE_BYTES_MAX] = 'x';
        refused(&c);
        c.key.value = NULL;
        c.key.previous_value = value;
        refused(&c);
        value[STORE_VALUE_BYTES_MAX] = '\0';
        accepted(&c);
        free(path);
        free(value);
}

static void lists_are_neither_empty_nor_too_long(void **state)
{
        struct store_renewal many[STORE_BATCH_MAX + 1] = { 0 };
        struct store_expiry keys[STORE_BATCH_MAX + 1] = { 0 };
        struct store_command renew = { .type = STORE_RENEW, .renewals = many };
        struct store_command expire = { .type = STORE_EXPIRE, .expiries = keys };

        (void)state;
        for (size_t i = 0; i <= STORE_BATCH_MAX; i++) {
                memcpy(many[i].service, "orders", 7);
                keys[i] = (struct store_expiry){ .kind = STORE_LEASE_KEY, .name = key };
        }
        refused(&renew);
        refused(&expire);
        renew.n = expire.n = STORE_BATCH_MAX;
        accepted(&renew);
        accepted(&expire);
        renew.n = expire.n = STORE_BATCH_MAX + 1;
        refused(&renew);
        refused(&expire);
}

static void names_of_services_are_checked(void **state)
{
        char path[] = "/a", bad[] = "not a name";
        struct store_expiry e = { .kind = STORE_LEASE_MASTER, .name = path };
        struct store_renewal r = { .service = "no/slash" };

        (void)state;
        refused(&(struct store_command){ .type = STORE_ACQUIRE, .origin = ORIGIN, .ttl = 1 });
        refused(&(struct store_command){ .type = STORE_CLOSE, .service = "-x" });
        refused(&(struct store_command){ .type = STORE_FENCED, .service = "a b" });
        refused(&(struct store_command){ .type = STORE_RELEASE, .service = "\n" });
        refused(&(struct store_command){ .type = STORE_RENEW, .renewals = &r, .n = 1 });
        refused(&(struct store_command){ .type = STORE_EXPIRE, .expiries = &e, .n = 1 });
        e.name = bad;
        refused(&(struct store_command){ .type = STORE_EXPIRE, .expiries = &e, .n = 1 });
        e.kind = STORE_LEASE_KEY;
        refused(&(struct store_command){ .type = STORE_EXPIRE, .expiries = &e, .n = 1 });
}

static void nobody_cannot_acquire_and_no_ttl_is_no_lease(void **state)
{
        (void)state;
        refused(&(struct store_command){ .type = STORE_ACQUIRE, .service = "orders", .ttl = 1 });
        refused(&(struct store_command){
                .type = STORE_ACQUIRE, .origin = { .node = 1 }, .service = "orders" });
        refused(&(struct store_command){
                .type = STORE_CLOSE, .origin = { .node = MEMBERS_MAX + 1 }, .service = "orders" });
        refused(&(struct store_command){
                .type = STORE_RELEASE, .service = "orders", .reserved_for = MEMBERS_MAX + 1 });
}

static void position_is_kept_to_its_limit(void **state)
{
        struct store_renewal r = { .service = "orders", .n_position = STORE_POSITION_MAX };
        struct store_command c = { .type = STORE_RENEW, .renewals = &r, .n = 1 };

        (void)state;
        memset(r.position, 0xff, sizeof(r.position));
        accepted(&c);
        r.n_position++;
        assert_int_equal(store_command_check(&c), -EINVAL);
}

static void everything_has_a_name(void **state)
{
        (void)state;
        for (enum store_command_type t = STORE_KEY; t <= STORE_FENCED; t++)
                assert_string_not_equal(store_command_name(t), "unknown");
        for (enum store_action a = STORE_DID_GET; a <= STORE_DID_EXPIRE; a++)
                assert_string_not_equal(store_action_name(a), "unknown");
        assert_string_equal(store_error_message(STORE_TEST_FAILED), "Compare failed");
        assert_string_equal(store_error_message((enum store_error)999), "Unknown error");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_command_comes_back_as_it_was),
                cmocka_unit_test(command_that_is_cut_anywhere_is_refused),
                cmocka_unit_test(changed_bytes_are_refused_or_mean_something_valid),
                cmocka_unit_test(random_bytes_do_no_harm),
                cmocka_unit_test(bytes_that_are_no_command_change_nothing),
                cmocka_unit_test(paths_that_are_not_clean_are_refused),
                cmocka_unit_test(path_with_a_nul_inside_is_refused),
                cmocka_unit_test(limits_of_keys_are_kept_to_the_byte),
                cmocka_unit_test(lists_are_neither_empty_nor_too_long),
                cmocka_unit_test(names_of_services_are_checked),
                cmocka_unit_test(nobody_cannot_acquire_and_no_ttl_is_no_lease),
                cmocka_unit_test(position_is_kept_to_its_limit),
                cmocka_unit_test(everything_has_a_name),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
