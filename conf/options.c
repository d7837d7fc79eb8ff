/* Each option in one row: what reads it, where it goes, what it is without being given, and why. */
#include "conf/options.h"

#include <string.h>

#define MSEC(n) ((n)*USEC_PER_MSEC)
#define SEC(n) ((n)*USEC_PER_SEC)
#define MIB(n) (UINT64_C(1024) * 1024 * (n))

#define NODE(field) offsetof(struct conf_node, field)
#define CLUSTER(field) offsetof(struct conf_cluster, field)
#define MEMBER(field) offsetof(struct conf_member, field)
#define SERVICE(field) offsetof(struct conf_service, field)
#define POSTGRES(field) offsetof(struct conf_postgres, field)
#define VIP(field) offsetof(struct conf_vip, field)
#define RANGE(from, to) .min = (from), .max = (to)

/* clang-format off */
const struct conf_section conf_sections[SECTIONS] = {
        [SECTION_NODE]     = { "node",     SECTION_ROOT,    true,  "This machine. The one block that differs from node to node." },
        [SECTION_CLUSTER]  = { "cluster",  SECTION_ROOT,    true,  "All machines that vote, the same on each of them." },
        [SECTION_MEMBER]   = { "member",   SECTION_CLUSTER, true,  "One machine of the cluster; its title is the title of the node block there." },
        [SECTION_SERVICE]  = { "service",  SECTION_ROOT,    true,  "What has one master at a time: a database, addresses, or both." },
        [SECTION_POSTGRES] = { "postgres", SECTION_SERVICE, false, "The PostgreSQL instance of this node that belongs to the service." },
        [SECTION_VIP]      = { "vip",      SECTION_SERVICE, false, "An address that is where the master is; a service may have several." },
};

