#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs a build into a directory of its own and uses it from outside: through find_package with a
# shared, an archived and a fully static link, and through pkg-config.
# usage: run.sh BUILD_DIR
set -euo pipefail

build=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
work=$build/consumer
export CC=${CC:-cc} CXX=${CXX:-c++}

rm -rf "$work"
mkdir -p "$work"
# Moved after the installation: nothing in it may depend on where it was installed.
cmake --install "$build" --prefix "$work/first" >"$work/install.log"
mv "$work/first" "$work/prefix"
prefix=$work/prefix

echo "consumer: find_package"
cmake -S "$here" -B "$work/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release
cmake --build "$work/build" --parallel 2
ctest --test-dir "$work/build" --output-on-failure --no-tests=error

echo "consumer: pkg-config"
pc=$(find "$prefix" -name larder.pc)
PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
read -ra flags <<<"$(pkg-config --cflags --libs larder)"
# Nothing of liburcu's, and nothing twice.
[ "${#flags[@]}" -eq 3 ] || { echo "pkg-config gives: ${flags[*]}" >&2; exit 1; }
read -ra static_flags <<<"$(pkg-config --static --cflags --libs larder)"
"$CC" -O2 -o "$work/pc_shared" "$here/consumer.c" "${flags[@]}" -pthread
"$CC" -O2 -static -o "$work/pc_static" "$here/consumer.c" "${static_flags[@]}"
LD_LIBRARY_PATH=$(pkg-config --variable=libdir larder) "$work/pc_shared"
"$work/pc_static"

# The static programs are static, and the shared ones load the installed library.
for program in "$work/pc_static" "$work/build/static_c" "$work/build/static_cc"; do
    if readelf -lW "$program" | grep -q INTERP; then
        echo "consumer: $program is not a static executable" >&2
        exit 1
    fi
done
for program in "$work/pc_shared" "$work/build/shared_c" "$work/build/shared_cc"; do
    if ! readelf -dW "$program" | grep -q 'NEEDED.*\[liblarder\.so\.0\]'; then
        echo "consumer: $program does not need liblarder.so.0" >&2
        exit 1
    fi
done
echo "consumer: ok"
