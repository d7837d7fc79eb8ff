/*
 * Snapshot files, by blocking calls: names, writing aside, verifying, renaming. For the child, the
 * thread and the start; never for the loop.
 */
#pragma once

#include "daemon/snapshots.h"

#define SNAPSHOT_TAKEN_NAME "snap-taken.new"
#define SNAPSHOT_RECEIVED_NAME "snap-received.new"

enum {
        SNAPSHOT_NAME_SIZE = 48, /* bytes of a file name, with the final NUL */
};

/* The file name of snapshot @id into @ret of SNAPSHOT_NAME_SIZE bytes. */
void snapshot_name(struct snapshot_id id, char *ret);

/* Whether @name is a snapshot's. */
bool snapshot_name_parse(const char *name, struct snapshot_id *ret);

/* Where the reading of a file ended, for a complaint. */
struct snapshot_damage {
        uint64_t offset;
};

/*
 * Feeds the file @name in @dir_fd to @reader, past the page cache where that is possible. Returns 0,
 * what the reader said, or an error of the file system; @ret_damage may be NULL.
 */
int snapshot_verify(int dir_fd, const char *name, struct snapshot_id id,
                    const struct snapshots_reader *reader, struct snapshot_damage *ret_damage);

/* Gives the synced and verified file @name its final name, durably. */
int snapshot_publish(int dir_fd, const char *name, struct snapshot_id id);

/* Writes, syncs, verifies and publishes under its name what @encode gives; by way of @name. */
int snapshot_make(int dir_fd, const char *name, struct snapshot_id id, snapshots_encode *encode,
                  void *userdata, const struct snapshots_reader *verify);

/* Removes the snapshots that are older than @newest, but for @spare. Returns 0 or a negative errno. */
int snapshot_prune(int dir_fd, struct snapshot_id newest, struct snapshot_id spare);
