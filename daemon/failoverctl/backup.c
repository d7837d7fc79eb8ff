/* backup: the local member takes a snapshot, and its file is copied. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/failoverctl/ctl.h"

enum { PIECE = 1 << 20 };

#define TIMEOUT (10 * 60 * USEC_PER_SEC)

/* Copies and syncs. Returns 0 or a negative errno. */
static int copy(int from, int to)
{
        static char bytes[PIECE];
        ssize_t n;

        while ((n = read(from, bytes, sizeof(bytes))) > 0) {
                for (ssize_t done = 0, part; done < n; done += part) {
                        part = write(to, bytes + done, (size_t)(n - done));
                        if (part < 0)
                                return -errno;
                }
        }
        if (n < 0 || fsync(to) < 0)
                return -errno;
        return 0;
}

/* @target appears whole, or not at all. */
static int copy_file(const char *source, const char *target)
{
        char part[PATH_MAX];
        int from, to, r;

        (void)snprintf(part, sizeof(part), "%.4000s.part", target);
        from = open(source, O_RDONLY | O_CLOEXEC);
        if (from < 0)
                return -errno;
        to = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        r = to < 0 ? -errno : copy(from, to);
        (void)close(from);
        if (to >= 0 && close(to) < 0 && r == 0)
                r = -errno;
        if (r == 0 && rename(part, target) < 0)
                r = -errno;
        if (r < 0 && to >= 0)
                (void)unlink(part);
        return r;
}

enum ctl_exit ctl_backup(struct ctl *c)
{
        const char *target = c->options.arguments[0];
        enum ctl_exit exit_status = CTL_YES;
        struct ctl_answer a;
        struct stat st;
        int r;

        ctl_ask_one(c, 0,
                    &(struct ctl_question){
                            .method = CTL_POST, .path = "/v1/backup", .timeout = TIMEOUT },
                    &a);
        if (a.status != 200) {
                exit_status = ctl_complain(c, &a);
                ctl_answer_done(&a);
                return exit_status;
        }
        r = copy_file(ctl_string(a.body, "file"), target);
        if (r < 0) {
                fprintf(stderr, "failoverctl: cannot copy %s to %s: %s\n",
                        ctl_string(a.body, "file"), target, strerror(-r));
                exit_status = CTL_NO;
        } else if (stat(target, &st) == 0) {
                printf("%s: %lld bytes\n", target, (long long)st.st_size);
        }
        ctl_answer_done(&a);
        return exit_status;
}
