#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# larder profile names a planted leak, churner and fragmenter first, each in the fitting kind and
# within 10 % of the truth, and writes what pprof and browsers read.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

# first KIND SITE LEAST MOST: the stack with most is of the site, its value (MiB) in the range. Of a
# stripped program the place is named, which the one that it was made from has a function for.
first() {
    local value unit rest name
    expect 0 "$LARDER" profile --kind "$1" --raw "$TMP/raw"
    read -r value unit rest < <(sed -n 2p "$TMP/out")
    name=${rest##* }
    if [[ $name =~ ^\[stripped\+(0x[0-9a-f]+)\]$ ]]; then
        name=$(addr2line -fe "$TMP/planted" "${BASH_REMATCH[1]}" | head -n 1)
    else
        sed -n 3p "$TMP/out" | grep -qE '^ +main$' || fail "$1: main() did not call $2"
    fi
    [[ $name =~ ^(_Z[0-9]+)?$2v?$ ]] || fail "$1: the first is $name, not $2"
    awk -v value="$value" -v unit="$unit" -v least="$3" -v most="$4" 'BEGIN {
        value = unit == "KiB" ? value / 1024 : unit == "GiB" ? value * 1024 : value
        exit !(value >= least && value <= most) }' || fail "$1: $2 is not $3 to $4 MiB"
    echo "  $1: $name, $value $unit"
}
# 40000 * 500 bytes, 1000000 * 100 bytes, 1000 * 31 blocks of 1 KiB.
all_named() { # program
    LARDER_PROFILE=1 LARDER_PROFILE_INTERVAL=8K expect 0 "$TMP/$1" "$TMP/raw"
    first live site_leak 17.2 21.0
    first allocated site_churn 85.8 104.9
    first pinned site_fragment 15 45
}

# -O2 and no frame pointers: what most programs are.
link=(-O2 -fomit-frame-pointer -I"$here/../../include"
    -L"$(dirname "$LARDER")" "-Wl,-rpath,$(dirname "$LARDER")" -llarder)
if command -v "${CXX:-c++}" >/dev/null; then
    echo "in C++:"
    CC="${CXX:-c++} -x c++" compile planted "${link[@]}"
    all_named planted
fi
compile planted "${link[@]}"
if command -v strip >/dev/null && command -v addr2line >/dev/null; then
    echo "stripped:"
    strip -s -o "$TMP/stripped" "$TMP/planted"
    all_named stripped
fi
echo "in C:"
all_named planted
expect 0 "$LARDER" profile --kind freed --raw "$TMP/raw"
has '^ +[0-9]+ +[0-9.]+ %  site_churn$'

# The difference to itself: nothing grew.
expect 0 "$LARDER" profile --kind growth --base "$TMP/raw" --raw "$TMP/raw"
has_not site_
expect 2 "$LARDER" profile --kind growth --raw "$TMP/raw"
has 'give --base' err

expect 0 "$LARDER" profile --raw "$TMP/raw" -o "$TMP/flame.svg"
grep -qE '<title>site_leak: .*%</title>' "$TMP/flame.svg" || fail "no site_leak in the SVG"
! command -v xmllint >/dev/null || xmllint --noout "$TMP/flame.svg" || fail "the SVG is no XML"

expect 0 "$LARDER" profile --raw "$TMP/raw" -o "$TMP/heap.pb.gz"
for string in site_leak site_churn site_fragment inuse_space pinned_span_space; do
    { gzip -dc "$TMP/heap.pb.gz" 2>/dev/null || cat "$TMP/heap.pb.gz"; } |
        grep -qa "$string" || fail "no $string in the profile for pprof"
done

expect 0 "$LARDER" profile --kind allocated --raw "$TMP/raw" -o "$TMP/heap.json"
if command -v python3 >/dev/null; then
    python3 -c 'import json, sys
p = json.load(open(sys.argv[1]))
first = p["stacks"][0]
assert first["frames"][0] == "site_churn" and "main" in first["frames"], first
assert p["column"] == "bytes" and p["total"] == sum(s["bytes"] for s in p["stacks"]), p["total"]
assert first["live_bytes"] == 0 and first["freed_objects"] == first["objects"], first' \
        "$TMP/heap.json" || fail "the JSON is not as it should be"
fi

pprof=
if command -v go >/dev/null && go tool pprof -h 2>&1 | grep -q sample_index; then
    pprof=yes
else
    echo "no go: what go tool pprof makes of a profile is not looked at"
fi
# pprof_first FILE VALUES SITE LEAST MOST: what go tool pprof has on top, and its bytes.
pprof_first() {
    [ -n "$pprof" ] || return 0
    HOME=$TMP PPROF_TMPDIR=$TMP expect 0 go tool pprof -top -unit=B -sample_index="$2" "$1"
    sed -n '/flat%/{n;p}' "$TMP/out" | awk -v site="$3" -v least="$4" -v most="$5" '
        { exit !($NF == site && $1 + 0 >= least && $1 + 0 <= most) }' ||
        fail "pprof, $2: the first is not $3 with $4 to $5 bytes"
    echo "  pprof, $2: $(sed -n '/flat%/{n;p}' "$TMP/out" | awk '{ print $NF ", " $1 }')"
}
pprof_first "$TMP/heap.pb.gz" alloc_space site_churn 90e6 110e6

