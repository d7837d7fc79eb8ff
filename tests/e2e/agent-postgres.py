#!/usr/bin/env python3
"""The PostgreSQL agent against real servers, over its protocol (docs/agent-protocol.md).

    agent-postgres.py AGENT-PROGRAM [NAME-OF-A-TEST...]

Run as root: the agent runs as user postgres, in a temporary directory, on loopback ports.
"""
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

BIN = os.environ.get("PG_BIN", "/usr/lib/postgresql/15/bin")
VERSION = int(os.environ.get("PG_VERSION", "15"))
USER = "postgres"


def clock():
    """The lease clock, in microseconds."""
    read = time.clock_gettime_ns
    return (read(time.CLOCK_MONOTONIC_RAW) + read(time.CLOCK_BOOTTIME)
            - read(time.CLOCK_MONOTONIC)) // 1000


def wait_for(what, condition, seconds):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("waited %.1f s in vain for: %s" % (seconds, what))
        time.sleep(0.005)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def processes_in(directory):
    """The server processes whose working directory it is, without zombies."""
    found = []
    for path in glob.glob("/proc/[0-9]*"):
        try:
            cwd = os.readlink(path + "/cwd")
            exe = os.readlink(path + "/exe")
            with open(path + "/stat") as f:
                state = f.read().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if cwd.startswith(directory) and exe.startswith(BIN) and state not in "ZX":
            found.append(int(path[6:]))
    return found


class Agent:
    """One agent process and what it has said."""

    def __init__(self, node, **config):
        self.node = node
        self.messages = []
        self.lock = threading.Lock()
        self.next_id = 1
        self.holder = None
        self.process = subprocess.Popen([node.world.program], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, user=USER, group=USER,
                                        extra_groups=[], cwd="/")
        node.world.agents.append(self)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.send(node.hello(**config))

    def read(self):
        for line in self.process.stdout:
            message = json.loads(line)
            message["received"] = clock()
            with self.lock:
                self.messages.append(message)
            if message["type"] == "log" and os.environ.get("VERBOSE"):
                print("    %s: %s" % (self.node.name, message["text"]))

    def send(self, message):
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def all(self, kind):
        with self.lock:
            return [m for m in self.messages if m["type"] == kind]

    def greeted(self):
        return wait_for("the agent's hello", lambda: self.all("hello"), 10)[0]

    def status(self):
        found = self.all("status")
        return found[-1] if found else {}

    def wait_status(self, seconds=20, since=0, **wanted):
        def matches():
            for m in reversed(self.all("status")):
                if m["received"] < since:
                    return None
                if all(m[k] == v for k, v in wanted.items()):
                    return m
                return None
        try:
            return wait_for("status %s" % wanted, matches, seconds)
        except AssertionError as e:
            raise AssertionError("%s; last status: %s" % (e, self.status())) from None

    def hold_once(self, epoch, demote_msec, close_msec):
        now = clock()
        self.send({"type": "hold", "epoch": epoch, "demote_at": now + demote_msec * 1000,
                   "close_by": now + close_msec * 1000})
        return now + close_msec * 1000

    def hold(self, epoch):
        """Renews a hold of 3 s every 300 ms, until let_go()."""
        self.let_go()
        stop = threading.Event()

        def renew():
            while not stop.wait(0.3):
                try:
                    self.hold_once(epoch, 2000, 3000)
                except OSError:
                    return
        self.hold_once(epoch, 2000, 3000)
        self.holder = (threading.Thread(target=renew, daemon=True), stop)
        self.holder[0].start()

    def let_go(self):
        if self.holder:
            self.holder[1].set()
            self.holder[0].join()
            self.holder = None

    def begin(self, step, epoch, seconds=30, **args):
        number = self.next_id
        self.next_id += 1
        self.send({"type": "run", "id": number, "epoch": epoch, "step": step,
                   "deadline": clock() + int(seconds * 1e6), "args": args})
        return number

    def done(self, number, seconds=40):
        return wait_for("done of step %d" % number,
                        lambda: [m for m in self.all("done") if m["id"] == number], seconds)[0]

    def run(self, step, epoch, seconds=30, ok=True, **args):
        done = self.done(self.begin(step, epoch, seconds, **args), seconds + 5)
        if os.environ.get("VERBOSE"):
            print("    %s: %s took %d ms" % (self.node.name, step, done["took_usec"] / 1000))
        assert done["ok"] == ok, "%s on %s: %s" % (step, self.node.name, done)
        return done

    def kill(self):
        self.let_go()
        self.process.kill()
        self.process.wait()

    def end(self):
        self.let_go()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Node:
    """A machine's part: data directory, port, state."""

    def __init__(self, world, name):
        self.world = world
        self.name = name
        self.port = free_port()
        self.data = os.path.join(world.dir, name, "data")
        self.state = os.path.join(world.dir, name, "state")
        for path in (os.path.dirname(self.data), self.state):
            os.mkdir(path)
            shutil.chown(path, USER, USER)
        self.agent = None

    def member(self):
        return {"name": self.name, "address": "127.0.0.1", "port": self.port}

    def hello(self, **config):
        return {"type": "hello", "protocol": 1, "service": "test", "node": self.name,
                "state_dir": self.state,
                "config": {"data_dir": self.data, "version": VERSION, "user": USER,
                           "port": self.port, "bin_dir": BIN, "socket_dir": self.world.dir,
                           "listen": "127.0.0.1", "replication_user": "replicator",
                           "passfile": self.world.passfile, "health_interval_usec": 200000,
                           "health_timeout_usec": 500000, "rise": 1, "fall": 3,
                           "rejoin": "rewind,clone", "keep_diverged": True, **config},
                "members": [n.member() for n in self.world.nodes]}

    def start_agent(self, **config):
        self.agent = Agent(self, **config)
        self.agent.greeted()
        return self.agent

    def sql(self, query, ok=True):
        r = subprocess.run([BIN + "/psql", "-XqAt", "-h", self.world.dir, "-p", str(self.port),
                            "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-c", query], user=USER,
                           group=USER, extra_groups=[], capture_output=True, text=True,
                           timeout=20, cwd="/")
        if ok and r.returncode != 0:
            raise AssertionError("%s on %s: %s" % (query, self.name, r.stderr))
        return r.stdout.strip() if r.returncode == 0 else None

    def postmaster(self):
        try:
            with open(self.data + "/postmaster.pid") as f:
                return int(f.readline())
        except (OSError, ValueError):
            return None

    def processes(self):
        return processes_in(os.path.dirname(self.data))


