/* The language of the stories: one command a line, words behind it. README.md lists them. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenarios/world.h"

enum { WORDS_MAX = 12 };

struct line {
        struct script *script;
        char *words[WORDS_MAX]; /* behind the command */
        size_t n;
        char *ret_why;
        size_t size;
};

struct command {
        const char *name;
        size_t words_min;
        size_t words_max;
        bool before; /* of what comes before the story begins */
        int (*run)(struct line *l);
};

__attribute__((format(printf, 2, 3))) static int complain(struct line *l, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        (void)vsnprintf(l->ret_why, l->size, format, args);
        va_end(args);
        return -EINVAL;
}

/* Words. */

static int parse_time(struct line *l, const char *word, usec_t *ret)
{
        char *end;
        unsigned long long n = strtoull(word, &end, 10);

        if (end != word && strcmp(end, "ms") == 0)
                *ret = n * USEC_PER_MSEC;
        else if (end != word && strcmp(end, "s") == 0)
                *ret = n * USEC_PER_SEC;
        else
                return complain(l, "\"%s\" is no time; 10ms or 3s would be", word);
        return 0;
}

static int parse_bytes(struct line *l, const char *word, uint64_t *ret)
{
        char *end;
        unsigned long long n = strtoull(word, &end, 10);

        if (end != word && strcmp(end, "MiB") == 0)
                *ret = n << 20;
        else if (end != word && *end == '\0')
                *ret = n;
        else
                return complain(l, "\"%s\" is no size; 1000 or 16MiB would be", word);
        return 0;
}

static int parse_number(struct line *l, const char *word, unsigned long max, unsigned long *ret)
{
        char *end;
        unsigned long n = strtoul(word, &end, 10);

        if (end == word || *end || n == 0 || n > max)
                return complain(l, "\"%s\" is no number from 1 to %lu", word, max);
        *ret = n;
        return 0;
}

/* db1, db2, …, or the witness. */
static int parse_node(struct line *l, const char *word, node_id *ret)
{
        const struct world_setup *s = &l->script->setup;
        unsigned long n;

        if (s->witness && strcmp(word, "witness") == 0) {
                *ret = (node_id)s->n_nodes;
                return 0;
        }
        if (strncmp(word, "db", 2) != 0 ||
            parse_number(l, word + 2, s->n_nodes - (s->witness ? 1 : 0), &n) < 0)
                return complain(l, "there is no node \"%s\"", word);
        *ret = (node_id)n;
        return 0;
}

static int parse_machine(struct line *l, const char *word, struct machine **ret)
{
        node_id id;
        int r = parse_node(l, word, &id);

        if (r < 0)
                return r;
        *ret = world_machine(l->script->world, id);
        return 0;
}

/* The value of NAME=VALUE, or NULL. */
static const char *value_of(const char *word, const char *name)
{
        size_t n = strlen(name);

        return strncmp(word, name, n) == 0 && word[n] == '=' ? word + n + 1 : NULL;
}

/* Before the story begins. */

static int run_cluster(struct line *l)
{
        struct world_setup *s = &l->script->setup;
        unsigned long n;
        const char *v;
        int r = parse_number(l, l->words[0], MEMBERS_MAX, &n);

        if (r < 0)
                return r;
        s->n_nodes = (unsigned)n;
        for (size_t i = 1; r >= 0 && i < l->n; i++) {
                if (strcmp(l->words[i], "witness") == 0)
                        s->witness = true;
                else if ((v = value_of(l->words[i], "ttl")))
                        r = parse_time(l, v, &s->ttl);
                else if ((v = value_of(l->words[i], "heartbeat")))
                        r = parse_time(l, v, &s->heartbeat);
                else if ((v = value_of(l->words[i], "election")))
                        r = parse_time(l, v, &s->election_timeout);
                else if ((v = value_of(l->words[i], "leader")))
                        r = parse_node(l, v, &s->leader);
                else
                        r = complain(l, "a cluster has no \"%s\"", l->words[i]);
        }
        return r;
}

