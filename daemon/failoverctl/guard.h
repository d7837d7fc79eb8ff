/*
 * The guard: a process beside failoverctl that runs a command and ends it, with all that it has
 * started, when its time is over, when it is told to, or when failoverctl is gone. It has its own
 * timer on the lease clock, so that it does not depend on failoverctl being alive or awake.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "election/base/time.h"

/* Until when the command may run, as instants of the lease clock. */
struct guard_times {
        struct instant term_at; /* SIGTERM */
        struct instant kill_at; /* SIGKILL */
        usec_t grace; /* between the two, when it is ended earlier */
};

struct guard {
        pid_t pid; /* of the guard */
        pid_t command; /* and of its command, which leads a process group; 0: not yet known */
        int socket;
};

enum guard_news {
        GUARD_NOTHING,
        GUARD_ENDED, /* nothing of the command is left */
        GUARD_DIED, /* the guard itself is gone: use guard_kill() */
};

/* Starts the command, with the environment of this process. Returns 0 or a negative errno. */
int guard_start(struct guard *g, char **program, struct guard_times times);
/* Moves the deadlines; nothing is given back to a command that is already being ended. */
void guard_hold(struct guard *g, struct guard_times times);
/* Ends the command: SIGTERM, and SIGKILL after the grace or at its deadline; at once if @hard. */
void guard_end(struct guard *g, bool hard);
/* Takes a report without waiting. @ret_status is that of waitpid() if it is GUARD_ENDED. */
enum guard_news guard_read(struct guard *g, int *ret_status);
/*
 * The last hand, when the guard is gone or does not answer: kills it and all that it left. Returns
 * whether nothing is left; otherwise call it again.
 */
bool guard_kill(struct guard *g);
/* Takes the guard's own exit status and closes the socket. */
void guard_done(struct guard *g);

/* What goes over the socket, one packet each; truths are whole numbers, so that nothing is padded. */
struct guard_order {
        struct guard_times times;
        unsigned end;
        unsigned hard;
};

struct guard_report {
        pid_t command;
        unsigned ended;
        int status;
};

/* The guard's own side: never returns. */
_Noreturn void guard_run(int socket, char **program, struct guard_times times);
/*
 * Sends @number to all children of this process but @except; to those of other sessions only, if
 * @strangers. Returns how many there are, or a negative errno if they cannot be listed.
 */
int guard_signal_children(int number, pid_t except, bool strangers);
