#!/usr/bin/python3
"""The executor alone, end to end: the real one, in a network and process namespace of its own, with
an engine and agents whose words the test says itself. Needs root.

executor.py HOST AGENT [NAME]...

HOST is the program made of executor-host.c, AGENT the real failoverd-postgres (or "-": the tests
with a real database are left out).
"""
import contextlib
import json
import os
import pathlib
import pwd
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
VIP = "10.99.0.100"
NSEC = 1_000_000_000


def lease_clock():
    """The lease clock in microseconds, as daemon/clock.h defines it."""
    raw = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    slept = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return (raw + round(slept / 1_000_000) * 1_000_000) // 1000


class Failure(Exception):
    pass


def wait_for(what, condition, seconds=3.0):
    """Waits until condition() is true and returns how long that took."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise Failure(f"waited {seconds} s in vain: {what}")
        time.sleep(0.002)
    return time.monotonic() - begun


def check(condition, what):
    if not condition:
        raise Failure(what)


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def addresses():
    """Addresses of the test interface, with the seconds that each is still valid."""
    out = subprocess.run(["ip", "-j", "addr", "show", "dev", "v0"], check=True, capture_output=True)
    infos = json.loads(out.stdout)[0]["addr_info"]
    return {i["local"]: i["valid_life_time"] for i in infos}


def add_marked(address, seconds=2**32 - 1):
    """An address with our mark (protocol 0xfa), which this ip command cannot give."""
    def attribute(kind, value):
        return struct.pack("HH", 4 + len(value), kind) + value
    ip_bytes = socket.inet_aton(address)
    body = struct.pack("BBBBI", socket.AF_INET, 32, 0, 0, socket.if_nametoindex("v0"))
    body += attribute(1, ip_bytes) + attribute(2, ip_bytes)  # IFA_ADDRESS, IFA_LOCAL
    body += attribute(6, struct.pack("IIII", seconds, seconds, 0, 0))  # IFA_CACHEINFO
    body += attribute(11, struct.pack("Bxxx", 0xfa)[:1]) + b"\0\0\0"  # IFA_PROTO
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        # RTM_NEWADDR; NLM_F_REQUEST, ACK, CREATE, EXCL
        netlink.send(struct.pack("IHHII", 16 + len(body), 20, 0x605, 1, 0) + body)
        error = struct.unpack("i", netlink.recv(4096)[16:20])[0]
    check(error == 0, f"cannot add {address}: {os.strerror(-error)}")


def process_state(pid):
    """The letter of its state, or None if there is no process (a zombie is none)."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state = stat.rpartition(")")[2].split()[0]
    return None if state in "ZX" else state


