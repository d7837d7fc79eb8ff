/* What must hold after every step, looked at from outside and in true time. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"
#include "tests/sim/sim.h"

uint64_t check_digest(const uint8_t *bytes, size_t n, uint64_t digest)
{
        uint64_t word;

        for (; n >= sizeof(word); bytes += sizeof(word), n -= sizeof(word)) {
                memcpy(&word, bytes, sizeof(word));
                digest = (digest ^ word) * 0x9e3779b97f4a7c15u;
                digest ^= digest >> 29;
        }
        for (; n > 0; bytes++, n--)
                digest = (digest ^ *bytes) * 0x9e3779b97f4a7c15u;
        return digest ^ digest >> 32;
}

static uint64_t entry_digest(const struct raft_entry *e)
{
        return check_digest(e->bytes, e->n, e->term * 31 + (uint64_t)e->type + 1);
}

/* One leader a term. */
static void check_leader(struct sim *s, struct machine *m, uint64_t term)
{
        while (s->n_leaders <= term) {
                MUST_GROW(s->leaders, s->n_leaders, s->n_leaders_max);
                s->leaders[s->n_leaders++] = NODE_NOBODY;
        }
        if (s->leaders[term] != NODE_NOBODY && s->leaders[term] != m->id)
                sim_fail(s, "two leaders in term %" PRIu64 ": %s and %s", term,
                         sim_node_name(s, s->leaders[term]), sim_node_name(s, m->id));
        s->leaders[term] = m->id;
}

/* Leader completeness: what was committed in earlier terms is in the log of every new leader. */
static void check_complete(struct sim *s, struct machine *m, uint64_t term)
{
        size_t i = s->n_committed;
        const struct raft_entry *e;

        while (i > 0 && s->committed[i - 1].term_seen >= term)
                i--;
        if (i == 0)
                return;
        if (i <= raft_index_snapshot(node_raft(m->engine.node)))
                return; /* compared when the snapshot was installed, or its entries were committed */
        e = node_entry_at(m->engine.node, i);
        if (!e || entry_digest(e) != s->committed[i - 1].digest)
                sim_fail(s, "%s leads term %" PRIu64 " without the committed entry %zu",
                         sim_node_name(s, m->id), term, i);
}

static void note_key(struct sim *s, uint64_t index, const struct store_command *c)
{
        uint64_t number = 0;

        if (c->key.value && c->key.value[0] == 'w' && !c->key.system)
                number = strtoull(c->key.value + 1, NULL, 10);
        if (number == 0 || number > s->n_requests)
                return;
        s->requests[number - 1].index = index;
}

/* A release in favour of another node, unless an operator accepts that something is lost. */
static void note_release(struct sim *s, const struct store_command *c)
{
        struct machine *m = sim_machine(s, c->origin.node);
        struct node_service_view view;

        for (size_t i = 0; i < s->plan.n_services; i++) {
                if (strcmp(c->service, s->services[i].name) != 0)
                        continue;
                s->handovers[i] = (struct handover){ 0 };
                if (c->reserved_for == NODE_NOBODY || !m->engine.running || !s->plan.has_database)
                        return;
                node_service_view(m->engine.node, i, machine_clock(s, m), &view);
                if (view.order.type == FAILOVER_ORDER_SWITCHOVER)
                        s->handovers[i] = (struct handover){ .to = c->reserved_for,
                                                             .lsn = m->hands[i].database.lsn };
        }
}

void check_promotion(struct sim *s, struct machine *m, size_t service)
{
        struct handover *h = &s->handovers[service];
        uint64_t lsn = m->hands[service].database.lsn;

        if (h->to == m->id && lsn < h->lsn)
                sim_fail(s, "the hand-over of %s to %s lost %" PRIu64 " bytes",
                         s->services[service].name, sim_node_name(s, m->id), h->lsn - lsn);
        s->tally.handovers += h->to == m->id;
        *h = (struct handover){ 0 };
}

