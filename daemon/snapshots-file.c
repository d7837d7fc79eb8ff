/* Snapshot files: each is written aside, synced, read back, renamed, and its directory synced. */
#include "daemon/snapshots-file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "election/base/memory.h"

#define NAME_PREFIX "snap-"

enum {
        WRITE_BACK_BYTES = 2 << 20, /* the log's own syncs must not wait for more than that */
        ID_DIGITS = 16,
};

/* A file that is being written, in pieces of a good size. */
struct writer {
        int fd;
        uint8_t *bytes;
        size_t n;
        uint64_t offset; /* of what is in @bytes */
};

void snapshot_name(struct snapshot_id id, char *ret)
{
        /* Always fits. */
        (void)snprintf(ret, SNAPSHOT_NAME_SIZE, NAME_PREFIX "%016" PRIx64 "-%016" PRIx64, id.index,
                       id.term);
}

bool snapshot_name_parse(const char *name, struct snapshot_id *ret)
{
        const size_t n_prefix = strlen(NAME_PREFIX);
        char again[SNAPSHOT_NAME_SIZE];
        struct snapshot_id id;

        if (strlen(name) != n_prefix + 2 * ID_DIGITS + 1 ||
            strncmp(name, NAME_PREFIX, n_prefix) != 0)
                return false;
        id.index = strtoull(name + n_prefix, NULL, 16);
        id.term = strtoull(name + n_prefix + ID_DIGITS + 1, NULL, 16);
        snapshot_name(id, again);
        if (strcmp(name, again) != 0 || id.index == 0)
                return false;
        *ret = id;
        return true;
}

static int write_all(int fd, const uint8_t *bytes, size_t n, uint64_t offset)
{
        while (n > 0) {
                ssize_t k = pwrite(fd, bytes, n, (off_t)offset);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k <= 0)
                        return k < 0 ? -errno : -EIO;
                bytes += k;
                n -= (size_t)k;
                offset += (uint64_t)k;
        }
        return 0;
}

static int writer_flush(struct writer *w)
{
        int r = write_all(w->fd, w->bytes, w->n, w->offset);

        if (r < 0)
                return r;
        /*
         * Sent to the disk piece by piece: a sync of the log may have to wait for all that is dirty.
         * Only a hint, the sync at the end is what counts.
         */
        if ((w->offset + w->n) / WRITE_BACK_BYTES != w->offset / WRITE_BACK_BYTES)
                (void)sync_file_range(w->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
        w->offset += w->n;
        w->n = 0;
        return 0;
}

static int writer_put(void *userdata, const uint8_t *bytes, size_t n)
{
        struct writer *w = userdata;

        while (n > 0) {
                size_t k = SNAPSHOTS_CHUNK_BYTES - w->n < n ? SNAPSHOTS_CHUNK_BYTES - w->n : n;

                memcpy(w->bytes + w->n, bytes, k);
                w->n += k;
                bytes += k;
                n -= k;
                if (w->n == SNAPSHOTS_CHUNK_BYTES) {
                        int r = writer_flush(w);

                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static int feed_all(int fd, const struct snapshots_reader *reader, struct snapshot_damage *damage)
{
        _cleanup_(freep)
        uint8_t *bytes = must_alloc(SNAPSHOTS_CHUNK_BYTES, 1);

        for (;;) {
                ssize_t n = pread(fd, bytes, SNAPSHOTS_CHUNK_BYTES, (off_t)damage->offset);
                int r;

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return reader->end(reader->userdata);
                r = reader->feed(reader->userdata, bytes, (size_t)n);
                if (r < 0)
                        return r;
                damage->offset += (uint64_t)n;
        }
}

int snapshot_verify(int dir_fd, const char *name, struct snapshot_id id,
                    const struct snapshots_reader *reader, struct snapshot_damage *ret_damage)
{
        struct snapshot_damage damage = { 0 };
        struct stat st;
        int fd, r;

        fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        r = fstat(fd, &st) < 0 ? -errno : 0;
        if (r == 0 && !S_ISREG(st.st_mode))
                r = -EBADMSG;
        /* What was written shall come from the disk again; if not, this verifies less. */
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        if (r == 0)
                r = reader->begin(reader->userdata, id);
        if (r == 0)
                r = feed_all(fd, reader, &damage);
        (void)close(fd); /* only read from */
        if (ret_damage)
                *ret_damage = damage;
        return r;
}

int snapshot_publish(int dir_fd, const char *name, struct snapshot_id id)
{
        char final[SNAPSHOT_NAME_SIZE];

        snapshot_name(id, final);
        if (renameat(dir_fd, name, dir_fd, final) < 0 || fsync(dir_fd) < 0)
                return -errno;
        return 0;
}

static int write_file(int fd, snapshots_encode *encode, void *userdata)
{
        _cleanup_(freep)
        uint8_t *bytes = must_alloc(SNAPSHOTS_CHUNK_BYTES, 1);
        struct writer w = { .fd = fd, .bytes = bytes };
        int r;

        r = encode(userdata, writer_put, &w);
        if (r == 0)
                r = writer_flush(&w);
        if (r == 0 && fsync(fd) < 0)
                r = -errno;
        return r;
}

int snapshot_make(int dir_fd, const char *name, struct snapshot_id id, snapshots_encode *encode,
                  void *userdata, const struct snapshots_reader *verify)
{
        int fd, r;

        fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        r = write_file(fd, encode, userdata);
        if (close(fd) < 0 && r == 0)
                r = -errno;
        if (r == 0)
                r = snapshot_verify(dir_fd, name, id, verify, NULL);
        if (r == 0)
                r = snapshot_publish(dir_fd, name, id);
        if (r < 0)
                (void)unlinkat(dir_fd, name, 0); /* else the next start does it */
        return r;
}

int snapshot_prune(int dir_fd, struct snapshot_id newest, struct snapshot_id spare)
{
        struct dirent *entry;
        struct snapshot_id id;
        int fd, r = 0;
        DIR *dir;

        fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        dir = fdopendir(fd);
        if (!dir) {
                r = -errno;
                (void)close(fd); /* only read from */
                return r;
        }
        for (errno = 0; (entry = readdir(dir)); errno = 0) {
                if (!snapshot_name_parse(entry->d_name, &id) || id.index > newest.index)
                        continue;
                if ((id.index == newest.index && id.term == newest.term) ||
                    (id.index == spare.index && id.term == spare.term))
                        continue;
                if (unlinkat(dir_fd, entry->d_name, 0) < 0 && errno != ENOENT)
                        r = -errno;
        }
        if (errno && r == 0)
                r = -errno;
        (void)closedir(dir); /* only read from */
        return r;
}
