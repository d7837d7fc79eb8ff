/* Sentences for notes, events and effects. */
#include "election/describe.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct text {
        char *bytes;
        size_t size;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *t, const char *format, ...)
{
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(t->bytes, t->size, format, ap);
        va_end(ap);
        if (n < 0)
                return;
        if ((size_t)n >= t->size)
                n = t->size > 0 ? (int)t->size - 1 : 0;
        t->bytes += n;
        t->size -= (size_t)n;
}

static void say_member(struct text *t, const struct describe_names *names, node_id id)
{
        if (id == NODE_NOBODY)
                say(t, "nobody");
        else if (id <= MEMBERS_MAX && names->members[id])
                say(t, "%s", names->members[id]);
        else
                say(t, "node %u", id);
}

static const char *service_name(const struct describe_names *names, size_t service)
{
        return service < names->n_services ? names->services[service] : "?";
}

static void say_raft(struct text *t, const struct node_note *note,
                     const struct describe_names *names)
{
        switch (note->raft) {
        case RAFT_NOTE_PRE_VOTE_STARTED:
                say(t, "no leader is heard: asking for pre-votes for term %" PRIu64,
                    note->term + 1);
                return;
        case RAFT_NOTE_ELECTION_STARTED:
                say(t, "candidate in term %" PRIu64, note->term);
                return;
        case RAFT_NOTE_VOTED:
                say(t, "votes in term %" PRIu64 " for ", note->term);
                break;
        case RAFT_NOTE_QUORUM_LOST:
                say(t, "no quorum answers: stepping down as leader of term %" PRIu64, note->term);
                return;
        case RAFT_NOTE_TRUNCATED:
                say(t, "entries from %" PRIu64 " on were never committed and are replaced",
                    note->index);
                return;
        case RAFT_NOTE_TRANSFER_STARTED:
                say(t, "hands leadership of term %" PRIu64 " to ", note->term);
                break;
        case RAFT_NOTE_TRANSFER_FAILED:
                say(t, "the transfer of leadership was not taken up by ");
                break;
        case RAFT_NOTE_PEER_PROBED:
                say(t, "looks for the point where the logs part with ");
                break;
        case RAFT_NOTE_PEER_LOST_LOG:
                say(t, "entries that were acknowledged are missing from the log of ");
                break;
        }
        say_member(t, names, note->member);
}

static void say_role(struct text *t, const struct node_note *note,
                     const struct describe_names *names)
{
        if (note->role == RAFT_LEADER) {
                say(t, "leader in term %" PRIu64, note->term);
                return;
        }
        say(t, "%s in term %" PRIu64 ", leader: ", raft_role_name(note->role), note->term);
        say_member(t, names, note->member);
}

static void say_lease(struct text *t, const struct node_note *note,
                      const struct describe_names *names, const char *what)
{
        say(t, "service %s: lease %" PRIu64 " %s ", service_name(names, note->service), note->epoch,
            what);
        say_member(t, names, note->member);
}

static void say_step(struct text *t, const struct node_note *note,
                     const struct describe_names *names)
{
        say(t, "service %s: %s ", service_name(names, note->service),
            failover_step_name(note->step));
        if (note->type == NODE_NOTE_STEP_STARTED)
                say(t, "begins");
        else
                say(t, "%s after %" PRIu64 ".%" PRIu64 " ms", note->ok ? "done" : "failed",
                    note->took / 1000, note->took % 1000 / 100);
        if (note->text[0])
                say(t, ": %s", note->text);
}

