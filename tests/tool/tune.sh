#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# larder tune finds that small caches suit a program whose threads hold little of many sizes, judged by
# memory, which time does not change; and refuses what it cannot use.
. "$(dirname "$0")/lib.sh"

compile calls
expect 0 "$LARDER" run --trace "$TMP/trace" -- "$TMP/calls" 20000 4 8000
expect 0 "$LARDER" tune --for memory --budget 0.5 "$TMP/trace"
has '^larder tune: round 1 of [0-9]+ settings$' err
[ "$(grep -c '^larder tune: round 1 ' "$TMP/err")" -eq 1 ] || fail "more than a line a round"
has '^default +[3-9]'
has '^preset memory +[3-9] .* -[1-9][0-9]*\.[0-9] % \+-'
has '^better than the default: .*, peak memory -[1-9][0-9]*\.[0-9] % '
has '^  larder run (--preset memory|--opt [a-z_]+=[0-9A-Za-z]+).* -- PROGRAM$'
has '^  LARDER_[A-Z_]+=[0-9A-Za-z]+'

if command -v python3 >/dev/null; then
    expect 0 "$LARDER" tune --for memory --budget 0.2 --json "$TMP/trace"
    python3 -c 'import json, sys
t = json.load(open(sys.argv[1]))
best = t["best"]
named = [s for s in t["settings"] if s["name"] == best["name"]]
assert t["for"] == "memory" and named[0]["peak_memory"] == best["gain"], t
assert best["command"].endswith(" -- PROGRAM") and all(k.startswith("LARDER_") for k in best["environment"])' \
        "$TMP/out" || fail "the JSON is not as it should be"
fi

expect 1 "$LARDER" run --trace "$TMP/little" -- sh -c 'exit 1'
expect 1 "$LARDER" tune "$TMP/little"
has 'has too little in it: [0-9]+ calls' err
expect 1 "$LARDER" tune "$TMP/calls"
expect 2 "$LARDER" tune --for beauty "$TMP/trace"
expect 2 "$LARDER" tune
echo ok
