/*
 * Locks and elections: wait for the turn, run a command during it, and end the command before the
 * turn can be anybody else's. The argument stands in docs/failoverctl.md; the rules L1 to L12 are those
 * of docs/leases.md.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/failoverctl/ctl.h"
#include "daemon/failoverctl/guard.h"
#include "daemon/failoverctl/lock.h"
#include "daemon/failoverctl/ticket.h"
#include "election/base/chain.h"

#define LOCK_TTL (10 * USEC_PER_SEC)
#define TTL_MAX (24 * 3600 * USEC_PER_SEC)

enum {
        RENEW_PART = 8, /* of the TTL: how often it is renewed */
        GRACE_PART = 5, /* between TERM and KILL */
        HARD_PART = 20, /* what killing may take */
        ATTEMPTS_MIN = 3, /* renewals that must fit in before the command is ended */
        SIGNALLED = 128, /* as shells have it */
};

#define RENEW_MAX (5 * USEC_PER_SEC)
#define HARD_MIN (30 * USEC_PER_MSEC)
#define HARD_MAX (500 * USEC_PER_MSEC)
#define QUESTION_MIN (200 * USEC_PER_MSEC)
#define QUESTION_MAX (2 * USEC_PER_SEC)
#define KILL_AGAIN (10 * USEC_PER_MSEC)

struct lock {
        struct ctl *c;
        const struct lock_kind *kind;
        const char *name;
        char **program; /* NULL: hold until standard input ends */
        struct ticket ticket;
        struct lease_chain chain;
        usec_t grace;
        usec_t renew;
        struct instant again; /* when to renew next */
        int signals; /* a signalfd */
        int timer;
        struct guard guard;
        bool is_guarded; /* the command runs, or is being ended */
        int status; /* of the command, when it is over */
        usec_t began;
};

/* Times. */

static bool choose_times(struct lock *l, usec_t ttl)
{
        usec_t hard = ttl / HARD_PART;

        hard = hard < HARD_MIN ? HARD_MIN : hard > HARD_MAX ? HARD_MAX : hard;
        l->grace = l->c->options.grace ? l->c->options.grace : ttl / GRACE_PART;
        l->renew = ttl / RENEW_PART < RENEW_MAX ? ttl / RENEW_PART : RENEW_MAX;
        l->chain = lease_chain_of(ttl, l->grace, hard);
        if (ttl == 0 || ttl > TTL_MAX || l->chain.demote < ATTEMPTS_MIN * l->renew) {
                fputs("failoverctl: --ttl is from 1 s to a day, and --grace at most a half of it\n",
                      stderr);
                return false;
        }
        return true;
}

static struct instant demote_at(const struct lock *l)
{
        return instant_after(l->ticket.stamp, l->chain.demote);
}

static struct instant kill_at(const struct lock *l)
{
        return instant_after(demote_at(l), l->grace);
}

static struct instant end_at(const struct lock *l)
{
        return instant_after(l->ticket.stamp, l->chain.end);
}

static struct guard_times times_of(const struct lock *l)
{
        return (struct guard_times){ demote_at(l), kill_at(l), l->grace };
}

/* Waking up. */

static bool open_descriptors(struct lock *l)
{
        static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
        sigset_t signals;

        (void)sigemptyset(&signals);
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
                struct sigaction now;

                /* What is ignored stays so: nohup. */
                if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
                        (void)sigaddset(&signals, numbers[i]);
        }
        l->signals = sigprocmask(SIG_BLOCK, &signals, NULL) < 0
                             ? -1
                             : signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
        l->timer = ctl_lease_timer();
        if (l->signals < 0 || l->timer < 0) {
                fprintf(stderr, "failoverctl: cannot prepare: %s\n", strerror(errno));
                return false;
        }
        l->c->wakes[0] = l->signals;
        l->c->n_wakes = 1;
        return true;
}

