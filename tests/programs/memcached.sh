#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# memcached with four worker threads answers every request right while eight clients set, get and
# delete values of 1 byte to 900 KiB and reconnect again and again (memcached_load.py checks each
# answer).

set -eu
. "$(dirname "$0")/lib.sh"
begin memcached "$@"
need memcached memcached
need python3 python3

SECONDS_OF_LOAD=$(pick 8 120)
readonly CLIENTS=8

check_takeover memcached --version

# No eviction happens: at most 8 x 4000 values of 2 KiB on average, in 1 GiB; so no get may miss.
for side in $SIDES; do
    socket=$TMP/$side.sock
    start_server "$side" $((SECONDS_OF_LOAD + 120)) memcached -s "$socket" -t 4 -m 1024 -c 512 \
        -u "$(id -un)"
    wait_until 10 test -S "$socket"
    check_server_mapped "$side"
    timeout $((SECONDS_OF_LOAD + 90)) python3 "$HERE/memcached_load.py" "$socket" \
        "$SECONDS_OF_LOAD" "$CLIENTS" >"$TMP/$side.out" 2>"$TMP/$side.err" ||
        fail "wrong answers from memcached ($side)" "$TMP/$side.err" "$SERVER_LOG"
    [ "$(cat "$TMP/$side.out")" -gt 1000 ] || fail "only $(cat "$TMP/$side.out") operations ($side)"
    server_peak_kib >"$TMP/peak.$side"
    stop_server TERM 20
done

check_rss "server under load" "$(cat "$TMP/peak.ref")" "$(cat "$TMP/peak.lib")"
finish "$(cat "$TMP/lib.out") operations checked (reference $(cat "$TMP/ref.out"))"
