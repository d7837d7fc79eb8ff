/* What is loaded is what was written, completed by the defaults; and what is dumped is the same. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "election/base/chain.h"
#include "tests/lib/tempdir.h"

static const char example[] =
        "node \"db1\" { address = \"10.0.0.1\"  data_dir = \"/var/lib/failoverd\" }\n"
        "cluster \"prod\" {\n"
        "  member \"db1\"     { address = \"10.0.0.1\" }\n"
        "  member \"db2\"     { address = \"10.0.0.2\" }\n"
        "  member \"witness\" { address = \"10.0.0.3\"  role = witness }\n"
        "}\n"
        "service \"orders\" {\n"
        "  ttl = 3s\n"
        "  postgres  { data_dir = \"/var/lib/postgresql/15/main\"  version = 15  user = "
        "\"postgres\" }\n"
        "  vip       { address = \"10.0.0.100/24\"  interface = \"eth0\" }\n"
        "}\n";

/* Three members, with room for what a test is about. */
#define HEAD                                                                                       \
        "node \"db1\" { }\n"                                                                       \
        "cluster \"prod\" { member \"db1\" { address = 10.0.0.1 } member \"db2\" { address = "     \
        "10.0.0.2 } member \"db3\" { address = 10.0.0.3 } }\n"
#define POSTGRES "postgres { data_dir = /pg }"

static int make_tempdir(void **state)
{
        struct tempdir *s = malloc(sizeof(*s));

        if (!s)
                return -1;
        tempdir_make(s);
        *state = s;
        return 0;
}

static int remove_tempdir(void **state)
{
        tempdir_remove(*state);
        free(*state);
        return 0;
}

/* Loads @path, which must be accepted. */
static struct conf *load_path(const char *path)
{
        struct conf_complaint complaint;
        struct conf *conf = NULL;
        int r = conf_load(path, &conf, &complaint);

        if (r < 0)
                fail_msg("%s:%u: %s", complaint.file, complaint.line, complaint.text);
        return conf;
}

static struct conf *load_text(struct tempdir *s, const char *text)
{
        char path[TEMPDIR_PATH_SIZE];

        tempdir_write_text(s, "failoverd.conf", text);
        return load_path(tempdir_path(s, "failoverd.conf", path));
}

static char *dump(const struct conf *conf)
{
        char *text = NULL;
        size_t n = 0;
        FILE *file = open_memstream(&text, &n);

        assert_non_null(file);
        assert_int_equal(conf_dump(conf, file), 0);
        assert_int_equal(fclose(file), 0);
        return text;
}

static void assert_address(const struct address *a, const char *expected)
{
        char text[ADDRESS_SIZE];

        address_print(a, text, sizeof(text));
        assert_string_equal(text, expected);
}

static void the_small_example_loads(void **state)
{
        struct conf *conf = load_text(*state, example);
        const struct conf_service *s = conf->services[0];

        assert_int_equal(conf->n_warnings, 0);
        assert_string_equal(conf->node.name, "db1");
        assert_address(&conf->node.address, "10.0.0.1");
        assert_int_equal(conf->cluster.n_members, 3);
        assert_int_equal(conf->cluster.members[2]->role, CONF_WITNESS);
        assert_int_equal(conf->n_services, 1);
        assert_string_equal(s->name, "orders");
        assert_int_equal(s->ttl, 3 * USEC_PER_SEC);
        assert_int_equal(s->postgres->version, 15);
        assert_string_equal(s->postgres->bin_dir, "/usr/lib/postgresql/15/bin");
        assert_int_equal(s->n_vips, 1);
        assert_address(&s->vips[0]->address, "10.0.0.100");
        assert_int_equal(s->vips[0]->prefix, 24);
        assert_string_equal(s->vips[0]->interface, "eth0");
        conf_free(conf);
}

