/*
 * The grip on a service: a hold of the engine arms it, and when no newer one comes in time it lets
 * go by itself, step by step, until it is proved that nothing of the service acts any more.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/executor-private.h"
#include "daemon/journal.h"

/* Explained in packaging/failoverd.catalog. */
#define MESSAGE_LETTING_GO "2f0d8f7a4c5b4b0e9d3c6a1e7b85d210"
#define MESSAGE_CLOSED "6b1f0a8de3f74d5c8f6f2f0b9a4c7e33"
#define MESSAGE_UNPROVED "a9d3c0e15b0f4e7bb2d45c8f10e6973a"

static bool is_letting_go(const struct service *s)
{
        return s->grip > GRIP_HELD;
}

/* When the next thing happens in the state that @s is in. */
static struct instant next_alarm(const struct service *s, struct instant now)
{
        usec_t hard = s->conf->demote_hard;

        switch (s->grip) {
        case GRIP_NONE:
                return INSTANT_FOREVER;
        case GRIP_HELD:
                return s->hold.demote_at;
        case GRIP_SOFT:
                return instant_before(s->hold.close_by, hard);
        case GRIP_HARD:
                return instant_before(s->hold.close_by, hard / 2);
        case GRIP_KILL:
                /* After a pause of ours it is late already, and killing still takes its time. */
                return instant_later(s->hold.close_by, instant_after(now, hard / 2));
        case GRIP_UNPROVED:
                return instant_after(now, UNPROVED_RETRY);
        }
        return INSTANT_FOREVER;
}

static int arm(struct service *s)
{
        int r = clock_arm(s->timer_fd, s->alarm);

        if (r < 0) {
                /* Without a timer nothing may be held; the others' deadlines still stand. */
                s->executor->result = log_error(r, "cannot arm the timer of %s", s->conf->name);
                (void)event_base_loopbreak(s->executor->base); /* fails only without a loop */
        }
        return r;
}

static int set_grip(struct service *s, enum grip grip)
{
        s->grip = grip;
        s->alarm = next_alarm(s, clock_now());
        return arm(s);
}

void grip_tell_closed(struct service *s)
{
        struct executor *x = s->executor;

        if (!s->closed_untold || !x->engine.link)
                return;
        s->closed_untold = false;
        executor_tell_engine(x, json_pack("{s:s, s:s, s:I, s:b, s:s}", "type", "closed", "service",
                                          s->conf->name, "epoch", (json_int_t)s->hold.epoch, "ok",
                                          (int)s->closed_ok, "reason", s->closed_reason));
}

static void say_closed(struct service *s, bool ok, const char *reason)
{
        s->closed_untold = true;
        s->closed_ok = ok;
        (void)snprintf(s->closed_reason, sizeof(s->closed_reason), "%s", reason); /* may be cut */
        grip_tell_closed(s);
}

/* Nothing of the service acts: whoever keeps a deadline of this epoch may forget it. */
static void forget_hold(struct service *s)
{
        cluster_kill_cancel(s);
        if (s->agent)
                agent_release(s->agent, s->hold.epoch);
        files_remove_hold(s);
        s->epoch_dead = s->hold.epoch;
        (void)set_grip(s, GRIP_NONE); /* logged, and ends the executor */
}

static void finish(struct service *s)
{
        usec_t took = instant_until(clock_now(), s->letting_go_since);

        log_event(&(struct log_fields){ .priority = LOG_NOTICE,
                                        .service = s->conf->name,
                                        .epoch = s->hold.epoch,
                                        .took = took,
                                        .message_id = MESSAGE_CLOSED },
                  "let go: it is proved that nothing of it serves here");
        forget_hold(s);
        say_closed(s, true, "the lease was not renewed in time");
}

/* Takes the addresses away; remembers in addresses_wanted if one may be left. */
static void take_addresses_away(struct service *s)
{
        char error[REASON_SIZE];
        int r;

        if (!s->addresses_wanted)
                return;
        r = addresses_remove(s, error, sizeof(error));
        if (r < 0 && !s->is_foreign_told)
                (void)log_error(0, "cannot take an address of %s away: %s", s->conf->name, error);
        s->is_foreign_told = r < 0;
}

static void let_go_softly(struct service *s)
{
        take_addresses_away(s);
        if (database_may_serve(s))
                agent_demote(s->agent, "fast");
}

