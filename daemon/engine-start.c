/* What the engine begins with: the log and the snapshot on disk, and the node that goes on from them. */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "daemon/clock.h"
#include "daemon/disk.h"
#include "daemon/engine-internal.h"
#include "daemon/journal.h"

/* Clients wait two seconds at most: an answer within them, and more than an election takes. */
#define REQUEST_TIMEOUT_MIN (1200 * USEC_PER_MSEC)
#define REQUEST_TIMEOUT_MAX (1900 * USEC_PER_MSEC)
#define REPORT_INTERVAL_MIN (200 * USEC_PER_MSEC)

uint64_t engine_random(void)
{
        uint64_t number;

        /* Cannot fail or be short for so few bytes once the machine has booted. */
        if (getrandom(&number, sizeof(number), 0) != sizeof(number))
                abort();
        return number >> 1; /* a JSON integer is signed */
}

/* A log says itself whose it is; only a new one is told. */
static int open_wal(struct engine *e, struct wal **ret)
{
        struct wal_options options = { .identity = { .cluster_id = e->conf->cluster_id } };
        struct wal_complaint complaint = { 0 };
        int r;

        r = wal_open(e->dir, &options, ret, &e->recovered, &complaint);
        if (r == -ENOENT) {
                options.identity.node = e->conf->self;
                r = wal_open(e->dir, &options, ret, &e->recovered, &complaint);
        }
        if (r < 0)
                return log_error(r, "cannot use the log in %s: %s", e->dir, complaint.text);
        return 0;
}

int engine_log_open(struct engine *e)
{
        struct wal *w;
        int r;

        (void)snprintf(e->dir, sizeof(e->dir), "%s/raft", e->conf->node.data_dir);
        if (mkdir(e->dir, 0700) < 0 && errno != EEXIST)
                return log_error(-errno, "cannot create %s", e->dir);
        r = open_wal(e, &w);
        if (r < 0)
                return r;
        if (e->recovered.bytes_cut > 0)
                log_info("an unfinished last write of %" PRIu64 " bytes was cut off the log",
                         e->recovered.bytes_cut);
        r = engine_snapshots_load(e, w);
        if (r < 0) {
                wal_close(w);
                return r;
        }
        r = disk_start(w, &e->disk);
        if (r < 0)
                return log_error(r, "cannot start the disk thread");
        return engine_snapshots_start(e);
}

static void configure_service(const struct conf *conf, const struct conf_service *s,
                              struct node_service_config *ret)
{
        struct failover_config *f = &ret->failover;

        *ret = (struct node_service_config){
                .ttl = s->ttl,
                .renew = s->renew,
                .chain = lease_chain_of(s->ttl, s->demote_soft, s->demote_hard),
                .is_for_all = !s->has_member_list,
        };
        for (size_t i = 0; s->has_member_list && i < s->n_members; i++)
                (void)strncpy(ret->holders[ret->n_holders++],
                              conf_member_by_id(conf, s->members[i])->name, NAME_SIZE - 1);
        (void)strncpy(ret->name, s->name, sizeof(ret->name) - 1);
        *f = (struct failover_config){
                .self = conf->self,
                .n_members = (unsigned)s->n_members,
                .has_database = s->postgres != NULL,
                .has_address = s->n_vips > 0,
                .automatic = s->mode == CONF_AUTOMATIC,
                .crash_restart = s->on_crash == CONF_CRASH_RESTART,
                .max_loss = s->max_loss,
                .priority = s->priority,
                .ttl = s->ttl,
                .report_interval = s->renew > REPORT_INTERVAL_MIN ? s->renew : REPORT_INTERVAL_MIN,
                .demote_soft = s->demote_soft,
                .demote_hard = s->demote_hard,
        };
        memcpy(f->members, s->members, sizeof(f->members));
}

static int durable_of(struct engine *e, struct raft_entry **ret_entries, struct raft_durable *ret)
{
        size_t n;
        const struct wal_entry *from = wal_recovered_behind(&e->recovered, e->loaded_id.index, &n);
        struct raft_entry *entries = calloc(n ? n : 1, sizeof(*entries));

        if (!entries)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                entries[i] = (struct raft_entry){ .index = from[i].index,
                                                  .term = from[i].term,
                                                  .type = from[i].type,
                                                  .bytes = from[i].bytes,
                                                  .n = from[i].n };
        *ret_entries = entries;
        *ret = (struct raft_durable){ .term = e->recovered.term,
                                      .vote = e->recovered.vote,
                                      .entries = entries,
                                      .n_entries = n,
                                      .snapshot_index = e->loaded_id.index,
                                      .snapshot_term = e->loaded_id.term };
        if (e->loaded) /* it was verified when it was read */
                (void)snapshot_membership(snapshot_reader_head(e->loaded), &ret->membership);
        return 0;
}

/* Another node's data under our name would be two members with one vote. */
static int check_name(const struct engine *e)
{
        const struct member *m = members_by_id(node_members(e->node), e->recovered.identity.node);

        if (!m || strcmp(m->name, e->conf->node.name) == 0)
                return 0;
        return log_error(-EINVAL,
                         "%s is the data directory of member \"%s\", and this node is \"%s\"",
                         e->dir, m->name, e->conf->node.name);
}

static usec_t request_timeout(const struct conf_cluster *cluster)
{
        usec_t timeout = REQUEST_TIMEOUT_MIN + 2 * cluster->election_timeout;

        return timeout < REQUEST_TIMEOUT_MAX ? timeout : REQUEST_TIMEOUT_MAX;
}

int engine_node_start(struct engine *e, const struct node_adopted *adopted, size_t n_adopted)
{
        const struct conf *conf = e->conf;
        _cleanup_(freep)
        struct node_service_config *services = calloc(conf->n_services ? conf->n_services : 1,
                                                      sizeof(*services));
        _cleanup_(freep)
        struct raft_entry *entries = NULL;
        struct raft_durable durable;
        struct node_config config = { .self = e->recovered.identity.node,
                                      .cluster_id = e->recovered.identity.cluster_id,
                                      .disk_incarnation = e->recovered.incarnation,
                                      .incarnation = e->incarnation,
                                      .seed = engine_random(),
                                      .heartbeat = conf->cluster.heartbeat,
                                      .election_timeout = conf->cluster.election_timeout,
                                      .request_timeout = request_timeout(&conf->cluster),
                                      .snapshot_bytes = conf->node.snapshot_size,
                                      .snapshot_age = conf->node.snapshot_age,
                                      .pre_vote = true,
                                      .services = services,
                                      .n_services = conf->n_services };
        struct store *store;
        int r;

        if (!services)
                return -ENOMEM;
        r = engine_members_found(e, &config.members);
        if (r == 0)
                r = durable_of(e, &entries, &durable);
        if (r < 0)
                return r;
        for (size_t i = 0; i < conf->n_services; i++)
                configure_service(conf, conf->services[i], &services[i]);
        e->cluster_id = config.cluster_id;
        e->now = clock_now();
        store = e->loaded ? snapshot_reader_take(e->loaded, e->now) : NULL;
        e->node = node_new(&config, &durable, store, adopted, n_adopted, e->now);
        r = check_name(e);
        if (r == 0)
                engine_members_follow(e);
        return r;
}

/* What was read at the start has been taken over. */
void engine_start_forget(struct engine *e)
{
        snapshot_reader_free(TAKE_PTR(e->loaded));
        wal_recovered_done(&e->recovered);
        e->recovered = (struct wal_recovered){ 0 };
        (void)malloc_trim(0); /* it was as much as the log and the store */
}
