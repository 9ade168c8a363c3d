#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Python's own test suite: threads, executors, subprocesses, JSON and dicts with every object from
# malloc (PYTHONMALLOC=malloc turns Python's allocator off). Same number of tests, same verdicts as
# with glibc.

set -eu
. "$(dirname "$0")/lib.sh"
begin python "$@"
PYTHON=/usr/bin/python3
need $PYTHON python3
$PYTHON -c 'import test.test_json, test.test_threading' 2>/dev/null ||
    skip "no test suite for $PYTHON (Debian package libpython3.N-testsuite)"

LIMIT=$(pick 120 1200)
export PYTHONMALLOC=malloc

check_takeover $PYTHON -c 'import json, threading'

# verdicts STEP SIDE: how many tests each module ran and how they ended, without the times.
verdicts() {
    cat "$TMP/$1.$2.out" "$TMP/$1.$2.err" |
        sed -nE 's/^(Ran [0-9]+ tests?) in .*/\1/p; /^(OK|FAILED)( |$)/p'
}

for module in $(pick "test_json test_dict test_threading" \
    "test_threading test_concurrent_futures test_subprocess test_json test_dict"); do
    for side in $SIDES; do
        run_one "$side" "$module" "$LIMIT" $PYTHON -m test -v -w --tempdir=. "$module"
        verdicts "$module" "$side" >"$TMP/$module.$side.verdicts"
        grep -q '^Ran [1-9]' "$TMP/$module.$side.verdicts" ||
            fail "$module ($side) ran no test" "$TMP/$module.$side.out" "$TMP/$module.$side.err"
    done
    diff "$TMP/$module.ref.verdicts" "$TMP/$module.lib.verdicts" >"$TMP/diff" ||
        fail "$module ends otherwise than with glibc" "$TMP/diff" "$TMP/$module.lib.out"
    expect_exit "$module" "$(cat "$TMP/$module.ref.rc")"
    say "$module: $(paste -sd ' ' "$TMP/$module.lib.verdicts")"
    report_run "$module"
done
finish "all verdicts alike"
