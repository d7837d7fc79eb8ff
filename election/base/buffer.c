/* Growing byte buffer and checked reader. */
#include "election/base/buffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "election/base/memory.h"

void buffer_done(struct buffer *b)
{
        free(b->bytes);
        *b = (struct buffer){ 0 };
}

void buffer_put(struct buffer *b, const void *bytes, size_t n)
{
        if (n == 0)
                return;
        if (b->n_max - b->n < n) {
                size_t size = b->n_max ? b->n_max : 64;

                while (size - b->n < n)
                        size *= 2;
                b->bytes = must_resize(b->bytes, size, 1);
                b->n_max = size;
        }
        memcpy(b->bytes + b->n, bytes, n);
        b->n += n;
}

void buffer_put_u8(struct buffer *b, uint8_t value)
{
        buffer_put(b, &value, 1);
}

static void put_little_endian(struct buffer *b, uint64_t value, size_t n)
{
        uint8_t bytes[8];

        for (size_t i = 0; i < n; i++)
                bytes[i] = (uint8_t)(value >> (8 * i));
        buffer_put(b, bytes, n);
}

void buffer_put_u16(struct buffer *b, uint16_t value)
{
        put_little_endian(b, value, 2);
}

void buffer_put_u32(struct buffer *b, uint32_t value)
{
        put_little_endian(b, value, 4);
}

void buffer_put_u64(struct buffer *b, uint64_t value)
{
        put_little_endian(b, value, 8);
}

void buffer_put_blob(struct buffer *b, const void *bytes, size_t n)
{
        assert(n <= UINT32_MAX);
        buffer_put_u32(b, (uint32_t)n);
        buffer_put(b, bytes, n);
}

void buffer_put_string(struct buffer *b, const char *s)
{
        buffer_put_blob(b, s, s ? strlen(s) : 0);
}

/* The next @n bytes, or NULL if there are fewer. */
static const uint8_t *take(struct reader *r, size_t n)
{
        const uint8_t *bytes = r->bytes;

        if (r->failed || r->n < n) {
                r->failed = true;
                return NULL;
        }
        r->bytes += n;
        r->n -= n;
        return bytes;
}

static uint64_t get_little_endian(struct reader *r, size_t n)
{
        const uint8_t *bytes = take(r, n);
        uint64_t value = 0;

        if (!bytes)
                return 0;
        for (size_t i = 0; i < n; i++)
                value |= (uint64_t)bytes[i] << (8 * i);
        return value;
}

uint8_t reader_get_u8(struct reader *r)
{
        return (uint8_t)get_little_endian(r, 1);
}

uint16_t reader_get_u16(struct reader *r)
{
        return (uint16_t)get_little_endian(r, 2);
}

uint32_t reader_get_u32(struct reader *r)
{
        return (uint32_t)get_little_endian(r, 4);
}

uint64_t reader_get_u64(struct reader *r)
{
        return get_little_endian(r, 8);
}

const uint8_t *reader_get_blob(struct reader *r, size_t *ret_n)
{
        size_t n = reader_get_u32(r);
        const uint8_t *bytes = take(r, n);

        *ret_n = bytes ? n : 0;
        return bytes ? bytes : (const uint8_t *)"";
}

void reader_get_string(struct reader *r, char *ret, size_t size)
{
        size_t n;
        const uint8_t *bytes = reader_get_blob(r, &n);

        if (n >= size || memchr(bytes, 0, n)) {
                r->failed = true;
                n = 0;
        }
        memcpy(ret, bytes, n);
        ret[n] = '\0';
}
