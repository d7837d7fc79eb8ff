/* Writing to the active segment past the page cache. */
#include "daemon/wal-direct.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/wal-format.h"

enum {
        BUFFER_BYTES = 256 << 10, /* of one system call */
};

struct wal_direct {
        int fd;
        uint8_t *buffer; /* BUFFER_BYTES, aligned */
        size_t offset; /* of the next block */
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

struct wal_direct *wal_direct_new(int dir_fd, const char *name, size_t offset)
{
        _cleanup_(wal_direct_freep)
        struct wal_direct *d = malloc(sizeof(*d));

        assert(offset % WAL_BLOCK_BYTES == 0);
        if (!d)
                return NULL;
        *d = (struct wal_direct){ .fd = -1, .offset = offset };
        d->buffer = aligned_alloc(WAL_BLOCK_BYTES, BUFFER_BYTES);
        if (!d->buffer)
                return NULL;
        d->fd = openat(dir_fd, name, O_WRONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW);
        return d->fd < 0 ? NULL : TAKE_PTR(d);
}

/* Writes the first @n bytes of the buffer. */
static int write_blocks(struct wal_direct *d, size_t n)
{
        for (size_t at = 0; at < n;) {
                ssize_t k = pwrite(d->fd, d->buffer + at, n - at, (off_t)(d->offset + at));

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return at > 0 && errno == EINVAL ? -EIO : -errno;
                if (k == 0 || k % WAL_BLOCK_BYTES != 0)
                        return -EIO;
                at += (size_t)k;
        }
        d->offset += n;
        return 0;
}

int wal_direct_write(struct wal_direct *d, const uint8_t *bytes, size_t n)
{
        assert(d->offset % WAL_BLOCK_BYTES == 0 && n % WAL_BLOCK_BYTES == 0);
        for (size_t done = 0; done < n;) {
                size_t some = n - done < BUFFER_BYTES ? n - done : BUFFER_BYTES;
                int r;

                memcpy(d->buffer, bytes + done, some);
                r = write_blocks(d, some);
                if (r < 0)
                        return done > 0 && r == -EINVAL ? -EIO : r;
                done += some;
        }
        return fdatasync(d->fd) < 0 ? -errno : 0;
}