const struct conf_option conf_options[] = {
        { SECTION_NODE, "address", &type_address, NODE(address),
          .computed = "that of the member entry",
          .meaning = "The address on which this node listens for members and for the API." },
        { SECTION_NODE, "data_dir", &type_path, NODE(data_dir), .defaults = { "/var/lib/failoverd" },
          .meaning = "Where the log of the cluster and its snapshots are kept; must survive a restart." },
        { SECTION_NODE, "run_dir", &type_path, NODE(run_dir), .defaults = { "/run/failoverd" },
          .meaning = "Where sockets and notes live that need not survive a restart of the machine." },
        { SECTION_NODE, "user", &type_name, NODE(user), .defaults = { "failoverd" },
          .meaning = "The user of the engine process, which talks to the network and has no privileges." },
        { SECTION_NODE, "libexec_dir", &type_path, NODE(libexec_dir), .defaults = { "/usr/local/libexec/failoverd" },
          .meaning = "Where the agent programs are installed." },
        { SECTION_NODE, "log_level", &type_log_level, NODE(log_level), .defaults = { "info" },
          .meaning = "The least important messages that are still written to the journal." },
        { SECTION_NODE, "snapshot_size", &type_size, NODE(snapshot_size), RANGE(MIB(1), MIB(1024)), .defaults = { "16MiB" },
          .meaning = "How much the log may grow before it is replaced by a snapshot; a store that is larger than that waits for its own size." },
        { SECTION_NODE, "snapshot_age", &type_duration, NODE(snapshot_age), RANGE(SEC(60), SEC(2592000)), .defaults = { "6h" },
          .meaning = "After what time the log is replaced by a snapshot even if it has grown less than that." },

        { SECTION_CLUSTER, "profile", &type_profile, CLUSTER(profile), .defaults = { "lan" },
          .meaning = "How fast the network and the disks are: the defaults of all times that say \"by profile\"." },
        { SECTION_CLUSTER, "heartbeat", &type_duration, CLUSTER(heartbeat), RANGE(MSEC(5), SEC(60)),
          .defaults = { "25ms", "50ms", "150ms" },
          .meaning = "How often the leader of the cluster tells the others that it lives; at most a third of election_timeout." },
        { SECTION_CLUSTER, "election_timeout", &type_duration, CLUSTER(election_timeout), RANGE(MSEC(20), SEC(300)),
          .defaults = { "80ms", "150ms", "500ms" },
          .meaning = "How long a member waits at least for the leader before it stands for election; the wait is random up to twice that." },

        { SECTION_MEMBER, "address", &type_address, MEMBER(address),
          .meaning = "The address under which the other members reach this one." },
        { SECTION_MEMBER, "role", &type_role, MEMBER(role), .defaults = { "member" },
          .meaning = "A member may hold services; a witness only votes; an observer has a copy of the store and never votes." },
        { SECTION_MEMBER, "api_port", &type_port, MEMBER(api_port), .defaults = { "4001" },
          .meaning = "The port for clients: failoverctl, health checks, the key store." },
        { SECTION_MEMBER, "raft_port", &type_port, MEMBER(raft_port), .defaults = { "7001" },
          .meaning = "The port for the other members." },

        { SECTION_SERVICE, "ttl", &type_duration, SERVICE(ttl), RANGE(MSEC(500), SEC(3600)),
          .defaults = { "1s", "3s", "10s" },
          .meaning = "How long the lease of a silent master lives; nobody takes over before it has run out." },
        { SECTION_SERVICE, "renew", &type_duration, SERVICE(renew), RANGE(MSEC(10), SEC(720)),
          .computed = "a tenth of ttl",
          .meaning = "How often the master renews its lease; from a tenth to a fifth of ttl." },
        { SECTION_SERVICE, "mode", &type_mode, SERVICE(mode), .defaults = { "automatic" },
          .meaning = "Whether a failover happens by itself or waits for an operator." },
        { SECTION_SERVICE, "max_loss", &type_size, SERVICE(max_loss), RANGE(0, MIB(1024) * 1024),
          .defaults = { "16MiB" },
          .meaning = "The largest known loss at which an asynchronous standby is still promoted by itself." },
        { SECTION_SERVICE, "priority", &type_number, SERVICE(priority), RANGE(0, 1000000), .defaults = { "100" },
          .meaning = "Of candidates that are equally good, the one with the highest priority is chosen; this is the one of this node." },
        { SECTION_SERVICE, "demote_soft", &type_duration, SERVICE(demote_soft), RANGE(MSEC(1), SEC(600)),
          .defaults = { "200ms", "500ms", "1500ms" },
          .meaning = "What an orderly release of the service may take before it is forced." },
        { SECTION_SERVICE, "demote_hard", &type_duration, SERVICE(demote_hard), RANGE(MSEC(1), SEC(600)),
          .defaults = { "50ms", "200ms", "500ms" },
          .meaning = "What a forced release may take after that; it ends before the lease does." },
        { SECTION_SERVICE, "on_crash", &type_on_crash, SERVICE(on_crash), .defaults = { "failover" },
          .meaning = "Whether a database that crashed is replaced by a standby at once, or started again where it was." },
        { SECTION_SERVICE, "members", &type_members, 0, .computed = "all with role member",
          .meaning = "Who may hold the service." },

        { SECTION_POSTGRES, "data_dir", &type_path, POSTGRES(data_dir),
          .meaning = "The data directory of the database." },
        { SECTION_POSTGRES, "version", &type_version, POSTGRES(version), .defaults = { "0" },
          .meaning = "The major version; 0 reads it from PG_VERSION in the data directory." },
        { SECTION_POSTGRES, "user", &type_name, POSTGRES(user), .defaults = { "postgres" },
          .meaning = "The user of the operating system who owns the database, and the database's superuser of that name." },
        { SECTION_POSTGRES, "port", &type_port, POSTGRES(port), .defaults = { "5432" },
          .meaning = "The port of the database." },
        { SECTION_POSTGRES, "bin_dir", &type_path, POSTGRES(bin_dir), .defaults = { "" },
          .computed = "/usr/lib/postgresql/VERSION/bin",
          .meaning = "Where pg_ctl, pg_rewind and pg_basebackup of that version are." },
        { SECTION_POSTGRES, "config_file", &type_path, POSTGRES(config_file), .defaults = { "" },
          .meaning = "postgresql.conf, if it is not in the data directory, as on Debian." },
        { SECTION_POSTGRES, "socket_dir", &type_path, POSTGRES(socket_dir), .defaults = { "/var/run/postgresql" },
          .meaning = "Where the database has its local socket." },
        { SECTION_POSTGRES, "listen", &type_text, POSTGRES(listen), .defaults = { "*" },
          .meaning = "The addresses on which the database listens, as in its option listen_addresses." },
        { SECTION_POSTGRES, "replication_user", &type_name, POSTGRES(replication_user), .defaults = { "failoverd" },
          .meaning = "The role with which standbys stream from the primary and rewind." },
        { SECTION_POSTGRES, "passfile", &type_path, POSTGRES(passfile), .defaults = { "" },
          .meaning = "The file with the password of that role, in the format of .pgpass; none if empty." },
        { SECTION_POSTGRES, "start_command", &type_text, POSTGRES(start_command), .defaults = { "" },
          .meaning = "Starts the database instead of pg_ctl." },
        { SECTION_POSTGRES, "stop_command", &type_text, POSTGRES(stop_command), .defaults = { "" },
          .meaning = "Stops the database instead of pg_ctl." },
        { SECTION_POSTGRES, "health_interval", &type_duration, POSTGRES(health_interval), RANGE(MSEC(50), SEC(3600)),
          .defaults = { "500ms" },
          .meaning = "How often the database is asked whether it is well; a crash is noticed at once, without asking." },
        { SECTION_POSTGRES, "health_timeout", &type_duration, POSTGRES(health_timeout), RANGE(MSEC(10), SEC(3600)),
          .defaults = { "1s" },
          .meaning = "How long an answer to that may take." },
        { SECTION_POSTGRES, "rise", &type_number, POSTGRES(rise), RANGE(1, 100), .defaults = { "2" },
          .meaning = "How many good answers in a row make the database healthy." },
        { SECTION_POSTGRES, "fall", &type_number, POSTGRES(fall), RANGE(1, 100), .defaults = { "3" },
          .meaning = "How many bad answers in a row make it unhealthy." },
        { SECTION_POSTGRES, "rejoin", &type_rejoin, POSTGRES(rejoin), .defaults = { "rewind,clone" },
          .meaning = "How a former master becomes a standby again: by pg_rewind, by a new copy, by the first that works, or by hand." },
        { SECTION_POSTGRES, "keep_diverged", &type_bool, POSTGRES(keep_diverged), .defaults = { "true" },
          .meaning = "Whether the old data directory is kept under another name when it is replaced by a new copy." },

        { SECTION_VIP, "address", &type_prefix, 0,
          .meaning = "The address, with the length of its network's prefix if it is not to stand alone." },
        { SECTION_VIP, "interface", &type_interface, VIP(interface),
          .meaning = "The network interface that gets the address." },
        { SECTION_VIP, "label", &type_label, VIP(label), .defaults = { "" },
          .meaning = "The label of an IPv4 address, as old tools show it." },
};
/* clang-format on */

