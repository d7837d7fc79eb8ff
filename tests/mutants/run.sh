#!/bin/sh
# Applies each deliberate bug to a copy of the tree, builds the simulator there, and lets it run
# until it finds the bug. Fails if one is not found, or does not fit the tree any more.
#
# usage: run.sh WORK [PATTERN]   (from the top of the tree; WORK is a directory of the build)
# MUTANT_SEEDS: how many seeds may be needed at most; JOBS: processes at a time.
set -u

work=$1
pattern=${2:-}
seeds=${MUTANT_SEEDS:-20000}
jobs=${JOBS:-$(nproc)}
failed=0
found=0

try()
{
        patch=$1
        name=$(basename "$patch" .patch)
        tree=$work/$name

        rm -rf "$tree"
        mkdir -p "$tree" || return 1
        cp -a Makefile election tests "$tree/" || return 1
        cp -a "$work/clean" "$tree/build" || return 1
        find "$tree/build" -name '*.d' -exec sed -i "s|$work/clean/|build/|g" {} +
        if ! patch -s -d "$tree" -p1 <"$patch" >"$tree.log" 2>&1; then
                echo "NOT APPLIED  $name: see $tree.log"
                return 1
        fi
        if ! make -C "$tree" BUILD=build build/sim >>"$tree.log" 2>&1; then
                echo "NOT BUILT    $name: see $tree.log"
                return 1
        fi
        "$tree/build/sim" --seeds "1-$seeds" --jobs "$jobs" --quiet >"$tree.log" 2>&1
        if ! grep -q '^seed [0-9]*: ' "$tree.log"; then
                echo "NOT CAUGHT   $name, in $seeds seeds"
                return 1
        fi
        after=$(sed -n 's/^\([0-9]*\) seeds, .*/\1/p' "$tree.log")
        echo "caught after $(printf %5d "$after") seeds: $name: $(sed -n 's/^seed \([0-9]*\): /seed \1: /p' "$tree.log" | head -n 1)"
        rm -rf "$tree" "$tree.log"
}

mkdir -p "$work" || exit 1
# The objects of the clean tree are where each copy begins: only what a bug changes is built anew.
make BUILD="$work/clean" "$work/clean/sim" >"$work/clean.log" 2>&1 || {
        cat "$work/clean.log"
        exit 1
}
for patch in tests/mutants/*"$pattern"*.patch; do
        if try "$patch"; then
                found=$((found + 1))
        else
                failed=$((failed + 1))
        fi
done
rm -rf "$work/clean" "$work/clean.log"
echo "$found of $((found + failed)) deliberate bugs were found"
[ "$failed" -eq 0 ] && [ "$found" -gt 0 ]
