# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the tests of the command share; sourced, never run. Sets LARDER, the command, and TMP, a
# folder that goes away at the end together with the processes started by `start`.
set -euo pipefail

: "${LARDER_BUILD_DIR:?the build directory}"
readonly LARDER=$LARDER_BUILD_DIR/larder
unset LD_PRELOAD
# Programs under test get no variable that is only meant for tests.
export -n LARDER_SO LARDER_BUILD_DIR LARDER_TEST_SECONDS
export LC_ALL=C
TMP=$(mktemp -d)
PIDS=()

clean_up() {
    local status=$?
    for pid in "${PIDS[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
    done
    rm -rf "$TMP"
    exit "$status"
}
trap clean_up EXIT

fail() {
    echo "FAILED: $*"
    for file in out err; do
        [ ! -s "$TMP/$file" ] || sed "s/^/  $file: /" "$TMP/$file"
    done
    exit 1
}

skip() {
    echo "skipped: $*"
    exit 77
}

# compile NAME [FLAG...]: $TMP/NAME from NAME.c beside the tests.
compile() {
    local name=$1 cc=${CC:-cc}
    shift
    command -v "${cc%% *}" >/dev/null || skip "no C compiler"
    $cc -O1 -pthread -o "$TMP/$name" "$(dirname "${BASH_SOURCE[0]}")/$name.c" "$@"
}

# expect STATUS COMMAND...: runs it with its output in $TMP/out and $TMP/err.
expect() {
    local wanted=$1 status=0
    shift
    timeout 60 "$@" >"$TMP/out" 2>"$TMP/err" </dev/null || status=$?
    [ "$status" -eq "$wanted" ] || fail "'$*' ended with $status, not $wanted"
}

# has PATTERN [FILE]: out, or err, matches the extended regular expression.
has() { grep -qE -- "$1" "$TMP/${2:-out}" || fail "no line matches '$1' in ${2:-out}"; }
has_not() { ! grep -qE -- "$1" "$TMP/${2:-out}" || fail "a line matches '$1' in ${2:-out}"; }

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || fail "'$*' does not become true"
        sleep 0.05
    done
}
