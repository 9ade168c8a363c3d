#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# javac compiles a threaded program to the same class files as with glibc's malloc, and java runs it
# to the same output: threads that come and go, direct buffers, deflaters (Threaded.java).

set -eu
. "$(dirname "$0")/lib.sh"
begin java "$@"
need javac default-jdk-headless
need java default-jdk-headless

check_takeover java -version
run_both compile 180 javac -d classes "$HERE/Threaded.java"
diff -r "$TMP/ref/classes" "$TMP/lib/classes" || fail "class files differ from the reference"
run_both run 600 java -Xmx256m -cp classes Threaded "$(pick 10 200)"
same_output run
finish "$(wc -l <"$TMP/run.lib.out") waves of threads alike"