static void what_is_not_given_has_the_documented_default(void **state)
{
        struct conf *conf = load_text(*state, example);
        const struct conf_service *s = conf->services[0];
        const struct conf_postgres *pg = s->postgres;

        assert_string_equal(conf->node.data_dir, "/var/lib/failoverd");
        assert_string_equal(conf->node.run_dir, "/run/failoverd");
        assert_string_equal(conf->node.user, "failoverd");
        assert_string_equal(conf->node.libexec_dir, "/usr/local/libexec/failoverd");
        assert_int_equal(conf->node.log_level, CONF_LOG_INFO);
        assert_int_equal(conf->cluster.profile, CONF_LAN);
        assert_int_equal(conf->cluster.heartbeat, 50 * USEC_PER_MSEC);
        assert_int_equal(conf->cluster.election_timeout, 150 * USEC_PER_MSEC);
        assert_int_equal(conf->cluster.members[0]->api_port, 4001);
        assert_int_equal(conf->cluster.members[0]->raft_port, 7001);
        assert_int_equal(s->renew, 300 * USEC_PER_MSEC);
        assert_int_equal(s->mode, CONF_AUTOMATIC);
        assert_int_equal(s->max_loss, 16 * 1024 * 1024);
        assert_int_equal(s->priority, 100);
        assert_int_equal(s->demote_soft, 500 * USEC_PER_MSEC);
        assert_int_equal(s->demote_hard, 200 * USEC_PER_MSEC);
        assert_int_equal(s->on_crash, CONF_CRASH_FAILOVER);
        assert_string_equal(pg->user, "postgres");
        assert_int_equal(pg->port, 5432);
        assert_string_equal(pg->config_file, "");
        assert_string_equal(pg->socket_dir, "/var/run/postgresql");
        assert_string_equal(pg->listen, "*");
        assert_string_equal(pg->replication_user, "failoverd");
        assert_string_equal(pg->passfile, "");
        assert_string_equal(pg->start_command, "");
        assert_string_equal(pg->stop_command, "");
        assert_int_equal(pg->health_interval, 500 * USEC_PER_MSEC);
        assert_int_equal(pg->health_timeout, USEC_PER_SEC);
        assert_int_equal(pg->rise, 2);
        assert_int_equal(pg->fall, 3);
        assert_int_equal(pg->rejoin, CONF_REJOIN_REWIND | CONF_REJOIN_CLONE);
        assert_true(pg->keep_diverged);
        assert_string_equal(s->vips[0]->label, "");
        conf_free(conf);
}

static void profiles_set_the_times_of_the_worked_chain(void **state)
{
        static const struct {
                const char *name;
                usec_t ttl, renew, soft, hard, election_timeout, demote;
        } rows[] = {
                { "fast", 1000, 100, 200, 50, 80, 743 },
                { "lan", 3000, 300, 500, 200, 150, 2284 },
                { "cloud", 10000, 1000, 1500, 500, 500, 7960 },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                const struct conf_service *s;
                struct conf *conf;
                char text[1024];

                (void)snprintf(text, sizeof(text),
                               "node \"a\" { } cluster \"c\" { profile = %s member \"a\" { address "
                               "= ::1 } } service \"s\" { " POSTGRES " }",
                               rows[i].name);
                conf = load_text(*state, text);
                s = conf->services[0];
                assert_int_equal(s->ttl, rows[i].ttl * USEC_PER_MSEC);
                assert_int_equal(s->renew, rows[i].renew * USEC_PER_MSEC);
                assert_int_equal(s->demote_soft, rows[i].soft * USEC_PER_MSEC);
                assert_int_equal(s->demote_hard, rows[i].hard * USEC_PER_MSEC);
                assert_int_equal(conf->cluster.election_timeout,
                                 rows[i].election_timeout * USEC_PER_MSEC);
                assert_int_equal(lease_chain_of(s->ttl, s->demote_soft, s->demote_hard).demote,
                                 rows[i].demote * USEC_PER_MSEC);
                conf_free(conf);
        }
}

static void a_profile_counts_for_services_before_it_and_in_other_files(void **state)
{
        struct conf *conf;

        tempdir_write_text(*state, "conf.d/10-cluster.conf",
                           "cluster \"c\" { member \"a\" { address = ::1 } profile = cloud }");
        conf = load_text(*state, "service \"s\" { " POSTGRES " } node \"a\" { }");
        assert_int_equal(conf->services[0]->ttl, 10 * USEC_PER_SEC);
        conf_free(conf);
}

