#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# C and C++ files are as clang-format 14 writes them; `ci/lint.sh --fix` repairs them.
source "$(dirname "$0")/lib.sh" "$@"

formatter=$(tool clang-format 14)
[ -n "$formatter" ] || skip "clang-format 14 is not installed (Debian package clang-format-14)"

count=0
while IFS= read -r file; do
    count=$((count + 1))
    if ! lines=$("$formatter" --style=file --dry-run --Werror "$file" 2>&1); then
        places=$(grep -c 'clang-format-violations' <<<"$lines" || true)
        first=$(grep -m1 'clang-format-violations' <<<"$lines" | cut -d: -f2 || true)
        violation "$file: $places places, the first in line $first"
    fi
done < <(files_of '*.c' '*.h' '*.cc')

finish "$count"
