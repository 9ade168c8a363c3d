#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Every command of commands.def is in help, in the man page and in the completion, and these name
# no other; every exit status of tool.h is in the man page.
. "$(dirname "$0")/lib.sh"
tool=$(cd "$(dirname "$0")/../../src/tool" && pwd)

commands=$(sed -nE 's/^COMMAND\(([a-z]+),.*/\1/p' "$tool/commands.def" | sort)
[ -n "$commands" ] || fail "no commands in commands.def"

same() { # what, list
    [ "$(sort <<<"$2")" = "$commands" ] || fail "$1 has: $(xargs <<<"$2")"
}
expect 0 "$LARDER" help
same "larder help" "$(sed -nE 's/^  ([a-z]+) .*/\1/p' "$TMP/out")"
same "larder.1" "$(sed -n '/^\.SH COMMANDS/,/^\.SH EXIT/p' "$tool/larder.1" | grep -A 1 '^\.TP' |
    sed -nE 's/^\.BR? "?([a-z]+).*/\1/p')"
same "larder.bash" "$(bash -c 'source "$1"; COMP_WORDS=(larder ""); COMP_CWORD=1; _larder
    printf "%s\n" "${COMPREPLY[@]}"' bash "$tool/larder.bash")"

for command in $commands; do
    expect 0 "$LARDER" help "$command"
    has "^usage: larder $command"
    expect 0 "$LARDER" "$command" --help
    has "^usage: larder $command"
done
for status in $(sed -nE 's/^ +TOOL_[A-Z_]+ = ([0-9]+),.*/\1/p' "$tool/tool.h"); do
    grep -qx "\.B $status" "$tool/larder.1" || fail "larder.1 does not explain exit status $status"
done

expect 0 "$LARDER" --version
has '^larder [0-9]+\.[0-9]+\.[0-9]+$'
expect 2 "$LARDER"
expect 2 "$LARDER" nonsense
has "no command 'nonsense'" err
[ ! -e /dev/full ] || { status=0; "$LARDER" help >/dev/full 2>"$TMP/err" || status=$?
    [ "$status" -eq 1 ] || fail "a full disk is not noticed"; }
if command -v man >/dev/null; then
    MANWIDTH=80 man --warnings -l "$tool/larder.1" >"$TMP/out" 2>"$TMP/err" || fail "man page"
    [ ! -s "$TMP/err" ] || fail "man page has warnings"
fi
echo ok
