#!/usr/bin/env python3
"""Disks that are full, that fail, that rot, or that are not one's own: on real daemons. Root. Each
data directory is a small file system in memory; what was acknowledged must be there after every
fault, and the log must say what to do."""

import contextlib
import http.client
import json
import os
import re
import shutil
import sys
import threading
import time

from lab import now, run, wait_for
from storelab import (FORM, Store, StoreLab, ask, check, equal, in_namespaces, key, options_of, run_tests,
                      takes_writes)

DISK_BYTES = 384 << 20
SNAPSHOT_SIZE = "24MiB"
VALUE = "x" * 16000
SEGMENT_HEADER = 4096
FULL = "no room for the next segment of the log"
ROOM = "there is room for the log again"


class DiskStore(Store):
    """A store whose data directory is a disk of its own, which the test can fill and break."""

    def __init__(self, lab, name, number):
        super().__init__(lab, name, number)
        self.lib = os.path.join(self.dir, "lib")
        self.raft = os.path.join(self.lib, "raft")
        run("mount", "-t", "tmpfs", "-o", "mode=755,size=%d" % DISK_BYTES, "tmpfs", self.lib)
        self.filler = None
        self.snapshot_size = SNAPSHOT_SIZE

    def configure(self, cluster="store", path=None, name=None, run_dir="run"):
        members = "".join('  member "%s" { address = "%s" }\n' % (n.name, n.address) for n in self.lab.stores)
        with open(path or self.conf, "w", encoding="ascii") as file:
            file.write('node "%s" { data_dir = "%s"  run_dir = "%s/%s"  user = "nobody"  snapshot_size = %s }\n'
                       'cluster "%s" {\n  profile = lan\n%s}\n' %
                       (name or self.name, self.lib, self.dir, run_dir, self.snapshot_size, cluster, members))

    def fill(self):
        """Takes all the room there is, and all that becomes free, until free()."""
        if not self.filler:
            self.filler = Filler(os.path.join(self.lib, "filler"))
            self.filler.start()
        self.filler.is_paused = False
        self.filler.fill()

    def free(self):
        if self.filler:
            self.filler.stop()
            self.filler = None

    def segments(self):
        return sorted(os.path.join(self.raft, n) for n in os.listdir(self.raft) if re.fullmatch("wal-[0-9a-f]{16}", n))

    def snapshots(self):
        return sorted(os.path.join(self.raft, n) for n in os.listdir(self.raft)
                      if re.fullmatch("snap-[0-9a-f]{16}-[0-9a-f]{16}", n))

    def has(self, path, value):
        with contextlib.suppress(OSError, http.client.HTTPException, KeyError, TypeError):
            return key(self.address, "GET", path, timeout=1)[2]["node"]["value"] == value
        return False

    def says(self, words, since=0, limit=10):
        wait_for('%s to say "%s"' % (self.name, words), lambda: words in self.log()[since:], limit, 0.05)

    def restore_disk(self):
        self.free()
        run("mount", "-o", "remount,rw", self.lib)

    @contextlib.contextmanager
    def kept(self):
        """The directory as it is now comes back afterwards; failoverd is stopped by then."""
        copy = os.path.join(self.dir, "kept")
        shutil.copytree(self.raft, copy)
        shutil.copystat(self.raft, copy)
        try:
            yield
        finally:
            self.kill()
            shutil.rmtree(self.raft)
            shutil.copytree(copy, self.raft)
            run("chown", "-R", "nobody", self.raft)
            shutil.rmtree(copy)


class Filler(threading.Thread):
    def __init__(self, path):
        super().__init__(daemon=True)
        self.path = path
        self.ended = threading.Event()
        self.is_paused = False
        self.file = open(path, "wb", buffering=0)

    def fill(self):
        for size in (1 << 20, 4096):
            with contextlib.suppress(OSError):
                while True:
                    self.file.write(bytes(size))

    def run(self):
        while not self.ended.wait(0.02):
            if not self.is_paused:
                self.fill()

    def stop(self):
        self.ended.set()
        self.join()
        self.file.close()
        os.unlink(self.path)


