#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# LARDER_METRICS_FILE: a file that strict readers accept is there soon, is renewed, and goes when the
# process ends; a child has one of its own or none; the thread wakes up for nothing else; a link is
# replaced, not followed; what cannot be written is said once.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)

command -v python3 >/dev/null || skip "no python3"
compile program
mkdir "$TMP/m"

start() { # name of its output, arguments of larder run
    local output=$TMP/$1
    shift
    "$LARDER" run --opt metrics_seconds=1 "$@" >"$output" 2>&1 &
    PID=$!
    PIDS+=("$PID")
}
stamp() { stat -c '%i %Y' "$1"; }
renewed() { [ "$(stamp "$1" 2>/dev/null)" != "$2" ]; }

# A link to something precious, and what a process that was killed left.
echo precious >"$TMP/precious"
ln -s "$TMP/precious" "$TMP/m/one.prom"
start one --opt "metrics_file=$TMP/m/one.prom" "$TMP/program" 20 2
one=$PID
echo left >"$TMP/m/one.prom.$one" || true
wait_for 20 test -f "$TMP/m/one.prom" -a ! -L "$TMP/m/one.prom"
grep -q precious "$TMP/precious" || fail "the link was followed"
cp "$TMP/m/one.prom" "$TMP/copy"
"$here/metrics.py" prometheus "$TMP/copy" || fail "metrics.py"
if command -v promtool >/dev/null; then
    promtool check metrics <"$TMP/copy" || fail "promtool"
fi
grep -qE "^larder_live_bytes\{pid=\"$one\",command=\"program\"\} [0-9]+$" "$TMP/copy" || fail "labels"
wait_for 20 renewed "$TMP/m/one.prom" "$(stamp "$TMP/m/one.prom")"
expect 0 "$LARDER" stat --json "$one"
has "\"metrics_file\", \"value\": \"/"
expect 1 "$LARDER" set "$one" metrics_file=/tmp/x
expect 0 "$LARDER" set "$one" metrics_seconds=2

# Small and idle: the thread is there for the file alone, and sleeps in between.
start idle --opt "metrics_file=$TMP/m/%p.prom" python3 -c 'input()' < <(sleep 30)
idle=$PID
wait_for 20 test -f "$TMP/m/$idle.prom"
switches() {
    local task
    for task in "/proc/$1/task/"*; do
        if [ "$(cat "$task/comm")" = larder ]; then
            sed -n 's/^voluntary_ctxt_switches:[^0-9]*//p' "$task/status"
        fi
    done
}
quiet() { # once it has returned what the start left, and looked for idle threads
    local before
    before=$(switches "$idle")
    sleep 3
    [ "$(($(switches "$idle") - before))" -le 12 ]
}
wait_for 30 quiet

# Ends, and takes its file along.
start short --opt "metrics_file=$TMP/m/%p.prom" python3 -c 'import time; time.sleep(2)'
wait_for 20 test -f "$TMP/m/$PID.prom"
wait "$PID"
[ ! -e "$TMP/m/$PID.prom" ] || fail "the file outlives its process"

# A child writes only under a name of its own.
start family --opt "metrics_file=$TMP/m/%p.prom" "$TMP/program" 20 1 fork
wait_for 20 grep -qE 'child' "$TMP/family"
child=$(sed -nE 's/.*child[^0-9]*([0-9]+).*/\1/p' "$TMP/family" | head -n 1)
PIDS+=("$child")
wait_for 20 test -f "$TMP/m/$PID.prom" -a -f "$TMP/m/$child.prom"
start single --opt "metrics_file=$TMP/m/single.prom" "$TMP/program" 20 1 fork
wait_for 20 grep -qE 'child' "$TMP/single"
child=$(sed -nE 's/.*child[^0-9]*([0-9]+).*/\1/p' "$TMP/single" | head -n 1)
PIDS+=("$child")
wait_for 20 test -f "$TMP/m/single.prom"
wait_for 20 "$LARDER" trim "$child" # its thread runs, and has had occasion
for _ in 1 2 3 4; do
    ! grep -q "pid=\"$child\"" "$TMP/m/single.prom" || fail "a child writes the file of its parent"
    sleep 0.5
done

# What cannot be: one line, and the program goes on.
start nowhere --opt "metrics_file=$TMP/none/x.prom" "$TMP/program" 5 1
wait_for 20 grep -q 'larder: cannot write' "$TMP/nowhere"
sleep 2.5
kill -0 "$PID" || fail "the program ended"
[ "$(grep -c 'larder: cannot write LARDER_METRICS_FILE=.*: there is no such folder (error 2)' \
    "$TMP/nowhere")" = 1 ] || fail "not one line: $(cat "$TMP/nowhere")"
start folder --opt "metrics_file=$TMP/m" "$TMP/program" 5 1
wait_for 20 grep -q 'cannot write LARDER_METRICS_FILE=.*: it is a folder; name a file in it' "$TMP/folder"
expect 2 "$LARDER" run --opt metrics_file=x.prom true
has 'accepted: none or a path from / on' err
echo ok
