/*
 * The simulator's command line: one seed with its story, or many seeds over several processes.
 * Exits with 0 if nothing was violated and all that is of interest has happened, 1 otherwise, 2 on
 * wrong usage.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "election/base/memory.h"
#include "tests/sim/sim.h"

enum {
        JOBS_MAX = 64,
        FAILURES_MAX = 100,
        SEEDS_THAT_SHOW_ALL = 300, /* with so many seeds, everything of interest must happen */
};

/* What the workers share with their parent. */
struct shared {
        atomic_uint_fast64_t seed_next;
        atomic_uint_fast64_t done;
        atomic_bool stop;
        atomic_size_t n_failures;
        struct {
                uint64_t seed;
                char text[SIM_FAILURE_SIZE];
        } failures[FAILURES_MAX];
        struct {
                uint64_t seed; /* that it runs now; 0: none */
                struct tally tally;
        } workers[JOBS_MAX];
};

struct arguments {
        uint64_t seed_first, seed_last;
        usec_t length;
        unsigned jobs;
        uint64_t changes; /* of the members that must be carried out; 0: as the seeds draw */
        bool one;
        bool verbose;
        bool keep_going;
        bool self_test;
        bool quiet;
};

static double now_seconds(void)
{
        struct timespec t;

        (void)clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void note_failure(struct shared *sh, uint64_t seed, const char *text)
{
        size_t i = atomic_fetch_add(&sh->n_failures, 1);

        if (i >= FAILURES_MAX)
                return;
        sh->failures[i].seed = seed;
        (void)snprintf(sh->failures[i].text, SIM_FAILURE_SIZE, "%s", text);
}

static void work(struct shared *sh, unsigned worker, const struct arguments *a)
{
        uint64_t seed;

        while (!atomic_load(&sh->stop) &&
               (seed = atomic_fetch_add(&sh->seed_next, 1)) <= a->seed_last) {
                struct sim_options options = { .seed = seed,
                                               .length = a->length,
                                               .members = a->changes > 0 };
                struct sim *s;

                sh->workers[worker].seed = seed;
                s = sim_run(&options);
                if (s->failed) {
                        note_failure(sh, seed, s->failure);
                        if (!a->keep_going)
                                atomic_store(&sh->stop, true);
                }
                tally_add(&sh->workers[worker].tally, &s->tally);
                sim_free(s);
                sh->workers[worker].seed = 0;
                atomic_fetch_add(&sh->done, 1);
        }
}

static pid_t start_worker(struct shared *sh, unsigned worker, const struct arguments *a)
{
        pid_t pid = fork();

        if (pid == 0) {
                work(sh, worker, a);
                _exit(0);
        }
        if (pid < 0)
                perror("cannot start a worker");
        return pid;
}

static struct tally total(const struct shared *sh, unsigned jobs)
{
        struct tally sum = { 0 };

        for (unsigned i = 0; i < jobs; i++)
                tally_add(&sum, &sh->workers[i].tally);
        return sum;
}

/* A worker that died took a seed with it, which is the one to look at. */
static void bury_worker(struct shared *sh, unsigned worker, int status)
{
        char text[64];

        if (sh->workers[worker].seed == 0)
                return;
        (void)snprintf(text, sizeof(text), "ended by signal %d, status %d",
                       WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                       WIFEXITED(status) ? WEXITSTATUS(status) : 0);
        note_failure(sh, sh->workers[worker].seed, text);
        sh->workers[worker].tally.violations++;
        sh->workers[worker].seed = 0;
}

static unsigned worker_of(const pid_t *pids, unsigned jobs, pid_t pid)
{
        unsigned i = 0;

        while (i < jobs && pids[i] != pid)
                i++;
        return i;
}

static void progress(const struct shared *sh, const struct arguments *a, double since)
{
        if (!a->quiet && isatty(STDERR_FILENO))
                fprintf(stderr, "\r%" PRIuFAST64 " seeds, %zu violations, %.0f s ",
                        atomic_load(&sh->done), (size_t)atomic_load(&sh->n_failures),
                        now_seconds() - since);
}

static void supervise(struct shared *sh, const struct arguments *a)
{
        const struct timespec nap = { .tv_nsec = 100000000 };
        double since = now_seconds();
        pid_t pids[JOBS_MAX];
        unsigned running = 0;

        for (unsigned i = 0; i < a->jobs; i++) {
                pids[i] = start_worker(sh, i, a);
                running += pids[i] > 0;
        }
        while (running > 0) {
                int status;
                pid_t pid = waitpid(-1, &status, WNOHANG);
                unsigned i;

                if (pid <= 0) {
                        (void)nanosleep(&nap, NULL);
                        progress(sh, a, since);
                        continue;
                }
                i = worker_of(pids, a->jobs, pid);
                if (i == a->jobs)
                        continue;
                running--;
                if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                        continue;
                bury_worker(sh, i, status);
                if (!a->keep_going) {
                        atomic_store(&sh->stop, true);
                        continue;
                }
                pids[i] = start_worker(sh, i, a);
                running += pids[i] > 0;
        }
        if (!a->quiet && isatty(STDERR_FILENO))
                fputc('\n', stderr);
}

/* clang-format off */
static const struct {
        const char *what;
        size_t offset;
        bool must_happen;
} counts[] = {
        { "elections",                            offsetof(struct tally, elections),           true },
        { "leases granted",                       offsetof(struct tally, grants),              true },
        { "leases expired",                       offsetof(struct tally, expiries),            true },
        { "leases released",                      offsetof(struct tally, releases),            true },
        { "expiries not attested",                offsetof(struct tally, expiries_refused),    false },
        { "renewals refused",                     offsetof(struct tally, renewals_refused),    false },
        { "leases that ran out for the holder",   offsetof(struct tally, leases_ran_out),      true },
        { "times that the hands let go",          offsetof(struct tally, let_go),              true },
        { "leases that outlived a restart",       offsetof(struct tally, adopted),             true },
        { "failovers: the master moved",          offsetof(struct tally, moves),               true },
        { "promotions",                           offsetof(struct tally, promotions),          true },
        { "restarts in place",                    offsetof(struct tally, restarts),            true },
        { "rejoins",                              offsetof(struct tally, rejoins),             true },
        { "switchovers accepted",                 offsetof(struct tally, switchovers),         true },
        { "hand-overs without loss",              offsetof(struct tally, handovers),           true },
        { "engine crashes",                       offsetof(struct tally, crashes),             true },
        { "machine crashes",                      offsetof(struct tally, machine_crashes),     true },
        { "torn writes",                          offsetof(struct tally, torn_writes),         true },
        { "pauses",                               offsetof(struct tally, pauses),              true },
        { "links cut",                            offsetof(struct tally, cuts),                true },
        { "disk stalls",                          offsetof(struct tally, stalls),              true },
        { "failed syncs",                         offsetof(struct tally, syncs_failed),        true },
        { "damaged logs",                         offsetof(struct tally, disks_lost),          true },
        { "full disks",                           offsetof(struct tally, disks_full),          true },
        { "writes refused for want of room",      offsetof(struct tally, writes_full),         true },
        { "snapshots taken",                      offsetof(struct tally, snapshots_taken),     true },
        { "snapshots that failed",                offsetof(struct tally, snapshots_failed),    true },
        { "snapshots installed",                  offsetof(struct tally, snapshots_installed), true },
        { "starts from a snapshot",               offsetof(struct tally, starts_from_snapshot),true },
        { "member lists in force",                offsetof(struct tally, member_lists),        true },
        { "changes of the members carried out",   offsetof(struct tally, member_changes),      true },
        { "changes of the members refused",       offsetof(struct tally, member_refusals),     true },
        { "members that joined",                  offsetof(struct tally, joins),               true },
        { "machines lost with their disks",       offsetof(struct tally, machines_lost),       true },
        { "messages of or for former members",    offsetof(struct tally, messages_foreign),    true },
        { "faults aimed at a step",               offsetof(struct tally, aimed),               true },
        { "messages",                             offsetof(struct tally, messages),            true },
        { "messages lost",                        offsetof(struct tally, messages_lost),       true },
        { "entries committed",                    offsetof(struct tally, committed),           true },
        { "writes acknowledged",                  offsetof(struct tally, writes_acknowledged), true },
        { "writes with unknown fate",             offsetof(struct tally, writes_unknown),      true },
        { "writes that failed by a condition",    offsetof(struct tally, writes_failed),       true },
        { "writes answered from a session",       offsetof(struct tally, writes_repeated),     false },
        { "reads of now",                         offsetof(struct tally, reads),               true },
        { "plain reads",                          offsetof(struct tally, reads_locally),       true },
        { "changes told to watchers",             offsetof(struct tally, watched),             true },
        { "watchers who came too late",           offsetof(struct tally, watches_cleared),     false },
        { "writes of the databases",              offsetof(struct tally, database_writes),     true },
};
/* clang-format on */

static uint64_t count_of(const struct tally *t, size_t i)
{
        uint64_t ret;

        memcpy(&ret, (const char *)t + counts[i].offset, sizeof(ret));
        return ret;
}

/* A simulator that never sees a failover proves nothing. Returns whether all happened. */
static bool report(const struct tally *t, double took)
{
        bool ok = true;

        for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
                bool missing = counts[i].must_happen && count_of(t, i) == 0 &&
                               t->seeds >= SEEDS_THAT_SHOW_ALL;

                printf("%12" PRIu64 "  %s%s\n", count_of(t, i), counts[i].what,
                       missing ? "  <- must happen, or this proves nothing" : "");
                ok = ok && !missing;
        }
        printf("%" PRIu64 " seeds, %" PRIu64 " violations; %.0f simulated seconds, %" PRIu64
               " events in %.1f s (%.0f events/s); at rest after %.1f s on average, %.1f s at most\n",
               t->seeds, t->violations, (double)t->simulated_usec / 1e6, t->events, took,
               (double)t->events / took,
               t->seeds ? (double)t->heal_usec / 1e6 / (double)t->seeds : 0,
               (double)t->heal_max_usec / 1e6);
        return ok;
}

