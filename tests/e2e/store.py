#!/usr/bin/python3
"""Three real stores under kill -9: writes go on with one lost, are refused with two lost, and nothing
that was acknowledged is lost; histories of concurrent clients are linearizable. Needs root.

store.py --build FOLDER [--rounds N] [--losses N] [--seed N] [NAME]...
"""

import collections
import contextlib
import http.client
import itertools
import json
import random
import socket
import sys
import threading
import time
import urllib.parse

from linear import ANY, Op, Undecided, linearizable
from storelab import API, Failure, Store, ask, check, equal, key, kill_pids, main_of_lab, now, options_of, wait_for

PATIENCE = 3.0  # of a client for one answer; a store without a majority refuses within 2 s
CLIENTS = 8
KEYS = 4


class Unsent(Exception):
    """The request has certainly not reached the store."""


class Connection:
    """A connection to one store, made anew when it is lost."""

    def __init__(self, address):
        self.address = address
        self.socket = self.file = None
        self.index = 0  # the highest that it has told over this connection

    def close(self):
        for thing in (self.file, self.socket):
            if thing:
                with contextlib.suppress(OSError):
                    thing.close()
        self.socket = self.file = None
        self.index = 0

    def _connect(self):
        try:
            self.socket = socket.create_connection((self.address, API), timeout=PATIENCE)
        except OSError as problem:
            raise Unsent() from problem
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def ask(self, method, path, form=None):
        """Status, index of the store, and the JSON body."""
        if not self.socket:
            self._connect()
        body = urllib.parse.urlencode(form or {})
        head = "%s /v2/keys%s HTTP/1.1\r\nHost: x\r\n" % (method, path)
        if form is not None:
            head += "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n" % len(body)
        try:
            self.socket.sendall((head + "\r\n" + body).encode())
            return self._answer()
        except (OSError, ValueError):
            self.close()
            raise

    def _answer(self):
        line = self.file.readline().split()
        if len(line) < 2:
            raise OSError("the connection has ended")
        length, index = 0, 0
        for header in iter(self.file.readline, b"\r\n"):
            if not header:
                raise OSError("the connection has ended")
            name, _, value = header.partition(b":")
            name = name.lower()
            if name == b"content-length":
                length = int(value)
            elif name == b"x-etcd-index":
                index = int(value)
        body = self.file.read(length)
        if len(body) < length:
            raise OSError("the connection has ended")
        return int(line[1]), index, json.loads(body) if body else {}


class Recorder:
    """What all clients did and were told, by key."""

    def __init__(self):
        self.ops = collections.defaultdict(list)  # key: [Op]
        self.writes = []  # (index, called, ended) of each acknowledged change
        self.posts = collections.defaultdict(dict)  # folder: {value: acknowledged}
        self.wrong = []  # answers that contradict themselves or their connection
        self.values = {}  # the last value of a key that somebody has heard of
        self.number = itertools.count(1)
        self.folder = "/lin/0"
        self.outcomes = collections.Counter()

    def value(self):
        return "v%d" % next(self.number)