def process_start(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def status_field(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return line.split()[1]
    raise Failure(f"no {field} of {pid}")


class Peer:
    """One engine or agent that the executor has started, played by the test."""

    def __init__(self, connection):
        self.connection = connection
        self.buffer = b""
        self.lines = []
        greeting = self.read(3.0)
        self.role, self.pid = greeting["role"], greeting["pid"]

    def read(self, seconds):
        end = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            if not select.select([self.connection], [], [], max(0, end - time.monotonic()))[0]:
                raise Failure("nothing more was said")
            data = self.connection.recv(65536)
            if not data:
                raise Failure("the conversation has ended")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)

    def say(self, **message):
        self.connection.sendall((json.dumps(message) + "\n").encode())

    def hear(self, kind, seconds=3.0, **fields):
        """The next message of that type with those fields; others are kept for later."""
        end = time.monotonic() + seconds
        seen = 0
        while True:
            while seen < len(self.lines):
                line = self.lines[seen]
                if line["type"] == kind and all(line.get(k) == v for k, v in fields.items()):
                    return self.lines.pop(seen)
                seen += 1
            try:
                self.lines.append(self.read(max(0.0, end - time.monotonic())))
            except Failure as failure:
                heard = [line["type"] for line in self.lines]
                raise Failure(f"{self.role} waits for {kind} {fields}: {failure}, but {heard}")

    def hears_nothing(self, kind, seconds):
        try:
            self.hear(kind, seconds)
        except Failure:
            return
        raise Failure(f"{self.role} hears {kind}")

    def close(self):
        self.connection.close()


class Host:
    """A directory, a configuration, and an executor."""

    def __init__(self, program, agent, database=False, vip=True, real=False):
        self.program = program
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="executor-"))
        os.chmod(self.dir, 0o755)
        self.process = None
        self.others = []
        self.log = self.dir / "log"
        self.conf = self.dir / "failoverd.conf"
        self.data = self.dir / "pg" / "data"
        self.data.parent.mkdir()
        shutil.chown(self.data.parent, "postgres", "postgres")
        if not real:
            self.data.mkdir(mode=0o700)
            shutil.chown(self.data, "postgres", "postgres")
        self.socket_path = self.dir / "socket"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.socket_path))
        os.chmod(self.socket_path, 0o777)
        self.listener.listen(16)
        self.waiting = []
        self.peers = []
        self.psqls = []
        self.write_agent(agent if real else None)
        self.write_conf(database or real, vip)

    def write_agent(self, real):
        (self.dir / "libexec").mkdir()
        shutil.copy(HERE / "relay.py", self.dir / "relay.py")
        agent = self.dir / "libexec" / "failoverd-postgres"
        if real:
            shutil.copy(real, agent)
        else:
            agent.write_text(
                f'#!/bin/sh\nexec /usr/bin/python3 {self.dir}/relay.py agent {self.socket_path}\n')
        agent.chmod(0o755)

    def write_conf(self, database, vip):
        postgres = f'''postgres {{ data_dir = "{self.data}" version = 15 port = 54329
                socket_dir = "{self.data.parent}" }}''' if database else ""
        address = f'vip {{ address = "{VIP}/24" interface = "v0" }}' if vip else ""
        self.conf.write_text(f'''
node "db1" {{
        run_dir = "{self.dir}/run"
        data_dir = "{self.dir}/data"
        libexec_dir = "{self.dir}/libexec"
        user = "nobody"
        log_level = debug
}}
cluster "test" {{
        member "db1" {{ address = "127.0.0.1" }}
        member "db2" {{ address = "127.0.0.2" }}
        member "db3" {{ address = "127.0.0.3" role = witness }}
}}
service "orders" {{ ttl = 3s {postgres} {address} }}
''')

    def start(self, environment=None):
        argv = [self.program, str(self.conf), "/usr/bin/python3", f"{self.dir}/relay.py", "engine",
                str(self.socket_path)]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stderr=log, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **(environment or {})})
        return self

    def accept(self, role, seconds=4.0):
        """The next engine or agent that the executor starts."""
        end = time.monotonic() + seconds
        while True:
            for peer in self.waiting:
                if peer.role == role:
                    self.waiting.remove(peer)
                    return peer
            left = max(0.0, end - time.monotonic())
            if not select.select([self.listener], [], [], left)[0]:
                raise Failure(f"no {role} was started within {seconds} s")
            peer = Peer(self.listener.accept()[0])
            self.peers.append(peer)
            self.waiting.append(peer)

    def logged(self, text):
        return text in self.log.read_text(errors="replace")

    def spawn_postmaster(self, n_children=2):
        """Processes that work in the data directory as its user, as a database does."""
        script = "trap '' TERM INT QUIT; " + "sleep 1000 & " * n_children + "wait"
        user = pwd.getpwnam("postgres")
        process = subprocess.Popen(["/bin/sh", "-c", script], cwd=self.data, user=user.pw_uid,
                                   group=user.pw_gid, start_new_session=True)
        self.others.append(process)
        wait_for("the children", lambda: len(self.cluster()) == n_children + 1)
        return process.pid

    def cluster(self):
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if os.readlink(entry / "cwd") == str(self.data):
                        found.append(int(entry.name))
        return found

    def agent_pid(self):
        """Of the real agent that holds the lock; 0: none."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int((self.dir / "data/agents/orders/lock").read_text().split()[0])
            return pid if process_state(pid) else 0
        return 0

    def postmaster(self):
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def psql(self):
        """A session of a client that stays connected; each line gets an answer of one line."""
        process = subprocess.Popen(
            ["psql", "-h", str(self.data.parent), "-p", "54329", "-qAtX", "postgres"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            bufsize=1, user="postgres", cwd="/")
        self.psqls.append(process)
        return process

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise Failure("the executor does not stop")

    def done(self):
        for pid in self.cluster():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for peer in self.peers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(peer.pid, signal.SIGKILL)
            peer.close()
        for process in self.others + self.psqls:
            process.kill()
            process.wait()
        if self.agent_pid():
            os.kill(self.agent_pid(), signal.SIGKILL)
        self.listener.close()
        for address in addresses():
            if address.startswith("10.99.0.1") and address != "10.99.0.1":
                with contextlib.suppress(subprocess.CalledProcessError):
                    ip("addr", "del", address, "dev", "v0")
        shutil.rmtree(self.dir)


def hold(engine, epoch=5, demote_in=2.0, close_in=2.9, now=None):
    """Says a hold and returns its two instants."""
    now = now or lease_clock()
    demote_at, close_by = now + int(demote_in * 1e6), now + int(close_in * 1e6)
    engine.say(type="hold", service="orders", epoch=epoch, incarnation=77, demote_at=demote_at,
               close_by=close_by, valid_until=close_by)
    return demote_at, close_by


def run(engine, step, number=1, epoch=5, within=2.0, **args):
    engine.say(type="run", service="orders", id=number, epoch=epoch, step=step,
               deadline=lease_clock() + int(within * 1e6), args=args)


def status(agent, state="running", role="primary", writable=True, pid=0, start=0, **more):
    agent.say(type="status", state=state, role=role, writable=writable, healthy=True,
              postmaster=pid, postmaster_start=start, **more)


def add_address(engine):
    run(engine, "address_add", number=900)
    done = engine.hear("done", id=900)
    check(done["ok"], f"address_add: {done['error']}")


def ready_agent(host):
    agent = host.accept("agent")
    agent.hear("hello")
    agent.say(type="hello", protocol=1, agent="test", pid=agent.pid)
    return agent


# --- Holds, acknowledgements, refusals.


def a_hold_is_acknowledged_and_an_older_one_is_not(host):
    engine = host.start().accept("engine")
    hello = engine.hear("hello")
    check(hello["holds"] == [], "there is nothing to adopt")
    check(hello["boot_id"] == pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
          "boot id")
    sent = lease_clock()
    hold(engine, epoch=5)
    ack = engine.hear("ack", epoch=5)
    check(sent <= ack["at"] <= lease_clock(), "the time of the acknowledgement")
    hold(engine, epoch=4)
    engine.hears_nothing("ack", 0.3)
    run(engine, "address_add", epoch=4)
    done = engine.hear("done", id=1)
    check(not done["ok"] and "older" in done["error"], "a step of an older epoch is refused")
    hold(engine, epoch=6)
    engine.hear("ack", epoch=6)


def a_hold_longer_than_the_ttl_is_refused(host):
    engine = host.start().accept("engine")
    hold(engine, demote_in=1.0, close_in=3.5)
    engine.hears_nothing("ack", 0.3)
    hold(engine, demote_in=2.0, close_in=1.0)
    engine.hears_nothing("ack", 0.3)
    check(host.logged("longer than the TTL"), "the log tells why")


def nonsense_from_the_engine_is_refused_and_harms_nobody(host):
    engine = host.start().accept("engine")
    engine.hear("hello")
    engine.say(type="hold", service="nobody", epoch=1)
    engine.say(type="hold", service="orders", epoch="x")
    engine.say(type="hold")
    engine.say(type="dance")
    engine.say(type="run", service="orders")
    engine.say(type="run", service="orders", id=-1, epoch=1, step="promote", deadline=1)
    engine.say(type="run", service="orders", id=2**62, epoch=1, step="promote", deadline=1)
    engine.say(type="run", service="orders", id=8, epoch=5, step="rm -rf", deadline=2**60)
    check(not engine.hear("done", id=8)["ok"], "an unknown step is refused")
    engine.say(type="run", service="orders", id=9, epoch=5, step="promote", deadline=2**60)
    check("no database" in engine.hear("done", id=9)["error"], "there is no database")
    run(engine, "address_add", number=10)
    check("no valid hold" in engine.hear("done", id=10)["error"], "no address without a hold")
    engine.say(type="cancel", service="orders", id=4711)
    engine.say(type="release", service="orders", epoch=99)
    hold(engine)
    engine.hear("ack")
    engine.connection.sendall(b"no json at all\n")
    second = host.accept("engine")
    check([h["epoch"] for h in second.hear("hello")["holds"]] == [5], "the hold has stayed")


# --- Addresses.


class Neighbour:
    """Hears the announcements on the other end of the cable."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
        self.socket.bind(("v1", 0))

    def drain(self):
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.socket.recv(2048)

    def hears(self, seconds=1.0):
        """Seconds until the first gratuitous ARP for the address; fails if there is none."""
        begun = time.monotonic()
        while True:
            left = seconds - (time.monotonic() - begun)
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                raise Failure("the neighbours are not told")
            frame = self.socket.recv(2048)
            if frame[28:32] == socket.inet_aton(VIP) == frame[38:42]:
                return time.monotonic() - begun


