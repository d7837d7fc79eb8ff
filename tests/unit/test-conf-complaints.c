/* What is wrong with a file is said with file, line, option, what was found and what is accepted. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "tests/lib/tempdir.h"

#define SYNTAX "; write an option as NAME = VALUE, a block as NAME { } or NAME \"TITLE\" { }"

/* The blocks that a case does not care about, in one line. */
#define NODE "node \"db1\" { } "
#define MEMBERS                                                                                    \
        "member \"db1\" { address = 10.0.0.1 } member \"db2\" { address = 10.0.0.2 } "             \
        "member \"db3\" { address = 10.0.0.3 } "
#define CLUSTER "cluster \"prod\" { " MEMBERS "} "
#define PAIR                                                                                       \
        "cluster \"prod\" { member \"db1\" { address = 10.0.0.1 } "                                \
        "member \"db2\" { address = 10.0.0.2 } } "
#define POSTGRES "postgres { data_dir = /pg } "
#define HEAD NODE CLUSTER "\n"

struct bad {
        const char *file;
        unsigned line;
        const char *text;
};

/* clang-format off */
static const struct bad bad[] = {
        /* Names of options and blocks */
        { HEAD "service \"orders\" {\n tll = 3s\n}", 3,
          "unknown option \"tll\" in service \"orders\"; did you mean \"ttl\"?" },
        { HEAD "servise \"orders\" {\n ttl = 3s\n}", 2, "unknown option \"servise\"; did you mean \"service\"?" },
        { HEAD "service \"orders\" {\n port = 5433\n}", 3,
          "unknown option \"port\" in service \"orders\"; it belongs into a postgres block" },
        { "node \"db1\" {\n interface = eth0 }", 2,
          "unknown option \"interface\" in node \"db1\"; it belongs into a vip block" },
        { HEAD "service \"orders\" { vip {\n adress = 10.0.0.9\n } }", 3,
          "unknown option \"adress\" in vip; did you mean \"address\"?" },
        { HEAD "service \"orders\" { vip {\n color = red\n } }", 3,
          "unknown option \"color\" in vip; accepted are address, interface, label" },
        { "ttl = 3s", 1, "unknown option \"ttl\"; it belongs into a service block" },
        { HEAD "service \"a\" { } service \"b\" { }\n \"service=a|vip\" { address = ::9 interface = lo }", 3,
          "vip: a block is written inside its own service block" },
        { HEAD "service \"a\" { postgres {\n } } \"service=a|postgres=0|port\" = 5433", 3,
          "port: an option is written inside its own block" },
        { HEAD "service \"orders\" {\n \"postgres|port\" = 5433\n}", 3, "no sub-section title/index for 'postgres'" SYNTAX },

        /* Syntax */
        { HEAD "service \"orders\" {\n ttl 3s\n}", 3, "missing equal sign after option 'ttl'" SYNTAX },
        { HEAD "service {\n ttl = 3s\n}", 2, "missing title for section 'service'" SYNTAX },
        { HEAD "service \"orders\"\n ttl = 3s\n}", 4, "\"}\" closes nothing; remove it, or open a block with {" },
        { HEAD "service \"orders\" {\n ttl = 3s\n", 2, "the block that is opened here is never closed; write }" },
        { HEAD "service \"orders\" {\n members = { db1,\n", 3, "the list that is opened here is never closed; write }" },
        { HEAD "service \"orders\" {\n postgres { user = \"postgres }\n}\n", 3, "the string is never closed; write \"" },
        { "\n/* a comment\n" HEAD, 2, "the comment is never closed; write */" },
        { HEAD "service \"orders\" {\n ttl = }", 3, "unexpected token '}'" SYNTAX },
        { HEAD "}", 2, "\"}\" closes nothing; remove it, or open a block with {" },
        { HEAD "service \"orders\" {\n postgres { vip { address = { 1, 2 }\n } } }", 3,
          "unknown option \"vip\" in postgres; accepted are data_dir, version, user, port, bin_dir, config_file, "
          "socket_dir, listen, replication_user, passfile, start_command, stop_command, health_interval, "
          "health_timeout, rise, fall, rejoin, keep_diverged" },
        { HEAD "a { b { c {\n d { e {", 3, "blocks are nested deeper than any block can be" },
        { HEAD "service \"orders\" {\n postgres { start_command = systemctl(start) } }", 3,
          "unexpected \"(\"; write a value that contains it in quotes" },
        { HEAD "service \"orders\" {\n postgres { listen = * } }", 3,
          "unexpected \"*\"; write a value that contains it in quotes" },
        { "node \"db1\" {\n data_dir = \"/var/${NAME}\" }", 2,
          "\"${\" would mean a variable of the environment, which is another one in each process; "
          "write the value itself, or \"\\${\" for these characters" },
        { HEAD "service \"orders\" {\n members = { } }", 3,
          "the list is empty; write a value into it, or leave the option out" },
        { "node \"db1\" {\n user = \"a\x01\" }", 2, "the byte 0x01 is not text; write the file in UTF-8" },
        { "node \"db1\" {\n user = \"a\\x01\" }", 2, "user: the value contains the control character 0x01" },

        /* What is given twice */
        { HEAD "service \"orders\" {\n ttl = 3s\n\n ttl = 4s }", 5, "ttl is already given in FILE:3; write it once" },
        { HEAD "service \"a\" {\n}\nservice \"a\" {\n}", 4, "service \"a\" is already given in FILE:2; a name is used once" },
        { NODE "\ncluster \"prod\" {\n member \"a\" { }\n member \"a\" { } }", 4,
          "member \"a\" is already given in FILE:3; a name is used once" },
        { "node \"a\" { }\nnode \"b\" { }", 2, "node \"b\" is already given in FILE:1; there is one node block" },
        { "cluster \"a\" { }\ncluster \"b\" { }", 2, "cluster \"b\" is already given in FILE:1; there is one cluster block" },
        { HEAD "service \"a\" {\n postgres { }\n postgres { } }", 4,
          "postgres is already given in FILE:3; a service has one database; write a second service" },
        { HEAD "service \"a\" {\n members = { db1 }\n members = { db2 } }", 4, "members is already given in FILE:3; write it once" },

        /* Values */
        { HEAD "service \"orders\" {\n ttl = \"3 parsecs\"\n}", 3,
          "ttl: \"3 parsecs\" is not a duration; write a number with us, ms, s, min or h, for example 3s" },
        { HEAD "service \"orders\" {\n ttl = 3\n}", 3,
          "ttl: \"3\" is not a duration; write a number with us, ms, s, min or h, for example 3s" },
        { HEAD "service \"orders\" {\n ttl = 100ms\n}", 3, "ttl: \"100ms\" is out of range; write from 500ms to 1h" },
        { HEAD "service \"orders\" {\n max_loss = 16MIB\n}", 3,
          "max_loss: \"16MIB\" is not a size; write a number of bytes, or with kB, MB, GB, KiB, MiB or GiB, for example 16MiB" },
        { HEAD "service \"orders\" {\n mode = automatc\n}", 3, "mode: \"automatc\" is not a mode; write automatic or manual" },
        { HEAD "service \"orders\" {\n priority = -1\n}", 3, "priority: \"-1\" is not a number; write a whole number" },
        { HEAD "service \"orders\" {\n priority = 9999999\n}", 3,
          "priority: \"9999999\" is out of range; write from 0 to 1000000" },
        { HEAD "service \"orders\" { postgres {\n port = 65536 } }", 3, "port: \"65536\" is not a port; write a number from 1 to 65535" },
        { HEAD "service \"orders\" { postgres {\n version = 11 } }", 3,
          "version: \"11\" is not a version; write a major version of PostgreSQL from 12 to 17, or 0 to read it from PG_VERSION" },
        { HEAD "service \"orders\" { postgres {\n data_dir = pg } }", 3,
          "data_dir: \"pg\" is not a path; write an absolute path, for example \"/var/lib/failoverd\"" },
        { HEAD "service \"orders\" { postgres {\n keep_diverged = maybe } }", 3,
          "keep_diverged: \"maybe\" is not a truth value; write true or false" },
        { HEAD "service \"orders\" { postgres {\n rejoin = \"clone,rewind\" } }", 3,
          "rejoin: \"clone,rewind\" is not a way to rejoin; write manual, rewind, clone or \"rewind,clone\"" },
        { HEAD "service \"orders\" { vip {\n address = 10.0.0.100/33 } }", 3,
          "address: \"10.0.0.100/33\" is not an address with a prefix; write for example \"10.0.0.100/24\", or \"10.0.0.100\" for the address alone" },
        { HEAD "service \"orders\" { vip {\n interface = \"a long name of 16\" } }", 3,
          "interface: \"a long name of 16\" is not an interface; write the name of a network interface, for example \"eth0\"" },
        { NODE "\ncluster \"prod\" {\n member \"a\" { address = db1 } }", 3,
          "address: \"db1\" is not an address; write an IPv4 or IPv6 address, for example \"10.0.0.1\" or \"fd00::1\"" },
        { HEAD "service \"my orders\" { }", 2,
          "service: \"my orders\" is not a name; write 1 to 63 letters, digits, \".\", \"_\" and \"-\", with a letter or digit first" },

        /* What is missing */
        { CLUSTER, 0, "there is no node block; write node \"NAME\" { } with the name of this machine" },
        { NODE, 0, "there is no cluster block; write cluster \"NAME\" { } with a member \"NAME\" { address = ... } for each machine" },
        { "", 0, "there is no node block; write node \"NAME\" { } with the name of this machine" },
        { NODE "\ncluster \"prod\" { }", 2,
          "cluster \"prod\" has no member that may hold a service; write a member \"NAME\" { address = ... } for each machine" },
        { "node \"bd1\" { }\n" CLUSTER, 1,
          "node \"bd1\" is not a member of cluster \"prod\"; add member \"bd1\" there, or name this node as one of its members: \"db1\", \"db2\", \"db3\"" },
        { NODE "cluster \"prod\" {\n member \"db1\" { } }", 2,
          "address is missing in this member block; write an IPv4 or IPv6 address, for example \"10.0.0.1\" or \"fd00::1\"" },
        { HEAD "service \"orders\" {\n postgres { } }", 3,
          "data_dir is missing in this postgres block; write an absolute path, for example \"/var/lib/failoverd\"" },
        { HEAD "service \"orders\" {\n vip { address = 10.0.0.9 } }", 3,
          "interface is missing in this vip block; write the name of a network interface, for example \"eth0\"" },

        /* Members */
        { NODE "cluster \"prod\" {\n member \"db1\" { address = 10.0.0.1 }\n member \"db2\" { address = 10.0.0.1 } }", 3,
          "address: member \"db1\" and member \"db2\" have the same address 10.0.0.1 and port 4001; write another address, or another port" },
        { NODE "cluster \"prod\" {\n member \"db1\" { address = 10.0.0.1 raft_port = 4001 } }", 2,
          "raft_port: member \"db1\" has port 4001 for the API already; write two different ports" },
        { NODE "\ncluster \"prod\" { member \"db1\" { address = 10.0.0.1 role = witness } }", 2,
          "cluster \"prod\" has no member that may hold a service; write a member \"NAME\" { address = ... } for each machine" },
        { HEAD "service \"orders\" {\n members = { db1, db4 } }", 3,
          "members: \"db4\" is not a member of cluster \"prod\"; write some of \"db1\", \"db2\", \"db3\"" },
        { HEAD "service \"orders\" {\n members = { a, b, c, d, e, f, g, h,\n i, j } }", 4, "members: the list has more than 9 values" },
        { HEAD "service \"orders\" {\n members = { db1, db1 } }", 3, "members: \"db1\" is given twice; write each name once" },
        { NODE "cluster \"prod\" { " MEMBERS " member \"w\" { address = 10.0.0.4 role = witness } }\nservice \"orders\" {\n members = { db1,\n w } }", 4,
          "members: \"w\" is a witness, which holds no service; write some of \"db1\", \"db2\", \"db3\"" },
        { NODE PAIR "\nservice \"orders\" { " POSTGRES "}", 2,
          "service \"orders\": two members cannot decide a failover: a decision needs both, so the loss of either stops "
          "everything; add a third member with role = witness, or write mode = manual" },

        /* Times */
        { NODE "cluster \"prod\" { " MEMBERS "\n heartbeat = 60ms }", 2,
          "heartbeat: 60ms is more than a third of election_timeout = 150ms; write at most 50ms, or raise election_timeout to at least 180ms" },
        { HEAD "service \"orders\" {\n renew = 700ms }", 3,
          "renew: 700ms is not between a tenth and a fifth of ttl = 3s; write 300ms to 600ms" },
        { HEAD "service \"orders\" {\n ttl = 3s\n demote_soft = 2200ms }", 3,
          "ttl: 3s is too short for service \"orders\": from the sending of a renewal all acting is over after 2984ms (guard 10ms), "
          "so with demote_soft = 2200ms and demote_hard = 200ms the release begins after 584ms; 100ms for an answer and two attempts "
          "of renew = 300ms do not fit into that; write demote_soft and demote_hard of together at most 2284ms, or ttl of at least 3160ms" },
        { HEAD "service \"orders\" {\n ttl = 500ms\n demote_soft = 1h }", 4, "demote_soft: \"1h\" is out of range; write from 1ms to 10min" },

        /* Addresses and databases */
        { HEAD "service \"orders\" { vip {\n address = 10.0.0.2/24 interface = eth0 } }", 3,
          "address: 10.0.0.2 is the address of member \"db2\"; write one that no machine has of itself" },
        { HEAD "service \"a\" { vip { address = 10.0.0.9 interface = eth0 } }\nservice \"b\" {\n vip {\n address = 10.0.0.9/24 interface = eth0 } }", 2,
          "address: 10.0.0.9 is already an address of service \"b\"; write it once" },
        { HEAD "service \"orders\" { vip { address = fd00::9 interface = eth0\n label = \"eth0:db\" } }", 3,
          "label: the IPv6 address fd00::9 cannot have a label; leave it out" },
        { HEAD "service \"a\" { " POSTGRES "}\nservice \"b\" {\n " POSTGRES "}", 2,
          "data_dir: \"/pg\" is already the database of service \"b\"; write another directory" },
        { HEAD "service \"a\" { " POSTGRES "}\nservice \"b\" {\n postgres { data_dir = /pg2 } }", 2,
          "port: 5432 is already the port of service \"b\"; write another port" },
};
/* clang-format on */

