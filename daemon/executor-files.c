/* What the executor keeps in files: its lock, its directories, and the holds. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/executor-private.h"
#include "daemon/journal.h"

enum {
        HOLD_FILE_MAX = 1024, /* bytes; a file that is longer is not ours */
        HOLD_NAME_SIZE = NAME_SIZE + 16,
        FULL_PATH_SIZE = CONF_PATH_SIZE * 4,
};

#define LOCK_NAME "failoverd.lock"

/* Makes @path and what is missing above it, and opens it. */
static int open_directory(const char *path)
{
        char part[FULL_PATH_SIZE];
        size_t n = strlen(path);
        int fd;

        if (n >= sizeof(part))
                return -ENAMETOOLONG;
        memcpy(part, path, n + 1);
        for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                if (mkdir(part, 0755) < 0 && errno != EEXIST)
                        return -errno;
                *slash = '/';
        }
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
                return -errno;
        fd = open(part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

/* As root, gives it to @user. */
static int set_owner(int fd, const struct user *user, mode_t mode)
{
        if (geteuid() == 0 && fchown(fd, user->uid, user->gid) < 0)
                return -errno;
        return fchmod(fd, mode) < 0 ? -errno : 0;
}

/*
 * Makes @name in a directory. The directory above may belong to the engine, which must not be able
 * to lead us elsewhere by a symbolic link: everything goes by descriptors.
 */
static int open_subdirectory(int dir_fd, const char *name)
{
        int fd;

        if (mkdirat(dir_fd, name, 0700) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

static int prepare_agent_directories(struct executor *x, int agents_fd)
{
        for (size_t i = 0; i < x->n_services; i++) {
                struct service *s = &x->services[i];
                int fd, r;

                if (!s->agent)
                        continue;
                fd = open_subdirectory(agents_fd, s->conf->name);
                r = fd < 0 ? fd : set_owner(fd, &s->agent->user, 0700);
                if (fd >= 0)
                        (void)close(fd); /* a directory: nothing is written through it */
                if (r < 0)
                        return log_error(r, "cannot prepare the directory of the agent of %s in %s",
                                         s->conf->name, x->conf->node.data_dir);
        }
        return 0;
}

static int prepare_data(struct executor *x)
{
        struct user self;
        int data_fd, agents_fd = -1, r;

        r = user_self(&self);
        if (r < 0)
                return log_error(r, "cannot look up the user of this process");
        data_fd = open_directory(x->conf->node.data_dir);
        r = data_fd < 0 ? data_fd : set_owner(data_fd, &x->engine_user, 0711);
        if (r == 0)
                r = agents_fd = open_subdirectory(data_fd, "agents");
        if (r >= 0)
                r = set_owner(agents_fd, &self, 0711);
        if (r < 0)
                (void)log_error(r, "cannot prepare the directory %s", x->conf->node.data_dir);
        else
                r = prepare_agent_directories(x, agents_fd);
        if (agents_fd >= 0)
                (void)close(agents_fd); /* directories: nothing is written through them */
        if (data_fd >= 0)
                (void)close(data_fd);
        return r;
}

static int take_lock(struct executor *x)
{
        const char *dir = x->conf->node.run_dir;

        x->lock_fd = openat(x->run_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (x->lock_fd < 0)
                return log_error(-errno, "cannot open %s/" LOCK_NAME, dir);
        if (flock(x->lock_fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno == EWOULDBLOCK)
                        return log_error(-EBUSY, "another failoverd runs with %s as its run_dir",
                                         dir);
                return log_error(-errno, "cannot lock %s/" LOCK_NAME, dir);
        }
        return 0;
}

int files_prepare(struct executor *x)
{
        int r;

        x->run_fd = open_directory(x->conf->node.run_dir);
        if (x->run_fd < 0)
                return log_error(x->run_fd, "cannot open the directory %s", x->conf->node.run_dir);
        if (fchmod(x->run_fd, 0755) < 0)
                return log_error(-errno, "cannot set the mode of %s", x->conf->node.run_dir);
        r = take_lock(x);
        return r < 0 ? r : prepare_data(x);
}

/* NAME.hold, or the name under which it is written. */
static void hold_name(const struct service *s, const char *suffix, char *ret)
{
        /* Fits: names are shorter than NAME_SIZE. */
        (void)snprintf(ret, HOLD_NAME_SIZE, "%s.hold%s", s->conf->name, suffix);
}

static int format_hold(const struct service *s, char *ret)
{
        int n = snprintf(ret, HOLD_FILE_MAX,
                         "{\"service\":\"%s\",\"epoch\":%" PRIu64 ",\"incarnation\":%" PRIu64
                         ",\"demote_at\":%" PRIu64 ",\"close_by\":%" PRIu64
                         ",\"boot_id\":\"%s\",\"addresses\":%s,\"may_write\":%s"
                         ",\"postmaster\":%d,\"postmaster_start\":%" PRIu64 "}\n",
                         s->conf->name, s->hold.epoch, s->hold.incarnation, s->hold.demote_at.usec,
                         s->hold.close_by.usec, s->executor->boot_id,
                         s->addresses_wanted ? "true" : "false",
                         s->database.may_write || !s->database.known ? "true" : "false",
                         (int)s->database.postmaster, s->database.postmaster_start);

        return n < HOLD_FILE_MAX ? n : -EMSGSIZE;
}

static int write_whole(int fd, const char *bytes, size_t n)
{
        ssize_t written = write(fd, bytes, n);

        if (written < 0)
                return -errno;
        return (size_t)written == n ? 0 : -ENOSPC;
}

int files_write_hold(struct service *s)
{
        char name[HOLD_NAME_SIZE], name_new[HOLD_NAME_SIZE], text[HOLD_FILE_MAX];
        int dir_fd = s->executor->run_fd, fd, n, r;

        hold_name(s, "", name);
        hold_name(s, ".new", name_new);
        n = format_hold(s, text);
        if (n < 0)
                return n;
        fd = openat(dir_fd, name_new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
                return -errno;
        r = write_whole(fd, text, (size_t)n);
        if (close(fd) < 0 && r == 0)
                r = -errno;
        /* No fsync: the file is worth nothing after a crash of the machine. */
        if (r == 0 && renameat(dir_fd, name_new, dir_fd, name) < 0)
                r = -errno;
        if (r == 0)
                s->has_hold_file = true;
        return r;
}

void files_remove_hold(struct service *s)
{
        char name[HOLD_NAME_SIZE];

        if (!s->has_hold_file)
                return;
        hold_name(s, "", name);
        if (unlinkat(s->executor->run_fd, name, 0) < 0 && errno != ENOENT)
                (void)log_warning(-errno, "cannot remove %s/%s", s->executor->conf->node.run_dir,
                                  name);
        else
                s->has_hold_file = false;
}

static json_t *read_object(struct service *s)
{
        char name[HOLD_NAME_SIZE], text[HOLD_FILE_MAX];
        ssize_t n;
        int fd;

        hold_name(s, "", name);
        fd = openat(s->executor->run_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return NULL;
        s->has_hold_file = true;
        n = read(fd, text, sizeof(text));
        (void)close(fd); /* only read from */
        return n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
}

static bool read_hold(const struct service *s, const json_t *object, struct hold *ret)
{
        const char *service = message_get_string(object, "service");
        const char *boot_id = message_get_string(object, "boot_id");

        if (!service || strcmp(service, s->conf->name) != 0)
                return false;
        if (!boot_id || strcmp(boot_id, s->executor->boot_id) != 0)
                return false;
        return message_get_u64(object, "epoch", &ret->epoch) &&
               message_get_u64(object, "incarnation", &ret->incarnation) &&
               message_get_u64(object, "demote_at", &ret->demote_at.usec) &&
               message_get_u64(object, "close_by", &ret->close_by.usec) &&
               ret->demote_at.usec <= ret->close_by.usec;
}

enum files_hold files_read_hold(struct service *s)
{
        json_t *object = read_object(s);
        struct instant now = clock_now();
        uint64_t postmaster = 0;
        struct hold hold;

        if (!read_hold(s, object, &hold) ||
            hold.close_by.usec > instant_after(now, s->conf->ttl).usec) {
                json_decref(object);
                return FILES_HOLD_NONE;
        }
        s->hold = hold;
        s->addresses_wanted = message_is_true(object, "addresses");
        s->database.known = true;
        s->database.may_write = message_is_true(object, "may_write");
        s->database.was_promoted = s->database.may_write; /* perhaps it is only on its way */
        if (message_get_u64(object, "postmaster", &postmaster) && postmaster <= INT32_MAX)
                s->database.postmaster = (pid_t)postmaster;
        (void)message_get_u64(object, "postmaster_start", &s->database.postmaster_start);
        json_decref(object);
        return instant_reached(hold.close_by, now) ? FILES_HOLD_OVER : FILES_HOLD_LIVE;
}
