#!/usr/bin/python3
"""A real Patroni pair in synchronous mode, whose etcd: section points at three real stores: it
bootstraps, switches over, fails over after kill -9, is left alone when a store dies, and loses
nothing that was acknowledged. Needs root.

patroni.py --build FOLDER [--etcd] [NAME]...
"""

import contextlib
import glob
import http.client
import os
import shutil
import sys
import time

from lab import Writer
from storelab import (API, Machine, ask, check, equal, key, main_of_lab, now, options_of, run, wait_for)

SCOPE = "demo"
REST, PORT = 8008, 5432
BIN = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
TTL, LOOP, RETRY = 12, 2, 5

CONFIGURATION = """scope: %(scope)s
name: %(name)s
restapi:
  listen: %(address)s:8008
  connect_address: %(address)s:8008
etcd:
  hosts: [%(hosts)s]
bootstrap:
  dcs:
    ttl: %(ttl)d
    loop_wait: %(loop)d
    retry_timeout: %(retry)d
    maximum_lag_on_failover: 1048576
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      use_slots: true
      parameters: {shared_buffers: 32MB, max_connections: 40}
  initdb: [encoding: UTF8, data-checksums, auth-local: trust]
  pg_hba:
  - local all all trust
  - host all all 10.79.0.0/24 trust
  - host replication all 10.79.0.0/24 trust
postgresql:
  listen: %(address)s:5432
  connect_address: %(address)s:5432
  data_dir: %(dir)s/pg/data
  bin_dir: %(bin)s
  pgpass: %(dir)s/pg/pgpass
  authentication:
    superuser: {username: postgres, password: secret}
    replication: {username: replicator, password: secret}
    rewind: {username: rewinder, password: secret}
  parameters: {unix_socket_directories: %(dir)s/pg}
watchdog: {mode: "off"}
"""


