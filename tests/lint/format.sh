#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# C and C++ files are as clang-format 14 writes them; `ci/lint.sh --fix` repairs them.
source "$(dirname "$0")/lib.sh" "$@"

formatter=$(tool clang-format 14)
[ -n "$formatter" ] || skip "clang-format 14 is not installed (Debian package clang-format-14)"

log=$(mktemp)
trap 'rm -f "$log"' EXIT

mapfile -t sources < <(files_of '*.c' '*.h' '*.cc')
status=0
printf '%s\n' "${sources[@]}" | xargs -r -P "$(nproc)" -n 20 \
    "$formatter" --style=file --dry-run --Werror >"$log" 2>&1 || status=$?
while read -r places file first; do
    violation "$file: $places places, the first in line $first"
done < <(awk -F: '/clang-format-violations/ { if (!count[$1]++) first[$1] = $2 }
    END { for (file in count) print count[file], file, first[file] }' "$log" | sort -k2)
# A failure that is no such line: a file or the style could not be read.
if [ "$status" -ne 0 ] && [ "$violations" -eq 0 ]; then
    cat "$log"
    violation "clang-format failed"
fi

finish "${#sources[@]}"
