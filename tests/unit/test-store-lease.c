/* Masterships: each row of the table of entries, accepted and refused, and the notes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "election/store/store.h"

enum { TTL = 3000000 };

/* A store, and the log that made it. */
struct fixture {
        struct store *store;
        uint64_t index; /* of the last entry */
        struct instant now; /* when the next entry is received */
        struct store_result result;
        struct {
                struct buffer bytes;
                struct instant noted;
        } log[256];
};

static const struct store_origin first = { .node = 1, .incarnation = 11, .sequence = 1 };
static const struct store_origin second = { .node = 2, .incarnation = 22, .sequence = 1 };

static int setup(void **state)
{
        static struct fixture f;

        f = (struct fixture){ .store = store_new(), .now = { 1000 * USEC_PER_SEC } };
        *state = &f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        store_free(f->store);
        for (uint64_t i = 1; i <= f->index; i++)
                buffer_done(&f->log[i].bytes);
        return 0;
}

/* Appends a command and applies it; returns its index. */
static uint64_t apply(struct fixture *f, const struct store_command *c)
{
        struct buffer *b = &f->log[++f->index].bytes;

        assert_true(f->index < sizeof(f->log) / sizeof(f->log[0]));
        assert_int_equal(store_command_check(c), 0);
        store_command_encode(c, b);
        f->log[f->index].noted = f->now;
        store_apply(f->store, f->index, b->bytes, b->n, f->now, &f->result);
        assert_true(f->result.valid);
        assert_int_equal(f->result.type, c->type);
        assert_int_equal(f->result.origin.node, c->origin.node);
        return f->index;
}

static void name(char ret[NAME_SIZE], const char *service)
{
        (void)snprintf(ret, NAME_SIZE, "%s", service);
}

static bool acquire(struct fixture *f, struct store_origin origin, const char *service)
{
        struct store_command c = { .type = STORE_ACQUIRE, .origin = origin, .ttl = TTL };

        name(c.service, service);
        (void)apply(f, &c);
        assert_string_equal(f->result.service, service);
        return f->result.accepted;
}

/* RELEASE, CLOSE and FENCED. */
static bool end(struct fixture *f, enum store_command_type type, struct store_origin origin,
                uint64_t epoch)
{
        struct store_command c = { .type = type, .origin = origin, .epoch = epoch };

        name(c.service, "orders");
        (void)apply(f, &c);
        assert_true(f->result.epoch == epoch);
        return f->result.accepted;
}

static bool renew_for(struct fixture *f, struct store_origin origin, uint64_t epoch,
                      uint64_t old_incarnation, const char *position)
{
        struct store_renewal r = { .epoch = epoch, .sequence = 77 };
        struct store_command c = { .type = STORE_RENEW,
                                   .origin = origin,
                                   .old_incarnation = old_incarnation,
                                   .renewals = &r,
                                   .n = 1 };

        name(r.service, "orders");
        r.n_position = strlen(position);
        memcpy(r.position, position, r.n_position);
        (void)apply(f, &c);
        assert_int_equal(f->result.n_outcomes, 1);
        assert_string_equal(f->result.outcomes[0].name, "orders");
        assert_int_equal(f->result.outcomes[0].kind, STORE_LEASE_MASTER);
        assert_true(f->result.outcomes[0].epoch == epoch);
        assert_int_equal(f->result.outcomes[0].sequence, 77);
        return f->result.outcomes[0].accepted;
}

static bool renew(struct fixture *f, struct store_origin origin, uint64_t epoch)
{
        return renew_for(f, origin, epoch, 0, "");
}

static bool expire(struct fixture *f, uint64_t epoch, uint64_t renewed)
{
        char service[] = "orders";
        struct store_expiry e = {
                .kind = STORE_LEASE_MASTER, .name = service, .epoch = epoch, .renewed = renewed
        };
        struct store_command c = { .type = STORE_EXPIRE, .origin = second, .expiries = &e, .n = 1 };

        (void)apply(f, &c);
        assert_int_equal(f->result.n_outcomes, 1);
        assert_string_equal(f->result.outcomes[0].name, "orders");
        return f->result.outcomes[0].accepted;
}

static const struct store_lease *lease(struct fixture *f)
{
        const struct store_lease *l = store_lease(f->store, "orders");

        assert_non_null(l);
        return l;
}

/* The lease of "orders", held by `first`; returns the epoch. */
static uint64_t held(struct fixture *f)
{
        assert_true(acquire(f, first, "orders"));
        assert_int_equal(lease(f)->state, STORE_LEASE_HELD);
        return f->index;
}

