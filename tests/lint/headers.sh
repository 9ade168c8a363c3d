#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Each header compiles alone: with gnu11 and the project's warnings as C; the public ones also as
# strict C99 and as C++, because that is who includes them.
source "$(dirname "$0")/lib.sh" "$@"

readonly CC=${CC:-cc} CXX=${CXX:-c++}
readonly WARNINGS=(-Wall -Wextra -Wundef -Wshadow -Wconversion -Wcast-qual -Werror)
readonly DEFINES=(-D_GNU_SOURCE=1 -DLARDER_CHECKED=1 -DLARDER_OVERRIDE=1 -DLARDER_ASAN=0
    -DLARDER_TSAN=0 '-DLARDER_VERSION="lint"')

log=$(mktemp)
trap 'rm -f "$log"' EXIT

compile() { # header, compiler and options...
    local header=$1
    shift
    if ! echo "#include \"$header\"" | "$@" "${WARNINGS[@]}" -fsyntax-only - >"$log" 2>&1; then
        violation "$header does not compile alone with: $*"
        head -n 5 "$log"
    fi
}

count=0
while IFS= read -r path; do
    count=$((count + 1))
    compile "${path#src/}" "$CC" -x c -std=gnu11 -Wstrict-prototypes -Isrc -Iinclude "${DEFINES[@]}"
done < <(find src -name '*.h' | sort)

while IFS= read -r path; do
    count=$((count + 1))
    compile "${path#include/}" "$CC" -x c -std=c99 -pedantic -Wstrict-prototypes -Iinclude
    compile "${path#include/}" "$CXX" -x c++ -std=c++11 -pedantic -Wold-style-cast -Iinclude
    compile "${path#include/}" "$CXX" -x c++ -std=c++17 -pedantic -Iinclude
done < <(find include -name '*.h' | sort)

finish "$count"
