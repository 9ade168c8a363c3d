#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# ls prints the same as with glibc's malloc, and LARDER_STATS=1 makes it end with a page of
# statistics whose numbers agree with each other and with what the kernel says about the process.
# (ls closes its standard error before it ends; the page must come through all the same.)

set -eu
. "$(dirname "$0")/lib.sh"
begin ls "$@"

check_takeover ls --version

run_both list 120 ls -lR --color=always /usr/share/doc /usr/include
same_output list
entries=$(wc -l <"$TMP/list.lib.out")

if ! is_larder; then finish "$entries lines alike; $LIBRARY has no statistics to check"; fi

# With statistics on standard error, standard output stays as it is.
for side in $SIDES; do
    run_one "$side" stats 60 env LARDER_STATS=1 ls -l /usr/bin
done
expect_exit stats 0
same_output stats
page=$TMP/stats.lib.err
[ -s "$page" ] || fail "LARDER_STATS=1 printed no statistics"
if grep -q '^larder: ' "$page"; then fail "the library warns" "$page"; fi
[ ! -s "$TMP/stats.ref.err" ] || fail "the reference printed to standard error" "$TMP/stats.ref.err"
peak_kib=
if [ -s "$TMP/stats.lib.rss" ]; then peak_kib=$(cat "$TMP/stats.lib.rss"); fi

# A row reads: SIGN VALUE [UNIT] [SHARE %] NAME HELP; size classes and locks are rows of numbers.
awk -v peak_kib="$peak_kib" '
    function wrong(text) { print text; bad = 1 }
    function bytes(value, unit) {
        if (unit == "B" || unit == "us") return value
        if (unit == "KiB") return value * 1024
        if (unit == "MiB") return value * 1024 ^ 2
        if (unit == "GiB") return value * 1024 ^ 3
        if (unit == "TiB") return value * 1024 ^ 4
        return -1
    }
    function near(a, b, slack) { return a - b <= slack && b - a <= slack }
    /^[a-z]/ { part = $0 }
    part !~ /^(size classes|locks)/ {
        line = $0
        sub(/^ *[-+=] /, "", line)
        count = split(line, f, " ")
        for (i = 1; i <= count; i++)
            if (f[i] ~ /^[a-z]+(_[a-z]+)+$|^(fragmentation|spans|threads|refills|flushes)$/) break
        if (i > 1 && i <= count && f[1] ~ /^[0-9.]+$/ && !(f[i] in value)) {
            if (f[2] == "%" || i == 2) value[f[i]] = f[1]
            else if ((value[f[i]] = bytes(f[1], f[2])) < 0) wrong("unit not known: " $0)
            next
        }
    }
    part ~ /^size classes/ && $1 ~ /^[0-9]+$/ {
        classes++
        if ($4 + $5 + $6 + $7 != $2 * $3) wrong("size class " $1 ": blocks do not add up: " $0)
        if ($1 <= last) wrong("size class " $1 " stands after " last)
        last = $1
    }
    part ~ /^locks/ && $1 ~ /^[0-9]+$/ {
        locks++
        if ($2 > $1) wrong("a lock waited for more often than taken: " $0)
    }
    END {
        n = split("live_bytes thread_cache_bytes transfer_cache_bytes central_free_bytes " \
            "span_tail_bytes span_heap_free_bytes metadata_bytes", parts, " ")
        n2 = split("held_bytes returned_bytes mapped_bytes reserved_bytes resident_bytes " \
            "fragmentation spans threads malloc_slow refills flushes scavenge_bytes " \
            "lock_takes lock_contended", others, " ")
        for (i = 1; i <= n; i++) {
            if (!(parts[i] in value)) wrong(parts[i] " is missing")
            sum += value[parts[i]]
        }
        for (i = 1; i <= n2; i++) if (!(others[i] in value)) wrong(others[i] " is missing")
        held = value["held_bytes"]
        # Each figure is rounded to a tenth of its unit.
        if (!near(sum, held, held * 0.05 + 8192))
            wrong("parts add up to " sum ", not to held_bytes " held)
        live = value["live_bytes"]
        if (live < 1024) wrong("live_bytes " live ": less than any ls has")
        if (held > 32 * 1024 ^ 2) wrong("held_bytes " held ": too much for ls")
        if (value["mapped_bytes"] > value["reserved_bytes"]) wrong("more mapped than reserved")
        if (held - value["metadata_bytes"] > value["mapped_bytes"] * 1.05 + 8192)
            wrong("more held than mapped")
        if (!held || !near(value["fragmentation"], 100 * (1 - live / held), 2))
            wrong("fragmentation " value["fragmentation"] " % is not the share that is not live")
        resident = value["resident_bytes"]
        if (resident < 512 * 1024) wrong("resident_bytes: less than libc alone has")
        if (peak_kib && resident > peak_kib * 1024 * 1.05 + 262144)
            wrong("resident_bytes " resident " is above the peak of " peak_kib " KiB")
        if (value["threads"] != 1) wrong(value["threads"] " threads have a cache in ls")
        if (value["refills"] < 1) wrong("no thread cache was ever filled")
        if (value["lock_contended"] > 0) wrong("a lock was contended in a program of one thread")
        if (!classes) wrong("no size class is listed")
        if (!locks) wrong("no lock is listed")
        exit bad
    }' "$page" >"$TMP/wrong" || fail "statistics are not sane" "$TMP/wrong" "$page"

finish "$entries lines alike, statistics of $(wc -l <"$page") lines are sane"
