#!/usr/bin/env python3
"""What can go wrong on a primary, one thing at a time, on a real cluster with a real PostgreSQL.

    faults.py [--build DIR] [--profile P] [--repeat N] [TEST...]

Each test asserts with one clock, the test host's, that never two databases accepted writes, and that
all is whole afterwards without help. Ends with "N passed, N failed"."""

import argparse
import inspect
import os
import signal
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import SERVICE, VIP, Lab, kill_pids, now, run, wait_for  # noqa: E402

STOPPED_SECONDS = 20


class Observer:
    """Writers on each node's own socket, one through the address, and a look at the addresses."""

    numbers = 10 ** 9

    def __init__(self, lab, patience_msec=150):
        self.lab = lab
        self.local = {}
        self.addresses = {}
        for node in lab.databases():
            Observer.numbers += 10 ** 8
            self.local[node] = lab.write_on(node, Observer.numbers)
            self.addresses[node] = lab.watch_address(node)
        Observer.numbers += 10 ** 8
        self.client = lab.write_by_address(Observer.numbers, patience_msec)
        wait_for("the client's first write", lambda: self.client.last_ack() > 0, 20)

    def stop(self):
        for follower in [*self.local.values(), *self.addresses.values(), self.client]:
            follower.stop()
            if follower in self.lab.followers:
                self.lab.followers.remove(follower)

    def tenures(self):
        """[(node, first, last)] of uninterrupted sequences of accepted writes, by true time."""
        acks = sorted((t, node) for node, w in self.local.items() for _, t in w.acks())
        found = []
        for at, node in acks:
            if found and found[-1][0] is node:
                found[-1][2] = at
            else:
                found.append([node, at, at])
        return found

    def check_one_writer(self, moves_max):
        """Two writers would show as tenures that alternate."""
        tenures = self.tenures()
        assert len(tenures) - 1 <= moves_max, "writes were accepted in turns: %s" % [
            (n.name, first, last) for n, first, last in tenures]
        return tenures

    def address_left(self, node, since):
        """When the address was last gone from @node behind @since, or None."""
        for line in self.addresses[node].lines:
            words = line.split()
            if words[0] == "absent" and int(words[1]) / 1e6 >= since:
                return int(words[1]) / 1e6
        return None


def roles(lab):
    return lab.wait_whole()


def whole_again(lab, observer, since, moves_max=1):
    primary, standby = lab.wait_whole()
    wait_for("the client to write", lambda: observer.client.last_ack() > max(since, now() - 0.5), 30)
    observer.stop()
    assert observer.local[primary].acks(), "the observer on the primary saw no write: it proves nothing"
    tenures = observer.check_one_writer(moves_max)
    print("    outage %.0f ms, %d tenures" % (observer.client.outage(since) * 1000, len(tenures)))
    return primary, standby


def kill_process(lab, role):
    primary, _ = roles(lab)
    observer = Observer(lab)
    since = now()
    pids = primary.processes(role)
    assert pids, "no process: " + role
    kill_pids(pids)
    time.sleep(4)  # longer than the lease: what had to happen has happened
    after, _ = whole_again(lab, observer, since)
    return primary, after


def test_killed_engine_moves_nothing(lab):
    before, after = kill_process(lab, "engine")
    assert before is after, "mastership moved though the lease did not demand it"


def test_killed_executor_moves_nothing(lab):
    before, after = kill_process(lab, "executor")
    assert before is after, "mastership moved though the lease did not demand it"


def test_killed_agent_moves_nothing(lab):
    before, after = kill_process(lab, "agent")
    assert before is after, "mastership moved though the lease did not demand it"


def test_all_three_killed_at_once(lab):
    primary, _ = roles(lab)
    observer = Observer(lab)
    since = now()
    kill_pids(primary.processes("executor") + primary.processes("engine") + primary.processes("agent"))
    time.sleep(4)
    whole_again(lab, observer, since)


def stop_process(lab, pids_of):
    primary, _ = roles(lab)
    observer = Observer(lab)
    since = now()
    pids = pids_of(primary)
    assert pids, "nothing to stop"
    kill_pids(pids, signal.SIGSTOP)
    try:
        time.sleep(STOPPED_SECONDS)
    finally:
        kill_pids(pids, signal.SIGCONT)
    whole_again(lab, observer, since)


def test_stopped_engine(lab):
    stop_process(lab, lambda n: n.processes("engine"))


def test_stopped_executor(lab):
    stop_process(lab, lambda n: n.processes("executor"))


def test_stopped_agent(lab):
    stop_process(lab, lambda n: n.processes("agent"))


def test_stopped_postgres(lab):
    stop_process(lab, lambda n: n.database_pids())


def test_stopped_postmaster(lab):
    stop_process(lab, lambda n: [n.postmaster()])


