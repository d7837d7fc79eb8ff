/*
 * The engine's loop: what happens becomes an event of the core, what the core wants done is carried
 * out. No decision is made here.
 */
#include "daemon/engine.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/api.h"
#include "daemon/clock.h"
#include "daemon/disk.h"
#include "daemon/engine-hands.h"
#include "daemon/engine-internal.h"
#include "daemon/journal.h"
#include "daemon/link.h"
#include "daemon/peers.h"
#include "daemon/wal.h"
#include "election/describe.h"

#define CLIENTS_FEW 4
#define TURN_MAX (2 * USEC_PER_MSEC)
#define TIMER_MAX (10 * USEC_PER_SEC)

static void stop(struct engine *e, int exit_status)
{
        e->exit_status = exit_status;
        (void)event_base_loopbreak(e->base); /* fails only without a loop */
}

/* Effects. */

static void persist(struct engine *e, const struct raft_persist *p)
{
        size_t n = p->first ? (size_t)(p->last - p->first + 1) : 0;
        _cleanup_(freep)
        struct wal_entry *entries = calloc(n ? n : 1, sizeof(*entries));
        struct wal_batch batch = { .has_hard_state = p->has_hard_state,
                                   .term = p->term,
                                   .vote = p->vote,
                                   .snapshot_index = p->snapshot_index,
                                   .snapshot_term = p->snapshot_term,
                                   .snapshot_resets = p->snapshot_resets,
                                   .truncate_from = p->truncate_from,
                                   .entries = entries,
                                   .n_entries = n };
        int r = entries ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i < n; i++) {
                const struct raft_entry *entry = node_entry_at(e->node, p->first + i);

                entries[i] = (struct wal_entry){ .index = entry->index,
                                                 .term = entry->term,
                                                 .type = (uint8_t)entry->type,
                                                 .bytes = entry->bytes,
                                                 .n = entry->n };
        }
        if (r == 0)
                r = disk_submit(e->disk, p->generation, &batch);
        engine_snapshot_recording(e, p);
        if (r < 0) {
                (void)log_error(r, "cannot write the log, ending without promising anything more");
                stop(e, EXIT_FAILURE);
        }
}

static int priority_of(const struct node_note *note)
{
        switch (note->type) {
        case NODE_NOTE_EXPIRY_EARLY:
                return LOG_ALERT;
        case NODE_NOTE_LEASE_REFUSED:
        case NODE_NOTE_LEASE_RAN_OUT:
        case NODE_NOTE_BAD_MESSAGE:
                return LOG_WARNING;
        case NODE_NOTE_STEP_ENDED:
                return note->ok ? LOG_INFO : LOG_WARNING;
        case NODE_NOTE_MOVED:
                return note->state_to == FAILOVER_FENCED ? LOG_ALERT : LOG_NOTICE;
        case NODE_NOTE_ROLE:
        case NODE_NOTE_LEASE_GRANTED:
        case NODE_NOTE_LEASE_EXPIRED:
        case NODE_NOTE_LEASE_RELEASED:
        case NODE_NOTE_FAILOVER:
                return LOG_NOTICE;
        case NODE_NOTE_RAFT:
                return note->raft == RAFT_NOTE_PEER_LOST_LOG ? LOG_ALERT : LOG_INFO;
        case NODE_NOTE_MEMBERS:
        case NODE_NOTE_SNAPSHOT_TAKEN:
        case NODE_NOTE_SNAPSHOT_SENT:
        case NODE_NOTE_SNAPSHOT_INSTALLED:
        case NODE_NOTE_CURRENT:
        case NODE_NOTE_EXPIRY_REFUSED:
        case NODE_NOTE_STEP_STARTED:
                return LOG_INFO;
        }
        return LOG_INFO;
}

static void journal(struct engine *e, const struct node_note *note)
{
        bool has_service = note->service < e->conf->n_services;
        struct log_fields fields = {
                .priority = priority_of(note),
                .service = has_service ? e->conf->services[note->service]->name : NULL,
                .epoch = note->epoch,
                .role = note->type == NODE_NOTE_MOVED ? failover_state_name(note->state_to) : NULL,
                .took = note->took,
        };
        char words[FAILOVER_REASON_SIZE * 2];
        const char *text = words;

        describe_note(note, &e->names, words, sizeof(words));
        /* The record has the service as a field: it need not say it twice. */
        if (has_service && strncmp(words, "service ", 8) == 0 && strstr(words, ": "))
                text = strstr(words, ": ") + 2;
        log_event(&fields, "%s", text);
        if (note->type == NODE_NOTE_MOVED)
                hands_tell_state(e->link, fields.service, fields.role,
                                 failover_state_phrase(note->state_to));
}

