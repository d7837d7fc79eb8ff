/* Effects for the executor as JSON, and its messages as events of the core. */
#include "daemon/engine-hands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/journal.h"

static json_int_t integer(uint64_t value)
{
        return (json_int_t)value; /* instants, epochs and incarnations are below 2^63 */
}

static void tell(struct link *l, json_t *message)
{
        int r = link_send(l, message);

        if (r < 0)
                (void)log_error(r, "the executor cannot be told what to do");
}

static json_t *peer_object(const struct conf *conf, const struct conf_service *s, node_id id)
{
        const struct conf_member *m = conf_member_by_id(conf, id);
        char address[ADDRESS_SIZE];

        if (!m)
                return json_null();
        address_print(&m->address, address, sizeof(address));
        return json_pack("{s:s, s:s, s:i}", "name", m->name, "address", address, "port",
                         s->postgres ? s->postgres->port : 0);
}

/* What a step needs to know, by the agent protocol. */
static json_t *step_arguments(const struct conf *conf, const struct conf_service *s,
                              const struct node_run *run)
{
        switch (run->step) {
        case FAILOVER_STEP_DEMOTE:
                return json_pack("{s:s}", "mode", failover_mode_name(run->mode));
        case FAILOVER_STEP_BOOTSTRAP:
                return json_pack("{s:s}", "method", failover_bootstrap_name(run->bootstrap));
        case FAILOVER_STEP_REJOIN:
                return json_pack("{s:o, s:s}", "primary", peer_object(conf, s, run->peer), "method",
                                 "auto");
        case FAILOVER_STEP_CLONE:
                return json_pack("{s:o}", "primary", peer_object(conf, s, run->peer));
        default:
                return json_object();
        }
}

static json_t *hold_object(const struct conf_service *s, const struct node_effect *e)
{
        return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "type", "hold", "service", s->name,
                         "epoch", integer(e->epoch), "incarnation", integer(e->hold.incarnation),
                         "demote_at", integer(e->hold.demote_at.usec), "close_by",
                         integer(e->hold.close_by.usec), "valid_until",
                         integer(e->hold.valid_until.usec));
}

void hands_tell(struct link *l, const struct conf *conf, const struct node_effect *effect)
{
        const struct conf_service *s = conf->services[effect->service];

        switch (effect->type) {
        case NODE_HOLD:
                tell(l, hold_object(s, effect));
                break;
        case NODE_LET_GO:
                tell(l, json_pack("{s:s, s:s, s:I}", "type", "release", "service", s->name, "epoch",
                                  integer(effect->epoch)));
                break;
        case NODE_RUN:
                tell(l,
                     json_pack("{s:s, s:s, s:I, s:I, s:s, s:I, s:o}", "type", "run", "service",
                               s->name, "id", integer(effect->run.id), "epoch",
                               integer(effect->epoch), "step", failover_step_name(effect->run.step),
                               "deadline", integer(effect->run.deadline.usec), "args",
                               step_arguments(conf, s, &effect->run)));
                break;
        case NODE_CANCEL:
                tell(l, json_pack("{s:s, s:s, s:I}", "type", "cancel", "service", s->name, "id",
                                  integer(effect->id)));
                break;
        default:
                break;
        }
}

void hands_tell_state(struct link *l, const char *service, const char *role, const char *phrase)
{
        tell(l, json_pack("{s:s, s:s, s:s, s:s}", "type", "state", "service", service, "role", role,
                          "text", phrase));
}

/* The service that a message names; n_services if there is none. */
static size_t service_of(const struct conf *conf, const json_t *message)
{
        const char *name = message_get_string(message, "service");
        size_t i = 0;

        while (i < conf->n_services && (!name || strcmp(conf->services[i]->name, name) != 0))
                i++;
        return i;
}

static bool get_instant(const json_t *message, const char *key, struct instant *ret)
{
        return message_get_u64(message, key, &ret->usec);
}