class DiskLab(StoreLab):
    def __init__(self, options):
        super().__init__(options, names=())
        self.known = 0
        self.stores = [self.add(DiskStore, "n%d" % i, 10 + i) for i in (1, 2, 3)]
        for store in self.stores:
            store.configure()

    def note(self):
        """One more value that must never be lost."""
        self.known += 1
        put(self.leader(), "/known/%d" % self.known, str(self.known))

    def check_known(self):
        for store in self.stores:
            answer = key(store.address, "GET", "/known?quorum=true")
            nodes = answer[2]["node"]["nodes"]
            equal(sorted(int(n["value"]) for n in nodes), list(range(1, self.known + 1)), "at " + store.name)

    def show_logs(self, lines=60):
        super().show_logs(lines)
        for store in self.stores:
            print(run("du", "-ak", store.lib))

    def restore(self):
        for store in self.stores:
            store.restore_disk()
            store.kill()
            store.snapshot_size = SNAPSHOT_SIZE
            store.configure()
        try:
            super().restore()
        except AssertionError:
            self.show_logs(2000)
            raise


def put(store, path, value, timeout=5):
    status = key(store.address, "PUT", path, {"value": value}, timeout=timeout)[0]
    check(status in (200, 201), "PUT %s at %s: %d" % (path, store.name, status))


class Flood:
    """Writes over a few keys, to whoever leads, by way of one store."""

    def __init__(self, store):
        self.connection = http.client.HTTPConnection(store.address, 4001, timeout=10)
        self.n = 0
        self.refused = []

    def write(self):
        self.n += 1
        self.connection.request("PUT", "/v2/keys/much/%d" % (self.n % 20), body="value=" + VALUE, headers=FORM)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        if answer.status not in (200, 201):
            self.refused.append("%d %s" % (answer.status, text))

    def bytes(self, n_bytes, limit=60):
        end = now() + limit
        for i in range(n_bytes // len(VALUE) + 1):
            check(now() < end, "%d writes in %d s" % (i, limit))
            self.write()

    def until(self, what, condition, limit=60):
        end = now() + limit
        while not condition():
            check(now() < end, "%d writes in %d s, and still not %s" % (self.n, limit, what))
            for _ in range(50):
                self.write()


def write_much(store, n_bytes, limit=60):
    flood = Flood(store)
    flood.bytes(n_bytes, limit)
    return flood.refused


def follows(store, leader):
    """Whether @store has all that @leader has."""
    path = "/mark/" + store.name
    value = str(now())
    put(leader, path, value)
    wait_for("%s to have caught up" % store.name, lambda: store.has(path, value), 30, 0.05)


# Full disks.


def full_disk_of_a_follower_stops_nobody(lab):
    full = lab.follower()
    leader = lab.leader()
    lab.note()
    since = len(full.log())
    full.fill()
    flood = Flood(leader)
    flood.until("full", lambda: FULL in full.log()[since:])
    check(lab.leader() is leader, "leadership has moved")
    # What is left of the segment is enough to follow for a while.
    lab.note()
    follows(full, leader)
    equal(key(full.address, "GET", "/known/1?quorum=true")[2]["node"]["value"], "1")
    put(full, "/by-full", "passed on")
    # Then it stops to follow, and goes on to answer what it knows.
    flood.bytes(18 << 20)
    equal(flood.refused[:3], [], "writes at a leader with room")
    equal(key(full.address, "GET", "/known/1")[2]["node"]["value"], "1")
    check(lab.leader() is leader, "leadership has moved")
    full.free()
    full.says(ROOM, since)
    follows(full, lab.leader())
    lab.check_known()


def full_member_starts_again(lab):
    """Without room for a whole segment: with what the last one has left."""
    full = lab.follower()
    lab.note()
    write_much(lab.leader(), 4 << 20)
    full.kill()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(full.raft, "wal-spare"))
    since = len(full.log())
    full.fill()
    full.filler.is_paused = True  # else it takes what the segment before gives back
    full.start()
    follows(full, lab.leader())
    full.says(FULL, since)
    check(not full.leads(), "it leads")
    # In the end nothing is left, and it says so, and waits for room by itself.
    write_much(lab.leader(), 20 << 20)
    full.kill()
    full.fill()
    since = len(full.log())
    full.start()
    full.says("free at least", since)
    full.free()
    follows(full, lab.leader())
    lab.check_known()


def full_leader_hands_on_and_reads_go_on(lab):
    full = lab.leader()
    lab.note()
    since = len(full.log())
    full.fill()
    flood = Flood([s for s in lab.stores if s is not full][0])
    flood.until("full", lambda: FULL in full.log()[since:])
    wait_for("another leader", lambda: lab.leader() is not full, 10)
    for text in flood.refused:
        check("disk of the leader is full" in text or "leader" in text, text)
    print("    %d of %d writes were refused" % (len(flood.refused), flood.n))
    put(full, "/by-full", "passed on")
    equal(key(full.address, "GET", "/known/1?quorum=true")[2]["node"]["value"], "1")
    lab.note()
    full.free()
    full.says(ROOM, since)
    follows(full, lab.leader())
    lab.check_known()