/* The first time that an entry is committed anywhere. */
static void note_command(struct sim *s, const struct raft_entry *e)
{
        enum store_command_type type = store_command_peek(e->bytes, e->n);
        struct store_command c;

        if (e->type != RAFT_ENTRY_COMMAND || (type != STORE_KEY && type != STORE_RELEASE) ||
            store_command_decode(e->bytes, e->n, &c) < 0)
                return;
        if (type == STORE_KEY)
                note_key(s, e->index, &c);
        else
                note_release(s, &c);
        store_command_done(&c);
}

static void committed_first(struct sim *s, struct machine *m, const struct raft_entry *e)
{
        MUST_GROW(s->committed, s->n_committed, s->n_committed_max);
        s->committed[s->n_committed++] = (struct committed){ .term = e->term,
                                                             .term_seen = raft_term(
                                                                     node_raft(m->engine.node)),
                                                             .digest = entry_digest(e) };
        s->tally.committed++;
        if (e->type == RAFT_ENTRY_MEMBERS)
                member_committed(s, e);
        note_command(s, e);
}

/* Each member's committed entries are the same as everybody's. */
static void check_committed(struct sim *s, struct machine *m, uint64_t index)
{
        const struct raft_entry *e = node_entry_at(m->engine.node, index);

        if (!e) {
                sim_fail(s, "%s committed entry %" PRIu64 ", which it does not have",
                         sim_node_name(s, m->id), index);
                return;
        }
        if (index > s->n_committed) {
                committed_first(s, m, e);
                return;
        }
        if (entry_digest(e) != s->committed[index - 1].digest)
                sim_fail(s, "%s committed another entry %" PRIu64 " than others did",
                         sim_node_name(s, m->id), index);
}

/* What a snapshot covers was committed, and its last entry is of the term that it says. */
static void check_installed(struct sim *s, struct machine *m, uint64_t index)
{
        const struct disk_file *f = NULL;

        for (size_t i = 0; i < m->disk.n_files; i++)
                if (m->disk.files[i].index == index)
                        f = &m->disk.files[i];
        if (index > s->n_committed)
                sim_fail(s, "%s has a snapshot of entry %" PRIu64 ", but only %zu were committed",
                         sim_node_name(s, m->id), index, s->n_committed);
        else if (!f || f->term != s->committed[index - 1].term)
                sim_fail(s, "the snapshot of %s up to %" PRIu64 " is of another term or not there",
                         sim_node_name(s, m->id), index);
        m->engine.index_checked = index;
        m->engine.members_checked = false;
}

void check_engine(struct sim *s, struct machine *m)
{
        const struct raft *r = node_raft(m->engine.node);
        uint64_t committed = raft_index_committed(r);
        bool leads = raft_role(r) == RAFT_LEADER;

        if (leads && (!m->engine.was_leader || raft_term(r) != m->engine.term_led)) {
                s->tally.elections++;
                m->engine.term_led = raft_term(r);
                check_leader(s, m, raft_term(r));
                check_complete(s, m, raft_term(r));
        }
        m->engine.was_leader = leads;
        if (committed < m->engine.index_checked) {
                sim_fail(s, "%s takes back that it committed up to %" PRIu64,
                         sim_node_name(s, m->id), m->engine.index_checked);
                return;
        }
        if (leads && committed > m->engine.index_checked)
                fault_aim(s, m, AIM_COMMITTED);
        if (raft_index_snapshot(r) > m->engine.index_checked)
                check_installed(s, m, raft_index_snapshot(r));
        if (m->engine.index_checked < committed || !m->engine.members_checked) {
                while (m->engine.index_checked < committed && !s->over)
                        check_committed(s, m, ++m->engine.index_checked);
                member_check(s, m);
                m->engine.members_checked = true;
        }
        observe_engine(s, m);
}

static bool is_writable(const struct sim *s, const struct machine *m, size_t service)
{
        const struct database *d = &m->hands[service].database;

        return machine_is_awake(s, m) && d->running && d->open && !d->hung;
}

static bool is_addressed(const struct sim *s, const struct machine *m, size_t service)
{
        return machine_is_awake(s, m) && m->hands[service].address;
}

/* Executor and agent both gone or stopped: only the kernel's deadline on the address is left. */
static bool is_unattended(const struct sim *s, const struct machine *m)
{
        return !hands_executor_awake(s, m) && !hands_agent_awake(s, m);
}

