#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# larder doctor says what is so on this machine, and finds what was planted around a process: a
# limit of address space, variables for another malloc, no malloc of Larder.
. "$(dirname "$0")/lib.sh"

expect 0 "$LARDER" doctor
has "^ok    versions +command larder [0-9.]+, glibc 2\.[0-9]+, Linux $(uname -r) "
has " vm.overcommit_memory is $(cat /proc/sys/vm/overcommit_memory)\$"
has " vm.max_map_count is $(cat /proc/sys/vm/max_map_count)\$"
expect 0 "$LARDER" doctor $$
has ' vm.max_map_count is [0-9]+; the process has [1-9]'
has '^look  malloc +libc'
has 'larder run'

compile program
(
    ulimit -v 4000000
    MALLOC_CONF=tcache:false LARDER_STAT=1 LARDER_THP=often LARDER_PROFILE_AT=9G \
        MALLOC_ARENA_MAX=2 exec "$LARDER" run "$TMP/program" 20 0
) >"$TMP/program.out" 2>&1 &
pid=$!
PIDS+=("$pid")
wait_for 20 grep -q ready "$TMP/program.out"
wait_for 20 "$LARDER" trim "$pid"
expect 0 "$LARDER" doctor "$pid"
has '^look  address space +RLIMIT_AS is 3906 MiB'
has '^look  environment +MALLOC_ARENA_MAX=2'
has '^look  environment +MALLOC_CONF=tcache:false$'
has "^look  environment +LARDER_STAT=1, the nearest is 'stats'"
has '^look  environment +LARDER_THP=often is not accepted; auto, default, always or never is$'
has '^look  environment +LARDER_PROFILE_AT has no effect: LARDER_PROFILE_FILE is not set$'
has '^ok    malloc +Larder'
has '^ok    library +larder '
has ' heap +[1-9][0-9]+ MiB held'
if command -v python3 >/dev/null; then
    expect 0 "$LARDER" doctor --json "$pid"
    python3 -c 'import json, sys
rows = {r["subject"]: r for r in json.load(open(sys.argv[1]))}
assert rows["environment"]["advice"] and not rows["malloc"]["advice"], rows' "$TMP/out" ||
        fail "the JSON is not as it should be"
fi
# A program that was linked with another malloc: the preloaded one serves it.
other=$TMP/libjemalloc.so.2
cat >"$TMP/other.c" <<'END'
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
static char *memory;
static atomic_size_t used;
void *malloc(size_t size) {
    if (memory == NULL) { // there are no threads yet
        memory = mmap(NULL, 256 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    size_t *block = (void *)(memory + atomic_fetch_add(&used, (size + 31) & ~(size_t)15));
    *block = size;
    return block + 2;
}
void *calloc(size_t count, size_t size) { return malloc(count * size); }
void *realloc(void *p, size_t size) {
    void *block = malloc(size);
    size_t before = p != NULL ? ((size_t *)p)[-2] : 0;
    return p != NULL ? memcpy(block, p, before < size ? before : size) : block;
}
void free(void *p) { (void)p; }
size_t malloc_usable_size(void *p) { return ((size_t *)p)[-2]; }
END
${CC:-cc} -shared -fPIC -o "$other" "$TMP/other.c"
compile program -Wl,--no-as-needed "$other"
"$LARDER" run "$TMP/program" 20 0 >"$TMP/linked" 2>&1 &
pid=$!
PIDS+=("$pid")
wait_for 20 grep -q ready "$TMP/linked"
expect 0 "$LARDER" doctor "$pid"
has "^ok    malloc +Larder's; libjemalloc is mapped too"
"$TMP/program" 20 0 >"$TMP/unloaded" 2>&1 &
pid=$!
PIDS+=("$pid")
wait_for 20 grep -q ready "$TMP/unloaded"
expect 0 "$LARDER" doctor "$pid"
has '^look  malloc +Larder is not mapped; libjemalloc is'
# Two that are preloaded, the other first.
library=$(dirname "$LARDER")/liblarder.so.0
LD_PRELOAD=$other:$library "$TMP/program" 20 0 >"$TMP/both" 2>&1 &
pid=$!
PIDS+=("$pid")
wait_for 20 grep -q ready "$TMP/both"
expect 0 "$LARDER" doctor "$pid"
has '^look  malloc +mapped, besides Larder: libjemalloc'
expect 1 "$LARDER" doctor 2147483647
expect 2 "$LARDER" doctor one
echo ok