/* Runs the seed once more, with its story, in a process of its own in case it crashes. */
static void show_failure(uint64_t seed, const struct arguments *a)
{
        struct sim_options options = {
                .seed = seed, .length = a->length, .members = a->changes > 0, .print = true
        };
        pid_t pid;

        (void)fflush(stdout);
        options.print = false;
        options.record = true;
        pid = fork();
        if (pid == 0) {
                struct sim *s = sim_run(&options);

                story_print(s);
                (void)fflush(stdout);
                _exit(0);
        }
        if (pid > 0)
                (void)waitpid(pid, NULL, 0);
}

static int run_many(const struct arguments *a)
{
        struct shared *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        double since = now_seconds();
        struct tally sum;
        size_t n;
        bool ok;

        if (sh == MAP_FAILED) {
                perror("cannot share memory with workers");
                return 1;
        }
        atomic_store(&sh->seed_next, a->seed_first);
        supervise(sh, a);
        sum = total(sh, a->jobs);
        ok = report(&sum, now_seconds() - since);
        if (sum.member_changes < a->changes) {
                printf("only %" PRIu64 " of %" PRIu64 " changes of the members were carried out\n",
                       sum.member_changes, a->changes);
                ok = false;
        }
        n = atomic_load(&sh->n_failures);
        if (n > 0 && !a->quiet)
                show_failure(sh->failures[0].seed, a);
        for (size_t i = 0; i < n && i < FAILURES_MAX; i++)
                printf("seed %" PRIu64 ": %s\n", sh->failures[i].seed, sh->failures[i].text);
        if (n > 0)
                printf("replay: sim --seed %" PRIu64 " --seconds %" PRIu64 "%s --verbose\n",
                       sh->failures[0].seed, a->length / USEC_PER_SEC,
                       a->changes > 0 ? " --changes 1" : "");
        (void)munmap(sh, sizeof(*sh));
        return n > 0 || !ok;
}

