/* Network namespaces of a test's own: nothing in them reaches the host, and they end with the test. */
#pragma once

/*
 * Moves the process into a new network namespace with loopback up; without root it makes a user
 * namespace, too. Returns a descriptor of the namespace, or a negative errno.
 */
int namespace_enter(void);

/* Moves back into a namespace that namespace_enter() has answered. 0 or a negative errno. */
int namespace_return(int fd);

/* Runs a shell command line made as by printf() and waits for it; its exit status, 0 if it succeeds. */
int namespace_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
