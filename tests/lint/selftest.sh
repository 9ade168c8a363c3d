#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Each lint script can fail: it gets a small copy of this tree with one fault planted and must report
# that fault. (That it passes without one is what its own test shows.)
source "$(dirname "$0")/lib.sh" "$@"

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

count=0
# expect SCRIPT PATTERN [BUILD_DIR]: SCRIPT fails on the copy with a line that matches PATTERN.
expect() {
    local status=0 output
    count=$((count + 1))
    output=$("$PWD/tests/lint/$1.sh" "$copy" "${3:-$copy/build}" 2>&1) || status=$?
    if [ "$status" -eq 77 ]; then
        echo "$rule: $1 was skipped here: $output"
    elif [ "$status" -ne 1 ]; then
        violation "$1 ended with status $status although a fault was planted ($2)"
    elif ! grep -qE "$2" <<<"$output"; then
        violation "$1 failed, but not with '$2': $output"
    fi
}

plant() { # file, text: appends the text, or makes the file
    mkdir -p "$copy/$(dirname "$1")"
    printf '%b' "$2" >>"$copy/$1"
}

# fresh: a tree that is small enough to be checked at once.
fresh() {
    rm -rf "$copy"
    mkdir -p "$copy/ci"
    cp --parents -r CMakeLists.txt .clang-format .clang-tidy cmake/larder.map include/larder \
        src/base/attr.h src/api/override.h tests/lint/lib.sh "$copy"
}

readonly SPDX='// SPDX-License-Identifier: Apache-2.0\n'

fresh
plant src/base/planted.c "$SPDX#include \"heap/span.h\"\n"
expect layers 'planted.c:2: layer base includes "heap/span.h"'
plant src/cache/planted.c "$SPDX#include <sys/mman.h>\n"
expect layers 'cache/planted.c:2: includes <sys/mman.h>'
plant src/cache/planted.h "${SPDX}static inline int f(void) { return memory_order_seq_cst; }\n"
expect layers 'planted.h:2:memory_order_seq_cst'

plant include/larder/planted.h "${SPDX}int larder_planted(size_t bytes);\n"
expect headers 'larder/planted.h does not compile alone'

fresh
plant src/base/planted.c 'int planted;\n'
expect spdx 'src/base/planted.c: first line'
plant src/base/planted.c '\tint tab;\n'
expect text 'src/base/planted.c:2: has a tab'
plant src/base/planted.c '// TO''DO\n'
expect text 'src/base/planted.c:3:// TO''DO'
plant src/base/planted.c "$(printf '\\n%.0s' {1..600})"
expect sizes 'planted.c: [0-9]+ lines; at most 600'
plant src/base/odd.c "${SPDX}int   odd ;\n"
expect format 'odd.c: [1-9][0-9]* places, the first in line 2'
plant ci/planted.sh '#!/bin/sh\ncd $1 || exit\nrm $undefined/*\n'
expect shell 'planted.sh: shellcheck warns'

fresh
plant src/base/planted.c "${SPDX}int planted(int *p);\nint planted(int *p) { return p ? 0 : *p; }\n"
plant build/compile_commands.json "[\n{\n\"directory\": \"$copy\",\n\"command\": \"cc -c src/base/planted.c\",\n
\"file\": \"src/base/planted.c\"\n}\n]\n"
expect tidy 'planted.c:3:.*[Nn]ull'

# A library that exports too much and needs a foreign one.
plant build/extra.c "int larder_planted(void);\nint larder_planted(void) { return 0; }\n"
"${CC:-cc}" -shared -fPIC -o "$copy/build/liblarder.so" "$copy/build/extra.c"
"${CC:-cc}" -c -o "$copy/build/extra.o" "$copy/build/extra.c"
ar rc "$copy/build/liblarder.a" "$copy/build/extra.o"
expect symbols 'exported, but neither .*: larder_planted'
expect symbols 'but not exported: malloc$'
expect symbols 'lacks the flag NODELETE'

finish "$count"