def test_restart_within_the_ttl_moves_nothing(lab):
    """Stop and start of failoverd on the primary: no role change, no lost connection."""
    primary, _ = roles(lab)
    observer = Observer(lab, patience_msec=5000)
    since = now()
    primary.stop()
    primary.start()
    time.sleep(5)
    after, _ = whole_again(lab, observer, since, moves_max=0)
    assert after is primary
    errors = [line for line in observer.client.lines if line.startswith("error")]
    assert not errors, "the client's connection was lost: %s" % errors
    assert observer.address_left(primary, since) is None, "the address was gone for a moment"


def test_killed_postmaster_fails_over(lab):
    primary, standby = roles(lab)
    observer = Observer(lab)
    since = now()
    kill_pids([primary.postmaster()])
    wait_for("the other node to be master", lambda: lab.master() == standby.name, 20)
    after, _ = whole_again(lab, observer, since)
    assert after is standby


def test_killed_node_fails_over_and_comes_back(lab):
    primary, standby = roles(lab)
    observer = Observer(lab)
    since = now()
    primary.die()
    wait_for("the other node to be master", lambda: lab.master() == standby.name, 20)
    primary.boot()
    after, _ = whole_again(lab, observer, since)
    assert after is standby


def test_isolated_primary_lets_go_first(lab):
    """Its address is gone and its database refuses writes before the other accepts its first."""
    primary, standby = roles(lab)
    observer = Observer(lab)
    since = now()
    primary.isolate()
    try:
        wait_for("a write on the other node", lambda: observer.local[standby].last_ack() > since, 20)
        time.sleep(0.5)
    finally:
        primary.heal()
    after, _ = lab.wait_whole()
    observer.stop()
    assert after is standby
    first = min(t for _, t in observer.local[standby].acks() if t > since)
    last = max(t for _, t in observer.local[primary].acks())
    gone = observer.address_left(primary, since)
    assert last < first, "both accepted writes for %.0f ms" % ((last - first) * 1000)
    assert gone is not None and gone < first, "the old address outlived the new master's first write"
    observer.check_one_writer(1)
    print("    cut at 0, last write on the old side %.0f ms, address gone %.0f ms, first write on the "
          "new side %.0f ms" % tuple((t - since) * 1000 for t in (last, gone, first)))


def test_switchover_loses_nothing(lab):
    primary, standby = roles(lab)
    observer = Observer(lab)
    since = now()
    lab.witness.ctl("switchover", SERVICE, "--to", standby.name)
    after, _ = whole_again(lab, observer, since)
    assert after is standby
    acks = [a for w in [*observer.local.values(), observer.client] for a in w.acks()]
    missing = lab.missing(acks)
    assert not missing, "%d acknowledged writes are missing" % len(missing)


def test_address_taken_away_by_somebody_is_put_back(lab):
    primary, _ = roles(lab)
    run("ip", "-n", primary.namespace, "addr", "del", VIP + "/32", "dev", "eth0")
    wait_for("the address to be back", primary.has_address, 1)


def test_cold_start_of_all_machines(lab):
    primary, standby = roles(lab)
    for node in lab.nodes.values():
        node.die()
    for node in lab.nodes.values():
        node.boot()
    lab.wait_whole(120)


def test_losing_the_witness_moves_nothing(lab):
    primary, _ = roles(lab)
    observer = Observer(lab)
    since = now()
    lab.witness.isolate()
    try:
        time.sleep(5)
    finally:
        lab.witness.heal()
    after, _ = whole_again(lab, observer, since, moves_max=0)
    assert after is primary
    assert observer.client.outage(since) < 2, "the service stopped though a quorum was there"


TESTS = {name[5:]: function for name, function in list(globals().items()) if name.startswith("test_")}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--profile", default="lan")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("tests", nargs="*", choices=[[], *TESTS], metavar="TEST",
                        help="one of: " + ", ".join(TESTS))
    options = parser.parse_args()
    passed = failed = 0
    with Lab(build=options.build, profile=options.profile) as lab:
        lab.start()
        lab.make_pair()
        lab.wait_whole()
        for name in (options.tests or list(TESTS)) * options.repeat:
            began = now()
            try:
                TESTS[name](lab)
                passed += 1
                print("ok   %-50s %5.1f s" % (name, now() - began), flush=True)
            except Exception:  # a failure of one test is told, and the next one runs
                failed += 1
                print("FAIL %s" % name)
                print(inspect.getdoc(TESTS[name]) or "")
                traceback.print_exc(file=sys.stdout)
                lab.keep_logs()
                for follower in list(lab.followers):
                    follower.stop()
                lab.followers.clear()
                for node in lab.nodes.values():
                    node.heal()
                    if not node.supervisor:
                        node.boot()
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AssertionError as error:
        print("%s\n0 passed, 1 failed" % error)
        sys.exit(1)