static int run_one(const struct arguments *a)
{
        struct sim_options options = {
                .seed = a->seed_first,
                .length = a->length,
                .members = a->changes > 0,
                .record = true,
                .print = a->verbose,
        };
        struct sim *s = sim_run(&options);
        bool failed = s->failed;

        if (failed && !a->verbose)
                story_print(s);
        if (failed)
                printf("seed %" PRIu64 ": %s\n", a->seed_first, s->failure);
        printf("digest of all that happened: %016" PRIx64 "\n", s->digest);
        sim_free(s);
        return failed;
}

/* A seed replays exactly, with the story and without. */
static int run_self_test(const struct arguments *a)
{
        for (uint64_t seed = a->seed_first; seed <= a->seed_last; seed++) {
                uint64_t digests[2];

                for (unsigned i = 0; i < 2; i++) {
                        struct sim_options options = { .seed = seed,
                                                       .length = a->length,
                                                       .record = i == 1 };
                        struct sim *s = sim_run(&options);

                        digests[i] = s->digest;
                        sim_free(s);
                }
                if (digests[0] != digests[1]) {
                        printf("seed %" PRIu64 " does not replay: %016" PRIx64 ", %016" PRIx64 "\n",
                               seed, digests[0], digests[1]);
                        return 1;
                }
        }
        printf("seeds %" PRIu64 " to %" PRIu64 " replay exactly\n", a->seed_first, a->seed_last);
        return 0;
}

