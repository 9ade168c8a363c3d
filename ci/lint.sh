#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Checks the rules of the source tree: layers, self-sufficient headers, format, clang-tidy, exported
# symbols and the others in tests/lint. Needs what `ci/install build test lint` installs.
#
# usage: ci/lint.sh [--fix] [RULE]...
#   ci/lint.sh              all rules
#   ci/lint.sh layers tidy  these rules
#   ci/lint.sh --fix        first writes C and C++ files as clang-format wants them
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = --fix ]; then
    shift
    formatter=$(command -v clang-format-14 || command -v clang-format)
    find src include tests benchmarks \( -name '*.c' -o -name '*.h' -o -name '*.cc' \) \
        -exec "$formatter" --style=file -i {} +
fi

ci/run.sh release --build-only >/dev/null
if [ $# -eq 0 ]; then
    exec ctest --preset release -L lint --progress
fi
status=0
for name in "$@"; do
    if [ ! -f "tests/lint/$name.sh" ]; then
        echo "ci/lint.sh: no rule is named '$name'; see tests/lint" >&2
        exit 2
    fi
    "tests/lint/$name.sh" "$PWD" "$PWD/build/release" || status=1
done
exit "$status"
