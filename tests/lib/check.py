#!/usr/bin/env python3
"""Runs test programs one after the other, each with a time limit, and adds up what they counted.

    check.py [--limit SECONDS] [--logs FOLDER] [--file FILE] [NAME COMMAND [-- NAME COMMAND]...]

A file holds one "NAME COMMAND" a line.

A program is counted by cmocka's closing lines or by its own last line "N passed, N failed"; one that
says neither counts as one test. The whole output of a program that failed is shown; that of all is
kept in the folder of logs. Ends with the plain line "N passed, N failed"."""

import argparse
import os
import re
import signal
import subprocess
import sys
import time


def count(output, status):
    """(passed, failed) by what the program printed; a bad exit status is never a pass."""
    passed = failed = 0
    own = re.findall(r"^(\d+) passed, (\d+) failed\s*$", output, re.M)
    if own:
        passed, failed = int(own[-1][0]), int(own[-1][1])
    else:
        passed = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) test", output))
        failed = sum(int(n) for n in re.findall(r"^\[  FAILED  \]\s+\S+:? ?(\d+) test", output, re.M))
        if passed + failed == 0:
            passed = 1 if status == 0 else 0
    if status != 0 and failed == 0:
        failed = 1
    return passed, failed


def run(command, limit, log):
    """Output and exit status; the whole process group is ended when its time is over."""
    with open(log, "wb") as file:
        process = subprocess.Popen(command, shell=True, stdout=file, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            status = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            file.write(b"\ntook longer than %d s\n" % limit)
            status = -1
    with open(log, "rb") as file:
        return file.read().decode("utf-8", "replace"), status


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=int, default=600)
    parser.add_argument("--logs", default="build/check")
    parser.add_argument("--file")
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    os.makedirs(options.logs, exist_ok=True)
    jobs, job = [], []
    for word in options.rest + ["--"]:
        if word != "--":
            job.append(word)
        elif job:
            jobs.append((job[0], " ".join(job[1:])))
            job = []
    if options.file:
        with open(options.file, encoding="utf-8") as file:
            jobs += [tuple(line.split(None, 1)) for line in file if line.strip()]
    totals = [0, 0]
    for name, command in jobs:
        began = time.monotonic()
        output, status = run(command, options.limit, os.path.join(options.logs, name + ".log"))
        passed, failed = count(output, status)
        totals[0] += passed
        totals[1] += failed
        if failed:
            sys.stdout.write(output)
        print("%-40s %4d passed %4d failed %7.1f s" % (name, passed, failed, time.monotonic() - began),
              flush=True)
    print("%d passed, %d failed" % tuple(totals))
    return 1 if totals[1] else 0


sys.exit(main())
