#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh PROGRAM GOLDENS: counts the instructions that a call, or a pair of calls, takes inside
# liblarder.so (callgrind; the caller's loop, the PLT and libc's memset are not counted) and compares
# them with the figures that GOLDENS allows. Fewer is a pass with a word.
set -u

program=$1
goldens=$2
calls=1000
if ! command -v valgrind >/dev/null; then
    echo "SKIP: valgrind is not installed"
    exit 77
fi
if [ "$(uname -m)" != x86_64 ]; then
    echo "SKIP: the goldens are x86-64 instructions"
    exit 77
fi
unset "${!LARDER_@}"
out=$(mktemp)
trap 'rm -f "$out"' EXIT
failed=0

# Cost lines that belong to liblarder.so; the line after calls= is what the callee costs.
count='
    /^c?ob=/ {
        id = $1; sub(/^c?ob=/, "", id)
        if (NF > 1) name[id] = $2
    }
    /^ob=/ { inside = name[id] ~ /liblarder\.so/ }
    /^calls=/ { getline; next }
    inside && /^[+*0-9-]/ { sum += $2 }
    END { printf "%.2f\n", sum / calls }'

printf '%-28s %10s %8s\n' path measured allowed
for path in $("$program"); do
    allowed=$(sed -n "s/^$path  *//p" "$goldens")
    if [ -z "$allowed" ]; then
        echo "$goldens: lacks $path"
        failed=1
        continue
    fi
    if ! valgrind --tool=callgrind --callgrind-out-file="$out" --collect-atstart=no \
        --toggle-collect=golden_steady "$program" "$path" >/dev/null 2>&1; then
        echo "$path: the program did not run under valgrind"
        failed=1
        continue
    fi
    measured=$(awk -v calls=$calls "$count" "$out")
    word=$(awk -v m="$measured" -v a="$allowed" \
        'BEGIN { print (m + 0 > a + 0 ? "TOO MANY" : m + 0 < a + 0 ? "fewer" : "") }')
    printf '%-28s %10s %8s %s\n' "$path" "$measured" "$allowed" "$word"
    [ "$word" != "TOO MANY" ] && [ "$measured" != 0.00 ] || failed=1
done
exit "$failed"
