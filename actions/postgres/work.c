/* What all jobs use: words for failures, results over the pipe, programs, waiting. */
#include "actions/postgres/work.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actions/agent-clock.h"
#include "actions/postgres/text.h"
#include "actions/process.h"
#include "election/base/buffer.h"
#include "election/base/memory.h"

enum {
        OUTPUT_MAX = 1024 * 1024, /* of a program whose output is read */
        ARGS_MAX = 32,
        NAME_MAX_OURS = PATH_SIZE - PATH_MAX_GIVEN - 2, /* of the files that we make */
};

#define WAIT_INTERVAL_MSEC 10

int work_fail(struct work *w, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(w->result.error, sizeof(w->result.error), format, args);
        va_end(args);
        text_make_plain(w->result.error);
        return -EIO;
}

int work_fail_errno(struct work *w, int error, const char *format, ...)
{
        char text[TEXT_SIZE];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        (void)work_fail(w, "%s: %s", text, strerror(-error));
        return error;
}

static void print_json(json_t *object)
{
        char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

        if (text) {
                printf("%s\n", text);
                (void)fflush(stdout); /* the agent may be gone, and then nobody cares */
        }
        free(text);
        json_decref(object);
}

void work_log(const char *level, const char *format, ...)
{
        char text[TEXT_SIZE * 2];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        text_make_plain(text);
        print_json(json_pack("{s:s, s:s}", "level", level, "text", text));
}

void work_result_write(const struct work_result *r)
{
        const struct controldata *c = &r->control;

        print_json(json_pack("{s:b, s:s, s:b, s:b, s:b, s:i, s:I, s:b,"
                             " s:{s:i, s:s, s:I, s:I, s:I, s:I, s:b, s:b}}",
                             "ok", r->ok, "error", r->error, "diverged", r->diverged, "cloned",
                             r->cloned, "absent", r->absent, "version", (int)r->version, "epoch",
                             (json_int_t)r->epoch, "has_control", r->has_control, "control",
                             "state", (int)c->state, "system_id", c->system_id, "checkpoint",
                             (json_int_t)c->checkpoint, "timeline", (json_int_t)c->timeline,
                             "recovery_end", (json_int_t)c->recovery_end, "recovery_timeline",
                             (json_int_t)c->recovery_end_timeline, "wal_log_hints",
                             c->wal_log_hints, "checksums", c->checksums));
}

int work_result_read(const json_t *object, struct work_result *ret)
{
        json_int_t epoch, checkpoint, timeline, recovery_end, recovery_timeline;
        int ok, diverged, cloned, absent, version, has_control, state, hints, checksums;
        const char *error, *system_id;
        struct work_result r = { 0 };

        /* jansson's unpacking does not change the object, but does not say so either. */
        if (json_unpack((json_t *)(uintptr_t)object,
                        "{s:b, s:s, s:b, s:b, s:b, s:i, s:I, s:b,"
                        " s:{s:i, s:s, s:I, s:I, s:I, s:I, s:b, s:b}}",
                        "ok", &ok, "error", &error, "diverged", &diverged, "cloned", &cloned,
                        "absent", &absent, "version", &version, "epoch", &epoch, "has_control",
                        &has_control, "control", "state", &state, "system_id", &system_id,
                        "checkpoint", &checkpoint, "timeline", &timeline, "recovery_end",
                        &recovery_end, "recovery_timeline", &recovery_timeline, "wal_log_hints",
                        &hints, "checksums", &checksums) < 0)
                return -EINVAL;
        r = (struct work_result){
                .ok = ok,
                .diverged = diverged,
                .cloned = cloned,
                .absent = absent,
                .version = (unsigned)version,
                .epoch = (uint64_t)epoch,
                .has_control = has_control,
                .control = { .state = (enum control_state)state,
                             .checkpoint = (uint64_t)checkpoint,
                             .timeline = (uint32_t)timeline,
                             .recovery_end = (uint64_t)recovery_end,
                             .recovery_end_timeline = (uint32_t)recovery_timeline,
                             .wal_log_hints = hints,
                             .checksums = checksums },
        };
        snprintf(r.error, sizeof(r.error), "%s", error);
        snprintf(r.control.system_id, sizeof(r.control.system_id), "%s", system_id);
        *ret = r;
        return 0;
}

void work_path(const struct work *w, const char *name, char ret[static PATH_SIZE])
{
        snprintf(ret, PATH_SIZE, "%.*s/%.*s", PATH_MAX_GIVEN, w->settings->data_dir, NAME_MAX_OURS,
                 name);
}

void work_state_path(const struct work *w, const char *name, char ret[static PATH_SIZE])
{
        snprintf(ret, PATH_SIZE, "%.*s/%.*s", PATH_MAX_GIVEN, w->settings->state_dir, NAME_MAX_OURS,
                 name);
}

