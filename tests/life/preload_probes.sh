#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The tracepoints of liblarder.so are there as tracers look for them: note, address of a nop,
# arguments in registers.
set -euo pipefail

: "${LARDER_SO:?path of liblarder.so}"
if ! command -v readelf >/dev/null || ! command -v objdump >/dev/null; then
    echo "skipped: no readelf, objdump (binutils)"
    exit 77
fi
if [ "$(uname -m)" != x86_64 ]; then
    echo "skipped: arguments are compared with x86-64 registers"
    exit 77
fi
fail() {
    echo "FAILED: $*"
    exit 1
}

notes=$(readelf -nW "$LARDER_SO")
# expect_probe PROVIDER NAME ARGUMENT_COUNT
expect_probe() {
    local found registers='' i
    for ((i = 0; i < $3; i++)); do
        registers+=' *8@%r[a-z0-9]+'
    done
    found=$(grep -A 3 -E "Provider: $1\$" <<<"$notes" | grep -A 2 -E "^ *Name: $2\$") ||
        fail "no probe $1:$2"
    grep -qE "^ *Arguments:$registers *\$" <<<"$found" || fail "$1:$2 has other arguments: $found"
    while read -r address; do
        address=${address%,}
        objdump -d --start-address="$address" --stop-address="$((address + 1))" "$LARDER_SO" |
            grep -qw nop || fail "no nop at $address of $1:$2"
    done < <(sed -nE 's/^ *Location: (0x[0-9a-f]+),.*/\1/p' <<<"$found")
    grep -q Location <<<"$found" || fail "no location of $1:$2"
}
expect_probe otel_memory alloc 3
expect_probe otel_memory free 1
expect_probe larder release 1

# Notes are not loaded, and nothing is relocated for them.
readelf -rW "$LARDER_SO" | grep -q stapsdt && fail "a note needs a relocation"

echo ok
