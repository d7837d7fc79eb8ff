/* Encoding and checking of segment headers, records and the meta file. */
#include "daemon/wal-format.h"

#include <assert.h>
#include <errno.h>

#include "election/base/crc32c.h"

static const uint64_t segment_magic = 0x4c41575245564f46; /* "FOVERWAL" */
static const uint64_t meta_magic = 0x4154454d45564f46; /* "FOVEMETA" */

static void put_zeros(struct buffer *b, size_t n)
{
        static const uint8_t zeros[256];

        for (; n > sizeof(zeros); n -= sizeof(zeros))
                buffer_put(b, zeros, sizeof(zeros));
        buffer_put(b, zeros, n);
}

/* Fills up to @size bytes since @start with zeros and a checksum over all of it at the end. */
static void put_sealed(struct buffer *b, size_t start, size_t size)
{
        put_zeros(b, size - sizeof(uint32_t) - (b->n - start));
        buffer_put_u32(b, crc32c(0, b->bytes + start, size - sizeof(uint32_t)));
}

static int check_seal(const uint8_t *bytes, size_t n, size_t size, uint64_t magic)
{
        struct reader r = reader_of(bytes, n);
        struct reader seal;
        uint32_t version;

        if (reader_get_u64(&r) != magic)
                return -EBADMSG;
        version = reader_get_u32(&r);
        if (r.failed || n < size)
                return -EBADMSG;
        /* A newer version may seal in another way; it must still keep these two fields. */
        if (version > WAL_FORMAT_VERSION)
                return -EPROTONOSUPPORT;
        seal = reader_of(bytes + size - sizeof(uint32_t), sizeof(uint32_t));
        if (reader_get_u32(&seal) != crc32c(0, bytes, size - sizeof(uint32_t)))
                return -EBADMSG;
        return 0;
}

void wal_segment_header_put(struct buffer *b, const struct wal_segment_header *header)
{
        size_t start = b->n;

        buffer_put_u64(b, segment_magic);
        buffer_put_u32(b, WAL_FORMAT_VERSION);
        buffer_put_u32(b, header->node);
        buffer_put_u64(b, header->cluster_id);
        buffer_put_u64(b, header->number);
        buffer_put_u64(b, header->seq_first);
        buffer_put_u64(b, header->index_first);
        buffer_put_u64(b, header->previous_end);
        buffer_put_u64(b, header->salt);
        buffer_put_u8(b, header->is_recycled);
        put_sealed(b, start, WAL_HEADER_BYTES);
}

int wal_segment_header_parse(const uint8_t *bytes, size_t n, struct wal_segment_header *ret)
{
        struct reader r = reader_of(bytes, n);
        int result = check_seal(bytes, n, WAL_HEADER_BYTES, segment_magic);

        if (result < 0)
                return result;
        (void)reader_get_u64(&r); /* magic and version are checked */
        (void)reader_get_u32(&r);
        ret->node = (node_id)reader_get_u32(&r);
        ret->cluster_id = reader_get_u64(&r);
        ret->number = reader_get_u64(&r);
        ret->seq_first = reader_get_u64(&r);
        ret->index_first = reader_get_u64(&r);
        ret->previous_end = reader_get_u64(&r);
        ret->salt = reader_get_u64(&r);
        ret->is_recycled = reader_get_u8(&r) != 0;
        return 0;
}

uint32_t wal_salt_seed(uint64_t salt)
{
        uint8_t bytes[8];

        for (unsigned i = 0; i < sizeof(bytes); i++)
                bytes[i] = (uint8_t)(salt >> 8 * i);
        return crc32c(0, bytes, sizeof(bytes));
}

static uint8_t *put_le(uint8_t *p, uint64_t value, unsigned n)
{
        for (unsigned i = 0; i < n; i++)
                *p++ = (uint8_t)(value >> 8 * i);
        return p;
}

