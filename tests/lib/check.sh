#!/bin/sh
# All tests: both compilers without a warning, the rules of the house, unit tests plain, sanitized and
# under valgrind, stories, simulation, and the whole on real servers. Ends with the sum.
set -u
cd "$(dirname "$0")/../.." || exit 1

jobs=$(nproc)
build() { # build FOLDER VARIABLES...: all programs and tests, warnings are errors
        folder=$1
        shift
        make --no-print-directory -j "$jobs" BUILD="$folder" WERROR=1 "$@" everything
}

# Builds that fail are said at once: nothing that follows would mean anything.
mkdir -p build/check
for kind in "build" "build/clang CC=clang" "build/sanitized SAN=1"; do
        # shellcheck disable=SC2086 # a folder and variables
        build $kind >build/check/build.log 2>&1 || {
                cat build/check/build.log
                echo "0 passed, 1 failed"
                exit 1
        }
done

jobs_file=$(mktemp)
trap 'rm -f "$jobs_file"' EXIT
job() { # job NAME COMMAND...
        echo "$*" >>"$jobs_file"
}

job lint python3 tests/lint/lint.py build
for test in build/unit/test-*; do
        name=$(basename "$test")
        job "$name" "$test"
        job "$name-sanitized" "build/sanitized/unit/$name"
done
tests/lib/valgrind.sh list build | while read -r name command; do echo "$name $command"; done >>"$jobs_file"
make --no-print-directory -s list-checks | while read -r line; do echo "$line"; done >>"$jobs_file"

exec python3 tests/lib/check.py --logs build/check --limit 900 --file "$jobs_file"