def restart_together(lab):
    """All begin a segment, and come to its end together."""
    for store in lab.stores:
        store.kill()
    for store in lab.stores:
        store.start()
    lab.wait_ready()


def who_has_room_leads(lab):
    """Nobody knows who has, and the first two must not hand leadership to one another for ever."""
    third = [s for s in lab.stores if s is not lab.leader()][-1]
    full = [s for s in lab.stores if s is not third]
    lab.note()
    since = {s: len(s.log()) for s in lab.stores}
    for store in full:
        store.fill()
    flood = Flood(third)
    flood.until("full", lambda: all(FULL in s.log()[since[s]:] for s in full))
    wait_for("the third to lead", third.leads, 15)
    lab.note()
    lab.check_known()
    for store in full:
        store.free()
    for store in full:
        follows(store, third)


def full_majority_refuses_writes_and_recovers(lab):
    restart_together(lab)
    lab.note()
    since = {s: len(s.log()) for s in lab.stores}
    for store in lab.stores:
        store.fill()
    flood = Flood(lab.leader())
    flood.until("full everywhere", lambda: all(FULL in s.log()[since[s]:] for s in lab.stores))
    # A write that comes while leadership goes round may wait in vain; the others are told why.
    reasons = {json.loads(text[4:])["cause"] for text in flood.refused}
    check(len(reasons) <= 3, "refused because of %s" % reasons)

    # As long as none has room, nobody takes a write.
    def refusal():
        status, _, answer = key(lab.leader().address, "PUT", "/no", {"value": "room"})
        check(status == 500, "it was taken: %d" % status)
        return answer["cause"] == "the disk of the leader is full"

    wait_for("a clear answer", refusal, 10, 0.1)
    for store in lab.stores:
        equal(key(store.address, "GET", "/known/1?quorum=true")[2]["node"]["value"], "1")
    equal(key(lab.leader().address, "GET", "/no?quorum=true")[0], 404)
    for store in lab.stores:
        store.free()
    for store in lab.stores:
        store.says(ROOM, since[store])
    lab.wait_ready()
    lab.note()
    lab.check_known()


def full_cluster_starts_again(lab):
    restart_together(lab)
    lab.note()
    for store in lab.stores:
        store.fill()
    flood = Flood(lab.leader())
    flood.until("refused", lambda: any("disk of the leader is full" in text for text in flood.refused))
    for store in lab.stores:
        store.filler.is_paused = True  # else it takes what the last segments give back
        store.kill()
    for store in lab.stores:
        store.start()
    lab.leader(30)
    for store in lab.stores:
        wait_for(store.name + " to answer", store.answers, 10)
        equal(key(store.address, "GET", "/known/1?quorum=true")[2]["node"]["value"], "1")
    for store in lab.stores:
        store.free()
    lab.wait_ready()
    lab.note()
    lab.check_known()


# Disks that fail.


def start_with_shim(store):
    for name, content in (("trace", ""), ("fault", "")):
        path = os.path.join(store.dir, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(content)
        os.chmod(path, 0o666)
    store.spawn(os.path.join(store.lab.build, "failoverd"), "-c", store.conf,
                env=dict(os.environ, LD_PRELOAD=os.path.join(store.lab.build, "e2e", "shim-disk.so"),
                         SHIM_DISK_DATA=store.raft, SHIM_DISK_FAULT=os.path.join(store.dir, "fault"),
                         SHIM_DISK_TRACE=os.path.join(store.dir, "trace"),
                         ASAN_OPTIONS="verify_asan_link_order=0"))


def set_fault(store, call):
    # At once and whole: another process may read it at any time.
    path = os.path.join(store.dir, "fault")
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(call)
    os.chmod(path + ".new", 0o644)
    os.rename(path + ".new", path)


def calls_since_failure(store):
    """For each process that saw a call fail: the calls of its log from then on."""
    found = {}
    with open(os.path.join(store.dir, "trace"), encoding="ascii") as file:
        for line in file:
            pid, call, path, result = line.split()
            found.setdefault(pid, []).append((call, os.path.basename(path), result))
    return found


def fails_once(lab, store, call):
    lab.note()
    engine = wait_for("an engine", store.engine, 10)
    since = len(store.log())
    set_fault(store, call)
    # Something to write, for as long as it takes.
    end = now() + 10
    while "ending without promising" not in store.log()[since:]:
        check(now() < end, "the engine goes on with a failing " + call)
        takes_writes([s for s in lab.stores if s is not store][0].address)
    store.says("Input/output error", since)
    store.says("the engine has ended (", since)
    lab.note()  # the others go on
    set_fault(store, "")
    wait_for("another engine", lambda: store.engine() not in (0, engine), 10)
    follows(store, lab.leader())
    calls = calls_since_failure(store)[str(engine)]
    equal(calls[0][0::2], (call, "failed"))
    check(len(calls) == 1, "the engine went on to use a disk that had failed: %s" % calls)


def failed_write_or_sync_ends_the_engine_for_good(lab):
    for store in (lab.leader(), lab.follower()):
        store.kill()
        start_with_shim(store)
        lab.wait_ready()
        for call in ("fdatasync", "pwrite"):
            fails_once(lab, store, call)
        lab.check_known()
        store.kill()
        store.start()
        lab.wait_ready()


# Damage.


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 4]))


