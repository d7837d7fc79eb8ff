/*
 * Bytes that grow while they are written, and a checked reader for bytes from outside. Integers
 * are little-endian; strings and blobs carry a length of 32 bits in front.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writing. Zero-initialise; release with buffer_done(). Memory as in memory.h. */
struct buffer {
        uint8_t *bytes;
        size_t n;
        size_t n_max;
};

void buffer_done(struct buffer *b);

/* Forgets the content and keeps the memory. */
static inline void buffer_clear(struct buffer *b)
{
        b->n = 0;
}

void buffer_put(struct buffer *b, const void *bytes, size_t n);
void buffer_put_u8(struct buffer *b, uint8_t value);
void buffer_put_u16(struct buffer *b, uint16_t value);
void buffer_put_u32(struct buffer *b, uint32_t value);
void buffer_put_u64(struct buffer *b, uint64_t value);
/* Length and bytes; at most UINT32_MAX bytes. */
void buffer_put_blob(struct buffer *b, const void *bytes, size_t n);
/* As a blob; NULL is written as the empty string. */
void buffer_put_string(struct buffer *b, const char *s);

/*
 * Reading. The first read beyond the end sets `failed`; from then on every read yields zero or
 * the empty string, so that a decoder may read all its fields and ask once.
 */
struct reader {
        const uint8_t *bytes;
        size_t n;
        bool failed;
};

static inline struct reader reader_of(const void *bytes, size_t n)
{
        return (struct reader){ .bytes = bytes, .n = n };
}

uint8_t reader_get_u8(struct reader *r);
uint16_t reader_get_u16(struct reader *r);
uint32_t reader_get_u32(struct reader *r);
uint64_t reader_get_u64(struct reader *r);

/* Bytes with their length in front. The pointer stays valid as long as what is read from. */
const uint8_t *reader_get_blob(struct reader *r, size_t *ret_n);

/*
 * A string into @ret of @size bytes, always terminated. A string that does not fit, or has a NUL
 * byte inside, fails the reader.
 */
void reader_get_string(struct reader *r, char *ret, size_t size);

/* True if nothing was missing and nothing is left. */
static inline bool reader_done(const struct reader *r)
{
        return !r->failed && r->n == 0;
}
