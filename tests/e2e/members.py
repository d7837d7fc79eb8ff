#!/usr/bin/env python3
"""Members that come and go, snapshots for those that were away, backups: on real daemons. Root."""

import contextlib
import glob
import http.client
import os
import re
import shutil
import sys
import threading
import time

from lab import now, run, wait_for
from storelab import Store, StoreLab, ask, check, equal, in_namespaces, key, options_of, run_tests

SNAPSHOT_SIZE = "1MiB"


class Member(Store):
    def configure(self, members=None):
        lines = "".join('  member "%s" { address = "%s" }\n' % (n.name, n.address)
                        for n in members or self.lab.stores)
        with open(self.conf, "w", encoding="ascii") as file:
            file.write('node "%s" { data_dir = "%s/lib"  run_dir = "%s/run"  user = "nobody"  snapshot_size = %s }\n'
                       'cluster "store" {\n  profile = lan\n%s}\n' %
                       (self.name, self.dir, self.dir, SNAPSHOT_SIZE, lines))

    def daemon(self, *words, check_status=True):
        return run("ip", "netns", "exec", self.name, os.path.join(self.lab.build, "failoverd"), "-c", self.conf,
                   *words, check=check_status)

    def wipe(self):
        for path in glob.glob(os.path.join(self.dir, "lib", "*")):
            shutil.rmtree(path)

    def has(self, path, value):
        with contextlib.suppress(OSError, http.client.HTTPException, KeyError, TypeError):
            return key(self.address, "GET", path, timeout=1)[2]["node"]["value"] == value
        return False


class MembersLab(StoreLab):
    def __init__(self, options):
        super().__init__(options, names=())
        self.stores = [self.add(Member, "n%d" % i, 10 + i) for i in (1, 2, 3)]
        for store in self.stores:
            store.configure()

    def another(self, name, number):
        store = self.add(Member, name, number)
        store.configure(self.stores + [store])
        return store

    def join(self, store, helper, *role):
        """As an operator does it: add here, join there, start."""
        said = helper.ctl("member", "add", store.name, store.address, *role)
        store.daemon("--join", re.search(r"--join (\S+)", said).group(1))
        store.start()
        if store not in self.stores:
            self.stores.append(store)

    def leave(self, store, helper):
        helper.ctl("member", "remove", store.name)
        store.kill()
        self.stores.remove(store)


def members_at(store):
    return ask(store.address, "GET", "/v1/members")[2]["members"]


def put(store, path, value, timeout=5):
    status = key(store.address, "PUT", path, {"value": value}, timeout=timeout)[0]
    check(status in (200, 201), "PUT %s at %s: %d" % (path, store.name, status))


def fill(store, folder, n, size):
    connection = http.client.HTTPConnection(store.address, 4001, timeout=10)
    for i in range(n):
        connection.request("PUT", "/v2/keys/%s/%d" % (folder, i), body="value=%d-%s" % (i, "x" * size),
                           headers={"Content-Type": "application/x-www-form-urlencoded"})
        answer = connection.getresponse()
        answer.read()
        check(answer.status in (200, 201), "write %d: %d" % (i, answer.status))
    connection.close()


def wait_for_key(store, path, value, limit=20):
    wait_for("%s to have %s" % (store.name, path), lambda: store.has(path, value), limit, 0.05)


def late_member_is_sent_a_snapshot(lab):
    away = lab.follower()
    away.kill()
    leader = lab.leader()
    fill(leader, "late", 2000, 2000)
    wait_for("a snapshot in place of the log", lambda: "replaces the log" in leader.log(), 20)
    # The log keeps a tail for members that are a little behind: more than that has to come.
    fill(leader, "later", 4500, 1000)
    away.start()
    wait_for_key(away, "/later/4499", "4499-" + "x" * 1000)
    check("was received and is in force" in away.log(), "it came by the log")
    equal(len(key(away.address, "GET", "/late")[2]["node"]["nodes"]), 2000)
    put(away, "/after", "snapshot")
    away.kill()
    away.start()  # from the snapshot that it was sent
    wait_for_key(away, "/later/4499", "4499-" + "x" * 1000)


def leader_knows_how_soon_the_others_answer(lab):
    def statistics(store, what):
        return ask(store.address, "GET", "/v2/stats/" + what)[2]

    leader, follower = lab.leader(), lab.follower()
    own = statistics(follower, "self")
    put(follower, "/counted", "1")
    wait_for("the follower to count appends", lambda: statistics(follower, "self")["recvAppendRequestCnt"] >
             own["recvAppendRequestCnt"], 5)
    check(statistics(leader, "self")["sendAppendRequestCnt"] > 0, "the leader sent some")
    equal(ask(follower.address, "GET", "/v2/stats/leader")[0], 403)
    found = statistics(leader, "leader")
    equal(len(found["followers"]), len(lab.stores) - 1)
    figures = found["followers"][own["id"]]
    latency, before = figures["latency"], figures["counts"]
    check(0 < latency["minimum"] <= latency["average"] <= latency["maximum"] < 5000, figures)
    check(latency["minimum"] <= latency["current"] <= latency["maximum"], figures)
    check(0 <= latency["standardDeviation"] <= latency["maximum"], figures)
    check(before["success"] > 0, figures)
    follower.freeze()
    try:
        wait_for("its silence to be counted", lambda: statistics(leader, "leader")["followers"][own["id"]]["counts"]
                 ["fail"] > before["fail"], 5)
    finally:
        follower.thaw()
    lab.wait_ready()


