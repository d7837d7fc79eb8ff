/*
 * The public face: loading, and the checks of options against one another, which no option can
 * answer for itself.
 */
#include "conf/conf.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/complaint.h"
#include "conf/complete.h"
#include "conf/files.h"
#include "conf/options.h"
#include "conf/places.h"
#include "conf/reader.h"
#include "conf/source.h"
#include "election/base/chain.h"
#include "election/base/memory.h"

/* The chain of deadlines: attempts to renew that must fit, and that should. */
enum { ATTEMPTS_MIN = 2, ATTEMPTS_ADVISED = 3 };

/* What is set aside for the answer to a renewal: 50 ms for a TTL of 1 s, 200 ms for 10 s. */
#define ALLOWANCE_MIN (50 * USEC_PER_MSEC)
#define ALLOWANCE_MAX (200 * USEC_PER_MSEC)
#define ALLOWANCE_PART_OF_TTL 30

/* The kernel counts lifetimes of addresses in whole seconds, and took up to 1.1 s for one. */
#define VIP_TTL_ADVISED (2 * USEC_PER_SEC)

#define TTL_STEP (10 * USEC_PER_MSEC) /* advice about a TTL is rounded up to that */

struct check {
        struct conf *conf;
        const struct places *places;
        struct conf_complaint *complaint;
};

/* A complaint at the place of @key in @object, or of the block if the key was not written. */
#define REFUSE(c, object, key, ...)                                                                \
        complain((c)->complaint, places_nearest((c)->places, (object), (key))->file,               \
                 places_nearest((c)->places, (object), (key))->line, __VA_ARGS__)

#define WARN(c, object, key, ...)                                                                  \
        conf_warn((c)->conf, places_nearest((c)->places, (object), (key))->file,                   \
                  places_nearest((c)->places, (object), (key))->line, __VA_ARGS__)

struct duration_text {
        char s[DURATION_SIZE];
};

static struct duration_text duration(usec_t length)
{
        struct duration_text text;

        print_duration(length, text.s, sizeof(text.s));
        return text;
}

/* Members */

static size_t count_role(const struct conf_cluster *cluster, enum conf_role role)
{
        size_t n = 0;

        for (size_t i = 0; i < cluster->n_members; i++)
                n += cluster->members[i]->role == role;
        return n;
}

static int check_ports(const struct check *c, const struct conf_member *a,
                       const struct conf_member *b)
{
        char address[ADDRESS_SIZE];
        uint16_t shared = 0;

        if (!address_equal(&a->address, &b->address))
                return 0;
        if (a->api_port == b->api_port || a->api_port == b->raft_port)
                shared = a->api_port;
        else if (a->raft_port == b->api_port || a->raft_port == b->raft_port)
                shared = a->raft_port;
        if (shared == 0)
                return 0;
        address_print(&b->address, address, sizeof(address));
        return REFUSE(c, b, "address",
                      "address: member \"%s\" and member \"%s\" have the same address %s and port "
                      "%u; write another address, or another port",
                      a->name, b->name, address, shared);
}