/* Directories of tests have random names; the file alone says enough. */
static void cut_directory(const struct tempdir *s, char *text)
{
        char *found;

        while ((found = strstr(text, s->dir))) {
                char *rest = found + strlen(s->dir) + 1;

                memmove(found, rest, strlen(rest) + 1);
        }
}

static int load(const char *file, struct conf_complaint *ret)
{
        struct conf *conf = NULL;
        char path[TEMPDIR_PATH_SIZE];
        struct tempdir s;
        int r;

        tempdir_make(&s);
        tempdir_write_text(&s, "FILE", file);
        r = conf_load(tempdir_path(&s, "FILE", path), &conf, ret);
        tempdir_remove(&s);
        conf_free(conf);
        cut_directory(&s, ret->file);
        cut_directory(&s, ret->text);
        return r;
}

static void each_bad_file_gets_its_complaint(void **state)
{
        unsigned failed = 0;

        (void)state;
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                struct conf_complaint found = { 0 };
                int r = load(bad[i].file, &found);

                if (r == -EINVAL && found.line == bad[i].line &&
                    strcmp(found.text, bad[i].text) == 0 && strcmp(found.file, "FILE") == 0)
                        continue;
                failed++;
                print_error("of\n%s\nexpected FILE:%u: %s\nfound %d %s:%u: %s\n\n", bad[i].file,
                            bad[i].line, bad[i].text, r, found.file, found.line, found.text);
        }
        assert_int_equal(failed, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_bad_file_gets_its_complaint),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
