#!/bin/sh
# Lists the unit tests under valgrind, as lines "NAME COMMAND". Left out are those that make network
# namespaces or replace system calls, which valgrind does not know.
set -eu
build=$2
for test in "$build"/unit/test-*; do
        name=$(basename "$test")
        case $name in
        test-netlink-* | test-daemon-clock) continue ;;
        esac
        echo "$name-valgrind RAFT_SEEDS=20 valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite $test"
done
