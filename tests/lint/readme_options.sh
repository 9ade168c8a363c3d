#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# README.md's options table, between its two markers, is what ci/options-table makes of
# src/conf/options.def.
source "$(dirname "$0")/lib.sh" "$@"

readonly BEGIN='<!-- options:begin -->' END='<!-- options:end -->'

expected=$(mktemp)
found=$(mktemp)
trap 'rm -f "$expected" "$found"' EXIT

ci/options-table >"$expected"
if [ ! -f README.md ]; then
    violation "there is no README.md"
elif [ "$(grep -cxF -e "$BEGIN" -e "$END" README.md)" -ne 2 ]; then
    violation "README.md has no table between one line $BEGIN and one line $END"
else
    sed -n "/^$BEGIN\$/,/^$END\$/p" README.md | sed '1d;$d' >"$found"
    if ! diff -u "$found" "$expected"; then
        violation "README.md: the options table is not current; run ci/options-table --write"
    fi
fi

finish "$(wc -l <"$expected")"
