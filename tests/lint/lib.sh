# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the lint scripts share; sourced, never run. A script is called with the source directory and
# the build directory, says every violation on a line of its own and ends with finish.
# Exit status: 0 clean, 1 violations, 77 skipped because a tool is missing.

set -euo pipefail

rule=$(basename "$0" .sh)
violations=0

if [ $# -lt 1 ] || [ ! -f "$1/CMakeLists.txt" ]; then
    echo "usage: $0 SOURCE_DIR [BUILD_DIR]" >&2
    exit 2
fi
cd "$1"
# shellcheck disable=SC2034 # for the scripts that look at what was built
build=${2:-build/release}

violation() {
    echo "$rule: $*"
    violations=$((violations + 1))
}

skip() {
    echo "$rule: skipped: $*"
    exit 77
}

# finish CHECKED: CHECKED things were looked at; none at all means that the rule looked in the wrong
# place, which must not pass for a clean tree.
finish() {
    if [ "$1" -eq 0 ]; then
        violation "found nothing to check"
    fi
    echo "$rule: $1 checked, $violations violations"
    [ "$violations" -eq 0 ]
}

# files_of PATTERN...: paths of the project's own files with these names, sorted.
files_of() {
    local names=() pattern
    for pattern in "$@"; do
        names+=(-o -name "$pattern")
    done
    find . \( -path ./build -o -path ./.git -o -path ./.cache \) -prune \
        -o -type f \( "${names[@]:1}" \) -print | sed 's,^\./,,' | sort
}

# tool NAME VERSION: the command for NAME of that major version; empty if there is none.
tool() {
    local candidate
    for candidate in "$1-$2" "$1"; do
        if "$candidate" --version 2>/dev/null | grep -q "version $2\."; then
            command -v "$candidate"
            return
        fi
    done
}
