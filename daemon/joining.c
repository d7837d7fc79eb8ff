/* Tokens, and the data directory that comes of one. */
#include "daemon/joining.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/wal.h"
#include "election/base/crc32c.h"

#define FILE_NAME "joining"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

enum {
        FORMAT = 1,
        CRC_BYTES = 4,
        BYTES_MAX = (JOINING_TOKEN_SIZE - 1) / 4 * 3,
};

static void encode(const struct joining *j, struct buffer *b)
{
        buffer_put_u8(b, FORMAT);
        buffer_put_u64(b, j->cluster_id);
        buffer_put_u8(b, j->node);
        members_encode(&j->members, b);
        buffer_put_u32(b, crc32c(0, b->bytes, b->n));
}

static int decode(const uint8_t *bytes, size_t n, struct joining *ret)
{
        struct reader r = reader_of(bytes, n);
        struct reader end = reader_of(bytes + (n < CRC_BYTES ? 0 : n - CRC_BYTES), CRC_BYTES);
        struct joining j = { 0 };

        if (n < CRC_BYTES || reader_get_u32(&end) != crc32c(0, bytes, n - CRC_BYTES))
                return -EBADMSG;
        r.n -= CRC_BYTES;
        if (reader_get_u8(&r) != FORMAT)
                return -EBADMSG;
        j.cluster_id = reader_get_u64(&r);
        j.node = reader_get_u8(&r);
        if (r.failed || !members_decode(r.bytes, r.n, &j.members) ||
            !members_by_id(&j.members, j.node))
                return -EBADMSG;
        *ret = j;
        return 0;
}

void joining_print(const struct joining *j, char *ret)
{
        struct buffer b = { 0 };
        size_t n = 0;

        encode(j, &b); /* nine members with the longest names and addresses fit */
        for (size_t i = 0; i < b.n; i += 3) {
                size_t left = b.n - i < 3 ? b.n - i : 3;
                uint32_t group = (uint32_t)b.bytes[i] << 16;

                if (left > 1)
                        group |= (uint32_t)b.bytes[i + 1] << 8;
                if (left > 2)
                        group |= b.bytes[i + 2];
                for (size_t k = 0; k <= left; k++)
                        ret[n++] = digits[group >> (18 - 6 * k) & 63];
        }
        ret[n] = '\0';
        buffer_done(&b);
}

static int unprint(const char *token, uint8_t ret[static BYTES_MAX], size_t *ret_n)
{
        uint32_t group = 0;
        unsigned n_bits = 0;

        *ret_n = 0;
        for (const char *s = token; *s; s++) {
                const char *digit = strchr(digits, *s);

                if (!digit || *ret_n == BYTES_MAX)
                        return -EINVAL;
                group = group << 6 | (uint32_t)(digit - digits);
                n_bits += 6;
                if (n_bits < 8)
                        continue;
                n_bits -= 8;
                ret[(*ret_n)++] = (uint8_t)(group >> n_bits);
        }
        /* What is left over of the last digit says nothing, and nothing else is whole. */
        return n_bits >= 6 || (group & ((1u << n_bits) - 1)) != 0 ? -EINVAL : 0;
}

int joining_parse(const char *token, struct joining *ret,
                  char complaint[static JOINING_COMPLAINT_SIZE])
{
        uint8_t bytes[BYTES_MAX];
        size_t n;

        if (unprint(token, bytes, &n) == 0 && decode(bytes, n, ret) == 0)
                return 0;
        (void)snprintf(complaint, JOINING_COMPLAINT_SIZE,
                       "this is not a whole token as \"failoverctl member add\" prints it");
        return -EINVAL;
}

/* So few bytes are written at once, or the disk is full. */
static int write_all(int fd, const struct buffer *b)
{
        ssize_t n = write(fd, b->bytes, b->n);

        if (n < 0)
                return -errno;
        if ((size_t)n != b->n)
                return -ENOSPC;
        return fsync(fd) < 0 ? -errno : 0;
}

static int write_into(int dir_fd, const struct joining *j)
{
        int fd = openat(dir_fd, FILE_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), r;
        struct buffer b = { 0 };

        if (fd < 0)
                return -errno;
        encode(j, &b);
        r = write_all(fd, &b);
        (void)close(fd); /* it was synced, or failed before */
        buffer_done(&b);
        return r < 0 ? r : fsync(dir_fd) < 0 ? -errno : 0;
}

/* Directory and file are durable when this returns 0. */
static int write_file(const char *dir, const struct joining *j)
{
        int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

        if (dir_fd < 0)
                return -errno;
        r = write_into(dir_fd, j);
        (void)close(dir_fd);
        return r;
}

/* A log that is there stays as it is: what says of it whom it joined, too. */
static bool has_log(const char *dir)
{
        char path[PATH_MAX];

        (void)snprintf(path, sizeof(path), "%s/" WAL_META_NAME, dir);
        return access(path, F_OK) == 0;
}

int joining_prepare(const char *dir, const struct joining *j,
                    char complaint[static JOINING_COMPLAINT_SIZE])
{
        struct wal_founding founding = { .identity = { j->cluster_id, j->node } };
        struct wal_complaint why = { 0 };
        int r;

        if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
                r = -errno;
                (void)snprintf(complaint, JOINING_COMPLAINT_SIZE, "cannot create %.200s", dir);
                return r;
        }
        if (has_log(dir)) {
                (void)snprintf(complaint, JOINING_COMPLAINT_SIZE,
                               "%.100s holds a log already. Set another data directory, or move "
                               "this one away if nothing of it is needed",
                               dir);
                return -EEXIST;
        }
        r = write_file(dir, j);
        if (r < 0) {
                (void)snprintf(complaint, JOINING_COMPLAINT_SIZE, "cannot write into %.200s", dir);
                return r;
        }
        r = wal_create(dir, &founding, &why);
        if (r < 0)
                (void)snprintf(complaint, JOINING_COMPLAINT_SIZE, "%.250s", why.text);
        return r;
}

int joining_read(const char *dir, struct joining *ret)
{
        char path[PATH_MAX];
        uint8_t bytes[BYTES_MAX];
        ssize_t n;
        int fd, r;

        (void)snprintf(path, sizeof(path), "%s/" FILE_NAME, dir);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = read(fd, bytes, sizeof(bytes));
        r = n < 0 ? -errno : decode(bytes, (size_t)n, ret);
        (void)close(fd);
        return r;
}
