/*
 * One member of a Raft group on the bench: a test feeds it events by hand, plays the others, and
 * looks at what it answers. The member under test is RIG_SELF; its peers are 2, 3 and so on.
 */
#pragma once

#include "election/raft/raft.h"

enum {
        RIG_SELF = 1,
        RIG_HEARTBEAT = 50 * 1000,
        RIG_ELECTION = 200 * 1000,
        RIG_ENTRIES_MAX = 64,
};

struct rig {
        struct raft *raft;
        uint64_t now; /* microseconds */
        uint64_t generation; /* newest that was handed out */
        uint64_t round; /* newest that was sent */
        struct raft_effects effects; /* of the last step */
};

/* What a member starts with: entry i + 1 has terms[i]; the list ends with 0. */
struct rig_setup {
        unsigned n_voters;
        uint64_t term;
        node_id vote;
        uint64_t terms[RIG_ENTRIES_MAX];
        uint64_t snapshot_index, snapshot_term; /* then the entries stand behind it */
        bool no_pre_vote;
};

void rig_start(struct rig *rig, const struct rig_setup *setup);
void rig_done(struct rig *rig);

void rig_feed(struct rig *rig, struct raft_event event);
void rig_wait(struct rig *rig, usec_t length);
/* Waits for the deadline of the member and lets it have its time-out. */
void rig_timeout(struct rig *rig);
/* Time-outs until the member begins an attempt to be elected. */
void rig_attempt(struct rig *rig);
/* Lets the member receive @message, addressed to it. */
void rig_receive(struct rig *rig, struct raft_message message);
/* An append of member @from, whose entries stand behind @log_index and have @terms, 0 at the end. */
void rig_append(struct rig *rig, struct raft_message append, const uint64_t *terms);
/* All that was handed out is durable; or all up to @generation. */
void rig_persist(struct rig *rig);
void rig_persist_up_to(struct rig *rig, uint64_t generation);
/* Member @from has all up to @match on its disk, and answers the newest round. */
void rig_acknowledge(struct rig *rig, node_id from, uint64_t match);
/* A command of @n bytes. */
void rig_propose(struct rig *rig, size_t n);
/* Makes the member a leader; what others have is not known, its own no-op not yet on its disk. */
void rig_elect(struct rig *rig);
/* The same, and all members have acknowledged all. */
void rig_lead(struct rig *rig);

/* In the last step: the first message of @type to @to, or the first effect of @type; or NULL. */
const struct raft_message *rig_sent(const struct rig *rig, enum raft_message_type type, node_id to);
const struct raft_effect *rig_effect(const struct rig *rig, enum raft_effect_type type);
const struct raft_effect *rig_noted(const struct rig *rig, enum raft_note note);
unsigned rig_n_sent(const struct rig *rig);
