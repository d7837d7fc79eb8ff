#!/usr/bin/env python3
"""A store of a million keys on three members in namespaces of this machine: how much memory and disk
it takes, how soon it answers after a start, and how long its loop stands still while snapshots are
taken, sent and installed, as a client sees it that asks every two milliseconds. Root.

Fails if a start takes longer than five seconds, or a snapshot makes anybody wait for more than 50 ms;
for the latter, the machine must be quiet otherwise.

    big-store.py [--build DIR] [--keys N] [PART...]

Parts: nothing, snapshots, snapshot_under_load, restarts, all_at_once, catch_up_by_log, replacement."""

import contextlib
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from lab import now, run, wait_for  # noqa: E402
from members import MembersLab, put, snapshots_of  # noqa: E402
from storelab import API, in_namespaces, options_of  # noqa: E402

START_MAX = 5.0  # seconds
PAUSE_MAX = 50.0  # milliseconds
INTERVAL_MSEC = 2
QUIET_SECONDS = 10
ROUNDS = 3
SNAPSHOT_LIMIT = 120

ASK_FOR_BACKUP = ("import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', %d, timeout=120); "
                  "c.request('POST', '/v1/backup'); a = c.getresponse(); print(a.status, a.read().decode())" % API)


class Pulse:
    """Asks a member all the time; knows the longest wait."""

    def __init__(self, lab, store):
        self.path = os.path.join(lab.dir, "pulse-%s-%d" % (store.name, now() * 1000))
        with open(self.path, "w", encoding="ascii") as file:
            self.process = subprocess.Popen([os.path.join(lab.build, "bench", "kv-pulse"), str(INTERVAL_MSEC),
                                             "%s:%d" % (store.address, API)], stdout=file)
        self.begun = now()

    def stop(self):
        """(n, longest, waits over 10 ms): milliseconds; how long after the beginning each began."""
        self.process.terminate()
        self.process.wait()
        with open(self.path, encoding="ascii") as file:
            answers = [(int(sent) / 1e6 - self.begun, int(took) / 1e3)
                       for sent, took in (line.split() for line in file if line.endswith("\n"))]
        if not answers:
            raise AssertionError("no answer at all")
        return len(answers), max(took for _, took in answers), [a for a in answers if a[1] > 10]