def closed_at(node, seconds=10):
    """When the last process was seen. A busy machine may make us look late, never wrong."""
    seen = clock()
    deadline = seen + seconds * 1000000
    while True:
        began = clock()
        if not node.processes():
            return seen
        seen = began
        assert seen < deadline, "it is not closed"
        time.sleep(0.002)


class World:
    def __init__(self, program):
        self.dir = tempfile.mkdtemp(prefix="failoverd-agent-", dir=os.environ.get("TMPDIR"))
        os.chmod(self.dir, 0o755)
        shutil.chown(self.dir, USER, USER)
        self.program = os.path.join(self.dir, "failoverd-postgres")
        shutil.copy(program, self.program)
        self.agents = []
        self.nodes = []
        self.passfile = os.path.join(self.dir, "passfile")
        with open(self.passfile, "w") as f:
            f.write("*:*:*:replicator:it's a \\\\ secret\n")
        os.chmod(self.passfile, 0o600)
        shutil.chown(self.passfile, USER, USER)
        self.nodes = [Node(self, "db1"), Node(self, "db-2")]

    def close(self):
        for agent in self.agents:
            agent.end()
        codes = [a.process.returncode for a in self.agents]
        for node in self.nodes:
            self.signal([node.postmaster()], signal.SIGCONT)
            self.signal([node.postmaster()], signal.SIGQUIT)
        try:
            wait_for("the servers to stop", lambda: not processes_in(self.dir), 3)
        except AssertionError:
            self.signal(processes_in(self.dir), signal.SIGKILL)
        wait_for("the servers' end", lambda: not processes_in(self.dir), 10)
        self.remove_shared_memory()
        shutil.rmtree(self.dir)
        # -9 is for those that a test has killed itself.
        assert all(code in (0, -signal.SIGKILL) for code in codes), codes

    def signal(self, pids, number):
        """To those of @pids that are servers of ours."""
        for pid in set(pids) & set(processes_in(self.dir)):
            try:
                os.kill(pid, number)
            except OSError:
                pass

    def remove_shared_memory(self):
        """A server that was killed leaves a segment, whose number its pid file has in line 7."""
        for path in glob.glob(self.dir + "/*/*/postmaster.pid"):
            with open(path) as f:
                lines = f.read().split("\n")
            if len(lines) > 6 and len(lines[6].split()) == 2:
                subprocess.run(["ipcrm", "-m", lines[6].split()[1]], stderr=subprocess.DEVNULL)

    # Situations that several tests begin with.

    def primary(self, epoch=1):
        """db1 made by initdb, and promoted under a hold."""
        node = self.nodes[0]
        agent = node.start_agent()
        agent.wait_status(state="absent")
        agent.run("bootstrap", epoch, method="initdb")
        agent.wait_status(state="down", clean=True)
        # What a killed server leaves behind then goes with the directory.
        with open(node.data + "/postgresql.conf", "a") as f:
            f.write("dynamic_shared_memory_type = mmap\n")
        agent.hold(epoch)
        done = agent.run("promote", epoch)
        agent.wait_status(state="running", role="primary", writable=True, healthy=True)
        node.sql("CREATE TABLE t (id int PRIMARY KEY)")
        return node, agent, done

    def pair(self):
        """db1 as the primary, db-2 cloned from it and streaming, under epoch 1."""
        one, a1, _ = self.primary()
        a1.run("slots", 1)
        two = self.nodes[1]
        a2 = two.start_agent()
        a2.wait_status(state="absent")
        a2.run("clone", 1, primary=one.member())
        a2.wait_status(state="running", role="standby", streaming=True, upstream="db1",
                       writable=False)
        return one, a1, two, a2

    def caught_up(self, one, two):
        position = one.sql("SELECT pg_current_wal_lsn()")
        wait_for("the standby to have everything", lambda: two.sql(
            "SELECT pg_last_wal_replay_lsn() >= '%s'" % position) == "t", 10)


