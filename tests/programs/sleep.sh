#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A program that does nothing stays small: the resident memory of a sleeping `sleep` is at most 1
# MiB above what it is with glibc's malloc. (With another library than Larder the figures are only
# printed.)

set -eu
. "$(dirname "$0")/lib.sh"
begin sleep "$@"

readonly LIMIT_KIB=1024
TIMES=$(pick 3 9)

check_takeover sleep 0

# resident SIDE: "RSS PSS" in KiB of one `sleep 1` at rest.
resident() {
    local preload pid
    preload=$(preload_of "$1")
    env ${preload:+"LD_PRELOAD=$preload"} sleep 1 &
    pid=$!
    sleep 0.4
    [ "$(cat /proc/$pid/comm)" = sleep ] || fail "no sleep is running"
    if [ "$1" = lib ]; then
        has_library "$pid" || fail "sleep does not map $LIBRARY"
    fi
    awk '/^Rss:/ { rss = $2 } /^Pss:/ { pss = $2 } END { print rss, pss }' "/proc/$pid/smaps_rollup"
    wait "$pid"
}

# median COLUMN SIDE
median() { cut -d ' ' -f "$1" "$TMP/$2.kib" | sort -n | sed -n "$(((TIMES + 1) / 2))p"; }

for ((i = 0; i < TIMES; i++)); do
    for side in $SIDES; do resident "$side" >>"$TMP/$side.kib"; done
done

rss_ref=$(median 1 ref)
rss_lib=$(median 1 lib)
say "median of $TIMES: RSS reference $rss_ref KiB, $LIBRARY $rss_lib KiB;" \
    "PSS reference $(median 2 ref) KiB, $LIBRARY $(median 2 lib) KiB"
if is_larder && [ $((rss_lib - rss_ref)) -gt $LIMIT_KIB ]; then
    fail "RSS of sleep is $((rss_lib - rss_ref)) KiB above glibc's; at most $LIMIT_KIB"
fi
finish "RSS of sleep is $((rss_lib - rss_ref)) KiB above glibc's"
