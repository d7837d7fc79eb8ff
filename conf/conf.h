/*
 * The configuration of one node: failoverd.conf and all of conf.d beside it, read with libconfuse
 * by one table of options, checked as a whole, and handed out as plain structures. Nothing here
 * logs; what is wrong is answered with file, line, option, what was found and what is accepted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "election/base/cleanup.h"
#include "election/base/endpoint.h"
#include "election/base/names.h"
#include "election/base/time.h"

enum {
        CONF_PATH_SIZE = 256, /* bytes for the path of a file, with the final NUL */
        CONF_TEXT_SIZE = 768, /* bytes for the text of a complaint, with the final NUL */
        CONF_VALUE_MAX = 1024, /* characters in one value */
        CONF_FILE_MAX = 1024 * 1024, /* bytes in one file */
        CONF_FILES_MAX = 128, /* files read for one configuration */
        CONF_VIPS_MAX = 16, /* vip blocks in one service */
        CONF_WARNINGS_MAX = 64, /* warnings kept; further ones are dropped */
};

enum conf_log_level {
        CONF_LOG_ERROR,
        CONF_LOG_WARNING,
        CONF_LOG_NOTICE,
        CONF_LOG_INFO,
        CONF_LOG_DEBUG,
};

enum conf_profile {
        CONF_FAST,
        CONF_LAN,
        CONF_CLOUD,
        CONF_PROFILES,
};

enum conf_role {
        CONF_MEMBER, /* votes and may hold services */
        CONF_WITNESS, /* votes only */
        CONF_OBSERVER, /* has a copy of the store, never votes, holds nothing */
};

enum conf_mode {
        CONF_AUTOMATIC, /* a failover needs nobody */
        CONF_MANUAL, /* a failover waits for an operator */
};

enum conf_on_crash {
        CONF_CRASH_FAILOVER, /* a crashed database gives the service away */
        CONF_CRASH_RESTART, /* it is started again where it was, as long as the lease lasts */
};

/* How a former master comes back; a set of bits, 0 is "manual". */
enum conf_rejoin {
        CONF_REJOIN_REWIND = 1,
        CONF_REJOIN_CLONE = 2, /* with both: a clone when the rewind cannot work */
};

/* A complaint or a warning; line 0 is the file as a whole. */
struct conf_complaint {
        char file[CONF_PATH_SIZE];
        unsigned line;
        char text[CONF_TEXT_SIZE];
};

/* All strings belong to the configuration and are never NULL; what is not set is "". */

struct conf_node {
        char *name;
        struct address address; /* where this node listens; by default that of its member entry */
        char *data_dir;
        char *run_dir;
        char *user; /* of the engine process */
        char *libexec_dir;
        enum conf_log_level log_level;
        uint64_t snapshot_size; /* bytes of the log that call for a snapshot */
        usec_t snapshot_age; /* the last one may be so old when there is anything new */
};

struct conf_member {
        node_id id; /* the rank of the name among all members, from 1; or see conf_adopt() */
        char *name;
        struct address address;
        enum conf_role role;
        uint16_t api_port;
        uint16_t raft_port;
};

struct conf_cluster {
        char *name;
        enum conf_profile profile;
        usec_t heartbeat;
        usec_t election_timeout; /* E: attempts begin at random between E and 2 E */
        struct conf_member *members[MEMBERS_MAX]; /* ascending by id */
        size_t n_members;
};

struct conf_postgres {
        char *data_dir;
        unsigned version; /* major; 0: the agent reads PG_VERSION of the data directory */
        char *user; /* of the operating system, runs the agent and the database */
        uint16_t port;
        char *bin_dir; /* "" if the version is 0: /usr/lib/postgresql/VERSION/bin */
        char *config_file; /* "": postgresql.conf in the data directory */
        char *socket_dir;
        char *listen;
        char *replication_user;
        char *passfile; /* "": none */
        char *start_command; /* "": pg_ctl */
        char *stop_command; /* "": pg_ctl */
        usec_t health_interval;
        usec_t health_timeout;
        unsigned rise;
        unsigned fall;
        unsigned rejoin; /* bits of enum conf_rejoin */
        bool keep_diverged; /* the data directory is renamed, not removed, before a clone */
};

struct conf_vip {
        struct address address;
        unsigned prefix; /* length; that of the whole address if none was written */
        char *interface;
        char *label; /* "": none */
};

struct conf_service {
        char *name;
        usec_t ttl;
        usec_t renew;
        enum conf_mode mode;
        uint64_t max_loss; /* bytes */
        unsigned priority; /* of this node for this service, higher is preferred */
        usec_t demote_soft; /* A_soft: what a clean release may take */
        usec_t demote_hard; /* A_hard: what a forced release may take after that */
        enum conf_on_crash on_crash;
        node_id members[MEMBERS_MAX]; /* ascending; who may hold the service */
        size_t n_members;
        bool has_member_list; /* they were named; otherwise all that may hold a service */
        struct conf_postgres *postgres; /* NULL if the service has no database */
        struct conf_vip *vips[CONF_VIPS_MAX];
        size_t n_vips;
};

struct conf {
        struct conf_node node;
        struct conf_cluster cluster;
        /*
         * Above, a hash of the cluster's name; in the lower half, of the members' names in order.
         * The upper half names the cluster for good, the lower one its founding.
         */
        uint64_t cluster_id;
        node_id self; /* this node's id */
        struct conf_service *services[SERVICES_MAX]; /* sorted by name: the same on each node */
        size_t n_services;
        struct conf_complaint *warnings;
        size_t n_warnings;
};

/*
 * Reads @path and *.conf in the directory conf.d beside it, in the order of their names. Returns 0
 * and a configuration for conf_free(); or a negative errno and one complaint in @ret_complaint:
 * -EINVAL if the content is refused, -E2BIG if there are too many bytes or files, or why a file
 * could not be read. Not for two threads at once: libconfuse has one lexer.
 */
int conf_load(const char *path, struct conf **ret, struct conf_complaint *ret_complaint);

void conf_free(struct conf *conf);

DEFINE_CLEANUP(struct conf *, conf_free)

/*
 * Writes @conf with all options and defaults as a file that conf_load() reads to the same.
 * Returns 0, or -EIO.
 */
int conf_dump(const struct conf *conf, FILE *file);

/*
 * Puts the member list that the cluster itself has agreed on, @n of @members, in place of the one
 * that was read; their strings are copied. Services follow: those that named members keep the ones
 * that are still there. A node that is no member any more keeps its own entry, as an observer, and its id
 * unless another one has it now.
 */
void conf_adopt(struct conf *conf, const struct conf_member *members, size_t n);

/* NULL if there is no such member. */
const struct conf_member *conf_member_by_name(const struct conf *conf, const char *name);
const struct conf_member *conf_member_by_id(const struct conf *conf, node_id id);

/* The id of the member @name, or NODE_NOBODY. */
node_id conf_member_id(const struct conf *conf, const char *name);

/* NULL if there is no such service. */
const struct conf_service *conf_service_by_name(const struct conf *conf, const char *name);

/* Whether the member @id may hold @service. */
bool conf_service_has_member(const struct conf_service *service, node_id id);
