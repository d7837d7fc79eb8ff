/* Snapshots between the core and the disk: taken by a child, read and written by a thread. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "daemon/engine-internal.h"
#include "daemon/journal.h"
#include "daemon/snapshots-file.h"

static bool is_head_of(const struct snapshot_head *head, struct snapshot_id id)
{
        return head->index == id.index && head->term == id.term;
}

/* A reader of snapshots.h over one of snapshot.h. */
struct reading {
        struct snapshot_reader *reader;
        struct snapshot_id id;
        bool with_store;
};

static int reading_begin(void *userdata, struct snapshot_id id)
{
        struct reading *r = userdata;

        snapshot_reader_free(r->reader);
        r->reader = snapshot_reader_new(r->with_store);
        r->id = id;
        return 0;
}

static int reading_feed(void *userdata, const uint8_t *bytes, size_t n)
{
        struct reading *r = userdata;

        return snapshot_reader_feed(r->reader, bytes, n);
}

static int reading_end(void *userdata)
{
        struct reading *r = userdata;
        const struct snapshot_head *head = snapshot_reader_head(r->reader);
        struct raft_membership m;

        if (!snapshot_reader_is_whole(r->reader) || !is_head_of(head, r->id) ||
            !snapshot_membership(head, &m))
                return -EBADMSG;
        return 0;
}

static struct snapshots_reader reader_over(struct reading *r)
{
        return (struct snapshots_reader){
                .begin = reading_begin, .feed = reading_feed, .end = reading_end, .userdata = r
        };
}

/* A reader that only checks; @userdata of it is released by checking_done(). */
static struct snapshots_reader checker(void)
{
        struct reading *r = calloc(1, sizeof(*r));

        if (!r)
                abort(); /* as everywhere where the core counts on what it has asked for */
        return reader_over(r);
}

static void checking_done(struct reading *r)
{
        snapshot_reader_free(r->reader);
        free(r);
}

/* The next snapshot must not have the damaged one for its spare. */
static int step_back(struct engine *e, struct wal *w)
{
        const struct wal_batch batch = { .snapshot_steps_back = true };
        int r = wal_write(w, &batch, 1);

        return r < 0 ? log_error(r, "cannot write the log in %s", e->dir) : 0;
}

int engine_snapshots_load(struct engine *e, struct wal *w)
{
        struct reading reading = { .with_store = true };
        struct snapshots_reader reader = reader_over(&reading);
        struct wal_complaint complaint = { 0 };
        int r;

        r = snapshots_load(e->dir, &e->recovered, &reader, &e->loaded_id, &complaint);
        if (r == 1) {
                (void)log_warning(0, "%s: going on from the one before it. Check the disk",
                                  complaint.text);
                r = step_back(e, w);
        }
        if (r < 0 || e->loaded_id.index == 0) {
                snapshot_reader_free(reading.reader);
                return r < 0 ? log_error(r, "%s", complaint.text) : 0;
        }
        e->loaded = reading.reader;
        return 0;
}

int engine_snapshots_start(struct engine *e)
{
        return snapshots_new(e->base, e->dir, e->loaded_id, &e->snapshots);
}

/* Taking. */

struct taking {
        struct engine *e;
        struct reading *verify;
};

static int encode(void *userdata, snapshots_sink *sink, void *sink_userdata)
{
        struct taking *t = userdata;

        return node_snapshot_write(t->e->node, sink, sink_userdata);
}

