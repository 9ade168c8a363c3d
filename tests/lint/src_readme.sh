#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The table of files in src/README.md names every file of src/, once, and no other. The first name of
# a row carries its folder, further ones stand in the same.
source "$(dirname "$0")/lib.sh" "$@"

named=$(mktemp)
found=$(mktemp)
trap 'rm -f "$named" "$found"' EXIT

if [ ! -f src/README.md ]; then
    violation "there is no src/README.md"
fi
{ grep -sE '^\| `[a-z]+/' src/README.md || true; } | cut -d '|' -f 2 | tr -d '`' | awk '{
    folder = $1
    sub(/[^\/]*$/, "", folder)
    print $1
    for (i = 2; i <= NF; i++) print folder $i
}' | sort >"$named"
find src -mindepth 2 -type f -printf '%P\n' | sort >"$found"

while IFS= read -r file; do
    violation "src/README.md has no row for src/$file"
done < <(comm -13 <(uniq "$named") "$found")
while IFS= read -r file; do
    violation "src/README.md has a row for src/$file, which does not exist"
done < <(comm -23 <(uniq "$named") "$found")
while IFS= read -r file; do
    violation "src/README.md names src/$file twice"
done < <(uniq -d "$named")

finish "$(wc -l <"$found")"