/* Until @then at the latest; returns whether one of the wakes is readable. */
static bool sleep_until(struct lock *l, struct instant then)
{
        struct pollfd fds[CTL_WAKES_MAX + 1] = { { .fd = l->timer, .events = POLLIN } };
        uint64_t expirations;

        for (size_t i = 0; i < l->c->n_wakes; i++)
                fds[i + 1] = (struct pollfd){ .fd = l->c->wakes[i], .events = POLLIN };
        if (ctl_lease_arm(l->timer, then) < 0)
                abort(); /* the guard ends the command */
        (void)poll(fds, (nfds_t)l->c->n_wakes + 1, -1);
        (void)read(l->timer, &expirations, sizeof(expirations)); /* armed anew before each use */
        return ctl_is_woken(l->c);
}

/* Waiting for the turn. */

static bool is_late(const struct lock *l)
{
        return l->c->options.timeout && ctl_now() - l->began >= l->c->options.timeout;
}

static struct instant wait_limit(const struct lock *l, struct instant then)
{
        usec_t spent = ctl_now() - l->began;
        usec_t timeout = l->c->options.timeout;

        if (!timeout)
                return then;
        return instant_earlier(
                then, instant_after(ctl_lease_now(), spent < timeout ? timeout - spent : 0));
}

static void plan_renewal(struct lock *l, enum ticket_outcome outcome)
{
        l->again = instant_after(outcome == TICKET_OURS ? l->ticket.stamp : ctl_lease_now(),
                                 outcome == TICKET_OURS ? l->renew : l->renew / 4);
}

/* One step towards the turn. TICKET_OURS with @ret true: it is ours now. */
static enum ticket_outcome step(struct lock *l, bool *ret)
{
        struct ticket_place place;
        enum ticket_outcome outcome = TICKET_OURS;

        if (l->ticket.epoch == 0)
                outcome = ticket_draw(&l->ticket);
        else if (instant_reached(l->again, ctl_lease_now()))
                outcome = ticket_renew(&l->ticket);
        if (outcome == TICKET_OURS)
                outcome = ticket_look(&l->ticket, &place);
        if (outcome != TICKET_OURS)
                return outcome;
        plan_renewal(l, TICKET_OURS);
        if (!place.is_first) {
                ticket_wait(&l->ticket, &place, wait_limit(l, l->again));
                return TICKET_OURS;
        }
        /* Nobody can come before us any more. One renewal gives the turn its whole length. */
        outcome = ticket_renew(&l->ticket);
        *ret = outcome == TICKET_OURS;
        return outcome;
}

static enum ctl_exit end_early(struct lock *l, const char *why, enum ctl_exit exit_status)
{
        fprintf(stderr, "failoverctl: %s\n", why);
        ticket_leave(&l->ticket);
        return exit_status;
}

static enum ctl_exit wait_for_turn(struct lock *l)
{
        bool is_ours = false, is_unknown = false;

        while (!is_late(l)) {
                enum ticket_outcome outcome = step(l, &is_ours);

                if (is_ours)
                        return CTL_YES;
                if (outcome == TICKET_REFUSED)
                        return CTL_NO;
                if (ctl_is_woken(l->c))
                        return end_early(l, "ended by a signal", CTL_NO);
                is_unknown = outcome == TICKET_UNKNOWN;
                if (outcome == TICKET_GONE)
                        l->ticket.epoch = 0; /* we were silent for too long: a new place */
                if (is_unknown)
                        (void)sleep_until(
                                l, wait_limit(l, instant_after(ctl_lease_now(), l->renew / 4)));
        }
        return end_early(l, is_unknown ? "no majority answers" : "others have it", CTL_TIMED_OUT);
}

/* Having the turn. */

static void set_variable(const char *name, const char *value)
{
        if (setenv(name, value, 1) < 0)
                fprintf(stderr, "failoverctl: cannot set %s\n", name);
}

static void set_environment(const struct lock *l)
{
        char number[32];

        set_variable(l->kind->variable, l->name);
        set_variable("FAILOVER_KEY", l->ticket.key);
        set_variable("FAILOVER_VALUE", l->ticket.value);
        (void)snprintf(number, sizeof(number), "%" PRIu64, l->ticket.epoch);
        set_variable("FAILOVER_EPOCH", number);
        (void)snprintf(number, sizeof(number), "%" PRIu64, l->ticket.ttl / USEC_PER_SEC);
        set_variable("FAILOVER_TTL", number);
}

