/* Records of the log, for the journal or for a person's screen. */
#include "daemon/journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "daemon/clock.h"

enum {
        FIELDS_MAX = 8,
        FIELD_SIZE = 160,
};

/* A record in the form of sd_journal_sendv(). */
struct record {
        struct iovec fields[FIELDS_MAX];
        int n;
        char bytes[FIELDS_MAX - 1][FIELD_SIZE];
        char message[LOG_LINE_MAX + 16];
};

/* The mask is kept by libc for the process; syslog() itself is not used. */
void log_level_set(int priority)
{
        (void)setlogmask(LOG_UPTO(priority)); /* answers the old mask */
}

static bool is_dropped(int priority)
{
        return !(setlogmask(0) & LOG_MASK(priority));
}

/* $JOURNAL_STREAM names the device and inode of what the service manager made our stderr. */
static bool stderr_is_journal(void)
{
        const char *stream = getenv("JOURNAL_STREAM");
        uintmax_t device, inode;
        struct stat st;

        if (!stream || sscanf(stream, "%ju:%ju", &device, &inode) != 2)
                return false;
        if (fstat(STDERR_FILENO, &st) < 0)
                return false;
        return st.st_dev == device && st.st_ino == inode;
}

static void record_add(struct record *record, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

static void record_add(struct record *record, const char *format, ...)
{
        char *bytes = record->bytes[record->n - 1]; /* the message comes first */
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(bytes, FIELD_SIZE, format, ap);
        va_end(ap);
        if (n <= 0)
                return;
        record->fields[record->n++] = (struct iovec){
                .iov_base = bytes,
                .iov_len = n < FIELD_SIZE ? (size_t)n : FIELD_SIZE - 1,
        };
}

static int write_to_journal(const struct log_fields *f, const char *text)
{
        struct record record = { .n = 1 };
        int n = snprintf(record.message, sizeof(record.message), "MESSAGE=%s", text);

        record.fields[0] = (struct iovec){ .iov_base = record.message, .iov_len = (size_t)n };
        record_add(&record, "PRIORITY=%d", f->priority);
        record_add(&record, "SYSLOG_IDENTIFIER=%s", program_invocation_short_name);
        if (f->message_id)
                record_add(&record, "MESSAGE_ID=%s", f->message_id);
        if (f->service)
                record_add(&record, "FAILOVERD_SERVICE=%s", f->service);
        if (f->epoch)
                record_add(&record, "FAILOVERD_EPOCH=%" PRIu64, f->epoch);
        if (f->role)
                record_add(&record, "FAILOVERD_ROLE=%s", f->role);
        if (f->took)
                record_add(&record, "FAILOVERD_TOOK_USEC=%" PRIu64, f->took);
        return sd_journal_sendv(record.fields, record.n);
}

static const char *priority_word(int priority)
{
        switch (priority) {
        case LOG_EMERG:
        case LOG_ALERT:
        case LOG_CRIT:
                return "ALARM: ";
        case LOG_ERR:
                return "error: ";
        case LOG_WARNING:
                return "warning: ";
        default:
                return "";
        }
}

static void write_to_stderr(const struct log_fields *f, const char *text)
{
        char when[TIME_OF_DAY_SIZE], service[128] = "", role[80] = "", epoch[40] = "",
                                     took[48] = "";

        clock_print_time_of_day(when);
        /* What does not fit is cut off; that is all that can go wrong. */
        if (f->service)
                (void)snprintf(service, sizeof(service), "service=%s ", f->service);
        if (f->epoch)
                (void)snprintf(epoch, sizeof(epoch), "epoch=%" PRIu64 " ", f->epoch);
        if (f->role)
                (void)snprintf(role, sizeof(role), "role=%s ", f->role);
        if (f->took)
                (void)snprintf(took, sizeof(took), " (%.1f ms)", (double)f->took / 1000);
        /* One call, one write: lines of several processes do not mix. */
        (void)dprintf(STDERR_FILENO, "%s %s[%d] %s%s%s%s%s%s\n", when,
                      program_invocation_short_name, (int)getpid(), priority_word(f->priority),
                      service, epoch, role, text, took);
}

static void write_record(const struct log_fields *fields, const char *text)
{
        struct log_fields f = *fields;

        if (f.priority == 0)
                f.priority = LOG_INFO;
        if (is_dropped(f.priority))
                return;
        if (!stderr_is_journal() || write_to_journal(&f, text) < 0)
                write_to_stderr(&f, text);
}

static void format_text(char *ret, int r, const char *format, va_list ap)
{
        int n = vsnprintf(ret, LOG_LINE_MAX, format, ap);

        if (n < 0)
                ret[n = 0] = '\0';
        if (r < 0 && n < LOG_LINE_MAX)
                (void)snprintf(ret + n, LOG_LINE_MAX - (size_t)n, ": %s", strerror(-r));
}

int log_error(int r, const char *format, ...)
{
        char text[LOG_LINE_MAX];
        va_list ap;

        va_start(ap, format);
        format_text(text, r, format, ap);
        va_end(ap);
        write_record(&(struct log_fields){ .priority = LOG_ERR }, text);
        return r;
}

int log_warning(int r, const char *format, ...)
{
        char text[LOG_LINE_MAX];
        va_list ap;

        va_start(ap, format);
        format_text(text, r, format, ap);
        va_end(ap);
        write_record(&(struct log_fields){ .priority = LOG_WARNING }, text);
        return r;
}

void log_info(const char *format, ...)
{
        char text[LOG_LINE_MAX];
        va_list ap;

        va_start(ap, format);
        format_text(text, 0, format, ap);
        va_end(ap);
        write_record(&(struct log_fields){ .priority = LOG_INFO }, text);
}

void log_debug(const char *format, ...)
{
        char text[LOG_LINE_MAX];
        va_list ap;

        if (is_dropped(LOG_DEBUG))
                return;
        va_start(ap, format);
        format_text(text, 0, format, ap);
        va_end(ap);
        write_record(&(struct log_fields){ .priority = LOG_DEBUG }, text);
}

void log_event(const struct log_fields *fields, const char *format, ...)
{
        char text[LOG_LINE_MAX];
        va_list ap;

        va_start(ap, format);
        format_text(text, 0, format, ap);
        va_end(ap);
        write_record(fields, text);
}
