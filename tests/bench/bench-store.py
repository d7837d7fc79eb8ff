#!/usr/bin/env python3
"""The store beside etcd 3.4: three members of each in network namespaces of this machine, the same
clients, taken in turn in one run; both sync what they promise, both keep their data on the same
disk. Prints figures, ratios, and whether each target is met. Nothing here fails for being slow.

    bench-store.py [--build DIR] [--quick] [--seconds N] [--rounds N] [--data DIR] [--section NAME]

Sections: load, watch, memory, idle, recovery."""

import argparse
import contextlib
import http.client
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

MEMBERS = 3
CONNECTIONS = [1, 16, 64, 256]
OPERATIONS = ["put", "cas", "qget", "get", "mixed"]
KEYS = 1000
MEMORY_KEYS = 100000
SETTLE_SECONDS = 5  # after a start, for what is prepared in the background
HEARTBEAT_MSEC, ELECTION_MSEC = 100, 1000  # etcd's defaults, for both
PROBE_MSEC = 5
API_PORT, RAFT_PORT = 4001, 7001
ETCD_API_PORT, ETCD_PEER_PORT = 2379, 2380
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def now():
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def wait_for(what, condition, limit=30.0):
    end = now() + limit
    while True:
        result = condition()
        if result:
            return result
        if now() > end:
            raise SystemExit("waited %.0f s in vain for %s" % (limit, what))
        time.sleep(0.02)


def namespace(number):
    return "m%d" % number


def address(number):
    return "10.78.0.%d" % (10 + number)


def inside(number, *command):
    return ["ip", "netns", "exec", namespace(number), *command] if number else list(command)


def link(one, other):
    """A cable between two members, 0 being us. Without a bridge: its work would be measured, too."""
    for number in (one, other):
        peer = other if number == one else one
        device = "to%d" % peer
        if number == one:
            run(*inside(one, "ip", "link", "add", device, "type", "veth", "peer", "name", "to%d" % one,
                        "netns", namespace(other) if other else str(os.getpid())))
        run(*inside(number, "ip", "link", "set", device, "up"))
    for number, peer in ((one, other), (other, one)):
        run(*inside(number, "ip", "route", "add", address(peer) + "/32", "dev", "to%d" % peer,
                    "src", address(number)))


def build_network():
    """A namespace for each member and one for the clients. It goes when this process does."""
    os.makedirs("/run/netns", exist_ok=True)
    run("mount", "-t", "tmpfs", "none", "/run/netns")  # ours alone: we have a mount namespace
    for number in range(0, MEMBERS + 1):
        if number > 0:
            run("ip", "netns", "add", namespace(number))
        run(*inside(number, "ip", "link", "set", "lo", "up"))
        run(*inside(number, "ip", "addr", "add", address(number) + "/32", "dev", "lo"))
        for other in range(0, number):
            link(number, other)


def ask(number, port, method, path, body=None, timeout=5.0):
    """Status and body as JSON of one request; (0, None) if there is no answer."""
    connection = http.client.HTTPConnection(address(number), port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=FORM if body else {})
        answer = connection.getresponse()
        text = answer.read()
        with contextlib.suppress(ValueError):
            return answer.status, json.loads(text)
        return answer.status, None
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()


