/*
 * A child process with a deadline: a program, given as a list of arguments, or a function of this
 * program that may block. It has its own process group, which is killed as a whole, no descriptor
 * of ours but its standard ones, and an output that is limited. The end is seen by pidfd.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

#include "election/base/cleanup.h"
#include "election/base/time.h"

enum {
        PROCESS_OUTPUT_MAX = 8 * 1024, /* bytes of output kept for the result */
        PROCESS_LINE_MAX = 32 * 1024, /* bytes of one line for on_line; the rest of it is lost */
};

struct process;

struct process_result {
        int exit_code; /* 0 to 255; 127 if the program could not be executed; -1 after a signal */
        int signal; /* what ended it, or 0 */
        bool timed_out;
        const char *output; /* what it wrote to stdout and stderr, without a final newline */
};

struct process_options {
        /* One of the two. Program and arguments, NULL at the end; argv[0] is an absolute path. */
        const char *const *argv;
        /* Runs in the child, may block; its result is the exit code. Writes lines to fd 1. */
        int (*function)(void *arg);
        void *arg;
        const char *const *environment; /* of a program, NULL at the end; NULL: a minimal one */
        usec_t timeout; /* then the group is killed; USEC_INFINITY for none */
        usec_t grace; /* between SIGTERM and SIGKILL at the timeout; 0 for SIGKILL at once */
        /*
         * Else it dies when the thread that started it does: a program by itself, a function with
         * everything that it has started.
         */
        bool outlives_us;
        /* If given, it gets each line of output instead of the result. */
        void (*on_line)(const char *line, void *userdata);
        /* Called once, at the end; @p is gone afterwards. NULL if nobody cares. */
        void (*on_done)(const struct process_result *result, void *userdata);
        /* Called when @p is gone, cancelled or not: the place to free @userdata. May be NULL. */
        void (*on_free)(void *userdata);
        void *userdata;
};

/*
 * Starts it; options are copied. Returns 0, -ENOMEM, or the error of fork() and the like, and then
 * calls nothing back.
 */
int process_start(struct event_base *base, const struct process_options *options,
                  struct process **ret);

/*
 * Kills the group at once and forgets it: no callback comes any more. @p frees itself when the
 * kernel lets the process go. NULL is allowed.
 */
void process_cancel(struct process *p);

/*
 * For a child between fork() and exec(): default signals, an empty mask, standard input from
 * /dev/null, output and errors to @fd_output (to /dev/null if -1), everything else closed.
 */
void process_clean_child(int fd_output);

/* The environment of programs when none is given. */
extern const char *const process_environment[];