# --- Tests


def fresh_cluster_becomes_writable_only_under_a_hold(w):
    node = w.nodes[0]
    agent = node.start_agent()
    agent.wait_status(state="absent", writable=False)
    agent.run("bootstrap", 1, method="initdb")
    assert os.path.exists(node.data + "/standby.signal")
    done = agent.run("promote", 1, ok=False)
    assert "hold" in done["error"], done
    agent.hold(1)
    done = agent.run("promote", 1)
    print("    promotion of a stopped server: %d ms" % (done["took_usec"] / 1000))
    agent.wait_status(state="running", role="primary", writable=True)
    node.sql("CREATE TABLE t (id int)")
    hba = [line.split() for line in open(node.data + "/pg_hba.conf")
           if line.startswith("host") and "replicator" in line]
    assert len(hba) == 4 and all(line[4] == "scram-sha-256" for line in hba), hba
    assert done["timeline"] == 2, done


def standby_is_cloned_and_streams(w):
    one, a1, two, a2 = w.pair()
    one.sql("INSERT INTO t VALUES (1)")
    w.caught_up(one, two)
    assert two.sql("SELECT count(*) FROM t") == "1"
    assert two.sql("SELECT pg_is_in_recovery()") == "t"
    assert "secret" not in open(two.data + "/failoverd.replication.conf").read()
    p1, p2 = a1.run("position", 1), a2.run("position", 1)
    assert p1["timeline"] == p2["timeline"] == 2, (p1, p2)
    assert p2["lsn"] <= a1.run("position", 1)["lsn"]
    slots = one.sql("SELECT slot_name FROM pg_replication_slots WHERE active")
    assert slots.startswith("failoverd_db_2_"), slots
    a2.run("slots", 1)
    assert two.sql("SELECT slot_name FROM pg_replication_slots") == "failoverd_db1"
    a1.run("checkpoint", 1)


def standby_is_promoted_in_a_moment(w):
    one, a1, two, a2 = w.pair()
    w.caught_up(one, two)
    a1.let_go()
    done = a1.run("demote", 1, mode="fast")
    shutdown = done["lsn"]
    assert not one.processes()
    a1.wait_status(state="down", clean=True, writable=False)
    a2.hold(2)
    done = a2.run("promote", 2)
    print("    promotion of a standby: %d ms" % (done["took_usec"] / 1000))
    assert done["timeline"] == 3 and done["lsn"] > shutdown, (done, shutdown)
    two.sql("INSERT INTO t VALUES (2)")
    # The old one was closed cleanly and had sent everything, so it follows without a rewind.
    done = a1.run("rejoin", 2, primary=two.member())
    print("    rejoin after a clean switch: %d ms" % (done["took_usec"] / 1000))
    a1.wait_status(state="running", role="standby", streaming=True, upstream="db-2", timeline=3)
    assert not os.path.exists(one.data + ".old")
    assert not glob.glob(one.state + "/evidence/*"), "nothing was lost"
    w.caught_up(two, one)
    assert one.sql("SELECT count(*) FROM t") == "1"


def crash_is_told_at_once_and_repaired_in_place(w):
    node, agent, _ = w.primary()
    busy = subprocess.Popen([BIN + "/psql", "-XqAt", "-h", w.dir, "-p", str(node.port), "-d",
                             "postgres", "-c", "SELECT pg_sleep(60)"], user=USER, group=USER,
                            extra_groups=[], stderr=subprocess.DEVNULL, cwd="/")
    wait_for("a busy backend", lambda: node.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND "
        "state = 'active' AND pid <> pg_backend_pid()") == "1", 10)
    began = clock()
    os.kill(node.postmaster(), signal.SIGKILL)
    status = agent.wait_status(state="crashed", writable=False)
    took = (status["received"] - began) / 1000
    assert not node.processes(), "somebody may still write"
    busy.wait(10)
    print("    kill -9 of the postmaster reported after %.1f ms" % took)
    assert took < 2000
    done = agent.run("restart", 1)
    print("    restart in place: %d ms" % (done["took_usec"] / 1000))
    agent.wait_status(state="running", role="primary", writable=True)
    node.sql("INSERT INTO t VALUES (1)")


def crashed_primary_can_be_promoted_anew(w):
    node, agent, done = w.primary()
    node.sql("INSERT INTO t VALUES (1)")
    os.kill(node.postmaster(), signal.SIGKILL)
    agent.wait_status(state="crashed")
    again = agent.run("promote", 1)
    assert again["timeline"] == done["timeline"] + 1, again
    print("    promotion of a crashed primary: %d ms" % (again["took_usec"] / 1000))
    assert node.sql("SELECT count(*) FROM t") == "1"
    agent.wait_status(state="running", role="primary", writable=True)


