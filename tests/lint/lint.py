#!/usr/bin/env python3
"""Proves the house rules that a compiler does not: which room includes which, that other rooms use
public headers only, that the pure rooms call nothing that could reach the world, and that files
are clean. Ends with the number of complaints as its verdict."""

import os
import re
import subprocess
import sys

# A room: its folder, its public headers (None: all), what it may include besides itself.
ROOMS = {
    "base": ("election/base", None, []),
    "raft": ("election/raft", ["raft.h"], ["base"]),
    "store": ("election/store", ["store.h"], ["base"]),
    "failover": ("election/failover", ["failover.h"], ["base"]),
    "node": ("election", ["node.h", "describe.h", "members.h", "snapshot.h"], ["base", "raft", "store", "failover"]),
    "netlink": ("netlink", ["netlink.h"], ["base"]),
    "conf": ("conf", ["conf.h"], ["base"]),
    "actions": ("actions", None, ["base", "netlink"]),
    "postgres": ("actions/postgres", [], ["actions", "base"]),
    "daemon": ("daemon", [], ["base", "raft", "store", "failover", "node", "netlink", "conf", "actions"]),
    "failoverctl": ("daemon/failoverctl", [], ["base", "conf"]),
}

# Libraries by the beginning of the header's name, and the rooms that may use them.
LIBRARIES = {
    "event2/": ["actions", "postgres", "daemon"],
    "jansson.h": ["actions", "postgres", "daemon", "failoverctl"],
    "curl/": ["failoverctl"],
    "libpq-fe.h": ["postgres"],
    "libmnl/": ["netlink"],
    "linux/rtnetlink": ["netlink"],
    "confuse.h": ["conf"],
    "systemd/": ["daemon"],
    "pthread.h": ["daemon"],
    "uthash.h": ["store", "node", "daemon", "conf"],
}

# What code below the purity line may call: it computes, and nothing else. Of stdio, only printing
# into memory.
PURE = """
abort assert __assert_fail calloc malloc realloc reallocarray free
memcpy memmove memset memcmp memchr memrchr memmem
strlen strnlen strcmp strncmp strchr strrchr strstr strcpy strncpy strcspn strspn strcasecmp strncasecmp
strtoul strtoull strtol strtoll sscanf __isoc99_sscanf __isoc99_strtoull
snprintf vsnprintf __snprintf_chk __vsnprintf_chk __memcpy_chk __memset_chk __memmove_chk
qsort bsearch inet_pton inet_ntop __ctype_b_loc tolower toupper
__stack_chk_fail _GLOBAL_OFFSET_TABLE_ __cpu_model
""".split()

CLOCKS = re.compile(r"\b(clock_gettime|gettimeofday|time)\(")
CLOCK_FILES = ["daemon/clock.c", "actions/agent-clock.c", "daemon/failoverctl/clock.c"]
# Asks the compiler for which processor it builds: an instruction and its substitute in one file.
PROCESSOR_FILES = ["election/base/crc32c.c"]
JOURNAL = re.compile(r"\b(sd_journal_\w+|syslog)\s*\(")

complaints = []


def complain(path, line, text):
    complaints.append("%s:%d: %s" % (path, line, text))


def room_of(path):
    folder = os.path.dirname(path)
    for name, (where, _, _) in ROOMS.items():
        if folder == where:
            return name
    return None


def check_include(path, number, room, header):
    target = room_of(header)
    if target is None:
        complain(path, number, 'includes "%s", which is in no room' % header)
        return
    if target == room:
        return
    if target not in ROOMS[room][2]:
        complain(path, number, "room %s may not include room %s (%s)" % (room, target, header))
        return
    public = ROOMS[target][1]
    if public is not None and os.path.basename(header) not in public:
        complain(path, number, "%s is a private header of room %s" % (header, target))


def check_library(path, number, room, header):
    for prefix, rooms in LIBRARIES.items():
        if header.startswith(prefix) and room not in rooms:
            complain(path, number, "room %s may not use <%s>" % (room, header))


def check_source(path):
    room = room_of(path)
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")
    if not lines[0].startswith("/*"):
        complain(path, 1, "has no opening comment")
    for number, line in enumerate(lines, 1):
        include = re.match(r'#include "(.*)"', line)
        library = re.match(r"#include <(.*)>", line)
        if include:
            check_include(path, number, room, include.group(1))
        if library:
            check_library(path, number, room, library.group(1))
        if re.match(r"\s*#\s*(if|ifdef|ifndef)\b", line) and path not in PROCESSOR_FILES:
            complain(path, number, "a choice made at build time is a choice between files")
        if CLOCKS.search(line) and path not in CLOCK_FILES:
            complain(path, number, "reads a clock outside of %s" % " and ".join(CLOCK_FILES))
        if JOURNAL.search(line) and path != "daemon/journal.c":
            complain(path, number, "writes a log outside of daemon/journal.c")
        if re.match(r"^typedef struct", line):
            complain(path, number, "a typedef hides a struct")
        if re.search(r"\s$", line):
            complain(path, number, "blanks at the end of the line")
        if "\t" in line:
            complain(path, number, "a tab")
    if path.endswith(".h") and not any(l.startswith("#pragma once") for l in lines):
        complain(path, 1, "has no #pragma once")


def check_purity(build):
    ours = set()
    undefined = {}
    for room in ["base", "raft", "store", "failover", "node"]:
        archive = os.path.join(build, "lib%s.a" % room)
        output = subprocess.run(["nm", archive], check=True, capture_output=True, text=True).stdout
        for line in output.split("\n"):
            words = line.split()
            if len(words) == 2 and words[0] == "U":
                undefined.setdefault(words[1], room)
            elif len(words) == 3:
                ours.add(words[2])
    for symbol, room in sorted(undefined.items()):
        if symbol not in ours and symbol not in PURE and not symbol.startswith(("__asan", "__ubsan")):
            complain("election", 0, "the pure room %s calls %s" % (room, symbol))


def main():
    build = sys.argv[1] if len(sys.argv) > 1 else "build"
    n = 0
    for where, _, _ in ROOMS.values():
        for name in sorted(os.listdir(where)):
            if name.endswith((".c", ".h")):
                check_source(os.path.join(where, name))
                n += 1
    check_purity(build)
    for text in complaints:
        print(text)
    print("lint: %d files, %d complaints" % (n, len(complaints)))
    return 1 if complaints else 0


sys.exit(main())