def an_address_is_set_with_a_lifetime_and_announced(host):
    neighbour = Neighbour()
    engine = host.start().accept("engine")
    hold(engine)
    engine.hear("ack")
    neighbour.drain()
    add_address(engine)
    check(addresses().get(VIP) in (1, 2), f"lifetime of {addresses().get(VIP)}")
    neighbour.hears()
    check(engine.hear("addresses", present=True), "the engine is told")
    run(engine, "address_remove", number=2)
    check(engine.hear("done", id=2)["ok"], "removed")
    check(VIP not in addresses(), "it is gone")
    engine.hear("addresses", present=False)


def renewals_keep_the_address_without_a_gap(host):
    engine = host.start().accept("engine")
    hold(engine)
    add_address(engine)
    end = time.monotonic() + 4
    renewed = 0.0
    while time.monotonic() < end:
        if time.monotonic() - renewed > 0.3:
            hold(engine)
            engine.hear("ack")
            renewed = time.monotonic()
        check(VIP in addresses(), "it vanished between two renewals")
        time.sleep(0.01)


def an_address_that_somebody_removes_is_back_at_once(host):
    neighbour = Neighbour()
    engine = host.start().accept("engine")
    hold(engine)
    add_address(engine)
    neighbour.hears()
    took = []
    for _ in range(3):
        hold(engine)
        engine.hear("ack")
        wait_for("quiet", lambda: time.sleep(0.25) is None)
        neighbour.drain()
        ip("addr", "del", f"{VIP}/32", "dev", "v0")
        took.append(wait_for("the address is back", lambda: VIP in addresses(), 1.0))
        neighbour.hears()
    print(f"    back after {max(took) * 1000:.0f} ms at most", end="")


def an_address_that_somebody_removes_for_ever_is_given_up(host):
    engine = host.start().accept("engine")
    hold(engine)
    add_address(engine)
    engine.hear("addresses", present=True)
    for _ in range(10):
        ip("addr", "del", f"{VIP}/32", "dev", "v0")
        wait_for("the address is back", lambda: VIP in addresses(), 1.0)
    ip("addr", "del", f"{VIP}/32", "dev", "v0")
    wait_for("the log says so", lambda: host.logged("not put back again"))
    check(VIP not in addresses(), "it is not put back")
    hold(engine)
    engine.hear("ack")
    check(VIP not in addresses(), "not by a renewal either")


def link_up_again_and_a_new_mac_are_announced(host):
    neighbour = Neighbour()
    engine = host.start().accept("engine")
    hold(engine)
    add_address(engine)
    ip("link", "set", "v1", "down")
    ip("link", "set", "v1", "up")
    neighbour = Neighbour()
    hold(engine)
    neighbour.hears(1.5)
    wait_for("quiet", lambda: time.sleep(0.3) is None)
    neighbour.drain()
    hold(engine)
    ip("link", "set", "v0", "address", "02:00:00:00:00:77")
    neighbour.hears(0.5)
    hold(engine)
    ip("link", "set", "v0", "down")
    ip("addr", "flush", "dev", "v0")
    ip("link", "set", "v0", "up")
    hold(engine)
    wait_for("the address is back", lambda: VIP in addresses(), 1.0)


def a_missing_interface_is_an_answer(host):
    text = host.conf.read_text().replace('"v0"', '"nosuch0"')
    host.conf.write_text(text)
    engine = host.start().accept("engine")
    hold(engine)
    run(engine, "address_add")
    done = engine.hear("done", id=1)
    check(not done["ok"] and "nosuch0" in done["error"], done)


def addresses_of_an_earlier_life_are_removed_at_the_start(host):
    add_marked("10.99.0.177")
    add_marked(VIP)
    check(VIP in addresses() and "10.99.0.177" in addresses(), "they are there at first")
    engine = host.start().accept("engine")
    engine.hear("hello")
    check(VIP not in addresses() and "10.99.0.177" not in addresses(), addresses())


def an_address_of_somebody_else_is_left_alone(host):
    ip("addr", "add", f"{VIP}/32", "dev", "v0")
    engine = host.start().accept("engine")
    engine.hear("hello")
    hold(engine)
    run(engine, "address_add")
    done = engine.hear("done", id=1)
    check(not done["ok"] and "somebody else" in done["error"], done)
    check(VIP in addresses(), "it is still there")


# --- Letting go.


def without_a_renewal_the_address_goes_before_the_lease_ends(host):
    engine = host.start().accept("engine")
    demote_at, close_by = hold(engine, demote_in=0.4, close_in=1.2)
    engine.hear("ack")
    add_address(engine)
    os.kill(engine.pid, signal.SIGSTOP)  # the engine need not live for it
    wait_for("the address is gone", lambda: VIP not in addresses())
    gone = lease_clock()
    check(demote_at <= gone < close_by, f"gone {(gone - demote_at) / 1000} ms after demote_at")
    os.kill(engine.pid, signal.SIGCONT)
    closed = engine.hear("closed", epoch=5)
    check(closed["ok"], closed)
    hold(engine)
    engine.hears_nothing("ack", 0.3)
    hold(engine, epoch=6)
    engine.hear("ack", epoch=6)
    print(f"    gone {(gone - demote_at) / 1000:.0f} ms after demote_at", end="")