static void carry_out(struct engine *e, const struct node_effect *effect)
{
        switch (effect->type) {
        case NODE_PERSIST:
                persist(e, &effect->persist);
                break;
        case NODE_SEND:
                /* What cannot be sent now is lost, as on any network. */
                (void)peers_send(e->peers, effect->to, effect->bytes, effect->n);
                break;
        case NODE_ANSWERED:
                engine_answered(e, effect);
                break;
        case NODE_HOLD:
        case NODE_LET_GO:
        case NODE_RUN:
        case NODE_CANCEL:
                hands_tell(e->link, e->conf, effect);
                break;
        case NODE_WOKEN:
                api_woken(e->api, effect->watchers, effect->n_watchers);
                break;
        case NODE_MEMBERS:
                e->is_list_new = true;
                engine_come_later(e);
                break;
        case NODE_SNAPSHOT_TAKE:
                engine_snapshot_take(e, effect);
                break;
        case NODE_SNAPSHOT_READ:
                engine_snapshot_read(e, effect);
                break;
        case NODE_SNAPSHOT_WRITE:
                engine_snapshot_write(e, effect);
                break;
        case NODE_NOTE:
                journal(e, &effect->note);
                api_noted(e->api, &effect->note);
                break;
        }
}

/*
 * The loop's clock has other units and another rate, and most deadlines move on before they come: a
 * timer that comes early does no harm, and is armed anew then.
 */
static void arm_timer(struct engine *e)
{
        struct instant deadline = node_deadline(e->node);
        struct timeval tv;
        usec_t wait;

        if (instant_reached(e->timer_at, deadline))
                return;
        wait = instant_until(deadline, clock_now());
        if (wait > TIMER_MAX)
                wait = TIMER_MAX;
        tv = (struct timeval){ .tv_sec = (time_t)(wait / USEC_PER_SEC),
                               .tv_usec = (suseconds_t)(wait % USEC_PER_SEC) };
        e->timer_at = deadline;
        if (evtimer_add(e->timer, &tv) < 0) {
                (void)log_error(-ENOMEM, "cannot arm the timer");
                stop(e, EXIT_FAILURE);
        }
}

/* How many clients an effect speaks to. */
static size_t clients_of(const struct node_effect *effect)
{
        if (effect->type == NODE_ANSWERED)
                return 1;
        return effect->type == NODE_WOKEN ? effect->n_watchers : 0;
}

/*
 * Clients come after disk and members, who can work meanwhile: to tell hundreds of clients takes
 * milliseconds.
 */
static void carry_out_all(struct engine *e, const struct node_effects *effects)
{
        size_t n_clients = 0;

        for (size_t i = 0; i < effects->n; i++) {
                n_clients += clients_of(&effects->list[i]);
                if (clients_of(&effects->list[i]) == 0)
                        carry_out(e, &effects->list[i]);
        }
        if (n_clients > CLIENTS_FEW)
                peers_flush(e->peers);
        for (size_t i = 0; n_clients > 0 && i < effects->n; i++)
                if (clients_of(&effects->list[i]) > 0)
                        carry_out(e, &effects->list[i]);
}

/* Lets one event happen at the time that it is now (rule L4: the clock is read after it came). */
static void step(struct engine *e, struct node_event *event)
{
        struct node_effects effects;

        e->now = instant_later(clock_now(), e->now);
        event->now = e->now;
        event->wall = clock_wall();
        node_step(e->node, event, &effects);
        carry_out_all(e, &effects);
}

/* What the events of one turn of the loop have brought about goes out together. */
static void end_turn(struct engine *e)
{
        e->is_in_turn = false;
        if (instant_reached(node_deadline(e->node), clock_now()))
                step(e, &(struct node_event){ .type = NODE_TIMEOUT });
        peers_flush(e->peers);
        arm_timer(e);
}

static void begin_turn(struct engine *e)
{
        e->is_in_turn = true;
        e->turn_began = clock_now();
        event_active(e->turn_end, EV_TIMEOUT, 0); /* behind all that is active already */
}

void engine_feed(struct engine *e, struct node_event *event)
{
        event->more = true;
        step(e, event);
        if (!e->is_in_turn)
                begin_turn(e);
        else if (instant_reached(instant_after(e->turn_began, TURN_MAX), e->now))
                end_turn(e); /* the others do not wait until we have read all that there is */
}

/* Events. */

static void on_timer(evutil_socket_t fd, short what, void *userdata)
{
        struct engine *e = userdata;

        (void)fd;
        (void)what;
        e->timer_at = INSTANT_FOREVER;
        if (!e->is_in_turn)
                begin_turn(e);
}

static void on_turn_end(evutil_socket_t fd, short what, void *userdata)
{
        (void)fd;
        (void)what;
        end_turn(userdata);
}