static uint64_t bytes_of(const struct engine *e, struct snapshot_id id)
{
        char name[SNAPSHOT_NAME_SIZE], path[sizeof(e->dir) + SNAPSHOT_NAME_SIZE];
        struct stat st;

        snapshot_name(id, name);
        (void)snprintf(path, sizeof(path), "%s/%s", e->dir, name);
        return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void tell_backed_up(struct engine *e, struct snapshot_id id, int r)
{
        char name[SNAPSHOT_NAME_SIZE], path[sizeof(e->dir) + SNAPSHOT_NAME_SIZE];
        engine_backed_up *done = e->backed_up;

        if (!done)
                return;
        e->backed_up = NULL;
        snapshot_name(id, name);
        (void)snprintf(path, sizeof(path), "%s/%s", e->dir, name);
        done(e->backed_up_userdata, r < 0 ? NULL : path, r);
}

int engine_backup(struct engine *e, engine_backed_up *done, void *userdata)
{
        if (e->backed_up)
                return -EBUSY;
        e->backed_up = done;
        e->backed_up_userdata = userdata;
        engine_feed(e, &(struct node_event){ .type = NODE_SNAPSHOT_ORDERED });
        if (!snapshots_is_taking(e->snapshots)) {
                e->is_backup_there = true;
                engine_come_later(e);
        }
        return 0;
}

void engine_backup_forget(struct engine *e, void *userdata)
{
        if (e->backed_up && e->backed_up_userdata == userdata)
                e->backed_up = NULL;
}

static void taking_done(struct taking *t)
{
        checking_done(t->verify);
        free(t);
}

static void on_taken(void *userdata, struct snapshot_id id, int r)
{
        struct taking *t = userdata;
        struct engine *e = t->e;
        struct node_event event = {
                .type = NODE_SNAPSHOT_TAKEN,
                .ok = r == 0,
                .snapshot = { .index = id.index, .term = id.term, .bytes = bytes_of(e, id) },
        };

        taking_done(t);
        if (r < 0)
                (void)log_warning(r, "a snapshot could not be taken, the log grows on");
        engine_feed(e, &event);
        tell_backed_up(e, id, r);
}

void engine_snapshot_take(struct engine *e, const struct node_effect *effect)
{
        struct taking *t = calloc(1, sizeof(*t));
        struct snapshots_take take = {
                .id = { .index = effect->snapshot.index, .term = effect->snapshot.term },
                .encode = encode,
                .encode_userdata = t,
                .verify = checker(),
                .done = on_taken,
                .done_userdata = t,
        };
        int r = -ENOMEM;

        if (t) {
                *t = (struct taking){ e, take.verify.userdata };
                r = snapshots_take(e->snapshots, &take);
        }
        if (r == 0)
                return;
        (void)log_warning(r, "a snapshot cannot be taken, the log grows on");
        checking_done(take.verify.userdata);
        free(t);
        e->has_take_failed = true;
        engine_come_later(e);
}

/* Sending. */

struct sending {
        struct engine *e;
        node_id to;
};

static void on_read(void *userdata, struct snapshot_id id, uint64_t offset, uint64_t n_total,
                    const uint8_t *bytes, size_t n, int r)
{
        struct sending *s = userdata;
        struct engine *e = s->e;
        struct node_event event = {
                .type = NODE_SNAPSHOT_PART_READ,
                .from = s->to,
                .ok = r == 0,
                .bytes = bytes,
                .n = n,
                .snapshot = { .index = id.index,
                              .term = id.term,
                              .offset = offset,
                              .is_last = offset + n == n_total },
        };

        free(s);
        engine_feed(e, &event);
}

/* What cannot be read now is asked for again: the core waits no longer than it does for an answer. */
void engine_snapshot_read(struct engine *e, const struct node_effect *effect)
{
        struct snapshot_id id = { effect->snapshot.index, effect->snapshot.term };
        struct sending *s = calloc(1, sizeof(*s));
        int r = -ENOMEM;

        if (s) {
                *s = (struct sending){ e, effect->to };
                r = snapshots_read(e->snapshots, id, effect->snapshot.offset,
                                   effect->snapshot.n_wanted, on_read, s);
        }
        if (r < 0) {
                (void)log_warning(r, "cannot read the snapshot of entry %" PRIu64, id.index);
                free(s);
        }
}

/* Receiving. */

static void tell_written(struct engine *e, int r)
{
        engine_feed(e, &(struct node_event){ .type = NODE_SNAPSHOT_PART_WRITTEN, .ok = r == 0 });
}

static void on_written(void *userdata, struct snapshot_id id, int r)
{
        if (r < 0)
                (void)log_warning(r, "cannot write the snapshot of entry %" PRIu64, id.index);
        tell_written(userdata, r);
}

struct finishing {
        struct engine *e;
        struct reading *verify;
};

static void on_finished(void *userdata, struct snapshot_id id, int r)
{
        struct finishing *f = userdata;
        struct engine *e = f->e;

        checking_done(f->verify);
        free(f);
        if (r < 0)
                (void)log_warning(r, "the snapshot of entry %" PRIu64 " that came is of no use",
                                  id.index);
        tell_written(e, r);
}

static int finish(struct engine *e, struct snapshot_id id)
{
        struct finishing *f = calloc(1, sizeof(*f));
        struct snapshots_reader verify = checker();
        int r = -ENOMEM;

        if (f) {
                *f = (struct finishing){ e, verify.userdata };
                r = snapshots_finish(e->snapshots, id, &verify, on_finished, f);
        }
        if (r < 0) {
                checking_done(verify.userdata);
                free(f);
        }
        return r;
}

void engine_snapshot_write(struct engine *e, const struct node_effect *effect)
{
        struct snapshot_id id = { effect->snapshot.index, effect->snapshot.term };
        bool is_last = effect->snapshot.is_last;
        int r;

        r = snapshots_write(e->snapshots, id, effect->snapshot.offset, effect->bytes, effect->n,
                            is_last ? NULL : on_written, e);
        if (r == 0 && is_last)
                r = finish(e, id);
        if (r == 0)
                return;
        (void)log_warning(r, "cannot write the snapshot of entry %" PRIu64, id.index);
        snapshots_drop_received(e->snapshots);
        e->has_write_failed = true;
        engine_come_later(e);
}

/* The log's record. */

void engine_snapshot_recording(struct engine *e, const struct raft_persist *persist)
{
        bool resets = persist->snapshot_resets || (e->recording.generation && e->recording.resets);

        if (persist->snapshot_index)
                e->recording = (struct engine_recording){
                        .generation = persist->generation,
                        .id = { persist->snapshot_index, persist->snapshot_term },
                        .resets = resets,
                };
}

void engine_snapshot_persisted(struct engine *e)
{
        if (e->recording.generation == 0 || e->recording.generation > e->generation)
                return;
        snapshots_recorded(e->snapshots, e->recording.id, e->recording.resets);
        e->recording = (struct engine_recording){ 0 };
}

void engine_snapshot_later(struct engine *e)
{
        struct node_event event = { .type = NODE_SNAPSHOT_TAKEN };

        if (e->has_take_failed) {
                e->has_take_failed = false;
                engine_feed(e, &event);
                tell_backed_up(e, (struct snapshot_id){ 0 }, -EIO);
        }
        if (e->is_backup_there) {
                e->is_backup_there = false;
                if (!snapshots_is_taking(e->snapshots))
                        tell_backed_up(e, snapshots_newest(e->snapshots), 0);
        }
        if (e->has_write_failed) {
                e->has_write_failed = false;
                tell_written(e, -EIO);
        }
}