void wal_record_put_seeded(struct buffer *b, uint32_t seed, const struct wal_record *record)
{
        static const uint8_t padding[8];
        uint8_t header[WAL_RECORD_BYTES], *p = header;
        size_t pad = wal_record_size(record->n) - WAL_RECORD_BYTES - record->n;
        uint32_t crc;

        assert(record->n <= WAL_PAYLOAD_MAX);
        crc = record->n ? crc32c(seed, record->bytes, record->n) : seed;
        crc = crc32c(crc, padding, pad);

        p = put_le(p, record->n, 4);
        *p++ = record->type;
        *p++ = record->flags;
        p = put_le(p, record->batch, 2);
        p = put_le(p, record->seq, 8);
        p = put_le(p, record->term, 8);
        p = put_le(p, record->index, 8);
        p = put_le(p, crc, 4);
        (void)put_le(p, crc32c(seed, header, (size_t)(p - header)), 4); /* the end of it */
        buffer_put(b, header, sizeof(header));
        if (record->n)
                buffer_put(b, record->bytes, record->n);
        if (pad)
                buffer_put(b, padding, pad);
}

void wal_record_put(struct buffer *b, uint64_t salt, const struct wal_record *record)
{
        wal_record_put_seeded(b, wal_salt_seed(salt), record);
}

bool wal_record_header_parse(uint64_t salt, const uint8_t *bytes, size_t n, struct wal_record *ret)
{
        struct reader r = reader_of(bytes, n);

        if (n < WAL_RECORD_BYTES)
                return false;
        ret->n = reader_get_u32(&r);
        ret->type = reader_get_u8(&r);
        ret->flags = reader_get_u8(&r);
        ret->batch = reader_get_u16(&r);
        ret->seq = reader_get_u64(&r);
        ret->term = reader_get_u64(&r);
        ret->index = reader_get_u64(&r);
        ret->bytes = bytes + WAL_RECORD_BYTES;
        (void)reader_get_u32(&r); /* the payload's checksum, which this one covers */
        if (ret->n > WAL_PAYLOAD_MAX)
                return false;
        if (reader_get_u32(&r) !=
            crc32c(wal_salt_seed(salt), bytes, WAL_RECORD_BYTES - sizeof(uint32_t)))
                return false;
        return true;
}

bool wal_record_parse(uint64_t salt, const uint8_t *bytes, size_t n, struct wal_record *ret)
{
        struct reader r;
        size_t size;

        if (!wal_record_header_parse(salt, bytes, n, ret))
                return false;
        size = wal_record_size(ret->n);
        if (size > n)
                return false;
        r = reader_of(bytes + WAL_RECORD_BYTES - 2 * sizeof(uint32_t), sizeof(uint32_t));
        return reader_get_u32(&r) ==
               crc32c(wal_salt_seed(salt), ret->bytes, size - WAL_RECORD_BYTES);
}

void wal_meta_put(struct buffer *b, const struct wal_meta *meta)
{
        size_t start = b->n;

        buffer_put_u64(b, meta_magic);
        buffer_put_u32(b, WAL_FORMAT_VERSION);
        buffer_put_u32(b, meta->node);
        buffer_put_u64(b, meta->cluster_id);
        buffer_put_u64(b, meta->incarnation);
        buffer_put_u16(b, meta->generation);
        put_sealed(b, start, WAL_META_BYTES);
}

int wal_meta_parse(const uint8_t *bytes, size_t n, struct wal_meta *ret)
{
        struct reader r = reader_of(bytes, n);
        int result = check_seal(bytes, n, WAL_META_BYTES, meta_magic);

        if (result < 0)
                return result;
        (void)reader_get_u64(&r); /* magic and version are checked */
        (void)reader_get_u32(&r);
        ret->node = (node_id)reader_get_u32(&r);
        ret->cluster_id = reader_get_u64(&r);
        ret->incarnation = reader_get_u64(&r);
        ret->generation = reader_get_u16(&r); /* version 1 has a zero here */
        return 0;
}
