#!/usr/bin/env python3
"""What can go wrong at the worst moment: faults in the middle of a promotion, of a switchover, of
another fault, one-way networks, full disks, damaged logs, clients that misbehave.

    adverse.py [--build DIR] [--profile P] [--quick] [TEST...]

Each test asserts with one clock, the test host's, that never two databases accepted writes, and that
all is whole afterwards without help. Ends with "N passed, N failed"."""

import argparse
import inspect
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from faults import Observer  # noqa: E402
from lab import PORT, SERVICE, VIP, Lab, Writer, kill_pids, now, run, wait_for  # noqa: E402

API_PORT = 4001
RAFT_PORT = 7001


class Watch(Observer):
    """Writers that outlive the machines: they reach each database's socket from the client's one."""

    def __init__(self, lab, patience_msec=150):
        self.lab = lab
        self.local = {}
        self.addresses = {}
        for node in lab.databases():
            Observer.numbers += 10 ** 8
            self.local[node] = self.client_of(node, Observer.numbers)
        Observer.numbers += 10 ** 8
        self.client = lab.write_by_address(Observer.numbers, patience_msec)
        wait_for("the client's first write", lambda: self.client.last_ack() > 0, 20)

    def client_of(self, node, first):
        words = ["-i", "3", "-t", "300", "-f", str(first),
                 "host=%s port=%d user=app dbname=postgres" % (node.socket_dir, PORT)]
        return self.lab._follow(Writer, self.lab.client, "writer", *words)

    def writes(self, node):
        return self.local[node].last_ack()

    def acks(self):
        return [a for w in [*self.local.values(), self.client] for a in w.acks()]

    def settle(self, moves_max, since, limit=90):
        """Waits until all is whole, and asserts that writers took turns at most moves_max times."""
        primary, standby = self.lab.wait_whole(limit)
        wait_for("the client to write", lambda: self.client.last_ack() > max(since, now() - 0.5), 40)
        wait_for("a write on the primary", lambda: self.writes(primary) > now() - 0.5, 5)
        self.stop()
        tenures = self.check_one_writer(moves_max)
        print("    outage %.0f ms, %d tenures" % (self.client.outage(since) * 1000, len(tenures)))
        return primary, standby

    def nothing_missing(self):
        missing = self.lab.missing(self.acks())
        assert not missing, "%d acknowledged writes are missing" % len(missing)


class Journal:
    """What a node's log says from now on."""

    def __init__(self, node):
        self.node = node
        self.offset = os.path.getsize(node.log_path)

    def text(self):
        with open(self.node.log_path, "rb") as file:
            file.seek(self.offset)
            return file.read().decode("utf-8", "replace")

    def wait(self, *texts, limit=20):
        wait_for("%s to say %s" % (self.node.name, texts), lambda: any(t in self.text() for t in texts),
                 limit, 0.002)


def firewall(node, *rules):
    """Replaces the packet filter of a node; no rules: all may pass."""
    run(*node.inside("nft", "flush", "ruleset"))
    if rules:
        text = "table inet adverse {\n%s}\n" % "".join(
            " chain %s { type filter hook %s priority 0; policy accept; }\n" % (hook, hook)
            for hook in ("input", "output"))
        text += "".join("add rule inet adverse %s\n" % rule for rule in rules)
        run(*node.inside("nft", "-f", "-"), input=text)


def cut(node, *others):
    firewall(node, *["%s ip %s %s drop" % (hook, field, other.address) for other in others
                     for hook, field in (("input", "saddr"), ("output", "daddr"))])


def leader(lab):
    for node in lab.nodes.values():
        status = node.ctl_json("status")
        name = (status or {}).get("raft", {}).get("leader")
        if name in lab.nodes:
            return lab.nodes[name]
    return None


def reported(node, about):
    """What @node knows about the service on another one."""
    for service in (node.ctl_json("status") or {}).get("services", []):
        for entry in service["nodes"]:
            if entry["node"] == about.name:
                return entry
    return {}


def is_fit(primary, standby):
    known = reported(primary, standby)
    return known.get("streaming") and known.get("healthy")


def fit_pair(lab):
    """Whole, and the standby can take over: before that a database is rather started where it was."""
    primary, standby = lab.wait_whole()
    wait_for("the standby to be fit", lambda: is_fit(primary, standby), 20)
    return primary, standby


