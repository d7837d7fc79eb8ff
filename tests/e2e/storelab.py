"""Three machines that run failoverd as a key store, for tests of the store and of its clients. The
test lives in namespaces of its own (network, mounts, processes, shared memory): whatever happens to
it, the kernel removes all that it started and made there."""

import argparse
import contextlib
import glob
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.parse

from lab import kill_pids, now, run, wait_for

API, RAFT = 4001, 7001
NETWORK = "10.79.0."
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Failure(AssertionError):
    pass


def check(condition, what):
    if not condition:
        raise Failure(what)


def equal(found, wanted, what=""):
    if found != wanted:
        raise Failure("%s: found %r, wanted %r" % (what, found, wanted))


def ask(address, method, path, form=None, timeout=5.0, port=API):
    """Status, headers and body (as JSON if it is) of one request on a connection of its own."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        body = urllib.parse.urlencode(form) if form is not None else None
        connection.request(method, path, body=body, headers=FORM if form is not None else {})
        answer = connection.getresponse()
        text = answer.read()
        with contextlib.suppress(ValueError):
            return answer.status, answer.headers, json.loads(text)
        return answer.status, answer.headers, text
    finally:
        connection.close()


def key(address, method, path, form=None, query="", timeout=5.0):
    return ask(address, method, "/v2/keys" + path + query, form, timeout)


class Machine:
    """A network namespace on the test's bridge; what runs in it dies with it."""

    def __init__(self, lab, name, number):
        self.lab = lab
        self.name = name
        self.address = NETWORK + str(number)
        self.dir = os.path.join(lab.dir, name)
        self.log_path = os.path.join(self.dir, "log")
        self.children = []
        os.mkdir(self.dir)
        os.chmod(self.dir, 0o755)
        run("ip", "netns", "add", name)
        run("ip", "link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", "p" + name)
        run("ip", "link", "set", "p" + name, "master", "br0", "up")
        run("ip", "-n", name, "addr", "add", self.address + "/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", name, "link", "set", "eth0", "up")

    def spawn(self, *command, log=None, **options):
        with open(log or self.log_path, "ab") as file:
            child = subprocess.Popen(["ip", "netns", "exec", self.name, *command], stdout=file, stderr=file,
                                     stdin=subprocess.DEVNULL, start_new_session=True, **options)
        self.children.append(child)
        return child

    def pids(self):
        return [int(p) for p in run("ip", "netns", "pids", self.name, check=False).split()]

    def kill(self, number=signal.SIGKILL):
        """All processes of the machine at once, until none is left."""
        while self.pids():
            kill_pids(self.pids(), number)
            time.sleep(0.005)
        for child in self.children:
            child.wait()
        self.children = []

    def freeze(self):
        kill_pids(self.pids(), signal.SIGSTOP)

    def thaw(self):
        kill_pids(self.pids(), signal.SIGCONT)

    def isolate(self):
        run("ip", "link", "set", "p" + self.name, "down")

    def heal(self):
        run("ip", "link", "set", "p" + self.name, "up")

    def log(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()


class Store(Machine):
    """A machine with failoverd on it."""

    def __init__(self, lab, name, number):
        super().__init__(lab, name, number)
        for folder in ("lib", "run"):
            os.mkdir(os.path.join(self.dir, folder))
        self.conf = os.path.join(self.dir, "failoverd.conf")

    def configure(self):
        members = "".join('  member "%s" { address = "%s" }\n' % (n.name, n.address)
                          for n in self.lab.stores)
        with open(self.conf, "w", encoding="ascii") as file:
            file.write('node "%s" { data_dir = "%s/lib"  run_dir = "%s/run"  user = "nobody"\n'
                       '  snapshot_size = 1MiB }\n'
                       'cluster "store" {\n  profile = lan\n%s}\n' %
                       (self.name, self.dir, self.dir, members))

    def start(self):
        self.spawn(os.path.join(self.lab.build, "failoverd"), "-c", self.conf)

    def engine(self):
        """The process number of the engine, 0 if there is none."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                with open("/proc/%d/cmdline" % pid, "rb") as file:
                    if b"--engine" in file.read().split(b"\0"):
                        return pid
        return 0

    def answers(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return ask(self.address, "GET", "/version", timeout=1)[0] == 200
        return False

    def leads(self):
        with contextlib.suppress(OSError, http.client.HTTPException, KeyError, TypeError):
            return ask(self.address, "GET", "/v1/status", timeout=1)[2]["raft"]["role"] == "leader"
        return False

    def ctl(self, *words, check_status=True, timeout=60):
        return run("ip", "netns", "exec", self.name, os.path.join(self.lab.build, "failoverctl"), "-c",
                   self.conf, *words, check=check_status, timeout=timeout)


class Etcd(Machine):
    """The same with etcd: what is tested here of clients can be shown to be true of etcd itself."""

    def configure(self):
        pass

    def start(self):
        client, peer = "http://%s:%d" % (self.address, API), "http://%s:%d" % (self.address, RAFT)
        self.spawn("etcd", "--enable-v2", "--name", self.name, "--data-dir", os.path.join(self.dir, "data"),
                   "--listen-client-urls", client, "--advertise-client-urls", client,
                   "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                   "--initial-cluster", ",".join("%s=http://%s:%d" % (n.name, n.address, RAFT)
                                                 for n in self.lab.stores))

    answers = Store.answers

    def leads(self):
        with contextlib.suppress(OSError, http.client.HTTPException, KeyError, TypeError):
            return ask(self.address, "GET", "/v2/stats/self", timeout=1)[2]["state"] == "StateLeader"
        return False


class StoreLab:
    """Three stores that know each other. The test stands on the bridge with them."""

    def __init__(self, options, names=("n1", "n2", "n3")):
        self.options = options
        self.build = os.path.abspath(options.build)
        self.dir = options.inside
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "addr", "add", NETWORK + "1/24", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        kind = Etcd if options.etcd else Store
        self.machines = []
        self.stores = [self.add(kind, name, 11 + i) for i, name in enumerate(names)]
        for store in self.stores:
            store.configure()

    def add(self, kind, name, number):
        machine = kind(self, name, number)
        self.machines.append(machine)
        return machine

    def start(self, limit=30):
        for store in self.stores:
            store.start()
        self.wait_ready(limit)

    def wait_ready(self, limit=30, without=None):
        """Every store takes writes, but for one that is away."""
        for store in self.stores:
            if store is not without:
                wait_for("%s to take writes" % store.name, lambda s=store: takes_writes(s.address), limit, 0.1)

    def leader(self, limit=10):
        def leaders():
            found = [s for s in self.stores if s.leads()]
            return found[0] if len(found) == 1 else None

        return wait_for("one leader", leaders, limit, 0.05)

    def follower(self):
        leader = self.leader()
        return [s for s in self.stores if s is not leader][0]

    def urls(self, *stores):
        return ",".join("http://%s:%d" % (s.address, API) for s in stores or self.stores)

    def show_logs(self, lines=60):
        for machine in self.machines:
            for path in sorted(glob.glob(os.path.join(machine.dir, "*log"))):
                with open(path, encoding="utf-8", errors="replace") as file:
                    print("---- the end of %s of %s" % (os.path.basename(path), machine.name))
                    print("\n".join(file.read().split("\n")[-lines:]))

    def restore(self):
        """All is as at the start again, whatever a test has left behind."""
        for store in self.stores:
            store.heal()
            store.thaw()
            if not store.pids():
                store.start()
        self.wait_ready()

    def faults(self):
        """Lines of the logs that no run may show."""
        signs = ("ERROR: ", "runtime error", "ended by signal 6", "ended by signal 11", "Assertion")
        return [line for s in self.stores for line in s.log().split("\n") if any(x in line for x in signs)]

    def close(self):
        for machine in self.machines:
            machine.kill()


def takes_writes(address, timeout=2.0):
    with contextlib.suppress(OSError, http.client.HTTPException):
        return key(address, "PUT", "/ready", {"value": "1"}, timeout=timeout)[0] in (200, 201)
    return False


def run_tests(lab, tests, dependent=False):
    """(passed, failed) of tests that share a lab; those behind a failure are left out if @dependent."""
    passed = failed = 0
    for test in tests:
        begun = now()
        try:
            test(lab)
            passed += 1
            print("ok      %s (%.1f s)" % (test.__name__, now() - begun), flush=True)
        except Exception as problem:  # a broken test must not hide the others' results
            failed += 1
            print("FAILED  %s: %s: %s" % (test.__name__, type(problem).__name__, problem), flush=True)
            traceback.print_exc(file=sys.stdout)
            if dependent:
                break
            lab.restore()
    return passed, failed


def options_of(description, add=None):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", default="build")
    parser.add_argument("--etcd", action="store_true", help="test etcd in place of failoverd")
    parser.add_argument("--inside", metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", help="the tests, all if none is named")
    if add:
        add(parser)
    return parser.parse_args()


def in_namespaces(options, inside):
    """Calls inside(options) in namespaces of its own, with a folder of its own; the exit status."""
    if options.inside:
        return as_first_process(lambda: inside(options))
    folder = tempfile.mkdtemp(prefix="failoverd-store-")
    os.chmod(folder, 0o755)
    try:
        return subprocess.call(["unshare", "--net", "--mount", "--ipc", "--pid", "--fork", "--mount-proc",
                                "--kill-child", sys.executable, os.path.abspath(sys.argv[0]), "--inside",
                                folder, *sys.argv[1:]])
    finally:
        end = now() + 10
        while os.path.exists(folder) and now() < end:
            shutil.rmtree(folder, ignore_errors=True)


def as_first_process(body):
    """Does what an init owes to processes whose parents are gone: Patroni waits for their end."""
    for folder in ("/run/netns", "/dev/shm"):
        os.makedirs(folder, exist_ok=True)
        run("mount", "-t", "tmpfs", "tmpfs", folder)
    child = os.fork()
    if child == 0:
        # Not by os._exit(): what the test has printed must come out.
        sys.exit(body())
    # The child is told, too, and ends in order.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        pid, status = os.wait()
        if pid == child:
            return 0 if status == 0 else 1


def main_of_lab(options, tests, dependent=False):
    """Runs the named tests, or all, on one lab in its own namespaces; prints the sum."""
    tests = [t for t in tests if not options.names or t.__name__ in options.names]

    def inside(_):
        lab = StoreLab(options)
        try:
            lab.start()
            passed, failed = run_tests(lab, tests, dependent)
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
