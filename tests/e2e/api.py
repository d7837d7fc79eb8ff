#!/usr/bin/python3
"""The HTTP interface and failoverctl against real daemons, in a network namespace of their own.
Needs root.

api.py --build FOLDER [NAME]...
"""
import argparse
import contextlib
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HOST, PORT = "127.0.0.1", 4001
NODE, STRANGER, MASTER_VIP = "10.88.0.1", "10.88.0.2", "10.88.0.100"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Failure(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failure(what)


def equal(found, wanted, what=""):
    if found != wanted:
        raise Failure("%s: found %r, wanted %r" % (what, found, wanted))


def wait_for(what, condition, seconds=10.0):
    begun = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() - begun > seconds:
            raise Failure("waited %s s in vain for %s" % (seconds, what))
        time.sleep(0.01)


class Daemon:
    """One failoverd with its files."""

    def __init__(self, build, configuration, descriptors_max=None):
        self.descriptors_max = descriptors_max
        self.build = os.path.abspath(build)
        self.dir = tempfile.mkdtemp(prefix="failoverd-api-")
        os.chmod(self.dir, 0o755)
        self.conf = os.path.join(self.dir, "failoverd.conf")
        self.log_path = os.path.join(self.dir, "log")
        for name in ("lib", "run"):
            os.mkdir(os.path.join(self.dir, name))
        pathlib.Path(self.conf).write_text(configuration.replace("DIR", self.dir))
        self.process = None

    def start(self):
        command = [os.path.join(self.build, "failoverd"), "-c", self.conf]
        if self.descriptors_max:
            command = ["prlimit", "--nofile=%d" % self.descriptors_max, *command]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for("the API", self.answers)

    def answers(self):
        with contextlib.suppress(OSError):
            return ask("GET", "/version")[0] == 200
        if self.process.poll() is not None:
            raise Failure("the daemon has ended: " + self.log())
        return False

    def engine(self):
        """The engine's process id."""
        pid = self.process.pid
        children = pathlib.Path("/proc/%d/task/%d/children" % (pid, pid)).read_text().split()
        check(len(children) == 1, "the executor has one child")
        return int(children[0])

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.engine()))

    def log(self):
        return pathlib.Path(self.log_path).read_text(errors="replace")

    def ctl(self, *words):
        """Exit status, standard output and standard error of failoverctl."""
        done = subprocess.run([os.path.join(self.build, "failoverctl"), "-c", self.conf, *words],
                              capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout, done.stderr

    def ctl_json(self, *words):
        status, out, _ = self.ctl("-o", "json", *words)
        return status, json.loads(out)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


MEMBER = """node "a" { data_dir = "DIR/lib"  run_dir = "DIR/run"  user = "nobody" }
cluster "t" { member "a" { address = "%s" } }
service "x" { ttl = 2s  vip { address = "%s"  interface = "lo" } }
""" % (NODE, MASTER_VIP)

CUT_OFF = """node "a" { data_dir = "DIR/lib"  run_dir = "DIR/run"  user = "nobody" }
cluster "t" {
  member "a" { address = "%s" }
  member "b" { address = "10.88.0.3" }
  member "w" { address = "10.88.0.4"  role = witness }
}
service "x" { ttl = 2s  vip { address = "%s"  interface = "lo" } }
""" % (NODE, MASTER_VIP)

WITNESS = """node "w" { data_dir = "DIR/lib"  run_dir = "DIR/run"  user = "nobody" }
cluster "t" { member "w" { address = "%s" } }
""" % NODE


def ask(method, path, body=None, headers=None, source=None, host=HOST, timeout=10):
    """Status, headers and body (as JSON if it is) of one request on a connection of its own."""
    connection = http.client.HTTPConnection(host, PORT, timeout=timeout,
                                            source_address=(source, 0) if source else None)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        text = answer.read()
        with contextlib.suppress(ValueError):
            return answer.status, answer.headers, json.loads(text)
        return answer.status, answer.headers, text
    finally:
        connection.close()


def key(method, path, form=None, query="", **options):
    body = urllib.parse.urlencode(form) if form is not None else None
    return ask(method, "/v2/keys" + path + query, body, FORM if form is not None else None, **options)


def raw(data, seconds=5.0, half_close=False):
    """All that the server says to @data until it closes or is silent for a moment."""
    with socket.create_connection((HOST, PORT), timeout=seconds) as s:
        with contextlib.suppress(OSError):
            s.sendall(data)
            if half_close:
                s.shutdown(socket.SHUT_WR)
        answer = b""
        s.settimeout(0.5)
        with contextlib.suppress(OSError):
            while True:
                part = s.recv(65536)
                if not part:
                    break
                answer += part
        return answer


class Watch:
    """A waiting request; the head of the answer has come when it exists."""

    def __init__(self, path):
        self.socket = socket.create_connection((HOST, PORT), timeout=10)
        self.socket.sendall(b"GET /v2/keys%s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = {}
        for line in iter(self.file.readline, b"\r\n"):
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()

    def read(self):
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return json.loads(self.file.read(int(self.headers["content-length"])))
        body = b""
        while True:
            n = int(self.file.readline(), 16)
            chunk = self.file.read(n + 2)[:-2]
            if n == 0:
                return json.loads(body)
            body += chunk

    def close(self):
        self.file.close()
        self.socket.close()


# Keys.

def values_are_set_read_and_deleted(d):
    status, headers, body = key("PUT", "/a", {"value": "1"})
    equal(status, 201)
    equal(body["action"], "set")
    equal(headers["X-Etcd-Index"], str(body["node"]["modifiedIndex"]))
    check("prevNode" not in body, "nothing was there")
    for name in ("X-Etcd-Cluster-Id", "X-Raft-Index", "X-Raft-Term"):
        check(name in headers, name)
    status, _, body = key("PUT", "/a", {"value": "2"})
    equal((status, body["prevNode"]["value"], body["node"]["value"]), (200, "1", "2"))
    equal(key("GET", "/a")[2]["node"]["value"], "2")
    equal(key("GET", "/a", query="?quorum=true")[2]["node"]["value"], "2")
    status, headers, body = key("DELETE", "/a")
    equal((status, body["action"]), (200, "delete"))
    check("value" not in body["node"] and body["prevNode"]["value"] == "2", "the deleted node")
    status, headers, body = key("GET", "/a/b")
    equal((status, body["errorCode"], body["cause"]), (404, 100, "/a"))
    equal(headers["X-Etcd-Index"], str(body["index"]))
    check("X-Raft-Index" not in headers, "no Raft index on an error")


def comparisons_decide_who_writes(d):
    index = key("PUT", "/c", {"value": "1"})[2]["node"]["modifiedIndex"]
    equal(key("PUT", "/c", {"value": "2", "prevExist": "false"})[2]["errorCode"], 105)
    equal(key("PUT", "/none", {"value": "2", "prevExist": "true"})[2]["errorCode"], 100)
    status, _, body = key("PUT", "/c", {"value": "2", "prevValue": "x"})
    equal((status, body["errorCode"], body["cause"]), (412, 101, "[x != 1]"))
    equal(key("PUT", "/c", {"value": "2", "prevIndex": index + 1})[0], 412)
    status, _, body = key("PUT", "/c", {"value": "2", "prevValue": "1", "prevIndex": index})
    equal((status, body["action"]), (200, "compareAndSwap"))
    equal(key("DELETE", "/c", query="?prevValue=1")[0], 412)
    equal(key("DELETE", "/c", query="?prevValue=2")[2]["action"], "compareAndDelete")


def refused_writes_of_many_clients_keep_their_own_causes(d):
    for i in range(16):
        key("PUT", "/many/%d" % i, {"value": "v%d" % i})
    wrong = []

    def client(i):
        for _ in range(30):
            body = key("PUT", "/many/%d" % i, {"value": "x", "prevValue": "w%d" % i})[2]
            if body.get("cause") != "[w%d != v%d]" % (i, i):
                wrong.append(body)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(wrong[:3], [], "causes")


def directories_list_sort_and_hide(d):
    for name in ("/dir/b", "/dir/a", "/dir/sub/x", "/dir/_hidden"):
        key("PUT", name, {"value": name})
    body = key("GET", "/dir", query="?sorted=true")[2]
    equal([n["key"] for n in body["node"]["nodes"]], ["/dir/a", "/dir/b", "/dir/sub"])
    check("nodes" not in body["node"]["nodes"][2], "one level")
    body = key("GET", "/dir/", query="?sorted=true&recursive=true")[2]
    equal(body["node"]["nodes"][2]["nodes"][0]["key"], "/dir/sub/x")
    equal(key("DELETE", "/dir")[2]["errorCode"], 102)
    equal(key("DELETE", "/dir", query="?dir=true")[2]["errorCode"], 108)
    equal(key("DELETE", "/dir", query="?recursive=true")[2]["node"]["dir"], True)
    root = key("GET", "")[2]["node"]
    check(root["dir"] and "key" not in root and "modifiedIndex" not in root, "the root")
    equal(key("PUT", "/d2", {"dir": "true"})[0], 201)
    equal(key("PUT", "/d2", {"dir": "true"})[2]["errorCode"], 102)


def in_order_keys_have_the_index_as_their_name(d):
    first = key("POST", "/queue", {"value": "1"})
    second = key("POST", "/queue", {"value": "2"})
    equal((first[0], first[2]["action"]), (201, "create"))
    equal(second[2]["node"]["key"], "/queue/%020d" % second[2]["node"]["createdIndex"])
    names = [n["key"] for n in key("GET", "/queue", query="?sorted=true")[2]["node"]["nodes"]]
    equal(names, [first[2]["node"]["key"], second[2]["node"]["key"]])


def a_ttl_ends_a_key_and_refresh_prolongs_it(d):
    body = key("PUT", "/t", {"value": "1", "ttl": "1"})[2]
    equal(body["node"]["ttl"], 1)
    check(body["node"]["expiration"].endswith("Z"), "expiration")
    watch = Watch("/t?wait=true")
    body = key("PUT", "/t", {"ttl": "2", "refresh": "true", "prevExist": "true"})[2]
    equal((body["node"]["value"], body["node"]["ttl"]), ("1", 2))
    begun = time.monotonic()
    event = watch.read()
    equal(event["action"], "expire", "a refresh wakes nobody")
    check(1.8 < time.monotonic() - begun < 4, "expired after its TTL")
    watch.close()
    equal(key("GET", "/t")[0], 404)
    body = key("PUT", "/t", {"value": "1", "ttl": "18446744073709551615"})[2]
    check(body["node"]["ttl"] > 10 ** 9, "a huge TTL is a long one")
    body = key("PUT", "/t", {"value": "1", "prevExist": "true"})[2]
    check("ttl" not in body["node"] and "ttl" in body["prevNode"], "an update takes it away")


def a_wait_hears_the_next_change_and_the_connection_lives_on(d):
    key("PUT", "/w/k", {"value": "0"})
    watch = Watch("/w/k?wait=true")
    equal(watch.status, 200)
    check("chunked" in watch.headers["transfer-encoding"], "chunked")
    check("x-etcd-index" in watch.headers, "an index")
    key("PUT", "/w/other", {"value": "x"})
    index = key("PUT", "/w/k", {"value": "1"})[2]["node"]["modifiedIndex"]
    event = watch.read()
    equal((event["node"]["modifiedIndex"], event["prevNode"]["value"]), (index, "0"))
    watch.socket.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
    check(b"200" in watch.file.readline(), "the connection serves the next request")
    watch.close()


def a_wait_of_http_1_0_ends_with_its_connection(d):
    with socket.create_connection((HOST, PORT), timeout=10) as s:
        s.sendall(b"GET /v2/keys/old-client?wait=true HTTP/1.0\r\n\r\n")
        check(b"chunked" not in s.recv(10000), "the head at once, without chunks")
        key("PUT", "/old-client", {"value": "1"})
        body = b"".join(iter(lambda: s.recv(10000), b""))
    equal(json.loads(body)["node"]["value"], "1")


def a_wait_with_an_index_reads_the_history(d):
    first = key("PUT", "/h/a", {"value": "1"})[2]["node"]["modifiedIndex"]
    key("PUT", "/h/b", {"value": "2"})
    body = key("GET", "/h", query="?wait=true&recursive=true&waitIndex=%d" % first)[2]
    equal(body["node"]["key"], "/h/a")
    body = key("GET", "/h", query="?wait=true&recursive=true&waitIndex=%d" % (first + 1))[2]
    equal(body["node"]["key"], "/h/b")
    watch = Watch("/h?wait=true&recursive=true&waitIndex=%d" % (first + 4))
    for i in range(4):
        key("PUT", "/h/c", {"value": str(i)})
    equal(watch.read()["node"]["modifiedIndex"], first + 4)
    watch.close()


def an_index_older_than_the_history_is_401(d):
    first = key("PUT", "/old", {"value": "1"})[2]["node"]["modifiedIndex"]
    connection = http.client.HTTPConnection(HOST, PORT, timeout=10)
    for _ in range(1001):
        connection.request("PUT", "/v2/keys/old2", "value=1", FORM)
        connection.getresponse().read()
    connection.close()
    status, headers, body = key("GET", "/old", query="?wait=true&waitIndex=%d" % first)
    equal((status, body["errorCode"]), (400, 401))
    equal(body["cause"], "the requested history has been cleared [%d/%d]" % (first + 2, first))


def clients_that_hang_up_leave_nothing_behind(d):
    for _ in range(3):
        watches = [Watch("/nobody?wait=true") for _ in range(100)]
        check(d.descriptors() > 100, "they are there")
        for w in watches:
            w.close()
        wait_for("the end of their connections", lambda: d.descriptors() < 60)
    equal(key("PUT", "/nobody", {"value": "1"})[0], 201)


def parameters_are_checked_in_order_before_the_key(d):
    for query, form, code, cause in (
            ("?prevIndex=x", {"ttl": "y"}, 203, 'invalid value for "prevIndex"'),
            ("?recursive=maybe", {}, 209, 'invalid value for "recursive"'),
            ("?wait=true", {}, 209, '"wait" can only be used with GET requests'),
            ("?prevValue=", {}, 201, '"prevValue" cannot be empty'),
            ("", {"ttl": "-1"}, 202, 'invalid value for "ttl"'),
            ("?prevExist=", {}, 209, "invalid value for prevExist"),
            ("", {"refresh": "true", "value": "x", "ttl": "1"}, 211, "A value was provided on a refresh"),
            ("", {"refresh": "true"}, 212, "No TTL value set")):
        status, headers, body = key("PUT", "/p/q", form, query)
        equal((status, body["errorCode"], body["cause"], body["index"]), (400, code, cause, 0), query)
        equal(headers["X-Etcd-Index"], "0")
    equal(key("GET", "/p", query="?x=%zz")[2]["errorCode"], 210)
    equal(key("GET", "/p/q")[0], 404, "nothing was written")


def every_byte_of_a_value_comes_back(d):
    value = "".join(chr(c) for c in range(1, 128)) + "äöü€𝄞" + "\0end"
    equal(key("PUT", "/bytes", {"value": value})[0], 201)
    equal(key("GET", "/bytes")[2]["node"]["value"], value)
    ask("PUT", "/v2/keys/bytes", "value=%ff%fe+x", FORM)
    equal(key("GET", "/bytes")[2]["node"]["value"], "\ufffd\ufffd x")
    ask("PUT", "/v2/keys/sp%20ace/%C3%A4+b", "value=1", FORM)
    equal(key("GET", "/sp%20ace")[2]["node"]["nodes"][0]["key"], "/sp ace/ä+b")


def large_values_pass_and_larger_ones_are_refused(d):
    equal(key("PUT", "/large", {"value": "x" * 1_000_000})[0], 201)
    equal(len(key("GET", "/large")[2]["node"]["value"]), 1_000_000)
    equal(key("PUT", "/large", {"value": "x" * 1_000_001})[2]["errorCode"], 210)
    check(raw(b"PUT /v2/keys/large HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n"
              b"Content-Type: application/x-www-form-urlencoded\r\n\r\nvalue=x").split()[1] == b"413",
          "too long a body is 413")
    key("DELETE", "/large")


def our_own_records_cannot_be_written(d):
    equal(key("PUT", "/_failoverd/paused/x", {"value": "1"})[2]["errorCode"], 110)
    equal(key("DELETE", "/_failoverd", query="?recursive=true")[2]["errorCode"], 110)
    check(all(n["key"] != "/_failoverd" for n in key("GET", "/")[2]["node"].get("nodes", [])), "hidden")


# HTTP.

def methods_that_are_not_known_are_405(d):
    status, headers, _ = ask("PATCH", "/v2/keys/a")
    equal((status, headers["Allow"]), (405, "HEAD,GET,PUT,POST,DELETE"))
    equal(ask("OPTIONS", "/v2/keys/a")[0], 200)
    status, headers, _ = ask("POST", "/version", "")
    equal((status, headers["Allow"]), (405, "GET"))
    equal(ask("GET", "/v2/keysx")[0], 404)
    equal(ask("GET", "/nothing")[0], 404)
    equal(ask("DELETE", "/primary")[0], 405)


def head_has_the_length_of_get_and_no_body(d):
    key("PUT", "/head", {"value": "1"})
    length = len(raw(b"GET /v2/keys/head HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                 .partition(b"\r\n\r\n")[2])
    head, _, body = raw(b"HEAD /v2/keys/head HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                        ).partition(b"\r\n\r\n")
    check(b"content-length: %d" % length in head.lower(), "the length of the GET")
    equal(body, b"")


def bodies_come_in_chunks_and_after_a_hundred(d):
    answer = raw(b"PUT /v2/keys/chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                 b"Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n\r\n"
                 b"6\r\nvalue=\r\n3\r\nabc\r\n0\r\n\r\n")
    check(b'"value":"abc"' in answer, "chunks")
    with socket.create_connection((HOST, PORT), timeout=10) as s:
        s.sendall(b"PUT /v2/keys/chunks HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                  b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\n")
        check(b" 100 " in s.recv(1000), "100 Continue")
        s.sendall(b"value=z")
        check(b'"value":"z"' in s.recv(10000), "then the body")


def requests_in_a_row_are_answered_in_order(d):
    answer = raw(b"".join(b"GET /v2/keys/row%d?quorum=true HTTP/1.1\r\nHost: x\r\n\r\n" % i
                          for i in range(20)))
    causes = [int(part.split(b'"', 1)[0]) for part in answer.split(b'"cause":"/row')[1:]]
    equal(causes, list(range(20)))


def the_body_of_a_get_is_not_the_next_request(d):
    inner = b"DELETE /v2/keys/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    key("PUT", "/smuggled", {"value": "1"})
    raw(b"GET /version HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(inner), inner))
    equal(key("GET", "/smuggled")[0], 200)


def half_closed_clients_get_their_answer(d):
    check(b"200 OK" in raw(b"GET /v2/keys/?quorum=true HTTP/1.1\r\nHost: x\r\n\r\n", half_close=True),
          "an answer")


def garbage_ends_connections_and_not_the_engine(d):
    engine = d.engine()
    chance = random.Random(7)
    pieces = [b"GET ", b"PUT ", b"/v2/keys/a", b"/v1/status", b" HTTP/1.1", b"\r\n", b"\r\n\r\n", b"%zz", b"\0",
              b"Content-Length: 99999999999999999999", b"Content-Length: -1", b"Transfer-Encoding: chunked",
              b"ffffffffffffffff\r\n", b"Host: x", b"?wait=true", b"a=b;c", b"x" * 20000, b"\xff\xfe", b": ",
              b"Expect: 100-continue", b"Content-Type: ;", b"Content-Type: application/x-www-form-urlencoded"]
    for _ in range(400):
        data = b"".join(chance.choice(pieces) for _ in range(chance.randrange(1, 12)))
        with socket.create_connection((HOST, PORT), timeout=5) as s:
            s.settimeout(0.02)
            with contextlib.suppress(OSError):
                s.sendall(data)
                s.recv(1000)
    equal(ask("GET", "/version")[0], 200)
    equal(d.engine(), engine, "the engine")


def a_header_that_never_ends_is_refused(d):
    answer = raw(b"GET /version HTTP/1.1\r\nX: " + b"a" * 40000 + b"\r\n\r\n")
    check(b"200 OK" not in answer, "no answer to too long a header")


# Health and services.

def the_master_is_primary_and_says_its_epoch(d):
    for path in ("/", "/primary", "/master", "/leader", "/read-write", "/read-only", "/health",
                 "/v1/services/x/primary", "/readiness", "/liveness"):
        for method in ("GET", "HEAD", "OPTIONS"):
            status, headers, _ = ask(method, path)
            equal((method, path, status), (method, path, 200))
            check(int(headers["X-Failoverd-Epoch"]) > 0, path)
    status, _, body = ask("GET", "/replica")
    equal((status, body["health"]), (503, "false"))
    check(body["reason"], "a reason")
    equal(ask("GET", "/replica?lag=many")[0], 400)
    equal(ask("GET", "/v1/services/none/primary")[0], 404)
    body = ask("GET", "/cluster")[2]
    equal([(m["name"], m["role"]) for m in body["members"]], [("a", "leader")])
    equal(ask("GET", "/history")[2]["history"][-1]["node"], "a")


def a_lease_that_ran_out_is_no_longer_claimed(d):
    """The engine is stopped for longer than the lease; what it says first afterwards is true."""
    epoch = int(ask("GET", "/primary")[1]["X-Failoverd-Epoch"])
    engine = d.engine()
    os.kill(engine, signal.SIGSTOP)
    try:
        connection = http.client.HTTPConnection(HOST, PORT, timeout=10)
        connection.request("GET", "/primary")
        wait_for("the end of the address", lambda: MASTER_VIP not in subprocess.run(
            ["ip", "addr"], capture_output=True, text=True).stdout, 20)
        time.sleep(2.0)  # longer than the lease, which is what the test is about
    finally:
        os.kill(engine, signal.SIGCONT)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    check(answer.status == 503 or body["epoch"] > epoch, "not master by the old lease: %s" % body)
    wait_for("a master", lambda: ask("GET", "/primary")[0] == 200)


def orders_come_only_from_this_machine(d):
    status, _, body = ask("POST", "/v1/services/x/pause", host=NODE, source=STRANGER)
    equal(status, 403)
    check("failoverctl" in body["error"], "says what to do")
    equal(ask("POST", "/v1/services/x/pause", headers={"Origin": "http://evil.example"})[0], 403)
    equal(ask("GET", "/v1/services/x/pause")[0], 405)
    equal(ask("GET", "/v1/status")[2]["services"][0]["paused"], False)
    equal(ask("POST", "/v1/services/x/pause", host=NODE)[0], 202)
    equal(ask("GET", "/v1/status")[2]["services"][0]["paused"], True)
    equal(ask("POST", "/v1/services/x/resume")[0], 202)
    equal(ask("GET", "/v1/status", host=NODE, source=STRANGER)[0], 200)


def wrong_orders_are_refused_with_reasons(d):
    equal(ask("POST", "/v1/services/x/failover")[0], 400)
    equal(ask("POST", "/v1/services/x/switchover?to=nobody")[0], 400)
    equal(ask("POST", "/v1/services/x/bootstrap?method=magic")[0], 400)
    status, _, body = ask("POST", "/v1/services/x/bootstrap?method=initdb")
    equal((status, body["refused"]), (409, True))
    equal(ask("POST", "/v1/services/x/dance")[0], 404)


def who_is_master_is_one_line_for_scripts(d):
    equal(d.ctl("who-is-master"), (0, "a %s\n" % NODE, ""))
    equal(d.ctl("who-is-master", "x")[1], "a %s\n" % NODE)
    status, out, err = d.ctl("who-is-master", "y")
    equal((status, out), (2, ""))
    check("no service" in err, err)
    status, answer = d.ctl_json("who-is-master")
    equal((status, answer["master"], answer["address"], answer["state"]), (0, "a", NODE, "master"))


def status_is_a_table_and_json(d):
    status, out, _ = d.ctl("status")
    equal(status, 0, out)
    check("leader" in out and "Service x: master a" in out and "All is well" in out, out)
    check("\033" not in out, "no colours in a pipe")
    status, answer = d.ctl_json("status")
    equal((status, answer["problems"]), (0, []))
    d.ctl("pause", "x")
    status, out, _ = d.ctl("status")
    equal(status, 1)
    check("! service x is paused" in out, out)
    d.ctl("resume", "x")
    equal(d.ctl("status")[0], 0)


def the_command_line_explains_itself(d):
    equal(d.ctl("--help")[0], 0)
    status, _, err = d.ctl("swithcover", "x")
    equal(status, 2)
    check('did you mean "switchover"?' in err, err)
    equal(d.ctl()[0], 2)
    equal(d.ctl("status", "x")[0], 2)
    equal(d.ctl("status", "--to", "a")[0], 2)
    equal(d.ctl("-o", "xml", "status")[0], 2)
    equal(d.ctl("failover", "x", "--to", "a")[0], 4, "nobody said yes")
    equal(d.ctl("failover", "x")[0], 2)
    equal(d.ctl("bootstrap", "x")[0], 2)
    equal(d.ctl("bootstrap", "x", "--initdb")[0], 4)
    equal(d.ctl("clone", "x")[0], 4)
    equal(d.ctl("-c", "/nonexistent", "status")[0], 2)
    equal(d.ctl("--endpoint", "127.0.0.1:4001", "status")[0], 0)
    equal(d.ctl("--endpoint", "127.0.0.1:4002", "status")[0], 3)


def a_switchover_to_the_master_is_refused(d):
    status, _, err = d.ctl("switchover", "x", "--to", "a")
    equal(status, 4, err)
    check("already" in err, err)
    status, _, err = d.ctl("switchover", "x")
    equal(status, 4, "a second order is answered as well: " + err)


def why_not_and_history_give_reasons(d):
    status, out, _ = d.ctl("why-not", "x")
    equal(status, 0)
    check(out.startswith("a "), out)
    equal(d.ctl("why-not", "x", "b")[0], 2)
    status, answer = d.ctl_json("history")
    equal((status, answer["service"], answer["history"][0]["node"]), (0, "x", "a"))
    check("epoch" in d.ctl("history", "x")[1], "a table")


def keys_by_command(d):
    equal(d.ctl("set", "ctl/a", "two words & more")[0], 0)
    equal(d.ctl("get", "/ctl/a"), (0, "two words & more\n", ""))
    d.ctl("set", "ctl/sub/b", "1", "--ttl", "100")
    equal(d.ctl("ls", "-p", "ctl")[1], "/ctl/a\n/ctl/sub/\n")
    equal(d.ctl("ls", "ctl", "--recursive")[1], "/ctl/a\n/ctl/sub\n/ctl/sub/b\n")
    equal(d.ctl("get", "ctl")[0], 1)
    equal(d.ctl("rm", "ctl")[0], 1)
    equal(d.ctl("rm", "ctl", "--recursive")[0], 0)
    equal(d.ctl("get", "ctl/a")[0], 1)
    equal(d.ctl_json("set", "ctl", "x")[1]["action"], "set")


def the_configuration_is_checked_without_a_daemon(d):
    status, out, err = d.ctl("config", "check")
    equal(status, 0)
    check("is good" in out and "warning" in err, "a lone member is warned of")
    dumped = os.path.join(d.dir, "dumped.conf")
    pathlib.Path(dumped).write_text(d.ctl("config", "dump")[1])
    equal(d.ctl("config", "dump", dumped)[1], pathlib.Path(dumped).read_text(), "dumps the same")
    bad = os.path.join(d.dir, "bad.conf")
    pathlib.Path(bad).write_text('node "a" { }\ncluster "t" { membr "a" { } }\n')
    status, _, err = d.ctl("config", "check", bad)
    equal(status, 1)
    check("bad.conf:2: error:" in err, err)
    equal(d.ctl_json("config", "check", bad)[1]["error"]["line"], 2)
    equal(d.ctl("config", "burn")[0], 2)


# Without a majority, and without a service.

def without_a_majority_nothing_is_claimed(d):
    begun = time.monotonic()
    status, headers, body = key("PUT", "/a", {"value": "1"})
    equal((status, body["errorCode"], body["message"]), (500, 300, "Raft Internal Error"))
    check("no leader" in body["cause"] and body["index"] == 0, body)
    check(time.monotonic() - begun < 2, "soon enough for a client to ask elsewhere")
    equal(key("GET", "/a", query="?quorum=true")[0], 500)
    equal(key("GET", "/a")[0], 404, "a plain read works")
    equal(key("PUT", "/a", {"ttl": "x"})[2]["errorCode"], 202, "parameters first")
    status, _, body = ask("GET", "/v1/who-is-master?service=x")
    equal((status, body["error"]), (503, "unknown: no quorum"))
    equal(ask("GET", "/primary")[0], 503)
    equal(ask("GET", "/health")[2]["health"], "false")
    equal(ask("GET", "/liveness")[0], 200)
    status, out, err = d.ctl("who-is-master", "x")
    equal((status, out), (3, ""))
    check("no quorum" in err, err)
    status, out, _ = d.ctl("status")
    equal(status, 3, out)
    check("no quorum" in out and "leader" not in out, out)
    equal(d.ctl("pause", "x")[0], 3)


def a_silent_cluster_is_unknown(d):
    d.stop()
    status, out, err = d.ctl("who-is-master", "x")
    equal((status, out), (3, ""))
    check("nobody answers" in err, err)
    equal(d.ctl("status")[0], 3)
    equal(d.ctl("switchover", "x")[0], 3)
    status, answer = d.ctl_json("status")
    check(status == 3 and answer["error"], "JSON as well")


def a_witness_is_healthy_and_never_primary(d):
    wait_for("a leader", lambda: ask("GET", "/health")[0] == 200)
    equal(ask("GET", "/health")[2], {"health": "true"})
    equal(ask("GET", "/liveness")[0], 200)
    for path in ("/primary", "/replica", "/read-only"):
        equal(ask("GET", path)[0], 503)
    equal(ask("GET", "/v1/who-is-master")[0], 400)
    equal(d.ctl("status")[0], 0)
    equal(d.ctl("who-is-master", "x")[0], 2)


# With few descriptors.

def too_many_connections_wait_and_the_rest_goes_on(d):
    kept = http.client.HTTPConnection(HOST, PORT, timeout=10)
    kept.request("GET", "/version")
    kept.getresponse().read()
    crowd = []
    try:
        for _ in range(600):
            crowd.append(socket.create_connection((HOST, PORT), timeout=5))
        wait_for("the limit", lambda: d.descriptors() >= 300 - 128)
        for i in range(50):
            kept.request("PUT", "/v2/keys/crowd", "value=%d" % i, FORM)
            equal(kept.getresponse().read() != b"", True)
        check(d.descriptors() < 300 - 64, "descriptors are left")
    finally:
        for s in crowd:
            s.close()
        kept.close()
    wait_for("the end of the crowd", lambda: d.descriptors() < 60)
    equal(key("PUT", "/crowd", {"value": "1"})[0], 200)
    equal(d.ctl("status")[0], 0)


def is_master():
    return ask("GET", "/primary")[0] == 200


GROUPS = [
    (MEMBER, None, is_master, [
        values_are_set_read_and_deleted, comparisons_decide_who_writes,
        refused_writes_of_many_clients_keep_their_own_causes, directories_list_sort_and_hide,
        in_order_keys_have_the_index_as_their_name, a_ttl_ends_a_key_and_refresh_prolongs_it,
        a_wait_hears_the_next_change_and_the_connection_lives_on,
        a_wait_of_http_1_0_ends_with_its_connection, a_wait_with_an_index_reads_the_history,
        an_index_older_than_the_history_is_401, clients_that_hang_up_leave_nothing_behind,
        parameters_are_checked_in_order_before_the_key, every_byte_of_a_value_comes_back,
        large_values_pass_and_larger_ones_are_refused, our_own_records_cannot_be_written,
        methods_that_are_not_known_are_405, head_has_the_length_of_get_and_no_body,
        bodies_come_in_chunks_and_after_a_hundred, requests_in_a_row_are_answered_in_order,
        the_body_of_a_get_is_not_the_next_request, half_closed_clients_get_their_answer,
        garbage_ends_connections_and_not_the_engine, a_header_that_never_ends_is_refused,
        the_master_is_primary_and_says_its_epoch, orders_come_only_from_this_machine,
        wrong_orders_are_refused_with_reasons, who_is_master_is_one_line_for_scripts,
        status_is_a_table_and_json, the_command_line_explains_itself, a_switchover_to_the_master_is_refused,
        why_not_and_history_give_reasons, keys_by_command, the_configuration_is_checked_without_a_daemon,
        a_lease_that_ran_out_is_no_longer_claimed]),
    (CUT_OFF, None, lambda: True, [without_a_majority_nothing_is_claimed, a_silent_cluster_is_unknown]),
    (WITNESS, None, lambda: True, [a_witness_is_healthy_and_never_primary]),
    (MEMBER, 300, is_master, [too_many_connections_wait_and_the_rest_goes_on]),
]


def run_group(d, is_ready, tests):
    """(passed, failed) of the tests, which share one daemon."""
    passed = failed = 0
    try:
        d.start()
        wait_for("the daemon to be ready", is_ready)
        for test in tests:
            begun = time.monotonic()
            try:
                test(d)
                passed += 1
                print("ok      %s (%.1f s)" % (test.__name__, time.monotonic() - begun), flush=True)
            except (Failure, OSError, KeyError, ValueError, IndexError, TypeError,
                    http.client.HTTPException, subprocess.TimeoutExpired) as problem:
                failed += 1
                print("FAILED  %s: %s: %s" % (test.__name__, type(problem).__name__, problem), flush=True)
        if "ERROR: " in d.log() or "runtime error" in d.log() or "ended by signal" in d.log():
            failed += 1
            print("FAILED  the log of the daemon shows a fault", flush=True)
        if failed:
            print(d.log()[-4000:])
    finally:
        d.close()
    return passed, failed


def inside(options):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (NODE, STRANGER):
        subprocess.run(["ip", "addr", "add", address + "/32", "dev", "lo"], check=True)
    passed = failed = 0
    for configuration, descriptors_max, is_ready, tests in GROUPS:
        tests = [t for t in tests if not options.names or t.__name__ in options.names]
        if not tests:
            continue
        p, f = run_group(Daemon(options.build, configuration, descriptors_max), is_ready, tests)
        passed, failed = passed + p, failed + f
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    if options.inside:
        return inside(options)
    # A namespace of its own for the network, and for processes: nothing outlives the test.
    return subprocess.call(["unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child",
                            sys.executable, os.path.abspath(__file__), "--inside", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
