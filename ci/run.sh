#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Configures, builds and tests one preset. The results are left in build/<preset>/junit.xml too.
#
# usage: ci/run.sh PRESET [--build-only] [CTEST OPTION]...
#   ci/run.sh release                 everything
#   ci/run.sh dev -L unit             only the unit tests
#   ci/run.sh tsan -R life.fork       one test
# Presets: release, checked, dev, tsan, clang, coverage (cmake --list-presets).
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
    sed -n 's/^# \{0,1\}//; 3,9p' "$0" >&2
    exit 2
fi
preset=$1
shift
build_only=no
if [ "${1:-}" = --build-only ]; then
    build_only=yes
    shift
fi

log=build/$preset-configure.log
mkdir -p build
if ! cmake --preset "$preset" >"$log" 2>&1; then
    cat "$log"
    exit 1
fi
cmake --build --preset "$preset"
[ "$build_only" = no ] || exit 0

# The sanitizers of older compilers lose their place in memory when the kernel moves mappings far
# around; some containers do not allow that to be switched off.
fixed=()
case $preset in
dev | tsan)
    if setarch "$(uname -m)" -R true 2>/dev/null; then
        fixed=(setarch "$(uname -m)" -R)
    fi
    ;;
esac
"${fixed[@]}" ctest --preset "$preset" --output-junit "$PWD/build/$preset/junit.xml" "$@"
