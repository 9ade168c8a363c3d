#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# bash forks thousands of times: subshells, command substitutions, pipelines, background jobs and
# programs; it prints the same as with glibc's malloc.

set -eu
. "$(dirname "$0")/lib.sh"
begin bash "$@"

ROUNDS=$(pick 400 4000)

check_takeover bash --version

# Six to seven forks a round; arrays and strings that change between them give each child a heap to
# copy.
cat >"$TMP/work.bash" <<'WORK'
set -eu
declare -A table
text=
for ((i = 0; i < $1; i++)); do
    table[key$((i % 500))]=$(printf '%*d' $((i % 300 + 1)) "$i")
    text+="$i,"
    if ((i % 50 == 0)); then text=${text:${#text} / 2}; fi
    (
        unset 'table[key0]'
        list=("${table[@]}")
        echo "${#list[@]} ${#text}"
    )
    sum=$(echo "$text" | tr ',' '\n' | tail -n 3 | cksum)
    echo "$sum"
    (exit $((i % 7))) &
    status=0
    wait $! || status=$?
    echo "$status"
done
WORK

run_both work 900 bash "$TMP/work.bash" "$ROUNDS"
same_output work
finish "$ROUNDS rounds of at least six forks alike"
