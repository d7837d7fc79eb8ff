/* Writing to the active segment past the page cache. */
#include "daemon/wal-direct.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
        BLOCK_BYTES = 4096, /* what any device takes */
        BUFFER_BYTES = 256 << 10, /* of one system call */
};

struct wal_direct {
        int fd;
        uint8_t *buffer; /* BUFFER_BYTES, aligned */
        size_t offset; /* of the block with which the buffer begins */
        size_t n; /* bytes of it that are written already */
};

void wal_direct_free(struct wal_direct *d)
{
        if (!d)
                return;
        if (d->fd >= 0)
                (void)close(d->fd); /* all that was promised is synced */
        free(d->buffer);
        free(d);
}

struct wal_direct *wal_direct_new(int dir_fd, const char *name, int fd, size_t offset)
{
        _cleanup_(wal_direct_freep)
        struct wal_direct *d = malloc(sizeof(*d));

        if (!d)
                return NULL;
        *d = (struct wal_direct){ .fd = -1,
                                  .offset = offset / BLOCK_BYTES * BLOCK_BYTES,
                                  .n = offset % BLOCK_BYTES };
        d->buffer = aligned_alloc(BLOCK_BYTES, BUFFER_BYTES);
        if (!d->buffer)
                return NULL;
        if (d->n > 0 && pread(fd, d->buffer, d->n, (off_t)d->offset) != (ssize_t)d->n)
                return NULL;
        d->fd = openat(dir_fd, name, O_WRONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW);
        return d->fd < 0 ? NULL : TAKE_PTR(d);
}

/* Writes the first @n bytes of the buffer, in whole blocks. */
static int write_blocks(const struct wal_direct *d, size_t n)
{
        for (size_t at = 0; at < n;) {
                ssize_t k = pwrite(d->fd, d->buffer + at, n - at, (off_t)(d->offset + at));

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return at > 0 && errno == EINVAL ? -EIO : -errno;
                if (k == 0 || k % BLOCK_BYTES != 0)
                        return -EIO;
                at += (size_t)k;
        }
        return 0;
}

/* Writes what stands in the buffer, @n bytes, and keeps the block that is not full. */
static int write_out(struct wal_direct *d, size_t n)
{
        size_t n_whole = n / BLOCK_BYTES * BLOCK_BYTES;
        size_t n_written = (n + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
        int r;

        memset(d->buffer + n, 0, n_written - n);
        r = write_blocks(d, n_written);
        if (r < 0)
                return r;
        memmove(d->buffer, d->buffer + n_whole, n - n_whole);
        d->offset += n_whole;
        d->n = n - n_whole;
        return 0;
}

int wal_direct_write(struct wal_direct *d, const uint8_t *bytes, size_t n)
{
        for (size_t done = 0; done < n;) {
                size_t room = BUFFER_BYTES - d->n, some = n - done < room ? n - done : room;
                int r;

                memcpy(d->buffer + d->n, bytes + done, some);
                r = write_out(d, d->n + some);
                if (r < 0)
                        return done > 0 && r == -EINVAL ? -EIO : r;
                done += some;
        }
        return fdatasync(d->fd) < 0 ? -errno : 0;
}
