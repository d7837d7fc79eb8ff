/* Greetings and frames between members: bytes to structs and back. */
#include "daemon/peers-wire.h"

#include <errno.h>
#include <string.h>

#include "election/base/crc32c.h"

static const uint64_t greeting_magic = 0x52454550564f4146; /* "FAOVPEER" */

void peers_greeting_put(struct buffer *b, const struct peers_greeting *greeting)
{
        buffer_put_u64(b, greeting_magic);
        buffer_put_u32(b, PEERS_PROTOCOL_VERSION);
        buffer_put_u64(b, greeting->cluster_id);
        buffer_put_u64(b, greeting->incarnation);
        buffer_put_u8(b, greeting->from);
        buffer_put_u8(b, greeting->to);
        buffer_put_u8(b, greeting->is_refusal);
        buffer_put_string(b, greeting->reason);
}

int peers_greeting_parse(const uint8_t *bytes, size_t n, struct peers_greeting *ret,
                         uint32_t *ret_version)
{
        struct reader r = reader_of(bytes, n);
        uint32_t version;

        if (reader_get_u64(&r) != greeting_magic)
                return -EBADMSG;
        version = reader_get_u32(&r);
        if (r.failed)
                return -EBADMSG;
        if (version != PEERS_PROTOCOL_VERSION) {
                *ret_version = version;
                return -EPROTONOSUPPORT;
        }
        ret->cluster_id = reader_get_u64(&r);
        ret->incarnation = reader_get_u64(&r);
        ret->from = reader_get_u8(&r);
        ret->to = reader_get_u8(&r);
        ret->is_refusal = reader_get_u8(&r) != 0;
        reader_get_string(&r, ret->reason, sizeof(ret->reason));
        if (!reader_done(&r))
                return -EBADMSG;
        /* The reason goes to the journal: no control characters from outside. */
        for (char *c = ret->reason; *c; c++)
                if (*c < ' ' || *c > '~')
                        *c = '?';
        return 0;
}

struct peers_frame peers_frame_of(const void *bytes, size_t n)
{
        return (struct peers_frame){ .n = (uint32_t)n, .crc = n ? crc32c(0, bytes, n) : 0 };
}

static void put_u32(uint8_t *ret, uint32_t value)
{
        for (unsigned i = 0; i < 4; i++)
                ret[i] = (uint8_t)(value >> 8 * i);
}

void peers_frame_put(uint8_t ret[PEERS_FRAME_HEADER], const struct peers_frame *frame)
{
        put_u32(ret, frame->n);
        put_u32(ret + 4, frame->crc);
}

struct peers_frame peers_frame_parse(const uint8_t bytes[PEERS_FRAME_HEADER])
{
        struct reader r = reader_of(bytes, PEERS_FRAME_HEADER);
        struct peers_frame frame;

        frame.n = reader_get_u32(&r);
        frame.crc = reader_get_u32(&r);
        return frame;
}