static void members_and_services_are_sorted_by_name_in_bytes(void **state)
{
        struct conf *conf = load_text(
                *state,
                "cluster \"c\" { member \"b\" { address = 10.0.0.1 }\n"
                "member \"Z\" { address = 10.0.0.2 } member \"a-1\" { address = 10.0.0.3 } "
                "member \"a\" { address = 10.0.0.4 } member \"2\" { address = 10.0.0.5 } }\n"
                "service \"y\" { } service \"X\" { } node \"a\" { }");
        static const char *const names[] = { "2", "Z", "a", "a-1", "b" };

        for (node_id id = 1; id <= 5; id++) {
                assert_string_equal(conf_member_by_id(conf, id)->name, names[id - 1]);
                assert_int_equal(conf_member_by_id(conf, id)->id, id);
                assert_int_equal(conf_member_id(conf, names[id - 1]), id);
                assert_ptr_equal(conf_member_by_name(conf, names[id - 1]),
                                 conf_member_by_id(conf, id));
        }
        assert_int_equal(conf->self, 3);
        assert_null(conf_member_by_id(conf, NODE_NOBODY));
        assert_null(conf_member_by_id(conf, 6));
        assert_null(conf_member_by_name(conf, "c"));
        assert_int_equal(conf_member_id(conf, "c"), NODE_NOBODY);
        assert_string_equal(conf->services[0]->name, "X");
        assert_ptr_equal(conf_service_by_name(conf, "y"), conf->services[1]);
        assert_null(conf_service_by_name(conf, "z"));
        conf_free(conf);
}

static void the_list_of_the_cluster_replaces_that_of_the_files(void **state)
{
        struct conf *conf = load_text(
                *state, "node \"b\" { } cluster \"x\" {"
                        " member \"a\" { address = 10.0.0.1 }"
                        " member \"b\" { address = 10.0.0.2 }"
                        " member \"c\" { address = 10.0.0.3 } }"
                        " service \"all\" { vip { address = 10.0.0.8 interface = eth0 } }"
                        " service \"some\" { vip { address = 10.0.0.9 interface = eth0 }"
                        " members = { a, b } }");
        char a[] = "a", b[] = "b", d[] = "d";
        const struct conf_member members[] = {
                { .id = 5, .name = b, .role = CONF_MEMBER },
                { .id = 1, .name = a, .role = CONF_WITNESS },
                { .id = 3, .name = d, .role = CONF_MEMBER },
        };

        conf_adopt(conf, members, 3);
        assert_int_equal(conf->self, 5);
        assert_int_equal(conf->cluster.n_members, 3);
        assert_string_equal(conf_member_by_id(conf, 3)->name, "d");
        assert_null(conf_member_by_id(conf, 2));
        assert_null(conf_member_by_name(conf, "c"));
        assert_int_equal(conf->services[0]->n_members, 2);
        assert_int_equal(conf->services[0]->members[0], 3);
        assert_int_equal(conf->services[0]->members[1], 5);
        assert_int_equal(conf->services[1]->n_members, 1); /* a is a witness now */
        assert_int_equal(conf->services[1]->members[0], 5);
        conf_adopt(conf, members + 1, 2);
        assert_int_equal(conf->self, 5); /* no member any more: its id and entry stay, */
        assert_int_equal(conf_member_by_id(conf, 5)->role, CONF_OBSERVER);
        assert_int_equal(conf->services[0]->n_members, 1); /* for no service */
        assert_int_equal(conf->services[1]->n_members, 0);
        conf_free(conf);
}

static uint64_t cluster_id_of(void **state, const char *cluster)
{
        struct conf *conf;
        uint64_t id;
        char text[1024];

        (void)snprintf(text, sizeof(text), "node \"a\" { } %s", cluster);
        conf = load_text(*state, text);
        id = conf->cluster_id;
        conf_free(conf);
        return id;
}

static void the_cluster_id_depends_on_names_and_not_on_their_order(void **state)
{
#define M(name, ip) " member \"" name "\" { address = " ip " } "
        uint64_t id = cluster_id_of(state, "cluster \"c\" {" M("a", "10.0.0.1") M("b", "10.0.0.2")
                                                   M("c", "10.0.0.3") "}");

        assert_true(id == cluster_id_of(state, "cluster \"c\" {" M("c", "10.0.0.3")
                                                       M("a", "10.0.0.9") M("b", "10.0.0.2") "}"));
        assert_true(id != cluster_id_of(state, "cluster \"d\" {" M("a", "10.0.0.1")
                                                       M("b", "10.0.0.2") M("c", "10.0.0.3") "}"));
        assert_true(id != cluster_id_of(state, "cluster \"c\" {" M("a", "10.0.0.1")
                                                       M("b", "10.0.0.2") "}"));
        assert_true(id != cluster_id_of(state, "cluster \"c\" {" M("a", "10.0.0.1")
                                                       M("bc", "10.0.0.2") "}"));
        assert_true(
                cluster_id_of(state, "cluster \"ca\" {" M("a", "10.0.0.1") "}") !=
                cluster_id_of(state, "cluster \"c\" {" M("a", "10.0.0.1") M("aa", "10.0.0.2") "}"));
#undef M
}