def the_agent_closes_the_database_in_good_order(host):
    engine = host.start().accept("engine")
    agent = ready_agent(host)
    status(agent)
    check(engine.hear("status")["state"] == "running", "the status is relayed")
    demote_at, _ = hold(engine, demote_in=0.4, close_in=1.2)
    check(agent.hear("hold")["demote_at"] == demote_at, "the agent knows the hold")
    agent.say(type="ack", epoch=5, close_by=2**60, ok=True)
    demote = agent.hear("run", step="demote")
    check(demote_at <= lease_clock() < demote_at + 50000, "at demote_at")
    check(demote["args"]["mode"] == "fast", "in good order")
    agent.say(type="done", id=demote["id"], epoch=5, ok=True, error="", took_usec=1)
    check(engine.hear("closed")["ok"], "closed")
    agent.hear("release", epoch=5)


def a_standby_is_left_alone_when_a_hold_ends(host):
    engine = host.start().accept("engine")
    agent = ready_agent(host)
    status(agent, role="standby", writable=False)
    engine.hear("status")
    hold(engine, demote_in=0.3, close_in=1.0)
    check(engine.hear("closed")["ok"], "there is nothing to close")
    agent.hears_nothing("run", 0.2)


def a_deaf_agent_does_not_save_the_database(host):
    engine = host.start().accept("engine")
    agent = ready_agent(host)
    pid = host.spawn_postmaster()
    status(agent, pid=pid, start=process_start(pid))
    engine.hear("status")
    _, close_by = hold(engine, demote_in=0.5, close_in=1.2)
    engine.hear("ack")
    # It hears all and does nothing, and so does each of its successors.
    check(agent.hear("run", step="demote")["args"]["mode"] == "fast", "first in good order")
    check(agent.hear("run", step="demote")["args"]["mode"] == "kill", "then not")
    closed = engine.hear("closed")
    check(closed["ok"], closed)
    check(lease_clock() < close_by, "in time")
    check(host.cluster() == [], "all of its processes are gone")
    print(f"    {(close_by - lease_clock()) / 1000:.0f} ms before the end", end="")


def a_dead_agent_does_not_save_the_database(host):
    engine = host.start().accept("engine")
    agent = ready_agent(host)
    pid = host.spawn_postmaster(n_children=20)
    status(agent, pid=pid, start=process_start(pid))
    engine.hear("status")
    (host.dir / "libexec" / "failoverd-postgres").write_text("#!/bin/sh\nexit 1\n")
    _, close_by = hold(engine, demote_in=0.5, close_in=1.2)
    engine.hear("ack")
    os.kill(agent.pid, signal.SIGKILL)
    closed = engine.hear("closed")
    check(closed["ok"] and lease_clock() < close_by, "closed in time")
    check(host.cluster() == [], "all of its processes are gone")


def what_cannot_be_closed_is_told_loudly_until_it_is(host):
    engine = host.start().accept("engine")
    hold(engine, demote_in=0.3, close_in=1.0)
    add_address(engine)
    # Somebody else's address of the same name on another interface cannot be taken away by us.
    ip("addr", "add", f"{VIP}/32", "dev", "v1")
    try:
        closed = engine.hear("closed")
        check(not closed["ok"], closed)
        check(host.logged("ALARM"), "loudly")
    finally:
        ip("addr", "del", f"{VIP}/32", "dev", "v1")
    check(engine.hear("closed")["ok"], "and once it is proved, that is told, too")


def a_promotion_under_way_counts_as_writable(host):
    engine = host.start().accept("engine")
    agent = ready_agent(host)
    status(agent, role="standby", writable=False)
    engine.hear("status")
    hold(engine, demote_in=0.5, close_in=1.3)
    engine.hear("ack")
    run(engine, "promote", number=3)
    agent.hear("run", step="promote")
    status(agent, role="standby", writable=False)
    demote = agent.hear("run", step="demote")
    agent.say(type="done", id=3, epoch=5, ok=False, error="cancelled", took_usec=1)
    check(not engine.hear("done", id=3)["ok"], "the promotion has failed")
    agent.say(type="done", id=demote["id"], epoch=5, ok=True, error="", took_usec=1)
    check(engine.hear("closed")["ok"], "closed")


def a_release_disarms_only_what_is_closed(host):
    engine = host.start().accept("engine")
    agent = ready_agent(host)
    status(agent)
    engine.hear("status")
    hold(engine, demote_in=0.6, close_in=1.3)
    engine.hear("ack")
    status(agent, state="down", role="none", writable=False)
    engine.hear("status", state="down")
    engine.say(type="release", service="orders", epoch=5)
    agent.hear("release", epoch=5)
    engine.hears_nothing("closed", 0.8)
    status(agent)
    engine.hear("status", state="running")
    hold(engine, epoch=6, demote_in=2.0, close_in=2.8)
    engine.hear("ack", epoch=6)
    engine.say(type="release", service="orders", epoch=6)
    check(agent.hear("run", step="demote", seconds=0.5)["epoch"] == 6,
          "what still serves is closed at once")


# --- Steps and agents.


def steps_are_passed_on_and_answered_once(host):
    engine = host.start().accept("engine")
    run(engine, "position", number=1)  # before there is an agent
    agent = ready_agent(host)
    step = agent.hear("run", id=1)
    check(step["step"] == "position" and step["epoch"] == 5, step)
    agent.say(type="done", id=1, epoch=5, ok=True, error="", took_usec=7, timeline=3, lsn=2**40)
    done = engine.hear("done", id=1)
    check((done["service"], done["timeline"], done["lsn"]) == ("orders", 3, 2**40), done)
    agent.say(type="done", id=1, epoch=5, ok=True, error="")
    engine.hears_nothing("done", 0.2)
    run(engine, "follow", number=2, primary={"name": "db2", "address": "127.0.0.2", "port": 1})
    check(agent.hear("run", id=2)["args"]["primary"]["name"] == "db2", "arguments are passed on")
    os.kill(agent.pid, signal.SIGKILL)
    check("agent ended" in engine.hear("done", id=2)["error"], "the agent ended")


