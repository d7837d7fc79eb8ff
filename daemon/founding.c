/* failoverd --join and failoverd --restore. */
#include "daemon/founding.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/executor-privileges.h"
#include "daemon/joining.h"
#include "daemon/journal.h"
#include "daemon/snapshots.h"
#include "election/snapshot.h"

enum { PIECE = 16 * 1024 };

/*
 * How far a restored cluster jumps ahead of its backup: epochs are indexes of the log, and those that
 * were granted after the backup must all lie below the first one that is granted now.
 */
#define EPOCHS_AHEAD (UINT64_C(1) << 40)
/*
 * The same backup may be restored twice: each second of the time of day begins at an index of its own.
 * No cluster writes so many entries in one. If the clock was set back, the first rule is left.
 */
#define EPOCHS_OF_A_SECOND (UINT64_C(1) << 21)

static uint64_t index_behind(uint64_t index)
{
        uint64_t by_time = clock_wall() / USEC_PER_SEC * EPOCHS_OF_A_SECOND;

        index += EPOCHS_AHEAD;
        return index > by_time ? index : by_time;
}

/* Becomes the engine's user, whose the data are, in a data directory that exists. */
static int enter(const struct conf *conf, char dir[PATH_MAX])
{
        const char *data_dir = conf->node.data_dir;
        struct user user;
        int r;

        r = user_lookup(conf->node.user, &user);
        if (r < 0)
                return log_error(r, "there is no user %s", conf->node.user);
        if (mkdir(data_dir, 0711) < 0 && errno != EEXIST)
                return log_error(-errno, "cannot create %s", data_dir);
        if (geteuid() == 0 && chown(data_dir, user.uid, user.gid) < 0)
                return log_error(-errno, "cannot give %s to %s", data_dir, user.name);
        r = geteuid() == 0 ? user_become(&user) : 0;
        if (r < 0)
                return log_error(r, "cannot become %s", user.name);
        (void)snprintf(dir, PATH_MAX, "%s/raft", data_dir);
        return 0;
}

int founding_join(const struct conf *conf, const char *token)
{
        char complaint[JOINING_COMPLAINT_SIZE], dir[PATH_MAX];
        struct joining j;
        const char *name;
        int r;

        if (joining_parse(token, &j, complaint) < 0) {
                (void)log_error(-EINVAL, "%s", complaint);
                return EX_USAGE;
        }
        name = members_by_id(&j.members, j.node)->name;
        if (strcmp(name, conf->node.name) != 0) {
                (void)log_error(-EINVAL,
                                "the token is for member \"%s\", and this node is \"%s\"; write "
                                "node \"%s\" { … }, or add \"%s\" to the cluster",
                                name, conf->node.name, name, conf->node.name);
                return EX_CONFIG;
        }
        if (enter(conf, dir) < 0)
                return EXIT_FAILURE;
        r = joining_prepare(dir, &j, complaint);
        if (r < 0) {
                (void)log_error(r, "%s", complaint);
                return EXIT_FAILURE;
        }
        printf("%s will join the cluster when failoverd is started\n", name);
        return EXIT_SUCCESS;
}

/* Restoring. */

struct restoring {
        struct snapshot_reader *reader;
        struct snapshot_head head;
        struct store *store;
};

static int read_backup(const char *path, struct snapshot_reader *reader)
{
        uint8_t bytes[PIECE];
        int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;
        ssize_t n;

        if (fd < 0)
                return log_error(-errno, "cannot open %s", path);
        while (r == 0 && (n = read(fd, bytes, sizeof(bytes))) != 0)
                r = n < 0 ? -errno : snapshot_reader_feed(reader, bytes, (size_t)n);
        (void)close(fd);
        if (r == 0 && !snapshot_reader_is_whole(reader))
                r = -EBADMSG;
        if (r == -EBADMSG)
                return log_error(r, "%s is no whole backup: it is damaged behind byte %" PRIu64,
                                 path, snapshot_reader_offset(reader));
        return r < 0 ? log_error(r, "cannot read %s", path) : 0;
}

static int encode(void *userdata, snapshots_sink *sink, void *sink_userdata)
{
        struct restoring *r = userdata;

        return snapshot_write(&r->head, r->store, sink, sink_userdata);
}

static int verify_begin(void *userdata, struct snapshot_id id)
{
        struct snapshot_reader **reader = userdata;

        (void)id;
        snapshot_reader_free(*reader);
        *reader = snapshot_reader_new(true);
        return 0;
}

static int verify_feed(void *userdata, const uint8_t *bytes, size_t n)
{
        struct snapshot_reader **reader = userdata;

        return snapshot_reader_feed(*reader, bytes, n);
}

static int verify_end(void *userdata)
{
        struct snapshot_reader **reader = userdata;

        return snapshot_reader_is_whole(*reader) ? 0 : -EBADMSG;
}

