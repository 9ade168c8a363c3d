#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# larder top on a terminal: the list of processes, a heap chosen from it and the way back, keys as in
# htop, a process that ends while it is looked at.
. "$(dirname "$0")/lib.sh"

command -v tmux >/dev/null || skip "no tmux"
expect 0 "$LARDER" help
grep -q '^  top ' "$TMP/out" || skip "built without larder top"
compile program
# Names of their own: other processes on the machine may use Larder too.
first=top$$a second=top$$b
mv "$TMP/program" "$TMP/$first"
cp "$TMP/$first" "$TMP/$second"

for name in "$first" "$second"; do
    "$LARDER" run "$TMP/$name" "$([ "$name" = "$first" ] && echo 60 || echo 20)" 1 >"$TMP/$name.out" 2>&1 &
    PIDS+=("$!")
    wait_for 20 grep -q ready "$TMP/$name.out"
    wait_for 20 "$LARDER" trim "$!"
done
large=${PIDS[0]} small=${PIDS[1]}

export TERM=xterm LANG=C.UTF-8
terminal() { tmux -S "$TMP/socket" -f /dev/null "$@"; }
show() { # command: on a terminal of its own
    terminal new-session -d -x 110 -y 35 "$1; echo \$? >'$TMP/status'"
}
shows() { terminal capture-pane -p 2>/dev/null | grep -qE -- "$1"; }
see() { wait_for 20 shows "$1"; }
keys() { terminal send-keys "$@"; }
ended() { # status
    wait_for 20 test -s "$TMP/status"
    [ "$(cat "$TMP/status")" = "$1" ] || fail "larder top ended with $(cat "$TMP/status"), not $1"
    rm "$TMP/status"
}

show "'$LARDER' top --delay 0.5"
see '^larder .* processes use it'
keys F4 "top$$" Enter
see "^ +$large .* $first *\$"
see "^ +$small .* $second *\$"
keys F1
see '^larder top: keys'
keys x
see "^ +$small "
keys M Down Enter # the second by resident memory
see "^larder .* process $small \($second\)"
keys Tab
see 'SLOW CALLS/s'
keys Escape
see "^ +$large .* $first *\$"
keys Home Enter
see "^larder .* process $large \($first\)"
keys BSpace
see "^ +$small "
keys F4 b Enter
unseen() { ! shows "^ +$large "; }
wait_for 20 unseen
see "^ +$small "
keys F4 Escape
see "^ +$large "
keys F4 "top$$" Enter
wait_for 20 shows "^ +$large "
keys Home Enter
see "^larder .* process $large \($first\)"
kill -KILL "$large"
see "process $large: has ended"
see "^ +$small "
keys F10
ended 0

show "'$LARDER' top $small"
see "^larder .* process $small \($second\)"
keys q
ended 0
expect 1 "$LARDER" top
has 'needs a terminal' err
show "TERM=dumb '$LARDER' top 2>'$TMP/err'"
ended 1
has 'on which the cursor can be moved' err
echo ok