static void print_turn(const struct lock *l)
{
        if (l->c->options.json) {
                json_t *o = json_pack("{s:s, s:s, s:s, s:I}", "name", l->name, "key", l->ticket.key,
                                      "value", l->ticket.value, "epoch",
                                      (json_int_t)l->ticket.epoch);

                ctl_print_json(o);
                json_decref(o);
        } else if (l->kind->shows_value) {
                printf("%s\n%s\n", l->ticket.key, l->ticket.value);
        } else {
                printf("%s\n", l->ticket.key);
        }
        (void)fflush(stdout); /* who cannot hear it does not matter */
}

static bool begin(struct lock *l)
{
        int r;

        if (!l->program) {
                print_turn(l);
                l->c->wakes[l->c->n_wakes++] = STDIN_FILENO;
                return true;
        }
        set_environment(l);
        ctl_client_done(l->c); /* our connections are none of the command's */
        r = guard_start(&l->guard, l->program, times_of(l));
        if (r < 0) {
                fprintf(stderr, "failoverctl: cannot start the command: %s\n", strerror(-r));
                return false;
        }
        l->is_guarded = true;
        l->c->wakes[l->c->n_wakes++] = l->guard.socket;
        return true;
}

/* Why a turn ends. */
enum end {
        STILL_OURS,
        COMMAND_ENDED,
        TOLD_TO_END,
        TAKEN_AWAY, /* the key is gone, or another's */
        RAN_OUT, /* nobody confirmed a renewal in time */
};

/* The guard is gone: what it left is killed, for as long as there is something. */
static void kill_rest(struct lock *l)
{
        bool is_told = false;

        while (!guard_kill(&l->guard)) {
                if (!is_told && instant_reached(end_at(l), ctl_lease_now())) {
                        fputs("failoverctl: ALARM: the command does not die, and its time is over\n",
                              stderr);
                        is_told = true;
                }
                ctl_pause(KILL_AGAIN);
        }
        l->is_guarded = false;
        l->status = SIGKILL; /* as waitpid() has it */
}

static enum end hear_guard(struct lock *l)
{
        switch (guard_read(&l->guard, &l->status)) {
        case GUARD_ENDED:
                l->is_guarded = false;
                return COMMAND_ENDED;
        case GUARD_DIED:
                fputs("failoverctl: the guard has died\n", stderr);
                kill_rest(l);
                return COMMAND_ENDED;
        case GUARD_NOTHING:
                break;
        }
        return STILL_OURS;
}

/* Reads what nobody needs; returns whether there will be no more. */
static bool has_input_ended(void)
{
        struct pollfd fd = { .fd = STDIN_FILENO, .events = POLLIN };
        char bytes[4096];

        return poll(&fd, 1, 0) > 0 && read(STDIN_FILENO, bytes, sizeof(bytes)) <= 0;
}

static enum end look_at_wakes(struct lock *l)
{
        struct signalfd_siginfo info;

        if (read(l->signals, &info, sizeof(info)) > 0)
                return TOLD_TO_END;
        if (l->is_guarded)
                return hear_guard(l);
        return !l->program && has_input_ended() ? TOLD_TO_END : STILL_OURS;
}

static enum end renew(struct lock *l)
{
        size_t n_wakes = l->c->n_wakes;
        enum ticket_outcome outcome;

        if (!l->program)
                l->c->n_wakes = 1; /* input that nobody needs shall not disturb it */
        l->ticket.limit = demote_at(l);
        outcome = ticket_renew(&l->ticket);
        l->c->n_wakes = n_wakes;
        plan_renewal(l, outcome);
        if (outcome == TICKET_OURS && l->is_guarded)
                guard_hold(&l->guard, times_of(l));
        return outcome == TICKET_GONE || outcome == TICKET_REFUSED ? TAKEN_AWAY : STILL_OURS;
}

static enum end hold(struct lock *l)
{
        struct instant dead;

