#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The command on real programs, a redis-server under load and a Python with data: the parts that
# larder stat --explain shows are together what the kernel counts, within 3 %, and so is what the heap
# holds of its part; larder top shows the server at work; a profile of it, sampled while it runs,
# names its functions.
. "$(dirname "$0")/lib.sh"

figure() { sed -nE "s/.*\"$1\": ([0-9.]+).*/\1/p" "$TMP/json" | head -n 1; }

# Within 3 % of smaps_rollup, and so the heap's figure of what is resident of it. (A MiB or two of
# spans and large blocks that nobody has touched yet are held and not resident: heaps are not small.)
reconciled() { # pid
    "$LARDER" stat --json --explain "$1" >"$TMP/json" || return 1
    local sum=0 part rollup
    for part in pools records files stack brk other; do
        sum=$((sum + $(figure ${part}_bytes)))
    done
    rollup=$(awk '/^Rss:/ { print $2 * 1024 }' "/proc/$1/smaps_rollup")
    awk -v rollup="$rollup" -v sum="$sum" -v held="$(figure held_bytes)" \
        -v heap="$(($(figure pools_bytes) + $(figure records_bytes)))" 'BEGIN {
            printf "%d %d %d %d\n", rollup, sum, held, heap
            exit !(sum > rollup * 0.97 && sum < rollup * 1.03 && held > heap * 0.97 && held < heap * 1.03)
        }' >"$TMP/out"
}

tried=0
if command -v python3 >/dev/null; then
    python=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')
    PYTHONMALLOC=malloc "$LARDER" run -- "$python" -c 'import time
data = [{"key": i, "text": "x" * (i % 300)} for i in range(200000)]
print("ready", flush=True)
time.sleep(100)' >"$TMP/python" 2>&1 &
    pid=$!
    PIDS+=("$pid")
    wait_for 60 grep -q ready "$TMP/python"
    wait_for 20 reconciled "$pid"
    echo "python: smaps_rollup, sum of the parts, held, resident of the heap: $(cat "$TMP/out")"
    kill "$pid"
    tried=1
fi

if command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null; then
    "$LARDER" run redis-server --port 0 --unixsocket "$TMP/socket" --save '' --dir "$TMP" \
        >"$TMP/redis" 2>&1 &
    pid=$!
    PIDS+=("$pid")
    wait_for 20 redis-cli -s "$TMP/socket" ping
    bench() { redis-benchmark -s "$TMP/socket" -q -r 1000000 -t set -d 300 "$@"; }
    bench -n 400000 -P 16 >"$TMP/bench" 2>&1 || fail "redis-benchmark"
    wait_for 20 reconciled "$pid"
    echo "redis: smaps_rollup, sum of the parts, held, resident of the heap: $(cat "$TMP/out")"
    has_not '^0 '
    tried=1

    bench -l >"$TMP/bench" 2>&1 & # until it is killed
    PIDS+=("$!")
    expect 0 "$LARDER" profile --kind allocated --seconds 1 --interval 16K "$pid"
    sed -n 2,40p "$TMP/out" | grep -qE '(zmalloc|sds|Command|Query|Event|[a-z]+(Object|Handler))' ||
        fail "the profile names no function of redis"
    if command -v tmux >/dev/null && "$LARDER" help | grep -q '^  top '; then
        terminal() { TERM=xterm LANG=C.UTF-8 tmux -S "$TMP/terminal" -f /dev/null "$@"; }
        terminal new-session -d -x 100 -y 30 "'$LARDER' top --delay 0.3 $pid"
        shows() { terminal capture-pane -p 2>/dev/null >"$TMP/screen" && grep -qE -- "$1" "$TMP/screen"; }
        wait_for 20 shows "process $pid \(redis-server\)"
        wait_for 20 shows '^Slow +[0-9]+ requests/s'
        wait_for 20 shows '^ +320 +[0-9]{3,} +[0-9]{5,} ' # its values
        terminal capture-pane -p | sed -n 1,20p
        terminal send-keys q
    fi
fi
[ "$tried" -eq 1 ] || skip "neither python3 nor redis-server"
echo ok