def disk_does_not_grow_for_ever(lab):
    leader = lab.leader()
    for i in range(6):
        fill(leader, "grow", 1000, 3000)
    wait_for("old segments to go", lambda: size_of(leader) < 100 << 20, 20)
    wait_for("one snapshot and a spare one", lambda: len(snapshots_of(leader)) <= 2, 20)


def snapshots_of(store):
    return glob.glob(os.path.join(store.dir, "lib", "raft", "snap-*"))


def size_of(store):
    return sum(os.path.getsize(p) for p in glob.glob(os.path.join(store.dir, "lib", "raft", "*")))


def fourth_replaces_a_dead_third(lab):
    dead = lab.follower()
    dead.kill()
    helper = lab.leader()
    helper.ctl("member", "remove", dead.name)
    lab.stores.remove(dead)
    fourth = lab.another("n4", 14)
    lab.join(fourth, helper)
    wait_for("n4 to vote", lambda: "n4" in voters(lab), 20)
    wait_for_key(fourth, "/after", "snapshot")
    # With it, and without one of the two that were there before, there is a majority.
    gone = [s for s in lab.stores if s is not fourth][0]
    gone.kill()
    wait_for("writes without %s" % gone.name, lambda: writes(fourth), 10, 0.05)
    gone.start()
    lab.wait_ready()
    # The dead one comes back, and is turned away.
    dead.start()
    wait_for("it to be refused", lambda: "refused" in lab.leader().log() or "refused" in dead.log(), 20)
    equal(sorted(voters(lab)), sorted(s.name for s in lab.stores))
    dead.kill()
    dead.wipe()


def voters(lab):
    with contextlib.suppress(OSError, http.client.HTTPException, KeyError, TypeError, AssertionError):
        return [m["name"] for m in members_at(lab.leader()) if m["votes"]]
    return []


def writes(store):
    with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
        put(store, "/probe", str(now()), timeout=3)
        return True
    return False


def wiped_member_is_refused_until_it_is_added_again(lab):
    wiped = lab.follower()
    name = wiped.name
    wait_for("its disk to be known", lambda: all(m["joined"] for m in members_at(lab.leader())), 10)
    wiped.kill()
    wiped.wipe()
    before = len(lab.leader().log())
    wiped.start()
    wait_for("the others to refuse it", lambda: "another data directory" in lab.leader().log()[before:] or
             "is of cluster" in lab.leader().log()[before:], 20)
    wiped.kill()
    wiped.wipe()
    helper = lab.leader()
    helper.ctl("member", "remove", name)
    lab.join(wiped, helper)
    wait_for("%s to vote again" % name, lambda: name in voters(lab), 20)
    wait_for_key(wiped, "/after", "snapshot")


def observer_has_a_copy_and_no_vote(lab):
    observer = lab.another("o1", 31)
    helper = lab.leader()
    lab.join(observer, helper, "observer")
    wait_for_key(observer, "/after", "snapshot")
    check("o1" not in voters(lab), "it votes")
    put(observer, "/by-observer", "1")  # it passes writes on
    equal(key(observer.address, "GET", "/by-observer?quorum=true")[2]["node"]["value"], "1")
    helper = lab.leader()
    helper.ctl("member", "promote", "o1")
    wait_for("o1 to vote", lambda: "o1" in voters(lab), 20)
    lab.leave(observer, lab.follower() if lab.leader() is observer else lab.leader())


class Writer(threading.Thread):
    """Writes all the time, to whoever answers; knows the longest time without a success."""

    def __init__(self, lab):
        super().__init__(daemon=True)
        self.lab = lab
        self.stopping = False
        self.acknowledged = 0
        self.longest = 0.0

    def run(self):
        last = now()
        i = 0
        while not self.stopping:
            stores = list(self.lab.stores)
            store = stores[i % len(stores)]
            i += 1
            if not store.pids():
                continue
            with contextlib.suppress(OSError, http.client.HTTPException):
                if key(store.address, "PUT", "/walk/%d" % self.acknowledged, {"value": "1"}, timeout=2.5)[0] == 201:
                    self.acknowledged += 1
                    self.longest = max(self.longest, now() - last)
                    last = now()
        self.longest = max(self.longest, now() - last)


