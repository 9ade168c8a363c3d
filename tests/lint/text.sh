#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Plain text rules for all files: no blank at the end of a line, a newline at the end of the file, no
# note to do something later; and no tab, except where a script writes a makefile.
source "$(dirname "$0")/lib.sh" "$@"

count=0
while IFS= read -r file; do
    case $file in
    LICENSE | *.svg | *.png | *.golden) continue ;;
    esac
    count=$((count + 1))
    unwanted='\t|[ \t]+$'
    [[ $file != *.sh ]] || unwanted='[ \t]+$'
    while IFS= read -r hit; do
        violation "$file:${hit%%:*}: has a tab, or a blank at the end of the line"
    done < <(grep -nP "$unwanted" "$file" || true)
    # Spelt in two parts, so that this file passes.
    while IFS= read -r hit; do
        violation "$file:$hit"
    done < <(grep -nwE 'TO''DO|FIX''ME|XX''X|HA''CK' "$file" || true)
    if [ -s "$file" ] && [ -n "$(tail -c 1 "$file")" ]; then
        violation "$file: no newline at the end"
    fi
done < <(files_of '*')

finish "$count"
