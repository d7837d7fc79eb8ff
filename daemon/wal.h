/*
 * The write-ahead log of a member on disk: term, vote and log entries, in checksummed segments. What
 * wal_write() has returned for survives a crash of the machine. All calls block; after wal_open()
 * they belong to the disk thread (disk.h). The format is in wal-format.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "election/base/cleanup.h"
#include "election/base/names.h"

enum {
        WAL_SEGMENT_BYTES = 16 << 20, /* a segment, unless told otherwise */
        WAL_SEGMENT_BYTES_MIN = 16 << 10,
        WAL_ENTRY_MAX = 4 << 20, /* bytes of one entry */
        WAL_WRITE_MAX = 32 << 20, /* bytes that one wal_write() puts on disk, headers included */
        WAL_COMPLAINT_SIZE = 512,
};

struct wal;

/* One entry of the Raft log. */
struct wal_entry {
        uint64_t index;
        uint64_t term;
        uint8_t type; /* the core's business; kept as it is */
        const void *bytes;
        size_t n;
};

/*
 * Whose log it is. The upper half of a cluster's id names the cluster, the lower one tells its
 * foundings apart: who knows the name only finds the rest in the log.
 */
struct wal_identity {
        uint64_t cluster_id; /* not 0 */
        node_id node; /* NODE_NOBODY: whoever the log says */
};

/* A cluster's id without the half that the log knows better. */
static inline uint32_t wal_cluster_name(uint64_t cluster_id)
{
        return (uint32_t)(cluster_id >> 32);
}

struct wal_options {
        struct wal_identity identity;
        size_t segment_bytes; /* 0: WAL_SEGMENT_BYTES */
};

/* What was found on disk. Release with wal_recovered_done(). */
struct wal_recovered {
        bool is_new; /* the directory was empty: this member has never promised anything */
        struct wal_identity identity; /* in full */
        uint64_t incarnation; /* drawn at random when the log was created: names this disk */
        uint16_t generation; /* of the cluster; rises with each restore from a backup */
        uint64_t term;
        node_id vote;
        uint64_t snapshot_index; /* 0: no snapshot; entries follow on it */
        uint64_t snapshot_term;
        uint64_t spare_index; /* the snapshot before that one, or 0 */
        uint64_t spare_term;
        const struct wal_entry *entries; /* consecutive from snapshot_index + 1 */
        size_t n_entries;
        /*
         * What is left of the log up to the snapshot: consecutive up to snapshot_index. It reaches
         * back to the spare snapshot, so that this can stand in for one that is damaged.
         */
        struct wal_entry *tail;
        size_t n_tail;
        uint64_t bytes_cut; /* of an unfinished last write, which nobody was told about */
};

/* Why a log cannot be used. */
struct wal_complaint {
        char text[WAL_COMPLAINT_SIZE]; /* for the operator: what, where, what to do */
        char file[NAME_SIZE]; /* the damaged file, or empty */
        uint64_t offset; /* where in it */
};

/* One change of the durable state, in this order: term and vote, snapshot, truncation, entries. */
struct wal_batch {
        bool has_hard_state;
        uint64_t term;
        node_id vote;
        uint64_t snapshot_index; /* a snapshot at this index is durable; 0: nothing new */
        uint64_t snapshot_term;
        bool snapshot_resets; /* the whole log goes; else what is behind the snapshot stays */
        bool snapshot_steps_back; /* the newest one is damaged, the spare takes its place */
        uint64_t truncate_from; /* drop the entries from this index on; 0: none */
        const struct wal_entry *entries; /* each one behind the one before */
        size_t n_entries;
};

/*
 * Takes the log in the existing directory @dir, or creates one there. Errors, each with
 * @ret_complaint filled in:
 *   -EBUSY            another process has it
 *   -EINVAL           it belongs to another cluster or another node, or the options are wrong
 *   -EPROTONOSUPPORT  a newer version wrote it
 *   -EBADMSG          it is damaged in a place that may have been promised to others
 *   -ENOENT           there is no log, and the options do not say for whom to make one
 *   anything else     from the file system
 * A last write that was never acknowledged is cut off instead. What is recovered is made durable
 * before this returns, whatever the page cache may have shown. An identity agrees with the log if
 * the upper half of the cluster's id does, and the node, unless it is NODE_NOBODY.
 */
int wal_open(const char *dir, const struct wal_options *options, struct wal **ret,
             struct wal_recovered *ret_recovered, struct wal_complaint *ret_complaint);

/* The file that is in a directory with a log. */
#define WAL_META_NAME "meta"

/* What a log begins with that is not the first of a new cluster. */
struct wal_founding {
        struct wal_identity identity; /* in full */
        uint16_t generation;
        uint64_t snapshot_index; /* the log begins behind this snapshot; 0: at the beginning */
        uint64_t snapshot_term;
        size_t segment_bytes; /* 0: WAL_SEGMENT_BYTES */
};

/*
 * Makes the log of a member that joins a cluster, or of a restored one, in the existing directory
 * @dir, whose snapshot is there and durable already. Returns 0, -EEXIST if there is a log, or an
 * error as wal_open(), with @ret_complaint filled in. After a crash in the middle there is no log.
 */
int wal_create(const char *dir, const struct wal_founding *founding,
               struct wal_complaint *ret_complaint);

/* Ends the use and gives the lock back. Writes nothing. */
void wal_close(struct wal *w);
DEFINE_CLEANUP(struct wal *, wal_close)

void wal_recovered_done(struct wal_recovered *recovered);

/*
 * The entries from @index + 1 on, their number in @ret_n; for a start from an older snapshot than
 * the newest. NULL if the log does not reach back so far.
 */
const struct wal_entry *wal_recovered_behind(const struct wal_recovered *recovered, uint64_t index,
                                             size_t *ret_n);

/*
 * Makes @batches durable with one write and one sync; after a crash either all of them are found
 * or none. Returns 0 or a negative errno. -EMSGSIZE: together larger than WAL_WRITE_MAX; -ENOSPC or
 * -EDQUOT: the active segment is full and there is no room for the next one, try again when there
 * is. In these cases nothing has happened. Any other error is final: the log is poisoned, every later call returns the same
 * error, and the process must end without promising anything more. After a failed sync nobody
 * knows what is on disk, and a second attempt would claim success.
 */
int wal_write(struct wal *w, const struct wal_batch *batches, size_t n);

/* Bytes that @batch takes of WAL_WRITE_MAX, headers included. */
size_t wal_batch_bytes(const struct wal_batch *batch);

/*
 * Work for idle times, in small steps: takes away segments that no snapshot needs any more, or
 * makes the next one of them; else lays out the next one, so that a full disk is noticed long before
 * something cannot be written. Returns 1 if there is more to do, 0 if not, or a negative errno: try
 * again later, the active segment still has room; unless the log is poisoned, as in wal_write().
 */
int wal_prepare(struct wal *w);

/* Whether a write or a sync has failed for good. */
bool wal_is_poisoned(const struct wal *w);

/* Whether wal_prepare() should get a turn although there are batches to write. */
bool wal_is_behind(const struct wal *w);

/*
 * Notes in the log that the last write is durable: from then on damage to it is told apart from a
 * torn write. For about a second after the last write; does nothing if that is noted already.
 * Errors as for wal_write().
 */
int wal_mark(struct wal *w);

/* Whether wal_mark() has something to note. */
bool wal_wants_mark(const struct wal *w);
