#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# ps, stat, set and trim on running processes: figures add up to what the kernel says, options
# change, memory goes back; a child shows a page of its own, a process that closes its files another
# one; a small process stays single-threaded and shows none unless it is told to; one that is
# stopped does not hang the command.
. "$(dirname "$0")/lib.sh"

compile program

start() { # name of its output, arguments of larder run and program
    local output=$TMP/$1
    shift
    "$LARDER" run "$@" >"$output" 2>&1 &
    PID=$!
    PIDS+=("$PID")
    wait_for 20 grep -q ready "$output"
}
shows_page() { "$LARDER" stat "$1" >/dev/null 2>&1; }
number() { sed -nE "s/.*\"$1\": ([0-9.]+).*/\1/p" "${2:-$TMP/out}" | head -n 1; }

# What it frees is to be there for trim.
LARDER_SCAVENGE_DELAY_MS=3600s start main "$TMP/program" 60 3
wait_for 20 shows_page "$PID"
main=$PID

expect 0 "$LARDER" stat "$main"
has "^larder [0-9.]+: process $main \(program\)"
has '^  =  .* held_bytes '
has '^size classes in use'
has "^ +$main program "
has 'threads with a cache: 4'

# Totals against the kernel's: at most 3 % apart. The program goes on, so a second look may be needed.
reconciled() {
    "$LARDER" stat --json --explain "$main" >"$TMP/json" || return 1
    awk -v rss="$(number rss_bytes "$TMP/json")" -v pools="$(number pools_bytes "$TMP/json")" \
        -v records="$(number records_bytes "$TMP/json")" -v files="$(number files_bytes "$TMP/json")" \
        -v rest="$(($(number stack_bytes "$TMP/json") + $(number brk_bytes "$TMP/json") +
                    $(number other_bytes "$TMP/json")))" \
        -v held="$(number held_bytes "$TMP/json")" 'BEGIN {
            sum = pools + records + files + rest
            heap = pools + records
            exit !(sum > rss * 0.97 && sum < rss * 1.03 && held > heap * 0.97 && held < heap * 1.03)
        }'
}
wait_for 10 reconciled
expect 0 "$LARDER" stat --explain "$main"
has 'Rss of smaps_rollup$'
if command -v python3 >/dev/null; then
    python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
r = d["report"]
assert r["pid"] == int(sys.argv[2]) and len(r["threads"]) == 4, r
assert sum(c["size"] * c["live_objects"] for c in r["classes"]) > 50e6
assert {o["name"]: o for o in r["options"]}["heap_limit"]["value"] == "0"' "$TMP/json" "$main" ||
        fail "the JSON is not as it should be"
fi

expect 0 "$LARDER" ps
has "^ *$main .* 4  program$"
expect 0 "$LARDER" ps --json
has "\"pid\": $main, .*\"command\": \"program\", .*\"page\": true"

# Steering.
expect 0 "$LARDER" set "$main" scavenge_delay_ms=3600s heap_limit=900M
has '^scavenge_delay_ms = 3600000 ms$'
has '^heap_limit = 900 MiB$'
expect 0 "$LARDER" stat "$main"
has '^  heap_limit +900 MiB +set while it ran$'
for bad in heap_limit=lots scavenge_rate=1 thp=always nonsense=1; do
    expect 1 "$LARDER" set "$main" $bad
    has "${bad%%=*}" err
done
expect 1 "$LARDER" set "$main" heaplimit=1G
has "no option 'heaplimit', the nearest is 'heap_limit'; nothing was set\$" err
# As in the environment; what is checked before anything is set.
expect 0 "$LARDER" set "$main" LARDER_heap_limit=902M HEAP_LIMIT=901M
has '^heap_limit = 901 MiB$'
for bad in nonsense=1 scavenger=off; do
    expect 1 "$LARDER" set "$main" heap_limit=902M $bad
    has 'nothing was set$' err
done
expect 0 "$LARDER" stat "$main"
has '^  heap_limit +901 MiB +set while it ran$'
expect 2 "$LARDER" set "$main" heap_limit
expect 0 "$LARDER" trim --json "$main"
[ "$(number returned_bytes)" -gt $((10 << 20)) ] || fail "trim returned too little"
expect 0 "$LARDER" stat --interval 0.01 --count 20 --openmetrics "$main"
[ "$(grep -c '^# EOF' "$TMP/out")" -eq 20 ] || fail "not 20 reports"

# Two at once do not disturb each other.
for i in 1 2 3; do
    "$LARDER" stat --interval 0.01 --count 20 "$main" >"$TMP/many$i" 2>&1 &
done
for i in 1 2 3; do
    wait_for 20 sh -c "test \$(grep -c '^larder .*: process' '$TMP/many$i') -eq 20"
    ! grep -q 'does not answer' "$TMP/many$i" || fail "no answer: $i"
done

# Nor do requests that wait for no answer disturb those that do.
"$LARDER" stat --interval 0.001 "$main" >/dev/null 2>&1 &
reader=$!
PIDS+=("$reader")
for i in {901..920}; do
    expect 0 "$LARDER" set "$main" heap_limit=${i}M
    has "^heap_limit = $i MiB\$"
done
kill "$reader"
# They are answered too: figures go on, as each look takes locks.
"$LARDER" stat --json --interval 0.01 --count 50 "$main" >"$TMP/ahead" || fail "stat --interval"
[ "$(grep -o '"lock_takes": [0-9]*' "$TMP/ahead" | sort -u | wc -l)" -ge 10 ] ||
    fail "figures stand still"