static void free_lease_goes_to_whom_asks_first(void **state)
{
        struct fixture *f = *state;
        const struct store_lease *l;

        assert_null(store_lease(f->store, "orders"));
        assert_null(store_lease_at(f->store, 0));
        assert_true(acquire(f, first, "orders"));
        assert_true(f->result.epoch == f->index);
        l = lease(f);
        assert_ptr_equal(l, store_lease_at(f->store, 0));
        assert_int_equal(l->state, STORE_LEASE_HELD);
        assert_int_equal(l->holder, 1);
        assert_int_equal(l->incarnation, 11);
        assert_true(l->epoch == f->index && l->renewed == f->index);
        assert_int_equal(l->ttl, TTL);
        assert_true(l->noted.usec == f->now.usec);
}

static void held_lease_is_refused_to_all_even_to_its_holder(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);

        assert_false(acquire(f, second, "orders"));
        assert_true(f->result.epoch == 0);
        assert_false(acquire(f, first, "orders"));
        assert_int_equal(lease(f)->holder, 1);
        assert_true(lease(f)->epoch == epoch && lease(f)->renewed == epoch);
}

static void closing_lease_is_refused_to_all(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);

        assert_true(end(f, STORE_CLOSE, second, epoch));
        assert_false(acquire(f, second, "orders"));
        assert_int_equal(lease(f)->holder, 1);
}

static void renewal_of_the_holder_is_accepted_and_noted(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);

        f->now.usec += USEC_PER_SEC;
        assert_true(renew_for(f, first, epoch, 0, "0/3000060"));
        assert_true(lease(f)->epoch == epoch);
        assert_true(lease(f)->renewed == f->index);
        assert_true(lease(f)->noted.usec == f->now.usec);
        assert_int_equal(lease(f)->n_position, 9);
        assert_memory_equal(lease(f)->position, "0/3000060", 9);
        assert_true(renew(f, first, epoch));
        assert_int_equal(lease(f)->n_position, 9);
}

static void renewal_of_another_epoch_process_or_node_is_refused(void **state)
{
        struct fixture *f = *state;
        struct store_origin other_process = { .node = 1, .incarnation = 12 };
        struct store_origin other_node = { .node = 2, .incarnation = 11 };
        uint64_t epoch = held(f);

        f->now.usec += USEC_PER_SEC;
        assert_false(renew(f, first, epoch + 1));
        assert_false(renew(f, other_process, epoch));
        assert_false(renew(f, other_node, epoch));
        assert_true(lease(f)->renewed == epoch);
        assert_true(lease(f)->noted.usec == f->now.usec - USEC_PER_SEC);
}

static void renewal_after_the_end_of_the_epoch_is_refused(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);

        assert_true(end(f, STORE_RELEASE, first, epoch));
        assert_false(renew(f, first, epoch));
        assert_true(acquire(f, first, "orders"));
        assert_false(renew(f, first, epoch));
        assert_true(renew(f, first, f->index - 1));
}

static void closing_lease_is_not_renewed(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);

        assert_true(end(f, STORE_CLOSE, second, epoch));
        assert_int_equal(lease(f)->state, STORE_LEASE_CLOSING);
        assert_false(renew(f, first, epoch));
        assert_true(lease(f)->renewed == epoch);
}

static void successor_on_the_node_takes_the_lease_over(void **state)
{
        struct fixture *f = *state;
        struct store_origin successor = { .node = 1, .incarnation = 99 };
        uint64_t epoch = held(f);

        assert_true(renew_for(f, successor, epoch, 11, ""));
        assert_int_equal(lease(f)->incarnation, 99);
        assert_true(lease(f)->renewed == f->index);
        /* The process before it is not heard any more. */
        assert_false(renew(f, first, epoch));
        assert_true(renew(f, successor, epoch));
        /* It goes on naming its predecessor until it knows that it was accepted. */
        assert_true(renew_for(f, successor, epoch, 11, ""));
}

static void successor_must_name_the_right_process_of_its_own_node(void **state)
{
        struct fixture *f = *state;
        struct store_origin successor = { .node = 1, .incarnation = 99 };
        struct store_origin stranger = { .node = 2, .incarnation = 98 };
        uint64_t epoch = held(f);

        assert_false(renew_for(f, successor, epoch, 12, ""));
        assert_false(renew_for(f, stranger, epoch, 11, ""));
        assert_false(renew_for(f, successor, epoch + 1, 11, ""));
        assert_int_equal(lease(f)->incarnation, 11);
}

