#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Programs built with AddressSanitizer or ThreadSanitizer, and programs under valgrind, keep what
# checks them: its malloc comes before Larder's, linked or preloaded, and an overflow is found.
set -euo pipefail

: "${LARDER_SO:?path of liblarder.so}" "${CC:?the C compiler}"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() {
    echo "FAILED: $*"
    cat "$dir/out"
    exit 1
}

cat >"$dir/program.c" <<'END'
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void *allocate(void *unused) {
    for (size_t size = 1; size < 20000; size += 7) {
        char *const block = malloc(size);
        memset(block, 1, size);
        free(block);
    }
    return unused;
}
int main(int argc, char **argv) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, allocate, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    char *volatile block = malloc(100);
    block[argc > 1 ? 100 : 99] = 1;
    free(block);
    return write(1, "ended\n", 6) != 6 || argv == NULL;
}
END

fixed=()
if setarch "$(uname -m)" -R true 2>/dev/null; then
    fixed=(setarch "$(uname -m)" -R)
fi
checks=0

# runs WHAT PATTERN COMMAND...: its output has a line that matches.
runs() {
    local what=$1 pattern=$2
    shift 2
    "${fixed[@]}" "$@" >"$dir/out" 2>&1 </dev/null || true
    grep -qE -e "$pattern" "$dir/out" || fail "$what: no line matches $pattern"
    checks=$((checks + 1))
}

build() {
    "$compiler" -g -O0 -fno-builtin -pthread "$@" >"$dir/out" 2>&1
}

for compiler in "$CC" clang; do
    command -v "$compiler" >/dev/null || continue
    for sanitizer in address thread; do
        # The first is the program alone: where that does not run nothing can be said.
        if ! build -fsanitize=$sanitizer "$dir/program.c" -o "$dir/alone" ||
            ! "${fixed[@]}" "$dir/alone" >"$dir/out" 2>&1; then
            echo "left out: -fsanitize=$sanitizer of $compiler does not run here"
            continue
        fi
        build -fsanitize=$sanitizer "$dir/program.c" -o "$dir/linked" -Wl,--no-as-needed \
            "$LARDER_SO" -Wl,-rpath,"$(dirname "$LARDER_SO")" || fail "cannot link"
        # The runtime comes first: it is in the program, or has to be preloaded too.
        preload=$LARDER_SO
        runtime=$(ldd "$dir/alone" | grep -oE '/[^ ]*/lib[at]san\.so[^ ]*' || true)
        [ -z "$runtime" ] || preload=$runtime:$LARDER_SO
        what="$compiler, $sanitizer"
        runs "$what, linked" '^ended' "$dir/linked"
        runs "$what, preloaded" '^ended' env LD_PRELOAD="$preload" "$dir/alone"
        if [ $sanitizer = address ]; then
            runs "$what, linked" 'heap-buffer-overflow' "$dir/linked" overflow
            runs "$what, preloaded" 'heap-buffer-overflow' env LD_PRELOAD="$preload" \
                "$dir/alone" overflow
        fi
    done
done

if command -v valgrind >/dev/null; then
    compiler=$CC
    build "$dir/program.c" -o "$dir/plain" || fail "cannot build"
    runs valgrind '^ended' env LD_PRELOAD="$LARDER_SO" valgrind -q "$dir/plain"
    runs valgrind 'Invalid write of size 1' env LD_PRELOAD="$LARDER_SO" valgrind -q "$dir/plain" overflow
    # Told to leave malloc alone it runs Larder's code, and does not know of blocks.
    runs "valgrind, malloc left alone" '^ended' env LD_PRELOAD="$LARDER_SO" \
        valgrind -q --soname-synonyms=somalloc=NONE "$dir/plain"
fi

if [ "$checks" -eq 0 ]; then
    echo "skipped: neither sanitizers nor valgrind here"
    exit 77
fi
echo "$checks runs"