static void witnesses_hold_nothing_and_members_can_be_chosen(void **state)
{
        struct conf *conf = load_text(
                *state, "node \"db1\" { } cluster \"c\" { member \"db2\" { address = 10.0.0.2 } "
                        "member \"db1\" { address = 10.0.0.1 } member \"w\" { address = 10.0.0.3 "
                        "role = witness } }\n"
                        "service \"all\" { vip { address = 10.0.0.8 interface = eth0 } }\n"
                        "service \"one\" { members = { db2 } vip { address = fd00::8 interface = "
                        "eth0 } }\n"
                        "service \"two\" { members = { db2, db1 } }\n"
                        "service \"word\" { members = db1 }");
        const struct conf_service *all = conf->services[0], *one = conf->services[1];
        const struct conf_service *two = conf->services[2], *word = conf->services[3];

        assert_int_equal(all->n_members, 2);
        assert_true(conf_service_has_member(all, 1) && conf_service_has_member(all, 2));
        assert_false(conf_service_has_member(all, 3));
        assert_int_equal(one->n_members, 1);
        assert_int_equal(one->members[0], conf_member_id(conf, "db2"));
        assert_int_equal(two->n_members, 2);
        assert_int_equal(two->members[0], 1);
        assert_int_equal(two->members[1], 2);
        assert_int_equal(word->n_members, 1);
        assert_int_equal(all->vips[0]->prefix, 32);
        assert_int_equal(one->vips[0]->prefix, 128);
        conf_free(conf);
}

static void files_of_conf_d_are_read_in_order_and_others_are_not(void **state)
{
        struct conf_complaint complaint;
        struct conf *conf;
        char path[TEMPDIR_PATH_SIZE], expected[TEMPDIR_PATH_SIZE * 2];

        tempdir_write_text(*state, "conf.d/20-b.conf", "service \"b\" { " POSTGRES " }");
        tempdir_write_text(*state, "conf.d/10-a.conf",
                           "service \"a\" { vip { address = 10.0.0.9 interface = eth0 } }");
        tempdir_write_text(*state, "conf.d/.hidden.conf", "this is wrong");
        tempdir_write_text(*state, "conf.d/README", "this is wrong");
        tempdir_write_text(*state, "conf.d/10-a.conf~", "this is wrong");
        conf = load_text(*state, HEAD);
        assert_int_equal(conf->n_services, 2);
        conf_free(conf);

        tempdir_write_text(*state, "conf.d/30-again.conf", "\n\nservice \"a\" { }");
        assert_int_equal(conf_load(tempdir_path(*state, "failoverd.conf", path), &conf, &complaint),
                         -EINVAL);
        assert_string_equal(complaint.file, tempdir_path(*state, "conf.d/30-again.conf", path));
        assert_int_equal(complaint.line, 3);
        (void)snprintf(expected, sizeof(expected),
                       "service \"a\" is already given in %s:1; a name is used once",
                       tempdir_path(*state, "conf.d/10-a.conf", path));
        assert_string_equal(complaint.text, expected);
}

static void what_was_dumped_loads_and_dumps_the_same(void **state)
{
        static const char *const texts[] = {
                example,
                HEAD
                "service \"s\" { ttl = 2500500us renew = 0.3s max_loss = 1000001 mode = manual "
                "postgres { data_dir = '/a \"b\" \\\\ $c \\'' listen = \"\\${x} \\\" \\\\\" "
                "rejoin = manual keep_diverged = no version = 17 start_command = \"a;b # c\" "
                "} vip { address = fd00::1/64 interface = eth0.1 } "
                "vip { address = 10.9.9.9 interface = lo label = \"lo:1\" } "
                "members = { db3, db1 } }",
                "node \"a\" { address = :: log_level = debug } cluster \"c\" { profile = fast member "
                "\"a\" { address = fd00::1 api_port = 1 raft_port = 65535 } }",
        };

        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
                struct conf *conf = load_text(*state, texts[i]);
                char *first = dump(conf), *second;

                conf_free(conf);
                conf = load_text(*state, first);
                second = dump(conf);
                assert_string_equal(first, second);
                conf_free(conf);
                free(first);
                free(second);
        }
}