class Big:
    def __init__(self, lab, options):
        self.lab, self.n_keys = lab, options.keys
        self.missed = []
        self.puts = 0

    def say(self, what, figure, limit=None, value=0.0):
        verdict = ""
        if limit is not None:
            verdict = "   at most %g: %s" % (limit, "met" if value <= limit else "NOT MET")
            if value > limit:
                self.missed.append(what)
        print("%-58s %14s%s" % (what, figure, verdict), flush=True)

    def tool(self, name, *words):
        result = subprocess.run([os.path.join(self.lab.build, "bench", name), *map(str, words)], check=True,
                                stdout=subprocess.PIPE, text=True)
        return json.loads(result.stdout)

    def targets(self, stores=None):
        return ["%s:%d" % (s.address, API) for s in stores or self.lab.stores]

    def pauses(self, what, stores, body, limit=PAUSE_MAX):
        """The longest wait at each of @stores while body() runs."""
        pulses = [(s, Pulse(self.lab, s)) for s in stores]
        try:
            body()
        finally:
            for store, pulse in pulses:
                self.show_waits(what, store, pulse, limit)

    def show_waits(self, what, store, pulse, limit):
        n, longest, long_ones = pulse.stop()
        self.say("%s: longest wait at %s" % (what, store.name), "%.1f ms" % longest, limit, longest)
        if long_ones:
            long_ones.sort(key=lambda wait: -wait[1])
            print("    %d of %d over 10 ms: %s" % (len(long_ones), n, ", ".join(
                "%.0f ms at %.1f s" % (took, at) for at, took in long_ones[:10])))

    def change(self):
        self.puts += 1
        put(self.lab.leader(), "/last", str(self.puts))

    def wait_for_change(self, store, limit=60):
        begun = now()
        wait_for("%s to have all" % store.name, lambda: store.has("/last", str(self.puts)), limit, 0.01)
        return now() - begun

    def load(self):
        begun = now()
        result = self.tool("kv-load", "fill", 256, 0, "%dx100" % self.n_keys, *self.targets([self.lab.leader()]))
        if result["errors"] or result["operations"] != self.n_keys:
            raise AssertionError("loaded %(operations)d, %(errors)d errors" % result)
        self.change()
        for store in self.lab.stores:
            self.wait_for_change(store)
        self.say("%d keys written" % self.n_keys, "%.0f s" % (now() - begun))

    def memory(self, when):
        for store in self.lab.stores:
            with open("/proc/%d/smaps_rollup" % store.engine(), encoding="ascii") as file:
                fields = {line.split(":")[0]: line.split()[1] for line in file if line.endswith("kB\n")}
            self.say("%s: resident at %s" % (when, store.name), "%d MiB" % (int(fields["Rss"]) / 1024))

    def backup(self, store):
        begun = now()
        said = run("ip", "netns", "exec", store.name, sys.executable, "-c", ASK_FOR_BACKUP, timeout=SNAPSHOT_LIMIT)
        if not said.startswith("200 "):
            raise AssertionError(said)
        return now() - begun

    def snapshots(self):
        leader = self.lab.leader()
        for number in range(ROUNDS):
            store = leader if number % 2 == 0 else self.lab.follower()
            self.change()
            self.pauses("a snapshot is taken", [store], lambda s=store: self.backup(s))
        self.change()
        took = self.backup(leader)
        self.say("a snapshot takes", "%.1f s" % took)
        newest = max(snapshots_of(leader), key=os.path.getmtime)
        self.say("a snapshot on disk", "%.0f MiB" % (os.path.getsize(newest) / 2**20))

    def snapshot_under_load(self):
        leader = self.lab.leader()

        def body():
            load = subprocess.Popen([os.path.join(self.lab.build, "bench", "kv-load"), "put", "16", "10", "100000x100",
                                     *self.targets([leader])], stdout=subprocess.PIPE, text=True)
            time.sleep(1)
            self.backup(leader)
            print("    writers: " + load.communicate()[0].strip())

        self.pauses("a snapshot is taken among writes", [leader], body, None)

    def restarts(self):
        """With a log that is nearly as long as it may become."""
        self.backup(self.lab.leader())
        for store in self.lab.stores:
            if store is not self.lab.leader():
                self.backup(store)
        self.tool("kv-load", "fill", 256, 0, "%dx100" % (self.n_keys // 2), *self.targets())
        self.memory("with a long log")
        for store in (self.lab.follower(), self.lab.leader()):
            store.kill()
            self.change_by_others(store)
            begun = now()
            store.start()
            wait_for("%s to answer" % store.name, store.answers, 60, 0.01)
            took = now() - begun
            self.say("%s answers after a start" % store.name, "%.2f s" % took, START_MAX, took)
            pulse = Pulse(self.lab, store)
            self.say("%s has all" % store.name, "%.2f s" % (took + self.wait_for_change(store)))
            time.sleep(2)
            self.show_waits("it has just started", store, pulse, PAUSE_MAX)
            self.lab.wait_ready()

    def change_by_others(self, away):
        self.puts += 1
        others = [s for s in self.lab.stores if s is not away]

        def one():
            with contextlib.suppress(OSError, AssertionError):
                put(others[0], "/last", str(self.puts))
                return True

        wait_for("a leader without %s" % away.name, one, 20, 0.05)

    def all_at_once(self):
        for store in self.lab.stores:
            store.kill()
        begun = now()
        for store in self.lab.stores:
            store.start()
        self.lab.wait_ready(60)
        took = now() - begun
        self.say("all three take writes after a start", "%.2f s" % took)

    def catch_up_by_log(self):
        store = self.lab.follower()
        store.kill()
        self.tool("kv-load", "put", 64, 5, "100000x100",
                  *self.targets([s for s in self.lab.stores if s is not store]))
        self.change()
        store.start()
        wait_for("%s to answer" % store.name, store.answers, 60, 0.01)
        self.pauses("it catches up by the log", [store, self.lab.leader()], lambda: self.wait_for_change(store), None)

    def replacement(self):
        store = self.lab.follower()
        store.kill()
        store.wipe()
        leader = self.lab.leader()
        leader.ctl("member", "remove", store.name)
        self.change_by_others(store)

        def body():
            begun = now()
            self.lab.join(store, leader)
            wait_for("%s to answer" % store.name, store.answers, 60, 0.01)
            pulse = Pulse(self.lab, store)
            self.wait_for_change(store, 120)
            self.say("an empty member has all", "%.1f s" % (now() - begun))
            time.sleep(5)  # the store that was replaced, if there was one, is released by and by
            self.show_waits("a snapshot is installed", store, pulse, PAUSE_MAX)

        self.pauses("a snapshot is sent", [leader], body)

    def nothing(self):
        stores = [self.lab.leader(), self.lab.follower()]
        self.pauses("nothing happens", stores, lambda: time.sleep(QUIET_SECONDS), None)

    def measure(self, names):
        self.load()
        self.memory("loaded")
        for part in (Big.nothing, Big.snapshots, Big.snapshot_under_load, Big.restarts, Big.all_at_once,
                     Big.catch_up_by_log, Big.replacement):
            if not names or part.__name__ in names:
                part(self)
                self.memory("then")
        print("all is met" if not self.missed else "not met: " + "; ".join(self.missed))


def add_options(parser):
    parser.add_argument("--keys", type=int, default=1000000)


def main():
    def inside(options):
        lab = MembersLab(options)
        big = Big(lab, options)
        try:
            lab.start()
            big.measure(options.names)
            return 1 if big.missed else 0
        except Exception:
            lab.show_logs()
            raise
        finally:
            lab.close()

    return in_namespaces(options_of(__doc__, add_options), inside)


if __name__ == "__main__":
    sys.exit(main())
