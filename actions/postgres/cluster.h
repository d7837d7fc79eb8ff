/*
 * The processes of one database cluster, as /proc shows them: those that run the server's program
 * in the data directory. Nothing here blocks on the data directory's disk.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
        CLUSTER_PROCESSES_MAX =
                4096, /* what one scan returns; a kill is repeated until none is left */
};

/* Start of process @pid in clock ticks since boot, which with @pid is unique; 0 if it is gone. */
uint64_t cluster_process_start(pid_t pid);

/* Whether it is stopped by a signal or a tracer. */
bool cluster_process_is_stopped(pid_t pid);

enum cluster_owner {
        CLUSTER_NOBODY, /* no such process, a zombie, or one that has nothing to do with us */
        CLUSTER_OURS, /* runs the server in @data_dir as our user */
        CLUSTER_FOREIGN, /* runs the server as another user */
};

/* Whose process @pid is. @data_dir is a real path, without symbolic links. */
enum cluster_owner cluster_process_owner(const char *data_dir, pid_t pid);

/*
 * The processes of the cluster in @data_dir (a real path) that are ours and not dead, without the
 * log collector, which writes nothing but logs and ends by itself. A child of an agent that is
 * about to become a server counts. Returns how many are in @ret of CLUSTER_PROCESSES_MAX, or a
 * negative errno.
 */
int cluster_processes(const char *data_dir, pid_t *ret);

/* Whether @pid is a server process that serves a postmaster (and is none itself). */
bool cluster_process_is_child(pid_t pid);

/* Whether @pid is the archiver. */
bool cluster_process_is_archiver(pid_t pid);
