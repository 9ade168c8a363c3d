#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# perl prints the same with strings, hashes, regular expressions, closures, forked processes and
# interpreter threads (perl_work.pl) as with glibc's malloc.

set -eu
. "$(dirname "$0")/lib.sh"
begin perl "$@"
need perl perl

check_takeover perl -v
# A fixed hash seed makes both sides do the same in the same order.
export PERL_HASH_SEED=0 PERL_PERTURB_KEYS=0

run_both work 600 perl "$HERE/perl_work.pl" "$(pick 60 500)"
same_output work
grep -q '^threads ' "$TMP/work.lib.out" || say "this perl has no threads; without them"
finish "$(wc -l <"$TMP/work.lib.out") checksums alike"
