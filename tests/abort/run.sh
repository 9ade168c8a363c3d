#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh PROGRAM SOURCE: runs a misuse program three times and compares its end with the first lines
# of its source:
#   // expect: <extended regular expression that the first line of its report matches>
#   // signal: <the signal that ends it>
#   // environment: <assignments it runs with>, if any
# With abort, the default, it reports and ends by the signal; with LARDER_ON_ERROR=report it reports and goes on
# to exit 0; with LARDER_ON_ERROR=ignore it says nothing and exits 0.
set -u

program=$1
source=$2
expect=$(sed -n 's,^// expect: ,,p' "$source")
signal=$(sed -n 's,^// signal: SIG,,p' "$source")
environment=$(sed -n 's,^// environment: ,,p' "$source")
if [ -z "$expect" ] || [ -z "$signal" ]; then
    echo "$source: lacks its expect: or signal: line"
    exit 1
fi
# Of the variables that may be set, only ours is for the library to read.
unset "${!LARDER_@}"
err=$(mktemp)
trap 'rm -f "$err"' EXIT
ulimit -c 0
failed=0

fail() {
    echo "LARDER_ON_ERROR=$mode: $1; stderr:"
    sed 's/^/    /' "$err"
    failed=1
}

# Every line of the report is the expected one, or says who called; there are $1 or more of the first,
# each with the program among its callers.
check_lines() {
    matching=$(grep -cE -e "$expect" "$err")
    reports=$(grep -cvE '^  called at$|^      [^ ]*\+0x[0-9a-f]+$' "$err")
    callers=$(grep -cE "^      .*/$(basename "$program")\+0x[0-9a-f]+\$" "$err")
    [ "$reports" -eq "$matching" ] || fail "a line does not match $expect"
    [ "$matching" -ge "$1" ] || fail "no report"
    [ "$callers" -ge "$matching" ] || fail "the program is not among the callers"
}

for mode in abort report ignore; do
    # The shell's own word on the signal does not belong to the program's stderr.
    # shellcheck disable=SC2086 # several assignments are several words
    { env $environment LARDER_ON_ERROR=$mode bash -c 'exec "$0" >/dev/null 2>"$1"' "$program" "$err"; } 2>/dev/null
    code=$?
    case $mode in
    abort)
        ended=$([ "$code" -gt 128 ] && kill -l "$code")
        [ "$ended" = "$signal" ] || fail "ended with $code instead of SIG$signal"
        check_lines 1
        [ "$matching" -eq 1 ] || fail "more than one report"
        ;;
    report)
        [ "$code" -eq 0 ] || fail "exit $code"
        check_lines 1
        ;;
    ignore)
        [ "$code" -eq 0 ] || fail "exit $code"
        [ ! -s "$err" ] || fail "not silent"
        ;;
    esac
done
exit "$failed"