class Cluster:
    """Three members of one kind."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, self.name)
        self.processes = {}
        self.generation = 0

    def numbers(self):
        return range(1, MEMBERS + 1)

    def targets(self, without=None):
        return ["%s:%d" % (address(n), self.port) for n in self.numbers() if n != without]

    def member_dir(self, number):
        return os.path.join(self.folder, "%d-%d" % (self.generation, number))

    def start_all(self):
        """From nothing: no member has any data."""
        self.generation += 1
        for number in self.numbers():
            os.makedirs(self.member_dir(number))
            self.start(number)
        self.wait_healthy()

    def start(self, number):
        with open(os.path.join(self.folder, "log%d" % number), "ab") as log:
            self.processes[number] = subprocess.Popen(
                inside(number, *self.command(number)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)

    def wait_healthy(self):
        for number in self.numbers():
            wait_for("%s %d to write" % (self.name, number), lambda n=number: ask(
                n, self.port, "PUT", "/v2/keys/health%d" % n, "value=1")[0] in (200, 201))

    def pids(self, number):
        """The member's processes: the one that we started and all below it."""
        found = [self.processes[number].pid]
        for pid in found:
            with contextlib.suppress(OSError):
                with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as file:
                    found += [int(p) for p in file.read().split()]
        return found

    def kill(self, number):
        """All at once, from the top, so that nothing is started again."""
        for pid in self.pids(number):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.processes[number].wait()

    def stop_all(self):
        for number in self.numbers():
            self.kill(number)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)

    def cpu_seconds(self):
        total = 0
        for number in self.numbers():
            for pid in self.pids(number):
                with contextlib.suppress(OSError):
                    with open("/proc/%d/stat" % pid, encoding="ascii") as file:
                        fields = file.read().rsplit(") ", 1)[1].split()
                    total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def resident_mib(self):
        total = 0
        for number in self.numbers():
            for pid in self.pids(number):
                with contextlib.suppress(OSError):
                    with open("/proc/%d/status" % pid, encoding="ascii") as file:
                        total += sum(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
        return total / 1024


class Failoverd(Cluster):
    name, port = "failoverd", API_PORT

    def __init__(self, folder, build):
        super().__init__(folder)
        self.build = os.path.abspath(build)
        os.makedirs(self.folder)

    def command(self, number):
        folder = self.member_dir(number)
        path = os.path.join(folder, "failoverd.conf")
        members = "".join('  member "m%d" { address = "%s" }\n' % (n, address(n))
                          for n in self.numbers())
        os.makedirs(os.path.join(folder, "lib"), exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write('node "m%d" { data_dir = "%s/lib"  run_dir = "%s/run"  user = "nobody" }\n'
                       'cluster "bench" {\n  heartbeat = %dms\n  election_timeout = %dms\n%s}\n' %
                       (number, folder, folder, HEARTBEAT_MSEC, ELECTION_MSEC, members))
        return [os.path.join(self.build, "failoverd"), "-c", path]

    def leader(self):
        for number in self.numbers():
            status = ask(number, self.port, "GET", "/v1/status")[1]
            if status and status["raft"]["leader"]:
                return int(status["raft"]["leader"].lstrip("m"))
        return None


class Etcd(Cluster):
    name, port = "etcd", ETCD_API_PORT

    def __init__(self, folder):
        super().__init__(folder)
        os.makedirs(self.folder)

    def command(self, number):
        def url(n, port):
            return "http://%s:%d" % (address(n), port)
        return ["etcd", "--name", "m%d" % number,
                "--data-dir", os.path.join(self.member_dir(number), "data"), "--enable-v2=true",
                "--heartbeat-interval", str(HEARTBEAT_MSEC), "--election-timeout", str(ELECTION_MSEC),
                "--listen-client-urls", url(number, ETCD_API_PORT),
                "--advertise-client-urls", url(number, ETCD_API_PORT),
                "--listen-peer-urls", url(number, ETCD_PEER_PORT),
                "--initial-advertise-peer-urls", url(number, ETCD_PEER_PORT),
                "--initial-cluster", ",".join("m%d=%s" % (n, url(n, ETCD_PEER_PORT)) for n in self.numbers()),
                "--initial-cluster-token", "bench%d" % self.generation, "--log-level", "error"]

    def leader(self):
        for number in self.numbers():
            status = ask(number, self.port, "GET", "/v2/stats/self")[1]
            if status and status.get("state") == "StateLeader":
                return number
        return None


class Target:
    """What ours divided by etcd's has to be."""

    def __init__(self, words, limit, is_least):
        self.words, self.limit, self.is_least = words, limit, is_least

    def is_met(self, ratio):
        return ratio >= self.limit if self.is_least else ratio <= self.limit


def at_least(times):
    return Target("at least %g times" % times, times, True)


A_HALF = Target("at most half", 1 / 2, False)
A_THIRD = Target("at most a third", 1 / 3, False)


class Report:
    """Rows of figures, with a ratio and a target where there is one."""

    def __init__(self):
        self.rows = []
        print("%-40s %10s %10s %8s   %s" % ("", "etcd", "failoverd", "ratio", "target"), flush=True)

    def add(self, what, form, figures, target=None):
        """@figures: etcd's and ours, or of the only one that is measured."""
        if len(figures) == 1:
            print("%-40s %10s" % (what, form % figures[0]), flush=True)
            return
        etcd, ours = figures
        ratio = ours / etcd if etcd else float("inf")
        verdict = ""
        if target:
            self.rows.append((what, target.is_met(ratio)))
            verdict = "%s: %s" % (target.words, "met" if target.is_met(ratio) else "NOT MET")
        print("%-40s %10s %10s %8.2f   %s" % (what, form % etcd, form % ours, ratio, verdict), flush=True)

    def close(self):
        missed = [what for what, met in self.rows if not met]
        print("%d of %d targets met%s" % (len(self.rows) - len(missed), len(self.rows),
                                          "; not met: " + ", ".join(missed) if missed else ""))


class Bench:
    def __init__(self, options, folder):
        self.tools = os.path.join(os.path.abspath(options.build), "bench")
        self.seconds, self.rounds, self.quick = options.seconds, options.rounds, options.quick
        self.connections, self.operations = options.connections, options.operations
        self.etcd = Etcd(folder)
        self.ours = Failoverd(folder, options.build)
        self.clusters = [c for c in (self.etcd, self.ours) if options.only in (None, c.name)]
        self.report = Report()

    def tool(self, name, *words):
        result = subprocess.run([os.path.join(self.tools, name), *map(str, words)], check=True,
                                stdout=subprocess.PIPE, text=True)
        return json.loads(result.stdout)

    def in_turn(self, measure):
        """For each cluster what measure(cluster) gave in each round; who begins changes."""
        found = {c: [] for c in self.clusters}
        for number in range(self.rounds):
            self.first = number  # whom a single client asks: now the leader, now another
            for cluster in self.clusters if number % 2 == 0 else self.clusters[::-1]:
                found[cluster].append(measure(cluster))
        return found

    def targets(self, cluster):
        targets = cluster.targets()
        first = self.first % len(targets)
        return targets[first:] + targets[:first]

    def medians(self, found, key):
        return [statistics.median(f[key] for f in found[c]) for c in self.clusters]

    def measure_load(self, cluster, operation, connections):
        before = cluster.cpu_seconds()
        result = self.tool("kv-load", operation, connections, self.seconds, KEYS, *self.targets(cluster))
        result["cpu"] = (cluster.cpu_seconds() - before) / max(result["operations"], 1) * 1e6
        return result

    def add_load(self, operation, connections):
        found = self.in_turn(lambda c: self.measure_load(c, operation, connections))
        name = {"qget": "get quorum=true"}.get(operation, operation)
        what = "%s, %d connection%s: " % (name, connections, "s" if connections > 1 else "")
        rate = {("put", 1): at_least(2), ("put", 64): at_least(4)}.get((operation, connections))
        rate = {"qget": at_least(4), "get": at_least(1)}.get(operation, rate)
        self.report.add(what + "a second", "%.0f", self.medians(found, "rate"), rate)
        self.report.add(what + "p50 ms", "%.2f", self.medians(found, "p50"))
        self.report.add(what + "p99 ms", "%.2f", self.medians(found, "p99"),
                        A_HALF if (operation, connections) == ("put", 64) else None)
        self.report.add(what + "CPU us each", "%.1f", self.medians(found, "cpu"),
                        A_HALF if operation == "get" else None)
        errors = [sum(f["errors"] for f in found[c]) for c in self.clusters]
        if any(errors):
            print("  errors: " + ", ".join("%s %d" % (c.name, n) for c, n in zip(self.clusters, errors)),
                  flush=True)

    def load(self):
        for cluster in self.clusters:
            self.tool("kv-load", "fill", 16, 0, KEYS, *cluster.targets())
        for operation in self.operations:
            for connections in self.connections:
                self.add_load(operation, connections)

    def watch(self):
        for watchers in (1, 256, 1000):
            found = self.in_turn(lambda c, n=watchers: self.tool("kv-watch", n, self.seconds, *self.targets(c)))
            target = A_HALF if watchers == 256 else None
            for key in ("p50", "p99"):
                self.report.add("write heard by %d: %s ms" % (watchers, key), "%.2f",
                                self.medians(found, key), target)

    def memory(self):
        for cluster in self.clusters:
            cluster.stop_all()
            cluster.start_all()
            self.tool("kv-load", "fill", 64, 0, MEMORY_KEYS, *cluster.targets())
        time.sleep(SETTLE_SECONDS)
        self.report.add("resident MiB with %d keys" % MEMORY_KEYS, "%.1f",
                        [c.resident_mib() / MEMBERS for c in self.clusters], A_THIRD)

    def idle(self):
        seconds = 10 if self.quick else 30
        time.sleep(SETTLE_SECONDS)  # what the work before left to do is over
        before = [c.cpu_seconds() for c in self.clusters]
        time.sleep(seconds)
        used = [(c.cpu_seconds() - b) / seconds * 100 / MEMBERS for c, b in zip(self.clusters, before)]
        self.report.add("idle, % of a core for each member", "%.2f", used, A_THIRD)

    def measure_recovery(self, cluster):
        """Milliseconds from the kill until a write is answered that was sent after it."""
        cluster.wait_healthy()
        leader = wait_for("a leader", cluster.leader)
        time.sleep(0.5)
        probe = subprocess.Popen([os.path.join(self.tools, "kv-probe"), str(PROBE_MSEC), "8",
                                  *cluster.targets(without=leader)], stdout=subprocess.PIPE, text=True)
        time.sleep(1)
        killed = now() * 1e6
        cluster.kill(leader)
        answered = []
        for line in probe.stdout:
            sent, came, status = map(int, line.split())
            if sent > killed and status in (200, 201):
                answered.append(came)
                break
        probe.terminate()
        probe.wait()
        cluster.start(leader)
        cluster.wait_healthy()
        return {"outage": (answered[0] - killed) / 1000 if answered else float("inf")}

    def recovery(self):
        rounds, self.rounds = self.rounds, 3 if self.quick else 9
        found = self.in_turn(self.measure_recovery)
        self.rounds = rounds
        self.report.add("writes again after kill -9, ms", "%.0f", self.medians(found, "outage"), A_HALF)
        for word, choose in (("shortest", min), ("longest", max)):
            self.report.add("writes again, %s, ms" % word, "%.0f",
                            [choose(f["outage"] for f in found[c]) for c in self.clusters])


SECTIONS = {"load": Bench.load, "watch": Bench.watch, "memory": Bench.memory, "idle": Bench.idle,
            "recovery": Bench.recovery}


def measure(options):
    build_network()
    folder = tempfile.mkdtemp(prefix="failoverd-bench-", dir=options.data)
    os.chmod(folder, 0o755)
    bench = None
    try:
        bench = Bench(options, folder)
        for cluster in bench.clusters:
            cluster.start_all()
        time.sleep(SETTLE_SECONDS)
        for name in options.sections or SECTIONS:
            SECTIONS[name](bench)
        bench.report.close()
    finally:
        for cluster in bench.clusters if bench else []:
            for number in cluster.processes:
                cluster.kill(number)
        if options.keep:
            print("kept: " + folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def end_in_order(number, frame):
    raise SystemExit("ended by signal %d" % number)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--quick", action="store_true", help="two rounds of one second")
    parser.add_argument("--seconds", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    parser.add_argument("--operations", nargs="+", choices=OPERATIONS, default=OPERATIONS)
    parser.add_argument("--data", default="/var/tmp", help="where both keep their data: a real disk")
    parser.add_argument("--only", choices=["etcd", "failoverd"], help="no comparison: for profiling")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--section", dest="sections", action="append", choices=list(SECTIONS))
    options = parser.parse_args()
    options.seconds = options.seconds or (1 if options.quick else 3)
    options.rounds = options.rounds or (2 if options.quick else 5)
    if options.inside:
        signal.signal(signal.SIGTERM, end_in_order)
        return measure(options)
    if not shutil.which("etcd"):
        sys.exit("etcd is missing: install the package etcd-server")
    # Namespaces of its own for network, mounts and processes: nothing outlives the run.
    return subprocess.call(["unshare", "--net", "--pid", "--fork", "--mount", "--mount-proc", "--kill-child",
                            sys.executable, os.path.abspath(__file__), "--inside", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