static void process_without_a_predecessor_does_not_inherit_incarnation_zero(void **state)
{
        struct fixture *f = *state;
        struct store_origin zero = { .node = 1, .incarnation = 0 };
        struct store_origin other = { .node = 1, .incarnation = 5 };

        assert_true(acquire(f, zero, "orders"));
        assert_false(renew_for(f, other, f->index, 0, ""));
}

static void release_by_the_holder_frees_and_may_reserve(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);
        struct store_command c = {
                .type = STORE_RELEASE, .origin = first, .epoch = epoch, .reserved_for = 2
        };

        name(c.service, "orders");
        f->now.usec += 5;
        (void)apply(f, &c);
        assert_true(f->result.accepted);
        assert_int_equal(lease(f)->state, STORE_LEASE_FREE);
        assert_int_equal(lease(f)->holder, 1);
        assert_int_equal(lease(f)->reserved_for, 2);
        assert_true(lease(f)->freed == f->index);
        assert_false(lease(f)->expired);
        assert_true(lease(f)->noted.usec == f->now.usec);
}

static void reservation_is_advice_and_ends_with_the_next_grant(void **state)
{
        struct fixture *f = *state;
        struct store_command c = {
                .type = STORE_RELEASE, .origin = first, .epoch = held(f), .reserved_for = 2
        };
        struct store_origin third = { .node = 3, .incarnation = 33 };

        name(c.service, "orders");
        (void)apply(f, &c);
        assert_true(acquire(f, third, "orders"));
        assert_int_equal(lease(f)->holder, 3);
        assert_int_equal(lease(f)->reserved_for, NODE_NOBODY);
}

static void release_is_refused_to_others_and_for_other_epochs(void **state)
{
        struct fixture *f = *state;
        struct store_origin other_process = { .node = 1, .incarnation = 12 };
        uint64_t epoch = held(f);

        assert_false(end(f, STORE_RELEASE, first, epoch + 1));
        assert_false(end(f, STORE_RELEASE, other_process, epoch));
        assert_false(end(f, STORE_RELEASE, second, epoch));
        assert_int_equal(lease(f)->state, STORE_LEASE_HELD);
        assert_true(end(f, STORE_RELEASE, first, epoch));
        assert_false(end(f, STORE_RELEASE, first, epoch));
}

static void closing_lease_is_freed_by_release_expiry_or_fencing(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);

        assert_true(end(f, STORE_CLOSE, second, epoch));
        assert_true(end(f, STORE_RELEASE, first, epoch));
        epoch = held(f);
        assert_true(end(f, STORE_CLOSE, second, epoch));
        assert_true(expire(f, epoch, epoch));
        epoch = held(f);
        assert_true(end(f, STORE_CLOSE, second, epoch));
        assert_true(end(f, STORE_FENCED, second, epoch));
        assert_int_equal(lease(f)->state, STORE_LEASE_FREE);
}

static void close_needs_a_held_lease_of_that_epoch(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);

        assert_false(end(f, STORE_CLOSE, second, epoch - 1));
        assert_true(end(f, STORE_CLOSE, second, epoch));
        assert_false(end(f, STORE_CLOSE, second, epoch));
        assert_true(end(f, STORE_RELEASE, first, epoch));
        assert_false(end(f, STORE_CLOSE, second, epoch));
}

static void close_frees_nothing_by_itself(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);

        assert_true(end(f, STORE_CLOSE, second, epoch));
        assert_int_equal(lease(f)->holder, 1);
        assert_true(lease(f)->epoch == epoch);
        assert_true(lease(f)->freed == 0);
}

static void expiry_of_the_renewal_that_it_saw_frees(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);

        assert_true(renew(f, first, epoch));
        assert_true(expire(f, epoch, f->index));
        assert_int_equal(lease(f)->state, STORE_LEASE_FREE);
        assert_true(lease(f)->expired);
        assert_true(lease(f)->freed == f->index);
        assert_int_equal(lease(f)->reserved_for, NODE_NOBODY);
}

static void renewal_ahead_of_an_expiry_wins_and_one_behind_loses(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f), renewed;

        assert_true(renew(f, first, epoch));
        renewed = f->index;
        assert_false(expire(f, epoch, epoch));
        assert_true(expire(f, epoch, renewed));
        assert_false(renew(f, first, epoch));
        assert_false(expire(f, epoch, renewed));
}