static void let_go_hard(struct service *s)
{
        take_addresses_away(s);
        if (database_may_serve(s))
                agent_demote(s->agent, "kill");
}

static void kill_ourselves(struct service *s)
{
        take_addresses_away(s);
        if (database_may_serve(s))
                cluster_kill(s);
}

static void raise_alarm(struct service *s)
{
        char reason[REASON_SIZE];

        (void)snprintf(reason, sizeof(reason), "%s%s%s",
                       s->addresses_wanted ? "an address may still be here" : "",
                       s->addresses_wanted && database_may_serve(s) ? ", and " : "",
                       database_may_serve(s) ? "the database may still accept writes" : "");
        log_event(&(struct log_fields){ .priority = LOG_ALERT,
                                        .service = s->conf->name,
                                        .epoch = s->hold.epoch,
                                        .message_id = MESSAGE_UNPROVED },
                  "the lease is over and %s: another node may become master beside this one",
                  reason);
        say_closed(s, false, reason);
        kill_ourselves(s);
}

/* What is done when the time of a state is over. */
static const struct rung {
        enum grip from;
        void (*act)(struct service *s);
        enum grip to;
        const char *phrase;
} rungs[] = {
        { GRIP_HELD, let_go_softly, GRIP_SOFT, "the lease was not renewed in time: letting go" },
        { GRIP_SOFT, let_go_hard, GRIP_HARD, "the database is to be killed by its agent" },
        { GRIP_HARD, kill_ourselves, GRIP_KILL, "killing the database without its agent" },
        { GRIP_KILL, raise_alarm, GRIP_UNPROVED, "could not let go in time" },
        { GRIP_UNPROVED, kill_ourselves, GRIP_UNPROVED, NULL },
};

static void climb_down(struct service *s)
{
        const struct rung *rung = NULL;

        for (size_t i = 0; i < sizeof(rungs) / sizeof(rungs[0]); i++)
                if (rungs[i].from == s->grip)
                        rung = &rungs[i];
        if (!rung || set_grip(s, rung->to) < 0)
                return;
        if (rung->phrase)
                log_event(&(struct log_fields){ .priority = LOG_WARNING,
                                                .service = s->conf->name,
                                                .epoch = s->hold.epoch,
                                                .message_id = MESSAGE_LETTING_GO },
                          "%s", rung->phrase);
        rung->act(s);
        grip_reconsider(s);
}

static void begin_letting_go(struct service *s)
{
        s->letting_go_since = clock_now();
        s->is_foreign_told = false;
        climb_down(s);
}

void grip_reconsider(struct service *s)
{
        if (is_letting_go(s) && !s->addresses_wanted && !database_may_serve(s))
                finish(s);
}