static int run_service(struct line *l)
{
        struct world_setup *s = &l->script->setup;
        const char *v;
        int r = 0;

        if (!name_is_valid(l->words[0]))
                return complain(l, "\"%s\" is no name", l->words[0]);
        (void)snprintf(s->service, sizeof(s->service), "%s", l->words[0]);
        for (size_t i = 1; r >= 0 && i < l->n; i++) {
                if (strcmp(l->words[i], "vip-only") == 0)
                        s->vip_only = true;
                else if (strcmp(l->words[i], "no-vip") == 0)
                        s->no_vip = true;
                else if (strcmp(l->words[i], "manual") == 0)
                        s->manual = true;
                else if (strcmp(l->words[i], "crash_restart") == 0)
                        s->crash_restart = true;
                else if ((v = value_of(l->words[i], "max_loss")))
                        r = parse_bytes(l, v, &s->max_loss);
                else if ((v = value_of(l->words[i], "master")))
                        r = parse_node(l, v, &s->master);
                else
                        r = complain(l, "a service has no \"%s\"", l->words[i]);
        }
        return r;
}

/* Time, and what people do. */

static int run_advance(struct line *l)
{
        usec_t length;
        int r = parse_time(l, l->words[0], &length);

        if (r >= 0)
                world_advance(l->script->world, length);
        return r;
}

static int order(struct line *l, enum node_order order, struct machine *asked, node_id target)
{
        (void)l;
        world_order(l->script->world, asked, order, target);
        return 0;
}

/* Whom the operator asks: the first node whose engine runs. */
static struct machine *anybody(struct line *l)
{
        struct world *w = l->script->world;
        node_id id = 1;

        while (id < w->setup.n_nodes && !world_machine(w, id)->node)
                id++;
        return world_machine(w, id);
}

static int order_here(struct line *l, enum node_order what)
{
        struct machine *m;
        int r = parse_machine(l, l->words[0], &m);

        return r < 0 ? r : order(l, what, m, NODE_NOBODY);
}

static int run_bootstrap(struct line *l)
{
        return order_here(l, NODE_ORDER_BOOTSTRAP);
}

static int run_clone(struct line *l)
{
        return order_here(l, NODE_ORDER_CLONE);
}

static int order_move(struct line *l, enum node_order what)
{
        node_id target = NODE_NOBODY;
        int r = l->n > 0 ? parse_node(l, l->words[0], &target) : 0;

        return r < 0 ? r : order(l, what, anybody(l), target);
}

static int run_switchover(struct line *l)
{
        return order_move(l, NODE_ORDER_SWITCHOVER);
}

static int run_failover(struct line *l)
{
        return order_move(l, NODE_ORDER_FAILOVER);
}

static int run_pause_service(struct line *l)
{
        return order(l, NODE_ORDER_PAUSE, anybody(l), NODE_NOBODY);
}

static int run_resume_service(struct line *l)
{
        return order(l, NODE_ORDER_RESUME, anybody(l), NODE_NOBODY);
}

/* Faults. */

static int run_crash(struct line *l)
{
        struct machine *m;
        int r = parse_machine(l, l->words[0], &m);

        if (r >= 0)
                world_crash(m);
        return r;
}

static int run_start(struct line *l)
{
        struct machine *m;
        int r = parse_machine(l, l->words[0], &m);

        if (r >= 0)
                world_boot(l->script->world, m);
        return r;
}

static int run_kill_engine(struct line *l)
{
        usec_t down = WORLD_ENGINE_RESTART;
        struct machine *m;
        int r = parse_machine(l, l->words[0], &m);

        if (r >= 0 && l->n > 1)
                r = parse_time(l, l->words[1], &down);
        if (r >= 0)
                world_kill_engine(l->script->world, m, down);
        return r;
}

static int run_pause(struct line *l)
{
        struct machine *m;
        usec_t length;
        int r = parse_machine(l, l->words[0], &m);

        if (r >= 0)
                r = parse_time(l, l->words[1], &length);
        if (r >= 0)
                m->paused_until = l->script->world->now + length;
        return r;
}

static int run_suspend(struct line *l)
{
        struct machine *m;
        usec_t length;
        int r = parse_machine(l, l->words[0], &m);

        if (r >= 0)
                r = parse_time(l, l->words[1], &length);
        if (r >= 0)
                world_suspend(l->script->world, m, length);
        return r;
}

