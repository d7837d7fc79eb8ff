/*
 * The addresses of the services: in place with a lifetime in the kernel that ends with the lease,
 * announced again and again, put back when somebody else takes them away, removed and read back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/executor-private.h"
#include "daemon/journal.h"
#include "election/base/memory.h"

#define ANNOUNCE_RETRY (200 * USEC_PER_MSEC) /* when one could not be sent */

static struct netlink *netlink_of(const struct address_slot *a)
{
        return a->service->executor->netlink;
}

static const char *print_vip(const struct address_slot *a, char *ret)
{
        address_print(&a->vip.address, ret, ADDRESS_SIZE);
        return ret;
}

/* Whole seconds that the kernel may keep an address: never longer than the lease if it has one. */
static uint32_t lifetime_of(const struct service *s)
{
        usec_t left = instant_until(s->hold.close_by, clock_now());

        return left < 2 * USEC_PER_SEC ? 1 : (uint32_t)(left / USEC_PER_SEC);
}

static void tell_engine(struct service *s)
{
        executor_tell_engine(s->executor,
                             json_pack("{s:s, s:s, s:b}", "type", "addresses", "service",
                                       s->conf->name, "present", (int)s->addresses_present));
}

void addresses_tell(struct service *s, bool present)
{
        if (s->n_addresses == 0 || s->addresses_present == present)
                return;
        s->addresses_present = present;
        tell_engine(s);
}

static void remember(struct service *s)
{
        int r = s->grip == GRIP_HELD ? files_write_hold(s) : 0;

        if (r < 0)
                (void)log_warning(r, "cannot write the file of the hold of %s", s->conf->name);
}

/* The neighbours. */

static void schedule_announcement(struct address_slot *a, usec_t wait)
{
        const struct timeval tv = {
                .tv_sec = (time_t)(wait / USEC_PER_SEC),
                .tv_usec = (suseconds_t)(wait % USEC_PER_SEC),
        };

        if (event_add(a->announce, &tv) < 0)
                (void)log_warning(0, "cannot arm the next announcement for %s",
                                  a->service->conf->name);
}

static void announce(struct address_slot *a)
{
        char text[ADDRESS_SIZE];
        int r = announcer_send(a->service->executor->announcer, &a->vip);

        if (r < 0) {
                log_debug("cannot announce %s now: %s", print_vip(a, text), strerror(-r));
                schedule_announcement(a, ANNOUNCE_RETRY);
                return;
        }
        a->n_announced++;
        schedule_announcement(a, announce_wait(a->n_announced));
}

static void announce_anew(struct address_slot *a)
{
        a->n_announced = 0;
        announce(a);
}

static void on_announce(evutil_socket_t fd, short what, void *userdata)
{
        struct address_slot *a = userdata;

        (void)fd;
        (void)what;
        if (a->service->addresses_wanted && a->service->grip == GRIP_HELD)
                announce(a);
}

/* One address. */

/* Inside a prefix that others use here the address stands for itself, or it would hang on theirs. */
static void choose_prefix(struct address_slot *a)
{
        bool is_connected = true;
        int r = netlink_address_is_connected(netlink_of(a), a->vip.interface, &a->vip.address,
                                             &is_connected);

        a->vip.prefix_len = r < 0 || is_connected ? vip_prefix_len_host(&a->vip) : a->conf->prefix;
}

static void note_link(struct address_slot *a)
{
        struct link_state link;

        if (netlink_link_get(netlink_of(a), a->vip.interface, &link) < 0)
                return;
        a->was_running = link.running;
        a->mac_len = link.mac_len;
        memcpy(a->mac, link.mac, sizeof(a->mac));
}

/* Sets it and reads it back. */
static int put_in_place(struct address_slot *a)
{
        struct vip_state state;
        int r;

        choose_prefix(a);
        r = netlink_vip_set(netlink_of(a), &a->vip, lifetime_of(a->service));
        if (r < 0)
                return r;
        r = netlink_vip_get(netlink_of(a), &a->vip, &state);
        if (r < 0)
                return r;
        if (!state.present || state.found.tentative || state.found.duplicate)
                return -EADDRNOTAVAIL;
        note_link(a);
        return 0;
}