static bool holds_lease(const struct store *s, node_id id)
{
        const struct store_lease *l;

        for (size_t i = 0; (l = store_lease_at(s, i)) != NULL; i++) {
                if (l->state != STORE_LEASE_FREE && l->holder == id)
                        return true;
        }
        return false;
}

/*
 * Who we are in the restored cluster: an id without a lease, because we would give a lease in our
 * name back at once, and its holder may be another machine, which lives; our own one if it is such,
 * else one that nobody had. NODE_NOBODY if there is none.
 */
static node_id choose_id(const struct restoring *r, const char *name)
{
        struct raft_membership m;
        struct members list = { 0 };
        const struct member *self;
        node_id second = NODE_NOBODY;

        if (snapshot_membership(&r->head, &m))
                (void)members_decode(m.context, m.n_context, &list);
        self = members_by_name(&list, name);
        if (self && !holds_lease(r->store, self->id))
                return self->id;
        for (node_id id = 1; id <= MEMBERS_MAX; id++) {
                if (holds_lease(r->store, id))
                        continue;
                if (!members_by_id(&list, id))
                        return id;
                second = id;
        }
        return second;
}

/* The one member that a restored cluster begins with. */
static void put_members(const struct conf *conf, node_id id, struct buffer *b)
{
        const struct conf_member *self = conf_member_by_id(conf, conf->self);
        struct member m = {
                .id = id,
                .peer = { .address = self->address, .port = self->raft_port },
                .api = { .address = self->address, .port = self->api_port },
        };
        struct members list = { .id_last = id };
        struct raft_members ids;

        (void)strncpy(m.name, self->name, NAME_SIZE - 1);
        (void)members_add(&list, &m);
        ids = members_for_raft(&list);
        raft_members_encode(&ids, b);
        members_encode(&list, b);
}

static uint64_t new_cluster_id(const struct conf *conf)
{
        uint32_t founding;

        /* Cannot fail or be short for so few bytes once the machine has booted. */
        if (getrandom(&founding, sizeof(founding), 0) != sizeof(founding))
                abort();
        return (uint64_t)wal_cluster_name(conf->cluster_id) << 32 | founding;
}

/* Who was master goes on to count as one for a whole TTL: what is restored starts with full leases. */
static int found(const struct conf *conf, const char *dir, struct restoring *r)
{
        struct snapshot_reader *verified = NULL;
        struct snapshots_reader verify = { verify_begin, verify_feed, verify_end, &verified };
        struct buffer members = { 0 };
        struct wal_complaint complaint = { 0 };
        struct wal_founding founding = {
                .identity = { .cluster_id = new_cluster_id(conf),
                              .node = choose_id(r, conf->node.name) },
                .generation = 1,
                .snapshot_index = index_behind(r->head.index),
                .snapshot_term = r->head.term + 1,
        };
        int result;

        if (founding.identity.node == NODE_NOBODY)
                return log_error(-EINVAL,
                                 "each of the %d possible members holds a lease in the "
                                 "backup",
                                 MEMBERS_MAX);
        put_members(conf, founding.identity.node, &members);
        r->head = (struct snapshot_head){ .cluster_id = founding.identity.cluster_id,
                                          .index = founding.snapshot_index,
                                          .term = founding.snapshot_term,
                                          .members_index = founding.snapshot_index,
                                          .members = members.bytes,
                                          .n_members = members.n };
        result = snapshots_found(dir, &founding, encode, r, &verify, &complaint);
        snapshot_reader_free(verified);
        buffer_done(&members);
        return result < 0 ? log_error(result, "%s", complaint.text) : 0;
}

static int restore(const struct conf *conf, const char *backup, struct restoring *r)
{
        char dir[PATH_MAX];
        int result;

        result = read_backup(backup, r->reader);
        if (result < 0)
                return result;
        r->head = *snapshot_reader_head(r->reader);
        if (wal_cluster_name(r->head.cluster_id) != wal_cluster_name(conf->cluster_id))
                return log_error(-EINVAL, "%s is a backup of another cluster than \"%s\"", backup,
                                 conf->cluster.name);
        r->store = snapshot_reader_take(r->reader, INSTANT_NEVER);
        if (!r->store)
                return log_error(-EBADMSG, "%s is a whole file, but no backup of a store", backup);
        result = enter(conf, dir);
        return result < 0 ? result : found(conf, dir, r);
}

int founding_restore(const struct conf *conf, const char *backup)
{
        struct restoring r = { .reader = snapshot_reader_new(true) };
        int result = restore(conf, backup, &r);

        if (result == 0)
                printf("restored as the only member of \"%s\"; start failoverd, then add the "
                       "others with failoverctl member add\n",
                       conf->cluster.name);
        store_free(r.store);
        snapshot_reader_free(r.reader);
        return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