static void refused_renewal_does_not_save_from_expiry(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);

        assert_false(renew(f, second, epoch));
        assert_true(expire(f, epoch, epoch));
}

static void expiry_of_an_old_epoch_does_not_touch_the_new_one(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);

        assert_true(end(f, STORE_RELEASE, first, epoch));
        assert_true(acquire(f, second, "orders"));
        assert_false(expire(f, epoch, epoch));
        assert_false(expire(f, epoch, f->index - 1));
        assert_int_equal(lease(f)->holder, 2);
        assert_int_equal(lease(f)->state, STORE_LEASE_HELD);
}

static void acquisition_may_follow_an_expiry_at_once(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);

        assert_true(expire(f, epoch, epoch));
        assert_true(acquire(f, second, "orders"));
        assert_true(lease(f)->epoch > epoch);
        assert_false(lease(f)->expired);
        assert_true(lease(f)->freed == 0);
}

static void proof_of_fencing_frees_its_epoch_only(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);

        assert_false(end(f, STORE_FENCED, second, epoch + 1));
        assert_true(renew(f, first, epoch));
        assert_true(end(f, STORE_FENCED, second, epoch));
        assert_int_equal(lease(f)->state, STORE_LEASE_FREE);
        assert_false(lease(f)->expired);
        assert_false(end(f, STORE_FENCED, second, epoch));
}

static void entries_about_unknown_services_change_nothing(void **state)
{
        struct fixture *f = *state;
        uint32_t before = store_checksum(f->store);

        assert_false(renew(f, first, 1));
        assert_false(end(f, STORE_RELEASE, first, 1));
        assert_false(end(f, STORE_CLOSE, first, 1));
        assert_false(end(f, STORE_FENCED, first, 1));
        assert_false(expire(f, 1, 1));
        assert_null(store_lease(f->store, "orders"));
        assert_int_equal(store_checksum(f->store), before);
}

static void one_renewal_names_many_services_and_each_is_answered(void **state)
{
        struct fixture *f = *state;
        struct store_renewal r[3] = { 0 };
        struct store_command c = { .type = STORE_RENEW, .origin = first, .renewals = r, .n = 3 };

        assert_true(acquire(f, first, "a"));
        assert_true(acquire(f, second, "b"));
        assert_true(acquire(f, first, "c"));
        for (size_t i = 0; i < 3; i++) {
                name(r[i].service, (const char *[]){ "a", "b", "c" }[i]);
                r[i].epoch = i + 1;
                r[i].sequence = 100 + i;
        }
        (void)apply(f, &c);
        assert_int_equal(f->result.n_outcomes, 3);
        assert_true(f->result.outcomes[0].accepted);
        assert_false(f->result.outcomes[1].accepted);
        assert_true(f->result.outcomes[2].accepted);
        assert_int_equal(f->result.outcomes[2].sequence, 102);
        assert_string_equal(f->result.outcomes[2].name, "c");
        assert_true(store_lease(f->store, "c")->renewed == f->index);
        assert_int_equal(store_lease(f->store, "b")->renewed, 2);
}

static void full_table_gives_up_what_is_free_for_longest(void **state)
{
        struct fixture *f = *state;
        char service[NAME_SIZE];
        struct store_command c = { .type = STORE_RELEASE, .origin = first };

        for (int i = 0; i < SERVICES_MAX; i++) {
                (void)snprintf(service, sizeof(service), "s%d", i);
                assert_true(acquire(f, first, service));
        }
        assert_false(acquire(f, first, "orders"));
        assert_null(store_lease(f->store, "orders"));

        for (uint64_t i = 8; i >= 7; i--) {
                (void)snprintf(c.service, sizeof(c.service), "s%d", (int)i);
                c.epoch = i + 1;
                (void)apply(f, &c);
                assert_true(f->result.accepted);
        }
        assert_true(acquire(f, first, "orders"));
        assert_null(store_lease(f->store, "s8"));
        assert_non_null(store_lease(f->store, "s7"));
        assert_null(store_lease_at(f->store, SERVICES_MAX));
}

/* Notes. */

static struct instant after(struct instant from, usec_t length)
{
        return instant_after(from, length);
}