static void set_link(struct world *w, node_id from, node_id to, bool cut, bool one_way)
{
        w->cut[from][to] = cut;
        if (!one_way)
                w->cut[to][from] = cut;
}

/* A-B, or all links of one node. */
static int set_links(struct line *l, bool cut, bool one_way)
{
        struct world *w = l->script->world;
        char *dash = strchr(l->words[0], '-');
        node_id from, to;
        int r;

        if (dash)
                *dash = '\0';
        r = parse_node(l, l->words[0], &from);
        if (r >= 0 && dash) {
                r = parse_node(l, dash + 1, &to);
                if (r >= 0)
                        set_link(w, from, to, cut, one_way);
        } else {
                for (to = 1; r >= 0 && to <= w->setup.n_nodes; to++)
                        if (to != from)
                                set_link(w, from, to, cut, one_way);
        }
        return r;
}

static int run_cut(struct line *l)
{
        if (l->n > 1 && strcmp(l->words[1], "one-way") != 0)
                return complain(l, "a link is cut, or cut one-way");
        return set_links(l, true, l->n > 1);
}

static int run_heal(struct line *l)
{
        struct world *w = l->script->world;

        if (l->n > 0)
                return set_links(l, false, false);
        memset(w->cut, 0, sizeof(w->cut));
        return 0;
}

static int run_database(struct line *l)
{
        static const struct {
                const char *name;
                void (*happens)(struct world *w, struct machine *m);
        } fates[] = {
                { "crashed", database_crash },      { "hung", database_hang },
                { "down", database_down },          { "up", database_up },
                { "continues", database_continue },
        };
        struct machine *m;
        int r = parse_machine(l, l->words[0], &m);

        if (r < 0)
                return r;
        for (size_t i = 0; i < sizeof(fates) / sizeof(fates[0]); i++) {
                if (strcmp(l->words[1], fates[i].name) == 0) {
                        fates[i].happens(l->script->world, m);
                        return 0;
                }
        }
        return complain(l, "a database is crashed, hung, down or up, or continues");
}

static int run_replication(struct line *l)
{
        static const char *const names[] = { [REPLICATION_FLOWS] = "flows",
                                             [REPLICATION_STALLS] = "stalls",
                                             [REPLICATION_BREAKS] = "breaks" };
        struct machine *m;
        int r = parse_machine(l, l->words[0], &m);

        if (r < 0)
                return r;
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                if (strcmp(l->words[1], names[i]) == 0) {
                        m->hands.database.replication = (enum replication)i;
                        return 0;
                }
        }
        return complain(l, "replication flows, stalls or breaks");
}

static int run_write(struct line *l)
{
        uint64_t bytes;
        int r = parse_bytes(l, l->words[0], &bytes);

        if (r >= 0 && !database_write(l->script->world, bytes))
                tell_line(l->script->world, "nobody takes the write");
        return r;
}

static int run_clock(struct line *l)
{
        struct machine *m;
        int r = parse_machine(l, l->words[0], &m);
        const char *rate = value_of(l->words[1], "rate");
        double times;
        char *end;

        if (r < 0)
                return r;
        times = rate ? strtod(rate, &end) : 0;
        if (!rate || end == rate || *end || times < 0.1 || times > 10)
                return complain(l, "a clock has a rate=1.05");
        world_clock_rate(l->script->world, m, (int)(times * 1000000 - 1000000 + 0.5));
        return 0;
}

/* What people look at. */

static int run_who(struct line *l)
{
        struct world *w = l->script->world;
        char text[WORLD_LINE_SIZE] = "who is master:";

        for (node_id id = 1; id <= w->setup.n_nodes; id++) {
                struct machine *m = world_machine(w, id);
                struct node_service_view v = { 0 };
                const char *who = "gives no answer";
                size_t n = strlen(text);

                if (m->node && w->now >= m->paused_until && world_is_awake(w, m)) {
                        node_service_view(m->node, 0, world_clock(w, m), &v);
                        who = v.holds                             ? "says it is"
                              : v.lease == FAILOVER_LEASE_THEIRS  ? "says"
                              : v.lease == FAILOVER_LEASE_EARLIER ? "says it was"
                                                                  : "says nobody";
                }
                (void)snprintf(text + n, sizeof(text) - n, "%s %s %s%s%s", id > 1 ? "," : "",
                               m->name, who, v.lease == FAILOVER_LEASE_THEIRS ? " " : "",
                               v.lease == FAILOVER_LEASE_THEIRS ? world_machine(w, v.holder)->name
                                                                : "");
        }
        tell_line(w, "%s", text);
        return 0;
}