static bool accepts(const struct sim *s, const struct machine *m, size_t service)
{
        return (!s->plan.has_database || is_writable(s, m, service)) &&
               (!s->plan.has_address || is_addressed(s, m, service));
}

static void accepting_begins(struct sim *s, struct machine *m, size_t service)
{
        uint64_t epoch = m->hands[service].epoch;

        if (s->accepted_last[service] != m->id) {
                s->tally.moves += s->accepted_last[service] != NODE_NOBODY;
                if (epoch <= s->epoch_accepted[service])
                        sim_fail(s,
                                 "%s accepts writes under epoch %" PRIu64 ", %s did under %" PRIu64,
                                 sim_node_name(s, m->id), epoch,
                                 sim_node_name(s, s->accepted_last[service]),
                                 s->epoch_accepted[service]);
        }
        if (epoch < s->epoch_accepted[service])
                sim_fail(s, "%s accepts writes under epoch %" PRIu64 " again",
                         sim_node_name(s, m->id), epoch);
        STORY(s, m, "accepts writes of %s under epoch %" PRIu64, s->services[service].name, epoch);
        s->accepted_last[service] = m->id;
        s->epoch_accepted[service] = epoch;
        s->accepting_since[service] = s->now;
}

static void check_alone(struct sim *s, struct machine *m, size_t service)
{
        for (unsigned i = 1; i <= s->plan.n_candidates; i++) {
                struct machine *other = sim_machine(s, (node_id)i);

                if (other == m)
                        continue;
                if (accepts(s, m, service) && accepts(s, other, service))
                        sim_fail(s, "%s and %s accept writes of %s at the same time",
                                 sim_node_name(s, m->id), sim_node_name(s, other->id),
                                 s->services[service].name);
                if (is_addressed(s, m, service) && is_addressed(s, other, service))
                        sim_fail(s, "%s and %s have the address of %s at the same time",
                                 sim_node_name(s, m->id), sim_node_name(s, other->id),
                                 s->services[service].name);
                if (is_writable(s, m, service) && is_writable(s, other, service) &&
                    !is_unattended(s, m) && !is_unattended(s, other))
                        sim_fail(s, "the databases of %s on %s and %s are both writable",
                                 s->services[service].name, sim_node_name(s, m->id),
                                 sim_node_name(s, other->id));
        }
}

void check_resources(struct sim *s, struct machine *m, size_t service)
{
        bool now = accepts(s, m, service);

        if (is_writable(s, m, service) || is_addressed(s, m, service))
                check_alone(s, m, service);
        if (now && s->accepting[service] != m->id) {
                s->accepting[service] = m->id;
                accepting_begins(s, m, service);
        } else if (!now && s->accepting[service] == m->id) {
                s->accepting[service] = NODE_NOBODY;
                STORY(s, m, "accepts no writes of %s any more", s->services[service].name);
        }
}

static uint64_t text_digest(const char *text, uint64_t digest)
{
        return text ? check_digest((const uint8_t *)text, strlen(text), digest) : digest;
}

/* The children come in no order that means anything: their digests are added. */
static uint64_t tree_digest(const struct store_node *n)
{
        struct store_view v = store_node_view(n);
        uint64_t digest = text_digest(v.value, text_digest(v.path, 1));

        digest = (digest ^ v.created * 31 ^ v.modified * 37 ^ v.directory) * 0x9e3779b97f4a7c15u;
        digest ^= (v.has_ttl ? v.ttl : 0) * 41;
        for (const struct store_node *c = store_node_first(n); c; c = store_node_next(c))
                digest += tree_digest(c);
        return digest * 0xff51afd7ed558ccdu;
}

uint64_t check_store_digest(const struct node *n)
{
        const struct store *store = node_store(n);
        const struct store_lease *lease;
        const struct store_node *root;
        uint64_t digest = store_index(store) * 43;

        if (store_get(store, "/", &root) == STORE_OK)
                digest ^= tree_digest(root);
        for (size_t i = 0; (lease = store_lease_at(store, i)); i++) {
                digest += text_digest(lease->service, lease->epoch * 3 + lease->renewed * 5 +
                                                              lease->holder * 7 +
                                                              lease->incarnation * 11 +
                                                              (uint64_t)lease->state * 13);
        }
        return digest;
}