static void lease_is_due_a_ttl_after_the_receipt_of_its_last_renewal(void **state)
{
        struct fixture *f = *state;
        struct instant granted = f->now, renewed = after(f->now, USEC_PER_SEC);
        struct store_expiry e[4];
        uint64_t epoch = held(f);

        assert_true(store_next_due(f->store, granted).usec == after(granted, TTL).usec);
        f->now = renewed;
        assert_true(renew(f, first, epoch));
        assert_int_equal(store_leases_due(f->store, after(granted, TTL), e, 4), 0);
        assert_true(store_next_due(f->store, granted).usec == after(renewed, TTL).usec);
        assert_int_equal(store_leases_due(f->store, after(renewed, TTL - 1), e, 4), 0);
        assert_int_equal(store_leases_due(f->store, after(renewed, TTL), e, 0), 0);
        assert_int_equal(store_leases_due(f->store, after(renewed, TTL), e, 4), 1);
        assert_int_equal(e[0].kind, STORE_LEASE_MASTER);
        assert_string_equal(e[0].name, "orders");
        assert_true(e[0].epoch == epoch && e[0].renewed == f->index);
        assert_true(store_next_due(f->store, after(renewed, TTL)).usec == UINT64_MAX);
}

static void refused_renewal_moves_no_note(void **state)
{
        struct fixture *f = *state;
        struct instant granted = f->now;
        struct store_expiry e;
        uint64_t epoch = held(f);

        f->now = after(f->now, USEC_PER_SEC);
        assert_false(renew(f, second, epoch));
        assert_int_equal(store_leases_due(f->store, after(granted, TTL), &e, 1), 1);
}

static void closing_lease_still_comes_due_and_a_free_one_never(void **state)
{
        struct fixture *f = *state;
        struct store_expiry e;
        uint64_t epoch = held(f);

        assert_true(end(f, STORE_CLOSE, second, epoch));
        assert_int_equal(store_leases_due(f->store, after(f->now, TTL), &e, 1), 1);
        assert_true(end(f, STORE_RELEASE, first, epoch));
        assert_int_equal(store_leases_due(f->store, after(f->now, TTL), &e, 1), 0);
        assert_true(store_next_due(f->store, f->now).usec == UINT64_MAX);
}

static void restart_counts_every_lease_as_just_received(void **state)
{
        struct fixture *f = *state;
        struct instant restart = after(f->now, 2 * USEC_PER_SEC);
        struct store_expiry e;

        (void)held(f);
        store_notes_reset(f->store, restart);
        assert_int_equal(store_leases_due(f->store, after(restart, TTL - 1), &e, 1), 0);
        assert_int_equal(store_leases_due(f->store, after(restart, TTL), &e, 1), 1);
        assert_true(store_next_due(f->store, restart).usec == after(restart, TTL).usec);
}

static void replica_attests_only_what_ran_out_by_its_own_notes(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);
        char service[] = "orders";
        struct store_expiry e = { .kind = STORE_LEASE_MASTER, .name = service };

        e.epoch = e.renewed = epoch;
        assert_false(store_attests(f->store, &e, after(f->now, TTL - 1)));
        assert_true(store_attests(f->store, &e, after(f->now, TTL)));
}

static void renewal_that_is_not_applied_yet_is_not_attested(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);
        char service[] = "orders", unknown[] = "unknown";
        struct store_expiry e = { .kind = STORE_LEASE_MASTER, .name = service };

        e.epoch = epoch;
        e.renewed = epoch + 1;
        assert_false(store_attests(f->store, &e, after(f->now, 10 * TTL)));
        e.name = unknown;
        assert_false(store_attests(f->store, &e, after(f->now, 10 * TTL)));
        e.name = service;
        e.epoch = epoch + 1;
        e.renewed = epoch;
        assert_false(store_attests(f->store, &e, after(f->now, 10 * TTL)));
}

static void expiry_that_can_do_nothing_is_attested(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);
        char service[] = "orders";
        struct store_expiry e = {
                .kind = STORE_LEASE_MASTER, .name = service, .epoch = epoch, .renewed = epoch
        };

        assert_true(renew(f, first, epoch));
        assert_true(store_attests(f->store, &e, f->now));
        e.renewed = f->index;
        assert_false(store_attests(f->store, &e, f->now));
        assert_true(end(f, STORE_RELEASE, first, epoch));
        assert_true(store_attests(f->store, &e, f->now));
        assert_true(acquire(f, second, "orders"));
        assert_true(store_attests(f->store, &e, f->now));
}