static void look_at_space(struct engine *e, int space_error)
{
        bool is_news = (space_error < 0) != (e->space_error < 0);

        e->space_error = space_error;
        if (!is_news)
                return;
        if (space_error < 0)
                (void)log_warning(space_error,
                                  "no room for the next segment of the log: no new writes until "
                                  "there is");
        else
                log_info("there is room for the log again");
        engine_feed(e, &(struct node_event){ .type = NODE_SPACE, .ok = space_error == 0 });
}

static void on_disk(evutil_socket_t fd, short what, void *userdata)
{
        struct engine *e = userdata;
        struct disk_progress p = disk_completed(e->disk);

        (void)fd;
        (void)what;
        if (p.error < 0) {
                (void)log_error(p.error,
                                "the log cannot be written, ending without promising more");
                stop(e, EXIT_FAILURE);
                return;
        }
        look_at_space(e, p.space_error);
        if (p.generation == e->generation)
                return;
        e->generation = p.generation;
        engine_snapshot_persisted(e);
        engine_feed(e, &(struct node_event){ .type = NODE_PERSISTED, .generation = p.generation });
}

static void on_received(void *userdata, node_id from, const uint8_t *bytes, size_t n)
{
        engine_feed(userdata,
                    &(struct node_event){
                            .type = NODE_RECEIVED, .from = from, .bytes = bytes, .n = n });
}

/* The core keeps in the log whose disk is whose. */
static void tell_seen(struct engine *e, node_id id)
{
        struct peers_status status;

        if (peers_status(e->peers, id, &status))
                engine_feed(e, &(struct node_event){ .type = NODE_SEEN,
                                                     .from = id,
                                                     .incarnation = status.incarnation });
}

static void on_peers_event(void *userdata, const struct peers_event *event)
{
        struct engine *e = userdata;
        const struct conf_member *m = conf_member_by_id(e->conf, event->node);
        const char *name = m ? m->name : "a stranger";

        switch (event->type) {
        case PEERS_UP:
                log_info("connected to %s", name);
                tell_seen(e, event->node);
                break;
        case PEERS_DOWN:
                log_info("lost the connection to %s: %s", name, event->reason);
                break;
        case PEERS_HEARD:
                log_debug("%s is connected to us", name);
                break;
        case PEERS_LOST:
                log_debug("%s is no longer connected to us: %s", name, event->reason);
                /* A process that died closes its connections; whether it did, the others say. */
                engine_feed(e, &(struct node_event){ .type = NODE_SUSPECT, .from = event->node });
                break;
        case PEERS_REFUSED:
        case PEERS_STRANGER:
                (void)log_warning(0, "%s was refused: %s", name, event->reason);
                break;
        }
}

/* Effects are carried out one after the other; what would begin a new event waits until then. */
static void on_later(evutil_socket_t fd, short what, void *userdata)
{
        struct engine *e = userdata;

        (void)fd;
        (void)what;
        if (e->is_list_new) {
                e->is_list_new = false;
                engine_members_follow(e);
        }
        engine_snapshot_later(e);
}

void engine_come_later(struct engine *e)
{
        event_active(e->later, EV_TIMEOUT, 0);
}

static void on_terminate(evutil_socket_t fd, short what, void *userdata)
{
        (void)fd;
        (void)what;
        stop(userdata, EXIT_SUCCESS);
}

/* The core, once the executor has said what it holds. */

/* Without us in the list we are no member any more, and go by what the configuration says. */
static void name_ourselves(const struct engine *e, struct peers_config *ret)
{
        const struct conf_member *self = conf_member_by_name(e->conf, e->conf->node.name);

        for (unsigned i = 0; i < ret->n_members; i++) {
                if (ret->members[i].node == ret->self)
                        return;
        }
        ret->members[ret->n_members++] = (struct peers_member){
                .node = ret->self,
                .endpoint = { .address = self->address, .port = self->raft_port },
        };
        (void)log_warning(0, "this node is no member of the cluster any more");
}

static int start_peers(struct engine *e)
{
        struct peers_config config = { .cluster_id = e->recovered.identity.cluster_id,
                                       .self = e->recovered.identity.node,
                                       .incarnation = e->recovered.incarnation,
                                       .connect_timeout = 2 * e->conf->cluster.election_timeout,
                                       .seed = engine_random() };
        const struct peers_callbacks callbacks = { on_received, on_peers_event, e };

        config.n_members = engine_members_peers(e, config.members);
        name_ourselves(e, &config);
        return peers_new(e->base, &config, &callbacks, &e->peers);
}