def in_background(node, *words):
    """failoverctl, while the test goes on."""
    return subprocess.Popen(node.inside(os.path.join(node.lab.build, "failoverctl"), "-c", node.conf,
                                        *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True)


def exit_of(node, *words, timeout=60):
    result = subprocess.run(node.inside(os.path.join(node.lab.build, "failoverctl"), "-c", node.conf,
                                        *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, timeout=timeout)
    return result.returncode, result.stdout


def switch_to(lab, node):
    """Makes @node the master as soon as it is fit."""
    primary, _ = lab.wait_whole()
    if primary is not node:
        wait_for("a switchover to %s" % node.name,
                 lambda: exit_of(lab.witness, "switchover", SERVICE, "--to", node.name)[0] == 0, 30, 0.2)
    lab.wait_whole()


# A fault in the middle of the promotion.


def interrupt_promotion(lab, fault, moves_max=4, recover=None):
    primary, standby = fit_pair(lab)
    watch = Watch(lab)
    journal = Journal(standby)
    since = now()
    kill_pids([primary.postmaster()])
    journal.wait("campaigning -> promoting")
    time.sleep(random.uniform(0, 0.08))
    fault(standby)
    if recover:
        recover(primary, standby)
    return watch.settle(moves_max, since)


def test_postmaster_dies_while_it_is_promoted(lab):
    interrupt_promotion(lab, lambda n: kill_pids([n.postmaster()]))


def test_engine_dies_while_its_node_is_promoted(lab):
    interrupt_promotion(lab, lambda n: kill_pids(n.processes("engine")))


def test_executor_dies_while_its_node_is_promoted(lab):
    interrupt_promotion(lab, lambda n: kill_pids(n.processes("executor")))


def test_agent_dies_while_its_node_is_promoted(lab):
    interrupt_promotion(lab, lambda n: kill_pids(n.processes("agent")))


def test_all_processes_die_while_their_node_is_promoted(lab):
    interrupt_promotion(lab, lambda n: kill_pids(
        n.processes("executor") + n.processes("engine") + n.processes("agent")))


def test_machine_dies_while_it_is_promoted(lab):
    """The old one, with its dead postmaster, is all that is left; it may have lost nothing."""

    def recover(primary, standby):
        time.sleep(8)
        standby.boot()

    interrupt_promotion(lab, lambda n: n.die(), recover=recover)


def test_machine_is_cut_off_while_it_is_promoted(lab):

    def recover(primary, standby):
        time.sleep(8)
        standby.heal()

    interrupt_promotion(lab, lambda n: n.isolate(), recover=recover)


# A fault right after another.


def test_primary_dies_while_the_other_rejoins(lab):
    primary, standby = lab.wait_whole()
    watch = Watch(lab)
    since = now()
    primary.die()
    wait_for("a write on the other node", lambda: watch.writes(standby) > since, 20)
    journal = Journal(primary)
    primary.boot()
    journal.wait("agent: rewinding to", "rejoin begins", limit=30)
    standby.die()
    time.sleep(8)
    standby.boot()
    watch.settle(4, since, 120)


def test_nobody_is_promoted_with_unbounded_loss(lab):
    """While one is down the other writes more than max_loss, and dies when the first comes back: only
    the one that has it all may be master again."""
    primary, standby = lab.wait_whole()
    watch = Watch(lab)
    since = now()
    primary.die()
    wait_for("a write on the other node", lambda: watch.writes(standby) > since, 20)
    standby.sql("CREATE TABLE IF NOT EXISTS bulk (t text)")
    standby.sql("INSERT INTO bulk SELECT repeat(md5(n::text), 30) FROM generate_series(1, 120000) n")
    standby.sql("DROP TABLE bulk")
    time.sleep(1)  # longer than a renewal: the others know the position
    died = now()
    standby.die()
    primary.boot()
    end = now() + 15
    while now() < end:
        assert not primary.is_primary(), "promoted though it lacks more than max_loss"
        time.sleep(0.2)
    answer = primary.ctl("why-not", SERVICE, check=False)
    assert "behind" in answer or "timeline" in answer or "last master" in answer, answer
    standby.boot()
    after, _ = watch.settle(2, died, 120)
    assert after is standby
    kept = [a for a in watch.acks() if a[1] > died or a in watch.local[standby].acks()]
    missing = lab.missing(kept)
    assert not missing, "%d acknowledged writes are missing" % len(missing)


def test_both_databases_die_at_once(lab):
    primary, standby = lab.wait_whole()
    watch = Watch(lab)
    since = now()
    primary.die()
    standby.die()
    standby.boot()
    time.sleep(1)
    primary.boot()
    watch.settle(3, since, 120)


def test_cold_start_where_the_old_primary_is_last(lab):
    primary, standby = lab.wait_whole()
    for node in lab.nodes.values():
        node.die()
    lab.witness.boot()
    standby.boot()
    time.sleep(12)
    primary.boot()
    lab.wait_whole(120)


def interrupt_rejoin(lab, fault, text):
    """The old primary is rewound, and disturbed in it: it is never started on half a directory."""
    primary, standby = lab.wait_whole()
    watch = Watch(lab)
    since = now()
    primary.die()
    wait_for("a write on the other node", lambda: watch.writes(standby) > since, 20)
    journal = Journal(primary)
    primary.boot()
    journal.wait(text, limit=30)
    time.sleep(random.uniform(0, 0.3))
    fault(primary)
    after, _ = watch.settle(1, since, 120)
    assert after is standby


def test_agent_dies_while_it_rewinds(lab):
    interrupt_rejoin(lab, lambda n: kill_pids(n.processes("agent")), "agent: rewinding to")


def test_machine_dies_while_it_rewinds(lab):

    def fault(node):
        node.die()
        node.boot()

    interrupt_rejoin(lab, fault, "agent: rewinding to")


def test_engine_dies_while_it_rejoins(lab):
    interrupt_rejoin(lab, lambda n: kill_pids(n.processes("engine")), "rejoin begins")


def test_executor_dies_while_it_rejoins(lab):
    interrupt_rejoin(lab, lambda n: kill_pids(n.processes("executor")), "rejoin begins")


def empty_standby(lab):
    """A standby whose disk is new."""
    primary, standby = lab.wait_whole()
    standby.die()
    shutil.rmtree(standby.data_dir)
    standby.boot()
    wait_for("the agent", lambda: standby.processes("agent"), 10)
    return primary, standby


def begin_clone(standby):
    """A member that was just started may refuse at first: it does not know who is master."""
    journal = Journal(standby)

    def is_begun():
        order = in_background(standby, "clone", SERVICE)
        wait_for("an answer", lambda: order.poll() is not None or "agent: copying" in journal.text(), 20)
        if order.poll() is None:
            return order
        print("    " + order.communicate()[0].strip())
        return None

    return wait_for("a clone to begin", is_begun, 20)


def clone_again(lab, standby):

    def is_begun():
        """Until it is, an earlier one may be under way, or the node does not know the master yet."""
        status, _ = exit_of(standby, "clone", SERVICE, timeout=120)
        return status == 0

    if not standby.streams():
        wait_for("a clone", is_begun, 60, 0.5)
    lab.allow_clients()


def test_machine_dies_while_it_is_cloned(lab):
    primary, standby = empty_standby(lab)
    watch = Watch(lab)
    since = now()
    order = begin_clone(standby)
    time.sleep(random.uniform(0, 0.3))
    standby.die()
    order.communicate(timeout=60)
    time.sleep(1)
    standby.boot()
    clone_again(lab, standby)
    after, _ = watch.settle(0, since, 120)
    assert after is primary


def test_source_dies_while_it_is_copied(lab):
    primary, standby = empty_standby(lab)
    watch = Watch(lab)
    since = now()
    order = begin_clone(standby)
    kill_pids([primary.postmaster()])
    order.communicate(timeout=120)
    clone_again(lab, standby)
    after, _ = watch.settle(0, since, 120)
    assert after is primary


def test_killed_standby_comes_back(lab):
    primary, standby = lab.wait_whole()
    watch = Watch(lab)
    since = now()
    for _ in range(3):
        kill_pids([standby.postmaster()])
        wait_for("the standby to stream again", standby.streams, 30)
    after, _ = watch.settle(0, since)
    assert after is primary
    assert watch.client.outage(since) < 1


def test_server_killed_while_it_rejoins_is_not_copied_anew(lab):
    primary, standby = lab.wait_whole()
    watch = Watch(lab)
    journal = Journal(standby)
    since = now()
    kill_pids([standby.postmaster()])
    journal.wait("agent: found the server")
    kill_pids([standby.postmaster()])
    wait_for("the standby to stream again", standby.streams, 30)
    after, _ = watch.settle(0, since)
    assert after is primary
    print("    started once more: %s" % ("starting it once more" in journal.text()))
    assert "agent: copying" not in journal.text(), "the whole database was copied for one kill"


def test_machine_stands_still(lab):
    """Every process stops for a while and goes on. What writes over the address is fenced by the
    kernel; what is connected locally is closed as soon as the hands run again."""
    primary, standby = lab.wait_whole()
    watch = Watch(lab)
    since = now()
    supervisor = primary.supervisor.pid
    pids = [p for p in primary.pids() if p != supervisor]
    kill_pids(pids, signal.SIGSTOP)
    try:
        wait_for("a write on the other node", lambda: watch.writes(standby) > since, 20)
        time.sleep(2)
        assert not primary.has_address(), "the kernel kept the address"
    finally:
        resumed = now()
        kill_pids(pids, signal.SIGCONT)
    lab.wait_whole()
    late = [t for _, t in watch.local[primary].acks() if t > resumed]
    print("    %d writes on the old primary after it went on, for %.0f ms" % (
        len(late), (max(late) - resumed) * 1000 if late else 0))
    assert not late or max(late) - resumed < 0.1, "the old primary was open for too long"
    primary_again, _ = lab.wait_whole()
    assert primary_again is standby
    watch.stop()


# Switchovers that are disturbed.


def disturbed_switchover(lab, fault, moves_max=3, recover=None):
    primary, standby = fit_pair(lab)
    watch = Watch(lab)
    since = now()
    journal = Journal(primary)
    order = in_background(lab.witness, "switchover", SERVICE, "--to", standby.name)
    journal.wait("master -> switching")
    time.sleep(random.uniform(0, 0.15))
    fault(primary, standby)
    if recover:
        recover(primary, standby)
    text, _ = order.communicate(timeout=100)
    after = watch.settle(moves_max, since, 120)
    print("    failoverctl: status %d, %s" % (order.returncode, text.strip().split("\n")[-1]))
    return (watch, primary, standby, *after)


def test_target_dies_in_a_switchover(lab):
    """The old master serves again, with all that it had acknowledged."""

    def recover(primary, standby):
        wait_for("somebody to be master again", lambda: lab.master() == primary.name, 40)
        standby.boot()

    watch, primary, _, after, _ = disturbed_switchover(
        lab, lambda p, s: s.die(), recover=recover)
    assert after is primary
    watch.nothing_missing()


def test_targets_postmaster_dies_in_a_switchover(lab):
    watch, *_ = disturbed_switchover(lab, lambda p, s: kill_pids([s.postmaster()]))
    watch.nothing_missing()


def test_holders_engine_dies_in_a_switchover(lab):
    watch, *_ = disturbed_switchover(lab, lambda p, s: kill_pids(p.processes("engine")))
    watch.nothing_missing()


def test_holders_executor_dies_in_a_switchover(lab):
    watch, *_ = disturbed_switchover(lab, lambda p, s: kill_pids(p.processes("executor")))
    watch.nothing_missing()


def test_holders_agent_dies_in_a_switchover(lab):
    watch, *_ = disturbed_switchover(lab, lambda p, s: kill_pids(p.processes("agent")))
    watch.nothing_missing()


def test_holder_dies_in_a_switchover(lab):

    def recover(primary, standby):
        time.sleep(6)
        primary.boot()

    disturbed_switchover(lab, lambda p, s: p.die(), recover=recover)


def sessions(lab, node, statements):
    """Clients on @node's socket that keep their statements' transactions open."""
    found = []
    for statement in statements:
        found.append(subprocess.Popen(
            ["psql", "-XAtq", "-h", node.socket_dir, "-p", str(PORT), "-U", "app", "-d", "postgres"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True))
        found[-1].stdin.write(statement + "\n")
        found[-1].stdin.flush()
    wait_for("the sessions to be there", lambda: int(node.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE xact_start IS NOT NULL AND usename = 'app'"))
        >= len(statements), 20)
    return found


def end_sessions(found):
    for process in found:
        process.kill()
        process.stdin.close()
        process.wait()


BUSY = (["BEGIN; INSERT INTO ledger (n) VALUES (%d);" % n for n in range(-20, 0)] +
        ["BEGIN; SELECT pg_sleep(600);"] * 5 +
        ["BEGIN; SELECT count(*) FROM generate_series(1, 1000000000) n;"])


def test_switchover_with_long_transactions(lab):
    primary, standby = fit_pair(lab)
    watch = Watch(lab)
    found = sessions(lab, primary, BUSY)
    try:
        since = now()
        lab.witness.ctl("switchover", SERVICE, "--to", standby.name)
        after, _ = watch.settle(1, since)
    finally:
        end_sessions(found)
    assert after is standby
    assert watch.client.outage(since) < 3, "open transactions held the switchover up"
    watch.nothing_missing()


def test_cut_off_primary_with_long_transactions(lab):
    """Whoever holds a transaction open does not delay the letting go."""
    primary, standby = lab.wait_whole()
    watch = Watch(lab)
    found = sessions(lab, primary, BUSY)
    try:
        since = now()
        primary.isolate()
        wait_for("a write on the other node", lambda: watch.writes(standby) > since, 20)
        first = min(t for _, t in watch.local[standby].acks() if t > since)
        last = watch.writes(primary)
        assert last < first, "both accepted writes for %.0f ms" % ((last - first) * 1000)
    finally:
        end_sessions(found)
        primary.heal()
    watch.settle(1, since)


def test_switchover_is_refused_when_the_standby_does_not_stream(lab):
    primary, standby = lab.wait_whole()
    firewall(standby, "output tcp dport %d drop" % PORT)
    try:
        kill_pids([int(p) for p in standby.sql("SELECT pid FROM pg_stat_wal_receiver").split()],
                  signal.SIGTERM)
        wait_for("the standby to be without a stream", lambda: not standby.streams(), 20)
        wait_for("the primary to know it", lambda: reported(primary, standby).get("streaming") is False, 20)
        status, text = exit_of(lab.witness, "switchover", SERVICE, "--to", standby.name)
        assert status == 4 and ("stream" in text or "behind" in text), "%d: %s" % (status, text)
        assert lab.master() == primary.name
    finally:
        firewall(standby)
    after, _ = lab.wait_whole()
    assert after is primary


# Networks that are neither up nor down.


def half_cut(lab, hook):
    primary, standby = lab.wait_whole()
    watch = Watch(lab)
    since = now()
    firewall(primary, '%s %s "eth0" drop' % (hook, "iifname" if hook == "input" else "oifname"))
    try:
        wait_for("a write on the other node", lambda: watch.writes(standby) > since, 20)
        time.sleep(3)
    finally:
        firewall(primary)
    after, _ = watch.settle(1, since)
    assert after is standby


def test_primary_that_cannot_receive(lab):
    half_cut(lab, "input")


def test_primary_that_cannot_send(lab):
    half_cut(lab, "output")


def test_primary_cut_from_the_witness_moves_nothing(lab):
    primary, _ = lab.wait_whole()
    watch = Watch(lab)
    since = now()
    cut(primary, lab.witness)
    try:
        time.sleep(8)
    finally:
        firewall(primary)
    watch.settle(2, since)
    assert watch.client.outage(since) < 8, "two members that agree did not find a master"


def test_primary_cut_from_the_standby(lab):
    """Both reach the witness: somebody serves, nobody changes again and again."""
    primary, standby = lab.wait_whole()
    watch = Watch(lab)
    since = now()
    cut(primary, standby)
    try:
        time.sleep(12)
        assert watch.client.last_ack() > now() - 2, "nobody serves though the witness reaches both"
    finally:
        firewall(primary)
    watch.settle(2, since)


def test_leader_that_is_not_master_is_cut_off(lab):
    primary, standby = lab.wait_whole()
    for _ in range(20):
        first = leader(lab)
        if first is not None and first is not primary:
            break
        kill_pids(primary.processes("engine"))
        wait_for("a leader", lambda: leader(lab), 10)
    assert first is not primary, "the master stays the leader"
    watch = Watch(lab)
    since = now()
    first.isolate()
    try:
        time.sleep(5)
    finally:
        first.heal()
    after, _ = watch.settle(0, since)
    assert after is primary
    assert watch.client.outage(since) < 1, "the service stopped though a quorum was there"


def test_all_engines_die_at_once(lab):
    """The lease lives in the log: nothing moves."""
    primary, _ = lab.wait_whole()
    watch = Watch(lab)
    since = now()
    kill_pids([p for n in lab.nodes.values() for p in n.processes("engine")])
    time.sleep(5)
    after, _ = watch.settle(0, since)
    assert after is primary
    assert watch.client.outage(since) < 1


def test_all_executors_die_at_once(lab):
    primary, _ = lab.wait_whole()
    watch = Watch(lab)
    since = now()
    kill_pids([p for n in lab.nodes.values() for p in n.processes("executor")])
    time.sleep(5)
    after, _ = watch.settle(0, since)
    assert after is primary
    assert watch.client.outage(since) < 1


def test_link_flaps_for_less_than_the_lease(lab):
    primary, _ = lab.wait_whole()
    watch = Watch(lab)
    since = now()
    for _ in range(3):
        run("ip", "-n", primary.namespace, "link", "set", "eth0", "down")
        time.sleep(0.7)
        run("ip", "-n", primary.namespace, "link", "set", "eth0", "up")
        time.sleep(3)
    after, _ = watch.settle(0, since)
    assert after is primary, "mastership moved though the lease did not demand it"


def test_loss_of_packets(lab):
    """A third of the holder's packets is lost for 30 s: what moves may move, but never two write."""
    watch = Watch(lab)
    primary, _ = lab.wait_whole()
    since = now()
    firewall(primary, "output numgen random mod 100 < 30 drop", "input numgen random mod 100 < 30 drop")
    try:
        time.sleep(30)
    finally:
        firewall(primary)
    watch.settle(8, since, 120)


ARP_THIEF = r"""
import socket, struct, sys
interface, address = sys.argv[1:]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((interface, 0x0806))
mac, ip = s.getsockname()[4], socket.inet_aton(address)
for operation in (1, 2):
    s.send(b"\xff" * 6 + mac + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, operation) +
           mac + ip + b"\x00" * 6 + ip)
"""


def test_foreign_machine_takes_the_address_and_gives_it_back(lab):
    primary, _ = lab.wait_whole()
    watch = Watch(lab)
    since = now()
    thief = lab.witness
    run("ip", "-n", thief.namespace, "addr", "add", VIP + "/32", "dev", "eth0")
    try:
        run(*thief.inside(sys.executable, "-c", ARP_THIEF, "eth0", VIP))
        time.sleep(2)
    finally:
        run("ip", "-n", thief.namespace, "addr", "del", VIP + "/32", "dev", "eth0")
    given_back = now()
    wait_for("the client to find the address again", lambda: watch.client.last_ack() > given_back, 65)
    print("    found again after %.1f s" % (watch.client.outage(since)))
    after, _ = watch.settle(0, since)
    assert after is primary


# Disks.


class SmallDisk:
    """A standby's data directory on a file system that can be filled."""

    def __init__(self, node):
        self.node = node
        self.lib = os.path.join(node.dir, "lib")

    def _rest(self):
        """An agent that still kept its deadline would know its successor by a lock in there."""
        self.node.stop()
        wait_for("the agent to end", lambda: not self.node.processes("agent"), 20)

    def __enter__(self):
        self._rest()
        os.rename(self.lib, self.lib + ".real")
        os.makedirs(self.lib)
        used = int(run("du", "-sm", self.lib + ".real").split()[0])
        run("mount", "-t", "tmpfs", "-o", "size=%dm,mode=755" % (used + 24), "none", self.lib)
        run("cp", "-a", self.lib + ".real/.", self.lib)
        self.node.start()
        return self

    def fill(self):
        with open(os.path.join(self.lib, "ballast"), "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass  # full

    def empty(self):
        os.unlink(os.path.join(self.lib, "ballast"))

    def __exit__(self, *what):
        self._rest()
        shutil.rmtree(self.lib + ".real")
        run("cp", "-a", self.lib, self.lib + ".real")
        run("umount", self.lib)
        os.rmdir(self.lib)
        os.rename(self.lib + ".real", self.lib)
        ballast = os.path.join(self.lib, "ballast")
        if os.path.exists(ballast):
            os.unlink(ballast)
        self.node.start()


KEYS = r"""
import sys, urllib.error, urllib.parse, urllib.request
data = urllib.parse.urlencode({"value": "x" * 200000}).encode()
for n in range(100):
    url = "http://%s/v2/keys/ballast" % sys.argv[1]
    try:
        urllib.request.urlopen(urllib.request.Request(url, data, method="PUT"), timeout=5).read()
    except (OSError, urllib.error.URLError) as error:
        print(error)
"""


def use_up_log(lab, node, journal):
    """Writes keys until the log of @node has no room for what it must promise."""
    other = next(n for n in lab.nodes.values() if n is not node)
    writer = subprocess.Popen(["ip", "netns", "exec", lab.client, sys.executable, "-c", KEYS,
                               "%s:%d" % (other.address, API_PORT)])
    try:
        journal.wait("the engine has ended", limit=60)
    finally:
        writer.kill()
        writer.wait()


def full_disk(lab, node, holder, moves_max):
    with SmallDisk(node) as disk:
        lab.wait_whole()
        if holder:
            switch_to(lab, node)
        watch = Watch(lab)
        journal = Journal(node)
        since = now()
        disk.fill()
        try:
            use_up_log(lab, node, journal)
            time.sleep(8)
            said = [line for line in journal.text().split("\n") if "No space" in line]
            print("    %d complaints, the first: %s" % (len(said), said[0][:200]))
            assert len(said) < 200
            assert watch.client.last_ack() > now() - 1, "the service stopped"
        finally:
            disk.empty()
        watch.settle(moves_max, since)
    lab.wait_whole()


def test_full_disk_of_a_follower(lab):
    _, standby = lab.wait_whole()
    full_disk(lab, standby, False, 0)


def test_full_disk_of_the_holder(lab):
    _, standby = lab.wait_whole()
    full_disk(lab, standby, True, 2)


def test_full_disk_of_who_must_take_over(lab):
    """It cannot keep the new epoch, so it does nothing under it, and tries again."""
    _, standby = lab.wait_whole()
    with SmallDisk(standby) as disk:
        primary, _ = lab.wait_whole()
        watch = Watch(lab)
        journal = Journal(standby)
        since = now()
        disk.fill()
        try:
            kill_pids([primary.postmaster()])
            journal.wait("cannot keep the epoch", limit=20)
            time.sleep(5)
        finally:
            disk.empty()
        watch.settle(9, since)
    lab.wait_whole()


def test_full_disk_of_who_must_rejoin(lab):
    _, standby = lab.wait_whole()
    with SmallDisk(standby) as disk:
        switch_to(lab, standby)
        watch = Watch(lab)
        journal = Journal(standby)
        since = now()
        disk.fill()
        try:
            kill_pids([standby.postmaster()])
            journal.wait("cannot keep the epoch", limit=20)
            time.sleep(5)
        finally:
            disk.empty()
        watch.settle(2, since)
    lab.wait_whole()


def segments(node):
    folder = os.path.join(node.dir, "lib", "raft")
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.startswith("wal")]


def test_damaged_log_is_refused_with_its_place(lab):
    """And the rest of the cluster goes on; with the byte as it was the member takes part again."""
    primary, standby = lab.wait_whole()
    watch = Watch(lab)
    since = now()
    standby.stop()
    path = segments(standby)[0]
    offset = 4096 + 100
    with open(path, "r+b") as file:
        file.seek(offset)
        before = file.read(1)
        file.seek(offset)
        file.write(bytes([before[0] ^ 0x40]))
    journal = Journal(standby)
    standby.start()
    try:
        journal.wait("the log is damaged", limit=10)
        time.sleep(3)
        assert os.path.basename(path) in journal.text(), "the complaint does not name the file"
        assert lab.master() == primary.name
        assert watch.client.last_ack() > now() - 1
    finally:
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(before)
    said = [line for line in journal.text().split("\n") if "damaged" in line]
    print("    " + said[0][:300])
    assert len(said) < 100, "%d complaints in a few seconds" % len(said)
    after, _ = watch.settle(0, since)
    assert after is primary
    assert watch.client.outage(since) < 1, "the service stopped though nothing of it was touched"


def test_lost_log_is_replaced_as_the_manual_says(lab):
    primary, standby = lab.wait_whole()
    watch = Watch(lab, patience_msec=5000)
    since = now()
    standby.stop()
    shutil.move(os.path.join(standby.dir, "lib", "raft"), os.path.join(standby.dir, "raft.lost"))
    journal = Journal(primary)
    standby.start()
    journal.wait("has another data directory than before", limit=20)
    for node in (lab.witness, primary):
        node.stop()
        node.start()
        wait_for("a leader", lambda: leader(lab), 20)
        time.sleep(2)
    shutil.rmtree(os.path.join(standby.dir, "raft.lost"))
    after, _ = watch.settle(0, since)
    assert after is primary


def test_data_directory_of_another_cluster_is_refused(lab):
    primary, standby = lab.wait_whole()
    standby.stop()
    with open(standby.conf, encoding="ascii") as file:
        before = file.read()
    with open(standby.conf, "w", encoding="ascii") as file:
        file.write(before.replace('cluster "lab"', 'cluster "strange"'))
    journal = Journal(standby)
    standby.start()
    try:
        journal.wait("another cluster", "belongs to", limit=10)
        assert lab.master() == primary.name
    finally:
        standby.stop()
        with open(standby.conf, "w", encoding="ascii") as file:
            file.write(before)
        standby.start()
    after, _ = lab.wait_whole()
    assert after is primary


# Clients.


RUDE = r"""
import os, socket, sys, time
address, ports = sys.argv[1], [int(p) for p in sys.argv[2:]]
kept = []
for port in ports:
    for n in range(100):
        s = socket.create_connection((address, port), 2)
        kept.append(s)
        if n % 4 == 1:
            try:
                s.send(os.urandom(5000))
            except OSError:
                pass
        elif n % 4 == 2:
            s.send(b"GET / HTTP/1.1\r\nX: " )
print("there", flush=True)
time.sleep(600)
"""


def test_rude_clients(lab):
    """A hundred silent connections and garbage on each port of each member."""
    primary, _ = lab.wait_whole()
    watch = Watch(lab)
    since = now()
    crowd = []
    try:
        for node in lab.nodes.values():
            crowd.append(subprocess.Popen(
                ["ip", "netns", "exec", lab.client, sys.executable, "-c", RUDE, node.address,
                 str(API_PORT), str(RAFT_PORT)], stdout=subprocess.PIPE, text=True))
        time.sleep(5)
        assert lab.master() == primary.name
        status, text = exit_of(primary, "status")
        assert status == 0, text
        for node in lab.nodes.values():  # members find one another again beside the crowd
            kill_pids(node.processes("engine"))
            time.sleep(1)
            wait_for("a leader", lambda: leader(lab), 10)
        assert all(n.processes("engine") for n in lab.nodes.values())
    finally:
        for process in crowd:
            process.kill()
            process.stdout.close()
            process.wait()
    after, _ = watch.settle(0, since)
    assert after is primary


def test_pause_keeps_everything_as_it_is(lab):
    primary, standby = lab.wait_whole()
    since = now()
    watch = Watch(lab)
    lab.witness.ctl("pause", SERVICE)
    try:
        kill_pids([primary.postmaster()])
        time.sleep(6)
        assert not standby.is_primary(), "a pause did not keep the standby"
        status, text = exit_of(standby, "status")
        assert "paused" in text, text
    finally:
        lab.witness.ctl("resume", SERVICE)
    watch.settle(1, since)


def test_exit_codes(lab):
    """As the operator's manual promises them, from each node."""
    primary, standby = lab.wait_whole()
    for node in lab.nodes.values():
        wait_for("%s to find all well" % node.name, lambda n=node: exit_of(n, "status")[0] == 0, 20, 0.2)
    wrong = []

    def expect(node, codes, *words):
        status, text = exit_of(node, *words)
        if status not in codes or "Traceback" in text:
            wrong.append("%s on %s: %d: %s" % (" ".join(words), node.name, status, text.strip()))

    for node in lab.nodes.values():
        expect(node, (0,), "who-is-master", SERVICE)
        expect(node, (0,), "status")
        expect(node, (0,), "history", SERVICE)
        expect(node, (0, 1), "why-not", SERVICE)
        expect(node, (2,), "who-is-master", "nonsense")
        expect(node, (2,), "nonsense")
        expect(node, (2,), "switchover")
        expect(node, (2,), "switchover", SERVICE, "--to", "nobody")
        expect(node, (4,), "switchover", SERVICE, "--to", primary.name)
        expect(node, (4,), "failover", SERVICE, "--to", standby.name)
        expect(node, (0,), "config", "check")
    expect(primary, (4,), "bootstrap", SERVICE, "--initdb")
    expect(primary, (4, 2, 1), "clone", SERVICE)
    expect(standby, (4,), "bootstrap", SERVICE, "--initdb")
    lab.witness.isolate()
    try:
        wait_for("no quorum on the witness",
                 lambda: exit_of(lab.witness, "who-is-master", SERVICE)[0] != 0, 10)
        expect(lab.witness, (3,), "who-is-master", SERVICE)
        expect(lab.witness, (3,), "set", "/x", "y")
        expect(lab.witness, (3,), "switchover", SERVICE)
        expect(primary, (0,), "who-is-master", SERVICE)
    finally:
        lab.witness.heal()
    wait_for("the witness to know again",
             lambda: exit_of(lab.witness, "who-is-master", SERVICE)[0] == 0, 10)
    after, _ = lab.wait_whole()
    assert after is primary, "questions moved the master"
    assert not wrong, "\n" + "\n".join(wrong)


def test_orders_of_another_user(lab):
    """Whoever has an account may ask; what he may not do is said plainly."""
    primary, _ = lab.wait_whole()
    words = primary.inside("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                           os.path.join(lab.libexec, "failoverctl"), "-c", primary.conf)
    shutil.copy(os.path.join(lab.build, "failoverctl"), lab.libexec)
    for ask in (["status"], ["who-is-master", SERVICE], ["history", SERVICE]):
        text = run(*words, *ask)
        assert text, ask


# A database that was there before.


def test_adopts_a_running_database():
    """A server that is there and serves is taken over without a restart, and a copy made of it."""
    with Lab(build=OPTIONS.build, profile=OPTIONS.profile) as lab:
        node = lab.db1
        server = node.inside("setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups")
        run(*server, os.path.join(lab.bin, "initdb"), "-D", node.data_dir, "-A", "trust")
        with open(os.path.join(node.data_dir, "postgresql.conf"), "a", encoding="ascii") as file:
            file.write("unix_socket_directories = '%s'\nlisten_addresses = '*'\nwal_log_hints = on\n"
                       "hot_standby = on\nport = %d\n" % (node.socket_dir, PORT))
        run(*server, os.path.join(lab.bin, "pg_ctl"), "-D", node.data_dir, "-w", "-l",
            os.path.join(node.dir, "pg", "log"), "start")
        node.sql("CREATE TABLE ledger (n bigint PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())")
        node.sql("INSERT INTO ledger VALUES (1)")
        node.sql("CREATE ROLE app LOGIN SUPERUSER")
        before = node.postmaster()
        lab.start()
        time.sleep(3)
        assert node.postmaster() == before, "the database was touched before anybody asked for it"
        status, text = exit_of(node, "bootstrap", SERVICE, "--adopt")
        if status != 0:
            print("    " + text.strip())
            assert "restart" in text, text
            run(*server, os.path.join(lab.bin, "pg_ctl"), "-D", node.data_dir, "-w", "-l",
                os.path.join(node.dir, "pg", "log"), "-m", "fast", "restart")
            before = node.postmaster()
            node.ctl("bootstrap", SERVICE, "--adopt")
        wait_for("a primary", node.is_primary, 20)
        assert node.postmaster() == before, "the adopted server was restarted"
        lab.db2.ctl("clone", SERVICE)
        lab.allow_clients()
        lab.wait_whole()
        watch = Watch(lab)
        since = now()
        kill_pids([node.postmaster()])
        wait_for("the copy to be master", lambda: watch.writes(lab.db2) > since, 20)
        watch.settle(1, since)
        assert lab.db2.sql("SELECT count(*) FROM ledger WHERE n = 1") == "1"


# Long ones.


def resident(node):
    total = 0
    for role in ("executor", "engine", "agent"):
        for pid in node.processes(role):
            with open("/proc/%d/status" % pid, encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    return total


def files_of(node):
    total = 0
    for folder, _, names in os.walk(os.path.join(node.dir, "lib")):
        total += sum(os.path.getsize(os.path.join(folder, n)) for n in names)
    return total


def test_twenty_failovers(lab):
    lab.wait_whole()
    before = {n: resident(n) for n in lab.nodes.values()}
    worst = 0
    for _ in range(20):
        primary, standby = fit_pair(lab)
        watch = Watch(lab)
        since = now()
        kill_pids([primary.postmaster()])
        wait_for("the other to write", lambda: watch.writes(standby) > since, 20)
        after, _ = watch.settle(1, since)
        assert after is standby, "nothing moved"
        worst = max(worst, watch.client.outage(since))
    for node in lab.databases():
        slots = node.sql("SELECT count(*) FROM pg_replication_slots")
        wal = run("du", "-sm", os.path.join(node.data_dir, "pg_wal")).split()[0]
        print("    %s: %s slots, %s MB of WAL, %d descriptors in the engine, worst outage %.0f ms" % (
            node.name, slots, wal, len(os.listdir("/proc/%d/fd" % node.processes("engine")[0])),
            worst * 1000))
        assert int(slots) <= 2, "slots pile up"
        assert int(wal) < 1500, "WAL piles up"
    for node, kilobytes in before.items():
        grown = resident(node) - kilobytes
        print("    %s: %d kB resident, grown by %d kB, %d kB of files" % (
            node.name, kilobytes + grown, grown, files_of(node) // 1024))
        assert grown < 10000, "%s has grown by %d kB" % (node.name, grown)


TESTS = {name[5:]: function for name, function in list(globals().items()) if name.startswith("test_")}

QUICK = ["postmaster_dies_while_it_is_promoted", "executor_dies_while_its_node_is_promoted",
         "targets_postmaster_dies_in_a_switchover", "holders_engine_dies_in_a_switchover",
         "cut_off_primary_with_long_transactions", "all_engines_die_at_once",
         "primary_that_cannot_send", "damaged_log_is_refused_with_its_place", "exit_codes"]


OPTIONS = argparse.Namespace()


def attempt(lab, name):
    began = now()
    try:
        if inspect.signature(TESTS[name]).parameters:
            TESTS[name](lab)
        else:
            TESTS[name]()
        print("ok   %-60s %5.1f s" % (name, now() - began), flush=True)
        return True
    except Exception:  # a failure of one test is told, and the next one runs
        print("FAIL %s" % name)
        print(inspect.getdoc(TESTS[name]) or "")
        traceback.print_exc(file=sys.stdout)
        lab.keep_logs()
        sys.stdout.flush()
        return False


def clean_up(lab):
    for follower in list(lab.followers):
        follower.stop()
    lab.followers.clear()
    for node in lab.nodes.values():
        node.heal()
        firewall(node)
        if not node.supervisor:
            node.boot()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--profile", default="lan")
    parser.add_argument("--quick", action="store_true", help="only those that belong to make check")
    parser.add_argument("tests", nargs="*", choices=[[], *TESTS], metavar="TEST",
                        help="one of: " + ", ".join(TESTS))
    options = parser.parse_args(namespace=OPTIONS)
    results = []
    with Lab(build=options.build, profile=options.profile) as lab:
        lab.start()
        lab.make_pair()
        lab.wait_whole()
        for name in options.tests or (QUICK if options.quick else list(TESTS)):
            results.append(attempt(lab, name))
            if not results[-1]:
                clean_up(lab)
    print("%d passed, %d failed" % (results.count(True), results.count(False)))
    return 0 if all(results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AssertionError as error:
        print("%s\n0 passed, 1 failed" % error)
        sys.exit(1)
