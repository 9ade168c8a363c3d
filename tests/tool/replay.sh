#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A recording of threads that free each other's blocks has each of their calls, and its replay ends
# with the blocks that they left, under Larder and under libc's malloc.
. "$(dirname "$0")/lib.sh"

compile calls

number() { # NAME of the recording's own figures, FILE
    grep -oE "\"$1\": [0-9]+" "$2" | head -1 | grep -oE '[0-9]+$'
}
record() { # FILE, ARGUMENT...: what replay says of it into FILE.json
    local file=$1
    shift
    expect 0 "$LARDER" run --trace "$file" -- "$TMP/calls" "$@"
    has ' 0 dropped; ' err
    expect 0 "$LARDER" replay --json --rounds 1 --lib larder --lib glibc "$file"
    cp "$TMP/out" "$file.json"
}
# What a program of this kind does besides its work: nothing is done in the first one.
record "$TMP/none" 0 4 1000
record "$TMP/work" 10000 4 1000
more() { # NAME COUNT
    local got=$(($(number "$1" "$TMP/work.json") - $(number "$1" "$TMP/none.json")))
    [ "$got" -eq "$2" ] || fail "$got $1, not $2"
}
more allocations 40000
more frees $((40000 - 64))
more reallocs 8000
more live_blocks 64
for name in unseen lost; do
    [ "$(number $name "$TMP/work.json")" -eq 0 ] || fail "$name"
done
[ "$(number threads "$TMP/work.json")" -eq 5 ] || fail "threads"
# Both allocators hold at the end what the program held.
blocks=$(number live_blocks "$TMP/work.json")
[ "$(grep -c "\"live_blocks\": $blocks, .*\"failed\": 0," "$TMP/work.json")" -eq 2 ] ||
    fail "the replays do not hold $blocks blocks"

# A file that is cut off is used as far as it goes; what is none is refused.
head -c 20000 "$TMP/work" >"$TMP/cut"
expect 0 "$LARDER" replay --rounds 1 --touch all "$TMP/cut"
has 'is cut off' err
has '^larder +[0-9]'
expect 1 "$LARDER" replay "$TMP/calls"
has 'no recording' err
expect 1 "$LARDER" replay --lib "$TMP/missing" "$TMP/work"
expect 1 "$LARDER" replay --lib nosuch.so "$TMP/work"
has "^larder: the loader cannot use 'nosuch.so': cannot open shared object file" err
[ "$(wc -l <"$TMP/err")" -eq 1 ] || fail "not one line"
expect 1 "$LARDER" replay --opt thp=sometimes "$TMP/work"
has "option thp cannot be 'sometimes'" err
expect 2 "$LARDER" replay
expect 2 "$LARDER" replay --rounds 0 "$TMP/work"
expect 2 "$LARDER" replay --touch nothing "$TMP/work"
echo ok