/* The executor's first message: from here on the node takes part. */
static void on_hello(struct engine *e, json_t *message)
{
        struct node_adopted adopted[SERVICES_MAX];
        size_t n = hands_read_holds(e->conf, message, adopted, SERVICES_MAX);
        int r;

        for (size_t i = 0; i < n; i++)
                log_info("service %s: the hands still hold lease %" PRIu64,
                         e->conf->services[adopted[i].service]->name, adopted[i].epoch);
        r = engine_node_start(e, adopted, n);
        if (r == 0)
                r = start_peers(e);
        engine_start_forget(e);
        if (r < 0) {
                (void)log_error(r, "cannot listen for the other members");
                stop(e, EXIT_FAILURE);
                return;
        }
        r = api_new(e, &e->api);
        if (r < 0) {
                (void)log_error(r, "cannot listen on the API port");
                stop(e, EXIT_FAILURE);
                return;
        }
        (void)link_send(e->link, json_pack("{s:s}", "type", "ready"));
        engine_feed(e, &(struct node_event){ .type = NODE_TIMEOUT });
}

static void on_message(struct link *l, const char *type, json_t *message, void *userdata)
{
        struct engine *e = userdata;
        struct hands_event hands;

        (void)l;
        if (!e->node) {
                if (strcmp(type, "hello") == 0)
                        on_hello(e, message);
                return;
        }
        if (hands_read_event(e->conf, type, message, &hands))
                engine_feed(e, &hands.event);
}

static void on_link_closed(struct link *l, int r, void *userdata)
{
        struct engine *e = userdata;

        (void)l;
        if (r < 0)
                (void)log_error(r, "the executor cannot be understood");
        stop(e, r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* Start and end. */

static int name_things(struct engine *e)
{
        size_t n = e->conf->n_services;

        e->service_names = calloc(n ? n : 1, sizeof(*e->service_names));
        if (!e->service_names)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                e->service_names[i] = e->conf->services[i]->name;
        e->names.services = e->service_names;
        e->names.n_services = n;
        return 0;
}

/* Changes of what is waited for go to the kernel together: an idle group is mostly such changes. */
static struct event_base *new_base(void)
{
        struct event_config *config = event_config_new();
        struct event_base *base = NULL;

        if (config && event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) == 0)
                base = event_base_new_with_config(config);
        if (config)
                event_config_free(config);
        return base;
}

static int start(struct engine *e)
{
        static const struct link_events link_events = { on_message, on_link_closed };
        int fd, r;

        e->incarnation = engine_random();
        e->base = new_base();
        if (!e->base)
                return -ENOMEM;
        (void)event_base_priority_init(e->base, 2); /* cannot fail before the first event */
        e->timer = evtimer_new(e->base, on_timer, e);
        e->timer_at = INSTANT_FOREVER;
        e->turn_end = event_new(e->base, -1, 0, on_turn_end, e);
        e->later = event_new(e->base, -1, 0, on_later, e);
        e->terminate = evsignal_new(e->base, SIGTERM, on_terminate, e);
        if (!e->timer || !e->turn_end || !e->later || !e->terminate ||
            evsignal_add(e->terminate, NULL) < 0)
                return -ENOMEM;
        (void)signal(SIGPIPE, SIG_IGN); /* cannot fail for this signal */
        r = name_things(e);
        if (r < 0)
                return r;
        r = engine_log_open(e);
        if (r < 0)
                return r;
        e->disk_event = event_new(e->base, disk_fd(e->disk), EV_READ | EV_PERSIST, on_disk, e);
        if (!e->disk_event || event_add(e->disk_event, NULL) < 0)
                return -ENOMEM;
        fd = link_fd_inherited();
        if (fd < 0)
                return log_error(fd, "the engine is started by the executor, not by hand");
        return link_new(e->base, fd, 0, &link_events, e, &e->link);
}

static void done(struct engine *e)
{
        engine_requests_done(e);
        api_free(e->api);
        peers_free(e->peers);
        link_free(e->link);
        if (e->disk_event)
                event_free(e->disk_event);
        if (e->disk)
                disk_stop(e->disk);
        if (e->timer)
                event_free(e->timer);
        if (e->turn_end)
                event_free(e->turn_end);
        if (e->later)
                event_free(e->later);
        if (e->terminate)
                event_free(e->terminate);
        snapshots_free(e->snapshots);
        node_free(e->node);
        snapshot_reader_free(e->loaded);
        wal_recovered_done(&e->recovered);
        free(e->service_names);
        if (e->base)
                event_base_free(e->base);
}

int engine_main(struct conf *conf)
{
        struct engine e = { .conf = conf, .exit_status = EXIT_SUCCESS };
        int r = start(&e);

        if (r == 0 && event_base_dispatch(e.base) < 0)
                r = log_error(-EIO, "the event loop failed");
        done(&e);
        return r < 0 ? EXIT_FAILURE : e.exit_status;
}
