#!/usr/bin/python3
"""etcd's v2 API, row by row: which operation, which checks in which order, every field, header and
error. Answers are compared byte for byte, with indices counted from where a test begins. With --etcd
the same is asked of a real etcd, which proves the tests. Needs root.

v2.py --build FOLDER [--etcd] [NAME]...
"""
import argparse
import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

from api import Daemon, Failure, check, equal, wait_for

HOST, FORM = "127.0.0.1", "application/x-www-form-urlencoded"
CONF = """node "a" { data_dir = "DIR/lib"  run_dir = "DIR/run"  user = "nobody" }
cluster "t" { member "a" { address = "127.0.0.1" } }
"""
KEYS_METHODS = "HEAD,GET,PUT,POST,DELETE"
MESSAGES = {
    100: (404, "Key not found"), 101: (412, "Compare failed"), 102: (403, "Not a file"),
    104: (400, "Not a directory"), 105: (412, "Key already exists"), 107: (400, "Root is read only"),
    108: (403, "Directory not empty"), 201: (400, "PrevValue is Required in POST form"),
    202: (400, "The given TTL in POST form is not a number"),
    203: (400, "The given index in POST form is not a number"), 209: (400, "Invalid field"),
    210: (400, "Invalid POST form"), 211: (400, "Value provided on refresh"),
    212: (400, "A TTL must be provided on refresh"),
    401: (400, "The event in requested index is outdated and cleared"),
}