def a_step_without_an_agent_ends_at_its_deadline(host):
    (host.dir / "libexec" / "failoverd-postgres").write_text("#!/bin/sh\nexit 1\n")
    engine = host.start().accept("engine")
    run(engine, "position", number=1, within=0.4)
    done = engine.hear("done", id=1, seconds=1.0)
    check(done["error"] == "the agent is not running", done)


def a_stopped_agent_is_replaced_and_told_the_hold(host):
    engine = host.start().accept("engine")
    agent = ready_agent(host)
    status(agent)
    _, close_by = hold(engine)
    agent.hear("hold")
    agent.say(type="ack", epoch=5, close_by=close_by, ok=True)
    os.kill(agent.pid, signal.SIGSTOP)
    begun = time.monotonic()
    waiting = None
    while waiting is None:
        demote_at, _ = hold(engine)
        engine.hear("ack")
        with contextlib.suppress(Failure):
            waiting = host.accept("agent", 0.3)
        check(time.monotonic() - begun < 2.5, "not replaced within 2.5 s")
    took = time.monotonic() - begun
    waiting.hear("hello")
    check(waiting.hear("hold")["epoch"] == 5, "it is told the hold before it is ready")
    wait_for("the stopped one is dead", lambda: process_state(agent.pid) is None)
    print(f"    after {took:.1f} s", end="")


def a_silent_agent_is_replaced(host):
    engine = host.start().accept("engine")
    agent = ready_agent(host)
    engine.hear("hello")
    second = host.accept("agent", 5.0)  # without a hold, and no status for 5 intervals of 500 ms
    check(second.pid != agent.pid, "another one")


def a_paused_executor_does_not_blame_its_agent(host):
    engine = host.start().accept("engine")
    agent = ready_agent(host)
    status(agent)
    engine.hear("status")
    os.kill(host.process.pid, signal.SIGSTOP)
    end = time.monotonic() + 3.5  # longer than five intervals of 500 ms
    while time.monotonic() < end:
        status(agent)
        time.sleep(0.2)
    os.kill(host.process.pid, signal.SIGCONT)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        status(agent)
        time.sleep(0.2)
    check(process_state(agent.pid), "the agent lives")
    check(not host.logged("replacing the agent"), "nobody thought otherwise")


def one_service_is_let_go_and_the_other_stays(host):
    second = 'service "other" { ttl = 3s vip { address = "10.99.0.110" interface = "v0" } }'
    host.conf.write_text(host.conf.read_text() + second)
    engine = host.start().accept("engine")
    hold(engine, demote_in=0.4, close_in=1.0)
    add_address(engine)
    now = lease_clock()
    engine.say(type="hold", service="other", epoch=6, incarnation=77, demote_at=now + 2_000_000,
               close_by=now + 2_900_000, valid_until=now + 2_900_000)
    engine.hear("ack", service="other")
    engine.say(type="run", service="other", id=7, epoch=6, step="address_add",
               deadline=now + 1_000_000, args={})
    check(engine.hear("done", id=7)["ok"], "the other address")
    check(engine.hear("closed", service="orders")["ok"], "let go")
    check(VIP not in addresses() and "10.99.0.110" in addresses(), addresses())
    check(engine.hear("closed", service="other")["epoch"] == 6, "the other one later")


def an_agent_gets_its_configuration_and_user(host):
    host.start().accept("engine")
    agent = host.accept("agent")
    hello = agent.hear("hello")
    check(hello["config"]["data_dir"] == str(host.data), hello)
    check([m["name"] for m in hello["members"]] == ["db1", "db2"], hello)
    check(hello["state_dir"] == f"{host.dir}/data/agents/orders", hello)
    postgres = pwd.getpwnam("postgres")
    state = os.stat(hello["state_dir"])
    check((state.st_uid, state.st_mode & 0o777) == (postgres.pw_uid, 0o700), "state directory")
    check(status_field(agent.pid, "Uid") == str(postgres.pw_uid), "user")
    check(int(status_field(agent.pid, "CapEff"), 16) == 0, "no privileges")
    environment = pathlib.Path(f"/proc/{agent.pid}/environ").read_bytes()
    check(f"HOME={postgres.pw_dir}".encode() in environment.split(b"\0"), "home")


# --- The engine, the executor, their ends.


def privileges_are_what_is_needed(host):
    engine = host.start().accept("engine")
    engine.hear("hello")
    wanted = sum(1 << bit for bit in (5, 6, 7, 12, 13))  # KILL SETGID SETUID NET_ADMIN NET_RAW
    for field in ("CapEff", "CapPrm"):
        check(int(status_field(host.process.pid, field), 16) == wanted, "executor: " + field)
        check(int(status_field(engine.pid, field), 16) == 0, "engine: " + field)
    check(int(status_field(host.process.pid, "CapInh"), 16) == 0, "executor: CapInh")
    check(status_field(engine.pid, "NoNewPrivs") == "1", "engine: no new privileges")
    kinds = [os.readlink(f"/proc/{engine.pid}/fd/{fd}").partition(":")[0]
             for fd in os.listdir(f"/proc/{engine.pid}/fd") if int(fd) > 2]
    check(sorted(kinds) == ["socket", "socket"], f"engine: descriptors {kinds}")
    nobody = pwd.getpwnam("nobody").pw_uid
    check(status_field(engine.pid, "Uid") == str(nobody), "engine: user")
    check(os.stat(host.dir / "data").st_uid == nobody, "engine: its directory")