static void notes_decide_nothing_when_entries_are_applied(void **state)
{
        struct fixture *f = *state;
        uint64_t epoch = held(f);

        /* Received long before its TTL is over: only who may propose depends on that. */
        assert_true(expire(f, epoch, epoch));
        assert_int_equal(lease(f)->state, STORE_LEASE_FREE);
}

/* A history with each kind of entry, accepted and refused. */
static void live(struct fixture *f)
{
        struct store_command c = { .type = STORE_KEY,
                                   .origin = first,
                                   .key = { .path = "/a", .value = "1", .has_ttl = true } };
        uint64_t epoch = held(f);

        assert_true(renew_for(f, first, epoch, 0, "p"));
        c.key.ttl = TTL;
        (void)apply(f, &c);
        assert_false(renew(f, second, epoch));
        assert_false(expire(f, epoch, epoch));
        assert_true(end(f, STORE_CLOSE, second, epoch));
        assert_true(expire(f, epoch, epoch + 1));
        assert_true(acquire(f, second, "orders"));
        assert_true(acquire(f, second, "billing"));
        assert_true(end(f, STORE_FENCED, first, f->index - 1));
}

static void replay_with_other_notes_gives_the_same_checksum(void **state)
{
        struct fixture *f = *state;
        struct store *replica = store_new();
        struct store_result result;

        live(f);
        for (uint64_t i = 1; i <= f->index; i++)
                store_apply(replica, i, f->log[i].bytes.bytes, f->log[i].bytes.n,
                            after(f->log[i].noted, i * 1234567), &result);
        assert_int_equal(store_checksum(replica), store_checksum(f->store));
        store_notes_reset(replica, f->now);
        assert_int_equal(store_checksum(replica), store_checksum(f->store));
        store_free(replica);
}

static void missing_entry_shows_in_the_checksum(void **state)
{
        struct fixture *f = *state;
        struct store *replica = store_new();
        struct store_result result;

        live(f);
        for (uint64_t i = 1; i < f->index; i++)
                store_apply(replica, i, f->log[i].bytes.bytes, f->log[i].bytes.n, f->now, &result);
        assert_int_not_equal(store_checksum(replica), store_checksum(f->store));
        store_free(replica);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(free_lease_goes_to_whom_asks_first),
                TEST(held_lease_is_refused_to_all_even_to_its_holder),
                TEST(closing_lease_is_refused_to_all),
                TEST(renewal_of_the_holder_is_accepted_and_noted),
                TEST(renewal_of_another_epoch_process_or_node_is_refused),
                TEST(renewal_after_the_end_of_the_epoch_is_refused),
                TEST(closing_lease_is_not_renewed),
                TEST(successor_on_the_node_takes_the_lease_over),
                TEST(successor_must_name_the_right_process_of_its_own_node),
                TEST(process_without_a_predecessor_does_not_inherit_incarnation_zero),
                TEST(release_by_the_holder_frees_and_may_reserve),
                TEST(reservation_is_advice_and_ends_with_the_next_grant),
                TEST(release_is_refused_to_others_and_for_other_epochs),
                TEST(closing_lease_is_freed_by_release_expiry_or_fencing),
                TEST(close_needs_a_held_lease_of_that_epoch),
                TEST(close_frees_nothing_by_itself),
                TEST(expiry_of_the_renewal_that_it_saw_frees),
                TEST(renewal_ahead_of_an_expiry_wins_and_one_behind_loses),
                TEST(refused_renewal_does_not_save_from_expiry),
                TEST(expiry_of_an_old_epoch_does_not_touch_the_new_one),
                TEST(acquisition_may_follow_an_expiry_at_once),
                TEST(proof_of_fencing_frees_its_epoch_only),
                TEST(entries_about_unknown_services_change_nothing),
                TEST(one_renewal_names_many_services_and_each_is_answered),
                TEST(full_table_gives_up_what_is_free_for_longest),
                TEST(lease_is_due_a_ttl_after_the_receipt_of_its_last_renewal),
                TEST(refused_renewal_moves_no_note),
                TEST(closing_lease_still_comes_due_and_a_free_one_never),
                TEST(restart_counts_every_lease_as_just_received),
                TEST(replica_attests_only_what_ran_out_by_its_own_notes),
                TEST(renewal_that_is_not_applied_yet_is_not_attested),
                TEST(expiry_that_can_do_nothing_is_attested),
                TEST(notes_decide_nothing_when_entries_are_applied),
                TEST(replay_with_other_notes_gives_the_same_checksum),
                TEST(missing_entry_shows_in_the_checksum),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
