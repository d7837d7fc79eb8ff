/*
 * The thread that reads and writes snapshots: jobs in, in order, and done jobs out. Like the disk
 * thread it shares nothing else with the loop.
 */
#pragma once

#include "daemon/snapshots-file.h"

enum snapshots_job_type {
        SNAPSHOTS_READ, /* @n bytes at @offset of @id */
        SNAPSHOTS_WRITE, /* @bytes at @offset of what is received; 0 begins anew */
        SNAPSHOTS_FINISH, /* verifies and publishes what was received */
        SNAPSHOTS_DROP, /* removes what was received, or what a child has left */
        SNAPSHOTS_PRUNE, /* of what is older than @id, all but @spare */
};

struct snapshots_job {
        struct snapshots_job *next;
        enum snapshots_job_type type;
        struct snapshot_id id;
        struct snapshot_id spare;
        uint64_t transfer; /* the loop's number of what is received */
        uint64_t offset;
        uint8_t *bytes;
        size_t n;
        const char *name; /* DROP: of the file, a constant */
        struct snapshots_reader reader;

        /* The answer. */
        int r;
        uint64_t n_total;
        snapshots_chunk *on_chunk;
        snapshots_done *on_done;
        void *userdata;
};

struct snapshots_thread;

/* @dir_fd stays the caller's and must outlive the thread. Returns 0 or a negative errno. */
int snapshots_thread_new(int dir_fd, struct snapshots_thread **ret);

/* Waits for the job at hand, drops the others. Accepts NULL. */
void snapshots_thread_free(struct snapshots_thread *t);

/* Takes @job, which comes back by snapshots_thread_done(). */
void snapshots_thread_submit(struct snapshots_thread *t, struct snapshots_job *job);

/* Jobs that have not come back. */
size_t snapshots_thread_pending(const struct snapshots_thread *t);

/* Readable when a job is done. */
int snapshots_thread_fd(const struct snapshots_thread *t);

/* The next job that is done, which is the caller's again; NULL if there is none. */
struct snapshots_job *snapshots_thread_done(struct snapshots_thread *t);

void snapshots_job_free(struct snapshots_job *job);
DEFINE_CLEANUP(struct snapshots_job *, snapshots_job_free)
