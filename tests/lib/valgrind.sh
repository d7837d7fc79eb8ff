#!/bin/sh
# Lists the unit tests under valgrind, as lines "NAME COMMAND". Random groups run with fewer seeds, and
# what moves many megabytes is left out: valgrind looks at memory, and is thirty times slower.
set -eu
build=$2
for test in "$build"/unit/test-*; do
        name=$(basename "$test")
        echo "$name-valgrind RAFT_SEEDS=20 WAL_SEEDS=10 NODE_SNAPSHOT_TESTS=11 valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite $test"
done
