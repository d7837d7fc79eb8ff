#!/usr/bin/env python3
"""The outage that a client sees, by kind of fault: minimum, median, maximum; and what an idle node
costs. Figures for people: nothing here passes or fails.

    bench.py [--build DIR] [--rounds N] [--profile lan|fast] [KIND...]"""

import argparse
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import SERVICE, Lab, kill_pids, now, wait_for  # noqa: E402

IDLE_SECONDS = 30


def kill_postmaster(lab, primary, standby):
    kill_pids([primary.postmaster()])


def kill_node(lab, primary, standby):
    primary.die()


def switchover(lab, primary, standby):
    lab.witness.ctl("switchover", SERVICE, "--to", standby.name)


KINDS = {"postmaster": kill_postmaster, "node": kill_node, "switchover": switchover}


def measure(lab, kind, number):
    primary, standby = lab.wait_whole()
    writer = lab.write_by_address(number * 10 ** 7 + 1)
    wait_for("the client's first writes", lambda: len(writer.acks()) > 50, 20)
    since = now()
    KINDS[kind](lab, primary, standby)
    wait_for("the other node to be master", lambda: lab.master() == standby.name, 30)
    moved = now()
    wait_for("the client to write again", lambda: writer.last_ack() > moved + 0.3, 30)
    outage = writer.outage(since)
    writer.stop()
    lab.followers.remove(writer)
    if not primary.supervisor:
        primary.boot()
    lab.wait_whole()
    missing = lab.missing(writer.acks())
    return outage, len(missing)


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open("/proc/%d/stat" % pid, encoding="ascii") as file:
            fields = file.read().rsplit(") ", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def resident(pids):
    total = 0
    for pid in pids:
        with open("/proc/%d/status" % pid, encoding="ascii") as file:
            for line in file:
                if line.startswith("VmRSS"):
                    total += int(line.split()[1])
    return total / 1024


def idle(lab):
    lab.wait_whole()
    time.sleep(5)  # what the work before left to do is over
    nodes = {n: n.processes("executor") + n.processes("engine") + n.processes("agent")
             for n in lab.nodes.values()}
    before = {n: cpu_seconds(p) for n, p in nodes.items()}
    began = now()
    time.sleep(IDLE_SECONDS)
    for node, pids in nodes.items():
        share = (cpu_seconds(pids) - before[node]) / (now() - began) * 100
        print("idle %-8s %5.2f %% of one core, %5.1f MiB resident in %d processes" %
              (node.name, share, resident(pids), len(pids)), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--profile", default=None)
    parser.add_argument("kinds", nargs="*", choices=[[], "idle", *KINDS])
    options = parser.parse_args()
    plans = [("lan", ["idle", *KINDS]), ("fast", ["node"])]
    if options.profile:
        plans = [(options.profile, options.kinds or ["idle", *KINDS])]
    number = 100
    for profile, kinds in plans:
        with Lab(build=options.build, profile=profile) as lab:
            lab.start()
            lab.make_pair()
            for kind in kinds:
                if kind == "idle":
                    idle(lab)
                    continue
                outages, missing = [], 0
                for _ in range(options.rounds):
                    number += 1
                    outage, lost = measure(lab, kind, number)
                    outages.append(outage)
                    missing += lost
                print("%-4s %-10s outage of %d: min %4.0f ms, median %4.0f ms, max %4.0f ms; "
                      "%d acknowledged writes missing" %
                      (profile, kind, len(outages), min(outages) * 1000,
                       statistics.median(outages) * 1000, max(outages) * 1000, missing), flush=True)


main()