static void describe_failure(const struct address_slot *a, const char *what, int r, char *ret,
                             size_t size)
{
        char text[ADDRESS_SIZE];
        const char *why = strerror(-r);

        if (r == -EEXIST)
                why = "this host has it from somebody else";
        if (r == -EADDRNOTAVAIL)
                why = "the kernel took it but it is not usable";
        /* May be cut. */
        (void)snprintf(ret, size, "cannot %s %s at %s: %s", what, print_vip(a, text),
                       a->vip.interface, why);
}

/* All addresses of a service. */

int addresses_add(struct service *s, char *ret_error, size_t size)
{
        char ignored[REASON_SIZE];
        int r;

        s->addresses_wanted = true; /* from the first one on they must be taken away again */
        for (size_t i = 0; i < s->n_addresses; i++) {
                struct address_slot *a = &s->addresses[i];

                a->n_restores = 0;
                a->gave_up = false;
                r = put_in_place(a);
                if (r < 0) {
                        describe_failure(a, "add", r, ret_error, size);
                        if (addresses_remove(s, ignored, sizeof(ignored)) < 0)
                                (void)log_error(0, "after a failure: %s", ignored);
                        return r;
                }
                announce_anew(a);
        }
        remember(s);
        addresses_tell(s, true);
        return 0;
}

int addresses_remove(struct service *s, char *ret_error, size_t size)
{
        int r, result = 0;

        for (size_t i = 0; i < s->n_addresses; i++) {
                struct address_slot *a = &s->addresses[i];

                (void)event_del(a->announce); /* it exists */
                r = netlink_vip_remove(netlink_of(a), &a->vip);
                if (r < 0) {
                        describe_failure(a, "remove", r, ret_error, size);
                        result = r;
                }
        }
        if (result == 0) {
                s->addresses_wanted = false;
                remember(s);
                addresses_tell(s, false);
        }
        return result;
}

void addresses_refresh(struct service *s)
{
        char text[REASON_SIZE];
        bool all = true;
        int r;

        if (!s->addresses_wanted)
                return;
        for (size_t i = 0; i < s->n_addresses; i++) {
                struct address_slot *a = &s->addresses[i];

                if (a->gave_up) {
                        all = false;
                        continue;
                }
                r = netlink_vip_set(netlink_of(a), &a->vip, lifetime_of(s));
                if (r < 0) {
                        describe_failure(a, "renew", r, text, sizeof(text));
                        (void)log_error(0, "%s: %s", s->conf->name, text);
                        all = false;
                }
        }
        /* One that had gone, and for which too little time was left, is back. */
        for (size_t i = 0; i < s->n_addresses && all && !s->addresses_present; i++)
                announce_anew(&s->addresses[i]);
        addresses_tell(s, all);
}

/* What others do to them. */

/* Whether it was put back too often already; notes that it is put back now otherwise. */
static bool restores_exhausted(struct address_slot *a)
{
        struct instant now = clock_now(), *oldest = &a->restores[a->n_restores % RESTORES_MAX];

        if (a->n_restores >= RESTORES_MAX &&
            !instant_reached(instant_after(*oldest, RESTORES_WINDOW), now))
                return true;
        *oldest = now;
        a->n_restores++;
        return false;
}

static void give_up(struct address_slot *a)
{
        char text[ADDRESS_SIZE];

        a->gave_up = true;
        log_event(&(struct log_fields){ .priority = LOG_ALERT,
                                        .service = a->service->conf->name,
                                        .epoch = a->service->hold.epoch },
                  "somebody has removed %s from %s %u times within a minute: not put back again",
                  print_vip(a, text), a->vip.interface, (unsigned)RESTORES_MAX);
        addresses_tell(a->service, false);
}

