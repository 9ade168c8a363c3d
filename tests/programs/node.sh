#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# node runs waves of worker threads that parse, deflate, hash and hand buffers to the main thread
# (node_work.js); it prints the same as with glibc's malloc.

set -eu
. "$(dirname "$0")/lib.sh"
begin node "$@"
need node nodejs

check_takeover node --version
run_both work 600 node "$HERE/node_work.js" "$(pick 100 1000)"
same_output work
finish "$(wc -l <"$TMP/work.lib.out") waves of worker threads alike"
