#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# LARDER_PROFILE_AT: a profile that names who holds the memory is there once the heap has reached that
# size, also in a process that only allocates; one for each value, one for each child that has a name
# for it; what cannot be written is said.
. "$(dirname "$0")/lib.sh"

compile program -fno-omit-frame-pointer

start() { # name of its output, arguments of larder run and program
    local output=$TMP/$1
    shift
    "$LARDER" run --opt profile_interval=64K "$@" >"$output" 2>&1 &
    PID=$!
    PIDS+=("$PID")
    wait_for 20 grep -q ready "$output"
}
lines() { grep -c "^larder: the heap holds .*, LARDER_PROFILE_AT is $1: its profile is in $2\$" "$3" || true; }

start one --opt profile_at=40M --opt "profile_file=$TMP/one.raw" "$TMP/program" 60 1
one=$PID
wait_for 20 test -f "$TMP/one.raw"
expect 0 "$LARDER" profile --raw "$TMP/one.raw"
has ' fill$'
wait_for 20 grep -q 'its profile is in' "$TMP/one"
[ "$(lines '40 MiB' "$TMP/one.raw" "$TMP/one")" = 1 ] || fail "not one line: $(cat "$TMP/one")"

# Once for each value.
rm "$TMP/one.raw"
expect 0 "$LARDER" set "$one" profile_at=1T
expect 0 "$LARDER" set "$one" profile_at=50M
wait_for 20 test -f "$TMP/one.raw"
rm "$TMP/one.raw"
for _ in 1 2 3; do
    expect 0 "$LARDER" trim "$one"
done
[ ! -e "$TMP/one.raw" ] || fail "a second profile for one value"

# A child has one of its own, or none.
start family --opt profile_at=20M --opt "profile_file=$TMP/%p.raw" "$TMP/program" 30 1 fork
wait_for 20 grep -q child "$TMP/family"
child=$(sed -nE 's/^child ([0-9]+)$/\1/p' "$TMP/family")
PIDS+=("$child")
wait_for 20 test -f "$TMP/$PID.raw" -a -f "$TMP/$child.raw"
start single --opt profile_at=20M --opt "profile_file=$TMP/single.raw" "$TMP/program" 30 1 fork
wait_for 20 grep -q child "$TMP/single"
child=$(sed -nE 's/^child ([0-9]+)$/\1/p' "$TMP/single")
PIDS+=("$child")
wait_for 20 "$LARDER" trim "$child"
[ "$(lines '20 MiB' "$TMP/single.raw" "$TMP/single")" = 1 ] || fail "a child wrote its parent's file"

start none --opt profile_at=20M --opt "profile_file=$TMP/nowhere/x" "$TMP/program" 30 1
wait_for 20 grep -q 'cannot write LARDER_PROFILE_FILE=".*/nowhere/x": there is no such folder' \
    "$TMP/none"
# Below it nothing is written.
start small --opt profile_at=1G --opt "profile_file=$TMP/small.raw" "$TMP/program" 30 1
wait_for 20 "$LARDER" trim "$PID"
[ ! -e "$TMP/small.raw" ] || fail "a profile below the size"
echo ok
