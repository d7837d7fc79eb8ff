"""A cluster for tests: machines as network namespaces on one bridge, each with failoverd as it is
installed, a real PostgreSQL, and clients beside them. Everything that is made here is removed by
close(), also after a failure; processes are ended by their numbers."""

import glob
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

VIP = "10.77.0.100"
SERVICE = "orders"
PORT = 5432


def now():
    """Seconds on the clock that all processes of this machine share."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def wait_for(what, condition, limit, poll=0.02):
    """Returns what condition() returns as soon as it is true; fails after limit seconds."""
    end = now() + limit
    while True:
        result = condition()
        if result:
            return result
        if now() > end:
            raise AssertionError("waited %.1f s in vain: %s" % (limit, what))
        time.sleep(poll)


def run(*command, check=True, timeout=60, **options):
    """Runs a command and returns its output; its errors are in the exception."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            timeout=timeout, **options)
    if check and result.returncode != 0:
        raise AssertionError("%s: status %d\n%s" % (" ".join(command), result.returncode, result.stdout))
    return result.stdout


def kill_pids(pids, number=signal.SIGKILL):
    for pid in pids:
        try:
            os.kill(int(pid), number)
        except ProcessLookupError:
            pass


def end_in_order(number, frame):
    """A test that is told to end removes what it made, as after a failure."""
    raise SystemExit("ended by signal %d" % number)


signal.signal(signal.SIGTERM, end_in_order)


def remove_shared_memory():
    """What killed database servers left behind, as far as no process uses it any more."""
    used = set()
    for maps in glob.glob("/proc/[0-9]*/maps"):
        try:
            with open(maps, encoding="utf-8", errors="replace") as file:
                used.update(re.findall(r"/dev/shm/(PostgreSQL\.\d+)", file.read()))
        except OSError:
            continue
    for path in glob.glob("/dev/shm/PostgreSQL.*"):
        if os.path.basename(path) not in used:
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
    for line in run("ipcs", "-m", check=False).split("\n"):
        words = line.split()
        if len(words) >= 6 and words[2] == "postgres" and words[5] == "0":
            run("ipcrm", "-m", words[1], check=False)


class Follower:
    """A program that prints lines; a thread keeps them."""

    def __init__(self, command):
        self.lines = []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, start_new_session=True)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def stop(self):
        kill_pids([self.process.pid], signal.SIGTERM)
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            kill_pids([self.process.pid])
            self.process.wait()
        self.thread.join(timeout=5)


class Writer(Follower):
    """The record of a client that writes all the time."""

    def acks(self):
        found = []
        for line in list(self.lines):
            words = line.split()
            if words and words[0] == "ack":
                found.append((int(words[1]), int(words[2]) / 1e6))
        return found

    def last_ack(self):
        for line in reversed(self.lines):
            if line.startswith("ack "):
                return int(line.split()[2]) / 1e6
        return 0.0

    def outage(self, since, until=None):
        """The longest time between two acknowledged writes that ends behind @since."""
        times = [t for _, t in self.acks() if until is None or t <= until]
        gaps = [b - a for a, b in zip(times, times[1:]) if b >= since]
        return max(gaps) if gaps else float("inf")


