/*
 * Events: one change of the tree each, as writers and watchers get to see it. The history, waiting
 * results and those who were woken share them.
 */
#pragma once

#include "election/store/tree.h"

enum {
        EVENT_REMOVED_BYTES_MAX = 1024 * 1024, /* of the paths that went with a directory */
};

struct event {
        struct store_event shown; /* points into what follows */
        size_t n_references;
        struct store_value *value;
        struct store_value *previous_value;

        /*
         * The paths that went with a directory, each with its NUL: who waits for one of them is
         * told. Too many are not kept; then everything below counts as removed.
         */
        struct buffer removed;
        bool removed_too_much;

        size_t n_path;
        char path[];
};

struct event *event_make(enum store_action action, uint64_t index, const char *path, size_t n_path);
/* NULL is accepted by both. */
struct event *event_ref(struct event *e);
void event_unref(struct event *e);

/* Shows @n as it is before the change. */
void event_set_previous(struct event *e, const struct store_node *n);
/* Shows @n as the change leaves it. */
void event_set_node(struct event *e, const struct store_node *n);
/* Shows that @n is removed by the change. */
void event_set_removed(struct event *e, const struct store_node *n);
/* Remembers a path that goes with the directory that the event is about. */
void event_add_removed(struct event *e, const struct store_node *n);

/* Whether who watches @path, or also all below it, is to be shown the event. */
bool event_matches(const struct event *e, const char *path, size_t n, bool recursive);

/* The bytes of its strings: the same on every replica. */
size_t event_bytes(const struct event *e);