def a_killed_engine_is_back_at_once_and_knows_the_holds(host):
    engine = host.start().accept("engine")
    engine.hear("hello")
    demote_at, close_by = hold(engine)
    add_address(engine)
    os.kill(engine.pid, signal.SIGKILL)
    begun = time.monotonic()
    second = host.accept("engine", 1.0)
    took = time.monotonic() - begun
    holds = second.hear("hello")["holds"]
    check(holds == [{"service": "orders", "epoch": 5, "incarnation": 77, "demote_at": demote_at,
                     "close_by": close_by}], holds)
    check(second.hear("addresses")["present"], "the address is still there")
    check(VIP in addresses(), "really")
    print(f"    {took * 1000:.0f} ms with the start of python", end="")


def an_engine_that_cannot_live_is_not_started_in_a_frenzy(host):
    argv_log = host.dir / "starts"
    relay = host.dir / "relay.py"
    relay.write_text(f"open('{argv_log}', 'a').write('x')\n")
    argv_log.touch()
    os.chmod(argv_log, 0o666)
    host.start()
    wait_for("three starts", lambda: argv_log.stat().st_size >= 3)
    begun, before = time.monotonic(), argv_log.stat().st_size
    wait_for("more starts", lambda: argv_log.stat().st_size >= before + 3, 5.0)
    check(time.monotonic() - begun > 1.0, "three starts within a second")


def a_stop_leaves_all_in_place_and_the_next_start_adopts_it(host):
    engine = host.start().accept("engine")
    agent = ready_agent(host)
    status(agent)
    engine.hear("status")
    demote_at, close_by = hold(engine)
    add_address(engine)
    begun = time.monotonic()
    host.process.send_signal(signal.SIGTERM)
    check(host.process.wait(1) == 0, "exit status")
    took = time.monotonic() - begun
    check(took < 0.15, f"stopping took {took:.3f} s")
    check(VIP in addresses(), "the address stays")
    agent.hear("(eof)")
    check(process_state(agent.pid), "the agent stays")
    check(process_state(engine.pid) is None, "the engine ends")

    engine = host.start().accept("engine")
    holds = engine.hear("hello")["holds"]
    check([(h["epoch"], h["demote_at"], h["close_by"]) for h in holds] ==
          [(5, demote_at, close_by)], holds)
    second = host.accept("agent")
    second.hear("hello")
    check(second.hear("hold")["close_by"] == close_by, "the agent is told the old deadline")
    check(VIP in addresses(), "the address was never removed")
    check(engine.hear("addresses")["present"], "the engine is told")
    wait_for("it lets go at the old deadline", lambda: VIP not in addresses())
    check(lease_clock() < close_by, "in time")
    print(f"    stopped in {took * 1000:.0f} ms", end="")


def a_killed_executor_leaves_deadlines_that_work(host):
    engine = host.start().accept("engine")
    agent = ready_agent(host)
    status(agent)
    _, close_by = hold(engine)
    add_address(engine)
    host.process.kill()
    host.process.wait()
    wait_for("the engine dies with it", lambda: process_state(engine.pid) is None, 0.5)
    agent.hear("(eof)")
    wait_for("the kernel takes the address", lambda: VIP not in addresses())
    check(lease_clock() < close_by, "in time")


def after_the_lease_nothing_is_adopted_and_a_database_left_behind_dies(host):
    engine = host.start().accept("engine")
    agent = ready_agent(host)
    pid = host.spawn_postmaster()
    status(agent, pid=pid, start=process_start(pid))
    engine.hear("status")
    _, close_by = hold(engine, demote_in=0.3, close_in=0.6)
    engine.hear("ack")
    host.process.kill()
    host.process.wait()
    os.kill(agent.pid, signal.SIGKILL)
    wait_for("the lease is over", lambda: lease_clock() > close_by)
    check(len(host.cluster()) == 3, "nobody has closed the database")
    engine = host.start().accept("engine")
    check(engine.hear("hello")["holds"] == [], "nothing is adopted")
    check(engine.hear("closed")["ok"], "it is closed at once")
    check(host.cluster() == [], "really")


def a_hold_of_another_boot_is_not_adopted(host):
    engine = host.start().accept("engine")
    hold(engine)
    engine.hear("ack")
    host.stop()
    path = host.dir / "run" / "orders.hold"
    content = json.loads(path.read_text())
    content["boot_id"] = "0" * 8 + content["boot_id"][8:]
    path.write_text(json.dumps(content))
    engine = host.start().accept("engine")
    check(engine.hear("hello")["holds"] == [], "not adopted")
    check(not path.exists(), "and forgotten")


def a_damaged_hold_is_not_adopted(host):
    engine = host.start().accept("engine")
    engine.hear("hello")
    host.stop()
    for text in ("", "{", "[]", "{}", '{"service":"orders"}', "x" * 5000):
        (host.dir / "run" / "orders.hold").write_text(text)
        engine = host.start().accept("engine")
        check(engine.hear("hello")["holds"] == [], "not adopted")
        host.stop()


def a_second_executor_is_refused(host):
    engine = host.start().accept("engine")
    engine.hear("hello")
    first = host.process
    host.start()
    check(host.process.wait(2) != 0, "it ends with an error")
    check(host.logged("another failoverd runs"), "and says why")
    host.process = first
    hold(engine)
    engine.hear("ack")


def readiness_is_told_to_the_service_manager(host):
    path = str(host.dir / "notify")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(path)
    manager.settimeout(3)
    engine = host.start({"NOTIFY_SOCKET": path}).accept("engine")
    engine.hear("hello")
    engine.say(type="ready")
    check(manager.recv(4096) == b"READY=1", "ready")
    engine.say(type="state", service="orders", role="master", text="all\nMAINPID=1")
    check(manager.recv(4096) == b"STATUS=orders: master, all MAINPID=1", "status on one line")
    environment = pathlib.Path(f"/proc/{engine.pid}/environ").read_bytes()
    check(b"NOTIFY_SOCKET" not in environment, "the engine cannot speak to it")
    host.process.send_signal(signal.SIGTERM)
    check(manager.recv(4096) == b"STOPPING=1", "stopping")
    manager.close()


def a_reload_is_refused_in_words(host):
    engine = host.start().accept("engine")
    engine.hear("hello")
    host.process.send_signal(signal.SIGHUP)
    wait_for("words", lambda: host.logged("read at the start only"))
    hold(engine)
    engine.hear("ack")