static int run_why_not(struct line *l)
{
        struct world *w = l->script->world;
        struct failover_verdict verdicts[MEMBERS_MAX];
        struct machine *m;
        unsigned n;
        int r = parse_machine(l, l->words[0], &m);

        if (r < 0)
                return r;
        if (!m->node)
                return complain(l, "the engine of that node does not run");
        n = node_why_not(m->node, 0, world_clock(w, m), verdicts);
        for (unsigned i = 0; i < n; i++)
                tell_line(w, "%s %s: %s", world_machine(w, verdicts[i].node)->name,
                          verdicts[i].eligible ? "is fit" : "is not fit", verdicts[i].reason);
        return 0;
}

/* clang-format off */
static const struct command commands[] = {
        { "cluster",        1, 6, true,  run_cluster },
        { "service",        1, 6, true,  run_service },
        { "advance",        1, 1, false, run_advance },
        { "bootstrap",      1, 1, false, run_bootstrap },
        { "clone",          1, 1, false, run_clone },
        { "switchover",     0, 1, false, run_switchover },
        { "failover",       1, 1, false, run_failover },
        { "pause-service",  0, 0, false, run_pause_service },
        { "resume-service", 0, 0, false, run_resume_service },
        { "crash",          1, 1, false, run_crash },
        { "start",          1, 1, false, run_start },
        { "kill-engine",    1, 2, false, run_kill_engine },
        { "pause",          2, 2, false, run_pause },
        { "suspend",        2, 2, false, run_suspend },
        { "cut",            1, 2, false, run_cut },
        { "heal",           0, 1, false, run_heal },
        { "database",       2, 2, false, run_database },
        { "replication",    2, 2, false, run_replication },
        { "write",          1, 1, false, run_write },
        { "clock",          2, 2, false, run_clock },
        { "who",            0, 0, false, run_who },
        { "why-not",        1, 1, false, run_why_not },
};
/* clang-format on */

static int begin(struct line *l)
{
        const char *why = NULL;

        if (l->script->world)
                return 0;
        if (l->script->setup.n_nodes == 0 || !l->script->setup.service[0])
                return complain(l, "a story begins with cluster and service");
        l->script->world = world_new(&l->script->setup, &why);
        return l->script->world ? 0 : complain(l, "%s", why);
}

static int run(struct line *l, const struct command *c)
{
        int r;

        if (l->n < c->words_min || l->n > c->words_max)
                return complain(l, "\"%s\" has %zu to %zu words behind it", c->name, c->words_min,
                                c->words_max);
        if (c->before && l->script->world)
                return complain(l, "\"%s\" comes before all else", c->name);
        if (!c->before && begin(l) < 0)
                return -EINVAL;
        r = c->run(l);
        if (l->script->world) {
                database_replicate(l->script->world);
                hands_check(l->script->world);
        }
        return r;
}

int command_run(struct script *s, const char *text, char *ret_why, size_t size)
{
        struct line l = { .script = s, .ret_why = ret_why, .size = size };
        char copy[WORLD_LINE_SIZE], *rest = copy, *name;

        (void)snprintf(copy, sizeof(copy), "%s", text);
        name = strtok_r(copy, " ", &rest);
        if (!name)
                return 0;
        for (char *word; (word = strtok_r(NULL, " ", &rest));) {
                if (l.n == WORDS_MAX)
                        return complain(&l, "too many words");
                l.words[l.n++] = word;
        }
        for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
                if (strcmp(commands[i].name, name) == 0)
                        return run(&l, &commands[i]);
        return complain(&l, "there is no command \"%s\"", name);
}