static int check_members(const struct check *c)
{
        const struct conf_cluster *cluster = &c->conf->cluster;
        int r;

        for (size_t i = 0; i < cluster->n_members; i++) {
                const struct conf_member *m = cluster->members[i];

                if (m->api_port == m->raft_port)
                        return REFUSE(c, m, "raft_port",
                                      "raft_port: member \"%s\" has port %u for the API already; "
                                      "write two different ports",
                                      m->name, m->api_port);
                for (size_t j = 0; j < i; j++) {
                        r = check_ports(c, cluster->members[j], m);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

/* Voters */

static int check_pair(const struct check *c)
{
        for (size_t i = 0; i < c->conf->n_services; i++) {
                const struct conf_service *s = c->conf->services[i];

                if (s->mode == CONF_AUTOMATIC)
                        return REFUSE(c, s, "mode",
                                      "service \"%s\": two members cannot decide a failover: a "
                                      "decision needs both, so the loss of either stops "
                                      "everything; add a third member with role = witness, or "
                                      "write mode = manual",
                                      s->name);
        }
        return 0;
}

static int check_voters(const struct check *c)
{
        const struct conf_cluster *cluster = &c->conf->cluster;
        size_t n = cluster->n_members - count_role(cluster, CONF_OBSERVER);
        int r = 0;

        if (n == 2 && count_role(cluster, CONF_WITNESS) == 0)
                r = check_pair(c);
        if (n == 1)
                WARN(c, cluster, NULL, "cluster \"%s\" has one voter: nobody can take over from it",
                     cluster->name);
        if (n % 2 == 0)
                WARN(c, cluster, NULL,
                     "cluster \"%s\" has %zu voters, and survives the loss of %zu as it would "
                     "with %zu; an odd number is better",
                     cluster->name, n, (n - 1) / 2, n - 1);
        return r;
}

/* Times */

static int check_heartbeat(const struct check *c)
{
        const struct conf_cluster *cluster = &c->conf->cluster;

        if (cluster->heartbeat <= cluster->election_timeout / 3)
                return 0;
        return REFUSE(c, cluster, "heartbeat",
                      "heartbeat: %s is more than a third of election_timeout = %s; write at most "
                      "%s, or raise election_timeout to at least %s",
                      duration(cluster->heartbeat).s, duration(cluster->election_timeout).s,
                      duration(cluster->election_timeout / 3).s,
                      duration(cluster->heartbeat * 3).s);
}

static usec_t allowance_of(usec_t ttl)
{
        usec_t allowance = ttl / ALLOWANCE_PART_OF_TTL;

        if (allowance < ALLOWANCE_MIN)
                return ALLOWANCE_MIN;
        return allowance > ALLOWANCE_MAX ? ALLOWANCE_MAX : allowance;
}

/* How long after a renewal was sent another one is of use: later its answer would be too late. */
static usec_t room_of(usec_t ttl, const struct conf_service *s)
{
        struct lease_chain chain = lease_chain_of(ttl, s->demote_soft, s->demote_hard);
        usec_t allowance = allowance_of(ttl);

        return chain.demote > allowance ? chain.demote - allowance : 0;
}

/*
 * The shortest TTL that leaves room, or 0 if none does that a given renew fits; the room grows with
 * the TTL.
 */
static usec_t shortest_ttl(const struct conf_service *s, bool renew_is_given)
{
        const struct conf_option *option = conf_option_find(SECTION_SERVICE, "ttl");

        for (usec_t ttl = s->ttl / TTL_STEP * TTL_STEP; ttl <= option->max; ttl += TTL_STEP) {
                usec_t renew = renew_is_given ? s->renew : ttl / 10;

                if (renew < ttl / 10)
                        return 0;
                if (room_of(ttl, s) >= ATTEMPTS_MIN * renew)
                        return ttl;
        }
        return 0;
}

static int refuse_chain(const struct check *c, const struct conf_service *s)
{
        struct lease_chain chain = lease_chain_of(s->ttl, s->demote_soft, s->demote_hard);
        usec_t allowance = allowance_of(s->ttl), needed = allowance + ATTEMPTS_MIN * s->renew;
        usec_t ttl = shortest_ttl(s, places_find(c->places, s, "renew"));
        char demotion[DURATION_SIZE + 64] = "";
        char longer[DURATION_SIZE + 64] = "";

        if (chain.end > needed)
                (void)snprintf(demotion, sizeof(demotion),
                               "demote_soft and demote_hard of together at most %s",
                               duration(chain.end - needed).s);
        if (ttl > 0)
                (void)snprintf(longer, sizeof(longer), "%sttl of at least %s",
                               demotion[0] ? ", or " : "", duration(ttl).s);
        return REFUSE(
                c, s, "ttl",
                "ttl: %s is too short for service \"%s\": from the sending of a renewal all "
                "acting is over after %s (guard %s), so with demote_soft = %s and demote_hard "
                "= %s the release begins after %s; %s for an answer and two attempts of renew "
                "= %s do not fit into that; write %s%s",
                duration(s->ttl).s, s->name, duration(chain.end).s, duration(chain.guard).s,
                duration(s->demote_soft).s, duration(s->demote_hard).s, duration(chain.demote).s,
                duration(allowance).s, duration(s->renew).s, demotion, longer);
}

static int check_renew(const struct check *c, const struct conf_service *s)
{
        if (s->renew >= s->ttl / 10 && s->renew <= s->ttl / 5)
                return 0;
        return REFUSE(c, s, "renew",
                      "renew: %s is not between a tenth and a fifth of ttl = %s; write %s to %s",
                      duration(s->renew).s, duration(s->ttl).s, duration(s->ttl / 10).s,
                      duration(s->ttl / 5).s);
}

/* The chain of election/base/chain.h must have room for renewals that fail. */
static int check_chain(const struct check *c, const struct conf_service *s)
{
        struct lease_chain chain = lease_chain_of(s->ttl, s->demote_soft, s->demote_hard);
        usec_t attempts = room_of(s->ttl, s) / s->renew;
        usec_t election_timeout = c->conf->cluster.election_timeout;

        if (attempts < ATTEMPTS_MIN)
                return refuse_chain(c, s);
        if (attempts < ATTEMPTS_ADVISED)
                WARN(c, s, "ttl",
                     "ttl: %s leaves room for %u attempts to renew before service \"%s\" is "
                     "released after %s; %u are advised, so that two may fail",
                     duration(s->ttl).s, (unsigned)attempts, s->name, duration(chain.demote).s,
                     ATTEMPTS_ADVISED);
        if (3 * election_timeout > chain.demote)
                WARN(c, s, "ttl",
                     "ttl: service \"%s\" is released %s after its last renewal, which is less than "
                     "three times election_timeout = %s: a new leader of the cluster may be found "
                     "too late to keep the master",
                     s->name, duration(chain.demote).s, duration(election_timeout).s);
        return 0;
}

/* Addresses and databases */

static void warn_of_kernel_lifetime(const struct check *c, const struct conf_service *s)
{
        if (s->n_vips > 0 && s->ttl < VIP_TTL_ADVISED)
                WARN(c, s->vips[0], NULL,
                     "vip: lifetimes of addresses in the kernel are whole seconds: if every process "
                     "of failoverd is killed, the address may stay for up to 1100ms, which is "
                     "longer than ttl = %s allows; ttl = 2s is the least that is safe",
                     duration(s->ttl).s);
}

static int check_vip(const struct check *c, const struct conf_vip *vip)
{
        const struct conf_cluster *cluster = &c->conf->cluster;
        char address[ADDRESS_SIZE];

        address_print(&vip->address, address, sizeof(address));
        if (vip->address.family == AF_INET6 && vip->label[0] != '\0')
                return REFUSE(c, vip, "label",
                              "label: the IPv6 address %s cannot have a label; leave it out",
                              address);
        for (size_t i = 0; i < cluster->n_members; i++) {
                if (address_equal(&vip->address, &cluster->members[i]->address))
                        return REFUSE(c, vip, "address",
                                      "address: %s is the address of member \"%s\"; write one that "
                                      "no machine has of itself",
                                      address, cluster->members[i]->name);
        }
        return 0;
}

static int check_vips_differ(const struct check *c, const struct conf_vip *a,
                             const struct conf_service *b_service, const struct conf_vip *b)
{
        char address[ADDRESS_SIZE];

        if (a == b || !address_equal(&a->address, &b->address))
                return 0;
        address_print(&a->address, address, sizeof(address));
        return REFUSE(c, a, "address",
                      "address: %s is already an address of service \"%s\"; write it once", address,
                      b_service->name);
}

static int check_vips(const struct check *c, const struct conf_service *s)
{
        int r;

        for (size_t i = 0; i < s->n_vips; i++) {
                r = check_vip(c, s->vips[i]);
                for (size_t j = 0; r == 0 && j < c->conf->n_services; j++) {
                        const struct conf_service *other = c->conf->services[j];

                        for (size_t k = 0; r == 0 && k < other->n_vips; k++)
                                r = check_vips_differ(c, s->vips[i], other, other->vips[k]);
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

static int check_postgres(const struct check *c, const struct conf_service *s)
{
        for (size_t i = 0; s->postgres && i < c->conf->n_services; i++) {
                const struct conf_service *other = c->conf->services[i];

                if (other == s || !other->postgres)
                        continue;
                if (strcmp(s->postgres->data_dir, other->postgres->data_dir) == 0)
                        return REFUSE(c, s->postgres, "data_dir",
                                      "data_dir: \"%s\" is already the database of service \"%s\"; "
                                      "write another directory",
                                      s->postgres->data_dir, other->name);
                if (s->postgres->port == other->postgres->port)
                        return REFUSE(c, s->postgres, "port",
                                      "port: %u is already the port of service \"%s\"; write "
                                      "another port",
                                      s->postgres->port, other->name);
        }
        return 0;
}

static int check_service(const struct check *c, const struct conf_service *s)
{
        int r;

        r = check_renew(c, s);
        if (r == 0)
                r = check_chain(c, s);
        if (r == 0)
                r = check_vips(c, s);
        if (r == 0)
                r = check_postgres(c, s);
        if (r < 0)
                return r;
        warn_of_kernel_lifetime(c, s);
        if (!s->postgres && s->n_vips == 0)
                WARN(c, s, NULL, "service \"%s\" has neither postgres nor vip: it does nothing",
                     s->name);
        return 0;
}

static int check_all(const struct check *c)
{
        const struct conf *conf = c->conf;
        int r;

        r = check_members(c);
        if (r == 0)
                r = check_voters(c);
        if (r == 0)
                r = check_heartbeat(c);
        for (size_t i = 0; r == 0 && i < conf->n_services; i++)
                r = check_service(c, conf->services[i]);
        return r;
}

/* Loading */

static void buffer_donep(struct buffer *b)
{
        buffer_done(b);
}

static int read_files(const struct conf_files *files, struct file_reader *reader)
{
        _cleanup_(buffer_donep)
        struct buffer text = { 0 };
        int r;

        for (size_t i = 0; i < files->n; i++) {
                buffer_clear(&text);
                r = source_read(files->paths[i], &text, reader->complaint);
                if (r == 0)
                        r = file_reader_read(reader, files->paths[i], &text);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* What is needed before anything can be completed or checked. */
static int check_blocks(const struct check *c, const char *path)
{
        const struct conf *conf = c->conf;

        if (!conf->node.name)
                return complain(c->complaint, path, 0,
                                "there is no node block; write node \"NAME\" { } with the name of "
                                "this machine");
        if (!conf->cluster.name)
                return complain(c->complaint, path, 0,
                                "there is no cluster block; write cluster \"NAME\" { } with a "
                                "member \"NAME\" { address = ... } for each machine");
        if (count_role(&conf->cluster, CONF_MEMBER) == 0)
                return REFUSE(c, &conf->cluster, NULL,
                              "cluster \"%s\" has no member that may hold a service; write a "
                              "member \"NAME\" { address = ... } for each machine",
                              conf->cluster.name);
        return 0;
}

static int load(struct conf *conf, const struct conf_files *files, struct places *places,
                struct conf_complaint *complaint)
{
        struct file_reader reader = { .conf = conf, .places = places, .complaint = complaint };
        struct check check = { .conf = conf, .places = places, .complaint = complaint };
        int r;

        r = read_files(files, &reader);
        if (r == 0)
                r = check_blocks(&check, files->paths[0]);
        if (r == 0)
                r = conf_complete(conf, places, complaint);
        if (r == 0)
                r = check_all(&check);
        return r;
}

int conf_load(const char *path, struct conf **ret, struct conf_complaint *ret_complaint)
{
        _cleanup_(conf_freep)
        struct conf *conf = must_alloc(1, sizeof(*conf));
        struct conf_files files = { 0 };
        struct places places = { 0 };
        int r;

        r = conf_files_find(path, &files, ret_complaint);
        if (r == 0)
                r = load(conf, &files, &places, ret_complaint);
        conf_files_done(&files);
        places_done(&places);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(conf);
        return 0;
}

static int release_block(enum conf_section_id section, void *object, void *userdata)
{
        (void)userdata;
        for (size_t i = 0; i < conf_n_options; i++) {
                const struct conf_option *o = &conf_options[i];

                if (o->section == section && o->type->release)
                        o->type->release(conf_option_field(o, object));
        }
        return 0;
}

void conf_free(struct conf *conf)
{
        if (!conf)
                return;
        (void)conf_each_block(conf, release_block, NULL); /* which cannot fail */
        free(conf->node.name);
        free(conf->cluster.name);
        for (size_t i = 0; i < conf->cluster.n_members; i++) {
                free(conf->cluster.members[i]->name);
                free(conf->cluster.members[i]);
        }
        for (size_t i = 0; i < conf->n_services; i++) {
                struct conf_service *s = conf->services[i];

                for (size_t j = 0; j < s->n_vips; j++)
                        free(s->vips[j]);
                free(s->postgres);
                free(s->name);
                free(s);
        }
        free(conf->warnings);
        free(conf);
}

/* Looking things up */

const struct conf_member *conf_member_by_name(const struct conf *conf, const char *name)
{
        for (size_t i = 0; i < conf->cluster.n_members; i++) {
                if (strcmp(conf->cluster.members[i]->name, name) == 0)
                        return conf->cluster.members[i];
        }
        return NULL;
}

const struct conf_member *conf_member_by_id(const struct conf *conf, node_id id)
{
        for (size_t i = 0; i < conf->cluster.n_members; i++) {
                if (conf->cluster.members[i]->id == id)
                        return conf->cluster.members[i];
        }
        return NULL;
}

node_id conf_member_id(const struct conf *conf, const char *name)
{
        const struct conf_member *m = conf_member_by_name(conf, name);

        return m ? m->id : NODE_NOBODY;
}

const struct conf_service *conf_service_by_name(const struct conf *conf, const char *name)
{
        for (size_t i = 0; i < conf->n_services; i++) {
                if (strcmp(conf->services[i]->name, name) == 0)
                        return conf->services[i];
        }
        return NULL;
}

bool conf_service_has_member(const struct conf_service *service, node_id id)
{
        for (size_t i = 0; i < service->n_members; i++) {
                if (service->members[i] == id)
                        return true;
        }
        return false;
}