class Client(threading.Thread):
    """Asks for all kinds of things, of any store, until it is told to end."""

    KINDS = ["set", "set", "swap", "swap", "swap", "create", "update", "delete", "remove-if", "read", "read",
             "read", "plain", "post"]

    def __init__(self, lab, recorder, seed):
        super().__init__(daemon=True)
        self.recorder = recorder
        self.random = random.Random(seed)
        self.connections = [Connection(s.address) for s in lab.stores]
        self.ends = threading.Event()

    def run(self):
        while not self.ends.is_set():
            self.once()
            time.sleep(self.random.random() * 0.006)
        for connection in self.connections:
            connection.close()

    def once(self):
        name = "%s/k%d" % (self.recorder.folder, self.random.randrange(KEYS))
        kind = self.random.choice(self.KINDS)
        connection = self.random.choice(self.connections)
        try:
            if kind == "plain":
                self.plain_read(connection, name)
            elif kind == "post":
                self.post(connection, self.recorder.folder + "/queue")
            else:
                self.operate(connection, name, kind)
        except Unsent:
            time.sleep(0.02)

    def plain_read(self, connection, name):
        """Local, so it may be old; but never older than what this connection has told before."""
        before = connection.index
        try:
            _, index, _ = connection.ask("GET", name)
        except (OSError, ValueError):
            return
        if connection.socket and index < before:
            self.recorder.wrong.append("%s told index %d after %d" % (connection.address, index, before))
        connection.index = max(connection.index, index)

    def post(self, connection, folder):
        value = self.recorder.value()
        self.recorder.posts[folder][value] = False
        try:
            status, _, _ = connection.ask("POST", folder, {"value": value})
        except (OSError, ValueError):
            return
        except Unsent:
            del self.recorder.posts[folder][value]
            raise
        self.recorder.posts[folder][value] = status == 201

    def request(self, kind, value, old):
        """Method, query and form."""
        if kind == "read":
            return "GET", "?quorum=true", None
        if kind == "delete":
            return "DELETE", "", None
        if kind == "remove-if":
            return "DELETE", "?prevValue=" + old, None
        form = {"value": value}
        if kind in ("create", "update"):
            form["prevExist"] = "false" if kind == "create" else "true"
        if kind == "swap":
            form["prevValue"] = old
        return "PUT", "", form

    def operate(self, connection, name, kind):
        value = self.recorder.value() if kind in ("set", "swap", "create", "update") else None
        old = (self.recorder.values.get(name) or "v0") if kind in ("swap", "remove-if") else None
        method, query, form = self.request(kind, value, old)
        called = now()
        try:
            status, index, body = connection.ask(method, name + query, form)
        except (OSError, ValueError):
            status, index, body = 0, 0, {}
        ended = now()
        self.note(Op(kind, value, old, called, ended, 0, ANY), name, status, index, body, connection)

    def note(self, op, name, status, index, body, connection):
        recorder = self.recorder
        code = body.get("errorCode", 0) if status else 300
        recorder.outcomes[code] += 1
        if code >= 300 or status >= 500 or status in (0, 429):
            recorder.ops[name].append(op._replace(ended=None))
            return
        found = ANY
        if code == 0 and op.kind == "read":
            found = body["node"]["value"]
            recorder.values[name] = found
        elif code == 0:
            found = body.get("prevNode", {}).get("value")
            recorder.values[name] = op.value
            recorder.writes.append((body["node"]["modifiedIndex"], op.called, op.ended))
            if index != body["node"]["modifiedIndex"]:
                recorder.wrong.append("%s: index %d of the write %r" % (name, index, body))
        elif code == 100:
            found = None
        elif code == 101:
            found = body["cause"].strip("[]").split(" != ")[1]
            recorder.values[name] = found
        elif code != 105:
            recorder.wrong.append("%s %s: %r" % (op.kind, name, body))
            return
        connection.index = max(connection.index, index)
        recorder.ops[name].append(op._replace(code=code, found=found))


class Counter(threading.Thread):
    """One who writes numbers, and one who waits for each change of them, at whichever store answers."""

    def __init__(self, lab, seed):
        super().__init__(daemon=True)
        self.addresses = [s.address for s in lab.stores]
        self.random = random.Random(seed)
        self.acknowledged = []  # (index, number)
        self.heard = []
        self.gaps = 0
        self.ends = threading.Event()
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.first = 0

    def begin(self):
        self.first = key(self.addresses[0], "PUT", "/count", {"value": "0"})[2]["node"]["modifiedIndex"]
        self.start()
        self.watcher.start()

    def run(self):
        for number in itertools.count(1):
            if self.ends.is_set():
                return
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                status, _, body = key(self.random.choice(self.addresses), "PUT", "/count",
                                      {"value": str(number)}, timeout=PATIENCE)
                if status == 200:
                    self.acknowledged.append((body["node"]["modifiedIndex"], number))
            time.sleep(0.02)

    def watch(self):
        wanted = self.first + 1
        while not self.ends.is_set():
            try:
                status, headers, body = key(self.random.choice(self.addresses), "GET", "/count",
                                            query="?wait=true&waitIndex=%d" % wanted, timeout=1)
                if status == 200 and body:
                    self.heard.append((body["node"]["modifiedIndex"], int(body["node"]["value"])))
                    wanted = body["node"]["modifiedIndex"] + 1
                elif status == 400:
                    self.gaps += 1
                    wanted = int(headers["X-Etcd-Index"]) + 1
            except (OSError, http.client.HTTPException, TypeError, ValueError):
                time.sleep(0.01)

    def finish(self):
        """The last number is heard, too."""
        last = max(self.acknowledged)
        wait_for("the last change to be heard", lambda: self.heard and self.heard[-1] >= last, 15)
        self.ends.set()
        self.join(timeout=10)
        self.watcher.join(timeout=10)
        indices = [i for i, _ in self.heard]
        check(indices == sorted(set(indices)), "a watch hears each change once and in order")
        heard = set(self.heard)
        if not self.gaps:
            missed = [x for x in self.acknowledged if x[0] <= indices[-1] and x not in heard]
            equal(missed[:5], [], "changes that the watch has missed")
        print("        a watch heard %d changes, %d acknowledged, %d times too late" %
              (len(self.heard), len(self.acknowledged), self.gaps))


