/* What postmaster.pid says: the server's process, and how far it has come. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum pidfile_state {
        PIDFILE_UNKNOWN, /* not written yet */
        PIDFILE_STARTING,
        PIDFILE_STOPPING,
        PIDFILE_READY,
        PIDFILE_STANDBY, /* in recovery, and accepts no connections yet */
};

struct pidfile {
        pid_t pid; /* of the postmaster, or of a single-user server */
        bool single_user;
        char data_dir[PATH_MAX];
        int64_t started; /* seconds since 1970 */
        uint16_t port; /* 0 until known */
        enum pidfile_state state;
};

/* Parses the text of the file. Lines at its end may be missing, since they come with time. */
int pidfile_parse(const char *text, struct pidfile *ret);
