/*
 * The log of the daemon's processes. Where the service manager has connected standard error with
 * the journal, records go there with their fields; otherwise to standard error, a line each, with
 * the time to the millisecond and the fields that are set. Nobody else in this room writes a log.
 */
#pragma once

#include <stdint.h>
#include <syslog.h>

#include "election/base/time.h"

enum {
        LOG_LINE_MAX = 2048, /* bytes of one text, with the final NUL; the rest is cut off */
};

/* What a record is about. Zero and NULL mean "not set". */
struct log_fields {
        int priority; /* LOG_EMERG to LOG_DEBUG; 0 is LOG_INFO, for LOG_EMERG use LOG_ALERT */
        const char *service;
        uint64_t epoch;
        const char *role;
        usec_t took;
        const char
                *message_id; /* 32 hexadecimal digits, explained in packaging/failoverd.catalog */
};

/*
 * Records less important than @priority are dropped from here on, in this process. Without a call
 * nothing is dropped.
 */
void log_level_set(int priority);

/*
 * Something failed, as LOG_ERR or LOG_WARNING. @r is a negative errno, whose meaning is appended,
 * or anything else, which is not. Returns @r, so that a caller can log and leave in one line.
 */
int log_error(int r, const char *format, ...) __attribute__((format(printf, 2, 3)));
int log_warning(int r, const char *format, ...) __attribute__((format(printf, 2, 3)));

void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Something that an operator may search for. @fields and its strings are the caller's. */
void log_event(const struct log_fields *fields, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