void describe_note(const struct node_note *note, const struct describe_names *names, char *ret,
                   size_t size)
{
        struct text t = { ret, size };

        switch (note->type) {
        case NODE_NOTE_RAFT:
                say_raft(&t, note, names);
                break;
        case NODE_NOTE_ROLE:
                say_role(&t, note, names);
                break;
        case NODE_NOTE_CURRENT:
                say(&t, "has caught up with the cluster at entry %" PRIu64, note->index);
                break;
        case NODE_NOTE_LEASE_GRANTED:
                say_lease(&t, note, names, "granted to");
                break;
        case NODE_NOTE_LEASE_EXPIRED:
                say_lease(&t, note, names, "ran out by the clocks of a quorum; it was held by");
                break;
        case NODE_NOTE_LEASE_RELEASED:
                say_lease(&t, note, names, "given back by");
                break;
        case NODE_NOTE_LEASE_REFUSED:
                say_lease(&t, note, names, "may no longer be renewed by");
                break;
        case NODE_NOTE_LEASE_RAN_OUT:
                say_lease(&t, note, names, "was not confirmed in time for");
                break;
        case NODE_NOTE_EXPIRY_EARLY:
                say_lease(&t, note, names, "expired earlier than our clock allows, held by");
                break;
        case NODE_NOTE_EXPIRY_REFUSED:
                say(&t, "did not agree to an expiry proposed by ");
                say_member(&t, names, note->member);
                break;
        case NODE_NOTE_STEP_STARTED:
        case NODE_NOTE_STEP_ENDED:
                say_step(&t, note, names);
                break;
        case NODE_NOTE_MOVED:
                say(&t, "service %s: %s -> %s, %s", service_name(names, note->service),
                    failover_state_name(note->state_from), failover_state_name(note->state_to),
                    note->text);
                break;
        case NODE_NOTE_FAILOVER:
                say(&t, "service %s: %s", service_name(names, note->service), note->text);
                break;
        case NODE_NOTE_BAD_MESSAGE:
                say(&t, "a malformed message came from ");
                say_member(&t, names, note->member);
                break;
        case NODE_NOTE_MEMBERS:
                say(&t, "the member list is that of entry %" PRIu64, note->index);
                break;
        case NODE_NOTE_SNAPSHOT_TAKEN:
                say(&t, "a snapshot of all up to entry %" PRIu64 " replaces the log", note->index);
                break;
        case NODE_NOTE_SNAPSHOT_SENT:
                say(&t, "a snapshot is being sent to ");
                say_member(&t, names, note->member);
                say(&t, ", which needs what the log no longer has");
                break;
        case NODE_NOTE_SNAPSHOT_INSTALLED:
                say(&t, "a snapshot of all up to entry %" PRIu64 " was received and is in force",
                    note->index);
                break;
        }
}

static const char *event_name(enum node_event_type type)
{
        static const char *const names[] = {
                [NODE_TIMEOUT] = "timeout",
                [NODE_RECEIVED] = "message",
                [NODE_PERSISTED] = "persisted",
                [NODE_WRITE] = "client write",
                [NODE_READ] = "client read",
                [NODE_SUSPECT] = "hint of the death",
                [NODE_FORGET] = "client gone",
                [NODE_ORDER] = "operator's order",
                [NODE_SPACE] = "room on the disk",
                [NODE_CHANGE] = "change of the member list",
                [NODE_SEEN] = "disk seen",
                [NODE_SNAPSHOT_ORDERED] = "snapshot ordered",
                [NODE_SNAPSHOT_TAKEN] = "snapshot taken",
                [NODE_SNAPSHOT_PART_READ] = "part of a snapshot read",
                [NODE_SNAPSHOT_PART_WRITTEN] = "part of a snapshot written",
                [NODE_HANDS_STATUS] = "status of the database",
                [NODE_HANDS_ACK] = "the hands are ready until the deadline",
                [NODE_HANDS_DONE] = "step ended",
                [NODE_HANDS_CLOSED] = "the hands let go",
                [NODE_HANDS_ADDRESSES] = "addresses changed",
        };

        return names[type];
}