class Database(Machine):
    """A machine with Patroni, which starts PostgreSQL."""

    def __init__(self, lab, name, number):
        super().__init__(lab, name, number)
        os.mkdir(os.path.join(self.dir, "pg"))
        shutil.chown(os.path.join(self.dir, "pg"), "postgres", "postgres")
        self.conf = os.path.join(self.dir, "patroni.yml")
        with open(self.conf, "w", encoding="ascii") as file:
            file.write(CONFIGURATION % {
                "scope": SCOPE, "name": name, "address": self.address, "dir": self.dir, "bin": BIN, "ttl": TTL,
                "loop": LOOP, "retry": RETRY,
                "hosts": ", ".join('"%s:%d"' % (s.address, API) for s in lab.stores)})

    def start(self):
        self.spawn("setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups",
                   "patroni", self.conf, cwd="/")

    def rest(self, path):
        """Status of the health check; 0 if Patroni does not answer."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return ask(self.address, "GET", path, timeout=3, port=REST)[0]
        return 0

    def state(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            body = ask(self.address, "GET", "/patroni", timeout=3, port=REST)[2]
            return body if isinstance(body, dict) else {}
        return {}

    def ctl(self, *words, timeout=120):
        return run("ip", "netns", "exec", self.name, "patronictl", "-c", self.conf, *words, timeout=timeout)

    def sql(self, statement):
        return run("psql", "-XAtq", "-h", self.address, "-U", "postgres", "-d", "postgres", "-c", statement,
                   env=dict(os.environ, PGPASSWORD="secret", PGCONNECT_TIMEOUT="3")).strip()


def stored(lab, name):
    """What Patroni has in the store, by quorum."""
    for store in lab.stores:
        with contextlib.suppress(OSError, http.client.HTTPException, KeyError, TypeError):
            return key(store.address, "GET", "/service/%s/%s" % (SCOPE, name), query="?quorum=true",
                       timeout=3)[2]["node"]["value"]
    return None


def primaries(lab):
    return [d for d in lab.databases if d.rest("/primary") == 200]


def pair(lab):
    """(primary, standby) if the standby is synchronous and recorded as such."""
    found = primaries(lab)
    if len(found) != 1:
        return None
    primary = found[0]
    standby = [d for d in lab.databases if d is not primary][0]
    if standby.rest("/synchronous") != 200 or stored(lab, "leader") != primary.name:
        return None
    if standby.name not in (stored(lab, "sync") or ""):
        return None
    # What Patroni says of itself may be older than what it has just decided.
    try:
        streams = primary.sql("SELECT sync_state FROM pg_stat_replication WHERE NOT pg_is_in_recovery()")
    except AssertionError:
        return None
    return (primary, standby) if streams == "sync" else None


def whole(lab, limit=60):
    return wait_for("a primary and a synchronous standby", lambda: pair(lab), limit, 0.2)


def outage(lab, since, limit=5):
    """The longest time without an acknowledged write since then, which has ended."""
    wait_for("acknowledged writes", lambda: lab.writer.last_ack() > since + 0.5, limit)
    return lab.writer.outage(since)


def nothing_is_lost(lab):
    primary, standby = whole(lab)
    acknowledged = [n for n, _ in lab.writer.acks()]
    there = {int(n) for n in primary.sql("SELECT n FROM ledger").split()}
    equal([n for n in acknowledged if n not in there][:10], [], "acknowledged and lost")
    equal(len(primaries(lab)), 1, "primaries")
    wait_for("the standby to have it all",
             lambda: int(standby.sql("SELECT count(*) FROM ledger")) >= len(there), 10)
    return len(acknowledged)


def a_pair_bootstraps(lab):
    lab.databases = [lab.add(Database, "pg1", 21), lab.add(Database, "pg2", 22)]
    for database in lab.databases:
        database.start()
    primary, _ = whole(lab)
    primary.sql("CREATE TABLE ledger (n bigint PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())")
    primary.sql("CREATE ROLE app LOGIN SUPERUSER")
    lab.writer = Writer([os.path.join(lab.build, "e2e", "writer"), "-t", "1000",
                         "host=%s user=app dbname=postgres target_session_attrs=read-write connect_timeout=1" %
                         ",".join(d.address for d in lab.databases)])
    wait_for("writes", lambda: len(lab.writer.acks()) > 50, 10)
    output = primary.ctl("list")
    check("Sync Standby" in output and "Leader" in output, output)


def it_switches_over(lab):
    for _ in range(2):
        primary, standby = whole(lab)
        begun = now()
        primary.ctl("switchover", "--leader", primary.name, "--candidate", standby.name, "--force", SCOPE)
        new_primary, _ = whole(lab)
        check(new_primary is standby, "the candidate is primary")
        print("        %.2f s without writes" % outage(lab, begun, 30))
    nothing_is_lost(lab)


def a_dead_primary_is_replaced(lab):
    """The machine dies: Patroni and PostgreSQL at once, by kill -9."""
    for _ in range(2):
        primary, standby = whole(lab)
        primary.kill()
        died = now()
        wait_for("the standby to be primary", lambda: standby.rest("/primary") == 200, TTL + 4 * LOOP + 10, 0.1)
        print("        %.2f s without writes" % outage(lab, died, 30))
        primary.start()
        check(whole(lab)[0] is standby, "the new primary stays")
        nothing_is_lost(lab)


def identity(database):
    """What changes when the database is restarted or promoted."""
    return database.sql("SELECT pg_postmaster_start_time(), timeline_id FROM pg_control_checkpoint()")


def left_alone(lab, disturb, restore, seconds):
    """A fault of a store must not move Patroni, nor stop a write."""
    primary, _ = whole(lab)
    before = identity(primary)
    begun = now()
    disturb()
    while now() - begun < seconds:
        equal(primary.rest("/primary"), 200, "the primary is the primary")
        time.sleep(0.2)
    restore()
    lab.wait_ready()
    equal(whole(lab)[0].name, primary.name)
    equal(identity(primary), before, "started at, timeline")
    longest = outage(lab, begun)
    print("        %.2f s without writes" % longest)
    check(longest < 1.0, "the writer has noticed")


def a_killed_leader_of_the_stores_is_not_noticed(lab):
    for _ in range(3):
        leader = lab.leader()
        left_alone(lab, leader.kill, leader.start, 3 * LOOP)


def a_frozen_leader_of_the_stores_is_not_noticed(lab):
    leader = lab.leader()
    left_alone(lab, leader.freeze, leader.thaw, TTL + LOOP)


def a_cut_off_leader_of_the_stores_is_not_noticed(lab):
    leader = lab.leader()
    left_alone(lab, leader.isolate, leader.heal, TTL + LOOP)


def without_a_majority_it_demotes_and_comes_back(lab):
    primary, _ = whole(lab)
    victims = [lab.leader(), lab.follower()]
    for victim in victims:
        victim.kill()
    wait_for("the primary to demote", lambda: primary.rest("/primary") != 200, TTL + 3 * LOOP + RETRY, 0.2)
    equal(primaries(lab), [])
    for victim in victims:
        victim.start()
    lab.wait_ready()
    print("        all back: %d acknowledged writes are there" % nothing_is_lost(lab))


def a_dead_primary_and_a_dead_leader_of_the_stores_at_once(lab):
    primary, standby = whole(lab)
    leader = lab.leader()
    leader.kill()
    primary.kill()
    died = now()
    wait_for("the standby to be primary", lambda: standby.rest("/primary") == 200, TTL + 4 * LOOP + 10, 0.1)
    print("        %.2f s without writes" % outage(lab, died, 30))
    leader.start()
    primary.start()
    print("        %d acknowledged writes are there" % nothing_is_lost(lab))
    lab.writer.stop()


TESTS = [a_pair_bootstraps, it_switches_over, a_killed_leader_of_the_stores_is_not_noticed,
         a_frozen_leader_of_the_stores_is_not_noticed, a_cut_off_leader_of_the_stores_is_not_noticed,
         a_dead_primary_is_replaced, without_a_majority_it_demotes_and_comes_back,
         a_dead_primary_and_a_dead_leader_of_the_stores_at_once]

if __name__ == "__main__":
    sys.exit(main_of_lab(options_of(__doc__), TESTS, dependent=True))
