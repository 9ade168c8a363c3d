#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# zstd with two threads packs 500 MB (60 MB in quick mode) to the same bytes as with glibc's malloc
# at a fast and at a thorough level, and unpacks them to what went in.

set -eu
. "$(dirname "$0")/lib.sh"
begin zstd "$@"
need zstd zstd

check_takeover zstd --version
make_data "$TMP/data" "$(pick 60 500)"

for level in 3 $(pick 7 13); do
    run_both "pack-$level" 900 zstd -q -T2 "-$level" -c "$TMP/data"
    cmp "$TMP/pack-$level.ref.out" "$TMP/pack-$level.lib.out" ||
        fail "packed data differs from the reference at level $level"
    run_both "unpack-$level" 300 zstd -q -d -c "$TMP/pack-$level.ref.out"
    cmp "$TMP/data" "$TMP/unpack-$level.lib.out" || fail "unpacked data is not what was packed"
done
finish "$(stat -c %s "$TMP/data") bytes packed and back at two levels"