def three_to_five_to_three_under_load(lab):
    writer = Writer(lab)
    writer.start()
    try:
        for i in (1, 2):
            store = lab.another("w%d" % i, 40 + i)
            lab.join(store, lab.leader())
            wait_for("%s to vote" % store.name, lambda s=store: s.name in voters(lab), 30)
        equal(len(voters(lab)), 5)
        for _ in range(2):
            leader = lab.leader()  # who leads goes first: it has to hand over
            helper = [s for s in lab.stores if s is not leader][0]
            lab.leave(leader, helper)
            wait_for("a new leader", lambda: len([s for s in lab.stores if s.leads()]) == 1, 20, 0.05)
        equal(len(voters(lab)), 3)
    finally:
        writer.stopping = True
        writer.join()
    check(writer.acknowledged > 20, "%d writes" % writer.acknowledged)
    print("    %d writes, at most %d ms without one" % (writer.acknowledged, writer.longest * 1000))
    check(writer.longest < 2.5, "%.2f s without a write" % writer.longest)
    walked = key(lab.leader().address, "GET", "/walk?quorum=true")[2]["node"]["nodes"]
    check(len(walked) >= writer.acknowledged, "%d of %d are there" % (len(walked), writer.acknowledged))


def member_that_was_away_finds_a_leader_it_has_never_heard_of(lab):
    away = lab.follower()
    away.kill()
    lab.stores.remove(away)
    old = list(lab.stores)
    for i in (1, 2):
        store = lab.another("s%d" % i, 60 + i)
        lab.join(store, lab.leader())
        wait_for("%s to vote" % store.name, lambda s=store: s.name in voters(lab), 30)
    for _ in range(20):
        leader = lab.leader()
        if leader not in old:
            break
        leader.freeze()
        try:
            wait_for("another leader", lambda: any(s.leads() for s in lab.stores if s is not leader), 20, 0.05)
        finally:
            leader.thaw()
        lab.wait_ready()
    check(leader not in old, "only the old ones lead")
    put(leader, "/while/away", "yes")
    away.start()
    wait_for_key(away, "/while/away", "yes")
    lab.stores.append(away)
    for store in lab.stores[2:4]:
        lab.leave(store, away)
        wait_for("a leader", lambda: len([s for s in lab.stores if s.leads()]) == 1, 20, 0.05)


def backup_becomes_a_new_cluster(lab):
    keeper = lab.leader()
    put(keeper, "/kept", "yes")
    target = os.path.join(lab.dir, "backup")
    keeper.ctl("backup", target)
    os.chmod(target, 0o644)
    put(keeper, "/lost", "yes")
    index = int(key(keeper.address, "GET", "/kept")[1]["X-Etcd-Index"])
    for store in list(lab.stores):
        store.kill()
        store.wipe()
    lab.stores = [keeper]
    with open(target, "r+b") as file:  # what is damaged is refused
        file.seek(os.path.getsize(target) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    check("damaged" in keeper.daemon("--restore", target, check_status=False), "a damaged backup was restored")
    with open(target, "r+b") as file:
        file.seek(os.path.getsize(target) // 2)
        file.write(byte)
    keeper.daemon("--restore", target)
    keeper.start()
    lab.wait_ready()
    equal(key(keeper.address, "GET", "/kept")[2]["node"]["value"], "yes")
    equal(key(keeper.address, "GET", "/lost")[0], 404)
    check(int(key(keeper.address, "GET", "/kept")[1]["X-Etcd-Index"]) <= index + 100, "the index")
    second = lab.another("r2", 52)
    lab.join(second, keeper)
    wait_for_key(second, "/kept", "yes")
    wait_for("r2 to vote", lambda: "r2" in voters(lab), 20)


TESTS = [late_member_is_sent_a_snapshot, leader_knows_how_soon_the_others_answer, disk_does_not_grow_for_ever,
         fourth_replaces_a_dead_third, wiped_member_is_refused_until_it_is_added_again, observer_has_a_copy_and_no_vote,
         three_to_five_to_three_under_load, member_that_was_away_finds_a_leader_it_has_never_heard_of,
         backup_becomes_a_new_cluster]


def main():
    options = options_of(__doc__)
    tests = [t for t in TESTS if not options.names or t.__name__ in options.names]

    def inside(_):
        lab = MembersLab(options)
        try:
            lab.start()
            put(lab.leader(), "/after", "snapshot")
            passed, failed = run_tests(lab, tests)
            if lab.faults():
                failed += 1
                print("FAILED  the logs show faults: %s" % lab.faults()[:5])
            if failed:
                lab.show_logs()
        finally:
            lab.close()
        print("%d passed, %d failed" % (passed, failed))
        return 1 if failed or not passed else 0

    return in_namespaces(options, inside)


if __name__ == "__main__":
    sys.exit(main())
