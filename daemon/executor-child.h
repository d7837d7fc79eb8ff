/* A child process of the executor: its start as another user, and its end, seen by a pidfd. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <sys/types.h>

#include "daemon/executor-privileges.h"
#include "election/base/time.h"

struct child {
        pid_t pid; /* 0: not running */
        int pid_fd;
        struct event *ended;
        struct instant started;
        unsigned n_quick_deaths; /* in a row */
        void (*on_ended)(struct child *c, int status, void *userdata); /* as waitpid() says it */
        void *userdata;
};

struct child_command {
        const char *path;
        const char *const *argv;
        const struct user *user;
        int fd; /* its end of a conversation; stays the caller's */
        bool fd_is_stdio; /* @fd is its standard input and output; else named by the environment */
        bool is_engine; /* ends when we do, never gets a privilege; else it outlives us */
};

/*
 * Starts @command as a session of its own. It has our standard error and no other descriptor of
 * ours. @c->on_ended is called when it has ended. Returns 0 or a negative errno.
 */
int child_start(struct event_base *base, const struct child_command *command, struct child *c);

/*
 * Runs @function in a child that is a copy of this process, as @user and without privileges; what
 * it returns (0 to 255) is the exit code. No descriptor of ours but the standard ones is open.
 */
int child_run(struct event_base *base, const struct user *user, int (*function)(const void *arg),
              const void *arg, struct child *c);

bool child_is_running(const struct child *c);

/* Sends a signal if it runs. */
void child_signal(struct child *c, int signo);

/* Forgets it without ending it. */
void child_abandon(struct child *c);

/* How long to wait before the next start: not at all, unless it dies again and again at once. */
usec_t child_backoff(const struct child *c);

/* Words for a status of waitpid(), into @ret of @size bytes. */
void child_describe_end(int status, char *ret, size_t size);
