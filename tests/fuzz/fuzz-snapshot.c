/*
 * Any bytes as a snapshot file, behind a byte that says in which pieces they come and how they are
 * meant: as the file, or as member list and store, around which a file with right sums is made. What
 * is accepted can be written and read again, in the end to the same bytes. For libFuzzer.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/crc32c.h"
#include "election/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void require(bool truth)
{
        if (!truth)
                abort();
}

static int collect(void *userdata, const uint8_t *bytes, size_t n)
{
        buffer_put(userdata, bytes, n);
        return 0;
}

/* A reader that has read all, or NULL if it refused something. */
static struct snapshot_reader *read_all(const uint8_t *bytes, size_t n, size_t piece)
{
        struct snapshot_reader *r = snapshot_reader_new(true);

        for (size_t at = 0; at < n; at += piece) {
                if (snapshot_reader_feed(r, bytes + at, n - at < piece ? n - at : piece) == 0)
                        continue;
                require(!snapshot_reader_is_whole(r));
                require(snapshot_reader_offset(r) <= n);
                snapshot_reader_free(r);
                return NULL;
        }
        return r;
}

static struct buffer written(const struct snapshot_head *head, const struct store *s)
{
        struct buffer b = { 0 };

        require(snapshot_write(head, s, collect, &b) == 0);
        return b;
}

static void write_and_read_again(const struct snapshot_head *head, const struct store *s,
                                 size_t piece)
{
        struct buffer first = written(head, s), second;
        struct snapshot_reader *r = read_all(first.bytes, first.n, piece);
        struct store *again;

        require(r && snapshot_reader_is_whole(r));
        again = snapshot_reader_take(r, (struct instant){ 1000 });
        require(again);
        second = written(snapshot_reader_head(r), again);
        require(first.n == second.n && memcmp(first.bytes, second.bytes, first.n) == 0);
        store_free(again);
        snapshot_reader_free(r);
        buffer_done(&first);
        buffer_done(&second);
}

static void put_sum(struct buffer *b, size_t from)
{
        buffer_put_u32(b, crc32c(0, b->bytes + from, b->n - from));
}

/* A file with right sums: a byte with the length of the member list, the list, the store. */
static struct buffer wrap(const uint8_t *bytes, size_t n)
{
        size_t n_members = bytes[0] < n ? bytes[0] : n - 1, n_store = n - 1 - n_members, trailer;
        const uint8_t *store = bytes + 1 + n_members;
        struct buffer b = { 0 };

        buffer_put(&b, (const uint8_t *)"foversnp", 8);
        buffer_put_u32(&b, SNAPSHOT_VERSION);
        buffer_put_u32(&b, (uint32_t)(40 + n_members));
        buffer_put_u64(&b, 1);
        buffer_put_u64(&b, 100);
        buffer_put_u64(&b, 2);
        buffer_put_blob(&b, bytes + 1, n_members);
        buffer_put_u64(&b, 3);
        put_sum(&b, 0);
        for (size_t at = 0, part; at < n_store; at += part) {
                part = n_store - at < 300 ? n_store - at : 300;
                buffer_put_u32(&b, (uint32_t)part);
                buffer_put_u32(&b, crc32c(0, store + at, part));
                buffer_put(&b, store + at, part);
        }
        trailer = b.n;
        buffer_put_u32(&b, 0);
        buffer_put_u64(&b, n_store);
        buffer_put_u32(&b, crc32c(0, store, n_store));
        put_sum(&b, trailer);
        return b;
}

static void look_into(struct snapshot_reader *r, size_t piece)
{
        const struct snapshot_head *head = snapshot_reader_head(r);
        struct raft_membership m;
        struct store *s;

        if (head && snapshot_membership(head, &m))
                require(raft_members_are_valid(&m.members));
        s = snapshot_reader_take(r, (struct instant){ 1000 });
        if (!s)
                return;
        require(snapshot_reader_is_whole(r));
        write_and_read_again(head, s, piece);
        store_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        struct snapshot_reader *r;
        struct buffer file = { 0 };
        size_t piece;

        if (n < 2)
                return 0;
        piece = 1 + (size_t)(bytes[0] & 127) * (bytes[0] & 127);
        if (bytes[0] & 128)
                file = wrap(bytes + 1, n - 1);
        else
                buffer_put(&file, bytes + 1, n - 1);
        r = read_all(file.bytes, file.n, piece);
        if (bytes[0] & 128) /* the sums are right; a feed refuses only what is no store */
                require(!r || snapshot_reader_is_whole(r));
        if (r)
                look_into(r, piece);
        snapshot_reader_free(r);
        buffer_done(&file);
        return 0;
}
