/* Writing and reading snapshots; the format is in the header. */
#include "election/snapshot.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/buffer.h"
#include "election/base/crc32c.h"
#include "election/base/memory.h"

static const uint8_t magic[8] = { 'f', 'o', 'v', 'e', 'r', 's', 'n', 'p' };

enum {
        PREFIX_BYTES = sizeof(magic) + 4 + 4, /* up to where the length of the head is known */
        HEAD_FIXED_BYTES = 8 + 8 + 8 + 4 + 8 + 4, /* without the bytes of the members */
        BLOCK_PREFIX_BYTES = 8,
        TRAILER_BYTES = 4 + 8 + 4 + 4,
};

/* Writing. */

struct writer {
        store_sink *sink;
        void *userdata;
        struct buffer block; /* prefix and bytes that are not passed on yet */
        uint64_t n_bytes;
        uint32_t crc;
};

static void put_at(uint8_t *at, uint32_t value)
{
        for (unsigned i = 0; i < 4; i++)
                at[i] = (uint8_t)(value >> 8 * i);
}

static int flush_block(struct writer *w)
{
        size_t n = w->block.n - BLOCK_PREFIX_BYTES;
        int r;

        if (n == 0)
                return 0;
        put_at(w->block.bytes, (uint32_t)n);
        put_at(w->block.bytes + 4, crc32c(0, w->block.bytes + BLOCK_PREFIX_BYTES, n));
        w->crc = crc32c(w->crc, w->block.bytes + BLOCK_PREFIX_BYTES, n);
        w->n_bytes += n;
        r = w->sink(w->userdata, w->block.bytes, w->block.n);
        w->block.n = BLOCK_PREFIX_BYTES;
        return r;
}

static int into_blocks(void *userdata, const uint8_t *bytes, size_t n)
{
        struct writer *w = userdata;
        int r = 0;

        while (r >= 0 && n > 0) {
                size_t room = BLOCK_PREFIX_BYTES + SNAPSHOT_BLOCK_MAX - w->block.n;
                size_t part = n < room ? n : room;

                buffer_put(&w->block, bytes, part);
                bytes += part;
                n -= part;
                if (part == room)
                        r = flush_block(w);
        }
        return r < 0 ? r : 0;
}

static int write_head(const struct snapshot_head *head, store_sink *sink, void *userdata)
{
        struct buffer b = { 0 };
        int r;

        buffer_put(&b, magic, sizeof(magic));
        buffer_put_u32(&b, SNAPSHOT_VERSION);
        buffer_put_u32(&b, (uint32_t)(HEAD_FIXED_BYTES + head->n_members));
        buffer_put_u64(&b, head->cluster_id);
        buffer_put_u64(&b, head->index);
        buffer_put_u64(&b, head->term);
        buffer_put_blob(&b, head->members, head->n_members);
        buffer_put_u64(&b, head->members_index);
        buffer_put_u32(&b, crc32c(0, b.bytes, b.n));
        r = sink(userdata, b.bytes, b.n);
        buffer_done(&b);
        return r;
}

static int write_trailer(const struct writer *w)
{
        struct buffer b = { 0 };
        int r;

        buffer_put_u32(&b, 0);
        buffer_put_u64(&b, w->n_bytes);
        buffer_put_u32(&b, w->crc);
        buffer_put_u32(&b, crc32c(0, b.bytes, b.n));
        r = w->sink(w->userdata, b.bytes, b.n);
        buffer_done(&b);
        return r;
}

int snapshot_write(const struct snapshot_head *head, const struct store *s, store_sink *sink,
                   void *userdata)
{
        static const uint8_t prefix[BLOCK_PREFIX_BYTES];
        struct writer w = { .sink = sink, .userdata = userdata };
        int r;

        assert(head->n_members <= SNAPSHOT_MEMBERS_MAX);
        buffer_put(&w.block, prefix, sizeof(prefix));
        r = write_head(head, sink, userdata);
        if (r >= 0)
                r = store_snapshot_write(s, into_blocks, &w);
        if (r >= 0)
                r = flush_block(&w);
        if (r >= 0)
                r = write_trailer(&w);
        buffer_done(&w.block);
        return r < 0 ? r : 0;
}

/* Reading. */

enum state {
        READING_PREFIX, /* of the head */
        READING_HEAD,
        READING_BLOCK_PREFIX, /* or the first bytes of the trailer */
        READING_BLOCK,
        READING_TRAILER,
        WHOLE,
        DAMAGED,
};

struct snapshot_reader {
        enum state state;
        struct store_restore *restore; /* NULL if only sums are checked, or all was taken */
        struct snapshot_head head;
        bool has_head;
        struct buffer part; /* of what is being read, until `wanted` bytes are there */
        size_t wanted;
        uint8_t *members;
        uint64_t offset;
        uint64_t n_bytes;
        uint32_t crc;
};

struct snapshot_reader *snapshot_reader_new(bool with_store)
{
        struct snapshot_reader *r = must_alloc(1, sizeof(*r));

        r->wanted = PREFIX_BYTES;
        if (with_store)
                r->restore = store_restore_new();
        return r;
}

void snapshot_reader_free(struct snapshot_reader *r)
{
        if (!r)
                return;
        store_restore_free(r->restore);
        buffer_done(&r->part);
        free(r->members);
        free(r);
}

