#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Every command of commands.def is in help, in the man page and in the completion, with its options,
# and these name no other; every exit status of tool.h is in the man page.
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

# flags: the long options in its input.
flags() { { grep -oE -- '--[a-z]+' || true; } | sort -u | xargs; }
complete_as() { # words of the command line, the last of which is completed
    bash -c 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _larder
        printf "%s\n" "${COMPREPLY[@]}"' bash "$tool/larder.bash" "$@"
}

for command in $commands; do
    expect 0 "$LARDER" help "$command"
    has "^usage: larder $command"
    known=$(sed -n '/^usage/p' "$TMP/out" | flags)
    in_man=$(awk -v command="$command" '/^\.SH/ { inside = 0 }
        /^\.TP/ { getline; inside = $2 == command }
        inside { gsub(/\\-/, "-"); print }' "$tool/larder.1" | flags)
    [ "$in_man" = "$known" ] || fail "larder.1 says '$in_man' of $command, its usage '$known'"
    completed=$(complete_as "$LARDER" "$command" -- | flags)
    [ "$completed" = "$known" ] || fail "larder.bash completes $command to '$completed', not '$known'"
    expect 0 "$LARDER" "$command" --help
    has "^usage: larder $command"
done
for status in $(sed -nE 's/^ +TOOL_[A-Z_]+ = ([0-9]+),.*/\1/p' "$tool/tool.h"); do
    grep -qx "\.B $status" "$tool/larder.1" || fail "larder.1 does not explain exit status $status"
done

# Options of Larder: all of them, and those that a running process can change.
options=$(sed -nE 's/^OPTION\(([a-z_]+),.*/\1/p' "$tool/../conf/options.def" | sort)
expect 0 "$LARDER" help options
[ "$(sed -nE 's/^([a-z_]+) .*(any time|at start).*/\1/p' "$TMP/out" | sort)" = "$options" ] ||
    fail "larder help options has others than options.def"
[ "$(complete_as "$LARDER" run --opt '' | sed 's/=$//' | sort)" = "$options" ] ||
    fail "larder.bash completes run --opt to other names"
[ "$(complete_as "$LARDER" set 1 heap_)" = heap_limit= ] || fail "larder.bash: set"
[ -z "$(complete_as "$LARDER" set 1 pool_s)" ] || fail "larder.bash: set of what is read at start"

expect 0 "$LARDER" --version
has '^larder [0-9]+\.[0-9]+\.[0-9]+$'
expect 2 "$LARDER"
expect 2 "$LARDER" nonsense
has "no command 'nonsense'; \`larder help\` lists them" err
[ ! -e /dev/full ] || { status=0; "$LARDER" help >/dev/full 2>"$TMP/err" || status=$?
    [ "$status" -eq 1 ] || fail "a full disk is not noticed"; }
if command -v man >/dev/null; then
    MANWIDTH=80 man --warnings -l "$tool/larder.1" >"$TMP/out" 2>"$TMP/err" || fail "man page"
    [ ! -s "$TMP/err" ] || fail "man page has warnings"
fi
echo ok
