/* Snapshots before there is a loop: the one to start from, and the directory of a restored cluster. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/snapshots-file.h"

#define NEW_SUFFIX ".new"

enum {
        PATH_SIZE = 4096,
};

static const char advice[] =
        "Check the disk. This member must not start without its state: remove it from the cluster, "
        "move its data directory away, and let it join again";

__attribute__((format(printf, 3, 4))) static int complain(struct wal_complaint *c, int error,
                                                          const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(c->text, sizeof(c->text), format, ap); /* may cut */
        va_end(ap);
        return error;
}

static int open_dir(const char *dir)
{
        int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

static int load_one(int dir_fd, const char *dir, struct snapshot_id id,
                    const struct snapshots_reader *reader, struct wal_complaint *complaint)
{
        char name[SNAPSHOT_NAME_SIZE];
        struct snapshot_damage damage;
        int r;

        snapshot_name(id, name);
        r = snapshot_verify(dir_fd, name, id, reader, &damage);
        if (r == 0)
                return 0;
        (void)snprintf(complaint->file, sizeof(complaint->file), "%s", name);
        if (r == -ENOENT) {
                complaint->offset = 0;
                return complain(complaint, -EBADMSG, "the snapshot %s/%s is missing", dir, name);
        }
        complaint->offset = damage.offset;
        if (r == -EBADMSG)
                return complain(complaint, r, "the snapshot %s/%s is damaged behind byte %" PRIu64,
                                dir, name, damage.offset);
        return complain(complaint, r, "cannot read the snapshot %s/%s: %s", dir, name,
                        strerror(-r));
}

int snapshots_load(const char *dir, const struct wal_recovered *recovered,
                   const struct snapshots_reader *reader, struct snapshot_id *ret,
                   struct wal_complaint *ret_complaint)
{
        struct snapshot_id newest = { recovered->snapshot_index, recovered->snapshot_term };
        struct snapshot_id spare = { recovered->spare_index, recovered->spare_term };
        struct wal_complaint second;
        size_t n_behind;
        int fd, r;

        *ret_complaint = (struct wal_complaint){ 0 };
        *ret = (struct snapshot_id){ 0 };
        if (newest.index == 0)
                return 0;
        fd = open_dir(dir);
        if (fd < 0)
                return complain(ret_complaint, fd, "cannot open %s: %s", dir, strerror(-fd));
        r = load_one(fd, dir, newest, reader, ret_complaint);
        *ret = newest;
        if (r < 0 && spare.index > 0 && wal_recovered_behind(recovered, spare.index, &n_behind) &&
            load_one(fd, dir, spare, reader, &second) == 0) {
                *ret = spare;
                r = 1;
        }
        (void)close(fd); /* only read from */
        if (r == -EBADMSG) {
                size_t n = strlen(ret_complaint->text);

                (void)snprintf(ret_complaint->text + n, sizeof(ret_complaint->text) - n, ". %s",
                               advice); /* may cut */
        }
        return r;
}

static int make_content(const char *dir, const struct wal_founding *founding,
                        snapshots_encode *encode, void *userdata,
                        const struct snapshots_reader *verify, struct wal_complaint *complaint)
{
        struct snapshot_id id = { founding->snapshot_index, founding->snapshot_term };
        int fd, r;

        if (mkdir(dir, 0700) < 0)
                return complain(complaint, -errno, "cannot make %s: %s", dir, strerror(errno));
        fd = open_dir(dir);
        if (fd < 0)
                return complain(complaint, fd, "cannot open %s: %s", dir, strerror(-fd));
        r = snapshot_make(fd, SNAPSHOT_TAKEN_NAME, id, encode, userdata, verify);
        (void)close(fd); /* the snapshot is synced */
        if (r < 0)
                return complain(complaint, r, "cannot write the snapshot into %s: %s", dir,
                                r == -EBADMSG ? "it does not verify" : strerror(-r));
        return wal_create(dir, founding, complaint);
}

/* Removes what an attempt that failed has left: our own files, in a directory that we have made. */
static void remove_content(const char *dir)
{
        struct dirent *entry;
        DIR *d = opendir(dir);

        if (!d)
                return;
        while ((entry = readdir(d)))
                if (entry->d_name[0] != '.')
                        (void)unlinkat(dirfd(d), entry->d_name, 0); /* then rmdir() says so */
        (void)closedir(d); /* only read from */
        (void)rmdir(dir);
}

static int sync_parent(const char *path)
{
        char parent[PATH_SIZE];
        char *slash;
        int fd, r;

        (void)snprintf(parent, sizeof(parent), "%s", path); /* its length was checked */
        slash = strrchr(parent, '/');
        if (slash)
                slash[slash == parent] = '\0';
        fd = open_dir(slash ? parent : ".");
        if (fd < 0)
                return fd;
        r = fsync(fd) < 0 ? -errno : 0;
        (void)close(fd); /* only synced */
        return r;
}

int snapshots_found(const char *dir, const struct wal_founding *founding, snapshots_encode *encode,
                    void *userdata, const struct snapshots_reader *verify,
                    struct wal_complaint *ret_complaint)
{
        char made[PATH_SIZE];
        int n, r;

        *ret_complaint = (struct wal_complaint){ 0 };
        n = snprintf(made, sizeof(made), "%s" NEW_SUFFIX, dir);
        if (n < 0 || n >= PATH_SIZE || founding->snapshot_index == 0)
                return complain(ret_complaint, -EINVAL, "nothing can be restored to %s", dir);
        if (rmdir(dir) < 0 && errno != ENOENT)
                return complain(ret_complaint, -errno,
                                "%s is not an empty directory (%s). Move it away first: what it "
                                "holds may be needed",
                                dir, strerror(errno));
        remove_content(made);
        r = make_content(made, founding, encode, userdata, verify, ret_complaint);
        if (r == 0 && (renameat2(AT_FDCWD, made, AT_FDCWD, dir, RENAME_NOREPLACE) < 0 ||
                       (r = sync_parent(dir)) < 0)) {
                r = r < 0 ? r : -errno;
                (void)complain(ret_complaint, r, "cannot put %s in its place: %s", made,
                               strerror(-r));
        }
        if (r < 0)
                remove_content(made);
        return r;
}
