#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In a control group with a memory limit a program whose live memory just fits goes on, because
# Larder returns free memory before the group is full: by the limit that it reads itself, or one that
# it is given, for which it needs no background thread. With neither the kernel kills the program.
# What is run is the probe `limited` of the benchmarks.
set -eu

: "${LARDER_SO:?path of liblarder.so}"
program=$(dirname "$LARDER_SO")/benchmarks/probes/limited
if ! [ -x "$program" ]; then
    echo "skipped: the benchmarks were not built"
    exit 77
fi

run() {
    env "$@" LD_PRELOAD="$LARDER_SO" "$program" 1 230 limit_mib=280
}

value() { # key, line
    expr "$2" : ".*[ ]$1=\([0-9]*\)" || true
}

expect() { # survived, rounds, line
    echo "$3"
    [ "$(value survived "$3")" -eq "$1" ]
    [ "$(value rounds "$3")" -eq "$2" ]
}

by_itself=$(run)
if [ "$(value possible "$by_itself")" -eq 0 ]; then
    echo "skipped: no control group can be made here"
    exit 77
fi
expect 1 5 "$by_itself"
expect 1 5 "$(run LARDER_SCAVENGER=off LARDER_SOFT_LIMIT=250M)"
expect 0 0 "$(run LARDER_SCAVENGER=off)"
