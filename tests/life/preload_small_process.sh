#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A small process pays little: `sleep` preloaded has one thread and at most 1 MiB more resident
# memory than with the C library's malloc.
set -eu

: "${LARDER_SO:?path of liblarder.so}"

# Prints the value of field $2 of /proc/$1/status once the process has become `sleep`.
status_of() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        [ "$(cat "/proc/$1/comm")" = sleep ] && break
        sleep 0.05
    done
    sleep 0.1
    awk -v field="$2:" '$1 == field { print $2 }' "/proc/$1/status"
}

sleep 20 &
plain=$!
LD_PRELOAD=$LARDER_SO sleep 20 &
larder=$!
trap 'kill "$plain" "$larder" 2>/dev/null' EXIT

plain_kib=$(status_of "$plain" VmRSS)
larder_kib=$(status_of "$larder" VmRSS)
threads=$(status_of "$larder" Threads)
echo "resident: $plain_kib KiB with libc, $larder_kib KiB with Larder, $threads thread(s)"
grep -q liblarder "/proc/$larder/maps"
[ "$threads" -eq 1 ]
[ "$larder_kib" -le $((plain_kib + 1024)) ]