static int take_prefix(struct snapshot_reader *r)
{
        struct reader in = reader_of(r->part.bytes + sizeof(magic), 8);
        uint32_t version = reader_get_u32(&in), n = reader_get_u32(&in);

        if (memcmp(r->part.bytes, magic, sizeof(magic)) != 0)
                return -EBADMSG;
        if (version != SNAPSHOT_VERSION)
                return -EPROTONOSUPPORT;
        if (n < HEAD_FIXED_BYTES || n > HEAD_FIXED_BYTES + SNAPSHOT_MEMBERS_MAX)
                return -EBADMSG;
        r->wanted = PREFIX_BYTES + n;
        r->state = READING_HEAD;
        return 0;
}

/* What is read next begins here. */
static void next_part(struct snapshot_reader *r, enum state state, size_t wanted)
{
        r->offset += r->part.n;
        buffer_clear(&r->part);
        r->state = state;
        r->wanted = wanted;
}

static int take_head(struct snapshot_reader *r)
{
        struct reader in = reader_of(r->part.bytes + PREFIX_BYTES, r->part.n - PREFIX_BYTES);
        struct snapshot_head *h = &r->head;
        const uint8_t *members;

        h->cluster_id = reader_get_u64(&in);
        h->index = reader_get_u64(&in);
        h->term = reader_get_u64(&in);
        members = reader_get_blob(&in, &h->n_members);
        h->members_index = reader_get_u64(&in);
        if (reader_get_u32(&in) != crc32c(0, r->part.bytes, r->part.n - 4) || !reader_done(&in))
                return -EBADMSG;
        h->members = r->members = must_copy(members, h->n_members);
        r->has_head = true;
        next_part(r, READING_BLOCK_PREFIX, BLOCK_PREFIX_BYTES);
        return 0;
}

static int take_block_prefix(struct snapshot_reader *r)
{
        struct reader in = reader_of(r->part.bytes, r->part.n);
        uint32_t n = reader_get_u32(&in);

        if (n > SNAPSHOT_BLOCK_MAX)
                return -EBADMSG;
        r->wanted = n == 0 ? TRAILER_BYTES : BLOCK_PREFIX_BYTES + n;
        r->state = n == 0 ? READING_TRAILER : READING_BLOCK;
        return 0;
}

static int take_block(struct snapshot_reader *r)
{
        struct reader in = reader_of(r->part.bytes + 4, 4);
        const uint8_t *bytes = r->part.bytes + BLOCK_PREFIX_BYTES;
        size_t n = r->part.n - BLOCK_PREFIX_BYTES;

        if (reader_get_u32(&in) != crc32c(0, bytes, n))
                return -EBADMSG;
        r->crc = crc32c(r->crc, bytes, n);
        r->n_bytes += n;
        if (r->restore && store_restore_feed(r->restore, bytes, n) < 0)
                return -EBADMSG;
        next_part(r, READING_BLOCK_PREFIX, BLOCK_PREFIX_BYTES);
        return 0;
}

static int take_trailer(struct snapshot_reader *r)
{
        struct reader in = reader_of(r->part.bytes + 4, r->part.n - 4);
        uint64_t n_bytes = reader_get_u64(&in);
        uint32_t crc = reader_get_u32(&in);

        if (reader_get_u32(&in) != crc32c(0, r->part.bytes, r->part.n - 4) ||
            n_bytes != r->n_bytes || crc != r->crc)
                return -EBADMSG;
        next_part(r, WHOLE, 0);
        return 0;
}

static int take_part(struct snapshot_reader *r)
{
        switch (r->state) {
        case READING_PREFIX:
                return take_prefix(r);
        case READING_HEAD:
                return take_head(r);
        case READING_BLOCK_PREFIX:
                return take_block_prefix(r);
        case READING_BLOCK:
                return take_block(r);
        case READING_TRAILER:
                return take_trailer(r);
        case WHOLE:
        case DAMAGED:
                break;
        }
        return -EBADMSG;
}

int snapshot_reader_feed(struct snapshot_reader *r, const uint8_t *bytes, size_t n)
{
        int result = 0;

        while (result == 0 && n > 0) {
                size_t missing = r->wanted - r->part.n;
                size_t part = n < missing ? n : missing;

                buffer_put(&r->part, bytes, part);
                bytes += part;
                n -= part;
                if (part == missing)
                        result = take_part(r);
        }
        if (result < 0)
                r->state = DAMAGED;
        return result;
}

bool snapshot_membership(const struct snapshot_head *head, struct raft_membership *ret)
{
        struct reader in = reader_of(head->members, head->n_members);

        *ret = (struct raft_membership){ .index = head->members_index };
        if (!raft_members_decode(&in, &ret->members))
                return false;
        ret->context = in.bytes;
        ret->n_context = in.n;
        return true;
}

const struct snapshot_head *snapshot_reader_head(const struct snapshot_reader *r)
{
        return r->has_head ? &r->head : NULL;
}

bool snapshot_reader_is_whole(const struct snapshot_reader *r)
{
        return r->state == WHOLE;
}

uint64_t snapshot_reader_offset(const struct snapshot_reader *r)
{
        return r->offset;
}

struct store *snapshot_reader_take(struct snapshot_reader *r, struct instant noted)
{
        struct store_restore *restore = r->restore;
        struct store *s;

        if (r->state != WHOLE || !restore)
                return NULL;
        r->restore = NULL;
        s = store_restore_finish(restore, noted);
        if (s && store_applied(s) > r->head.index) { /* the next entry could not be applied */
                store_free(s);
                return NULL;
        }
        return s;
}