static void quotes_and_escapes_mean_what_they_say(void **state)
{
        struct conf *conf = load_text(*state, HEAD
                                      "service \"s\" { postgres { data_dir = '/a \"b\" \\\\ $c "
                                      "\\'' listen = \"\\${x} \\\" \\\\ #\" } }");
        const struct conf_postgres *pg = conf->services[0]->postgres;

        assert_string_equal(pg->data_dir, "/a \"b\" \\ $c '");
        assert_string_equal(pg->listen, "${x} \" \\ #");
        conf_free(conf);
}

static void comments_stand_everywhere_and_lines_are_counted_past_them(void **state)
{
        struct conf_complaint complaint;
        struct conf *conf;
        char path[TEMPDIR_PATH_SIZE];

        conf = load_text(*state, "#\n//\n/**/\n" HEAD "service /* a\n name */ \"s\" { # one\n"
                                 " members = { db1, # first\n db2 /* second */ } // both\n"
                                 " ttl /**/ = /**/ 4s# four\r\n" POSTGRES "}\n#");
        assert_int_equal(conf->services[0]->n_members, 2);
        assert_int_equal(conf->services[0]->ttl, 4 * USEC_PER_SEC);
        conf_free(conf);

        tempdir_write_text(*state, "failoverd.conf",
                           "#\n/* 2\n 3 */\n// 4\nnode \"a\" { # 5\n x = 6 }");
        assert_int_equal(conf_load(tempdir_path(*state, "failoverd.conf", path), &conf, &complaint),
                         -EINVAL);
        assert_int_equal(complaint.line, 6);
}

/* The warnings of @text: exactly one, whose text begins so; or none, for NULL. */
static void assert_warning(void **state, const char *text, unsigned line, const char *begins)
{
        struct conf *conf = load_text(*state, text);

        if (!begins) {
                assert_int_equal(conf->n_warnings, 0);
        } else {
                if (conf->n_warnings != 1 ||
                    strncmp(conf->warnings[0].text, begins, strlen(begins)) != 0)
                        fail_msg("%zu warnings, first: %s", conf->n_warnings,
                                 conf->n_warnings ? conf->warnings[0].text : "");
                assert_int_equal(conf->warnings[0].line, line);
        }
        conf_free(conf);
}

static void what_is_doubtful_is_warned_of(void **state)
{
#define CLUSTER(options)                                                                           \
        "node \"a\" { } cluster \"c\" { " options " member \"a\" { address = ::1 } member \"b\" "  \
        "{ address = ::2 } member \"c\" { address = ::3 } "
        assert_warning(state, CLUSTER("") "} service \"s\" {\n" POSTGRES "}", 0, NULL);
        assert_warning(state, CLUSTER("") "} service \"s\" {\n}", 1,
                       "service \"s\" has neither postgres nor vip");
        assert_warning(
                state,
                CLUSTER("election_timeout = 90ms heartbeat = 30ms") "}\n service \"s\" {\n ttl = 1s " POSTGRES
                                                                    "}",
                3,
                "ttl: 1s leaves room for 2 attempts to renew before service \"s\" is "
                "released after 293ms; 3 are advised");
        assert_warning(state,
                       CLUSTER("election_timeout = 1s") "}\n service \"s\" {\n ttl = 3s\n" POSTGRES
                                                        "}",
                       3, "ttl: service \"s\" is released 2284ms after its last renewal");
        assert_warning(state,
                       CLUSTER("profile = fast") "} service \"s\" {\n\n vip { address = ::9 "
                                                 "interface = lo } }",
                       3, "vip: lifetimes of addresses in the kernel are whole seconds");
        assert_warning(state,
                       CLUSTER("profile = fast") "} service \"s\" { ttl = 2s\n vip { address = ::9 "
                                                 "interface = lo } }",
                       0, NULL);
        assert_warning(
                state,
                CLUSTER("") " member \"d\" { address = ::4 } } service \"s\" { " POSTGRES "}", 1,
                "cluster \"c\" has 4 voters, and survives the loss of 1 as it would with 3");
        assert_warning(state, "node \"a\" { } cluster \"c\" { member \"a\" { address = ::1 } }", 1,
                       "cluster \"c\" has one voter");
        assert_warning(state,
                       "node \"a\" { } cluster \"c\" { member \"a\" { address = ::1 } member \"b\" "
                       "{ address = ::2 } } service \"s\" { mode = manual " POSTGRES "}",
                       1, "cluster \"c\" has 2 voters, and survives the loss of 0");
#undef CLUSTER
}