def used(path):
    """Up to where something is written in a segment."""
    with open(path, "rb") as file:
        return len(file.read().rstrip(b"\0"))


def refuses(store, *words):
    """It does not start, and says why; it is stopped then."""
    since = len(store.log())
    store.start()
    for w in words:
        store.says(w, since)
    check(not store.answers(), "it serves all the same")
    store.kill()
    return store.log()[since:]


def starts(lab, store, *words):
    since = len(store.log())
    store.start()
    for w in words:
        store.says(w, since)
    follows(store, lab.leader())
    lab.check_known()


def stop_in_order(store):
    """The mark behind the last write has been made."""
    time.sleep(1.5)  # see disk.c: about a second after the last write, and nothing shows it outside
    store.kill()


def damaged_log_is_refused_with_the_place(lab):
    store = lab.follower()
    lab.note()
    for _ in range(2):  # each start begins a segment
        store.kill()
        store.start()
        follows(store, lab.leader())
    write_much(lab.leader(), 2 << 20)
    stop_in_order(store)
    last = store.segments()[-1]
    name = os.path.basename(last)
    middle = SEGMENT_HEADER + (used(last) - SEGMENT_HEADER) // 2
    for offset in (20, SEGMENT_HEADER + 2, middle):
        with store.kept():
            flip(last, offset)
            text = refuses(store, "the log is damaged: ", name + ", byte ", "does not start")
            place = int(re.search(r"byte (\d+)", text).group(1))
            check(place <= offset, "damage at %d is said to be at %d" % (offset, place))
            check(offset - place < 64 << 10, "damage at %d is said to be at %d" % (offset, place))
    with store.kept():
        flip(last, 8)  # the version: that comes before the sum
        refuses(store, "was written by a newer version")
    with store.kept():
        os.truncate(store.segments()[-2], SEGMENT_HEADER)
        refuses(store, "the log is damaged: ", "the end of the file is missing")
    with store.kept():
        check(len(store.segments()) > 2, "there are only %d segments" % len(store.segments()))
        os.unlink(store.segments()[-2])
        refuses(store, "the log is damaged: ", os.path.basename(store.segments()[-1])[:-1], "the file is missing")
    with store.kept():
        for path in store.segments():
            os.unlink(path)
        refuses(store, "all segments are missing")
    with store.kept():
        flip(os.path.join(store.raft, "meta"), 20)
        refuses(store, "the log is damaged: ", "meta, byte 0: its header does not verify")
    starts(lab, store)


def torn_tail_is_cut_off(lab):
    store = lab.follower()
    lab.note()
    store.kill()
    last = store.segments()[-1]
    with open(last, "r+b") as file:  # a write of which not all came to the disk
        file.seek(used(last) - 8)
        file.write(bytes(8))
    starts(lab, store, "an unfinished last write of ")


def take_snapshots(lab, store, n):
    for _ in range(n):
        before = store.snapshots()
        Flood(lab.leader()).until("a snapshot", lambda: store.snapshots()[-1:] != before[-1:])
    wait_for("two snapshots", lambda: len(store.snapshots()) == 2, 20, 0.05)


