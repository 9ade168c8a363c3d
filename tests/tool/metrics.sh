#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Strict readers accept what larder stat prints for collectors: metrics.py, which is itself shown to
# find faults, and promtool where Prometheus is installed.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)

command -v python3 >/dev/null || skip "no python3"
compile program
"$LARDER" run --opt latency=1 "$TMP/program" 20 2 >"$TMP/program.out" 2>&1 &
pid=$!
PIDS+=("$pid")
wait_for 20 "$LARDER" trim "$pid"

for form in openmetrics prometheus; do
    expect 0 "$LARDER" stat --$form "$pid"
    cp "$TMP/out" "$TMP/$form"
    "$here/metrics.py" $form "$TMP/$form" || fail "$form"
done
if command -v promtool >/dev/null; then
    promtool check metrics <"$TMP/prometheus" || fail "promtool"
else
    echo "no promtool: only metrics.py looks at them"
fi

# The reader finds what is planted.
planted() { # sed expression
    sed -E "$1" "$TMP/openmetrics" >"$TMP/bad"
    if "$here/metrics.py" openmetrics "$TMP/bad" >"$TMP/out" 2>&1; then
        fail "metrics.py does not see: $1"
    fi
}
planted '$d'
planted '/^larder_latency_seconds_bucket\{operation="refill",le="\+Inf"/d'
planted '/^larder_latency_seconds_sum\{operation="refill"/d'
planted 's/^(larder_latency_seconds_count\{operation="refill"\}) .*/\1 1/'
planted 's/^(larder_refills)_total /\1 /'
planted '/^# HELP larder_refills /d'
planted 's/^(larder_live_bytes .*)/\1\n\1/'
planted 's/^(larder_spans) .*/\1 many/'
planted 's/larder_scavenge_cpu_seconds/larder_scavenge_cpu_us/'
planted 's/lock="pools"/lock="po"ols"/'
echo ok
