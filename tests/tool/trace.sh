#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# larder trace and larder run --trace record a program without a loss, end with it, and refuse what
# cannot be recorded.
. "$(dirname "$0")/lib.sh"

# The program's own status, output and end; nothing of it is dropped.
expect 7 "$LARDER" run --trace "$TMP/trace" -- sh -c 'echo said; exit 7'
has '^said$'
has 'larder: [1-9][0-9]* events in .*, 0 dropped; ' err
expect 143 "$LARDER" run --trace "$TMP/trace" -- sh -c 'kill -TERM $$'
expect 127 "$LARDER" run --trace "$TMP/trace" -- "$TMP/missing"
expect 1 "$LARDER" run --trace "$TMP/missing/trace" -- true
has 'cannot write' err

# A process that runs: for a while, and again; then until it ends.
compile program
"$LARDER" run -- "$TMP/program" 20 2 >"$TMP/said" &
pid=$!
PIDS+=("$pid")
wait_for 20 grep -q ready "$TMP/said"
# Stopped, it is not asked: it would begin alone when it goes on.
wait_for 20 "$LARDER" trim "$pid"
kill -STOP "$pid"
wait_for 20 grep -q '^State:.T' "/proc/$pid/status"
expect 1 "$LARDER" trace --seconds 0.1 -o "$TMP/stopped" "$pid"
has 'cannot be recorded: it is stopped' err
kill -CONT "$pid"
wait_for 20 "$LARDER" trim "$pid"
[ "$(find "/proc/$pid/fd" -lname '*larder-trace*' | wc -l)" -eq 0 ] || fail "it records by itself"
wait_for 20 "$LARDER" stat "$pid"
for round in 1 2; do
    expect 0 "$LARDER" trace --seconds 0.3 -o "$TMP/trace" "$pid"
    has 'larder: [1-9][0-9]* events in .*, 0 dropped; ' err
    [ -s "$TMP/trace" ] || fail "round $round left no file"
done
rm "$TMP/trace"
"$LARDER" trace -o "$TMP/trace" "$pid" 2>"$TMP/err" &
recorder=$!
PIDS+=("$recorder")
wait_for 20 test -e "$TMP/trace" # it records from before that on
wait_for 20 sh -c "! '$LARDER' trace --seconds 0.1 -o '$TMP/other' $pid 2>/dev/null"
kill -KILL "$pid"
wait "$recorder" || fail "the recorder did not end well with the process"
has ' 0 dropped; ' err

expect 2 "$LARDER" trace "$$"
expect 2 "$LARDER" trace -o "$TMP/trace"
expect 2 "$LARDER" trace --seconds never -o "$TMP/trace" "$$"
expect 3 "$LARDER" trace -o "$TMP/trace" "$$"
echo ok
