/*
 * A snapshot as bytes: what the log had done up to one index, for a file and for the network. A
 * header says what it is, blocks with a checksum each carry the store, a trailer counts them. It is
 * written in one go and read in pieces of any size, because it may be larger than a message.
 *
 *      head     magic (8 bytes), version u32, bytes of what follows u32; cluster id u64, index u64,
 *               term u64, members (blob), their index u64; CRC-32C of all of it u32
 *      block    bytes u32 (1 to SNAPSHOT_BLOCK_MAX), CRC-32C of them u32, the bytes
 *      trailer  0 u32, bytes of all blocks u64, CRC-32C of all of them u32, CRC-32C of the trailer u32
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "election/base/time.h"
#include "election/raft/raft.h"
#include "election/store/store.h"

enum {
        SNAPSHOT_VERSION = 1,
        SNAPSHOT_BLOCK_MAX = 64 * 1024, /* bytes of the store under one checksum */
        /* Bytes of a configuration: all that Raft lets into its log. */
        SNAPSHOT_MEMBERS_MAX = 2 * (1 + MEMBERS_MAX) + RAFT_CONTEXT_BYTES_MAX,
};

struct snapshot_head {
        uint64_t cluster_id;
        uint64_t index; /* of the last entry that it holds, */
        uint64_t term; /* and its term */
        uint64_t members_index; /* the entry that made this configuration; 0: the founding one */
        const uint8_t *members; /* payload of that entry; see raft_members_encode() */
        size_t n_members;
};

/* The configuration of @head, which lives as long as its bytes. False if it is malformed. */
bool snapshot_membership(const struct snapshot_head *head, struct raft_membership *ret);

/* Passes all bytes to @sink. Returns 0, or the first negative result of @sink. */
int snapshot_write(const struct snapshot_head *head, const struct store *s, store_sink *sink,
                   void *userdata);

struct snapshot_reader;

/* Builds the store while it reads, or, not @with_store, only checks all sums. */
struct snapshot_reader *snapshot_reader_new(bool with_store);
void snapshot_reader_free(struct snapshot_reader *r);

/* The next bytes. Returns 0, -EBADMSG (damaged, or beyond the end) or -EPROTONOSUPPORT (newer). */
int snapshot_reader_feed(struct snapshot_reader *r, const uint8_t *bytes, size_t n);

/* NULL until the head has been read. Valid as long as the reader. */
const struct snapshot_head *snapshot_reader_head(const struct snapshot_reader *r);

/* Whether the trailer was read and all is well. */
bool snapshot_reader_is_whole(const struct snapshot_reader *r);

/* Bytes up to the last part that verified: where damage begins. */
uint64_t snapshot_reader_offset(const struct snapshot_reader *r);

/*
 * The store of a whole snapshot, which the caller frees; its leases count as received at @noted
 * (rule L6). NULL if it is not whole, goes beyond the index that it names, or was taken before.
 */
struct store *snapshot_reader_take(struct snapshot_reader *r, struct instant noted);
