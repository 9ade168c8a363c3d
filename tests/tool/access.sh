#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Who may not look is told why: another user, a machine without /proc, a process that has ended; and
# a wrong option is said with the name of the command.
. "$(dirname "$0")/lib.sh"

compile program
"$LARDER" run "$TMP/program" 20 1 >"$TMP/program.out" 2>&1 &
pid=$!
PIDS+=("$pid")
wait_for 20 "$LARDER" trim "$pid"
cp "$LARDER" "$TMP/larder"

for command in "stat" "trim" "profile --seconds 1" "top"; do
    # shellcheck disable=SC2086
    expect 1 "$LARDER" $command 999999999
    has '^larder: process 999999999: no such process' err
done
expect 1 "$LARDER" set 999999999 batch_max=64
for command in stat ps trim set profile doctor run; do
    expect 2 "$LARDER" "$command" --nonsense
    has "^larder $command: .*--nonsense" err
    has "^usage: larder $command " err
done
for wrong in "stat --interval" "stat --count" "top --delay" "trace --seconds" "tune --budget" \
    "tune --for" "profile --seconds"; do
    "$LARDER" help | grep "^  ${wrong% *} " >/dev/null || continue # top, where there is no ncurses
    # shellcheck disable=SC2086
    expect 2 "$LARDER" $wrong never 1
    has "^larder: ${wrong#* } cannot be 'never'" err
done

expect 2 "$LARDER" replay --rounds 0 "$TMP/none"
has "^larder: --rounds cannot be '0'; accepted: 1 to 64$" err
expect 2 "$LARDER" replay --touch foo "$TMP/none"
has "^larder: --touch cannot be 'foo'; accepted: pages, first or all$" err

if [ "$(id -u)" -ne 0 ]; then
    echo "other users and namespaces: needs root"
    exit 0
fi
chmod 755 "$TMP" "$TMP/larder"
if command -v setpriv >/dev/null && setpriv --reuid=65534 --clear-groups "$TMP/larder" version \
    >/dev/null 2>&1; then
    expect 1 setpriv --reuid=65534 --clear-groups "$TMP/larder" stat "$pid"
    has "process $pid: it belongs to another user" err
    expect 0 setpriv --reuid=65534 --clear-groups "$TMP/larder" ps
    has_not "^ +$pid "
fi
if unshare -m sh -c 'mount -t tmpfs none /proc' 2>/dev/null; then
    hidden() { unshare -m sh -c 'mount -t tmpfs none /proc && exec "$@"' sh "$TMP/larder" "$@"; }
    for command in "ps" "stat $pid"; do
        status=0
        # shellcheck disable=SC2086
        hidden $command >"$TMP/out" 2>"$TMP/err" || status=$?
        [ "$status" -eq 1 ] || fail "without /proc: '$command' ended with $status"
        has '/proc cannot be read here' err
    done
fi
echo ok