static void usage(void)
{
        fputs("usage: sim [--seeds FIRST-LAST] [--seconds N] [--jobs N] [--keep-going] [--quiet]\n"
              "           [--changes N]   members come and go in each seed, N times in all\n"
              "       sim --seed N [--seconds N] [--changes 1] [--verbose]\n"
              "       sim --self-test [--seeds FIRST-LAST]\n",
              stderr);
}

static bool parse_seeds(const char *text, struct arguments *a)
{
        char *end;

        a->seed_first = a->seed_last = strtoull(text, &end, 10);
        if (*end == '-')
                a->seed_last = strtoull(end + 1, &end, 10);
        return *end == '\0' && a->seed_first <= a->seed_last;
}

static bool parse(int argc, char **argv, struct arguments *a)
{
        static const struct option options[] = {
                { "seeds", required_argument, NULL, 's' },
                { "seed", required_argument, NULL, 'o' },
                { "seconds", required_argument, NULL, 't' },
                { "jobs", required_argument, NULL, 'j' },
                { "changes", required_argument, NULL, 'c' },
                { "verbose", no_argument, NULL, 'v' },
                { "keep-going", no_argument, NULL, 'k' },
                { "self-test", no_argument, NULL, 'x' },
                { "quiet", no_argument, NULL, 'q' },
                { NULL, 0, NULL, 0 },
        };
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
                switch (c) {
                case 's':
                        if (!parse_seeds(optarg, a))
                                return false;
                        break;
                case 'o':
                        a->one = true;
                        if (!parse_seeds(optarg, a))
                                return false;
                        break;
                case 't':
                        a->length = strtoull(optarg, NULL, 10) * USEC_PER_SEC;
                        break;
                case 'j':
                        a->jobs = (unsigned)strtoul(optarg, NULL, 10);
                        break;
                case 'c':
                        a->changes = strtoull(optarg, NULL, 10);
                        break;
                case 'v':
                        a->verbose = true;
                        break;
                case 'k':
                        a->keep_going = true;
                        break;
                case 'x':
                        a->self_test = true;
                        break;
                case 'q':
                        a->quiet = true;
                        break;
                default:
                        return false;
                }
        }
        return optind == argc && a->length > 0 && a->jobs >= 1 && a->jobs <= JOBS_MAX;
}

int main(int argc, char **argv)
{
        struct arguments a = {
                .seed_first = 1, .seed_last = 200, .length = 60 * USEC_PER_SEC, .jobs = 2
        };

        if (!parse(argc, argv, &a)) {
                usage();
                return 2;
        }
        if (a.self_test)
                return run_self_test(&a);
        return a.one ? run_one(&a) : run_many(&a);
}
