#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# vm.overcommit_memory=2, where the kernel counts every private writable mapping: programs start
# and run with Larder preloaded. The setting is the whole machine's, so this runs only as root and
# only with LARDER_TEST_OVERCOMMIT=1; it lasts about a second and is put back whatever happens, by
# the trap and, should this shell be killed, by a watchdog in a session of its own.
set -eu

: "${LARDER_SO:?path of liblarder.so}"
setting=/proc/sys/vm/overcommit_memory
[ "${LARDER_TEST_OVERCOMMIT:-0}" = 1 ] || { echo "skipped: LARDER_TEST_OVERCOMMIT is not 1"; exit 77; }
before=$(cat "$setting")
if ! { echo "$before" >"$setting"; } 2>/dev/null; then
    echo "skipped: may not set $setting"
    exit 77
fi

setsid sh -c "sleep 20; echo $before >$setting" >/dev/null 2>&1 &
watchdog=$!
restore() {
    echo "$before" >"$setting"
    kill -- "-$watchdog" 2>/dev/null || kill "$watchdog" 2>/dev/null || true
}
trap restore EXIT
trap 'exit 1' INT TERM HUP

echo 2 >"$setting"
failed=0
LD_PRELOAD=$LARDER_SO timeout 5 ls / >/dev/null || failed=1
LD_PRELOAD=$LARDER_SO timeout 5 sort /etc/services >/dev/null || failed=1
LD_PRELOAD=$LARDER_SO timeout 5 awk 'BEGIN { for (i = 0; i < 200000; i++) a[i] = "text " i }' ||
    failed=1
LD_PRELOAD=$LARDER_SO timeout 5 sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done' || failed=1
restore
[ "$(cat "$setting")" = "$before" ]
[ "$failed" = 0 ] && echo "programs run under overcommit_memory=2"