/* It may be gone while we hold it. */
static void restore(struct address_slot *a)
{
        struct service *s = a->service;
        struct vip_state state;
        char text[REASON_SIZE];
        int r;

        if (!s->addresses_wanted || s->grip != GRIP_HELD || a->gave_up)
                return;
        if (netlink_vip_get(netlink_of(a), &a->vip, &state) == 0 && state.present) {
                addresses_tell(s, true);
                return;
        }
        addresses_tell(s, false);
        /* When the kernel itself takes it at the end of its lifetime, that is as it should be. */
        if (!grip_allows(s, s->hold.epoch, USEC_PER_SEC))
                return;
        if (restores_exhausted(a)) {
                give_up(a);
                return;
        }
        r = put_in_place(a);
        if (r < 0) {
                describe_failure(a, "put back", r, text, sizeof(text));
                (void)log_error(0, "%s: %s", s->conf->name, text);
                return;
        }
        (void)log_warning(0, "somebody removed %s of %s from %s: it was put back",
                          print_vip(a, text), s->conf->name, a->vip.interface);
        announce_anew(a);
        addresses_tell(s, true);
}

static bool is_of_interface(const struct address_slot *a, const struct netlink_event *event)
{
        return event->interface[0] == '\0' || strcmp(a->vip.interface, event->interface) == 0;
}

static void link_changed(struct address_slot *a, const struct link_state *link)
{
        bool came_up = link->running && !a->was_running;
        bool moved = link->mac_len != a->mac_len || memcmp(link->mac, a->mac, link->mac_len) != 0;

        a->was_running = link->running;
        a->mac_len = link->mac_len;
        memcpy(a->mac, link->mac, sizeof(a->mac));
        restore(a);
        if ((came_up || moved) && a->service->addresses_wanted && a->service->grip == GRIP_HELD)
                announce_anew(a);
}

static void address_event(struct address_slot *a, const struct netlink_event *event)
{
        switch (event->type) {
        case NETLINK_ADDRESS_ADDED:
                return;
        case NETLINK_ADDRESS_REMOVED:
                if (address_equal(&event->address.address, &a->vip.address))
                        restore(a);
                return;
        case NETLINK_LINK_CHANGED:
                if (is_of_interface(a, event))
                        link_changed(a, &event->link);
                return;
        case NETLINK_LINK_REMOVED:
                if (is_of_interface(a, event)) {
                        a->was_running = false;
                        restore(a);
                }
                return;
        case NETLINK_OVERRUN:
                restore(a);
                return;
        }
}

static void on_event(const struct netlink_event *event, void *userdata)
{
        struct executor *x = userdata;

        for (size_t i = 0; i < x->n_services; i++)
                for (size_t j = 0; j < x->services[i].n_addresses; j++)
                        address_event(&x->services[i].addresses[j], event);
}

static void on_monitor_readable(evutil_socket_t fd, short what, void *userdata)
{
        struct executor *x = userdata;
        int r;

        (void)fd;
        (void)what;
        r = netlink_monitor_read(x->monitor, on_event, x);
        if (r < 0) {
                (void)log_warning(r, "cannot read what happens to addresses");
                on_event(&(struct netlink_event){ .type = NETLINK_OVERRUN }, x);
        }
}

/* Beginning and end. */

int addresses_open(struct executor *x)
{
        int r;

        r = netlink_new(&x->netlink);
        if (r < 0)
                return log_error(r, "cannot talk to the kernel about addresses");
        r = netlink_monitor_new(&x->monitor);
        if (r < 0)
                return log_error(r, "cannot watch addresses");
        r = announcer_new(x->netlink, &x->announcer);
        if (r < 0)
                return log_error(r, "cannot open a socket for announcements");
        x->monitor_readable = event_new(x->base, netlink_monitor_fd(x->monitor),
                                        EV_READ | EV_PERSIST, on_monitor_readable, x);
        if (!x->monitor_readable || event_add(x->monitor_readable, NULL) < 0)
                return log_error(-ENOMEM, "cannot watch addresses");
        return 0;
}

void addresses_close(struct executor *x)
{
        if (x->monitor_readable)
                event_free(x->monitor_readable);
        announcer_free(x->announcer);
        netlink_monitor_free(x->monitor);
        netlink_free(x->netlink);
}

