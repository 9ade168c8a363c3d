#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Every source file names its licence on its first line (scripts: after the line for the
# interpreter), and only LICENSE holds the text of one.
source "$(dirname "$0")/lib.sh" "$@"

readonly LINE="SPDX-License-Identifier: Apache-2.0"

count=0
while IFS= read -r file; do
    # Documents, data and formats without comments.
    case $file in
    LICENSE | *.md | *.json | *.svg | *.png | *.csv | *.tsv | *.dat | *.golden) continue ;;
    esac
    count=$((count + 1))
    first=$(head -n 2 "$file" | grep -vE '^#!|^# shellcheck |^<\?xml' | head -n 1 || true)
    case $first in
    *"$LINE"*) ;;
    *) violation "$file: first line is not '$LINE'" ;;
    esac
    # Spelt in two parts, so that this file passes.
    if grep -nE 'Copyright'' \(|Licensed'' under|Permission is hereby'' granted' "$file"; then
        violation "$file: has licence text besides the SPDX line"
    fi
done < <(files_of '*')

finish "$count"