const size_t conf_n_options = sizeof(conf_options) / sizeof(conf_options[0]);

const struct conf_option *conf_option_find(enum conf_section_id section, const char *key)
{
        for (size_t i = 0; i < conf_n_options; i++) {
                if (conf_options[i].section == section && strcmp(conf_options[i].key, key) == 0)
                        return &conf_options[i];
        }
        return NULL;
}

const char *conf_option_default(const struct conf_option *option, enum conf_profile profile)
{
        return option->defaults[profile] ? option->defaults[profile] : option->defaults[0];
}

enum conf_section_id conf_section_find(const char *name)
{
        unsigned i = 0;

        while (i < SECTIONS && strcmp(conf_sections[i].name, name) != 0)
                i++;
        return (enum conf_section_id)i;
}

static int each_of_service(struct conf_service *s, conf_block_function function, void *userdata)
{
        int r;

        r = function(SECTION_SERVICE, s, userdata);
        if (r == 0 && s->postgres)
                r = function(SECTION_POSTGRES, s->postgres, userdata);
        for (size_t i = 0; r == 0 && i < s->n_vips; i++)
                r = function(SECTION_VIP, s->vips[i], userdata);
        return r;
}

int conf_each_block(struct conf *conf, conf_block_function function, void *userdata)
{
        int r;

        r = function(SECTION_NODE, &conf->node, userdata);
        if (r == 0)
                r = function(SECTION_CLUSTER, &conf->cluster, userdata);
        for (size_t i = 0; r == 0 && i < conf->cluster.n_members; i++)
                r = function(SECTION_MEMBER, conf->cluster.members[i], userdata);
        for (size_t i = 0; r == 0 && i < conf->n_services; i++)
                r = each_of_service(conf->services[i], function, userdata);
        return r;
}