static int slot_init(struct address_slot *a, struct service *s, const struct conf_vip *conf)
{
        a->service = s;
        a->conf = conf;
        a->vip.address = conf->address;
        if (strlen(conf->interface) >= sizeof(a->vip.interface) ||
            strlen(conf->label) >= sizeof(a->vip.label))
                return -ENAMETOOLONG;
        memcpy(a->vip.interface, conf->interface, strlen(conf->interface) + 1);
        memcpy(a->vip.label, conf->label, strlen(conf->label) + 1);
        a->vip.prefix_len = vip_prefix_len_host(&a->vip);
        a->announce = event_new(s->executor->base, -1, 0, on_announce, a);
        if (!a->announce)
                return -ENOMEM;
        return event_priority_set(a->announce, PRIORITY_DEADLINE) < 0 ? -EINVAL : 0;
}

int addresses_new(struct service *s)
{
        int r;

        s->addresses = must_alloc(s->conf->n_vips, sizeof(*s->addresses));
        for (size_t i = 0; i < s->conf->n_vips; i++) {
                s->n_addresses = i + 1;
                r = slot_init(&s->addresses[i], s, s->conf->vips[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

void addresses_done(struct service *s)
{
        for (size_t i = 0; i < s->n_addresses; i++)
                if (s->addresses[i].announce)
                        event_free(s->addresses[i].announce);
        free(s->addresses);
}

static bool is_adopted(const struct executor *x, const struct vip *vip)
{
        for (size_t i = 0; i < x->n_services; i++) {
                const struct service *s = &x->services[i];

                for (size_t j = 0; j < s->n_addresses && s->addresses_wanted; j++)
                        if (address_equal(&s->addresses[j].vip.address, &vip->address) &&
                            strcmp(s->addresses[j].vip.interface, vip->interface) == 0)
                                return true;
        }
        return false;
}

static void remove_stale(struct executor *x, const struct vip *vip)
{
        char text[ADDRESS_SIZE];
        int r = netlink_vip_remove(x->netlink, vip);

        address_print(&vip->address, text, sizeof(text));
        if (r < 0)
                (void)log_error(r, "cannot remove %s from %s, which an earlier life left behind",
                                text, vip->interface);
        else
                log_info("removed %s from %s, which an earlier life left behind", text,
                         vip->interface);
}

/* Addresses that carry our mark, wherever they came from. */
static void remove_marked(struct executor *x)
{
        _cleanup_(freep)
        struct vip *vips = NULL;
        size_t n = 0;
        int r = netlink_vip_list_ours(x->netlink, &vips, &n);

        if (r < 0)
                (void)log_error(r, "cannot list the addresses of an earlier life");
        for (size_t i = 0; i < n; i++)
                if (!is_adopted(x, &vips[i]))
                        remove_stale(x, &vips[i]);
}

/* The configured ones, too: old kernels keep no mark. */
static void remove_configured(struct service *s)
{
        struct vip_state state;

        for (size_t i = 0; i < s->n_addresses && !s->addresses_wanted; i++) {
                struct address_slot *a = &s->addresses[i];
                char text[ADDRESS_SIZE];

                if (netlink_vip_get(netlink_of(a), &a->vip, &state) < 0)
                        continue;
                if (state.foreign)
                        (void)log_warning(0,
                                          "%s of %s is on this host, put there by somebody else: "
                                          "as long as it is, this host cannot serve it",
                                          print_vip(a, text), s->conf->name);
                if (state.present || state.stray)
                        remove_stale(s->executor, &a->vip);
        }
}

static void keep_adopted(struct service *s)
{
        for (size_t i = 0; i < s->n_addresses && s->addresses_wanted; i++) {
                choose_prefix(&s->addresses[i]);
                note_link(&s->addresses[i]);
                restore(&s->addresses[i]);
                announce_anew(&s->addresses[i]);
        }
}

void addresses_clean(struct executor *x)
{
        remove_marked(x);
        for (size_t i = 0; i < x->n_services; i++) {
                remove_configured(&x->services[i]);
                keep_adopted(&x->services[i]);
        }
}
