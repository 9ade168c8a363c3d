#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The command on real programs, a redis-server under load, a Python with data and a program of two
# threads, at work and idle: the parts that larder stat --explain shows are together what the kernel
# counts, within 3 %, and so is what the heap holds of its part; larder top shows the server at work;
# a profile of it, sampled while it runs, names its functions.
. "$(dirname "$0")/lib.sh"

figure() { sed -nE "s/.*\"$1\": ([0-9.]+).*/\1/p" "$TMP/json" | head -n 1; }

# Within 3 % of smaps_rollup, and so the heap's figure of what is resident of it. (A MiB or two of
# spans and large blocks that nobody has touched yet are held and not resident: heaps are not small.)
reconciled() { # pid
    "$LARDER" stat --json --explain "$1" >"$TMP/json" || return 1
    local sum=0 part rollup
    rollup=$(awk '/^Rss:/ { print $2 * 1024 }' "/proc/$1/smaps_rollup")
    for part in pools records files stack brk other; do
        sum=$((sum + $(figure ${part}_bytes)))
    done
    looks=$((looks + 1))
    awk -v rollup="$rollup" -v sum="$sum" -v held="$(figure held_bytes)" \
        -v heap="$(($(figure pools_bytes) + $(figure records_bytes)))" 'BEGIN {
            parts = sum / rollup - 1
            own = held / heap - 1
            printf "smaps_rollup %.1f MiB, sum of the parts %+.2f %%; resident of the heap %.1f MiB, held %+.2f %%\n",
                rollup / 1048576, 100 * parts, heap / 1048576, 100 * own
            exit !(parts * parts < 0.0009 && own * own < 0.0009)
        }' >"$TMP/out"
}
reconcile() { # name, pid
    looks=0
    wait_for 20 reconciled "$2"
    echo "$1: $(cat "$TMP/out") (look $looks)"
}

# Starts the command and looks at it at work, which it is until its input ends, and after that.
busy_and_idle() { # name, command
    local name=$1
    shift
    mkfifo "$TMP/$name.in"
    "$@" <"$TMP/$name.in" >"$TMP/$name" 2>&1 &
    pid=$!
    PIDS+=("$pid")
    exec 8>"$TMP/$name.in"
    wait_for 60 grep -q ready "$TMP/$name"
    reconcile "$name, busy" "$pid"
    exec 8>&-
    wait_for 20 idle
    reconcile "$name, idle" "$pid"
    kill "$pid"
}
idle() { ! grep -q '^State:.*R' "/proc/$pid/task/"*/status; }

compile program
busy_and_idle "two threads" "$LARDER" run "$TMP/program" 100 2 busy

if command -v python3 >/dev/null; then
    python=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')
    export PYTHONMALLOC=malloc
    busy_and_idle python3 "$LARDER" run -- "$python" -c 'import select, sys, time
data = [{"key": i, "text": "x" * (i % 300)} for i in range(200000)]
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    data[:1000] = [{"key": i, "text": "y" * (i % 300)} for i in range(1000)]
time.sleep(100)'
fi

if command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null; then
    "$LARDER" run redis-server --port 0 --unixsocket "$TMP/socket" --save '' --dir "$TMP" \
        >"$TMP/redis" 2>&1 &
    pid=$!
    PIDS+=("$pid")
    wait_for 20 redis-cli -s "$TMP/socket" ping
    bench() { redis-benchmark -s "$TMP/socket" -q -r 1000000 -t set -d 300 "$@"; }
    bench -n 400000 -P 16 >"$TMP/bench" 2>&1 || fail "redis-benchmark"
    reconcile "redis-server, idle" "$pid"
    bench -l >"$TMP/bench" 2>&1 & # until it is killed
    PIDS+=("$!")
    sleep 1
    reconcile "redis-server, busy" "$pid"
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
echo ok
