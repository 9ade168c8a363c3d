#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# xz with two threads packs 500 MB (60 MB in quick mode) to the same bytes as with glibc's malloc,
# and unpacks them to what went in.

set -eu
. "$(dirname "$0")/lib.sh"
begin xz "$@"
need xz xz-utils

check_takeover xz --version
make_data "$TMP/data" "$(pick 60 500)"
LEVEL=$(pick 0 3)

run_both pack 900 xz -T2 "-$LEVEL" -k -c "$TMP/data"
cmp "$TMP/pack.ref.out" "$TMP/pack.lib.out" || fail "packed data differs from the reference"
run_both unpack 300 xz -T2 -d -c "$TMP/pack.ref.out"
cmp "$TMP/data" "$TMP/unpack.lib.out" || fail "unpacked data is not what was packed"
finish "$(stat -c %s "$TMP/data") bytes packed to $(stat -c %s "$TMP/pack.lib.out") and back"
