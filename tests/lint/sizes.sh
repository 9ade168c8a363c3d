#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A file that grows past these limits has become two files.
source "$(dirname "$0")/lib.sh" "$@"

count=0
check() { # limit, name patterns...
    local limit=$1 file lines
    shift
    while IFS= read -r file; do
        count=$((count + 1))
        lines=$(wc -l <"$file")
        if [ "$lines" -gt "$limit" ]; then
            violation "$file: $lines lines; at most $limit"
        fi
    done < <(files_of "$@")
}

check 600 '*.c' '*.cc'
check 300 '*.h'
check 200 'CMakeLists.txt' '*.cmake'

finish "$count"
