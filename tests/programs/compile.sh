#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# cmake, make, gcc and g++ configure and compile this project to the same objects and libraries,
# byte for byte, as with glibc's malloc. Quick mode compiles liblarder.so and, by hand, the C++
# sources; full mode all, tests and benchmarks included where what they need is installed.

set -eu
. "$(dirname "$0")/lib.sh"
begin compile "$@"
need gcc gcc
need g++ g++
need cmake cmake
need make make
pkg-config --exists liburcu-bp 2>/dev/null ||
    skip "liburcu-bp not found (Debian package liburcu-dev)"

tests=OFF
benchmarks=OFF
target=larder
if ! is_quick; then
    target=all
    if pkg-config --exists check; then tests=ON; fi
    if [ -e /usr/include/benchmark/benchmark.h ]; then benchmarks=ON; fi
fi

# -S goes through cc1 and cc1plus.
check_takeover gcc -S -x c -o "$TMP/empty.s" /dev/null
check_takeover g++ -S -x c++ -o "$TMP/empty.s" /dev/null
check_takeover cmake --version

mkdir "$TMP/source"
(cd "$HERE/../.." && tar -cf - --exclude=./build --exclude=./.git .) | tar -C "$TMP/source" -xf -

# digests SIDE: what was built, in order, with a digest each.
digests() {
    (cd "$TMP/build" && find . -type f \( -name '*.o' -o -name '*.a' -o -name '*.so*' \) \
        ! -path '*/CMakeFiles/[0-9]*' -print0 | sort -z | xargs -0 sha256sum) >"$TMP/built.$1"
    rm -rf "$TMP/build"
}

# Both sides build in the same place, for paths get into debug information.
cat >"$TMP/compile-cc.bash" <<'WORK'
set -eu
cd "$1"
find source -name '*.cc' | sort | while IFS= read -r file; do
    case $file in */benchmarks/*) continue ;; esac
    g++ -std=c++17 -O2 -g -Isource/src -Isource/include -Isource/tests/support -fno-builtin \
        -DLARDER_OVERRIDE=1 -c "$file" -o "build/${file//\//-}.o"
done
WORK

for side in $SIDES; do
    run_one "$side" configure 180 cmake -S "$TMP/source" -B "$TMP/build" -G "Unix Makefiles" \
        -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++ \
        -DLARDER_BUILD_TESTS=$tests -DLARDER_BUILD_BENCHMARKS=$benchmarks
    run_one "$side" build 1500 cmake --build "$TMP/build" --parallel 2 --target "$target"
    run_one "$side" compile-cc 300 bash "$TMP/compile-cc.bash" "$TMP"
    digests "$side"
done

for step in configure build compile-cc; do
    expect_exit $step 0
    report_run $step
done
objects=$(grep -c '\.o$' "$TMP/built.ref") || true
sources=$(find "$TMP/source/src" -path "*/tool" -prune -o -name '*.c' -print | wc -l)
[ "$objects" -ge "$sources" ] ||
    fail "only $objects objects of $sources sources" "$TMP/build.ref.out"
grep -q '\.cc\.o$' "$TMP/built.ref" || fail "no C++ object was built"
diff "$TMP/built.ref" "$TMP/built.lib" >"$TMP/diff" ||
    fail "objects differ from the reference" "$TMP/diff"
finish "$objects objects and $(grep -cE '\.(a|so)' "$TMP/built.lib") libraries alike"