size_t hands_read_holds(const struct conf *conf, const json_t *message, struct node_adopted *ret,
                        size_t max)
{
        const json_t *holds = json_object_get(message, "holds");
        size_t n = 0;

        for (size_t i = 0; i < json_array_size(holds) && n < max; i++) {
                const json_t *hold = json_array_get(holds, i);
                struct node_adopted a = { .service = service_of(conf, hold) };

                if (a.service == conf->n_services || !message_get_u64(hold, "epoch", &a.epoch) ||
                    !message_get_u64(hold, "incarnation", &a.incarnation) ||
                    !get_instant(hold, "demote_at", &a.demote_at) ||
                    !get_instant(hold, "close_by", &a.close_by)) {
                        (void)log_warning(0, "the executor holds something that is not configured");
                        continue;
                }
                ret[n++] = a;
        }
        return n;
}

static enum failover_database_state read_state(const char *name)
{
        for (enum failover_database_state s = FAILOVER_DATABASE_UNKNOWN;
             name && s <= FAILOVER_DATABASE_FOREIGN; s++) {
                if (strcmp(name, failover_database_state_name(s)) == 0)
                        return s;
        }
        return FAILOVER_DATABASE_UNKNOWN;
}

static enum failover_database_role read_role(const char *name)
{
        for (enum failover_database_role r = FAILOVER_ROLE_NONE; name && r <= FAILOVER_ROLE_STANDBY;
             r++) {
                if (strcmp(name, failover_database_role_name(r)) == 0)
                        return r;
        }
        return FAILOVER_ROLE_NONE;
}

/* The system identifier is too large for a JSON integer: it travels as digits. */
static uint64_t read_system_id(const json_t *message)
{
        const char *digits = message_get_string(message, "system_id");

        return digits ? strtoull(digits, NULL, 10) : 0;
}

static void read_position(const json_t *message, struct failover_position *ret)
{
        ret->system_id = read_system_id(message);
        (void)message_get_u64(message, "timeline", &ret->timeline); /* 0 if it is not told */
        (void)message_get_u64(message, "lsn", &ret->lsn);
}

static void read_status(const struct conf *conf, const json_t *message,
                        struct node_database_status *ret)
{
        const char *reason = message_get_string(message, "reason");
        const char *upstream = message_get_string(message, "upstream");

        *ret = (struct node_database_status){
                .state = read_state(message_get_string(message, "state")),
                .role = read_role(message_get_string(message, "role")),
                .healthy = message_is_true(message, "healthy"),
                .writable = message_is_true(message, "writable"),
                .streaming = message_is_true(message, "streaming"),
                .frozen = message_is_true(message, "frozen"),
                .clean = message_is_true(message, "clean"),
                .upstream = upstream ? conf_member_id(conf, upstream) : NODE_NOBODY,
        };
        read_position(message, &ret->position);
        if (reason)
                (void)strncpy(ret->reason, reason, sizeof(ret->reason) - 1);
}

bool hands_read_event(const struct conf *conf, const char *type, json_t *message,
                      struct hands_event *ret)
{
        struct node_event *e = &ret->event;

        *ret = (struct hands_event){ 0 };
        e->service = service_of(conf, message);
        if (e->service == conf->n_services)
                return false;
        e->ok = message_is_true(message, "ok");
        (void)message_get_u64(message, "epoch", &e->epoch); /* 0 where there is none */
        (void)message_get_u64(message, "id", &e->id);
        if (strcmp(type, "ack") == 0) {
                e->type = NODE_HANDS_ACK;
        } else if (strcmp(type, "status") == 0) {
                e->type = NODE_HANDS_STATUS;
                read_status(conf, message, &ret->status);
                e->status = &ret->status;
        } else if (strcmp(type, "done") == 0) {
                e->type = NODE_HANDS_DONE;
                e->text = message_get_string(message, "error");
                read_position(message, &ret->status.position);
                e->status = &ret->status;
        } else if (strcmp(type, "closed") == 0) {
                e->type = NODE_HANDS_CLOSED;
                e->text = message_get_string(message, "reason");
        } else if (strcmp(type, "addresses") == 0) {
                e->type = NODE_HANDS_ADDRESSES;
                e->ok = message_is_true(message, "present");
        } else {
                return false;
        }
        return true;
}
