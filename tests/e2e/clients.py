#!/usr/bin/python3
"""Unmodified clients of etcd against three real stores, each call through the leader and through a
follower: every command of etcdctl with its version 2, python-etcd, curl. Needs root, and the
system's own Python, which has python-etcd.

clients.py --build FOLDER [--etcd] [NAME]...
"""

import json
import logging
import os
import subprocess
import sys
import threading
import time

import etcd

from storelab import API, Failure, ask, check, equal, main_of_lab, options_of, run, wait_for

logging.disable(logging.CRITICAL)  # python-etcd tells all that it throws
ENVIRONMENT = dict(os.environ, ETCDCTL_API="2", LC_ALL="C.UTF-8")


def etcdctl(store, *words, status=0, sync=False, flags=(), inside=(), timeout=20):
    """The output of one etcdctl that talks to this store only, or with sync to whom it finds."""
    command = [*inside, "etcdctl", "--endpoints", "http://%s:%d" % (store.address, API), *flags]
    if not sync:
        command.append("--no-sync")
    done = subprocess.run(command + list(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=ENVIRONMENT, timeout=timeout, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != status:
        raise Failure("etcdctl %s: status %d, wanted %d: %s" %
                      (" ".join(words), done.returncode, status, done.stdout))
    return done.stdout.strip("\n")


def json_of(store, *words, **options):
    return json.loads(etcdctl(store, *words, flags=("-o", "json"), **options))


def refused(store, code, *words):
    """A command that the store refuses: etcdctl prints code, message, cause and index."""
    output = etcdctl(store, *words, status=4)
    check(output.startswith("Error:  %d: " % code) and output.endswith("]"), output)
    return output


class Background:
    """A command that goes on beside the test."""

    def __init__(self, store, *words):
        self.process = subprocess.Popen(
            ["etcdctl", "--endpoints", "http://%s:%d" % (store.address, API), "--no-sync", *words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT,
            stdin=subprocess.DEVNULL, start_new_session=True)
        self.lines = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, line, poke, limit=10):
        """Calls poke() until the line has come: nothing tells when a watch is in place."""
        def came():
            if line in self.lines:
                return True
            poke()
            return False

        wait_for("a line %r; there is %r" % (line, self.lines), came, limit, 0.05)

    def end(self, limit=10):
        status = self.process.wait(timeout=limit)
        self.thread.join(timeout=5)
        return status

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


# etcdctl, one store at a time.

def etcdctl_sets_gets_and_removes(store, base):
    equal(etcdctl(store, "set", base + "/a", "one"), "one")
    equal(etcdctl(store, "get", base + "/a"), "one")
    equal(etcdctl(store, "get", base + "/a", "--quorum"), "one")
    body = json_of(store, "set", base + "/a", "two")
    equal((body["action"], body["node"]["value"], body["prevNode"]["value"]), ("set", "two", "one"))
    text = etcdctl(store, "get", base + "/a", flags=("-o", "extended"))
    for line in ("Key: " + base + "/a", "Modified-Index: %d" % body["node"]["modifiedIndex"], "two"):
        check(line in text.split("\n"), "%r in %r" % (line, text))
    equal(etcdctl(store, "rm", base + "/a"), "PrevNode.Value: two")
    check("(%s)" % base not in refused(store, 100, "get", base + "/a"), "the cause is what is missing")
    refused(store, 100, "rm", base + "/a")
    equal(etcdctl(store, "set", base + "/odd", "a b&c=d+e%20<\u00e9>\ttab"), "a b&c=d+e%20<\u00e9>\ttab")
    equal(etcdctl(store, "get", base + "/odd"), "a b&c=d+e%20<\u00e9>\ttab")
    etcdctl(store, "set", base + "/odd", status=1)
    etcdctl(store, "get", status=1)


def etcdctl_swaps_only_what_it_knows(store, base):
    index = json_of(store, "set", base + "/s", "one")["node"]["modifiedIndex"]
    refused(store, 101, "set", "--swap-with-value", "wrong", base + "/s", "two")
    equal(etcdctl(store, "set", "--swap-with-value", "one", base + "/s", "two"), "two")
    refused(store, 101, "set", "--swap-with-index", str(index), base + "/s", "three")
    index = json_of(store, "get", base + "/s")["node"]["modifiedIndex"]
    equal(etcdctl(store, "set", "--swap-with-index", str(index), base + "/s", "three"), "three")
    refused(store, 100, "set", "--swap-with-value", "x", base + "/none", "two")
    refused(store, 101, "rm", "--with-value", "wrong", base + "/s")
    refused(store, 101, "rm", "--with-index", str(index), base + "/s")
    body = json_of(store, "rm", "--with-value", "three", base + "/s")
    equal((body["action"], body["prevNode"]["value"]), ("compareAndDelete", "three"))
    index = json_of(store, "set", base + "/s", "four")["node"]["modifiedIndex"]
    etcdctl(store, "rm", "--with-index", str(index), base + "/s")
    refused(store, 100, "rm", "--with-index", str(index), base + "/s")


def etcdctl_makes_and_updates(store, base):
    equal(etcdctl(store, "mk", base + "/m", "one"), "one")
    refused(store, 105, "mk", base + "/m", "two")
    equal(etcdctl(store, "update", base + "/m", "three"), "three")
    refused(store, 100, "update", base + "/none", "x")
    first = json_of(store, "mk", "--in-order", base + "/q", "one")
    second = json_of(store, "mk", "--in-order", base + "/q", "two")
    for body in (first, second):
        equal(body["node"]["key"], "%s/q/%020d" % (base, body["node"]["createdIndex"]))
    equal(etcdctl(store, "ls", "--sort", base + "/q").split("\n"),
          [first["node"]["key"], second["node"]["key"]])


def etcdctl_keeps_directories(store, base):
    etcdctl(store, "mkdir", base + "/d")
    refused(store, 105, "mkdir", base + "/d")
    refused(store, 102, "setdir", base + "/d")
    etcdctl(store, "setdir", base + "/e")
    etcdctl(store, "updatedir", "--ttl", "100", base + "/e")
    check(90 < ttl_of(store, base, base + "/e") <= 100, "the time of the directory")
    etcdctl(store, "updatedir", base + "/e")
    equal(ttl_of(store, base, base + "/e"), 0)
    refused(store, 100, "updatedir", base + "/none")
    refused(store, 102, "set", base + "/d", "value")
    etcdctl(store, "set", base + "/d/f", "x")
    refused(store, 104, "set", base + "/d/f/g", "x")
    etcdctl(store, "get", base + "/d", status=1)
    refused(store, 108, "rmdir", base + "/d")
    refused(store, 102, "rm", base + "/d")
    etcdctl(store, "rm", "--recursive", base + "/d")
    etcdctl(store, "rmdir", base + "/e")
    etcdctl(store, "mkdir", "--ttl", "100", base + "/g")
    etcdctl(store, "rm", "--dir", base + "/g")


def ttl_of(store, folder, name):
    """Whole seconds left, 0 if it stays for ever."""
    nodes = ask(store.address, "GET", "/v2/keys" + folder)[2]["node"].get("nodes", [])
    return next(n for n in nodes if n["key"] == name).get("ttl", 0)


def etcdctl_lists(store, base):
    for name in ("/l/b", "/l/a", "/l/sub/x", "/l/_hidden"):
        etcdctl(store, "set", base + name, "v")
    equal(etcdctl(store, "ls", "--sort", base + "/l").split("\n"),
          [base + "/l/a", base + "/l/b", base + "/l/sub"])
    equal(etcdctl(store, "ls", "--sort", "-p", "--recursive", "--quorum", base + "/l").split("\n"),
          [base + "/l/a", base + "/l/b", base + "/l/sub/", base + "/l/sub/x"])
    check(base in etcdctl(store, "ls").split("\n"), "the root")
    equal(etcdctl(store, "ls", base + "/l/a"), base + "/l/a")
    refused(store, 100, "ls", base + "/none")
    etcdctl(store, "mkdir", base + "/empty")
    equal(etcdctl(store, "ls", base + "/empty"), "")


def etcdctl_lets_keys_expire(store, base):
    etcdctl(store, "set", "--ttl", "100", base + "/t", "x")
    check(90 < ttl_of(store, base, base + "/t") <= 100, "the time that is left")
    etcdctl(store, "update", base + "/t", "y")
    equal(ttl_of(store, base, base + "/t"), 0)
    etcdctl(store, "mk", "--ttl", "1", base + "/t1", "x")
    etcdctl(store, "mkdir", "--ttl", "1", base + "/t2")
    wait_for("the end of both", lambda: ask(store.address, "GET", "/v2/keys" + base + "/t1")[0] == 404 and
             ask(store.address, "GET", "/v2/keys" + base + "/t2")[0] == 404, 5)


def etcdctl_watches(store, base):
    etcdctl(store, "set", base + "/w", "0")
    once = Background(store, "watch", base + "/w")
    try:
        wait_for("the end of the watch", lambda: once.process.poll() is not None or
                 not etcdctl(store, "set", base + "/w", "1"), 10, 0.05)
        equal((once.end(), once.lines), (0, ["1"]))
    finally:
        once.stop()
    index = json_of(store, "set", base + "/w", "2")["node"]["modifiedIndex"]
    equal(etcdctl(store, "watch", "--after-index", str(index - 1), base + "/w"), "2")
    following = Background(store, "watch", "--recursive", "--forever", "--after-index", str(index), base)
    try:
        for i in range(5):
            etcdctl(store, "set", "%s/deep/%d" % (base, i), "v%d" % i)
        etcdctl(store, "rm", base + "/deep/0")
        wait_for("all events", lambda: len(following.lines) >= 11, 10)
        values = [line for line in following.lines if line.startswith("v")]
        equal(values, ["v%d" % i for i in range(5)])
        check("[delete] %s/deep/0" % base in following.lines, following.lines)
    finally:
        following.stop()


def etcdctl_runs_commands_on_change(store, base):
    index = json_of(store, "set", base + "/x", "0")["node"]["modifiedIndex"]
    script = os.path.join(store.dir, "on-change.sh")
    with open(script, "w", encoding="ascii") as file:
        file.write("#!/bin/sh\n"
                   'echo "$ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE $ETCD_WATCH_MODIFIED_INDEX"\n')
    os.chmod(script, 0o755)
    # With flags before it, etcdctl takes the key from the end.
    watch = Background(store, "exec-watch", "--recursive", "--after-index", str(index), "--", script, base)
    try:
        last = json_of(store, "set", base + "/x", "hello")["node"]["modifiedIndex"]
        watch.wait_for("set %s/x hello %d" % (base, last), lambda: None)
    finally:
        watch.stop()


def etcdctl_lists_members(store, base):
    lines = etcdctl(store, "member", "list").split("\n")
    equal(len(lines), 3)
    equal(len([line for line in lines if "isLeader=true" in line]), 1)
    for line in lines:
        check("name=n" in line and "peerURLs=http://10.79.0." in line and
              "clientURLs=http://10.79.0." in line, line)


def etcdctl_says_that_the_cluster_is_healthy(store, base):
    output = etcdctl(store, "cluster-health")
    equal(output.count("is healthy: got healthy result from http://10.79.0."), 3)
    equal(output.split("\n")[-1], "cluster is healthy")


def etcdctl_finds_the_members_by_itself(store, base):
    for i in range(6):
        equal(etcdctl(store, "set", base + "/sync", str(i), sync=True), str(i))
        equal(etcdctl(store, "get", "--quorum", base + "/sync", sync=True), str(i))
    equal(etcdctl(store, "ls", base, sync=True, flags=("--debug",)).split("\n")[-1], base + "/sync")


# python-etcd.

def client(store, **options):
    return etcd.Client(host=store.address, port=API, **options)


def throws(kind, call, *args, **words):
    try:
        call(*args, **words)
    except kind as problem:
        return problem
    raise Failure("no %s" % kind.__name__)


def python_writes_reads_and_deletes(store, base):
    c = client(store)
    result = c.write(base + "/a", "one")
    check(result.newKey and result.action == "set" and result.createdIndex == result.modifiedIndex, "new")
    result = c.set(base + "/a", "two")
    check(not result.newKey and result._prev_node.value == "one", "not new")
    equal((c.read(base + "/a").value, c.get(base + "/a").value), ("two", "two"))
    equal(c.read(base + "/a", quorum=True).value, "two")
    check(base + "/a" in c and base + "/b" not in c, "in")
    result = c.read(base + "/a")
    check(result.etcd_index >= result.modifiedIndex and result.raft_index > 0, "headers are numbers")
    result.value = "three"
    equal(c.update(result).value, "three")
    equal(c.pop(base + "/a").value, "three")
    throws(etcd.EtcdKeyNotFound, c.read, base + "/a")
    throws(etcd.EtcdKeyNotFound, c.delete, base + "/a")
    text = "b\u00e4r & <tag>=+%41\n\x01"
    c.write(base + "/\u00fcml\u00e4ut", text)
    equal(c.read(base + "/\u00fcml\u00e4ut").value, text)


def python_compares(store, base):
    c = client(store)
    index = c.write(base + "/c", "one", prevExist=False).modifiedIndex
    throws(etcd.EtcdAlreadyExist, c.write, base + "/c", "x", prevExist=False)
    throws(etcd.EtcdCompareFailed, c.test_and_set, base + "/c", "two", "wrong")
    equal(c.test_and_set(base + "/c", "two", "one").action, "compareAndSwap")
    throws(etcd.EtcdCompareFailed, c.write, base + "/c", "three", prevIndex=index)
    throws(etcd.EtcdKeyNotFound, c.write, base + "/none", "x", prevExist=True)
    throws(etcd.EtcdCompareFailed, c.delete, base + "/c", prevValue="one")
    throws(etcd.EtcdCompareFailed, c.delete, base + "/c", prevIndex=index)
    equal(c.delete(base + "/c", prevValue="two").action, "compareAndDelete")


def python_keeps_directories(store, base):
    c = client(store)
    c.write(base + "/dir", None, dir=True)
    throws(etcd.EtcdNotFile, c.write, base + "/dir", "x")
    throws(etcd.EtcdNotFile, c.delete, base + "/dir")
    for i in range(3):
        c.write(base + "/dir/sub/%d" % i, str(i))
    appended = c.write(base + "/dir/queue", "first", append=True)
    equal(appended.key, "%s/dir/queue/%020d" % (base, appended.createdIndex))
    leaves = {leaf.key: leaf.value for leaf in c.read(base, recursive=True, sorted=True).leaves}
    equal(leaves, dict({"%s/dir/sub/%d" % (base, i): str(i) for i in range(3)}, **{appended.key: "first"}))
    throws(etcd.EtcdDirNotEmpty, c.delete, base + "/dir", dir=True)
    throws(etcd.EtcdNotDir, c.write, base + "/dir/sub/1/below", "x")
    check(c.delete(base + "/dir", recursive=True).dir, "a directory was deleted")
    throws(etcd.EtcdRootReadOnly, c.delete, "/", recursive=True)


def python_refreshes(store, base):
    c = client(store)
    result = c.write(base + "/t", "kept", ttl=2)
    check(result.ttl == 2 and result.expiration.endswith("Z"), "a time to live")
    result = c.refresh(base + "/t", 100)
    equal((result.value, result.ttl), ("kept", 100))
    throws(etcd.EtcdKeyNotFound, c.refresh, base + "/none", 5)
    throws(etcd.EtcdException, c.write, base + "/t", "x", ttl="soon")


def python_watches(store, base):
    c = client(store, read_timeout=20)
    index = c.write(base + "/w", "0").modifiedIndex
    writer = client(store)
    heard = []

    def listen():
        heard.append(c.watch(base + "/w"))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    wait_for("the watcher", lambda: heard or not writer.write(base + "/w", "1"), 10, 0.05)
    equal((heard[0].value, heard[0].action, heard[0]._prev_node.key), ("1", "set", base + "/w"))
    thread.join(timeout=5)
    equal(c.watch(base + "/w", index=index).value, "0")
    throws(etcd.EtcdWatchTimedOut, c.watch, base + "/silent", timeout=0.3)
    index = writer.write(base + "/many", "-").modifiedIndex
    for i in range(20):
        writer.write("%s/%s/%d" % (base, "deep" if i % 2 else "flat", i), str(i))
    found = []
    for event in c.eternal_watch(base, index=index + 1, recursive=True):
        found.append(event.value)
        if len(found) == 20:
            break
    equal(found, [str(i) for i in range(20)])
    throws(etcd.EtcdEventIndexCleared, cleared_watch, c, base)


def cleared_watch(c, base):
    """Asks for an event that is older than the history of a thousand."""
    for i in range(1001):
        c.write(base + "/fill", str(i))
    c.watch(base + "/fill", index=1)


def python_locks(store, base):
    lock = etcd.Lock(client(store), base.replace("/", "_"))
    other = etcd.Lock(client(store), base.replace("/", "_"))
    check(lock.acquire(blocking=False, lock_ttl=60) and lock.is_acquired, "the first has it")
    check(not other.acquire(blocking=False, lock_ttl=60) and not other.is_acquired, "the second waits")
    got = []
    thread = threading.Thread(target=lambda: got.append(other.acquire(blocking=True, lock_ttl=60)), daemon=True)
    thread.start()
    lock.release()
    thread.join(timeout=10)
    equal(got, [True])
    check(other.is_acquired and not lock.is_acquired, "it has passed over")
    other.release()
    with etcd.Lock(client(store), base.replace("/", "_")) as third:
        check(third.is_acquired, "as a context")


def python_knows_the_cluster(store, base):
    c = client(store)
    urls = ["http://10.79.0.%d:%d" % (11 + i, API) for i in range(3)]
    equal(sorted(c.machines), urls)
    members = c.members
    equal(sorted(m["name"] for m in members.values()), ["n1", "n2", "n3"])
    equal(sorted(u for m in members.values() for u in m["clientURLs"]), urls)
    check(c.leader["name"] in ("n1", "n2", "n3"), "a leader")
    check(c.stats["state"] in ("StateLeader", "StateFollower"), "statistics")
    before = c.store_stats
    c.write(base + "/s", "1")
    equal(c.store_stats["setsSuccess"], before["setsSuccess"] + 1)
    check(c.version and c.cluster_version, "versions")


def python_goes_to_another_server(store, base):
    c = etcd.Client(host=((store.address, API + 5), (store.address, API)), allow_reconnect=True, read_timeout=5)
    c.write(base + "/r", "1")
    equal(c.read(base + "/r").value, "1")
    c = client(store, allow_reconnect=True)
    equal(c.read(base + "/r").value, "1")


# curl, as shell scripts have it.

def curl(store, *words):
    output = run("curl", "-sS", "-m", "10", "-w", "\n%{http_code}", *words[:-1],
                 "http://%s:%d%s" % (store.address, API, words[-1]))
    body, _, status = output.rpartition("\n")
    return int(status), body


def curl_sends_forms_queries_and_large_bodies(store, base):
    status, body = curl(store, "-XPUT", "-d", "value=hello world", "/v2/keys%s/a" % base)
    equal((status, json.loads(body)["node"]["value"]), (201, "hello world"))
    status, body = curl(store, "-XPUT", "/v2/keys%s/a?value=from+query&prevValue=hello%%20world" % base)
    equal((status, json.loads(body)["node"]["value"]), (200, "from query"))
    status, body = curl(store, "-XPUT", "-d", "value=x", "-d", "prevExist=false", "/v2/keys%s/a" % base)
    equal((status, json.loads(body)["errorCode"]), (412, 105))
    path = os.path.join(store.dir, "large")
    with open(path, "w", encoding="ascii") as file:
        file.write("x" * 1000000)
    status, _ = curl(store, "-XPUT", "--data-urlencode", "value@" + path, "/v2/keys%s/large" % base)
    equal(status, 201)
    status, body = curl(store, "/v2/keys%s/large" % base)
    equal(len(json.loads(body)["node"]["value"]), 1000000)
    status, body = curl(store, "-XPOST", "-d", "value=q", "/v2/keys%s/q" % base)
    equal(status, 201)
    equal(curl(store, "-XDELETE", "/v2/keys%s?recursive=true" % base)[0], 200)
    equal(curl(store, "/v2/keys%s" % base)[0], 404)
    equal(json.loads(curl(store, "/health")[1])["health"], "true")
    check("etcdserver" in json.loads(curl(store, "/version")[1]), "a version")


# All together.

def a_client_reads_what_it_wrote_at_each_server(lab):
    """At the same server at once; elsewhere with quorum."""
    for i in range(30):
        store = lab.stores[i % 3]
        c = client(store)
        c.write("/own", str(i))
        equal(c.read("/own").value, str(i))
        equal(client(lab.stores[(i + 1) % 3]).read("/own", quorum=True).value, str(i))


def every_server_says_the_same_indices(lab):
    index = client(lab.stores[0]).write("/same", "x").modifiedIndex
    for store in lab.stores:
        wait_for("the write", lambda s=store: client(s).read("/same").modifiedIndex == index, 5)
        equal(client(store).read("/same").createdIndex, index)


def clients_survive_the_death_of_the_leader(lab):
    """etcdctl and python-etcd go to another server by themselves."""
    leader = lab.leader()
    others = [s for s in lab.stores if s is not leader]
    c = etcd.Client(host=tuple((s.address, API) for s in [leader] + others), allow_reconnect=True,
                    read_timeout=5)
    c.write("/before", "1")
    leader.kill()
    begun = time.monotonic()
    wait_for("a write by python-etcd", lambda: survives(lambda: c.write("/after", "1")), 15, 0.05)
    print("        writes again after %.2f s" % (time.monotonic() - begun))
    equal(c.read("/before", quorum=True).value, "1")
    output = subprocess.run(["etcdctl", "--endpoints", lab.urls(), "get", "--quorum", "/before"],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT,
                            timeout=20, check=False)
    equal((output.returncode, output.stdout.strip()), (0, "1"))
    output = etcdctl(others[0], "cluster-health", status=5)
    check("is unreachable" in output and output.endswith("cluster is degraded"), output)
    leader.start()
    lab.wait_ready()
    wait_for("a healthy cluster", lambda: "cluster is healthy" in subprocess.run(
        ["etcdctl", "--endpoints", lab.urls(), "cluster-health"], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT, timeout=20, check=False).stdout, 20, 0.2)


def survives(call):
    try:
        return call()
    except etcd.EtcdException:
        return None


def etcdctl_changes_the_members(lab):
    """One that never starts: it is listed without a name, changed and taken away again. Members are
    changed from the machine of a member, as docs/http.md says."""
    leader, follower = lab.leader(), lab.follower()
    # All members must have been connected for a while.
    wait_for("the cluster to take a member", lambda: adds_member(follower), 15, 0.5)
    lines = [s for s in etcdctl(leader, "member", "list").split("\n") if "10.79.0.14" in s]
    equal(len(lines), 1)
    number = lines[0].split("[")[0].split(":")[0]
    on_machine(follower, "member", "add", "n5", "http://10.79.0.14:7001", status=1)
    on_machine(leader, "member", "update", number, "http://10.79.0.15:7001")
    check("10.79.0.15" in etcdctl(follower, "member", "list"), "the new address")
    check("Removed member %s from cluster" % number in on_machine(follower, "member", "remove", number), "gone")
    on_machine(leader, "member", "remove", number, status=1)
    equal(len(etcdctl(leader, "member", "list").split("\n")), 3)


def adds_member(store):
    done = subprocess.run(["ip", "netns", "exec", store.name, "etcdctl", "--no-sync", "--endpoints",
                           "http://%s:%d" % (store.address, API), "member", "add", "n4",
                           "http://10.79.0.14:7001"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, env=ENVIRONMENT, timeout=20, check=False)
    return "Added member named n4 with ID" in done.stdout


def on_machine(store, *words, status=0):
    return etcdctl(store, *words, status=status, inside=["ip", "netns", "exec", store.name])


EACH = [
    etcdctl_sets_gets_and_removes, etcdctl_swaps_only_what_it_knows, etcdctl_makes_and_updates,
    etcdctl_keeps_directories, etcdctl_lists, etcdctl_lets_keys_expire, etcdctl_watches,
    etcdctl_runs_commands_on_change, etcdctl_lists_members, etcdctl_says_that_the_cluster_is_healthy,
    etcdctl_finds_the_members_by_itself, python_writes_reads_and_deletes, python_compares,
    python_keeps_directories, python_refreshes, python_watches, python_locks, python_knows_the_cluster,
    python_goes_to_another_server, curl_sends_forms_queries_and_large_bodies,
]


def each_by(role):
    """The tests of one store, by the leader or by a follower, in folders of their own."""
    def bound(test):
        def call(lab):
            store = lab.leader() if role == "leader" else lab.follower()
            test(store, "/%s-%s" % (test.__name__.replace("_", "-"), role))

        call.__name__ = "%s_by_the_%s" % (test.__name__, role)
        return call

    return [bound(test) for test in EACH]


TESTS = each_by("leader") + each_by("follower") + [
    a_client_reads_what_it_wrote_at_each_server, every_server_says_the_same_indices,
    etcdctl_changes_the_members, clients_survive_the_death_of_the_leader]

if __name__ == "__main__":
    sys.exit(main_of_lab(options_of(__doc__), TESTS))