        for (;;) {
                enum end end = look_at_wakes(l);

                if (end != STILL_OURS)
                        return end;
                dead = demote_at(
                        l); /* an answer that comes later than that changes nothing (L12) */
                if (instant_reached(dead, ctl_lease_now()))
                        return RAN_OUT;
                if (instant_reached(l->again, ctl_lease_now()))
                        end = renew(l);
                if (end != STILL_OURS)
                        return end;
                if (instant_reached(dead, ctl_lease_now()))
                        return RAN_OUT;
                (void)sleep_until(l, instant_earlier(l->again, demote_at(l)));
        }
}

/*
 * Nothing of the command is left when this returns. The guard has its deadlines by itself; if it
 * does not report in time, it is stopped or worse, and both are killed from here.
 */
static void end_command(struct lock *l, bool hard)
{
        struct instant last = instant_after(kill_at(l), KILL_AGAIN);

        if (hard)
                last = instant_earlier(last, instant_after(ctl_lease_now(), KILL_AGAIN));
        l->c->wakes[0] = l->guard.socket;
        l->c->n_wakes = 1;
        guard_end(&l->guard, hard);
        while (hear_guard(l) == STILL_OURS) {
                if (instant_reached(last, ctl_lease_now())) {
                        kill_rest(l);
                        return;
                }
                (void)sleep_until(l, last);
        }
}

static enum ctl_exit exit_of(const struct lock *l, enum end end)
{
        if (end == TAKEN_AWAY) {
                fprintf(stderr, "failoverctl: %s was taken away\n", l->ticket.key);
                return CTL_NO;
        }
        if (end == RAN_OUT) {
                fprintf(stderr, "failoverctl: no majority has confirmed %s in time\n",
                        l->ticket.key);
                return CTL_UNKNOWN;
        }
        if (!l->program)
                return CTL_YES;
        /* The command's own status is ours. */
        return (enum ctl_exit)(WIFEXITED(l->status) ? WEXITSTATUS(l->status)
                                                    : SIGNALLED + WTERMSIG(l->status));
}

static enum ctl_exit have_turn(struct lock *l)
{
        enum ctl_exit exit_status = CTL_UNKNOWN;

        if (begin(l)) {
                enum end end = hold(l);

                if (l->is_guarded)
                        end_command(l, end == TAKEN_AWAY);
                if (l->program)
                        guard_done(&l->guard);
                exit_status = exit_of(l, end);
        }
        l->ticket.limit = INSTANT_FOREVER;
        ticket_leave(&l->ticket); /* L7: nothing acts any more */
        return exit_status;
}

enum ctl_exit lock_run(struct ctl *c, const struct lock_kind *kind, const char *value)
{
        struct lock lock = { .c = c,
                             .kind = kind,
                             .name = c->options.arguments[0],
                             .program = c->options.program,
                             .began = ctl_now() };
        usec_t ttl = c->options.given & CTL_OPTION_TTL ? c->options.ttl : LOCK_TTL;
        struct lock *l = &lock;
        enum ctl_exit exit_status;

        if (!choose_times(l, ttl) || !ticket_init(&l->ticket, c, kind->folder, l->name, value, ttl))
                return CTL_USAGE;
        l->ticket.timeout = l->renew < QUESTION_MIN   ? QUESTION_MIN
                            : l->renew > QUESTION_MAX ? QUESTION_MAX
                                                      : l->renew;
        if (!open_descriptors(l))
                return CTL_UNKNOWN;
        exit_status = wait_for_turn(l);
        return exit_status == CTL_YES ? have_turn(l) : exit_status;
}

enum ctl_exit ctl_lock(struct ctl *c)
{
        static const struct lock_kind kind = { "/_locks", "FAILOVER_LOCK", false };
        char host[NAME_SIZE] = "", value[NAME_SIZE + 32];

        (void)gethostname(host, sizeof(host) - 1); /* for people who look who has it */
        (void)snprintf(value, sizeof(value), "%s:%d", host, (int)getpid());
        return lock_run(c, &kind, value);
}