def spare_stands_in_for_a_damaged_snapshot(lab):
    store = lab.follower()
    store.kill()
    store.snapshot_size = "2MiB"
    store.configure()
    store.start()
    lab.wait_ready()
    lab.note()
    take_snapshots(lab, store, 2)
    lab.note()
    store.kill()
    spare, newest = store.snapshots()
    with store.kept():
        flip(newest, os.path.getsize(newest) // 2)
        starts(lab, store, "the snapshot %s is damaged behind byte " % newest, "going on from the one before it")
        # The damaged one must not be what is left when the next one is taken.
        take_snapshots(lab, store, 1)
        store.kill()
        check(newest not in store.snapshots(), "the damaged snapshot is still there")
        flip(store.snapshots()[1], os.path.getsize(store.snapshots()[1]) // 2)
        starts(lab, store, "going on from the one before it")
    with store.kept():
        flip(newest, 40)
        flip(spare, os.path.getsize(spare) - 10)
        refuses(store, "the snapshot %s is damaged behind byte 0. " % newest, "let it join again")
    with store.kept():
        os.unlink(newest)
        starts(lab, store, "the snapshot %s is missing" % newest, "going on from the one before it")
    with store.kept():
        os.unlink(newest)
        os.unlink(spare)
        refuses(store, "the snapshot %s is missing" % newest, "let it join again")
    store.configure()
    starts(lab, store)


# The wrong directory.


def only_its_own_directory_will_do(lab):
    store = lab.follower()
    other = [s for s in lab.stores if s not in (store, lab.leader())][0]
    lab.note()
    # A second daemon on it, which has a place of its own for all else.
    second = os.path.join(store.dir, "second.conf")
    store.configure(path=second, run_dir="second-run")
    os.mkdir(os.path.join(store.dir, "second-run"))
    child = store.spawn(os.path.join(lab.build, "failoverd"), "-c", second)
    store.says("another failoverd runs on %s: it holds " % store.raft)
    child.terminate()
    child.wait()
    lab.check_known()
    store.kill()
    # Another cluster's.
    store.configure(cluster="another")
    refuses(store, "belongs to cluster ", "Set another data directory")
    store.configure()
    # Another member's.
    with store.kept():
        shutil.rmtree(store.raft)
        shutil.copytree(other.raft, store.raft)
        run("chown", "-R", "nobody", store.raft)
        refuses(store, 'is the data directory of member "%s", and this node is "%s"' % (other.name, store.name))
        lab.note()
    # One that cannot be written.
    run("mount", "-o", "remount,ro", store.lib)
    refuses(store, "Read-only file system")
    run("mount", "-o", "remount,rw", store.lib)
    starts(lab, store)
    # What is not a directory.
    store.kill()
    os.rename(store.raft, store.raft + ".away")
    with open(store.raft, "w", encoding="ascii"):
        pass
    refuses(store, "Not a directory")
    os.unlink(store.raft)
    os.rename(store.raft + ".away", store.raft)
    starts(lab, store)


def yesterdays_log_is_brought_up_to_date(lab):
    """What is there is true, and the others have the rest: as long as they are a majority."""
    store = lab.follower()
    store.kill()
    yesterday = os.path.join(store.dir, "yesterday")
    shutil.copytree(store.raft, yesterday)
    store.start()
    lab.wait_ready()
    for _ in range(3):
        lab.note()
    follows(store, lab.leader())
    store.kill()
    shutil.rmtree(store.raft)
    shutil.move(yesterday, store.raft)
    run("chown", "-R", "nobody", store.raft)
    leader = lab.leader()
    since = len(leader.log())
    starts(lab, store)
    leader.says("entries that were acknowledged are missing from the log of " + store.name, since)


QUICK = [damaged_log_is_refused_with_the_place, torn_tail_is_cut_off, only_its_own_directory_will_do,
         yesterdays_log_is_brought_up_to_date, full_disk_of_a_follower_stops_nobody,
         full_majority_refuses_writes_and_recovers, failed_write_or_sync_ends_the_engine_for_good]
TESTS = QUICK + [full_member_starts_again, full_leader_hands_on_and_reads_go_on, who_has_room_leads,
                 full_cluster_starts_again, spare_stands_in_for_a_damaged_snapshot]


def main():
    options = options_of(__doc__, lambda p: p.add_argument("--quick", action="store_true"))
    tests = [t for t in (QUICK if options.quick else TESTS) if not options.names or t.__name__ in options.names]

    def inside(_):
        lab = DiskLab(options)
        try:
            lab.start()
            lab.note()
            passed, failed = run_tests(lab, tests)
            if lab.faults():
                failed += 1
                print("FAILED  the logs show faults: %s" % lab.faults()[:5])
            if failed:
                lab.show_logs()
        finally:
            for store in lab.stores:
                store.free()
            lab.close()
        print("%d passed, %d failed" % (passed, failed))
        return 1 if failed or not passed else 0

    return in_namespaces(options, inside)


if __name__ == "__main__":
    sys.exit(main())