class Etcd:
    """A real one, in place of ours."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="etcd-")
        self.process = None

    def start(self):
        url = "http://127.0.0.1:%d"
        self.process = subprocess.Popen(
            ["etcd", "--enable-v2", "--data-dir", self.dir, "--name", "a",
             "--listen-client-urls", url % 4001, "--advertise-client-urls", url % 4001,
             "--listen-peer-urls", url % 7001, "--initial-advertise-peer-urls", url % 7001,
             "--initial-cluster", "a=" + url % 7001], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def log(self):
        return ""

    def close(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


# Asking.

class Answer:
    def __init__(self, answer):
        self.status, self.headers, self.body = answer.status, answer.headers, answer.read().decode()

    def index(self):
        return int(self.headers["X-Etcd-Index"])


def ask(method, target, body=None, content_type=None, headers=None, connection=None):
    c = connection or http.client.HTTPConnection(HOST, 4001, timeout=10)
    headers = dict(headers or {})
    if content_type:
        headers["Content-Type"] = content_type
    try:
        c.request(method, target, body=body, headers=headers)
        return Answer(c.getresponse())
    finally:
        if not connection:
            c.close()


def raw(data, wanted=None):
    """What comes for @data until the server closes, or until @wanted has come."""
    with socket.create_connection((HOST, 4001), timeout=5) as s:
        s.sendall(data)
        answer = b""
        with contextlib.suppress(socket.timeout):
            while not wanted or wanted not in answer:
                part = s.recv(65536)
                if not part:
                    break
                answer += part
        return answer


def file(key, value, modified, created=None, ttl=None):
    return '{"key":"%s","value":"%s"%s,"modifiedIndex":@%d,"createdIndex":@%d}' % (
        key, value, expiry(ttl), modified, modified if created is None else created)


def directory(key, modified, created=None, ttl=None, nodes=None):
    return '{"key":"%s","dir":true%s%s,"modifiedIndex":@%d,"createdIndex":@%d}' % (
        key, expiry(ttl), nodes_of(nodes), modified, modified if created is None else created)


def gone(key, modified, created, is_directory=False):
    return '{"key":"%s"%s,"modifiedIndex":@%d,"createdIndex":@%d}' % (
        key, ',"dir":true' if is_directory else "", modified, created)


def expiry(ttl):
    return "" if ttl is None else ',"expiration":"TIME","ttl":%d' % ttl


def nodes_of(nodes):
    return ',"nodes":[%s]' % ",".join(nodes) if nodes else ""


def did(action, node, previous=None):
    return '{"action":"%s","node":%s%s}\n' % (action, node, ',"prevNode":' + previous if previous else "")


class Story:
    """Requests about one directory of keys; @N in what is wanted is N above the index at the start."""

    def __init__(self, name):
        self.root = "/" + name
        self.start = ask("GET", "/v2/keys/").index()
        self.last = None

    def number(self, text):
        return re.sub(r"@(\d+)", lambda m: str(self.start + int(m.group(1))), text)

    def ask(self, method, path, form=None, **options):
        path = self.number(path)
        form = self.number(form) if form is not None else None
        self.last = ask(method, "/v2/keys" + path, form, FORM if form is not None else None, **options)
        equal(self.last.headers["Content-Type"], "application/json", path)
        check(re.fullmatch("[0-9a-f]{1,16}", self.last.headers["X-Etcd-Cluster-Id"]), "a cluster id")
        return self.last

    def is_ok(self, status, body, method, path, form=None, index=None):
        """@index: that of the answer's header, as counted here; for writes it is the node's own."""
        a = self.ask(method, path, form)
        found = re.sub(r'"expiration":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z"',
                       '"expiration":"TIME"', a.body)
        equal((a.status, found), (status, self.number(body)), "%s %s %s" % (method, path, form))
        if index is None:
            index = int(re.search(r'"modifiedIndex":(\d+)', a.body).group(1)) - self.start
        equal(a.index() - self.start, index, "X-Etcd-Index of %s %s" % (method, path))
        check(int(a.headers["X-Raft-Index"]) > 0 and int(a.headers["X-Raft-Term"]) > 0, "Raft's headers")

    def fails(self, code, cause, index, method, path, form=None):
        """@index counts from here; None is the 0 of parameter errors."""
        a = self.ask(method, path, form)
        status, message = MESSAGES[code]
        index = 0 if index is None else self.start + index
        wanted = '{"errorCode":%d,"message":"%s"%s,"index":%d}\n' % (
            code, message, ',"cause":' + json.dumps(self.number(cause)) if cause else "", index)
        equal((a.status, a.body), (status, wanted), "%s %s %s" % (method, path, form))
        equal(a.index(), index, "X-Etcd-Index of an error")
        check("X-Raft-Index" not in a.headers and "X-Raft-Term" not in a.headers, "no Raft headers")


# Section 4: operations.

def set_makes_replaces_and_refuses(s):
    r = s.root
    s.is_ok(201, did("set", file(r + "/f", "1", 1)), "PUT", r + "/f", "value=1")
    s.is_ok(200, did("set", file(r + "/f", "2", 2), file(r + "/f", "1", 1)), "PUT", r + "/f", "value=2")
    s.is_ok(200, did("set", file(r + "/f", "", 3), file(r + "/f", "2", 2)), "PUT", r + "/f")
    s.fails(104, r + "/f", 3, "PUT", r + "/f/below", "value=1")
    s.fails(104, r + "/f", 3, "PUT", r + "/f/a/b/c", "value=1&refresh=false")
    s.fails(107, "/", 3, "PUT", "/", "value=1")
    s.fails(107, "/", 3, "PUT", "", "value=1")
    s.fails(100, r + "/none", 3, "PUT", r + "/none", "ttl=5&refresh=true")
    s.fails(102, r, 3, "PUT", r, "value=1")
    s.fails(102, r, 3, "PUT", r, "dir=true")
    s.is_ok(201, did("set", directory(r + "/d", 4)), "PUT", r + "/d", "dir=true&value=dropped")
    s.is_ok(200, did("set", directory(r + "/f", 5), file(r + "/f", "", 3)), "PUT", r + "/f", "dir=true")
    s.is_ok(201, did("set", file(r + "/f/x/y/z", "deep", 6)), "PUT", r + "/f/x/y/z", "value=deep")
    s.is_ok(200, did("get", directory(r + "/f/x", 6, nodes=[directory(r + "/f/x/y", 6)])), "GET", r + "/f/x",
            index=6)


def create_wants_nothing_there(s):
    r = s.root
    s.is_ok(201, did("create", file(r + "/f", "1", 1)), "PUT", r + "/f", "value=1&prevExist=false")
    s.fails(105, r + "/f", 1, "PUT", r + "/f", "value=2&prevExist=false")
    s.fails(105, r, 1, "PUT", r, "dir=true&prevExist=false")
    s.fails(105, r + "/f", 1, "PUT", r + "/f", "value=2&prevExist=false&prevValue=1&prevIndex=@1")
    s.fails(104, r + "/f", 1, "PUT", r + "/f/x", "value=2&prevExist=false")
    s.fails(107, "/", 1, "PUT", "/", "value=1&prevExist=false")
    s.is_ok(201, did("create", directory(r + "/d", 2)), "PUT", r + "/d?prevExist=false", "dir=true")
    s.is_ok(201, did("create", file(r + "/r", "", 3, ttl=100)), "PUT", r + "/r",
            "prevExist=false&refresh=true&ttl=100")


def update_wants_something_there(s):
    r = s.root
    s.fails(100, r, 0, "PUT", r + "/f", "value=1&prevExist=true")
    s.is_ok(201, did("set", file(r + "/f", "1", 1, ttl=100)), "PUT", r + "/f", "value=1&ttl=100")
    s.fails(100, r + "/a", 1, "PUT", r + "/a/b", "value=1&prevExist=true")
    s.is_ok(200, did("update", file(r + "/f", "2", 2, 1), file(r + "/f", "1", 1, ttl=100)), "PUT", r + "/f",
            "value=2&prevExist=true")
    s.is_ok(200, did("update", file(r + "/f", "", 3, 1), file(r + "/f", "2", 2, 1)), "PUT", r + "/f",
            "prevExist=true&dir=true")
    s.fails(104, r + "/f", 3, "PUT", r + "/f/x", "value=2&prevExist=true")
    s.fails(107, "/", 3, "PUT", "/", "value=1&prevExist=true")
    s.fails(102, r, 3, "PUT", r, "value=1&prevExist=true")
    s.is_ok(200, did("update", file(r + "/f", "", 4, 1, ttl=50), file(r + "/f", "", 3, 1)), "PUT",
            r + "/f?ttl=50", "prevExist=true&prevIndex=0")


def an_update_of_a_directory_changes_its_ttl(s):
    r = s.root
    s.is_ok(201, did("set", directory(r + "/d", 1)), "PUT", r + "/d", "dir=true")
    a = s.ask("PUT", r + "/d", "dir=true&prevExist=true&ttl=77")
    node = json.loads(a.body)["node"]
    equal((a.status, node["ttl"], node["dir"], node["createdIndex"] - s.start), (200, 77, True, 1))
    equal(node["modifiedIndex"] - s.start, 2)
    a = s.ask("PUT", r + "/d", "dir=true&prevExist=true")
    check("ttl" not in json.loads(a.body)["node"], "none given takes it away")


def compare_and_swap_compares_all_that_is_given(s):
    r = s.root
    s.fails(100, r, 0, "PUT", r + "/f", "value=1&prevValue=x")
    s.is_ok(201, did("set", file(r + "/f", "1", 1, ttl=100)), "PUT", r + "/f", "value=1&ttl=100")
    s.fails(101, "[0 != 1]", 1, "PUT", r + "/f", "value=2&prevValue=0")
    s.fails(101, "[@9 != @1]", 1, "PUT", r + "/f", "value=2&prevIndex=@9")
    s.fails(101, "[0 != 1] [@9 != @1]", 1, "PUT", r + "/f", "value=2&prevValue=0&prevIndex=@9")
    s.fails(101, "[@9 != @1]", 1, "PUT", r + "/f", "value=2&prevValue=1&prevIndex=@9&prevExist=true")
    s.is_ok(200, did("compareAndSwap", file(r + "/f", "2", 2, 1), file(r + "/f", "1", 1, ttl=100)), "PUT",
            r + "/f", "value=2&prevValue=1")
    s.is_ok(200, did("compareAndSwap", file(r + "/f", "3", 3, 1, ttl=9), file(r + "/f", "2", 2, 1)), "PUT",
            r + "/f?prevIndex=@2&prevExist=true", "value=3&ttl=9")
    s.fails(102, r, 3, "PUT", r, "value=2&prevValue=0")
    s.fails(104, r + "/f", 3, "PUT", r + "/f/x", "value=2&prevValue=0")
    s.fails(107, "/", 3, "PUT", "/", "value=2&prevIndex=7")
    s.is_ok(200, did("set", file(r + "/f", "4", 4), file(r + "/f", "3", 3, 1, ttl=9)), "PUT", r + "/f",
            "value=4&prevIndex=0")


def post_makes_keys_in_order(s):
    r = s.root
    name = "%s/%020d"
    s.is_ok(201, did("create", file(name % (r, s.start + 1), "1", 1)), "POST", r, "value=1&prevExist=true")
    s.is_ok(201, did("create", file(name % (r, s.start + 2), "2", 2, ttl=30)), "POST", r + "/?ttl=30",
            "value=2&prevValue=x&prevIndex=7")
    s.is_ok(201, did("create", directory(name % (r, s.start + 3), 3)), "POST", r, "value=2&dir=true")
    s.fails(104, name % (r, s.start + 1), 3, "POST", name % (r, s.start + 1), "value=1")
    s.is_ok(201, did("create", file(name % ("", s.start + 4), "", 4)), "POST", "/")
    ask("DELETE", "/v2/keys" + name % ("", s.start + 4))


def delete_wants_to_be_told_about_directories(s):
    r = s.root
    s.fails(100, r, 0, "DELETE", r + "/f")
    s.is_ok(201, did("set", file(r + "/f", "1", 1)), "PUT", r + "/f", "value=1")
    s.fails(104, r + "/f", 1, "DELETE", r + "/f/x")
    s.is_ok(200, did("delete", gone(r + "/f", 2, 1), file(r + "/f", "1", 1)), "DELETE", r + "/f")
    s.is_ok(201, did("set", directory(r + "/d", 3)), "PUT", r + "/d", "dir=1")
    s.fails(102, r + "/d", 3, "DELETE", r + "/d")
    s.is_ok(200, did("delete", gone(r + "/d", 4, 3, True), directory(r + "/d", 3)), "DELETE", r + "/d?dir=true")
    s.is_ok(201, did("set", file(r + "/d/_hidden", "1", 5)), "PUT", r + "/d/_hidden", "value=1")
    s.fails(108, r + "/d", 5, "DELETE", r + "/d?dir=true")
    s.is_ok(201, did("set", file(r + "/d/x/y", "1", 6, ttl=99)), "PUT", r + "/d/x/y", "value=1&ttl=99")
    s.is_ok(200, did("delete", gone(r + "/d", 7, 5, True), directory(r + "/d", 5)), "DELETE",
            r + "/d?recursive=true&dir=false")
    s.fails(107, "/", 7, "DELETE", "/?recursive=true")
    s.is_ok(201, did("set", file(r + "/f", "1", 8, ttl=9)), "PUT", r + "/f", "value=1&ttl=9")
    s.is_ok(200, did("delete", gone(r + "/f", 9, 8), file(r + "/f", "1", 8, ttl=9)), "DELETE",
            r + "/f?recursive=true&dir=true&prevIndex=0&noValueOnSuccess=true")


def compare_and_delete_compares_first(s):
    r = s.root
    s.fails(100, r, 0, "DELETE", r + "/f?prevValue=1")
    s.is_ok(201, did("set", file(r + "/f", "1", 1)), "PUT", r + "/f", "value=1")
    s.fails(104, r + "/f", 1, "DELETE", r + "/f/x?prevValue=1")
    s.fails(102, r, 1, "DELETE", r + "?prevValue=1&recursive=true")
    s.fails(101, "[2 != 1]", 1, "DELETE", r + "/f?prevValue=2")
    s.fails(101, "[@7 != @1]", 1, "DELETE", r + "/f?prevIndex=@7")
    s.fails(101, "[2 != 1] [@7 != @1]", 1, "DELETE", r + "/f?prevIndex=@7&prevValue=2")
    s.is_ok(200, did("compareAndDelete", gone(r + "/f", 2, 1), file(r + "/f", "1", 1)), "DELETE",
            r + "/f?prevValue=1&prevIndex=@1&noValueOnSuccess=true")


def get_names_the_first_part_that_is_missing(s):
    r = s.root
    s.fails(100, r, 0, "GET", r + "/a/b/c")
    s.is_ok(201, did("set", file(r + "/a/f", "1", 1)), "PUT", r + "/a/f", "value=1")
    s.fails(100, r + "/a/b", 1, "GET", r + "/a/b/c")
    s.fails(104, r + "/a/f", 1, "GET", r + "/a/f/c?quorum=true")
    s.is_ok(200, did("get", file(r + "/a/f", "1", 1)), "GET", r + "/a/f/", index=1)
    s.is_ok(200, did("get", file(r + "/a/f", "1", 1)), "GET", r + "/a/f?quorum=true&wait=true", index=1)
    s.is_ok(200, did("get", file(r + "/a/f", "1", 1)), "GET", r + "/a/f?recursive=true&sorted=true&dir=true",
            index=1)


def listings_are_sorted_recursive_and_without_hidden_names(s):
    r = s.root
    for i, name in enumerate(("/b", "/a/z", "/a/_h", "/_x/y", "/a-"), 1):
        s.is_ok(201, did("set", file(r + name, "v", i)), "PUT", r + name, "value=v")
    a, deep = directory(r + "/a", 2), directory(r + "/a", 2, nodes=[file(r + "/a/z", "v", 2)])
    rest = [file(r + "/a-", "v", 5), file(r + "/b", "v", 1)]
    s.is_ok(200, did("get", directory(r, 1, nodes=[a] + rest)), "GET", r + "?sorted=true", index=5)
    s.is_ok(200, did("get", directory(r, 1, nodes=[deep] + rest)), "GET", r + "/?sorted=true&recursive=true",
            index=5)
    s.is_ok(200, did("get", directory(r + "/_x", 4, nodes=[file(r + "/_x/y", "v", 4)])), "GET", r + "/_x", index=5)
    s.is_ok(200, did("get", file(r + "/a/_h", "v", 3)), "GET", r + "/a/_h", index=5)
    root = json.loads(s.ask("GET", "/").body)["node"]
    equal(sorted(root), ["dir", "nodes"], "the root has neither key nor indices")
    s.is_ok(201, did("set", file(r + "/only/_h", "v", 6)), "PUT", r + "/only/_h", "value=v")
    s.is_ok(200, did("get", directory(r + "/only", 6)), "GET", r + "/only", index=6)


def a_refresh_keeps_the_value_and_wakes_nobody(s):
    r = s.root
    s.is_ok(201, did("set", file(r + "/f", "1", 1, ttl=9)), "PUT", r + "/f", "value=1&ttl=9")
    watch = Watch(r + "/f?wait=true")
    s.is_ok(200, did("set", file(r + "/f", "1", 2, ttl=50), file(r + "/f", "1", 1, ttl=9)), "PUT", r + "/f",
            "refresh=true&ttl=50")
    s.is_ok(200, did("update", file(r + "/f", "1", 3, 2, ttl=60), file(r + "/f", "1", 2, ttl=50)), "PUT", r + "/f",
            "refresh=true&ttl=60&prevExist=true")
    s.is_ok(200, did("compareAndSwap", file(r + "/f", "1", 4, 2, ttl=70), file(r + "/f", "1", 3, 2, ttl=60)), "PUT",
            r + "/f", "refresh=true&ttl=70&prevValue=1")
    s.is_ok(200, did("set", file(r + "/f", "2", 5), file(r + "/f", "1", 4, 2, ttl=70)), "PUT", r + "/f",
            "value=2&refresh=false")
    equal(json.loads(watch.line())["node"]["value"], "2", "the first that the watcher hears")
    watch.close()
    watch = Watch(s.number(r + "/f?wait=true&waitIndex=@2"))
    equal(json.loads(watch.line())["node"]["modifiedIndex"] - s.start, 5, "and that a search finds")
    watch.close()


def no_value_on_success_says_only_what_was_done(s):
    r = s.root
    for status, action, form in ((201, "set", "value=1"), (200, "set", "value=2"),
                                 (200, "update", "value=3&prevExist=true"),
                                 (200, "compareAndSwap", "value=4&prevValue=3")):
        a = s.ask("PUT", r + "/f", form + "&noValueOnSuccess=true")
        equal((a.status, a.body), (status, '{"action":"%s"}\n' % action))
    equal(a.index() - s.start, 4)
    a = s.ask("POST", r + "?noValueOnSuccess=1", "value=1")
    equal((a.status, a.body), (201, '{"action":"create"}\n'))
    s.fails(105, r + "/f", 5, "PUT", r + "/f", "prevExist=false&noValueOnSuccess=true")


# Section 3: parameters.

def the_first_wrong_parameter_answers(s):
    r = s.root
    spelling = 'invalid value for "%s"'
    rows = [
        ("PUT", "?prevIndex=x&waitIndex=x", "ttl=x", 203, spelling % "prevIndex"),
        ("PUT", "", "prevIndex=", 203, spelling % "prevIndex"),
        ("PUT", "", "prevIndex=-1", 203, spelling % "prevIndex"),
        ("PUT", "", "prevIndex=18446744073709551616", 203, spelling % "prevIndex"),
        ("GET", "?waitIndex=1.0&recursive=x", None, 203, spelling % "waitIndex"),
        ("GET", "?recursive=&sorted=x", None, 209, spelling % "recursive"),
        ("GET", "?sorted=yes&wait=x", None, 209, spelling % "sorted"),
        ("GET", "?wait=tRUE&dir=x", None, 209, spelling % "wait"),
        ("GET", "?dir=2&quorum=x", None, 209, spelling % "dir"),
        ("GET", "?quorum=+&stream=x", None, 209, spelling % "quorum"),
        ("GET", "?stream=x&prevValue=", None, 209, spelling % "stream"),
        ("PUT", "?wait=true", "prevValue=", 209, '"wait" can only be used with GET requests'),
        ("DELETE", "?wait=true", None, 209, '"wait" can only be used with GET requests'),
        ("PUT", "", "prevValue=&noValueOnSuccess=x", 201, '"prevValue" cannot be empty'),
        ("DELETE", "?prevValue=", None, 201, '"prevValue" cannot be empty'),
        ("PUT", "", "noValueOnSuccess=x&ttl=x", 209, spelling % "noValueOnSuccess"),
        ("PUT", "", "ttl=-1&prevExist=x", 202, spelling % "ttl"),
        ("PUT", "", "ttl=1s", 202, spelling % "ttl"),
        ("PUT", "", "prevExist=&refresh=x", 209, "invalid value for prevExist"),
        ("DELETE", "?prevExist=x", None, 209, "invalid value for prevExist"),
        ("PUT", "", "refresh=x", 209, "invalid value for refresh"),
        ("PUT", "", "refresh=true&value=x", 211, "A value was provided on a refresh"),
        ("PUT", "", "refresh=true", 212, "No TTL value set"),
        ("GET", "?a=%zz", None, 210, 'invalid URL escape "%zz"'),
        ("PUT", "", "value=%4", 210, 'invalid URL escape "%4"'),
        ("PUT", "?a;b=1", "value=1", 210, "invalid semicolon separator in query"),
    ]
    for method, query, form, code, cause in rows:
        s.fails(code, cause, None, method, r + "/f" + query, form)
    a = ask("PUT", "/v2/keys" + r + "/f", "value=1", ";")
    equal((a.status, json.loads(a.body)["errorCode"], json.loads(a.body)["cause"]),
          (400, 210, "mime: no media type"))
    s.fails(100, r, 0, "GET", r + "/f")


def truth_has_twelve_spellings(s):
    for word in ("1", "t", "T", "TRUE", "true", "True"):
        equal(s.ask("PUT", s.root + "/" + word, "dir=" + word).status, 201)
        check('"dir":true' in s.last.body, word)
    for word in ("0", "f", "F", "FALSE", "false", "False"):
        check('"dir"' not in s.ask("PUT", s.root + "/" + word, "dir=" + word).body, word)


def parameters_come_from_body_then_query(s):
    r = s.root
    s.is_ok(201, did("set", file(r + "/f", "body", 1)), "PUT", r + "/f?value=query", "value=body&value=second")
    s.is_ok(200, did("set", file(r + "/f", "query", 2), file(r + "/f", "body", 1)), "PUT",
            r + "/f?value=query&Value=x&unknown=1")
    s.is_ok(200, did("set", file(r + "/f", "a b+c", 3), file(r + "/f", "query", 2)), "PUT", r + "/f",
            "value=a+b%2Bc")
    a = ask("PUT", "/v2/keys" + r + "/f", "value=typed", FORM.upper() + "; charset=utf-8")
    equal(json.loads(a.body)["node"]["value"], "typed")
    for content_type in ("application/json", "text/plain", None):
        a = ask("PUT", "/v2/keys" + r + "/f", "value=ignored", content_type)
        equal((a.status, json.loads(a.body)["node"]["value"]), (200, ""), content_type)
    a = ask("DELETE", "/v2/keys" + r + "/f", "prevValue=nothing", FORM)
    equal((a.status, json.loads(a.body)["action"]), (200, "delete"), "DELETE reads no form")
    a = ask("GET", "/v2/keys" + r, "wait=true", FORM)
    equal(a.status, 200, "nor does GET")


# Section 5: JSON.

def strings_are_escaped(s):
    r = s.root
    value = '"\\\n\r\t\b\x00\x1f\x7f<>&\u2028\u2029ä€𝄞/'
    s.ask("PUT", r + "/f", "value=" + urllib.parse.quote(value))
    check('"value":"\\"\\\\\\n\\r\\t\\u0008\\u0000\\u001f\x7f\\u003c\\u003e\\u0026\\u2028\\u2029ä€𝄞/"'
          in s.last.body, s.last.body)
    s.ask("PUT", r + "/f", "value=a%FFb%C3")
    equal(json.loads(s.last.body)["node"]["value"], "a\ufffdb\ufffd")
    s.ask("PUT", r + "/%3Ca%20b%3E+%2Bc%2Fd%C3%A4", "value=")
    check('"key":"%s/\\u003ca b\\u003e++c/dä"' % r in s.last.body, s.last.body)


# Section 7: TTL.

def a_ttl_runs_out_as_an_event(s):
    r = s.root
    s.is_ok(201, did("set", file(r + "/f", "1", 1, ttl=1)), "PUT", r + "/f", "value=1&ttl=1")
    s.is_ok(201, did("set", directory(r + "/d", 2, ttl=2)), "PUT", r + "/d", "dir=true&ttl=2")
    s.is_ok(201, did("set", file(r + "/d/x", "1", 3)), "PUT", r + "/d/x", "value=1")
    watch = Watch(r + "/f?wait=true")
    below = Watch(r + "/d/x?wait=true")
    node = json.loads(watch.line())
    equal((node["action"], node["node"], node["prevNode"]["value"]),
          ("expire", {"key": r + "/f", "modifiedIndex": s.start + 4, "createdIndex": s.start + 1}, "1"))
    check("expiration" in node["prevNode"], "the old node is whole")
    node = json.loads(below.line())
    equal((node["action"], node["node"]),
          ("expire", {"key": r + "/d", "dir": True, "modifiedIndex": s.start + 5, "createdIndex": s.start + 2}))
    watch.close()
    below.close()
    s.fails(100, r + "/f", 5, "GET", r + "/f")
    s.fails(100, r + "/d", 5, "GET", r + "/d/x")


def a_ttl_of_zero_is_due_at_once(s):
    a = s.ask("PUT", s.root + "/f", "value=1&ttl=0")
    node = json.loads(a.body)["node"]
    check("expiration" in node and "ttl" not in node, a.body)
    wait_for("its end", lambda: s.ask("GET", s.root + "/f").status == 404)


def conditions_see_a_ttl_and_no_ttl_ends_it(s):
    r = s.root
    s.ask("PUT", r + "/f", "value=1&ttl=100")
    for form in ("value=1", "value=1&prevExist=true", "value=1&prevValue=1", "value=1&ttl="):
        s.ask("PUT", r + "/f", "value=1&ttl=100")
        check("ttl" not in json.loads(s.ask("PUT", r + "/f", form).body)["node"], form)


# Section 8: watches.

class Watch:
    """A waiting GET: its head has come when it exists."""

    def __init__(self, path):
        self.socket = socket.create_connection((HOST, 4001), timeout=10)
        self.socket.sendall(b"GET /v2/keys%s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = {}
        for line in iter(self.file.readline, b"\r\n"):
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()

    def chunk(self):
        n = int(self.file.readline(), 16)
        return self.file.read(n + 2)[:-2]

    def line(self):
        """The only event, with the end behind it."""
        body = self.chunk()
        equal(self.chunk(), b"", "the last chunk")
        return body.decode()

    def is_silent(self, seconds=0.3):
        self.socket.settimeout(seconds)
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except socket.timeout:
            return True
        finally:
            self.socket.settimeout(10)

    def close(self):
        self.file.close()
        self.socket.close()


def event_of(path, action):
    """What a watcher of @path is told of what @action does."""
    watch = Watch(path + ("&" if "?" in path else "?") + "wait=true")
    equal(watch.status, 200)
    equal(watch.headers["content-type"], "application/json")
    check("x-raft-index" in watch.headers and "x-raft-term" in watch.headers, "Raft's headers")
    action()
    body = watch.line()
    watch.close()
    return body


def a_watch_hears_what_the_writer_was_told(s):
    r = s.root
    bodies = {}
    for n, (method, path, form) in enumerate((
            ("PUT", r + "/f", "value=1"), ("PUT", r + "/f", "value=2&noValueOnSuccess=false"),
            ("PUT", r + "/f", "value=3&prevExist=true"), ("PUT", r + "/f", "value=4&prevValue=3"),
            ("DELETE", r + "/f?prevValue=4", None), ("PUT", r + "/f", "dir=true"), ("DELETE", r + "/f?dir=true", None))):
        heard = event_of(r + "/f", lambda: bodies.update({n: s.ask(method, path, form).body}))
        equal(heard, bodies[n])
    heard = event_of(r + "?recursive=true", lambda: s.ask("POST", r, "value=1"))
    equal(heard, s.last.body)
    heard = event_of(r + "/f", lambda: s.ask("PUT", r + "/f", "value=1&noValueOnSuccess=true"))
    check('"node":{"key":"%s/f","value":"1"' % r in heard, "noValueOnSuccess has no influence")


def a_watch_is_told_what_matches(s):
    r = s.root
    s.ask("PUT", r + "/foo/x", "value=1")
    plain, deep = Watch(r + "/foo?wait=true"), Watch(r + "/foo?wait=true&recursive=true")
    s.ask("PUT", r + "/foobar", "value=1")
    s.ask("PUT", r + "/foo/_h", "value=1")
    s.ask("PUT", r + "/foo/_h2/y", "value=1")
    check(plain.is_silent() and deep.is_silent(0.1), "other names and hidden ones")
    s.ask("PUT", r + "/foo/new/y", "value=1")
    equal(deep.line(), s.last.body, "one below")
    check(plain.is_silent(), "a child is not the key")
    below, missing = Watch(r + "/foo/new/y?wait=true"), Watch(r + "/foo/none?wait=true")
    hidden = Watch(r + "/foo/_h?wait=true")
    above = Watch(r + "?wait=true&recursive=true")
    s.ask("DELETE", r + "/foo?recursive=true")
    for w in (plain, below, hidden, above):
        equal(w.line(), s.last.body, "the removal of the tree, with the tree's event")
    check(missing.is_silent(), "what was not in it")
    for w in (plain, deep, below, missing, hidden, above):
        w.close()


def a_wait_index_is_inclusive_and_meets_the_history(s):
    r = s.root
    bodies = [s.ask("PUT", r + "/f", "value=%d" % i).body for i in range(1, 4)]
    s.ask("PUT", r + "/other", "value=1")
    for i in range(1, 4):
        w = Watch(s.number(r + "/f?wait=true&waitIndex=@%d" % i))
        equal(w.line(), bodies[i - 1])
        equal(int(w.headers["x-etcd-index"]) - s.start, 4)
        w.close()
    w = Watch(s.number(r + "/f?wait=true&waitIndex=@6"))
    s.ask("PUT", r + "/f", "value=5")
    check(w.is_silent(), "passes over what is earlier")
    s.ask("PUT", r + "/f", "value=6")
    equal(w.line(), s.last.body)
    w.close()
    w = Watch(r + "/f?wait=true&waitIndex=0")
    s.ask("PUT", r + "/f", "value=7")
    equal(w.line(), s.last.body, "0 is none")
    w.socket.sendall(b"GET /v2/keys%s HTTP/1.1\r\nHost: x\r\n\r\n" % r.encode())
    check(b" 200 " in w.file.readline(), "the connection serves the next request")
    w.close()


def history_has_a_thousand_events(s):
    r = s.root
    connection = http.client.HTTPConnection(HOST, 4001, timeout=10)
    for i in range(1005):
        ask("PUT", "/v2/keys" + r + "/f", "value=%d" % i, FORM, connection=connection)
    connection.close()
    w = Watch(s.number(r + "/f?wait=true&waitIndex=@6"))
    equal(json.loads(w.line())["node"]["value"], "5", "the oldest")
    w.close()
    s.fails(401, "the requested history has been cleared [@6/@5]", 1005, "GET", r + "/f?wait=true&waitIndex=@5")
    s.fails(401, "the requested history has been cleared [@6/@1]", 1005, "GET",
            r + "/never?wait=true&waitIndex=@1")


def a_stream_sends_every_event(s):
    r = s.root
    w = Watch(r + "?wait=true&recursive=true&stream=true")
    equal(w.status, 200)
    for i in range(5):
        s.ask("PUT", r + "/%d" % i, "value=1")
        equal(w.chunk().decode(), s.last.body)
    check(w.is_silent(0.1), "and stays open")
    w.close()


def a_stream_from_the_past_goes_on_with_what_comes(s):
    r = s.root
    bodies = [s.ask("PUT", r + "/f", "value=%d" % i).body for i in range(4)]
    w = Watch(s.number(r + "?wait=true&recursive=true&stream=true&waitIndex=@2"))
    bodies.append(s.ask("DELETE", r + "/f").body)
    bodies.append(s.ask("PUT", r + "/f", "value=last").body)
    equal([w.chunk().decode() for _ in range(5)], bodies[1:], "neither gap nor repetition")
    check(w.is_silent(0.1), "nothing else")
    w.close()
    s.ask("PUT", r + "/f", "value=after")
    equal(s.last.status, 200, "a reader that hung up leaves no trace")


# Section 1: HTTP.

def methods_paths_and_trailing_slashes(s):
    r = "/v2/keys" + s.root
    ask("PUT", r + "/f", "value=1", FORM)
    for method in ("PATCH", "FOO", "TRACE", "put"):
        a = ask(method, r + "/f")
        equal((a.status, a.headers["Allow"], a.headers["Content-Type"], a.body),
              (405, KEYS_METHODS, "text/plain; charset=utf-8", "Method Not Allowed\n"))
    for path in ("/v2/keys", r, "/nothing", "/version", "/v2/members"):
        equal((ask("OPTIONS", path).status, ask("OPTIONS", path).body), (200, ""), path)
    for path in ("/v2/keysx", "/v2", "/v2/", "/v2/stats", "/v2/machines/"):
        a = ask("GET", path)
        equal((a.status, a.body, a.headers["Content-Type"]),
              (404, "404 page not found\n", "text/plain; charset=utf-8"), path)
    equal(ask("HEAD", r + "/f?wait=true").status, 400, "to wait is for GET")
    head, get = ask("HEAD", r + "/f"), ask("GET", r + "/f")
    equal((head.status, head.body, head.headers["Content-Length"]), (200, "", str(len(get.body))))
    equal(ask("HEAD", r + "/none").status, 404)
    equal(ask("GET", r + "/f/").body, get.body, "one slash at the end")
    equal(ask("GET", r + "%2Ff").body, get.body, "an escaped slash is one")
    check(b" 400 " in raw(b"GET %s/%%zz HTTP/1.1\r\nHost: x\r\n\r\n" % r.encode()), "a broken escape")


def paths_are_cleaned_within_the_keys(s):
    r = "/v2/keys" + s.root
    ask("PUT", r + "/f", "value=1", FORM)
    for path in ("//f", "/./f", "/x/../f", "/f/.", "/%2e/f"):
        a = ask("GET", r + path)
        check(a.status == 301 and a.headers["Location"] == r + "/f" or
              a.status == 200 and json.loads(a.body)["node"]["key"] == s.root + "/f", path)
    for path in ("/v2/keys/../members", "/v2/keys/a/../../machines", "/v2/keys/%2e%2e/members"):
        check(ask("GET", path).status in (301, 400), "the keys are not left by " + path)
    ask("DELETE", r + "//f?prevValue=2")
    equal(ask("GET", r + "/f").status, 200, "a cleaned path keeps its query")


def old_clients_and_bare_line_ends(s):
    path = b"/v2/keys" + s.root.encode()
    ask("PUT", path.decode() + "/f", "value=1", FORM)
    answer = raw(b"GET %s/f HTTP/1.0\r\n\r\n" % path)
    check(answer.startswith(b"HTTP/1.0 200 OK\r\n") and answer.endswith(b"}\n"), answer)
    answer = raw(b"GET %s/f HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET %s/none HTTP/1.0\r\n\r\n" % (path, path))
    check(b"HTTP/1.0 200" in answer and b"HTTP/1.0 404" in answer and b"chunked" not in answer, answer)
    answer = raw(b"GET %s/f HTTP/1.1\nHost: x\nConnection: close\n\n" % path)
    check(answer.startswith(b"HTTP/1.1 200") and b"Connection: close" in answer, answer)


def bodies_without_meaning_are_dropped(s):
    path = "/v2/keys" + s.root + "/f"
    inner = "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" % (path + "smuggled")
    c = http.client.HTTPConnection(HOST, 4001, timeout=10)
    ask("PUT", path, "value=1", FORM, connection=c)
    for body in (inner, "x" * 100000):
        equal(ask("GET", path, body, connection=c).status, 200)
        equal(ask("HEAD", path, body, connection=c).status, 200)
        equal(ask("DELETE", path, body, connection=c).status, 200)
        equal(ask("PUT", path, "value=1", FORM, connection=c).status, 201)
    c.close()
    equal(ask("GET", path + "smuggled").status, 404)


def pipelined_requests_are_answered_in_order(s):
    path = b"/v2/keys" + s.root.encode()
    put = b"PUT %s/%%d HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 7\r\n\r\nvalue=1" % (
        path, FORM.encode())
    get = b"GET %s/%%d HTTP/1.1\r\nHost: x\r\n\r\n" % path
    data = b"".join(put % i + get % i for i in range(200))
    last = b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = raw(data + last)
    keys = [int(n) for n in re.findall(rb'"action":"[a-z]+","node":{"key":"%s/(\d+)"' % s.root.encode(), answer)]
    equal(keys, [i for i in range(200) for _ in range(2)])
    check(answer.endswith(b'"etcdcluster":"3.4.0"}'), "and the last one")


def half_a_request_has_no_effect(s):
    path = b"/v2/keys" + s.root.encode()
    head = b"PUT %s/f HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n" % (path, FORM.encode())
    pieces = (head + b"Content-Length: 9\r\n\r\nvalue=ha", head + b"Content-Length: 7\r\n",
              head + b"Transfer-Encoding: chunked\r\n\r\n7\r\nvalue=h\r\n",
              head + b"Transfer-Encoding: chunked\r\n\r\n7\r\nvalue=h\r\n0\r\n")
    send_and_hang_up(pieces)
    equal(ask("GET", path.decode() + "/f").status, 404)


def send_and_hang_up(pieces):
    for data in pieces:
        for close in (socket.SHUT_WR, socket.SHUT_RDWR):
            with socket.create_connection((HOST, 4001), timeout=5) as c:
                c.sendall(data)
                with contextlib.suppress(OSError):
                    c.shutdown(close)
                    c.recv(10000)


def large_requests_pass_up_to_their_limits(s):
    path = "/v2/keys" + s.root
    escaped = "%C3%A4" * 500_000
    equal(ask("PUT", path + "/f", "value=" + escaped, FORM).status, 201, "a million bytes, three when escaped")
    equal(len(json.loads(ask("GET", path + "/f").body)["node"]["value"]), 500_000)
    equal(ask("DELETE", path + "/f").status, 200)


# What we do better than etcd.

def half_a_delete_has_no_effect(s):
    path = "/v2/keys" + s.root + "/f"
    ask("PUT", path, "value=1", FORM)
    send_and_hang_up([b"DELETE %s HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabc" % path.encode()])
    equal(ask("GET", path).status, 200)


def what_is_too_large_is_refused_with_a_reason(s):
    path = "/v2/keys" + s.root
    a = ask("PUT", path + "/f", "value=" + "x" * 1_000_001, FORM)
    equal((a.status, json.loads(a.body)["errorCode"]), (400, 210))
    equal(ask("PUT", path + "/" + "k" * 4100, "value=1", FORM).status, 400)
    equal(ask("PUT", path + "/d" * 65, "value=1", FORM).status, 400)
    equal(ask("PUT", path + "/f?" + "a=1&" * 65, "value=1", FORM).status, 400)
    equal(raw(b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 40000)).split()[1], b"414")
    equal(raw(b"GET / HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n" % (b"x" * 40000)).split()[1], b"431")
    equal(raw(b"PUT /v2/keys/f HTTP/1.1\r\nHost: x\r\nContent-Length: 4194305\r\nExpect: 100-continue\r\n\r\n"
              ).split()[1], b"413")
    equal(raw(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
              ).split()[1], b"400")
    equal(ask("GET", path + "/f").status, 404, "nothing of it was done")


# Section 10: other paths.

def version_machines_and_members(s):
    equal(re.fullmatch(r'{"etcdserver":"3\.4\.\d+","etcdcluster":"3\.4\.0"}', ask("GET", "/version").body) is None,
          False)
    for path, allow in (("/version", "GET"), ("/v2/stats/self", "GET"), ("/v2/stats/store", "GET"),
                        ("/v2/stats/leader", "GET"), ("/v2/auth/users", "GET"), ("/v2/auth/enable", "GET,PUT,DELETE"),
                        ("/v2/machines", "GET,HEAD"), ("/v2/members", "GET,POST,DELETE,PUT")):
        a = ask("PATCH", path)
        equal((a.status, a.headers["Allow"], a.body), (405, allow, "Method Not Allowed\n"), path)
    equal(ask("HEAD", "/version").status, 405)
    a = ask("GET", "/v2/machines")
    equal((a.body, a.headers["Content-Type"]), ("http://127.0.0.1:4001", "text/plain; charset=utf-8"))
    check("X-Etcd-Cluster-Id" not in a.headers, "no cluster id")
    equal(ask("HEAD", "/v2/machines").headers["Content-Length"], str(len(a.body)))
    a = ask("GET", "/v2/members")
    m = re.fullmatch(r'{"members":\[({"id":"([1-9a-f][0-9a-f]*)","name":"a","peerURLs":\["http://127.0.0.1:7001"\],'
                     r'"clientURLs":\["http://127.0.0.1:4001"\]})\]}\n', a.body)
    check(m, a.body)
    equal((a.headers["X-Etcd-Cluster-Id"], a.headers["Content-Type"]),
          (s.ask("GET", "/").headers["X-Etcd-Cluster-Id"], "application/json"))
    equal(ask("GET", "/v2/members/").body, a.body)
    equal(ask("GET", "/v2/members/leader").body, m.group(1) + "\n")
    for path in ("x", m.group(2)):
        a = ask("GET", "/v2/members/" + path)
        equal((a.status, a.body), (404, '{"message":"Not found"}'))


def changes_of_members_are_checked(s):
    url = '{"peerURLs":["%s"]}'
    json_type = "application/json"
    rows = [
        ("POST", "", "{}", FORM, 415, "Bad Content-Type %s, accept application/json" % FORM),
        ("POST", "", url % "http://127.0.0.1:7001", json_type, 409, "membership: peerURL exists"),
        ("POST", "", "{}", json_type, 400, "no valid URLs given"),
        ("POST", "", '{"peerURLs":[]}', json_type, 400, "no valid URLs given"),
        ("POST", "", "x", json_type, 400, None), ("POST", "", "", json_type, 400, None),
        ("POST", "", url % "http://127.0.0.1:1/path", json_type, 400,
         "URL must not contain a path: http://127.0.0.1:1/path"),
        ("POST", "", url % "http://127.0.0.1", json_type, 400, None),
        ("POST", "", url % "ftp://127.0.0.1:7", json_type, 400, None),
        ("POST", "", url % "127.0.0.1:7", json_type, 400, None),
        ("PUT", "/123", url % "http://127.0.0.1:7002", json_type, 404, "No such member: 123"),
        ("PUT", "/123", "{}", "text/plain", 415, "Bad Content-Type text/plain, accept application/json"),
        ("DELETE", "/123", None, None, 404, "No such member: 123"),
        ("DELETE", "/zz", None, None, 404, "No such member: zz"),
    ]
    for method, path, body, content_type, status, message in rows:
        a = ask(method, "/v2/members" + path, body, content_type)
        equal((a.status, a.headers["Content-Type"]), (status, json_type), (method, path, body))
        found = json.loads(a.body)
        equal(list(found), ["message"])
        check(message is None or found["message"] == message, a.body)
    equal(ask("PUT", "/v2/members", "{}", json_type).status, 405)
    equal(ask("DELETE", "/v2/members/").status, 405)


def statistics_have_the_fields_of_etcd(s):
    own = json.loads(ask("GET", "/v2/members").body)["members"][0]["id"]
    body = json.loads(ask("GET", "/v2/stats/self").body)
    equal((body["name"], body["id"], body["state"], body["leaderInfo"]["leader"]), ("a", own, "StateLeader", own))
    check(re.fullmatch(r"(\d+h)?(\d+m)?\d+(\.\d+)?m?s", body["leaderInfo"]["uptime"]), body)
    for name in (body["startTime"], body["leaderInfo"]["startTime"]):
        check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", name), name)
    check("recvAppendRequestCnt" in body and "sendAppendRequestCnt" in body, "counts")
    equal(ask("GET", "/v2/stats/leader").body, '{"leader":"%s","followers":{}}' % own)
    store = json.loads(ask("GET", "/v2/stats/store").body)
    equal(list(store), [a + b for a in ("gets", "sets", "delete", "update", "create", "compareAndSwap",
                                         "compareAndDelete") for b in ("Success", "Fail")]
          + ["expireCount", "watchers"])


def statistics_count_what_was_done(s):
    before = json.loads(ask("GET", "/v2/stats/store").body)
    r = s.root
    for method, path, form in (("PUT", "/f", "value=1"), ("GET", "/f", None), ("GET", "/none", None),
                               ("PUT", "/f", "value=2&prevExist=true"), ("PUT", "/none", "value=2&prevExist=true"),
                               ("PUT", "/f", "value=3&prevValue=2"), ("PUT", "/f", "value=3&prevValue=2"),
                               ("DELETE", "/f?prevValue=2", None), ("DELETE", "/f?prevValue=3", None),
                               ("DELETE", "/f", None), ("POST", "", "value=1"), ("DELETE", "?recursive=true", None)):
        s.ask(method, r + path, form)
    watch = Watch(r + "?wait=true")
    after = json.loads(ask("GET", "/v2/stats/store").body)
    watch.close()
    grown = {k: after[k] - before[k] for k in after if after[k] != before[k]}
    equal(grown, {"getsSuccess": 1, "getsFail": 1, "setsSuccess": 1, "updateSuccess": 1, "updateFail": 1,
                  "compareAndSwapSuccess": 1, "compareAndSwapFail": 1, "compareAndDeleteSuccess": 1,
                  "compareAndDeleteFail": 1, "deleteFail": 1, "deleteSuccess": 1, "createSuccess": 1,
                  "watchers": 1})


def nobody_has_to_log_in(s):
    for path, body in (("enable", '{"enabled":false}'), ("users", '{"users":null}'),
                       ("roles", '{"roles":[{"role":"root","permissions":{"kv":{"read":["/*"],"write":["/*"]}}}]}'),
                       ("roles/root", '{"role":"root","permissions":{"kv":{"read":["/*"],"write":["/*"]}}}')):
        a = ask("GET", "/v2/auth/" + path)
        equal((a.status, a.body.rstrip("\n")), (200, body))
        check("X-Etcd-Cluster-Id" in a.headers, "a cluster id")
    equal(ask("GET", "/v2/auth/users/x").status, 404)
    equal(ask("GET", "/v2/auth").status, 404)
    a = ask("PUT", "/v2/auth/enable")
    equal((a.status, a.body.rstrip("\n")), (409, '{"message":"auth: No root user available, please create one"}'))
    a = ask("PUT", "/v2/keys" + s.root + "/f", "value=1", FORM, {"Authorization": "Basic cm9vdDp4"})
    equal(a.status, 201, "whoever says who they are is not asked to prove it")


def members_come_and_go(s):
    def change(method, path, url=None, **more):
        body = json.dumps({"peerURLs": [url], **more}) if url else None
        return ask(method, "/v2/members" + path, body, "application/json" if url else None)

    def listed():
        return json.loads(ask("GET", "/v2/members").body)["members"]

    url = "http://127.0.0.2:7001"
    equal(ask("POST", "/v2/members", '{"peerURLs":["%s"]}' % url, "application/json",
              {"Origin": "http://evil.example"}).status, 403, "a web page may not")
    a = change("POST", "", url)
    new = json.loads(a.body)
    equal((a.status, a.body), (201, '{"id":"%s","name":"","peerURLs":["%s"],"clientURLs":[]}\n' % (new["id"], url)))
    check(new in listed(), "it is listed")
    equal(ask("GET", "/v2/machines").body, "http://127.0.0.1:4001", "clients are not sent there yet")
    silent = json.loads(ask("GET", "/v2/stats/leader").body)["followers"][new["id"]]
    equal(list(silent["latency"]), ["current", "average", "standardDeviation", "minimum", "maximum"])
    equal((silent["counts"]["success"], silent["latency"]["maximum"]), (0, 0), "it never answers")
    a = change("POST", "", url)
    equal((a.status, a.body), (409, '{"message":"membership: peerURL exists"}'))
    equal(change("PUT", "/" + new["id"], "http://127.0.0.1:7001").status, 409)
    a = change("PUT", "/" + new["id"], "http://127.0.0.2:7002")
    equal((a.status, a.body), (204, ""))
    equal([m["peerURLs"] for m in listed() if m["id"] == new["id"]], [["http://127.0.0.2:7002"]])
    a = ask("POST", "/v1/members/%s/promote" % new["id"])
    equal(a.status, 409, "it has caught up with nothing")
    equal(ask("PUT", "/v2/keys" + s.root, "value=1", FORM).status, 201, "a learner does not count")
    equal((change("DELETE", "/" + new["id"]).status, len(listed())), (204, 1))
    a = change("DELETE", "/" + new["id"])
    equal((a.status, a.body), (410, '{"message":"Member permanently removed: %s"}' % new["id"]))
    a = change("POST", "", url, name="observer-1", role="observer", clientURLs=["http://127.0.0.2:4002"])
    equal(a.status, 201)
    equal(change("DELETE", "/" + json.loads(a.body)["id"]).status, 204)
    for wrong in ({"name": "no name"}, {"role": "king"}, {"clientURLs": ["x"]}):
        equal(change("POST", "", url, **wrong).status, 400, wrong)
    own = listed()[0]["id"]
    check(change("DELETE", "/" + own).status in (409, 500), "the last one stays")
    equal(len(listed()), 1)


COMMON = [
    set_makes_replaces_and_refuses, create_wants_nothing_there, update_wants_something_there,
    an_update_of_a_directory_changes_its_ttl, compare_and_swap_compares_all_that_is_given,
    post_makes_keys_in_order, delete_wants_to_be_told_about_directories, compare_and_delete_compares_first,
    get_names_the_first_part_that_is_missing, listings_are_sorted_recursive_and_without_hidden_names,
    a_refresh_keeps_the_value_and_wakes_nobody, no_value_on_success_says_only_what_was_done,
    the_first_wrong_parameter_answers, truth_has_twelve_spellings, parameters_come_from_body_then_query,
    strings_are_escaped, a_ttl_runs_out_as_an_event, a_ttl_of_zero_is_due_at_once,
    conditions_see_a_ttl_and_no_ttl_ends_it, a_watch_hears_what_the_writer_was_told, a_watch_is_told_what_matches,
    a_wait_index_is_inclusive_and_meets_the_history, history_has_a_thousand_events, a_stream_sends_every_event,
    methods_paths_and_trailing_slashes, paths_are_cleaned_within_the_keys, old_clients_and_bare_line_ends,
    bodies_without_meaning_are_dropped, pipelined_requests_are_answered_in_order, half_a_request_has_no_effect,
    large_requests_pass_up_to_their_limits, version_machines_and_members, changes_of_members_are_checked,
    statistics_have_the_fields_of_etcd, nobody_has_to_log_in,
]
OURS = [a_stream_from_the_past_goes_on_with_what_comes, half_a_delete_has_no_effect,
        what_is_too_large_is_refused_with_a_reason, statistics_count_what_was_done, members_come_and_go]


def run(tests):
    passed = failed = 0
    for number, test in enumerate(tests):
        begun = time.monotonic()
        try:
            test(Story("t%d" % number))
            passed += 1
            print("ok      %s (%.1f s)" % (test.__name__, time.monotonic() - begun), flush=True)
        except (Failure, OSError, KeyError, ValueError, IndexError, TypeError, AttributeError,
                http.client.HTTPException) as problem:
            failed += 1
            print("FAILED  %s: %s: %s" % (test.__name__, type(problem).__name__, problem), flush=True)
    return passed, failed


def is_up():
    with contextlib.suppress(OSError):
        return ask("PUT", "/v2/keys/begin", "value=1", FORM).status in (200, 201)
    return False


def inside(options):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    server = Etcd() if options.etcd else Daemon(options.build, CONF)
    tests = COMMON if options.etcd else COMMON + OURS
    try:
        server.start()
        wait_for("the first write", is_up)
        time.sleep(1.0 if options.etcd else 0)  # etcd writes its version into the store
        passed, failed = run([t for t in tests if not options.names or t.__name__ in options.names])
        if "ERROR: " in server.log() or "runtime error" in server.log() or "ended by signal" in server.log():
            failed += 1
            print("FAILED  the log of the daemon shows a fault")
        if failed:
            print(server.log()[-2000:])
    finally:
        server.close()
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--etcd", action="store_true")
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