# The checker itself.

def op(kind, called, ended, value=None, old=None, code=0, found=ANY):
    return Op(kind, value, old, called, ended, code, found)


def the_checker_knows_right_from_wrong(lab):
    write = [op("set", 0, 1, "a", found=None), op("set", 2, 3, "b", found="a")]
    right = [
        write + [op("read", 4, 5, found="b")],
        [op("set", 0, 3, "a"), op("set", 1, 2, "b"), op("read", 4, 5, found="a")],
        write + [op("set", 2, None, "c"), op("read", 4, 5, found="b"), op("read", 6, 7, found="c")],
        write + [op("swap", 4, None, "c", "b"), op("swap", 5, 6, "d", "b", 101, "c")],
        write + [op("delete", 4, None), op("read", 5, 6, found="b"), op("create", 7, 8, "e", found=None)],
        [op("create", 0, 4, "a"), op("create", 1, 3, "b", code=105), op("read", 2, 5, found="a")],
    ]
    wrong = [
        write + [op("read", 4, 5, found="a")],  # old
        write + [op("read", 4, 5, code=100, found=None)],  # lost
        write + [op("read", 2, 5, found="b"), op("read", 6, 7, found="a")],  # back in time
        write + [op("set", 2, None, "c"), op("read", 4, 5, found="c"), op("read", 6, 7, found="b")],
        write + [op("swap", 4, 5, "c", "b"), op("swap", 4, 5, "d", "b")],  # both won
        [op("set", 0, 1, "a"), op("set", 2, 3, "b"), op("read", 4, 5, found="a"), op("read", 6, 7, found="b")],
        [op("create", 0, 1, "a"), op("create", 2, 3, "b")],
        [op("set", 0, 1, "a"), op("set", 2, 3, "c"), op("read", 4, 5, found="z")],  # never written
        [op("set", 4, None, "a"), op("read", 0, 1, found="a")],  # before it was sent
    ]
    for history in right:
        check(linearizable(history), history)
    for history in wrong:
        check(not linearizable(history), history)


# Losses.