def agent_that_was_stopped_hears_newer_holds_first(w):
    node, agent, _ = w.primary()
    pid = node.postmaster()
    os.kill(agent.process.pid, signal.SIGSTOP)
    began = clock()
    wait_for("the first holds to pass", lambda: clock() > began + 4000000, 10)
    os.kill(agent.process.pid, signal.SIGCONT)
    agent.wait_status(since=clock() + 500000, state="running", role="primary", healthy=True)
    assert node.postmaster() == pid
    # Without newer ones the deadline counts.
    os.kill(agent.process.pid, signal.SIGSTOP)
    agent.let_go()
    close_by = agent.hold_once(1, 100, 200)
    wait_for("the hold to pass", lambda: clock() > close_by, 10)
    os.kill(agent.process.pid, signal.SIGCONT)
    wait_for("no process", lambda: not node.processes(), 2)


def end_of_the_hold_closes_the_database_in_time(w):
    node, agent, _ = w.primary()
    for demote, close in ((700, 1000), (200, 1000), (150, 300)):
        agent.let_go()
        close_by = agent.hold_once(1, demote, close)
        pids = node.processes()
        gone = closed_at(node)
        print("    %d processes gone %.0f ms before the end of a hold of %d ms"
              % (len(pids), (close_by - gone) / 1000, close))
        assert gone < close_by, "closed too late"
        status = agent.wait_status(writable=False, role="none")
        assert os.path.exists(node.data + "/standby.signal") or wait_for(
            "standby.signal", lambda: os.path.exists(node.data + "/standby.signal"), 5)
        agent.wait_status(state="down" if status["clean"] else status["state"])
        agent.hold(1)
        agent.run("restart", 1)
        agent.wait_status(state="running", role="primary", writable=True)