class Node:
    def __init__(self, lab, name, number, witness):
        self.lab = lab
        self.name = name
        self.address = "10.77.0.%d" % (10 + number)
        self.namespace = lab.prefix + name
        self.dir = os.path.join(lab.dir, name)
        self.run_dir = os.path.join(lab.memory, name)
        self.witness = witness
        self.supervisor = None
        self.log_path = os.path.join(self.dir, "log")
        self.data_dir = os.path.join(self.dir, "pgdata")
        self.socket_dir = os.path.join(self.dir, "sock")

    def inside(self, *command):
        return ["ip", "netns", "exec", self.namespace, *command]

    def configure(self):
        for folder in (self.dir, os.path.join(self.dir, "lib"), self.run_dir):
            os.makedirs(folder, exist_ok=True)
            os.chmod(folder, 0o755)
        os.makedirs(self.socket_dir, exist_ok=True)
        shutil.chown(self.socket_dir, "postgres")
        holder = os.path.join(self.dir, "pg")
        os.makedirs(holder, exist_ok=True)
        shutil.chown(holder, "postgres")
        self.data_dir = os.path.join(holder, "data")
        self.conf = os.path.join(self.dir, "failoverd.conf")
        with open(self.conf, "w", encoding="ascii") as file:
            file.write(self.lab.configuration(self))

    def start(self):
        """Starts failoverd under a stand-in for the service manager, which starts it again."""
        log = open(self.log_path, "ab")
        self.supervisor = subprocess.Popen(
            self.inside(self.lab.supervise, os.path.join(self.dir, "supervisor.pid"),
                        os.path.join(self.lab.build, "failoverd"), "-c", self.conf),
            stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        log.close()

    def stop(self):
        """Stops failoverd as the service manager does; database and address stay."""
        if self.supervisor:
            kill_pids([self.supervisor.pid], signal.SIGTERM)
            try:
                self.supervisor.wait(timeout=10)
            except subprocess.TimeoutExpired:
                kill_pids([self.supervisor.pid])
                self.supervisor.wait()
            self.supervisor = None

    def pids(self):
        return [int(p) for p in run("ip", "netns", "pids", self.namespace, check=False).split()]

    def die(self):
        """The machine is gone: its link is cut and nothing in it goes on."""
        run("ip", "-n", self.namespace, "link", "set", "eth0", "down")
        self.crash()

    def crash(self):
        while self.pids():
            kill_pids(self.pids())
            time.sleep(0.005)
        if self.supervisor:
            self.supervisor.wait()
            self.supervisor = None

    def boot(self):
        """The machine comes back: no address is left of before, failoverd starts by itself."""
        run("ip", "-n", self.namespace, "addr", "del", VIP + "/32", "dev", "eth0", check=False)
        shutil.rmtree(self.run_dir, ignore_errors=True)
        os.makedirs(self.run_dir)
        run("ip", "-n", self.namespace, "link", "set", "eth0", "up")
        self.start()

    def isolate(self):
        run("ip", "-n", self.lab.switch, "link", "set", "p" + self.name, "down")

    def heal(self):
        run("ip", "-n", self.lab.switch, "link", "set", "p" + self.name, "up")

    def processes(self, role):
        """The process numbers of "executor", "engine" or "agent" in this namespace."""
        found = []
        for pid in self.pids():
            try:
                with open("/proc/%d/cmdline" % pid, "rb") as file:
                    words = file.read().decode().split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            program = os.path.basename(words[0])
            kind = None
            if program == "failoverd-postgres":
                kind = "agent"
            elif "--engine" in words:
                kind = "engine"
            elif program == "failoverd":
                kind = "executor"
            if kind == role:
                found.append(pid)
        return found

    def postmaster(self):
        try:
            with open(os.path.join(self.data_dir, "postmaster.pid"), encoding="ascii") as file:
                return int(file.readline())
        except (FileNotFoundError, ValueError):
            return 0

    def database_pids(self):
        """Every process of this node's database: those that work in its data directory."""
        found = []
        for link in glob.glob("/proc/[0-9]*/cwd"):
            try:
                if os.readlink(link) == self.data_dir:
                    pid = int(link.split("/")[2])
                    with open("/proc/%d/comm" % pid, encoding="ascii") as file:
                        if file.read().strip() == "postgres":
                            found.append(pid)
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue
        return found

    def ctl(self, *words, check=True, timeout=90):
        return run(*self.inside(os.path.join(self.lab.build, "failoverctl"), "-c", self.conf, *words),
                   check=check, timeout=timeout)

    def ctl_json(self, *words):
        output = self.ctl("-o", "json", *words, check=False)
        try:
            return json.loads(output)
        except ValueError:
            return None

    def sql(self, statement, check=True):
        """Asks this node's own database over its socket."""
        return run(*self.inside("setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups",
                                "psql", "-XAtq", "-h", self.socket_dir, "-p", str(PORT),
                                "-d", "postgres", "-c", statement), check=check).strip()

    def is_primary(self):
        return self.sql("SELECT NOT pg_is_in_recovery()", check=False) == "t"

    def streams(self):
        return self.sql("SELECT status FROM pg_stat_wal_receiver", check=False) == "streaming"

    def has_address(self):
        return VIP in run("ip", "-n", self.namespace, "-4", "addr", "show", "dev", "eth0", check=False)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()


class Lab:
    labs = 0  # that this process has made

    def __init__(self, build="build", profile="lan", on_crash="failover", keep=False, extra=""):
        self.build = os.path.abspath(build)
        self.supervise = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib/supervise.sh")
        self.profile = profile
        self.on_crash = on_crash
        self.extra = extra
        self.keep = keep
        Lab.labs += 1
        self.prefix = "fo%d-%d-" % (os.getpid(), Lab.labs)
        self.switch = self.prefix + "switch"
        self.client = self.prefix + "client"
        self.dir = tempfile.mkdtemp(prefix="failoverd-lab-")
        os.chmod(self.dir, 0o755)
        # As /run on a real machine: in memory, and empty after a boot.
        self.memory = tempfile.mkdtemp(prefix="failoverd-lab-", dir="/dev/shm")
        os.chmod(self.memory, 0o755)
        self.followers = []
        self.nodes = {}
        self.libexec = os.path.join(self.dir, "libexec")
        os.makedirs(self.libexec)
        # Agents run as another user, who may not be allowed into the build directory.
        shutil.copy(os.path.join(self.build, "failoverd-postgres"), self.libexec)
        self.bin = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self.version = self.bin.split("/")[4]
        for number, (name, witness) in enumerate([("db1", False), ("db2", False), ("witness", True)], 1):
            self.nodes[name] = Node(self, name, number, witness)
        self.db1, self.db2, self.witness = (self.nodes[n] for n in ("db1", "db2", "witness"))

    def __enter__(self):
        try:
            self._build_network()
            for node in self.nodes.values():
                node.configure()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *what):
        complaints = self.sanitizer_complaints()
        if complaints or what[0] and not issubclass(what[0], KeyboardInterrupt):
            self.keep_logs()
        self.close()
        if complaints and not what[0]:
            raise AssertionError("a sanitizer complains: " + complaints[0])

    def sanitizer_complaints(self):
        """Nothing but a build with SAN=1 makes any."""
        return [line for node in self.nodes.values() if os.path.exists(node.log_path)
                for line in node.log().split("\n") if "Sanitizer" in line or "runtime error:" in line]

    def _build_network(self):
        run("ip", "netns", "add", self.switch)
        run("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", self.switch, "link", "set", "br0", "up")
        machines = [(n.namespace, n.name, n.address) for n in self.nodes.values()]
        for namespace, name, address in machines + [(self.client, "client", "10.77.0.50")]:
            run("ip", "netns", "add", namespace)
            run("ip", "link", "add", "eth0", "netns", namespace, "type", "veth", "peer", "name",
                "p" + name, "netns", self.switch)
            run("ip", "-n", self.switch, "link", "set", "p" + name, "master", "br0", "up")
            run("ip", "-n", namespace, "addr", "add", address + "/24", "dev", "eth0")
            run("ip", "-n", namespace, "link", "set", "lo", "up")
            run("ip", "-n", namespace, "link", "set", "eth0", "up")

    def configuration(self, node):
        members = "".join('  member "%s" { address = "%s"%s }\n' %
                          (n.name, n.address, "  role = witness" if n.witness else "")
                          for n in self.nodes.values())
        return """node "%s" {
  data_dir = "%s/lib"
  run_dir = "%s"
  user = "nobody"
  libexec_dir = "%s"
}
cluster "lab" {
  profile = %s
%s}
service "%s" {
  on_crash = %s
  max_loss = 64MiB
%s  postgres {
    data_dir = "%s"
    version = %s
    bin_dir = "%s"
    port = %d
    socket_dir = "%s"
    user = "postgres"
  }
  vip { address = "%s"  interface = "eth0" }
}
""" % (node.name, node.dir, node.run_dir, self.libexec, self.profile, members, SERVICE, self.on_crash,
            self.extra, node.data_dir, self.version, self.bin, PORT, node.socket_dir, VIP)

    def start(self):
        for node in self.nodes.values():
            node.start()
        for node in self.nodes.values():
            wait_for("%s to have caught up" % node.name,
                     lambda: "has caught up with the cluster" in node.log(), 20)

    def databases(self):
        return [self.db1, self.db2]

    def make_pair(self):
        """A primary from nothing on db1, a copy of it on db2, and a table to write to."""
        self.db1.ctl("bootstrap", SERVICE, "--initdb")
        wait_for("a writable primary on db1", self.db1.is_primary, 60)
        self.db1.sql("CREATE TABLE IF NOT EXISTS ledger "
                     "(n bigint PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())")
        self.db1.sql("CREATE ROLE app LOGIN SUPERUSER", check=False)
        self.db2.ctl("clone", SERVICE)
        self.allow_clients()
        wait_for("db2 to stream", self.db2.streams, 60)

    def allow_clients(self):
        """The clients' lines of pg_hba.conf, which are the database administrator's business."""
        for node in self.databases():
            path = os.path.join(node.data_dir, "pg_hba.conf")
            with open(path, "r+", encoding="ascii") as file:
                before = file.read()
                file.seek(0)
                file.write("host all app 10.77.0.0/24 trust\nlocal all app trust\n" + before)
            kill_pids([node.postmaster()], signal.SIGHUP)

    def master(self):
        """The name of the master by quorum read, or None."""
        for node in self.nodes.values():
            answer = node.ctl_json("who-is-master", SERVICE)
            if answer and answer.get("master"):
                return answer["master"]
        return None

    def wait_whole(self, limit=90):
        """One primary that is writable and has the address, one standby that streams from it."""

        def whole():
            primaries = [n for n in self.databases() if n.is_primary()]
            if len(primaries) != 1:
                return None
            other = self.db2 if primaries[0] is self.db1 else self.db1
            if not (primaries[0].has_address() and not other.has_address() and other.streams()):
                return None
            if self.master() != primaries[0].name:
                return None
            return primaries[0], other

        return wait_for("one primary and one streaming standby", whole, limit, 0.1)

    def _follow(self, kind, namespace, program, *words):
        follower = kind(["ip", "netns", "exec", namespace, os.path.join(self.build, "e2e", program), *words])
        self.followers.append(follower)
        return follower

    def write_by_address(self, first=1, patience_msec=150):
        """A client somewhere else that writes through the service's address."""
        return self._follow(Writer, self.client, "writer", "-f", str(first), "-t", str(patience_msec),
                            "host=%s port=%d user=app dbname=postgres connect_timeout=1" % (VIP, PORT))

    def write_on(self, node, first):
        """A client on the node itself, over the socket, whatever becomes of addresses."""
        return self._follow(Writer, node.namespace, "writer", "-i", "2", "-f", str(first),
                            "host=%s port=%d user=app dbname=postgres" % (node.socket_dir, PORT))

    def watch_address(self, node):
        return self._follow(Follower, node.namespace, "address-watch", VIP)

    def missing(self, acks):
        """Acknowledged numbers that are not in the primary's table."""
        primary = next(n for n in self.databases() if n.is_primary())
        there = set(int(x) for x in primary.sql("SELECT n FROM ledger").split())
        return [n for n, _ in acks if n not in there]

    def keep_logs(self):
        target = os.environ.get("FAILOVERD_LAB_LOGS")
        for node in self.nodes.values():
            if os.path.exists(node.log_path):
                print("---- the end of the log of %s" % node.name)
                print("\n".join(node.log().split("\n")[-60:]))
                if target:
                    os.makedirs(target, exist_ok=True)
                    shutil.copy(node.log_path, os.path.join(target, node.name + ".log"))
                    postgres = glob.glob(os.path.join(node.data_dir, "*.log"))
                    for path in postgres:
                        shutil.copy(path, os.path.join(target, node.name + "-" + os.path.basename(path)))

    def close(self):
        for follower in self.followers:
            follower.stop()
        for node in self.nodes.values():
            if node.supervisor:
                kill_pids([node.supervisor.pid])
                node.supervisor.wait()
                node.supervisor = None
        for namespace in [n.namespace for n in self.nodes.values()] + [self.client, self.switch]:
            for _ in range(200):
                pids = run("ip", "netns", "pids", namespace, check=False).split()
                if not pids or not pids[0].isdigit():
                    break
                kill_pids(pids)
                time.sleep(0.01)
            run("ip", "netns", "del", namespace, check=False)
        remove_shared_memory()
        shutil.rmtree(self.memory, ignore_errors=True)
        if not self.keep:
            shutil.rmtree(self.dir, ignore_errors=True)


def timeline(nodes, since_wall):
    """The journal lines of all nodes behind a wall-clock time, merged: (seconds, node, text)."""
    found = []
    for node in nodes:
        for line in node.log().split("\n"):
            match = re.match(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)[.,](\d{3})\S* +(.*)", line)
            if not match:
                continue
            at = time.mktime(time.strptime(match.group(1).replace("T", " "), "%Y-%m-%d %H:%M:%S"))
            at += int(match.group(2)) / 1000
            if at >= since_wall:
                found.append((at, node.name, match.group(3)))
    return sorted(found)
