/*
 * The member list of the cluster: who votes, who only has a copy, and where each is reached. The
 * log carries it, so that all agree on it; Raft reads the ids, the rest is its context.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "election/base/buffer.h"
#include "election/base/endpoint.h"
#include "election/base/names.h"
#include "election/raft/raft.h"

enum member_kind {
        MEMBER_FULL, /* votes and may hold services */
        MEMBER_WITNESS, /* votes only */
        MEMBER_OBSERVER, /* has a copy, never votes */
};

struct member {
        node_id id; /* may be given to another machine when this one has left */
        char name[NAME_SIZE];
        enum member_kind kind;
        bool is_learning; /* it will vote when it has caught up */
        uint64_t incarnation; /* of its disk: another one is another machine; 0: not seen yet */
        struct endpoint peer; /* for the other members */
        struct endpoint api; /* for clients */
};

struct members {
        struct member list[MEMBERS_MAX]; /* ascending by id */
        unsigned n;
        uint64_t index; /* of the log entry that says so; 0: the cluster was founded so */
        node_id id_last; /* the last one that was given away: the next one is another */
};

bool member_votes(const struct member *m);

const struct member *members_by_id(const struct members *m, node_id id);
const struct member *members_by_name(const struct members *m, const char *name);

/* Adds a copy of @member, whose id is not in the list yet, at its place. False if the list is full. */
bool members_add(struct members *m, const struct member *member);
/* Does nothing if there is no such member. */
void members_remove(struct members *m, node_id id);

/* An id that is free and was not given away lately; NODE_NOBODY if the list is full. */
node_id members_free_id(const struct members *m);

/* What Raft counts. */
struct raft_members members_for_raft(const struct members *m);

/* The context of Raft's entry, all but the index. */
void members_encode(const struct members *m, struct buffer *b);
/* Returns false, and nothing in @ret, if the bytes are not a list that members_encode() writes. */
bool members_decode(const uint8_t *bytes, size_t n, struct members *ret);

const char *member_kind_name(enum member_kind kind);
