#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Each metric and label that the examples for Prometheus and Grafana name is among those that a file
# of LARDER_METRICS_FILE has, and the files are what their readers accept.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
examples=$here/../../src/tool/examples

command -v python3 >/dev/null || skip "no python3"
compile program
"$LARDER" run --opt latency=1 --opt metrics_seconds=1 --opt "metrics_file=$TMP/x.prom" \
    "$TMP/program" 20 2 >"$TMP/program.out" 2>&1 &
PIDS+=("$!")
wait_for 20 grep -q 'larder_latency_seconds_bucket.*"refill"' "$TMP/x.prom"

python3 - "$TMP/x.prom" "$examples/grafana.json" "$examples/larder.rules.yml" <<'PYTHON' ||
import json, re, sys
samples, labels = set(), {'instance', 'file'}
for line in open(sys.argv[1]):
    name = re.match(r'larder_[a-z_]+', line)
    if name:
        samples.add(name.group())
        labels.update(re.findall(r'[{,]([a-z_]+)="', line))
board = json.load(open(sys.argv[2]))
queries = [t['expr'] for p in board['panels'] for t in p['targets']]
legends = [t['legendFormat'] for p in board['panels'] for t in p['targets']]
queries += [v['query'] for v in board['templating']['list']]
queries += re.findall(r'expr: (.*)', open(sys.argv[3]).read())
assert len(queries) > 15, queries
for query in queries:
    for name in re.findall(r'\blarder_[a-z_]+', query):
        assert name in samples, f'{name} is not in the file: {query}'
    used = re.findall(r'[{,]([a-z_]+)=~?"', query)
    for group in re.findall(r'by \(([^)]*)\)', query):
        used += group.split(', ')
    assert set(used) <= labels, f'{set(used) - labels} is no label: {query}'
    assert query.count('(') == query.count(')') and query.count('{') == query.count('}'), query
for legend in legends:
    assert set(re.findall(r'\{\{(.*?)\}\}', legend)) <= labels, legend
boxes = [tuple(p['gridPos'].values()) for p in board['panels']]
assert len({p['id'] for p in board['panels']}) == len(boxes) == len(set(boxes))
PYTHON
    fail "the examples do not fit the metrics"
if command -v promtool >/dev/null; then
    promtool check config "$examples/prometheus.yml" || fail "promtool: prometheus.yml"
fi
echo ok
