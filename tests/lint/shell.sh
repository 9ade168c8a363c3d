#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Scripts are free of what shellcheck warns about.
source "$(dirname "$0")/lib.sh" "$@"

command -v shellcheck >/dev/null || skip "shellcheck is not installed (Debian package shellcheck)"

# SC2155  "readonly x=$(...)" hides a failed command: scripts that care look at the value
# SC2034  unused variables: a sourced library sets some for its callers
readonly EXCLUDED=SC2155,SC2034

count=0
while IFS= read -r file; do
    if [[ $file == *.sh ]] || head -n 1 "$file" | grep -qE '^#!.*\b(ba)?sh$'; then
        count=$((count + 1))
        # --external-sources: a script and the library it sources are one program.
        shellcheck --severity=warning --external-sources --source-path=SCRIPTDIR --format=gcc \
            --exclude="$EXCLUDED" "$file" || violation "$file: shellcheck warns"
    fi
done < <(files_of '*')

finish "$count"