bool work_wait(const struct work *w)
{
        (void)poll(NULL, 0, WAIT_INTERVAL_MSEC);
        return !instant_reached(w->order.deadline, agent_clock_now());
}

/* --- Programs. The job waits for them; they die with it. */

struct program {
        pid_t pid;
        int fd_output;
};

/* The input goes through a file without a name: a pipe could block us before the output is read. */
static int make_input(const char *input)
{
        size_t n = input ? strlen(input) : 0;
        int fd = -1;

        if (!input)
                return open("/dev/null", O_RDONLY | O_CLOEXEC);
        fd = memfd_create("input", MFD_CLOEXEC);
        if (fd >= 0 && (write(fd, input, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET) != 0)) {
                close(fd);
                return -1;
        }
        return fd;
}

static _Noreturn void execute(const char *path, char *const *argv, int fd_input, int fd_output,
                              pid_t parent)
{
        static const char *const extra[] = { "PGOPTIONS=-c statement_timeout=0",
                                             "PGCONNECT_TIMEOUT=5" };
        const char *environment[8];
        size_t n = 0;

        for (; process_environment[n]; n++)
                environment[n] = process_environment[n];
        for (size_t i = 0; i < sizeof(extra) / sizeof(extra[0]); i++)
                environment[n++] = extra[i];
        environment[n] = NULL;
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                _exit(127);
        if (dup2(fd_input, 0) < 0 || dup2(fd_output, 1) < 0 || dup2(fd_output, 2) < 0)
                _exit(127);
        execve(path, argv, (char *const *)(uintptr_t)environment);
        dprintf(2, "cannot execute %s: %s\n", path, strerror(errno));
        _exit(127);
}

static int start_program(const char *path, const char *const *args, const char *input,
                         struct program *ret)
{
        const char *argv[ARGS_MAX + 2] = { path };
        pid_t parent = getpid();
        int fds[2], fd_input;

        for (size_t i = 0; args[i]; i++) {
                if (i == ARGS_MAX)
                        return -E2BIG;
                argv[i + 1] = args[i];
        }
        fd_input = make_input(input);
        if (fd_input < 0 || pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        ret->pid = fork();
        if (ret->pid == 0)
                execute(path, (char *const *)(uintptr_t)argv, fd_input, fds[1], parent);
        close(fd_input);
        close(fds[1]);
        if (ret->pid < 0) {
                close(fds[0]);
                return -EAGAIN;
        }
        ret->fd_output = fds[0];
        return 0;
}

/* Reads everything until the end; keeps the last OUTPUT_MAX / 2 to OUTPUT_MAX bytes. */
static void read_all(int fd, struct buffer *b)
{
        char bytes[4096];
        ssize_t n;

        while ((n = read(fd, bytes, sizeof(bytes))) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        break;
                if (b->n + (size_t)n > OUTPUT_MAX) {
                        memmove(b->bytes, b->bytes + b->n - OUTPUT_MAX / 2, OUTPUT_MAX / 2);
                        b->n = OUTPUT_MAX / 2;
                }
                buffer_put(b, bytes, (size_t)n);
        }
        buffer_put_u8(b, '\0');
}

/* The last line with a complaint, what is fatal first, or else the last line of all. */
static const char *find_complaint(char *output)
{
        const char *last = "it said nothing", *complaint = NULL, *fatal = NULL;
        char *rest = output, *line;

        while ((line = strsep(&rest, "\n"))) {
                if (*line == '\0')
                        continue;
                last = line;
                if (strstr(line, "FATAL:") || strstr(line, "PANIC:"))
                        fatal = line;
                else if (strstr(line, "error:") || strstr(line, "ERROR:"))
                        complaint = line;
        }
        return fatal ? fatal : complaint ? complaint : last;
}

int work_run_path(struct work *w, const char *path, const char *const *args, const char *input,
                  char **ret_output)
{
        _cleanup_(buffer_done)
        struct buffer output = { 0 };
        struct program p = { 0 };
        int status = 0, r;

        r = start_program(path, args, input, &p);
        if (r < 0)
                return work_fail_errno(w, r, "cannot start %s", path);
        read_all(p.fd_output, &output);
        close(p.fd_output);
        while (waitpid(p.pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (ret_output)
                *ret_output = must_copy(output.bytes, output.n - 1);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                return work_fail(w, "%s failed: %s", strrchr(path, '/') + 1,
                                 find_complaint((char *)output.bytes));
        return 0;
}

int work_run(struct work *w, const char *program, const char *const *args, const char *input,
             char **ret_output)
{
        char path[PATH_SIZE + 32];

        snprintf(path, sizeof(path), "%s/%s", w->settings->bin_dir, program);
        return work_run_path(w, path, args, input, ret_output);
}
