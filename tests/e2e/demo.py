#!/usr/bin/env python3
"""The main job, live: three machines as network namespaces, a real PostgreSQL pair, a client that
writes through the service's address all the time, and what can go wrong. Prints what happened when,
and why, the outage that the client saw, and which acknowledged writes are missing. Exits with 0 if
all went as promised."""

import argparse
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab as laboratory  # noqa: E402
from lab import SERVICE, Lab, now, wait_for  # noqa: E402

failures = []


def say(text=""):
    print(text, flush=True)


def headline(text):
    say()
    say("\033[1m%s\033[0m" % text if sys.stdout.isatty() else "== %s" % text)


# What a reader of the timeline can do without: the small steps between those that count.
DULL = ("pre-vote", "pre-candidate", "candidate in term", "follower in term", "votes in term", " begins",
        "asking again", "held", "released", "addresses are", "-> candidate", "candidate ->", "-> standby",
        "has caught up", "connected to", "lost the connection", "address_", "found the server", "kept ")


def print_timeline(lab, since_wall):
    seen = set()
    for at, name, text in laboratory.timeline(lab.nodes.values(), since_wall):
        words = re.sub(r"(service|epoch|role)=\S+ ", "", text.split("] ", 1)[-1])
        words = re.sub(r" \(\d+\.\d ms\)$", "", words)
        if any(dull in words for dull in DULL) or words in seen:
            continue
        seen.add(words)
        say("  %6.0f ms  %-8s %s" % ((at - since_wall) * 1000, name, words))


def settled(lab, writer, since):
    """The cluster is whole again and the client has written for a while behind the fault."""
    primary, standby = lab.wait_whole()
    wait_for("the client to write again", lambda: writer.last_ack() > now() - 0.5, 20)
    return primary, standby


def act(lab, writer, title, why, fault, recover=None, limit=None):
    headline(title)
    say("  " + why)
    time.sleep(0.5)
    before = lab.master()
    since, since_wall = now(), time.time()
    fault()
    wait_for("another master than %s" % before,
             lambda: writer.last_ack() > since + 0.01 and lab.master() not in (None, before), 40)
    if recover:
        recover()
    primary, _ = settled(lab, writer, since)
    outage = writer.outage(since)
    print_timeline(lab, since_wall)
    verdict = "" if limit is None or outage <= limit else "  MORE than the promised %.1f s" % limit
    say("  master: %s -> %s; the client was without an acknowledged write for %.0f ms%s" %
        (before, primary.name, outage * 1000, verdict))
    if verdict:
        failures.append("%s: %.3f s" % (title, outage))
    return outage


def show(lab, writer):
    outages = []

    def master_node():
        return lab.nodes[lab.master()]

    def kill_postmaster():
        laboratory.kill_pids([master_node().postmaster()])

    outages.append(("postmaster killed", act(
        lab, writer, "1. The primary's postmaster is killed (SIGKILL)",
        "Its machine lives: the agent sees the death at once, and the lease is given back.",
        kill_postmaster, limit=2.0)))

    dead = []

    def kill_node():
        dead.append(master_node())
        dead[0].die()

    outages.append(("node killed", act(
        lab, writer, "2. The whole machine of the primary dies",
        "Nobody gives its lease back: a quorum of clocks must find that it ran out (TTL 3 s).",
        kill_node, recover=lambda: dead[0].boot(), limit=5.0)))

    cut = []

    def isolate():
        cut.append(master_node())
        cut[0].isolate()

    outages.append(("node isolated", act(
        lab, writer, "3. The primary is cut off from the network",
        "It lives, cannot renew, and lets go by itself before anybody else may begin.",
        isolate, recover=lambda: cut[0].heal(), limit=5.0)))

    outages.append(("switchover", act(
        lab, writer, "4. An operator moves the service: failoverctl switchover",
        "Planned: the old primary closes cleanly, and the other has everything before it begins.",
        lambda: say("  " + lab.witness.ctl("switchover", SERVICE).strip().replace("\n", "\n  ")),
        limit=3.0)))
    return outages


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    options = parser.parse_args()
    began = now()
    headline("Three machines: db1 and db2 with PostgreSQL, and a small witness")
    with Lab(build=options.build) as lab:
        lab.start()
        say("  a leader is elected; making the primary on db1 (initdb), and a copy of it on db2")
        lab.make_pair()
        lab.wait_whole()
        say()
        say(lab.db1.ctl("status").rstrip())
        say()
        say("  failoverctl who-is-master %s: %s" % (SERVICE, lab.witness.ctl("who-is-master", SERVICE).strip()))
        writer = lab.write_by_address()
        wait_for("the client's first write", lambda: writer.last_ack() > 0, 20)
        outages = show(lab, writer)
        writer.stop()
        acks = writer.acks()
        missing = lab.missing(acks)
        headline("What the client saw")
        for name, outage in outages:
            say("  %-20s %6.0f ms without an acknowledged write" % (name, outage * 1000))
        say("  %d writes were acknowledged, %d of them are missing now (replication is asynchronous)" %
            (len(acks), len(missing)))
        say()
        say(lab.db1.ctl("history", SERVICE).rstrip())
    say()
    say("%.0f s, %s" % (now() - began, "all as promised" if not failures else "NOT as promised:"))
    for failure in failures:
        say("  " + failure)
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AssertionError as error:
        print("the demonstration failed: %s" % error, file=sys.stderr)
        sys.exit(1)
