#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# clang-tidy finds nothing in src/ (checks: .clang-tidy). The analysis of a file depends on that
# file and the headers, so it runs on the compile commands of the build at hand.
source "$(dirname "$0")/lib.sh" "$@"

analyser=$(tool clang-tidy 14)
[ -n "$analyser" ] || skip "clang-tidy 14 is not installed (Debian package clang-tidy-14)"
[ -f "$build/compile_commands.json" ] || skip "no $build/compile_commands.json; configure it first"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# One command for each file and one process for each command: the API is compiled twice, and the
# analyser carries the state of a va_list from one pass over a file into the next.
awk '
    /^{/ { entry = "" }
    { entry = entry $0 "\n" }
    /^ *"file":/ { file = $0 }
    /^}/ && !seen[file]++ { sub(/},?\n$/, "}", entry); printf "%s%s", count++ ? ",\n" : "[\n", entry }
    END { print "\n]" }
' "$build/compile_commands.json" >"$dir/compile_commands.json"

mapfile -t sources < <(find src -name '*.c' | sort)
# -W: flags that only gcc knows are no finding.
if ! printf '%s\n' "${sources[@]}" | xargs -r -P "$(nproc)" -n 1 \
    "$analyser" -p "$dir" --quiet --extra-arg=-Wno-unknown-warning-option \
    --extra-arg=-Wno-ignored-optimization-argument >"$dir/log" 2>&1; then
    grep -vE '^[0-9]+ warnings? (generated|treated)|^Suppressed ' "$dir/log" || true
    violation "clang-tidy reports $(grep -cE ': (error|warning):' "$dir/log") findings"
fi

finish "${#sources[@]}"
