/*
 * What is going to happen, in the order of true time: a binary heap of occurrences. Two of the
 * same instant happen in the order in which they were planned, so that a seed replays exactly.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "election/base/names.h"
#include "election/base/time.h"

struct sim;
struct machine;
struct occurrence;

/* Lets it happen. The occurrence is released afterwards unless it was planned again. */
typedef void occurrence_fn(struct sim *s, struct occurrence *o);

struct occurrence {
        usec_t at; /* true time */
        uint64_t order;
        occurrence_fn *happen;
        struct machine *machine;
        uint64_t life; /* of whom it is meant for; it comes to nothing when that has ended */
        node_id from;
        size_t service;
        uint64_t number;
        uint64_t epoch;
        void *data; /* owned */
        size_t n;
        struct occurrence *next_free;
        bool planned;
};

struct queue {
        struct occurrence **heap;
        size_t n;
        size_t n_max;
        struct occurrence *free_list;
        uint64_t orders;
};

void queue_done(struct queue *q);

/* A blank occurrence; it belongs to the caller until it is planned. */
struct occurrence *queue_new(struct queue *q);

/* Plans @o, which the queue takes over; behind all that is planned for the same instant. */
void queue_plan(struct queue *q, struct occurrence *o, usec_t at);

/* Plans @o once more, for later, in the place that it had among its equals. */
void queue_plan_again(struct queue *q, struct occurrence *o, usec_t at);

/* As queue_plan(), but before all that is planned for the same instant. */
void queue_plan_first(struct queue *q, struct occurrence *o, usec_t at);

/* The next one, or NULL; it belongs to the caller, who gives it back by queue_release(). */
struct occurrence *queue_take(struct queue *q);

void queue_release(struct queue *q, struct occurrence *o);