static void on_alarm(evutil_socket_t fd, short what, void *userdata)
{
        struct service *s = userdata;
        uint64_t n;

        (void)what;
        if (read(fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
                (void)log_error(-errno, "cannot read the timer of %s", s->conf->name);
        if (!instant_reached(s->alarm, clock_now())) {
                (void)arm(s); /* the timer is early by design; a failure is logged */
                return;
        }
        if (s->grip == GRIP_HELD)
                begin_letting_go(s);
        else
                climb_down(s);
}

/* Why @hold is refused, or NULL. */
static const char *hold_refusal(const struct service *s, const struct hold *hold)
{
        struct instant now = clock_now();

        if (hold->epoch == 0 || hold->epoch < s->epoch_seen)
                return "its epoch is older than one known already";
        if (hold->epoch <= s->epoch_dead)
                return "that epoch was let go of";
        if (is_letting_go(s))
                return "letting go is under way";
        if (hold->demote_at.usec > hold->close_by.usec)
                return "it ends before letting go begins";
        if (hold->close_by.usec > instant_after(now, s->conf->ttl).usec)
                return "it is longer than the TTL";
        if (instant_reached(hold->demote_at, now))
                return "it is over already";
        return NULL;
}

static void grip_take(struct service *s, const struct hold *hold)
{
        bool is_new = s->grip != GRIP_HELD || s->hold.epoch != hold->epoch;
        int r;

        s->hold = *hold;
        s->epoch_seen = hold->epoch;
        if (set_grip(s, GRIP_HELD) < 0)
                return;
        /* A successor that finds an older file lets go earlier: a failure harms nobody. */
        r = files_write_hold(s);
        if (r < 0)
                (void)log_warning(r, "cannot write the file of the hold of %s", s->conf->name);
        addresses_refresh(s);
        if (s->agent)
                agent_hold(s->agent);
        executor_tell_engine(s->executor,
                             json_pack("{s:s, s:s, s:I, s:I}", "type", "ack", "service",
                                       s->conf->name, "epoch", (json_int_t)hold->epoch, "at",
                                       (json_int_t)clock_now().usec));
        if (is_new)
                log_event(&(struct log_fields){ .service = s->conf->name, .epoch = hold->epoch },
                          "held");
}

void grip_hold(struct service *s, const json_t *message)
{
        struct hold hold;
        const char *refusal;

        if (!message_get_u64(message, "epoch", &hold.epoch) ||
            !message_get_u64(message, "incarnation", &hold.incarnation) ||
            !message_get_u64(message, "demote_at", &hold.demote_at.usec) ||
            !message_get_u64(message, "close_by", &hold.close_by.usec)) {
                (void)log_warning(0, "refused a hold of %s: it is not complete", s->conf->name);
                return;
        }
        refusal = hold_refusal(s, &hold);
        if (refusal) {
                (void)log_warning(0, "refused the hold of %s under epoch %" PRIu64 ": %s",
                                  s->conf->name, hold.epoch, refusal);
                return;
        }
        grip_take(s, &hold);
}

void grip_release(struct service *s, uint64_t epoch)
{
        if (s->grip != GRIP_HELD || s->hold.epoch != epoch) {
                log_debug("nothing to release of %s under epoch %" PRIu64, s->conf->name, epoch);
                return;
        }
        if (s->addresses_wanted || database_may_serve(s)) {
                (void)log_warning(0, "%s is released under epoch %" PRIu64 " but still serves",
                                  s->conf->name, epoch);
                begin_letting_go(s);
                return;
        }
        log_event(&(struct log_fields){ .service = s->conf->name, .epoch = epoch }, "released");
        forget_hold(s);
}

bool grip_allows(const struct service *s, uint64_t epoch, usec_t budget)
{
        struct instant now = clock_now();

        return s->grip == GRIP_HELD && s->hold.epoch == epoch &&
               !instant_reached(s->hold.demote_at, now) &&
               !instant_reached(s->hold.close_by, instant_after(now, budget));
}

/*
 * The time of the file is over: whoever it was for has lost the lease. If the postmaster of that
 * time still runs, its agent has not closed it either, and there is no time left for good order.
 */
static void continue_letting_go(struct service *s)
{
        struct instant now = clock_now();
        usec_t time = s->conf->demote_hard;

        /* Without it others of its processes may be left: that is for the agent to find out. */
        if (!cluster_is_alive(s))
                time += s->conf->demote_soft;
        s->hold.demote_at = now;
        s->hold.close_by = instant_after(now, time);
        begin_letting_go(s);
}

void grip_adopt(struct service *s)
{
        switch (files_read_hold(s)) {
        case FILES_HOLD_NONE:
                files_remove_hold(s);
                return;
        case FILES_HOLD_LIVE:
                s->epoch_seen = s->hold.epoch;
                (void)set_grip(s, GRIP_HELD); /* logged, and ends the executor */
                log_event(&(struct log_fields){ .priority = LOG_NOTICE,
                                                .service = s->conf->name,
                                                .epoch = s->hold.epoch,
                                                .took = instant_until(s->hold.demote_at,
                                                                      clock_now()) },
                          "adopted the hold of an earlier failoverd; it still has");
                return;
        case FILES_HOLD_OVER:
                s->epoch_seen = s->hold.epoch;
                s->grip = GRIP_HELD;
                continue_letting_go(s);
                return;
        }
}

int grip_new(struct service *s)
{
        s->alarm = INSTANT_FOREVER;
        s->timer_fd = clock_timer_new();
        if (s->timer_fd < 0)
                return s->timer_fd;
        s->timer = event_new(s->executor->base, s->timer_fd, EV_READ | EV_PERSIST, on_alarm, s);
        if (!s->timer || event_priority_set(s->timer, PRIORITY_DEADLINE) < 0 ||
            event_add(s->timer, NULL) < 0)
                return -ENOMEM;
        return 0;
}

void grip_done(struct service *s)
{
        if (s->timer)
                event_free(s->timer);
        if (s->timer_fd >= 0)
                (void)close(s->timer_fd); /* a timer */
}