class Prober(threading.Thread):
    """A client of one store that writes all the time, one after the other."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address = address
        self.acknowledged = [now()]
        self.ends = threading.Event()
        self.start()

    def run(self):
        while not self.ends.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                if key(self.address, "PUT", "/probe", {"value": "x"}, timeout=10)[0] in (200, 201):
                    self.acknowledged.append(now())
            time.sleep(0.005)

    def outage(self, since):
        """The longest time between two of its acknowledged writes that has ended since then."""
        times = list(self.acknowledged)
        return max(b - a for a, b in zip(times, times[1:]) if b > since)


def outage_of(lab, victim, lose):
    """What the worst served client of the survivors sees when the victim is lost."""
    probers = [Prober(s.address) for s in lab.stores if s is not victim]
    try:
        wait_for("writes", lambda: all(len(p.acknowledged) > 5 for p in probers), 10)
        begun = now()
        lose(victim)
        lost = now()
        wait_for("writes after the loss", lambda: all(p.acknowledged[-1] > lost + 0.5 for p in probers), 15)
        return max(p.outage(begun) for p in probers)
    finally:
        for prober in probers:
            prober.ends.set()
        for prober in probers:
            prober.join(timeout=15)


def writes_go_on(lab, lose, find):
    """One is lost again and again: mostly the leader."""
    outages = []
    for i in range(lab.options.losses):
        victim = lab.leader() if i % 3 < 2 else lab.follower()
        outages.append(outage_of(lab, victim, lose))
        find(victim)
        lab.wait_ready()
    print("        %s s without writes" % " ".join("%.2f" % o for o in outages))
    check(max(outages) < 1.0, "an outage of %.2f s" % max(outages))


def one_killed_and_writes_go_on_within_a_second(lab):
    writes_go_on(lab, Store.kill, Store.start)


def one_cut_off_and_writes_go_on_within_a_second(lab):
    writes_go_on(lab, Store.isolate, Store.heal)


def one_frozen_and_writes_go_on_within_a_second(lab):
    writes_go_on(lab, Store.freeze, Store.thaw)


class Burst(threading.Thread):
    """Writes to one store, each to a key of its own, and notes the answers."""

    def __init__(self, address, folder):
        super().__init__(daemon=True)
        self.address, self.folder = address, folder
        self.sent = []  # (key, called, took, status, body)
        self.ends = threading.Event()

    def run(self):
        for i in itertools.count():
            if self.ends.is_set():
                return
            name = "%s/%d" % (self.folder, i)
            called = now()
            try:
                status, _, body = key(self.address, "PUT", name, {"value": "x"}, timeout=10)
            except (OSError, http.client.HTTPException):
                status, body = 0, {}
            self.sent.append((name, called, now() - called, status, body))
            time.sleep(0.002)


def knows_no_leader(address):
    with contextlib.suppress(OSError, http.client.HTTPException, KeyError, TypeError):
        raft = ask(address, "GET", "/v1/status", timeout=2)[2]["raft"]
        return raft["role"] != "leader" and not raft["leader"]
    return False


def lose_two(lab, survivor, folder):
    """Kills the two others under load; what the clients of the survivor were told."""
    victims = [s for s in lab.stores if s is not survivor]
    bursts = [Burst(survivor.address, "%s/%d" % (folder, i)) for i in range(4)]
    for burst in bursts:
        burst.start()
    wait_for("acknowledged writes", lambda: all(len(b.sent) > 10 for b in bursts), 10)
    for victim in victims:
        victim.kill()
    lost = now()
    wait_for("the survivor to notice", lambda: knows_no_leader(survivor.address), 5, 0.01)
    noticed = now()
    equal(key(survivor.address, "GET", folder + "/0/0")[0], 200, "plain reads go on")
    begun = now()
    status, _, body = key(survivor.address, "GET", folder + "/0/0", query="?quorum=true")
    check(status >= 500 and body["errorCode"] in (300, 301), body)
    check(now() - begun < 2.0, "a quorum read was refused after %.2f s" % (now() - begun))
    wait_for("refusals", lambda: all(len(b.sent) > 2 and b.sent[-1][1] > noticed for b in bursts), 10)
    for burst in bursts:
        burst.ends.set()
    for burst in bursts:
        burst.join(timeout=15)
    for victim in victims:
        victim.start()
    lab.wait_ready()
    return lost, noticed, [s for b in bursts for s in b.sent]


def check_loss(lab, lost, noticed, sent):
    refused = [s for s in sent if s[3] not in (200, 201)]
    late = [s for s in refused if s[1] > noticed]
    check(late, "writes were sent after the loss was noticed")
    slowest = max(s[2] for s in refused)
    print("        noticed after %.2f s; %d writes acknowledged, %d refused, within %.2f s; %d of them late" %
          (noticed - lost, len(sent) - len(refused), len(refused), slowest, len(late)))
    for name, _, took, status, body in refused:
        check(status >= 500 and body.get("errorCode") in (300, 301), "%s: %d %r" % (name, status, body))
        check(took < 2.0, "%s was refused after %.2f s" % (name, took))
    for store in lab.stores:
        there = {n["key"] for folder in sorted({s[0].rpartition("/")[0] for s in sent})
                 for n in key(store.address, "GET", folder, query="?quorum=true")[2]["node"]["nodes"]}
        missing = [s[0] for s in sent if s[3] in (200, 201) and s[0] not in there]
        equal(missing, [], "acknowledged and lost")
        equal([s[0] for s in late if s[0] in there], [], "refused after the loss was noticed, and applied")


def two_lost_refuse_writes_and_apply_none_of_them_later(lab):
    for i in range(2 * ((lab.options.losses + 2) // 3)):
        survivor = lab.leader() if i % 2 else lab.follower()
        check_loss(lab, *lose_two(lab, survivor, "/two/%d" % i))


# Histories.

FAULTS = {
    "leader": lambda leader, others, chance: [leader],
    "follower": lambda leader, others, chance: others[:1],
    "two": lambda leader, others, chance: others,
    "leader and one": lambda leader, others, chance: [leader] + others[:1],
    "all": lambda leader, others, chance: [leader] + others,
    "engine": lambda leader, others, chance: [chance.choice([leader] + others)],
    "cut off": lambda leader, others, chance: [leader],
    "frozen": lambda leader, others, chance: [leader],
}
OFTEN = ["leader", "leader", "engine"]


def disturb(lab, chance, away):
    """One fault among those that are there: who dies, for how long."""
    present = [s for s in lab.stores if s is not away]
    leader = next((s for s in present if s.leads()), present[0])
    others = [s for s in present if s is not leader]
    chance.shuffle(others)
    kind = chance.choice(list(FAULTS) + OFTEN)
    victims = FAULTS[kind](leader, others, chance)
    if kind == "engine":
        kill_pids([pid for pid in [victims[0].engine()] if pid])
    elif kind in ("cut off", "frozen"):
        (leader.isolate if kind == "cut off" else leader.freeze)()
        time.sleep(chance.random())
        (leader.heal if kind == "cut off" else leader.thaw)()
    else:
        for victim in victims:
            victim.kill()
        time.sleep(chance.random() * 0.6)
        for victim in chance.sample(victims, len(victims)):
            victim.start()
            time.sleep(chance.random() * 0.2)
    return kind


class Bulk(threading.Thread):
    """Larger values, so that the log has to be replaced by snapshots again and again."""

    def __init__(self, lab, seed):
        super().__init__(daemon=True)
        self.addresses = [s.address for s in lab.stores]
        self.random = random.Random(seed)
        self.acknowledged = {}  # key: (index, value)
        self.ends = threading.Event()

    def run(self):
        while not self.ends.is_set():
            name = "/bulk/%d" % self.random.randrange(200)
            value = "%x" % self.random.getrandbits(16000)
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                status, _, body = key(self.random.choice(self.addresses), "PUT", name, {"value": value},
                                      timeout=PATIENCE)
                if status in (200, 201):
                    self.acknowledged[name] = (body["node"]["modifiedIndex"], value)
            time.sleep(0.01)

    def finish(self, lab):
        """Each store has what was acknowledged last, or something newer."""
        self.ends.set()
        self.join(timeout=10)
        for store in lab.stores:
            nodes = key(store.address, "GET", "/bulk", query="?quorum=true")[2]["node"]["nodes"]
            there = {n["key"]: (n["modifiedIndex"], n["value"]) for n in nodes}
            lost = [name for name, (index, value) in self.acknowledged.items()
                    if name not in there or there[name][0] < index or
                    (there[name][0] == index and there[name][1] != value)]
            equal(lost, [], "acknowledged and lost on %s" % store.name)


def final_reads(lab, recorder):
    """What is in each key now is part of its history."""
    connection = Connection(lab.stores[0].address)
    reader = Client(lab, recorder, 0)
    for name in list(recorder.ops):
        reader.operate(connection, name, "read")
        check(recorder.ops[name][-1].ended is not None, "a quiet cluster answers")
    connection.close()


def check_posts(lab, recorder):
    """Each acknowledged one is there once; none twice, whatever was sent again on the way."""
    for folder, posts in recorder.posts.items():
        status, _, body = key(lab.stores[1].address, "GET", folder, query="?quorum=true")
        there = collections.Counter(n["value"] for n in body["node"].get("nodes", [])) if status == 200 else {}
        equal([v for v, n in there.items() if n > 1], [], "posted once, there twice")
        equal([v for v, acknowledged in posts.items() if acknowledged and v not in there], [],
              "posted, acknowledged and lost")


def check_order(recorder):
    """Indices of changes of all keys follow the order in which they happened."""
    writes = sorted(recorder.writes)
    equal(len({w[0] for w in writes}), len(writes), "two changes have one index")
    latest = 0.0
    for index, called, ended in writes:
        check(ended >= latest, "change %d ended before one with a lower index was called" % index)
        latest = max(latest, called)


def check_history(name, ops):
    try:
        if not linearizable(ops):
            tell = "\n".join(repr(o) for o in sorted(ops, key=lambda o: o.called))
            raise Failure("the history of %s is not linearizable:\n%s" % (name, tell))
    except Undecided:
        raise Failure("the history of %s could not be decided" % name) from None


def rounds_of_faults(lab, recorder, chance):
    """How often each fault was. Now and then one of the three is away for some rounds."""
    faults = collections.Counter()
    away, rounds_away = None, 0
    for i in range(lab.options.rounds):
        recorder.folder = "/lin/%d" % i
        if rounds_away == 0 and away:
            away.start()
            away = None
        elif i % 8 == 4:
            away, rounds_away = chance.choice(lab.stores), 4
            away.kill()
            faults["away"] += 1
        rounds_away -= 1 if away else 0
        time.sleep(0.1 + chance.random() * 0.4)
        faults[disturb(lab, chance, away)] += 1
        lab.wait_ready(20, without=away)
        time.sleep(chance.random() * 0.2)
        if i % 20 == 19:
            print("        %d rounds, %d operations" %
                  (i + 1, sum(len(o) for o in recorder.ops.values())), flush=True)
    if away:
        away.start()
    lab.wait_ready()
    return faults


def check_all(lab, recorder):
    """What the clients were told fits together; how many operations were looked at."""
    final_reads(lab, recorder)
    equal(recorder.wrong[:5], [], "wrong answers")
    check_posts(lab, recorder)
    check_order(recorder)
    for name, ops in sorted(recorder.ops.items()):
        check_history(name, ops)
    return sum(len(ops) for ops in recorder.ops.values())


def histories_under_kill_9_are_linearizable(lab):
    seed = lab.options.seed
    print("        seed %d" % seed, flush=True)
    recorder = Recorder()
    counter, bulk = Counter(lab, seed), Bulk(lab, seed)
    clients = [Client(lab, recorder, seed * 100 + i) for i in range(CLIENTS)]
    counter.begin()
    bulk.start()
    for client in clients:
        client.start()
    try:
        faults = rounds_of_faults(lab, recorder, random.Random(seed))
    finally:
        for client in clients:
            client.ends.set()
        for client in clients:
            client.join(timeout=15)
    counter.finish()
    bulk.finish(lab)
    checked = check_all(lab, recorder)
    unknown = sum(1 for ops in recorder.ops.values() for o in ops if o.ended is None)
    print("        %d operations on %d keys (%d with unknown outcome), %d posts; faults: %s; answers: %s" %
          (checked, len(recorder.ops), unknown, sum(len(p) for p in recorder.posts.values()),
           dict(faults), dict(recorder.outcomes)))
    taken, received = (sum(s.log().count(words) for s in lab.stores)
                       for words in ("replaces the log", "was received and is in force"))
    print("        %d snapshots taken, %d received" % (taken, received))
    check(lab.options.rounds < 100 or taken and received, "members have caught up by snapshots, too")
    check(checked > 20 * lab.options.rounds, "there was something to check")


TESTS = [the_checker_knows_right_from_wrong, one_killed_and_writes_go_on_within_a_second,
         one_cut_off_and_writes_go_on_within_a_second, one_frozen_and_writes_go_on_within_a_second,
         two_lost_refuse_writes_and_apply_none_of_them_later, histories_under_kill_9_are_linearizable]


def more_options(parser):
    parser.add_argument("--rounds", type=int, default=10, help="of random faults under load")
    parser.add_argument("--losses", type=int, default=3, help="of a store, to measure the outage")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1000000))


if __name__ == "__main__":
    sys.exit(main_of_lab(options_of(__doc__, more_options), TESTS))
