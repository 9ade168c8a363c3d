#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# A strict reader of metrics: metrics.py openmetrics|prometheus FILE. Ends with 1 and a line where
# the file breaks a rule of its format: each family has one HELP and one TYPE before its samples,
# which stand together, carry the suffix of their type, a label set once and a number; counters do
# not fall below 0; histograms have buckets that rise up to +Inf, which is their count, and a sum; OpenMetrics ends with # EOF and
# units are suffixes of names, which are not shortened.
import re
import sys

NAME = r'[a-zA-Z_:][a-zA-Z0-9_:]*'
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf'({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?[0-9]+(?:\.[0-9]+)?)$')
HISTOGRAM = ('_bucket', '_sum', '_count')
SUFFIXES = {'openmetrics': {'counter': ('_total',), 'info': ('_info',), 'gauge': ('',),
                            'histogram': HISTOGRAM},
            'prometheus': {'counter': ('',), 'gauge': ('',), 'histogram': HISTOGRAM}}


def fail(number, why):
    sys.exit(f'line {number}: {why}')


def note_histogram(number, family, suffix, labels, value):
    bound = re.search(r'(?:^|,)le="([^"]*)"', labels)
    if (suffix == '_bucket') != bool(bound):
        fail(number, 'le belongs to buckets, and to all of them')
    key = re.sub(r'(?:^|,)le="[^"]*"', '', labels)
    h = family.setdefault('histograms', {}).setdefault(key, {'last': -1.0, 'value': 0.0})
    if bound:
        if float(bound.group(1)) <= h['last'] or value < h['value']:
            fail(number, 'buckets do not rise')
        h['last'], h['value'] = float(bound.group(1)), value
    else:
        h[suffix] = value


def main(form, path):
    text = open(path, encoding='ascii').read()
    lines = text.split('\n')
    if lines.pop() != '':
        fail(len(lines), 'no newline at the end')
    if form == 'openmetrics':
        if lines.pop() != '# EOF':
            fail(len(lines), 'the end is not # EOF')
    families, current, seen = {}, None, set()
    for number, line in enumerate(lines, 1):
        meta = re.match(rf'# (HELP|TYPE|UNIT) ({NAME}) (.+)$', line)
        if meta:
            kind, name, value = meta.groups()
            if current is None or name != current:
                if name in families:
                    fail(number, f'the family {name} begins twice')
                families[name] = {'samples': 0}
                current = name
            family = families[name]
            if kind in family or family['samples']:
                fail(number, f'{kind} of {name} twice, or behind samples')
            if re.search(r'_([unm]s|sec|ms|[kmg]i?b)(_total)?$', name):
                fail(number, f'{name} has a short unit')
            if kind == 'TYPE' and value not in SUFFIXES[form]:
                fail(number, f'{value} is no type of {form}')
            if kind == 'UNIT' and (form != 'openmetrics' or not name.endswith('_' + value)):
                fail(number, f'the unit {value} is no suffix of {name}')
            family[kind] = value
            continue
        sample = SAMPLE.match(line)
        if not sample:
            fail(number, f'neither a sample nor a description: {line}')
        name, labels, value = sample.groups()
        family = families.get(current, {})
        if 'HELP' not in family or 'TYPE' not in family:
            fail(number, f'{name} without HELP and TYPE')
        if name not in [current + s for s in SUFFIXES[form][family['TYPE']]]:
            fail(number, f'{name} is no sample of the {family["TYPE"]} {current}')
        if form == 'prometheus' and name.endswith('_total') != (family['TYPE'] == 'counter'):
            fail(number, f'_total belongs to counters, and to all of them: {name}')
        if (name, labels) in seen:
            fail(number, f'the same sample twice: {name} {labels}')
        if family['TYPE'] == 'counter' and float(value) < 0:
            fail(number, 'a counter below 0')
        if family['TYPE'] == 'histogram':
            note_histogram(number, family, name[len(current):], labels or '', float(value))
        seen.add((name, labels))
        family['samples'] += 1
    for name, family in families.items():
        for labels, h in family.get('histograms', {}).items():
            if h['last'] != float('inf') or h.get('_count') != h['value'] or '_sum' not in h:
                sys.exit(f'{name} {{{labels}}} is no whole histogram: {h}')
    if len(families) < 30:
        sys.exit(f'only {len(families)} families')
    print(len(families), 'families', len(seen), 'samples')


main(sys.argv[1], sys.argv[2])
