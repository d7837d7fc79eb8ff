#!/usr/bin/python3
"""failoverctl as a client of the key store: every verb against three real daemons, which member it
asks and what it never asks twice, and locks and elections while failoverctl, its guard and the
daemons are killed and stopped. In a network and process namespace of its own. Needs root.

ctl.py --build FOLDER [--seconds N] [NAME]...
"""
import argparse
import contextlib
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

MEMBERS = 3
API, RAFT = 4001, 7001


class Failure(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failure(what)


def equal(found, wanted, what=""):
    if found != wanted:
        raise Failure("%s: found %r, wanted %r" % (what, found, wanted))


def wait_for(what, condition, seconds=10.0):
    begun = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() - begun > seconds:
            raise Failure("waited %s s in vain for %s" % (seconds, what))
        time.sleep(0.01)


def send_signal(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def is_alive(pid):
    try:
        state = pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def children(pid):
    with contextlib.suppress(OSError):
        return [int(p) for p in pathlib.Path("/proc/%d/task/%d/children" % (pid, pid)).read_text().split()]
    return []


class Member:
    """One failoverd of the three; they share a network namespace and differ by their ports."""

    def __init__(self, cluster, i):
        self.cluster = cluster
        self.i = i
        self.port = API + i
        self.dir = os.path.join(cluster.dir, "m%d" % i)
        os.mkdir(self.dir)
        os.chmod(self.dir, 0o755)
        self.conf = os.path.join(self.dir, "failoverd.conf")
        self.log = os.path.join(self.dir, "log")
        members = "".join('  member "m%d" { address = "10.89.0.%d"  api_port = %d  '
                          'raft_port = %d }\n' % (n, n + 1, API + n, RAFT + n) for n in range(MEMBERS))
        for name in ("lib", "run"):
            os.mkdir(os.path.join(self.dir, name))
        pathlib.Path(self.conf).write_text(
            'node "m%d" { data_dir = "%s/lib"  run_dir = "%s/run"  user = "nobody" }\n'
            'cluster "ctl" {\n%s}\n' % (i, self.dir, self.dir, members))
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([self.cluster.failoverd, "-c", self.conf], stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL)

    def engine(self):
        return (children(self.process.pid) or [0])[0]

    def pids(self):
        return [p for p in [self.process.pid, self.engine()] if p]

    def kill(self):
        """The executor and its engine at once, as if the machine had died."""
        for pid in self.pids():
            send_signal(pid, signal.SIGSTOP)
        for pid in self.pids():
            send_signal(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        for pid in self.pids():
            send_signal(pid, signal.SIGSTOP)

    def go_on(self):
        for pid in self.pids():
            send_signal(pid, signal.SIGCONT)

    def ask(self, path, timeout=3):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text[:1] == b"{" else None
        finally:
            connection.close()

    def is_current(self):
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            return self.ask("/v2/keys/?quorum=true")[0] == 200
        return False


class Cluster:
    def __init__(self, build):
        self.failoverd = os.path.abspath(os.path.join(build, "failoverd"))
        self.failoverctl = os.path.abspath(os.path.join(build, "failoverctl"))
        self.dir = tempfile.mkdtemp(prefix="failoverd-ctl-")
        os.chmod(self.dir, 0o755)
        self.members = [Member(self, i) for i in range(MEMBERS)]
        self.running = []

    def start(self):
        for m in self.members:
            m.start()
        for m in self.members:
            wait_for("member m%d" % m.i, m.is_current, 20)

    def command(self, *words, endpoint=None):
        where = ["--endpoint", endpoint] if endpoint else ["-c", self.members[0].conf]
        return [self.failoverctl, *where, *words]

    def ctl(self, *words, endpoint=None, text=None, binary=False, timeout=60):
        """Exit status, standard output and standard error."""
        data = text if text is None or binary else text.encode()
        source = {"input": data} if data is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run(self.command(*words, endpoint=endpoint), capture_output=True,
                              timeout=timeout, **source)
        return (done.returncode, done.stdout if binary else done.stdout.decode(),
                done.stderr.decode(errors="replace"))

    def json(self, *words, **options):
        status, out, _ = self.ctl("-o", "json", *words, **options)
        return status, json.loads(out)

    def spawn(self, *words, endpoint=None, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        p = subprocess.Popen(self.command(*words, endpoint=endpoint), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, **options)
        self.running.append(p)
        return p

    def file(self, name):
        return os.path.join(self.dir, name)

    def lines(self, name):
        with contextlib.suppress(OSError):
            return pathlib.Path(self.file(name)).read_text().split("\n")[:-1]
        return []

    def tickets(self, name, kind="_locks"):
        status, body = self.members[0].ask("/v2/keys/%s/%s?quorum=true" % (kind, name))
        return body["node"].get("nodes", []) if status == 200 else []

    def clean(self):
        """Ends what a test has left running."""
        for p in self.running:
            if p.poll() is None:
                send_signal(p.pid, signal.SIGCONT)
                p.kill()
            p.wait()
            for stream in (p.stdout, p.stderr, p.stdin):
                if stream:
                    stream.close()
        self.running = []

    def close(self):
        self.clean()
        for m in self.members:
            if m.process and m.process.poll() is None:
                m.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


# Keys.

def values_are_set_made_updated_and_removed(c):
    equal(c.ctl("set", "k/a", "two words & more"), (0, "two words & more\n", ""))
    equal(c.ctl("get", "/k/a"), (0, "two words & more\n", ""))
    equal(c.ctl("mk", "k/a", "x")[:2], (1, ""), "there is one")
    equal(c.ctl("mk", "k/b", "1"), (0, "1\n", ""))
    equal(c.ctl("update", "k/b", "2"), (0, "2\n", ""))
    equal(c.ctl("update", "k/none", "2")[0], 1)
    status, out, err = c.ctl("get", "k/none")
    equal((status, out), (1, ""))
    check("100: Key not found (/k/none) [" in err, err)
    equal(c.ctl("rm", "k/b"), (0, "PrevNode.Value: 2\n", ""))
    equal(c.ctl("rm", "k/b")[0], 1)
    equal(c.ctl("set", "k/minus", "-5")[0], 2)
    equal(c.ctl("set", "k/minus", "--", "-5"), (0, "-5\n", ""))


def values_come_from_standard_input(c):
    for verb in ("set", "update"):
        equal(c.ctl(verb, "in/a", text="line one\nline two\n")[:2], (0, "line one\nline two\n\n"), verb)
    equal(c.ctl("mk", "in/b", text="x")[:2], (0, "x\n"))
    equal(c.ctl("set", "in/a", text="")[0], 2, "no value at all")
    every = "".join(chr(i) for i in range(1, 128)) + "\0äöü€"
    equal(c.ctl("set", "in/every", text=every)[0], 0)
    equal(c.ctl("get", "in/every", binary=True)[1], every.encode() + b"\n")
    big = b"0123456789" * 90000
    equal(c.ctl("set", "in/big", text=big, binary=True)[0], 0)
    equal(c.ctl("get", "in/big", binary=True)[1], big + b"\n")
    equal(c.ctl("set", "in/big", text=b"x" * 1000001, binary=True)[0], 2)
    c.ctl("rm", "in", "-r")


def comparisons_decide_who_writes(c):
    index = c.json("set", "cas", "1")[1]["node"]["modifiedIndex"]
    equal(c.ctl("set", "cas", "2", "--swap-with-value", "9")[0], 1)
    equal(c.ctl("set", "cas", "2", "--swap-with-index", str(index + 1))[0], 1)
    equal(c.ctl("set", "cas", "2", "--swap-with-value", "1", "--swap-with-index", str(index)),
          (0, "2\n", ""))
    equal(c.ctl("rm", "cas", "--with-value", "1")[0], 1)
    equal(c.ctl("rm", "cas", "--with-index", "1")[0], 1)
    equal(c.ctl("rm", "cas", "--with-value", "2"), (0, "PrevNode.Value: 2\n", ""))
    equal(c.ctl("set", "cas", "2", "--swap-with-value", "1")[0], 1, "a swap makes nothing")
    equal(c.ctl("set", "cas", "2", "--swap-with-index", "-1")[0], 2)


def directories_are_made_listed_and_removed(c):
    equal(c.ctl("mkdir", "d"), (0, "", ""))
    equal(c.ctl("mkdir", "d")[0], 1)
    equal(c.ctl("setdir", "d/sub"), (0, "", ""))
    for name in ("b", "a", "sub/x", "_hidden"):
        c.ctl("set", "d/" + name, name)
    equal(c.ctl("ls", "d")[1], "/d/a\n/d/b\n/d/sub\n")
    equal(c.ctl("ls", "-p", "--sort", "d")[1], "/d/a\n/d/b\n/d/sub/\n")
    equal(c.ctl("ls", "d", "-r", "-p")[1], "/d/a\n/d/b\n/d/sub/\n/d/sub/x\n")
    equal(c.ctl("ls", "d/a")[1], "/d/a\n")
    check("/d\n" in c.ctl("ls")[1], "the root")
    status, out, err = c.ctl("get", "d")
    equal((status, out), (1, ""))
    check("is a directory" in err, err)
    equal(c.ctl("rm", "d")[0], 1)
    equal(c.ctl("rmdir", "d")[0], 1, "not empty")
    equal(c.ctl("setdir", "d/a"), (0, "", ""), "in place of a key")
    equal(c.ctl("rmdir", "d/a"), (0, "", ""))
    equal(c.ctl("mkdir", "d/e")[0], 0)
    equal(c.ctl("rm", "--dir", "d/e"), (0, "", ""))
    equal(c.ctl("updatedir", "d", "--ttl", "100")[0], 0)
    equal(c.json("get", "d")[1]["node"]["ttl"], 100)
    equal(c.ctl("updatedir", "d")[0], 0)
    check("ttl" not in c.json("get", "d")[1]["node"], "no TTL any more")
    equal(c.ctl("updatedir", "nowhere")[0], 1)
    equal(c.ctl("rm", "d", "--recursive"), (0, "", ""))


def in_order_keys_are_numbered(c):
    first = c.json("mk", "queue", "1", "--in-order")[1]["node"]
    equal(first["key"], "/queue/%020d" % first["createdIndex"])
    equal(c.ctl("mk", "--in-order", "queue", "2")[1], "2\n")
    equal([n["value"] for n in c.json("ls", "queue")[1]["node"]["nodes"]], ["1", "2"])


def a_ttl_ends_a_key(c):
    equal(c.json("set", "t", "1", "--ttl", "1")[1]["node"]["ttl"], 1)
    equal(c.json("mk", "t2", "1", "--ttl", "50s")[1]["node"]["ttl"], 50)
    equal(c.json("update", "t2", "1")[1]["node"].get("ttl"), None)
    equal(c.ctl("set", "t3", "1", "--ttl", "1500ms")[0], 2)
    wait_for("the end of the key", lambda: c.ctl("get", "t")[0] == 1)


def the_extended_form_shows_indices(c):
    index = c.json("set", "ext", "1")[1]["node"]["createdIndex"]
    status, out, _ = c.ctl("-o", "extended", "get", "ext")
    equal(status, 0)
    check(out.startswith("Key: /ext\nCreated-Index: %d\nModified-Index: %d\nTTL: 0\nIndex: " %
                         (index, index)) and out.endswith("\n\n1\n"), out)
    status, body = c.json("rm", "ext")
    equal((status, body["action"], body["prevNode"]["value"]), (0, "delete", "1"))
    status, body = c.json("get", "ext")
    equal((status, body["errorCode"]), (1, 100))


def what_is_printed_is_what_etcdctl_prints(c):
    if not shutil.which("etcdctl"):
        return
    cases = ["set e/a 1", "get e/a", "update e/a 2", "mk e/b x", "mkdir e/d", "setdir e/s", "updatedir e/s --ttl 90",
             "ls e --sort", "ls --sort -p e", "ls --sort -r e", "ls e/a", "-o extended get e/b", "rm e/b", "rmdir e/d",
             "set --swap-with-value 2 e/a 3", "rm --with-value 3 e/a", "rm -r e", "mk -- e/c -5",
             "watch --after-index INDEX e/c", "watch -r --after-index INDEX e"]
    found = {}
    for program in ("failoverctl", "etcdctl"):
        index = c.json("set", "e/z", "0")[1]["node"]["modifiedIndex"]
        lines = []
        for case in cases:
            words = case.replace("INDEX", str(index)).split()
            if program == "failoverctl":
                out = c.ctl(*words)[1]
            else:
                if "--after-index" in words or "--ttl" in words:  # its options stand before the arguments
                    at = words.index("--ttl") if "--ttl" in words else 0
                    words = words if not at else [words[0], *words[at:], *words[1:at]]
                done = subprocess.run(
                    ["etcdctl", "--no-sync", "--endpoints", "http://127.0.0.1:%d" % API, *words], timeout=20,
                    capture_output=True, text=True, env={**os.environ, "ETCDCTL_API": "2"}, stdin=subprocess.DEVNULL)
                out = done.stdout
            # Indices differ from run to run.
            lines.append((case, "\n".join(line.rstrip("0123456789") if "Index: " in line else line
                                          for line in out.split("\n"))))
        found[program] = lines
        c.ctl("rm", "-r", "e")
    for ours, theirs in zip(found["failoverctl"], found["etcdctl"]):
        if not ours[0].startswith("rm --with-value"):  # etcdctl prints an empty line there
            equal(ours, theirs)


def members_are_listed(c):
    status, out, _ = c.ctl("member", "list")
    equal((status, len(out.split("\n"))), (0, MEMBERS + 1), out)
    equal(out.count("isLeader=true"), 1, out)
    check("name=m1 peerURLs=http://10.89.0.2:7002 clientURLs=http://10.89.0.2:4002" in out, out)
    status, body = c.json("member", "list")
    equal((status, len(body["members"])), (0, MEMBERS))
    equal(c.ctl("member", "remove", "nobody")[0], 1)
    equal(c.ctl("member")[0], 2)
    equal(c.ctl("member", "burn")[0], 2)
    equal(c.ctl("member", "add", "m4")[0], 2)


# Watching.

def a_watch_prints_the_next_change(c):
    index = c.json("set", "w/a", "0")[1]["node"]["modifiedIndex"]
    p = c.spawn("watch", "w/a")
    wait_for("a watcher", lambda: watchers(p) > 0)
    c.ctl("set", "w/b", "other")
    c.ctl("set", "w/a", "1")
    equal((p.communicate(timeout=10)[0], p.returncode), ("1\n", 0))
    equal(c.ctl("watch", "w/a", "--after-index", str(index)), (0, "1\n", ""))
    equal(c.ctl("watch", "w", "-r", "--after-index", str(index))[1], "[set] /w/b\nother\n")
    status, out, err = c.ctl("watch", "w/a", "--timeout", "300ms")
    equal((status, out), (5, ""), err)
    c.ctl("set", "w/c", "1", "--ttl", "1")
    equal(c.ctl("watch", "w/c")[1], "PrevNode.Value: 1\n", "it expires")


def watchers(p):
    """How many connections the process has open: a watcher that runs has one."""
    with contextlib.suppress(OSError):
        links = [os.readlink("/proc/%d/fd/%s" % (p.pid, fd)) for fd in os.listdir("/proc/%d/fd" % p.pid)]
        return sum(1 for link in links if link.startswith("socket:"))
    return 0


def a_watch_goes_on_at_another_member_without_a_gap(c):
    c.ctl("set", "gap", "start")
    p = c.spawn("watch", "-f", "gap", "-o", "json")
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(json.loads(line) for line in p.stdout))
    reader.start()
    wait_for("a watcher", lambda: watchers(p) > 0)
    others = "127.0.0.1:4002,127.0.0.1:4003"
    try:
        for i in range(20):
            # While a new leader is elected it may not be known whether it was done; then once more.
            wait_for("a leader", lambda n=i: c.ctl("set", "gap", str(n), endpoint=others)[0] == 0)
            if i == 5:
                c.members[0].kill()
            if i == 12:
                c.members[0].start()
        wait_for("the last one", lambda: seen and seen[-1]["node"]["value"] == "19")
    finally:
        p.terminate()
        reader.join()
        if c.members[0].process.poll() is not None:
            c.members[0].start()
    indices = [e["node"]["modifiedIndex"] for e in seen]
    equal(indices, sorted(set(indices)), "each once, in order")
    equal(list(dict.fromkeys(e["node"]["value"] for e in seen)), [str(i) for i in range(20)], "without a gap")
    check(all(e["prevNode"]["modifiedIndex"] == n for n, e in zip(indices, seen[1:])), "not one is missing")
    wait_for("the member", c.members[0].is_current)


def exec_watch_runs_a_command_for_each_change(c):
    index = c.json("set", "x/a", "0")[1]["node"]["modifiedIndex"]
    out = c.file("exec")
    p = c.spawn("exec-watch", "-r", "x", "--after-index", str(index), "--", "sh", "-c",
                'echo "$ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE -f" >>' + out)
    for value in "123":
        c.ctl("set", "x/a", value)
    c.ctl("rm", "x/a")
    wait_for("all", lambda: len(c.lines("exec")) == 4)
    equal(c.lines("exec"), ["set /x/a 1 -f", "set /x/a 2 -f", "set /x/a 3 -f", "delete /x/a  -f"])
    p.terminate()
    p.wait()
    equal(c.ctl("exec-watch", "x")[0], 2)


# Whom it asks.

class Swallower:
    """A server that reads a whole request and hangs up, or says nothing."""

    def __init__(self, hang=False):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.hang = hang
        self.requests = 0
        self.kept = []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                connection.recv(65536)
                self.requests += 1
                if self.hang:
                    self.kept.append(connection)
                else:
                    connection.close()

    def address(self):
        return "127.0.0.1:%d" % self.socket.getsockname()[1]

    def close(self):
        self.socket.close()
        for connection in self.kept:
            connection.close()


def what_may_have_been_done_is_not_asked_of_another(c):
    good = "127.0.0.1:%d" % API
    c.ctl("set", "once", "before")
    with contextlib.closing(Swallower()) as s:
        list_ = s.address() + "," + good
        status, out, err = c.ctl("set", "once", "after", endpoint=list_)
        equal((status, out, s.requests), (3, "", 1), err)
        check("may have been carried out" in err, err)
        equal(c.ctl("get", "once")[1], "before\n")
        equal(c.ctl("rm", "once", endpoint=list_)[0], 3)
        equal(c.ctl("mk", "once2", "x", endpoint=list_)[0], 3)
        equal(c.ctl("mk", "--in-order", "once3", "x", endpoint=list_)[0], 3)
        equal(c.ctl("get", "once", endpoint=list_), (0, "before\n", ""), "a read may be repeated")
        equal(c.ctl("get", "once3")[0], 1)
    # Nothing listens there: nothing can have been done.
    equal(c.ctl("set", "once", "after", endpoint="127.0.0.1:1," + good), (0, "after\n", ""))
    equal(c.ctl("set", "once", "x", endpoint="127.0.0.1:1")[0], 3)
    with contextlib.closing(Swallower(hang=True)) as s:
        begun = time.monotonic()
        status, _, err = c.ctl("set", "once", "x", "--timeout", "500ms", endpoint=s.address())
        equal(status, 3, err)
        check(time.monotonic() - begun < 3, "--timeout is obeyed")
        equal(c.ctl("watch", "once", "--timeout", "500ms", endpoint=s.address())[0], 5)
    equal(c.ctl("get", "once", endpoint="http://%s/" % good)[1], "after\n")


def without_a_majority_it_is_unknown_and_local_reads_go_on(c):
    c.ctl("set", "lonely", "1")
    wait_for("the value here", lambda: c.ctl("get", "--local", "lonely")[0] == 0)
    for m in c.members[1:]:
        m.kill()
    try:
        equal(c.ctl("get", "--local", "lonely")[:2], (0, "1\n"))
        equal(c.ctl("get", "lonely")[0], 3)
        equal(c.ctl("set", "lonely", "2")[0], 3)
        status, _, err = c.ctl("lock", "lonely", "--timeout", "1s", "true")
        equal(status, 5, err)
    finally:
        for m in c.members[1:]:
            m.start()
    for m in c.members:
        wait_for("the members", m.is_current)


# Locks.

def a_lock_runs_its_command_and_is_given_back(c):
    status, out, err = c.ctl("lock", "job", "sh", "-c",
                             'echo $FAILOVER_LOCK $FAILOVER_EPOCH $FAILOVER_KEY $FAILOVER_TTL; exit 7')
    name, epoch, key, ttl = out.split()
    equal((status, err, name, ttl), (7, "", "job", "10"))
    check(key.startswith("/_locks/job/"), key)
    equal(c.tickets("job"), [])
    second = int(c.ctl("lock", "job", "--", "sh", "-c", "echo $FAILOVER_EPOCH")[1])
    check(second > int(epoch), "the epoch grows")
    equal(c.ctl("lock", "job", "sh", "-c", "kill -9 $$")[0], 128 + 9)
    equal(c.ctl("lock", "job", "/nonexistent")[0], 127)
    equal(c.ctl("lock", "job", "--ttl", "0", "true")[0], 2)
    equal(c.ctl("lock", "job", "--ttl", "10", "--grace", "9s", "true")[0], 2)
    equal(c.ctl("lock", "/own/path", "sh", "-c", "echo $FAILOVER_KEY")[1].rpartition("/")[0], "/own/path")
    status, out, err = c.ctl("lock", "job", "--ttl", "1", "sleep", "2.5")
    equal((status, out, err), (0, "", ""), "longer than the TTL")


def waiters_have_their_turns_in_order(c):
    log = c.file("order")
    first = c.spawn("lock", "fifo", stdin=subprocess.PIPE)
    equal(first.stdout.readline().rpartition("/")[0], "/_locks/fifo")
    waiting = []
    for i in range(3):
        waiting.append(c.spawn("lock", "fifo", "sh", "-c", "echo %d $FAILOVER_EPOCH >>%s" % (i, log)))
        wait_for("the ticket", lambda n=i: len(c.tickets("fifo")) == n + 2)
    equal(c.lines("order"), [])
    status, _, err = c.ctl("lock", "fifo", "--timeout", "300ms", "true")
    equal(status, 5, err)
    equal(len(c.tickets("fifo")), 4, "who does not wait any more has no ticket")
    waiting[1].terminate()
    equal(waiting[1].wait(), 1)
    begun = time.monotonic()
    first.stdin.close()
    equal(first.wait(), 0)
    for p in (waiting[0], waiting[2]):
        equal(p.wait(timeout=10), 0)
    check(time.monotonic() - begun < 2, "nobody waits for a TTL")
    equal([line.split()[0] for line in c.lines("order")], ["0", "2"])
    first.stdin = None


def a_signal_ends_the_command_and_gives_the_lock_back(c):
    p = c.spawn("lock", "sig", "sh", "-c", "trap 'echo term; exit 3' TERM; echo up; sleep 60 & wait")
    equal(p.stdout.readline(), "up\n")
    p.terminate()
    out, err = p.communicate(timeout=10)
    equal((p.returncode, out), (3, "term\n"), err)
    equal(c.tickets("sig"), [])
    # One that does not listen is killed after the grace.
    p = c.spawn("lock", "sig", "--grace", "300ms", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done")
    equal(p.stdout.readline(), "up\n")
    p.send_signal(signal.SIGINT)
    equal(p.wait(timeout=10), 128 + 9)
    equal(c.tickets("sig"), [])


def nothing_that_the_command_has_started_outlives_the_lock(c):
    pids = c.file("strays")
    # One in the group, and one that became a daemon, deaf to TERM.
    script = ("sleep 60 & echo $! >>%s; setsid -f sh -c 'trap \"\" TERM; echo $$ >>%s; while :; do sleep 1; done'; "
              "while [ $(wc -l <%s) -lt 2 ]; do sleep 0.01; done; exit 4" % (pids, pids, pids))
    status, _, err = c.ctl("lock", "stray", "--grace", "200ms", "sh", "-c", script)
    equal(status, 4, err)
    equal([p for p in c.lines("strays") if is_alive(int(p))], [])
    equal(c.tickets("stray"), [])


def start_held(c, name, *options):
    """A lock whose command stays, and does not want to go; the processes of its making."""
    note = c.file("held-" + name)
    p = c.spawn("lock", name, *options, "sh", "-c",
                "trap '' TERM; sleep 61 & echo $! >%s.new; echo $$ >>%s.new; mv %s.new %s; while :; do wait; done"
                % ((note,) * 4))
    wait_for("the command", lambda: len(c.lines("held-" + name)) == 2)
    guard = children(p.pid)[0]
    return p, guard, [int(pid) for pid in c.lines("held-" + name)]


def when_failoverctl_is_killed_its_command_ends(c):
    p, _, command = start_held(c, "kill", "--ttl", "2")
    begun = time.monotonic()
    p.kill()
    wait_for("the end of the command", lambda: not any(is_alive(x) for x in command), 2)
    check(time.monotonic() - begun < 1.3, "after the grace, not only at the deadline")
    equal(c.ctl("lock", "kill", "true")[0], 0)


def when_failoverctl_is_stopped_its_command_ends_in_time(c):
    p, _, command = start_held(c, "stop", "--ttl", "2")
    begun = time.monotonic()
    p.send_signal(signal.SIGSTOP)
    status, _, err = c.ctl("lock", "stop", "sh", "-c", "kill -0 %d || kill -0 %d" % tuple(command))
    check(status != 0, "the old command lives while the next one has the lock")
    check(time.monotonic() - begun < 5, "the next one gets it")
    p.send_signal(signal.SIGCONT)
    status = p.wait(timeout=10)
    check(status in (1, 3, 128 + 9), "what it says when it wakes: %d" % status)


def when_the_guard_is_killed_or_stopped_the_command_ends(c):
    p, guard, command = start_held(c, "guard", "--ttl", "2")
    send_signal(guard, signal.SIGKILL)
    equal(p.wait(timeout=10), 128 + 9)
    equal([x for x in command if is_alive(x)], [])
    equal(c.tickets("guard"), [])
    p, guard, command = start_held(c, "guard2", "--ttl", "2")
    send_signal(guard, signal.SIGSTOP)
    p.terminate()
    p.wait(timeout=10)
    equal([x for x in command if is_alive(x)], [])
    check(not is_alive(guard), "the guard itself")


def a_lock_that_is_taken_away_ends_the_command(c):
    p, _, command = start_held(c, "theft", "--ttl", "2")
    c.ctl("rm", c.tickets("theft")[0]["key"])
    equal(p.wait(timeout=5), 1)
    equal([x for x in command if is_alive(x)], [])


def without_a_majority_the_command_ends_in_time(c):
    p, _, command = start_held(c, "cut", "--ttl", "2")
    begun = time.monotonic()
    for m in c.members[1:]:
        m.stop()
    try:
        wait_for("the end", lambda: not any(is_alive(x) for x in command), 4)
        check(time.monotonic() - begun < 2, "within the TTL")
        check(time.monotonic() - begun > 1, "not at the first silence")
    finally:
        for m in c.members[1:]:
            m.go_on()
    equal(p.wait(timeout=20), 3)
    wait_for("a majority", c.members[0].is_current)


def an_election_shows_its_value(c):
    p = c.spawn("elect", "boss", "alpha", stdin=subprocess.PIPE)
    key = p.stdout.readline().strip()
    equal(p.stdout.readline(), "alpha\n")
    listener = c.spawn("elect", "-l", "boss")
    equal((listener.stdout.readline().strip(), listener.stdout.readline()), (key, "alpha\n"))
    q = c.spawn("elect", "boss", "beta", "--", "sh", "-c", "echo $FAILOVER_ELECTION $FAILOVER_VALUE; sleep 60")
    wait_for("the candidate", lambda: len(c.tickets("boss", "_elections")) == 2)
    p.stdin.close()
    equal(q.stdout.readline(), "boss beta\n")
    check(listener.stdout.readline().strip() != key, "another ticket")
    equal(listener.stdout.readline(), "beta\n")
    equal(p.wait(timeout=5), 0)
    p.stdin = None
    q.terminate()
    equal(q.wait(timeout=5), 128 + 15)
    equal(c.ctl("elect", "boss")[0], 2)
    equal(c.ctl("elect", "boss", "")[0], 2)


class Locker(threading.Thread):
    """Takes the lock again and again. Each command holds a lock of the kernel's on one file, which is
    free only when all its processes are gone: who finds it taken has found an overlap."""

    SCRIPT = ("exec 9>>%(file)s.flock; flock -n 9 || echo overlap $FAILOVER_EPOCH >>%(file)s.overlaps; "
              "%(trap)s echo $FAILOVER_EPOCH >>%(file)s.epochs; sleep %(time)s & wait $!; "
              "flock -n 9 || echo lost >>%(file)s.overlaps")  # longer than the TTL, some of them

    def __init__(self, c, file, i):
        super().__init__(daemon=True)
        self.c = c
        self.over = False
        self.process = None
        trap = "trap '' TERM;" if i % 2 else ""
        self.script = self.SCRIPT % {"file": file, "trap": trap, "time": ["0.1", "1.5", "0.2", "0.3", "2.5"][i % 5]}
        self.endpoints = ",".join("127.0.0.1:%d" % (API + (i + n) % MEMBERS) for n in range(MEMBERS))
        self.launch()
        self.start()

    def run(self):
        while not self.over:
            self.process.wait()
            self.launch()
        self.process.wait()

    def launch(self):
        if not self.over:
            self.process = subprocess.Popen(
                self.c.command("lock", "crowd", "--ttl", "1", "sh", "-c", self.script, endpoint=self.endpoints),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end(self):
        self.over = True
        while self.is_alive():
            send_signal(self.process.pid, signal.SIGCONT)
            send_signal(self.process.pid, signal.SIGTERM)
            self.join(0.5)


def at_most_one_of_many_has_the_lock_under_faults(c):
    seconds = c.seconds
    file = c.file("crowd")
    lockers = [Locker(c, file, i) for i in range(5)]
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    done = {}

    def fault():
        kind = rng.choice(["kill", "stop", "kill guard", "stop guard", "end", "kill daemon", "stop daemon"])
        # Most of all who has the lock: it alone has a guard.
        locker, guard = max(((l.process, (children(l.process.pid) or [0])[0]) for l in rng.sample(lockers, 4)),
                            key=lambda pair: pair[1])
        member = rng.choice(c.members)
        done[kind] = done.get(kind, 0) + 1
        if kind == "kill":
            send_signal(locker.pid, signal.SIGKILL)
        elif kind == "end":
            send_signal(locker.pid, signal.SIGTERM)
        elif kind == "stop":
            send_signal(locker.pid, signal.SIGSTOP)
            time.sleep(rng.uniform(0.2, 2.5))
            send_signal(locker.pid, signal.SIGCONT)
        elif kind == "kill guard" and guard:
            send_signal(guard, signal.SIGKILL)
        elif kind == "stop guard" and guard:
            send_signal(guard, signal.SIGSTOP)
            time.sleep(rng.uniform(0.1, 1))
            send_signal(guard, signal.SIGCONT)
        elif kind == "kill daemon":
            member.kill()
            time.sleep(rng.uniform(0, 0.5))
            member.start()
        elif kind == "stop daemon":
            member.stop()
            time.sleep(rng.uniform(0.2, 1.5))
            member.go_on()

    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        time.sleep(rng.uniform(0, 0.3))
        fault()
    n = len(c.lines("crowd.epochs"))
    wait_for("turns after the faults", lambda: len(c.lines("crowd.epochs")) > n + 3, 20)
    for locker in lockers:
        locker.end()
    epochs = [int(line) for line in c.lines("crowd.epochs")]
    print("        seed %d, %d turns, %s" % (seed, len(epochs), done), flush=True)
    equal(c.lines("crowd.overlaps"), [], "overlaps, seed %d" % seed)
    equal(epochs, sorted(set(epochs)), "epochs grow, seed %d" % seed)
    check(len(epochs) > seconds / 2, "turns were had, seed %d" % seed)
    wait_for("a majority", c.members[0].is_current)


TESTS = [
    values_are_set_made_updated_and_removed, values_come_from_standard_input, comparisons_decide_who_writes,
    directories_are_made_listed_and_removed, in_order_keys_are_numbered, a_ttl_ends_a_key,
    the_extended_form_shows_indices, what_is_printed_is_what_etcdctl_prints, members_are_listed, a_watch_prints_the_next_change,
    a_watch_goes_on_at_another_member_without_a_gap, exec_watch_runs_a_command_for_each_change,
    what_may_have_been_done_is_not_asked_of_another, a_lock_runs_its_command_and_is_given_back,
    waiters_have_their_turns_in_order, a_signal_ends_the_command_and_gives_the_lock_back,
    nothing_that_the_command_has_started_outlives_the_lock, when_failoverctl_is_killed_its_command_ends,
    when_failoverctl_is_stopped_its_command_ends_in_time,
    when_the_guard_is_killed_or_stopped_the_command_ends, a_lock_that_is_taken_away_ends_the_command,
    an_election_shows_its_value, without_a_majority_the_command_ends_in_time,
    without_a_majority_it_is_unknown_and_local_reads_go_on, at_most_one_of_many_has_the_lock_under_faults,
]


def run_tests(c, tests):
    passed = failed = 0
    for test in tests:
        begun = time.monotonic()
        try:
            test(c)
            passed += 1
            print("ok      %s (%.1f s)" % (test.__name__, time.monotonic() - begun), flush=True)
        except (Failure, OSError, KeyError, ValueError, IndexError, TypeError, http.client.HTTPException,
                subprocess.SubprocessError) as problem:
            failed += 1
            print("FAILED  %s: %s: %s" % (test.__name__, type(problem).__name__, problem), flush=True)
        finally:
            c.clean()
    return passed, failed


def inside(options):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for i in range(MEMBERS):
        subprocess.run(["ip", "addr", "add", "10.89.0.%d/32" % (i + 1), "dev", "lo"], check=True)
    tests = [t for t in TESTS if not options.names or t.__name__ in options.names]
    c = Cluster(options.build)
    c.seconds = options.seconds
    passed, failed = 0, 1
    try:
        c.start()
        passed, failed = run_tests(c, tests)
    finally:
        if failed:
            for m in c.members:
                print("--- m%d\n%s" % (m.i, pathlib.Path(m.log).read_text(errors="replace")[-1500:]))
        c.close()
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--seconds", type=float, default=6, help="of faults")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    if options.inside:
        return inside(options)
    # A namespace of its own for the network, and for processes: nothing outlives the test.
    return subprocess.call(["unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child",
                            sys.executable, os.path.abspath(__file__), "--inside", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