void describe_event(const struct node_event *event, const struct describe_names *names, char *ret,
                    size_t size)
{
        struct text t = { ret, size };

        say(&t, "%s", event_name(event->type));
        switch (event->type) {
        case NODE_RECEIVED:
                say(&t, " of %zu bytes from ", event->n);
                say_member(&t, names, event->from);
                break;
        case NODE_SUSPECT:
                say(&t, " of ");
                say_member(&t, names, event->from);
                break;
        case NODE_PERSISTED:
                say(&t, " up to generation %" PRIu64, event->generation);
                break;
        case NODE_HANDS_STATUS:
                say(&t, " of %s: %s %s", service_name(names, event->service),
                    failover_database_state_name(event->status->state),
                    failover_database_role_name(event->status->role));
                break;
        case NODE_HANDS_ACK:
                say(&t, " of %s", service_name(names, event->service));
                break;
        case NODE_HANDS_DONE:
        case NODE_HANDS_CLOSED:
        case NODE_HANDS_ADDRESSES:
                say(&t, " for %s: %s", service_name(names, event->service),
                    event->ok ? "yes" : "no");
                break;
        case NODE_CHANGE:
                say(&t, " about %s", event->change->name);
                break;
        case NODE_SEEN:
                say(&t, " at ");
                say_member(&t, names, event->from);
                break;
        case NODE_SNAPSHOT_TAKEN:
        case NODE_SNAPSHOT_PART_READ:
        case NODE_SNAPSHOT_PART_WRITTEN:
                say(&t, " of entry %" PRIu64 ": %s", event->snapshot.index,
                    event->ok ? "yes" : "no");
                break;
        case NODE_SPACE:
                say(&t, ": %s", event->ok ? "some" : "none");
                break;
        case NODE_SNAPSHOT_ORDERED:
        case NODE_TIMEOUT:
        case NODE_WRITE:
        case NODE_READ:
        case NODE_FORGET:
        case NODE_ORDER:
                break;
        }
}

static void say_persist(struct text *t, const struct raft_persist *p)
{
        say(t, "persist %" PRIu64 ":", p->generation);
        if (p->has_hard_state)
                say(t, " term %" PRIu64 " vote %u", p->term, p->vote);
        if (p->truncate_from)
                say(t, " truncate from %" PRIu64, p->truncate_from);
        if (p->first)
                say(t, " entries %" PRIu64 " to %" PRIu64, p->first, p->last);
        if (p->snapshot_index)
                say(t, " snapshot %" PRIu64, p->snapshot_index);
}

void describe_effect(const struct node_effect *effect, const struct describe_names *names,
                     char *ret, size_t size)
{
        struct text t = { ret, size };

        switch (effect->type) {
        case NODE_PERSIST:
                say_persist(&t, &effect->persist);
                break;
        case NODE_SEND:
                say(&t, "send %zu bytes to ", effect->n);
                say_member(&t, names, effect->to);
                break;
        case NODE_ANSWERED:
                say(&t, "answer request %" PRIu64 ": %s", effect->request,
                    node_outcome_name(effect->outcome));
                break;
        case NODE_HOLD:
                say(&t, "hold %s under lease %" PRIu64, service_name(names, effect->service),
                    effect->epoch);
                break;
        case NODE_LET_GO:
                say(&t, "let go of %s, lease %" PRIu64, service_name(names, effect->service),
                    effect->epoch);
                break;
        case NODE_RUN:
                say(&t, "run %s for %s", failover_step_name(effect->run.step),
                    service_name(names, effect->service));
                break;
        case NODE_CANCEL:
                say(&t, "cancel step %" PRIu64 " for %s", effect->id,
                    service_name(names, effect->service));
                break;
        case NODE_WOKEN:
                say(&t, "%zu watchers woken", effect->n_watchers);
                break;
        case NODE_MEMBERS:
                say(&t, "tell of the member list");
                break;
        case NODE_SNAPSHOT_TAKE:
                say(&t, "take a snapshot of entry %" PRIu64, effect->snapshot.index);
                break;
        case NODE_SNAPSHOT_READ:
                say(&t, "read snapshot %" PRIu64 " from %" PRIu64 " for ", effect->snapshot.index,
                    effect->snapshot.offset);
                say_member(&t, names, effect->to);
                break;
        case NODE_SNAPSHOT_WRITE:
                say(&t, "write %zu bytes of snapshot %" PRIu64 " at %" PRIu64, effect->n,
                    effect->snapshot.index, effect->snapshot.offset);
                break;
        case NODE_NOTE:
                describe_note(&effect->note, names, ret, size);
                break;
        }
}
