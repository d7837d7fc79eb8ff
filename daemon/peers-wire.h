/*
 * What members say to each other on TCP. Each frame is its length and the CRC-32C of its payload,
 * 32 bits each, little-endian, and the payload. The first frame from either side is a greeting; the
 * one who connected sends messages after it, the other one nothing more.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/peers.h"
#include "election/base/buffer.h"

enum {
        PEERS_PROTOCOL_VERSION = 1,
        PEERS_FRAME_HEADER = 8,
        PEERS_GREETING_MAX = 512,
};

struct peers_greeting {
        uint64_t cluster_id;
        uint64_t incarnation;
        node_id from;
        node_id to; /* whom the sender means to talk to */
        bool is_refusal; /* only in an answer: @reason says why, the connection ends */
        char reason[PEERS_REASON_SIZE];
};

void peers_greeting_put(struct buffer *b, const struct peers_greeting *greeting);

/* Returns 0, -EBADMSG (not of our kind) or -EPROTONOSUPPORT (another version, in @ret_version). */
int peers_greeting_parse(const uint8_t *bytes, size_t n, struct peers_greeting *ret,
                         uint32_t *ret_version);

struct peers_frame {
        uint32_t n;
        uint32_t crc;
};

struct peers_frame peers_frame_of(const void *bytes, size_t n);
void peers_frame_put(uint8_t ret[PEERS_FRAME_HEADER], const struct peers_frame *frame);
struct peers_frame peers_frame_parse(const uint8_t bytes[PEERS_FRAME_HEADER]);