def the_supervisor_starts_it_again(host):
    pidfile = host.dir / "pid"
    argv = [HERE.parent / "lib" / "supervise.sh", pidfile, host.program, host.conf,
            "/usr/bin/python3", host.dir / "relay.py", "engine", host.socket_path]
    with open(host.log, "ab") as log:
        host.process = subprocess.Popen([str(a) for a in argv], stderr=log)
    engine = host.accept("engine")
    engine.hear("hello")
    hold(engine)
    add_address(engine)
    os.kill(int(pidfile.read_text()), signal.SIGKILL)
    second = host.accept("engine")
    check([h["epoch"] for h in second.hear("hello")["holds"]] == [5], "adopted")
    check(VIP in addresses(), "the address stays")
    host.stop()


# --- With a real agent and a real database.


class Renewer:
    """An engine that renews the hold while the test does something else."""

    def __init__(self, engine):
        self.engine = engine
        self.is_on = True
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while self.is_on:
            with contextlib.suppress(OSError):
                hold(self.engine)
            time.sleep(0.3)

    def stop(self):
        self.is_on = False
        self.thread.join()


def make_primary(host):
    """A new database that accepts writes under epoch 5."""
    engine = host.start().accept("engine")
    engine.hear("status", seconds=10, state="absent")
    run(engine, "bootstrap", number=1, within=60, method="initdb")
    done = engine.hear("done", seconds=60, id=1)
    check(done["ok"], done)
    renewer = Renewer(engine)
    engine.hear("ack")
    run(engine, "promote", number=2, within=20)
    done = engine.hear("done", seconds=20, id=2)
    check(done["ok"], done)
    add_address(engine)
    engine.hear("status", seconds=5, writable=True)
    return engine, renewer


def ask(psql, text):
    psql.stdin.write(text + "\n")
    return psql.stdout.readline().strip()


def insert(psql):
    return ask(psql, "insert into t values (1) returning 'written';")


def client(host):
    psql = host.psql()
    check(ask(psql, "create table t (x int); select 'made';") == "made", "a table")
    check(insert(psql) == "written", "a row")
    return psql


def refuses_writes(host):
    return not any(process_state(pid) for pid in host.cluster())


def without_a_renewal_a_real_database_is_closed_in_time(host):
    engine, renewer = make_primary(host)
    psql = client(host)
    renewer.stop()
    demote_at, close_by = hold(engine, demote_in=0.5, close_in=1.2)
    closed = engine.hear("closed", epoch=5)
    check(closed["ok"], closed)
    check(refuses_writes(host) and lease_clock() < close_by, "in time")
    check(VIP not in addresses(), "and the address")
    check(insert(psql) != "written", "the client is told")
    check("shut down" in control_data(host), "in good order")
    print(f"    {(lease_clock() - demote_at) / 1000:.0f} ms after demote_at", end="")


def control_data(host):
    return subprocess.run(["/usr/lib/postgresql/15/bin/pg_controldata", host.data], check=True,
                          capture_output=True, text=True).stdout


def a_stopped_real_agent_is_replaced_and_nobody_notices(host):
    _, renewer = make_primary(host)
    psql, postmaster, agent = client(host), host.postmaster(), host.agent_pid()
    os.kill(agent, signal.SIGSTOP)
    took = wait_for("another agent", lambda: host.agent_pid() not in (0, agent), 5)
    check(insert(psql) == "written" and host.postmaster() == postmaster, "the database goes on")
    check(VIP in addresses(), "and the address")
    renewer.stop()
    print(f"    after {took:.1f} s", end="")


def a_restart_within_the_ttl_moves_nothing(host):
    engine, renewer = make_primary(host)
    psql, postmaster, agent = client(host), host.postmaster(), host.agent_pid()
    renewer.stop()
    hold(engine)
    check(insert(psql) == "written", "before")
    host.stop()
    check(insert(psql) == "written", "meanwhile")
    engine = host.start().accept("engine")
    check([h["epoch"] for h in engine.hear("hello")["holds"]] == [5], "adopted")
    renewer = Renewer(engine)
    engine.hear("status", seconds=5, writable=True)
    wait_for("a new agent", lambda: host.agent_pid() not in (0, agent))
    check(insert(psql) == "written" and host.postmaster() == postmaster, "after")
    check(VIP in addresses(), "the address")
    check(len(host.log.read_text().split("put back")) == 1, "which never went away")
    wait_for("four seconds", lambda: time.sleep(4) is None, 6)
    check(insert(psql) == "written" and host.postmaster() == postmaster, "and it stays so")
    renewer.stop()


def all_killed_at_once_is_adopted_by_the_next_start(host):
    engine, renewer = make_primary(host)
    psql, postmaster, agent = client(host), host.postmaster(), host.agent_pid()
    renewer.stop()
    hold(engine)
    for pid in (host.process.pid, engine.pid, agent):
        os.kill(pid, signal.SIGKILL)
    host.process.wait()
    engine = host.start().accept("engine")
    check([h["epoch"] for h in engine.hear("hello")["holds"]] == [5], "adopted")
    renewer = Renewer(engine)
    engine.hear("status", seconds=5, writable=True)
    check(insert(psql) == "written" and host.postmaster() == postmaster, "the database goes on")
    check(VIP in addresses(), "and the address")
    renewer.stop()


def with_a_stopped_executor_agent_and_kernel_let_go_in_time(host):
    engine, renewer = make_primary(host)
    client(host)
    renewer.stop()
    _, close_by = hold(engine)
    engine.hear("ack")
    wait_for("the agent to know it", lambda: time.sleep(0.1) is None)
    os.kill(host.process.pid, signal.SIGSTOP)
    took = wait_for("all is closed", lambda: refuses_writes(host) and VIP not in addresses(), 4)
    check(lease_clock() < close_by, f"it took {took:.2f} s")
    print(f"    {(close_by - lease_clock()) / 1000:.0f} ms before the end", end="")
    os.kill(host.process.pid, signal.SIGCONT)
    check(engine.hear("closed")["ok"], "the executor learns it")


