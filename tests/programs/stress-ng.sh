#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# stress-ng with four malloc, four fork and two vm stressors, each verifying what it does, ends
# without a failed stressor, as with glibc's malloc.

set -eu
. "$(dirname "$0")/lib.sh"
begin stress-ng "$@"
need stress-ng stress-ng

SPAN=$(pick 6 120)

check_takeover stress-ng --version
# How much the malloc stressors hold depends on how far they get; 65536 blocks is stress-ng's own
# bound.
run_both stress $((SPAN + 90)) stress-ng --malloc 4 --malloc-max "$(pick 2048 65536)" --fork 4 \
    --vm 2 --vm-bytes 64m --verify --metrics-brief --timeout "${SPAN}s" --temp-path .

for side in $SIDES; do
    cat "$TMP/stress.$side.out" "$TMP/stress.$side.err" >"$TMP/stress.$side.log"
    grep -q 'successful run completed' "$TMP/stress.$side.log" ||
        fail "no successful run ($side)" "$TMP/stress.$side.log"
    if grep -E 'stress-ng: (fail|error):' "$TMP/stress.$side.log"; then
        fail "a stressor failed ($side)" "$TMP/stress.$side.log"
    fi
    # The columns before the number of operations differ with the version; the name stands before
    # it.
    awk -v side="$side" '
        {
            for (i = 1; i < NF; i++)
                if ($i ~ /^(malloc|fork|vm)$/ && $(i + 1) ~ /^[0-9]+$/) {
                    printf "stress-ng: %s: %s %d operations\n", side, $i, $(i + 1)
                    busy += $(i + 1) > 0
                }
        }
        END { exit (busy != 3) }' "$TMP/stress.$side.log" ||
        fail "a stressor did nothing ($side)" "$TMP/stress.$side.log"
done
finish "malloc, fork and vm stressors for $SPAN s"
