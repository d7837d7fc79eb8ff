/* One member of a Raft group on the bench. */
#include "tests/lib/raft-rig.h"

#include <stdlib.h>

#include "election/base/memory.h"

static const uint8_t rig_bytes[RAFT_ENTRY_BYTES_MAX + 1];

void rig_start(struct rig *rig, const struct rig_setup *setup)
{
        struct raft_config config = {
                .self = RIG_SELF,
                .heartbeat = RIG_HEARTBEAT,
                .election_timeout = RIG_ELECTION,
                .seed = 1,
                .pre_vote = !setup->no_pre_vote,
        };
        struct raft_entry entries[RIG_ENTRIES_MAX];
        struct raft_durable durable = {
                .term = setup->term,
                .vote = setup->vote,
                .entries = entries,
                .snapshot_index = setup->snapshot_index,
                .snapshot_term = setup->snapshot_term,
        };

        for (node_id id = 1; id <= setup->n_voters; id++)
                config.members.voters[config.members.n_voters++] = id;
        for (size_t i = 0; i < RIG_ENTRIES_MAX && setup->terms[i]; i++)
                entries[durable.n_entries++] = (struct raft_entry){
                        .index = setup->snapshot_index + i + 1,
                        .term = setup->terms[i],
                        .type = RAFT_ENTRY_COMMAND,
                        .bytes = rig_bytes,
                        .n = 1,
                };
        *rig = (struct rig){ .now = 1000 * 1000 };
        rig->raft = raft_new(&config, &durable, (struct instant){ rig->now });
        rig_persist(rig); /* nothing yet; the first step only tells the configuration */
}

void rig_done(struct rig *rig)
{
        raft_free(rig->raft);
        rig->raft = NULL;
}

void rig_feed(struct rig *rig, struct raft_event event)
{
        event.now = (struct instant){ rig->now };
        raft_step(rig->raft, &event, &rig->effects);
        for (size_t i = 0; i < rig->effects.n; i++) {
                const struct raft_effect *e = &rig->effects.list[i];

                if (e->type == RAFT_PERSIST)
                        rig->generation = e->persist.generation;
                if (e->type == RAFT_SEND && e->message.type == RAFT_APPEND)
                        rig->round = e->message.round;
        }
}

void rig_wait(struct rig *rig, usec_t length)
{
        rig->now += length;
}

void rig_timeout(struct rig *rig)
{
        uint64_t deadline = raft_deadline(rig->raft).usec;

        if (deadline > rig->now)
                rig->now = deadline;
        rig_feed(rig, (struct raft_event){ .type = RAFT_EVENT_TIMEOUT });
}

void rig_attempt(struct rig *rig)
{
        do
                rig_timeout(rig);
        while (!rig_noted(rig, RAFT_NOTE_PRE_VOTE_STARTED) &&
               !rig_noted(rig, RAFT_NOTE_ELECTION_STARTED));
}

void rig_receive(struct rig *rig, struct raft_message message)
{
        message.to = RIG_SELF;
        rig_feed(rig, (struct raft_event){ .type = RAFT_EVENT_RECEIVED, .message = &message });
}

void rig_append(struct rig *rig, struct raft_message append, const uint64_t *terms)
{
        struct raft_entry entries[RIG_ENTRIES_MAX];

        append.type = RAFT_APPEND;
        append.entries = entries;
        for (; terms && terms[append.n_entries]; append.n_entries++)
                entries[append.n_entries] = (struct raft_entry){
                        .index = append.log_index + append.n_entries + 1,
                        .term = terms[append.n_entries],
                        .type = RAFT_ENTRY_COMMAND,
                        .bytes = rig_bytes,
                        .n = 1,
                };
        rig_receive(rig, append);
}

void rig_persist_up_to(struct rig *rig, uint64_t generation)
{
        rig_feed(rig,
                 (struct raft_event){ .type = RAFT_EVENT_PERSISTED, .generation = generation });
}

void rig_persist(struct rig *rig)
{
        rig_persist_up_to(rig, rig->generation);
}

void rig_acknowledge(struct rig *rig, node_id from, uint64_t match)
{
        rig_receive(rig, (struct raft_message){ .type = RAFT_APPEND_REPLY,
                                                .from = from,
                                                .term = raft_term(rig->raft),
                                                .log_index = match,
                                                .round = rig->round,
                                                .granted = true });
}

void rig_propose(struct rig *rig, size_t n)
{
        rig_feed(rig,
                 (struct raft_event){ .type = RAFT_EVENT_PROPOSE,
                                      .commands = &(struct raft_entry){ .type = RAFT_ENTRY_COMMAND,
                                                                        .bytes = rig_bytes,
                                                                        .n = n },
                                      .n_commands = 1 });
}

void rig_elect(struct rig *rig)
{
        unsigned n = raft_members(rig->raft)->n_voters;

        while (raft_role(rig->raft) == RAFT_FOLLOWER)
                rig_timeout(rig);
        for (node_id id = 2; id <= n; id++)
                rig_receive(rig, (struct raft_message){ .type = RAFT_PRE_VOTE_REPLY,
                                                        .from = id,
                                                        .term = raft_term(rig->raft) + 1,
                                                        .granted = true });
        rig_persist(rig);
        for (node_id id = 2; id <= n / 2 + 1; id++)
                rig_receive(rig, (struct raft_message){ .type = RAFT_VOTE_REPLY,
                                                        .from = id,
                                                        .term = raft_term(rig->raft),
                                                        .granted = true });
}

void rig_lead(struct rig *rig)
{
        rig_elect(rig);
        rig_persist(rig);
        for (node_id id = 2; id <= raft_members(rig->raft)->n_voters; id++)
                rig_acknowledge(rig, id, raft_index_last(rig->raft));
}

const struct raft_message *rig_sent(const struct rig *rig, enum raft_message_type type, node_id to)
{
        for (size_t i = 0; i < rig->effects.n; i++) {
                const struct raft_effect *e = &rig->effects.list[i];

                if (e->type == RAFT_SEND && e->message.type == type && e->message.to == to)
                        return &e->message;
        }
        return NULL;
}

const struct raft_effect *rig_effect(const struct rig *rig, enum raft_effect_type type)
{
        for (size_t i = 0; i < rig->effects.n; i++)
                if (rig->effects.list[i].type == type)
                        return &rig->effects.list[i];
        return NULL;
}

const struct raft_effect *rig_noted(const struct rig *rig, enum raft_note note)
{
        for (size_t i = 0; i < rig->effects.n; i++)
                if (rig->effects.list[i].type == RAFT_NOTE && rig->effects.list[i].note == note)
                        return &rig->effects.list[i];
        return NULL;
}

unsigned rig_n_sent(const struct rig *rig)
{
        unsigned n = 0;

        for (size_t i = 0; i < rig->effects.n; i++)
                n += rig->effects.list[i].type == RAFT_SEND;
        return n;
}