static void members_may_share_an_address_with_other_ports(void **state)
{
        assert_warning(state,
                       "node \"a\" { } cluster \"c\" { member \"a\" { address = ::1 }\n"
                       "member \"b\" { address = ::1 api_port = 4002 raft_port = 7002 }\n"
                       "member \"c\" { address = ::1 api_port = 4003 raft_port = 7003 } }",
                       0, NULL);
}

/* What is accepted at the very limit, and refused one step past it. */
static void what_a_complaint_advises_is_accepted_and_less_is_not(void **state)
{
        static const struct {
                const char *good, *bad, *option;
        } rows[] = {
                { "demote_soft = 2084ms", "demote_soft = 2085ms", "ttl: " },
                { "demote_hard = 1784ms", "demote_hard = 1785ms", "ttl: " },
                { "demote_soft = 2200ms ttl = 3160ms", "demote_soft = 2200ms ttl = 3150ms",
                  "ttl: " },
                { "renew = 300ms", "renew = 299ms", "renew: " },
                { "renew = 600ms", "renew = 601ms", "renew: " },
                { "demote_soft = 1584ms renew = 550ms", "demote_soft = 1585ms renew = 550ms",
                  "ttl: " },
                { "} cluster \"c\" { heartbeat = 50ms", "} cluster \"c\" { heartbeat = 50001us",
                  "heartbeat: " },
        };
        static const char *const members = " member \"db1\" { address = ::1 } } node \"db1\" { }";

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                bool has_cluster = strstr(rows[i].good, "cluster");
                struct conf_complaint complaint;
                struct conf *conf = NULL;
                char text[512], path[TEMPDIR_PATH_SIZE];
                const char *between = has_cluster ? "" : "} cluster \"c\" { ";

                (void)snprintf(text, sizeof(text), "service \"s\" { %s %s %s", rows[i].good,
                               between, members);
                conf_free(load_text(*state, text));
                (void)snprintf(text, sizeof(text), "service \"s\" { %s %s %s", rows[i].bad, between,
                               members);
                tempdir_write_text(*state, "failoverd.conf", text);
                assert_int_equal(
                        conf_load(tempdir_path(*state, "failoverd.conf", path), &conf, &complaint),
                        -EINVAL);
                assert_memory_equal(complaint.text, rows[i].option, strlen(rows[i].option));
        }
}

static void files_that_cannot_be_read_are_refused(void **state)
{
        struct conf_complaint complaint;
        struct conf *conf = NULL;
        char path[TEMPDIR_PATH_SIZE];

        (void)tempdir_path(*state, "failoverd.conf", path);
        assert_int_equal(conf_load(path, &conf, &complaint), -ENOENT);
        assert_string_equal(complaint.file, path);
        assert_string_equal(complaint.text, "cannot read the file: No such file or directory");

        assert_int_equal(mkdir(path, 0700), 0);
        assert_int_equal(conf_load(path, &conf, &complaint), -EBADF);
        assert_string_equal(complaint.text, "this is not a regular file");
        assert_int_equal(rmdir(path), 0);
        assert_int_equal(mkfifo(path, 0600), 0);
        assert_int_equal(conf_load(path, &conf, &complaint), -EBADF);
        assert_int_equal(unlink(path), 0);
        assert_null(conf);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_tempdir, remove_tempdir)
        const struct CMUnitTest tests[] = {
                TEST(the_small_example_loads),
                TEST(what_is_not_given_has_the_documented_default),
                TEST(profiles_set_the_times_of_the_worked_chain),
                TEST(a_profile_counts_for_services_before_it_and_in_other_files),
                TEST(members_and_services_are_sorted_by_name_in_bytes),
                TEST(the_list_of_the_cluster_replaces_that_of_the_files),
                TEST(the_cluster_id_depends_on_names_and_not_on_their_order),
                TEST(witnesses_hold_nothing_and_members_can_be_chosen),
                TEST(files_of_conf_d_are_read_in_order_and_others_are_not),
                TEST(what_was_dumped_loads_and_dumps_the_same),
                TEST(quotes_and_escapes_mean_what_they_say),
                TEST(comments_stand_everywhere_and_lines_are_counted_past_them),
                TEST(what_is_doubtful_is_warned_of),
                TEST(members_may_share_an_address_with_other_ports),
                TEST(what_a_complaint_advises_is_accepted_and_less_is_not),
                TEST(files_that_cannot_be_read_are_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