# What is no profile, or only the beginning of one, is refused.
head -c 300 "$TMP/raw" >"$TMP/cut"
expect 1 "$LARDER" profile --raw "$TMP/cut"
has 'end is missing|not understood' err
echo nonsense >"$TMP/bad"
expect 1 "$LARDER" profile --raw "$TMP/bad"
has 'no profile of Larder' err
expect 1 "$LARDER" profile --raw "$TMP/missing"
expect 2 "$LARDER" profile
expect 2 "$LARDER" profile --kind nothing --raw "$TMP/raw"
expect 1 "$LARDER" profile --raw "$TMP/raw" -o "$TMP"

# A running process that was started without any option: switched on, profiled, switched off.
echo "in a running process:"
mkfifo "$TMP/in"
"$TMP/planted" - wait <"$TMP/in" >"$TMP/said" &
pid=$!
PIDS+=("$pid")
exec 9>"$TMP/in"
wait_for 20 grep -q ready "$TMP/said"
wait_for 20 "$LARDER" stat "$pid"
"$LARDER" profile --seconds 60 --interval 8K -o "$TMP/live.pb.gz" "$pid" 2>"$TMP/err" &
profiler=$!
PIDS+=("$profiler")
wait_for 20 bash -c "'$LARDER' stat --json $pid | grep -qE '\"profile\", *\"value\": *\"1\"'"
# Its second request for a profile comes when it is interrupted.
echo >&9
wait_for 30 grep -q planted "$TMP/said"
kill -INT "$profiler"
wait "$profiler" || fail "larder profile PID"
{ gzip -dc "$TMP/live.pb.gz" 2>/dev/null || cat "$TMP/live.pb.gz"; } | grep -qa site_leak ||
    fail "no site_leak in the profile of the process"
pprof_first "$TMP/live.pb.gz" alloc_space site_churn 90e6 110e6
pprof_first "$TMP/live.pb.gz" inuse_space site_leak 18e6 22e6
"$LARDER" stat --json "$pid" >"$TMP/out"
has '"profile", *"value": *"0"'
has_not '"profile_interval", *"value": *"8 KiB"'
# Sampled blocks are still known; no file is left open.
[ -z "$(find "/proc/$pid/fd" -lname '*larder-profile*')" ] || fail "the profile is still open"
# Ended by another signal it leaves nothing switched on either; what it cannot write it says at once.
"$LARDER" profile --seconds 60 -o "$TMP/short.txt" "$pid" 2>"$TMP/err" &
profiler=$!
PIDS+=("$profiler")
wait_for 20 bash -c "'$LARDER' stat --json $pid | grep -qE '\"profile\", *\"value\": *\"1\"'"
kill -TERM "$profiler"
wait "$profiler" || fail "larder profile PID, ended by SIGTERM"
grep -q ' samples, one in ' "$TMP/short.txt" || fail "no profile after SIGTERM"
"$LARDER" stat --json "$pid" >"$TMP/out"
has '"profile", *"value": *"0"'
expect 1 "$LARDER" profile --seconds 59 -o "$TMP/missing/heap.svg" "$pid"
has 'cannot write' err
kill "$pid"
expect 3 "$LARDER" profile --seconds 1 $$
expect 2 "$LARDER" profile --kind growth $$
expect 2 "$LARDER" profile --kind nonsense $$
has "'nonsense'; accepted: live, .* pinned-huge$" err
expect 2 "$LARDER" profile --json --svg $$
has 'one of --text, --json, --pprof and --svg$' err

# The report of what was not freed.
LARDER_LEAK_CHECK=1 LARDER_PROFILE_INTERVAL=8K expect 0 "$TMP/planted" "$TMP/raw"
has '^larder: process [0-9]+ \(planted\): not freed at exit: ' err
has '^  (1[789]|2[01])\.[0-9] MiB in [0-9]+ blocks, allocated by$' err
has_not 'no allocation was sampled' err

# Where nothing was sampled, or all of it was freed, it says why.
cat >"$TMP/freed.c" <<'END'
#include <stdlib.h>
int main(void) {
    void *volatile block = malloc(100);
    free(block);
    return 0;
}
END
${CC:-cc} -o "$TMP/freed" "$TMP/freed.c"
expect 0 "$LARDER" run --opt leak_check=1 --opt profile_interval=1 "$TMP/freed"
has ': all [1-9][0-9]* sampled blocks were freed; .*LARDER_PROFILE_INTERVAL is 1 B' err
LARDER_LEAK_CHECK=1 LARDER_PROFILE_INTERVAL=1T expect 0 "$TMP/planted" "$TMP/raw"
has '^larder: no allocation was sampled: .*LARDER_PROFILE_INTERVAL is 1 TiB' err
expect 0 "$LARDER" profile --raw "$TMP/raw"
has 'nothing was sampled'
LARDER_LEAK_CHECK=1 LARDER_HARDENED=1 expect 0 "$TMP/planted" "$TMP/raw"
has '^larder: no allocation was sampled: LARDER_HARDENED=1 has no samples' err
echo ok