def a_stopped_database_is_killed_in_time(host):
    engine, renewer = make_primary(host)
    client(host)
    renewer.stop()
    _, close_by = hold(engine, demote_in=0.5, close_in=1.2)
    engine.hear("ack")
    for pid in host.cluster():
        os.kill(pid, signal.SIGSTOP)
    closed = engine.hear("closed")
    check(closed["ok"] and lease_clock() < close_by and refuses_writes(host), closed)
    print(f"    {(close_by - lease_clock()) / 1000:.0f} ms before the end", end="")


def with_agent_and_database_stopped_it_is_killed_in_time(host):
    engine, renewer = make_primary(host)
    client(host)
    renewer.stop()
    _, close_by = hold(engine, demote_in=0.5, close_in=1.2)
    engine.hear("ack")
    for pid in (*host.cluster(), host.agent_pid()):
        os.kill(pid, signal.SIGSTOP)
    closed = engine.hear("closed")
    check(closed["ok"] and lease_clock() < close_by and refuses_writes(host), closed)
    print(f"    {(close_by - lease_clock()) / 1000:.0f} ms before the end", end="")


DATABASE = {"database": True, "vip": False}
BOTH = {"database": True, "vip": True}
REAL = {"real": True}
TESTS = {
    a_hold_is_acknowledged_and_an_older_one_is_not: {},
    a_hold_longer_than_the_ttl_is_refused: {},
    nonsense_from_the_engine_is_refused_and_harms_nobody: {},
    an_address_is_set_with_a_lifetime_and_announced: {},
    renewals_keep_the_address_without_a_gap: {},
    an_address_that_somebody_removes_is_back_at_once: {},
    an_address_that_somebody_removes_for_ever_is_given_up: {},
    link_up_again_and_a_new_mac_are_announced: {},
    a_missing_interface_is_an_answer: {},
    addresses_of_an_earlier_life_are_removed_at_the_start: {},
    an_address_of_somebody_else_is_left_alone: {},
    without_a_renewal_the_address_goes_before_the_lease_ends: {},
    the_agent_closes_the_database_in_good_order: DATABASE,
    a_standby_is_left_alone_when_a_hold_ends: DATABASE,
    a_deaf_agent_does_not_save_the_database: DATABASE,
    a_dead_agent_does_not_save_the_database: DATABASE,
    what_cannot_be_closed_is_told_loudly_until_it_is: {},
    a_promotion_under_way_counts_as_writable: DATABASE,
    a_release_disarms_only_what_is_closed: DATABASE,
    steps_are_passed_on_and_answered_once: DATABASE,
    a_step_without_an_agent_ends_at_its_deadline: DATABASE,
    a_stopped_agent_is_replaced_and_told_the_hold: DATABASE,
    a_silent_agent_is_replaced: DATABASE,
    a_paused_executor_does_not_blame_its_agent: DATABASE,
    one_service_is_let_go_and_the_other_stays: {},
    an_agent_gets_its_configuration_and_user: DATABASE,
    privileges_are_what_is_needed: {},
    a_killed_engine_is_back_at_once_and_knows_the_holds: {},
    an_engine_that_cannot_live_is_not_started_in_a_frenzy: {},
    a_stop_leaves_all_in_place_and_the_next_start_adopts_it: BOTH,
    a_killed_executor_leaves_deadlines_that_work: BOTH,
    after_the_lease_nothing_is_adopted_and_a_database_left_behind_dies: DATABASE,
    a_hold_of_another_boot_is_not_adopted: {},
    a_damaged_hold_is_not_adopted: {},
    a_second_executor_is_refused: {},
    readiness_is_told_to_the_service_manager: {},
    a_reload_is_refused_in_words: {},
    the_supervisor_starts_it_again: {},
    without_a_renewal_a_real_database_is_closed_in_time: REAL,
    a_stopped_real_agent_is_replaced_and_nobody_notices: REAL,
    a_restart_within_the_ttl_moves_nothing: REAL,
    all_killed_at_once_is_adopted_by_the_next_start: REAL,
    with_a_stopped_executor_agent_and_kernel_let_go_in_time: REAL,
    a_stopped_database_is_killed_in_time: REAL,
    with_agent_and_database_stopped_it_is_killed_in_time: REAL,
}


def run_test(test, program, agent):
    """Whether it passed; prints a line."""
    begun = time.monotonic()
    host = Host(program, agent, **TESTS[test])
    try:
        test(host)
        host.stop()
        log = host.log.read_text(errors="replace") if host.log.exists() else ""
        check("Sanitizer" not in log and "runtime error" not in log, "a sanitizer complains")
        result = None
    except Exception as error:  # of any kind: the other tests go on
        result = error
    log = host.log.read_text(errors="replace") if host.log.exists() else "(no log)"
    host.done()
    seconds = time.monotonic() - begun
    print(f"\n{'ok  ' if result is None else 'FAIL'} {test.__name__} ({seconds:.1f} s)", end="")
    if result is not None:
        print(f"\n     {type(result).__name__}: {result}\n{log}", end="")
    sys.stdout.flush()
    return result is None


def main():
    program, names = os.path.abspath(sys.argv[1]), sys.argv[3:]
    agent = sys.argv[2] if sys.argv[2] == "-" else os.path.abspath(sys.argv[2])
    if os.environ.get("EXECUTOR_TEST_INSIDE") != "1":
        os.environ["EXECUTOR_TEST_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "-n", "-p", "-f", "--mount-proc", "--kill-child", "--",
                              sys.executable, os.path.abspath(__file__), program, agent,
                              *names])
    del os.environ["EXECUTOR_TEST_INSIDE"]
    ip("link", "set", "lo", "up")
    ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
    ip("link", "set", "v0", "up")
    ip("link", "set", "v1", "up")
    ip("addr", "add", "10.99.0.1/24", "dev", "v0")
    chosen = [t for t in TESTS if (not names or t.__name__ in names) and
              (agent != "-" or TESTS[t] != REAL)]
    results = [run_test(test, program, agent) for test in chosen]
    print(f"\n{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main())