def stubborn_database_is_killed_in_time(w):
    node, agent, _ = w.primary()
    # A stopped backend keeps fast and immediate shutdowns from ending.
    victim = int(node.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"))
    os.kill(victim, signal.SIGSTOP)
    agent.let_go()
    close_by = agent.hold_once(1, 400, 1000)
    gone = closed_at(node)
    print("    gone %.0f ms before the end" % ((close_by - gone) / 1000))
    assert gone < close_by, "closed too late"
    agent.wait_status(state="crashed", writable=False)


def end_of_input_keeps_the_deadline(w):
    node, agent, _ = w.primary()
    agent.let_go()
    close_by = agent.hold_once(1, 600, 1000)
    agent.process.stdin.close()
    gone = closed_at(node)
    assert close_by - 600000 < gone < close_by, "closed at the wrong time"
    agent.process.wait(10)
    assert agent.process.returncode == 0
    assert os.path.exists(node.data + "/standby.signal")


def end_of_input_without_a_deadline_leaves_the_database(w):
    node, agent, _ = w.primary()
    agent.let_go()
    agent.send({"type": "release", "epoch": 1})
    agent.process.stdin.close()
    agent.process.wait(10)
    node.sql("INSERT INTO t VALUES (1)")


def hold_does_not_close_a_standby(w):
    one, a1, two, a2 = w.pair()
    pid = two.postmaster()
    close_by = a2.hold_once(1, 100, 300)
    a2.wait_status(since=close_by)
    assert two.postmaster() == pid and a2.status()["state"] == "running"


def diverged_primary_is_rewound(w):
    one, a1, two, a2 = w.pair()
    w.caught_up(one, two)
    a2.run("freeze", 1)
    a2.wait_status(frozen=True, streaming=False)
    one.sql("INSERT INTO t SELECT generate_series(1000, 2000)")
    a1.let_go()
    os.kill(one.postmaster(), signal.SIGKILL)
    a1.wait_status(state="crashed")
    a2.hold(2)
    a2.run("promote", 2)
    two.sql("INSERT INTO t VALUES (1)")
    done = a1.run("rejoin", 2, seconds=60, primary=two.member(), method="rewind")
    print("    rejoin by rewind: %d ms" % (done["took_usec"] / 1000))
    a1.wait_status(state="running", role="standby", streaming=True, upstream="db-2", timeline=3,
                   needs_rewind=False)
    w.caught_up(two, one)
    assert one.sql("SELECT count(*) FROM t") == "1"
    a1.run("slots", 2)
    assert one.sql("SELECT slot_name FROM pg_replication_slots").startswith("failoverd_db_2_")
    kept = glob.glob(one.state + "/evidence/*/*")
    assert kept and all(os.path.basename(k).startswith("00000002") for k in kept), kept
    assert not os.path.exists(one.data + ".old")


def diverged_standby_is_found_and_rewound(w):
    one, a1, two, a2 = w.pair()
    w.caught_up(one, two)
    # db-2 is promoted behind everybody's back, and then started as a standby of db1 again.
    a2.hold(2)
    a2.run("promote", 2)
    two.sql("INSERT INTO t VALUES (7)")
    a2.let_go()
    a2.run("demote", 2, mode="fast")
    a2.run("start", 2)
    a2.wait_status(state="running", role="standby", frozen=True)
    done = a2.run("follow", 2, ok=False, primary=one.member())
    assert done["diverged"], done
    a2.wait_status(needs_rewind=True)
    a1.hold(3)
    a1.run("slots", 3)
    done = a2.run("rejoin", 3, seconds=60, primary=one.member())
    a2.wait_status(state="running", role="standby", streaming=True, upstream="db1",
                   needs_rewind=False)
    w.caught_up(one, two)
    assert two.sql("SELECT count(*) FROM t") == "0"


def two_primaries_of_one_timeline_are_told_apart(w):
    one, a1, two, a2 = w.pair()
    w.caught_up(one, two)
    a1.let_go()
    a1.run("demote", 1, mode="fast")
    # Both are promoted from timeline 2 apart, and both call theirs 3.
    a2.hold(2)
    assert a2.run("promote", 2)["timeline"] == 3
    two.sql("INSERT INTO t VALUES (2)")
    a1.hold(3)
    assert a1.run("promote", 3)["timeline"] == 3
    one.sql("INSERT INTO t VALUES (1)")
    a1.let_go()
    # Killed before its checkpoint, perhaps: the control file may know timeline 2 only.
    os.kill(one.postmaster(), signal.SIGKILL)
    a1.wait_status(state="crashed")
    done = a1.run("rejoin", 4, primary=two.member(), method="rewind", ok=False)
    assert done["diverged"], done
    a1.run("rejoin", 4, primary=two.member())
    w.caught_up(two, one)
    assert one.sql("SELECT id FROM t") == "2"


def two_primaries_that_part_at_one_point_are_told_apart(w):
    """Promoted from the same timeline at the same byte: number and history of theirs are equal."""
    one, a1, two, a2 = w.pair()
    w.caught_up(one, two)
    a1.let_go()
    os.kill(one.postmaster(), signal.SIGKILL)
    a1.wait_status(state="crashed")
    a2.hold(2)
    assert a2.run("promote", 2)["timeline"] == 3
    two.sql("INSERT INTO t VALUES (2)")
    a1.hold(3)
    assert a1.run("promote", 3)["timeline"] == 3
    one.sql("INSERT INTO t VALUES (1)")
    a1.let_go()
    a1.run("demote", 3, mode="fast")
    a1.run("start", 3)  # as a standby: its control file no longer says what it was
    started = time.monotonic()
    a1.run("rejoin", 4, primary=two.member(), seconds=50)
    print("    a twin was found and copied over in %.1f s" % (time.monotonic() - started))
    assert any("copying db" in str(m) for m in a1.all("log")), "a twin was followed"
    w.caught_up(two, one)
    assert one.sql("SELECT count(*) FROM t WHERE id = 1") == "0"
    assert one.sql("SELECT count(*) FROM t WHERE id = 2") == "1"


def clone_as_the_only_way_is_taken_only_when_needed(w):
    one, a1, two, a2 = w.pair()
    a2.end()
    a2 = two.start_agent(rejoin="clone")
    a2.wait_status(state="running", streaming=True)
    number = os.stat(two.data).st_ino
    a2.run("rejoin", 1, primary=one.member())
    w.caught_up(one, two)
    a1.let_go()
    a1.run("demote", 1, mode="fast")
    a2.hold(2)
    a2.run("promote", 2)
    a1.run("rejoin", 2, primary=two.member())
    w.caught_up(two, one)
    a2.let_go()
    a2.run("demote", 2, mode="fast")
    a1.hold(3)
    a1.run("promote", 3)
    a2.run("rejoin", 3, primary=one.member())
    assert os.stat(two.data).st_ino == number, "it was cloned without need"
    a2.run("rejoin", 3, primary=one.member(), method="clone")
    assert os.stat(two.data).st_ino != number
    a2.wait_status(state="running", role="standby", streaming=True, upstream="db1")


def half_rewound_directory_is_never_started(w):
    one, a1, two, a2 = w.pair()
    w.caught_up(one, two)
    a2.run("demote", 1, mode="fast")
    open(two.state + "/rewind-unfinished", "w").close()
    shutil.chown(two.state + "/rewind-unfinished", USER, USER)
    assert "cloned" in a2.run("start", 1, ok=False)["error"]
    a2.run("rejoin", 1, primary=one.member())
    a2.wait_status(state="running", role="standby", streaming=True)
    assert os.path.exists(two.data + ".old/PG_VERSION")


def copy_replaces_what_cannot_be_rewound(w):
    one, a1, two, a2 = w.pair()
    w.caught_up(one, two)
    one.sql("INSERT INTO t SELECT generate_series(1000, 2000)")
    a1.let_go()
    os.kill(one.postmaster(), signal.SIGKILL)
    a1.wait_status(state="crashed")
    a2.hold(2)
    a2.run("promote", 2)
    two.sql("INSERT INTO t VALUES (5)")
    for path in glob.glob(one.data + "/pg_wal/0000000*"):
        if len(os.path.basename(path)) == 24:
            os.unlink(path)
    done = a1.run("rejoin", 2, seconds=120, primary=two.member(), method="rewind", ok=False)
    assert "pg_rewind" in done["error"], done
    done = a1.run("rejoin", 2, seconds=120, primary=two.member())
    print("    rejoin by a copy: %d ms" % (done["took_usec"] / 1000))
    a1.wait_status(state="running", role="standby", streaming=True, upstream="db-2")
    w.caught_up(two, one)
    assert one.sql("SELECT count(*) FROM t WHERE id = 5") == "1"
    assert os.path.exists(one.data + ".old/PG_VERSION")
    assert not glob.glob(one.data + ".new*") and not os.path.exists(one.data + ".replaced")


def frozen_standby_receives_nothing(w):
    one, a1, two, a2 = w.pair()
    w.caught_up(one, two)
    done = a2.run("freeze", 1)
    print("    freeze: %d ms" % (done["took_usec"] / 1000))
    a2.wait_status(frozen=True, streaming=False)
    one.sql("INSERT INTO t VALUES (1)")
    again = a2.run("position", 1)
    assert again["lsn"] == done["lsn"], (done, again)
    done = a2.run("unfreeze", 1)
    print("    unfreeze: %d ms" % (done["took_usec"] / 1000))
    a2.wait_status(frozen=False, streaming=True)
    w.caught_up(one, two)


def stopped_postmaster_is_hung_and_can_be_killed(w):
    node, agent, _ = w.primary()
    os.kill(node.postmaster(), signal.SIGSTOP)
    status = agent.wait_status(state="hung", healthy=False, writable=True)
    assert status["reason"], status
    agent.run("demote", 1, seconds=5, mode="kill")
    assert not node.processes()
    agent.wait_status(state="crashed", writable=False)


def send(pids, number):
    """To processes of a server, some of which come and go."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def stopped_database_recovers_if_left_alone(w):
    node, agent, _ = w.primary()
    pid = node.postmaster()
    for victims_of in (lambda: [pid], node.processes):
        victims = victims_of()
        send(victims, signal.SIGSTOP)
        agent.wait_status(state="hung", healthy=False, writable=True)
        since = clock()
        send(victims, signal.SIGCONT)
        agent.wait_status(since=since, state="running", healthy=True)
        assert node.postmaster() == pid


def restarted_agent_adopts_the_database(w):
    node, agent, _ = w.primary()
    pid = node.postmaster()
    agent.kill()
    agent = node.start_agent()
    agent.wait_status(state="running", role="primary", writable=True, postmaster=pid)
    agent.hold(1)
    agent.run("promote", 1)
    assert node.postmaster() == pid
    began = clock()
    os.kill(pid, signal.SIGKILL)
    status = agent.wait_status(state="crashed")
    assert status["received"] - began < 2000000


def killed_agent_takes_its_programs_along(w):
    one, a1, _ = w.primary()
    a1.run("slots", 1)
    two = w.nodes[1]
    a2 = two.start_agent()
    a2.begin("clone", 1, primary=one.member())
    wait_for("the copy", lambda: glob.glob(two.data + ".new-*/base"), 20)
    a2.kill()
    # No pg_basebackup goes on writing behind the next agent's back.
    wait_for("the end of the copying", lambda: one.sql(
        "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'db-2'") == "0", 10)
    a2 = two.start_agent()
    a2.run("clone", 1, primary=one.member())
    a2.wait_status(state="running", role="standby", streaming=True)
    assert not glob.glob(two.data + ".new-*")
    # Killed while it starts the server: whatever has become of it is found and finished.
    a2.run("demote", 1, mode="fast")
    a2.begin("start", 1)
    a2.kill()
    a2 = two.start_agent()
    a2.run("rejoin", 1, primary=one.member())
    a2.wait_status(state="running", role="standby", streaming=True)


def crash_without_an_agent_leaves_nothing_alive(w):
    node, agent, _ = w.primary()
    agent.kill()
    orphan = int(node.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"))
    os.kill(orphan, signal.SIGSTOP)
    os.kill(node.postmaster(), signal.SIGKILL)
    wait_for("only the orphan", lambda: node.processes() == [orphan], 10)
    agent = node.start_agent()
    agent.wait_status(state="crashed", writable=False)
    assert not node.processes()


def second_agent_takes_over_from_a_stopped_one(w):
    for stopped in (False, True):
        node, first = (w.primary()[:2] if not stopped else (node, second))
        pid = node.postmaster()
        if stopped:
            os.kill(first.process.pid, signal.SIGSTOP)
        first.let_go()
        second = Agent(node)
        second.hold(1)
        second.greeted()
        first.process.wait(10)
        second.wait_status(state="running", role="primary", writable=True, postmaster=pid)
        second.run("promote", 1)
        node.sql("INSERT INTO t VALUES (%d)" % stopped)


def second_agent_without_a_hold_takes_over_as_well(w):
    node, first, _ = w.primary()
    first.let_go()
    first.send({"type": "release", "epoch": 1})
    second = Agent(node)
    second.greeted()
    first.process.wait(10)
    second.wait_status(state="running", role="primary", writable=True)


def older_epoch_is_refused_also_after_a_restart(w):
    node, agent, _ = w.primary(epoch=5)
    agent.let_go()
    agent.hold_once(4, 60000, 60000)
    ack = wait_for("a refusal", lambda: [m for m in agent.all("ack") if not m["ok"]], 5)[0]
    assert ack["epoch"] == 5, ack
    assert "older" in agent.run("position", 4, ok=False)["error"]
    agent.hold_once(5, 60000, 60000)
    agent.kill()
    agent = node.start_agent()
    assert "older" in agent.run("position", 4, ok=False)["error"]
    agent.wait_status(epoch=5)


def lost_hold_ends_a_promotion(w):
    one, a1, two, a2 = w.pair()
    w.caught_up(one, two)
    # The startup process cannot finish the promotion while it is stopped.
    startup = int(two.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'"))
    os.kill(startup, signal.SIGSTOP)
    close_by = a2.hold_once(2, 700, 1000)
    number = a2.begin("promote", 2)
    done = a2.done(number)
    assert not done["ok"], done
    gone = closed_at(two)
    assert gone < close_by, "closed too late"
    a2.wait_status(writable=False, role="none")


def demotion_interrupts_a_step(w):
    one, a1, two, a2 = w.pair()
    a2.hold(2)
    number = a2.begin("checkpoint", 2)
    other = a2.begin("rejoin", 2, primary={"name": "x", "address": "127.0.0.1", "port": 1})
    a2.run("demote", 2, seconds=10, mode="immediate")
    a2.done(number)
    assert not a2.done(other)["ok"]
    assert not two.processes()


def fast_demotion_does_not_wait_for_the_archiver(w):
    node, agent, _ = w.primary()
    node.sql("ALTER SYSTEM SET archive_mode = on")
    node.sql("ALTER SYSTEM SET archive_command = 'sleep 100'")
    agent.run("demote", 1, mode="fast")
    agent.run("restart", 1)
    node.sql("INSERT INTO t VALUES (1)")
    node.sql("SELECT pg_switch_wal()")
    done = agent.run("demote", 1, seconds=30, mode="fast")
    print("    closed with a slow archiver: %d ms" % (done["took_usec"] / 1000))
    assert done["took_usec"] < 10e6
    agent.wait_status(state="down", clean=True)


def existing_primary_is_adopted(w):
    node = w.nodes[0]
    run = dict(user=USER, group=USER, extra_groups=[], check=True, cwd="/",
               stdout=subprocess.DEVNULL)
    subprocess.run([BIN + "/initdb", "-D", node.data, "-k", "--auth=peer"], **run)
    with open(node.data + "/postgresql.conf", "a") as f:
        f.write("port = %d\nunix_socket_directories = '%s'\nlisten_addresses = '127.0.0.1'\n"
                "max_wal_senders = 1\n" % (node.port, w.dir))
    subprocess.run([BIN + "/pg_ctl", "-w", "-D", node.data, "-l", node.state + "/log", "start"],
                   **run)
    node.sql("CREATE TABLE t (id int PRIMARY KEY)")
    pid = node.postmaster()
    agent = node.start_agent()
    agent.wait_status(state="running", role="primary", postmaster=pid)
    done = agent.run("bootstrap", 1, method="adopt", ok=False)
    assert "max_wal_senders is 1" in done["error"], done
    agent.hold(1)
    agent.run("demote", 1, mode="fast")
    agent.run("restart", 1)
    agent.run("bootstrap", 1, method="adopt")
    assert agent.run("promote", 1)["timeline"] == 1
    two = w.nodes[1]
    agent.run("slots", 1)
    a2 = two.start_agent()
    a2.run("clone", 1, primary=node.member())
    a2.wait_status(state="running", role="standby", streaming=True, upstream="db1")


def move_configuration(node):
    """As Debian has it: the configuration is somewhere else, and the data directory has none."""
    etc = os.path.join(os.path.dirname(node.data), "etc")
    os.mkdir(etc)
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        source = node.world.nodes[0]
        found = os.path.join(node.data, name)
        if not os.path.exists(found):
            found = os.path.join(os.path.dirname(source.data), "etc", name)
        shutil.copy(found, etc)
        if os.path.exists(os.path.join(node.data, name)):
            os.unlink(os.path.join(node.data, name))
    path = etc + "/postgresql.conf"
    text = open(path).read().split("# Debian")[0]
    with open(path, "w") as f:
        f.write(text + "# Debian\ndata_directory = '%s'\nhba_file = '%s/pg_hba.conf'\n"
                "ident_file = '%s/pg_ident.conf'\nport = %d\nlisten_addresses = '127.0.0.1'\n"
                "unix_socket_directories = '%s'\n"
                % (node.data, etc, etc, node.port, node.world.dir))
    for dirpath, _, names in os.walk(etc):
        for name in ["."] + names:
            shutil.chown(os.path.join(dirpath, name), USER, USER)
    return path


def configuration_elsewhere_and_own_commands_work(w):
    one, two = w.nodes
    subprocess.run([BIN + "/initdb", "-D", one.data, "-k", "--auth=peer"], user=USER, group=USER,
                   extra_groups=[], check=True, cwd="/", stdout=subprocess.DEVNULL)
    conf1, conf2 = move_configuration(one), move_configuration(two)
    ctl = [BIN + "/pg_ctl", "-D", one.data]
    a1 = one.start_agent(config_file=conf1, stop_command=ctl + ["-W", "-m", "fast", "stop"],
                         start_command=ctl + ["-W", "-l", one.state + "/log", "-o",
                                              "-c config_file=" + conf1, "start"])
    a1.wait_status(state="down")
    a1.run("bootstrap", 1, method="adopt")
    a1.hold(1)
    a1.run("promote", 1)
    a1.run("slots", 1)
    one.sql("CREATE TABLE t (id int PRIMARY KEY)")
    a2 = two.start_agent(config_file=conf2)
    a2.run("clone", 1, primary=one.member())
    a2.wait_status(state="running", role="standby", streaming=True, upstream="db1")
    w.caught_up(one, two)
    a2.run("freeze", 1)
    one.sql("INSERT INTO t VALUES (1)")
    a1.let_go()
    a1.run("demote", 1, mode="fast")
    a1.wait_status(state="down", clean=True)
    # The second one's pg_hba.conf is its own; the administrator has to see to it.
    shutil.copy(os.path.dirname(conf1) + "/pg_hba.conf", os.path.dirname(conf2))
    shutil.chown(os.path.dirname(conf2) + "/pg_hba.conf", USER, USER)
    os.kill(two.postmaster(), signal.SIGHUP)
    a2.hold(2)
    a2.run("promote", 2)
    a1.run("rejoin", 2, primary=two.member(), method="rewind")
    a1.wait_status(state="running", role="standby", streaming=True, upstream="db-2")
    w.caught_up(two, one)
    assert one.sql("SELECT count(*) FROM t") == "0"


def foreign_cluster_is_never_overwritten(w):
    one, a1, _ = w.primary()
    two = w.nodes[1]
    a2 = two.start_agent()
    a2.run("bootstrap", 1, method="initdb")
    done = a2.run("rejoin", 1, primary=one.member(), ok=False)
    assert "system id" in done["error"], done
    done = a2.run("clone", 1, primary=one.member(), ok=False)
    assert "system id" in done["error"], done


def every_hold_is_acknowledged_at_once_while_a_step_runs(w):
    one, a1, two, a2 = w.pair()
    number = a2.begin("clone", 1, primary=one.member(), seconds=60)
    worst = 0
    n = 0
    while not [m for m in a2.all("done") if m["id"] == number]:
        began, before = clock(), len(a2.all("ack"))
        a2.hold_once(1, 5000, 6000)
        ack = wait_for("an ack", lambda: a2.all("ack")[before:], 5)[0]
        worst = max(worst, ack["received"] - began)
        n += 1
    print("    worst of %d answers to a hold: %.1f ms" % (n, worst / 1000))
    assert a2.done(number)["ok"], a2.done(number)
    assert worst < 200000


TESTS = [
    fresh_cluster_becomes_writable_only_under_a_hold,
    standby_is_cloned_and_streams,
    standby_is_promoted_in_a_moment,
    crash_is_told_at_once_and_repaired_in_place,
    crashed_primary_can_be_promoted_anew,
    agent_that_was_stopped_hears_newer_holds_first,
    end_of_the_hold_closes_the_database_in_time,
    stubborn_database_is_killed_in_time,
    end_of_input_keeps_the_deadline,
    end_of_input_without_a_deadline_leaves_the_database,
    hold_does_not_close_a_standby,
    diverged_primary_is_rewound,
    diverged_standby_is_found_and_rewound,
    two_primaries_of_one_timeline_are_told_apart, two_primaries_that_part_at_one_point_are_told_apart,
    clone_as_the_only_way_is_taken_only_when_needed,
    half_rewound_directory_is_never_started,
    copy_replaces_what_cannot_be_rewound,
    frozen_standby_receives_nothing,
    stopped_postmaster_is_hung_and_can_be_killed,
    stopped_database_recovers_if_left_alone,
    restarted_agent_adopts_the_database,
    killed_agent_takes_its_programs_along,
    crash_without_an_agent_leaves_nothing_alive,
    second_agent_takes_over_from_a_stopped_one,
    second_agent_without_a_hold_takes_over_as_well,
    older_epoch_is_refused_also_after_a_restart,
    lost_hold_ends_a_promotion,
    demotion_interrupts_a_step,
    fast_demotion_does_not_wait_for_the_archiver,
    existing_primary_is_adopted,
    configuration_elsewhere_and_own_commands_work,
    foreign_cluster_is_never_overwritten,
    every_hold_is_acknowledged_at_once_while_a_step_runs,
]


def run_test(test, program):
    w = World(program)
    ok = False
    try:
        test(w)
        ok = True
    except Exception:
        traceback.print_exc()
        for agent in w.agents:
            for m in agent.all("log")[-12:]:
                print("    %s: %s %s" % (agent.node.name, m["level"], m["text"]))
    try:
        w.close()
    except Exception:
        traceback.print_exc()
        ok = False
    return ok


def main():
    if len(sys.argv) < 2 or os.geteuid() != 0:
        sys.exit(__doc__)
    names = sys.argv[2:]
    passed = failed = 0
    for test in TESTS:
        if names and test.__name__ not in names:
            continue
        began = time.monotonic()
        ok = run_test(test, sys.argv[1])
        print("%s %s (%.1f s)" % ("ok  " if ok else "FAIL", test.__name__,
                                  time.monotonic() - began), flush=True)
        passed += ok
        failed += not ok
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