# Those that stand still for a moment are whole too.
! command -v python3 >/dev/null || python3 - "$TMP/ahead" <<'EOF' || fail "not 50 reports, or not JSON"
import json, sys
text, count = open(sys.argv[1]).read().rstrip(), 0
while text:
    report, end = json.JSONDecoder().raw_decode(text)
    count += "classes" in report
    text = text[end:].lstrip()
sys.exit(count != 50)
EOF

# Stopped: the last figures, with a line that says so, and soon.
kill -STOP "$main"
expect 1 "$LARDER" stat "$main"
has '^size classes in use'
has "^larder: process $main does not answer, .*: its figures are [0-9]+ s old\$" err
expect 1 "$LARDER" ps
has "^ *$main .* program$"
has "^larder: process $main does not answer" err
expect 1 "$LARDER" set "$main" heap_limit=903M
[ "$(wc -l <"$TMP/err")" -eq 1 ] || fail "not one line"
expect 1 "$LARDER" trim "$main"
has 'it is stopped \(kill -CONT' err
expect 1 "$LARDER" ps
expect 0 "$LARDER" doctor "$main"
has '^look  state +the process is stopped by a signal$'
kill -CONT "$main"
wait_for 20 "$LARDER" trim "$main"
# What was set back is at its default; a limit below what is held is told of.
expect 0 "$LARDER" set "$main" heap_limit=1M
has "^larder: process $main holds [0-9.]+ MiB, more than heap_limit" err
expect 0 "$LARDER" set "$main" heap_limit=0
[ ! -s "$TMP/err" ] || fail "no limit is no limit"
expect 0 "$LARDER" stat "$main"
has_not '^  heap_limit '
# A process that ends ends the looking.
"$LARDER" stat --interval 0.01 "$main" >"$TMP/watch" 2>&1 &
watch=$!
PIDS+=("$watch")
wait_for 20 grep -q '^larder .*: process' "$TMP/watch"
kill -KILL "$main"
wait_for 20 grep -q 'has ended' "$TMP/watch"
wait_for 20 sh -c "! kill -0 $watch"

# A child shows a page of its own; it left its parent's alone.
start fork "$TMP/program" 40 0 fork
parent=$PID
wait_for 20 grep -q child "$TMP/fork"
child=$(sed -n 's/^child //p' "$TMP/fork")
PIDS+=("$child")
wait_for 20 shows_page "$child"
[ "$(find -L "/proc/$child/fd" -samefile "$(find "/proc/$parent/fd" -lname '/memfd:larder*')" |
    wc -l)" -eq 0 ] || fail "the child has its parent's page open"
expect 0 "$LARDER" set "$child" heap_limit=777M
expect 0 "$LARDER" stat "$parent"
has_not '777 MiB'
kill -KILL "$child" "$parent"

# After closing all files.
start close "$TMP/program" 40 1 close
wait_for 20 shows_page "$PID"
kill -KILL "$PID"

# Not asked for, or not allowed.
start off --opt publish=0 "$TMP/program" 40 1
expect 3 "$LARDER" stat "$PID"
has 'LARDER_PUBLISH=0' err
expect 0 "$LARDER" ps
has "^ *$PID .* -  program$"
start small "$TMP/program" 0
expect 3 "$LARDER" stat "$PID"
[ "$(find "/proc/$PID/task" -mindepth 1 -maxdepth 1 | wc -l)" -eq 1 ] || fail "it has threads"
start early --opt publish=2 "$TMP/program" 0
wait_for 20 shows_page "$PID"
[ "$(find "/proc/$PID/task" -mindepth 1 -maxdepth 1 | wc -l)" -eq 2 ] || fail "no background thread"

# Stopped before anybody looked: there are no figures, and that is said.
start unseen --opt publish=2 "$TMP/program" 0
wait_for 20 sh -c "find '/proc/$PID/fd' -lname '/memfd:larder*' -exec head -c 8 {} + | grep -q LRDRPAGE"
kill -STOP "$PID"
wait_for 20 grep -q '^State:.T' "/proc/$PID/status"
for command in "stat $PID" ps; do
    # shellcheck disable=SC2086
    expect 1 "$LARDER" $command
    has "^larder: process $PID (is stopped|does not answer, it is stopped)" err
done
kill -KILL "$PID"
# A zombie has no mappings any more.
sh -c 'exit 0 & exec sleep 60' &
PIDS+=("$!")
zombie() { ps --ppid "$1" -o pid=,stat= | awk '$2 ~ /^Z/ { print $1 }'; }
if command -v ps >/dev/null; then
    wait_for 20 sh -c "ps --ppid $! -o stat= | grep -q Z"
    expect 1 "$LARDER" stat "$(zombie "$!" | tr -d ' ')"
    has '\(zombie\)$' err
fi
expect 3 "$LARDER" stat $$
has 'does not use Larder' err
expect 1 "$LARDER" stat 2147483647
has 'no such process' err
expect 2 "$LARDER" stat 12x
expect 2 "$LARDER" stat --json --openmetrics $$
has 'one of --json, --openmetrics and --prometheus' err
expect 2 "$LARDER" ps --bad
[ "$(grep -c '^larder' "$TMP/err")" -eq 1 ] || fail "not one line says what is wrong"
has '^usage: larder ps' err
expect 2 "$LARDER" stats
has "the nearest is 'stat'" err
expect 2 "$LARDER" stat
expect 2 "$LARDER" trim
echo ok
